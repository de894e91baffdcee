"""The verdict on the Gram matrix of features, measured in units of the penalty."""

from __future__ import annotations

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.points import Columns
from ufm_convex.positivity.judging import complete_positivity
from ufm_convex.positivity.report import CompletePositivity


def feature_positivity(columns: Columns, gram: FloatArray, H: FloatArray, tolerance: float) -> CompletePositivity:
    """The verdict on B, row and column k times the power of two next to √(λ_H ν_k): a short feature counts little.

    Scaling by powers of two is exact and changes no verdict about B itself; it only says what a distance means.

    Args:
        columns: Class-level columns.
        gram: B, (K, K).
        H: Features ≥ 0 to begin with, (K, d).
        tolerance: See ``complete_positivity``.
    """
    units = np.exp2(np.rint(0.5 * np.log2(columns.lambda_h * columns.feature_weights)))
    return complete_positivity(gram * np.outer(units, units), tolerance=tolerance, factor=H * units[:, None])

"""The verdict on the Gram matrix of features, measured in units of the penalty."""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.positivity.judging import complete_positivity
from ufm_convex.positivity.report import CompletePositivity
from ufm_convex.relaxation import Columns


def feature_positivity(
    columns: Columns, gram: FloatArray, H: FloatArray, objective: float, accuracy: float
) -> CompletePositivity:
    """The verdict on B in units of the penalty: row and column k times the power of two next to √(λ_H ν_k).

    Scaling by powers of two is exact and changes no verdict about B itself; it says what a distance means. Allowed is
    ``accuracy`` times the objective: what is shorter than that is noise, and if all of B is, 0 is judged in its place.

    Args:
        columns: Class-level columns.
        gram: B, (K, K).
        H: Features ≥ 0 to begin with, (K, d).
        objective: f(W, H).
        accuracy: To which entries of B are known, as a share of the objective.
    """
    there = columns.columns.positions  # a class without samples has no feature
    gram, H = gram[np.ix_(there, there)], H[there]
    exponents = np.rint(0.5 * np.log2(columns.lambda_h * columns.feature_weights)).astype(np.int64)
    norm = float(np.linalg.norm(np.ldexp(gram, exponents[:, None] + exponents)))
    tolerance = accuracy * objective / norm if norm > 0.0 else math.inf
    if not 0.0 <= tolerance < 1.0:
        return complete_positivity(np.zeros_like(gram))
    # and one power for all, which brings the largest entries near 1: decays may be very small
    exponents -= math.frexp(norm)[1] // 2
    scaled = np.ldexp(gram, exponents[:, None] + exponents)
    return complete_positivity(scaled, tolerance=tolerance, factor=np.ldexp(H, exponents[:, None]))

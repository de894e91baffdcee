"""NC2, the shape of the class means and of the classifiers: an orthogonal frame, or a simplex after centring.

``orthogonality`` measures uncentred class means against the frame of non-negative features (Dang, Tran, Nguyen, Ho,
ICML 2024: pairwise orthogonal, of lengths that depend on the counts); ``simplex_measures`` measures centred vectors
against the simplex equiangular tight frame (Papyan, Han, Donoho, PNAS 2020; Zhu et al., NeurIPS 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.measures.rounding import nonzero


@dataclass(frozen=True)
class SimplexMeasures:
    """How far K vectors are from a regular simplex about the origin. All are 0 on one, and at balanced optima.

    At an imbalanced optimum they are positive numbers that the counts determine.

    Attributes:
        equinorm: Standard deviation of the lengths over their mean; Papyan et al., Figure 2. None if all are zero.
        equiangularity: Standard deviation of the cosines over pairs of non-zero vectors; Papyan et al., Figure 3.
            None with fewer than two of them.
        simplex_angle: Mean of |cos + 1/(K−1)| over the same pairs; Papyan et al., Figure 4. None likewise.
        structure: ‖G/‖G‖_F − (I − 11ᵀ/K)/√(K−1)‖_F with G the Gram matrix; Zhu et al., Section 4. None if G = 0.
    """

    equinorm: float | None
    equiangularity: float | None
    simplex_angle: float | None
    structure: float | None


def simplex_measures(rows: FloatArray | None) -> SimplexMeasures:
    """The measures of vectors (K, d), which the caller has centred where they should be; None stands for zeros."""
    if rows is None or not rows.any():
        return SimplexMeasures(None, None, None, None)
    K, lengths = len(rows), np.linalg.norm(rows, axis=1)
    angles = cosines(rows)
    return SimplexMeasures(
        equinorm=float(lengths.std() / lengths.mean()),
        equiangularity=float(angles.std()) if angles.size else None,
        simplex_angle=float(np.abs(angles + 1.0 / (K - 1)).mean()) if angles.size else None,
        structure=structure_error(rows @ rows.T),
    )


def orthogonality(means: FloatArray) -> tuple[float | None, float | None]:
    """Mean and largest |cos(h̄_k, h̄_l)| over pairs of non-zero class means; None with fewer than two of them.

    Both are 0 at the optimum with non-negative features, and 1/(K−1) at a simplex.
    """
    angles = np.abs(cosines(means))
    return (float(angles.mean()), float(angles.max())) if angles.size else (None, None)


def cosines(rows: FloatArray) -> FloatArray:
    """Cosines of all pairs of non-zero rows, one entry a pair."""
    kept = rows[nonzero(rows)]
    unit = kept / np.linalg.norm(kept, axis=1)[:, None]
    found: FloatArray = np.clip((unit @ unit.T)[np.triu_indices(len(kept), 1)], -1.0, 1.0)
    return found


def structure_error(gram: FloatArray) -> float | None:
    """‖G/‖G‖_F − (I − 11ᵀ/K)/√(K−1)‖_F of a (K, K) matrix, in [0, 2]; None where G = 0."""
    K, size = len(gram), float(np.linalg.norm(gram))
    if size == 0.0:
        return None
    return float(np.linalg.norm(gram / size - (np.eye(K) - 1.0 / K) / math.sqrt(K - 1)))

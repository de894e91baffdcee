"""NC2, the shape of the class means and of the classifiers: an orthogonal frame, or a simplex after centring.

``orthogonality`` measures uncentred class means against the frame of non-negative features (Dang, Tran, Nguyen, Ho,
ICML 2024: pairwise orthogonal, of lengths that depend on the counts); ``simplex_measures`` measures centred vectors
against the simplex equiangular tight frame (Papyan, Han, Donoho, PNAS 2020; Zhu et al., NeurIPS 2021). Cosines of
pairs are made in blocks of rows and forgotten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._pairs import pair_products
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
    """The measures of vectors (K, d), which the caller has centred where they should be; None stands for zeros.

    One vector is no simplex, and has none of the measures.
    """
    if rows is None or len(rows) < 2 or not rows.any():
        return SimplexMeasures(None, None, None, None)
    K, lengths = len(rows), np.linalg.norm(rows, axis=1)
    unit = _directions(rows)
    deviation, angle = _cosine_moments(unit, K) if len(unit) > 1 else (None, None)
    return SimplexMeasures(
        equinorm=float(lengths.std() / lengths.mean()),
        equiangularity=deviation,
        simplex_angle=angle,
        structure=structure_error(rows, rows),
    )


def orthogonality(means: FloatArray) -> tuple[float | None, float | None]:
    """Mean and largest |cos(h̄_k, h̄_l)| over pairs of non-zero class means; None with fewer than two of them.

    Both are 0 at the optimum with non-negative features, and 1/(K−1) at a simplex.
    """
    unit = _directions(means)
    if len(unit) < 2:
        return None, None
    total, largest = 0.0, 0.0
    for products in pair_products(unit):
        sizes = np.minimum(np.abs(products, out=products), 1.0, out=products)
        total, largest = total + float(sizes.sum()), max(largest, float(sizes.max(initial=0.0)))
    return total / _pairs(unit), largest


def _cosine_moments(unit: FloatArray, num_classes: int) -> tuple[float, float]:
    """Standard deviation of the cosines, and mean of |cos + 1/(K−1)|, over pairs of unit vectors (m, d), m ≥ 2.

    The deviations are taken from the mean, which is known beforehand: ‖Σ u‖² = m + 2 Σ cos.
    """
    total, number = unit.sum(axis=0), _pairs(unit)
    mean = 0.5 * float(total @ total - (unit * unit).sum()) / number
    first = second = angle = 0.0
    for products in pair_products(unit):
        cosines = np.minimum(np.maximum(products, -1.0, out=products), 1.0, out=products)
        angle += float(np.abs(cosines + 1.0 / (num_classes - 1)).sum())
        cosines -= mean
        first, second = first + float(cosines.sum()), second + float(np.vdot(cosines, cosines))
    return math.sqrt(max(second / number - (first / number) ** 2, 0.0)), angle / number


def _directions(rows: FloatArray) -> FloatArray:
    """The non-zero rows, at length 1."""
    kept = rows[nonzero(rows)]
    unit: FloatArray = kept / np.linalg.norm(kept, axis=1)[:, None]
    return unit


def _pairs(rows: FloatArray) -> int:
    return len(rows) * (len(rows) - 1) // 2


def structure_error(left: FloatArray, right: FloatArray) -> float | None:
    """‖G/‖G‖_F − (I − 11ᵀ/K)/√(K−1)‖_F of G = left rightᵀ, both (K, d), in [0, 2]; None where G = 0.

    In an orthonormal basis of 1 and the columns of both, of dimension r ≤ 2d + 1, G and 11ᵀ are r × r; beyond it only
    −I/√(K−1) is left, of dimension K − r. So nothing is K × K, and nothing cancels.
    """
    K, d = left.shape
    basis = np.asarray(np.linalg.qr(np.column_stack([np.ones(K), left, right]), mode="r"))
    ones, coordinates = basis[:, 0], basis[:, 1:]
    gram = coordinates[:, :d] @ coordinates[:, d:].T
    size, r = float(np.linalg.norm(gram)), len(basis)
    if size == 0.0:
        return None
    inside = gram / size - (np.eye(r) - np.outer(ones, ones) / K) / math.sqrt(K - 1)
    return math.hypot(float(np.linalg.norm(inside)), math.sqrt((K - r) / (K - 1)))

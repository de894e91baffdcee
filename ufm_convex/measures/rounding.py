"""What counts as zero: the one cut-off all measures share.

Squares of lengths carry rounding errors of a few ε times the largest square, so a length below √(ε max(K, d)) times
the longest is not told from zero. Class means are means of features, so their unit is no shorter than the root mean
square of the features: means that cancel to rounding errors are zero. The same rule cuts the eigenvalues of a
pseudo-inverse.
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray


def in_unit(rows: FloatArray, at_least: float = 0.0) -> tuple[FloatArray, float]:
    """The vectors (m, d) divided by their unit, and the unit: the longest of them, or ``at_least``; 1 for zeros.

    In this unit no square overflows, and none that matters underflows.
    """
    largest = float(np.abs(rows).max())
    longest = largest * float(np.linalg.norm(rows / largest, axis=1).max()) if largest > 0.0 else 0.0
    unit = max(longest, at_least) or 1.0
    return rows / unit, unit


def cut_off(rows: FloatArray) -> float:
    """Length, in the unit of these rows, below which a length is rounding error."""
    return math.sqrt(np.finfo(np.float64).eps * max(rows.shape))


def nonzero(rows: FloatArray) -> BoolArray:
    """Which of the vectors (m, d), given in their unit, are longer than rounding error, (m,)."""
    found: BoolArray = np.linalg.norm(rows, axis=1) > cut_off(rows)
    return found


def centred(rows: FloatArray) -> FloatArray | None:
    """Rows minus their mean, (m, d); None where all rows coincide up to rounding."""
    away: FloatArray = rows - rows.mean(axis=0)
    return away if nonzero(away).any() else None


def relative_distance(rows: FloatArray, other: FloatArray) -> float | None:
    """‖X/‖X‖ − Y/‖Y‖‖_F in [0, 2]; None where a matrix is zero."""
    lengths = float(np.linalg.norm(rows)), float(np.linalg.norm(other))
    if 0.0 in lengths:
        return None
    return float(np.linalg.norm(rows / lengths[0] - other / lengths[1]))

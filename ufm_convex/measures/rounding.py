"""What counts as zero, the one cut-off all measures share; and the centre of the class means.

Squares of lengths carry rounding errors of a few ε times the largest square, so a length below √(ε max(K, d)) times
the longest is not told from zero. Class means are means of features, so their unit is no shorter than the root mean
square of the features: means that cancel to rounding errors are zero. The same rule cuts the eigenvalues of a
pseudo-inverse.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex.errors import UnknownNameError, shown

Centre: TypeAlias = Literal["classes", "samples"]
"""What class means are centred about: their own mean, or the mean of all samples, which weighs them by n_k/N."""


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


def require_centre(centre: object) -> None:
    """Raise ``UnknownNameError`` unless it is a ``Centre``."""
    if not isinstance(centre, str) or centre not in get_args(Centre):
        raise UnknownNameError(
            f"centre is {shown(centre)}.",
            expected='"classes", the mean of the class means, or "samples", the mean of all samples',
            fix='leave it out for "classes".',
        )


def centred(means: FloatArray, class_counts: IntArray, centre: Centre) -> FloatArray | None:
    """Class means (m, d) minus their centre; None where all of them coincide up to rounding."""
    middle = means.mean(axis=0) if centre == "classes" else class_counts @ means / class_counts.sum()
    away: FloatArray = means - middle
    return away if nonzero(away).any() else None


def relative_distance(rows: FloatArray, other: FloatArray) -> float | None:
    """‖X/‖X‖ − Y/‖Y‖‖_F in [0, 2]; None where a matrix is zero."""
    lengths = float(np.linalg.norm(rows)), float(np.linalg.norm(other))
    if 0.0 in lengths:
        return None
    return float(np.linalg.norm(rows / lengths[0] - other / lengths[1]))

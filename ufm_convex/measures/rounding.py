"""What counts as zero: the one cut-off all measures share.

Squares of lengths carry rounding errors of a few ε times the largest square, so a length below √(ε max(K, d)) times
the longest is not told from zero. The same rule cuts the eigenvalues of a pseudo-inverse.
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray


def cut_off(rows: FloatArray) -> float:
    """Share of the largest length below which a length of these rows is rounding error."""
    return math.sqrt(np.finfo(np.float64).eps * max(rows.shape))


def nonzero(rows: FloatArray, scale: float | None = None) -> BoolArray:
    """Which rows are longer than rounding error, (m,).

    Args:
        rows: Vectors, (m, d).
        scale: The length they are compared with; None takes the longest row.
    """
    lengths = np.linalg.norm(rows, axis=1)
    longest = float(lengths.max(initial=0.0)) if scale is None else scale
    found: BoolArray = lengths > cut_off(rows) * longest
    return found


def centred(rows: FloatArray) -> FloatArray | None:
    """Rows minus their mean, (m, d); None where all rows coincide up to rounding."""
    away: FloatArray = rows - rows.mean(axis=0)
    longest = float(np.linalg.norm(rows, axis=1).max(initial=0.0))
    return away if nonzero(away, longest).any() else None


def relative_distance(rows: FloatArray, other: FloatArray) -> float | None:
    """‖X/‖X‖ − Y/‖Y‖‖_F in [0, 2]; None where a matrix is zero."""
    lengths = float(np.linalg.norm(rows)), float(np.linalg.norm(other))
    if 0.0 in lengths:
        return None
    return float(np.linalg.norm(rows / lengths[0] - other / lengths[1]))

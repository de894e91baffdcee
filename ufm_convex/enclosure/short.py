"""Shorter integers where a margin allows them: sums that are kept, factors of few columns, coordinates of half as many.

An own entry is minus the sum of the others, and a unit of it moves a squared length by twice its size: columns are
rounded so that their sums are, too. What is left of a slack beside its margin often has a low rank (that of a problem
with free features and all classes apart has one): then a factor of so many columns will do, and all further entries of
a lower triangle are 0.

Everything here only suggests; ``slack`` and ``upper`` prove what comes of it.
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure.exact import ExactMatrix

_ROOM = 0.95
"""Share of the diagonal that the rest of a row may take before the factor is rounded."""
_STEPS = 6


def keeping_sums(scaled: FloatArray) -> FloatArray:
    """Whole numbers (C, R) less than one from the entries, of the sign of each or 0; row sums are rounded sums of rows.

    Those entries are rounded up whose fractions are largest, as in an apportionment by largest remainders.
    """
    found = np.floor(scaled)
    missing = np.rint(scaled.sum(axis=1)) - found.sum(axis=1)
    order = np.argsort(found - scaled, axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(scaled.shape[1])[None, :], axis=1)
    found += ranks < missing[:, None]
    return found


def low_rank_factor(slack: FloatArray, margin: FloatArray, nonnegative: bool) -> FloatArray | None:
    """A lower trapezoid L (C, r), r small, for which each row of S − LLᵀ is dominated by its diagonal.

    Args:
        slack: S, (C, C).
        margin: What S has on its diagonal beside a matrix that is positive semidefinite up to rounding, (C,).
        nonnegative: Whether positive entries of the remainder beside the diagonal do not count.

    Returns:
        The factor; None where it would need more than half as many columns as S has.
    """
    values, vectors = np.linalg.eigh(slack - np.diag(margin))
    for step in range(_STEPS):
        kept = values > margin.max() / 4.0**step
        if 2 * kept.sum() > len(slack):
            return None
        upper = np.linalg.qr((vectors[:, kept] * np.sqrt(values[kept])).T)[1]
        factor: FloatArray = np.tril(upper.T)
        if _dominated(slack - factor @ factor.T, nonnegative):
            return factor
    return None


def _dominated(remainder: FloatArray, nonnegative: bool) -> bool:
    diagonal = remainder.diagonal()
    deficits = np.maximum(-remainder, 0.0) if nonnegative else np.abs(remainder)
    sums = deficits.sum(axis=1) - deficits.diagonal()
    return bool((sums <= _ROOM * diagonal).all())


def triangular(W: FloatArray, H: FloatArray) -> tuple[FloatArray, FloatArray]:
    """W Q (V, r) and H Q (m, r), r = min(m, d): H Q ends at its diagonal, and most entries of each coordinate are ≥ 0.

    WHᵀ and both norms stay. Features may have any sign.
    """
    Q, upper = np.linalg.qr(H.T)
    turned, lower = W @ Q, np.tril(upper.T)
    negative = (lower < 0.0).sum(axis=0) + (turned < 0.0).sum(axis=0)
    positive = (lower > 0.0).sum(axis=0) + (turned > 0.0).sum(axis=0)
    signs = np.where(negative > positive, -1.0, 1.0)
    return turned * signs, lower * signs


def coarse(matrix: FloatArray, weights: FloatArray, excess: float) -> ExactMatrix:
    """The matrix in integers with one exponent, as coarse as a share of its squared length allows.

    Args:
        matrix: The matrix; what is 0 stays 0.
        weights: Of the squares of its rows.
        excess: Expected Σ w ‖δ‖² over Σ w ‖row‖²; errors are as good as uniform.
    """
    squares = float(weights @ (matrix * matrix).sum(axis=1))
    rounded = float(weights @ np.count_nonzero(matrix, axis=1)) / 12.0
    exponent = math.floor(0.5 * math.log2(excess * squares / rounded)) if squares > 0.0 else 0
    return ExactMatrix(np.rint(np.ldexp(matrix, -exponent)).astype(np.int64).tolist(), exponent)

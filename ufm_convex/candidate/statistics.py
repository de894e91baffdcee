"""Statistics by class that add up: counts, sums, sums of squares. Parts of the samples are gathered apart and merged.

Errors: sums in binary64; the deviations lose what the squares have in common with the squared means, a relative 2⁻⁵³ of
Σ‖h‖² and no more. Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, IntArray, frozen
from ufm_convex.errors import CandidateError, ShapeError

_ROUNDING = 1e-6
"""Relative room below Σ‖h‖² ≥ ‖Σ h‖²/n, for sums that were gathered in binary32."""


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Statistics of features by class.

    Args:
        class_counts: n_k, (K,): samples seen of each class; 0 is allowed while they are gathered.
        sums: Σ_i h_i over the samples of class k, (K, d).
        square_sums: Σ_i ‖h_i‖², (K,).

    Raises:
        ShapeError: the shapes do not fit together.
        CandidateError: a count is no whole number ≥ 0, a number is NaN or infinite, or the squares are smaller than any
            samples with these sums have.

    Example:
        >>> first = ClassStatistics([2, 1], [[3.0, 1.0], [0.0, 2.0]], [6.0, 4.0])
        >>> both = first.merged(ClassStatistics([0, 1], [[0.0, 0.0], [1.0, 2.0]], [0.0, 5.0]))
        >>> both.class_counts, both.class_means[1], both.square_deviations
        (array([2, 2]), array([0.5, 2. ]), array([1. , 0.5]))
    """

    class_counts: IntArray
    sums: FloatArray
    square_sums: FloatArray

    def __init__(self, class_counts: npt.ArrayLike, sums: npt.ArrayLike, square_sums: npt.ArrayLike) -> None:
        numbers = {
            name: _given.numbers(name, values, CandidateError, expected=expected, fix="gather the statistics anew.")
            for name, values, expected in (
                ("class_counts", class_counts, "whole numbers >= 0, (K,)"),
                ("sums", sums, "finite numbers, (K, d)"),
                ("square_sums", square_sums, "finite numbers, (K,)"),
            )
        }
        n, S, Q = numbers.values()
        if n.ndim != 1 or S.ndim != 2 or Q.shape != n.shape or len(S) != len(n) or 0 in S.shape:
            raise ShapeError(
                f"class_counts has shape {n.shape}, sums {S.shape}, square_sums {Q.shape}.",
                expected="(K,), (K, d) and (K,)",
                fix="give one entry, row and entry a class.",
            )
        _check(n, S, Q)
        object.__setattr__(self, "class_counts", frozen(n, dtype=np.int64))
        object.__setattr__(self, "sums", frozen(S))
        object.__setattr__(self, "square_sums", frozen(Q))

    def merged(self, other: ClassStatistics) -> ClassStatistics:
        """The statistics of the samples of both.

        Raises:
            ShapeError: the other has other classes or dimensions.
        """
        if self.sums.shape != other.sums.shape:
            raise ShapeError(
                f"the statistics have the shapes {self.sums.shape} and {other.sums.shape}.",
                expected="statistics of the same classes and features",
                fix="merge what one network has gathered.",
            )
        return ClassStatistics(
            self.class_counts + other.class_counts, self.sums + other.sums, self.square_sums + other.square_sums
        )

    @cached_property
    def class_means(self) -> FloatArray:
        """h̄_k, (K, d); 0 for classes without samples."""
        return frozen(self.sums / np.maximum(self.class_counts, 1)[:, None])

    @cached_property
    def square_deviations(self) -> FloatArray:
        """Σ_i ‖h_i − h̄_k‖² over the samples of class k, (K,)."""
        squares = (self.sums * self.class_means).sum(axis=1)
        return frozen(np.maximum(self.square_sums - squares, 0.0))


def _check(n: FloatArray, S: FloatArray, Q: FloatArray) -> None:
    """Raise ``CandidateError`` unless there are samples with these statistics."""
    if (n < 0).any() or (n != np.floor(n)).any():
        k = int(np.argmax((n < 0) | (n != np.floor(n))))
        raise CandidateError(
            f"class_counts[{k}] is {n[k]}.", expected="a whole number >= 0", fix="count the samples of each class."
        )
    least = (S * S).sum(axis=1) / np.maximum(n, 1.0)
    bad = (least * (1.0 - _ROUNDING) > Q) | ((n == 0.0) & ((Q != 0.0) | S.any(axis=1)))
    if bad.any():
        k = int(np.argmax(bad))
        raise CandidateError(
            f"class {k} has {n[k]:.0f} samples, a sum of squared norm {float(S[k] @ S[k]):.6g} and Σ‖h‖² = {Q[k]:.6g}.",
            expected="n Σ‖h‖² >= ‖Σ h‖², and zeros for a class without samples",
            fix="gather all three over the same samples.",
        )

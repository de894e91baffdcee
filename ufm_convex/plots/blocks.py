"""Matrices of many classes as blocks: a panel of an inch shows no thousand rows, and single entries least of all.

Classes stay in the order of ``class_counts``. Blocks are the runs of classes of one count where these are few, else
equal shares of all classes. A cell is the mean over pairs of different classes; the entries of classes with themselves,
which are few and large, would vanish in it, and have a mean of their own in each block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray

FROM = 64
"""Classes from which on matrices are drawn in blocks: below, a class has more than a point of a panel."""
MOST = 16
"""Blocks along an axis: cells of 5 points in a column."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Consecutive classes.

    Attributes:
        starts: First class of each block, then K, (B + 1,).
    """

    starts: IntArray

    @classmethod
    def of(cls, class_counts: IntArray) -> Blocks:
        """Runs of equal counts, if there are at most ``MOST``; else as many equal shares."""
        K = class_counts.size
        runs = np.flatnonzero(np.diff(class_counts, prepend=class_counts[0] - 1))
        if runs.size > MOST:
            runs = np.linspace(0, K, MOST, endpoint=False).astype(np.int64)
        return cls(np.append(runs, K))

    @property
    def sizes(self) -> IntArray:
        """Classes of each block, (B,)."""
        return np.diff(self.starts)

    def own(self, matrix: FloatArray) -> FloatArray:
        """Mean of the diagonal entries of each block, (B,)."""
        found: FloatArray = np.add.reduceat(np.diagonal(matrix), self.starts[:-1]) / self.sizes
        return found

    def between(self, matrix: FloatArray) -> FloatArray:
        """Mean over pairs of different classes, (B, B); NaN for a block of one class with itself."""
        first = self.starts[:-1]
        sums = np.add.reduceat(np.add.reduceat(matrix, first, axis=0), first, axis=1)
        pairs = np.outer(self.sizes, self.sizes).astype(np.float64)
        on = np.arange(first.size), np.arange(first.size)
        sums[on] -= self.own(matrix) * self.sizes
        pairs[on] -= self.sizes
        return np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0.0)

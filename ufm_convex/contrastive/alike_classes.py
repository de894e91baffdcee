"""Classes with equal counts, which the loss does not tell apart.

Shapes: G groups of K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.relaxation import Alike, Orbits


@dataclass(frozen=True, eq=False)
class AlikeClasses:
    """A partition of the classes into groups of alike ones.

    Attributes:
        counts: n of the classes of each group, (G,).
        multiplicities: K_g, the number of classes of each group, (G,).
        members: Group of each class, (K,).
    """

    counts: IntArray
    multiplicities: IntArray
    members: IntArray

    @classmethod
    def of(cls, class_counts: IntArray) -> AlikeClasses:
        """Classes with equal counts, sorted by count."""
        counts, members, multiplicities = np.unique(class_counts, return_inverse=True, return_counts=True)
        return cls(counts, multiplicities.astype(np.int64), members.astype(np.int64))

    @classmethod
    def single(cls, class_counts: IntArray) -> AlikeClasses:
        """One group a class, in class order."""
        K = class_counts.size
        return cls(class_counts, np.ones(K, dtype=np.int64), np.arange(K))

    @property
    def size(self) -> int:
        """G."""
        return int(self.counts.size)

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.members.size)

    @cached_property
    def sizes(self) -> FloatArray:
        """K_g as binary64 numbers, (G,)."""
        return self.multiplicities.astype(np.float64)

    @cached_property
    def orbits(self) -> Orbits:
        """The classes, of which those of a group are permuted."""
        return Orbits.of(self.multiplicities, np.arange(self.size), order=np.argsort(self.members, kind="stable"))

    @cached_property
    def present(self) -> FloatArray:
        """1 where two different classes of groups g and h exist: 0 only on the diagonal, for single classes."""
        return 1.0 - np.diag((self.multiplicities == 1).astype(np.float64))

    @cached_property
    def others(self) -> FloatArray:
        """Number of classes of group g other than a given class of group h, (G, G)."""
        return np.tile(self.sizes[:, None], (1, self.size)) - np.eye(self.size)

    def matrix(self, own: FloatArray, cross: FloatArray) -> Alike:
        """The (K, K) matrix with the diagonal entries ``own``, (G,), and entries ``cross`` off it, (G, G)."""
        sort, even = self.orbits, cross.copy()
        np.fill_diagonal(even, np.where(self.multiplicities == 1, own, np.diag(cross)))
        return Alike.of_entries(sort, sort, np.vstack([even, own]) if sort.large.size else even)

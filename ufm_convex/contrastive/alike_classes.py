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
    """The orbits of classes with equal counts, and these counts.

    Attributes:
        counts: n of the classes of each group, (G,).
        orbits: The classes, of which those of a group are permuted.
    """

    counts: IntArray
    orbits: Orbits

    @classmethod
    def of(cls, class_counts: IntArray) -> AlikeClasses:
        """Classes with equal counts, sorted by count."""
        counts, members, multiplicities = np.unique(class_counts, return_inverse=True, return_counts=True)
        return cls(counts, Orbits.of(multiplicities, np.arange(counts.size), order=np.argsort(members, kind="stable")))

    @classmethod
    def single(cls, class_counts: IntArray) -> AlikeClasses:
        """One group a class, in class order."""
        return cls(class_counts, Orbits.single(class_counts.size))

    @property
    def size(self) -> int:
        """G."""
        return self.orbits.size

    @property
    def num_classes(self) -> int:
        """K."""
        return self.orbits.total

    @property
    def multiplicities(self) -> IntArray:
        """K_g, the number of classes of each group, (G,)."""
        return self.orbits.places

    @property
    def members(self) -> IntArray:
        """Group of each class, (K,)."""
        return self.orbits.members

    @property
    def sizes(self) -> FloatArray:
        """K_g as binary64 numbers, (G,)."""
        return self.orbits.numbers

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

"""Classes that are alike: the same count and the same weight.

A dual point may be averaged over permutations of alike classes: the feasible set is convex and invariant, the dual
value concave and invariant, so feasibility stays and the bound does not fall (docs/certificate.md, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure.exact import ExactVector
from ufm_convex.groups import Groups as _Groups
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import fmpq


@dataclass(frozen=True, eq=False)
class Groups(_Groups):
    """A partition of the classes into groups of alike ones, as a proof needs it."""

    def loads(self) -> ExactVector:
        """ω_k n_k of one class of each group, exactly."""
        weights = ExactVector.of_floats(self.weights)
        pairs = zip(weights.integers, self.counts.tolist(), strict=True)
        return ExactVector([weight * count for weight, count in pairs], weights.exponent)

    def shares(self, problem: Problem) -> list[fmpq]:
        """ω_k n_k / N of one class of each group, exactly."""
        return [load / problem.num_samples for load in self.loads().rationals()]

    def block_means(self, matrix: FloatArray) -> FloatArray:
        """Means over blocks of a (K, K) matrix without its diagonal, (G, G); 0 on the diagonal for single classes."""
        off_diagonal = matrix - np.diag(np.diag(matrix))
        order = np.argsort(self.members, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.multiplicities)[:-1]])
        sums = np.add.reduceat(np.add.reduceat(off_diagonal[np.ix_(order, order)], starts, axis=0), starts, axis=1)
        pairs = np.outer(self.multiplicities, self.multiplicities).astype(np.float64)
        np.fill_diagonal(pairs, np.maximum(self.multiplicities * (self.multiplicities - 1), 1))
        means: FloatArray = sums / pairs
        return means

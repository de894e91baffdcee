"""The Gram matrix that does not tell samples of a class apart, and the dual point, both in O(G) or O(G²) numbers.

Averaging a Gram matrix over permutations within classes (and of classes with equal counts) keeps it feasible and does
not raise the objective (docs/contrastive_duality.md, section 3). What is left has, for a class of each group,

    squares_g   ‖h_i‖²                                   within_g   <h_i, h_j> of two samples of the class
    between_gh  <h_i, h_j> of samples of two classes, of group g and of group h; None when all classes are orthogonal

Units: inner products of features, as they are (not divided by the temperature).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.contrastive.problem import ContrastiveProblem, samples_in
from ufm_convex.contrastive.targets import LOSS, Anchored
from ufm_convex.relaxation import require_dense


@dataclass(frozen=True, eq=False)
class ContrastivePoint:
    """A primal point: the N × N matrix G = H Hᵀ, compressed.

    Attributes:
        groups: Which classes are treated alike.
        squares: G_ii, (G,).
        within: G_ij for two samples of a class, (G,); equal to ``squares`` where a class has one sample.
        between: G_ij for samples of different classes, (G, G), 0 at (g, g) for a group of one class; None for 0.
    """

    groups: AlikeClasses
    squares: FloatArray
    within: FloatArray
    between: FloatArray | None = None

    @classmethod
    def frame(cls, groups: AlikeClasses, lengths: FloatArray) -> ContrastivePoint:
        """h_i = η_g e_k for every sample i of class k of group g: η = ``lengths``, (G,)."""
        return cls(groups, lengths**2, lengths**2)

    @property
    def means(self) -> FloatArray:
        """Squared norms of the class means, (G,)."""
        return self.within + (self.squares - self.within) / self.groups.counts

    @property
    def variability(self) -> float:
        """Σ_i ‖h_i − h̄_{y_i}‖²: 0 when features of a class coincide."""
        return float(samples_in(self.groups) @ (self.squares - self.means))

    def least_eigenvalue(self) -> float:
        """The smallest eigenvalue of G, from its blocks."""
        counts = self.groups.counts.astype(np.float64)
        unit = float(np.max(np.abs(self.squares))) or 1.0  # squares near the end of the range, times counts, leave it
        squares, within = self.squares / unit, self.within / unit
        spread = (squares - within)[counts > 1].min(initial=np.inf)
        own = squares + (counts - 1.0) * within
        if self.between is None:
            return unit * float(min(spread, own.min()))
        blocks = self.groups.matrix(own, self.between / unit * np.sqrt(np.outer(counts, counts)))
        return unit * float(min(spread, blocks.eigenvalues().min()))

    def least_entry(self) -> float:
        """The smallest inner product."""
        entries = [self.squares, self.within]
        if self.between is not None:
            entries.append(self.between[self.groups.present > 0.0])
        return float(np.concatenate(entries).min())

    def class_means(self) -> FloatArray:
        """Gram matrix of the class means, (K, K); raises ``SizeError`` for K > 20,000."""
        require_dense(self.groups.num_classes, "the matrix", "feature_norms")
        between = np.zeros((self.groups.size, self.groups.size)) if self.between is None else self.between
        return self.groups.matrix(self.means, between).full()


@dataclass(frozen=True, eq=False)
class ContrastiveDual:
    """A dual point: for an anchor of each group, the probability that its softmax spends outside its class.

    The whole dual point follows (docs/contrastive_duality.md, equation 4): p_i is uniform within and uniform outside
    the class, the multiplier of G ≥ 0 cancels the gradient between classes, and that of ‖h_i‖² ≤ τ is s/T.

    Attributes:
        groups: Which classes are treated alike.
        outside: s in [0, 1], (G,); 0 where a class has one sample and thus no anchor.
    """

    groups: AlikeClasses
    outside: FloatArray


def anchors(groups: AlikeClasses) -> FloatArray:
    """1 for groups whose samples have positives, 0 for classes of one sample, (G,)."""
    return (groups.counts > 1).astype(np.float64)


def logits(problem: ContrastiveProblem, point: ContrastivePoint) -> tuple[Anchored, FloatArray]:
    """The rows of an anchor of each group, and what stands in them, G_il/T, (E, A)."""
    rows = Anchored.of(problem, point.groups, by_group=point.between is not None)
    within, T = point.within[None, rows.places], problem.temperature
    outside = np.zeros_like(within) if point.between is None else point.between[rows.places].T
    with np.errstate(over="ignore"):
        return rows, np.vstack([within, outside]) / T


def losses(problem: ContrastiveProblem, point: ContrastivePoint) -> FloatArray:
    """The loss of an anchor of each group, (G,); 0 where there is none."""
    rows, z = logits(problem, point)
    return rows.by_group(LOSS.values(z, rows.layout))


def objective(problem: ContrastiveProblem, point: ContrastivePoint) -> float:
    """The objective at a point, in floating point."""
    samples = samples_in(point.groups)
    loss = samples @ losses(problem, point)
    return float(loss + problem.scaled_penalty * (samples @ point.squares) / problem.temperature)


def softmax_dual(problem: ContrastiveProblem, point: ContrastivePoint) -> ContrastiveDual:
    """The dual point read off a primal one: what the softmax of each anchor spends outside its class.

    Averaging p_i over the samples outside the class keeps s and does not lower the dual value (entropy is concave).
    """
    rows, z = logits(problem, point)
    wrong = rows.layout.without_own(LOSS.residuals(z, rows.layout), 0.0)
    return ContrastiveDual(point.groups, rows.by_group(rows.layout.sum(wrong)))

"""Groups of alike classes, and the matrices and points that do not tell the classes of a group apart.

Classes are alike when they have the same count and the same weight. A (K, K) matrix that is invariant under
permutations of alike classes has one diagonal entry and G off-diagonal ones a group. With ℝᴷ split into the vectors
that are constant on groups and, for each group, those that sum to zero on it, such a matrix is block-diagonal:

    trivial block     (G, G)     own_g + (K_g − 1) cross_gg  on the diagonal,  √(K_g K_h) cross_gh  off it
    standard scalar   one a group of two or more classes     own_g − cross_gg, with multiplicity K_g − 1

Products, traces and signs of eigenvalues are those of the blocks (docs/duality.md, section 7). Nothing here is K × K.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.bias import Bias, NoBias, bias_of
from ufm_convex.losses import Layout, Loss, traits
from ufm_convex.points import DualPoint, GramPoint, require_dense
from ufm_convex.problem import Problem


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the classes into groups of alike ones.

    Attributes:
        counts: n of the classes of each group, (G,).
        weights: ω of the classes of each group, (G,).
        multiplicities: K_g, the number of classes of each group, (G,).
        members: Group of each class, (K,).
    """

    counts: IntArray
    weights: FloatArray
    multiplicities: IntArray
    members: IntArray

    @classmethod
    def singletons(cls, problem: Problem) -> Self:
        """One group a class, in class order."""
        K = problem.num_classes
        return cls(problem.class_counts, problem.loss.weights(K), np.ones(K, dtype=np.int64), np.arange(K))

    @classmethod
    def distinct(cls, problem: Problem) -> Self:
        """The coarsest partition, sorted by count, then weight; single classes unless the loss treats all alike."""
        if not problem.loss.alike:
            return cls.singletons(problem)
        weights = problem.loss.weights(problem.num_classes)
        order = np.lexsort((weights, problem.class_counts))
        counts, sorted_weights = problem.class_counts[order], weights[order]
        first = np.ones(order.size, dtype=bool)
        first[1:] = (np.diff(counts) != 0) | (np.diff(sorted_weights) != 0.0)
        starts = np.flatnonzero(first)
        members = np.empty(order.size, dtype=np.int64)
        members[order] = np.cumsum(first) - 1
        multiplicities = np.diff(np.append(starts, order.size))
        return cls(counts[starts], sorted_weights[starts], multiplicities, members)

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
    def roots(self) -> FloatArray:
        """√(K_g K_h), (G, G)."""
        return np.sqrt(np.outer(self.sizes, self.sizes))

    @cached_property
    def pairs(self) -> FloatArray:
        """Number of ordered pairs of different classes in groups g and h, (G, G)."""
        return np.outer(self.sizes, self.sizes) - np.diag(self.sizes)

    @cached_property
    def present(self) -> FloatArray:
        """1 where two different classes of groups g and h exist: 0 only on the diagonal, for single classes."""
        return (self.pairs > 0.0).astype(np.float64)

    @cached_property
    def others(self) -> FloatArray:
        """Number of classes of group g other than a given class of group h, (G, G)."""
        return np.tile(self.sizes[:, None], (1, self.size)) - np.eye(self.size)

    def classes_of(self, chosen: IntArray) -> tuple[tuple[int, ...], ...]:
        """The classes of each of the chosen groups, in the order of their first class."""
        order = np.argsort(self.members, kind="stable")
        ends = np.cumsum(self.multiplicities)
        classes = (order[ends[g] - self.multiplicities[g] : ends[g]].tolist() for g in chosen)
        return tuple(sorted(map(tuple, classes)))

    def mean(self, per_class: FloatArray) -> FloatArray:
        """Group means of one number a class, (G,); of equal numbers that number, however many they are."""
        one_of_each = np.zeros(self.size)
        one_of_each[self.members] = per_class
        with np.errstate(invalid="ignore"):  # what is not finite comes out as NaN
            rest = per_class - one_of_each[self.members]
        return one_of_each + np.bincount(self.members, rest, minlength=self.size) / self.multiplicities


@dataclass(frozen=True, eq=False)
class Invariant:
    """A (K, K) matrix, not necessarily symmetric, invariant under permutations of alike classes.

    Attributes:
        groups: The groups.
        own: Diagonal entries, (G,).
        cross: Entry (j, k) for j ≠ k, j of group g and k of group h, (G, G); 0 at (g, g) for a single class.
    """

    groups: Groups
    own: FloatArray
    cross: FloatArray

    @classmethod
    def from_blocks(cls, groups: Groups, trivial: FloatArray, standard: FloatArray) -> Invariant:
        """The matrix with the given blocks, (G, G) and (G,)."""
        cross = trivial / groups.roots
        single = groups.multiplicities == 1
        diagonal = np.diag(trivial)
        within = np.where(single, 0.0, (diagonal - standard) / groups.sizes)
        np.fill_diagonal(cross, within)
        return cls(groups, np.where(single, diagonal, within + standard), cross)

    @classmethod
    def mean(cls, groups: Groups, matrix: FloatArray) -> Invariant:
        """The mean of a (K, K) matrix over permutations of alike classes: its orthogonal projection."""
        order = np.argsort(groups.members, kind="stable")
        starts = np.concatenate([[0], np.cumsum(groups.multiplicities)[:-1]])
        off_diagonal = matrix - np.diag(np.diag(matrix))
        sums = np.add.reduceat(np.add.reduceat(off_diagonal[np.ix_(order, order)], starts, axis=0), starts, axis=1)
        return cls(groups, groups.mean(np.diag(matrix)), sums / np.maximum(groups.pairs, 1.0))

    @classmethod
    def zeros(cls, groups: Groups) -> Invariant:
        """The zero matrix."""
        return cls(groups, np.zeros(groups.size), np.zeros((groups.size, groups.size)))

    @classmethod
    def identity(cls, groups: Groups) -> Invariant:
        """The identity."""
        return cls(groups, np.ones(groups.size), np.zeros((groups.size, groups.size)))

    # -- blocks -------------------------------------------------------------------------------------------------

    @cached_property
    def trivial(self) -> FloatArray:
        """The block on vectors that are constant on groups, (G, G)."""
        block = self.groups.roots * self.cross
        np.fill_diagonal(block, self.own + (self.groups.sizes - 1.0) * np.diag(self.cross))
        return block

    @cached_property
    def standard(self) -> FloatArray:
        """The scalar on vectors that sum to zero on a group, (G,); it acts K_g − 1 times, so not for single classes."""
        return np.where(self.groups.multiplicities > 1, self.own - np.diag(self.cross), 0.0)

    # -- algebra ------------------------------------------------------------------------------------------------

    @property
    def T(self) -> Invariant:
        """The transpose."""
        return Invariant(self.groups, self.own, self.cross.T)

    def __add__(self, other: Invariant) -> Invariant:
        return Invariant(self.groups, self.own + other.own, self.cross + other.cross)

    def __sub__(self, other: Invariant) -> Invariant:
        return Invariant(self.groups, self.own - other.own, self.cross - other.cross)

    def __mul__(self, factor: float) -> Invariant:
        return Invariant(self.groups, self.own * factor, self.cross * factor)

    __rmul__ = __mul__

    def __matmul__(self, other: Invariant) -> Invariant:
        """The product of matrices, which is invariant again."""
        return Invariant.from_blocks(self.groups, self.trivial @ other.trivial, self.standard * other.standard)

    def scaled(self, rows: FloatArray, columns: FloatArray) -> Invariant:
        """Diag(rows) · self · Diag(columns) for one number a group each."""
        return Invariant(self.groups, rows * self.own * columns, rows[:, None] * self.cross * columns)

    def map(self, function: Callable[[FloatArray], FloatArray]) -> Invariant:
        """An elementwise function of the entries that exist."""
        return Invariant(self.groups, function(self.own), function(self.cross) * self.groups.present)

    def inner(self, other: Invariant) -> float:
        """The sum of products of entries of the two (K, K) matrices."""
        return float(self.groups.sizes @ (self.own * other.own) + (self.groups.pairs * self.cross * other.cross).sum())

    def norm(self) -> float:
        """The Frobenius norm."""
        return math.sqrt(self.inner(self))

    def least_eigenvalue(self) -> float:
        """The smallest eigenvalue of a symmetric one."""
        block = 0.5 * (self.trivial + self.trivial.T)
        several = self.standard[self.groups.multiplicities > 1]
        return float(min(np.linalg.eigvalsh(block)[0], several.min(initial=np.inf)))

    def entries(self) -> FloatArray:
        """Every entry that exists, once."""
        return np.concatenate([self.own, self.cross[self.groups.present > 0.0]])

    def columns(self) -> FloatArray:
        """The column of a class of each group: one entry a group of others, then the own one, (G + 1, G)."""
        return np.vstack([self.cross, self.own])

    def dense(self) -> FloatArray:
        """The (K, K) matrix; raises ``SizeError`` for K > 20,000."""
        members = self.groups.members
        require_dense(members.size, "the matrix", "the entries own and cross of the group-level point")
        matrix = self.cross[np.ix_(members, members)]
        np.fill_diagonal(matrix, self.own[members])
        return matrix


@dataclass(frozen=True, eq=False)
class GroupColumns:
    """How the columns of a class of each group enter the objective; the counterpart of ``Columns``.

    Attributes:
        groups: The groups.
        loss_weights: pt of one class of each group, (G,).
        feature_weights: ν of one class of each group, (G,).
        lambda_w: Decay of the classifier.
        lambda_h: Decay of the features.
        loss: The loss.
        nonnegative: Whether B ≥ 0 entrywise is required.
        bias: The penalty of the bias, of all K classes.
    """

    groups: Groups
    loss_weights: FloatArray
    feature_weights: FloatArray
    lambda_w: float
    lambda_h: float
    loss: Loss
    nonnegative: bool
    bias: Bias = field(default_factory=NoBias)

    @classmethod
    def of(cls, problem: Problem) -> GroupColumns:
        """The columns of the coarsest partition.

        Raises:
            HypothesisError: the loss does not treat alike classes alike, or the problem is no plain one.
        """
        problem.require_decays("columns of groups")
        traits.require(problem.loss, ("alike",), "use level 'class'.")
        groups = Groups.distinct(problem)
        counts = groups.counts.astype(np.float64)
        return cls(
            groups=groups,
            loss_weights=groups.weights * counts / problem.num_samples,
            feature_weights=counts,
            lambda_w=problem.lambda_w,
            lambda_h=problem.lambda_h,
            loss=problem.loss,
            nonnegative=problem.nonnegative,
            bias=bias_of(problem.bias, problem.loss, problem.num_classes),
        )

    @cached_property
    def sigma(self) -> FloatArray:
        """σ_g = √(λ_W λ_H n_g), (G,)."""
        return math.sqrt(self.lambda_w) * math.sqrt(self.lambda_h) * np.sqrt(self.feature_weights)

    @cached_property
    def several(self) -> IntArray:
        """Groups of two classes or more."""
        return np.flatnonzero(self.groups.multiplicities > 1)

    @property
    def class_weights(self) -> FloatArray:
        """K_g pt_g, the weight of the loss of a group, (G,)."""
        return self.groups.sizes * self.loss_weights

    # -- the loss on invariant matrices -------------------------------------------------------------------------

    @cached_property
    def layout(self) -> Layout:
        """How the loss sees the column of a class of each group: one entry a group of others, then the own one."""
        own = np.full(self.groups.size, self.groups.size)
        return self.loss.orbit_layout(np.vstack([self.groups.others, np.ones(self.groups.size)]), own)

    def invariant(self, entries: FloatArray) -> Invariant:
        """The matrix with these columns, (G + 1, G)."""
        return Invariant(self.groups, entries[-1], entries[:-1])

    def values(self, logits: Invariant) -> FloatArray:
        """Loss at the column of a class of each group, (G,)."""
        return self.loss.values(logits.columns(), self.layout)

    def residuals(self, logits: Invariant) -> Invariant:
        """Gradient of the loss, column by column."""
        return self.invariant(self.loss.residuals(logits.columns(), self.layout))

    def nearest(self, residuals: Invariant, logits: Invariant) -> Invariant:
        """See ``Loss.nearest``."""
        return self.invariant(self.loss.nearest(residuals.columns(), logits.columns(), self.layout))

    def conjugates(self, residuals: Invariant) -> FloatArray:
        """Conjugate at the column of a class of each group, (G,)."""
        return self.loss.conjugate(residuals.columns(), self.layout)

    def into_domain(self, residuals: Invariant) -> Invariant:
        """A point of the conjugate's domain near each column."""
        return self.invariant(self.loss.into_domain(residuals.columns(), self.layout))

    def sums(self, residuals: Invariant) -> tuple[FloatArray, float]:
        """U1, one entry a class, (K,), and Σ |u|."""
        own, cross = residuals.own * self.loss_weights, residuals.cross * self.loss_weights
        sums = own + (cross * self.groups.others.T).sum(axis=1)
        size = self.groups.sizes @ (np.abs(own) + (np.abs(cross) * self.groups.others).sum(axis=0))
        return sums[self.groups.members], float(size)

    def support(self, residuals: Invariant) -> float:
        """g*(−U1), what the dual objective pays for the bias."""
        return self.bias.support(*self.sums(residuals)) if self.bias.size else 0.0


@dataclass(frozen=True, eq=False)
class GroupPoint:
    """A primal point of the relaxation that is alike on alike classes.

    Attributes:
        weight_gram: A.
        logits: L; column k holds the logits of class k.
        feature_gram: B.
        bias: b of a class of each group, (G,); None for zero.
    """

    weight_gram: Invariant
    logits: Invariant
    feature_gram: Invariant
    bias: FloatArray | None = None

    @property
    def groups(self) -> Groups:
        """The groups."""
        return self.logits.groups

    @classmethod
    def from_factors(cls, W: Invariant, H: Invariant) -> GroupPoint:
        """The Gram matrices of W and H, (K, K) both, one row a class."""
        return cls(W @ W.T, W @ H.T, H @ H.T)

    @classmethod
    def mean(cls, groups: Groups, point: GramPoint) -> GroupPoint:
        """The mean of a class-level point over permutations of alike classes."""
        A, L, B = (Invariant.mean(groups, block) for block in (point.weight_gram, point.logits, point.feature_gram))
        return cls(A, L, B, None if point.bias is None else groups.mean(point.bias))

    def __sub__(self, other: GroupPoint) -> GroupPoint:
        return GroupPoint(
            self.weight_gram - other.weight_gram, self.logits - other.logits, self.feature_gram - other.feature_gram
        )

    def scaled(self, rows: FloatArray, columns: FloatArray) -> GroupPoint:
        """Diag(rows, columns) Z Diag(rows, columns) for one number a group each."""
        return GroupPoint(
            self.weight_gram.scaled(rows, rows),
            self.logits.scaled(rows, columns),
            self.feature_gram.scaled(columns, columns),
        )

    def inner(self, other: GroupPoint) -> float:
        """<Z, S> = <A, S_A> + 2 <L, S_L> + <B, S_B>."""
        diagonal = self.weight_gram.inner(other.weight_gram) + self.feature_gram.inner(other.feature_gram)
        return diagonal + 2.0 * self.logits.inner(other.logits)

    def least_eigenvalue(self) -> float:
        """The smallest eigenvalue of Z, from its blocks."""
        A, L, B = self.weight_gram, self.logits, self.feature_gram
        Z = np.block([[A.trivial, L.trivial], [L.trivial.T, B.trivial]])
        several = self.groups.multiplicities > 1
        middle, spread = 0.5 * (A.standard + B.standard), 0.5 * (A.standard - B.standard)
        small = (middle - np.hypot(spread, L.standard))[several]
        return float(min(np.linalg.eigvalsh(0.5 * (Z + Z.T))[0], small.min(initial=np.inf)))

    def dense(self) -> GramPoint:
        """The same point as (K, K) matrices; raises ``SizeError`` for K > 20,000."""
        bias = None if self.bias is None else self.bias[self.groups.members]
        return GramPoint(self.weight_gram.dense(), self.logits.dense(), self.feature_gram.dense(), bias)


@dataclass(frozen=True, eq=False)
class GroupDual:
    """A dual point that is alike on alike classes; the counterpart of ``DualPoint``.

    Attributes:
        residuals: V.
        nonnegativity: T.
        weight_block: S_A; None for λ_W/2 · I.
        feature_block: S_B; None for λ_H/2 Diag(ν) − T/(2 λ_W).
    """

    residuals: Invariant
    nonnegativity: Invariant
    weight_block: Invariant | None = None
    feature_block: Invariant | None = None

    @property
    def groups(self) -> Groups:
        """The groups."""
        return self.residuals.groups

    @classmethod
    def mean(cls, groups: Groups, dual: DualPoint) -> GroupDual:
        """The mean of a class-level dual point over permutations of alike classes: its value is no smaller."""
        blocks = (dual.residuals, dual.nonnegativity, dual.weight_block, dual.feature_block)
        return cls(*(None if block is None else Invariant.mean(groups, block) for block in blocks))  # type: ignore[arg-type]

    def dense(self) -> DualPoint:
        """The same point as (K, K) matrices; raises ``SizeError`` for K > 20,000."""
        blocks = (self.residuals, self.nonnegativity, self.weight_block, self.feature_block)
        return DualPoint(*(None if block is None else block.dense() for block in blocks))  # type: ignore[arg-type]

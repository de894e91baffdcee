"""Collapse with free features: which groups of equal classes merge, and when everything vanishes.

Free features of a small class do not vanish, they *merge*: all classes of a group share one feature and one logit
column (minority collapse: Fang, He, Long, Su, PNAS 118, 2021). For cross-entropy with smoothing α, a group of at least
two classes with n samples and weight ω each merges iff

    ω² (1−α)² n ≤ N² λ_W λ_H,

whatever the other groups are. All features vanish iff λ_max(P Diag(ω² (1−α)² n) P) ≤ N² λ_W λ_H, P = I − 11ᵀ/K.

Proof of both: docs/free_features.md, section 5. Merging is decided in exact arithmetic, like collapse in ``collapse``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray, frozen
from ufm_convex.losses import CrossEntropy
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem, nearest, refusal
from ufm_convex.theory.collapse import cross_entropy

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_CITATION = (
    "minority collapse: Fang, He, Long, Su: Exploring deep neural networks via layer-peeled model, PNAS 118, 2021; "
    "threshold and proof in docs/free_features.md, section 5"
)


@dataclass(frozen=True, eq=False)
class GroupCollapse:
    """Which groups of equal classes merge.

    Attributes:
        classes: The classes with samples of each group, from 0, in the order of their first class.
        merged: Whether the classes of the group share one feature, (G,); False for groups of a single class.
        threshold: N² λ_W λ_H: a group of weight 1 without smoothing merges iff n is at most this; rounded.
        citation: The source.
    """

    classes: tuple[IntArray, ...]
    merged: BoolArray
    threshold: float
    citation: str

    @property
    def merged_groups(self) -> tuple[tuple[int, ...], ...]:
        """The classes of every group that merges."""
        return tuple(tuple(group.tolist()) for group, yes in zip(self.classes, self.merged, strict=True) if yes)


def group_hypotheses(problem: Problem) -> tuple[Hypothesis, ...]:
    """The conditions of ``group_collapse``."""
    d = problem.feature_dim
    return (
        Hypothesis("loss is cross-entropy", type(problem.loss) is CrossEntropy, f"loss is {problem.loss.name}"),
        Hypothesis("features are free", not problem.nonnegative, f'features is "{problem.features}"'),
        Hypothesis(
            "feature_dim is at least K − 1",
            d is None or d >= problem.num_classes - 1,
            f"feature_dim is {d}; there are {problem.num_classes} classes",
        ),
    )


def group_collapse(problem: Problem) -> GroupCollapse:
    """Which groups of classes with equal counts and weights merge at the optimum.

    Raises:
        HypothesisError: the loss is not cross-entropy, features are non-negative, or d < K − 1.
    """
    failed = tuple(hypothesis for hypothesis in group_hypotheses(problem) if not hypothesis.holds)
    if failed:
        raise refusal({"group collapse": failed})
    weights = problem.loss.weights(problem.num_classes)
    pairs = np.rec.fromarrays([problem.class_counts, weights])
    _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    order = np.argsort(first)
    classes = tuple(np.flatnonzero(which == g) for g in order if problem.class_counts[first[g]])
    bound = problem.num_samples**2 * Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
    fidelity = 1 - Fraction(cross_entropy(problem).smoothing)
    merged = [
        group.size > 1
        and (Fraction(float(weights[group[0]])) * fidelity) ** 2 * int(problem.class_counts[group[0]]) <= bound
        for group in classes
    ]
    return GroupCollapse(classes, frozen(merged, dtype=np.bool_), nearest(bound), _CITATION)


@dataclass(frozen=True, eq=False)
class ZeroOptimum(Optimum):
    """W = 0 and H = 0.

    Attributes:
        num_classes: K.
        pressure: λ_max(P Diag(ω² (1−α)² n) P) / (N² λ_W λ_H) ≤ 1.
    """

    num_classes: int
    pressure: float

    @property
    def margins(self) -> FloatArray:
        """0 for every class, (K,)."""
        return np.zeros(self.num_classes)

    def factors(self, feature_dim: int | None = None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and H (K, d), both 0; d = 1 by default."""
        zeros = np.zeros((2, self.num_classes, feature_dim or 1))
        return zeros[0], zeros[1]


class FreeTotalCollapse(Theorem):
    """Decays so large that nothing is learnt; the value is Σ_k pt_k log K."""

    name: ClassVar[str] = "total collapse"
    citation: ClassVar[str] = _CITATION
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Loss, free features, and the eigenvalue."""
        loss, free, _ = group_hypotheses(problem)
        if not loss.holds:
            return loss, free
        found = pressure(problem)
        bound = Hypothesis(
            "lambda_max(P Diag(n) P) <= N² λ_W λ_H",
            found <= 1.0,
            f"the left side is {found:.6g} times the right one",
        )
        return loss, free, bound

    def evaluate(self, problem: Problem, relation: Relation) -> ZeroOptimum:
        """The objective at W = H = 0."""
        value = math.fsum(problem.loss_weights) * math.log(problem.num_classes)
        return ZeroOptimum(value, relation, self.citation, problem.num_classes, pressure(problem))


def pressure(problem: Problem) -> float:
    """‖U D^{-1/2}‖² at W = H = 0, λ_max(P Diag(ω² (1−α)² n) P) / (N² λ_W λ_H): at most 1 iff nothing is learnt.

    The eigenvalue is the root of the secular equation Σ_k 1/(a_k − μ) = 0 between the two largest a_k: O(K).
    """
    weights, counts = problem.loss.weights(problem.num_classes), problem.class_counts
    pull = weights * np.sqrt(counts)
    largest = int(np.argmax(pull))
    fidelity = 1 - Fraction(cross_entropy(problem).smoothing)
    scale = (Fraction(float(weights[largest])) * fidelity) ** 2 * int(counts[largest])
    decays = problem.num_samples**2 * Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
    return nearest(Fraction(_top_eigenvalue(np.square(pull / pull[largest]))) * scale / decays)


def _top_eigenvalue(a: FloatArray) -> float:
    """λ_max(P Diag(a) P) by bisection: μ ↦ Σ 1/(a_k − μ) rises from −∞ to +∞ between the two largest a_k."""
    second, first = np.sort(a)[-2:]
    low, high = float(second), float(first)
    while low < (middle := 0.5 * (low + high)) < high:
        if (1.0 / (a - middle)).sum() > 0.0:
            high = middle
        else:
            low = middle
    return high

"""Multi-class hinge losses with non-negative features: an orthogonal frame in which a class has margin 1 or none.

Both losses see margins only, so an orthogonal frame is optimal and classes separate (docs/closed_forms.md):

    min over 0 ≤ M ≤ 1 of  c pt_k (1 − M) + √(λ_W λ_H n_k (K−1)/K) M,      pt_k = n_k / N,

linear in M, with c = 1 for Crammer–Singer and c = K − 1 for Weston–Watkins. So

    f* = Σ_k min(c pt_k, √(λ_W λ_H n_k (K−1)/K)),      collapse iff n_k ≤ N² λ_W λ_H (K−1) / (K c²).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, frozen
from ufm_convex.losses import Loss, MulticlassHinge
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem, nearest, nonnegative_features, room_for

if TYPE_CHECKING:
    from ufm_convex.problem import Problem


@dataclass(frozen=True, eq=False)
class HingeOptimum(Optimum):
    """The optimum, class by class.

    Attributes:
        threshold: The size at or below which a class collapses (at equality both margins are optimal).
        collapsed: Whether h_k = 0, shape (K,).
        margins: M_k, 1 or 0, shape (K,).
    """

    threshold: float
    collapsed: BoolArray = field(repr=False)
    margins: FloatArray = field(repr=False)

    @property
    def num_active(self) -> int:
        """Number of classes with h_k ≠ 0."""
        return int(np.count_nonzero(~self.collapsed))


class HingeFrame(Theorem):
    """The orthogonal frame of the Crammer–Singer and Weston–Watkins losses."""

    name: ClassVar[str] = "hinge frame"
    citation: ClassVar[str] = "docs/closed_forms.md, section 3, from the identity of docs/theorem_proof.md, section 4"
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Loss, sign of the features, dimension; the last is examined only for a hinge loss."""
        holds = type(problem.loss) is MulticlassHinge
        loss = Hypothesis("loss is multiclass-hinge", holds, f"loss is {problem.loss.name}")
        sign = nonnegative_features(problem)
        if not holds:
            return (loss, sign)
        return (loss, sign, room_for(problem, int(np.count_nonzero(~_collapsed(problem, _threshold(problem))))))

    def collapse_size(self, problem: Problem) -> Fraction:
        """See ``Theorem.collapse_size``."""
        return _threshold(problem)

    def evaluate(self, problem: Problem, relation: Relation) -> HingeOptimum:
        """The closed form; O(K)."""
        threshold, K = _threshold(problem), problem.num_classes
        collapsed = _collapsed(problem, threshold)
        prices = problem.sigma * math.sqrt((K - 1) / K)
        terms = np.where(collapsed, _copies(problem.loss, K) * problem.loss_weights, prices)
        return HingeOptimum(
            value=math.fsum(terms),
            relation=relation,
            citation=self.citation,
            threshold=nearest(threshold),
            collapsed=frozen(collapsed, dtype=np.bool_),
            margins=frozen(~collapsed),
        )


def _threshold(problem: Problem) -> Fraction:
    K = problem.num_classes
    product = Fraction(problem.lambda_w) * Fraction(problem.lambda_h) * problem.num_samples**2
    return product * (K - 1) / (K * _copies(problem.loss, K) ** 2)


def _collapsed(problem: Problem, threshold: Fraction) -> BoolArray:
    return np.array([n <= threshold for n in problem.class_counts.tolist()])


def _copies(loss: Loss, num_classes: int) -> int:
    return num_classes - 1 if loss.parameters().get("kind") == "weston-watkins" else 1

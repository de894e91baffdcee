"""Binary cross-entropy with non-negative features and at most four classes: an orthogonal frame.

By symmetry in the other classes z_k = α_k (2e_k − 1), and on an orthogonal frame each class has its own problem

    min over α ≥ 0 of  pt_k K log(1 + e^{−α}) + σ_k √K α,      pt_k = n_k / N,  σ_k = √(λ_W λ_H n_k),

so that with s_k = N √(λ_W λ_H / (K n_k)) the optimum is α_k = log(1/s_k − 1) where s_k < 1/2, and 0 elsewhere:

    f* = Σ_k pt_k K (−log(1 − s_k) + s_k α_k)  over active classes  +  Σ_k pt_k K log 2  over collapsed ones,
    collapse iff n_k ≤ 4 N² λ_W λ_H / K.

Residuals of two classes are parallel to 2e_k − 1 and 2e_l − 1, whose product is K − 4. For K ≤ 4 it is not positive and
the frame is optimal by the sign test of docs/frame.md, section 2; for K ≥ 5 the frame is feasible and no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, frozen
from ufm_convex.losses import BinaryCrossEntropy
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem, nearest, nonnegative_features, room_for

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_MOST_CLASSES = 4


@dataclass(frozen=True, eq=False)
class BinaryFrameOptimum(Optimum):
    """The optimum, class by class.

    Attributes:
        threshold: The size at or below which a class collapses; rounded, ``collapsed`` is not.
        collapsed: Whether h_k = 0, shape (K,).
        scales: α_k with logits z_k = α_k (2e_k − 1), shape (K,).
    """

    threshold: float
    collapsed: BoolArray = field(repr=False)
    scales: FloatArray = field(repr=False)

    @property
    def num_active(self) -> int:
        """Number of classes with h_k ≠ 0."""
        return int(np.count_nonzero(~self.collapsed))


class BinaryFrame(Theorem):
    """The orthogonal frame of one sigmoid a class."""

    name: ClassVar[str] = "binary frame"
    citation: ClassVar[str] = "docs/closed_forms.md, section 3, by the sign test of docs/frame.md, section 2"
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Loss, number of classes, sign of the features, dimension; the last is examined only for this loss."""
        holds, K = type(problem.loss) is BinaryCrossEntropy and not problem.tabled, problem.num_classes
        loss = Hypothesis("loss is binary-cross-entropy", holds, f"loss is {problem.loss.name}")
        few = Hypothesis(
            f"there are at most {_MOST_CLASSES} classes",
            K <= _MOST_CLASSES,
            f"there are {K}, and residuals of active classes point towards each other",
            otherwise=Relation.UPPER,
        )
        sign = nonnegative_features(problem)
        if not holds:
            return (loss, few, sign)
        return (loss, few, sign, room_for(problem, int(np.count_nonzero(~_collapsed(problem)))))

    def collapse_size(self, problem: Problem) -> Fraction:
        """See ``Theorem.collapse_size``."""
        return _threshold(problem)

    def evaluate(self, problem: Problem, relation: Relation) -> BinaryFrameOptimum:
        """The closed form; O(K)."""
        K, collapsed = problem.num_classes, _collapsed(problem)
        weights = np.where(problem.class_counts > 0, problem.loss_weights, 1.0)
        s = np.where(collapsed, 0.5, problem.sigma / (weights * math.sqrt(K)))
        # 1 − 2s is exact next to 1/2, so α keeps its digits at the threshold
        scales = np.where(collapsed, 0.0, np.log1p((1.0 - 2.0 * s) / s))
        terms = problem.loss_weights * K * (s * scales - np.log1p(-s))
        return BinaryFrameOptimum(
            value=math.fsum(terms),
            relation=relation,
            citation=self.citation,
            threshold=nearest(_threshold(problem)),
            collapsed=frozen(collapsed, dtype=np.bool_),
            scales=frozen(scales),
        )


def _threshold(problem: Problem) -> Fraction:
    """4 N² λ_W λ_H / K, exactly."""
    product = Fraction(problem.lambda_w) * Fraction(problem.lambda_h) * problem.num_samples**2
    return 4 * product / problem.num_classes


def _collapsed(problem: Problem) -> BoolArray:
    threshold = _threshold(problem)
    return np.array([n <= threshold for n in problem.class_counts.tolist()])

"""Mean squared error against one-hot targets: a general orthogonal frame, for every feature dimension.

With X = L Diag(√n) the problem is a nuclear-norm one, min ‖X − Diag(√n)‖²/(2N) + √(λ_W λ_H) ‖X‖_*, whose solution
soft-thresholds the singular values √n_k, all but the d largest put to 0 (Eckart, Young 1936). The minimiser is diagonal
and non-negative, so it needs no sign constraint and satisfies it:

    L_kk = (1 − N √(λ_W λ_H / n_k))₊,      f* = 1/2 − Σ_{d largest} (√n_k − N √(λ_W λ_H))₊² / (2N).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, frozen
from ufm_convex.losses import MeanSquaredError
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem, nearest

if TYPE_CHECKING:
    from ufm_convex.problem import Problem


@dataclass(frozen=True, eq=False)
class OneHotOptimum(Optimum):
    """The optimum, class by class.

    Attributes:
        threshold: N² λ_W λ_H, the size at or below which a class collapses.
        collapsed: Whether h_k = 0, shape (K,); by size, or because d larger classes took the dimensions.
        logits: L_kk, own logit of each class, the others being 0, shape (K,).
        feature_norms: ‖h_k‖, shape (K,).
        weight_norms: ‖w_k‖, shape (K,).
    """

    threshold: float
    collapsed: BoolArray = field(repr=False)
    logits: FloatArray = field(repr=False)
    feature_norms: FloatArray = field(repr=False)
    weight_norms: FloatArray = field(repr=False)

    @property
    def num_active(self) -> int:
        """Number of classes with h_k ≠ 0."""
        return int(np.count_nonzero(~self.collapsed))


class MeanSquaredErrorFrame(Theorem):
    """The general orthogonal frame of mean squared error."""

    name: ClassVar[str] = "mean-squared-error frame"
    citation: ClassVar[str] = (
        "Dang, Tran, Osher, Tran-The, Ho, Nguyen: Neural Collapse in Deep Linear Networks, ICML 2023 (general "
        "orthogonal frame without bias); docs/losses.md"
    )
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """The loss alone: features of either sign and of any dimension are covered."""
        holds = type(problem.loss) is MeanSquaredError and not problem.tabled
        return (Hypothesis("loss is mean-squared-error", holds, f"loss is {problem.loss.name}"),)

    def evaluate(self, problem: Problem, relation: Relation) -> OneHotOptimum:
        """The closed form; O(K log K)."""
        threshold = Fraction(problem.lambda_w) * Fraction(problem.lambda_h) * problem.num_samples**2
        roots = np.sqrt(problem.class_counts.astype(np.float64))
        shrink = problem.num_samples * math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h)
        collapsed = np.array([n <= threshold for n in problem.class_counts.tolist()])
        if problem.feature_dim is not None:
            collapsed[np.argsort(-problem.class_counts, kind="stable")[problem.feature_dim :]] = True
        pull = np.where(collapsed, 0.0, np.maximum(roots - shrink, 0.0))
        lost = np.where(collapsed, roots, np.minimum(roots, shrink))  # √n less the pull, without cancellation
        divisors = np.maximum(roots, 1.0)  # √n, or 1 for a class without samples, whose numerator is 0
        logits = pull / divisors
        ratio = math.sqrt(math.sqrt(problem.lambda_w)) / math.sqrt(math.sqrt(problem.lambda_h))
        return OneHotOptimum(
            value=math.fsum(lost * (roots + pull)) / (2 * problem.num_samples),
            relation=relation,
            citation=self.citation,
            threshold=nearest(threshold),
            collapsed=frozen(collapsed, dtype=np.bool_),
            logits=frozen(logits),
            feature_norms=frozen(np.sqrt(pull) / divisors * ratio),
            weight_norms=frozen(np.sqrt(pull) / ratio),
        )

"""Sample level: one column a sample, a Gram matrix of order K + N; within-class collapse is a result here.

With the membership matrix Y (N, K) and n = Diag(n_k):

    lift      (A, L, B) → (A, L Yᵀ, Y B Yᵀ)                     restrict       (A, L, B) → (A, L Y n⁻¹, n⁻¹ Yᵀ B Y n⁻¹)
    lift_dual (S_A, S_L, S_B) → (S_A, S_L n⁻¹ Yᵀ, Y n⁻¹ S_B n⁻¹ Yᵀ)      restrict_dual  → (S_A, S_L Y, Yᵀ S_B Y)

Source: docs/duality.md, section 7 (the class-mean reduction).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.points import Columns, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.relaxation.base import ColumnLevel


class SampleLevel(ColumnLevel):
    """Variables are the Gram matrices of W and of all N features."""

    name: ClassVar[str] = "sample"
    gram_limit: ClassVar[int] = 400
    advice: ClassVar[str] = (
        "use level 'class', whose order 2K does not grow with N, or 'auto': the optimum is the same."
    )

    def columns(self, problem: Problem) -> Columns:
        """One column a sample, classes in blocks."""
        return Columns.of_samples(problem)

    def gram_order(self, problem: Problem) -> int:
        """K + N."""
        return problem.num_classes + problem.num_samples

    def lift(self, problem: Problem, point: GramPoint) -> GramPoint:
        """Every sample takes its class mean."""
        Y = _membership(problem)
        return GramPoint(point.weight_gram, point.logits @ Y.T, Y @ point.feature_gram @ Y.T, point.bias)

    def restrict(self, problem: Problem, point: GramPoint) -> GramPoint:
        """Samples are replaced by class means."""
        means = _membership(problem) / problem.class_counts
        return GramPoint(point.weight_gram, point.logits @ means, means.T @ point.feature_gram @ means, point.bias)

    def restrict_dual(self, problem: Problem, blocks: GramPoint) -> GramPoint:
        """Multipliers of a class are summed."""
        Y = _membership(problem)
        return GramPoint(blocks.weight_gram, blocks.logits @ Y, Y.T @ blocks.feature_gram @ Y)

    def lift_dual(self, problem: Problem, blocks: GramPoint) -> GramPoint:
        """Multipliers of a class are spread evenly over its samples."""
        means = _membership(problem) / problem.class_counts
        return GramPoint(blocks.weight_gram, blocks.logits @ means.T, means @ blocks.feature_gram @ means.T)

    def within_class_variability(self, problem: Problem, point: GramPoint) -> float:
        """λ_H/2 (tr B − Σ_k n_k ‖h̄_k‖²)."""
        means = np.diag(self.restrict(problem, point).feature_gram)
        return float(0.5 * problem.lambda_h * (np.trace(point.feature_gram) - problem.class_counts @ means))


def _membership(problem: Problem) -> FloatArray:
    """Y (N, K): 1 where the sample belongs to the class."""
    return np.repeat(np.eye(problem.num_classes), problem.class_counts, axis=0)

"""Mean squared error with a free bias and free features: a soft-thresholded singular value decomposition.

The best bias for given logits is b = (n − X √n) / N with X = L Diag(√n): it takes the direction √n/‖√n‖ out of the
columns. What is left of the targets is

    M = Diag(√n) − n √nᵀ / N = Diag(√n) (I − √n √nᵀ / N),

and the problem is min ‖X − M‖²/(2N) + √(λ_W λ_H) ‖X‖_* over X √n = 0, whose solution soft-thresholds the d largest
singular values s_i of M = Q Diag(s) Vᵀ, with those V orthogonal to √n since M √n = 0 (docs/bias_free_features.md,
section 4):

    f* = ‖M‖²/(2N) − Σ_{d largest} (s_i − N √(λ_W λ_H))₊² / (2N),      ‖M‖² = N − ‖n‖²/N.

With H ≥ 0 the value is a lower bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ufm_convex.losses import MeanSquaredError
from ufm_convex.theory.base import Hypothesis, Relation, Theorem
from ufm_convex.theory.singular_values import ThresholdedOptimum, thresholded

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_LARGEST = 5_000
"""Largest K whose singular value decomposition is taken: about a minute."""


class MeanSquaredErrorBias(Theorem):
    """The soft-thresholded decomposition of centred targets."""

    name: ClassVar[str] = "mean-squared-error with a free bias"
    citation: ClassVar[str] = (
        "Zhou, Li, Ding, You, Qu, Zhu: On the Optimization Landscape of Neural Collapse under MSE Loss: Global "
        "Optimality with Unconstrained Features, ICML 2022 (balanced); docs/bias_free_features.md, section 4"
    )
    relation: ClassVar[Relation] = Relation.TIGHT

    def setting(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Penalties; the bias is a hypothesis of its own."""
        return super().setting(problem)[1:]

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Loss, free bias, free features, size."""
        K = problem.num_classes
        loss = type(problem.loss) is MeanSquaredError and not problem.tabled
        sign = f'features is "{problem.features}"; with non-negative ones the value is a lower bound'
        return (
            Hypothesis("loss is mean-squared-error", loss, f"loss is {problem.loss.name}"),
            Hypothesis("bias is free", problem.bias == "free", f"bias is {problem.bias!r}"),
            Hypothesis("features are free", not problem.nonnegative, sign, otherwise=Relation.LOWER),
            Hypothesis(f"there are at most {_LARGEST} classes", K <= _LARGEST, f"there are {K}"),
        )

    def evaluate(self, problem: Problem, relation: Relation) -> ThresholdedOptimum:
        """The closed form; O(K³)."""
        return thresholded(problem, relation, self.citation)

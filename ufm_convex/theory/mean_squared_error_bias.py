"""Mean squared error with a free bias and free features: a soft-thresholded singular value decomposition.

The best bias for given logits is b = (n − X √n) / N with X = L Diag(√n): it takes the direction √n/‖√n‖ out of the
columns. What is left of the targets is

    M = Diag(√n) − n √nᵀ / N = Diag(√n) (I − √n √nᵀ / N),

and the problem is min ‖X − M‖²/(2N) + √(λ_W λ_H) ‖X‖_* over X √n = 0, whose solution soft-thresholds the d largest
singular values s_i of M = Q Diag(s) Vᵀ, with those V orthogonal to √n since M √n = 0 (docs/bias.md, section 4):

    f* = ‖M‖²/(2N) − Σ_{d largest} (s_i − N √(λ_W λ_H))₊² / (2N),      ‖M‖² = N − ‖n‖²/N.

With H ≥ 0 the value is a lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, frozen
from ufm_convex.losses import MeanSquaredError
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_LARGEST = 5_000
"""Largest K whose singular value decomposition is taken: about a minute."""


@dataclass(frozen=True, eq=False)
class BiasedOneHotOptimum(Optimum):
    """The optimum.

    Attributes:
        singular_values: Of X = L Diag(√n), the largest first, (K,).
        weights: W, (K, r), r the number of singular values that are not 0.
        features: Class means H, (K, r).
        bias: b, (K,); it sums to one.
    """

    singular_values: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)
    features: FloatArray = field(repr=False)
    bias: FloatArray = field(repr=False)

    @property
    def rank(self) -> int:
        """Number of singular values that are not 0: the dimensions in use."""
        return int(np.count_nonzero(self.singular_values))


class MeanSquaredErrorBias(Theorem):
    """The soft-thresholded decomposition of centred targets."""

    name: ClassVar[str] = "mean-squared-error with a free bias"
    citation: ClassVar[str] = (
        "Zhou, Li, Ding, You, Qu, Zhu: On the Optimization Landscape of Neural Collapse under MSE Loss: Global "
        "Optimality with Unconstrained Features, ICML 2022 (balanced); docs/bias.md, section 4"
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

    def evaluate(self, problem: Problem, relation: Relation) -> BiasedOneHotOptimum:
        """The closed form; O(K³)."""
        N, counts = problem.num_samples, problem.class_counts.astype(np.float64)
        roots = np.sqrt(counts)
        left, values, right = np.linalg.svd(np.diag(roots) - np.outer(counts, roots) / N)
        price = N * math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h)
        kept = np.maximum(values - price, 0.0)
        kept[problem.feature_dim or problem.num_classes :] = 0.0
        lost = np.where(kept > 0.0, price, values)  # s less what is kept, without cancellation
        rank = int(np.count_nonzero(kept))
        share = np.sqrt(kept[:rank])
        ratio = math.sqrt(math.sqrt(problem.lambda_h)) / math.sqrt(math.sqrt(problem.lambda_w))
        logits_root = (left[:, :rank] * kept[:rank]) @ right[:rank]
        return BiasedOneHotOptimum(
            value=math.fsum(lost * (values + kept)) / (2 * N),
            relation=relation,
            citation=self.citation,
            singular_values=frozen(kept),
            weights=frozen(left[:, :rank] * (share * ratio)),
            # a row of a class without samples is 0: no direction that is kept looks at it
            features=frozen(
                right[:rank].T * (share / ratio) / np.maximum(roots, 1.0)[:, None] * (roots > 0.0)[:, None]
            ),
            bias=frozen((counts - logits_root @ roots) / N),
        )

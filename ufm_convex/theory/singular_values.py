"""Mean squared error with any table of targets and free features: soft-thresholded singular values, for every d.

With Y (V, m) the targets, X = L Diag(√n) and M = Y Diag(√n) the problem is a nuclear-norm one,

    min ‖X − M‖²/(2N) + √(λ_W λ_H) ‖X‖_*      over X of rank ≤ d,

whose solution soft-thresholds the d largest singular values s_i of M (Mirsky 1960; Eckart, Young 1936):

    f* = Σ_{i ≤ d} φ(s_i) + Σ_{i > d} s_i²/(2N),      φ(s) = s²/(2N) for s ≤ N q, else q s − N q²/2,    q = √(λ_W λ_H).

A free bias takes the direction √n out of the columns: M = Y Diag(√n) (I − √n √nᵀ/N) (docs/targets_examples.md, section
5). With H ≥ 0 the value is a lower bound.
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
"""Largest of min(V, m) whose singular value decomposition is taken: about a minute."""


@dataclass(frozen=True, eq=False)
class ThresholdedOptimum(Optimum):
    """The optimum.

    Attributes:
        singular_values: Of X = L Diag(√n), the largest first, (min(V, m),).
        weights: W, (V, r), r the number of singular values that are not 0.
        features: Features H of the columns, (m, r).
        bias: b, (V,); 0 without one.
    """

    singular_values: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)
    features: FloatArray = field(repr=False)
    bias: FloatArray = field(repr=False)

    @property
    def rank(self) -> int:
        """Number of singular values that are not 0: the dimensions in use."""
        return int(np.count_nonzero(self.singular_values))


class ThresholdedSingularValues(Theorem):
    """The soft-thresholded decomposition of a table of targets."""

    name: ClassVar[str] = "thresholded singular values"
    citation: ClassVar[str] = (
        "Eckart, Young, Psychometrika 1, 1936; Mirsky, Quart. J. Math. 11, 1960 (low-rank approximation); "
        "docs/targets_examples.md, section 5"
    )
    relation: ClassVar[Relation] = Relation.TIGHT

    def setting(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Penalties; the bias is a hypothesis of its own."""
        return super().setting(problem)[1:]

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Loss, targets, bias, free features, size."""
        loss = type(problem.loss) is MeanSquaredError
        size = min(problem.num_outputs, problem.num_classes)
        sign = f'features is "{problem.features}"; with non-negative ones the value is a lower bound'
        # what a penalty of the bias adds is left out of the value for a free one
        bias = Hypothesis("no bias, or a free one", problem.bias in (None, "free"), f"bias is {problem.bias!r}")
        return (
            Hypothesis("loss is mean-squared-error", loss, f"loss is {problem.loss.name}"),
            Hypothesis("a table gives the targets", problem.tabled, "columns are classes"),
            bias,
            Hypothesis("features are free", not problem.nonnegative, sign, otherwise=Relation.LOWER),
            Hypothesis(f"min(V, m) is at most {_LARGEST}", size <= _LARGEST, f"it is {size}"),
        )

    def evaluate(self, problem: Problem, relation: Relation) -> ThresholdedOptimum:
        """The closed form; O(V m min(V, m))."""
        return thresholded(problem, relation, self.citation)


def thresholded(problem: Problem, relation: Relation, citation: str) -> ThresholdedOptimum:
    """The soft-thresholded decomposition of the targets, of a table or of classes; without bias, or with a free one."""
    N, counts = problem.num_samples, problem.class_counts.astype(np.float64)
    roots = np.sqrt(counts)
    table = problem.loss.target_columns(problem.num_outputs, np.arange(problem.num_classes))
    M = table * roots
    if problem.bias is not None:
        M = M - np.outer(table @ counts, roots) / N
    left, values, right = np.linalg.svd(M, full_matrices=False)
    price = N * math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h)
    kept = np.maximum(values - price, 0.0)
    kept[problem.feature_dim or values.size :] = 0.0
    lost = np.where(kept > 0.0, price, values)  # s less what is kept, without cancellation
    rank = int(np.count_nonzero(kept))
    share = np.sqrt(kept[:rank])
    ratio = math.sqrt(math.sqrt(problem.lambda_h)) / math.sqrt(math.sqrt(problem.lambda_w))
    X = (left[:, :rank] * kept[:rank]) @ right[:rank]
    # a row of a class without samples is 0: no direction that is kept looks at it
    features = right[:rank].T * (share / ratio) / np.maximum(roots, 1.0)[:, None] * (roots > 0.0)[:, None]
    return ThresholdedOptimum(
        value=math.fsum(lost * (values + kept)) / (2 * N),
        relation=relation,
        citation=citation,
        singular_values=frozen(kept),
        weights=frozen(left[:, :rank] * (share * ratio)),
        features=frozen(features),
        bias=frozen(np.zeros(problem.num_outputs) if problem.bias is None else (table @ counts - X @ roots) / N),
    )

"""The optimum of cross-entropy with free features and equal class sizes: the simplex equiangular tight frame.

Averaging over permutations of the classes leaves the convex objective no larger, so that L = M (I − 11ᵀ/K), and one
number is left. With m samples and weight ω a class, smoothing α:

    ρ = min(1, √(N K λ_W λ_H) / (ω (1−α))),    r = α + (1−α) ρ,    t = (K−1) r / K,
    M = log(1 + K (1−r)/r),    f* = ω [−log(1−t) + t M].

All features vanish iff N K λ_W λ_H ≥ ω² (1−α)². The dual point is U = −(ω (1−α) ρ / K) (I − 11ᵀ/K), all of whose
singular values but one are at the bound ‖U D^{-1/2}‖ ≤ 1 (docs/free_features.md, section 5).

Source: Zhu, Ding, Zhou, Li, You, Sulam, Qu: A Geometric Analysis of Neural Collapse with Unconstrained Features,
NeurIPS 2021 (geometry); the margin in closed form as above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, identity_rows
from ufm_convex.errors import DimensionError
from ufm_convex.losses import CrossEntropy
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem
from ufm_convex.theory.collapse import cross_entropy

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_TINY = Fraction(1, 10**290)


@dataclass(frozen=True, eq=False)
class SimplexOptimum(Optimum):
    """The optimum: class means and rows of W are the corners of a regular simplex.

    Attributes:
        num_classes: K.
        class_count: m, samples of each class.
        lambda_w: Weight decay λ_W.
        lambda_h: Weight decay λ_H.
        weight: ω, the class weight all classes share.
        collapsed: Whether W = H = 0; decided exactly.
        margin: M, own logit minus any other.
        wrong_mass: t, probability that the optimal softmax gives to the wrong classes together.
    """

    num_classes: int
    class_count: int
    lambda_w: float
    lambda_h: float
    weight: float = field(repr=False)
    collapsed: bool
    margin: float
    wrong_mass: float

    @property
    def margins(self) -> FloatArray:
        """M for every class, (K,)."""
        return np.full(self.num_classes, self.margin)

    @property
    def feature_norm(self) -> float:
        """‖h_k‖, the same for all classes."""
        K = self.num_classes
        return math.sqrt(self.margin * (K - 1) / K / math.sqrt(self.class_count)) / self._root_ratio

    @property
    def weight_norm(self) -> float:
        """‖w_k‖, the same for all classes."""
        K = self.num_classes
        return math.sqrt(self.margin * (K - 1) / K * math.sqrt(self.class_count)) * self._root_ratio

    def logits(self, rows: slice = slice(None)) -> FloatArray:
        """L = M (I − 11ᵀ/K), (K, K), or rows of it."""
        return self.margin * self._centring(rows)

    def weight_gram(self, rows: slice = slice(None)) -> FloatArray:
        """A = W Wᵀ = M √(m λ_H/λ_W) (I − 11ᵀ/K), (K, K), or rows of it."""
        return self.weight_norm**2 * self.num_classes / (self.num_classes - 1) * self._centring(rows)

    def feature_gram(self, rows: slice = slice(None)) -> FloatArray:
        """B = H̄ H̄ᵀ = M √(λ_W/(m λ_H)) (I − 11ᵀ/K), (K, K), or rows of it."""
        return self.feature_norm**2 * self.num_classes / (self.num_classes - 1) * self._centring(rows)

    def factors(self, feature_dim: int | None = None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and class means H (K, d) that attain the value; d ≥ K − 1, by default K − 1.

        Raises:
            DimensionError: d < K − 1, and the features do not vanish.
        """
        K = self.num_classes
        d = K - 1 if feature_dim is None else feature_dim
        if d < K - 1 and not self.collapsed:
            raise DimensionError(
                f"feature_dim is {d}, but the simplex of {K} classes has dimension {K - 1}.",
                expected=f"feature_dim >= {K - 1}",
                fix="with fewer dimensions the value is a lower bound and is not attained.",
            )
        corners = np.zeros((K, d))
        if not self.collapsed:
            corners[:, : K - 1] = _simplex(K) * math.sqrt(K / (K - 1))
        return self.weight_norm * corners, self.feature_norm * corners

    @property
    def _root_ratio(self) -> float:
        """(λ_H/λ_W)^{1/4}; the ratio itself may overflow."""
        return math.sqrt(math.sqrt(self.lambda_h)) / math.sqrt(math.sqrt(self.lambda_w))

    def _centring(self, rows: slice) -> FloatArray:
        return identity_rows(self.num_classes, rows) - 1.0 / self.num_classes


class FreeBalanced(Theorem):
    """The simplex equiangular tight frame, with its size."""

    name: ClassVar[str] = "balanced simplex"
    citation: ClassVar[str] = (
        "Zhu, Ding, Zhou, Li, You, Sulam, Qu: A Geometric Analysis of Neural Collapse with Unconstrained Features, "
        "NeurIPS 2021; docs/free_features.md, section 5"
    )
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Loss, free features, equal counts and weights, and d ≥ K − 1."""
        loss = Hypothesis(
            "loss is cross-entropy",
            type(problem.loss) is CrossEntropy,
            f"loss is {problem.loss.name}; equal class weights and smoothing are allowed",
        )
        free = Hypothesis("features are free", not problem.nonnegative, f'features is "{problem.features}"')
        counts, weights = problem.class_counts, problem.loss.weights(problem.num_classes)
        balanced = Hypothesis(
            "class counts and class weights are equal",
            bool((counts == counts[0]).all() and (weights == weights[0]).all()),
            f"counts range from {counts.min()} to {counts.max()}, weights from {weights.min()} to {weights.max()}",
        )
        if not (loss.holds and balanced.holds):
            return loss, free, balanced
        needed = 0 if _squared_ratio(problem) >= 1 else problem.num_classes - 1
        dimension = Hypothesis(
            "feature_dim is at least K − 1, or all features vanish",
            problem.feature_dim is None or problem.feature_dim >= needed,
            f"feature_dim is {problem.feature_dim} and the optimum has rank {needed}",
            otherwise=Relation.LOWER,
        )
        return loss, free, balanced, dimension

    def evaluate(self, problem: Problem, relation: Relation) -> SimplexOptimum:
        """The closed form, O(1)."""
        K = problem.num_classes
        alpha = cross_entropy(problem).smoothing
        weight = float(problem.loss.weights(K)[0])
        square = min(_squared_ratio(problem), Fraction(1))
        rho = math.sqrt(square) if square > _TINY else math.exp(0.5 * _log(square))
        # 1 − ρ = (1 − ρ²)/(1 + ρ), the difference formed exactly
        deficit = float(1 - square) / (1.0 + rho)
        r, gap = alpha + (1.0 - alpha) * rho, (1.0 - alpha) * deficit
        t = (K - 1) / K * r
        # K gap / r may overflow only where α = 0 and r = ρ
        margin = math.log1p(K * gap / r) if r > float(_TINY) else math.log(K) - 0.5 * _log(square)
        surprise = -math.log1p(-t) if t <= 0.5 else -math.log(gap + r / K)  # 1 − t without its cancellation
        return SimplexOptimum(
            value=weight * (surprise + t * margin),
            relation=relation,
            citation=self.citation,
            num_classes=K,
            class_count=int(problem.class_counts[0]),
            lambda_w=problem.lambda_w,
            lambda_h=problem.lambda_h,
            weight=weight,
            collapsed=square == 1,
            margin=margin,
            wrong_mass=t,
        )


def _squared_ratio(problem: Problem) -> Fraction:
    """N K λ_W λ_H / (ω (1−α))², exactly; the features vanish iff it is at least 1."""
    decays = Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
    fidelity = Fraction(float(problem.loss.weights(problem.num_classes)[0])) * (
        1 - Fraction(cross_entropy(problem).smoothing)
    )
    return problem.num_samples * problem.num_classes * decays / fidelity**2


def _log(number: Fraction) -> float:
    return math.log(number.numerator) - math.log(number.denominator)


def _simplex(K: int) -> FloatArray:
    """K points in K − 1 dimensions with Gram matrix I − 11ᵀ/K: the rows of Helmert's contrasts."""
    corners = np.zeros((K, K - 1))
    for j in range(1, K):
        corners[:j, j - 1] = 1.0 / math.sqrt(j * (j + 1))
        corners[j, j - 1] = -math.sqrt(j / (j + 1))
    return corners

"""The layer-peeled model in closed form: water-filling on an orthogonal frame, and the balanced simplex.

With norm bounds E_W and E_H in place of the penalties, pt_k = ω_k n_k / N and smoothing α, non-negative features:

    r_k = min(1, α + μ √(K/(K−1)) / pt_k),   M_k = log(1 + K (1−r_k)/r_k),   Σ_k M_k = K √(E_W E_H K/(K−1)),

whose last equation fixes μ: every class draws its margin from one budget, a class with pt_k (1−α) ≤ μ √(K/(K−1)) none.
With free features, equal counts and equal weights the margins are M = K √(E_W E_H)/(K−1) and the angles those of a
simplex (Fang, He, Long, Su, PNAS 118, 2021). Proofs: docs/layer_peeled.md, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, frozen
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem.constraints import LayerPeeled
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem, nonnegative_features, room_for
from ufm_convex.theory.collapse import cross_entropy

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_MODEL = "Fang, He, Long, Su: Exploring deep neural networks via layer-peeled model, PNAS 118, 2021"
_FINE = 1e-15


@dataclass(frozen=True, eq=False)
class PeeledOptimum(Optimum):
    """The optimum of a layer-peeled model, class by class.

    Attributes:
        multiplier: μ, minus the derivative of the value in K √(E_W E_H); 0 where the bounds do not bind.
        margins: M_k, own logit minus any other, shape (K,).
        collapsed: Whether h_k = 0, shape (K,).
        feature_norms: ‖h_k‖, shape (K,).
        weight_norms: ‖w_k‖, shape (K,).
    """

    multiplier: float
    margins: FloatArray = field(repr=False)
    collapsed: BoolArray = field(repr=False)
    feature_norms: FloatArray = field(repr=False)
    weight_norms: FloatArray = field(repr=False)

    @cached_property
    def num_active(self) -> int:
        """Number of classes with h_k ≠ 0."""
        return int(np.count_nonzero(~self.collapsed))


class _Peeled(Theorem):
    """What both theorems ask of the problem before anything else."""

    relation: ClassVar[Relation] = Relation.TIGHT

    def setting(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Logits W h, norm bounds, and cross-entropy."""
        constraint = problem.constraint
        return (
            Hypothesis("no bias", problem.bias is None, f"bias is {problem.bias!r}"),
            Hypothesis(
                "norm bounds, not penalties", isinstance(constraint, LayerPeeled), f"constraint is {constraint!r}"
            ),
            Hypothesis(
                "loss is cross-entropy",
                type(problem.loss) is CrossEntropy,
                f"loss is {problem.loss.name}; class weights and smoothing are allowed",
            ),
        )


class LayerPeeledFrame(_Peeled):
    """Non-negative features: an orthogonal frame, its margins by water-filling."""

    name: ClassVar[str] = "layer-peeled frame"
    citation: ClassVar[str] = f"{_MODEL}; with non-negative features: proof in docs/layer_peeled.md, section 3"

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Sign of the features, dimension."""
        d, K = problem.feature_dim, problem.num_classes
        active = K if d is None or d >= K else int(np.count_nonzero(_fill(problem)[1] > 0.0))
        return nonnegative_features(problem), room_for(problem, active)

    def evaluate(self, problem: Problem, relation: Relation) -> PeeledOptimum:
        """One equation for μ, then O(K)."""
        multiplier, margins = _fill(problem)
        K, (weight_radius, feature_radius) = problem.num_classes, _radii(problem)
        ratio = math.sqrt(math.sqrt(weight_radius) / math.sqrt(feature_radius)) * (K / (K - 1)) ** 0.25
        omega = np.sqrt(margins) * ratio
        total = math.fsum(omega**2)
        return PeeledOptimum(
            value=math.fsum(problem.loss_weights * cross_entropy(problem).margin_values(margins, K)),
            relation=relation,
            citation=self.citation,
            multiplier=multiplier,
            margins=frozen(margins),
            collapsed=frozen(margins <= 0.0, dtype=np.bool_),
            feature_norms=frozen(np.sqrt(margins) / ratio),
            weight_norms=frozen(np.sqrt(omega**2 * ((K - 2) / K) + total / K / K)),
        )


class LayerPeeledSimplex(_Peeled):
    """Free features, equal counts and weights: a simplex equiangular tight frame."""

    name: ClassVar[str] = "layer-peeled simplex"
    citation: ClassVar[str] = f"{_MODEL}, balanced case; proof in docs/layer_peeled.md, section 3"

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Free features, balance, dimension."""
        weights, d, K = problem.loss_weights, problem.feature_dim, problem.num_classes
        return (
            Hypothesis("features are free", not problem.nonnegative, f'features is "{problem.features}"'),
            Hypothesis(
                "class counts times class weights are equal",
                bool((weights == weights[0]).all()),
                f"their shares range from {weights.min():g} to {weights.max():g}",
            ),
            Hypothesis(
                "feature_dim is at least K − 1",
                d is None or d >= K - 1,
                f"feature_dim is {d}; there are {K} classes",
                otherwise=Relation.LOWER,
            ),
        )

    def evaluate(self, problem: Problem, relation: Relation) -> PeeledOptimum:
        """The closed form."""
        K, loss, radii = problem.num_classes, cross_entropy(problem), _radii(problem)
        budget = math.sqrt(radii[0]) * math.sqrt(radii[1]) * (K / (K - 1))
        margin = min(budget, _longest(loss.smoothing, K))
        margins = np.full(K, margin)
        strength = max(float(loss.margin_strengths(margins, K)[0]), 0.0)
        share = math.sqrt(margin / budget)  # of the radii, where smoothing leaves them unused
        return PeeledOptimum(
            value=math.fsum(problem.loss_weights * loss.margin_values(margins, K)),
            relation=relation,
            citation=self.citation,
            multiplier=float(problem.loss_weights[0]) * strength if margin == budget else 0.0,
            margins=frozen(margins),
            collapsed=frozen(np.zeros(K, dtype=bool), dtype=np.bool_),
            feature_norms=frozen(np.full(K, math.sqrt(radii[1]) * share)),
            weight_norms=frozen(np.full(K, math.sqrt(radii[0]) * share)),
        )


def _radii(problem: Problem) -> tuple[float, float]:
    """E_W and E_H."""
    if isinstance(problem.constraint, LayerPeeled):
        return problem.constraint.weight_radius, problem.constraint.feature_radius
    raise HypothesisError(
        f"the constraint is {problem.constraint!r}.",
        expected="LayerPeeled",
        fix="call ufm_convex.theory.optimum, which looks for a theorem that fits the problem.",
    )


def _longest(smoothing: float, num_classes: int) -> float:
    """The margin at which smoothed cross-entropy is least; +inf without smoothing."""
    return math.log1p(num_classes * (1.0 / smoothing - 1.0)) if smoothing > 0.0 else math.inf


def _fill(problem: Problem) -> tuple[float, FloatArray]:
    """μ and the margins: the root of Σ M_k = K √(E_W E_H K/(K−1)) in log μ."""
    from scipy.optimize import brentq

    K, smoothing, radii = problem.num_classes, cross_entropy(problem).smoothing, _radii(problem)
    budget = K * math.sqrt(radii[0]) * math.sqrt(radii[1]) * math.sqrt(K / (K - 1))
    log_weights = np.log(problem.loss_weights)
    collapse = float(log_weights.max()) + math.log1p(-smoothing) - 0.5 * math.log(K / (K - 1))
    if K * _longest(smoothing, K) <= budget:
        return 0.0, np.full(K, _longest(smoothing, K))

    def margins(log_multiplier: float) -> FloatArray:
        return _margins(log_multiplier + 0.5 * math.log(K / (K - 1)) - log_weights, smoothing, K)

    # without smoothing the largest class alone has M ≥ −log r; with it, all margins are at their limit below
    lowest = collapse - (budget + 1.0 if smoothing == 0.0 else 80.0 - math.log(smoothing) + float(np.ptp(log_weights)))
    if math.fsum(margins(lowest)) <= budget:
        return 0.0, margins(lowest)
    root = brentq(lambda x: math.fsum(margins(x)) - budget, lowest, collapse, xtol=1e-300, rtol=_FINE, maxiter=500)
    found = margins(root)
    total = math.fsum(found)
    # the last digits of log μ are not those of small margins: their sum is known better
    return math.exp(root), found * (budget / total) if total > 0.0 else found


def _margins(log_ratios: FloatArray, smoothing: float, num_classes: int) -> FloatArray:
    """M = log(1 + K (1−r)/r) for r = min(1, α + exp(log_ratios)), accurate where r is next to 1 or tiny."""
    if smoothing == 0.0:
        capped = np.minimum(log_ratios, 0.0)
        moderate = np.maximum(capped, -30.0)
        tiny = np.exp(np.maximum(capped, -700.0)) * ((num_classes - 1) / num_classes)
        far = math.log(num_classes) - capped + np.log1p(-tiny)
        return np.where(capped > -30.0, np.log1p(num_classes * np.expm1(-moderate)), far)
    r = np.minimum(smoothing + np.exp(np.minimum(log_ratios, 0.0)), 1.0)
    margins: FloatArray = np.log1p(num_classes * (1.0 - r) / r)
    return margins

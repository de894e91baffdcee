"""The optimum of cross-entropy with non-negative features: an orthogonal frame of class means.

Theorem 1 of docs/theorem.md (Dang, Tran, Nguyen, Ho, ICML 2024) and its extension to class weights ω and
uniform label smoothing α. With n_c = N² λ_W λ_H K/(K−1), class by class:

    θ_k = n_c / (ω_k (1−α))²       size at or below which class k collapses
    ρ_k = min(1, √(θ_k / n_k)),    r_k = α + (1−α) ρ_k,    t_k = (K−1) r_k / K
    M_k = log(1 + K (1−r_k)/r_k),  f* = Σ_k (ω_k n_k / N) [−log(1−t_k) + t_k M_k]

No K × K array is formed unless one is asked for, so K = 10⁶ takes a fraction of a second. The relative error
of the value is below 1e-14 and collapse is decided exactly; docs/theorem_extensions.md, section 7, says how.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray, frozen, whole
from ufm_convex._given import class_index
from ufm_convex.errors import DimensionError, HypothesisError, SizeError, shown
from ufm_convex.losses import CrossEntropy
from ufm_convex.relaxation import DENSE_LIMIT
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, Theorem
from ufm_convex.theory.collapse import collapse_ratios, cross_entropy, exact_threshold, rounded_threshold

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

_TINY = 1e-290  # below this, K/r may overflow


@dataclass(frozen=True, eq=False)
class FrameOptimum(Optimum):
    """The optimum of Theorem 1, class by class; equation numbers are those of docs/theorem.md and its chapter.

    The geometry belongs to the problem with non-negative features and d at least ``num_active``; where
    ``relation`` is not tight, only ``value`` says something about the problem that was asked about.

    Attributes:
        class_counts: n, shape (K,).
        lambda_w: Weight decay λ_W.
        lambda_h: Weight decay λ_H.
        loss_weights: pt_k = ω_k n_k / N, shape (K,).
        collapse_threshold: θ, the class size at or below which a class collapses: one number (n_c for plain
            cross-entropy), or with class weights one a class, shape (K,). Rounded; ``collapsed`` is not.
        collapsed: Whether h_k = 0, shape (K,); True for a class without samples.
        wrong_mass: t_k, probability that the optimal softmax gives to the wrong classes together, shape (K,).
        right_mass: 1 − t_k to full relative accuracy, shape (K,).
        margins: M_k, own logit minus any other at the optimum, shape (K,).
        feature_dim: d of the problem, or None.
    """

    class_counts: IntArray = field(repr=False)
    lambda_w: float
    lambda_h: float
    loss_weights: FloatArray = field(repr=False)
    collapse_threshold: float | FloatArray
    collapsed: BoolArray = field(repr=False)
    wrong_mass: FloatArray = field(repr=False)
    right_mass: FloatArray = field(repr=False)
    margins: FloatArray = field(repr=False)
    feature_dim: int | None

    # -- one number a problem -------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.class_counts.size)

    @cached_property
    def num_active(self) -> int:
        """Number of classes with h_k ≠ 0, which is the least feature dimension that attains the value."""
        return int(np.count_nonzero(~self.collapsed))

    @property
    def scale(self) -> float:
        """The factor c = √(K λ_H / ((K−1) λ_W)) of w_k = c (√n_k h_k − mean_l √n_l h_l), equation (8)."""
        return self._root_scale * self._root_scale

    @cached_property
    def dual_value(self) -> float:
        """Σ_k pt_k Ent(p_k*), the dual objective at ``wrong_mass``; equals ``value`` up to rounding."""
        t, own = self.wrong_mass, self.right_mass
        log_own = np.where(t <= 0.5, np.log1p(-np.minimum(t, 0.5)), np.log(own))
        log_other = np.log(np.where(t > 0.0, t, 1.0)) - math.log(self.num_classes - 1)
        return math.fsum(self.loss_weights * (-own * log_own - t * log_other))

    @cached_property
    def sensitivity_w(self) -> float:
        """Derivative of the value in λ_W at fixed λ_H, which is ‖W‖²/2 by the envelope theorem."""
        return 0.5 * self._total * self.scale * (self.num_classes - 1) / self.num_classes

    @cached_property
    def sensitivity_h(self) -> float:
        """Derivative of the value in λ_H at fixed λ_W, which is ‖H‖²/2 = Σ n_k ‖h_k‖² / 2."""
        return 0.5 * self._total / self._root_scale / self._root_scale

    # -- one number a class ---------------------------------------------------------------------------------

    @cached_property
    def eta(self) -> FloatArray:
        """η with h_k = η_k e_k, up to the choice of disjoint supports, shape (K,); equation (7)."""
        return frozen(np.sqrt(self.margins) / np.sqrt(self._divisors) / self._root_scale)

    @cached_property
    def omega(self) -> FloatArray:
        """ω with W = (I − 11ᵀ/K) Diag(ω) in the basis of ``eta``, shape (K,); M_k = η_k ω_k."""
        return frozen(np.sqrt(self.margins) * np.sqrt(self._root_counts) * self._root_scale)

    @property
    def feature_norms(self) -> FloatArray:
        """‖h_k‖, shape (K,), equation (7); 0 for collapsed classes."""
        return self.eta

    @cached_property
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, shape (K,), equation (11); one common value for all collapsed classes."""
        return frozen(self._root_scale * self._unit_weight_norms)

    def feature_norm_ratio(self, k: int, l: int) -> float:  # noqa: E741 - the paper's letters
        """‖h_k‖ / ‖h_l‖.

        Raises:
            HypothesisError: class l is collapsed.
        """
        self._demand_active(l, "‖h_k‖ / ‖h_l‖")
        ratio = self.margins[self._index(k)] / self.margins[l] * (self._root_counts[l] / self._divisors[k])
        return math.sqrt(ratio)

    def weight_norm_ratio(self, k: int, l: int) -> float:  # noqa: E741
        """‖w_k‖ / ‖w_l‖.

        Raises:
            HypothesisError: every class is collapsed, so W = 0.
        """
        self._demand_weights("‖w_k‖ / ‖w_l‖")
        return float(self._unit_weight_norms[self._index(k)] / self._unit_weight_norms[self._index(l)])

    def cos_weights(self, k: int, l: int) -> float:  # noqa: E741
        """Cosine of the angle between w_k and w_l, equation (12).

        Raises:
            HypothesisError: every class is collapsed, so W = 0.
        """
        self._demand_weights("the angle between w_k and w_l")
        if self._index(k) == self._index(l):
            return 1.0
        inner = self._spread - (self._pull[k] + self._pull[l]) / self.num_classes
        return float(np.clip(inner / self._unit_weight_norms[k] / self._unit_weight_norms[l], -1.0, 1.0))

    def cos_weight_feature(self, k: int, l: int) -> float:  # noqa: E741
        """Cosine of the angle between w_k and h_l, equation (13).

        Raises:
            HypothesisError: class l is collapsed, so h_l = 0.
        """
        self._demand_active(l, "the angle between w_k and h_l")
        length = math.sqrt(self._pull[l]) / self._unit_weight_norms[self._index(k)] / self.num_classes
        return float(np.clip((self.num_classes - 1) * length if k == l else -length, -1.0, 1.0))

    # -- dense ----------------------------------------------------------------------------------------------

    def weight_gram(self, rows: slice = slice(None)) -> FloatArray:
        """A = W Wᵀ, shape (K, K), equation (10), or the given rows of it.

        Raises:
            SizeError: more entries than K = 20,000 has; ``weight_norms`` and ``cos_weights`` need no K × K array.
        """
        return self.scale * self._unit_weight_gram("weight_norms and cos_weights(k, l)", rows)

    def weight_cosines(self) -> FloatArray:
        """Cosines between the rows of W, shape (K, K), equation (12).

        Raises:
            SizeError: K > 20,000; ``cos_weights`` gives them one by one.
            HypothesisError: every class is collapsed, so W = 0.
        """
        self._demand_weights("angles between the rows of W")
        cosines = self._unit_weight_gram("cos_weights(k, l)")
        cosines /= self._unit_weight_norms[:, None]
        cosines /= self._unit_weight_norms
        np.fill_diagonal(cosines, 1.0)
        return np.clip(cosines, -1.0, 1.0, out=cosines)

    def logits(self, rows: slice = slice(None)) -> FloatArray:
        """L = W H̄ᵀ, shape (K, K), column k = M_k (e_k − 1/K), the logits of class k; or the given rows of it.

        Raises:
            SizeError: more entries than K = 20,000 has; ``margins`` says the same.
        """
        places = self._places(rows, "margins")
        logits = np.tile(-self.margins / self.num_classes, (places.size, 1))
        logits[np.arange(places.size), places] = self.margins[rows] * ((self.num_classes - 1) / self.num_classes)
        return logits

    def feature_gram(self, rows: slice = slice(None)) -> FloatArray:
        """B = H̄ H̄ᵀ = Diag(‖h_k‖²), shape (K, K), or the given rows of it.

        Raises:
            SizeError: more entries than K = 20,000 has; ``feature_norms`` says the same.
        """
        places = self._places(rows, "feature_norms")
        gram = np.zeros((places.size, self.num_classes))
        gram[np.arange(places.size), places] = np.square(self.eta[rows])
        return gram

    def factors(self, feature_dim: int | None = None) -> tuple[FloatArray, FloatArray]:
        """A classifier and class means that attain the value.

        Args:
            feature_dim: d ≥ ``num_active``; by default that of the problem, or K if it has none.

        Returns:
            W (K, d) and H (K, d) ≥ 0, row k the mean feature of class k. Each active class has one coordinate
            of its own: coordinate k when d ≥ K, else the active classes in order.

        Raises:
            DimensionError: d is smaller than the number of active classes.
            SizeError: K · d is more than 20,000²; ``eta`` and ``omega`` hold the same in 2K numbers.
        """
        K = self.num_classes
        dim = feature_dim if feature_dim is not None else self.feature_dim or K
        self._check_dimension(dim)
        active = np.flatnonzero(~self.collapsed)
        own = active if dim >= K else np.arange(active.size)
        W, H = np.zeros((K, dim)), np.zeros((K, dim))
        W[:, own] = -self.omega[active] / K
        W[active, own] = self.omega[active] * ((K - 1) / K)
        H[active, own] = self.eta[active]
        return W, H

    # -- inner ----------------------------------------------------------------------------------------------

    @cached_property
    def _root_scale(self) -> float:
        """√c; c itself can overflow where √c does not."""
        K = self.num_classes
        fourth_roots = math.sqrt(math.sqrt(self.lambda_h)) / math.sqrt(math.sqrt(self.lambda_w))
        return math.sqrt(math.sqrt(K / (K - 1))) * fourth_roots

    @cached_property
    def _root_counts(self) -> FloatArray:
        """√n_k."""
        return np.sqrt(self.class_counts.astype(np.float64))

    @cached_property
    def _divisors(self) -> FloatArray:
        """√n_k, and 1 for a class without samples: what is divided by it is 0 then."""
        return np.sqrt(np.maximum(self.class_counts, 1).astype(np.float64))

    @cached_property
    def _pull(self) -> FloatArray:
        """a_k = √n_k M_k, so that c a_k = ω_k²."""
        return self._root_counts * self.margins

    @cached_property
    def _total(self) -> float:
        """S = Σ a_k."""
        return math.fsum(self._pull)

    @property
    def _spread(self) -> float:
        """S / K²."""
        return self._total / self.num_classes / self.num_classes

    @cached_property
    def _unit_weight_norms(self) -> FloatArray:
        """‖w_k‖ / √c = √((1 − 2/K) a_k + S/K²), a sum of non-negative terms."""
        return np.sqrt(self._pull * ((self.num_classes - 2) / self.num_classes) + self._spread)

    def _unit_weight_gram(self, instead: str, rows: slice = slice(None)) -> FloatArray:
        """A / c, or rows of it; the diagonal is formed without cancellation."""
        places = self._places(rows, instead)
        pull = self._pull / self.num_classes
        gram: FloatArray = self._spread - (pull[rows, None] + pull)
        gram[np.arange(places.size), places] = np.square(self._unit_weight_norms[rows])
        return gram

    def _check_dimension(self, dim: int) -> None:
        needed, number = max(1, self.num_active), whole(dim)
        if number is None or number < needed:
            raise DimensionError(
                f"feature_dim is {shown(dim)}, but {self.num_active} classes are active.",
                expected=f"an integer d >= {needed}, since active classes need disjoint supports",
                fix=f"use feature_dim={needed} or more; with fewer dimensions the minimum lies strictly "
                "above the value, which remains a lower bound.",
            )
        if self.num_classes * int(dim) > DENSE_LIMIT**2:
            raise SizeError(
                f"W and H of shape ({self.num_classes}, {dim}) are too large.",
                expected=f"K * d at most {DENSE_LIMIT**2:,}",
                fix="use eta and omega, which hold the same factors in 2K numbers, or a smaller feature_dim.",
            )

    def _places(self, rows: slice, instead: str) -> IntArray:
        """The places of these rows; they may have as many entries as the K × K array of 20,000 classes."""
        places = np.arange(self.num_classes)[rows]
        if places.size * self.num_classes > DENSE_LIMIT**2:
            raise SizeError(
                f"a K x K array was asked for with K = {self.num_classes:,}.",
                expected=f"K at most {DENSE_LIMIT:,}",
                fix=f"use {instead}, which need no such array.",
            )
        return places

    def _index(self, k: int) -> int:
        return class_index(k, self.num_classes, f"class {shown(k)} was asked for.")

    def _demand_active(self, k: int, quantity: str) -> None:
        if self.collapsed[self._index(k)]:
            raise HypothesisError(
                f"{quantity} is not defined: class {k} (n = {self.class_counts[k]}) is collapsed, h_{k} = 0.",
                expected="a class with collapsed[k] == False",
                fix="test collapsed first, or lower the weight decay.",
            )

    def _demand_weights(self, quantity: str) -> None:
        if self._total == 0.0:
            raise HypothesisError(
                f"{quantity} is not defined: every class is collapsed, so W = 0 and H = 0.",
                expected="a problem with num_active >= 1",
                fix="lower the weight decay.",
            )


class OrthogonalFrame(Theorem):
    """Theorem 1 of docs/theorem.md and its extension to class weights and label smoothing."""

    name: ClassVar[str] = "orthogonal frame"
    citation: ClassVar[str] = (
        "Dang, Tran, Nguyen, Ho: Neural Collapse for Cross-entropy Class-Imbalanced Learning with "
        "Unconstrained ReLU Feature Model, ICML 2024; proof in docs/theorem_proof.md, section 4"
    )
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Loss, sign of the features, dimension; the last is examined only for a loss the theorem knows."""
        loss = Hypothesis(
            "loss is cross-entropy",
            type(problem.loss) is CrossEntropy,
            f"loss is {problem.loss.name}; class weights and smoothing are allowed",
        )
        # dropping H >= 0 can only lower the minimum, so the value stays an upper bound
        sign = Hypothesis(
            "features are nonnegative",
            problem.nonnegative,
            f'features is "{problem.features}"; the proof uses that class means have inner products >= 0',
            otherwise=Relation.UPPER,
        )
        return (loss, sign, _dimension(problem)) if loss.holds else (loss, sign)

    def collapse_size(self, problem: Problem) -> Fraction | None:
        """See ``Theorem.collapse_size``; with class weights there is one for each."""
        return exact_threshold(problem) if cross_entropy(problem).class_weights is None else None

    def evaluate(self, problem: Problem, relation: Relation) -> FrameOptimum:
        """The closed form; O(K)."""
        smoothing = cross_entropy(problem).smoothing
        K = problem.num_classes
        ratios = collapse_ratios(problem)
        r = smoothing + (1.0 - smoothing) * ratios.rho
        gap = (1.0 - smoothing) * ratios.deficit  # 1 − r
        t = r * ((K - 1) / K)
        right = np.where(t <= 0.5, 1.0 - t, gap + r / K)
        margins = margins_at(r, gap, K, ratios.log_rho if smoothing == 0.0 else None)
        surprise = -np.where(t <= 0.5, np.log1p(-np.minimum(t, 0.5)), np.log(right))
        weights = problem.loss_weights
        return FrameOptimum(
            value=math.fsum(weights * (surprise + t * margins)),
            relation=relation,
            citation=self.citation,
            class_counts=problem.class_counts,
            lambda_w=problem.lambda_w,
            lambda_h=problem.lambda_h,
            loss_weights=weights,
            collapse_threshold=rounded_threshold(problem),
            collapsed=frozen(ratios.collapsed, dtype=np.bool_),
            wrong_mass=frozen(t),
            right_mass=frozen(right),
            margins=frozen(margins),
            feature_dim=problem.feature_dim,
        )


def margins_at(r: FloatArray, gap: FloatArray, K: int, log_r: FloatArray | None = None) -> FloatArray:
    """M = log(1 + K (1−r)/r), every step accurate relative to its own size; log K − log r where r is tiny."""
    tiny = r < _TINY
    margins: FloatArray = np.log1p(K * gap / np.where(tiny, 1.0, r))
    if tiny.any():
        logs = np.log(r) if log_r is None else log_r
        margins = np.where(tiny, math.log(K) - logs, margins)
    return margins


def _dimension(problem: Problem) -> Hypothesis:
    name = "feature_dim is at least the number of active classes"
    if problem.feature_dim is None or problem.feature_dim >= problem.num_classes:
        return Hypothesis(name, True, f"feature_dim is {problem.feature_dim}; there are {problem.num_classes} classes")
    active = int(np.count_nonzero(~collapse_ratios(problem).collapsed))
    holds = problem.feature_dim >= active
    explanation = f"feature_dim is {problem.feature_dim} and {active} classes are active"
    if not holds:
        explanation += (
            f"; an optimal H exists iff d >= {active}, and with d = {problem.feature_dim} the minimum lies "
            "strictly above the value"
        )
    return Hypothesis(name, holds, explanation, otherwise=Relation.LOWER)

"""Cross-entropy, with class weights and label smoothing.

    l_k(z)  = log Σ_j exp(z_j) − <y_k, z>,      y_k = (1 − α) e_k + (α/K) 1,      weight ω_k,
    l_k*(v) = −Ent(p),  p = v + y_k in the simplex (+∞ elsewhere),      Ent(p) = −Σ p_j log p_j.

Source: docs/duality.md, equation 2; smoothing and weights as in Szegedy et al. 2016 and King and Zeng 2001.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, IntArray, real
from ufm_convex._bits import ratio
from ufm_convex.errors import ProblemError, ShapeError, shown
from ufm_convex.losses.base import GroupedLoss, MarginLoss, negative_entropy, own_entries, own_term, with_own

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_LARGEST_WEIGHT = 2.0**700
"""Larger class weights overflow as soon as they are multiplied with counts."""


@dataclass(frozen=True)
class CrossEntropy(MarginLoss, GroupedLoss):
    """Softmax cross-entropy.

    Args:
        class_weights: ω, one positive weight a class; None weighs all classes 1. The mean over samples stays
            (1/N) Σ_i ω_{y_i} l(z_i): weights are not renormalised.
        smoothing: α in [0, 1), the share of each target spread evenly over all K classes.

    Raises:
        ProblemError: a weight or the smoothing is out of range.
    """

    name: ClassVar[str] = "cross-entropy"
    shift_invariant: ClassVar[bool] = True

    class_weights: tuple[float, ...] | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= real(self.smoothing) < 1.0:
            raise ProblemError(
                f"smoothing is {shown(self.smoothing)}.",
                expected="a number in [0, 1)",
                fix="use 0 for plain cross-entropy, 0.1 for the usual smoothing.",
            )
        object.__setattr__(self, "smoothing", real(self.smoothing))
        if self.class_weights is None:
            return
        given: Any = self.class_weights
        expected = "a list of finite numbers > 0, one a class"
        weights = _given.entries("class_weights", given, ProblemError, expected=expected)
        if not isinstance(weights, (list, tuple)):
            raise ProblemError(
                f"class_weights is {shown(given)}.",
                expected=expected,
                fix="leave it out to weigh all classes 1.",
            )
        refused = [weight for weight in weights if not 0.0 < real(weight) <= _LARGEST_WEIGHT]
        if refused:
            raise ProblemError(
                f"class_weights has the entry {shown(refused[0])}.",
                expected="finite numbers > 0, at most 2**700",
                fix="weigh by numbers of moderate size; a class that should not count is left out of the problem.",
            )
        object.__setattr__(self, "class_weights", tuple(map(real, weights)))

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless there is one weight a class."""
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ShapeError(
                f"class_weights has {len(self.class_weights)} entries, but there are {num_classes} classes.",
                expected="one weight a class",
                fix="give the weights in the order of class_counts.",
            )

    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        given: dict[str, Any] = {}
        if self.class_weights is not None:
            given["class_weights"] = list(self.class_weights)
        if self.smoothing:
            given["smoothing"] = self.smoothing
        return given

    def weights(self, num_classes: int) -> FloatArray:
        """Class weights ω, shape (K,)."""
        return np.ones(num_classes) if self.class_weights is None else np.array(self.class_weights)

    def values(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """Log Σ_j exp(z_j − z_y) + α (z_y − mean z): no cancellation when the loss is tiny."""
        differences = logits - own_entries(logits, labels)
        others = with_own(differences, labels, fill=-np.inf)
        peak = np.maximum(others.max(axis=0), 0.0)
        rest = np.exp(others - peak).sum(axis=0)
        # where no other logit exceeds the own one, peak = 0 and log1p(rest) keeps all digits of a tiny loss
        smooth = np.where(peak > 0.0, peak + np.log(np.exp(-peak) + rest), np.log1p(rest))
        return smooth - self.smoothing * differences.mean(axis=0)

    def residuals(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """softmax(z) − y_k; the own entry is minus the sum of the others, so columns sum to zero."""
        shifted = np.exp(logits - logits.max(axis=0))
        return self._close(shifted / shifted.sum(axis=0) - self.smoothing / logits.shape[0], labels)

    def conjugate(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """−Ent(v + y_k), with p_y log p_y taken as log1p of the other entries' sum; +inf outside the simplex."""
        wrong = with_own(residuals + self.smoothing / residuals.shape[0], labels, fill=0.0)
        mass = wrong.sum(axis=0)
        clipped = np.clip(wrong, 0.0, None)
        terms = np.where(clipped > 0.0, clipped * np.log(np.where(clipped > 0.0, clipped, 1.0)), 0.0).sum(axis=0)
        # a rounding error of the size of the sum is not "outside"
        slack = 4.0 * np.finfo(float).eps
        outside = (wrong.min(axis=0) < -slack) | (mass > 1.0 + slack * residuals.shape[0])
        outside |= np.abs(residuals.sum(axis=0)) > slack * residuals.shape[0]
        return np.where(outside, np.inf, terms + own_term(mass))

    def fenchel_young(self, residuals: FloatArray, logits: FloatArray, labels: IntArray) -> FloatArray:
        """KL(p ‖ softmax z) with p = v + y, as Σ p (e^δ − 1 − δ), δ = log softmax z − log p: a sum of terms ≥ 0."""
        p = residuals + self._targets(residuals.shape, labels)
        log_p = np.log(np.where(p > 0.0, p, 1.0))
        shifted = logits - logits.max(axis=0)
        log_q = shifted - np.log(np.exp(shifted).sum(axis=0))
        delta = np.where(p > 0.0, log_q - log_p, 0.0)
        near = np.clip(delta, -1.0, 1.0)
        # e^δ − 1 − δ loses half its digits to cancellation near zero, where its series is short
        series = near * near * (0.5 + near * (1 / 6 + near * (1 / 24 + near * (1 / 120 + near / 720))))
        small = np.where(np.abs(near) < 1e-2, series, np.expm1(near) - near)
        terms = np.where(np.abs(delta) < 1.0, p * small, np.exp(log_q) - p - p * delta)
        return np.where(p > 0.0, terms, np.exp(log_q)).sum(axis=0)

    def into_domain(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Clip p at zero and renormalise it where its wrong-class mass exceeds one."""
        num_classes = residuals.shape[0]
        wrong = with_own(residuals + self.smoothing / num_classes, labels, fill=0.0)
        wrong = np.clip(np.nan_to_num(wrong, nan=0.0, posinf=1.0, neginf=0.0), 0.0, None)
        wrong = wrong / np.maximum(wrong.sum(axis=0), 1.0)
        return self._close(wrong - self.smoothing / num_classes, labels)

    def domain_violation(self, residuals: FloatArray, labels: IntArray) -> float:
        """Largest of: a negative probability, a column of p that does not sum to one."""
        probabilities = residuals + self._targets(residuals.shape, labels)
        return float(max(0.0, -probabilities.min(), np.abs(probabilities.sum(axis=0) - 1.0).max()))

    def domain_limit(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Largest s that keeps y_k + s v in the simplex."""
        target = self._targets(residuals.shape, labels)
        falling = residuals < -np.finfo(float).tiny  # beyond, the ratio would overflow
        with np.errstate(over="ignore"):  # a residual that hardly falls may be scaled without limit
            ratios = np.where(falling, target / np.where(falling, -residuals, 1.0), np.inf)
        limit = ratios.min(axis=0)
        return np.where(np.isfinite(limit), np.maximum(limit, 1.0), 1.0)

    def expression(self, logits: cp.Expression, labels: IntArray) -> cp.Expression:
        """log-sum-exp of each column minus its inner product with the target."""
        import cvxpy as cp

        num_classes, columns = logits.shape
        own = np.zeros((num_classes, columns))
        own[labels, np.arange(columns)] = 1.0 - self.smoothing
        target = own + self.smoothing / num_classes
        return cp.log_sum_exp(logits, axis=0) - cp.sum(cp.multiply(target, logits), axis=0)

    def enclose_value(self, logits: Sequence[arb], label: int) -> arb:
        """log(1 + Σ_{j≠k} exp(z_j − z_k)) + α (z_k − mean z) in balls."""
        from flint import arb

        differences = [logit - logits[label] for logit in logits]
        rest = sum((d.exp() for j, d in enumerate(differences) if j != label), arb(0))
        value = rest.log1p()
        if self.smoothing:
            value -= arb(self.smoothing) * sum(differences, arb(0)) / len(logits)
        return value

    def enclose_conjugate(self, residual: Sequence[fmpq], label: int) -> arb:
        """−Ent(v + y_k) in balls, after an exact test that v + y_k lies in the simplex."""
        from flint import arb, fmpq

        smoothing = fmpq(*ratio(self.smoothing))
        probabilities = [entry + smoothing / len(residual) for entry in residual]
        probabilities[label] += 1 - smoothing
        if min(probabilities) < 0 or sum(probabilities, fmpq(0)) != 1:
            raise ValueError(f"column {label} lies outside the simplex")
        return sum(map(negative_entropy, probabilities), arb(0))

    def margin_values(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """log(1 + (K−1) e^{−m}) + α m (K−1)/K."""
        fraction = (num_classes - 1) / num_classes
        value: FloatArray = np.log1p((num_classes - 1) * np.exp(-margins)) + self.smoothing * fraction * margins
        return value

    def margin_strengths(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """Q = K/(K−1) · (wrong-class mass of the softmax) − α = K / (e^m + K − 1) − α."""
        strength: FloatArray = num_classes * np.exp(-margins) / (1.0 + (num_classes - 1) * np.exp(-margins))
        return strength - self.smoothing

    def margin_conjugates(self, strengths: FloatArray, num_classes: int) -> FloatArray:
        """−Ent(p) at p_j = r/K (j ≠ k), p_k = (1 − r) + r/K, r = α + q; both logs keep their digits at either end."""
        ratio = strengths + self.smoothing
        inside = (ratio >= 0.0) & (ratio <= num_classes / (num_classes - 1))
        wrong = np.where(inside, ratio, 0.5) / num_classes
        mass = (num_classes - 1) * wrong
        own = (1.0 - np.where(inside, ratio, 0.5)) + wrong
        own_log = np.where(mass < 0.5, np.log1p(-np.minimum(mass, 0.5)), np.log(np.where(own > 0.0, own, 1.0)))
        wrong_log = np.log(np.where(wrong > 0.0, wrong, 1.0))
        return np.where(inside, own * own_log + mass * wrong_log, np.inf)

    def enclose_margin_value(self, margin: arb, num_classes: int) -> arb:
        """log(1 + (K−1) e^{−m}) + α m (K−1)/K in balls."""
        from flint import arb

        value = ((num_classes - 1) * (-margin).exp()).log1p()
        return value + arb(self.smoothing) * margin * (num_classes - 1) / num_classes if self.smoothing else value

    def enclose_margin_conjugate(self, strength: fmpq, num_classes: int) -> arb:
        """−Ent(p) in balls, after an exact test that p lies in the simplex."""
        from flint import fmpq

        wrong = (strength + fmpq(*ratio(self.smoothing))) / num_classes
        own = 1 - (num_classes - 1) * wrong
        if wrong < 0 or own < 0:
            raise ValueError("the strength lies outside the simplex")
        return negative_entropy(own) + (num_classes - 1) * negative_entropy(wrong)

    def enclose_margin_conjugates(self, strengths: Sequence[int], exponent: int, num_classes: int) -> Iterator[arb]:
        """The same with every probability an integer over one number, K 2^{−e}: no rational is ever reduced."""
        from flint import arb

        smoothing, scale = ratio(self.smoothing)
        place = max(-exponent, scale.bit_length() - 1, 0)
        shift, smoothing = exponent + place, smoothing << (place - (scale.bit_length() - 1))
        whole = num_classes << place
        logarithm = arb(whole).log()
        for strength in strengths:
            wrong = (strength << shift) + smoothing
            mass = (num_classes - 1) * wrong
            own = whole - mass
            if wrong < 0 or own < 0:
                raise ValueError("the strength lies outside the simplex")
            total = mass * (arb(wrong).log() - logarithm) if wrong else arb(0)
            if 2 * own > whole:
                total += own * (arb(-mass) / whole).log1p()
            elif own:
                total += own * (arb(own).log() - logarithm)
            yield total / whole

    # -- reduced columns ------------------------------------------------------------------------------------

    def grouped_values(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """Log(1 + Σ m_g exp(z_g − z_y)) + α (z_y − mean z): no cancellation when the loss is tiny."""
        differences = np.where(multiplicities > 0, others - own, 0.0)
        peak = np.maximum(differences.max(axis=0), 0.0)
        rest = (multiplicities * np.exp(differences - peak)).sum(axis=0)
        smooth = np.where(peak > 0.0, peak + np.log(np.exp(-peak) + rest), np.log1p(rest))
        mean = (multiplicities * differences).sum(axis=0) / _size(multiplicities)
        return smooth - self.smoothing * mean

    def grouped_residuals(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """softmax(z) − y; the own entry is minus the sum of the others."""
        present = multiplicities > 0
        differences = np.where(present, others - own, 0.0)
        peak = np.maximum(differences.max(axis=0), 0.0)
        shifted = np.exp(differences - peak)
        total = np.exp(-peak) + (multiplicities * shifted).sum(axis=0)
        wrong = np.where(present, shifted / total - self.smoothing / _size(multiplicities), 0.0)
        return -(multiplicities * wrong).sum(axis=0), wrong

    def grouped_conjugate(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """−Ent(v + y), with p_y log p_y taken as log1p of the other entries' sum; +inf outside the simplex."""
        present, size = multiplicities > 0, _size(multiplicities)
        wrong = np.where(present, others + self.smoothing / size, 0.0)
        mass = (multiplicities * wrong).sum(axis=0)
        clipped = np.clip(wrong, 0.0, None)
        terms = multiplicities * np.where(clipped > 0.0, clipped * np.log(np.where(clipped > 0.0, clipped, 1.0)), 0.0)
        # a rounding error of the size of the sum is not "outside"
        slack = 4.0 * np.finfo(float).eps
        outside = (wrong.min(axis=0) < -slack) | (mass > 1.0 + slack * size)
        outside |= np.abs(own + (multiplicities * np.where(present, others, 0.0)).sum(axis=0)) > slack * size
        return np.where(outside, np.inf, terms.sum(axis=0) + own_term(mass))

    def grouped_into_domain(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Clip p at zero and renormalise it where its wrong-class mass exceeds one."""
        present, share = multiplicities > 0, self.smoothing / _size(multiplicities)
        wrong = np.clip(np.nan_to_num(others + share, nan=0.0, posinf=1.0, neginf=0.0), 0.0, None)
        wrong = wrong / np.maximum((multiplicities * wrong).sum(axis=0), 1.0)
        inside = np.where(present, wrong - share, 0.0)
        return -(multiplicities * inside).sum(axis=0), inside

    def grouped_violation(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> float:
        """Largest of: a negative probability, a column of p that does not sum to one."""
        present, share = multiplicities > 0, self.smoothing / _size(multiplicities)
        wrong = np.where(present, others + share, 0.0)
        right = own + share + (1.0 - self.smoothing)
        total = right + (multiplicities * wrong).sum(axis=0)
        return float(max(0.0, -wrong.min(), -right.min(), np.abs(total - 1.0).max()))

    def grouped_limit(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """Largest s that keeps y + s v in the simplex."""
        share = self.smoothing / _size(multiplicities)
        entries = np.vstack([np.where(multiplicities > 0, others, 0.0), own])
        target = np.vstack([np.broadcast_to(share, others.shape), share + (1.0 - self.smoothing)])
        falling = entries < -np.finfo(float).tiny  # beyond, the ratio would overflow
        limit = np.where(falling, target / np.where(falling, -entries, 1.0), np.inf).min(axis=0)
        return np.where(np.isfinite(limit), np.maximum(limit, 1.0), 1.0)

    def grouped_expression(
        self, own: cp.Expression, others: cp.Expression, multiplicities: FloatArray
    ) -> cp.Expression:
        """log-sum-exp with the multiplicities as offsets log m_g, minus the inner product with the target."""
        import cvxpy as cp

        present, size = multiplicities > 0, _size(multiplicities)
        # an absent entry is a second copy of the own one, and the copies share its weight: no −inf, no ragged columns
        share = np.log(1.0 / (1 + (~present).sum(axis=0)))
        own_row = cp.reshape(own, (1, own.size), order="C")
        copies = cp.multiply((~present).astype(float), np.ones((others.shape[0], 1)) @ own_row)
        entries = cp.multiply(present.astype(float), others) + copies
        offsets = np.where(present, np.log(np.where(present, multiplicities, 1.0)), share)
        smooth = cp.log_sum_exp(cp.vstack([entries + offsets, own_row + share[None, :]]), axis=0)
        linear = cp.multiply(1.0 - self.smoothing + self.smoothing / size, own)
        if self.smoothing:
            linear = linear + cp.sum(cp.multiply(self.smoothing * multiplicities / size, others), axis=0)
        return smooth - linear

    def enclose_grouped_value(self, own: arb, others: Sequence[arb], multiplicities: Sequence[int]) -> arb:
        """log(1 + Σ m_g exp(z_g − z_y)) + α (z_y − mean z) in balls."""
        from flint import arb

        entries = [(m, other - own) for m, other in zip(multiplicities, others, strict=True) if m]
        value = sum((m * d.exp() for m, d in entries), arb(0)).log1p()
        if self.smoothing:
            value -= arb(self.smoothing) * sum((m * d for m, d in entries), arb(0)) / (1 + sum(multiplicities))
        return value

    def enclose_grouped_conjugate(self, own: fmpq, others: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """−Ent(v + y) in balls, after an exact test that v + y lies in the simplex."""
        from flint import arb, fmpq

        smoothing = fmpq(*ratio(self.smoothing))
        share = smoothing / (1 + sum(multiplicities))
        wrong = [(m, other + share) for m, other in zip(multiplicities, others, strict=True) if m]
        right = own + share + 1 - smoothing
        if min([right, *(p for _, p in wrong)]) < 0 or right + sum((m * p for m, p in wrong), fmpq(0)) != 1:
            raise ValueError("the reduced column lies outside the simplex")
        return sum((m * negative_entropy(p) for m, p in wrong), arb(0)) + negative_entropy(right)

    def _targets(self, shape: tuple[int, ...], labels: IntArray) -> FloatArray:
        """The targets y of each column, (K, m)."""
        targets = np.full(shape, self.smoothing / shape[0])
        targets[labels, np.arange(labels.size)] += 1.0 - self.smoothing
        return targets

    def _close(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Set the own entry of each column to minus the sum of the others."""
        closed = with_own(residuals, labels, fill=0.0)
        closed[labels, np.arange(labels.size)] = -closed.sum(axis=0)
        return closed


def _size(multiplicities: FloatArray) -> FloatArray:
    """K of each reduced column, (m,)."""
    size: FloatArray = 1.0 + multiplicities.sum(axis=0)
    return size

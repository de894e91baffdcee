"""The losses that stand for a hard margin: indicators of margins, 0 or +∞.

    l_k(z)  = 0 if a_k z_k − a_j z_j ≥ m_kj for all j ≠ k, else +∞,
    l_k*(v) = −Σ_{j≠k} m_kj w_j      on the cone   v = a∘w,  w_j ≥ 0 (j ≠ k),  Σ_j w_j = 0.

They are no losses to choose by name: ``HardMargin`` makes them. Source: docs/hard_margin.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray, frozen
from ufm_convex._bits import ratio
from ufm_convex.errors import ShapeError
from ufm_convex.losses.base import GroupedIndicator, Indicator, MarginLoss, own_entries, with_own

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_EPS = float(np.finfo(float).eps)
_ROUNDED = 1e-12
"""A margin short by this share of the logits counts as met in floating point; proofs make no such allowance."""
_TIGHT = 1e-3
"""A margin within this share of its bound may carry a multiplier."""
_FAR = 1e12
"""Where a ray of the conjugate's domain, which never ends, is cut."""
_ABOVE = 1.0 + 2.0**-48
"""Frames aim this much above the margin: what rounding takes from a product of two numbers is less."""


class MarginIndicator(Indicator):
    """The indicator of margins, on full columns."""

    name: ClassVar[str] = "hard-margin"
    shift_invariant: ClassVar[bool] = True

    @abstractmethod
    def required(self, labels: IntArray, num_classes: int) -> FloatArray:
        """The margins asked for, one column a label, (K, m) or what broadcasts to it; own entries are not used."""

    @abstractmethod
    def scales(self, num_classes: int) -> FloatArray:
        """The factors a, (K,)."""

    def unit(self, num_classes: int) -> float:
        """The geometric mean of the margins, over that of the scales."""
        labels = np.arange(num_classes)
        logs = np.log(with_own(self._required(labels, num_classes), labels, fill=1.0))
        mean = logs.sum() / (num_classes * (num_classes - 1))
        return float(np.exp(mean - np.log(self.scales(num_classes)).mean()))

    def closing_weights(self, num_classes: int) -> FloatArray:
        """The scales: Σ v_j / a_j = 0."""
        return self.scales(num_classes)

    def _gaps(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """a_k z_k − a_j z_j; +∞ at the own entry."""
        scaled = logits * self.scales(logits.shape[0])[:, None]
        return with_own(own_entries(scaled, labels) - scaled, labels, fill=np.inf)

    def _required(self, labels: IntArray, num_classes: int) -> FloatArray:
        full = np.broadcast_to(self.required(labels, num_classes), (num_classes, labels.size))
        return with_own(np.asarray(full), labels, fill=0.0)

    def _multipliers(self, residuals: FloatArray, labels: IntArray) -> tuple[FloatArray, FloatArray]:
        """The w_j of the other classes, 0 at the own entry, and |Σ w|."""
        w = residuals / self.scales(residuals.shape[0])[:, None]
        return with_own(w, labels, fill=0.0), np.abs(w.sum(axis=0))

    # -- floating point -------------------------------------------------------------------------------------------

    def values(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """0, or +∞ where a margin is missed by more than rounding."""
        required = self._required(labels, logits.shape[0])
        size = np.abs(logits * self.scales(logits.shape[0])[:, None]).max(axis=0)
        missed = ~(self._gaps(logits, labels) >= required - _ROUNDED * (required + size))
        return np.where(missed.any(axis=0), np.inf, 0.0)

    def residuals(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """Zero, which belongs to the normal cone of every admissible point."""
        return np.zeros_like(logits)

    def nearest_residuals(self, residuals: FloatArray, logits: FloatArray, labels: IntArray) -> FloatArray:
        """The given multipliers where the margin is tight, 0 elsewhere."""
        required = self._required(labels, logits.shape[0])
        tight = self._gaps(logits, labels) <= (1.0 + _TIGHT) * required
        return self._closed(np.where(tight, np.maximum(self._multipliers(residuals, labels)[0], 0.0), 0.0), labels)

    def conjugate(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """−Σ m w; +∞ outside the cone by more than rounding."""
        others, excess = self._multipliers(residuals, labels)
        slack = 4.0 * _EPS * residuals.shape[0] * np.maximum(others, 0.0).sum(axis=0)  # of a sum of K numbers
        value = -(self._required(labels, residuals.shape[0]) * others).sum(axis=0)
        inside: BoolArray = (others.min(axis=0) >= -slack) & (excess <= slack)
        return np.where(inside, value, np.inf)

    def into_domain(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """The multipliers of the others clipped at zero, the own one closing their sum."""
        finite = np.nan_to_num(residuals, nan=0.0, posinf=0.0, neginf=0.0)
        return self._closed(np.maximum(self._multipliers(finite, labels)[0], 0.0), labels)

    def domain_violation(self, residuals: FloatArray, labels: IntArray) -> float:
        """Largest of: a negative multiplier, a sum that is not zero; relative to the column."""
        others, excess = self._multipliers(residuals, labels)
        size = np.maximum(np.abs(others).max(axis=0), np.finfo(float).tiny)
        return float(max(0.0, (-others.min(axis=0) / size).max(), (excess / size).max()))

    def domain_limit(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """None: a cone; cut at a large multiple."""
        return np.full(labels.size, _FAR)

    def ray_maximum(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """−l* grows along every ray, so its end."""
        return self.domain_limit(residuals, labels)

    def stretch(self, logits: FloatArray, labels: IntArray, error: FloatArray) -> FloatArray:
        """See ``Indicator.stretch``: the largest of m / (gap − error)."""
        scaled = error * self.scales(logits.shape[0])[:, None]
        gaps = self._gaps(logits, labels) - scaled - own_entries(scaled, labels)
        required = self._required(labels, logits.shape[0])
        ratios: FloatArray = np.where(gaps > 0.0, required / np.where(gaps > 0.0, gaps, 1.0), np.inf)
        return with_own(ratios, labels, fill=0.0).max(axis=0)

    def shortfall(self, logits: FloatArray, labels: IntArray) -> tuple[FloatArray, FloatArray]:
        """See ``Indicator.shortfall``: of the margins that are missed."""
        lacking = np.maximum(self._required(labels, logits.shape[0]) - self._gaps(logits, labels), 0.0)
        return 0.5 * (lacking * lacking).sum(axis=0), self._closed(lacking, labels)

    def shortest(self, labels: IntArray, num_classes: int) -> FloatArray:
        """See ``Indicator.shortest``.

        With t = a_k z_k the best others are z_j = min(t − m_j, 0) / a_j, and the minimum of t²/a_k² + Σ z_j² is the
        root of a piecewise linear function that rises with t: t = Σ m_j b_j / (b_k + Σ b_j) over the largest margins,
        b = a⁻², of which there are as many as make t largest.
        """
        columns = np.arange(labels.size)
        weights = np.tile(self.scales(num_classes)[:, None] ** -2.0, (1, labels.size))
        required = self._required(labels, num_classes)
        order = np.argsort(-required, axis=0, kind="stable")  # the own entry, 0, comes last
        m, b = required[order, columns][:-1], weights[order, columns][:-1]
        t = (np.cumsum(m * b, axis=0) / (own_entries(weights, labels) + np.cumsum(b, axis=0))).max(axis=0)
        z = np.minimum(t - required, 0.0)
        z[labels, columns] = t
        return z / self.scales(num_classes)[:, None]

    def _closed(self, others: FloatArray, labels: IntArray) -> FloatArray:
        closed = with_own(others, labels, fill=0.0)
        closed[labels, np.arange(labels.size)] = -closed.sum(axis=0)
        return closed * self.scales(others.shape[0])[:, None]

    # -- modelling, exact numbers and balls -----------------------------------------------------------------------

    def expression(self, logits: cp.Expression, labels: IntArray) -> cp.Expression:
        """The margins as explicit constraints, which cvxpy adds to those of the programme."""
        import cvxpy as cp

        num_classes, columns = logits.shape
        scaled = cp.multiply(np.tile(self.scales(num_classes)[:, None], (1, columns)), logits)
        other, column = np.nonzero(np.arange(num_classes)[:, None] != labels)
        gaps = scaled[labels[column], column] - scaled[other, column]
        required = self._required(labels, num_classes)[other, column]
        return _indicator(cp.multiply(1.0 / required, gaps) >= 1.0, columns)

    def enclose_value(self, logits: Sequence[arb], label: int) -> arb:
        """0 where every margin is met for certain, else +∞."""
        from flint import arb

        K = len(logits)
        margins = self._required(np.array([label]), K)[:, 0].tolist()
        scaled = [arb(a) * z for a, z in zip(self.scales(K).tolist(), logits, strict=True)]
        met = all(
            scaled[label] - z >= arb(m) for j, (z, m) in enumerate(zip(scaled, margins, strict=True)) if j != label
        )
        return arb(0) if met else arb.pos_inf()

    def enclose_conjugate(self, residual: Sequence[fmpq], label: int) -> arb:
        """−Σ m w, after an exact test of the cone."""
        from flint import arb, fmpq

        K = len(residual)
        margins = self._required(np.array([label]), K)[:, 0].tolist()
        w = [v / _exact(a) for v, a in zip(residual, self.scales(K).tolist(), strict=True)]
        if sum(w, fmpq(0)) != 0 or min(x for j, x in enumerate(w) if j != label) < 0:
            raise ValueError(f"column {label} lies outside the domain")
        return arb(-sum((_exact(m) * x for m, x in zip(margins, w, strict=True)), fmpq(0)))


@dataclass(frozen=True)
class ClassMargins(MarginIndicator):
    """Margins and scales of each class, or margins of each pair.

    Args:
        margins: As in ``HardMargin``.
        scale: Likewise.
    """

    margins: float | tuple[float, ...] | tuple[tuple[float, ...], ...]
    scale: tuple[float, ...] | None

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless there is one entry a class, or one a pair."""
        for name, given in (("margins", self.margins), ("scale", self.scale)):
            if isinstance(given, tuple) and len(given) != num_classes:
                raise ShapeError(
                    f"{name} has {len(given)} entries, but there are {num_classes} classes.",
                    expected="one entry or one row a class",
                    fix="give them in the order of class_counts.",
                )

    def parameters(self) -> dict[str, Any]:
        """None: they belong to the constraint."""
        return {}

    def required(self, labels: IntArray, num_classes: int) -> FloatArray:
        """The margin of the class, or row k of the table as a column."""
        table = self._array
        return table[labels].T if table.ndim == 2 else np.broadcast_to(table, (num_classes,))[labels]

    def scales(self, num_classes: int) -> FloatArray:
        """The scales, by default ones."""
        return np.ones(num_classes) if self.scale is None else np.array(self.scale)

    @cached_property
    def _array(self) -> FloatArray:
        return frozen(self.margins)


@dataclass(frozen=True)
class UniformMargin(MarginIndicator, MarginLoss, GroupedIndicator):
    """One margin for all: a class is one number on a frame, and alike classes need one column.

    Args:
        margin: m > 0.
    """

    margin: float

    def validate(self, num_classes: int) -> None:
        """Every number of classes is fine."""

    def parameters(self) -> dict[str, Any]:
        """None: the margin belongs to the constraint."""
        return {}

    def exact_parameters(self) -> dict[str, Any]:
        """See ``Loss.exact_parameters``: as ``ClassMargins`` says it."""
        return {"margins": self.margin, "scale": None}

    def required(self, labels: IntArray, num_classes: int) -> FloatArray:
        """The margin."""
        return np.full(labels.size, self.margin)

    def scales(self, num_classes: int) -> FloatArray:
        """Ones."""
        return np.ones(num_classes)

    def unit(self, num_classes: int) -> float:
        """The margin."""
        return self.margin

    # -- one number a class ---------------------------------------------------------------------------------------

    def margin_values(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """0, or +∞ below the margin."""
        return np.where(margins >= self.margin * (1.0 - _ROUNDED), 0.0, np.inf)

    def margin_strengths(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """+∞ below the margin, 0 from just above it on."""
        return np.where(margins >= self.margin * _ABOVE, 0.0, np.inf)

    def nearest_margin_strengths(self, strengths: FloatArray, margins: FloatArray, num_classes: int) -> FloatArray:
        """The given strengths where the margin is tight, 0 elsewhere."""
        return np.where(margins <= (1.0 + _TIGHT) * self.margin, np.maximum(strengths, 0.0), 0.0)

    def margin_conjugates(self, strengths: FloatArray, num_classes: int) -> FloatArray:
        """−m q (K−1)/K."""
        return np.where(strengths >= 0.0, -self.margin * strengths * ((num_classes - 1) / num_classes), np.inf)

    def enclose_margin_value(self, margin: arb, num_classes: int) -> arb:
        """0 where the margin is met for certain, else +∞."""
        from flint import arb

        return arb(0) if margin >= arb(self.margin) else arb.pos_inf()

    def enclose_margin_conjugate(self, strength: fmpq, num_classes: int) -> arb:
        """−m q (K−1)/K, after an exact test."""
        from flint import arb

        if strength < 0:
            raise ValueError("the strength lies outside the domain")
        return arb(-_exact(self.margin) * strength * (num_classes - 1) / num_classes)

    # -- reduced columns ------------------------------------------------------------------------------------------

    def grouped_values(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """0, or +∞ where a margin is missed by more than rounding."""
        size = np.maximum(np.abs(own), np.where(multiplicities > 0, np.abs(others), 0.0).max(axis=0))
        gaps = np.where(multiplicities > 0, own - others, np.inf)
        met = (gaps >= self.margin - _ROUNDED * (self.margin + size)).all(axis=0)
        return np.where(met, 0.0, np.inf)

    def grouped_residuals(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Zero."""
        return np.zeros_like(own), np.zeros_like(others)

    def grouped_nearest(
        self, residuals: tuple[FloatArray, FloatArray], own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The given multipliers where the margin is tight, 0 elsewhere."""
        tight = own - others <= (1.0 + _TIGHT) * self.margin
        return self.grouped_into_domain(residuals[0], np.where(tight, residuals[1], 0.0), multiplicities)

    def grouped_conjugate(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """−m Σ w; +∞ outside the cone by more than rounding."""
        present = np.where(multiplicities > 0, others, 0.0)
        mass = (multiplicities * present).sum(axis=0)
        slack = 4.0 * _EPS * others.shape[0]
        inside = (present.min(axis=0) >= -slack * present.max(axis=0)) & (np.abs(own + mass) <= slack * np.abs(own))
        return np.where(inside, -self.margin * mass, np.inf)

    def grouped_into_domain(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The multipliers of the others clipped at zero, the own one closing their sum."""
        finite = np.nan_to_num(others, nan=0.0, posinf=0.0, neginf=0.0)
        inside = np.where(multiplicities > 0, np.maximum(finite, 0.0), 0.0)
        return -(multiplicities * inside).sum(axis=0), inside

    def grouped_violation(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> float:
        """Largest of: a negative multiplier, a sum that is not zero; relative to the column."""
        present = np.where(multiplicities > 0, others, 0.0)
        size = np.maximum(np.abs(own), np.finfo(float).tiny)
        excess = np.abs(own + (multiplicities * present).sum(axis=0))
        return float(max(0.0, (-present.min(axis=0) / size).max(), (excess / size).max()))

    def grouped_limit(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """None: a cone; cut at a large multiple."""
        return np.full(own.size, _FAR)

    def grouped_ray_maximum(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """−l* grows along every ray, so its end."""
        return self.grouped_limit(own, others, multiplicities)

    def grouped_stretch(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray, error: FloatArray
    ) -> FloatArray:
        """See ``GroupedIndicator.grouped_stretch``."""
        gaps = np.where(multiplicities > 0, own - others, np.inf).min(axis=0) - error
        stretched: FloatArray = np.where(gaps > 0.0, self.margin / np.where(gaps > 0.0, gaps, 1.0), np.inf)
        return stretched

    def grouped_expression(
        self, own: cp.Expression, others: cp.Expression, multiplicities: FloatArray
    ) -> cp.Expression:
        """The margins as explicit constraints."""
        other, column = np.nonzero(multiplicities > 0)
        gaps = (1.0 / self.margin) * (own[column] - others[other, column])
        return _indicator(gaps >= 1.0, multiplicities.shape[1])

    def enclose_grouped_value(self, own: arb, others: Sequence[arb], multiplicities: Sequence[int]) -> arb:
        """0 where every margin is met for certain, else +∞."""
        from flint import arb

        margin = arb(self.margin)
        met = all(own - z >= margin for z, m in zip(others, multiplicities, strict=True) if m)
        return arb(0) if met else arb.pos_inf()

    def enclose_grouped_conjugate(self, own: fmpq, others: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """−m Σ w, after an exact test of the cone."""
        from flint import arb, fmpq

        present = [(m, v) for m, v in zip(multiplicities, others, strict=True) if m]
        mass = sum((m * v for m, v in present), fmpq(0))
        if min(v for _, v in present) < 0 or own + mass != 0:
            raise ValueError("the column lies outside the cone")
        return arb(-_exact(self.margin) * mass)


def _indicator(condition: Any, columns: int) -> cp.Expression:
    """Zeros, (m,), that bring a constraint with them."""
    import cvxpy as cp

    zeros: cp.Expression = np.ones(columns) * cp.transforms.indicator([condition])
    return zeros


def _exact(number: float) -> fmpq:
    from flint import fmpq

    return fmpq(*ratio(number))

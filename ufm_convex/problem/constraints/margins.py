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
from ufm_convex.losses import ExactColumn, Layout
from ufm_convex.losses.base import Indicator

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
    """The indicator of margins; a subclass says which."""

    name: ClassVar[str] = "hard-margin"
    shift_invariant: ClassVar[bool] = True

    @abstractmethod
    def required(self, rows: IntArray, num_outputs: int) -> FloatArray:
        """The margins asked for, one column a row, (V, C), or (1, C) if all are equal; own entries are not used."""

    @abstractmethod
    def scales(self, num_outputs: int) -> FloatArray:
        """The factors a, (V,)."""

    def unit(self, num_outputs: int) -> float:
        """The geometric mean of the margins, over that of the scales."""
        layout = self.layout(num_outputs, np.arange(num_outputs))
        logs = np.log(layout.without_own(self._required(layout, np.ones((num_outputs, num_outputs))), 1.0))
        mean = logs.sum() / (num_outputs * (num_outputs - 1))
        return float(np.exp(mean - np.log(self.scales(num_outputs)).mean()))

    def closing_weights(self, num_outputs: int) -> FloatArray:
        """The scales: Σ v_j / a_j = 0."""
        return self.scales(num_outputs)

    def _gaps(self, z: FloatArray, layout: Layout) -> FloatArray:
        """a_k z_k − a_j z_j; +∞ at the own entry."""
        scaled = z * self._scales(z)
        return layout.without_own(layout.take(scaled) - scaled, np.inf)

    def _scales(self, entries: FloatArray) -> FloatArray:
        return self.scales(len(entries))[:, None]

    def _required(self, layout: Layout, entries: FloatArray) -> FloatArray:
        """The margins, in the shape of the entries; 0 at own ones."""
        full = np.broadcast_to(self.required(layout.rows, len(entries)), entries.shape)
        return layout.without_own(np.asarray(full), 0.0)

    def _multipliers(self, v: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray]:
        """The w_j of the other classes, 0 at the own entry, and |Σ w|."""
        w = v / self._scales(v)
        return layout.without_own(w, 0.0), np.abs(layout.sum(layout.hide(w)))

    def _closed(self, w: FloatArray, layout: Layout) -> FloatArray:
        return layout.closed(w) * self._scales(w)

    # -- floating point -------------------------------------------------------------------------------------------

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """0, or +∞ where a margin is missed by more than rounding."""
        required = self._required(layout, z)
        size = np.abs(layout.hide(z * self._scales(z))).max(axis=0)
        missed = ~(self._gaps(z, layout) >= required - _ROUNDED * (required + size))
        return np.where(missed.any(axis=0), np.inf, 0.0)

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """Zero, which belongs to the normal cone of every admissible point."""
        return np.zeros_like(z)

    def nearest(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """The given multipliers where the margin is tight, 0 elsewhere."""
        tight = self._gaps(z, layout) <= (1.0 + _TIGHT) * self._required(layout, z)
        return self._closed(np.where(tight, np.maximum(self._multipliers(v, layout)[0], 0.0), 0.0), layout)

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """−Σ m w; +∞ outside the cone by more than rounding."""
        others, excess = self._multipliers(v, layout)
        slack = 4.0 * _EPS * len(v) * layout.sum(np.maximum(others, 0.0))  # of a sum of E numbers
        inside: BoolArray = (others.min(axis=0) >= -slack) & (excess <= slack)
        return np.where(inside, -layout.sum(self._required(layout, v) * others), np.inf)

    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """The multipliers of the others clipped at zero, the own one closing their sum."""
        finite = np.nan_to_num(v, nan=0.0, posinf=0.0, neginf=0.0)
        return self._closed(np.maximum(self._multipliers(finite, layout)[0], 0.0), layout)

    def violation(self, v: FloatArray, layout: Layout) -> float:
        """Largest of: a negative multiplier, a sum that is not zero; relative to the column."""
        others, excess = self._multipliers(v, layout)
        size = np.maximum(np.abs(others).max(axis=0), np.finfo(float).tiny)
        return float(max(0.0, (-others.min(axis=0) / size).max(), (excess / size).max()))

    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """None: a cone; cut at a large multiple."""
        return np.full(v.shape[1], _FAR)

    def ray_maximum(self, v: FloatArray, layout: Layout) -> FloatArray:
        """−l* grows along every ray, so its end."""
        return self.limit(v, layout)

    def stretch(self, z: FloatArray, layout: Layout, error: FloatArray) -> FloatArray:
        """See ``Indicator.stretch``: the largest of m / (gap − error)."""
        scaled = np.broadcast_to(error, z.shape) * self._scales(z)
        gaps = self._gaps(z, layout) - layout.hide(scaled) - layout.take(scaled)
        required = self._required(layout, z)
        ratios: FloatArray = np.where(gaps > 0.0, required / np.where(gaps > 0.0, gaps, 1.0), np.inf)
        return layout.without_own(ratios, 0.0).max(axis=0)

    def shortfall(self, z: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray]:
        """See ``Indicator.shortfall``: of the margins that are missed."""
        lacking = np.maximum(self._required(layout, z) - self._gaps(z, layout), 0.0)
        return 0.5 * layout.sum(lacking * lacking), self._closed(lacking, layout)

    def softened(
        self, z: FloatArray, v: FloatArray, stiffness: FloatArray, layout: Layout
    ) -> tuple[FloatArray, FloatArray]:
        """See ``Loss.softened``; d is the distance of the w of the other classes."""
        lacking = layout.without_own(self._required(layout, z) - layout.without_own(self._gaps(z, layout), 0.0), 0.0)
        given = self._multipliers(v, layout)[0]
        w = np.maximum(given + stiffness * lacking, 0.0)
        values = layout.sum(w * lacking) - 0.5 / stiffness * layout.sum((w - given) ** 2)
        return values, self._closed(w, layout)

    def shortest(self, layout: Layout) -> FloatArray:
        """See ``Indicator.shortest``.

        With t = a_k z_k the best others are z_j = min(t − m_j, 0) / a_j, and the minimum of t²/a_k² + Σ z_j² is the
        root of a piecewise linear function that rises with t: t = Σ m_j b_j / (b_k + Σ b_j) over the largest margins,
        b = a⁻², of which there are as many as make t largest.
        """
        weights = layout.numbers * self._scales(layout.numbers) ** -2.0
        required = self._required(layout, layout.numbers)
        order = np.argsort(-required, axis=0, kind="stable")  # the own entry, 0, comes last
        m, b = (np.take_along_axis(one, order, axis=0)[:-1] for one in (required, weights))
        t = (np.cumsum(m * b, axis=0) / (layout.take(weights) + np.cumsum(b, axis=0))).max(axis=0)
        z = np.where(layout.is_own, t, np.minimum(t - required, 0.0))
        return z / self._scales(z)

    # -- modelling, exact numbers and balls -----------------------------------------------------------------------

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """The margins as explicit constraints, which cvxpy adds to those of the programme."""
        import cvxpy as cp

        entries, columns = z.shape
        scaled = cp.multiply(np.tile(self.scales(entries)[:, None], (1, columns)), z)
        other, column = np.nonzero(layout.others)
        gaps = scaled[layout.own[column], column] - scaled[other, column]
        required = self._required(layout, layout.numbers)[other, column]
        zeros: cp.Expression = np.ones(columns) * cp.transforms.indicator([cp.multiply(1.0 / required, gaps) >= 1.0])
        return zeros

    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """0 where every margin is met for certain, else +∞."""
        from flint import arb

        scaled = [arb(a) * entry for a, entry in zip(self.scales(len(z)).tolist(), z, strict=True)]
        pairs = zip(column.others(scaled), column.others(self._margins(column)), strict=True)
        met = all(scaled[column.own] - entry >= arb(m) for (_, entry), (_, m) in pairs)
        return arb(0) if met else arb.pos_inf()

    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """−Σ m w, after an exact test of the cone."""
        from flint import arb, fmpq

        w = [entry / _exact(a) for entry, a in zip(v, self.scales(len(v)).tolist(), strict=True)]
        others = column.others(w)
        total = column.numbers[column.own] * w[column.own] + sum((n * x for n, x in others), fmpq(0))
        if total != 0 or min(x for _, x in others) < 0:
            raise ValueError(f"column {column.row} lies outside the domain")
        pairs = zip(others, column.others(self._margins(column)), strict=True)
        return arb(-sum((n * _exact(m) * x for (n, x), (_, m) in pairs), fmpq(0)))

    def _margins(self, column: ExactColumn) -> list[float]:
        """The margin of each entry."""
        entries = len(column.numbers)
        required = np.broadcast_to(self.required(np.array([column.row]), entries), (entries, 1))
        found: list[float] = required[:, 0].tolist()
        return found


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

    def required(self, rows: IntArray, num_outputs: int) -> FloatArray:
        """The margin of the class, or row k of the table as a column."""
        table = self._array
        return table[rows].T if table.ndim == 2 else np.broadcast_to(table, (num_outputs,))[rows][None, :]

    def scales(self, num_outputs: int) -> FloatArray:
        """The scales, by default ones."""
        return np.ones(num_outputs) if self.scale is None else np.array(self.scale)

    @cached_property
    def _array(self) -> FloatArray:
        return frozen(self.margins)


@dataclass(frozen=True)
class UniformMargin(MarginIndicator):
    """One margin for all: a class is one number on a frame, and alike classes need one column.

    Args:
        margin: m > 0.
    """

    alike: ClassVar[bool] = True

    margin: float

    def validate(self, num_classes: int) -> None:
        """Every number of classes is fine."""

    def parameters(self) -> dict[str, Any]:
        """None: the margin belongs to the constraint."""
        return {}

    def exact_parameters(self) -> dict[str, Any]:
        """See ``Loss.exact_parameters``: as ``ClassMargins`` says it."""
        return {"margins": self.margin, "scale": None}

    def required(self, rows: IntArray, num_outputs: int) -> FloatArray:
        """The margin."""
        return np.full((1, rows.size), self.margin)

    def scales(self, num_outputs: int) -> FloatArray:
        """Ones."""
        return np.ones(num_outputs)

    def unit(self, num_outputs: int) -> float:
        """The margin."""
        return self.margin

    def margin_strengths(self, margins: FloatArray, num_outputs: int) -> FloatArray:
        """+∞ below the margin, 0 from just above it on: the residual 0 says nothing of where the frame should be."""
        return np.where(margins >= self.margin * _ABOVE, 0.0, np.inf)


def _exact(number: float) -> fmpq:
    from flint import fmpq

    return fmpq(*ratio(number))

"""The two multi-class hinge losses of support vector machines.

    Crammer–Singer:  l_k(z) = max(0, 1 + max_{j≠k} z_j − z_k),     domain  v_j ≥ 0 (j ≠ k), Σ_{j≠k} v_j ≤ 1,
    Weston–Watkins:  l_k(z) = Σ_{j≠k} max(0, 1 + z_j − z_k),       domain  0 ≤ v_j ≤ 1 (j ≠ k),

    with Σ_j v_j = 0 and l_k*(v) = v_k for both.

Not differentiable; ``residuals`` is a subgradient, shared evenly among ties. Sources: Crammer and Singer, JMLR 2,
2001; Weston and Watkins, ESANN 1999.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import ProblemError, shown
from ufm_convex.losses.base import Loss, ray_limit
from ufm_convex.losses.layout import ExactColumn, Layout

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_JOINT, _PAIRWISE = "crammer-singer", "weston-watkins"
_TIGHT = 1e-3
"""Violations of so little count as 0, and so near to the largest as equal to it, where a residual is compared."""


@dataclass(frozen=True)
class MulticlassHinge(Loss):
    """A hinge loss with margin 1.

    Args:
        kind: "crammer-singer" (the worst wrong class counts) or "weston-watkins" (all wrong classes do).

    Raises:
        ProblemError: ``kind`` is another value.
    """

    name: ClassVar[str] = "multiclass-hinge"
    shift_invariant: ClassVar[bool] = True
    alike: ClassVar[bool] = True
    differentiable: ClassVar[bool] = False

    kind: str = _JOINT

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in (_JOINT, _PAIRWISE):
            raise ProblemError(
                f"kind is {shown(self.kind)}.",
                expected=f'"{_JOINT}" or "{_PAIRWISE}"',
                fix="check the spelling.",
            )

    def validate(self, num_classes: int) -> None:
        """Every number of classes is fine."""

    def parameters(self) -> dict[str, Any]:
        """The kind, unless it is the default."""
        return {} if self.kind == _JOINT else {"kind": self.kind}

    @property
    def joint(self) -> bool:
        """Whether the kind is Crammer–Singer."""
        return self.kind == _JOINT

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """The hinges of the violations 1 + z_j − z_k, their maximum or sum."""
        hinges = np.maximum(_violations(z, layout), 0.0)
        values: FloatArray = hinges.max(axis=0) if self.joint else layout.sum(hinges)
        return values

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """A subgradient: the hinges that count, with equal shares where the maximum is attained several times."""
        violations = _violations(z, layout)
        counted = (violations > 0.0).astype(np.float64)
        if not self.joint:
            return layout.closed(counted)
        counted *= violations == violations.max(axis=0)
        return layout.closed(counted / np.maximum(layout.sum(counted), 1.0))

    def nearest(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """The given residuals at the kinks, where they are free to choose; the gradient elsewhere."""
        violations, given = _violations(z, layout), np.clip(layout.without_own(v, 0.0), 0.0, 1.0)
        if not self.joint:
            return layout.closed(np.where(np.abs(violations) <= _TIGHT, given, violations > 0.0))
        largest = violations.max(axis=0)
        tight = layout.without_own((violations >= largest - _TIGHT).astype(np.float64), 0.0)
        chosen = tight * given
        mass, alternatives = layout.sum(chosen), layout.sum(tight)
        shares = np.where(mass > 0.0, chosen / np.where(mass > 0.0, mass, 1.0), tight / alternatives)
        wanted = np.where(np.abs(largest) <= _TIGHT, np.minimum(mass, 1.0), largest > 0.0)
        return layout.closed(shares * wanted)

    def softened(
        self, z: FloatArray, v: FloatArray, stiffness: FloatArray, layout: Layout
    ) -> tuple[FloatArray, FloatArray]:
        """See ``Loss.softened``; d² = Σ_{j≠k} (w_j − v_j)²."""
        violations, given = _violations(z, layout), layout.without_own(v, 0.0)
        w = layout.without_own(np.maximum(given + stiffness * violations, 0.0), 0.0)
        w = _capped(w, np.broadcast_to(layout.others, w.shape)) if self.joint else np.minimum(w, 1.0)
        values = layout.sum(w * violations) - 0.5 / stiffness * layout.sum((w - given) ** 2)
        return values, layout.closed(w)

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """v_k, taken as minus the sum of the others; +inf outside the domain by more than rounding."""
        others, mass, load = self._loads(v, layout)
        slack = 4.0 * np.finfo(float).eps * layout.num_outputs
        outside = (others.min(axis=0) < -slack) | (load.max(axis=0) > 1.0 + slack)
        outside |= np.abs(layout.take(v) + mass) > slack
        return np.where(outside, np.inf, -mass)

    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Clipped at zero, then at a mass or an entry of 1."""
        others = np.clip(np.nan_to_num(v, nan=0.0, posinf=1.0, neginf=0.0), 0.0, None)
        _, _, load = self._loads(others, layout)
        return layout.closed(others / np.maximum(load, 1.0))

    def violation(self, v: FloatArray, layout: Layout) -> float:
        """Largest of: a negative entry, mass (or an entry) above 1, a column that does not sum to zero."""
        others, mass, load = self._loads(v, layout)
        return float(max(0.0, -others.min(), load.max() - 1.0, np.abs(layout.take(v) + mass).max()))

    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Where the mass or an entry reaches 1."""
        _, _, load = self._loads(v, layout)
        return ray_limit(np.ones(load.shape), -load)

    def ray_maximum(self, v: FloatArray, layout: Layout) -> FloatArray:
        """−l* grows along every ray, so its end."""
        return self.limit(v, layout)

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """The hinges; those of no class are put to 0 under the maximum."""
        import cvxpy as cp

        hinges = cp.pos(1.0 + z - layout.own_expression(z))
        if self.joint:
            return cp.max(cp.multiply(layout.others > 0.0, hinges), axis=0)
        return cp.sum(cp.multiply(layout.others, hinges), axis=0)

    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """The hinges in balls."""
        from flint import arb

        total = arb(0)
        for number, entry in column.others(z):
            hinge = (1 + entry - z[column.own]).max(arb(0))
            total = total.max(hinge) if self.joint else total + number * hinge
        return total

    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """v_k, after an exact test of the domain."""
        from flint import arb, fmpq

        others = column.others(v)
        mass = sum((number * entry for number, entry in others), fmpq(0))
        load = mass if self.joint else max(entry for _, entry in others)
        if min(entry for _, entry in others) < 0 or load > 1 or v[column.own] + mass != 0:
            raise ValueError("the column lies outside the domain")
        return arb(-mass)

    def margin_strengths(self, margins: FloatArray, num_outputs: int) -> FloatArray:
        """V/(V−1) or V below margin 1, else 0; rounded down, so that it lies in the domain exactly."""
        numerator = num_outputs if self.joint else num_outputs * (num_outputs - 1)
        strength = numerator / (num_outputs - 1)
        if Fraction(strength) * (num_outputs - 1) > numerator:
            strength = math.nextafter(strength, 0.0)
        return np.where(margins < 1.0, strength, 0.0)

    def _loads(self, v: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Entries of other classes, (E, C), their mass, (C,), and what may be at most 1, (1, C) or (E, C)."""
        others = layout.without_own(v, 0.0)
        mass = layout.sum(others)
        return others, mass, mass[None, :] if self.joint else others


def _capped(w: FloatArray, numbers: FloatArray) -> FloatArray:
    """The nearest columns ≥ 0 with Σ numbers w ≤ 1: max(w − τ, 0), τ ≥ 0 the root of a piecewise linear sum."""
    order = np.argsort(-w, axis=0, kind="stable")
    sorted_w, many = np.take_along_axis(w, order, axis=0), np.take_along_axis(numbers, order, axis=0)
    total = np.cumsum(many, axis=0)
    # with the largest alone above τ, with the two largest …: the right number of them makes τ largest
    roots = (np.cumsum(many * sorted_w, axis=0) - 1.0) / np.where(total > 0.0, total, 1.0)
    tau = np.maximum(np.where(total > 0.0, roots, 0.0).max(axis=0), 0.0)
    return np.maximum(w - tau, 0.0)


def _violations(z: FloatArray, layout: Layout) -> FloatArray:
    """1 + z_j − z_k; −1 for what is no other class."""
    return layout.without_own(1.0 + z - layout.take(z), -1.0)

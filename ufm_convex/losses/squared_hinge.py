"""The squared hinge: the smooth loss of support vector machines, in the form of Weston and Watkins.

    l_k(z)  = ½ Σ_{j≠k} max(0, 1 + z_j − z_k)²,
    l_k*(v) = Σ_{j≠k} (½ v_j² − v_j)      on the cone   v_j ≥ 0 (j ≠ k),  Σ_j v_j = 0.

Source: Crammer and Singer, JMLR 2, 2001, and Weston and Watkins, ESANN 1999, with squares as in Tang, 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.losses.base import Loss
from ufm_convex.losses.layout import ExactColumn, Layout

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_FAR = 1e6
"""Where a ray of the conjugate's domain, which never ends, is cut; −l* has its peak long before."""


@dataclass(frozen=True)
class SquaredHinge(Loss):
    """Half the sum of the squares by which margins fall short of 1."""

    name: ClassVar[str] = "squared-hinge"
    shift_invariant: ClassVar[bool] = True
    alike: ClassVar[bool] = True

    def validate(self, num_classes: int) -> None:
        """Every number of classes is fine."""

    def parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """½ Σ h²."""
        return 0.5 * layout.sum(np.maximum(_violations(z, layout), 0.0) ** 2)

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """The hinges h, and minus their sum at the own entry."""
        return layout.closed(np.maximum(_violations(z, layout), 0.0))

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Σ (½ v² − v) over the others; +∞ outside the cone by more than rounding."""
        others = layout.without_own(v, 0.0)
        slack = 4.0 * np.finfo(float).eps * len(v) * layout.sum(np.abs(others))
        outside = (others.min(axis=0) < -slack) | (np.abs(layout.sum(layout.hide(v))) > slack)
        return np.where(outside, np.inf, layout.sum(others * (0.5 * others - 1.0)))

    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """The others clipped at zero, the own one closing their sum."""
        return layout.closed(np.maximum(np.nan_to_num(v, nan=0.0, posinf=1.0, neginf=0.0), 0.0))

    def violation(self, v: FloatArray, layout: Layout) -> float:
        """Largest of: a negative other entry, a sum that is not zero."""
        others = layout.without_own(v, 0.0)
        return float(max(0.0, -others.min(), np.abs(layout.sum(layout.hide(v))).max()))

    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """None: a cone; cut at a large multiple."""
        return np.full(v.shape[1], _FAR)

    def fenchel_young(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """Σ ½ (h − v)² + v (h − u), u = 1 + z_j − z_k: a sum of terms ≥ 0 for v in the cone."""
        others, violations = layout.without_own(v, 0.0), _violations(z, layout)
        hinges = np.maximum(violations, 0.0)
        return layout.sum(0.5 * (hinges - others) ** 2 + others * (hinges - violations))

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """½ Σ h²."""
        import cvxpy as cp

        squares = cp.square(cp.pos(1.0 + z - layout.own_expression(z)))
        return 0.5 * cp.sum(cp.multiply(layout.others, squares), axis=0)

    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """½ Σ h² in balls."""
        from flint import arb

        hinges = ((number, (1 + entry - z[column.own]).max(arb(0))) for number, entry in column.others(z))
        return sum((number * hinge * hinge for number, hinge in hinges), arb(0)) / 2

    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """Σ (½ v² − v), after an exact test of the cone."""
        from flint import arb, fmpq

        others = column.others(v)
        mass = sum((number * entry for number, entry in others), fmpq(0))
        if min(entry for _, entry in others) < 0 or v[column.own] + mass != 0:
            raise ValueError("the column lies outside the cone")
        return arb(sum((number * entry * entry for number, entry in others), fmpq(0)) / 2 - mass)


def _violations(z: FloatArray, layout: Layout) -> FloatArray:
    """1 + z_j − z_k; 0 for what is no other class."""
    return layout.without_own(1.0 + z - layout.take(z), 0.0)

"""Cross-entropy with a margin of the label: the loss of LDAM (label-distribution-aware margins).

    l_k(z)  = CE(z − Δ_k e_k, k),
    l_k*(v) = −Ent(v + e_k) + Δ_k v_k,      v + e_k in the simplex (+∞ elsewhere).

The own logit has to lead by Δ_k before it counts. Cao, Wei, Gaidon, Arechiga, Ma, NeurIPS 2019: Δ_k = C n_k^{−1/4}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, frozen, real
from ufm_convex.errors import ProblemError, ShapeError, shown
from ufm_convex.losses.layout import ExactColumn, Layout
from ufm_convex.losses.softmax import SoftmaxLoss

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_LARGEST = 2.0**100


@dataclass(frozen=True)
class LabelMarginCrossEntropy(SoftmaxLoss):
    """Cross-entropy in which the own logit is lowered by a margin of its class.

    Args:
        margins: Δ, one number a class, at most 2**100 in size.

    Raises:
        ProblemError: an entry is no such number.
    """

    name: ClassVar[str] = "label-margin-cross-entropy"

    margins: tuple[float, ...]

    def __post_init__(self) -> None:
        given: Any = self.margins
        entries = given.tolist() if isinstance(given, np.ndarray) else given
        listed = isinstance(entries, (list, tuple)) and len(entries) > 0
        wrong = [entry for entry in entries if not abs(real(entry)) <= _LARGEST] if listed else [given]
        if wrong:
            raise ProblemError(
                f"margins {'has the entry' if listed else 'is'} {shown(wrong[0])}.",
                expected="a list of finite numbers, at most 2**100 in size, one a class",
                fix="LDAM takes C * class_counts**-0.25, with C = 0.5 for the largest.",
            )
        object.__setattr__(self, "margins", tuple(map(float, entries)))

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless there is one margin a class."""
        if len(self.margins) != num_classes:
            raise ShapeError(
                f"margins has {len(self.margins)} entries, but there are {num_classes} classes.",
                expected="one margin a class",
                fix="give the margins in the order of class_counts.",
            )

    def parameters(self) -> dict[str, Any]:
        """The margins."""
        return {"margins": list(self.margins)}

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """CE at the lowered logits."""
        return super().values(self._lowered(z, layout), layout)

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """∇CE at the lowered logits."""
        return super().residuals(self._lowered(z, layout), layout)

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """CE*(v) + Δ_k v_k."""
        return super().conjugate(v, layout) + self._of(layout) * layout.take(v)

    def fenchel_young(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """That of CE at the lowered logits."""
        return super().fenchel_young(v, self._lowered(z, layout), layout)

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """CE at the lowered logits."""
        return super().expression(z - layout.is_own * self._of(layout), layout)

    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """CE at the lowered logits, in balls."""
        from flint import arb

        lowered = list(z)
        lowered[column.own] -= arb(self.margins[column.row])
        return super().enclose_value(lowered, column)

    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """CE*(v) + Δ_k v_k in balls, after an exact test of v."""
        from flint import arb

        return super().enclose_conjugate(v, column) + arb(self.margins[column.row]) * arb(v[column.own])

    def _lowered(self, z: FloatArray, layout: Layout) -> FloatArray:
        return z - layout.is_own * self._of(layout)

    def _of(self, layout: Layout) -> FloatArray:
        """Δ of each column, (C,)."""
        return self._array[layout.rows]

    @cached_property
    def _array(self) -> FloatArray:
        return frozen(self.margins)

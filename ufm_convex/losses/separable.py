"""The base of losses that are sums over outputs, which any file of this folder may subclass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.errors import ProblemError
from ufm_convex.losses.base import Loss, ray_limit
from ufm_convex.losses.layout import ExactColumn, Layout
from ufm_convex.losses.table import Kind, Table, require_rows

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


_FAR = 1e6
"""Where a ray that never leaves a domain is cut: residuals of order one at most become useless long before."""


@dataclass(frozen=True)
class SeparableLoss(Loss):
    """A sum over outputs of one convex function of an output and its target.

        l(z)  = Σ_j f(z_j, y_j),      l*(v) = Σ_j f*(v_j, y_j)

    Asked of a subclass: ``name`` and, elementwise, for the scalar function f, ``entry_values``, ``entry_residuals``
    (f′), ``entry_conjugates`` with the interval ``entry_domain`` that contains 0, ``entry_expression``; and the balls
    ``enclose_entry_value`` and ``enclose_entry_conjugate``; ``kind`` where it takes a table of targets. No equation
    ties the entries of a residual.
    """

    shift_invariant: ClassVar[bool] = False
    alike: ClassVar[bool] = True

    @abstractmethod
    def entry_values(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """f, elementwise."""

    @abstractmethod
    def entry_residuals(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """Its derivative in z, elementwise."""

    @abstractmethod
    def entry_conjugates(self, v: FloatArray, y: FloatArray) -> FloatArray:
        """f*, elementwise, for v in its domain."""

    @abstractmethod
    def entry_domain(self, y: Any) -> tuple[Any, Any] | None:
        """The ends of the domain of f*, which belong to it, for an array of targets or an exact one; None for ℝ."""

    @abstractmethod
    def entry_expression(self, z: cp.Expression, y: FloatArray) -> cp.Expression:
        """f, elementwise, as a convex cvxpy expression."""

    @abstractmethod
    def enclose_entry_value(self, z: arb, y: fmpq) -> arb:
        """A ball that contains f over the ball."""

    @abstractmethod
    def enclose_entry_conjugate(self, v: fmpq, y: fmpq) -> arb:
        """A ball that contains f* at a point of its domain."""

    kind: ClassVar[Kind]
    """What the numbers of a table of targets may be."""

    targets: Table | Sequence[Sequence[float]] | FloatArray | None = None

    def __post_init__(self) -> None:
        self.table  # noqa: B018 - read once, so that what is wrong with it is said here

    @property
    def table(self) -> Table | None:
        """The targets, where columns are not classes.

        Raises ``ProblemError`` for a loss that does not state its ``kind``.
        """
        if self.targets is None:
            return None
        if getattr(type(self), "kind", None) is None:
            raise ProblemError(
                f"the loss {self.name!r} is given targets.",
                expected="none: it does not state of what kind the numbers of a table may be",
                fix="leave the targets out, or state kind in its class.",
            )
        found = Table.of(self.targets, self.kind)  # itself from the second time on
        # here, and not where it is made: a subclass may have a ``__post_init__`` of its own
        object.__setattr__(self, "targets", found)
        object.__setattr__(self, "alike", False)  # of this one: the table tells columns apart
        return found

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless a table has one row a count; every number of classes is fine."""
        if self.table is not None:
            require_rows(self.table, num_classes)

    def parameters(self) -> dict[str, Any]:
        """The table, if there is one."""
        return {} if self.table is None else {"targets": self.table.content()}

    def exact_parameters(self) -> dict[str, Any]:
        """The table without rounding, if there is one."""
        table = self.table
        return {} if table is None else {"targets": tuple(tuple(table.exact_row(k)) for k in range(len(table)))}

    def floors(self, num_outputs: int, rows: IntArray) -> FloatArray:
        """The sum of −f*(0, y), which is 0 at y = 0, over the entries of a table; 0 for unit vectors."""
        if self.table is None:
            return super().floors(num_outputs, rows)
        return self.table.summed(lambda y: -self.entry_conjugates(np.zeros(y.shape), y))[rows]

    def kept(self, chosen: IntArray) -> Self:
        """See ``Loss.kept``."""
        return self if self.table is None else replace(self, targets=self.table.kept(chosen))

    def target_columns(self, num_outputs: int, rows: IntArray) -> FloatArray:
        """Rows of the table, as columns; unit vectors without one."""
        return super().target_columns(num_outputs, rows) if self.table is None else self.table.rows(rows).T

    def exact_column(self, num_outputs: int, row: int) -> ExactColumn:
        """The same without rounding."""
        return super().exact_column(num_outputs, row) if self.table is None else self.table.exact_column(row)

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """Σ n_e f."""
        return layout.sum(self.entry_values(layout.hide(z), layout.target))

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """Entry by entry."""
        return layout.hide(self.entry_residuals(z, layout.target))

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Σ n_e f*; +inf outside the box."""
        inside = self.into_domain(v, layout)
        outside = np.abs(layout.hide(v) - inside).max(axis=0) > 4.0 * np.finfo(float).eps
        return np.where(outside, np.inf, layout.sum(self.entry_conjugates(inside, layout.target)))

    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Clipped to the box."""
        finite, ends = layout.hide(np.nan_to_num(v)), self.entry_domain(layout.target)
        return finite if ends is None else np.clip(finite, *ends)

    def violation(self, v: FloatArray, layout: Layout) -> float:
        """Largest distance of an entry from its interval."""
        return float(np.abs(layout.hide(v) - self.into_domain(v, layout)).max())

    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Where the ray leaves the box; a ray that never does is cut at a large multiple, of no use beyond."""
        v, ends = layout.hide(v), self.entry_domain(layout.target)
        if ends is None:
            return np.full(v.shape[1], _FAR)
        return np.minimum(ray_limit(-ends[0], v, _FAR), ray_limit(ends[1], -v, _FAR))

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """Σ n_e f."""
        import cvxpy as cp

        return cp.sum(cp.multiply(layout.numbers, self.entry_expression(z, layout.target)), axis=0)

    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """Sum of balls."""
        from flint import arb

        entries = zip(column.numbers, z, column.target, strict=True)
        return sum((number * self.enclose_entry_value(entry, y) for number, entry, y in entries if number), arb(0))

    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """Sum of balls, after an exact test of the box."""
        from flint import arb

        present = [pair for pair in zip(column.numbers, v, column.target, strict=True) if pair[0]]
        for _, entry, y in present:
            ends = self.entry_domain(y)
            if ends is not None and not ends[0] <= entry <= ends[1]:
                raise ValueError("the column lies outside the box")
        return sum((number * self.enclose_entry_conjugate(entry, y) for number, entry, y in present), arb(0))

"""How a loss sees columns: entries, and how many outputs each of them stands for.

A column of outputs on which alike outputs have equal values needs one *entry* for every set of outputs that it does not
tell apart. Single outputs, groups of alike classes, an orthogonal frame (the own output and V − 1 equal others) and the
samples of a contrastive problem are nothing but different layouts: no loss knows which of them it sees.

Shapes: E entries a column, C columns, V outputs behind every column; z, v, ``numbers`` and ``target`` are (E, C). A
layout of one column serves any number of columns, of which all then have its numbers and its target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import fmpq

Number = TypeVar("Number")


@dataclass(frozen=True, eq=False)
class Layout:
    """The entries of columns.

    Attributes:
        numbers: How many outputs each entry stands for, (E, C); 0 where there is no such output. What z or v hold
            there is ignored, and 0 in what a loss returns.
        target: y of one output of each entry, (E, C).
        rows: Row of the loss's tables behind each column, (C,): its class, or its row of a table of targets.
    """

    numbers: FloatArray
    target: FloatArray
    rows: IntArray

    @classmethod
    def single(cls, target: FloatArray, rows: IntArray) -> Layout:
        """Single outputs, E = V, for a target of shape (V, C)."""
        return cls(np.broadcast_to(np.float64(1.0), target.shape), target, np.asarray(rows))

    @classmethod
    def margins(cls, own: float, other: float, num_outputs: int) -> Layout:
        """Two entries: the own output and V − 1 equal others; one column, for any number of columns."""
        numbers = np.array([[1.0], [num_outputs - 1.0]])
        return cls(numbers, np.array([[own], [other]]), np.zeros(1, dtype=np.int64))

    def __getitem__(self, columns: Any) -> Layout:
        """The layout of some of the columns, chosen by indices or a mask."""
        target, rows = self.target[:, columns], self.rows[columns]
        return Layout.single(target, rows) if self.plain else Layout(self.numbers[:, columns], target, rows)

    @cached_property
    def own(self) -> IntArray:
        """The own entry of each column, (C,): that of the largest target, the first of several."""
        present = self.target if self.plain else np.where(self.numbers > 0.0, self.target, -np.inf)
        return np.asarray(present.argmax(axis=0))

    @cached_property
    def is_own(self) -> BoolArray:
        """Which entries are own ones, (E, C)."""
        found: BoolArray = np.arange(len(self.numbers))[:, None] == self.own
        return found

    @cached_property
    def plain(self) -> bool:
        """True for single outputs: every entry is one output."""
        return bool((self.numbers == 1.0).all())

    @cached_property
    def others(self) -> FloatArray:
        """``numbers`` with 0 at the own entries, (E, C)."""
        return self.without_own(self.numbers, 0.0)

    @cached_property
    def own_numbers(self) -> FloatArray:
        """How many outputs the own entry stands for, (C,); 1 for hard labels."""
        return self.take(self.numbers)

    @cached_property
    def num_outputs(self) -> FloatArray:
        """V of each column, (C,)."""
        total: FloatArray = self.numbers.sum(axis=0)
        return total

    @cached_property
    def hard(self) -> bool:
        """Whether only own entries have a target that is not zero."""
        return not self.without_own(self.target, 0.0).any()

    def take(self, entries: FloatArray) -> FloatArray:
        """The own entry of each column, (C,)."""
        found: FloatArray = entries[self._place]
        return found

    def hide(self, entries: FloatArray, fill: float = 0.0) -> FloatArray:
        """The entries, ``fill`` where there is no output."""
        return entries if self.plain else np.where(self.numbers > 0.0, entries, fill)

    def without_own(self, entries: FloatArray, fill: float) -> FloatArray:
        """A copy with ``fill`` at the own entries and where there is no output."""
        copy = entries.copy() if self.plain else np.where(self.numbers > 0.0, entries, fill)
        copy[self._place] = fill
        return copy

    def sum(self, entries: FloatArray) -> FloatArray:
        """The sum over outputs, (C,); the entries have to be finite where there is no output."""
        total: FloatArray = (entries if self.plain else self.numbers * entries).sum(axis=0)
        return total

    def closed(self, entries: FloatArray) -> FloatArray:
        """The column with the same other entries, 0 where there is no output, and the own one that makes its sum 0."""
        column = self.without_own(entries, 0.0)
        column[self._place] = -self.sum(column) / self.own_numbers
        return column

    def own_expression(self, z: cp.Expression) -> cp.Expression:
        """The own entry of each column in every row, (E, C), as a cvxpy expression."""
        import cvxpy as cp

        own = cp.sum(cp.multiply(self.is_own.astype(float), z), axis=0, keepdims=True)
        return np.ones((len(self.numbers), 1)) @ own

    @cached_property
    def _place(self) -> Any:
        """What picks the own entry of each column."""
        single = self.own.size == 1
        return int(self.own[0]) if single else (self.own, np.arange(self.own.size))


@dataclass(frozen=True, eq=False)
class ExactColumn:
    """One column of a layout in exact numbers.

    Attributes:
        numbers: How many outputs each entry stands for; entries of 0 are ignored.
        target: y of one output of each entry.
        row: As in ``Layout.rows``.
        own: The own entry.
    """

    numbers: Sequence[int]
    target: Sequence[fmpq]
    row: int
    own: int

    @cached_property
    def rest(self) -> list[tuple[int, int, fmpq]]:
        """Place, number and target of what is there beside the own entry."""
        entries = enumerate(zip(self.numbers, self.target, strict=True))
        return [(j, number, y) for j, (number, y) in entries if number and j != self.own]

    def others(self, entries: Sequence[Number]) -> list[tuple[int, Number]]:
        """Number and entry of what is there beside the own entry."""
        return [(number, entries[j]) for j, number, _ in self.rest]

"""Orbits: one sort of index (outputs, columns, coordinates) cut into orbits of alike ones.

The symmetry is a product of symmetric groups S_{K_1} × S_{K_2} × …, the *kinds*. An orbit of kind g is one copy of
{1 … K_g}, so two orbits of one kind, of whatever sorts, are *matched* element by element. An element may stand for
``copies`` indices that nothing tells apart, such as the samples of a class.

Single orbits are no symmetry at all; a class without samples is an orbit of outputs whose kind no column has; V ≠ m is
other orbits there than here (docs/levels.md, section 7).

Shapes: a sort has R orbits and n indices. With Q kinds of two elements or more, r is the largest number of orbits that
one of them has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from weakref import WeakKeyDictionary

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray

_FEW = 32
"""Number of single orbits up to which they are kept."""


@dataclass(frozen=True, eq=False)
class Orbits:
    """A sort of n indices under the symmetry with kinds of sizes ``symmetry``.

    Attributes:
        symmetry: K_g ≥ 1 of each kind, (G,); the same for all sorts of a problem.
        kinds: Kind of each orbit, (R,).
        copies: Indices that each element stands for, (R,).
        order: Place in full arrays of each index, (n,), orbit by orbit, element by element; None for 0 … n − 1.
        extent: Length of full arrays; they are 0 at places that are no index. None for n.
    """

    symmetry: IntArray
    kinds: IntArray
    copies: IntArray
    order: IntArray | None = None
    extent: int | None = None
    _pairings: WeakKeyDictionary[Orbits, Pairing] = field(default_factory=WeakKeyDictionary, repr=False, init=False)

    def __reduce__(self) -> tuple[type[Orbits], tuple[IntArray | int | None, ...]]:
        """Pickled without the pairings, which are found again."""
        return type(self), (self.symmetry, self.kinds, self.copies, self.order, self.extent)

    @classmethod
    def of(
        cls,
        symmetry: Sequence[int] | IntArray,
        kinds: Sequence[int] | IntArray,
        copies: Sequence[int] | IntArray | None = None,
        order: IntArray | None = None,
        extent: int | None = None,
    ) -> Orbits:
        """Orbits of the given kinds, with one index an element unless ``copies`` says more."""
        numbers = np.ones(len(kinds), dtype=np.int64) if copies is None else np.asarray(copies, dtype=np.int64)
        return cls(np.asarray(symmetry, dtype=np.int64), np.asarray(kinds, dtype=np.int64), numbers, order, extent)

    @classmethod
    def single(cls, size: int, order: IntArray | None = None, extent: int | None = None) -> Orbits:
        """Single orbits: no symmetry. Kinds of one element are never matched, so one kind serves all of them."""
        if order is None and extent is None and size <= _FEW:
            return _few(size)
        return cls.of([1], np.zeros(size, dtype=np.int64), order=order, extent=extent)

    @property
    def size(self) -> int:
        """R."""
        return int(self.kinds.size)

    @cached_property
    def places(self) -> IntArray:
        """Elements of each orbit, K of its kind, (R,)."""
        return self.symmetry[self.kinds]

    @cached_property
    def numbers(self) -> FloatArray:
        """Indices of each orbit, places times copies, (R,)."""
        return (self.places * self.copies).astype(np.float64)

    @cached_property
    def total(self) -> int:
        """n: V, m or d."""
        return int((self.places * self.copies).sum())

    @property
    def length(self) -> int:
        """Length of full arrays."""
        return self.total if self.extent is None else self.extent

    @cached_property
    def plain(self) -> bool:
        """True for single orbits: every block is the matrix itself."""
        return bool((self.numbers == 1.0).all())

    @cached_property
    def as_is(self) -> bool:
        """True for single orbits whose indices are the places of full arrays."""
        return self.plain and self.order is None and self.length == self.total

    @cached_property
    def repeated(self) -> bool:
        """True where some element has two copies or more."""
        return bool((self.copies > 1).any())

    @cached_property
    def large(self) -> IntArray:
        """Kinds of two elements or more, (Q,): those with a standard representation."""
        return np.flatnonzero(self.symmetry > 1)

    @cached_property
    def slots(self) -> IntArray:
        """Orbits of each large kind, (Q, r); −1 where there are fewer than r."""
        row = np.full(self.symmetry.size, -1)
        row[self.large] = np.arange(self.large.size)
        rows = row[self.kinds]
        members = np.flatnonzero(rows >= 0)
        members = members[np.argsort(rows[members], kind="stable")]
        counts = np.bincount(rows[members], minlength=self.large.size)
        within = np.arange(members.size) - np.repeat(np.cumsum(counts) - counts, counts)
        table = np.full((self.large.size, int(counts.max(initial=0))), -1)
        table[rows[members], within] = members
        return table

    @cached_property
    def members(self) -> IntArray:
        """Orbit of each place of full arrays, (length,); −1 for what is no index."""
        found = np.full(self.length, -1)
        found[self.positions] = np.repeat(np.arange(self.size), self.places * self.copies)
        return found

    @cached_property
    def positions(self) -> IntArray:
        """Place in full arrays of each index, (n,)."""
        return np.arange(self.total) if self.order is None else self.order

    @cached_property
    def first(self) -> IntArray:
        """Place in full arrays of the first index of each orbit, (R,)."""
        counts = self.places * self.copies
        return self.positions[np.cumsum(counts) - counts]

    @cached_property
    def index(self) -> tuple[IntArray, IntArray, IntArray]:
        """Orbit, element and copy of each index, (n,) each: only full matrices need them."""
        counts = self.places * self.copies
        orbit = np.repeat(np.arange(self.size), counts)
        within = np.arange(orbit.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return orbit, within // self.copies[orbit], within % self.copies[orbit]

    def kept(self, orbits: IntArray) -> Orbits:
        """Some of the orbits, in rising order, at the same places of full arrays."""
        there = self.positions[np.isin(self.index[0], orbits)]
        return Orbits(self.symmetry, self.kinds[orbits], self.copies[orbits], there, self.length)

    def spread_out(self, numbers: FloatArray) -> FloatArray:
        """One number an orbit, (R,), at every place of full arrays, (length,); 0 at what is no index."""
        full = np.zeros(self.length)
        full[self.positions] = np.repeat(numbers, self.places * self.copies)
        return full

    def mean(self, full: FloatArray) -> FloatArray:
        """Means of one number a place, (length,), over each orbit, (R,); of equal numbers that number exactly."""
        first = full[self.first]
        orbit = self.index[0]
        with np.errstate(invalid="ignore"):  # what is not finite comes out as NaN
            rest = full[self.positions] - first[orbit]
        return first + np.bincount(orbit, rest, minlength=self.size) / self.numbers

    def at_slots(self, numbers: FloatArray) -> FloatArray:
        """Numbers of orbits, (R,), in the order of ``slots``, (Q, r); 0 where there is none."""
        return np.where(self.slots >= 0, numbers[np.maximum(self.slots, 0)], 0.0)

    def paired(self, other: Orbits) -> Pairing:
        """How the orbits of this sort, as rows, are matched with those of the other, as columns."""
        found = self._pairings.get(other)
        if found is None:
            found = self._pairings[other] = Pairing.of(self, other)
        return found


@lru_cache(maxsize=_FEW + 1)
def _few(size: int) -> Orbits:
    """Single orbits of 0 … size − 1, made once: what is known of them takes longer to find than a small matrix."""
    return Orbits.of([1], np.zeros(size, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Pairing:
    """The matched pairs of orbits of two sorts, M of them.

    Attributes:
        kind: Large kind of each pair, (M,), as a row of ``slots``.
        row_slot: Slot of its row orbit.
        column_slot: Slot of its column orbit.
        row: Its row orbit.
        column: Its column orbit.
        copies: √(copies of rows × copies of columns) by slots, (Q, r, c); 1 where there is no pair.
        roots: √(numbers of rows × numbers of columns), (R, C).
    """

    kind: IntArray
    row_slot: IntArray
    column_slot: IntArray
    row: IntArray
    column: IntArray
    copies: FloatArray
    roots: FloatArray

    @classmethod
    def of(cls, rows: Orbits, columns: Orbits) -> Pairing:
        """The pairs, by kind, then slots."""
        there = (rows.slots >= 0)[:, :, None] & (columns.slots >= 0)[:, None, :]
        g, a, b = np.nonzero(there)
        r, c = rows.at_slots(np.sqrt(rows.copies)), columns.at_slots(np.sqrt(columns.copies))
        copies = np.where(there, r[:, :, None] * c[:, None, :], 1.0)
        roots = np.sqrt(np.outer(rows.numbers, columns.numbers))
        return cls(g, a, b, rows.slots[g, a], columns.slots[g, b], copies, roots)

    @property
    def slots(self) -> tuple[IntArray, IntArray, IntArray]:
        """Index of each pair in an array by slots, (Q, r, c)."""
        return self.kind, self.row_slot, self.column_slot

    @property
    def orbits(self) -> tuple[IntArray, IntArray]:
        """Index of each pair in an array by orbits, (R, C)."""
        return self.row, self.column

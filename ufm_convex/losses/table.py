"""A table of targets: m columns of the problem as rows, V outputs, stored sparsely and exactly as given.

A table is given dense or as a ``scipy.sparse`` array or matrix: explicit zeros are dropped, duplicates added, and the
same numbers are the same table whichever way they came. What the numbers may be, a loss says.

Rows of shares sum to 1 without rounding: the *own* entry is 1 minus the others, that of class k in row k of a square
table, else the largest, the first of several. The own entry in binary64 is the nearest number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, IntArray, frozen, real, whole
from ufm_convex._bits import fraction
from ufm_convex.errors import ProblemError, ShapeError, shown
from ufm_convex.losses.layout import ExactColumn

_ROUNDING = 1e-9
"""How far the sum of a row may be from 1; the own entry is then taken as 1 minus the others."""
_KEYS = ("num_outputs", "starts", "outputs", "entries")
_DIVIDE = "divide each row by its sum, in float64: convert what is float32 first, as by targets.astype(float)."
_OWN = "own"
"""Written, too, where reading the other keys would choose other own outputs, and so other numbers."""
_SPARSE = 4
"""A table that is not square is written entry by entry where one of so many, or fewer, is not 0."""
_SHOWN = 64
"""Entries of a table that are shown in full."""


@dataclass(frozen=True)
class Kind:
    """What the numbers of a table may be.

    Attributes:
        lowest: The least entry.
        highest: The largest.
        shares: Whether each row sums to 1.
        expected: What errors say of it.
    """

    lowest: float
    highest: float
    shares: bool
    expected: str


SHARES = Kind(0.0, 1.0, True, "a table of numbers >= 0, a row a column of the problem, whose rows sum to 1")
PROBABILITIES = Kind(0.0, 1.0, False, "a table of numbers from 0 to 1, a row a column of the problem")
NUMBERS = Kind(-math.inf, math.inf, False, "a table of finite numbers, a row a column of the problem")


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Targets, (m, V), compressed by rows; as a sequence, its rows as tuples of V numbers.

    Attributes:
        num_outputs: V.
        starts: Where the entries of each row start, and the end, (m + 1,).
        outputs: Output of each entry, rising in each row.
        entries: The entries, none of them 0.
        own: The own output of each row, (m,).
        shares: Whether rows sum to 1 without rounding.
    """

    num_outputs: int
    starts: IntArray
    outputs: IntArray
    entries: FloatArray
    own: IntArray
    shares: bool

    @classmethod
    def of(cls, given: Any, kind: Kind) -> Table:
        """The table that was given.

        Args:
            given: Rows of numbers, an array, a tensor, a ``scipy.sparse`` array or matrix, another ``Table``, or the
                mapping that ``content`` writes.
            kind: What its numbers may be.

        Raises:
            ProblemError: an entry is no number in the range, a row does not sum to 1, or it is no table at all.
        """
        if isinstance(given, Table) and given.shares == kind.shares:
            return given
        own: IntArray | None = None
        if hasattr(given, "tocoo") and hasattr(given, "toarray"):  # first: one of them is a mapping as well
            m, V, rows, outputs, entries = _sparse(given, kind)
        elif isinstance(given, Mapping):
            m, V, rows, outputs, entries = _written(given, kind)
            own = _written_own(given, m, V, kind)
        else:
            m, V, rows, outputs, entries = _dense(given, kind)
        if own is None and m == V:
            own = np.arange(m)
        _check(m, V, rows, outputs, entries, own, kind)
        starts = np.searchsorted(rows, np.arange(m + 1))
        own = _largest(m, starts, outputs, entries) if own is None else own
        if kind.shares:
            rows, outputs, entries = _closed(own, starts, outputs, entries)
        return cls._made(V, m, rows, outputs, entries, own, kind.shares)

    @classmethod
    def _made(
        cls, V: int, m: int, rows: IntArray, outputs: IntArray, entries: FloatArray, own: IntArray, shares: bool
    ) -> Table:
        kept = entries != 0.0
        starts = np.searchsorted(rows[kept], np.arange(m + 1))
        found = frozen(outputs[kept], dtype=np.int64), frozen(entries[kept]), frozen(own, dtype=np.int64)
        return cls(V, frozen(starts, dtype=np.int64), *found, shares)

    # -- a sequence of rows -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self.starts.size) - 1

    def __getitem__(self, row: int) -> tuple[float, ...]:
        return tuple(self.rows(np.array([range(len(self))[row]]))[0].tolist())

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return (self[k] for k in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Table) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        if len(self) * self.num_outputs <= _SHOWN:
            return repr(tuple(self))
        return f"<{len(self)} x {self.num_outputs} table, {self.entries.size} entries>"

    @cached_property
    def _key(self) -> tuple[int, bytes, bytes, bytes, bytes]:
        own = self.own.tobytes() if self._says_own else b""
        return self.num_outputs, self.starts.tobytes(), self.outputs.tobytes(), self.entries.tobytes(), own

    @cached_property
    def _says_own(self) -> bool:
        """Whether the rounded numbers alone would be closed at other outputs, and be other numbers without rounding."""
        if not self.shares:
            return False
        m = len(self)
        chosen = np.arange(m) if self.square else _largest(m, self.starts, self.outputs, self.entries)
        return any(self._closed_at(k) >= 0 for k in np.flatnonzero(chosen != self.own).tolist())

    def _exact_own(self, row: int) -> Fraction:
        """1 minus the others."""
        own = int(self.own[row])
        return 1 - sum((fraction(y) for v, y in zip(*self._span(row), strict=True) if v != own), Fraction(0))

    # -- rows and columns ---------------------------------------------------------------------------------------------

    @property
    def square(self) -> bool:
        """Whether row k is the target of class k."""
        return len(self) == self.num_outputs

    def rows(self, chosen: IntArray) -> FloatArray:
        """Some of the rows as an array, (len(chosen), V)."""
        found = np.zeros((chosen.size, self.num_outputs))
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        at = np.repeat(np.arange(chosen.size), lengths)
        within = np.arange(at.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = self.starts[chosen][at] + within
        found[at, self.outputs[places]] = self.entries[places]
        return found

    def masses(self, chosen: IntArray) -> tuple[FloatArray, IntArray]:
        """Sum of |entry|, and number of entries that are 1, over some of the rows, for each output, (V,) each."""
        kept = np.isin(self._row, chosen)
        outputs, entries = self.outputs[kept], self.entries[kept]
        sums = np.zeros(self.num_outputs)
        np.add.at(sums, outputs, np.abs(entries))
        ones: IntArray = np.bincount(outputs[entries == 1.0], minlength=self.num_outputs)
        return sums, ones

    def summed(self, function: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """The sum of a function of the entries that are not 0, row by row, (m,)."""
        sums = np.zeros(len(self))
        np.add.at(sums, self._row, function(self.entries))
        return sums

    def exact_row(self, row: int) -> list[Fraction]:
        """The row without rounding, V numbers.

        Of shares the own entry is 1 minus the others, and may be below 0 by a rounding.
        """
        found = [Fraction(0)] * self.num_outputs
        for output, entry in zip(*self._span(row), strict=True):
            found[output] = fraction(entry)
        if self.shares:
            found[int(self.own[row])] = self._exact_own(row)
        return found

    def exact_entries(self) -> Iterator[list[tuple[int, Fraction]]]:
        """The entries of each row that are not 0, without rounding: output, rising, and number."""
        for row, own in enumerate(self.own.tolist()):
            found = {output: fraction(entry) for output, entry in zip(*self._span(row), strict=True)}
            if self.shares:
                found[own] = self._exact_own(row)
            yield sorted(pair for pair in found.items() if pair[1])

    def exact_column(self, row: int) -> ExactColumn:
        """The row as a column of single outputs, without rounding."""
        from flint import fmpq

        target = [fmpq(y.numerator, y.denominator) for y in self.exact_row(row)]
        return ExactColumn([1] * self.num_outputs, target, row, int(self.own[row]))

    def equal_rows(self, weights: FloatArray) -> IntArray:
        """The first row that is equal to each row and has its weight, (m,)."""
        first: dict[tuple[float, bytes, bytes], int] = {}
        closed: dict[tuple[int, int], int] = {}
        found = np.empty(len(self), dtype=np.int64)
        for k, weight in enumerate(weights.tolist()):
            span = slice(self.starts[k], self.starts[k + 1])
            alike = first.setdefault((weight, self.outputs[span].tobytes(), self.entries[span].tobytes()), k)
            # summing a row without rounding takes long, and says nothing new of rows that differ anyway
            if self.own[k] != self.own[alike] and (place := self._closed_at(k)) >= 0:
                alike = closed.setdefault((alike, place), k)
            found[k] = alike
        return found

    def _closed_at(self, row: int) -> int:
        """The own output where its number is another without rounding than what is stored, else −1."""
        if not self.shares or math.fsum([1.0, *(-entry for entry in self._span(row)[1])]) == 0.0:  # no rounding in a 0
            return -1
        return int(self.own[row])

    def kept(self, chosen: IntArray) -> Table:
        """The table of some of its rows, as they are."""
        there = [np.arange(self.starts[k], self.starts[k + 1]) for k in chosen.tolist()]
        rows, places = np.repeat(np.arange(chosen.size), [one.size for one in there]), np.concatenate(there)
        own, m = self.own[chosen], int(chosen.size)
        return self._made(self.num_outputs, m, rows, self.outputs[places], self.entries[places], own, self.shares)

    def content(self) -> Any:
        """The table in plain values: its rows, or only its entries where those are few and it is not square."""
        many = _SPARSE * self.entries.size > len(self) * self.num_outputs
        if (self.square or many) and not self._says_own:
            return [list(row) for row in self]
        return self._sparse_content()

    def _sparse_content(self) -> dict[str, Any]:
        arrays = zip(_KEYS[1:], (self.starts, self.outputs, self.entries), strict=True)
        found = {"num_outputs": self.num_outputs, **{name: array.tolist() for name, array in arrays}}
        return {**found, _OWN: self.own.tolist()} if self._says_own else found

    def _span(self, row: int) -> tuple[list[int], list[float]]:
        span = slice(self.starts[row], self.starts[row + 1])
        return self.outputs[span].tolist(), self.entries[span].tolist()

    @cached_property
    def _row(self) -> IntArray:
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


# -- what people give -------------------------------------------------------------------------------------------------

_Entries = tuple[int, int, IntArray, IntArray, FloatArray]
"""m, V, and row, output and number of each entry, by rows, then outputs."""


def _dense(given: Any, kind: Kind) -> _Entries:
    """Of rows of numbers."""
    if hasattr(given, "__array__") and not isinstance(given, np.generic):
        array = _given.array("targets", given, ProblemError, expected=kind.expected)
        if array.ndim == 2 and array.size and array.dtype.kind in "iuf":
            return _nonzero(array.astype(np.float64))
    rows = _given.entries("targets", given, ProblemError, expected=kind.expected)
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in rows):
        _refuse(f"targets is {shown(given)}.", "give a list of rows, one a column of the problem.", kind)
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or lengths == {0}:
        said = shown([len(row) for row in rows])
        _refuse(f"targets has {len(rows)} rows of lengths {said}.", "give rows of one length.", kind)
    numbers = np.array([[real(entry) for entry in row] for row in rows])
    strange = np.argwhere(np.isnan(numbers))
    if strange.size:
        k, j = strange[0].tolist()
        _refuse(f"targets has the entry {shown(rows[k][j])} in row {k}.", "give numbers.", kind)
    return _nonzero(numbers)


def _nonzero(numbers: FloatArray) -> _Entries:
    m, V = numbers.shape
    rows, outputs = np.nonzero(numbers)  # NaN is not 0
    return m, V, rows, outputs, numbers[rows, outputs]


def _sparse(given: Any, kind: Kind) -> _Entries:
    """Of an array or matrix of ``scipy.sparse``: duplicates are added, zeros dropped."""
    if len(given.shape) != 2 or 0 in given.shape:
        _refuse(f"targets has shape {given.shape}.", "give one row a column of the problem.", kind)
    if given.dtype.kind not in "iuf":
        _refuse(f"targets has dtype {given.dtype}.", "convert it: targets.astype(float).", kind)
    found = given.astype(np.float64).tocoo().tocsr()  # a copy, which adds duplicates
    found.sum_duplicates()
    found.sort_indices()
    rows = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    kept = found.data != 0.0
    m, V = map(int, found.shape)
    return m, V, rows[kept], found.indices[kept].astype(np.int64), found.data[kept]


def _written(given: Mapping[str, Any], kind: Kind) -> _Entries:
    """Of the mapping that ``content`` writes."""
    _given.require_known(given, (*_KEYS, _OWN), "targets key", ProblemError)
    lists = [_given.entries(f"targets.{name}", given.get(name), ProblemError, expected=kind.expected) for name in _KEYS]
    V, starts, outputs, entries = lists
    V, wrong = whole(V), "targets does not describe a table by num_outputs, starts, outputs and entries."
    fix = "write rows of numbers, or what Problem.save writes of a sparse table."
    if V is None or V < 1 or not all(isinstance(one, list) for one in (starts, outputs, entries)):
        _refuse(wrong, fix, kind)
    integers, numbers = [whole(one) for one in (*starts, *outputs)], np.array([real(one) for one in entries])
    if None in integers or len(starts) < 2 or len(outputs) != len(entries):
        _refuse(wrong, fix, kind)
    ends, places = np.array(integers[: len(starts)]), np.array(integers[len(starts) :], dtype=np.int64)
    rows = np.repeat(np.arange(len(starts) - 1), np.maximum(np.diff(ends), 0))
    rising = np.diff(rows * V + places) > 0 if rows.size == places.size else np.zeros(1, dtype=bool)
    inside = places.size == 0 or (places.min() >= 0 and places.max() < V)
    if ends[0] != 0 or ends[-1] != places.size or (np.diff(ends) < 0).any() or not (inside and rising.all()):
        _refuse(wrong, fix, kind)
    kept = numbers != 0.0
    return len(starts) - 1, V, rows[kept], places[kept], numbers[kept]


def _written_own(given: Mapping[str, Any], m: int, V: int, kind: Kind) -> IntArray | None:
    """The own outputs, where that mapping says them."""
    if _OWN not in given:
        return None
    listed = _given.entries(f"targets.{_OWN}", given[_OWN], ProblemError, expected=kind.expected)
    own = [whole(one) for one in listed] if isinstance(listed, list) else []
    if not kind.shares or len(own) != m or any(one is None or not 0 <= one < V for one in own):
        _refuse(f"targets.{_OWN} is {shown(given[_OWN])}.", f"give an output of each of {m} rows of shares.", kind)
    return np.array(own, dtype=np.int64)


def _check(
    m: int, V: int, rows: IntArray, outputs: IntArray, entries: FloatArray, own: IntArray | None, kind: Kind
) -> None:
    """Raise ``ProblemError`` for an entry out of range, a row that does not sum to 1, or a softmax of one output."""
    lowest = np.full(entries.size, kind.lowest)
    if kind.shares and own is not None:  # the own entry is not read
        lowest[outputs == own[rows]] = -_ROUNDING
    wrong = ~(np.isfinite(entries) & (lowest <= entries) & (entries <= kind.highest))
    if wrong.any():
        at, fix = int(wrong.argmax()), "give finite numbers."
        if math.isfinite(kind.highest):
            fix = f"give {'shares, ' if kind.shares else ''}numbers from 0 to 1."
        _refuse(f"targets has the entry {float(entries[at])!r} in row {rows[at]}.", fix, kind)
    if not kind.shares:
        return
    sums, across = np.bincount(rows, entries, minlength=m), np.bincount(outputs, entries, minlength=V)
    off = np.abs(sums - 1.0) > _ROUNDING
    turned = m != V and bool(off.any() and (np.abs(across - 1.0) <= _ROUNDING).all())
    if off.any() and (turned or V > 1):
        k = int(off.argmax())
        said = "has no entry" if not (rows == k).any() else f"sums to {float(sums[k])!r}"
        fix = _DIVIDE if (rows == k).any() else "leave the row out, with its count."
        _refuse(f"row {k} of targets {said}.", "your table is (V, m): pass targets.T." if turned else fix, kind)
    if V == 1:
        _refuse(
            "targets has one output, and a softmax gives it the share 1 in each row.",
            "take BinaryCrossEntropy or MeanSquaredError for one output, or give a column to each of two.",
            kind,
        )


def _closed(
    owns: IntArray, starts: IntArray, outputs: IntArray, entries: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows of shares with own entries that are the binary64 numbers nearest to 1 minus the others."""
    rows: list[IntArray] = []
    places: list[IntArray] = []
    numbers: list[FloatArray] = []
    for k, own in enumerate(owns.tolist()):
        span = slice(starts[k], starts[k + 1])
        others = outputs[span] != own
        rest, there = entries[span][others], outputs[span][others]
        mine = max(math.fsum([1.0, *(-rest).tolist()]), 0.0)
        at = int(np.searchsorted(there, own))
        places.append(np.insert(there, at, own))
        numbers.append(np.insert(rest, at, mine))
        rows.append(np.full(there.size + 1, k))
    return np.concatenate(rows), np.concatenate(places), np.concatenate(numbers)


def _largest(m: int, starts: IntArray, outputs: IntArray, entries: FloatArray) -> IntArray:
    """The output of the largest entry of each row, the first of several; output 0 where a row has none above 0."""
    found = np.zeros(m, dtype=np.int64)
    for k in range(m):
        span = entries[starts[k] : starts[k + 1]]
        if span.size and span.max() > 0.0:
            found[k] = outputs[starts[k] + int(span.argmax())]
    return found


def require_rows(table: Table, num_rows: int) -> None:
    """Raise ``ShapeError`` unless there is one row a count."""
    if len(table) == num_rows:
        return
    turned = table.num_outputs == num_rows and not table.shares  # whose rows sum to 1 as they are
    raise ShapeError(
        f"targets has {len(table)} rows of {table.num_outputs} entries, but there are {num_rows} counts.",
        expected="one row a count",
        fix="your table is (V, m): pass targets.T."
        if turned
        else "give one count a row of targets, in the order of class_counts.",
    )


def _refuse(got: str, fix: str, kind: Kind) -> NoReturn:
    raise ProblemError(got, expected=kind.expected, fix=fix)

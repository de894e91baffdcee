"""``Alike`` in integers with one exponent: matrices that are constant on orbits of pairs, exactly.

The entry at (i, j), of orbits o and p, is ``matches`` of the pair if i and j are matched, else ``even[o][p]``. Single
orbits have no pairs, and the matrix itself is ``even``. Shapes as in ``relaxation.alike``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from operator import mul
from typing import TYPE_CHECKING, cast

import numpy as np

from ufm_convex.enclosure.exact import ExactMatrix, ExactVector
from ufm_convex.relaxation import Alike, Orbits

if TYPE_CHECKING:
    from flint import fmpz_mat

_WITNESS_BITS = 52


@dataclass(frozen=True, eq=False)
class ExactAlike:
    """A matrix (n_rows, n_columns), without spread.

    Attributes:
        rows: R orbits.
        cols: C orbits.
        even: Entries of unmatched pairs, R rows of C integers; 0 where there are none.
        matches: Entry of each matched pair of orbits, in the order of the pairing.
        exponent: The exponent.
    """

    rows: Orbits
    cols: Orbits
    even: list[list[int]]
    matches: list[int]
    exponent: int

    @classmethod
    def of(cls, matrix: Alike) -> ExactAlike:
        """The finite binary64 entries, exactly; matched entries that close a row up to rounding close it exactly.

        So a block that vanishes in binary64, which costs no dimension, vanishes.
        """
        rows, cols, pairing = matrix.rows, matrix.cols, matrix.rows.paired(matrix.cols)
        vector = ExactVector.of_floats(np.concatenate([matrix.even.ravel(), matrix.matches]))
        split = rows.size * cols.size
        table = [vector.integers[start : start + cols.size] for start in range(0, split, cols.size)]
        matches = vector.integers[split:]
        trivial = matrix.trivial
        for i, (o, p) in enumerate(zip(pairing.row.tolist(), pairing.column.tolist(), strict=True)):
            if trivial[o, p] == 0.0:
                matches[i] = -(int(cols.places[p]) - 1) * table[o][p]
        return cls(rows, cols, table, matches, vector.exponent)

    @classmethod
    def single(cls, matrix: ExactMatrix, rows: Orbits | None = None) -> ExactAlike:
        """Single orbits; of rows those that are given, where not every class has one."""
        rows = Orbits.single(len(matrix.rows)) if rows is None else rows
        return cls(rows, Orbits.single(len(matrix.rows[0])), matrix.rows, [], matrix.exponent)

    @classmethod
    def witness(cls, matrix: Alike, finite: bool) -> ExactAlike:
        """A factor of a witness: rounded to 52 bits where that may be, which keeps the numbers of matrices short."""
        if matrix.rows.plain and matrix.cols.plain:
            make = partial(ExactMatrix.near, bits=_WITNESS_BITS) if finite else ExactMatrix.of_floats
            exact = make(matrix.even)
            return cls(matrix.rows, matrix.cols, exact.rows, [], exact.exponent)
        return cls.of(matrix)

    @property
    def plain(self) -> bool:
        """True for single orbits."""
        return self.rows.plain and self.cols.plain

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """Row orbit, column orbit and entry of each matched pair."""
        pairing = self.rows.paired(self.cols)
        return zip(pairing.row.tolist(), pairing.column.tolist(), self.matches, strict=True)

    def row_squares(self) -> list[int]:
        """Squared norm of a row of each orbit, over 4^exponent."""
        many = _counts(self.cols)
        if max(many) == 1:
            squares = [sum(map(mul, row, row)) for row in self.even]
        else:
            squares = [sum(n * x * x for n, x in zip(many, row, strict=True)) for row in self.even]
        copies = self.cols.copies.tolist()
        for o, p, entry in self.pairs():
            squares[o] += copies[p] * (entry * entry - self.even[o][p] ** 2)
        return squares

    def square(self) -> Fraction:
        """The squared Frobenius norm."""
        pairs = zip(_counts(self.rows), self.row_squares(), strict=True)
        return sum(n * square for n, square in pairs) * Fraction(4) ** self.exponent

    def used(self) -> list[bool]:
        """For each orbit of columns, whether some entry is not zero."""
        found = [any(column) for column in zip(*self.even, strict=True)]
        for _, p, entry in self.pairs():
            found[p] |= entry != 0
        return found

    def kept(self, cols: list[bool]) -> ExactAlike:
        """The same matrix with zeros in the other columns."""
        even = [[x if keep else 0 for x, keep in zip(row, cols, strict=True)] for row in self.even]
        matches = [entry if cols[p] else 0 for _, p, entry in self.pairs()]
        return ExactAlike(self.rows, self.cols, even, matches, self.exponent)

    def placed(self, cols: Orbits, targets: list[int]) -> ExactAlike:
        """The same columns as orbits ``targets`` of another sort, of the same kinds or of one element; 0 elsewhere."""
        even = [[0] * cols.size for _ in self.even]
        for row, found in zip(self.even, even, strict=True):
            for target, entry in zip(targets, row, strict=True):
                found[target] = entry
        matched = {(o, targets[p]): entry for o, p, entry in self.pairs()}
        pairing = self.rows.paired(cols)
        pairs = zip(pairing.row.tolist(), pairing.column.tolist(), strict=True)
        return ExactAlike(self.rows, cols, even, [matched.get(pair, 0) for pair in pairs], self.exponent)

    def on_rows(self, rows: Orbits, places: list[int]) -> ExactAlike:
        """The same rows as orbits ``places`` of another sort; 0 elsewhere."""
        even = [[0] * self.cols.size for _ in range(rows.size)]
        for place, row in zip(places, self.even, strict=True):
            even[place] = row
        matched = {(places[o], p): entry for o, p, entry in self.pairs()}
        pairing = rows.paired(self.cols)
        pairs = zip(pairing.row.tolist(), pairing.column.tolist(), strict=True)
        return ExactAlike(rows, self.cols, even, [matched.get(pair, 0) for pair in pairs], self.exponent)

    def rank(self) -> int:
        """The rank, from the blocks of the trivial and the standard representations."""
        from flint import fmpz_mat

        trivial = [[n * x for n, x in zip(self.cols.places.tolist(), row, strict=True)] for row in self.even]
        height, width = self.rows.slots.shape[1], self.cols.slots.shape[1]
        standard = [[[0] * width for _ in range(height)] for _ in range(self.rows.large.size)]
        slots = zip(*(part.tolist() for part in self.rows.paired(self.cols).slots), strict=True)
        for (o, p, entry), (g, a, b) in zip(self.pairs(), slots, strict=True):
            trivial[o][p] += entry - self.even[o][p]
            standard[g][a][b] = entry - self.even[o][p]
        found = int(fmpz_mat(trivial).rank())
        if min(height, width) == 0:
            return found
        repeats = (self.rows.symmetry[self.rows.large] - 1).tolist()
        return found + sum(n * int(fmpz_mat(block).rank()) for n, block in zip(repeats, standard, strict=True))

    def full(self) -> list[list[int]]:
        """Every entry, in the places of full arrays; the indices of the columns are all places."""
        (o, i, _), (p, j, _) = self.rows.index, self.cols.index
        matched = {(a, b): entry for a, b, entry in self.pairs()}
        columns = list(zip(p.tolist(), j.tolist(), self.cols.positions.tolist(), strict=True))
        table = [[0] * self.cols.length for _ in range(self.rows.length)]
        for a, k, place in zip(o.tolist(), i.tolist(), self.rows.positions.tolist(), strict=True):
            even, row = self.even[a], table[place]
            for b, m, target in columns:
                row[target] = matched[a, b] if k == m and (a, b) in matched else even[b]
        return table


def logits(W: ExactAlike, H: ExactAlike) -> tuple[list[list[int]], list[int]]:
    """W Hᵀ in integers, column by column: C rows of R even entries, and the entry of each matched pair of orbits."""
    if W.plain and H.plain:
        return _plain_logits(W.even, H.even), []
    from flint import fmpz_mat

    weighted = fmpz_mat([[n * x for n, x in zip(_counts(W.cols), row, strict=True)] for row in H.even])
    product: fmpz_mat = weighted * fmpz_mat(W.even).transpose()
    even = [[int(entry) for entry in row] for row in product.tolist()]
    copies = W.cols.copies.tolist()
    w_extra, h_extra = (_extras(matrix) for matrix in (W, H))
    for (o, c), extra in w_extra.items():
        for row, features in zip(even, H.even, strict=True):
            row[o] += copies[c] * extra * features[c]
    for (p, c), extra in h_extra.items():
        even[p] = [x + copies[c] * extra * weights[c] for x, weights in zip(even[p], W.even, strict=True)]
    pairing, matches = W.rows.paired(H.rows), []
    coordinates = [[c for c in row if c >= 0] for row in W.cols.slots.tolist()]
    for g, o, p in zip(pairing.kind.tolist(), pairing.row.tolist(), pairing.column.tolist(), strict=True):
        beyond = sum(copies[c] * w_extra[o, c] * h_extra[p, c] for c in coordinates[g])
        matches.append(even[p][o] + beyond)
    return even, matches


def _extras(matrix: ExactAlike) -> dict[tuple[int, int], int]:
    """What the entry of each matched pair of orbits has beyond the others."""
    return {(o, p): entry - matrix.even[o][p] for o, p, entry in matrix.pairs()}


def _plain_logits(W: list[list[int]], H: list[list[int]]) -> list[list[int]]:
    """Features with one coordinate each, as on a frame, need no product."""
    from flint import fmpz_mat

    slots = [[c for c, h in enumerate(row) if h] for row in H]
    if max(map(len, slots)) > 1:
        product: fmpz_mat = fmpz_mat(H) * fmpz_mat(W).transpose()
        return cast("list[list[int]]", product.tolist())  # as they are: they only become balls
    coordinates = list(zip(*W, strict=True))
    return [
        [row[slot[0]] * w for w in coordinates[slot[0]]] if slot else [0] * len(W)
        for row, slot in zip(H, slots, strict=True)
    ]


def _counts(sort: Orbits) -> list[int]:
    """Indices of each orbit."""
    found: list[int] = (sort.places * sort.copies).tolist()
    return found

"""Matrices that are alike on alike indices: closed under + − @ .T, products and eigenvalues by blocks.

The entry at (i, j), of orbits o and p, is

    even[o, p]  +  extra[o, p] if i and j are matched  +  spread[o] if i and j are the same index.

With single orbits it is ``even``, an ordinary matrix: dense is no case of its own. ℝⁿ splits into vectors that are
constant on orbits, and, for each kind of two elements or more, K_g − 1 copies of the slots of that kind, and, for
elements of two copies or more, what sums to zero on the copies. So the blocks are

    trivial    (R, C)       √(K_o K_p) even, and the matched part
    standard   (Q, r, c)    extra and spread; kind g has its own K_g − 1 times
    spread     (R,)         (copies − 1) times an element

Nothing is n × n but ``full`` (docs/levels.md, section 7). Shapes as in ``orbits``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.relaxation.full import require_dense
from ufm_convex.relaxation.orbits import Orbits, Pairing


@dataclass(frozen=True, eq=False)
class Alike:
    """A matrix (n_rows, n_columns) that is constant on orbits of pairs.

    Attributes:
        rows: R orbits.
        cols: C orbits; ``cols is rows`` for a square matrix of one sort.
        even: Entry of unmatched pairs, (R, C); of all pairs where the kinds differ or have one element.
        extra: What matched pairs have beyond, (Q, r, c), in the order of ``slots``; 0 where there is no pair.
        spread: What an index has beyond the other copies of its element, (R,), for one sort; 0 where there is one copy,
            None where that is everywhere.
    """

    rows: Orbits
    cols: Orbits
    even: FloatArray
    extra: FloatArray
    spread: FloatArray | None = None

    # -- constructors -----------------------------------------------------------------------------------------------

    @classmethod
    def matrix(cls, rows: Orbits, cols: Orbits, even: FloatArray) -> Alike:
        """Entries that depend on the orbits alone; for single orbits the matrix itself."""
        return cls(rows, cols, even, np.zeros((rows.large.size, rows.slots.shape[1], cols.slots.shape[1])))

    @classmethod
    def zeros(cls, rows: Orbits, cols: Orbits) -> Alike:
        """The zero matrix."""
        return cls.matrix(rows, cols, np.zeros((rows.size, cols.size)))

    @classmethod
    def diagonal(cls, sort: Orbits, entries: FloatArray) -> Alike:
        """Diag of one number an orbit, (R,)."""
        made = cls.zeros(sort, sort)
        repeated = sort.copies > 1
        once = np.where(repeated, 0.0, entries)
        made.even[np.diag_indices(sort.size)] = np.where(sort.places == 1, once, 0.0)
        _fill_diagonal(made.extra, sort.at_slots(once))
        return cls(sort, sort, made.even, made.extra, np.where(repeated, entries, 0.0) if sort.repeated else None)

    @classmethod
    def matched(cls, rows: Orbits, cols: Orbits, column: IntArray | None = None) -> Alike:
        """1 at matched pairs, and, where given, at (o, p) with o = ``column[p]`` for columns p of one element."""
        made = cls.zeros(rows, cols)
        pairing = rows.paired(cols)
        made.extra[pairing.slots] = 1.0
        if column is not None:
            ones = np.flatnonzero(cols.places == 1)
            made.even[column[ones], ones] = 1.0
        return made

    @classmethod
    def from_blocks(
        cls, rows: Orbits, cols: Orbits, trivial: FloatArray, standard: FloatArray, spread: FloatArray | None = None
    ) -> Alike:
        """The matrix with the given blocks; what ``standard`` has at slots that are no pair is not read."""
        if rows.plain and cols.plain:
            return cls.matrix(rows, cols, trivial)
        pairing, rest, even = rows.paired(cols), standard, trivial.copy()
        if spread is not None:
            rest = rest - np.eye(rest.shape[1]) * rows.at_slots(spread)[:, :, None]
            even[np.diag_indices_from(even)] -= spread
        even[pairing.orbits] -= rest[pairing.slots]
        even /= pairing.roots
        extra = np.zeros(rest.shape)
        extra[pairing.slots] = rest[pairing.slots] / pairing.copies[pairing.slots]
        return cls(rows, cols, even, extra, spread)

    @classmethod
    def of_entries(cls, rows: Orbits, cols: Orbits, table: FloatArray) -> Alike:
        """The matrix with these entries of its columns, (E, C); the inverse of ``entries``."""
        if rows.plain and cols.plain:
            return cls.matrix(rows, cols, table)
        pairing = rows.paired(cols)
        made = cls.matrix(rows, cols, table[: rows.size])
        made.extra[pairing.slots] = table[rows.size + pairing.row_slot, pairing.column] - table[pairing.orbits]
        return made

    @classmethod
    def mean(cls, rows: Orbits, cols: Orbits, full: FloatArray) -> Alike:
        """The mean of a full matrix over the symmetry: its orthogonal projection.

        For ``rows is cols`` the copies of an element are told from one another, else not.
        """
        if rows.as_is and cols.as_is:
            return cls.matrix(rows, cols, full.copy())
        matrix = full[np.ix_(rows.positions, cols.positions)]
        if rows.plain and cols.plain:
            return cls.matrix(rows, cols, matrix)
        pairing, square = rows.paired(cols), rows is cols
        (o, i, _), (p, j, _) = rows.index, cols.index
        same = (rows.symmetry[rows.kinds][o] > 1)[:, None] & (rows.kinds[o][:, None] == cols.kinds[p])
        same &= i[:, None] == j
        spread, spread_part = None, np.zeros(rows.size)
        if square and rows.repeated:
            own = rows.mean(_on_full(rows, np.diag(matrix)))
            both = (o[:, None] == p) & (i[:, None] == j)
            sums = np.bincount(o, (matrix * both).sum(axis=1), minlength=rows.size)
            pairs = rows.numbers * (rows.copies - 1)
            within = np.where(pairs > 0.0, (sums - rows.numbers * own) / np.where(pairs > 0.0, pairs, 1.0), own)
            spread = spread_part = np.where(rows.copies > 1, own - within, 0.0)
            matrix = matrix - np.diag(np.repeat(spread_part, rows.places * rows.copies))
        many = np.outer(rows.numbers, cols.numbers)
        beyond = np.zeros(many.shape)
        beyond[pairing.orbits] = rows.numbers[pairing.row] * cols.copies[pairing.column]
        matched = _sums(o, p, np.where(same, matrix, 0.0), many.shape)
        unmatched = _sums(o, p, np.where(same, 0.0, matrix), many.shape)
        even = unmatched / (many - beyond)
        extra = np.zeros((rows.large.size, rows.slots.shape[1], cols.slots.shape[1]))
        extra[pairing.slots] = matched[pairing.orbits] / beyond[pairing.orbits] - even[pairing.orbits]
        return cls(rows, cols, even, extra, spread)

    # -- blocks -----------------------------------------------------------------------------------------------------

    @property
    def _plain(self) -> bool:
        """True for single orbits: ``even`` is the matrix, and ``extra`` is empty and of one shape for all of them."""
        return self.rows.plain and self.cols.plain

    @property
    def _pairing(self) -> Pairing:
        return self.rows.paired(self.cols)

    @cached_property
    def trivial(self) -> FloatArray:
        """The block on vectors that are constant on orbits, (R, C), in an orthonormal basis."""
        if self.rows.plain and self.cols.plain:
            return self.even
        pairing = self._pairing
        block = self.even * pairing.roots
        block[pairing.orbits] += (self.extra * pairing.copies)[pairing.slots]
        if self.spread is not None:
            block[np.diag_indices_from(block)] += self.spread
        return block

    @cached_property
    def standard(self) -> FloatArray:
        """The blocks on vectors that sum to zero on orbits, (Q, r, c); kind g has them K_g − 1 times."""
        blocks = self.extra * self._pairing.copies
        if self.spread is None:
            return blocks
        return blocks + np.eye(blocks.shape[1]) * self.rows.at_slots(self.spread)[:, :, None]

    # -- algebra ----------------------------------------------------------------------------------------------------

    @property
    def T(self) -> Alike:
        """The transpose."""
        if self._plain:
            return Alike(self.cols, self.rows, self.even.T, self.extra)
        return Alike(self.cols, self.rows, self.even.T, self.extra.transpose(0, 2, 1), self.spread)

    def __add__(self, other: Alike) -> Alike:
        if self._plain:
            return Alike(self.rows, self.cols, self.even + other.even, self.extra)
        spread = other.spread if self.spread is None else self.spread
        if self.spread is not None and other.spread is not None:
            spread = self.spread + other.spread
        return Alike(self.rows, self.cols, self.even + other.even, self.extra + other.extra, spread)

    def __sub__(self, other: Alike) -> Alike:
        return self + -1.0 * other

    def __mul__(self, factor: float) -> Alike:
        if self._plain:
            return Alike(self.rows, self.cols, factor * self.even, self.extra)
        spread = None if self.spread is None else factor * self.spread
        return Alike(self.rows, self.cols, factor * self.even, factor * self.extra, spread)

    __rmul__ = __mul__

    def __matmul__(self, other: Alike) -> Alike:
        if self._plain and other._plain:
            return Alike(self.rows, other.cols, self.even @ other.even, self.extra)
        spread = None if self.spread is None or other.spread is None else self.spread * other.spread
        return Alike.from_blocks(
            self.rows, other.cols, self.trivial @ other.trivial, self.standard @ other.standard, spread
        )

    def scaled(self, rows: FloatArray | None = None, cols: FloatArray | None = None) -> Alike:
        """Diag(rows) self Diag(cols), one number an orbit each; None for ones."""
        even, extra, spread = self.even, self.extra, self.spread
        if self._plain:
            even = even if rows is None else rows[:, None] * even
            return Alike(self.rows, self.cols, even if cols is None else even * cols, extra)
        if rows is not None:
            even = rows[:, None] * even
            extra = extra * self.rows.at_slots(rows)[:, :, None]
            spread = None if spread is None else rows * spread
        if cols is not None:
            even = even * cols
            extra = extra * self.cols.at_slots(cols)[:, None, :]
            spread = None if spread is None else spread * cols
        return Alike(self.rows, self.cols, even, extra, spread)

    def plus_rows(self, numbers: FloatArray) -> Alike:
        """Self + b 1ᵀ, b one number an orbit of rows, (R,)."""
        return Alike(self.rows, self.cols, self.even + numbers[:, None], self.extra, self.spread)

    def map(self, function: Callable[[FloatArray], FloatArray]) -> Alike:
        """A function of each entry."""
        if self._plain:
            return Alike(self.rows, self.cols, function(self.even), self.extra)
        pairing = self._pairing
        even = function(self.even)
        extra = np.zeros(self.extra.shape)
        extra[pairing.slots] = function(self.matches) - even[pairing.orbits]
        mapped = Alike(self.rows, self.cols, even, extra)
        if self.spread is None:
            return mapped
        spread = np.where(self.rows.copies > 1, function(self.own()) - mapped.own(), 0.0)
        return Alike(self.rows, self.cols, even, extra, spread)

    def without_diagonal(self) -> Alike:
        """The same square matrix with zeros on the diagonal."""
        if self._plain:
            even = self.even.copy()
            np.fill_diagonal(even, 0.0)
            return Alike(self.rows, self.cols, even, self.extra)
        return self - Alike.diagonal(self.rows, self.own())

    def equals(self, other: Alike) -> bool:
        """Whether all entries are equal to the bit."""
        return np.array_equal(self.even, other.even) and np.array_equal(self.extra, other.extra)

    # -- numbers ----------------------------------------------------------------------------------------------------

    @property
    def matches(self) -> FloatArray:
        """Entry of each matched pair of orbits, (M,), in the order of the pairing; without ``spread``."""
        pairing = self._pairing
        return np.asarray(self.even[pairing.orbits] + self.extra[pairing.slots])

    def own(self) -> FloatArray:
        """Diagonal entries of a square one, (R,)."""
        diagonal = np.diag(self.even).copy()
        if self._plain:
            return diagonal
        pairing = self._pairing
        square = pairing.row == pairing.column
        diagonal[pairing.row[square]] += self.extra[pairing.slots][square]
        return diagonal if self.spread is None else diagonal + self.spread

    def inner(self, other: Alike) -> float:
        """Sum of products of the entries of the two full matrices."""
        if self._plain:
            return float(np.vdot(self.even, other.even))
        total = float(np.vdot(self.trivial, other.trivial))
        if self.extra.size:
            repeats = self.rows.symmetry[self.rows.large] - 1.0
            total += float(repeats @ np.einsum("grc,grc->g", self.standard, other.standard))
        if self.spread is not None and other.spread is not None:
            total += float((self.rows.places * (self.rows.copies - 1)) @ (self.spread * other.spread))
        return total

    def norm(self) -> float:
        """The Frobenius norm."""
        return float(np.sqrt(self.inner(self)))

    def size(self) -> float:
        """Sum of the absolute values of all entries."""
        absolute = self.map(np.abs)
        return float(absolute.row_sums() @ self.rows.numbers)

    def trace(self, weights: FloatArray | None = None) -> float:
        """Sum of the diagonal entries, times one number an orbit where given."""
        many = self.rows.numbers if weights is None else self.rows.numbers * weights
        return float(many @ self.own())

    def row_sums(self) -> FloatArray:
        """M 1, one entry an orbit of rows, (R,)."""
        sums = self.even @ self.cols.numbers
        if self._plain:
            return sums
        pairing = self._pairing
        np.add.at(sums, pairing.row, self.extra[pairing.slots] * self.cols.copies[pairing.column])
        return sums if self.spread is None else sums + self.spread

    def column_squares(self) -> FloatArray:
        """Sum of squares of a column of each orbit, (C,), for a matrix without ``spread``."""
        squares = self.rows.numbers @ self.even**2
        if self._plain:
            return np.asarray(squares)
        pairing = self._pairing
        beyond = self.matches**2 - self.even[pairing.orbits] ** 2
        np.add.at(squares, pairing.column, self.rows.copies[pairing.row] * beyond)
        return np.asarray(squares)

    def largest(self) -> float:
        """The largest entry of a matrix without ``spread``."""
        return float(max(self.even.max(), self.matches.max(initial=-np.inf)))

    def eigenvalues(self) -> FloatArray:
        """All different eigenvalues of a symmetric one, in no order."""
        if self._plain:
            return np.asarray(np.linalg.eigvalsh(_symmetric(self.even)))
        found = [np.linalg.eigvalsh(_symmetric(self.trivial))]
        slots = self.rows.slots
        for count in np.unique((slots >= 0).sum(axis=1)):
            if count:
                chosen = (slots >= 0).sum(axis=1) == count
                found.append(np.linalg.eigvalsh(_symmetric(self.standard[chosen, :count, :count])).ravel())
        if self.spread is not None:
            found.append(self.spread[self.rows.copies > 1])
        return np.concatenate(found)

    def spectral(self, function: Callable[[FloatArray], FloatArray]) -> Alike:
        """Q f(Σ) Vᵀ, block by block, for a function that keeps 0: of singular values alone."""
        left, values, right = np.linalg.svd(self.trivial, full_matrices=False)
        trivial = (left * function(values)) @ right
        a, s, b = np.linalg.svd(self.standard, full_matrices=False)
        return Alike.from_blocks(self.rows, self.cols, trivial, (a * function(s)[:, None, :]) @ b)

    # -- the layout in which losses see columns ---------------------------------------------------------------------

    def entries(self) -> FloatArray:
        """Even entries, then what matched rows have, (E, C) with E = R + r; E = R for single orbits."""
        width = self.rows.slots.shape[1]
        if width == 0:
            return self.even
        pairing = self._pairing
        table = np.zeros((self.rows.size + width, self.cols.size))
        table[: self.rows.size] = self.even
        table[self.rows.size + pairing.row_slot, pairing.column] = self.matches
        return table

    # -- full matrices ----------------------------------------------------------------------------------------------

    def full(self) -> FloatArray:
        """Every entry, (length of rows, length of columns); 0 at places that are no index.

        Raises:
            SizeError: one of the two exceeds 20,000.
        """
        require_dense(max(self.rows.length, self.cols.length), "the matrix", "its entries even and extra")
        if self.rows.plain and self.cols.plain:
            values = self.even
        else:
            (o, i, k), (p, j, c) = self.rows.index, self.cols.index
            values = self.even[np.ix_(o, p)]
            beyond = np.zeros(self.even.shape)
            beyond[self._pairing.orbits] = self.extra[self._pairing.slots]
            values = values + np.where(i[:, None] == j, beyond[np.ix_(o, p)], 0.0)
            if self.spread is not None:
                same = (o[:, None] == p) & (i[:, None] == j) & (k[:, None] == c)
                values = values + np.where(same, self.spread[o][:, None], 0.0)
        if _as_is(self.rows) and _as_is(self.cols):
            return values.copy()
        placed = np.zeros((self.rows.length, self.cols.length))
        placed[np.ix_(self.rows.positions, self.cols.positions)] = values
        return placed


def entry_numbers(rows: Orbits, cols: Orbits) -> FloatArray:
    """How many rows each entry of a column stands for, (E, C), as in ``Alike.entries``; 0 where there is none."""
    numbers = np.zeros((rows.size + rows.slots.shape[1], cols.size))
    numbers[: rows.size] = rows.numbers[:, None]
    pairing = rows.paired(cols)
    numbers[pairing.orbits] -= rows.copies[pairing.row]
    numbers[rows.size + pairing.row_slot, pairing.column] = rows.copies[pairing.row]
    return numbers


def _as_is(sort: Orbits) -> bool:
    return sort.order is None and sort.length == sort.total


def _on_full(sort: Orbits, values: FloatArray) -> FloatArray:
    full = np.zeros(sort.length)
    full[sort.positions] = values
    return full


def _sums(rows: np.ndarray, cols: np.ndarray, matrix: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Sums of a matrix over pairs of orbits; indices come orbit by orbit."""
    starts = [np.searchsorted(which, np.arange(count)) for which, count in zip((rows, cols), shape, strict=True)]
    return np.asarray(np.add.reduceat(np.add.reduceat(matrix, starts[0], axis=0), starts[1], axis=1))


def _fill_diagonal(blocks: FloatArray, entries: FloatArray) -> None:
    width = np.arange(blocks.shape[1])
    blocks[:, width, width] = entries


def _symmetric(blocks: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (blocks + np.swapaxes(blocks, -1, -2)))

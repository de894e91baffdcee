"""A feasible dual point in integers, alike on alike columns, and what proves its slack; ``slack`` makes and checks it.

Shapes: C orbits of columns, R of outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ufm_convex._bits import fraction
from ufm_convex.enclosure.balance import own_of
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.enclosure.exact import power, rational

if TYPE_CHECKING:
    from flint import fmpq


@dataclass(frozen=True, eq=False)
class BlockDual:
    """A feasible dual point, alike on alike columns, with the proof of its slack; all numbers are integers.

    Attributes:
        kind: "group" for groups of all alike classes, "dense" for one group a class, "copositive" likewise for a slack
            that ``positivity.cubic`` says how to prove.
        exponents: e_g; the entries of column g are integers · 2^{e_g}.
        columns: columns[g][h]: entry of a column of orbit g at an output of orbit h that is not its own; 0 where there
            is none.
        multiplier: Lower triangle of τ in units of 2^shift, or None for none but what the rule above absorbs.
        shift: The power of two.
        factor: Lower triangle of F, or None for F = 0.
        margin: 1 − s², the share of D that was given up.
        own: Own entry of each column where it is not minus the sum of the others; None where it is.
        balanced: Whether the columns are those of N U, which sum to zero exactly, instead of those of V.
    """

    kind: str
    exponents: list[int]
    columns: list[list[int]]
    multiplier: list[list[int]] | None
    shift: int
    factor: list[list[int]] | None
    margin: float
    own: list[int] | None = None
    balanced: bool = False

    @classmethod
    def zero(cls, columns: ExactColumns) -> BlockDual:
        """V = 0, which is feasible without further proof."""
        zeros = [0] * columns.size
        own = zeros if columns.closing_units is None else None
        return cls(columns.kind, zeros, [[0] * columns.outputs.size] * columns.size, None, 0, None, 0.0, own)

    def own_entries(self, columns: ExactColumns) -> list[int]:
        """Own entry of each column, by default minus the sum of its others."""
        return own_of(self.columns, columns.places, columns.output_sizes) if self.own is None else self.own

    def entries(self, columns: ExactColumns) -> Iterator[list[fmpq]]:
        """The entries of V in a column of each orbit, as the loss sees them."""
        own, units = self.own_entries(columns), self.units(columns)
        for j, (integers, unit) in enumerate(zip(self.columns, units, strict=True)):
            yield columns.entries(j, [unit * integer for integer in integers], unit * own[j])

    def sums(self, columns: ExactColumns) -> list[fmpq]:
        """The entry of U1 at an output of each orbit, exactly."""
        shares = [u * share for u, share in zip(self.units(columns), columns.shares(), strict=True)]
        rows = orbit_sums(self, columns, self.own_entries(columns))
        return [
            sum((unit * entry for unit, entry in zip(shares, row, strict=True)), 0 * shares[0])
            for row in zip(*rows, strict=True)
        ]

    def times(self, factor: Fraction) -> BlockDual:
        """The proof of the same slack for columns of ``factor`` U: an odd integer times a power of two."""
        odd, shift = factor.numerator, 1 - factor.denominator.bit_length()
        while odd % 2 == 0:
            odd, shift = odd // 2, shift + 1

        def multiplied(rows: list[list[int]] | None, by: int) -> list[list[int]] | None:
            return None if rows is None else [[by * x for x in row] for row in rows]

        return replace(
            self,
            exponents=[e + shift for e in self.exponents],
            columns=multiplied(self.columns, odd) or [],
            own=None if self.own is None else [odd * x for x in self.own],
            factor=multiplied(self.factor, odd),
            multiplier=multiplied(self.multiplier, odd * odd),
        )

    def units(self, columns: ExactColumns) -> list[fmpq]:
        """What the integers of a column of each orbit are multiples of in V."""
        loads = [rational(load) for load in loads_of(columns)] if self.balanced else [rational(1)] * columns.size
        return [power(exponent) / load for exponent, load in zip(self.exponents, loads, strict=True)]


def loads_of(columns: ExactColumns) -> list[Fraction]:
    """ω ν, exactly: N u = ω ν v."""
    return [fraction(w) * n for w, n in zip(columns.weights.tolist(), columns.counts.tolist(), strict=True)]


def orbit_sums(proof: BlockDual, columns: ExactColumns, own: list[int]) -> list[list[int]]:
    """Rows X E: the sum of the columns of each orbit, one entry an orbit of outputs."""
    rows = []
    for m, column, home, entry in zip(columns.multiplicities.tolist(), proof.columns, columns.places, own, strict=True):
        row = list(column) if m == 1 else [m * x for x in column]
        row[home] = entry + (m - 1) * column[home]
        rows.append(row)
    return rows

"""Dual points, and the exact proof that their slack is positive semidefinite (docs/slack_proofs.md, section 4).

Constructors decode and raise ``MalformedCertificate``; ``check_slack`` raises ``Refuted`` where a condition fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from math import gcd, lcm
from typing import Any

from flint import arb, fmpq

from .losses import Column
from .problem import Group, Problem, check_singles, product
from .reading import (
    MAX_BLOCKS,
    MalformedCertificate,
    Refuted,
    exponent_of,
    fields_of,
    integer,
    integers,
    rows_of,
    scaled,
    vector,
)

MAX_COLUMN_BITS = 1 << 32


class Dual(ABC):
    """What dual points of every kind have: decays, and what their value pays."""

    def __init__(self, problem: Problem, fields: dict[str, Any]) -> None:
        self.problem, self.decays = problem, problem.regulariser.decays(fields)

    groups: list[Group]
    numbers: int

    @abstractmethod
    def pay(self, precision: int) -> None:
        """For the dual value at a precision."""

    @abstractmethod
    def check_slack(self) -> None:
        """Show that the slack is ≥ 0 on the features that are admissible, exactly."""

    def columns(self) -> Iterator[Column[fmpq]]:
        """The columns of V, one a group, where they are rational."""
        raise NotImplementedError

    def sums(self) -> Iterator[tuple[fmpq, int]]:
        """The entries of U1, one a group, with how many classes have them, likewise."""
        raise NotImplementedError

    def value(self, precision: int) -> arb:
        """−Σ ω_k n_k/N l_k*(v_k), paid for at a precision, that of the context."""
        self.pay(precision)
        problem, total = self.problem, arb(0)
        for group, column in zip(self.groups, self.columns(), strict=True):
            total -= arb(problem.share(group) * group.multiplicity) * problem.loss.conjugate(column)
        return total

    def price(self) -> fmpq:
        """What the dual value pays for a budget, and for a bias; ``Refuted`` where that is infinite."""
        bias = self.problem.bias
        return self.decays.price + (bias.support(self.sums()) if bias.present else 0)


class Diagonal(Dual):
    """v_k = −q_k (e_k − 1/K): all off-diagonals of G are ≤ 0, so the slack is diagonal."""

    def __init__(self, problem: Problem, value: Any) -> None:
        fields = fields_of(value, f"kind strengths{problem.regulariser.proof}")
        super().__init__(problem, fields)
        self.groups = problem.groups()
        self.numbers = len(self.groups)
        self.strengths = vector(fields["strengths"], self.numbers)
        self.bits = self.strengths.bits + problem.bits

    def pay(self, precision: int) -> None:
        """For the dual value at a precision."""
        self.problem.costs.spend(self.numbers, 12, self.bits, balls=3, precision=precision)

    def check_slack(self) -> None:
        """Show that D − G − T is positive semidefinite, exactly."""
        problem, K = self.problem, self.problem.K
        problem.costs.spend(self.numbers, 8, 2 * self.bits)
        radius = problem.N**2 * self.decays.product * K
        for group, q in zip(self.groups, self.strengths, strict=True):
            if q < 0 or (q > 0 and not problem.nonnegative):
                raise Refuted("a strength is negative, or positive for free features")
            if (group.weight * q) ** 2 * group.samples * (K - 1) > radius:
                raise Refuted(f"the slack of the classes with {group.samples} samples is negative")

    def columns(self) -> Iterator[Column[fmpq]]:
        """The columns of V, one a group."""
        K = self.problem.K
        for g, q in enumerate(self.strengths):
            yield Column(g, -q * (K - 1) / K, [(q / K, K - 1)])

    def sums(self) -> Iterator[tuple[fmpq, int]]:
        """See ``Dual``: the mean of all pt_l q_l, less the class's own."""
        if self.problem.bias.present:
            self.problem.costs.spend(self.numbers, 8, self.bits)
        pulls = [self.problem.share(group) * q for group, q in zip(self.groups, self.strengths, strict=True)]
        sizes = [group.multiplicity for group in self.groups]
        mean = sum((m * pull for m, pull in zip(sizes, pulls, strict=True)), fmpq(0)) / self.problem.K
        yield from ((mean - pull, m) for m, pull in zip(sizes, pulls, strict=True))
        yield mean, self.problem.empty


class Blocks(Dual):
    """A dual point that is alike on alike classes; with groups of one class it is any dual point.

    ``groups`` have a column each, ``outputs``, with classes without samples among them, an entry in each column; the
    output of column g is ``places[g]``.

    For a free bias the integers are those of N u_k = ω_k n_k v_k, ``loads`` times as large, so that U1 can vanish.
    """

    slack = "multiplier factor"
    """Fields of the proof that the slack is ≥ 0."""

    def __init__(self, problem: Problem, value: Any) -> None:
        names, whole = f"kind exponents columns {self.slack}{problem.regulariser.proof}", problem.loss.tabled
        fields = fields_of(value, names if problem.loss.closed or whole else f"{names} own")
        super().__init__(problem, fields)
        alike = fields["kind"] == "group"
        self.outputs: list[Group] = problem.outputs(MAX_BLOCKS) if alike else problem.single_outputs(MAX_BLOCKS)
        if whole:
            self.groups = problem.classes(MAX_BLOCKS)
            self.places = [problem.home(j) for j in range(len(self.groups))]
        else:
            self.places = [h for h, group in enumerate(self.outputs) if group.samples]
            self.groups = [self.outputs[h] for h in self.places]
        size, width = len(self.groups), len(self.outputs)
        self.numbers = size * width
        self.loads = [group.weight * group.samples if problem.bias.free else fmpq(1) for group in self.groups]
        self.exponents = [exponent_of(number) for number in integers(fields["exponents"], size)]
        columns = rows_of(fields["columns"], [width] * size)
        if not whole:
            check_singles(self.groups, columns, self.places)
        units = None if problem.loss.scale is None else _coprime(problem.loss.scale)
        longest = 0 if units is None else max(units).bit_length()
        bits = sum(
            max(max(x), -min(x)).bit_length() + longest + abs(e) for x, e in zip(columns, self.exponents, strict=True)
        )
        if size * bits > MAX_COLUMN_BITS:
            raise MalformedCertificate(f"the columns need more than {MAX_COLUMN_BITS} bits")
        self.columns_, self.own = self._integers(columns, units, fields.get("own"))
        self.bits = bits // size + problem.bits
        self._read_slack(fields, list(range(1, size + 1)))

    def _read_slack(self, fields: dict[str, Any], triangle: list[int]) -> None:
        """The fields ``slack``; ``triangle`` has the lengths of the rows of a lower one."""
        problem, size = self.problem, len(self.groups)
        self.factor = None if fields["factor"] is None else rows_of(fields["factor"], triangle)
        self.multiplier, self.shift = None, 0
        if fields["multiplier"] is not None:
            given = fields_of(fields["multiplier"], "exponent rows")
            self.multiplier, self.shift = rows_of(given["rows"], triangle), integer(given["exponent"], 0, 256)
            check_singles(self.groups, self.multiplier, range(size))
            if not problem.nonnegative or any(min(row) < 0 for row in self.multiplier):
                raise MalformedCertificate("a multiplier is non-negative, and none for free features")

    def _integers(
        self, columns: list[Sequence[int]], units: list[int] | None, own: Any
    ) -> tuple[list[Sequence[int]], list[int]]:
        """The integers of V = a∘w: columns, and own entries, which close w where the loss leaves them out.

        Columns of a table are whole: the own entry is one of theirs.
        """
        if self.problem.loss.tabled:
            return columns, [column[place] for place, column in zip(self.places, columns, strict=True)]
        if not self.problem.loss.closed:
            return columns, integers(own, len(self.groups))
        sizes = [group.multiplicity for group in self.outputs]
        pairs = list(zip(self.places, columns, strict=True))
        single = max(sizes) == 1
        closing = [
            row[own] - (sum(row) if single else sum(m * x for m, x in zip(sizes, row, strict=True)))
            for own, row in pairs
        ]
        if units is None:
            return columns, closing
        scaled_columns: list[Sequence[int]] = [
            [unit * x for unit, x in zip(units, row, strict=True)] for row in columns
        ]
        return scaled_columns, [units[own] * x for own, x in zip(self.places, closing, strict=True)]

    def pay(self, precision: int) -> None:
        """For the dual value at a precision."""
        loss = self.problem.loss
        balls = 1 if loss.streamed else 2 if loss.alike else 4
        self.problem.costs.spend(self.numbers, 2, self.bits, balls=balls, precision=precision)

    def radius(self, g: int) -> int:
        """⌊ρ_g⌋ with ρ = 4^{-e} αβ N² / (ω² n), times the square of the load."""
        group, exponent = self.groups[g], self.exponents[g]
        exact = self._scale * (self.loads[g] / group.weight) ** 2 / group.samples
        return int((int(exact.p) << max(-2 * exponent, 0)) // (int(exact.q) << max(2 * exponent, 0)))

    @cached_property
    def _scale(self) -> fmpq:
        """αβ N²."""
        return self.decays.product * self.problem.N**2

    def check_slack(self) -> None:
        """Show that D − G − T is positive semidefinite, exactly."""
        rows = list(self._summed())
        weighted = [[h.multiplicity * z for h, z in zip(self.outputs, row, strict=True)] for row in rows]
        costs = self.problem.costs
        costs.spend(self.numbers, 2, 0)
        gram = product(weighted, rows, costs)
        if self.factor is not None:
            factor = [[*row, *[0] * (len(rows) - len(row))] for row in self.factor]
            gram += product(factor, factor, costs)
        for g, sums in enumerate(gram.tolist()):
            self._check_row(g, sums)

    def _summed(self) -> Iterator[list[int]]:
        """The integers of the sum of the columns of each group: z of (10)."""
        for g, (group, column) in enumerate(zip(self.groups, self.columns_, strict=True)):
            row = [group.multiplicity * x for x in column]
            row[self.places[g]] = self.own[g] + (group.multiplicity - 1) * column[self.places[g]]
            yield row

    def _check_row(self, g: int, gram: list[Any]) -> None:
        """Row g of the remainder is dominated by its diagonal; alike classes differ by a non-negative amount."""
        m, radius = self.groups[g].multiplicity, self.radius(g)
        own_multiplier = self._multiplier(g, g)
        diagonal = m * radius - gram[g] - m * (m - 1) * own_multiplier
        for h, entry in enumerate(gram):
            if h != g:
                deficit = entry + m * self.groups[h].multiplicity * self._multiplier(g, h)
                diagonal -= max(deficit, 0) if self.problem.nonnegative else abs(deficit)
        if diagonal < 0:
            raise Refuted(f"the slack of group {g} is not dominated by its diagonal")
        if m > 1 and not self.alike_differ_little(g, radius):
            raise Refuted(f"the slack between the classes of group {g} is negative")

    def alike_differ_little(self, g: int, radius: int) -> bool:
        """Whether the slack between the classes of a group, of radius ⌊ρ_g⌋, is not negative: (8)."""
        return (self.own[g] - self.columns_[g][self.places[g]]) ** 2 <= radius + self._multiplier(g, g)

    def _multiplier(self, g: int, h: int) -> int:
        return 0 if self.multiplier is None else self.multiplier[max(g, h)][min(g, h)] << self.shift

    def columns(self) -> Iterator[Column[fmpq]]:
        """The columns w of V = a∘w, one a group."""
        inverse = [1 / a for a in self.problem.loss.scale or [fmpq(1)] * len(self.outputs)]
        for g, (column, own) in enumerate(zip(self.columns_, self.own, strict=True)):
            unit, place = scaled(1, self.exponents[g]) / self.loads[g], self.places[g]
            others = [
                (unit * x * inverse[h], other.multiplicity - (h == place))
                for h, (other, x) in enumerate(zip(self.outputs, column, strict=True))
                if other.multiplicity > (h == place)
            ]
            yield Column(g if self.problem.loss.tabled else place, unit * own * inverse[place], others)

    def sums(self) -> Iterator[tuple[fmpq, int]]:
        """See ``Dual``."""
        if self.problem.bias.present:
            spread = max(self.exponents) - min(self.exponents)
            self.problem.costs.spend(self.numbers, 2, self.bits + spread)
        pairs = zip(self.groups, self.loads, self.exponents, strict=True)
        units = [self.problem.share(group) / load * scaled(1, exponent) for group, load, exponent in pairs]
        for group, row in zip(self.outputs, zip(*self._summed(), strict=True), strict=True):
            yield sum((unit * z for unit, z in zip(units, row, strict=True)), fmpq(0)), group.multiplicity


def _coprime(scale: list[fmpq]) -> list[int]:
    """Positive integers without common divisor in the ratios of the numbers."""
    common = lcm(*(int(a.q) for a in scale))
    whole = [int(a * common) for a in scale]
    divisor = gcd(*whole)
    return [number // divisor for number in whole]

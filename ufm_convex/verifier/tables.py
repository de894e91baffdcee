"""Tables of targets: V outputs, m columns, and the losses against them (docs/certificate_tables.md, section 3.7).

A ``Column`` of such a loss has its row for a place; the entry of the first output is its own, the others follow.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import accumulate
from typing import Any

from flint import arb, fmpq

from . import losses
from .losses import Column, Loss, Softmax, p_log_p
from .reading import (
    MAX_LENGTH,
    MalformedCertificate,
    Refuted,
    Vector,
    fields_of,
    integer,
    integers,
    kind_of,
    scaled,
    vector,
)

_FALLING = fmpq(1, 3)
"""Up to here, and to 1/e, x log x falls."""


class Table:
    """m rows of V numbers, of which those that are not 0 are written: row j has those from ``starts[j]`` on."""

    def __init__(self, value: Any, m: int, least: int) -> None:
        fields = fields_of(value, "outputs lengths places entries")
        self.outputs = integer(fields["outputs"], least, MAX_LENGTH)
        lengths = integers(fields["lengths"], m)
        if min(lengths) < 0 or max(lengths) > self.outputs:
            raise MalformedCertificate("a row has more entries than there are outputs, or fewer than none")
        self.starts = [0, *accumulate(lengths)]
        if (fields["places"] is None) != (self.starts[-1] == 0) or (fields["entries"] is None) != (
            self.starts[-1] == 0
        ):
            raise MalformedCertificate("places and entries are null where no entry is written, and nowhere else")
        self.places, self.entries = [], Vector([0], 0)
        if self.starts[-1]:
            self.places = integers(fields["places"], self.starts[-1])
            self.entries = vector(fields["entries"], self.starts[-1])
            if 0 in self.entries.integers:
                raise MalformedCertificate("entries of a table that are 0 are not written")
        self._check_places()

    def _check_places(self) -> None:
        """Outputs rise in each row, from 0 to V − 1."""
        if self.places and (min(self.places) < 0 or max(self.places) >= self.outputs):
            raise MalformedCertificate("an entry of the table belongs to no output")
        firsts, places = set(self.starts), self.places
        if any(places[i - 1] >= places[i] and i not in firsts for i in range(1, len(places))):
            raise MalformedCertificate("the outputs of the entries of a row do not rise")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def span(self, row: int) -> range:
        """Where the entries of a row are."""
        return range(self.starts[row], self.starts[row + 1])

    def number(self, place: int) -> fmpq:
        """An entry."""
        return scaled(self.entries.integers[place], self.entries.exponent)

    def row(self, row: int) -> list[fmpq]:
        """All V entries of a row."""
        found = [fmpq(0)] * self.outputs
        for i in self.span(row):
            found[self.places[i]] = self.number(i)
        return found


class Tabled(Loss):
    """What losses against a table have in common."""

    alike, tabled, least = False, True, 1

    def __init__(self, value: Any, K: int) -> None:
        self.table = Table(fields_of(value, "name targets")["targets"], K, self.least)
        self.outputs, self.bits = self.table.outputs, self.table.entries.bits

    @abstractmethod
    def outcomes(self, z: list[arb]) -> list[arb]:
        """What the logits predict, to be compared with the targets: ∇l_j(z) is the outcomes less row j."""

    @abstractmethod
    def conjugate_at(self, outcomes: list[arb], row: int, scale: fmpq) -> arb:
        """The ball l_j*(s ∇l_j), s from 0 to 1."""

    def residuals(self, outcomes: list[arb], row: int) -> list[arb]:
        """∇l_j."""
        found = list(outcomes)
        for i in self.table.span(row):
            found[self.table.places[i]] -= arb(self.table.number(i))
        return found

    def entropy(self, y: fmpq) -> arb:
        """What an entry y adds to −l*(0), below which the loss is nowhere."""
        return arb(0)

    def floor(self, row: int) -> arb:
        """The ball −l*(0) of a column."""
        return sum((self.entropy(self.table.number(i)) for i in self.table.span(row)), arb(0))


class TabledSoftmax(Tabled, Softmax):
    """l_j(z) = log Σ exp z − <y_j, z>, y_j row j of the table, in the simplex."""

    least = 2

    def __init__(self, value: Any, K: int) -> None:
        super().__init__(value, K)
        table, whole = self.table, scaled(1, -self.table.entries.exponent)
        if min(table.entries.integers) < 0:
            raise MalformedCertificate("targets are not negative")
        if any(sum(table.entries.integers[i] for i in table.span(row)) != whole for row in range(K)):
            raise MalformedCertificate("targets sum to 1, exactly")

    def targets(self, column: Column[Any]) -> tuple[fmpq, list[fmpq]]:
        """The row, split."""
        first, *others = self.table.row(column.place)
        return first, others

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``; columns are written with all their entries, so their sum is to be tested."""
        if column.own + sum((v for v, _ in column.others), fmpq(0)) != 0:
            raise Refuted("a column of the dual point does not sum to zero")
        return super().conjugate(column)

    def outcomes(self, z: list[arb]) -> list[arb]:
        """Softmax, from differences to a large entry."""
        top = max(z, key=lambda entry: float(entry.mid()))
        powers = [(entry - top).exp() for entry in z]
        total = sum(powers, arb(0))
        return [power / total for power in powers]

    def conjugate_at(self, outcomes: list[arb], row: int, scale: fmpq) -> arb:
        """Σ p log p at the mean of outcomes and targets."""
        return sum(map(_x_log_x, _mean(outcomes, self.table.row(row), scale)), arb(0))

    def entropy(self, y: fmpq) -> arb:
        """−y log y."""
        return -p_log_p(y)


class TabledSquares(Tabled):
    """l_j(z) = ½ ‖z − y_j‖²; l_j*(v) = ½ ‖v‖² + <v, y_j> for all v."""

    closed = False

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        pairs = zip(entries(column), self.table.row(column.place), strict=True)
        return sum((arb(v * (v / 2 + y)) for v, y in pairs if v), arb(0))

    def outcomes(self, z: list[arb]) -> list[arb]:
        """The logits themselves."""
        return z

    def conjugate_at(self, outcomes: list[arb], row: int, scale: fmpq) -> arb:
        """½ ‖s v‖² + <s v, y>, v = z − y."""
        s, total = arb(scale), arb(0)
        for z, y in zip(outcomes, map(arb, self.table.row(row)), strict=True):
            v = s * (z - y)
            total += v * (v / 2 + y)
        return total

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        pairs = zip(entries(column), self.table.row(column.place), strict=True)
        return sum(((z - arb(y)) * (z - arb(y)) for z, y in pairs), arb(0)) / 2


class TabledSigmoids(Tabled):
    """l_j(z) = Σ (1−y) log(1 + e^z) + y log(1 + e^−z); l_j*(v) = Σ p log p + (1−p) log(1−p), p = v + y in [0, 1]."""

    closed = False

    def __init__(self, value: Any, K: int) -> None:
        super().__init__(value, K)
        one, numbers = scaled(1, -self.table.entries.exponent), self.table.entries.integers
        if min(numbers) < 0 or max(numbers) > one:
            raise MalformedCertificate("targets of sigmoids lie from 0 to 1")

    def conjugate(self, column: Column[fmpq]) -> arb:
        """See ``Loss``."""
        total = arb(0)
        for v, y in zip(entries(column), self.table.row(column.place), strict=True):
            if not 0 <= v + y <= 1:
                raise Refuted("an entry of the dual point lies outside [0, 1]")
            total += p_log_p(v + y) + p_log_p(1 - v - y)
        return total

    def value(self, column: Column[arb]) -> arb:
        """See ``Loss``."""
        total = arb(0)
        for z, y in zip(entries(column), self.table.row(column.place), strict=True):
            for share, sign in ((1 - y, 1), (y, -1)):
                if share:
                    total += arb(share) * (sign * z).exp().log1p()
        return total

    def outcomes(self, z: list[arb]) -> list[arb]:
        """Sigmoids."""
        return [1 / (1 + (-entry).exp()) for entry in z]

    def conjugate_at(self, outcomes: list[arb], row: int, scale: fmpq) -> arb:
        """Σ p log p + (1−p) log(1−p) at the mean of outcomes and targets."""
        means = _mean(outcomes, self.table.row(row), scale)
        return sum((_x_log_x(p) + _x_log_x(1 - p) for p in means), arb(0))

    def entropy(self, y: fmpq) -> arb:
        """−y log y − (1−y) log(1−y)."""
        return -p_log_p(y) - p_log_p(1 - y)


TABLED: dict[str, type[Tabled]] = {
    "soft-target-cross-entropy": TabledSoftmax,
    "mean-squared-error": TabledSquares,
    "binary-cross-entropy": TabledSigmoids,
}


def is_tabled(value: Any) -> bool:
    """Whether an object of the file describes a loss against such a table."""
    targets = value.get("targets") if isinstance(value, dict) else None
    return isinstance(targets, dict) and "outputs" in targets


def read_loss(value: Any, K: int) -> Loss:
    """The loss that an object of the file describes."""
    if not is_tabled(value):
        return losses.read_loss(value, K)
    return TABLED[kind_of(value, "name", tuple(TABLED))](value, K)


def _mean(outcomes: list[arb], targets: list[fmpq], scale: fmpq) -> list[arb]:
    """The outcomes times s, and the targets times 1 − s."""
    s = arb(scale)
    return [s * p + arb((1 - scale) * y) if y else s * p for p, y in zip(outcomes, targets, strict=True)]


def _x_log_x(x: arb) -> arb:
    """The ball x log x at a number ≥ 0 in a ball; near 0, where it falls, all from there to the end."""
    if x > 0:
        return x * x.log()
    end = arb(x.upper())
    if not end > 0:
        return arb(0)
    return (end * end.log()).union(arb(0)) if end < _FALLING else arb(0, "inf")


def entries(column: Column[Any]) -> list[Any]:
    """All V of them, in their order."""
    return [column.own, *(entry for entry, _ in column.others)]


__all__ = ["TABLED", "Table", "Tabled", "entries", "is_tabled", "read_loss"]

"""The problem: its groups of classes, and products of integers (docs/certificate_format.md, section 3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flint import fmpq, fmpz_mat

from .costs import Costs
from .reading import (
    MAX_LENGTH,
    MalformedCertificate,
    Undecided,
    Vector,
    fields_of,
    integer,
    integers,
    length_of,
    sha256_of,
    size_of,
    vector,
)
from .tables import is_tabled, read_loss
from .terms import Bias, Budget, Penalty

MAX_CLASSES = 10**8
MAX_PRODUCT_WORK, WORD = 1 << 32, 64
"""Multiplications of words that an exact product may cost; b bits cost 1 + (b/64)² (measured, and never more)."""


class Group(NamedTuple):
    """Classes that are alike: same count, same weight."""

    samples: int
    weight: fmpq
    multiplicity: int


class Problem:
    """Section 3.1. ``runs`` are in class order; ``distinct``, of weights ``weights``, sorted by count, then weight.

    Classes without samples are outputs alone: they are in no group of ``distinct``, and all of them are alike. With a
    table of targets the K counts are those of its rows, the columns, and there are ``V`` outputs; else V = K.
    """

    def __init__(self, value: Any) -> None:
        given = value if isinstance(value, dict) else {}
        kind = Budget if "weight_radius" in given else Penalty
        names = f"class_counts multiplicities class_weights features feature_dim loss sha256 {kind.names}"
        fields = fields_of(value, f"{names} bias" if "bias" in given else names)
        length = length_of(fields["class_counts"])
        numbers, repeats = (integers(fields[name], length) for name in ("class_counts", "multiplicities"))
        weights = Vector([1] * length, 0)
        if fields["class_weights"] is not None:
            weights = vector(fields["class_weights"], length)
        if min(numbers) < 0 or min(repeats) < 1 or min(weights.integers) <= 0:
            raise MalformedCertificate("counts are not negative, multiplicities and weights are positive")
        self.costs = Costs()
        self.K = sum(repeats)
        self.N = sum(number * repeat for number, repeat in zip(numbers, repeats, strict=True))
        least = 1 if is_tabled(fields["loss"]) else 2
        if not least <= self.K <= MAX_CLASSES or not 1 <= self.N < 1 << 63:
            raise MalformedCertificate(f"from {least} to {MAX_CLASSES} classes, from 1 to 2^63 - 1 samples")
        self.empty = sum(repeat for number, repeat in zip(numbers, repeats, strict=True) if not number)
        if self.empty and kind is Budget:
            raise MalformedCertificate("norm bounds are about means over the samples of each class, and one has none")
        self.regulariser = kind(fields, self.K, self.N)
        self.lambda_w, self.lambda_h = self.regulariser.weights
        self.bias = Bias(fields)
        numbers, weights = self.regulariser.classes(numbers, weights)
        self.runs = numbers, weights, repeats
        merged: Counter[tuple[int, int]] = Counter()
        for number, weight, repeat in zip(numbers, weights.integers, repeats, strict=True):
            if number:
                merged[number, weight] += repeat
        alike = sorted(merged)
        self.weights = Vector([weight for _, weight in alike], weights.exponent)
        self.distinct = [Group(pair[0], weight, merged[pair]) for pair, weight in zip(alike, self.weights, strict=True)]
        if fields["features"] not in ("nonnegative", "free"):
            raise MalformedCertificate("features are nonnegative or free")
        self.nonnegative = fields["features"] == "nonnegative"
        dimension = fields["feature_dim"]
        self.feature_dim = None if dimension is None else integer(dimension, 1, (1 << 63) - 1)
        self.loss = read_loss(fields["loss"], self.K)
        self.V = self.loss.outputs or self.K
        if self.loss.tabled and (self.empty or (kind is Budget and self.V != self.K)):
            raise MalformedCertificate("each row of a table has samples, and norm bounds are about classes")
        constants = [self.lambda_w, self.lambda_h, self.bias.weight, *self.regulariser.constants]
        self.bits = weights.bits + self.loss.bits + max(map(size_of, constants))
        """Of the rational constants that an operation may meet, all together."""
        if sha256_of(fields, leave_out=("sha256",)) != fields["sha256"]:
            raise MalformedCertificate("the problem's SHA-256 does not match the problem")

    @property
    def lemmas(self) -> tuple[str, ...]:
        """What is used beside the lemmas of every certificate."""
        return (*self.regulariser.lemmas, *self.bias.lemmas)

    def share(self, group: Group) -> fmpq:
        """ω_k n_k / N, the weight of one class's loss."""
        return group.weight * group.samples / self.N

    def groups(self, limit: int = MAX_CLASSES) -> list[Group]:
        """The distinct groups with samples, in whose terms a proof may speak only if all classes are treated alike."""
        if not self.loss.alike:
            raise MalformedCertificate("the loss tells classes apart: a proof takes them one by one")
        if len(self.distinct) > limit:
            raise MalformedCertificate(f"more than {limit} groups")
        return self.distinct

    def outputs(self, limit: int = MAX_CLASSES) -> list[Group]:
        """The same, after the group of the classes without samples, if there are any."""
        groups = self.groups(limit)
        return [Group(0, fmpq(1), self.empty), *groups] if self.empty else groups

    def single_outputs(self, limit: int = MAX_LENGTH) -> list[Group]:
        """One group an output: the classes, unless a table has other outputs than columns."""
        return [Group(1, fmpq(1), 1)] * self.V if self.loss.tabled else self.classes(limit)

    def home(self, column: int) -> int:
        """The output whose entry stands apart in a column: that of the class, or the first of a table."""
        return 0 if self.loss.tabled else column

    def classes(self, limit: int = MAX_LENGTH) -> list[Group]:
        """One group a class, in class order."""
        if limit < self.K:
            raise MalformedCertificate(f"more than {limit} classes, written one by one")
        return [Group(n, weight, 1) for n, weight, repeat in zip(*self.runs, strict=True) for _ in range(repeat)]


def check_singles(groups: list[Group], rows: Sequence[Sequence[int]], places: Iterable[int]) -> None:
    """Raise unless groups of a single class have no entry for another class of theirs, which is at ``places``."""
    if any(group.multiplicity == 1 and row[own] for group, row, own in zip(groups, rows, places, strict=True)):
        raise MalformedCertificate("a single class has no entry for another class of its group")


def require_short(rows: int, *factors: Sequence[Sequence[int]], costs: Costs | None = None) -> None:
    """Leave a product of the first matrix, of so many rows, and the second's transpose undecided if it takes long."""
    bits = max(max(max(row), -min(row)).bit_length() for factor in factors for row in factor)
    if rows * len(factors[1]) * len(factors[1][0]) * (WORD**2 + bits**2) > MAX_PRODUCT_WORK * WORD**2:
        raise Undecided("the exact product of two matrices takes too long")
    if costs is not None:
        costs.multiply(rows * len(factors[1]) * len(factors[1][0]), bits)


def product(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]], costs: Costs | None = None) -> fmpz_mat:
    """The first times the second's transpose, in integers; paid for where there is a ledger."""
    require_short(len(first), first, second, costs=costs)
    return fmpz_mat(list(map(list, first))) * fmpz_mat(list(map(list, second))).transpose()

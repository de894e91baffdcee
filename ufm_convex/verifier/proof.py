"""The mathematics: what each part of a certificate must satisfy, in exact arithmetic and in balls.

Section numbers in comments are those of docs/certificate.md. Constructors decode and raise ``MalformedCertificate``;
``check_…`` methods raise ``Refuted`` where a condition fails; values are enclosed at the precision of the context.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from math import gcd, lcm
from typing import Any, NamedTuple

from flint import arb, fmpq, fmpz_mat

from .losses import Column, read_loss
from .reading import (
    MAX_BLOCKS,
    MAX_LENGTH,
    MalformedCertificate,
    Refuted,
    Undecided,
    Vector,
    dyadic,
    exponent_of,
    fields_of,
    integer,
    integers,
    length_of,
    rows_of,
    scaled,
    sha256_of,
    vector,
)

MAX_CLASSES = 10**8
MAX_LOGITS, MAX_EXACT_LOGITS, MAX_UNSTREAMED_LOGITS = 1 << 23, 1 << 18, 1 << 21
MAX_COLUMN_BITS = 1 << 32
MAX_PRODUCT_WORK, WORD = 1 << 32, 64
"""Multiplications of words that an exact product may cost; b bits cost 1 + (b/64)² (measured, and never more)."""
_ROWS = 64


def _require_short(rows: int, *factors: list[list[int]]) -> None:
    """Leave a product of the first matrix, of so many rows, and the second's transpose undecided if it takes long."""
    bits = max(max(max(row), -min(row)).bit_length() for factor in factors for row in factor)
    if rows * len(factors[1]) * len(factors[1][0]) * (WORD**2 + bits**2) > MAX_PRODUCT_WORK * WORD**2:
        raise Undecided("the exact product of two matrices takes too long")


def _product(first: list[list[int]], second: list[list[int]]) -> fmpz_mat:
    """The first times the second's transpose, in integers."""
    _require_short(len(first), first, second)
    return fmpz_mat(first) * fmpz_mat(second).transpose()


# -- the content (section 3) --------------------------------------------------------------------------------------


class Group(NamedTuple):
    """Classes that are alike: same count, same weight."""

    samples: int
    weight: fmpq
    multiplicity: int


class Problem:
    """Section 3.1. ``runs`` are in class order; ``distinct``, of weights ``weights``, sorted by count, then weight."""

    def __init__(self, value: Any) -> None:
        names = "class_counts multiplicities class_weights lambda_w lambda_h features feature_dim loss sha256"
        fields = fields_of(value, names)
        length = length_of(fields["class_counts"])
        numbers, repeats = (integers(fields[name], length) for name in ("class_counts", "multiplicities"))
        given = fields["class_weights"]
        weights = Vector([1] * length, 0) if given is None else vector(given, length)
        if min(numbers) < 1 or min(repeats) < 1 or min(weights.integers) <= 0:
            raise MalformedCertificate("counts, multiplicities and weights are positive")
        self.runs = numbers, weights, repeats
        merged: Counter[tuple[int, int]] = Counter()
        for number, weight, repeat in zip(numbers, weights.integers, repeats, strict=True):
            merged[number, weight] += repeat
        alike = sorted(merged)
        self.weights = Vector([weight for _, weight in alike], weights.exponent)
        self.distinct = [Group(pair[0], weight, merged[pair]) for pair, weight in zip(alike, self.weights, strict=True)]
        self.K = sum(repeats)
        self.N = sum(number * repeat for number, repeat in zip(numbers, repeats, strict=True))
        if not 2 <= self.K <= MAX_CLASSES or self.N >= 1 << 63:
            raise MalformedCertificate(f"from 2 to {MAX_CLASSES} classes, fewer than 2^63 samples")
        self.lambda_w, self.lambda_h = dyadic(fields["lambda_w"]), dyadic(fields["lambda_h"])
        if self.lambda_w <= 0 or self.lambda_h <= 0:
            raise MalformedCertificate("decays are positive")
        if fields["features"] not in ("nonnegative", "free"):
            raise MalformedCertificate("features are nonnegative or free")
        self.nonnegative = fields["features"] == "nonnegative"
        dimension = fields["feature_dim"]
        self.feature_dim = None if dimension is None else integer(dimension, 1, (1 << 63) - 1)
        self.loss = read_loss(fields["loss"], self.K)
        if sha256_of(fields, leave_out=("sha256",)) != fields["sha256"]:
            raise MalformedCertificate("the problem's SHA-256 does not match the problem")

    def share(self, group: Group) -> fmpq:
        """ω_k n_k / N, the weight of one class's loss."""
        return group.weight * group.samples / self.N

    def groups(self, limit: int = MAX_CLASSES) -> list[Group]:
        """The distinct groups, in whose terms a proof may speak only if the loss treats all classes alike."""
        if not self.loss.alike:
            raise MalformedCertificate("the loss tells classes apart: a proof takes them one by one")
        if len(self.distinct) > limit:
            raise MalformedCertificate(f"more than {limit} groups")
        return self.distinct

    def classes(self, limit: int = MAX_LENGTH) -> list[Group]:
        """One group a class, in class order."""
        if limit < self.K:
            raise MalformedCertificate(f"more than {limit} classes, written one by one")
        return [Group(n, weight, 1) for n, weight, repeat in zip(*self.runs, strict=True) for _ in range(repeat)]


# -- dual points and their slack (sections 4.1 to 4.3) ------------------------------------------------------------


class Diagonal:
    """v_k = −q_k (e_k − 1/K): all off-diagonals of G are ≤ 0, so the slack is diagonal."""

    def __init__(self, problem: Problem, value: Any) -> None:
        self.problem, self.groups = problem, problem.groups()
        self.numbers = len(self.groups)
        self.strengths = vector(fields_of(value, "kind strengths")["strengths"], self.numbers)

    def check_slack(self) -> None:
        """Show that D − G − T is positive semidefinite, exactly."""
        problem, K = self.problem, self.problem.K
        radius = problem.N**2 * problem.lambda_w * problem.lambda_h * K
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


class Blocks:
    """A dual point that is alike on alike classes; with groups of one class it is any dual point."""

    def __init__(self, problem: Problem, value: Any) -> None:
        names = "kind exponents columns multiplier factor"
        fields = fields_of(value, names if problem.loss.closed else f"{names} own")
        self.problem = problem
        self.groups = problem.groups(MAX_BLOCKS) if fields["kind"] == "group" else problem.classes(MAX_BLOCKS)
        size = len(self.groups)
        self.numbers = size**2
        self.exponents = [exponent_of(number) for number in integers(fields["exponents"], size)]
        columns = rows_of(fields["columns"], [size] * size)
        _check_singles(self.groups, columns)
        self.columns_, self.own = self._integers(columns, fields.get("own"))
        triangle = list(range(1, size + 1))
        self.factor = None if fields["factor"] is None else rows_of(fields["factor"], triangle)
        bits = sum(
            max(max(x), -min(x)).bit_length() + abs(e) for x, e in zip(self.columns_, self.exponents, strict=True)
        )
        if size * bits > MAX_COLUMN_BITS:
            raise MalformedCertificate(f"the columns need more than {MAX_COLUMN_BITS} bits")
        self.multiplier, self.shift = None, 0
        if fields["multiplier"] is not None:
            given = fields_of(fields["multiplier"], "exponent rows")
            self.multiplier, self.shift = rows_of(given["rows"], triangle), integer(given["exponent"], 0, 256)
            _check_singles(self.groups, self.multiplier)
            if not problem.nonnegative or any(min(row) < 0 for row in self.multiplier):
                raise MalformedCertificate("a multiplier is non-negative, and none for free features")

    def _integers(self, columns: list[list[int]], own: Any) -> tuple[list[list[int]], list[int]]:
        """The integers of V = a∘w: columns, and own entries, which close w where the loss leaves them out."""
        if not self.problem.loss.closed:
            return columns, integers(own, len(self.groups))
        sizes = [group.multiplicity for group in self.groups]
        closing = [row[g] - sum(m * x for m, x in zip(sizes, row, strict=True)) for g, row in enumerate(columns)]
        if self.problem.loss.scale is None:
            return columns, closing
        units = _coprime(self.problem.loss.scale)
        scaled_columns = [[unit * x for unit, x in zip(units, row, strict=True)] for row in columns]
        return scaled_columns, [unit * x for unit, x in zip(units, closing, strict=True)]

    def radius(self, g: int) -> int:
        """⌊ρ_g⌋ with ρ = 4^{-e} λ_W λ_H N² / (ω² n)."""
        problem, group = self.problem, self.groups[g]
        exact = problem.lambda_w * problem.lambda_h * problem.N**2 / (group.weight**2 * group.samples)
        exact *= scaled(1, -2 * self.exponents[g])
        return int(exact.p // exact.q)

    def check_slack(self) -> None:
        """Show that D − G − T is positive semidefinite, exactly."""
        rows, weighted = [], []
        for g, (group, column) in enumerate(zip(self.groups, self.columns_, strict=True)):
            m = group.multiplicity
            row = [m * x for x in column]
            row[g] = self.own[g] + (m - 1) * column[g]
            rows.append(row)
            weighted.append([h.multiplicity * z for h, z in zip(self.groups, row, strict=True)])
        gram = _product(weighted, rows)
        if self.factor is not None:
            factor = [[*row, *[0] * (len(rows) - len(row))] for row in self.factor]
            gram += _product(factor, factor)
        for g, sums in enumerate(gram.tolist()):
            self._check_row(g, sums)

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
        if m > 1 and (self.own[g] - self.columns_[g][g]) ** 2 > radius + own_multiplier:
            raise Refuted(f"the slack between the classes of group {g} is negative")

    def _multiplier(self, g: int, h: int) -> int:
        return 0 if self.multiplier is None else self.multiplier[max(g, h)][min(g, h)] << self.shift

    def columns(self) -> Iterator[Column[fmpq]]:
        """The columns w of V = a∘w, one a group."""
        inverse = [1 / a for a in self.problem.loss.scale or [fmpq(1)] * len(self.groups)]
        for g, (column, own) in enumerate(zip(self.columns_, self.own, strict=True)):
            unit = scaled(1, self.exponents[g])
            others = [
                (unit * x * inverse[h], other.multiplicity - (h == g))
                for h, (other, x) in enumerate(zip(self.groups, column, strict=True))
                if other.multiplicity > (h == g)
            ]
            yield Column(g, unit * own * inverse[g], others)


def _check_singles(groups: list[Group], rows: list[list[int]]) -> None:
    """Raise unless groups of a single class have no entry for another class of theirs."""
    if any(group.multiplicity == 1 and row[g] for g, (group, row) in enumerate(zip(groups, rows, strict=True))):
        raise MalformedCertificate("a single class has no entry for another class of its group")


def _coprime(scale: list[fmpq]) -> list[int]:
    """Positive integers without common divisor in the ratios of the numbers."""
    common = lcm(*(int(a.q) for a in scale))
    whole = [int(a * common) for a in scale]
    divisor = gcd(*whole)
    return [number // divisor for number in whole]


# -- witnesses (section 4.4) --------------------------------------------------------------------------------------


class Frame:
    """h_k = η_k e_k and W = (I − 11ᵀ/K) Diag(ω): one term for the classes that are treated alike."""

    def __init__(self, problem: Problem, value: Any) -> None:
        fields = fields_of(value, "kind groups multiplicities eta omega")
        size = length_of(fields["groups"])
        places = integers(fields["groups"], size)
        repeats = integers(fields["multiplicities"], size)
        used: Counter[int] = Counter()
        for place, repeat in zip(places, repeats, strict=True):
            used[place] += repeat
        groups = problem.groups()
        if min(repeats) < 1 or used != dict(enumerate(group.multiplicity for group in groups)):
            raise MalformedCertificate("the witness does not have each class once")
        self.eta, self.omega = vector(fields["eta"], size), vector(fields["omega"], size)
        self.problem, self.numbers, self.places, self.repeats = problem, size, places, repeats

    def check_admissible(self) -> None:
        """Show that the point is one of the problem."""
        entries = zip(self.repeats, self.eta.integers, self.omega.integers, strict=True)
        if min(min(self.eta.integers), min(self.omega.integers)) < 0:
            raise Refuted("eta or omega is negative")
        check_dimension(self.problem, sum(repeat for repeat, eta, omega in entries if eta or omega))

    def objective(self) -> arb:
        """Enclose its objective."""
        problem, K, total = self.problem, self.problem.K, arb(0)
        for place, repeat, eta, omega in zip(self.places, self.repeats, self.eta, self.omega, strict=True):
            group = problem.distinct[place]
            penalty = problem.lambda_w * omega**2 * (K - 1) / K + problem.lambda_h * group.samples * eta**2
            logit = arb(eta * omega / K)
            loss = problem.loss.value(Column(0, (K - 1) * logit, [(-logit, K - 1)]))
            total += repeat * (arb(problem.share(group)) * loss + arb(penalty) / 2)
        return total


class Invariant:
    """A matrix with one row and one coordinate a class, alike on alike classes: integers times ``unit``.

    The row of a class of group g has ``own[g]`` at its own coordinate, ``rows[g][h]`` at that of another of group h.
    """

    def __init__(self, groups: list[Group], value: Any) -> None:
        fields, size = fields_of(value, "exponent own rows"), len(groups)
        self.own, self.rows = integers(fields["own"], size), rows_of(fields["rows"], [size] * size)
        self.unit = scaled(1, exponent_of(fields["exponent"]))
        self.sizes = [group.multiplicity for group in groups]
        _check_singles(groups, self.rows)

    def uses(self, h: int) -> bool:
        """Whether the coordinates of group h have an entry that is not zero."""
        return bool(self.own[h]) or any(row[h] for row in self.rows)

    def square(self, g: int) -> fmpq:
        """Squared norm of the row of a class of group g."""
        row = self.rows[g]
        others = sum(m * x * x for m, x in zip(self.sizes, row, strict=True)) - row[g] ** 2
        return self.unit**2 * (others + self.own[g] ** 2)


class Alike:
    """W and H with one coordinate a class, alike on alike classes."""

    def __init__(self, problem: Problem, value: Any) -> None:
        fields, self.problem, self.groups = fields_of(value, "kind W H"), problem, problem.groups(MAX_BLOCKS)
        self.W, self.H = (Invariant(self.groups, fields[name]) for name in ("W", "H"))
        size = len(self.groups)
        self.numbers = size**2

    def check_admissible(self) -> None:
        """Show that the point is one of the problem."""
        if self.problem.nonnegative and min(map(min, [self.H.own, *self.H.rows])) < 0:
            raise Refuted("a feature is negative")
        used = [group.multiplicity for h, group in enumerate(self.groups) if self.W.uses(h) or self.H.uses(h)]
        check_dimension(self.problem, sum(used))

    def objective(self) -> arb:
        """Enclose its objective."""
        problem, total = self.problem, arb(0)
        for g, (group, column) in enumerate(zip(self.groups, self._logits(), strict=True)):
            penalty = problem.lambda_w * self.W.square(g) + problem.lambda_h * group.samples * self.H.square(g)
            loss = arb(problem.share(group)) * problem.loss.value(column)
            total += group.multiplicity * (loss + arb(penalty) / 2)
        return total

    def _logits(self) -> Iterator[Column[arb]]:
        """W h of a class of each group: the sum over all coordinates, corrected at the two own ones."""
        W, H, sizes = self.W, self.H, self.W.sizes
        sums = _product(H.rows, [[m * x for m, x in zip(sizes, row, strict=True)] for row in W.rows]).tolist()
        unit = arb(W.unit * H.unit)
        for g, h in enumerate(H.rows):
            own = sums[g][g] - W.rows[g][g] * h[g] + W.own[g] * H.own[g]
            others = [
                (arb(z + (W.own[f] - W.rows[f][f]) * h[f] + W.rows[f][g] * (H.own[g] - h[g])) * unit, m - (f == g))
                for f, (z, m) in enumerate(zip(sums[g], sizes, strict=True))
                if m > (f == g)
            ]
            yield Column(g, arb(own) * unit, others)


class Factors:
    """W, and one row of features a class or a sample; ``labels`` and ``repeats`` say what each row stands for."""

    def __init__(self, problem: Problem, d: int, W: Any, H: Any, labels: list[int] | None = None) -> None:
        self.numbers = problem.K * (problem.K if labels is None else len(labels))
        if self.numbers > MAX_LOGITS:
            raise MalformedCertificate(f"more than {MAX_LOGITS} logits")
        matrices = [fields_of(matrix, "exponent rows") for matrix in (W, H)]
        self.exponents = [exponent_of(matrix["exponent"]) for matrix in matrices]
        self.problem, self.classes = problem, problem.classes()
        self.repeats = [group.samples if labels is None else 1 for group in self.classes]
        self.labels = list(range(problem.K)) if labels is None else labels
        self.W = rows_of(matrices[0]["rows"], [d] * problem.K)
        self.H = rows_of(matrices[1]["rows"], [d] * len(self.labels))
        self.unit_w, self.unit_h = (scaled(1, exponent) for exponent in self.exponents)

    @classmethod
    def read(cls, problem: Problem, value: Any) -> Factors:
        """Class means, row k for class k."""
        fields = fields_of(value, "kind feature_dim W H")
        return cls(problem, integer(fields["feature_dim"], 1, MAX_LENGTH), fields["W"], fields["H"])

    def check_admissible(self) -> None:
        """Show that the point is one of the problem."""
        if self.problem.nonnegative and any(min(row) < 0 for row in self.H):
            raise Refuted("a feature is negative")
        if self.problem.feature_dim is not None:
            columns = zip(zip(*self.W, strict=True), zip(*self.H, strict=True), strict=True)
            check_dimension(self.problem, sum(1 for w, h in columns if any(w) or any(h)))

    def entry(self, row: int, column: int) -> fmpq:
        """One feature."""
        if row >= len(self.H) or column >= len(self.H[row]):
            raise Refuted("there is no such feature")
        return self.H[row][column] * self.unit_h

    def objective(self) -> arb:
        """Enclose its objective."""
        problem, unit = self.problem, arb(self.unit_w * self.unit_h)
        if self.numbers > (MAX_EXACT_LOGITS if problem.loss.streamed else MAX_UNSTREAMED_LOGITS):
            raise Undecided("more logits than are evaluated one by one")
        _require_short(len(self.H), self.H, self.W)
        blocks = (_product(self.H[start : start + _ROWS], self.W) for start in range(0, len(self.H), _ROWS))
        logits = (row for block in blocks for row in block.tolist())
        total = arb(problem.lambda_w * self.unit_w**2 * sum(w * w for row in self.W for w in row)) / 2
        for z, row, k in zip(logits, self.H, self.labels, strict=True):
            others = [(arb(entry) * unit, 1) for j, entry in enumerate(z) if j != k]
            mean = self.classes[k].weight * self.repeats[k] / problem.N
            total += arb(mean) * problem.loss.value(Column(k, arb(z[k]) * unit, others))
            total += arb(problem.lambda_h * self.unit_h**2 * self.repeats[k] * sum(h * h for h in row)) / 2
        return total


def check_dimension(problem: Problem, used: int) -> None:
    """Raise unless ``used`` coordinates are allowed."""
    if problem.feature_dim is not None and used > problem.feature_dim:
        raise Refuted(f"{used} feature dimensions are used, {problem.feature_dim} are allowed")


# -- candidates (section 4.5) -------------------------------------------------------------------------------------


class Candidate:
    """Somebody's W and features: embedded, or known by the SHA-256 of its arrays."""

    def __init__(self, problem: Problem, value: Any) -> None:
        fields = fields_of(value, "level feature_dim sha256 arrays")
        if fields["level"] not in ("sample", "class") or (fields["sha256"] is None) == (fields["arrays"] is None):
            raise MalformedCertificate("a candidate is at sample or class level, and has either arrays or a SHA-256")
        self.problem, self.sha256 = problem, fields["sha256"]
        self.level, self.feature_dim = fields["level"], integer(fields["feature_dim"], 1, MAX_LENGTH)
        self.embedded: Factors | None = None
        if self.sha256 is not None:
            if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
                raise MalformedCertificate("a SHA-256 is 64 hexadecimal digits")
            return
        arrays, labels = fields_of(fields["arrays"], "W features labels"), None
        if (arrays["labels"] is None) != (self.level == "class"):
            raise MalformedCertificate("labels belong to the sample level")
        if self.level == "sample":
            labels = integers(arrays["labels"], length_of(arrays["labels"]))
            if len(labels) != problem.N or Counter(labels) != dict(enumerate(g.samples for g in problem.classes())):
                raise MalformedCertificate("the labels do not have the problem's class counts")
        self.embedded = Factors(problem, self.feature_dim, arrays["W"], arrays["features"], labels)

"""W and H: witnesses of three kinds, and candidates (docs/certificate_format.md, sections 3.2 and 3.3).

Constructors decode and raise ``MalformedCertificate``; ``check_admissible`` raises ``Refuted`` where the point is none
of the problem; objectives are enclosed at the precision of the context.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from flint import arb, ctx, fmpq, fmpz_mat

from .losses import Column
from .problem import Group, Problem, check_singles, product, require_short
from .reading import (
    MAX_BLOCKS,
    MAX_LENGTH,
    MalformedCertificate,
    Refuted,
    Undecided,
    Vector,
    exponent_of,
    fields_of,
    integer,
    integers,
    kind_of,
    length_of,
    rows_of,
    scaled,
    vector,
)

MAX_LOGITS, MAX_EXACT_LOGITS, MAX_UNSTREAMED_LOGITS = 1 << 23, 1 << 18, 1 << 21
MAX_TABLE_LOGITS = 1 << 24
_ROWS = 64


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
        self.bits = self.eta.bits + self.omega.bits + problem.bits

    def check_admissible(self) -> None:
        """Show that the point is one of the problem."""
        entries = zip(self.repeats, self.eta.integers, self.omega.integers, strict=True)
        if min(min(self.eta.integers), min(self.omega.integers)) < 0:
            raise Refuted("eta or omega is negative")
        check_dimension(self.problem, sum(repeat for repeat, eta, omega in entries if eta or omega))
        self.problem.regulariser.check(self)

    def squares(self) -> tuple[fmpq, fmpq]:
        """‖W‖² and Σ ‖h_k‖², exactly."""
        K, pair = self.problem.K, (self.omega, self.eta)
        sums = [sum(m * x * x for m, x in zip(self.repeats, vector.integers, strict=True)) for vector in pair]
        W, H = (scaled(total, 2 * vector.exponent) for total, vector in zip(sums, pair, strict=True))
        return W * (K - 1) / K, H

    def objective(self) -> arb:
        """Enclose its objective."""
        problem, K, total = self.problem, self.problem.K, arb(0)
        problem.costs.spend(self.numbers, 12, self.bits, balls=4, precision=ctx.prec)
        for place, repeat, eta, omega in zip(self.places, self.repeats, self.eta, self.omega, strict=True):
            group = problem.distinct[place]
            penalty = problem.lambda_w * omega**2 * (K - 1) / K + problem.lambda_h * group.samples * eta**2
            logit = arb(eta * omega / K)
            loss = problem.loss.value(Column(0, (K - 1) * logit, [(-logit, K - 1)]))
            total += repeat * (arb(problem.share(group)) * loss + arb(penalty) / 2)
        return total


class Invariant:
    """A matrix with one row and one coordinate a class, samples or none, alike on alike classes: integers by ``unit``.

    The row of a class of group g has ``own[g]`` at its own coordinate, ``rows[g][h]`` at that of another of group h.
    """

    def __init__(self, groups: list[Group], value: Any) -> None:
        fields, size = fields_of(value, "exponent own rows"), len(groups)
        self.own, self.rows = integers(fields["own"], size), rows_of(fields["rows"], [size] * size)
        self.unit = scaled(1, exponent_of(fields["exponent"]))
        self.sizes = [group.multiplicity for group in groups]
        check_singles(groups, self.rows, range(size))

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
        fields, self.problem, self.groups = fields_of(value, "kind W H"), problem, problem.outputs(MAX_BLOCKS)
        self.W, self.H = (Invariant(self.groups, fields[name]) for name in ("W", "H"))
        rows = ([own, *row] for own, row in zip(self.H.own, self.H.rows, strict=True))
        check_empty(self.groups, rows)
        size = len(self.groups)
        self.numbers = size**2

    def check_admissible(self) -> None:
        """Show that the point is one of the problem."""
        if self.problem.nonnegative and min(map(min, [self.H.own, *self.H.rows])) < 0:
            raise Refuted("a feature is negative")
        used = [group.multiplicity for h, group in enumerate(self.groups) if self.W.uses(h) or self.H.uses(h)]
        check_dimension(self.problem, sum(used))
        self.problem.regulariser.check(self)

    def squares(self) -> tuple[fmpq, fmpq]:
        """‖W‖² and Σ ‖h_k‖², exactly."""
        W, H = (sum((m * matrix.square(g) for g, m in enumerate(matrix.sizes)), fmpq(0)) for matrix in (self.W, self.H))
        return W, H

    def objective(self) -> arb:
        """Enclose its objective."""
        problem, total = self.problem, arb(0)
        problem.costs.spend(self.numbers, 2, problem.bits, balls=3, precision=ctx.prec)
        for g, (group, column) in enumerate(zip(self.groups, self._logits(), strict=True)):
            penalty = problem.lambda_w * self.W.square(g) + problem.lambda_h * group.samples * self.H.square(g)
            loss = arb(problem.share(group)) * problem.loss.value(column) if group.samples else arb(0)
            total += group.multiplicity * (loss + arb(penalty) / 2)
        return total

    @cached_property
    def _sums(self) -> fmpz_mat:
        sizes = self.W.sizes
        scaled_rows = [[m * x for m, x in zip(sizes, row, strict=True)] for row in self.W.rows]
        return product(self.H.rows, scaled_rows, self.problem.costs)

    def _logits(self) -> Iterator[Column[arb]]:
        """W h of a class of each group: the sum over all coordinates, corrected at the two own ones."""
        W, H, sizes = self.W, self.H, self.W.sizes
        sums = self._sums.tolist()
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

    def __init__(
        self, problem: Problem, d: int, W: Any, H: Any, labels: list[int] | None = None, bias: Vector | None = None
    ) -> None:
        self.numbers = problem.V * (problem.K if labels is None else len(labels))
        most = MAX_TABLE_LOGITS if problem.loss.tabled else MAX_LOGITS
        if self.numbers > most:
            raise MalformedCertificate(f"more than {most} logits")
        matrices = [fields_of(matrix, "exponent rows") for matrix in (W, H)]
        self.exponents = [exponent_of(matrix["exponent"]) for matrix in matrices]
        self.problem, self.classes, self.bias = problem, problem.classes(), bias
        self.repeats = [group.samples if labels is None else 1 for group in self.classes]
        self.labels = list(range(problem.K)) if labels is None else labels
        self.W = rows_of(matrices[0]["rows"], [d] * problem.V)
        self.H = rows_of(matrices[1]["rows"], [d] * len(self.labels))
        if labels is None:
            check_empty(self.classes, self.H)
        self.unit_w, self.unit_h = (scaled(1, exponent) for exponent in self.exponents)

    @classmethod
    def read(cls, problem: Problem, value: Any, kind: str | None = None) -> Factors:
        """Class means, row k for class k; of an object that has to say its kind, if one is given."""
        if kind is not None:
            kind_of(value, "kind", (kind,))
        fields = fields_of(value, "kind feature_dim W H bias" if problem.bias.present else "kind feature_dim W H")
        bias = vector(fields["bias"], problem.V) if problem.bias.present else None
        return cls(problem, integer(fields["feature_dim"], 1, MAX_LENGTH), fields["W"], fields["H"], bias=bias)

    def check_admissible(self) -> None:
        """Show that the point is one of the problem."""
        if self.problem.nonnegative and any(min(row) < 0 for row in self.H):
            raise Refuted("a feature is negative")
        if self.problem.feature_dim is not None:
            columns = zip(zip(*self.W, strict=True), zip(*self.H, strict=True), strict=True)
            check_dimension(self.problem, sum(1 for w, h in columns if any(w) or any(h)))
        self.problem.regulariser.check(self)

    def squares(self) -> tuple[fmpq, fmpq]:
        """‖W‖² and Σ ‖h_k‖², exactly, of class means."""
        W, H = (sum(x * x for row in rows for x in row) for rows in (self.W, self.H))
        return W * self.unit_w**2, H * self.unit_h**2

    def entry(self, row: int, column: int) -> fmpq:
        """One feature."""
        if row >= len(self.H) or column >= len(self.H[row]):
            raise Refuted("there is no such feature")
        return self.H[row][column] * self.unit_h

    @cached_property
    def _products(self) -> list[fmpz_mat]:
        """H Wᵀ in integers, once for all precisions; in blocks, whose rows become lists one block at a time."""
        require_short(len(self.H), self.H, self.W, costs=self.problem.costs)
        return [product(self.H[start : start + _ROWS], self.W) for start in range(0, len(self.H), _ROWS)]

    def logits(self) -> Iterator[list[arb]]:
        """W h + b, row by row."""
        unit = arb(self.unit_w * self.unit_h)
        b = [arb(entry) for entry in self.bias or [fmpq(0)] * self.problem.V]
        rows = (row for block in self._products for row in block.tolist())
        return ([arb(entry) * unit + offset for entry, offset in zip(row, b, strict=True)] for row in rows)

    def objective(self) -> arb:
        """Enclose its objective."""
        problem = self.problem
        streamed = problem.loss.streamed and self.bias is None
        if self.numbers > (MAX_EXACT_LOGITS if streamed else MAX_UNSTREAMED_LOGITS):
            raise Undecided("more logits than are evaluated one by one")
        balls = 3 if problem.loss.streamed else 4 if problem.loss.alike else 6
        problem.costs.spend(self.numbers, 1, problem.loss.bits, balls=balls, precision=ctx.prec)
        problem.costs.spend((len(self.W) + len(self.H)) * len(self.W[0]), 1, 0)
        total = arb(problem.lambda_w * self.unit_w**2 * sum(w * w for row in self.W for w in row)) / 2
        total += arb(problem.bias.penalty(self.bias or ()))
        for z, row, k in zip(self.logits(), self.H, self.labels, strict=True):
            if not self.repeats[k]:
                continue
            home = problem.home(k)
            others = [(entry, 1) for j, entry in enumerate(z) if j != home]
            mean = self.classes[k].weight * self.repeats[k] / problem.N
            total += arb(mean) * problem.loss.value(Column(k, z[home], others))
            total += arb(problem.lambda_h * self.unit_h**2 * self.repeats[k] * sum(h * h for h in row)) / 2
        return total


def check_empty(groups: list[Group], rows: Iterable[Sequence[int]]) -> None:
    """Raise unless classes without samples have no feature."""
    if any(not group.samples and any(row) for group, row in zip(groups, rows, strict=True)):
        raise MalformedCertificate("a class without samples has a feature that is not zero")


def check_dimension(problem: Problem, used: int) -> None:
    """Raise unless ``used`` coordinates are allowed."""
    if problem.feature_dim is not None and used > problem.feature_dim:
        raise Refuted(f"{used} feature dimensions are used, {problem.feature_dim} are allowed")


# -- candidates (section 3.3) -------------------------------------------------------------------------------------


class Candidate:
    """Somebody's W, features and perhaps bias: embedded, or known by the SHA-256 of its arrays."""

    def __init__(self, problem: Problem, value: Any) -> None:
        if problem.regulariser.lemmas:
            raise MalformedCertificate("candidates have a penalty")
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
        arrays, labels = _arrays_of(problem, fields["arrays"]), None
        if (arrays["labels"] is None) != (self.level == "class"):
            raise MalformedCertificate("labels belong to the sample level")
        if self.level == "sample":
            labels = integers(arrays["labels"], length_of(arrays["labels"]))
            counts = {k: group.samples for k, group in enumerate(problem.classes()) if group.samples}
            if len(labels) != problem.N or Counter(labels) != counts:
                raise MalformedCertificate("the labels do not have the problem's class counts")
        bias = vector(arrays["bias"], problem.V) if "bias" in arrays else None
        self.embedded = Factors(problem, self.feature_dim, arrays["W"], arrays["features"], labels, bias)


def _arrays_of(problem: Problem, value: Any) -> dict[str, Any]:
    """The arrays of a candidate, among them b where it has one and the problem has a bias; without, b = 0."""
    biased = problem.bias.present and isinstance(value, dict) and "bias" in value
    return fields_of(value, "W features labels bias" if biased else "W features labels")

"""Supervised contrastive learning: another problem, with a proof of one number a distinct count.

Specified in docs/contrastive_files.md, section 10, with the lemmas that the file names. Classes with the same count are
alike; dual point and witness have one entry for each distinct count, in increasing order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from flint import arb, ctx, fmpq

from .claims import Claims
from .costs import Costs
from .problem import MAX_CLASSES
from .reading import (
    MalformedCertificate,
    Refuted,
    dyadic,
    fields_of,
    integers,
    kind_of,
    length_of,
    sha256_of,
    size_of,
    vector,
)

MODEL = "contrastive"
LEMMAS = ["contrastive-identity", "outside-mass"]

Compare = Callable[[Callable[[], arb], fmpq, int, int], None]


def speaks_of(problem: Any) -> bool:
    """Whether the object ``problem`` of a file names a model of its own; it must be this one."""
    return isinstance(problem, dict) and "model" in problem and bool(kind_of(problem, "model", (MODEL,)))


class Certificate:
    """The content, decoded; nothing is proved yet. There is no candidate."""

    candidate = table = None

    def __init__(self, fields: dict[str, Any]) -> None:
        costs = Costs.of(fields)
        self.content = fields["problem"]
        self.problem = problem = Problem(self.content)
        problem.costs = costs
        if fields["lemmas"] != LEMMAS or fields["candidate"] is not None:
            raise MalformedCertificate("a contrastive proof has its own two lemmas, and no candidate")
        self.dual, self.witness = OutsideMass(problem, fields["dual"]), OrthogonalFrame(problem, fields["witness"])
        self.claims, self.size = Claims(fields["claims"], with_candidate=False), len(problem.groups)

    def checks(self, compare: Compare) -> list[tuple[str, Callable[[], None]]]:
        """The steps in order. ``compare`` decides sign · (value − claim) ≥ 0."""
        dual, witness, optimum, size = self.dual, self.witness, self.claims.optimum, self.size
        return [
            ("slack", dual.check_slack),
            ("lower bound", lambda: compare(dual.value, optimum.low, 1, size)),
            ("witness", witness.check_admissible),
            ("upper bound", lambda: compare(witness.objective, optimum.high, -1, size)),
            ("verdict", self.claims.check_verdict),
        ]


class Problem:
    """Counts, and a bound τ of ‖h‖² or a penalty λ_H; ``groups`` are (count, number of classes), sorted by count."""

    def __init__(self, value: Any) -> None:
        fields = fields_of(value, "model class_counts multiplicities bound lambda_h temperature sha256")
        length = length_of(fields["class_counts"])
        numbers, repeats = (integers(fields[name], length) for name in ("class_counts", "multiplicities"))
        if min(numbers) < 1 or min(repeats) < 1:
            raise MalformedCertificate("counts and multiplicities are positive")
        merged: Counter[int] = Counter()
        for number, repeat in zip(numbers, repeats, strict=True):
            merged[number] += repeat
        self.groups, self.N = sorted(merged.items()), sum(number * repeat for number, repeat in merged.items())
        self.K = sum(repeats)
        if not 2 <= self.K <= MAX_CLASSES or self.N >= 1 << 63:
            raise MalformedCertificate(f"from 2 to {MAX_CLASSES} classes, fewer than 2^63 samples")
        if (fields["bound"] is None) == (fields["lambda_h"] is None):
            raise MalformedCertificate("either a bound or a penalty")
        self.bound, self.lambda_h = (
            None if fields[name] is None else dyadic(fields[name]) for name in ("bound", "lambda_h")
        )
        self.temperature = dyadic(fields["temperature"])
        self.costs = Costs()
        constants = [x for x in (self.bound, self.lambda_h, self.temperature) if x is not None]
        self.bits = sum(map(size_of, constants))
        if any(number is not None and number <= 0 for number in (self.bound, self.lambda_h, self.temperature)):
            raise MalformedCertificate("bound, penalty and temperature are positive")
        if sha256_of(fields, leave_out=("sha256",)) != fields["sha256"]:
            raise MalformedCertificate("the problem's SHA-256 does not match the problem")


class OutsideMass:
    """s_k: what an anchor of class k spends outside its class, in a lower bound for every H ≥ 0 of any dimension."""

    def __init__(self, problem: Problem, value: Any) -> None:
        kind_of(value, "kind", ("outside-mass",))
        self.problem = problem
        outside = vector(fields_of(value, "kind outside")["outside"], len(problem.groups))
        self.outside, self.bits = list(outside), outside.bits
        if problem.groups[0][0] == 1 and self.outside[0] != 0:
            raise MalformedCertificate("a class of one sample has no anchor")

    def check_slack(self) -> None:
        """Show that Θ ≥ 0 and S ⪰ 0: 0 ≤ s, and s ≤ a = λ_H T/2 under a penalty."""
        problem, s = self.problem, self.outside
        if min(s) < 0:
            raise Refuted("a multiplier of the inner products is negative")
        if problem.lambda_h is not None and max(s) > problem.lambda_h * problem.temperature / 2:
            raise Refuted("the slack of a class is negative")

    def value(self) -> arb:
        """Enclose Σ n [Ent(s) + (1 − s) log(n − 1) + s log(N − n) − s τ/T] over classes with anchors."""
        problem, total = self.problem, arb(0)
        problem.costs.spend(len(self.outside), 3, self.bits, balls=8, precision=ctx.prec)
        tau = fmpq(0) if problem.bound is None else problem.bound / problem.temperature
        for (n, size), s in zip(problem.groups, self.outside, strict=True):
            if not 0 <= s <= 1:
                raise Refuted("a number of the dual point is no probability")
            if n > 1:
                term = arb(s) * (arb(problem.N - n).log() - arb(tau)) + arb(1 - s) * arb(n - 1).log()
                if 0 < s < 1:  # 0 log 0 = 0; log1p, because s may be smaller than the precision
                    term -= arb(s) * arb(s).log() + arb(1 - s) * arb(-s).log1p()
                total += n * size * term
        return total


class OrthogonalFrame:
    """h_i = η_k e_k for the samples of class k."""

    def __init__(self, problem: Problem, value: Any) -> None:
        kind_of(value, "kind", ("orthogonal-frame",))
        self.problem = problem
        lengths = vector(fields_of(value, "kind lengths")["lengths"], len(problem.groups))
        self.lengths, self.bits = list(lengths), 2 * lengths.bits + problem.bits

    def check_admissible(self) -> None:
        """Show that H ≥ 0 and, under a bound, ‖h_i‖² ≤ τ."""
        if min(self.lengths) < 0:
            raise Refuted("a feature is negative")
        if self.problem.bound is not None and max(self.lengths) ** 2 > self.problem.bound:
            raise Refuted("a feature is longer than the bound")

    def objective(self) -> arb:
        """Enclose Σ n log(n − 1 + (N − n) e^{−η²/T}) over classes with anchors, plus λ_H/2 Σ n η² over all."""
        problem, total, squares = self.problem, arb(0), fmpq(0)
        problem.costs.spend(len(self.lengths), 5, self.bits, balls=5, precision=ctx.prec)
        for (n, size), eta in zip(problem.groups, self.lengths, strict=True):
            if n > 1:
                ratio = arb(fmpq(problem.N - n, n - 1)) * arb(-(eta**2) / problem.temperature).exp()
                total += n * size * (arb(n - 1).log() + ratio.log1p())
            squares += n * size * eta**2
        return total + arb(squares * (problem.lambda_h or 0) / 2)

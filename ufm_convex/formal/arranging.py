"""What a certificate says, arranged as the theory reads it: runs of classes, each with its numbers.

The theory numbers classes by runs. Where the proof speaks of groups of alike classes, classes are numbered by them,
which is the same problem, since the loss does not tell classes apart; where it takes classes one by one, they keep the
order of the certificate. Nothing here decides anything: Coq checks all of it, but for the problem and the claims.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any, NamedTuple

from ufm_convex.errors import OutOfReachError
from ufm_convex.formal.coq import Dyadic


class Run(NamedTuple):
    """Alike classes that are neighbours: samples and weight of each, the group of the proof, entries of the frame."""

    multiplicity: int
    samples: int
    weight: Dyadic
    group: int
    eta: int = 0
    omega: int = 0


class Problem:
    """The object ``problem`` of a certificate: runs of classes in class order, and the groups of the format."""

    def __init__(self, content: dict[str, Any]) -> None:
        name = loss_of(content["loss"])
        if name is None:
            raise out_of_reach(f"the loss {content['loss']['name']}")
        self.name = name
        if "targets" in content["loss"] and set(content["loss"]["targets"]) != _SQUARE:
            raise out_of_reach("a table of targets whose columns need not be classes")
        self.counts, self.multiplicities = _integers(content["class_counts"]), _integers(content["multiplicities"])
        given = content["class_weights"]
        self.weights = [Dyadic(1, 0)] * len(self.counts) if given is None else vector(given)
        self.bounded = "weight_radius" in content
        names = ("weight_radius", "feature_radius") if self.bounded else ("lambda_w", "lambda_h")
        self.sizes = dyadic(content[names[0]]), dyadic(content[names[1]])
        self.bias: str | None = content.get("bias")
        self.nonnegative = content["features"] == "nonnegative"
        self.feature_dim: int | None = content["feature_dim"]
        self.loss = content["loss"]
        runs = list(zip(self.counts, self.weights, self.multiplicities, strict=True))
        merged: Counter[tuple[int, int]] = Counter()
        for samples, weight, multiplicity in runs:
            if samples:
                merged[samples, weight.mantissa] += multiplicity
        self.empty = sum(m for samples, _, m in runs if not samples)
        unit, order = self.weights[0].exponent, sorted(merged, key=self._key)
        if len({self._key(pair) for pair in order}) < len(order):
            raise out_of_reach("classes of different counts that norm bounds take for alike")
        self.groups = [Run(merged[n, w], n, Dyadic(w, unit), g) for g, (n, w) in enumerate(order)]
        self.K = sum(self.multiplicities)
        self.N = sum(n * m for n, _, m in runs)
        self._place = {(run.samples, run.weight.mantissa): run.group for run in self.groups}

    def _key(self, pair: tuple[int, int]) -> tuple[int, int]:
        """By what the format sorts groups: under norm bounds a class is one sample, with its count in its weight."""
        samples, weight = pair
        return (1, samples * weight) if self.bounded else pair

    def classes(self) -> list[Run]:
        """Each class for itself, in class order; the group of those without samples is -1."""
        runs = zip(self.counts, self.weights, self.multiplicities, strict=True)
        return [Run(1, n, w, self._place.get((n, w.mantissa), -1)) for n, w, m in runs for _ in range(m)]

    def outputs(self) -> list[Run]:
        """The groups, after one of the classes without samples."""
        return [Run(self.empty, 0, Dyadic(1, 0), -1), *self.groups] if self.empty else self.groups

    def radius(self, run: Run, exponent: int, spent: tuple[Dyadic, Dyadic]) -> int:
        """⌊ρ⌋ of docs/slack_proofs.md, (7); for norm bounds and a free bias of docs/certificate_models.md."""
        load = fraction(run.weight) * run.samples
        if self.bounded:
            rho = fraction(spent[0]) * fraction(spent[1])
        else:
            rho = fraction(self.sizes[0]) * fraction(self.sizes[1]) * self.N**2 * run.samples
        return (rho / (1 if self.bias == "free" else load**2) / Fraction(4) ** exponent).__floor__()


def arranged(problem: Problem, dual: dict[str, Any], witness: dict[str, Any]) -> list[Run]:
    """The runs in which problem, dual point and witness of a certificate are written."""
    single = dual["kind"] == "dense"
    if witness["kind"] != "frame":
        return problem.classes() if single else problem.outputs()
    entries = _frame_entries(problem, witness)
    if single:
        waiting = [list(reversed([e for e in entries if e.group == g])) for g in range(len(problem.groups))]
        return [_taken(run, waiting) for run in problem.classes()]
    if dual["kind"] == "group" and len(entries) > len(problem.groups):
        raise out_of_reach("a proof by groups beside a frame that treats classes of a group differently")
    empty = [run for run in problem.outputs() if not run.samples]
    if dual["kind"] == "group":
        return [*empty, *entries]
    if problem.feature_dim is not None and problem.feature_dim < problem.K:
        entries.sort(key=lambda run: run.eta == 0)  # a frame of fewer dimensions leaves out the last classes
    return [*entries, *empty]


def _frame_entries(problem: Problem, witness: dict[str, Any]) -> list[Run]:
    """One run for the classes of a group that the frame treats alike."""
    merged: Counter[tuple[int, int, int]] = Counter()
    columns = (witness["groups"], witness["multiplicities"], witness["eta"]["integers"], witness["omega"]["integers"])
    for group, multiplicity, eta, omega in zip(*map(_integers, columns), strict=True):
        merged[group, eta, omega] += multiplicity
    return [problem.groups[g]._replace(multiplicity=m, eta=e, omega=o) for (g, e, o), m in sorted(merged.items())]


def _taken(run: Run, waiting: list[list[Run]]) -> Run:
    """A single class with the next entries of the frame that belong to its group."""
    if run.group < 0:
        return run
    entry = waiting[run.group].pop()
    if entry.multiplicity > 1:
        waiting[run.group].append(entry._replace(multiplicity=entry.multiplicity - 1))
    return run._replace(eta=entry.eta, omega=entry.omega)


def classes_by_run(problem: Problem, runs: list[Run]) -> list[int]:
    """The classes of the certificate, in the order in which runs take them."""
    waiting: dict[int, list[int]] = {}
    for k, single in enumerate(problem.classes()):
        waiting.setdefault(single.group, []).append(k)
    single_runs = all(run.multiplicity == 1 for run in runs)
    if single_runs and [run[:4] for run in runs] == [run[:4] for run in problem.classes()]:
        return list(range(problem.K))
    return [waiting[run.group].pop(0) for run in runs for _ in range(run.multiplicity)]


def out_of_reach(what: str) -> OutOfReachError:
    """The refusal of what no theory file is about."""
    return OutOfReachError(
        f"not within reach of --formal: {what}.",
        expected="a certificate of a kind that docs/formal_reach.md lists",
        fix="leave out --formal: the verifier checks it.",
    )


class LossName(NamedTuple):
    """A loss in Coq: the function of the statement, and the constructor by which computations know it."""

    function: str
    code: str


LOSSES = {
    "cross-entropy": LossName("cross_entropy", "CrossEntropy"),
    "soft-target-cross-entropy": LossName("soft_targets", "SoftTargets"),
    "logit-adjusted-cross-entropy": LossName("logit_adjusted", "LogitAdjusted"),
    "label-margin-cross-entropy": LossName("label_margins", "LabelMargins"),
    "mean-squared-error": LossName("squared_error", "SquaredError"),
    "binary-cross-entropy": LossName("binary_cross_entropy", "BinaryCrossEntropy"),
    "squared-hinge": LossName("squared_hinge", "SquaredHinge"),
    "crammer-singer": LossName("crammer_singer", "CrammerSinger"),
    "weston-watkins": LossName("weston_watkins", "WestonWatkins"),
}
"""The losses of the format, by name or, of those that have one, by kind."""


def loss_of(content: dict[str, Any]) -> LossName | None:
    """What the theory calls the loss of an object of the file."""
    return LOSSES.get(content.get("kind") or content.get("name") or "")


_SQUARE = {"exponent", "rows"}
"""How the format writes the soft target of each class; a table of other columns has lengths and places."""
MOST_EXPONENT = 1100
"""Of two, in absolute value: every binary64 number has one of less. Exponentials of longer numbers do not end."""


# -- numbers of the file, whose form the verifier has checked ----------------------------------------------------------


def _integers(text: str) -> list[int]:
    return list(map(int, text.split(" ")))


def vector(value: dict[str, Any]) -> list[Dyadic]:
    """Numbers with one exponent."""
    unit = exponent(value["exponent"])
    return [Dyadic(x, unit) for x in _integers(value["integers"])]


def matrix(texts: list[str]) -> list[list[int]]:
    """Rows of integers."""
    return [_integers(text) for text in texts]


def integers(text: str) -> list[int]:
    """Integers one space apart."""
    return _integers(text)


def dyadic(text: str) -> Dyadic:
    """The number <integer>p<exponent>."""
    mantissa, unit = text.split("p")
    return Dyadic(int(mantissa), exponent(int(unit)))


def exponent(number: int) -> int:
    """An exponent of two that is no longer than those of binary64."""
    if abs(number) > MOST_EXPONENT:
        raise out_of_reach(f"a power of two beyond {MOST_EXPONENT}")
    return number


def fraction(number: Dyadic) -> Fraction:
    """The number itself."""
    return number.mantissa * Fraction(2) ** number.exponent

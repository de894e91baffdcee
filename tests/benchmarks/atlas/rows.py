"""The kinds of rows: what is said, of what, who says it, and what a check of today makes of it.

Nothing is solved before a row's ``line`` is asked for: what is said can be compared with the page in no time.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import ufm_convex as ufm
from ufm_convex import solvers, theory

FREE = {"features": "free"}
TOLERANCE = 1e-6
"""Of the proved intervals, relative; a closed form may leave one by no more than a hundredth of that."""
ROUNDING = 1e-9
"""Relative to the larger side, for facts that are evaluated in binary64: sums of at most a few hundred terms."""


@dataclass(frozen=True)
class Row(ABC):
    """One row.

    Attributes:
        statement: What is said, in words.
        source: Who says it.
    """

    columns: ClassVar[str]
    """Titles of the columns between the statement and the source."""

    statement: str
    source: str

    @property
    @abstractmethod
    def said(self) -> tuple[str, ...]:
        """The cells that nothing has to be solved for: statement, hypotheses, instance."""

    @abstractmethod
    def found(self) -> tuple[str, ...]:
        """The other cells: numbers, then the verdict."""

    def line(self) -> str:
        """The row of the page."""
        return "| " + " | ".join([*self.said, *self.found(), self.source]) + " |"


@dataclass(frozen=True)
class Entry(Row):
    """A value that is said to be the minimum of a problem, or a bound of it, beside a proved interval.

    Attributes:
        problem: The instance.
        relation: How the value is said to stand to the minimum.
        value: What is said of the instance.
        bounds: The proved interval; by default that of a conic solver.
        hypotheses: What it asks for.
    """

    columns: ClassVar[str] = "hypotheses | instance | value | proved | verdict"

    problem: object
    relation: str
    value: Callable[[object], float]
    bounds: Callable[[object], tuple[float, float]]
    hypotheses: str = ""

    @property
    def said(self) -> tuple[str, ...]:
        """Statement, hypotheses, instance."""
        return self.statement, self.hypotheses or "–", described(self.problem)

    def found(self) -> tuple[str, ...]:
        """Value, interval, and what the one makes of the other."""
        value, (low, high) = self.value(self.problem), self.bounds(self.problem)
        shown = bold(verdict(self.relation, value, low, high))
        return f"{value:.10g}", f"{low:.10g} to {high:.10g}", shown


@dataclass(frozen=True)
class Threshold(Row):
    """Which classes collapse or merge, predicted and seen in a solution that knows no theorem.

    Attributes:
        problem: The instance.
        size: The threshold.
        predicted: Classes, or groups of classes, from the threshold.
        seen: The same in a solution.
        hypotheses: What it asks for.
    """

    columns: ClassVar[str] = "hypotheses | instance | threshold | predicted | seen | verdict"

    problem: object
    size: Callable[[object], float]
    predicted: Callable[[object, float], tuple]
    seen: Callable[[object], tuple]
    hypotheses: str = ""

    @property
    def said(self) -> tuple[str, ...]:
        """Statement, hypotheses, instance."""
        return self.statement, self.hypotheses or "–", described(self.problem)

    def found(self) -> tuple[str, ...]:
        """Threshold, both sets, and whether they are one."""
        size = self.size(self.problem)
        predicted, seen = self.predicted(self.problem, size), self.seen(self.problem)
        return f"{size:.6g}", str(predicted), str(seen), "tight" if predicted == seen else bold("refuted")


@dataclass(frozen=True)
class Limit(Row):
    """A number that is said to tend to another as the decays vanish.

    Attributes:
        instance: What it is said of, in words.
        decays: Of W and of H, falling.
        values: The numbers at these decays.
        limit: What they are said to tend to.
        within: How near the last one has to be.
    """

    columns: ClassVar[str] = "instance | decays | numbers | limit | verdict"

    instance: str
    decays: tuple[float, ...]
    values: Callable[[tuple[float, ...]], Sequence[float]]
    limit: Callable[[], float]
    within: float

    @property
    def said(self) -> tuple[str, ...]:
        """Statement, instance, decays."""
        return self.statement, self.instance, ", ".join(f"{decay:.0e}" for decay in self.decays)

    def found(self) -> tuple[str, ...]:
        """Numbers, limit, and whether the ones come nearer to the other, step by step."""
        values, limit = list(self.values(self.decays)), self.limit()
        shown = ", ".join(f"{value:.6g}" for value in values)
        return shown, f"{limit:.6g}", bold(approach(values, limit, self.within))


@dataclass(frozen=True)
class Fact(Row):
    """Two numbers, of which the first is said to be at most the second, or to equal it.

    Attributes:
        instance: What it is said of, in words.
        relation: "equal" or "at most".
        sides: Both numbers, in binary64.
        hypotheses: What it asks for.
    """

    columns: ClassVar[str] = "hypotheses | instance | left | | right | verdict"

    instance: str
    relation: str
    sides: Callable[[], tuple[float, float]]
    hypotheses: str = ""

    @property
    def said(self) -> tuple[str, ...]:
        """Statement, hypotheses, instance."""
        return self.statement, self.hypotheses or "–", self.instance

    def found(self) -> tuple[str, ...]:
        """Both sides with the sign that is said to be between them, and whether it is."""
        left, right = self.sides()
        sign = "=" if self.relation == "equal" else "≤"
        return f"{left:.6g}", sign, f"{right:.6g}", bold(compared(self.relation, left, right))


# -- verdicts ----------------------------------------------------------------------------------------------------------


def verdict(relation: str, value: float, low: float, high: float) -> str:
    """What the interval makes of a value that is said to be the minimum, or a bound of it."""
    slack = 0.01 * TOLERANCE * high
    over, under = value > high + slack, value < low - slack
    refuted = {"tight": over or under, "lower": over, "upper": under}[relation]
    return "refuted" if refuted else relation


def approach(values: Sequence[float], limit: float, within: float) -> str:
    """Whether numbers come nearer to a limit at each step, the last within so much: no proof, and no refutation."""
    distances = [abs(value - limit) for value in values]
    falling = all(later < earlier for earlier, later in itertools.pairwise(distances))
    return "approached" if falling and distances[-1] <= within else "not seen"


def compared(relation: str, left: float, right: float) -> str:
    """What two numbers in binary64 make of the sign between them; "tight" where they are equal to rounding."""
    slack = ROUNDING * max(abs(left), abs(right), 1e-300)
    if abs(left - right) <= slack:
        return "tight"
    return "upper" if relation == "at most" and left < right else "refuted"


def bold(word: str) -> str:
    """What does not hold stands out."""
    return f"**{word}**" if word in ("refuted", "not seen") else word


# -- what rows are made of ---------------------------------------------------------------------------------------------


def conic(problem: object) -> tuple[float, float]:
    """Both proved bounds from a conic solver's points."""
    found = ufm.solve(problem, solver="clarabel", tolerance=TOLERANCE)
    return found.lower_bound, found.upper_bound


def at_level(level: str) -> Callable[[object], tuple[float, float]]:
    """The same with the variables of another level."""

    def bounds(problem: object) -> tuple[float, float]:
        found = ufm.solve(problem, solver="clarabel", level=level, tolerance=TOLERANCE)
        return found.lower_bound, found.upper_bound

    return bounds


def closed(problem: object) -> tuple[float, float]:
    """Both proved bounds with B completely positive."""
    found = ufm.close_gap(problem, tolerance=TOLERANCE)
    return found.lower_bound, found.upper_bound


def relaxed(problem: object) -> float:
    """The value of the convex relaxation."""
    return ufm.solve(problem, solver="clarabel").value


def frame_value(problem: object) -> float:
    """The least objective of an orthogonal frame."""
    return next(iter(solvers.solver("frame").runs(problem, "class", 1e-9, {}))).value


def bound_value(problem: object) -> float:
    """What is left of a theorem one of whose hypotheses fails."""
    return theory.bound(problem).value


def described(problem: object) -> str:
    """The instance in a cell: counts, decays, loss or constraint with its parameters, and the kind of features."""
    content = {key: value for key, value in problem.content().items() if key not in ("model", "features")}
    counts = np.asarray(content.pop("class_counts")).tolist()
    loss, constraint = content.pop("loss", None), content.pop("constraint", None)
    words = [f"n = {', '.join(map(str, counts))}", *_parameters(content)]
    named = constraint or loss
    words += [] if named is None else [" ".join([named["name"], *_parameters({**named, "name": None})])]
    return "; ".join([*words, *([problem.features] if hasattr(problem, "features") else [])])


def _parameters(table: Mapping[str, object]) -> Iterator[str]:
    """Those that fit: numbers, words, and rows of at most six numbers."""
    for key, value in table.items():
        array = np.asarray(value)
        if isinstance(value, (bool, int, str)):
            yield f"{key} = {value}"
        elif value is not None and array.dtype.kind == "f" and array.ndim < 2 and array.size <= 6:
            yield f"{key} = {', '.join(f'{number:.4g}' for number in array.ravel().tolist())}"

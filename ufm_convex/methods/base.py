"""What a method is: how one kind of problem is solved and proved, without the loop around it.

A method yields *findings*, each with two proved bounds, each better or dearer than the last. What to do with them is
written once, in ``solving``: keep the best, say so, compare the bounds, stop in time. Methods are listed there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from ufm_convex import enclosure
from ufm_convex.enclosure import ProvedBound
from ufm_convex.errors import SolverDiedError
from ufm_convex.evidence import Bounds
from ufm_convex.problem import Model, Problem
from ufm_convex.solution import Outcome, Solution, Status
from ufm_convex.theory import Theorem, theorems_about

AUTO = "auto"
OVERDUE = "it was ended by the time limit"
"""What a run says that the limit has ended before it left anything."""

Progress = Callable[[str], None]
"""Receives one line of text when something begins or ends."""


class InnerSolve(Protocol):
    """``solve`` with the caller's solver, level and options."""

    def __call__(self, problem: Problem, *, tolerance: float) -> Solution:
        """The solution of another problem."""


class Proved(Protocol):
    """What evidence of every kind has: two proved bounds, and whether there was anything to prove them from."""

    @property
    def lower(self) -> ProvedBound:
        """Proved lower bound of the optimum."""

    @property
    def upper(self) -> ProvedBound:
        """Proved upper bound of the optimum."""

    @property
    def left_nothing(self) -> bool:
        """True when no solver left a point to work from."""


P = TypeVar("P", bound=Model)
E = TypeVar("E", bound=Proved)
S = TypeVar("S", bound=Outcome)


@dataclass(frozen=True)
class Settings:
    """How to solve, as the caller of ``solve`` has asked for it, checked.

    Attributes:
        tolerance: Relative gap at which a solution counts as certified.
        inner: Solves another problem with the same solver, level and options, and in the time that is left.
        solver: "auto" or a name of the registry.
        level: "auto" or a name.
        options: Options of the solver.
    """

    tolerance: float
    inner: InnerSolve
    solver: str = AUTO
    level: str = AUTO
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Finding(Generic[E]):
    """One piece of evidence about the optimum.

    Attributes:
        evidence: Admissible points and the two bounds that they prove.
        line: What was tried, why, and what came of it, in words: a line of the route.
        estimates: Numbers for the optimal value, best first; the first finite one is reported, moved into the bounds.
    """

    evidence: E
    line: str
    estimates: tuple[float | None, ...] = ()


class Method(ABC, Generic[P, E, S]):
    """How one kind of problem is solved, proved and written."""

    name: ClassVar[str]
    kind: ClassVar[type[Model]]
    """The class of its problems."""

    @classmethod
    def accepts(cls, problem: object) -> bool:
        """Whether the problem is of this kind; of the methods that accept one, the first in the list takes it."""
        return isinstance(problem, cls.kind)

    @abstractmethod
    def check(self, problem: P, settings: Settings) -> None:
        """Raise what can be known before any work: a name, a level or a form that this kind of problem has not.

        Raises:
            UnknownNameError: no such solver or level for this kind of problem.
            SizeError: the problem is too large for the level.
            HypothesisError: nothing here solves such a problem.
        """

    def require_solver(self, problem: P, settings: Settings) -> None:
        """Raise ``SizeError`` where no solver would be tried, for who will solve a problem that ``check`` takes later.

        ``evidence`` says the same as it begins, so nobody asks who solves at once. Here: nothing is refused.
        """

    @abstractmethod
    def evidence(self, problem: P, settings: Settings, tell: Progress) -> Iterator[Finding[E]]:
        """Findings, made one by one as they are asked for; the caller stops when it has enough.

        A solver that dies or is ended by the time limit (``OutOfTime``) has made a finding that left nothing; its death
        is raised when there is nothing else to try.

        Args:
            problem: A problem that ``accepts`` takes and ``check`` has let through.
            settings: How to solve it.
            tell: Receives one line of text when something begins.

        Raises:
            SolverDiedError: a solver ran out of memory or its process ended.
            RangeError: the numbers of the problem leave the range of binary64.
        """

    @abstractmethod
    def solution(self, problem: P, finding: Finding[E], value: float, status: Status, tolerance: float) -> S:
        """The finding as a solution, without route and time."""

    def theorems(self, problem: P) -> tuple[Theorem, ...]:
        """The theorems that may give the problem's optimum in closed form."""
        return theorems_about(problem)

    @abstractmethod
    def bounds(self, solution: S, proof: enclosure.Proof) -> Bounds:
        """Both bounds of a solution with the exact points behind them, the lower one by the proof that is asked for.

        Raises:
            HypothesisError: the solution has no proof of that kind.
        """


def out_of_memory(name: str) -> SolverDiedError:
    """The error for a solver whose ``MemoryError`` arrived as an exception."""
    return SolverDiedError(
        f"solver {name!r} ran out of memory.",
        expected="memory for its programme",
        fix="give it more, or choose a smaller level or another solver.",
    )

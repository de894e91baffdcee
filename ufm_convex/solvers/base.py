"""What a solver is, and what a run of one reports: points and claims, none of them believed.

A solver yields *runs*, each more accurate and more expensive than the last; the caller stops when the certified gap
is reached. Solvers are discovered in this folder, one file each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from ufm_convex._given import require_known
from ufm_convex.errors import ProblemError
from ufm_convex.losses import traits
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Dual, DualPoint, Factors, FrameDual, FramePoint, Gram, GramPoint


class Claim(StrEnum):
    """What a solver says of its own run. An explicit map takes each solver's words here; nothing is parsed."""

    OPTIMAL = "optimal"
    INACCURATE = "inaccurate"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class SolverRun:
    """One run of one solver.

    Attributes:
        solver: Registry name.
        level: Level of the variables.
        claim: What the solver says of itself.
        message: Its own words.
        point: Primal point at class level, as full arrays, as factors, or on orbits of alike classes; None when it left
            none.
        dual: Dual point as the solver left it, unrepaired, likewise.
        factors: W, class-mean features H and b, where the solver works on them; else None.
        value: Optimal value the solver reports, or None.
        dual_value: Dual objective the solver reports, or None.
        accuracy: The accuracy it was asked for; None where it was asked for none, or by options of its own.
        iterations: Iterations it reports, or None.
        within_class_variability: λ_H/2 Σ ‖h_i − h̄‖² at its own level, or None where the level has no samples.
        seconds: Wall time, modelling included.
        continued_by: Registry name of the solver whose method goes on from the points, where the solver itself refuses
            them: a refused frame is where a descent on W and H starts.
    """

    solver: str
    level: str
    claim: Claim
    message: str
    point: GramPoint | FramePoint | Gram | Factors | None = None
    dual: DualPoint | FrameDual | Dual | None = None
    factors: Factors | None = None
    value: float | None = None
    dual_value: float | None = None
    accuracy: float | None = None
    iterations: int | None = None
    within_class_variability: float | None = None
    seconds: float = field(default=0.0)
    continued_by: str | None = None


class Solver(ABC):
    """One solver of the registry.

    Asked of a subclass: ``name``, ``levels`` and ``rank``; ``installed``; ``suits``, which is None where "auto" is to
    leave it out; and ``runs``, which yields ``SolverRun``: points, as good as it has them, and what it claims. Nothing
    of that is believed. Each run is repaired and proved by whoever asked, so a solver neither certifies nor checks
    itself; a dual point, of which residuals are enough, is what a lower bound is made of. What a loss must be is said
    in ``needs``, not tested in ``runs``.
    """

    name: ClassVar[str]
    levels: ClassVar[tuple[str, ...]]
    """Levels whose programme it can solve, the default one first."""
    rank: ClassVar[int]
    """Place in the order in which "auto" tries solvers, cheapest first."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What a loss must be, by the names of its traits (``losses.traits``); any other loss is refused."""
    instead: ClassVar[str] = "use a conic solver."
    """What to do about a loss that is refused."""

    in_process: ClassVar[bool] = False
    """Whether it stays in this process even where solvers are isolated: it runs no compiled code but NumPy's and
    SciPy's, whose failures are exceptions."""

    long_steps: ClassVar[bool] = False
    """Whether a step on a large problem takes seconds, in which nobody looks at the clock: under a time limit it then
    runs in a process, which can be ended, though it is ``in_process``."""

    @classmethod
    @abstractmethod
    def installed(cls) -> bool:
        """Whether its package can be imported."""

    def lacks(self, problem: Problem) -> str | None:
        """What the solver needs of a loss and the problem's does not have, in words; or None."""
        return traits.lacks(problem.loss, self.needs)

    def require(self, problem: Problem) -> None:
        """Raise ``HypothesisError`` unless the problem's loss is what the solver needs."""
        traits.require(problem.loss, self.needs, fix=self.instead)

    def priority(self, problem: Problem, level: str) -> int:
        """Place in the order for this problem and level; ``rank`` unless the problem changes what is cheap."""
        return self.rank

    def default_level(self, problem: Problem) -> str:
        """The level that it takes for this problem when the level is "auto"."""
        return self.levels[0]

    def options(self) -> tuple[str, ...]:
        """Names of the options that ``runs`` takes; none unless a solver says so."""
        return ()

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ``ProblemError`` for an option that the solver does not have, before any work."""
        require_known(options, self.options(), f"solver {self.name!r} option", ProblemError)

    @abstractmethod
    def suits(self, problem: Problem, level: str) -> str | None:
        """Why "auto" should try this solver for the problem at the level ("auto" or a name), or None."""

    @abstractmethod
    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """Runs of increasing accuracy, the last as accurate as this solver gets.

        Args:
            problem: The problem.
            level: One of ``levels``.
            tolerance: Relative gap that is wanted.
            options: Options of the solver that ``check_options`` has let through; they go before its own.

        Raises:
            SizeError: the level is too large, before any solving.
        """

"""Conic solvers through cvxpy: build the scaled programme of a level, solve, read back both points.

A conic solver is one file that subclasses ``ConicSolver`` and states its package, its status map and its schedule of
accuracies. The status map is total over cvxpy's documented statuses; a word outside it counts as a failure.
"""

from __future__ import annotations

import importlib.util
import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from ufm_convex import _deadline, relaxation
from ufm_convex.errors import ProblemError, shown
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Level, Programme
from ufm_convex.solvers.base import Claim, Solver, SolverRun

if TYPE_CHECKING:
    import cvxpy as cp

STATUS_MAP: Mapping[str, Claim] = {
    "optimal": Claim.OPTIMAL,
    "optimal_inaccurate": Claim.INACCURATE,
    "infeasible": Claim.INFEASIBLE,
    "infeasible_inaccurate": Claim.INFEASIBLE,
    "infeasible_or_unbounded": Claim.INFEASIBLE,
    "unbounded": Claim.UNBOUNDED,
    "unbounded_inaccurate": Claim.UNBOUNDED,
    "user_limit": Claim.STOPPED,
    "solver_error": Claim.FAILED,
}

_SMALL = 20
"""Number of classes up to which class level takes no longer than building a programme."""


class _Panics(AbstractContextManager[None]):
    """A panic of a solver written in Rust becomes a ``RuntimeError``: it arrives as no subclass of ``Exception``."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Every extension module has a type of its own for it, which cannot be imported: it is known by its name."""
        if kind is not None and kind.__name__ == "PanicException":
            raise RuntimeError(f"it panicked: {error}") from error


@dataclass(frozen=True)
class Attempt:
    """What a solver says of its work on a programme, whose variables hold what it left.

    Attributes:
        accuracy: The accuracy it was asked for; None where options say that.
        claim: What it says of itself.
        message: Its own words.
        seconds: Wall time.
    """

    accuracy: float | None
    claim: Claim
    message: str
    seconds: float


class ConicSolver(Solver):
    """A solver that cvxpy drives."""

    package: ClassVar[str]
    cvxpy_name: ClassVar[str]
    accuracies: ClassVar[tuple[str, ...]]
    """Its options that say how accurate a run is."""
    levels: ClassVar[tuple[str, ...]] = ("class", "group", "sample")
    largest_order: ClassVar[int]
    """Largest order of the Gram matrix for which "auto" tries it."""
    time_option: ClassVar[str | None] = None
    """Its own option for a time limit in seconds, if it has one."""
    group_rank: ClassVar[int]
    """``rank`` at group level."""
    largest_group_order: ClassVar[int]
    """The same at group level, where rough points suffice and first-order solvers overtake early."""

    @classmethod
    def installed(cls) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(cls.package) is not None

    def default_level(self, problem: Problem) -> str:
        """Group level where it halves the order of a Gram matrix that is not small anyway, else class level."""
        worth_it = problem.num_classes > _SMALL and problem.loss.alike
        return "group" if worth_it and 2 * relaxation.num_groups(problem) <= problem.num_classes else "class"

    def priority(self, problem: Problem, level: str) -> int:
        """At group level a conic solver comes before those whose cost grows with K."""
        return self.group_rank if self._level(problem, level) == "group" else self.rank

    def _level(self, problem: Problem, level: str) -> str:
        return self.default_level(problem) if level == "auto" else level

    def suits(self, problem: Problem, level: str) -> str | None:
        """A Gram matrix that is not too large for the solver nor for the level."""
        chosen = relaxation.level(self._level(problem, level))
        order = chosen.gram_order(problem)
        largest = self.largest_group_order if chosen.name == "group" else self.largest_order
        if order > min(largest, chosen.gram_limit):
            return None
        return f"a Gram matrix of order {order} fits at {chosen.name} level"

    def check_options(self, options: Mapping[str, Any]) -> None:
        """See ``Solver.check_options``; values are shown to the solver on a programme of one variable."""
        super().check_options(options)
        if not options:
            return
        import cvxpy as cp

        x = cp.Variable()
        try:
            with warnings.catch_warnings(), _Panics():
                warnings.simplefilter("ignore")  # about accuracy, which is not asked here
                self._solve(cp.Problem(cp.Minimize(x), [x >= 1.0]), options)
        except cp.SolverError:  # it took the options, and stopped early as they say
            return
        except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise ProblemError(
                f"solver {self.name!r} refuses the options {shown(dict(options))}: {said}.",
                expected="values of the types and in the ranges that its documentation gives",
                fix="correct that value, or leave the option out.",
            ) from error

    @abstractmethod
    def schedule(self, level: str) -> Iterator[tuple[float, dict[str, Any]]]:
        """Pairs (accuracy, options of the solver) for a level, from loose to tight."""

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """See ``Solver.runs``; later runs start where the earlier ones ended, where the solver can."""
        chosen = relaxation.level(level)
        chosen.check_size(problem)
        programme = relaxation.programme(chosen(problem))
        for attempt in self.attempts(programme.problem, level, options):
            yield self._run(problem, chosen, programme, attempt)

    def attempts(self, problem: cp.Problem, level: str, options: Mapping[str, Any]) -> Iterator[Attempt]:
        """The schedule of a level on a programme of any kind; ``options`` go before its own.

        A run that would be the last one over again, since options leave nothing of the schedule, is not made where
        that one says that it came to its end.
        """
        last, own = None, any(name in options for name in self.accuracies)
        for accuracy, settings in self.schedule(level):
            given = {**settings, **options}
            if last is not None and last == (Claim.OPTIMAL, given):
                return
            claim, message, seconds = self.attempt(problem, given)
            yield Attempt(None if own else accuracy, claim, message, seconds)
            last = claim, given

    def interrupted(self, raw: Any) -> bool:
        """Whether the solver's raw result says that it caught Ctrl-C itself."""
        return False

    def attempt(self, problem: cp.Problem, options: Mapping[str, Any]) -> tuple[Claim, str, float]:
        """Let the solver work on a programme of any kind: its claim, its own words, and the seconds that it took."""
        import cvxpy as cp

        options = self._in_time(options)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "may be inaccurate": nothing is believed anyway
            try:
                with _Panics():
                    self._solve(problem, options)
                status = message = str(problem.status)
            except (cp.SolverError, ArithmeticError, ValueError, TypeError, RuntimeError) as error:
                status, message = "solver_error", str(error) or "solver_error"
        return STATUS_MAP.get(status, Claim.FAILED), message, time.perf_counter() - started

    def _in_time(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options with what is left of the time limit, where there is one and the solver can be told."""
        _deadline.check()
        left = _deadline.remaining()
        if self.time_option is None or math.isinf(left):
            return options
        return {**options, self.time_option: min(left, options.get(self.time_option, left))}

    def check_order(self, order: int) -> None:
        """Raise ``SizeError`` where a positive semidefinite matrix of that order is too large for the solver."""
        return

    def _solve(self, problem: cp.Problem, options: Mapping[str, Any]) -> None:
        """``problem.solve`` in its three steps, with a look at the raw result, which cvxpy does not hand out."""
        settings = dict(options)
        verbose = settings.pop("verbose", False)  # an argument of its own in cvxpy
        data, chain, inverse = problem.get_problem_data(self.cvxpy_name, solver_opts=settings)
        raw = chain.solve_via_data(problem, data, warm_start=True, verbose=verbose, solver_opts=settings)
        if self.interrupted(raw):
            raise KeyboardInterrupt
        problem.unpack_results(raw, chain, inverse)

    def _run(
        self,
        problem: Problem,
        level: Level,
        programme: Programme,
        attempt: Attempt,
    ) -> SolverRun:
        """What an attempt has left in the programme."""
        claim, message = attempt.claim, attempt.message
        if claim is Claim.FAILED:
            return SolverRun(self.name, level.name, claim, message, accuracy=attempt.accuracy, seconds=attempt.seconds)
        point, dual = programme.primal(), programme.dual()
        own_value = None if dual is None else programme.dual_value(dual)
        statistics, kappa = programme.problem.solver_stats, programme.objective_scale
        reported = dual_objective(programme.problem)
        return SolverRun(
            solver=self.name,
            level=level.name,
            claim=claim,
            message=message,
            point=None if point is None else level.reported(problem, point),
            dual=None if dual is None else level.reported_dual(problem, dual),
            value=None if programme.problem.value is None else kappa * float(programme.problem.value),
            dual_value=own_value if reported is None else kappa * reported,
            accuracy=attempt.accuracy,
            iterations=None if statistics is None else statistics.num_iters,
            within_class_variability=None if point is None else level.within_class_variability(problem, point),
            seconds=attempt.seconds,
        )


def dual_objective(solved: cp.Problem) -> float | None:
    """The dual objective that the solver states, in the units of the problem's value; None where it states none.

    It is ``dobj`` of the info that SCS returns; those of other solvers do not get through cvxpy.

    cvxpy keeps the constant of an objective from the solver and adds it to the value alone: it is what is between the
    value and ``pobj``.
    """
    extra = None if solved.solver_stats is None else solved.solver_stats.extra_stats
    info = extra.get("info", {}) if isinstance(extra, dict) else {}
    primal, dual = info.get("pobj"), info.get("dobj")
    if primal is None or dual is None or solved.value is None:
        return None
    found = float(dual) + (float(solved.value) - float(primal))
    return found if math.isfinite(found) else None

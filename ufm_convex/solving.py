"""From a problem to its optimum, with the evidence: the main entry of the package, and the only loop.

    problem → method → findings, ever better → the best of them, its bounds proved

How a kind of problem is solved is its method's affair; ``METHODS`` lists them. What is written here is written once:
findings are taken until two proved bounds are within the tolerance of each other, the best is kept with the route that
led to it, bounds that contradict each other are an error, and Ctrl-C or the time limit ends the work with the best
bounds so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ufm_convex import _deadline, _given, solvers
from ufm_convex._deadline import OutOfTime
from ufm_convex._files import parse_toml, read_text
from ufm_convex._process import isolation
from ufm_convex.contrastive import Contrastive
from ufm_convex.errors import ProblemError, RangeError, SolverDiedError, SolverError, shown
from ufm_convex.losses import traits
from ufm_convex.methods import AUTO, OVERDUE, Direct, Finding, Method, NormBalls, Progress, Settings
from ufm_convex.problem import Model, Problem
from ufm_convex.solution import INTERRUPTED, TIME_LIMIT, Outcome, Solution, Status, capped, status_of

if TYPE_CHECKING:
    from ufm_convex.positivity.gap_closure import GapClosure

METHODS: tuple[Method[Any, Any, Any], ...] = (NormBalls(), Contrastive(), Direct())
"""How problems are solved; of those that accept a problem the first takes it."""

BELOW_BINARY64 = "the optimum lies below 2.3e-308, where binary64 ends: its bounds say no more than that"
"""The last line of the route where that is why no relative gap is proved."""

_SMALLEST_NORMAL = 2.0**-1022


@overload
def solve(
    problem: Problem,
    *,
    solver: str = ...,
    level: str = ...,
    tolerance: float = ...,
    time_limit: float | None = ...,
    options: Mapping[str, Any] | None = ...,
    isolate: bool = ...,
    progress: Progress | None = ...,
) -> Solution: ...
@overload
def solve(
    problem: object,
    *,
    solver: str = ...,
    level: str = ...,
    tolerance: float = ...,
    time_limit: float | None = ...,
    options: Mapping[str, Any] | None = ...,
    isolate: bool = ...,
    progress: Progress | None = ...,
) -> Any: ...
def solve(
    problem: object,
    *,
    solver: str = AUTO,
    level: str = AUTO,
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    options: Mapping[str, Any] | None = None,
    isolate: bool = False,
    progress: Progress | None = None,
) -> Any:
    """The global optimum of a problem, with proved bounds.

    Args:
        problem: The problem, of any kind (``Problem``, ``ContrastiveProblem``); norm bounds are solved through problems
            with penalties (``ufm_convex.methods``).
        solver: "auto" or a name of the registry ("clarabel", "scs", "theory").
        level: "auto", "group", "class" or "sample". Only "auto" for both solver and level lets the closed form stand
            in.
        tolerance: Relative gap at which the solution counts as certified, > 0. Where the problem has a floor (soft
            targets, label smoothing), relative to the excess over it: see ``Solution.status``.
        time_limit: Seconds, > 0, after which the best proved bounds so far are the result, with the status that they
            earn; None for no limit. Solvers of compiled code then run in a process of their own, whose start of about a
            second counts, and which is ended at the limit. What runs here (closed forms, descents, proofs) looks at
            the clock between steps; the run that is at hand is still proved, and so the limit may be exceeded by that.
        options: Options of the solver, by its own names; needs an explicit solver. They go before its schedule.
        isolate: Run solvers of compiled code in a process of their own, so that an allocation that fails inside one, or
            any other death, is an error here and not the end of this process. Problem and solver are pickled. Closed
            forms and what NumPy does start no process.
        progress: Called with one line of text when something begins or ends.

    Returns:
        The solution, of the problem's kind. Its status says whether the tolerance was reached; its bounds are proved in
        any case.

    Raises:
        ProblemError: the tolerance is not a number in (0, 1), the time limit none > 0, options are given without a
            solver, or the solver has no option of that name or refuses its value.
        UnknownNameError: no such solver or level, or the solver does not solve at that level.
        SolverNotInstalledError: the solver's package cannot be imported.
        SizeError: the problem is too large for the level.
        HypothesisError: ``solver="theory"`` and no theorem holds; or the problem has a bias or a constraint that
            nothing here solves.
        SolverDiedError: the solver ran out of memory or, isolated, its process ended, and no other run left bounds;
            with "auto" the route says so and the next solver is tried.
        ProcessError: with ``isolate`` or a time limit, the problem or the solver cannot be pickled, or no process
            can be started.
        RangeError: λ_W λ_H n leaves the range of binary64, and no closed form and no frame proves the optimum.
    """
    settings, method = _prepared(problem, solver, level, tolerance, options)
    seconds = None if time_limit is None else _given.seconds("time_limit", time_limit)
    with isolation(isolate or seconds is not None), _deadline.limited(seconds):
        method.check(problem, settings)
        found = _loop(method, problem, settings, progress or (lambda _: None))
    return replace(capped(_explained(found)), time_limit=seconds)


def require_solvable(problem: object) -> None:
    """Raise what ``solve`` would raise of a problem before any work, for who will solve it later.

    Raises:
        ProblemError: it is no problem.
        SizeError: no solver takes it.
        HypothesisError: nothing here solves such a problem.
    """
    settings, method = _prepared(problem, AUTO, AUTO, 1e-6, None)
    method.check(problem, settings)
    method.require_solver(problem, settings)


def method_of(problem: object) -> Method[Any, Any, Any]:
    """The method that takes a problem.

    Raises:
        ProblemError: it is no problem.
    """
    for method in METHODS:
        if method.accepts(problem):
            return method
    raise ProblemError(
        f"problem is {shown(problem)}.",
        expected="an ufm_convex.Problem",
        fix="make one with Problem(class_counts, …).",
    )


def load_problem(path: str | Path) -> Model:
    """The problem in a TOML file, of the kind that its key ``model`` says; a ``Problem`` where it has none.

    Raises:
        FileFormatError: the file cannot be read, is not TOML, or has other keys than problems of its kind.
        UFMError: as the class of the problem for values out of range.
    """
    fix = "compare with docs/problem_file.md, or write one with Problem.save."
    table = parse_toml(read_text(path), str(path), ("class_counts", "lambda_w", "lambda_h"), fix)
    kinds = {method.kind.MODEL: method.kind for method in METHODS}
    return kinds.get(table.get("model"), Problem).from_content(table, source=str(path))


def _prepared(
    problem: object, solver: str, level: str, tolerance: float, options: Mapping[str, Any] | None
) -> tuple[Settings, Method[Any, Any, Any]]:
    """The settings, checked, and the method that takes the problem."""
    tolerance = check_settings(solver, tolerance, options)
    inner = partial(solve, solver=solver, level=level, options=options)
    return Settings(tolerance, inner, solver, level, dict(options or {})), method_of(problem)


# -- the loop -----------------------------------------------------------------------------------------------------


@dataclass
class _Best:
    """The best solution so far, the route to it, and what all findings together say of the optimum."""

    method: Method[Any, Any, Any]
    problem: Any
    tolerance: float
    solution: Outcome | None = None
    route: list[str] = field(default_factory=list)
    low: float = -math.inf
    high: float = math.inf

    @property
    def nothing(self) -> bool:
        """Whether no finding has left bounds that are more than trivial."""
        return self.solution is None or self.solution.status is Status.FAILED

    @property
    def certified(self) -> bool:
        """Whether the tolerance is reached."""
        return self.solution is not None and self.solution.status is Status.CERTIFIED

    @property
    def overdue(self) -> bool:
        """Whether the time limit has passed, or has ended a solver to leave time for another's proof."""
        return _deadline.passed() or any(OVERDUE in line for line in self.route)

    def _fault(self) -> str:
        """Whose fault bounds are that contradict each other."""
        loss = getattr(self.problem, "loss", None)
        if loss is not None and traits.foreign(loss):
            return (
                f"this is a fault of the loss {loss.name!r}, whose values and conjugates make both bounds: see "
                "ufm_convex.testing.assert_loss_is_consistent."
            )
        return "this is a fault of ufm-convex: please report the problem and the solver."

    def add(self, finding: Finding[Any]) -> None:
        """Take a finding into account; raises ``SolverError`` where its bounds contradict those that are proved."""
        self.low = max(self.low, finding.evidence.lower.value)
        self.high = min(self.high, finding.evidence.upper.value)
        if self.low > self.high:  # impossible unless a proof is unsound, and then nothing here may be called certified
            raise SolverError(
                f"the proved bounds contradict each other: {self.low!r} > {self.high!r}.",
                expected="a lower bound that is at most the upper bound",
                fix=self._fault(),
            )
        found = judged(self.method, self.problem, finding, self.tolerance)
        # whole: a bound without its witness would not be evidence
        if self.solution is None or _merit(found) <= _merit(self.solution):
            self.solution = found
        self.route.append(finding.line)


def _loop(method: Method[Any, Any, Any], problem: Any, settings: Settings, tell: Progress) -> Any:
    """The best of a method's findings."""
    started = time.perf_counter()
    best = _Best(method, problem, settings.tolerance)
    try:
        # absurd decays overflow; what comes of it is judged in exact arithmetic, so there is nothing to warn of
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for finding in method.evidence(problem, settings, tell):
                best.add(finding)
                tell(finding.line)
                if best.certified or _deadline.passed():
                    break
    except KeyboardInterrupt:
        if best.solution is None:
            raise
        best.route.append(INTERRUPTED)
    except OutOfTime:  # between two findings
        if best.solution is None:
            raise _too_short() from None
    except (SolverDiedError, RangeError) as error:
        if best.nothing:
            raise
        best.route.append(f"stopped: {error.got}")
    if best.solution is None:
        raise SolverError(
            "no solver made a run.",
            expected="a solver for which the problem is not too large at this level",
            fix="let the level be 'auto', or name a solver.",
        )
    if best.overdue and not best.certified and INTERRUPTED not in best.route:
        best.route.append(TIME_LIMIT)
    return replace(best.solution, route=tuple(best.route), seconds=time.perf_counter() - started)


def judged(method: Method[Any, Any, Any], problem: Any, finding: Finding[Any], tolerance: float) -> Any:
    """A finding becomes a solution: its status follows from its two bounds, and its value lies between them."""
    found = finding.evidence
    low, high = found.lower.value, found.upper.value
    status = status_of(problem.floor, low, high, found.left_nothing, tolerance)
    return method.solution(problem, finding, within(low, high, *finding.estimates), status, tolerance)


def within(low: float, high: float, *estimates: float | None) -> float:
    """The first finite estimate, moved into the proved interval; without any its upper end, which is attained."""
    finite = (one for one in estimates if one is not None and math.isfinite(one))
    return min(max(next(finite, high), low), high)


def _merit(solution: Any) -> tuple[float, bool, float]:
    """The smaller the better: the gap; of equal ones, what left something before what left nothing; the upper bound."""
    return solution.relative_gap, solution.status is Status.FAILED, solution.upper_bound


def _too_short() -> SolverError:
    return SolverError(
        "nothing was proved within the time limit.",
        expected="time for one run of a solver",
        fix="give it more time, or choose a smaller level or another solver.",
    )


def _explained(solution: Any) -> Any:
    """The solution, with a line that says why bounds below the range of binary64 stay apart."""
    vanishing = 0.0 <= solution.lower_bound < solution.upper_bound < _SMALLEST_NORMAL
    if not vanishing or solution.status is Status.CERTIFIED or solution.interrupted:
        return solution
    return replace(solution, route=(*solution.route, BELOW_BINARY64))


def close_gap(problem: Problem | Solution, *, tolerance: float = 1e-6) -> GapClosure[Solution]:
    """Proved bounds of the problem with B completely positive, not only doubly non-negative.

    Args:
        problem: A problem with non-negative features and at most 20 classes with samples, or different columns of a
            table; or its solution, whose bounds are taken where they are better.
        tolerance: Relative gap that is wanted, in (0, 1); where targets have a floor, relative to the excess.

    Returns:
        The bounds, W and H, and the verdict on the relaxation's Gram matrix. For a differentiable loss they meet up
        to rounding, as a rule; what is reported is proved in any case.

    Raises:
        ProblemError: ``problem`` is neither of the two, or the tolerance is out of range.
        HypothesisError: features are free; the relaxation is then exact.
        SizeError: more than 20 classes have samples, or a table has more than 20 different columns.
        SolverNotInstalledError: Clarabel cannot be imported.
    """
    from ufm_convex.positivity.gap_closure import check, closed_gap

    given = problem if isinstance(problem, Solution) else None
    return closed_gap(check(given.problem if given else problem), given, _given.tolerance(tolerance), solve)


# -- arguments ----------------------------------------------------------------------------------------------------


def check_settings(solver: str, tolerance: float, options: Mapping[str, Any] | None) -> float:
    """The tolerance as binary64.

    Raises:
        ProblemError: it is outside (0, 1), options are given that no solver is named for, or the solver has no option
            of that name or refuses its value.
    """
    number = _given.tolerance(tolerance)
    if options is not None and not isinstance(options, Mapping):
        raise ProblemError(
            f"options is {shown(options)}.",
            expected="a mapping from names to values",
            fix="pass for example {'max_iters': 100} for solver 'scs'.",
        )
    if options and solver == AUTO:
        raise ProblemError(
            f"the options {', '.join(map(str, options))} are given for solver 'auto'.",
            expected="an explicit solver",
            fix="name the solver they are meant for.",
        )
    if options:
        solvers.solver(solver).check_options(options)
    return number

"""From a problem to its optimum, with the evidence: the main entry of the package.

    counts → programme at a level → solver → both points → repaired dual → recovered factors → proved bounds

``solve`` believes no solver. Whatever one returns, the dual point is repaired and its slack proved (a lower bound of
the optimum), W and H are recovered from the Gram matrix and their objective enclosed (an upper bound), and ``status``
is "certified" only when these two proved numbers are within the tolerance of each other. Runs of increasing accuracy
are taken until then; the best bounds of all runs are kept.

``solve`` takes every kind of problem that has registered with ``solve_kind``; what is written here is that of
``Problem``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial, singledispatch
from typing import Any, overload

import numpy as np

from ufm_convex import _given, evidence, methods, relaxation, solvers
from ufm_convex._process import apart, isolation
from ufm_convex.errors import (
    ProblemError,
    RangeError,
    SizeError,
    SolverDiedError,
    SolverError,
    UFMError,
    UnknownNameError,
    shown,
)
from ufm_convex.evidence import Evidence
from ufm_convex.positivity.gap_closure import GapClosure, check, closed_gap
from ufm_convex.problem import Problem
from ufm_convex.solution import INTERRUPTED, Solution, Status
from ufm_convex.solvers import Claim, Solver, SolverRun

AUTO = "auto"
BELOW_BINARY64 = "the optimum lies below 2.3e-308, where binary64 ends: its bounds say no more than that"
"""The last line of the route where that is why no relative gap is proved."""

_SMALLEST_NORMAL = 2.0**-1022
_RANGE = 960
"""Base-2 logarithms of σ² beyond which its products with numbers of moderate size overflow or vanish."""
Progress = Callable[[str], None]
"""Receives one line of text when something begins or ends."""


@overload
def solve(
    problem: Problem,
    *,
    solver: str = ...,
    level: str = ...,
    tolerance: float = ...,
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
        tolerance: Relative gap at which the solution counts as certified, > 0.
        options: Options of the solver, by its own names; needs an explicit solver. They go before its schedule.
        isolate: Run solvers of compiled code in a process of their own, so that an allocation that fails inside one, or
            any other death, is an error here and not the end of this process. Problem and solver are pickled. Closed
            forms and what NumPy does start no process.
        progress: Called with one line of text when something begins or ends.

    Returns:
        The solution, of the problem's kind. Its status says whether the tolerance was reached; its bounds are proved in
        any case.

    Raises:
        ProblemError: the tolerance is not a number in (0, 1), options are given without a solver, or the solver has no
            option of that name or refuses its value.
        UnknownNameError: no such solver or level, or the solver does not solve at that level.
        SolverNotInstalledError: the solver's package cannot be imported.
        SizeError: the problem is too large for the level.
        HypothesisError: ``solver="theory"`` and no theorem holds; or the problem has a bias or a constraint that
            nothing here solves.
        SolverDiedError: the solver ran out of memory or, isolated, its process ended, and no other run left bounds;
            with "auto" the route says so and the next solver is tried.
        ProcessError: with ``isolate``, the problem or the solver cannot be pickled, or no process can be started.
        RangeError: λ_W λ_H n leaves the range of binary64, and no closed form and no frame proves the optimum.
    """
    tolerance = check_settings(solver, tolerance, options)
    with isolation(isolate):
        found = solve_kind(problem, solver=solver, level=level, tolerance=tolerance, options=options, progress=progress)
    return _explained(found) if isinstance(found, Solution) else found


def _explained(solution: Solution) -> Solution:
    """With a line of the route that says why the bounds of a vanishing optimum stay apart."""
    vanishing = 0.0 <= solution.lower_bound < solution.upper_bound < _SMALLEST_NORMAL
    if not vanishing or solution.status is Status.CERTIFIED or solution.interrupted:
        return solution
    return replace(solution, route=(*solution.route, BELOW_BINARY64))


@singledispatch
def solve_kind(problem: object, **settings: Any) -> Any:
    """``solve`` for one kind of problem, its settings checked; a room with a kind of its own registers how here.

    Raises:
        ProblemError: it is no problem.
    """
    raise ProblemError(
        f"problem is {shown(problem)}.",
        expected="an ufm_convex.Problem",
        fix="make one with Problem(class_counts, …).",
    )


@solve_kind.register
def _solve_problem(
    problem: Problem,
    *,
    solver: str,
    level: str,
    tolerance: float,
    options: Mapping[str, Any] | None,
    progress: Progress | None,
) -> Solution:
    _check_level(problem, solver, level)
    tell = progress or (lambda _: None)
    if (reduction := methods.find(problem)) is not None:
        reduction.check_level(level)
        inner = partial(solve, solver=solver, level=level, options=options)
        return reduction.solve(problem, inner, tolerance, tell)
    problem.require_decays("solve")
    started = time.perf_counter()
    best: Solution | None = None
    route: list[str] = []
    settled: set[str] = set()
    # absurd decays overflow; what comes of it is judged in exact arithmetic, so there is nothing to warn of
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    try:
        with quiet:
            for run, reason in _runs(problem, solver, level, tolerance, dict(options or {}), tell, settled):
                found = _judge(problem, run, tolerance)
                route.append(f"{run.solver} at {run.level} level ({reason}): {_outcome(found, run)}")
                if found.evidence.settled(tolerance):
                    settled.add(run.solver)
                    route[-1] += f"; the relaxation is solved, but needs more than {problem.feature_dim} dimensions"
                tell(route[-1])
                best = found if best is None else _better(best, found)
                if best.status is Status.CERTIFIED:
                    break
    except (ArithmeticError, ValueError) as error:  # what is met where σ² overflows or vanishes
        if _in_range(problem) or isinstance(error, UFMError):
            raise
        if best is None or best.status is Status.FAILED:
            raise _out_of_range(problem) from error
        route.append(f"stopped: {_out_of_range(problem).got}")
    except KeyboardInterrupt:
        if best is None:
            raise
        route.append(INTERRUPTED)
    except SolverDiedError:
        if best is None or best.status is Status.FAILED:
            raise
    if best is None:
        raise SolverError(
            "no solver made a run.",
            expected="a solver for which the problem is not too large at this level",
            fix="let the level be 'auto', or name a solver.",
        )
    return replace(best, route=tuple(route), seconds=time.perf_counter() - started)


def close_gap(problem: Problem | Solution, *, tolerance: float = 1e-6) -> GapClosure[Solution]:
    """Proved bounds of the problem with B completely positive, not only doubly non-negative.

    Args:
        problem: A problem with non-negative features and at most 20 classes with samples, or its solution, whose bounds
            are taken where they are better.
        tolerance: Relative gap that is wanted, in (0, 1).

    Returns:
        The bounds, W and H, and the verdict on the relaxation's Gram matrix. For a differentiable loss they meet up
        to rounding, as a rule; what is reported is proved in any case.

    Raises:
        ProblemError: ``problem`` is neither of the two, or the tolerance is out of range.
        HypothesisError: features are free; the relaxation is then exact.
        SizeError: more than 20 classes have samples.
        SolverNotInstalledError: Clarabel cannot be imported.
    """
    given = problem if isinstance(problem, Solution) else None
    return closed_gap(check(given.problem if given else problem), given, _given.tolerance(tolerance), solve)


# -- which runs, in which order -----------------------------------------------------------------------------------


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


def _in_range(problem: Problem) -> bool:
    """Whether σ_k² = λ_W λ_H n_k, in which programmes are written, is well within the range of binary64."""
    return all(abs(log) <= _RANGE for log in _logs(problem))


def _logs(problem: Problem) -> tuple[float, float]:
    """The base-2 logarithms of the smallest and the largest σ_k²."""
    logs = (
        math.log2(problem.lambda_w)
        + math.log2(problem.lambda_h)
        + np.log2(problem.class_counts[problem.class_counts > 0])
    )
    return float(logs.min()), float(logs.max())


def _out_of_range(problem: Problem) -> RangeError:
    low, high = _logs(problem)
    return RangeError(
        f"lambda_w is {problem.lambda_w!r} and lambda_h {problem.lambda_h!r}: "
        f"lambda_w * lambda_h * n is from 2**{low:.0f} to 2**{high:.0f}.",
        expected=f"from 2**-{_RANGE} to 2**{_RANGE}, where no closed form proves the optimum",
        fix="choose decays of moderate size; the optimum depends on their product alone.",
    )


def _check_level(problem: Problem, solver: str, level: str) -> None:
    if level != AUTO:
        relaxation.level(level).check_size(problem)
    if solver != AUTO and level not in (AUTO, *(levels := solvers.solver(solver).levels)):
        raise UnknownNameError(
            f"solver {solver!r} does not solve at level {level!r}.",
            expected="one of auto, " + ", ".join(levels),
            fix="choose another solver for this level.",
        )


def _runs(
    problem: Problem,
    solver: str,
    level: str,
    tolerance: float,
    options: dict[str, Any],
    tell: Progress,
    settled: set[str],
) -> Iterator[tuple[SolverRun, str]]:
    """Runs of the chosen solvers with the reason for each, cheapest first; lazy, so that the caller can stop.

    A solver whose name the caller puts into ``settled`` makes no further run. One that dies has made a failed run; its
    death is raised once there is no other solver to try.
    """
    death: SolverDiedError | None = None
    names = [(solver, "as asked")] if solver != AUTO else _automatic(problem, level)
    for name, reason in names:
        chosen = solvers.solver(name)
        chosen.require(problem)
        tell(f"{name}: starting")
        at = chosen.default_level(problem) if level == AUTO else level
        try:
            for run in _started(chosen, problem, at, tolerance, options):
                yield run, reason
                if name in settled:
                    break
        except (SolverDiedError, MemoryError) as error:
            death = error if isinstance(error, SolverDiedError) else out_of_memory(name)
            yield SolverRun(name, at, Claim.FAILED, death.got), reason
    if death is not None:
        raise death


def _started(chosen: Solver, *arguments: Any) -> Iterator[SolverRun]:
    """Its runs, in a process of its own where it may end this one."""
    if chosen.in_process:
        return chosen.runs(*arguments)
    return apart(f"solver {chosen.name!r}", chosen.runs, *arguments)


def out_of_memory(name: str) -> SolverDiedError:
    """The error for a solver whose ``MemoryError`` arrived as an exception."""
    return SolverDiedError(
        f"solver {name!r} ran out of memory.",
        expected="memory for its programme",
        fix="give it more, or choose a smaller level or another solver.",
    )


def _automatic(problem: Problem, level: str) -> list[tuple[str, str]]:
    """The rule of "auto": every installed solver that suits the problem at the level, in the order of priority."""
    usable = [kind() for kind in solvers.available().values() if kind.installed()]
    usable = [one for one in usable if one.lacks(problem) is None]
    usable.sort(key=lambda candidate: candidate.priority(problem, level))
    chosen = [(one.name, reason) for one in usable if (reason := one.suits(problem, level)) is not None]
    if not chosen and level == AUTO:
        raise _too_large(problem)
    if not chosen:
        relaxation.level(level).check_size(problem)
    return chosen


def _too_large(problem: Problem) -> SizeError:
    """What to say of a problem that no solver suits, whatever the level."""
    grouped = problem.loss.alike
    kinds = relaxation.num_groups(problem) if grouped else problem.num_classes
    most = relaxation.level("group").gram_limit // 2
    return SizeError(
        f"no solver takes {problem.num_classes} classes, {kinds} of them different, with loss {problem.loss.name!r}, "
        f"{problem.features} features{'' if problem.bias is None else ' and a bias'}.",
        expected=f"at most {most} different classes, unless a theorem or the frame solves the problem",
        fix=f"give classes of similar size the same count: up to {most} different ones are solved as groups."
        if grouped
        else f"take at most {most} classes, or a loss that treats classes of one count alike, such as CrossEntropy.",
    )


# -- what a run is worth ------------------------------------------------------------------------------------------


def _judge(problem: Problem, run: SolverRun, tolerance: float) -> Solution:
    """A run becomes a solution: its evidence, and the status that follows from it."""
    found = evidence.gather(problem, run, tolerance)
    gap = evidence.relative_gap(found.lower.value, found.upper.value)
    if gap < 0.0:  # impossible unless a proof is unsound, and then nothing here may be called certified
        raise SolverError(
            f"the proved bounds contradict each other: {found.lower.value!r} > {found.upper.value!r}.",
            expected="a lower bound that is at most the upper bound",
            fix="this is a fault of ufm-convex: please report the problem and the solver.",
        )
    nothing = found.left_nothing or not math.isfinite(found.upper.value)
    status = Status.CERTIFIED if gap <= tolerance else Status.FAILED if nothing else Status.BOUNDED
    return Solution(value=_value(found), status=status, tolerance=tolerance, evidence=found)


def _value(found: Evidence) -> float:
    """The relaxation's value at the reported point, moved into the proved interval that contains the optimum."""
    lower, upper = found.lower.value, found.upper.value
    # an indicator is infinite at a solver's point, which has its margins to the solver's accuracy only
    estimates = (one for one in (found.estimate, found.run.value) if one is not None and math.isfinite(one))
    return min(max(next(estimates, upper), lower), upper)


def _better(first: Solution, second: Solution) -> Solution:
    """The solution with the smaller gap, whole: a bound without its witness would not be evidence."""
    return second if second.relative_gap <= first.relative_gap else first


def _outcome(found: Solution, run: SolverRun) -> str:
    words = "" if run.message in (run.claim, "") or run.claim is Claim.OPTIMAL else f" ({run.message})"
    away = 0.0 if run.value is None else _distance(run.value, found)
    own = f", its own value {away:.1e} outside the proved interval" if away else ""
    return f"claims {run.claim}{words}{own}; proved relative gap {found.relative_gap:.1e}, {run.seconds:.2f} s"


def _distance(value: float, found: Solution) -> float:
    """How far a solver's own value lies outside the proved interval, relative to its upper end."""
    outside = max(found.lower_bound - value, value - found.upper_bound, 0.0)
    return outside / found.upper_bound if found.upper_bound > 0.0 else outside

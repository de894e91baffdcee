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

from ufm_convex import evidence, reductions, relaxation, solvers
from ufm_convex.errors import ProblemError, SolverError, UnknownNameError
from ufm_convex.evidence import Evidence
from ufm_convex.problem import Problem
from ufm_convex.solution import INTERRUPTED, Solution, Status
from ufm_convex.solvers import Claim, SolverRun

AUTO = "auto"
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
    progress: Progress | None = ...,
) -> Any: ...
def solve(
    problem: object,
    *,
    solver: str = AUTO,
    level: str = AUTO,
    tolerance: float = 1e-6,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Any:
    """The global optimum of a problem, with proved bounds.

    Args:
        problem: The problem, of any kind (``Problem``, ``ContrastiveProblem``); norm bounds are solved through problems
            with penalties (``ufm_convex.reductions``).
        solver: "auto" or a name of the registry ("clarabel", "scs", "theory").
        level: "auto", "group", "class" or "sample". Only "auto" for both solver and level lets the closed form stand
            in.
        tolerance: Relative gap at which the solution counts as certified, > 0.
        options: Passed to the solver as they are; needs an explicit solver.
        progress: Called with one line of text when something begins or ends.

    Returns:
        The solution, of the problem's kind. Its status says whether the tolerance was reached; its bounds are proved in
        any case.

    Raises:
        ProblemError: the tolerance is not a number in (0, 1), or options are given without a solver.
        UnknownNameError: no such solver or level, or the solver does not solve at that level.
        SolverNotInstalledError: the solver's package cannot be imported.
        SizeError: the problem is too large for the level.
        HypothesisError: ``solver="theory"`` and no theorem holds; or the problem has a bias or a constraint that
            nothing here solves.
    """
    check_settings(solver, tolerance, options)
    return solve_kind(problem, solver=solver, level=level, tolerance=tolerance, options=options, progress=progress)


@singledispatch
def solve_kind(problem: object, **settings: Any) -> Any:
    """``solve`` for one kind of problem, its settings checked; a room with a kind of its own registers how here.

    Raises:
        ProblemError: it is no problem.
    """
    raise ProblemError(
        f"problem is {problem!r}.",
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
    if (reduction := reductions.find(problem)) is not None:
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
    except KeyboardInterrupt:
        if best is None:
            raise
        route.append(INTERRUPTED)
    if best is None:
        raise SolverError(
            "no solver made a run.",
            expected="at least one run",
            fix="choose another solver or level.",
        )
    return replace(best, route=tuple(route), seconds=time.perf_counter() - started)


# -- which runs, in which order -----------------------------------------------------------------------------------


def check_settings(solver: str, tolerance: float, options: Mapping[str, Any] | None) -> None:
    """Raise ``ProblemError`` for a tolerance outside (0, 1), or for options that no solver is named for."""
    if not (isinstance(tolerance, (int, float)) and 0.0 < tolerance < 1.0):
        raise ProblemError(
            f"tolerance is {tolerance!r}.",
            expected="a relative gap in (0, 1)",
            fix="1e-6 is the default; 1e-12 is within reach of the closed form.",
        )
    if options is not None and not isinstance(options, Mapping):
        raise ProblemError(
            f"options is {options!r}.",
            expected="a mapping from names to values",
            fix="pass for example {'max_iters': 100}.",
        )
    if options and solver == AUTO:
        raise ProblemError(
            "options are given for solver 'auto'.",
            expected="an explicit solver",
            fix="name the solver they are meant for.",
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

    A solver whose name the caller puts into ``settled`` makes no further run.
    """
    names = [(solver, "as asked")] if solver != AUTO else _automatic(problem, level)
    for name, reason in names:
        chosen = solvers.solver(name)
        chosen.require(problem)
        tell(f"{name}: starting")
        for run in chosen.runs(problem, chosen.default_level(problem) if level == AUTO else level, tolerance, options):
            yield run, reason
            if name in settled:
                break


def _automatic(problem: Problem, level: str) -> list[tuple[str, str]]:
    """The rule of "auto": every installed solver that suits the problem at the level, in the order of priority."""
    usable = [kind() for kind in solvers.available().values() if kind.installed()]
    usable = [one for one in usable if one.lacks(problem) is None]
    usable.sort(key=lambda candidate: candidate.priority(problem, level))
    chosen = [(one.name, reason) for one in usable if (reason := one.suits(problem, level)) is not None]
    if not chosen:
        relaxation.level("class" if level == AUTO else level).check_size(problem)
    return chosen


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

"""From a problem to its optimum, with the evidence: the main entry of the package.

    counts → programme at a level → solver → both points → repaired dual → recovered factors → proved bounds

``solve`` believes no solver. Whatever one returns, the dual point is repaired and its slack proved (a lower bound of
the optimum), W and H are recovered from the Gram matrix and their objective enclosed (an upper bound), and ``status``
is "certified" only when these two proved numbers are within the tolerance of each other. Runs of increasing accuracy
are taken until then; the best bounds of all runs are kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ufm_convex import duality, enclosure, factors, identity, relaxation, solvers
from ufm_convex.errors import ProblemError, SolverError, UnknownNameError
from ufm_convex.points import Columns, DualPoint, FrameDual, FramePoint, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.solution import Solution, Status, relative_gap
from ufm_convex.solvers import SolverRun

AUTO = "auto"
Progress = Callable[[str], None]
"""Receives one line of text when something begins or ends."""


def solve(
    problem: Problem,
    *,
    solver: str = AUTO,
    level: str = AUTO,
    tolerance: float = 1e-6,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Solution:
    """The global optimum of a problem, with proved bounds.

    Args:
        problem: The problem.
        solver: "auto" or a name of the registry ("clarabel", "scs", "theory").
        level: "auto", "class" or "sample". Only "auto" for both solver and level lets the closed form stand in.
        tolerance: Relative gap at which the solution counts as certified, > 0.
        options: Passed to the solver as they are; needs an explicit solver.
        progress: Called with one line of text when something begins or ends.

    Returns:
        The solution. Its status says whether the tolerance was reached; its bounds are proved in any case.

    Raises:
        ProblemError: the tolerance is not a number in (0, 1), or options are given without a solver.
        UnknownNameError: no such solver or level, or the solver does not solve at that level.
        SolverNotInstalledError: the solver's package cannot be imported.
        SizeError: the problem is too large for the level.
        HypothesisError: ``solver="theory"`` and no theorem holds.
    """
    _check_arguments(problem, solver, level, tolerance, options)
    started = time.perf_counter()
    tell = progress or (lambda _: None)
    best: Solution | None = None
    route: list[str] = []
    try:
        for run, reason in _runs(problem, solver, level, tolerance, dict(options or {}), tell):
            found = _judge(problem, run, tolerance)
            route.append(f"{run.solver} at {run.level} level ({reason}): {_outcome(found, run)}")
            tell(route[-1])
            best = found if best is None else _better(best, found)
            if best.status is Status.CERTIFIED:
                break
    except KeyboardInterrupt:
        if best is None:
            raise
        route.append("interrupted: the best bounds so far are kept")
    if best is None:
        raise SolverError(
            "no solver made a run.",
            expected="at least one run",
            fix="choose another solver or level.",
        )
    return replace(best, route=tuple(route), seconds=time.perf_counter() - started)


# -- which runs, in which order -----------------------------------------------------------------------------------


def _check_arguments(
    problem: Problem, solver: str, level: str, tolerance: float, options: Mapping[str, Any] | None
) -> None:
    if not isinstance(problem, Problem):
        raise ProblemError(
            f"problem is {problem!r}.",
            expected="an ufm_convex.Problem",
            fix="make one with Problem(class_counts, …).",
        )
    if not (isinstance(tolerance, (int, float)) and 0.0 < tolerance < 1.0):
        raise ProblemError(
            f"tolerance is {tolerance!r}.",
            expected="a relative gap in (0, 1)",
            fix="1e-6 is the default; 1e-12 is within reach of the closed form.",
        )
    if options and solver == AUTO:
        raise ProblemError(
            "options are given for solver 'auto'.",
            expected="an explicit solver",
            fix="name the solver they are meant for.",
        )
    if level != AUTO:
        relaxation.level(level).check_size(problem)
    if solver != AUTO and level not in (AUTO, *(levels := solvers.solver(solver).levels)):
        raise UnknownNameError(
            f"solver {solver!r} does not solve at level {level!r}.",
            expected="one of auto, " + ", ".join(levels),
            fix="choose another solver for this level.",
        )


def _runs(
    problem: Problem, solver: str, level: str, tolerance: float, options: dict[str, Any], tell: Progress
) -> Iterator[tuple[SolverRun, str]]:
    """Runs of the chosen solvers with the reason for each, cheapest first; lazy, so that the caller can stop."""
    names = [(solver, "as asked")] if solver != AUTO else _automatic(problem, level)
    for name, reason in names:
        chosen = solvers.solver(name)
        tell(f"{name}: starting")
        for run in chosen.runs(problem, chosen.levels[0] if level == AUTO else level, tolerance, options):
            yield run, reason


def _automatic(problem: Problem, level: str) -> list[tuple[str, str]]:
    """The rule of "auto": every installed solver that suits the problem at the level, in the order of their ranks."""
    kinds = sorted((kind for kind in solvers.available().values() if kind.installed()), key=lambda kind: kind.rank)
    chosen = [(kind.name, reason) for kind in kinds if (reason := kind().suits(problem, level)) is not None]
    if not chosen:
        relaxation.level("class" if level == AUTO else level).check_size(problem)
    return chosen


# -- what a run is worth ------------------------------------------------------------------------------------------


def _judge(problem: Problem, run: SolverRun, tolerance: float) -> Solution:
    """Repair, recover, prove: a run becomes a solution."""
    if isinstance(run.point, FramePoint) and isinstance(run.dual, FrameDual):
        return _conclude(problem, run, tolerance, run.point, run.dual, None)
    columns = Columns.of_classes(problem)
    recovered, dual = _close_gap(columns, run, tolerance)
    if recovered is not None and problem.feature_dim is not None:
        recovered = factors.fit(columns, recovered, problem.feature_dim)
    return _conclude(problem, run, tolerance, None, dual, recovered)


def _close_gap(columns: Columns, run: SolverRun, tolerance: float) -> tuple[factors.Factors | None, DualPoint]:
    """The best factors and the best repaired dual point, trying one recovery after the other until they meet."""
    dual, lower = duality.repair(columns, _solver_duals(columns, run))
    best: factors.Factors | None = None
    T = dual.nonnegativity
    for recovered in factors.recoveries(columns, run.point) if isinstance(run.point, GramPoint) else ():
        candidate = DualPoint(columns.loss.residuals(recovered.W @ recovered.H.T, columns.labels), T)
        repaired, value = duality.repair(columns, [candidate])
        if value > lower:
            dual, lower = repaired, value
        if best is None or recovered.objective < best.objective:
            best = recovered
        # half the tolerance: proving costs a little of either bound
        if relative_gap(lower, best.objective) <= 0.5 * tolerance:
            break
    return best, dual


def _solver_duals(columns: Columns, run: SolverRun) -> Iterator[DualPoint]:
    """The solver's own multipliers, and the residuals at its own logits with its T."""
    T = np.zeros((columns.labels.size, columns.labels.size))
    if isinstance(run.dual, DualPoint):
        T = run.dual.nonnegativity
        yield run.dual
    if isinstance(run.point, GramPoint):
        yield DualPoint(columns.loss.residuals(run.point.logits, columns.labels), T)


def _conclude(
    problem: Problem,
    run: SolverRun,
    tolerance: float,
    frame: FramePoint | None,
    dual: DualPoint | FrameDual,
    recovered: factors.Factors | None,
) -> Solution:
    """Enclose both bounds and decide the status."""
    lower = enclosure.lower_bound(problem, dual)
    upper = min(_witnesses(problem, frame, recovered), key=lambda bound: bound.value)
    gap = relative_gap(lower.value, upper.value)
    left_nothing = run.point is None and run.dual is None
    status = Status.CERTIFIED if gap <= tolerance else Status.FAILED if left_nothing else Status.BOUNDED
    point: GramPoint | FramePoint
    if frame is not None:
        point = frame
    elif recovered is not None and (status is Status.CERTIFIED or not isinstance(run.point, GramPoint)):
        point = GramPoint.from_factors(recovered.W, recovered.H)
    else:
        point = run.point if isinstance(run.point, GramPoint) else FramePoint(*np.zeros((2, problem.num_classes)))
    return Solution(
        problem=problem,
        value=_value(problem, run, lower.value, upper.value),
        lower_bound=lower.value,
        upper_bound=upper.value,
        status=status,
        solver=run.solver,
        level=run.level,
        tolerance=tolerance,
        run=run,
        lower_proof=lower.proof,
        point=point,
        dual=dual,
        _factors=recovered,
    )


def _witnesses(
    problem: Problem, frame: FramePoint | None, recovered: factors.Factors | None
) -> Iterator[enclosure.ProvedBound]:
    """Objectives of what is at hand; W = H = 0 is always admissible."""
    if frame is not None:
        yield enclosure.upper_bound(problem, frame)
    if recovered is not None:
        yield enclosure.upper_bound(problem, (recovered.W, recovered.H))
    if frame is None and recovered is None:
        zeros = np.zeros((problem.num_classes, 1))
        yield enclosure.upper_bound(problem, (zeros, zeros))


def _value(problem: Problem, run: SolverRun, lower: float, upper: float) -> float:
    """The relaxation's value at the solver's point, moved into the proved interval that contains the optimum."""
    if isinstance(run.point, GramPoint):
        estimate = identity.objective(Columns.of_classes(problem), run.point)
    else:
        estimate = upper if run.value is None else run.value
    return min(max(estimate, lower), upper) if math.isfinite(estimate) else upper


def _better(first: Solution, second: Solution) -> Solution:
    """The solution with the smaller gap, whole: a bound without its witness would not be evidence."""
    return second if second.relative_gap <= first.relative_gap else first


def _outcome(found: Solution, run: SolverRun) -> str:
    return f"claims {run.claim}, proved relative gap {found.relative_gap:.1e}, {run.seconds:.2f} s"

"""``solve`` for contrastive problems: programme at a level → solver → repaired points → proved bounds.

The closed form is the solver "theory", taken by "auto" when level and solver are both left to it. Every conic solver of
the registry serves the programmes of ``contrastive.programmes``. No solver is believed: both bounds are proved from
exact numbers (``contrastive.enclosure``), and runs of increasing accuracy are taken until they are close enough.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ufm_convex import solvers
from ufm_convex._process import apart
from ufm_convex.contrastive import programmes, theory
from ufm_convex.contrastive.enclosure import lower_bound, repair, repaired_lengths, upper_bound
from ufm_convex.contrastive.points import ContrastivePoint, objective, softmax_dual
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.contrastive.solution import ContrastiveRun, ContrastiveSolution
from ufm_convex.errors import SolverDiedError, SolverError, UnknownNameError
from ufm_convex.evidence import relative_gap
from ufm_convex.solution import Status
from ufm_convex.solvers import STALLED, Claim, Stalls
from ufm_convex.solvers.conic import ConicSolver
from ufm_convex.solving import AUTO, Progress, out_of_memory

THEORY = "theory"

_SMALL = 20
"""Number of classes up to which class level takes no longer than building a programme."""


def solve_contrastive(
    problem: ContrastiveProblem,
    *,
    solver: str,
    level: str,
    tolerance: float,
    options: Mapping[str, Any] | None,
    progress: Progress | None,
) -> ContrastiveSolution:
    """See ``ufm_convex.solve``; solvers are "theory" and the conic ones, levels "group", "class" and "sample".

    Raises:
        UnknownNameError: no such solver or level, or the solver does not solve such problems at that level.
        SizeError: the problem is too large for the level, or for the solver's memory.
        SolverNotInstalledError: the solver's package cannot be imported.
    """
    plan = _plan(problem, solver, level)
    stalls, stopped = Stalls(), set[str]()
    started, tell = time.perf_counter(), progress or (lambda _: None)
    best: ContrastiveSolution | None = None
    route: list[str] = []
    try:
        for run, reason in _planned(problem, plan, level, options or {}, tell, stopped):
            found = judge(problem, run, tolerance)
            words = "" if run.claim is Claim.OPTIMAL else f" ({run.message})"
            route.append(
                f"{run.solver} at {run.level} level ({reason}): claims {run.claim}{words}; "
                f"proved relative gap {found.relative_gap:.1e}, {run.seconds:.2f} s"
            )
            if stalls.after(run.solver, run.accuracy, found.relative_gap):
                stopped.add(run.solver)
                route[-1] += STALLED
            tell(route[-1])
            best = found if best is None or found.relative_gap <= best.relative_gap else best
            if best.status is Status.CERTIFIED:
                break
    except KeyboardInterrupt:
        if best is None:
            raise
        route.append("interrupted: the best bounds so far are kept")
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


# -- which runs, in which order -----------------------------------------------------------------------------------


def _plan(problem: ContrastiveProblem, solver: str, level: str) -> list[tuple[str, str]]:
    """Solvers to try with the reason for each, cheapest first; everything that can be refused is refused here."""
    conic = _conic()
    if level != AUTO:
        programmes.check_level(problem, level)
    if solver == THEORY:
        if level != AUTO:
            raise UnknownNameError(
                f"solver 'theory' does not solve at level {level!r}.",
                expected="level auto",
                fix="leave the level out for solver 'theory', or let the solver be 'auto' for this level.",
            )
        return [(THEORY, "as asked")]
    if solver != AUTO:
        solvers.solver(solver)  # raises for a name that is not known or not installed
        if solver not in conic:
            raise UnknownNameError(
                f"solver {solver!r} does not solve contrastive problems.",
                expected="one of auto, theory, " + ", ".join(conic),
                fix="use 'auto' unless you want one in particular.",
            )
        programmes.check_level(problem, chosen := _level(problem, level))
        conic[solver].check_order(programmes.gram_order(problem, chosen))
        return [(solver, "as asked")]
    if level == AUTO:
        return [(THEORY, "a theorem holds, tight")]
    order = programmes.gram_order(problem, level)
    return [(name, f"order {order} fits") for name, one in conic.items() if order <= one.largest_order]


def _conic() -> dict[str, ConicSolver]:
    """The installed conic solvers, those of low rank first."""
    kinds = [kind for kind in solvers.available().values() if issubclass(kind, ConicSolver) and kind.installed()]
    return {kind.name: kind() for kind in sorted(kinds, key=lambda kind: kind.rank)}


def _level(problem: ContrastiveProblem, level: str) -> str:
    """The level itself or, for "auto", group level where it is smaller and class level is not small anyway."""
    if level != AUTO:
        return level
    K = problem.num_classes
    return "group" if K > _SMALL and problem.groups.size < K else "class"


def _planned(
    problem: ContrastiveProblem,
    plan: list[tuple[str, str]],
    level: str,
    options: Mapping[str, Any],
    tell: Progress,
    stopped: set[str],
) -> Iterator[tuple[ContrastiveRun, str]]:
    """Runs of the planned solvers with the reason for each; deaths and stalls are dealt with as in ``solving``."""
    death: SolverDiedError | None = None
    for name, reason in plan:
        tell(f"{name}: starting")
        arguments = problem, name, level, options
        try:  # the closed form is NumPy alone
            for run in _runs(*arguments) if name == THEORY else apart(f"solver {name!r}", _runs, *arguments):
                yield run, reason
                if name in stopped:
                    break
        except (SolverDiedError, MemoryError) as error:
            death = error if isinstance(error, SolverDiedError) else out_of_memory(name)
            yield ContrastiveRun(name, _level(problem, level), Claim.FAILED, death.got), reason
    if death is not None:
        raise death


def _runs(problem: ContrastiveProblem, name: str, level: str, options: Mapping[str, Any]) -> Iterator[ContrastiveRun]:
    """Runs of one solver, each more accurate than the last."""
    if name == THEORY:
        yield _closed_form(problem)
        return
    solver, chosen = _conic()[name], _level(problem, level)
    programme = programmes.build(problem, chosen)
    for attempt in solver.attempts(programme.problem, chosen, options):
        point = None if attempt.claim is Claim.FAILED else programme.read()
        value = programme.problem.value
        yield ContrastiveRun(
            solver=name,
            level=chosen,
            claim=attempt.claim,
            message=attempt.message,
            point=point,
            value=None if point is None or value is None else programme.objective_scale * float(value),
            accuracy=attempt.accuracy,
            seconds=attempt.seconds,
        )


def _closed_form(problem: ContrastiveProblem) -> ContrastiveRun:
    started = time.perf_counter()
    found = theory.optimum(problem)
    return ContrastiveRun(
        solver=THEORY,
        level="group",
        claim=Claim.OPTIMAL,
        message=found.citation,
        point=ContrastivePoint(found.groups, found.squares, found.squares),
        value=found.value,
        seconds=time.perf_counter() - started,
    )


# -- what a run is worth ------------------------------------------------------------------------------------------


def judge(problem: ContrastiveProblem, run: ContrastiveRun, tolerance: float) -> ContrastiveSolution:
    """A run becomes a solution: its points repaired, its bounds proved, and the status that follows from them.

    Only the run's point is looked at; a value that the solver reports is shown, never used.

    Raises:
        SolverError: the proved bounds contradict each other, which would be a fault of this package.
    """
    groups = problem.groups
    point = ContrastivePoint.frame(groups, np.zeros(groups.size)) if run.point is None else run.point
    with np.errstate(all="ignore"):  # a solver's point may be anything; what comes of it is judged exactly
        lengths = repaired_lengths(problem, point)
        frame = ContrastivePoint.frame(point.groups, lengths)
        # where the loss is flat the solver's softmax is a poor dual point, and that of the frame a good one
        duals = [repair(problem, softmax_dual(problem, one)) for one in (point, frame)]
    lower, dual = max(((lower_bound(problem, one), one) for one in duals), key=lambda pair: pair[0].value)
    upper = upper_bound(problem, point.groups, lengths)
    if not math.isfinite(upper.value):  # a point that is no number, or beyond the range: H = 0 is always admissible
        lengths = np.zeros(point.groups.size)
        upper = upper_bound(problem, point.groups, lengths)
    if lower.value > upper.value:  # impossible unless a proof is unsound
        raise SolverError(
            f"the proved bounds contradict each other: {lower.value!r} > {upper.value!r}.",
            expected="a lower bound that is at most the upper bound",
            fix="this is a fault of ufm-convex: please report the problem and the solver.",
        )
    reported = ContrastivePoint.frame(point.groups, lengths)
    estimate = objective(problem, reported)  # of what is reported beside it: the solver's own point is in no interval
    certified = relative_gap(lower.value, upper.value) <= tolerance
    return ContrastiveSolution(
        problem=problem,
        value=min(max(estimate, lower.value), upper.value),
        status=Status.CERTIFIED if certified else Status.FAILED if run.point is None else Status.BOUNDED,
        tolerance=tolerance,
        run=run,
        point=reported,
        lengths=lengths,
        dual=dual,
        lower=lower,
        upper=upper,
    )

"""Runs on a contrastive problem: which, in which order, and what each is worth."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from ufm_convex import solvers
from ufm_convex._deadline import OutOfTime
from ufm_convex._process import apart
from ufm_convex.contrastive import programmes, theory
from ufm_convex.contrastive.evidence import ContrastiveEvidence, ContrastiveRun, gather
from ufm_convex.contrastive.points import ContrastivePoint, objective
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.errors import SolverDiedError, UnknownNameError
from ufm_convex.evidence import relative_gap
from ufm_convex.methods import AUTO, OVERDUE, Finding, Progress, Settings, out_of_memory
from ufm_convex.solvers import Claim
from ufm_convex.solvers.conic import ConicSolver

THEORY = "theory"

_SMALL = 20
"""Number of classes up to which class level takes no longer than building a programme."""


# -- which runs, in which order -----------------------------------------------------------------------------------


def plan(problem: ContrastiveProblem, solver: str, level: str) -> list[tuple[str, str]]:
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


def planned(
    problem: ContrastiveProblem, settings: Settings, tell: Progress, stopped: set[str]
) -> Iterator[tuple[ContrastiveRun, str]]:
    """Runs of the planned solvers with the reason for each; deaths and the time limit as in ``methods.direct``.

    A solver whose name the caller puts into ``stopped`` makes no further run.
    """
    death: SolverDiedError | None = None
    level = settings.level
    for name, reason in plan(problem, settings.solver, level):
        tell(f"{name}: starting")
        try:
            for run in _started(problem, name, level, settings.options):
                yield run, reason
                if name in stopped:
                    break
        except (SolverDiedError, MemoryError) as error:
            death = error if isinstance(error, SolverDiedError) else out_of_memory(name)
            yield ContrastiveRun(name, _level(problem, level), Claim.FAILED, death.got), reason
        except OutOfTime:
            yield ContrastiveRun(name, _level(problem, level), Claim.FAILED, OVERDUE), reason
            return
    if death is not None:
        raise death


def _started(
    problem: ContrastiveProblem, name: str, level: str, options: Mapping[str, Any]
) -> Iterator[ContrastiveRun]:
    """Runs of one solver, of compiled code in a process of its own where ``solve`` isolates it."""
    if name == THEORY:
        return iter((_closed_form(problem),))
    return apart(f"solver {name!r}", _runs, problem, _conic()[name], _level(problem, level), options)


def _runs(
    problem: ContrastiveProblem, solver: ConicSolver, chosen: str, options: Mapping[str, Any]
) -> Iterator[ContrastiveRun]:
    """Runs of one solver, each more accurate than the last."""
    programme = programmes.build(problem, chosen)
    for attempt in solver.attempts(programme.problem, chosen, options):
        point = None if attempt.claim is Claim.FAILED else programme.read()
        value = programme.problem.value
        yield ContrastiveRun(
            solver=solver.name,
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


def finding(problem: ContrastiveProblem, run: ContrastiveRun, reason: str) -> Finding[ContrastiveEvidence]:
    """What a run is worth, in numbers and in words."""
    found = gather(problem, run)
    words = "" if run.claim is Claim.OPTIMAL else f" ({run.message})"
    line = (
        f"{run.solver} at {run.level} level ({reason}): claims {run.claim}{words}; "
        f"proved relative gap {relative_gap(found.lower.value, found.upper.value):.1e}, {run.seconds:.2f} s"
    )
    return Finding(found, line, (objective(problem, found.point),))  # of what is reported beside it

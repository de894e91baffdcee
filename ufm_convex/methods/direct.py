"""Penalised problems as they are: solver → both points → repaired dual → recovered factors → proved bounds.

No solver is believed. Whatever one returns, the dual point is repaired and its slack proved (a lower bound of the
optimum), and W and H are recovered from the Gram matrix and their objective enclosed (an upper bound).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ufm_convex import _deadline, enclosure, evidence, relaxation, solvers
from ufm_convex._deadline import OutOfTime
from ufm_convex._process import apart, once
from ufm_convex.errors import RangeError, SizeError, SolverDiedError, UFMError, UnknownNameError
from ufm_convex.evidence import Bounds, Evidence, MergedEvidence, lower_with_point, spread_out
from ufm_convex.methods.base import AUTO, OVERDUE, Finding, Method, Progress, Settings, out_of_memory
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Gram, GramPoint
from ufm_convex.solution import Solution, Status
from ufm_convex.solvers import STALLED, Claim, Solver, SolverRun, Stalls, guests

_RANGE = 960
"""Base-2 logarithms of σ² beyond which its products with numbers of moderate size overflow or vanish."""
_LONG = 400
"""Order of a Gram matrix from which a proof takes seconds, and a time limit has to leave some for it."""
_FOR_THE_SOLVER = 0.5
"""Share of what is left of a time limit that a solver has then."""


class Direct(Method[Problem, Evidence, Solution]):
    """Every solver of the registry that suits the problem, cheapest first."""

    name: ClassVar[str] = "direct"
    kind: ClassVar[type[Problem]] = Problem

    def check(self, problem: Problem, settings: Settings) -> None:
        """See ``Method.check``."""
        check_level(problem, settings.solver, settings.level)
        problem.require_decays("solve")

    def require_solver(self, problem: Problem, settings: Settings) -> None:
        """See ``Method.require_solver``."""
        if settings.solver == AUTO:
            next(_automatic(problem.merged[0], settings.level))

    def evidence(self, problem: Problem, settings: Settings, tell: Progress) -> Iterator[Finding[Evidence]]:
        """See ``Method.evidence``: one finding a run, each solver to the end of its schedule; equal columns merged."""
        merged, column = problem.merged
        if merged is problem:
            yield from self._findings(problem, settings, tell)
            return
        prefix = f"{problem.num_columns} columns, equal ones merged into {merged.num_columns}: "
        for finding in self._findings(merged, settings, tell):
            whole = spread_out(problem, finding.evidence, column)
            yield replace(finding, evidence=whole, line=prefix + finding.line)

    def _findings(self, problem: Problem, settings: Settings, tell: Progress) -> Iterator[Finding[Evidence]]:
        """Of a problem without equal columns."""
        settled, stalls = set[str](), Stalls()
        try:
            for run, reason in _runs(problem, settings, tell, settled):
                found = _proved(problem, run, settings.tolerance)
                line = f"{run.solver} at {run.level} level ({reason}): {_outcome(found)}"
                if found.settled(settings.tolerance):
                    settled.add(run.solver)
                    line += f"; the relaxation is solved, but needs more than {problem.feature_dim} dimensions"
                elif stalls.after(run.solver, run.accuracy, found.relative_gap):
                    settled.add(run.solver)
                    line += STALLED
                # an indicator is infinite at a solver's point, which has its margins to the solver's accuracy only
                yield Finding(found, line, (found.estimate, run.value))
        except (ArithmeticError, ValueError) as error:  # what is met where σ² overflows or vanishes
            if _in_range(problem) or isinstance(error, UFMError):
                raise
            raise _out_of_range(problem) from error

    def solution(
        self, problem: Problem, finding: Finding[Evidence], value: float, status: Status, tolerance: float
    ) -> Solution:
        """See ``Method.solution``."""
        return Solution(value, status, tolerance, finding.evidence)

    def bounds(self, solution: Solution, proof: enclosure.Proof) -> Bounds:
        """See ``Method.bounds``: the solution's own where they have exact points, else what its points prove."""
        found = solution.evidence
        if isinstance(found, MergedEvidence):
            return found.written_out(proof)
        upper = found.upper
        if upper.exact_point is None:
            upper = enclosure.upper_bound(solution.problem, solution.factors())
        return Bounds(lower_with_point(found, proof), upper)


# -- which runs, in which order -----------------------------------------------------------------------------------


def check_level(problem: Problem, solver: str, level: str) -> None:
    """Raise ``UnknownNameError`` or ``SizeError`` for a level that is none, too large, or not the solver's."""
    if level != AUTO:
        relaxation.level(level).check_size(problem)
    if solver != AUTO and level not in (AUTO, *(levels := solvers.solver(solver).levels)):
        raise UnknownNameError(
            f"solver {solver!r} does not solve at level {level!r}.",
            expected="one of auto, " + ", ".join(levels),
            fix="choose another solver for this level.",
        )


def _runs(problem: Problem, settings: Settings, tell: Progress, settled: set[str]) -> Iterator[tuple[SolverRun, str]]:
    """Runs of the chosen solvers with the reason for each, cheapest first; lazy, so that the caller can stop.

    A solver whose name the caller puts into ``settled`` makes no further run. One that dies has made a failed run; its
    death is raised once there is no other solver to try. So has one that the time limit ends.
    """
    death: SolverDiedError | None = None
    level = settings.level
    names = [(settings.solver, "as asked")] if settings.solver != AUTO else _automatic(problem, level)
    for name, reason in names:
        chosen = solvers.solver(name)
        chosen.require(problem)
        tell(f"{name}: starting")
        at = chosen.default_level(problem) if level == AUTO else level
        try:
            for run in _started(chosen, problem, at, settings.tolerance, dict(settings.options)):
                yield run, reason
                if name in settled:
                    break
        except (SolverDiedError, MemoryError) as error:
            death = error if isinstance(error, SolverDiedError) else out_of_memory(name)
            yield SolverRun(name, at, Claim.FAILED, death.got), reason
        except OutOfTime:
            yield SolverRun(name, at, Claim.FAILED, OVERDUE), reason
    if death is not None:
        raise death


def _started(
    chosen: Solver, problem: Problem, level: str, tolerance: float, options: dict[str, Any]
) -> Iterator[SolverRun]:
    """Its runs, in a process of its own where it may end this one; in time for their proof where that takes long."""
    left = _deadline.remaining()
    long = math.isfinite(left) and relaxation.level(level).gram_order(problem) > _LONG
    share = _FOR_THE_SOLVER * left if long else None
    if chosen.in_process and not (long and chosen.long_steps):
        return _hurried(guests.runs(chosen, problem, level, tolerance, options), share)
    with _deadline.limited(share):
        return apart(f"solver {chosen.name!r}", guests.runs, chosen, problem, level, tolerance, options)


def _hurried(runs: Iterator[SolverRun], seconds: float | None) -> Iterator[SolverRun]:
    """The runs, made here in at most so many seconds: the limit is in force while they are made, and then alone."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        with _deadline.limited(None if end is None else end - time.monotonic()):
            run = next(runs, None)
        if run is None:
            return
        yield run


def _proved(problem: Problem, run: SolverRun, tolerance: float) -> Evidence:
    """What a run is worth; where there is a time limit and the proof takes long, from a process that is ended in time.

    A run that is not proved by then is worth what nothing is worth.
    """
    if not (_deadline.limits() and _order(run) > _LONG):
        return evidence.gather(problem, run, tolerance)
    try:
        (found,) = apart(f"the proof for solver {run.solver!r}", once, evidence.gather, problem, run, tolerance)
    except OutOfTime:
        nothing = SolverRun(run.solver, run.level, Claim.FAILED, f"{OVERDUE} before it was proved", seconds=run.seconds)
        return evidence.gather(problem, nothing, tolerance)
    return found


def _order(run: SolverRun) -> int:
    """Twice the number of rows that a proof has to work with; 0 for an orthogonal frame, which has one of numbers."""
    point = run.point
    if isinstance(point, GramPoint):
        return 2 * len(point.weight_gram)
    return 2 * point.A.rows.size if isinstance(point, Gram) else 0


def _automatic(problem: Problem, level: str) -> Iterator[tuple[str, str]]:
    """The rule of "auto": every installed solver that suits the problem at the level, in the order of priority.

    The closed form comes before every other solver of this package, which are looked at when it was not enough; where
    there are solvers of others, all are looked at.
    """
    known = solvers.available()
    first = [] if known.guests else [solvers.FIRST]
    early = _suited(problem, level, first)
    yield from early
    late = _suited(problem, level, [name for name in known if name not in first])
    yield from late
    if not early + late and level == AUTO:
        raise _too_large(problem)
    if not early + late:
        relaxation.level(level).check_size(problem)


def _suited(problem: Problem, level: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """Those of the named solvers that are installed and suit the problem at the level, in the order of priority."""
    kinds = [solvers.available()[name] for name in names]
    usable = [one for kind in kinds if kind.installed() and (one := kind()).lacks(problem) is None]
    usable.sort(key=lambda candidate: candidate.priority(problem, level))
    return [(one.name, reason) for one in usable if (reason := one.suits(problem, level)) is not None]


def _too_large(problem: Problem) -> SizeError:
    """What to say of a problem that no solver suits, whatever the level."""
    grouped = problem.loss.alike
    kinds = relaxation.num_groups(problem) if grouped else problem.num_classes
    most = relaxation.level("group").gram_limit // 2
    what = f"{problem.num_classes} classes, {kinds} of them different,"
    if problem.num_outputs != problem.num_classes:
        what = f"{problem.num_outputs} outputs and {problem.num_columns} columns"
    advice = f"take at most {most} classes, or a loss that treats classes of one count alike, such as CrossEntropy."
    if problem.tabled:
        advice = f"take V + m of at most {2 * most}"
        if problem.loss.tabled_softmax:
            advice += "; or, without a bias, features='free': their optimum bounds that of non-negative ones from below"
        advice += "."
    return SizeError(
        f"no solver takes {what} with loss {problem.loss.name!r}, "
        f"{problem.features} features{'' if problem.bias is None else ' and a bias'}.",
        expected=f"V + m of at most {2 * most}"
        if problem.tabled
        else f"at most {most} different classes, unless a theorem or the frame solves the problem",
        fix=f"give classes of similar size the same count: up to {most} different ones are solved as groups."
        if grouped
        else advice,
    )


# -- the range of the numbers -------------------------------------------------------------------------------------


def _in_range(problem: Problem) -> bool:
    """Whether σ_k² = λ_W λ_H n_k, in which programmes are written, is well within the range of binary64."""
    return all(abs(log) <= _RANGE for log in _logs(problem))


def _logs(problem: Problem) -> tuple[float, float]:
    """The base-2 logarithms of the smallest and the largest σ_k²."""
    there = problem.class_counts[problem.class_counts > 0]
    logs = math.log2(problem.lambda_w) + math.log2(problem.lambda_h) + np.log2(there)
    return float(logs.min()), float(logs.max())


def _out_of_range(problem: Problem) -> RangeError:
    low, high = _logs(problem)
    return RangeError(
        f"lambda_w is {problem.lambda_w!r} and lambda_h {problem.lambda_h!r}: "
        f"lambda_w * lambda_h * n is from 2**{low:.0f} to 2**{high:.0f}.",
        expected=f"from 2**-{_RANGE} to 2**{_RANGE}, where no closed form proves the optimum",
        fix="choose decays of moderate size; the optimum depends on their product alone.",
    )


# -- in words -----------------------------------------------------------------------------------------------------


def _outcome(found: Evidence) -> str:
    run, gap = found.run, found.relative_gap
    words = "" if run.message in (run.claim, "") or run.claim is Claim.OPTIMAL else f" ({run.message})"
    away = 0.0 if run.value is None else found.outside(run.value)
    own = f", its own value {away:.1e} outside the proved interval" if away else ""
    return f"claims {run.claim}{words}{own}; proved relative gap {gap:.1e}, {run.seconds:.2f} s"

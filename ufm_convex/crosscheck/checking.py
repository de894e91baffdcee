"""``cross_check``: every solver on one problem, each judged against proved bounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ufm_convex import _given, relaxation, solving
from ufm_convex.crosscheck.callables import CallableContestant, Entrant, Solution
from ufm_convex.crosscheck.judgement import CrossCheckRow, CrossVerdict, Reference, judge
from ufm_convex.crosscheck.process import answer_of, require_time_limit
from ufm_convex.crosscheck.registry import contestant, installed
from ufm_convex.errors import ProblemError, UnknownNameError, shown
from ufm_convex.evidence import allowed_gap
from ufm_convex.problem import Problem, require_problem
from ufm_convex.relaxation import require_dense


@dataclass(frozen=True)
class CrossCheck:
    """The judgement of every solver on one problem.

    Attributes:
        problem: The problem.
        lower: Proved lower bound of the optimum.
        upper: Proved upper bound of the optimum.
        tolerance: Relative gap up to which an answer is right.
        rows: One for each solver, in the order asked for.
        reference_seconds: Wall time of proving the bounds; the time limit is that of the solvers, not of this.
    """

    problem: Problem
    lower: float
    upper: float
    tolerance: float
    rows: tuple[CrossCheckRow, ...]
    reference_seconds: float = 0.0

    @property
    def judged(self) -> bool:
        """True when at least one solver left an answer that could be judged."""
        return any(row.verdict is not CrossVerdict.FAILED for row in self.rows)

    @property
    def passed(self) -> bool:
        """True when something was judged, no solver is wrong and none overclaims."""
        return self.judged and all(
            row.verdict not in (CrossVerdict.WRONG, CrossVerdict.OVERCLAIMS) for row in self.rows
        )


def cross_check(
    problem: Problem,
    solvers: Sequence[str | Solution] | None = None,
    *,
    level: str = "class",
    tolerance: float = 1e-6,
    time_limit: float = 60.0,
    progress: Callable[[str], None] | None = None,
) -> CrossCheck:
    """Run solvers on a problem, each in its own process, and judge what they answer.

    Args:
        problem: The problem.
        solvers: Names of the registry and callables that take a ``Problem`` and return (W, H) with W (K, d) and
            class-mean features H (K, d), (W, H, b) with a bias b (K,), a ``GramPoint`` or a ``DualPoint``; by default
            all that are installed. Those that are not written for a bias have failed where the problem has one.
        level: Level at which the solvers of the registry are asked: "class", "group" or "sample". One that does not
            have it has failed; callables are asked for no level, and another than "class" is refused where all are.
        tolerance: Relative gap up to which an answer is right, in (0, 1).
        time_limit: Seconds for each solver, > 0 and at most 10⁶.
        progress: Called with one line of text when the proof of the bounds or a solver begins or ends.

    Returns:
        One row a solver. Nothing that a solver does ends the check.

    Raises:
        ProblemError: the problem, the tolerance or the time limit is not one; or a level is given for callables alone.
        UnknownNameError: no solver or level has that name, or the list is empty.
        SolverNotInstalledError: its package cannot be imported.
        SizeError: the problem is too large for dense points.
    """
    time_limit, tolerance = require_time_limit(time_limit), _given.tolerance(tolerance)
    require_problem(problem, "a cross-check: solvers under test return W and H")
    problem.require_decays("a cross-check")
    require_dense(max(problem.num_classes, problem.num_outputs), "a point of the class level", "fewer classes")
    entrants = _entrants(solvers, level)
    tell = progress or (lambda _: None)
    started = time.perf_counter()
    reference = _reference(problem, tolerance, tell)
    reference_seconds = time.perf_counter() - started
    rows = []
    for entrant in entrants:
        tell(f"{entrant.name}: running, at most {time_limit:g} s")
        answer, seconds = answer_of(entrant, problem, tolerance, time_limit)
        rows.append(judge(problem, entrant.name, answer, reference, tolerance, seconds))
    return CrossCheck(problem, reference.lower, reference.upper, tolerance, tuple(rows), reference_seconds)


def _reference(problem: Problem, tolerance: float, tell: Callable[[str], None]) -> Reference:
    """Proved bounds, much tighter than the tolerance where that can be had: it leaves little undecided."""

    def shown_as(line: str) -> None:
        tell(f"reference: {line}")

    best = solving.solve(problem, tolerance=tolerance, progress=shown_as)
    if best.relative_gap > 0.01 * allowed_gap(problem.floor, best.upper_bound, tolerance):
        tighter = solving.solve(problem, tolerance=max(0.01 * tolerance, 1e-12), progress=shown_as)
        best = tighter if tighter.relative_gap < best.relative_gap else best
    return Reference(best.lower_bound, best.upper_bound, problem.floor)


def _entrants(solvers: Sequence[str | Solution] | None, level: str) -> list[Entrant]:
    if not isinstance(level, str) or level not in relaxation.available():
        raise UnknownNameError(
            f"level {shown(level)} is not known.",
            expected="one of " + ", ".join(sorted(relaxation.available())),
            fix="use 'class': its programme has one column a class.",
        )
    if solvers is None:
        return [contestant(name, level) for name in installed()]
    if isinstance(solvers, str) or not isinstance(solvers, Sequence) or not solvers:
        raise UnknownNameError(
            f"solvers is {shown(solvers)}.",
            expected="a list of names and callables",
            fix="pass for example ['clarabel', 'scs'], or leave it out for all that are installed.",
        )
    if level != "class" and all(map(callable, solvers)):
        raise ProblemError(
            f"level is {level!r}, and every solver is a callable.",
            expected="a solver of the registry, which can be asked at a level",
            fix="leave the level out: a callable returns points of whatever level it likes.",
        )
    return [CallableContestant(one) if callable(one) else contestant(one, level) for one in solvers]

"""What ``certify`` is given beside the problem, and what it does without: a solution of its own."""

from __future__ import annotations

from typing import TypeVar

from ufm_convex.certificate.encoding import require_exactly
from ufm_convex.errors import ProblemError
from ufm_convex.methods import Progress
from ufm_convex.problem import Model
from ufm_convex.solution import Outcome
from ufm_convex.solving import solve

S = TypeVar("S", bound=Outcome)
C = TypeVar("C")


def solved(
    problem: Model,
    kind: type[S],
    solution: object,
    tolerance: float,
    time_limit: float | None,
    progress: Progress | None,
) -> S:
    """The solution that is given, or one that is made.

    Args:
        problem: The problem.
        kind: The class of its solutions.
        solution: What is given; None for nothing.
        tolerance: As in ``solve``.
        time_limit: As in ``solve``.
        progress: As in ``solve``.

    Raises:
        ProblemError: what is given is no solution of this problem, or a time limit is given beside it.
    """
    if solution is None:
        solution = solve(problem, tolerance=tolerance, time_limit=time_limit, progress=progress)
    elif time_limit is not None:
        raise ProblemError(
            "both a solution and time_limit are given.",
            expected="one of them: the limit is that of solve, which a solution has behind it",
            fix="leave out one.",
        )
    if not isinstance(solution, kind) or getattr(solution, "problem", None) != problem:
        raise ProblemError(
            "the solution is one of another problem.",
            expected=f"a {kind.__name__} of the problem to be certified",
            fix="pass solve(problem), or leave it out.",
        )
    return solution


def chosen(candidate: object, kind: type[C], expected: str, fix: str) -> C | None:
    """The candidate that is given, None for nothing; ``ProblemError`` for one of another kind."""
    if candidate is None:
        return None
    if isinstance(candidate, kind):
        require_exactly(candidate, kind, "the candidate")
        return candidate
    raise ProblemError(f"candidate is a {type(candidate).__name__}.", expected=expected, fix=fix)

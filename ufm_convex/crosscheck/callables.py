"""Any Python callable that claims to be optimal as a contestant: ``Problem`` → (W, H), (W, H, b), or a point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers import Claim

Solution = Callable[[Problem], Any]


class CallableContestant:
    """A callable in the place of a ``Contestant``.

    Args:
        function: Takes a ``Problem``; returns (W, H) with W (K, d) and class-mean features H (K, d), (W, H, b) with a
            bias b (K,), a ``GramPoint``, a ``DualPoint``, or an ``Answer`` where it has claims of its own.
    """

    def __init__(self, function: Solution) -> None:
        self.function = function
        self.name = str(getattr(function, "__name__", getattr(function, "name", type(function).__name__)))

    def answer(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """What the callable returns, taken as a claim of optimality."""
        return as_answer(self.function(problem))


def as_answer(found: Any) -> Answer:
    """The answer behind what a callable returned; FAILED for anything else than the five forms."""
    if isinstance(found, Answer):
        return found
    if isinstance(found, GramPoint):
        return Answer(Claim.OPTIMAL, point=found)
    if isinstance(found, DualPoint):
        return Answer(Claim.OPTIMAL, dual=found)
    if isinstance(found, (tuple, list)) and len(found) == 2:
        return Answer(Claim.OPTIMAL, factors=(found[0], found[1]))
    if isinstance(found, (tuple, list)) and len(found) == 3:
        return Answer(Claim.OPTIMAL, factors=(found[0], found[1]), bias=found[2])
    known = "(W, H), (W, H, b), a GramPoint or a DualPoint"
    return Answer(Claim.FAILED, message=f"returned {type(found).__name__}, not {known}")


Entrant = Contestant | CallableContestant
"""What takes part in a cross-check."""

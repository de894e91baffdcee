"""Conic solvers of the registry as contestants: the class-level programme, one run at a tenth of the tolerance."""

from __future__ import annotations

from typing import ClassVar

from ufm_convex import solvers
from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.points import DualPoint, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.solvers import Claim

_MARGIN = 0.1
"""Share of the tolerance that is asked for: a solver's accuracy is relative to 1 + its terms, not to the value."""


class ConicContestant(Contestant):
    """A solver that ``ufm_convex.solvers`` drives through cvxpy, named alike."""

    returns: ClassVar[str] = "gram and dual"
    claims: ClassVar[str] = "optimal: residuals and gap within its own accuracy"

    @classmethod
    def installed(cls) -> bool:
        """Whether the solver's package can be imported."""
        return solvers.available()[cls.name].installed()

    def answer(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """The first run at least as accurate as wanted, else the last; see ``Contestant.answer``."""
        answer = Answer(Claim.FAILED, message="made no run")
        for run in solvers.solver(self.name).runs(problem, "class", tolerance, {}):
            answer = Answer(
                claim=run.claim,
                value=run.value,
                dual_value=run.dual_value,
                point=run.point if isinstance(run.point, GramPoint) else None,
                dual=run.dual if isinstance(run.dual, DualPoint) else None,
                message=run.message,
            )
            if run.accuracy is not None and run.accuracy <= _MARGIN * tolerance:
                break
        return answer

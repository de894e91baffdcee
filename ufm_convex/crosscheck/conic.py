"""Conic solvers of the registry as contestants: the scaled programme, until a run at a tenth of the tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ufm_convex import solvers
from ufm_convex.crosscheck.base import MARGIN, Answer, Contestant
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Dual, DualPoint, Gram, GramPoint
from ufm_convex.solvers import Claim


class ConicContestant(Contestant):
    """A solver that ``ufm_convex.solvers`` drives through cvxpy, named alike."""

    returns: ClassVar[str] = "gram and dual"
    claims: ClassVar[str] = "optimal: residuals and gap within its own accuracy"
    levels: ClassVar[tuple[str, ...]] = ("class", "group", "sample")
    biased: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {}
    """Options of the solver; see ``Solver.runs``."""

    @classmethod
    def installed(cls) -> bool:
        """Whether the solver's package can be imported."""
        return solvers.available()[cls.name].installed()

    def attempt(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """The first run at least as accurate as wanted, else the last; see ``Contestant.attempt``."""
        answer = Answer(Claim.FAILED, message="made no run")
        for run in solvers.solver(self.name).runs(problem, self.level, tolerance, self.options):
            point = run.point.full() if isinstance(run.point, Gram) else run.point
            dual = run.dual.full() if isinstance(run.dual, Dual) else run.dual
            answer = Answer(
                claim=run.claim,
                value=run.value,
                dual_value=run.dual_value,
                point=point if isinstance(point, GramPoint) else None,
                dual=dual if isinstance(dual, DualPoint) else None,
                message=run.message,
            )
            if run.accuracy is not None and run.accuracy <= MARGIN * tolerance:
                break
        return answer

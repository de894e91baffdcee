"""Conic solvers through cvxpy: build the scaled programme of a level, solve, read back both points.

A conic solver is one file that subclasses ``ConicSolver`` and states its package, its status map and its schedule of
accuracies. The status map is total over cvxpy's documented statuses; a word outside it counts as a failure.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ufm_convex import relaxation
from ufm_convex.identity import dual_value
from ufm_convex.points import DualPoint
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Level, Programme
from ufm_convex.solvers.base import Claim, Solver, SolverRun

if TYPE_CHECKING:
    import cvxpy as cp

STATUS_MAP: Mapping[str, Claim] = {
    "optimal": Claim.OPTIMAL,
    "optimal_inaccurate": Claim.INACCURATE,
    "infeasible": Claim.INFEASIBLE,
    "infeasible_inaccurate": Claim.INFEASIBLE,
    "infeasible_or_unbounded": Claim.INFEASIBLE,
    "unbounded": Claim.UNBOUNDED,
    "unbounded_inaccurate": Claim.UNBOUNDED,
    "user_limit": Claim.STOPPED,
    "solver_error": Claim.FAILED,
}


class ConicSolver(Solver):
    """A solver that cvxpy drives."""

    package: ClassVar[str]
    cvxpy_name: ClassVar[str]
    levels: ClassVar[tuple[str, ...]] = ("class", "sample")
    largest_order: ClassVar[int]
    """Largest order of the Gram matrix for which "auto" tries it."""

    @classmethod
    def installed(cls) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(cls.package) is not None

    def suits(self, problem: Problem, level: str) -> str | None:
        """A Gram matrix that is not too large for the solver nor for the level."""
        chosen = relaxation.level(self.levels[0] if level == "auto" else level)
        order = chosen.gram_order(problem)
        if order > min(self.largest_order, chosen.gram_limit):
            return None
        return f"a Gram matrix of order {order} fits"

    @abstractmethod
    def schedule(self, level: str) -> Iterator[tuple[float, dict[str, Any]]]:
        """Pairs (accuracy, options of the solver) for a level, from loose to tight."""

    def reported_dual(self, statistics: cp.problems.problem.SolverStats) -> float | None:
        """The dual objective in the solver's own statistics, in units of the scaled programme; None if it has none."""
        return None

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """See ``Solver.runs``; later runs start where the earlier ones ended, where the solver can."""
        chosen = relaxation.level(level)
        programme = chosen.programme(problem)
        for accuracy, settings in self.schedule(level):
            yield self._run(problem, chosen, programme, accuracy, {**settings, **options})

    def _run(
        self,
        problem: Problem,
        level: Level,
        programme: Programme,
        accuracy: float,
        options: Mapping[str, Any],
    ) -> SolverRun:
        import cvxpy as cp

        started = time.perf_counter()
        message = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "may be inaccurate": nothing is believed anyway
            try:
                programme.problem.solve(solver=self.cvxpy_name, warm_start=True, **options)
                status = str(programme.problem.status)
            except (cp.SolverError, ArithmeticError, ValueError, TypeError, RuntimeError) as error:
                status, message = "solver_error", str(error)
        seconds = time.perf_counter() - started
        claim = STATUS_MAP.get(status, Claim.FAILED)
        if status == "solver_error":
            return SolverRun(self.name, level.name, claim, message or status, accuracy=accuracy, seconds=seconds)
        point, dual = programme.primal(), programme.dual()
        statistics, kappa = programme.problem.solver_stats, programme.objective_scale
        reported = None if statistics is None else self.reported_dual(statistics)
        return SolverRun(
            solver=self.name,
            level=level.name,
            claim=claim,
            message=status,
            point=None if point is None else level.restrict(problem, point),
            dual=None if dual is None else level.restrict_dual_point(problem, dual),
            value=None if programme.problem.value is None else kappa * float(programme.problem.value),
            dual_value=_multiplier_value(programme, dual) if reported is None else kappa * reported,
            accuracy=accuracy,
            iterations=None if statistics is None else statistics.num_iters,
            within_class_variability=None if point is None else level.within_class_variability(problem, point),
            seconds=seconds,
        )


def _multiplier_value(programme: Programme, dual: DualPoint | None) -> float | None:
    """The dual objective at the solver's own multipliers, taken into the conjugate's domain, else unrepaired."""
    if dual is None:
        return None
    columns = programme.columns
    inside = columns.loss.into_domain(dual.residuals, columns.labels)
    return dual_value(columns, DualPoint(inside, dual.nonnegativity))

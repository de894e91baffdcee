"""A solution file from outside as a contestant: what a solver of Conic Benchmark Format files left, as JSON."""

from __future__ import annotations

from pathlib import Path

from ufm_convex.crosscheck.base import Answer
from ufm_convex.crosscheck.submitted import point_value
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Gram
from ufm_convex.solvers import Claim


class SolutionFile:
    """The variables of an exported programme, in the order of its file, and what it claims (docs/solution_files.md).

    Its point has the level that the file says. Its other variables count as well: where they make the objective of the
    programme larger than the point's own, that is the value it reports, and where they leave their cones it is
    infeasible. Of that value and one that the file states, the one farther from the point's own counts. A file without
    a status claims to be optimal.

    Args:
        path: The JSON file. One that is damaged, or belongs to another problem, is a row with verdict "failed".
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name

    def __call__(self, problem: Problem) -> Answer:
        """The point in the file; raises as ``interchange.load_cbf_solution``."""
        from ufm_convex.interchange import load_cbf_solution

        found = load_cbf_solution(self.path, problem)
        point = found.level_point
        full = point.full() if isinstance(point, Gram) else point
        own, said = point_value(problem, full), found.claims
        values = [value for value in (said.value, max(found.objective, own)) if value is not None]
        value = max(values, key=lambda one: abs(one - own))
        return Answer(
            said.status or Claim.OPTIMAL,
            None if said.value is None and value == own else value,
            said.dual_value,
            point=full,
            dual=said.dual,
            residual=found.cone_violation,
        )

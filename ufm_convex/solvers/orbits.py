"""Descent on W and H that are alike on alike classes: free features, at group level, of any number of classes.

With features free there are no spurious minima, and an optimum may be taken alike on alike classes (docs/duality.md,
section 7), so descent with escapes from saddles ends at the optimum, in O(G³) a step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from ufm_convex.groups import GroupDual, GroupPoint, Groups, Invariant
from ufm_convex.problem import Problem
from ufm_convex.recovery import Scaled, balanced, descend, escape, rays
from ufm_convex.relaxation import Alike, Columns, Factors, objective, of_groups
from ufm_convex.solvers.base import Claim, SolverRun

_STAGES = (100, 200, 400, 800, 1600, 3200)
"""Iterations before each run: what is enough shows in the gap, which the caller proves."""
_ACCURACY = 1e-5


def orbit_runs(problem: Problem) -> Iterator[SolverRun]:
    """Runs of more and more iterations, from the best points on the rays −∇l(0), each column on its own."""
    columns, groups, started, iterations = of_groups(problem), Groups.distinct(problem), time.perf_counter(), 0
    found = balanced(columns, rays(columns), None)
    for limit in _STAGES:
        above = escape(columns, found)
        found, steps = descend(columns, above or found, limit)
        iterations += steps
        yield _run(columns, groups, found, iterations, time.perf_counter() - started)
        started = time.perf_counter()
        if steps < limit and escape(columns, found) is None:
            return


def _run(columns: Columns, groups: Groups, found: Factors, iterations: int, seconds: float) -> SolverRun:
    gram, V = found.gram(), columns.residuals(found.logits)
    P = Scaled(columns, found.W.cols).pull(found)
    norm = float(np.sqrt((P.T @ P).eigenvalues().max()))
    return SolverRun(
        solver="factored",
        level="group",
        claim=Claim.OPTIMAL if norm <= 1.0 + _ACCURACY else Claim.STOPPED,
        message=f"‖U D^(-1/2)‖ = {norm:.9f}",
        point=GroupPoint(_invariant(groups, gram.A), _invariant(groups, gram.logits), _invariant(groups, gram.B)),
        dual=GroupDual(_invariant(groups, V), Invariant.zeros(groups)),
        group_factors=(_invariant(groups, found.W), _invariant(groups, found.H)),
        value=objective(columns, found),
        accuracy=_ACCURACY,
        iterations=iterations,
        seconds=seconds,
    )


def _invariant(groups: Groups, matrix: Alike) -> Invariant:
    """The same matrix, whose orbits are the groups, in their order."""
    return Invariant(groups, matrix.own(), matrix.even * groups.present)

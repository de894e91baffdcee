"""What a run is worth, in the representation that its points come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ufm_convex.evidence.base import Representation
from ufm_convex.problem import Problem
from ufm_convex.solvers import SolverRun


def gather(problem: Problem, run: SolverRun, tolerance: float) -> Representation:
    """Repair, recover, prove: what a run is worth."""
    try:
        return _kind(problem, run).gather(problem, run, tolerance)
    except np.linalg.LinAlgError:  # numbers too large or too small for an eigenvalue: worth what nothing is worth
        empty = replace(run, point=None, dual=None, factors=None)
        return _kind(problem, empty).gather(problem, empty, tolerance)


def _kind(problem: Problem, run: SolverRun) -> type[Representation]:
    return next(kind for kind in _kinds() if kind.accepts(problem, run))


def _kinds() -> Iterator[type[Representation]]:
    """The most compressed first, each imported when those before it have refused; the last accepts every run."""
    from ufm_convex.evidence.axes import AxesEvidence
    from ufm_convex.evidence.frame import FrameEvidence

    yield AxesEvidence
    yield FrameEvidence
    from ufm_convex.evidence.factored import FactoredEvidence

    yield FactoredEvidence
    from ufm_convex.evidence.columns import ColumnsEvidence

    yield ColumnsEvidence

"""Evidence: what a run is worth, in the representation that its points come in.

Each module is one representation (orthogonal frame in O(K), factors, columns of any orbits) and does everything that
depends on it: repair, recovery of factors, proofs, the KKT report, the quantities read off a solution. ``solve`` and
``Solution`` know none of them apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ufm_convex.evidence.base import Bracketed, Evidence, Representation, allowed_gap, excess_gap, relative_gap
from ufm_convex.evidence.bounds import Bounds, lower_with_point
from ufm_convex.evidence.columns import ColumnsEvidence
from ufm_convex.evidence.factored import FactoredEvidence
from ufm_convex.evidence.frame import FrameEvidence
from ufm_convex.evidence.merged import MergedEvidence, spread_out
from ufm_convex.problem import Problem
from ufm_convex.solvers import SolverRun

__all__ = [
    "Bounds",
    "Bracketed",
    "Evidence",
    "MergedEvidence",
    "Representation",
    "allowed_gap",
    "excess_gap",
    "gather",
    "lower_with_point",
    "relative_gap",
    "spread_out",
]

_KINDS: tuple[type[Representation], ...] = (FrameEvidence, FactoredEvidence, ColumnsEvidence)
"""The most compressed first; the last accepts every run."""


def gather(problem: Problem, run: SolverRun, tolerance: float) -> Representation:
    """Repair, recover, prove: what a run is worth."""
    try:
        return _kind(problem, run).gather(problem, run, tolerance)
    except np.linalg.LinAlgError:  # numbers too large or too small for an eigenvalue: worth what nothing is worth
        empty = replace(run, point=None, dual=None, factors=None)
        return _kind(problem, empty).gather(problem, empty, tolerance)


def _kind(problem: Problem, run: SolverRun) -> type[Representation]:
    return next(kind for kind in _KINDS if kind.accepts(problem, run))

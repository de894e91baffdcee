"""A solver: it suggests points, which are repaired and proved by whoever asked."""

import time
from typing import ClassVar

import numpy as np

from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers import Claim, Solver, SolverRun

from .descent import descend


class Descent(Solver):
    """L-BFGS on W and H."""

    name: ClassVar[str] = "example-descent"
    levels: ClassVar[tuple[str, ...]] = ("class",)
    rank: ClassVar[int] = 90
    needs: ClassVar[tuple[str, ...]] = ("finite", "differentiable")
    in_process: ClassVar[bool] = True  # NumPy and SciPy alone: what goes wrong is an exception

    @classmethod
    def installed(cls):
        return True

    def suits(self, problem, level):
        return None  # "auto" leaves it out; a reason in words would let it take part

    def runs(self, problem, level, tolerance, options):
        started = time.perf_counter()
        W, H, V = descend(problem, tolerance)
        yield SolverRun(
            self.name,
            level,
            Claim.STOPPED,
            "the descent has ended",
            point=GramPoint.from_factors(W, H),
            dual=DualPoint(V, np.zeros((len(H), len(H)))),
            seconds=time.perf_counter() - started,
        )

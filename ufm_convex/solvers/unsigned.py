"""Features of either sign whose inner products turn out non-negative: then their optimum is that of H ≥ 0, too.

Dropping H ≥ 0 can only lower the minimum, and a descent on features of either sign meets no spurious minima. For a loss
that sees more than differences of logits, such as one sigmoid an output, every −∇l(0) may point into one half space;
features then lean towards one another, B = H Hᵀ has no negative entry, and the symmetric square root of B mostly has
none either: it is H turned into the non-negative orthant, at the same objective, and T = 0 proves it optimal. Where
a few of its entries are negative they are cut off and W and H descend from there; what that is worth, the proof tells
(docs/factored.md, section 3).

Shapes: W (K, d), H (m, d). Units: those of the problem.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import HypothesisError
from ufm_convex.problem import Problem
from ufm_convex.recovery import descend, restored
from ufm_convex.relaxation import Alike, Columns, Dual, Factors, Orbits, num_groups, objective, of_classes
from ufm_convex.solvers.base import Claim, Solver, SolverRun
from ufm_convex.solvers.factored import FactoredSolver

_FEWEST, _MOST = 25, 2_000
"""Numbers of classes between which "auto" tries it: fewer are soon solved by several starts."""
_STEPS = 1_000
"""Iterations of the descent after entries were cut off."""


class UnsignedSolver(Solver):
    """The optimum over features of either sign, turned into the non-negative orthant."""

    name: ClassVar[str] = "unsigned"
    levels: ClassVar[tuple[str, ...]] = ("class",)
    rank: ClassVar[int] = 4
    in_process: ClassVar[bool] = True
    long_steps: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("finite",)
    instead: ClassVar[str] = "use a conic solver, or the solver 'frame'."

    @classmethod
    def installed(cls) -> bool:
        """Always."""
        return True

    def suits(self, problem: Problem, level: str) -> str | None:
        """25 ≤ K ≤ 2000 classes, most of them different, no bias, and all −∇l(0) at acute angles to one another."""
        if level != "auto" or not problem.nonnegative or problem.feature_dim is not None or problem.bias is not None:
            return None
        loss, size = problem.loss, problem.num_classes
        if loss.shift_invariant or not loss.differentiable or not _FEWEST <= size <= _MOST:
            return None
        if 2 * num_groups(problem) <= size or not _acute(of_classes(problem)):
            return None
        return "features lean towards one another, whatever their signs"

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """The runs of the solver "factored" for features of either sign, each turned.

        Raises:
            HypothesisError: features are free, or ``feature_dim`` is given.
            SizeError: K > 2000.
            ProblemError: an option is given; there are none.
        """
        self.check_options(options)
        if not problem.nonnegative or problem.feature_dim is not None:
            raise HypothesisError(
                f'features is "{problem.features}" and feature_dim is {problem.feature_dim}.',
                expected='features="nonnegative" of any dimension',
                fix="let the solver be 'auto', or 'factored'.",
            )
        columns, started = of_classes(problem), time.perf_counter()
        for run in FactoredSolver().runs(replace(problem, features="free"), "class", tolerance, {}):
            yield _turned_run(columns, run, time.perf_counter() - started)
            started = time.perf_counter()


def _acute(columns: Columns) -> bool:
    """Whether the gradients of all losses at zero logits have positive inner products."""
    gradients = columns.loss.residuals(np.zeros((columns.outputs.total, columns.columns.total)), columns.layout)
    return bool((gradients.T @ gradients > 0.0).all())


def turned(W: FloatArray, H: FloatArray) -> tuple[FloatArray, FloatArray]:
    """W and H in the coordinates in which H is the symmetric square root of H Hᵀ; the same logits and norms."""
    left, lengths, right = np.linalg.svd(H, full_matrices=False)
    return W @ right.T @ left.T, (left * lengths) @ left.T


def _turned_run(columns: Columns, run: SolverRun, seconds: float) -> SolverRun:
    if run.factors is None:  # never, but for a solver put in its place
        return replace(run, solver="unsigned", point=None, seconds=seconds)
    # before it is turned: the descent below may leave the optimum of either sign
    V = restored(columns, run.factors.logits, run.factors.bias)
    W, H = turned(run.factors.W.full(), run.factors.H.full())
    negative = int(np.count_nonzero(H < 0.0))
    d = Orbits.single(H.shape[1])
    matrices = Alike.matrix(columns.outputs, d, W), Alike.matrix(columns.columns, d, np.maximum(H, 0.0))
    factors, message = Factors(*matrices, None), run.message
    if negative:
        factors, _ = descend(columns, factors, _STEPS)
        message = f"{negative} of {H.size} entries of the square root are negative: cut off, and a descent"
    return replace(
        run,
        solver="unsigned",
        claim=Claim.STOPPED if negative else run.claim,
        message=message,
        point=factors.gram().full(),
        dual=Dual(V).full(),
        factors=factors,
        value=objective(columns, factors),
        seconds=seconds,
    )

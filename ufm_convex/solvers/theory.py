"""The closed form as a solver: where a theorem holds it gives both points at once, in O(K).

Its output is treated like any other: the dual point is shrunk to proved feasibility and both values are enclosed, so
a mistake in a formula would show as a gap, not as a wrong answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ufm_convex import relaxation, theory
from ufm_convex._arrays import BoolArray
from ufm_convex.errors import HypothesisError
from ufm_convex.problem import Problem
from ufm_convex.relaxation import (
    AxesDual,
    AxesPoint,
    Dual,
    DualPoint,
    FrameDual,
    FramePoint,
    Gram,
    GramPoint,
    frame_strengths,
    margin_loss,
)
from ufm_convex.solvers.base import Claim, Solver, SolverRun

_FEW = 200
"""Classes up to which squared error is left to ``frame``, whose matrices are what a certificate writes."""
_LARGEST, _LARGEST_DENSE = 1_000, 400
"""Largest K at which "auto" takes points that are K × K arrays, and largest number of different classes: a dense proof
grows as their cube, 4 s at 400."""


class TheorySolver(Solver):
    """Theorem 1 of docs/theorem.md (Dang, Tran, Nguyen, Ho, ICML 2024) and its extensions, as a solver."""

    name: ClassVar[str] = "theory"
    levels: ClassVar[tuple[str, ...]] = ("class",)
    rank: ClassVar[int] = 0
    in_process: ClassVar[bool] = True

    @classmethod
    def installed(cls) -> bool:
        """Always."""
        return True

    def suits(self, problem: Problem, level: str) -> str | None:
        """A theorem that gives the optimum or a lower bound, unless a level was asked for."""
        found = theory.bound(problem) if level == "auto" else None
        if isinstance(found, theory.SolvedOptimum):
            fits = problem.num_classes <= _LARGEST and relaxation.num_groups(problem) <= _LARGEST_DENSE
            fits = fits and found.relation is theory.Relation.TIGHT
            return "a theorem gives both points" if fits else None
        if isinstance(found, theory.OneHotOptimum):
            return "a theorem gives both points" if _on_axes(problem, found) else None
        if not isinstance(found, theory.FrameOptimum) or found.relation is theory.Relation.UPPER:
            return None
        return f"a theorem holds, {found.relation}"

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """One run. With fewer dimensions than active classes the frame keeps the classes that gain most by it.

        Raises:
            HypothesisError: no theorem gives a lower bound for this problem, or it has another shape than a frame.
            ProblemError: an option is given; there are none.
        """
        self.check_options(options)
        started = time.perf_counter()
        found = theory.bound(problem)
        if isinstance(found, theory.SolvedOptimum):
            yield _solved(problem, found, started)
            return
        if isinstance(found, theory.OneHotOptimum) and _on_axes(problem, found):
            yield _axes_run(problem, found, started)
            return
        if not isinstance(found, theory.FrameOptimum) or found.relation is theory.Relation.UPPER:
            found = theory.optimum(problem)  # raises, naming the hypothesis that fails
        if not isinstance(found, theory.FrameOptimum):
            raise HypothesisError(
                f"the optimum of {found.citation} is not an orthogonal frame.",
                expected="a theorem whose optimum is a frame",
                fix="let the solver be 'auto'.",
            )
        kept = _kept(problem, found)
        yield SolverRun(
            solver=self.name,
            level="class",
            claim=Claim.OPTIMAL if found.relation is theory.Relation.TIGHT else Claim.STOPPED,
            message=found.citation,
            point=FramePoint(np.where(kept, found.eta, 0.0), np.where(kept, found.omega, 0.0)),
            dual=FrameDual(frame_strengths(problem)),
            value=found.value,
            dual_value=found.dual_value,
            seconds=time.perf_counter() - started,
        )


def _solved(problem: Problem, found: theory.SolvedOptimum, started: float) -> SolverRun:
    """The run of an optimum that comes with its points; compressed where classes are alike, as they are exactly."""
    dense, dense_dual = found.points(problem)
    alike = relaxation.num_groups(problem) < problem.num_classes
    point: GramPoint | Gram = dense
    dual: DualPoint | Dual = dense_dual
    if alike:
        columns = relaxation.of_groups(problem)
        point, dual = Gram.mean(columns, dense), Dual.mean(columns, dense_dual)
    return SolverRun(
        solver="theory",
        level="group" if alike else "class",
        claim=Claim.OPTIMAL if found.relation is theory.Relation.TIGHT else Claim.STOPPED,
        message=found.citation,
        point=point,
        dual=dual,
        value=found.value,
        seconds=time.perf_counter() - started,
    )


def _on_axes(problem: Problem, found: theory.OneHotOptimum) -> bool:
    """Whether the points of squared error prove its optimum, and spare more than ``frame`` costs."""
    wide = problem.feature_dim is None or problem.feature_dim >= problem.num_classes
    large = problem.num_classes > _FEW and int(problem.class_counts.min()) > 0
    return wide and large and found.relation is theory.Relation.TIGHT


def _axes_run(problem: Problem, found: theory.OneHotOptimum, started: float) -> SolverRun:
    """The run of squared error: diagonal logits L, and strengths 1 − L: at the radius σ/pt, or at 1 where L = 0."""
    return SolverRun(
        solver="theory",
        level="class",
        claim=Claim.OPTIMAL,
        message=found.citation,
        point=AxesPoint(found.feature_norms, found.weight_norms),
        dual=AxesDual(np.minimum(problem.prices, 1.0)),
        value=found.value,
        seconds=time.perf_counter() - started,
    )


def _kept(problem: Problem, found: theory.FrameOptimum) -> BoolArray:
    """Which classes keep their feature: all, or the d that lose most without it."""
    dimension = problem.feature_dim or problem.num_classes
    if dimension >= found.num_active:
        return np.ones(problem.num_classes, dtype=bool)
    loss = margin_loss(problem)
    zero = loss.margin_values(np.zeros(problem.num_classes), problem.num_classes)
    spent = loss.margin_values(found.margins, problem.num_classes) * problem.loss_weights
    penalty = problem.lambda_h * problem.class_counts * found.eta**2  # twice the half: the classifier's share is equal
    excess = problem.loss_weights * zero - spent - penalty
    kept = np.zeros(problem.num_classes, dtype=bool)
    kept[np.argsort(-excess, kind="stable")[:dimension]] = True
    return kept

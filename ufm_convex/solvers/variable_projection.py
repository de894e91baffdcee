"""Descent on W alone, the features of each column solved for: many columns against many outputs, nothing m × m.

The steps are those of ``recovery.projecting``. A run is handed out when a dual point near its end is within the
tolerance of it in floating point; where the proof then says otherwise, the next run is more accurate. With fewer
dimensions than the optimum needs the dual point is that of the optimum without the limit, a lower bound, and W and H
are the end of a descent in so many coordinates.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import FloatArray
from ufm_convex.errors import HypothesisError
from ufm_convex.problem import Problem
from ufm_convex.recovery import Feasible, Projected, Projection, spectrum
from ufm_convex.relaxation import Alike, Columns, Dual, Factors, Orbits, of_classes
from ufm_convex.solvers.base import Claim, Solver, SolverRun

_FROM = 400
"""V + m from which on "auto" takes it before the descent on W and H, which forms B."""
_SQUARE_FROM = 4_002
"""The same for a square table: beyond what that descent takes. What works with classes asks for its exact points."""
_BALANCINGS = 4
_STEPS = 400
_LOOK = 5
"""Steps between two looks at the gap."""
_MEMORY = 20
_ENOUGH = 0.8
"""Share of the tolerance, relative to the excess, that the gap in floating point may take."""
_FINER = 0.1
_FINEST = 1e-13
_INNER_SHARE = 0.02
"""Features are solved until no more than this share of what a step of W promises is left to be had."""
_ABOVE = 1e-4
"""Singular values of P this far above 1, outside the range of w, are coordinates that are missing."""


class VariableProjectionSolver(Solver):
    """L-BFGS in W with the features projected out."""

    name: ClassVar[str] = "variable-projection"
    levels: ClassVar[tuple[str, ...]] = ("class",)
    rank: ClassVar[int] = 7
    in_process: ClassVar[bool] = True
    long_steps: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("tabled_softmax",)

    @classmethod
    def installed(cls) -> bool:
        """Always."""
        return True

    def lacks(self, problem: Problem) -> str | None:
        """See ``Solver.lacks``: free features without a bias, too."""
        if problem.nonnegative or problem.bias is not None:
            return "the problem has a bias" if problem.bias is not None else "features are non-negative"
        return super().lacks(problem)

    def require(self, problem: Problem) -> None:
        """See ``Solver.require``."""
        super().require(problem)
        if problem.nonnegative or problem.bias is not None:
            raise HypothesisError(
                f"{self.lacks(problem)}.",
                expected="free features and no bias for solver 'variable-projection'",
                fix="use a conic solver, or 'factored'.",
            )

    def suits(self, problem: Problem, level: str) -> str | None:
        """From V + m = 400 on, unless a level was asked for; of square tables, whose columns are classes, later."""
        square = problem.num_outputs == problem.num_classes
        large = problem.num_outputs + problem.num_columns >= (_SQUARE_FROM if square else _FROM)
        return "many columns and free features, whose best ones follow from W" if level == "auto" and large else None

    def runs(self, problem: Problem, level: str, tolerance: float, options: Mapping[str, Any]) -> Iterator[SolverRun]:
        """Runs, each as accurate as the tolerance asks for, and the next more so.

        Args:
            problem: Free features, no bias, a table of soft targets.
            level: "class".
            tolerance: Gap relative to the excess that is wanted.
            options: None are taken.
        """
        self.check_options(options)
        self.require(problem)
        columns, table = of_classes(problem), problem.loss.table
        if table is None:
            raise TypeError("the loss has no table")
        started, target = time.perf_counter(), _ENOUGH * tolerance
        search = _Search.begin(Projection(columns, table))
        while True:
            dual = search.descend(target)
            ends = _fitted(search, problem.feature_dim, target)
            yield _run(columns, search, ends, dual, time.perf_counter() - started)
            started = time.perf_counter()
            if search.exhausted or target <= _FINEST or _deadline.passed():
                return
            target *= _FINER


@dataclass(eq=False)
class _Search:
    """A descent that can be taken up again.

    Attributes:
        problem: The problem.
        here: Where it is.
        pairs: Steps and changes of the gradient, the last ones, with the inverse of their inner product.
        steps: How many were made.
        exhausted: Whether rounding, or the number of steps, leaves no way down.
        gap: That of the last look, relative to the excess.
    """

    problem: Projection
    here: Projected
    pairs: list[tuple[FloatArray, FloatArray, float]] = field(default_factory=list)
    steps: int = 0
    exhausted: bool = False
    gap: float = np.inf

    @classmethod
    def begin(cls, problem: Projection) -> _Search:
        """From the point that a few balancings lead to."""
        search = cls(problem, problem.features(*problem.start(), np.inf))
        for _ in range(_BALANCINGS):
            found = problem.features(search.here.w, search.here.h, 1e-3 * search._excess)
            search.here = problem.features(*problem.balanced(found.w, found.h), np.inf)
        return search

    @property
    def _excess(self) -> float:
        return max(self.here.value - self.problem.floor, 0.0)

    def go_on(self, w: FloatArray, h: FloatArray) -> None:
        """From other factors."""
        self.here, self.pairs = self.problem.features(w, h, 1e-6 * self._excess), []

    def descend(self, target: float) -> Feasible:
        """Steps until a dual point is within the target, relative to the excess."""
        while True:
            moved = self.advance(_LOOK)
            found = self.problem.feasible(self.here.pulls)
            self.gap = (self.here.value - found.value) / max(self._excess, np.finfo(float).tiny)
            added = self.gap > target and self._widened()
            self.exhausted = self.steps >= _STEPS or not (moved or added)
            if self.gap <= target or self.exhausted or _deadline.passed():
                return found

    def advance(self, number: int) -> bool:
        """So many steps of L-BFGS; False where the last one found no way down."""
        for _ in range(number):
            if _deadline.passed() or not self._step():
                return False
            self.steps += 1
        return True

    def _step(self) -> bool:
        here, slope = self.here, self.here.slope
        direction = _two_loops(slope, self.pairs)
        promised = float(np.vdot(slope, direction))
        if promised <= np.finfo(float).eps * max(self._excess, np.finfo(float).tiny):
            return False
        size = 1.0
        while size > 1e-6:
            # the features follow: their part of the logits' move is left out, which a balanced move would undo
            tried = self.problem.features(here.w - size * direction, here.h, _INNER_SHARE * size * promised)
            if tried.value <= here.value - 1e-4 * size * promised:
                step, change = tried.w - here.w, tried.slope - slope
                inner = float(np.vdot(step, change))
                if inner > 0.0:
                    self.pairs = [*self.pairs, (step, change, 1.0 / inner)][-_MEMORY:]
                self.here = tried
                return True
            size *= 0.4
        if not self.pairs:
            return False
        self.pairs = []
        return self._step()

    def _widened(self) -> bool:
        """Whether coordinates were missing: singular pairs of P above 1 outside the range of w are added."""
        w, h, pulls = self.here.w, self.here.h, self.here.pulls
        basis = np.linalg.qr(w)[0] if w.any() else np.zeros((len(w), 1))
        rest = pulls - basis @ (basis.T @ pulls)
        left, values = spectrum(rest)
        above = values > 1.0 + _ABOVE
        room = min(pulls.shape) - (w.shape[1] if w.any() else 0)
        if not above.any() or room <= 0:
            return False
        left, values = left[:, above][:, :room], values[above][:room]
        size = np.sqrt(np.minimum(values - 1.0, 1.0)) * max(0.03 * np.linalg.norm(w, axis=0).min(), 1e-8)
        wider = np.hstack([w, -left * size]) if w.any() else -left * size
        taller = np.hstack([h, (rest.T @ left) * (size / values)]) if w.any() else (rest.T @ left) * (size / values)
        self.go_on(wider, taller)
        return True


def _two_loops(slope: FloatArray, pairs: list[tuple[FloatArray, FloatArray, float]]) -> FloatArray:
    """The direction of L-BFGS; Nocedal, Math. Comp. 35, 1980."""
    direction, shares = slope.copy(), []
    for step, change, inverse in reversed(pairs):
        share = inverse * float(np.vdot(step, direction))
        shares.append(share)
        direction -= share * change
    if pairs:
        direction /= pairs[-1][2] * float(np.vdot(pairs[-1][1], pairs[-1][1]))
    for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - inverse * float(np.vdot(change, direction))) * step
    return direction


def _fitted(search: _Search, feature_dim: int | None, target: float) -> Projected:
    """Where the search is, or the end of a descent from its largest directions in ``feature_dim`` coordinates."""
    w, h = search.problem.balanced(search.here.w, search.here.h)
    if feature_dim is None or w.shape[1] <= feature_dim:
        return search.here
    narrow = _Search(search.problem, search.here)
    narrow.go_on(w[:, :feature_dim], h[:, :feature_dim])
    before = np.inf
    while narrow.here.value < before * (1.0 - target) and narrow.steps < _STEPS:
        before = narrow.here.value
        if not narrow.advance(_LOOK):
            break
    return narrow.here


def _run(columns: Columns, search: _Search, ends: Projected, dual: Feasible, seconds: float) -> SolverRun:
    """The record of where the search is."""
    d = Orbits.single(ends.w.shape[1])
    W = ends.w / np.sqrt(columns.lambda_w)
    H = ends.h / np.sqrt(columns.lambda_h * columns.feature_weights)[:, None]
    factors = Factors(Alike.matrix(columns.outputs, d, W), Alike.matrix(columns.columns, d, H))
    return SolverRun(
        solver=VariableProjectionSolver.name,
        level="class",
        claim=Claim.STOPPED if search.exhausted else Claim.OPTIMAL,
        message=f"gap {search.gap:.1e} of the excess in floating point",
        point=factors,
        dual=Dual(Alike.matrix(columns.outputs, columns.columns, dual.residuals)),
        factors=factors,
        value=search.here.value,
        dual_value=dual.value,
        accuracy=search.gap,
        iterations=search.steps,
        seconds=seconds,
    )

"""What ``solve`` returns: the optimum, the points behind it, and what is proved about it.

Three kinds of number are kept apart. ``value`` is approximate; the residuals of ``kkt()`` are checked against stated
tolerances; ``lower_bound`` and ``upper_bound`` are proved, and ``status`` speaks of these two alone.

Shapes: K classes; Gram matrices are (K, K); W (K, d) and H (K, d) hold one row a class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np

from ufm_convex import duality, factors, theory
from ufm_convex._arrays import FloatArray
from ufm_convex.points import Columns, DualPoint, FrameDual, FramePoint, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.solvers import SolverRun


class Status(StrEnum):
    """What is known at the end."""

    CERTIFIED = "certified"
    """Both bounds are proved and their relative gap is within the tolerance."""
    BOUNDED = "bounded"
    """Both bounds are proved, and their gap is larger than the tolerance."""
    FAILED = "failed"
    """No solver left a point to work from; the bounds are those of V = 0 and W = H = 0."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The optimum of a problem, and what proves it.

    Attributes:
        problem: The problem.
        value: The relaxation's optimal value as computed; approximate, and never outside the two proved bounds.
        lower_bound: Proved: no W and H, of any dimension, have a smaller objective.
        upper_bound: Proved: the objective of ``factors()`` is no larger.
        status: What these two numbers amount to.
        solver: Registry name of the solver whose run is reported.
        level: Level of the variables it used.
        tolerance: Relative gap that was asked for.
        run: The raw run: the solver's claims and points, unrepaired.
        lower_proof: Slack proof behind ``lower_bound``: "diagonal", "dense" or "trivial".
        point: Primal point: the Gram matrices of the recovered factors where they close the gap, otherwise the
            solver's own; structured where the solver is ``theory``.
        dual: Repaired dual point; structured likewise.
        route: What was tried and why, in words.
        seconds: Wall time of everything.
    """

    problem: Problem
    value: float
    lower_bound: float
    upper_bound: float
    status: Status
    solver: str
    level: str
    tolerance: float
    run: SolverRun
    lower_proof: str
    point: GramPoint | FramePoint
    dual: DualPoint | FrameDual
    route: tuple[str, ...] = ()
    seconds: float = 0.0
    _factors: factors.Factors | None = field(default=None, repr=False)

    @property
    def relative_gap(self) -> float:
        """(upper − lower) / upper; 0 when both are 0."""
        return relative_gap(self.lower_bound, self.upper_bound)

    @property
    def weight_gram(self) -> FloatArray:
        """A = W Wᵀ, (K, K). Raises ``SizeError`` for K > 20,000."""
        return self._dense_point.weight_gram

    @property
    def logits(self) -> FloatArray:
        """L = W H̄ᵀ, (K, K); column k holds the logits of class k. Raises ``SizeError`` for K > 20,000."""
        return self._dense_point.logits

    @property
    def feature_gram(self) -> FloatArray:
        """B, (K, K), inner products of class means. Raises ``SizeError`` for K > 20,000."""
        return self._dense_point.feature_gram

    @cached_property
    def _dense_point(self) -> GramPoint:
        return self.point.dense() if isinstance(self.point, FramePoint) else self.point

    @cached_property
    def margins(self) -> FloatArray:
        """Own logit of each class minus its largest other logit, (K,)."""
        if isinstance(self.point, FramePoint):
            return self.point.margins
        own = np.diag(self.point.logits)
        others = self.point.logits - np.diag(np.full(own.size, np.inf))
        return own - others.max(axis=0)

    @cached_property
    def feature_norms(self) -> FloatArray:
        """‖h̄_k‖, (K,)."""
        if isinstance(self.point, FramePoint):
            return self.point.eta
        return np.sqrt(np.maximum(np.diag(self.point.feature_gram), 0.0))

    @cached_property
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, (K,)."""
        if isinstance(self.point, FramePoint):
            K, squares = self.problem.num_classes, self.point.omega**2
            return np.sqrt((1.0 - 2.0 / K) * squares + squares.sum() / K**2)
        return np.sqrt(np.maximum(np.diag(self.point.weight_gram), 0.0))

    @cached_property
    def collapsed_classes(self) -> tuple[int, ...]:
        """Classes, from 0, whose feature is zero as far as the gap can tell.

        A class counts as collapsed when setting its feature to zero would cost no more than the gap leaves open:
        pt_k [l_k(0) − l_k(Le_k)] − λ_H n_k ‖h̄_k‖² (the last term stands for both penalties, which balance). From
        theory the zeros are exact.
        """
        if isinstance(self.point, FramePoint):
            return tuple(np.flatnonzero(self.point.eta == 0.0).tolist())
        problem, labels = self.problem, np.arange(self.problem.num_classes)
        gain = problem.loss.values(np.zeros_like(self.logits), labels) - problem.loss.values(self.logits, labels)
        share = problem.lambda_h * problem.class_counts * self.feature_norms**2
        excess = problem.loss_weights * gain - share
        open_gap = self.upper_bound - self.lower_bound + 8.0 * np.finfo(float).eps * self.upper_bound
        return tuple(np.flatnonzero(excess <= open_gap).tolist())

    def factors(self, feature_dim: int | None = None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and class-mean features H (K, d), whose objective is at most ``upper_bound``.

        Args:
            feature_dim: d; by default the problem's, or as many as the factorisation used.

        Raises:
            DimensionError: d is smaller than the factorisation needs; the message says what d would do.
            SizeError: K > 20,000.
        """
        d = self.problem.feature_dim if feature_dim is None else feature_dim
        if isinstance(self.point, FramePoint):
            factors.require_dimension(int(self.point.used.size), d)
            return self.point.factors(d)
        if self._factors is None:
            zeros = np.zeros((self.problem.num_classes, d or 1))
            return zeros, zeros.copy()
        if d is None or d == self._factors.H.shape[1]:
            return self._factors.W, self._factors.H
        factors.require_dimension(self._factors.rank, d)
        narrowed = factors.fit(Columns.of_classes(self.problem), self._factors, d)
        return narrowed.W, narrowed.H

    @property
    def factor_residual(self) -> float:
        """Relative distance between the solver's Gram matrices and those of ``factors()``; 0 on a frame."""
        return 0.0 if self._factors is None else self._factors.residual

    @property
    def rank(self) -> int:
        """Dimensions that the features use."""
        if isinstance(self.point, FramePoint):
            return int(self.point.used.size)
        return 0 if self._factors is None else self._factors.rank

    def kkt(self) -> duality.KKTReport:
        """One named residual for each condition of docs/duality.md, at ``point`` and ``dual``."""
        if isinstance(self.point, FramePoint) and isinstance(self.dual, FrameDual):
            return duality.frame_report(self.problem, self.point, self.dual, self.tolerance)
        dual = self.dual.dense(self.problem) if isinstance(self.dual, FrameDual) else self.dual
        columns = Columns.of_classes(self.problem)
        return duality.dense_report(columns, self._dense_point, dual, self._factor_pair(), self.tolerance)

    def solver_kkt(self) -> duality.KKTReport | None:
        """The same conditions at the solver's own points, nothing repaired; None when it left none."""
        if isinstance(self.run.point, GramPoint) and isinstance(self.run.dual, DualPoint):
            columns = Columns.of_classes(self.problem)
            return duality.dense_report(columns, self.run.point, self.run.dual, self._factor_pair(), self.tolerance)
        return None

    def _factor_pair(self) -> tuple[FloatArray, FloatArray]:
        if self._factors is not None:
            return self._factors.W, self._factors.H
        return self.factors(self.problem.num_classes)

    @cached_property
    def theory(self) -> theory.Optimum | None:
        """What a theorem says about this problem, for comparison; None where none says anything."""
        return theory.bound(self.problem)


def relative_gap(lower: float, upper: float) -> float:
    """(upper − lower) / upper; 0 when both are equal."""
    return 0.0 if upper == lower else (upper - lower) / upper

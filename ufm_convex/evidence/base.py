"""What every representation answers about a run: admissible points, proved bounds, and what is read off them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.duality import KKTReport
from ufm_convex.enclosure import ProvedBound
from ufm_convex.points import GramPoint
from ufm_convex.problem import Problem
from ufm_convex.solvers import SolverRun


@dataclass(frozen=True, eq=False)
class Evidence(ABC):
    """A run made admissible: a primal point with the W and H behind it, a feasible dual point, and their bounds.

    Attributes:
        problem: The problem.
        run: The run as the solver left it.
        point: The primal point that is reported: that of the factors where they close the gap, else the solver's own.
        dual: The repaired dual point.
        lower: Proved lower bound, from ``dual``.
        upper: Proved upper bound, from the factors.
    """

    problem: Problem
    run: SolverRun
    point: Any
    dual: Any
    lower: ProvedBound
    upper: ProvedBound

    @classmethod
    @abstractmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """Whether the run's points come in this representation."""

    @classmethod
    @abstractmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> Evidence:
        """Repair, recover, prove; at less effort once the gap is within the tolerance."""

    @property
    def left_nothing(self) -> bool:
        """True when the solver left no point to work from."""
        return self.run.point is None and self.run.dual is None

    @property
    def estimate(self) -> float | None:
        """The relaxation's objective at the solver's own point; None where it left none to evaluate."""
        return self.run.value

    @abstractmethod
    def report(self, epsilon: float) -> KKTReport:
        """The KKT conditions at ``point`` and ``dual``."""

    def solver_report(self, epsilon: float) -> KKTReport | None:
        """The same at the solver's own points; None when it left none."""
        return None

    @abstractmethod
    def dense_point(self) -> GramPoint:
        """``point`` as (K, K) matrices; raises ``SizeError`` for K > 20,000."""

    @abstractmethod
    def margins(self) -> FloatArray:
        """Own logit of each class minus its largest other logit, (K,)."""

    @abstractmethod
    def feature_norms(self) -> FloatArray:
        """‖h̄_k‖, (K,)."""

    @abstractmethod
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, (K,)."""

    @abstractmethod
    def loss_gains(self) -> FloatArray:
        """l_k(0) − l_k(Le_k), (K,)."""

    def collapsed(self) -> tuple[int, ...]:
        """Classes whose feature could be set to zero for less than the gap leaves open."""
        problem = self.problem
        share = problem.lambda_h * problem.class_counts * self.feature_norms() ** 2
        excess = problem.loss_weights * self.loss_gains() - share
        open_gap = self.upper.value - self.lower.value + 8.0 * np.finfo(float).eps * self.upper.value
        return tuple(np.flatnonzero(excess <= open_gap).tolist())

    @abstractmethod
    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and H (K, d); raises ``DimensionError`` or ``SizeError``."""

    @property
    def factor_residual(self) -> float:
        """Relative distance between the solver's Gram matrices and those of the factors."""
        return 0.0

    @property
    @abstractmethod
    def rank(self) -> int:
        """Dimensions that the features use."""


def relative_gap(lower: float, upper: float) -> float:
    """(upper − lower) / upper; 0 when both are equal."""
    return 0.0 if upper == lower else (upper - lower) / upper

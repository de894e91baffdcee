"""Evidence from (K, K) matrices: the dual point is repaired, W and H are recovered, one start after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import numpy as np

from ufm_convex import duality, enclosure, factors, identity
from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import FactorWitness, ProvedBound
from ufm_convex.evidence.base import Representation, close_gap, knowing_dimension, relative_gap
from ufm_convex.groups import GroupColumns, GroupDual, GroupPoint
from ufm_convex.points import Columns, DualPoint, FrameDual, GramPoint, require_dense
from ufm_convex.problem import Problem
from ufm_convex.solvers import SolverRun


@dataclass(frozen=True, eq=False)
class DenseEvidence(Representation):
    """A ``GramPoint`` with its factors, and a ``DualPoint``.

    Attributes:
        recovered: The factors behind ``upper``.
    """

    point: GramPoint
    dual: DualPoint
    recovered: factors.Factors

    @classmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """Every run."""
        return True

    @classmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> DenseEvidence:
        """Close the gap between the repaired dual point and the recovered factors, then prove both."""
        require_dense(problem.num_classes, "the solution", "level 'group', or a loss that sees margins only")
        columns = Columns.of_classes(problem)
        own = _dense_point(run)
        recovered, dual = _close_gap(columns, own, _dense_dual(problem, run), run.factors, tolerance)
        relaxed = recovered.objective
        if problem.feature_dim is not None:
            own_bias = None if own is None else own.bias
            recovered = factors.fit(columns, recovered, problem.feature_dim, run.factors, own_bias)
        lower = knowing_dimension(problem, enclosure.lower_bound(problem, dual), tolerance)
        upper = enclosure.upper_bound(problem, (recovered.W, recovered.H, recovered.bias))
        certified = relative_gap(lower.value, upper.value) <= tolerance
        found = GramPoint.from_factors(recovered.W, recovered.H, recovered.bias)
        point = own if own is not None and not certified else found
        return cls(problem, run, point, dual, lower, upper, recovered, relaxed=relaxed)

    @property
    def estimate(self) -> float | None:
        """F(Z) at the solver's own point."""
        own = _dense_point(self.run)
        return self.run.value if own is None else identity.objective(self._columns, own)

    @property
    def _columns(self) -> Columns:
        return Columns.of_classes(self.problem)

    def report(self, epsilon: float) -> duality.KKTReport:
        """See ``Evidence.report``."""
        pair = self.recovered.W, self.recovered.H
        return duality.dense_report(self._columns, self.point, self.dual, pair, epsilon)

    def solver_report(self, epsilon: float) -> duality.KKTReport | None:
        """See ``Evidence.solver_report``."""
        if not isinstance(self.run.point, GramPoint) or not isinstance(self.run.dual, DualPoint):
            return None
        pair = self.recovered.W, self.recovered.H
        return duality.dense_report(self._columns, self.run.point, self.run.dual, pair, epsilon)

    def square_norms(self) -> tuple[Fraction, Fraction] | None:
        """See ``Representation.square_norms``."""
        if not isinstance(self.upper.evidence, FactorWitness):
            return None
        return enclosure.square_norms(self.problem, self.upper.evidence)

    def loss_bound(self) -> ProvedBound:
        """See ``Representation.loss_bound``."""
        return enclosure.upper_bound(self.problem, (self.recovered.W, self.recovered.H), penalties=False)

    def rescaled(self, weights: float, features: float) -> Self:
        """See ``Representation.rescaled``."""
        W, H = self.recovered.W * weights, self.recovered.H * features
        upper = enclosure.upper_bound(self.problem, (W, H))
        recovered = replace(self.recovered, W=W, H=H, objective=upper.value)
        return replace(self, point=GramPoint.from_factors(W, H), upper=upper, recovered=recovered)

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        return self.point

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        outputs = self.point.outputs
        own = np.diag(outputs)
        others = outputs - np.diag(np.full(own.size, np.inf))
        margins: FloatArray = own - others.max(axis=0)
        return margins

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return np.sqrt(np.maximum(np.diag(self.point.feature_gram), 0.0))

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return np.sqrt(np.maximum(np.diag(self.point.weight_gram), 0.0))

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        loss, layout, outputs = self.problem.loss, self._columns.layout, self.point.outputs
        without = np.zeros_like(outputs) + self.point.offset[:, None]
        with np.errstate(invalid="ignore"):  # an indicator may be infinite at both
            return loss.values(without, layout) - loss.values(outputs, layout)

    def group_means(self, columns: GroupColumns) -> tuple[GroupPoint, FloatArray]:
        """See ``Evidence.group_means``."""
        outputs = self.point.outputs
        losses = self.problem.loss.values(outputs, self._columns.layout)
        return GroupPoint.mean(columns.groups, replace(self.point, logits=outputs)), columns.groups.mean(losses)

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``."""
        if feature_dim is None or feature_dim == self.recovered.H.shape[1]:
            return self.recovered.W, self.recovered.H
        factors.require_dimension(self.recovered.rank, feature_dim)
        return factors.narrowed(self._columns, self.recovered, feature_dim)

    @property
    def factor_residual(self) -> float:
        """See ``Evidence.factor_residual``."""
        return self.recovered.residual

    @property
    def bias(self) -> FloatArray:
        """See ``Evidence.bias``."""
        return super().bias if self.recovered.bias is None else self.recovered.bias

    @property
    def rank(self) -> int:
        """Singular values of H above the noise."""
        return self.recovered.rank


def _dense_point(run: SolverRun) -> GramPoint | None:
    return run.point if isinstance(run.point, GramPoint) or run.point is None else run.point.dense()


def _dense_dual(problem: Problem, run: SolverRun) -> DualPoint | None:
    if isinstance(run.dual, FrameDual):
        return run.dual.dense(problem)
    return run.dual.dense() if isinstance(run.dual, GroupDual) else run.dual


def _close_gap(
    columns: Columns,
    point: GramPoint | None,
    dual: DualPoint | None,
    own: tuple[FloatArray, FloatArray] | None,
    tolerance: float,
) -> tuple[factors.Factors, DualPoint]:
    """See ``evidence.base.close_gap``; W = H = 0 where nothing was recovered."""

    def repair(candidates: Iterable[DualPoint], recovered: factors.Factors | None) -> tuple[DualPoint, float]:
        if recovered is None:
            return duality.repair(columns, candidates, None, None if point is None else point.bias)
        return duality.repair(columns, candidates, recovered.H, recovered.bias)

    def read(recovered: factors.Factors, first: DualPoint) -> DualPoint:
        outputs = GramPoint.from_factors(recovered.W, recovered.H, recovered.bias).outputs
        return DualPoint(columns.loss.nearest(first.residuals, outputs, columns.layout), first.nonnegativity)

    recoveries = factors.recoveries(columns, point, own) if point is not None else ()
    best, best_dual = close_gap(_solver_duals(columns, point, dual), recoveries, repair, read, tolerance)
    return best or _nothing(columns), best_dual


def _solver_duals(columns: Columns, point: GramPoint | None, dual: DualPoint | None) -> Iterator[DualPoint]:
    """The solver's own multipliers, and the residuals at its own logits with its T."""
    T = np.zeros((columns.labels.size, columns.labels.size))
    if dual is not None:
        T = dual.nonnegativity
        yield dual
    if point is not None:
        yield DualPoint(columns.loss.residuals(point.outputs, columns.layout), T)


def _nothing(columns: Columns) -> factors.Factors:
    """W = H = 0, which is always admissible."""
    zeros = np.zeros((columns.num_classes, 1))
    return factors.Factors(zeros, zeros, identity.factored_objective(columns, zeros, zeros), 0.0, 0)

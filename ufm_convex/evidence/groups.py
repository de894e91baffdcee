"""Evidence from group-level blocks: as from dense matrices, in (G, G) arrays, so that K is no obstacle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import numpy as np

from ufm_convex import duality, enclosure, group_factors, identity
from ufm_convex import factors as dense_factors
from ufm_convex._arrays import FloatArray
from ufm_convex.descent import admitted
from ufm_convex.enclosure import ProvedBound
from ufm_convex.evidence.base import Representation, close_gap, knowing_dimension, relative_gap
from ufm_convex.evidence.dense import DenseEvidence
from ufm_convex.group_factors import GroupFactors
from ufm_convex.groups import GroupColumns, GroupDual, GroupPoint, Groups, Invariant
from ufm_convex.points import Columns, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.relaxation.alike import Alike
from ufm_convex.relaxation.orbits import Orbits
from ufm_convex.relaxation.points import Dual, Factors
from ufm_convex.solvers import SolverRun

_DENSE_BELOW = 400
"""Number of classes up to which a dimension that is too small for group-symmetric factors is left to dense ones."""

_ACCURATE = 1e-5
"""Accuracy of a run from which on descent is carried through; after a looser one, a tighter run is cheaper."""


@dataclass(frozen=True, eq=False)
class GroupEvidence(Representation):
    """A ``GroupPoint`` with its factors, and a ``GroupDual``.

    Attributes:
        recovered: The factors behind ``upper``.
    """

    point: GroupPoint
    dual: GroupDual
    recovered: GroupFactors

    @classmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """A run with a group-level point, primal or dual."""
        return isinstance(run.point, GroupPoint) or isinstance(run.dual, GroupDual)

    @classmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> Representation:
        """Close the gap between the repaired dual point and the recovered factors, then prove both.

        With fewer dimensions than group-symmetric features need, the best features may break the symmetry, and small
        problems are left to ``DenseEvidence``.
        """
        columns = GroupColumns.of(problem)
        own = run.point if isinstance(run.point, GroupPoint) else None
        recovered, dual = _close_gap(columns, run, tolerance)
        relaxed, d = recovered.objective, problem.feature_dim
        if d is not None and recovered.used(problem.nonnegative) > d:
            if problem.num_classes <= _DENSE_BELOW:
                return DenseEvidence.gather(problem, run, tolerance)
            recovered = group_factors.fit(columns, recovered, d)
        proved = enclosure.lower_bound(problem, dual_on_orbits(dual), proof="group")
        lower = knowing_dimension(problem, proved, tolerance)
        upper = _upper(problem, recovered)
        certified = relative_gap(lower.value, upper.value) <= tolerance
        point = own if own is not None and not certified else GroupPoint.from_factors(recovered.W, recovered.H)
        return cls(problem, run, point, dual, lower, upper, recovered, relaxed=relaxed)

    @property
    def estimate(self) -> float | None:
        """F(Z) at the solver's own point."""
        own = self.run.point
        return identity.group_objective(self._columns, own) if isinstance(own, GroupPoint) else self.run.value

    @property
    def _columns(self) -> GroupColumns:
        return GroupColumns.of(self.problem)

    def report(self, epsilon: float) -> duality.KKTReport:
        """See ``Evidence.report``."""
        pair = self.recovered.W, self.recovered.H
        return duality.group_report(self._columns, self.point, self.dual, pair, epsilon)

    def solver_report(self, epsilon: float) -> duality.KKTReport | None:
        """See ``Evidence.solver_report``."""
        if not isinstance(self.run.point, GroupPoint) or not isinstance(self.run.dual, GroupDual):
            return None
        pair = self.recovered.W, self.recovered.H
        return duality.group_report(self._columns, self.run.point, self.run.dual, pair, epsilon)

    def square_norms(self) -> tuple[Fraction, Fraction] | None:
        """See ``Representation.square_norms``."""
        if self.upper.exact is None:
            return None
        factors = factors_on_orbits(self.recovered)
        exact = enclosure.FactorWitness(enclosure.ExactAlike.of(factors.W), enclosure.ExactAlike.of(factors.H))
        return enclosure.square_norms(self.problem, exact)

    def loss_bound(self) -> ProvedBound:
        """See ``Representation.loss_bound``."""
        return _upper(self.problem, self.recovered, penalties=False)

    def rescaled(self, weights: float, features: float) -> Self:
        """See ``Representation.rescaled``."""
        recovered = replace(self.recovered, W=self.recovered.W * weights, H=self.recovered.H * features)
        upper = _upper(self.problem, recovered)
        recovered = replace(recovered, objective=upper.value)
        point = GroupPoint.from_factors(recovered.W, recovered.H)
        return replace(self, point=point, upper=upper, recovered=recovered)

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        return self.point.dense()

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        logits, groups = self.point.logits, self.point.groups
        others = np.where(groups.present > 0.0, logits.cross, -np.inf).max(axis=0)
        margins: FloatArray = (logits.own - others)[groups.members]
        return margins

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return _lengths(self.point.feature_gram)

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return _lengths(self.point.weight_gram)

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        columns = self._columns
        gains = columns.values(Invariant.zeros(columns.groups)) - columns.values(self.point.logits)
        return gains[columns.groups.members]

    def group_means(self, columns: GroupColumns) -> tuple[GroupPoint, FloatArray]:
        """See ``Evidence.group_means``."""
        return self.point, columns.values(self.point.logits)

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``."""
        dense_factors.require_dimension(self.rank, feature_dim)
        W, H = self.recovered.dense(feature_dim, self.problem.nonnegative)
        return admitted(Columns.of_classes(self.problem), W, H)

    @property
    def factor_residual(self) -> float:
        """See ``Evidence.factor_residual``."""
        return self.recovered.residual

    @property
    def rank(self) -> int:
        """Dimensions that the features use, up to noise."""
        return self.recovered.rank


def dual_on_orbits(dual: GroupDual) -> Dual:
    """V and T on orbits of classes."""
    sort = _orbits(dual.groups)
    return Dual(_alike(sort, dual.residuals), _alike(sort, dual.nonnegativity))


def factors_on_orbits(factors: GroupFactors) -> Factors:
    """W and H on orbits of classes, which coordinates are alike."""
    sort = _orbits(factors.H.groups)
    return Factors(_alike(sort, factors.W), _alike(sort, factors.H))


def _orbits(groups: Groups) -> Orbits:
    return Orbits.of(groups.multiplicities, np.arange(groups.size), order=np.argsort(groups.members, kind="stable"))


def _alike(sort: Orbits, matrix: Invariant) -> Alike:
    single, even = sort.places == 1, matrix.cross.copy()
    np.fill_diagonal(even, np.where(single, matrix.own, np.diag(even)))
    return Alike.of_entries(sort, sort, np.vstack([even, matrix.own]) if sort.large.size else even)


def _upper(problem: Problem, factors: GroupFactors, *, penalties: bool = True) -> ProvedBound:
    return enclosure.upper_bound(problem, factors_on_orbits(factors), penalties=penalties)


def _lengths(gram: Invariant) -> FloatArray:
    lengths: FloatArray = np.sqrt(np.maximum(gram.own, 0.0))[gram.groups.members]
    return lengths


def _close_gap(columns: GroupColumns, run: SolverRun, tolerance: float) -> tuple[GroupFactors, GroupDual]:
    """See ``evidence.base.close_gap``; W = H = 0 where nothing was recovered."""
    point = run.point if isinstance(run.point, GroupPoint) else None
    dual = run.dual if isinstance(run.dual, GroupDual) else None
    thorough = run.accuracy is None or run.accuracy <= _ACCURATE

    def repair(candidates: Iterable[GroupDual], recovered: GroupFactors | None) -> tuple[GroupDual, float]:
        return duality.repair_groups(columns, candidates)

    def read(recovered: GroupFactors, first: GroupDual) -> GroupDual:
        return GroupDual(columns.nearest(first.residuals, recovered.W @ recovered.H.T), first.nonnegativity)

    def recoveries() -> Iterator[GroupFactors]:
        if point is not None and run.group_factors is not None:
            yield group_factors.summary(columns, *run.group_factors, point)
        if point is not None:
            yield from group_factors.recoveries(columns, point, thorough)

    best, best_dual = close_gap(_solver_duals(columns, point, dual), recoveries(), repair, read, tolerance)
    zero = Invariant.zeros(columns.groups)
    nothing = GroupFactors(zero, zero, group_factors.objective(columns, zero, zero), 0.0, 0)
    return best or nothing, best_dual


def _solver_duals(columns: GroupColumns, point: GroupPoint | None, dual: GroupDual | None) -> Iterator[GroupDual]:
    """The solver's own multipliers, and the residuals at its own logits with its T."""
    T = Invariant.zeros(columns.groups) if dual is None else dual.nonnegativity
    if dual is not None:
        yield dual
    if point is not None:
        yield GroupDual(columns.residuals(point.logits), T)

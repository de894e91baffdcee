"""Evidence on an orthogonal frame, O(K): both points come structured, and nothing needs repair but rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import numpy as np

from ufm_convex import duality, enclosure, relaxation
from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import FrameWitness, ProvedBound
from ufm_convex.evidence.base import Representation
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Columns, Dual, FrameDual, FramePoint, Gram, GramPoint, margin_loss
from ufm_convex.solvers import SolverRun


@dataclass(frozen=True, eq=False)
class FrameEvidence(Representation):
    """A ``FramePoint`` and a ``FrameDual``."""

    point: FramePoint
    dual: FrameDual

    @classmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """A run with a frame and its dual; one that left nothing stands for W = H = 0 and V = 0."""
        if run.point is None and run.dual is None:
            return problem.loss.margins_only
        return isinstance(run.point, FramePoint) and isinstance(run.dual, FrameDual)

    @classmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> FrameEvidence:
        """The bounds of the two points as they are."""
        zeros = np.zeros(problem.num_classes)
        point = run.point if isinstance(run.point, FramePoint) else FramePoint(zeros, zeros)
        dual = run.dual if isinstance(run.dual, FrameDual) else FrameDual(zeros)
        nothing = run.point is None and run.dual is None and not problem.nonnegative
        # with free features a dense proof, of V = 0 too; a certificate makes it, who only wants to know the bound not
        lower = replace(enclosure.trivial_bound(problem), exact_point=None) if nothing else None
        lower = lower or enclosure.lower_bound(problem, dual)
        return cls(problem, run, point, dual, lower, enclosure.upper_bound(problem, point))

    def report(self, epsilon: float) -> duality.KKTReport:
        """See ``Evidence.report``."""
        return duality.frame_report(self.problem, self.point, self.dual, epsilon)

    def slack(self) -> FloatArray:
        """See ``Evidence.slack``."""
        dual = self.dual.dense(self.problem)
        columns = relaxation.of_classes(self.problem)
        slack = relaxation.scaled_slack(columns, Dual.mean(columns, dual))
        return slack.scaled(columns.sigma, columns.sigma).full()

    def square_norms(self) -> tuple[Fraction, Fraction] | None:
        """See ``Representation.square_norms``."""
        if not isinstance(self.upper.exact_point, FrameWitness):
            return None
        return enclosure.square_norms(self.problem, self.upper.exact_point)

    def loss_bound(self) -> ProvedBound:
        """See ``Representation.loss_bound``."""
        return enclosure.upper_bound(self.problem, self.point, penalties=False)

    def rescaled(self, weights: float, features: float) -> Self:
        """See ``Representation.rescaled``."""
        point = FramePoint(self.point.eta * features, self.point.omega * weights)
        return replace(self, point=point, upper=enclosure.upper_bound(self.problem, point))

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        return self.point.dense()

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        return self.point.margins

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return self.point.eta

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        K, squares = self.problem.num_classes, self.point.omega**2
        return np.sqrt((1.0 - 2.0 / K) * squares + squares.sum() / K**2)

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        K, loss = self.problem.num_classes, margin_loss(self.problem)
        gains: FloatArray = loss.margin_values(np.zeros(K), K) - loss.margin_values(self.point.margins, K)
        return gains

    def group_means(self, columns: Columns) -> tuple[Gram, FloatArray]:
        """See ``Evidence.group_means``; the one frame of free features is W = H = 0, where a run left nothing."""
        V, m = columns.outputs, columns.columns
        L = Alike.zeros(V, m)
        return Gram(Alike.zeros(V, V), L, Alike.zeros(m, m)), columns.values(L)

    def collapsed(self) -> tuple[int, ...]:
        """Classes with η = 0: on a frame the zeros are exact."""
        if not self.problem.nonnegative:
            return ()
        return tuple(np.flatnonzero(self.point.eta == 0.0).tolist())

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``."""
        from ufm_convex.recovery import require_dimension

        require_dimension(self.rank, feature_dim)
        return self.point.factors(feature_dim)

    @property
    def rank(self) -> int:
        """Coordinates in use."""
        return int(self.point.used.size)

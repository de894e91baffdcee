"""Evidence on the coordinate axes, O(K): squared error, whose optimum is the general orthogonal frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import numpy as np

from ufm_convex import duality, enclosure
from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import ProvedBound
from ufm_convex.evidence.frame import FrameEvidence
from ufm_convex.problem import Problem
from ufm_convex.relaxation import AxesDual, AxesPoint, Columns, Gram
from ufm_convex.solvers import SolverRun


@dataclass(frozen=True, eq=False)
class AxesEvidence(FrameEvidence):
    """An ``AxesPoint`` and an ``AxesDual``. A certificate is made from their matrices."""

    point: AxesPoint
    dual: AxesDual

    @classmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """A run with both."""
        return isinstance(run.point, AxesPoint) and isinstance(run.dual, AxesDual)

    @classmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> AxesEvidence:
        """The bounds of the two points as they are."""
        point, dual = run.point, run.dual
        if not isinstance(point, AxesPoint) or not isinstance(dual, AxesDual):
            raise TypeError("the run has no points on the axes")
        return cls(problem, run, point, dual, enclosure.axes_lower(problem, dual), enclosure.axes_upper(problem, point))

    def report(self, epsilon: float) -> duality.KKTReport:
        """See ``Evidence.report``."""
        return duality.axes_report(self.problem, self.point, self.dual, epsilon)

    def square_norms(self) -> tuple[Fraction, Fraction] | None:
        """See ``Representation.square_norms``; asked for problems with norm bounds, which have no such points."""
        return None

    def loss_bound(self) -> ProvedBound:
        """See ``Representation.loss_bound``."""
        return enclosure.axes_upper(self.problem, self.point, penalties=False)

    def rescaled(self, weights: float, features: float) -> Self:
        """See ``Representation.rescaled``."""
        point = AxesPoint(self.point.eta * features, self.point.omega * weights)
        return replace(self, point=point, upper=enclosure.axes_upper(self.problem, point))

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return self.point.omega

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``: ½ − ½ (1 − m)²."""
        margins = self.point.margins
        return np.asarray(margins * (1.0 - 0.5 * margins))

    def group_means(self, columns: Columns) -> tuple[Gram, FloatArray]:
        """See ``Evidence.group_means``."""
        found = Gram.mean(columns, self.dense_point())
        return found, columns.values(found.logits)

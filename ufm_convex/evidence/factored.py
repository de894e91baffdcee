"""Evidence on factors: W and H as a descent has them, a dual point without T, and nothing m × m unless it is asked for.

Written for free features and a softmax against a table, whose bounds ``enclosure.wide`` proves. Whatever the run says,
its residuals are taken for shares, and those at its own logits where it has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Self

import numpy as np

from ufm_convex import duality, relaxation
from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.enclosure import ProvedBound, wide_lower_bound, wide_upper_bound
from ufm_convex.evidence.base import Representation, relative_gap
from ufm_convex.problem import Problem
from ufm_convex.recovery import require_dimension, spectrum
from ufm_convex.relaxation import Alike, Columns, Dual, Factors, Gram, GramPoint, require_dense
from ufm_convex.solvers import SolverRun

_NOISE = 1e-12
"""Directions of features with less than this share of the longest one's penalty do not count towards the rank."""


@dataclass(frozen=True, eq=False)
class FactoredEvidence(Representation):
    """W and H, and residuals.

    Attributes:
        columns: The columns, single ones.
        point: The factors behind ``upper``.
        dual: The dual point behind ``lower``, up to the rounding that its proof asks for.
    """

    columns: Columns
    point: Factors
    dual: Dual

    @classmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """A run whose point is a pair of factors."""
        return isinstance(run.point, Factors) and problem.loss.tabled_softmax and problem.bias is None

    @classmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> FactoredEvidence:
        """The bounds of the two points as they are: the proof of the norm shrinks what is infeasible."""
        if not isinstance(run.point, Factors):
            raise TypeError("the run has no factors")
        columns, point = relaxation.of_classes(problem), run.point
        dual = run.dual if isinstance(run.dual, Dual) else Dual(columns.residuals(point.logits))
        dual = Dual(Alike.matrix(columns.outputs, columns.columns, dual.V.even))
        lower = wide_lower_bound(problem, dual.V.even + columns.target.even)
        upper = wide_upper_bound(problem, point.W.even, point.H.even)
        relaxed = run.value if problem.feature_dim is not None else None
        return cls(problem, run, point, dual, lower, upper, columns, relaxed=relaxed)

    def spread_out(self, problem: Problem, column: IntArray) -> FactoredEvidence:
        """The same about a problem with equal columns, of which this one has merged ``column``, (m,): bounds stay."""
        columns, point = relaxation.of_classes(problem), self.point
        H = Alike.matrix(columns.columns, point.H.cols, point.H.even[column])
        V = Alike.matrix(columns.outputs, columns.columns, self.dual.V.even[:, column])
        return replace(self, problem=problem, columns=columns, point=Factors(point.W, H), dual=Dual(V))

    def report(self, epsilon: float) -> duality.KKTReport:
        """See ``Evidence.report``."""
        return duality.factors_report(self.columns, self.point, self.dual, epsilon)

    def slack(self) -> FloatArray:
        """See ``Evidence.slack``."""
        require_dense(self.problem.num_columns, "the slack", "the residuals, solution.dual.V")
        scaled = relaxation.scaled_slack(self.columns, self.dual)
        return scaled.scaled(self.columns.sigma, self.columns.sigma).full()

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        largest = max(self.problem.num_columns, self.problem.num_outputs)
        require_dense(largest, "the solution", "solution.factors()")
        return self.point.gram().full()

    @cached_property
    def _logits(self) -> FloatArray:
        return self.point.logits.even

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        alone, logits = np.arange(self.columns.columns.size), self._logits.copy()
        own = self.columns.loss.own_outputs(self.columns.rows)
        mine = logits[own, alone]
        logits[own, alone] = -np.inf
        return np.asarray(mine - logits.max(axis=0))

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return np.asarray(np.linalg.norm(self.point.H.even, axis=1))

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return np.asarray(np.linalg.norm(self.point.W.even, axis=1))

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        values = self.columns.values
        return values(Alike.zeros(self.columns.outputs, self.columns.columns)) - values(self.point.logits)

    def group_means(self, columns: Columns) -> tuple[Gram, FloatArray]:
        """See ``Evidence.group_means``: columns of a table are no groups."""
        return self.point.gram(), self.columns.values(self.point.logits)

    def settled(self, tolerance: float) -> bool:
        """See ``Evidence.settled``: one run with ``feature_dim`` is as good as the next."""
        return (
            self.problem.feature_dim is not None
            and self.relaxed is not None
            and (relative_gap(self.lower.value, self.upper.value) > relative_gap(self.lower.value, self.relaxed))
        )

    def square_norms(self) -> tuple[Fraction, Fraction] | None:
        """See ``Representation.square_norms``."""
        return None

    def loss_bound(self) -> ProvedBound:
        """See ``Representation.loss_bound``."""
        return wide_upper_bound(self.problem, self.point.W.even, self.point.H.even, penalties=False)

    def rescaled(self, weights: float, features: float) -> Self:
        """See ``Representation.rescaled``."""
        point = Factors(weights * self.point.W, features * self.point.H)
        return replace(self, point=point, upper=wide_upper_bound(self.problem, point.W.even, point.H.even))

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``."""
        W, H = self.point.W.even, self.point.H.even
        if feature_dim is not None and feature_dim < W.shape[1]:
            require_dimension(self.rank, feature_dim)
            basis = np.linalg.svd(H, full_matrices=False)[2][:feature_dim].T
            W, H = W @ basis, H @ basis
        pad = ((0, 0), (0, max(0, (feature_dim or 0) - W.shape[1])))
        return np.pad(W, pad), np.pad(H, pad)

    @cached_property
    def rank(self) -> int:
        """Dimensions that the features use, up to noise."""
        scaled = self.point.H.even * np.sqrt(self.columns.feature_weights)[:, None]
        squares = spectrum(scaled)[1] ** 2
        return int((squares > _NOISE * max(float(squares.max()), math.ulp(0.0))).sum())

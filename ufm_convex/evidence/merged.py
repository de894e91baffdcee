"""Evidence about a problem whose equal columns were merged: that of the merged problem, its columns written out.

Columns with equal targets and equal weights share one feature at an optimum, and the sum of their counts takes the
place of theirs (docs/targets.md). Written out, W and H have the same objective, and a dual point the same value: column
j of a merged column a has v_j = v_a and the share s_j = n_j / n_a of u_a, and T_ij = s_i s_j T_ab keeps the slack
positive semidefinite, since Σ_j n_j x_j² ≥ n_a (Σ_j s_j x_j)² by Jensen's inequality. So both bounds are those of the
problem itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex import duality, enclosure, relaxation
from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.evidence.base import Evidence
from ufm_convex.evidence.bounds import Bounds
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Columns, Dual, DualPoint, Factors, FrameDual, Gram, GramPoint, require_dense

if TYPE_CHECKING:
    from ufm_convex.evidence.columns import ColumnsEvidence


def spread_out(problem: Problem, inner: Evidence, column: IntArray) -> Evidence:
    """Evidence about the merged problem, as evidence about the problem; ``column`` is the new one of each, (m,)."""
    from ufm_convex.evidence.factored import FactoredEvidence

    if isinstance(inner, FactoredEvidence):
        return inner.spread_out(problem, column)
    return MergedEvidence(problem, inner, column)


class MergedEvidence(Evidence):
    """Evidence about the merged problem, as evidence about the problem.

    ``run`` and its points are those of the merged problem. Points are written out when they are asked for.
    """

    inner: Evidence
    column: IntArray

    def __init__(self, problem: Problem, inner: Evidence, column: IntArray) -> None:
        """The evidence.

        Args:
            problem: The problem.
            inner: The evidence about the merged problem.
            column: The merged column of each column, (m,).
        """
        given = {"problem": problem, "run": inner.run, "lower": inner.lower, "upper": inner.upper}
        for name, value in {**given, "relaxed": inner.relaxed, "inner": inner, "column": column}.items():
            object.__setattr__(self, name, value)

    @cached_property
    def point(self) -> GramPoint:
        """See ``Evidence``."""
        return self.dense_point()

    @cached_property
    def dual(self) -> DualPoint:
        """See ``Evidence``."""
        inner = self.inner
        dual = inner.dual.dense(inner.problem) if isinstance(inner.dual, FrameDual) else inner.dual
        whole = dual if isinstance(dual, DualPoint) else dual.full()
        shares = self.problem.class_counts / inner.problem.class_counts[self.column]
        both = np.ix_(self.column, self.column)
        return DualPoint(whole.residuals[:, self.column], whole.nonnegativity[both] * np.outer(shares, shares))

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        require_dense(self.column.size, "the solution", "the merged problem, problem.merged[0]")
        found, both = self.inner.dense_point(), np.ix_(self.column, self.column)
        return replace(found, logits=found.logits[:, self.column], feature_gram=found.feature_gram[both])

    @property
    def estimate(self) -> float | None:
        """See ``Evidence.estimate``."""
        return self.inner.estimate

    @cached_property
    def _columns(self) -> Columns:
        return relaxation.of_classes(self.problem)

    def report(self, epsilon: float) -> duality.KKTReport:
        """See ``Evidence.report``: at the points written out."""
        columns, factors = self._columns, Factors.single(self._columns, *self.factors(None), self._own_bias)
        return duality.report(columns, Gram.mean(columns, self.point), Dual.mean(columns, self.dual), factors, epsilon)

    def solver_report(self, epsilon: float) -> duality.KKTReport | None:
        """See ``Evidence.solver_report``: of the merged problem, which the solver worked on."""
        return self.inner.solver_report(epsilon)

    def settled(self, tolerance: float) -> bool:
        """See ``Evidence.settled``."""
        return self.inner.settled(tolerance)

    def slack(self) -> FloatArray:
        """See ``Evidence.slack``."""
        columns = self._columns
        scaled = relaxation.scaled_slack(columns, Dual.mean(columns, self.dual))
        return scaled.scaled(columns.sigma, columns.sigma).full()

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        return self.inner.margins()[self.column]

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return self.inner.feature_norms()[self.column]

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return self.inner.weight_norms()

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        return self.inner.loss_gains()[self.column]

    def group_means(self, columns: Columns) -> tuple[Gram, FloatArray]:
        """See ``Evidence.group_means``: columns of a table are no groups."""
        losses = self._columns.values(self._columns.outputs_of(Gram.mean(columns, self.point).logits, self._own_bias))
        return Gram.mean(columns, self.point), losses

    def silent(self, classes: Iterable[int]) -> tuple[int, ...]:
        """See ``Evidence.silent``."""
        return self.inner.silent(classes)

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``."""
        W, H = self.inner.factors(feature_dim)
        return W, H[self.column]

    @property
    def bias(self) -> FloatArray:
        """See ``Evidence.bias``."""
        return self.inner.bias

    @property
    def _own_bias(self) -> FloatArray | None:
        return None if self.problem.bias is None else self.bias

    @property
    def factor_residual(self) -> float:
        """See ``Evidence.factor_residual``."""
        return self.inner.factor_residual

    @property
    def rank(self) -> int:
        """See ``Evidence.rank``."""
        return self.inner.rank

    def whole(self, tolerance: float) -> ColumnsEvidence:
        """The same from a run on the problem's own columns: for who works on with its factors."""
        from ufm_convex.evidence.columns import ColumnsEvidence

        run = replace(self.run, point=self.point, dual=self.dual, factors=None)
        return ColumnsEvidence.gather(self.problem, run, tolerance)

    def written_out(self, proof: enclosure.Proof) -> Bounds:
        """Both bounds with exact points of the problem's own columns: the proofs again, on all of them."""
        upper = enclosure.upper_bound(self.problem, (*self.factors(None), self._own_bias))
        return Bounds(enclosure.lower_bound(self.problem, self.dual, proof=proof), upper)

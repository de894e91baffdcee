"""The programme as the papers print it, in cvxpy, and a solver that cvxpy drives on it.

    min  Σ_k pt_k l_k(L e_k) + λ_W/2 tr A + λ_H/2 Σ_k n_k B_kk      s.t.  Z = [[A, L], [Lᵀ, B]] ⪰ 0,  B ≥ 0

(docs/duality.md, equation 3) without scaling and with every option left alone: what a reader of a paper types in. The
constraints are explicit, because cvxpy has no multipliers of attributes. L and B have a column for each of the m
classes with samples.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import BiasModel, bias_of
from ufm_convex.relaxation import DualPoint, GramPoint, symmetric
from ufm_convex.solvers import Claim
from ufm_convex.solvers.conic import STATUS_MAP, dual_objective

if TYPE_CHECKING:
    import cvxpy as cp


@dataclass(frozen=True, eq=False)
class Textbook:
    """The cvxpy problem and what is needed to read its solution.

    Attributes:
        source: The problem that it states.
        programme: The cvxpy problem.
        Z: Its variable, (K + m, K + m).
        psd: Z ⪰ 0.
        nonnegative: B ≥ 0, all m² entries; None for free features.
        bias: The bias, its penalty, and what fixes a direction of it that the loss does not see.
    """

    source: Problem
    programme: cp.Problem
    Z: cp.Variable
    psd: cp.Constraint
    nonnegative: cp.Constraint | None
    bias: BiasModel

    @classmethod
    def of(cls, problem: Problem) -> Textbook:
        """The programme of a problem."""
        import cvxpy as cp

        K, there = problem.num_outputs, np.flatnonzero(problem.class_counts)
        Z = cp.Variable((K + there.size, K + there.size), symmetric=True)
        A, L, B = Z[:K, :K], Z[:K, K:], Z[K:, K:]
        bias = bias_of(problem.bias, problem.loss, K).model(1.0)
        seen = (
            L if bias.variable is None else L + cp.reshape(bias.variable, (K, 1), order="C") @ np.ones((1, there.size))
        )
        losses = problem.loss_weights[there] @ problem.loss.expression(seen, problem.loss.layout(K, there))
        penalty = problem.lambda_w / 2 * cp.trace(A) + problem.lambda_h / 2 * (problem.class_counts[there] @ cp.diag(B))
        psd = Z >> 0
        nonnegative = B >= 0 if problem.nonnegative else None
        constraints = [psd, *([] if nonnegative is None else [nonnegative]), *bias.constraints]
        programme = cp.Problem(cp.Minimize(losses + penalty + bias.penalty), constraints)
        return cls(problem, programme, Z, psd, nonnegative, bias)

    def point(self) -> GramPoint | None:
        """Z, or None when the solver left no value."""
        if self.Z.value is None:
            return None
        K, Z = self.source.num_outputs, symmetric(self.Z.value)
        square = self._placed(self._placed(Z[K:, K:]).T)
        return GramPoint(Z[:K, :K], self._placed(Z[:K, K:]), square, self.bias.value)

    def dual(self) -> DualPoint | None:
        """The multipliers, or None when the solver left none; that of B ≥ 0 is T/(2 λ_W), all its entries listed."""
        if self.psd.dual_value is None:
            return None
        problem, K, S = self.source, self.source.num_outputs, symmetric(self.psd.dual_value)
        T = np.zeros_like(S[K:, K:])
        if self.nonnegative is not None and self.nonnegative.dual_value is not None:
            T = 2.0 * problem.lambda_w * symmetric(self.nonnegative.dual_value)
        V = 2.0 * S[:K, K:] / problem.loss_weights[problem.class_counts > 0]
        square = (self._placed(self._placed(M).T) for M in (T, S[K:, K:]))
        T, feature_block = square
        return DualPoint(self._placed(V), T, S[:K, :K], feature_block)

    def _placed(self, columns: FloatArray) -> FloatArray:
        """The columns of classes with samples in their places, among zeros for the others."""
        found = np.zeros((len(columns), self.source.num_classes))
        found[:, self.source.class_counts > 0] = columns
        return found


class TextbookContestant(Contestant):
    """A solver on the textbook programme."""

    returns: ClassVar[str] = "gram and dual"
    claims: ClassVar[str] = "optimal: whatever cvxpy makes of the solver's status"
    biased: ClassVar[bool] = True

    @abstractmethod
    def solve(self, programme: cp.Problem) -> None:
        """Solve the programme, with as little said as possible."""

    def attempt(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """One run with the solver's own settings; see ``Contestant.attempt``."""
        import cvxpy as cp

        textbook = Textbook.of(problem)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "may be inaccurate": nothing is believed anyway
            try:
                self.solve(textbook.programme)
            except cp.SolverError as error:
                return Answer(Claim.FAILED, message=f"solver error: {error}")
        status, statistics = str(textbook.programme.status), textbook.programme.solver_stats
        return Answer(
            claim=STATUS_MAP.get(status, Claim.FAILED),
            value=_finite(textbook.programme.value),
            dual_value=dual_objective(textbook.programme),
            point=textbook.point(),
            dual=textbook.dual(),
            message=status if statistics is None else f"{status}, {statistics.solver_name}",
        )


def _finite(value: Any) -> float | None:
    """The value, or None for the infinities that stand for "infeasible" and "unbounded"."""
    return None if value is None or not np.isfinite(value) else float(value)

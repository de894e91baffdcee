"""The class-level programme of cross-entropy in matrices, for solvers that have no modelling layer.

    Z = E X E,     E = Diag(√s_k/√λ_W ; √c_k/√(λ_H n_k)),     objective divided by κ = max s

as ``relaxation.conic`` scales it, so that the entries of X are logit margins whatever the decays and counts. The
multiplier of X ⪰ 0 is S″ = E S E / κ, and θ″ that of B″_kl ≥ 0 for k > l, each pair listed once.

Shapes: K classes; X and S″ (2K, 2K); θ″ (K(K−1)/2,), the strict lower triangle row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy, Loss, SoftTargetCrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Columns, DualPoint, GramPoint, Units, of_classes, symmetric


@dataclass(frozen=True, eq=False)
class ScaledClasses:
    """The data of the programme.

    Attributes:
        columns: Class-level columns.
        targets: Column k is the target distribution y_k of class k, (K, K).
        rows: s, (K,).
        cols: c, (K,).
    """

    columns: Columns
    targets: FloatArray
    rows: FloatArray
    cols: FloatArray

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """The data of a problem; ``HypothesisError`` for another loss than cross-entropy, and for empty classes."""
        if problem.num_outputs != problem.num_classes:
            raise HypothesisError(
                f"the table of targets has {problem.num_outputs} outputs and {problem.num_columns} rows.",
                expected="as many columns as outputs, for programmes that are written for classes",
                fix="use a solver that cvxpy drives: they take every table.",
            )
        if problem.num_columns < problem.num_outputs:
            raise HypothesisError(
                f"class {problem.empty_classes[0]} has no samples.",
                expected="samples in each class, for programmes of one column a class",
                fix="use a solver that cvxpy drives: they take classes without samples.",
            )
        columns = of_classes(problem)
        units = Units.of(columns)
        rows = np.arange(columns.outputs.total)
        return cls(columns, targets(columns.loss, rows.size, rows), units.rows, units.cols)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.columns.outputs.total

    @property
    def kappa(self) -> float:
        """κ: the objective of the programme is F / κ."""
        return float(self.rows.max())

    @property
    def loss_weights(self) -> FloatArray:
        """The weights pt / κ of the losses, (K,)."""
        return self.columns.loss_weights / self.kappa

    @property
    def diagonal(self) -> FloatArray:
        """Coefficients of the diagonal of X in the penalty, (2K,)."""
        return 0.5 * np.concatenate([self.rows, self.cols]) / self.kappa

    @property
    def logit_scale(self) -> FloatArray:
        """Factors that turn the block (k, K + l) of X into logits, (K, K)."""
        return np.sqrt(np.outer(self.rows, self.cols)) / self.columns.sigma

    @cached_property
    def scale(self) -> FloatArray:
        """The diagonal of E, (2K,)."""
        features = np.sqrt(self.cols) / np.sqrt(self.columns.lambda_h * self.columns.feature_weights)
        return np.concatenate([np.sqrt(self.rows) / np.sqrt(self.columns.lambda_w), features])

    def gram(self, X: FloatArray) -> GramPoint:
        """The point that X stands for."""
        K, Z = self.num_classes, symmetric(X) * np.outer(self.scale, self.scale)
        return GramPoint(Z[:K, :K], Z[:K, K:], Z[K:, K:])

    def dual(self, S: FloatArray, theta: FloatArray) -> DualPoint:
        """The dual point of the multipliers S″ and θ″; no θ″ for free features."""
        K = self.num_classes
        blocks = self.kappa * symmetric(S) / np.outer(self.scale, self.scale)
        return DualPoint(
            residuals=2.0 * blocks[:K, K:] / self.columns.loss_weights,
            nonnegativity=self.nonnegativity(theta),
            weight_block=blocks[:K, :K],
            feature_block=blocks[K:, K:],
        )

    def nonnegativity(self, theta: FloatArray) -> FloatArray:
        """T, (K, K): a listed pair stands for two entries, so T_kl = λ_W θ_kl (docs/kkt.md, section 4)."""
        K, features = self.num_classes, self.scale[self.num_classes :]
        T = np.zeros((K, K))
        if theta.size:
            T[np.tril_indices(K, -1)] = theta
        T = self.columns.lambda_w * self.kappa * T / np.outer(features, features)
        return T + T.T


def targets(loss: Loss, num_outputs: int, rows: IntArray) -> FloatArray:
    """The targets of columns of the given classes, or rows of a table, (V, C).

    Raises:
        HypothesisError: the loss is not log-sum-exp of the logits minus their inner product with a target.
    """
    if type(loss) in (CrossEntropy, SoftTargetCrossEntropy):
        return loss.target_columns(num_outputs, rows)
    raise HypothesisError(
        f"loss {loss.name!r} is not written for this solver.",
        expected="cross-entropy, with or without class weights, smoothing and soft targets",
        fix="use a solver that cvxpy drives: they take every loss.",
    )

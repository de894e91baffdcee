"""The Gram relaxation as a cvxpy programme, scaled so that its variables and its objective are of order one.

    min  Σ_i weight_i l_i(L e_i) + λ_W/2 tr A + λ_H/2 Σ_i ν_i B_ii      s.t.  Z ⪰ 0,  B_kl ≥ 0 (k < l)

(docs/duality.md, equation 3). The variable is Z″ with Z = E Z″ E, E = Diag(√s_j/√λ_W ; √c_i/√(λ_H ν_i)): the penalty
becomes ½ Σ s_j A″_jj + ½ Σ c_i B″_ii and the entries of Z″ are logit margins, whatever the decays and counts. The
objective is divided by κ = max s.

Duals: PSD and non-negativity are explicit constraints, because attributes have no multipliers. With the Lagrangian
F − <S, Z> − Σ_{k<l} θ_kl B_kl the multipliers scale back as S = κ E⁻¹ S″ E⁻¹, and a listed pair stands for two
entries, so T/(2 λ_W) = θ/2, that is T_kl = λ_W θ_kl (docs/duality.md, section 4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.bias import BiasModel
from ufm_convex.identity import dual_value
from ufm_convex.points import Columns, DualPoint, GramPoint

if TYPE_CHECKING:
    import cvxpy as cp

P = TypeVar("P")
D = TypeVar("D")


@dataclass(frozen=True, eq=False)
class Programme(ABC, Generic[P, D]):
    """A cvxpy problem and what is needed to read its solution, with points P and D of its level.

    Attributes:
        problem: The scaled cvxpy problem; its optimal value is F / ``objective_scale``.
        objective_scale: κ.
    """

    problem: cp.Problem
    objective_scale: float

    @abstractmethod
    def primal(self) -> P | None:
        """The variables in the units of the problem, or None when the solver left no value."""

    @abstractmethod
    def dual(self) -> D | None:
        """The multipliers in the units of the problem, unrepaired, or None when the solver left none."""

    @abstractmethod
    def dual_value(self, dual: D) -> float:
        """The dual objective at the multipliers, taken into the conjugate's domain, else unrepaired."""


@dataclass(frozen=True, eq=False)
class ColumnProgramme(Programme[GramPoint, DualPoint]):
    """The programme whose variable is the Gram matrix Z of the classifier and the columns.

    Attributes:
        columns: The columns it was built for.
        Z: The scaled variable Z″, (K + m, K + m).
        psd: The constraint Z″ ⪰ 0.
        nonnegative: The constraint on the strict upper triangle of B″; None for free features.
        scale: The diagonal of E, (K + m,).
        bias: The bias, which is not scaled: it has the units of logits as it is.
    """

    columns: Columns
    Z: cp.Variable
    psd: cp.Constraint
    nonnegative: cp.Constraint | None
    scale: FloatArray
    bias: BiasModel

    def primal(self) -> GramPoint | None:
        """Z in the units of the problem, or None when the solver left no value."""
        if self.Z.value is None or not np.isfinite(self.Z.value).all():
            return None
        K = self.columns.num_classes
        Z = symmetric(self.Z.value) * np.outer(self.scale, self.scale)
        return GramPoint(Z[:K, :K], Z[:K, K:], Z[K:, K:], self.bias.value)

    def dual(self) -> DualPoint | None:
        """The multipliers in the units of the problem, unrepaired, or None when the solver left none."""
        if self.psd.dual_value is None or not np.isfinite(self.psd.dual_value).all():
            return None
        K, columns = self.columns.num_classes, self.columns
        S = self.objective_scale * symmetric(self.psd.dual_value) / np.outer(self.scale, self.scale)
        return DualPoint(
            residuals=2.0 * S[:K, K:] / columns.loss_weights,
            nonnegativity=self._nonnegativity_multiplier(),
            weight_block=S[:K, :K],
            feature_block=S[K:, K:],
        )

    def dual_value(self, dual: DualPoint) -> float:
        """See ``Programme.dual_value``."""
        return dual_value(self.columns, DualPoint(self.columns.into_domain(dual.residuals), dual.nonnegativity))

    def _nonnegativity_multiplier(self) -> FloatArray:
        K, m = self.columns.num_classes, self.columns.labels.size
        T = np.zeros((m, m))
        if self.nonnegative is None or self.nonnegative.dual_value is None:
            return T
        features = self.scale[K:]
        T[np.triu_indices(m, 1)] = np.ravel(self.nonnegative.dual_value)
        T = self.columns.lambda_w * self.objective_scale * T / np.outer(features, features)
        return T + T.T


def build(columns: Columns) -> ColumnProgramme:
    """The scaled programme for the given columns; vectorised, one log-sum-exp per column."""
    import cvxpy as cp

    K, m = columns.num_classes, columns.labels.size
    rows, cols = variable_scales(columns)
    Z = cp.Variable((K + m, K + m), symmetric=True)
    X, B = Z[:K, K:], Z[K:, K:]
    logits = cp.multiply(np.sqrt(np.outer(rows, cols)) / columns.sigma, X)
    kappa = float(rows.max())
    bias = columns.bias.model(kappa)
    losses = (columns.loss_weights / kappa) @ columns.loss.expression(bias.added_to(logits), columns.layout)
    penalty = 0.5 * (np.concatenate([rows, cols]) / kappa) @ cp.diag(Z) + bias.penalty
    psd = Z >> 0
    nonnegative = cp.upper_tri(B) >= 0 if columns.nonnegative and m > 1 else None
    constraints = [psd, *bias.constraints] if nonnegative is None else [psd, nonnegative, *bias.constraints]
    feature_scale = np.sqrt(cols) / np.sqrt(columns.lambda_h * columns.feature_weights)
    return ColumnProgramme(
        columns=columns,
        problem=cp.Problem(cp.Minimize(losses + penalty), constraints),
        Z=Z,
        psd=psd,
        nonnegative=nonnegative,
        scale=np.concatenate([np.sqrt(rows) / np.sqrt(columns.lambda_w), feature_scale]),
        bias=bias,
        objective_scale=kappa,
    )


def variable_scales(columns: Columns) -> tuple[FloatArray, FloatArray]:
    """S (K,) and c (m,): √(λ_W λ_H n_k) for classifiers, shared among the columns of a class for features.

    At the optimum λ_W A_kk and the class's sum of λ_H ν_i B_ii are both of the order of σ_k times a margin.
    """
    sigma = columns.sigma
    if (indicator := columns.loss.indicator) is not None:  # whose margins are of a size of their own
        sigma = sigma * indicator.unit(columns.num_classes)
    squares = np.bincount(columns.labels, weights=sigma**2, minlength=columns.num_classes)
    multiplicity = np.bincount(columns.labels, minlength=columns.num_classes)
    rows = np.sqrt(squares)
    return rows, (rows / multiplicity)[columns.labels]


def symmetric(matrix: FloatArray) -> FloatArray:
    """The symmetric part; some solvers return PSD multipliers that are not symmetric."""
    return 0.5 * (matrix + matrix.T)

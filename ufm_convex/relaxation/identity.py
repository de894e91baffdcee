"""The master identity at any level: objective = dual value + calibration + alignment + T-part + slack + bias.

For every primal point and every dual point (V, T), with U = V Diag(weights), G = UᵀU, D = Diag(σ²), R = D − G − T
(docs/duality.md, equation 5; docs/duality_bias.md, equation 14):

    F  =  − Σ weight l*(v) − g*(−U1)                              dual value
          + Σ weight [ l(Le + b) + l*(v) − <v, Le + b> ]          calibration   (Fenchel–Young)
          + λ_W/2 tr A + <U, L> + tr U B Uᵀ / (2 λ_W)             alignment
          + <T, B> / (2 λ_W)                                      non-negativity
          + <R, B> / (2 λ_W)                                      slack
          + g(b) + g*(−U1) + <U1, b>                              bias

Shapes: as in ``columns``. Units: those of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.relaxation.alike import Alike
from ufm_convex.relaxation.columns import Columns
from ufm_convex.relaxation.points import Dual, Gram, Point


@dataclass(frozen=True)
class IdentityTerms:
    """The right-hand side of the master identity.

    Attributes:
        dual_value: − Σ weight l*(v), less g*(−U1) with a bias.
        calibration: Fenchel–Young gaps; ≥ 0 when V lies in the conjugate's domain.
        alignment: ≥ 0 when Z is positive semidefinite.
        nonnegativity: <T, B> / (2 λ_W); ≥ 0 when T ≥ 0 and B ≥ 0.
        slack: <R, B> / (2 λ_W); ≥ 0 when R and B are positive semidefinite.
        bias: g(b) + g*(−U1) + <U1, b>; ≥ 0 whatever b is.
    """

    dual_value: float
    calibration: float
    alignment: float
    nonnegativity: float
    slack: float
    bias: float = 0.0

    @property
    def gap(self) -> float:
        """Objective minus dual value, as a sum of terms without cancellation."""
        return self.calibration + self.alignment + self.nonnegativity + self.slack + self.bias

    @property
    def objective(self) -> float:
        """F(Z)."""
        return self.dual_value + self.gap


def _offset(columns: Columns, point: Point) -> FloatArray:
    return np.zeros(columns.outputs.size) if point.bias is None else point.bias


def objective(columns: Columns, point: Point) -> float:
    """F = Σ weight l(Le + b) + λ_W/2 tr A + λ_H/2 Σ ν B_jj + g(b)."""
    losses = columns.orbit_weights @ columns.values(columns.outputs_of(point.logits, point.bias))
    features = columns.columns.numbers * columns.feature_weights
    penalty_h = 0.5 * columns.lambda_h * float(features @ point.feature_squares())
    penalty_b = columns.bias.penalty(_offset(columns, point))
    return float(losses) + 0.5 * columns.lambda_w * point.weight_trace() + penalty_h + penalty_b


def dual_value(columns: Columns, V: Alike) -> float:
    """− Σ weight l*(v) − g*(−U1); −∞ outside the domain of either conjugate."""
    return float(-(columns.orbit_weights @ columns.conjugates(V))) - columns.support(V)


def scaled_residuals(columns: Columns, V: Alike) -> Alike:
    """U D^{-1/2}, (V, m): no singular value of it exceeds 1 where T = 0 is feasible."""
    return V.scaled(None, columns.loss_weights / columns.sigma)


def residual_gram(columns: Columns, V: Alike) -> Alike:
    """D^{-1/2} G D^{-1/2}, (m, m)."""
    scaled = scaled_residuals(columns, V)
    return scaled.T @ scaled


def scaled_load(columns: Columns, dual: Dual) -> Alike:
    """D^{-1/2} (G + T) D^{-1/2}, (m, m); the dual point is feasible iff no eigenvalue exceeds 1."""
    gram = residual_gram(columns, dual.V)
    return gram if dual.T is None else gram + dual.T.scaled(1.0 / columns.sigma, 1.0 / columns.sigma)


def scaled_slack(columns: Columns, dual: Dual) -> Alike:
    """D^{-1/2} R D^{-1/2}, (m, m); the dual point is feasible iff it is ⪰ 0."""
    return Alike.diagonal(columns.columns, np.ones(columns.columns.size)) - scaled_load(columns, dual)


def terms(columns: Columns, point: Point, dual: Dual) -> IdentityTerms:
    """All terms of the identity."""
    weights, lambda_w, V = columns.orbit_weights, columns.lambda_w, dual.V
    outputs, U = columns.outputs_of(point.logits, point.bias), columns.weighted(V)
    conjugates = columns.conjugates(V)
    pairing = (columns.layout.numbers * V.entries() * outputs.entries()).sum(axis=0)
    sums, size = columns.sums(V)
    alignment = 0.5 * lambda_w * point.weight_trace() + U.inner(point.logits)
    alignment += 0.5 * point.feature_form(U) / lambda_w  # not over λ_W²: its square may leave binary64
    paired = 0.0 if dual.T is None else point.feature_pairing(dual.T)
    return IdentityTerms(
        dual_value=float(-(weights @ conjugates)) - columns.bias.support(sums, size),
        calibration=float(weights @ (columns.values(outputs) + conjugates - pairing)),
        alignment=float(alignment),
        nonnegativity=float(paired / (2.0 * lambda_w)),
        slack=_slack(columns, point, dual, U, paired),
        bias=columns.bias.misfit(_offset(columns, point), sums),
    )


def _slack(columns: Columns, point: Point, dual: Dual, U: Alike, paired: float) -> float:
    """<R, B> / (2 λ_W): R first for Gram points, where its eigenvalues are small; by images of H for factors."""
    if isinstance(point, Gram):
        scaled_B = point.B.scaled(columns.sigma, columns.sigma)
        return scaled_slack(columns, dual).inner(scaled_B) / (2.0 * columns.lambda_w)
    features = columns.lambda_h * columns.columns.numbers * columns.feature_weights
    penalty = float(features @ point.feature_squares())
    return 0.5 * (penalty - (point.feature_form(U) + paired) / columns.lambda_w)

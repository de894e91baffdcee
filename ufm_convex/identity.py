"""The master identity: objective = dual value + calibration + alignment + variability + geometry.

For every Z and every dual point (V, T), with U = V Diag(weights), G = UᵀU, D = Diag(σ²), R = D − G − T
(docs/duality.md, equation 5):

    F(Z) =  − Σ_i weight_i l_i*(v_i)                                     dual value
            + Σ_i weight_i [ l_i(Le_i) + l_i*(v_i) − <v_i, Le_i> ]        calibration   (Fenchel–Young)
            + λ_W/2 tr( [I, U/λ_W] Z [I, U/λ_W]ᵀ )                        alignment
            + <T, B> / (2 λ_W)                                            non-negativity
            + <R, B> / (2 λ_W)                                            slack

A bias adds g(b) + g*(−U1) + <U1, b> and takes g*(−U1) from the dual value (``bias``; docs/duality.md, section 8). The
first sum is the dual objective and the others are ≥ 0 whenever Z and (V, T) are feasible: weak duality, the
KKT conditions, certificates and the attribution of gaps are readings of these lines, and all are taken from here.

Shapes: as in ``points``. Units: those of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.bias import bias_of
from ufm_convex.groups import GroupColumns, GroupDual, GroupPoint, Invariant
from ufm_convex.losses import Loss, traits
from ufm_convex.points import Columns, DualPoint, FrameDual, FramePoint, GramPoint
from ufm_convex.problem import Problem

RANK_CUT, _PENALTY_CUT = 1e-6, 1e-3
"""Penalty of a direction of the features that does not count towards the rank: see ``noise``."""


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


def objective(columns: Columns, point: GramPoint) -> float:
    """F(Z) = Σ weight l(Le_i + b) + λ_W/2 tr A + λ_H/2 Σ ν_i B_ii + g(b) (docs/duality.md, equations 3 and 12)."""
    losses = columns.loss.values(point.outputs, columns.layout)
    penalty_w = 0.5 * columns.lambda_w * np.trace(point.weight_gram)
    penalty_h = 0.5 * columns.lambda_h * (columns.feature_weights @ np.diag(point.feature_gram))
    return float(columns.loss_weights @ losses + penalty_w + penalty_h + columns.bias.penalty(point.offset))


def factored_objective(columns: Columns, W: FloatArray, H: FloatArray, bias: FloatArray | None = None) -> float:
    """f(W, H, b) for W (K, d), H (m, d) and b (K,), without forming Gram matrices."""
    b = np.zeros(columns.num_classes) if bias is None else bias
    losses = columns.loss.values(W @ H.T if bias is None else W @ H.T + b[:, None], columns.layout)
    penalty_h = 0.5 * columns.lambda_h * (columns.feature_weights @ (H * H).sum(axis=1))
    penalties = 0.5 * columns.lambda_w * (W * W).sum() + penalty_h + columns.bias.penalty(b)
    return float(columns.loss_weights @ losses + penalties)


def dual_value(columns: Columns, dual: DualPoint) -> float:
    """− Σ weight l*(v) − g*(−U1) (docs/duality.md, equations 4 and 13); −inf outside the domain of either conjugate."""
    conjugates = columns.loss.conjugate(dual.residuals, columns.layout)
    return float(-(columns.loss_weights @ conjugates) - columns.support(dual.residuals))


def residual_gram(columns: Columns, dual: DualPoint) -> FloatArray:
    """D^{-1/2} G D^{-1/2}, (m, m): the scaled Gram matrix of the columns u_i."""
    scaled = dual.residuals * (columns.loss_weights / columns.sigma)
    return scaled.T @ scaled


def scaled_load(columns: Columns, dual: DualPoint) -> FloatArray:
    """D^{-1/2}(G + T)D^{-1/2}, (m, m): what R = D − G − T takes from D."""
    return residual_gram(columns, dual) + dual.nonnegativity / np.outer(columns.sigma, columns.sigma)


def scaled_slack(columns: Columns, dual: DualPoint) -> FloatArray:
    """D^{-1/2} R D^{-1/2} = I − D^{-1/2}(G + T)D^{-1/2}, (m, m); the dual point is feasible iff it is ⪰ 0."""
    return np.eye(columns.labels.size) - scaled_load(columns, dual)


def terms(columns: Columns, point: GramPoint, dual: DualPoint) -> IdentityTerms:
    """All terms of the identity, for dense points at class or sample level."""
    weights, lambda_w = columns.loss_weights, columns.lambda_w
    values = columns.loss.values(point.outputs, columns.layout)
    conjugates = columns.loss.conjugate(dual.residuals, columns.layout)
    pairing = (dual.residuals * point.outputs).sum(axis=0)
    U = dual.residuals * weights
    sums, size = columns.sums(dual.residuals)
    B = point.feature_gram
    alignment = 0.5 * lambda_w * np.trace(point.weight_gram) + (U * point.logits).sum()
    alignment += 0.5 * ((U @ B) * U).sum() / lambda_w  # not over λ_W²: its square may leave binary64
    scaled_B = B * np.outer(columns.sigma, columns.sigma)
    return IdentityTerms(
        dual_value=float(-(weights @ conjugates) - columns.bias.support(sums, size)),
        calibration=float(weights @ (values + conjugates - pairing)),
        alignment=float(alignment),
        nonnegativity=float((dual.nonnegativity * B).sum() / (2.0 * lambda_w)),
        slack=float((scaled_slack(columns, dual) * scaled_B).sum() / (2.0 * lambda_w)),
        bias=columns.bias.misfit(point.offset, sums),
    )


def margin_loss(problem: Problem) -> Loss:
    """The problem's loss; ``HypothesisError`` when it does not see margins only."""
    traits.require(problem.loss, ("margins_only",), "use the dense points, GramPoint and DualPoint.")
    return problem.loss


def frame_strengths(problem: Problem) -> FloatArray:
    """q_k of the dual optimum: at its radius, ‖u_k‖ = σ_k, for active classes and at zero logits for collapsed ones.

    Read off the margins it would carry their rounding error times the margin; this form is accurate to a few units.
    """
    K = problem.num_classes
    at_zero = margin_loss(problem).margin_strengths(np.zeros(K), K)
    return np.minimum(problem.sigma * np.sqrt(K / (K - 1)) / problem.loss_weights, at_zero)


def frame_terms(problem: Problem, point: FramePoint, dual: FrameDual) -> IdentityTerms:
    """All terms of the identity on an orthogonal frame with b = 0, in O(K): B is diagonal, so <T, B> = 0 exactly."""
    K, loss, weights = problem.num_classes, margin_loss(problem), problem.loss_weights
    fraction = (K - 1) / K
    values = loss.margin_values(point.margins, K)
    conjugates = loss.margin_conjugates(dual.strengths, K)
    pairing = -dual.strengths * point.margins * fraction
    strength = weights * dual.strengths
    bias, sums = bias_of(problem.bias, problem.loss, K), strength.mean() - strength
    misalignment = point.omega - strength * point.eta / problem.lambda_w
    scaled_slack = 1.0 - (strength / problem.sigma) ** 2 * fraction
    features = problem.lambda_h * problem.class_counts * point.eta**2
    return IdentityTerms(
        dual_value=float(-(weights @ conjugates) - bias.support(sums, 2.0 * fraction * float(strength.sum()))),
        calibration=float(weights @ (values + conjugates - pairing)),
        alignment=float(0.5 * problem.lambda_w * fraction * (misalignment @ misalignment)),
        nonnegativity=0.0,
        slack=float(0.5 * (scaled_slack @ features)),
        bias=bias.misfit(np.zeros(K), sums),
    )


# -- points that are alike on alike classes ------------------------------------------------------------------------


def group_objective(columns: GroupColumns, point: GroupPoint) -> float:
    """F(Z), in O(G²)."""
    penalty_w = 0.5 * columns.lambda_w * (columns.groups.sizes @ point.weight_gram.own)
    features = columns.groups.sizes * columns.feature_weights
    penalty_h = 0.5 * columns.lambda_h * (features @ point.feature_gram.own)
    return float(columns.class_weights @ columns.values(point.logits) + penalty_w + penalty_h)


def group_dual_value(columns: GroupColumns, residuals: Invariant) -> float:
    """− Σ weight l*(v) − g*(−U1), in O(G²); −inf outside the domain of either conjugate."""
    conjugates = columns.class_weights @ columns.conjugates(residuals)
    return float(-conjugates - columns.support(residuals))


def group_residual_gram(columns: GroupColumns, residuals: Invariant) -> Invariant:
    """D^{-1/2} G D^{-1/2}."""
    scaled = residuals.scaled(np.ones(columns.groups.size), columns.loss_weights / columns.sigma)
    return scaled.T @ scaled


def group_scaled_load(columns: GroupColumns, dual: GroupDual) -> Invariant:
    """D^{-1/2} (G + T) D^{-1/2}; the dual point is feasible iff no eigenvalue exceeds 1."""
    scaled_T = dual.nonnegativity.scaled(1.0 / columns.sigma, 1.0 / columns.sigma)
    return group_residual_gram(columns, dual.residuals) + scaled_T


def group_scaled_slack(columns: GroupColumns, dual: GroupDual) -> Invariant:
    """D^{-1/2} R D^{-1/2}; the dual point is feasible iff it is ⪰ 0."""
    return Invariant.identity(columns.groups) - group_scaled_load(columns, dual)


def group_terms(columns: GroupColumns, point: GroupPoint, dual: GroupDual) -> IdentityTerms:
    """All terms of the identity, in O(G³): equal to those of the class-level points that are stood for."""
    weights, lambda_w, V, L = columns.class_weights, columns.lambda_w, dual.residuals, point.logits
    others = columns.groups.others
    conjugates = columns.conjugates(V)
    pairing = V.own * L.own + (others * V.cross * L.cross).sum(axis=0)
    U = V.scaled(np.ones(columns.groups.size), columns.loss_weights)
    B = point.feature_gram
    trace = columns.groups.sizes @ point.weight_gram.own
    alignment = 0.5 * lambda_w * trace + U.inner(L) + 0.5 * (U @ B).inner(U) / lambda_w
    scaled_B = B.scaled(columns.sigma, columns.sigma)
    return IdentityTerms(
        dual_value=float(-(weights @ conjugates)),
        calibration=float(weights @ (columns.values(L) + conjugates - pairing)),
        alignment=float(alignment),
        nonnegativity=dual.nonnegativity.inner(B) / (2.0 * lambda_w),
        slack=group_scaled_slack(columns, dual).inner(scaled_B) / (2.0 * lambda_w),
    )


# -- what counts as a dimension -----------------------------------------------------------------------------------


def noise(value: float, without: float, penalty: float) -> float:
    """The penalty λ_H ‖·‖² up to which a direction of the features is noise.

    It is a share of the objective, whose accuracy is known, so that a solution whose classes all collapsed has rank 0.
    Where features are worth something and yet cost less than that, as with smoothed targets and small decays, it is a
    share of the penalty.

    Args:
        value: The objective.
        without: The objective of W = H = 0.
        penalty: λ_H Σ n_k ‖h_k‖².
    """
    worthless = without - value <= RANK_CUT * value
    return RANK_CUT * value if worthless else min(RANK_CUT * value, _PENALTY_CUT * penalty)

"""The terms of the master identity, those on an orthogonal frame, in O(K), and what counts as a dimension.

For any columns they are in ``relaxation.identity`` (docs/duality.md, equations 5 and 13).

Shapes: as in ``points``. Units: those of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.bias import bias_of
from ufm_convex.losses import Loss, traits
from ufm_convex.points import FrameDual, FramePoint
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


def margin_loss(problem: Problem) -> Loss:
    """The problem's loss; ``HypothesisError`` when it does not see margins only."""
    traits.require(problem.loss, ("margins_only",), fix="use the dense points, GramPoint and DualPoint.")
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

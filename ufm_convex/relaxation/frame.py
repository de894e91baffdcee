"""Points on an orthogonal frame, O(K) numbers each, and the terms of the master identity there.

A frame stays apart from ``columns``: one coordinate a class, margins in place of logits, and no K × K array
(docs/kkt.md, section 6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.losses import Loss, traits
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import bias_of
from ufm_convex.relaxation.full import DualPoint, GramPoint, require_dense
from ufm_convex.relaxation.identity import IdentityTerms


@dataclass(frozen=True, eq=False)
class FramePoint:
    """A primal point on an orthogonal frame, O(K): h_k = η_k e_k and W = (I − 11ᵀ/K) Diag(ω), d = K.

    Attributes:
        eta: Feature lengths ‖h_k‖ ≥ 0, (K,).
        omega: Classifier scales ≥ 0, (K,).
    """

    eta: FloatArray
    omega: FloatArray

    @property
    def margins(self) -> FloatArray:
        """Logit margins η_k ω_k, (K,)."""
        return self.eta * self.omega

    @property
    def used(self) -> IntArray:
        """Classes whose coordinate is not zero in both W and H; as many dimensions are needed."""
        return np.flatnonzero((self.eta != 0.0) | (self.omega != 0.0))

    def factors(self, feature_dim: int | None = None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and H (K, d); needs d ≥ ``used.size``, one coordinate a class."""
        K = self.eta.size
        require_dense(K, "W", "eta and omega, from which W = (I − 11ᵀ/K) Diag(omega)")
        W, H, slots = self._on_axes(K if feature_dim is None else feature_dim)
        W[:, slots] -= self.omega[self.used] / K
        return W, H

    def _on_axes(self, d: int) -> tuple[FloatArray, FloatArray, IntArray]:
        """Diag(ω) and Diag(η) in d coordinates, and the coordinates of ``used``."""
        K, active = self.eta.size, self.used
        slots = active if d >= K else np.arange(active.size)
        W, H = np.zeros((K, d)), np.zeros((K, d))
        H[active, slots] = self.eta[active]
        W[active, slots] = self.omega[active]
        return W, H, slots

    def dense(self) -> GramPoint:
        """The same point as K × K matrices."""
        return GramPoint.from_factors(*self.factors())


@dataclass(frozen=True, eq=False)
class FrameDual:
    """A dual point on an orthogonal frame, O(K): v_k = −q_k (e_k − 1/K).

    Then G = UᵀU has the off-diagonal entries −s_k s_l / K ≤ 0 with s_k = pt_k q_k, so T = −offdiag G cancels them and
    the slack is diagonal: feasible iff s_k² (K−1)/K ≤ λ_W λ_H n_k for each k (docs/kkt.md, section 6).

    Attributes:
        strengths: q_k ≥ 0, (K,); 0 for a class without samples, which has no column.
    """

    strengths: FloatArray

    def dense(self, problem: Problem) -> DualPoint:
        """The same point as K × K matrices."""
        K = self.strengths.size
        require_dense(K, "the residual matrix", "dual.strengths")
        residuals = np.full((K, K), 1.0 / K) * self.strengths
        np.fill_diagonal(residuals, 0.0)
        np.fill_diagonal(residuals, -residuals.sum(axis=0))
        s = problem.loss_weights * self.strengths
        nonnegativity = np.outer(s, s) / K
        np.fill_diagonal(nonnegativity, 0.0)
        return DualPoint(residuals, nonnegativity)


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
    weights = np.where(problem.class_counts > 0, problem.loss_weights, 1.0)
    return np.minimum(problem.sigma * np.sqrt(K / (K - 1)) / weights, at_zero)


def frame_terms(problem: Problem, point: FramePoint, dual: FrameDual) -> IdentityTerms:
    """All terms of the identity on an orthogonal frame with b = 0, in O(K): B is diagonal, so <T, B> = 0 exactly."""
    K, loss, weights = problem.num_classes, margin_loss(problem), problem.loss_weights
    fraction = (K - 1) / K
    there = problem.class_counts > 0  # the loss of a class without samples may be infinite, and counts for nothing
    values = np.where(there, loss.margin_values(point.margins, K), 0.0)
    conjugates = np.where(there, loss.margin_conjugates(dual.strengths, K), 0.0)
    pairing = -dual.strengths * point.margins * fraction
    strength = weights * dual.strengths
    bias, sums = bias_of(problem.bias, problem.loss, K), strength.mean() - strength
    misalignment = point.omega - strength * point.eta / problem.lambda_w
    scaled_slack = 1.0 - (dual.strengths / problem.prices) ** 2 * fraction
    features = problem.lambda_h * problem.class_counts * point.eta**2
    return IdentityTerms(
        dual_value=float(-(weights @ conjugates) - bias.support(sums, 2.0 * fraction * float(strength.sum()))),
        calibration=float(weights @ (values + conjugates - pairing)),
        alignment=float(0.5 * problem.lambda_w * fraction * (misalignment @ misalignment)),
        nonnegativity=0.0,
        slack=float(0.5 * (scaled_slack @ features)),
        bias=bias.misfit(np.zeros(K), sums),
    )

"""Points of the primal and of the dual as full arrays, and on an orthogonal frame: data only, no judgement.

Points on orbits, of which these are those of single ones, are in ``relaxation.points``.

Shapes: K classes, m columns; A (K, K), L (K, m), B (m, m); residuals V (K, m), multiplier T (m, m).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray, whole
from ufm_convex.errors import DimensionError, SizeError, shown
from ufm_convex.problem import Problem

DENSE_LIMIT = 20_000
"""Largest K for which a K × K array is made: 3.2 GB in binary64."""


def require_dense(num_classes: int, wanted: str, instead: str) -> None:
    """Raise ``SizeError`` when K × K arrays would be too large."""
    if num_classes > DENSE_LIMIT:
        raise SizeError(
            f"{wanted} would be a {num_classes} × {num_classes} array.",
            expected=f"at most {DENSE_LIMIT} classes for dense arrays",
            fix=f"use {instead}.",
        )


def as_dimension(feature_dim: object, num_rows: int) -> int:
    """The dimension d as an integer.

    Raises:
        DimensionError: it is no positive integer.
        SizeError: an array of shape (num_rows, d) would be too large.
    """
    d = whole(feature_dim)
    if d is None or d < 1:
        raise DimensionError(
            f"feature_dim is {shown(feature_dim)}.",
            expected="a positive integer",
            fix="leave it out for as many dimensions as are needed.",
        )
    if num_rows * d > DENSE_LIMIT**2:
        raise SizeError(
            f"the factors would be arrays of {num_rows} × {d}.",
            expected=f"at most {DENSE_LIMIT**2:,} entries",
            fix="leave feature_dim out; more coordinates than are needed are zero.",
        )
    return d


@dataclass(frozen=True, eq=False)
class GramPoint:
    """A primal point Z = [[A, L], [Lᵀ, B]] of the relaxation.

    Attributes:
        weight_gram: A, (K, K); W Wᵀ when the point comes from factors.
        logits: L, (K, m); column i holds W h_i, the logits of column i without the bias.
        feature_gram: B, (m, m); the Gram matrix of the features.
        bias: b, (K,); None for zero.
    """

    weight_gram: FloatArray
    logits: FloatArray
    feature_gram: FloatArray
    bias: FloatArray | None = None

    @classmethod
    def from_factors(cls, W: FloatArray, H: FloatArray, bias: FloatArray | None = None) -> GramPoint:
        """The Gram matrices of W (K, d) and H (m, d), with the bias (K,)."""
        return cls(W @ W.T, W @ H.T, H @ H.T, bias)

    @property
    def offset(self) -> FloatArray:
        """The bias, (K,); zeros where there is none."""
        return np.zeros(self.logits.shape[0]) if self.bias is None else self.bias

    @property
    def outputs(self) -> FloatArray:
        """L + b 1ᵀ, (K, m): what the loss sees."""
        return self.logits if self.bias is None else self.logits + self.bias[:, None]

    def matrix(self) -> FloatArray:
        """Z, (K + m, K + m)."""
        return np.block([[self.weight_gram, self.logits], [self.logits.T, self.feature_gram]])


@dataclass(frozen=True, eq=False)
class DualPoint:
    """A dual point: residuals V, multiplier T, and the multiplier S of Z ⪰ 0.

    Attributes:
        residuals: V, (K, m); column i is a point v_i of the domain of the conjugate, u_i = weight_i v_i.
        nonnegativity: T, (m, m) symmetric ≥ 0; the multiplier of B ≥ 0 is T / (2 λ_W). Zero for free features.
        weight_block: S_A, (K, K); None for λ_W/2 · I, its only value at stationarity.
        feature_block: S_B, (m, m); None for λ_H/2 Diag(ν) − T/(2 λ_W), likewise.
    """

    residuals: FloatArray
    nonnegativity: FloatArray
    weight_block: FloatArray | None = None
    feature_block: FloatArray | None = None


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
        active = self.used
        d = K if feature_dim is None else feature_dim
        slots = active if d >= K else np.arange(active.size)
        W, H = np.zeros((K, d)), np.zeros((K, d))
        H[active, slots] = self.eta[active]
        W[active, slots] = self.omega[active]
        W[:, slots] -= self.omega[active] / K
        return W, H

    def dense(self) -> GramPoint:
        """The same point as K × K matrices."""
        return GramPoint.from_factors(*self.factors())


@dataclass(frozen=True, eq=False)
class FrameDual:
    """A dual point on an orthogonal frame, O(K): v_k = −q_k (e_k − 1/K).

    Then G = UᵀU has the off-diagonal entries −s_k s_l / K ≤ 0 with s_k = pt_k q_k, so T = −offdiag G cancels them and
    the slack is diagonal: feasible iff s_k² (K−1)/K ≤ λ_W λ_H n_k for each k (docs/duality.md, section 6).

    Attributes:
        strengths: q_k ≥ 0, (K,).
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

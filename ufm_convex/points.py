"""Points of the primal and of the dual, dense and structured: data only, no judgement.

One *column* is a unit of features: a class mean at class level, a sample at sample level. ``Columns`` says how
each column enters the objective

    Σ_i weight_i l_{label_i}(L e_i) + λ_W/2 tr A + λ_H/2 Σ_i ν_i B_ii

so that everything written for columns holds at both levels (docs/duality.md, section 2). With a bias the loss sees
L + b 1ᵀ, and the penalty g(b) is added (section 8).

Shapes: K classes, m columns; A (K, K), L (K, m), B (m, m); residuals V (K, m), multiplier T (m, m).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.bias import Bias, NoBias, bias_of
from ufm_convex.errors import DimensionError, SizeError, shown
from ufm_convex.losses import Layout, Loss
from ufm_convex.problem import Problem

DENSE_LIMIT = 20_000
"""Largest K for which a K × K array is made: 3.2 GB in binary64."""


_SMALLEST_SHARE = 2.0**-40
"""A residual of which not even this share lies in the domain points away from it."""


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
    if not isinstance(feature_dim, (int, np.integer)) or isinstance(feature_dim, bool) or feature_dim < 1:
        raise DimensionError(
            f"feature_dim is {shown(feature_dim)}.",
            expected="a positive integer",
            fix="leave it out for as many dimensions as are needed.",
        )
    d = int(feature_dim)
    if num_rows * d > DENSE_LIMIT**2:
        raise SizeError(
            f"the factors would be arrays of {num_rows} × {d}.",
            expected=f"at most {DENSE_LIMIT**2:,} entries",
            fix="leave feature_dim out; more coordinates than are needed are zero.",
        )
    return d


@dataclass(frozen=True, eq=False)
class Columns:
    """How the columns of a level enter the objective.

    Attributes:
        labels: Class of each column, (m,).
        loss_weights: Weight of each column's loss, (m,); they sum to Σ ω_k n_k / N.
        feature_weights: ν_i, the weight of ‖h_i‖², (m,).
        num_classes: K.
        lambda_w: Decay of the classifier.
        lambda_h: Decay of the features.
        loss: The loss.
        nonnegative: Whether B ≥ 0 entrywise is required.
        bias: The penalty of the bias.
    """

    labels: IntArray
    loss_weights: FloatArray
    feature_weights: FloatArray
    num_classes: int
    lambda_w: float
    lambda_h: float
    loss: Loss
    nonnegative: bool
    bias: Bias = field(default_factory=NoBias)

    @classmethod
    def of_classes(cls, problem: Problem) -> Columns:
        """One column a class: the class means, weights pt_k and ν_k = n_k."""
        problem.require_decays("this")
        return cls(
            labels=np.arange(problem.num_classes),
            loss_weights=problem.loss_weights,
            feature_weights=problem.class_counts.astype(np.float64),
            num_classes=problem.num_classes,
            lambda_w=problem.lambda_w,
            lambda_h=problem.lambda_h,
            loss=problem.loss,
            nonnegative=problem.nonnegative,
            bias=bias_of(problem.bias, problem.loss, problem.num_classes),
        )

    @classmethod
    def of_samples(cls, problem: Problem) -> Columns:
        """One column a sample, classes in blocks: weights ω_k / N and ν = 1."""
        problem.require_decays("this")
        labels = np.repeat(np.arange(problem.num_classes), problem.class_counts)
        return cls(
            labels=labels,
            loss_weights=problem.loss.weights(problem.num_classes)[labels] / problem.num_samples,
            feature_weights=np.ones(labels.size),
            num_classes=problem.num_classes,
            lambda_w=problem.lambda_w,
            lambda_h=problem.lambda_h,
            loss=problem.loss,
            nonnegative=problem.nonnegative,
            bias=bias_of(problem.bias, problem.loss, problem.num_classes),
        )

    @cached_property
    def layout(self) -> Layout:
        """How the loss sees the columns: single outputs."""
        return self.loss.layout(self.num_classes, self.labels)

    @cached_property
    def sigma(self) -> FloatArray:
        """σ_i = √(λ_W λ_H ν_i), (m,): D = Diag(σ²)."""
        return math.sqrt(self.lambda_w) * math.sqrt(self.lambda_h) * np.sqrt(self.feature_weights)

    def into_domain(self, residuals: FloatArray) -> FloatArray:
        """Residuals V (K, m) near the given ones in the domain of the dual objective, which a free bias narrows."""
        inside = self.loss.into_domain(residuals, self.layout)
        admitted = self.bias.admit(inside, self.loss_weights, self.labels)
        if admitted is inside:
            return inside
        # what was added may lead out of the domain again, and shrinking all columns alike leads back
        scale = 0.5
        while not np.isfinite(self.loss.conjugate(scale * admitted, self.layout)).all():
            scale *= 0.5
            if scale < _SMALLEST_SHARE:
                return np.zeros_like(admitted)
        return min(1.0, scale * float(self.loss.limit(scale * admitted, self.layout).min())) * admitted

    def sums(self, residuals: FloatArray) -> tuple[FloatArray, float]:
        """U1 (K,), and Σ |u|, the size of what was summed."""
        U = residuals * self.loss_weights
        return U.sum(axis=1), float(np.abs(U).sum())

    def support(self, residuals: FloatArray) -> float:
        """g*(−U1), what the dual objective pays for the bias."""
        return self.bias.support(*self.sums(residuals)) if self.bias.size else 0.0


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

"""Points of the primal and of the dual as full arrays: data only, no judgement.

Points on orbits, of which these are those of single ones, are in ``points``, those on an orthogonal frame in ``frame``.

Shapes: K classes, m columns; A (K, K), L (K, m), B (m, m); residuals V (K, m), multiplier T (m, m).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray, whole
from ufm_convex.errors import DimensionError, SizeError, shown

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

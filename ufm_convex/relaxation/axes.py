"""Points on the coordinate axes, O(K): the general orthogonal frame, whose logits are diagonal.

It is the frame of ``frame`` without its centring: W = Diag(ω) in place of (I − 11ᵀ/K) Diag(ω). Losses that tell own
from other logits and are at rest at zero ones, such as squared error, have their optimum there.

Shapes: K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.problem import Problem
from ufm_convex.relaxation.frame import FrameDual, FramePoint
from ufm_convex.relaxation.full import DualPoint, require_dense


@dataclass(frozen=True, eq=False)
class AxesPoint(FramePoint):
    """A primal point: h_k = η_k e_k and w_k = ω_k e_k, so that the logits are Diag(η ω)."""

    def factors(self, feature_dim: int | None = None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and H (K, d); needs d ≥ ``used.size``, one coordinate a class."""
        K = self.eta.size
        require_dense(K, "W", "eta and omega, from which W = Diag(omega)")
        W, H, _ = self._on_axes(K if feature_dim is None else feature_dim)
        return W, H


@dataclass(frozen=True, eq=False)
class AxesDual(FrameDual):
    """A dual point: v_k = −q_k e_k, so that G is diagonal, T = 0, and it is feasible iff pt_k q_k ≤ σ_k for each k."""

    def dense(self, problem: Problem) -> DualPoint:
        """The same point as K × K matrices."""
        require_dense(self.strengths.size, "the residual matrix", "dual.strengths")
        residuals = np.diag(-self.strengths)
        return DualPoint(residuals, np.zeros_like(residuals))

"""(40), (43), (44): the inner products of classifiers and features, where one scalar √n_k t_k serves all classes."""

from __future__ import annotations

import math
from typing import ClassVar

from ufm_convex._arrays import FloatArray
from ufm_convex.proof.base import ProofStep, Terms
from ufm_convex.proof.point import ChainPoint
from ufm_convex.theory import Hypothesis


class Young(ProofStep):
    """Young's inequality with c_3 = c, row by row."""

    number: ClassVar[str] = "40"
    name: ClassVar[str] = "Young's inequality"
    statement: ClassVar[str] = "−Σ_k w_k·V_k ≥ −c/2 Σ_k ‖V_k‖² − 1/(2c) Σ_k ‖w_k‖²"
    equality: ClassVar[str] = "(41): w_k = c V_k"

    def hypotheses(self, point: ChainPoint) -> tuple[Hypothesis, ...]:
        """The common scalar."""
        return (point.common_scalar,)

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        left = -float((point.W * point.V).sum())
        right = -0.5 * point.c * float((point.V * point.V).sum()) - 0.5 / point.c * point.W_square
        return Terms(left, right, young_parts(point), {"largest ‖w_k − c V_k‖": largest_misalignment(point)})


class Overlap(ProofStep):
    """Non-negative features have non-negative inner products."""

    number: ClassVar[str] = "43"
    name: ClassVar[str] = "sum of features"
    statement: ClassVar[str] = "‖Σ_k √n_k h_k‖² ≥ Σ_k n_k ‖h_k‖²"
    equality: ClassVar[str] = "h_k·h_l = 0 for k ≠ l"

    def hypotheses(self, point: ChainPoint) -> tuple[Hypothesis, ...]:
        """The common scalar: the chain uses the step nowhere else."""
        return (point.common_scalar,)

    def terms(self, point: ChainPoint) -> Terms:
        """By class, pairs in halves."""
        total = point.pulled.sum(axis=0)
        residuals = {"largest h_k·h_l": point.largest_overlap}
        return Terms(float(total @ total), point.B, point.overlaps, residuals)


class QuadraticBound(ProofStep):
    """(40) and (43) together, in the units of the objective; the left-hand side is the linear bound (39)."""

    number: ClassVar[str] = "44"
    name: ClassVar[str] = "quadratic bound"
    statement: ClassVar[str] = (
        "C_2 − c_1 K/(N(K−1)) Σ_k w_k·V_k ≥ C_2 − c_1 K/(2N(K−1)) [c (K−1)/K Σ_k n_k ‖h_k‖² + ‖W‖²/c]"
    )
    equality: ClassVar[str] = "h_k·h_l = 0 for k ≠ l, and w_k = c V_k"

    def hypotheses(self, point: ChainPoint) -> tuple[Hypothesis, ...]:
        """The common scalar, and no bias."""
        return point.common_scalar, point.unbiased

    def terms(self, point: ChainPoint) -> Terms:
        """By class, pairs in halves."""
        problem = point.problem
        # c_1 K/(N(K−1)) = λ_W c, and λ_W c² (K−1)/K = λ_H
        right = point.optimum.dual_value - 0.5 * (problem.lambda_h * point.B + problem.lambda_w * point.W_square)
        residuals = {
            "largest ‖w_k − c V_k‖": largest_misalignment(point),
            "largest h_k·h_l": point.largest_overlap,
        }
        return Terms(point.linear_bound, right, quadratic_parts(point), residuals)


def young_parts(point: ChainPoint) -> FloatArray:
    """‖w_k − c V_k‖² / (2c), (K,)."""
    parts: FloatArray = (point.misalignment**2).sum(axis=1) * (0.5 / point.c)
    return parts


def quadratic_parts(point: ChainPoint) -> FloatArray:
    """Slack of (44) by class, (K,)."""
    K = point.problem.num_classes
    young = 0.5 * point.problem.lambda_w * (point.misalignment**2).sum(axis=1)
    parts: FloatArray = young + 0.5 * point.problem.lambda_h / (K - 1) * point.overlaps
    return parts


def largest_misalignment(point: ChainPoint) -> float:
    """Largest ‖w_k − c V_k‖."""
    return math.sqrt(float((point.misalignment**2).sum(axis=1).max()))

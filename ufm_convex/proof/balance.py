"""Lemma 1 and what is evaluated after balancing: (46), (48) and the lower bound (49)–(52) of step 4."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ufm_convex.proof.alignment import largest_misalignment, quadratic_parts
from ufm_convex.proof.base import ProofStep, Terms
from ufm_convex.proof.point import ChainPoint
from ufm_convex.theory import Hypothesis


class Balance(ProofStep):
    """Lemma 1, (45) and (53): critical points are balanced. As an inequality: balancing never raises the penalty."""

    number: ClassVar[str] = "45"
    name: ClassVar[str] = "balance"
    statement: ClassVar[str] = "λ_W/2 ‖W‖² + λ_H/2 Σ_k n_k ‖h_k‖² ≥ √(λ_W λ_H) ‖W‖ (Σ_k n_k ‖h_k‖²)^½"
    equality: ClassVar[str] = "λ_W ‖W‖² = λ_H Σ_k n_k ‖h_k‖², as at every critical point"

    def terms(self, point: ChainPoint) -> Terms:
        """One number."""
        w = math.sqrt(point.problem.lambda_w) * math.sqrt(point.W_square)
        h = math.sqrt(point.problem.lambda_h) * math.sqrt(point.B)
        residuals = {"|λ_W ‖W‖² − λ_H Σ n_k ‖h_k‖²|": abs(w - h) * (w + h)}
        return Terms(0.5 * (w * w + h * h), w * h, np.array([0.5 * (w - h) * (w - h)]), residuals)


class ChoiceOfScale(ProofStep):
    """Among the c_3 of (44), the one that balance and orthogonality give is the best."""

    number: ClassVar[str] = "46"
    name: ClassVar[str] = "choice of c_3"
    statement: ClassVar[str] = "the bound (44) at c_3 = c ≥ the bound (44) at c_3 = ‖W‖/‖V‖, W and H balanced"
    equality: ClassVar[str] = "‖W‖/‖V‖ = c, W and H balanced; that is h_k·h_l = 0 for k ≠ l"

    def hypotheses(self, point: ChainPoint) -> tuple[Hypothesis, ...]:
        """The common scalar, no bias, balance, and V ≠ 0 unless all is zero."""
        defined = bool(point.V.any()) or point.B == 0.0
        explanation = "V ≠ 0, or H = 0" if defined else "all √n_k h_k coincide, so V = 0"
        exists = Hypothesis("‖W‖/‖V‖ exists", defined, explanation)
        return point.common_scalar, point.unbiased, point.balance, exists

    def terms(self, point: ChainPoint) -> Terms:
        """One number."""
        at, problem, K = point.balanced, point.problem, point.problem.num_classes
        best = problem.lambda_h * at.B
        c_3 = math.sqrt(at.W_square) / math.sqrt(float((at.V * at.V).sum())) if at.B > 0.0 else point.c
        # ‖V‖² = (K−1)/K B − overlaps/K: c_3 − c from the overlaps, which are zero where it is
        pairs = float(at.overlaps.sum())
        ratio = c_3 / point.c
        excess = pairs / K / float((at.V * at.V).sum()) / (ratio + 1.0) if at.B > 0.0 else 0.0  # ratio − 1
        slack = 0.5 * best * excess * excess / (1.0 + excess)
        left = point.optimum.dual_value - best
        right = point.optimum.dual_value - 0.5 * best * (ratio + 1.0 / ratio)
        return Terms(left, right, np.array([slack]), {"|‖W‖/‖V‖ − c|": point.c * excess})


class FeatureBound(ProofStep):
    """The conclusion of the chain: g from below by the features alone."""

    number: ClassVar[str] = "48"
    name: ClassVar[str] = "bound by the features"
    statement: ClassVar[str] = "g ≥ C_2 − (c_1 c/N) Σ_k n_k ‖h_k‖², W and H balanced"
    equality: ClassVar[str] = "(38), w_k = c V_k and h_k·h_l = 0 for k ≠ l, W and H balanced"

    def hypotheses(self, point: ChainPoint) -> tuple[Hypothesis, ...]:
        """The common scalar, no bias, and balance."""
        return point.common_scalar, point.unbiased, point.balance

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        at = point.balanced
        right = point.optimum.dual_value - point.problem.lambda_h * at.B  # c_1 c/N = λ_H
        parts = point.problem.loss_weights * point.divergences(point.x) + quadratic_parts(at)
        residuals = {
            "largest |t_k − wrong-class mass at x_k|": point.mass_error(point.x),
            "largest ‖w_k − c V_k‖": largest_misalignment(at),
            "largest h_k·h_l": at.largest_overlap,
        }
        return Terms(point.g, right, parts, residuals)


class LowerBound(ProofStep):
    """Step 4: φ_k(x) = (n_k/N) log(1 + (K−1) e^{−c√n_k x}) + λ_H n_k x is least at x_k = M_k/(c√n_k). Every class."""

    number: ClassVar[str] = "49"
    name: ClassVar[str] = "lower bound"
    statement: ClassVar[str] = "Σ_k φ_k(‖h_k‖²) ≥ Σ_k min φ_k = f*, W and H balanced"
    equality: ClassVar[str] = "(50)–(52): ‖h_k‖² = M_k/(c √n_k), which is 0 iff n_k ≤ n_c"

    def hypotheses(self, point: ChainPoint) -> tuple[Hypothesis, ...]:
        """No bias, and balance."""
        return point.unbiased, point.balance

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        problem, found, at = point.problem, point.optimum, point.balanced
        counts, x = problem.class_counts.astype(np.float64), at.square_norms
        margins = point.c * np.sqrt(counts) * x
        losses = problem.loss.margin_values(margins, problem.num_classes)
        # slope of the tangent plus the decay: 0 for active classes, λ_H n_k (1 − √(n_k/n_c)) for collapsed ones
        threshold = np.asarray(found.collapse_threshold)
        g = np.where(found.collapsed, np.sqrt(np.minimum(counts / threshold, 1.0)), 1.0)
        decay = problem.lambda_h * counts * x
        parts = problem.loss_weights * point.divergences(-margins) + decay * (1.0 - g)
        left = math.fsum(problem.loss_weights * losses + decay)
        residuals = {"largest |‖h_k‖² − M_k/(c √n_k)|": float(np.abs(x - found.eta**2).max())}
        return Terms(left, found.value, parts, residuals)

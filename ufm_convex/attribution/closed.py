"""The dual point of an orthogonal frame in closed form (Theorem 1): all that a gap is told apart by, in O(K d).

With the strengths q_k and s_k = pt_k q_k, U = −(I − 11ᵀ/K) Diag(s), so U1 = 0 where a bias is idle; T cancels what G
has off its diagonal, T_kl = λ_W λ_H √(n_k n_l) g_k g_l / (K−1), and the slack D − G − T is diagonal,
λ_W λ_H n_k (1 − g_k²). g_k = s_k / (σ_k √(K/(K−1))) is 1 for active classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex._pairs import products_by_row
from ufm_convex.losses import CrossEntropy, FromOwn
from ufm_convex.problem import Problem
from ufm_convex.relaxation import frame_strengths


def frame_optimum(problem: Problem) -> theory.FrameOptimum | None:
    """The optimum in closed form, where a theorem gives it as an orthogonal frame; else None."""
    found = theory.optimum(problem) if theory.find(problem) is not None else None
    return found if isinstance(found, theory.FrameOptimum) else None


def frame_ratios(problem: Problem, optimum: theory.FrameOptimum) -> FloatArray:
    """g_k, (K,), in (0, 1]; exactly 1 for active classes, 0 for a class without samples."""
    K = problem.num_classes
    g = frame_strengths(problem) / (problem.prices * math.sqrt(K / (K - 1)))
    return np.where(optimum.collapsed, np.minimum(g, 1.0), 1.0)


@dataclass(frozen=True, eq=False)
class ClosedDual:
    """See ``passes.DualOptimum``.

    Attributes:
        problem: A problem with cross-entropy.
        optimum: Its optimum.
    """

    problem: Problem
    optimum: theory.FrameOptimum

    @property
    def value(self) -> float:
        """f*."""
        return self.optimum.value

    @property
    def present(self) -> BoolArray:
        """Which classes have samples, (K,)."""
        found: BoolArray = self.problem.class_counts > 0
        return found

    @cached_property
    def _loss(self) -> CrossEntropy:
        return theory.cross_entropy(self.problem)

    @cached_property
    def _strengths(self) -> FloatArray:
        return frame_strengths(self.problem)

    @cached_property
    def _ratios(self) -> FloatArray:
        return frame_ratios(self.problem, self.optimum)

    def seen(self, classes: IntArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """KL(p_k ‖ softmax z) and l_k(z), from one look at each column."""
        found = FromOwn.of(logits, classes)
        return found.divergences(self._loss, self._strengths[classes]), found.values(self._loss)

    def losses(self, labels: IntArray, logits: FloatArray) -> FloatArray:
        """l_y(z), (m,)."""
        return FromOwn.of(logits, labels).values(self._loss)

    def pulled(self, means: FloatArray) -> FloatArray:
        """U H̄, (K, d)."""
        rows = means * (-self.problem.loss_weights * self._strengths)[:, None]
        found: FloatArray = rows - rows.mean(axis=0)
        return found

    def overlap(self, means: FloatArray) -> FloatArray:
        """λ_H/(K−1) Σ √(n_k n_l) g_k g_l h̄_k·h̄_l with each pair in halves, (K,)."""
        return products_by_row(self._scaled(means))

    def pairs(self, means: FloatArray) -> FloatArray:
        """The same pair by pair, (K, K) strictly upper triangular."""
        rows = self._scaled(means)
        return np.triu(rows @ rows.T, 1)

    def _scaled(self, means: FloatArray) -> FloatArray:
        """Class means whose products are the overlaps, (K, d)."""
        problem, scale = self.problem, math.sqrt(self.problem.lambda_h / (self.problem.num_classes - 1))
        found: FloatArray = means * (self._ratios * np.sqrt(problem.class_counts) * scale)[:, None]
        return found

    def collapsed(self, means: FloatArray) -> FloatArray:
        """λ_H/2 n_k (1 − g_k²) ‖h̄_k‖², (K,)."""
        g, squares = self._ratios, np.einsum("kj,kj->k", means, means)
        found: FloatArray = 0.5 * self.problem.lambda_h * self.problem.class_counts * (1.0 - g) * (1.0 + g) * squares
        return found

    def misfit(self, bias: FloatArray) -> FloatArray:
        """λ_b/2 b², (K,): U1 = 0."""
        return 0.5 * self.problem.bias_decay * bias * bias

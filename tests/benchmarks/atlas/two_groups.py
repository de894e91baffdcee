"""Cross-entropy on classes of two sizes, free features: programmes of four numbers, which know no matrix.

By convexity the logits are constant on pairs of groups and on the diagonal within one, with columns that sum to zero:
δ_g is the own logit less another of the group, ε_g the own logit less one of the other group, and

    ε_A = (1 − 1/K_A) δ_A + c_A √(K/K_B)/K_A

and likewise for B. The singular values of L Diag(√ν) are √ν_g δ_g, K_g − 1 times, and √(ν_A c_A² + ν_B c_B²). With
decays ν_g = n_g (Hong, Ling 2023: two clusters); with norm bounds ν_g = 1 (Fang et al. 2021). Derivatives are those
of a complex step, exact to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize

STEP = 1e-30
START = np.array([1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class TwoGroups:
    """K_A classes of n_A samples each, K_B of n_B.

    Attributes:
        sizes: K_A and K_B.
        counts: n_A and n_B; real numbers, too.
        merged: Whether the second group is made to share one logit column.
    """

    sizes: tuple[int, int]
    counts: tuple[float, float]
    merged: bool = False

    def loss(self, x: np.ndarray) -> complex:
        """Mean cross-entropy at δ_A, δ_B, c_A, c_B."""
        (a, b), K = self.sizes, sum(self.sizes)
        samples = a * self.counts[0] + b * self.counts[1]
        value = 0.0
        for size, other, n, delta, c in zip((a, b), (b, a), self.counts, x[:2], x[2:], strict=True):
            epsilon = (1.0 - 1.0 / size) * delta + c * math.sqrt(K / other) / size
            mass = (size - 1.0) * np.exp(-delta) + other * np.exp(-epsilon)
            value = value + size * n / samples * np.log(1.0 + mass)
        return value

    def norm(self, x: np.ndarray, nu: tuple[float, float]) -> complex:
        """The nuclear norm of L Diag(√ν)."""
        within = sum((size - 1.0) * math.sqrt(v) * delta for size, v, delta in zip(self.sizes, nu, x[:2], strict=True))
        return within + np.sqrt(nu[0] * x[2] ** 2 + nu[1] * x[3] ** 2)

    def least(self, price: float, nu: tuple[float, float]) -> np.ndarray:
        """δ_A, δ_B, c_A, c_B of the least loss + price · norm."""
        ends = [(0.0, None), (0.0, 0.0) if self.merged else (0.0, None), (1e-12, None), (1e-12, None)]
        found = minimize(
            _with_gradient(lambda x: self.loss(x) + price * self.norm(x, nu)), START, jac=True, method="L-BFGS-B",
            bounds=ends, options={"ftol": 0.0, "gtol": 1e-13, "maxiter": 10_000},
        )  # fmt: skip
        return found.x

    def penalised(self, q: float) -> float:
        """The minimum with decays, q = √(λ_W λ_H)."""
        x = self.least(q, self.counts)
        return float((self.loss(x) + q * self.norm(x, self.counts)).real)

    def price(self, budget: float) -> float:
        """The multiplier μ of ‖L‖_* ≤ budget."""

        def excess(log_price: float) -> float:
            x = self.least(math.exp(log_price), (1.0, 1.0))
            return float(self.norm(x, (1.0, 1.0)).real) - budget

        return math.exp(brentq(excess, math.log(1e-9), math.log(0.5), xtol=1e-10))


def _with_gradient(function: Callable[[np.ndarray], complex]) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        steps = x + 1j * STEP * np.eye(x.size)
        return float(function(x + 0j).real), np.array([function(step).imag / STEP for step in steps])

    return both


def merging_ratio(sizes: tuple[int, int], budget: float) -> float:
    """R_0 = n_A/n_B from which on the classes of the second group merge, ‖L‖_* ≤ budget: there n_B/N = μ."""

    def excess(log_ratio: float) -> float:
        groups = TwoGroups(sizes, (math.exp(log_ratio), 1.0), merged=True)
        return 1.0 / (sizes[0] * math.exp(log_ratio) + sizes[1]) - groups.price(budget)

    return math.exp(brentq(excess, 0.0, math.log(1e4), xtol=1e-8))

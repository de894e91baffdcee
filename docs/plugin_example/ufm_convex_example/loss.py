"""Huber's loss, output by output: quadratic near the target, linear beyond a threshold (Huber 1964)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from flint import arb, fmpq

from ufm_convex.errors import ProblemError
from ufm_convex.losses.separable import SeparableLoss


@dataclass(frozen=True)
class Huber(SeparableLoss):
    """½ u² for |u| ≤ t and t (|u| − t/2) beyond, u = z − y; its conjugate is ½ v² + v y on [−t, t]."""

    name: ClassVar[str] = "huber"
    threshold: float = 1.0

    def __post_init__(self):
        if not 0.0 < self.threshold < np.inf:
            raise ProblemError(f"threshold is {self.threshold!r}.", expected="a number > 0", fix="use 1.0.")

    def parameters(self):
        return {} if self.threshold == 1.0 else {"threshold": self.threshold}

    def entry_values(self, z, y):
        size = np.abs(z - y)
        near = np.minimum(size, self.threshold)
        return near * (size - 0.5 * near)

    def entry_residuals(self, z, y):
        return np.clip(z - y, -self.threshold, self.threshold)

    def entry_conjugates(self, v, y):
        return v * (0.5 * v + y)

    def entry_domain(self, y):
        end = self._exact if isinstance(y, fmpq) else self.threshold
        return -end, end

    def entry_expression(self, z, y):
        import cvxpy as cp

        return 0.5 * cp.huber(z - np.broadcast_to(y, z.shape), self.threshold)

    def enclose_entry_value(self, z, y):
        size, end = abs(z - y), arb(self._exact)
        near, far = size * size / 2, end * (size - end / 2)
        if size <= end:  # of balls: surely so
            return near
        return far if size >= end else near.union(far)

    def enclose_entry_conjugate(self, v, y):
        return arb(v * v / 2 + v * y)

    @property
    def _exact(self):
        return fmpq(*float(self.threshold).as_integer_ratio())

"""Projected gradient on W and H, with Armijo's rule: the plainest descent there is, and slow at the end."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.local import LocalContestant
from ufm_convex.recovery import Scaled

_ITERATIONS = 5_000


class ProjectedGradient(LocalContestant):
    """x ← max(x − t ∇f, 0) on the features, plain steps on the classifier."""

    name: ClassVar[str] = "projected_gradient"
    package: ClassVar[str] = "numpy"
    stationary: ClassVar[float] = 1e-6

    def descend(self, scaled: Scaled, flat: FloatArray, deadline: float) -> tuple[FloatArray, int]:
        """Until the step no longer moves anything, or the deadline; see ``LocalContestant.descend``."""
        features = slice(*scaled.cuts)
        step = 1.0
        value, gradient = scaled.value_and_gradient(flat)
        for iteration in range(_ITERATIONS):
            if time.monotonic() > deadline:
                return flat, iteration
            step *= 2.0
            while True:
                new = flat - step * gradient
                if scaled.columns.nonnegative:
                    new[features] = np.maximum(new[features], 0.0)
                move = new - flat
                new_value, new_gradient = scaled.value_and_gradient(new)
                if new_value <= value - 0.25 / step * float(move @ move) or step < 1e-12:
                    break
                step *= 0.5
            if float(np.abs(move).max()) <= 0.1 * self.stationary * min(step, 1.0):
                return new, iteration
            flat, value, gradient = new, new_value, new_gradient
        return flat, _ITERATIONS

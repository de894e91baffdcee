"""Projected gradient on W and H, with Armijo's rule: the plainest descent there is, and slow at the end."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.crosscheck.lbfgsb import local_answer, random_start
from ufm_convex.descent import Scaled
from ufm_convex.points import Columns
from ufm_convex.problem import Problem

_ITERATIONS = 5_000
_GRADIENT = 1e-6


class ProjectedGradient(Contestant):
    """x ← max(x − t ∇f, 0) on the features, plain steps on the classifier."""

    name: ClassVar[str] = "projected_gradient"
    package: ClassVar[str] = "numpy"
    returns: ClassVar[str] = "factors"
    claims: ClassVar[str] = "optimal: the projected gradient vanishes, which is not enough for a global optimum"

    @classmethod
    def installed(cls) -> bool:
        """Always."""
        return True

    def answer(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """Stops by itself at half the time limit; see ``Contestant.answer``."""
        scaled = Scaled(Columns.of_classes(problem), problem.feature_dim or problem.num_classes)
        flat, iterations = _descend(scaled, random_start(scaled), time.monotonic() + 0.5 * time_limit)
        return local_answer(scaled, flat, _GRADIENT, f"{iterations} iterations")


def _descend(scaled: Scaled, flat: FloatArray, deadline: float) -> tuple[FloatArray, int]:
    cut = scaled.columns.num_classes * scaled.dimension
    step = 1.0
    value, gradient = scaled.value_and_gradient(flat)
    for iteration in range(_ITERATIONS):
        if time.monotonic() > deadline:
            return flat, iteration
        step *= 2.0
        while True:
            new = flat - step * gradient
            if scaled.columns.nonnegative:
                new[cut:] = np.maximum(new[cut:], 0.0)
            move = new - flat
            new_value, new_gradient = scaled.value_and_gradient(new)
            if new_value <= value - 0.25 / step * float(move @ move) or step < 1e-12:
                break
            step *= 0.5
        if float(np.abs(move).max()) <= 0.1 * _GRADIENT * min(step, 1.0):
            return new, iteration
        flat, value, gradient = new, new_value, new_gradient
    return flat, _ITERATIONS

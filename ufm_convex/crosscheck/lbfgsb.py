"""SciPy's L-BFGS-B on W and H themselves, H ≥ 0 as bounds: what most people would try first.

The problem is not convex in (W, H): with non-negative features a class may die on the way, and the end is then a
stationary point that is no optimum.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.descent import Scaled
from ufm_convex.identity import factored_objective
from ufm_convex.points import Columns
from ufm_convex.problem import Problem
from ufm_convex.solvers import Claim

_ITERATIONS = 20_000
_GRADIENT = 1e-9


def random_start(scaled: Scaled) -> FloatArray:
    """Small random variables, always the same; features folded into the orthant where they must lie there."""
    columns, d = scaled.columns, scaled.dimension
    generator = np.random.default_rng(0)
    w = generator.standard_normal((columns.num_classes, d)) / np.sqrt(d)
    h = generator.standard_normal((columns.labels.size, d)) / np.sqrt(d)
    return np.concatenate([w.ravel(), (np.abs(h) if columns.nonnegative else h).ravel()])


def stationary(scaled: Scaled, flat: FloatArray) -> float:
    """Largest entry of the projected gradient."""
    gradient = scaled.value_and_gradient(flat)[1]
    if scaled.columns.nonnegative:
        cut = scaled.columns.num_classes * scaled.dimension
        tail = flat[cut:] - np.maximum(flat[cut:] - gradient[cut:], 0.0)
        gradient = np.concatenate([gradient[:cut], tail])
    return float(np.abs(gradient).max())


def local_answer(scaled: Scaled, flat: FloatArray, limit: float, message: str) -> Answer:
    """W and H at the end of a descent; it claims to be optimal where the end is stationary."""
    W, H = scaled.unpack(flat)
    claim = Claim.OPTIMAL if stationary(scaled, flat) <= limit else Claim.STOPPED
    return Answer(claim, factored_objective(scaled.columns, W, H), factors=(W, H), message=message)


class LBFGSB(Contestant):
    """``scipy.optimize.minimize(method="L-BFGS-B")`` from one random start."""

    name: ClassVar[str] = "lbfgsb"
    package: ClassVar[str] = "scipy"
    returns: ClassVar[str] = "factors"
    claims: ClassVar[str] = "optimal: the projected gradient vanishes, which is not enough for a global optimum"

    @classmethod
    def installed(cls) -> bool:
        """Always: SciPy is a dependency."""
        return True

    def answer(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """See ``Contestant.answer``."""
        scaled = Scaled(Columns.of_classes(problem), problem.feature_dim or problem.num_classes)
        flat, iterations = scaled.minimise(random_start(scaled), _ITERATIONS, _GRADIENT)
        return local_answer(scaled, flat, 1e3 * _GRADIENT, f"{iterations} iterations")

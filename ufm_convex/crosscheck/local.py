"""Descents on W and H themselves: one random start, and what its end may claim.

The problem is not convex in (W, H): with non-negative features a class may die on the way, and the end is then a
stationary point that is no optimum.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.losses import traits
from ufm_convex.problem import Problem
from ufm_convex.recovery import Scaled
from ufm_convex.relaxation import LEVELS, Columns, Orbits, objective
from ufm_convex.solvers import Claim


class LocalContestant(Contestant):
    """A descent from one random start; it claims to be optimal where its end is stationary."""

    returns: ClassVar[str] = "factors"
    claims: ClassVar[str] = "optimal: the projected gradient vanishes, which is not enough for a global optimum"
    levels: ClassVar[tuple[str, ...]] = ("class", "sample")
    biased: ClassVar[bool] = True
    stationary: ClassVar[float]
    """Largest entry of the projected gradient that it takes for zero."""

    @classmethod
    def installed(cls) -> bool:
        """Always: its package is a dependency."""
        return True

    @abstractmethod
    def descend(self, scaled: Scaled, flat: FloatArray, deadline: float) -> tuple[FloatArray, int]:
        """The end of a descent from ``flat``, and its iterations; ends by itself at the deadline if it is slow."""

    def attempt(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """Stops by itself at half the time limit; features of samples are averaged. See ``Contestant.attempt``."""
        if (refusal := traits.lacks(problem.loss, ("finite",))) is not None:
            return Answer(Claim.FAILED, message=refusal)
        columns = LEVELS[self.level](problem)
        scaled = Scaled(columns, Orbits.single(problem.feature_dim or problem.num_classes))
        flat, iterations = self.descend(scaled, _random_start(scaled), time.monotonic() + 0.5 * time_limit)
        found = scaled.unpack(flat)
        claim = Claim.OPTIMAL if _largest_gradient(scaled, flat) <= self.stationary else Claim.STOPPED
        value = objective(columns, found)
        means = _class_means(problem, columns, found.H.even)
        message = f"{iterations} iterations"
        return Answer(claim, value, factors=(found.W.even, means), message=message, bias=found.bias)


def _class_means(problem: Problem, columns: Columns, H: FloatArray) -> FloatArray:
    """The mean of the columns of each class, or row of a table, (K, d): its objective is no larger."""
    K = problem.num_classes
    means = np.zeros((K, H.shape[1]))
    np.add.at(means, columns.rows, H)
    return means / np.maximum(np.bincount(columns.rows, minlength=K), 1)[:, None]


def _random_start(scaled: Scaled) -> FloatArray:
    """Small random variables, always the same; features folded into the orthant where they must lie there."""
    columns, d = scaled.columns, scaled.coordinates.total
    generator = np.random.default_rng(0)
    w = generator.standard_normal((columns.outputs.total, d)) / np.sqrt(d)
    h = generator.standard_normal((columns.columns.total, d)) / np.sqrt(d)
    features = np.abs(h) if columns.nonnegative else h
    return np.concatenate([w.ravel(), features.ravel(), np.zeros(columns.bias.size)])


def _largest_gradient(scaled: Scaled, flat: FloatArray) -> float:
    """Largest entry of the projected gradient."""
    gradient = scaled.value_and_gradient(flat)[1]
    if scaled.columns.nonnegative:
        features = slice(*scaled.cuts)
        gradient = gradient.copy()
        gradient[features] = flat[features] - np.maximum(flat[features] - gradient[features], 0.0)
    return float(np.abs(gradient).max())

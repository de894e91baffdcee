"""The penalised problems behind a layer-peeled one, and what each of them proves (docs/norm_balls.md, section 2).

The penalised problem weighs features by 1 and not by n_k: it has one sample a class, and the class counts become
weights of the loss. Units: its objective is that of the problem divided by ``scale``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from ufm_convex._bits import fraction
from ufm_convex.enclosure import ProvedBound, fraction_below, trivial_bound
from ufm_convex.errors import HypothesisError, ProblemError
from ufm_convex.evidence import Representation
from ufm_convex.losses import Loss
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled

_FARTHEST = 1e100
"""Largest ratio of the two radii; what is asked for depends on their product alone, but for the lengths of W and H."""
INWARDS = 2.0**-50
"""Share by which W and H are shortened so that rounding leaves them in their balls; multiplied until it does."""


@dataclass(frozen=True)
class PenalisedFamily:
    """The penalised problems of a layer-peeled one, one for each multiplier.

    Attributes:
        problem: The layer-peeled problem.
        constraint: Its norm bounds.
        loss: The loss of the penalised problems, whose weights are those of the classes.
        scale: Their objective times this is in the units of the problem, exactly.
        excess: The largest pt_k / (scale · weight of class k in a penalised problem), ≥ 1: class weights ω_k n_k that
            are no binary64 numbers are rounded down, which keeps lower bounds; upper ones are multiplied by this. So is
            the weight of a bias.
        bias: The bias of the penalised problems.
    """

    problem: Problem
    constraint: LayerPeeled
    loss: Loss
    scale: Fraction
    excess: Fraction
    bias: float | Literal["free"] | None

    @classmethod
    def of(cls, problem: Problem) -> PenalisedFamily:
        """The family; raises as ``LayerPeeledReduction.solve``."""
        constraint, counts, K = problem.constraint, problem.class_counts.tolist(), problem.num_classes
        if not isinstance(constraint, LayerPeeled):
            raise HypothesisError(
                f"the constraint is {constraint!r}.", expected="LayerPeeled", fix="use ufm_convex.solve(problem)."
            )
        if not 1.0 / _FARTHEST <= constraint.weight_radius / constraint.feature_radius <= _FARTHEST:
            raise ProblemError(
                f"weight_radius is {constraint.weight_radius!r} and feature_radius {constraint.feature_radius!r}.",
                expected=f"radii whose ratio is at most {_FARTHEST:g}",
                fix="give both the same product and less different sizes: the optimum is the same, W and H rescaled.",
            )
        if min(counts) == max(counts):
            return cls(problem, constraint, problem.loss, Fraction(1), Fraction(1), problem.bias)
        if problem.loss.weighted((1.0,) * K) is None:
            raise HypothesisError(
                f"the loss is {problem.loss.name}, the class counts differ, and features are bounded, not penalised.",
                expected="cross-entropy, which has class weights, or equal class counts",
                fix="use CrossEntropy(class_weights=..., smoothing=...), or balanced counts.",
            )
        pairs = list(zip(problem.loss.weights(K).tolist(), counts, strict=True))
        exact = {(w, n): fraction(w) * n for w, n in set(pairs)}  # few of them, however many classes
        unit = Fraction(2) ** round(math.log2(problem.num_samples / K))  # weights of about the size of ω
        rounded = {pair: fraction_below(load / unit) for pair, load in exact.items()}
        if min(rounded.values()) <= 0.0:
            raise ProblemError(
                "class weights times class counts are too far apart for binary64.",
                expected="a ratio of at most 1e300",
                fix="leave out classes that do not count.",
            )
        weights = tuple(rounded[pair] for pair in pairs)
        loss = problem.loss.weighted(weights) or problem.loss
        excess = max(load / (unit * Fraction(rounded[pair])) for pair, load in exact.items())
        scale = unit * K / problem.num_samples
        bias = problem.bias
        if isinstance(bias, float):  # rounded down, as the weights are
            weight = fraction(bias) / scale
            bias = fraction_below(weight)
            excess = max(excess, weight / Fraction(bias))
        return cls(problem, constraint, loss, scale, excess, bias)

    @property
    def budget(self) -> float:
        """K √(E_W E_H), the largest ‖W‖ ‖H‖."""
        bounds = self.constraint
        return self.problem.num_classes * math.sqrt(bounds.weight_radius) * math.sqrt(bounds.feature_radius)

    @property
    def first(self) -> float:
        """A multiplier to begin with: half of one at which every class of a balanced problem collapses."""
        weights = self.loss.weights(self.problem.num_classes) / self.problem.num_classes
        return 0.5 * float(weights.max())

    def penalised(self, multiplier: float) -> Problem:
        """The problem with α E_W = β E_H and αβ = ``multiplier``², in its own units."""
        ratio = math.sqrt(self.constraint.feature_radius) / math.sqrt(self.constraint.weight_radius)
        return Problem(
            np.ones(self.problem.num_classes, dtype=np.int64),
            multiplier * ratio,
            multiplier / ratio,
            loss=self.loss,
            features=self.problem.features,
            feature_dim=self.problem.feature_dim,
            bias=self.bias,
        )

    @cached_property
    def least(self) -> ProvedBound:
        """The least value of the loss alone: the lower bound of μ = 0."""
        found = trivial_bound(self.penalised(self.first))
        if found.exact is None:
            return found
        exact = self.scale * found.exact
        return replace(found, value=fraction_below(exact), exact=exact)

    def multiplier(self, penalised: Problem) -> float:
        """μ of a penalised problem, in the units of the problem."""
        return float(self.scale) * math.sqrt(penalised.lambda_w) * math.sqrt(penalised.lambda_h)

    def lower(self, penalised: Problem, proved: Fraction) -> Fraction:
        """What a proved lower bound of a penalised problem proves of this one: exact, and valid for any α and β."""
        weights, features = self.radii
        paid = Fraction(penalised.lambda_w) * weights + Fraction(penalised.lambda_h) * features
        return self.scale * (proved - paid / 2)

    def upper(self, found: Representation) -> Fraction | None:
        """The loss at the factors behind ``found.upper``, from above; None unless they lie in the balls, exactly."""
        squares = found.square_norms()
        if squares is None or any(square > radius for square, radius in zip(squares, self.radii, strict=True)):
            return None
        loss = found.loss_bound().exact
        return None if loss is None else self.scale * self.excess * loss

    @property
    def radii(self) -> tuple[Fraction, Fraction]:
        """The largest ‖W‖² and Σ ‖h_k‖², exactly."""
        K, bounds = self.problem.num_classes, self.constraint
        return K * fraction(bounds.weight_radius), K * fraction(bounds.feature_radius)

    def inside(self, found: Representation) -> Iterator[tuple[Representation, Fraction]]:
        """The factors as they are, and stretched or shortened to the spheres, with their loss; none outside a ball."""
        squares = found.square_norms()
        if (loss := self.upper(found)) is not None:
            yield found, loss
        if squares is not None and min(squares) > 0:
            ratios = [root(radius / square) for radius, square in zip(self.radii, squares, strict=True)]
            inwards = INWARDS
            while inwards < 1.0:
                fitted = found.rescaled(*(ratio * (1.0 - inwards) for ratio in ratios))
                if (loss := self.upper(fitted)) is not None:
                    yield fitted, loss
                    return
                inwards *= 16.0


def root(square: Fraction) -> float:
    """The square root of a rational, without overflow on the way."""
    exponent = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(square / Fraction(4) ** exponent), exponent)

"""The layer-peeled model through penalised problems: one concave maximisation over the multiplier.

With norm bounds (1/K) ‖W‖² ≤ E_W and (1/K) Σ ‖h_k‖² ≤ E_H in place of the penalties, for every α, β > 0

    minimum  ≥  p(α, β) − K (α E_W + β E_H)/2,      p(α, β) = min Σ pt_k l_k(W h_k) + α/2 ‖W‖² + β/2 Σ_k ‖h_k‖²,

and there is equality at the maximum over α E_W = β E_H, where p depends on μ = √(αβ) alone (docs/layer_peeled.md). The
derivative of p(μ) − K √(E_W E_H) μ is ‖W‖ ‖H‖ − K √(E_W E_H) at the minimiser of the penalised problem, and falls with
μ: its root is searched. Every penalised problem on the way proves a lower bound, whatever its μ, and its W and H,
brought into the balls, an upper one; the gap is quadratic in the error of μ.

The penalised problem weighs features by 1 and not by n_k: it has one sample a class, and the class counts become
weights of the loss. Units: its objective is that of the problem divided by ``scale``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from ufm_convex import enclosure
from ufm_convex._arrays import FloatArray
from ufm_convex.constraints import LayerPeeled
from ufm_convex.duality import Condition, KKTReport
from ufm_convex.enclosure import ProvedBound
from ufm_convex.errors import HypothesisError, ProblemError, SolverError
from ufm_convex.evidence import Evidence, Representation, relative_gap
from ufm_convex.groups import GroupColumns, GroupDual, GroupPoint
from ufm_convex.losses import CrossEntropy, Loss
from ufm_convex.points import DualPoint, FrameDual, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.reductions.base import InnerSolve, Progress, Reduction
from ufm_convex.solution import Solution, Status

_SHARE = 0.125
"""Share of the tolerance that a penalised problem may leave open; the rest is for the error of μ."""
_FINEST = 1e-13
"""Relative gap below which no penalised problem is asked: rounding of a dense proof."""
_FIRST_STEP = 0.5
"""First step of log μ in the search for a bracket; it doubles."""
_SMALLEST = 1e-200
"""Multipliers below this share of the first one are not tried: the loss is then as good as nothing."""
_FARTHEST = 1e100
"""Largest ratio of the two radii; what is asked for depends on their product alone, but for the lengths of W and H."""
_INWARDS = 2.0**-50
"""Share by which W and H are shortened so that rounding leaves them in their balls; multiplied until it does."""
_ROUNDS = 100


class LayerPeeledReduction(Reduction):
    """Norm balls by a search for their multiplier."""

    name: ClassVar[str] = "layer-peeled"

    @classmethod
    def accepts(cls, problem: Problem) -> bool:
        """Norm balls, and logits W h."""
        return isinstance(problem.constraint, LayerPeeled) and problem.bias is None

    def solve(self, problem: Problem, inner: InnerSolve, tolerance: float, tell: Progress) -> Solution:
        """The penalised problem with the right multiplier; see ``Reduction.solve``.

        Raises:
            HypothesisError: class counts differ and the loss is not cross-entropy, which alone has class weights.
            ProblemError: the radii, or the products of class weights and counts, are too far apart for binary64.
        """
        started = time.perf_counter()
        search = _Search(PenalisedFamily.of(problem), inner, tolerance, tell)
        try:
            search.run()
        except KeyboardInterrupt:
            if search.best is None:
                raise
            search.route.append("interrupted: the best bounds so far are kept")
        if search.best is None:
            raise SolverError(
                "no penalised problem has a multiplier within the range of binary64.",
                expected="weights and radii of moderate size",
                fix="scale the problem.",
            )
        return replace(search.best, route=tuple(search.route), seconds=time.perf_counter() - started)


# -- the penalised problems -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PenalisedFamily:
    """The penalised problems of a layer-peeled one, one for each multiplier.

    Attributes:
        problem: The layer-peeled problem.
        constraint: Its norm bounds.
        loss: The loss of the penalised problems, whose weights are those of the classes.
        scale: Their objective times this is in the units of the problem, exactly.
        excess: The largest pt_k / (scale · weight of class k in a penalised problem), ≥ 1: class weights ω_k n_k that
            are no binary64 numbers are rounded down, which keeps lower bounds; upper ones are multiplied by this.
    """

    problem: Problem
    constraint: LayerPeeled
    loss: Loss
    scale: Fraction
    excess: Fraction

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
            return cls(problem, constraint, problem.loss, Fraction(1), Fraction(1))
        if type(problem.loss) is not CrossEntropy:
            raise HypothesisError(
                f"the loss is {problem.loss.name}, the class counts differ, and features are bounded, not penalised.",
                expected="cross-entropy, which has class weights, or equal class counts",
                fix="use CrossEntropy(class_weights=..., smoothing=...), or balanced counts.",
            )
        exact = [Fraction(w) * n for w, n in zip(problem.loss.weights(K).tolist(), counts, strict=True)]
        unit = Fraction(2) ** round(math.log2(problem.num_samples / K))  # weights of about the size of ω
        weights = [_below(weight / unit) for weight in exact]
        if min(weights) <= 0.0:
            raise ProblemError(
                "class weights times class counts are too far apart for binary64.",
                expected="a ratio of at most 1e300",
                fix="leave out classes that do not count.",
            )
        loss = CrossEntropy(class_weights=tuple(weights), smoothing=problem.loss.smoothing)
        excess = max(one / (unit * Fraction(weight)) for one, weight in zip(exact, weights, strict=True))
        return cls(problem, constraint, loss, unit * K / problem.num_samples, excess)

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
        )

    def lower(self, penalised: Problem, proved: Fraction) -> Fraction:
        """What a proved lower bound of a penalised problem proves of this one: exact, and valid for any α and β."""
        return self.scale * (proved - self._paid(penalised, *self.radii))

    def upper(self, found: Representation) -> Fraction | None:
        """The loss at the factors behind ``found.upper``, from above; None unless they lie in the balls, exactly."""
        if found.upper.exact is None:
            return None
        squares = found.square_norms()
        if any(square > radius for square, radius in zip(squares, self.radii, strict=True)):
            return None
        return self.scale * self.excess * (found.upper.exact - self._paid(found.problem, *squares))

    @property
    def radii(self) -> tuple[Fraction, Fraction]:
        """The largest ‖W‖² and Σ ‖h_k‖², exactly."""
        K, bounds = self.problem.num_classes, self.constraint
        return K * Fraction(bounds.weight_radius), K * Fraction(bounds.feature_radius)

    @staticmethod
    def _paid(penalised: Problem, weights: Fraction, features: Fraction) -> Fraction:
        """α/2 ‖W‖² + β/2 ‖H‖² for square norms."""
        return (Fraction(penalised.lambda_w) * weights + Fraction(penalised.lambda_h) * features) / 2

    def inside(self, found: Representation) -> Iterator[Representation]:
        """The factors stretched or shortened to the spheres, and as they are, where that is in the balls."""
        squares = found.square_norms()
        if self.upper(found) is not None:
            yield found
        if min(squares) > 0:
            ratios = [_root(radius / square) for radius, square in zip(self.radii, squares, strict=True)]
            inwards = _INWARDS
            while inwards < 1.0:
                fitted = found.rescaled(*(ratio * (1.0 - inwards) for ratio in ratios))
                if self.upper(fitted) is not None:
                    yield fitted
                    return
                inwards *= 16.0


def _root(square: Fraction) -> float:
    """The square root of a rational, without overflow on the way."""
    exponent = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(square / Fraction(4) ** exponent), exponent)


def _below(number: Fraction) -> float:
    return enclosure.fraction_below(number)


# -- the search -----------------------------------------------------------------------------------------------------


class _Certified(Exception):  # noqa: N818 - no error
    """The gap is within the tolerance."""


@dataclass
class _Search:
    """The root of ‖W‖ ‖H‖ = K √(E_W E_H) in log μ, left as soon as a gap is within the tolerance.

    Attributes:
        best: The solution with the smallest gap so far.
        route: One line a multiplier.
    """

    family: PenalisedFamily
    inner: InnerSolve
    tolerance: float
    tell: Progress
    best: Solution | None = None
    route: list[str] = field(default_factory=list)
    share: float = _SHARE
    """Relative gap to ask of the next penalised problem, over the tolerance."""
    known: dict[float, float] = field(default_factory=dict)

    def run(self) -> None:
        """Bracket the root, then Brent's method."""
        from scipy.optimize import brentq

        try:
            bracket = self._bracket()
            if bracket is not None:
                brentq(self._excess, *bracket, xtol=1e-15, rtol=1e-14, maxiter=_ROUNDS, disp=False)
        except _Certified:
            pass

    def _bracket(self) -> tuple[float, float] | None:
        """Two values of log μ with the root between them; None where the norms never reach their bounds."""
        start = math.log(self.family.first)
        step = math.copysign(_FIRST_STEP, self._excess(start))
        here, lowest = start, start + math.log(_SMALLEST)
        while here > lowest:
            there = max(here + step, lowest)
            if (self._excess(there) > 0.0) != (step > 0.0):
                return min(here, there), max(here, there)
            here, step = there, 2.0 * step
        return None

    def _excess(self, log_multiplier: float) -> float:
        """‖W‖ ‖H‖ / (K √(E_W E_H)) − 1 at the solution of the penalised problem; leaves with ``_Certified``."""
        if log_multiplier in self.known:
            return self.known[log_multiplier]
        penalised = self.family.penalised(math.exp(log_multiplier))
        solution = self.inner(penalised, tolerance=max(self.share * self.tolerance, _FINEST))
        found = solution.evidence
        if not isinstance(found, Representation):
            raise SolverError(
                "a penalised problem was solved by another reduction.",
                expected="evidence with factors",
                fix="this is a fault of ufm-convex: please report the problem and the solver.",
            )
        self._judge(solution, found)
        squares = found.square_norms()
        self.known[log_multiplier] = _root(squares[0]) * _root(squares[1]) / self.family.budget - 1.0
        return self.known[log_multiplier]

    def _judge(self, solution: Solution, found: Representation) -> None:
        """Both bounds of the problem from one penalised problem; kept if they are the closest so far."""
        family, tell = self.family, self.tell
        evidence = PeeledEvidence.of(family, found)
        gap = evidence.relative_gap
        where = f"μ = {evidence.multiplier:.12g} by {solution.solver} at {solution.level} level"
        self.route.append(f"{where}: inner gap {solution.relative_gap:.1e}, proved relative gap {gap:.1e}")
        tell(self.route[-1])
        if gap < 0.0:  # impossible unless a proof is unsound
            raise SolverError(
                f"the proved bounds contradict each other: {evidence.lower.value!r} > {evidence.upper.value!r}.",
                expected="a lower bound that is at most the upper bound",
                fix="this is a fault of ufm-convex: please report the problem and the solver.",
            )
        # an inner gap is relative to loss and penalty together; what counts is its share of the loss
        loss = evidence.upper.value / float(family.scale) / max(solution.upper_bound, np.finfo(float).tiny)
        self.share = _SHARE * min(1.0, loss)
        status = Status.CERTIFIED if gap <= self.tolerance else Status.FAILED if found.left_nothing else Status.BOUNDED
        if self.best is None or (gap, evidence.upper.value) < (self.best.relative_gap, self.best.upper_bound):
            estimate = float(family.scale) * solution.value - evidence.multiplier * family.budget
            value = min(max(estimate, evidence.lower.value), evidence.upper.value)
            self.best = Solution(value, status, self.tolerance, evidence)
        if status is Status.CERTIFIED:
            raise _Certified


# -- what is found --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PeeledEvidence(Evidence):
    """Evidence of a layer-peeled problem: that of a penalised one, with its factors in the balls.

    Attributes:
        inner: Evidence of the penalised problem at the factors in the balls.
        scale: Units of the problem in units of the penalised one.
        idle: Whether ``lower`` is the least value of the loss alone, the bound of μ = 0: the balls do not bind.
    """

    inner: Representation
    scale: float
    idle: bool

    @classmethod
    def of(cls, family: PenalisedFamily, found: Representation) -> PeeledEvidence:
        """The two bounds that a penalised problem proves of the problem, and the points behind them."""
        fitted, upper = found, ProvedBound(math.inf, found.upper.proof)
        for one in family.inside(found):
            loss = family.upper(one)
            if loss is not None and (upper.exact is None or loss < upper.exact):
                fitted = one
                upper = ProvedBound(enclosure.fraction_above(loss), found.upper.proof, loss, one.upper.evidence)
        lower = cls._lower(family, found)
        scale = float(family.scale)
        dual = _scaled_dual(found.dual, scale)
        idle = lower.proof == "trivial"
        return cls(family.problem, found.run, fitted.point, dual, lower, upper, fitted, scale, idle)

    @staticmethod
    def _lower(family: PenalisedFamily, found: Representation) -> ProvedBound:
        """From the penalised problem, or the least value of the loss alone, which is the bound of μ = 0."""
        trivial = enclosure.trivial_bound(found.problem)
        bounds = [] if trivial.exact is None else [replace(trivial, exact=family.scale * trivial.exact)]
        if found.lower.exact is not None:
            bounds.append(replace(found.lower, exact=family.lower(found.problem, found.lower.exact)))
        best = max(bounds, key=lambda bound: bound.exact or 0, default=ProvedBound(-math.inf, "trivial"))
        return best if best.exact is None else replace(best, value=enclosure.fraction_below(best.exact))

    @property
    def relative_gap(self) -> float:
        """(upper − lower) / upper."""
        return relative_gap(self.lower.value, self.upper.value)

    @property
    def multiplier(self) -> float:
        """μ of the lower bound, in the units of the problem: minus the derivative of the minimum in K √(E_W E_H)."""
        if self.idle:
            return 0.0
        penalised = self.inner.problem
        return self.scale * math.sqrt(penalised.lambda_w) * math.sqrt(penalised.lambda_h)

    def report(self, epsilon: float) -> KKTReport:
        """The conditions of the penalised problem at the factors in the balls, and two of the balls themselves."""
        family = PenalisedFamily.of(self.problem)
        squares, penalised = self.inner.square_norms(), self.inner.problem
        shares = [float(square / radius) for square, radius in zip(squares, family.radii, strict=True)]
        # residuals are relative to loss and penalty together, the gap to the loss alone
        whole = max(self.inner.upper.value, np.finfo(float).tiny)
        share = min(1.0, self.upper.value / self.scale / whole)
        prices = [
            0.0 if self.idle else 0.5 * decay * float(radius) / whole
            for decay, radius in zip((penalised.lambda_w, penalised.lambda_h), family.radii, strict=True)
        ]
        unpaid = sum(price * abs(1.0 - one) for price, one in zip(prices, shares, strict=True))
        inner = self.inner.report(epsilon * share)
        limit = inner["duality_gap"].tolerance
        radius = Condition("primal_radius", max(0.0, *(one - 1.0 for one in shares)), float(np.finfo(float).eps))
        return KKTReport((*inner.conditions, radius, Condition("complementarity_radius", unpaid, limit)))

    @property
    def estimate(self) -> float | None:
        """The upper bound: the loss at the factors."""
        return self.upper.value

    def slack(self) -> FloatArray:
        """See ``Evidence.slack``; D is μ² I."""
        return self.scale**2 * self.inner.slack()

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        return self.inner.dense_point()

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        return self.inner.margins()

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return self.inner.feature_norms()

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return self.inner.weight_norms()

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        return self.inner.loss_gains()

    def group_means(self, columns: GroupColumns) -> tuple[GroupPoint, FloatArray]:
        """See ``Evidence.group_means``."""
        return self.inner.group_means(columns)

    def collapsed(self) -> tuple[int, ...]:
        """As in the penalised problem: the length that a collapsed feature gives up is worth its price μ."""
        return self.inner.collapsed()

    def merged(self) -> tuple[tuple[int, ...], ...]:
        """As in the penalised problem."""
        return self.inner.merged()

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``; both lie in their balls."""
        W, H = self.inner.factors(feature_dim)
        radii = PenalisedFamily.of(self.problem).radii
        return _shortened(W, radii[0]), _shortened(H, radii[1])

    @property
    def factor_residual(self) -> float:
        """See ``Evidence.factor_residual``."""
        return self.inner.factor_residual

    @property
    def rank(self) -> int:
        """See ``Evidence.rank``."""
        return self.inner.rank


def _shortened(matrix: FloatArray, radius: Fraction) -> FloatArray:
    """The matrix, or a little less of it where narrowing to fewer dimensions or rounding left it too long."""
    square = math.fsum((matrix * matrix).ravel())
    return matrix if square <= float(radius) else matrix * (math.sqrt(float(radius) / square) * (1.0 - _INWARDS))


def _scaled_dual(dual: DualPoint | FrameDual | GroupDual, scale: float) -> DualPoint | FrameDual | GroupDual:
    """The dual point in the units of the problem: residuals have none, T has those of μ²."""
    if isinstance(dual, FrameDual):
        return dual
    if isinstance(dual, GroupDual):
        return GroupDual(dual.residuals, dual.nonnegativity * scale**2)
    return DualPoint(dual.residuals, dual.nonnegativity * scale**2)

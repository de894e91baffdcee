"""The gap between the relaxation and the best W, H ≥ 0, closed from both sides, for up to 20 columns.

From five columns on the relaxation may be strict: its Gram matrix B is doubly non-negative but not completely positive.
Then two proved bounds stay apart however well it is solved. The dual of the problem itself asks that D − G be
copositive, not that it be positive semidefinite up to T ≥ 0, and both ends of that are in reach:

- *below*: the relaxation at the level of Parrilo's cone (``parrilo``), whose residuals and form prove a bound;
- *above*: the factors behind its moments, and descent on them. At a stationary point a direction b ≥ 0 with
  bᵀ(D − G)b < 0 opens one more coordinate that lowers the objective, so that descent ends where there is none;
- *below* again, for up to 12 columns, where that cone is not enough: at the end of that descent D − G is copositive, up
  to rounding, so the residuals are dual feasible by all supports, and the two values meet.

Source: docs/complete_positivity.md, section 1; docs/closing_the_gap.md, section 4; docs/parrilo.md, section 5. Every
bound that is reported is proved in exact arithmetic.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np

from ufm_convex import enclosure, recovery, relaxation
from ufm_convex._arrays import FloatArray
from ufm_convex._process import apart
from ufm_convex.enclosure import ProvedBound
from ufm_convex.errors import HypothesisError, ProblemError, SizeError, shown
from ufm_convex.evidence import Bracketed, Evidence, allowed_gap, excess_gap, relative_gap
from ufm_convex.positivity.bounds import copositive_lower_bound, relaxation_upper_bound
from ufm_convex.positivity.copositivity import lowest_direction
from ufm_convex.positivity.features import feature_positivity
from ufm_convex.positivity.parrilo import LARGEST_CUBIC, CubicRun, cubic_runs
from ufm_convex.positivity.report import CompletePositivity, Positivity
from ufm_convex.problem import Problem
from ufm_convex.recovery import Recovered, Scaled
from ufm_convex.relaxation import Alike, Columns, Factors, Gram, GramPoint, Orbits, of_classes

_ROUNDS = 60
_ITERATIONS, _GRADIENT = 5_000, 1e-11
_SHORT = 1e-7
"""Coordinates in which all features are shorter than this share of the longest are given up before one is opened."""
_HALVINGS = 40
_MIXTURES = 3
"""Mixtures of moments in which factors are looked for: what is not there in one is rarely in the next."""
_ROUNDING = 1e-14
_RIDGES = (1e-3, 1e-5, 1e-7, 1e-9)
"""Shares of the largest entry by which B is moved inside the cone of doubly non-negative matrices, to be proved."""


class Bounded(Protocol):
    """What a solution of the problem is asked for here; ``ufm_convex.Solution`` is one."""

    @property
    def problem(self) -> Problem:
        """The problem."""

    @property
    def evidence(self) -> Evidence:
        """The run made admissible."""

    @property
    def lower_bound(self) -> float:
        """Proved lower bound."""

    @property
    def upper_bound(self) -> float:
        """Proved upper bound."""

    def factors(self) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and H (K, d)."""


S = TypeVar("S", bound=Bounded)


@dataclass(frozen=True, eq=False)
class GapClosure(Bracketed, Generic[S]):
    """What is proved about a problem and its relaxation; all numbers are values of the objective.

    Attributes:
        problem: The problem.
        relaxation: The relaxation's solution.
        relaxation_upper: Proved: the optimum of the relaxation is no larger.
        lower: Proved lower bound of the problem: by a copositive slack ("parrilo" by a cubic form, "copositive" on all
            supports), or the relaxation's where that is larger.
        upper: Proved upper bound, from W and H.
        W: Classifier, (K, d).
        H: Class-mean features ≥ 0, (K, d).
        residuals: V, (K, K), at which D − G is copositive up to rounding, unless the search was cut short.
        gram: The verdict on B of the relaxation's solution, in units of the penalty; that of its factors where they
            close the gap.
        tolerance: Relative gap that was asked for; where targets have a floor, relative to the excess.
        seconds: Wall time.
    """

    problem: Problem
    relaxation: S
    relaxation_upper: float
    lower: ProvedBound
    upper: ProvedBound
    W: FloatArray
    H: FloatArray
    residuals: FloatArray
    gram: CompletePositivity
    tolerance: float
    seconds: float

    @property
    def relaxation_lower(self) -> float:
        """Proved lower bound of the relaxation's optimum, and so of the problem's."""
        return self.relaxation.lower_bound

    @property
    def gap(self) -> float:
        """Upper bound less lower bound."""
        return self.upper_bound - self.lower_bound

    @property
    def excess_gap(self) -> float:
        """The same over the excess, upper bound less floor, where targets have a floor."""
        return excess_gap(self.problem.floor, self.lower_bound, self.upper_bound)

    @property
    def verdict(self) -> Positivity:
        """What was shown about the optima of the relaxation.

        That none is completely positive where ``relaxation_is_strict``, and nowhere else: what is not completely
        positive may be the solver's error. That one is, up to the tolerances, where ``gram`` is and the relaxation is
        solved.
        """
        if self.relaxation_is_strict:
            return Positivity.NOT_COMPLETELY_POSITIVE
        allowed = allowed_gap(self.problem.floor, self.relaxation_upper, self.tolerance)
        solved = relative_gap(self.relaxation_lower, self.relaxation_upper) <= allowed
        shown = solved and self.gram.verdict is Positivity.COMPLETELY_POSITIVE
        return Positivity.COMPLETELY_POSITIVE if shown else Positivity.UNDECIDED

    @property
    def relaxation_is_strict(self) -> bool:
        """Proved: the relaxation's optimum is below the problem's, so *none* of its optima is completely positive."""
        return self.relaxation_upper < self.lower_bound

    def __str__(self) -> str:
        strict = " (proved strict)" if self.relaxation_is_strict else ""
        return "\n".join(
            [
                f"relaxation, lower bound   {self.relaxation_lower:.7f}{strict}",
                f"problem, lower bound      {self.lower_bound:.7f} ({self.lower.proof})",
                f"W and H, upper bound      {self.upper_bound:.7f}",
                f"relaxation's Gram matrix  {self.verdict}",
            ]
        )


def closed_gap(problem: Problem, given: S | None, tolerance: float, solve: Callable[..., S]) -> GapClosure[S]:
    """``ufm_convex.close_gap`` of a problem that ``check`` lets pass.

    Args:
        problem: The problem.
        given: A solution of it that is known already, or None.
        tolerance: Relative gap that is wanted.
        solve: Solves the problem: ``solve(problem, solver=…, level=…, tolerance=…)``.
    """
    started = time.perf_counter()
    if problem.num_columns > LARGEST_CUBIC:
        return _written_out(problem, given, tolerance, solve)
    columns = of_classes(problem)
    relaxed = solve(problem, solver="clarabel", level="class", tolerance=tolerance)
    # absurd decays overflow; what comes of it is judged in exact arithmetic, so there is nothing to warn of
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        best = _Best.of(relaxed if given is None else given)
        for way in _ways(problem, columns, relaxed, tolerance, solve):
            if best.relative_gap <= allowed_gap(problem.floor, best.upper.value, tolerance):
                break
            best = best.better(way(best))
        point = relaxed.evidence.dense_point()
        above = min(_relaxation_upper(problem, columns, point), best.upper.value)
        # a Gram matrix is determined to the square root of its value's accuracy
        error = abs(relaxation.objective(columns, Gram.mean(columns, point)) - relaxed.lower_bound) / best.upper.value
        accuracy = math.sqrt(min(max(error, _ROUNDING), tolerance))
        gram = feature_positivity(columns, point.feature_gram, best.H, best.upper.value, accuracy)
    return GapClosure(
        problem=problem,
        relaxation=relaxed,
        relaxation_upper=above,
        lower=best.lower,
        upper=best.upper,
        W=best.W,
        H=best.H,
        residuals=best.residuals,
        gram=gram,
        tolerance=tolerance,
        seconds=time.perf_counter() - started,
    )


def _written_out(problem: Problem, given: S | None, tolerance: float, solve: Callable[..., S]) -> GapClosure[S]:
    """The closed gap of the merged columns of a table; its bounds are the problem's own (docs/targets.md).

    Their exact points are not: they are on the merged columns.
    """
    merged, column = problem.merged
    found = closed_gap(merged, None, tolerance, solve)
    lower, upper = replace(found.lower, exact_point=None), replace(found.upper, exact_point=None)
    best = _Best(lower, upper, found.W, found.H[column], found.residuals[:, column])
    if given is not None:
        best = best.better(_Best.of(given))
    return replace(
        found,
        problem=problem,
        relaxation=solve(problem, solver="clarabel", level="class", tolerance=tolerance),
        lower=best.lower,
        upper=best.upper,
        W=best.W,
        H=best.H,
        residuals=best.residuals,
    )


@dataclass(frozen=True, eq=False)
class _Best(Bracketed):
    """The better of each bound so far; W and H belong to the upper one, the residuals to the lower one."""

    lower: ProvedBound
    upper: ProvedBound
    W: FloatArray
    H: FloatArray
    residuals: FloatArray

    @classmethod
    def of(cls, solution: Bounded) -> _Best:
        """What a solution of the problem knows."""
        W, H = solution.factors()
        columns = of_classes(solution.problem)
        residuals = _residuals(columns, W, H)
        return cls(solution.evidence.lower, solution.evidence.upper, W, H, residuals)

    def better(self, other: _Best) -> _Best:
        """The closer bound of either side, each with what it comes from."""
        below = other if other.lower.value > self.lower.value else self
        above = other if other.upper.value < self.upper.value else self
        return _Best(below.lower, above.upper, above.W, above.H, below.residuals)


_Way = Callable[[_Best], _Best]


def _ways(problem: Problem, columns: Columns, relaxed: S, tolerance: float, solve: Callable[..., S]) -> Iterator[_Way]:
    """What may bring the bounds together, the cheapest first; lazy, since the first are enough as a rule."""
    flat = 0.1 * tolerance
    yield lambda best: _Best.of(relaxed)
    for run in apart("solver 'clarabel'", cubic_runs, columns):
        yield partial(_raised, problem, run)
        generator = np.random.default_rng(0)
        for _ in range(_MIXTURES):
            yield partial(_descended, problem, columns, flat, run.factors(generator))
    yield partial(_descended, problem, columns, flat, None)
    yield lambda best: _Best.of(solve(problem, solver="factored", tolerance=tolerance))
    yield partial(_descended, problem, columns, flat, None)


def _raised(problem: Problem, run: CubicRun, best: _Best) -> _Best:
    """The bound that the run's residuals and form prove, with W and H as they are."""
    residuals = run.V.full()
    return replace(best, lower=copositive_lower_bound(problem, residuals, run.form), residuals=residuals)


def _descended(problem: Problem, columns: Columns, flat: float, start: Factors | None, best: _Best) -> _Best:
    """The end of the descent from the start, or from W and H, with what its residuals prove."""
    start = Factors.single(columns, best.W, best.H) if start is None else start
    W, H = _descend(columns, start, flat)
    residuals = _residuals(columns, W, H)
    lower = copositive_lower_bound(problem, residuals)
    W, H = _fitted(problem, columns, W, H)
    return _Best(lower, enclosure.upper_bound(problem, (W, H)), W, H, residuals)


def _residuals(columns: Columns, W: FloatArray, H: FloatArray) -> FloatArray:
    """V at the class means, (K, K); the columns of classes without samples are 0."""
    outputs, sort = columns.outputs, columns.columns
    return columns.residuals(Alike.matrix(outputs, sort, W @ H[sort.positions].T)).full()


def check(problem: object) -> Problem:
    """The problem, if a copositive slack can say anything about it.

    Raises:
        ProblemError: it is no problem.
        HypothesisError: features are free; the relaxation is then exact.
        SizeError: more than 20 classes have samples, or a table has more than 20 different columns.
    """
    if not isinstance(problem, Problem):
        raise ProblemError(
            f"problem is {shown(problem)}.",
            expected="an ufm_convex.Problem, or a Solution",
            fix="make one with Problem(class_counts, …).",
        )
    problem.require_plain("a copositive slack")
    if not problem.nonnegative:
        raise HypothesisError(
            'features are "free".',
            expected="non-negative features",
            fix="without the sign constraint the relaxation is exact, and solve() closes its gap.",
        )
    different = problem.merged[0].num_columns
    if different > LARGEST_CUBIC:
        noun = "classes with samples" if problem.paired else "different columns"
        raise SizeError(
            f"there are {different} {noun}.",
            expected=f"at most {LARGEST_CUBIC}: the programme grows as the third power of their number",
            fix="use solve(), whose bounds hold for every number of classes.",
        )
    return problem


# -- from above ---------------------------------------------------------------------------------------------------


def _descend(columns: Columns, start: Factors, flat: float) -> tuple[FloatArray, FloatArray]:
    """W and H from which no new coordinate leads down by more than ``flat`` for its square, as far as rounds last."""
    scaled = Scaled(columns, start.W.cols)
    point = scaled.pack(start)
    for _ in range(_ROUNDS):
        point = scaled.minimise(point, _ITERATIONS, _GRADIENT)[0]
        pull = scaled.pull(scaled.unpack(point)).even
        least, direction = lowest_direction(np.eye(columns.columns.total) - pull.T @ pull)
        opened = None if least >= -flat else _opened(scaled, point, -pull @ direction, direction)
        if opened is None:
            break
        scaled, point = opened
    return recovery.full(scaled.unpack(point), None, nonnegative=True)


def _opened(
    scaled: Scaled, point: FloatArray, weight: FloatArray, feature: FloatArray
) -> tuple[Scaled, FloatArray] | None:
    """The point with one more coordinate, t times (weight, feature) for the best of some t; None if none is lower.

    The objective changes by t²/2 · bᵀ(D − G)b + O(t⁴) in units where D = I (docs/complete_positivity.md, section 1).
    """
    here = scaled.value_and_gradient(point)[0]
    d = scaled.coordinates.total
    w, h = point[: scaled.cuts[0]].reshape(-1, d), point[scaled.cuts[0] :].reshape(-1, d)
    lengths = np.linalg.norm(h, axis=0)
    kept = np.flatnonzero(lengths > _SHORT * lengths.max(initial=0.0))
    wider = Scaled(scaled.columns, Orbits.single(kept.size + 1))
    lowest, best, t = here, None, 1.0
    for _ in range(_HALVINGS):
        pair = np.column_stack([w[:, kept], t * weight]), np.column_stack([h[:, kept], t * feature])
        trial = np.concatenate([pair[0].ravel(), pair[1].ravel()])
        value = wider.value_and_gradient(trial)[0]
        if value < lowest:
            lowest, best = value, trial
        t *= 0.5
    return None if best is None else (wider, best)


def _fitted(problem: Problem, columns: Columns, W: FloatArray, H: FloatArray) -> tuple[FloatArray, FloatArray]:
    """W and H without empty coordinates, in no more than ``feature_dim``."""
    used = np.any(H != 0.0, axis=0)
    used[0] |= not used.any()
    W, H = W[:, used], H[:, used]
    if problem.feature_dim is None or H.shape[1] <= problem.feature_dim:
        return W, H
    pair = Factors.single(columns, W, H)
    found = Recovered(pair, relaxation.objective(columns, pair), 0.0, H.shape[1])
    narrowed = recovery.fit(columns, found, problem.feature_dim)
    return recovery.full(narrowed.factors, None, nonnegative=True)


# -- the relaxation -----------------------------------------------------------------------------------------------


def _relaxation_upper(problem: Problem, columns: Columns, point: GramPoint) -> float:
    """The objective at a doubly non-negative point near a solver's, proved: the lowest of a few."""
    scale, there = np.sqrt(columns.lambda_h * columns.feature_weights), columns.columns.positions
    B = np.maximum(point.feature_gram[np.ix_(there, there)], 0.0) * np.outer(scale, scale)
    size, m = float(B.max()), there.size
    lowest = np.inf
    for ridge in _RIDGES if size > 0.0 else ():
        try:
            M = np.linalg.cholesky(B + ridge * size * (np.eye(m) + np.ones((m, m)) / m))
        except np.linalg.LinAlgError:
            break
        W = np.linalg.solve(M, (point.logits[:, there] * scale).T).T.astype(np.float64)
        features = np.zeros((problem.num_classes, m))
        features[there] = M / scale[:, None]
        bound = relaxation_upper_bound(problem, W, features)
        lowest = min(lowest, bound.value)
    return lowest

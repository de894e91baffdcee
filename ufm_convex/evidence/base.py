"""What every representation answers about a run: admissible points, proved bounds, and what is read off them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, Self

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.duality import KKTReport
from ufm_convex.enclosure import ProvedBound, rank_bound
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Columns, Gram, GramPoint, of_groups
from ufm_convex.solvers import SolverRun

_ENOUGH = 0.1
"""Share of the tolerance by which a bound must be larger to take the place of the dual point's own."""


def relative_gap(lower: float, upper: float) -> float:
    """(upper − lower) / upper; 0 when both are equal, 1 when nothing bounds the optimum from above."""
    if math.isinf(upper):
        return 1.0
    return 0.0 if upper == lower else (upper - lower) / upper


def allowed_gap(floor: float, upper: float, tolerance: float) -> float:
    """The largest relative gap at which a problem counts as solved: the tolerance, or less where there is a floor.

    What no model can go below says nothing of one: upper − lower is then to be at most the tolerance times
    max(upper − floor, tolerance · upper). The second term keeps what is within rounding of its floor provable.

    Args:
        floor: ``Problem.floor``.
        upper: The upper bound.
        tolerance: In (0, 1).
    """
    if not floor > 0.0 or not 0.0 < upper < math.inf:
        return tolerance
    return tolerance * max((upper - floor) / upper, tolerance)


def excess_gap(floor: float, lower: float, upper: float) -> float:
    """(upper − lower) / (upper − floor); 0 when the bounds are equal, infinite where they part at the floor."""
    if upper == lower:
        return 0.0
    if math.isinf(upper):
        return 1.0
    return (upper - lower) / (upper - floor) if upper > floor else math.inf


class _HasBounds(Protocol):
    @property
    def lower(self) -> ProvedBound:
        """Proved lower bound."""

    @property
    def upper(self) -> ProvedBound:
        """Proved upper bound."""


class Bracketed:
    """What has two proved bounds of an optimum, ``lower`` and ``upper``: as numbers, and how far they are apart."""

    @property
    def lower_bound(self: _HasBounds) -> float:
        """Proved: nothing admissible, of any dimension, has a smaller objective."""
        return self.lower.value

    @property
    def upper_bound(self: _HasBounds) -> float:
        """Proved: the objective of the factors that are reported is no larger."""
        return self.upper.value

    @property
    def relative_gap(self: _HasBounds) -> float:
        """(upper − lower) / upper; 0 when both are equal, 1 without an upper bound."""
        return relative_gap(self.lower.value, self.upper.value)

    def outside(self: _HasBounds, value: float) -> float:
        """How far a number, such as a solver's own value, lies outside the bounds, relative to the upper; 0 within."""
        lower, upper = self.lower.value, self.upper.value
        away = max(lower - value, value - upper, 0.0)
        return away / upper if upper > 0.0 else away


@dataclass(frozen=True, eq=False)
class Evidence(Bracketed, ABC):
    """A run made admissible: a primal point with the W and H behind it, a feasible dual point, and their bounds.

    Attributes:
        problem: The problem.
        run: The run as the solver left it.
        point: The primal point that is reported: that of the factors, or the solver's own where that is nearer to the
            lower bound, as it is where the relaxation has no factors; ``value`` goes with it.
        dual: The repaired dual point.
        lower: Proved lower bound, from ``dual``, or from a theorem that knows ``feature_dim``; its proof says which.
        upper: Proved upper bound, from the factors.
        relaxed: The objective of the factors before ``feature_dim`` narrowed them; None where they never are.
    """

    problem: Problem
    run: SolverRun
    point: Any
    dual: Any
    lower: ProvedBound
    upper: ProvedBound
    relaxed: float | None = field(default=None, kw_only=True)

    @property
    def left_nothing(self) -> bool:
        """True when the solver left no point to work from."""
        return self.run.point is None and self.run.dual is None

    @property
    def estimate(self) -> float | None:
        """The relaxation's objective at ``point``; None where there is none to evaluate."""
        return self.run.value

    @property
    def multiplier(self) -> float | None:
        """The multiplier μ of norm bounds on W and H; None where there are none."""
        return None

    @abstractmethod
    def report(self, epsilon: float) -> KKTReport:
        """The KKT conditions at ``point`` and ``dual``."""

    def settled(self, tolerance: float) -> bool:
        """Whether the relaxation is solved, but its factors need more than ``feature_dim`` dimensions.

        A more accurate run of the same programme would then end at the same bound; a solver that works on W and H in
        ``feature_dim`` dimensions is another matter.
        """
        if self.problem.feature_dim is None or self.relaxed is None or self.run.factors is not None:
            return False
        lower = self.lower.value
        floor, upper = self.problem.floor, self.upper.value
        solved = relative_gap(lower, self.relaxed) <= allowed_gap(floor, self.relaxed, tolerance)
        return solved and relative_gap(lower, upper) > allowed_gap(floor, upper, tolerance)

    def solver_report(self, epsilon: float) -> KKTReport | None:
        """The same at the solver's own points; None when it left none."""
        return None

    @abstractmethod
    def slack(self) -> FloatArray:
        """R = D − G − T of ``dual``, (K, K); raises ``SizeError`` for K > 20,000."""

    @abstractmethod
    def dense_point(self) -> GramPoint:
        """``point`` as (K, K) matrices; raises ``SizeError`` for K > 20,000."""

    @abstractmethod
    def margins(self) -> FloatArray:
        """Own logit of each class minus its largest other logit, (K,)."""

    @abstractmethod
    def feature_norms(self) -> FloatArray:
        """‖h̄_k‖, (K,)."""

    @abstractmethod
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, (K,)."""

    @abstractmethod
    def loss_gains(self) -> FloatArray:
        """l_k(0) − l_k(Le_k), (K,)."""

    @abstractmethod
    def group_means(self, columns: Columns) -> tuple[Gram, FloatArray]:
        """``point`` averaged over alike classes, b in its logits, and the mean loss of the classes of a group, (C,).

        Args:
            columns: Columns at group level.
        """

    def collapsed(self) -> tuple[int, ...]:
        """Classes whose non-negative feature could be set to zero for less than the gap leaves open."""
        problem = self.problem
        if not problem.nonnegative or not math.isfinite(self.upper.value):
            return ()
        share = problem.lambda_h * problem.class_counts * self.feature_norms() ** 2
        excess = problem.loss_weights * self.loss_gains() - share
        return tuple(np.flatnonzero(excess <= self._open_gap).tolist())

    def merged(self) -> tuple[tuple[int, ...], ...]:
        """Groups whose classes could share one free feature and one classifier row for less than the gap leaves open.

        Sharing averages the rows of W and H over the group. What that costs is the rise of the group's own loss less
        the penalty of what is averaged away; the losses of other classes do not rise, by convexity.
        """
        problem = self.problem
        if problem.nonnegative or not problem.loss.alike or not math.isfinite(self.upper.value):
            return ()
        columns = of_groups(problem)
        point, losses = self.group_means(columns)
        sort, pairing = columns.columns, columns.outputs.paired(columns.columns)
        g, p = pairing.kind, pairing.column
        if not p.size:
            return ()
        with np.errstate(invalid="ignore"):  # an indicator may be infinite at both
            rise = columns.orbit_weights * (columns.values(_shared(point.logits)) - losses)
        spread = problem.lambda_w * point.A.standard[g, 0, 0]
        spread += problem.lambda_h * columns.feature_weights[p] * point.B.standard[g, 0, 0]
        excess = rise[p] - 0.5 * (sort.places[p] - 1.0) * spread
        ends = np.cumsum(sort.places)
        chosen = (sort.positions[ends[q] - sort.places[q] : ends[q]] for q in p[excess <= self._open_gap])
        return tuple(sorted(tuple(np.sort(classes).tolist()) for classes in chosen))

    def zeros(self) -> tuple[int, ...]:
        """Classes whose free feature and row of W are zero as far as the gap can tell: they carry no more penalty."""
        problem = self.problem
        if problem.nonnegative or not math.isfinite(self.upper.value):
            return ()
        if problem.num_outputs != problem.num_classes:  # a column has no row of W
            return ()
        penalty = problem.lambda_h * problem.class_counts * self.feature_norms() ** 2
        penalty += problem.lambda_w * self.weight_norms() ** 2
        return tuple(np.flatnonzero(0.5 * penalty <= self._open_gap).tolist())

    def silent(self, classes: Iterable[int]) -> tuple[int, ...]:
        """Those of some classes whose row of W could be set to zero for less than the gap leaves open.

        Along s·w_k the loss at a stationary point has the slope −λ_W ‖w_k‖² at s = 1, so that by convexity it is
        higher at s = 0 by at least λ_W ‖w_k‖²: what it is higher than that is lost. Needs (K, K) arrays.
        """
        problem, point = self.problem, self.dense_point()
        layout, found = problem.loss.layout(problem.num_outputs, np.arange(problem.num_classes)), []
        losses = problem.loss.values(point.logits, layout)
        for k in classes:
            logits = point.logits.copy()
            logits[k] = 0.0
            rise = problem.loss_weights @ (problem.loss.values(logits, layout) - losses)
            if float(rise) - problem.lambda_w * float(point.weight_gram[k, k]) <= self._open_gap:
                found.append(k)
        return tuple(found)

    @property
    def _open_gap(self) -> float:
        return self.upper.value - self.lower.value + 8.0 * np.finfo(float).eps * self.upper.value

    @abstractmethod
    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and H (K, d); raises ``DimensionError`` or ``SizeError``."""

    @property
    def bias(self) -> FloatArray:
        """The bias b that goes with the factors, (K,); zeros without one."""
        return np.zeros(self.problem.num_outputs)

    @property
    def factor_residual(self) -> float:
        """Relative distance between the solver's Gram matrices and those of the factors."""
        return 0.0

    @property
    @abstractmethod
    def rank(self) -> int:
        """Dimensions that the features use."""


class Representation(Evidence):
    """Evidence in the form that a run's points come in; one file each."""

    @classmethod
    @abstractmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """Whether the run's points come in this representation."""

    @classmethod
    @abstractmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> Representation:
        """Repair, recover, prove; at less effort once the gap is within the tolerance."""

    @abstractmethod
    def square_norms(self) -> tuple[Fraction, Fraction] | None:
        """‖W‖² and Σ ‖h_k‖² of the factors behind ``upper``, exactly; None where they are not admissible."""

    @abstractmethod
    def loss_bound(self) -> ProvedBound:
        """The loss alone at the factors behind ``upper``, enclosed from above."""

    @abstractmethod
    def rescaled(self, weights: float, features: float) -> Self:
        """The evidence with the factors behind ``upper``, and ``point``, at a W and H multiplied by two numbers > 0."""


def _shared(logits: Alike) -> Alike:
    """The logits with those among matched classes replaced by their mean."""
    pairing, even = logits.rows.paired(logits.cols), logits.even.copy()
    even[pairing.orbits] += logits.extra[pairing.slots] / logits.rows.places[pairing.row]
    return Alike.matrix(logits.rows, logits.cols, even)


def nearer(lower: float, upper: float, *estimates: float | None) -> bool:
    """Whether factors lie nearer to the lower bound than the solver's own point says that it does.

    A point is feasible to its solver's accuracy only, so its objective may lie on either side of the optimum.

    Args:
        lower: The lower bound.
        upper: Objective of the factors.
        estimates: Numbers for the objective of the solver's own point; the first finite one counts.
    """
    known = (one for one in estimates if one is not None and math.isfinite(one))
    return upper - lower <= abs(next(known, math.inf) - lower)


def knowing_dimension(problem: Problem, lower: ProvedBound, tolerance: float) -> ProvedBound:
    """The bound of the dual point, or the one that knows ``feature_dim``, where there is one and it is needed."""
    other = rank_bound(problem)
    return lower if other is None or relative_gap(lower.value, other.value) <= _ENOUGH * tolerance else other

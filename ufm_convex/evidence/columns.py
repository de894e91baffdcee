"""Evidence on columns of any orbits: the dual point is repaired, W and H are recovered, one start after the other.

At class level orbits are single and what is reported are (V, V) arrays; at group level it is alike on alike classes,
and K is no obstacle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Self

import numpy as np

from ufm_convex import _deadline, duality, enclosure, recovery, relaxation
from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import FactorWitness, ProvedBound
from ufm_convex.evidence.base import Representation, allowed_gap, knowing_dimension, nearer, relative_gap
from ufm_convex.problem import Problem
from ufm_convex.recovery import Recovered
from ufm_convex.relaxation import (
    Alike,
    Columns,
    Dual,
    DualPoint,
    Factors,
    FrameDual,
    FramePoint,
    Gram,
    GramPoint,
    require_dense,
)
from ufm_convex.solvers import SolverRun, thorough

_CLOSED = 1e-7
"""A gap that is so small a share of the tolerance needs no second dual point."""
_SINGLE_BELOW = 400
"""Number of classes up to which a dimension that is too small for alike factors is left to single classes."""


@dataclass(frozen=True, eq=False)
class ColumnsEvidence(Representation):
    """A primal and a dual point on columns, and factors on the same orbits.

    Attributes:
        columns: The columns: single classes, or groups of alike ones.
        point: ``GramPoint`` for single classes, ``Gram`` for groups.
        dual: ``DualPoint`` or ``Dual``, likewise.
        recovered: The factors behind ``upper``.
    """

    columns: Columns
    point: GramPoint | Gram
    dual: DualPoint | Dual
    recovered: Recovered

    @classmethod
    def accepts(cls, problem: Problem, run: SolverRun) -> bool:
        """Every run."""
        return True

    @classmethod
    def gather(cls, problem: Problem, run: SolverRun, tolerance: float) -> ColumnsEvidence:
        """Close the gap between the repaired dual point and the recovered factors, then prove both.

        With fewer dimensions than factors of alike classes need, the best features may break the symmetry, and small
        problems are left to single classes.
        """
        if isinstance(run.point, Gram) or isinstance(run.dual, Dual):
            columns = relaxation.of_groups(problem)
            recovered, dual = _close_gap(columns, problem, run, tolerance)
            small = problem.num_classes <= _SINGLE_BELOW
            if not small or recovery.needed(recovered.factors.H, problem.nonnegative) <= (
                problem.feature_dim or math.inf
            ):
                return cls._proved(problem, run, columns, recovered, dual, tolerance, grouped=True)
        largest = max(problem.num_classes, problem.num_outputs)
        require_dense(largest, "the solution", "level 'group', or a loss that sees margins only")
        columns = relaxation.of_classes(problem)
        recovered, dual = _close_gap(columns, problem, run, tolerance)
        return cls._proved(problem, run, columns, recovered, dual, tolerance, grouped=False)

    @classmethod
    def _proved(
        cls,
        problem: Problem,
        run: SolverRun,
        columns: Columns,
        recovered: Recovered,
        dual: Dual,
        tolerance: float,
        grouped: bool,
    ) -> ColumnsEvidence:
        """Both bounds of the factors, in ``feature_dim`` coordinates, and of the dual point."""
        relaxed = recovered.objective
        if problem.feature_dim is not None:
            recovered = recovery.fit(columns, recovered, problem.feature_dim, _own_factors(columns, run))
        proved = enclosure.lower_bound(problem, dual, proof="group" if grouped else "auto")
        lower = knowing_dimension(problem, proved, tolerance)
        upper = _upper(problem, recovered.factors)
        within = allowed_gap(problem.floor, upper.value, tolerance)
        point = _reported(columns, on_columns(columns, _solver_point(run)), recovered, lower, upper, within)
        if grouped:
            return cls(problem, run, point, dual, lower, upper, columns, recovered, relaxed=relaxed)
        return cls(problem, run, point.full(), dual.full(), lower, upper, columns, recovered, relaxed=relaxed)

    @property
    def estimate(self) -> float | None:
        """F(Z) at the solver's own point, or at the factors where that lies outside the two bounds."""
        own = on_columns(self.columns, _solver_point(self.run))
        if own is None:
            return self.run.value
        value = relaxation.objective(self.columns, own)
        inside = self.lower.value <= value <= self.upper.value
        return value if inside else self.recovered.objective

    @cached_property
    def gram(self) -> Gram:
        """``point`` on the columns."""
        return self.point if isinstance(self.point, Gram) else Gram.mean(self.columns, self.point)

    @cached_property
    def multipliers(self) -> Dual:
        """``dual`` on the columns."""
        return self.dual if isinstance(self.dual, Dual) else Dual.mean(self.columns, self.dual)

    @property
    def _outputs(self) -> Alike:
        return self.columns.outputs_of(self.gram.logits, self.gram.bias)

    def report(self, epsilon: float) -> duality.KKTReport:
        """See ``Evidence.report``."""
        return duality.report(self.columns, self.gram, self.multipliers, self.recovered.factors, epsilon)

    def solver_report(self, epsilon: float) -> duality.KKTReport | None:
        """See ``Evidence.solver_report``."""
        point, dual, columns = self.run.point, self.run.dual, self.columns
        if point is None or dual is None or isinstance(point, FramePoint) or isinstance(dual, FrameDual):
            return None
        own, multipliers = on_columns(columns, _solver_point(self.run)), dual_on(columns, dual)
        if own is None or multipliers is None:
            return None
        return duality.report(columns, own, multipliers, self.recovered.factors, epsilon)

    def slack(self) -> FloatArray:
        """See ``Evidence.slack``."""
        sigma = self.columns.sigma
        return relaxation.scaled_slack(self.columns, self.multipliers).scaled(sigma, sigma).full()

    def square_norms(self) -> tuple[Fraction, Fraction] | None:
        """See ``Representation.square_norms``."""
        if self.upper.exact is None:
            return None
        witness = self.upper.exact_point
        if not isinstance(witness, FactorWitness):  # it needs fewer dimensions than coordinates
            W, H = self.recovered.factors.W, self.recovered.factors.H
            witness = FactorWitness(enclosure.ExactAlike.of(W), enclosure.ExactAlike.of(H))
        return enclosure.square_norms(self.problem, witness)

    def loss_bound(self) -> ProvedBound:
        """See ``Representation.loss_bound``."""
        return _upper(self.problem, self.recovered.factors, penalties=False)

    def rescaled(self, weights: float, features: float) -> Self:
        """See ``Representation.rescaled``."""
        given = self.recovered.factors
        factors = replace(given, W=given.W * weights, H=given.H * features)
        upper = _upper(self.problem, factors)
        point = factors.gram() if isinstance(self.point, Gram) else factors.gram().full()
        return replace(
            self, point=point, upper=upper, recovered=replace(self.recovered, factors=factors, objective=upper.value)
        )

    def dense_point(self) -> GramPoint:
        """See ``Evidence.dense_point``."""
        return self.point.full() if isinstance(self.point, Gram) else self.point

    def margins(self) -> FloatArray:
        """See ``Evidence.margins``."""
        columns, logits = self.columns, self._outputs
        alone, pairing = np.arange(columns.columns.size), columns.outputs.paired(columns.columns)
        place = columns.outputs.members[columns.loss.own_outputs(columns.rows)]
        own, others = logits.even[place, alone].copy(), logits.even.copy()
        own[pairing.column] = logits.matches
        single = columns.columns.places == 1
        others[place[single], alone[single]] = -np.inf
        return columns.columns.spread_out(own - others.max(axis=0))

    def feature_norms(self) -> FloatArray:
        """See ``Evidence.feature_norms``."""
        return _lengths(self.gram.B)

    def weight_norms(self) -> FloatArray:
        """See ``Evidence.weight_norms``."""
        return _lengths(self.gram.A)

    def loss_gains(self) -> FloatArray:
        """See ``Evidence.loss_gains``."""
        columns = self.columns
        nothing = columns.outputs_of(Alike.zeros(columns.outputs, columns.columns), self.gram.bias)
        with np.errstate(invalid="ignore"):  # an indicator may be infinite at both
            return columns.columns.spread_out(columns.values(nothing) - columns.values(self._outputs))

    def group_means(self, columns: Columns) -> tuple[Gram, FloatArray]:
        """See ``Evidence.group_means``."""
        losses = self.columns.values(self._outputs)
        if isinstance(self.point, Gram):
            return replace(self.gram, logits=self._outputs), losses
        whole = replace(self.point, logits=self.point.outputs, bias=None)
        return Gram.mean(columns, whole), columns.columns.mean(self.columns.columns.spread_out(losses))

    def factors(self, feature_dim: int | None) -> tuple[FloatArray, FloatArray]:
        """See ``Evidence.factors``."""
        found, columns, nonnegative = self.recovered, self.columns, self.problem.nonnegative
        width = found.factors.H.cols.total
        if columns.columns.plain and columns.outputs.plain:
            if feature_dim is None or feature_dim == width:
                return recovery.full(found.factors, None, nonnegative)
            recovery.require_dimension(found.rank, feature_dim)
            return recovery.full(recovery.narrowed(columns, found, feature_dim), feature_dim, nonnegative)
        recovery.require_dimension(found.rank, feature_dim)
        W, H = recovery.full(found.factors, feature_dim, nonnegative)
        if columns.loss.indicator is None or found.factors.bias is not None:
            return W, H
        # other roundings than on orbits
        single = relaxation.of_classes(self.problem)
        coordinates, there = relaxation.Orbits.single(W.shape[1]), single.columns.positions
        pair = Alike.matrix(single.outputs, coordinates, W), Alike.matrix(single.columns, coordinates, H[there])
        return recovery.full(recovery.admitted(single, Factors(*pair, None)), None, nonnegative)

    @property
    def factor_residual(self) -> float:
        """See ``Evidence.factor_residual``."""
        return self.recovered.residual

    @property
    def bias(self) -> FloatArray:
        """See ``Evidence.bias``."""
        b = self.recovered.factors.bias
        return super().bias if b is None else self.columns.outputs.spread_out(b)

    @property
    def rank(self) -> int:
        """Dimensions that the features use, up to noise."""
        return self.recovered.rank


def on_columns(columns: Columns, point: GramPoint | Gram | None) -> Gram | None:
    """The point on the orbits of the columns: of full arrays the mean over the symmetry."""
    if point is None or isinstance(point, GramPoint):
        return None if point is None else Gram.mean(columns, point)
    if enclosure.alike_orbits(columns.outputs, point.A.rows) and enclosure.alike_orbits(columns.columns, point.B.rows):
        return Gram(
            _moved(columns, point.A, 0, 0),
            _moved(columns, point.logits, 0, 1),
            _moved(columns, point.B, 1, 1),
            point.bias,
        )
    return Gram.mean(columns, point.full())


def dual_on(columns: Columns, dual: DualPoint | Dual | None) -> Dual | None:
    """The dual point on the orbits of the columns, likewise."""
    if dual is None or isinstance(dual, DualPoint):
        return None if dual is None else Dual.mean(columns, dual)
    V = dual.V
    if enclosure.alike_orbits(columns.outputs, V.rows) and enclosure.alike_orbits(columns.columns, V.cols):
        blocks = (
            None if M is None else _moved(columns, M, k, k) for M, k in ((dual.T, 1), (dual.S_A, 0), (dual.S_B, 1))
        )
        return Dual(_moved(columns, V, 0, 1), *blocks)
    return Dual.mean(columns, dual.full())


def _moved(columns: Columns, matrix: Alike, rows: int, cols: int) -> Alike:
    """The same entries on these columns' own sorts, which are cut alike."""
    sorts = columns.outputs, columns.columns
    return Alike(sorts[rows], sorts[cols], matrix.even, matrix.extra, matrix.spread)


def _own_factors(columns: Columns, run: SolverRun) -> Factors | None:
    """What the solver worked on, on these columns' own sorts; None where it is alike on other orbits."""
    if run.factors is None:
        return None
    W, H = run.factors.W, run.factors.H
    if not (enclosure.alike_orbits(columns.outputs, W.rows) and enclosure.alike_orbits(columns.columns, H.rows)):
        return None
    return Factors(
        Alike(columns.outputs, W.cols, W.even, W.extra),
        Alike(columns.columns, H.cols, H.even, H.extra),
        run.factors.bias,
    )


def _solver_point(run: SolverRun) -> GramPoint | Gram | None:
    if isinstance(run.point, Factors):
        return run.point.gram()
    return run.point.dense() if isinstance(run.point, FramePoint) else run.point


def _solver_dual(problem: Problem, run: SolverRun) -> DualPoint | Dual | None:
    return run.dual.dense(problem) if isinstance(run.dual, FrameDual) else run.dual


def _reported(
    columns: Columns, own: Gram | None, found: Recovered, lower: ProvedBound, upper: ProvedBound, tolerance: float
) -> Gram:
    """The point of the factors where they close the gap, or where the solver's own is no nearer to the lower bound.

    Where the relaxation is not exact the solver's own point is near that bound, and that of no factors is.
    """
    closed = relative_gap(lower.value, upper.value) <= tolerance
    if own is None or closed or nearer(lower.value, upper.value, relaxation.objective(columns, own)):
        return found.factors.gram()
    return own


def _upper(problem: Problem, factors: Factors, *, penalties: bool = True) -> ProvedBound:
    """The bound of the factors; of single orbits as arrays, whose empty coordinates are left out."""
    plain = factors.W.rows.plain and factors.H.rows.plain and factors.H.cols.plain
    witness = (factors.W.full(), factors.H.full(), factors.bias) if plain else factors
    return enclosure.upper_bound(problem, witness, penalties=penalties)


def _lengths(gram: Alike) -> FloatArray:
    return gram.rows.spread_out(np.sqrt(np.maximum(gram.own(), 0.0)))


def _close_gap(columns: Columns, problem: Problem, run: SolverRun, tolerance: float) -> tuple[Recovered, Dual]:
    """The best factors and the best repaired dual point, trying one recovery after the other until they meet.

    W = H = 0 where nothing was recovered.
    """
    own, factors = on_columns(columns, _solver_point(run)), _own_factors(columns, run)
    dual = dual_on(columns, _solver_dual(problem, run))
    carried = thorough(run)
    solver_duals = list(_solver_duals(columns, own, dual))
    best_dual, lower = duality.repair(columns, solver_duals, own)
    first, best = best_dual, None
    if own is not None and _nothing_follows(problem, run):
        return recovery.summary(columns, next(recovery.undescended(columns, own)), own), best_dual
    for found in () if own is None else recovery.recoveries(columns, own, factors, carried):
        within = allowed_gap(problem.floor, found.objective, tolerance)
        if best is None and relative_gap(lower, found.objective) <= _CLOSED * within:
            return found, best_dual
        if _deadline.passed():  # what is at hand is to be proved, not improved
            return (found if best is None or found.objective < best.objective else best), best_dual
        outputs = columns.outputs_of(found.factors.logits, found.factors.bias)
        candidate = Dual(columns.nearest(first.V, outputs), first.T)
        if not _repaired_before(columns, candidate, solver_duals):
            repaired, value = duality.repair(columns, [candidate], found.factors)
            if value > lower:
                best_dual, lower = repaired, value
        if best is None or found.objective < best.objective:
            best = found
        # half the tolerance: proving costs a little of either bound
        if relative_gap(lower, best.objective) <= 0.5 * allowed_gap(problem.floor, best.objective, tolerance):
            break
    return best or _nothing(columns), best_dual


def _nothing_follows(problem: Problem, run: SolverRun) -> bool:
    """Whether a frame was refused that is too large for what would solve the problem: bounds are all there is.

    A descent in one coordinate a column would take hours to be carried through: W and H are then the frame itself.
    """
    size = problem.num_outputs + problem.num_columns
    return run.continued_by is not None and problem.tabled and size > relaxation.level("class").gram_limit


def _solver_duals(columns: Columns, point: Gram | None, dual: Dual | None) -> Iterator[Dual]:
    """The solver's own multipliers, and the residuals at its own logits with its T."""
    if dual is not None:
        yield dual
    if point is not None:
        outputs = columns.outputs_of(point.logits, point.bias)
        yield Dual(columns.residuals(outputs), None if dual is None else dual.T)


def _repaired_before(columns: Columns, candidate: Dual, duals: list[Dual]) -> bool:
    """Whether a point is the solver's own to the bit, as residuals of a descent are, and no factors change its repair.

    They do where there is a multiplier T to be found, or a bias to be closed.
    """
    if columns.nonnegative or columns.bias.size:
        return False
    return any(candidate.V.equals(one.V) for one in duals)


def _nothing(columns: Columns) -> Recovered:
    """W = H = 0, which is always admissible."""
    d = relaxation.Orbits.of(columns.outputs.symmetry, columns.columns.kinds[:1])
    zero = Factors(Alike.zeros(columns.outputs, d), Alike.zeros(columns.columns, d))
    return Recovered(zero, relaxation.objective(columns, zero), 0.0, 0)

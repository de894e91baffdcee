"""A tighter lower bound for fewer dimensions than classes, by a pigeonhole argument; floating point, small K only.

The Gram relaxation cannot see d. But with H ≥ 0 and K > d, give each class the coordinate in which its feature is
largest: two classes share one, and two non-negative vectors of d coordinates with a common largest one satisfy

    h_k·h_l ≥ c_d ‖h_k‖ ‖h_l‖,      c_d = 1 / √(⌊(d+1)/2⌋ ⌈(d+1)/2⌉)

(1/√2, 1/2, 1/√6, 1/3 for d = 2 … 5). So the minimum is at least the smallest, over all partitions of the classes into
d blocks, of the relaxation with B_kl ≥ c_d √(B_kk B_ll) inside each block. The right side is concave; on a box it is
replaced by its convex envelope, and the box comes from minimising and maximising B_kk where the objective does not
exceed a known upper bound (docs/free_features.md, section 6).

Nothing here is proved in exact arithmetic: the result is labelled by its type, and no ``Solution`` uses it.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex import evidence, solvers
from ufm_convex._arrays import FloatArray
from ufm_convex.errors import HypothesisError, SizeError, SolverError
from ufm_convex.problem import Problem, require_problem
from ufm_convex.relaxation import of_classes, programme

if TYPE_CHECKING:
    import cvxpy as cp

_LARGEST = 6
_SLACK, _TOLERANCE = 1e-5, 1e-6
"""The upper bound, and each side of a box, is moved outwards by this share: far more than the conic solver's error, and
enough to keep an interior, without which it breaks down."""
_SOLVED = ("optimal", "optimal_inaccurate")
_EMPTY = ("infeasible", "infeasible_inaccurate")

Partition = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class PigeonholeBound:
    """A lower bound of the minimum at the problem's ``feature_dim``, as computed.

    Attributes:
        value: The bound; floating point, to the accuracy of the conic solver.
        relaxation: What the relaxation alone gives.
        upper: The upper bound that the boxes were cut with.
        partition: The partition of the classes with samples that attains the bound.
        partitions: Number of partitions that were examined.
    """

    value: float
    relaxation: float
    upper: float
    partition: Partition
    partitions: int

    @property
    def closed(self) -> float:
        """Share of the gap between the relaxation and the upper bound that is closed."""
        gap = self.upper - self.relaxation
        return (self.value - self.relaxation) / gap if gap > 0.0 else 1.0


def pigeonhole_bound(problem: Problem, *, upper: float | None = None, rounds: int = 3) -> PigeonholeBound:
    """The bound of the pigeonhole inequality.

    Args:
        problem: Non-negative features, 2 ≤ d < m ≤ 6 or d = 1, for m classes with samples.
        upper: The objective of a known (W, H) with d columns; by default the best that descents find.
        rounds: How often the boxes are tightened.

    Raises:
        HypothesisError: features are free, or ``feature_dim`` is not below m.
        SizeError: m > 6; there are too many partitions.
        SolverError: the relaxation itself was not solved.
    """
    dimension = _check(problem)
    best = _descended(problem) if upper is None else upper
    model = _Model(problem, best, 1.0 / math.sqrt((dimension + 1) // 2 * -(-(dimension + 1) // 2)))
    base = model.minimum([])
    if not math.isfinite(base):
        raise SolverError(
            "the relaxation was not solved.",
            expected="a status that cvxpy calls optimal",
            fix="check that the upper bound is the objective of an admissible point.",
        )
    bounds = {partition: model.bound(partition, rounds) for partition in partitions(problem.num_columns, dimension)}
    worst = min(bounds, key=lambda partition: bounds[partition])
    classes = np.flatnonzero(problem.class_counts).tolist()
    named = tuple(tuple(classes[column] for column in block) for block in worst)
    # no partition has a point below the upper bound if all are empty: then nothing lies below it
    value = min(max(bounds[worst], base), best)
    return PigeonholeBound(value, base, best, named, len(bounds))


def _descended(problem: Problem) -> float:
    """The lowest proved upper bound of the descents on W and H."""
    runs = solvers.solver("factored").runs(problem, "class", _TOLERANCE, {})
    return min(evidence.gather(problem, run, _TOLERANCE).upper.value for run in runs)


def _check(problem: Problem) -> int:
    require_problem(problem)
    problem.require_plain("the pigeonhole bound")
    m, d = problem.num_columns, problem.feature_dim  # a class without samples has no feature to share a coordinate
    if not problem.nonnegative or d is None or d >= m:
        raise HypothesisError(
            f'features is "{problem.features}" and feature_dim is {d} for {m} classes with samples.',
            expected="non-negative features and feature_dim below the number of classes with samples",
            fix="with d at least that number the relaxation's own bound is the better one.",
        )
    if m > _LARGEST:
        raise SizeError(
            f"{m} classes have too many partitions into {d} blocks.",
            expected=f"at most {_LARGEST} classes",
            fix="use Solution.lower_bound, which holds for every dimension.",
        )
    return d


def partitions(num_columns: int, blocks: int) -> Iterator[Partition]:
    """Partitions into exactly ``blocks`` blocks: fewer blocks mean more constraints, and so no smaller bound."""
    for owners in itertools.product(range(blocks), repeat=num_columns):
        firsts = [owners.index(block) if block in owners else num_columns for block in range(blocks)]
        if firsts == sorted(set(firsts)) and firsts[-1] < num_columns:
            yield tuple(tuple(k for k in range(num_columns) if owners[k] == block) for block in range(blocks))


class _Model:
    """The relaxation with pigeonhole constraints, in the scaled variables of ``relaxation``, which keep cosines."""

    def __init__(self, problem: Problem, upper: float, cosine: float) -> None:
        built = programme(of_classes(problem))
        self.objective = built.problem.objective.expr
        self.constraints = list(built.problem.constraints)
        self.scale, self.upper, self.cosine = built.objective_scale, upper, cosine
        V = problem.num_outputs
        self.B = built.Z[V:, V:]

    def minimum(self, constraints: list[Any]) -> float:
        """The least objective; −inf if the solver fails."""
        return self.scale * self._solve(self.objective, constraints)

    def bound(self, partition: Partition, rounds: int) -> float:
        """The bound of one partition: +inf where no point below the upper bound belongs to it."""
        pairs = [pair for block in partition for pair in itertools.combinations(block, 2)]
        members = sorted({k for pair in pairs for k in pair})
        low, high = dict.fromkeys(members, 0.0), dict.fromkeys(members, math.inf)
        below = [self.objective <= self.upper / self.scale * (1.0 + _SLACK)]
        found = -math.inf
        for _ in range(rounds):
            constraints = below + self._envelopes(pairs, low, high)
            for k in members:
                # a failure leaves the box as it is; an empty box ends the partition
                smallest = self._solve(self.B[k, k], constraints)
                largest = -self._solve(-self.B[k, k], constraints)
                if smallest == math.inf or largest == -math.inf:
                    return math.inf
                margin = _SLACK * (largest if math.isfinite(largest) else 0.0)
                low[k], high[k] = max(low[k], smallest - margin), min(high[k], largest + margin)
            found = max(found, self.minimum(self._envelopes(pairs, low, high)))
            if found >= self.upper:
                break
        return found

    def _envelopes(self, pairs: list[tuple[int, int]], low: dict[int, float], high: dict[int, float]) -> list[Any]:
        constraints = []
        for k, l in pairs:  # noqa: E741
            if math.isfinite(high[k]) and math.isfinite(high[l]):
                for a, b, c in envelope(low[k], high[k], low[l], high[l]):
                    mean = a * self.B[k, k] + b * self.B[l, l] + c
                    constraints.append(self.B[k, l] >= self.cosine * mean)
        return constraints

    def _solve(self, objective: cp.Expression, constraints: list[Any]) -> float:
        import cvxpy as cp

        programme = cp.Problem(cp.Minimize(objective), self.constraints + constraints)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                programme.solve(solver="CLARABEL")
            except cp.SolverError:
                return -math.inf
        if programme.status in _SOLVED:
            return float(programme.value)
        return math.inf if programme.status in _EMPTY else -math.inf


def envelope(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float, float]]:
    """The convex envelope of √(xy) on a box as the largest of affine functions a x + b y + c.

    √(xy) is concave, so its envelope on a box is spanned by the corners: of the four planes through three corners,
    those that do not exceed the fourth.
    """
    corners = np.array([(x0, y0), (x0, y1), (x1, y0), (x1, y1)])
    heights = np.sqrt(corners[:, 0] * corners[:, 1])
    planes = []
    for chosen in itertools.combinations(range(4), 3):
        matrix = np.column_stack([corners[list(chosen)], np.ones(3)])
        if abs(np.linalg.det(matrix)) <= 1e-14 * max(x1, y1) ** 2:
            continue
        a, b, c = np.linalg.solve(matrix, heights[list(chosen)])
        slack: FloatArray = heights - (corners @ np.array([a, b]) + c)
        if slack.min() >= -1e-12 * max(heights.max(), 1e-300):
            planes.append((float(a), float(b), float(c)))
    return planes

"""Proved bounds in ball arithmetic: a lower one from a dual point, an upper one from actual features.

Lower (docs/contrastive_duality.md, equation 5): any s with 0 ≤ s ≤ 1 and, under a penalty, s ≤ a = λ_H T/2, proves

    f ≥ Σ_k n_k [ −s log s − (1 − s) log(1 − s) + (1 − s) log(n_k − 1) + s log(N − n_k) − s τ/T ]      (n_k ≥ 2)

for every H ≥ 0 of any dimension. Upper: the objective of h_i = η_k e_k. Both are evaluated at the exact binary64
numbers s and η and rounded outwards; what a solver returned has no say but in these numbers. The domain is tested
exactly: a point outside it proves nothing, and gets the bound that needs no proof (0, or +∞).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import fraction, order, rounded_down
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.contrastive.points import ContrastiveDual, ContrastivePoint, losses
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.contrastive.targets import LOSS, Anchored, exact_column
from ufm_convex.enclosure import ProvedBound
from ufm_convex.enclosure.exact import PRECISION, float_above, float_below, lower_end, rational, upper_end

_VANISHED = 2_000
"""e^{−2000} is below binary64: in an upper bound it stands for all that is smaller, whose exponents have no limit."""

NOTHING = ProvedBound(0.0, "trivial", Fraction(0))
"""No term of the loss and no penalty is negative."""


def repair(problem: ContrastiveProblem, dual: ContrastiveDual) -> ContrastiveDual:
    """The dual point moved into the domain: NaN becomes 0, and s is cut off at 1 and, under a penalty, at a.

    Under a penalty the dual value has a slope at the edge s = a, where complementarity puts the classes with h ≠ 0, so
    an s that is off by δ costs a multiple of δ. For each class s is exchanged for the edge where that is better.
    """
    groups, paired = dual.groups, dual.groups.counts > 1
    edge = 1.0 if problem.bound is not None else min(1.0, rounded_down(problem.exact_penalty))
    outside = np.clip(np.nan_to_num(dual.outside, nan=0.0), 0.0, edge)
    if problem.bound is None:
        edges = np.full(groups.size, edge)
        outside = np.where(gains(problem, groups, edges) > gains(problem, groups, outside), edges, outside)
    return ContrastiveDual(groups, np.where(paired, outside, 0.0))


def gains(problem: ContrastiveProblem, groups: AlikeClasses, outside: FloatArray) -> FloatArray:
    """One anchor's share of the dual value, in floating point, (G,); 0 for classes of one sample."""
    rows = Anchored.of(problem, groups, by_group=False)
    conjugates = rows.by_group(LOSS.conjugate(rows.residuals(outside), rows.layout))
    return -conjugates - (0.0 if problem.bound is None else problem.scaled_bound * outside * (groups.counts > 1))


def repaired_lengths(problem: ContrastiveProblem, point: ContrastivePoint) -> FloatArray:
    """η_g of the orthogonal frame made of a point.

    Features move to their class mean and class means become orthogonal; neither step raises the objective of a feasible
    point (docs/contrastive.md, section 4). Under a bound all are then stretched by one factor until the longest reaches
    it, which lowers every loss, and cut off so that η² ≤ τ holds exactly. Under a penalty a class whose features cost
    more than they gain gets η = 0, and so does a class of one sample in any case.
    """
    groups, paired = point.groups, point.groups.counts > 1
    squares = np.clip(np.where(paired, np.nan_to_num(point.means, nan=0.0), 0.0), 0.0, None)
    lengths = np.sqrt(squares)
    if problem.bound is None:
        frame, zero = ContrastivePoint(groups, squares, squares), np.zeros(groups.size)
        nothing = losses(problem, ContrastivePoint(groups, zero, zero))
        spent = losses(problem, frame) + problem.scaled_penalty * (squares / problem.temperature)
        return np.where(spent < nothing, lengths, 0.0)
    largest, root = float(lengths.max()), _largest_root(problem.bound)
    return np.minimum(lengths * (root / largest), root) if largest > 0.0 else lengths


def lower_bound(problem: ContrastiveProblem, dual: ContrastiveDual, *, precision: int = PRECISION) -> ProvedBound:
    """A proved lower bound of the optimum; 0 where the dual point is outside its domain.

    Args:
        problem: The problem.
        dual: The dual point, taken as it is; ``repair`` moves one into the domain.
        precision: Bits of the ball arithmetic.
    """
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    if not _admissible(problem, dual):
        return NOTHING
    with working_precision(precision):
        total = arb(0)
        N, groups = problem.num_samples, dual.groups
        tau = arb(0) if problem.bound is None else rational(problem.bound) / arb(rational(problem.temperature))
        for n, size, s in _rows(groups, dual.outside):
            share = rational(s)
            residuals = [-share / (n - 1), share / (N - n)]
            total -= size * n * (LOSS.enclose_conjugate(residuals, exact_column(problem, n)) + arb(share) * tau)
        value = float_below(total)
        if not value > 0.0:
            return NOTHING
        return ProvedBound(value, "outside mass", lower_end(total))


def _admissible(problem: ContrastiveProblem, dual: ContrastiveDual) -> bool:
    """Whether s is one number a group of the problem's classes, in the domain, exactly."""
    if not _describes(dual.groups, problem) or dual.outside.shape != dual.groups.counts.shape:
        return False
    s = dual.outside[dual.groups.counts > 1]
    if s.shape == (0,):
        return True
    if not (order(s).min() >= 0 and s.max() <= 1.0):  # NaN fails both
        return False
    return problem.bound is not None or fraction(float(s.max())) <= problem.exact_penalty


def upper_bound(
    problem: ContrastiveProblem, groups: AlikeClasses, lengths: FloatArray, *, precision: int = PRECISION
) -> ProvedBound:
    """The objective of h_i = η_k e_k, rounded up; +∞ where the features are not admissible.

    Args:
        problem: The problem.
        groups: Which classes are treated alike.
        lengths: η of the classes of each group, (G,).
        precision: Bits of the ball arithmetic.
    """
    from flint import arb, fmpq

    from ufm_convex.verifier.precision import working_precision

    if not _describes(groups, problem) or lengths.shape != groups.counts.shape:
        return ProvedBound(math.inf, "none")
    bound = None if problem.bound is None else fraction(problem.bound)
    largest = float(np.max(lengths))
    if not (order(lengths).min() >= 0 and largest < math.inf) or (bound is not None and fraction(largest) ** 2 > bound):
        return ProvedBound(math.inf, "none")
    with working_precision(precision):
        total = arb(0)
        half = rational(problem.lambda_h or 0.0) / 2
        T = rational(problem.temperature)
        for n, size, eta in zip(groups.counts.tolist(), groups.multiplicities.tolist(), lengths.tolist(), strict=True):
            square = rational(eta) ** 2
            term = arb(half * square)
            if n > 1:
                rate = min(square / T, fmpq(_VANISHED))
                term += LOSS.enclose_value([arb(0), -arb(rate)], exact_column(problem, n))
            total += size * n * term
        value = float_above(total)
        return ProvedBound(value, "frame", upper_end(total) if math.isfinite(value) else None)


def _describes(groups: AlikeClasses, problem: ContrastiveProblem) -> bool:
    """Whether the groups are a partition of the problem's classes into classes of equal counts."""
    members = groups.members
    if members.shape != problem.class_counts.shape or not 0 <= members.min() <= members.max() < groups.size:
        return False
    numbers = np.bincount(members, minlength=groups.size)
    alike = np.array_equal(groups.counts[members], problem.class_counts)
    return alike and np.array_equal(numbers, groups.multiplicities)


def _rows(groups: AlikeClasses, numbers: FloatArray) -> list[tuple[int, int, float]]:
    """(n, K_g, number) of the groups that have anchors."""
    rows = zip(groups.counts.tolist(), groups.multiplicities.tolist(), numbers.tolist(), strict=True)
    return [row for row in rows if row[0] > 1]


def _largest_root(bound: float) -> float:
    """The largest binary64 number whose square is at most ``bound``, but for one or two places below it."""
    root = math.sqrt(bound)
    while Fraction(root) ** 2 > fraction(bound):
        root = math.nextafter(root, 0.0)
    return root

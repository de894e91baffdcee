"""Proved lower bounds, from dual points.

Weak duality (docs/duality.md, equation 5) makes −Σ pt_k l_k*(v_k) a lower bound for every feature dimension once the
slack proof holds. It is evaluated in ball arithmetic at an exact point and rounded outwards, so the returned binary64
number is proved, not estimated. The exact point is returned with the bound: a certificate is nothing but these, written
down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import slack
from ufm_convex.enclosure.exact import (
    PRECISION,
    ExactVector,
    power,
    rational,
)
from ufm_convex.enclosure.groups import Groups
from ufm_convex.enclosure.proved import (
    DiagonalProof,
    ProvedBound,
    below,
    bias_part,
)
from ufm_convex.enclosure.slack import BlockProof
from ufm_convex.identity import margin_loss
from ufm_convex.points import DualPoint, FrameDual
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb, fmpq

Proof = Literal["auto", "diagonal", "group", "dense"]


def lower_bound(
    problem: Problem,
    dual: DualPoint | FrameDual | DiagonalProof,
    *,
    proof: Proof = "auto",
    precision: int = PRECISION,
) -> ProvedBound:
    """A proved lower bound of the optimum of the problem and of its relaxation, at every feature dimension.

    Args:
        problem: The problem.
        dual: A dual point, feasible up to rounding; it is averaged over permutations that leave the problem alone,
            which does not lower its value, and shrunk until its feasibility is proved.
        proof: The slack proof; "auto" takes the smallest: diagonal where features are non-negative and the loss sees
            a margin alone, else by groups of alike classes (called dense when no two classes are alike).
        precision: Bits of the ball arithmetic.

    Returns:
        The bound; when nothing about ``dual`` can be proved, the bound of V = 0, which is always feasible.
    """
    from flint import ctx

    problem.require_decays("this bound")
    # entries that binary64 cannot scale become infinite, and so no integers
    with ctx.workprec(precision), np.errstate(over="ignore", invalid="ignore"):
        for attempt in _lower_attempts(problem, dual, proof):
            try:
                found = attempt()
            except (ValueError, OverflowError):  # exact tests refused a domain or a free bias's balance; or as above
                continue
            if found is not None:
                return found
        return _trivial_bound(problem)


def trivial_bound(problem: Problem, *, precision: int = PRECISION) -> ProvedBound:
    """The bound of V = 0, which no decay and no constraint enters: the least value of the loss alone."""
    from flint import ctx

    with ctx.workprec(precision):
        return _trivial_bound(problem)


def _lower_attempts(
    problem: Problem, dual: DualPoint | FrameDual | DiagonalProof, proof: Proof
) -> Iterator[Callable[[], ProvedBound | None]]:
    """What can be tried with the dual point, the smallest proof first."""
    if isinstance(dual, DiagonalProof):
        yield partial(_diagonal_bound, problem, dual)
        return
    if isinstance(dual, FrameDual):
        strengths = Groups.distinct(problem).mean(dual.strengths)
        if problem.nonnegative and proof in ("auto", "diagonal") and np.isfinite(strengths).all():
            # the end of a hinge's domain, K/(K−1), is a rounded number: once more from just inside
            for share in (1.0, 1.0 - 2.0**-50):
                yield partial(_diagonal_bound, problem, _admissible(problem, share * strengths))
            return
        dual = dual.dense(problem)
    if not (np.isfinite(dual.residuals).all() and np.isfinite(dual.nonnegativity).all()):
        return
    margins_alone = problem.loss.margins_only and problem.bias is None
    if proof in ("auto", "diagonal") and problem.nonnegative and margins_alone:
        yield partial(_diagonal_bound, problem, _admissible(problem, _frame_strengths(problem, dual)))
    if proof != "diagonal":
        yield partial(_block_bound, problem, dual, proof)


def _frame_strengths(problem: Problem, dual: DualPoint) -> FloatArray:
    """Strengths q: −q (e_k − 1/K) is the mean of v_k over permutations of the other classes and over alike classes.

    Neither mean lengthens u_k nor lowers −l*, since l* is convex and a margin loss invariant under both.
    """
    others = dual.residuals.sum(axis=0) - np.diag(dual.residuals)
    return Groups.distinct(problem).mean(others * (problem.num_classes / (problem.num_classes - 1.0)))


def _admissible(problem: Problem, strengths: FloatArray) -> DiagonalProof:
    """Each q lowered until ω² n q² (K−1) ≤ N² λ_W λ_H K holds exactly."""
    K, groups = problem.num_classes, Groups.distinct(problem)
    shares = groups.weights * groups.counts / problem.num_samples
    radii = math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h) * np.sqrt(groups.counts * (K / (K - 1))) / shares
    lowered = np.clip(strengths, 0.0, radii)  # right to a few units in the last place, which the loop takes off
    weights, counts = ExactVector.of_floats(groups.weights), groups.counts.tolist()
    bound = Fraction(problem.lambda_w) * Fraction(problem.lambda_h) * Fraction(problem.num_samples**2 * K, K - 1)
    doubtful = list(range(groups.size))
    while doubtful:
        exact = ExactVector.of_floats(lowered[doubtful])
        limit = math.floor(bound / Fraction(4) ** (exact.exponent + weights.exponent))
        pairs = zip(doubtful, exact.integers, strict=True)
        doubtful = [g for g, q in pairs if (weights.integers[g] * q) ** 2 * counts[g] > limit]
        lowered[doubtful] = np.nextafter(lowered[doubtful], 0.0)
    return DiagonalProof(ExactVector.of_floats(lowered))


def _diagonal_bound(problem: Problem, proof: DiagonalProof) -> ProvedBound:
    """The dual value at admissible strengths."""
    from flint import arb

    K, groups = problem.num_classes, Groups.distinct(problem)
    loads, strengths = groups.loads(), proof.strengths
    conjugates = margin_loss(problem).enclose_margin_conjugates(strengths.integers, strengths.exponent, K)
    total = arb(0)
    multiplicities = groups.multiplicities.tolist()
    for load, multiplicity, conjugate in zip(loads.integers, multiplicities, conjugates, strict=True):
        total -= load * multiplicity * conjugate
    total *= arb(power(loads.exponent) / problem.num_samples)
    if problem.bias is not None:
        total -= bias_part(problem).enclose_support(_frame_sums(problem, groups, strengths), multiplicities)
    return below(total, "diagonal", proof)


def _frame_sums(problem: Problem, groups: Groups, strengths: ExactVector) -> list[fmpq]:
    """U1 at v_k = −q_k (e_k − 1/K), exactly: entry k is the mean of the pt_l q_l minus pt_k q_k; one a group."""
    loads = groups.loads()
    pulls = [load * q for load, q in zip(loads.integers, strengths.integers, strict=True)]
    total = sum(pull * multiplicity for pull, multiplicity in zip(pulls, groups.multiplicities.tolist(), strict=True))
    unit = power(loads.exponent + strengths.exponent) / problem.num_samples
    return [(rational(total) / problem.num_classes - pull) * unit for pull in pulls]


def _block_bound(problem: Problem, dual: DualPoint, proof: Proof) -> ProvedBound | None:
    """The dual value at the point that a group or dense slack proof was found for."""
    from flint import arb

    # integers that close the sums of a free bias exist one class a group
    apart = proof == "dense" or bias_part(problem).needs_balance
    groups = Groups.singletons(problem) if apart else Groups.distinct(problem)
    kind = "dense" if groups.size == problem.num_classes else "group"
    if kind == "dense":
        groups = Groups.singletons(problem)
    exact = slack.prove(problem, groups, dual, kind)
    if exact is None:
        return None
    total = arb(0)
    columns = exact.columns_of_classes(groups)
    for share, multiplicity, (column, place) in zip(
        groups.shares(problem), groups.multiplicities.tolist(), columns, strict=True
    ):
        total -= arb(share) * multiplicity * _enclosed_conjugate(problem, column, place)
    if problem.bias is not None:
        sums = [s / problem.num_samples for s in exact.sums(groups)]
        total -= bias_part(problem).enclose_support(sums, groups.multiplicities.tolist())
    return below(total, kind, exact)


def _enclosed_conjugate(problem: Problem, column: Sequence[fmpq], place: int) -> arb:
    return problem.loss.enclose_conjugate(column, problem.loss.exact_column(problem.num_classes, place))


def _trivial_bound(problem: Problem) -> ProvedBound:
    """The dual value of V = 0."""
    from flint import arb, fmpq

    groups = Groups.distinct(problem)
    if problem.loss.margins_only:
        return replace(_diagonal_bound(problem, DiagonalProof(ExactVector([0] * groups.size, 0))), proof="trivial")
    K, place, total = problem.num_classes, 0, arb(0)
    for share, multiplicity in zip(groups.shares(problem), groups.multiplicities.tolist(), strict=True):
        total -= arb(share) * multiplicity * _enclosed_conjugate(problem, [fmpq(0)] * K, place)
        place += multiplicity
    return below(total, "trivial", BlockProof.zero(problem, groups))

"""Proved bounds: a lower bound from a dual point, an upper bound from an actual W and H.

Weak duality (docs/duality.md, equation 5) makes −Σ pt_k l_k*(v_k) a lower bound for every feature dimension once the
slack proof holds; the objective of any admissible (W, H) is an upper bound. Both are evaluated in ball arithmetic at
exact points and rounded outwards, so the returned binary64 numbers are proved, not estimated. The exact points are
returned with the bounds: a certificate is nothing but these, written down.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.bias import Bias, bias_of
from ufm_convex.enclosure import slack
from ufm_convex.enclosure.exact import (
    PRECISION,
    ExactInvariant,
    ExactMatrix,
    ExactVector,
    float_above,
    float_below,
    lower_end,
    power,
    rational,
    upper_end,
)
from ufm_convex.enclosure.groups import Groups
from ufm_convex.enclosure.slack import BlockProof
from ufm_convex.groups import Invariant
from ufm_convex.identity import margin_loss
from ufm_convex.losses.base import Indicator, MarginLoss
from ufm_convex.points import DualPoint, FrameDual, FramePoint
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb, fmpq, fmpz

Proof = Literal["auto", "diagonal", "group", "dense"]

_WITNESS_BITS = 52


@dataclass(frozen=True, eq=False)
class DiagonalProof:
    """v_k = −q_k (e_k − 1/K), whose slack is diagonal.

    Attributes:
        strengths: q of the classes of each distinct group.
    """

    strengths: ExactVector


@dataclass(frozen=True, eq=False)
class FrameWitness:
    """h_k = η_k e_k and W = (I − 11ᵀ/K) Diag(ω); one entry for each kind of class that is treated alike.

    Attributes:
        groups: Distinct group of each entry.
        multiplicities: Number of classes of each entry.
        eta: η ≥ 0.
        omega: ω ≥ 0.
    """

    groups: list[int]
    multiplicities: list[int]
    eta: ExactVector
    omega: ExactVector


@dataclass(frozen=True, eq=False)
class DenseWitness:
    """W and class-mean features H, exactly.

    Attributes:
        W: (K, d).
        H: (K, d).
        bias: b, (K,); None without one.
    """

    W: ExactMatrix
    H: ExactMatrix
    bias: ExactVector | None = None


@dataclass(frozen=True, eq=False)
class GroupWitness:
    """W and class-mean features H with one coordinate a class, alike on alike classes, exactly.

    Attributes:
        W: (K, K).
        H: (K, K).
    """

    W: ExactInvariant
    H: ExactInvariant

    @classmethod
    def of(cls, W: Invariant, H: Invariant) -> GroupWitness:
        """The two matrices; coordinates that no feature uses are left out of W, which lowers the objective."""
        present = W.groups.present > 0.0
        cross = [np.where(present, matrix.cross, 0.0) for matrix in (W, H)]
        used = (H.own != 0.0) | np.any(cross[1] != 0.0, axis=0)
        w = ExactInvariant.of_floats(np.where(used, W.own, 0.0), np.where(used, cross[0], 0.0))
        return cls(w, ExactInvariant.of_floats(H.own, cross[1]))


Evidence: TypeAlias = DiagonalProof | BlockProof | FrameWitness | GroupWitness | DenseWitness


@dataclass(frozen=True)
class ProvedBound:
    """A bound on the optimal value that is proved.

    Attributes:
        value: The bound, rounded to the safe side; infinite when nothing is proved.
        proof: How: the slack proof ("diagonal", "group", "dense", "copositive", "trivial"), the theorem ("singular
            values") or the witness ("frame", "dense").
        exact: The bound before rounding to binary64, a dyadic number; None when nothing is proved.
        evidence: The exact point behind it; None when nothing is proved.
    """

    value: float
    proof: str
    exact: Fraction | None = None
    evidence: Evidence | None = None


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


def upper_bound(
    problem: Problem,
    witness: FramePoint
    | FrameWitness
    | tuple[FloatArray, FloatArray]
    | tuple[FloatArray, FloatArray, FloatArray | None],
    *,
    penalties: bool = True,
    precision: int = PRECISION,
) -> ProvedBound:
    """A proved upper bound of the optimum: the objective at the witness, enclosed.

    Args:
        problem: The problem.
        witness: An orthogonal frame, or W (K, d) and class-mean features H (K, d), and a bias b (K,) or None for 0.
        penalties: False for the loss alone.
        precision: Bits of the ball arithmetic.

    Returns:
        The bound; +inf when the witness is not admissible (an entry that is NaN, infinite or, for non-negative
        features, negative; more than ``feature_dim`` coordinates; a bias that the problem does not have).
    """
    from flint import ctx

    if penalties:
        problem.require_decays("this bound")
    with ctx.workprec(precision):
        if isinstance(witness, FramePoint):
            exact = _exact_frame(problem, witness)
            return ProvedBound(math.inf, "frame") if exact is None else _frame_upper(problem, exact, penalties)
        if isinstance(witness, FrameWitness):
            return _frame_upper(problem, witness, penalties)
        return _dense_upper(problem, *witness, penalties=penalties)


def trivial_bound(problem: Problem, *, precision: int = PRECISION) -> ProvedBound:
    """The bound of V = 0, which no decay and no constraint enters: the least value of the loss alone."""
    from flint import ctx

    with ctx.workprec(precision):
        return _trivial_bound(problem)


# -- lower bounds -------------------------------------------------------------------------------------------------


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
    margins_alone = isinstance(problem.loss, MarginLoss) and problem.bias is None
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
        total -= _bias(problem).enclose_support(_frame_sums(problem, groups, strengths), multiplicities)
    return _below(total, "diagonal", proof)


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
    apart = proof == "dense" or _bias(problem).needs_balance
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
        total -= arb(share) * multiplicity * problem.loss.enclose_conjugate(column, place)
    if problem.bias is not None:
        sums = [s / problem.num_samples for s in exact.sums(groups)]
        total -= _bias(problem).enclose_support(sums, groups.multiplicities.tolist())
    return _below(total, kind, exact)


def _trivial_bound(problem: Problem) -> ProvedBound:
    """The dual value of V = 0."""
    from flint import arb, fmpq

    groups = Groups.distinct(problem)
    if isinstance(problem.loss, MarginLoss):
        return replace(_diagonal_bound(problem, DiagonalProof(ExactVector([0] * groups.size, 0))), proof="trivial")
    K, place, total = problem.num_classes, 0, arb(0)
    for share, multiplicity in zip(groups.shares(problem), groups.multiplicities.tolist(), strict=True):
        total -= arb(share) * multiplicity * problem.loss.enclose_conjugate([fmpq(0)] * K, place)
        place += multiplicity
    return _below(total, "trivial", BlockProof.zero(problem, groups))


def _bias(problem: Problem) -> Bias:
    return bias_of(problem.bias, problem.loss, problem.num_classes)


def _below(ball: arb, proof: str, evidence: Evidence) -> ProvedBound:
    return ProvedBound(float_below(ball), proof, lower_end(ball) if ball.is_finite() else None, evidence)


# -- upper bounds -------------------------------------------------------------------------------------------------


def _exact_frame(problem: Problem, point: FramePoint) -> FrameWitness | None:
    """The frame in exact numbers, alike entries together; None when it is not admissible. ω counts where η > 0."""
    finite = np.isfinite(point.eta).all() and np.isfinite(point.omega).all()
    if not finite or min(point.eta.min(), point.omega.min()) < 0.0:
        return None
    if np.count_nonzero(point.eta) > (problem.feature_dim or problem.num_classes):
        return None
    omega = np.where(point.eta > 0.0, point.omega, 0.0)
    columns = (Groups.distinct(problem).members, point.eta, omega)
    alike = Counter(zip(*(column.tolist() for column in columns), strict=True))
    entries = sorted(alike)
    groups, etas, omegas = zip(*entries, strict=True)
    return FrameWitness(
        list(groups),
        [alike[entry] for entry in entries],
        ExactVector.of_floats(np.array(etas)),
        ExactVector.of_floats(np.array(omegas)),
    )


def _frame_upper(problem: Problem, witness: FrameWitness, penalties: bool) -> ProvedBound:
    """The objective: losses in balls, and the two sums of squares in integers."""
    from flint import arb, fmpq

    K, loss, groups = problem.num_classes, margin_loss(problem), Groups.distinct(problem)
    loads, counts = groups.loads(), groups.counts.tolist()
    unit_eta, unit_omega = power(witness.eta.exponent), power(witness.omega.exponent)
    unit_margin = arb(unit_eta * unit_omega)
    losses, squares_eta, squares_omega = arb(0), 0, 0
    entries = zip(witness.groups, witness.multiplicities, witness.eta.integers, witness.omega.integers, strict=True)
    for group, multiplicity, eta, omega in entries:
        margin = arb(eta * omega) * unit_margin
        losses += loads.integers[group] * multiplicity * loss.enclose_margin_value(margin, K)
        squares_eta += multiplicity * counts[group] * eta * eta
        squares_omega += multiplicity * omega * omega
    total = losses * arb(power(loads.exponent) / problem.num_samples)
    if penalties:
        squares = rational(problem.lambda_w) * fmpq(K - 1, K) * unit_omega**2 * squares_omega
        squares += rational(problem.lambda_h) * unit_eta**2 * squares_eta
        total += arb(squares) / 2
    return _above(total, "frame", witness)


def _dense_upper(
    problem: Problem, W: FloatArray, H: FloatArray, bias: FloatArray | None = None, *, penalties: bool = True
) -> ProvedBound:
    """The objective at W and H rounded to 52 bits, for an indicator not at all, and b; zero coordinates left out."""
    admissible = np.isfinite(W).all() and np.isfinite(H).all() and W.shape == H.shape
    if bias is not None:
        admissible &= problem.bias is not None and bias.shape == W.shape[:1] and bool(np.isfinite(bias).all())
    admissible &= not problem.nonnegative or bool((H >= 0.0).all())
    used = np.any(H != 0.0, axis=0) | np.any(W != 0.0, axis=0)
    if not admissible or int(used.sum()) > (problem.feature_dim or used.size):
        return ProvedBound(math.inf, "dense")
    used[0] |= not used.any()  # keep one coordinate, so that the witness is a matrix
    make = (
        ExactMatrix.of_floats if isinstance(problem.loss, Indicator) else partial(ExactMatrix.near, bits=_WITNESS_BITS)
    )
    exact = DenseWitness(make(W[:, used]), make(H[:, used]), None if bias is None else ExactVector.of_floats(bias))
    total = _dense_loss(problem, exact)
    return _above(total + _dense_penalty(problem, exact) if penalties else total, "dense", exact)


def _dense_loss(problem: Problem, witness: DenseWitness) -> arb:
    """The loss, and the penalty of the bias."""
    from flint import arb, fmpq

    groups = Groups.singletons(problem)
    logits = _logits(witness)
    unit = arb(power(witness.W.exponent + witness.H.exponent))
    b = [fmpq(0)] * problem.num_classes if witness.bias is None else witness.bias.rationals()
    offsets = list(map(arb, b))
    total = _bias(problem).enclose_penalty(b)
    for k, share in enumerate(groups.shares(problem)):
        outputs = [unit * arb(z) + offset for z, offset in zip(next(logits), offsets, strict=True)]
        total += arb(share) * problem.loss.enclose_value(outputs, k)
    return total


def _dense_penalty(problem: Problem, witness: DenseWitness) -> arb:
    from flint import arb, fmpq

    squares = fmpq(sum(w * w for row in witness.W.rows for w in row)) * power(2 * witness.W.exponent)
    total = arb(rational(problem.lambda_w) * squares) / 2
    weighted = sum(
        n * sum(h * h for h in row) for n, row in zip(problem.class_counts.tolist(), witness.H.rows, strict=True)
    )
    return total + arb(rational(problem.lambda_h) * weighted * power(2 * witness.H.exponent)) / 2


def _logits(witness: DenseWitness) -> Iterator[Sequence[fmpz | int]]:
    """The logits of each class as integers; features with one coordinate each, as on a frame, need no product."""
    from flint import fmpz_mat

    slots = [[c for c, h in enumerate(row) if h] for row in witness.H.rows]
    if max(map(len, slots)) > 1:
        yield from (fmpz_mat(witness.H.rows) * fmpz_mat(witness.W.rows).transpose()).tolist()
        return
    coordinates = list(zip(*witness.W.rows, strict=True))
    for row, slot in zip(witness.H.rows, slots, strict=True):
        yield [row[slot[0]] * w for w in coordinates[slot[0]]] if slot else [0] * len(witness.W.rows)


def _above(ball: arb, proof: str, evidence: Evidence) -> ProvedBound:
    return ProvedBound(float_above(ball), proof, upper_end(ball) if ball.is_finite() else None, evidence)

"""Proved bounds: a lower bound from a dual point, an upper bound from an actual W and H.

Weak duality (docs/duality.md, equation 5) makes −Σ pt_k l_k*(v_k) a lower bound for every feature dimension once the
slack proof holds; the objective of any admissible (W, H) is an upper bound. Both are evaluated in ball arithmetic at
exact points and rounded outwards, so the returned binary64 numbers are proved, not estimated.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import slack
from ufm_convex.enclosure.exact import PRECISION, float_above, float_below, rational
from ufm_convex.identity import margin_loss
from ufm_convex.points import DualPoint, FrameDual, FramePoint
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb, fmpq


@dataclass(frozen=True)
class ProvedBound:
    """A bound on the optimal value that is proved.

    Attributes:
        value: The bound, rounded to the safe side.
        proof: How: the slack proof ("diagonal", "dense", "trivial") or the witness ("frame", "dense").
    """

    value: float
    proof: str


def lower_bound(problem: Problem, dual: DualPoint | FrameDual) -> ProvedBound:
    """A proved lower bound of the optimum of the problem and of its relaxation, at every feature dimension.

    Args:
        problem: The problem.
        dual: A dual point, feasible up to rounding; it is shrunk until its feasibility is proved.

    Returns:
        The bound; when nothing about ``dual`` can be proved, the bound of V = 0, which is always feasible.
    """
    from flint import ctx

    with ctx.workprec(PRECISION):
        if isinstance(dual, FrameDual):
            return _frame_lower(problem, dual)
        return _dense_lower(problem, dual)


def upper_bound(problem: Problem, witness: FramePoint | tuple[FloatArray, FloatArray]) -> ProvedBound:
    """A proved upper bound of the optimum: the objective at the witness, enclosed.

    Args:
        problem: The problem.
        witness: An orthogonal frame, or W (K, d) and class-mean features H (K, d).

    Returns:
        The bound; +inf when the witness is not admissible (an entry that is NaN, infinite or, for non-negative
        features, negative; more than ``feature_dim`` coordinates).
    """
    from flint import ctx

    with ctx.workprec(PRECISION):
        if isinstance(witness, FramePoint):
            return _frame_upper(problem, witness)
        return _dense_upper(problem, *witness)


# -- dense points -------------------------------------------------------------------------------------------------


def _dense_lower(problem: Problem, dual: DualPoint) -> ProvedBound:
    exact = slack.prove(problem, dual) if np.isfinite(dual.residuals).all() else None
    if exact is not None:
        try:
            return ProvedBound(_dual_value_below(problem, exact.residuals, exact.bits), exact.proof)
        except ValueError:  # a column left the conjugate's domain: the exact test refused it
            pass
    zeros = [[0] * problem.num_classes for _ in range(problem.num_classes)]
    return ProvedBound(_dual_value_below(problem, zeros, 0), "trivial")


def _dual_value_below(problem: Problem, residuals: list[list[int]], bits: int) -> float:
    """−Σ pt_k l_k*(v_k) at v_jk = residuals[k][j] / 2^bits, rounded down."""
    from flint import arb, fmpq

    total = arb(0)
    for k, weight in enumerate(_exact_weights(problem)):
        column = [fmpq(entry, 1 << bits) for entry in residuals[k]]
        total -= arb(weight) * problem.loss.enclose_conjugate(column, k)
    return float_below(total)


def _dense_upper(problem: Problem, W: FloatArray, H: FloatArray) -> ProvedBound:
    from flint import arb, arb_mat

    admissible = np.isfinite(W).all() and np.isfinite(H).all() and W.shape == H.shape
    admissible &= not problem.nonnegative or bool((H >= 0.0).all())
    used = int(np.count_nonzero(np.any(H != 0.0, axis=0) | np.any(W != 0.0, axis=0)))
    if not admissible or used > (problem.feature_dim or used):
        return ProvedBound(math.inf, "dense")
    exact_W = arb_mat([[arb(entry) for entry in row] for row in W.tolist()])
    exact_H = arb_mat([[arb(entry) for entry in row] for row in H.tolist()])
    logits = (exact_W * exact_H.transpose()).tolist()
    total = arb(0)
    for k, weight in enumerate(_exact_weights(problem)):
        total += arb(weight) * problem.loss.enclose_value([row[k] for row in logits], k)
    total += arb(problem.lambda_w) / 2 * _square_sum(W)
    for count, row in zip(problem.class_counts.tolist(), H, strict=True):
        total += arb(problem.lambda_h) / 2 * count * _square_sum(row)
    return ProvedBound(float_above(total), "dense")


def _square_sum(array: FloatArray) -> arb:
    from flint import arb

    return sum((arb(entry) ** 2 for entry in array.ravel().tolist() if entry), arb(0))


def _exact_weights(problem: Problem) -> list[fmpq]:
    """pt_k = ω_k n_k / N as exact rationals."""
    weights = problem.loss.weights(problem.num_classes).tolist()
    return [
        rational(weight) * count / problem.num_samples
        for weight, count in zip(weights, problem.class_counts.tolist(), strict=True)
    ]


# -- orthogonal frames, O(number of distinct classes) -------------------------------------------------------------


def _frame_lower(problem: Problem, dual: FrameDual) -> ProvedBound:
    from flint import arb

    K, loss = problem.num_classes, margin_loss(problem)
    total = arb(0)
    admissible = _admissible_strengths(problem, dual.strengths)
    for (count, weight, strength), multiplicity in admissible.items():
        share = rational(weight) * count * multiplicity / problem.num_samples
        total -= arb(share) * loss.enclose_margin_conjugate(rational(strength), K)
    return ProvedBound(float_below(total), "diagonal")


def _admissible_strengths(problem: Problem, strengths: FloatArray) -> Counter[tuple[int, float, float]]:
    """Distinct (n_k, ω_k, q_k) with q_k lowered until ω_k² n_k q_k² (K−1) ≤ N² λ_W λ_H K holds exactly."""
    K = problem.num_classes
    numerator, bound_exponent = _dyadic(problem.lambda_w, problem.lambda_h)
    bound = numerator * problem.num_samples**2 * K
    lowered: Counter[tuple[int, float, float]] = Counter()
    for (count, weight, strength), multiplicity in _distinct(problem, strengths).items():
        q = max(strength, 0.0)
        while q > 0.0:
            mantissa, exponent = _dyadic(weight, q)
            shift = 2 * exponent - bound_exponent
            left = mantissa**2 * count * (K - 1)
            if left << max(shift, 0) <= bound << max(-shift, 0):
                break
            q = math.nextafter(q, 0.0)
        lowered[count, weight, q] += multiplicity
    return lowered


def _frame_upper(problem: Problem, point: FramePoint) -> ProvedBound:
    from flint import arb, fmpq

    K, loss = problem.num_classes, margin_loss(problem)
    finite = np.isfinite(point.eta).all() and np.isfinite(point.omega).all()
    if not finite or min(point.eta.min(), point.omega.min()) < 0.0:
        return ProvedBound(math.inf, "frame")
    if point.used.size > (problem.feature_dim or K):
        return ProvedBound(math.inf, "frame")
    half_w, half_h = arb(problem.lambda_w) / 2 * arb(fmpq(K - 1, K)), arb(problem.lambda_h) / 2
    total = arb(0)
    for (count, weight, eta, omega), multiplicity in _distinct(problem, point.eta, point.omega).items():
        exact_eta, exact_omega = arb(eta), arb(omega)
        share = arb(rational(weight) * count / problem.num_samples)
        term = share * loss.enclose_margin_value(exact_eta * exact_omega, K)
        total += multiplicity * (term + half_w * exact_omega**2 + half_h * count * exact_eta**2)
    return ProvedBound(float_above(total), "frame")


def _distinct(problem: Problem, *values: FloatArray) -> Counter[tuple[Any, ...]]:
    """Distinct (n_k, ω_k, values…) with their multiplicities: classes of one group cost one evaluation."""
    weights = problem.loss.weights(problem.num_classes)
    columns = (problem.class_counts, weights, *values)
    return Counter(zip(*(column.tolist() for column in columns), strict=True))


def _dyadic(first: float, second: float) -> tuple[int, int]:
    """The product of two binary64 numbers as (integer, exponent of two)."""
    a, b = first.as_integer_ratio(), second.as_integer_ratio()
    return a[0] * b[0], -((a[1].bit_length() - 1) + (b[1].bit_length() - 1))

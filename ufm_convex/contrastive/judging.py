"""A proved enclosure of the objective of somebody's features, and an exact look at their constraints.

    f(H) = Σ_{i: n ≥ 2} [ log Σ_{l ≠ i} e^{G_il/T} − mean_{j ≠ i, same class} G_ij/T ] + λ_H/2 ‖H‖²

at the exact binary32 or binary64 entries of H. The N × N products are formed in blocks of rows in binary64 with the
a-priori error bounds of docs/contrastive_judging.md, section 7; exp and log are those of ``enclosure.candidate``, whose
errors are proved, and so are its assumptions on matrix products. Signs and norms are compared exactly, with tolerance
zero. O(N² d) time, O(N d) memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._bits import fraction, in_order, order, widened
from ufm_convex.contrastive.candidate import ContrastiveCandidate
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.enclosure.arithmetic import FLUSHED_BITS, TINY, UNIT, require_nearest
from ufm_convex.enclosure.candidate import (
    EXP_ERROR,
    EXP_TAIL,
    LOG_ERROR,
    STEPS,
    exp_of_minus,
    log_of,
)
from ufm_convex.enclosure.exact import ExactVector, float_above, float_below, rational
from ufm_convex.errors import CandidateError, CountsError

_INFLATE = 1.0 + 2.0**-20  # pays for all roundings in sums and products of error bounds
_BEYOND_CUT = 2.0**18  # scaled; its power is 0
_LARGEST = 2.0**200  # of ‖h_i‖²/T: no overflow anywhere
_BLOCK = 1 << 20  # products a block


@dataclass(frozen=True)
class Violation:
    """Where a candidate leaves the feasible set; the worst place of its kind.

    Attributes:
        kind: "negative" for an entry < 0, "norm" for ‖h_i‖² > τ.
        row: Sample.
        column: Coordinate; None for a norm.
        value: The entry, or ‖h_i‖² rounded up.
        count: How many entries, or rows, are not admissible.
    """

    kind: str
    row: int
    column: int | None
    value: float
    count: int


def violation(problem: ContrastiveProblem, candidate: ContrastiveCandidate) -> Violation | None:
    """The worst violation, negative entries before norms; None for admissible features. Decided exactly."""
    F = candidate.features
    keys = order(widened(F))
    row, column = divmod(int(keys.argmin()), F.shape[1])
    if keys[row, column] < 0:
        return Violation("negative", row, column, in_order(int(keys[row, column])), int(np.count_nonzero(keys < 0)))
    return None if problem.bound is None else _norm_violation(problem.bound, F)


def _norm_violation(bound: float, F: FloatArray) -> Violation | None:
    """Rows whose rounded ‖h_i‖² is near the bound or above it are squared again in integers."""
    squares = np.concatenate([_squares(F[start : start + 4096]) for start in range(0, len(F), 4096)])
    slack = 1.0 + 2.0 * (F.shape[1] + 8) * UNIT
    doubtful = np.flatnonzero(squares * slack + TINY > bound)
    exact = {int(row): _exact_square(F[row]) for row in doubtful}
    beyond = {row: square for row, square in exact.items() if square > fraction(bound)}
    if not beyond:
        return None
    worst = max(beyond, key=lambda row: beyond[row])
    return Violation("norm", worst, None, outward(beyond[worst], beyond[worst])[1], len(beyond))


def _squares(rows: FloatArray) -> FloatArray:
    """‖row‖² in binary64, relative error at most (d + 1) UNIT but for underflow."""
    wide = widened(rows)
    with np.errstate(over="ignore"):
        squares: FloatArray = np.einsum("ij,ij->i", wide, wide)
    return squares


def _exact_square(row: FloatArray) -> Fraction:
    vector = ExactVector.of_floats(widened(row))
    return sum(integer * integer for integer in vector.integers) * Fraction(4) ** vector.exponent


def enclose_objective(
    problem: ContrastiveProblem,
    candidate: ContrastiveCandidate,
    *,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[float, float]:
    """Numbers below and above f(H), whatever the sign of the features.

    Args:
        problem: The problem; its class counts are those of the candidate.
        candidate: The features.
        progress: Called after each block with (rows done, rows in all).

    Raises:
        CountsError: the candidate's class counts are not the problem's.
        CandidateError: some ‖h_i‖²/T is beyond 2²⁰⁰.
        SolverError: binary64 numbers are not rounded to nearest.
    """
    require_match(problem, candidate)
    order = np.argsort(candidate.labels, kind="stable")
    F, T = _normalised(candidate.features[order], problem.temperature)
    squares = _squares(F)
    sizes = min(len(F), _BLOCK // len(F) + 1), F.shape[1], len(F)
    require_nearest(*sizes)
    losses, errors = _losses(problem, F, squares, T, progress)
    require_nearest(*sizes)
    loss = _sum(losses, errors, problem.num_samples)
    ends = _sum_of_squares(squares, F.shape[1], _shift(problem.temperature))
    unit = fraction(problem.temperature) / fraction(T)  # of squares; a power of 4
    penalty = [fraction(problem.lambda_h or 0) / 2 * unit * end for end in ends]
    return outward(loss[0] + penalty[0], loss[1] + penalty[1])


def require_match(problem: ContrastiveProblem, candidate: ContrastiveCandidate) -> None:
    """Raise ``CountsError`` or ``CandidateError`` as ``enclose_objective`` does, before any work."""
    if not np.array_equal(candidate.class_counts, problem.class_counts):
        raise CountsError(
            f"the candidate has the class counts {candidate.class_counts.tolist()[:8]}.",
            expected=f"those of the problem, {problem.class_counts.tolist()[:8]}",
            fix="make the problem of candidate.class_counts, or number the classes alike.",
        )
    F, T = _normalised(candidate.features, problem.temperature)
    top = _squares(F) / T
    if not top.max() <= _LARGEST:
        row = int(np.argmax(top))
        raise CandidateError(
            f"features[{row}] has the squared norm {top[row]:.3g} in units of the temperature.",
            expected="at most 2**200",
            fix="training diverged, or the file is damaged; there is nothing to judge.",
        )


def _normalised(features: npt.NDArray[Any], temperature: float) -> tuple[FloatArray, float]:
    """Features times 2^e and temperature times 4^e, e such that the latter is in [1/4, 2): exact but for underflow."""
    shift = _shift(temperature)
    with np.errstate(over="ignore"):
        return np.ldexp(widened(features), shift), math.ldexp(math.ldexp(temperature, shift), shift)


def _shift(temperature: float) -> int:
    """The exponent e of ``_normalised``."""
    return -(math.frexp(temperature)[1] // 2)


def _losses(
    problem: ContrastiveProblem,
    F: FloatArray,
    squares: FloatArray,
    temperature: float,
    progress: Callable[[int, int], object] | None,
) -> tuple[FloatArray, FloatArray]:
    """The loss of each anchor and a bound of its error, samples sorted by class; 0 for samples without positives."""
    N, labels = problem.num_samples, problem.labels
    ends = np.cumsum(problem.class_counts)
    losses, errors = np.zeros(N), np.zeros(N)
    lengths = np.sqrt(squares + TINY) * _INFLATE
    sizes = lengths * (lengths.max() / temperature) * _INFLATE  # ≥ |G_il|/T for every l
    anchored = np.flatnonzero(problem.class_counts[labels] > 1)
    step = max(1, _BLOCK // N)
    for first in range(0, anchored.size, step):
        rows = anchored[first : first + step]
        products = (F[rows] @ F.T) * (STEPS / temperature)
        losses[rows], logs = _anchor_losses(products, rows, labels, ends - problem.class_counts, ends)
        errors[rows] = _errors(sizes[rows], problem.class_counts[labels[rows]], logs, F.shape[1], N)
        if progress is not None:
            progress(int(rows[-1]) + 1, N)
    return losses, errors


def _anchor_losses(
    products: FloatArray, rows: IntArray, labels: IntArray, starts: IntArray, ends: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Largest product − mean of the positives + log Σ e^{product − largest}, and the logarithm alone; in place."""
    places = np.arange(rows.size)
    products[places, rows] = 0.0
    positives = np.empty(rows.size)
    for k in np.unique(labels[rows]).tolist():
        mine = labels[rows] == k
        positives[mine] = products[mine, starts[k] : ends[k]].sum(axis=1) / (ends[k] - starts[k] - 1)
    products[places, rows] = -np.inf
    largest = products.max(axis=1)
    below = np.minimum(largest[:, None] - products, _BEYOND_CUT)
    powers = exp_of_minus(below, np.empty((3, *below.shape)))
    logs = log_of(np.maximum(powers.sum(axis=1), 1.0))
    return (largest - positives) / STEPS + logs, logs


def _errors(sizes: FloatArray, counts: IntArray, logs: FloatArray, dimension: int, N: int) -> FloatArray:
    """Equation 6 of docs/contrastive_judging.md, section 7.

    Args:
        sizes: Bounds of |G_il|/T in the row of each anchor.
        counts: Samples in the anchor's class.
        logs: The logarithm of the sum of powers.
        dimension: d.
        N: Number of samples.
    """
    product = (dimension + 6) * UNIT * sizes  # of one product, its scaling, and its distance from the largest
    mean = (counts + 4) * UNIT * sizes  # of the mean of the positives, beyond that of its products
    power = EXP_ERROR + (N + 4) * UNIT + N * EXP_TAIL  # relative, of the sum of powers, which is at least 1
    logarithm = 2.0 * power + (LOG_ERROR + 4.0 * UNIT) * logs
    return (4.0 * product + mean + logarithm + 8.0 * UNIT * (2.0 * sizes)) * _INFLATE + TINY


def _sum(losses: FloatArray, errors: FloatArray, N: int) -> tuple[Fraction, Fraction]:
    """Enclosure of the sum of losses, each of which is ≥ 0."""
    value = Fraction(math.fsum(losses.tolist()))
    radius = Fraction(math.fsum(errors.tolist())) * Fraction(_INFLATE) + abs(value) * Fraction(4 * UNIT)
    radius += Fraction(N, 2**900)
    return max(value - radius, Fraction(0)), value + radius


def _sum_of_squares(squares: FloatArray, dimension: int, shift: int) -> tuple[Fraction, Fraction]:
    """Enclosure of Σ ‖h_i‖² from the rounded ‖h_i‖², of features that were multiplied by 2^shift."""
    value = fraction(math.fsum(squares.tolist()))
    radius = value * Fraction(2 * (dimension + 8)) * Fraction(UNIT)
    # underflow and flushing, of entries before and after they were scaled by 2^shift, of their squares, and of sums
    length = 1 + fraction(math.sqrt(float(squares.max())))
    radius += squares.size * (dimension + 100) * length * 2 ** max(shift, 0) / Fraction(2) ** (FLUSHED_BITS - 4)
    return max(value - radius, Fraction(0)), value + radius


def outward(low: Fraction, high: Fraction) -> tuple[float, float]:
    """The interval in binary64, rounded outwards."""
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    with working_precision(256):
        return float_below(arb(rational(low))), float_above(arb(rational(high)))

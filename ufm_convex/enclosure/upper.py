"""Proved upper bounds: the objective at an actual W and H, enclosed.

It is evaluated in ball arithmetic at exact matrices and rounded outwards; the matrices are returned with the bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure.exact import (
    PRECISION,
    ExactMatrix,
    ExactVector,
    power,
    rational,
)
from ufm_convex.enclosure.groups import Groups
from ufm_convex.enclosure.proved import (
    DenseWitness,
    FrameWitness,
    ProvedBound,
    above,
    bias_part,
)
from ufm_convex.identity import margin_loss
from ufm_convex.points import FramePoint
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb, fmpz

_WITNESS_BITS = 52


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
    pairs = zip(witness.eta.integers, witness.omega.integers, strict=True)
    values = loss.enclose_margin_values((arb(eta * omega) * unit_margin for eta, omega in pairs), K)
    entries = zip(witness.groups, witness.multiplicities, witness.eta.integers, witness.omega.integers, strict=True)
    for (group, multiplicity, eta, omega), value in zip(entries, values, strict=True):
        losses += loads.integers[group] * multiplicity * value
        squares_eta += multiplicity * counts[group] * eta * eta
        squares_omega += multiplicity * omega * omega
    total = losses * arb(power(loads.exponent) / problem.num_samples)
    if penalties:
        squares = rational(problem.lambda_w) * fmpq(K - 1, K) * unit_omega**2 * squares_omega
        squares += rational(problem.lambda_h) * unit_eta**2 * squares_eta
        total += arb(squares) / 2
    return above(total, "frame", witness)


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
    make = partial(ExactMatrix.near, bits=_WITNESS_BITS) if problem.loss.finite else ExactMatrix.of_floats
    exact = DenseWitness(make(W[:, used]), make(H[:, used]), None if bias is None else ExactVector.of_floats(bias))
    total = _dense_loss(problem, exact)
    return above(total + _dense_penalty(problem, exact) if penalties else total, "dense", exact)


def _dense_loss(problem: Problem, witness: DenseWitness) -> arb:
    """The loss, and the penalty of the bias."""
    from flint import arb, fmpq

    groups = Groups.singletons(problem)
    logits = _logits(witness)
    unit = arb(power(witness.W.exponent + witness.H.exponent))
    b = [fmpq(0)] * problem.num_classes if witness.bias is None else witness.bias.rationals()
    offsets = list(map(arb, b))
    total = bias_part(problem).enclose_penalty(b)
    for k, share in enumerate(groups.shares(problem)):
        outputs = [unit * arb(z) + offset for z, offset in zip(next(logits), offsets, strict=True)]
        total += arb(share) * problem.loss.enclose_value(outputs, problem.loss.exact_column(problem.num_classes, k))
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

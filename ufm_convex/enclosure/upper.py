"""Proved upper bounds: the objective at an actual W and H, enclosed.

It is evaluated in ball arithmetic at exact matrices and rounded outwards; the matrices are returned with the bound.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import order
from ufm_convex.enclosure.alike import ExactAlike, logits
from ufm_convex.enclosure.columns import ExactColumns, alike_orbits
from ufm_convex.enclosure.exact import (
    PRECISION,
    ExactVector,
    power,
    rational,
)
from ufm_convex.enclosure.proved import (
    FactorWitness,
    FrameWitness,
    ProvedBound,
    above,
)
from ufm_convex.errors import ShapeError
from ufm_convex.losses import traits
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, AxesPoint, Columns, Factors, FramePoint, Orbits

if TYPE_CHECKING:
    from flint import arb


def upper_bound(
    problem: Problem | Columns,
    witness: FramePoint
    | FrameWitness
    | Factors
    | tuple[FloatArray, FloatArray]
    | tuple[FloatArray, FloatArray, FloatArray | None],
    *,
    penalties: bool = True,
    precision: int = PRECISION,
) -> ProvedBound:
    """A proved upper bound of the optimum: the objective at the witness, enclosed.

    Args:
        problem: The problem, or its columns at some level.
        witness: An orthogonal frame; or factors on the orbits of the problem or of its single classes; or W (K, d) and
            class-mean features H (K, d), and a bias b (K,) or None for 0.
        penalties: False for the loss alone.
        precision: Bits of the ball arithmetic.

    Returns:
        The bound; +inf when the witness is not admissible (an entry that is NaN, infinite or, for non-negative
        features, negative; more than ``feature_dim`` coordinates, for orbits of free features more dimensions; a bias
        that the problem does not have). It has no evidence where it needs fewer dimensions than coordinates.

    Raises:
        ShapeError: the factors are alike on other orbits than those of the problem.
    """
    from ufm_convex.verifier.precision import working_precision

    if penalties and isinstance(problem, Problem):
        problem.require_decays("this bound")
    if isinstance(witness, AxesPoint):
        witness = witness.factors()
    with working_precision(precision):
        if isinstance(witness, FramePoint | FrameWitness):
            columns = ExactColumns.of(problem)
            exact = _exact_frame(columns, witness) if isinstance(witness, FramePoint) else witness
            return ProvedBound(math.inf, "frame") if exact is None else _frame_upper(columns, exact, penalties)
        columns = _columns_of(problem, witness)
        kind = columns.kind
        factors = witness if isinstance(witness, Factors) else _matrices(columns, *witness)
        found = None if factors is None else _exact_factors(columns, factors)
        if found is None:
            return ProvedBound(math.inf, kind)
        total = _loss(columns, found)
        above_it = above(total + _penalty(columns, found) if penalties else total, kind, found)
        return above_it if _fits(columns, found) else replace(above_it, exact_point=None)


def shorter_witness(problem: Problem, found: ProvedBound, excess: float) -> ProvedBound:
    """The objective at nearly the same W and H in shorter integers; with free features W becomes a triangle.

    The objective is stationary at an optimum, so it grows by squares of roundings alone.

    Args:
        problem: The problem.
        found: A bound with the exact point behind it.
        excess: By what share of itself the bound may rise.

    Returns:
        The bound; or that one that is given, where its witness is of another kind or no shorter one costs so little.
    """
    from ufm_convex.enclosure import short
    from ufm_convex.verifier.precision import working_precision

    witness, columns = found.exact_point, ExactColumns.of_classes(problem)
    if not isinstance(witness, FactorWitness) or not witness.plain or not columns.loss.finite:
        return found
    W, H = (np.ldexp(np.array(M.even, dtype=np.float64), M.exponent) for M in (witness.W, witness.H))
    if not columns.nonnegative:
        W, H = short.triangular(W, H)
    for share in (excess, excess / 16.0):
        near = short.coarse(W, np.ones(len(W)), share), short.coarse(H, columns.counts.astype(np.float64), share)
        exact = FactorWitness(
            ExactAlike.single(near[0], witness.W.rows), ExactAlike.single(near[1], witness.H.rows), witness.bias
        )
        with working_precision(PRECISION):
            total = above(_loss(columns, exact) + _penalty(columns, exact), found.proof, exact)
        if total.value <= found.value * (1.0 + excess):
            return total
    return found


def _exact_frame(columns: ExactColumns, point: FramePoint) -> FrameWitness | None:
    """The frame in exact numbers, alike entries together; None when it is not admissible. ω counts where η > 0."""
    there = columns.columns.positions
    all_eta, all_omega = point.eta[there], point.omega[there]
    finite = np.isfinite(all_eta).all() and np.isfinite(all_omega).all()
    if not finite or min(order(all_eta).min(), order(all_omega).min()) < 0:
        return None
    if np.count_nonzero(order(all_eta)) > (columns.feature_dim or math.inf):
        return None
    omega = np.where(all_eta > 0.0, all_omega, 0.0)
    groups = columns.columns.members[there]
    alike = Counter(zip(*(column.tolist() for column in (groups, all_eta, omega)), strict=True))
    entries = sorted(alike)
    places, etas, omegas = zip(*entries, strict=True)
    return FrameWitness(
        list(places),
        [alike[entry] for entry in entries],
        ExactVector.of_floats(np.array(etas)),
        ExactVector.of_floats(np.array(omegas)),
    )


def _frame_upper(columns: ExactColumns, witness: FrameWitness, penalties: bool) -> ProvedBound:
    """The objective: losses in balls, and the two sums of squares in integers."""
    from flint import arb, fmpq

    traits.require(columns.loss, ("margins_only",), fix="give W and H as matrices.")
    V, loss = columns.num_outputs, columns.loss
    loads, counts = columns.loads(), columns.counts.tolist()
    unit_eta, unit_omega = power(witness.eta.exponent), power(witness.omega.exponent)
    unit_margin = arb(unit_eta * unit_omega)
    losses, squares_eta, squares_omega = arb(0), 0, 0
    pairs = zip(witness.eta.integers, witness.omega.integers, strict=True)
    values = loss.enclose_margin_values((arb(eta * omega) * unit_margin for eta, omega in pairs), V)
    entries = zip(witness.groups, witness.multiplicities, witness.eta.integers, witness.omega.integers, strict=True)
    for (group, multiplicity, eta, omega), value in zip(entries, values, strict=True):
        losses += loads.integers[group] * multiplicity * value
        squares_eta += multiplicity * counts[group] * eta * eta
        squares_omega += multiplicity * omega * omega
    total = losses * arb(power(loads.exponent) / columns.num_samples)
    if penalties:
        squares = rational(columns.lambda_w) * fmpq(V - 1, V) * unit_omega**2 * squares_omega
        squares += rational(columns.lambda_h) * unit_eta**2 * squares_eta
        total += arb(squares) / 2
    return above(total, "frame", witness)


# -- factors --------------------------------------------------------------------------------------------------------


def _columns_of(problem: Problem | Columns, witness: Factors | tuple[FloatArray | None, ...]) -> ExactColumns:
    """The columns on whose orbits the factors are: those given, or the single or the grouped classes."""
    if not isinstance(witness, Factors):
        return ExactColumns.of_classes(problem) if isinstance(problem, Problem) else ExactColumns.of(problem)
    W, H, coarse = witness.W, witness.H, ExactColumns.of(problem)
    single = [ExactColumns.of_classes(problem)] if W.rows.plain and isinstance(problem, Problem) else []
    for columns in (coarse, *single):
        sorts = (columns.outputs, W.rows), (columns.columns, H.rows), (W.cols, H.cols)
        if all(alike_orbits(one, other) for one, other in sorts):
            return columns
    raise ShapeError(
        f"the factors have {W.rows.size} and {H.rows.size} orbits of rows, {W.cols.size} and {H.cols.size} of columns.",
        expected=f"the {coarse.outputs.size} orbits of outputs and {coarse.size} of columns of the problem, or single "
        "classes, and the same coordinates in both",
        fix="make them on the columns of this problem.",
    )


def _matrices(columns: ExactColumns, W: FloatArray, H: FloatArray, bias: FloatArray | None = None) -> Factors | None:
    """Matrices with zero coordinates left out; None if their shapes do not fit."""
    if W.ndim != 2 or H.shape != (columns.columns.length, W.shape[1]) or W.shape[0] != columns.outputs.length:
        return None
    if bias is not None and bias.shape != W.shape[:1]:
        return None
    used = np.any(H != 0.0, axis=0) | np.any(W != 0.0, axis=0)
    used[0] |= not used.any()  # keep one coordinate, so that the witness is a matrix
    coordinates = Orbits.single(int(used.sum()))
    rows = columns.columns.positions
    return Factors(
        Alike.matrix(columns.outputs, coordinates, W[:, used]),
        Alike.matrix(columns.columns, coordinates, H[rows][:, used]),
        bias,
    )


def _exact_factors(columns: ExactColumns, factors: Factors) -> FactorWitness | None:
    """The factors in exact numbers; None when they are not admissible. W counts where a feature does."""
    W, H, bias = factors.W, factors.H, factors.bias
    finite = np.isfinite(W.entries()).all() and np.isfinite(H.entries()).all()
    if bias is not None:
        finite &= columns.bias.size > 0 and bool(np.isfinite(bias).all())
    if not finite or (columns.nonnegative and int(order(H.entries()).min()) < 0):
        return None
    exact = FactorWitness(
        ExactAlike.witness(W, columns.loss.finite),
        ExactAlike.witness(H, columns.loss.finite),
        None if bias is None else ExactVector.of_floats(bias),
    )
    if not exact.plain:
        exact = replace(exact, W=exact.W.kept(exact.H.used()))
    free = not columns.nonnegative and not exact.plain
    if _fits(columns, exact) or (free and exact.H.rank() <= (columns.feature_dim or math.inf)):
        return exact
    return None


def _fits(columns: ExactColumns, witness: FactorWitness) -> bool:
    """Whether no more coordinates than there are dimensions are used."""
    pairs = zip(witness.H.cols.numbers.tolist(), witness.W.used(), witness.H.used(), strict=True)
    return sum(n for n, w, h in pairs if w or h) <= (columns.feature_dim or math.inf)


def _loss(columns: ExactColumns, witness: FactorWitness) -> arb:
    """The loss, and the penalty of the bias."""
    from flint import arb, fmpq

    exact = [fmpq(0)] * columns.outputs.size if witness.bias is None else witness.bias.rationals()
    b = list(map(arb, exact))
    total = columns.bias.enclose_penalty(exact, columns.output_sizes)
    from ufm_convex.enclosure import fast

    quick = fast.loss_value(columns, witness)
    if quick is not None:
        return total + quick
    unit = arb(power(witness.W.exponent + witness.H.exponent))
    entries = columns.exact_entries(*logits(witness.W, witness.H))
    weights = zip(columns.shares(), columns.multiplicities.tolist(), columns.places, strict=True)
    for j, ((share, multiplicity, place), (others, own)) in enumerate(zip(weights, entries, strict=True)):
        outputs = [unit * arb(z) + offset for z, offset in zip(others, b, strict=True)]
        outputs = columns.entries(j, outputs, unit * arb(own) + b[place])
        total += arb(share) * multiplicity * columns.loss.enclose_value(outputs, columns.column(j))
    return total


def _penalty(columns: ExactColumns, witness: FactorWitness) -> arb:
    """λ_W/2 ‖W‖² + λ_H/2 Σ ν ‖h‖²."""
    from flint import arb

    W, H = witness.W, witness.H
    many = zip(columns.multiplicities.tolist(), columns.counts.tolist(), H.row_squares(), strict=True)
    weighted = sum(m * n * square for m, n, square in many)
    total = arb(rational(columns.lambda_w) * rational(W.square())) / 2
    return total + arb(rational(columns.lambda_h) * weighted * power(2 * H.exponent)) / 2

"""Proved lower bounds, from dual points.

Weak duality (docs/duality.md, equation 5) makes −Σ pt_k l_k*(v_k) a lower bound for every feature dimension once the
slack proof holds. It is evaluated in ball arithmetic at an exact point and rounded outwards, so the returned binary64
number is proved, not estimated. The exact point is returned with the bound: a certificate is nothing but these, written
down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import fraction
from ufm_convex.enclosure.block_dual import BlockDual
from ufm_convex.enclosure.columns import ExactColumns, alike_orbits
from ufm_convex.enclosure.exact import (
    PRECISION,
    ExactVector,
    power,
    rational,
)
from ufm_convex.enclosure.proved import (
    DiagonalDual,
    ProvedBound,
    below,
)
from ufm_convex.errors import ShapeError
from ufm_convex.losses import traits
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, AxesDual, Columns, Dual, DualPoint, FrameDual, Orbits

if TYPE_CHECKING:
    from flint import arb, fmpq

Proof = Literal["auto", "diagonal", "group", "dense"]

_LARGE = 64
"""Single columns from which on a proof is rounded to fewer bits."""


def lower_bound(
    problem: Problem | Columns,
    dual: Dual | DualPoint | FrameDual | DiagonalDual,
    *,
    proof: Proof = "auto",
    precision: int = PRECISION,
) -> ProvedBound:
    """A proved lower bound of the optimum of the problem and of its relaxation, at every feature dimension.

    Args:
        problem: The problem, whose alike classes are found, or its columns at some level, which are taken as they are.
        dual: A dual point, feasible up to rounding; it is averaged over permutations that leave the problem alone,
            which does not lower its value, and shrunk until its feasibility is proved.
        proof: The slack proof; "auto" takes the smallest: diagonal where features are non-negative and the loss sees
            a margin alone, else by groups of alike classes (called dense when no two classes are alike).
        precision: Bits of the ball arithmetic.

    Returns:
        The bound; when nothing about ``dual`` can be proved, the bound of V = 0, which is always feasible.

    Raises:
        ShapeError: ``dual`` is alike on other orbits than those of the problem.
        HypothesisError: strengths are given for a diagonal proof, and the loss sees more than a margin.
    """
    from ufm_convex.verifier.precision import working_precision

    if isinstance(problem, Problem):
        problem.require_decays("this bound")
    columns = ExactColumns.of(problem)
    attempts = _lower_attempts(problem, columns, dual, proof)
    # entries that binary64 cannot scale become infinite, and so no integers
    with working_precision(precision), np.errstate(over="ignore", invalid="ignore"):
        for attempt in attempts:
            try:
                found = attempt()
            except (ValueError, OverflowError):  # exact tests refused a domain or a free bias's balance; or as above
                continue
            if found is not None and not _worthless(columns, found):
                return found
        return _trivial_bound(columns)


def _worthless(columns: ExactColumns, found: ProvedBound) -> bool:
    """Whether the price of its sums, which a bias asks for, leaves less of a bound than V = 0 proves."""
    return columns.bias.curvature > 0.0 and found.value < _trivial_bound(columns).value


def trivial_bound(problem: Problem | Columns, *, precision: int = PRECISION) -> ProvedBound:
    """The bound of V = 0, which no decay and no constraint enters: the least value of the loss alone."""
    from ufm_convex.verifier.precision import working_precision

    with working_precision(precision):
        return _trivial_bound(ExactColumns.of(problem))


def _lower_attempts(
    problem: Problem | Columns, columns: ExactColumns, dual: Dual | DualPoint | FrameDual | DiagonalDual, proof: Proof
) -> Iterator[Callable[[], ProvedBound | None]]:
    """What can be tried with the dual point, the smallest proof first."""
    if isinstance(dual, DiagonalDual):
        _require_margins(columns)
        yield partial(_diagonal_bound, columns, dual)
        return
    if isinstance(dual, AxesDual) and isinstance(problem, Problem):
        dual = dual.dense(problem)
    if isinstance(dual, FrameDual):
        strengths = columns.columns.mean(dual.strengths)
        if columns.nonnegative and proof in ("auto", "diagonal") and np.isfinite(strengths).all():
            _require_margins(columns)
            # the end of a hinge's domain, V/(V−1), is a rounded number: once more from just inside
            for share in (1.0, 1.0 - 2.0**-50):
                yield partial(_diagonal_bound, columns, _admissible(columns, share * strengths))
            return
        dual = _spread(columns, strengths)
    if isinstance(dual, DualPoint):
        if not (np.isfinite(dual.residuals).all() and np.isfinite(dual.nonnegativity).all()):
            return
        dual = _single(dual)
    elif not all(np.isfinite(M.entries()).all() for M in (dual.V, dual.T) if M is not None):
        return
    V, T = dual.V, dual.T
    margins_alone = columns.loss.margins_only and not columns.bias.size
    if proof in ("auto", "diagonal") and columns.nonnegative and margins_alone:
        yield partial(_diagonal_bound, columns, _admissible(columns, _frame_strengths(columns, _on(columns, V))))
    if proof == "diagonal":
        return
    if isinstance(problem, Problem) and (proof == "dense" or columns.kind == "dense"):
        columns = ExactColumns.of_classes(problem)
    yield partial(_block_bound, columns, _on(columns, V), None if T is None else _on(columns, T, square=True))


def _require_margins(columns: ExactColumns) -> None:
    """Raise ``HypothesisError`` for strengths of a loss that sees more than a margin, while nothing is tried yet."""
    traits.require(columns.loss, ("margins_only",), fix="use the dense points, GramPoint and DualPoint.")


def _single(dual: DualPoint) -> Dual:
    """The point on single orbits."""
    V, m = (Orbits.single(size) for size in dual.residuals.shape)
    return Dual(Alike.matrix(V, m, dual.residuals), Alike.matrix(m, m, dual.nonnegativity))


def _spread(columns: ExactColumns, strengths: FloatArray) -> Dual:
    """The point of strengths q on the orbits, with what it asks of T."""
    V, m, q = columns.outputs, columns.columns, strengths
    others = Alike.matrix(V, m, np.tile(q / columns.num_outputs, (V.size, 1)))
    pulls = columns.weights * columns.counts / columns.num_samples * q
    T = Alike.matrix(m, m, np.outer(pulls, pulls) / columns.num_outputs).without_diagonal()
    return Dual(others - Alike.matched(V, m, np.array(columns.places)).scaled(None, q), T)


def _on(columns: ExactColumns, matrix: Alike, *, square: bool = False) -> Alike:
    """The matrix on the orbits of the columns: its mean over the symmetry if it is one of single orbits."""
    rows, cols = columns.columns if square else columns.outputs, columns.columns
    same = alike_orbits(rows, matrix.rows) and alike_orbits(cols, matrix.cols)
    plain = (matrix.rows.plain and matrix.cols.plain) or (rows.plain and cols.plain)
    if same:
        return Alike(rows, cols, matrix.even, matrix.extra, matrix.spread)
    if not plain or (matrix.rows.length, matrix.cols.length) != (rows.length, cols.length):
        raise ShapeError(
            f"the dual point has {matrix.rows.size} × {matrix.cols.size} orbits of {matrix.rows.length} × "
            f"{matrix.cols.length} indices.",
            expected=f"single ones, or the {rows.size} × {cols.size} orbits of the problem, of {rows.length} × "
            f"{cols.length} indices",
            fix="make it on the columns of this problem.",
        )
    return Alike.mean(rows, cols, matrix.full())


def _frame_strengths(columns: ExactColumns, V: Alike) -> FloatArray:
    """Strengths q: −q (e_k − 1/V) is the mean of v_k over permutations of the other classes and over alike classes.

    Neither mean lengthens u_k nor lowers −l*, since l* is convex and a margin loss invariant under both.
    """
    _, others = columns.own_and_others(V)
    sums: FloatArray = columns.outputs.numbers @ others - others[columns.places, np.arange(columns.size)]
    return sums * (columns.num_outputs / (columns.num_outputs - 1.0))


def _admissible(columns: ExactColumns, strengths: FloatArray) -> DiagonalDual:
    """Each q lowered until ω² n q² (V−1) ≤ N² λ_W λ_H V holds exactly."""
    V, N = columns.num_outputs, columns.num_samples
    shares = columns.weights * columns.counts / N
    decays = math.sqrt(columns.lambda_w) * math.sqrt(columns.lambda_h)
    radii = decays * np.sqrt(columns.counts * (V / (V - 1))) / shares
    lowered = np.clip(strengths, 0.0, radii)  # right to a few units in the last place, which the loop takes off
    weights, counts = ExactVector.of_floats(columns.weights), columns.counts.tolist()
    bound = fraction(columns.lambda_w) * fraction(columns.lambda_h) * Fraction(N**2 * V, V - 1)
    doubtful = list(range(columns.size))
    while doubtful:
        exact = ExactVector.of_floats(lowered[doubtful])
        limit = math.floor(bound / Fraction(4) ** (exact.exponent + weights.exponent))
        pairs = zip(doubtful, exact.integers, strict=True)
        doubtful = [g for g, q in pairs if (weights.integers[g] * q) ** 2 * counts[g] > limit]
        lowered[doubtful] = np.nextafter(lowered[doubtful], 0.0)
    return DiagonalDual(ExactVector.of_floats(lowered))


def _diagonal_bound(columns: ExactColumns, proof: DiagonalDual) -> ProvedBound:
    """The dual value at admissible strengths."""
    from flint import arb

    loads, strengths = columns.loads(), proof.strengths
    V = columns.num_outputs
    conjugates = columns.loss.enclose_margin_conjugates(strengths.integers, strengths.exponent, V)
    total = arb(0)
    multiplicities = columns.multiplicities.tolist()
    for load, multiplicity, conjugate in zip(loads.integers, multiplicities, conjugates, strict=True):
        total -= load * multiplicity * conjugate
    total *= arb(power(loads.exponent) / columns.num_samples)
    total -= columns.bias.enclose_support(_frame_sums(columns, strengths), columns.output_sizes)
    return below(total, "diagonal", proof)


def _frame_sums(columns: ExactColumns, strengths: ExactVector) -> list[fmpq]:
    """U1 at v_k = −q_k (e_k − 1/V), exactly: the mean of the pt_l q_l minus that of the own columns; one an orbit."""
    if not columns.bias.size:
        return []
    loads = columns.loads()
    pulls = [load * q for load, q in zip(loads.integers, strengths.integers, strict=True)]
    total = sum(pull * multiplicity for pull, multiplicity in zip(pulls, columns.multiplicities.tolist(), strict=True))
    unit = power(loads.exponent + strengths.exponent) / columns.num_samples
    own = [0] * columns.outputs.size
    for place, pull in zip(columns.places, pulls, strict=True):
        own[place] += pull
    return [(rational(total) / columns.num_outputs - pull) * unit for pull in own]


def _block_bound(columns: ExactColumns, V: Alike, T: Alike | None) -> ProvedBound | None:
    """The dual value at the point that a group or dense slack proof was found for."""
    from ufm_convex.enclosure import slack

    def multiplier() -> FloatArray:
        if T is None:
            return np.zeros((columns.size, columns.size))
        weights = columns.weights * columns.counts / columns.num_samples
        balanced = columns.bias.needs_balance and not columns.bias.curvature
        shares = np.full(columns.size, 1.0 / columns.num_samples) if balanced else weights
        found: FloatArray = T.even / np.outer(shares, shares)
        np.fill_diagonal(found, np.where(columns.columns.places > 1, np.diag(found), 0.0))
        return found

    large = columns.kind == "dense" and columns.size >= _LARGE
    exact = slack.prove(columns, columns.kind, V, multiplier, coarse=large)
    return None if exact is None else _bound_at(columns, exact)


def shorter_bound(problem: Problem, found: ProvedBound, margin: float) -> ProvedBound:
    """The bound of nearly the same dual point in shorter integers, lower by about half the margin of the penalties.

    Args:
        problem: The problem.
        found: A bound with the exact point behind it.
        margin: The share of D that may be given up.

    Returns:
        The bound, lower than the one that is given; or that one, where it is of another kind, no shorter, or lower by
        more than the margin of itself, twice what it costs.
    """
    from ufm_convex.enclosure import slack
    from ufm_convex.verifier.precision import working_precision

    columns = ExactColumns.of_classes(problem)
    if not isinstance(found.exact_point, BlockDual) or found.proof != "dense":
        return found
    exact = slack.shorten(columns, found.exact_point, margin)
    if exact is None:
        return found
    with working_precision(PRECISION):
        try:
            near = _bound_at(columns, exact)
            return near if near.value >= (1.0 - margin) * found.value else found
        except ValueError:  # exact tests refused a domain, at whose end a column lies
            return found


def _bound_at(columns: ExactColumns, exact: BlockDual) -> ProvedBound:
    """The dual value at a point whose slack is proved."""
    from ufm_convex.enclosure import fast

    total = fast.dual_value(columns, exact)
    if total is None:
        total = _dual_value(columns, exact)
    if columns.bias.size:
        total -= columns.bias.enclose_support(exact.sums(columns), columns.output_sizes)
    return below(total, columns.kind, exact)


def _dual_value(columns: ExactColumns, exact: BlockDual) -> arb:
    """−Σ pt_k l_k*(v_k) in balls, entry by entry."""
    from flint import arb

    total = arb(0)
    weights = zip(columns.shares(), columns.multiplicities.tolist(), strict=True)
    for j, ((share, multiplicity), entries) in enumerate(zip(weights, exact.entries(columns), strict=True)):
        total -= arb(share) * multiplicity * columns.loss.enclose_conjugate(entries, columns.column(j))
    return total


def _trivial_bound(columns: ExactColumns) -> ProvedBound:
    """The dual value of V = 0."""
    from flint import arb, fmpq

    if columns.loss.margins_only:
        strengths = DiagonalDual(ExactVector([0] * columns.size, 0))
        return replace(_diagonal_bound(columns, strengths), proof="trivial")
    total = arb(0)
    for j, (share, multiplicity) in enumerate(zip(columns.shares(), columns.multiplicities.tolist(), strict=True)):
        zeros = columns.entries(j, [fmpq(0)] * columns.outputs.size, fmpq(0))
        total -= arb(share) * multiplicity * columns.loss.enclose_conjugate(zeros, columns.column(j))
    return below(total, "trivial", BlockDual.zero(columns))

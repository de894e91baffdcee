"""From a point of the relaxation to an actual classifier and actual features, at any level.

``recoveries`` factors B = H Hᵀ with H ≥ 0 where features are non-negative, takes the W that is best for these logits
(W = L B⁺ H has W Hᵀ = L and W Wᵀ ⪯ A), and descends. For free features the best W and H for given logits come from a
singular value decomposition, and descent is only the second try. Nothing is claimed for the end but the objective
there, an upper bound (docs/kkt.md, section 5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ufm_convex import _deadline
from ufm_convex.recovery import starts
from ufm_convex.recovery.admission import admitted
from ufm_convex.recovery.descending import balanced, descend, escape, steepness
from ufm_convex.recovery.noise import noise
from ufm_convex.recovery.scaled import Entries
from ufm_convex.relaxation import Alike, Columns, Factors, Gram, objective

_STATIONARY = 1e-6
"""Gradient, relative to the variables, below which a start is tried as it is: descent would gain the square of it."""
_CUT = 1e-3
"""Features shorter than this share of the longest get no classifier of their own before descent."""
_LEAST = 1e-9
"""The same where every feature needs one: what is shorter is noise."""
_STAGES, _LAST_STAGE = (200, 300, 1000), 6000
"""Iterations of the stages of a descent; before each, features at zero that would lower the objective are let go."""


@dataclass(frozen=True, eq=False)
class Recovered:
    """Factors and what is known of them.

    Attributes:
        factors: W, H and b; H ≥ 0 where the problem asks for it.
        objective: f(W, H, b): an upper bound of the optimum, in floating point.
        residual: Relative distance of their Gram matrices to the point they were recovered from, in the units of the
            penalty; of the order of the square root of that point's accuracy.
        rank: Dimensions that the features use, up to noise.
    """

    factors: Factors
    objective: float
    residual: float
    rank: int


def recoveries(columns: Columns, point: Gram, own: Factors | None = None, thorough: bool = True) -> Iterator[Recovered]:
    """Factors from a point of the relaxation, which need not be feasible.

    Lazy, the likeliest start first: the caller stops when the gap is closed. Where a descent ends with features at zero
    that would lower the objective, it goes on from there: such ends are saddles, and a rough point leads to them.

    Args:
        columns: Columns of any level.
        point: The point.
        own: What the solver itself worked on, if it did; tried first.
        thorough: Whether to go on where a better point from the solver might be the cheaper way.
    """
    if own is not None:
        yield summary(columns, own, point)
    if not columns.nonnegative:
        found = balanced(columns, point.logits, point.bias)
        yield summary(columns, found, point)
        yield from _descents(columns, found, point, thorough)
        return
    units = np.sqrt(columns.lambda_h * columns.feature_weights)
    B = (0.5 * (point.B + point.B.T)).scaled(units, units)
    for start in starts.nonnegative(B):
        # features without a classifier of their own have none of the margins of an indicator
        cut = _CUT if columns.loss.indicator is None else _LEAST
        W = starts.classifier(point.logits.scaled(None, units), start, cut)
        found = Factors(W, start.scaled(1.0 / units), point.bias)
        if columns.loss.indicator is None and steepness(columns, found) <= _STATIONARY:
            yield summary(columns, found, point)
        yield from _descents(columns, found, point, thorough)


def undescended(columns: Columns, point: Gram) -> Iterator[Factors]:
    """W and H behind a point as it is: what ``recoveries`` starts from, without any descent.

    For judging: descent would mend what is to be judged. The first pair has exactly the point's logits: for free
    features the smallest factors, else the smallest on an orthogonal frame, where noise in short ones is harmless.
    """
    if not columns.nonnegative:
        yield balanced(columns, point.logits, point.bias)
        return
    sort, d = columns.columns, starts.coordinates(columns.columns)
    ratio = math.sqrt(columns.lambda_w) / math.sqrt(columns.lambda_h) / np.sqrt(columns.feature_weights)
    eta = np.sqrt(ratio * np.sqrt(point.logits.column_squares()))
    W = point.logits.scaled(None, 1.0 / np.where(eta > 0.0, eta, 1.0))
    frame = Alike.diagonal(sort, eta)
    yield Factors(Alike(W.rows, d, W.even, W.extra), Alike(sort, d, frame.even, frame.extra), point.bias)
    units = np.sqrt(columns.lambda_h * columns.feature_weights)
    for start in starts.nonnegative((0.5 * (point.B + point.B.T)).scaled(units, units)):
        W = starts.classifier(point.logits.scaled(None, units), start, _CUT)
        yield Factors(W, start.scaled(1.0 / units), point.bias)


def _descents(columns: Columns, found: Factors, point: Gram, thorough: bool) -> Iterator[Recovered]:
    """The ends of descents in stages, because the caller stops as soon as the gap is closed."""
    # from a frame on orbits a descent stays on frames, where it meets no other local minimum than the best one
    fixed = None
    entries = Entries(columns.columns, found.H.cols).vector(found.H)
    if columns.nonnegative and not columns.columns.plain and np.count_nonzero(entries) <= columns.columns.size:
        fixed = entries == 0.0
    if not columns.loss.differentiable:  # in rounds of its own
        yield summary(columns, descend(columns, found, _STAGES[-1], fixed)[0], point)
        return
    for iterations in (*_STAGES, _LAST_STAGE) if thorough else _STAGES:
        moved = escape(columns, found)
        if moved is not None and fixed is not None:
            fixed &= Entries(columns.columns, moved.H.cols).vector(moved.H) == 0.0
        found, steps = descend(columns, moved or found, iterations, fixed)
        yield summary(columns, found, point)
        if _deadline.passed():
            return
        # one step without a gain ends a stage, too, and far from a stationary point the next one gains again
        if steps < iterations and steepness(columns, found) <= _STATIONARY and escape(columns, found) is None:
            return


def summary(columns: Columns, factors: Factors, point: Gram) -> Recovered:
    """The record of the factors, made admissible, with their distance to the point and their rank."""
    factors = admitted(columns, factors)
    rows = np.full(columns.outputs.size, math.sqrt(columns.lambda_w))
    features = np.sqrt(columns.lambda_h * columns.feature_weights)
    found, wanted = factors.gram().scaled(rows, features), point.scaled(rows, features)
    difference, size = found - wanted, max(found.inner(found), wanted.inner(wanted))
    nothing = Factors(factors.W * 0.0, factors.H * 0.0, factors.bias)
    value, without = objective(columns, factors), objective(columns, nothing)
    residual = math.sqrt(max(difference.inner(difference), 0.0) / size) if size > 0.0 else 0.0
    return Recovered(factors, value, residual, _rank(factors.H.scaled(features), value, without))


def _rank(scaled: Alike, value: float, without: float) -> int:
    """Directions of the features whose penalty, taken together over a kind, is above the noise."""
    repeats = scaled.rows.symmetry[scaled.rows.large] - 1
    trivial = starts.singular(scaled.trivial)[1] ** 2
    standard = repeats[:, None] * np.linalg.svd(scaled.standard, compute_uv=False) ** 2
    cut = noise(value, without, float(trivial.sum() + standard.sum()))
    return int((trivial > cut).sum() + repeats @ (standard > cut).sum(axis=1))

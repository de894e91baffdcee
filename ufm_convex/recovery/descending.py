"""Descent on W, H and b at any level, the smallest factors of given logits, and the ways out of saddles.

Descent repairs the square-root loss of accuracy between a solver's value and its Gram matrix; nothing is claimed for
its end but the objective there. An indicator has nothing to descend on: its factors are stretched until they are
admissible.

Shapes: as in ``relaxation``.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray
from ufm_convex.losses.base import Indicator
from ufm_convex.recovery.scaled import Penalised, Scaled
from ufm_convex.recovery.starts import coordinates
from ufm_convex.relaxation import Alike, Columns, Factors, Orbits, objective

_GRADIENT = 1e-10
_STARTS, _SPREAD, _STEPS = 5, 0.5, 300
_ABOVE = 1e-6
"""Excess of a singular value of P over 1 that is worth an escape."""
_STEP = 0.1
"""Length of a reactivated feature, in units of the length at margin one."""


def descend(
    columns: Columns, factors: Factors, iterations: int = 2000, fixed: BoolArray | None = None
) -> tuple[Factors, int]:
    """Factors no worse than the given ones, with H ≥ 0 where the problem asks for it, and the iterations taken.

    For an indicator the factors themselves, if a stretch makes them admissible; else those that a growing penalty
    leads to.

    Args:
        columns: Columns of any level.
        factors: Where to start.
        iterations: Limit.
        fixed: Entries of H, in the order of ``Entries``, that stay zero.
    """
    indicator = columns.loss.indicator
    if indicator is not None:
        outputs = columns.outputs_of(factors.logits, factors.bias).entries()
        stretch = indicator.stretch(outputs, columns.layout, np.zeros(outputs.shape))
        return (factors, 0) if np.isfinite(stretch).all() else (_approached(columns, indicator, factors), 0)
    scaled = Scaled(columns, factors.W.cols)
    start = scaled.pack(factors)
    flat, steps = scaled.minimise(start, iterations, _GRADIENT, fixed)
    found = scaled.unpack(flat)
    if found.bias is not None:
        found = replace(found, bias=columns.bias.canonical(found.bias))
    given = replace(factors, H=factors.H.map(_positive)) if columns.nonnegative else factors
    return (found if objective(columns, found) <= objective(columns, given) else given), steps


def steepness(columns: Columns, factors: Factors) -> float:
    """Norm of the projected gradient over the norm of the scaled variables; 0 at W = H = 0."""
    scaled = Scaled(columns, factors.W.cols)
    return scaled.steepness(scaled.pack(factors))


def balanced(columns: Columns, logits: Alike, bias: FloatArray | None) -> Factors:
    """The smallest free W and H with W Hᵀ = L: X = L Diag(√ν) = Q Σ Vᵀ is shared out as √Σ to each.

    Their penalty is √(λ_W λ_H) ‖X‖_*, the least for these logits (Recht, Fazel, Parrilo, SIAM Rev. 52, 2010).
    Coordinates are those of the smaller side, which its own singular vectors rotate: W = Q √Σ Rᵀ.
    """
    root = np.sqrt(columns.feature_weights)
    X = logits.scaled(None, root)
    ratio = math.sqrt(math.sqrt(columns.lambda_h)) / math.sqrt(math.sqrt(columns.lambda_w))
    wide = X.rows.size < X.cols.size
    d = coordinates(X.rows if wide else X.cols)
    W, H = [], []
    for block in (X.trivial, X.standard):
        left, values, right = np.linalg.svd(block, full_matrices=False)
        turn = np.swapaxes(left, -1, -2) if wide else right
        share = np.sqrt(values)[..., None, :]
        W.append((left * share) @ turn)
        H.append((np.swapaxes(right, -1, -2) * share) @ turn)
    return Factors(
        ratio * Alike.from_blocks(X.rows, d, W[0], W[1]),
        Alike.from_blocks(X.cols, d, H[0], H[1]).scaled(1.0 / (ratio * root)),
        bias,
    )


def admitted(columns: Columns, factors: Factors) -> Factors:
    """The factors as they are, or, for an indicator, stretched until it is 0 in spite of rounding.

    Each feature is stretched, or shrunk, until its logits are tight, and the two penalties of each orbit of coordinates
    are made equal. Where no multiple of a column is admissible nothing changes, and the objective is infinite. Problems
    have no bias beside an indicator.
    """
    indicator = columns.loss.indicator
    if indicator is None:
        return factors
    W, H, d = factors.W, factors.H, factors.W.cols
    # sums of products by blocks and by entries: 4 (d + 4) roundings of each, d the different coordinates
    unit = 16.0 * (d.size + 4) * np.finfo(float).eps
    for balance in (True, False):
        logits, size = (W @ H.T).entries(), (W.map(np.abs) @ H.map(np.abs).T).entries()
        stretch = indicator.stretch(logits, columns.layout, unit * size)
        if not np.isfinite(stretch).all():
            return factors
        H = H.scaled(stretch)
        if balance:
            penalty_w = columns.lambda_w * W.column_squares()
            penalty_h = columns.lambda_h * H.scaled(np.sqrt(columns.feature_weights)).column_squares()
            used = (penalty_w > 0.0) & (penalty_h > 0.0)
            share = np.where(used, (penalty_h / np.where(used, penalty_w, 1.0)) ** 0.25, 0.0)
            W, H = W.scaled(None, share), H.scaled(None, np.where(used, 1.0 / np.where(used, share, 1.0), 0.0))
    return Factors(W, H, factors.bias)


def escape(columns: Columns, factors: Factors) -> Factors | None:
    """The factors with features added along which the objective falls; None at a point that has none.

    A pair P r = s l with s > 1 lowers the objective by ε² (s − 1) along h + ε r cᵀ, w − ε l cᵀ, in a coordinate c that
    is not in use. With H ≥ 0 the vectors r are those of single columns, each in the coordinate matched with it; with
    features free, right singular vectors. Needs one coordinate a column, and a gradient: at a kink P is not determined.
    """
    m, d = columns.columns, factors.H.cols
    if not columns.loss.differentiable or not np.array_equal(m.kinds, d.kinds) or m.repeated:
        return None
    features = np.sqrt(columns.lambda_h * columns.feature_weights)
    P = Scaled(columns, d).pull(factors)
    length = _STEP * np.sqrt(np.minimum(columns.sigma, columns.loss_weights))
    identity = Alike.diagonal(m, np.ones(m.size))
    here = Alike(m, d, identity.even, identity.extra)
    if columns.nonnegative:
        norms = np.sqrt(P.column_squares())
        own = Alike(m, m, factors.H.even, factors.H.extra).own()
        weak = (norms > 1.0 + _ABOVE) & (features * own < length)
        step = np.where(weak, length, 0.0)
        by_w = Alike(P.rows, d, P.even, P.extra).scaled(None, -step / np.where(weak, norms, 1.0))
        by_h = here.scaled(step)
    else:
        moved = _along_singular_pairs(P, factors.H.scaled(features), d, float(length.max()))
        if moved is None:
            return None
        by_w, by_h = moved
        weak = np.ones(1, dtype=np.bool_)
    if not weak.any():
        return None
    W = factors.W + (1.0 / math.sqrt(columns.lambda_w)) * by_w
    return Factors(W, factors.H + by_h.scaled(1.0 / features), factors.bias)


def _along_singular_pairs(P: Alike, h: Alike, d: Orbits, length: float) -> tuple[Alike, Alike] | None:
    """What is added to w and h along the pairs with singular values above 1 that h does not reach; None without any."""
    by_w, by_h, found = [], [], False
    for block, reached in ((P.trivial, h.trivial), (P.standard, h.standard)):
        left, values, right = np.linalg.svd(block, full_matrices=False)
        lengths = np.linalg.norm(right @ reached, axis=-1)
        step = np.where((values > 1.0 + _ABOVE) & (lengths < length), length, 0.0)
        found = found or bool(step.any())
        by_w.append(-(left * step[..., None, :]) @ right)
        by_h.append((np.swapaxes(right, -1, -2) * step[..., None, :]) @ right)
    if not found:
        return None
    return Alike.from_blocks(P.rows, d, by_w[0], by_w[1]), Alike.from_blocks(P.cols, d, by_h[0], by_h[1])


def _approached(columns: Columns, loss: Indicator, factors: Factors) -> Factors:
    """The best of a few points that are nearly admissible, by a growing penalty, or the factors where there is none.

    With too few dimensions features must share them, and features at zero have no direction to begin with: starts are
    moved at random, always the same way.
    """
    generator, unit = np.random.default_rng(0), loss.unit(columns.outputs.total)
    scaled = Penalised(columns, factors.W.cols, loss, Penalised.weights[0], unit)
    best, lowest, root = factors, np.inf, math.sqrt(unit)
    begin, end = scaled.cuts
    for _ in range(_STARTS):
        flat = scaled.pack(Factors(factors.W * (1.0 / root), factors.H * (1.0 / root)))
        moves = _SPREAD * np.sqrt(np.mean(flat**2) + 1.0) * generator.standard_normal(flat.size)
        moves[begin:end] = np.abs(moves[begin:end]) if columns.nonnegative else moves[begin:end]
        flat = flat + moves
        for weight in Penalised.weights:
            flat, _ = replace(scaled, weight=weight).minimise(flat, _STEPS, gradient=1e-9)
        near = scaled.unpack(flat)
        bias = None if near.bias is None else unit * near.bias
        found = admitted(columns, Factors(root * near.W, root * near.H, bias))
        value = objective(columns, found)
        if value < lowest:
            best, lowest = found, value
    return best


def _positive(entries: FloatArray) -> FloatArray:
    return np.maximum(entries, 0.0)

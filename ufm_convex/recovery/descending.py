"""Descent on W, H and b at any level, the smallest factors of given logits, and the ways out of saddles.

Descent repairs the square-root loss of accuracy between a solver's value and its Gram matrix; nothing is claimed for
its end but the objective there.

Shapes: as in ``relaxation``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray
from ufm_convex.recovery.multipliers import multiplied
from ufm_convex.recovery.scaled import Scaled
from ufm_convex.recovery.starts import coordinates
from ufm_convex.relaxation import Alike, Columns, Factors, Orbits, objective

_GRADIENT = 1e-10
_ABOVE = 1e-6
"""Excess of a singular value of P over 1 that is worth an escape."""
_STEP = 0.1
"""Length of a reactivated feature, in units of the length at margin one."""


def descend(
    columns: Columns,
    factors: Factors,
    iterations: int = 2000,
    fixed: BoolArray | None = None,
    enough: Callable[[Factors], bool] | None = None,
) -> tuple[Factors, int]:
    """Factors no worse than the given ones, with H ≥ 0 where the problem asks for it, and the iterations taken.

    Where the loss has kinks, or is an indicator, the descent is that of ``multipliers``, in rounds.

    Args:
        columns: Columns of any level.
        factors: Where to start.
        iterations: Limit, of a round where there are several.
        fixed: Entries of H, in the order of ``Entries``, that stay zero.
        enough: Asked now and then whether to stop there; never of a loss with kinks.
    """
    if not columns.loss.differentiable:
        return multiplied(columns, factors, iterations, fixed)
    scaled = Scaled(columns, factors.W.cols)
    start = scaled.pack(factors)
    ask = None if enough is None else (lambda flat: enough(scaled.unpack(flat)))
    flat, steps = scaled.minimise(start, iterations, _GRADIENT, fixed, ask)
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


def _positive(entries: FloatArray) -> FloatArray:
    return np.maximum(entries, 0.0)

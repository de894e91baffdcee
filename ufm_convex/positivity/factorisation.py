"""The completely positive matrix nearest to a given one, by descent on its factor.

Minimising ¼ ‖F Fᵀ − B‖² over F ≥ 0 has spurious minima only for want of columns: with C = F Fᵀ − B at a stationary
point, adding the column √t b changes the value by t/2 bᵀCb + t²/4 ‖b‖⁴, so an end is global iff C is copositive, and
a direction b ≥ 0 with bᵀCb < 0 leads on. The least such form is found on all supports for K ≤ 12
(``copositivity.lowest_direction``); beyond, a few starts are made. At the global end C is a witness that separates
B from the cone (Moreau). Groetzner, Dür, Linear Algebra Appl. 591, 2020, factor by alternating projections instead.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.positivity.copositivity import LARGEST, lowest_direction

_ROUNDS = 40
_STARTS = 4
_FLAT = 1e-10
_DEPTH = 1e-4
"""A least form of C above minus the first, or one that costs the witness no more than the second share of its depth,
counts as copositive; in units of ‖B‖."""
_STALLED = 1e-6
"""A column that lowers the distance by no more than this share was the last."""
_SHORT = 1e-12
"""Entries of F below this share of the largest are put to zero."""


def nearest(gram: FloatArray, enough: float, start: FloatArray | None = None, rounds: int = _ROUNDS) -> FloatArray:
    """F ≥ 0, (K, r), with F Fᵀ near ``gram``; the global minimum up to rounding for K ≤ 12.

    Args:
        gram: B, (K, K) symmetric.
        enough: Relative distance at which to stop.
        start: A factor to begin with.
        rounds: How often a column is added, at most.
    """
    K, norm = gram.shape[0], float(np.linalg.norm(gram))
    if norm == 0.0:
        return np.zeros((K, 1))
    B = gram / norm
    if start is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # a start beyond the range is just not near
            near = _distance(B, start / np.sqrt(norm)) <= enough
        if near:
            return start
    best = _descend(B, _spectral(B))
    generator = np.random.default_rng(0)
    for _ in range(rounds if K <= LARGEST else _STARTS):
        if _distance(B, best) <= enough:
            break
        if K <= LARGEST:
            wider, before = _extended(B, best), _distance(B, best)
            if wider is None:
                break
            best = _descend(B, wider)
            if _distance(B, best) > before * (1.0 - _STALLED):
                break
        else:
            drawn = _descend(B, generator.random((K, 2 * K)) / K)
            best = min(best, drawn, key=partial(_distance, B))
    return best * np.sqrt(norm)


def _distance(B: FloatArray, F: FloatArray) -> float:
    return float(np.linalg.norm(F @ F.T - B))


def _spectral(B: FloatArray) -> FloatArray:
    """|V √λ| with negative eigenvalues dropped, and one column a class besides, (K, 2K)."""
    values, vectors = np.linalg.eigh(B)
    root = np.abs(vectors * np.sqrt(np.maximum(values, 0.0)))
    lengths: FloatArray = np.sqrt(np.maximum(np.diag(B), 0.0))
    return np.hstack([root, np.diag(0.5 * lengths)])


def _descend(B: FloatArray, start: FloatArray) -> FloatArray:
    """A local minimum from ``start``, without columns and entries that are zero up to rounding."""
    from scipy.optimize import minimize

    def value_and_gradient(flat: FloatArray) -> tuple[float, FloatArray]:
        F = flat.reshape(start.shape)
        residual = F @ F.T - B
        return 0.25 * float((residual * residual).sum()), (residual @ F).ravel()

    options = {"maxiter": 2_000, "maxfun": 4_000, "ftol": 1e-30, "gtol": 1e-13, "maxcor": 20}
    bounds = [(0.0, None)] * start.size
    found = minimize(value_and_gradient, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    F: FloatArray = np.maximum(found.x, 0.0).reshape(start.shape)
    shortest = _SHORT * F.max(initial=0.0)
    F = np.where(shortest < F, F, 0.0)
    kept = F.any(axis=0)
    return F[:, kept] if kept.any() else F[:, :1]


def _extended(B: FloatArray, F: FloatArray) -> FloatArray | None:
    """F with the column that lowers the distance most along the lowest direction; None where it is the minimum."""
    C = F @ F.T - B
    least, direction = lowest_direction(C)
    # C − least · I is copositive, and <C, B> = −‖C‖² at a stationary point
    enough = max(_FLAT, _DEPTH * float((C * C).sum()) / float(np.trace(B)))
    return None if least >= -enough else np.column_stack([F, np.sqrt(-least) * direction])

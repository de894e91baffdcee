"""What factors promise to prove: a feasible dual point near their residuals, found by blocks and held by nothing.

Made for free features. It is a reason to stop a descent and no bound: the proof judges the end (docs/factored.md,
section 3).

Shapes: as in ``relaxation``.
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.relaxation import Alike, Columns, Factors, dual_value, objective, scaled_residuals

_ACTIVE = 1e-3
"""Singular values of U D^(-1/2) from 1 minus this on count as 1."""


def restored(columns: Columns, logits: Alike, bias: FloatArray | None) -> Alike:
    """V at logits and a bias, feasible up to rounding: the repair of ``duality``, once.

    Singular values of U D^{-1/2} above and next to 1 are put to 1; V is taken back into its domain and shrunk.
    """
    V = columns.residuals(columns.outputs_of(logits, bias))
    if bias is not None:
        V = columns.projected(V, bias)
    P = scaled_residuals(columns, V)
    blocks = (block + _raised(block) for block in (P.trivial, P.standard))
    P = Alike.from_blocks(P.rows, P.cols, *blocks)
    V = columns.admitted(columns.into_domain(P.scaled(None, columns.sigma / columns.loss_weights)))
    norm = largest_singular(scaled_residuals(columns, V))
    return V if norm <= 1.0 else (1.0 / norm) * V


def promised_gap(columns: Columns, factors: Factors, floor: float = 0.0) -> float:
    """The gap between the factors and the dual point near them, relative to the excess over a floor; in binary64."""
    value = objective(columns, factors)
    gap, excess = value - dual_value(columns, restored(columns, factors.logits, factors.bias)), value - floor
    return gap / excess if excess > 0.0 else math.inf


def largest_singular(P: Alike) -> float:
    """‖P‖ from the smaller side, to half a unit of the last place of its square."""
    wide = P.rows.size < P.cols.size
    return math.sqrt(max(float((P @ P.T if wide else P.T @ P).eigenvalues().max()), 0.0))


def right_pairs(block: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Singular values of a block, or of a stack, and right singular vectors, from its Gram matrix."""
    squares, right = np.linalg.eigh(np.swapaxes(block, -1, -2) @ block)
    return np.sqrt(np.maximum(squares, 0.0)), right


def _raised(block: FloatArray) -> FloatArray:
    """What changes where singular values from 1 − ``_ACTIVE`` on become 1."""
    values, right = right_pairs(block)
    active = values >= 1.0 - _ACTIVE
    change = np.where(active, 1.0 / np.where(active, values, 1.0) - 1.0, 0.0)
    if block.ndim == 2:  # one matrix: only the directions that change
        chosen = right[:, active]
        return np.asarray(((block @ chosen) * change[active]) @ chosen.T)
    return np.asarray((block @ (right * change[..., None, :])) @ np.swapaxes(right, -1, -2))

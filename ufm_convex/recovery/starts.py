"""Features with given inner products, and the classifier that goes with them: where descents begin.

Shapes: as in ``relaxation``; the coordinates have the kinds of the columns, one coordinate a column.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import FloatArray
from ufm_convex.recovery.scaled import Entries, stop_in_time
from ufm_convex.relaxation import Alike, Columns, Orbits

_DIAGONAL = 1e-2
"""Cosines below it are noise of a loose solve: one start is enough."""
_SHORT = 0.1
"""Features shorter than this share of the longest are measured as if they had it: what they lack is noise."""
_SPREAD = 0.1
_RANDOM_STARTS = 2
_DOUBLINGS, _HALVINGS = 64, 8
"""Of the length of a ray: a start is as good as 1 in 2⁸."""
_STEPS = 500


def coordinates(columns: Orbits) -> Orbits:
    """One coordinate a column, matched with it."""
    whole = columns.extent is None and not columns.repeated
    return Orbits.of(columns.symmetry, columns.kinds, order=columns.order if whole else None)


def rays(columns: Columns) -> Alike:
    """Logits on the rays −∇l(0), each about as long as is best for a column on its own; 0 where none pays."""
    zero = Alike.zeros(columns.outputs, columns.columns)
    gradient = columns.residuals(zero)
    norms, price = np.sqrt(gradient.column_squares()), columns.sigma / columns.loss_weights
    pays = norms > price
    ray = gradient.scaled(None, np.where(pays, -1.0 / np.where(pays, norms, 1.0), 0.0))
    entries, numbers = ray.entries(), columns.layout.numbers

    def excess(lengths: FloatArray) -> FloatArray:
        found = columns.loss.residuals(entries * lengths, columns.layout)
        return np.asarray(-(numbers * found * entries).sum(axis=0) - price)

    low, high = np.zeros(pays.size), np.ones(pays.size)
    for _ in range(_DOUBLINGS):
        short = excess(high) > 0.0
        if not short.any():
            break
        low, high = np.where(short, high, low), np.where(short, 2.0 * high, high)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        above = excess(middle) > 0.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return ray.scaled(None, high)


def nonnegative(B: Alike) -> Iterator[Alike]:
    """Non-negative H with H Hᵀ near B: one column a coordinate, then, unless B is diagonal, factorisations of B.

    B is factored in units of its own diagonal, in which a cosine counts as much between short features as between long.
    """
    sort, d = B.rows, coordinates(B.rows)
    lengths = np.sqrt(np.maximum(B.own(), 0.0))
    frame = Alike.diagonal(sort, lengths)
    frame = Alike(sort, d, frame.even, frame.extra)
    yield frame
    units = np.maximum(lengths, _SHORT * float(lengths.max()))
    if units.max() == 0.0:
        return
    cosines, begin = B.scaled(1.0 / units, 1.0 / units), frame.scaled(1.0 / units)
    if float(np.abs(cosines.without_diagonal().trivial).max()) <= _DIAGONAL:
        return
    yield factor(cosines, spectral(cosines, d).map(np.abs)).scaled(units)
    generator, entries = np.random.default_rng(0), Entries(sort, d)
    for _ in range(0 if _deadline.passed() else _RANDOM_STARTS):
        moved = begin + _SPREAD * entries.matrix(generator.random(entries.roots.size))
        yield factor(cosines, moved).scaled(units)


def spectral(B: Alike, d: Orbits) -> Alike:
    """V √λ by blocks with negative eigenvalues dropped, the largest first."""
    blocks = []
    for block in (B.trivial, B.standard):
        values, vectors = np.linalg.eigh(0.5 * (block + np.swapaxes(block, -1, -2)))
        blocks.append(vectors[..., ::-1] * np.sqrt(np.maximum(values[..., ::-1], 0.0))[..., None, :])
    return Alike.from_blocks(B.rows, d, blocks[0], blocks[1])


def factor(B: Alike, start: Alike) -> Alike:
    """Argmin over H ≥ 0 of ¼ ‖H Hᵀ − B‖², locally, from ``start``."""
    from scipy.optimize import minimize

    entries = Entries(start.rows, start.cols)

    def value_and_gradient(flat: FloatArray) -> tuple[float, FloatArray]:
        H = entries.matrix(flat / entries.roots)
        residual = H @ H.T - B
        return 0.25 * residual.inner(residual), entries.roots * entries.vector(residual @ H)

    begin = entries.vector(start) * entries.roots
    bounds = [(0.0, None)] * begin.size
    options = {"maxiter": _STEPS, "maxfun": 2 * _STEPS, "ftol": 1e-18, "gtol": 1e-12}
    stop = stop_in_time if _deadline.limits() else None
    found = minimize(
        value_and_gradient, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options, callback=stop
    )
    return entries.matrix(np.maximum(found.x, 0.0) / entries.roots)


def classifier(logits: Alike, H: Alike, cut: float) -> Alike:
    """W = L (Hᵀ)⁺: the smallest W whose logits are nearest to L; directions shorter than ``cut`` are cut off."""
    parts = [singular(np.swapaxes(block, -1, -2)) for block in (H.trivial, H.standard)]
    longest = max(float(values.max(initial=0.0)) for _, values, _ in parts)
    blocks = []
    for block, (left, values, right) in zip((logits.trivial, logits.standard), parts, strict=True):
        kept = values > cut * longest
        inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)[..., None, :]
        blocks.append(block @ ((np.swapaxes(right, -1, -2) * inverse) @ np.swapaxes(left, -1, -2)))
    return Alike.from_blocks(logits.rows, H.cols, blocks[0], blocks[1])


def singular(block: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The singular value decomposition of a block, or of a stack; that of a frame, in no order, costs nothing."""
    if block.ndim == 2 and block.shape[0] == block.shape[1]:
        diagonal = block.diagonal()
        if np.count_nonzero(block) == np.count_nonzero(diagonal) and float(diagonal.min(initial=0.0)) >= 0.0:
            identity = np.eye(len(block))
            return identity, diagonal, identity
    left, values, right = np.linalg.svd(block, full_matrices=False)
    return left, values, right

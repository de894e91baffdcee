"""All pairs of many vectors without an array of all pairs: sums in one pass over the vectors, extremes in blocks.

K × K numbers are 0.5 GB at K = 8,142 and 80 GB at K = 10⁵; the vectors themselves are K × d.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm_convex._arrays import FloatArray

BLOCK_ENTRIES = 1 << 18
"""Products in a block, 2 MB: few enough for the cache, enough rows (32 at K = 8,142) for a fast matrix product."""

_ARRAYS = 4
"""Parts into which a block is cut where a loss goes over it: some ten arrays of that size are in use at a time."""

_TILE_ROWS = 256
"""Rows of a square of products, 0.5 MB."""


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Consecutive slices of the rows of a (rows, width) array that is too large to be made at once."""
    step = max(1, BLOCK_ENTRIES // max(1, width))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def row_tiles(rows: int, width: int) -> Iterator[slice]:
    """The same in slices so small that all that a loss makes of one stays in the caches: three times as fast."""
    return row_blocks(rows, _ARRAYS * width)


def pair_products(rows: FloatArray) -> Iterator[FloatArray]:
    """The products x_k·x_l of all pairs k < l of rows (K, d), each once, in tiles that the caller may overwrite."""
    parts = [rows[start : start + _TILE_ROWS] for start in range(0, len(rows), _TILE_ROWS)]
    for k, part in enumerate(parts):
        yield (part @ part.T)[np.triu_indices(len(part), 1)]
        for other in parts[k + 1 :]:
            yield part @ other.T


def products_by_row(rows: FloatArray) -> FloatArray:
    """½ Σ_{l≠k} x_k·x_l for each of the rows (K, d), (K,): their sum is that of all pairs. O(K d).

    The rows before k and those after it are summed apart, so that x_k itself is never taken off a sum: for rows ≥ 0
    nothing cancels, and each number has a relative error of (K + d) roundings at most, √K as a rule.
    """
    before, after = np.zeros_like(rows), np.zeros_like(rows)
    np.cumsum(rows[:-1], axis=0, out=before[1:])
    np.cumsum(rows[:0:-1], axis=0, out=after[-2::-1])
    found: FloatArray = 0.5 * np.einsum("kj,kj->k", rows, before + after)
    return found


def largest_product(rows: FloatArray) -> float:
    """Largest x_k·x_l of two of the rows (K, d) ≥ 0; 0 where there are no two.

    By falling length: once the longest row that is left, times the next one, is no more than what was found, the
    rest is not looked at (Cauchy and Schwarz, with room for the roundings of d products).
    """
    lengths = np.linalg.norm(rows, axis=1)
    order = np.argsort(-lengths, kind="stable")
    rows, lengths, largest = rows[order], lengths[order], 0.0
    room = 1.0 + 4.0 * (rows.shape[1] + 4) * np.finfo(np.float64).eps
    for block in row_blocks(len(rows), len(rows)):
        if block.start and lengths[block.start] * lengths[min(block.start + 1, len(rows) - 1)] * room <= largest:
            break
        part = rows[block]
        inner = (part @ part.T)[np.triu_indices(len(part), 1)]
        outer = part @ rows[block.stop :].T
        largest = max(largest, *(float(found.max()) for found in (inner, outer) if found.size), 0.0)
    return largest

"""Features read in blocks of rows: what every pass over them shares, and the statistics of one pass.

A pass holds one block in binary64 and nothing of length N but the labels. Rows of a memory map that are done with are
given back to the system, so that the process does not grow to the size of the file.

Units: errors of the floating-point sums are bounded in docs/streaming_products.md, section 2, and docs/streaming.md,
section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray, frozen, whole
from ufm_convex._bits import in_order, order, widened
from ufm_convex.candidate.data import Candidate
from ufm_convex.candidate.files import release
from ufm_convex.errors import CandidateError, shown

Progress: TypeAlias = Callable[[int, int], object]
"""Called after each block with the rows done and the rows in all; what it raises ends the pass."""

LARGEST_SQUARE_NORM = 2.0**600
"""Rows with a larger ‖h‖² are refused, so that no product or sum of any pass overflows."""

_BLOCK_ENTRIES = 1 << 22  # 32 MB, in the larger of a block's features and logits
_BLOCK_ROWS = 1 << 14  # more does not make a matrix product faster
_RELEASE_BYTES = 1 << 27
_TILE_ENTRIES = 1 << 17  # that stay in cache
_OF_INFINITY = 0x7FF << 52  # its place in ``order``


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive rows of the features. The arrays are overwritten when the next block is asked for.

    Attributes:
        start: Index of the first row.
        labels: Class of each row, (m,).
        features: The rows in binary64 (exact), (m, d).
        square_norms: ‖h_i‖², (m,), each with relative error at most γ_d, and 3d · 2⁻¹⁰²² absolutely.
    """

    start: int
    labels: IntArray
    features: FloatArray
    square_norms: FloatArray


@dataclass
class NegativeEntries:
    """What a pass has seen of the sign of the features.

    Attributes:
        smallest: The smallest entry so far; +inf before the first block.
        place: Its (row, column).
        count: Entries < 0 so far (−0.0 is none).
    """

    smallest: float = np.inf
    place: tuple[int, int] = (-1, -1)
    count: int = 0
    _key: int = _OF_INFINITY

    def see(self, block: Block) -> None:
        """Take a block into account."""
        rows, d = block.features.shape
        step = max(1, _TILE_ENTRIES // d)
        for start in range(0, rows, step):
            keys = order(block.features[start : start + step])
            row, column = divmod(int(keys.argmin()), d)
            smallest = int(keys[row, column])
            if smallest < self._key:
                self._key, self.smallest = smallest, in_order(smallest)
                self.place = block.start + start + row, column
            if smallest < 0:
                self.count += int(np.count_nonzero(keys < 0))


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Floating-point statistics of a candidate's features; errors as in docs/streaming.md, section 6.

    Attributes:
        class_means: h̄_k, (K, d); 0 for a class without samples.
        class_square_norms: Σ ‖h_{k,i}‖² over the n_k samples of class k, (K,).
        smallest: The smallest entry of the features.
        smallest_at: Its (row, column).
        negative_entries: How many entries are < 0.
    """

    class_means: FloatArray
    class_square_norms: FloatArray
    smallest: float
    smallest_at: tuple[int, int]
    negative_entries: int


def feature_statistics(
    candidate: Candidate, *, progress: Progress | None = None, chunk: int | None = None
) -> FeatureStatistics:
    """Class means, squared norms and signs of the features in one pass.

    Args:
        candidate: The candidate.
        progress: Called after each block with (rows done, rows in all).
        chunk: Rows in a block; None chooses as many as take 32 MB.

    Raises:
        CandidateError: a feature is NaN, infinite or beyond 2³⁰⁰; the message names the first such row.
    """
    sums = np.zeros((candidate.num_classes, candidate.feature_dim))
    squares = np.zeros(candidate.num_classes)
    negative = NegativeEntries()
    for block in blocks(candidate, progress=progress, chunk=chunk):
        negative.see(block)
        squares += np.bincount(block.labels, block.square_norms, minlength=squares.size)
        order = np.argsort(block.labels, kind="stable")
        present, first = np.unique(block.labels[order], return_index=True)
        sums[present] += np.add.reduceat(block.features[order], first, axis=0)
    rows = np.bincount(candidate.labels, minlength=squares.size)  # rows of each class, not samples
    return FeatureStatistics(
        class_means=frozen(sums / np.maximum(rows, 1)[:, None]),
        class_square_norms=frozen(squares * candidate.multiplicities),
        smallest=negative.smallest,
        smallest_at=negative.place,
        negative_entries=negative.count,
    )


def blocks(candidate: Candidate, *, progress: Progress | None = None, chunk: int | None = None) -> Iterator[Block]:
    """The features in order, block by block, every entry checked.

    Args:
        candidate: The candidate.
        progress: Called after each block has been dealt with.
        chunk: Rows in a block; None chooses as many as take 32 MB.

    Raises:
        CandidateError: ``chunk`` is not a positive integer, or as ``feature_statistics``.
    """
    features, labels = candidate.features, candidate.labels
    total, d = features.shape
    rows = min(_chunk(chunk, candidate), total)
    buffer = np.empty((rows, d))
    unreleased = 0
    for start in range(0, total, rows):
        stop = min(start + rows, total)
        block = buffer[: stop - start]
        with np.errstate(all="ignore"):  # NaN and overflow are looked for below
            widened(features[start:stop], out=block)
            square_norms = np.einsum("ij,ij->i", block, block)
        _check_entries(block, square_norms, start)
        yield Block(start, labels[start:stop], block, square_norms)
        unreleased += block.size * features.itemsize
        if unreleased >= _RELEASE_BYTES:
            release(features)
            unreleased = 0
        if progress is not None:
            progress(stop, total)


def _chunk(chunk: int | None, candidate: Candidate) -> int:
    if chunk is None:
        widest = max(candidate.num_outputs, candidate.feature_dim)
        return max(1, min(_BLOCK_ROWS, _BLOCK_ENTRIES // widest))
    number = whole(chunk)
    if number is not None and number >= 1:
        return number
    raise CandidateError(
        f"chunk is {shown(chunk)}.", expected="None, or an integer >= 1", fix="leave it out to have it chosen."
    )


def _check_entries(block: FloatArray, square_norms: FloatArray, start: int) -> None:
    """Raise ``CandidateError`` unless all entries are finite and no row is too long."""
    suspicious = ~(square_norms <= LARGEST_SQUARE_NORM)  # true for NaN
    if not suspicious.any():
        return
    row = int(np.argmax(suspicious))
    odd = ~np.isfinite(block[row])
    column = int(np.argmax(odd if odd.any() else np.abs(block[row])))
    raise CandidateError(
        f"features[{start + row}, {column}] is {block[row, column]}.",
        expected="finite numbers of absolute value below 2**300",
        fix="remove or recompute that row; the rows before it are in order.",
    )

"""Factors in a given number of coordinates: padded, rotated, or narrowed and descended from.

With fewer coordinates than the features use the result is an upper bound and nothing more.

Shapes: as in ``relaxation``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.errors import DimensionError
from ufm_convex.recovery.descending import descend
from ufm_convex.recovery.noise import RANK_CUT
from ufm_convex.recovery.recovering import Recovered, summary
from ufm_convex.relaxation import Alike, Columns, Factors, Orbits, objective


def require_dimension(rank: int, feature_dim: int | None) -> None:
    """Raise ``DimensionError`` when d is smaller than the rank of the features."""
    if feature_dim is not None and feature_dim < rank:
        raise DimensionError(
            f"feature_dim is {feature_dim}, but the optimal features have rank {rank}.",
            expected=f"feature_dim >= {rank}",
            fix=f"with feature_dim={rank} the factors exist; below it the relaxation gives a lower bound only.",
        )


def used_coordinates(H: Alike) -> IntArray:
    """Orbits of coordinates on which some feature is not zero."""
    return np.flatnonzero(H.column_squares() > 0.0)


def needed(H: Alike, nonnegative: bool) -> int:
    """Dimensions that H needs exactly: coordinates that are not zero, or, with features free, a bound of its rank."""
    if nonnegative:
        return int(H.cols.numbers[used_coordinates(H)].sum())
    blocks = [(H.trivial[None], np.ones(1, dtype=np.int64)), (H.standard, H.rows.symmetry[H.rows.large] - 1)]
    found = 0
    for block, repeats in blocks:
        there = block != 0.0
        ranks = np.minimum(there.any(axis=1).sum(axis=1), there.any(axis=2).sum(axis=1))
        found += int(repeats @ ranks)
    return found


def fit(columns: Columns, found: Recovered, feature_dim: int, own: Factors | None = None) -> Recovered:
    """Factors that need no more than ``feature_dim`` coordinates.

    Args:
        columns: Columns of any level.
        found: Factors of any dimension.
        feature_dim: d.
        own: What a solver found; taken instead where it fits in and has the smaller objective.
    """
    point = found.factors.gram()
    fitted = found
    if needed(found.factors.H, columns.nonnegative) > feature_dim or _too_wide(columns, found.factors, feature_dim):
        fitted = summary(columns, descend(columns, _narrow(columns, found.factors, feature_dim))[0], point)
    if own is not None and own.H.cols.total <= feature_dim:
        fitted = min(fitted, summary(columns, own, point), key=lambda one: one.objective)
    return fitted


def narrowed(columns: Columns, found: Recovered, feature_dim: int) -> Factors:
    """Factors in ``feature_dim`` coordinates that go with the same bias and are as good, up to directions of noise.

    Raises:
        DimensionError: they are not: what does not count towards the rank is worth more than noise.
    """
    best = fit(columns, found, feature_dim)
    value = objective(columns, replace(best.factors, bias=found.factors.bias))
    width = found.factors.H.cols.total
    left_out = max(width - feature_dim, 0)
    if left_out and not value <= (1.0 + left_out * RANK_CUT) * found.objective:
        raise DimensionError(
            f"feature_dim is {feature_dim}, and the best factors found there have the objective {value:.9g}.",
            expected=f"one of at most {found.objective:.9g}, up to {left_out} directions of noise",
            fix=f"use feature_dim={width}, in which the solution was found.",
        )
    return best.factors


def full(factors: Factors, feature_dim: int | None, nonnegative: bool) -> tuple[FloatArray, FloatArray]:
    """W (V, d) and H (m, d) as full arrays with the same inner products, for d ≥ ``needed``.

    Raises:
        SizeError: V, m or the number of coordinates exceeds 20,000.
    """
    W, H = factors.W.full(), factors.H.full()
    if feature_dim is not None and feature_dim < H.shape[1]:
        if nonnegative:
            kept = np.sort(np.argsort(-np.abs(H).sum(axis=0), kind="stable")[:feature_dim])
            W, H = W[:, kept], H[:, kept]
        else:
            # what W has outside the row space of H does not reach a logit
            basis = np.linalg.svd(H, full_matrices=False)[2][:feature_dim].T
            W, H = W @ basis, H @ basis
    pad = ((0, 0), (0, max(0, (feature_dim or 0) - H.shape[1])))
    return np.pad(W, pad), np.pad(H, pad)


def _too_wide(columns: Columns, factors: Factors, feature_dim: int) -> bool:
    """Whether single coordinates could be fewer: those of orbits stay, and are left out when arrays are made."""
    return columns.columns.plain and factors.H.cols.total > feature_dim


def _narrow(columns: Columns, factors: Factors, feature_dim: int) -> Factors:
    """The factors on the coordinates that features use most, of which whole orbits are kept or dropped."""
    W, H = factors.W, factors.H
    scaled = H.scaled(np.sqrt(columns.feature_weights))
    if not columns.nonnegative and columns.columns.plain:
        basis = np.linalg.svd(scaled.even, full_matrices=False)[2][:feature_dim].T
        d = Orbits.single(basis.shape[1])
        return Factors(Alike.matrix(W.rows, d, W.even @ basis), Alike.matrix(H.rows, d, H.even @ basis), factors.bias)
    kept, left = [], feature_dim
    for orbit in np.argsort(-scaled.column_squares(), kind="stable").tolist():
        if H.cols.numbers[orbit] <= left:
            kept.append(orbit)
            left -= int(H.cols.numbers[orbit])
    chosen = np.sort(np.array(kept, dtype=np.int64))
    d = Orbits.of(H.cols.symmetry, H.cols.kinds[chosen])
    return Factors(_some(W, d, chosen), _some(H, d, chosen), factors.bias)


def _some(matrix: Alike, d: Orbits, chosen: IntArray) -> Alike:
    """The columns of the chosen orbits."""
    made = Alike.matrix(matrix.rows, d, matrix.even[:, chosen])
    pairing, place = matrix.rows.paired(matrix.cols), np.full(matrix.cols.size, -1)
    place[chosen] = np.arange(chosen.size)
    there = place[pairing.column] >= 0
    values = matrix.extra[pairing.slots][there]
    at = {(int(o), int(p)): v for o, p, v in zip(pairing.row[there], place[pairing.column[there]], values, strict=True)}
    new = matrix.rows.paired(d)
    for g, a, b, o, p in zip(*new.slots, *new.orbits, strict=True):
        made.extra[g, a, b] = at[int(o), int(p)]
    return made

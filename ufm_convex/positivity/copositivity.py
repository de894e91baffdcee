"""Copositive matrices: xᵀCx ≥ 0 for all x ≥ 0. A direction that shows the contrary, and a proof in exact integers.

``lowest_direction`` is a hint in floating point; ``copositivity_proof`` takes integers and trusts nothing.
Deciding copositivity is co-NP-complete (Murty, Kabadi, Math. Program. 39, 1987), so both look at all 2^K − 1 supports,
for K ≤ 12; a matrix that dominates a pattern of signs is proved for every K (docs/copositivity.md, section 2).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray

LARGEST = 12
"""Largest K for which all supports are looked at: 4095 linear systems in integers, about a second."""

_STARTS, _STEPS, _SHORT = 20, 400, 1e-4
"""Random starts for each class, steps of each descent, and the share of the length that counts as 0 at its end."""

Rows = Sequence[Sequence[int]]


def lowest_direction(matrix: FloatArray) -> tuple[float, FloatArray]:
    """The least value of xᵀCx over x ≥ 0, ‖x‖ = 1, where it is negative, and an x that attains it; floating point.

    At a minimiser with support S, its entries on S are an eigenvector of C_SS for the least eigenvalue (Kaplan, Linear
    Algebra Appl. 313, 2000), so one eigenvalue problem for each support finds them all.

    Args:
        matrix: C, (K, K) symmetric. All supports are looked at for K ≤ 12; beyond, the ends of a few descents, so that
            what is found need not be the least.

    Returns:
        The value, and x of shape (K,); 0 and x = 0 where no negative value is found.
    """
    K = matrix.shape[0]
    lowest, direction = 0.0, np.zeros(K)
    for supports in _all_supports(K) if K <= LARGEST else _likely_supports(matrix):
        values, vectors = np.linalg.eigh(matrix[supports[:, :, None], supports[:, None, :]])
        first = vectors[:, :, 0]
        first = first * np.where(first.sum(axis=1) < 0.0, -1.0, 1.0)[:, None]
        candidates = np.where((first >= 0.0).all(axis=1), values[:, 0], np.inf)
        best = int(np.argmin(candidates))
        if candidates[best] < lowest:
            lowest, direction = float(candidates[best]), np.zeros(K)
            direction[supports[best]] = first[best]
    return lowest, direction


def _all_supports(K: int) -> Iterator[IntArray]:
    """All supports, (number, size) of each size."""
    for size in range(1, K + 1):
        yield np.array(list(itertools.combinations(range(K), size)))


def _likely_supports(matrix: FloatArray) -> Iterator[IntArray]:
    """Supports where descents end that begin at the unit vectors, between two of them, and anywhere.

    x ← max(0, (c − C) x)/‖…‖ with c ≥ λ_max(C) maximises the convex form xᵀ(c − C)x on the orthant's unit sphere, and
    so never raises xᵀCx.
    """
    K = matrix.shape[0]
    pairs = np.array(list(itertools.combinations(range(K), 2)))
    x = np.zeros((len(pairs), K))
    x[np.arange(len(pairs))[:, None], pairs] = 1.0
    x = np.vstack([np.eye(K), x, np.random.default_rng(0).random((_STARTS * K, K))])
    moved = np.linalg.eigvalsh(matrix)[-1] * np.eye(K) - matrix
    for _ in range(_STEPS):
        x = np.maximum(x @ moved, 0.0)
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found = {tuple(np.flatnonzero(row > _SHORT).tolist()) for row in x} - {()}
    for _, alike in itertools.groupby(sorted(found, key=len), key=len):
        yield np.array(list(alike))


def copositivity_proof(rows: Rows) -> str | None:
    """How a symmetric integer matrix is proved to be copositive: "signs" or "supports"; None when it is not.

    None means that the matrix is not copositive if K ≤ 12, and that no proof was found if K > 12.

    Args:
        rows: The matrix, K rows of K integers.
    """
    if _dominates_signs(rows):
        return "signs"
    if len(rows) <= LARGEST and not any(_violates(rows, support) for support in _supports(rows)):
        return "supports"
    return None


def _dominates_signs(rows: Rows) -> bool:
    """Whether C_kl ≥ s_kl √(C_kk C_ll) with signs s_kl = ±1 of which the negative ones form no triangle.

    The matrix of such signs is copositive (Haynsworth, Hoffman, Linear Algebra Appl. 2, 1969), and so is what is
    entrywise above its positive diagonal scaling. The Horn matrix is the case of a cycle of five.
    """
    K = len(rows)
    if min(row[k] for k, row in enumerate(rows)) < 0:
        return False
    below: list[set[int]] = [set() for _ in range(K)]
    for k, l in itertools.combinations(range(K), 2):  # noqa: E741
        entry, size = rows[k][l], rows[k][k] * rows[l][l]
        if entry < 0 and entry * entry > size:
            return False
        if entry < 0 or entry * entry < size:
            below[k].add(l)
            below[l].add(k)
    return not any(below[k] & below[l] for k in range(K) for l in below[k])  # noqa: E741


def _supports(rows: Rows) -> Iterator[tuple[int, ...]]:
    """Supports of a smallest violation, small ones first: each of its rows needs a negative entry there."""
    negative = [{l for l, entry in enumerate(row) if entry < 0} for row in rows]  # noqa: E741
    for size in range(1, len(rows) + 1):
        for support in itertools.combinations(range(len(rows)), size):
            chosen = set(support)
            if all(negative[k] & chosen for k in support):
                yield support


def _violates(rows: Rows, support: tuple[int, ...]) -> bool:
    """Whether C_SS y = 1 has one solution and it is negative: then x = −y > 0 has xᵀC_SS x = Σ y < 0.

    A support without a smaller violating one violates copositivity in no other way (docs/copositivity.md,
    section 2; the criterion of Cottle, Habetler, Lemke, Linear Algebra Appl. 3, 1970, says it with the inverse).
    """
    from flint import fmpz_mat

    block = fmpz_mat([[rows[k][l] for l in support] for k in support])  # noqa: E741
    try:
        solution = block.solve(fmpz_mat([[1]] * len(support)))
    except ZeroDivisionError:
        return False
    return all(entry < 0 for entry in solution.entries())

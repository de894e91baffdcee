"""Classes whose means point the same way, as when two classes live on the same units."""

from __future__ import annotations

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray

LARGEST_COSINE = 0.5
"""Means of active classes are orthogonal at a non-negative optimum, and have negative cosines at a free one."""
_BLOCK = 1 << 22


def shared_directions(means: FloatArray) -> list[tuple[int, ...]]:
    """Groups of two rows or more that chains of cosines above 1/2 connect, in blocks: no K × K array is made.

    Args:
        means: Class means that are not zero, (K, d).
    """
    if len(means) < 2:
        return []
    scale = np.abs(means).max(axis=1, keepdims=True)
    unit = means / scale
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    labels: IntArray = np.arange(len(unit))
    rows = max(1, _BLOCK // len(unit))
    for start in range(0, len(unit), rows):
        edges = unit[start : start + rows] @ unit[start:].T > LARGEST_COSINE
        edges &= labels[start : start + rows, None] != labels[start:]  # the others connect nothing
        first, second = np.nonzero(edges)
        if not first.size:
            continue
        labels = _joined(labels, start + first, start + second)
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return sorted(tuple(group.tolist()) for group in groups if group.size > 1)


def _joined(labels: IntArray, first: IntArray, second: IntArray) -> IntArray:
    """The components after some more edges; a spanning star a component stands for all edges before."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = labels.size
    rows = np.concatenate([np.arange(size), first])
    cols = np.concatenate([labels, second])
    graph = coo_array((np.ones(rows.size, dtype=np.int8), (rows, cols)), shape=(size, size)).tocsr()
    found = connected_components(graph, directed=False)[1]
    smallest = np.full(found.max() + 1, size)
    np.minimum.at(smallest, found, np.arange(size))
    return np.asarray(smallest[found])

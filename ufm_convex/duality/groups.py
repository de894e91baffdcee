"""Repair of dual points that are alike on alike classes: the steps of ``repair`` on their blocks, in O(G³).

Feasible means the same as at class level: v_k in the domain of l*, T ≥ 0, R = D − G − T ⪰ 0 (docs/duality.md, sections
6 and 7). With features free, R ⪰ 0 says that no singular value of U D^{-1/2} exceeds 1, block by block, so singular
values are cut one by one instead of shrinking all by the largest: a small block may be inaccurate without harm to the
bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.groups import GroupColumns, GroupDual, Invariant
from ufm_convex.identity import group_dual_value, group_residual_gram, group_scaled_load

_SHORTEST = 1e-100
"""Columns shorter than this share of their radius are zero, and are not stretched."""
_LONGEST = 1e12
"""Largest factor by which a dual point is stretched; a shorter one is noise."""


def repair_groups(columns: GroupColumns, candidates: Iterable[GroupDual]) -> tuple[GroupDual, float]:
    """The feasible point of largest dual value made from the candidates, and that value.

    Args:
        columns: Columns of a class of each group.
        candidates: Dual points in any state.

    Returns:
        The repaired point, and −Σ weight l*(v). V = 0 is feasible for every loss here, so there is always an answer.
    """
    zero = Invariant.zeros(columns.groups)
    best = GroupDual(zero, zero)
    best_value = group_dual_value(columns, zero)
    for candidate in candidates:
        for dual in _repaired(columns, candidate):
            value = group_dual_value(columns, dual.residuals)
            if value > best_value:
                best, best_value = dual, value
    return best, best_value


def _repaired(columns: GroupColumns, candidate: GroupDual) -> Iterator[GroupDual]:
    inside = columns.into_domain(candidate.residuals.map(np.nan_to_num))
    zero = Invariant.zeros(columns.groups)
    if not columns.nonnegative:
        for residuals in (inside, _cut(columns, inside)):
            yield _shrink(columns, GroupDual(residuals, zero))
        return
    for residuals in (inside, _rescale_columns(columns, inside)):
        for T in _multipliers(columns, residuals, candidate.nonnegativity):
            yield _shrink(columns, GroupDual(residuals, T))


def _cut(columns: GroupColumns, residuals: Invariant) -> Invariant:
    """Singular values of U D^{-1/2} above 1 become 1; column sums stay zero, the domain is entered again."""
    ones, ratio = np.ones(columns.groups.size), columns.loss_weights / columns.sigma
    scaled = residuals.scaled(ones, ratio)
    left, values, right = np.linalg.svd(scaled.trivial)
    trivial = (left * np.minimum(values, 1.0)) @ right
    cut = Invariant.from_blocks(columns.groups, trivial, np.clip(scaled.standard, -1.0, 1.0))
    return columns.into_domain(cut.scaled(ones, 1.0 / ratio))


def _rescale_columns(columns: GroupColumns, residuals: Invariant) -> Invariant:
    """Each column to ‖u_k‖ = σ_k, but not past the peak of its own dual value; as at class level."""
    others = columns.groups.others
    squares = residuals.own**2 + (others * residuals.cross**2).sum(axis=0)
    norms = columns.loss_weights * np.sqrt(squares)
    to_radius = columns.sigma / np.maximum(norms, _SHORTEST * columns.sigma)
    peak = columns.loss.ray_maximum(residuals.columns(), columns.layout)
    return residuals.scaled(np.ones(columns.groups.size), np.minimum(to_radius, peak))


def _multipliers(columns: GroupColumns, residuals: Invariant, given: Invariant) -> Iterator[Invariant]:
    """Candidates for T: the one that cancels the negative off-diagonals of G, and the candidate's own, clipped."""
    sigma, nothing = columns.sigma, np.zeros(columns.groups.size)
    scale = np.outer(sigma, sigma)
    cancelling = np.maximum(-group_residual_gram(columns, residuals).cross, 0.0) * scale
    yield Invariant(columns.groups, nothing, cancelling)
    if np.any(given.cross):
        symmetric = np.nan_to_num(0.5 * given.cross + 0.5 * given.cross.T)
        yield Invariant(columns.groups, nothing, np.clip(symmetric, 0.0, 2.0 * scale))


def _shrink(columns: GroupColumns, dual: GroupDual) -> GroupDual:
    """Scale V by s and T by s² so that R ⪰ 0, or to the peak of the dual value if that is nearer."""
    # the largest eigenvalue itself, not 1 − (1 − it): of a short point it is small, and its root is divided by
    top = -(-1.0 * group_scaled_load(columns, dual)).least_eigenvalue()
    s = _peak(columns, dual.residuals, 1.0 / np.sqrt(top) if top > 0.0 else 1.0)
    return replace(dual, residuals=s * dual.residuals, nonnegativity=s * s * dual.nonnegativity)


def _peak(columns: GroupColumns, residuals: Invariant, largest: float) -> float:
    """The s ≤ ``largest`` that maximises the dual value of s·V, in the domain."""
    from scipy.optimize import minimize_scalar

    limits: FloatArray = columns.loss.limit(residuals.columns(), columns.layout)
    limit = min(float(limits.min()), largest, _LONGEST)
    if limit <= 1.0:
        return limit
    # the maximum is flat: 1e-9 in s costs 1e-18 of the value
    found = minimize_scalar(
        lambda s: -group_dual_value(columns, s * residuals),
        bounds=(0.0, limit),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(found.x)

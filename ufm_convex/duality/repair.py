"""From any dual point to a feasible one, and its value: what a solver calls its dual is only a hint.

Feasible means: v_i in the domain of l_i*, T ≥ 0, and R = D − G − T ⪰ 0 (docs/duality.md, equation 4). Repair never
raises the question whether the solver was right; it takes the point into the domain, rescales each class to the
radius its constraint ‖u_k‖ ≤ σ_k allows, picks T among a few candidates, and shrinks by the largest eigenvalue of
D^{-1/2}(G + T)D^{-1/2} (docs/duality.md, section 6). Feasibility holds up to rounding here; ``enclosure`` proves it.

Shapes: class level, V and T are (K, K).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.identity import dual_value, residual_gram, scaled_slack
from ufm_convex.points import Columns, DualPoint


def repair(columns: Columns, candidates: Iterable[DualPoint]) -> tuple[DualPoint, float]:
    """The feasible point of largest dual value made from the candidates, and that value.

    Args:
        columns: Class-level columns.
        candidates: Dual points in any state: infeasible, asymmetric, with NaN.

    Returns:
        The repaired point, with ``weight_block`` and ``feature_block`` left to stationarity, and −Σ weight l*(v).
        V = 0 is feasible for every loss here, so there is always an answer.
    """
    m = columns.labels.size
    best = DualPoint(np.zeros((columns.num_classes, m)), np.zeros((m, m)))
    best_value = dual_value(columns, best)
    for candidate in candidates:
        for dual in _repaired(columns, candidate):
            value = dual_value(columns, dual)
            if value > best_value:
                best, best_value = dual, value
    return best, best_value


def _repaired(columns: Columns, candidate: DualPoint) -> Iterable[DualPoint]:
    """Feasible points near one candidate: with and without the rescaling of classes, for each multiplier."""
    inside = columns.loss.into_domain(np.nan_to_num(candidate.residuals), columns.labels)
    residual_choices = [inside]
    if columns.nonnegative:
        residual_choices.append(_rescale_columns(columns, inside))
    for residuals in residual_choices:
        for T in _multipliers(columns, residuals, candidate.nonnegativity):
            yield _shrink(columns, DualPoint(residuals, T))


def _rescale_columns(columns: Columns, residuals: FloatArray) -> FloatArray:
    """Each column to ‖u_i‖ = σ_i, but not past the peak of its own dual value.

    With all off-diagonals of G negative, feasibility is ‖u_i‖ ≤ σ_i column by column; restoring the active ones makes
    the loss of the bound quadratic in the error of the candidate.
    """
    norms = columns.loss_weights * np.linalg.norm(residuals, axis=0)
    to_radius = columns.sigma / np.maximum(norms, np.finfo(float).tiny)
    peak = columns.loss.ray_maximum(residuals, columns.labels)
    return residuals * np.minimum(to_radius, peak)


def _multipliers(columns: Columns, residuals: FloatArray, given: FloatArray) -> Iterable[FloatArray]:
    """Candidates for T: none for free features; else the one that cancels, and the candidate's own, clipped."""
    m = columns.labels.size
    if not columns.nonnegative:
        yield np.zeros((m, m))
        return
    scale = np.outer(columns.sigma, columns.sigma)
    cancelling = np.maximum(-residual_gram(columns, DualPoint(residuals, np.zeros((m, m)))), 0.0) * scale
    np.fill_diagonal(cancelling, 0.0)
    yield cancelling
    if np.any(given):
        # R ⪰ 0 implies |G_kl + T_kl| <= σ_k σ_l and |G_kl| <= σ_k σ_l, so larger entries are never right
        clipped = np.clip(np.nan_to_num(0.5 * given + 0.5 * given.T), 0.0, 2.0 * scale)
        np.fill_diagonal(clipped, 0.0)
        yield clipped


def _shrink(columns: Columns, dual: DualPoint) -> DualPoint:
    """Scale V by s and T by s² so that R ⪰ 0: s = λ_max(D^{-1/2}(G + T)D^{-1/2})^{-1/2}, or the peak if smaller."""
    top = 1.0 - float(np.linalg.eigvalsh(scaled_slack(columns, dual))[0])
    s = min(1.0 / np.sqrt(top) if top > 0.0 else np.inf, _peak(columns, dual))
    return DualPoint(s * dual.residuals, s * s * dual.nonnegativity)


def _peak(columns: Columns, dual: DualPoint) -> float:
    """The s that maximises the dual value of s·V, in the domain; 1 when nothing is gained by scaling."""
    from scipy.optimize import minimize_scalar

    limit = float(columns.loss.domain_limit(dual.residuals, columns.labels).min())
    if limit <= 1.0:
        return 1.0

    def negative_value(s: float) -> float:
        conjugates = columns.loss.conjugate(s * dual.residuals, columns.labels)
        return float(columns.loss_weights @ conjugates)

    # the maximum is flat: 1e-9 in s costs 1e-18 of the value
    return float(minimize_scalar(negative_value, bounds=(0.0, limit), method="bounded", options={"xatol": 1e-9}).x)

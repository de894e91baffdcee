"""From any dual point to a feasible one, at any level: what a solver calls its dual is only a hint.

Feasible means: v_j in the domain of l_j*, T ≥ 0, R = D − G − T ⪰ 0, and with a free bias U1 = 0 (docs/duality.md,
equation 4; docs/duality_bias.md, equation 13). Repair never asks whether the solver was right; it takes the point into
the domain, restores the constraints that are active at an optimum (‖u_j‖ ≤ σ_j for each column, or for free features
singular values of U D^{-1/2} at most 1), picks T among a few candidates, and shrinks by the largest eigenvalue of
D^{-1/2}(G + T)D^{-1/2} (docs/kkt.md, section 6; docs/duality_bias.md, section 8; docs/free_features.md, section 4). All
of it block by block. Feasibility holds up to rounding here; ``enclosure`` proves it.

Shapes: as in ``relaxation``; V (V, m) and T (m, m) are alike on alike indices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import FloatArray
from ufm_convex.duality.complementary import complementary
from ufm_convex.relaxation import Alike, Columns, Dual, Factors, Point, dual_value, residual_gram, scaled_residuals

_ACTIVE = (0.0, 1e-6, 1e-3)
"""Singular values of U D^{-1/2} from 1 minus this on are put to 1: the first only clips, the last rounds generously."""
_BEFORE = 1.0 - 1e-6
_ROUNDED = 1.0 + 1e-12
"""A bound of the largest eigenvalue that is so near to it counts as the eigenvalue."""


def repair(columns: Columns, candidates: Iterable[Dual], point: Point | None = None) -> tuple[Dual, float]:
    """The feasible point of largest dual value made from the candidates, and that value.

    Args:
        columns: Columns of any level.
        candidates: Dual points in any state: infeasible, asymmetric, with NaN.
        point: A good primal point, if there is one. Its bias corrects U1 (a free one needs none), and where features
            are non-negative and the optimum is no orthogonal frame, the multiplier that is complementary to its
            factors is tried as well.

    Returns:
        The repaired point, with S_A and S_B left to stationarity, and −Σ weight l*(v) − g*(−U1). V = 0 is feasible for
        every loss here, so there is always an answer.
    """
    best = Dual(Alike.zeros(columns.outputs, columns.columns))
    best_value = dual_value(columns, best.V)
    last: Dual | None = None
    for candidate in candidates:
        if last is not None and _same(candidate, last):
            continue
        last = candidate
        for dual in _repaired(columns, candidate, point):
            value = dual_value(columns, dual.V)
            if value > best_value:
                best, best_value = dual, value
        if _deadline.passed():
            break
    return best, best_value


def _same(first: Dual, second: Dual) -> bool:
    """Whether two candidates are equal to the bit: a solver's own residuals are often those at its logits."""
    pairs = [(first.V, second.V), (first.T, second.T)]
    return all(a is b or (a is not None and b is not None and a.equals(b)) for a, b in pairs)


def _repaired(columns: Columns, candidate: Dual, point: Point | None) -> Iterator[Dual]:
    """Feasible points near one candidate: with and without the active constraints restored, for each multiplier."""
    inside = columns.into_domain(candidate.V.map(np.nan_to_num))
    bias = None if point is None else point.bias
    if columns.bias.needs_balance or bias is not None:
        b = np.zeros(columns.outputs.size) if bias is None else bias
        inside = columns.into_domain(columns.projected(inside, b))
    choices = [inside]
    if columns.nonnegative:
        choices.append(_rescale_columns(columns, inside))
    else:
        choices.extend(_rescale_spectrum(columns, inside))
    for V in map(columns.admitted, choices):
        for T in _multipliers(columns, V, candidate.T, point):
            yield _shrink(columns, Dual(V, T))


def _rescale_columns(columns: Columns, V: Alike) -> Alike:
    """Each column to ‖u_j‖ = σ_j, but not past the peak of its own dual value.

    With all off-diagonals of G negative, feasibility is ‖u_j‖ ≤ σ_j column by column; restoring the active ones makes
    the loss of the bound quadratic in the error of the candidate.
    """
    norms = columns.loss_weights * np.sqrt(V.column_squares())
    to_radius = columns.sigma / np.maximum(norms, np.finfo(float).tiny)
    scale = np.minimum(to_radius, columns.limit(V))
    # −l* is concave on the ray: a column needs its peak only where the value falls at the end
    ends = columns.conjugates(V.scaled(None, scale))
    past = ~(ends <= columns.conjugates(V.scaled(None, scale * _BEFORE)))
    if past.any():
        scale[past] = np.minimum(scale[past], columns.peaks(V, past))
    return V.scaled(None, scale)


def _rescale_spectrum(columns: Columns, V: Alike) -> Iterator[Alike]:
    """U D^{-1/2} with its singular values clipped to 1, and those next to 1 put to 1, back in the domain.

    For free features these are the constraints that are active at the optimum. Restoring them one by one, rather than
    shrinking all of U by the largest, makes the loss of the bound quadratic in the error of the candidate.
    """
    scaled = scaled_residuals(columns, V)
    trivial = np.linalg.svd(scaled.trivial, full_matrices=False)
    standard = np.linalg.svd(scaled.standard, full_matrices=False)
    for margin in _ACTIVE:
        blocks = [_moved(*parts, margin) for parts in (trivial, standard)]
        moved = Alike.from_blocks(V.rows, V.cols, *blocks)
        yield columns.into_domain(V + moved.scaled(None, columns.sigma / columns.loss_weights))


def _moved(left: FloatArray, values: FloatArray, right: FloatArray, margin: float) -> FloatArray:
    """What changes where singular values from 1 − margin on become 1."""
    change = np.where(values >= 1.0 - margin, 1.0 - values, 0.0)
    return np.asarray((left * change[..., None, :]) @ right)


def _multipliers(columns: Columns, V: Alike, given: Alike | None, point: Point | None) -> Iterator[Alike | None]:
    """Candidates for T: none for free features; else what cancels, the given one clipped or 0, the complementary."""
    if not columns.nonnegative:
        yield None
        return
    sigma = columns.sigma
    gram = residual_gram(columns, V)
    yield gram.map(_negative_part).without_diagonal().scaled(sigma, sigma)
    if gram.without_diagonal().largest() <= 0.0:
        # the slack is diagonal, and its diagonal must be ≥ 0 whatever T is: no other T can do better
        return
    if given is not None:
        # R ⪰ 0 implies |G_kl + T_kl| <= σ_k σ_l and |G_kl| <= σ_k σ_l, so larger entries are never right
        symmetric = (0.5 * (given + given.T)).scaled(1.0 / sigma, 1.0 / sigma)
        clipped = symmetric.map(lambda entries: np.clip(np.nan_to_num(entries), 0.0, 2.0))
        yield clipped.without_diagonal().scaled(sigma, sigma)
    else:  # T = 0 is a multiplier like any other: where B has no zero it is the only one
        yield None
    if isinstance(point, Factors) and not columns.columns.repeated:
        yield complementary(gram, point.H.scaled(sigma)).scaled(sigma, sigma)


def _negative_part(entries: FloatArray) -> FloatArray:
    return np.maximum(-entries, 0.0)


def _shrink(columns: Columns, dual: Dual) -> Dual:
    """Scale V by s and T by s² so that R ⪰ 0: s = λ_max(D^{-1/2}(G + T)D^{-1/2})^{-1/2}, or the peak if smaller."""
    # not as one minus an eigenvalue of the slack, which cancels where V is tiny
    top = _top_eigenvalue(columns, dual)
    limit = float(columns.limit(dual.V).min())
    s = _peak(columns, dual.V, min(1.0 / np.sqrt(top) if top > 0.0 else np.inf, limit))
    return Dual(s * dual.V, None if dual.T is None else s * s * dual.T)


def _top_eigenvalue(columns: Columns, dual: Dual) -> float:
    """λ_max, or Gershgorin's bound of it where that is as good: where T cancels all that lies off the diagonal of G."""
    scaled = scaled_residuals(columns, dual.V)
    if dual.T is None:  # on the smaller side
        wide = scaled.rows.size < scaled.cols.size
        return float((scaled @ scaled.T if wide else scaled.T @ scaled).eigenvalues().max())
    load = scaled.T @ scaled + dual.T.scaled(1.0 / columns.sigma, 1.0 / columns.sigma)
    own = load.own()
    bound = float((own + load.without_diagonal().map(np.abs).row_sums()).max())
    return bound if bound <= float(own.max()) * _ROUNDED else float(load.eigenvalues().max())


def _peak(columns: Columns, V: Alike, end: float) -> float:
    """The s in [0, end] that maximises the dual value of s·V; ``end`` lies in the domain."""
    from scipy.optimize import minimize_scalar

    def negative_value(s: float) -> float:
        return -dual_value(columns, s * V)

    if not np.isfinite(end):  # V = 0
        return 1.0
    # the value is concave in s, so the peak lies before the end only if the value falls there
    if negative_value(end) <= negative_value(_BEFORE * end):
        return end
    # the maximum is flat: 1e-9 in s costs 1e-18 of the value
    return float(minimize_scalar(negative_value, bounds=(0.0, end), method="bounded", options={"xatol": 1e-9}).x)

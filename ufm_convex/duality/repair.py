"""From any dual point to a feasible one, and its value: what a solver calls its dual is only a hint.

Feasible means: v_i in the domain of l_i*, T ≥ 0, and R = D − G − T ⪰ 0 (docs/duality.md, equation 4). Repair never
raises the question whether the solver was right; it takes the point into the domain, restores the constraints that
are active at an optimum (‖u_k‖ ≤ σ_k for each class, or for free features singular values of U D^{-1/2} at most 1;
with a free bias U1 = 0), picks T among a few candidates, and shrinks by the largest eigenvalue of
D^{-1/2}(G + T)D^{-1/2} (docs/duality.md, sections 6 and 8; docs/solvers.md, section 4). Feasibility holds up to
rounding here; ``enclosure`` proves it.

Shapes: class level, V and T are (K, K).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.identity import dual_value, residual_gram, scaled_load
from ufm_convex.points import Columns, DualPoint

_ACTIVE = (0.0, 1e-6, 1e-3)
"""Singular values of U D^{-1/2} from 1 minus this on are put to 1: the first only clips, the last rounds generously."""
_BEFORE = 1.0 - 1e-6
_ROUNDED = 1.0 + 1e-12
"""A bound of the largest eigenvalue that is so near to it counts as the eigenvalue."""
_NNLS_CLASSES = 24
"""Up to here the multiplier is found by an active-set method: K (K − 1)/2 unknowns, exact zeros."""


def repair(
    columns: Columns,
    candidates: Iterable[DualPoint],
    features: FloatArray | None = None,
    bias: FloatArray | None = None,
) -> tuple[DualPoint, float]:
    """The feasible point of largest dual value made from the candidates, and that value.

    Args:
        columns: Class-level columns.
        candidates: Dual points in any state: infeasible, asymmetric, with NaN.
        features: Class means H (K, d) of a good primal point, if there is one: where features are non-negative and
            the optimum is no orthogonal frame, the multiplier that is complementary to them is tried as well.
        bias: The bias b (K,) of that point, by which U1 is corrected; a free one needs none.

    Returns:
        The repaired point, with ``weight_block`` and ``feature_block`` left to stationarity, and −Σ weight l*(v).
        V = 0 is feasible for every loss here, so there is always an answer.
    """
    m = columns.labels.size
    best = DualPoint(np.zeros((columns.num_classes, m)), np.zeros((m, m)))
    best_value = dual_value(columns, best)
    last: DualPoint | None = None
    for candidate in candidates:
        if last is not None and _same(candidate, last):
            continue
        last = candidate
        for dual in _repaired(columns, candidate, features, bias):
            value = dual_value(columns, dual)
            if value > best_value:
                best, best_value = dual, value
    return best, best_value


def _same(first: DualPoint, second: DualPoint) -> bool:
    """Whether two candidates are equal to the bit: a solver's own residuals are often those at its logits."""
    return np.array_equal(first.residuals, second.residuals) and np.array_equal(
        first.nonnegativity, second.nonnegativity
    )


def _repaired(
    columns: Columns, candidate: DualPoint, features: FloatArray | None, bias: FloatArray | None
) -> Iterator[DualPoint]:
    """Feasible points near one candidate: with and without the active constraints restored, for each multiplier."""
    inside = columns.loss.into_domain(np.nan_to_num(candidate.residuals), columns.layout)
    if columns.bias.needs_balance or bias is not None:
        b = np.zeros(columns.num_classes) if bias is None else bias
        projected = columns.bias.project(inside, columns.loss_weights, columns.sigma**2, b)
        inside = columns.loss.into_domain(projected, columns.layout)
    residual_choices = [inside]
    if columns.nonnegative:
        residual_choices.append(_rescale_columns(columns, inside))
    else:
        residual_choices.extend(_rescale_spectrum(columns, inside))
    for residuals in map(columns.into_domain, residual_choices):
        for T in _multipliers(columns, residuals, candidate.nonnegativity, features):
            yield _shrink(columns, DualPoint(residuals, T))


def _rescale_columns(columns: Columns, residuals: FloatArray) -> FloatArray:
    """Each column to ‖u_i‖ = σ_i, but not past the peak of its own dual value.

    With all off-diagonals of G negative, feasibility is ‖u_i‖ ≤ σ_i column by column; restoring the active ones makes
    the loss of the bound quadratic in the error of the candidate.
    """
    norms = columns.loss_weights * np.linalg.norm(residuals, axis=0)
    to_radius = columns.sigma / np.maximum(norms, np.finfo(float).tiny)
    scale = np.minimum(to_radius, columns.loss.limit(residuals, columns.layout))
    # −l* is concave on the ray: a column needs its peak only where the value falls at the end
    ends = columns.loss.conjugate(residuals * scale, columns.layout)
    past = ~(ends <= columns.loss.conjugate(residuals * (scale * _BEFORE), columns.layout))
    if past.any():
        peak = columns.loss.ray_maximum(residuals[:, past], columns.layout[past])
        scale[past] = np.minimum(scale[past], peak)
    return residuals * scale


def _rescale_spectrum(columns: Columns, residuals: FloatArray) -> Iterator[FloatArray]:
    """U D^{-1/2} with its singular values clipped to 1, and those next to 1 put to 1, back in the domain.

    For free features these are the constraints that are active at the optimum. Restoring them one by one, rather than
    shrinking all of U by the largest, makes the loss of the bound quadratic in the error of the candidate.
    """
    to_unit = columns.loss_weights / columns.sigma
    left, values, right = np.linalg.svd(residuals * to_unit, full_matrices=False)
    for margin in _ACTIVE:
        restored = np.where(values >= 1.0 - margin, 1.0, values)
        changed = residuals + (left * (restored - values)) @ right / to_unit
        yield columns.loss.into_domain(changed, columns.layout)


def _multipliers(
    columns: Columns, residuals: FloatArray, given: FloatArray, features: FloatArray | None
) -> Iterator[FloatArray]:
    """Candidates for T: none for free features; else the one that cancels, the given one clipped, the complementary."""
    m = columns.labels.size
    if not columns.nonnegative:
        yield np.zeros((m, m))
        return
    scale = np.outer(columns.sigma, columns.sigma)
    gram = residual_gram(columns, DualPoint(residuals, np.zeros((m, m))))
    cancelling = np.maximum(-gram, 0.0) * scale
    np.fill_diagonal(cancelling, 0.0)
    yield cancelling
    between = float((gram - np.diag(np.diag(gram))).max())
    if between <= 0.0:
        # the slack is diagonal, and its diagonal must be ≥ 0 whatever T is: no other T can do better
        return
    if np.any(given):
        # R ⪰ 0 implies |G_kl + T_kl| <= σ_k σ_l and |G_kl| <= σ_k σ_l, so larger entries are never right
        clipped = np.clip(np.nan_to_num(0.5 * given + 0.5 * given.T), 0.0, 2.0 * scale)
        np.fill_diagonal(clipped, 0.0)
        yield clipped
    if features is not None:
        yield complementary_multiplier(gram, features * columns.sigma[:, None]) * scale


def complementary_multiplier(gram: FloatArray, features: FloatArray) -> FloatArray:
    """Argmin over T = Tᵀ ≥ 0 with zero diagonal of ‖(I − G − T) H‖_F: at an optimum R H = 0.

    Args:
        gram: G in units where D = I, (K, K).
        features: H in the same units, (K, d), row k times σ_k.

    Returns:
        T, (K, K), by non-negative least squares: exactly for K ≤ 24, by bounded quasi-Newton steps beyond.
    """
    K = gram.shape[0]
    upper = np.triu_indices(K, 1)
    norm = float(np.linalg.norm(features))
    if norm == 0.0:
        return np.zeros((K, K))
    # features enter through H Hᵀ only, so d columns become at most K
    H = np.linalg.qr(features.T / norm)[1].T
    target = (np.eye(K) - gram) @ H
    entries = _least_squares(H, target, upper) if K <= _NNLS_CLASSES else _descended(H, target, gram, upper)
    T = np.zeros((K, K))
    T[upper] = entries
    return T + T.T


def _least_squares(H: FloatArray, target: FloatArray, upper: tuple[np.ndarray, np.ndarray]) -> FloatArray:
    """The entries of T by the active-set method of Lawson and Hanson (1974)."""
    from scipy.optimize import nnls

    K, d = H.shape
    design = np.zeros((K, d, upper[0].size))
    pairs = np.arange(upper[0].size)
    design[upper[0], :, pairs] = H[upper[1]]
    design[upper[1], :, pairs] = H[upper[0]]
    entries: FloatArray = nnls(design.reshape(K * d, -1), target.ravel(), maxiter=10 * upper[0].size)[0]
    return entries


def _descended(H: FloatArray, target: FloatArray, gram: FloatArray, upper: tuple[np.ndarray, np.ndarray]) -> FloatArray:
    """The entries of T by L-BFGS-B, from those that cancel the negative entries of G."""
    from scipy.optimize import minimize

    def value_and_gradient(entries: FloatArray) -> tuple[float, FloatArray]:
        T = np.zeros(gram.shape)
        T[upper] = entries
        residual = (T + T.T) @ H - target
        pull = residual @ H.T
        return 0.5 * float((residual * residual).sum()), (pull + pull.T)[upper]

    start = np.maximum(-gram, 0.0)[upper]
    options = {"maxiter": 500, "ftol": 1e-18, "gtol": 1e-12}
    found = minimize(
        value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * start.size, options=options
    )
    return np.maximum(found.x, 0.0)


def _shrink(columns: Columns, dual: DualPoint) -> DualPoint:
    """Scale V by s and T by s² so that R ⪰ 0: s = λ_max(D^{-1/2}(G + T)D^{-1/2})^{-1/2}, or the peak if smaller."""
    # not as one minus an eigenvalue of the slack, which cancels where V is tiny
    top = _top_eigenvalue(scaled_load(columns, dual))
    limit = float(columns.loss.limit(dual.residuals, columns.layout).min())
    s = _peak(columns, dual, min(1.0 / np.sqrt(top) if top > 0.0 else np.inf, limit))
    return DualPoint(s * dual.residuals, s * s * dual.nonnegativity)


def _top_eigenvalue(load: FloatArray) -> float:
    """λ_max, or Gershgorin's bound of it where that is as good: where T cancels all that lies off the diagonal of G."""
    diagonal = np.diag(load)
    discs = diagonal + np.abs(load - np.diag(diagonal)).sum(axis=1)
    bound = float(discs.max())
    if bound <= float(diagonal.max()) * _ROUNDED:
        return bound
    return float(np.linalg.eigvalsh(load)[-1])


def _peak(columns: Columns, dual: DualPoint, end: float) -> float:
    """The s in [0, end] that maximises the dual value of s·V; ``end`` lies in the domain."""
    from scipy.optimize import minimize_scalar

    def negative_value(s: float) -> float:
        return -dual_value(columns, DualPoint(s * dual.residuals, dual.nonnegativity))

    if not np.isfinite(end):  # V = 0
        return 1.0
    # the value is concave in s, so the peak lies before the end only if the value falls there
    if negative_value(end) <= negative_value(_BEFORE * end):
        return end
    # the maximum is flat: 1e-9 in s costs 1e-18 of the value
    return float(minimize_scalar(negative_value, bounds=(0.0, end), method="bounded", options={"xatol": 1e-9}).x)

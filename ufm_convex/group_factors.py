"""From group-level Gram matrices to an actual classifier and actual features, and descent from there.

W and H are (K, K) and alike on alike classes: h_k is ``own`` on its own coordinate and ``cross`` on the coordinates of
the others, so the (G, G) numbers of ``cross`` and the G of ``own`` are all there is. With features free this reaches
every invariant Gram matrix. With H ≥ 0 the orthogonal frames are those with ``cross`` = 0.

As in ``factors``, the descent repairs the square-root loss of accuracy between a solver's value and its Gram matrix,
and nothing is claimed for its end but the objective there (docs/duality.md, sections 5 and 7).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex.groups import GroupColumns, GroupPoint, Invariant
from ufm_convex.identity import RANK_CUT, noise
from ufm_convex.points import require_dense

_DIAGONAL = 1e-2
"""Off-diagonal entries of B below this share of the largest diagonal one are noise: one start is enough."""
_ABOVE = 1e-6
"""Excess of a singular value over 1 that is worth an escape."""
_STEP = 0.1
"""Length of a reactivated feature, in units of the length at margin one."""
_COSTLESS = 1e-13
"""Relative change of the objective that counts as none."""
_STAGES, _LAST_STAGE = (200, 300, 1000), 6000
"""Iterations of the stages of a descent; before each, features at zero that would lower the objective are let go."""


@dataclass(frozen=True, eq=False)
class GroupFactors:
    """A classifier and class-mean features that are alike on alike classes.

    Attributes:
        W: Classifier, one row a class, one coordinate a class.
        H: Class-mean features likewise; ≥ 0 where the problem asks for it.
        objective: f(W, H): an upper bound of the optimum, in floating point.
        residual: Relative distance of the Gram matrices to the point they were recovered from, in penalty units.
        rank: Dimensions that the features use, up to noise.
    """

    W: Invariant
    H: Invariant
    objective: float
    residual: float
    rank: int

    def used(self, nonnegative: bool) -> int:
        """Dimensions that H needs exactly: coordinates that are not zero, or, with features free, its rank."""
        return coordinates(self.H).size if nonnegative else exact_rank(self.H)

    def dense(self, feature_dim: int | None, nonnegative: bool) -> tuple[FloatArray, FloatArray]:
        """W (K, d) and H (K, d) with the same inner products, d ≥ ``used``.

        Raises:
            SizeError: K > 20,000.
        """
        K = self.H.groups.num_classes
        require_dense(K, "W", "the group-level factors of the solution's point")
        W, H = self.W.dense(), self.H.dense()
        if feature_dim is not None and feature_dim < K:
            if nonnegative:
                kept = coordinates(self.H)
                W, H = W[:, kept], H[:, kept]
            else:
                # what W has outside the row space of H does not reach a logit
                basis = np.linalg.svd(H, full_matrices=False)[2][:feature_dim].T
                W, H = W @ basis, H @ basis
        pad = ((0, 0), (0, max(0, (feature_dim or 0) - H.shape[1])))
        return np.pad(W, pad), np.pad(H, pad)


def coordinates(H: Invariant) -> IntArray:
    """Coordinates (classes) on which some feature is not zero."""
    groups = H.groups
    used = (H.own != 0.0) | np.any((H.cross != 0.0) & (groups.present > 0.0), axis=0)
    return np.flatnonzero(used[groups.members])


def exact_rank(H: Invariant) -> int:
    """An upper bound of the rank of H: its blocks, with vanishing ones left out."""
    groups = H.groups
    trivial = min(np.any(H.trivial != 0.0, axis=0).sum(), np.any(H.trivial != 0.0, axis=1).sum())
    return int(trivial + (groups.multiplicities - 1) @ (H.standard != 0.0))


def recoveries(columns: GroupColumns, point: GroupPoint, thorough: bool = True) -> Iterator[GroupFactors]:
    """Factors from a group-level point, which need not be feasible; lazy, the likeliest start first.

    Where descent ends with features at zero that would lower the objective, it goes on from there: such ends are
    saddles, and a rough point leads to them. From a frame it stays on frames, where it meets no other local minimum
    than the best one.

    Args:
        columns: Columns of a class of each group.
        point: The point.
        thorough: Whether to go on where a better point from the solver might be the cheaper way.
    """
    if not columns.loss.finite:
        yield from _admissible(columns, point)
        return
    for start in _nonnegative_starts(point.feature_gram) if columns.nonnegative else [_spectral(point.feature_gram)]:
        free = np.full(start.cross.shape, not columns.nonnegative or bool(np.any(start.cross)))
        found = _classifier(columns, point.logits, start), start
        # in stages, because the caller stops as soon as the gap is closed
        for iterations in (*_STAGES, _LAST_STAGE) if thorough else _STAGES:
            found = descend(columns, *(_escape(columns, *found) or found), free_cross=free, iterations=iterations)
            yield summary(columns, *_tidy(columns, *found), point)


def _admissible(columns: GroupColumns, point: GroupPoint) -> Iterator[GroupFactors]:
    """Factors for an indicator, on which nothing descends: those of the logits, stretched."""
    starts = _nonnegative_starts(point.feature_gram) if columns.nonnegative else [_spectral(point.feature_gram)]
    for H in starts:
        W = _classifier(columns, point.logits, H) if columns.nonnegative else None
        yield summary(columns, *(_balanced(columns, point.logits) if W is None else (W, H)), point)


def _balanced(columns: GroupColumns, logits: Invariant) -> tuple[Invariant, Invariant]:
    """The smallest free W and H with W Hᵀ = L, as ``descent.balanced``: polar factor and root of X = L Diag(√ν)."""
    groups, ones = columns.groups, np.ones(columns.groups.size)
    root = np.sqrt(columns.feature_weights)
    X = logits.scaled(ones, root)
    left, values, right = np.linalg.svd(X.trivial)
    share, length = np.sqrt(values), np.sqrt(np.abs(X.standard))
    ratio = math.sqrt(math.sqrt(columns.lambda_h)) / math.sqrt(math.sqrt(columns.lambda_w))
    W = Invariant.from_blocks(groups, (left * share) @ right, np.sign(X.standard) * length)
    H = Invariant.from_blocks(groups, (right.T * share) @ right, length)
    return ratio * W, H.scaled(1.0 / (ratio * root), ones)


def _admitted(columns: GroupColumns, W: Invariant, H: Invariant) -> tuple[Invariant, Invariant]:
    """See ``descent.admitted``; the penalties of whole matrices are made equal."""
    loss, groups, ones = columns.loss.indicator, columns.groups, np.ones(columns.groups.size)
    if loss is None:
        return W, H
    unit = 16.0 * (groups.size + 4) * np.finfo(float).eps
    for balance in (True, False):
        logits, size = W @ H.T, W.map(np.abs) @ H.map(np.abs).T
        error = unit * (size.own + np.where(groups.others > 0.0, size.cross, 0.0).max(axis=0))
        stretch = loss.stretch(logits.columns(), columns.layout, 0.5 * error)
        if not np.isfinite(stretch).all():
            return W, H
        H = H.scaled(stretch, ones)
        if balance:
            scaled = H.scaled(np.sqrt(columns.feature_weights), ones)
            penalties = columns.lambda_w * W.inner(W), columns.lambda_h * scaled.inner(scaled)
            share = (penalties[1] / penalties[0]) ** 0.25
            W, H = share * W, (1.0 / share) * H
    return W, H


def objective(columns: GroupColumns, W: Invariant, H: Invariant) -> float:
    """f(W, H), in O(G³)."""
    penalty_h = H.scaled(np.sqrt(columns.feature_weights), np.ones(columns.groups.size))
    losses = columns.class_weights @ columns.values(W @ H.T)
    return float(losses + 0.5 * columns.lambda_w * W.inner(W) + 0.5 * columns.lambda_h * penalty_h.inner(penalty_h))


def summary(columns: GroupColumns, W: Invariant, H: Invariant, point: GroupPoint) -> GroupFactors:
    """The record of (W, H), made admissible, with its distance to the point and its rank."""
    W, H = _admitted(columns, W, H)
    rows = np.full(columns.groups.size, math.sqrt(columns.lambda_w))
    features = np.sqrt(columns.lambda_h * columns.feature_weights)
    value = objective(columns, W, H)
    found, wanted = GroupPoint.from_factors(W, H).scaled(rows, features), point.scaled(rows, features)
    difference = found - wanted
    size = max(found.inner(found), wanted.inner(wanted))
    scaled = H.scaled(features, np.ones(columns.groups.size))
    groups = columns.groups
    # the penalties are aggregated over a group before they are compared with the objective
    trivial = np.linalg.svd(scaled.trivial, compute_uv=False) ** 2 * groups.num_classes
    standard = scaled.standard**2 * groups.num_classes
    nothing = Invariant.zeros(groups)
    cut = noise(value, objective(columns, nothing, nothing), scaled.inner(scaled))
    rank = (trivial > cut).sum() + (groups.multiplicities - 1) @ (standard > cut)
    residual = math.sqrt(max(difference.inner(difference), 0.0) / size) if size > 0.0 else 0.0
    return GroupFactors(W, H, value, residual, int(rank))


def fit(columns: GroupColumns, factors: GroupFactors, feature_dim: int) -> GroupFactors:
    """Factors that need no more than ``feature_dim`` dimensions: whole groups lose their features until they do.

    An upper bound and nothing more. The groups that cost most without a feature keep theirs.
    """
    if factors.used(columns.nonnegative) <= feature_dim:
        return factors
    groups = columns.groups
    order = np.argsort(-columns.sigma * np.maximum(factors.H.own, 0.0), kind="stable")
    kept = np.zeros(groups.size, dtype=bool)
    left = feature_dim
    for g in order.tolist():
        if groups.multiplicities[g] <= left:
            kept[g], left = True, left - int(groups.multiplicities[g])
    mask = kept.astype(np.float64)
    W, H = (matrix.scaled(np.ones(groups.size), mask) for matrix in (factors.W, factors.H))
    H = H.scaled(mask, np.ones(groups.size))
    point = GroupPoint.from_factors(factors.W, factors.H)
    return summary(columns, *descend(columns, W, H, kept, np.logical_and.outer(kept, kept)), point)


def _tidy(columns: GroupColumns, W: Invariant, H: Invariant) -> tuple[Invariant, Invariant]:
    """The same factors with features that are noise set to zero exactly, where that costs nothing.

    With H ≥ 0 these are whole features; else they are what tells the classes of a group apart.
    """
    value = objective(columns, W, H)
    penalties = columns.groups.num_classes * columns.lambda_h * columns.feature_weights
    short = penalties * (H.own if columns.nonnegative else H.standard) ** 2 <= RANK_CUT * value
    if columns.nonnegative:
        kept = np.where(short, 0.0, 1.0)
        tidied = Invariant(H.groups, H.own * kept, np.where(H.cross < 1e-9 * H.own.max(), 0.0, H.cross) * kept[:, None])
    else:
        tidied = Invariant.from_blocks(H.groups, H.trivial, np.where(short, 0.0, H.standard))
    return (W, tidied) if objective(columns, W, tidied) <= value * (1.0 + _COSTLESS) else (W, H)


# -- starts -------------------------------------------------------------------------------------------------------


def _spectral(B: Invariant) -> Invariant:
    """The symmetric root of the positive semidefinite part of B."""
    eigenvalues, vectors = np.linalg.eigh(0.5 * (B.trivial + B.trivial.T))
    root = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T
    return Invariant.from_blocks(B.groups, root, np.sqrt(np.maximum(B.standard, 0.0)))


def _nonnegative_starts(B: Invariant) -> Iterator[Invariant]:
    """Non-negative H with H Hᵀ near B: the frame, then, unless B is diagonal, the entrywise part of its root."""
    groups = B.groups
    lengths = np.sqrt(np.maximum(B.own, 0.0))
    yield Invariant(groups, lengths, np.zeros((groups.size, groups.size)))
    if np.abs(B.cross).max() > _DIAGONAL * B.own.max():
        yield _spectral(B).map(lambda entries: np.maximum(entries, 0.0))


def _classifier(columns: GroupColumns, logits: Invariant, H: Invariant) -> Invariant:
    """W = L (Hᵀ)⁺ for features in penalty units, short ones cut off."""
    scale = 1.0 / np.sqrt(columns.feature_weights)
    h, z = H.scaled(1.0 / scale, np.ones(H.groups.size)), logits.scaled(np.ones(H.groups.size), 1.0 / scale)
    trivial = np.linalg.pinv(h.T.trivial, rcond=1e-6)
    standard = np.where(np.abs(h.standard) > 1e-6 * np.abs(h.standard).max(initial=0.0), h.standard, np.inf)
    return Invariant.from_blocks(H.groups, z.trivial @ trivial, z.standard / standard)


def _escape(columns: GroupColumns, W: Invariant, H: Invariant) -> tuple[Invariant, Invariant] | None:
    """The factors with features added along which the objective falls; None at a point that has none.

    In penalty units w = √λ_W W, h = √(λ_H ν) H the gradient by w is P h + w with P = U D^{-1/2}. A pair P r = s l with
    s > 1 lowers the objective by ε² (s − 1) along h + ε r cᵀ, w − ε l cᵀ, in a coordinate c that is not in use; with
    H ≥ 0 the vectors r are those of single classes, each in its own coordinate.
    """
    groups, ones = columns.groups, np.ones(columns.groups.size)
    features = np.sqrt(columns.lambda_h * columns.feature_weights)
    P = columns.residuals(W @ H.T).scaled(ones, columns.loss_weights / columns.sigma)
    length = _STEP * np.sqrt(np.minimum(columns.sigma, columns.loss_weights))
    if columns.nonnegative:
        norms = np.sqrt(P.own**2 + (groups.others * P.cross**2).sum(axis=0))
        weak = (norms > 1.0 + _ABOVE) & (features * H.own < length)
        step = np.where(weak, length, 0.0)
        added_w, added_h = (
            P.scaled(ones, -step / np.where(weak, norms, 1.0)),
            Invariant.identity(groups).scaled(step, ones),
        )
    else:
        left, values, right = np.linalg.svd(P.trivial)
        weak_trivial = np.where(values > 1.0 + _ABOVE, length.max(), 0.0)
        weak = (np.abs(P.standard) > 1.0 + _ABOVE) & (np.abs(features * H.standard) < length)
        step = np.where(weak, length, 0.0)
        added_w = Invariant.from_blocks(groups, -(left * weak_trivial) @ right, -step * np.sign(P.standard))
        added_h = Invariant.from_blocks(groups, (right.T * weak_trivial) @ right, step)
        weak = np.append(weak, weak_trivial > 0.0)
    if not weak.any():
        return None
    return W + added_w * (1.0 / math.sqrt(columns.lambda_w)), H + added_h.scaled(1.0 / features, ones)


# -- descent ------------------------------------------------------------------------------------------------------


def descend(
    columns: GroupColumns,
    W: Invariant,
    H: Invariant,
    free_own: BoolArray | None = None,
    free_cross: BoolArray | None = None,
    iterations: int = _LAST_STAGE,
) -> tuple[Invariant, Invariant]:
    """A point no worse than (W, H), by L-BFGS-B with H ≥ 0 where the problem asks for it; the same for an indicator.

    Variables are the entries in penalty units, each times the square root of the number of equal ones, so that their
    inner product is that of the (K, K) matrices; both they and the objective are scaled by κ = Σ K_g σ_g. Entries of H
    stay zero where ``free_own`` (G,) and ``free_cross`` (G, G) are False.
    """
    from scipy.optimize import minimize

    if not columns.loss.finite:
        return W, H
    groups, kappa = columns.groups, float(columns.groups.sizes @ np.minimum(columns.sigma, columns.loss_weights))
    pack = _Packing(columns, kappa)

    def value_and_gradient(flat: FloatArray) -> tuple[float, FloatArray]:
        w, h = pack.unpack(flat)
        logits = w @ h.T
        residuals = columns.residuals(logits).scaled(np.ones(groups.size), columns.loss_weights)
        losses = float(columns.class_weights @ columns.values(logits))
        gradient = pack.gradient(residuals @ h, residuals.T @ w)
        return losses / kappa + 0.5 * float(flat @ flat), gradient + flat

    lower = np.where(pack.is_feature, 0.0 if columns.nonnegative else -np.inf, -np.inf)
    upper = np.full(lower.size, np.inf)
    fixed = pack.fixed(free_own, free_cross)
    lower[fixed], upper[fixed] = 0.0, 0.0
    start = np.clip(pack.pack(W, H), lower, upper)
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 1e-17, "gtol": 1e-13, "maxcor": 30}
    bounds = np.stack([lower, upper], axis=1)
    flat = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    before, after = pack.unpack(start), pack.unpack(np.clip(flat, lower, upper))
    return after if objective(columns, *after) <= objective(columns, *before) else before


class _Packing:
    """The entries of W and H as one vector, in units where the penalty is κ/2 times its square."""

    def __init__(self, columns: GroupColumns, kappa: float) -> None:
        groups = columns.groups
        self.groups, self.kappa = groups, kappa
        self.present = groups.present > 0.0
        counts = [np.sqrt(groups.sizes), np.sqrt(groups.pairs[self.present])]
        root_w = math.sqrt(columns.lambda_w / kappa)
        root_h = np.sqrt(columns.lambda_h * columns.feature_weights / kappa)
        rows = np.broadcast_to(root_h[:, None], self.present.shape)[self.present]
        self.scale_w = np.concatenate([root_w * counts[0], root_w * counts[1]])
        self.scale_h = np.concatenate([root_h * counts[0], rows * counts[1]])
        self.multiplicity = np.concatenate(counts) ** 2
        self.is_feature = np.repeat([False, True], self.scale_w.size)

    def _flat(self, matrix: Invariant) -> FloatArray:
        return np.concatenate([matrix.own, matrix.cross[self.present]])

    def _matrix(self, flat: FloatArray) -> Invariant:
        G = self.groups.size
        cross = np.zeros((G, G))
        cross[self.present] = flat[G:]
        return Invariant(self.groups, flat[:G], cross)

    def pack(self, W: Invariant, H: Invariant) -> FloatArray:
        return np.concatenate([self._flat(W) * self.scale_w, self._flat(H) * self.scale_h])

    def unpack(self, flat: FloatArray) -> tuple[Invariant, Invariant]:
        w, h = flat[~self.is_feature], flat[self.is_feature]
        return self._matrix(w / self.scale_w), self._matrix(h / self.scale_h)

    def gradient(self, by_W: Invariant, by_H: Invariant) -> FloatArray:
        """The gradient of the loss by the vector, from those by one entry of W and of H."""
        by_entry = self.multiplicity / self.kappa
        return np.concatenate([self._flat(by_W) * by_entry / self.scale_w, self._flat(by_H) * by_entry / self.scale_h])

    def fixed(self, free_own: BoolArray | None, free_cross: BoolArray | None) -> BoolArray:
        """Entries of H that are not free, in the order of the vector."""
        own = np.ones(self.groups.size, dtype=bool) if free_own is None else free_own
        cross = self.present if free_cross is None else free_cross
        free = np.concatenate([own, cross[self.present]])
        return np.concatenate([np.zeros(free.size, dtype=bool), ~free])

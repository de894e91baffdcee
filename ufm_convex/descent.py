"""Descent on a classifier and features, in variables of one size whatever the decays and counts.

    w = √λ_W W / √κ,      h = √(λ_H ν) H / √κ,      κ = max σ,
    f / κ = Σ_i (weight_i / κ) l_i((κ / σ_i) w hᵀ e_i) + ½ ‖w‖² + ½ ‖h‖²

With P = U D^{-1/2} the gradient is (P h + w, Pᵀ w + h), so at a stationary point P has singular value 1 on the range of
h, and for free features the point is a global minimum if ‖P‖ ≤ 1 (docs/solvers.md, section 3).

Shapes: W (K, d), H (m, d), one row a column of the level; w and h likewise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.identity import factored_objective
from ufm_convex.losses.base import Indicator
from ufm_convex.points import Columns

_WIDE = 200_000
"""Number of variables from which fewer past steps are remembered: they dominate the memory."""


_STARTS, _SPREAD, _STEPS = 5, 0.5, 300
_WEIGHTS = (1.0, 1e2, 1e4, 1e6)
"""Penalties of what an indicator lacks; the last is met to about its inverse, which a stretch makes good."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """The factored problem in scaled variables.

    Attributes:
        columns: The columns it is built for.
        dimension: d.
    """

    columns: Columns
    dimension: int

    @property
    def kappa(self) -> float:
        """κ, the unit of the objective."""
        return float(self.columns.sigma.max())

    def pack(self, W: FloatArray, H: FloatArray) -> FloatArray:
        """(W, H) in scaled variables, flat."""
        column, row = self._units()
        return np.concatenate([(W * column).ravel(), (H * row).ravel()])

    def unpack(self, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(W, H) of flat scaled variables."""
        column, row = self._units()
        w, h = self.split(flat)
        return w / column, h / row

    def split(self, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(w, h), views."""
        cut = self.columns.num_classes * self.dimension
        return flat[:cut].reshape(-1, self.dimension), flat[cut:].reshape(-1, self.dimension)

    def logits(self, flat: FloatArray) -> FloatArray:
        """W Hᵀ, (K, m)."""
        w, h = self.split(flat)
        return (w @ h.T) * (self.kappa / self.columns.sigma)

    def pull(self, logits: FloatArray) -> FloatArray:
        """P = U D^{-1/2}, (K, m), at the given logits."""
        columns = self.columns
        return columns.loss.residuals(logits, columns.labels) * (columns.loss_weights / columns.sigma)

    def value_and_gradient(self, flat: FloatArray) -> tuple[float, FloatArray]:
        """The objective f / κ and its gradient."""
        columns, logits = self.columns, self.logits(flat)
        w, h = self.split(flat)
        losses = columns.loss.values(logits, columns.labels)
        value = (columns.loss_weights / self.kappa) @ losses + 0.5 * (flat @ flat)
        P = self.pull(logits)
        return float(value), np.concatenate([(P @ h + w).ravel(), (P.T @ w + h).ravel()])

    def minimise(self, start: FloatArray, max_iterations: int, gradient: float) -> tuple[FloatArray, int]:
        """L-BFGS-B from ``start``, with h ≥ 0 where the problem asks for it; the end and the number of iterations.

        Args:
            start: Flat scaled variables.
            max_iterations: Limit.
            gradient: Largest entry of the projected gradient at which to stop.
        """
        from scipy.optimize import minimize

        options = {
            "maxiter": max_iterations,
            "maxfun": 2 * max_iterations,
            "ftol": 1e-16,
            "gtol": gradient,
            "maxcor": 20 if start.size <= _WIDE else 8,
        }
        bounds = None
        if self.columns.nonnegative:
            cut = self.columns.num_classes * self.dimension
            bounds = [(None, None)] * cut + [(0.0, None)] * (start.size - cut)
        found = minimize(self.value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        end: FloatArray = found.x
        if bounds is not None:
            end[cut:] = np.maximum(end[cut:], 0.0)
        return end, int(found.nit)

    def _units(self) -> tuple[float, FloatArray]:
        columns = self.columns
        row = np.sqrt(columns.lambda_h * columns.feature_weights / self.kappa)[:, None]
        return math.sqrt(columns.lambda_w / self.kappa), row


@dataclass(frozen=True, eq=False)
class Penalised(Scaled):
    """The problem of an indicator with a penalty in its place, on which there is something to descend.

    Attributes:
        loss: The indicator.
        weight: ρ.
        unit: The size c of its logits; the variables are those of ``Scaled`` over √c.
    """

    loss: Indicator
    weight: float
    unit: float

    def value_and_gradient(self, flat: FloatArray) -> tuple[float, FloatArray]:
        """ρ Σ_i ½ (what l_i lacks)² / c² + ½ ‖w‖² + ½ ‖h‖² and its gradient."""
        w, h = self.split(flat)
        squares, slopes = self.loss.shortfall(self.unit * self.logits(flat), self.columns.labels)
        P = slopes / self.unit * (self.weight * self.kappa / self.columns.sigma)
        value = self.weight * (squares / self.unit**2).sum() + 0.5 * (flat @ flat)
        return float(value), np.concatenate([(P @ h + w).ravel(), (P.T @ w + h).ravel()])


def descend(
    columns: Columns, W: FloatArray, H: FloatArray, max_iterations: int = 2000
) -> tuple[FloatArray, FloatArray]:
    """A point no worse than (W, H), with H ≥ 0 where the problem asks for it.

    For an indicator the point itself, if a stretch makes it admissible; else one that a growing penalty leads to.
    """
    if isinstance(columns.loss, Indicator):
        stretch = columns.loss.stretch(W @ H.T, columns.labels, np.zeros((columns.num_classes, H.shape[0])))
        return (W, H) if np.isfinite(stretch).all() else _approached(columns, columns.loss, W, H)
    scaled = Scaled(columns, W.shape[1])
    flat, _ = scaled.minimise(scaled.pack(W, H), max_iterations, gradient=1e-10)
    new_W, new_H = scaled.unpack(flat)
    if factored_objective(columns, new_W, new_H) <= factored_objective(columns, W, H):
        return new_W, new_H
    return W, np.maximum(H, 0.0) if columns.nonnegative else H


def steepness(columns: Columns, W: FloatArray, H: FloatArray) -> float:
    """Norm of the projected gradient at (W, H) over the norm of (w, h); 0 at W = H = 0."""
    scaled = Scaled(columns, W.shape[1])
    flat = scaled.pack(W, H)
    gradient = scaled.value_and_gradient(flat)[1]
    if columns.nonnegative:
        blocked = (flat <= 0.0) & (gradient > 0.0)
        blocked[: W.size] = False
        gradient = np.where(blocked, 0.0, gradient)
    size = float(np.linalg.norm(flat))
    return float(np.linalg.norm(gradient)) / size if size > 0.0 else 0.0


def balanced(columns: Columns, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The smallest free W (K, r) and H (m, r) with W Hᵀ = L: X = L Diag(√ν) = Q Σ Vᵀ is shared out as √Σ to each.

    Their penalty is √(λ_W λ_H) ‖X‖_*, the least for these logits (Recht, Fazel, Parrilo, SIAM Rev. 52, 2010).
    """
    root = np.sqrt(columns.feature_weights)
    left, values, right = np.linalg.svd(logits * root, full_matrices=False)
    share = np.sqrt(values)
    ratio = math.sqrt(math.sqrt(columns.lambda_h)) / math.sqrt(math.sqrt(columns.lambda_w))
    return left * (share * ratio), right.T * (share / ratio) / root[:, None]


def _approached(columns: Columns, loss: Indicator, W: FloatArray, H: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The best of a few points that are nearly admissible, by a growing penalty, or (W, H) where there is none.

    With too few dimensions features must share them, and features at zero have no direction to begin with: starts are
    moved at random, always the same way.
    """
    generator, unit = np.random.default_rng(0), loss.unit(columns.num_classes)
    scaled = Penalised(columns, W.shape[1], loss, _WEIGHTS[0], unit)
    best, lowest, root = (W, H), np.inf, math.sqrt(unit)
    for _ in range(_STARTS):
        flat = scaled.pack(W / root, H / root)
        moves = _SPREAD * np.sqrt(np.mean(flat**2) + 1.0) * generator.standard_normal(flat.size)
        moves[W.size :] = np.abs(moves[W.size :]) if columns.nonnegative else moves[W.size :]
        flat = flat + moves
        for weight in _WEIGHTS:
            flat, _ = replace(scaled, weight=weight).minimise(flat, _STEPS, gradient=1e-9)
        end = admitted(columns, *(root * factor for factor in scaled.unpack(flat)))
        value = factored_objective(columns, *end)
        if value < lowest:
            best, lowest = end, value
    return best


def admitted(columns: Columns, W: FloatArray, H: FloatArray) -> tuple[FloatArray, FloatArray]:
    """W and H as they are, or, for an indicator, stretched until it is 0 in spite of rounding.

    Each feature is stretched, or shrunk, until its logits are tight, and the two penalties of each coordinate are made
    equal. Where no multiple of a column is admissible nothing changes, and the objective is infinite.
    """
    loss = columns.loss
    if not isinstance(loss, Indicator):
        return W, H
    unit = 4.0 * (W.shape[1] + 4) * np.finfo(float).eps
    for balance in (True, False):
        stretch = loss.stretch(W @ H.T, columns.labels, unit * (np.abs(W) @ np.abs(H).T))
        if not np.isfinite(stretch).all():
            return W, H
        H = H * stretch[:, None]
        if balance:
            penalty_w = columns.lambda_w * (W * W).sum(axis=0)
            penalty_h = columns.lambda_h * (columns.feature_weights @ (H * H))
            used = (penalty_w > 0.0) & (penalty_h > 0.0)
            share = np.where(used, (penalty_h / np.where(used, penalty_w, 1.0)) ** 0.25, 0.0)
            W, H = W * share, H / np.where(used, share, np.inf)
    return W, H

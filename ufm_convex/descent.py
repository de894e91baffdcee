"""Descent on a classifier and features, in variables of one size whatever the decays and counts.

    w = √λ_W W / √κ,      h = √(λ_H ν) H / √κ,      κ = max σ,
    f / κ = Σ_i (weight_i / κ) l_i((κ / σ_i) w hᵀ e_i + b) + ½ ‖w‖² + ½ ‖h‖² + g(b) / κ

A bias is moved as √((Σ weight + λ_b) / κ) b, in which its curvature is of order one. With P = U D^{-1/2} the gradient
in (w, h) is (P h + w, Pᵀ w + h), so at a stationary point P has singular value 1 on the range of h, and for free
features the point is a global minimum if ‖P‖ ≤ 1 (docs/solvers.md, section 3).

Shapes: W (K, d), H (m, d), one row a column of the level; w and h likewise; b (K,).
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

    @property
    def bias_unit(self) -> float:
        """What b is multiplied by."""
        return math.sqrt((float(self.columns.loss_weights.sum()) + self.columns.bias.curvature) / self.kappa)

    def pack(self, W: FloatArray, H: FloatArray, bias: FloatArray | None = None) -> FloatArray:
        """(W, H, b) in scaled variables, flat; b = 0 where it is not given."""
        column, row = self._units()
        b = np.zeros(self.columns.num_classes) if bias is None else bias
        return np.concatenate([(W * column).ravel(), (H * row).ravel(), b[: self.columns.bias.size] * self.bias_unit])

    def filled(self, w: FloatArray, h: FloatArray) -> FloatArray:
        """Flat scaled variables with b = 0."""
        return np.concatenate([w.ravel(), h.ravel(), np.zeros(self.columns.bias.size)])

    def unpack(self, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(W, H) of flat scaled variables."""
        column, row = self._units()
        w, h = self.split(flat)
        return w / column, h / row

    def bias(self, flat: FloatArray) -> FloatArray:
        """The bias, (K,); zeros without one."""
        b = np.zeros(self.columns.num_classes)
        b[: self.columns.bias.size] = flat[flat.size - self.columns.bias.size :] / self.bias_unit
        return b

    def split(self, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(w, h), views."""
        cut = self.columns.num_classes * self.dimension
        end = flat.size - self.columns.bias.size
        return flat[:cut].reshape(-1, self.dimension), flat[cut:end].reshape(-1, self.dimension)

    def outputs(self, flat: FloatArray) -> FloatArray:
        """W Hᵀ + b 1ᵀ, (K, m)."""
        w, h = self.split(flat)
        logits: FloatArray = (w @ h.T) * (self.kappa / self.columns.sigma)
        return logits + self.bias(flat)[:, None] if self.columns.bias.size else logits

    def pull(self, outputs: FloatArray) -> FloatArray:
        """P = U D^{-1/2}, (K, m), at the given outputs."""
        columns = self.columns
        return columns.loss.residuals(outputs, columns.layout) * (columns.loss_weights / columns.sigma)

    def value_and_gradient(self, flat: FloatArray) -> tuple[float, FloatArray]:
        """The objective f / κ and its gradient."""
        columns, outputs = self.columns, self.outputs(flat)
        w, h = self.split(flat)
        losses = columns.loss.values(outputs, columns.layout)
        end = flat.size - columns.bias.size
        value = (columns.loss_weights / self.kappa) @ losses + 0.5 * (flat[:end] @ flat[:end])
        P = self.pull(outputs)
        b = self.bias(flat)[: columns.bias.size]
        value += 0.5 * columns.bias.curvature / self.kappa * (b @ b)
        along = ((P @ columns.sigma)[: b.size] + columns.bias.curvature * b) / (self.kappa * self.bias_unit)
        return float(value), np.concatenate([(P @ h + w).ravel(), (P.T @ w + h).ravel(), along])

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
            free = self.columns.bias.size
            bounds = [(None, None)] * cut + [(0.0, None)] * (start.size - cut - free) + [(None, None)] * free
        found = minimize(self.value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        end: FloatArray = found.x
        if bounds is not None:
            h = self.split(end)[1]
            np.maximum(h, 0.0, out=h)
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
        squares, slopes = self.loss.shortfall(self.unit * self.outputs(flat), self.columns.layout)
        P = slopes / self.unit * (self.weight * self.kappa / self.columns.sigma)
        value = self.weight * (squares / self.unit**2).sum() + 0.5 * (flat @ flat)
        return float(value), np.concatenate([(P @ h + w).ravel(), (P.T @ w + h).ravel()])


def descend(
    columns: Columns, W: FloatArray, H: FloatArray, max_iterations: int = 2000
) -> tuple[FloatArray, FloatArray]:
    """A point no worse than (W, H), for columns without bias."""
    new_W, new_H, _ = descend_with_bias(columns, W, H, None, max_iterations)
    return new_W, new_H


def descend_with_bias(
    columns: Columns, W: FloatArray, H: FloatArray, bias: FloatArray | None, max_iterations: int = 2000
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """A point no worse than (W, H, b), with H ≥ 0 where the problem asks for it; b is None without bias.

    For an indicator the point itself, if a stretch makes it admissible; else one that a growing penalty leads to.
    """
    if (indicator := columns.loss.indicator) is not None:
        stretch = indicator.stretch(W @ H.T, columns.layout, np.zeros(1))
        return (W, H, None) if np.isfinite(stretch).all() else (*_approached(columns, indicator, W, H), None)
    scaled = Scaled(columns, W.shape[1])
    flat, _ = scaled.minimise(scaled.pack(W, H, bias), max_iterations, gradient=1e-10)
    new_W, new_H = scaled.unpack(flat)
    new_bias = columns.bias.canonical(scaled.bias(flat)) if columns.bias.size else None
    if factored_objective(columns, new_W, new_H, new_bias) <= factored_objective(columns, W, H, bias):
        return new_W, new_H, new_bias
    return W, np.maximum(H, 0.0) if columns.nonnegative else H, bias


def steepness(columns: Columns, W: FloatArray, H: FloatArray, bias: FloatArray | None = None) -> float:
    """Norm of the projected gradient at (W, H, b) over the norm of (w, h); 0 at W = H = 0."""
    scaled = Scaled(columns, W.shape[1])
    flat = scaled.pack(W, H, bias)
    gradient = scaled.value_and_gradient(flat)[1]
    if columns.nonnegative:
        blocked = (flat <= 0.0) & (gradient > 0.0)
        blocked[: W.size] = blocked[W.size + H.size :] = False
        gradient = np.where(blocked, 0.0, gradient)
    size = float(np.linalg.norm(flat[: W.size + H.size]))
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
    loss = columns.loss.indicator
    if loss is None:
        return W, H
    unit = 4.0 * (W.shape[1] + 4) * np.finfo(float).eps
    for balance in (True, False):
        stretch = loss.stretch(W @ H.T, columns.layout, unit * (np.abs(W) @ np.abs(H).T))
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

"""Variable projection: for a given W the features of each column solve a small convex problem of their own.

With free features, w = √λ_W W, h = √(λ_H ν) H and a softmax against the targets of a table,

    φ(w) = min over h of  Σ_j pt_j l_j(w h_j / σ_j) + ½ ‖w‖² + ½ ‖h‖²

has the gradient P h + w, P = U D^{-1/2}, and a Hessian of order 1 whatever the decays: what the loss would resist, the
features make up for. So few steps of L-BFGS in w are enough, while (w, h) together are ill-conditioned. Before them,
steps that leave the logits alone and balance the factors (w hᵀ = Q S Rᵀ becomes w = Q √S, h = R √S) come close quickly.
A column's Hessian is I + wᵀ(diag p − p pᵀ)w times its curvature pt/σ²: that at its few likely outputs is inverted
exactly, that at the others by their mean over all columns.

Nothing is m × m: arrays are V × m, m × d, V × d and d × d. Golub, Pereyra, SIAM J. Numer. Anal. 10, 1973.

Shapes: V outputs, m columns, d coordinates; w (V, d), h (m, d), shares p and pulls P (V, m).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm_convex import _deadline
from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.losses import Table
from ufm_convex.relaxation import Columns

_LIKELY = 16
"""Outputs of a column at most whose part of the Hessian is inverted exactly: those of its largest targets."""
_CHUNK = 1 << 22
"""Numbers that are gathered at once."""
_INNER = 8
_HALVINGS = 12
_SUFFICIENT = 1e-4
_NOISE = 1e-13
"""Changes of a column's objective that are this small beside it are rounding."""
_CLIP = 1e-3
"""Singular values of P from 1 minus this on count as active."""


@dataclass(frozen=True, eq=False)
class Projected:
    """Factors with the best features for their w.

    Attributes:
        w: (V, d).
        h: (m, d).
        value: The objective.
        shares: Softmax of the logits, (V, m).
        pulls: P, (V, m).
    """

    w: FloatArray
    h: FloatArray
    value: float
    shares: FloatArray
    pulls: FloatArray

    @property
    def slope(self) -> FloatArray:
        """The gradient of φ, (V, d)."""
        return self.pulls @ self.h + self.w


@dataclass(frozen=True, eq=False)
class Feasible:
    """A dual point near P, and what it proves up to rounding.

    Attributes:
        residuals: V, (V, m): shares less targets.
        value: A lower bound.
    """

    residuals: FloatArray
    value: float


@dataclass(frozen=True, eq=False)
class Projection:
    """The problem, for a softmax with a table, free features and no bias.

    Attributes:
        columns: Single columns.
        table: The targets of the columns, one row each.
    """

    columns: Columns
    table: Table

    @cached_property
    def _loads(self) -> FloatArray:
        """The weight of the loss over σ, (m,)."""
        return np.asarray(self.columns.loss_weights / self.columns.sigma)

    @cached_property
    def _places(self) -> tuple[IntArray, IntArray]:
        """Output and column of each entry of the table."""
        return self.table.outputs, np.repeat(np.arange(len(self.table)), np.diff(self.table.starts))

    @cached_property
    def floor(self) -> float:
        """Σ pt Ent(y)."""
        return float(self.columns.loss_weights @ self.table.summed(lambda y: -y * np.log(y)))

    @cached_property
    def _likely(self) -> tuple[IntArray, FloatArray]:
        """Outputs of the largest targets of each column, (m, k), and 1 where there is one, 0 where it is filled up."""
        lengths = np.diff(self.table.starts)
        outputs, columns = self._places
        order = np.lexsort((-self.table.entries, columns))
        rank = np.arange(order.size) - np.repeat(self.table.starts[:-1], lengths)
        k = int(min(lengths.max(), _LIKELY))
        kept = rank < k
        places, there = np.zeros((lengths.size, k), dtype=np.int64), np.zeros((lengths.size, k))
        places[columns[kept], rank[kept]] = outputs[order][kept]
        there[columns[kept], rank[kept]] = 1.0
        return places, there

    # -- at given logits --------------------------------------------------------------------------------------------

    def logits(self, w: FloatArray, h: FloatArray) -> FloatArray:
        """L = w hᵀ Diag(σ)⁻¹."""
        return np.asarray((w @ h.T) / self.columns.sigma)

    def losses(self, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Loss of each column, (m,), and its shares, (V, m)."""
        top = logits.max(axis=0)
        shares = logits - top
        np.exp(shares, out=shares)
        sums = shares.sum(axis=0)
        shares /= sums
        outputs, columns = self._places
        paired = np.bincount(columns, self.table.entries * logits[outputs, columns], minlength=top.size)
        return top + np.log(sums) - paired, shares

    def pulls(self, shares: FloatArray) -> FloatArray:
        """P = U D^{-1/2} at the shares."""
        found = shares * self._loads
        outputs, columns = self._places
        found[outputs, columns] -= self.table.entries * self._loads[columns]
        return found

    # -- features ---------------------------------------------------------------------------------------------------

    def features(self, w: FloatArray, h: FloatArray, accuracy: float) -> Projected:
        """The best h for a w, from one that may be near.

        Args:
            w: (V, d).
            h: (m, d).
            accuracy: Decrease of the objective that is still to be had, at which to stop; infinite for the h as it is.
        """
        weights, logits = self.columns.loss_weights, self.logits(w, h)
        losses, shares = self.losses(logits)
        for _ in range(_INNER):
            pulls = self.pulls(shares)
            if np.isinf(accuracy):
                break
            slope = pulls.T @ w + h
            step = self._newton(w, shares, slope)
            promised = (slope * step).sum(axis=1)
            if float(promised.sum()) <= accuracy or _deadline.passed():
                break
            across, sizes = self.logits(w, step), np.ones(len(h))
            before = weights * losses + 0.5 * (h * h).sum(axis=1)
            for _ in range(_HALVINGS):
                trial = h - sizes[:, None] * step
                tried = logits - sizes * across
                losses, shares = self.losses(tried)
                after = weights * losses + 0.5 * (trial * trial).sum(axis=1)
                worse = after > before - _SUFFICIENT * sizes * promised + _NOISE * np.abs(before)
                if not worse.any():
                    break
                sizes[worse] *= 0.4
            h, logits = trial, tried
        else:
            pulls = self.pulls(shares)
        value = float(weights @ losses) + 0.5 * float(np.vdot(w, w) + np.vdot(h, h))
        return Projected(w, h, value, shares, pulls)

    def _newton(self, w: FloatArray, shares: FloatArray, slope: FloatArray) -> FloatArray:
        """Near the Newton step of every column: Woodbury's formula at likely outputs, one matrix for all others."""
        places, there = self._likely
        curvature = self._loads / self.columns.sigma
        m, k = places.shape
        likely = np.take_along_axis(shares, places.T, axis=0).T * there
        common = shares @ curvature - np.bincount(
            places.ravel(), (likely * curvature[:, None]).ravel(), minlength=len(w)
        )
        inverse = np.linalg.inv(np.eye(w.shape[1]) + (w.T * (np.maximum(common, 0.0) / m)) @ w)
        image = w @ inverse
        kernel = image @ w.T
        inner = -likely[:, :, None] * likely[:, None, :]
        inner[:, np.arange(k), np.arange(k)] += likely
        inner *= curvature[:, None, None]
        nearby = kernel[places[:, :, None], places[:, None, :]]
        solved: FloatArray = np.asarray(np.linalg.solve(np.eye(k) + inner @ nearby, inner), dtype=np.float64)
        step = slope @ inverse
        rows = max(1, _CHUNK // (k * w.shape[1]))
        for first in range(0, m, rows):
            part = slice(first, first + rows)
            seen = np.einsum("mkd,md->mk", w[places[part]], step[part])
            given = np.einsum("mkl,ml->mk", solved[part], seen)
            step[part] -= np.einsum("mk,mkd->md", given, image[places[part]])
        return np.asarray(step)

    # -- classifiers ------------------------------------------------------------------------------------------------

    def balanced(self, w: FloatArray, h: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The factors of the same logits with the least penalty; coordinates without any are left out."""
        basis, triangle = np.linalg.qr(w)
        gram = triangle @ (h.T @ h) @ triangle.T
        squares, vectors = np.linalg.eigh(0.5 * (gram + gram.T))
        values = np.sqrt(np.maximum(squares[::-1], 0.0))
        kept = values > 1e-7 * values[0]
        if not kept.any():
            return w[:, :1] * 0.0, h[:, :1] * 0.0
        vectors, roots = vectors[:, ::-1][:, kept], np.sqrt(values[kept])
        return (basis @ vectors) * roots, h @ (triangle.T @ vectors / roots)

    def start(self) -> tuple[FloatArray, FloatArray]:
        """Factors along the singular pairs of P above 1 at W = H = 0; one coordinate of zeros where there is none."""
        size = self.columns.outputs.total, self.columns.columns.total
        pulls = self.pulls(np.full(size, 1.0 / size[0]))
        left, values = spectrum(pulls)
        above = values > 1.0
        if not above.any():
            return np.zeros((size[0], 1)), np.zeros((size[1], 1))
        roots = np.sqrt(values[above] - 1.0)
        w, h = -left[:, above] * roots, (pulls.T @ left[:, above]) * (roots / values[above])
        best, product = (np.inf, 1.0), self.logits(w, h)
        penalty = 0.5 * float(np.vdot(w, w) + np.vdot(h, h))
        for scale in 10.0 ** np.arange(-6.0, 1.0):
            value = float(self.columns.loss_weights @ self.losses(scale**2 * product)[0]) + scale**2 * penalty
            best = min(best, (value, float(scale)))
        return w * best[1], h * best[1]

    # -- the dual point ---------------------------------------------------------------------------------------------

    def feasible(self, pulls: FloatArray) -> Feasible:
        """Shares near those behind P with ‖P‖ ≤ 1: active singular values become 1, and what is left is shrunk.

        −l* is concave and −l*(0) an entropy, so that s V, s ≤ 1, is worth at least s times V and 1 − s times the floor.
        """
        best: Feasible | None = None
        left, values = spectrum(pulls)
        for margin in (_CLIP, 0.0):
            change = np.where(values >= 1.0 - margin, 1.0 / np.maximum(values, 0.5) - 1.0, 0.0)
            moved = pulls + (left * change) @ (left.T @ pulls)
            moved /= self._loads
            outputs, columns = self._places
            moved[outputs, columns] += self.table.entries
            np.maximum(moved, 0.0, out=moved)
            moved /= moved.sum(axis=0)
            norm = float(spectrum(self.pulls(moved))[1][0])
            logs = np.log(np.where(moved > 0.0, moved, 1.0))
            value = -float(self.columns.loss_weights @ (moved * logs).sum(axis=0))
            shrunk = min(1.0, 1.0 / norm) if norm > 0.0 else 1.0
            value = shrunk * value + (1.0 - shrunk) * self.floor
            if best is None or value > best.value:
                moved[outputs, columns] -= self.table.entries
                best = Feasible(shrunk * moved, value)
        if best is None:
            raise TypeError("there is a margin")
        return best


def spectrum(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Left singular vectors and singular values, the largest first, from the Gram matrix on the smaller side."""
    wide = matrix.shape[0] <= matrix.shape[1]
    squares, vectors = np.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
    values, vectors = np.sqrt(np.maximum(squares[::-1], 0.0)), vectors[:, ::-1]
    if wide:
        return vectors, values
    return (matrix @ vectors) / np.maximum(values, np.finfo(float).tiny), values

"""Columns of logits as their own output sees them: all that a cross-entropy with alike classes has to know of them.

With z_y the own logit, z̄ the mean of the V − 1 others and s = mean over j ≠ y of φ(z_j − z̄), φ(u) = e^u − 1 − u ≥ 0:

    log Σ_j e^{z_j} = log(e^{z_y} + (V−1) e^{z̄ + log(1+s)})

so the column has the log-sum-exp of one with equal others and the margin m = z_y − z̄ − log(1+s). For a target or a
dual point p that is equal on the others, of mass t,

    KL(p ‖ softmax z) = KL(p ‖ softmax at margin m) + t log(1+s)                             (chain rule)

two terms ≥ 0, and values and divergences of any number of columns need three numbers a column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from ufm_convex.losses.cross_entropy import CrossEntropy

_NEAR = 0.25
"""Up to here φ is its series: the direct form loses φ/u of its digits, a factor of 40 at the cut."""

_VAST = 700.0
"""Beyond, e^u overflows."""

_SERIES = tuple(1.0 / math.factorial(n) for n in range(13, 1, -1))
"""The coefficients of φ(u)/u², the highest power, u¹¹, first; what follows is below 1e-17 of it up to the cut."""

_TILE_ENTRIES = 1 << 15
"""That stay in the first caches while the series goes over them."""


@dataclass(frozen=True, eq=False)
class FromOwn:
    """Columns seen from their own outputs, each array (C,).

    Attributes:
        num_outputs: V.
        difference: z_y − z̄.
        excess: log(1 + s) ≥ 0.
        lowest: The least of the other logits, minus z̄.
        highest: The largest of them, minus z̄.
    """

    num_outputs: int
    difference: FloatArray
    excess: FloatArray
    lowest: FloatArray
    highest: FloatArray

    @classmethod
    def of(cls, logits: FloatArray, own: IntArray) -> FromOwn:
        """Read columns off.

        Args:
            logits: One row a column, (C, V), C-contiguous; overwritten.
            own: The own output of each, (C,).
        """
        columns, others = np.arange(own.size), logits.shape[1] - 1
        mine = logits[columns, own]
        logits[columns, own] = 0.0
        mean = logits.sum(axis=1) / others
        logits[columns, own] = mean
        logits -= mean[:, None]  # u, exactly 0 at the own place
        lowest, highest = logits.min(axis=1), logits.max(axis=1)
        vast = highest > _VAST
        if not vast.any():
            return cls(others + 1, mine - mean, np.log1p(_mean_phi(logits, others)), lowest, highest)
        excess = np.empty_like(mean)
        excess[~vast] = np.log1p(_mean_phi(logits[~vast], others))
        # 1 + s is the mean of e^u; the own entry is e^{-700} of the largest, and log V nothing beside 700
        shifted = logits[vast] - highest[vast, None]
        excess[vast] = highest[vast] + np.log(np.exp(shifted).sum(axis=1) / others)
        return cls(others + 1, mine - mean, excess, lowest, highest)

    @property
    def margin(self) -> FloatArray:
        """M, of the columns with equal others that have the same log-sum-exp."""
        return self.difference - self.excess

    def values(self, loss: CrossEntropy) -> FloatArray:
        """l_y(z), (C,)."""
        smoothed = loss.target(self.num_outputs)[1] * (self.num_outputs - 1) * self.excess
        return loss.margin_values(self.margin, self.num_outputs) + smoothed

    def divergences(self, loss: CrossEntropy, strengths: FloatArray) -> FloatArray:
        """KL(p ‖ softmax z), (C,), for p = y − q (e − 1/V) of the given strengths q, (C,)."""
        V = self.num_outputs
        mass = (V - 1) * (loss.target(V)[1] + strengths / V)
        return loss.margin_divergences(strengths, self.margin, V) + mass * self.excess


def _mean_phi(rows: FloatArray, number: int) -> FloatArray:
    """The sum of φ over each of the rows (C, V), over ``number``; every term has a relative error of some 40 units."""
    step = max(1, _TILE_ENTRIES // rows.shape[1])
    work, sums = np.empty((2, min(step, len(rows)), rows.shape[1])), np.empty(len(rows))
    for start in range(0, len(rows), step):
        u = rows[start : start + step]
        series, direct = work[:, : len(u)]
        np.exp(u, out=direct)
        direct -= 1.0
        direct -= u
        near = np.abs(u, out=series) < _NEAR
        if near.any():
            series.fill(_SERIES[0])
            for coefficient in _SERIES[1:]:
                series *= u
                series += coefficient
            series *= u
            series *= u
            np.copyto(direct, series, where=near)
        direct.sum(axis=1, out=sums[start : start + step])
    return sums / number

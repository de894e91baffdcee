"""Columns: how outputs and columns enter the objective, at any level.

    Σ_j weight_j l_j(L e_j + b) + λ_W/2 tr A + λ_H/2 Σ_j ν_j B_jj + g(b)

A column is a unit of features: a sample, a class mean, the class mean of every class of a group. V outputs and m
columns each come in orbits of alike ones; sample, class and group level and classes without samples are values of this
type. Losses see *entries*, one number for every set of outputs that a column does not tell apart.

Shapes: R orbits of outputs, C of columns, E entries a column; L (V, m) and B (m, m) are ``Alike``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex.losses import Layout, Loss
from ufm_convex.problem.bias import Bias, NoBias
from ufm_convex.relaxation.alike import Alike, entry_numbers
from ufm_convex.relaxation.orbits import Orbits

_SMALLEST_SHARE = 2.0**-40
"""A residual of which not even this share lies in the domain points away from it."""


@dataclass(frozen=True, eq=False)
class Columns:
    """A problem under a symmetry.

    Attributes:
        outputs: V outputs, R orbits.
        columns: m columns, C orbits.
        target: Y, (V, m); of hard labels it is 1 at the own output.
        rows: Row of the loss's tables behind each orbit of columns, (C,).
        loss_weights: Weight of the loss of one column of each orbit, (C,).
        feature_weights: ν of one column of each orbit, (C,).
        lambda_w: Decay of the classifier.
        lambda_h: Decay of the features.
        loss: The loss.
        nonnegative: Whether B ≥ 0 entrywise is required.
        bias: The penalty of the bias, one entry an orbit of outputs.
    """

    outputs: Orbits
    columns: Orbits
    target: Alike
    rows: IntArray
    loss_weights: FloatArray
    feature_weights: FloatArray
    lambda_w: float
    lambda_h: float
    loss: Loss
    nonnegative: bool
    bias: Bias = field(default_factory=NoBias)

    @cached_property
    def sigma(self) -> FloatArray:
        """σ = √(λ_W λ_H ν) of a column of each orbit, (C,): D = Diag(σ²)."""
        return math.sqrt(self.lambda_w) * math.sqrt(self.lambda_h) * np.sqrt(self.feature_weights)

    @cached_property
    def layout(self) -> Layout:
        """How the loss sees the columns."""
        if self.outputs.plain and self.columns.plain:
            return Layout.single(self.target.even, self.rows)
        return Layout(entry_numbers(self.outputs, self.columns), self.target.entries(), self.rows)

    @cached_property
    def orbit_weights(self) -> FloatArray:
        """Weight of the loss of an orbit, (C,)."""
        return self.columns.numbers * self.loss_weights

    # -- the loss on matrices ---------------------------------------------------------------------------------------

    def outputs_of(self, logits: Alike, bias: FloatArray | None) -> Alike:
        """L + b 1ᵀ: what the loss sees."""
        return logits if bias is None else logits.plus_rows(bias)

    def values(self, outputs: Alike) -> FloatArray:
        """The loss at a column of each orbit, (C,)."""
        return self.loss.values(outputs.entries(), self.layout)

    def conjugates(self, V: Alike) -> FloatArray:
        """The conjugate at a column of each orbit, (C,); +∞ outside its domain."""
        return self.loss.conjugate(V.entries(), self.layout)

    def residuals(self, outputs: Alike) -> Alike:
        """The gradient of the loss, column by column."""
        return self._matrix(self.loss.residuals(outputs.entries(), self.layout))

    def nearest(self, V: Alike, outputs: Alike) -> Alike:
        """The subgradient at the outputs that is near V; the gradient where there is one."""
        return self._matrix(self.loss.nearest(V.entries(), outputs.entries(), self.layout))

    def calibrations(self, V: Alike, outputs: Alike) -> FloatArray:
        """l(z) + l*(v) − <v, z> ≥ 0 of a column of each orbit, (C,)."""
        return self.loss.fenchel_young(V.entries(), outputs.entries(), self.layout)

    def limit(self, V: Alike) -> FloatArray:
        """The largest s with s·v in the conjugate's domain, of a column of each orbit, (C,)."""
        return self.loss.limit(V.entries(), self.layout)

    def peaks(self, V: Alike, chosen: BoolArray) -> FloatArray:
        """The s ≥ 0 that maximises −l*(s·v), for a column of each of the chosen orbits."""
        return self.loss.ray_maximum(V.entries()[:, chosen], self.layout[chosen])

    def into_domain(self, V: Alike) -> Alike:
        """A point of the conjugate's domain near each column."""
        return self._matrix(self.loss.into_domain(V.entries(), self.layout))

    def _matrix(self, table: FloatArray) -> Alike:
        return Alike.of_entries(self.outputs, self.columns, table)

    # -- the bias on matrices ---------------------------------------------------------------------------------------

    def weighted(self, V: Alike) -> Alike:
        """U = V Diag(weights)."""
        return V.scaled(None, self.loss_weights)

    def sums(self, V: Alike) -> tuple[FloatArray, float]:
        """U1, one entry an orbit of outputs, (R,), and Σ |u|, the size of what was summed."""
        U = self.weighted(V)
        many = self.layout.numbers * np.abs(U.entries())
        return U.row_sums(), float(many.sum(axis=0) @ self.columns.numbers)

    def support(self, V: Alike) -> float:
        """g*(−U1), what the dual objective pays for the bias."""
        return self.bias.support(*self.sums(V)) if self.bias.size else 0.0

    def projected(self, V: Alike, bias: FloatArray) -> Alike:
        """The residuals nearest to V with −U1 in ∂g(b), whatever domain they leave: see ``Bias.missing``.

        Spread like this over the columns a free bias has U D^{-1/2} σ = 0, which changes of the spectrum keep.
        """
        total = float(self.orbit_weights.sum())
        missing = self.bias.missing(bias, self.sums(V)[0], total) if self.bias.size else None
        if missing is None:
            return V
        squares = self.sigma**2
        share = squares / (float(self.columns.numbers @ squares) * self.loss_weights)
        return V - Alike.matrix(self.outputs, self.columns, np.outer(missing, share))

    def admitted(self, V: Alike) -> Alike:
        """Residuals near V in the domain of the dual objective, which a free bias narrows; V lies in the losses'."""
        if not self.bias.needs_balance:
            return V
        balanced = self.balanced(V)
        # what was added may lead out of the domain again, and shrinking all columns alike leads back
        scale = 0.5
        while not np.isfinite(self.conjugates(scale * balanced)).all():
            scale *= 0.5
            if scale < _SMALLEST_SHARE:
                return Alike.zeros(self.outputs, self.columns)
        return min(1.0, scale * float(self.limit(scale * balanced).min())) * balanced

    def balanced(self, V: Alike) -> Alike:
        """V with U1 = 0, where a free bias asks for it: what is missing is added, and nothing taken away.

        Entries only fall where the target is, in proportion to it, and only grow elsewhere, away from 0: a scaling of
        all columns by one number then leads back into the domain, and keeps U1 = 0. Added is as much as U1 was off.
        """
        closing = self.bias.tying()
        U = self.weighted(self._without_massless(V, closing))
        mass = self.target.map(np.abs).scaled(None, self.loss_weights)
        totals = mass.row_sums()
        lowering = mass.scaled(np.where(totals > 0.0, 1.0 / np.where(totals > 0.0, totals, 1.0), 0.0))
        if closing is None:
            sums = U.row_sums()
            raising = Alike.matrix(self.outputs, self.columns, np.tile(self.loss_weights, (self.outputs.size, 1)))
            raising = raising - mass
            totals = raising.row_sums()
            raising = raising.scaled(1.0 / np.where(totals > 0.0, totals, 1.0))
            changed = U - lowering.scaled(np.maximum(sums, 0.0)) + raising.scaled(np.maximum(-sums, 0.0))
            return changed.scaled(None, 1.0 / self.loss_weights)
        sums = U.row_sums() / closing
        many = self.outputs.numbers
        missing, surplus = np.maximum(-sums, 0.0), np.maximum(sums, 0.0)
        total = max(float(many @ surplus), float(many @ missing))
        if total == 0.0:
            return V
        # a flow of missing_j surplus_k / total from k to j raises row j and lowers row k, and keeps column sums
        outflow = lowering.scaled(surplus / total)
        gains = np.outer(missing, outflow.T.row_sums())
        share = float(many @ missing)
        changed = U + Alike.matrix(self.outputs, self.columns, gains).scaled(closing) - outflow.scaled(closing * share)
        return changed.scaled(None, 1.0 / self.loss_weights)

    def _without_massless(self, V: Alike, closing: FloatArray | None) -> Alike:
        """V with 0 at outputs of which no target has a share; where an equation ties columns, the targets take it.

        Residuals there are not negative, or best at 0, so that nothing else has the sum 0.
        """
        massless = self.target.map(np.abs).row_sums() == 0.0
        if not massless.any():
            return V
        kept = V.scaled(np.where(massless, 0.0, 1.0))
        if closing is None:
            return kept
        taken = V.scaled(np.where(massless, 1.0 / closing, 0.0)).T.row_sums()
        return kept + self.target.scaled(closing, taken / self.target.T.row_sums())

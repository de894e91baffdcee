"""Maps between levels, for points and for multipliers, and their adjoints.

Two steps take a finer level to a coarser one. *Merging* replaces columns by the means of those with one label, with the
membership matrix Y, (columns of the finer level, columns between), and n = Yᵀ1:

    refine        (A, L, B)       → (A, L Yᵀ, Y B Yᵀ)
    coarsen       (A, L, B)       → (A, L Y n⁻¹, n⁻¹ Yᵀ B Y n⁻¹)
    refine_dual   (S_A, S_L, S_B) → (S_A, S_L n⁻¹ Yᵀ, Y n⁻¹ S_B n⁻¹ Yᵀ)
    coarsen_dual  (S_A, S_L, S_B) → (S_A, S_L Y, Yᵀ S_B Y)

*Averaging* over a symmetry keeps the columns: the mean one way, the matrix written out the other, which are adjoint.
In the inner product <A, S_A> + 2 <L, S_L> + <B, S_B> ``coarsen_dual`` is the adjoint of ``refine``, ``refine_dual``
that of ``coarsen``; ``coarsen`` after ``refine`` is the identity, and all keep feasibility, which is why every level
has one optimal value (docs/levels.md, section 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.relaxation.alike import Alike
from ufm_convex.relaxation.columns import Columns
from ufm_convex.relaxation.orbits import Orbits
from ufm_convex.relaxation.points import Dual, Gram


@dataclass(frozen=True, eq=False)
class Maps:
    """From a finer level to a coarser one and back.

    Attributes:
        fine: Columns of the finer level.
        coarse: Columns of the coarser level.
        labels: Column of full arrays of the coarser level that each column of those of the finer one belongs to; None
            where both have the same columns.
    """

    fine: Columns
    coarse: Columns
    labels: np.ndarray | None = None

    @cached_property
    def _between(self) -> Orbits:
        """The columns after merging and before averaging: single ones."""
        if self.labels is None:
            return self.fine.columns
        coarse = self.coarse.columns
        present = np.sort(coarse.positions)
        return Orbits.single(present.size, present, coarse.length)

    @cached_property
    def _membership(self) -> Alike:
        """Y."""
        rows, cols = self.fine.columns, self._between
        labels = np.zeros(0) if self.labels is None else self.labels[rows.positions]
        return Alike.matrix(rows, cols, (labels[:, None] == cols.positions).astype(np.float64))

    @property
    def _shares(self) -> FloatArray:
        return np.asarray(1.0 / self._membership.T.row_sums())

    def coarsen(self, point: Gram) -> Gram:
        """The coarser point, with an objective that is no larger."""
        if self.labels is not None:
            means = self._membership.scaled(None, self._shares)
            point = Gram(point.A, point.logits @ means, means.T @ point.B @ means, point.bias)
        return self._averaged(point)

    def refine(self, point: Gram) -> Gram:
        """The finer point that stands for a coarser one, with the same objective."""
        point = self._written_out(point)
        if self.labels is None:
            return point
        Y = self._membership
        return Gram(point.A, point.logits @ Y.T, Y @ point.B @ Y.T, point.bias)

    def coarsen_dual(self, blocks: Gram) -> Gram:
        """Adjoint of ``refine`` on triples (S_A, S_L, S_B): multipliers of merged columns are summed."""
        if self.labels is not None:
            Y = self._membership
            blocks = Gram(blocks.A, blocks.logits @ Y, Y.T @ blocks.B @ Y)
        return self._averaged(blocks)

    def refine_dual(self, blocks: Gram) -> Gram:
        """Adjoint of ``coarsen``: multipliers are spread evenly over the columns that are merged."""
        blocks = self._written_out(blocks)
        if self.labels is None:
            return blocks
        means = self._membership.scaled(None, self._shares)
        return Gram(blocks.A, blocks.logits @ means.T, means @ blocks.B @ means.T)

    def coarsen_point(self, dual: Dual) -> Dual:
        """The coarser dual point: ``coarsen_dual`` in terms of V and T.

        S_L = U/2 and U = V Diag(weights); T is 2 λ_W times a multiplier and is summed like S_B. Its diagonal is
        dropped: it only adds to the slack, and what it took from S_B goes back there.
        """
        U = self.fine.weighted(dual.V)
        zeros = Alike.zeros(self.fine.outputs, self.fine.outputs)
        nothing = Alike.zeros(self.fine.columns, self.fine.columns)
        summed = self.coarsen_dual(Gram(zeros, U, nothing if dual.T is None else dual.T))
        T, weight_block, feature_block = summed.B, None, None
        if dual.S_A is not None:
            weight_block = self.coarsen_dual(Gram(dual.S_A, U, nothing)).A
        if dual.S_B is not None:
            surplus = Alike.diagonal(T.rows, T.own()) * (1.0 / (2.0 * self.fine.lambda_w))
            feature_block = self.coarsen_dual(Gram(zeros, U, dual.S_B)).B + surplus
        V = summed.logits.scaled(None, 1.0 / self.coarse.loss_weights)
        return Dual(V, None if dual.T is None else T.without_diagonal(), weight_block, feature_block)

    def refine_point(self, dual: Dual) -> Dual:
        """The finer dual point: each merged column has the residual of their mean."""
        U = self.coarse.weighted(dual.V)
        zeros = Alike.zeros(self.coarse.outputs, self.coarse.outputs)
        nothing = Alike.zeros(self.coarse.columns, self.coarse.columns)
        spread = self.refine_dual(Gram(zeros, U, nothing if dual.T is None else dual.T))
        V = spread.logits.scaled(None, 1.0 / self.fine.loss_weights)
        return Dual(V, None if dual.T is None else spread.B)

    def _averaged(self, point: Gram) -> Gram:
        if self.labels is None and self.coarse is self.fine:
            return point  # single orbits of another order are not the same
        return Gram.mean(self.coarse, point.full())

    def _written_out(self, point: Gram) -> Gram:
        V, m, full = self.fine.outputs, self._between, point.full()
        bias = None if full.bias is None else V.mean(full.bias)
        return Gram(
            Alike.mean(V, V, full.weight_gram),
            Alike.mean(V, m, full.logits),
            Alike.mean(m, m, full.feature_gram),
            bias,
        )

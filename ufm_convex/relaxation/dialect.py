"""Losses on entries, in terms of those on full and on reduced columns: the one place that knows the difference.

A column is seen as E entries, of which entry e stands for ``numbers[e]`` equal outputs with the target ``target[e]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.losses import CrossEntropy, Loss, SoftTargetCrossEntropy
from ufm_convex.losses.base import GroupedIndicator, GroupedLoss, Indicator

if TYPE_CHECKING:
    import cvxpy as cp


@dataclass(frozen=True, eq=False)
class Layout:
    """How a loss sees columns: E entries a column, one for every set of outputs that it does not tell apart.

    Attributes:
        numbers: How many outputs each entry stands for, (E, C); 0 where there is none.
        target: The target of one output of each entry, (E, C).
        rows: Row of the loss's tables behind each column, (C,).
    """

    numbers: FloatArray
    target: FloatArray
    rows: IntArray

    @cached_property
    def own(self) -> IntArray:
        """The own entry of each column, (C,): of largest target, first of ties."""
        return np.asarray(np.where(self.numbers > 0.0, self.target, -np.inf).argmax(axis=0))


def target_of(loss: Loss, hard: FloatArray, numbers: FloatArray, rows: IntArray) -> FloatArray:
    """The targets of a loss where ``hard`` has 1 at the own entry, (E, C)."""
    if isinstance(loss, SoftTargetCrossEntropy):
        return np.asarray(loss.target_columns(numbers.shape[0])[:, rows])
    if isinstance(loss, CrossEntropy) and loss.smoothing:
        share = np.where(numbers > 0.0, loss.smoothing / numbers.sum(axis=0), 0.0)
        return share + (1.0 - loss.smoothing) * hard
    return hard


def alike(loss: Loss) -> bool:
    """Whether a loss treats alike classes alike."""
    return isinstance(loss, GroupedLoss)


@dataclass(frozen=True, eq=False)
class OnEntries:
    """A loss on entries.

    Attributes:
        loss: The loss.
    """

    loss: Any

    @property
    def indicator(self) -> bool:
        """Whether the loss is 0 or +∞."""
        return isinstance(self.loss, Indicator)

    @property
    def differentiable(self) -> bool:
        """Whether ∇l exists everywhere."""
        return bool(self.loss.differentiable)

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """l(z), (C,)."""
        if _single(layout):
            return np.asarray(self.loss.values(z, self._labels(layout)))
        return np.asarray(self.loss.grouped_values(*_split(z, layout)))

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """∇l(z), (E, C)."""
        if _single(layout):
            return np.asarray(self.loss.residuals(z, self._labels(layout)))
        return _joined(self.loss.grouped_residuals(*_split(z, layout)), layout)

    def nearest(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """The subgradient at z that is near v, (E, C)."""
        if _single(layout):
            return np.asarray(self.loss.nearest_residuals(v, z, self._labels(layout)))
        return _joined(self.loss.grouped_nearest(_split(v, layout)[:2], *_split(z, layout)), layout)

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """l*(v), (C,)."""
        if _single(layout):
            return np.asarray(self.loss.conjugate(v, self._labels(layout)))
        return np.asarray(self.loss.grouped_conjugate(*_split(v, layout)))

    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """A point of the conjugate's domain near v, (E, C)."""
        if _single(layout):
            return np.asarray(self.loss.into_domain(v, self._labels(layout)))
        return _joined(self.loss.grouped_into_domain(*_split(v, layout)), layout)

    def violation(self, v: FloatArray, layout: Layout) -> float:
        """Largest amount by which a column leaves the domain."""
        if _single(layout):
            return float(self.loss.domain_violation(v, self._labels(layout)))
        return float(self.loss.grouped_violation(*_split(v, layout)))

    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """Largest s with s·v in the domain, (C,)."""
        if _single(layout):
            return np.asarray(self.loss.domain_limit(v, self._labels(layout)))
        return np.asarray(self.loss.grouped_limit(*_split(v, layout)))

    def ray_maximum(self, v: FloatArray, layout: Layout) -> FloatArray:
        """The s ≥ 0 that maximises −l*(s·v), (C,)."""
        if _single(layout):
            return np.asarray(self.loss.ray_maximum(v, self._labels(layout)))
        return np.asarray(self.loss.grouped_ray_maximum(*_split(v, layout)))

    def fenchel_young(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """l(z) + l*(v) − <v, z> ≥ 0, (C,)."""
        if _single(layout):
            return np.asarray(self.loss.fenchel_young(v, z, self._labels(layout)))
        gaps = self.values(z, layout) + self.conjugate(v, layout) - (layout.numbers * v * z).sum(axis=0)
        return np.maximum(gaps, 0.0)

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """l(z) in a programme, (C,)."""
        import cvxpy as cp

        if _single(layout):
            return self.loss.expression(z, self._labels(layout))
        mask = np.zeros(layout.numbers.shape)
        mask[layout.own, np.arange(layout.own.size)] = 1.0
        own = cp.sum(cp.multiply(mask, z), axis=0)
        return self.loss.grouped_expression(own, z, layout.numbers - mask)

    def _labels(self, layout: Layout) -> IntArray:
        # alike losses have no tables, and their outputs may come in another order
        return layout.own if alike(self.loss) else layout.rows

    # -- indicators -------------------------------------------------------------------------------------------------

    def unit(self, layout: Layout) -> float:
        """The size of the logits at a point of the set that is not needlessly long."""
        return float(self.loss.unit(int(layout.numbers[:, 0].sum())))

    def stretch(self, z: FloatArray, layout: Layout, error: FloatArray) -> FloatArray:
        """The least s ≥ 0 that takes s·z into the set, (C,), though each logit may be off by ``error``, (E, C)."""
        if _single(layout):
            return np.asarray(self.loss.stretch(z, self._labels(layout), error))
        if not isinstance(self.loss, GroupedIndicator):
            raise TypeError("no indicator of alike classes")
        largest = np.where(layout.numbers > 0.0, error, 0.0).max(axis=0)
        return np.asarray(self.loss.grouped_stretch(*_split(z, layout), 2.0 * largest))

    def shortfall(self, z: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray]:
        """Half the squares of what is lacking, (C,), and its gradient, (E, C)."""
        squares, slopes = self.loss.shortfall(z, self._labels(layout))
        return np.asarray(squares), np.asarray(slopes)


def _single(layout: Layout) -> bool:
    return bool((layout.numbers == 1.0).all())


def _split(z: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The own entries, all entries, and how many others each stands for."""
    columns = np.arange(layout.own.size)
    others = layout.numbers.copy()
    others[layout.own, columns] -= 1.0
    return z[layout.own, columns], np.where(others > 0.0, z, 0.0), others


def _joined(parts: tuple[FloatArray, FloatArray], layout: Layout) -> FloatArray:
    own, others = parts
    columns = np.arange(layout.own.size)
    table = np.where(layout.numbers > 0.0, others, 0.0)
    # an own entry that stands for other outputs as well keeps what those have
    single = layout.numbers[layout.own, columns] == 1.0
    table[layout.own, columns] = np.where(single, own, table[layout.own, columns])
    return table

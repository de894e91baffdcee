"""The base of losses that are written down on reduced columns alone, which any file of this folder may subclass.

A full column is a reduced one whose groups are single classes: entry j of its others stands for class j, once, and for
none where j is the own class. So the methods on full columns follow from those on reduced ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.losses.base import GroupedLoss, own_entries, with_own

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


class ReducedLoss(GroupedLoss):
    """A loss that states its ``grouped_…`` methods; the others are derived here."""

    def values(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """See ``grouped_values``."""
        return self.grouped_values(*_split(logits, labels))

    def residuals(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """See ``grouped_residuals``."""
        return _joined(*self.grouped_residuals(*_split(logits, labels)), labels)

    def nearest_residuals(self, residuals: FloatArray, logits: FloatArray, labels: IntArray) -> FloatArray:
        """See ``grouped_nearest``."""
        own, others, multiplicities = _split(logits, labels)
        given = own_entries(residuals, labels), with_own(residuals, labels, fill=0.0)
        return _joined(*self.grouped_nearest(given, own, others, multiplicities), labels)

    def conjugate(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """See ``grouped_conjugate``."""
        return self.grouped_conjugate(*_split(residuals, labels))

    def into_domain(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """See ``grouped_into_domain``."""
        return _joined(*self.grouped_into_domain(*_split(residuals, labels)), labels)

    def domain_violation(self, residuals: FloatArray, labels: IntArray) -> float:
        """See ``grouped_violation``."""
        return self.grouped_violation(*_split(residuals, labels))

    def domain_limit(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """See ``grouped_limit``."""
        return self.grouped_limit(*_split(residuals, labels))

    def ray_maximum(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """See ``grouped_ray_maximum``."""
        return self.grouped_ray_maximum(*_split(residuals, labels))

    def expression(self, logits: cp.Expression, labels: IntArray) -> cp.Expression:
        """See ``grouped_expression``; the own logits are picked by a mask."""
        import cvxpy as cp

        others = with_own(np.ones(logits.shape), labels, fill=0.0)
        return self.grouped_expression(cp.sum(cp.multiply(1.0 - others, logits), axis=0), logits, others)

    def enclose_value(self, logits: Sequence[arb], label: int) -> arb:
        """See ``enclose_grouped_value``."""
        others = [logit for j, logit in enumerate(logits) if j != label]
        return self.enclose_grouped_value(logits[label], others, [1] * len(others))

    def enclose_conjugate(self, residual: Sequence[fmpq], label: int) -> arb:
        """See ``enclose_grouped_conjugate``."""
        others = [entry for j, entry in enumerate(residual) if j != label]
        return self.enclose_grouped_conjugate(residual[label], others, [1] * len(others))


def _split(columns: FloatArray, labels: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Own entries, all entries, and multiplicities that are 0 at the own ones."""
    return own_entries(columns, labels), columns, with_own(np.ones(columns.shape), labels, fill=0.0)


def _joined(own: FloatArray, others: FloatArray, labels: IntArray) -> FloatArray:
    joined = others.copy()
    joined[labels, np.arange(labels.size)] = own
    return joined

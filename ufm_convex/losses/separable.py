"""The base of losses that are sums over logits, which any file of this folder may subclass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.losses.base import ray_limit
from ufm_convex.losses.reduced import ReducedLoss

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


_FAR = 1e6
"""Where a ray that never leaves a domain is cut: residuals of order one at most become useless long before."""


class SeparableLoss(ReducedLoss):
    """A sum of one convex function of the own logit and another of each other logit.

        l_k(z)  = a(z_k) + Σ_{j≠k} b(z_j),      l_k*(v) = a*(v_k) + Σ_{j≠k} b*(v_j)

    A subclass states the two scalar functions; ``own`` chooses a, otherwise b. The domain of either conjugate is an
    interval that contains 0. No equation ties the entries of a residual.
    """

    shift_invariant: ClassVar[bool] = False

    @abstractmethod
    def entry_values(self, logits: FloatArray, own: bool) -> FloatArray:
        """The function a or b, elementwise."""

    @abstractmethod
    def entry_residuals(self, logits: FloatArray, own: bool) -> FloatArray:
        """Its derivative, elementwise."""

    @abstractmethod
    def entry_conjugates(self, residuals: FloatArray, own: bool) -> FloatArray:
        """a* or b*, elementwise, for residuals in its domain."""

    @abstractmethod
    def entry_domain(self, own: bool) -> tuple[float, float]:
        """The ends of the domain of a* or b*, possibly infinite; both belong to it."""

    @abstractmethod
    def entry_expression(self, logits: cp.Expression, own: bool) -> cp.Expression:
        """The function a or b, elementwise, as a convex cvxpy expression."""

    @abstractmethod
    def enclose_entry_value(self, logit: arb, own: bool) -> arb:
        """A ball that contains a or b over the ball."""

    @abstractmethod
    def enclose_entry_conjugate(self, residual: fmpq, own: bool) -> arb:
        """A ball that contains a* or b* at a point of its domain."""

    def validate(self, num_classes: int) -> None:
        """Every number of classes is fine."""

    def parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    def grouped_values(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """The sum a + Σ m_g b."""
        return self.entry_values(own, own=True) + _weighted(multiplicities, self.entry_values(others, own=False))

    def grouped_residuals(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Entry by entry."""
        wrong = np.where(multiplicities > 0, self.entry_residuals(others, own=False), 0.0)
        return self.entry_residuals(own, own=True), wrong

    def grouped_conjugate(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """a* + Σ m_g b*; +inf outside the box."""
        inside_own, inside = self.grouped_into_domain(own, others, multiplicities)
        slack = 4.0 * np.finfo(float).eps
        present = np.where(multiplicities > 0, others, 0.0)
        outside = (np.abs(own - inside_own) > slack) | (np.abs(present - inside).max(axis=0) > slack)
        value = self.entry_conjugates(inside_own, own=True)
        value = value + _weighted(multiplicities, self.entry_conjugates(inside, own=False))
        return np.where(outside, np.inf, value)

    def grouped_into_domain(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Clipped to the box."""
        wrong = np.where(multiplicities > 0, np.nan_to_num(others), 0.0)
        return np.clip(np.nan_to_num(own), *self.entry_domain(True)), np.clip(wrong, *self.entry_domain(False))

    def grouped_violation(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> float:
        """Largest distance of an entry from its interval."""
        inside_own, inside = self.grouped_into_domain(own, others, multiplicities)
        outside = np.abs(np.where(multiplicities > 0, others, 0.0) - inside)
        return float(max(np.abs(own - inside_own).max(), outside.max(initial=0.0)))

    def grouped_limit(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """Where the ray leaves the box; a ray that never does is cut at a large multiple, of no use beyond."""
        entries = np.vstack([own, np.where(multiplicities > 0, others, 0.0)])
        is_own = np.arange(entries.shape[0])[:, None] == 0
        low, high = (
            np.where(is_own, a, b) for a, b in zip(self.entry_domain(True), self.entry_domain(False), strict=True)
        )
        return np.minimum(ray_limit(-low, entries, _FAR), ray_limit(high, -entries, _FAR))

    def grouped_expression(
        self, own: cp.Expression, others: cp.Expression, multiplicities: FloatArray
    ) -> cp.Expression:
        """The sum a + Σ m_g b."""
        import cvxpy as cp

        weighted = cp.multiply(multiplicities, self.entry_expression(others, own=False))
        return self.entry_expression(own, own=True) + cp.sum(weighted, axis=0)

    def enclose_grouped_value(self, own: arb, others: Sequence[arb], multiplicities: Sequence[int]) -> arb:
        """Sum of balls."""
        pairs = zip(multiplicities, others, strict=True)
        return sum((m * self.enclose_entry_value(z, False) for m, z in pairs if m), self.enclose_entry_value(own, True))

    def enclose_grouped_conjugate(self, own: fmpq, others: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """Sum of balls, after an exact test of the box."""
        present = [(m, v) for m, v in zip(multiplicities, others, strict=True) if m]
        for v, is_own in [(own, True), *((v, False) for _, v in present)]:
            low, high = self.entry_domain(is_own)
            if (np.isfinite(low) and v < int(low)) or (np.isfinite(high) and v > int(high)):
                raise ValueError("the column lies outside the box")
        start = self.enclose_entry_conjugate(own, True)
        return sum((m * self.enclose_entry_conjugate(v, False) for m, v in present), start)


def _weighted(multiplicities: FloatArray, entries: FloatArray) -> FloatArray:
    total: FloatArray = (multiplicities * np.where(multiplicities > 0, entries, 0.0)).sum(axis=0)
    return total

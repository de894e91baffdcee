"""Binary cross-entropy: one sigmoid a class.

    l_k(z)  = log(1 + e^{−z_k}) + Σ_{j≠k} log(1 + e^{z_j}),
    l_k*(v) = −h(−v_k) − Σ_{j≠k} h(v_j),      h(p) = −p log p − (1−p) log(1−p),
              v_k in [−1, 0], v_j in [0, 1]   (+∞ elsewhere).

Not invariant under shifts of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.losses.base import negative_entropy, own_term
from ufm_convex.losses.separable import SeparableLoss

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


@dataclass(frozen=True)
class BinaryCrossEntropy(SeparableLoss):
    """The sum over classes of the logistic loss of "is it this class?"."""

    name: ClassVar[str] = "binary-cross-entropy"

    def entry_values(self, logits: FloatArray, own: bool) -> FloatArray:
        """log(1 + e^{∓z}), without overflow and relative to its own size."""
        wrong = -logits if own else logits
        value: FloatArray = np.maximum(wrong, 0.0) + np.log1p(np.exp(-np.abs(wrong)))
        return value

    def entry_residuals(self, logits: FloatArray, own: bool) -> FloatArray:
        """∓ sigmoid(∓z), small values relative to their own size."""
        wrong = -logits if own else logits
        small = np.exp(-np.abs(wrong))
        probability = np.where(wrong < 0.0, small, 1.0) / (1.0 + small)
        return -probability if own else probability

    def entry_conjugates(self, residuals: FloatArray, own: bool) -> FloatArray:
        """P log p + (1−p) log(1−p) at p = ∓v."""
        p = np.abs(residuals)
        term: FloatArray = p * np.log(np.where(p > 0.0, p, 1.0)) + own_term(p)
        return term

    def entry_domain(self, own: bool) -> tuple[float, float]:
        """[−1, 0] or [0, 1]."""
        return (-1.0, 0.0) if own else (0.0, 1.0)

    def entry_expression(self, logits: cp.Expression, own: bool) -> cp.Expression:
        """log(1 + e^{∓z})."""
        import cvxpy as cp

        return cp.logistic(-logits if own else logits)

    def enclose_entry_value(self, logit: arb, own: bool) -> arb:
        """log(1 + e^{∓z}) in balls."""
        return (-logit if own else logit).exp().log1p()

    def enclose_entry_conjugate(self, residual: fmpq, own: bool) -> arb:
        """P log p + (1−p) log(1−p) in balls."""
        p = -residual if own else residual
        return negative_entropy(p) + negative_entropy(1 - p)

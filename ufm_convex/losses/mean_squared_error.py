"""Mean squared error against one-hot targets.

    l_k(z)  = ½ ‖z − e_k‖²,
    l_k*(v) = ½ ‖v‖² + v_k      on all of R^K.

Not invariant under shifts of the logits. Source: Mixon, Parshall, Pi 2020; Dang et al. 2023 for imbalanced classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.losses.separable import SeparableLoss

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


@dataclass(frozen=True)
class MeanSquaredError(SeparableLoss):
    """Half the squared distance of the logits from the one-hot vector of the class."""

    name: ClassVar[str] = "mean-squared-error"

    def entry_values(self, logits: FloatArray, own: bool) -> FloatArray:
        """½ (z − y)²."""
        return 0.5 * (logits - own) ** 2

    def entry_residuals(self, logits: FloatArray, own: bool) -> FloatArray:
        """The difference z − y."""
        return logits - float(own)

    def entry_conjugates(self, residuals: FloatArray, own: bool) -> FloatArray:
        """½ v² + v y."""
        return residuals * (0.5 * residuals + own)

    def entry_domain(self, own: bool) -> tuple[float, float]:
        """The whole line."""
        return (-np.inf, np.inf)

    def entry_expression(self, logits: cp.Expression, own: bool) -> cp.Expression:
        """½ (z − y)²."""
        import cvxpy as cp

        return 0.5 * cp.square(logits - float(own))

    def enclose_entry_value(self, logit: arb, own: bool) -> arb:
        """½ (z − y)² in balls."""
        difference = logit - int(own)
        return difference * difference / 2  # a power is NaN where its ball contains zero

    def enclose_entry_conjugate(self, residual: fmpq, own: bool) -> arb:
        """½ v² + v y, exactly and then rounded."""
        from flint import arb

        return arb(residual * residual / 2 + residual * int(own))

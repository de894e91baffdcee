"""Mean squared error against one-hot targets, or a table of any others.

    l_k(z)  = ½ ‖z − y‖²,      y = e_k,
    l_k*(v) = ½ ‖v‖² + <v, y>      on all of ℝ^V.

Not invariant under shifts of the logits. Source: Mixon, Parshall, Pi 2020; Dang et al. 2023 for imbalanced classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.losses.separable import SeparableLoss
from ufm_convex.losses.table import NUMBERS, Kind

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


@dataclass(frozen=True)
class MeanSquaredError(SeparableLoss):
    """Half the squared distance of the logits from the target.

    Args:
        targets: An (m, V) table of numbers, dense or of ``scipy.sparse``, one row a count of the problem; None for the
            unit vectors of classes. Kept as a ``Table``.

    Raises:
        ProblemError: the table has an entry that is no finite number.
    """

    name: ClassVar[str] = "mean-squared-error"
    kind: ClassVar[Kind] = NUMBERS

    @property
    def quadratic(self) -> bool:
        """See ``Loss.quadratic``."""
        return type(self) is MeanSquaredError

    def entry_values(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """½ (z − y)²."""
        value: FloatArray = 0.5 * (z - y) ** 2
        return value

    def entry_residuals(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """The difference z − y."""
        return z - y

    def entry_conjugates(self, v: FloatArray, y: FloatArray) -> FloatArray:
        """½ v² + v y."""
        return v * (0.5 * v + y)

    def entry_domain(self, y: Any) -> None:
        """The whole line."""

    def entry_expression(self, z: cp.Expression, y: FloatArray) -> cp.Expression:
        """½ (z − y)²."""
        import cvxpy as cp

        return 0.5 * cp.square(z - np.broadcast_to(y, z.shape))

    def enclose_entry_value(self, z: arb, y: fmpq) -> arb:
        """½ (z − y)² in balls."""
        difference = z - y
        return difference * difference / 2  # a power is NaN where its ball contains zero

    def enclose_entry_conjugate(self, v: fmpq, y: fmpq) -> arb:
        """½ v² + v y, exactly and then rounded."""
        from flint import arb

        return arb(v * v / 2 + v * y)

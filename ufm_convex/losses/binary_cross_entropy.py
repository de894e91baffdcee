"""Binary cross-entropy: one sigmoid an output.

    l_k(z)  = Σ_j (1 − y_j) log(1 + e^{z_j}) + y_j log(1 + e^{−z_j}),      y = e_k,
    l_k*(v) = −Σ_j h(v_j + y_j),      h(p) = −p log p − (1−p) log(1−p),
              v_j + y_j in [0, 1]   (+∞ elsewhere).

Not invariant under shifts of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.losses.base import negative_entropy, own_term
from ufm_convex.losses.separable import SeparableLoss
from ufm_convex.losses.table import PROBABILITIES, Kind

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


@dataclass(frozen=True)
class BinaryCrossEntropy(SeparableLoss):
    """The sum over outputs of the logistic loss of "is it this class?", or "has it this label?".

    Args:
        targets: An (m, V) table of numbers in [0, 1], dense or of ``scipy.sparse``, one row a count of the problem;
            None where columns are classes. Kept as a ``Table``.

    Raises:
        ProblemError: the table has an entry that is no number in [0, 1].
    """

    name: ClassVar[str] = "binary-cross-entropy"
    kind: ClassVar[Kind] = PROBABILITIES

    def unbounded_bias(self, num_outputs: int, rows: IntArray) -> IntArray:
        """Outputs whose target is 0 for all samples, and one whose target is 1 for all."""
        if self.table is not None:
            sums, ones = self.table.masses(rows)
            return np.flatnonzero((sums == 0.0) | (ones == rows.size))
        never = np.setdiff1d(np.arange(num_outputs), rows)
        return np.sort(np.concatenate([never, rows])) if rows.size == 1 else never

    def entry_values(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """(1 − y) log(1 + e^z) + y log(1 + e^{−z}), without overflow and relative to its own size."""
        value: FloatArray = np.maximum((1.0 - y) * z, -y * z) + np.log1p(np.exp(-np.abs(z)))
        return value

    def entry_residuals(self, z: FloatArray, y: FloatArray) -> FloatArray:
        """(1 − y) sigmoid(z) − y sigmoid(−z), small values relative to their own size."""
        small = np.exp(-np.abs(z))
        up, down = np.where(z < 0.0, small, 1.0), np.where(z > 0.0, small, 1.0)
        slope: FloatArray = ((1.0 - y) * up - y * down) / (1.0 + small)
        return slope

    def entry_conjugates(self, v: FloatArray, y: FloatArray) -> FloatArray:
        """The sum p log p + (1−p) log(1−p), p = v + y, from the smaller of p and 1 − p, which keeps its digits."""
        p = np.minimum(v + y, (1.0 - y) - v)
        term: FloatArray = p * np.log(np.where(p > 0.0, p, 1.0)) + own_term(p)
        return term

    def entry_domain(self, y: Any) -> tuple[Any, Any]:
        """[−y, 1 − y]."""
        return -y, 1 - y

    def entry_expression(self, z: cp.Expression, y: FloatArray) -> cp.Expression:
        """log(1 + e^z) − y z, of which hard targets leave one logistic function."""
        import cvxpy as cp

        sign = np.where(y == 1.0, -1.0, 1.0)
        rest = np.where(y == 1.0, 0.0, y)
        logistic = cp.logistic(cp.multiply(sign, z))
        return logistic - cp.multiply(rest, z) if rest.any() else logistic

    def enclose_entry_value(self, z: arb, y: fmpq) -> arb:
        """(1 − y) log(1 + e^z) + y log(1 + e^{−z}) in balls."""
        from flint import arb

        parts = [(1 - y, z), (y, -z)]
        return sum((arb(share) * entry.exp().log1p() for share, entry in parts if share), arb(0))

    def enclose_entry_conjugate(self, v: fmpq, y: fmpq) -> arb:
        """The sum p log p + (1−p) log(1−p), p = v + y, in balls."""
        return negative_entropy(v + y) + negative_entropy(1 - y - v)

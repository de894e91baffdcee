"""A proved enclosure of a candidate's objective for a table of soft targets, in one pass as ``candidate``'s.

With n_j = z_a − z_j, a the column with the largest logit, and Σ y_j = 1 exactly,

    l(z) = log Σ_j e^{−n_j} + Σ_j y_j n_j ,

a sum of terms ≥ 0. Errors of n_j enter with Σ_j |y_j − p_j| ≤ 2, whatever the largest computed logit is. The second
sum has V products of numbers ≥ 0, each rounded, added in any order; its own entry of the table is 1 minus the others
rounded to binary64, which is off by a known amount (docs/streaming_losses.md, section 4).
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.candidate import Candidate
from ufm_convex.candidate.streaming import Progress
from ufm_convex.enclosure.arithmetic import TINY, UNIT
from ufm_convex.enclosure.candidate import (
    _BEYOND_CUT,
    _FAINT,
    _INFLATE,
    _SAFE_LOGIT,
    STEPS,
    CandidateEnclosure,
    _CrossEntropyKernel,
    enclose_with,
    log1p_of,
)
from ufm_convex.errors import UnknownNameError
from ufm_convex.losses import SoftTargetCrossEntropy
from ufm_convex.problem import Problem


class _TableKernel(_CrossEntropyKernel):
    """The loss against rows of a table."""

    def __init__(self, loss: SoftTargetCrossEntropy) -> None:
        super().__init__(0.0, loss.table.num_outputs)
        self._table = loss.table
        self._own_errors = np.array([_own_error(loss, row) for row in range(len(loss.table))])

    def __call__(
        self, logits: FloatArray, labels: IntArray, magnitudes: FloatArray, logit_errors: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        columns, V = np.arange(labels.size), self._num_classes
        lead = logits.argmax(axis=0)
        below = np.subtract(logits.max(axis=0), logits, out=logits)  # n_j, scaled
        furthest = below.max(axis=0) / STEPS
        aimed = np.einsum("vi,vi->i", self._table.rows(labels).T, below) / STEPS
        behind = below[self._table.own[labels], columns] / STEPS
        off = (V + 4) * UNIT * _INFLATE * aimed + self._own_errors[labels] * behind + V * _FAINT * furthest + V * TINY
        if magnitudes.max() >= _SAFE_LOGIT:
            np.minimum(below, _BEYOND_CUT, out=below)
        below[lead, columns] = _BEYOND_CUT  # log1p takes the sum over the others
        spread = log1p_of(self._sum_of_powers(below))
        values = spread + aimed
        errors = (self._relative + 4.0 * UNIT) * spread + self._tail + _INFLATE * off + 4.0 * UNIT * values
        return values, _INFLATE * errors + 2.0 * _INFLATE * logit_errors


def _own_error(loss: SoftTargetCrossEntropy, row: int) -> float:
    """A bound of |own entry in binary64 − (1 − the others)|."""
    table = loss.table
    span = slice(table.starts[row], table.starts[row + 1])
    at_own = table.outputs[span] == table.own[row]
    stored = math.fsum(table.entries[span][at_own].tolist())
    left = math.fsum([1.0, *(-table.entries[span][~at_own]).tolist(), -stored])  # to nearest
    return 2.0 * abs(left) + TINY


def enclose_table(problem: Problem, candidate: Candidate, *, progress: Progress | None = None) -> CandidateEnclosure:
    """Enclose f(W, H, b) for a candidate of a problem with a table of soft targets, of any length.

    Args:
        problem: The problem.
        candidate: W, the features of all samples or of columns, and its bias.
        progress: Called after each block with (rows done, rows in all).

    Raises:
        UnknownNameError: the loss is no table of soft targets.
        UFMError: as ``enclose_objective``.
    """
    loss = problem.loss
    if type(loss) is not SoftTargetCrossEntropy:
        raise UnknownNameError(
            f"loss {loss.name!r} has no streamed enclosure against a table.",
            expected="soft-target-cross-entropy",
            fix="use enclose_exactly, which takes any loss.",
        )
    return enclose_with(problem, candidate, _TableKernel(loss), progress=progress)

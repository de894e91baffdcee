"""Cross-entropy against fixed soft targets, one distribution a class.

    l_k(z) = log Σ_j exp(z_j) − <y_k, z>.

Label smoothing, known confusions between classes and distilled targets are of this form. The functions are those of
``SoftmaxLoss``; here is the table of targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, IntArray, frozen, real
from ufm_convex._bits import parts
from ufm_convex.errors import ProblemError, ShapeError, shown
from ufm_convex.losses.layout import ExactColumn
from ufm_convex.losses.softmax import SoftmaxLoss
from ufm_convex.losses.weighing import class_weights_of, require_one_each

_EXPECTED = "a square table of numbers >= 0 whose rows sum to 1, row k the target of class k"
_SQUARE = "give one row a class, with one share for each class."
_ROUNDING = 1e-9
"""How far the sum of a row may be from 1; the own entry is then taken as 1 minus the others."""


@dataclass(frozen=True)
class SoftTargetCrossEntropy(SoftmaxLoss):
    """Cross-entropy with row k of ``targets`` as the target of class k.

    Args:
        targets: A (K, K) table; row k is the distribution y_k, entries ≥ 0, sum 1.
        class_weights: ω, one positive weight a class, as ``CrossEntropy`` takes them; None weighs all classes 1.

    Raises:
        ProblemError: an entry is negative or no number, the table is not square, or a row does not sum to 1.
    """

    name: ClassVar[str] = "soft-target-cross-entropy"
    tabled: ClassVar[bool] = True

    targets: tuple[tuple[float, ...], ...]
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        given: Any = self.targets
        rows = _given.entries("targets", given, ProblemError, expected=_EXPECTED)
        if not isinstance(rows, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in rows):
            raise _refused(f"targets is {shown(given)}.", _SQUARE)
        if not rows or any(len(row) != len(rows) for row in rows):
            raise _refused(f"targets has {len(rows)} rows of lengths {shown([len(row) for row in rows])}.", _SQUARE)
        for k, row in enumerate(rows):
            lowest = [-_ROUNDING if j == k else 0.0 for j in range(len(row))]
            wrong = [entry for entry, low in zip(row, lowest, strict=True) if not low <= real(entry) <= 1.0]
            if wrong:
                raise _refused(
                    f"targets has the entry {shown(wrong[0])} in row {k}.", "give shares, numbers from 0 to 1."
                )
            if abs(sum(map(float, row)) - 1.0) > _ROUNDING:
                raise _refused(f"row {k} of targets sums to {sum(map(float, row))!r}.", "divide each row by its sum.")
        object.__setattr__(self, "targets", tuple(_closed(list(map(float, row)), k) for k, row in enumerate(rows)))
        object.__setattr__(self, "class_weights", class_weights_of(self.class_weights))

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless the table is K × K, and there is one weight a class or none at all."""
        if len(self.targets) != num_classes:
            raise ShapeError(
                f"targets has {len(self.targets)} rows, but there are {num_classes} classes.",
                expected="one row a class",
                fix="give the rows in the order of class_counts.",
            )
        require_one_each(self.class_weights, num_classes)

    def parameters(self) -> dict[str, Any]:
        """The table, and the class weights if there are any."""
        table: dict[str, Any] = {"targets": [list(row) for row in self.targets]}
        return table if self.class_weights is None else {**table, "class_weights": list(self.class_weights)}

    def weights(self, num_classes: int) -> FloatArray:
        """Class weights ω, shape (K,)."""
        return np.ones(num_classes) if self.class_weights is None else np.array(self.class_weights)

    def exact_parameters(self) -> dict[str, Any]:
        """The table with own entries that are 1 minus the others without rounding, and so may fall below 0 by one."""
        return {"targets": tuple(self._exact_row(k) for k in range(len(self.targets)))}

    def target_columns(self, num_outputs: int, rows: IntArray) -> FloatArray:
        """Rows of the table, as columns; the own entries are 1 minus the others."""
        return self._table[rows].T

    def softmax_targets(self, num_outputs: int, rows: IntArray) -> FloatArray | None:
        """Rows of the table, as columns."""
        return self.target_columns(num_outputs, rows) if type(self) is SoftTargetCrossEntropy else None

    def unbounded_bias(self, num_outputs: int, rows: IntArray) -> IntArray:
        """Outputs whose column of the table is 0."""
        return np.flatnonzero(~(self._table[rows] > 0.0).any(axis=0))

    def exact_column(self, num_outputs: int, row: int) -> ExactColumn:
        """Row of the table, without rounding."""
        from flint import fmpq

        mantissas, exponents = parts(np.array(self.targets[row]))
        exponents = np.where(mantissas == 0, 0, exponents)  # a zero has the least exponent of all
        least = int(exponents.min())
        multiples = [m << e for m, e in zip(mantissas.tolist(), (exponents - least).tolist(), strict=True)]
        unit = 1 << -least  # entries are at most 1, so their last bits are worth less than that
        multiples[row] += unit - sum(multiples)
        return ExactColumn([1] * num_outputs, [fmpq(multiple, unit) for multiple in multiples], row, row)

    def _exact_row(self, k: int) -> tuple[float | Fraction, ...]:
        row = self.targets[k]
        others = sum(map(Fraction, row[:k] + row[k + 1 :]), Fraction(0))
        return (*row[:k], 1 - others, *row[k + 1 :])

    @cached_property
    def _table(self) -> FloatArray:
        return frozen(self.targets)


def _closed(row: list[float], k: int) -> tuple[float, ...]:
    """The row with its own entry the binary64 number nearest to 1 minus the others."""
    row[k] = 0.0
    row[k] = max(math.fsum([1.0, *(-entry for entry in row)]), 0.0)
    return tuple(row)


def _refused(got: str, fix: str) -> ProblemError:
    return ProblemError(
        got,
        expected=_EXPECTED,
        fix=fix,
    )

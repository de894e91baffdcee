"""Cross-entropy against fixed soft targets, one distribution a column of the problem.

    l_j(z) = log Σ_v exp(z_v) − <y_j, z>.

Label smoothing, known confusions between classes, distilled targets, mixtures of classes, sets of labels and the next
tokens of a context are of this form (docs/targets.md). The functions are those of ``SoftmaxLoss``; here is the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, IntArray, whole
from ufm_convex.errors import ProblemError, ShapeError, shown
from ufm_convex.losses.layout import ExactColumn
from ufm_convex.losses.softmax import SoftmaxLoss
from ufm_convex.losses.table import SHARES, Table, require_rows
from ufm_convex.losses.weighing import class_weights_of


@dataclass(frozen=True)
class SoftTargetCrossEntropy(SoftmaxLoss):
    """Cross-entropy with row j of ``targets`` as the target of column j.

    Args:
        targets: An (m, V) table, dense or of ``scipy.sparse``, one row a count of the problem; row j is the
            distribution y_j, entries ≥ 0, sum 1. A square table gives each class its target. Kept as a ``Table``, a
            sequence of rows.
        class_weights: ω, one positive weight a row, as ``CrossEntropy`` takes them a class; None weighs all rows 1.

    Raises:
        ProblemError: an entry is negative or no number, a row does not sum to 1, or there is one output only.
    """

    name: ClassVar[str] = "soft-target-cross-entropy"

    targets: Table | Sequence[Sequence[float]] | FloatArray
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", Table.of(self.targets, SHARES))
        object.__setattr__(self, "class_weights", class_weights_of(self.class_weights))

    @classmethod
    def pick_all(cls, label_sets: Sequence[Sequence[int]], num_outputs: int) -> Self:
        """The softmax cross-entropy of sets of labels: Σ_{k in S} CE(z, k), a target 1_S/|S| of weight |S|.

        Args:
            label_sets: One set a column of the problem: its labels, from 0, each once. The mean is over samples, not
                over labels: 1/N with N the sum of the counts.
            num_outputs: V.

        Raises:
            ProblemError: a set is empty, or a label is none of the V outputs or stands twice in a set.
        """
        sets = _label_sets(label_sets, num_outputs)
        table = np.zeros((len(sets), num_outputs))
        for row, labels in zip(table, sets, strict=True):
            row[labels] = 1.0 / len(labels)
        sizes = tuple(float(len(labels)) for labels in sets)
        return cls(table, None if set(sizes) == {1.0} else sizes)

    @property
    def table(self) -> Table:
        """The targets."""
        return Table.of(self.targets, SHARES)  # itself: it was made one on the way in

    @property
    def tabled_softmax(self) -> bool:
        """Of this class alone."""
        return type(self) is SoftTargetCrossEntropy

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless there is one row a count, and one weight a row or none at all."""
        require_rows(self.table, num_classes)
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ShapeError(
                f"class_weights has {len(self.class_weights)} entries, but targets has {num_classes} rows.",
                expected="one weight a row",
                fix="give the weights in the order of class_counts.",
            )

    def parameters(self) -> dict[str, Any]:
        """The table, and the weights if there are any."""
        table: dict[str, Any] = {"targets": self.table.content()}
        return table if self.class_weights is None else {**table, "class_weights": list(self.class_weights)}

    def weights(self, num_classes: int) -> FloatArray:
        """Weights ω, shape (m,)."""
        return np.ones(num_classes) if self.class_weights is None else np.array(self.class_weights)

    def kept(self, chosen: IntArray) -> Self:
        """See ``Loss.kept``."""
        weights = None if self.class_weights is None else tuple(self.class_weights[k] for k in chosen.tolist())
        return type(self)(self.table.kept(chosen), weights)

    def exact_parameters(self) -> dict[str, Any]:
        """The table with own entries that are 1 minus the others without rounding, and so may fall below 0 by one."""
        return {"targets": tuple(tuple(self.table.exact_row(k)) for k in range(len(self.table)))}

    def target_columns(self, num_outputs: int, rows: IntArray) -> FloatArray:
        """Rows of the table, as columns; the own entries are 1 minus the others."""
        return self.table.rows(rows).T

    def softmax_targets(self, num_outputs: int, rows: IntArray) -> FloatArray | None:
        """Rows of the table, as columns."""
        return self.target_columns(num_outputs, rows) if type(self) is SoftTargetCrossEntropy else None

    def unbounded_bias(self, num_outputs: int, rows: IntArray) -> IntArray:
        """Outputs whose column of the table is 0."""
        return np.flatnonzero(~(self.table.masses(rows)[0] > 0.0))

    def exact_column(self, num_outputs: int, row: int) -> ExactColumn:
        """Row of the table, without rounding."""
        return self.table.exact_column(row)


def _label_sets(given: Any, num_outputs: int) -> list[list[int]]:
    """The sets as lists of labels, or ``ProblemError``."""
    V = whole(num_outputs)
    if V is None or V < 2:
        raise ProblemError(
            f"num_outputs is {shown(num_outputs)}.",
            expected="an integer >= 2",
            fix="give the number of labels that there are.",
        )
    rows = [sorted(row) if isinstance(row, (set, frozenset)) else row for row in given] if _listed(given) else given
    rows = _given.entries("label_sets", rows, ProblemError, expected="lists of labels from 0, one a column")
    if not isinstance(rows, (list, tuple)) or not rows or not all(isinstance(row, (list, tuple)) for row in rows):
        raise ProblemError(
            f"label_sets is {shown(given)}.",
            expected="a list of sets of labels, one a column of the problem",
            fix="write [[0], [0, 2]] for two columns, one with label 0 and one with labels 0 and 2.",
        )
    for j, row in enumerate(rows):
        if not row:
            raise ProblemError(
                f"label_sets[{j}] is empty.",
                expected="at least one label a set: an empty one has no loss",
                fix="leave the set out, with its count; its samples still count in N, so scale the decays' unit by it.",
            )
        wrong = [one for one in row if whole(one) is None or not 0 <= one < V]
        if wrong or len(set(row)) < len(row):
            said = f"has the label {shown(wrong[0])}" if wrong else "has a label twice"
            raise ProblemError(
                f"label_sets[{j}] {said}.", expected=f"different integers from 0 to {V - 1}", fix="check the labels."
            )
    return [list(row) for row in rows]


def _listed(given: object) -> bool:
    return isinstance(given, (list, tuple))

"""What the labels or counts of a candidate stand for: the K classes of a classifier, or the m columns of a table.

Arrays alone do not always tell. Columns of a table of targets all have samples, and there may be more or fewer of them
than outputs; classes are as many as outputs, and some may have no samples. What can be neither is refused when the
candidate is made, the rest when it meets its problem.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import IntArray
from ufm_convex.class_counts import fewer_labels, validate_class_counts, validate_labels
from ufm_convex.errors import CountsError, LabelsError, ShapeError
from ufm_convex.losses import Loss

_TURNED = "if your weights are (d, K), pass weights.T; each class has a row of W."


def labelled(labels: npt.ArrayLike, num_outputs: int) -> tuple[IntArray, IntArray]:
    """The labels, (N,), and how many samples they give each class or column, (max(V, largest label + 1),).

    Raises:
        LabelsError: they are no integers ≥ 0, or run beyond V and leave a number out: neither classes nor columns.
    """
    y = validate_labels(labels)
    largest = int(y.max())
    if largest >= num_outputs and np.unique(y).size <= largest:
        _refuse_labels(y, num_outputs)
    return y, np.bincount(y, minlength=num_outputs)


def counted(class_counts: npt.ArrayLike | None, num_outputs: int) -> IntArray:
    """The counts of class means or columns.

    Raises:
        CountsError: they are no integers ≥ 0, one of them > 0.
        ShapeError: there are others than V, and one of them is 0: neither classes nor columns.
    """
    counts = validate_class_counts(class_counts if class_counts is not None else (), fewest=1)
    if counts.size != num_outputs and not counts.all():
        _refuse_counts(counts.size, num_outputs)
    return counts


def counts_for(loss: Loss | None, num_outputs: int, counts: IntArray, labels: IntArray | None) -> IntArray:
    """The counts of a candidate as those of its problem, (K,) or (m,).

    Args:
        loss: The problem's; None for one that knows no table, whose columns are classes.
        num_outputs: V, the rows of W.
        counts: Of ``labelled`` or ``counted``.
        labels: The labels of all samples; None for class means.

    Raises:
        ShapeError: W has other rows than there are outputs.
        LabelsError: a label names no class.
        CountsError: the table has other columns than are counted.
    """
    if loss is not None and loss.table is not None:
        _require_rows(loss.table.num_outputs, num_outputs)
        return _columns(len(loss.table), counts)
    if num_outputs < 2:
        raise ShapeError(
            "weights has one row.",
            expected="(K, d) with K >= 2, one row a class",
            fix="check that all rows are there; a classifier with one output needs a problem with a table of targets.",
        )
    if counts.size != num_outputs:
        if labels is not None:
            _refuse_labels(labels, num_outputs)
        _refuse_counts(counts.size, num_outputs)
    return counts


def _require_rows(wanted: int, num_outputs: int) -> None:
    if num_outputs != wanted:
        raise ShapeError(
            f"weights has {num_outputs} rows, but the table of targets has {wanted} outputs.",
            expected="(V, d), one row an output of the table",
            fix="take classifier and table of one model; if your weights are (d, V), pass weights.T.",
        )


def _columns(num_columns: int, counts: IntArray) -> IntArray:
    """The first counts, all that are of columns; those of outputs beyond them are 0."""
    seen = int(np.flatnonzero(counts)[-1]) + 1
    if seen == num_columns:
        return counts[:num_columns]
    raise CountsError(
        f"the candidate names {seen} columns, but the table of targets has {num_columns} rows.",
        expected=f"labels 0 … {num_columns - 1}, each of which occurs; or a count and a class mean a row",
        fix="label each sample with the row of the table that is its target; leave out rows without samples.",
    )


def _refuse_labels(y: IntArray, num_outputs: int) -> None:
    raise LabelsError(
        f"labels run up to {y.max()}, but weights has {num_outputs} rows.",
        expected=f"labels 0 … {num_outputs - 1}; or, for a table of targets, all of its columns",
        fix=fewer_labels(y, num_outputs, _TURNED),
    )


def _refuse_counts(num_counts: int, num_outputs: int) -> None:
    raise ShapeError(
        f"class_counts has {num_counts} entries, but weights has {num_outputs} rows.",
        expected="one count a class; or, for a table of targets, one a column, all > 0",
        fix="if your weights are (d, K), pass weights.T.",
    )

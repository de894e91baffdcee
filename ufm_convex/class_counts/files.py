"""Labels and class counts from files.

Labels come from ``.npy`` (never unpickled), ``.csv``, ``.tsv`` or ``.txt``; class counts from ``.csv`` or ``.tsv`` with
the columns ``class_id,count``, however these are called (``tables``). Text is UTF-8, with or without a byte-order mark.
A fault in a text file is reported with its line, counted from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ufm_convex._arrays import IntArray
from ufm_convex._files import say_unused
from ufm_convex.class_counts import lists, tables
from ufm_convex.class_counts.arrays import INTEGER, empty, integers, is_number, map_array
from ufm_convex.class_counts.labels import fewer_labels, number_of_classes, validate_labels
from ufm_convex.class_counts.tables import Column
from ufm_convex.class_counts.validation import validate_class_counts
from ufm_convex.errors import CountsError, FileFormatError, LabelsError, shown

_LABEL_COLUMNS = ("label", "labels", "y", "class", "target")
_TABLES = (".csv", ".tsv")
"""Suffixes of tables; what separates their cells is read off the first row."""
_TO_COUNTS = "read it as class counts: read_class_counts, or --class-counts on the command line."
_TO_LABELS = "read it as labels: read_labels, or --labels on the command line."


def read_labels(path: str | Path, num_classes: int | None = None) -> IntArray:
    """Labels from a file, shape (N,), in the order of the file.

    Args:
        path: ``.npy``: a one-dimensional integer array. ``.txt``: one integer a line, alone or after the path of a
            sample, as in ``images/7.png 3``; blank lines and text after ``#`` do not count. ``.csv``, ``.tsv``: one
            column, with or without header; several with a header of which exactly one is called label, labels, y,
            class or target; or, without header, names of files and their labels. Names of classes are numbered in
            alphabetical order, as folders of images are, and the log says so.
        num_classes: K, where it is known: labels are below it.

    Raises:
        FileFormatError: the file is missing, empty, truncated, not UTF-8, or not laid out as above.
        LabelsError: an entry is not an integer ≥ 0, or is K or more.
        CountsError: ``num_classes`` is no integer from 2 to 10⁸.
    """
    path, known = Path(path), None if num_classes is None else number_of_classes(num_classes)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return validate_labels(map_array(path, "labels"), num_classes, name=f"the array in {path}")
    if suffix == ".txt":
        cells, lines, samples = lists.entries(path)
        if samples and cells[0].lower() in _LABEL_COLUMNS and cells.count(cells[0]) == 1:  # a header, and no class
            cells, lines, samples = cells[1:], lines[1:], samples[1:]
        _check_once(path, samples, lines)
    elif suffix in _TABLES:
        cells, lines = _label_column(path)
    else:
        raise _unknown_suffix(path, ".npy, .csv or .txt, .tsv as .csv", "save the labels with np.save(path, labels).")
    if not cells:
        raise empty(path, "labels")
    labels = integers(path, lists.numbered(path, cells) or cells, lines, "the label", LabelsError)
    if labels.min() < 0:
        first = int(np.argmax(labels < 0))
        raise LabelsError(
            f"{path}, line {lines[first]}: the label is {labels[first]}.",
            expected="labels 0 … K − 1",
            fix="leave out samples without a label (often marked −1), or number the classes from 0.",
        )
    if known is not None and labels.max() >= known:
        first = int(np.argmax(labels >= known))
        raise LabelsError(
            f"{path}, line {lines[first]}: the label is {labels[first]}, and there are {known} classes.",
            expected=f"labels 0 … {known - 1}",
            fix=fewer_labels(labels, known),
        )
    return labels


def read_class_counts(path: str | Path) -> IntArray:
    """Class counts from a file, shape (K,), in the order of the classes.

    Args:
        path: ``.npy``: a one-dimensional integer array. ``.txt``: one count a line. ``.json``: a list, or an object
            from class to count. ``.csv`` or ``.tsv`` with the header ``class_id,count``: columns may come in any order
            and be called as people call them, ``class_id``, ``class`` or ``label`` for the one, ``count``, ``n`` or
            ``num_images`` for the other, between commas, semicolons or tabs. Rows may come in any order; each class_id
            of 0 … K − 1 occurs once. Without class ids the rows are classes 0 … K − 1. Names of classes, and an index
            column beside class ids, are not used, and the log says so.

    Raises:
        FileFormatError: the file is missing, empty, not UTF-8, or not laid out as above: two columns of counts or of
            class ids, or a column of numbers that are neither.
        CountsError: a class_id is missing or occurs twice, or the counts are not K ≥ 2 integers ≥ 0, one of them > 0.
    """
    path = Path(path)
    if (suffix := path.suffix.lower()) in lists.READERS:
        return validate_class_counts(lists.read_list(path))
    if suffix not in _TABLES:
        raise _unknown_suffix(path, ".csv, .npy, .txt or .json, .tsv as .csv", f"if it holds labels, {_TO_LABELS}")
    table = tables.rows(path)
    line, first = next(table)
    ids_in, counts_in, others = _count_columns(path, line, first)
    lines: list[int] = []
    rows: list[list[str]] = []
    for line, row in table:
        lines.append(line)
        rows.append(row)
    if not lines:
        raise empty(path, "class counts")
    _set_aside(path, others, rows)
    counts = integers(path, [row[counts_in.place] for row in rows], lines, "count", CountsError)
    if ids_in is None:
        ids = np.arange(counts.size)
    else:
        advice = "number the classes 0 … K − 1 in a column class_id; their names may stay in a column class_name."
        ids = integers(path, [row[ids_in.place] for row in rows], lines, "class_id", CountsError, advice)
        _check_ids(path, ids, lines)
    if counts.min() < 0:
        worst = int(np.argmax(counts < 0))
        raise CountsError(
            f"{path}, line {lines[worst]}: the count of class {ids[worst]} is {counts[worst]}.",
            expected="an integer >= 0",
            fix="write 0 for a class without samples.",
        )
    ordered = np.empty_like(counts)
    ordered[ids] = counts
    return validate_class_counts(ordered)


def _count_columns(path: Path, line: int, first: Sequence[str]) -> tuple[Column | None, Column, list[Column]]:
    """The column of class ids, None where rows are classes in their order; that of counts; and the others."""
    header = [] if any(map(is_number, first)) else tables.columns(first)
    counted = [column for column in header if column.counts]
    ids = [column for column in header if column.classes]
    if len(ids) > 1 and len(numbered := [column for column in ids if len(column.words) > 1]) == 1:
        ids = numbered  # class_id beside class, which then is a name
    ids = ids or [column for column in header if column.index]
    if not counted or (not ids and len(header) > 1):
        raise FileFormatError(
            f"{path}, line {line}: the first row is {shown(','.join(first))}.",
            expected="the header class_id,count",
            fix=_naming(first, header, counted, ids),
        )
    for what, found in (("counts", counted), ("class ids", ids)):
        if len(found) > 1:
            raise FileFormatError(
                f"{path}, line {line}: the columns {', '.join(map(str, found))} may each be the {what}.",
                expected="the header class_id,count",
                fix="keep one of them.",
            )
    chosen = ids[0] if ids else None
    return chosen, counted[0], [column for column in header if column not in (chosen, counted[0])]


def _naming(first: Sequence[str], header: Sequence[Column], counted: Sequence[Column], ids: Sequence[Column]) -> str:
    """What to do about a first row that does not say which column is which."""
    if len(first) == 1:
        return f"if it holds labels, {_TO_LABELS}"
    if not header:
        return "add the header: class_id,count."
    if counted:
        return "number the classes 0 … K − 1 in a column class_id; their names may stay in a column class_name."
    others = " or ".join(str(column) for column in header if column not in ids)
    counts = f"rename the column with the counts, {others}, to count"
    return (
        f"{counts}; if each row is a sample, {_TO_LABELS}" if ids else f"{counts}, and that of the classes to class_id."
    )


def _set_aside(path: Path, others: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Log which columns of a table of counts are not used; ``FileFormatError`` for one that may mean something."""
    for column in others:
        if not column.index and all(is_number(row[column.place]) for row in rows):
            raise FileFormatError(
                f"{path} has the column {column}, of numbers that are neither class ids nor counts.",
                expected="the columns class_id,count, and perhaps names of the classes",
                fix=f"remove the column {column}.",
            )
    say_unused(path, "column", map(str, others))


def _check_ids(path: Path, ids: IntArray, lines: Sequence[int]) -> None:
    """Raise ``CountsError`` unless the ids are 0 … K − 1, each once."""
    outside = (ids < 0) | (ids >= ids.size)
    order = np.argsort(ids, kind="stable")
    again = order[1:][np.diff(ids[order]) == 0]
    fix = "number the classes from 0 without gaps."
    if again.size:
        second = int(again.min())
        first = int(np.argmax(ids == ids[second]))
        what = f"line {lines[second]}: class_id {ids[second]} stands on line {lines[first]} already."
        fix = "keep one row a class; if the rows are parts of one class, write their sum."
    elif outside.any():
        stray = int(np.argmax(outside))
        absent = np.setdiff1d(np.arange(ids.size), ids)[0]
        what = f"line {lines[stray]}: class_id {ids[stray]} among {ids.size} classes, where {absent} is missing."
        if ids.min() == 1 and ids.max() == ids.size:
            fix = "the class ids start at 1: subtract 1 from each."
    else:
        return
    raise CountsError(
        f"{path}, {what}",
        expected=f"each class_id of 0 … {ids.size - 1} once, in any order",
        fix=fix,
    )


def _label_column(path: Path) -> tuple[list[str], list[int]]:
    """The cells of the column that holds the labels, and their lines."""
    table = tables.rows(path)
    line, row = next(table)
    first = [cell.strip() for cell in row]
    header = [] if any(map(is_number, first)) else tables.columns(first)
    _check_no_counts(path, header)
    named = [column for column in header if " ".join(column.words) in _LABEL_COLUMNS]
    rest = list(table)
    if len(first) == 2 and not named and lists.are_files([row[0], *(later[0] for _, later in rest)]):
        lines = [line, *(number for number, _ in rest)]
        _check_once(path, [row[0], *(later[0] for _, later in rest)], lines)
        return [row[1], *(later[1] for _, later in rest)], lines
    if len(first) > 1 and len(named) != 1:
        raise FileFormatError(
            f"{path} has {len(first)} columns, "
            + (f"called {shown(', '.join(first))}." if header else "and no header that names them."),
            expected="one column, or exactly one called " + ", ".join(_LABEL_COLUMNS),
            fix="keep one column, or rename it to label; a list of files and labels needs no header.",
        )
    place = named[0].place if len(first) > 1 else 0
    kept = rest if header else [(line, row), *rest]
    lines, rows = [number for number, _ in kept], [one for _, one in kept]
    cells = [row[place] for row in rows]
    _check_one_a_sample(path, header, place, rows)
    say_unused(path, "column", [str(column) for column in header if column.place != place])
    return cells, lines


def _check_once(path: Path, samples: Sequence[str], lines: Sequence[int]) -> None:
    """Raise ``LabelsError`` for a sample that stands twice: names of two words would be taken for paths and labels."""
    seen: dict[str, int] = {}
    for sample, line in zip(samples, lines, strict=True) if samples else ():
        if sample in seen:
            raise LabelsError(
                f"{path}, line {line}: the sample {shown(sample)} stands on line {seen[sample]} already.",
                expected="one line a sample: its path and its label, or its label alone",
                fix="leave one out; names of classes in several words are read from a .csv with the header label.",
            )
        seen[sample] = line


def _check_no_counts(path: Path, header: Sequence[Column]) -> None:
    """Raise ``FileFormatError`` for a header that may be that of a table of counts: its class ids are no labels."""
    counted = [str(column) for column in header if column.counts]
    if not counted or not (len(header) == 1 or any(column.classes or column.index for column in header)):
        return
    those = f"column{'s'[: len(counted) - 1]} {', '.join(counted)}"
    mend = "rename the column to label." if len(header) == 1 else f"remove the {those}."
    raise FileFormatError(
        f"{path} holds class counts, or labels beside another column: its header is {', '.join(map(str, header))}.",
        expected="one label a sample, and no column of counts",
        fix=f"if each row is a class, {_TO_COUNTS} If each row is a sample, {mend}",
    )


def _check_one_a_sample(path: Path, header: Sequence[Column], place: int, rows: Sequence[Sequence[str]]) -> None:
    """Raise ``FileFormatError`` where each label is on one row, beside a column of whole numbers of whatever name.

    That is what a table of counts looks like: its labels, one a class, would be counted.
    """
    labels = {row[place].strip() for row in rows}
    for column in header:
        if column.place == place or column.index or len(labels) < len(rows):
            continue
        if all(INTEGER.fullmatch(row[column.place]) for row in rows):
            raise FileFormatError(
                f"{path}: the column {column} may say how many samples each row stands for.",
                expected="one label a sample, and no column of counts",
                fix=f"if each row is a class, rename the column to count, and {_TO_COUNTS} "
                f"If each row is a sample, remove the column {column}.",
            )


def _unknown_suffix(path: Path, expected: str, fix: str) -> FileFormatError:
    return FileFormatError(
        f"{path} ends in {path.suffix!r}." if path.suffix else f"{path} has no suffix.",
        expected=expected,
        fix=fix,
    )

"""Labels and class counts from files.

Labels come from ``.npy`` (never unpickled), ``.csv`` or ``.txt``; class counts from ``.csv`` with the columns
``class_id,count``. Text is UTF-8. A fault in a text file is reported with its line, counted from 1.
"""

from __future__ import annotations

import csv
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import IntArray
from ufm_convex.class_counts.labels import validate_labels
from ufm_convex.class_counts.validation import validate_class_counts
from ufm_convex.errors import CountsError, FileFormatError, LabelsError, UFMError, shown

_LABEL_COLUMNS = ("label", "labels", "y", "class", "target")
_COUNT_COLUMNS = ("class_id", "count")
_INTEGER = re.compile(r"[ \t]*[+-]?[0-9]{1,18}[ \t]*")  # 18 digits fit in 64 bits; int() takes less white space than \s
_TO_COUNTS = "read it as class counts: read_class_counts, or --class-counts on the command line."
_TO_LABELS = "read it as labels: read_labels, or --labels on the command line."


def read_labels(path: str | Path) -> IntArray:
    """Labels from a file, shape (N,), in the order of the file.

    Args:
        path: ``.npy``: a one-dimensional integer array. ``.txt``: one integer a line; blank lines and text
            after ``#`` do not count. ``.csv``: one column, with or without header, or several with a header
            of which exactly one is called label, labels, y, class or target.

    Raises:
        FileFormatError: the file is missing, empty, truncated, not UTF-8, or not laid out as above.
        LabelsError: an entry is not an integer ≥ 0.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return validate_labels(_npy(path), name=f"the array in {path}")
    if suffix == ".txt":
        cells, lines = _text_lines(path)
    elif suffix == ".csv":
        cells, lines = _label_column(path)
    else:
        raise _unknown_suffix(path, ".npy, .csv or .txt", "save the labels with np.save(path, labels).")
    if not cells:
        raise _empty(path, "labels")
    labels = _integers(path, cells, lines, "the label", LabelsError)
    if labels.min() < 0:
        first = int(np.argmax(labels < 0))
        raise LabelsError(
            f"{path}, line {lines[first]}: the label is {labels[first]}.",
            expected="labels 0 … K − 1",
            fix="leave out samples without a label (often marked −1), or number the classes from 0.",
        )
    return labels


def read_class_counts(path: str | Path) -> IntArray:
    """Class counts from a ``.csv`` with the header ``class_id,count``, shape (K,), in the order of class_id.

    Args:
        path: Columns may come in either order and rows in any; each class_id of 0 … K − 1 occurs once.

    Raises:
        FileFormatError: the file is missing, empty, not UTF-8, or not laid out as above.
        CountsError: a class_id is missing or occurs twice, or the counts are not K ≥ 2 positive integers.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise _unknown_suffix(path, ".csv with the columns class_id,count", f"if it holds labels, {_TO_LABELS}")
    rows = _csv_rows(path)
    line, first = next(rows)
    header = [cell.strip().lower() for cell in first]
    if sorted(header) != sorted(_COUNT_COLUMNS):
        labels = len(header) == 1 or any(name in _LABEL_COLUMNS for name in header)
        raise FileFormatError(
            f"{path}, line {line}: the first row is {shown(','.join(first))}.",
            expected="the header class_id,count",
            fix=f"if it holds labels, {_TO_LABELS}" if labels else "add the header, or rename the columns.",
        )
    id_column, count_column = map(header.index, _COUNT_COLUMNS)
    lines: list[int] = []
    id_cells: list[str] = []
    count_cells: list[str] = []
    for line, row in rows:
        lines.append(line)
        id_cells.append(row[id_column])
        count_cells.append(row[count_column])
    if not lines:
        raise _empty(path, "class counts")
    ids = _integers(path, id_cells, lines, "class_id", CountsError)
    counts = _integers(path, count_cells, lines, "count", CountsError)
    _check_ids(path, ids, lines)
    if counts.min() < 1:
        worst = int(np.argmax(counts < 1))
        raise CountsError(
            f"{path}, line {lines[worst]}: the count of class {ids[worst]} is {counts[worst]}.",
            expected="an integer >= 1",
            fix="leave out classes without samples, and number the others 0 … K − 1 again.",
        )
    ordered = np.empty_like(counts)
    ordered[ids] = counts
    return validate_class_counts(ordered)


def _check_ids(path: Path, ids: IntArray, lines: Sequence[int]) -> None:
    """Raise ``CountsError`` unless the ids are 0 … K − 1, each once."""
    outside = (ids < 0) | (ids >= ids.size)
    order = np.argsort(ids, kind="stable")
    again = order[1:][np.diff(ids[order]) == 0]
    if again.size:
        second = int(again.min())
        first = int(np.argmax(ids == ids[second]))
        what = f"line {lines[second]}: class_id {ids[second]} stands on line {lines[first]} already."
    elif outside.any():
        stray = int(np.argmax(outside))
        absent = np.setdiff1d(np.arange(ids.size), ids)[0]
        what = f"line {lines[stray]}: class_id {ids[stray]} among {ids.size} classes, where {absent} is missing."
    else:
        return
    raise CountsError(
        f"{path}, {what}",
        expected=f"each class_id of 0 … {ids.size - 1} once, in any order",
        fix="number the classes from 0 without gaps.",
    )


def _label_column(path: Path) -> tuple[list[str], list[int]]:
    """The cells of the column that holds the labels, and their lines."""
    rows = _csv_rows(path)
    line, row = next(rows)
    first = [cell.strip() for cell in row]
    header = [] if any(map(_is_number, first)) else [name.lower() for name in first]
    if set(header) == set(_COUNT_COLUMNS) or header == ["count"]:
        raise FileFormatError(
            f"{path} holds class counts: its header is {','.join(first)}.",
            expected="one label a sample",
            fix=_TO_COUNTS,
        )
    named = [index for index, name in enumerate(header) if name in _LABEL_COLUMNS]
    if len(first) > 1 and len(named) != 1:
        raise FileFormatError(
            f"{path} has {len(first)} columns, "
            + (f"called {shown(', '.join(first))}." if header else "and no header that names them."),
            expected="one column, or exactly one called " + ", ".join(_LABEL_COLUMNS),
            fix="keep one column, or rename it to label.",
        )
    column = named[0] if len(first) > 1 else 0
    cells, lines = ([], []) if header else ([row[column]], [line])
    for line, row in rows:
        cells.append(row[column])
        lines.append(line)
    return cells, lines


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, all of one length, each after the line on which it ends; at least one."""
    reader = csv.reader(io.StringIO(_text(path)), strict=True)
    width = 0
    try:
        for row in reader:
            # [] is a blank line; [""] is a quoted empty cell, which is a missing entry
            if not row or (len(row) == 1 and row[0].isspace()):
                continue
            width = width or len(row)
            if len(row) != width:
                raise FileFormatError(
                    f"{path}, line {reader.line_num}: the row has {len(row)} cells.",
                    expected=f"{width}, as in the first row",
                    fix="give every row the same number of cells.",
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise FileFormatError(
            f"{path}, line {reader.line_num}: {error}.",
            expected="comma-separated values",
            fix="check the quotes on that line.",
        ) from error


def _text_lines(path: Path) -> tuple[list[str], list[int]]:
    """The entries of a text file with one a line, and their lines."""
    cells: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(io.StringIO(_text(path)), start=1):
        cell = line.partition("#")[0].strip()
        if cell:
            cells.append(cell)
            lines.append(number)
    return cells, lines


def _integers(path: Path, cells: Sequence[str], lines: Sequence[int], what: str, kind: type[UFMError]) -> IntArray:
    """The cells as integers; the first that is none is named with its line."""
    bad = next((index for index, cell in enumerate(cells) if not _INTEGER.fullmatch(cell)), None)
    if bad is not None:
        raise kind(
            f"{path}, line {lines[bad]}: {what} is {shown(cells[bad])}.",
            expected="an integer, written without a decimal point",
            fix="if the numbers are whole, save them with .astype(int)."
            if _is_number(cells[bad])
            else "mend or remove that line.",
        )
    return np.array(list(map(int, cells)), dtype=np.int64)


def _npy(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file, memory-mapped, so that a header that promises too much costs nothing."""
    if not _bytes(path, 1):
        raise _empty(path, "labels")
    try:
        # a header of absurd size overflows NumPy's product of the dimensions, by default with a mere warning
        with np.errstate(over="raise"):
            return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, TypeError, ArithmeticError, SyntaxError, tokenize.TokenError) as error:
        raise FileFormatError(
            f"{path} is not a whole .npy file of numbers: {error}.",
            expected="a file written by np.save, without Python objects in it",
            fix="write it again with np.save(path, labels); it may have been cut short.",
        ) from error


def _text(path: Path) -> str:
    """The file as text, line ends as line feeds, without a byte-order mark; not empty."""
    data = _bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileFormatError(
            f"{path}, line {line}: byte {data[error.start]:#04x} is not UTF-8.",
            expected="text in UTF-8",
            fix="save the file again as UTF-8.",
        ) from error
    if not text.strip():
        raise _empty(path, "anything")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bytes(path: Path, size: int = -1) -> bytes:
    """The first ``size`` bytes of the file, or all."""
    try:
        with path.open("rb") as handle:
            return handle.read(size)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FileFormatError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            expected="a readable file",
            fix="check the path.",
        ) from error


def _is_number(cell: str) -> bool:
    """True for anything that float() reads, nan included."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _empty(path: Path, what: str) -> FileFormatError:
    return FileFormatError(
        f"{path} does not hold {what}.", expected="at least one entry", fix="check how the file was written."
    )


def _unknown_suffix(path: Path, expected: str, fix: str) -> FileFormatError:
    return FileFormatError(
        f"{path} ends in {path.suffix!r}." if path.suffix else f"{path} has no suffix.",
        expected=expected,
        fix=fix,
    )

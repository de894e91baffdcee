"""Lists of class counts, ``.npy``, ``.txt`` and ``.json``; lists of samples, with a path and its label a line.

A list of numbers does not say what they are. Labels of a whole data set have a 0 among them, so that a list of counts
may not: a class without samples is written in a table, with its name, ``class_id,count``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ufm_convex._arrays import IntArray
from ufm_convex._files import read_text, say_unused
from ufm_convex.class_counts.arrays import INTEGER, integers, map_array
from ufm_convex.class_counts.validation import integers as vector
from ufm_convex.errors import CountsError, FileFormatError, shown

_MARKS = (";", "\t", ",")
_NUMBER = re.compile(r"(?=.*[0-9])[-+0-9.,_eE; \t]+")
"""A number, as people write it, or several beside each other: rows of a table, which are no paths and no names."""


def _from_npy(path: Path) -> Any:
    return map_array(path, "class counts")


def _from_txt(path: Path) -> IntArray:
    cells, lines, names = entries(path)
    say_unused(path, "name", names)
    if not cells:
        raise FileFormatError(f"{path} does not hold class counts.", expected="one count a line", fix="check the file.")
    return integers(path, cells, lines, "count", CountsError)


def _from_json(path: Path) -> Any:
    """A list; or an object from class to count, ``{"0": 500, "1": 20}`` or names, which stand in the order of the file.

    Raises:
        FileFormatError: it is neither, a key occurs twice, or keys are numbers, but not 0 … K − 1.
    """
    try:
        found = json.loads(read_text(path), object_pairs_hook=list, parse_float=str, parse_constant=str)
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        raise FileFormatError(
            f"{path} is no JSON: {error}.", expected="a list of counts, or an object", fix="mend it, or write a .csv."
        ) from error
    if not isinstance(found, list) or not found:
        raise FileFormatError(
            f"{path} holds {shown(found)}.",
            expected="a list of counts, or an object from class to count",
            fix="write for example [500, 100, 20].",
        )
    if not all(isinstance(one, tuple) for one in found):
        return found
    return _by_class(path, found)


def _by_class(path: Path, pairs: Sequence[tuple[str, Any]]) -> list[Any]:
    """The counts of an object in the order of the classes: of its keys where these are numbers, else of the file."""
    keys = [key for key, _ in pairs]
    numbered = [int(key) for key in keys if INTEGER.fullmatch(key)]
    if len(set(keys)) < len(keys) or (numbered and sorted(numbered) != list(range(len(keys)))):
        raise FileFormatError(
            f"{path} has the keys {shown(', '.join(keys))}.",
            expected="names of classes, or the numbers 0 … K − 1, each once",
            fix="number the classes from 0 without gaps, or write a list.",
        )
    if not numbered:
        say_unused(path, "name", keys)
        return [count for _, count in pairs]
    return [count for _, count in sorted(pairs, key=lambda pair: int(pair[0]))]


READERS: dict[str, Callable[[Path], Any]] = {".npy": _from_npy, ".txt": _from_txt, ".json": _from_json}
"""Suffix → what reads class counts from such a file; what they are worth is judged by ``validation``."""


def read_list(path: Path) -> IntArray:
    """The integers of a list of class counts.

    Raises:
        FileFormatError: the file is none of ``READERS``' kind.
        CountsError: an entry is no integer, or is 0, as in a list of labels.
    """
    values = READERS[path.suffix.lower()](path)
    counts = vector(f"the list in {path}", values, CountsError, expected="K >= 2 integers >= 1, one a class")
    if counts.min() == 0:
        raise CountsError(
            f"{path}: entry {int(np.argmin(counts))} is 0, as in a list of labels.",
            expected="how many samples each class has, >= 1",
            fix="if it holds labels, read it as labels: read_labels, or --labels on the command line. "
            "A class without samples is written in a .csv with the columns class_id,count.",
        )
    return counts


# -- lists of samples ---------------------------------------------------------------------------------------------


def entries(path: Path) -> tuple[list[str], list[int], list[str]]:
    """The entries of a text file with one a line, of ``path label`` the label; their lines; what stands before them.

    A line of two cells is such a sample where the first is no number: files of image lists have no header. The cells
    stand between semicolons, tabs, commas or spaces, the same in each line; a path may have spaces in it.
    """
    cells: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(io.StringIO(read_text(path)), start=1):
        cell = line.partition("#")[0].strip()
        if cell:
            cells.append(cell)
            lines.append(number)
    mark = next((mark for mark in _MARKS if cells and mark in cells[0]), None)
    pairs = [_cut(cell, mark) for cell in cells]
    if cells and all(first and not _NUMBER.fullmatch(first) for first, _ in pairs):
        return [label for _, label in pairs], lines, [first for first, _ in pairs]
    return cells, lines, []


def _cut(cell: str, mark: str | None) -> tuple[str, str]:
    """The path of a sample, "" where there is none, and what stands after it."""
    if mark is not None:
        first, _, last = cell.rpartition(mark)
        return first.strip(), last.strip()
    parts = cell.rsplit(maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else ("", cell)


def are_files(names: Sequence[str]) -> bool:
    """Whether the first cells of a table are all names of files, the first row's too: then it is no header.

    Each has a suffix or a folder, and the first, unless it has a folder, a suffix that others have: ``img.path`` stands
    above files.
    """
    suffixes = [Path(name.strip().replace("\\", "/")).suffix.lower() for name in names]
    folders = ["/" in name or "\\" in name for name in names]
    plain = all(suffix or folder for suffix, folder in zip(suffixes, folders, strict=True))
    return plain and not any(map(_NUMBER.fullmatch, names)) and (folders[0] or suffixes[0] in suffixes[1:])


def numbered(path: Path, names: Sequence[str]) -> list[str] | None:
    """Numbers for labels that are names of classes, in alphabetical order, as image folders are; None if they are none.

    They are none where one is a number, or where each occurs once, as paths without labels do.
    """
    different = sorted(set(names))
    if any(_NUMBER.fullmatch(name) or not name.strip() for name in different) or len(different) == len(names):
        return None
    import logging

    logging.getLogger("ufm_convex").warning(
        "%s: classes are numbered in alphabetical order: %s",
        path,
        ", ".join(f"{k} {name}" for k, name in enumerate(different[:10])) + (", …" if len(different) > 10 else ""),
    )
    places = {name: str(k) for k, name in enumerate(different)}
    return [places[name] for name in names]

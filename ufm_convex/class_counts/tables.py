"""Tables in text files: how their cells are separated, and which column is which, by its name.

Cells stand between commas, semicolons, tabs or bars, whichever the first row has. A column is known by the words of its
name: ``class_id``, ``Class Index`` and ``label`` say which class, ``count``, ``num_images`` and ``# samples`` how many.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ufm_convex._files import read_text
from ufm_convex.errors import FileFormatError, shown

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_COUNTS = frozenset(
    {
        *("count", "counts", "n", "nk", "num", "nb", "samples", "images", "imgs", "instances", "examples", "freq"),
        *("frequency", "frequencies", "size", "sizes", "total", "support", "cardinality", "occurrences", "amount"),
        *("cnt", "cnts", "qty", "quantity", "tally", "population", "multiplicity"),
    }
)
_RUN_TOGETHER = re.compile(r"(n|num|nb)(samples|images|imgs|examples|instances)|(sample|image|img|class|label)counts?")
_CLASSES = frozenset(["class", "classes", "cls", "category", "categories", "label", "labels", "target", "targets", "y"])
_NUMBERS = frozenset(["id", "ids", "idx", "index", "number", "no"])
_NAMES = frozenset(["name", "names", "title", "description", "synset", "wnid"])


@dataclass(frozen=True)
class Column:
    """The name of a column, in words.

    Attributes:
        place: Its place, from 0.
        name: As it is written.
        words: Its words, in lower case.
    """

    place: int
    name: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, place: int, name: str) -> Column:
        """Words are separated by anything but letters and digits, and by a capital after a small letter."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.replace("#", " num "))
        return cls(place, name.strip(), tuple(re.findall(r"[^\W_]+", spaced.lower())))

    @property
    def counts(self) -> bool:
        """Whether it says how many."""
        said = set(self.words[1:] if self.words[:1] in (("no",), ("nr",)) else self.words)  # "no. of images"
        if said & (_NUMBERS - {"number"}) or said & _NAMES or (said & _CLASSES and "number" in said):
            return False
        return bool(said & _COUNTS or "number" in said or _RUN_TOGETHER.fullmatch("".join(self.words)))

    @property
    def classes(self) -> bool:
        """Whether it says which class."""
        return not self.counts and not set(self.words) & _NAMES and bool(set(self.words) & _CLASSES)

    @property
    def index(self) -> bool:
        """Whether it numbers rows: pandas writes such a column without a name."""
        return set(self.words) <= _NUMBERS | {"unnamed", "0", "row"}

    def __str__(self) -> str:
        return self.name or "(no name)"


def columns(header: Sequence[str]) -> list[Column]:
    """The columns of a header."""
    return [Column.of(place, name) for place, name in enumerate(header)]


def rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, all of one length, each after the line on which it ends; at least one."""
    text = read_text(path)
    reader = csv.reader(io.StringIO(text), strict=True, delimiter=_delimiter(path, text))
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


def _delimiter(path: Path, text: str) -> str:
    """What separates the cells of the first row that is not blank; quoted cells may hold anything."""
    line = next((one for one in text.split("\n") if one.strip()), "")
    bare = _QUOTED.sub("", line)
    if "," in bare and ";" in bare:
        raise FileFormatError(
            f"{path}: the first row, {shown(line)}, has both commas and semicolons.",
            expected="cells separated by commas, by semicolons or by tabs, the same in every row",
            fix="separate them by commas alone, and put a cell that holds one in double quotes.",
        )
    return next((mark for mark in (",", ";", "\t", "|") if mark in bare), ",")

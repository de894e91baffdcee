"""Integers from the cells of text files and from ``.npy``; what is none is named with its place."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import IntArray
from ufm_convex._files import read_bytes
from ufm_convex.errors import FileFormatError, UFMError, shown

INTEGER = re.compile(r"[ \t]*[+-]?[0-9]{1,18}[ \t]*")  # 18 digits fit in 64 bits; int() takes less white space than \s
_SEPARATED = re.compile(r"[0-9]{1,3}([., _'\u00a0\u202f\u2019][0-9]{3})+")  # thousands


def integers(
    path: Path, cells: Sequence[str], lines: Sequence[int], what: str, kind: type[UFMError], words: str = ""
) -> IntArray:
    """The cells as integers; the first that is none is named with its line, with the advice ``words`` if it is text."""
    bad = next((index for index, cell in enumerate(cells) if not INTEGER.fullmatch(cell)), None)
    if bad is not None:
        raise kind(
            f"{path}, line {lines[bad]}: {what} is {shown(cells[bad])}.",
            expected="an integer, written without a decimal point",
            fix=_integer_advice(cells[bad], words or "mend or remove that line."),
        )
    return np.array(list(map(int, cells)), dtype=np.int64)


def _integer_advice(cell: str, words: str) -> str:
    """How a cell that is no integer becomes one; ``words`` for one that is no number."""
    if _SEPARATED.fullmatch(cell.strip()) and is_number(cell):
        return f"write {cell.replace('.', '')} if the point separates thousands, {float(cell):.0f} if it is decimal."
    if is_number(cell):
        return "if the numbers are whole, save them with .astype(int)."
    if _SEPARATED.fullmatch(cell.strip()):
        return f"write it without separators, as {re.sub('[^0-9]', '', cell)}."
    return words


def map_array(path: Path, what: str) -> npt.NDArray[Any]:
    """The array of a .npy file, memory-mapped, so that a header that promises too much costs nothing."""
    if not read_bytes(path, 1):
        raise empty(path, what)
    try:
        # a header of absurd size overflows NumPy's product of the dimensions, by default with a mere warning
        with np.errstate(over="raise"):
            return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, TypeError, ArithmeticError, SyntaxError, tokenize.TokenError) as error:
        raise FileFormatError(
            f"{path} is not a whole .npy file of numbers: {error}.",
            expected="a file written by np.save, without Python objects in it",
            fix="write it again with np.save(path, array); it may have been cut short.",
        ) from error


def is_number(cell: str) -> bool:
    """True for anything that float() reads, nan included."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def empty(path: Path, what: str) -> FileFormatError:
    """The error for a file without entries."""
    return FileFormatError(
        f"{path} does not hold {what}.", expected="at least one entry", fix="check how the file was written."
    )

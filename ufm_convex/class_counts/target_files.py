"""Tables of targets in files: ``.npy``, ``.npz`` of ``scipy.sparse`` or with one array, and ``.csv``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ufm_convex._files import read_bytes
from ufm_convex.class_counts.tables import rows
from ufm_convex.errors import FileFormatError

_FIX = "save it with numpy.save, scipy.sparse.save_npz, or as a .csv of numbers, one row a column of the problem."
_SPARSE = {"format", "shape", "data"}  # what scipy.sparse.save_npz writes, of any of its formats


def read_targets(path: str | Path) -> Any:
    """The table in a file, (m, V), as ``SoftTargetCrossEntropy`` and the other losses take it.

    Args:
        path: A ``.npy``; a ``.npz`` that ``scipy.sparse.save_npz`` wrote, or with one array; or a ``.csv`` of numbers,
            whose first row may name the outputs.

    Raises:
        FileFormatError: the file cannot be read, has another suffix, several arrays, pickled objects, or a cell that is
            no number.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _from_text(path)
    if suffix not in (".npy", ".npz"):
        raise FileFormatError(f"{path} has the suffix {suffix!r}.", expected=".npy, .npz or .csv", fix=_FIX)
    try:
        found = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
        if not hasattr(found, "files"):
            return found
        if set(found.files) >= _SPARSE:
            return _sparse(path)
        if len(found.files) == 1:
            return found[found.files[0]]
    except FileFormatError:
        raise
    except Exception as error:  # whatever zipfile, NumPy or SciPy raise of a file that is none of theirs
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise FileFormatError(f"{path}: {said}.", expected="a table of numbers", fix=_FIX) from error
    raise FileFormatError(
        f"{path} has the arrays {', '.join(sorted(found.files)) or '(none)'}.",
        expected="one array, or what scipy.sparse.save_npz writes",
        fix="save the table alone, with numpy.savez(path, targets=...).",
    )


def _sparse(path: Path) -> Any:
    import scipy.sparse

    return scipy.sparse.load_npz(path)


def _from_text(path: Path) -> list[list[float]]:
    """Numbers, after a first row of names where none of its cells is a number."""
    table: list[list[float]] = []
    for k, (line, cells) in enumerate(rows(path)):
        numbers = [_number(cell) for cell in cells]
        if k == 0 and all(number is None for number in numbers):
            continue
        if None in numbers:
            raise FileFormatError(
                f"{path}, line {line}: the cell {cells[numbers.index(None)]!r} is no number.",
                expected="numbers, after one row of names at most",
                fix="write 0 for an output without a share.",
            )
        table.append([number for number in numbers if number is not None])
    return table


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None

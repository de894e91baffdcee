"""Named columns as a file or a data frame: CSV for people and spreadsheets, Parquet for data frames.

Nothing is imported before it is needed, and what is not installed is named before any work. Shapes: columns are one-
dimensional arrays of one length, of integers, binary64 numbers, truth values or words.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm_convex.errors import FileFormatError, MissingExtraError, UnknownNameError, shown

Columns = Mapping[str, npt.NDArray[Any]]
"""Name → column."""

SUFFIXES = (".csv", ".parquet")
"""What tables are written as."""
LIBRARIES = ("polars", "pandas")
"""Packages whose data frames are made; the first that is installed, if none is named."""


def check_table(path: Path) -> None:
    """Raise unless the suffix is one of ``SUFFIXES`` and what writes it is installed."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileFormatError(
            f"{path} has {f'the suffix {suffix}' if suffix else 'no suffix'}.",
            expected="a table that ends in " + " or ".join(SUFFIXES),
            fix="use .csv, which needs nothing but this package.",
        )
    if suffix == ".parquet":
        require_pyarrow()


def require_pyarrow() -> None:
    """Raise ``MissingExtraError`` where pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError(
            "pyarrow is not installed.",
            expected="the package pyarrow, which writes .parquet",
            fix="pip install pyarrow, or write .csv",
        )


def encoded(columns: Columns, path: Path) -> bytes:
    """The content of the file, by its suffix; raises as ``check_table``. Numbers keep all their digits."""
    check_table(path)
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(_cells(column) for column in columns.values()), strict=True))
        return text.getvalue().encode()
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), buffer)
    return buffer.getvalue()


def _cells(column: npt.NDArray[Any]) -> list[Any]:
    """Entries as CSV has them: true and false in small letters, an empty cell for what is no number."""
    if column.dtype == np.bool_:
        return np.where(column, "true", "false").tolist()
    entries: list[Any] = column.tolist()
    return ["" if entry != entry else entry for entry in entries] if column.dtype.kind == "f" else entries


def dataframe(columns: Columns, library: str | None) -> Any:
    """A data frame of Polars or pandas.

    Args:
        columns: Name → column.
        library: "polars" or "pandas"; None for the first of them that is installed.

    Raises:
        UnknownNameError: it is another name.
        MissingExtraError: it is not installed, or neither is.
    """
    if library is not None and library not in LIBRARIES:
        raise UnknownNameError(
            f"library is {shown(library)}.", expected=" or ".join(LIBRARIES), fix="leave it out for what is installed."
        )
    wanted = LIBRARIES if library is None else (library,)
    found = next((name for name in wanted if _installed(name)), None)
    if found is None:
        raise MissingExtraError(
            f"{' and '.join(wanted)} {'is' if len(wanted) == 1 else 'are'} not installed.",
            expected="a package of data frames: polars or pandas",
            fix=f"pip install {wanted[0]}, or take the columns by themselves: per_class().",
        )
    return importlib.import_module(found).DataFrame(dict(columns))


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None

"""A sweep's rows as files: CSV for people and spreadsheets, Parquet for data frames. Whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ufm_convex._files import write_atomically
from ufm_convex._tables import require_pyarrow
from ufm_convex.sweep.running import FIELDS

__all__ = ["require_pyarrow", "write_csv", "write_parquet"]

_INTEGERS = {"index", "classes", "num_samples", "smallest_count", "largest_count", "collapsed", "theory_collapsed"}
_WORDS = {"loss", "profile", "status", "solver", "level", "problem_sha256", "message"}


def write_csv(rows: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Write the rows with a head of ``FIELDS``; numbers keep all their digits, null is an empty cell.

    Raises:
        FileFormatError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(Path(path), text.getvalue())


def write_parquet(rows: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Write the rows as one Parquet table with the columns ``FIELDS``.

    Raises:
        MissingExtraError: pyarrow is not installed.
        FileFormatError: the file cannot be written.
    """
    require_pyarrow()
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {name: pa.float64() for name in FIELDS}
    kinds.update(dict.fromkeys(_INTEGERS, pa.int64()), **dict.fromkeys(_WORDS, pa.string()))
    table = pa.Table.from_pylist(list(rows), schema=pa.schema([(name, kinds[name]) for name in FIELDS]))
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    write_atomically(Path(path), buffer.getvalue())

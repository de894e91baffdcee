"""Writing files whole or not at all, and reading TOML."""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ufm_convex.errors import FileFormatError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write text (UTF-8) or bytes under a temporary name beside ``path``, then rename; a failure leaves the old file.

    Raises:
        FileFormatError: the file cannot be written.
    """
    data = content if isinstance(content, bytes) else content.encode()
    # not tempfile.mkstemp: its files are readable by their owner alone, and the rename would keep that
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise FileFormatError(
            f"{path} cannot be written: {error.strerror or error}.",
            expected="a path in a folder that exists and may be written to",
            fix="check the path, the permissions and the space left.",
        ) from error
    finally:
        _remove(temporary)  # nothing is left to remove after the rename


def read_text(path: str | Path) -> str:
    """The text of a TOML file.

    Raises:
        FileFormatError: it cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"{path} cannot be read: {error}.",
            expected="a TOML file in UTF-8",
            fix="check the path and the encoding.",
        ) from error


def parse_toml(text: str, source: str, keys: Iterable[str], fix: str) -> dict[str, Any]:
    """The table that a TOML text holds.

    Raises:
        FileFormatError: it is not TOML; the message names ``source``, the ``keys`` that are meant, and the ``fix``.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, and int() on a number of thousands of digits
        raise FileFormatError(f"{source} is not TOML: {error}.", expected="keys " + ", ".join(keys), fix=fix) from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is missing or closed to us; the caller hears of that already
        return

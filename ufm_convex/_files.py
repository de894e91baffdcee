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


def read_bytes(path: str | Path, size: int = -1) -> bytes:
    """The first ``size`` bytes of a file, or all.

    Raises:
        FileFormatError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as handle:
            return handle.read(size)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FileFormatError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            expected="a readable file",
            fix="check the path.",
        ) from error


def read_text(path: str | Path) -> str:
    """A file as text, line ends as line feeds, without a byte-order mark; not empty.

    Every text file that people give is read here: editors write the mark, and no parser wants it.

    Raises:
        FileFormatError: it cannot be read, is not UTF-8, or holds nothing.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileFormatError(
            f"{path} cannot be read, line {line}: byte {data[error.start]:#04x} is not UTF-8.",
            expected="text in UTF-8",
            fix="save the file again as UTF-8.",
        ) from error
    if not text.strip():
        raise FileFormatError(
            f"{path} does not hold anything.", expected="at least one entry", fix="check how the file was written."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def say_unused(source: str | Path, what: str, names: Iterable[str]) -> None:
    """Log in one line what a reader leaves aside because it is harmless; unless told otherwise that goes to stderr."""
    listed = list(names)
    if listed:
        import logging

        logging.getLogger("ufm_convex").warning(
            "%s: not used: the %s%s %s", source, what, "s" if len(listed) > 1 else "", ", ".join(listed)
        )


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

"""Writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

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


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is missing or closed to us; the caller hears of that already
        return

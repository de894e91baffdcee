"""Writing files whole or not at all, and reading TOML."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ufm_convex.errors import FileFormatError, UFMError

_FIX = "check the path, the permissions and the space left."


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write text (UTF-8) or bytes under a temporary name beside the file, then rename; a failure leaves the old file.

    A link stays a link: what it leads to is replaced, and keeps its permissions. What is no ordinary file (a pipe, a
    terminal, ``/dev/null``), and a file that this process has as stdout or stderr, has no old content to keep: it is
    written to as it stands.

    Raises:
        FileFormatError: the file cannot be written.
    """
    data = content if isinstance(content, bytes) else content.encode()
    try:
        if (descriptor := _stream(path)) is not None:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()  # what was printed before comes first
            write_all(descriptor, data)
        elif path.exists() and not path.is_file():
            with path.open("wb", buffering=0) as handle:
                write_all(handle.fileno(), data)
        else:
            _replace(_behind(path), data)
    except (OSError, ValueError, RuntimeError) as error:  # the latter two: a null byte in the name, a loop of links
        raise _unwritable(path, error) from error


def check_writable(path: Path, fix: str = _FIX) -> None:
    """Raise ``FileFormatError`` where ``write_atomically`` would fail: for before the work, not after it.

    A file of no bytes is made beside it and removed again, since permissions do not tell (of root, of a file system
    that is read-only). What only the bytes would show, such as a disk that fills up, is not foreseen.
    """
    try:
        if (descriptor := _stream(path)) is None and (not path.exists() or path.is_file()):
            _check_place(_behind(path))
        else:
            _check_special(path, descriptor)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unwritable(path, error, fix) from error


def _check_place(path: Path) -> None:
    """Raise ``OSError`` unless a new file can take this place."""
    folder = path.parent
    if not folder.is_dir():
        raise OSError(f"{folder} is no folder" if folder.exists() else f"the folder {folder} does not exist")
    with suppress(FileNotFoundError):
        os.stat(path)  # a name may be too long
        if not os.access(path, os.W_OK):
            raise OSError("it may not be written to")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(f"the folder {folder} may not be written to")
    probe = _beside(path)
    try:
        probe.open("xb").close()
    finally:
        _remove(probe)


def _check_special(path: Path, descriptor: int | None) -> None:
    """Raise ``OSError`` for a folder, a device, and a pipe or a stream of ours that takes nothing."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise OSError("it is a folder")
    if descriptor is None and not stat.S_ISFIFO(found.st_mode):
        raise OSError("it is a device or a pipe")
    if descriptor == 1 and sys.__stdout__ is None:
        raise OSError("it is closed")
    if descriptor is None and not os.access(path, os.W_OK):
        raise OSError("it may not be written to")
    if sys.platform == "linux" and stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 7):  # /dev/full
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _replace(path: Path, data: bytes) -> None:
    temporary = _beside(path)
    try:
        with temporary.open("xb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        _remove(temporary)  # nothing is left to remove after the rename


def _behind(path: Path) -> Path:
    """What a link leads to, whether it is there or not; any other path as it was given."""
    return path.resolve() if path.is_symlink() else path


def _beside(path: Path) -> Path:
    """A new name in the same folder: short, for a long name may be at the limit of the system already.

    Not ``tempfile.mkstemp``: its files are readable by their owner alone, and the rename would keep that.
    """
    return path.parent / f".{secrets.token_hex(8)}.tmp"


def _stream(path: Path) -> int | None:
    """The descriptor, 1 or 2, whose file this is; a rename would cut it off from what is printed afterwards."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
    return None


def write_all(descriptor: int, data: bytes) -> None:
    """Hand all the bytes to the system; raises ``OSError``."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _unwritable(path: Path, error: Exception, fix: str = _FIX) -> UFMError:
    reason = getattr(error, "strerror", None) or str(error)
    return FileFormatError(
        f"{path} cannot be written: {reason}.",
        expected="a file in a folder that exists and may be written to",
        fix=fix,
    )


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

"""Arrays of a candidate from files: ``.npy`` memory-mapped, ``.npz`` memory-mapped where its layout allows.

Nothing is unpickled, and no header is believed before it is compared with the size of what follows it.
"""

from __future__ import annotations

import math
import mmap
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ufm_convex.errors import FileFormatError

_NAMES = ("weights", "features", "labels", "class_counts")
_MAP_FROM = 1 << 26  # bytes; smaller members of an archive are read, and their checksum compared
_LOCAL_HEADER = 30  # bytes of a local file header of a zip archive before the name and the extra field

_NOT_AN_ARRAY = (ValueError, TypeError, ArithmeticError, SyntaxError, tokenize.TokenError, EOFError)


def map_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file as a read-only memory map.

    Raises:
        FileFormatError: the file is missing, not ``.npy``, holds Python objects, or is shorter than its header says.
    """
    try:
        # a header of absurd size overflows NumPy's product of the dimensions, by default with a mere warning
        with np.errstate(over="raise"):
            return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise _unreadable(path, error) from error
    except _NOT_AN_ARRAY as error:
        raise FileFormatError(
            f"{path} is not a whole .npy file of numbers: {error}.",
            expected="a file written by np.save, without Python objects in it",
            fix="write it again with np.save(path, array); it may have been cut short.",
        ) from error


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays ``weights``, ``features`` and ``labels`` or ``class_counts`` of a ``.npz`` file, by name.

    Raises:
        FileFormatError: the file is missing, not ``.npz``, truncated or damaged, or lacks an array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(info.filename).stem: info for info in archive.infolist() if _is_array(info)}
            _check_names(path, members)
            return {name: _member(path, archive, members[name]) for name in _NAMES if name in members}
    except OSError as error:
        raise _unreadable(path, error) from error
    except FileFormatError:  # a ValueError as well, and complete as it is
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, *_NOT_AN_ARRAY) as error:
        raise FileFormatError(
            f"{path} is not a whole .npz file of numbers: {error}.",
            expected="a file written by np.savez, without Python objects in it",
            fix="write it again with np.savez(path, weights=W, features=F, labels=y); it may have been cut short.",
        ) from error


def _is_array(info: zipfile.ZipInfo) -> bool:
    return info.filename in {f"{name}.npy" for name in _NAMES}


def _check_names(path: Path, members: dict[str, zipfile.ZipInfo]) -> None:
    missing = [name for name in ("weights", "features") if name not in members]
    if not missing and ("labels" in members) == ("class_counts" in members):
        missing = ["exactly one of labels and class_counts"]
    if missing:
        raise FileFormatError(
            f"{path} has the arrays {', '.join(sorted(members)) or '(none)'}, but not {', '.join(missing)}.",
            expected="weights (K, d), features (N, d), labels (N,); or class means (K, d) with class_counts (K,)",
            fix="np.savez(path, weights=W, features=F, labels=y).",
        )


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """One array of the archive; its header must promise exactly the bytes that the archive holds."""
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream)
        start = stream.tell()
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != info.file_size - start:
            raise ValueError(f"the header of {info.filename} says {dtype} {shape}, which is not what follows")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size < _MAP_FROM:
            stream.seek(0)
            array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return array
    offset = info.header_offset + _local_header_size(path, info) + start
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"version {version} of the array format is only needed for named fields")


def _local_header_size(path: Path, info: zipfile.ZipInfo) -> int:
    """Bytes from the member's local header to its data: the extra field there may differ from the directory's."""
    with path.open("rb") as handle:
        handle.seek(info.header_offset)
        header = handle.read(_LOCAL_HEADER)
    return _LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")


def _unreadable(path: Path, error: OSError) -> FileFormatError:
    return FileFormatError(
        f"{path} cannot be read: {error.strerror or error}.", expected="a readable file", fix="check the path."
    )


def release(array: npt.NDArray[Any]) -> None:
    """Give the pages of a memory map back to the system; they are read again when they are needed.

    Only of a map opened for reading: in one opened for copy-on-write this would undo what was written. Nothing
    happens for other arrays, nor on a system without ``madvise``.
    """
    base: Any = array
    read_only = False
    while isinstance(base, np.ndarray):
        read_only |= isinstance(base, np.memmap) and base.mode == "r"
        base = base.base
    if read_only and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)

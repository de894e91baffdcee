"""Arrays of a candidate from files: ``.npy`` memory-mapped, ``.npz`` memory-mapped where its layout allows.

Nothing is unpickled, and no header is believed before it is compared with the size of what follows it.
"""

from __future__ import annotations

import math
import mmap
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ufm_convex._files import say_unused
from ufm_convex.candidate.names import FIELDS, chosen
from ufm_convex.errors import FileFormatError

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


def read_npz(path: Path, renamed: Mapping[str, str] = MappingProxyType({})) -> dict[str, npt.NDArray[Any]]:
    """The arrays ``weights``, ``features``, ``labels`` or ``class_counts``, and perhaps ``bias`` of a ``.npz`` file.

    Args:
        path: The file.
        renamed: What arrays are called in the file, where it is not what ``Candidate`` calls them.

    Raises:
        FileFormatError: the file is missing, not ``.npz``, truncated or damaged, or lacks an array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive, renamed)
            return {name: _member(path, archive, info) for name, info in members.items()}
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


def _members(path: Path, archive: zipfile.ZipFile, renamed: Mapping[str, str]) -> dict[str, zipfile.ZipInfo]:
    """The members that are read, by the names of the candidate's arrays; which are refused is said in ``names``.

    Text says something to people (names of classes, what was trained), and so do files that are no arrays: they enter
    no objective, and the log says that they are not used.
    """
    everything = archive.infolist()
    if any(Path(info.filename).name == "data.pkl" for info in everything):
        raise _pytorch(path)
    arrays = [(info.filename.removesuffix(".npy"), info) for info in everything if info.filename.endswith(".npy")]
    texts = [name for name, info in arrays if name not in FIELDS and _is_text(archive, info)]
    found = chosen(path, [name for name, _ in arrays], renamed, texts)
    say_unused(path, "member", (info.filename for info in everything if not info.filename.endswith(".npy")))
    infos = dict(arrays)
    return {field: infos[name] for field, name in found.items()}


def _pytorch(path: Path) -> FileFormatError:
    return FileFormatError(
        f"{path} is a file of PyTorch.",
        expected="a .npz file with weights (K, d), features (N, d), labels (N,), or a name that ends in .pt",
        fix="call it .pt, if it is a dictionary of tensors.",
    )


def _is_text(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    with archive.open(info) as stream:
        return _header(stream)[2].kind in "US"


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

"""Arrays of a candidate from files: ``.npy`` memory-mapped, ``.npz`` memory-mapped where its layout allows.

Nothing is unpickled, and no header is believed before it is compared with the size of what follows it.
"""

from __future__ import annotations

import math
import mmap
import re
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ufm_convex._files import say_unused
from ufm_convex.errors import FileFormatError

_BIAS = re.compile(r"(?:^|[^a-z])bias(?:es)?(?:$|[^a-z])|^b_?[0-9]*$", re.IGNORECASE)  # fc.bias, head_bias, b
_NAMES = ("weights", "features", "labels", "class_counts", "bias")
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
    """The arrays ``weights``, ``features``, ``labels`` or ``class_counts``, and perhaps ``bias`` of a ``.npz`` file.

    Raises:
        FileFormatError: the file is missing, not ``.npz``, truncated or damaged, or lacks an array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            return {name: _member(path, archive, info) for name, info in members.items()}
    except OSError as error:
        raise _unreadable(path, error) from error
    except FileFormatError:  # a ValueError as well, and complete as it is
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, *_NOT_AN_ARRAY) as error:
        if path.suffix.lower() in (".pt", ".pth"):  # of old versions, which were no archives
            raise _pytorch(path) from error
        raise FileFormatError(
            f"{path} is not a whole .npz file of numbers: {error}.",
            expected="a file written by np.savez, without Python objects in it",
            fix="write it again with np.savez(path, weights=W, features=F, labels=y); it may have been cut short.",
        ) from error


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members that are read, by the names of their arrays; anything else is refused by name.

    Text says something to people (names of classes, what was trained), and so do files that are no arrays: they enter
    no objective, and the log says that they are not used. Numbers might be part of the model.
    """
    everything = archive.infolist()
    if any(Path(info.filename).name == "data.pkl" for info in everything):
        raise _pytorch(path)
    arrays = [info for info in everything if info.filename.endswith(".npy")]
    names = [info.filename.removesuffix(".npy") for info in arrays]
    _check_names(path, names)
    unknown = [name for name in names if name not in _NAMES]
    biased = [name for name in unknown if _BIAS.search(name)]  # one written as text is a bias all the same
    texts = [
        name
        for name, info in zip(names, arrays, strict=True)
        if name in unknown and name not in biased and _is_text(archive, info)
    ]
    strange = [name for name in unknown if name not in texts]
    if strange:
        raise FileFormatError(
            f"{path} has the array{'s'[: len(strange) - 1]} {', '.join(strange)}, which would not be used.",
            expected="weights, features, labels or class_counts, and bias where there is one",
            fix=_leaving_out(strange, biased, names),
        )
    say_unused(path, "member", [*texts, *(info.filename for info in everything if info not in arrays)])
    return {name: info for name, info in zip(names, arrays, strict=True) if name in _NAMES}


def _check_names(path: Path, names: list[str]) -> None:
    """Raise ``FileFormatError`` unless each needed array is there once."""
    missing = [name for name in ("weights", "features") if name not in names]
    if "labels" not in names and "class_counts" not in names:
        missing.append("exactly one of labels and class_counts")
    both = "labels" in names and "class_counts" in names
    twice = sorted({name for name in names if names.count(name) > 1})
    if not (missing or both or twice):
        return
    wrong = f"but not {', '.join(missing)}" if missing else "but labels as well as class_counts"
    raise FileFormatError(
        f"{path} has the array {twice[0]} twice."
        if twice
        else f"{path} has the arrays {', '.join(sorted(names)) or '(none)'}, {wrong}.",
        expected="weights (K, d), features (N, d), labels (N,); or class means (K, d) with class_counts (K,); "
        "and bias (K,) where there is one",
        fix=_renaming(names)
        if missing
        else "keep labels if features has one row a sample, class_counts if it has one row a class."
        if both
        else "write it again with np.savez(path, weights=W, features=F, labels=y).",
    )


def _leaving_out(strange: list[str], biased: list[str], names: list[str]) -> str:
    """What to do about arrays that would not be used; one of them may be the bias under another name."""
    if len(biased) != 1 or "bias" in names:
        return f"leave {', '.join(strange)} out of np.savez; text may stay."
    others = [name for name in strange if name not in biased]
    rest = f" and leave {', '.join(others)} out" if others else ""
    return f"write it as bias=z[{biased[0]!r}], where z = np.load(path),{rest} in np.savez, if it is the classifier's."


def _renaming(names: list[str]) -> str:
    """The call of ``np.savez`` with the names that are meant, filled in as far as other names can be guessed."""
    guesses = {
        "weights": ("weights", "W", "w", "weight", "classifier", "fc.weight"),
        "features": ("features", "H", "h", "F", "feature", "Z", "X", "embeddings"),
        "labels": ("labels", "y", "Y", "label", "targets", "target"),
        "class_counts": ("class_counts", "counts", "n", "num_samples"),
        "bias": ("bias", "b", "fc.bias", "head.bias", "classifier.bias"),
    }
    found = {meant: next((one for one in spelled if one in names), "") for meant, spelled in guesses.items()}
    letters = {"weights": "W", "features": "F", "labels": "y", "class_counts": "n"}
    third = "class_counts" if found["class_counts"] and not found["labels"] else "labels"
    given = [
        f"{meant}=z[{found[meant]!r}]" if found[meant] else f"{meant}={letters[meant]}"
        for meant in ("weights", "features", third, *(["bias"] if found["bias"] else []))
    ]
    opened = "z = np.load(path); " if any(found.values()) else ""
    left = [name for name in names if name not in (*found.values(), *_NAMES)]
    unused = f" This leaves out {', '.join(left)}, which would not be used." if left else ""
    return f"{opened}np.savez(new_path, {', '.join(given)}).{unused}"


def _pytorch(path: Path) -> FileFormatError:
    return FileFormatError(
        f"{path} is a file of PyTorch.",
        expected="a .npz file with weights (K, d), features (N, d), labels (N,)",
        fix="load it with torch.load(path, weights_only=True), and pass its tensors: c = Candidate(weights=W, "
        "features=F, labels=y), with bias=b if there is one. For a file: np.savez(path, **c.arrays()).",
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

"""Arrays of a candidate from files of other tools: PyTorch's ``.pt``, ``.safetensors``, MATLAB's ``.mat``.

Nothing is unpickled but tensors. Every reader gives the names in a file and a function that reads one of them, so that
a checkpoint of a whole network costs what is taken from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ufm_convex._files import read_bytes, say_unused
from ufm_convex.candidate.names import FIELDS, chosen
from ufm_convex.errors import FileFormatError, MissingExtraError

Named = tuple[list[str], Callable[[str, str], Any]]
"""The names of the arrays in an opened file, and what reads one of them as one of ``FIELDS``."""


def read_arrays(path: Path, renamed: Mapping[str, str]) -> dict[str, Any]:
    """The arrays of a candidate by the names that ``Candidate`` has for them.

    Args:
        path: A file whose suffix is in ``FORMATS``.
        renamed: What arrays are called in the file, where it is not what ``Candidate`` calls them.

    Raises:
        FileFormatError: the file is missing or damaged, or lacks an array.
        MissingExtraError: the package that reads such files is not installed.
    """
    read_bytes(path, 1)  # a file that cannot be read is refused in the words of all readers
    with FORMATS[path.suffix.lower()](path) as (names, get):
        fields = chosen(path, names, renamed)
        return {field: get(key, field) for field, key in fields.items()}


@contextmanager
def _pytorch(path: Path) -> Iterator[Named]:
    torch = _package("torch", "ufm-convex[torch]", path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged archive or the restricted unpickler raises
        raise FileFormatError(
            f"{path} is no file of tensors alone: {_line(error)}.",
            expected="a dictionary of tensors, as torch.save writes it; nothing else is unpickled",
            fix="save tensors: torch.save({'weights': W, 'features': F, 'labels': y}, path).",
        ) from error
    flat = dict(_flattened(found)) if isinstance(found, Mapping) else {}
    tensors = {name: value for name, value in flat.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise FileFormatError(
            f"{path} holds a {type(found).__name__} without tensors by name.",
            expected="a dictionary of tensors",
            fix="save tensors by name: torch.save({'weights': W, 'features': F, 'labels': y}, path).",
        )
    say_unused(path, "entry", (name for name in flat if name not in tensors))
    yield list(tensors), lambda name, field: tensors[name]


@contextmanager
def _safetensors(path: Path) -> Iterator[Named]:
    safetensors = _package("safetensors", "safetensors", path)
    # NumPy has no bfloat16: where PyTorch is installed it reads every type, and hands it on exactly
    framework = "pt" if _installed("torch") else "np"
    try:
        with safetensors.safe_open(path, framework=framework) as opened:
            yield list(opened.keys()), lambda name, field: _tensor(path, opened, name)
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error, "a file written by safetensors' save_file") from error


def _tensor(path: Path, opened: Any, name: str) -> Any:
    try:
        return opened.get_tensor(name)
    except TypeError as error:  # what NumPy has no type for
        raise MissingExtraError(
            f"{path}: {name} has a type that NumPy has not: {_line(error)}.",
            expected="float32 or float64, or PyTorch, which reads the others",
            fix="pip install 'ufm-convex[torch]'",
        ) from error


@contextmanager
def _matlab(path: Path) -> Iterator[Named]:
    import scipy.io

    try:
        found = scipy.io.loadmat(path)
    except NotImplementedError as error:  # version 7.3, which is HDF5
        raise FileFormatError(
            f"{path} is a MATLAB file of version 7.3.",
            expected="version 7 or earlier",
            fix="save it in MATLAB with save(path, '-v7', …).",
        ) from error
    except Exception as error:  # SciPy's reader raises whatever the damage leads it to
        raise _damaged(path, error, "a file written by MATLAB's save, or scipy.io.savemat") from error
    names = [name for name in found if not name.startswith("__")]
    yield names, lambda name, field: _from_matlab(found[name], field)


def _from_matlab(array: Any, field: str) -> Any:
    """MATLAB knows no vectors and, by default, no integers: (1, n) is one of n, and whole labels in it are integers.

    Matrices and the entries of a bias stay what they are.
    """
    if field in ("weights", "features") or not isinstance(array, np.ndarray):
        return array
    if array.ndim != 2 or 1 not in array.shape:
        return array
    vector = array.ravel()
    if field == "bias":
        return vector
    whole = vector.dtype.kind == "f" and np.isfinite(vector).all() and (vector == np.rint(vector)).all()
    return vector.astype(np.int64) if whole and (np.abs(vector) < 2.0**53).all() else vector


FORMATS: dict[str, Callable[[Path], Any]] = {
    ".pt": _pytorch,
    ".pth": _pytorch,
    ".safetensors": _safetensors,
    ".mat": _matlab,
}
"""Suffix → how such a file is opened. ``.npz``, which is mapped and not read, is in ``files``."""


def _flattened(table: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Entries of nested dictionaries, their names joined by points as in a ``state_dict``."""
    for key, value in table.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{name}.")
        else:
            yield name, value


def _package(name: str, wanted: str, path: Path) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is read with {name}, which is not installed.",
            expected=f"{name}, or a .npz file",
            fix=f"pip install '{wanted}', or write np.savez(path, weights=W, features=F, labels=y).",
        ) from error


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def _damaged(path: Path, error: Exception, expected: str) -> FileFormatError:
    return FileFormatError(
        f"{path} cannot be read: {_line(error)}.",
        expected=expected,
        fix=f"write it again, with {', '.join(FIELDS[:3])}; it may have been cut short.",
    )


def _line(error: Exception) -> str:
    """The first sentence of what a library says, without colours."""
    plain = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return plain.partition(". ")[0][:200].rstrip(".")

"""With NumPy: the arrays of a candidate that are given beside a certificate, and whether they are those it embeds.

Entries are compared by their bits, so that no mode of the processor (flushing to zero, say) makes two numbers one.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from lzma import LZMAError
from pathlib import Path
from typing import Any

import numpy as np

from .points import Candidate, Factors
from .reading import Another, UnreadableInput

NAMES = ("weights", "features", "labels", "class_counts", "bias")
INTEGRAL = ("labels", "class_counts")
_HEADERS = 1 << 16
"""Bytes allowed for the headers of all arrays."""
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, SyntaxError, MemoryError, OverflowError),
    *(RuntimeError, NotImplementedError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, LZMAError),
)
"""What reading a damaged archive can raise: of the archive, its compression, or the header of an array."""
_LAYOUT = {4: (np.uint32, 23, 0xFF, 150), 8: (np.uint64, 52, 0x7FF, 1075)}
"""Of binary32 and binary64: the bits as an integer, bits of the fraction, mask and bias of the exponent."""


def read(candidate: Candidate | None, given: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of somebody's candidate by name, those in an archive unpacked if they may be the certificate's.

    Raises:
        UnreadableInput: the archive cannot be read, or these are not arrays of a candidate.
        Another: they cannot be the candidate of the certificate.
    """
    try:
        if isinstance(given, Mapping):
            names = _names(given, candidate)
            return {name: _typed(name, _plain(name, given[name])) for name in names}
        with open(given, "rb") as handle, np.load(handle, allow_pickle=False) as archive:
            names = _names(archive, candidate)
            if candidate is not None:
                _require_fitting(candidate, archive, names)
            return {name: _typed(name, archive[name]) for name in names}
    except _UNREADABLE as error:
        if isinstance(error, UnreadableInput):
            raise
        raise UnreadableInput(f"the candidate cannot be read: {error}") from error


def _names(given: Any, candidate: Candidate | None) -> tuple[str, ...]:
    """The names of the arrays in the order of their digest; all that is given is one of them."""
    if candidate is None:
        raise Another("the certificate is about no candidate")
    unknown, third = sorted(set(given) - set(NAMES)), [name for name in INTEGRAL if name in given]
    if unknown or len(third) != 1 or not {"weights", "features"} <= set(given):
        listed = ", ".join(sorted(map(str, given))) or "none"
        raise UnreadableInput(f"a candidate has weights, features, labels or class_counts, bias or none, not: {listed}")
    if third[0] != ("labels" if candidate.level == "sample" else "class_counts"):
        raise Another(f"the candidate of the certificate is one at {candidate.level} level")
    return ("weights", "features", third[0], *(["bias"] if "bias" in given else []))


def _plain(name: str, values: Any) -> Any:
    """An array without anything that hides entries."""
    if np.ma.isMaskedArray(values):
        raise UnreadableInput(f"{name} is a masked array")
    return np.asarray(values)


def _typed(name: str, array: Any) -> Any:
    """An array of a type that candidates have; in another one the same numbers may stand, so there is no verdict."""
    if name in INTEGRAL:
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise UnreadableInput(f"{name} has dtype {array.dtype} and shape {array.shape}: no vector of integers")
    elif array.dtype.kind != "f" or array.dtype.itemsize not in _LAYOUT:
        raise UnreadableInput(f"{name} has dtype {array.dtype}, neither binary32 nor binary64")
    return array


def _require_fitting(candidate: Candidate, archive: Any, names: tuple[str, ...]) -> None:
    """Unpack no more than the certificate announces: a compressed archive of a megabyte may hold a thousand."""
    V, rows = candidate.problem.V, candidate.problem.N if candidate.level == "sample" else candidate.problem.K
    most = 8 * ((V + rows) * candidate.feature_dim + rows + V) + _HEADERS
    wanted = {f"{name}.npy" for name in names}
    if sum(member.file_size for member in archive.zip.infolist() if member.filename in wanted) > most:
        raise Another("the archive holds more than the arrays of the candidate")


def require_embedded(candidate: Candidate, embedded: Factors, given: Mapping[str, Any]) -> None:
    """Raise ``Another`` unless the arrays are, number for number, those in the certificate."""
    W, F = given["weights"], given["features"]
    shapes = (candidate.problem.V, candidate.feature_dim), (len(embedded.labels), candidate.feature_dim)
    if (W.shape, F.shape) != shapes:
        raise Another(f"the candidate of the certificate has weights of shape {shapes[0]}, features of {shapes[1]}")
    third = given["labels"] if candidate.level == "sample" else given["class_counts"]
    expected = embedded.labels if candidate.level == "sample" else embedded.repeats
    if third.tolist() != list(expected):
        raise Another("the candidate of the certificate has other labels or class counts")
    _require_bias(embedded, given.get("bias"))
    matrices = ("weights", W, embedded.W), ("features", F, embedded.H)
    for (name, array, rows), exponent in zip(matrices, embedded.exponents, strict=True):
        for i, row in enumerate(rows):
            if not _same(array[i], row, exponent):
                raise Another(f"row {i} of {name} is another in the candidate of the certificate")


def _require_bias(embedded: Factors, given: Any) -> None:
    """Raise ``Another`` unless both have no bias, or the same."""
    own = embedded.bias
    if own is None or given is None:
        if (own is None) != (given is None):
            raise Another(f"the candidate of the certificate has {'no' if own is None else 'a'} bias")
        return
    if given.shape != (len(own),) or not _same(given, own.integers, own.exponent):
        raise Another("the candidate of the certificate has another bias")


def _same(array: Any, entries: Sequence[int], exponent: int) -> bool:
    """Whether floating-point numbers are these integers times 2^exponent."""
    kind, width, mask, bias = _LAYOUT[array.dtype.itemsize]
    bits = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).view(kind).astype(np.uint64)
    power = ((bits >> np.uint64(width)) & np.uint64(mask)).astype(np.int64)
    if (power == mask).any():  # not finite
        return False
    fraction = (bits & np.uint64((1 << width) - 1)).astype(np.int64)
    mantissa = fraction + np.where(power > 0, 1 << width, 0)
    negative = (bits >> np.uint64(8 * array.dtype.itemsize - 1)).astype(bool)
    signed, places = np.where(negative, -mantissa, mantissa).tolist(), (np.maximum(power, 1) - bias).tolist()
    return all(
        x << (exponent - e) == m if exponent >= e else x == m << (e - exponent)
        for x, m, e in zip(entries, signed, places, strict=True)
    )


__all__ = ["read", "require_embedded"]

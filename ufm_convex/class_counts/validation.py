"""What counts as a vector of class counts, and as a vector of integers at all.

Floats are refused even when they are whole: where a float gets in, so do NaN, fractions and shares. Nothing
is rounded, clipped or reordered.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm_convex import _given
from ufm_convex._arrays import IntArray
from ufm_convex.errors import CountsError, UFMError, shown

MAX_SAMPLES = 2**53
"""Largest N = Σ n_k: every integer up to here is exact in binary64."""

_HALF = 32  # bits; sums of the two halves of 64-bit counts stay exact for up to 2^31 classes


def validate_class_counts(counts: Sequence[int] | npt.ArrayLike, *, least: int = 0, fewest: int = 2) -> IntArray:
    """The class counts as a fresh int64 array of shape (K,).

    Args:
        counts: K ≥ 2 integers ≥ 0, samples a class, 1 ≤ N = Σ n_k ≤ 2⁵³; a list, a tuple or a 1-D integer array. A
            class without samples is an output of the classifier that no sample has (docs/empty_classes.md).
        least: The least count, 1 where a class without samples has no meaning.
        fewest: The fewest counts: 1 where they are those of the columns of a table of targets.

    Raises:
        CountsError: the counts are not integers, not 1-D, fewer than two, below ``least``, all 0, or N is too large.

    Example:
        >>> validate_class_counts([500, 100, 20])
        array([500, 100,  20])
    """
    array = integers("class_counts", counts, CountsError, expected=f"K >= 2 integers >= {least}, one a class")
    _check_index(counts)
    if array.size < fewest:
        raise CountsError(
            "class_counts has one class.",
            expected="at least two classes",
            fix="give one count a class; with a single class there is nothing to tell apart.",
        )
    outside = (array < least) | (array > MAX_SAMPLES)
    if outside.any():
        first = int(np.argmax(outside))
        raise CountsError(
            f"class_counts[{first}] is {int(array[first])}.",
            expected=f"an integer from {least} to 2**53",
            fix="check the entry; no class has that many samples."
            if array[first] > 0
            else "write 0 for a class without samples."
            if not least
            else "leave out classes without samples, and number the others 0 … K − 1 again.",
        )
    if not array.any():
        raise CountsError(
            "class_counts is 0 for every class.",
            expected="at least one class with samples",
            fix="check the counts; without samples there is no loss.",
        )
    total = (int((array >> _HALF).sum()) << _HALF) + int((array & ((1 << _HALF) - 1)).sum())
    if total > MAX_SAMPLES:
        raise CountsError(
            f"class_counts sums to N = {total}.",
            expected="N <= 2**53 = 9007199254740992, so that N is exact in binary64",
            fix="check the counts; no data set has that many samples.",
        )
    return array


def integers(name: str, values: object, kind: type[UFMError], *, expected: str) -> IntArray:
    """``values`` as a fresh int64 array with one dimension and at least one entry, or the error ``kind``."""
    array = _array(name, values, kind, expected)
    if array.ndim != 1:
        raise kind(f"{name} has shape {array.shape}.", expected=f"one dimension: {expected}", fix=_flatten(array, name))
    if array.size == 0:
        raise kind(f"{name} is empty.", expected=expected, fix="check where it was read or selected.")
    if array.dtype.kind not in "iu":
        raise kind(_not_integer(name, array), expected=expected, fix=_conversion(array.dtype.type, array.flat[0], kind))
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        first = int(array.argmax())
        raise kind(f"{name}[{first}] is {int(array[first])}.", expected=expected, fix="check the data.")
    return array.astype(np.int64)


def _array(name: str, values: Any, kind: type[UFMError], expected: str) -> npt.NDArray[Any]:
    """``values`` as an array; the types in a list are looked at, since NumPy makes integers of [True, 2]."""
    if hasattr(values, "__array__") or hasattr(values, "toarray"):
        array = _given.array(name, values, kind, expected=expected)
        if array.dtype != object or array.ndim != 1:
            return array
        values = array.tolist()
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        raise kind(
            f"{name} is {shown(values)}, a {type(values).__name__}.",
            expected=expected,
            fix=f"pass [{name}[k] for k in sorted({name})], its values in the order of the classes."
            if isinstance(values, Mapping)
            else "pass a list, a tuple or a one-dimensional array.",
        )
    values = list(_given.entries(name, list(values), kind, expected=expected))
    # bool is a subclass of int; np.bool_ is not one of np.integer
    strange = {t for t in set(map(type, values)) if t is bool or not issubclass(t, (int, np.integer))}
    if strange:
        first = next(i for i, entry in enumerate(values) if type(entry) in strange)
        entry = values[first]
        raise kind(
            f"{name}[{first}] is {shown(entry)}, of type {type(entry).__name__}.",
            expected=expected,
            fix=_conversion(type(entry), entry, kind),
        )
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        first = next(i for i, entry in enumerate(values) if not -(2**63) <= int(entry) < 2**63)
    raise kind(f"{name}[{first}] is {shown(values[first])}.", expected=expected, fix="check the data.")


def _check_index(counts: object) -> None:
    """Raise ``CountsError`` for a pandas Series whose index says another order of the classes than its rows have."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(counts, pandas.Series):
        return
    index, classes = counts.index.tolist(), list(range(len(counts)))
    if index != classes:
        numbered = set(index) == set(classes)
        raise CountsError(
            f"class_counts is a Series with the index {shown(index)}.",
            expected="the counts of classes 0 … K − 1 in this order",
            fix="pass class_counts.sort_index()."
            if numbered
            else "pass class_counts.tolist(), which numbers the classes in the order of its rows.",
        )


def _not_integer(name: str, array: npt.NDArray[Any]) -> str:
    """What is wrong with an array whose dtype is not an integer one; a NaN or a fraction is pointed at."""
    if array.dtype.kind == "f":
        offending = ~(np.isfinite(array) & (array == np.floor(array)))
        if offending.any():
            first = int(np.argmax(offending))
            return f"{name}[{first}] is {array[first]}."
    return f"{name} has dtype {array.dtype}."


def _conversion(kind: type, entry: object, wanted: type[UFMError]) -> str:
    """How entries of this type, of which one is given, become integers."""
    digits = isinstance(entry, str) and entry.strip().lstrip("+-").isdecimal()
    if digits or issubclass(kind, (bool, np.bool_, float, np.floating)):
        return "if the entries are whole numbers, convert them with np.asarray(values).astype(int)."
    if issubclass(kind, (list, tuple, np.ndarray)):
        return "flatten it to one dimension."
    if wanted is CountsError:
        return "use integers, how many samples each class has; class_counts_from_labels counts labels."
    return "use integers; for names, np.unique(values, return_inverse=True)[1] numbers them."


def _flatten(array: npt.NDArray[Any], name: str) -> str:
    """How an array of another dimension becomes one-dimensional."""
    if array.ndim == 2 and min(array.shape) > 1:
        return "if the rows are one-hot" + (
            " labels, pass values.sum(axis=0)." if name == "class_counts" else ", pass values.argmax(axis=1)."
        )
    return "pass np.ravel(values)." if array.ndim else "pass a list, even for one entry."

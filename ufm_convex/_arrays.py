"""Array types used in signatures, the one rule for handing out frozen arrays, and the one for taking numbers."""

from __future__ import annotations

import math
import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def frozen(array: npt.ArrayLike, dtype: Any = np.float64) -> npt.NDArray[Any]:
    """A read-only copy of ``array`` with the given dtype."""
    copy = np.array(array, dtype=dtype)
    copy.flags.writeable = False
    return copy


def identity_rows(size: int, rows: slice) -> FloatArray:
    """Some rows of the identity matrix, (…, size)."""
    places = np.arange(size)
    return (places[rows, None] == places).astype(np.float64)


def scalar(value: object) -> object:
    """The number in an array or tensor without dimensions; anything else as it is, masked numbers too.

    The item of a masked number is the number under the mask, so a mask is never looked under.
    """
    if getattr(value, "shape", None) != () or is_masked(value):
        return value
    item = getattr(value, "item", None)
    try:
        return item() if callable(item) else value
    except Exception:  # whatever a class of somebody else raises where it has no number: a tensor without data does
        return value


def is_masked(value: object) -> bool:
    """Whether the value has a mask, a set one or not; ``numpy.ma`` is not imported for the question."""
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(value, masked.MaskedArray)


def real(value: object) -> float:
    """``value`` as binary64; NaN for what is no real number (a bool, a text, a vector) or lies beyond the range.

    Arrays and tensors without dimensions are numbers. Range checks come after this one: comparing a NumPy scalar of a
    narrow type with a wide bound overflows.
    """
    value = scalar(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def whole(value: object) -> int | None:
    """``value`` as an integer; None for what is none (a bool, a float even if it is whole, a text, a vector)."""
    value = scalar(value)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return None
    return int(value)

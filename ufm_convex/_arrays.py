"""Array types used in signatures, the one rule for handing out frozen arrays, and the one for taking numbers."""

from __future__ import annotations

import math
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


def real(value: object) -> float:
    """``value`` as binary64; NaN for what is no real number (a bool, a text, an array) or lies beyond the range.

    Range checks come after this one: comparing a NumPy scalar of a narrow type with a wide bound overflows.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan

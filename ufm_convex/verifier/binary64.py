"""Binary64 numbers as their bits say, and whether this machine rounds to nearest (docs/fast_paths.md, section 7).

A processor may be told to take subnormal numbers for 0, thread by thread; comparisons and conversions of such numbers
are then wrong, so signs, values and widenings are read from the bits. What flushing does to sums and products is part
of their error bounds. Another rounding mode is not, and is asked for here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flint import fmpq

from .reading import scaled

_MINUS_ZERO = -(1 << 63)
_PROBED = 1 << 25
"""Multiplications in a product for which every library of matrix products uses all the threads it ever uses."""


def widened(array: Any) -> Any:
    """A float32 or float64 array in binary64 and in this machine's byte order, exactly, subnormal numbers too."""
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if native.dtype.itemsize == 8:
        return native
    wide, bits = native.astype(np.float64), native.view(np.int32)
    small = ((bits & 0x7F800000) == 0) & ((bits & 0x7FFFFF) != 0)
    if small.any():
        wide[small] = np.where(bits[small] < 0, -1.0, 1.0) * (bits[small] & 0x7FFFFF) * 2.0**-149
    return wide


def some_negative(array: Any) -> bool:
    """Whether an entry of a contiguous binary64 array is below 0; −0.0 is not."""
    bits = array.view(np.int64)
    return bool(bits.min() < 0) and bool(((bits < 0) & (bits != _MINUS_ZERO)).any())


def exact(array: Any) -> list[fmpq]:
    """The entries of a contiguous array of finite binary64 numbers."""
    return [_exact(bits) for bits in array.view(np.int64).ravel().tolist()]


def _exact(bits: int) -> fmpq:
    exponent, mantissa = (bits >> 52) & 0x7FF, bits & ((1 << 52) - 1)
    mantissa += (1 << 52) if exponent else 0
    return scaled(-mantissa if bits < 0 else mantissa, max(exponent, 1) - 1075)


def rounds_to_nearest(rows: int, inner: int, columns: int) -> bool:
    """Whether this thread, and those that multiply matrices of these sizes, round to nearest.

    1 + 2⁻⁵⁴ is 1, and upwards it is not; 1 + 3·2⁻⁵⁴ is 1 + 2⁻⁵², and downwards or to zero it is not. Both are sums of
    two products in every entry of a product of the same sizes, or of one large enough to occupy all threads.
    """
    small, large = 2.0**-54, 3 * 2.0**-54
    here = np.ones(64) + np.tile([small, large], 32)
    if rows * inner * columns > _PROBED:
        rows, inner, columns = 1024, 128, 256
    left, right = np.zeros((rows, max(inner, 2))), np.zeros((columns, max(inner, 2)))
    left[:, :2], right[:, 0], right[::2, 1], right[1::2, 1] = 1.0, 1.0, small, large
    expected = np.array([1.0, 1.0 + 2.0**-52])
    there = left @ right.T
    return bool(
        (here[:2] == expected).all()
        and (here.reshape(-1, 2) == expected).all()
        and (there[:, ::2] == expected[0]).all()
        and (there[:, 1::2] == expected[1]).all()
    )

"""Binary64 numbers as what their bits say: order, value and rounding without a floating-point operation.

A processor may be told, thread by thread, to take subnormal numbers for 0 (PyTorch's ``set_flush_denormal`` does): it
then compares, converts and rounds them wrongly. What decides a sign, or becomes an exact number, is read from the bits.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import FloatArray, IntArray

_LOWEST = -(1 << 63)  # the bits of −0.0
_MANTISSA = (1 << 52) - 1
_INFINITY = 0x7FF << 52
_TILE = 1 << 17  # entries that stay in cache


def order(array: FloatArray) -> IntArray:
    """Integers in the order of the entries, of the same signs; 0 for 0.0 and −0.0, and beyond infinity for NaN."""
    bits: IntArray = np.ascontiguousarray(array, dtype=np.float64).view(np.int64)
    return bits if bits.size == 0 or bits.min() >= 0 else np.where(bits < 0, _LOWEST - bits, bits)


def in_order(place: int) -> float:
    """The number at a place of ``order``."""
    return float(struct.unpack("<d", struct.pack("<q", place if place >= 0 else _LOWEST - place))[0])


def widened(array: npt.NDArray[Any], out: FloatArray | None = None) -> FloatArray:
    """binary32 or binary64 numbers in binary64, exactly; in ``out`` if that is given."""
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    wide = np.empty(native.shape) if out is None else out
    wide[...] = native
    if native.dtype.itemsize == 4:
        step = max(1, _TILE * len(native) // max(1, native.size))
        for start in range(0, len(native), step):
            _mend_subnormal(native[start : start + step].view(np.ndarray).view(np.uint32), wide[start : start + step])
    return wide


def _mend_subnormal(bits: npt.NDArray[np.uint32], wide: FloatArray) -> None:
    """Write the subnormal ones of binary32 numbers over what they were converted to."""
    magnitudes = bits << np.uint32(1)
    magnitudes -= np.uint32(1)  # of 0, the largest of all
    small = magnitudes < 0xFFFFFF
    if small.any():
        signs = np.where(bits[small] >> np.uint32(31), -1.0, 1.0)
        wide[small] = signs * (bits[small] & np.uint32(0x7FFFFF)) * 2.0**-149


def parts(array: FloatArray) -> tuple[IntArray, IntArray]:
    """Integers m and e with entry = m · 2^e for each entry of finite numbers, |m| < 2⁵³."""
    bits: IntArray = np.ascontiguousarray(array, dtype=np.float64).view(np.int64)
    exponents = (bits >> 52) & 0x7FF
    mantissas = (bits & _MANTISSA) | ((exponents > 0).astype(np.int64) << 52)
    return np.where(bits < 0, -mantissas, mantissas), np.maximum(exponents, 1) - 1075


def ratio(number: float | int | Fraction) -> tuple[int, int]:
    """Numerator and denominator in lowest terms, as ``as_integer_ratio``.

    Raises:
        ValueError, OverflowError: it is NaN, or infinite.
    """
    if not isinstance(number, (float, np.floating)):
        return number.as_integer_ratio()
    if not math.isfinite(number):
        return float(number).as_integer_ratio()
    (bits,) = struct.unpack("<q", struct.pack("<d", number))
    exponent, mantissa = (bits >> 52) & 0x7FF, bits & _MANTISSA
    if exponent:
        return float(number).as_integer_ratio()
    return Fraction(-mantissa if bits < 0 else mantissa, 1 << 1074).as_integer_ratio()


def fraction(number: float | int | Fraction) -> Fraction:
    """The number, exactly; raises as ``ratio``."""
    return Fraction(*ratio(number))


def rounded_up(number: Fraction) -> float:
    """The smallest binary64 number not below; +∞ where there is none, the lowest of all where that is above."""
    return in_order(_order_up(number))


def rounded_down(number: Fraction) -> float:
    """The largest binary64 number not above; likewise."""
    return in_order(-_order_up(-number))


def _order_up(number: Fraction) -> int:
    if number > 0:
        return min(_place(number, up=True), _INFINITY)
    return -min(_place(-number, up=False), _INFINITY - 1) if number else 0


def _place(number: Fraction, *, up: bool) -> int:
    """The bits of a positive number rounded to a multiple of the unit in its last place."""
    top, bottom = number.numerator, number.denominator
    size = top.bit_length() - bottom.bit_length()
    if top << max(-size, 0) < bottom << max(size, 0):
        size -= 1  # now 2^size <= number < 2^(size + 1)
    unit = max(size - 52, -1074)
    top, bottom = top << max(-unit, 0), bottom << max(unit, 0)
    mantissa = -(-top // bottom) if up else top // bottom
    return ((unit + 1074) << 52) + mantissa  # the leading bit of the mantissa adds 1 to the exponent's field

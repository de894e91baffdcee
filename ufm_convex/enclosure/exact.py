"""Exact numbers from binary64 ones, and numbers from balls, rounded to the safe side.

Every finite binary64 number is an integer times a power of two, so the problem's decays, weights and counts are exact
rationals, and a rounded dual point is exact once it is written down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import parts, ratio, rounded_down, rounded_up

if TYPE_CHECKING:
    from flint import arb, fmpq

PRECISION = 128
"""Bits of the ball arithmetic, unless more are asked for."""

_MANTISSA = 53
_DEEPEST = 1 << 16
"""Smaller powers of two are not written out: the exponential of minus a large margin has an exponent as large."""


@dataclass(frozen=True, eq=False)
class ExactVector:
    """Numbers with one exponent: entry i is integers[i] · 2^exponent.

    Attributes:
        integers: The integers, of any size.
        exponent: The exponent.
    """

    integers: list[int]
    exponent: int

    @classmethod
    def of_floats(cls, values: FloatArray) -> ExactVector:
        """The finite binary64 numbers, exactly."""
        integers, exponents = parts(values)
        used = exponents[integers != 0]
        lowest = int(used.min()) if used.size else -_MANTISSA
        shifts = np.where(integers != 0, exponents - lowest, 0)
        pairs = zip(integers.tolist(), shifts.tolist(), strict=True)
        return cls([integer << shift for integer, shift in pairs], lowest)

    @classmethod
    def of_numbers(cls, values: Sequence[float | Fraction]) -> ExactVector:
        """Integers over powers of two, exactly."""
        ratios = [ratio(value) for value in values]
        common = max(denominator for _, denominator in ratios)
        return cls([numerator * (common // denominator) for numerator, denominator in ratios], 1 - common.bit_length())

    def repeated(self, places: Sequence[int]) -> ExactVector:
        """The number at each of the places."""
        return ExactVector([self.integers[place] for place in places], self.exponent)

    def rationals(self) -> list[fmpq]:
        """The numbers."""
        from flint import fmpq

        up, down = 1 << max(self.exponent, 0), 1 << max(-self.exponent, 0)
        return [fmpq(integer * up, down) for integer in self.integers]


@dataclass(frozen=True, eq=False)
class ExactMatrix:
    """A matrix of integers with one exponent.

    Attributes:
        rows: The integers, row by row.
        exponent: The exponent.
    """

    rows: list[list[int]]
    exponent: int

    @classmethod
    def near(cls, matrix: FloatArray, bits: int) -> ExactMatrix:
        """The matrix rounded to ``bits`` bits below its largest entry; zeros and signs are kept, or become zero."""
        largest = float(np.abs(matrix).max(initial=0.0))
        exponent = (int(np.frexp(largest)[1]) - bits) if largest > 0.0 else 0
        integers = np.rint(np.ldexp(matrix, -exponent))
        if bits < 63:
            return cls(integers.astype(np.int64).tolist(), exponent)
        return cls([[int(entry) for entry in row] for row in integers.tolist()], exponent)

    @classmethod
    def of_floats(cls, matrix: FloatArray) -> ExactMatrix:
        """The finite binary64 numbers, exactly."""
        vector, (rows, columns) = ExactVector.of_floats(matrix.ravel()), matrix.shape
        starts = range(0, rows * columns, columns)
        return cls([vector.integers[start : start + columns] for start in starts], vector.exponent)


def rational(value: float | int | Fraction) -> fmpq:
    """The exact rational of a binary64 number, an integer or a fraction."""
    from flint import fmpq

    return fmpq(*ratio(value))


def power(exponent: int) -> fmpq:
    """2^exponent."""
    from flint import fmpq

    return fmpq(1 << max(exponent, 0), 1 << max(-exponent, 0))


def float_below(ball: arb) -> float:
    """The largest binary64 number not above any point of the ball; −inf when the ball is not finite."""
    return rounded_down(lower_end(ball)) if ball.is_finite() else -math.inf


def float_above(ball: arb) -> float:
    """The smallest binary64 number not below any point of the ball; +inf when the ball is not finite."""
    return rounded_up(upper_end(ball)) if ball.is_finite() else math.inf


def lower_end(ball: arb) -> Fraction:
    """A dyadic number not above any point of a finite ball."""
    return -_ceiling((-ball).upper())


def upper_end(ball: arb) -> Fraction:
    """A dyadic number not below any point of a finite ball."""
    return _ceiling(ball.upper())


def _ceiling(exact: arb) -> Fraction:
    """The number, or a larger one where it is so small that its binary exponent is itself a large number."""
    mantissa, exponent = (int(part) for part in exact.man_exp())
    if exponent + mantissa.bit_length() < -_DEEPEST:
        return Fraction(1, 1 << _DEEPEST) if mantissa > 0 else Fraction(0)
    return Fraction(mantissa) * Fraction(2) ** exponent

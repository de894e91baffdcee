"""Exact numbers from binary64 ones, and binary64 numbers from balls, rounded to the safe side.

Every finite binary64 number is an integer times a power of two, so the problem's decays, weights and counts are exact
rationals, and a rounded dual point is exact once it is written down.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from flint import arb, fmpq

PRECISION = 128
"""Bits of the ball arithmetic."""


def rational(value: float | int | Fraction) -> fmpq:
    """The exact rational of a binary64 number, an integer or a fraction."""
    from flint import fmpq

    return fmpq(*value.as_integer_ratio())


def float_below(ball: arb) -> float:
    """The largest binary64 number not above any point of the ball; −inf when the ball is not finite."""
    return -_above(-ball)


def float_above(ball: arb) -> float:
    """The smallest binary64 number not below any point of the ball; +inf when the ball is not finite."""
    return _above(ball)


def _above(ball: arb) -> float:
    if not ball.is_finite():
        return math.inf
    mantissa, exponent = ball.upper().man_exp()
    exact = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    try:
        nearest = float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -np.finfo(float).max
    return nearest if Fraction(nearest) >= exact else math.nextafter(nearest, math.inf)

"""Log x and e^−n in binary64 from tables and Taylor polynomials, errors bounded.

Source: docs/fast_paths.md, section 7.2; docs/fast_objectives.md, section 7.3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from flint import arb

from .precision import working_precision

LOG_ERROR = 2.0**-45
"""Of ``log`` from 2^-128 to 2^64, twice what ``log_of_integers`` is off."""
_CENTRES = 2048
_STEPS, _CUT = 64, 64


def log_of_integers(x: Any) -> Any:
    """Log max(x, 1) for integers x ≤ 2^41, with error below 2^-46."""
    return log(np.maximum(x, 1.0))


def log(x: Any) -> Any:
    """Log x for x > 0: table of 2048, then a Taylor polynomial; with error below 2^-45 from 2^-128 to 2^64."""
    mantissa, exponent = np.frexp(x)
    place = (mantissa * (2.0 * _CENTRES)).astype(np.int64)
    place -= _CENTRES
    centres, logarithms, log_2 = _logarithms()
    centre = centres[place]
    mantissa -= centre
    mantissa /= centre
    series = _polynomial(mantissa, (1, -1 / 2, 1 / 3))
    series *= mantissa
    return exponent * log_2 + logarithms[place] + series


def _polynomial(r: Any, coefficients: tuple[float, ...]) -> Any:
    """Σ c_i r^i by Horner's rule."""
    *others, last = coefficients
    found = r * last
    for coefficient in others[:0:-1]:
        found += coefficient
        found *= r
    found += others[0]
    return found


def log_of_two() -> float:
    """Log 2, to half a unit in the last place."""
    return _logarithms()[2]


def exp_of_minus(below: Any) -> Any:
    """e^{−n} for n ≥ 0, relative error below 2^-50 up to 64 and 0 beyond: table of e^{−k/64}, Taylor polynomial."""
    scaled_ = np.minimum(below, 2.0 * _CUT) * _STEPS
    place = np.rint(scaled_)
    r = (place - scaled_) / _STEPS
    series = _polynomial(r, (1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720))
    series *= _powers()[place.astype(np.int64)]
    return series


@cache
def _logarithms() -> tuple[Any, Any, float]:
    """Centres of 2048 intervals of [1/2, 1), exactly; their logarithms and that of 2, to half a unit, or nearly."""
    with working_precision(128):
        centres = [(arb(j) + 0.5) / (2 * _CENTRES) for j in range(_CENTRES, 2 * _CENTRES)]
        logarithms = [float(centre.log()) for centre in centres]
        return np.array([float(centre) for centre in centres]), np.array(logarithms), float(arb.const_log2())


@cache
def _powers() -> Any:
    """e^{−k/64} to half a unit in the last place, or nearly, up to e^{−64}, then 0."""
    with working_precision(128):
        powers = [float((-arb(k) / _STEPS).exp()) for k in range(_CUT * _STEPS)]
    return np.array([*powers, *[0.0] * (_CUT * _STEPS + 1)])

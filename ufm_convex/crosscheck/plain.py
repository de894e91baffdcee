"""An answer in plain numbers: whatever a solver left becomes arrays of binary64, floats and text, or a reason.

Numbers are taken from real numbers only. Text is not parsed, truth values are not counted, the imaginary part of a
complex number and the mask of a masked array are not dropped: each would make a right answer out of a wrong one.
"""

from __future__ import annotations

import math
import numbers
from typing import Any, NoReturn

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray
from ufm_convex.crosscheck.base import Answer
from ufm_convex.errors import CandidateError, UFMError, shown
from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers import Claim


class UnusableError(Exception):
    """The answer cannot be judged; the message says why."""


def plain(answer: Answer) -> Answer:
    """The answer with arrays of binary64, finite floats and text.

    One that holds anything else loses its points and says why; its claim, and its value if it is a number, stay.
    """
    claim = answer.claim if isinstance(answer.claim, Claim) else Claim.FAILED
    value = _finite(answer.value)
    try:
        if answer.claim is not claim:
            _refuse(f"claims {shown(answer.claim)}, which is no claim")
        return Answer(
            claim,
            _number("value", answer.value),
            _number("dual value", answer.dual_value),
            None if answer.factors is None else _factors(answer.factors),
            None if answer.point is None else _point(answer.point),
            None if answer.dual is None else _dual(answer.dual),
            answer.message if isinstance(answer.message, str) else shown(answer.message),
            _residual(answer.residual),
            None if answer.bias is None else _array("the bias", answer.bias, dimensions=1),
        )
    except UnusableError as error:
        return Answer(claim, value, message=str(error))


def _factors(given: Any) -> tuple[FloatArray, FloatArray]:
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        _refuse(f"its factors are {type(given).__name__}, not the pair (W, H)")
    return _array("W", given[0]), _array("H", given[1])


def _point(given: Any) -> GramPoint:
    if not isinstance(given, GramPoint):
        _refuse(f"its point is {type(given).__name__}, not GramPoint")
    blocks = (given.weight_gram, given.logits, given.feature_gram)
    bias = None if given.bias is None else _array("the bias", given.bias, dimensions=1)
    A, L, B = (_array("a Gram block", block) for block in blocks)
    return GramPoint(A, L, B, bias)


def _dual(given: Any) -> DualPoint:
    if not isinstance(given, DualPoint):
        _refuse(f"its dual point is {type(given).__name__}, not DualPoint")
    return DualPoint(
        _array("the dual residuals", given.residuals),
        _array("the multiplier", given.nonnegativity),
        *(
            None if block is None else _array("a multiplier block", block)
            for block in (given.weight_block, given.feature_block)
        ),
    )


def _array(name: str, given: Any, dimensions: int = 2) -> FloatArray:
    """A matrix, or a vector, of finite numbers."""
    what = "matrix" if dimensions == 2 else "vector"
    try:
        raw = _given.array(name, given, CandidateError, expected=f"a {what} of numbers")
    except UFMError as error:
        raise UnusableError(error.got.rstrip(".")) from error
    if raw.dtype.kind not in "iuf":
        _refuse(f"{name} holds {raw.dtype}, not real numbers")
    array = raw.astype(np.float64)
    if array.ndim != dimensions:
        _refuse(f"{name} has shape {array.shape}, and is no {what}")
    if array.size == 0 or not np.isfinite(array).all():
        _refuse(f"{name} has no entries, or entries that are NaN or infinite")
    return array


def _number(name: str, given: Any) -> float | None:
    if given is not None and (found := _finite(given)) is None:
        _refuse(f"its {name} is {shown(given)}")
    return None if given is None else found


def _residual(given: Any) -> float:
    found = _number("residual", given)
    if found is None or found < 0.0:
        _refuse(f"its residual is {shown(given)}, not a number >= 0")
    return found


def _finite(given: Any) -> float | None:
    """The number as a finite float; None for anything else, text and truth values too."""
    if isinstance(given, np.ndarray) and given.shape == ():
        given = given.item()
    if isinstance(given, bool) or not isinstance(given, numbers.Real):  # NumPy's numbers are Real, its truth values not
        return None
    try:
        value = float(given)
    except (OverflowError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _refuse(reason: str) -> NoReturn:
    raise UnusableError(reason)

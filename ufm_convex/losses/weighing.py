"""Class weights as losses take them: one positive number a class."""

from __future__ import annotations

from typing import Any

from ufm_convex import _given
from ufm_convex._arrays import real
from ufm_convex.errors import ProblemError, ShapeError, shown

_LARGEST = 2.0**700
"""Larger class weights overflow as soon as they are multiplied with counts."""

_EXPECTED = "a list of finite numbers > 0, one a class"


def class_weights_of(given: Any) -> tuple[float, ...] | None:
    """The weights as numbers; None for none.

    Raises:
        ProblemError: it is no list, or an entry is no finite number > 0.
    """
    if given is None:
        return None
    weights = _given.entries("class_weights", given, ProblemError, expected=_EXPECTED)
    if not isinstance(weights, (list, tuple)):
        raise ProblemError(
            f"class_weights is {shown(given)}.",
            expected=_EXPECTED,
            fix="leave it out to weigh all classes 1.",
        )
    refused = [weight for weight in weights if not 0.0 < real(weight) <= _LARGEST]
    if refused:
        raise ProblemError(
            f"class_weights has the entry {shown(refused[0])}.",
            expected="finite numbers > 0, at most 2**700",
            fix="weigh by numbers of moderate size; a class that should not count is left out of the problem.",
        )
    return tuple(map(real, weights))


def require_one_each(weights: tuple[float, ...] | None, num_classes: int) -> None:
    """Raise ``ShapeError`` unless there is one weight a class, or none at all."""
    if weights is not None and len(weights) != num_classes:
        raise ShapeError(
            f"class_weights has {len(weights)} entries, but there are {num_classes} classes.",
            expected="one weight a class",
            fix="give the weights in the order of class_counts.",
        )

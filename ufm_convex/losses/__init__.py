"""The losses, one file each.

A module of this folder that defines a subclass of ``Loss`` with a ``name`` is found by its presence: adding a loss
adds a file and changes none.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from ufm_convex._registry import discover
from ufm_convex.errors import ProblemError, UnknownNameError, shown
from ufm_convex.losses.base import Loss
from ufm_convex.losses.binary_cross_entropy import BinaryCrossEntropy
from ufm_convex.losses.cross_entropy import CrossEntropy
from ufm_convex.losses.logit_adjusted_cross_entropy import LogitAdjustedCrossEntropy
from ufm_convex.losses.mean_squared_error import MeanSquaredError
from ufm_convex.losses.multiclass_hinge import MulticlassHinge
from ufm_convex.losses.soft_target_cross_entropy import SoftTargetCrossEntropy

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "LogitAdjustedCrossEntropy",
    "Loss",
    "MeanSquaredError",
    "MulticlassHinge",
    "SoftTargetCrossEntropy",
    "available",
    "make",
]

_REFUSED = {
    "focal": "it is not convex in the logits (second derivative of its binary version down to -0.0165 at gamma = 1)",
}
"""Losses that are asked for and cannot be had, with the reason."""


@cache
def available() -> dict[str, type[Loss]]:
    """The registry: name → class, for every loss module in this folder."""
    return discover(__name__, Loss)  # type: ignore[type-abstract]


def make(name: str, parameters: Mapping[str, Any] | None = None) -> Loss:
    """The loss called ``name`` with the given parameters.

    Raises:
        UnknownNameError: no loss has that name.
        ProblemError: the loss has no such parameter, or refuses its value.
    """
    if isinstance(name, str) and name in _REFUSED:
        raise ProblemError(
            f"loss {name!r} is refused: {_REFUSED[name]}.",
            expected="a loss that is convex in the logits, one of " + ", ".join(sorted(available())),
            fix="use cross-entropy with class_weights, or logit-adjusted-cross-entropy.",
        )
    if not isinstance(name, str) or name not in available():
        raise UnknownNameError(
            f"loss {shown(name)} is not known.",
            expected="one of " + ", ".join(sorted(available())),
            fix="check the spelling; names are lower-case with hyphens.",
        )
    kind = available()[name]
    allowed = list(inspect.signature(kind).parameters)
    unknown = sorted(set(parameters or {}) - set(allowed))
    if unknown:
        raise ProblemError(
            f"loss {name!r} has no parameter {unknown[0]!r}.",
            expected="parameters among " + (", ".join(allowed) or "none"),
            fix="remove or rename it.",
        )
    needed = [name for name, one in inspect.signature(kind).parameters.items() if one.default is one.empty]
    missing = [one for one in needed if one not in (parameters or {})]
    if missing:
        raise ProblemError(
            f"loss {name!r} lacks the parameter {missing[0]!r}.",
            expected="values for " + ", ".join(needed),
            fix="add it to the table of the loss, or with --loss-parameter on the command line.",
        )
    return kind(**dict(parameters or {}))

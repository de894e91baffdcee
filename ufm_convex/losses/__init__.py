"""The losses, one file each.

A module of this folder that defines a subclass of ``Loss`` with a ``name`` is found by its presence: adding a loss
adds a file and changes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ufm_convex._lazy import lazily
from ufm_convex._registry import Registry, choose, plugged_in
from ufm_convex._registry import make as build
from ufm_convex.errors import ProblemError
from ufm_convex.losses.base import Loss

if TYPE_CHECKING:
    from ufm_convex.losses.binary_cross_entropy import BinaryCrossEntropy
    from ufm_convex.losses.cross_entropy import CrossEntropy
    from ufm_convex.losses.from_own import FromOwn
    from ufm_convex.losses.layout import ExactColumn, Layout
    from ufm_convex.losses.logit_adjusted_cross_entropy import LogitAdjustedCrossEntropy
    from ufm_convex.losses.mean_squared_error import MeanSquaredError
    from ufm_convex.losses.multiclass_hinge import MulticlassHinge
    from ufm_convex.losses.soft_target_cross_entropy import SoftTargetCrossEntropy
    from ufm_convex.losses.softmax import SoftmaxLoss
    from ufm_convex.losses.table import Table
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "binary_cross_entropy": ("BinaryCrossEntropy",),
            "cross_entropy": ("CrossEntropy",),
            "from_own": ("FromOwn",),
            "layout": ("ExactColumn", "Layout"),
            "logit_adjusted_cross_entropy": ("LogitAdjustedCrossEntropy",),
            "mean_squared_error": ("MeanSquaredError",),
            "multiclass_hinge": ("MulticlassHinge",),
            "soft_target_cross_entropy": ("SoftTargetCrossEntropy",),
            "softmax": ("SoftmaxLoss",),
            "table": ("Table",),
        },
    )

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "ExactColumn",
    "FromOwn",
    "Layout",
    "LogitAdjustedCrossEntropy",
    "Loss",
    "MeanSquaredError",
    "MulticlassHinge",
    "SoftTargetCrossEntropy",
    "SoftmaxLoss",
    "Table",
    "available",
    "make",
    "require_named",
]

_REFUSED = {
    "focal": "it is not convex in the logits (second derivative of its binary version down to -0.0165 at gamma = 1)",
}
"""Losses that are asked for and cannot be had, with the reason."""


@cache
def available() -> Registry[Loss]:
    """The registry: name → class, for every loss module in this folder and those of other packages."""
    return plugged_in(__name__, Loss, "ufm_convex.losses")  # type: ignore[type-abstract]


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
    kind = choose(available(), name, "loss", "check the spelling; names are lower-case with hyphens.")
    return build(kind, name, "loss", parameters)


def require_named(loss: Loss) -> None:
    """Raise ``ProblemError`` where ``make`` would make another loss of its name: what is written could not be read."""
    from ufm_convex.losses import traits  # a module that what is quick to import does not need

    if traits.foreign(loss) and available().get(loss.name) is not type(loss):
        raise ProblemError(
            f"the loss is of the class {type(loss).__qualname__}, for which the name {loss.name!r} does not stand.",
            expected="a loss that can be found by its name, in a file",
            fix="give it a name of its own, and an entry point that names the class (docs/plugins.md).",
        )

"""Constraints in place of the penalty or of the loss, one file each.

A module of this folder that defines a subclass of ``Constraint`` with a ``name`` is found by its presence. The room
holds data and what it says about the problem; how a constrained problem is solved is said in ``methods``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ufm_convex._lazy import lazily
from ufm_convex._registry import choose, discover
from ufm_convex._registry import make as build
from ufm_convex.problem.constraints.base import Constraint

if TYPE_CHECKING:
    from ufm_convex.problem.constraints.hard_margin import HardMargin
    from ufm_convex.problem.constraints.layer_peeled import LayerPeeled
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "hard_margin": ("HardMargin",),
            "layer_peeled": ("LayerPeeled",),
        },
    )

__all__ = ["Constraint", "HardMargin", "LayerPeeled", "available", "make"]


@cache
def available() -> dict[str, type[Constraint]]:
    """The registry: name → class, for every constraint module in this folder."""
    return discover(__name__, Constraint)  # type: ignore[type-abstract]


def make(name: str, parameters: Mapping[str, Any] | None = None) -> Constraint:
    """The constraint called ``name`` with the given parameters.

    Raises:
        UnknownNameError: no constraint has that name.
        ProblemError: a parameter is missing, not known, or out of range.
    """
    kind = choose(available(), name, "constraint", "check the spelling; names are lower-case with hyphens.")
    return build(kind, name, "constraint", parameters)

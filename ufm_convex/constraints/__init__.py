"""Constraints in place of the penalty or of the loss, one file each.

A module of this folder that defines a subclass of ``Constraint`` with a ``name`` is found by its presence. The room
holds data and what it says about the problem; how a constrained problem is solved is said in ``reductions``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from ufm_convex._registry import discover
from ufm_convex.constraints.base import Constraint
from ufm_convex.constraints.hard_margin import HardMargin
from ufm_convex.constraints.layer_peeled import LayerPeeled
from ufm_convex.errors import ProblemError, UnknownNameError, shown

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
    if not isinstance(name, str) or name not in available():
        raise UnknownNameError(
            f"constraint {shown(name)} is not known.",
            expected="one of " + ", ".join(sorted(available())),
            fix="check the spelling; names are lower-case with hyphens.",
        )
    kind, given = available()[name], dict(parameters or {})
    allowed = inspect.signature(kind).parameters
    missing = sorted(key for key, one in allowed.items() if one.default is one.empty and key not in given)
    unknown = sorted(set(given) - set(allowed))
    if missing or unknown:
        raise ProblemError(
            f"constraint {name!r} has no parameter {unknown[0]!r}."
            if unknown
            else f"constraint {name!r} lacks the parameter {missing[0]!r}.",
            expected="parameters " + ", ".join(allowed),
            fix="add what is missing and remove what is not listed.",
        )
    return kind(**given)

"""The Gram relaxation, one file a level; a module here that defines a named ``Level`` is found by its presence."""

from __future__ import annotations

from functools import cache

from ufm_convex._registry import choose, discover
from ufm_convex.relaxation.alike import Alike, entry_numbers
from ufm_convex.relaxation.base import Level
from ufm_convex.relaxation.columns import Columns
from ufm_convex.relaxation.conic import Units, programme
from ufm_convex.relaxation.identity import (
    dual_value,
    objective,
    residual_gram,
    scaled_load,
    scaled_residuals,
    scaled_slack,
    terms,
)
from ufm_convex.relaxation.making import LEVELS, class_orbits, group_orbits, of_classes, of_groups, of_samples
from ufm_convex.relaxation.maps import Maps
from ufm_convex.relaxation.orbits import Orbits, Pairing
from ufm_convex.relaxation.points import Dual, Factors, Gram, Point
from ufm_convex.relaxation.programme import Programme, build

__all__ = [
    "LEVELS",
    "Alike",
    "Columns",
    "Dual",
    "Factors",
    "Gram",
    "Level",
    "Maps",
    "Orbits",
    "Pairing",
    "Point",
    "Programme",
    "Units",
    "available",
    "build",
    "class_orbits",
    "dual_value",
    "entry_numbers",
    "group_orbits",
    "level",
    "objective",
    "of_classes",
    "of_groups",
    "of_samples",
    "programme",
    "residual_gram",
    "scaled_load",
    "scaled_residuals",
    "scaled_slack",
    "terms",
]


@cache
def available() -> dict[str, Level]:
    """The registry: name → level, for every level module in this folder."""
    return {name: kind() for name, kind in discover(__name__, Level).items()}  # type: ignore[type-abstract]


def level(name: str) -> Level:
    """The level called ``name``.

    Raises:
        UnknownNameError: no level has that name.
    """
    return choose(available(), name, "level", "use 'auto' unless you want one in particular.", also="auto")

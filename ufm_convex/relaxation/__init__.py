"""The Gram relaxation, one file a level; a module here that defines a named ``Level`` is found by its presence."""

from __future__ import annotations

from functools import cache

from ufm_convex._registry import choose, discover
from ufm_convex.relaxation.base import Level
from ufm_convex.relaxation.programme import Programme, build

__all__ = ["Level", "Programme", "available", "build", "level"]


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

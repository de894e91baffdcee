"""Rooms whose names are imported when they are first used: a closed form needs no conic programme.

A room lists which module of it has which names, and shows the same imports to type checkers; a test compares the two::

    if TYPE_CHECKING:
        from ufm_convex.room.points import Point
    else:  # a type checker that saw this would take any name for one of the room
        __getattr__, __dir__ = lazily(__name__, {"points": ("Point",)})
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def lazily(room: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        room: Its ``__name__``.
        homes: Module of the package, or with a dot before it of the package around → names that are taken from it.
    """
    home = {name: module for module, names in homes.items() for name in names}
    if shadowed := sorted(set(home) & set(homes)):  # once imported, the module would stand where the name is looked up
        raise ImportError(f"{room!r} cannot take {shadowed} lazily: modules of these names are in it", name=room)

    def found(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{room}.{home[name]}"), name)
        setattr(sys.modules[room], name, value)
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[room]), *home})

    return found, listed

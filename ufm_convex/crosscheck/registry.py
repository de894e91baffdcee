"""The registry of contestants: a module of this folder that defines a named ``Contestant`` is found by its presence."""

from __future__ import annotations

from functools import cache

from ufm_convex._registry import Registry, discover
from ufm_convex.crosscheck.base import Contestant
from ufm_convex.errors import SolverNotInstalledError, UnknownNameError, shown


@cache
def available() -> Registry[Contestant]:
    """Name → class, installed or not, in the order of the names; then those of other packages."""
    found = discover("ufm_convex.crosscheck", Contestant)  # type: ignore[type-abstract]
    return Registry(dict(sorted(found.items())), Contestant, "ufm_convex.contestants")  # type: ignore[type-abstract]


def installed() -> list[str]:
    """Names of the contestants that can run here."""
    return [name for name, kind in available().items() if kind.installed()]


def contestant(name: str, level: str = "class") -> Contestant:
    """The contestant called ``name``, to be asked at a level.

    Raises:
        UnknownNameError: none has that name.
        SolverNotInstalledError: its package cannot be imported.
    """
    if not isinstance(name, str) or name not in available():
        raise UnknownNameError(
            f"solver {shown(name)} is not known.",
            expected="a callable, or one of " + ", ".join(available()),
            fix="leave the solvers out to run all that are installed.",
        )
    kind = available()[name]
    if not kind.installed():
        raise SolverNotInstalledError(
            f"solver {name!r} is not installed.",
            expected="an installed solver: " + ", ".join(installed()),
            fix=f"pip install {kind.package}",
        )
    return kind(level)

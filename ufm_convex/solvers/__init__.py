"""The solvers, one file each; a module here that defines a named ``Solver`` is found by its presence."""

from __future__ import annotations

from functools import cache

from ufm_convex._registry import Registry, choose, plugged_in
from ufm_convex.errors import SolverNotInstalledError
from ufm_convex.solvers.base import Claim, Solver, SolverRun
from ufm_convex.solvers.stalling import STALLED, Stalls, thorough

__all__ = ["FIRST", "STALLED", "Claim", "Solver", "SolverRun", "Stalls", "available", "solver", "thorough"]

FIRST = "theory"
"""The solver that "auto" asks before every other of this package: its ``rank`` is the lowest."""


@cache
def available() -> Registry[Solver]:
    """The registry: name → class, installed or not; those of other packages included."""
    return plugged_in(__name__, Solver, "ufm_convex.solvers")  # type: ignore[type-abstract]


def solver(name: str) -> Solver:
    """The solver called ``name``.

    Raises:
        UnknownNameError: no solver has that name.
        SolverNotInstalledError: its package cannot be imported.
    """
    kind = choose(available(), name, "solver", "use 'auto' unless you want one in particular.", also="auto")
    if not kind.installed():
        usable = sorted(other for other, k in available().items() if k.installed())
        raise SolverNotInstalledError(
            f"solver {name!r} is not installed.",
            expected="an installed solver: " + ", ".join(usable),
            fix=f"pip install {getattr(kind, 'package', name)}",
        )
    return kind()

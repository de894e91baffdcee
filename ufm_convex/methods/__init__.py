"""Reductions: problems that are solved by solving others, one file each.

A module of this folder that defines a subclass of ``Reduction`` with a ``name`` is found by its presence. ``solve``
asks here first; what it passes in is itself, so that a reduction has every solver and level, and needs to know none.
"""

from __future__ import annotations

from functools import cache

from ufm_convex._registry import discover
from ufm_convex.methods.base import InnerSolve, Progress, Reduction
from ufm_convex.problem import Problem

__all__ = ["InnerSolve", "Progress", "Reduction", "available", "find"]


@cache
def available() -> dict[str, type[Reduction]]:
    """The registry: name → class, for every reduction module in this folder."""
    return discover(__name__, Reduction)  # type: ignore[type-abstract]


def find(problem: Problem) -> Reduction | None:
    """The reduction that takes the problem; None for a problem that is solved as it is."""
    return next((kind() for kind in available().values() if kind.accepts(problem)), None)

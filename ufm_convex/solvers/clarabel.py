"""Clarabel: interior point. Accurate in a few dozen iterations; memory grows as the fourth power of K."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ufm_convex.solvers.conic import ConicSolver


class Clarabel(ConicSolver):
    """Clarabel through cvxpy."""

    name: ClassVar[str] = "clarabel"
    package: ClassVar[str] = "clarabel"
    cvxpy_name: ClassVar[str] = "CLARABEL"
    rank: ClassVar[int] = 10
    largest_order: ClassVar[int] = 80

    def schedule(self, level: str) -> Iterator[tuple[float, dict[str, Any]]]:
        """One run at Clarabel's default accuracy: an interior point gains little by stopping early."""
        yield 1e-8, {}

"""COPT through cvxpy, on the textbook programme; small problems need no licence.

Semidefinite and exponential cones together come out scrambled in cvxpy 1.9 (cvxpy#3391). Read from a file in Conic
Benchmark Format (docs/interchange.md), COPT solves the same programmes.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, ClassVar

from ufm_convex.crosscheck.textbook import TextbookContestant

if TYPE_CHECKING:
    import cvxpy as cp


class COPT(TextbookContestant):
    """``Problem.solve(solver="COPT")``."""

    name: ClassVar[str] = "copt"
    package: ClassVar[str] = "coptpy"

    @classmethod
    def installed(cls) -> bool:
        """Whether the package can be imported."""
        return importlib.util.find_spec("coptpy") is not None

    def solve(self, programme: cp.Problem) -> None:
        """The solver is named; nothing else is."""
        programme.solve(solver="COPT")

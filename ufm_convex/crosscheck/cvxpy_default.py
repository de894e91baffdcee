"""cvxpy's default: the textbook programme, no solver named."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ufm_convex.crosscheck.textbook import TextbookContestant

if TYPE_CHECKING:
    import cvxpy as cp


class CvxpyDefault(TextbookContestant):
    """``Problem.solve()`` with whatever cvxpy picks among solvers that need no licence: SCS for semidefinite ones."""

    name: ClassVar[str] = "cvxpy-default"
    package: ClassVar[str] = "cvxpy"

    @classmethod
    def installed(cls) -> bool:
        """Always: its package is a dependency."""
        return True

    def solve(self, programme: cp.Problem) -> None:
        """Leave out commercial solvers, which cvxpy prefers where they are installed, with or without a licence.

        The oldest releases do not know the setting: beside a commercial solver their default is that one.
        """
        import cvxpy as cp

        cp.settings.DEFAULT_TO_COMMERCIAL_SOLVERS = False  # this process is the contestant's own
        programme.solve()

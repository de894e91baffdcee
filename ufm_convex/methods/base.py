"""What a reduction is: which problems it takes, and how their solution comes from those of other problems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol

from ufm_convex.errors import UnknownNameError
from ufm_convex.problem import Problem
from ufm_convex.solution import Solution

Progress = Callable[[str], None]


class InnerSolve(Protocol):
    """``solve`` with the caller's solver, level and options."""

    def __call__(self, problem: Problem, *, tolerance: float) -> Solution:
        """The solution of another problem."""


class Reduction(ABC):
    """One way to solve a kind of problem through others."""

    name: ClassVar[str]
    levels: ClassVar[tuple[str, ...]]
    """Levels that mean for this kind of problem what they mean for others; "auto" among them."""

    def check_level(self, level: str) -> None:
        """Raise ``UnknownNameError`` for a level that is not among ``levels``."""
        if level not in self.levels:
            raise UnknownNameError(
                f"a {self.name} problem is not solved at level {level!r}.",
                expected="one of " + ", ".join(self.levels),
                fix="choose one of these.",
            )

    @classmethod
    @abstractmethod
    def accepts(cls, problem: Problem) -> bool:
        """Whether the problem is of this kind."""

    @abstractmethod
    def solve(self, problem: Problem, inner: InnerSolve, tolerance: float, tell: Progress) -> Solution:
        """The solution of the problem; its bounds are proved for the problem itself.

        Args:
            problem: A problem that ``accepts`` takes.
            inner: Solves other problems.
            tolerance: Relative gap at which the solution counts as certified.
            tell: Receives one line of text when something begins or ends.

        Raises:
            HypothesisError: the reduction has no form for this problem, said before any work.
            UFMError: as ``inner``.
        """

"""Class level: one column a class, a Gram matrix of order 2K; every map is the identity."""

from __future__ import annotations

from typing import ClassVar

from ufm_convex.points import Columns, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.relaxation.base import ColumnLevel


class ClassLevel(ColumnLevel):
    """Variables are the Gram matrices of W and of the class means H̄ (docs/duality.md, equation 3)."""

    name: ClassVar[str] = "class"
    gram_limit: ClassVar[int] = 800
    advice: ClassVar[str] = "let level and solver be 'auto', or use the solver 'theory' where a theorem holds."

    def columns(self, problem: Problem) -> Columns:
        """One column a class."""
        return Columns.of_classes(problem)

    def gram_order(self, problem: Problem) -> int:
        """2K."""
        return 2 * problem.num_classes

    def lift(self, problem: Problem, point: GramPoint) -> GramPoint:
        """The point itself."""
        return point

    def restrict(self, problem: Problem, point: GramPoint) -> GramPoint:
        """The point itself."""
        return point

    def restrict_dual(self, problem: Problem, blocks: GramPoint) -> GramPoint:
        """The blocks themselves."""
        return blocks

    def lift_dual(self, problem: Problem, blocks: GramPoint) -> GramPoint:
        """The blocks themselves."""
        return blocks

    def within_class_variability(self, problem: Problem, point: GramPoint) -> None:
        """None: a class is one column, and spread within it cannot be expressed."""

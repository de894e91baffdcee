"""A level: which variables the programme has, and how its points relate to class level.

Levels of columns (sample, class) are a pair of linear maps between class-level and level points, and their adjoints:

    lift      class → level    primal        restrict_dual = liftᵀ       level → class
    restrict  level → class    primal        lift_dual     = restrictᵀ   class → level

in the inner product <(A, L, B), (S_A, S_L, S_B)> = <A, S_A> + 2 <L, S_L> + <B, S_B>. ``restrict ∘ lift`` is the
identity, and both preserve feasibility, which is why all levels have one optimal value (docs/duality.md, section 7).
The group level lies on the other side of class level and keeps its points compressed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import SizeError
from ufm_convex.points import Columns, DualPoint, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.relaxation.programme import ColumnProgramme, Programme, build


class Level(ABC):
    """One level of the relaxation."""

    name: ClassVar[str]
    gram_limit: ClassVar[int]
    """Largest order of the Gram matrix that is built."""
    advice: ClassVar[str]
    """What to do when the level is too large."""

    @abstractmethod
    def gram_order(self, problem: Problem) -> int:
        """Order of the largest positive semidefinite block."""

    def check_size(self, problem: Problem) -> None:
        """Raise ``SizeError`` when the Gram matrix would be too large."""
        order = self.gram_order(problem)
        if order > self.gram_limit:
            raise SizeError(
                f"level {self.name!r} needs a Gram matrix of order {order}.",
                expected=f"at most {self.gram_limit}",
                fix=self.advice,
            )

    @abstractmethod
    def programme(self, problem: Problem) -> Programme[Any, Any]:
        """The scaled cvxpy programme at this level.

        Raises:
            SizeError: the Gram matrix would be too large.
        """

    @abstractmethod
    def reported_point(self, problem: Problem, point: Any) -> Any:
        """The point that a solver's run reports for a point of the level: at class level, or compressed."""

    @abstractmethod
    def reported_dual(self, problem: Problem, dual: Any) -> Any:
        """The dual point that a solver's run reports for one of the level."""

    @abstractmethod
    def within_class_variability(self, problem: Problem, point: Any) -> float | None:
        """λ_H/2 Σ_i ‖h_i − h̄_{y_i}‖² read off the level's point; None where the level has no samples.

        A solver's point is positive semidefinite to its accuracy only, so the number may be that much below zero.
        """


class ColumnLevel(Level):
    """A level whose variable is the Gram matrix of the classifier and of columns."""

    @abstractmethod
    def columns(self, problem: Problem) -> Columns:
        """How the level's columns enter the objective."""

    @abstractmethod
    def lift(self, problem: Problem, point: GramPoint) -> GramPoint:
        """The level's point that stands for a class-level point, with the same objective."""

    @abstractmethod
    def restrict(self, problem: Problem, point: GramPoint) -> GramPoint:
        """The class-level point of a level's point, with an objective that is no larger."""

    @abstractmethod
    def restrict_dual(self, problem: Problem, blocks: GramPoint) -> GramPoint:
        """Adjoint of ``lift``, on triples (S_A, S_L, S_B)."""

    @abstractmethod
    def lift_dual(self, problem: Problem, blocks: GramPoint) -> GramPoint:
        """Adjoint of ``restrict``, on triples (S_A, S_L, S_B)."""

    def programme(self, problem: Problem) -> ColumnProgramme:
        """See ``Level.programme``."""
        self.check_size(problem)
        return build(self.columns(problem))

    def reported_point(self, problem: Problem, point: GramPoint) -> GramPoint:
        """``restrict``."""
        return self.restrict(problem, point)

    def reported_dual(self, problem: Problem, dual: DualPoint) -> DualPoint:
        """``restrict_dual_point``."""
        return self.restrict_dual_point(problem, dual)

    def restrict_dual_point(self, problem: Problem, dual: DualPoint) -> DualPoint:
        """The class-level dual point of a level's dual point: ``restrict_dual`` in terms of V and T.

        S_L = U/2 and U = V Diag(weights); T is 2 λ_W times a multiplier and restricts like S_B. Its diagonal is
        dropped: it only adds to the slack.
        """
        columns, classes = self.columns(problem), Columns.of_classes(problem)
        U = dual.residuals * columns.loss_weights
        zeros = np.zeros((columns.num_classes, columns.num_classes))
        T = self.restrict_dual(problem, GramPoint(zeros, U, dual.nonnegativity))
        nonnegativity = T.feature_gram.copy()
        np.fill_diagonal(nonnegativity, 0.0)
        block: FloatArray | None = None
        if dual.feature_block is not None:
            block = self.restrict_dual(problem, GramPoint(zeros, U, dual.feature_block)).feature_gram
            # what the diagonal of T gave to S_B goes back to it
            block = block + np.diag(np.diag(T.feature_gram)) / (2.0 * problem.lambda_w)
        return DualPoint(T.logits / classes.loss_weights, nonnegativity, dual.weight_block, block)

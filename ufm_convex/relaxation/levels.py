"""The levels by name: columns of one type each, how large they may be, and what a run at one of them reports.

Points are reported at class level, as full arrays, or at group level on orbits; samples are replaced by their class
means, which does not raise the objective (docs/levels.md, section 7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ufm_convex._registry import choose
from ufm_convex.errors import SizeError
from ufm_convex.losses import traits
from ufm_convex.problem import Problem
from ufm_convex.relaxation.columns import Columns
from ufm_convex.relaxation.full import DualPoint, GramPoint
from ufm_convex.relaxation.making import class_orbits, group_orbits, of_classes, of_groups, of_samples
from ufm_convex.relaxation.maps import Maps
from ufm_convex.relaxation.points import Dual, Gram


@dataclass(frozen=True)
class Level:
    """One level of the relaxation.

    Attributes:
        name: Its name.
        make: The columns of a problem.
        orbits: The number of orbits of outputs and of columns together.
        gram_limit: Largest order of the Gram matrix that is built.
        advice: What to do when the level is too large.
        needs: What a loss must be, by the names of its traits.
    """

    name: str
    make: Callable[[Problem], Columns]
    orbits: Callable[[Problem], int]
    gram_limit: int
    advice: str
    needs: tuple[str, ...] = ()

    def __call__(self, problem: Problem) -> Columns:
        """The columns of a problem.

        Raises:
            HypothesisError: the loss does not treat alike classes alike, and the level asks for that.
        """
        traits.require(problem.loss, self.needs, fix="use level 'class'.")
        return self.make(problem)

    def gram_order(self, problem: Problem) -> int:
        """Order of the largest positive semidefinite block."""
        return self.orbits(problem)

    def check_size(self, problem: Problem) -> None:
        """Raise ``SizeError`` when the Gram matrix would be too large."""
        order = self.gram_order(problem)
        if order > self.gram_limit:
            raise SizeError(
                f"level {self.name!r} needs a Gram matrix of order {order}.",
                expected=f"at most {self.gram_limit}",
                fix=self.advice,
            )

    def maps(self, problem: Problem) -> Maps:
        """From this level to class level, for the two levels whose points are full arrays."""
        labels = np.repeat(np.arange(problem.num_classes), problem.class_counts) if self.name == "sample" else None
        columns = self(problem)
        return Maps(columns, columns if labels is None else of_classes(problem), labels)

    def reported(self, problem: Problem, point: Gram) -> GramPoint | Gram:
        """The point that a solver's run reports for one of the level."""
        if self.name == "group":
            return point
        return (self.maps(problem).coarsen(point) if self.name == "sample" else point).full()

    def reported_dual(self, problem: Problem, dual: Dual) -> DualPoint | Dual:
        """The dual point that a solver's run reports for one of the level."""
        if self.name == "group":
            return dual
        return (self.maps(problem).coarsen_point(dual) if self.name == "sample" else dual).full()

    def within_class_variability(self, problem: Problem, point: Gram) -> float | None:
        """λ_H/2 Σ_i ‖h_i − h̄_{y_i}‖² of a point of the level; None where the level has no samples.

        A solver's point is positive semidefinite to its accuracy only, so the number may be that much below zero.
        """
        if self.name != "sample":
            return None
        means = self.maps(problem).coarsen(point).B.own()
        active = problem.class_counts[problem.class_counts > 0]
        return 0.5 * problem.lambda_h * (point.B.trace() - float(active @ means))


def num_groups(problem: Problem) -> int:
    """The number of orbits of alike classes."""
    return group_orbits(problem)[0].size


def _samples(problem: Problem) -> int:
    return problem.num_outputs + problem.num_samples


def _classes(problem: Problem) -> int:
    outputs, columns, _ = class_orbits(problem)
    return outputs.size + columns.size


def _groups(problem: Problem) -> int:
    outputs, columns, _ = group_orbits(problem)
    return outputs.size + columns.size


LEVELS: dict[str, Level] = {
    level.name: level
    for level in (
        Level(
            "class", of_classes, _classes, 800,
            "let level and solver be 'auto', or use the solver 'theory' where a theorem holds.",
        ),
        Level(
            "group", of_groups, _groups, 800,
            "let level and solver be 'auto', or use a solver that is not conic.", ("alike",),
        ),
        Level(
            "sample", of_samples, _samples, 400,
            "use level 'class': it has the same optimum, and its order 2K does not grow with N.",
        ),
    )
}  # fmt: skip


def available() -> dict[str, Level]:
    """The registry: name → level."""
    return dict(LEVELS)


def level(name: str) -> Level:
    """The level called ``name``.

    Raises:
        UnknownNameError: no level has that name.
    """
    return choose(LEVELS, name, "level", "use 'auto' unless you want one in particular.", also="auto")

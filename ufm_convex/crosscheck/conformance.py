"""Problems with exact answers, for testing any solver: each with primal and dual reference, and why it is there.

The list is fixed within a version; ``conformance_cases()`` suits ``pytest.mark.parametrize`` in any project::

    @pytest.mark.parametrize("case", conformance_cases(), ids=lambda case: case.name)
    def test_my_solver(case):
        assert case.judge(my_solver(case.problem)).verdict == "right"

References: Theorem 1 of docs/theorem.md (Dang, Tran, Nguyen, Ho, ICML 2024) and its extensions, through
``ufm_convex.theory``; the bounds are proved from the points of the theorem, so they do not rest on its formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ufm_convex import class_counts, solving, theory
from ufm_convex._arrays import IntArray
from ufm_convex.crosscheck.callables import CallableContestant, Entrant, as_answer
from ufm_convex.crosscheck.judgement import CrossCheckRow, Reference, judge
from ufm_convex.crosscheck.process import answer_of, require_time_limit
from ufm_convex.crosscheck.registry import contestant
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.solution import Solution

VERSION = 2
"""Changes whenever a case or its reference does."""


@dataclass(frozen=True, eq=False)
class ConformanceCase:
    """One problem, and what is known of it.

    Attributes:
        name: Stable within a version.
        problem: The problem.
        why: What a solver shows by passing it.
        level: Level at which the solvers of the registry are asked.
    """

    name: str
    problem: Problem
    why: str
    level: str = "class"

    @cached_property
    def theory(self) -> theory.Optimum:
        """The closed form."""
        found = theory.optimum(self.problem)
        if found.relation is not theory.Relation.TIGHT:
            raise HypothesisError(
                f"case {self.name!r} has no exact value.", expected="a tight theorem", fix="choose another problem."
            )
        return found

    @property
    def value(self) -> float:
        """The exact optimal value, correct to a few units of rounding."""
        return self.theory.value

    @cached_property
    def solution(self) -> Solution:
        """Primal and dual reference, with their proved bounds."""
        return solving.solve(self.problem, tolerance=1e-9)

    @property
    def reference(self) -> Reference:
        """The proved bounds."""
        return Reference(self.solution.lower_bound, self.solution.upper_bound)

    def judge(self, answer: Any, *, tolerance: float = 1e-6) -> CrossCheckRow:
        """The row for what a solver returned: (W, H), a ``GramPoint``, a ``DualPoint`` or an ``Answer``."""
        return judge(self.problem, "solver", as_answer(answer), self.reference, tolerance)


def conformance_cases() -> list[ConformanceCase]:
    """The cases of this version, the small ones first."""
    return list(_cases())


def run_conformance(
    solver: str | Callable[[Problem], Any],
    *,
    tolerance: float = 1e-6,
    time_limit: float = 60.0,
    cases: Sequence[ConformanceCase] | None = None,
) -> list[tuple[ConformanceCase, CrossCheckRow]]:
    """Every case with its judgement, each in a process of its own; raises as ``cross_check`` for a name or a limit."""
    require_time_limit(time_limit)
    rows = []
    for case in conformance_cases() if cases is None else cases:
        entrant: Entrant = CallableContestant(solver) if callable(solver) else contestant(solver, case.level)
        answer, seconds = answer_of(entrant, case.problem, tolerance, time_limit)
        rows.append((case, judge(case.problem, entrant.name, answer, case.reference, tolerance, seconds)))
    return rows


def _cases() -> Iterator[ConformanceCase]:
    def case(
        name: str, why: str, counts: Sequence[int] | IntArray, w: float, h: float, level: str = "class", **options: Any
    ) -> ConformanceCase:
        return ConformanceCase(name, Problem(counts, w, h, **options), why, level)

    yield case("two-classes", "the smallest K, where the frame is a line", [7, 3], 1e-2, 1e-2)
    yield case("balanced", "neural collapse proper; every multiplier is degenerate alike", [10] * 4, 1e-2, 1e-2)
    yield case("step", "two kinds of classes, all active", [50] * 3 + [20] * 3, 5e-3, 5e-3)
    yield case("long-tail", "distinct counts, the last classes collapse", [500, 200, 80, 30, 10, 4], 5e-3, 5e-3)
    yield case("all-collapsed", "W = H = 0: saddle, and optimum", [5, 4, 3], 1.0, 1.0)
    yield case(
        "boundary",
        "n_k = n_c for every class: √(λ_W λ_H n) = pt √((K−1)/K) at K = 4, n = 3, strict complementarity fails",
        [3] * 4,
        0.125,
        0.125,
    )
    yield case(
        "decay-small", "λ = 1e-6: margins of many units, badly scaled if left as it is", [100, 50, 20], 1e-6, 1e-6
    )
    yield case("decay-uneven", "λ_W/λ_H = 1e8: W and H differ by orders of magnitude", [30, 20, 10], 1e2, 1e-6)
    yield case(
        "free-balanced", "features of either sign: a simplex instead of a frame", [20] * 4, 5e-3, 5e-3, features="free"
    )
    yield case(
        "class-weights",
        "counts and loss weights pull in opposite directions",
        [40, 20, 10],
        5e-3,
        1e-2,
        loss=CrossEntropy(class_weights=(0.5, 1.0, 2.0)),
    )
    yield case("smoothing", "finite margins without decay", [40, 20, 10], 5e-3, 1e-2, loss=CrossEntropy(smoothing=0.1))
    yield case(
        "samples",
        "sample level: a Gram matrix of all features, and that those of a class agree is a result",
        [8, 5, 3, 2],
        2e-2,
        2e-2,
        level="sample",
    )
    yield case("fifty-classes", "K = 50: beyond what loose accuracies survive", [100] * 25 + [40] * 25, 1e-4, 1e-4)
    yield case(
        "fifty-long-tail",
        "K = 50 with hardly two classes alike and the small ones collapsed: no symmetry to lean on",
        class_counts.exponential(50, 500, 100),
        1e-3,
        1e-3,
    )

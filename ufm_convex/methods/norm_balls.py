"""The layer-peeled model through penalised problems: one concave maximisation over the multiplier.

With norm bounds (1/K) ‖W‖² ≤ E_W and (1/K) Σ ‖h_k‖² ≤ E_H in place of the penalties, for every α, β > 0

    minimum  ≥  p(α, β) − K (α E_W + β E_H)/2,      p(α, β) = min Σ pt_k l_k(W h_k) + α/2 ‖W‖² + β/2 Σ_k ‖h_k‖²,

and there is equality at the maximum over α E_W = β E_H, where p depends on μ = √(αβ) alone (docs/layer_peeled.md). The
derivative of p(μ) − K √(E_W E_H) μ is ‖W‖ ‖H‖ − K √(E_W E_H) at the minimiser of the penalised problem, and falls with
μ: its root is searched. Every penalised problem on the way proves a lower bound, whatever its μ, and its W and H,
brought into the balls, an upper one; the gap is quadratic in the error of μ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from ufm_convex.errors import HypothesisError, SolverError, UnknownNameError
from ufm_convex.evidence import Bounds
from ufm_convex.methods.base import Finding, Method, Progress, Settings
from ufm_convex.methods.direct import check_level
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled
from ufm_convex.solution import Solution, Status

if TYPE_CHECKING:
    from ufm_convex import enclosure
    from ufm_convex.methods.peeled_evidence import PeeledEvidence


class NormBalls(Method[Problem, "PeeledEvidence", Solution]):
    """Norm balls by a search for their multiplier."""

    name: ClassVar[str] = "layer-peeled"
    kind: ClassVar[type[Problem]] = Problem
    levels: ClassVar[tuple[str, ...]] = ("auto", "class", "group")  # penalised problems have one sample a class

    @classmethod
    def accepts(cls, problem: object) -> bool:
        """Norm balls."""
        return isinstance(problem, Problem) and isinstance(problem.constraint, LayerPeeled)

    def check(self, problem: Problem, settings: Settings) -> None:
        """See ``Method.check``.

        Raises:
            HypothesisError: class counts differ and the loss is not cross-entropy, which alone has class weights.
            ProblemError: the radii, or the products of class weights and counts, are too far apart for binary64.
        """
        check_level(problem, settings.solver, settings.level)
        if settings.level not in self.levels:
            raise UnknownNameError(
                f"a {self.name} problem is not solved at level {settings.level!r}.",
                expected="one of " + ", ".join(self.levels),
                fix="choose one of these.",
            )
        from ufm_convex.methods.penalised import PenalisedFamily

        PenalisedFamily.of(problem)

    def evidence(self, problem: Problem, settings: Settings, tell: Progress) -> Iterator[Finding[PeeledEvidence]]:
        """See ``Method.evidence``: one finding a multiplier."""
        from ufm_convex.methods.multiplier import Search
        from ufm_convex.methods.penalised import PenalisedFamily

        search = Search(PenalisedFamily.of(problem), settings.inner, settings.tolerance)
        yield from search.run()
        if search.nearest is None:
            raise SolverError(
                "no penalised problem has a multiplier within the range of binary64.",
                expected="weights and radii of moderate size",
                fix="scale the problem.",
            )

    def solution(
        self, problem: Problem, finding: Finding[PeeledEvidence], value: float, status: Status, tolerance: float
    ) -> Solution:
        """See ``Method.solution``."""
        return Solution(value, status, tolerance, finding.evidence)

    def bounds(self, solution: Solution, proof: enclosure.Proof) -> Bounds:
        """See ``Method.bounds``; both through the penalised problem behind them.

        Raises:
            HypothesisError: classes are alike in binary64 that are not; or the solution is of another method.
            SolverError: no point within norm bounds is left.
        """
        from ufm_convex.methods.peeled_bounds import within_norms
        from ufm_convex.methods.peeled_evidence import PeeledEvidence

        if not isinstance(solution.evidence, PeeledEvidence):
            raise HypothesisError(
                "the solution has no penalised problem behind it.",
                expected="solve(problem)",
                fix="pass solve(problem).",
            )
        return within_norms(solution.evidence, proof)

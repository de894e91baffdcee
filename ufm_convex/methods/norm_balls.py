"""The layer-peeled model through penalised problems: one concave maximisation over the multiplier.

With norm bounds (1/K) ‖W‖² ≤ E_W and (1/K) Σ ‖h_k‖² ≤ E_H in place of the penalties, for every α, β > 0

    minimum  ≥  p(α, β) − K (α E_W + β E_H)/2,      p(α, β) = min Σ pt_k l_k(W h_k) + α/2 ‖W‖² + β/2 Σ_k ‖h_k‖²,

and there is equality at the maximum over α E_W = β E_H, where p depends on μ = √(αβ) alone (docs/layer_peeled.md). The
derivative of p(μ) − K √(E_W E_H) μ is ‖W‖ ‖H‖ − K √(E_W E_H) at the minimiser of the penalised problem, and falls with
μ: its root is searched. Every penalised problem on the way proves a lower bound, whatever its μ, and its W and H,
brought into the balls, an upper one; the gap is quadratic in the error of μ.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ufm_convex import enclosure
from ufm_convex.errors import HypothesisError, RangeError, SolverError, UnknownNameError
from ufm_convex.evidence import Bounds, MergedEvidence, Representation
from ufm_convex.methods.base import Finding, InnerSolve, Method, Progress, Settings
from ufm_convex.methods.direct import check_level
from ufm_convex.methods.peeled_bounds import within_norms
from ufm_convex.methods.peeled_evidence import PeeledEvidence
from ufm_convex.methods.penalised import PenalisedFamily, root
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled
from ufm_convex.solution import Solution, Status

_SHARE = 0.75
"""Share of the tolerance that a penalised problem may leave open; the rest is for the error of μ, soon its square."""
_FINEST = 1e-13
"""Relative gap below which no penalised problem is asked: rounding of a dense proof."""
_FIRST_STEP = 0.5
"""First step of log μ in the search for a bracket; it doubles."""
_SMALLEST = 1e-200
"""Multipliers below this share of the first one are not tried: the loss is then as good as nothing."""
_LAST = f"; no smaller μ is tried: at {_SMALLEST:.0e} of the first one the loss is as good as nothing"
_ENOUGH = 0.01
"""Error of log μ, over the tolerance, that is not reduced further: at a kink of p the gap is proportional to it."""
_ROUNDS = 100


class NormBalls(Method[Problem, PeeledEvidence, Solution]):
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
        PenalisedFamily.of(problem)

    def evidence(self, problem: Problem, settings: Settings, tell: Progress) -> Iterator[Finding[PeeledEvidence]]:
        """See ``Method.evidence``: one finding a multiplier."""
        search = _Search(PenalisedFamily.of(problem), settings.inner, settings.tolerance)
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
        if not isinstance(solution.evidence, PeeledEvidence):
            raise HypothesisError(
                "the solution has no penalised problem behind it.",
                expected="solve(problem)",
                fix="pass solve(problem).",
            )
        return within_norms(solution.evidence, proof)


# -- the search -----------------------------------------------------------------------------------------------------


class _Asked(Exception):  # noqa: N818 - no error
    """A root finder asks for a value that is not known yet."""

    def __init__(self, at: float) -> None:
        self.at = at


@dataclass
class _Search:
    """The root of ‖W‖ ‖H‖ = K √(E_W E_H) in log μ, one penalised problem after the other.

    Attributes:
        family: The penalised problems.
        inner: Solves one.
        tolerance: Relative gap that is wanted.
    """

    family: PenalisedFamily
    inner: InnerSolve
    tolerance: float
    nearest: Problem | None = None
    """The penalised problem with the smallest gap so far."""
    gap: tuple[float, float] = (math.inf, math.inf)
    """Its gap and its upper bound."""
    share: float = _SHARE
    """Relative gap to ask of the next penalised problem, over the tolerance."""
    reachable: float = _FINEST
    """A relative gap that is not asked to be smaller, since it could not be."""
    known: dict[float, float] = field(default_factory=dict)
    """What ``_excess`` found."""

    def run(self) -> Iterator[Finding[PeeledEvidence]]:
        """Bracket the root, then Brent's method."""
        try:
            yield from self._root()
            if self.nearest is not None and self.reachable > _FINEST:  # less was asked of it than is wanted
                yield from self._try(self.nearest, max(self.share * self.tolerance, _FINEST))
        except RangeError:  # smaller multipliers, where the loss is as good as nothing, are out of reach
            pass

    def _root(self) -> Iterator[Finding[PeeledEvidence]]:
        """What is found on the way to the root."""
        from scipy.optimize import brentq

        bracket = yield from self._bracket()
        accuracy = max(_ENOUGH * self.tolerance, 1e-13)
        while bracket is not None:  # from the start each time, along values that are known: it asks for the next
            try:
                brentq(self._answer, *bracket, xtol=accuracy, rtol=1e-14, maxiter=_ROUNDS, disp=False)
                return
            except _Asked as asked:
                yield from self._excess(asked.at)

    def _answer(self, log_multiplier: float) -> float:
        if log_multiplier not in self.known:
            raise _Asked(log_multiplier)
        return self.known[log_multiplier]

    def _bracket(self) -> Generator[Finding[PeeledEvidence], None, tuple[float, float] | None]:
        """Two values of log μ with the root between them; None where the norms never reach their bounds."""
        start = math.log(self.family.first)
        excess = yield from self._excess(start)
        step = math.copysign(_FIRST_STEP, excess)
        here, lowest = start, start + math.log(_SMALLEST)
        while here > lowest:
            there = max(here + step, lowest)
            excess = yield from self._excess(there, "" if there > lowest else _LAST)
            if (excess > 0.0) != (step > 0.0):
                return min(here, there), max(here, there)
            here, step = there, 2.0 * step
        return None

    def _excess(self, log_multiplier: float, note: str = "") -> Generator[Finding[PeeledEvidence], None, float]:
        """‖W‖ ‖H‖ / (K √(E_W E_H)) − 1 at the solution of the penalised problem."""
        penalised = self.family.penalised(math.exp(log_multiplier))
        wanted = max(self.share * self.tolerance, self.reachable)
        found = yield from self._try(penalised, min(wanted, 0.5), note)
        squares = found.square_norms()
        filled = 0.0 if squares is None else root(squares[0]) * root(squares[1]) / self.family.budget
        self.known[log_multiplier] = filled - 1.0
        return self.known[log_multiplier]

    def _try(
        self, penalised: Problem, wanted: float, note: str = ""
    ) -> Generator[Finding[PeeledEvidence], None, Representation]:
        """The evidence of a penalised problem, once it is judged."""
        solution = self.inner(penalised, tolerance=wanted)
        if solution.relative_gap > wanted:  # every solver was tried; the next multiplier is not to cost as much
            self.reachable = 2.0 * solution.relative_gap
        found = solution.evidence
        if isinstance(found, MergedEvidence):  # the balls are about all columns
            found = found.whole(wanted)
        if not isinstance(found, Representation):
            raise SolverError(
                "a penalised problem was solved by another method.",
                expected="evidence with factors",
                fix="this is a fault of ufm-convex: please report the problem and the solver.",
            )
        yield self._finding(solution, found, note)
        if solution.interrupted:
            raise KeyboardInterrupt
        return found

    def _finding(self, solution: Solution, found: Representation, note: str) -> Finding[PeeledEvidence]:
        """Both bounds of the problem from one penalised problem, which is kept if they are the closest so far."""
        family, evidence = self.family, PeeledEvidence.of(self.family, found)
        multiplier = family.multiplier(found.problem)
        # an inner gap is relative to loss and penalty together; what counts is its share of the loss
        loss = evidence.upper.value / float(family.scale) / max(solution.upper_bound, np.finfo(float).tiny)
        self.share = _SHARE * min(1.0, loss)
        gap = evidence.relative_gap, evidence.upper.value
        if gap < self.gap or self.nearest is None:
            self.nearest, self.gap = found.problem, gap
        line = (
            f"μ = {multiplier:.12g} by {solution.solver} at {solution.level} level: "
            f"inner gap {solution.relative_gap:.1e}, proved relative gap {evidence.relative_gap:.1e}{note}"
        )
        return Finding(evidence, line, (evidence.estimate,))  # of what is reported beside it

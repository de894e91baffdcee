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
import time
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ufm_convex.errors import RangeError, SolverDiedError, SolverError
from ufm_convex.evidence import Representation
from ufm_convex.methods.base import InnerSolve, Progress, Reduction
from ufm_convex.methods.peeled_evidence import PeeledEvidence
from ufm_convex.methods.penalised import PenalisedFamily, root
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled
from ufm_convex.solution import INTERRUPTED, Solution, Status

_SHARE = 0.75
"""Share of the tolerance that a penalised problem may leave open; the rest is for the error of μ, soon its square."""
_FINEST = 1e-13
"""Relative gap below which no penalised problem is asked: rounding of a dense proof."""
_FIRST_STEP = 0.5
"""First step of log μ in the search for a bracket; it doubles."""
_SMALLEST = 1e-200
"""Multipliers below this share of the first one are not tried: the loss is then as good as nothing."""
_ENOUGH = 0.01
"""Error of log μ, over the tolerance, that is not reduced further: at a kink of p the gap is proportional to it."""
_ROUNDS = 100


class LayerPeeledReduction(Reduction):
    """Norm balls by a search for their multiplier."""

    name: ClassVar[str] = "layer-peeled"
    levels: ClassVar[tuple[str, ...]] = ("auto", "class", "group")  # penalised problems have one sample a class

    @classmethod
    def accepts(cls, problem: Problem) -> bool:
        """Norm balls."""
        return isinstance(problem.constraint, LayerPeeled)

    def solve(self, problem: Problem, inner: InnerSolve, tolerance: float, tell: Progress) -> Solution:
        """The penalised problem with the right multiplier; see ``Reduction.solve``.

        Raises:
            HypothesisError: class counts differ and the loss is not cross-entropy, which alone has class weights.
            ProblemError: the radii, or the products of class weights and counts, are too far apart for binary64.
        """
        started = time.perf_counter()
        search = _Search(PenalisedFamily.of(problem), inner, tolerance, tell)
        try:
            search.run()
        except KeyboardInterrupt:
            if search.best is None:
                raise
            search.route.append(INTERRUPTED)
        except SolverDiedError as error:
            if search.best is None:
                raise
            search.route.append(error.got)
        if search.best is None:
            raise SolverError(
                "no penalised problem has a multiplier within the range of binary64.",
                expected="weights and radii of moderate size",
                fix="scale the problem.",
            )
        return replace(search.best, route=tuple(search.route), seconds=time.perf_counter() - started)


# -- the search -----------------------------------------------------------------------------------------------------


class _Certified(Exception):  # noqa: N818 - no error
    """The gap is within the tolerance."""


@dataclass
class _Search:
    """The root of ‖W‖ ‖H‖ = K √(E_W E_H) in log μ, left as soon as a gap is within the tolerance.

    Attributes:
        family: The penalised problems.
        inner: Solves one.
        tolerance: Relative gap that is wanted.
        tell: Receives one line a multiplier.
        best: The solution with the smallest gap so far.
    """

    family: PenalisedFamily
    inner: InnerSolve
    tolerance: float
    tell: Progress
    best: Solution | None = None
    nearest: Problem | None = None
    """The penalised problem behind ``best``."""
    route: list[str] = field(default_factory=list)
    """What was told."""
    share: float = _SHARE
    """Relative gap to ask of the next penalised problem, over the tolerance."""
    reachable: float = _FINEST
    """A relative gap that is not asked to be smaller, since it could not be."""
    known: dict[float, float] = field(default_factory=dict)
    """What ``_excess`` found."""

    def run(self) -> None:
        """Bracket the root, then Brent's method."""
        from scipy.optimize import brentq

        accuracy = max(_ENOUGH * self.tolerance, 1e-13)
        try:
            bracket = self._bracket()
            if bracket is not None:
                brentq(self._excess, *bracket, xtol=accuracy, rtol=1e-14, maxiter=_ROUNDS, disp=False)
            if self.nearest is not None and self.reachable > _FINEST:  # less was asked of it than is wanted
                self._try(self.nearest, max(self.share * self.tolerance, _FINEST))
        except (_Certified, RangeError):  # smaller multipliers, where the loss is as good as nothing, are out of reach
            pass

    def _bracket(self) -> tuple[float, float] | None:
        """Two values of log μ with the root between them; None where the norms never reach their bounds."""
        start = math.log(self.family.first)
        step = math.copysign(_FIRST_STEP, self._excess(start))
        here, lowest = start, start + math.log(_SMALLEST)
        while here > lowest:
            there = max(here + step, lowest)
            if (self._excess(there) > 0.0) != (step > 0.0):
                return min(here, there), max(here, there)
            here, step = there, 2.0 * step
        self.route.append(f"no smaller μ is tried: at {_SMALLEST:.0e} of the first one the loss is as good as nothing")
        return None

    def _excess(self, log_multiplier: float) -> float:
        """‖W‖ ‖H‖ / (K √(E_W E_H)) − 1 at the solution of the penalised problem; leaves with ``_Certified``."""
        if log_multiplier in self.known:
            return self.known[log_multiplier]
        penalised = self.family.penalised(math.exp(log_multiplier))
        wanted = max(self.share * self.tolerance, self.reachable)
        squares = self._try(penalised, min(wanted, 0.5)).square_norms()
        filled = 0.0 if squares is None else root(squares[0]) * root(squares[1]) / self.family.budget
        self.known[log_multiplier] = filled - 1.0
        return self.known[log_multiplier]

    def _try(self, penalised: Problem, wanted: float) -> Representation:
        """The evidence of a penalised problem, once it is judged."""
        solution = self.inner(penalised, tolerance=wanted)
        if solution.relative_gap > wanted:  # every solver was tried; the next multiplier is not to cost as much
            self.reachable = 2.0 * solution.relative_gap
        found = solution.evidence
        if not isinstance(found, Representation):
            raise SolverError(
                "a penalised problem was solved by another reduction.",
                expected="evidence with factors",
                fix="this is a fault of ufm-convex: please report the problem and the solver.",
            )
        self._judge(solution, found)
        if solution.interrupted:
            raise KeyboardInterrupt
        return found

    def _judge(self, solution: Solution, found: Representation) -> None:
        """Both bounds of the problem from one penalised problem; kept if they are the closest so far."""
        family, tell = self.family, self.tell
        evidence = PeeledEvidence.of(family, found)
        gap = evidence.relative_gap
        multiplier = family.multiplier(found.problem)
        where = f"μ = {multiplier:.12g} by {solution.solver} at {solution.level} level"
        self.route.append(f"{where}: inner gap {solution.relative_gap:.1e}, proved relative gap {gap:.1e}")
        tell(self.route[-1])
        if gap < 0.0:  # impossible unless a proof is unsound
            raise SolverError(
                f"the proved bounds contradict each other: {evidence.lower.value!r} > {evidence.upper.value!r}.",
                expected="a lower bound that is at most the upper bound",
                fix="this is a fault of ufm-convex: please report the problem and the solver.",
            )
        # an inner gap is relative to loss and penalty together; what counts is its share of the loss
        loss = evidence.upper.value / float(family.scale) / max(solution.upper_bound, np.finfo(float).tiny)
        self.share = _SHARE * min(1.0, loss)
        status = Status.CERTIFIED if gap <= self.tolerance else Status.FAILED if found.left_nothing else Status.BOUNDED
        if self.best is None or (gap, evidence.upper.value) < (self.best.relative_gap, self.best.upper_bound):
            estimate = float(family.scale) * solution.value - multiplier * family.budget
            value = min(max(estimate, evidence.lower.value), evidence.upper.value)
            self.best, self.nearest = Solution(value, status, self.tolerance, evidence), found.problem
        if status is Status.CERTIFIED:
            raise _Certified

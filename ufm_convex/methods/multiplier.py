"""The search for the multiplier of norm balls: the root of ‖W‖ ‖H‖ = K √(E_W E_H) in log μ (docs/layer_peeled.md)."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np

from ufm_convex.errors import RangeError, SolverError
from ufm_convex.evidence import MergedEvidence, Representation
from ufm_convex.methods.base import Finding, InnerSolve
from ufm_convex.methods.peeled_evidence import PeeledEvidence
from ufm_convex.methods.penalised import PenalisedFamily, root
from ufm_convex.problem import Problem
from ufm_convex.solution import Solution

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


class _Asked(Exception):  # noqa: N818 - no error
    """A root finder asks for a value that is not known yet."""

    def __init__(self, at: float) -> None:
        self.at = at


@dataclass
class Search:
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

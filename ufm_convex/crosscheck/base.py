"""What a solver under test is, and what it answers: points and claims, none of them believed.

A contestant is one file of this folder with a named subclass of ``Contestant``; it is found by its presence. It runs in
a process of its own (``process``), so it may hang, crash or print.

Shapes: W (K, d) and class-mean features H (K, d), one row a class; dual points at class level; Gram points with one
column a class, (K, K), or one a sample, (K, N), samples of a class together and classes in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ufm_convex._arrays import FloatArray
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers import Claim


@dataclass(frozen=True, eq=False)
class Answer:
    """What a contestant says.

    Attributes:
        claim: What it says of its own run.
        value: The optimal value it reports, or None.
        dual_value: The dual objective it reports, or None.
        factors: W (K, d) and class-mean features H (K, d), or None.
        point: Gram point, or None.
        dual: Dual point at class level, unrepaired, or None.
        message: Its own words.
        residual: How far variables of its programme that none of the points has are from their constraints, ≥ 0.
        bias: The bias (K,) that goes with ``factors``; None for zero. A Gram point has its own.
    """

    claim: Claim
    value: float | None = None
    dual_value: float | None = None
    factors: tuple[FloatArray, FloatArray] | None = None
    point: GramPoint | None = None
    dual: DualPoint | None = None
    message: str = ""
    residual: float = 0.0
    bias: FloatArray | None = None

    @property
    def empty(self) -> bool:
        """True when there is no point to judge."""
        return self.factors is None and self.point is None and self.dual is None


class Contestant(ABC):
    """A solver under test.

    Asked of a subclass: ``name``, ``package``, ``returns`` and ``claims``, in words; ``installed``; and ``attempt``,
    whose ``Answer`` holds points and claims as the solver left them: nothing may be repaired, clipped or averaged, for
    that is what is judged. ``levels`` and ``biased`` where it takes more than class means without a bias.

    Args:
        level: The level whose programme it is given.
    """

    name: ClassVar[str]
    """Name in the registry and in the rows."""
    package: ClassVar[str]
    """What to install for it."""
    returns: ClassVar[str]
    """What it leaves: "factors", "gram and dual", …"""
    claims: ClassVar[str]
    """What its word "optimal" means."""
    levels: ClassVar[tuple[str, ...]] = ("class",)
    """Levels at which it can be asked; its points are class-level points in any case."""
    biased: ClassVar[bool] = False
    """Whether it takes a problem with a bias."""

    def __init__(self, level: str = "class") -> None:
        self.level = level

    @classmethod
    @abstractmethod
    def installed(cls) -> bool:
        """Whether its package can be imported."""

    def answer(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """Its answer to the problem; ``Claim.FAILED`` at a level, or for a bias, that it does not have.

        Args:
            problem: The problem.
            tolerance: Relative accuracy that is wanted of the value.
            time_limit: Seconds after which the process is ended; a contestant may stop by itself before.
        """
        if self.level not in self.levels:
            return Answer(Claim.FAILED, message=f"has no level {self.level!r}, only {', '.join(self.levels)}")
        if problem.bias is not None and not self.biased:
            return Answer(Claim.FAILED, message="is not written for problems with a bias")
        return self.attempt(problem, tolerance, time_limit)

    @abstractmethod
    def attempt(self, problem: Problem, tolerance: float, time_limit: float) -> Answer:
        """The answer at ``self.level``, one of ``levels``; arguments as those of ``answer``."""


MARGIN = 0.1
"""Share of the tolerance that is asked for: a solver's accuracy is relative to 1 + its terms, not to the value."""
_USUAL = 1e-8
"""What interior-point solvers are asked for in any case."""


def accuracy_for(tolerance: float) -> float:
    """The accuracy that an interior-point solver is asked for."""
    return min(_USUAL, MARGIN * tolerance)

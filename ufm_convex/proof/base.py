"""What a proof step is: a statement, its hypotheses, two sides, a slack ≥ 0 and the condition under which it is 0.

A subclass of ``ProofStep`` says in words what it claims and computes ``Terms``; the base class looks at the
hypotheses first, so that no number is given for a step that does not hold.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.theory import Hypothesis

if TYPE_CHECKING:
    from ufm_convex.proof.point import ChainPoint


@dataclass(frozen=True, eq=False)
class Terms:
    """The numbers of a step whose hypotheses hold.

    Attributes:
        left: The larger side, summed over classes or pairs.
        right: The smaller side, likewise.
        parts: The slack by class (K,), pairs of classes in halves, or as one number (1,); all ≥ 0.
        residuals: Name → size of the violation of the equality condition; all 0 iff the slack is 0.
    """

    left: float
    right: float
    parts: FloatArray
    residuals: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class StepEvaluation:
    """One step at one candidate; floating point.

    Attributes:
        number: The equation in the published proof.
        name: The step in a word or two.
        statement: What it says.
        equality: When its two sides are equal.
        hypotheses: What it needs, each tested on this problem and candidate.
        terms: Its numbers, or None where a hypothesis fails.
    """

    number: str
    name: str
    statement: str
    equality: str
    hypotheses: tuple[Hypothesis, ...]
    terms: Terms | None = field(repr=False)

    @property
    def failed(self) -> tuple[Hypothesis, ...]:
        """The hypotheses that do not hold."""
        return tuple(hypothesis for hypothesis in self.hypotheses if not hypothesis.holds)

    @property
    def reason(self) -> str:
        """Why there is no slack; empty where there is one."""
        found = "; ".join(f"{hypothesis.name}: {hypothesis.explanation}" for hypothesis in self.failed)
        return f"hypothesis fails: {found}" if found else ""

    @property
    def left(self) -> float | None:
        """The larger side, or None."""
        return None if self.terms is None else self.terms.left

    @property
    def right(self) -> float | None:
        """The smaller side, or None."""
        return None if self.terms is None else self.terms.right

    @property
    def parts(self) -> FloatArray | None:
        """The slack by class, or None."""
        return None if self.terms is None else self.terms.parts

    @property
    def slack(self) -> float | None:
        """Left − right as the sum of the parts, without cancellation; None where a hypothesis fails."""
        return None if self.terms is None else math.fsum(np.ravel(self.terms.parts).tolist())

    @property
    def residuals(self) -> Mapping[str, float]:
        """Name → violation of the equality condition; empty where a hypothesis fails."""
        return {} if self.terms is None else self.terms.residuals


class ProofStep(ABC):
    """One inequality of the chain. Subclasses have no state."""

    number: ClassVar[str]
    """The equation in the published proof; steps are ordered by it."""

    name: ClassVar[str]
    """The step in a word or two, unique."""

    statement: ClassVar[str]
    """The claim, larger side first."""

    equality: ClassVar[str]
    """When the two sides are equal."""

    def hypotheses(self, point: ChainPoint) -> tuple[Hypothesis, ...]:
        """What the step needs beyond plain cross-entropy and H ≥ 0; nothing by default."""
        return ()

    @abstractmethod
    def terms(self, point: ChainPoint) -> Terms:
        """Both sides, slack and residuals; called only where the hypotheses hold."""

    def evaluate(self, point: ChainPoint) -> StepEvaluation:
        """The step at a point."""
        hypotheses = self.hypotheses(point)
        terms = self.terms(point) if all(hypothesis.holds for hypothesis in hypotheses) else None
        return StepEvaluation(self.number, self.name, self.statement, self.equality, hypotheses, terms)

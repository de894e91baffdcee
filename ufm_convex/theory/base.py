"""What a theorem is to the rest of the package: hypotheses that can be tested, and the optimum they buy.

A module of this folder defines a subclass of ``Theorem``. Each hypothesis is tested on the given problem and
says in words what was found, so that a refusal names the hypothesis that failed. Where one fails that is
needed for the value to be *attained* but not to be a *bound*, ``Hypothesis.otherwise`` says which bound.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._registry import full_name
from ufm_convex.errors import HypothesisError, PluginError, shown

if TYPE_CHECKING:
    from ufm_convex.problem import Problem
    from ufm_convex.relaxation import DualPoint, GramPoint


class Relation(StrEnum):
    """How a theorem's value stands to the minimum of the problem."""

    TIGHT = "tight"
    """The value is the minimum."""
    LOWER = "lower"
    """The minimum is at least the value."""
    UPPER = "upper"
    """The minimum is at most the value."""


@dataclass(frozen=True)
class Hypothesis:
    """One condition of a theorem, tested on one problem.

    Attributes:
        name: The condition, as a statement.
        holds: Whether the problem satisfies it.
        explanation: What the problem has and, where it fails, what that means.
        otherwise: The relation of the value to the minimum when this condition alone fails; None when the
            value then says nothing.
    """

    name: str
    holds: bool
    explanation: str
    otherwise: Relation | None = None


@dataclass(frozen=True, eq=False)
class Optimum:
    """What every theorem returns; a theorem's own class adds the geometry.

    Attributes:
        value: The theorem's value for the problem, in the units of the objective.
        relation: How the value stands to the minimum.
        citation: The source.
    """

    value: float
    relation: Relation
    citation: str


class SolvedOptimum(Optimum, ABC):
    """An optimum that comes with its points, so that the solver "theory" can hand them to the proof."""

    @abstractmethod
    def points(self, problem: Problem) -> tuple[GramPoint, DualPoint]:
        """A primal and a dual point that attain the value; O(K³), raises ``SizeError`` for K > 20,000."""


class Theorem(ABC):
    """One closed form, with the conditions under which it holds.

    Asked of a subclass: ``name``, ``citation`` and ``relation``; ``hypotheses``, each tested on the problem, with words
    for what was found; and ``evaluate``, the closed form, called only where the hypotheses leave it a relation. A
    hypothesis that is needed for the value to be attained only, not to be a bound, says so in ``otherwise``.
    """

    name: ClassVar[str]
    """What the theorem is called in messages."""

    citation: ClassVar[str]
    """Paper, and the page and section with the proof."""

    relation: ClassVar[Relation]
    """The relation when every hypothesis holds."""

    def setting(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """What must hold before the theorem's own hypotheses can be stated: here logits W h and two penalties."""
        return plain_setting(problem)

    @abstractmethod
    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """Every condition of the theorem, tested on the problem."""

    @abstractmethod
    def evaluate(self, problem: Problem, relation: Relation) -> Optimum:
        """The closed form, stamped with the relation; called only when the hypotheses allow that relation."""

    def evaluated(self, problem: Problem, relation: Relation) -> Optimum:
        """``evaluate``, whose answer has the form that was asked for.

        Raises:
            PluginError: it has not, which happens to theorems of other packages.
        """
        found: object = self.evaluate(problem, relation)
        if isinstance(found, Optimum) and isinstance(found.value, float) and not math.isnan(found.value):
            return found
        what = f"an optimum of value {shown(found.value)}" if isinstance(found, Optimum) else shown(found)
        raise PluginError(
            f"the theorem {self.name!r} ({full_name(type(self))}) evaluates to {what}.",
            expected="an Optimum with a number in binary64 for its value",
            fix="mend its evaluate, or remove its package.",
        )

    def collapse_size(self, problem: Problem) -> Fraction | None:
        """The exact count at and below which a class has no feature; None where the theorem has no such number."""
        return None

    def failed(self, problem: Problem) -> tuple[Hypothesis, ...]:
        """The hypotheses that do not hold; empty when the theorem applies."""
        strange = tuple(hypothesis for hypothesis in self.setting(problem) if not hypothesis.holds)
        if any(hypothesis.otherwise is None for hypothesis in strange):
            return strange
        return (*strange, *(hypothesis for hypothesis in self.hypotheses(problem) if not hypothesis.holds))

    def optimum(self, problem: Problem) -> Optimum:
        """The optimum of the problem.

        Raises:
            HypothesisError: a hypothesis fails; the message names each one that does.
        """
        failed = self.failed(problem)
        if failed:
            raise refusal({self.name: failed})
        return self.evaluated(problem, self.relation)

    def bound(self, problem: Problem) -> Optimum | None:
        """The value with the relation that is left to it, or None where it says nothing about the problem."""
        relations = {self.relation}
        for hypothesis in self.failed(problem):
            if hypothesis.otherwise is None:
                return None
            relations.add(hypothesis.otherwise)
        relations.discard(Relation.TIGHT)
        if len(relations) > 1:  # a lower bound of something that is itself an upper bound
            return None
        return self.evaluated(problem, relations.pop() if relations else Relation.TIGHT)


def plain_setting(problem: Problem) -> tuple[Hypothesis, ...]:
    """What most theorems here take for granted: logits W h, or a bias that is idle, and penalties on W and H."""
    constraint = problem.constraint
    kept = constraint is None or not constraint.replaces_decays
    return (
        # b = 0 is one choice of the bias, so the value stays an upper bound
        Hypothesis("no bias", has_idle_bias(problem), f"bias is {problem.bias!r}", otherwise=Relation.UPPER),
        Hypothesis("penalties, not norm bounds", kept, f"constraint is {constraint!r}"),
    )


def nonnegative_features(problem: Problem) -> Hypothesis:
    """What a frame theorem asks of the sign; dropping H ≥ 0 can only lower the minimum."""
    explanation = f'features is "{problem.features}"; free features can do better'
    return Hypothesis("features are nonnegative", problem.nonnegative, explanation, otherwise=Relation.UPPER)


def room_for(problem: Problem, active: int) -> Hypothesis:
    """What a frame theorem asks of the dimension: a coordinate for each class whose feature is not zero."""
    return Hypothesis(
        "feature_dim is at least the number of active classes",
        problem.feature_dim is None or problem.feature_dim >= active,
        f"feature_dim is {problem.feature_dim} and {active} of {problem.num_classes} classes are active",
        otherwise=Relation.LOWER,
    )


def has_idle_bias(problem: Problem) -> bool:
    """Whether b = 0 is a best bias because no class is told from another (docs/bias.md, section 2).

    That is so without bias; and with one, free or penalised, if counts and class weights are equal and the loss sees
    margins only: the mean of an optimum over all permutations of the classes is an optimum with b constant, which a
    loss that is invariant under shifts does not see.
    """
    alike = np.ptp(problem.class_counts) == 0 and np.ptp(problem.loss_weights) == 0.0
    return problem.bias is None or (bool(alike) and problem.loss.margins_only)


def nearest(number: Fraction) -> float:
    """The number in binary64, +inf beyond: thresholds are products of decays, which may be far out of its range."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def refusal(failed: dict[str, tuple[Hypothesis, ...]]) -> HypothesisError:
    """The error that names, theorem by theorem, the hypotheses that do not hold."""
    reasons = [
        f"{theorem} needs: {hypothesis.name} ({hypothesis.explanation})"
        for theorem, hypotheses in failed.items()
        for hypothesis in hypotheses
    ]
    return HypothesisError(
        "no closed form holds for this problem. " + "; ".join(reasons) + ".",
        expected="a problem that satisfies every hypothesis of a theorem (docs/theorem.md, section 2)",
        fix="change what is named, solve numerically with ufm_convex.solve(problem), or ask "
        "ufm_convex.theory.bound(problem) for what remains true.",
    )

"""The closed form: features of a class coincide, classes are orthogonal, and each class has a length of its own.

Source: Kini, Vakilian, Behnia, Gill, Thrampoulidis, "Symmetric neural-collapse representations with supervised
contrastive loss: the impact of ReLU and batching", ICLR 2024, for the bound and equal lengths (the loss is that of
Khosla et al., NeurIPS 2020); docs/contrastive.md, section 4, for a proof that covers the penalty, classes of one sample
and any counts. O(number of distinct counts), in log form: no quotient of small numbers, no difference of large ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, frozen
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.contrastive.problem import ContrastiveProblem, samples_in
from ufm_convex.theory import Hypothesis, Optimum, Relation, Theorem


@dataclass(frozen=True, eq=False)
class ContrastiveOptimum(Optimum):
    """The optimum in closed form.

    Attributes:
        groups: Classes with equal counts.
        squares: τ_k = ‖h_i‖² for the samples of a class of each group, (G,).
        outside: Softmax probability that an anchor of each group spends outside its class, (G,).
        collapsed: Groups whose classes have h = 0, decided in exact arithmetic, (G,).
        unique: Whether G is the only optimal Gram matrix; with a bound, classes of one sample leave it free.
    """

    groups: AlikeClasses
    squares: FloatArray
    outside: FloatArray
    collapsed: BoolArray
    unique: bool

    @property
    def class_squares(self) -> FloatArray:
        """τ_k of each class, (K,)."""
        return self.squares[self.groups.members]

    @property
    def collapsed_classes(self) -> tuple[int, ...]:
        """Classes, from 0, with h = 0."""
        return tuple(np.flatnonzero(self.collapsed[self.groups.members]).tolist())


class ContrastiveFrame(Theorem):
    """Collapse within classes and orthogonality between them, for the bound and for the penalty."""

    name: ClassVar[str] = "the orthogonal frame of the supervised contrastive loss"
    citation: ClassVar[str] = (
        "Kini, Vakilian, Behnia, Gill, Thrampoulidis, ICLR 2024, for the bound; docs/contrastive.md, section 4"
    )
    relation: ClassVar[Relation] = Relation.TIGHT

    def setting(self, problem: Any) -> tuple[Hypothesis, ...]:
        """Nothing: there is no classifier, hence no bias and no decay of it."""
        return ()

    def hypotheses(self, problem: Any) -> tuple[Hypothesis, ...]:
        """None: H ≥ 0 and K ≥ 2 are part of every ``ContrastiveProblem``, and so is a dimension that does not bind."""
        return ()

    def evaluate(self, problem: Any, relation: Relation) -> ContrastiveOptimum:
        """The closed form of a ``ContrastiveProblem``."""
        groups = problem.groups
        solve = _penalised if problem.bound is None else _bounded
        values, outside, squares, collapsed = solve(problem, groups)
        alone = groups.counts == 1
        return ContrastiveOptimum(
            value=math.fsum((samples_in(groups) * np.where(alone, 0.0, values)).tolist()),
            relation=relation,
            citation=self.citation,
            groups=groups,
            squares=frozen(np.where(alone, 0.0, squares)),
            outside=frozen(np.where(alone, 0.0, outside)),
            collapsed=frozen(collapsed | alone, dtype=np.bool_),
            unique=problem.bound is None or not bool(alone.any()),
        )


Parts = tuple[FloatArray, FloatArray, FloatArray, BoolArray]
"""Value of one sample, mass outside the class, ‖h‖², whether the class collapses; each (G,)."""


def _bounded(problem: ContrastiveProblem, groups: AlikeClasses) -> Parts:
    """‖h‖² = τ: log(n − 1 + (N − n) e^{−τ/T}), and s = the share of the second term."""
    own, others = _numbers(problem, groups)
    log_odds = np.log(others) - np.log(own) - problem.scaled_bound  # log-odds of the outside
    values = np.log(own) + np.logaddexp(0.0, log_odds)
    outside = np.exp(log_odds - np.logaddexp(0.0, log_odds))
    squares = np.full(groups.size, problem.bound)
    return values, outside, squares, np.zeros(groups.size, dtype=bool)


def _penalised(problem: ContrastiveProblem, groups: AlikeClasses) -> Parts:
    """The mass s = min(a, (N − n)/(N − 1)): the entropy form of the value, which needs no exponential."""
    own, others = _numbers(problem, groups)
    N, exact, a = problem.num_samples, problem.exact_penalty, problem.scaled_penalty
    collapsed = np.array([N - n <= exact * (N - 1) for n in groups.counts.tolist()])
    log_own, log_others = np.log(own), np.log(others)
    log_outside = np.where(collapsed, log_others - math.log(N - 1.0), math.log(a))
    log_inside = np.where(collapsed, log_own - math.log(N - 1.0), _log1m(a))
    outside, inside = np.exp(log_outside), np.exp(log_inside)
    values = inside * (log_own - log_inside) + outside * (log_others - log_outside)
    odds = log_others - log_own + log_inside - log_outside  # (N − n)(1 − a) / (a (n − 1))
    squares = problem.temperature * np.where(collapsed, 0.0, np.maximum(odds, 0.0))
    return np.where(collapsed, math.log(N - 1.0), values), outside, squares, collapsed


def _log1m(a: float) -> float:
    """log(1 − a), and 0 from a = 1 on, where every class collapses and it is not used."""
    return math.log1p(-a) if a < 1.0 else 0.0


def _numbers(problem: ContrastiveProblem, groups: AlikeClasses) -> tuple[FloatArray, FloatArray]:
    """The numbers n − 1 (1 for classes of one sample, whose entries are discarded) and N − n."""
    counts = groups.counts.astype(np.float64)
    return np.maximum(counts - 1.0, 1.0), problem.num_samples - counts


def optimum(problem: ContrastiveProblem) -> ContrastiveOptimum:
    """The optimum in closed form; no hypothesis can fail.

    Example:
        >>> found = optimum(ContrastiveProblem([50, 10, 2], bound=1.0))
        >>> print(f"{found.value:.6f}", found.relation)
        238.549739 tight
    """
    return ContrastiveFrame().evaluate(problem, Relation.TIGHT)


def collapse_threshold(problem: ContrastiveProblem) -> Fraction:
    """Classes of at least N − a (N − 1) samples collapse under a penalty; a = λ_H T/2, in exact arithmetic.

    With a bound no class of two samples or more collapses: a is 0 and the threshold N.
    """
    return problem.num_samples - problem.exact_penalty * (problem.num_samples - 1)


__all__ = ["ContrastiveFrame", "ContrastiveOptimum", "collapse_threshold", "optimum"]

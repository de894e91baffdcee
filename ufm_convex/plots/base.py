"""What a figure is to the rest of the package, and what it draws: a subject with a geometry.

``Geometry`` is what a solution and a candidate have in common: norms, margins and Gram matrices of class means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.candidate import Candidate, feature_statistics, require_match
from ufm_convex.errors import CountsError, ProblemError
from ufm_convex.problem import Problem
from ufm_convex.relaxation import require_dense
from ufm_convex.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLOCK = 2**24  # entries of a block of logits: 128 MB


class Source(StrEnum):
    """What a figure is drawn from."""

    PROBLEM = "the problem alone"
    GEOMETRY = "a solution or a candidate"
    CANDIDATE = "a candidate"


class Geometry(Protocol):
    """Norms, margins and Gram matrices of K classes; ``Solution`` has them too."""

    @property
    def feature_norms(self) -> FloatArray:
        """‖h̄_k‖, (K,)."""

    @property
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, (K,)."""

    @property
    def margins(self) -> FloatArray:
        """Own logit of each class mean minus its largest other logit, (K,)."""

    @property
    def weight_gram(self) -> FloatArray:
        """A = W Wᵀ, (K, K)."""

    @property
    def logits(self) -> FloatArray:
        """L = W H̄ᵀ, (K, K)."""

    @property
    def feature_gram(self) -> FloatArray:
        """B = H̄ H̄ᵀ, (K, K)."""


@dataclass(frozen=True, eq=False)
class CandidateGeometry:
    """The geometry of a candidate's class means, in floating point.

    Attributes:
        weights: W, (K, d).
        class_means: H̄, (K, d).
        bias: b, (K,); zeros without one.
        own_outputs: The own output of each class mean, (K,).

    With a table of targets W has V rows, and there are m class means.
    """

    weights: FloatArray
    class_means: FloatArray
    bias: FloatArray
    own_outputs: IntArray

    @classmethod
    def of(cls, candidate: Candidate, problem: Problem | None = None) -> CandidateGeometry:
        """Read the features once; columns are classes without a problem that says more.

        Raises:
            CandidateError: a feature is NaN or infinite.
        """
        means = feature_statistics(candidate).class_means
        bias = np.zeros(candidate.num_outputs) if candidate.bias is None else candidate.bias.astype(np.float64)
        rows = np.arange(len(means))
        own = rows if problem is None else problem.loss.own_outputs(rows)
        return cls(candidate.weights.astype(np.float64), means, bias, own)

    @property
    def feature_norms(self) -> FloatArray:
        """‖h̄_k‖, (K,)."""
        return np.linalg.norm(self.class_means, axis=1)

    @property
    def weight_norms(self) -> FloatArray:
        """‖w_k‖, (K,)."""
        return np.linalg.norm(self.weights, axis=1)

    @property
    def margins(self) -> FloatArray:
        """Own logit of each class mean minus its largest other logit, (K,); in blocks of classes."""
        K, V = len(self.class_means), len(self.weights)
        step, margins = max(1, _BLOCK // V), np.empty(K)
        for start in range(0, K, step):
            logits = self.class_means[start : start + step] @ self.weights.T + self.bias
            at = np.arange(len(logits)), self.own_outputs[start : start + step]
            own = logits[at]
            logits[at] = -np.inf
            margins[start : start + step] = own - logits.max(axis=1)
        return margins

    @property
    def weight_gram(self) -> FloatArray:
        """A = W Wᵀ, (K, K)."""
        return self._product(self.weights, self.weights)

    @property
    def logits(self) -> FloatArray:
        """W H̄ᵀ + b 1ᵀ, (K, K): what the loss sees, as of a solution."""
        return self._product(self.weights, self.class_means) + self.bias[:, None]

    @property
    def feature_gram(self) -> FloatArray:
        """B = H̄ H̄ᵀ, (K, K)."""
        return self._product(self.class_means, self.class_means)

    def _product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        require_dense(max(len(left), len(right)), "a Gram matrix of classes", "the norms and margins")
        return left @ right.T


@dataclass(frozen=True, eq=False)
class Subject:
    """What is drawn.

    Attributes:
        problem: The problem.
        solution: Its solution, if there is one.
        candidate: A candidate for it; drawn in place of the solution.
    """

    problem: Problem
    solution: Solution | None = None
    candidate: Candidate | None = None

    def check(self, kind: Plot) -> None:
        """Raise ``ProblemError`` without its source or with another problem's, ``CountsError`` for other counts.

        ``CandidateError`` for a candidate with a bias that the problem has not.
        """
        found = {
            Source.PROBLEM: True,
            Source.GEOMETRY: self.solution is not None or self.candidate is not None,
            Source.CANDIDATE: self.candidate is not None,
        }
        if not found[kind.source]:
            raise ProblemError(
                f"figure '{kind.name}' is drawn from {kind.source}, and none is given.",
                expected=str(kind.source),
                fix="pass candidate=…, or CANDIDATE.NPZ on the command line."
                if kind.source is Source.CANDIDATE
                else "pass solution=ufm_convex.solve(problem).",
            )
        solution = self.solution
        if solution is not None and not np.array_equal(solution.problem.class_counts, self.problem.class_counts):
            raise CountsError(
                "what is to be drawn has other class counts than the problem.",
                expected="a solution or a candidate of this very problem",
                fix="draw with solution.problem, or with candidate.problem(lambda_w, lambda_h).",
            )
        if self.candidate is not None:
            require_match(self.problem, self.candidate)
        if self.solution is not None and self.solution.problem != self.problem:
            raise ProblemError(
                "the solution is one of another problem, with the same class counts.",
                expected="a solution of this very problem, beside which theory is drawn",
                fix="draw with solution.problem.",
            )

    @property
    def label(self) -> str:
        """What the geometry is that of."""
        return "solution" if self.candidate is None else "candidate"

    @cached_property
    def geometry(self) -> Geometry:
        """That of the candidate or, without one, of the solution."""
        if self.candidate is not None:
            return CandidateGeometry.of(require_match(self.problem, self.candidate), self.problem)
        if self.solution is None:
            raise ProblemError(
                "neither a solution nor a candidate is given.", expected="one of them", fix="solve the problem first."
            )
        return self.solution

    @cached_property
    def optimum(self) -> theory.Optimum | None:
        """The optimum in closed form, None where no theorem gives it."""
        return theory.optimum(self.problem) if theory.find(self.problem) is not None else None


class Plot(ABC):
    """One figure.

    Asked of a subclass: ``name``, ``source`` and ``draw``, which gets a subject whose source has been checked, under
    the style in force, and returns a ``Figure`` without pyplot; ``check_size`` where there may be too many classes.
    """

    name: ClassVar[str]
    """What the registry calls it."""

    source: ClassVar[Source]
    """What it is drawn from."""

    def check_size(self, num_classes: int) -> None:  # noqa: B027 - most figures take any number of classes
        """Raise ``SizeError`` when so many classes cannot be drawn; called before a problem is solved for it."""

    @abstractmethod
    def draw(self, subject: Subject, width: float) -> Figure:
        """The figure, ``width`` inches wide; called with the style in force and a checked subject."""

"""Distance of the Gram matrices A = W Wᵀ, L = W H̄ᵀ and B = H̄ H̄ᵀ to those of the optimum in closed form.

The optimal Gram matrices are unique, though W and H are not, so that these distances vanish exactly at the optima.
Source: Theorem 1 of docs/theorem.md (Dang, Tran, Nguyen, Ho, ICML 2024), or the theorem that the problem satisfies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray
from ufm_convex.errors import HypothesisError
from ufm_convex.problem import Problem


@dataclass(frozen=True)
class GramDistances:
    """‖X − X*‖_F / ‖X*‖_F, 0 at the optimum; each is None where X* = 0, when all classes collapse.

    Attributes:
        weights: Of A = W Wᵀ.
        logits: Of L = W H̄ᵀ.
        features: Of B = H̄ H̄ᵀ.
        citation: The theorem that gives X*.
    """

    weights: float | None
    logits: float | None
    features: float | None
    citation: str


@runtime_checkable
class _HasGrams(Protocol):
    """An optimum that knows its Gram matrices."""

    def weight_gram(self) -> FloatArray: ...
    def logits(self) -> FloatArray: ...
    def feature_gram(self) -> FloatArray: ...


def gram_distances(problem: Problem, W: FloatArray, means: FloatArray) -> GramDistances | None:
    """Distances of (W, H̄), both (K, d), to the optimum; None where no theorem gives its Gram matrices."""
    try:
        optimum = theory.optimum(problem)
    except HypothesisError:
        return None
    if not isinstance(optimum, _HasGrams):
        return None
    return GramDistances(
        weights=_relative(W @ W.T, optimum.weight_gram()),
        logits=_relative(W @ means.T, optimum.logits()),
        features=_relative(means @ means.T, optimum.feature_gram()),
        citation=optimum.citation,
    )


def _relative(found: FloatArray, optimal: FloatArray) -> float | None:
    size = _norm(optimal)
    return _norm(found - optimal) / size if size > 0.0 else None


def _norm(matrix: FloatArray) -> float:
    """‖·‖_F without overflow or underflow of squares."""
    largest = float(np.abs(matrix).max())
    return largest * float(np.linalg.norm(matrix / largest)) if largest > 0.0 else 0.0

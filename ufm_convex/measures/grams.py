"""Distance of the Gram matrices A = W Wᵀ, L = W H̄ᵀ and B = H̄ H̄ᵀ to those of the optimum in closed form.

The optimal Gram matrices are unique, though W and H are not, so that these distances vanish exactly at the optima.
Source: Theorem 1 of docs/theorem.md (Dang, Tran, Nguyen, Ho, ICML 2024), or the theorem that the problem satisfies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray
from ufm_convex._pairs import row_blocks
from ufm_convex.errors import HypothesisError
from ufm_convex.problem import Problem

_SMALL, _LARGE = 2.0**-450, 2.0**500
"""Between these no square that matters underflows, and none overflows."""


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
    """An optimum that knows its Gram matrices, by rows."""

    def weight_gram(self, rows: slice) -> FloatArray:
        """Rows of W Wᵀ."""

    def logits(self, rows: slice) -> FloatArray:
        """Rows of W H̄."""

    def feature_gram(self, rows: slice) -> FloatArray:
        """Rows of H̄ᵀ H̄."""


def gram_distances(problem: Problem, W: FloatArray, means: FloatArray) -> GramDistances | None:
    """Distances of (W, H̄), both (K, d), to the optimum; None where no theorem gives its Gram matrices."""
    try:
        optimum = theory.optimum(problem)
    except HypothesisError:
        return None
    if not isinstance(optimum, _HasGrams):
        return None
    return GramDistances(
        weights=_relative(W, W, optimum.weight_gram),
        logits=_relative(W, means, optimum.logits),
        features=_relative(means, means, optimum.feature_gram),
        citation=optimum.citation,
    )


def _relative(left: FloatArray, right: FloatArray, optimal: Callable[[slice], FloatArray]) -> float | None:
    """‖left rightᵀ − X*‖_F / ‖X*‖_F of two (K, d), by blocks of rows; where they agree there is nothing to cancel.

    Of a symmetric matrix, where both are one array, entries on and above the diagonal blocks are computed.
    """
    distance = size = 0.0
    with np.errstate(over="ignore"):  # of squares, which are then taken in another unit
        for block in row_blocks(len(left), len(right)):
            expected = optimal(block)
            size = math.hypot(size, _norm(expected))
            first = block.start if left is right else 0
            difference = left[block] @ right[first:].T
            difference -= expected[:, first:]
            found = _norm(difference)
            if left is right and found > 0.0:  # off the diagonal block every entry counts twice
                found *= math.sqrt(2.0 - (_norm(difference[:, : block.stop - first].copy()) / found) ** 2)
            distance = math.hypot(distance, found)
    return distance / size if size > 0.0 else None


def _norm(matrix: FloatArray) -> float:
    """‖·‖_F; where squares overflow or underflow, in units of the largest entry."""
    size = math.sqrt(float(np.vdot(matrix, matrix)))
    if _SMALL < size < _LARGE:
        return size
    largest = float(np.abs(matrix).max())
    return largest * float(np.linalg.norm(matrix / largest)) if largest > 0.0 else 0.0

"""What was shown about a Gram matrix, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ufm_convex._arrays import FloatArray


class Positivity(StrEnum):
    """What was shown."""

    COMPLETELY_POSITIVE = "completely positive"
    """The matrix itself is, by a theorem, or one within the tolerance is, by its factor."""
    NOT_COMPLETELY_POSITIVE = "not completely positive"
    """No matrix within the tolerance is: a copositive matrix separates them."""
    UNDECIDED = "undecided"
    """Neither was shown."""


@dataclass(frozen=True, eq=False)
class CompletePositivity:
    """Whether a matrix B of binary64 numbers is completely positive; distances are relative to ‖B‖ (Frobenius).

    Attributes:
        verdict: What was shown.
        exact: Whether it was shown of B itself, and not of a matrix within the tolerance.
        reason: How, in words.
        gram: B, (K, K).
        tolerance: The distance that was allowed.
        factor: F ≥ 0, (K, r), the best found.
        residual: Proved: ‖B − F Fᵀ‖ is no larger, so a completely positive matrix is as near as this.
        witness: C, (K, K), proved copositive with <C, B> < 0, exactly these binary64 numbers; None if none was found.
        witness_proof: How C is proved copositive, see ``copositivity.copositivity_proof``; None without a witness.
        separation: Proved: every completely positive matrix is at least so far away; 0 without a witness.
    """

    verdict: Positivity
    exact: bool
    reason: str
    gram: FloatArray
    tolerance: float
    factor: FloatArray
    residual: float
    witness: FloatArray | None = None
    witness_proof: str | None = None
    separation: float = 0.0

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"

"""Norms of exact witnesses, exactly: what a bound on ‖W‖ and ‖H‖ is compared with."""

from __future__ import annotations

from fractions import Fraction

from ufm_convex.enclosure.exact import ExactVector
from ufm_convex.enclosure.proved import FactorWitness, FrameWitness
from ufm_convex.problem import Problem


def square_norms(problem: Problem, witness: FrameWitness | FactorWitness) -> tuple[Fraction, Fraction]:
    """‖W‖² and Σ ‖h_k‖², H the class means, without rounding.

    Args:
        problem: The problem.
        witness: W and H.
    """
    if isinstance(witness, FactorWitness):
        return witness.W.square(), witness.H.square()
    V, multiplicities = problem.num_classes, witness.multiplicities
    # the columns of I − 11ᵀ/V have the square length 1 − 1/V
    return Fraction(V - 1, V) * _vector(multiplicities, witness.omega), _vector(multiplicities, witness.eta)


def _vector(multiplicities: list[int], vector: ExactVector) -> Fraction:
    entries = zip(multiplicities, vector.integers, strict=True)
    return sum(m * entry * entry for m, entry in entries) * Fraction(4) ** vector.exponent

"""Norms of exact witnesses, exactly: what a bound on ‖W‖ and ‖H‖ is compared with."""

from __future__ import annotations

from fractions import Fraction

from ufm_convex.enclosure.exact import ExactInvariant, ExactMatrix, ExactVector
from ufm_convex.enclosure.groups import Groups
from ufm_convex.enclosure.proved import DenseWitness, FrameWitness, GroupWitness
from ufm_convex.problem import Problem


def square_norms(problem: Problem, witness: FrameWitness | DenseWitness | GroupWitness) -> tuple[Fraction, Fraction]:
    """‖W‖² and Σ ‖h_k‖², H the class means, without rounding.

    Args:
        problem: The problem; its alike classes are those of the witness.
        witness: W and H.
    """
    if isinstance(witness, FrameWitness):
        K, multiplicities = problem.num_classes, witness.multiplicities
        # the columns of I − 11ᵀ/K have the square length 1 − 1/K
        return Fraction(K - 1, K) * _vector(multiplicities, witness.omega), _vector(multiplicities, witness.eta)
    if isinstance(witness, DenseWitness):
        return _matrix(witness.W), _matrix(witness.H)
    sizes = Groups.distinct(problem).multiplicities.tolist()
    return _invariant(sizes, witness.W), _invariant(sizes, witness.H)


def _vector(multiplicities: list[int], vector: ExactVector) -> Fraction:
    entries = zip(multiplicities, vector.integers, strict=True)
    return sum(m * entry * entry for m, entry in entries) * Fraction(4) ** vector.exponent


def _matrix(matrix: ExactMatrix) -> Fraction:
    return sum(entry * entry for row in matrix.rows for entry in row) * Fraction(4) ** matrix.exponent


def _invariant(sizes: list[int], matrix: ExactInvariant) -> Fraction:
    """A class of group g meets K_h − [g = h] other classes of group h."""
    total = 0
    for g, (size, own, row) in enumerate(zip(sizes, matrix.own, matrix.rows, strict=True)):
        others = sum((m - (g == h)) * entry * entry for h, (m, entry) in enumerate(zip(sizes, row, strict=True)))
        total += size * (own * own + others)
    return total * Fraction(4) ** matrix.exponent

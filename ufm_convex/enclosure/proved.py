"""What a proved bound is: its value, how it was proved, and the exact points behind it.

Shapes: G groups of alike classes, K classes, d coordinates. Units: those of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ufm_convex.bias import Bias, bias_of
from ufm_convex.enclosure.exact import (
    ExactInvariant,
    ExactMatrix,
    ExactVector,
    float_above,
    float_below,
    lower_end,
    upper_end,
)
from ufm_convex.enclosure.slack import BlockProof
from ufm_convex.groups import Invariant
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb


@dataclass(frozen=True, eq=False)
class DiagonalProof:
    """v_k = −q_k (e_k − 1/K), whose slack is diagonal.

    Attributes:
        strengths: q of the classes of each distinct group.
    """

    strengths: ExactVector


@dataclass(frozen=True, eq=False)
class FrameWitness:
    """h_k = η_k e_k and W = (I − 11ᵀ/K) Diag(ω); one entry for each kind of class that is treated alike.

    Attributes:
        groups: Distinct group of each entry.
        multiplicities: Number of classes of each entry.
        eta: η ≥ 0.
        omega: ω ≥ 0.
    """

    groups: list[int]
    multiplicities: list[int]
    eta: ExactVector
    omega: ExactVector


@dataclass(frozen=True, eq=False)
class DenseWitness:
    """W and class-mean features H, exactly.

    Attributes:
        W: (K, d).
        H: (K, d).
        bias: b, (K,); None without one.
    """

    W: ExactMatrix
    H: ExactMatrix
    bias: ExactVector | None = None


@dataclass(frozen=True, eq=False)
class GroupWitness:
    """W and class-mean features H with one coordinate a class, alike on alike classes, exactly.

    Attributes:
        W: (K, K).
        H: (K, K).
    """

    W: ExactInvariant
    H: ExactInvariant

    @classmethod
    def of(cls, W: Invariant, H: Invariant) -> GroupWitness:
        """The two matrices; coordinates that no feature uses are left out of W, which lowers the objective."""
        present = W.groups.present > 0.0
        cross = [np.where(present, matrix.cross, 0.0) for matrix in (W, H)]
        used = (H.own != 0.0) | np.any(cross[1] != 0.0, axis=0)
        w = ExactInvariant.of_floats(np.where(used, W.own, 0.0), np.where(used, cross[0], 0.0))
        return cls(w, ExactInvariant.of_floats(H.own, cross[1]))


Evidence: TypeAlias = DiagonalProof | BlockProof | FrameWitness | GroupWitness | DenseWitness


@dataclass(frozen=True)
class ProvedBound:
    """A bound on the optimal value that is proved.

    Attributes:
        value: The bound, rounded to the safe side; infinite when nothing is proved.
        proof: How: the slack proof ("diagonal", "group", "dense", "copositive", "trivial"), the theorem ("singular
            values") or the witness ("frame", "dense").
        exact: The bound before rounding to binary64, a dyadic number; None when nothing is proved.
        evidence: The exact point behind it; None when nothing is proved.
    """

    value: float
    proof: str
    exact: Fraction | None = None
    evidence: Evidence | None = None


def below(ball: arb, proof: str, evidence: Evidence) -> ProvedBound:
    """The lower bound that a ball proves."""
    return ProvedBound(float_below(ball), proof, lower_end(ball) if ball.is_finite() else None, evidence)


def above(ball: arb, proof: str, evidence: Evidence) -> ProvedBound:
    """The upper bound that a ball proves."""
    return ProvedBound(float_above(ball), proof, upper_end(ball) if ball.is_finite() else None, evidence)


def bias_part(problem: Problem) -> Bias:
    """The part of the objective that is the bias's."""
    return bias_of(problem.bias, problem.loss, problem.num_classes)

"""What a proved bound is: its value, how it was proved, and the exact points behind it.

Shapes: V outputs, m columns, d coordinates. Units: those of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ufm_convex.enclosure.alike import ExactAlike
from ufm_convex.enclosure.block_dual import BlockDual
from ufm_convex.enclosure.columns import alike_orbits
from ufm_convex.enclosure.exact import (
    ExactVector,
    float_above,
    float_below,
    lower_end,
    upper_end,
)

if TYPE_CHECKING:
    from flint import arb


@dataclass(frozen=True, eq=False)
class DiagonalDual:
    """v_k = −q_k (e_k − 1/V), whose slack is diagonal.

    Attributes:
        strengths: q of the classes of each distinct group.
    """

    strengths: ExactVector


@dataclass(frozen=True, eq=False)
class ResidualDual:
    """v_j = s ∇l_j at W and H of the witness beside it; real numbers, which nobody writes down.

    Attributes:
        scale: s from 0 to 1, a dyadic number.
    """

    scale: Fraction


@dataclass(frozen=True, eq=False)
class FrameWitness:
    """h_k = η_k e_k and W = (I − 11ᵀ/V) Diag(ω); one entry for each kind of class that is treated alike.

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
class FactorWitness:
    """W and H, one row a column (a class mean), exactly; single orbits are ordinary matrices.

    Attributes:
        W: Classifier, (V, d).
        H: Features, (m, d).
        bias: b, one entry an orbit of outputs; None for zero.
    """

    W: ExactAlike
    H: ExactAlike
    bias: ExactVector | None = None

    @property
    def plain(self) -> bool:
        """True for ordinary matrices."""
        return self.W.plain and self.H.plain

    def on_classes(self) -> tuple[ExactAlike, ExactAlike] | None:
        """W and H with one row and one coordinate a class, alike as these are; None where there are others, or a bias.

        The rows of H of classes without samples are 0.
        """
        classes, coordinates = self.W.rows, self.W.cols
        if self.bias is not None or self.plain or coordinates.repeated:
            return None
        places = classes.members[self.H.rows.first]
        if not alike_orbits(classes.kept(places), self.H.rows):
            return None
        H = self.H.on_rows(classes, places.tolist())
        single = iter(np.flatnonzero(classes.places == 1).tolist())
        large = {kind: h for h, kind in enumerate(classes.kinds.tolist()) if classes.places[h] > 1}
        targets = [
            large.pop(kind, None) if size > 1 else next(single, None)
            for kind, size in zip(coordinates.kinds.tolist(), coordinates.places.tolist(), strict=True)
        ]
        chosen = [target for target in targets if target is not None]
        if len(chosen) < len(targets):
            return None
        return self.W.placed(classes, chosen), H.placed(classes, chosen)


ExactPoint: TypeAlias = DiagonalDual | BlockDual | ResidualDual | FrameWitness | FactorWitness


@dataclass(frozen=True)
class ProvedBound:
    """A bound on the optimal value that is proved.

    Attributes:
        value: The bound, rounded to the safe side; infinite when nothing is proved.
        proof: How: the slack proof ("diagonal", "group", "dense", "norm", "parrilo", "copositive", "trivial"), the
            theorem ("singular values"), "residuals" of a witness, or the witness ("frame", "dense").
        exact: The bound before rounding to binary64, a dyadic number; None when nothing is proved.
        exact_point: The exact point behind it; None when nothing is proved.
    """

    value: float
    proof: str
    exact: Fraction | None = None
    exact_point: ExactPoint | None = None


def below(ball: arb, proof: str, exact_point: ExactPoint) -> ProvedBound:
    """The lower bound that a ball proves."""
    return ProvedBound(float_below(ball), proof, lower_end(ball) if ball.is_finite() else None, exact_point)


def above(ball: arb, proof: str, exact_point: ExactPoint) -> ProvedBound:
    """The upper bound that a ball proves."""
    return ProvedBound(float_above(ball), proof, upper_end(ball) if ball.is_finite() else None, exact_point)

"""The loss of an anchor as what it is: cross-entropy against soft targets, equal shares on its positives.

    log Σ_{l ≠ i} e^{z_l} − Σ_{positives j} z_j / (n − 1),     z_l = G_il / T

Its entries (``losses.Layout``) are the n − 1 positives, which are alike, and the samples outside the class: all N − n
of them where classes are orthogonal, else those of each group. Value, softmax, conjugate, divergence, cvxpy expression
and enclosures are those of ``SoftmaxLoss``.

Shapes: G groups, A of them with anchors; E entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.losses import ExactColumn, Layout, SoftmaxLoss


class PositivesCrossEntropy(SoftmaxLoss):
    """Cross-entropy against the targets of the layout; a problem of its own has it, and no other."""

    name: ClassVar[str] = "supervised-contrastive"

    def validate(self, num_classes: int) -> None:
        """Nothing to check: it has no parameters."""

    def parameters(self) -> dict[str, Any]:
        """None."""
        return {}


LOSS = PositivesCrossEntropy()


@dataclass(frozen=True, eq=False)
class Anchored:
    """One anchor of each group that has them.

    Attributes:
        problem: The problem.
        groups: Which classes are treated alike.
        places: The groups with anchors: their classes have two samples or more, (A,).
        layout: Entries of their rows: positives first, then the samples outside the class, together or by group.
    """

    problem: ContrastiveProblem
    groups: AlikeClasses
    places: IntArray
    layout: Layout

    @classmethod
    def of(cls, problem: ContrastiveProblem, groups: AlikeClasses, *, by_group: bool) -> Anchored:
        """The anchors; the samples outside the class by group, or all together."""
        counts = groups.counts.astype(np.float64)
        places = np.flatnonzero(groups.counts > 1)
        n = counts[places]
        outside = (groups.others.T * counts)[places].T if by_group else problem.num_samples - n[None, :]
        numbers = np.vstack([n[None, :] - 1.0, outside])
        target = np.zeros_like(numbers)
        target[0] = 1.0 / (n - 1.0)
        return cls(problem, groups, places, Layout(numbers, target, places))

    def residuals(self, outside: FloatArray) -> FloatArray:
        """V = p − y where an anchor of each group, (G,), spends that mass outside its class, evenly, (E, A)."""
        s, numbers = outside[self.places], self.layout.numbers
        found = np.where(numbers > 0.0, s / (self.problem.num_samples - 1.0 - numbers[0]), 0.0)
        found[0] = -s / numbers[0]
        return found

    def by_group(self, numbers: FloatArray) -> FloatArray:
        """One number an anchor, (A,), as one a group, (G,); 0 where there is no anchor."""
        found = np.zeros(self.groups.size)
        found[self.places] = numbers
        return found


def exact_column(problem: ContrastiveProblem, count: int) -> ExactColumn:
    """The two entries of an anchor of a class of so many samples among orthogonal ones, without rounding."""
    from flint import fmpq

    return ExactColumn([count - 1, problem.num_samples - count], [fmpq(1, count - 1), fmpq(0)], 0, 0)

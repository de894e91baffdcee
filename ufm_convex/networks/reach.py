"""How far a normalisation reaches: bounds on the size of a tensor, carried through the operations of a graph.

Of a tensor t of a batch of B samples a ``Reach`` says

    ‖t‖ ≤ Σ_j √(e_j B s_j) ν_j,    ν_j² = ‖γ_j‖² + ‖β_j‖²,

a term for each normalisation j that t depends on, by the triangle inequality; s_j belongs to the kind of normalisation.
Beside e_j for the size it carries that for the change of t while û varies with γ and β fixed, which needs Lipschitz
constants where the size needs |σ(t)| ≤ l |t|, and that for the size under the worst mask of dropout. Everything is
exact. Source: docs/training_bound_cases.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from fractions import Fraction
from typing import TypeAlias

from ufm_convex.networks.marks import NormMark

Key = tuple[int, int, str, int]
"""Identity of γ and of β, kind, group: calls that share them are one; those without have an identity of their own."""


Join: TypeAlias = "Callable[[Gain, Gain], Gain]"


class Masks(IntEnum):
    """What has happened to a tensor since dropout."""

    NONE = 0
    """There was none."""
    DIAGONAL = 1
    """t = D t₀, D the mask, t₀ what there is without dropout: homogeneous functions commute with it."""
    LINEAR = 2
    """t = A D t₀: the expectation of t is what there is without dropout."""
    LOST = 3
    """Neither: only the worst mask bounds t."""


@dataclass(frozen=True)
class Gain:
    """e_j of one normalisation: for the size, for the change with û, and for the size under the worst mask."""

    size: Fraction
    change: Fraction
    masked: Fraction

    def times(self, size: Fraction, change: Fraction | None = None, masked: Fraction | None = None) -> Gain:
        """Multiplied by squares of norms; all by the first where the others are left out."""
        return Gain(
            self.size * size,
            self.change * (size if change is None else change),
            self.masked * (size if masked is None else masked),
        )

    def beside(self, other: Gain) -> Gain:
        """Of two tensors that stand side by side: squares add up."""
        return Gain(self.size + other.size, self.change + other.change, self.masked + other.masked)

    def plus(self, other: Gain) -> Gain:
        """Of a sum: (√a + √b)², which is 4a where both are the same, and at most 2 (a + b)."""
        return self.beside(other).times(Fraction(2))


@dataclass(frozen=True)
class Reach:
    """What is known of a tensor.

    Attributes:
        gains: e_j by normalisation.
        marks: The normalisations.
        nonnegative: Whether t ≥ 0 whatever the parameters are.
        masks: What has happened since dropout.
        tokens: Dimensions along which every index has the same share of the bound, with their sizes.
        aligned: Whether at û = 0 all rows of t are the same.
    """

    gains: dict[Key, Gain]
    marks: dict[Key, NormMark]
    nonnegative: bool
    masks: Masks = Masks.NONE
    tokens: dict[int, int] = field(default_factory=dict)
    aligned: bool = True

    @classmethod
    def of(cls, mark: NormMark, batch: int) -> Reach:
        """The result of a normalisation: e = numbers for each scale and sample."""
        own = id(mark) if mark.weight is None and mark.bias is None else id(mark.weight)
        key = (own, id(mark.bias), mark.kind, mark.group)
        entries = 1
        for size in mark.shape:
            entries *= size
        share = Fraction(entries, mark.channels * batch)
        rows = len(mark.shape) - mark.normalized
        tokens = {dim: mark.shape[dim] for dim in range(1, rows)} if mark.normalized else {}
        return cls({key: Gain(share, share, share)}, {key: mark}, False, tokens=tokens)

    def linear(self, square: Fraction | int) -> Reach:
        """After a linear map with entries ≥ 0 and ‖A‖² ≤ ``square``."""
        masks = Masks.LINEAR if self.masks is Masks.DIAGONAL else self.masks
        return replace(self, gains=self._times(Fraction(square)), masks=masks, tokens={})

    def viewed(self, *, aligned: bool) -> Reach:
        """The same entries in another shape; ``aligned``: rows become whole rows."""
        return replace(self, tokens={}, aligned=self.aligned and aligned)

    def maximum(self, cover: Fraction | int) -> Reach:
        """After maxima of windows, a position in at most ``cover`` of them."""
        masks = Masks.NONE if self.masks is Masks.NONE else Masks.LOST
        return replace(self, gains=self._times(Fraction(cover)), masks=masks, tokens={})

    def activated(self, size: Fraction, change: Fraction, nonnegative: bool, homogeneous: bool) -> Reach:
        """After σ with |σ(t)|² ≤ size · t² and the square of the Lipschitz constant ``change``."""
        kept = self.masks is Masks.NONE or (homogeneous and self.masks is Masks.DIAGONAL)
        gains = {key: gain.times(size, change) for key, gain in self.gains.items()}
        return replace(self, gains=gains, nonnegative=nonnegative, masks=self.masks if kept else Masks.LOST)

    def dropped(self, share: Fraction) -> Reach:
        """After dropout of that share."""
        worst = 1 / (1 - share) ** 2
        gains = {key: gain.times(Fraction(1), Fraction(1), worst) for key, gain in self.gains.items()}
        return replace(self, gains=gains, masks=max(self.masks, Masks.DIAGONAL))

    def selected(self, dim: int, kept: int) -> Reach:
        """Some indices of a dimension, ``kept`` of them."""
        share = Fraction(kept, self.tokens[dim]) if dim in self.tokens else Fraction(1)
        return replace(self, gains=self._times(share), tokens={})

    def _times(self, square: Fraction) -> dict[Key, Gain]:
        return {key: gain.times(square) for key, gain in self.gains.items()}


def summed(parts: Sequence[Reach], *, nonnegative: bool) -> Reach:
    """Of a sum of tensors."""
    return _joined(parts, Gain.plus, nonnegative, aligned=True)


def concatenated(parts: Sequence[Reach], *, aligned: bool) -> Reach:
    """Of tensors side by side; ``aligned``: not one batch below another."""
    return _joined(parts, Gain.beside, all(part.nonnegative for part in parts), aligned)


def _joined(parts: Sequence[Reach], join: Join, nonnegative: bool, aligned: bool) -> Reach:
    gains: dict[Key, Gain] = {}
    marks: dict[Key, NormMark] = {}
    for part in parts:
        for key, gain in part.gains.items():
            gains[key] = join(gains[key], gain) if key in gains else gain
        marks.update(part.marks)
    masks = max(part.masks for part in parts)
    masks = Masks.LINEAR if masks is Masks.DIAGONAL else masks
    return Reach(gains, marks, nonnegative, masks, aligned=aligned and all(part.aligned for part in parts))

"""Cross-entropy, with class weights and label smoothing.

    l_k(z) = log Σ_j exp(z_j) − <y_k, z>,      y_k = (1 − α) e_k + (α/V) 1,      weight ω_k.

The functions are those of ``SoftmaxLoss``; here are the targets and the weights. Source: docs/duality.md,
equation 2; smoothing and weights as in Szegedy et al. 2016 and King and Zeng 2001.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray, real
from ufm_convex._bits import ratio
from ufm_convex.errors import ProblemError, shown
from ufm_convex.losses.softmax import SoftmaxLoss
from ufm_convex.losses.weighing import class_weights_of, require_one_each

if TYPE_CHECKING:
    from flint import arb, fmpq

    from ufm_convex.losses.soft_target_cross_entropy import SoftTargetCrossEntropy


@dataclass(frozen=True)
class CrossEntropy(SoftmaxLoss):
    """Softmax cross-entropy.

    Args:
        class_weights: ω, one positive weight a class; None weighs all classes 1. The mean over samples stays
            (1/N) Σ_i ω_{y_i} l(z_i): weights are not renormalised.
        smoothing: α in [0, 1), the share of each target spread evenly over all K classes.

    Raises:
        ProblemError: a weight or the smoothing is out of range.
    """

    name: ClassVar[str] = "cross-entropy"
    alike: ClassVar[bool] = True

    class_weights: tuple[float, ...] | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= real(self.smoothing) < 1.0:
            raise ProblemError(
                f"smoothing is {shown(self.smoothing)}.",
                expected="a number in [0, 1)",
                fix="use 0 for plain cross-entropy, 0.1 for the usual smoothing.",
            )
        object.__setattr__(self, "smoothing", real(self.smoothing))
        object.__setattr__(self, "class_weights", class_weights_of(self.class_weights))

    @classmethod
    def from_torch(
        cls, criterion: Any, class_counts: Sequence[int] | IntArray
    ) -> CrossEntropy | SoftTargetCrossEntropy:
        """The loss that a ``torch.nn.CrossEntropyLoss`` is, mean, class weights and smoothing included.

        PyTorch divides a weighted mean by the sum of the weights of the samples, so that the class counts are needed.

        Args:
            criterion: A ``torch.nn.CrossEntropyLoss``.
            class_counts: n_k of the training data, (K,), as ``Problem`` takes them.

        Returns:
            A ``CrossEntropy``; where weights meet smoothing a ``SoftTargetCrossEntropy``, as PyTorch weighs the
            smoothed terms as well.

        Raises:
            ProblemError: it is none, its reduction is not "mean", it ignores a class that has samples, or a weight is
                no finite number > 0.
            ShapeError: it has another number of weights.
            CountsError: the counts are none.
        """
        from ufm_convex.losses.from_torch import from_torch

        return from_torch(criterion, class_counts)

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless there is one weight a class."""
        require_one_each(self.class_weights, num_classes)

    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        given: dict[str, Any] = {}
        if self.class_weights is not None:
            given["class_weights"] = list(self.class_weights)
        if self.smoothing:
            given["smoothing"] = self.smoothing
        return given

    @property
    def softmax_share(self) -> float | None:
        """The smoothing."""
        return self.smoothing if type(self) is CrossEntropy else None

    def softmax_targets(self, num_outputs: int, rows: IntArray) -> FloatArray | None:
        """Unit vectors; with smoothing targets are no binary64 numbers."""
        if type(self) is not CrossEntropy or self.smoothing:
            return None
        targets = np.zeros((num_outputs, rows.size))
        targets[rows, np.arange(rows.size)] = 1.0
        return targets

    def weighted(self, weights: tuple[float, ...]) -> CrossEntropy | None:
        """See ``Loss.weighted``."""
        return replace(self, class_weights=weights) if type(self) is CrossEntropy else None

    def weights(self, num_classes: int) -> FloatArray:
        """Class weights ω, shape (K,)."""
        return np.ones(num_classes) if self.class_weights is None else np.array(self.class_weights)

    def target(self, num_outputs: int) -> tuple[float, float]:
        """1 − α + α/V and α/V."""
        share = self.smoothing / num_outputs
        return share + (1.0 - self.smoothing), share

    def exact_target(self, num_outputs: int) -> tuple[fmpq, fmpq]:
        """The same without rounding."""
        from flint import fmpq

        smoothing = fmpq(*ratio(self.smoothing))
        share = smoothing / num_outputs
        return 1 - smoothing + share, share

    def margin_strengths(self, margins: FloatArray, num_outputs: int) -> FloatArray:
        """Q = V / (e^m + V − 1) − α: V times the residual of another output, but exactly 1 − α at m = 0."""
        strength: FloatArray = num_outputs * np.exp(-margins) / (1.0 + (num_outputs - 1) * np.exp(-margins))
        return strength - self.smoothing

    def enclose_margin_values(self, margins: Iterable[arb], num_outputs: int) -> Iterator[arb]:
        """log(1 + (V−1) e^{−m}) + α m (V−1)/V, column by column without a list of entries.

        Measured for 10⁶ of them, one core: 1.2 s, where the general way takes 2.5 s.
        """
        from flint import arb

        others = num_outputs - 1
        slope = arb(others * self.exact_target(num_outputs)[1])
        values = ((margin, (others * (-margin).exp()).log1p()) for margin in margins)
        return (
            (value + slope * margin for margin, value in values) if self.smoothing else (value for _, value in values)
        )

    def enclose_margin_conjugates(self, strengths: Sequence[int], exponent: int, num_outputs: int) -> Iterator[arb]:
        """The same with every probability an integer over one number, V 2^{−e}: no rational is ever reduced.

        Measured for 10⁶ of them, one core: 3.6 s, where the general way takes 14 s.
        """
        from flint import arb

        smoothing, scale = ratio(self.smoothing)
        place = max(-exponent, scale.bit_length() - 1, 0)
        shift, smoothing = exponent + place, smoothing << (place - (scale.bit_length() - 1))
        whole = num_outputs << place
        logarithm = arb(whole).log()
        for strength in strengths:
            wrong = (strength << shift) + smoothing
            mass = (num_outputs - 1) * wrong
            own = whole - mass
            if wrong < 0 or own < 0:
                raise ValueError("the strength lies outside the simplex")
            total = mass * (arb(wrong).log() - logarithm) if wrong else arb(0)
            if 2 * own > whole:
                total += own * (arb(-mass) / whole).log1p()
            elif own:
                total += own * (arb(own).log() - logarithm)
            yield total / whole

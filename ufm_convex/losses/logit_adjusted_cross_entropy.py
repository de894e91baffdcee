"""Cross-entropy of shifted and scaled logits: the parameterisations for imbalanced classes.

    l_k(z)  = CE(a∘z + b, k),
    l_k*(v) = −Ent(p) − <p − e_k, b>,      v = a∘(p − e_k), p in the simplex (+∞ elsewhere).

b alone is additive logit adjustment (Menon et al., ICLR 2021, b = τ log(n/N)), a alone is class-dependent temperature
(Ye et al. 2020), both together the vector-scaling loss (Kini et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, real
from ufm_convex.errors import ProblemError, ShapeError, shown
from ufm_convex.losses.softmax import SoftmaxLoss

_LARGEST = 2.0**100
"""Beyond, scaled logits overflow."""


@dataclass(frozen=True)
class LogitAdjustedCrossEntropy(SoftmaxLoss):
    """Cross-entropy of a∘z + b.

    Args:
        shift: b, one finite number a class; None for zeros.
        scale: a, one number in [2**-100, 2**100] a class; None for ones.

    Raises:
        ProblemError: an entry is no number in its range.
    """

    name: ClassVar[str] = "logit-adjusted-cross-entropy"
    shift_invariant: ClassVar[bool] = False

    shift: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        shifts = _vector("shift", self.shift, lambda b: abs(b) <= _LARGEST, "finite numbers, at most 2**100 in size")
        scales = _vector("scale", self.scale, lambda a: 1.0 / _LARGEST <= a <= _LARGEST, "numbers > 0, at most 2**100")
        object.__setattr__(self, "shift", shifts)
        object.__setattr__(self, "scale", scales)

    def validate(self, num_classes: int) -> None:
        """Raise ``ShapeError`` unless there is one entry a class."""
        for name, vector in (("shift", self.shift), ("scale", self.scale)):
            if vector is not None and len(vector) != num_classes:
                raise ShapeError(
                    f"{name} has {len(vector)} entries, but there are {num_classes} classes.",
                    expected="one entry a class",
                    fix="give the entries in the order of class_counts.",
                )

    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        given = {"shift": self.shift, "scale": self.scale}
        return {name: list(vector) for name, vector in given.items() if vector is not None}

    def target_columns(self, num_classes: int) -> FloatArray:
        """One-hot."""
        return np.eye(num_classes)

    def scales(self, num_classes: int) -> FloatArray:
        """The factors a."""
        return np.ones(num_classes) if self.scale is None else np.array(self.scale)

    def shifts(self, num_classes: int) -> FloatArray:
        """The offsets b."""
        return np.zeros(num_classes) if self.shift is None else np.array(self.shift)


def _vector(name: str, given: Any, admissible: Callable[[float], bool], expected: str) -> tuple[float, ...] | None:
    if given is None:
        return None
    entries = _given.entries(name, given, ProblemError, expected=f"a list of {expected}, one a class")
    if not isinstance(entries, (list, tuple)):
        raise ProblemError(
            f"{name} is {shown(given)}.",
            expected=f"a list of {expected}, one a class",
            fix="write a list such as [0.0, 1.5]; leave it out for none.",
        )
    refused = [entry for entry in entries if not admissible(real(entry))]
    if refused:
        raise ProblemError(
            f"{name} has the entry {shown(refused[0])}.", expected=expected, fix="correct or remove the entry."
        )
    return tuple(map(real, entries))

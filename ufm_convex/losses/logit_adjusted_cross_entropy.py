"""Cross-entropy of shifted and scaled logits: the parameterisations for imbalanced classes.

    l_k(z)  = CE(a∘z + b, k),
    l_k*(v) = −Ent(p) − <p − e_k, b>,      v = a∘(p − e_k), p in the simplex (+∞ elsewhere).

b alone is additive logit adjustment (Menon et al., ICLR 2021, b = τ log(n/N)), a alone is class-dependent temperature
(Ye et al. 2020), both together the vector-scaling loss (Kini et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray, real
from ufm_convex.errors import ProblemError, ShapeError, shown
from ufm_convex.losses.layout import ExactColumn, Layout
from ufm_convex.losses.softmax import SoftmaxLoss

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

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

    def closing_weights(self, num_outputs: int) -> FloatArray:
        """Σ_j v_j / a_j = 0, since p and the target sum to one."""
        return self._pair(num_outputs)[0][:, 0]

    # -- cross-entropy at x = a∘z + b, and its conjugate at w = v/a ---------------------------------------------------

    def values(self, z: FloatArray, layout: Layout) -> FloatArray:
        """CE(x)."""
        return super().values(self._adjusted(z), layout)

    def residuals(self, z: FloatArray, layout: Layout) -> FloatArray:
        """a∘∇CE(x)."""
        return self._pair(len(z))[0] * super().residuals(self._adjusted(z), layout)

    def conjugate(self, v: FloatArray, layout: Layout) -> FloatArray:
        """CE*(w) − <w, b>."""
        a, b = self._pair(len(v))
        return super().conjugate(v / a, layout) - (v / a * b).sum(axis=0)

    def into_domain(self, v: FloatArray, layout: Layout) -> FloatArray:
        """As w, by a point near it."""
        a, _ = self._pair(len(v))
        return a * super().into_domain(v / a, layout)

    def violation(self, v: FloatArray, layout: Layout) -> float:
        """That of w."""
        return super().violation(v / self._pair(len(v))[0], layout)

    def limit(self, v: FloatArray, layout: Layout) -> FloatArray:
        """That of w."""
        return super().limit(v / self._pair(len(v))[0], layout)

    def fenchel_young(self, v: FloatArray, z: FloatArray, layout: Layout) -> FloatArray:
        """That of w and x: <v, z> = <w, x − b>."""
        return super().fenchel_young(v / self._pair(len(v))[0], self._adjusted(z), layout)

    def expression(self, z: cp.Expression, layout: Layout) -> cp.Expression:
        """The same at x."""
        import cvxpy as cp

        a, b = (column @ np.ones((1, z.shape[1])) for column in self._pair(z.shape[0]))
        return super().expression(cp.multiply(a, z) + b, layout)

    def enclose_value(self, z: Sequence[arb], column: ExactColumn) -> arb:
        """The same at x, in balls."""
        from flint import arb

        a, b = self._pair(len(z))
        x = [arb(s) * entry + arb(t) for s, entry, t in zip(a[:, 0].tolist(), z, b[:, 0].tolist(), strict=True)]
        return super().enclose_value(x, column)

    def enclose_conjugate(self, v: Sequence[fmpq], column: ExactColumn) -> arb:
        """CE*(w) − <w, b> in balls, after an exact test of w."""
        from flint import arb, fmpq

        a, b = self._pair(len(v))
        w = [entry / fmpq(*s.as_integer_ratio()) for entry, s in zip(v, a[:, 0].tolist(), strict=True)]
        linear = sum((arb(entry) * arb(t) for entry, t in zip(w, b[:, 0].tolist(), strict=True)), arb(0))
        return super().enclose_conjugate(w, column) - linear

    def _adjusted(self, z: FloatArray) -> FloatArray:
        a, b = self._pair(len(z))
        return a * z + b

    def _pair(self, num_outputs: int) -> tuple[FloatArray, FloatArray]:
        """Columns a and b, (V, 1) each."""
        a = np.ones(num_outputs) if self.scale is None else np.array(self.scale)
        b = np.zeros(num_outputs) if self.shift is None else np.array(self.shift)
        return a[:, None], b[:, None]


def _vector(name: str, given: Any, admissible: Callable[[float], bool], expected: str) -> tuple[float, ...] | None:
    if given is None:
        return None
    entries = given.tolist() if isinstance(given, np.ndarray) else given
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
    return tuple(map(float, entries))

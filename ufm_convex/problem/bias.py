"""The bias b of logits W h + b: a convex penalty g of b, and everywhere else only g and its conjugate.

    none         g = 0 at b = 0, +∞ elsewhere        g*(−s) = 0
    penalised    g = λ_b/2 ‖b‖²                       g*(−s) = ‖s‖² / (2 λ_b)
    free         g = 0                                g*(−s) = 0 at s = 0, +∞ elsewhere

With s = U1, the sum of the columns u_i = weight_i v_i, the dual objective loses g*(−s) and the master identity gains
the Fenchel–Young gap g(b) + g*(−s) + <s, b> ≥ 0 (docs/duality_bias.md, section 8). A free bias therefore asks of a dual
point that U1 = 0, and ``admit`` makes it so.

Shapes: K classes, m columns; b and s are (K,), U and V (K, m). Where outputs come in orbits of alike ones, b and s have
one entry an orbit, which counts as often as ``numbers`` says.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._bits import ratio
from ufm_convex.losses import Loss

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_ROUNDING = 1e-12
"""Row sums of U up to this share of the sum of its absolute entries are zero up to rounding."""

_FAINT = 1e-15
"""Penalties up to this share of the loss: a U1 known to 1e-17 then costs g* as much as the penalty costs the primal."""


@dataclass(frozen=True, eq=False)
class BiasModel:
    """The bias in a cvxpy programme.

    Attributes:
        variable: b, (K,) or one entry a group; None without bias.
        penalty: λ_b/2 ‖b‖², 0 where there is none.
        constraints: What fixes a direction of b that the loss does not see.
    """

    variable: cp.Variable | None
    penalty: cp.Expression | float
    constraints: list[cp.Constraint]

    @property
    def value(self) -> FloatArray | None:
        """What the solver left of b; None where that is nothing."""
        if self.variable is None or self.variable.value is None or not np.isfinite(self.variable.value).all():
            return None
        return np.asarray(self.variable.value, dtype=np.float64)


class Bias(ABC):
    """A penalty g of the bias, with its conjugate."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of entries of b that may differ from zero: K, or 0 without bias."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """λ_b; 0 where nothing is paid."""

    @property
    def needs_balance(self) -> bool:
        """Whether a dual point must satisfy U1 = 0."""
        return False

    @abstractmethod
    def penalty(self, b: FloatArray) -> float:
        """g(b)."""

    @abstractmethod
    def support(self, sums: FloatArray, scale: float) -> float:
        """g*(−s), what a dual point with the sums s = U1 pays.

        Args:
            sums: s, (K,).
            scale: Σ |u|: the size of what was summed.
        """

    @abstractmethod
    def misfit(self, b: FloatArray, sums: FloatArray) -> float:
        """g(b) + g*(−s) + <s, b>, without cancellation; ≥ 0 where g*(−s) is finite, 0 iff b is best for s."""

    @abstractmethod
    def residuals(self, b: FloatArray, sums: FloatArray, scale: float, objective: float) -> dict[str, float]:
        """Name → residual of the KKT condition −s ∈ ∂g(b), where there is a bias; pure numbers."""

    @abstractmethod
    def tolerances(self, epsilon: float, rounding: float) -> dict[str, float]:
        """Name → its tolerance for a relative gap ε, like ``duality.kkt.tolerances``."""

    def canonical(self, b: FloatArray) -> FloatArray:
        """The b of the same logits, up to what the loss does not see, of least norm."""
        return b

    def tying(self) -> FloatArray | None:
        """The a with Σ_j v_j / a_j = 0 for all residuals, where U1 = 0 is asked for and there is one; else None."""
        return None

    def missing(self, b: FloatArray, sums: FloatArray, weight: float) -> FloatArray | None:
        """What s = U1 is off −∂g(b), one entry an entry of b; None where the sums tell more of b than b of them.

        Args:
            b: A bias that is nearly the best.
            sums: s.
            weight: Σ weights of the columns.
        """
        return self.curvature * b + sums

    @abstractmethod
    def model(self, unit: float, sizes: FloatArray | None = None) -> BiasModel:
        """The bias in a programme.

        Args:
            unit: What the objective is divided by.
            sizes: For a b that is constant on groups, the number of classes of each, (G,); by default one a class.
        """

    @abstractmethod
    def enclose_penalty(self, b: Sequence[fmpq], multiplicities: Sequence[int] | None = None) -> arb:
        """A ball that contains g(b), whose entry g stands for ``multiplicities[g]`` equal ones, or for itself."""

    @abstractmethod
    def enclose_support(self, sums: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """A ball that contains g*(−s) for the exact s, whose entry g stands for ``multiplicities[g]`` equal ones.

        Raises:
            ValueError: g*(−s) is infinite; the test is exact.
        """


@dataclass(frozen=True)
class NoBias(Bias):
    """Logits W h."""

    @property
    def size(self) -> int:
        """No entry."""
        return 0

    @property
    def curvature(self) -> float:
        """Nothing is paid."""
        return 0.0

    def penalty(self, b: FloatArray) -> float:
        """Nothing: b is zero."""
        return 0.0

    def support(self, sums: FloatArray, scale: float) -> float:
        """Nothing."""
        return 0.0

    def misfit(self, b: FloatArray, sums: FloatArray) -> float:
        """Nothing: b is zero."""
        return 0.0

    def missing(self, b: FloatArray, sums: FloatArray, weight: float) -> FloatArray | None:
        """Nothing: any sums will do."""
        return None

    def residuals(self, b: FloatArray, sums: FloatArray, scale: float, objective: float) -> dict[str, float]:
        """No condition."""
        return {}

    def tolerances(self, epsilon: float, rounding: float) -> dict[str, float]:
        """No condition."""
        return {}

    def model(self, unit: float, sizes: FloatArray | None = None) -> BiasModel:
        """Nothing."""
        return BiasModel(None, 0.0, [])

    def enclose_penalty(self, b: Sequence[fmpq], multiplicities: Sequence[int] | None = None) -> arb:
        """Zero."""
        from flint import arb

        return arb(0)

    def enclose_support(self, sums: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """Zero."""
        from flint import arb

        return arb(0)


@dataclass(frozen=True, eq=False)
class PenalisedBias(Bias):
    """Logits W h + b with the penalty λ_b/2 ‖b‖².

    Attributes:
        num_classes: Number of entries of b, K or one an orbit.
        weight: λ_b > 0.
        numbers: How often each entry counts; None for once.
    """

    num_classes: int
    weight: float
    numbers: FloatArray | None = None

    @property
    def size(self) -> int:
        """K."""
        return self.num_classes

    @property
    def curvature(self) -> float:
        """λ_b."""
        return self.weight

    def penalty(self, b: FloatArray) -> float:
        """λ_b/2 ‖b‖²."""
        return 0.5 * self.weight * float(_times(self.numbers, b) @ b)

    def support(self, sums: FloatArray, scale: float) -> float:
        """‖s‖² / (2 λ_b)."""
        return self._halved_square(sums)

    def misfit(self, b: FloatArray, sums: FloatArray) -> float:
        """λ_b/2 ‖b + s/λ_b‖²."""
        return self._halved_square(self.weight * b + sums)

    def missing(self, b: FloatArray, sums: FloatArray, weight: float) -> FloatArray | None:
        """See ``Bias.missing``; for a heavy penalty the sums tell more of b than b tells of them."""
        return super().missing(b, sums, weight) if self.weight <= weight else None

    def residuals(self, b: FloatArray, sums: FloatArray, scale: float, objective: float) -> dict[str, float]:
        """Square root of λ_b/2 ‖b + s/λ_b‖² in units of the objective."""
        return {"stationarity_bias": math.sqrt(self.misfit(b, sums) / objective)}

    def tolerances(self, epsilon: float, rounding: float) -> dict[str, float]:
        """√ε, since the gap contains the square of the residual."""
        return {"stationarity_bias": math.sqrt(max(epsilon, rounding))}

    def model(self, unit: float, sizes: FloatArray | None = None) -> BiasModel:
        """With its penalty."""
        import cvxpy as cp

        sizes = np.ones(self.num_classes) if sizes is None else sizes
        b = cp.Variable(sizes.size)
        return BiasModel(b, 0.5 * self.weight / unit * cp.sum_squares(cp.multiply(np.sqrt(sizes), b)), [])

    def enclose_penalty(self, b: Sequence[fmpq], multiplicities: Sequence[int] | None = None) -> arb:
        """λ_b/2 ‖b‖²."""
        from flint import arb, fmpq

        many = [1] * len(b) if multiplicities is None else multiplicities
        square = sum((entry * entry * m for entry, m in zip(b, many, strict=True)), fmpq(0))
        return arb(square * self._exact_weight() / 2)

    def enclose_support(self, sums: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """‖s‖² / (2 λ_b)."""
        from flint import arb, fmpq

        square = sum((s * s * m for s, m in zip(sums, multiplicities, strict=True)), fmpq(0))
        return arb(square / (2 * self._exact_weight()))

    def _halved_square(self, vector: FloatArray) -> float:
        # divided first: the square alone may underflow
        return 0.5 * float(_times(self.numbers, (vector / math.sqrt(self.weight)) ** 2).sum())

    def _exact_weight(self) -> fmpq:
        from flint import fmpq

        return fmpq(*ratio(self.weight))


@dataclass(frozen=True, eq=False)
class FreeBias(Bias):
    """Logits W h + b, b without penalty.

    Attributes:
        num_classes: Number of entries of b, K or one an orbit.
        closing: The a with Σ_j v_j / a_j = 0 for all residuals, (K,); None where no equation ties them. The loss does
            not see b in the direction 1/a.
        numbers: How often each entry counts; None for once.
    """

    num_classes: int
    closing: FloatArray | None
    numbers: FloatArray | None = field(default=None, kw_only=True)

    @property
    def size(self) -> int:
        """K."""
        return self.num_classes

    @property
    def curvature(self) -> float:
        """Nothing is paid."""
        return 0.0

    @property
    def needs_balance(self) -> bool:
        """Yes."""
        return True

    def penalty(self, b: FloatArray) -> float:
        """Nothing."""
        return 0.0

    def support(self, sums: FloatArray, scale: float) -> float:
        """0 if s = 0 up to rounding, else +inf."""
        return 0.0 if float(np.abs(sums).max()) <= _ROUNDING * scale else math.inf

    def misfit(self, b: FloatArray, sums: FloatArray) -> float:
        """<s, b>, which is 0 for an s that is admitted."""
        return float(_times(self.numbers, sums) @ b)

    def residuals(self, b: FloatArray, sums: FloatArray, scale: float, objective: float) -> dict[str, float]:
        """Largest entry of U1 in units of Σ |u|."""
        return {"stationarity_bias": float(np.abs(sums).max()) / scale if scale > 0.0 else 0.0}

    def tolerances(self, epsilon: float, rounding: float) -> dict[str, float]:
        """Rounding: a repaired point has U1 = 0 by construction."""
        return {"stationarity_bias": rounding}

    def tying(self) -> FloatArray | None:
        """``closing``."""
        return self.closing

    def canonical(self, b: FloatArray) -> FloatArray:
        """Without its part along the direction that the loss does not see."""
        if self.closing is None:
            return b
        unseen = 1.0 / self.closing
        counted = _times(self.numbers, unseen)
        return b - (b @ counted) / (unseen @ counted) * unseen

    def model(self, unit: float, sizes: FloatArray | None = None) -> BiasModel:
        """One whose sum is zero, where the loss does not see some direction: all entries of that are positive."""
        import cvxpy as cp

        sizes = np.ones(self.num_classes) if sizes is None else sizes
        b = cp.Variable(sizes.size)
        return BiasModel(b, 0.0, [] if self.closing is None else [sizes @ b == 0])

    def enclose_penalty(self, b: Sequence[fmpq], multiplicities: Sequence[int] | None = None) -> arb:
        """Zero."""
        from flint import arb

        return arb(0)

    def enclose_support(self, sums: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """Zero, if the sums are exactly zero."""
        from flint import arb

        if any(s != 0 for s in sums):
            raise ValueError("a free bias asks for U1 = 0")
        return arb(0)


@dataclass(frozen=True, eq=False)
class FaintBias(FreeBias):
    """Logits W h + b with so small a penalty that the rounding of U1 alone would cost the dual more than it is worth.

    The dual is treated as that of a free bias: g*(−s) is replaced by what is larger, so its bounds hold, and lose no
    more than the penalty λ_b/2 ‖b‖² of the best bias.

    Attributes:
        weight: λ_b > 0.
    """

    weight: float

    @property
    def curvature(self) -> float:
        """λ_b."""
        return self.weight

    def penalty(self, b: FloatArray) -> float:
        """λ_b/2 ‖b‖²."""
        return self._penalised.penalty(b)

    def misfit(self, b: FloatArray, sums: FloatArray) -> float:
        """λ_b/2 ‖b‖² + <s, b>."""
        return self.penalty(b) + super().misfit(b, sums)

    def missing(self, b: FloatArray, sums: FloatArray, weight: float) -> FloatArray | None:
        """As for a free bias."""
        return super().missing(0.0 * b, sums, weight)

    def enclose_penalty(self, b: Sequence[fmpq], multiplicities: Sequence[int] | None = None) -> arb:
        """λ_b/2 ‖b‖²."""
        return self._penalised.enclose_penalty(b, multiplicities)

    @property
    def _penalised(self) -> PenalisedBias:
        return PenalisedBias(self.num_classes, self.weight, self.numbers)

    def enclose_support(self, sums: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """‖s‖² / (2 λ_b): what exact points are charged, whose sums are next to zero."""
        return self._penalised.enclose_support(sums, multiplicities)


def bias_of(
    value: float | Literal["free"] | None,
    loss: Loss,
    num_classes: int,
    first: IntArray | None = None,
    numbers: FloatArray | None = None,
) -> Bias:
    """The penalty of the bias that ``Problem.bias`` describes.

    Args:
        value: None, "free", or λ_b > 0.
        loss: The loss of the problem.
        num_classes: The number of outputs, K of classes.
        first: For a b with one entry an orbit of alike outputs, one output of each, (R,).
        numbers: How many outputs each of them has, (R,).
    """
    if value is None:
        return NoBias()
    size = num_classes if first is None else first.size
    if not isinstance(value, str) and value > _FAINT * float(loss.weights(loss.num_rows(num_classes)).mean()):
        return PenalisedBias(size, value, numbers)
    closing = loss.closing_weights(num_classes)
    closing = closing if closing is None or first is None else closing[first]
    if isinstance(value, str):
        return FreeBias(size, closing, numbers=numbers)
    return FaintBias(size, closing, value, numbers=numbers)


def _times(numbers: FloatArray | None, entries: FloatArray) -> FloatArray:
    """Each entry as often as it counts."""
    return entries if numbers is None else numbers * entries

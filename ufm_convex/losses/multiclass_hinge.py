"""The two multi-class hinge losses of support vector machines.

    Crammer–Singer:  l_k(z) = max(0, 1 + max_{j≠k} z_j − z_k),     domain  v_j ≥ 0 (j ≠ k), Σ_{j≠k} v_j ≤ 1,
    Weston–Watkins:  l_k(z) = Σ_{j≠k} max(0, 1 + z_j − z_k),       domain  0 ≤ v_j ≤ 1 (j ≠ k),

    with Σ_j v_j = 0 and l_k*(v) = v_k for both.

Not differentiable; ``residuals`` is a subgradient, shared evenly among ties. Sources: Crammer and Singer, JMLR 2,
2001; Weston and Watkins, ESANN 1999.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import ProblemError, shown
from ufm_convex.losses.base import MarginLoss, ray_limit
from ufm_convex.losses.reduced import ReducedLoss

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_JOINT, _PAIRWISE = "crammer-singer", "weston-watkins"
_TIGHT = 1e-3
"""Violations of so little count as 0, and so near to the largest as equal to it, where a residual is compared."""


@dataclass(frozen=True)
class MulticlassHinge(MarginLoss, ReducedLoss):
    """A hinge loss with margin 1.

    Args:
        kind: "crammer-singer" (the worst wrong class counts) or "weston-watkins" (all wrong classes do).

    Raises:
        ProblemError: ``kind`` is another value.
    """

    name: ClassVar[str] = "multiclass-hinge"
    shift_invariant: ClassVar[bool] = True
    differentiable: ClassVar[bool] = False

    kind: str = _JOINT

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in (_JOINT, _PAIRWISE):
            raise ProblemError(
                f"kind is {shown(self.kind)}.",
                expected=f'"{_JOINT}" or "{_PAIRWISE}"',
                fix="check the spelling.",
            )

    def validate(self, num_classes: int) -> None:
        """Every number of classes is fine."""

    def parameters(self) -> dict[str, Any]:
        """The kind, unless it is the default."""
        return {} if self.kind == _JOINT else {"kind": self.kind}

    @property
    def joint(self) -> bool:
        """Whether the kind is Crammer–Singer."""
        return self.kind == _JOINT

    # -- reduced columns ------------------------------------------------------------------------------------

    def grouped_values(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """The hinges of the violations 1 + z_j − z_k, their maximum or sum."""
        hinges = np.maximum(_violations(own, others, multiplicities), 0.0)
        values: FloatArray = hinges.max(axis=0) if self.joint else (multiplicities * hinges).sum(axis=0)
        return values

    def grouped_residuals(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """A subgradient: the hinges that count, with equal shares where the maximum is attained several times."""
        violations = _violations(own, others, multiplicities)
        counted = violations > 0.0
        if not self.joint:
            return _closed(counted.astype(np.float64), multiplicities)
        counted &= violations == violations.max(axis=0)
        return _closed(counted / np.maximum((multiplicities * counted).sum(axis=0), 1.0), multiplicities)

    def grouped_nearest(
        self, residuals: tuple[FloatArray, FloatArray], own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The given residuals at the kinks, where they are free to choose; the gradient elsewhere."""
        violations = _violations(own, others, multiplicities)
        given = np.clip(residuals[1], 0.0, 1.0)
        if not self.joint:
            return _closed(np.where(np.abs(violations) <= _TIGHT, given, violations > 0.0), multiplicities)
        largest = violations.max(axis=0)
        tight = violations >= largest - _TIGHT
        chosen = np.where(tight, given, 0.0)
        mass, alternatives = (multiplicities * chosen).sum(axis=0), (multiplicities * tight).sum(axis=0)
        shares = np.where(mass > 0.0, chosen / np.where(mass > 0.0, mass, 1.0), tight / alternatives)
        wanted = np.where(np.abs(largest) <= _TIGHT, np.minimum(mass, 1.0), largest > 0.0)
        return _closed(shares * wanted, multiplicities)

    def grouped_conjugate(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """v_k, taken as minus the sum of the others; +inf outside the domain by more than rounding."""
        present, mass, load = self._loads(others, multiplicities)
        slack = 4.0 * np.finfo(float).eps * (1.0 + multiplicities.sum(axis=0))
        outside = (present.min(axis=0) < -slack) | (load.max(axis=0) > 1.0 + slack) | (np.abs(own + mass) > slack)
        return np.where(outside, np.inf, -mass)

    def grouped_into_domain(
        self, own: FloatArray, others: FloatArray, multiplicities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Clipped at zero, then at a mass or an entry of 1."""
        positive = np.clip(np.nan_to_num(others, nan=0.0, posinf=1.0, neginf=0.0), 0.0, None)
        _, _, load = self._loads(positive, multiplicities)
        return _closed(positive / np.maximum(load, 1.0), multiplicities)

    def grouped_violation(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> float:
        """Largest of: a negative entry, mass (or an entry) above 1, a column that does not sum to zero."""
        present, mass, load = self._loads(others, multiplicities)
        return float(max(0.0, -present.min(), load.max() - 1.0, np.abs(own + mass).max()))

    def grouped_limit(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """Where the mass or an entry reaches 1."""
        _, _, load = self._loads(others, multiplicities)
        return ray_limit(np.ones(load.shape), -load)

    def grouped_ray_maximum(self, own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
        """−l* grows along every ray, so its end."""
        return self.grouped_limit(own, others, multiplicities)

    def grouped_expression(
        self, own: cp.Expression, others: cp.Expression, multiplicities: FloatArray
    ) -> cp.Expression:
        """The hinges; those of no class are put to 0 under the maximum."""
        import cvxpy as cp

        groups, columns = multiplicities.shape
        hinges = cp.pos(1.0 + others - np.ones((groups, 1)) @ cp.reshape(own, (1, columns), order="C"))
        if self.joint:
            return cp.max(cp.multiply(multiplicities > 0, hinges), axis=0)
        return cp.sum(cp.multiply(multiplicities, hinges), axis=0)

    def enclose_grouped_value(self, own: arb, others: Sequence[arb], multiplicities: Sequence[int]) -> arb:
        """The hinges in balls."""
        from flint import arb

        total = arb(0)
        for z, multiplicity in zip(others, multiplicities, strict=True):
            hinge = (1 + z - own).max(arb(0)) if multiplicity else arb(0)
            total = total.max(hinge) if self.joint else total + multiplicity * hinge
        return total

    def enclose_grouped_conjugate(self, own: fmpq, others: Sequence[fmpq], multiplicities: Sequence[int]) -> arb:
        """v_k, after an exact test of the domain."""
        from flint import arb, fmpq

        present = [(v, m) for v, m in zip(others, multiplicities, strict=True) if m]
        mass = sum((m * v for v, m in present), fmpq(0))
        load = mass if self.joint else max(v for v, _ in present)
        if min(v for v, _ in present) < 0 or load > 1 or own + mass != 0:
            raise ValueError("the column lies outside the domain")
        return arb(own)

    def _loads(self, others: FloatArray, multiplicities: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Entries that stand for classes, (G, m), their mass, (m,), and what may be at most 1, (1, m) or (G, m)."""
        present = np.where(multiplicities > 0, others, 0.0)
        mass: FloatArray = (multiplicities * present).sum(axis=0)
        return present, mass, mass[None, :] if self.joint else present

    # -- one number a class ---------------------------------------------------------------------------------

    def margin_values(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """max(0, 1 − m), K − 1 times for Weston–Watkins."""
        value: FloatArray = self._copies(num_classes) * np.maximum(1.0 - margins, 0.0)
        return value

    def margin_strengths(self, margins: FloatArray, num_classes: int) -> FloatArray:
        """K/(K−1) or K below margin 1, else 0; rounded down, so that it lies in the domain exactly."""
        numerator = self._copies(num_classes) * num_classes
        strength = numerator / (num_classes - 1)
        if Fraction(strength) * (num_classes - 1) > numerator:
            strength = math.nextafter(strength, 0.0)
        return np.where(margins < 1.0, strength, 0.0)

    def margin_conjugates(self, strengths: FloatArray, num_classes: int) -> FloatArray:
        """−q (K−1)/K."""
        mass = strengths * ((num_classes - 1) / num_classes)
        top = self._copies(num_classes) * (1.0 + 4.0 * np.finfo(float).eps)
        return np.where((mass >= 0.0) & (mass <= top), -mass, np.inf)

    def nearest_margin_strengths(self, strengths: FloatArray, margins: FloatArray, num_classes: int) -> FloatArray:
        """The given strengths at the kink, as far as it has them."""
        most = self.margin_strengths(np.zeros_like(margins), num_classes)
        at_kink = np.abs(margins - 1.0) <= _TIGHT
        return np.where(at_kink, np.clip(strengths, 0.0, most), self.margin_strengths(margins, num_classes))

    def enclose_margin_value(self, margin: arb, num_classes: int) -> arb:
        """max(0, 1 − m) in balls, K − 1 times for Weston–Watkins."""
        from flint import arb

        return self._copies(num_classes) * (1 - margin).max(arb(0))

    def enclose_margin_conjugate(self, strength: fmpq, num_classes: int) -> arb:
        """−q (K−1)/K, after an exact test of the domain."""
        from flint import arb

        mass = strength * (num_classes - 1) / num_classes
        if mass < 0 or mass > self._copies(num_classes):
            raise ValueError("the strength lies outside the domain")
        return arb(-mass)

    def _copies(self, num_classes: int) -> int:
        return 1 if self.joint else num_classes - 1


def _violations(own: FloatArray, others: FloatArray, multiplicities: FloatArray) -> FloatArray:
    """1 + z_j − z_k; −1 for what stands for no class."""
    return np.where(multiplicities > 0, 1.0 + others - own, -1.0)


def _closed(others: FloatArray, multiplicities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The column with these others, 0 where there is no class, whose own entry makes the sum zero."""
    present = np.where(multiplicities > 0, others, 0.0)
    return -(multiplicities * present).sum(axis=0), present

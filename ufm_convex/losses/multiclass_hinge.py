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

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.errors import ProblemError, shown
from ufm_convex.losses.base import MarginLoss, own_entries, ray_limit, with_own

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq

_JOINT, _PAIRWISE = "crammer-singer", "weston-watkins"
_TIGHT = 1e-3
"""Violations of so little count as 0, and so near to the largest as equal to it, where a residual is compared."""


@dataclass(frozen=True)
class MulticlassHinge(MarginLoss):
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

    def values(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """The hinges of the violations 1 + z_j − z_k, their maximum or sum."""
        hinges = np.maximum(_violations(logits, labels), 0.0)
        values: FloatArray = hinges.max(axis=0) if self.joint else hinges.sum(axis=0)
        return values

    def residuals(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """A subgradient: the hinges that count, with equal shares where the maximum is attained several times."""
        violations = _violations(logits, labels)
        counted = violations > 0.0
        if self.joint:
            counted &= violations == violations.max(axis=0)
            return _closed(counted / np.maximum(counted.sum(axis=0), 1), labels)
        return _closed(counted.astype(np.float64), labels)

    def nearest_residuals(self, residuals: FloatArray, logits: FloatArray, labels: IntArray) -> FloatArray:
        """The given residuals at the kinks, where they are free to choose; the gradient elsewhere."""
        violations = _violations(logits, labels)
        given = np.clip(with_own(residuals, labels, fill=0.0), 0.0, 1.0)
        if not self.joint:
            return _closed(np.where(np.abs(violations) <= _TIGHT, given, violations > 0.0), labels)
        largest = violations.max(axis=0)
        tight = violations >= largest - _TIGHT
        chosen = np.where(tight, given, 0.0)
        mass = chosen.sum(axis=0)
        shares = np.where(mass > 0.0, chosen / np.where(mass > 0.0, mass, 1.0), tight / tight.sum(axis=0))
        wanted = np.where(np.abs(largest) <= _TIGHT, np.minimum(mass, 1.0), largest > 0.0)
        return _closed(shares * wanted, labels)

    def conjugate(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """v_k, taken as minus the sum of the others; +inf outside the domain by more than rounding."""
        others = with_own(residuals, labels, fill=0.0)
        slack = 4.0 * np.finfo(float).eps * residuals.shape[0]
        mass = others.sum(axis=0)
        load = mass if self.joint else others.max(axis=0)
        outside = (others.min(axis=0) < -slack) | (load > 1.0 + slack) | (np.abs(residuals.sum(axis=0)) > slack)
        return np.where(outside, np.inf, -mass)

    def into_domain(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Clipped at zero, then at a mass or an entry of 1."""
        finite = np.nan_to_num(residuals, nan=0.0, posinf=1.0, neginf=0.0)
        others = np.clip(with_own(finite, labels, fill=0.0), 0.0, None)
        inside = others / np.maximum(others.sum(axis=0), 1.0) if self.joint else np.minimum(others, 1.0)
        return _closed(inside, labels)

    def domain_violation(self, residuals: FloatArray, labels: IntArray) -> float:
        """Largest of: a negative entry, mass (or an entry) above 1, a column that does not sum to zero."""
        others = with_own(residuals, labels, fill=0.0)
        load = others.sum(axis=0) if self.joint else others
        return float(max(0.0, -others.min(), load.max() - 1.0, np.abs(residuals.sum(axis=0)).max()))

    def domain_limit(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Where the mass or an entry reaches 1."""
        others = with_own(residuals, labels, fill=0.0)
        load = others.sum(axis=0, keepdims=True) if self.joint else others
        return ray_limit(np.ones(load.shape), -load)

    def ray_maximum(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """−l* grows along every ray, so its end."""
        return self.domain_limit(residuals, labels)

    def expression(self, logits: cp.Expression, labels: IntArray) -> cp.Expression:
        """The hinges; the own violation, which is 0, is put to 0 under the maximum."""
        import cvxpy as cp

        num_classes, columns = logits.shape
        mask = np.zeros((num_classes, columns))
        mask[labels, np.arange(columns)] = 1.0
        own = cp.reshape(cp.sum(cp.multiply(mask, logits), axis=0), (1, columns), order="C")
        hinges = cp.pos(logits - np.ones((num_classes, 1)) @ own + (1.0 - mask))
        return cp.max(hinges, axis=0) if self.joint else cp.sum(hinges, axis=0)

    def enclose_value(self, logits: Sequence[arb], label: int) -> arb:
        """The hinges in balls."""
        from flint import arb

        hinges = [(1 + z - logits[label]).max(arb(0)) for j, z in enumerate(logits) if j != label]
        if not self.joint:
            return sum(hinges, arb(0))
        largest = arb(0)
        for hinge in hinges:
            largest = largest.max(hinge)
        return largest

    def enclose_conjugate(self, residual: Sequence[fmpq], label: int) -> arb:
        """v_k, after an exact test of the domain."""
        from flint import arb, fmpq

        others = [v for j, v in enumerate(residual) if j != label]
        load = sum(others, fmpq(0)) if self.joint else max(others)
        if min(others) < 0 or load > 1 or sum(residual, fmpq(0)) != 0:
            raise ValueError(f"column {label} lies outside the domain")
        return arb(residual[label])

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


def _violations(logits: FloatArray, labels: IntArray) -> FloatArray:
    """1 + z_j − z_k; −1 for the own class."""
    return with_own(1.0 + logits - own_entries(logits, labels), labels, fill=-1.0)


def _closed(others: FloatArray, labels: IntArray) -> FloatArray:
    closed = with_own(others, labels, fill=0.0)
    closed[labels, np.arange(labels.size)] = -closed.sum(axis=0)
    return closed

"""The base of losses that are cross-entropy of transformed logits, which any file of this folder may subclass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._bits import ratio
from ufm_convex.losses.base import Loss, negative_entropy, own_entries, own_term, ray_limit, with_own

if TYPE_CHECKING:
    import cvxpy as cp
    from flint import arb, fmpq


class SoftmaxLoss(Loss):
    """Cross-entropy of transformed logits against any targets, one distribution a class.

        l_k(z)  = log Σ_j exp(x_j) − <y_k, x>,      x = a∘z + b,      a > 0,
        l_k*(v) = −Ent(p) − <p − y_k, b>,           v = a∘(p − y_k), p in the simplex (+∞ elsewhere).

    The entry of a target at its own class is 1 minus the others, exactly; in binary64 the sum is 1 up to rounding.
    """

    @abstractmethod
    def target_columns(self, num_classes: int) -> FloatArray:
        """Column k is y_k, (K, K)."""

    def scales(self, num_classes: int) -> FloatArray:
        """The factors a, shape (K,)."""
        return np.ones(num_classes)

    def shifts(self, num_classes: int) -> FloatArray:
        """The offsets b, shape (K,)."""
        return np.zeros(num_classes)

    def closing_weights(self, num_classes: int) -> FloatArray:
        """Σ_j v_j / a_j = 0, since p and the target sum to one."""
        return self.scales(num_classes)

    def values(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """Log Σ exp(x_j − x_y) − <y, x − x_y>: no cancellation when the loss is tiny."""
        K = logits.shape[0]
        x = self.scales(K)[:, None] * logits + self.shifts(K)[:, None]
        differences = x - own_entries(x, labels)
        others = with_own(differences, labels, fill=-np.inf)
        peak = np.maximum(others.max(axis=0), 0.0)
        rest = np.exp(others - peak).sum(axis=0)
        smooth = np.where(peak > 0.0, peak + np.log(np.exp(-peak) + rest), np.log1p(rest))
        linear: FloatArray = (self.target_columns(K)[:, labels] * differences).sum(axis=0)
        return smooth - linear

    def residuals(self, logits: FloatArray, labels: IntArray) -> FloatArray:
        """a∘(softmax(x) − y)."""
        K = logits.shape[0]
        x = self.scales(K)[:, None] * logits + self.shifts(K)[:, None]
        shares = np.exp(x - x.max(axis=0))
        return self._from_wrong(shares / shares.sum(axis=0), labels)

    def conjugate(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """−Ent(p) − <p − y, b>; +inf where p leaves the simplex by more than rounding."""
        K = residuals.shape[0]
        unscaled = residuals / self.scales(K)[:, None]
        wrong = with_own(unscaled + self.target_columns(K)[:, labels], labels, fill=0.0)
        mass = wrong.sum(axis=0)
        clipped = np.clip(wrong, 0.0, None)
        terms = (clipped * np.log(np.where(clipped > 0.0, clipped, 1.0))).sum(axis=0)
        slack = 4.0 * np.finfo(float).eps
        outside = (wrong.min(axis=0) < -slack) | (mass > 1.0 + slack * K)
        outside |= np.abs(unscaled.sum(axis=0)) > slack * K
        return np.where(outside, np.inf, terms + own_term(mass) - self.shifts(K) @ unscaled)

    def into_domain(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Clip p at zero and renormalise it where its wrong-class mass exceeds one."""
        K = residuals.shape[0]
        finite = np.nan_to_num(residuals / self.scales(K)[:, None], nan=0.0, posinf=1.0, neginf=-1.0)
        wrong = np.clip(with_own(finite + self.target_columns(K)[:, labels], labels, fill=0.0), 0.0, None)
        return self._from_wrong(wrong / np.maximum(wrong.sum(axis=0), 1.0), labels)

    def domain_violation(self, residuals: FloatArray, labels: IntArray) -> float:
        """Largest of: a negative probability, a column of p that does not sum to one."""
        K = residuals.shape[0]
        p = residuals / self.scales(K)[:, None] + self.target_columns(K)[:, labels]
        return float(max(0.0, -p.min(), np.abs(p.sum(axis=0) - 1.0).max()))

    def domain_limit(self, residuals: FloatArray, labels: IntArray) -> FloatArray:
        """Largest s that keeps y + s v/a in the simplex."""
        K = residuals.shape[0]
        return ray_limit(self.target_columns(K)[:, labels], residuals / self.scales(K)[:, None])

    def expression(self, logits: cp.Expression, labels: IntArray) -> cp.Expression:
        """log-sum-exp of each transformed column minus its inner product with the target."""
        import cvxpy as cp

        K, columns = logits.shape
        every = np.ones((1, columns))
        x = cp.multiply(self.scales(K)[:, None] @ every, logits) + self.shifts(K)[:, None] @ every
        return cp.log_sum_exp(x, axis=0) - cp.sum(cp.multiply(self.target_columns(K)[:, labels], x), axis=0)

    def enclose_value(self, logits: Sequence[arb], label: int) -> arb:
        """log(1 + Σ_{j≠k} e^{x_j − x_k}) − Σ_{j≠k} y_j (x_j − x_k) in balls."""
        from flint import arb

        K = len(logits)
        pairs = zip(self.scales(K).tolist(), logits, self.shifts(K).tolist(), strict=True)
        x = [arb(a) * z + arb(b) for a, z, b in pairs]
        target = self.target_columns(K)[:, label].tolist()
        others = [(arb(y), entry - x[label]) for j, (y, entry) in enumerate(zip(target, x, strict=True)) if j != label]
        rest = sum((d.exp() for _, d in others), arb(0))
        return rest.log1p() - sum((y * d for y, d in others), arb(0))

    def enclose_conjugate(self, residual: Sequence[fmpq], label: int) -> arb:
        """−Ent(p) − <p − y, b> in balls, after an exact test that p lies in the simplex."""
        from flint import arb, fmpq

        K = len(residual)
        scales, shifts, target = self.scales(K), self.shifts(K), self.target_columns(K)[:, label]
        unscaled = [v / fmpq(*ratio(a)) for v, a in zip(residual, scales, strict=True)]
        exact = [fmpq(*ratio(y)) for y in target]
        exact[label] = 1 - (sum(exact, fmpq(0)) - exact[label])
        p = [w + y for w, y in zip(unscaled, exact, strict=True)]
        if min(p) < 0 or sum(unscaled, fmpq(0)) != 0:
            raise ValueError(f"column {label} lies outside the simplex")
        linear = sum((arb(w) * arb(float(b)) for w, b in zip(unscaled, shifts, strict=True)), arb(0))
        return sum(map(negative_entropy, p), arb(0)) - linear

    def _from_wrong(self, probabilities: FloatArray, labels: IntArray) -> FloatArray:
        """a∘(p − y) from the wrong-class entries of p; the own entry closes the column."""
        K = probabilities.shape[0]
        unscaled = with_own(probabilities - self.target_columns(K)[:, labels], labels, fill=0.0)
        unscaled[labels, np.arange(labels.size)] = -unscaled.sum(axis=0)
        return unscaled * self.scales(K)[:, None]

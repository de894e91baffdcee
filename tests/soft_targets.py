"""A loss for tests and benchmarks: cross-entropy against fixed soft targets, any point of the simplex a class.

    l_k(z) = log Σ_j exp(z_j) − <y_k, z>,      l_k*(v) = −Ent(v + y_k)

It has no closed form and depends on more than margins, so nothing but the general machinery can solve it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ufm_convex.losses import Loss


@dataclass(frozen=True)
class SoftTargetCrossEntropy(Loss):
    """Cross-entropy with column k of ``targets`` as the target of class k; targets[j][k] > 0 need not be equal."""

    name: ClassVar[str] = "soft-target"
    shift_invariant: ClassVar[bool] = True

    targets: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, targets):
        """From an array (K, K) whose columns are normalised here."""
        array = np.asarray(targets, dtype=float)
        return cls(tuple(map(tuple, (array / array.sum(axis=0)).tolist())))

    @classmethod
    def random(cls, num_classes, mass, seed=0, concentration=1.0):
        """Own class 1 − mass; the rest spread at random, unevenly: concentration → 0 is more uneven."""
        rng = np.random.default_rng(seed)
        wrong = rng.gamma(concentration, size=(num_classes, num_classes)) + 1e-3
        np.fill_diagonal(wrong, 0.0)
        targets = mass * wrong / wrong.sum(axis=0)
        np.fill_diagonal(targets, 1.0 - mass)
        return cls.of(targets)

    @cached_property
    def array(self):
        return np.array(self.targets)

    def validate(self, num_classes: int) -> None:
        if len(self.targets) != num_classes:
            raise ValueError("targets")

    def parameters(self) -> dict[str, Any]:
        return {"targets": [list(row) for row in self.targets]}

    def values(self, logits, labels):
        target = self.array[:, labels]
        centred = logits - (target * logits).sum(axis=0)
        peak = centred.max(axis=0)
        return peak + np.log(np.exp(centred - peak).sum(axis=0))

    def residuals(self, logits, labels):
        p = np.exp(logits - logits.max(axis=0))
        return self._close(p / p.sum(axis=0) - self.array[:, labels], labels)

    def conjugate(self, residuals, labels):
        p = residuals + self.array[:, labels]
        inside = (p.min(axis=0) > -1e-15) & (np.abs(residuals.sum(axis=0)) < 1e-13)
        p = np.maximum(p, 0.0)
        return np.where(inside, (p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=0), np.inf)

    def into_domain(self, residuals, labels):
        p = np.maximum(np.nan_to_num(residuals) + self.array[:, labels], 0.0)
        total = p.sum(axis=0)
        p = np.where(total > 0.0, p / np.where(total > 0.0, total, 1.0), self.array[:, labels])
        return self._close(p - self.array[:, labels], labels)

    def domain_violation(self, residuals, labels):
        p = residuals + self.array[:, labels]
        return float(max(0.0, -p.min(), np.abs(p.sum(axis=0) - 1.0).max()))

    def domain_limit(self, residuals, labels):
        falling = residuals < 0.0
        ratios = np.where(falling, self.array[:, labels] / np.where(falling, -residuals, 1.0), np.inf)
        limit = ratios.min(axis=0)
        return np.where(np.isfinite(limit), np.maximum(limit, 1.0), 1.0)

    def expression(self, logits, labels):
        import cvxpy as cp

        return cp.log_sum_exp(logits, axis=0) - cp.sum(cp.multiply(self.array[:, labels], logits), axis=0)

    def enclose_value(self, logits, label):
        from flint import arb

        # the own target is 1 minus the others, exactly: the binary64 columns sum to 1 up to rounding only
        differences = [z - logits[label] for z in logits]
        target = self.array[:, label].tolist()
        others = sum(
            (arb(y) * d for j, (y, d) in enumerate(zip(target, differences, strict=True)) if j != label), arb(0)
        )
        return sum((d.exp() for d in differences), arb(0)).log() - others

    def enclose_conjugate(self, residual, label):
        from flint import arb, fmpq

        p = [v + fmpq(*y.as_integer_ratio()) for v, y in zip(residual, self.array[:, label].tolist(), strict=True)]
        p[label] += 1 - sum(p, fmpq(0))
        if min(p) < 0 or sum(residual, fmpq(0)) != 0:
            raise ValueError(f"column {label} lies outside the simplex")
        return sum((arb(x) * arb(x).log() for x in p if x), arb(0))

    @staticmethod
    def _close(residuals, labels):
        closed = residuals.copy()
        index = np.arange(labels.size)
        closed[labels, index] = 0.0
        closed[labels, index] = -closed.sum(axis=0)
        return closed

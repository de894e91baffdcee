"""Theorem 1 and its extension in 420 digits, written down another way than the package does.

The package works with margins and logarithms of 1 + x; here the optimal probabilities are formed, the value
is their entropy and the margin their log-odds. At decays of 1e-290, t is 1e-145 and 60 digits would round
1 − t to 1. Classes come as (count, multiplicity, weight), so K = 10⁶ costs a handful of terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp

DIGITS = 420


@dataclass(frozen=True)
class ReferenceClass:
    """One class of the optimum; every number is an mpf."""

    weight: Any  # ω n / N
    wrong_mass: Any
    margin: Any
    entropy: Any
    strength: Any  # √(λ_W λ_H n (K−1)/K), slope of the penalty in the margin


def reference_classes(
    groups: Sequence[tuple[int, int, float]], lambda_w: Any, lambda_h: Any, smoothing: float = 0.0
) -> list[ReferenceClass]:
    """The optimum for each (count, multiplicity, weight) in turn."""
    with mp.workdps(DIGITS):
        size = sum(multiplicity for _, multiplicity, _ in groups)
        samples = sum(count * multiplicity for count, multiplicity, _ in groups)
        decay, alpha = mp.mpf(lambda_w) * mp.mpf(lambda_h), mp.mpf(smoothing)
        classes = []
        for count, _, omega in groups:
            weight = mp.mpf(omega) * count / samples
            uniform_share = min(mp.mpf(1), alpha + mp.sqrt(decay * count * size / (size - 1)) / weight)
            other = uniform_share / size
            own = 1 - (size - 1) * other
            entropy = -own * mp.log(own) - (size - 1) * other * mp.log(other)
            strength = mp.sqrt(decay * count * (size - 1) / size)
            classes.append(ReferenceClass(weight, 1 - own, mp.log(own / other), entropy, strength))
        return classes


def reference_value(
    groups: Sequence[tuple[int, int, float]], lambda_w: Any, lambda_h: Any, smoothing: float = 0.0
) -> Any:
    """Σ ω_k n_k / N · Ent(p_k), an mpf."""
    with mp.workdps(DIGITS):
        classes = reference_classes(groups, lambda_w, lambda_h, smoothing)
        return mp.fsum(
            multiplicity * one.weight * one.entropy for (_, multiplicity, _), one in zip(groups, classes, strict=True)
        )


def margin_objective(one: ReferenceClass, margin: Any, size: int, smoothing: float) -> Any:
    """What one class adds to the objective at a given margin, on an orthogonal frame at its best scale.

    The loss of the logits M (e_k − 1/K) is log(1 + (K−1) e^{−M}) + α M (K−1)/K; the cheapest factors with
    these logits cost √(λ_W λ_H n (K−1)/K) M.
    """
    with mp.workdps(DIGITS):
        loss = mp.log1p((size - 1) * mp.exp(-margin)) + mp.mpf(smoothing) * margin * (size - 1) / size
        return one.weight * loss + one.strength * margin


def relative_error(value: float, expected: Any) -> float:
    """|value − expected| / expected, formed in full precision."""
    with mp.workdps(DIGITS):
        return float(abs(mp.mpf(value) - expected) / abs(expected)) if expected else abs(value)

"""Operator norms of averages and maxima over windows of positions, exactly.

A window is a range of positions in one dimension; in several dimensions windows are products of ranges, and so are the
norms. ‖A‖² = ‖AAᵀ‖ is at most the largest sum of a row of AAᵀ, whose entries are ≥ 0: 1/k for disjoint averages of k
positions. Maxima of windows have Σ max² ≤ (most windows that a position is in) · Σ t², and
the differences of two maxima likewise. Source: docs/training_bound.md, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

Ranges = list[range]
"""Windows in one dimension, as the positions that they hold; none outside the array."""


def sliding(size: int, count: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> Ranges:
    """The ``count`` windows of a pooling layer over ``size`` positions, without their padding."""
    windows = []
    for k in range(count):
        start = k * stride - padding
        held = [at for at in range(start, start + kernel * dilation, dilation) if 0 <= at < size]
        windows.append(range(held[0], held[-1] + 1, dilation) if held else range(0))
    return windows


def adaptive(size: int, count: int) -> Ranges:
    """The ``count`` windows of an adaptive pooling layer over ``size`` positions."""
    return [range(k * size // count, -(-(k + 1) * size // count)) for k in range(count)]


def whole(size: int) -> Ranges:
    """All positions in one window."""
    return [range(size)]


def coverage(windows: Ranges, size: int) -> int:
    """Most windows that one position is in."""
    return max(sum(at in window for window in windows) for at in range(size))


def average_square(windows: Ranges, divisors: Sequence[int] | None = None) -> Fraction:
    """Bound on ‖A‖² of the averages; each divides by its divisor, or by the number of its positions."""
    chosen = divisors or [max(len(window), 1) for window in windows]
    pairs = [(set(window), by) for window, by in zip(windows, chosen, strict=True)]
    return max(sum(Fraction(len(one & other), by * over) for other, over in pairs) for one, by in pairs) + Fraction(0)


def product(factors: Sequence[Fraction | int]) -> Fraction:
    """The product of the factors of each dimension."""
    total = Fraction(1)
    for factor in factors:
        total *= factor
    return total

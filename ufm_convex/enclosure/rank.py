"""A lower bound that knows the feature dimension: one-hot mean squared error, by singular values.

No dual point is behind it, for the relaxation cannot see d; it is a theorem evaluated in ball arithmetic, and the proof
says so by its name. With X = L Diag(√n), of rank ≤ d, κ = √(λ_W λ_H), targets M = Diag(√n), and the singular values s
of M in falling order,

    f ≥ ‖X − M‖² / (2N) + κ ‖X‖_* ≥ Σ_{i≤d} min_{σ≥0} [(σ − s_i)² / (2N) + κ σ] + Σ_{i>d} s_i² / (2N)
      = ‖M‖² / (2N) − Σ_{i≤d} (s_i − N κ)₊² / (2N).

The first step is Jensen's inequality and ‖W‖² λ_W + ‖H̄ Diag(√n)‖² λ_H ≥ 2 κ ‖X‖_*; the second is Mirsky's, that
singular values are nearer to each other than matrices (Mirsky, Quart. J. Math. 11, 1960; Eckart, Young 1936). Equality
holds at theory/mean_squared_error.py, so nothing is lost.

With a bias the best one takes the direction √n out of the columns: the same holds of X and M = Diag(√n)(I − √n √nᵀ/N),
for free features with equality (theory/mean_squared_error_bias.py), and a penalty of the bias only adds. Then
M Mᵀ = Diag(n) − n nᵀ/N has n_g as an eigenvalue, K_g − 1 times, and, besides 0, one between each two neighbouring
counts, where φ(μ) = 1 − Σ_g K_g n_g² / (N (n_g − μ)) falls through 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._bits import fraction
from ufm_convex.enclosure.exact import PRECISION, float_below, lower_end, rational
from ufm_convex.enclosure.proved import ProvedBound
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb

PROOF = "singular values"
_KINDS = 2_000
"""Largest number of different counts for which the eigenvalues with a bias are bounded."""
_ABOVE = 2.0**-44
"""How much above its value in floating point an eigenvalue is tried first; the next tries are 64 times as much."""


def rank_bound(problem: Problem) -> ProvedBound | None:
    """The bound, or None for another loss, for too many different counts, or where d is not given or not below K."""
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    d = problem.feature_dim
    if d is None or d >= problem.num_classes or not problem.loss.quadratic:
        return None
    counts = Counter(problem.class_counts.tolist())
    if problem.bias is not None and len(counts) > _KINDS:
        return None
    N, left = problem.num_samples, d
    squares = Fraction(N) if problem.bias is None else N - Fraction(sum(m * n * n for n, m in counts.items()), N)
    with working_precision(PRECISION):
        decays = fraction(problem.lambda_w) * fraction(problem.lambda_h)
        threshold = N * arb(rational(decays)).sqrt()
        saved = arb(0)
        for eigenvalue, times in _eigenvalues(counts, N, centred=problem.bias is not None):
            if left == 0 or eigenvalue <= N * N * decays:
                break
            excess = arb(rational(eigenvalue)).sqrt() - threshold
            saved += min(times, left) * excess * excess  # a power is NaN where its ball contains zero
            left -= min(times, left)
        total = (arb(rational(squares)) - saved) / (2 * N)
        return ProvedBound(float_below(total), PROOF, lower_end(total))


def _eigenvalues(counts: Counter[int], num_samples: int, *, centred: bool) -> Iterator[tuple[Fraction, int]]:
    """Numbers not below the eigenvalues of M Mᵀ in falling order, with multiplicities; exact ones without a bias."""
    sizes = sorted(counts)
    between = [] if not centred or len(sizes) == 1 else _roots(counts, sizes, num_samples)
    for place in range(len(sizes) - 1, -1, -1):
        yield Fraction(sizes[place]), counts[sizes[place]] - centred
        if centred and place:
            yield between[place - 1], 1


def _roots(counts: Counter[int], sizes: list[int], num_samples: int) -> list[Fraction]:
    """A number not below the root of φ between each two neighbouring counts, the larger count at worst."""
    n = np.array(sizes, dtype=np.float64)
    lengths = n * np.sqrt([counts[size] / num_samples for size in sizes])
    estimates = np.linalg.eigvalsh(np.diag(n) - np.outer(lengths, lengths))[1:]
    return [
        _above(counts, num_samples, float(estimate), low, high)
        for estimate, low, high in zip(estimates, sizes[:-1], sizes[1:], strict=True)
    ]


def _above(counts: Counter[int], num_samples: int, estimate: float, low: int, high: int) -> Fraction:
    step = _ABOVE
    while step < 1.0:
        trial = Fraction(estimate) * (1 + Fraction(step))
        if low < trial < high and _secular(counts, num_samples, trial) < 0:
            return trial
        step *= 64.0
    return Fraction(high)


def _secular(counts: Counter[int], num_samples: int, point: Fraction) -> arb:
    """φ at a point that is no count."""
    from flint import arb

    terms = (arb(m * n * n) / (num_samples * (n - arb(rational(point)))) for n, m in counts.items())
    return 1 - sum(terms, arb(0))

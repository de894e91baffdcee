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
    from flint import arb, arb_mat

PROOF = "singular values"
_KINDS = 2_000
"""Largest number of different counts for which the eigenvalues with a bias are bounded."""
_LARGEST_TABLE = 200
"""Largest min(V, m) of a table whose eigenvalues are bounded: a few seconds."""
_ABOVE = 2.0**-44
"""How much above its value in floating point an eigenvalue is tried first; the next tries are 64 times as much."""


def rank_bound(problem: Problem) -> ProvedBound | None:
    """The bound, or None for another loss, for too many different counts, or where d is not given or not below K.

    With a table of targets M = Y Diag(√n) is as general as it is, and d not binding from min(V, m) on.
    """
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    d = problem.feature_dim
    least = min(problem.num_classes, problem.num_outputs)
    if d is None or d >= least or not problem.loss.quadratic:
        return None
    if problem.tabled:
        return _table_bound(problem, d) if least <= _LARGEST_TABLE else None
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


def _table_bound(problem: Problem, d: int) -> ProvedBound:
    """The bound for a table, from numbers not below the eigenvalues of S = M Mᵀ or Mᵀ M, whichever is smaller.

    With Q, Λ near an eigendecomposition, S = Q Λ Qᵀ + E: by Weyl and Ostrowski λ_i(S) ≤ (1 + ‖QᵀQ − I‖) Λ_i⁺ + ‖E‖. A
    penalised bias is bounded as a free one, whose penalty is left out.
    """
    from flint import arb, arb_mat

    from ufm_convex.verifier.precision import working_precision

    table, N = problem.loss.table, problem.num_samples
    if table is None:
        raise TypeError("the loss has no table")
    counts = problem.class_counts.tolist()
    with working_precision(PRECISION):
        roots = [arb(count).sqrt() for count in counts]
        rows = [[arb(rational(y)) * root for y in table.exact_row(k)] for k, root in enumerate(roots)]
        if problem.bias is not None:
            means = [sum((row[v] * root for row, root in zip(rows, roots, strict=True)), arb(0)) / N for v in
                     range(problem.num_outputs)]  # fmt: skip
            rows = [[y - root * mean for y, mean in zip(row, means, strict=True)] for row, root in
                    zip(rows, roots, strict=True)]  # fmt: skip
        M = arb_mat(rows)
        S = M.transpose() * M if problem.num_outputs <= len(rows) else M * M.transpose()
        near = np.array([[float(S[i, j]) for j in range(S.ncols())] for i in range(S.nrows())])
        values, vectors = np.linalg.eigh(near)
        values, Q = np.maximum(values[::-1], 0.0), arb_mat(vectors[:, ::-1].tolist())
        scaled = arb_mat((vectors[:, ::-1] * 1.0).tolist())
        for j, value in enumerate(values.tolist()):
            for i in range(S.nrows()):
                scaled[i, j] = Q[i, j] * arb(value)
        rest = _frobenius(S - scaled * Q.transpose())
        defect = _frobenius(Q.transpose() * Q - _identity(S.nrows()))
        threshold = N * arb(rational(fraction(problem.lambda_w) * fraction(problem.lambda_h))).sqrt()
        saved = arb(0)
        for value in values[:d].tolist():
            excess = ((1 + defect) * arb(value) + rest).sqrt() - threshold
            saved += excess.max(arb(0)) * excess.max(arb(0))
        squares = sum((S[i, i] for i in range(S.nrows())), arb(0))
        total = (squares - saved) / (2 * N)
        return ProvedBound(float_below(total), PROOF, lower_end(total))


def _frobenius(matrix: arb_mat) -> arb:
    from flint import arb

    return sum((entry * entry for entry in matrix.entries()), arb(0)).sqrt()


def _identity(size: int) -> arb_mat:
    from flint import arb_mat

    return arb_mat([[int(i == j) for j in range(size)] for i in range(size)])


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

"""Slack proofs: that a rounded dual point is feasible, shown in exact integer arithmetic.

A dual point is rounded to integers over 2^b: off-diagonal residuals v_jk first, then v_kk = −Σ_j v_jk, so columns sum
to zero exactly. With pt_k = ω_k n_k / N the congruent slack

    M = Diag^{-1}(pt) R Diag^{-1}(pt) = Diag(λ_W λ_H N² / (ω_k² n_k)) − VᵀV − T̂,      T̂_kl = T_kl / (pt_k pt_l) ≥ 0,

is an integer matrix over 2^{2b} once its diagonal is rounded down (docs/duality.md, section 6). Two proofs of M ⪰ 0:

    diagonal   all off-diagonal entries of VᵀV are ≤ 0, T̂ cancels them, and each diagonal entry is ≥ 0;
    dense      a binary64 Cholesky factor C of a slightly smaller matrix, rounded to integers, leaves M − C Cᵀ
               diagonally dominant. The margin is bought by scaling V by s and T by s², s² = 1 − margin: if R ⪰ 0 then
               the new slack is at least (1 − s²) D.

Nothing here trusts an eigenvalue or a Cholesky factorisation; they only suggest what is then checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.points import DualPoint
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import fmpz_mat

_BITS = 72
"""Bits kept of the largest off-diagonal residual: rounding then costs less than 1e-15 of the bound."""
_FACTOR_BITS = 52
_TINY_MARGIN = 2.0**-46
"""Bought before the diagonal proof: more than the rounding errors of the repair, far less than any tolerance."""
_LARGEST_MARGIN = 0.1
_MARGIN_STEP = 16.0


@dataclass(frozen=True, eq=False)
class ExactDual:
    """A feasible dual point in exact numbers.

    Attributes:
        residuals: Columns of integers; v_jk = residuals[k][j] / 2^bits.
        bits: b.
        proof: "diagonal" or "dense".
        margin: 1 − s², the share of D that was given up for the proof.
    """

    residuals: list[list[int]]
    bits: int
    proof: str
    margin: float


def prove(problem: Problem, dual: DualPoint) -> ExactDual | None:
    """The dual point near ``dual`` that is feasible by an exact proof; None when no margin up to 0.1 suffices.

    Args:
        problem: The problem.
        dual: A class-level point that is feasible up to rounding, V and T of shape (K, K).
    """
    if problem.nonnegative:
        residuals, bits = _round_residuals(dual.residuals * np.sqrt(1.0 - _TINY_MARGIN))
        if _diagonal_proof(problem, residuals, bits):
            return ExactDual(residuals, bits, "diagonal", _TINY_MARGIN)
    K = problem.num_classes
    margin = 64.0 * K**1.5 * 2.0**-53
    while margin <= _LARGEST_MARGIN:
        residuals, bits = _round_residuals(dual.residuals * np.sqrt(1.0 - margin))
        T = dual.nonnegativity * (1.0 - margin) if problem.nonnegative else np.zeros((K, K))
        if _dense_proof(problem, residuals, bits, T, margin):
            return ExactDual(residuals, bits, "dense", margin)
        margin *= _MARGIN_STEP
    return None


def _round_residuals(residuals: FloatArray) -> tuple[list[list[int]], int]:
    """Columns of integers over 2^b, each summing to zero exactly, and b."""
    off_diagonal = residuals.copy()
    np.fill_diagonal(off_diagonal, 0.0)
    largest = float(np.abs(off_diagonal).max())
    bits = _BITS - (int(np.frexp(largest)[1]) if largest > 0.0 else 0)
    # upwards: with the shrinking before it, this keeps p_jk = v_jk + y_jk >= 0 for smoothed targets as well
    columns = [[int(entry) for entry in column] for column in np.ceil(np.ldexp(off_diagonal, bits)).T.tolist()]
    for k, column in enumerate(columns):
        column[k] = -sum(column)
    return columns, bits


def _radii(problem: Problem, bits: int) -> list[int]:
    """⌊2^{2b} λ_W λ_H N² / (ω_k² n_k)⌋: the diagonal of the congruent D, rounded down."""
    product = Fraction(problem.lambda_w) * Fraction(problem.lambda_h) * problem.num_samples**2 * (1 << (2 * bits))
    weights = problem.loss.weights(problem.num_classes).tolist()
    counts = problem.class_counts.tolist()
    return [int(product / (Fraction(w) ** 2 * n)) for w, n in zip(weights, counts, strict=True)]


def _residual_gram(residuals: list[list[int]]) -> fmpz_mat:
    """VᵀV over 2^{2b}."""
    from flint import fmpz_mat

    rows = fmpz_mat(residuals)  # row k is column k of V
    return rows * rows.transpose()


def _diagonal_proof(problem: Problem, residuals: list[list[int]], bits: int) -> bool:
    gram = _residual_gram(residuals).tolist()
    radii = _radii(problem, bits)
    for k, row in enumerate(gram):
        if row[k] > radii[k] or any(entry > 0 for j, entry in enumerate(row) if j != k):
            return False
    return True


def _dense_proof(
    problem: Problem, residuals: list[list[int]], bits: int, nonnegativity: FloatArray, margin: float
) -> bool:
    slack = _congruent_slack(problem, residuals, bits, nonnegativity)
    diagonal = [int(slack[k, k]) for k in range(problem.num_classes)]
    if min(diagonal) <= 0:
        return False
    largest = max(value.bit_length() for value in diagonal)
    largest += largest % 2  # even, so that a square root has a whole exponent
    shifts = [(largest - value.bit_length()) // 2 for value in diagonal]
    factor = _cholesky(slack, shifts, largest, margin)
    return factor is not None and _dominates(slack, shifts, factor, largest)


def _congruent_slack(problem: Problem, residuals: list[list[int]], bits: int, nonnegativity: FloatArray) -> fmpz_mat:
    """M over 2^{2b} as integers: diagonal rounded down, T̂ rounded towards zero and so still ≥ 0."""
    from flint import fmpz_mat

    K = problem.num_classes
    multiplier = np.maximum(nonnegativity, 0.0) / np.outer(problem.loss_weights, problem.loss_weights)
    multiplier = np.triu(multiplier, 1)
    T = [[int(entry) << bits for entry in row] for row in np.ldexp(multiplier, bits).tolist()]
    upper = fmpz_mat(T)
    radii = _radii(problem, bits)
    D = fmpz_mat(K, K)
    for k in range(K):
        D[k, k] = radii[k]
    return D - _residual_gram(residuals) - upper - upper.transpose()


def _cholesky(slack: fmpz_mat, shifts: list[int], largest: int, margin: float) -> fmpz_mat | None:
    """An integer matrix near 2^52 times a Cholesky factor of the normalised slack minus margin/16, or None."""
    from flint import fmpz_mat

    normalised = np.array(
        [
            [float(Fraction(int(entry), 1 << (largest - shifts[k] - shifts[j]))) for j, entry in enumerate(row)]
            for k, row in enumerate(slack.tolist())
        ]
    )
    try:
        factor = np.linalg.cholesky(normalised - margin / 16.0 * np.eye(len(shifts)))
    except np.linalg.LinAlgError:
        return None
    integers = np.rint(np.ldexp(factor, _FACTOR_BITS)).tolist()
    return fmpz_mat([[int(entry) for entry in row] for row in integers])


def _dominates(slack: fmpz_mat, shifts: list[int], factor: fmpz_mat, largest: int) -> bool:
    """Whether 2^{shift_k + shift_j} slack_kj − C Cᵀ 2^{largest − 104} is diagonally dominant; all in integers."""
    product: Any = (factor * factor.transpose()).tolist()
    surplus = largest - 2 * _FACTOR_BITS
    # bring both sides to a common power of two whatever the sign of the surplus
    left_shift, right_shift = max(0, -surplus), max(0, surplus)
    for k, row in enumerate(slack.tolist()):
        remainder = [
            (int(entry) << (shifts[k] + shifts[j] + left_shift)) - (int(product[k][j]) << right_shift)
            for j, entry in enumerate(row)
        ]
        if remainder[k] < sum(abs(entry) for j, entry in enumerate(remainder) if j != k):
            return False
    return True

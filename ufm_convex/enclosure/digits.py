"""The theorem's two points at any precision: exact numbers as near to the optimum as is asked for.

    q_k = min( √(λ_W λ_H n_k K/(K−1)) / pt_k, 1 − α ),      M_k = log(1 + K (1/(q_k + α) − 1)),
    η_k = √(M_k / (c √n_k)),   ω_k = √(M_k c √n_k),   c = √(K λ_H / ((K−1) λ_W)),

in balls (docs/theorem.md, section 2; docs/theorem_extensions.md, section 6). The points are then rounded, q downwards,
and bound the optimum by themselves: an error here would show as a gap, not as a wrong claim. The bounds lose the square
of the rounding of η, ω.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from ufm_convex import theory
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.enclosure.exact import ExactVector, rational
from ufm_convex.enclosure.lower import lower_bound
from ufm_convex.enclosure.proved import DiagonalDual, FrameWitness, ProvedBound
from ufm_convex.enclosure.upper import upper_bound
from ufm_convex.errors import HypothesisError, SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb, fmpq

DIGITS_LIMIT = 1000
CLASSES_LIMIT = 100_000
_GUARD = 64
_BITS_A_DIGIT = 3.3220


def claim_bits(digits: int) -> int:
    """Significant bits of bounds that agree to that many digits."""
    return int(digits * _BITS_A_DIGIT) + 12


def bounds_to_digits(problem: Problem, digits: int) -> tuple[ProvedBound, ProvedBound]:
    """Lower and upper bound of the optimum that agree to ``digits`` significant digits.

    Raises:
        HypothesisError: no theorem gives the optimum of this problem as an orthogonal frame.
        SizeError: more than 100,000 distinct classes, or more than 1000 digits.
    """
    from ufm_convex.verifier.precision import working_precision

    found = theory.optimum(problem)  # raises, naming the hypothesis that fails
    loss = theory.cross_entropy(
        problem, fix="leave out digits: no closed form in any number of digits is known for this loss."
    )
    if not isinstance(found, theory.FrameOptimum):
        raise HypothesisError(
            f"no closed form in any number of digits is known for {found.citation}.",
            expected="cross-entropy with non-negative features",
            fix="leave out digits.",
        )
    columns = ExactColumns.of_groups(problem)
    if not 1 <= digits <= DIGITS_LIMIT or columns.size > CLASSES_LIMIT:
        raise SizeError(
            f"{digits} digits were asked for, with {columns.size} distinct classes.",
            expected=f"1 to {DIGITS_LIMIT} digits, at most {CLASSES_LIMIT} distinct classes",
            fix="ask for less.",
        )
    precision = claim_bits(digits) + _GUARD
    with working_precision(precision + _GUARD):
        proof, witness = _points(columns, loss, precision)
    lower = lower_bound(problem, proof, precision=precision + _GUARD)
    return lower, upper_bound(problem, witness, precision=precision + _GUARD)


def _points(columns: ExactColumns, loss: CrossEntropy, bits: int) -> tuple[DiagonalDual, FrameWitness]:
    from flint import arb, fmpq

    K = columns.num_outputs
    smoothing = rational(loss.smoothing)
    product = rational(columns.lambda_w) * rational(columns.lambda_h) * fmpq(K, K - 1)
    root_c = (arb(fmpq(K, K - 1)) * arb(columns.lambda_h) / arb(columns.lambda_w)).root(4)
    strengths, etas, omegas = [], [], []
    for share, count in zip(columns.shares(), columns.counts.tolist(), strict=True):
        square = product * count / share**2  # of the strength at which ‖u_k‖ = σ_k
        if square >= (1 - smoothing) ** 2:
            strengths.append(_rounded_down(arb(1 - smoothing), bits))
            etas.append(fmpq(0))
            omegas.append(fmpq(0))
            continue
        strength = arb(square).sqrt()
        q = _rounded_down(strength, bits)
        while q * q > square:
            q -= fmpq(1, 1 << bits)
        ratio = strength + arb(smoothing)
        root_margin = (K * (1 - ratio) / ratio).log1p().sqrt()
        fourth = arb(count).root(4)
        strengths.append(q)
        etas.append(_rounded_down(root_margin / (root_c * fourth), bits))
        omegas.append(_rounded_down(root_margin * root_c * fourth, bits))
    places = list(range(columns.size))
    witness = FrameWitness(places, columns.multiplicities.tolist(), _vector(etas), _vector(omegas))
    return DiagonalDual(_vector(strengths)), witness


def _rounded_down(ball: arb, bits: int) -> fmpq:
    """A non-negative dyadic number not above the ball, with about ``bits`` significant bits."""
    from flint import fmpq

    mantissa, exponent = ball.lower().man_exp()
    surplus = int(mantissa).bit_length() - bits
    number = Fraction(int(mantissa) >> surplus if surplus > 0 else int(mantissa))
    number *= Fraction(2) ** (int(exponent) + max(surplus, 0))
    return fmpq(max(number, Fraction(0)).numerator, max(number, Fraction(0)).denominator)


def _vector(numbers: list[fmpq]) -> ExactVector:
    """Dyadic numbers with their common exponent."""
    shift = max(int(number.q).bit_length() - 1 for number in numbers)
    return ExactVector([int(number.p) << (shift - (int(number.q).bit_length() - 1)) for number in numbers], -shift)

"""The verdict on a Gram matrix: theorems first, then the nearest factor, then a witness.

Solvers return Gram matrices with errors, and products H Hᵀ are rounded, so the verdict allows a distance; with
tolerance 0 it is about the given binary64 numbers themselves. Nothing here rests on floating point: residual,
separation and copositivity are computed from integers, and rounded to the safe side.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, frozen, real
from ufm_convex.enclosure.exact import PRECISION, ExactVector, float_above, float_below, rational
from ufm_convex.errors import ProblemError, ShapeError, SizeError, shown
from ufm_convex.positivity import factorisation, theorems, witnesses
from ufm_convex.positivity.report import CompletePositivity, Positivity

_ASYMMETRY = 1e-8
_LARGEST = 400
_SMALLEST = 1e-100
_MARGINS = (1e-3, 1e-5, 1e-7)
"""Shares of the diagonal that are kept back for the remainder B − F Fᵀ."""
_INTERIOR = 64
_FEW = 2
"""Columns added in looking for such a factor: inside the cone the first descent finds one, as a rule."""
_ROUNDING, _ENOUGH = 1e-15, 1e-6
"""Relative distances at which descent stops: no tolerance asks for less, and no factor is right to the bit anyway."""


def complete_positivity(gram: Any, *, tolerance: float = 1e-6, factor: FloatArray | None = None) -> CompletePositivity:
    """Whether a matrix is completely positive, B = F Fᵀ with F ≥ 0: shown, refuted, or undecided.

    Args:
        gram: B, (K, K), real and symmetric up to 1e-8 of its largest entry; its symmetric part is judged.
        tolerance: Distance in the Frobenius norm, relative to ‖B‖, that is allowed, in [0, 1). With 0 the verdict is
            about exactly the given numbers, which for a rounded F Fᵀ is seldom what is wanted.
        factor: An F ≥ 0, (K, r), to begin with.

    Returns:
        The report. A verdict "not completely positive" is always of B itself, by a matrix C that is proved to be
        copositive and an exact product <C, B> < 0; for K > 12 such a C is looked for among patterns of signs only.

    Raises:
        ShapeError: not a square matrix, or a factor with another number of rows.
        ProblemError: an entry is no finite number, the matrix is not symmetric, the factor has a negative entry, or
            the tolerance is out of range.
    """
    B, start = _gram(gram), None
    if not 0.0 <= (number := real(tolerance)) < 1.0:
        raise ProblemError(f"tolerance is {shown(tolerance)}.", expected="a number in [0, 1)", fix="use 1e-6.")
    tolerance = number
    if factor is not None:
        start = _factor(factor, B.shape[0])
    F = factorisation.nearest(B, max(0.5 * tolerance, _ROUNDING) if tolerance else _ENOUGH, start)
    residual = distance(B, F)
    theorem = theorems.completely_positive(_rows(B))
    if theorem is None and residual <= max(tolerance, _ENOUGH):
        theorem = _interior(B)
    if theorem is None and residual > tolerance:
        return _separated(B, tolerance, F, residual)
    reason = theorem or f"a factor F >= 0 has F F^T within {residual:.1e} of its norm"
    return CompletePositivity(Positivity.COMPLETELY_POSITIVE, theorem is not None, reason, B, tolerance, F, residual)


def _separated(gram: FloatArray, tolerance: float, factor: FloatArray, residual: float) -> CompletePositivity:
    """The verdict on a matrix that has no factor within the tolerance, as far as was found."""
    witness = witnesses.separate(gram, factor)
    if witness is None:
        reason = f"the best factor found leaves {residual:.1e} of its norm, and no copositive matrix separates it"
        return CompletePositivity(Positivity.UNDECIDED, False, reason, gram, tolerance, factor, residual)
    separation = _separation(witness, gram)
    apart = separation > tolerance
    reason = f"a copositive matrix keeps it {separation:.1e} of its norm away"
    return CompletePositivity(
        Positivity.NOT_COMPLETELY_POSITIVE if apart else Positivity.UNDECIDED,
        apart,
        reason if apart else f"{reason}, and the best factor found leaves {residual:.1e}",
        gram,
        tolerance,
        factor,
        residual,
        witness.matrix,
        witness.proof,
        separation,
    )


def distance(gram: FloatArray, factor: FloatArray) -> float:
    """‖B − F Fᵀ‖ / ‖B‖ from exact integers, rounded upwards; ``ProblemError`` if F has a negative entry."""
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    F = _factor(factor, gram.shape[0])
    B, product = ExactVector.of_floats(gram.ravel()), _product(F)
    with working_precision(PRECISION):
        gap = arb(rational(sum(((b - p) ** 2 for b, p in zip(_fractions(B), product, strict=True)), Fraction(0))))
        norm = arb(rational(sum((b * b for b in _fractions(B)), Fraction(0))))
        return 0.0 if gap == 0 else float_above((gap / norm).sqrt())


def _interior(gram: FloatArray) -> str | None:
    """A factor F with a remainder B − F Fᵀ that is completely positive by a theorem, if B leaves room for one.

    The factor is that of B less a share of the diagonal and half as much, spread, of the positive entries; the
    remainder is then diagonally dominant as long as the factor's error is smaller than the share.
    """
    K, shortest = gram.shape[0], float(np.diag(gram).min())
    if K > _INTERIOR or shortest <= 0.0:
        return None
    positive = (gram > 0.0) & ~np.eye(K, dtype=bool)
    room = float(np.linalg.eigvalsh(gram)[0]) / shortest  # a factor of B less the share needs as much
    for share in (one for one in _MARGINS if one < room):
        kept = share * shortest * (np.eye(K) + positive / (2.0 * K))
        tried = factorisation.nearest(gram - kept, 1e-3 * share / K, rounds=_FEW)
        remainder = [
            b - p for b, p in zip(_fractions(ExactVector.of_floats(gram.ravel())), _product(tried), strict=True)
        ]
        scale = max(r.denominator for r in remainder)
        rows = [[int(r * scale) for r in remainder[K * k : K * (k + 1)]] for k in range(K)]
        if theorems.completely_positive(rows) is not None:
            return "a factor F >= 0 leaves B - F F^T diagonally dominant and non-negative"
    return None


def _separation(witness: witnesses.Witness, gram: FloatArray) -> float:
    """−<C, B> / (‖C‖ ‖B‖), rounded downwards: by Cauchy–Schwarz no matrix X with <C, X> ≥ 0 is nearer."""
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    with working_precision(PRECISION):
        norm = sum((b * b for b in _fractions(ExactVector.of_floats(gram.ravel()))), Fraction(0))
        return max(float_below(arb(rational(-witness.product)) / arb(rational(witness.square * norm)).sqrt()), 0.0)


def _product(factor: FloatArray) -> list[Fraction]:
    """The entries of F Fᵀ, exactly."""
    from flint import fmpz_mat

    exact, (K, r) = ExactVector.of_floats(factor.ravel()), factor.shape
    matrix = fmpz_mat([exact.integers[r * k : r * (k + 1)] for k in range(K)])
    unit = Fraction(4) ** exact.exponent
    return [int(entry) * unit for entry in (matrix * matrix.transpose()).entries()]


def _fractions(exact: ExactVector) -> list[Fraction]:
    unit = Fraction(2) ** exact.exponent
    return [integer * unit for integer in exact.integers]


def _rows(matrix: FloatArray) -> list[list[int]]:
    """The matrix in units of a power of two."""
    K = matrix.shape[0]
    integers = ExactVector.of_floats(matrix.ravel()).integers
    return [integers[K * k : K * (k + 1)] for k in range(K)]


# -- what is given ------------------------------------------------------------------------------------------------


def _gram(given: Any) -> FloatArray:
    """The symmetric part, or the error that says what is wrong with the matrix."""
    array = _numbers(given, "gram")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ShapeError(
            f"gram has shape {array.shape}.", expected="(K, K)", fix="pass the Gram matrix of features, H @ H.T."
        )
    if array.shape[0] > _LARGEST:
        raise SizeError(
            f"gram is of order {array.shape[0]}.",
            expected=f"at most {_LARGEST}",
            fix="judge the classes whose features are not orthogonal to all others.",
        )
    largest = float(np.abs(array).max())
    if largest and not _SMALLEST <= largest <= 1.0 / _SMALLEST:
        raise ProblemError(
            f"the largest entry of gram is {largest:.1e}.",
            expected=f"between {_SMALLEST} and {1.0 / _SMALLEST}",
            fix="divide the matrix by its largest entry; that changes no verdict.",
        )
    if float(np.abs(array - array.T).max()) > _ASYMMETRY * largest:
        raise ProblemError(
            f"gram differs from its transpose by {float(np.abs(array - array.T).max()):.1e}.",
            expected="a symmetric matrix",
            fix="pass the Gram matrix of features, H @ H.T.",
        )
    return frozen(0.5 * array + 0.5 * array.T)


def _factor(given: Any, num_classes: int) -> FloatArray:
    """The factor, or the error that says what is wrong with it."""
    array = _numbers(given, "factor")
    if array.ndim != 2 or array.shape[0] != num_classes or array.size == 0:
        raise ShapeError(
            f"factor has shape {array.shape}.",
            expected=f"({num_classes}, r), one row a class",
            fix="pass H, one row of features a class.",
        )
    if float(array.min()) < 0.0:
        raise ProblemError(
            f"factor has the entry {shown(float(array.min()))}.",
            expected="entries >= 0",
            fix="a factor with negative entries shows positive semidefiniteness, not complete positivity.",
        )
    return array


def _numbers(given: Any, name: str) -> FloatArray:
    return _given.numbers(
        name,
        given,
        ProblemError,
        expected="a matrix of finite real numbers",
        fix="pass an array of real numbers; where one is NaN or infinite there is nothing to judge.",
    )

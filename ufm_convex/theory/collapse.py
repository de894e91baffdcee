"""Which classes collapse, decided exactly, and how far the others are from it.

A class collapses when it has at most θ_k = n_c / (ω_k (1−α))² samples, n_c = N² λ_W λ_H K/(K−1); equations
(2) of docs/theorem.md and (21) of docs/theorem_extensions.md. Decays, weights and smoothing are binary64 numbers and
counts are integers, so n_k ≤ θ_k is a comparison of rational numbers; it is never left to rounding.

What the closed form needs is ρ_k = min(1, √(θ_k/n_k)), next to 1 as 1 − ρ_k and next to 0 as log ρ_k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import BoolArray, FloatArray, frozen
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy

if TYPE_CHECKING:
    from ufm_convex.problem import Problem

# Classes whose ρ lies within a factor exp(±1/64) of 1 are compared with the threshold in exact integers;
# outside that window log ρ, whose error is below 1e-12, has the right sign, and 1 − ρ loses at most six bits.
_NEAR = 1.0 / 64.0


@dataclass(frozen=True, eq=False)
class CollapseRatios:
    """How far each class is from its threshold, in the forms that lose no digits.

    Attributes:
        collapsed: n_k ≤ θ_k, decided exactly, shape (K,).
        rho: ρ_k = min(1, √(θ_k/n_k)), shape (K,).
        deficit: 1 − ρ_k, accurate relative to itself, shape (K,).
        log_rho: log ρ_k, which does not underflow, shape (K,).
    """

    collapsed: BoolArray
    rho: FloatArray
    deficit: FloatArray
    log_rho: FloatArray


def collapse_ratios(problem: Problem) -> CollapseRatios:
    """The ratios of every class; O(K), with integer arithmetic only for the classes next to the threshold.

    Raises:
        HypothesisError: the loss is not cross-entropy.
    """
    threshold = exact_threshold(problem)
    mantissa, exponent = _mantissa(threshold)
    n = problem.class_counts.astype(np.float64)
    omega, omega_exponent = np.frexp(problem.loss.weights(n.size))
    with np.errstate(divide="ignore"):  # a class without samples is infinitely far below its threshold
        root, shift = np.sqrt(mantissa / n) / omega, exponent - omega_exponent
    log_rho = np.log(root) + shift * math.log(2.0)
    collapsed = log_rho >= 0.0
    near = np.flatnonzero(np.abs(log_rho) < _NEAR)
    excess = _exact_excess(problem, near, threshold)
    collapsed[near] = excess <= 0.0
    rho = np.where(collapsed, 1.0, np.ldexp(root, np.where(collapsed, 0, shift)))
    deficit = 1.0 - rho
    # (1 − ρ²)/(1 + ρ), the numerator rounded once: margins keep their digits next to the threshold
    deficit[near] = np.maximum(excess, 0.0) / (1.0 + rho[near])
    return CollapseRatios(collapsed, rho, deficit, np.where(collapsed, 0.0, log_rho))


def exact_threshold(problem: Problem) -> Fraction:
    """θ for a class of weight 1, N² λ_W λ_H K / ((K−1)(1−α)²), from the exact binary64 parameters.

    It is that of logits W h: a bias is not looked at, and one that is not idle moves the threshold.

    Raises:
        HypothesisError: the loss is not cross-entropy, or norm bounds stand in place of the decays.
    """
    problem.require_decays("a threshold of the class counts")
    K = problem.num_classes
    decay = Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
    fidelity = 1 - Fraction(cross_entropy(problem).smoothing)
    return problem.num_samples**2 * decay * Fraction(K, K - 1) / fidelity**2


def rounded_threshold(problem: Problem) -> float | FloatArray:
    """θ in binary64: one number, or with class weights one a class, shape (K,); +inf where it is too large.

    Raises:
        HypothesisError: the loss is not cross-entropy.
    """
    mantissa, exponent = _mantissa(exact_threshold(problem))
    omega, omega_exponent = np.frexp(problem.loss.weights(problem.num_classes))
    with np.errstate(over="ignore"):
        thresholds = np.ldexp(mantissa / omega**2, 2 * (exponent - omega_exponent))
    return float(thresholds[0]) if cross_entropy(problem).class_weights is None else frozen(thresholds)


_LOOK = "call ufm_convex.theory.optimum, which looks for a theorem that fits the problem."


def cross_entropy(problem: Problem, fix: str = _LOOK) -> CrossEntropy:
    """The problem's loss, which must be ``CrossEntropy`` itself: a subclass may mean another function.

    Args:
        problem: The problem.
        fix: What to do if it is not.

    Raises:
        HypothesisError: it is not.
    """
    if type(problem.loss) is CrossEntropy:
        return problem.loss
    raise HypothesisError(
        f"the loss is {problem.loss.name!r}.",
        expected="cross-entropy",
        fix=fix,
    )


def _mantissa(number: Fraction) -> tuple[float, int]:
    """(m, e) with number = m · 4^e and m between 1/4 and 4, m rounded once."""
    exponent = (number.numerator.bit_length() - number.denominator.bit_length()) // 2
    return float(number / Fraction(4) ** exponent), exponent


def _exact_excess(problem: Problem, classes: npt.NDArray[np.intp], threshold: Fraction) -> FloatArray:
    """1 − θ_k/n_k of the given classes, each distinct pair (n_k, ω_k) once."""
    numbers = problem.class_counts[classes].tolist()
    weights = problem.loss.weights(problem.num_classes)[classes].tolist()
    pairs = list(zip(numbers, weights, strict=True))
    table = {pair: _excess(*pair, threshold) for pair in set(pairs)}
    return np.array([table[pair] for pair in pairs], dtype=np.float64)


def _excess(number: int, weight: float, threshold: Fraction) -> float:
    """1 − θ/(ω² n): computed in integers and rounded once; its sign is exact."""
    numerator, denominator = weight.as_integer_ratio()
    whole = number * numerator**2 * threshold.denominator
    part = whole - threshold.numerator * denominator**2
    quotient = part / whole
    # a difference too small for binary64 must not turn into "on the boundary"
    return math.copysign(math.ulp(0.0), part) if part and not quotient else quotient

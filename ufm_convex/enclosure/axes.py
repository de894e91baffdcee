"""Both bounds of squared error on the coordinate axes, O(K) and exact but for the last rounding.

With w_k = ω_k e_k, h_k = η_k e_k and v_k = −q_k e_k, in the notation of docs/closed_forms.md,

    f(W, H) = Σ (n_k / 2N) (1 − η_k ω_k)² + λ_W/2 Σ ω_k² + λ_H/2 Σ n_k η_k²,
    optimum ≥ Σ (n_k / N) (q_k − q_k²/2)      if n_k q_k² ≤ N² λ_W λ_H for each k,

since l_k*(v_k) = q_k²/2 − q_k and G = UᵀU is diagonal: the slack D − G is, too, and has to be ≥ 0. Integers throughout.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import fraction, order
from ufm_convex.enclosure.exact import PRECISION, ExactVector, float_above, float_below, lower_end, rational, upper_end
from ufm_convex.enclosure.proved import ProvedBound
from ufm_convex.errors import HypothesisError
from ufm_convex.problem import Problem
from ufm_convex.relaxation import AxesDual, AxesPoint


def axes_lower(problem: Problem, dual: AxesDual) -> ProvedBound:
    """The dual value at strengths that are lowered until they are feasible; its exact point is that of ``dense``.

    Raises:
        HypothesisError: the loss is not squared error, or there is a bias.
    """
    _require(problem)
    q = ExactVector.of_floats(_feasible(problem, dual.strengths))
    one, counts = Fraction(2) ** -q.exponent, problem.class_counts.tolist()
    total = sum((n * x * (2 * one - x) for n, x in zip(counts, q.integers, strict=True)), Fraction(0))
    return _bound(total / (2 * problem.num_samples * one * one), "diagonal", below=True)


def axes_upper(problem: Problem, point: AxesPoint, *, penalties: bool = True) -> ProvedBound:
    """The objective, or the loss alone; +∞ where the point is not admissible.

    Raises:
        HypothesisError: the loss is not squared error, or there is a bias.
    """
    _require(problem)
    finite = bool(np.isfinite(point.eta).all() and np.isfinite(point.omega).all())
    if not finite or int(order(point.eta).min()) < 0 or point.used.size > (problem.feature_dim or math.inf):
        return ProvedBound(math.inf, "frame")
    eta, omega = ExactVector.of_floats(point.eta), ExactVector.of_floats(point.omega)
    one, counts = Fraction(2) ** -(eta.exponent + omega.exponent), problem.class_counts.tolist()
    pairs = list(zip(counts, eta.integers, omega.integers, strict=True))
    total = sum((n * (one - x * y) ** 2 for n, x, y in pairs), Fraction(0)) / (problem.num_samples * one * one)
    if penalties:
        total += fraction(problem.lambda_w) * sum(y * y for _, _, y in pairs) * Fraction(4) ** omega.exponent
        total += fraction(problem.lambda_h) * sum(n * x * x for n, x, _ in pairs) * Fraction(4) ** eta.exponent
    return _bound(total / 2, "frame", below=False)


def _require(problem: Problem) -> None:
    """Raise ``HypothesisError`` for a loss or a bias of which the formulas above say nothing."""
    if not problem.loss.quadratic or problem.tabled or problem.bias is not None:
        tabled = " with a table of targets" if problem.tabled else ""
        raise HypothesisError(
            f"points on the axes were given for loss {problem.loss.name!r}{tabled} and bias {problem.bias!r}.",
            expected="mean squared error of classes, without bias",
            fix="use the dense points, GramPoint and DualPoint.",
        )


def _feasible(problem: Problem, strengths: FloatArray) -> FloatArray:
    """Each q lowered until n q² ≤ N² λ_W λ_H holds exactly."""
    limit = fraction(problem.lambda_w) * fraction(problem.lambda_h) * problem.num_samples**2
    counts = problem.class_counts
    decays = math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h)
    radii = problem.num_samples * decays / np.sqrt(np.maximum(counts, 1))
    # beyond 1 the dual value falls; right to a few units in the last place, which the loop takes off
    lowered = np.clip(np.nan_to_num(strengths), 0.0, np.minimum(radii, 1.0))
    doubtful = np.flatnonzero(counts)
    while doubtful.size:
        exact = ExactVector.of_floats(lowered[doubtful])
        most = math.floor(limit / Fraction(4) ** exact.exponent)
        pairs = zip(doubtful.tolist(), exact.integers, counts[doubtful].tolist(), strict=True)
        doubtful = np.array([k for k, x, n in pairs if n * x * x > most], dtype=np.int64)
        lowered[doubtful] = np.nextafter(lowered[doubtful], 0.0)
    return lowered


def _bound(exact: Fraction, proof: str, *, below: bool) -> ProvedBound:
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    with working_precision(PRECISION):
        ball = arb(rational(exact))
        if below:
            return ProvedBound(float_below(ball), proof, lower_end(ball))
        return ProvedBound(float_above(ball), proof, upper_end(ball))

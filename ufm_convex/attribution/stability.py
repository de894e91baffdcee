"""What a small gap implies: each part of the gap is at most the gap, which bounds a distance to the optimum's geometry.

With gap = f(W, H) − f* (docs/dead_classes.md; g_k and W° as in ``attribution.parts``):

    Σ_i ‖h_i − h̄_{y_i}‖² ≤ 2 gap / λ_H
    h̄_k·h̄_l            ≤ (K−1) gap / (λ_H √(n_k n_l) g_k g_l)        k ≠ l
    ‖W − W°‖_F          ≤ √(2 gap / λ_W)
    KL(p_k* ‖ softmax(W h̄_k + b)) ≤ gap / pt_k
    ‖h̄_k‖               ≤ √(2 gap / (λ_H n_k (1 − g_k²)))             where g_k < 1: below the collapse threshold

Each is attained by a candidate all of whose gap is the one part, so the constants are best possible in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray, frozen
from ufm_convex._given import nonnegative
from ufm_convex.attribution.closed import frame_optimum, frame_ratios
from ufm_convex.errors import CandidateError, HypothesisError
from ufm_convex.problem import Problem, require_problem
from ufm_convex.relaxation import require_dense


@dataclass(frozen=True, eq=False)
class StabilityBounds:
    """Upper bounds on the distance of every candidate with at most this gap; +inf where there is none.

    Attributes:
        gap: f(W, H) − f*, or an upper bound of it.
        variability: Of Σ_i ‖h_i − h̄_{y_i}‖².
        inner_products: Of h̄_k·h̄_l, (K, K); +inf on the diagonal.
        weights: Of ‖W − W°‖_F, W° = (I − 11ᵀ/K) Diag(s) H̄ / λ_W the classifier dual to the class means.
        divergences: Of KL(p_k* ‖ softmax(W h̄_k + b)), (K,); b = 0 where the problem has no bias.
        collapsed_norms: Of ‖h̄_k‖, (K,); +inf for classes at or above the collapse threshold.
    """

    gap: float
    variability: float
    inner_products: FloatArray
    weights: float
    divergences: FloatArray
    collapsed_norms: FloatArray


def _frame(problem: Problem) -> theory.FrameOptimum:
    """The optimum in closed form, which these bounds are about."""
    problem.require_decays("the bounds of a distance")
    found = frame_optimum(problem)
    if found is not None:
        return found
    bias = "" if problem.bias is None else " and a bias"
    raise HypothesisError(
        f"no theorem gives an orthogonal frame for loss {problem.loss.name!r} with {problem.features} features{bias}.",
        expected="cross-entropy with non-negative features, and a bias only beside equal counts and weights",
        fix="use attribute_gap, each part of which is at most the gap.",
    )


def stability_bounds(problem: Problem, gap: float) -> StabilityBounds:
    """How far from the optimal geometry a candidate with this gap can be.

    Args:
        problem: The problem; a theorem must give its optimum as an orthogonal frame.
        gap: f(W, H) − f* ≥ 0, from ``GapAttribution.gap``, or proved: ``Certificate.candidate_gap[1]``.

    Raises:
        HypothesisError: no theorem gives the optimum of this problem as an orthogonal frame.
        CandidateError: the gap is negative, NaN or infinite.
        SizeError: K > 20,000, as pairs of classes are K × K numbers.

    Source: docs/dead_classes.md, the last section.

    Example:
        >>> from ufm_convex.problem import Problem
        >>> bounds = stability_bounds(Problem([500, 100, 20], lambda_w=5e-3, lambda_h=5e-3), 1e-6)
        >>> f"|W - W°| <= {bounds.weights:.3f}, h_0·h_1 <= {bounds.inner_products[0, 1]:.1e}"
        '|W - W°| <= 0.020, h_0·h_1 <= 1.8e-06'
    """
    require_problem(problem)
    K = problem.num_classes
    require_dense(K, "the bounds for all pairs of classes", "the five formulas of docs/dead_classes.md")
    size = nonnegative("gap", gap, kind=CandidateError, fix="take attribute_gap(problem, candidate).gap.")
    g = frame_ratios(problem, _frame(problem))
    weighted = g * np.sqrt(problem.class_counts)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        products = (K - 1) * size / problem.lambda_h / np.outer(weighted, weighted)
        remainder = problem.class_counts * (1.0 - g) * (1.0 + g)
        norms = np.where(remainder > 0.0, np.sqrt(2.0 * size / problem.lambda_h / remainder), math.inf)
        divergences = np.where(problem.loss_weights > 0.0, size / problem.loss_weights, math.inf)
    np.fill_diagonal(products, math.inf)
    return StabilityBounds(
        gap=size,
        variability=2.0 * size / problem.lambda_h,
        inner_products=frozen(products),
        weights=math.sqrt(2.0 * size / problem.lambda_w),
        divergences=frozen(divergences),
        collapsed_norms=frozen(norms),
    )

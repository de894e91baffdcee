"""NC3, self-duality of classifiers and class means, in the textbook form and in the theorem's.

    textbook     ‖W/‖W‖_F − M/‖M‖_F‖_F, M the centred class means          Papyan, Han, Donoho (PNAS 2020), Figure 5
                 (they plot its square)
    theorem      ‖W − W°‖_F / max(‖W‖_F, ‖W°‖_F),
                 w_k° = c [√n_k h̄_k − mean_l √n_l h̄_l], c = √(K λ_H / ((K−1) λ_W))    Dang, Tran, Nguyen, Ho (ICML 2024)
    structure    ‖W Mᵀ/‖W Mᵀ‖_F − (I − 11ᵀ/K)/√(K−1)‖_F                    Zhu et al. (NeurIPS 2021), Section 4

Textbook and structure are 0 at balanced optima; the theorem's form is 0 at every optimum with cross-entropy and
non-negative features, with class weights and smoothing too, and sees the scale of W.
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray
from ufm_convex.measures.frames import structure_error
from ufm_convex.measures.rounding import relative_distance
from ufm_convex.problem import Problem


def textbook(W: FloatArray, away: FloatArray | None) -> float | None:
    """Distance of the normalised matrices, in [0, 2]; None where W is zero or the class means coincide."""
    return None if away is None else relative_distance(W, away)


def theorem(problem: Problem, W: FloatArray, means: FloatArray) -> float | None:
    """Relative distance to the classifier that the theorem gives to these class means; None where both are zero.

    None too for a constraint in place of the decays, and for a bias that is not idle, to which the theorem's centring
    and scaling do not belong.
    """
    if (problem.constraint is not None and problem.constraint.replaces_decays) or not theory.has_idle_bias(problem):
        return None
    K = problem.num_classes
    ratio = math.sqrt(problem.lambda_h) / math.sqrt(problem.lambda_w)  # the quotient itself may overflow
    pulled = means * (math.sqrt(K / (K - 1)) * ratio * np.sqrt(problem.class_counts))[:, None]
    dual = pulled - pulled.mean(axis=0)
    unit = max(float(np.abs(W).max()), float(np.abs(dual).max()))
    if unit == 0.0:
        return None
    size = max(float(np.linalg.norm(W / unit)), float(np.linalg.norm(dual / unit)))
    return float(np.linalg.norm((W - dual) / unit)) / size


def structure(W: FloatArray, away: FloatArray | None) -> float | None:
    """Distance of the normalised W Mᵀ to that of a simplex; None where W is zero or the class means coincide."""
    return None if away is None else structure_error(W, away)

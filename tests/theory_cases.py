"""What the tests of the theory share: tolerances, small problems, and the objective written out by hand."""

from __future__ import annotations

import mpmath as mp
import numpy as np

from ufm_convex import theory
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.theory import FrameOptimum

VALUE_TOLERANCE = 1e-14  # the promise of docs/theorem_extensions.md, section 7
# Margins: outside the window where 1 − ρ is exact it loses six bits, 64 × 4 roundings of 1.1e-16.
MARGIN_TOLERANCE = 5e-14

Groups = list[tuple[int, int, float]]


def problem_of(groups: Groups, lambda_w: float, lambda_h: float, smoothing: float = 0.0) -> Problem:
    counts = np.repeat([count for count, _, _ in groups], [m for _, m, _ in groups])
    weights = np.repeat([weight for _, _, weight in groups], [m for _, m, _ in groups])
    plain = all(weight == 1.0 for _, _, weight in groups)
    loss = CrossEntropy(class_weights=None if plain else tuple(weights.tolist()), smoothing=smoothing)
    return Problem(counts, lambda_w, lambda_h, loss=loss)


def optimum_of(problem: Problem) -> FrameOptimum:
    optimum = theory.optimum(problem)
    assert isinstance(optimum, FrameOptimum)
    return optimum


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=0))
    return shifted / shifted.sum(axis=0)


def textbook_objective(problem: Problem, W: np.ndarray, H: np.ndarray) -> mp.mpf:
    """(1/N) Σ_i ω_{y_i} CE(W h_i, y_i) + λ_W/2 ‖W‖² + λ_H/2 ‖H‖² over all N samples, in 50 digits."""
    loss = problem.loss
    K, N = problem.num_classes, problem.num_samples
    weights = loss.weights(K)
    with mp.workdps(50):
        total = mp.mpf(0)
        for k in np.repeat(np.arange(K), problem.class_counts):
            logits = [mp.fdot(W[j].tolist(), H[k].tolist()) for j in range(K)]
            target = [mp.mpf(loss.smoothing) / K + (1 - mp.mpf(loss.smoothing)) * (j == k) for j in range(K)]
            cross = mp.log(mp.fsum(mp.exp(z) for z in logits)) - mp.fdot(target, logits)
            features = mp.fdot(H[k].tolist(), H[k].tolist())
            total += mp.mpf(weights[k]) * cross / N + mp.mpf(problem.lambda_h) / 2 * features
        return total + mp.mpf(problem.lambda_w) / 2 * mp.fdot(W.ravel().tolist(), W.ravel().tolist())


def class_gradients(problem: Problem, W: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients in W and in the feature of each sample of class k, with p − y written out."""
    K, alpha = problem.num_classes, problem.loss.smoothing
    residuals = softmax(W @ H.T) - (1.0 - alpha) * np.eye(K) - alpha / K
    per_sample = problem.loss.weights(K) / problem.num_samples
    grad_W = (residuals * (per_sample * problem.class_counts)) @ H + problem.lambda_w * W
    grad_H = (W.T @ residuals * per_sample).T + problem.lambda_h * H
    return grad_W, grad_H


SMALL = [
    Problem([5, 3, 1], 3e-2, 2e-2),
    Problem([6, 5, 2, 1], 2e-1, 4e-2),
    Problem([7, 1], 1e-3, 1e-1),
    Problem([4, 4, 4], 1e-2, 1e-2),
    Problem([6, 3, 2, 2], 2e-2, 1e-2, loss=CrossEntropy(smoothing=0.1)),
    Problem([6, 3, 2], 2e-2, 1e-2, loss=CrossEntropy(class_weights=(0.5, 1.0, 1.7), smoothing=0.05)),
    Problem([2, 3, 1], 1.0, 1.0),
]

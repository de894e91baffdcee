"""The parts of a gap over the proved dual point of a solved problem, for any finite loss, sign of features and bias.

The master identity at sample level (docs/attribution.md, the last section):

    calibration        Σ_k pt_k [l_k(z̄_k) + l_k*(v_k) − <v_k, z̄_k>]        z̄_k = W h̄_k + b: Fenchel–Young gaps
    logit_spread       Σ_i weight_i [l(z_i) − l(z̄_k) − <∇l(z̄_k), z_i − z̄_k>]    Bregman distances
    variability        λ_H/2 Σ_i ‖h_i − h̄_k‖²
    non_orthogonality  <T, B> / (2 λ_W)                                      T = 0 for free features
    collapsed          <D − G − T, B> / (2 λ_W)
    self_duality       λ_W/2 Σ_j ‖a_j − mean a‖²                              a_j the rows of W + U H̄ / λ_W
    classifier_mean    λ_W/(2V) ‖Σ_j a_j‖²
    bias               λ_b/2 ‖b + U1/λ_b‖²                                    0 for a free bias, whose U1 is 0
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._bits import widened
from ufm_convex.attribution.duals import SolvedDual
from ufm_convex.candidate import Candidate, FeatureStatistics, Progress, blocks
from ufm_convex.problem import Problem

_BLOCK_ENTRIES = 1 << 22  # 32 MB: logits of class means at a time


class Parts(NamedTuple):
    """The numbers of an attribution.

    Attributes:
        value: f(W, H, b).
        calibration: Class by class, (K,).
        logit_spread: Class by class, (K,).
        variability: Class by class, (K,).
        overlap: Half of each of its pairs, class by class, (K,).
        collapsed: Class by class, (K,).
        self_duality: Row by row of W, (V,).
        classifier_mean: One number.
        bias: Entry by entry, (V,); None where the problem has none.
        ranges: Largest minus least entry of W h̄_k, (K,).
    """

    value: float
    calibration: FloatArray
    logit_spread: FloatArray
    variability: FloatArray
    overlap: FloatArray
    collapsed: FloatArray
    self_duality: FloatArray
    classifier_mean: float
    bias: FloatArray | None
    ranges: FloatArray


def solved_parts(
    dual: SolvedDual, candidate: Candidate, statistics: FeatureStatistics, progress: Progress | None
) -> Parts:
    """All parts of f − ``dual.value``; ``statistics`` are those of the candidate."""
    problem, means = dual.problem, statistics.class_means
    W, b = widened(candidate.weights), offset(candidate)
    calibration, ranges, at_means = _at_means(dual, W, b, means)
    spread, variability, losses = _sample_parts(problem, candidate, (W, b), means, at_means, progress)
    penalty = 0.5 * problem.lambda_w * float((W * W).sum())
    penalty += 0.5 * problem.lambda_h * math.fsum(statistics.class_square_norms.tolist())
    away = W + dual.pulled(means) / problem.lambda_w
    total = away.sum(axis=0)
    rows = away - total / len(away)
    return Parts(
        value=losses + penalty + float(bias_penalties(problem, b).sum()),
        calibration=calibration,
        logit_spread=spread,
        variability=0.5 * problem.lambda_h * variability,
        overlap=dual.overlap(means),
        collapsed=dual.collapsed(means),
        self_duality=0.5 * problem.lambda_w * (rows * rows).sum(axis=1),
        classifier_mean=0.5 * problem.lambda_w / len(away) * float(total @ total),
        bias=None if problem.bias is None else dual.misfit(b),
        ranges=ranges,
    )


def offset(candidate: Candidate) -> FloatArray:
    """The bias in binary64, (V,); zeros without one."""
    return np.zeros(candidate.num_outputs) if candidate.bias is None else widened(candidate.bias)


def bias_penalties(problem: Problem, b: FloatArray) -> FloatArray:
    """λ_b/2 b², entry by entry, (V,); 0 for a free bias and without one."""
    weight = 0.0 if problem.bias is None or isinstance(problem.bias, str) else problem.bias
    return 0.5 * weight * b * b


def _at_means(
    dual: SolvedDual, W: FloatArray, b: FloatArray, means: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Calibration, largest minus least logit without the bias, and loss of the class means, (K,) each."""
    problem, V = dual.problem, len(W)
    calibration, ranges, values = np.zeros((3, problem.num_classes))
    step = max(1, _BLOCK_ENTRIES // V)
    present = np.flatnonzero(dual.present)
    for start in range(0, present.size, step):
        classes = present[start : start + step]
        logits = W @ means[classes].T
        ranges[classes] = np.ptp(logits, axis=0)
        layout = problem.loss.layout(V, classes)
        logits += b[:, None]
        gaps = problem.loss.fenchel_young(dual.residuals(classes), logits, layout)
        calibration[classes] = np.maximum(gaps, 0.0)
        values[classes] = problem.loss.values(logits, layout)
    return problem.loss_weights * calibration, ranges, values


def _sample_parts(
    problem: Problem,
    candidate: Candidate,
    classifier: tuple[FloatArray, FloatArray],
    means: FloatArray,
    at_means: FloatArray,
    progress: Progress | None,
) -> tuple[FloatArray, FloatArray, float]:
    """Logit spread and Σ ‖h_i − h̄_k‖² by class, and the mean loss: the second pass.

    A sample that is its class mean has no spread and the loss ``at_means``, (K,): of class means nothing is left to do.
    """
    (W, b), K, loss = classifier, problem.num_classes, problem.loss
    row_weights = problem.loss_weights / np.maximum(problem.class_counts, 1) * candidate.multiplicities
    spread, variability, losses = np.zeros(K), np.zeros(K), []
    for block in blocks(candidate, progress=progress):
        away, values = block.features - means[block.labels], at_means[block.labels]
        apart = np.flatnonzero(away.any(axis=1))
        if apart.size:
            y, layout = block.labels[apart], loss.layout(len(W), block.labels[apart])
            logits = W @ block.features[apart].T + b[:, None]
            gaps = _distances(problem, W, b, means, y, logits)
            spread += np.bincount(y, row_weights[y] * gaps, minlength=K)
            values[apart] = loss.values(logits, layout)
        squares = np.einsum("ij,ij->i", away, away) * candidate.multiplicities[block.labels]
        variability += np.bincount(block.labels, squares, minlength=K)
        losses.append(float(row_weights[block.labels] @ values))
    return spread, variability, math.fsum(losses)


def _distances(
    problem: Problem, W: FloatArray, b: FloatArray, means: FloatArray, y: IntArray, logits: FloatArray
) -> FloatArray:
    """Bregman distances of the logits (V, m) from those of their class means, (m,)."""
    loss, layout = problem.loss, problem.loss.layout(len(W), y)
    at_means: FloatArray = loss.residuals(W @ means[y].T + b[:, None], layout)
    return np.maximum(loss.fenchel_young(at_means, logits, layout), 0.0)

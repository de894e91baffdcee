"""Why a candidate is not optimal: the exact decomposition of f(W, H) − f* into seven parts, each ≥ 0.

The master identity at sample level with the dual optimum p* of Theorem 1 (docs/attribution.md). With class means h̄_k,
s_k = pt_k q_k the strengths of the dual and g_k = s_k / (σ_k √(K/(K−1))) ≤ 1:

    calibration        Σ_k pt_k KL(p_k* ‖ softmax(W h̄_k))              the scale of the logits, class by class
    logit_spread       Σ_i weight_i KL(softmax(W h̄_k) ‖ softmax(W h_i))    within-class spread seen through W (NC1)
    variability        λ_H/2 Σ_i ‖h_i − h̄_k‖²                            within-class variability (NC1)
    non_orthogonality  λ_H/(K−1) Σ_{k<l} √(n_k n_l) g_k g_l h̄_k·h̄_l      class means that overlap (NC2); needs H ≥ 0
    collapsed          λ_H/2 Σ_k n_k (1 − g_k²) ‖h̄_k‖²                    features of classes that should have none
    self_duality       λ_W/2 Σ_j ‖w_j − mean w − w_j°‖²                   classifiers that are no class means (NC3)
    classifier_mean    λ_W/(2K) ‖Σ_j w_j‖²                                classifiers that do not sum to zero

with w_j° row j of (I − 11ᵀ/K) Diag(s) H̄ / λ_W. Features are read twice, in blocks; nothing of size N × K or K × K is
kept, and pairs of classes are summed in O(K d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray
from ufm_convex._pairs import products_by_row, row_blocks
from ufm_convex.attribution.dead_classes import DeadClass, diagnosis, find_dead_classes, has_spare_coordinate
from ufm_convex.candidate import (
    Candidate,
    Progress,
    blocks,
    feature_statistics,
    require_counts,
    require_nonnegative,
)
from ufm_convex.errors import CandidateError, HypothesisError
from ufm_convex.identity import frame_strengths
from ufm_convex.losses import FromOwn
from ufm_convex.points import require_dense
from ufm_convex.problem import Problem, require_problem

LARGEST_WEIGHT = 2.0**300
"""Beyond it squares of the classifier overflow: training diverged, and there is nothing to explain."""
PARTS = (
    "calibration",
    "logit_spread",
    "variability",
    "non_orthogonality",
    "collapsed",
    "self_duality",
    "classifier_mean",
)
_STORED = {"non_orthogonality": "overlap"}  # K numbers; the pairs are made when somebody asks for them


@dataclass(frozen=True, eq=False)
class GapAttribution:
    """The parts of a candidate's gap; floating point, each part with a relative error of a few units.

    Attributes:
        candidate_value: f(W, H).
        optimum: f*, from theory.
        calibration: Class by class, (K,).
        logit_spread: Class by class, (K,).
        variability: Class by class, (K,).
        overlap: Class by class, (K,): half of each of its pairs, so that the sum is that of all pairs.
        collapsed: Class by class, (K,).
        self_duality: Row by row of W, (K,).
        classifier_mean: One number.
        scaled_means: √(λ_H n_k / (K−1)) g_k h̄_k, (K, d), whose products are the overlaps of pairs.
        dead_classes: Classes that the optimum separates and the candidate does not, the costliest first.
        feature_dim: d of the candidate.
        spare_coordinate: Whether neither W nor the class means use some coordinate.
    """

    candidate_value: float
    optimum: float
    calibration: FloatArray
    logit_spread: FloatArray
    variability: FloatArray
    overlap: FloatArray
    collapsed: FloatArray
    self_duality: FloatArray
    classifier_mean: float
    scaled_means: FloatArray = field(repr=False)
    dead_classes: tuple[DeadClass, ...] = ()
    feature_dim: int = 0
    spare_coordinate: bool = False

    @cached_property
    def non_orthogonality(self) -> FloatArray:
        """Pair by pair, (K, K) strictly upper triangular.

        Raises:
            SizeError: K > 20,000; ``overlap`` needs no K × K array.
        """
        require_dense(len(self.overlap), "the overlap of all pairs of classes", "overlap, which has it class by class")
        return np.triu(self.scaled_means @ self.scaled_means.T, 1)

    @cached_property
    def totals(self) -> dict[str, float]:
        """Part → its sum over classes or pairs, in the order of ``PARTS``."""
        return {name: math.fsum(np.ravel(getattr(self, _STORED.get(name, name))).tolist()) for name in PARTS}

    @property
    def gap(self) -> float:
        """f(W, H) − f* as the sum of the parts, without cancellation."""
        return math.fsum(self.totals.values())

    @property
    def shares(self) -> dict[str, float]:
        """Part → its share of the gap; all 0 when there is no gap."""
        return {name: total / self.gap if self.gap > 0.0 else 0.0 for name, total in self.totals.items()}

    @property
    def diagnosis(self) -> str | None:
        """Which classes are dead, what each costs, and what to do; None where there are none."""
        K = self.calibration.size
        return diagnosis(self.dead_classes, self.gap, K, self.feature_dim, self.spare_coordinate)

    @property
    def by_class(self) -> FloatArray:
        """What each class contributes, (K,): pairs are split in halves, the classifier mean is left out."""
        whole = self.calibration + self.logit_spread + self.variability
        return whole + self.overlap + self.collapsed + self.self_duality


def attribute_gap(problem: Problem, candidate: Candidate, *, progress: Progress | None = None) -> GapAttribution:
    """The exact decomposition of f(W, H) − f*.

    Args:
        problem: The problem; a theorem must give its optimum as an orthogonal frame.
        candidate: W and features; its class counts are the problem's.
        progress: Called after each block of features with (rows done, rows in all), in two passes.

    Raises:
        ProblemError: it is none, or one of another kind.
        HypothesisError: no theorem gives the optimum of this problem.
        CountsError: the candidate has other class counts than the problem.
        CandidateError: a feature is negative (then a part could be), NaN or infinite.

    Source: docs/attribution.md; the identity is equation 5 of docs/duality.md at sample level.
    """
    require_problem(problem)
    optimum = frame_optimum(problem)
    require_counts(candidate, problem.class_counts)
    statistics = feature_statistics(candidate, progress=progress)
    require_nonnegative(statistics)
    _check_size(candidate.weights)
    W, means = candidate.weights.astype(np.float64), statistics.class_means
    calibration, ranges, at_means = _at_means(problem, W, means)
    spread, variability, losses = _sample_parts(problem, candidate, W, means, at_means, progress)
    penalty = 0.5 * problem.lambda_w * float((W * W).sum())
    penalty += 0.5 * problem.lambda_h * math.fsum(statistics.class_square_norms.tolist())
    scaled_means, collapsed = _feature_parts(problem, means, optimum)
    self_duality, mean = _classifier_parts(problem, W, means)
    return GapAttribution(
        candidate_value=losses + penalty,
        optimum=optimum.value,
        calibration=calibration,
        logit_spread=spread,
        variability=variability,
        overlap=products_by_row(scaled_means),
        collapsed=collapsed,
        self_duality=self_duality,
        classifier_mean=mean,
        scaled_means=scaled_means,
        dead_classes=find_dead_classes(optimum, means, ranges, calibration),
        feature_dim=candidate.feature_dim,
        spare_coordinate=has_spare_coordinate(W, means),
    )


def frame_optimum(problem: Problem) -> theory.FrameOptimum:
    """The optimum in closed form, an orthogonal frame.

    Raises:
        HypothesisError: no theorem gives the optimum of this problem as one.
    """
    problem.require_plain("the explanation of a gap")
    optimum = theory.optimum(problem)
    if isinstance(optimum, theory.FrameOptimum):
        return optimum
    raise HypothesisError(
        f"the gap is not explained for loss {problem.loss.name!r} with {problem.features} features.",
        expected="cross-entropy with non-negative features",
        fix="use solve, whose bounds enclose the optimum; certify bounds a candidate's gap for cross-entropy.",
    )


def _check_size(weights: FloatArray) -> None:
    """Raise ``CandidateError`` where squares of the classifier would overflow."""
    largest = float(np.abs(weights).max())
    if largest > LARGEST_WEIGHT:
        raise CandidateError(
            f"weights has an entry of absolute value {largest:.3g}.",
            expected="absolute values up to 2**300",
            fix="the training diverged: there is nothing to explain.",
        )


def frame_ratios(problem: Problem, optimum: theory.FrameOptimum) -> FloatArray:
    """g_k, (K,), in (0, 1]; exactly 1 for active classes."""
    K = problem.num_classes
    s = problem.loss_weights * frame_strengths(problem)
    return np.where(optimum.collapsed, np.minimum(s / (problem.sigma * math.sqrt(K / (K - 1))), 1.0), 1.0)


def _at_means(problem: Problem, W: FloatArray, means: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Calibration, largest minus least logit, and loss of the class means, (K,) each."""
    K, loss, strengths = problem.num_classes, theory.cross_entropy(problem), frame_strengths(problem)
    calibration, ranges, values = np.empty(K), np.empty(K), np.empty(K)
    for block in row_blocks(K, K):
        seen = FromOwn.of(means[block] @ W.T, np.arange(block.start, block.stop))
        calibration[block] = seen.divergences(loss, strengths[block])
        ranges[block] = np.maximum(seen.highest, seen.difference) - np.minimum(seen.lowest, seen.difference)
        values[block] = seen.values(loss)
    return problem.loss_weights * calibration, ranges, values


def _sample_parts(
    problem: Problem,
    candidate: Candidate,
    W: FloatArray,
    means: FloatArray,
    at_means: FloatArray,
    progress: Progress | None,
) -> tuple[FloatArray, FloatArray, float]:
    """Logit spread and variability by class, and the mean loss: the second pass.

    A sample that is its class mean has no spread and the loss ``at_means``, (K,): of class means nothing is left to do.
    """
    K, loss = problem.num_classes, theory.cross_entropy(problem)
    row_weights = problem.loss_weights / problem.class_counts * candidate.multiplicities
    spread, variability, losses = np.zeros(K), np.zeros(K), []
    for block in blocks(candidate, progress=progress):
        away, values = block.features - means[block.labels], at_means[block.labels]
        apart = np.flatnonzero(away.any(axis=1))
        for part in row_blocks(apart.size, K):
            rows, y = apart[part], block.labels[apart[part]]
            logits, layout = block.features[rows] @ W.T, loss.layout(K, y)
            centre = loss.residuals((means[y] @ W.T).T, layout)
            spread += np.bincount(y, row_weights[y] * loss.fenchel_young(centre, logits.T, layout), minlength=K)
            values[rows] = FromOwn.of(logits, y).values(loss)
        squares = np.einsum("ij,ij->i", away, away) * candidate.multiplicities[block.labels]
        variability += np.bincount(block.labels, squares, minlength=K)
        losses.append(float(row_weights[block.labels] @ values))
    return spread, 0.5 * problem.lambda_h * variability, math.fsum(losses)


def _feature_parts(problem: Problem, means: FloatArray, optimum: theory.FrameOptimum) -> tuple[FloatArray, FloatArray]:
    """Class means whose products are the overlaps, (K, d), and features that should not be by class, (K,)."""
    K, g = problem.num_classes, frame_ratios(problem, optimum)
    scaled = means * (g * np.sqrt(problem.class_counts) * math.sqrt(problem.lambda_h / (K - 1)))[:, None]
    squares = (means * means).sum(axis=1)
    collapsed = 0.5 * problem.lambda_h * problem.class_counts * (1.0 - g) * (1.0 + g) * squares
    return scaled, collapsed


def _classifier_parts(problem: Problem, W: FloatArray, means: FloatArray) -> tuple[FloatArray, float]:
    """Self-duality by row, (K,), and the classifier mean."""
    K = problem.num_classes
    pulled = means * (problem.loss_weights * frame_strengths(problem) / problem.lambda_w)[:, None]
    away = W - W.mean(axis=0) - (pulled - pulled.mean(axis=0))
    total = W.sum(axis=0)
    return 0.5 * problem.lambda_w * (away * away).sum(axis=1), 0.5 * problem.lambda_w / K * float(total @ total)

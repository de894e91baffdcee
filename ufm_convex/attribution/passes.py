"""What logits say of a gap, in two passes: over the class means, and over the samples.

Both work in blocks of rows; nothing of size N × K or K × K is kept. Which divergence tells a class mean from the
optimum is for the dual point to say (``DualOptimum``).

Shapes: V outputs, K classes or columns of a table; W (V, d), b (V,), class means (K, d), logits one row a column of V
(m of them): (m, V).
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex._bits import widened
from ufm_convex._pairs import row_blocks, row_tiles
from ufm_convex.attribution.dead_classes import Alive
from ufm_convex.candidate import Candidate, Progress, blocks
from ufm_convex.losses import Loss
from ufm_convex.problem import Problem


class DualOptimum(Protocol):
    """The dual point that a candidate is told apart by: of a closed form (``closed``), or a proved one (``duals``).

    U = V Diag(pt) is its residuals, T its multiplier, D = λ_W λ_H Diag(n), G = UᵀU (docs/duality.md).
    """

    @property
    def problem(self) -> Problem:
        """Whose dual point it is."""

    @property
    def value(self) -> float:
        """Its dual value, which stands for f*."""

    @property
    def optimum(self) -> Alive:
        """What is known of the classes at the optimum."""

    @property
    def present(self) -> BoolArray:
        """Which classes have samples, (K,)."""

    def seen(self, classes: IntArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """l_k(z) + l_k*(v_k) − <v_k, z> ≥ 0 and l_k(z) of one column of logits a class, (m,) each; overwrites them."""

    def losses(self, labels: IntArray, logits: FloatArray) -> FloatArray:
        """l_y(z) of columns of logits, (m,); overwrites them."""

    def pulled(self, means: FloatArray) -> FloatArray:
        """U H̄, (V, d)."""

    def overlap(self, means: FloatArray) -> FloatArray:
        """<T, B> / (2 λ_W) with each pair in halves, (K,); ≥ 0 for non-negative features."""

    def pairs(self, means: FloatArray) -> FloatArray:
        """<T, B> / (2 λ_W) pair by pair, (K, K) strictly upper triangular."""

    def collapsed(self, means: FloatArray) -> FloatArray:
        """<D − G − T, B> / (2 λ_W), class by class, (K,), ≥ 0."""

    def misfit(self, bias: FloatArray) -> FloatArray:
        """λ_b/2 (b + U1/λ_b)², entry by entry, (V,); 0 for a free bias."""


class Classifier(NamedTuple):
    """W and b in binary64; b is 0 without one."""

    W: FloatArray
    b: FloatArray

    @classmethod
    def of(cls, candidate: Candidate) -> Classifier:
        """That of a candidate."""
        W, b = widened(candidate.weights), candidate.bias
        return cls(W, np.zeros(len(W)) if b is None else widened(b))

    def logits(self, features: FloatArray) -> FloatArray:
        """One row a feature, (m, V)."""
        found: FloatArray = features @ self.W.T
        found += self.b
        return found

    def penalties(self, problem: Problem) -> float:
        """λ_W/2 ‖W‖² + λ_b/2 ‖b‖²; a free bias costs nothing."""
        weights = 0.5 * problem.lambda_w * float((self.W * self.W).sum())
        return weights + 0.5 * problem.bias_decay * float(self.b @ self.b)


class AtMeans(NamedTuple):
    """What the logits of class means say, (K,) each; 0 for a class without samples.

    Attributes:
        calibration: pt_k times the divergence from the dual point.
        ranges: Largest minus least logit, without the bias.
        losses: l_k.
    """

    calibration: FloatArray
    ranges: FloatArray
    losses: FloatArray


def at_means(dual: DualOptimum, classifier: Classifier, means: FloatArray) -> AtMeans:
    """The first pass: over the class means."""
    K, V, present = len(means), len(classifier.W), np.flatnonzero(dual.present)
    gaps, ranges, losses = np.zeros(K), np.zeros(K), np.zeros(K)
    for block in row_blocks(present.size, V):
        classes = present[block]
        logits = means[classes] @ classifier.W.T
        ranges[classes] = np.ptp(logits, axis=1)
        logits += classifier.b
        gaps[classes], losses[classes] = dual.seen(classes, logits)
    return AtMeans(dual.problem.loss_weights * np.maximum(gaps, 0.0), ranges, losses)


def over_samples(
    dual: DualOptimum,
    candidate: Candidate,
    classifier: Classifier,
    means: FloatArray,
    seen: AtMeans,
    progress: Progress | None,
) -> tuple[FloatArray, FloatArray, float]:
    """The second pass: logit spread and variability by class, (K,), and the mean loss.

    A sample that is its class mean has no spread and the mean's loss: of class means nothing is left to do.
    """
    problem, K, V, loss = dual.problem, len(means), len(classifier.W), dual.problem.loss
    row_weights = problem.loss_weights / np.maximum(problem.class_counts, 1) * candidate.multiplicities
    spread, variability, losses = np.zeros(K), np.zeros(K), []
    for block in blocks(candidate, progress=progress):
        away, values = block.features - means[block.labels], seen.losses[block.labels]
        apart = np.flatnonzero(away.any(axis=1))
        for part in row_blocks(apart.size, V):
            rows, y = apart[part], block.labels[apart[part]]
            logits = classifier.logits(block.features[rows])
            distances = _distances(loss, y, classifier.logits(means[y]), logits)
            spread += np.bincount(y, row_weights[y] * distances, minlength=K)
            values[rows] = dual.losses(y, logits)
        squares = np.einsum("ij,ij->i", away, away) * candidate.multiplicities[block.labels]
        variability += np.bincount(block.labels, squares, minlength=K)
        losses.append(float(row_weights[block.labels] @ values))
    return spread, 0.5 * problem.lambda_h * variability, math.fsum(losses)


def _distances(loss: Loss, y: IntArray, centres: FloatArray, logits: FloatArray) -> FloatArray:
    """Bregman distances of logits from those of their class means, rows (m, V) of labels (m,), ≥ 0, (m,)."""
    found = np.empty(len(y))
    for part in row_tiles(*logits.shape):
        layout = loss.layout(logits.shape[1], y[part])
        gradient = loss.residuals(centres[part].T, layout)
        found[part] = np.maximum(loss.fenchel_young(gradient, logits[part].T, layout), 0.0)
    return found

"""The point at which the chain is evaluated: what is read from the samples, and the candidate averaged over classes.

Letters, with z = W h + b the logits of a sample of class k (b = 0 without a bias), and
V_k = √n_k h_k − (1/K) Σ_m √n_m h_m:

    x = mean over l ≠ k of z_l − z_k       (K/(K−1)) (mean z − z_k), so that −x is a margin
    c = √(K λ_H / ((K−1) λ_W)),   B = Σ n_k ‖h_k‖²,   t_k = wrong-class mass at the optimum = 1/(1 + c_{1k})

Everything after (35) concerns the class means alone. Features are read twice, in blocks; nothing of size N × K or K × K
is kept: the dual has one number a class, and so has a column of logits with equal wrong ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex._pairs import largest_product, products_by_row, row_blocks
from ufm_convex.candidate import (
    Candidate,
    FeatureStatistics,
    Progress,
    blocks,
    feature_statistics,
    require_match,
    require_nonnegative,
)
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy, FromOwn
from ufm_convex.problem import Problem
from ufm_convex.relaxation import frame_strengths
from ufm_convex.theory import Hypothesis


@dataclass(frozen=True, eq=False)
class SampleTerms:
    """What (34) and (35) read from the samples.

    Attributes:
        losses: (1/N) Σ_i CE(z_i, k) by class, (K,).
        symmetric_losses: (1/N) Σ_i log(1 + (K−1) e^{x_i}) by class, (K,).
        wrong_spread: Slack of (34) by class, (K,).
        margin_spread: Slack of (35) in the losses by class, (K,).
        variability: Σ_i ‖h_i − h̄_k‖² by class, (K,).
        largest_wrong_range: Largest difference of two wrong logits of one sample.
        largest_margin_deviation: Largest |x_i − x_k|.
        largest_deviation: Largest ‖h_i − h̄_k‖.
    """

    losses: FloatArray
    symmetric_losses: FloatArray
    wrong_spread: FloatArray
    margin_spread: FloatArray
    variability: FloatArray
    largest_wrong_range: float
    largest_margin_deviation: float
    largest_deviation: float


@dataclass(frozen=True, eq=False)
class ChainPoint:
    """A candidate with all that the steps ask of it.

    Attributes:
        problem: The problem.
        optimum: Theorem 1 for it.
        W: The classifier, (K, d).
        H: Class means, (K, d).
        samples: What is read from the samples.
        bias: b, (K,); zeros without one.
    """

    problem: Problem
    optimum: theory.FrameOptimum
    W: FloatArray
    H: FloatArray
    samples: SampleTerms
    bias: FloatArray

    # -- the problem ----------------------------------------------------------------------------------------

    @property
    def c(self) -> float:
        """The scalar c of equation (60)."""
        return self.optimum.scale

    @cached_property
    def strengths(self) -> FloatArray:
        """q_k with p_k* − e_k = −q_k (e_k − 1/K), (K,): (36) is Fenchel–Young with these."""
        return frame_strengths(self.problem)

    @cached_property
    def entropies(self) -> FloatArray:
        """Ent(p_k*) = c_2k, (K,)."""
        return -self.problem.loss.margin_conjugates(self.strengths, self.problem.num_classes)

    # -- the averaged point ---------------------------------------------------------------------------------

    @cached_property
    def x(self) -> FloatArray:
        """x_k at the class means, (K,)."""
        return _mean_wrong(self.W, self.bias, self.H, np.arange(len(self.W)))

    @cached_property
    def there(self) -> BoolArray:
        """Which classes have samples, (K,); the inequalities that are meant class by class are about these."""
        return self.problem.class_counts > 0

    @cached_property
    def symmetric_losses(self) -> FloatArray:
        """log(1 + (K−1) e^{x_k}), (K,); 0 for a class without samples."""
        return self.there * self.problem.loss.margin_values(-self.x, self.problem.num_classes)

    @property
    def g(self) -> float:
        """Σ (n_k/N) log(1 + (K−1) e^{x_k}), equation (33)."""
        return math.fsum(self.problem.loss_weights * self.symmetric_losses)

    @property
    def linear_bound(self) -> float:
        """Right-hand side of (37), Σ (n_k/N) (t_k x_k + c_{2k}); that of (39) where the common scalar exists."""
        return self.optimum.dual_value + math.fsum(self.problem.loss_weights * self.optimum.wrong_mass * self.x)

    @cached_property
    def pulled(self) -> FloatArray:
        """√n_k h_k, (K, d)."""
        return self.H * np.sqrt(self.problem.class_counts)[:, None]

    @cached_property
    def V(self) -> FloatArray:
        """√n_k h_k − (1/K) Σ_m √n_m h_m, (K, d)."""
        return self.pulled - self.pulled.mean(axis=0)

    @cached_property
    def overlaps(self) -> FloatArray:
        """Σ_{l≠k} √(n_k n_l) h_k·h_l, (K,): twice the pairs in halves, in O(K d)."""
        return 2.0 * products_by_row(self.pulled)

    @cached_property
    def largest_overlap(self) -> float:
        """Largest h_k·h_l, k ≠ l."""
        return largest_product(self.H)

    @cached_property
    def B(self) -> float:
        """Σ n_k ‖h_k‖²."""
        return float((self.pulled * self.pulled).sum())

    @cached_property
    def square_norms(self) -> FloatArray:
        """‖h_k‖², (K,)."""
        squares: FloatArray = (self.H * self.H).sum(axis=1)
        return squares

    @cached_property
    def W_square(self) -> float:
        """‖W‖²."""
        return float((self.W * self.W).sum())

    @cached_property
    def misalignment(self) -> FloatArray:
        """w_k − c V_k, (K, d)."""
        return self.W - self.c * self.V

    def divergences(self, x: FloatArray) -> FloatArray:
        """Slack of (36) at given x, (K,): the divergence of p_k* from the softmax of margin −x_k."""
        K = self.problem.num_classes
        return self.there * self.problem.loss.margin_divergences(self.strengths, -x, K)

    def mass_error(self, x: FloatArray) -> float:
        """Largest |t_k − wrong-class mass at x_k|, the violation of (38)."""
        K = self.problem.num_classes
        at = self.problem.loss.margin_strengths(-x, K)
        return float(np.abs(at - self.strengths)[self.there].max()) * (K - 1) / K

    # -- balance --------------------------------------------------------------------------------------------

    @property
    def balance(self) -> Hypothesis:
        """Whether some a > 0 makes λ_W ‖aW‖² = λ_H ‖H/a‖²."""
        one_sided = (self.W_square == 0.0) != (self.B == 0.0)
        zero, other = ("W", "H") if self.W_square == 0.0 else ("H", "W")
        return Hypothesis(
            "W and H can be balanced",
            not one_sided,
            f"{zero} = 0 and {other} ≠ 0" if one_sided else "both are zero or neither is",
        )

    @cached_property
    def balanced(self) -> ChainPoint:
        """The point after W → aW, H → H/a; the logits, and so x, do not change. Needs ``balance``."""
        if self.B == 0.0:
            return self
        root_w = math.sqrt(math.sqrt(self.problem.lambda_w)) * math.sqrt(math.sqrt(self.W_square))
        root_h = math.sqrt(math.sqrt(self.problem.lambda_h)) * math.sqrt(math.sqrt(self.B))
        a = root_h / root_w
        return replace(self, W=self.W * a, H=self.H / a)

    # -- the bias -------------------------------------------------------------------------------------------

    @property
    def unbiased(self) -> Hypothesis:
        """Whether logits are W h, so that x is linear in them: what leads from x to W and H needs that."""
        bias = self.problem.bias
        said = "the problem has none" if bias is None else f"the problem has one, bias = {bias!r}"
        return Hypothesis("logits have no bias", bias is None, said)

    # -- the common scalar ----------------------------------------------------------------------------------

    @cached_property
    def common_scalar(self) -> Hypothesis:
        """Whether √n_k t_k is the same for all classes with samples, decided exactly: all n_k ≥ n_c."""
        problem = self.problem
        counts = np.where(problem.class_counts > 0, problem.class_counts, problem.num_samples)
        K, N, k = problem.num_classes, problem.num_samples, int(counts.argmin())
        count = int(problem.class_counts[k])
        product = N * N * Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
        if (K - 1) * count >= product * K:
            explanation = "every class has at least the critical size"
            return Hypothesis("√n_k t_k is common to all classes", True, explanation)
        at_least_one = K * count <= product * (K - 1)
        explanation = f"class {k} (n = {count}) is below the critical size {self.optimum.collapse_threshold:.6g}; " + (
            "the scalar of the active classes would need t_k ≥ 1, where (36) does not exist"
            if at_least_one
            else "with the scalar of the active classes (36) is strict at h_k = 0, where the optimum is"
        )
        return Hypothesis("√n_k t_k is common to all classes", False, explanation)


def _mean_wrong(W: FloatArray, b: FloatArray, features: FloatArray, labels: IntArray) -> FloatArray:
    """Mean over l ≠ y of z_l − z_y of features (m, d), (m,): K/(K−1) (mean w − w_y)·h, likewise b; without logits."""
    away = W.mean(axis=0) - W
    mean = np.einsum("ij,ij->i", features, away[labels]) + (b.mean() - b)[labels]
    found: FloatArray = mean * (len(W) / (len(W) - 1))
    return found


def chain_point(problem: Problem, candidate: Candidate, progress: Progress | None = None) -> ChainPoint:
    """Read a candidate in two passes; arguments and errors as ``proof_steps``."""
    optimum = _optimum(problem)
    candidate = require_match(problem, candidate)
    statistics = feature_statistics(candidate, progress=progress)
    require_nonnegative(statistics)
    W = candidate.weights.astype(np.float64)
    b = np.zeros(len(W)) if candidate.bias is None else candidate.bias.astype(np.float64)
    samples = _sample_terms(problem, candidate, (W, b), statistics, progress)
    return ChainPoint(problem, optimum, W, statistics.class_means, samples, b)


def _optimum(problem: Problem) -> theory.FrameOptimum:
    """Theorem 1, or the error that says which of the proof's hypotheses fails."""
    plain = type(problem.loss) is CrossEntropy and not problem.loss.smoothing
    plain = plain and bool((problem.loss.weights(problem.num_classes) == 1.0).all())
    optimum = theory.bound(problem) if plain and problem.nonnegative else None
    if isinstance(optimum, theory.FrameOptimum):
        return optimum
    raise HypothesisError(
        f"the proof does not cover the loss {problem.loss!r} with {problem.features} features.",
        expected="plain cross-entropy (no class weights, no smoothing) and non-negative features",
        fix="use attribute_gap, which covers weights and smoothing, or certify.",
    )


def _sample_terms(
    problem: Problem,
    candidate: Candidate,
    classifier: tuple[FloatArray, FloatArray],
    statistics: FeatureStatistics,
    progress: Progress | None,
) -> SampleTerms:
    """The second pass."""
    W, b = classifier
    K, means = problem.num_classes, statistics.class_means
    centre = _mean_wrong(W, b, means, np.arange(K))
    sums, largest = np.zeros((5, K)), np.zeros(3)
    for block in blocks(candidate, progress=progress):
        for part in row_blocks(len(block.labels), K):
            features, y = block.features[part], block.labels[part]
            rows, found = _row_terms(features @ W.T + b, y, centre[y])
            away = features - means[y]
            squares = np.einsum("ij,ij->i", away, away)
            times = candidate.multiplicities[y]
            sums += [np.bincount(y, row * times, minlength=K) for row in (*rows, squares)]
            largest = np.maximum(largest, [float(values.max()) for values in (*found, np.sqrt(squares))])
    sums[:4] /= problem.num_samples
    return SampleTerms(*sums, *largest.tolist())


def _row_terms(
    logits: FloatArray, y: IntArray, centre: FloatArray
) -> tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]]:
    """Losses, symmetric losses and the slacks of (34) and (35), sample by sample; wrong ranges and |x_i − x_k|."""
    K, loss = logits.shape[1], CrossEntropy()  # the one that the proof covers
    seen = FromOwn.of(logits, y)
    margins = seen.difference
    at = loss.margin_strengths(margins, K)
    rows = (
        seen.values(loss),
        loss.margin_values(margins, K),
        # the wrong logits of both columns have one mean, so the linear part of Fenchel–Young vanishes
        seen.divergences(loss, at),
        loss.margin_divergences(loss.margin_strengths(-centre, K), margins, K),
    )
    return rows, (seen.highest - seen.lowest, np.abs(centre + margins))

"""Effective decays: the problem of which a classifier and features come nearest to being a stationary point.

With G_i = ∂CE/∂z_i at the logits z_i = W h_i + b, and s = −⟨∇_W CE, W⟩ = −⟨∇_H CE, H⟩ = −Σ_i ⟨G_i, W h_i⟩,

    λ_W = s / ‖W‖²,   λ_H = s / ‖H‖²,   λ_b = −⟨∇_b CE, b⟩ / ‖b‖²

are the decays where W, H and b are stationary, and always those that leave the smallest gradient; what is left of it,
as a share, is the misfit. λ_{H,k} = s_k / ‖H_k‖² is what class k alone would say: where these spread, no single λ_H
describes the features. Source: docs/decays.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._pairs import row_blocks, row_tiles
from ufm_convex.candidate import Candidate, Progress, blocks
from ufm_convex.errors import CandidateError, HypothesisError, UnknownNameError, shown
from ufm_convex.losses import CrossEntropy, Loss, traits
from ufm_convex.problem import Features, Problem
from ufm_convex.solving import solve

_RATIO, _WIDTH, _STEPS = 0.5 * (math.sqrt(5.0) - 1.0), 12.0, 40
"""Golden section over log q, within a factor of 160,000 of the decays: 40 steps leave a width of 1e-7, and the gap,
which is flat at its minimum, is off by the square of that."""


@dataclass(frozen=True, eq=False)
class EffectiveDecays:
    """Decays that a layer speaks of itself.

    Attributes:
        lambda_w: λ_W.
        lambda_h: λ_H, the mean of the classes' with weights ‖H_k‖².
        lambda_b: λ_b, ≤ 0 where the loss falls as b grows; None without a bias, or where it is 0.
        per_class: λ_{H,k}, (K,); NaN for a class without features.
        misfit_w: Share of ∇_W CE that no λ_W explains, in [0, 1].
        misfit_h: The same of ∇_H CE, entries that may not fall below 0 left out.
        spread: Largest λ_{H,k} over smallest; inf where one is ≤ 0.
        loss_value: CE, the mean loss.
        product: ‖W‖ ‖H‖.
        features: "free" or "nonnegative", as they were taken.
        biased: Whether there is a bias.
    """

    lambda_w: float
    lambda_h: float
    lambda_b: float | None
    per_class: FloatArray
    misfit_w: float
    misfit_h: float
    spread: float
    loss_value: float
    product: float
    features: Features
    biased: bool
    _optimum: Callable[[float], float] = field(repr=False)

    @cached_property
    def excess(self) -> float:
        """CE less the smallest CE at no larger ‖W‖ ‖H‖: a gap that needs no decays; ≥ 0 up to rounding.

        It is the least over q of CE + q ‖W‖ ‖H‖ − f*(q), f* the optimum with λ_W = λ_H = q, a convex function of q;
        with a bias, f* is that with a free bias. Where no theorem gives f*, each of some forty steps solves a problem.
        """
        return self.loss_value + _least(lambda q: q * self.product - self._optimum(q), self.lambda_w * self.lambda_h)

    @property
    def bias(self) -> float | Literal["free"] | None:
        """The bias of their problem: λ_b, free where the bias pays nothing; None without a bias."""
        if not self.biased:
            return None
        return self.lambda_b if self.lambda_b is not None and self.lambda_b > 0.0 else "free"

    def problem(self, class_counts: Sequence[int] | IntArray, loss: Loss | None = None, **stated: Any) -> Problem:
        """The problem with these decays, this sign of the features and this bias.

        Args:
            class_counts: Samples of each class.
            loss: The loss; None for cross-entropy.
            **stated: Arguments of ``Problem`` that are stated, and go before what the candidate says.

        Raises:
            UFMError: as ``Problem``.
        """
        own = {"lambda_w": self.lambda_w, "lambda_h": self.lambda_h, "features": self.features, "bias": self.bias}
        return Problem(class_counts, loss=loss, **{**own, **stated})

    def __str__(self) -> str:
        words = f"λ_W = {self.lambda_w:.4g}, λ_H = {self.lambda_h:.4g}"
        words += "" if self.lambda_b is None else f", λ_b = {self.lambda_b:.4g}"
        return f"{words}, spread {self.spread:.3g}, misfits {self.misfit_w:.2g} (W), {self.misfit_h:.2g} (H)"


def effective_decays(
    candidate: Candidate,
    loss: Loss | None = None,
    features: Features | None = None,
    *,
    progress: Progress | None = None,
) -> EffectiveDecays:
    """The decays of which W, H and b come nearest to being stationary.

    Args:
        candidate: W, features and labels, with its bias.
        loss: The loss that it was trained with, smoothing and class weights included; None for cross-entropy.
        features: "nonnegative" or "free"; None for "free" if an entry is negative.
        progress: Called after each block of features with (rows done, rows in all).

    Raises:
        CandidateError: it is none, or a feature is negative, NaN or infinite where it may not be.
        UnknownNameError: ``features`` is neither of its words.
        HypothesisError: the loss has no gradient; or s ≤ 0, and no decay > 0 fits.
        ShapeError, LabelsError, CountsError: the loss is one of other outputs or columns.

    Source: docs/decays.md.

    Example:
        >>> import ufm_convex as ufm
        >>> W, H = ufm.solve(ufm.Problem([500, 100, 20], lambda_w=2e-3, lambda_h=5e-3)).factors()
        >>> found = effective_decays(ufm.Candidate(weights=W, features=H, class_counts=[500, 100, 20]))
        >>> print(f"{found.lambda_w:.6f} {found.lambda_h:.6f} {found.spread:.6f}")
        0.002000 0.005000 1.000000
    """
    if not isinstance(candidate, Candidate):
        raise CandidateError(
            f"candidate is {shown(candidate)}.", expected="an ufm_convex.Candidate", fix="make one, or load it."
        )
    if features not in (None, "nonnegative", "free"):
        raise UnknownNameError(
            f"features is {shown(features)}.", expected="'nonnegative', 'free' or None", fix="use one of these."
        )
    loss = CrossEntropy() if loss is None else loss
    traits.require(loss, ("differentiable",), fix="choose the loss that the network was trained with.")
    candidate = candidate.of_loss(loss)
    sums = _Sums.of(candidate, loss, progress)
    if features == "nonnegative" and sums.negative:
        raise CandidateError(
            "a feature is negative.", expected="features ≥ 0", fix="pass features='free', or those after the ReLU."
        )
    return sums.decays(candidate, loss, features or ("free" if sums.negative else "nonnegative"))


@dataclass(eq=False)
class _Sums:
    """What one pass gathers; squares of ∇_H CE with and without the entries that the sign keeps."""

    weight_gradient: FloatArray
    bias_gradient: FloatArray
    pull: FloatArray
    square_norms: FloatArray
    feature_gradient: float = 0.0
    kept_gradient: float = 0.0
    loss_value: float = 0.0
    negative: bool = False

    @classmethod
    def of(cls, candidate: Candidate, loss: Loss, progress: Progress | None) -> _Sums:
        """The sums over all samples of a candidate, in one pass."""
        W, K = candidate.weights.astype(np.float64), candidate.num_classes
        b = np.zeros(len(W)) if candidate.bias is None else candidate.bias.astype(np.float64)
        shares = Problem(candidate.class_counts, 1.0, 1.0, loss=loss, features="free").loss_weights
        shares = shares / np.maximum(candidate.class_counts, 1) * candidate.multiplicities
        sums = cls(np.zeros_like(W), np.zeros(len(W)), np.zeros(K), np.zeros(K))
        for block in blocks(candidate, progress=progress):
            for part in row_blocks(len(block.labels), len(W)):
                y = block.labels[part]
                logits, gradients, losses = _told(block.features[part] @ W.T, b, loss, y)
                sums._add(block.features[part], y, W, logits, gradients * shares[y][:, None], candidate.multiplicities)
                sums.loss_value += float(shares[y] @ losses)
        return sums

    def _add(
        self, H: FloatArray, y: np.ndarray, W: FloatArray, logits: FloatArray, G: FloatArray, times: np.ndarray
    ) -> None:
        """Rows of features, of logits without the bias, and of gradients by logits of all samples that a row is."""
        K, gradient = self.pull.size, G @ W
        kept = np.where(H > 0.0, gradient, np.minimum(gradient, 0.0))
        self.weight_gradient += G.T @ H
        self.bias_gradient += G.sum(axis=0)
        self.pull -= np.bincount(y, np.einsum("ij,ij->i", G, logits), minlength=K)
        self.square_norms += np.bincount(y, np.einsum("ij,ij->i", H, H) * times[y], minlength=K)
        self.feature_gradient += float((np.einsum("ij,ij->i", gradient, gradient) / times[y]).sum())
        self.kept_gradient += float((np.einsum("ij,ij->i", kept, kept) / times[y]).sum())
        self.negative |= bool((H < 0.0).any())

    def decays(self, candidate: Candidate, loss: Loss, features: Features) -> EffectiveDecays:
        """The decays of these sums; raises ``HypothesisError`` where none > 0 fits."""
        W = candidate.weights.astype(np.float64)
        bias = candidate.bias
        s, weights, norms = float(self.pull.sum()), float((W * W).sum()), float(self.square_norms.sum())
        if not s > 0.0 or not math.isfinite(s):
            raise HypothesisError(
                f"-<gradient of the loss in W, W> is {s:.3g}, so that no decay > 0 fits.",
                expected="a loss that a larger W or larger features would lower, as at a stationary point",
                fix="train on; or judge it by decays that you know, lambda_w and lambda_h.",
            )
        gradient = self.feature_gradient if features == "free" else self.kept_gradient
        live = self.square_norms > 0.0
        per_class = np.full(live.size, math.nan)
        per_class[live] = self.pull[live] / self.square_norms[live]
        low, high = float(per_class[live].min()), float(per_class[live].max())
        return EffectiveDecays(
            lambda_w=s / weights,
            lambda_h=s / norms,
            lambda_b=None if bias is None else self._bias_decay(np.asarray(bias, dtype=np.float64)),
            per_class=per_class,
            misfit_w=_misfit(s, weights, float((self.weight_gradient**2).sum())),
            misfit_h=_misfit(s, norms, gradient),
            spread=high / low if low > 0.0 else math.inf,
            loss_value=self.loss_value,
            product=math.sqrt(weights) * math.sqrt(norms),
            features=features,
            biased=bias is not None,
            _optimum=_optimum(candidate, loss, features, biased=bias is not None),
        )

    def _bias_decay(self, bias: FloatArray) -> float | None:
        square = float(bias @ bias)
        return -float(self.bias_gradient @ bias) / square if square > 0.0 else None


def _told(logits: FloatArray, b: FloatArray, loss: Loss, y: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Logits without the bias as they came, a row a sample; gradients of its loss at them with the bias; the losses."""
    gradients, losses = np.empty_like(logits), np.empty(len(y))
    for part in row_tiles(len(y), logits.shape[1]):
        layout, columns = loss.layout(logits.shape[1], y[part]), (logits[part] + b).T
        gradients[part] = loss.residuals(columns, layout).T
        losses[part] = loss.values(columns, layout)
    return logits, gradients, losses


def _misfit(s: float, square: float, gradient: float) -> float:
    """√(1 − s² / (‖x‖² ‖∇‖²)), the sine of the angle between x and −∇."""
    return math.sqrt(max(1.0 - (s / math.sqrt(square)) ** 2 / gradient, 0.0))


def _optimum(candidate: Candidate, loss: Loss, features: Features, *, biased: bool) -> Callable[[float], float]:
    """f*(q), by a theorem where one holds."""

    def value(q: float) -> float:
        problem = Problem(candidate.class_counts, q, q, loss=loss, features=features, bias="free" if biased else None)
        if theory.find(problem) is not None:
            return float(theory.optimum(problem).value)
        return solve(problem).lower_bound

    return value


def _least(function: Callable[[float], float], square: float) -> float:
    """The least value of a convex function of q > 0, by golden section in log q about q = √square."""
    centre = 0.5 * math.log(square)
    low, high = centre - _WIDTH, centre + _WIDTH
    left, right = high - _RATIO * (high - low), low + _RATIO * (high - low)
    at_left, at_right = function(math.exp(left)), function(math.exp(right))
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _RATIO * (high - low)
            at_left = function(math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + _RATIO * (high - low)
            at_right = function(math.exp(right))
    return min(at_left, at_right)

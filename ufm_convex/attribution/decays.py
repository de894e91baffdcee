"""Effective decays: for which of the unconstrained feature models a candidate is nearest to being stationary.

With G = ∇CE at the logits (1/N and class weights included, the bias added) and s = −Σ_i <G_i, W h_i>,

    λ_W = s/‖W‖²     λ_H = s/‖H‖²     λ_b = −<∇_b CE, b>/‖b‖²                          (docs/decays.md)

are the decays of the problem at every stationary point of one, and always those that minimise ‖∇_W CE + λ W‖ and
‖Π(∇_H CE + λ H)‖, with Π(v) = v where h > 0 and min(v, 0) where h = 0 (free features: Π the identity). What is left of
the gradients are the misfits. Features are read once; nothing of size N × K or K × K is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._pairs import row_blocks
from ufm_convex.candidate import Candidate, NegativeEntries, Progress, blocks, require_candidate
from ufm_convex.errors import CandidateError, HypothesisError, UnknownNameError, shown
from ufm_convex.losses import CrossEntropy, Loss, traits
from ufm_convex.problem import Features, Problem

if TYPE_CHECKING:
    from ufm_convex.theory import FrameOptimum

DEAD = 1e-3
"""Share of the root mean square length up to which the features of a class are dead, and say nothing of a decay."""

SPREAD_LIMIT, MISFIT_LIMIT = 10.0, 0.5
"""Up to these the model applies: penalties give a spread of 1, batch norm of 1.05 to 1.13, and where neither is there
25 to 105 was measured (docs/decays.md)."""

_LARGEST = 2.0**300


@dataclass(frozen=True, eq=False)
class EffectiveDecays:
    """The decays that a candidate is nearest to being stationary for; floating point.

    Attributes:
        lambda_w: λ_W = s/‖W‖²; None where s ≤ 0 or W = 0, as then no decay fits.
        lambda_h: λ_H = s/‖H‖², the mean of ``per_class`` with weights ‖H_k‖²; None likewise.
        lambda_b: λ_b; 0 for a stationary bias without decay. None without a bias, or with b = 0.
        per_class: λ_{H,k} = s_k/‖H_k‖², (K,); NaN for classes whose features are zero, or dead.
        misfit_w: Least ‖∇_W CE + λ W‖ over ‖∇_W CE‖, in [0, 1]: the sine of the angle between them. 0 if both vanish.
        misfit_h: Least ‖Π(∇_H CE + λ H)‖ over ‖Π ∇_H CE‖, in [0, 1], accurate to 1e-8. Batch norm decays the norms of
            units and not single features, and leaves .3 to .4 here: judge by the spread and ``misfit_w``.
        spread: Largest over least of ``per_class``; +inf where some s_k ≤ 0 or no class is alive.
        excess: CE minus the least CE of any W, H with this ‖W‖·‖H‖, which is the gap at the ratio of decays and the
            decay that suit the candidate best; it needs no λ. None with a bias, or where no theorem gives the optimum.
        features: What the features were taken for, "nonnegative" or "free".
    """

    lambda_w: float | None
    lambda_h: float | None
    lambda_b: float | None
    per_class: FloatArray
    misfit_w: float
    misfit_h: float
    spread: float
    excess: float | None
    features: Features

    @property
    def applies(self) -> bool:
        """Whether the model applies: decays > 0 fit, a spread of at most 10, and a ``misfit_w`` of at most 1/2."""
        return not self.why

    @property
    def why(self) -> str:
        """Why the model does not apply; empty where it does."""
        if self.lambda_w is None or self.lambda_h is None:
            return "no decay > 0 fits: longer W and H would lower the loss, and nothing pulls them back"
        reasons = []
        if not self.spread <= SPREAD_LIMIT:
            reasons.append(f"the decays of the features differ by a factor of {self.spread:.3g} between classes")
        if not self.misfit_w <= MISFIT_LIMIT:
            reasons.append(f"{100.0 * self.misfit_w:.0f} % of the classifier's gradient is not along the classifier")
        return "; ".join(reasons)

    def require(self) -> tuple[float, float]:
        """λ_W and λ_H.

        Raises:
            HypothesisError: no decay > 0 fits.
        """
        if self.lambda_w is None or self.lambda_h is None:
            raise HypothesisError(
                "the candidate has no effective decays: its loss does not grow with the length of W and H.",
                expected="Σ <∇CE, W h> < 0, as at every stationary point of a penalised loss",
                fix="state the decays; a candidate with W = 0 or H = 0, or of the wrong labels, has none.",
            )
        return self.lambda_w, self.lambda_h


def effective_decays(
    candidate: Candidate,
    loss: Loss | None = None,
    features: Features | None = None,
    *,
    progress: Progress | None = None,
) -> EffectiveDecays:
    """The decays of the problem that a candidate is nearest to being a stationary point of.

    At a stationary point of a problem with decays they are those decays, whatever loss, smoothing and class weights:
    the misfits are 0 and the spread is 1. They are also defined where the candidate is stationary for none, so that
    ``applies`` has to be looked at.

    Args:
        candidate: W and features, of all samples or class means.
        loss: The loss, with its class weights and smoothing; None for cross-entropy.
        features: "nonnegative" or "free"; None for "free" where an entry is negative, else "nonnegative".
        progress: Called after each block of features with (rows done, rows in all).

    Raises:
        CandidateError: it is no candidate, a feature is NaN or infinite, an entry is beyond 2³⁰⁰, or one is negative
            though the features are said to be non-negative.
        HypothesisError: the loss has no gradient everywhere.
        ShapeError: the loss has parameters for another number of classes.
        UnknownNameError: ``features`` is neither of its two words.

    Source: docs/decays.md.

    Example:
        >>> import ufm_convex as ufm
        >>> problem = ufm.Problem([50, 30, 20], lambda_w=5e-3, lambda_h=1e-3)
        >>> W, H = ufm.solve(problem).factors()
        >>> found = effective_decays(ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts))
        >>> f"{found.lambda_w:.6f} {found.lambda_h:.6f} {found.spread:.6f}"
        '0.005000 0.001000 1.000000'
    """
    require_candidate(candidate)
    chosen = CrossEntropy() if loss is None else loss
    chosen.validate(candidate.num_classes)
    traits.require(chosen, ("differentiable",), fix="state the decays, or use a loss with a gradient.")
    if features is not None and features not in get_args(Features):
        raise UnknownNameError(
            f"features is {shown(features)}.",
            expected='"nonnegative", "free", or None',
            fix="leave it out: the sign of the entries says which.",
        )
    sums = _Sums(candidate, chosen)
    for block in blocks(candidate, progress=progress):
        sums.negative.see(block)
        for part in row_blocks(len(block.labels), candidate.num_classes):
            sums.add(block.features[part], block.labels[part])
    return sums.decays(features)


class _Sums:
    """What one pass over the features gathers: loss, gradients in W and b, and of the features their sizes.

    Attributes:
        bias: b, (K,); None without one.
    """

    def __init__(self, candidate: Candidate, loss: Loss, bias: FloatArray | None = None) -> None:
        self.loss, self.bias, self.counts = loss, bias, candidate.class_counts
        self.W, K = candidate.weights.astype(np.float64), candidate.num_classes
        if not float(np.abs(self.W).max()) <= _LARGEST:
            raise CandidateError(
                f"weights has an entry of absolute value {float(np.abs(self.W).max()):.3g}.",
                expected="absolute values up to 2**300",
                fix="the training diverged: no decay holds it.",
            )
        self.times = candidate.multiplicities
        self.row_weights = loss.weights(K) * self.times / candidate.num_samples
        self.negative = NegativeEntries()
        self.value = 0.0
        self.grad_w, self.grad_b = np.zeros_like(self.W), np.zeros(K)
        self.pull, self.squares = np.zeros(K), np.zeros(K)
        self.grad_h, self.grad_h_projected = 0.0, 0.0

    def add(self, features: FloatArray, y: IntArray) -> None:
        """Take rows (C, d) with their classes (C,) into account."""
        K, times, weights = len(self.W), self.times[y], self.row_weights[y]
        logits, layout = (features @ self.W.T).T, self.loss.layout(K, y)
        outputs = logits if self.bias is None else logits + self.bias[:, None]
        self.value += float(weights @ self.loss.values(outputs, layout))
        residuals = self.loss.residuals(outputs, layout)  # of one sample, without weights
        self.pull -= np.bincount(y, weights * np.einsum("ij,ij->j", residuals, logits), minlength=K)
        self.squares += np.bincount(y, times * np.einsum("ij,ij->i", features, features), minlength=K)
        weighted = residuals * weights
        self.grad_w += weighted @ features
        self.grad_b += weighted.sum(axis=1)
        gradients = residuals.T @ self.W  # ∇_h of each row, times N/ω
        scale = weights * weights / times  # the samples of a class mean share its gradient
        self.grad_h += float(scale @ np.einsum("ij,ij->i", gradients, gradients))
        gradients[(features == 0.0) & (gradients > 0.0)] = 0.0  # Π
        self.grad_h_projected += float(scale @ np.einsum("ij,ij->i", gradients, gradients))

    def decays(self, features: Features | None) -> EffectiveDecays:
        """The decays, from the sums."""
        free = self.negative.count > 0 if features is None else features == "free"
        if self.negative.count and not free:
            row, column = self.negative.place
            raise CandidateError(
                f"features[{row}, {column}] is {self.negative.smallest}; {self.negative.count} entries are negative.",
                expected='features >= 0, as features="nonnegative" says',
                fix="leave features out, or pass the features after the ReLU.",
            )
        w, h, pull = float(np.vdot(self.W, self.W)), math.fsum(self.squares.tolist()), math.fsum(self.pull.tolist())
        fits = pull > 0.0 and w > 0.0 and h > 0.0
        along = pull / w if w > 0.0 else 0.0
        gradient = self.grad_h if free else self.grad_h_projected
        chosen: Features = "free" if free else "nonnegative"
        per_class = self._per_class(h)
        return EffectiveDecays(
            lambda_w=pull / w if fits else None,
            lambda_h=pull / h if fits else None,
            lambda_b=self._lambda_b(),
            per_class=per_class,
            misfit_w=_share(float(np.linalg.norm(self.grad_w + along * self.W)), float(np.linalg.norm(self.grad_w))),
            misfit_h=math.sqrt(max(1.0 - pull * pull / h / gradient, 0.0)) if h > 0.0 and gradient > 0.0 else 0.0,
            spread=_spread(per_class),
            excess=None if self.bias is not None else _excess(self, math.sqrt(w) * math.sqrt(h), chosen),
            features=chosen,
        )

    def _per_class(self, square: float) -> FloatArray:
        """λ_{H,k}, NaN for dead classes."""
        alive = (self.squares > 0.0) & (self.squares * self.counts.sum() > DEAD**2 * square * self.counts)
        found = np.full(self.squares.size, math.nan)
        found[alive] = self.pull[alive] / self.squares[alive]
        return found

    def _lambda_b(self) -> float | None:
        if self.bias is None or not self.bias.any():
            return None
        return -float(self.grad_b @ self.bias) / float(self.bias @ self.bias)


def _share(part: float, whole: float) -> float:
    return min(part / whole, 1.0) if whole > 0.0 else 0.0


def _spread(per_class: FloatArray) -> float:
    """Largest over least of the classes that are alive."""
    alive = per_class[~np.isnan(per_class)]
    return float(alive.max() / alive.min()) if alive.size and alive.min() > 0.0 else math.inf


# -- without decays --------------------------------------------------------------------------------------------------


def _excess(sums: _Sums, product: float, features: Features) -> float | None:
    """CE + q ‖W‖ ‖H‖ − f*(q) at the q where it is least; None where no theorem gives f*.

    f* depends on q = √(λ_W λ_H) alone, is concave in it, and df*/dq = ‖W*‖ ‖H*‖ falls from +∞ to 0. The difference is
    convex and flat at its minimum, so q need not be accurate.
    """
    from scipy.optimize import brentq

    def optimum(log_q: float) -> FrameOptimum | None:
        q = math.exp(log_q)
        try:
            found = theory.optimum(Problem(sums.counts, q, q, loss=sums.loss, features=features))
        except HypothesisError:  # no theorem for this loss and sign
            return None
        return found if isinstance(found, theory.FrameOptimum) else None

    low, high = -300.0, 0.0
    if optimum(high) is None:
        return None

    def longer(log_q: float) -> float:
        found = optimum(log_q)
        return 0.0 if found is None else math.log1p(2.0 * found.sensitivity_w) - math.log1p(product)

    while longer(high) > 0.0 and high < 300.0:
        high += 10.0
    if longer(low) <= 0.0:
        return None
    place = high if longer(high) >= 0.0 else float(brentq(longer, low, high, xtol=1e-12))
    at = optimum(place)
    return None if at is None else sums.value + math.exp(place) * product - at.value

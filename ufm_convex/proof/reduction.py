"""(34)–(37): from the samples to one margin a class, and from the loss to a linear function of the margins."""

from __future__ import annotations

import math
from typing import ClassVar

from ufm_convex.proof.base import ProofStep, Terms
from ufm_convex.proof.point import ChainPoint


class WrongLogits(ProofStep):
    """Convexity of exp over the wrong classes, put into log(1 + ·), where the proof uses it."""

    number: ClassVar[str] = "34"
    name: ClassVar[str] = "wrong logits averaged"
    statement: ClassVar[str] = "(1/N) Σ CE(W h_i, y_i) ≥ (1/N) Σ log(1 + (K−1) exp x_i)"
    equality: ClassVar[str] = "the logits of the wrong classes of each sample coincide"

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        found = point.samples
        residuals = {"largest range of the wrong logits of a sample": found.largest_wrong_range}
        return Terms(math.fsum(found.losses), math.fsum(found.symmetric_losses), found.wrong_spread, residuals)


class AveragedMargins(ProofStep):
    """Jensen over the samples of a class, in the losses."""

    number: ClassVar[str] = "35a"
    name: ClassVar[str] = "margins averaged"
    statement: ClassVar[str] = "(1/N) Σ log(1 + (K−1) exp x_i) ≥ Σ_k (n_k/N) log(1 + (K−1) exp x_k)"
    equality: ClassVar[str] = "all samples of a class have the same x_i"

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        found = point.samples
        residuals = {"largest |x_i − x_k|": found.largest_margin_deviation}
        return Terms(math.fsum(found.symmetric_losses), point.g, found.margin_spread, residuals)


class AveragedFeatures(ProofStep):
    """Jensen over the samples of a class, in the features."""

    number: ClassVar[str] = "35b"
    name: ClassVar[str] = "features averaged"
    statement: ClassVar[str] = "λ_H/2 Σ ‖h_i‖² ≥ λ_H/2 Σ_k n_k ‖h_k‖²"
    equality: ClassVar[str] = "h_i = h_k for all samples of each class"

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        parts = 0.5 * point.problem.lambda_h * point.samples.variability
        right = 0.5 * point.problem.lambda_h * point.B
        residuals = {"largest ‖h_i − h_k‖": point.samples.largest_deviation}
        return Terms(math.fsum([right, *parts.tolist()]), right, parts, residuals)


class TangentLine(ProofStep):
    """The tangent of log(1 + (K−1) eˣ) with slope t_k = 1/(1 + c_{1k}): Fenchel–Young."""

    number: ClassVar[str] = "36"
    name: ClassVar[str] = "tangent line"
    statement: ClassVar[str] = "Σ_k log(1 + (K−1) exp x_k) ≥ Σ_k [x_k/(1 + c_1k) + c_2k], class by class"
    equality: ClassVar[str] = "(38): t_k = 1/(1 + c_1k) is the wrong-class mass at x_k"

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        losses, parts = point.symmetric_losses, point.divergences(point.x)
        residuals = {"largest |t_k − wrong-class mass at x_k|": point.mass_error(point.x)}
        return Terms(math.fsum(losses), _tangent(point), parts, residuals)


class LinearBound(ProofStep):
    """(36) with the weights of the classes."""

    number: ClassVar[str] = "37"
    name: ClassVar[str] = "linear bound"
    statement: ClassVar[str] = "g ≥ Σ_k (n_k/N) [x_k/(1 + c_1k) + c_2k]"
    equality: ClassVar[str] = "(38) for every class"

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        parts = point.problem.loss_weights * point.divergences(point.x)
        residuals = {"largest |t_k − wrong-class mass at x_k|": point.mass_error(point.x)}
        return Terms(point.g, point.linear_bound, parts, residuals)


def _tangent(point: ChainPoint) -> float:
    """Σ_k (t_k x_k + Ent p_k*)."""
    return math.fsum([*(point.optimum.wrong_mass * point.x).tolist(), *point.entropies.tolist()])

"""Lemma 2: the four conditions (58)–(61) of equality, each as a deviation ≥ 0 that vanishes iff it holds.

They need no common scalar, and together with equal features within each class they characterise every optimum,
collapsed classes included.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ufm_convex._pairs import products_by_row
from ufm_convex.proof.alignment import largest_misalignment
from ufm_convex.proof.base import ProofStep, Terms
from ufm_convex.proof.point import ChainPoint


class Orthogonality(ProofStep):
    """(58)."""

    number: ClassVar[str] = "58"
    name: ClassVar[str] = "orthogonal class means"
    statement: ClassVar[str] = "Σ_{k<l} h_k·h_l ≥ 0"
    equality: ClassVar[str] = "h_k·h_l = 0 for k ≠ l"

    def terms(self, point: ChainPoint) -> Terms:
        """By class, pairs in halves."""
        parts = products_by_row(point.H)
        return Terms(math.fsum(parts.tolist()), 0.0, parts, {"largest h_k·h_l": point.largest_overlap})


class SelfDuality(ProofStep):
    """(59)."""

    number: ClassVar[str] = "59"
    name: ClassVar[str] = "self-duality"
    statement: ClassVar[str] = "Σ_k (‖w_k‖² + c² ‖V_k‖²) ≥ 2c Σ_k w_k·V_k"
    equality: ClassVar[str] = "w_k = c V_k"

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        cV = point.c * point.V
        left = point.W_square + float((cV * cV).sum())
        parts = (point.misalignment**2).sum(axis=1)
        residuals = {"largest ‖w_k − c V_k‖": largest_misalignment(point)}
        return Terms(left, 2.0 * float((point.W * cV).sum()), parts, residuals)


class Scale(ProofStep):
    """(60), multiplied out so that it makes sense where V = 0."""

    number: ClassVar[str] = "60"
    name: ClassVar[str] = "scale"
    statement: ClassVar[str] = "‖W‖² + c² ‖V‖² ≥ 2c ‖W‖ ‖V‖"
    equality: ClassVar[str] = "c_3 = ‖W‖/‖V‖ = c"

    def terms(self, point: ChainPoint) -> Terms:
        """One number."""
        w, v = math.sqrt(point.W_square), point.c * math.sqrt(float((point.V * point.V).sum()))
        return Terms(w * w + v * v, 2.0 * w * v, np.array([(w - v) * (w - v)]), {"|‖W‖ − c ‖V‖|": abs(w - v)})


class Lengths(ProofStep):
    """(61), (65): the tangent of (36) at the margin c √n_k ‖h_k‖² that an orthogonal self-dual point has."""

    number: ClassVar[str] = "61"
    name: ClassVar[str] = "lengths"
    statement: ClassVar[str] = "Σ_k log(1 + (K−1) e^{−u_k}) ≥ Σ_k [−t_k u_k + Ent(p_k)], u_k = c √n_k ‖h_k‖²"
    equality: ClassVar[str] = "c_1k = exp(c √n_k ‖h_k‖²)/(K−1)"

    def terms(self, point: ChainPoint) -> Terms:
        """By class."""
        u = point.c * np.sqrt(point.problem.class_counts) * point.square_norms
        losses = point.there * point.problem.loss.margin_values(u, point.problem.num_classes)
        right = math.fsum([*point.entropies.tolist(), *(-point.optimum.wrong_mass * u).tolist()])
        residuals = {"largest |t_k − wrong-class mass at margin u_k|": point.mass_error(-u)}
        return Terms(math.fsum(losses), right, point.divergences(-u), residuals)

"""The gap of a point and a dual point, split into terms that are ≥ 0, and the KKT report made of them.

Implements equation 3 and section 5 of docs/contrastive_duality.md. Pure NumPy: no solver, no I/O.

Shapes: G groups of classes with equal counts.
Units:  inner products are relative to the largest ‖h_i‖² or the temperature, all else to the objective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.contrastive.enclosure import gains
from ufm_convex.contrastive.points import ContrastiveDual, ContrastivePoint, anchors, logits
from ufm_convex.contrastive.problem import ContrastiveProblem, samples_in
from ufm_convex.contrastive.targets import LOSS
from ufm_convex.duality import Condition, KKTReport
from ufm_convex.duality.kkt import ROUNDING


@dataclass(frozen=True)
class ContrastiveTerms:
    """Objective = dual value + the four others; each of these is ≥ 0 for admissible points.

    Attributes:
        dual_value: Σ n_k [Ent(p_k) − s_k τ/T], the lower bound of the dual point.
        calibration: Σ_i KL(p_i ‖ softmax of row i).
        nonnegativity: <Θ, G>: what inner products between classes cost.
        slack: <S, G>: what spread within classes and a penalty that no loss repays cost.
        bound: Σ_i s_i (τ − ‖h_i‖²)/T: what unused length costs; 0 under a penalty.
    """

    dual_value: float
    calibration: float
    nonnegativity: float
    slack: float
    bound: float

    @property
    def objective(self) -> float:
        """The sum."""
        return self.dual_value + self.calibration + self.nonnegativity + self.slack + self.bound


def terms(problem: ContrastiveProblem, point: ContrastivePoint, dual: ContrastiveDual) -> ContrastiveTerms:
    """The terms of equation 3 at a point and a dual point with the same groups."""
    groups, s, T = point.groups, dual.outside, problem.temperature
    samples = samples_in(groups) * anchors(groups)
    mean_outside = (_shares(problem, point) * _outside_products(point)).sum(axis=1)
    # classes of one sample have no anchor: their features cost the penalty and nothing else
    multiplier = s if problem.bound is not None else np.full(groups.size, problem.scaled_penalty)
    slack = samples_in(groups) @ (multiplier * point.squares - s * point.within) / T
    unused = 0.0 if problem.bound is None else float(samples @ (s * (problem.bound - point.squares))) / T
    return ContrastiveTerms(
        dual_value=float(samples @ gains(problem, groups, s)),
        calibration=float(samples @ _divergences(problem, point, s)),
        nonnegativity=float(samples @ (s * mean_outside)) / T,
        slack=float(slack),
        bound=unused,
    )


def _shares(problem: ContrastiveProblem, point: ContrastivePoint) -> FloatArray:
    """Share of the samples outside an anchor's class that each group holds, (G, G); (G, 1) for orthogonal classes."""
    groups = point.groups
    if point.between is None:
        return np.ones((groups.size, 1))
    shares: FloatArray = groups.others.T * groups.counts / (problem.num_samples - groups.counts)[:, None]
    return shares


def _outside_products(point: ContrastivePoint) -> FloatArray:
    """Inner products with the samples outside the class, of the shape of ``_shares``."""
    return np.zeros((point.groups.size, 1)) if point.between is None else point.between


def _divergences(problem: ContrastiveProblem, point: ContrastivePoint, s: FloatArray) -> FloatArray:
    """KL(p ‖ softmax) of an anchor of each group, (G,)."""
    rows, z = logits(problem, point)
    return rows.by_group(np.maximum(LOSS.fenchel_young(rows.residuals(s), z, rows.layout), 0.0))


def report(problem: ContrastiveProblem, point: ContrastivePoint, dual: ContrastiveDual, epsilon: float) -> KKTReport:
    """One named residual a condition.

    Args:
        problem: The problem.
        point: Primal point.
        dual: Dual point with the same groups.
        epsilon: The relative gap that sets the tolerances: a residual that the gap bounds linearly gets ε; the softmax,
            whose distance ‖Δ‖₁ enters as ½‖Δ‖₁² (Pinsker), gets 2 √ε.
    """
    found = terms(problem, point, dual)
    scale = max(abs(found.objective), float(np.finfo(np.float64).tiny))
    length = max(problem.temperature, float(np.max(point.squares)))
    s, linear = dual.outside, max(epsilon, ROUNDING)
    residuals = {
        "primal_psd": (max(0.0, -point.least_eigenvalue()) / length, linear),
        "primal_nonnegativity": (max(0.0, -point.least_entry()) / length, linear),
        "dual_domain": (max(0.0, float(np.max(s)) - 1.0), ROUNDING),
        "dual_nonnegativity": (max(0.0, -float(np.min(s))), ROUNDING),
        "stationarity": (math.sqrt(_squared_distances(problem, point, s) / scale), 2.0 * math.sqrt(linear)),
        "complementarity_psd": (abs(found.slack) / scale, linear),
        "complementarity_nonnegativity": (abs(found.nonnegativity) / scale, linear),
        "duality_gap": (abs(found.objective - found.dual_value) / scale, linear),
    }
    if problem.bound is not None:
        excess = max(0.0, float(np.max(point.squares)) / problem.bound - 1.0)
        residuals["primal_norm_bound"] = excess, linear
        residuals["complementarity_norm_bound"] = abs(found.bound) / scale, linear
    else:
        residuals["dual_slack_psd"] = max(0.0, float(np.max(s)) - problem.scaled_penalty), ROUNDING
    return KKTReport(tuple(Condition(name, *pair) for name, pair in residuals.items()))


def _squared_distances(problem: ContrastiveProblem, point: ContrastivePoint, s: FloatArray) -> float:
    """Σ_i ‖p_i − softmax of row i‖₁²."""
    rows, z = logits(problem, point)
    away = np.abs(LOSS.residuals(z, rows.layout) - rows.residuals(s))
    return float(samples_in(point.groups) @ rows.by_group(rows.layout.sum(rows.layout.hide(away))) ** 2)

"""KKT residuals and strong duality, one named residual a condition.

Implements (KKT-1) to (KKT-13) of docs/kkt.md, section 4, and (KKT-14) of docs/duality_bias.md, section 8. Pure NumPy:
no solver, no I/O.

Shapes: as in ``relaxation``, at any level; Z = [[A, L], [Lᵀ, B]], S = [[S_A, U/2], [Uᵀ/2, S_B]].
Sign:   S ⪰ 0 is the multiplier of Z ⪰ 0 and T/(2 λ_W) ≥ 0 that of B ≥ 0, so <S, Z> = <T, B> = 0 at optimality.
Units:  Z is measured in units of the penalty and relative to the objective f; S and T in units where D = I. All
        residuals are therefore pure numbers, 0 at an exact solution.
Tolerances follow from a single number, the relative gap ε: a residual that the gap bounds linearly gets ε, one that
enters the gap squared gets a multiple of √ε (the inequality is named beside it).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import Bias, bias_of
from ufm_convex.relaxation import (
    Alike,
    AxesDual,
    AxesPoint,
    Columns,
    Dual,
    Factors,
    FrameDual,
    FramePoint,
    Gram,
    dual_value,
    frame_terms,
    margin_loss,
    objective,
    terms,
)

ROUNDING = 1e-9
"""Tolerance of conditions that hold by construction, exactly or up to rounding of K-term sums and eigenvalues."""


@dataclass(frozen=True)
class Condition:
    """One KKT condition.

    Attributes:
        name: As in docs/kkt.md, section 4, and as the key in JSON.
        residual: Violation, ≥ 0; 0 at an exact solution.
        tolerance: Largest residual that passes.
    """

    name: str
    residual: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Residual within tolerance; False for NaN."""
        return self.residual <= self.tolerance


@dataclass(frozen=True)
class KKTReport:
    """All conditions, in the order of docs/kkt.md.

    Attributes:
        conditions: One entry a condition.
    """

    conditions: tuple[Condition, ...]

    @property
    def passed(self) -> bool:
        """True when every condition passes."""
        return all(condition.passed for condition in self.conditions)

    @property
    def worst(self) -> Condition:
        """The condition with the largest residual in units of its tolerance."""
        return max(self.conditions, key=lambda c: c.residual / c.tolerance if c.residual == c.residual else math.inf)

    @property
    def residuals(self) -> dict[str, float]:
        """Name → residual."""
        return {condition.name: condition.residual for condition in self.conditions}

    def __getitem__(self, name: str) -> Condition:
        return next(condition for condition in self.conditions if condition.name == name)

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.conditions)


def tolerances(epsilon: float) -> dict[str, float]:
    """Name → tolerance for a relative gap ε; the reasons are in docs/kkt.md, section 4."""
    linear, root = max(epsilon, ROUNDING), math.sqrt(max(epsilon, ROUNDING))
    return {
        "primal_psd": linear,
        "primal_nonnegativity": linear,
        "factor_consistency": 10.0 * root,
        "dual_domain": ROUNDING,
        "dual_nonnegativity": ROUNDING,
        "dual_slack_psd": ROUNDING,
        "stationarity_logits": 2.0 * root,  # Pinsker: pt ½‖Δ‖₁² <= gap
        "stationarity_weight_gram": ROUNDING,
        "stationarity_feature_gram": ROUNDING,
        "complementarity_psd": linear,
        "complementarity_nonnegativity": linear,
        "duality_gap": linear,
        "balance": 3.0 * root,  # ½(√λ_W‖W‖ − √λ_H‖H‖)² <= gap
    }


def report(columns: Columns, point: Gram, dual: Dual, factors: Factors, epsilon: float) -> KKTReport:
    """The report at any level: equal to that of the points written out.

    Args:
        columns: Columns of any level.
        point: Primal point Z.
        dual: Dual point, with its own S_A and S_B where it carries them.
        factors: W and H that claim to factor Z.
        epsilon: The relative gap that sets the tolerances.
    """
    value = objective(columns, point)
    # outside the conjugate's domain the dual value is −∞; how far outside is KKT-4, the gap is taken at the edge
    inside = replace(dual, V=columns.admitted(columns.into_domain(dual.V)))
    lower = dual_value(columns, inside.V)
    scale = _scale(value, lower)
    rows, features = np.full(columns.outputs.size, math.sqrt(columns.lambda_w)), _features(columns)
    Z, S = point.scaled(rows, features), _multiplier(columns, dual)
    offset = np.zeros(columns.outputs.size) if point.bias is None else point.bias
    residuals = {
        **primal_residuals(columns, point, factors, scale),
        **_dual_residuals(columns, dual, S),
        **_stationarity_residuals(columns, point, dual, S, scale),
        "complementarity_psd": abs(S.inner(Z)) / scale,
        "complementarity_nonnegativity": abs(terms(columns, point, inside).nonnegativity) / scale,
        "duality_gap": abs(value - lower) / scale,
        "balance": abs(Z.A.trace() - Z.B.trace()) / scale,  # Lemma 1 of Dang et al. 2024
        **columns.bias.residuals(offset, *columns.sums(dual.V), scale),
    }
    return _report(residuals, epsilon, columns.bias)


def frame_report(problem: Problem, point: FramePoint, dual: FrameDual, epsilon: float) -> KKTReport:
    """The report on an orthogonal frame, in O(K): equal to the dense report of the same points."""
    found = frame_terms(problem, point, dual)
    scale = max(abs(found.objective), np.finfo(float).tiny)
    K, loss = problem.num_classes, margin_loss(problem)
    fraction = (K - 1) / K
    strength = problem.loss_weights * dual.strengths
    bias, sums = bias_of(problem.bias, problem.loss, K), strength.mean() - strength
    ratio = dual.strengths / problem.prices
    stray = dual.strengths - loss.nearest_margin_strengths(dual.strengths, point.margins, K)
    outside = ~np.isfinite(loss.margin_conjugates(dual.strengths, K))
    root = np.sqrt(problem.lambda_h * problem.class_counts)
    weights_penalty = problem.lambda_w * fraction * float(point.omega @ point.omega)
    features_penalty = problem.lambda_h * float(problem.class_counts @ point.eta**2)
    residuals = {
        "primal_psd": 0.0,
        "primal_nonnegativity": max(0.0, -float((point.eta * root).min()) / math.sqrt(scale)),
        "factor_consistency": 0.0,
        "dual_domain": float(np.abs(dual.strengths[outside]).max(initial=0.0)),
        "dual_nonnegativity": max(0.0, -float(ratio.min())),
        "dual_slack_psd": max(0.0, -float((1.0 - ratio**2 * fraction).min())),
        # ‖Δ v_k‖₁ of a ray −q (e_k − 1/K) is 2 |Δq| (K−1)/K
        "stationarity_logits": float((2.0 * fraction * np.abs(stray) * np.sqrt(problem.loss_weights / scale)).max()),
        "stationarity_weight_gram": 0.0,
        "stationarity_feature_gram": 0.0,
        "complementarity_psd": abs(found.alignment + found.slack) / scale,
        "complementarity_nonnegativity": abs(found.nonnegativity) / scale,
        "duality_gap": abs(found.gap) / scale,
        "balance": abs(weights_penalty - features_penalty) / scale,
        **bias.residuals(np.zeros(K), sums, float(2.0 * fraction * strength.sum()), scale),
    }
    return _report(residuals, epsilon, bias)


def factors_report(columns: Columns, point: Factors, dual: Dual, epsilon: float) -> KKTReport:
    """The report for free features at factors and a dual point without T, with nothing m × m.

    Equal to that of their Gram matrices, which are positive semidefinite by being those.
    """
    found, value = terms(columns, point, dual), objective(columns, point)
    scale = _scale(value, found.dual_value)
    P = columns.weighted(dual.V).scaled(None, 1.0 / columns.sigma)
    wide = P.rows.size <= P.cols.size
    norm = math.sqrt(max(float((P @ P.T if wide else P.T @ P).eigenvalues().max()), 0.0))
    features = columns.lambda_h * columns.columns.numbers * columns.feature_weights
    penalties = columns.lambda_w * point.weight_trace(), float(features @ point.feature_squares())
    stray = np.abs((dual.V - columns.residuals(columns.outputs_of(point.logits, point.bias))).entries())
    lengths = (columns.layout.numbers * stray).sum(axis=0)
    residuals = {
        "primal_psd": 0.0,
        "primal_nonnegativity": 0.0,
        "factor_consistency": 0.0,
        "dual_domain": columns.loss.violation(dual.V.entries(), columns.layout),
        "dual_nonnegativity": 0.0,
        "dual_slack_psd": max(0.0, 0.5 * (norm - 1.0)),  # S = ½ [[I, P], [Pᵀ, I]]
        "stationarity_logits": float((lengths * np.sqrt(columns.loss_weights / scale)).max()),
        "stationarity_weight_gram": 0.0,
        "stationarity_feature_gram": 0.0,
        "complementarity_psd": abs(found.alignment + found.slack) / scale,
        "complementarity_nonnegativity": 0.0,
        "duality_gap": abs(value - found.dual_value) / scale,
        "balance": abs(penalties[0] - penalties[1]) / scale,
    }
    return _report(residuals, epsilon, columns.bias)


def axes_report(problem: Problem, point: AxesPoint, dual: AxesDual, epsilon: float) -> KKTReport:
    """The report of squared error on the coordinate axes, in O(K): equal to the dense report of the same points."""
    weights, q, margins = problem.loss_weights, dual.strengths, point.margins
    features = problem.lambda_h * problem.class_counts * point.eta**2
    misalignment = point.omega - weights * q * point.eta / problem.lambda_w
    ratio = q / problem.prices
    value = float(weights @ (0.5 * (1.0 - margins) ** 2)) + 0.5 * float(features.sum())
    value += 0.5 * problem.lambda_w * float(point.omega @ point.omega)
    scale = max(abs(value), np.finfo(float).tiny)
    residuals = {
        "primal_psd": 0.0,
        "primal_nonnegativity": max(0.0, -float((point.eta * np.sqrt(problem.lambda_h)).min()) / math.sqrt(scale)),
        "factor_consistency": 0.0,
        "dual_domain": 0.0,
        "dual_nonnegativity": 0.0,
        "dual_slack_psd": max(0.0, 0.5 * float((ratio - 1.0).max())),  # −λ_min of S = ½ [[I, P], [Pᵀ, I]]
        "stationarity_logits": float((np.abs(q - (1.0 - margins)) * np.sqrt(weights / scale)).max()),
        "stationarity_weight_gram": 0.0,
        "stationarity_feature_gram": 0.0,
        "complementarity_psd": abs(
            0.5 * problem.lambda_w * float(misalignment @ misalignment) + 0.5 * float((1.0 - ratio**2) @ features)
        )
        / scale,
        "complementarity_nonnegativity": 0.0,
        "duality_gap": abs(value - float(weights @ (q * (1.0 - 0.5 * q)))) / scale,
        "balance": abs(problem.lambda_w * float(point.omega @ point.omega) - float(features.sum())) / scale,
    }
    return _report(residuals, epsilon, bias_of(None, problem.loss, problem.num_classes))


def _scale(value: float, dual_value: float) -> float:
    """The objective, or the dual value where the loss is infinite at the point: an indicator, missed by a little."""
    return max(abs(value if math.isfinite(value) else dual_value), np.finfo(float).tiny)


def _report(residuals: dict[str, float], epsilon: float, bias: Bias) -> KKTReport:
    limits = {**tolerances(epsilon), **bias.tolerances(epsilon, ROUNDING)}
    return KKTReport(tuple(Condition(name, float(residuals[name]), limit) for name, limit in limits.items()))


def _features(columns: Columns) -> FloatArray:
    """√(λ_H ν), the units of features, (C,); those of rows of W are √λ_W."""
    return np.sqrt(columns.lambda_h * columns.feature_weights)


def primal_residuals(columns: Columns, point: Gram, factors: Factors, scale: float) -> dict[str, float]:
    """(KKT-1) to (KKT-3): what the primal point alone says.

    Args:
        columns: Columns of any level.
        point: Primal point Z.
        factors: W and H that claim to factor Z.
        scale: The objective that residuals are relative to, > 0.
    """
    rows, features = np.full(columns.outputs.size, math.sqrt(columns.lambda_w)), _features(columns)
    Z = point.scaled(rows, features)
    distance = Z - factors.gram().scaled(rows, features)
    asymmetry = max(_largest(Z.A - Z.A.T), _largest(Z.B - Z.B.T))
    lowest_entry = lowest_feature = 0.0
    if columns.nonnegative:
        lowest_entry = float(_entries(Z.B).min())
        lowest_feature = float(_entries(factors.H.scaled(features)).min())
    return {
        "primal_psd": max(asymmetry, -Z.least_eigenvalue()) / scale,
        "primal_nonnegativity": max(0.0, -lowest_entry / scale, -lowest_feature / math.sqrt(scale)),
        "factor_consistency": math.sqrt(max(distance.inner(distance), 0.0)) / scale,
    }


def _scaled_multiplier(columns: Columns, dual: Dual) -> Alike:
    """T in units where D = I."""
    sort, sigma = columns.columns, columns.sigma
    return Alike.zeros(sort, sort) if dual.T is None else dual.T.scaled(1.0 / sigma, 1.0 / sigma)


def _multiplier(columns: Columns, dual: Dual) -> Gram:
    """S in the units where stationarity asks for ½ I on its diagonal blocks."""
    outputs, sort, features = columns.outputs, columns.columns, _features(columns)
    S_A = Alike.diagonal(outputs, np.full(outputs.size, 0.5))
    S_B = 0.5 * (Alike.diagonal(sort, np.ones(sort.size)) - _scaled_multiplier(columns, dual))
    if dual.S_A is not None:
        S_A = (1.0 / columns.lambda_w) * dual.S_A
    if dual.S_B is not None:
        S_B = dual.S_B.scaled(1.0 / features, 1.0 / features)
    return Gram(S_A, 0.5 * dual.V.scaled(None, columns.loss_weights / columns.sigma), S_B)


def _dual_residuals(columns: Columns, dual: Dual, S: Gram) -> dict[str, float]:
    T = _scaled_multiplier(columns, dual)
    # free features have no constraint B >= 0, so any T at all is a violation
    wrong_T = max(0.0, -float(_entries(T).min())) if columns.nonnegative else _largest(T)
    return {
        "dual_domain": columns.loss.violation(dual.V.entries(), columns.layout),
        "dual_nonnegativity": max(wrong_T, _largest(T - T.T)),
        "dual_slack_psd": max(0.0, -S.least_eigenvalue()),
    }


def _stationarity_residuals(columns: Columns, point: Gram, dual: Dual, S: Gram, scale: float) -> dict[str, float]:
    outputs = columns.outputs_of(point.logits, point.bias)
    stray = np.abs((dual.V - columns.nearest(dual.V, outputs)).entries())
    lengths = (columns.layout.numbers * stray).sum(axis=0)
    target = _multiplier(columns, replace(dual, S_A=None, S_B=None))
    return {
        "stationarity_logits": float((lengths * np.sqrt(columns.loss_weights / scale)).max()),
        "stationarity_weight_gram": _largest(S.A - target.A),
        "stationarity_feature_gram": _largest(S.B - target.B),
    }


def _entries(matrix: Alike) -> FloatArray:
    """Every different entry."""
    diagonal = matrix.own() if matrix.rows is matrix.cols else np.zeros(0)
    return np.concatenate([matrix.even.ravel(), matrix.matches, diagonal])


def _largest(matrix: Alike) -> float:
    return float(np.abs(_entries(matrix)).max())

"""KKT residuals and strong duality, one named residual a condition.

Implements (KKT-1) to (KKT-13) of docs/duality.md, section 4, and (KKT-14) of section 8. Pure NumPy: no solver, no I/O.

Shapes: class level (or any columns); Z = [[A, L], [Lᵀ, B]], S = [[S_A, U/2], [Uᵀ/2, S_B]].
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

from ufm_convex import identity
from ufm_convex._arrays import FloatArray
from ufm_convex.bias import Bias, NoBias, bias_of
from ufm_convex.groups import GroupColumns, GroupDual, GroupPoint, Invariant
from ufm_convex.points import Columns, DualPoint, FrameDual, FramePoint, GramPoint
from ufm_convex.problem import Problem

ROUNDING = 1e-9
"""Tolerance of conditions that hold by construction, exactly or up to rounding of K-term sums and eigenvalues."""


@dataclass(frozen=True)
class Condition:
    """One KKT condition.

    Attributes:
        name: As in docs/duality.md, section 4, and as the key in JSON.
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
    """All conditions, in the order of docs/duality.md.

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
    """Name → tolerance for a relative gap ε; the reasons are in docs/duality.md, section 4."""
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


def dense_report(
    columns: Columns,
    point: GramPoint,
    dual: DualPoint,
    factors: tuple[FloatArray, FloatArray],
    epsilon: float,
) -> KKTReport:
    """The report for dense points.

    Args:
        columns: Class or sample columns.
        point: Primal point Z.
        dual: Dual point, with its own S_A and S_B where it carries them.
        factors: W (K, d) and H (m, d) that claim to factor Z.
        epsilon: The relative gap that sets the tolerances.
    """
    value = identity.objective(columns, point)
    # outside the conjugate's domain the dual value is −∞; how far outside is KKT-4, the gap is taken at the edge
    inside = replace(dual, residuals=columns.into_domain(dual.residuals))
    scale = _scale(value, identity.dual_value(columns, inside))
    sums = columns.sums(dual.residuals)
    residuals = {
        **_primal_residuals(columns, point, factors, scale),
        **_dual_residuals(columns, dual),
        **_stationarity_residuals(columns, point, dual, scale),
        "complementarity_psd": abs(_psd_pairing(columns, point, dual)) / scale,
        "complementarity_nonnegativity": abs(identity.terms(columns, point, inside).nonnegativity) / scale,
        "duality_gap": abs(value - identity.dual_value(columns, inside)) / scale,
        "balance": _balance(columns, point) / scale,
        **columns.bias.residuals(point.offset, *sums, scale),
    }
    return _report(residuals, epsilon, columns.bias)


def frame_report(problem: Problem, point: FramePoint, dual: FrameDual, epsilon: float) -> KKTReport:
    """The report on an orthogonal frame, in O(K): equal to the dense report of the same points."""
    found = identity.frame_terms(problem, point, dual)
    scale = max(abs(found.objective), np.finfo(float).tiny)
    K, loss = problem.num_classes, identity.margin_loss(problem)
    fraction = (K - 1) / K
    strength = problem.loss_weights * dual.strengths
    bias, sums = bias_of(problem.bias, problem.loss, K), strength.mean() - strength
    ratio = strength / problem.sigma
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


def group_report(
    columns: GroupColumns, point: GroupPoint, dual: GroupDual, factors: tuple[Invariant, Invariant], epsilon: float
) -> KKTReport:
    """The report for points that are alike on alike classes, in O(G³): equal to the dense report of the same points.

    Args:
        columns: Columns of a class of each group.
        point: Primal point Z.
        dual: Dual point, with its own S_A and S_B where it carries them.
        factors: W and H, (K, K) both, that claim to factor Z.
        epsilon: The relative gap that sets the tolerances.
    """
    value = identity.group_objective(columns, point)
    inside = replace(dual, residuals=columns.into_domain(dual.residuals))
    scale = _scale(value, identity.group_dual_value(columns, inside.residuals))
    rows = np.full(columns.groups.size, math.sqrt(columns.lambda_w))
    features = np.sqrt(columns.lambda_h * columns.feature_weights)
    Z, S = point.scaled(rows, features), _group_multiplier(columns, dual)
    W, H = factors
    distance = Z - GroupPoint.from_factors(W, H).scaled(rows, features)
    nothing = [0.0] if not columns.nonnegative else None
    classifier, means = Z.weight_gram.own, Z.feature_gram.own
    units = Invariant(columns.groups, features, np.zeros((features.size, features.size)))
    residuals = {
        "primal_psd": max(0.0, -Z.least_eigenvalue()) / scale,
        "primal_nonnegativity": max(
            0.0,
            -min(nothing or Z.feature_gram.entries()) / scale,
            -min(nothing or (units @ H).entries()) / math.sqrt(scale),
        ),
        "factor_consistency": math.sqrt(max(distance.inner(distance), 0.0)) / scale,
        **_group_dual_residuals(columns, dual, S),
        **_group_stationarity(columns, point, dual, S, scale),
        "complementarity_psd": abs(S.inner(Z)) / scale,
        "complementarity_nonnegativity": abs(identity.group_terms(columns, point, inside).nonnegativity) / scale,
        "duality_gap": abs(value - identity.group_dual_value(columns, inside.residuals)) / scale,
        "balance": abs(float(columns.groups.sizes @ (classifier - means))) / scale,
    }
    return _report(residuals, epsilon, NoBias())


def _group_multiplier(columns: GroupColumns, dual: GroupDual) -> GroupPoint:
    """S in the units where stationarity asks for ½ I on its diagonal blocks."""
    sigma, ones = columns.sigma, np.ones(columns.groups.size)
    identity_matrix = Invariant.identity(columns.groups)
    S_A = 0.5 * identity_matrix if dual.weight_block is None else dual.weight_block * (1.0 / columns.lambda_w)
    S_B = 0.5 * (identity_matrix - dual.nonnegativity.scaled(1.0 / sigma, 1.0 / sigma))
    if dual.feature_block is not None:
        root = np.sqrt(columns.lambda_h * columns.feature_weights)
        S_B = dual.feature_block.scaled(1.0 / root, 1.0 / root)
    return GroupPoint(S_A, 0.5 * dual.residuals.scaled(ones, columns.loss_weights / sigma), S_B)


def _group_dual_residuals(columns: GroupColumns, dual: GroupDual, S: GroupPoint) -> dict[str, float]:
    T = dual.nonnegativity.scaled(1.0 / columns.sigma, 1.0 / columns.sigma)
    wrong_T = max(0.0, -float(T.entries().min())) if columns.nonnegative else float(np.abs(T.entries()).max())
    V = dual.residuals
    return {
        "dual_domain": columns.loss.violation(V.columns(), columns.layout),
        "dual_nonnegativity": max(wrong_T, float(np.abs((T - T.T).entries()).max())),
        "dual_slack_psd": max(0.0, -S.least_eigenvalue()),
    }


def _group_stationarity(
    columns: GroupColumns, point: GroupPoint, dual: GroupDual, S: GroupPoint, scale: float
) -> dict[str, float]:
    stray = dual.residuals - columns.nearest(dual.residuals, point.logits)
    lengths = np.abs(stray.own) + (columns.groups.others * np.abs(stray.cross)).sum(axis=0)
    target = _group_multiplier(columns, replace(dual, weight_block=None, feature_block=None))
    return {
        "stationarity_logits": float((lengths * np.sqrt(columns.loss_weights / scale)).max()),
        "stationarity_weight_gram": float(np.abs((S.weight_gram - target.weight_gram).entries()).max()),
        "stationarity_feature_gram": float(np.abs((S.feature_gram - target.feature_gram).entries()).max()),
    }


def _scale(value: float, dual_value: float) -> float:
    """The objective, or the dual value where the loss is infinite at the point: an indicator, missed by a little."""
    return max(abs(value if math.isfinite(value) else dual_value), np.finfo(float).tiny)


def _report(residuals: dict[str, float], epsilon: float, bias: Bias) -> KKTReport:
    limits = {**tolerances(epsilon), **bias.tolerances(epsilon, ROUNDING)}
    return KKTReport(tuple(Condition(name, float(residuals[name]), limit) for name, limit in limits.items()))


def _units(columns: Columns) -> FloatArray:
    """The scaling that turns Z into penalty units: √λ_W for rows of W, √(λ_H ν_i) for columns."""
    features = np.sqrt(columns.lambda_h * columns.feature_weights)
    return np.concatenate([np.full(columns.num_classes, math.sqrt(columns.lambda_w)), features])


def _primal_residuals(
    columns: Columns, point: GramPoint, factors: tuple[FloatArray, FloatArray], scale: float
) -> dict[str, float]:
    units = np.outer(_units(columns), _units(columns))
    Z = point.matrix() * units
    K = columns.num_classes
    claimed = GramPoint.from_factors(*factors).matrix() * units
    lowest_entry = float(Z[K:, K:].min()) if columns.nonnegative else 0.0
    features = factors[1] * _units(columns)[K:, None]
    lowest_feature = float(features.min()) if columns.nonnegative else 0.0
    asymmetry = float(np.abs(Z - Z.T).max())
    return {
        "primal_psd": max(asymmetry, -float(np.linalg.eigvalsh(0.5 * (Z + Z.T))[0])) / scale,
        "primal_nonnegativity": max(0.0, -lowest_entry / scale, -lowest_feature / math.sqrt(scale)),
        "factor_consistency": float(np.linalg.norm(Z - claimed)) / scale,
    }


def _multiplier(columns: Columns, dual: DualPoint) -> FloatArray:
    """S in the units where stationarity asks for ½ I on its diagonal blocks, (K + m, K + m)."""
    K, m = columns.num_classes, columns.labels.size
    S_L = 0.5 * dual.residuals * (columns.loss_weights / columns.sigma)
    S_A = 0.5 * np.eye(K) if dual.weight_block is None else dual.weight_block / columns.lambda_w
    T = dual.nonnegativity / np.outer(columns.sigma, columns.sigma)
    S_B = 0.5 * (np.eye(m) - T)
    if dual.feature_block is not None:
        root = np.sqrt(columns.lambda_h * columns.feature_weights)
        S_B = dual.feature_block / np.outer(root, root)
    return np.block([[S_A, S_L], [S_L.T, S_B]])


def _psd_pairing(columns: Columns, point: GramPoint, dual: DualPoint) -> float:
    """<S, Z>, in units of the objective."""
    units = _units(columns)
    return float((_multiplier(columns, dual) * point.matrix() * np.outer(units, units)).sum())


def _dual_residuals(columns: Columns, dual: DualPoint) -> dict[str, float]:
    T = dual.nonnegativity / np.outer(columns.sigma, columns.sigma)
    # free features have no constraint B >= 0, so any T at all is a violation
    wrong_T = max(0.0, -float(T.min())) if columns.nonnegative else float(np.abs(T).max())
    S = _multiplier(columns, dual)
    return {
        "dual_domain": columns.loss.violation(dual.residuals, columns.layout),
        "dual_nonnegativity": max(wrong_T, float(np.abs(T - T.T).max())),
        "dual_slack_psd": max(0.0, -float(np.linalg.eigvalsh(0.5 * (S + S.T))[0])),
    }


def _stationarity_residuals(columns: Columns, point: GramPoint, dual: DualPoint, scale: float) -> dict[str, float]:
    K = columns.num_classes
    stray = dual.residuals - columns.loss.nearest(dual.residuals, point.outputs, columns.layout)
    S = _multiplier(columns, dual)
    T = dual.nonnegativity / np.outer(columns.sigma, columns.sigma)
    target = 0.5 * (np.eye(columns.labels.size) - T)
    return {
        "stationarity_logits": float((np.abs(stray).sum(axis=0) * np.sqrt(columns.loss_weights / scale)).max()),
        "stationarity_weight_gram": float(np.abs(S[:K, :K] - 0.5 * np.eye(K)).max()),
        "stationarity_feature_gram": float(np.abs(S[K:, K:] - target).max()),
    }


def _balance(columns: Columns, point: GramPoint) -> float:
    """|λ_W tr A − λ_H Σ ν_i B_ii|: Lemma 1 of Dang et al. 2024."""
    features = columns.lambda_h * float(columns.feature_weights @ np.diag(point.feature_gram))
    return abs(columns.lambda_w * float(np.trace(point.weight_gram)) - features)

"""The KKT report passes at solved optima and rejects one planted fault for each condition."""

from dataclasses import replace

import full_arrays
import numpy as np
import pytest

from ufm_convex import duality
from ufm_convex.errors import SizeError
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, GramPoint, of_classes
from ufm_convex.solving import solve

PROBLEM = Problem([60, 30, 12, 2], lambda_w=0.04, lambda_h=0.01)
COLUMNS = of_classes(PROBLEM)
EPSILON = 1e-6


@pytest.fixture(scope="module")
def optimum():
    """(point, dual, factors) of a solve with Clarabel; one class is collapsed."""
    solution = solve(PROBLEM, solver="clarabel", tolerance=1e-9)
    assert solution.collapsed_classes == (3,)
    return solution.point, solution.dual, solution.factors()


def report(point, dual, factors, epsilon=EPSILON):
    return full_arrays.report(COLUMNS, point, dual, factors, epsilon)


def test_the_report_passes_at_the_optimum(optimum):
    found = report(*optimum)
    assert found.passed
    assert found["duality_gap"].residual < 1e-9  # the tolerance it was solved to
    assert list(found.residuals) == list(duality.tolerances(EPSILON))


def changed(matrix, i, j, value):
    """A copy with the entries (i, j) and (j, i) set."""
    copy = matrix.copy()
    copy[i, j] = copy[j, i] = value
    return copy


def indefinite(point, dual, factors):
    # L twice what A and B allow
    return replace(point, logits=2.0 * point.logits), dual, factors


def negative_inner_product(point, dual, factors):
    B = changed(point.feature_gram, 0, 1, -0.1 * point.feature_gram[0, 0])
    return replace(point, feature_gram=B), dual, factors


def negative_feature(point, dual, factors):
    W, H = factors
    return point, dual, (W, changed(H, 0, 1, -1e-3))


def foreign_factors(point, dual, factors):
    W, H = factors
    return point, dual, (W[::-1], H[::-1])


def outside_simplex(point, dual, factors):
    V = dual.residuals.copy()
    V[1, 0] += 1e-6
    return point, replace(dual, residuals=V), factors


def negative_multiplier(point, dual, factors):
    return point, replace(dual, nonnegativity=changed(dual.nonnegativity, 0, 1, -1e-6)), factors


def asymmetric_multiplier(point, dual, factors):
    T = dual.nonnegativity.copy()
    T[0, 1] *= 1.5
    return point, replace(dual, nonnegativity=T), factors


def residuals_too_long(point, dual, factors):
    return point, replace(dual, residuals=1.001 * dual.residuals), factors


def multiplier_too_large(point, dual, factors):
    return point, replace(dual, nonnegativity=1.01 * dual.nonnegativity), factors


def residuals_of_another_point(point, dual, factors):
    return point, replace(dual, residuals=dual.residuals[::-1, ::-1]), factors


def wrong_weight_block(point, dual, factors):
    return point, replace(dual, weight_block=0.501 * PROBLEM.lambda_w * np.eye(4)), factors


def wrong_feature_block(point, dual, factors):
    # the classic slip: T itself in place of T / (2 λ_W)
    block = 0.5 * PROBLEM.lambda_h * np.diag(PROBLEM.class_counts) - dual.nonnegativity
    return point, replace(dual, feature_block=block), factors


def misaligned_classifier(point, dual, factors):
    W, H = factors
    turned = np.roll(W, 1, axis=0)
    return GramPoint.from_factors(turned, H), dual, (turned, H)


def overlapping_features(point, dual, factors):
    W, H = factors
    mixed = H + 0.05 * H[[1, 0, 2, 3]]
    return GramPoint.from_factors(W, mixed), dual, (W, mixed)


def short_residuals(point, dual, factors):
    return point, replace(dual, residuals=0.9 * dual.residuals, nonnegativity=0.81 * dual.nonnegativity), factors


def unbalanced(point, dual, factors):
    W, H = factors
    return GramPoint.from_factors(1.1 * W, H / 1.1), dual, (1.1 * W, H / 1.1)


FAULTS = [
    ("primal_psd", indefinite),
    ("primal_nonnegativity", negative_inner_product),
    ("primal_nonnegativity", negative_feature),
    ("factor_consistency", foreign_factors),
    ("dual_domain", outside_simplex),
    ("dual_nonnegativity", negative_multiplier),
    ("dual_nonnegativity", asymmetric_multiplier),
    ("dual_slack_psd", residuals_too_long),
    ("dual_slack_psd", multiplier_too_large),
    ("stationarity_logits", residuals_of_another_point),
    ("stationarity_weight_gram", wrong_weight_block),
    ("stationarity_feature_gram", wrong_feature_block),
    ("complementarity_psd", misaligned_classifier),
    ("complementarity_nonnegativity", overlapping_features),
    ("duality_gap", short_residuals),
    ("balance", unbalanced),
]


@pytest.mark.parametrize(("condition", "fault"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_each_planted_fault_is_rejected_by_its_condition(optimum, condition, fault):
    found = report(*fault(*optimum))
    assert not found[condition].passed
    assert not found.passed


def test_every_condition_has_a_planted_fault():
    assert {condition for condition, _ in FAULTS} == set(duality.tolerances(EPSILON))


@pytest.mark.parametrize(
    ("fault", "unharmed"),
    [
        (short_residuals, {"primal_psd", "dual_slack_psd", "dual_nonnegativity", "dual_domain", "balance"}),
        (unbalanced, {"primal_psd", "primal_nonnegativity", "factor_consistency", "stationarity_logits"}),
        (wrong_weight_block, {"stationarity_feature_gram", "stationarity_logits", "duality_gap"}),
    ],
    ids=["short_residuals", "unbalanced", "wrong_weight_block"],
)
def test_a_fault_leaves_unrelated_conditions_alone(optimum, fault, unharmed):
    found = report(*fault(*optimum))
    assert [name for name in unharmed if not found[name].passed] == []


def test_nan_never_passes(optimum):
    point, dual, factors = optimum
    found = duality.Condition("duality_gap", float("nan"), 1e-6)
    assert not found.passed
    assert report(point, dual, factors).worst.residual == report(point, dual, factors).worst.residual


def test_a_multiplier_of_absent_constraints_is_a_violation(optimum):
    """Free features have no B ≥ 0, so any T but zero is wrong."""
    point, dual, factors = optimum
    free = of_classes(Problem(PROBLEM.class_counts, 0.04, 0.01, features="free"))
    found = full_arrays.report(free, point, dual, factors, EPSILON)
    assert not found["dual_nonnegativity"].passed


def test_the_solvers_own_points_are_reported_as_they_are():
    loose = solve(PROBLEM, solver="scs", options={"eps_abs": 1e-2, "eps_rel": 1e-2})
    assert loose.status == "certified"  # repaired
    unrepaired = loose.solver_kkt()
    assert not unrepaired.passed
    assert all(np.isfinite(condition.residual) for condition in unrepaired)
    assert solve(PROBLEM).solver_kkt() is None


def test_large_frames_are_reported_without_dense_arrays():
    problem = Problem(np.arange(1, 30_001), 1e-4, 1e-4)
    solution = solve(problem)
    assert solution.kkt().passed
    with pytest.raises(SizeError):
        _ = solution.logits


def test_dual_blocks_default_to_stationarity(optimum):
    point, dual, factors = optimum
    block = 0.5 * PROBLEM.lambda_h * np.diag(PROBLEM.class_counts) - dual.nonnegativity / (2.0 * PROBLEM.lambda_w)
    explicit = DualPoint(dual.residuals, dual.nonnegativity, 0.5 * PROBLEM.lambda_w * np.eye(4), block)
    first, second = report(point, dual, factors), report(point, explicit, factors)
    for condition in first:
        assert second[condition.name].residual == pytest.approx(condition.residual, abs=1e-13)

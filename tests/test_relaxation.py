"""Levels are pairs of adjoint maps; the scaled programme is the textbook one, and its multipliers are S and T."""

import cvxpy as cp
import full_arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufm_convex import relaxation
from ufm_convex.errors import SizeError, UnknownNameError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Dual, DualPoint, Gram, GramPoint, of_classes

COLUMN_LEVELS = ["class", "sample"]


def lift(level, problem, point):
    """The point of the level that stands for a class-level one."""
    maps = level.maps(problem)
    return maps.refine(Gram.mean(maps.coarse, point)).full()


def restrict(level, problem, point):
    """The class-level point of one of the level."""
    maps = level.maps(problem)
    return maps.coarsen(Gram.mean(maps.fine, point)).full()


def lift_dual(level, problem, blocks):
    """The same on triples (S_A, S_L, S_B)."""
    maps = level.maps(problem)
    return maps.refine_dual(Gram.mean(maps.coarse, blocks)).full()


def restrict_dual(level, problem, blocks):
    """The same on triples (S_A, S_L, S_B)."""
    maps = level.maps(problem)
    return maps.coarsen_dual(Gram.mean(maps.fine, blocks)).full()


def within(level, problem, point):
    return level.within_class_variability(problem, Gram.mean(level(problem), point))


def random_blocks(rng, K, m):
    """A triple (A, L, B) with symmetric A and B."""
    A, L, B = rng.normal(size=(K, K)), rng.normal(size=(K, m)), rng.normal(size=(m, m))
    return GramPoint(A + A.T, L, B + B.T)


def inner(first, second):
    """<(A, L, B), (S_A, S_L, S_B)> = <A, S_A> + 2 <L, S_L> + <B, S_B>."""
    pairs = ((first.weight_gram, second.weight_gram), (first.feature_gram, second.feature_gram))
    return sum((a * b).sum() for a, b in pairs) + 2.0 * (first.logits * second.logits).sum()


@pytest.mark.parametrize("name", COLUMN_LEVELS)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 10**6))
def test_maps_are_adjoint_and_restrict_inverts_lift(name, counts, seed):
    rng, problem, level = np.random.default_rng(seed), Problem(counts, 0.1, 0.1), relaxation.level(name)
    K, m = problem.num_classes, level(problem).columns.total
    classes, blocks = random_blocks(rng, K, K), random_blocks(rng, K, m)
    duals, class_duals = random_blocks(rng, K, m), random_blocks(rng, K, K)
    lifted = inner(lift(level, problem, classes), duals)
    assert lifted == pytest.approx(inner(classes, restrict_dual(level, problem, duals)), rel=1e-10, abs=1e-10)
    restricted = inner(restrict(level, problem, blocks), class_duals)
    assert restricted == pytest.approx(inner(blocks, lift_dual(level, problem, class_duals)), rel=1e-10, abs=1e-10)
    back = restrict(level, problem, lift(level, problem, classes))
    np.testing.assert_allclose(back.matrix(), classes.matrix(), atol=1e-12)


@pytest.mark.parametrize("name", COLUMN_LEVELS)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(0, 10**6))
def test_lift_keeps_and_restrict_never_raises_the_objective(name, counts, seed):
    rng, problem, level = np.random.default_rng(seed), Problem(counts, 0.1, 0.2), relaxation.level(name)
    columns, classes = level(problem), of_classes(problem)
    K, m = problem.num_classes, columns.rows.size
    low = GramPoint.from_factors(rng.normal(size=(K, 3)), rng.random((K, 3)))
    high = GramPoint.from_factors(rng.normal(size=(K, 3)), rng.random((m, 3)))
    assert full_arrays.objective(columns, lift(level, problem, low)) == pytest.approx(
        full_arrays.objective(classes, low), rel=1e-12
    )
    restricted = full_arrays.objective(classes, restrict(level, problem, high))
    assert restricted <= full_arrays.objective(columns, high) * (1 + 1e-12)
    variability = within(level, problem, high)
    spread = high.feature_gram.trace() - problem.class_counts @ np.diag(restrict(level, problem, high).feature_gram)
    assert variability == (None if name == "class" else pytest.approx(0.1 * spread, abs=1e-12))


def test_restricted_dual_points_keep_their_slack():
    """restrict_dual of S is the S of the restricted (V, T): the two ways round agree."""
    rng = np.random.default_rng(3)
    problem, level = Problem([3, 1, 2], 0.1, 0.2), relaxation.level("sample")
    columns, classes = level(problem), of_classes(problem)
    V = columns.loss.residuals(rng.normal(size=(3, 6)), columns.layout)
    T = rng.random((6, 6))
    T = 0.01 * (T + T.T)
    S_B = 0.5 * problem.lambda_h * np.eye(6) - T / (2.0 * problem.lambda_w)
    restricted = level.reported_dual(problem, Dual.mean(columns, DualPoint(V, T, 0.05 * np.eye(3), S_B)))
    expected = 0.5 * problem.lambda_h * np.diag(problem.class_counts) - restricted.nonnegativity / 0.2
    np.testing.assert_allclose(restricted.feature_block, expected, atol=1e-15)
    means = np.array([V[:, columns.rows == k].mean(axis=1) for k in range(3)]).T
    np.testing.assert_allclose(restricted.residuals, means, atol=1e-15)
    assert full_arrays.dual_value(classes, restricted) >= full_arrays.dual_value(columns, DualPoint(V, T)) - 1e-15


def textbook(problem):
    """The unscaled programme, written down as in the papers, class by class."""
    K, n = problem.num_classes, problem.class_counts
    Z = cp.Variable((2 * K, 2 * K), symmetric=True)
    L, B = Z[:K, K:], Z[K:, K:]
    loss = sum(n[k] / n.sum() * (cp.log_sum_exp(L[:, k]) - L[k, k]) for k in range(K))
    penalty = problem.lambda_w / 2 * cp.trace(Z[:K, :K]) + problem.lambda_h / 2 * cp.sum(cp.multiply(n, cp.diag(B)))
    psd, nonnegative = Z >> 0, B >= 0
    programme = cp.Problem(cp.Minimize(loss + penalty), [psd, nonnegative] if problem.nonnegative else [psd])
    programme.solve(solver="CLARABEL")
    return programme.value, Z.value, psd.dual_value, nonnegative.dual_value if problem.nonnegative else 0.0 * B.value


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("counts", [[40, 12], [50, 20, 8], [30, 30, 9, 9]])
def test_the_scaled_programme_is_the_textbook_programme(features, counts):
    problem = Problem(counts, 0.01, 0.02, features=features)
    programme = relaxation.programme(relaxation.level("class")(problem))
    programme.problem.solve(solver="CLARABEL")
    value, Z, S, T_prime = textbook(problem)
    K = problem.num_classes
    # interior point at 1e-8: values agree to that, Gram matrices and multipliers to its square root
    assert programme.problem.value * programme.objective_scale == pytest.approx(value, rel=1e-6)
    point, dual = programme.primal().full(), programme.dual().full()
    np.testing.assert_allclose(point.matrix(), Z, atol=2e-3 * np.abs(Z).max())
    np.testing.assert_allclose(dual.residuals * problem.loss_weights, 2.0 * S[:K, K:], atol=1e-4)
    # the textbook lists all K² entries of B >= 0, so its symmetric multiplier is T / (2 λ_W)
    symmetric = T_prime + T_prime.T if np.ndim(T_prime) else T_prime
    off = ~np.eye(K, dtype=bool)
    np.testing.assert_allclose(dual.nonnegativity[off], (problem.lambda_w * symmetric)[off], atol=1e-6)
    np.testing.assert_allclose(dual.weight_block, 0.5 * problem.lambda_w * np.eye(K), atol=1e-6)


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=4),
    st.floats(-4.0, -1.0),
    st.sampled_from(["nonnegative", "free"]),
    st.sampled_from([0.0, 0.1]),
)
def test_sample_and_class_level_have_one_optimum(counts, exponent, features, smoothing):
    problem = Problem(counts, 10.0**exponent, 0.05, features=features, loss=CrossEntropy(smoothing=smoothing))
    values = []
    for name in ("class", "sample"):
        programme = relaxation.programme(relaxation.level(name)(problem))
        programme.problem.solve(solver="CLARABEL")
        values.append(programme.problem.value * programme.objective_scale)
    assert values[0] == pytest.approx(values[1], rel=1e-6)  # both solved to 1e-8 of an objective scaled to order 1


def test_within_class_collapse_is_found_not_assumed():
    """At sample level nothing ties the samples of a class together; the solved features coincide all the same."""
    problem, level = Problem([6, 4, 3], 0.01, 0.02), relaxation.level("sample")
    programme = relaxation.programme(level(problem))
    rng = np.random.default_rng(0)
    free = GramPoint.from_factors(rng.normal(size=(3, 5)), rng.random((13, 5)))
    assert within(level, problem, free) > 1e-2  # the variables can express spread
    programme.problem.solve(solver="CLARABEL")
    # the spread enters the objective linearly, so it is as small as the accuracy of the value
    assert abs(level.within_class_variability(problem, programme.primal())) < 1e-7


def test_sizes_are_refused_before_building():
    with pytest.raises(SizeError, match="use level 'class'"):
        relaxation.level("sample").check_size(Problem([300, 200], 0.1, 0.1))
    with pytest.raises(SizeError, match="order 802"):
        relaxation.level("class").check_size(Problem([1] * 401, 0.1, 0.1))


def test_an_unknown_level_is_named():
    with pytest.raises(UnknownNameError, match="'pixel'"):
        relaxation.level("pixel")

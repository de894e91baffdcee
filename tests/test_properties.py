"""The theorem's equality conditions, and the symmetries of the problem, as properties of *solved* programmes.

Nothing here asks for the closed form but to compare with it: every solution comes from a conic solver.
"""

import full_arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufm_convex import theory
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, of_classes
from ufm_convex.solution import Status
from ufm_convex.solving import solve
from ufm_convex.testing import decays_for, problems

TOLERANCE = 1e-8
ROOT = np.sqrt(TOLERANCE)  # a gap of ε determines Gram matrices to √ε of the largest entry
LOSSES = (CrossEntropy(), CrossEntropy(smoothing=0.1))


def solved(problem, solver="clarabel"):
    solution = solve(problem, solver=solver, tolerance=TOLERANCE)
    assert solution.status is Status.CERTIFIED
    return solution


def undecided(problem):
    """Classes so near the threshold that a gap of 1e-8 cannot tell whether they are active."""
    optimum = theory.optimum(problem)
    distance = np.abs(np.log(problem.class_counts / optimum.collapse_threshold))
    return distance < 1e-2


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@settings(max_examples=25)
@given(problems(losses=LOSSES))
def test_solved_programmes_reproduce_the_theorem(solver, problem):
    solution, expected = solved(problem, solver), theory.optimum(problem)
    assert solution.value == pytest.approx(expected.value, rel=TOLERANCE)
    root, c = np.sqrt(problem.class_counts), expected.scale
    for found, exact, unit in (
        (solution.weight_gram, expected.weight_gram(), c * root.max()),
        (solution.logits, expected.logits(), 1.0),
        (solution.feature_gram, expected.feature_gram(), 1.0 / (c * root.min())),
    ):
        # unit: the size of an entry when margins are 1; near the threshold margins themselves are open to √ε
        np.testing.assert_allclose(found, exact, atol=20 * ROOT * max(np.abs(exact).max(), unit))
    decided = ~undecided(problem)
    pattern = np.zeros(problem.num_classes, dtype=bool)
    pattern[list(solution.collapsed_classes)] = True
    np.testing.assert_array_equal(pattern[decided], expected.collapsed[decided])
    assert solution.kkt().passed, solution.kkt().worst


@pytest.mark.parametrize(("solver", "options"), [("clarabel", {}), ("scs", {"eps_abs": 1e-7, "eps_rel": 1e-7})])
@settings(max_examples=20)
@given(problems(max_classes=5, losses=LOSSES))
def test_the_programmes_alone_reproduce_the_theorem(solver, options, problem):
    """What the solver itself returned, before any repair or descent: its value, its Z and its multipliers."""
    run = solve(problem, solver=solver, options=options).run
    expected, columns = theory.optimum(problem), of_classes(problem)
    # both solvers were asked for 1e-7 or better of an objective scaled to order one; its scale here is the value
    assert run.value == pytest.approx(expected.value, rel=1e-4)
    assert run.dual_value == pytest.approx(expected.value, rel=1e-4)
    assert full_arrays.objective(columns, run.point) == pytest.approx(expected.value, rel=1e-4)
    # Gram matrices and residuals to the square root of that
    unit = max(np.abs(expected.logits()).max(), 1.0)
    np.testing.assert_allclose(run.point.logits, expected.logits(), atol=0.05 * unit)
    softmax_residuals = columns.loss.residuals(expected.logits(), columns.layout)
    np.testing.assert_allclose(run.dual.residuals, softmax_residuals, atol=0.02)


@settings(max_examples=25)
@given(problems(losses=LOSSES))
def test_equality_conditions_hold_at_the_solution(problem):
    """Orthogonal means, self-dual classifiers, equal wrong logits, balance: conditions (58) to (60) and (34)."""
    solution = solved(problem)
    W, H = solution.factors()
    n, lw, lh = problem.class_counts, problem.lambda_w, problem.lambda_h
    gap = solution.upper_bound - solution.lower_bound + 1e-15 * solution.upper_bound
    scaled = np.sqrt(lh * n)[:, None] * H
    overlap = scaled @ scaled.T
    np.fill_diagonal(overlap, 0.0)
    assert overlap.max() <= 20 * ROOT * solution.value  # h_k · h_l = 0
    K = problem.num_classes
    c = np.sqrt(K * lh / ((K - 1) * lw))
    weighted = np.sqrt(n)[:, None] * H
    self_dual = c * (weighted - weighted.mean(axis=0))
    collapsed = theory.optimum(problem).collapsed
    if not collapsed.any():  # with collapsed classes the factor g_k of the dual enters; their features are zero
        assert lw / 2 * ((W - self_dual) ** 2).sum() <= 10 * ROOT * solution.value
    assert lw / (2 * K) * (W.sum(axis=0) ** 2).sum() <= gap + 1e-9 * solution.value  # 1ᵀ W = 0
    balance = abs(lw * (W**2).sum() - lh * (n @ (H**2).sum(axis=1)))
    assert balance <= 3 * np.sqrt(max(gap / solution.value, 1e-15)) * solution.value


@settings(max_examples=60)
@given(problems(losses=LOSSES), st.integers(0, 10**6), st.integers(1, 8))
def test_weak_duality_for_random_feasible_pairs(problem, seed, d):
    columns, rng = of_classes(problem), np.random.default_rng(seed)
    K = problem.num_classes
    scale = 10.0 ** rng.uniform(-2, 1, 2)
    value = full_arrays.factored_objective(columns, scale[0] * rng.normal(size=(K, d)), scale[1] * rng.random((K, d)))
    V = columns.loss.residuals(rng.normal(size=(K, K)) * scale[0], columns.layout)
    T = rng.random((K, K)) * columns.sigma.min() ** 2
    _, bound = full_arrays.repair(columns, [DualPoint(V, T + T.T)])
    assert bound <= value * (1 + 1e-12)


@settings(max_examples=15)
@given(problems(), st.randoms(use_true_random=False))
def test_permuting_classes_permutes_the_answer(problem, random):
    order = list(range(problem.num_classes))
    random.shuffle(order)
    permuted = Problem(problem.class_counts[order], problem.lambda_w, problem.lambda_h)
    first, second = solved(problem), solved(permuted)
    assert second.value == pytest.approx(first.value, rel=2 * TOLERANCE)
    scale = np.abs(first.logits).max() + ROOT
    np.testing.assert_allclose(second.logits, first.logits[np.ix_(order, order)], atol=20 * ROOT * scale + 1e-3)


@settings(max_examples=15)
@given(problems(), st.integers(-8, 8))
def test_only_the_product_of_the_decays_matters_for_the_value(problem, power):
    """(W, H) → (aW, H/a) maps the problem with (λ_W, λ_H) to the one with (λ_W/a², λ_H a²)."""
    a = 2.0**power
    scaled = Problem(problem.class_counts, problem.lambda_w / a**2, problem.lambda_h * a**2)
    first, second = solved(problem), solved(scaled)
    assert second.value == pytest.approx(first.value, rel=2 * TOLERANCE)
    W, H = first.factors()
    columns = of_classes(scaled)
    moved = full_arrays.factored_objective(columns, a * W, H / a)
    assert moved == pytest.approx(full_arrays.factored_objective(of_classes(problem), W, H), rel=1e-12)


@settings(max_examples=15)
@given(problems(max_count=1000), st.integers(2, 10))
def test_multiplying_counts_divides_the_feature_decay(problem, factor):
    """f sees the counts only as n_k / N and λ_H n_k."""
    multiplied = Problem(problem.class_counts * factor, problem.lambda_w, problem.lambda_h / factor)
    assert solved(multiplied).value == pytest.approx(solved(problem).value, rel=2 * TOLERANCE)


@settings(max_examples=20)
@given(problems(max_classes=5), st.permutations(range(4)))
def test_the_objective_is_blind_to_the_order_of_feature_coordinates(problem, order):
    rng = np.random.default_rng(0)
    W, H = rng.normal(size=(problem.num_classes, 4)), rng.random((problem.num_classes, 4))
    columns = of_classes(problem)
    turned = full_arrays.factored_objective(columns, W[:, order], H[:, order])
    assert turned == pytest.approx(full_arrays.factored_objective(columns, W, H), rel=1e-13)


@settings(max_examples=20)
@given(problems(max_classes=6))
def test_larger_classes_have_larger_margins_and_classifiers(problem):
    """M_k, ‖w_k‖ and n_k ‖h_k‖² increase with n_k, up to the √ε to which a solve determines them."""
    solution = solved(problem)
    order = np.argsort(problem.class_counts, kind="stable")
    mass = problem.class_counts * solution.feature_norms**2
    root, c = np.sqrt(problem.class_counts.max()), theory.optimum(problem).scale
    units = (1.0, np.sqrt(c * root), root / c)  # sizes at margin one, which the gap leaves open to √ε near n_c
    for quantity, unit in zip((np.diag(solution.logits), solution.weight_norms, mass), units, strict=True):
        assert np.diff(quantity[order]).min() >= -100 * ROOT * max(np.abs(quantity).max(), unit)


def test_feature_norms_are_not_monotone():
    """‖h_k‖ peaks near n_k = 2.95 n_c at K = 10: the largest class has a shorter mean than a middling one."""
    counts = [30_000, 3_000, 3_000, 1_200, 1_200, 1_200, 900, 900, 900, 900]
    decay, _ = decays_for(counts, 1_000 / 30_000)  # n_c = 1000
    solution = solved(Problem(counts, decay, decay))
    norms = solution.feature_norms
    assert norms[1] > 1.3 * norms[0]  # 3 n_c beside 30 n_c: √(1.22 / 0.70) by r_k M_k
    assert norms[1] > 1.4 * norms[3]  # 3 n_c beside 1.2 n_c: √(1.22 / 0.61)
    np.testing.assert_allclose(norms, theory.optimum(solution.problem).feature_norms, atol=1e-3 * norms.max())


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
def test_the_boundary_class_is_collapsed(solver):
    """n_2 (K−1) = N² λ_W λ_H K exactly, in binary: N = 32, K = 3, λ_W λ_H = 2⁻⁹ and n_2 = 3."""
    problem = Problem([28, 3, 1], 2.0**-4, 2.0**-5)
    assert 3 * 2 == 32**2 * 2.0**-9 * 3
    solution = solved(problem, solver)
    assert theory.optimum(problem).collapsed.tolist() == [False, True, True]
    assert solution.collapsed_classes == (1, 2)
    assert solution.value == pytest.approx(theory.optimum(problem).value, rel=TOLERANCE)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.floats(-3.0, 0.5))
def test_sample_level_solves_agree_with_class_level(counts, level):
    problem = Problem(counts, *decays_for(counts, 10.0**level))
    sample = solve(problem, solver="clarabel", level="sample", tolerance=TOLERANCE)
    assert sample.status is Status.CERTIFIED
    assert sample.value == pytest.approx(solved(problem).value, rel=2 * TOLERANCE)
    assert abs(sample.run.within_class_variability) < 1e-6 * sample.value

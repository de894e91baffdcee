"""The factored solver: certified for free features, out of saddles by duality, an upper bound for non-negative ones."""

import math
import sys

import full_arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from soft_targets import random_soft_targets

import ufm_convex as ufm
from ufm_convex import class_counts, solvers, theory
from ufm_convex.duality.complementary import complementary
from ufm_convex.errors import HypothesisError, ProblemError, SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.recovery import recovering
from ufm_convex.relaxation import Alike, DualPoint, Factors, Orbits, of_classes
from ufm_convex.solvers import Claim
from ufm_convex.solvers import factored as module
from ufm_convex.solvers.factored import FactoredSolver
from ufm_convex.solving import solve
from ufm_convex.testing import decays_for


def runs(problem, **options):
    return list(FactoredSolver().runs(problem, "class", 1e-6, options))


def free(counts, level, **fields):
    """Free features, decays at ``level`` times the collapse threshold of the largest class."""
    return Problem(counts, *decays_for(counts, level), features="free", **fields)


@st.composite
def free_problems(draw):
    counts = draw(st.lists(st.integers(1, 1000), min_size=2, max_size=6))
    return free(counts, 10.0 ** draw(st.floats(-3.0, 0.3)))


# -- free features ------------------------------------------------------------------------------------------------


@given(free_problems())
def test_free_features_are_certified_whatever_the_decays(problem):
    solution = solve(problem, solver="factored", tolerance=1e-8)
    assert solution.status == "certified"
    assert solution.kkt().passed, solution.kkt().worst


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(smoothing=0.1), random_soft_targets(6, 0.2)])
def test_agrees_with_the_conic_programme(loss):
    problem = free([500, 200, 90, 40, 20, 7], 0.01, loss=loss)
    found = solve(problem, solver="factored", tolerance=1e-9)
    assert found.status == "certified"
    assert found.value == pytest.approx(solve(problem, solver="clarabel", tolerance=1e-7).value, rel=1e-7)


def test_agrees_with_the_nuclear_norm_programme():
    """The convex form in L alone, written in plain cvxpy: Σ pt l(Le_k) + √(λ_W λ_H) ‖L Diag(√n)‖_*."""
    import cvxpy as cp

    problem = free([300, 80, 30, 9], 0.02)
    L, n = cp.Variable((4, 4)), problem.class_counts
    data = (n / n.sum()) @ (cp.log_sum_exp(L, axis=0) - cp.diag(L))
    penalty = math.sqrt(problem.lambda_w * problem.lambda_h) * cp.normNuc(L @ np.diag(np.sqrt(n)))
    value = cp.Problem(cp.Minimize(data + penalty)).solve(solver="CLARABEL")
    assert solve(problem, solver="factored", tolerance=1e-10).value == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("size", [20, 100])
def test_distinct_counts_to_ten_digits_from_the_first_run(size):
    problem = free(class_counts.exponential(size, 5000, 100), 1e-3)
    first = runs(problem)[0]
    assert first.claim is Claim.OPTIMAL
    columns = of_classes(problem)
    _, lower = full_arrays.repair(columns, [first.dual])
    W, H = full_arrays.balanced(columns, first.point.logits)
    assert 0.0 <= full_arrays.factored_objective(columns, W, H) / lower - 1.0 < 1e-10


def test_auto_takes_it_for_free_features():
    solution = solve(free([50, 40, 30], 0.05))
    assert (solution.solver, solution.status) == ("factored", "certified")


def test_a_start_at_zero_is_a_saddle_and_is_left(monkeypatch):
    """W = H = 0 is stationary: L-BFGS stays there, and only ‖U D^{-1/2}‖ > 1 shows that it is no minimum."""
    problem = free([50, 40, 30], 0.05)
    columns = of_classes(problem)
    zero = np.zeros((3, 3))
    stuck, _ = full_arrays.descend(columns, zero, zero)
    assert not stuck.any()
    scaled = full_arrays.scaled(columns, 3)
    assert np.linalg.norm(scaled.pull(Factors.single(columns, zero, zero)).full(), 2) > 1.0
    monkeypatch.setattr(module, "_starts", lambda *_: iter([np.zeros(18)]))
    assert solve(problem, solver="factored", tolerance=1e-9).status == "certified"
    # planted fault: without the ways out of saddles, in the solver and in recovery, it is stuck
    monkeypatch.setattr(module, "_leave_saddle", lambda *_: None)
    monkeypatch.setattr(recovering, "escape", lambda *_: None)
    assert solve(problem, solver="factored").relative_gap > 0.1
    assert runs(problem)[-1].claim is Claim.STOPPED


def test_a_symmetric_start_does_not_hide_the_way_down(monkeypatch):
    """All classes on one direction: descent keeps them there, the top singular pair of P leads out."""
    problem = free([50, 40, 30, 20], 0.05)
    flat = np.concatenate([np.outer([1.0, -1.0, 0.0, 0.0], [1.0, 0, 0, 0]).ravel()] * 2)
    monkeypatch.setattr(module, "_starts", lambda *_: iter([flat]))
    solution = solve(problem, solver="factored", tolerance=1e-9)
    assert solution.status == "certified"
    assert solution.rank == 3


def test_the_gradient_is_that_of_the_value():
    rng = np.random.default_rng(0)
    for features in ("free", "nonnegative"):
        scaled = full_arrays.scaled(of_classes(Problem([50, 20, 8], 0.01, 0.3, features=features)), 4)
        x, direction = rng.normal(size=(2, 24))
        _, gradient = scaled.value_and_gradient(x)
        ahead, behind = (scaled.value_and_gradient(x + s * direction)[0] for s in (1e-5, -1e-5))
        # central differences: error 1e-10 of the third derivative, and 1e-16/1e-5 of rounding
        assert gradient @ direction == pytest.approx((ahead - behind) / 2e-5, rel=1e-8)
        found = scaled.unpack(x)
        np.testing.assert_allclose(scaled.pack(found), x, rtol=1e-14)
        value = full_arrays.factored_objective(scaled.columns, found.W.full(), found.H.full())
        assert scaled.value_and_gradient(x)[0] * scaled.kappa == pytest.approx(value, rel=1e-13)


def test_balanced_factors_are_the_smallest_for_their_logits():
    problem = free([70, 30, 10], 0.1)
    columns, L = of_classes(problem), np.random.default_rng(1).normal(size=(3, 3))
    W, H = full_arrays.balanced(columns, L)
    np.testing.assert_allclose(W @ H.T, L, atol=1e-14)
    penalty = problem.lambda_w / 2 * (W**2).sum() + problem.lambda_h / 2 * (problem.class_counts @ (H**2).sum(axis=1))
    nuclear = np.linalg.svd(L * np.sqrt(problem.class_counts), compute_uv=False).sum()
    assert penalty == pytest.approx(math.sqrt(problem.lambda_w * problem.lambda_h) * nuclear, rel=1e-13)


def test_the_spectral_repair_loses_the_square_of_the_error():
    """Noise of size δ on the residuals of a solved problem costs δ, uniformly shrunk, and δ² once restored."""
    problem = free([50, 40, 30, 20], 0.02)
    columns, solution = of_classes(problem), solve(problem, solver="factored", tolerance=1e-10)
    direction = np.random.default_rng(2).normal(size=(4, 4))
    losses = []
    for delta in (1e-4, 1e-5):
        V = columns.loss.residuals(solution.logits + delta * direction, columns.layout)
        _, value = full_arrays.repair(columns, [DualPoint(V, np.zeros((4, 4)))])
        losses.append(1.0 - value / solution.value)
    uniform = 1.0 - shrunk_value(columns, V) / solution.value
    assert uniform > 1e-7  # at δ = 1e-5 shrinking alone leaves δ times the margins' share
    assert losses[0] < 1e-6
    assert losses[1] < 1e-8


def shrunk_value(columns, V):
    """The dual value of V / max(1, ‖U D^{-1/2}‖), from the definition."""
    norm = np.linalg.norm(V * columns.loss_weights / columns.sigma, 2)
    return full_arrays.dual_value(columns, DualPoint(V / max(1.0, norm), np.zeros_like(V)))


# -- fewer dimensions, and non-negative features --------------------------------------------------------------------


def test_a_small_dimension_gets_the_best_of_several_starts():
    problem = free([180, 60, 20, 10], 0.02, feature_dim=2)
    found = runs(problem)[-1]
    assert found.claim is Claim.STOPPED
    assert np.linalg.matrix_rank(found.point.feature_gram, tol=1e-9) <= 2
    solution = solve(problem, solver="factored")
    assert solution.status == "bounded"
    wide = solve(free([180, 60, 20, 10], 0.02), solver="factored", tolerance=1e-9)
    assert solution.lower_bound <= wide.upper_bound < solution.upper_bound
    W, H = solution.factors()
    assert W.shape == H.shape == (4, 2)


def test_nonnegative_starts_reach_the_theorem():
    problem = Problem([500, 200, 90, 40, 20], 1e-3, 2e-3)
    found = runs(problem)[-1]
    assert found.claim is Claim.STOPPED  # nothing is claimed: there are spurious minima
    assert found.value == pytest.approx(theory.optimum(problem).value, rel=1e-9)
    assert found.point.feature_gram.min() >= 0.0


CONFUSED = random_soft_targets(8, 0.4, seed=6, concentration=0.5)
CONFUSED_COUNTS = np.asarray(class_counts.exponential(8, 1000, 10))


def confused():
    return Problem(CONFUSED_COUNTS, *decays_for(CONFUSED_COUNTS, 0.2), loss=CONFUSED)


def nonnegative_end(problem):
    """W and H ≥ 0 of the best of the solver's starts."""
    scaled = full_arrays.scaled(of_classes(problem), 4 * problem.num_classes)
    starts = list(module._starts(scaled, 4, np.random.default_rng(0)))
    ends = [module._descend(scaled, start, 1e-8, 1e-6, 10_000)[0] for start in starts]
    best = scaled.unpack(min(ends, key=lambda end: scaled.value_and_gradient(end)[0]))
    return best.W.full(), best.H.full()


def test_starts_are_made_one_by_one_and_end_with_the_proof(monkeypatch):
    """The frame start is certified here, so one descent suffices; planted: at a gap of 1e-16 all starts are made."""
    made, real, told = [], module._descend, []

    def counted(*arguments):
        made.append(len(told))
        return real(*arguments)

    monkeypatch.setattr(module, "_descend", counted)
    problem = Problem([90, 60, 40, 20], 0.01, 0.01)
    assert solve(problem, solver="factored", progress=told.append).status == "certified"
    assert (made, len(told)) == ([1], 2)
    solve(problem, solver="factored", tolerance=1e-16, progress=told.append)
    assert len(made) == 1 + 4 + 1
    assert made[1] < made[2], "a line after the first start, before the second"


def test_the_complementary_multiplier_proves_what_is_no_frame():
    """Where u_k·u_l > 0 for some pairs, T = max(0, −offdiag G) leaves 5e-5; least squares against H closes the gap."""
    problem = confused()
    columns = of_classes(problem)
    W, H = nonnegative_end(problem)
    upper = full_arrays.factored_objective(columns, W, H)
    candidate = DualPoint(columns.loss.residuals(W @ H.T, columns.layout), np.zeros((8, 8)))
    _, without = full_arrays.repair(columns, [candidate])
    dual, lower = full_arrays.repair(columns, [candidate], H)
    assert (upper - without) / upper > 1e-5
    assert 0.0 <= (upper - lower) / upper < 1e-8
    assert (dual.nonnegativity >= 0.0).all()
    assert np.linalg.eigvalsh(full_arrays.scaled_slack(columns, dual))[0] > -1e-12
    assert upper < next(solvers.solver("frame").runs(problem, "class", 1e-6, {})).value * (1.0 - 1e-5)


def multiplier(gram, H):
    """The complementary multiplier as an array."""
    sort = Orbits.single(gram.shape[0])
    return complementary(Alike.matrix(sort, sort, gram), Alike.matrix(sort, Orbits.single(H.shape[1]), H)).full()


@pytest.mark.parametrize("limit", [24, 2])
def test_the_multiplier_solves_its_least_squares_problem(monkeypatch, limit):
    """Active set and bounded descent against scipy's general minimiser on the definition, in T itself."""
    monkeypatch.setattr(sys.modules["ufm_convex.duality.complementary"], "_NNLS_ORBITS", limit)
    rng = np.random.default_rng(4)
    U, H = 0.6 * rng.normal(size=(5, 5)), rng.random((5, 3))
    gram = U.T @ U
    upper = np.triu_indices(5, 1)

    def distance(entries):
        T = np.zeros((5, 5))
        T[upper] = entries
        return np.linalg.norm((np.eye(5) - gram - T - T.T) @ H) ** 2

    T = multiplier(gram, H)
    assert (T >= 0.0).all()
    assert (T == T.T).all()
    reference = minimize(distance, np.ones(10), method="SLSQP", bounds=[(0.0, None)] * 10, options={"ftol": 1e-14})
    assert distance(T[upper]) == pytest.approx(reference.fun, rel=1e-6)


def test_no_features_need_no_multiplier():
    assert not multiplier(np.eye(3), np.zeros((3, 2))).any()


# -- requests -----------------------------------------------------------------------------------------------------


def test_bad_requests_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(module, "_starts", None)
    with pytest.raises(ProblemError, match="eps"):
        runs(free([5, 4, 3], 0.1), eps=1e-3)
    with pytest.raises(SizeError, match="2000"):
        runs(free([5] * 2001, 0.1))


def test_what_suits():
    suits = solvers.solver("factored").suits
    assert suits(free([5, 4, 3], 0.1), "auto") is not None
    assert suits(free([5, 4, 3], 0.1), "class") is None  # an explicit level means its programme
    assert suits(free(np.arange(1, 2002), 0.1), "auto") is None  # as many groups as classes
    assert suits(free([5] * 2001, 0.1), "auto") is not None
    assert suits(Problem([5, 4, 3], 0.1, 0.1), "auto") is not None
    assert suits(Problem([5] * 30, 0.1, 0.1), "auto") is None


# -- at group level ---------------------------------------------------------------------------------------------------


def test_group_level_ends_at_the_optimum_of_class_level():
    problem = ufm.Problem(np.repeat([300, 120, 50, 20, 8], [3, 4, 1, 6, 2]), 2e-4, 2e-4, features="free")
    groups, classes = (ufm.solve(problem, solver="factored", level=level) for level in ("group", "class"))
    assert groups.status is classes.status is ufm.Status.CERTIFIED
    assert groups.run.level == "group"
    assert groups.lower_bound <= classes.upper_bound  # both proved: intervals of one number overlap
    assert classes.lower_bound <= groups.upper_bound


def test_many_classes_in_few_groups_are_taken_by_group():
    problem = ufm.Problem(np.repeat(np.arange(10, 40), 100), 1e-5, 1e-5, features="free")
    solution = ufm.solve(problem, solver="factored")
    assert solution.run.level == "group"
    assert solution.status is ufm.Status.CERTIFIED


@pytest.mark.parametrize("change", [{"features": "nonnegative"}, {"feature_dim": 3}])
def test_what_has_no_form_at_group_level_is_refused(change):
    problem = ufm.Problem([9, 9, 4, 4], 1e-3, 1e-3, **({"features": "free"} | change))
    with pytest.raises(HypothesisError, match="level 'class'"):
        ufm.solve(problem, solver="factored", level="group")


@pytest.mark.parametrize("bias", ["free", 0.03])
def test_a_bias_at_group_level_ends_at_the_optimum_of_class_level(bias):
    problem = ufm.Problem(np.repeat([300, 120, 50, 20], [3, 4, 1, 6]), 2e-4, 2e-4, features="free", bias=bias)
    groups, classes = (ufm.solve(problem, solver="factored", level=level) for level in ("group", "class"))
    assert groups.status is classes.status is ufm.Status.CERTIFIED
    assert groups.lower_bound <= classes.upper_bound  # both proved: intervals of one number overlap
    assert classes.lower_bound <= groups.upper_bound
    assert groups.kkt().passed
    W, H = groups.factors()
    value = full_arrays.factored_objective(of_classes(problem), W, H, groups.bias)
    assert value == pytest.approx(groups.upper_bound, rel=1e-13)
    np.testing.assert_allclose(W @ H.T + groups.bias[:, None], groups.logits, atol=1e-12)


def test_options_at_group_level_are_refused():
    problem = ufm.Problem([9, 9, 4, 4], 1e-3, 1e-3, features="free")
    with pytest.raises(ProblemError, match="starts"):
        ufm.solve(problem, solver="factored", level="group", options={"starts": 2})

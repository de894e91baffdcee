"""Repair: from any dual point to a feasible one; its value never exceeds the optimum, and loses little near it."""

import full_arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex import duality, theory
from ufm_convex.duality.admissible import _multipliers, _top_eigenvalue
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Dual, DualPoint, Factors, FrameDual, of_classes, of_groups
from ufm_convex.solving import solve
from ufm_convex.testing import problems


def random_dual(columns, seed, scale=1.0):
    """Residuals of random logits and a T of any sign: infeasible in every way but the simplex."""
    rng = np.random.default_rng(seed)
    m = columns.rows.size
    V = columns.loss.residuals(scale * rng.normal(size=(columns.outputs.total, m)), columns.layout)
    T = rng.normal(size=(m, m)) * columns.sigma.max() ** 2
    return DualPoint(V, T)


def feasible(columns, dual):
    """Dual feasibility up to rounding: domain, T ≥ 0 (zero for free features), slack PSD."""
    slack = np.linalg.eigvalsh(full_arrays.scaled_slack(columns, dual))[0]
    T = dual.nonnegativity
    sign = (T >= 0.0).all() if columns.nonnegative else not T.any()
    return columns.loss.violation(dual.residuals, columns.layout) < 1e-12 and sign and slack > -1e-12


@given(problems(losses=(CrossEntropy(), CrossEntropy(smoothing=0.1))), st.integers(0, 10**6), st.floats(0.1, 30.0))
def test_repaired_points_are_feasible_and_below_the_optimum(problem, seed, scale):
    columns = of_classes(problem)
    dual, value = full_arrays.repair(columns, [random_dual(columns, seed, scale)])
    assert feasible(columns, dual)
    assert value == pytest.approx(full_arrays.dual_value(columns, dual), rel=1e-14)
    assert value <= theory.optimum(problem).value * (1 + 1e-12)  # weak duality


@given(st.integers(0, 10**6), st.floats(0.01, 0.5))
def test_repaired_points_are_feasible_for_free_features(seed, decay):
    problem = Problem([40, 10, 3], decay, decay, features="free")
    columns = of_classes(problem)
    dual, value = full_arrays.repair(columns, [random_dual(columns, seed)])
    assert feasible(columns, dual)
    assert value <= np.log(3.0) * (1 + 1e-12)  # W = H = 0 is feasible


@given(problems(), st.integers(0, 10**6))
def test_the_loss_is_quadratic_in_the_error(problem, seed):
    """At the optimum's residuals repair loses nothing; at distance δ it loses O(δ²)."""
    columns, optimum = of_classes(problem), theory.optimum(problem)
    logits = optimum.logits()
    direction = np.random.default_rng(seed).normal(size=logits.shape)
    losses = []
    for delta in (0.0, 1e-3, 1e-2):
        V = columns.loss.residuals(logits + delta * direction, columns.layout)
        _, value = full_arrays.repair(columns, [DualPoint(V, np.zeros_like(V))])
        losses.append((optimum.value - value) / optimum.value)
    assert losses[0] < 1e-12
    # curvature of the entropy in logits is at most 1/2 and the direction has entries of order 3; the off-diagonals
    # of G may turn positive next to a collapsed class, where the loss is first order in a quantity that is small itself
    assert losses[1] < 1e-4
    assert losses[2] < 1e-2


def test_rubbish_is_repaired_to_a_valid_bound():
    columns = of_classes(Problem([5, 4, 3], 0.01, 0.01))
    nan = DualPoint(np.full((3, 3), np.nan), np.full((3, 3), np.inf))
    huge = DualPoint(np.full((3, 3), 1e300), -np.ones((3, 3)))
    for candidates in ([], [nan], [huge], [nan, huge]):
        dual, value = full_arrays.repair(columns, candidates)
        assert feasible(columns, dual)
        assert 0.0 <= value <= np.log(3.0)


def test_the_best_candidate_wins():
    problem = Problem([50, 20, 8], 0.01, 0.01)
    columns, best = of_classes(problem), theory.optimum(problem)
    K = problem.num_classes
    good = FrameDual(columns.loss.margin_strengths(best.margins, K)).dense(problem)
    bad = random_dual(columns, 0)
    for order in ([bad, good], [good, bad]):
        _, value = full_arrays.repair(columns, order)
        assert value == pytest.approx(best.value, rel=1e-12)


def test_the_feasibility_check_rejects_an_unrepaired_point():
    columns = of_classes(Problem([50, 20, 8], 0.01, 0.01))
    assert not feasible(columns, random_dual(columns, 1))


@given(st.integers(0, 10**6), st.booleans())
def test_the_largest_eigenvalue_is_never_put_too_low(seed, diagonal):
    """Gershgorin's bound stands in where it is as good; planted: one entry off the diagonal, which must count."""
    rng = np.random.default_rng(seed)
    load = np.diag(rng.random(6))
    planted = load.copy()
    planted[0, 1] = planted[1, 0] = 0.0 if diagonal else 1e-3
    exact = float(np.linalg.eigvalsh(planted)[-1])
    columns = of_classes(Problem([4, 5, 6, 7, 8, 9], 0.3, 0.2))
    V, m = columns.outputs, columns.columns
    T = Alike.matrix(m, m, planted * np.outer(columns.sigma, columns.sigma))
    found = _top_eigenvalue(columns, Dual(Alike.zeros(V, m), T))
    assert exact * (1 - 1e-15) <= found <= exact * (1 + 2e-12)


def test_a_slack_without_off_diagonal_entries_needs_no_other_multiplier():
    columns = of_classes(Problem([9, 5, 2], 0.05, 0.05))
    V = np.full((3, 3), 0.1) - 0.3 * np.eye(3)
    features = np.eye(3)
    given = Alike.matrix(columns.columns, columns.columns, np.ones((3, 3)))
    point = Factors.single(columns, np.zeros((3, 3)), features)
    found = list(_multipliers(columns, Alike.matrix(columns.outputs, columns.columns, V), given, point))
    assert len(found) == 1
    R = full_arrays.scaled_slack(columns, DualPoint(V, found[0].full()))
    np.testing.assert_allclose(R, np.diag(np.diag(R)), atol=1e-15)
    V[1, 0], V[2, 0] = 0.25, -0.05  # planted: u_0·u_2 > 0
    assert len(list(_multipliers(columns, Alike.matrix(columns.outputs, columns.columns, V), given, point))) == 3


TIGHT = [
    Problem([40, 40, 40, 10, 10], 0.02, 0.01),
    Problem([40, 40, 40, 10, 10], 0.02, 0.01, features="free"),
    Problem([60, 60, 9, 9, 9], 5e-3, 5e-3, features="free", loss=CrossEntropy(smoothing=0.1)),
]


@pytest.mark.parametrize("problem", TIGHT, ids=str)
@pytest.mark.parametrize("stretch", [0.2, 0.7, 1.0])
def test_a_short_optimum_is_brought_back_at_both_levels(problem, stretch):
    """V = s V* has its peak at s = 1, where feasibility ends as well: repair finds the way back along the ray."""
    solution = solve(problem, solver="clarabel", level="group", tolerance=1e-9)
    grouped, single, groups = solution.dual, of_classes(problem), of_groups(problem)
    assert isinstance(grouped, Dual)
    short = Dual(stretch * grouped.V, None if grouped.T is None else stretch**2 * grouped.T)
    at_class, dense_bound = duality.repair(single, [Dual.mean(single, short.full())])
    at_group, group_bound = duality.repair(groups, [short])
    for found, bound in ((at_class, dense_bound), (at_group, group_bound)):
        assert feasible(single, found.full())
        assert solution.lower_bound * (1 - 1e-6) <= bound <= solution.upper_bound * (1 + 1e-12)

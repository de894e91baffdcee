"""Theory of free features: the simplex, merging groups and total collapse, each against solved programmes."""

import math
from dataclasses import replace
from fractions import Fraction

import full_arrays
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex import theory
from ufm_convex.errors import DimensionError, HypothesisError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import GramPoint, of_classes
from ufm_convex.solving import solve
from ufm_convex.theory.free_balanced import FreeBalanced, SimplexOptimum
from ufm_convex.theory.free_groups import FreeTotalCollapse, group_collapse, pressure

EPS = np.finfo(float).eps
LOSSES = [CrossEntropy(), CrossEntropy(smoothing=0.1), CrossEntropy(class_weights=(2.5,) * 4, smoothing=0.05)]


def balanced(size, count, ratio, loss=None, **fields):
    """Free features with N K λ_W λ_H = ratio."""
    decay = math.sqrt(ratio / (size * size * count))
    return Problem([count] * size, 0.5 * decay, 2.0 * decay, loss=loss, features="free", **fields)


# -- the simplex --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("ratio", [1e-4, 0.05, 0.8, 3.0, 50.0])
def test_the_simplex_is_the_solved_optimum(loss, ratio):
    problem = balanced(4, 30, ratio, loss)
    expected = FreeBalanced().optimum(problem)
    solution = solve(problem, solver="factored", tolerance=1e-9)
    assert solution.status == "certified"
    assert solution.lower_bound * (1 - 1e-14) <= expected.value <= solution.upper_bound * (1 + 1e-14)
    # a gap of ε determines Gram matrices to √ε
    for found, exact in (
        (solution.logits, expected.logits()),
        (solution.weight_gram, expected.weight_gram()),
        (solution.feature_gram, expected.feature_gram()),
    ):
        np.testing.assert_allclose(found, exact, atol=1e-3 * max(np.abs(exact).max(), 1e-9))
    assert solution.theory.value == expected.value


def test_a_conic_solver_agrees():
    problem = balanced(5, 40, 0.1)
    assert solve(problem, solver="clarabel").value == pytest.approx(FreeBalanced().optimum(problem).value, rel=1e-6)


def test_recorded_figures():
    """K = 10, n = 100, α = 0.05, λ_W = λ_H = 1e-3: recorded from a programme solved elsewhere."""
    loss = CrossEntropy(smoothing=0.05)
    found = theory.optimum(Problem([100] * 10, 1e-3, 1e-3, loss=loss, features="free"))
    assert isinstance(found, SimplexOptimum)
    assert found.margin == pytest.approx(4.054679305829669, rel=1e-14)
    assert found.value == pytest.approx(0.6924074783372629, rel=1e-14)


@given(st.integers(2, 50), st.integers(1, 10**6), st.floats(-200.0, 1.0), st.sampled_from([0.0, 0.1, 0.9]))
def test_value_to_fourteen_digits(size, count, exponent, smoothing):
    """The definition at the margin, in 420 digits: min over M of the loss plus the nuclear norm."""
    decay = 10.0 ** (0.5 * exponent) / size / math.sqrt(count)
    problem = Problem([count] * size, decay, decay, loss=CrossEntropy(smoothing=smoothing), features="free")
    found = FreeBalanced().optimum(problem)
    with mp.workdps(420):
        K, alpha, lam = mp.mpf(size), mp.mpf(smoothing), mp.mpf(decay)
        r = min(mp.mpf(1), alpha + K * lam * mp.sqrt(count))
        margin = mp.log(1 + K * (1 / r - 1))
        data = mp.log(1 + (K - 1) * mp.exp(-margin)) + alpha * margin * (K - 1) / K
        value = data + lam * mp.sqrt(count) * (K - 1) * margin
        assert abs(mp.mpf(found.value) / value - 1) < 1e-14
        # next to collapse the margin is a difference: known to the spacing of ρ
        assert abs(found.margin - margin) <= 1e-14 * margin + 4e-16 * K


def test_factors_attain_the_value_and_are_a_simplex():
    problem = balanced(5, 20, 0.05)
    found, columns = FreeBalanced().optimum(problem), of_classes(problem)
    for dim in (None, 4, 9):
        W, H = found.factors(dim)
        assert full_arrays.factored_objective(columns, W, H) == pytest.approx(found.value, rel=1e-14)
        np.testing.assert_allclose(W @ W.T, found.weight_gram(), atol=1e-13)
        np.testing.assert_allclose(H @ H.T, found.feature_gram(), atol=1e-13)
        np.testing.assert_allclose(W @ H.T, found.logits(), atol=1e-13)
    cosines = found.weight_gram() / found.weight_norm**2
    np.testing.assert_allclose(cosines[~np.eye(5, dtype=bool)], -1.0 / 4.0, rtol=1e-14)
    with pytest.raises(DimensionError, match="feature_dim >= 4"):
        found.factors(3)


def test_the_simplex_collapses_exactly_at_its_threshold():
    """N K λ_W λ_H = 1 in rational numbers, and one ulp below."""
    on = Problem([4] * 4, 2.0**-3, 2.0**-3, features="free")
    assert on.num_samples * 4 * Fraction(on.lambda_w) * Fraction(on.lambda_h) == 1
    assert FreeBalanced().optimum(on).collapsed
    below = Problem([4] * 4, np.nextafter(2.0**-3, 0.0), 2.0**-3, features="free")
    found = FreeBalanced().optimum(below)
    assert not found.collapsed
    assert found.margin > 0.0


def test_fewer_dimensions_leave_a_lower_bound():
    problem = balanced(4, 30, 0.05, feature_dim=2)
    found = theory.bound(problem)
    assert found.relation == "lower"
    solution = solve(problem, solver="factored")
    assert found.value < solution.upper_bound * (1 - 1e-3)
    assert solution.lower_bound <= found.value * (1 + 1e-12)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Problem([5, 5, 4], 0.01, 0.01, features="free"), "class counts and class weights are equal"),
        (Problem([5, 5, 5], 0.01, 0.01), "features are free"),
        (
            Problem([5, 5], 0.01, 0.01, features="free", loss=CrossEntropy(class_weights=(1.0, 2.0))),
            "class weights are equal",
        ),
        (balanced(4, 30, 0.05, feature_dim=2), "at least K − 1"),
    ],
)
def test_what_the_simplex_needs_is_named(problem, words):
    with pytest.raises(HypothesisError, match=words):
        FreeBalanced().optimum(problem)


# -- merging groups -----------------------------------------------------------------------------------------------


def grouped(ratio, small=7, weights=None, smoothing=0.0):
    """Three large classes and four small ones, the small ones at ``ratio`` times the threshold ω²(1−α)² n."""
    counts = np.array([90, 80, 70] + [small] * 4)
    weight = 1.0 if weights is None else weights[-1]
    product = (weight * (1.0 - smoothing)) ** 2 * small / ratio / counts.sum() ** 2
    loss = CrossEntropy(class_weights=weights, smoothing=smoothing)
    return Problem(counts, 0.5 * math.sqrt(product), 2.0 * math.sqrt(product), loss=loss, features="free")


CASES = [{}, {"smoothing": 0.2}, {"weights": (1.0, 1.0, 1.0, 0.7, 0.7, 0.7, 0.7)}]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("ratio", "merges"), [(0.9, True), (0.97, True), (1.03, False), (1.2, False)])
def test_a_group_merges_below_its_threshold_and_not_above(case, ratio, merges):
    problem = grouped(ratio, **case)
    found = group_collapse(problem)
    assert found.merged_groups == (((3, 4, 5, 6),) if merges else ())
    solution = solve(problem, solver="factored", tolerance=1e-11)
    assert solution.status == "certified"
    L = solution.logits[3:, 3:]
    spread = L[0, 0] - L[1, 0]
    # merged: 0 up to the square root of the gap; else about the excess over the threshold, times 2
    assert (abs(spread) < 1e-4) == merges
    assert merges or spread > 0.5 * (ratio - 1.0)
    assert np.linalg.norm(solution.feature_gram[3, 3]) > 0.0  # merged features do not vanish


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ratio", [0.9, 0.99, 1.01, 1.2])
@pytest.mark.parametrize(("solver", "level", "tolerance"), [("factored", "class", 1e-11), ("clarabel", "group", 1e-8)])
def test_a_solution_names_the_groups_that_the_theorem_merges(case, ratio, solver, level, tolerance):
    problem = grouped(ratio, **case)
    # at 1.01 sharing costs about pt (ratio − 1)² = 1e-6 of the value, far above either tolerance
    solution = solve(problem, solver=solver, level=level, tolerance=tolerance)
    assert solution.status == "certified"
    assert solution.merged_groups == group_collapse(problem).merged_groups
    assert solution.collapsed_classes == ()


def test_what_is_called_merged_depends_on_the_point_and_on_what_the_gap_leaves_open():
    """Planted: features averaged over a group that should not merge, and a bound too loose to tell."""
    solution = solve(grouped(1.2), solver="factored", tolerance=1e-11)
    assert solution.merged_groups == ()
    W, H = (np.vstack([factor[:3], np.tile(factor[3:].mean(axis=0), (4, 1))]) for factor in solution.factors())
    assert replace(solution.evidence, point=GramPoint.from_factors(W, H)).merged() == ((3, 4, 5, 6),)
    loose = replace(solution.evidence.lower, value=0.5 * solution.lower_bound)
    assert replace(solution.evidence, lower=loose).merged() == ((3, 4, 5, 6),)


@pytest.mark.parametrize(("sizes", "merged"), [([3, 4], 2), ([1, 6], 1), ([1] * 7, 0)])
def test_when_nothing_is_learnt_every_group_of_several_is_merged(sizes, merged):
    problem = Problem(np.repeat(np.arange(9, 9 - len(sizes), -1), sizes), 2.0, 2.0, features="free")
    for solver in ("factored", "clarabel"):
        solution = solve(problem, solver=solver)
        assert (len(solution.merged_groups), solution.merged_groups) == (merged, group_collapse(problem).merged_groups)


def test_non_negative_features_collapse_one_by_one_instead():
    solution = solve(Problem([9, 9, 1, 1], 0.1, 0.1))
    assert (solution.collapsed_classes, solution.merged_groups) == ((2, 3), ())


def test_merging_does_not_depend_on_the_other_groups():
    """The same small classes among other large ones, at the same N and decays."""
    base = grouped(0.95)
    for large in ([200, 30, 10], [80, 80, 80]):
        other = Problem([*large, 7, 7, 7, 7], base.lambda_w, base.lambda_h, features="free")
        assert other.num_samples == base.num_samples
        assert (3, 4, 5, 6) in group_collapse(other).merged_groups
        L = solve(other, solver="factored", tolerance=1e-10).logits[3:, 3:]
        assert abs(L[0, 0] - L[1, 0]) < 1e-3


def test_merging_is_decided_exactly():
    """Four classes of 4 samples, N = 32, N² λ_W λ_H = 4 in rational numbers: the boundary merges."""
    counts = [16, 4, 4, 4, 4]
    on = Problem(counts, 2.0**-4, 2.0**-4, features="free")
    assert group_collapse(on).threshold == 4.0
    assert group_collapse(on).merged.tolist() == [False, True]
    below = Problem(counts, np.nextafter(2.0**-4, 0.0), 2.0**-4, features="free")
    assert group_collapse(below).merged.tolist() == [False, False]


def test_single_classes_do_not_merge():
    assert group_collapse(Problem([90, 8, 3], 1.0, 1.0, features="free")).merged_groups == ()


def test_what_merging_needs_is_named():
    with pytest.raises(HypothesisError, match="features are free"):
        group_collapse(Problem([5, 5], 0.1, 0.1))
    with pytest.raises(HypothesisError, match="K − 1"):
        group_collapse(Problem([5, 5, 5], 0.1, 0.1, features="free", feature_dim=1))


# -- total collapse -----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=8), st.sampled_from([0.0, 0.3]))
def test_the_pressure_is_the_eigenvalue(counts, smoothing):
    """λ_max(P Diag(n) P) by a dense eigenvalue solver."""
    n, K = np.array(counts, dtype=float), len(counts)
    loss = CrossEntropy(smoothing=smoothing, class_weights=tuple(np.linspace(0.5, 2.0, K)))
    problem = Problem(counts, 0.01, 0.03, loss=loss, features="free")
    P = np.eye(K) - 1.0 / K
    a = (np.linspace(0.5, 2.0, K) * (1.0 - smoothing)) ** 2 * n
    expected = np.linalg.eigvalsh(P @ np.diag(a) @ P)[-1] / (n.sum() ** 2 * 0.01 * 0.03)
    assert pressure(problem) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("excess", "collapses"), [(0.97, True), (0.999, True), (1.02, False), (1.1, False)])
def test_everything_vanishes_below_the_threshold_and_not_above(excess, collapses, smoothing):
    counts, loss = [50, 20, 20, 7], CrossEntropy(smoothing=smoothing)
    unit = Problem(counts, 1.0, 1.0, loss=loss, features="free")
    decay = math.sqrt(pressure(unit) / excess)
    problem = Problem(counts, decay, decay, loss=loss, features="free")
    assert (not FreeTotalCollapse().failed(problem)) == collapses
    solution = solve(problem, solver="factored", tolerance=1e-10)
    assert solution.status == "certified"
    if collapses:
        assert solution.value == pytest.approx(FreeTotalCollapse().optimum(problem).value, rel=1e-12)
        assert FreeTotalCollapse().optimum(problem).value == pytest.approx(math.log(4.0), rel=1e-15)
        assert np.abs(solution.logits).max() < 1e-4
    else:
        assert solution.upper_bound < math.log(4.0) * (1 - 1e-6)
        assert np.abs(solution.logits).max() > 0.01
        with pytest.raises(HypothesisError, match="lambda_max"):
            FreeTotalCollapse().optimum(problem)


def test_nothing_overflows():
    for decays in ((5e-324, 5e-324), (1e308, 1e308), (1e-300, 1e300)):
        for loss in (CrossEntropy(), CrossEntropy(class_weights=(1e-200, 1.0, 1e200))):
            found = pressure(Problem([50, 3, 1], *decays, loss=loss, features="free"))
            assert found >= 0.0
    tiny = FreeBalanced().optimum(Problem([5] * 3, 1e-300, 1e-300, features="free"))
    assert math.isfinite(tiny.value)
    assert tiny.margin == pytest.approx(math.log(3.0) - 0.5 * math.log(45.0) + 300.0 * math.log(10.0), rel=1e-14)


def simplex_in_digits(K, count, decays, weight, smoothing):
    """Margin, wrong mass and value of the simplex, from its objective in the margin alone.

    L = M (I − 11ᵀ/K) costs √(λ_W λ_H m) times its nuclear norm (K−1) M, and loses log(1 + (K−1) e^{−M}) +
    α M (K−1)/K on every class; the minimum is where the derivative vanishes.
    """
    price = mp.sqrt(mp.mpf(decays[0]) * mp.mpf(decays[1]) * count) * (K - 1)
    alpha, omega = mp.mpf(smoothing), mp.mpf(weight)

    def slope(margin):
        wrong = (K - 1) / (mp.exp(margin) + K - 1)
        return omega * (-wrong + alpha * mp.mpf(K - 1) / K) + price

    low, high = mp.mpf(0), mp.mpf(10) ** 4
    if slope(low) >= 0:
        high = low
    for _ in range(230):  # bisection: the slope rises
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    loss = mp.log1p((K - 1) * mp.exp(-low)) + alpha * low * mp.mpf(K - 1) / K
    return low, (K - 1) / (mp.exp(low) + K - 1), omega * loss + price * low


@pytest.mark.parametrize("K", [2, 3, 10, 1000])
@pytest.mark.parametrize(("weight", "smoothing"), [(1.0, 0.0), (2.5, 0.0), (1.0, 0.1), (0.5, 0.5)])
@pytest.mark.parametrize("share", [1e-300, 1e-200, 1e-130, 1e-12, 0.1, 0.5, 0.9, 1 - 2.0**-30, 1.0, 4.0])
def test_the_simplex_has_every_digit_of_its_objective_in_the_margin(K, weight, smoothing, share):
    """From decays whose product underflows to beyond collapse; ``share`` is that of the strength at the threshold."""
    count = 7
    decay = share * weight * (1 - smoothing) / (math.sqrt(count) * K)
    weights = None if weight == 1.0 else (weight,) * K
    loss = CrossEntropy(class_weights=weights, smoothing=smoothing)
    problem = Problem([count] * K, decay, decay, features="free", loss=loss)
    found = theory.optimum(problem)
    assert isinstance(found, SimplexOptimum)
    with mp.workdps(60):
        margin, wrong, value = simplex_in_digits(K, count, (decay, decay), weight, smoothing)
        # a few roundings of positive terms; where the squared strength underflows, it is known by its logarithm alone
        accuracy = 8 * EPS if share > 1e-140 else EPS * abs(math.log(share))
        assert abs(found.margin - margin) <= accuracy * margin
        assert abs(found.wrong_mass - wrong) <= accuracy * wrong
        assert abs(found.value - value) <= accuracy * value
        assert found.collapsed == (margin == 0)


def test_factors_have_the_least_dimension_unless_another_is_asked_for():
    """K corners of a simplex span K − 1 dimensions."""
    for K in (2, 3, 7):
        found = theory.optimum(Problem([5] * K, 1e-3, 1e-3, features="free"))
        for d, columns in ((None, K - 1), (K - 1, K - 1), (K + 3, K + 3)):
            W, H = found.factors(d)
            assert W.shape == H.shape == (K, columns)
            assert np.abs(W @ H.T - found.logits()).max() <= 16 * EPS * found.margin
            assert np.abs(W @ W.T - found.weight_gram()).max() <= 16 * EPS * found.weight_norm**2
            assert np.abs(H @ H.T - found.feature_gram()).max() <= 16 * EPS * found.feature_norm**2

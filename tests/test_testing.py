"""The kit itself: what strategies promise holds, boundaries are reached, examples shrink, and assertions can fail."""

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import full_arrays
import numpy as np
import pytest
from full_columns import Full
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st

import ufm_convex as ufm
from ufm_convex import HardMargin, LayerPeeled, testing, theory
from ufm_convex.certificate import Certificate
from ufm_convex.errors import CandidateError, CountsError, HypothesisError, ProblemError, UnknownNameError
from ufm_convex.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, MulticlassHinge
from ufm_convex.problem import Problem
from ufm_convex.relaxation import of_classes
from ufm_convex.testing import candidates, feasible_dual_points, feasible_primal_points, problems, spurious_minima

LOSSES = (CrossEntropy(), CrossEntropy(smoothing=0.1))
QUICK = settings(max_examples=300, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
FIRST = settings(QUICK, phases=[Phase.generate])  # any example will do


def threshold(problem):
    """n_c = N² λ_W λ_H K/(K−1) of plain cross-entropy, as a rational number."""
    K, N = problem.num_classes, problem.num_samples
    return N**2 * Fraction(problem.lambda_w) * Fraction(problem.lambda_h) * Fraction(K, K - 1)


# -- problems ------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(problems(regimes=["boundary"], max_count=500))
def test_a_class_lies_at_the_boundary_exactly(problem):
    assert threshold(problem) in problem.class_counts.tolist()
    assert problem.class_counts.max() <= 500


@settings(max_examples=50)
@given(st.data())
def test_regimes_keep_what_they_promise(data):
    regime = data.draw(st.sampled_from(["all_collapsed", "none_collapsed", "balanced"]))
    problem = data.draw(problems(regimes=[regime], max_classes=5, max_count=50))
    collapsed = [n <= threshold(problem) for n in problem.class_counts.tolist()]
    assert 2 <= problem.num_classes <= 5
    assert problem.class_counts.max() <= 50
    assert {
        "all_collapsed": all(collapsed),
        "none_collapsed": not any(collapsed),
        "balanced": len(set(problem.class_counts.tolist())) == 1,
    }[regime]


@settings(max_examples=50)
@given(st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(n), problems(min_active=n, losses=LOSSES))))
def test_as_many_classes_are_active_as_asked(drawn):
    least, problem = drawn
    threshold_k = threshold(problem) / (1 - Fraction(problem.loss.smoothing)) ** 2
    assert sum(n > threshold_k for n in problem.class_counts.tolist()) >= least


BOUNDARIES = {
    "a class at n_c exactly": lambda p: threshold(p) in p.class_counts.tolist(),
    "K = 2": lambda p: p.num_classes == 2,
    "K = 2 at n_c": lambda p: p.num_classes == 2 and threshold(p) in p.class_counts.tolist(),
    "all collapsed": lambda p: max(p.class_counts.tolist()) < threshold(p),
    "none collapsed": lambda p: min(p.class_counts.tolist()) > threshold(p),
    "some collapsed": lambda p: min(p.class_counts.tolist()) <= threshold(p) < max(p.class_counts.tolist()),
    "balanced": lambda p: p.num_classes > 2 and len(set(p.class_counts.tolist())) == 1,
}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_boundaries_are_generated(name):
    found = find(problems(), BOUNDARIES[name], settings=QUICK)
    assert BOUNDARIES[name](found)


def test_examples_shrink_to_few_classes_and_small_counts():
    found = find(problems(), lambda p: p.class_counts.max() >= 10, settings=QUICK)
    assert sorted(found.class_counts.tolist()) == [1, 10]
    found = find(problems(), lambda p: p.num_classes >= 4, settings=QUICK)
    assert found.class_counts.tolist() == [1] * 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"regimes": ["odd"]}, UnknownNameError, "odd"),
        ({"min_classes": 1}, ProblemError, "min_classes"),
        ({"min_classes": 7}, ProblemError, "max_classes"),
        ({"losses": ()}, ProblemError, "empty"),
        ({"regimes": ["all_collapsed"], "min_active": 1}, ProblemError, "no regime"),
        ({"regimes": ["boundary"], "losses": LOSSES[1:]}, ProblemError, "no regime"),
        ({"regimes": ["boundary"], "max_count": 3}, ProblemError, "no regime"),
    ],
)
def test_limits_that_leave_nothing_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        find(problems(**arguments), lambda _: True, settings=QUICK)


# -- classes without samples, and tables ---------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data(), st.integers(0, 2), st.sampled_from(testing.REGIMES))
def test_classes_without_samples_keep_the_promises_of_their_regime(data, min_active, regime):
    assume(not (regime == "all_collapsed" and min_active))
    drawn = problems(max_classes=5, max_count=50, max_empty=2, min_active=min_active, regimes=[regime])
    problem = data.draw(drawn)
    empty = len(problem.empty_classes)
    assert empty <= (0 if regime == "boundary" else 2)
    assert 2 <= problem.num_classes <= 5
    collapsed = theory.optimum(problem).collapsed
    assert np.count_nonzero(~collapsed) >= min_active
    assert regime != "none_collapsed" or np.count_nonzero(collapsed) == empty
    assert regime != "all_collapsed" or collapsed.all()


def test_classes_without_samples_are_drawn_and_shrink_away():
    found = find(problems(max_empty=3), lambda p: len(p.empty_classes) == 3, settings=QUICK)
    assert sorted(found.class_counts.tolist()) == [0, 0, 0, 1]
    assert find(problems(max_empty=3), lambda p: True, settings=QUICK).empty_classes == ()
    with pytest.raises(ProblemError, match="max_empty"):
        find(problems(max_classes=3, max_empty=3), lambda _: True, settings=QUICK)


TABLED = testing.tabled_problems(max_count=20, biases=(None, "free", 0.1))


@settings(max_examples=80)
@given(st.one_of(problems(max_classes=4, max_count=20, max_empty=2), TABLED), st.data())
def test_points_of_tables_and_of_empty_classes_obey_weak_duality(problem, data):
    candidate = data.draw(candidates(problem, near=False, level=data.draw(st.sampled_from(["class", "sample"]))))
    assert candidate.problem(problem.lambda_w, problem.lambda_h, loss=problem.loss, features=problem.features,
                             bias=problem.bias) == problem  # fmt: skip
    point, columns = data.draw(feasible_primal_points(problem)), of_classes(problem)
    there = np.flatnonzero(problem.class_counts)
    Z = point.matrix()
    assert np.linalg.eigvalsh(Z)[0] >= -1e-14 * Z.shape[0] * max(np.abs(Z).max(), 1e-300)
    assert not problem.nonnegative or point.feature_gram.min() >= 0.0
    if problem.bias is not None:
        return  # dual points are drawn without a bias
    dual = data.draw(feasible_dual_points(problem))
    V, T = dual.residuals[:, there], dual.nonnegativity[np.ix_(there, there)]
    assert dual.residuals.shape == (problem.num_outputs, problem.num_classes)
    assert columns.loss.violation(V, columns.layout) <= 1e-15
    U, D = V * problem.loss_weights[there], problem.lambda_w * problem.lambda_h * problem.class_counts[there]
    root = 1.0 / np.sqrt(D)
    assert np.linalg.eigvalsh((U.T @ U + T) * np.outer(root, root))[-1] <= 1.0 + 1e-13
    value = problem.loss_weights[there] @ columns.loss.values(point.logits[:, there], columns.layout)
    value += 0.5 * problem.lambda_w * np.trace(point.weight_gram)
    value += 0.5 * problem.lambda_h * problem.class_counts @ np.diag(point.feature_gram)
    below = -(problem.loss_weights[there] @ columns.loss.conjugate(V, columns.layout))
    assert below <= value + 1e-12 * max(1.0, abs(value))


@settings(max_examples=15, deadline=None)
@given(testing.tabled_problems(max_columns=4, max_count=20), st.data())
def test_solutions_of_tables_lie_below_what_is_drawn(problem, data):
    """At most four columns: the relaxation is exact, with a ReLU and without."""
    solution = ufm.solve(problem)
    assert solution.status == "certified"
    candidate = data.draw(candidates(problem))
    found = ufm.attribute_gap(problem, candidate, solution=solution)
    assert found.candidate_value >= solution.lower_bound * (1 - 1e-12)
    W, H = solution.factors()
    testing.assert_optimal(
        problem, ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts), tolerance=2e-6
    )


def test_tables_shrink_and_reach_what_is_special():
    drawn = testing.tabled_problems
    first = find(drawn(), lambda p: True, settings=QUICK)
    assert (first.num_columns, first.num_samples) == (1, 1)
    special = {
        "more outputs": lambda p: p.num_outputs > p.num_columns,
        "more columns": lambda p: p.num_outputs < p.num_columns,
        "one output": lambda p: p.num_outputs == 1,
        "equal columns": lambda p: p.merged[0] is not p,
        "an output without mass": lambda p: p.loss.name.startswith("soft") and 0.0 in p.loss.table.masses(
            np.arange(p.num_columns))[0],
        "a negative target": lambda p: (p.loss.table.entries < 0.0).any(),
    }  # fmt: skip
    for name, wanted in special.items():
        assert wanted(find(drawn(), wanted, settings=QUICK)), name


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"losses": ["cross-entropy"]}, UnknownNameError, "cross-entropy"),
        ({"losses": []}, ProblemError, "losses"),
        ({"max_outputs": 1}, ProblemError, "max_outputs"),
        ({"max_columns": 0}, ProblemError, "max_columns"),
        ({"max_count": 0}, ProblemError, "max_count"),
    ],
)
def test_tables_that_leave_nothing_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        find(testing.tabled_problems(**arguments), lambda _: True, settings=QUICK)


# -- candidates and feasible points --------------------------------------------------------------------------------

SMALL = problems(max_classes=4, max_count=20, losses=LOSSES)


@settings(max_examples=60)
@given(SMALL, st.data(), st.sampled_from(["class", "sample"]))
def test_candidates_are_admissible_and_never_below_the_optimum(problem, data, level):
    candidate = data.draw(candidates(problem, level=level))
    assert candidate.class_counts.tolist() == problem.class_counts.tolist()
    assert candidate.features.min() >= 0.0
    found = ufm.attribute_gap(problem, candidate)
    # the value is a sum of terms of its own size: 1e-13 covers their rounding
    assert found.candidate_value >= theory.optimum(problem).value * (1 - 1e-13)


@settings(max_examples=40)
@given(problems(min_active=1, losses=LOSSES), st.data())
def test_near_candidates_are_near(problem, data):
    candidate = data.draw(candidates(problem, near=True, feature_dim=problem.num_classes))
    W, H = theory.optimum(problem).factors()
    for moved, exact in ((candidate.weights, W), (candidate.features, H)):
        assert np.abs(moved - exact).max() <= 0.1 * np.abs(exact).max() * (1 + 1e-12)


def test_candidates_come_optimal_near_and_far():
    problem = Problem([8, 6, 4, 1], 0.1, 0.05)

    def gap(candidate):
        found = ufm.attribute_gap(problem, candidate)
        return found.gap / found.candidate_value

    for low, high in ((0.0, 1e-14), (1e-14, 1e-6), (1e-6, 1e-2), (0.5, 1.0)):
        found = find(candidates(problem), lambda c, low=low, high=high: low <= gap(c) <= high, settings=FIRST)
        assert low <= gap(found) <= high
    sparse = find(candidates(problem, near=False), lambda c: c.weights.any(), settings=QUICK)
    assert np.count_nonzero(sparse.weights) == 1
    assert not sparse.features.any()


@settings(max_examples=80)
@given(SMALL, st.data())
def test_feasible_points_are_feasible_and_obey_weak_duality(problem, data):
    point, dual = data.draw(feasible_primal_points(problem)), data.draw(feasible_dual_points(problem))
    columns, Z = of_classes(problem), point.matrix()
    assert np.linalg.eigvalsh(Z)[0] >= -1e-14 * Z.shape[0] * np.abs(Z).max()  # backward error of eigvalsh
    assert point.feature_gram.min() >= 0.0
    assert columns.loss.violation(dual.residuals, columns.layout) <= 1e-15
    assert dual.nonnegativity.min() >= 0.0
    U = dual.residuals * problem.loss_weights
    root = 1.0 / np.sqrt(problem.lambda_w * problem.lambda_h * problem.class_counts)
    load = (U.T @ U + dual.nonnegativity) * np.outer(root, root)
    assert np.linalg.eigvalsh(load)[-1] <= 1.0 + 1e-14 * len(root)
    value = full_arrays.objective(columns, point)
    assert full_arrays.dual_value(columns, dual) <= value * (1 + 1e-13)


def test_dual_points_reach_the_optimum_and_the_boundary():
    problem = Problem([8, 6, 4, 1], 0.1, 0.05)
    columns, best = of_classes(problem), theory.optimum(problem).value
    find(
        feasible_dual_points(problem),
        lambda p: full_arrays.dual_value(columns, p) >= best * (1 - 1e-12),
        settings=FIRST,
    )
    find(feasible_dual_points(problem), lambda p: full_arrays.dual_value(columns, p) < 0.9 * best, settings=FIRST)
    find(feasible_dual_points(problem), lambda p: p.nonnegativity.any() and not p.residuals.any(), settings=FIRST)


# -- spurious minima -----------------------------------------------------------------------------------------------


def objective(problem, W, H):
    """f(W, H) for class means of plain cross-entropy, from the definition."""
    logits = H @ W.T
    losses = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1) - np.diag(logits)
    n = problem.class_counts
    return n @ losses / n.sum() + problem.lambda_w / 2 * (W**2).sum() + problem.lambda_h / 2 * (n @ (H**2).sum(1))


@settings(max_examples=60)
@given(problems(min_active=2, losses=LOSSES), st.data())
def test_spurious_minima_are_stationary_and_cost_what_they_say(problem, data):
    minimum = data.draw(spurious_minima(problem))
    testing.assert_stationary(problem, minimum.candidate, tolerance=1e-12)
    found = ufm.attribute_gap(problem, minimum.candidate)
    # 1e-13 of the value: the excess is a difference of losses
    assert found.gap == pytest.approx(minimum.excess.sum(), rel=1e-9, abs=1e-13 * found.candidate_value)
    assert minimum.dead == tuple(k for k in range(problem.num_classes) if minimum.excess[k] != 0.0)


@settings(max_examples=60)
@given(problems(min_active=2, max_count=100, regimes=["none_collapsed"]), st.data(), st.integers(0, 10**6))
def test_spurious_minima_are_local_minima(problem, data, seed):
    """No step lowers f, revival of the dead class with the direction that a spare coordinate would offer included."""
    minimum = data.draw(spurious_minima(problem))
    W, H = (np.asarray(array) for array in (minimum.candidate.weights, minimum.candidate.features))
    rng, value = np.random.default_rng(seed), objective(problem, W, H)
    k = minimum.dead[0]
    for size in (1e-4, 1e-5):
        steps = [(rng.normal(size=W.shape), rng.normal(size=H.shape)) for _ in range(5)]
        for column in range(W.shape[1]):
            up, revived = np.zeros_like(W), np.zeros_like(H)
            up[k, column] = revived[k, column] = 1.0
            steps.append((up, revived))
        for step_W, step_H in steps:
            moved = np.maximum(H + size * step_H * np.abs(H).max(), 0.0)
            assert objective(problem, W + size * step_W * np.abs(W).max(), moved) >= value * (1 - 1e-14 * W.size)


def test_with_a_coordinate_to_spare_the_dead_class_revives():
    """The same classes dead, but column 1 left empty: a saddle, which the search for a descent must see."""
    problem = Problem([8, 6, 4], 0.05, 0.05)
    W, H = theory.optimum(problem).factors()
    H[1], W[:, 1] = 0.0, 0.0
    value, u = objective(problem, W, H), problem.class_counts[1] / 18 * (np.full(3, 1 / 3) - np.eye(3)[1])
    H[1, 1], W[:, 1] = 1e-3, -1e-3 * u / problem.lambda_w
    # 18² · 0.05² · 3/2 < 6, so the second-order term is negative; it is 1e-6 of (σ² − ‖u‖²) / 2 λ_W
    expected = 1e-6 * (0.05**2 * 6 - u @ u) / (2 * problem.lambda_w)
    assert expected < 0.0
    assert objective(problem, W, H) - value == pytest.approx(expected, rel=1e-3)


def test_dead_classes_cost_what_the_reference_says():
    """Excess over the optimum of ten classes, class by class: recorded from projected descent on the factors."""
    counts = [500, 300, 180, 108, 65, 39, 23, 14, 8, 5]
    # excess of the dead class at λ_W = λ_H = 1e-3, to the ten digits that were recorded
    recorded = [0.7972762309, 0.4600503786, 0.2626301273, 0.1478213605, 0.0819306292]
    recorded += [0.0440785980, 0.0223187896, 0.0111334997, 0.0045610470, 0.0018240460]
    problem = Problem(counts, 1e-3, 1e-3)
    for k, excess in enumerate(recorded):
        found = find(spurious_minima(problem, dead=[k]), lambda _: True, settings=FIRST)
        assert found.excess[k] == pytest.approx(excess, abs=1e-10)


def test_spurious_minima_need_a_class_to_die_and_one_to_live():
    problem = Problem([8, 6, 4, 1], 0.1, 0.05)  # the last class is collapsed
    for dead, d in (([], None), ([3], None), ([0, 1, 2], None), ([0], 1)):
        with pytest.raises(ProblemError, match="dead is"):
            find(spurious_minima(problem, dead=dead, feature_dim=d), lambda _: True, settings=QUICK)
    with pytest.raises(HypothesisError, match="active"):
        find(spurious_minima(Problem([3, 2], 10.0, 10.0)), lambda _: True, settings=QUICK)


def test_spurious_minima_shrink_to_one_dead_class_of_few():
    drawn = problems(min_active=2).flatmap(spurious_minima)
    found = find(drawn, lambda m: bool(m.dead), settings=QUICK)
    assert found.problem.num_classes == 2
    assert len(found.dead) == 1
    assert found.problem.class_counts.max() <= 4


# -- assertions ----------------------------------------------------------------------------------------------------

PROBLEM = Problem([8, 6, 4, 1], 0.1, 0.05)  # the last class is collapsed
ALL = [
    testing.assert_optimal,
    testing.assert_collapse_pattern,
    testing.assert_orthogonal_frame,
    testing.assert_self_dual,
    testing.assert_stationary,
    testing.assert_kkt,
]


@pytest.mark.parametrize("check", ALL)
@settings(max_examples=30)
@given(problem=problems(losses=LOSSES))
def test_every_assertion_passes_at_the_optimum(check, problem):
    check(problem, theory.optimum(problem).factors())


@pytest.mark.parametrize("check", ALL)
def test_assertions_take_features_of_all_samples(check):
    W, H = theory.optimum(PROBLEM).factors()
    labels = np.repeat(np.arange(4), PROBLEM.class_counts)[::-1]
    check(PROBLEM, ufm.Candidate(weights=W, features=H[labels], labels=labels))


def faulty(fault):
    W, H = theory.optimum(PROBLEM).factors()
    fault(W, H)
    return W, H


def dead(W, H):
    H[1], W[:, 1] = 0.0, 0.0


def overlapping(W, H):
    H[1, 0] = 0.1


def skewed(W, H):
    W[2] *= 1.1


def longer(W, H):
    H *= 1.1
    W *= 1.1


def awake(W, H):
    H[3, 3] = 0.1


def negative(W, H):
    H[2, 0] = -0.1


@pytest.mark.parametrize(
    ("check", "fault", "guilty"),
    [
        (testing.assert_optimal, dead, r"calibration +\S+ +100.0%  mostly class 1"),
        (testing.assert_optimal, overlapping, r"non_orthogonality .* mostly classes 0 and 1"),
        (testing.assert_optimal, skewed, r"self_duality .* mostly class 2"),
        (testing.assert_optimal, longer, r"calibration +\S+ +100.0%"),
        (testing.assert_optimal, awake, r"collapsed .* mostly class 3"),
        (testing.assert_optimal, negative, r"features\[2, 0\] is -0.1"),
        (testing.assert_collapse_pattern, dead, r"^class 1 dead.*\n.*\n  calibration"),
        (testing.assert_collapse_pattern, awake, r"^class 3 active.*\n(.*\n)+  collapsed"),
        (testing.assert_orthogonal_frame, overlapping, r"classes 0 and 1 .* cosine"),
        (testing.assert_self_dual, skewed, r"row 2 .*\n.*\n  .*self_duality"),
        (testing.assert_stationary, overlapping, r"row 0 of W|row 1 of H|row 1 of W"),
        (testing.assert_stationary, longer, r"projected gradient"),
        (testing.assert_kkt, dead, r"stationarity_logits .*\n.*\n  calibration"),
        (testing.assert_kkt, overlapping, r"duality_gap"),
        (testing.assert_kkt, longer, r"stationarity_logits|duality_gap"),
    ],
)
def test_every_assertion_names_the_planted_fault(check, fault, guilty):
    with pytest.raises(AssertionError) as caught:
        check(PROBLEM, faulty(fault))
    assert re.search(guilty, str(caught.value)), str(caught.value)


def test_dead_classes_pass_exactly_the_local_checks():
    candidate = faulty(dead)
    for check in (testing.assert_orthogonal_frame, testing.assert_self_dual, testing.assert_stationary):
        check(PROBLEM, candidate)
    testing.assert_collapse_pattern(PROBLEM, candidate, collapsed=[1, 3])
    with pytest.raises(AssertionError, match="class 0 active"):
        testing.assert_collapse_pattern(PROBLEM, candidate, collapsed=[0, 1, 3])


def test_variability_within_a_class_fails():
    W, H = theory.optimum(PROBLEM).factors()
    labels = np.repeat(np.arange(4), PROBLEM.class_counts)
    F = H[labels]
    F[0, 0] += 0.1
    F[1, 0] -= 0.1
    candidate = ufm.Candidate(weights=W, features=F, labels=labels)
    with pytest.raises(AssertionError, match=r"variability .* mostly class 0"):
        testing.assert_optimal(PROBLEM, candidate)
    with pytest.raises(AssertionError, match="within_class_variability"):
        testing.assert_kkt(PROBLEM, candidate)


def test_certified_takes_problems_candidates_and_certificates(tmp_path):
    optimal = theory.optimum(PROBLEM).factors()
    testing.assert_certified(PROBLEM)
    testing.assert_certified(PROBLEM, optimal)
    certificate = ufm.certify(PROBLEM)
    certificate.save(tmp_path / "proof.json")
    for source in (certificate, tmp_path / "proof.json", certificate.to_json().encode()):
        testing.assert_certified(source)
    with pytest.raises(AssertionError, match=r"suboptimal(.*\n)+  calibration .* class 1"):
        testing.assert_certified(PROBLEM, faulty(dead))
    with pytest.raises(AssertionError, match="infeasible"):
        testing.assert_certified(PROBLEM, faulty(negative))
    worse = ufm.Candidate(weights=optimal[0] * 1.01, features=optimal[1], class_counts=PROBLEM.class_counts)
    loose = ufm.certify(PROBLEM, worse)
    with pytest.raises(AssertionError, match="proves less"):
        testing.assert_certified(loose)


def test_a_forged_certificate_fails():
    honest = ufm.certify(PROBLEM)
    lower = honest.content["claims"]["upper"]  # a bound that is a little too good
    forged = Certificate({**honest.content, "claims": {**honest.content["claims"], "lower": lower}}, {})
    with pytest.raises(AssertionError, match=r"not proved: .*REFUTED"):
        testing.assert_certified(forged)


def test_without_a_closed_form_the_certificate_decides():
    problem = Problem([4, 3, 2], 0.05, 0.05, features="free")
    solution = ufm.solve(problem)
    testing.assert_optimal(problem, solution.factors(), tolerance=1e-5)
    with pytest.raises(AssertionError, match="suboptimal"):
        testing.assert_optimal(problem, (np.zeros((3, 3)), np.zeros((3, 3))))


def test_input_that_cannot_be_judged_is_an_error_and_no_failed_assertion():
    W, H = theory.optimum(PROBLEM).factors()
    with pytest.raises(CountsError):
        testing.assert_optimal(PROBLEM, ufm.Candidate(weights=W, features=H, class_counts=[8, 6, 4, 2]))
    with pytest.raises(CandidateError, match="str"):
        testing.assert_optimal(PROBLEM, "candidate")
    for tolerance in (0.0, -1.0, float("nan"), True, "small"):
        with pytest.raises(ProblemError, match="tolerance"):
            testing.assert_optimal(PROBLEM, (W, H), tolerance=tolerance)
    H[0, 0] = np.nan
    with pytest.raises(AssertionError, match=r"features\[0, 0\] is nan"):
        testing.assert_optimal(PROBLEM, (W, H))


# -- the package ---------------------------------------------------------------------------------------------------


def test_without_hypothesis_the_import_says_what_to_install():
    script = "import sys; sys.modules['hypothesis'] = None; import ufm_convex.testing"  # None: not to be found
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MissingExtraError" in done.stderr
    assert "pip install hypothesis" in done.stderr


def test_everything_public_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "testing.md").read_text(encoding="utf-8")
    assert [name for name in testing.__all__ if f"`{name}" not in page] == []


@pytest.mark.parametrize("check", [testing.assert_optimal, testing.assert_self_dual, testing.assert_kkt])
def test_a_diverged_classifier_is_not_compared_with_infinity(check):
    problem = Problem([5, 3, 2], 1e-2, 1e-2)
    W, H = ufm.solve(problem).factors()
    with pytest.raises(AssertionError, match="diverged"):
        check(problem, (W * 1e200, H))


@pytest.mark.parametrize("check", [testing.assert_stationary, testing.assert_kkt])
@pytest.mark.parametrize(
    "problem",
    [
        Problem([5, 3, 2], 0.05, 0.05, loss=MulticlassHinge()),
        Problem([5, 3, 2], 0.05, 0.05, loss=MulticlassHinge(kind="weston-watkins")),
        Problem([5, 3, 2], 0.05, 0.05, constraint=HardMargin()),
    ],
    ids=["crammer-singer", "weston-watkins", "hard-margin"],
)
def test_an_optimum_at_a_kink_is_not_judged_by_a_gradient(check, problem):
    """Every margin is 1 there, where one subgradient is as good as another: none of them alone is the multiplier."""
    solution = ufm.solve(problem)
    np.testing.assert_allclose(solution.margins, 1.0, rtol=1e-9)  # so nothing is wrong with the optimum
    with pytest.raises(HypothesisError, match="not differentiable"):
        check(problem, solution.factors())


@pytest.mark.parametrize(
    "problem",
    [
        Problem([3, 2, 1], 0.02, 0.02, constraint=HardMargin()),
        Problem([3, 2, 1], 0.02, 0.02, constraint=HardMargin(margins=(1.0, 2.0, 1.0))),
        Problem([3, 2, 1], constraint=LayerPeeled(1.0, 5.0)),
        Problem([3, 2, 1], 0.02, 0.02, loss=BinaryCrossEntropy()),
        Problem([3, 2, 1], 0.02, 0.02, loss=MeanSquaredError()),
        Problem([2, 2, 2], 0.02, 0.02, bias="free"),
    ],
    ids=["margin", "margins", "layer-peeled", "binary", "squares", "bias"],
)
@settings(QUICK, max_examples=20)
@given(data=st.data())
def test_what_is_drawn_for_a_problem_whose_theorem_knows_no_frame(problem, data):
    candidate = data.draw(candidates(problem))
    assert np.asarray(candidate.features).min() >= 0.0
    assert candidate.class_counts.tolist() == problem.class_counts.tolist()
    if (problem.bias is None and problem.constraint is None) or isinstance(problem.constraint, HardMargin):
        dual = data.draw(feasible_dual_points(problem))
        assert Full(problem.loss).violation(dual.residuals, np.arange(3)) < 1e-12


# -- input that makes no sense --------------------------------------------------------------------------------------


@pytest.mark.parametrize("collapsed", [[7], [-1], [True], [1.0], ["1"]])
def test_a_collapsed_class_that_does_not_exist_is_refused(collapsed):
    candidate = theory.optimum(PROBLEM).factors()
    with pytest.raises(ProblemError, match="collapsed has the entry"):
        testing.assert_collapse_pattern(PROBLEM, candidate, collapsed=collapsed)


@pytest.mark.parametrize("level", [0.0, -1.0, float("nan"), float("inf"), "1"])
def test_a_level_out_of_range_is_refused(level):
    with pytest.raises(ProblemError, match="level is"):
        testing.decays_for([5, 4, 3], level)


def test_counts_that_are_none_have_no_decays():
    with pytest.raises(CountsError):
        testing.decays_for([5, -1, 3], 0.5)


def test_candidates_of_an_unknown_level_are_refused():
    with pytest.raises(UnknownNameError, match="level is 'samples'"):
        find(candidates(PROBLEM, level="samples"), lambda _: True, settings=FIRST)


def test_nan_is_a_fault_of_the_candidate_for_the_proof_as_well():
    W, H = (array.copy() for array in theory.optimum(PROBLEM).factors())
    H[0, 0] = np.nan
    with pytest.raises(AssertionError, match=r"features\[0, 0\] is nan"):
        testing.assert_certified(PROBLEM, (W, H))


# -- the clock ------------------------------------------------------------------------------------------------------

FIRST_CALL = """
import sys
import ufm_convex as ufm
from ufm_convex import testing
from hypothesis import given, settings, strategies as st

DRAWN = {
    "problems": testing.problems(),
    "candidates": testing.problems().flatmap(lambda p: testing.candidates(p)),
    "feasible_primal_points": testing.problems().flatmap(testing.feasible_primal_points),
    "feasible_dual_points": testing.problems().flatmap(testing.feasible_dual_points),
    "spurious_minima": testing.problems(min_active=2).flatmap(testing.spurious_minima),
}

def judged(assertion):
    @settings(max_examples=10, derandomize=True, database=None)  # the default deadline
    @given(testing.problems(min_active=2).flatmap(testing.spurious_minima))
    def property_(minimum):
        for pair in (minimum.candidate, ufm.theory.optimum(minimum.problem).factors()):
            try:
                assertion(minimum.problem, pair)
            except AssertionError:
                pass
    property_()

def drawn(strategy):
    @settings(max_examples=10, derandomize=True, database=None)
    @given(strategy)
    def property_(found):
        pass
    property_()

before = set(sys.modules)
for name in sys.argv[1:]:
    drawn(DRAWN[name]) if name in DRAWN else judged(getattr(testing, name))
strangers = sorted(set(sys.modules) - before)
print(len([m for m in strangers if m.split(".")[0] in ("scipy", "cvxpy", "flint", "numpy", "ufm_convex")]), strangers)
"""


@pytest.mark.parametrize(
    "names",
    [
        ["assert_kkt"],  # each in a fresh interpreter: the first call is what took too long
        ["assert_certified"],
        [
            "assert_optimal",
            "assert_collapse_pattern",
            "assert_orthogonal_frame",
            "assert_self_dual",
            "assert_stationary",
        ],
        ["problems", "candidates", "feasible_primal_points", "feasible_dual_points", "spurious_minima"],
    ],
    ids=lambda names: names[0],
)
def test_the_first_example_keeps_the_default_deadline(names):
    """Nothing is imported while the clock runs, and no example takes longer than Hypothesis allows.

    The clock is the wall's, and others use the machine: what is slow by itself is slow in each of three interpreters.
    """
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", FIRST_CALL, *names], capture_output=True, text=True, timeout=120)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[0] == "0", done.stdout


def test_the_check_sees_a_late_import():
    """Without the preparation SciPy comes in the middle of an example."""
    script = FIRST_CALL.replace("import ufm_convex as ufm\n", BARE, 1)
    done = subprocess.run([sys.executable, "-c", script, "assert_kkt"], capture_output=True, text=True, timeout=120)
    late = done.returncode == 0 and done.stdout.split()[0] != "0"
    assert late or "DeadlineExceeded" in done.stderr or "Flaky" in done.stderr


BARE = """
import types
stub = types.ModuleType("ufm_convex.testing.readiness")
stub.prepare = lambda: None
sys.modules[stub.__name__] = stub
import ufm_convex as ufm
"""

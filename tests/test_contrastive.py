"""The supervised contrastive room against its definition, L-BFGS-B, a programme written from the definition, mpmath."""

import math
import pickle
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import cvxpy as cp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

import ufm_convex as ufm
from ufm_convex import errors, theory
from ufm_convex.contrastive import ContrastiveDual, ContrastivePoint, collapse_threshold, kkt, programmes
from ufm_convex.contrastive import theory as closed_form
from ufm_convex.contrastive.enclosure import lower_bound, repair, repaired_lengths, upper_bound
from ufm_convex.contrastive.judging import enclose_objective, violation
from ufm_convex.contrastive.method import Contrastive
from ufm_convex.contrastive.points import objective, softmax_dual
from ufm_convex.contrastive.runs import finding
from ufm_convex.relaxation import Orbits
from ufm_convex.solvers import Claim
from ufm_convex.solvers.conic import ConicSolver
from ufm_convex.solving import judged

BOUND = ufm.ContrastiveProblem([4, 3, 2, 1], bound=2.0, temperature=0.5)
PENALTY = ufm.ContrastiveProblem([4, 3, 2, 1], lambda_h=0.4, temperature=0.5)
PROBLEMS = [
    BOUND,
    PENALTY,
    ufm.ContrastiveProblem([3, 3, 2], bound=0.7),
    ufm.ContrastiveProblem([5, 2, 2], lambda_h=1.2),  # a = 0.6: the class of 5 collapses, those of 2 do not
    ufm.ContrastiveProblem([2, 2, 3], lambda_h=3.0),  # a = 1.5: all collapse
    ufm.ContrastiveProblem([2, 1, 1, 1], bound=1.0, temperature=0.3),
    ufm.ContrastiveProblem([3, 1, 1], lambda_h=0.2),
]


def judge(problem, run, tolerance):
    """What ``solve`` makes of a run."""
    return judged(Contrastive(), problem, finding(problem, run, "planted"), tolerance)


def raw(problem, H, labels):
    """Equation 1, by loops over samples."""
    G = H @ H.T / problem.temperature
    counts = np.bincount(labels)
    total = 0.0
    for i, own in enumerate(labels):
        if counts[own] < 2:
            continue
        others = [l for l in range(len(labels)) if l != i]  # noqa: E741
        positives = [j for j in others if labels[j] == own]
        log_sum = np.logaddexp.reduce(G[i, others])
        total += sum(log_sum - G[i, j] for j in positives) / (counts[own] - 1)
    return total + (problem.lambda_h or 0.0) / 2 * (H**2).sum()


def feasible(problem, rng, d):
    """Random features ≥ 0 within the bound, not all of them at it."""
    H = np.abs(rng.normal(size=(problem.num_samples, d))) * rng.choice([0.0, 0.1, 1.0, 3.0])
    H *= rng.random(H.shape) < 0.6
    if problem.bound is not None:
        norms = np.maximum(np.linalg.norm(H, axis=1, keepdims=True), 1e-300)
        H *= np.minimum(1.0, math.sqrt(problem.bound) * (1 - 1e-12) / norms)
    return H


# -- the closed form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_closed_form_minimises_each_length(problem):
    """A class of an orthogonal frame costs n [log(n − 1 + (N − n) e^{−t}) + a t], minimised here by search."""
    found, N = theory.optimum(problem), problem.num_samples
    a = (problem.lambda_h or 0.0) * problem.temperature / 2
    top = 60.0 if problem.bound is None else problem.bound / problem.temperature
    value = 0.0
    for n, square in zip(problem.class_counts, found.class_squares, strict=True):
        if n > 1:
            cost = lambda t, n=n: n * (math.log(n - 1 + (N - n) * math.exp(-t)) + a * t)  # noqa: E731
            best = minimize_scalar(cost, bounds=(0.0, top), method="bounded", options={"xatol": 1e-10})
            ends = min(cost(0.0), cost(top))
            value += min(best.fun, ends)
            assert cost(square / problem.temperature) == pytest.approx(min(best.fun, ends), rel=1e-12)
        else:
            assert square == 0.0
    assert found.value == pytest.approx(value, rel=1e-12)  # quadratic at a minimum that is found to 1e-10
    assert found.relation is theory.Relation.TIGHT


@pytest.mark.parametrize("problem", PROBLEMS)
def test_descent_on_features_ends_at_the_closed_form(problem):
    """L-BFGS-B on H ≥ 0 from the definition; norms are bounded by projecting onto the ball inside the objective."""
    rng, labels, d = np.random.default_rng(1), problem.labels, problem.num_classes + 1
    shape = (problem.num_samples, d)

    def features(x):
        H = x.reshape(shape)
        if problem.bound is None:
            return H
        return H * math.sqrt(problem.bound) / np.sqrt((H**2).sum(axis=1, keepdims=True) + 1e-12)

    best = math.inf
    for _ in range(2):
        start = np.abs(rng.normal(size=shape)) + 2.0 * np.eye(d)[labels]
        done = minimize(
            lambda x: raw(problem, features(x), labels),
            start.ravel(),
            method="L-BFGS-B",
            bounds=[(0.0, None)] * start.size,
            options={"maxiter": 60, "maxfun": 10**6},
        )
        best = min(best, done.fun)
    solution = ufm.solve(problem)
    assert best >= solution.lower_bound
    # finite differences end about 1e-6 away in H, which enters the value squared; 1e-10 is what is seen
    assert best == pytest.approx(solution.value, rel=1e-8)


@pytest.mark.parametrize("problem", PROBLEMS[:5])
def test_a_programme_written_from_the_definition_agrees(problem):
    N, labels, T = problem.num_samples, problem.labels, problem.temperature
    G = cp.Variable((N, N), PSD=True)
    losses = [
        (cp.log_sum_exp(cp.hstack([G[i, l] for l in range(N) if l != i]) / T) - G[i, j] / T)  # noqa: E741
        / (problem.class_counts[labels[i]] - 1)
        for i in range(N)
        for j in range(N)
        if i != j and labels[i] == labels[j]
    ]
    constraints, penalty = [G >= 0], (problem.lambda_h or 0.0) / 2 * cp.trace(G)
    if problem.bound is not None:
        constraints.append(cp.diag(G) <= problem.bound)
    value = cp.Problem(cp.Minimize(sum(losses) + penalty), constraints).solve(solver="CLARABEL")
    assert theory.optimum(problem).value == pytest.approx(value, rel=1e-6)  # Clarabel's 1e-8, scaled by N terms


@pytest.mark.parametrize(
    ("counts", "settings"),
    [
        ([2, 2], {"bound": 40.0}),
        ([2, 2], {"lambda_h": 1e-20}),
        ([10**6, 1000, 2, 2], {"bound": 1.0, "temperature": 0.07}),
        ([10**6, 1000, 2, 1], {"lambda_h": 1e-12}),
        ([30, 20, 10], {"lambda_h": 2.0 * (50 / 59)}),  # the class of 10 is at the edge of collapse
    ],
)
def test_the_value_keeps_its_digits(counts, settings):
    """Sixty digits of mpmath; the loss of two samples a class is of the order of e^{−τ} or of a."""
    problem = ufm.ContrastiveProblem(counts, **settings)
    found, N = theory.optimum(problem), sum(counts)
    with mpmath.workdps(60):
        T = mpmath.mpf(problem.temperature)
        a = mpmath.mpf(problem.lambda_h or 0) * T / 2
        value = mpmath.mpf(0)
        for n in counts:
            if n == 1:
                continue
            t = mpmath.mpf(problem.bound) / T if problem.bound else mpmath.log((N - n) * (1 - a) / (a * (n - 1)))
            t = max(t, mpmath.mpf(0))
            value += n * (mpmath.log1p(n - 2 + (N - n) * mpmath.exp(-t)) + a * t)
        assert abs(found.value / value - 1) < 1e-14  # sums of a few terms of one sign
        solution = ufm.solve(problem)
        assert mpmath.mpf(solution.lower_bound) <= value <= mpmath.mpf(solution.upper_bound)
        assert solution.relative_gap < 2e-14
        assert solution.status is ufm.Status.CERTIFIED


def test_collapse_is_decided_exactly():
    """N − n = a (N − 1) with N = 9: a = 1/2 collapses the class of 5 and not that of 4; one place less, neither."""
    at = ufm.ContrastiveProblem([5, 4], lambda_h=1.0)
    below = ufm.ContrastiveProblem([5, 4], lambda_h=math.nextafter(1.0, 0.0))
    assert (collapse_threshold(at), collapse_threshold(below) > 5) == (5, True)
    assert theory.optimum(at).collapsed_classes == (0,)
    assert theory.optimum(below).collapsed_classes == ()
    assert theory.optimum(at).value == pytest.approx(theory.optimum(below).value, rel=1e-15)


def test_classes_of_one_sample_are_free_under_a_bound_and_zero_under_a_penalty():
    free, tied = PROBLEMS[5], PROBLEMS[6]
    assert (theory.optimum(free).unique, theory.optimum(tied).unique) == (False, True)
    zero = ufm.solve(free).factors(feature_dim=3)
    crowd = zero.copy()
    crowd[2:] = [[0.0, 0.6, 0.8], [0.0, 1.0, 0.0], [0.0, 0.6, 0.8]]
    assert raw(free, crowd, free.labels) == pytest.approx(raw(free, zero, free.labels), rel=1e-15)
    touching = crowd.copy()
    touching[2] = [0.6, 0.8, 0.0]
    assert raw(free, touching, free.labels) > raw(free, zero, free.labels) + 0.1


# -- solving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(
    ("solver", "level"), [("clarabel", "sample"), ("clarabel", "class"), ("clarabel", "group"), ("scs", "group")]
)
def test_levels_and_solvers_agree_without_the_closed_form(problem, solver, level, monkeypatch):
    expected = theory.optimum(problem).value

    def refuse(*_):
        raise AssertionError("the closed form was asked")

    monkeypatch.setattr(closed_form, "optimum", refuse)
    solution = ufm.solve(problem, solver=solver, level=level)
    assert (solution.status, solution.solver, solution.level) == (ufm.Status.CERTIFIED, solver, level)
    assert solution.value == pytest.approx(expected, rel=1e-6)  # the tolerance that was asked for
    assert solution.lower_bound <= expected * (1 + 1e-15)
    assert solution.upper_bound >= expected * (1 - 1e-15)
    assert solution.kkt().passed
    H = solution.factors()
    assert H.min() >= 0.0
    assert raw(problem, H, problem.labels) <= solution.upper_bound * (1 + 1e-14)
    np.testing.assert_allclose(solution.gram(), H @ H.T, atol=1e-15)
    np.testing.assert_allclose(np.diag(solution.feature_gram), solution.feature_norms**2)


def test_features_of_a_class_coincide_at_sample_level():
    solution = ufm.solve(PENALTY, solver="clarabel", level="sample")
    assert 0.0 <= solution.run.point.variability < 1e-5  # Gram entries agree to the square root of the value's accuracy
    assert np.abs(solution.run.point.between).max() < 1e-5


@pytest.mark.parametrize("setting", [{"bound": 1.0, "temperature": 0.1}, {"lambda_h": 0.05}])
def test_a_thousand_classes_at_group_level(setting):
    problem = ufm.ContrastiveProblem(np.repeat([1, 2, 10, 500, 10**6], 200), **setting)
    solution = ufm.solve(problem, solver="clarabel")
    assert (solution.level, solution.status) == ("group", ufm.Status.CERTIFIED)
    assert solution.seconds < 10.0  # about 0.05 s
    assert solution.value == pytest.approx(theory.optimum(problem).value, rel=1e-7)


def test_twenty_thousand_distinct_counts():
    problem = ufm.ContrastiveProblem(np.arange(1, 20_001), lambda_h=0.05)
    solution = ufm.solve(problem)
    assert solution.relative_gap < 1e-14
    with pytest.raises(errors.SizeError, match="feature_norms"):
        solution.gram()
    with pytest.raises(errors.SizeError, match="feature_norms"):
        solution.factors()


def test_only_classes_of_one_sample_leave_nothing_to_lose():
    for solver in ("auto", "clarabel"):
        solution = ufm.solve(ufm.ContrastiveProblem([1, 1, 1], bound=1.0), solver=solver)
        assert (solution.value, solution.lower_bound, solution.upper_bound) == (0.0, 0.0, 0.0)
        assert (solution.relative_gap, solution.status) == (0.0, ufm.Status.CERTIFIED)


def test_the_closed_form_is_taken_only_when_all_is_left_to_auto():
    assert ufm.solve(BOUND).solver == "theory"
    assert ufm.solve(BOUND, level="class").solver == "clarabel"
    assert "a theorem holds" in ufm.solve(BOUND).route[0]


def test_an_interrupt_keeps_what_is_proved(monkeypatch):
    own = ConicSolver.attempt
    calls = []

    def attempt(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return own(self, *arguments)

    monkeypatch.setattr(ConicSolver, "attempt", attempt)
    solution = ufm.solve(BOUND, solver="scs", tolerance=1e-12)
    assert solution.route[-1].startswith("interrupted")
    assert solution.lower_bound <= solution.theory.value <= solution.upper_bound


def test_factors_need_as_many_dimensions_as_active_classes():
    solution = ufm.solve(BOUND)
    assert solution.factors().shape == (10, 3)
    assert solution.factors(feature_dim=5).shape == (10, 5)
    with pytest.raises(errors.DimensionError, match="3 classes"):
        solution.factors(feature_dim=2)


@pytest.mark.parametrize("dimension", [0, -1, 3.7, 4.0, float("nan"), "4", True])
def test_a_dimension_that_is_no_positive_integer_is_refused(dimension):
    with pytest.raises(errors.DimensionError, match="positive integer"):
        ufm.solve(BOUND).factors(feature_dim=dimension)


def test_the_bound_on_the_norm_is_compared_exactly():
    """√1.1, rounded, has a square that rounds to 1.1 and is larger: no rounded comparison sees it."""
    problem, root = ufm.ContrastiveProblem([2, 2], bound=1.1), math.sqrt(1.1)
    assert root * root == problem.bound
    assert Fraction(root) ** 2 > Fraction(problem.bound)
    below = math.nextafter(root, 0.0)
    for length, admissible in ((root, False), (below, True)):
        assert math.isfinite(upper_bound(problem, problem.groups, np.array([length])).value) == admissible
        features = length * np.eye(2)[problem.labels]
        found = violation(problem, ufm.ContrastiveCandidate(features=features, labels=problem.labels))
        assert (found is None) == admissible
    assert ufm.solve(problem).lengths.tolist() == [below]


def test_conditions_at_the_end_of_the_range_are_numbers():
    """n ‖h‖² is beyond binary64 where ‖h‖² is not."""
    problem = ufm.ContrastiveProblem([10**11, 10**10, 10**9], bound=1e300, temperature=1e298)
    assert ufm.solve(problem).kkt().passed
    spread = ContrastivePoint(problem.groups, np.full(3, 1e300), np.full(3, -1e300))
    assert spread.least_eigenvalue() == -math.inf
    np.testing.assert_allclose(spread.means, -1e300, rtol=1e-8)


@pytest.mark.parametrize(("decay", "temperature"), [(0.1, 0.1), (0.3, 0.7), (1.1, 0.3)])
def test_the_edge_of_the_dual_domain_is_exact(decay, temperature):
    """λ_H T/2 rounds upwards: the rounded number is outside the domain, and would prove nothing."""
    problem = ufm.ContrastiveProblem([5, 4, 3], lambda_h=decay, temperature=temperature)
    assert Fraction(problem.scaled_penalty) > problem.exact_penalty
    beyond = ContrastiveDual(problem.groups, np.full(3, problem.scaled_penalty))
    assert lower_bound(problem, beyond).proof == "trivial"
    repaired = repair(problem, beyond)
    assert repaired.outside.tolist() == [math.nextafter(problem.scaled_penalty, 0.0)] * 3
    assert lower_bound(problem, repaired).proof == "outside mass"


# -- the identity and the dual point ----------------------------------------------------------------------------------


def dense_terms(problem, H, s):
    """Equation 3 with its N × N matrices, and S and Θ of equation 4."""
    labels, n, N, T = problem.labels, problem.class_counts, problem.num_samples, problem.temperature
    G, same = H @ H.T, labels[:, None] == labels
    counts, spent = n[labels], s[labels]
    active = counts > 1
    P = np.where(same, ((1 - spent) / np.maximum(counts - 1, 1))[:, None], (spent / (N - counts))[:, None])
    np.fill_diagonal(P, 0.0)
    C = (P - same / np.maximum(counts - 1, 1)[:, None]) * active[:, None]
    np.fill_diagonal(C, 0.0)
    theta = np.where(same, 0.0, (C + C.T) / 2)
    mu = spent * active if problem.bound is not None else np.full(N, problem.lambda_h * T / 2)
    S = (C + C.T) / 2 + np.diag(mu) - theta
    entropy = -(np.where(P > 0, P * np.log(np.where(P > 0, P, 1.0)), 0.0)).sum(axis=1)
    logits = np.where(np.eye(N, dtype=bool), -np.inf, G / T)
    Q = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    kl = np.where(P > 0, P * np.log(np.where(P > 0, P, 1.0) / np.where(P > 0, Q, 1.0)), 0.0).sum(axis=1)
    bound = problem.bound or 0.0
    dual = (entropy[active] - (mu[active] * bound / T if problem.bound else 0.0)).sum()
    unused = (mu * (bound - np.diag(G))).sum() / T if problem.bound else 0.0
    return (dual, kl[active].sum(), (theta * G).sum() / T, (S * G).sum() / T, unused), S, theta


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_identity_holds_with_its_matrices(problem):
    rng = np.random.default_rng(3)
    a = math.inf if problem.bound is not None else problem.lambda_h * problem.temperature / 2
    for _ in range(3):
        H = feasible(problem, rng, 4)
        s = rng.random(problem.num_classes) * min(1.0, a) * (problem.class_counts > 1)
        parts, S, theta = dense_terms(problem, H, s)
        assert sum(parts) == pytest.approx(raw(problem, H, problem.labels), rel=1e-12)
        assert min(parts[1:]) >= -1e-12
        assert np.linalg.eigvalsh(S)[0] >= -1e-12  # the lemma below (4)
        assert theta.min() >= 0.0
        dual = ContrastiveDual(problem.classes, s)
        assert lower_bound(problem, dual).value == pytest.approx(max(parts[0], 0.0), rel=1e-12, abs=1e-12)
        # the mean over permutations: its terms are those of the compressed point
        point = programmes.average(problem, H @ H.T)
        found = kkt.terms(problem, point, dual)
        assert found.objective == pytest.approx(objective(problem, point), rel=1e-12)
        assert objective(problem, point) <= raw(problem, H, problem.labels) * (1 + 1e-12)
        linear = (found.nonnegativity, found.slack, found.bound)
        np.testing.assert_allclose(linear, parts[2:], rtol=1e-9, atol=1e-12)


def test_an_inadmissible_s_breaks_the_lemma_and_proves_nothing():
    """Planted: s beyond a. The formula would then exceed the optimum, and S has a negative eigenvalue."""
    s = np.array([0.3, 0.3, 0.3, 0.0])  # a = 0.1
    parts, S, _ = dense_terms(PENALTY, np.zeros((10, 1)), s)
    assert parts[0] > theory.optimum(PENALTY).value
    assert np.linalg.eigvalsh(S)[0] < -0.1
    assert lower_bound(PENALTY, ContrastiveDual(PENALTY.classes, s)).value == 0.0
    mended = repair(PENALTY, ContrastiveDual(PENALTY.classes, s))
    assert 0.0 < lower_bound(PENALTY, mended).value <= theory.optimum(PENALTY).value * (1 + 1e-15)


@pytest.mark.parametrize("bad", [1.5, -0.1, math.nan, math.nextafter(1.0, 2.0)])
def test_s_outside_its_range_proves_nothing(bad):
    problem = ufm.ContrastiveProblem([4, 3, 2, 1], bound=0.1)  # so low that the whole range of s gives a bound > 0
    dual = ContrastiveDual(problem.classes, np.array([0.3, bad, 0.2, 0.0]))
    assert lower_bound(problem, dual).value == 0.0
    assert 0.0 < lower_bound(problem, repair(problem, dual)).value < theory.optimum(problem).value


def test_one_place_beyond_the_penalty_proves_nothing():
    problem = ufm.ContrastiveProblem([3, 3], lambda_h=0.5)
    at = ContrastiveDual(problem.classes, np.full(2, 0.25))
    beyond = ContrastiveDual(problem.classes, np.full(2, math.nextafter(0.25, 1.0)))
    assert lower_bound(problem, at).value > 0.0
    assert lower_bound(problem, beyond).value == 0.0


@pytest.mark.parametrize(
    "fault",
    [
        {"counts": np.array([3, 3, 2, 1])},
        {"orbits": Orbits.of([1, 2, 1, 1], np.arange(4))},
        {"orbits": Orbits.single(3)},
        {"orbits": Orbits.single(4, order=np.array([0, 1, 2, 2]))},
        {"orbits": Orbits.of([1], np.zeros(4, int), copies=[1, 2, 1, 1], order=np.array([0, 1, 1, 2, 3]))},
    ],
)
def test_groups_of_another_problem_prove_nothing(fault):
    """Planted: a point that speaks of other counts than the problem's would prove another problem's bounds."""
    groups = replace(BOUND.classes, **fault)
    assert lower_bound(BOUND, ContrastiveDual(groups, np.full(4, 0.01))).value == 0.0
    assert upper_bound(BOUND, groups, np.ones(4)).value == math.inf
    assert upper_bound(BOUND, BOUND.classes, np.ones(3)).value == math.inf
    assert lower_bound(BOUND, ContrastiveDual(BOUND.classes, np.full(3, 0.01))).value == 0.0
    assert lower_bound(BOUND, ContrastiveDual(BOUND.classes, np.full(4, 0.01))).value > 0.0


@pytest.mark.parametrize("lengths", [[1.5, 1.0, 1.0, 0.0], [-0.1, 1.0, 1.0, 0.0], [math.nan, 1.0, 1.0, 0.0]])
def test_inadmissible_lengths_prove_nothing(lengths):
    assert upper_bound(BOUND, BOUND.classes, np.array(lengths)).value == math.inf


def test_the_largest_root_of_the_bound_is_admissible_and_the_next_is_not():
    problem = ufm.ContrastiveProblem([3, 3], bound=2.0)
    point = ContrastivePoint(problem.classes, np.full(2, 2.0), np.full(2, 2.0))
    lengths = repaired_lengths(problem, point)
    assert math.isfinite(upper_bound(problem, problem.classes, lengths).value)
    assert upper_bound(problem, problem.classes, np.nextafter(lengths, 2.0)).value == math.inf


def test_a_liars_value_changes_nothing():
    honest = ufm.solve(PENALTY, solver="clarabel", level="class")
    lying = judge(PENALTY, replace(honest.run, value=1e-3, claim=Claim.OPTIMAL), 1e-6)
    assert (lying.value, lying.lower_bound, lying.upper_bound) == (
        honest.value,
        honest.lower_bound,
        honest.upper_bound,
    )


def test_a_wrong_point_leaves_true_but_wide_bounds():
    point = ContrastivePoint(PENALTY.classes, np.full(4, 0.3), np.full(4, 0.1), 0.05 * (1 - np.eye(4)))
    run = replace(ufm.solve(PENALTY, solver="clarabel").run, point=point, value=None)
    found = judge(PENALTY, run, 1e-6)
    assert found.status is ufm.Status.BOUNDED
    assert found.lower_bound <= theory.optimum(PENALTY).value <= found.upper_bound
    assert not found.kkt().passed


@pytest.mark.parametrize("broken", [math.nan, math.inf, -1e9, 1e200])
def test_points_that_are_no_numbers_leave_true_bounds(broken):
    run = ufm.solve(PENALTY, solver="clarabel", level="class").run
    point = replace(run.point, squares=np.full(4, broken), within=np.full(4, broken))
    found = judge(PENALTY, replace(run, point=point), 1e-6)
    assert found.lower_bound <= theory.optimum(PENALTY).value <= found.upper_bound < math.inf


def test_a_run_without_a_point_has_failed():
    run = replace(ufm.solve(PENALTY, solver="clarabel").run, point=None)
    found = judge(PENALTY, run, 1e-6)
    assert (found.status, found.solver_kkt()) == (ufm.Status.FAILED, None)


FAULTS = {
    "primal_nonnegativity": {"between": -0.2 * (1 - np.eye(4))},
    "primal_psd": {"within": np.array([2.5, 2.0, 2.0, 2.0])},
    "primal_norm_bound": {"squares": np.array([2.1, 2.0, 2.0, 2.0])},
    "stationarity": {"within": np.full(4, 1.0)},
    "complementarity_nonnegativity": {"between": 0.2 * (1 - np.eye(4))},
    "complementarity_norm_bound": {"squares": np.full(4, 1.5), "within": np.full(4, 1.5)},
    "complementarity_psd": {"within": np.full(4, 1.5)},
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_report_sees_a_planted_fault(name):
    dual = ContrastiveDual(BOUND.classes, closed_form.optimum(BOUND).outside[BOUND.groups.members])
    point = ContrastivePoint(BOUND.classes, np.full(4, 2.0), np.full(4, 2.0), np.zeros((4, 4)))
    assert kkt.report(BOUND, point, dual, 1e-9).passed
    assert not kkt.report(BOUND, replace(point, **FAULTS[name]), dual, 1e-9)[name].passed


@pytest.mark.parametrize(
    ("problem", "name", "s"),
    [(PENALTY, "dual_slack_psd", 0.2), (BOUND, "dual_domain", 1.1), (BOUND, "dual_nonnegativity", -0.1)],
)
def test_the_report_sees_a_planted_dual(problem, name, s):
    point = ufm.solve(problem).point
    dual = ContrastiveDual(point.groups, np.where(point.groups.counts > 1, s, 0.0))
    assert not kkt.report(problem, point, dual, 1e-9)[name].passed


# -- properties -------------------------------------------------------------------------------------------------------

problems = st.builds(
    lambda counts, kind, size, T: ufm.ContrastiveProblem(counts, **{kind: size}, temperature=T),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.sampled_from(["bound", "lambda_h"]),
    st.floats(1e-3, 10.0),
    st.floats(0.05, 5.0),
)


@given(problem=problems, seed=st.integers(0, 2**32 - 1), d=st.integers(1, 5))
@settings(max_examples=60)
def test_no_admissible_features_beat_the_lower_bound(problem, seed, d):
    rng = np.random.default_rng(seed)
    solution, H = ufm.solve(problem), feasible(problem, rng, d)
    rounding = 1e-11  # of the test's own sum: 16 samples, logits up to 200, differences of them
    value = raw(problem, H, problem.labels)
    assert value >= solution.lower_bound - rounding
    own = solution.factors(feature_dim=problem.num_classes)
    assert raw(problem, own, problem.labels) == pytest.approx(solution.value, rel=1e-11, abs=1e-12)
    near = 0.999 * own + 0.001 * feasible(problem, rng, problem.num_classes)  # a mean of admissible features
    assert raw(problem, near, problem.labels) >= solution.lower_bound - rounding


@given(problem=problems, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_any_dual_and_any_point_enclose_the_optimum(problem, seed):
    rng = np.random.default_rng(seed)
    expected = theory.optimum(problem).value
    dual = repair(problem, ContrastiveDual(problem.classes, rng.random(problem.num_classes)))
    assert lower_bound(problem, dual).value <= expected * (1 + 1e-13)
    point = programmes.average(problem, (H := feasible(problem, rng, 3)) @ H.T)
    lengths = repaired_lengths(problem, point)
    frame = upper_bound(problem, problem.classes, lengths).value
    assert frame >= expected * (1 - 1e-13)
    assert frame <= objective(problem, point) * (1 + 1e-12) + 1e-12  # the repair never raises the objective
    assert softmax_dual(problem, point).outside.max() <= 1.0 + 1e-12  # logits up to 1e3 round by 1e-13


@given(problem=problems, seed=st.integers(0, 2**32 - 1), single=st.booleans())
@settings(max_examples=40)
def test_the_objective_is_enclosed(problem, seed, single):
    rng = np.random.default_rng(seed)
    order = rng.permutation(problem.num_samples)
    H = (rng.normal(size=(problem.num_samples, 3)) * 2.0)[order].astype(np.float32 if single else np.float64)
    candidate = ufm.ContrastiveCandidate(features=H, labels=(y := problem.labels[order]))
    low, high = enclose_objective(problem, candidate)
    with mpmath.workdps(40):
        exact, counts = mpmath.mpf(0), np.bincount(y)
        G = [
            [sum(mpmath.mpf(float(a)) * mpmath.mpf(float(b)) for a, b in zip(g, h, strict=True)) for h in H] for g in H
        ]
        T = mpmath.mpf(problem.temperature)
        for i, own in enumerate(y):
            if counts[own] > 1:
                exact += mpmath.log(sum(mpmath.exp(G[i][l] / T) for l in range(len(y)) if l != i))  # noqa: E741
                exact -= sum(G[i][j] for j in range(len(y)) if j != i and y[j] == own) / (T * int(counts[own] - 1))
        exact += mpmath.mpf(problem.lambda_h or 0) / 2 * sum(G[i][i] for i in range(len(y)))
        assert mpmath.mpf(low) <= exact <= mpmath.mpf(high)
        assert high - low <= 1e-10 * (1 + float(max(abs(G[i][i]) for i in range(len(y))) / T)) * len(y)


# -- judging ----------------------------------------------------------------------------------------------------------


def test_an_optimal_a_suboptimal_and_an_undecided_candidate():
    H, y = ufm.solve(BOUND).factors(), BOUND.labels
    best = ufm.certify(BOUND, ufm.ContrastiveCandidate(features=H, labels=y))
    assert best.verdict == "optimal"
    assert best.lower <= theory.optimum(BOUND).value <= best.upper
    shorter = ufm.certify(BOUND, ufm.ContrastiveCandidate(features=0.9 * H, labels=y))
    assert shorter.verdict == "suboptimal"
    difference = raw(BOUND, 0.9 * H, y) - theory.optimum(BOUND).value
    assert shorter.candidate_gap[0] <= difference <= shorter.candidate_gap[1]
    rough = ufm.solve(BOUND, solver="scs", options={"max_iters": 5}, tolerance=1e-6)
    judged = ufm.certify(
        BOUND, ufm.ContrastiveCandidate(features=rough.factors(), labels=y), solution=rough, tolerance=1e-15
    )
    assert judged.verdict == "undecided"
    assert judged.candidate_gap[0] == 0.0
    assert ufm.certify(BOUND).verdict == "optimal"


def test_constraints_are_exact():
    H, y = ufm.solve(BOUND).factors(), BOUND.labels
    H[0] = [1.0, 1.0, 0.0]  # ‖h‖² = τ = 2 exactly
    assert violation(BOUND, ufm.ContrastiveCandidate(features=H, labels=y)) is None
    H[5, 1] = math.nextafter(math.sqrt(2.0), 2.0)
    certificate = ufm.certify(BOUND, ufm.ContrastiveCandidate(features=H, labels=y))
    assert (certificate.verdict, certificate.violation.kind, certificate.violation.row) == ("infeasible", "norm", 5)
    assert certificate.candidate_objective is None
    H[7, 2] = -5e-324
    found = ufm.certify(BOUND, ufm.ContrastiveCandidate(features=H, labels=y)).violation
    assert (found.kind, found.row, found.column, found.value, found.count) == ("negative", 7, 2, -5e-324, 1)


def test_many_samples_are_enclosed_in_blocks():
    rng, counts = np.random.default_rng(0), [700, 500, 300]
    problem = ufm.ContrastiveProblem(counts, bound=1.0, temperature=0.1)
    H = np.abs(rng.normal(size=(1500, 16)))
    H *= 0.999 / np.linalg.norm(H, axis=1, keepdims=True)
    order = rng.permutation(1500)
    told = []
    candidate = ufm.ContrastiveCandidate(features=H[order], labels=problem.labels[order])
    low, high = enclose_objective(problem, candidate, progress=lambda done, total: told.append((done, total)))
    logits = H @ H.T / 0.1
    positives = [(logits[i, problem.labels == k].sum() - logits[i, i]) for i, k in enumerate(problem.labels)]
    np.fill_diagonal(logits, -np.inf)
    value = (np.logaddexp.reduce(logits, axis=1) - positives / (problem.class_counts[problem.labels] - 1)).sum()
    assert low <= value * (1 + 1e-13)
    assert value * (1 - 1e-13) <= high
    assert high - low < 1e-9 * value
    assert told[-1] == (1500, 1500)
    assert len(told) > 1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"candidate": np.eye(3)}, errors.ProblemError, "ContrastiveCandidate"),
        ({"solution": 5}, errors.ProblemError, "another problem"),
        ({"solution": ufm.solve(PENALTY)}, errors.ProblemError, "another problem"),
        ({"digits": 50}, errors.HypothesisError, "digits"),
        ({"proof": "dense"}, errors.HypothesisError, "proof"),
        ({"tolerance": 2.0}, errors.ProblemError, "tolerance"),
        (
            {"candidate": ufm.ContrastiveCandidate(features=np.ones((4, 2)), labels=[0, 0, 1, 1])},
            errors.CountsError,
            r"\[2, 2\]",
        ),
        (
            {"candidate": ufm.ContrastiveCandidate(features=np.full((10, 2), 1e150), labels=BOUND.labels)},
            errors.CandidateError,
            "squared norm",
        ),
    ],
)
def test_bad_arguments_of_certify_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        ufm.certify(BOUND, **arguments)


@pytest.mark.parametrize(
    ("features", "labels", "error", "words"),
    [
        (np.ones((3, 4)), [0, 0, 1, 1], errors.ShapeError, "features.T"),
        (np.ones((3, 2)), [0, 0, 1, 1], errors.ShapeError, "4 entries"),
        (np.ones(4), [0, 0, 1, 1], errors.ShapeError, "shape"),
        ([[1.0], [1.0, 2.0]], [0, 1], errors.ShapeError, "ragged"),
        (np.ones((4, 2), dtype=int), [0, 0, 1, 1], errors.CandidateError, "float32 or float64"),
        (np.array([[1.0], [np.nan]]), [0, 1], errors.CandidateError, r"features\[1, 0\] is nan"),
        (np.ones((2, 2)), [0, 2], errors.LabelsError, "class"),
        (np.ones((2, 2)), [0.0, 1.0], errors.LabelsError, "labels"),
    ],
)
def test_bad_candidates_are_named(features, labels, error, words):
    with pytest.raises(error, match=words):
        ufm.ContrastiveCandidate(features=features, labels=labels)


# -- the problem and its registration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "settings", "error", "words"),
    [
        ([3, 2], {}, errors.ProblemError, "neither"),
        ([3, 2], {"bound": 1.0, "lambda_h": 1.0}, errors.ProblemError, "both"),
        ([3, 2], {"bound": 0.0}, errors.ProblemError, "bound is 0.0"),
        ([3, 2], {"bound": -1.0}, errors.ProblemError, "bound is -1.0"),
        ([3, 2], {"bound": math.nan}, errors.ProblemError, "bound is nan"),
        ([3, 2], {"bound": math.inf}, errors.ProblemError, "bound is inf"),
        ([3, 2], {"bound": True}, errors.ProblemError, "bound is True"),
        ([3, 2], {"lambda_h": 0.0}, errors.ProblemError, "lambda_h is 0.0"),
        ([3, 2], {"lambda_h": "1"}, errors.ProblemError, "lambda_h is '1'"),
        ([3, 2], {"bound": 1.0, "temperature": 0.0}, errors.ProblemError, "temperature is 0.0"),
        ([3, 2], {"bound": 1.0, "temperature": math.nan}, errors.ProblemError, "temperature is nan"),
        ([3, 2], {"bound": 1e300, "temperature": 1e-300}, errors.ProblemError, "bound / temperature is inf"),
        ([3, 2], {"lambda_h": 1e-300, "temperature": 1e-300}, errors.ProblemError, "is 0.0"),
        ([3], {"bound": 1.0}, errors.CountsError, "one class"),
        ([3, 0], {"bound": 1.0}, errors.CountsError, "is 0"),
        ([3, 2.5], {"bound": 1.0}, errors.CountsError, "2.5"),
    ],
)
def test_bad_problems_are_named(counts, settings, error, words):
    with pytest.raises(error, match=words):
        ufm.ContrastiveProblem(counts, **settings)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"solver": "nobody"}, errors.UnknownNameError, "not known"),
        ({"solver": "frame"}, errors.UnknownNameError, "does not solve contrastive"),
        ({"level": "galaxy"}, errors.UnknownNameError, "galaxy"),
        ({"solver": "theory", "level": "class"}, errors.UnknownNameError, "does not solve at level"),
        ({"solver": "theory", "options": {"eps": 1}}, errors.ProblemError, "no options"),
        ({"options": {"eps": 1}}, errors.ProblemError, "solver 'auto'"),
        ({"tolerance": math.nan}, errors.ProblemError, "tolerance is nan"),
    ],
)
def test_bad_arguments_of_solve_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        ufm.solve(BOUND, **arguments)


def test_levels_that_are_too_large_are_refused_before_solving(monkeypatch):
    monkeypatch.setattr(ConicSolver, "attempt", None)
    large = ufm.ContrastiveProblem(np.arange(1, 501), bound=1.0)
    with pytest.raises(errors.SizeError, match="order 125250"):
        ufm.solve(large, level="sample")
    for level in ("class", "group"):
        with pytest.raises(errors.SizeError, match="order 500"):
            ufm.solve(large, solver="scs", level=level)


@pytest.mark.parametrize("problem", [BOUND, PENALTY])
def test_problems_come_back(problem, tmp_path):
    problem.save(tmp_path / "p.toml")
    for again in (ufm.ContrastiveProblem.load(tmp_path / "p.toml"), pickle.loads(pickle.dumps(problem))):
        assert (again == problem, hash(again) == hash(problem), again.content()) == (True, True, problem.content())
    assert not again.class_counts.flags.writeable
    assert eval(repr(problem), {"ContrastiveProblem": ufm.ContrastiveProblem}) == problem
    assert problem != ufm.ContrastiveProblem(problem.class_counts, bound=3.0)
    assert problem != "problem"


@pytest.mark.parametrize(
    "text",
    [
        "class_counts = [",
        "class_counts = [3, 2]\nbound = 1.0",
        'model = "other"\nclass_counts = [3, 2]\nbound = 1.0',
        'model = "contrastive"\nbound = 1.0',
        'model = "contrastive"\nclass_counts = [3, 2]\nbound = 1.0\nlambda_w = 1.0',
    ],
)
def test_other_files_are_refused(text):
    with pytest.raises(errors.FileFormatError):
        ufm.ContrastiveProblem.from_toml(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(errors.FileFormatError, match="cannot be read"):
        ufm.ContrastiveProblem.load(tmp_path / "none.toml")


def test_solve_and_certify_refuse_what_is_no_problem():
    for function in (ufm.solve, ufm.certify):
        with pytest.raises(errors.ProblemError, match="problem is"):
            function("problem")


def test_other_kinds_of_problem_are_served_as_before():
    assert ufm.solve(problem=ufm.Problem([5, 4, 3], 0.01, 0.01)).status is ufm.Status.CERTIFIED
    assert ufm.certify(problem=ufm.Problem([5, 4, 3], 0.01, 0.01)).verdict == "optimal"


def test_a_pickled_problem_is_solved_where_nothing_was_imported(tmp_path):
    """Registration travels with the class; making and asking theory loads nothing heavy."""
    (tmp_path / "p.pickle").write_bytes(pickle.dumps(BOUND))
    script = (
        "import pickle, sys, ufm_convex as ufm\n"
        f"p = pickle.load(open({str(tmp_path / 'p.pickle')!r}, 'rb'))\n"
        "ufm.theory.optimum(p)\n"
        "print([m for m in ('cvxpy', 'scipy', 'flint', 'clarabel') if m in sys.modules], ufm.solve(p).status)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "certified"]


def test_only_the_lists_name_the_kind():
    """Solving and certifying name contrastive problems where they list the kinds, and the rooms below nowhere."""
    from pathlib import Path

    package = Path(ufm.__file__).parent

    def named(path):
        code = [line for line in path.read_text(encoding="utf-8").splitlines() if "``" not in line]
        return [line for line in code if "ontrastive" in line]

    assert [line.split()[0] for line in named(package / "solving.py")] == ["from", "METHODS:"]
    assert [line.split()[0] for line in named(package / "certificate" / "certifying.py")] == [
        *("from", "from", "ContrastiveProblem:")
    ]
    below = [
        *(package / "methods").glob("*.py"),
        *(package / "theory").glob("*.py"),
        *(package / "problem").glob("*.py"),
    ]
    assert [path for path in below if named(path)] == []


@pytest.mark.parametrize("exponent", [-150, -3, 0, 7, 150])
def test_powers_of_two_in_features_and_temperature_change_nothing(exponent):
    """G/T and τ/T stay what they are, exactly; so do the enclosures."""
    rng = np.random.default_rng(4)
    H = np.abs(rng.normal(size=(10, 3)))
    scaled = ufm.ContrastiveProblem([4, 3, 2, 1], bound=2.0 * 4.0**exponent, temperature=0.5 * 4.0**exponent)
    there = ufm.ContrastiveCandidate(features=H * 2.0**exponent, labels=BOUND.labels)
    here = ufm.ContrastiveCandidate(features=H, labels=BOUND.labels)
    assert enclose_objective(scaled, there) == enclose_objective(BOUND, here)
    assert ufm.solve(scaled).value == ufm.solve(BOUND).value

"""A bias, free or penalised: values from formulations of their own, proofs that hold exactly, and faults that show.

HONG_LING: the convex programme of Hong and Ling (2023), mean cross-entropy + reg_z ‖Z Diag(√n)‖_* + reg_b ‖b‖² with one
bias a class, as their public code (WanliHongC/Neural-Collapse, solve_cvx) states it, solved there to 1e-9 by two
solvers; so √(λ_W λ_H) = reg_z and λ_b = 2 reg_b.
"""

import json
import math
from dataclasses import replace
from fractions import Fraction

import cvxpy as cp
import full_arrays
import mpmath
import numpy as np
import pytest
from full_columns import Full
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import (
    cli,
    enclosure,
    interchange,
    theory,
)
from ufm_convex.candidate import Candidate
from ufm_convex.enclosure import slack
from ufm_convex.enclosure.balance import balance
from ufm_convex.errors import HypothesisError, ProblemError, SolverError
from ufm_convex.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    LogitAdjustedCrossEntropy,
    MeanSquaredError,
    MulticlassHinge,
    SoftTargetCrossEntropy,
)
from ufm_convex.plots.phase import phases
from ufm_convex.positivity import pigeonhole
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import BiasModel, FaintBias, FreeBias, NoBias, PenalisedBias, bias_of
from ufm_convex.recovery import Scaled
from ufm_convex.relaxation import Alike, DualPoint, GramPoint, of_classes
from ufm_convex.solvers import Claim
from ufm_convex.solvers.frame import separable_optimum
from ufm_convex.solving import solve

HONG_LING = [
    (0.0017, 2.279875269490317, [0.4636223856629653, 0.0, 0.0],
     [0.22204154666086, 0.036971939693475, -0.19426011476575]),
    (0.0010, 1.901875020532846, [2.133714709369881, 1.966457966003747, 1.678524189599945],
     [0.15625621722118, 0.021513419474186, -0.13332722752153]),
]  # fmt: skip


def majority(bias, features="nonnegative"):
    """N = (100, 10, 10), λ_W λ_H = 0.05 n_min (K−1)/(K N²): with a free bias no orthogonal frame is optimal."""
    decay = math.sqrt(0.05 * 10 * 2 / 3) / 120
    return Problem([100, 10, 10], decay, decay, bias=bias, features=features)


def weight_of(problem):
    """λ_b, 0 for a free bias."""
    return 0.0 if problem.bias == "free" else problem.bias


def raw(problem, W, H, b):
    """The objective from its definition, sample by sample, for cross-entropy."""
    total = 0.0
    for k, count in enumerate(problem.class_counts.tolist()):
        z = W @ H[k] + b
        total += count * (math.log(np.exp(z - z.max()).sum()) + z.max() - z[k])
    total /= problem.num_samples
    total += problem.lambda_w / 2 * (W**2).sum() + weight_of(problem) / 2 * (b**2).sum()
    return total + problem.lambda_h / 2 * (problem.class_counts @ (H**2).sum(axis=1))


def cross_entropies(outputs):
    return cp.log_sum_exp(outputs, axis=0) - cp.diag(outputs)


def textbook(problem):
    """The relaxation with an explicit b, unscaled, as one would write it down; the value to about 1e-8."""
    K, counts = problem.num_classes, problem.class_counts
    Z, b = cp.Variable((2 * K, 2 * K), PSD=True), cp.Variable((K, 1))
    losses = Full(problem.loss).expression(Z[:K, K:] + b @ np.ones((1, K)), np.arange(K))
    if type(problem.loss) is CrossEntropy and not problem.loss.parameters():
        losses = cross_entropies(Z[:K, K:] + b @ np.ones((1, K)))
    penalty = problem.lambda_w / 2 * cp.trace(Z[:K, :K]) + problem.lambda_h / 2 * (counts @ cp.diag(Z[K:, K:]))
    objective = problem.loss_weights @ losses + penalty + weight_of(problem) / 2 * cp.sum_squares(b)
    constraints = [Z[K:, K:] >= 0] if problem.nonnegative else []
    return cp.Problem(cp.Minimize(objective), constraints).solve(solver="CLARABEL")


# -- values -------------------------------------------------------------------------------------------------------


def test_with_a_free_bias_the_best_frame_is_not_optimal():
    """The counterexample to orthogonal frames: the majority class leaves its feature to the bias."""
    problem = majority("free")
    counts, sigma = problem.class_counts, problem.sigma
    z, b = cp.Variable((3, 3)), cp.Variable((3, 1))
    prices = sum(sigma[k] * cp.norm(z[:, k]) for k in range(3))
    frame = cp.Problem(cp.Minimize(counts / 120 @ cross_entropies(z + b @ np.ones((1, 3))) + prices))
    best_frame = frame.solve(solver="CLARABEL")
    assert best_frame == pytest.approx(0.183109, abs=5e-7)
    run = solve(problem, solver="frame").run
    assert run.value == pytest.approx(best_frame, rel=1e-6)
    assert run.claim is Claim.INACCURATE
    assert "u_k·u_l > 0 for classes 1 and 2" in run.message
    found = solve(problem)
    assert found.status == "certified"
    assert best_frame - found.value == pytest.approx(3.1e-3, abs=5e-5)
    assert found.value == pytest.approx(textbook(problem), rel=1e-6)
    assert found.collapsed_classes == (0,)
    assert found.feature_gram[1, 2] > 0.1, "minority features turn towards each other"
    assert raw(problem, *found.factors(), found.bias) == pytest.approx(found.upper_bound, rel=1e-13)


def test_with_a_dear_bias_the_frame_is_optimal_again():
    found = solve(majority(0.1))
    assert (found.status, found.solver, found.run.claim) == ("certified", "frame", Claim.OPTIMAL)
    assert found.relative_gap < 1e-12
    assert found.value == pytest.approx(textbook(majority(0.1)), rel=1e-6)


@pytest.mark.parametrize(("reg_z", "value", "differences", "b"), HONG_LING)
def test_hong_and_ling(reg_z, value, differences, b):
    counts = np.repeat([5000, 4000, 3000], [3, 3, 4])
    problem = Problem(counts, reg_z, reg_z, bias=2 * 0.01, features="free")
    found = solve(problem)
    assert found.status == "certified"
    assert found.value == pytest.approx(value, rel=1e-6)
    assert found.lower_bound <= value * (1 + 1e-9)
    assert value * (1 - 1e-9) <= found.upper_bound
    first = [0, 3, 6]
    # entries are known to the square root of the gap
    np.testing.assert_allclose(found.bias[first], b, atol=3e-4)
    own = [found.logits[k, k] - found.logits[k + 1, k] for k in first]
    np.testing.assert_allclose(own, differences, atol=3e-3)
    collapsed = [tuple(range(3, 6)), tuple(range(6, 10))] if reg_z == 0.0017 else []
    assert found.merged_groups == tuple(collapsed)


@pytest.mark.parametrize("bias", ["free", 1e-2, 1.0])
@pytest.mark.parametrize("share", [0.98, 1.02])
def test_minority_collapse_has_the_threshold_it_has_without_bias(bias, share):
    """A group merges iff n_g <= N² λ_W λ_H, whatever the bias costs."""
    counts = np.repeat([40, 10], [2, 3])
    decay = math.sqrt(10 * share) / counts.sum()
    problem = Problem(counts, decay, decay, bias=bias, features="free")
    found = solve(problem, tolerance=1e-9)
    assert found.status == "certified"
    spread = found.logits[2, 2] - found.logits[3, 2]
    assert found.merged_groups == (((2, 3, 4),) if share > 1.0 else ())
    assert (abs(spread) < 1e-3) if share > 1.0 else (spread > 0.02)
    assert theory.free_groups.group_collapse(problem).merged.tolist() == [False, share > 1.0]


@pytest.mark.parametrize("bias", ["free", 1e-3, 1.0])
def test_free_features_by_descent_on_the_definition(bias):
    problem = Problem([30, 12, 4, 4], 0.01, 0.02, bias=bias, features="free")

    def value(flat):
        return raw(problem, flat[:16].reshape(4, 4), flat[16:32].reshape(4, 4), flat[32:])

    rng = np.random.default_rng(0)
    ends = [minimize(value, rng.normal(size=36), method="BFGS", options={"gtol": 1e-7}).fun for _ in range(2)]
    found = solve(problem)
    assert found.status == "certified"
    assert min(ends) == pytest.approx(found.value, rel=1e-6)  # BFGS with finite differences


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropy(smoothing=0.1, class_weights=[0.1, 0.7, 3.3]),
        LogitAdjustedCrossEntropy(shift=(0.5, -0.2, -1.0), scale=(0.5, 1.3, 0.7)),
        SoftTargetCrossEntropy(((0.9, 0.05, 0.05), (0.0, 0.5, 0.5), (0.5, 0.5, 0.0))),
        MeanSquaredError(),
        BinaryCrossEntropy(),
        MulticlassHinge(),
    ],
    ids=lambda loss: loss.name,
)
@pytest.mark.parametrize("bias", ["free", 0.02])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_every_loss(loss, bias, features):
    problem = Problem([40, 15, 6], 0.03, 0.03, loss=loss, bias=bias, features=features)
    # a hinge leaves descent nothing to follow, and "auto" takes its time to find out
    found = solve(problem, solver="clarabel" if isinstance(loss, MulticlassHinge) else "auto")
    assert found.status == "certified"
    assert found.value == pytest.approx(textbook(problem), rel=1e-6)


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@pytest.mark.parametrize("bias", ["free", 0.05])
def test_levels_have_one_value(solver, bias):
    problem = Problem([4, 2, 2], 0.02, 0.03, bias=bias)
    found = [solve(problem, solver=solver, level=level) for level in ("class", "sample", "group")]
    assert [one.status for one in found] == ["certified"] * 3
    low, high = max(one.lower_bound for one in found), min(one.upper_bound for one in found)
    assert low <= high
    assert (high - low) / high <= 1e-6
    for one in found[1:]:
        np.testing.assert_allclose(one.logits, found[0].logits, atol=2e-3)
    assert found[1].run.within_class_variability == pytest.approx(0.0, abs=1e-4)


def test_where_there_is_no_gradient_the_frame_looks_for_no_bias(monkeypatch):
    """Small problems of a hinge run into their limit of iterations: once is allowed, and not once in every round."""
    problem = Problem([6, 31, 55, 55, 77, 144], 73.0, 1.7e-4, loss=MulticlassHinge(kind="weston-watkins"), bias=0.011)
    rounds = []

    def counted(loss, *rest):
        rounds.append(loss)
        return separable_optimum(loss, *rest)

    monkeypatch.setattr("ufm_convex.solvers.frame.separable_optimum", counted)
    found = solve(problem, solver="frame")
    assert len(rounds) == 1
    assert found.lower_bound <= textbook(problem) <= found.upper_bound * (1.0 + 1e-8)  # of the textbook's solver


def test_a_free_bias_need_not_be_unique():
    """What the loss sees is, but W h and b may share it out in several ways at no cost."""
    problem = Problem([4, 2, 2], 0.02, 0.03, bias="free")
    found = [solve(problem, solver=solver, tolerance=1e-9) for solver in ("clarabel", "frame")]
    assert [one.status for one in found] == ["certified"] * 2
    assert found[0].upper_bound == pytest.approx(found[1].upper_bound, rel=1e-9)
    np.testing.assert_allclose(found[0].logits, found[1].logits, atol=1e-4)
    assert found[0].bias[0] > found[1].bias[0] + 0.4


def test_many_classes_by_groups():
    problem = Problem(np.repeat([600, 100, 5], [20, 30, 50]), 1e-3, 1e-3, bias="free", features="free")
    found = solve(problem)
    assert (found.status, found.level) == ("certified", "group")
    assert found.bias.shape == (100,)
    assert np.ptp(found.bias[:20]) < 1e-6
    assert found.bias.sum() == pytest.approx(0.0, abs=1e-9)


# -- closed forms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["free", 1e-6, 1.0])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_balance_makes_the_bias_idle(bias, features):
    problem = Problem([20] * 5, 0.01, 0.01, bias=bias, features=features)
    without = theory.optimum(Problem([20] * 5, 0.01, 0.01, features=features))
    stated, found = theory.optimum(problem), solve(problem)
    assert (stated.relation, stated.value) == ("tight", without.value)
    assert found.status == "certified"
    assert found.value == pytest.approx(without.value, rel=1e-12)
    np.testing.assert_allclose(found.bias, 0.0, atol=1e-4)
    assert textbook(problem) == pytest.approx(without.value, rel=1e-6)


def test_elsewhere_the_value_without_bias_is_an_upper_bound():
    problem = majority("free")
    stated = theory.bound(problem)
    assert stated.relation == "upper"
    assert stated.value > solve(problem).value
    with pytest.raises(HypothesisError, match="no bias"):
        theory.optimum(problem)
    with pytest.raises(HypothesisError, match="no bias"):
        solve(problem, solver="theory")


@pytest.mark.parametrize(
    ("counts", "decay", "dimension"),
    [([50, 20, 10, 5], 0.02, None), ([50, 20, 10, 5], 0.02, 2), ([7, 7, 7], 0.05, 1), ([100, 10, 10], 0.3, None)],
)
def test_squared_error_with_a_free_bias(counts, decay, dimension):
    arguments = {"loss": MeanSquaredError(), "features": "free", "feature_dim": dimension}
    problem = Problem(counts, decay, decay, bias="free", **arguments)
    stated, found = theory.optimum(problem), solve(problem)
    assert found.lower_bound <= stated.value * (1 + 1e-12)
    assert found.upper_bound == pytest.approx(stated.value, rel=1e-6)
    W, H, b = stated.weights, stated.features, stated.bias
    targets = W @ H.T + b[:, None] - np.eye(len(counts))
    n, N = np.array(counts), sum(counts)
    value = 0.5 * ((targets**2).sum(axis=0) @ n / N + decay * (W**2).sum() + decay * (n @ (H**2).sum(axis=1)))
    assert value == pytest.approx(stated.value, rel=1e-12)
    assert b.sum() == pytest.approx(1.0, rel=1e-12)
    assert stated.rank <= (dimension or len(counts) - 1)
    if dimension is None:
        assert found.status == "certified"
        np.testing.assert_allclose(found.bias, b, atol=1e-4)
    with_relu = solve(Problem(counts, decay, decay, bias="free", loss=MeanSquaredError(), feature_dim=dimension))
    lower = theory.bound(with_relu.problem)
    assert with_relu.upper_bound >= stated.value
    assert lower is not None
    if stated.rank:
        assert with_relu.lower_bound > solve(replace_dimension(problem)).lower_bound * 1.001, "ReLU costs something"


def replace_dimension(problem):
    """The same problem with d not binding."""
    return Problem(problem.class_counts, problem.lambda_w, problem.lambda_h, loss=problem.loss, bias=problem.bias,
                   features=problem.features)  # fmt: skip


@pytest.mark.parametrize("bias", ["free", 1e-3, 1.0])
@pytest.mark.parametrize("counts", [[300, 7], [5, 5], [40, 1]])
def test_two_classes_have_a_frame_whatever_the_bias(bias, counts):
    found = solve(Problem(counts, 0.02, 0.02, bias=bias))
    assert (found.status, found.run.claim) == ("certified", Claim.OPTIMAL)
    assert found.solver == ("theory" if counts == [5, 5] else "frame")
    assert found.value == pytest.approx(textbook(found.problem), rel=1e-6)


def test_a_small_dimension_gives_two_bounds():
    problem = Problem([60, 40, 20], 0.01, 0.01, bias="free", feature_dim=1, features="free")
    wide = solve(Problem([60, 40, 20], 0.01, 0.01, bias="free", features="free"))
    found = solve(problem)
    W, H = found.factors()
    assert W.shape == H.shape == (3, 1)
    assert found.lower_bound == pytest.approx(wide.lower_bound, rel=1e-5)
    assert raw(problem, W, H, found.bias) == pytest.approx(found.upper_bound, rel=1e-12)
    assert found.upper_bound > wide.upper_bound * 1.01
    assert found.status == "bounded"


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", [1e-300, 1e-16, 1e-14, 1e-9, 1e-4, 1e3, 1e12, 1e300])
def test_a_penalty_of_any_size(bias, features):
    """Between a free bias and none the value rises with the penalty; the ends are reached in the limit."""
    counts = [60, 40, 20, 5]
    found = solve(Problem(counts, 0.01, 0.01, bias=bias, features=features), tolerance=1e-7)
    free = solve(Problem(counts, 0.01, 0.01, bias="free", features=features), tolerance=1e-7)
    none = solve(Problem(counts, 0.01, 0.01, features=features), tolerance=1e-7)
    assert found.status == free.status == none.status == "certified"
    assert free.lower_bound <= found.upper_bound
    assert found.lower_bound <= none.upper_bound
    if bias <= 1e-9:
        assert found.value == pytest.approx(free.value, rel=2e-7)
    if bias >= 1e3:
        assert found.value == pytest.approx(none.value, rel=1e-4)


# -- identity, bounds, proofs -------------------------------------------------------------------------------------

BIASES = st.one_of(st.just("free"), st.floats(-6.0, 2.0).map(lambda x: 10.0**x))
COUNTS = st.lists(st.integers(1, 60), min_size=2, max_size=4)


@given(counts=COUNTS, bias=BIASES, seed=st.integers(0, 2**16))
def test_the_identity(counts, bias, seed):
    """F(Z, b) = dual value + terms for any point at all, and any residuals that the bias admits."""
    rng, K = np.random.default_rng(seed), len(counts)
    problem = Problem(counts, 0.01, 0.02, bias=bias)
    columns = of_classes(problem)
    W, H, b = rng.normal(size=(K, 3)), rng.normal(size=(K, 3)), rng.normal(size=K)
    V = full_arrays.into_domain(columns, columns.loss.residuals(rng.normal(size=(K, K)), columns.layout))
    terms = full_arrays.terms(columns, GramPoint.from_factors(W, H, b), DualPoint(V, rng.normal(size=(K, K))))
    size = sum(abs(getattr(terms, name)) for name in ("dual_value", "calibration", "alignment", "slack", "bias"))
    assert terms.objective == pytest.approx(raw(problem, W, H, b), abs=1e-12 * (size + 1.0))
    assert terms.bias >= -1e-13
    assert terms.calibration >= -1e-13


@settings(max_examples=25)
@given(counts=COUNTS, bias=BIASES, features=st.sampled_from(["nonnegative", "free"]), seed=st.integers(0, 2**16))
def test_no_point_lies_below_the_bound(counts, bias, features, seed):
    rng, K = np.random.default_rng(seed), len(counts)
    decay = 10.0 ** rng.uniform(-3, 0)
    problem = Problem(counts, decay, 0.01, bias=bias, features=features)
    found = solve(problem)
    assert found.status == "certified"
    best_W, best_H = found.factors()
    b = found.bias
    assert raw(problem, best_W, best_H, b) <= found.upper_bound * (1 + 1e-12)
    for size in (0.0, 1e-3, 1.0):
        noise = [size * rng.normal(size=shape) for shape in (best_W.shape, best_H.shape, K)]
        H = best_H + noise[1]
        H = np.abs(H) if features == "nonnegative" else H
        assert raw(problem, best_W + noise[0], H, b + noise[2]) >= found.lower_bound * (1 - 1e-12)


@pytest.mark.parametrize("counts", [[100, 10, 10], [977, 31, 7, 2]])
def test_the_proved_dual_point_is_feasible_exactly(counts):
    """From the integers of the proof alone: U1 = 0 as fractions, p in the simplex, ‖U D^{-1/2}‖ <= 1, the entropy."""
    problem = Problem(counts, 0.01, 0.003, bias="free", features="free")
    found = solve(problem)
    lower = found.evidence.lower
    K, N, exact = len(counts), sum(counts), lower.exact_point
    assert lower.proof == ("group" if K == 3 else "dense")
    unit = Fraction(2) ** exact.exponents[0]
    assert set(exact.exponents) == {exact.exponents[0]}
    members = [1, 0, 0] if lower.proof == "group" else range(K)  # groups come by size
    U = [[unit * exact.columns[g][h] / N for h in members] for g in members]
    for k, column in enumerate(U):
        column[k] = -sum(u for j, u in enumerate(column) if j != k)
    assert [sum(row) for row in zip(*U, strict=True)] == [0] * K
    with mpmath.workdps(40):
        entropy, scaled = mpmath.mpf(0), mpmath.matrix(K, K)
        for k, column in enumerate(U):
            p = [u * N / counts[k] + (j == k) for j, u in enumerate(column)]
            assert min(p) >= 0
            assert sum(p) == 1
            masses = [mpmath.mpf(q.numerator) / q.denominator for q in p]
            entropy -= mpmath.mpf(counts[k]) / N * sum(q * mpmath.log(q) for q in masses if q)
            for j, u in enumerate(column):
                sigma = mpmath.sqrt(mpmath.mpf(problem.lambda_w) * mpmath.mpf(problem.lambda_h) * counts[k])
                scaled[j, k] = mpmath.mpf(u.numerator) / u.denominator / sigma
        assert max(mpmath.svd_r(scaled, compute_uv=False)) <= 1
        assert abs(entropy - mpmath.mpf(lower.exact.numerator) / lower.exact.denominator) < mpmath.mpf(10) ** -30
    assert found.relative_gap < 1e-6


def test_the_proved_value_of_a_penalised_bias():
    """From the integers of a group proof, with its two alike classes written out: entropy less ‖U1‖²/(2 λ_b)."""
    problem = majority(1e-3)
    lower = solve(problem).evidence.lower
    assert lower.proof == "group"
    exact, members, counts = lower.exact_point, [0, 0, 1], [10, 10, 100]  # groups come by size
    p = [[Fraction(2) ** exact.exponents[g] * exact.columns[g][h] for h in members] for g in members]
    for k, column in enumerate(p):
        column[k] = 1 - sum(q for j, q in enumerate(column) if j != k)
    sums = [sum(Fraction(n, 120) * (p[k][j] - (j == k)) for k, n in enumerate(counts)) for j in range(3)]
    square = sum(s * s for s in sums) / (2 * Fraction(problem.bias))
    with mpmath.workdps(40):
        value = -mpmath.mpf(square.numerator) / square.denominator
        for count, column in zip(counts, p, strict=True):
            masses = [mpmath.mpf(q.numerator) / q.denominator for q in column]
            value -= mpmath.mpf(count) / 120 * sum(q * mpmath.log(q) for q in masses)
        assert abs(value - mpmath.mpf(lower.exact.numerator) / lower.exact.denominator) < mpmath.mpf(10) ** -30


@given(
    size=st.integers(2, 6),
    closed=st.booleans(),
    entries=st.lists(st.integers(0, 2**80), min_size=36, max_size=36),
    seed=st.integers(0, 99),
)
def test_balance_closes_the_sums_and_takes_nothing_away(size, closed, entries, seed):
    columns = [[0 if h == g else entries[g * size + h] for h in range(size)] for g in range(size)]
    own = None if closed else [-entries[seed % 36] + g for g in range(size)]
    places, ones = list(range(size)), [1] * size
    fixed, diagonal = balance(columns, own, places, ones, ones, seed % size)
    if closed:
        assert diagonal is None
        diagonal = [-sum(column) for column in fixed]
    assert [sum(row) + entry for row, entry in zip(zip(*fixed, strict=True), diagonal, strict=True)] == [0] * size
    before = own if own is not None else [-sum(column) for column in columns]
    assert all(
        new >= old for one, other in zip(fixed, columns, strict=True) for new, old in zip(one, other, strict=True)
    )
    assert all(new <= old for new, old in zip(diagonal, before, strict=True))
    assert all(fixed[g][g] == 0 for g in range(size))


# -- planted faults -----------------------------------------------------------------------------------------------


def unbalanced():
    """The dual optimum without bias, whose value lies above the optimum with one: there U1 is not 0."""
    without = solve(majority(None))
    dual = without.dual.dense(without.problem)
    assert without.lower_bound > 1.4 * solve(majority("free")).upper_bound
    return dual


def test_a_dual_point_that_is_not_balanced_proves_no_more_than_the_truth():
    dual, truth = unbalanced(), solve(majority("free")).upper_bound
    columns = of_classes(majority("free"))
    assert full_arrays.dual_value(columns, dual) == -math.inf
    assert enclosure.lower_bound(majority("free"), dual).value <= truth
    repaired, value = full_arrays.repair(columns, [dual])
    assert 0.5 * truth < value <= truth
    assert enclosure.lower_bound(majority("free"), repaired).value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("bias", ["free", 1e-4])
def test_repair_loses_the_square_of_an_error(bias):
    problem = Problem([60, 40, 20, 5], 0.01, 0.01, bias=bias, features="free")
    found, columns = solve(problem, tolerance=1e-9), of_classes(problem)
    noise = np.random.default_rng(1).normal(size=(4, 4))
    noise -= noise.mean(axis=0)
    losses = []
    for size in (1e-3, 1e-5):
        V = found.dual.residuals + size * noise
        _, value = full_arrays.repair(columns, [DualPoint(V, np.zeros((4, 4)))], found.factors()[1], found.bias)
        losses.append((found.upper_bound - value) / found.upper_bound)
    # linear would be a factor 100 and 1e-5 of the value; a square is 1e4 and 1e-10
    assert losses[1] < 1e-3 * losses[0]
    assert losses[1] < 1e-8


def test_a_proof_that_forgets_the_balance_is_refused(monkeypatch):
    dual, truth = unbalanced(), solve(majority("free")).upper_bound
    monkeypatch.setattr(slack, "balance", lambda columns, own, *_: (columns, own))
    assert enclosure.lower_bound(majority("free"), dual).proof == "trivial"
    # and without the exact test of the sums it would have been believed
    monkeypatch.setattr(FreeBias, "enclose_support", NoBias.enclose_support)
    assert enclosure.lower_bound(majority("free"), dual).value > truth


@pytest.mark.parametrize("factor", [-1.0, 0.0])
def test_a_wrong_sign_of_the_dual_term_contradicts_itself(monkeypatch, factor):
    problem = majority(1e-3)
    right = PenalisedBias.enclose_support

    def wrong(self, sums, multiplicities):
        return factor * right(self, sums, multiplicities)

    monkeypatch.setattr(PenalisedBias, "enclose_support", wrong)
    with pytest.raises(SolverError, match="contradict"):
        solve(problem)


def test_a_gradient_that_forgets_the_bias_ends_higher(monkeypatch):
    problem = majority("free")
    right = solve(problem, solver="factored").upper_bound
    whole = Scaled.unpack

    def forgetful(self, flat):
        found = whole(self, flat)
        return replace(found, bias=np.zeros(found.bias.size))

    monkeypatch.setattr(Scaled, "unpack", forgetful)
    assert solve(problem, solver="factored").upper_bound > right * 1.3


@pytest.mark.parametrize("bias", ["free", 0.1])
def test_kkt_sees_a_bias_that_is_not_the_best(bias):
    found = solve(majority(bias))
    columns, factors = of_classes(found.problem), found.factors()
    report = found.kkt()
    assert report.passed
    assert [c.name for c in report][-1] == "stationarity_bias"
    assert [c.name for c in report][:-1] == [c.name for c in solve(majority(None)).kkt()]
    shifted = GramPoint.from_factors(*factors, found.bias + np.array([0.1, 0.0, -0.1]))
    moved = full_arrays.report(columns, shifted, found.dual, factors, 1e-6)
    failed = {c.name for c in moved if not c.passed}
    assert {"stationarity_logits", "duality_gap"} <= failed
    assert ("stationarity_bias" in failed) == (bias != "free")  # a free one enters through the logits alone
    V = found.dual.residuals.copy()
    V[:2, 0] += (0.01, -0.01)
    broken = full_arrays.report(columns, found.point, DualPoint(V, found.dual.nonnegativity), factors, 1e-6)
    assert not broken["stationarity_bias"].passed


def test_an_upper_bound_is_that_of_the_given_bias():
    problem = majority(0.1)
    found = solve(problem)
    W, H = found.factors()
    for b in (found.bias, found.bias + 0.3, np.zeros(3)):
        bound = enclosure.upper_bound(problem, (W, H, b)).value
        assert bound == pytest.approx(raw(problem, W, H, b), rel=1e-13)
    assert enclosure.upper_bound(problem, (W, H)).value == enclosure.upper_bound(problem, (W, H, np.zeros(3))).value


@pytest.mark.parametrize("b", [np.array([1.0, math.nan, 0.0]), np.array([1.0, math.inf, 0.0]), np.zeros(2)])
def test_an_inadmissible_bias_bounds_nothing(b):
    W = np.eye(3)
    assert enclosure.upper_bound(majority("free"), (W, W, b)).value == math.inf
    assert enclosure.upper_bound(majority(None), (W, W, np.ones(3))).value == math.inf


# -- the three penalties ------------------------------------------------------------------------------------------


@given(weight=st.floats(1e-6, 1e2), seed=st.integers(0, 2**16))
def test_penalty_and_support_are_conjugate(weight, seed):
    """g(b) + g*(−s) + <s, b> >= 0 with equality at b = −s/λ_b; in balls as in binary64."""
    from flint import fmpq

    rng = np.random.default_rng(seed)
    one, s, b = PenalisedBias(3, weight), rng.integers(-9, 9, 3).astype(float), rng.normal(size=3)
    assert one.misfit(b, s) == pytest.approx(one.penalty(b) + one.support(s, 1.0) + s @ b, rel=1e-9, abs=1e-9)
    assert one.misfit(-s / weight, s) == pytest.approx(0.0, abs=1e-12 * one.support(s, 1.0) + 1e-300)
    exact = one.enclose_support([fmpq(int(x)) for x in s], [1, 1, 1])
    assert float(exact) == pytest.approx(one.support(s, 1.0), rel=1e-14)
    numbers = [fmpq(*x.as_integer_ratio()) for x in b.tolist()]
    assert float(one.enclose_penalty(numbers)) == pytest.approx(one.penalty(b), rel=1e-14)


@given(seed=st.integers(0, 2**16), kind=st.sampled_from(["sums", "scaled", "none"]))
def test_what_is_admitted_is_balanced_and_near(seed, kind):
    rng, K = np.random.default_rng(seed), 4
    closing = {"sums": np.ones(K), "scaled": np.array([0.5, 1.0, 2.0, 3.0]), "none": None}[kind]
    V = rng.random((K, K))
    np.fill_diagonal(V, 0.0)
    a = np.ones(K) if closing is None else closing
    V *= a[:, None]
    np.fill_diagonal(V, -rng.random(K) if closing is None else -a * (V / a[:, None]).sum(axis=0))
    weights = rng.random(K) + 0.1
    columns = of_classes(Problem([1] * K, 0.1, 0.1))
    columns = replace(columns, bias=FreeBias(K, closing), loss_weights=weights)
    admitted = columns.balanced(Alike.matrix(columns.outputs, columns.columns, V)).full()
    np.testing.assert_allclose((admitted * weights).sum(axis=1), 0.0, atol=1e-13)
    off = ~np.eye(K, dtype=bool)
    assert (admitted[off] >= V[off] - 1e-15).all()
    assert (np.diag(admitted) <= np.diag(V) + 1e-15).all()
    if closing is not None:
        np.testing.assert_allclose((admitted / a[:, None]).sum(axis=0), 0.0, atol=1e-13)
    again = columns.balanced(Alike.matrix(columns.outputs, columns.columns, admitted)).full()
    np.testing.assert_allclose(again, admitted, atol=1e-12)


def test_a_faint_penalty_is_paid_though_the_dual_takes_it_for_free():
    problem = Problem([60, 40, 20, 5], 0.01, 0.01, bias=1e-16)
    one = of_classes(problem).bias
    assert isinstance(one, FaintBias)
    assert isinstance(of_classes(Problem([60, 40], 0.01, 0.01, bias=1e-14)).bias, PenalisedBias)
    found = solve(problem)
    W, H = found.factors()
    huge = found.bias + 1e8 * np.array([1.0, -1.0, 0.0, 0.0])
    for b in (found.bias, huge):
        assert enclosure.upper_bound(problem, (W, H, b)).value == pytest.approx(raw(problem, W, H, b), rel=1e-12)
    V = found.dual.residuals
    V = V + 1e-8 * np.array([[1.0], [-1.0], [0.0], [0.0]])
    assert full_arrays.dual_value(of_classes(problem), DualPoint(V, found.dual.nonnegativity)) == -math.inf


def test_what_the_loss_does_not_see_is_left_out_of_a_free_bias():
    scales = np.array([0.5, 1.0, 2.0])
    one = FreeBias(3, scales)
    b = np.array([1.0, 2.0, 3.0])
    assert one.canonical(b) @ (1.0 / scales) == pytest.approx(0.0, abs=1e-15)
    loss, labels = Full(LogitAdjustedCrossEntropy(scale=tuple(scales))), np.array([0, 1, 2])
    logits = np.random.default_rng(0).normal(size=(3, 3))
    np.testing.assert_allclose(
        loss.values(logits + b[:, None], labels), loss.values(logits + one.canonical(b)[:, None], labels), rtol=1e-12
    )
    assert FreeBias(3, None).canonical(b) is b


def test_without_bias_nothing_is_added():
    one = bias_of(None, CrossEntropy(), 3)
    assert (one.size, one.penalty(np.zeros(3)), one.support(np.ones(3), 1.0)) == (0, 0.0, 0.0)
    model = one.model(1.0)
    assert (model.variable, model.penalty, model.constraints) == (None, 0.0, [])
    assert isinstance(model, BiasModel)
    columns = of_classes(majority(None))
    L = Alike.zeros(columns.outputs, columns.columns)
    assert columns.outputs_of(L, None) is L
    assert solve(majority(None)).bias.tolist() == [0.0] * 3


# -- where there is no form ---------------------------------------------------------------------------------------

CANDIDATE = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[100, 10, 10])


@pytest.mark.parametrize(
    "call",
    [
        lambda problem: ufm.certify(problem, digits=20),
        lambda problem: ufm.stability_bounds(problem, 0.1),
        lambda problem: interchange.export_cbf(problem),
        lambda problem: pigeonhole.pigeonhole_bound(problem),
        lambda problem: ufm.close_gap(problem),
        lambda problem: phases(problem),
        lambda problem: ufm.testing.assert_self_dual(problem, CANDIDATE),
    ],
)
@pytest.mark.parametrize("bias", ["free", 0.1])
def test_what_has_no_form_for_a_bias_says_so(call, bias):
    with pytest.raises(HypothesisError, match=r"a bias|without bias"):
        call(majority(bias))


def test_bad_forms_of_a_bias():
    for wrong in (0.0, -1.0, math.nan, math.inf, "penalised", True):
        with pytest.raises(ProblemError, match="bias is"):
            Problem([3, 2], 0.1, 0.1, bias=wrong)


def test_the_command_line(tmp_path):
    arguments = ["solve", "--class-counts", "100,10,10", "--lambda-w", "0.0048", "--lambda-h", "0.0048", "--bias"]
    table = CliRunner().invoke(cli.application(), [*arguments, "free"])
    assert table.exit_code == 0
    assert "free bias" in table.stdout
    assert "b_k" in table.stdout
    record = json.loads(CliRunner().invoke(cli.application(), [*arguments, "0.1", "--json"]).stdout)
    assert record["status"] == "certified"
    assert sum(record["bias"]) == pytest.approx(0.0, abs=1e-6)
    assert record["kkt"]["stationarity_bias"] <= 1e-3
    path = tmp_path / "c.json"
    for bias in ("free", "0.1"):
        assert CliRunner().invoke(cli.application(), [*arguments, bias, "-o", str(path)]).exit_code == 0
        assert CliRunner().invoke(cli.application(), ["verify", str(path)]).exit_code == 0
    strange = CliRunner().invoke(cli.application(), [*arguments, "yes"])
    assert strange.exit_code == 2
    assert '"free", or a number > 0' in strange.stderr

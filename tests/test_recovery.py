"""Recovery and descent at every level: the gradient, admissibility, upper bounds that close, and ways out of saddles.

Objectives are those of ``naive_dense`` on the written-out factors; optima are theorems' or those of the class level.
"""

import warnings

import numpy as np
import pytest
from algebra_cases import ALIKE, LOSSES, Given, random_alike

import ufm_convex as ufm
from ufm_convex.duality.admissible import repair
from ufm_convex.errors import DimensionError
from ufm_convex.losses import CrossEntropy, MeanSquaredError
from ufm_convex.recovery import (
    Entries,
    Scaled,
    admitted,
    balanced,
    descend,
    escape,
    fit,
    full,
    narrowed,
    needed,
    recoveries,
    require_dimension,
    undescended,
)
from ufm_convex.recovery.starts import classifier, coordinates, factor
from ufm_convex.relaxation import LEVELS, Alike, Dual, Factors, Gram, making, objective, programme

COUNTS = [4, 2, 4, 2, 4, 0, 7, 0]
FULL = [4, 2, 4, 2, 4, 3, 7, 3]


def naive_objective(problem, level, factors):
    W, H = factors.W.full(), factors.H.full()
    active = np.arange(problem.num_samples) if level == "sample" else np.flatnonzero(problem.class_counts)
    H = H[active]
    b = np.zeros(len(W)) if factors.bias is None else factors.W.rows.spread_out(factors.bias)
    return problem.naive(level).objective(W @ W.T, W @ H.T, H @ H.T, b)


def random_factors(rng, columns, bias=True):
    d = coordinates(columns.columns)
    W, H = random_alike(rng, columns.outputs, d), random_alike(rng, columns.columns, d).map(np.abs)
    return Factors(W, H, 0.1 * rng.normal(size=columns.outputs.size) if bias else None)


@pytest.mark.parametrize("bias", [None, "free", 0.4])
@pytest.mark.parametrize("level", ["sample", "class", "group"])
@pytest.mark.parametrize("loss", ["cross-entropy", "smoothed", "squared", "sigmoids", "soft"])
def test_the_gradient_is_that_of_the_naive_objective(loss, level, bias):
    problem = Given(COUNTS if bias != "free" else FULL, LOSSES[loss], bias)
    columns, rng = LEVELS[level].make(problem), np.random.default_rng(0)
    factors = random_factors(rng, columns, bias is not None)
    scaled = Scaled(columns, factors.W.cols)
    flat = scaled.pack(factors)
    value, gradient = scaled.value_and_gradient(flat)
    assert scaled.kappa * value == pytest.approx(naive_objective(problem, level, factors), rel=1e-12)
    direction = rng.normal(size=flat.size)
    step = 1e-4  # central differences: an error of the square of it, times third derivatives of order one
    ends = [naive_objective(problem, level, scaled.unpack(flat + s * direction)) for s in (step, -step)]
    slope = (ends[0] - ends[1]) / (2.0 * step) / scaled.kappa
    assert gradient @ direction == pytest.approx(slope, rel=1e-5, abs=1e-5 * np.abs(gradient).max())


@pytest.mark.parametrize("level", ["class", "group"])
def test_the_vector_has_the_inner_product_of_the_full_matrices(level):
    columns, rng = LEVELS[level].make(Given(COUNTS, CrossEntropy())), np.random.default_rng(1)
    d = coordinates(columns.columns)
    X, Y = random_alike(rng, columns.outputs, d), random_alike(rng, columns.outputs, d)
    entries = Entries(columns.outputs, d)
    x, y = (entries.vector(one) * entries.roots for one in (X, Y))
    assert x @ y == pytest.approx((X.full() * Y.full()).sum(), rel=1e-12)
    np.testing.assert_allclose(entries.matrix(entries.vector(X)).full(), X.full(), atol=1e-15)


def solved(problem, level="group"):
    columns = LEVELS[level].make(problem)
    built = programme(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built.problem.solve(solver="CLARABEL")
    return columns, built.primal(), built.dual()


def closed(columns, point, dual, tolerance):
    """The least upper bound of the recoveries until the gap is closed, and the lower bound."""
    outputs = columns.outputs_of(point.logits, point.bias)
    _, lower = repair(columns, [dual, Dual(columns.residuals(outputs), dual.T)], point)
    best = None
    for found in recoveries(columns, point):
        best = found if best is None or found.objective < best.objective else best
        V = columns.nearest(dual.V, columns.outputs_of(found.factors.logits, found.factors.bias))
        lower = max(lower, repair(columns, [Dual(V, dual.T)], found.factors)[1])
        if best.objective - lower <= tolerance * best.objective:
            break
    return best, lower


@pytest.mark.parametrize("bias", [None, "free", 0.05])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("loss", ["cross-entropy", "smoothed", "squared", "sigmoids", "crammer-singer", "margin"])
def test_bounds_close_on_orbits(loss, features, bias):
    if loss == "margin" and bias is not None:
        bias = None  # problems have no bias beside an indicator
    problem = Given([60, 20, 60, 20, 90], ALIKE[loss], bias, nonnegative=features == "nonnegative")
    columns, point, dual = solved(problem)
    best, lower = closed(columns, point, dual, 1e-6)
    assert lower <= best.objective * (1.0 + 1e-12)
    assert best.objective - lower <= 1e-6 * best.objective
    assert best.objective == pytest.approx(naive_objective(problem, "class", best.factors), rel=1e-12)
    if features == "nonnegative":
        assert best.factors.H.full().min() >= 0.0
    assert best.residual < 1e-2  # the square root of the solver's accuracy, at its worst


@pytest.mark.parametrize(
    ("counts", "value"), [([50, 20, 0], 0.22144083147446308), ([30, 9, 4, 0, 0, 0, 0], 0.277066888078887)]
)
@pytest.mark.parametrize("level", ["class", "group"])
def test_classes_without_samples_are_recovered(counts, value, level):
    problem = Given(counts, CrossEntropy(), lambda_w=5e-3, lambda_h=5e-3)
    best, lower = closed(*solved(problem, level), 1e-7)
    assert best.objective == pytest.approx(value, rel=1e-7)
    assert lower == pytest.approx(value, rel=1e-7)
    assert best.rank == np.count_nonzero(counts)


@pytest.mark.parametrize("bias", ["free", 0.01])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_a_bias_closes_on_a_thousand_classes(features, bias):
    problem = ufm.Problem(np.repeat([300, 20], 500), 1e-4, 1e-4, bias=bias, features=features)
    best, lower = closed(*solved(problem), 1e-6)
    assert best.objective - lower <= 1e-6 * best.objective
    assert best.factors.W.even.shape == (2, 2)


@pytest.mark.parametrize("level", ["class", "group"])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_saddles_are_left_at_every_level(features, level):
    """W = H = 0 is stationary; squared error, balanced, has the optimum of a theorem."""
    problem = ufm.Problem([5] * 6, 1e-3, 1e-3, loss=MeanSquaredError(), features=features)
    columns = LEVELS[level].make(problem)
    d = coordinates(columns.columns)
    nothing = Factors(Alike.zeros(columns.outputs, d), Alike.zeros(columns.columns, d))
    stuck, _ = descend(columns, nothing)
    assert objective(columns, stuck) == objective(columns, nothing)
    found, _ = descend(columns, escape(columns, nothing))
    assert objective(columns, found) == pytest.approx(ufm.theory.optimum(problem).value, rel=1e-9)
    assert escape(columns, found) is None


@pytest.mark.parametrize("level", ["sample", "class", "group"])
def test_balanced_factors_have_the_logits_and_the_nuclear_norm(level):
    problem = Given(COUNTS, CrossEntropy(), 0.4)
    columns, rng = LEVELS[level].make(problem), np.random.default_rng(2)
    L = random_alike(rng, columns.outputs, columns.columns)
    found = balanced(columns, L, None)
    np.testing.assert_allclose(found.logits.full(), L.full(), atol=1e-12)
    nu = columns.columns.spread_out(columns.feature_weights)
    norm = np.linalg.svd(L.full() * np.sqrt(nu), compute_uv=False).sum()
    penalty = 0.5 * columns.lambda_w * found.weight_trace()
    penalty += 0.5 * columns.lambda_h * columns.columns.numbers * columns.feature_weights @ found.feature_squares()
    assert penalty == pytest.approx(np.sqrt(columns.lambda_w * columns.lambda_h) * norm, rel=1e-12)


@pytest.mark.parametrize("level", ["class", "group"])
def test_indicators_are_stretched_until_they_are_zero(level):
    problem = Given(COUNTS, ALIKE["margin"])
    columns, rng = LEVELS[level].make(problem), np.random.default_rng(3)
    found = balanced(columns, 0.05 * random_alike(rng, columns.outputs, columns.columns) + columns.target, None)
    short = Factors(found.W, found.H * 0.3)
    assert objective(columns, short) == np.inf
    stretched = admitted(columns, short)
    assert objective(columns, stretched) == pytest.approx(naive_objective(problem, "class", stretched), rel=1e-12)


@pytest.mark.parametrize("level", ["class", "group"])
def test_non_negative_factors_and_their_classifier(level):
    columns, rng = LEVELS[level].make(Given(FULL, CrossEntropy())), np.random.default_rng(5)
    H = random_factors(rng, columns).H
    B = H @ H.T
    found = factor(B, H + 0.01 * random_factors(rng, columns).H)
    assert found.full().min() >= 0.0
    assert (found @ found.T - B).norm() < 1e-3 * B.norm()
    L = random_alike(rng, columns.outputs, columns.columns)
    np.testing.assert_allclose((classifier(L, H, 1e-12) @ H.T).full(), L.full(), atol=1e-8)


def test_a_wrong_multiplicity_is_seen(monkeypatch):
    """With every entry counted once the gradient on orbits is another one."""
    monkeypatch.setattr(
        Entries, "roots", property(lambda self: np.ones(self.vector(Alike.zeros(self.rows, self.cols)).size))
    )
    with pytest.raises(AssertionError):
        test_the_gradient_is_that_of_the_naive_objective("cross-entropy", "group", None)


def test_a_point_of_full_arrays_is_recovered_as_one_of_orbits():
    problem = Given([60, 20, 60, 20, 90], CrossEntropy())
    columns, point, dual = solved(problem)
    classes = making.of_classes(problem)
    full, other = Gram.mean(classes, point.full()), Dual.mean(classes, dual.full())
    best, again = closed(columns, point, dual, 1e-7)[0], closed(classes, full, other, 1e-7)[0]
    assert again.objective == pytest.approx(best.objective, rel=1e-7)
    assert again.rank == best.rank


# -- dimensions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("level", ["class", "group"])
@pytest.mark.parametrize("dimension", [2, 3, 4])
def test_narrow_factors_are_upper_bounds_in_their_dimension(dimension, level, features):
    problem = Given([60, 20, 60, 20, 90], CrossEntropy(), 0.05, nonnegative=features == "nonnegative")
    columns, point, _ = solved(problem, level)
    best = next(iter(recoveries(columns, point)))
    found = fit(columns, best, dimension)
    W, H = full(found.factors, dimension, columns.nonnegative)
    assert W.shape == (5, dimension)
    assert needed(found.factors.H, columns.nonnegative) <= dimension
    np.testing.assert_allclose(W @ H.T, found.factors.logits.full(), atol=1e-9)
    b = found.factors.W.rows.spread_out(found.factors.bias)
    assert found.objective == pytest.approx(problem.naive("class").objective(W @ W.T, W @ H.T, H @ H.T, b), rel=1e-9)
    assert found.objective >= best.objective * (1.0 - 1e-6)
    if dimension < best.rank:
        with pytest.raises(DimensionError):
            require_dimension(best.rank, dimension)
        with pytest.raises(DimensionError, match="directions of noise"):
            narrowed(columns, best, dimension)


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("level", ["sample", "class", "group"])
def test_points_that_are_judged_keep_their_logits(level, features):
    problem = Given(COUNTS, CrossEntropy(), 0.4, nonnegative=features == "nonnegative")
    columns, rng = LEVELS[level].make(problem), np.random.default_rng(6)
    L = random_alike(rng, columns.outputs, columns.columns)
    B = random_alike(rng, columns.columns, columns.columns)
    point = Gram(Alike.zeros(columns.outputs, columns.outputs), L, B @ B.T, rng.normal(size=columns.outputs.size))
    first = next(undescended(columns, point))
    np.testing.assert_allclose(first.logits.full(), L.full(), atol=1e-12)
    assert first.bias is point.bias


def test_a_stage_that_ends_without_a_gain_is_not_the_end_of_the_descent():
    """Twenty distinct counts with a free bias: one step gains less than rounding, 2e-5 from the end.

    A stage that ended there left bounds 1.6e-5 apart; the next one brings the gradient down by three orders.
    """
    counts = np.round(500 * 100.0 ** (-np.arange(0, 100, 5) / 99)).astype(int)
    problem = ufm.Problem(counts, 1e-3, 1e-3, bias="free")
    found, peer = ufm.solve(problem, solver="frame"), ufm.solve(problem, solver="clarabel")
    assert found.status == peer.status == "certified"
    assert found.relative_gap < 1e-7
    assert max(found.lower_bound, peer.lower_bound) <= min(found.upper_bound, peer.upper_bound)

"""The layer-peeled model: against its definition, its closed forms, recorded digits, and planted faults."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from full_columns import Full
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import methods, solving, theory
from ufm_convex.cli import application
from ufm_convex.enclosure import ExactAlike, ExactMatrix, FactorWitness, square_norms
from ufm_convex.errors import HypothesisError, ProblemError, UnknownNameError
from ufm_convex.measures import classifier_cosine
from ufm_convex.methods.peeled_evidence import PeeledEvidence
from ufm_convex.methods.penalised import PenalisedFamily

FEATURES = ("nonnegative", "free")


def peeled(counts, weight_radius=1.0, feature_radius=5.0, **fields):
    return ufm.Problem(counts, constraint=ufm.LayerPeeled(weight_radius, feature_radius), **fields)


def two_groups(ratio, feature_radius=5.0, features="free"):
    """Ten classes, five of weight 1 and five of weight 1/ratio: the classes of Fang et al. with real imbalance."""
    loss = ufm.CrossEntropy(class_weights=[1.0] * 5 + [1.0 / ratio] * 5)
    return peeled([1] * 10, 1.0, feature_radius, loss=loss, features=features)


# -- recorded digits ------------------------------------------------------------------------------------------------

# 10 classes, E_W = 1, E_H = 5: Newton's method on the symmetry-reduced optimality system in 40-digit arithmetic;
# values are sums over classes (Fang, He, Long, Su, PNAS 118, 2021, state the programme).
RECORDED = [
    (1.0, "5.59781524010397746", -0.1111111111111111, False),
    (2.0, "3.88349620562236331", -0.06728305891167543, False),
    (5.0, "2.26023303850985422", 0.07252741382053909, False),
    (10.0, "1.43922371250347565", 0.5174962815422923, False),
    (20.0, "0.911942884778771666", 1.0, True),
]
MERGE = 12.192447080325935263
"""Ratio at which the minority classifiers merge, from the same computation."""


@pytest.mark.parametrize(("ratio", "value", "cosine", "merged"), RECORDED)
def test_recorded_values(ratio, value, cosine, merged):
    solution = ufm.solve(two_groups(ratio), tolerance=1e-10)
    assert solution.status == "certified"
    exact = Fraction(value) / 10
    assert Fraction(solution.lower_bound) <= exact * (1 + Fraction(1, 10**17))  # the recorded digits end there
    assert Fraction(solution.upper_bound) >= exact * (1 - Fraction(1, 10**17))
    assert solution.value == pytest.approx(float(value) / 10, rel=1e-10)
    assert solution.merged_groups == (((5, 6, 7, 8, 9),) if merged else ())
    # a gap of ε determines angles to √ε
    assert classifier_cosine(solution, 8, 9).value == pytest.approx(cosine, abs=1e-4)
    assert solution.kkt().passed


def excess_norm(ratio, beyond):
    """‖W‖ ‖H‖ − K √(E_W E_H) of the penalised problem whose μ is (1 + beyond) times the minority's share."""
    multiplier = (1.0 + beyond) / ratio / 10
    loss = ufm.CrossEntropy(class_weights=[1.0] * 5 + [1.0 / ratio] * 5)
    penalised = ufm.Problem([1] * 10, multiplier, multiplier, loss=loss, features="free")
    solution = ufm.solve(penalised, solver="factored", tolerance=1e-13)
    return math.hypot(*solution.weight_norms) * math.hypot(*solution.feature_norms) - 10 * math.sqrt(5.0)


def test_the_ratio_at_which_minority_classifiers_merge_to_six_digits():
    """A group merges iff its share is at most μ*, and μ* ≥ μ iff the norms at μ still fill the balls.

    At the threshold itself the lengths of the merging directions are determined to the cube root of the gradient only,
    so the root is taken at multipliers a little beyond it, where they are zero, and continued to 0 by a cubic.
    """
    steps = [0.01, 0.02, 0.03, 0.04]
    spans = [(12.0 * (1.0 + 1.2 * step), 12.4 * (1.0 + 1.4 * step)) for step in steps]
    roots = [brentq(excess_norm, *span, args=(step,), xtol=1e-7) for span, step in zip(spans, steps, strict=True)]
    found = np.polynomial.Polynomial.fit(steps, roots, 3)(0.0)
    assert found == pytest.approx(MERGE, abs=1e-6)
    below, above = (ufm.solve(two_groups(ratio), tolerance=1e-10) for ratio in (12.0, 12.4))
    assert (below.merged_groups, above.merged_groups) == ((), ((5, 6, 7, 8, 9),))
    assert below.multiplier < 1 / 12.0 / 10
    assert above.multiplier > 1 / 12.4 / 10


def vanishing_ratio(feature_radius):
    """Ratio at which minority classifiers vanish; None where they never do (docs/minority_collapse.md, section 4)."""
    delta = 10 * math.sqrt(feature_radius) / 4
    total = math.exp(0.8 * delta) + 4 * math.exp(-0.2 * delta) + 5
    minority, q = 5 / total, 1 - (math.exp(0.8 * delta) - math.exp(-0.2 * delta)) / total
    square = q * q - 2 * minority**2
    return math.sqrt(0.5 / square) if square > 0 else None


def test_the_ratio_at_which_minority_classifiers_vanish():
    threshold = vanishing_ratio(1.0)
    before, after = (ufm.solve(two_groups(threshold * by, 1.0), tolerance=1e-10) for by in (0.97, 1.03))
    assert classifier_cosine(before, 8, 9).value == pytest.approx(1.0, abs=1e-6)
    none = classifier_cosine(after, 8, 9)
    assert none.value is None
    assert "w_8 = 0" in none.reason
    assert classifier_cosine(after, 0, 9).value is None
    assert classifier_cosine(after, 0, 1).value == pytest.approx(-0.25, abs=1e-6)  # a simplex of the majority
    assert vanishing_ratio(5.0) is None
    assert classifier_cosine(ufm.solve(two_groups(1000.0), tolerance=1e-10), 8, 9).value == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(ProblemError, match="class 10"):
        classifier_cosine(after, 0, 10)


# -- against the definition -----------------------------------------------------------------------------------------


def textbook(problem):
    """The optimum of the constrained programme over Z ⪰ 0 as it is written in the paper, by Clarabel."""
    import cvxpy as cp

    K, bounds = problem.num_classes, problem.constraint
    Z = cp.Variable((2 * K, 2 * K), PSD=True)
    L = Z[:K, K:]
    losses = [w * (cp.log_sum_exp(L[:, k]) - L[k, k]) for k, w in enumerate(problem.loss_weights.tolist())]
    limits = [cp.trace(Z[:K, :K]) <= K * bounds.weight_radius, cp.trace(Z[K:, K:]) <= K * bounds.feature_radius]
    if problem.nonnegative:
        limits.append(Z[K:, K:] >= 0)
    programme = cp.Problem(cp.Minimize(cp.sum(losses)), limits)
    return programme.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("counts", [[50, 20, 5], [30, 30, 4, 4]])
def test_the_textbook_programme_has_the_same_optimum(counts, features):
    problem = peeled(counts, 0.7, 3.0, features=features)
    solution = ufm.solve(problem, tolerance=1e-9)
    assert solution.status == "certified"
    assert solution.value == pytest.approx(textbook(problem), rel=2e-7)  # an interior-point solver's own accuracy


def loss_at(problem, W, H):
    logits = W @ H.T
    shifted = logits - logits.max(axis=0)
    return float(problem.loss_weights @ (np.log(np.exp(shifted).sum(axis=0)) - np.diag(shifted)))


@pytest.mark.parametrize("features", FEATURES)
def test_local_search_from_the_definition_ends_at_the_same_value(features):
    """SLSQP on W and H with the two balls as constraints knows no duality and no multiplier."""
    problem, K = peeled([40, 20, 5], 1.5, 2.0, features=features), 3
    bounds = problem.constraint
    solution = ufm.solve(problem, tolerance=1e-9)

    def parts(flat):
        return flat[: K * K].reshape(K, K), flat[K * K :].reshape(K, K)

    def room(flat):
        W, H = parts(flat)
        return np.array([K * bounds.weight_radius - (W * W).sum(), K * bounds.feature_radius - (H * H).sum()])

    ends, generator = [], np.random.default_rng(1)
    for _ in range(4):
        start = np.concatenate([generator.normal(size=K * K), np.abs(generator.normal(size=K * K))])
        limits = [(None, None)] * (K * K) + [(0.0 if problem.nonnegative else None, None)] * (K * K)
        end = minimize(
            lambda flat: loss_at(problem, *parts(flat)),
            start,
            method="SLSQP",
            bounds=limits,
            constraints={"type": "ineq", "fun": room},
            options={"maxiter": 500, "ftol": 1e-13},
        )
        if room(end.x).min() > -1e-9:
            ends.append(end.fun)
    assert min(ends) >= solution.lower_bound - 1e-8
    assert min(ends) == pytest.approx(solution.value, rel=1e-6)


# -- closed forms ---------------------------------------------------------------------------------------------------


def water_filling(problem):
    """Value, μ and margins from the equations of the docs, in 40 digits, by bisection."""
    with mp.workdps(40):
        K, bounds = problem.num_classes, problem.constraint
        loss = problem.loss
        alpha = mp.mpf(loss.smoothing)
        weights = [mp.mpf(w) * int(n) for w, n in zip(loss.weights(K).tolist(), problem.class_counts, strict=True)]
        pt = [w / problem.num_samples for w in weights]
        budget = K * mp.sqrt(mp.mpf(bounds.weight_radius) * mp.mpf(bounds.feature_radius) * K / (K - 1))

        def margins(log_mu):
            price = mp.exp(log_mu) * mp.sqrt(mp.mpf(K) / (K - 1))
            return [mp.log(1 + K * (1 / min(mp.mpf(1), alpha + price / p) - 1)) for p in pt]

        low, high = mp.mpf(-500), mp.log(max(pt))
        for _ in range(160):
            middle = (low + high) / 2
            low, high = (middle, high) if sum(margins(middle)) > budget else (low, middle)
        found = margins(low)
        values = [mp.log(1 + (K - 1) * mp.exp(-M)) + alpha * (K - 1) / K * M for M in found]
        return sum(p * v for p, v in zip(pt, values, strict=True)), mp.exp(low), found


CLOSED = [
    peeled([500, 100, 20, 20]),
    peeled([500, 100, 20, 20], 1e-3, 1e-3),
    peeled([500, 100, 20, 20], 40.0, 90.0),
    peeled([7] * 6, 0.3, 0.2),
    peeled([60, 30, 3], 2.0, 0.5, loss=ufm.CrossEntropy(smoothing=0.1)),
    peeled([60, 30, 3], 2.0, 0.5, loss=ufm.CrossEntropy(class_weights=[0.1, 0.7, 3.3], smoothing=0.05)),
]


@pytest.mark.parametrize("problem", CLOSED, ids=str)
def test_water_filling(problem):
    value, multiplier, margins = water_filling(problem)
    found = theory.optimum(problem)
    assert found.relation is theory.Relation.TIGHT
    assert found.value == pytest.approx(float(value), rel=1e-13)
    assert found.multiplier == pytest.approx(float(multiplier), rel=1e-12)
    np.testing.assert_allclose(found.margins, [float(M) for M in margins], rtol=1e-9, atol=1e-15)
    K, bounds = problem.num_classes, problem.constraint
    assert math.fsum(found.weight_norms**2) == pytest.approx(K * bounds.weight_radius, rel=1e-13)
    assert math.fsum(found.feature_norms**2) == pytest.approx(K * bounds.feature_radius, rel=1e-13)
    solution = ufm.solve(problem, solver="frame", tolerance=1e-9)  # no theorem takes part
    assert solution.status == "certified"
    assert solution.solver == "frame"
    # the closed form is right to a few units in the last place
    assert solution.lower_bound * (1 - 1e-13) <= found.value <= solution.upper_bound * (1 + 1e-13)
    assert solution.collapsed_classes == tuple(np.flatnonzero(found.collapsed))
    np.testing.assert_allclose(solution.margins, found.margins, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(solution.feature_norms, found.feature_norms, rtol=1e-3, atol=1e-6)


def test_balanced_closed_forms():
    E_W, E_H, K = 2.0, 3.0, 6
    frame = theory.optimum(peeled([5] * K, E_W, E_H))
    np.testing.assert_allclose(frame.margins, math.sqrt(E_W * E_H * K / (K - 1)), rtol=1e-13)
    problem = peeled([5] * K, E_W, E_H, features="free")
    simplex = theory.optimum(problem)
    M = K * math.sqrt(E_W * E_H) / (K - 1)
    assert simplex.value == pytest.approx(math.log1p((K - 1) * math.exp(-M)), rel=1e-14)
    solution = ufm.solve(problem, tolerance=1e-10)
    assert solution.lower_bound * (1 - 1e-14) <= simplex.value <= solution.upper_bound * (1 + 1e-14)
    # minus the slope of the value in K √(E_W E_H), by a difference of proved values
    step = 1e-3
    ends = [theory.optimum(peeled([5] * K, E_W, E_H * (1 + by) ** 2, features="free")).value for by in (-step, step)]
    slope = (ends[0] - ends[1]) / (2 * step * K * math.sqrt(E_W * E_H))
    assert simplex.multiplier == pytest.approx(slope, rel=1e-5)  # step²
    assert solution.multiplier == pytest.approx(simplex.multiplier, rel=1e-4)  # √gap


def test_a_dimension_that_is_too_small_leaves_a_lower_bound():
    problem = peeled([9, 8, 7, 6], feature_dim=2)
    bound = theory.bound(problem)
    assert bound.relation is theory.Relation.LOWER
    solution = ufm.solve(problem, tolerance=1e-6)
    assert solution.status == "bounded"
    assert bound.value <= solution.upper_bound
    W, H = solution.factors()
    assert W.shape == (4, 2)
    assert loss_at(problem, W, H) == pytest.approx(solution.upper_bound, rel=1e-12)


def test_theorems_name_what_fails():
    with pytest.raises(HypothesisError, match="penalties, not norm bounds"):
        theory.OrthogonalFrame().optimum(peeled([5, 4, 3]))
    with pytest.raises(HypothesisError, match="loss is cross-entropy"):
        theory.optimum(peeled([5, 5], loss=ufm.MeanSquaredError()))
    with pytest.raises(HypothesisError, match="norm bounds, not penalties"):
        theory.optimum(ufm.Problem([5, 4, 3], 0.1, 0.1, loss=ufm.BinaryCrossEntropy(), features="free", bias="free"))


# -- what is proved -------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 1000), min_size=2, max_size=6),
    radii=st.tuples(st.floats(1e-4, 30.0), st.floats(1e-4, 30.0)),
    shift=st.floats(-6.0, 3.0),
    weighted=st.booleans(),
)
def test_any_multiplier_proves_a_lower_bound(counts, radii, shift, weighted):
    """Weak duality in the multiplier: the bound holds however wrong μ is, and the upper bound likewise."""
    loss = ufm.CrossEntropy(class_weights=[1.0 + 0.1 * k for k in range(len(counts))]) if weighted else None
    problem = peeled(counts, *radii, loss=loss)
    family = PenalisedFamily.of(problem)
    inner = ufm.solve(family.penalised(family.first * math.exp(shift)), solver="frame", tolerance=1e-9)
    evidence = PeeledEvidence.of(family, inner.evidence)
    exact = water_filling(problem)[0]
    lower = family.lower(inner.problem, inner.evidence.lower.exact)
    with mp.workdps(40):
        slack = mp.mpf(10) ** -30  # the reference carries 40 digits
        assert mp.mpf(lower.numerator) / lower.denominator <= exact * (1 + slack)
        assert mp.mpf(evidence.lower.value) <= exact * (1 + slack)
        assert mp.mpf(evidence.upper.value) >= exact * (1 - slack)


def test_class_weights_that_are_no_binary64_numbers_are_rounded_down():
    weights, counts = [0.1, 0.7, 1.3], [3, 7, 11]
    family = PenalisedFamily.of(peeled(counts, loss=ufm.CrossEntropy(class_weights=weights)))
    exact = [Fraction(w) * n / 21 for w, n in zip(weights, counts, strict=True)]
    rounded = [family.scale * Fraction(w) / 3 for w in family.loss.weights(3).tolist()]
    assert all(r <= e for r, e in zip(rounded, exact, strict=True))
    assert any(r < e for r, e in zip(rounded, exact, strict=True))
    assert all(e <= family.excess * r for r, e in zip(rounded, exact, strict=True))
    assert 1 < family.excess < 1 + Fraction(1, 2**51)
    integers = PenalisedFamily.of(peeled([500, 100, 20]))
    assert integers.excess == 1
    shares = [integers.scale * Fraction(w) / 3 for w in integers.loss.weights(3).tolist()]
    assert shares == [Fraction(n, 620) for n in (500, 100, 20)]


def test_the_bound_needs_its_price():
    """Planted: without the price of the balls the penalised optimum is no lower bound."""
    problem = peeled([50, 20, 5])
    family = PenalisedFamily.of(problem)
    inner = ufm.solve(family.penalised(0.5 * family.first), tolerance=1e-9)
    assert float(family.scale * inner.evidence.lower.exact) > theory.optimum(problem).value


@pytest.mark.parametrize("solver", ["frame", "clarabel", "factored"])
@pytest.mark.parametrize("which", [0, 1])
def test_factors_outside_a_ball_bound_nothing(solver, which):
    """A part in 10⁹ outside is outside: the test is exact."""
    problem = peeled([50, 20, 5], features="free" if solver == "factored" else "nonnegative")
    solution = ufm.solve(problem, solver=solver, tolerance=1e-6)
    family, inner = PenalisedFamily.of(problem), solution.evidence.inner
    assert family.upper(inner) is not None
    factors = [1.0, 1.0]
    factors[which] = 1.0 + 1e-9
    outside = inner.rescaled(*factors)
    assert family.upper(outside) is None
    assert loss_at(problem, *outside.factors(None)) < solution.upper_bound  # it would have been a better one


@pytest.mark.parametrize("features", FEATURES)
def test_factors_lie_in_the_balls_and_have_the_proved_loss(features):
    problem = peeled([50, 20, 5, 5], 0.3, 7.0, features=features)
    solution = ufm.solve(problem, tolerance=1e-8)
    W, H = solution.factors()
    squares = [sum(Fraction(entry) ** 2 for entry in M.ravel().tolist()) for M in (W, H)]
    assert squares[0] <= 4 * Fraction(0.3)
    assert squares[1] <= 4 * Fraction(7.0)
    assert loss_at(problem, W, H) == pytest.approx(solution.upper_bound, rel=1e-13)
    assert not problem.nonnegative or H.min() >= 0.0
    np.testing.assert_allclose(W @ W.T, solution.weight_gram, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(W @ H.T, solution.logits, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(H @ H.T, solution.feature_gram, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("features", FEATURES)
def test_factors_of_other_dimensions_are_as_good(features):
    problem = peeled([500, 100, 20, 20], 0.5, 0.5, features=features)
    solution = ufm.solve(problem, tolerance=1e-9)
    for dimension in (solution.rank, 3, 7):
        W, H = solution.factors(dimension)
        assert W.shape == H.shape == (4, dimension)
        for M in (W, H):
            assert sum(Fraction(entry) ** 2 for entry in M.ravel().tolist()) <= 2
        # narrowing descends on the penalised objective; the loss loses no more than the gap left open
        assert loss_at(problem, W, H) <= solution.upper_bound * (1.0 + 1e-9)


def test_square_norms_are_exact():
    matrices = ExactMatrix([[1, 2], [3, 0]], -1), ExactMatrix([[1, 0], [0, 5]], 1)
    witness = FactorWitness(*map(ExactAlike.single, matrices))
    assert square_norms(peeled([1, 1]), witness) == (Fraction(14, 4), Fraction(26 * 4))
    grouped = ufm.solve(peeled([9] * 30 + [2] * 30), solver="clarabel", level="group").evidence.inner
    W, H = grouped.factors(None)
    for exact, matrix in zip(grouped.square_norms(), (W, H), strict=True):
        assert float(exact) == pytest.approx((matrix * matrix).sum(), rel=1e-13)


@pytest.mark.parametrize(
    ("counts", "options"),
    [
        ([50, 20, 5], {}),
        ([50, 20, 5], {"solver": "clarabel", "level": "class"}),
        ([9] * 12 + [2] * 12, {"solver": "clarabel", "level": "group"}),
    ],
)
@pytest.mark.parametrize("features", FEATURES)
def test_the_dual_point_is_feasible_with_the_multiplier(counts, options, features):
    """V and T from the solution, G from the definition in the units of the problem: μ² I − G − T ⪰ 0."""
    problem = peeled(counts, 0.8, 2.5, features=features)
    solution = ufm.solve(problem, tolerance=1e-6, **options)
    assert solution.status == "certified"
    assert options.get("level", solution.level) == solution.level
    K, dual = problem.num_classes, solution.dual
    if hasattr(dual, "strengths"):
        dual = dual.dense(problem)
    elif hasattr(dual, "V"):
        dual = dual.full()
    U = dual.residuals * problem.loss_weights
    R = solution.multiplier**2 * np.eye(K) - U.T @ U - dual.nonnegativity
    scale = solution.multiplier**2
    np.testing.assert_allclose(solution.slack, R, atol=1e-12 * scale)
    assert np.linalg.eigvalsh(R)[0] >= -1e-9 * scale  # repaired up to rounding
    assert dual.nonnegativity.min() >= 0.0
    p = dual.residuals + np.eye(K)
    entropy = -(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=0)
    price = K * math.sqrt(0.8 * 2.5)
    assert problem.loss_weights @ entropy - price * solution.multiplier == pytest.approx(solution.lower_bound, rel=1e-7)


def test_kkt_and_planted_faults():
    problem = peeled([50, 20, 5], features="free")
    solution = ufm.solve(problem, tolerance=1e-9)
    report = solution.kkt()
    assert report.passed
    assert list(report.residuals)[-2:] == ["primal_radius", "complementarity_radius"]
    evidence = solution.evidence
    parts = {name: getattr(evidence, name) for name in ("problem", "run", "point", "dual", "lower", "upper")}
    rest = {"scale": evidence.scale, "idle": evidence.idle}
    for factor, name in ((1.0 + 1e-9, "primal_radius"), (0.999, "complementarity_radius")):
        planted = PeeledEvidence(**parts, **rest, inner=evidence.inner.rescaled(factor, factor))
        assert not planted.report(1e-9)[name].passed
    wrong = ufm.solve(PenalisedFamily.of(problem).penalised(0.02), tolerance=1e-9)
    report = PeeledEvidence.of(PenalisedFamily.of(problem), wrong.evidence).report(1e-9)
    assert not report["stationarity_logits"].passed
    assert not report["duality_gap"].passed


# -- extremes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("product", [1e-8, 1e-4, 1.0, 1e4])
def test_small_and_large_balls(product, features):
    problem = peeled([500, 100, 20, 20], math.sqrt(product), math.sqrt(product), features=features)
    solution = ufm.solve(problem, tolerance=1e-8)
    assert solution.status == "certified"
    assert solution.kkt().passed
    assert 0.0 < solution.lower_bound <= solution.value <= solution.upper_bound
    W, H = solution.factors()
    assert max((W * W).sum(), (H * H).sum()) == pytest.approx(4 * math.sqrt(product), rel=1e-12)


@pytest.mark.parametrize("features", FEATURES)
def test_balls_so_large_that_the_loss_leaves_binary64(features):
    solution = ufm.solve(peeled([5, 3], 1e6, 1e6, features=features))
    assert (solution.lower_bound, solution.upper_bound) == (0.0, 5e-324)
    assert solution.status == "bounded"  # 5e-324 is no share of itself away from 0


def test_the_optimum_depends_on_the_product_alone():
    near, far = peeled([50, 20, 5], 2.0, 3.0), peeled([50, 20, 5], 2e-40, 3e40)
    first, second = (ufm.solve(problem, tolerance=1e-9) for problem in (near, far))
    assert first.value == pytest.approx(second.value, rel=2e-9)
    np.testing.assert_allclose(second.weight_norms, 1e-20 * first.weight_norms, rtol=1e-3)
    assert second.kkt().passed


@pytest.mark.parametrize("features", FEATURES)
def test_smoothing_leaves_large_balls_unused(features):
    """The least smoothed loss is the entropy of the targets, and then no ball has a price."""
    loss = ufm.CrossEntropy(smoothing=0.1)
    problem = peeled([50, 20, 5], 100.0, 100.0, features=features, loss=loss)
    solution = ufm.solve(problem, tolerance=1e-9)
    own, other = 0.9 + 0.1 / 3, 0.1 / 3
    assert solution.value == pytest.approx(-own * math.log(own) - 2 * other * math.log(other), rel=1e-9)
    assert solution.status == "certified"
    assert solution.multiplier == 0.0
    assert solution.kkt().passed
    assert not solution.slack.any()
    W, H = solution.factors()
    assert (W * W).sum() < 300.0
    assert (H * H).sum() < 300.0


@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
def test_a_kink_of_the_penalised_optimum(kind):
    """A hinge loss jumps from L = 0 to L = P at one multiplier; in between the optimum is a share s of P.

    With non-negative features the budget is K s √((K−1)/K) = K √(E_W E_H), and the loss falls linearly in s.
    """
    K, product = 4, 0.09
    solution = ufm.solve(peeled([5] * K, 0.3, 0.3, loss=ufm.MulticlassHinge(kind)), tolerance=1e-8)
    share = math.sqrt(product * K / (K - 1))
    assert solution.status == "certified"
    assert solution.value == pytest.approx((1.0 if kind == "crammer-singer" else K - 1.0) * (1.0 - share), rel=1e-8)


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (ufm.MulticlassHinge(), 0.0),  # margin √6 K/(K−1) > 1: no loss is left
        (ufm.MeanSquaredError(), None),
        (ufm.BinaryCrossEntropy(), None),
        (ufm.LogitAdjustedCrossEntropy(shift=[0.0, 1.0, 2.0, 0.5]), None),
    ],
)
def test_balanced_counts_take_any_loss(loss, value):
    problem = peeled([5] * 4, 0.5 if value is None else 2.0, 1.0 if value is None else 3.0, loss=loss)
    solution = ufm.solve(problem, tolerance=1e-6)
    assert solution.status == "certified"
    if value is not None:
        assert (solution.lower_bound, solution.upper_bound) == (value, value)
        assert solution.kkt().passed
    W, H = solution.factors()
    assert problem.loss_weights @ Full(loss).values(W @ H.T, np.arange(4)) == pytest.approx(
        solution.upper_bound, rel=1e-12
    )


@pytest.mark.slow
def test_a_thousand_classes():
    problem = peeled(np.arange(1, 1001))
    solution = ufm.solve(problem, tolerance=1e-10)
    assert solution.status == "certified"
    assert solution.value == pytest.approx(theory.optimum(problem).value, rel=1e-10)


# -- bad input, refusals --------------------------------------------------------------------------------------------


def test_bad_input_is_named_before_any_work():
    with pytest.raises(HypothesisError, match="class counts differ"):
        ufm.solve(peeled([5, 4, 3], loss=ufm.MeanSquaredError()))
    with pytest.raises(ProblemError, match="ratio is at most"):
        ufm.solve(peeled([5, 4, 3], 1e-80, 1e80))
    with pytest.raises(ProblemError, match="too far apart"):
        ufm.solve(peeled([5, 4, 3], loss=ufm.CrossEntropy(class_weights=[1e200, 1.0, 5e-324])))
    with pytest.raises(ProblemError, match="tolerance"):
        ufm.solve(peeled([5, 4, 3]), tolerance=0.0)
    with pytest.raises(UnknownNameError, match="level 'sample'"):
        ufm.solve(peeled([5, 4, 3]), solver="clarabel", level="sample")


def test_what_has_no_form_for_norm_bounds_refuses_by_name(tmp_path):
    from ufm_convex import enclosure, interchange, plots, testing
    from ufm_convex.positivity import pigeonhole

    problem = peeled([5, 4, 3])
    solution = ufm.solve(problem, tolerance=1e-2)
    candidate = ufm.Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[5, 4, 3])
    refusing = [
        lambda: ufm.certify(problem, candidate),
        lambda: ufm.certify(problem, digits=30),
        lambda: ufm.attribute_gap(problem, candidate),
        lambda: ufm.stability_bounds(problem, 1e-3),
        lambda: ufm.proof_steps(problem, candidate),
        lambda: ufm.cross_check(problem),
        lambda: interchange.export_cbf(problem),
        lambda: interchange.cbf_solution(problem, solution),
        lambda: plots.draw("norms", problem, solution=solution),
        lambda: pigeonhole.pigeonhole_bound(problem),
        lambda: enclosure.lower_bound(problem, solution.dual),
        lambda: enclosure.upper_bound(problem, solution.factors()),
        lambda: testing.assert_optimal(problem, candidate),
        lambda: problem.sigma,
    ]
    for refuse in refusing:
        with pytest.raises(HypothesisError, match="the constraint 'layer-peeled'"):
            refuse()


def test_geometry_measures_what_needs_no_decay():
    problem = peeled([5, 5, 5])
    found = ufm.geometry(problem, ufm.solve(problem, tolerance=1e-10))
    assert found.theorem_self_duality is None
    assert found.grams is None
    assert found.self_duality == pytest.approx(0.0, abs=1e-6)
    assert found.mean_overlap == 0.0


# -- the room of methods --------------------------------------------------------------------------------------------


def test_the_first_method_that_accepts_a_problem_takes_it(monkeypatch):
    """Another way to solve is another entry of the list: the loop names none."""

    class Halved(methods.Direct):
        name = "halved"

        @classmethod
        def accepts(cls, problem):
            return isinstance(problem, ufm.Problem) and problem.lambda_w == 0.5

        def evidence(self, problem, settings, tell):
            tell("asked")
            found = settings.inner(ufm.Problem(problem.class_counts, 0.01, 0.01), tolerance=settings.tolerance)
            yield methods.Finding(found.evidence, "halved", (found.value,))

    assert solving.method_of(ufm.Problem([5, 4], 0.1, 0.1)).name == "direct"
    assert solving.method_of(peeled([5, 4])).name == "layer-peeled"
    monkeypatch.setattr(solving, "METHODS", (Halved(), *solving.METHODS))
    said = []
    solution = solving.solve(ufm.Problem([5, 4], 0.5, 0.5), solver="frame", progress=said.append)
    assert said == ["asked", "halved"]
    assert solution.problem.lambda_w == 0.01
    assert solution.solver == "frame"


def test_an_interrupted_search_keeps_its_best(monkeypatch):
    genuine, calls = solving.Direct.evidence, []

    def counted(self, problem, settings, tell):
        calls.append(problem)
        if len(calls) == 3:
            raise KeyboardInterrupt
        yield from genuine(self, problem, settings, tell)

    monkeypatch.setattr(solving.Direct, "evidence", counted)
    solution = solving.solve(peeled([50, 20, 5]), tolerance=1e-9)
    assert solution.status == "bounded"
    assert solution.interrupted
    exact = theory.optimum(solution.problem).value
    assert solution.lower_bound <= exact <= solution.upper_bound
    calls[:] = [None, None]
    with pytest.raises(KeyboardInterrupt):
        solving.solve(peeled([50, 20, 5]), tolerance=1e-9)


def test_ctrl_c_that_the_inner_solve_took_ends_the_search(monkeypatch):
    genuine, calls = solving.Direct.evidence, []

    def pressed(self, problem, settings, tell):
        calls.append(problem)
        found = next(genuine(self, problem, settings, tell))
        lower = found.evidence.lower  # a looser one, so that another run is wanted
        lower = replace(lower, value=0.9 * lower.value, exact=lower.exact * Fraction(9, 10))
        yield replace(found, evidence=replace(found.evidence, lower=lower))
        raise KeyboardInterrupt

    monkeypatch.setattr(solving.Direct, "evidence", pressed)
    once = solving.solve(peeled([50, 20, 5]), solver="scs", tolerance=1e-15)
    assert once.interrupted
    assert len(calls) == 1


# -- the command line -----------------------------------------------------------------------------------------------

ARGUMENTS = ["solve", "--class-counts", "500,100,20", "--constraint", "layer-peeled:weight_radius=1,feature_radius=5"]


def test_command_line_table():
    result = CliRunner().invoke(application(), ARGUMENTS, env={"COLUMNS": "100"})
    assert result.exit_code == 0
    assert "layer-peeled: weight_radius = 1, feature_radius = 5" in result.stdout
    assert "multiplier" in result.stdout
    assert "λ_W" not in result.stdout


def test_command_line_json():
    result = CliRunner().invoke(application(), [*ARGUMENTS, "--json", "--features", "free"])
    record = json.loads(result.stdout)
    assert result.exit_code == 0
    assert record["status"] == "certified"
    assert record["multiplier"] > 0.0
    assert record["kkt"]["primal_radius"] == 0.0
    assert record["theory"]["relation"] == "upper"
    plain = ["solve", "--class-counts", "500,100,20", "--lambda-w", "5e-3", "--lambda-h", "5e-3", "--json"]
    assert json.loads(CliRunner().invoke(application(), plain).stdout)["multiplier"] is None


def test_command_line_writes_a_certificate_that_is_verified(tmp_path):
    path = str(tmp_path / "c.json")
    assert CliRunner().invoke(application(), [*ARGUMENTS, "-o", path]).exit_code == 0
    assert CliRunner().invoke(application(), ["verify", path]).exit_code == 0
    result = CliRunner().invoke(application(), ["certify", *ARGUMENTS[1:], "-o", path])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(application(), ["verify", path]).exit_code == 0


@pytest.mark.parametrize(("K", "dims"), [(2, (0, 1, None)), (5, (3, 4, None))])
def test_the_peeled_simplex_needs_one_dimension_less_than_classes(K, dims):
    small, enough, any_ = dims
    relation = theory.Relation
    if small:
        assert theory.bound(peeled([5] * K, features="free", feature_dim=small)).relation is relation.LOWER
    for d in (enough, any_):
        assert theory.optimum(peeled([5] * K, features="free", feature_dim=d)).relation is relation.TIGHT


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("radii", [(2.0, 3.0), (0.3, 7.0), (90.0, 40.0)])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_balanced_norms_have_the_margins_that_they_pay_for(features, radii, smoothing):
    """Rows and means of a simplex or a frame: products of lengths give the logits, and neither ball is overdrawn.

    A simplex has cosine −1/(K−1) between its corners, so M = ‖w‖‖h‖ K/(K−1); a frame has rows ω (e_k − 1/K) of
    length ω √((K−1)/K) and M = ω ‖h‖. With smoothing the loss is least at M = log(1 + K (1/α − 1)): margins stop there.
    """
    K = 6
    found = theory.optimum(peeled([5] * K, *radii, features=features, loss=ufm.CrossEntropy(smoothing=smoothing)))
    products = found.weight_norms * found.feature_norms
    factor = K / (K - 1) if features == "free" else math.sqrt(K / (K - 1))
    np.testing.assert_allclose(found.margins, products * factor, rtol=1e-13)
    assert (found.weight_norms**2 <= radii[0] * (1 + 1e-13)).all()
    assert (found.feature_norms**2 <= radii[1] * (1 + 1e-13)).all()
    longest = math.log1p(K * (1 / smoothing - 1)) if smoothing else math.inf
    budget = math.sqrt(radii[0] * radii[1]) * factor
    np.testing.assert_allclose(found.margins, min(budget, longest), rtol=1e-12)
    assert (found.multiplier == 0.0) == (budget >= longest)
    if budget < longest:  # the balls are used up
        np.testing.assert_allclose(found.weight_norms**2, radii[0], rtol=1e-13)
        np.testing.assert_allclose(found.feature_norms**2, radii[1], rtol=1e-13)


@pytest.mark.parametrize(("d", "tight"), [(2, False), (3, True), (4, True), (5, True)])
def test_the_peeled_frame_needs_a_dimension_for_every_active_class(d, tight):
    """Radii so small that the last of four classes is given up."""
    problem = peeled([500, 400, 300, 1], 2.0, 2.0, feature_dim=d)
    margins = water_filling(peeled([500, 400, 300, 1], 2.0, 2.0))[2]
    assert [M > 0 for M in margins] == [True, True, True, False]
    found = theory.bound(problem)
    assert (found.relation is theory.Relation.TIGHT) == tight


def test_without_smoothing_any_radii_leave_a_multiplier_and_with_it_large_ones_none():
    """The loss falls for ever without smoothing; with it, beyond its least value a larger ball is worth nothing."""
    plain = theory.optimum(peeled([50, 20, 3], 40.0, 40.0))
    multiplier = water_filling(peeled([50, 20, 3], 40.0, 40.0))[1]
    assert plain.multiplier == pytest.approx(float(multiplier), rel=1e-10)
    assert plain.multiplier > 0.0
    smooth = theory.optimum(peeled([50, 20, 3], 1e4, 1e4, loss=ufm.CrossEntropy(smoothing=0.25)))
    assert smooth.multiplier == 0.0
    np.testing.assert_allclose(smooth.margins, math.log1p(3 * 3.0), rtol=1e-14)

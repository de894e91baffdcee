"""Group level: its maps, programme, repair, report and proofs are the class-level ones, and K is no obstacle."""

import tracemalloc
from dataclasses import replace

import full_arrays
import numpy as np
import pytest
from full_columns import Full
from hypothesis import given, settings
from hypothesis import strategies as st
from test_groups import all_entries, grouped, random_invariant

from ufm_convex import duality, enclosure, recovery, relaxation, theory
from ufm_convex.certificate import certify
from ufm_convex.errors import DimensionError, HypothesisError, SizeError
from ufm_convex.losses import CrossEntropy, Loss
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import NoBias, PenalisedBias
from ufm_convex.relaxation import (
    Alike,
    Dual,
    DualPoint,
    Factors,
    FramePoint,
    Gram,
    GramPoint,
    Maps,
    of_classes,
    of_groups,
)
from ufm_convex.solution import Status
from ufm_convex.solving import solve
from ufm_convex.verifier import Verdict, verify

GROUP = relaxation.level("group")


def random_blocks(rng, K):
    """A triple (A, L, B) with symmetric A and B."""
    A, L, B = rng.normal(size=(3, K, K))
    return GramPoint(A + A.T, L, B + B.T)


def random_point(rng, columns, nonnegative=True):
    """Factors and their group-level point."""
    W, H = random_invariant(rng, columns), random_invariant(rng, columns)
    factors = Factors(W, H.map(np.abs) if nonnegative else H)
    return factors, factors.gram()


def random_dual(rng, columns, scale=1.0):
    """Residuals of random logits and a random T of any sign."""
    V = columns.residuals(scale * random_invariant(rng, columns))
    T = random_invariant(rng, columns)
    return Dual(V, T + T.T)


def group_lower_bound(problem, dual):
    """The bound from a point on the orbits of the classes."""
    return enclosure.lower_bound(problem, dual, proof="group")


def group_upper_bound(problem, factors):
    """The bound from factors on the orbits of the classes."""
    return enclosure.upper_bound(problem, factors)


def slack_of(columns, dual):
    return relaxation.scaled_slack(columns, dual).eigenvalues().min()


def same_sorts(first, second):
    """<Z, S> of two points on orbits that were made apart."""
    return dense_inner(first.full(), second.full())


def maps_of(problem):
    """From class level to group level, and back: points of class level as full arrays."""
    return Maps(of_classes(problem), of_groups(problem))


def lift(problem, point):
    return maps_of(problem).refine(point).full()


def restrict(problem, point):
    maps = maps_of(problem)
    return maps.coarsen(Gram.mean(maps.fine, point))


def lift_dual(problem, blocks):
    return maps_of(problem).refine_dual(blocks).full()


def restrict_dual(problem, blocks):
    maps = maps_of(problem)
    return maps.coarsen_dual(Gram.mean(maps.fine, blocks))


def dense_inner(first, second):
    """<(A, L, B), (S_A, S_L, S_B)> = <A, S_A> + 2 <L, S_L> + <B, S_B>."""
    pairs = ((first.weight_gram, second.weight_gram), (first.feature_gram, second.feature_gram))
    return sum((a * b).sum() for a, b in pairs) + 2.0 * (first.logits * second.logits).sum()


# -- maps -----------------------------------------------------------------------------------------------------------


@given(grouped(), st.integers(0, 10**6))
def test_lift_and_restrict_are_adjoint_for_primal_and_dual(problem, seed):
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    compressed = Gram(*(random_invariant(rng, columns) for _ in range(3)))
    blocks = random_blocks(rng, problem.num_classes)
    # sums of K² <= 256 products of numbers of order one
    lifted = dense_inner(lift(problem, compressed), blocks)
    assert lifted == pytest.approx(same_sorts(restrict_dual(problem, blocks), compressed), abs=1e-10)
    restricted = same_sorts(restrict(problem, blocks), compressed)
    assert restricted == pytest.approx(dense_inner(blocks, lift_dual(problem, compressed)), abs=1e-10)
    back = restrict(problem, lift(problem, compressed)).full().matrix() - compressed.full().matrix()
    assert (back**2).sum() < 1e-20


@given(grouped(), st.integers(0, 10**6))
def test_lift_keeps_and_restrict_never_raises_the_objective(problem, seed):
    rng = np.random.default_rng(seed)
    dense, columns = of_classes(problem), of_groups(problem)
    _, point = random_point(rng, columns)
    assert full_arrays.objective(dense, lift(problem, point)) == pytest.approx(
        relaxation.objective(columns, point), rel=1e-12
    )
    K = problem.num_classes
    high = GramPoint.from_factors(rng.normal(size=(K, 3)), rng.random((K, 3)))
    low = relaxation.objective(columns, restrict(problem, high))
    assert low <= full_arrays.objective(dense, high) * (1 + 1e-12)
    V = dense.loss.residuals(rng.normal(size=(K, K)), dense.layout)
    maps = maps_of(problem)
    mean = maps.coarsen_point(Dual.mean(maps.fine, DualPoint(V, np.zeros((K, K)))))
    before = full_arrays.dual_value(dense, DualPoint(V, np.zeros((K, K))))
    assert relaxation.dual_value(columns, mean.V) >= before * (1 - 1e-12)


@given(grouped(), st.integers(0, 10**6))
def test_restrict_keeps_feasibility(problem, seed):
    rng, K = np.random.default_rng(seed), problem.num_classes
    point = restrict(problem, GramPoint.from_factors(rng.normal(size=(K, 2)), rng.random((K, 2))))
    assert all_entries(point.B).min() >= 0.0
    assert point.least_eigenvalue() >= -1e-12
    assert point.least_eigenvalue() == pytest.approx(np.linalg.eigvalsh(point.full().matrix())[0], abs=1e-11)


# -- identity, report, repair, bounds: equal to class level ------------------------------------------------------------


@given(grouped(), st.integers(0, 10**6))
def test_group_terms_are_the_dense_terms(problem, seed):
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    factors, point = random_point(rng, columns)
    dual = random_dual(rng, columns)
    found = relaxation.terms(columns, point, dual)
    dense = full_arrays.terms(of_classes(problem), point.full(), dual.full())
    for name in ("dual_value", "calibration", "alignment", "nonnegativity", "slack"):
        # sums of products of numbers of order 100 at most
        assert getattr(found, name) == pytest.approx(getattr(dense, name), rel=1e-10, abs=1e-10), name
    assert found.objective == pytest.approx(relaxation.objective(columns, factors), rel=1e-9)


@given(
    grouped(),
    st.integers(0, 10**6),
    st.sampled_from(["nonnegative", "free"]),
    st.booleans(),
    st.sampled_from([None, "free", 0.05]),
)
def test_the_group_report_is_the_dense_report(problem, seed, features, with_blocks, bias):
    problem = Problem(problem.class_counts, 0.02, 0.03, loss=problem.loss, features=features, bias=bias)
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    factors, point = random_point(rng, columns, nonnegative=False)
    if bias is not None:
        point = replace(point, bias=rng.normal(size=columns.outputs.size))
    dual = random_dual(rng, columns)
    if with_blocks:
        S_A, S_B = (random_invariant(rng, columns) for _ in range(2))
        dual = replace(dual, S_A=S_A + S_A.T, S_B=S_B + S_B.T)
    factors = replace(factors, W=1.1 * factors.W)
    found = duality.report(columns, point, dual, factors, 1e-6)
    pair = factors.W.full(), factors.H.full()
    dense = full_arrays.report(of_classes(problem), point.full(), dual.full(), pair, 1e-6)
    for condition in dense:
        residual = found[condition.name].residual
        assert residual == pytest.approx(condition.residual, rel=1e-8, abs=1e-10), condition.name


@given(grouped(), st.integers(0, 10**6), st.sampled_from(["nonnegative", "free"]), st.floats(0.1, 30.0))
def test_repaired_points_are_feasible_and_below_every_objective(problem, seed, features, scale):
    problem = Problem(problem.class_counts, 0.02, 0.03, loss=problem.loss, features=features)
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    dual, value = duality.repair(columns, [random_dual(rng, columns, scale)])
    dense = dual.full()
    slack = np.linalg.eigvalsh(full_arrays.scaled_slack(of_classes(problem), dense))[0]
    assert slack > -1e-12
    assert (dense.nonnegativity >= 0.0).all()
    assert problem.nonnegative or not dense.nonnegativity.any()
    assert Full(problem.loss).violation(dense.residuals, np.arange(problem.num_classes)) < 1e-12
    assert value == pytest.approx(full_arrays.dual_value(of_classes(problem), dense), rel=1e-12)
    factors, _ = random_point(rng, columns, problem.nonnegative)
    assert value <= relaxation.objective(columns, factors) * (1 + 1e-12)


def test_rubbish_is_repaired_to_a_valid_bound():
    columns = of_groups(Problem([5, 5, 5, 3], 0.01, 0.01))
    sort = columns.columns
    nan = Alike.matrix(sort, sort, np.full((2, 2), np.nan))
    huge = 1e300 * Alike.diagonal(sort, np.ones(2))
    for candidates in ([], [Dual(nan, nan)], [Dual(huge, huge)]):
        dual, value = duality.repair(columns, candidates)
        assert 0.0 <= value <= np.log(4.0)
        assert slack_of(columns, dual) > -1e-12


@settings(max_examples=30)
@given(grouped(max_groups=3, max_size=3), st.integers(0, 10**6), st.sampled_from(["nonnegative", "free"]))
def test_proved_bounds_are_those_of_the_dense_points(problem, seed, features):
    problem = Problem(problem.class_counts, 0.02, 0.03, loss=problem.loss, features=features)
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    factors, point = random_point(rng, columns, problem.nonnegative)
    upper = group_upper_bound(problem, recovery.summary(columns, factors, point).factors)
    exact = enclosure.upper_bound(problem, (factors.W.full(), factors.H.full())).value
    assert upper.value == pytest.approx(exact, rel=1e-13)  # there W and H are rounded to 52 bits first
    dual, value = duality.repair(columns, [random_dual(rng, columns)])
    lower = group_lower_bound(problem, dual)
    assert lower.proof == ("group" if (columns.columns.places > 1).any() else "dense")  # no two classes alike
    assert value * (1 - 1e-9) <= lower.value <= value * (1 + 1e-12)


def test_an_infeasible_dual_point_is_shrunk_or_refused_never_believed():
    problem = Problem([50, 50, 50, 8, 8], 0.01, 0.01)
    columns, optimum = of_groups(problem), theory.optimum(problem)
    solution = solve(problem, solver="clarabel", level="group")
    for factor in (1.0 + 1e-9, 1.01, 3.0):
        dual = replace(solution.dual, V=factor * solution.dual.V)
        assert slack_of(columns, Dual.mean(columns, dual.full())) < 0.0
        assert group_lower_bound(problem, dual).value <= optimum.value
    nan = replace(solution.dual, V=float("nan") * solution.dual.V)
    assert group_lower_bound(problem, nan).proof == "trivial"


def test_inadmissible_factors_bound_nothing():
    problem = Problem([50, 50, 8, 8], 0.01, 0.01, feature_dim=2)
    columns = of_groups(problem)
    found = solve(Problem([50, 50, 8, 8], 0.01, 0.01), solver="clarabel", level="group").evidence.recovered.factors
    assert group_upper_bound(problem, found).value == np.inf  # four coordinates
    wide = Problem([50, 50, 8, 8], 0.01, 0.01)
    assert group_upper_bound(wide, found).value < np.inf
    for broken in (-1.0 * found.H, float("nan") * found.H):
        assert group_upper_bound(wide, replace(found, H=broken)).value == np.inf
    assert columns.nonnegative


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("start", ["nothing", "noise"])
def test_descent_leaves_saddles(features, start):
    """W = H = 0 is stationary, and so is every point with whole groups at zero; neither is where it ends."""
    problem = Problem(STEP, 0.004, 0.006, features=features)
    columns = of_groups(problem)
    zero = Alike.zeros(columns.outputs, columns.columns)
    point = Gram(zero, zero, zero)
    if start == "noise":
        _, point = random_point(np.random.default_rng(1), columns, problem.nonnegative)
    best = min(found.objective for found in recovery.recoveries(columns, point))
    assert best == pytest.approx(certified(problem).value, rel=1e-7)


# -- the programme ----------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.integers(5, 300), st.integers(1, 4)), min_size=1, max_size=3).filter(
        lambda groups: 1 < sum(size for _, size in groups) < 8
    ),
    st.sampled_from(["nonnegative", "free"]),
    st.sampled_from([CrossEntropy(), CrossEntropy(smoothing=0.1)]),
    st.floats(-3.5, -1.0),
)
def test_group_and_class_level_have_one_optimum_and_one_dual(groups, features, loss, exponent):
    counts = [count for count, size in groups for _ in range(size)]
    problem = Problem(counts, 10.0**exponent, 0.02, features=features, loss=loss)
    programmes = [relaxation.programme(relaxation.level(name)(problem)) for name in ("class", "group")]
    for programme in programmes:
        programme.problem.solve(solver="CLARABEL")
    dense, compressed = programmes
    values = [programme.problem.value * programme.objective_scale for programme in programmes]
    assert values[0] == pytest.approx(values[1], rel=1e-6)  # both solved to 1e-8 of an objective of order one
    point, dual = compressed.primal(), compressed.dual()
    columns = compressed.columns
    assert relaxation.objective(columns, point) == pytest.approx(values[1], rel=1e-6)
    assert compressed.dual_value(dual) == pytest.approx(values[1], rel=1e-4)
    # residuals are unique, T only where the dual is; both to the square root of the value's accuracy
    np.testing.assert_allclose(dual.V.full(), dense.dual().V.full(), atol=2e-3)
    np.testing.assert_allclose(
        dual.S_A.full(), 0.5 * problem.lambda_w * np.eye(len(counts)), atol=1e-4 * problem.lambda_w
    )
    sort = columns.columns
    target = 0.5 * Alike.diagonal(sort, np.ones(sort.size))
    if problem.nonnegative:
        target = target - 0.5 * dual.T.scaled(1.0 / columns.sigma, 1.0 / columns.sigma)
    root = np.sqrt(columns.lambda_h * columns.feature_weights)
    stray = (dual.S_B.scaled(1.0 / root, 1.0 / root) - target).map(np.abs)
    # the multiplier of a diagonal entry B_gg >= β_g puts T on off-diagonal entries only, so both agree
    assert all_entries(stray).max() < 1e-3


def test_a_loss_without_reduced_columns_is_refused_by_name():
    class Bare(Loss):
        name = "bare"

    Bare.__abstractmethods__ = frozenset()
    problem = Problem([5, 5], 0.1, 0.1)
    object.__setattr__(problem, "loss", Bare())
    with pytest.raises(HypothesisError, match="'bare'"):
        GROUP(problem)


def test_too_many_groups_are_refused_before_building():
    with pytest.raises(SizeError, match="order 802"):
        GROUP.check_size(Problem(np.arange(1, 402), 0.1, 0.1))


# -- solving ----------------------------------------------------------------------------------------------------------

STEP = np.repeat([400, 60, 9], [3, 4, 5])


def certified(problem, solver="clarabel", tolerance=1e-7):
    solution = solve(problem, solver=solver, level="group", tolerance=tolerance)
    assert solution.status is Status.CERTIFIED, solution.route
    assert solution.kkt().passed, solution.kkt().worst
    assert solution.level == "group"
    assert isinstance(solution.point, Gram)
    return solution


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(smoothing=0.1), CrossEntropy(tuple(9.0 / STEP))])
def test_the_theorem_is_reproduced_at_group_level(solver, loss):
    problem = Problem(STEP, 0.004, 0.006, loss=loss)
    solution, expected = certified(problem, solver), theory.optimum(problem)
    assert solution.lower_bound * (1 - 1e-14) <= expected.value <= solution.upper_bound * (1 + 1e-14)
    for found, exact in (
        (solution.weight_gram, expected.weight_gram()),
        (solution.logits, expected.logits()),
        (solution.feature_gram, expected.feature_gram()),
    ):
        np.testing.assert_allclose(found, exact, atol=1e-2 * max(np.abs(exact).max(), 1e-12))  # √1e-7 times 30
    np.testing.assert_allclose(solution.margins, expected.margins, atol=1e-2)
    np.testing.assert_allclose(solution.feature_norms, expected.feature_norms, atol=1e-2)
    assert solution.collapsed_classes == tuple(np.flatnonzero(expected.collapsed))
    assert solution.rank == expected.num_active


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("solver", ["clarabel", "scs"])
def test_group_and_class_level_solves_agree(features, solver):
    problem = Problem(STEP, 0.004, 0.006, features=features)
    group, classes = certified(problem, solver), solve(problem, solver=solver, level="class", tolerance=1e-7)
    assert group.lower_bound <= classes.upper_bound
    assert classes.lower_bound <= group.upper_bound
    np.testing.assert_allclose(group.logits, classes.logits, atol=1e-2)
    np.testing.assert_allclose(group.weight_norms, classes.weight_norms, rtol=1e-2, atol=1e-2)
    assert group.collapsed_classes == classes.collapsed_classes


@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_factors_attain_the_upper_bound_in_every_dimension_that_suffices(features):
    problem = Problem(STEP, 0.004, 0.006, features=features)
    solution = certified(problem)
    columns = of_classes(problem)
    for d in (None, solution.rank, problem.num_classes, 20):
        W, H = solution.factors(d)
        assert W.shape == H.shape == (problem.num_classes, d or problem.num_classes)
        assert features == "free" or (H >= 0.0).all()
        assert full_arrays.factored_objective(columns, W, H) <= solution.upper_bound * (1 + 1e-9)
    with pytest.raises(DimensionError, match=f"feature_dim={solution.rank}"):
        solution.factors(solution.rank - 1)


@pytest.mark.parametrize(("features", "d"), [("nonnegative", 5), ("free", 5), ("free", 11), ("nonnegative", 12)])
def test_a_small_dimension_gives_an_honest_bound(features, d):
    problem = Problem(STEP, 0.004, 0.006, features=features, feature_dim=d)
    wide = certified(Problem(STEP, 0.004, 0.006, features=features))
    solution = solve(problem, solver="clarabel", level="group")
    assert solution.lower_bound <= wide.upper_bound
    assert (solution.status is Status.CERTIFIED) == (wide.rank <= d)
    W, H = solution.factors()
    assert W.shape == H.shape == (STEP.size, d)
    found = full_arrays.factored_objective(of_classes(problem), W, H)
    assert found == pytest.approx(solution.upper_bound, rel=1e-9)


@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_many_classes_in_few_dimensions_lose_whole_groups(features):
    problem = Problem(np.repeat([400, 60, 9], 200), 1e-6, 1e-6, features=features, feature_dim=450)
    solution = solve(problem, solver="clarabel", level="group")
    assert solution.status is Status.BOUNDED
    assert solution.lower_bound < solution.upper_bound < np.log(600.0)
    assert (solution.evidence.recovered.factors.H.column_squares() > 0.0).sum() == 2


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("decay", [1e-9, 1e-6, 1e-3, 1.0])
def test_any_decay_and_any_number_of_classes(solver, features, decay):
    """From two classes to a million; all three regimes: no class, some and all collapsed."""
    for counts in (
        [7, 7],
        [500, 3],
        np.repeat([5000, 300, 20], [30, 3, 1]),
        np.repeat([1300, 700, 150, 30, 4], 200_000),
    ):
        solution = certified(Problem(counts, decay, decay, features=features), solver)
        if features == "nonnegative":
            value = theory.optimum(solution.problem).value
            assert solution.lower_bound * (1 - 1e-13) <= value <= solution.upper_bound * (1 + 1e-13)


def test_a_bias_is_paid_for_by_a_group_level_point(monkeypatch):
    """Planted fault: without its part of the dual value the bound would be one of the problem without a bias."""
    # of a much smaller λ_b the price of the sums would leave less than V = 0 proves, which is then what is reported
    plain, biased = (Problem([50, 50, 7, 7], 0.01, 0.01, bias=bias) for bias in (None, 0.03))
    dual, truth = solve(plain, solver="clarabel", level="group").dual, solve(biased).upper_bound
    assert truth < 0.99 * solve(plain).lower_bound
    bound = group_lower_bound(biased, dual)
    assert bound.proof == "group"
    assert bound.value <= truth
    monkeypatch.setattr(PenalisedBias, "enclose_support", NoBias.enclose_support)
    assert group_lower_bound(biased, dual).value > truth


@pytest.mark.parametrize("bias", ["free", 0.1])
def test_a_bias_takes_its_part_of_the_bound_of_a_group_level_point(bias):
    """Planted fault: without its part of the dual value the bound would be one of the problem without a bias."""
    plain, biased = (Problem([50, 50, 7, 7], 0.01, 0.01, bias=one) for one in (None, bias))
    dual = solve(plain, solver="clarabel", level="group").dual
    best = solve(biased, solver="clarabel", level="group")
    assert best.status is Status.CERTIFIED
    assert group_lower_bound(plain, dual).value > best.upper_bound > group_lower_bound(biased, dual).value
    assert group_lower_bound(biased, best.dual).value == best.lower_bound


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", ["free", 0.02])
def test_a_bias_goes_through_orbits(features, bias):
    """1000 classes in two groups: small entries of B between them are one large direction, which recovery must see."""
    problem = Problem(np.repeat([50, 8], 500), 1e-5, 1e-5, features=features, bias=bias)
    solution = certified(problem, tolerance=1e-6)
    W, H = solution.factors()
    value = full_arrays.factored_objective(of_classes(problem), W, H, solution.bias)
    assert value == pytest.approx(solution.upper_bound, rel=1e-11)  # a million logits summed in another order
    assert solution.bias.shape == (1000,)
    assert len(set(solution.bias.tolist())) == 2
    np.testing.assert_allclose(W @ H.T + solution.bias[:, None], solution.logits, atol=1e-10)


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", ["free", 0.02])
def test_a_certificate_of_a_bias_through_orbits_is_proved(tmp_path, features, bias):
    problem = Problem(np.repeat([50, 8], 10), 1e-3, 1e-3, features=features, bias=bias)
    certify(problem, solution=solve(problem, level="group")).save(tmp_path / "c.json")
    assert verify((tmp_path / "c.json").read_bytes()).verdict is Verdict.PROVED


@pytest.mark.parametrize("tolerance", [1e-6, 1e-14])
def test_what_is_reported_together_belongs_together(tolerance):
    """A tolerance that binary64 cannot reach leaves the logits those of the factors, and the value near their bound."""
    decay = 0.0010578878384767105
    problem = Problem(np.repeat([5000, 4000, 3000], [3, 3, 4]), decay, decay, bias=0.02, features="free")
    solution = solve(problem, tolerance=tolerance)
    W, H = solution.factors()
    np.testing.assert_allclose(W @ H.T + solution.bias[:, None], solution.logits, atol=1e-10)
    assert solution.kkt().passed, solution.kkt().worst
    assert solution.upper_bound - solution.value <= 1e-12 * solution.value or solution.status is Status.CERTIFIED


def test_a_million_classes_stay_compressed():
    problem = Problem(np.repeat([5000, 1200, 300, 40, 3], 200_000), 1e-8, 1e-8, features="free")
    tracemalloc.start()
    solution = certified(problem)
    merged = solution.merged_groups
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6  # a few dozen vectors of a million numbers; one K × K array is 8e12 bytes
    assert solution.margins.shape == solution.feature_norms.shape == solution.weight_norms.shape == (10**6,)
    # N² λ_W λ_H = 171: the classes of 40 and of 3 samples, each a block of 200,000
    assert [(group[0], group[-1], len(group)) for group in merged] == [
        (600_000, 799_999, 200_000),
        (800_000, 999_999, 200_000),
    ]
    assert solution.solver_kkt() is not None
    for name in ("weight_gram", "logits", "feature_gram"):
        with pytest.raises(SizeError, match="even and extra"):
            getattr(solution, name)
    with pytest.raises(SizeError):
        solution.factors()


def test_class_level_matrices_come_on_demand():
    solution = certified(Problem(np.repeat([90, 7], 600), 1e-5, 1e-5))
    logits = solution.logits
    assert logits.shape == (1200, 1200)
    own = np.diag(logits)
    others = (logits - np.diag(np.full(1200, np.inf))).max(axis=0)
    np.testing.assert_allclose(own - others, solution.margins, atol=1e-12)
    np.testing.assert_allclose(np.sqrt(np.diag(solution.weight_gram)), solution.weight_norms, rtol=1e-12)
    assert isinstance(solution.dual.full(), DualPoint)


def test_the_theorem_is_not_consulted(monkeypatch):
    def spring(*_args, **_kwargs):
        raise AssertionError("the closed form was asked for")

    for name in ("optimum", "bound", "find", "theorems"):
        monkeypatch.setattr(theory, name, spring)
    certified(Problem(STEP, 0.004, 0.006))


@pytest.mark.parametrize(("sizes", "level"), [([30, 30], "group"), ([1] * 60, "class"), ([3, 3], "class")])
def test_conic_solvers_take_groups_where_they_are_few(sizes, level):
    counts = np.repeat(np.arange(100, 100 + len(sizes)), sizes)
    assert solve(Problem(counts, 1e-3, 1e-3, features="free"), solver="scs").level == level


def test_auto_prefers_few_groups_to_methods_that_grow_with_the_classes():
    problem = Problem(np.repeat([500, 40], 300), 1e-5, 1e-5, features="free")
    solution = solve(problem)
    assert (solution.solver, solution.level, solution.status) == ("clarabel", "group", Status.CERTIFIED)
    assert "group level" in solution.route[0]
    many = Problem(np.repeat(np.arange(100, 130), 20), 1e-5, 1e-5, features="free")
    assert solve(many, level="group").solver == "scs"


def test_a_failed_run_leaves_trivial_bounds_at_any_size(monkeypatch):
    from ufm_convex import solvers

    monkeypatch.setattr(solvers.available()["clarabel"], "schedule", lambda self, level: iter([(1e-8, {"no": 1})]))
    problem = Problem(np.repeat([50, 3], 20_000), 1e-6, 1e-6)
    solution = solve(problem, solver="clarabel", level="group")
    assert solution.status is Status.FAILED
    assert solution.lower_bound == 0.0
    assert solution.upper_bound == pytest.approx(np.log(40_000.0), rel=1e-14)
    assert isinstance(solution.point, FramePoint)

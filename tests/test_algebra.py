"""One algebra for every level: orbits, alike matrices, points and the identity, against full arrays.

Expected values come from NumPy on full arrays and from ``naive_dense``, which imports nothing of the package. Sums here
have at most 400 terms of order one: 1e-13 of their size is their rounding.
"""

import numpy as np
import pytest
from algebra_cases import ALIKE, BIASES, LOSSES, Given, random_alike
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex.losses import CrossEntropy, SoftTargetCrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import LEVELS, GramPoint, identity, making
from ufm_convex.relaxation.alike import Alike, entry_numbers
from ufm_convex.relaxation.orbits import Orbits
from ufm_convex.relaxation.points import Dual, Factors, Gram

COUNTS = [4, 2, 4, 2, 4, 0, 7, 0]  # two alike, two empty, one single; shuffled
FULL = [4, 2, 4, 2, 4, 3, 7, 3]


# -- matrices ---------------------------------------------------------------------------------------------------------


@st.composite
def sorts(draw):
    """Two sorts under one symmetry: any orbits, with copies, in any order, of larger arrays."""
    symmetry = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    made = []
    for _ in range(2):
        kinds = draw(st.lists(st.integers(0, len(symmetry) - 1), min_size=1, max_size=5))
        copies = draw(st.lists(st.integers(1, 3), min_size=len(kinds), max_size=len(kinds)))
        total = int(sum(symmetry[k] * c for k, c in zip(kinds, copies, strict=True)))
        extent = total + draw(st.integers(0, 2))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        order = rng.permutation(extent)[:total]
        made.append(Orbits.of(symmetry, kinds, copies, order, extent))
    return made


@given(sorts(), st.integers(0, 10**6))
def test_alike_matrices_are_an_algebra(pair, seed):
    rng = np.random.default_rng(seed)
    a, b = pair
    X, Y, S, R = (random_alike(rng, *sort) for sort in ((a, b), (a, b), (b, b), (a, a)))
    x, y, s, r = (one.full() for one in (X, Y, S, R))
    close = {"atol": 1e-11, "rtol": 0.0}  # sums of at most 60 products of numbers of order one
    np.testing.assert_allclose((X + 2.0 * Y - R @ X @ S).full(), x + 2 * y - r @ x @ s, **close)
    np.testing.assert_allclose((X.T @ R @ Y).full(), x.T @ r @ y, **close)
    np.testing.assert_allclose((S @ S.T).full(), s @ s.T, **close)
    np.testing.assert_allclose(X.map(np.abs).full(), np.abs(x), atol=1e-15)
    np.testing.assert_allclose(S.map(np.abs).full(), np.abs(s), atol=1e-15)
    np.testing.assert_allclose(S.without_diagonal().full(), s - np.diag(np.diag(s)), atol=1e-14)
    p, q = rng.normal(size=a.size), rng.normal(size=b.size)
    np.testing.assert_allclose(X.scaled(p, q).full(), a.spread_out(p)[:, None] * x * b.spread_out(q), atol=1e-14)
    np.testing.assert_allclose(Alike.diagonal(b, q).full(), np.diag(b.spread_out(q)), atol=0.0)
    np.testing.assert_allclose(a.spread_out(X.row_sums()), x.sum(axis=1), **close)
    np.testing.assert_allclose(b.spread_out(X.column_squares()), (x * x).sum(axis=0), **close)
    np.testing.assert_allclose(b.spread_out(S.own()), np.diag(s), atol=1e-14)
    assert X.inner(Y) == pytest.approx((x * y).sum(), abs=1e-11)
    assert S.inner(S.T) == pytest.approx((s * s.T).sum(), abs=1e-11)
    assert S.trace(q) == pytest.approx((np.diag(s) * b.spread_out(q)).sum(), abs=1e-11)
    assert X.size() == pytest.approx(np.abs(x).sum(), abs=1e-11)
    inside = (s + s.T)[np.ix_(b.positions, b.positions)]
    found, expected = (S + S.T).eigenvalues(), np.linalg.eigvalsh(inside)
    assert all(np.abs(expected - one).min() < 1e-10 for one in found)
    assert all(np.abs(found - one).min() < 1e-10 for one in expected)


@given(sorts(), st.integers(0, 10**6))
def test_blocks_entries_and_means_give_the_matrix_back(pair, seed):
    rng = np.random.default_rng(seed)
    a, b = pair
    X, S = random_alike(rng, a, b), random_alike(rng, b, b)
    for M in (X, S):
        again = Alike.from_blocks(M.rows, M.cols, M.trivial, M.standard, M.spread)
        np.testing.assert_allclose(again.full(), M.full(), atol=1e-14)
        np.testing.assert_allclose(Alike.mean(M.rows, M.cols, M.full()).full(), M.full(), atol=1e-14)
    np.testing.assert_allclose(Alike.of_entries(a, b, X.entries()).full(), X.full(), atol=1e-15)
    numbers = entry_numbers(a, b)
    np.testing.assert_array_equal(numbers.sum(axis=0), np.full(b.size, a.total))
    # the mean is the orthogonal projection: what it leaves out is orthogonal to every alike matrix
    for rows, cols in ((a, b), (b, b)):
        probe, full = random_alike(rng, rows, cols), rng.normal(size=(rows.length, cols.length))
        assert Alike.mean(rows, cols, full).inner(probe) == pytest.approx((full * probe.full()).sum(), abs=1e-11)


@given(sorts(), st.integers(0, 10**6))
def test_functions_of_singular_values_are_those_of_the_full_matrix(pair, seed):
    rng = np.random.default_rng(seed)
    X = random_alike(rng, *pair)
    u, s, v = np.linalg.svd(X.full())
    expected = (u[:, : s.size] * np.minimum(s, 1.0)) @ v[: s.size]
    np.testing.assert_allclose(X.spectral(lambda s: np.minimum(s, 1.0)).full(), expected, atol=1e-9)


def test_single_orbits_are_plain_matrices():
    X = Alike.matrix(Orbits.single(3), Orbits.single(2), np.arange(6.0).reshape(3, 2))
    assert X.trivial is X.even
    assert X.entries() is X.even
    np.testing.assert_array_equal(X.full(), np.arange(6.0).reshape(3, 2))


# -- the identity at every level --------------------------------------------------------------------------------------


def points(problem, level, seed=0):
    """Columns of a level, a point with positive margins, which need not be feasible, and a dual one in the domain."""
    rng, columns = np.random.default_rng(seed), LEVELS[level].make(problem)
    V, m = columns.outputs, columns.columns
    A, B = random_alike(rng, V, V), random_alike(rng, m, m)
    L = 0.3 * random_alike(rng, V, m) + 6.0 * columns.target.map(np.round)
    b = None if problem.bias is None else 0.1 * rng.normal(size=V.size)
    T = random_alike(rng, m, m).map(np.abs)
    residuals = columns.into_domain(0.2 * random_alike(rng, V, m))
    dual = Dual(columns.admitted(residuals), (T + T.T).without_diagonal())
    return columns, Gram(A + A.T, L, B + B.T, b), dual


def assert_identity(columns, point, dual, naive):
    """Six terms and their sum are those on full arrays, whose sum is the objective there."""
    full, other = point.gram().full(), dual.full()
    active = np.sort(columns.columns.positions)
    A, L, B = full.weight_gram, full.logits[:, active], full.feature_gram[np.ix_(active, active)]
    b = np.zeros(len(A)) if full.bias is None else full.bias
    expected = naive.terms(A, L, B, b, other.residuals[:, active], other.nonnegativity[np.ix_(active, active)])
    found, value = identity.terms(columns, point, dual), naive.objective(A, L, B, b)
    size = sum(map(abs, expected.values()))
    for name, one in expected.items():
        assert getattr(found, name) == pytest.approx(one, abs=1e-13 * size), name
    assert identity.objective(columns, point) == pytest.approx(value, abs=1e-13 * size)
    assert found.objective == pytest.approx(value, abs=1e-13 * size)
    assert identity.dual_value(columns, dual.V) == pytest.approx(expected["dual_value"], abs=1e-13 * size)
    assert np.isfinite(size)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("level", ["sample", "class", "group"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_identity_is_that_of_full_arrays(loss, level, bias):
    problem = Given(FULL, LOSSES[loss], BIASES[bias])
    columns, point, dual = points(problem, level)
    assert_identity(columns, point, dual, problem.naive(level))


@pytest.mark.parametrize("bias", ["none", "penalised"])
@pytest.mark.parametrize("level", ["sample", "class", "group"])
@pytest.mark.parametrize("loss", LOSSES)
def test_classes_without_samples_are_outputs_without_columns(loss, level, bias):
    problem = Given(COUNTS, LOSSES[loss], BIASES[bias])
    columns, point, dual = points(problem, level)
    assert columns.outputs.total == 8
    assert columns.columns.total == (sum(COUNTS) if level == "sample" else 6)
    assert_identity(columns, point, dual, problem.naive(level))


@pytest.mark.parametrize("level", ["sample", "class", "group"])
@pytest.mark.parametrize("loss", ALIKE)
def test_factors_have_the_terms_of_their_gram_matrices(loss, level):
    problem = Given(COUNTS, ALIKE[loss], 0.4)
    columns, _, dual = points(problem, level)
    rng, V, m = np.random.default_rng(1), columns.outputs, columns.columns
    kinds = np.concatenate([m.kinds, m.kinds[:1]])
    d = Orbits.of(V.symmetry, kinds)
    H = 0.1 * random_alike(rng, m, d).map(np.abs) + 3.0 * Alike.matched(m, d, np.minimum(np.arange(d.size), m.size - 1))
    W = 0.1 * random_alike(rng, V, d) + 3.0 * columns.target.map(np.round) @ H
    factors = Factors(W, H, rng.normal(size=V.size))
    assert_identity(columns, factors, dual, problem.naive(level))
    assert_identity(columns, factors.gram(), dual, problem.naive(level))


@pytest.mark.parametrize(("outputs", "rows"), [(8, [0, 2, 2, 7, 1, 3, 5, 5, 4, 6, 0]), (8, [1, 2, 5])])
def test_tables_may_have_more_or_fewer_columns_than_outputs(outputs, rows):
    rng, rows = np.random.default_rng(3), np.array(rows)
    problem = Given(np.full(outputs, 1), LOSSES["soft"], 0.4)
    V, m = Orbits.single(outputs), Orbits.single(rows.size)
    target = Alike.matrix(V, m, LOSSES["soft"].target_columns(outputs, rows))
    weights, features = rng.random((2, rows.size))
    plain = making.of_classes(problem)
    columns = type(plain)(
        V, m, target, rows, weights, features, 0.03, 0.02, plain.loss, nonnegative=True, bias=plain.bias
    )
    W, H = (Alike.matrix(sort, Orbits.single(4), rng.normal(size=(sort.total, 4))) for sort in (V, m))
    T = np.abs(rng.normal(size=(rows.size, rows.size)))
    dual = Dual(columns.residuals(Alike.matrix(V, m, rng.normal(size=target.even.shape))), Alike.matrix(m, m, T + T.T))
    naive = problem.naive("class")
    naive.labels, naive.weights, naive.features = rows, weights, features
    assert_identity(columns, Factors(W, H, rng.normal(size=outputs)), dual, naive)


@pytest.mark.parametrize("counts", [COUNTS, FULL])
@pytest.mark.parametrize("loss", ["cross-entropy", "crammer-singer", "margin", "sigmoids"])
def test_all_levels_are_one_problem(loss, counts):
    """A group-level point, written out for classes and for samples, has the same six terms everywhere."""
    problem = Given(counts, ALIKE[loss], 0.4)
    columns, point, dual = points(problem, "group")
    found = identity.terms(columns, point, dual)
    full, other = point.full(), dual.full()
    by_class = making.of_classes(problem)
    again = Gram.mean(by_class, full), Dual.mean(by_class, other)
    by_sample, labels = making.of_samples(problem), np.repeat(np.arange(8), counts)
    n = problem.class_counts[labels].astype(float)
    pick = np.ix_(labels, labels)
    samples = GramPoint(full.weight_gram, full.logits[:, labels], full.feature_gram[pick], full.bias)
    T = other.nonnegativity[pick] / np.outer(n, n)
    spread = (
        Gram.mean(by_sample, samples),
        Dual(
            Alike.matrix(by_sample.outputs, by_sample.columns, other.residuals[:, labels]),
            Alike.matrix(by_sample.columns, by_sample.columns, T),
        ),
    )
    size = sum(abs(getattr(found, name)) for name in ("dual_value", "calibration", "alignment", "slack"))
    for level, pair in ((by_class, again), (by_sample, spread)):
        others = identity.terms(level, *pair)
        for name in ("dual_value", "calibration", "alignment", "nonnegativity", "slack", "bias"):
            assert getattr(others, name) == pytest.approx(getattr(found, name), abs=1e-13 * size), name


# -- residuals, domains and balance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("level", ["sample", "class", "group"])
def test_balanced_residuals_lie_in_the_domain_and_sum_to_zero(loss, level):
    problem = Given(FULL, LOSSES[loss], "free")
    columns, _, _ = points(problem, level)
    rng = np.random.default_rng(9)
    V = columns.into_domain(random_alike(rng, columns.outputs, columns.columns))
    assert np.isinf(columns.support(V))  # before, they do not
    balanced = columns.admitted(V)
    assert columns.support(balanced) == 0.0
    assert np.isfinite(columns.conjugates(balanced)).all()
    naive, active = problem.naive(level), balanced.full()
    assert np.isfinite(naive.dual_value(active))
    assert balanced.norm() > 1e-3 * V.norm()
    assert (columns.admitted(balanced) - balanced).norm() < 1e-12 * V.norm()


@pytest.mark.parametrize("bias", ["free", "penalised"])
def test_projected_residuals_have_the_sums_of_the_bias(bias):
    problem = Given(FULL, CrossEntropy(), BIASES[bias])
    for level in ("class", "group"):
        columns, _, dual = points(problem, level)
        b = 0.1 * np.random.default_rng(4).normal(size=columns.outputs.size)
        sums = columns.sums(columns.projected(dual.V, b))[0]
        np.testing.assert_allclose(sums, -columns.bias.curvature * b, atol=1e-14)


@pytest.mark.parametrize("loss", ALIKE)
def test_group_level_sees_the_loss_of_the_classes(loss):
    problem = Given(COUNTS, ALIKE[loss], None)
    groups, classes = making.of_groups(problem), making.of_classes(problem)
    rng = np.random.default_rng(2)
    L = random_alike(rng, groups.outputs, groups.columns) + 3.0 * groups.target.map(np.round)
    full = Alike.mean(classes.outputs, classes.columns, L.full())
    np.testing.assert_allclose(groups.residuals(L).full(), classes.residuals(full).full(), atol=1e-14)
    V, W = 0.2 * L, Alike.mean(classes.outputs, classes.columns, 0.2 * L.full())
    np.testing.assert_allclose(groups.into_domain(V).full(), classes.into_domain(W).full(), atol=1e-14)
    inside = classes.into_domain(W)
    spread = groups.columns.spread_out(groups.limit(0.5 * groups.into_domain(V)))
    np.testing.assert_allclose(spread[classes.columns.positions], classes.limit(0.5 * inside), rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_distinct_counts_out_of_order_are_single_orbits(loss):
    problem = Given([5, 2, 9, 3, 1, 8, 7, 0], LOSSES[loss], 0.4)
    columns, point, dual = points(problem, "group")
    assert columns.columns.plain
    assert_identity(columns, point, dual, problem.naive("group"))


def test_groups_are_those_of_equal_counts_and_weights():
    problem = Given(COUNTS, CrossEntropy(class_weights=(1.0, 1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 4.0)))
    columns = making.of_groups(problem)
    assert columns.outputs.numbers.tolist() == [2, 2, 2, 1, 1]  # empty ones are alike whatever their weights
    assert columns.columns.numbers.tolist() == [2, 2, 1, 1]
    assert columns.outputs.members.tolist() == [2, 1, 3, 1, 2, 0, 4, 0]
    assert columns.columns.members.tolist() == [1, 0, 2, 0, 1, -1, 3, -1]
    soft = Given(FULL, SoftTargetCrossEntropy(np.eye(8).tolist()))
    assert making.of_groups(soft).outputs.plain  # no symmetry of a table is looked for


def test_nothing_is_made_of_all_classes():
    """10⁶ classes, half of them alike: every array but the order of the classes has the size of the orbits."""
    problem = Problem(np.repeat([3, 5, 7, 8], 250_000), 1e-6, 1e-6, bias="free")
    columns = making.of_groups(problem)
    L = columns.target * 3.0
    V = columns.admitted(columns.residuals(L))
    assert columns.support(V) == 0.0
    assert identity.dual_value(columns, V) > 0.0
    assert V.even.shape == (4, 4)


@pytest.mark.parametrize("fault", ["even", "extra"])
def test_a_wrong_entry_is_seen(fault):
    """The comparison with full arrays rejects points that differ in one entry of one orbit."""
    problem = Given(COUNTS, CrossEntropy(), 0.4)
    columns, point, dual = points(problem, "group")
    found = identity.terms(columns, point, dual)
    wrong = Alike(dual.V.rows, dual.V.cols, dual.V.even.copy(), dual.V.extra.copy())
    getattr(wrong, fault)[(1, 0) if fault == "even" else (1, 0, 0)] += 1e-9
    assert abs(identity.terms(columns, point, Dual(wrong, dual.T)).slack - found.slack) > 1e-13 * abs(found.slack)

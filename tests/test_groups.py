"""Groups of alike classes: matrices, losses, maps and solves agree with the (K, K) ones they stand for."""

import numpy as np
import pytest
from full_columns import Full
from hypothesis import given
from hypothesis import strategies as st
from ufm_convex.groups import GroupColumns, GroupPoint, Groups, Invariant

from ufm_convex.errors import SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.points import GramPoint
from ufm_convex.problem import Problem


@st.composite
def grouped(draw, max_groups=4, max_size=4):
    """A problem whose classes form groups, in shuffled order, some of one class."""
    sizes = draw(st.lists(st.integers(1, max_size), min_size=1, max_size=max_groups).filter(lambda s: sum(s) > 1))
    counts = draw(st.lists(st.integers(1, 400), min_size=len(sizes), max_size=len(sizes)))
    order = np.array(draw(st.permutations(range(sum(sizes)))))
    per_class = np.repeat(counts, sizes)[order]
    smoothing = draw(st.sampled_from([0.0, 0.1]))
    weights = None
    if draw(st.booleans()):
        weights = tuple(
            np.repeat(draw(st.lists(st.sampled_from([0.5, 2.0]), min_size=len(sizes), max_size=len(sizes))), sizes)[
                order
            ]
        )
    return Problem(per_class, 0.02, 0.03, loss=CrossEntropy(class_weights=weights, smoothing=smoothing))


def random_invariant(rng, groups):
    cross = rng.normal(size=(groups.size, groups.size)) * groups.present
    return Invariant(groups, rng.normal(size=groups.size), cross)


@given(grouped(), st.integers(0, 10**6))
def test_invariant_matrices_are_an_algebra(problem, seed):
    rng, groups = np.random.default_rng(seed), Groups.distinct(problem)
    a, b = random_invariant(rng, groups), random_invariant(rng, groups)
    rows, columns = rng.normal(size=(2, groups.size))
    A, B = a.dense(), b.dense()
    # sums of K <= 16 products of numbers of order one
    np.testing.assert_allclose((a @ b).dense(), A @ B, atol=1e-12)
    np.testing.assert_allclose((a + b.T - 2.0 * a).dense(), A + B.T - 2.0 * A, atol=1e-14)
    scaled = np.diag(rows[groups.members]) @ A @ np.diag(columns[groups.members])
    np.testing.assert_allclose(a.scaled(rows, columns).dense(), scaled, atol=1e-14)
    np.testing.assert_allclose(a.map(np.abs).dense(), np.abs(A), atol=0.0)
    assert a.inner(b) == pytest.approx((A * B).sum(), abs=1e-11)
    assert (a + a.T).least_eigenvalue() == pytest.approx(np.linalg.eigvalsh(A + A.T)[0], abs=1e-11)
    assert set(a.entries()) == set(A.ravel())
    np.testing.assert_allclose(Invariant.from_blocks(groups, a.trivial, a.standard).dense(), A, atol=1e-14)
    np.testing.assert_allclose(Invariant.identity(groups).dense(), np.eye(problem.num_classes), atol=0.0)


@given(grouped(), st.integers(0, 10**6))
def test_the_mean_is_the_orthogonal_projection(problem, seed):
    rng, groups = np.random.default_rng(seed), Groups.distinct(problem)
    K = problem.num_classes
    matrix, probe = rng.normal(size=(K, K)), random_invariant(rng, groups)
    mean = Invariant.mean(groups, matrix)
    assert mean.inner(probe) == pytest.approx((matrix * probe.dense()).sum(), abs=1e-11)
    np.testing.assert_allclose(Invariant.mean(groups, probe.dense()).dense(), probe.dense(), atol=1e-14)
    permutation = np.concatenate([rng.permutation(np.flatnonzero(groups.members == g)) for g in range(groups.size)])
    order = np.empty(K, dtype=int)
    order[np.concatenate([np.flatnonzero(groups.members == g) for g in range(groups.size)])] = permutation
    np.testing.assert_allclose(mean.dense()[np.ix_(order, order)], mean.dense(), atol=0.0)


def test_groups_need_equal_counts_and_equal_weights():
    problem = Problem([5, 3, 5, 5], 0.1, 0.1, loss=CrossEntropy(class_weights=(1.0, 1.0, 2.0, 1.0)))
    groups = Groups.distinct(problem)
    assert groups.counts.tolist() == [3, 5, 5]
    assert groups.weights.tolist() == [1.0, 1.0, 2.0]
    assert groups.multiplicities.tolist() == [1, 2, 1]
    assert groups.members.tolist() == [1, 0, 2, 1]


def test_dense_matrices_are_refused_when_too_large():
    groups = Groups.distinct(Problem(np.full(20_001, 3), 0.1, 0.1))
    identity = Invariant.identity(groups)
    with pytest.raises(SizeError, match="own and cross"):
        identity.dense()
    with pytest.raises(SizeError):
        GroupPoint(identity, identity, identity).dense()


# -- losses on reduced columns ------------------------------------------------------------------------------------


def reduced(rng, groups, scale):
    """A random invariant matrix, its reduced columns and its dense one."""
    matrix = scale * random_invariant(rng, groups)
    return matrix, matrix.dense()


@given(grouped(), st.integers(0, 10**6), st.sampled_from([0.1, 3.0, 60.0]))
def test_reduced_columns_have_the_loss_of_the_dense_ones(problem, seed, scale):
    rng, columns, loss = np.random.default_rng(seed), GroupColumns.of(problem), Full(problem.loss)
    logits, dense = reduced(rng, columns.groups, scale)
    labels, members = np.arange(problem.num_classes), columns.groups.members
    np.testing.assert_allclose(columns.values(logits)[members], loss.values(dense, labels), rtol=1e-12)
    V = columns.residuals(logits)
    np.testing.assert_allclose(V.dense(), loss.residuals(dense, labels), atol=1e-15)
    conjugates = loss.conjugate(V.dense(), labels)
    np.testing.assert_allclose(columns.conjugates(V)[members], conjugates, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        problem.loss.limit(0.5 * V.columns(), columns.layout)[members], loss.limit(0.5 * V.dense(), labels), rtol=1e-12
    )
    peak = loss.ray_maximum(V.dense(), labels)
    # golden section to 1e-9 of the interval, whose end the probability of the own class sets
    ends = loss.limit(V.dense(), labels)
    np.testing.assert_allclose(
        problem.loss.ray_maximum(V.columns(), columns.layout)[members] / ends, peak / ends, atol=1e-7
    )


@given(grouped(), st.integers(0, 10**6))
def test_reduced_columns_enter_the_domain_as_the_dense_ones(problem, seed):
    rng, columns, loss = np.random.default_rng(seed), GroupColumns.of(problem), Full(problem.loss)
    outside, dense = reduced(rng, columns.groups, 1.0)
    labels = np.arange(problem.num_classes)
    violation = loss.violation(dense, labels)
    assert problem.loss.violation(outside.columns(), columns.layout) == pytest.approx(violation, rel=1e-12)
    assert np.isinf(columns.conjugates(outside)).all() == (violation > 0.0)
    inside = columns.into_domain(outside)
    np.testing.assert_allclose(inside.dense(), loss.into_domain(dense, labels), atol=1e-14)
    assert problem.loss.violation(inside.columns(), columns.layout) < 1e-14


@given(grouped(max_groups=3, max_size=3), st.integers(0, 10**6))
def test_enclosures_of_reduced_columns_are_those_of_the_dense_ones(problem, seed):
    from flint import arb, fmpq

    rng, columns, loss = np.random.default_rng(seed), GroupColumns.of(problem), problem.loss
    groups = columns.groups
    logits, dense = reduced(rng, groups, 2.0)
    others = columns.residuals(logits).cross
    m = groups.others.astype(int)
    for k, g in enumerate(groups.members):
        column = loss.exact_orbit_column([*m[:, g].tolist(), 1], groups.size)
        ball = loss.enclose_value([arb(z) for z in logits.columns()[:, g].tolist()], column)
        assert ball.overlaps(Full(loss).enclose_value([arb(z) for z in dense[:, k]], k))
        assert float(ball.rad()) < 1e-12
        entries = [fmpq(*float(v).as_integer_ratio()) for v in others[:, g]]
        exact_own = -sum((int(c) * v for c, v in zip(m[:, g], entries, strict=True)), fmpq(0))
        full = [entries[h] for h in groups.members]
        full[k] = exact_own
        ball = loss.enclose_conjugate([*entries, exact_own], column)
        assert ball.overlaps(Full(loss).enclose_conjugate(full, k))
        assert float(ball.rad()) < 1e-12
        with pytest.raises(ValueError, match="simplex"):
            loss.enclose_conjugate([*entries, exact_own + fmpq(1, 2**400)], column)


@given(grouped(), st.integers(0, 10**6))
def test_the_expression_of_reduced_columns_is_the_loss(problem, seed):
    import cvxpy as cp

    rng, columns = np.random.default_rng(seed), GroupColumns.of(problem)
    logits, _ = reduced(rng, columns.groups, 3.0)
    variable = cp.Variable((columns.groups.size + 1, columns.groups.size), value=logits.columns())
    expression = problem.loss.expression(variable, columns.layout)
    assert expression.is_convex()
    np.testing.assert_allclose(expression.value, columns.values(logits), rtol=1e-9, atol=1e-12)


@given(grouped(), st.integers(0, 10**6))
def test_group_points_are_class_points(problem, seed):
    rng, groups = np.random.default_rng(seed), Groups.distinct(problem)
    blocks = [random_invariant(rng, groups) for _ in range(3)]
    point = GroupPoint(*blocks)
    back = GroupPoint.mean(groups, point.dense())
    for block, again in zip(blocks, (back.weight_gram, back.logits, back.feature_gram), strict=True):
        np.testing.assert_allclose(again.dense(), block.dense(), atol=1e-14)
    assert isinstance(point.dense(), GramPoint)

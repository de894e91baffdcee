"""Groups of alike classes: matrices, losses, maps and solves agree with the (K, K) ones they stand for."""

import numpy as np
import pytest
from algebra_cases import random_alike
from full_columns import Full
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex.enclosure import ExactColumns
from ufm_convex.errors import SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Gram, GramPoint, of_groups
from ufm_convex.relaxation.making import group_orbits


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


def random_invariant(rng, columns):
    """A (K, K) matrix that is alike on alike classes."""
    return random_alike(rng, columns.outputs, columns.columns)


def members(columns):
    """Group of each class, (K,)."""
    return columns.columns.members


def all_entries(matrix):
    """Every entry that exists, once."""
    return np.concatenate([matrix.even.ravel(), matrix.matches])


@given(grouped(), st.integers(0, 10**6))
def test_invariant_matrices_are_an_algebra(problem, seed):
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    a, b, sort = random_invariant(rng, columns), random_invariant(rng, columns), columns.columns
    rows, cols = rng.normal(size=(2, sort.size))
    A, B = a.full(), b.full()
    # sums of K <= 16 products of numbers of order one
    np.testing.assert_allclose((a @ b).full(), A @ B, atol=1e-12)
    np.testing.assert_allclose((a + b.T - 2.0 * a).full(), A + B.T - 2.0 * A, atol=1e-14)
    scaled = np.diag(rows[members(columns)]) @ A @ np.diag(cols[members(columns)])
    np.testing.assert_allclose(a.scaled(rows, cols).full(), scaled, atol=1e-14)
    np.testing.assert_allclose(a.map(np.abs).full(), np.abs(A), atol=1e-15)  # even and extra are added again
    assert a.inner(b) == pytest.approx((A * B).sum(), abs=1e-11)
    assert (a + a.T).eigenvalues().min() == pytest.approx(np.linalg.eigvalsh(A + A.T)[0], abs=1e-11)
    assert set(all_entries(a)) == set(A.ravel())
    np.testing.assert_allclose(Alike.from_blocks(sort, sort, a.trivial, a.standard).full(), A, atol=1e-14)
    unit = Alike.diagonal(sort, np.ones(sort.size))
    np.testing.assert_allclose(unit.full(), np.eye(problem.num_classes), atol=0.0)


@given(grouped(), st.integers(0, 10**6))
def test_the_mean_is_the_orthogonal_projection(problem, seed):
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    K, sort = problem.num_classes, columns.columns
    matrix, probe = rng.normal(size=(K, K)), random_invariant(rng, columns)
    mean = Alike.mean(sort, sort, matrix)
    assert mean.inner(probe) == pytest.approx((matrix * probe.full()).sum(), abs=1e-11)
    np.testing.assert_allclose(Alike.mean(sort, sort, probe.full()).full(), probe.full(), atol=1e-14)
    alike = [np.flatnonzero(members(columns) == g) for g in range(sort.size)]
    permutation = np.concatenate([rng.permutation(classes) for classes in alike])
    order = np.empty(K, dtype=int)
    order[np.concatenate(alike)] = permutation
    np.testing.assert_allclose(mean.full()[np.ix_(order, order)], mean.full(), atol=0.0)


def test_groups_need_equal_counts_and_equal_weights():
    problem = Problem([5, 3, 5, 5], 0.1, 0.1, loss=CrossEntropy(class_weights=(1.0, 1.0, 2.0, 1.0)))
    outputs, columns, first = group_orbits(problem)
    assert problem.class_counts[first].tolist() == [3, 5, 5]
    assert problem.loss.weights(4)[first].tolist() == [1.0, 1.0, 2.0]
    assert columns.places.tolist() == outputs.places.tolist() == [1, 2, 1]
    assert columns.members.tolist() == [1, 0, 2, 1]


def test_dense_matrices_are_refused_when_too_large():
    sort = group_orbits(Problem(np.full(20_001, 3), 0.1, 0.1))[0]
    identity = Alike.diagonal(sort, np.ones(sort.size))
    with pytest.raises(SizeError, match="even and extra"):
        identity.full()
    with pytest.raises(SizeError):
        Gram(identity, identity, identity).full()


# -- losses on reduced columns ------------------------------------------------------------------------------------


def reduced(rng, columns, scale):
    """A random invariant matrix, and the full one."""
    matrix = scale * random_invariant(rng, columns)
    return matrix, matrix.full()


def others_and_own(columns, j):
    """How many outputs of each orbit are not the own one of a column of orbit j; then 1."""
    sizes = columns.outputs.places.copy()
    sizes[j] -= 1
    return [*sizes.tolist(), 1]


@given(grouped(), st.integers(0, 10**6), st.sampled_from([0.1, 3.0, 60.0]))
def test_reduced_columns_have_the_loss_of_the_dense_ones(problem, seed, scale):
    rng, columns, loss = np.random.default_rng(seed), of_groups(problem), Full(problem.loss)
    logits, dense = reduced(rng, columns, scale)
    labels, group = np.arange(problem.num_classes), members(columns)
    np.testing.assert_allclose(columns.values(logits)[group], loss.values(dense, labels), rtol=1e-12)
    V = columns.residuals(logits)
    np.testing.assert_allclose(V.full(), loss.residuals(dense, labels), atol=1e-15)
    conjugates = loss.conjugate(V.full(), labels)
    np.testing.assert_allclose(columns.conjugates(V)[group], conjugates, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(columns.limit(0.5 * V)[group], loss.limit(0.5 * V.full(), labels), rtol=1e-12)
    peak = loss.ray_maximum(V.full(), labels)
    # golden section to 1e-9 of the interval, whose end the probability of the own class sets
    ends = loss.limit(V.full(), labels)
    found = columns.peaks(V, np.ones(columns.columns.size, dtype=bool))[group]
    np.testing.assert_allclose(found / ends, peak / ends, atol=1e-7)


@given(grouped(), st.integers(0, 10**6))
def test_reduced_columns_enter_the_domain_as_the_dense_ones(problem, seed):
    rng, columns, loss = np.random.default_rng(seed), of_groups(problem), Full(problem.loss)
    outside, dense = reduced(rng, columns, 1.0)
    labels = np.arange(problem.num_classes)
    violation = loss.violation(dense, labels)
    assert problem.loss.violation(outside.entries(), columns.layout) == pytest.approx(violation, rel=1e-12)
    assert np.isinf(columns.conjugates(outside)).all() == (violation > 0.0)
    inside = columns.into_domain(outside)
    np.testing.assert_allclose(inside.full(), loss.into_domain(dense, labels), atol=1e-14)
    assert problem.loss.violation(inside.entries(), columns.layout) < 1e-14


@given(grouped(max_groups=3, max_size=3), st.integers(0, 10**6))
def test_enclosures_of_reduced_columns_are_those_of_the_dense_ones(problem, seed):
    from flint import arb, fmpq

    rng, columns, loss = np.random.default_rng(seed), of_groups(problem), problem.loss
    logits, dense = reduced(rng, columns, 2.0)
    exact = ExactColumns.of_groups(problem)
    others, G = columns.residuals(logits).even, columns.columns.size
    seen, _ = exact.own_and_others(logits)
    for k, g in enumerate(members(columns)):
        m = others_and_own(columns, g)
        column = loss.exact_orbit_column(m, G)
        ball = loss.enclose_value([arb(z) for z in [*logits.even[:, g].tolist(), float(seen[g])]], column)
        assert ball.overlaps(Full(loss).enclose_value([arb(z) for z in dense[:, k]], k))
        assert float(ball.rad()) < 1e-12
        entries = [fmpq(*float(v).as_integer_ratio()) for v in others[:, g] * (np.array(m[:-1]) > 0)]
        exact_own = -sum((c * v for c, v in zip(m[:-1], entries, strict=True)), fmpq(0))
        full = [entries[h] for h in members(columns)]
        full[k] = exact_own
        ball = loss.enclose_conjugate([*entries, exact_own], column)
        assert ball.overlaps(Full(loss).enclose_conjugate(full, k))
        assert float(ball.rad()) < 1e-12
        with pytest.raises(ValueError, match="simplex"):
            loss.enclose_conjugate([*entries, exact_own + fmpq(1, 2**400)], column)


@given(grouped(), st.integers(0, 10**6))
def test_the_expression_of_reduced_columns_is_the_loss(problem, seed):
    import cvxpy as cp

    rng, columns = np.random.default_rng(seed), of_groups(problem)
    logits, _ = reduced(rng, columns, 3.0)
    table = logits.entries()
    variable = cp.Variable(table.shape, value=table)
    expression = problem.loss.expression(variable, columns.layout)
    assert expression.is_convex()
    np.testing.assert_allclose(expression.value, columns.values(logits), rtol=1e-9, atol=1e-12)


@given(grouped(), st.integers(0, 10**6))
def test_group_points_are_class_points(problem, seed):
    rng, columns = np.random.default_rng(seed), of_groups(problem)
    blocks = [random_invariant(rng, columns) for _ in range(3)]
    point = Gram(*blocks)
    back = Gram.mean(columns, point.full())
    for block, again in zip(blocks, (back.A, back.logits, back.B), strict=True):
        np.testing.assert_allclose(again.full(), block.full(), atol=1e-14)
    assert isinstance(point.full(), GramPoint)

"""One repair at every level: what it returns is feasible on full arrays, and as good as is known to be possible.

Feasibility is judged by ``naive_dense``; values are compared with the class level's, and with optima of theorems.
"""

import numpy as np
import pytest
from algebra_cases import ALIKE, BIASES, LOSSES, Given, random_alike

import ufm_convex as ufm
from ufm_convex.duality.admissible import repair
from ufm_convex.duality.complementary import complementary
from ufm_convex.losses import CrossEntropy
from ufm_convex.relaxation import LEVELS, Alike, Columns, Dual, Factors, Gram, Orbits, dual_value, making, scaled_slack

COUNTS = [4, 2, 4, 2, 4, 0, 7, 0]
FULL = [4, 2, 4, 2, 4, 3, 7, 3]


def assert_feasible(problem, level, dual, value):
    """V in the domain, T ≥ 0 with zero diagonal, R ⪰ 0 up to rounding, and the value is the naive one."""
    naive = problem.naive(level)
    full = dual.full()
    active = np.flatnonzero(problem.class_counts) if level != "sample" else np.arange(problem.num_samples)
    V, T = full.residuals[:, active], full.nonnegativity[np.ix_(active, active)]
    assert naive.slack_eigenvalue(V, T) >= -1e-12  # an eigenvalue of a matrix of norm about one
    assert T.min() >= 0.0
    assert np.diag(T).max(initial=0.0) <= 1e-15 * T.max(initial=0.0)
    assert naive.dual_value(V) == pytest.approx(value, rel=1e-12, abs=1e-14)
    assert value > -np.inf


@pytest.mark.parametrize("level", ["sample", "class", "group"])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", BIASES)
def test_anything_is_repaired_into_a_feasible_point(loss, features, level, bias):
    counts = COUNTS if bias in ("none", "penalised") else FULL
    problem = Given(counts, LOSSES[loss], BIASES[bias], nonnegative=features == "nonnegative")
    columns, rng = LEVELS[level].make(problem), np.random.default_rng(3)
    V, m = columns.outputs, columns.columns
    wild = Dual(3.0 * random_alike(rng, V, m), random_alike(rng, m, m))
    rough = Dual(columns.residuals(random_alike(rng, V, m)))
    kinds = Orbits.of(V.symmetry, m.kinds)
    H = random_alike(rng, m, kinds).map(np.abs)
    b = None if problem.bias is None else 0.1 * rng.normal(size=V.size)
    found, value = repair(columns, [wild, rough], Factors(random_alike(rng, V, kinds), H, b))
    assert_feasible(problem, level, found, value)
    assert value >= dual_value(columns, Alike.zeros(V, m))


def test_what_is_no_number_is_repaired():
    columns = making.of_groups(Given(COUNTS, CrossEntropy()))
    broken = Alike.zeros(columns.outputs, columns.columns) * np.nan
    assert np.isfinite(repair(columns, [Dual(broken, Alike.zeros(columns.columns, columns.columns) * np.nan)])[1])


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", [None, "free", 0.05])
@pytest.mark.parametrize("loss", ALIKE)
def test_the_group_level_loses_nothing(loss, features, bias):
    """The repair of a point that is alike is worth what the repair of the same full arrays is worth."""
    problem = Given(FULL, ALIKE[loss], bias, nonnegative=features == "nonnegative")
    groups, classes, rng = making.of_groups(problem), making.of_classes(problem), np.random.default_rng(8)
    L = 0.5 * random_alike(rng, groups.outputs, groups.columns) + 2.0 * groups.target.map(np.round)
    b = None if bias is None else 0.1 * rng.normal(size=groups.outputs.size)
    point = Gram(Alike.zeros(groups.outputs, groups.outputs), L, Alike.zeros(groups.columns, groups.columns), b)
    _, value = repair(groups, [Dual(groups.residuals(L))], point)
    full = Gram.mean(classes, point.full())
    _, expected = repair(classes, [Dual(classes.residuals(full.logits))], full)
    # the peak is found to 1e-9 of its place, and the value is flat there; indicators have a kink at the end
    assert value == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_an_optimum_is_repaired_to_its_value():
    """Balanced classes with H ≥ 0: the residuals at the theorem's logits repair to the theorem's value."""
    problem = ufm.Problem([50] * 30 + [8] * 20, 5e-4, 1e-3)
    expected = ufm.theory.optimum(problem).value
    solution = ufm.solve(problem)
    groups = making.of_groups(problem)
    point = Gram.mean(groups, solution.evidence.dense_point())
    _, value = repair(groups, [Dual(groups.residuals(point.logits))])
    assert value == pytest.approx(expected, rel=1e-9)
    assert value <= expected * (1.0 + 1e-12)


def planted(rng, columns: Columns):
    """G and H with (I − G − T) H = 0 for a known T ≥ 0."""
    sort = columns.columns
    d = Orbits.of(sort.symmetry, sort.kinds)
    T = random_alike(rng, sort, sort).map(np.abs)
    T = Alike.matrix(sort, sort, (T.even + T.even.T) * (rng.random(T.even.shape) < 0.5)).without_diagonal()
    T = 0.5 * (T + T.T)
    return T, Alike.diagonal(sort, np.ones(sort.size)) - T, random_alike(rng, sort, d).map(np.abs)


@pytest.mark.parametrize("counts", [[4, 2, 4, 2, 4, 7, 9, 9], [1, 2, 3, 4, 5], list(np.repeat(np.arange(1, 31), 2))])
def test_the_complementary_multiplier_is_found(counts):
    """With H of full rank the T that makes (I − G − T) H vanish is unique: it comes back, exactly or by descent."""
    columns = making.of_groups(Given(counts, CrossEntropy()))
    T, gram, H = planted(np.random.default_rng(1), columns)
    found = complementary(gram, H)
    residual = (Alike.diagonal(columns.columns, np.ones(columns.columns.size)) - gram - found) @ H
    exact = columns.columns.size <= 24
    assert residual.norm() < (1e-12 if exact else 1e-4) * H.norm()
    if exact:
        np.testing.assert_allclose(found.full(), T.full(), atol=1e-8)  # the condition of H
    assert found.full().min() >= 0.0
    assert np.diag(found.full()).max() == 0.0


def test_a_step_that_is_left_out_is_seen(monkeypatch):
    """Without the shrinking the check on full arrays fails."""
    from ufm_convex.duality import admissible

    problem = Given(COUNTS, CrossEntropy())
    columns = making.of_groups(problem)
    monkeypatch.setattr(admissible, "_shrink", lambda columns, dual: dual)
    rough = Dual(columns.residuals(Alike.zeros(columns.outputs, columns.columns)))
    found, value = repair(columns, [rough])
    assert scaled_slack(columns, found).eigenvalues().min() < -0.1
    with pytest.raises(AssertionError):
        assert_feasible(problem, "group", found, value)


def test_a_million_classes_with_a_bias_stay_compressed():
    problem = ufm.Problem(np.repeat([1000, 400, 100, 30, 5], 200_000), 1e-7, 1e-7, bias="free")
    columns = making.of_groups(problem)
    found, value = repair(columns, [Dual(columns.residuals(columns.target * 1.0))])
    assert found.V.even.shape == (5, 5)
    assert 0.0 < value < np.log(1e6)

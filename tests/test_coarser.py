"""Starts from coarser problems and descents that stop in time: counted in evaluations, not in seconds."""

import math
from dataclasses import replace

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex import duality, recovery, solvers
from ufm_convex.evidence import allowed_gap
from ufm_convex.losses import BinaryCrossEntropy, CrossEntropy, LogitAdjustedCrossEntropy, MeanSquaredError
from ufm_convex.recovery import Scaled, coarser, promised_gap, restored
from ufm_convex.recovery.scaled import _Asking
from ufm_convex.relaxation import (
    Alike,
    Dual,
    dual_value,
    num_groups,
    objective,
    of_classes,
    of_groups,
    of_merged,
    scaled_residuals,
)
from ufm_convex.solvers import factored

MANY = 160
"""Just above the number of classes from which on a descent starts from a coarser problem."""


def distinct(size, share=0.3, **others):
    """Different counts from ``size`` to twice that, the threshold of collapse at a share of the median; shuffled."""
    counts = np.random.default_rng(0).permutation(np.arange(size, 2 * size))
    decay = math.sqrt(share * float(np.median(counts))) / counts.sum()
    return ufm.Problem(counts, decay, decay, **{"features": "free", **others})


def evaluations(monkeypatch, size):
    """A list that grows by one with each evaluation of so many variables."""
    counted, plain = [], Scaled.value_and_gradient

    def count(scaled, flat):
        if flat.size == size:
            counted.append(1)
        return plain(scaled, flat)

    monkeypatch.setattr(Scaled, "value_and_gradient", count)
    return counted


# -- merged problems --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [0, 5])
@pytest.mark.parametrize("number", [2, 7, 20])
def test_merging_keeps_the_sums_of_counts_and_weights(empty, number):
    weights = tuple(np.random.default_rng(1).uniform(0.5, 2.0, 40 + empty))
    counts = np.append(np.arange(40, 80), np.zeros(empty, dtype=int))
    problem = ufm.Problem(counts, 1e-3, 1e-3, loss=CrossEntropy(class_weights=weights), features="free")
    merged, groups = of_merged(problem, number), of_groups(problem)
    assert merged.columns.size == number
    assert merged.outputs.size == number + (empty > 0)
    assert merged.columns.places.min() >= 2
    for columns in (merged, groups):
        assert columns.columns.numbers @ columns.feature_weights == pytest.approx(counts.sum(), rel=1e-14)
        assert columns.orbit_weights.sum() == pytest.approx(groups.orbit_weights.sum(), rel=1e-14)
    # the target is 1 at the own output of a column, and nothing else
    full = merged.target.full()
    np.testing.assert_array_equal(full.sum(axis=0)[counts > 0], 1.0)
    assert np.flatnonzero(np.diag(full) == 1.0).size == 40


def test_two_counts_on_merged_pairs_are_the_problem_itself():
    """Of equal neighbours nothing is lost: four weights in pairs that differ by rounding are two groups."""
    weights = np.array([1.0, 1.0 + 1e-15, 2.0, 2.0 + 2e-15])
    near = ufm.Problem([6, 6, 9, 9], 1e-2, 1e-2, loss=CrossEntropy(class_weights=tuple(weights)), features="free")
    exact = ufm.Problem([6, 6, 9, 9], 1e-2, 1e-2, loss=CrossEntropy(class_weights=(1, 1, 2, 2)), features="free")
    assert (num_groups(near), num_groups(exact)) == (4, 2)
    merged, groups = of_merged(near, 2), of_groups(exact)
    np.testing.assert_array_equal(merged.feature_weights, groups.feature_weights)
    np.testing.assert_allclose(merged.loss_weights, groups.loss_weights, rtol=1e-14)
    np.testing.assert_array_equal(merged.columns.places, groups.columns.places)


def test_between_the_places_and_beyond_them_what_is_linear_is_exact():
    known, wanted = np.array([0.0, 1.0, 3.0]), np.array([-0.5, 0.0, 0.4, 1.0, 2.9, 3.0, 4.0])
    weights = coarser._between(known, wanted)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-15)
    np.testing.assert_allclose(weights @ (2.0 * known - 1.0), 2.0 * wanted - 1.0, atol=1e-14)
    # constants beyond the ends, as numpy.interp has them, are the planted fault
    assert abs(np.interp(4.0, known, known) - 4.0) == 1.0
    # places that coincide, as of classes of one count and different weights, are no division by zero
    assert np.isfinite(coarser._between(np.array([1.0, 1.0, 2.0]), np.array([1.0, 1.5]))).all()


@pytest.mark.parametrize("level", [of_classes, of_groups])
def test_a_prolonged_optimum_is_near_the_optimum(level):
    """Second order in what neighbours differ by: a twentieth of what the rays, the start before, are off."""
    problem = distinct(40)
    if level is of_groups:
        problem = replace(problem, class_counts=np.repeat(problem.class_counts, 2))
    fine, coarse = level(problem), of_merged(problem, 20)
    found, _ = recovery.descend(coarse, recovery.balanced(coarse, recovery.rays(coarse), None))
    near = coarser.prolonged(coarse, found, fine)
    rays = recovery.balanced(fine, recovery.rays(fine), None)
    best = ufm.solve(problem, solver="factored").lower_bound
    assert 0.0 <= objective(fine, near) - best <= 0.05 * (objective(fine, rays) - best)
    # planted: the counts in the wrong order
    wrong = replace(fine, feature_weights=fine.feature_weights[::-1].copy())
    far = coarser.prolonged(coarse, found, wrong)
    assert objective(fine, far) - best > objective(fine, rays) - best


# -- what is promised -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [None, "free", 0.02])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(smoothing=0.1), BinaryCrossEntropy()])
def test_what_is_restored_is_feasible_and_promises_no_more_than_there_is(bias, loss):
    """Noise of 1e-3 on logits; generator default_rng(3). Rounding of sums of 12 terms: 1e-13."""
    problem = ufm.Problem([40, 40, 25, 25, 9, 4], 3e-3, 3e-3, loss=loss, features="free", bias=bias)
    best = ufm.solve(problem, solver="factored", tolerance=1e-10)
    generator = np.random.default_rng(3)
    for columns in (of_classes(problem), of_groups(problem)):
        found = _optimum(columns)
        noisy = replace(found, W=found.W.map(lambda entries: entries + 1e-3 * generator.normal(size=entries.shape)))
        V = restored(columns, noisy.logits, noisy.bias)
        assert recovery.largest_singular(scaled_residuals(columns, V)) <= 1.0 + 1e-13
        assert dual_value(columns, V) <= best.upper_bound * (1.0 + 1e-13)
        gap = (objective(columns, noisy) - best.upper_bound) / best.upper_bound
        assert promised_gap(columns, noisy) >= gap - 1e-12
        if bias == "free":
            sums, size = columns.sums(V)
            assert float(np.abs(sums).max()) <= 1e-13 * size
        # planted: the residuals as they are have a singular value above 1
        raw = columns.residuals(columns.outputs_of(noisy.logits, noisy.bias))
        assert recovery.largest_singular(scaled_residuals(columns, raw)) > 1.0 + 1e-6


def _optimum(columns):
    zero = np.zeros(columns.outputs.size) if columns.bias.size else None
    start = recovery.balanced(columns, recovery.rays(columns), zero)
    return recovery.descend(columns, recovery.escape(columns, start) or start)[0]


def test_a_floor_is_no_excuse():
    """The gap is relative to what a model can do about the value."""
    problem = ufm.Problem([20, 12, 5], 1e-3, 1e-3, loss=CrossEntropy(smoothing=0.2), features="free")
    columns = of_classes(problem)
    found = _optimum(columns)
    moved = replace(found, W=found.W * 1.001)
    plain, excess = promised_gap(columns, moved), promised_gap(columns, moved, problem.floor)
    assert excess == pytest.approx(plain * (value := objective(columns, moved)) / (value - problem.floor), rel=1e-9)
    assert promised_gap(columns, found, objective(columns, found)) == math.inf


# -- descents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"share": 0.003},
        {"loss": CrossEntropy(smoothing=0.1)},
        {"loss": CrossEntropy(class_weights=tuple(np.random.default_rng(0).uniform(0.5, 2.0, MANY)))},
        {"bias": "free"},
        {"bias": 1e-4},
        {"loss": BinaryCrossEntropy()},
        {"loss": MeanSquaredError()},
        {"loss": LogitAdjustedCrossEntropy()},
    ],
)
def test_many_different_counts_are_certified(others):
    """Losses whose classes are no neighbours among them: those start as before."""
    problem = distinct(MANY, **others)
    solution = ufm.solve(problem, solver="factored")
    assert solution.status == "certified"
    assert solution.relative_gap <= allowed_gap(problem.floor, solution.upper_bound, 1e-6)
    assert len(solution.route) == 1


def test_a_coarser_problem_leaves_little_to_do(monkeypatch):
    """A start from the rays needs more than five times as many evaluations at full size: the planted fault."""
    problem = distinct(MANY, share=0.9)
    size = 2 * MANY**2
    with monkeypatch.context() as patched:
        counted = evaluations(patched, size)
        near = ufm.solve(problem, solver="factored")
    with monkeypatch.context() as patched:
        patched.setattr(factored, "_near", lambda *_: None)
        before = evaluations(patched, size)
        far = ufm.solve(problem, solver="factored")
    assert near.status == far.status == "certified"
    assert len(counted) <= 25
    assert len(before) > 2 * len(counted)
    assert max(near.lower_bound, far.lower_bound) <= min(near.upper_bound, far.upper_bound)


def test_weights_of_their_own_make_classes_no_neighbours():
    """A start between classes of other weights is no better than the rays, and takes as long as half a descent."""
    counts = distinct(MANY).class_counts
    smooth = [np.ones(MANY), 1.0 / counts, (counts - 1.5 * MANY) ** 2 + 1.0]  # the last falls, then rises
    rough = [np.random.default_rng(0).uniform(0.5, 2.0, MANY), np.where(counts % 2, 1.0, 1.1)]
    for weights, expected in [(one, True) for one in smooth] + [(one, False) for one in rough]:
        problem = distinct(MANY, loss=CrossEntropy(class_weights=tuple(weights)))
        assert coarser._neighbours(problem) is expected
    assert factored._near(problem, of_classes(problem), 1e-7) is None


@pytest.mark.parametrize("tied", [2, MANY])
def test_classes_of_one_count_and_weights_of_their_own_are_no_neighbours(tied):
    """Between equal counts nothing can be interpolated: from such a start a descent took ten times as long."""
    counts, weights = np.arange(MANY, 2 * MANY), np.linspace(1.0, 2.0, MANY)
    counts[:tied] = counts[0]
    for own, expected in ((weights, False), (1.0 + 1e-14 * weights, True), (np.ones(MANY), True)):
        loss = CrossEntropy(class_weights=tuple(own))
        problem = ufm.Problem(counts, 1e-3, 1e-3, features="free", loss=loss)
        if num_groups(problem) > 1:
            assert coarser._neighbours(problem) is expected


def test_classes_without_samples_have_no_neighbours():
    counts = np.append(np.arange(MANY, 2 * MANY), [0] * 8)
    solution = ufm.solve(ufm.Problem(counts, 1e-4, 1e-4, features="free"), solver="factored")
    assert solution.status == "certified"


@pytest.mark.parametrize(("size", "coarse"), [(149, False), (150, True)])
def test_from_how_many_different_counts_on(size, coarse, monkeypatch):
    asked = []
    monkeypatch.setattr(factored, "coarse_start", lambda *_: asked.append(1))
    problem = distinct(size)
    factored._near(problem, of_classes(problem), 1e-7)
    assert bool(asked) == coarse


def test_the_option_starts_counts_the_start_from_a_coarser_problem():
    problem = distinct(MANY)
    columns = of_classes(problem)
    near, scaled = factored._near(problem, columns, 1e-7), Scaled(columns, columns.columns)
    made = list(factored._starts(scaled, 3, np.random.default_rng(0), near))
    plain = list(factored._starts(scaled, 3, np.random.default_rng(0)))
    assert len(made) == len(plain) == 3
    np.testing.assert_array_equal(made[0], scaled.pack(near))
    np.testing.assert_array_equal(made[1:], plain[1:])


def test_a_looser_tolerance_is_met_sooner_and_a_tighter_one_as_well(monkeypatch):
    problem, numbers = distinct(MANY, share=0.9), []
    for tolerance in (1e-4, 1e-8):
        with monkeypatch.context() as patched:
            counted = evaluations(patched, 2 * MANY**2)
            solution = ufm.solve(problem, solver="factored", tolerance=tolerance)
        assert solution.status == "certified"
        assert solution.relative_gap <= tolerance
        numbers.append(len(counted))
    assert numbers == sorted(numbers)


def test_when_a_descent_is_asked():
    asked = []
    asking = _Asking(lambda flat: asked.append(int(flat[0])) or flat[0] >= 58)
    for step in range(1, 58):
        asking(np.array([step]))
    with pytest.raises(StopIteration):
        asking(np.array([58]))
    assert asked == [3, 6, 9, 13, 19, 28, 38, 48, 58]


def test_a_solvers_own_residuals_are_repaired_once(monkeypatch):
    repaired, plain = [], duality.repair
    monkeypatch.setattr(duality, "repair", lambda *given: repaired.append(1) or plain(*given))
    free = ufm.Problem([30, 20, 9, 4], 3e-3, 3e-3, features="free")
    assert ufm.solve(free, solver="factored").status == "certified"
    assert len(repaired) == 1
    # a bias or H ≥ 0 says more of the same residuals once there are factors
    ufm.solve(replace(free, bias="free"), solver="factored")
    assert len(repaired) >= 3


# -- at group level ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "solver"), [(19, "scs"), (20, "factored")])
def test_many_groups_of_free_features_go_to_the_descent(groups, solver):
    counts = np.repeat(np.arange(10, 10 + groups), 6)
    solution = ufm.solve(ufm.Problem(counts, 2e-4, 2e-4, features="free"))
    assert (solution.run.solver, solution.run.level, str(solution.status)) == (solver, "group", "certified")


def test_the_order_of_solvers_of_what_has_no_groups_is_as_it_was():
    kinds = solvers.available()["factored"]()
    counts = np.repeat(np.arange(10, 40), 6)
    for other in (
        ufm.Problem(counts, 1e-4, 1e-4),
        ufm.Problem(counts, 1e-4, 1e-4, features="free", feature_dim=7),
        ufm.Problem(counts, 1e-4, 1e-4, features="free", loss=LogitAdjustedCrossEntropy()),
    ):
        assert kinds.priority(other, "auto") == kinds.rank
        assert kinds.default_level(other) == "class"


def test_three_hundred_groups_start_from_fewer():
    counts = np.repeat(np.arange(20, 20 + MANY), 1 + np.arange(MANY) % 4)
    problem = ufm.Problem(counts, 3e-5, 3e-5, features="free")
    solution = ufm.solve(problem)
    assert (solution.run.solver, solution.run.level, str(solution.status)) == ("factored", "group", "certified")
    assert solution.run.iterations <= 30


# -- the bias ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["free", 1e-6])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(smoothing=0.1), BinaryCrossEntropy()])
def test_a_bias_moves_in_the_unit_of_its_curvature(loss, bias, monkeypatch):
    """With Σ weight for the curvature, V times too much, a descent takes three times as many iterations at least."""
    counts = np.repeat(np.round(np.geomspace(7, 500, 10)).astype(int), 10)
    columns = of_groups(ufm.Problem(counts, 1e-4, 1e-4, loss=loss, features="free", bias=bias))
    start = recovery.balanced(columns, recovery.rays(columns), np.zeros(columns.outputs.size))
    found, steps = recovery.descend(columns, start)
    monkeypatch.setattr(Scaled, "curvature", property(lambda scaled: float(scaled.columns.orbit_weights.sum())))
    slow, slower = recovery.descend(columns, start)
    assert slower >= 3 * steps or objective(columns, slow) > objective(columns, found)
    assert objective(columns, found) <= objective(columns, slow) * (1.0 + 1e-9)


def test_of_squared_error_the_curvature_is_what_it_is():
    columns = of_groups(ufm.Problem([5, 5, 3], 1e-2, 1e-2, loss=MeanSquaredError(), features="free", bias="free"))
    scaled = Scaled(columns, columns.columns)
    assert scaled.curvature == pytest.approx(1.0, rel=1e-15)
    softmax = replace(columns, loss=CrossEntropy())
    assert Scaled(softmax, softmax.columns).curvature == pytest.approx(1.0 / 3.0, rel=1e-15)


def test_residuals_in_blocks_are_restored_as_in_full():
    """Blocks of groups and the matrix of all classes are one repair: equal dual values, to rounding."""
    problem = ufm.Problem([30] * 3 + [8] * 4, 2e-3, 2e-3, features="free")
    groups, classes = of_groups(problem), of_classes(problem)
    found = recovery.rays(groups)
    full = Alike.matrix(classes.outputs, classes.columns, found.full())
    by_blocks, whole = restored(groups, found, None), restored(classes, full, None)
    np.testing.assert_allclose(Dual(by_blocks).full().residuals, whole.full(), atol=1e-13)

"""One programme for all levels, and the maps between them: equal optima, adjoint maps, multipliers with their factors.

Optima of problems with classes without samples are those of math with the number of outputs for K, computed apart.
"""

import warnings

import numpy as np
import pytest
from algebra_cases import ALIKE, BIASES, Given, random_alike

import ufm_convex as ufm
from ufm_convex.duality.admissible import repair
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy
from ufm_convex.relaxation import (
    LEVELS,
    Alike,
    Columns,
    Dual,
    Gram,
    Maps,
    Orbits,
    dual_value,
    making,
    objective,
    programme,
    scaled_slack,
    terms,
)

COUNTS = [4, 2, 4, 2, 4, 0, 7, 0]
FULL = [4, 2, 4, 2, 4, 3, 7, 3]


def solved(columns):
    built = programme(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "may be inaccurate": how accurate it is, is what the tests look at
        built.problem.solve(solver="CLARABEL")
    return built, float(built.problem.value) * built.objective_scale


# -- maps -------------------------------------------------------------------------------------------------------------


def maps_of(problem, fine, coarse):
    labels = np.repeat(np.arange(problem.num_classes), problem.class_counts) if fine == "sample" else None
    return Maps(LEVELS[fine].make(problem), LEVELS[coarse].make(problem), labels)


def random_gram(rng, columns, bias=False):
    V, m = columns.outputs, columns.columns
    A, B = random_alike(rng, V, V), random_alike(rng, m, m)
    return Gram(A @ A.T, random_alike(rng, V, m), B @ B.T, rng.normal(size=V.size) if bias else None)


PAIRS = [("sample", "class"), ("sample", "group"), ("class", "group"), ("class", "class")]


@pytest.mark.parametrize("counts", [COUNTS, FULL])
@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_maps_are_adjoint_and_undo_each_other(fine, coarse, counts):
    problem, rng = Given(counts, CrossEntropy(), 0.4), np.random.default_rng(0)
    maps = maps_of(problem, fine, coarse)
    Z, z = random_gram(rng, maps.fine), random_gram(rng, maps.coarse, bias=True)
    assert maps.refine(z).inner(Z) == pytest.approx(z.inner(maps.coarsen_dual(Z)), rel=1e-12)
    assert maps.coarsen(Z).inner(z) == pytest.approx(Z.inner(maps.refine_dual(z)), rel=1e-12)
    again = maps.coarsen(maps.refine(z))
    np.testing.assert_allclose(again.logits.full(), z.logits.full(), atol=1e-13)
    np.testing.assert_allclose(again.B.full(), z.B.full(), atol=1e-12)
    np.testing.assert_allclose(again.bias, z.bias, atol=1e-15)
    # the same objective one way, and none that is larger the other
    assert objective(maps.fine, maps.refine(z)) == pytest.approx(objective(maps.coarse, z), rel=1e-12)
    assert objective(maps.coarse, maps.coarsen(Z)) <= objective(maps.fine, Z) * (1.0 + 1e-12)


@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_dual_points_keep_feasibility_and_their_values(fine, coarse):
    problem, rng = Given(COUNTS, CrossEntropy()), np.random.default_rng(4)
    maps = maps_of(problem, fine, coarse)
    for columns, there, back in (
        (maps.fine, maps.coarse, maps.coarsen_point),
        (maps.coarse, maps.fine, maps.refine_point),
    ):
        V, m = columns.outputs, columns.columns
        dual, value = repair(columns, [Dual(columns.residuals(random_alike(rng, V, m)), random_alike(rng, m, m))])
        moved = back(dual)
        assert dual_value(there, moved.V) >= value - 1e-13
        assert scaled_slack(there, moved).eigenvalues().min() >= -1e-12
        assert moved.T.full().min() >= 0.0


# -- the programme ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", [None, "free", 0.05])
@pytest.mark.parametrize("loss", ["cross-entropy", "smoothed", "squared", "crammer-singer", "margin"])
def test_every_level_has_one_optimal_value(loss, bias, features):
    problem = Given([6, 2, 6, 2, 9], ALIKE[loss], bias, nonnegative=features == "nonnegative")
    found = [solved(LEVELS[level].make(problem))[1] for level in ("sample", "class", "group")]
    # the accuracy of the solver, 1e-8 of an objective that was divided by its size
    np.testing.assert_allclose(found, found[1], rtol=2e-6)


@pytest.mark.parametrize("bias", [None, "free", 0.05])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("level", ["sample", "class", "group"])
def test_multipliers_have_the_right_factors(level, features, bias):
    """At the solver's own points the identity has no term left: every factor 2 and multiplicity is in its place."""
    problem = Given([6, 2, 6, 2, 9], CrossEntropy(), bias, nonnegative=features == "nonnegative")
    columns = LEVELS[level].make(problem)
    built, value = solved(columns)
    point, dual = built.primal(), built.dual()
    dual = Dual(columns.admitted(columns.into_domain(dual.V)), dual.T, dual.S_A, dual.S_B)
    found = terms(columns, point, dual)
    assert objective(columns, point) == pytest.approx(value, rel=1e-6)
    for name in ("calibration", "alignment", "nonnegativity", "slack", "bias"):
        assert abs(getattr(found, name)) < 1e-6 * value, name
    # stationarity gives the other blocks of the multiplier
    half = 0.5 * problem.lambda_w
    np.testing.assert_allclose(dual.S_A.full(), half * np.eye(5), atol=1e-5 * half)
    nu = columns.columns.spread_out(columns.feature_weights)
    T = 0.0 if dual.T is None else dual.T.full()
    expected = 0.5 * problem.lambda_h * np.diag(nu) - T / (2.0 * problem.lambda_w)
    np.testing.assert_allclose(dual.S_B.full(), expected, atol=1e-4 * problem.lambda_h * nu.max())


@pytest.mark.parametrize(
    ("counts", "decay", "value"),
    [([50, 20, 0], 5e-3, 0.22144083147446308), ([30, 9, 4, 0, 0, 0, 0], 5e-3, 0.277066888078887)],
)
@pytest.mark.parametrize("level", ["sample", "class", "group"])
def test_classes_without_samples_count_as_outputs(counts, decay, value, level):
    problem = Given(counts, CrossEntropy(), lambda_w=decay, lambda_h=decay)
    columns = LEVELS[level].make(problem)
    built, found = solved(columns)
    assert found == pytest.approx(value, rel=1e-6)
    point = built.primal()
    _, lower = repair(columns, [built.dual(), Dual(columns.residuals(point.logits))], point)
    assert value * (1.0 - 1e-6) < lower <= value * (1.0 + 1e-12)


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", ["free", 0.01])
def test_a_bias_goes_through_orbits(bias, features):
    """K = 1000 in two groups: nothing has more entries than orbits, and the bound closes on the optimum."""
    problem = ufm.Problem(np.repeat([300, 20], 500), 1e-4, 1e-4, bias=bias, features=features)
    columns = making.of_groups(problem)
    built, value = solved(columns)
    point, dual = built.primal(), built.dual()
    assert point.logits.even.shape == (2, 2)
    assert point.bias.shape == (2,)
    _, lower = repair(
        columns, [dual, Dual(columns.residuals(columns.outputs_of(point.logits, point.bias)), dual.T)], point
    )
    assert lower <= value * (1.0 + 1e-7)
    assert lower >= value * (1.0 - 1e-6)


def test_orbits_that_are_permuted_together_are_refused():
    outputs = Orbits.of([3], [0])
    two = Orbits.of([3], [0, 0])
    plain = making.of_groups(Given([5, 5, 5], CrossEntropy()))
    target = Alike.matched(outputs, two)
    columns = Columns(
        outputs, two, target, np.zeros(2, int), np.ones(2), np.ones(2), 0.1, 0.1, plain.loss, nonnegative=True
    )
    with pytest.raises(HypothesisError, match="single orbits"):
        programme(columns)


def test_biases_are_known():
    assert set(BIASES) == {"none", "free", "penalised", "faint"}

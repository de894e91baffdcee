"""Factors: admissible, as good as the Gram matrix they come from, and honest about the dimension they need."""

import full_arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex import recovery, theory
from ufm_convex.errors import DimensionError, SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled
from ufm_convex.relaxation import GramPoint, of_classes
from ufm_convex.solving import solve
from ufm_convex.testing import problems


def first(columns, point):
    """The record of the first recovery, W and H."""
    return next(full_arrays.recoveries(columns, point))


@given(problems(), st.integers(0, 10**6), st.sampled_from([1e-10, 1e-6, 1e-3]))
def test_factors_of_a_noisy_optimum_reach_the_optimum(problem, seed, noise):
    columns, optimum = of_classes(problem), theory.optimum(problem)
    rng, K = np.random.default_rng(seed), problem.num_classes
    exact = GramPoint(optimum.weight_gram(), optimum.logits(), optimum.feature_gram())
    scale = [noise * (np.abs(block).max() + 1e-300) for block in (exact.weight_gram, exact.logits, exact.feature_gram)]
    noisy = GramPoint(
        exact.weight_gram + scale[0] * rng.normal(size=(K, K)),
        exact.logits + scale[1] * rng.normal(size=(K, K)),
        exact.feature_gram + scale[2] * rng.normal(size=(K, K)),
    )
    found, W, H = first(columns, noisy)
    assert (H >= 0.0).all()
    assert found.objective == pytest.approx(full_arrays.factored_objective(columns, W, H), rel=1e-14)
    # never below the optimum; the descent stops when the objective no longer changes in its last few digits
    assert -1e-12 <= (found.objective - optimum.value) / optimum.value < 1e-8


def test_the_residual_measures_the_distance_to_the_gram_point():
    problem = Problem([50, 20, 8], 0.01, 0.01)
    columns, optimum = of_classes(problem), theory.optimum(problem)
    exact = GramPoint(optimum.weight_gram(), optimum.logits(), optimum.feature_gram())
    assert first(columns, exact)[0].residual < 1e-6  # square root of the descent's accuracy
    doubled = GramPoint(2.0 * exact.weight_gram, 2.0 * exact.logits, 2.0 * exact.feature_gram)
    assert first(columns, doubled)[0].residual == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(("counts", "rank"), [([500, 300, 200, 3], 3), ([500, 300, 200, 100], 4), ([4, 3, 2, 1], 0)])
def test_the_rank_is_the_number_of_active_classes(counts, rank):
    lam = 0.005 if rank else 1.0
    solution = solve(Problem(counts, lam, lam), solver="clarabel")
    assert solution.rank == rank == theory.optimum(solution.problem).num_active


def test_a_dimension_that_is_too_small_is_refused_with_the_one_that_would_do():
    solution = solve(Problem([500, 300, 200, 3], 0.005, 0.005), solver="scs")
    with pytest.raises(DimensionError, match="feature_dim=3"):
        solution.factors(2)
    for d in (3, 4, 9):
        W, H = solution.factors(d)
        assert W.shape == H.shape == (4, d)
        columns = of_classes(solution.problem)
        assert full_arrays.factored_objective(columns, W, H) <= solution.upper_bound * (1 + 1e-9)


@pytest.mark.parametrize("solver", ["theory", "clarabel", "frame"])
@pytest.mark.parametrize("dimension", [0, -1, 2.7, 3.0, float("nan"), "3", True, (3,)])
def test_a_dimension_that_is_none_is_refused_by_name(solver, dimension):
    solution = solve(Problem([9, 6, 3], 0.02, 0.03), solver=solver)
    with pytest.raises(DimensionError, match="positive integer"):
        solution.factors(dimension)
    with pytest.raises(SizeError, match="entries"):
        solution.factors(10**30)


def test_refusal_is_the_same_on_a_frame():
    solution = solve(Problem([500, 300, 200, 3], 0.005, 0.005))
    assert solution.solver == "theory"
    with pytest.raises(DimensionError, match="feature_dim=3"):
        solution.factors(2)
    assert solution.factors(3)[0].shape == (4, 3)


def test_free_features_may_be_negative_and_reach_below():
    nonnegative = solve(Problem([50, 40, 30], 0.01, 0.01), solver="clarabel")
    free = solve(Problem([50, 40, 30], 0.01, 0.01, features="free"), solver="clarabel")
    assert free.upper_bound < nonnegative.lower_bound
    assert (free.factors()[1] < 0.0).any()
    assert free.rank == 2  # centred logits of three classes


def test_a_matrix_that_is_not_completely_positive_still_gives_admissible_factors():
    """The 5-cycle matrix is doubly non-negative of rank 3 and not completely positive (Horn form −2.64)."""
    i, j = np.indices((5, 5))
    B = 1.0 - np.cos(2 * np.pi * (i - j) / 5) / np.cos(4 * np.pi / 5)
    problem = Problem([20] * 5, 0.01, 0.01)
    columns = of_classes(problem)
    point = GramPoint(np.eye(5), np.eye(5), B)
    assert np.linalg.eigvalsh(B)[0] > -1e-12
    assert B.min() > -1e-12
    for found, _, H in full_arrays.recoveries(columns, point):
        assert (H >= 0.0).all()
        assert found.objective >= theory.optimum(problem).value * (1 - 1e-12)


@given(problems(max_classes=5), st.integers(0, 10**6))
def test_descent_never_ends_above_its_start(problem, seed):
    columns, rng = of_classes(problem), np.random.default_rng(seed)
    W, H = rng.normal(size=(problem.num_classes, 4)), rng.random((problem.num_classes, 4))
    new_W, new_H = full_arrays.descend(columns, W, H, iterations=5)
    assert (new_H >= 0.0).all()
    before = full_arrays.factored_objective(columns, W, H)
    assert full_arrays.factored_objective(columns, new_W, new_H) <= before


# -- what counts as a dimension -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "level", "rank"),
    [
        # three margins of 3.33 that cost 1e-7 of the objective; free features need K − 1 dimensions (docs/theorem.md)
        (Problem([5, 3, 2], 1e-8, 1e-8, loss=CrossEntropy(smoothing=0.1), features="free"), "class", 2),
        (Problem([5, 3, 2], 1e-8, 1e-8, loss=CrossEntropy(smoothing=0.1)), "class", 3),
        (Problem([5, 5, 5, 5], 1e-8, 1e-8, loss=CrossEntropy(smoothing=0.1), features="free"), "group", 3),
        # nothing is active
        (Problem([5, 3, 2], 3.0, 3.0, loss=CrossEntropy(smoothing=0.1), features="free"), "class", 0),
    ],
    ids=["free", "nonnegative", "group", "collapsed"],
)
def test_features_that_cost_next_to_nothing_have_a_rank(problem, level, rank):
    solution = solve(problem, solver="clarabel", level=level)
    assert solution.relative_gap <= 1e-6  # the status asks for a share of the excess, which is 1e-7 here
    assert solution.rank == rank
    if rank > 1:
        with pytest.raises(DimensionError, match=f"rank {rank}"):
            solution.factors(rank - 1)
    W, H = solution.factors(max(rank, 1))
    # a direction of noise is left out, which may cost a share of 1e-6
    columns = of_classes(problem)
    assert full_arrays.factored_objective(columns, W, H) <= solution.upper_bound * (1.0 + 1e-6 * problem.num_classes)


def test_the_rank_within_norm_bounds_that_do_not_bind():
    problem = Problem([5, 5, 2], constraint=LayerPeeled(20.0, 20.0), loss=CrossEntropy(smoothing=0.1), features="free")
    solution = solve(problem)
    assert (solution.status, solution.rank) == ("certified", 2)
    W, H = solution.factors(2)
    assert max((W**2).sum(), (H**2).sum()) <= 60.0


def test_factors_that_are_worse_than_promised_are_refused():
    """Planted fault: one dimension less than the optimum needs."""
    problem = Problem([5, 3, 2], 0.02, 0.02, features="free", bias="free")
    columns, recovered = of_classes(problem), solve(problem, solver="clarabel").evidence.recovered
    narrowed = recovery.narrowed(columns, recovered, 2)
    assert recovery.needed(narrowed.H, nonnegative=False) <= 2
    W, H = recovery.full(narrowed, 2, nonnegative=False)
    found = full_arrays.factored_objective(columns, W, H, recovered.factors.bias)
    assert found == pytest.approx(recovered.objective, rel=2e-6)
    with pytest.raises(DimensionError, match="best factors found there"):
        recovery.narrowed(columns, recovered, 1)

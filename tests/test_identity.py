"""The master identity holds for any point and any multipliers, at both levels; objectives match their definition."""

import math

import full_arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, GramPoint, of_classes, of_samples


def random_case(seed, level):
    """A problem with random Gram matrices, residuals and a T of any sign."""
    rng = np.random.default_rng(seed)
    K = int(rng.integers(2, 6))
    loss = CrossEntropy(class_weights=tuple(rng.uniform(0.5, 2.0, K)), smoothing=float(rng.choice([0.0, 0.2])))
    problem = Problem(rng.integers(1, 9, K), 0.03, 0.07, loss=loss)
    columns = of_classes(problem) if level == "class" else of_samples(problem)
    m = columns.rows.size
    W, H = rng.normal(size=(K, 4)), rng.normal(size=(m, 4))
    V = columns.loss.residuals(rng.normal(size=(K, m)), columns.layout)
    T = rng.normal(size=(m, m))
    return columns, W, H, DualPoint(V, T + T.T)


def by_definition(columns, W, H):
    """f(W, H) in plain Python, from the definition of cross-entropy."""
    loss, K = columns.loss, columns.outputs.total
    total = 0.0
    for i, label in enumerate(columns.rows):
        z = W @ H[i]
        log_sum = math.log(sum(math.exp(entry) for entry in z))
        target = [(1 - loss.smoothing) * (j == label) + loss.smoothing / K for j in range(K)]
        total += columns.loss_weights[i] * (log_sum - sum(t * entry for t, entry in zip(target, z, strict=True)))
        total += columns.lambda_h / 2 * columns.feature_weights[i] * sum(entry**2 for entry in H[i])
    return total + columns.lambda_w / 2 * sum(entry**2 for entry in W.ravel())


@pytest.mark.parametrize("level", ["class", "sample"])
@given(st.integers(0, 10**6))
def test_the_five_terms_sum_to_the_objective(level, seed):
    columns, W, H, dual = random_case(seed, level)
    found = full_arrays.terms(columns, GramPoint.from_factors(W, H), dual)
    expected = by_definition(columns, W, H)
    # terms of order up to 1e3 cancel to an objective of order 1 to 10
    assert found.objective == pytest.approx(expected, rel=1e-10)
    assert full_arrays.objective(columns, GramPoint.from_factors(W, H)) == pytest.approx(expected, rel=1e-12)
    assert full_arrays.factored_objective(columns, W, H) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 10**6))
def test_calibration_and_alignment_are_never_negative(seed):
    columns, W, H, dual = random_case(seed, "class")
    found = full_arrays.terms(columns, GramPoint.from_factors(W, H), dual)
    assert found.calibration >= -1e-12  # Fenchel–Young, up to the rounding of K terms
    assert found.alignment >= -1e-10  # a square, formed as a difference of numbers up to 1e3


def test_a_wrong_factor_in_the_slack_breaks_the_identity():
    columns, W, H, dual = random_case(7, "class")
    wrong = DualPoint(dual.residuals, 2.0 * dual.nonnegativity)
    right = full_arrays.terms(columns, GramPoint.from_factors(W, H), dual)
    mixed = full_arrays.terms(columns, GramPoint.from_factors(W, H), wrong)
    # the identity holds for any T, but only when T enters both terms alike
    assert mixed.objective == pytest.approx(right.objective, rel=1e-10)
    assert abs(right.slack + mixed.nonnegativity - right.slack - right.nonnegativity) > 1e-3


def test_dual_value_is_minus_infinity_outside_the_domain():
    columns = of_classes(Problem([3, 2], 0.1, 0.1))
    V = np.array([[-1.5, 0.5], [1.5, -0.5]])
    assert full_arrays.dual_value(columns, DualPoint(V, np.zeros((2, 2)))) == -np.inf

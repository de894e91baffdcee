"""The pigeonhole bound: below every point of that dimension, above the relaxation, and the inequality it rests on."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from ufm_convex import theory
from ufm_convex.errors import HypothesisError, SizeError
from ufm_convex.positivity.pigeonhole import envelope, partitions, pigeonhole_bound
from ufm_convex.problem import Problem

# smallest class at 10/3 times the collapse threshold
RECORDED = Problem([180, 60, 20], 2.0 / 260.0, 2.0 / 260.0, feature_dim=2)


def best_of_starts(problem, starts, seed=0):
    """The least objective at that d found by SciPy from random starts, written down independently."""
    K, d, n = problem.num_classes, problem.feature_dim, problem.class_counts

    def f(flat):
        W, H = flat[: K * d].reshape(K, d), flat[K * d :].reshape(K, d)
        logits = W @ H.T
        data = (n / n.sum()) @ (np.log(np.exp(logits).sum(axis=0)) - np.diag(logits))
        return data + problem.lambda_w / 2 * (W**2).sum() + problem.lambda_h / 2 * (n @ (H**2).sum(axis=1))

    rng, bounds = np.random.default_rng(seed), [(None, None)] * (K * d) + [(0.0, None)] * (K * d)
    drawn = (np.concatenate([rng.normal(size=K * d), rng.random(K * d)]) for _ in range(starts))
    return min(minimize(f, 2.0 * x, method="L-BFGS-B", bounds=bounds).fun for x in drawn)


def test_recorded_figures():
    """K = 3, d = 2: .53732 from the relaxation, .54992 after two rounds of tightening, .55188 the best point known."""
    found = pigeonhole_bound(RECORDED, rounds=2)
    assert found.relaxation == pytest.approx(0.53732, abs=1e-5)
    assert found.value == pytest.approx(0.54992, abs=1e-5)
    assert found.upper == pytest.approx(0.55188, abs=1e-5)
    assert found.closed == pytest.approx(0.86, abs=0.01)
    assert found.relaxation == pytest.approx(theory.bound(RECORDED).value, rel=1e-7)
    assert found.partitions == 3


@pytest.mark.parametrize(("counts", "dimension"), [([180, 60, 20], 2), ([40, 30, 20], 1), ([100, 50, 30, 20], 3)])
def test_no_start_ends_below_the_bound(counts, dimension):
    decay = math.sqrt(0.3 * min(counts)) / sum(counts)
    problem = Problem(counts, decay, decay, feature_dim=dimension)
    found = pigeonhole_bound(problem)
    assert theory.bound(problem).value * (1 - 1e-7) <= found.value
    assert found.relaxation * (1 + 1e-4) < found.value  # it does tighten
    assert found.value <= best_of_starts(problem, 20) * (1 + 1e-7)


@pytest.mark.parametrize("counts", [[180, 60, 20, 0], [0, 180, 60, 20], [180, 0, 0, 60, 20]])
def test_a_class_without_samples_has_an_output_and_no_feature(counts):
    decay = math.sqrt(0.3 * 20) / 260
    problem = Problem(counts, decay, decay, feature_dim=2)
    found, classes = pigeonhole_bound(problem, rounds=2), np.flatnonzero(counts).tolist()
    assert sorted(k for block in found.partition for k in block) == classes
    assert found.partitions == 3  # of three features into two coordinates
    assert found.relaxation == pytest.approx(theory.bound(problem).value, rel=1e-6)  # what the conic solver leaves
    assert found.relaxation * (1 + 1e-4) < found.value <= best_of_starts(problem, 20) * (1 + 1e-7)
    # it is not the bound of the problem without that output, which is lower: every sample pays for it
    dropped = Problem([180, 60, 20], decay, decay, feature_dim=2)
    assert found.value > best_of_starts(dropped, 20)


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_vectors_with_a_common_largest_coordinate_are_not_too_far_apart(d, seed):
    least = 1.0 / math.sqrt((d + 1) // 2 * -(-(d + 1) // 2))
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, d)) ** rng.choice([0.1, 1.0, 10.0])
    x[0], y[0] = x.max(), y.max()
    assert x @ y >= least * np.linalg.norm(x) * np.linalg.norm(y) * (1 - 1e-15)


@pytest.mark.parametrize("d", [2, 3, 4, 5])
def test_the_constant_is_attained_by_zero_one_vectors(d):
    least = 1.0 / math.sqrt((d + 1) // 2 * -(-(d + 1) // 2))
    corners = [np.array([1.0, *rest]) for rest in itertools.product([0.0, 1.0], repeat=d - 1)]
    cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x in corners for y in corners]
    assert min(cosines) == pytest.approx(least, rel=1e-15)


@given(*(st.floats(0.0, 10.0) for _ in range(4)), st.integers(0, 10**6))
def test_the_envelope_lies_below_the_mean_and_touches_the_corners(x0, width, y0, height, seed):
    x1, y1 = x0 + width + 0.1, y0 + height + 0.1
    planes = envelope(x0, x1, y0, y1)
    assert len(planes) >= 1

    def largest(x, y):
        return max(a * x + b * y + c for a, b, c in planes)

    rng = np.random.default_rng(seed)
    for x, y in zip(rng.uniform(x0, x1, 20), rng.uniform(y0, y1, 20), strict=True):
        assert largest(x, y) <= math.sqrt(x * y) + 1e-10
    for x, y in itertools.product((x0, x1), (y0, y1)):
        assert largest(x, y) == pytest.approx(math.sqrt(x * y), abs=1e-9)


def test_partitions_are_all_and_different():
    found = list(partitions(4, 2))
    assert len(found) == len({frozenset(map(frozenset, one)) for one in found}) == 7  # Stirling number S(4, 2)
    assert all(sorted(itertools.chain(*one)) == [0, 1, 2, 3] for one in found)
    assert list(partitions(3, 1)) == [((0, 1, 2),)]


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (Problem([5, 4, 3], 0.01, 0.01), HypothesisError),
        (Problem([5, 4, 3], 0.01, 0.01, feature_dim=3), HypothesisError),
        (Problem([5, 4, 3, 0], 0.01, 0.01, feature_dim=3), HypothesisError),
        (Problem([5, 4, 3], 0.01, 0.01, feature_dim=2, features="free"), HypothesisError),
        (Problem([5] * 7, 0.01, 0.01, feature_dim=2), SizeError),
    ],
)
def test_what_it_needs_is_named(problem, error):
    with pytest.raises(error):
        pigeonhole_bound(problem)

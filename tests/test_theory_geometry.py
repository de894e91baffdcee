"""Norms, angles, Gram matrices and factors of the optimum, against each other and against NumPy."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from theory_cases import optimum_of

from ufm_convex.errors import DimensionError, HypothesisError, ProblemError, SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.testing import problems

# -- geometry --------------------------------------------------------------------------------------------


ACTIVE = problems(max_classes=12, min_active=1, losses=(CrossEntropy(), CrossEntropy(smoothing=0.1)))


@given(ACTIVE)
@settings(max_examples=60, deadline=None)
def test_geometry_is_that_of_the_factors(problem: Problem) -> None:
    optimum = optimum_of(problem)
    W, H = optimum.factors(problem.num_classes)
    # Gram entries: products of roots of margins, each within MARGIN_TOLERANCE, with cancellation in sums
    close = {"rtol": 1e-11, "atol": 1e-13 * float(np.max(W @ W.T))}
    np.testing.assert_allclose(optimum.weight_gram(), W @ W.T, **close)
    np.testing.assert_allclose(optimum.weight_norms, np.linalg.norm(W, axis=1), **close)
    np.testing.assert_allclose(optimum.feature_gram(), H @ H.T, rtol=1e-13)
    np.testing.assert_allclose(optimum.feature_norms, np.linalg.norm(H, axis=1), rtol=1e-13)
    np.testing.assert_allclose(optimum.logits(), W @ H.T, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(optimum.logits().sum(axis=0), 0.0, atol=1e-13)
    np.testing.assert_allclose(W.sum(axis=0), 0.0, atol=1e-14 * np.abs(W).max() * problem.num_classes)
    energy_w = problem.lambda_w * np.sum(W**2)
    energy_h = problem.lambda_h * np.sum(problem.class_counts[:, None] * H**2)
    assert energy_w == pytest.approx(energy_h, rel=1e-13)
    assert 0.5 * np.sum(W**2) == pytest.approx(optimum.sensitivity_w, rel=1e-13)
    np.testing.assert_allclose(optimum.eta * optimum.omega, optimum.margins, rtol=1e-15 * 4)


@given(ACTIVE)
@settings(max_examples=40, deadline=None)
def test_angles_and_ratios_are_those_of_the_factors(problem: Problem) -> None:
    optimum = optimum_of(problem)
    W, H = optimum.factors()
    norms = np.linalg.norm(W, axis=1)
    cosines = optimum.weight_cosines()
    for k in range(problem.num_classes):
        for l in range(problem.num_classes):  # noqa: E741
            expected = W[k] @ W[l] / norms[k] / norms[l]
            assert optimum.cos_weights(k, l) == pytest.approx(expected, abs=1e-12)
            assert cosines[k, l] == pytest.approx(expected, abs=1e-12)
            assert optimum.weight_norm_ratio(k, l) == pytest.approx(norms[k] / norms[l], rel=1e-12)
            if optimum.collapsed[l]:
                with pytest.raises(HypothesisError, match="collapsed"):
                    optimum.cos_weight_feature(k, l)
                with pytest.raises(HypothesisError, match="collapsed"):
                    optimum.feature_norm_ratio(k, l)
                continue
            length = np.linalg.norm(H[l])
            assert optimum.cos_weight_feature(k, l) == pytest.approx(W[k] @ H[l] / norms[k] / length, abs=1e-12)
            ratio = np.linalg.norm(H[k]) / length
            assert optimum.feature_norm_ratio(k, l) == pytest.approx(ratio, rel=1e-12)


def test_collapsed_classes_share_one_classifier_row() -> None:
    optimum = optimum_of(Problem([500, 400, 3, 2, 1], 5e-3, 5e-3))
    assert list(optimum.collapsed) == [False, False, True, True, True]
    W, _ = optimum.factors(2)
    assert (W[2] == W[3]).all()
    assert (W[2] == W[4]).all()
    assert np.linalg.norm(W[2]) > 0.0
    assert optimum.cos_weights(3, 4) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize("size", [2, 3, 10, 100])
def test_balanced_classifier_is_a_simplex(size: int) -> None:
    optimum = optimum_of(Problem([50] * size, 1e-4, 1e-4))
    expected = np.full((size, size), -1.0 / (size - 1))
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(optimum.weight_cosines(), expected, rtol=1e-13)


def test_monotone_in_the_class_size_but_for_the_feature_norm() -> None:
    counts = np.arange(1, 2001)
    lambda_w = 100.5 * (counts.size - 1) / counts.size / float(counts.sum()) ** 2  # n_c = 100.5
    optimum = optimum_of(Problem(counts, lambda_w, 1.0))
    active = ~optimum.collapsed
    assert np.flatnonzero(active)[0] == 100
    a = np.sqrt(counts) * optimum.margins
    for increasing in (optimum.margins, a, optimum.weight_norms, counts * optimum.feature_norms**2):
        assert (np.diff(increasing[active]) > 0.0).all()
    squares = optimum.feature_norms**2
    peak = int(np.argmax(squares))
    assert 100 < peak < counts.size - 1
    assert (np.diff(squares[99 : peak + 1]) > 0.0).all()
    assert (np.diff(squares[peak:]) < 0.0).all()


def test_feature_norm_peaks_where_the_margin_is_the_inverse_of_the_right_mass() -> None:
    """K = 10: ‖h_k‖² ∝ r M peaks at M = 1/(1−t), that is at n_k = 2.95 n_c."""
    with mp.workdps(30):
        r = mp.findroot(lambda r: mp.log(1 + 10 * (1 / r - 1)) - 1 / (1 - mp.mpf(9) / 10 * r), 0.58)
        ratio = float(1 / r**2)
    assert ratio == pytest.approx(2.95, abs=0.005)
    grid = np.arange(10_000, 60_000, 25)
    sizes = [[int(n)] + [100_000] * 9 for n in grid]
    norms = []
    for counts in sizes:
        lambda_w = 10_000 * 0.9 / float(sum(counts)) ** 2  # n_c = 10,000 for every one of them
        optimum = optimum_of(Problem(counts, lambda_w, 1.0))
        norms.append(optimum.feature_norms[0] ** 2 / math.sqrt(lambda_w))
    # within a grid step and the flatness of the maximum
    assert grid[int(np.argmax(norms))] == pytest.approx(10_000 * ratio, abs=50)


# -- factors, sizes, refusals ----------------------------------------------------------------------------


def test_factors_have_disjoint_supports_and_the_asked_shape() -> None:
    optimum = optimum_of(Problem([500, 400, 3, 200, 1], 5e-3, 5e-3))
    assert optimum.num_active == 3
    for dim in (3, 4, 5, 9):
        W, H = optimum.factors(dim)
        assert W.shape == H.shape == (5, dim)
        assert (np.count_nonzero(H, axis=1) == [1, 1, 0, 1, 0]).all()
        assert np.count_nonzero(H @ H.T - np.diag(np.diag(H @ H.T))) == 0
    assert optimum.factors()[0].shape == (5, 5)
    within = optimum_of(Problem([500, 400, 3, 200, 1], 5e-3, 5e-3, feature_dim=4))
    assert within.factors()[0].shape == (5, 4)


@pytest.mark.parametrize("dim", [2, 0, -1, True, 3.0])
def test_factors_refuse_a_dimension_that_is_too_small(dim: object) -> None:
    optimum = optimum_of(Problem([500, 400, 3, 200, 1], 5e-3, 5e-3))
    with pytest.raises(DimensionError, match="use feature_dim=3 or more"):
        optimum.factors(dim)  # type: ignore[arg-type]


def test_without_active_classes_any_dimension_will_do() -> None:
    optimum = optimum_of(Problem([3, 2, 1], 10.0, 10.0))
    W, H = optimum.factors(1)
    assert W.shape == (3, 1)
    assert np.count_nonzero(W) == np.count_nonzero(H) == 0
    with pytest.raises(DimensionError, match="use feature_dim=1 or more"):
        optimum.factors(0)
    for undefined in (optimum.cos_weights, optimum.weight_norm_ratio, optimum.cos_weight_feature):
        with pytest.raises(HypothesisError, match="not defined"):
            undefined(0, 1)
    with pytest.raises(HypothesisError, match="every class is collapsed"):
        optimum.weight_cosines()


def test_a_class_that_does_not_exist_is_named() -> None:
    optimum = optimum_of(Problem([30, 20], 1e-3, 1e-3))
    for ask in (
        optimum.cos_weights,
        optimum.cos_weight_feature,
        optimum.feature_norm_ratio,
        optimum.weight_norm_ratio,
    ):
        with pytest.raises(ProblemError, match="from 0 to 1"):
            ask(0, 2)
        with pytest.raises(ProblemError, match="from 0 to 1"):
            ask(-1, 0)


def test_dense_arrays_are_refused_beyond_the_limit() -> None:
    optimum = optimum_of(Problem(np.full(20_001, 7), 1e-9, 1e-9))
    for dense, instead in [
        (optimum.weight_gram, "weight_norms"),
        (optimum.weight_cosines, "cos_weights"),
        (optimum.logits, "margins"),
        (optimum.feature_gram, "feature_norms"),
        (optimum.factors, "eta and omega"),
    ]:
        with pytest.raises(SizeError, match=instead):
            dense()
    assert optimum.cos_weights(0, 20_000) == pytest.approx(-1.0 / 20_000, rel=1e-9)


def test_a_million_distinct_classes() -> None:
    """All distinct, the threshold in their midst; against the textbook sum, which is good to 1e-12."""
    K = 1_000_000
    counts = np.arange(1, K + 1)
    N = int(counts.sum())
    lambda_w = 500_000.0 * (K - 1) / K / float(N) ** 2
    problem = Problem(counts, lambda_w, 1.0)
    optimum = optimum_of(problem)
    assert abs(optimum.num_active - 500_000) <= 1
    assert optimum.value == pytest.approx(optimum.dual_value, rel=1e-14)
    r = np.minimum(1.0, np.sqrt(500_000.0 / counts))
    other = r / K
    own = (1.0 - r) + other
    entropies = -own * np.log(own) - (K - 1) * other * np.log(other)
    assert optimum.value == pytest.approx(float(counts @ entropies) / N, rel=1e-12)


def test_results_cannot_be_changed() -> None:
    optimum = optimum_of(Problem([30, 20], 1e-3, 1e-3))
    for array in (optimum.margins, optimum.collapsed, optimum.wrong_mass, optimum.eta, optimum.weight_norms):
        assert not array.flags.writeable
    with pytest.raises(AttributeError):
        optimum.value = 0.0  # type: ignore[misc]

"""Which classes collapse: exact at the boundary, one ulp beside it, and with weights and smoothing."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from theory_cases import optimum_of

from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled
from ufm_convex.theory import exact_threshold

# (counts, λ_W, λ_H) with the first class on the boundary: n (K−1) = N² λ_W λ_H K holds in rational numbers
BOUNDARIES = {
    "K=2": ([4, 12], 2.0**-4, 2.0**-3),
    "K=5": ([5, 15, 15, 15, 14], 2.0**-5, 2.0**-5),
    "K=9": ([9, 100, 100, 100, 100, 100, 100, 100, 315], 2.0**-10, 2.0**-7),
    "K=1000000": (
        np.repeat([1_000_000, 15, 16], [1, 222_768, 777_231]).tolist(),  # N = 2^24
        999_999 * 2.0**-30,
        2.0**-18,
    ),
}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_boundary_is_collapsed_and_one_ulp_below_is_not(name: str) -> None:
    counts, lambda_w, lambda_h = BOUNDARIES[name]
    size, samples = len(counts), sum(counts)
    assert counts[0] * (size - 1) == samples**2 * Fraction(lambda_w) * Fraction(lambda_h) * size
    on = optimum_of(Problem(counts, lambda_w, lambda_h))
    assert on.collapsed[0]
    assert on.margins[0] == 0.0
    assert on.collapse_threshold == counts[0]
    above = optimum_of(Problem(counts, np.nextafter(lambda_w, 0.0), lambda_h))
    assert not above.collapsed[0]
    assert above.margins[0] > 0.0
    below = optimum_of(Problem(counts, np.nextafter(lambda_w, 1.0), lambda_h))
    assert below.collapsed[0]


@pytest.mark.parametrize("size", [3, 7, 1000])
def test_one_sample_above_the_threshold_is_active(size: int) -> None:
    """The largest count that collapses and the next, found here in integers."""
    other = 1_000_003
    samples = 2 * 10**6 + other * (size - 2) + 1
    lambda_w = 1e6 * (size - 1) / size / samples**2
    threshold = samples**2 * Fraction(lambda_w) * Fraction(size, size - 1)
    largest = math.floor(threshold)
    counts = [largest, largest + 1] + [other] * (size - 2)
    counts[-1] += samples - sum(counts)
    optimum = optimum_of(Problem(counts, lambda_w, 1.0))
    assert list(optimum.collapsed[:2]) == [True, False]


def test_collapse_in_floating_point_would_be_wrong() -> None:
    """Planted fault: the textbook comparison in binary64 misjudges some classes, the theorem none."""
    misjudged = 0
    for exponent in range(20, 40):
        for numerator in range(1, 200):
            lambda_w = (2 * numerator + 1) * 2.0**-exponent
            counts = [numerator, 3 * numerator + 1, 5 * numerator + 2]
            samples = sum(counts)
            lambda_h = counts[0] * 2 / 3 / (samples**2 * lambda_w)  # K = 3; rounded, so a hair off the boundary
            truth = counts[0] * 2 <= samples**2 * Fraction(lambda_w) * Fraction(lambda_h) * 3
            assert bool(optimum_of(Problem(counts, lambda_w, lambda_h)).collapsed[0]) == truth
            misjudged += (counts[0] <= samples**2 * lambda_w * lambda_h * 3 / 2) != truth
    assert misjudged > 0


@pytest.mark.parametrize(
    ("weights", "smoothing"), [((1.0, 1.0, 1.0), 0.25), ((2.0, 0.5, 1.0), 0.0), ((2.0, 0.5, 4.0), 0.5)]
)
def test_collapse_with_weights_and_smoothing_is_exact(weights: tuple[float, ...], smoothing: float) -> None:
    """At the boundary ω² n (1−α)² (K−1) = N² λ_W λ_H K of each class in turn, and one ulp to each side."""
    counts = [8, 32, 24]
    loss = CrossEntropy(class_weights=weights, smoothing=smoothing)
    for k in range(3):
        product = Fraction(weights[k]) ** 2 * counts[k] * (1 - Fraction(smoothing)) ** 2 * Fraction(2, 3) / 64**2
        lambda_w = float(product * 3)  # dyadic, so exact; λ_H = 1/3 is not
        for lambda_h in (math.nextafter(1 / 3, 0), 1 / 3, math.nextafter(1 / 3, 1)):
            expected = Fraction(lambda_w) * Fraction(lambda_h) >= product
            optimum = optimum_of(Problem(counts, lambda_w, lambda_h, loss=loss))
            assert bool(optimum.collapsed[k]) == expected
            assert np.broadcast_to(optimum.collapse_threshold, 3)[k] == pytest.approx(counts[k], rel=1e-15)


def test_threshold_of_weights_is_one_a_class() -> None:
    """θ_k = n_c / (ω_k (1−α))²."""
    plain = optimum_of(Problem([50, 30, 20], 1e-2, 1e-2))
    assert plain.collapse_threshold == pytest.approx(100**2 * 1e-4 * 1.5, rel=1e-15)
    loss = CrossEntropy(class_weights=(1.0, 2.0, 0.5), smoothing=0.5)
    assert optimum_of(Problem([50, 30, 20], 1e-2, 1e-2, loss=loss)).collapse_threshold == pytest.approx(
        [6.0, 1.5, 24.0], rel=1e-15
    )
    smoothed = optimum_of(Problem([50, 30, 20], 1e-2, 1e-2, loss=CrossEntropy(smoothing=0.5)))
    assert smoothed.collapse_threshold == pytest.approx(6.0, rel=1e-15)


def test_two_classes() -> None:
    """K = 2: n_c = 2 N² λ_W λ_H and w_1 = −w_2."""
    optimum = optimum_of(Problem([30, 10], 1e-3, 2e-2))
    assert optimum.collapse_threshold == pytest.approx(2 * 40**2 * 2e-5, rel=1e-15)
    W, _ = optimum.factors()
    assert (W[0] == -W[1]).all()
    assert optimum.cos_weights(0, 1) == pytest.approx(-1.0, rel=1e-15)
    assert optimum.weight_norm_ratio(0, 1) == 1.0


def test_without_decays_there_is_no_threshold_of_the_counts() -> None:
    with pytest.raises(HypothesisError, match="layer-peeled"):
        exact_threshold(Problem([3, 2, 1], constraint=LayerPeeled(1.0, 5.0)))
    # a bias is not looked at: N² λ_W λ_H K/(K−1) = 36 · 2⁻¹² · 3/2
    assert exact_threshold(Problem([3, 2, 1], 2.0**-6, 2.0**-6, bias="free")) == Fraction(54, 4096)

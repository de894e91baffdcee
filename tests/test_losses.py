"""Losses: values, gradients, conjugates and enclosures of cross-entropy against mpmath, and the registry."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cvxpy as cp
import flint
import mpmath as mp
import numpy as np
import pytest
from flint import arb, fmpq
from full_columns import Full
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from ufm_convex import losses
from ufm_convex.errors import ProblemError, UnknownNameError
from ufm_convex.losses import CrossEntropy, Loss
from ufm_convex.problem import Problem

EPS = sys.float_info.epsilon
DIGITS = 60
SMOOTHINGS = [0.0, 0.1, 0.75]

logit_columns = st.integers(2, 6).flatmap(
    lambda k: st.tuples(st.lists(st.floats(-30, 30), min_size=k, max_size=k), st.integers(0, k - 1))
)


# -- the definitions, in mpmath and nothing else --------------------------------------------------------------


def target(size: int, label: int, smoothing: float) -> list:
    alpha = mp.mpf(smoothing)
    return [(1 - alpha) * (j == label) + alpha / size for j in range(size)]


def reference_value(logits, label: int, smoothing: float):
    """log Σ exp(z_j) − <y, z>, as it stands; the digits must cover the cancellation."""
    logits = [mp.mpf(z) for z in logits]
    return mp.log(mp.fsum(map(mp.exp, logits))) - mp.fdot(target(len(logits), label, smoothing), logits)


def reference_conjugate(residuals, label: int, smoothing: float):
    """Σ p log p with p = v + y, where the own entry of v closes the column exactly."""
    others = [mp.mpf(v) for j, v in enumerate(residuals) if j != label]
    wrong = [v + mp.mpf(smoothing) / len(residuals) for v in others]
    probabilities = [*wrong, 1 - mp.fsum(wrong)]
    return mp.fsum(p * mp.log(p) for p in probabilities if p > 0)


def column(values) -> np.ndarray:
    return np.array(values, dtype=float).reshape(-1, 1)


def scale(logits) -> float:
    """Bound on the terms that enter a value: half-ulps of these are the rounding errors of the result."""
    return 4.0 + len(logits) + 2.0 * float(np.ptp(logits))


# -- values and gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(logit_columns)
def test_values(smoothing: float, case) -> None:
    logits, label = case
    computed = Full(CrossEntropy(smoothing=smoothing)).values(column(logits), np.array([label]))
    with mp.workdps(DIGITS):
        exact = reference_value(logits, label, smoothing)
        # differences of logits are rounded once each and enter with weights that sum to at most 2
        assert abs(computed[0] - exact) <= EPS * scale(logits)
        if not smoothing:  # ... and then every term is positive: the error is relative to the value itself
            assert abs(computed[0] - exact) <= EPS * scale(logits) * exact


@pytest.mark.parametrize("margin", [69.0, 200.5, 700.0])
def test_tiny_losses_keep_their_digits(margin: float) -> None:
    """K = 3: the loss is about 2e-30, 8e-88 and 2e-304; log Σ exp(z_j) − z_y in binary64 would be 0."""
    logits = [margin, 0.0, 0.125]
    computed = Full(CrossEntropy()).values(column(logits), np.array([0]))[0]
    with mp.workdps(400):
        exact = reference_value(logits, 0, 0.0)
        # the logits are exact and so are their differences: exp, sum and log1p, a few half-ulps
        assert 0 < exact < 3e-30
        assert abs(computed - exact) <= 4 * EPS * exact


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("label", [0, 1, 2])
def test_logits_of_a_thousand_neither_overflow_nor_lose_digits(smoothing: float, label: int) -> None:
    logits = [1000.0, -1000.0, 999.0]
    loss = Full(CrossEntropy(smoothing=smoothing))
    computed = loss.values(column(logits), np.array([label]))[0]
    residual = loss.residuals(column(logits), np.array([label]))[:, 0]
    with mp.workdps(1000):
        exact = reference_value(logits, label, smoothing)
        assert abs(computed - exact) <= 4 * EPS * exact
        shares = [mp.exp(mp.mpf(z)) for z in logits]
        total = mp.fsum(shares)
        for j, y in enumerate(target(3, label, smoothing)):
            assert abs(residual[j] - (shares[j] / total - y)) <= 4 * EPS


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(logit_columns)
@settings(max_examples=25, deadline=None)
def test_residuals_are_the_gradient(smoothing: float, case) -> None:
    logits, label = case
    computed = Full(CrossEntropy(smoothing=smoothing)).residuals(column(logits), np.array([label]))[:, 0]
    assert abs(math.fsum(computed)) <= len(logits) * EPS  # the own entry closes the column up to one rounding
    with mp.workdps(DIGITS):
        for j in range(len(logits)):

            def along(z, j=j):
                return reference_value([*logits[:j], z, *logits[j + 1 :]], label, smoothing)

            derivative = mp.diff(along, mp.mpf(logits[j]))
            # mp.diff is good to half the digits; binary64 errors of the differences scale probabilities below 1
            assert abs(computed[j] - derivative) <= EPS * scale(logits)


def test_columns_are_separate() -> None:
    rng = np.random.default_rng(7)
    logits, labels = rng.normal(size=(4, 9)), rng.integers(0, 4, 9)
    for smoothing in SMOOTHINGS:
        loss = Full(CrossEntropy(smoothing=smoothing))
        residuals = loss.residuals(logits, labels)
        for i in range(9):
            one, own = [slice(None), [i]], labels[[i]]
            assert loss.values(logits[*one], own)[0] == pytest.approx(loss.values(logits, labels)[i], rel=4 * EPS)
            assert loss.residuals(logits[*one], own)[:, 0] == pytest.approx(residuals[:, i], abs=4 * EPS)
            single = loss.conjugate(residuals[*one], own)[0]
            assert single == pytest.approx(loss.conjugate(residuals, labels)[i], rel=8 * EPS)


def test_class_weights_belong_to_the_problem_not_to_the_values() -> None:
    loss = Full(CrossEntropy(class_weights=[1, 2, 0.5]))
    assert loss.class_weights == (1.0, 2.0, 0.5)
    assert loss.weights(3).tolist() == [1.0, 2.0, 0.5]
    assert CrossEntropy().weights(3).tolist() == [1.0, 1.0, 1.0]
    # log(1 + 1 + 1) at equal logits, whatever the weight
    assert loss.values(np.zeros((3, 1)), np.array([1]))[0] == pytest.approx(math.log(3), rel=2 * EPS)


# -- the conjugate --------------------------------------------------------------------------------------------


@st.composite
def inside(draw, smoothing: float) -> tuple[np.ndarray, int]:
    """A column of the conjugate's domain, probabilities from the middle of the simplex to 1e-30 from its faces."""
    size = draw(st.integers(2, 6))
    label = draw(st.integers(0, size - 1))
    shares = np.array(draw(st.lists(st.sampled_from([0.0, 1e-30, 1e-9, 0.3, 1.0]), min_size=size, max_size=size)))
    shares[draw(st.integers(0, size - 1))] += 1.0
    wrong = shares / shares.sum()
    wrong[label] = 0.0
    residual = wrong - smoothing / size
    residual[label] = 0.0
    residual[label] = -residual.sum()
    return residual, label


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(st.data())
def test_conjugate_is_minus_the_entropy(smoothing: float, data) -> None:
    residual, label = data.draw(inside(smoothing))
    computed = Full(CrossEntropy(smoothing=smoothing)).conjugate(column(residual), np.array([label]))[0]
    with mp.workdps(DIGITS):
        exact = reference_conjugate(residual.tolist(), label, smoothing)
        # a probability is off by an ulp of 1 (one subtraction of a sum of K terms), and p log p has slope 1 + log p,
        # which is 70 at 1e-30; without smoothing small probabilities are given exactly and the bound is relative
        assert abs(computed - exact) <= len(residual) * 40 * EPS
        if not smoothing and residual[label] > -0.5:
            assert abs(computed - exact) <= 8 * EPS * abs(exact)


@pytest.mark.parametrize("mass", [1e-300, 1e-30, 1e-12, 0.25, 0.75, 1.0 - 2.0**-40, 1.0])
def test_conjugate_keeps_its_digits_at_both_ends(mass: float) -> None:
    residual = [-mass, mass / 4, 3 * mass / 4]
    computed = Full(CrossEntropy()).conjugate(column(residual), np.array([0]))[0]
    with mp.workdps(400):
        exact = reference_conjugate(residual, 0, 0.0)
        assert abs(computed - exact) <= 6 * EPS * abs(exact)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(logit_columns, st.data())
def test_fenchel_young(smoothing: float, case, data) -> None:
    """l(z) + l*(v) ≥ <z, v> everywhere, with equality at v = ∇l(z): the weak and strong duality of one column."""
    logits, label = case
    loss, labels = Full(CrossEntropy(smoothing=smoothing)), np.array([label])
    tolerance = 8 * EPS * scale(logits) * (1.0 + max(map(abs, logits)))
    value = loss.values(column(logits), labels)[0]
    gradient = loss.residuals(column(logits), labels)
    touching = value + loss.conjugate(gradient, labels)[0] - float(gradient[:, 0] @ logits)
    assert abs(touching) <= tolerance
    shares = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(logits), max_size=len(logits)))) + 1e-3
    other = shares / shares.sum()
    other -= smoothing / len(logits)
    other[label] -= 1 - smoothing
    assert value + loss.conjugate(column(other), labels)[0] - float(other @ logits) >= -tolerance


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize(
    "shift",
    [
        [0.0, 1e-9, -1e-9],  # a negative probability
        [-1.0 - 1e-9, 0.5, 0.5 + 1e-9],  # wrong-class mass above one
        [0.1, 0.0, 0.0],  # does not sum to one
        [0.0, -0.5, 0.0],
    ],
)
def test_conjugate_is_infinite_outside_the_simplex(smoothing: float, shift: list[float]) -> None:
    loss, labels = Full(CrossEntropy(smoothing=smoothing)), np.array([0])
    vertex = column([smoothing - smoothing / 3, -smoothing / 3, -smoothing / 3])  # p = e_0
    assert loss.conjugate(vertex, labels)[0] == pytest.approx(0.0, abs=40 * EPS)
    assert loss.conjugate(vertex + column(shift), labels)[0] == math.inf
    assert loss.violation(vertex + column(shift), labels) >= 1e-9 - EPS


def test_violation_by_hand() -> None:
    loss, labels = Full(CrossEntropy()), np.array([0])
    assert loss.violation(column([-0.5, 0.25, 0.25]), labels) == 0.0
    assert loss.violation(column([0.25, 0.0, -0.25]), labels) == 0.25
    assert loss.violation(column([-1.5, 0.75, 0.75]), labels) == 0.5
    assert loss.violation(column([-0.5, 0.25, 0.5]), labels) == 0.25
    assert loss.violation(np.hstack([column([-0.5, 0.5]), column([0.125, -0.125])]), np.array([0, 0])) == 0.125
    assert Full(CrossEntropy(smoothing=0.5)).violation(column([0.25, -0.25]), labels) == 0.0  # p = e_0
    assert Full(CrossEntropy(smoothing=0.5)).violation(column([0.5, -0.5]), labels) == 0.25


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(st.data())
def test_points_inside_stay_where_they_are(smoothing: float, data) -> None:
    residual, label = data.draw(inside(smoothing))
    moved = Full(CrossEntropy(smoothing=smoothing)).into_domain(column(residual), np.array([label]))[:, 0]
    # without smoothing p is given exactly; with it, α/K is added and taken off again. A wrong-class mass that is 1
    # in exact arithmetic may be summed to 1 + ulps, and is then renormalised by as much.
    tolerance = 0.0 if not smoothing and residual[label] > -1.0 + 1e-9 else len(residual) * 2 * EPS
    assert np.abs(moved - residual).max() <= tolerance


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(st.lists(st.lists(st.floats(-3, 3) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=3, max_size=3)))
def test_points_outside_come_into_the_domain(smoothing: float, columns: list[list[float]]) -> None:
    loss = Full(CrossEntropy(smoothing=smoothing))
    given_points = np.array([[2.0, -1.0, 0.5], *columns]).T
    labels = np.arange(given_points.shape[1]) % 3
    points = loss.into_domain(given_points, labels)
    assert loss.violation(points, labels) <= 4 * EPS
    assert np.isfinite(loss.conjugate(points, labels)).all()


def test_the_way_into_the_domain_by_hand() -> None:
    loss, labels = Full(CrossEntropy()), np.array([0])
    assert loss.into_domain(column([9.0, 0.25, -0.25]), labels)[:, 0].tolist() == [-0.25, 0.25, 0.0]
    assert loss.into_domain(column([0.0, 1.0, 3.0]), labels)[:, 0].tolist() == [-1.0, 0.25, 0.75]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(st.data())
def test_limit_is_where_the_ray_leaves_the_simplex(smoothing: float, data) -> None:
    residual, label = data.draw(inside(smoothing))
    loss, labels = Full(CrossEntropy(smoothing=smoothing)), np.array([label])
    limit = loss.limit(column(residual), labels)[0]
    # the exact step to the first face, in rationals, for the point as it is stored
    y = [Fraction(smoothing) / len(residual) + (1 - Fraction(smoothing)) * (j == label) for j in range(len(residual))]
    steps = [yj / -Fraction(v) for yj, v in zip(y, residual.tolist(), strict=True) if v < 0]
    expected = max(float(min(steps)), 1.0) if steps else 1.0  # a rounded point may lie outside by an ulp
    # the target is rounded twice and divided once
    assert limit == pytest.approx(expected, rel=4 * EPS)


def test_limit_by_hand() -> None:
    loss = Full(CrossEntropy())
    assert loss.limit(column([-0.25, 0.125, 0.125]), np.array([0]))[0] == 4.0
    assert loss.limit(column([0.0, 0.0, 0.0]), np.array([0]))[0] == 1.0
    assert loss.limit(column([-1.0 - EPS, 0.5, 0.5 + EPS]), np.array([0]))[0] == 1.0  # outside by rounding
    # smoothing ½, K = 2: the target is (¾, ¼); along (½, −½)·¼ the second entry reaches 0 at s = 2
    assert Full(CrossEntropy(smoothing=0.5)).limit(column([0.125, -0.125]), np.array([0]))[0] == 2.0


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=6), st.floats(1e-9, 1.0))
@settings(deadline=None)
def test_ray_maximum_has_its_closed_form_without_smoothing(shares: list[float], mass: float) -> None:
    """s = 1 / (m (1 + e^{−H})), H the entropy of the wrong classes' distribution, m their mass."""
    wrong = np.array(shares) / np.sum(shares)
    residual = np.append(mass * wrong, -mass * wrong.sum())
    loss, labels = Full(CrossEntropy()), np.array([len(shares)])
    step = loss.ray_maximum(column(residual), labels)[0]
    entropy = -float(wrong @ np.log(wrong))
    expected = 1.0 / (mass * (1.0 + math.exp(-entropy)))
    # at a maximum the value is flat: comparisons of values place s only to the root of their rounding error ...
    assert step == pytest.approx(expected, rel=1e-6)
    # ... which costs s² |Ent''| ≲ (1e-6)² in the value itself
    values = [loss.conjugate(column(residual * s), labels)[0] for s in (step, min(expected, 1.0 / mass))]
    assert values[0] == pytest.approx(values[1], abs=1e-11)


@pytest.mark.parametrize("smoothing", [0.05, 0.5])
@pytest.mark.parametrize("seed", range(8))
def test_ray_maximum_agrees_with_scipy_under_smoothing(smoothing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, label = 5, 2
    probabilities = rng.dirichlet(np.ones(size))
    with mp.workdps(30):
        residual = probabilities - np.array(target(size, label, smoothing), dtype=float)
        loss, labels = Full(CrossEntropy(smoothing=smoothing)), np.array([label])
        limit = float(loss.limit(column(residual), labels)[0])

        def negative_entropy(s: float) -> float:
            return float(reference_conjugate((s * residual).tolist(), label, smoothing))

        found = optimize.minimize_scalar(
            negative_entropy, bounds=(0, limit), method="bounded", options={"xatol": 1e-10}
        )
        step = loss.ray_maximum(column(residual), labels)[0]
        assert 0 <= step <= limit
        # flat at a maximum inside (see above); at s = 0, where v leads away from the uniform distribution, the last
        # interval of 1e-9 of the limit costs that times the slope, which is below 1 here
        assert negative_entropy(step) == pytest.approx(found.fun, abs=1e-9)


# -- cvxpy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_expression_is_convex_and_equals_the_definition(smoothing: float) -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(scale=4.0, size=(4, 6)), np.array([0, 1, 2, 3, 3, 0])
    variable = cp.Variable((4, 6), value=logits)
    expression = Full(CrossEntropy(smoothing=smoothing)).expression(variable, labels)
    assert expression.shape == (6,)
    assert expression.is_convex()
    assert expression.is_dcp()
    with mp.workdps(DIGITS):
        for i, label in enumerate(labels.tolist()):
            exact = reference_value(logits[:, i].tolist(), label, smoothing)
            # cvxpy forms log-sum-exp minus the inner product, so the error is relative to the logits
            assert abs(expression.value[i] - exact) <= EPS * scale(logits[:, i])


# -- balls ----------------------------------------------------------------------------------------------------


@pytest.fixture
def precision() -> Iterator[int]:
    with flint.ctx.workprec(128):
        yield 128


def ends(ball: arb):
    """Both ends of a ball, exactly, as mpf at the working precision or finer."""
    return tuple(mp.ldexp(int(m), int(e)) for m, e in (ball.lower().man_exp(), ball.upper().man_exp()))


def assert_encloses(ball: arb, exact, relative_width: float) -> None:
    low, high = ends(ball)
    assert low <= exact <= high
    assert high - low <= relative_width * abs(exact)


def rational(value: float) -> fmpq:
    return fmpq(*value.as_integer_ratio())


def exact_mpf(value: fmpq):
    return mp.mpf(int(value.p)) / int(value.q)


# 128 bits: each operation rounds at 2^-128 = 3e-39 relative, logits of 30 amplify that by as much, a few terms add up
NARROW = 1e-35


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(case=logit_columns)
@settings(max_examples=40, deadline=None)
def test_enclosed_values_contain_the_exact_one_and_are_narrow(smoothing: float, case) -> None:
    logits, label = case
    with flint.ctx.workprec(128), mp.workdps(DIGITS + 30):
        ball = Full(CrossEntropy(smoothing=smoothing)).enclose_value([arb(z) for z in logits], label)
        assert_encloses(ball, reference_value(logits, label, smoothing), NARROW * (1 + 1 / (smoothing or 1)))


@pytest.mark.usefixtures("precision")
def test_an_enclosed_tiny_value_is_narrow_too() -> None:
    with mp.workdps(400):
        exact = reference_value([700.0, 0.0, 0.125], 0, 0.0)
        assert_encloses(Full(CrossEntropy()).enclose_value([arb(700), arb(0), arb(0.125)], 0), exact, 1e-34)


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_enclosed_values_cover_every_point_of_their_balls(smoothing: float) -> None:
    rng = np.random.default_rng(5)
    centre, radius = [0.5, -1.0, 2.0], 0.25
    ball = Full(CrossEntropy(smoothing=smoothing)).enclose_value([arb(z, radius) for z in centre], 1)
    low, high = ends(ball)
    with mp.workdps(DIGITS):
        for signs in [*np.ndindex(2, 2, 2)]:
            corner = [z + radius * (2 * s - 1) for z, s in zip(centre, signs, strict=True)]
            assert low <= reference_value(corner, 1, smoothing) <= high
        for _ in range(20):
            point = [z + float(rng.uniform(-radius, radius)) for z in centre]
            assert low <= reference_value(point, 1, smoothing) <= high


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(case=st.lists(st.integers(0, 2**40), min_size=2, max_size=6).filter(any), data=st.data())
@settings(max_examples=40, deadline=None)
def test_enclosed_conjugates_contain_the_exact_one_and_are_narrow(smoothing: float, case, data) -> None:
    label = data.draw(st.integers(0, len(case) - 1))
    probabilities = [fmpq(share, sum(case)) for share in case]
    alpha = rational(smoothing)
    residual = [p - alpha / len(case) - (1 - alpha) * (j == label) for j, p in enumerate(probabilities)]
    with flint.ctx.workprec(128), mp.workdps(DIGITS):
        ball = Full(CrossEntropy(smoothing=smoothing)).enclose_conjugate(residual, label)
        exact = mp.fsum(exact_mpf(p) * mp.log(exact_mpf(p)) for p in probabilities if p)
        assert_encloses(ball, exact, NARROW)


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("mass", [fmpq(1, 2**60), fmpq(1, 10**150), fmpq(3, 10**300)])
def test_enclosed_conjugates_are_narrow_relative_to_themselves(mass: fmpq) -> None:
    """Weak decay puts the optimum this near to a vertex; an absolute width of 1e-38 would then prove nothing."""
    with mp.workdps(700):
        wrong = exact_mpf(mass)
        exact = (1 - wrong) * mp.log(1 - wrong) + wrong * mp.log(wrong / 2)
        assert_encloses(Full(CrossEntropy()).enclose_conjugate([-mass, mass / 2, mass / 2], 0), exact, NARROW)
        # q (K−1)/K is the wrong mass of strength q
        assert_encloses(CrossEntropy().enclose_margin_conjugate(mass * 3 / 2, 3), exact, NARROW)


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("unit", [fmpq(1, 2**1074), fmpq(1, 10**400)])
def test_a_residual_outside_the_simplex_by_one_unit_is_refused(smoothing: float, unit: fmpq) -> None:
    loss, alpha = Full(CrossEntropy(smoothing=smoothing)), rational(smoothing)
    vertex = [alpha - alpha / 3, -alpha / 3, -alpha / 3]  # p = e_0
    assert ends(loss.enclose_conjugate(vertex, 0)) == (0, 0)
    inward = [vertex[0] - unit, vertex[1] + unit, vertex[2]]
    assert loss.enclose_conjugate(inward, 0) < 0
    for faulty in (
        [vertex[0] + unit, vertex[1], vertex[2]],  # sums to more than one
        [vertex[0] - unit, vertex[1], vertex[2]],  # ... to less
        [vertex[0] + unit, vertex[1] - unit, vertex[2]],  # a negative probability
        [vertex[0] - 1 - unit, vertex[1] + 1, vertex[2] + unit],  # the own probability negative
    ):
        with pytest.raises(ValueError, match="outside the simplex"):
            loss.enclose_conjugate(faulty, 0)


# -- one number a class ---------------------------------------------------------------------------------------


def on_ray(strength: float, size: int) -> list:
    """s (e_0 − 1/K) in mpmath."""
    s = mp.mpf(strength)
    return [s - s / size, *[-s / size] * (size - 1)]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("size", [2, 3, 1000])
def test_margins_are_the_loss_on_its_ray(smoothing: float, size: int) -> None:
    loss = Full(CrossEntropy(smoothing=smoothing))
    margins = np.array([0.0, 1e-9, 0.5, 3.0, 69.0, 700.0])
    values, strengths = loss.margin_values(margins, size), loss.margin_strengths(margins, size)
    for margin, value, strength in zip(margins.tolist(), values, strengths, strict=True):
        with mp.workdps(400), flint.ctx.workprec(128):
            logits = on_ray(margin, size)
            exact = reference_value(logits, 0, smoothing)
            assert abs(value - exact) <= 6 * EPS * exact
            assert_encloses(loss.enclose_margin_value(arb(margin), size), exact, NARROW * size)
            total = mp.exp(logits[0]) + (size - 1) * mp.exp(logits[1])
            wrong = mp.exp(logits[1]) / total
            slope = size * wrong - mp.mpf(smoothing)  # −∂l/∂z_j = −q/K for a wrong class j
            assert abs(strength - slope) <= 6 * EPS * (slope if not smoothing else 1)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("size", [2, 3, 1000])
def test_margin_conjugates_are_the_conjugate_on_its_ray(smoothing: float, size: int) -> None:
    loss = Full(CrossEntropy(smoothing=smoothing))
    top = size / (size - 1) - smoothing
    strengths = [-smoothing, 1e-30 - smoothing, 0.0, 0.25 * top, 0.9 * top]
    computed = loss.margin_conjugates(np.array(strengths), size)
    for strength, value in zip(strengths, computed, strict=True):
        with mp.workdps(DIGITS + 30), flint.ctx.workprec(128):
            ratio = mp.mpf(strength) + mp.mpf(smoothing)
            wrong = ratio / size
            own = 1 - (size - 1) * wrong
            exact = own * mp.log(own) + ((size - 1) * wrong * mp.log(wrong) if wrong else 0)
            # r = α + q is rounded to an ulp of 1 under smoothing, and r log r has slope 1 + |log r| < 80 down to 1e-30
            bound = 8 * EPS * abs(exact) if not smoothing else 80 * EPS
            assert abs(value - exact) <= bound
            low, high = ends(loss.enclose_margin_conjugate(rational(strength), size))
            assert low <= exact <= high
            assert high - low <= 1e-34


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("size", [2, 5, 1000])
def test_fenchel_young_on_the_ray(smoothing: float, size: int) -> None:
    """<m (e − 1/K), −q (e − 1/K)> = −m q (K−1)/K, with equality at q = q(m) only."""
    loss, margins = Full(CrossEntropy(smoothing=smoothing)), np.array([0.0, 0.125, 2.0, 9.0])
    strengths = loss.margin_strengths(margins, size)
    for shift in (0.0, 1e-3, -1e-3):
        shifted = np.clip(strengths + shift, -smoothing, size / (size - 1) - smoothing)
        slack = loss.margin_values(margins, size) + loss.margin_conjugates(shifted, size)
        slack += margins * shifted * (size - 1) / size
        # sums of terms below 20
        assert (slack >= -40 * EPS).all()
        assert (np.abs(slack) <= 40 * EPS).all() == (shift == 0.0)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("size", [2, 3, 1000])
def test_strengths_outside_by_one_unit_are_refused(smoothing: float, size: int) -> None:
    loss, alpha, unit = CrossEntropy(smoothing=smoothing), rational(smoothing), fmpq(1, 2**1074)
    top = fmpq(size, size - 1) - alpha
    assert loss.enclose_margin_conjugate(top, size) <= 0
    assert loss.enclose_margin_conjugate(-alpha, size) <= 0
    for faulty in (top + unit, -alpha - unit):
        with pytest.raises(ValueError, match="outside the simplex"):
            loss.enclose_margin_conjugate(faulty, size)
    outside = np.array([float(top.p) / float(top.q) + 1e-9, -smoothing - 1e-9])
    assert loss.margin_conjugates(outside, size).tolist() == [math.inf, math.inf]


# -- parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1.0, -0.1, 2, math.nan, math.inf, True, "0.1", None, [0.1], np.array([0.1])])
def test_smoothing_outside_its_range_is_refused(value: object) -> None:
    with pytest.raises(ProblemError, match="smoothing is "):
        CrossEntropy(smoothing=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "entry", [0.0, -1.0, math.nan, math.inf, 1e308, True, "1", None, [1.0], pytest.param(10**400, id="huge")]
)
def test_class_weights_that_are_no_positive_numbers_are_refused(entry: object) -> None:
    with pytest.raises(ProblemError, match="class_weights has the entry "):
        CrossEntropy(class_weights=[1.0, entry])  # type: ignore[arg-type, list-item]


@pytest.mark.parametrize("value", [2.0, "12", {1.0, 2.0}, {0: 1.0}, np.array(2.0)])
def test_class_weights_that_are_no_list_are_refused(value: object) -> None:
    with pytest.raises(ProblemError, match="class_weights is "):
        CrossEntropy(class_weights=value)  # type: ignore[arg-type]


def test_parameters_are_plain_and_compare_by_value() -> None:
    loss = CrossEntropy(class_weights=np.array([1, 2], dtype=np.float32), smoothing=np.float32(0.5))
    assert loss == CrossEntropy(class_weights=(1.0, 2.0), smoothing=0.5)
    assert hash(loss) == hash(CrossEntropy(class_weights=[1, 2], smoothing=0.5))  # type: ignore[arg-type]
    assert loss.parameters() == {"class_weights": [1.0, 2.0], "smoothing": 0.5}
    assert CrossEntropy().parameters() == {}


# -- registry -------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """A registry that forgets what a test put into it."""
    losses.available.cache_clear()
    yield
    losses.available.cache_clear()


def test_every_file_of_the_folder_is_in_the_registry() -> None:
    folder = Path(losses.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "base",
        "from_own",
        "from_torch",
        "layout",
        "separable",
        "softmax",
        "table",
        "traits",
        "weighing",
    }
    assert {kind.__module__.rpartition(".")[2] for kind in losses.available().values()} == modules
    assert losses.available()["cross-entropy"] is CrossEntropy
    for name, kind in losses.available().items():
        assert issubclass(kind, Loss)
        assert kind.name == name


def test_make_builds_what_the_registry_names() -> None:
    assert losses.make("cross-entropy") == CrossEntropy()
    assert losses.make("cross-entropy", {"smoothing": 0.1}) == CrossEntropy(smoothing=0.1)


def test_focal_loss_is_refused_with_the_reason() -> None:
    with pytest.raises(ProblemError, match=r"not convex in the logits(?s:.*)-0\.0165"):
        losses.make("focal", {"gamma": 1.0})
    # the binary focal loss -(1 - p)^gamma log p, p = 1/(1 + e^-z), gamma = 1, by mpmath
    curvature = [
        mp.diff(lambda z: -(1 - 1 / (1 + mp.exp(-z))) * mp.log(1 / (1 + mp.exp(-z))), z, 2)
        for z in mp.linspace(-6, 0, 121)
    ]
    assert abs(min(curvature) + 0.0165) < 1e-4  # the figure is rounded to 4 digits


@pytest.mark.parametrize("name", ["unheard-of", "", "Cross-Entropy", None, 5, ["cross-entropy"]])
def test_unknown_losses_name_the_known_ones(name: object) -> None:
    with pytest.raises(UnknownNameError, match=r"is not known(?s:.*)cross-entropy"):
        losses.make(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"gamma": 2.0}, r"no parameter 'gamma'(?s:.*)class_weights, smoothing"),
        ({"name": "x"}, "no parameter 'name'"),
        ({"smoothing": 1.5}, r"smoothing is 1\.5"),
        ({"class_weights": "11"}, "class_weights is '11'"),
    ],
)
def test_faulty_parameters_are_named(parameters: dict, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        losses.make("cross-entropy", parameters)


ADDED = '''"""A loss in a file of its own."""

from dataclasses import dataclass
from typing import ClassVar

from ufm_convex.losses.cross_entropy import CrossEntropy


@dataclass(frozen=True)
class Sharpened(CrossEntropy):
    """Cross-entropy under another name, with one more parameter."""

    name: ClassVar[str] = "sharpened"
    temperature: float = 1.0

    def parameters(self):
        return super().parameters() | {"temperature": self.temperature}
'''


@pytest.mark.usefixtures("fresh_registry")
def test_adding_a_loss_adds_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "sharpened" not in losses.available()
    losses.available.cache_clear()
    (tmp_path / "sharpened.py").write_text(ADDED)
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path)])
    monkeypatch.setitem(sys.modules, "ufm_convex.losses.sharpened", None)  # remembered as absent, so put back so
    del sys.modules["ufm_convex.losses.sharpened"]
    monkeypatch.setattr(losses, "sharpened", None, raising=False)
    assert set(losses.available()) >= {"cross-entropy", "sharpened"}
    text = 'class_counts = [2, 1]\nlambda_w = 0.5\nlambda_h = 0.5\n[loss]\nname = "sharpened"\ntemperature = 2.0\n'
    problem = Problem.from_toml(text)
    assert type(problem.loss).__name__ == "Sharpened"
    assert problem.content()["loss"] == {"name": "sharpened", "temperature": 2.0}
    assert Problem.from_toml(problem.to_toml()) == problem
    with pytest.raises(ProblemError, match=r"no parameter 'gamma'(?s:.*)temperature"):
        losses.make("sharpened", {"gamma": 1.0})

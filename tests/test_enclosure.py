"""Proved bounds: exact evidence, the three slack proofs, and dual points that must not be proved."""

from __future__ import annotations

import math
from fractions import Fraction

import full_arrays
import mpmath as mp
import numpy as np
import pytest
from certificate_cases import CROWDED, FREE, PLAIN, WEIGHTED, crowded_dual, feasible_dual
from hypothesis import given
from hypothesis import strategies as st
from mp_reference import reference_value

from ufm_convex import enclosure, theory
from ufm_convex.enclosure import BlockDual, DiagonalDual, ExactColumns, ExactMatrix, ExactVector, FrameWitness, slack
from ufm_convex.enclosure.alike import logits as exact_logits
from ufm_convex.enclosure.digits import bounds_to_digits
from ufm_convex.enclosure.exact import float_above, float_below, lower_end, upper_end
from ufm_convex.errors import HypothesisError, SizeError
from ufm_convex.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, FrameDual, FramePoint, of_classes
from ufm_convex.relaxation.alike import Alike
from ufm_convex.solving import solve
from ufm_convex.testing import problems

# -- exact numbers ------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_vectors_of_floats_are_exact(values):
    vector = ExactVector.of_floats(np.array(values))
    assert [Fraction(int(r.p), int(r.q)) for r in vector.rationals()] == [Fraction(value) for value in values]


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_rounded_matrices_are_near_and_keep_signs(values):
    exact = ExactMatrix.near(np.array(values).reshape(2, 2), 52)
    unit, largest = Fraction(2) ** exact.exponent, max(map(abs, values))
    for entry, value in zip((n for row in exact.rows for n in row), values, strict=True):
        assert abs(entry * unit - Fraction(value)) <= Fraction(largest) / 2**51
        assert entry * value >= 0


def test_ends_of_balls_are_on_the_safe_side():
    from flint import arb, ctx

    with ctx.workprec(128):
        ball = arb(1) / 3
        assert lower_end(ball) < Fraction(1, 3) < upper_end(ball)
        assert Fraction(float_below(ball)) < Fraction(1, 3) < Fraction(float_above(ball))
        assert math.nextafter(float_below(ball), 1.0) == float_above(ball)
    assert (float_below(arb("nan")), float_above(arb("nan"))) == (-math.inf, math.inf)


# -- groups -------------------------------------------------------------------------------------------------------


def test_alike_classes_have_the_same_count_and_weight():
    loss = CrossEntropy(class_weights=(1.0, 2.0, 1.0, 1.0))
    columns = ExactColumns.of_groups(Problem([5, 5, 3, 5], 0.1, 0.1, loss=loss))
    assert columns.counts.tolist() == [3, 5, 5]
    assert columns.weights.tolist() == [1.0, 1.0, 2.0]
    assert columns.multiplicities.tolist() == [1, 2, 1]
    assert columns.columns.members.tolist() == [1, 2, 0, 1]
    assert columns.num_samples == 18
    shares = columns.shares()
    assert [Fraction(int(share.p), int(share.q)) for share in shares] == [Fraction(i, 18) for i in (3, 5, 10)]


def test_entries_on_orbits_are_means_over_pairs_of_classes():
    columns = ExactColumns.of_groups(Problem([5, 3, 5], 0.1, 0.1))
    own, others = columns.own_and_others(Alike.mean(columns.outputs, columns.columns, np.arange(9.0).reshape(3, 3)))
    assert others.tolist() == [[0.0, (3 + 5) / 2], [(1 + 7) / 2, (2 + 6) / 2]]
    assert own.tolist() == [4.0, (0 + 8) / 2]


# -- lower bounds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proof", ["diagonal", "group", "dense"])
def test_each_proof_bounds_the_optimum_from_below(proof):
    optimum = reference_value([(50, 1, 1.0), (10, 1, 1.0), (2, 1, 1.0)], 2e-2, 2e-2)
    bound = enclosure.lower_bound(PLAIN, solve(PLAIN).dual, proof=proof)
    assert bound.proof == ("dense" if proof == "group" else proof)  # no two classes are alike
    with mp.workdps(50):
        # 1e-12: what the margin of a dense proof of three classes costs, 64 · 3^1.5 · 2^-53, with room
        assert mp.mpf(optimum) * (1 - mp.mpf(10) ** -12) < bound.value < optimum


@given(problems(max_classes=5))
def test_bounds_enclose_the_optimum_of_the_theorem(problem):
    optimum = theory.optimum(problem)
    dual, point = FrameDual(feasible_strengths(problem)), FramePoint(optimum.eta, optimum.omega)
    lower, upper = enclosure.lower_bound(problem, dual), enclosure.upper_bound(problem, point)
    expected = reference_value([(n, 1, 1.0) for n in problem.class_counts.tolist()], problem.lambda_w, problem.lambda_h)
    assert lower.value <= expected <= upper.value
    assert upper.value - lower.value <= 1e-13 * upper.value  # rounding of q, η and ω to 53 bits


def feasible_strengths(problem):
    K = problem.num_classes
    return np.minimum(problem.sigma * np.sqrt(K / (K - 1)) / problem.loss_weights, 1.0)


@given(problems(max_classes=5), st.integers(0, 2**16))
def test_averaging_never_lowers_the_bound(problem, seed):
    """diagonal ≥ group ≥ dense for one and the same dual point, up to the margins of the proofs."""
    dual = feasible_dual(problem, seed)
    values = [enclosure.lower_bound(problem, dual, proof=proof).value for proof in ("dense", "group", "diagonal")]
    assert values[0] <= values[1] * (1 + 1e-9)
    assert values[1] <= values[2] * (1 + 1e-9)


@pytest.mark.parametrize("proof", ["dense", "group"])
def test_columns_with_positive_products_need_a_factor_and_a_multiplier(proof):
    evidence = enclosure.lower_bound(CROWDED, crowded_dual(), proof=proof).exact_point
    assert isinstance(evidence, BlockDual)
    assert evidence.factor is not None
    assert evidence.multiplier is not None


def test_groups_make_the_proof_small():
    counts = np.repeat([1000, 100, 10], [40_000, 30_000, 30_000])
    problem = Problem(counts, 1e-5, 1e-5, features="free")
    columns = ExactColumns.of_groups(problem)
    V = Alike.matrix(columns.outputs, columns.columns, np.array([[0.1, 0.2, 0.3]] * 3) / 100_000)
    proof = slack.prove(columns, "group", V, lambda: np.zeros((3, 3)))
    assert proof is not None
    assert len(proof.columns) == 3


@pytest.mark.parametrize("factor", [1.0 + 1e-9, 2.0])
def test_an_infeasible_dual_point_is_not_proved_as_it_stands(factor):
    """Planted fault: strengths past the radius are lowered to it, dense points past it fail without a margin."""
    strengths = feasible_strengths(PLAIN)
    exact = enclosure.lower_bound(PLAIN, FrameDual(strengths * factor)).exact_point
    assert isinstance(exact, DiagonalDual)
    K, N = PLAIN.num_classes, PLAIN.num_samples
    radius = N**2 * Fraction(PLAIN.lambda_w) * Fraction(PLAIN.lambda_h) * K
    for q, n in zip(exact.strengths.rationals(), ExactColumns.of_groups(PLAIN).counts.tolist(), strict=True):
        assert Fraction(int(q.p), int(q.q)) ** 2 * n * (K - 1) <= radius
    columns = ExactColumns.of_classes(FREE)
    top = feasible_dual(FREE, share=1.0)
    beyond = Alike.matrix(columns.outputs, columns.columns, top.residuals * math.sqrt(factor * 1.2))
    assert slack.prove(columns, "dense", beyond, lambda: np.zeros((5, 5))) is None


@pytest.mark.parametrize("bias", [None, 0.1, "free"])
@pytest.mark.parametrize("loss", [CrossEntropy(), MeanSquaredError(), BinaryCrossEntropy()], ids=lambda loss: loss.name)
def test_a_dual_point_that_overflows_when_it_is_scaled_proves_nothing(loss, bias):
    """Finite as it stands; in units of the last place it is not, and an infinite number is no integer."""
    problem = Problem([5, 3, 1], 0.05, 0.05, loss=loss, bias=bias)
    residuals = 5e307 * (1.0 - 3.0 * np.eye(3))
    bound = enclosure.lower_bound(problem, DualPoint(residuals, np.zeros((3, 3))), proof="dense")
    assert bound.proof == "trivial"
    assert bound.value == enclosure.trivial_bound(problem).value == 0.0  # the least value of each of these losses


@pytest.mark.parametrize("entry", [np.nan, np.inf, -1.0])
def test_what_cannot_be_proved_leaves_the_trivial_bound(entry):
    residuals = np.full((5, 5), entry)
    bound = enclosure.lower_bound(FREE, DualPoint(residuals, np.zeros((5, 5))))
    assert bound.proof == "trivial"
    assert bound.value == 0.0  # −l*(0) = Ent(e_k)


def test_a_frame_proves_nothing_for_free_features():
    bound = enclosure.lower_bound(FREE, FrameDual(np.full(5, 10.0)))
    assert bound.proof == "trivial"


# -- upper bounds -------------------------------------------------------------------------------------------------


def test_the_dense_objective_against_mpmath():
    generator = np.random.default_rng(0)
    W, H = generator.standard_normal((4, 3)), generator.random((4, 3))
    bound = enclosure.upper_bound(WEIGHTED, (W, H))
    with mp.workdps(40):
        total = mp.mpf(0)
        for k, (n, weight) in enumerate(zip(WEIGHTED.class_counts.tolist(), WEIGHTED.loss.weights(4), strict=True)):
            z = [mp.fsum(mp.mpf(a) * mp.mpf(b) for a, b in zip(w, H[k], strict=True)) for w in W]
            target = [mp.mpf(0.1) / 4 + (1 - mp.mpf(0.1) if j == k else 0) for j in range(4)]
            loss = mp.log(mp.fsum(map(mp.exp, z))) - mp.fsum(t * x for t, x in zip(target, z, strict=True))
            total += mp.mpf(weight) * n / WEIGHTED.num_samples * loss
            total += mp.mpf(WEIGHTED.lambda_h) / 2 * n * mp.fsum(mp.mpf(x) ** 2 for x in H[k])
        total += mp.mpf(WEIGHTED.lambda_w) / 2 * mp.fsum(mp.mpf(x) ** 2 for x in W.ravel())
        # W and H are rounded to 52 bits of their largest entry first
        assert abs(bound.value - total) <= mp.mpf(10) ** -14 * total


@pytest.mark.parametrize(
    "witness",
    [
        (np.full((3, 2), np.nan), np.zeros((3, 2))),
        (np.zeros((3, 2)), np.full((3, 2), -1e-300)),
        FramePoint(np.array([1.0, -1.0, 0.0]), np.ones(3)),
        FramePoint(np.array([1.0, np.inf, 0.0]), np.ones(3)),
    ],
)
def test_inadmissible_witnesses_prove_nothing(witness):
    bound = enclosure.upper_bound(PLAIN, witness)
    assert bound.value == math.inf
    assert bound.exact_point is None


def test_frames_treat_alike_classes_differently_where_the_point_does():
    problem = Problem([5, 5, 5], 1e-2, 1e-2, feature_dim=2)
    point = FramePoint(np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 3.0]))
    evidence = enclosure.upper_bound(problem, point).exact_point
    assert isinstance(evidence, FrameWitness)
    assert (evidence.groups, evidence.multiplicities) == ([0, 0], [1, 2])
    assert evidence.omega.rationals() == [0, 1]  # a class without feature needs no column of W


# -- any digits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [5, 50, 200])
def test_bounds_agree_to_any_digits(digits):
    lower, upper = bounds_to_digits(PLAIN, digits)
    expected = reference_value([(50, 1, 1.0), (10, 1, 1.0), (2, 1, 1.0)], 2e-2, 2e-2)
    with mp.workdps(420):
        low, high = (mp.mpf(end.numerator) / end.denominator for end in (lower.exact, upper.exact))
        assert low <= expected <= high
        assert high - low <= mp.mpf(10) ** -digits * expected / 100


def test_digits_need_a_theorem():
    with pytest.raises(HypothesisError, match="nonnegative"):
        bounds_to_digits(FREE, 50)
    with pytest.raises(SizeError, match="1001 digits"):
        bounds_to_digits(PLAIN, 1001)


# -- witnesses on a frame -----------------------------------------------------------------------------------------


def test_features_with_one_coordinate_each_have_the_same_bound_as_by_the_matrix_product():
    """Coordinates permuted, two classes in one, one class without any; the reference multiplies in rational numbers."""
    problem = Problem([9, 5, 4, 2], 0.05, 0.03)
    rng = np.random.default_rng(2)
    W, H = rng.normal(size=(4, 3)), np.zeros((4, 3))
    H[[0, 1, 3], [2, 0, 2]] = 1.5, 0.75, 0.25
    found = enclosure.upper_bound(problem, (W, H))
    exact = found.exact_point
    logits, _ = exact_logits(exact.W, exact.H)
    assert logits == [
        [sum(h * w for h, w in zip(row, other, strict=True)) for other in exact.W.even] for row in exact.H.even
    ]
    shifted = np.roll(H, 1, axis=1)  # planted: features in the wrong coordinates
    moved = enclosure.upper_bound(problem, (W, shifted)).exact_point
    assert exact_logits(moved.W, moved.H)[0] != logits
    plain = float(full_arrays.factored_objective(of_classes(problem), W, H))
    assert found.value == pytest.approx(plain, rel=1e-14)

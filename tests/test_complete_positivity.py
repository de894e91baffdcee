"""Verdicts on Gram matrices: known matrices of both kinds, exact arithmetic redone, and faults that must be refused."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soft_targets import soft_targets

import ufm_convex as ufm
from ufm_convex.errors import HypothesisError, ProblemError, ShapeError, SizeError
from ufm_convex.positivity import Positivity, complete_positivity, factorisation
from ufm_convex.positivity.judging import distance
from ufm_convex.positivity.theorems import completely_positive, is_positive_semidefinite
from ufm_convex.positivity.witnesses import prove

HORN = np.array([[1, -1, 1, 1, -1], [-1, 1, -1, 1, 1], [1, -1, 1, -1, 1], [1, 1, -1, 1, -1], [-1, 1, 1, -1, 1.0]])
ANGLE = 2 * np.pi * np.arange(5) / 5
RANK_THREE = np.maximum(1 - np.cos(ANGLE[:, None] - ANGLE) / np.cos(4 * np.pi / 5), 0.0)
"""Doubly non-negative of rank 3, with <Horn, B> = 10 − 4√10 cos … = −2.64: not completely positive."""


def circle(K, own):
    """``own`` on the diagonal, 1 between neighbours on a circle."""
    return own * np.eye(K) + np.roll(np.eye(K), 1, axis=1) + np.roll(np.eye(K), -1, axis=1)


def fractions(matrix):
    return [[Fraction(float(entry)) for entry in row] for row in matrix]


def inner(first, second):
    """<C, B> in fractions."""
    pairs = zip(fractions(first), fractions(second), strict=True)
    return sum(a * b for x, y in pairs for a, b in zip(x, y, strict=True))


def test_a_rank_three_matrix_is_as_far_as_horns_matrix_says():
    assert (HORN * RANK_THREE).sum() == pytest.approx(-2.64, abs=5e-3)
    report = complete_positivity(RANK_THREE)
    assert report.verdict is Positivity.NOT_COMPLETELY_POSITIVE
    assert report.exact
    # ‖Horn‖ = 5; by symmetry the deepest witness is invariant under the circle, and so Horn's matrix itself
    expected = -(HORN * RANK_THREE).sum() / (5.0 * np.linalg.norm(RANK_THREE))
    assert report.separation == pytest.approx(expected, rel=1e-7)
    assert report.residual == pytest.approx(expected, rel=1e-7)
    assert report.separation <= report.residual
    np.testing.assert_allclose(report.witness / report.witness[0, 0], HORN, atol=1e-5)


def test_the_numbers_of_a_report_are_those_of_fractions():
    report = complete_positivity(RANK_THREE)
    F, B = fractions(report.factor), fractions(report.gram)
    squares = sum(
        (B[k][l] - sum(a * b for a, b in zip(F[k], F[l], strict=True))) ** 2
        for k in range(5)
        for l in range(5)  # noqa: E741
    )
    norm = sum(entry**2 for row in B for entry in row)
    assert squares <= Fraction(report.residual) ** 2 * norm
    assert float(squares / norm) ** 0.5 == pytest.approx(report.residual, rel=1e-12)
    product, square = inner(report.witness, report.gram), inner(report.witness, report.witness)
    assert product < 0
    assert product**2 >= Fraction(report.separation) ** 2 * square * norm
    assert report.factor.min() >= 0.0


@pytest.mark.parametrize("K", [5, 7, 9, 13])
def test_odd_circles_are_completely_positive_from_two_on(K):
    """No triangles: completely positive iff the comparison matrix is positive semidefinite, that is own ≥ 2."""
    assert complete_positivity(circle(K, 2.0), tolerance=0).verdict is Positivity.COMPLETELY_POSITIVE
    below = circle(K, 0.5 * (2.0 + 2.0 * math.cos(math.pi / K)))  # still positive definite
    assert np.linalg.eigvalsh(below)[0] > 0.0
    report = complete_positivity(below, tolerance=0)
    assert report.verdict is Positivity.NOT_COMPLETELY_POSITIVE
    assert inner(report.witness, below) < 0


def test_an_integer_matrix_of_the_literature():
    """The circle 1-2-3-4-5 without triangles; det of the comparison matrix is own₅ − 6 < 0 in exact arithmetic."""
    A = np.array([[1, 1, 0, 0, 1], [1, 2, 1, 0, 0], [0, 1, 2, 1, 0], [0, 0, 1, 1, 1], [1, 0, 0, 1, 3.0]])
    comparison = 2 * np.diag(np.diag(A)) - A
    assert np.linalg.eigvalsh(A)[0] > -1e-15
    assert np.linalg.eigvalsh(comparison)[0] < -0.1
    assert complete_positivity(A).verdict is Positivity.NOT_COMPLETELY_POSITIVE


@pytest.mark.parametrize("K", [5, 8, 12, 20])
def test_the_interior_is_recognised(K):
    F = np.random.default_rng(K).random((K, 2 * K))
    report = complete_positivity(F @ F.T)
    assert (report.verdict, report.exact) == (Positivity.COMPLETELY_POSITIVE, True)
    assert "factor" in report.reason


@settings(max_examples=15)
@given(st.integers(2, 6), st.integers(1, 8), st.floats(0.2, 1.0), st.integers(0, 10**6))
def test_a_completely_positive_matrix_is_never_refuted(K, r, density, seed):
    """F Fᵀ with integers is exact, so it is completely positive itself, on the boundary of the cone or not."""
    rng = np.random.default_rng(seed)
    F = rng.integers(0, 4, size=(K, r)) * (rng.random((K, r)) < density)
    assert complete_positivity(F @ F.T, tolerance=0).verdict is not Positivity.NOT_COMPLETELY_POSITIVE
    assert complete_positivity(F @ F.T, tolerance=1e-4).verdict is Positivity.COMPLETELY_POSITIVE


@given(st.integers(2, 4), st.integers(0, 10**6))
def test_up_to_four_classes_doubly_nonnegative_is_enough(K, seed):
    X = np.random.default_rng(seed).integers(-3, 4, size=(K, 4))
    B = X @ X.T
    report = complete_positivity(B, tolerance=0)
    if B.min() >= 0:
        assert (report.verdict, report.exact) == (Positivity.COMPLETELY_POSITIVE, True)
    else:
        assert report.verdict is Positivity.NOT_COMPLETELY_POSITIVE


def test_what_is_not_positive_semidefinite_or_not_nonnegative_is_refuted_at_any_size():
    for K in (3, 20):
        indefinite = np.eye(K) + np.ones((K, K)) - 1.5 * np.eye(K)
        negative = np.eye(K)
        negative[0, 1] = negative[1, 0] = -0.5
        for B in (indefinite, negative):
            report = complete_positivity(B)
            assert report.verdict is Positivity.NOT_COMPLETELY_POSITIVE
            assert inner(report.witness, B) < 0


def test_a_tolerance_decides_between_near_and_far():
    far = complete_positivity(RANK_THREE, tolerance=0.05)
    near = complete_positivity(RANK_THREE, tolerance=0.1)
    assert far.separation > 0.05
    assert (far.verdict, near.verdict) == (Positivity.NOT_COMPLETELY_POSITIVE, Positivity.COMPLETELY_POSITIVE)
    assert not near.exact
    assert near.residual <= 0.1


def test_beyond_twelve_classes_the_verdict_may_be_undecided():
    """Singular and on the boundary of the cone: a factor is right up to rounding, and tolerance 0 allows none."""
    F = np.random.default_rng(0).integers(0, 4, size=(13, 5))
    report = complete_positivity(F @ F.T, tolerance=0)
    assert report.verdict is Positivity.UNDECIDED
    assert report.witness is None
    assert "undecided" in str(report)


# -- theorems -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_positive_semidefinite_integers_are_recognised(K, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-4, 5, size=(K, rng.integers(1, 7)))
    gram = X @ X.T
    assert is_positive_semidefinite(gram.tolist())
    lowered = gram - np.diag(rng.integers(0, 3, size=K))
    least = np.linalg.eigvalsh(lowered)[0]
    if abs(least) > 1e-9:  # a matrix of small integers has no smaller eigenvalue but 0, which is semidefinite
        assert is_positive_semidefinite(lowered.tolist()) == (least > 0.0)


def test_each_theorem_applies_where_it_does_and_not_beyond():
    plane = np.array([[3, 0], [2, 1], [1, 2], [0, 3], [1, 1], [2, 5]])
    assert "rank" in completely_positive((plane @ plane.T).tolist())
    assert "K <= 4" in completely_positive([[2, 2, 2], [2, 3, 3], [2, 3, 4]])
    assert "comparison" in completely_positive(circle(5, 2).astype(int).tolist())
    assert completely_positive((1000 * circle(5, 1.9)).astype(int).tolist()) is None
    rotated = np.array([[3, 0], [2, 1], [1, 2], [0, 3], [-1, 3], [2, 5]])  # rank 2, but an obtuse angle
    assert completely_positive((rotated @ rotated.T).tolist()) is None
    # rank 2, non-negative, but not semidefinite
    assert completely_positive(np.kron([[0, 1], [1, 0]], np.ones((3, 3), int)).tolist()) is None


# -- planted faults -------------------------------------------------------------------------------------------------


def test_a_witness_that_is_not_copositive_is_refused():
    assert prove(HORN, RANK_THREE) is not None
    too_low = HORN - 1e-9 * np.eye(5)
    assert (too_low * RANK_THREE).sum() < 0.0
    assert prove(too_low, RANK_THREE) is None
    assert prove(-np.eye(5), RANK_THREE) is None


def test_a_witness_that_does_not_separate_or_is_not_symmetric_is_refused():
    assert prove(HORN, np.eye(5)) is None
    assert prove(HORN, 2.0 * np.ones((5, 5))) is None
    skewed = HORN + np.triu(np.full((5, 5), 0.1), 1)
    assert (skewed * RANK_THREE).sum() < 0.0
    assert prove(skewed, RANK_THREE) is None


def test_a_factor_with_a_negative_entry_is_refused():
    with pytest.raises(ProblemError, match="entries >= 0"):
        distance(np.eye(2), np.array([[1.0, 0.0], [0.0, -1.0]]))
    with pytest.raises(ProblemError, match="entries >= 0"):
        complete_positivity(np.eye(2), factor=np.array([[1.0, -1e-300], [0.0, 1.0]]))


@pytest.mark.parametrize(
    ("gram", "error"),
    [
        ([[1.0, math.nan], [math.nan, 1.0]], ProblemError),
        ([[1.0, math.inf], [math.inf, 1.0]], ProblemError),
        ([[True, False], [False, True]], ProblemError),
        ([["1", "0"], ["0", "1"]], ProblemError),
        ([[1.0, 0.0], [0.0]], ProblemError),
        (None, ProblemError),
        ([[1.0, 2j], [-2j, 1.0]], ProblemError),
        ([[1.0, 0.5], [0.4, 1.0]], ProblemError),
        ([[1e200, 0.0], [0.0, 1.0]], ProblemError),
        ([[1e-200]], ProblemError),
        (np.eye(2, dtype=np.longdouble) * np.longdouble("1e400"), ProblemError),
        (np.zeros((0, 0)), ShapeError),
        (np.ones((2, 3)), ShapeError),
        (np.ones(4), ShapeError),
        (np.ones((2, 2, 2)), ShapeError),
        (np.eye(401), SizeError),
    ],
)
def test_what_is_no_gram_matrix_is_named(gram, error):
    with pytest.raises(error, match="Expected"):
        complete_positivity(gram)


def test_a_witness_within_the_tolerance_decides_nothing(monkeypatch):
    """Planted fault: a descent that finds no factor. What the witness proves is less than was allowed."""
    monkeypatch.setattr(factorisation, "nearest", lambda gram, *_, **__: np.zeros((5, 1)))
    report = complete_positivity(RANK_THREE, tolerance=0.5)
    assert report.verdict is Positivity.UNDECIDED
    assert not report.exact
    assert 0.0 < report.separation < 0.5 < report.residual


def test_a_factor_whose_remainder_is_not_proved_shows_nothing_exactly(monkeypatch):
    """Planted fault: the first factor is right, and those with a remainder are not; B itself satisfies no theorem."""
    factor = np.random.default_rng(0).random((6, 9))
    gram = factor @ factor.T
    assert complete_positivity(gram).exact
    genuine = factorisation.nearest

    def spoiled(gram, *arguments, rounds=None):
        return np.zeros((6, 1)) if rounds else genuine(gram, *arguments)

    monkeypatch.setattr(factorisation, "nearest", spoiled)
    report = complete_positivity(gram)
    assert (report.verdict, report.exact) == (Positivity.COMPLETELY_POSITIVE, False)


@pytest.mark.parametrize("tolerance", [-1e-9, 1.0, math.nan, True, "1e-6", None])
def test_what_is_no_tolerance_is_named(tolerance):
    with pytest.raises(ProblemError, match="tolerance"):
        complete_positivity(np.eye(2), tolerance=tolerance)


@pytest.mark.parametrize("factor", [np.ones((3, 2)), np.ones(2), np.zeros((2, 0))])
def test_a_factor_of_another_shape_is_named(factor):
    with pytest.raises(ShapeError, match="factor"):
        complete_positivity(np.eye(2), factor=factor)


def test_a_factor_beyond_the_range_is_no_start_and_no_harm():
    report = complete_positivity(np.eye(2), factor=np.full((2, 2), 1e200))
    assert report.verdict is Positivity.COMPLETELY_POSITIVE
    assert report.residual < 1e-6


def test_zero_and_one_class_are_completely_positive():
    for B in (np.zeros((5, 5)), [[0]], [[2.0]]):
        assert complete_positivity(B, tolerance=0).verdict is Positivity.COMPLETELY_POSITIVE
    assert complete_positivity([[-2.0]]).verdict is Positivity.NOT_COMPLETELY_POSITIVE


# -- of a solution --------------------------------------------------------------------------------------------------


def confused(K):
    columns = 0.5 * np.eye(K) + 0.25 * np.roll(np.eye(K), 1, axis=1) + 0.25 * np.roll(np.eye(K), -1, axis=1)
    decay = math.sqrt(0.05 * 20 * (K - 1) / (K * (20 * K) ** 2))
    return ufm.Problem([20] * K, decay, decay, loss=soft_targets(columns))


@pytest.mark.parametrize(("K", "verdict"), [(4, "completely positive"), (5, "not completely positive")])
def test_a_solution_has_a_verdict(K, verdict):
    solution = ufm.solve(confused(K))
    assert solution.gram_positivity.verdict == verdict
    assert (solution.status is ufm.Status.CERTIFIED) == (K == 4)


def test_an_orthogonal_frame_is_completely_positive():
    report = ufm.solve(ufm.Problem([500, 100, 20, 3], 5e-3, 5e-3)).gram_positivity
    assert (report.verdict, report.exact) == (Positivity.COMPLETELY_POSITIVE, True)


def test_free_features_have_no_verdict():
    with pytest.raises(HypothesisError, match="free"):
        _ = ufm.solve(ufm.Problem([5, 4, 3], 0.01, 0.01, features="free")).gram_positivity

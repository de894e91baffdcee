"""Squared error on the coordinate axes: O(K) bounds and report beside those of the same points as matrices."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ufm_convex as ufm
from ufm_convex import duality, enclosure, relaxation
from ufm_convex.problem import Problem
from ufm_convex.relaxation import AxesDual, AxesPoint, Dual, Factors, Orbits
from ufm_convex.theory.mean_squared_error import MeanSquaredErrorFrame


def squares(counts: object, decay: float = 1e-3, **given: object) -> Problem:
    return Problem(counts, decay, 2.0 * decay, loss=ufm.MeanSquaredError(), **given)  # type: ignore[arg-type]


def at_optimum(problem: Problem) -> tuple[AxesPoint, AxesDual]:
    found = MeanSquaredErrorFrame().optimum(problem)
    return AxesPoint(found.feature_norms, found.weight_norms), AxesDual(np.minimum(problem.prices, 1.0))


counts = st.lists(st.integers(1, 500), min_size=2, max_size=6)


@settings(max_examples=40)
@given(counts=counts, decay=st.floats(1e-6, 1.0), eta=st.floats(0.0, 3.0), omega=st.floats(0.0, 3.0))
def test_both_bounds_are_those_of_the_matrices(counts: list[int], decay: float, eta: float, omega: float) -> None:
    """To 1e-12 of a unit of loss: dense bounds are evaluated in balls at points that are rounded."""
    problem = squares(counts, decay)
    _, dual = at_optimum(problem)
    point = AxesPoint(eta * np.ones(len(counts)), omega * np.ones(len(counts)))
    low, high = enclosure.axes_lower(problem, dual), enclosure.axes_upper(problem, point)
    assert low.value == pytest.approx(enclosure.lower_bound(problem, dual).value, rel=1e-9, abs=1e-12)
    assert high.value == pytest.approx(enclosure.upper_bound(problem, point).value, rel=1e-12)
    assert low.value <= high.value


@settings(max_examples=40)
@given(counts=counts, decay=st.floats(1e-6, 1.0))
def test_at_the_optimum_they_meet(counts: list[int], decay: float) -> None:
    """The optimum of a class in exact numbers lies between them, and they are a few units in the last place apart."""
    problem = squares(counts, decay)
    point, dual = at_optimum(problem)
    low, high = enclosure.axes_lower(problem, dual), enclosure.axes_upper(problem, point)
    assert low.value <= high.value <= low.value * (1.0 + 1e-12)
    assert low.exact is not None
    assert Fraction(low.value) <= low.exact


def test_strengths_beyond_the_radius_are_lowered_before_they_are_believed() -> None:
    """Of the least number above the radius as of twice it: the bound is that at the radius, and holds."""
    problem = squares([90, 40, 7])
    point, dual = at_optimum(problem)
    best = enclosure.axes_upper(problem, point).value
    for factor in (1.0 + 2.0**-52, 2.0):
        assert enclosure.axes_lower(problem, AxesDual(factor * dual.strengths)).value <= best
    unchecked = dual.strengths * 1.01  # what would come of it: more than the optimum
    weights = problem.loss_weights
    assert float(weights @ (unchecked * (1.0 - 0.5 * unchecked))) > best


def test_points_that_are_not_admissible_bound_nothing() -> None:
    problem, one = squares([5, 3]), np.ones(2)
    for eta, omega in ((-one, one), (one * np.nan, one), (one, one * np.inf)):
        assert enclosure.axes_upper(problem, AxesPoint(eta, omega)).value == np.inf
    narrow = squares([5, 3], feature_dim=1)
    assert enclosure.axes_upper(narrow, AxesPoint(one, one)).value == np.inf
    assert enclosure.axes_upper(narrow, AxesPoint(one * [1.0, 0.0], one * [1.0, 0.0])).value < np.inf


OTHERS = [
    {"loss": ufm.BinaryCrossEntropy()},
    {"loss": ufm.MeanSquaredError(), "bias": "free"},
    {"loss": ufm.MeanSquaredError([[0.5, 0.0], [0.0, 0.5]])},
]


@pytest.mark.parametrize("given", OTHERS)
def test_other_problems_are_refused(given: dict[str, object]) -> None:
    problem = Problem([5, 3], 1e-3, 1e-3, **given)  # type: ignore[arg-type]
    with pytest.raises(ufm.errors.HypothesisError, match="points on the axes"):
        enclosure.axes_lower(problem, AxesDual(np.zeros(2)))
    with pytest.raises(ufm.errors.HypothesisError, match="points on the axes"):
        enclosure.axes_upper(problem, AxesPoint(np.zeros(2), np.zeros(2)))


@pytest.mark.parametrize("off", [0.0, 0.05])
def test_the_report_is_that_of_the_matrices(off: float) -> None:
    """At the optimum and away from it, condition by condition; both name what is wrong."""
    problem = squares([90, 40, 7])
    point, dual = at_optimum(problem)
    point, dual = AxesPoint(point.eta * (1.0 + off), point.omega), AxesDual(dual.strengths * (1.0 + off))
    columns, d = relaxation.of_classes(problem), Orbits.single(3)
    W, H = point.factors()
    factors = Factors(
        relaxation.Alike.matrix(columns.outputs, d, W), relaxation.Alike.matrix(columns.columns, d, H), None
    )
    dense = duality.report(columns, factors.gram(), Dual.mean(columns, dual.dense(problem)), factors, 1e-6)
    short = duality.axes_report(problem, point, dual, 1e-6)
    assert [one.name for one in short.conditions] == [one.name for one in dense.conditions]
    for one, other in zip(short.conditions, dense.conditions, strict=True):
        assert one.residual == pytest.approx(other.residual, rel=1e-6, abs=1e-9), one.name  # roots of 1e-16 in Grams
    assert short.passed == dense.passed == (off == 0.0)


def test_many_classes_go_by_the_theorem_and_few_by_the_frame() -> None:
    """On either side of 200, with the same optimum to all digits but the last two."""
    many, few = (ufm.solve(squares(np.arange(1, size + 1), 1e-4)) for size in (201, 200))
    assert (many.solver, few.solver) == ("theory", "frame")
    named = ufm.solve(many.problem, solver="frame")
    assert many.value == pytest.approx(named.value, rel=1e-14)
    assert many.status is ufm.Status.CERTIFIED
    assert named.lower_bound <= many.upper_bound
    assert many.kkt().passed
    assert many.collapsed_classes == named.collapsed_classes
    np.testing.assert_allclose(many.weight_gram, named.weight_gram, atol=1e-9 * many.weight_gram.max())


def test_ten_thousand_different_classes_free_or_not() -> None:
    for features in ("nonnegative", "free"):
        solution = ufm.solve(squares(np.arange(1, 10_001), 1e-6, features=features))
        assert solution.status is ufm.Status.CERTIFIED
        assert solution.relative_gap <= 1e-12
        assert 0 < len(solution.evidence.collapsed()) < 10_000 or features == "free"


def test_a_certificate_is_made_of_the_matrices() -> None:
    problem = squares(np.arange(1, 202), 1e-4)
    certificate = ufm.certify(problem)
    assert certificate.lower <= ufm.solve(problem).value <= certificate.upper
    assert certificate.relative_gap <= 1e-6

"""Structured points are the dense ones: frame formulas against matrices built from them."""

import full_arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex.duality import frame_report
from ufm_convex.errors import SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DENSE_LIMIT, FrameDual, FramePoint, frame_terms, of_classes


@st.composite
def frames(draw):
    """A problem with a random frame point and a random frame dual, not related to its optimum."""
    K = draw(st.integers(2, 6))
    numbers = st.floats(0.0, 1.0)
    counts = draw(st.lists(st.integers(1, 500), min_size=K, max_size=K))
    smoothing = draw(st.sampled_from([0.0, 0.1]))
    problem = Problem(counts, 0.02, 0.005, loss=CrossEntropy(smoothing=smoothing))
    eta, omega, q = (np.array(draw(st.lists(numbers, min_size=K, max_size=K))) for _ in range(3))
    return problem, FramePoint(3.0 * eta, 4.0 * omega), FrameDual((1.0 - smoothing) * q)


@given(frames())
def test_frame_terms_are_the_dense_terms(case):
    problem, point, dual = case
    columns = of_classes(problem)
    structured = frame_terms(problem, point, dual)
    dense = full_arrays.terms(columns, point.dense(), dual.dense(problem))
    for name in ("dual_value", "calibration", "alignment", "nonnegativity", "slack"):
        # sums of K products of numbers of order 100 at most
        assert getattr(structured, name) == pytest.approx(getattr(dense, name), rel=1e-11, abs=1e-12), name


@given(frames())
def test_frame_report_is_the_dense_report(case):
    problem, point, dual = case
    columns = of_classes(problem)
    structured = frame_report(problem, point, dual, 1e-6)
    dense = full_arrays.report(columns, point.dense(), dual.dense(problem), point.factors(), 1e-6)
    loose = {"dual_slack_psd"}  # K numbers there, the eigenvalues of S here: they agree in sign, tested below
    for condition in dense:
        if condition.name not in loose:
            residual = structured[condition.name].residual
            assert residual == pytest.approx(condition.residual, rel=1e-9, abs=1e-11), condition.name
    infeasible = structured["dual_slack_psd"].residual > 1e-9
    assert infeasible == (dense["dual_slack_psd"].residual > 1e-10)


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize("beyond", [-1e-3, 1e-3])
def test_a_frame_dual_is_feasible_up_to_its_threshold(K, beyond):
    """R = D − G has the diagonal σ² − (K−1)/K (π q)², so q ends at √(K/(K−1)) σ/π (T cancels what is off it)."""
    problem = Problem([20] * K, 1e-3, 1e-3)
    q = np.sqrt(K / (K - 1)) * problem.sigma / problem.loss_weights * (1.0 + beyond)
    zero = FramePoint(np.zeros(K), np.zeros(K))
    residual = frame_report(problem, zero, FrameDual(q), 1e-6)["dual_slack_psd"].residual
    assert residual == pytest.approx(max(0.0, (1.0 + beyond) ** 2 - 1.0), rel=1e-9)


@pytest.mark.parametrize("feature_dim", [2, 3, 5, 7])
def test_frame_factors_have_the_frame_gram(feature_dim):
    point = FramePoint(np.array([0.5, 0.0, 2.0, 0.0, 0.0]), np.array([1.5, 0.0, 3.0, 0.0, 0.0]))
    W, H = point.factors(feature_dim)
    centring = np.eye(5) - 1.0 / 5.0
    assert W.shape == H.shape == (5, feature_dim)
    np.testing.assert_allclose(H @ H.T, np.diag(point.eta**2), atol=1e-15)
    np.testing.assert_allclose(W @ W.T, centring @ np.diag(point.omega**2) @ centring, atol=1e-14)
    np.testing.assert_allclose(W @ H.T, centring @ np.diag(point.margins), atol=1e-14)


def test_dense_arrays_are_refused_when_too_large():
    point = FramePoint(np.ones(DENSE_LIMIT + 1), np.ones(DENSE_LIMIT + 1))
    with pytest.raises(SizeError, match="eta and omega"):
        point.dense()
    problem = Problem(np.ones(DENSE_LIMIT + 1, dtype=int), 0.1, 0.1)
    with pytest.raises(SizeError, match="strengths"):
        FrameDual(np.ones(DENSE_LIMIT + 1)).dense(problem)

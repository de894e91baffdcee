"""The frame solver: as good as the closed form where there is one, and a sign test that refuses what it must."""

import math

import full_arrays
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from soft_targets import random_soft_targets, soft_targets

from ufm_convex import class_counts, solvers, theory
from ufm_convex.errors import HypothesisError, ProblemError, SizeError
from ufm_convex.losses import CrossEntropy, LogitAdjustedCrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.relaxation import FramePoint, GramPoint, of_classes
from ufm_convex.solvers import Claim
from ufm_convex.solvers.frame import FrameSolver, decreasing_root, separable_optimum
from ufm_convex.solving import solve
from ufm_convex.testing import decays_for, problems

LOSSES = (CrossEntropy(), CrossEntropy(smoothing=0.1), CrossEntropy(smoothing=0.7))
COUNTS = class_counts.exponential(10, 5000, 100)
WEIGHTED = CrossEntropy(class_weights=tuple(np.linspace(0.3, 3.0, 10)), smoothing=0.05)
# wrong-class mass spread at random: for so little of it, residuals of different classes point apart
PASSES = Problem([60, 40, 25, 15], *decays_for([60, 40, 25, 15], 0.2), loss=random_soft_targets(4, 0.02))
# the small classes put nearly half of their target on the large one: three frames cannot be orthogonal
CONFUSED = soft_targets([[0.98, 0.4, 0.4], [0.01, 0.58, 0.02], [0.01, 0.02, 0.58]])
REFUSED = Problem([60, 21, 20], *decays_for([60, 21, 20], 0.01), loss=CONFUSED)


def run(problem):
    return next(FrameSolver().runs(problem, "class", 1e-6, {}))


@given(problems(losses=LOSSES))
def test_margins_match_the_closed_form(problem):
    found, expected = run(problem), theory.optimum(problem)
    assert found.claim is Claim.OPTIMAL
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.dual_value == pytest.approx(expected.value, rel=1e-12)
    # a root of a function known to 1e-16 relative to q(0) is known to 1e-16 absolutely, times K/q'(0) near collapse
    np.testing.assert_allclose(found.point.margins, expected.margins, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("decay", [1e-100, 1e-8, 1e-4, 1e-3, 1e-2, 1.0])
def test_weights_and_smoothing_at_every_decay(decay):
    problem = Problem(COUNTS, decay, 2.0 * decay, loss=WEIGHTED)
    found, expected = run(problem), theory.optimum(problem)
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(found.point.eta, expected.eta, rtol=1e-10, atol=1e-12 * expected.eta.max())
    np.testing.assert_allclose(found.point.omega, expected.omega, rtol=1e-10, atol=1e-12 * expected.omega.max())


def test_a_million_distinct_classes():
    counts = np.random.default_rng(0).integers(1, 5000, 10**6)
    problem = Problem(counts, 1e-9, 1e-9)
    found = run(problem)
    assert isinstance(found.point, FramePoint)
    assert found.value == pytest.approx(theory.optimum(problem).value, rel=1e-12)


@given(problems(losses=LOSSES))
def test_the_general_route_agrees_with_the_margins(problem):
    """K problems in K variables, which know nothing of margins, against one number a class."""
    K, price = problem.num_classes, problem.sigma / problem.loss_weights
    layout = problem.loss.layout(K, np.arange(K))
    logits, _, solved = separable_optimum(problem.loss, layout, price)
    assert solved
    values = problem.loss.values(logits, layout) + price * np.linalg.norm(logits, axis=0)
    assert problem.loss_weights @ values == pytest.approx(theory.optimum(problem).value, rel=1e-12)


@pytest.mark.parametrize("level", [1e-3, 0.05, 0.5])
def test_small_problems_against_scipy(level):
    """Each φ_k by SciPy in the variable z, from the definition; K = 5 soft targets."""
    loss = random_soft_targets(5, 0.2, seed=3)
    counts = np.array([50, 40, 30, 20, 10])
    problem = Problem(counts, *decays_for(counts, level), loss=loss)
    price = problem.sigma / problem.loss_weights
    logits, _, solved = separable_optimum(loss, loss.layout(5, np.arange(5)), price)
    assert solved
    for k in range(5):
        y = loss.targets[k]

        def phi(z, y=y, k=k):
            return np.log(np.exp(z - z.max()).sum()) + z.max() - y @ z + price[k] * np.linalg.norm(z)

        ends = [minimize(phi, start, method="BFGS", options={"gtol": 1e-9}).fun for start in (y, 3.0 * np.eye(5)[k])]
        assert phi(logits[:, k]) <= min(*ends, math.log(5.0)) + 1e-12
        assert phi(logits[:, k]) == pytest.approx(min(*ends, phi(np.zeros(5))), rel=1e-8)  # BFGS by differences


def test_a_frame_that_passes_is_certified():
    found = run(PASSES)
    assert (found.claim, found.message) == (Claim.OPTIMAL, "u_k·u_l <= 0 for all pairs")
    solution = solve(PASSES, solver="frame", tolerance=1e-11)
    assert solution.status == "certified"
    assert solution.kkt().passed, solution.kkt().worst
    peer = solve(PASSES, solver="clarabel", tolerance=1e-8)
    assert solution.value == pytest.approx(peer.value, rel=1e-7)


def test_a_frame_that_is_not_optimal_is_refused_and_beaten():
    found = run(REFUSED)
    assert found.claim is Claim.INACCURATE
    assert found.message.startswith("frame refused: u_k·u_l > 0 for classes 0 and 1")
    # K <= 4: the relaxation is exact, so its value is that of actual features
    peer = solve(REFUSED, solver="clarabel", tolerance=1e-7)
    assert peer.status == "certified"
    assert peer.upper_bound < found.value * (1.0 - 1e-4)


def test_multiplied_logits_beat_the_frame():
    """NumPy and SciPy alone: the best frame, class by class, is above a descent whose two small classes overlap."""
    n, K, lam = np.array([1000.0, 100, 30, 10]), 4, np.sqrt(0.375 * 10) / 1140
    pi, scale = n / n.sum(), (n / n[0]) ** 0.3

    def losses(logits):  # logits (K, K), a row a class
        scores = logits * scale
        return logsumexp(scores, axis=1) - np.diag(scores), softmax(scores, axis=1) - np.eye(K)

    def frame(x, k):  # a class by itself: pi_k l_k(z_k) + λ √n_k ‖z_k‖
        z = np.tile(x, (K, 1))
        values, residuals = losses(z)
        length = np.linalg.norm(x)
        gradient = pi[k] * residuals[k] * scale + lam * np.sqrt(n[k]) / length * x
        return pi[k] * values[k] + lam * np.sqrt(n[k]) * length, gradient

    def objective(x):
        W, H = x.reshape(2, K, K)
        values, residuals = losses(H @ W.T)
        P = residuals * scale * pi[:, None]
        penalty = lam / 2 * (np.sum(W**2) + n @ np.sum(H**2, axis=1))
        return pi @ values + penalty, np.concatenate([P.T @ H + lam * W, P @ W + lam * n[:, None] * H], axis=None)

    options = {"maxiter": 5000, "ftol": 0.0, "gtol": 1e-9}
    found = [minimize(frame, e, (k,), "L-BFGS-B", jac=True, options=options).fun for k, e in enumerate(np.eye(K))]
    alone = np.minimum(found, pi * np.log(K)).sum()  # where z_k = 0 is better, a class is given up
    start = np.concatenate([3 * np.eye(K), 0.1 + 0.3 * np.eye(K)], axis=None)
    bounds = [(None, None)] * K**2 + [(0.0, None)] * K**2
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    H = found.x[K**2 :].reshape(K, K)
    loss = LogitAdjustedCrossEntropy(shift=np.zeros(K), scale=scale)
    solution = solve(Problem(n.astype(int), lam, lam, loss=loss))
    assert found.fun < alone - 5e-5
    assert H[2] @ H[3] > 0.01
    assert alone == pytest.approx(0.39299015355, rel=1e-9)  # the value that docs/atlas.md has
    assert solution.status == "certified"
    assert found.fun == pytest.approx(solution.value, rel=1e-8)


def test_auto_falls_through_a_refused_frame():
    solution = solve(REFUSED, tolerance=1e-7)
    assert solution.status == "certified"
    assert solution.upper_bound < run(REFUSED).value * (1.0 - 1e-4)
    assert solution.route[0].startswith("frame")


def test_auto_takes_the_frame_where_no_theorem_holds():
    solution = solve(PASSES)
    assert (solution.solver, solution.status) == ("frame", "certified")
    assert len(solution.route) == 1


def test_the_sign_test_is_that_of_the_definition():
    """u_k·u_l from mpmath's softmax at the solver's logits: the test sees what is there."""
    for problem, expected in ((PASSES, True), (REFUSED, False)):
        point, loss = run(problem).point, problem.loss
        K, columns = problem.num_classes, []
        for k in range(K):
            exponentials = [mp.exp(mp.mpf(z)) for z in point.logits[:, k]]
            total = mp.fsum(exponentials)
            columns.append([e / total - mp.mpf(y) for e, y in zip(exponentials, loss.targets[k], strict=True)])
        products = [mp.fdot(columns[k], columns[l]) for k in range(K) for l in range(k)]  # noqa: E741
        assert (max(products) <= 0) is expected


def test_the_points_are_those_of_a_frame():
    """A, L and B belong to W = Σ z_k h_kᵀ/‖h_k‖² with orthogonal h_k, and the identity closes on them."""
    found, columns = run(PASSES), of_classes(PASSES)
    assert isinstance(found.point, GramPoint)
    H = np.sqrt(found.point.feature_gram)
    assert np.count_nonzero(H - np.diag(np.diag(H))) == 0
    W = found.point.logits @ np.linalg.inv(H)
    np.testing.assert_allclose(W @ W.T, found.point.weight_gram, rtol=1e-12, atol=1e-14)
    assert full_arrays.factored_objective(columns, W, H) == pytest.approx(found.value, rel=1e-13)
    _, lower = full_arrays.repair(columns, [found.dual])
    assert lower == pytest.approx(found.value, rel=1e-12)


def test_collapsed_classes_may_disagree_while_their_block_is_definite():
    """All classes collapsed, residuals of two of them positively correlated: W = H = 0 is optimal nevertheless."""
    loss = soft_targets([[0.96, 0.6, 0.6], [0.02, 0.38, 0.02], [0.02, 0.02, 0.38]])
    problem = Problem([60, 21, 20], 0.3, 0.3, loss=loss)
    found = run(problem)
    u = loss.residuals(np.zeros((3, 3)), loss.layout(3, np.arange(3))) * problem.loss_weights
    assert (u.T @ u)[1, 2] > 0.0
    assert found.claim is Claim.OPTIMAL
    solution = solve(problem, solver="frame", tolerance=1e-10)
    assert solution.status == "certified"
    assert solution.collapsed_classes == (0, 1, 2)


def test_fewer_dimensions_than_active_classes_leave_bounds():
    problem = Problem([180, 60, 20], 0.01, 0.01, feature_dim=2)
    found = run(problem)
    assert found.claim is Claim.STOPPED
    assert found.point.used.size == 2
    solution = solve(problem, solver="frame")
    assert solution.status == "bounded"
    assert solution.lower_bound <= theory.bound(problem).value <= solution.upper_bound


@given(st.lists(st.floats(0.01, 50.0), min_size=1, max_size=20))
def test_roots_of_decreasing_functions(targets):
    """e^{-x} = e^{-t} and 1/(1+x) = 1/(1+t): the roots are known."""
    known = np.array(targets)
    for function in (lambda x: np.exp(-x) - np.exp(-known), lambda x: 1.0 / (1.0 + x) - 1.0 / (1.0 + known)):
        found = decreasing_root(function, np.zeros(known.size), np.full(known.size, 64.0))
        # cancellation in the function: its error is an ulp of 1, its slope at 50 is 4e-4 in the second case
        residual = np.abs(function(found))
        assert (residual <= 2.0 * np.finfo(float).eps * (1.0 + function(np.zeros(known.size)))).all()


def test_the_frame_never_asks_theory(monkeypatch):
    def spring(*_args, **_kwargs):
        raise AssertionError("theory was asked")

    for name in ("optimum", "bound", "find", "theorems"):
        monkeypatch.setattr(theory, name, spring)
    monkeypatch.setattr(theory.OrthogonalFrame, "evaluate", spring)
    assert solve(Problem(COUNTS, 1e-3, 2e-3), solver="frame", tolerance=1e-12).status == "certified"


def test_bad_requests_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("ufm_convex.solvers.frame.separable_optimum", None)
    with pytest.raises(HypothesisError, match="features"):
        run(Problem([5, 4, 3], 0.1, 0.1, features="free"))
    with pytest.raises(ProblemError, match="no options"):
        next(FrameSolver().runs(PASSES, "class", 1e-6, {"verbose": True}))
    monkeypatch.setattr("ufm_convex.solvers.frame._DENSE_LIMIT", 3)
    with pytest.raises(SizeError, match="K × K"):
        run(PASSES)
    assert FrameSolver().suits(PASSES, "auto") is None


def test_what_suits():
    suits = solvers.solver("frame").suits
    assert suits(Problem([5, 4, 3], 0.1, 0.1), "auto") is not None
    assert suits(PASSES, "auto") is not None
    assert suits(PASSES, "class") is None  # an explicit level means its programme
    assert suits(Problem([5, 4, 3], 0.1, 0.1, features="free"), "auto") is None


class Backwards(CrossEntropy):
    """A loss that punishes the right answer: convex, but it grows with the own logit."""

    name = "backwards"

    def margin_strengths(self, margins, num_outputs):
        return super().margin_strengths(margins, num_outputs) - 2.0


def test_a_loss_that_grows_with_its_own_logit_is_refused():
    found = run(Problem([5, 4, 3], 0.1, 0.1, loss=Backwards()))
    assert found.claim is Claim.FAILED
    assert "grows with the own logit" in found.message
    assert found.point is None

"""Effective decays: recovered at stationary points, of every loss and level; faults that move each number."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

import ufm_convex as ufm
from ufm_convex.attribution.decays import _Sums
from ufm_convex.candidate import blocks
from ufm_convex.errors import CandidateError, HypothesisError, ShapeError, UnknownNameError
from ufm_convex.testing import decays_for

ORDINARY = ufm.Problem([50, 30, 20, 1], 5e-3, 1e-3)


def at_samples(problem, W, H):
    y = np.repeat(np.arange(problem.num_classes), problem.class_counts)
    return ufm.Candidate(weights=W, features=H[y], labels=y)


def at_means(problem, W, H):
    return ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts)


@st.composite
def problems(draw):
    """Problems whose optimum is a frame with an active class, decays of any ratio."""
    counts = draw(st.lists(st.integers(2, 40), min_size=2, max_size=5))
    weights = tuple(draw(st.lists(st.floats(0.5, 2.0), min_size=len(counts), max_size=len(counts))))
    smoothing = draw(st.sampled_from([0.0, 0.1]))
    loss = draw(st.sampled_from([ufm.CrossEntropy(smoothing=smoothing), ufm.CrossEntropy(class_weights=weights)]))
    w, h = decays_for(counts, 10.0 ** draw(st.floats(-3.0, -1.0)))
    ratio = 10.0 ** draw(st.floats(-3.0, 3.0))
    return ufm.Problem(counts, w * ratio, h / ratio, loss=loss)


@given(problems(), st.sampled_from([at_samples, at_means]))
def test_the_decays_of_an_optimum_are_those_of_its_problem(problem, at):
    exact = ufm.theory.optimum(problem)
    found = ufm.effective_decays(at(problem, *exact.factors()), problem.loss)
    assert found.lambda_w == pytest.approx(problem.lambda_w, rel=1e-9)
    assert found.lambda_h == pytest.approx(problem.lambda_h, rel=1e-9)
    assert found.lambda_b is None
    np.testing.assert_allclose(found.per_class[~exact.collapsed], problem.lambda_h, rtol=1e-8)
    assert np.isnan(found.per_class[exact.collapsed]).all()
    assert found.misfit_w < 1e-9
    assert found.misfit_h < 1e-7  # the root of a rounding error
    assert found.spread == pytest.approx(1.0, abs=1e-8)
    assert found.excess == pytest.approx(0.0, abs=1e-12)
    assert found.applies
    assert not found.why


@pytest.mark.parametrize(
    "problem",
    [
        ufm.Problem([20, 9, 4], 1e-2, 3e-3, features="free"),
        ufm.Problem([20, 9, 4], 1e-2, 3e-3, loss=ufm.MeanSquaredError(), features="free"),
        ufm.Problem([20, 9, 4], 1e-2, 3e-3, loss=ufm.BinaryCrossEntropy()),
        ufm.Problem([20, 9, 4], 1e-2, 3e-3, loss=ufm.LogitAdjustedCrossEntropy(shift=(0.5, 0.0, -1.0))),
    ],
    ids=lambda problem: f"{problem.loss.name} {problem.features}",
)
def test_every_loss_with_a_gradient_has_decays(problem):
    solution = ufm.solve(problem, tolerance=1e-9)
    found = ufm.effective_decays(at_samples(problem, *solution.factors()), problem.loss, problem.features)
    # stationary to the root of the gap
    assert (found.lambda_w, found.lambda_h) == pytest.approx((problem.lambda_w, problem.lambda_h), rel=1e-3)
    assert max(found.misfit_w, found.misfit_h, found.spread - 1.0) < 1e-2


def reference(W, F, y, b=0.0, free=False):
    """The formulas on full arrays: gradients of the mean cross-entropy, and the minimum over λ by search."""
    G = (softmax(F @ W.T + b, axis=1) - np.eye(len(W))[y]) / len(F)
    grad_w, grad_h = G.T @ F, G @ W

    def projected(v):
        return v if free else np.where(F > 0.0, v, np.minimum(v, 0.0))

    search = {}
    for name, size in (
        ("w", lambda c: np.linalg.norm(grad_w + c * W)),
        ("h", lambda c: np.linalg.norm(projected(grad_h + c * F))),
    ):
        best = minimize_scalar(size, bracket=(0.0, 1e-2), tol=1e-14)
        search[name] = best.x, best.fun / size(0.0)
    return G, search


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_decays_and_misfits_are_the_least_of_a_search(seed, free):
    rng = np.random.default_rng(seed)
    K, d, y = 4, 5, np.array([0, 0, 0, 1, 1, 2, 3, 3])
    F = np.eye(K, d)[y] + 0.4 * rng.normal(size=(8, d))
    F = F if free else np.maximum(F, 0.0)
    W = np.eye(K, d) + 0.2 * rng.normal(size=(K, d))
    G, search = reference(W, F, y, free=free)
    found = ufm.effective_decays(ufm.Candidate(weights=W, features=F, labels=y))
    assert found.features == ("free" if free else "nonnegative")
    pull = -(G * (F @ W.T)).sum(axis=1)
    assert pull.sum() > 0.0
    assert found.lambda_w == pytest.approx(pull.sum() / (W**2).sum(), rel=1e-12)
    assert found.lambda_h == pytest.approx(pull.sum() / (F**2).sum(), rel=1e-12)
    assert (found.lambda_w, found.misfit_w) == pytest.approx(search["w"], rel=1e-4)
    assert (found.lambda_h, found.misfit_h) == pytest.approx(search["h"], rel=1e-4)
    by_class = np.bincount(y, pull) / np.bincount(y, (F**2).sum(axis=1))
    np.testing.assert_allclose(found.per_class, by_class, rtol=1e-12)
    assert found.spread == (pytest.approx(by_class.max() / by_class.min()) if by_class.min() > 0.0 else math.inf)


def test_a_bias_has_its_own_decay_and_shifts_the_logits():
    """At the optimum of a problem with λ_b, from a solver; and not without the bias: a planted fault."""
    problem = ufm.Problem([20, 9, 4], 1e-2, 3e-3, bias=0.05)
    solution = ufm.solve(problem, tolerance=1e-9)
    W, H = solution.factors()
    candidate = at_samples(problem, W, H)

    def decays(bias):
        sums = _Sums(candidate, problem.loss, bias)
        for block in blocks(candidate):
            sums.negative.see(block)
            sums.add(block.features, block.labels)
        return sums.decays(None)

    found = decays(np.asarray(solution.bias))
    expected = (problem.lambda_w, problem.lambda_h, problem.bias)
    assert (found.lambda_w, found.lambda_h, found.lambda_b) == pytest.approx(expected, rel=1e-2)
    assert found.misfit_w < 1e-2
    assert found.excess is None  # the formula without bias would be no gap
    assert decays(None).misfit_w > 0.05
    assert decays(np.zeros(3)).lambda_b is None


# -- faults --------------------------------------------------------------------------------------------------------


def faulty(change):
    W, H = ufm.theory.optimum(ORDINARY).factors()
    y = np.repeat(np.arange(4), ORDINARY.class_counts)
    W, F = change(W.copy(), H[y].copy(), y)
    return ufm.effective_decays(ufm.Candidate(weights=W, features=F, labels=y))


def test_longer_features_of_one_class_show_in_the_spread():
    def change(W, F, y):
        F[y == 0] *= 2.0
        return W, F

    found = faulty(change)
    assert found.spread > 5.0
    assert found.misfit_h > 0.1


def test_a_turned_classifier_shows_in_its_misfit():
    def change(W, F, y):
        W[0, 3] += 2.0  # a coordinate that no feature has
        return W, F

    found = faulty(change)
    assert found.misfit_w > 0.5
    assert "of the classifier's gradient" in found.why


def test_the_limits_of_where_the_model_applies():
    def change(factor):
        def apply(W, F, y):
            F[y == 0] *= factor
            return W, F

        return faulty(apply)

    below, above = change(1.2), change(3.0)
    assert below.spread <= 10.0 < above.spread
    assert below.applies
    assert not above.applies
    assert "differ by a factor" in above.why


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_where_no_decay_fits_there_is_none(sign):
    found = faulty(lambda W, F, y: (sign * W, F))
    assert (found.lambda_w, found.lambda_h) == (None, None)
    assert not found.applies
    assert found.spread == math.inf
    with pytest.raises(HypothesisError, match="no effective decays"):
        found.require()


def test_a_negative_feature_is_free_or_refused():
    W, F, y = np.eye(2), np.array([[1.0, -0.1], [0.0, 1.0]]), [0, 1]
    candidate = ufm.Candidate(weights=W, features=F, labels=y)
    assert ufm.effective_decays(candidate).features == "free"
    with pytest.raises(CandidateError, match=r"features\[0, 1\] is -0.1"):
        ufm.effective_decays(candidate, features="nonnegative")
    with pytest.raises(UnknownNameError, match="features is 'relu'"):
        ufm.effective_decays(candidate, features="relu")
    with pytest.raises(CandidateError, match="candidate is a tuple"):
        ufm.effective_decays((W, F))
    with pytest.raises(ShapeError, match="3 entries"):
        ufm.effective_decays(candidate, ufm.CrossEntropy(class_weights=(1.0, 1.0, 1.0)))
    with pytest.raises(HypothesisError, match="kinks"):
        ufm.effective_decays(candidate, ufm.MulticlassHinge("crammer-singer"))
    with pytest.raises(CandidateError, match="weights has an entry"):
        ufm.effective_decays(ufm.Candidate(weights=1e200 * W, features=F, labels=y))


# -- without decays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_excess_is_the_least_gap_of_any_decays(seed):
    """Over a grid of both decays, gaps from the theorem; the least is the excess."""
    rng = np.random.default_rng(seed)
    counts, y = [6, 4, 3], np.repeat([0, 1, 2], [6, 4, 3])
    F = np.maximum(3.0 * np.eye(3, 5)[y] + rng.normal(size=(13, 5)), 0.0)
    W = np.eye(3, 5) + 0.2 * rng.normal(size=(3, 5))
    found = ufm.effective_decays(ufm.Candidate(weights=W, features=F, labels=y))
    logits = F @ W.T
    loss = (logsumexp(logits, axis=1) - logits[np.arange(13), y]).mean()
    w, h = (W**2).sum(), (F**2).sum()

    def gap(log_w, log_h):
        lambdas = math.exp(log_w), math.exp(log_h)
        return loss + (lambdas[0] * w + lambdas[1] * h) / 2 - ufm.theory.optimum(ufm.Problem(counts, *lambdas)).value

    grid = [gap(a, b) for a in np.arange(-12.0, 1.0, 0.25) for b in np.arange(-14.0, 1.0, 0.25)]
    assert min(grid) >= found.excess - 1e-12
    assert min(grid) == pytest.approx(found.excess, rel=0.05)


def test_a_point_without_logits_has_the_excess_of_its_loss():
    """‖W‖ ‖H‖ = 0: the least loss with this product is that of zero logits."""
    candidate = ufm.Candidate(weights=np.zeros((2, 2)), features=np.eye(2), labels=[0, 1])
    assert ufm.effective_decays(candidate).excess == pytest.approx(0.0, abs=1e-15)

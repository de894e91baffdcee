"""Effective decays: those of an optimum are its own; misfits, spread and excess say how far others are from one."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import ufm_convex as ufm
from ufm_convex.errors import CandidateError, HypothesisError, UnknownNameError
from ufm_convex.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, MulticlassHinge

COUNTS = [500, 100, 20]


def optimum(problem, solver="auto"):
    W, H = ufm.solve(problem, solver=solver, tolerance=1e-9).factors()
    return ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts)


def numerical(candidate, loss, step=1e-6):
    """⟨∇CE, W⟩, ⟨∇CE, H⟩ and the squared gradients by central differences, in plain NumPy."""
    W, H, n = candidate.weights.copy(), candidate.features.copy(), candidate.class_counts
    N, K = n.sum(), len(n)
    weights = np.ones(K) if loss.class_weights is None else np.asarray(loss.class_weights)
    T = (1 - loss.smoothing) * np.eye(K) + loss.smoothing / K

    def value(W, H):
        Z = H @ W.T
        top = Z.max(axis=1, keepdims=True)
        log = Z - top - np.log(np.exp(Z - top).sum(axis=1, keepdims=True))
        return -float(((weights * n / N)[:, None] * T * log).sum())

    found = []
    for x, at in ((W, lambda x: value(x, H)), (H, lambda x: value(W, x))):
        gradient = np.zeros_like(x)
        for place in np.ndindex(*x.shape):
            up, down = x.copy(), x.copy()
            up[place] += step
            down[place] -= step
            gradient[place] = (at(up) - at(down)) / (2 * step)
        found.append(gradient)
    return found


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize(
    "loss",
    [
        None,
        CrossEntropy(smoothing=0.1),
        CrossEntropy(class_weights=[1, 2, 3]),
        BinaryCrossEntropy(),
        MeanSquaredError(),
    ],
    ids=["plain", "smoothed", "weighted", "sigmoids", "squares"],
)
def test_an_optimum_speaks_of_its_own_decays(loss, features):
    problem = ufm.Problem(COUNTS, 2e-3, 5e-3, loss=loss, features=features)
    found = ufm.effective_decays(optimum(problem), loss=loss, features=features)
    # factors are known to the square root of what their value is: 1e-9
    assert found.lambda_w == pytest.approx(2e-3, rel=1e-4)
    assert found.lambda_h == pytest.approx(5e-3, rel=1e-4)
    assert found.per_class == pytest.approx(5e-3, rel=1e-3)
    assert found.spread == pytest.approx(1.0, abs=1e-3)
    assert max(found.misfit_w, found.misfit_h) < 1e-3
    assert abs(found.excess) < 1e-8


def test_a_wrong_loss_is_noticed():
    problem = ufm.Problem(COUNTS, 2e-3, 5e-3, loss=CrossEntropy(class_weights=[1, 2, 30]))
    found = ufm.effective_decays(optimum(problem))
    assert found.spread > 3.0
    assert found.excess > 1e-4


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(smoothing=0.2, class_weights=[1, 3, 0.5])])
def test_any_candidate_against_differences(loss):
    rng = np.random.default_rng(11)
    W, H, n = rng.normal(size=(3, 4)), np.abs(rng.normal(size=(3, 4))), np.array([7, 3, 2])
    H += 0.3 * W - W.min()
    candidate = ufm.Candidate(weights=W, features=H, class_counts=n)
    gradient_w, gradient_h = numerical(candidate, loss)
    s = -float((gradient_w * W).sum())
    assert s == pytest.approx(-float((gradient_h * H).sum()), rel=1e-6)
    if s <= 0:
        with pytest.raises(HypothesisError):
            ufm.effective_decays(candidate, loss=loss)
        return
    found = ufm.effective_decays(candidate, loss=loss, features="free")
    square_h = float((n[:, None] * H**2).sum())
    assert found.lambda_w == pytest.approx(s / (W**2).sum(), rel=1e-6)
    assert found.lambda_h == pytest.approx(s / square_h, rel=1e-6)
    left = gradient_w + found.lambda_w * W
    assert found.misfit_w == pytest.approx(np.linalg.norm(left) / np.linalg.norm(gradient_w), rel=1e-5)
    each = gradient_h / n[:, None]  # of one sample
    left = each + found.lambda_h * H
    share = math.sqrt((n[:, None] * left**2).sum() / (n[:, None] * each**2).sum())
    assert found.misfit_h == pytest.approx(share, rel=1e-5)


def test_the_sign_of_features_keeps_entries_that_are_zero():
    """At a non-negative optimum gradients push zeros below zero: no misfit, though it would be one of free features."""
    candidate = optimum(ufm.Problem(COUNTS, 2e-3, 5e-3))
    assert ufm.effective_decays(candidate).misfit_h < 1e-3
    assert ufm.effective_decays(candidate, features="free").misfit_h > 0.1


def test_samples_are_class_means_that_repeat():
    problem = ufm.Problem([4, 3, 2], 2e-2, 5e-3)
    means = optimum(problem)
    labels = np.repeat([0, 1, 2], [4, 3, 2])
    samples = ufm.Candidate(weights=means.weights, features=means.features[labels], labels=labels)
    one, other = ufm.effective_decays(means), ufm.effective_decays(samples)
    for name in ("lambda_w", "lambda_h", "misfit_w", "spread", "loss_value", "product"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_the_excess_is_that_of_the_best_layer_of_the_same_size(seed):
    """min CE subject to ‖W‖ ‖H‖ ≤ ρ, by descent from many starts on the product of two spheres."""
    rng = np.random.default_rng(seed)
    n = np.array([6, 3, 1])
    W, H = rng.normal(size=(3, 3)), np.abs(rng.normal(size=(3, 3))) + 2 * np.eye(3)
    W += 2 * np.eye(3)
    candidate = ufm.Candidate(weights=W, features=H, class_counts=n)
    gradient_w, _ = numerical(candidate, CrossEntropy())
    assume((gradient_w * W).sum() < -1e-3)
    found = ufm.effective_decays(candidate)
    lengths = np.sqrt(n)[:, None]

    def value(x):
        A, B = x[:9].reshape(3, 3), x[9:].reshape(3, 3) ** 2
        A, B = A / np.linalg.norm(A), B / np.linalg.norm(lengths * B)
        Z = found.product * B @ A.T
        return float(
            (n / n.sum()) @ (np.log(np.exp(Z - Z.max(axis=1, keepdims=True)).sum(axis=1)) + Z.max(axis=1) - np.diag(Z))
        )

    starts = [np.concatenate([np.eye(3).ravel(), np.eye(3).ravel() + 0.1])] + [rng.normal(size=18) for _ in range(4)]
    best = min(minimize(value, start, method="L-BFGS-B", options={"maxiter": 500}).fun for start in starts)
    assert found.excess == pytest.approx(found.loss_value - best, abs=1e-5)  # what descents with differences reach


def test_dead_classes_have_no_decay_of_their_own():
    candidate = optimum(ufm.Problem(COUNTS, 2e-3, 5e-3))
    H = candidate.features.copy()
    H[2] = 0.0
    found = ufm.effective_decays(ufm.Candidate(weights=candidate.weights, features=H, class_counts=COUNTS))
    assert np.isnan(found.per_class).tolist() == [False, False, True]
    assert math.isfinite(found.spread)


def test_what_no_decay_fits_is_refused_by_name():
    W = np.eye(3)
    with pytest.raises(HypothesisError, match="no decay > 0 fits"):
        ufm.effective_decays(ufm.Candidate(weights=W, features=-W, class_counts=COUNTS))
    with pytest.raises(HypothesisError, match="kinks"):
        ufm.effective_decays(
            ufm.Candidate(weights=W, features=W, class_counts=COUNTS), loss=MulticlassHinge("crammer-singer")
        )
    with pytest.raises(CandidateError, match="negative"):
        ufm.effective_decays(ufm.Candidate(weights=W, features=W - 0.1, class_counts=COUNTS), features="nonnegative")
    with pytest.raises(UnknownNameError, match="features"):
        ufm.effective_decays(ufm.Candidate(weights=W, features=W, class_counts=COUNTS), features="positive")
    with pytest.raises(CandidateError, match="candidate is"):
        ufm.effective_decays((W, W))
    assert ufm.effective_decays(ufm.Candidate(weights=W, features=W - 0.1, class_counts=COUNTS)).features == "free"

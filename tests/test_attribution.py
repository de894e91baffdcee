"""The seven parts of a gap: non-negative, exact in sum, and each moved alone by the fault it is named for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex import theory
from ufm_convex.attribution import PARTS, attribute_gap
from ufm_convex.candidate import Candidate
from ufm_convex.errors import CandidateError, CountsError, HypothesisError, SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.testing import decays_for

LOSSES = (CrossEntropy(), CrossEntropy(smoothing=0.1))


def objective(problem, W, F, y):
    """f(W, H) sample by sample, from the definition."""
    loss, K = problem.loss, problem.num_classes
    logits = F @ W.T
    peak = logits.max(axis=1)
    log_sum = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    target = (1 - loss.smoothing) * np.eye(K)[y] + loss.smoothing / K
    data = (loss.weights(K)[y] * (log_sum - (target * logits).sum(axis=1))).mean()
    return data + problem.lambda_w / 2 * (W**2).sum() + problem.lambda_h / 2 * (F**2).sum()


@st.composite
def candidates(draw):
    """A problem and a random candidate of any quality."""
    counts = draw(st.lists(st.integers(1, 12), min_size=2, max_size=5))
    weights = tuple(draw(st.lists(st.floats(0.3, 3.0), min_size=len(counts), max_size=len(counts))))
    loss = draw(st.sampled_from([*LOSSES, CrossEntropy(class_weights=weights)]))
    problem = Problem(counts, *decays_for(counts, 10.0 ** draw(st.floats(-3.0, 0.5))), loss=loss)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    d, scale = draw(st.integers(1, 6)), 10.0 ** rng.uniform(-2, 1, 2)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return problem, scale[0] * rng.normal(size=(len(counts), d)), scale[1] * rng.random((y.size, d)), y


@given(candidates())
def test_parts_are_non_negative_and_sum_to_the_gap(case):
    problem, W, F, y = case
    found = attribute_gap(problem, Candidate(weights=W, features=F, labels=y))
    value = objective(problem, W, F, y)
    assert found.candidate_value == pytest.approx(value, rel=1e-13)
    assert all((np.asarray(getattr(found, name)) >= 0.0).all() for name in PARTS)
    # exact up to rounding relative to the objective, whatever the size of the gap
    assert abs(found.gap - (value - theory.optimum(problem).value)) <= 1e-12 * value
    assert found.by_class.sum() + found.classifier_mean == pytest.approx(found.gap, rel=1e-12)


@given(candidates())
def test_class_means_have_neither_spread_nor_variability(case):
    problem, W, F, y = case
    means = np.array([F[y == k].mean(axis=0) for k in range(problem.num_classes)])
    whole = attribute_gap(problem, Candidate(weights=W, features=F, labels=y)).totals
    averaged = attribute_gap(problem, Candidate(weights=W, features=means, class_counts=problem.class_counts)).totals
    # p is rounded to 1e-16, so a p_j diverges from itself by 1e-32 / p_j, and by 1e-16 times a logit where p_j = 0
    assert averaged["logit_spread"] <= 1e-15 * (1.0 + np.abs(W @ means.T).max())
    assert averaged["variability"] <= 1e-30 * (F**2).sum()
    for name in ("calibration", "non_orthogonality", "collapsed", "self_duality", "classifier_mean"):
        assert averaged[name] == pytest.approx(whole[name], rel=1e-9, abs=1e-12 * max(whole.values()))


PROBLEM = Problem([8, 6, 4, 1], 0.1, 0.05)  # the last class is collapsed
Y = np.repeat(np.arange(4), PROBLEM.class_counts)


def optimal():
    found = theory.optimum(PROBLEM)
    assert found.collapsed.tolist() == [False, False, False, True]
    W, H = found.factors(6)
    return W, H[Y]


def parts(W, F):
    return attribute_gap(PROBLEM, Candidate(weights=W, features=F, labels=Y)).totals


def test_the_optimum_has_no_gap():
    totals = parts(*optimal())
    assert max(totals.values()) < 1e-28  # squares of rounding errors


def spread_out(W, F):
    """Samples of class 0 apart along a coordinate that W does not see."""
    F = F.copy()
    F[:8, 5] = 0.1 * (np.arange(8) % 2)
    return W, F


def spread_seen(W, F):
    """Samples of class 0 apart along their own direction, the mean kept."""
    F = F.copy()
    F[:8] *= 1.0 + 0.2 * np.where(np.arange(8) % 2, 1.0, -1.0)[:, None]
    return W, F


def rescaled(W, F):
    """All logits of class 0 larger, W self-dual to the new means."""
    F = F.copy()
    F[:8] *= 1.3
    return self_dual(F), F


def overlapping(W, F):
    """Class 0 takes a coordinate of class 1 as well, W self-dual to the new means."""
    F = F.copy()
    F[:8, 1] += 0.05
    return self_dual(F), F


def revived(W, F):
    """The collapsed class gets a feature in a coordinate of its own, W self-dual to the new means."""
    F = F.copy()
    F[-1, 3] = 0.1
    return self_dual(F), F


def self_dual(F):
    means = np.array([F[k == Y].mean(axis=0) for k in range(4)])
    optimum = theory.optimum(PROBLEM)
    g = np.where(optimum.collapsed, np.sqrt(PROBLEM.class_counts / optimum.collapse_threshold), 1.0)
    pulled = optimum.scale * (g * np.sqrt(PROBLEM.class_counts))[:, None] * means
    return pulled - pulled.mean(axis=0)


def turned(W, F):
    """Two classifiers exchange a little along a coordinate that no feature uses."""
    W = W.copy()
    W[0, 5], W[1, 5] = 0.1, -0.1
    return W, F


def shifted(W, F):
    """The same vector added to all classifiers: no logit difference changes."""
    return W + 0.1, F


FAULTS = [
    (rescaled, {"calibration"}),
    (spread_seen, {"logit_spread", "variability"}),  # spread along a direction that W sees is variability as well
    (overlapping, {"non_orthogonality", "calibration"}),  # and moves the logits
    (revived, {"collapsed", "calibration"}),
    (turned, {"self_duality"}),
    (shifted, {"classifier_mean"}),
]


@pytest.mark.parametrize(("fault", "moved"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_each_fault_moves_its_own_part(fault, moved):
    totals = parts(*fault(*optimal()))
    assert {name for name, total in totals.items() if total > 1e-12} == moved


def test_variability_alone():
    """A spread that W does not see, with the mean kept at the optimum up to the mean of the spread itself."""
    W, F = optimal()
    F = F.copy()
    F[:8, 5] = np.where(np.arange(8) % 2, 0.1, 0.0)
    totals = parts(W, F)
    # the mean moved by 0.05 along coordinate 5, which W should then use: self-duality sees that
    assert {name for name, total in totals.items() if total > 1e-12} == {"variability", "self_duality"}
    assert totals["variability"] == pytest.approx(PROBLEM.lambda_h / 2 * 8 * 0.05**2, rel=1e-12)


def test_a_dead_class_is_seen_by_its_class():
    """The recorded excesses of tests/test_reference_cases.py: all calibration, and of the class that is dead."""
    problem = Problem([500, 300, 180, 108, 65, 39, 23, 14, 8, 5], 1e-3, 1e-3)
    W, H = theory.optimum(problem).factors()
    for k, excess in ((0, 0.7972762309147889), (4, 0.08193062923573663), (9, 0.0018240460432956919)):
        w, h = W.copy(), H.copy()
        h[k] = 0.0
        w[:, k] = 0.0  # class k has the coordinate k to itself
        found = attribute_gap(problem, Candidate(weights=w, features=h, class_counts=problem.class_counts))
        assert found.gap == pytest.approx(excess, rel=1e-9)
        assert int(found.by_class.argmax()) == k
        assert found.shares["calibration"] == pytest.approx(1.0, abs=1e-12)


def test_what_cannot_be_attributed_is_refused():
    W, F = optimal()
    with pytest.raises(CandidateError, match=r"features\[2, 0\] is -1.0; 1 entries"):
        attribute_gap(PROBLEM, Candidate(weights=W, features=F - _one(F), labels=Y))
    candidate = Candidate(weights=W, features=F, labels=Y)
    with pytest.raises(CountsError, match="other class counts"):
        attribute_gap(Problem([9, 5, 4, 1], 0.1, 0.05), candidate)
    with pytest.raises(HypothesisError, match="nonnegative"):
        attribute_gap(Problem(PROBLEM.class_counts, 0.1, 0.05, features="free"), candidate)
    large = Problem(np.ones(20_001, dtype=int), 0.1, 0.1)
    with pytest.raises(SizeError, match="enclose_objective"):
        attribute_gap(large, candidate)


def _one(F):
    """What makes the entry (2, 0) equal to −1."""
    change = np.zeros_like(F)
    change[2, 0] = F[2, 0] + 1.0
    return change

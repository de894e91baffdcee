"""The seven parts of a gap: non-negative, exact in sum, and each moved alone by the fault it is named for."""

import dataclasses

import full_arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex import theory
from ufm_convex.attribution import PARTS, attribute_gap, stability_bounds
from ufm_convex.candidate import Candidate
from ufm_convex.errors import CandidateError, CountsError, HypothesisError, ProblemError, SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import HardMargin, LayerPeeled
from ufm_convex.relaxation import of_classes
from ufm_convex.solving import solve
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


# -- dead classes ----------------------------------------------------------------------------------------------------

# 100 of 100 L-BFGS-B runs from small starts at d = K end in spurious minima of this problem, at the optimum plus the
# sum of the excesses of their dead classes; the excesses were read off those runs. tests/test_reference_cases.py
# derives them from Theorem 1 of Dang, Tran, Nguyen, Ho (ICML 2024): pi_k log K minus the class's term of the optimum.
STUCK = Problem([500, 300, 180, 108, 65, 39, 23, 14, 8, 5], 1e-3, 1e-3)
EXCESS = [
    0.7972762309147889, 0.4600503786105486, 0.26263012728726165, 0.14782136050311076, 0.08193062923573663,
    0.04407859797586926, 0.022318789595605317, 0.011133499728566679, 0.004561046999551047, 0.0018240460432956919,
]  # fmt: skip


def killed(*classes, spare=False):
    """The optimum without the features of these classes; their coordinates stay unused, or are given to class 0."""
    W, H = theory.optimum(STUCK).factors()
    H[list(classes)] = 0.0
    W[:, list(classes)] = 0.0
    if not spare:  # turned within the plane of the old coordinate and an unused one, class 0 occupies both
        for k in classes:
            for matrix in (W, H):
                matrix[:, [0, k]] = matrix[:, [0]] * np.array([0.8, 0.6])
    return attribute_gap(STUCK, Candidate(weights=W, features=H, class_counts=STUCK.class_counts))


@pytest.mark.parametrize("classes", [(0,), (4,), (9,), (2, 7), (5, 8, 9)])
def test_dead_classes_are_named_with_the_recorded_cost(classes):
    found = killed(*classes)
    assert [one.index for one in found.dead_classes] == sorted(classes)  # the costliest first: the largest
    for one in found.dead_classes:
        assert one.cost == pytest.approx(EXCESS[one.index], rel=1e-9)
    assert found.gap == pytest.approx(sum(EXCESS[k] for k in classes), rel=1e-9)
    assert int(found.by_class.argmax()) == min(classes)
    assert found.shares["calibration"] == pytest.approx(1.0, abs=1e-12)


def test_the_diagnosis_says_which_how_much_and_what_to_do():
    assert killed(2, 8).diagnosis == (
        "classes 2 and 8 are dead: their features and logit margins are zero, at a cost of 0.263 and 0.00456 each "
        "(100.0 % of the gap), as in a spurious local minimum: restart with d > K = 10, say d = 200."
    )
    assert killed(4).diagnosis.startswith(
        "class 4 is dead: its features and logit margin are zero, at a cost of 0.0819 ("
    )
    assert "saddle point" in killed(4, spare=True).diagnosis
    assert killed().diagnosis is None
    assert dataclasses.replace(killed(4), feature_dim=12).diagnosis.endswith("restart from elsewhere, or with d > 12.")
    assert "and 2 more" in killed(*range(8)).diagnosis


def test_a_dead_class_among_other_faults_is_no_local_minimum():
    W, H = theory.optimum(STUCK).factors()
    H[9] = 0.0
    found = attribute_gap(STUCK, Candidate(weights=2.0 * W, features=H, class_counts=STUCK.class_counts))
    assert [one.index for one in found.dead_classes] == [9]
    assert found.diagnosis.endswith("% of the gap); the rest lies in its other parts.")


def test_what_is_small_but_alive_or_collapsed_is_not_dead():
    W, H = theory.optimum(STUCK).factors()
    H[9] *= 0.01
    found = attribute_gap(STUCK, Candidate(weights=W, features=H, class_counts=STUCK.class_counts))
    assert found.dead_classes == ()
    W, F = optimal()  # its last class is collapsed in theory
    assert attribute_gap(PROBLEM, Candidate(weights=W, features=F, labels=Y)).dead_classes == ()


def test_descent_at_d_equal_k_is_recognised():
    """Ten of the runs of tests/benchmarks/bench_dead_classes.py: all stuck, and their dead classes explain it."""
    columns, recognised = of_classes(STUCK), 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        W, H = 0.1 * rng.normal(size=(2, 10, 10))
        W, H = full_arrays.descend(columns, W, np.abs(H), iterations=20_000)
        found = attribute_gap(STUCK, Candidate(weights=W, features=H, class_counts=STUCK.class_counts))
        assert found.gap > 1e-4
        recognised += abs(found.gap - sum(EXCESS[one.index] for one in found.dead_classes)) < 1e-5
        assert found.dead_classes
        assert not found.spare_coordinate
    assert recognised >= 9  # 98 of 100


# -- stability -------------------------------------------------------------------------------------------------------


def excesses(problem, W, F, y, gap):
    """Each bounded quantity over its bound, computed from the definitions; at most 1 where the bounds hold."""
    n, K = problem.class_counts, problem.num_classes
    bounds, optimum = stability_bounds(problem, gap), theory.optimum(problem)
    means = np.array([F[y == k].mean(axis=0) for k in range(K)])
    theta = np.broadcast_to(optimum.collapse_threshold, K)
    g = np.minimum(np.sqrt(n / theta), 1.0)
    pulled = optimum.scale * (g * np.sqrt(n))[:, None] * means
    logits = W @ means.T
    log_p = logits - logits.max(axis=0) - np.log(np.exp(logits - logits.max(axis=0)).sum(axis=0))
    t = optimum.wrong_mass
    target = np.tile(t / (K - 1), (K, 1))
    np.fill_diagonal(target, 1.0 - t)
    kl = (target * (np.log(target) - log_p)).sum(axis=0)
    return {
        "variability": ((F - means[y]) ** 2).sum() / bounds.variability,
        "inner_products": (means @ means.T / bounds.inner_products).max(),
        "weights": np.linalg.norm(W - (pulled - pulled.mean(axis=0))) / bounds.weights,
        "divergences": (kl / bounds.divergences).max(),
        "collapsed_norms": (np.linalg.norm(means, axis=1) / bounds.collapsed_norms).max(),
    }


@given(candidates())
def test_the_bounds_hold_at_any_candidate(case):
    problem, W, F, y = case
    problem = Problem(problem.class_counts, problem.lambda_w, problem.lambda_h)  # the plain loss, as in ``excesses``
    gap = objective(problem, W, F, y) - theory.optimum(problem).value
    # the gap is a difference of objectives, whose rounding error is relative to them
    ratios = excesses(problem, W, F, y, gap + 1e-13 * (gap + theory.optimum(problem).value))
    assert max(ratios.values()) <= 1.0 + 1e-9, ratios


ATTAINED = [
    (spread_out, "variability", 0.4),  # the mean moves too, which self-duality sees
    (overlapping, "inner_products", 0.3),  # and the logits move
    (turned, "weights", 1.0),
    (shifted, "weights", 1.0),
    (rescaled, "divergences", 1.0),
    (revived, "collapsed_norms", 0.3),
]


@pytest.mark.parametrize(("fault", "name", "reached"), ATTAINED, ids=[fault.__name__ for fault, _, _ in ATTAINED])
def test_the_bounds_are_attained_in_order_and_fail_for_less(fault, name, reached):
    W, F = fault(*optimal())
    gap = attribute_gap(PROBLEM, Candidate(weights=W, features=F, labels=Y)).gap
    assert reached - 1e-6 <= excesses(PROBLEM, W, F, Y, gap)[name] <= 1.0 + 1e-6
    # a tenth of the true gap is refuted by the candidate itself: the bounds are not vacuous
    planted = excesses(PROBLEM, W, F, Y, 0.1 * gap * reached**2)
    assert planted[name] > 1.0


def test_there_is_no_bound_where_theory_gives_none():
    bounds = stability_bounds(PROBLEM, 1e-3)
    assert np.isinf(bounds.collapsed_norms).tolist() == [True, True, True, False]
    assert np.isinf(np.diag(bounds.inner_products)).all()
    exact = stability_bounds(PROBLEM, 0.0)
    assert (exact.variability, exact.weights, exact.collapsed_norms[3]) == (0.0, 0.0, 0.0)
    for gap in (-1e-9, np.nan, np.inf, True, "1"):
        with pytest.raises(CandidateError, match="gap is"):
            stability_bounds(PROBLEM, gap)
    with pytest.raises(HypothesisError):
        stability_bounds(Problem([3, 3], 0.1, 0.1, features="free"), 0.1)
    with pytest.raises(SizeError):
        stability_bounds(Problem(np.ones(20_001, dtype=int), 0.1, 0.1), 0.1)


def test_what_cannot_be_attributed_is_refused():
    W, F = optimal()
    with pytest.raises(CandidateError, match=r"features\[2, 0\] is -1.0; 1 entries"):
        attribute_gap(PROBLEM, Candidate(weights=W, features=F - _one(F), labels=Y))
    candidate = Candidate(weights=W, features=F, labels=Y)
    with pytest.raises(CountsError, match="other class counts"):
        attribute_gap(Problem([9, 5, 4, 1], 0.1, 0.05), candidate)
    for constraint in (LayerPeeled(1.0, 5.0), HardMargin(1.0)):
        decays = {} if constraint.replaces_decays else {"lambda_w": 0.1, "lambda_h": 0.05}
        with pytest.raises(HypothesisError, match=constraint.name):
            attribute_gap(Problem(PROBLEM.class_counts, constraint=constraint, **decays), candidate)
    with pytest.raises(ProblemError, match="another problem"):
        attribute_gap(PROBLEM, candidate, solution=solve(Problem(PROBLEM.class_counts, 0.1, 0.06)))
    K = 20_001  # without a theorem the problem is solved, and no solver takes so many different classes
    large = Candidate(weights=np.zeros((K, 1)), features=np.zeros((K, 1)), class_counts=np.arange(1, K + 1))
    with pytest.raises(SizeError, match="no solver takes 20001 classes"):
        attribute_gap(large.problem(0.1, 0.1, features="free"), large)


def _one(F):
    """What makes the entry (2, 0) equal to −1."""
    change = np.zeros_like(F)
    change[2, 0] = F[2, 0] + 1.0
    return change


def test_a_pair_of_arrays_is_no_candidate():
    problem = Problem([5, 3], 1e-2, 1e-2)
    with pytest.raises(CandidateError, match="is a tuple"):
        attribute_gap(problem, (np.ones((2, 2)), np.ones((2, 2))))

"""The proof, step by step: no slack at an optimum, none negative anywhere, each equality condition broken by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.attribution import attribute_gap
from ufm_convex.errors import CandidateError, CountsError, HypothesisError
from ufm_convex.proof import proof_steps, steps
from ufm_convex.testing import decays_for, problems

NUMBERS = ["34", "35a", "35b", "36", "37", "40", "43", "44", "45", "46", "48", "49", "58", "59", "60", "61"]
SCALAR = {"40", "43", "44", "46", "48"}  # steps that need the common scalar
ACTIVE = ufm.Problem([8, 6, 4, 3], 0.02, 0.01)
COLLAPSED = ufm.Problem([8, 6, 4, 1], 0.1, 0.05)  # class 3: the scalar of the others needs t_3 > (K−1)/K


def frame(problem, split=False):
    """An optimum in dimension K + 2; with ``split`` class 0 uses the last two coordinates, which W treats alike."""
    W, H = (factor.copy() for factor in theory.optimum(problem).factors(problem.num_classes + 2))
    if split:
        for factor in (W, H):
            factor[:, -2:] = factor[:, :1] / np.sqrt(2.0)
            factor[:, 0] = 0.0
    y = np.repeat(np.arange(problem.num_classes), problem.class_counts)
    return W, H[y], y


def evaluate(problem, W, F, y):
    return {step.number: step for step in proof_steps(problem, ufm.Candidate(weights=W, features=F, labels=y))}


def test_the_steps_are_the_chain_in_order():
    assert [step.number for step in steps()] == NUMBERS
    assert len({step.name for step in steps()}) == len(NUMBERS)


@pytest.mark.parametrize(
    "problem",
    [ACTIVE, COLLAPSED, ufm.Problem([7, 2], 1e-3, 1e-1), ufm.Problem([4] * 5, 1e-2, 1e-2), ufm.Problem([2, 3], 1, 1)],
    ids=["active", "collapsed", "two classes", "balanced", "all collapsed"],
)
def test_every_slack_vanishes_at_an_optimum(problem):
    for number, step in evaluate(problem, *frame(problem)).items():
        if step.slack is None:
            assert number in SCALAR
            assert theory.optimum(problem).collapsed.any()
            continue
        assert 0.0 <= step.slack < 1e-27  # squares of rounding errors of numbers of size 10
        assert step.left == pytest.approx(step.right, rel=1e-13, abs=1e-13)
        assert max(step.residuals.values()) < 1e-13


def test_every_slack_vanishes_at_a_solved_optimum():
    solution = ufm.solve(ACTIVE, solver="clarabel", level="class")  # an interior point method, not the closed form
    W, H = solution.factors()
    candidate = ufm.Candidate(weights=W, features=H, class_counts=ACTIVE.class_counts)
    assert max(step.slack for step in proof_steps(ACTIVE, candidate)) < 1e-9  # the solver's own gap


@st.composite
def points(draw):
    """A problem and a random candidate of any quality, samples apart within each class."""
    problem = draw(problems(max_classes=5, max_count=12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    d, scale = draw(st.integers(1, 6)), 10.0 ** rng.uniform(-2, 1, 2)
    y = rng.permutation(np.repeat(np.arange(problem.num_classes), problem.class_counts))
    return problem, scale[0] * rng.normal(size=(problem.num_classes, d)), scale[1] * rng.random((y.size, d)), y


@settings(max_examples=60)
@given(points())
def test_no_slack_is_negative_and_each_is_the_difference_of_its_sides(case):
    for step in evaluate(*case).values():
        if step.slack is None:
            assert step.reason.startswith("hypothesis fails")
            continue
        assert (step.parts >= 0.0).all()  # sums of terms that are ≥ 0 in rounded arithmetic as well
        # the two sides are formed apart from the slack: they differ by rounding of numbers of their size
        assert abs(step.left - step.right - step.slack) <= 1e-12 * (abs(step.left) + abs(step.right) + 1.0)


@settings(max_examples=60)
@given(points())
def test_the_chain_adds_up_to_the_gap(case):
    problem = case[0]
    found = evaluate(*case)
    if found["44"].slack is None:
        return
    total = sum(found[number].slack for number in ("34", "35a", "35b", "37", "44"))
    gap = attribute_gap(problem, ufm.Candidate(weights=case[1], features=case[2], labels=case[3])).gap
    assert total == pytest.approx(gap, rel=1e-11, abs=1e-14)


@settings(max_examples=20)
@given(points())
def test_class_means_stand_for_their_samples(case):
    problem, W, F, y = case
    H = np.array([F[np.argmax(y == k)] for k in range(problem.num_classes)])
    every = evaluate(problem, W, H[y], y)
    for step in proof_steps(problem, ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts)):
        same = every[step.number]
        assert (step.slack is None) == (same.slack is None)
        if step.slack is not None:  # means of equal rows are rounded, by 1e-15 of the sides' size
            assert abs(step.slack - same.slack) <= 1e-12 * (abs(step.left) + abs(step.right) + 1.0)
            assert abs(step.left - same.left) <= 1e-12 * (abs(step.left) + abs(step.right) + 1.0)


def test_enormous_logits_have_finite_slacks():
    W, F, y = frame(ACTIVE)
    for step in evaluate(ACTIVE, 1e100 * W, F, y).values():
        assert 0.0 <= step.slack < np.inf


# -- one candidate for each equality condition ------------------------------------------------------------------


def apart_in_wrong_logits():
    """Rows 1 and 2 of W exchange a little along the feature of class 0: x_0 stays, its wrong logits differ."""
    W, F, y = frame(ACTIVE)
    W[1, 0] += 0.1
    W[2, 0] -= 0.1
    return W, F, y


def apart_in_margin():
    """Samples of class 0 longer and shorter, their mean kept."""
    W, F, y = frame(ACTIVE)
    F[:8] *= 1.0 + 0.2 * np.where(np.arange(8) % 2, 1.0, -1.0)[:, None]
    return W, F, y


def apart_unseen():
    """Samples of class 0 apart along a direction that W does not see."""
    W, F, y = frame(ACTIVE, split=True)
    F[:8, -2:] += 0.1 * np.where(np.arange(8) % 2, 1.0, -1.0)[:, None] * [1.0, -1.0]
    return W, F, y


def self_dual(F, y):
    """W = c V of the class means, with c written out."""
    n, K = ACTIVE.class_counts, 4
    pulled = np.sqrt(n)[:, None] * np.array([F[y == k].mean(axis=0) for k in range(K)])
    return np.sqrt(K * ACTIVE.lambda_h / ((K - 1) * ACTIVE.lambda_w)) * (pulled - pulled.mean(axis=0)), F, y


def too_long():
    """Class 0 longer, W self-dual to it."""
    _, F, y = frame(ACTIVE)
    F[:8] *= 1.3
    return self_dual(F, y)


def turned():
    """Two classifiers apart along a coordinate that no feature uses."""
    W, F, y = frame(ACTIVE)
    W[0, -1], W[1, -1] = 0.1, -0.1
    return W, F, y


def overlapping():
    """The mean of class 0 turned towards that of class 1, its length kept, W self-dual to it."""
    _, F, y = frame(ACTIVE)
    F[:8, 0], F[:8, 1] = 0.99 * F[:8, 0], np.sqrt(1.0 - 0.99**2) * F[:8, 0]
    return self_dual(F, y)


def unbalanced():
    """W larger, H smaller, all logits kept."""
    W, F, y = frame(ACTIVE)
    return 1.1 * W, F / 1.1, y


VIOLATIONS = [
    # W off its place is longer (x_0 kept means that the change is orthogonal to W), so the scale moves as well
    (apart_in_wrong_logits, {"34"}, {"40", "44", "45", "48", "49", "59", "60"}),
    (apart_in_margin, {"35a"}, {"35b"}),
    (apart_unseen, {"35b"}, set()),
    (too_long, {"36", "37", "61", "49"}, {"48"}),
    (turned, {"40", "59"}, {"44", "45", "48", "49", "60"}),
    # V shorter makes a self-dual W shorter (45) and, balanced, too long for V (46); the logits of class 0 move
    (overlapping, {"43", "58", "46"}, {"34", "36", "37", "44", "45", "48", "49"}),
    (unbalanced, {"45", "60"}, {"40", "44", "59", "61"}),
]


@pytest.mark.parametrize(("violation", "own", "following"), VIOLATIONS, ids=[v[0].__name__ for v in VIOLATIONS])
def test_each_condition_is_violated_by_itself(violation, own, following):
    found = evaluate(ACTIVE, *violation())
    moved = {number for number, step in found.items() if step.slack > 1e-9}
    assert own <= moved
    assert moved == own | following
    for number, step in found.items():
        assert (max(step.residuals.values()) > 1e-9) == (number in moved)


# -- the remark: one scalar serves active classes only ----------------------------------------------------------


def test_the_common_scalar_exists_across_active_classes_only():
    optimum, n, N, K = theory.optimum(COLLAPSED), COLLAPSED.class_counts, COLLAPSED.num_samples, 4
    scalars = np.sqrt(n) * optimum.wrong_mass
    c_1 = N * np.sqrt(COLLAPSED.lambda_w * COLLAPSED.lambda_h * (K - 1) / K)
    assert optimum.collapsed.tolist() == [False, False, False, True]
    assert scalars[:3] == pytest.approx(c_1, rel=1e-14)
    assert scalars[3] < c_1
    found = evaluate(COLLAPSED, *frame(COLLAPSED))
    assert {number for number, step in found.items() if step.slack is None} == SCALAR
    for number in SCALAR:
        step = found[number]
        assert (step.left, step.right, step.parts, dict(step.residuals)) == (None, None, None, {})
        assert "class 3 (n = 1)" in step.reason
    assert c_1 > 1.0  # the t_3 that one sample would need
    assert "would need t_k ≥ 1" in found["40"].reason


def test_between_the_two_sizes_the_tangent_is_strict_at_the_optimum():
    counts = [30, 30, 20]
    problem = ufm.Problem(counts, *decays_for(counts, 0.9))  # n_c = 27, and the scalar needs t_k < 1 down to 12
    t = np.sqrt(27 / 20) * 2 / 3
    entropy = -(1 - t) * np.log(1 - t) - t * np.log(t / 2)
    assert t < 1.0
    assert entropy < np.log(3) - 0.01  # at h = 0 the loss is log K: (36) with the common scalar is not tight there
    assert "strict at h_k = 0" in evaluate(problem, *frame(problem))["44"].reason


def test_the_boundary_has_the_common_scalar():
    """n_c = N² λ_W λ_H K/(K−1) = 2 exactly: 4² · (1/4)² · 2 = 2."""
    problem = ufm.Problem([2, 2], 0.25, 0.25)
    assert theory.optimum(problem).collapsed.all()
    assert all(
        step.slack == 0.0 for step in evaluate(problem, np.zeros((2, 1)), np.zeros((4, 1)), [0, 0, 1, 1]).values()
    )


def test_without_balance_there_is_no_slack():
    W, F, y = frame(ACTIVE)
    found = evaluate(ACTIVE, 0.0 * W, F, y)
    assert {number for number, step in found.items() if step.slack is None} == {"46", "48", "49"}
    assert "W = 0 and H ≠ 0" in found["48"].reason
    same = np.ones_like(F) / np.sqrt(ACTIVE.class_counts)[y][:, None]
    assert evaluate(ufm.Problem([2, 2], 1e-2, 1e-2), np.eye(2), np.ones((4, 2)), [0, 0, 1, 1])["46"].slack is None
    assert evaluate(ACTIVE, W, same, y)["43"].slack > 0.0


def test_what_the_proof_does_not_cover_is_refused():
    W, F, y = frame(ACTIVE)
    candidate = ufm.Candidate(weights=W, features=F, labels=y)
    n = ACTIVE.class_counts
    for loss in (ufm.CrossEntropy(smoothing=0.1), ufm.CrossEntropy(class_weights=(1.0, 1.0, 1.0, 2.0))):
        with pytest.raises(HypothesisError, match="does not cover"):
            proof_steps(ufm.Problem(n, 0.02, 0.01, loss=loss), candidate)
    with pytest.raises(HypothesisError, match="free features"):
        proof_steps(ufm.Problem(n, 0.02, 0.01, features="free"), candidate)
    with pytest.raises(CountsError, match="other class counts"):
        proof_steps(ufm.Problem([8, 6, 3, 4], 0.02, 0.01), candidate)
    negative = F.copy()
    negative[2, 0] = -1.0
    with pytest.raises(CandidateError, match=r"features\[2, 0\] is -1.0; 1 entries"):
        proof_steps(ACTIVE, ufm.Candidate(weights=W, features=negative, labels=y))
    with pytest.raises(CandidateError, match="range of binary64"):
        proof_steps(ACTIVE, ufm.Candidate(weights=1e200 * W, features=F, labels=y))
    with pytest.raises(CountsError, match="not 20001"):
        proof_steps(ufm.Problem(np.ones(20_001, dtype=int), 0.1, 0.1), candidate)

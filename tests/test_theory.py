"""Theorem 1: the value against 420 digits and against known figures; hypotheses and what a refusal says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mp_reference import (
    DIGITS,
    margin_objective,
    reference_classes,
    reference_value,
    relative_error,
)
from theory_cases import (
    MARGIN_TOLERANCE,
    SMALL,
    VALUE_TOLERANCE,
    Groups,
    class_gradients,
    optimum_of,
    problem_of,
    textbook_objective,
)

from ufm_convex import theory
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.theory import Hypothesis, Optimum, OrthogonalFrame, Relation, Theorem


def check_against_reference(groups: Groups, lambda_w: float, lambda_h: float, smoothing: float = 0.0) -> None:
    optimum = optimum_of(problem_of(groups, lambda_w, lambda_h, smoothing))
    expected = reference_value(groups, lambda_w, lambda_h, smoothing)
    assert relative_error(optimum.value, expected) <= VALUE_TOLERANCE
    assert relative_error(optimum.dual_value, expected) <= VALUE_TOLERANCE
    starts = np.cumsum([0] + [m for _, m, _ in groups[:-1]])
    for k, one in zip(starts, reference_classes(groups, lambda_w, lambda_h, smoothing), strict=True):
        assert bool(optimum.collapsed[k]) == (one.margin <= mp.mpf(10) ** -(DIGITS - 20))
        assert relative_error(optimum.wrong_mass[k], one.wrong_mass) <= VALUE_TOLERANCE
        if not optimum.collapsed[k]:
            assert relative_error(optimum.margins[k], one.margin) <= MARGIN_TOLERANCE


# -- the value -------------------------------------------------------------------------------------------

DECAYS = [
    (1e-145, 1e-145),
    (1e-290, 1.0),
    (1e-300, 1e10),
    (1e10, 1e-300),
    (1e-20, 3e-7),
    (1e-3, 1e-3),
    (1e2, 1e2),
]
SHAPES = {
    "K=2": [(1, 1, 1.0), (10_000_000, 1, 1.0)],
    "K=3": [(7, 1, 1.0), (1000, 1, 1.0), (9_999_999, 1, 1.0)],
    "K=10": [(50, 3, 1.0), (500, 3, 1.0), (5000, 4, 1.0)],
    "K=1000": [(1, 500, 1.0), (30, 400, 1.0), (10_000, 100, 1.0)],
    "K=1000000": [(1, 999_000, 1.0), (17, 990, 1.0), (10_000_000, 10, 1.0)],
    "smoothing": [(50, 3, 1.0), (500, 3, 1.0), (5000, 4, 1.0)],
    "weights": [(50, 3, 3.3), (500, 3, 0.7), (5000, 4, 0.01)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("decays", DECAYS)
def test_value_to_fourteen_digits(shape: str, decays: tuple[float, float]) -> None:
    check_against_reference(SHAPES[shape], *decays, smoothing=0.1 if shape == "smoothing" else 0.0)


@pytest.mark.parametrize("size", [2, 3, 10, 1000, 1_000_000])
@pytest.mark.parametrize("excess", [-0.5, -1e-9, -1e-15, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 0.02, 0.04, 1.0, 20.0])
def test_value_around_the_threshold(size: int, excess: float) -> None:
    """n_k / n_c = 1 + excess for the balanced problem, to rounding."""
    samples = 30 * size
    root = math.sqrt(30 * (size - 1) / (size * (1.0 + excess))) / samples
    check_against_reference([(30, size, 1.0)], root, root)


def groups_and_decays() -> st.SearchStrategy[tuple[Groups, float, float, float]]:
    group = st.tuples(
        st.integers(1, 10_000_000),
        st.sampled_from([1, 1, 2, 9, 300]),
        st.sampled_from([1.0, 1.0, 1.0, 0.3, 17.0]),
    )
    exponents = st.tuples(st.floats(-300.0, 3.0), st.floats(-300.0, 3.0)).filter(lambda e: -290 <= sum(e) <= 4)
    near = st.none() | st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1e-16, -1e-13, 1e-10, 1e-5, 0.3]))

    def place(drawn: tuple[Groups, tuple[float, float], tuple[int, float] | None, float]) -> object:
        groups, (first, second), placed, smoothing = drawn
        lambda_w, lambda_h = 10.0**first, 10.0**second
        if placed is not None:  # put one class next to its threshold
            count, _, weight = groups[placed[0] % len(groups)]
            size = sum(m for _, m, _ in groups)
            samples = sum(n * m for n, m, _ in groups)
            product = count * weight**2 * (1.0 - smoothing) ** 2 * (size - 1) / size / (1.0 + placed[1])
            lambda_w = lambda_h = math.sqrt(product) / samples
        return groups, lambda_w, lambda_h, smoothing

    return st.tuples(
        st.lists(group, min_size=2, max_size=5),
        exponents,
        near,
        st.sampled_from([0.0, 0.0, 0.05, 0.3, 0.999]),
    ).map(place)  # type: ignore[arg-type]


@given(groups_and_decays())
@example(([(1, 1, 1.0), (1, 1, 1.0)], 1e-145, 1e-145, 0.0))
@settings(max_examples=60, deadline=None)
def test_value_property(drawn: tuple[Groups, float, float, float]) -> None:
    check_against_reference(*drawn)


@pytest.mark.slow
@given(groups_and_decays())
@settings(max_examples=3000, deadline=None)
def test_value_property_at_length(drawn: tuple[Groups, float, float, float]) -> None:
    check_against_reference(*drawn)


def test_log1p_of_minus_t_would_not_do() -> None:
    """Planted fault: with K = 10⁶ and r next to 1, −log1p(−t) loses what (1−r) + r/K keeps."""
    size = 1_000_000
    root = math.sqrt(30 * (size - 1) / size / (1.0 + 1e-6)) / (30 * size)
    groups = [(30, size, 1.0)]
    expected = reference_value(groups, root, root)
    log_r = 0.5 * (2 * math.log(30 * size) + 2 * math.log(root) + math.log(size / (size - 1)) - math.log(30))
    t = (size - 1) / size * math.exp(log_r)
    naive = -math.log1p(-t) + t * math.log1p(size * math.expm1(-log_r))
    assert relative_error(naive, expected) > 100 * VALUE_TOLERANCE
    assert relative_error(optimum_of(problem_of(groups, root, root)).value, expected) <= VALUE_TOLERANCE


@pytest.mark.parametrize(
    "decays", [(5e-324, 5e-324), (1e308, 1e308), (1e-300, 1e300), (1e300, 1e-300), (1e-300, 1e-300)]
)
def test_no_decay_gives_nan(decays: tuple[float, float]) -> None:
    """Warnings are errors here, so this is also: no overflow, no invalid value, no logarithm of zero."""
    for loss in (
        CrossEntropy(),
        CrossEntropy(smoothing=0.1),
        CrossEntropy(class_weights=(1e-200, 1.0, 1e200)),
    ):
        optimum = optimum_of(Problem([50, 3, 1], *decays, loss=loss))
        numbers = [optimum.value, optimum.dual_value, optimum.sensitivity_w, optimum.sensitivity_h]
        arrays = [optimum.margins, optimum.eta, optimum.omega, optimum.weight_norms, optimum.wrong_mass]
        assert np.isfinite(np.concatenate([numbers, *arrays])).all()


def test_all_collapsed_is_log_K() -> None:
    optimum = optimum_of(Problem([1, 2, 3, 4], 10.0, 10.0, loss=CrossEntropy(class_weights=(1.0, 2.0, 0.5, 1.0))))
    assert optimum.num_active == 0
    # Σ pt_k = (1 + 4 + 1.5 + 4)/10; one rounding each for the sum and the logarithm
    assert optimum.value == pytest.approx(1.05 * math.log(4.0), rel=1e-15)
    assert (optimum.weight_norms == 0.0).all()


@pytest.mark.parametrize("problem", SMALL, ids=repr)
def test_reference_is_the_minimum_over_margins(problem: Problem) -> None:
    """The reference's own check: the margin minimises one class's objective, the entropy is the minimum."""
    alpha = problem.loss.smoothing
    weights = problem.loss.weights(problem.num_classes)
    groups = [(int(n), 1, float(w)) for n, w in zip(problem.class_counts, weights, strict=True)]
    for one in reference_classes(groups, problem.lambda_w, problem.lambda_h, alpha):
        with mp.workdps(DIGITS):
            best = margin_objective(one, one.margin, problem.num_classes, alpha)
            assert abs(best - one.weight * one.entropy) < mp.mpf(10) ** -400
            for step in (mp.mpf(10) ** -30, mp.mpf(1), -(mp.mpf(10) ** -30)):
                if one.margin + step >= 0:
                    assert margin_objective(one, one.margin + step, problem.num_classes, alpha) > best


@pytest.mark.parametrize("problem", SMALL, ids=repr)
def test_value_is_the_objective_of_the_factors(problem: Problem) -> None:
    optimum = optimum_of(problem)
    for dim in (None, optimum.num_active or 1, problem.num_classes + 3):
        W, H = optimum.factors(dim)
        assert (H >= 0.0).all()
        objective = textbook_objective(problem, W, H)
        # the objective is stationary at the factors, so their rounding does not count: only the value's does
        assert relative_error(optimum.value, objective) <= VALUE_TOLERANCE


@pytest.mark.parametrize("problem", SMALL, ids=repr)
def test_factors_satisfy_the_kkt_conditions(problem: Problem) -> None:
    optimum = optimum_of(problem)
    W, H = optimum.factors(problem.num_classes + 1)
    grad_W, grad_H = class_gradients(problem, W, H)
    # a dozen roundings of terms of the size of the residuals, which are below max(1, ‖W‖, ‖H‖)
    tolerance = 50 * np.finfo(float).eps * max(1.0, np.abs(W).max(), np.abs(H).max())
    assert np.abs(grad_W).max() <= tolerance
    assert np.abs(grad_H[H > 0.0]).max(initial=0.0) <= tolerance
    assert grad_H.min() >= -tolerance
    planted = W + 1e-6  # a classifier mean that is not zero must be seen
    assert np.abs(class_gradients(problem, planted, H)[0]).max() > tolerance


@pytest.mark.parametrize("decay", ["lambda_w", "lambda_h"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sensitivities_are_derivatives_of_the_value(decay: str, smoothing: float) -> None:
    groups = [(500, 1, 1.0), (100, 2, 1.0), (20, 3, 1.0), (1, 1, 1.0)]
    decays = {"lambda_w": 5e-3, "lambda_h": 9e-3}
    optimum = optimum_of(problem_of(groups, **decays, smoothing=smoothing))
    assert 0 < optimum.num_active < 7

    def value(x: mp.mpf) -> mp.mpf:
        return reference_value(groups, **{**decays, decay: x}, smoothing=smoothing)

    with mp.workdps(DIGITS):
        x, step = mp.mpf(decays[decay]), mp.mpf(10) ** -60
        derivative = (value(x + step) - value(x - step)) / (2 * step)
    given = optimum.sensitivity_w if decay == "lambda_w" else optimum.sensitivity_h
    assert relative_error(given, derivative) <= MARGIN_TOLERANCE


# -- figures known from elsewhere ------------------------------------------------------------------------


def test_figures_of_the_published_experiment() -> None:
    """Counts and decays of the experiments of Dang, Tran, Nguyen, Ho (ICML 2024), and their theorem there.

    The figures carry 16 digits, and were computed independently in logarithms, hence 1e-14.
    """
    counts = np.repeat([1000, 2000, 3000, 4000, 5000], 2)
    optimum = optimum_of(Problem(counts, 1e-4, 1e-5))
    mass = [0.028460498941515415, 0.02012461179749811, 0.016431676725154984]
    mass += [0.014230249470757707, 0.012727922061357857]
    margins = [5.727589381358508, 6.082706452467292, 6.289200702775208, 6.435277442662793, 6.548372072704493]
    squares = [0.5433668384186291, 0.4080403534468038, 0.3444737093587325]
    squares += [0.30525201140877073, 0.27782389790051726]
    assert optimum.value == pytest.approx(0.11610096252862243, rel=1e-14)
    np.testing.assert_allclose(optimum.wrong_mass, np.repeat(mass, 2), rtol=1e-14)
    np.testing.assert_allclose(optimum.margins, np.repeat(margins, 2), rtol=1e-14)
    np.testing.assert_allclose(optimum.feature_norms**2, np.repeat(squares, 2), rtol=1e-14)


def test_label_smoothing_figures() -> None:
    """Balanced, K = 10, n = 100, α = 0.05: figures recorded for free features with λ_W = λ_H = 1e-3.

    Free features have r = α + √(N K λ_W λ_H) = 0.15 there; non-negative ones have √(N K λ_W λ_H K/(K−1)) in
    place of the root, so the same margin and value belong to them at λ_W = 9e-4.
    """
    loss = CrossEntropy(smoothing=0.05)
    optimum = optimum_of(Problem([100] * 10, 9e-4, 1e-3, loss=loss))
    assert optimum.margins[0] == pytest.approx(4.054679305829669, rel=1e-14)
    assert optimum.value == pytest.approx(0.6924074783372629, rel=1e-14)
    # free features at λ_W = 1e-3 have a theorem of their own, with the recorded figure
    found = theory.bound(Problem([100] * 10, 1e-3, 1e-3, loss=loss, features="free"))
    assert found is not None
    assert found.relation is Relation.TIGHT
    assert found.value == pytest.approx(0.6924074783372629, rel=1e-14)


def test_inverse_frequency_weights_collapse_the_majority_first() -> None:
    """ω_k = N/(K n_k) gives r_k = (K/N) √(n_c n_k): larger classes have smaller margins."""
    counts = np.array([1000, 300, 100, 30, 10])
    K, N = counts.size, int(counts.sum())
    loss = CrossEntropy(class_weights=tuple(N / (K * counts)))
    n_c = N**2 / (K**2 * 500)  # then r_k = 1 at n_k = 500
    lambda_w = n_c * (K - 1) / K / N**2
    optimum = optimum_of(Problem(counts, lambda_w, 1.0, loss=loss))
    assert list(optimum.collapsed) == [True, False, False, False, False]
    assert (np.diff(optimum.margins) > 0.0).all()
    r = np.minimum(1.0, K / N * np.sqrt(n_c * counts))
    np.testing.assert_allclose(optimum.wrong_mass, (K - 1) / K * r, rtol=1e-14)


def test_inverse_root_frequency_weights_give_equal_margins() -> None:
    counts = np.array([1024, 300, 100, 36, 4])
    optimum = optimum_of(Problem(counts, 1e-5, 1e-5, loss=CrossEntropy(class_weights=tuple(counts**-0.5))))
    assert 0.0 < optimum.margins[0] < 10.0
    np.testing.assert_allclose(optimum.margins, optimum.margins[0], rtol=MARGIN_TOLERANCE)


# -- hypotheses and the registry -------------------------------------------------------------------------


@dataclass(frozen=True)
class OtherLoss(CrossEntropy):
    """A subclass may be another function, so the theorem must not take it for cross-entropy."""


REFUSALS = {
    "loss is cross-entropy": Problem([30, 20], 1e-3, 1e-3, loss=OtherLoss()),
    "features are nonnegative": Problem([30, 20], 1e-3, 1e-3, features="free"),
    "feature_dim is at least the number of active classes": Problem([30, 20, 10], 1e-3, 1e-3, feature_dim=2),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_failed_hypothesis_is_named(name: str) -> None:
    problem = REFUSALS[name]
    with pytest.raises(HypothesisError, match=name) as caught:
        theory.optimum(problem)
    assert "orthogonal frame" in str(caught.value)
    assert theory.find(problem) is None
    with pytest.raises(HypothesisError, match=name):
        OrthogonalFrame().optimum(problem)
    # exactly this one fails, and it holds for the plain problem
    assert [failed.name for failed in OrthogonalFrame().failed(problem)] == [name]
    assert OrthogonalFrame().failed(replace_all(problem)) == ()


def replace_all(problem: Problem) -> Problem:
    return Problem(problem.class_counts, problem.lambda_w, problem.lambda_h)


def test_too_few_dimensions_say_how_many_and_leave_a_lower_bound() -> None:
    narrow = REFUSALS["feature_dim is at least the number of active classes"]
    with pytest.raises(HypothesisError, match="iff d >= 3"):
        theory.optimum(narrow)
    lower = theory.bound(narrow)
    assert lower is not None
    assert lower.relation is Relation.LOWER
    assert lower.value == theory.optimum(replace_all(narrow)).value


def test_lower_bound_is_strict_in_one_dimension() -> None:
    """K = 2, d = 1, both classes active: every point of a fine grid of (W, H ≥ 0) lies above the value."""
    problem = Problem([6, 4], 5e-2, 5e-2, feature_dim=1)
    bound = theory.bound(problem)
    assert bound is not None
    assert bound.relation is Relation.LOWER
    assert theory.find(problem) is None
    # W = (w, −w) loses nothing; with d = 1 and H ≥ 0 both classes' own logits cannot be positive
    w, first, second = np.meshgrid(*[np.linspace(-3, 3, 61), *[np.linspace(0, 3, 61)] * 2], indexing="ij")
    loss = 0.6 * np.logaddexp(0, -2 * w * first) + 0.4 * np.logaddexp(0, 2 * w * second)
    penalty = 0.05 * w**2 + 0.025 * (6 * first**2 + 4 * second**2)
    assert (loss + penalty).min() > bound.value * 1.1


def test_dimension_is_enough_when_it_covers_the_active_classes() -> None:
    counts = [500, 400, 3, 2, 1]
    assert theory.find(Problem(counts, 5e-3, 5e-3, feature_dim=1)) is None
    exact = Problem(counts, 5e-3, 5e-3, feature_dim=2)
    assert isinstance(theory.find(exact), OrthogonalFrame)
    assert theory.optimum(exact).value == theory.optimum(Problem(counts, 5e-3, 5e-3)).value


def test_two_bounds_in_opposite_directions_are_no_bound() -> None:
    assert theory.bound(Problem([30, 20, 10], 1e-3, 1e-3, features="free", feature_dim=2)) is None
    assert theory.bound(REFUSALS["loss is cross-entropy"]) is None


class AlwaysZero(Theorem):
    """A theorem for the tests: zero is a lower bound, whatever the problem."""

    name = "non-negativity"
    citation = "sums of non-negative terms"
    relation = Relation.LOWER
    usable = True

    def hypotheses(self, problem: Problem) -> tuple[Hypothesis, ...]:
        return (Hypothesis("the moon is full", self.usable, "tested tonight"),)

    def evaluate(self, problem: Problem, relation: Relation) -> Optimum:
        return Optimum(0.0, relation, self.citation)


def test_a_refusal_names_every_theorem(monkeypatch: pytest.MonkeyPatch) -> None:
    barred = AlwaysZero()
    monkeypatch.setattr(barred, "usable", False)
    monkeypatch.setattr(theory, "_in_order", lambda: iter((OrthogonalFrame(), barred)))
    with pytest.raises(HypothesisError, match=r"orthogonal frame needs: features.*non-negativity needs: the moon"):
        theory.optimum(REFUSALS["features are nonnegative"])


def test_a_tight_value_goes_before_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory, "_in_order", lambda: iter((AlwaysZero(), OrthogonalFrame())))
    problem = Problem([30, 20], 1e-3, 1e-3)
    best = theory.bound(problem)
    assert best is not None
    assert best.relation is Relation.TIGHT
    fallback = theory.bound(REFUSALS["loss is cross-entropy"])
    assert fallback is not None
    assert fallback.value == 0.0


@pytest.mark.parametrize("theorem", theory.theorems(), ids=lambda theorem: theorem.name)
def test_every_theorem_is_complete(theorem: Theorem) -> None:
    problem = Problem([30, 20], 1e-3, 1e-3)
    assert theorem.name
    assert theorem.citation
    assert isinstance(theorem.relation, Relation)
    for hypothesis in theorem.hypotheses(problem):
        assert hypothesis.name
        assert hypothesis.explanation
    if not theorem.failed(problem):
        result = theorem.optimum(problem)
        assert (result.relation, result.citation) == (theorem.relation, theorem.citation)


def test_the_frame_is_found_by_its_presence() -> None:
    assert "orthogonal frame" in [theorem.name for theorem in theory.theorems()]

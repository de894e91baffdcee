"""Mean squared error with fewer dimensions than classes: the bound by singular values, and what it is not."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.enclosure import rank_bound

COUNTS = [[200, 100, 50, 50], [30, 20, 10, 5, 2, 1], [50] * 6 + [5] * 6]


def problem_of(counts, decays, d, features="nonnegative", loss=None):
    return ufm.Problem(counts, *decays, loss=loss or ufm.MeanSquaredError(), features=features, feature_dim=d)


def exact(counts, decays, d):
    """½ − Σ over the d largest of (√n − N √(λ_W λ_H))₊² / (2N), in 50 digits from the binary64 decays."""
    with mp.workdps(50):
        N, roots = sum(counts), sorted((mp.sqrt(n) for n in counts), reverse=True)
        kappa = mp.sqrt(mp.mpf(decays[0]) * mp.mpf(decays[1]))
        return mp.mpf(1) / 2 - sum(max(root - N * kappa, 0) ** 2 for root in roots[:d]) / (2 * N)


def objective(counts, decays, W, H):
    """At sample level, features of a class equal."""
    n = np.array(counts)
    loss = 0.5 * ((W @ H.T - np.eye(n.size)) ** 2).sum(axis=0) @ n / n.sum()
    return loss + 0.5 * decays[0] * (W**2).sum() + 0.5 * decays[1] * n @ (H**2).sum(axis=1)


@pytest.mark.parametrize("solver", ["auto", "clarabel", "scs"])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("counts", COUNTS, ids=["four", "six", "two groups"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_dimension_is_certified(counts, features, d, solver):
    decays = (5e-3, 2e-3)
    solution = ufm.solve(problem_of(counts, decays, d, features), solver=solver)
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.lower_proof == "singular values"
    assert float(exact(counts, decays, d)) == pytest.approx(solution.value, rel=1e-6)
    W, H = solution.factors()
    assert H.shape == (len(counts), d)
    assert objective(counts, decays, W, H) == pytest.approx(solution.upper_bound, rel=1e-12)


@pytest.mark.parametrize("decays", [(5e-3, 2e-3), (1e-8, 1e-3), (0.1, 0.1), (1e-200, 1e-150), (1e3, 1e3)])
@pytest.mark.parametrize("counts", COUNTS, ids=["four", "six", "two groups"])
def test_the_bound_is_the_closed_form_rounded_down(counts, decays):
    for d in range(1, len(counts)):
        found, expected = rank_bound(problem_of(counts, decays, d)), exact(counts, decays, d)
        with mp.workdps(50):
            assert mp.mpf(found.value) <= expected
            # 128 bits, then rounded down to binary64
            assert expected - found.value <= expected * mp.mpf(2) ** -52
        assert found.exact >= found.value


@given(
    st.lists(st.integers(1, 500), min_size=2, max_size=6),
    st.integers(1, 5),
    st.floats(1e-5, 1.0),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_no_factors_of_that_dimension_are_better(counts, d, decay, seed):
    """Random W and H, and near-optimal ones: the bound holds for all of them, and each column more lowers it."""
    K = len(counts)
    generator = np.random.default_rng(seed)
    for narrow in range(1, min(d, K - 1) + 1):
        bound = rank_bound(problem_of(counts, (decay, decay), narrow, "free")).value
        order = np.argsort(counts)[::-1][:narrow]
        pull = np.maximum(np.sqrt(counts) - sum(counts) * decay, 0.0)
        for noise in (0.0, 1e-3, 0.3):
            W, H = np.zeros((2, K, narrow))
            W[order, np.arange(narrow)] = np.sqrt(pull[order])
            H[order, np.arange(narrow)] = np.sqrt(pull[order]) / np.sqrt(counts)[order]
            W, H = (M + noise * generator.standard_normal(M.shape) for M in (W, H))
            assert bound <= objective(counts, (decay, decay), W, H) * (1 + 1e-13)


# -- with a bias --------------------------------------------------------------------------------------------------

BIASED = [[200, 100, 50, 50], [5, 5, 5], [30, 20, 10, 5, 2, 1], [1_000_000, 3, 2, 1], [50] * 6 + [5] * 6, [7, 1]]


def exact_with_bias(counts, decays, d):
    """‖M‖²/(2N) − Σ over the d largest singular values of Diag(√n)(I − √n √nᵀ/N), by an eigensolver in 60 digits."""
    with mp.workdps(60):
        N = sum(counts)
        roots = [mp.sqrt(n) for n in counts]
        M = mp.matrix(
            [
                [(i == j) * r - n * q / N for j, q in enumerate(roots)]
                for i, (r, n) in enumerate(zip(roots, counts, strict=True))
            ]
        )
        squares = sorted((abs(e) for e in mp.eigsy(M * M.T, eigvals_only=True)), reverse=True)
        kappa = mp.sqrt(mp.mpf(decays[0]) * mp.mpf(decays[1]))
        saved = sum(max(mp.sqrt(e) - N * kappa, 0) ** 2 for e in squares[:d])
        return (sum(squares) - saved) / (2 * N)


@pytest.mark.parametrize("counts", BIASED, ids=lambda counts: f"{counts[0]}x{len(counts)}")
@pytest.mark.parametrize("bias", ["free", 0.1])
def test_a_bias_centres_the_targets(counts, bias):
    """The bound of a free bias holds for one with a penalty, too."""
    decays = (2e-3, 1e-3)
    for d in range(1, len(counts)):
        problem = ufm.Problem(counts, *decays, loss=ufm.MeanSquaredError(), features="free", bias=bias, feature_dim=d)
        found, expected = rank_bound(problem).value, exact_with_bias(counts, decays, d)
        assert found <= expected
        # each eigenvalue is bounded to 2^-44 or so, one count apart of a million included; values lie below N/2
        assert float(expected - found) <= 1e-9 * float(expected)


@pytest.mark.parametrize("counts", BIASED[:3], ids=lambda counts: f"{counts[0]}x{len(counts)}")
@pytest.mark.parametrize("solver", ["auto", "factored"])
def test_a_free_bias_is_certified_at_every_dimension(counts, solver):
    decays = (2e-3, 1e-3)
    for d in range(1, len(counts)):
        problem = ufm.Problem(counts, *decays, loss=ufm.MeanSquaredError(), features="free", bias="free", feature_dim=d)
        solution = ufm.solve(problem, solver=solver)
        assert solution.status is ufm.Status.CERTIFIED
        assert float(exact_with_bias(counts, decays, d)) == pytest.approx(solution.value, rel=1e-6)


@pytest.mark.parametrize("bias", [None, "free"])
def test_one_dimension_less_would_be_no_bound(bias):
    """The planted fault: the bound of d − 1 dimensions lies above what d of them reach."""
    reached, one, two = (
        ufm.Problem(
            [200, 100, 50, 50], 5e-4, 5e-4, loss=ufm.MeanSquaredError(), features="free", bias=bias, feature_dim=d
        )
        for d in (2, 1, 2)
    )
    upper = ufm.solve(reached).upper_bound
    assert rank_bound(one).value > 1.1 * upper
    assert rank_bound(two).value <= upper


def test_where_it_says_nothing():
    decays = (5e-3, 5e-3)
    assert rank_bound(problem_of([5, 3, 2], decays, None)) is None
    assert rank_bound(problem_of([5, 3, 2], decays, 3)) is None  # d is not binding
    assert rank_bound(problem_of([5, 3, 2], decays, 2, loss=ufm.CrossEntropy())) is None
    many = ufm.Problem(np.arange(1, 2003), *decays, loss=ufm.MeanSquaredError(), feature_dim=2, bias="free")
    assert rank_bound(many) is None  # too many different counts


def test_the_dual_point_proves_what_it_can():
    """Two classes are active in any dimension: the relaxation's own bound is as good, and keeps its name."""
    solution = ufm.solve(problem_of([900, 400, 2, 1], (1e-2, 1e-2), 3), solver="clarabel")
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.lower_proof in ("dense", "group")


def test_no_theorem_is_asked_for_the_value(monkeypatch):
    """Point, dual and upper bound come from the solver; the lower bound says that it is a theorem."""

    def refuse(*_):
        raise AssertionError("the closed form was used")

    for theorem in theory.theorems():
        monkeypatch.setattr(type(theorem), "evaluate", refuse)
    solution = ufm.solve(problem_of([200, 100, 50, 50], (5e-4, 5e-4), 2), solver="clarabel")
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.lower_proof == "singular values"
    assert not solution.kkt()["duality_gap"].passed  # the relaxation's dual point does not reach so far, as reported


def test_cross_entropy_keeps_its_gap():
    solution = ufm.solve(problem_of([20, 20, 20], (1e-3, 1e-3), 2, loss=ufm.CrossEntropy()))
    assert solution.status is ufm.Status.BOUNDED
    assert solution.lower_proof == "diagonal"

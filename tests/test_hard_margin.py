"""The hard margin: own solves against textbook programmes, SELI, frames, limits of losses, and planted faults."""

from __future__ import annotations

import copy
import math
import pickle
from fractions import Fraction

import cvxpy as cp
import full_arrays
import numpy as np
import pytest
from full_columns import Full
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import enclosure, losses, theory
from ufm_convex.cli import application
from ufm_convex.enclosure import DiagonalDual, ExactVector
from ufm_convex.errors import HypothesisError, ProblemError, ShapeError, UnknownNameError
from ufm_convex.evidence import relative_gap
from ufm_convex.problem import constraints
from ufm_convex.relaxation import DualPoint, FramePoint, of_classes

EPS = float(np.finfo(float).eps)
TABLE = [[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 2.0, 0.0]]
COUNTS = [[3, 2], [500, 100, 20], [7, 7, 7], [1000, 1, 1], [40, 30, 20, 10, 5], [100] * 3 + [10] * 4]


def problem_of(counts, decays=(2e-2, 1e-2), *, margins=1, scale=None, **options):
    constraint = ufm.HardMargin(margins=margins, scale=scale)
    return ufm.Problem(counts, *decays, constraint=constraint, **options)


def table_of(margins, K):
    """Row k holds the margins of class k."""
    m = np.array(margins, dtype=float)
    return m if m.ndim == 2 else np.broadcast_to(m, (K,))[:, None] * (1.0 - np.eye(K))


def textbook(counts, decays, margins=1, scale=None, nonnegative=False):
    """The nuclear-norm programme (free), or the smallest semidefinite one (H ≥ 0), written without the library."""
    K, root = len(counts), np.sqrt(np.array(counts, dtype=float))
    m, a = table_of(margins, K), np.ones(K) if scale is None else np.array(scale, dtype=float)
    if nonnegative:
        Z = cp.Variable((2 * K, 2 * K), PSD=True)
        L, B = Z[:K, K:], Z[K:, K:]
        objective = 0.5 * decays[0] * cp.trace(Z[:K, :K]) + 0.5 * decays[1] * root**2 @ cp.diag(B)
        conditions = [B >= 0]
    else:
        L = cp.Variable((K, K))
        objective, conditions = math.sqrt(decays[0] * decays[1]) * cp.normNuc(L @ np.diag(root)), []
    conditions += [a[k] * L[k, k] - a[j] * L[j, k] >= m[k, j] for k in range(K) for j in range(K) if j != k]
    value = cp.Problem(cp.Minimize(objective), conditions).solve(solver="CLARABEL")
    return value, L.value


def least_exact_margin(W, H, margins=1):
    """min over k ≠ j of (W h_k)_k − (W h_k)_j − m_kj, in rational arithmetic on the binary64 numbers."""
    rows = [[Fraction(x) for x in row.tolist()] for row in W]
    means = [[Fraction(x) for x in row.tolist()] for row in H]
    m = table_of(margins, len(rows))
    logits = [[sum(w * h for w, h in zip(row, mean, strict=True)) for row in rows] for mean in means]
    K = range(len(rows))
    return min(logits[k][k] - logits[k][j] - Fraction(float(m[k, j])) for k in K for j in K if j != k)


# -- the optimum, solved for --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_simplex_encoded_labels_are_the_optimum_for_every_counts(counts, solver):
    problem = problem_of(counts, features="free")
    solution = ufm.solve(problem, solver=solver, level="class")
    K = len(counts)
    assert solution.solver == solver
    assert solution.status is ufm.Status.CERTIFIED
    expected, _ = textbook(counts, (2e-2, 1e-2))
    # Clarabel's own accuracy of the other programme, 1e-8 relative, and ours
    assert solution.value == pytest.approx(expected, rel=2e-6)
    assert solution.lower_bound <= expected * (1 + 1e-6)
    assert solution.upper_bound >= expected * (1 - 1e-6)
    # margins are tight, and L is determined to the square root of the gap
    assert solution.logits == pytest.approx(np.eye(K) - 1 / K, abs=5e-3)
    assert solution.kkt()["stationarity_logits"].residual < 1e-3


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_the_group_level_solves_the_same_problem(solver, features):
    counts = [100] * 3 + [10] * 4 + [2]
    problem = problem_of(counts, features=features, margins=2.0)
    solution = ufm.solve(problem, solver=solver, level="group")
    assert solution.level == "group"
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.lower_proof == "group"
    expected = ufm.solve(problem, solver="clarabel", level="class")
    assert solution.lower_bound <= expected.upper_bound
    assert expected.lower_bound <= solution.upper_bound
    assert least_exact_margin(*solution.factors(), margins=2.0) >= 0


def test_many_classes_take_no_time_at_group_level():
    problem = problem_of([500] * 500 + [5] * 500, features="free")
    proved = ufm.solve(problem)
    assert (proved.solver, proved.level, proved.status) == ("theory", "group", ufm.Status.CERTIFIED)
    # both bounds are proved of the closed form's points, up to rounding of singular values
    assert proved.relative_gap < 1e-10
    solution = ufm.solve(problem, solver="clarabel", level="group")
    assert solution.status is ufm.Status.CERTIFIED
    assert theory.optimum(problem).value == pytest.approx(solution.value, rel=1e-6)


@pytest.mark.parametrize(
    ("margins", "scale"),
    [([1, 2, 3], None), (TABLE, None), (1, [1.0, 2.0, 0.5]), (TABLE, [2.0, 1.0, 0.5]), ([4, 1, 1], [1.0, 1.0, 3.0])],
)
@pytest.mark.parametrize("nonnegative", [False, True])
def test_margins_of_classes_and_of_pairs(margins, scale, nonnegative):
    counts, decays = [50, 10, 2], (3e-2, 1e-3)
    features = "nonnegative" if nonnegative else "free"
    problem = problem_of(counts, decays, margins=margins, scale=scale, features=features)
    expected, logits = textbook(counts, decays, margins, scale, nonnegative)
    for solver in ("auto", "clarabel"):
        solution = ufm.solve(problem, solver=solver)
        assert solution.status is ufm.Status.CERTIFIED
        assert solution.value == pytest.approx(expected, rel=2e-6)
        assert solution.logits == pytest.approx(logits, abs=5e-3 * np.abs(logits).max())
        if scale is None:
            assert least_exact_margin(*solution.factors(), margins=margins) >= 0


@pytest.mark.parametrize("level", ["class", "sample"])
def test_the_sample_level_has_the_same_optimum(level):
    problem = problem_of([4, 2, 1], features="free")
    solution = ufm.solve(problem, solver="clarabel", level=level)
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.value == pytest.approx(textbook([4, 2, 1], (2e-2, 1e-2))[0], rel=2e-6)


@given(
    st.lists(st.integers(1, 10_000), min_size=2, max_size=5),
    st.lists(st.floats(0.1, 10.0), min_size=5, max_size=5),
    st.floats(1e-6, 1e3),
    st.sampled_from(["free", "nonnegative"]),
)
@settings(max_examples=25, deadline=None)
def test_bounds_enclose_the_closed_form(counts, margins, decay, features):
    """Frames and SELI with one margin a class: the closed form lies between bounds that are proved without it."""
    problem = problem_of(counts, (decay, 2 * decay), margins=margins[: len(counts)], features=features)
    found = theory.optimum(problem).value
    solution = ufm.solve(problem, solver="frame" if features == "nonnegative" else "clarabel", tolerance=1e-5)
    assert solution.status is ufm.Status.CERTIFIED
    # the closed form is a sum of K roots
    assert solution.lower_bound <= found * (1 + 8 * EPS)
    assert found * (1 - 64 * EPS) <= solution.upper_bound


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=6), st.floats(0.5, 20.0))
@settings(max_examples=25, deadline=None)
def test_margins_and_decays_scale_the_optimum(counts, factor):
    """The problem is homogeneous: c times the margins is c times the value, and decays enter through their root."""
    base = theory.optimum(problem_of(counts, (1e-2, 1e-2), features="free")).value
    assert theory.optimum(problem_of(counts, (1e-2, 1e-2), margins=factor, features="free")).value == pytest.approx(
        factor * base, rel=1e-13
    )
    assert theory.optimum(problem_of(counts, (1e-2 * factor, 1e-2 * factor), features="free")).value == pytest.approx(
        factor * base, rel=1e-13
    )


# -- geometry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[4, 2, 1], [9, 9, 1, 1], [5, 5, 5]], ids=str)
def test_the_geometry_is_that_of_the_simplex_encoded_label_matrix(counts):
    """The K × N matrix with columns e_y − 1/K, at sample level: W Wᵀ ∝ V Λ Vᵀ, Hᵀ H ∝ U Λ Uᵀ (NeurIPS 2022, def. 2)."""
    decays, K = (2e-2, 5e-3), len(counts)
    labels = np.repeat(np.arange(K), counts)
    encoded = np.eye(K)[:, labels] - 1 / K
    V, spectrum, U = np.linalg.svd(encoded, full_matrices=False)
    ratio = math.sqrt(decays[1] / decays[0])
    A, B = ratio * (V * spectrum) @ V.T, (U.T * spectrum) @ U / ratio
    first = np.cumsum([0, *counts[:-1]])
    optimum = theory.optimum(problem_of(counts, decays, features="free"))
    assert optimum.weight_gram() == pytest.approx(A, abs=1e-14 * np.abs(A).max())
    assert optimum.feature_gram() == pytest.approx(B[np.ix_(first, first)], abs=1e-13 * np.abs(B).max())
    # within a class the rows of U Λ Uᵀ are equal: features collapse
    assert pytest.approx(B[np.ix_(first, first)][np.ix_(labels, labels)], abs=1e-13 * np.abs(B).max()) == B
    assert optimum.value == pytest.approx(math.sqrt(decays[0] * decays[1]) * spectrum.sum(), rel=1e-14)
    solution = ufm.solve(problem_of(counts, decays, features="free"), solver="clarabel", tolerance=1e-8)
    assert solution.weight_gram == pytest.approx(A, abs=1e-3 * np.abs(A).max())
    assert solution.feature_gram == pytest.approx(B[np.ix_(first, first)], abs=1e-3 * np.abs(B).max())
    grams = ufm.geometry(solution.problem, solution).grams
    assert max(grams.weights, grams.logits, grams.features) < 1e-3


@given(st.integers(2, 8), st.integers(1, 300), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_norm_ratios_of_a_step_imbalance(half, ratio, minority):
    """K/2 classes of R n samples and K/2 of n: the ratios of Thrampoulidis et al., NeurIPS 2022, section 3.2."""
    K, R = 2 * half, float(ratio)
    optimum = theory.optimum(problem_of([ratio * minority] * half + [minority] * half, features="free"))
    w, h = optimum.weight_norms**2, optimum.feature_norms**2
    mean = math.sqrt((R + 1) / 2)
    weights = ((1 - 2 / K) * math.sqrt(R) + mean / K) / ((1 - 2 / K) + mean / K)
    features = ((1 - 2 / K) / math.sqrt(R) + 1 / (K * mean)) / ((1 - 2 / K) + 1 / (K * mean))
    # absolute errors of K × K singular vectors, relative to the smaller of norms up to √R apart
    assert w[0] / w[-1] == pytest.approx(weights, rel=1e-11)
    assert h[0] / h[-1] == pytest.approx(features, rel=1e-11)


# -- non-negative features ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["auto", "frame", "clarabel", "scs"])
def test_the_frame_has_every_margin_whatever_the_counts(solver):
    counts, decays = [500, 100, 20, 20], (1e-2, 4e-2)
    problem = problem_of(counts, decays, margins=0.5)
    solution = ufm.solve(problem, solver=solver)
    assert solution.status is ufm.Status.CERTIFIED
    expected = 0.5 * sum(math.sqrt(decays[0] * decays[1] * n * 3 / 4) for n in counts)
    assert solution.value == pytest.approx(expected, rel=1e-6)
    assert solution.margins == pytest.approx(0.5, rel=1e-5)
    assert solution.collapsed_classes == ()
    overlap = solution.feature_gram - np.diag(np.diag(solution.feature_gram))
    assert np.abs(overlap).max() < 1e-3 * solution.feature_gram.max()
    assert least_exact_margin(*solution.factors(), margins=0.5) >= 0
    grams = ufm.geometry(problem, solution).grams
    assert max(grams.weights, grams.logits, grams.features) < 1e-3


@pytest.mark.parametrize("scale", [[1.0, 2.0, 3.0], [0.3, 1.0, 3.0]])
def test_the_shortest_logits_of_scaled_margins(scale):
    """z_k ∝ Δ⁻¹(e_k − θ_k 1), θ = Δ⁻² / ΣΔ⁻², against a quadratic programme a class."""
    a = np.array(scale)
    theta = a**-2 / (a**-2).sum()
    problem = problem_of([9, 5, 2], scale=scale)
    optimum = theory.optimum(problem)
    for k in range(3):
        z = cp.Variable(3)
        conditions = [a[k] * z[k] - a[j] * z[j] >= 1 for j in range(3) if j != k]
        cp.Problem(cp.Minimize(cp.sum_squares(z)), conditions).solve(solver="CLARABEL")
        expected = (np.eye(3)[k] - theta[k]) / a
        assert z.value == pytest.approx(expected, abs=1e-6 * np.abs(expected).max())
        assert optimum.logits()[:, k] == pytest.approx(expected, rel=1e-14)
    assert ufm.solve(problem, tolerance=1e-10).value == pytest.approx(optimum.value, rel=1e-10)


def test_a_hundred_margins_of_their_own_are_proved_on_a_frame():
    """K = 100: the residuals of a class sum to zero only up to rounding of a hundred terms."""
    margins = np.linspace(1, 2, 100)
    problem = problem_of(list(range(1, 101)), margins=margins)
    solution = ufm.solve(problem, solver="frame", tolerance=1e-9)
    assert solution.status is ufm.Status.CERTIFIED
    expected = math.fsum(math.sqrt(2e-4 * n * 0.99) * m for n, m in zip(range(1, 101), margins, strict=True))
    assert solution.value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [2.0**-90, 2.0**90])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_programmes_are_scaled_by_the_margins(size, features):
    for margins in (size, [size, 2 * size, size]):
        problem = problem_of([50, 10, 2], margins=margins, features=features)
        solution = ufm.solve(problem, solver="clarabel")
        assert solution.status is ufm.Status.CERTIFIED
        assert solution.value == pytest.approx(theory.optimum(problem).value, rel=1e-6)


def test_the_shortest_logits_of_a_table_need_not_have_tight_margins():
    """A margin that a larger one implies is slack: compared with the quadratic programme."""
    table = [[0.0, 5.0, 0.1], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    loss = ufm.HardMargin(margins=table).loss
    shortest = loss.shortest(loss.layout(3, np.arange(3)))
    for k in range(3):
        z = cp.Variable(3)
        conditions = [z[k] - z[j] >= table[k][j] for j in range(3) if j != k]
        cp.Problem(cp.Minimize(cp.sum_squares(z)), conditions).solve(solver="CLARABEL")
        assert shortest[:, k] == pytest.approx(z.value, abs=1e-6)
    assert shortest[0, 0] - shortest[2, 0] > 1.0


# -- limits -------------------------------------------------------------------------------------------------------


def cosine(first, second):
    return float((first * second).sum() / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.mark.parametrize(("relative", "expected"), [(1e-2, 0.974), (1e-6, 0.993)])
def test_cross_entropy_tends_to_the_interpolation_only_logarithmically(relative, expected):
    """λ_W λ_H = ``relative`` n_min / N²; the figures are given to three digits."""
    counts = [1000, 100, 10]
    decay = math.sqrt(relative * 10) / 1110
    solution = ufm.solve(ufm.Problem(counts, decay, decay, features="free"))
    assert cosine(solution.logits, np.eye(3) - 1 / 3) == pytest.approx(expected, abs=5e-4)


def test_scaled_cross_entropy_tends_to_scaled_margins():
    counts, scale = [30, 10, 5], (1.0, 1.5, 2.5)
    limit = theory.optimum(problem_of(counts, scale=scale)).logits()
    angles = []
    for decay in (1e-3, 1e-6, 1e-12):
        loss = ufm.LogitAdjustedCrossEntropy(scale=scale)
        solution = ufm.solve(ufm.Problem(counts, decay, decay, loss=loss), solver="frame")
        assert solution.status is ufm.Status.CERTIFIED
        angles.append(min(cosine(solution.logits[:, k], limit[:, k]) for k in range(3)))
    assert angles == sorted(angles)
    assert angles[-1] > 0.999


@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_hinge_losses_end_at_the_hard_margin(kind, features):
    """Once the multipliers of the margins fit below the weights n_k/N, the hinge is an exact penalty."""
    counts, decay = [40, 20, 10], 1e-3
    soft = ufm.Problem(counts, decay, decay, loss=ufm.MulticlassHinge(kind), features=features)
    solution = ufm.solve(soft, solver="clarabel")
    assert solution.status is ufm.Status.CERTIFIED
    hard = theory.optimum(problem_of(counts, (decay, decay), features=features)).value
    assert solution.value == pytest.approx(hard, rel=1e-6)
    strong = ufm.Problem(counts, 0.3, 0.3, loss=ufm.MulticlassHinge(kind), features=features)
    # beyond, W = H = 0 at loss 1 or K − 1 = 2 is better than 300 times the margins' price of 0.0095 or more
    assert ufm.solve(strong, solver="clarabel").upper_bound < 0.9 * 300 * hard


@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
def test_the_nearest_subgradient_of_a_hinge(kind):
    """At kinks the given point, if it is a subgradient; off them the gradient; a subgradient in any case."""
    loss, labels, generator = Full(ufm.MulticlassHinge(kind)), np.zeros(1, dtype=int), np.random.default_rng(0)
    kink = np.array([[1.0], [0.0], [0.0]])
    inside = np.array([[-0.8], [0.5], [0.3]])
    assert loss.nearest(inside, kink, labels).ravel() == pytest.approx([-0.8, 0.5, 0.3], rel=1e-15)
    assert loss.nearest_margin_strengths(np.array([0.7]), np.array([1.0]), 3).tolist() == [0.7]
    for z in (kink + 0.1 * np.eye(3)[:, [0]], kink - 0.1 * np.eye(3)[:, [0]], kink + 0.1 * np.eye(3)[:, [1]]):
        for start in (inside, 9 * inside, -inside, 0 * inside):
            found = loss.nearest(start, z, labels)
            # the subgradient inequality, at points all around
            for other in z + generator.standard_normal((20, 3, 1)):
                rise = loss.values(other, labels) - loss.values(z, labels)
                assert rise >= (found * (other - z)).sum() - 1e-12
    assert loss.nearest(inside, kink + np.eye(3)[:, [0]], labels).ravel().tolist() == [0.0] * 3


@pytest.mark.parametrize("decay", [1e-3, 0.1, 0.3])
@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_kkt_conditions_hold_at_the_kinks_of_a_hinge(features, kind, decay):
    problem = ufm.Problem([40, 20, 10], decay, decay, loss=ufm.MulticlassHinge(kind), features=features)
    for solver in ("auto", "clarabel"):
        assert ufm.solve(problem, solver=solver).kkt().passed


def test_kkt_conditions_fail_beside_the_kinks_of_a_hinge():
    """The planted fault: logits that are a tenth longer have no multiplier left."""
    from ufm_convex.relaxation import GramPoint

    problem = ufm.Problem([40, 20, 10], 1e-3, 1e-3, loss=ufm.MulticlassHinge(), features="free")
    solution = ufm.solve(problem, solver="clarabel")
    W, H = solution.factors()
    longer = full_arrays.report(
        of_classes(problem), GramPoint.from_factors(1.1 * W, H), solution.dual, (1.1 * W, H), 1e-6
    )
    assert not longer["stationarity_logits"].passed


@pytest.mark.parametrize(("kind", "scaled"), [("crammer-singer", 4 / 5), ("weston-watkins", 1 / 20)])
def test_hinge_thresholds_on_both_sides_by_a_conic_solver(kind, scaled):
    """K = 5: n_k > N² λ_W λ_H (K−1)/K for Crammer–Singer, > N² λ_W λ_H / (K (K−1)) for Weston–Watkins."""
    counts = [60, 40, 20, 20, 20]
    for factor, collapsed in ((0.98, ()), (1.02, (2, 3, 4))):
        decay = factor * math.sqrt(20 / scaled) / 160
        problem = ufm.Problem(counts, decay, decay, loss=ufm.MulticlassHinge(kind))
        solution = ufm.solve(problem, solver="clarabel", tolerance=1e-7)
        assert solution.status is ufm.Status.CERTIFIED
        assert solution.collapsed_classes == collapsed


# -- the conjugate and its cone -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margins", "scale"), [(1.5, None), ([1, 2, 3], None), (TABLE, None), (TABLE, (2.0, 1.0, 0.5))]
)
def test_the_conjugate_is_a_linear_programme(margins, scale):
    """l*(v) = sup <v, z> over admissible z: finite on the cone, unbounded off it."""
    loss = Full(ufm.HardMargin(margins=margins, scale=scale).loss)
    m, a = table_of(margins, 3), np.ones(3) if scale is None else np.array(scale)
    generator = np.random.default_rng(0)
    for k in range(3):
        others = [j for j in range(3) if j != k]
        rows = np.zeros((2, 3))
        for i, j in enumerate(others):
            rows[i, k], rows[i, j] = -a[k], a[j]
        inside = loss.into_domain(generator.standard_normal((3, 1)), np.array([k]))
        for v, bounded in ((inside, True), (inside + np.eye(3)[:, [others[0]]], False)):
            found = linprog(-v[:, 0], rows, -m[k, others], bounds=[(None, None)] * 3)
            value = loss.conjugate(v, np.array([k]))[0]
            assert (found.status == 0) is bounded
            assert value == (pytest.approx(-found.fun, rel=1e-9, abs=1e-12) if bounded else math.inf)


def test_reduced_columns_and_rays_agree_with_full_columns():
    loss, generator = Full(ufm.HardMargin(margins=1.5).loss), np.random.default_rng(3)
    numbers, last = np.array([[1.0], [2.0], [1.0]]), np.array([2])
    layout = loss.orbit_layout(numbers, last)
    for _ in range(20):
        others = generator.standard_normal(2)
        full = np.array([others[0], others[1], others[1], others[0] + 1.4 + 0.2 * generator.random()])[:, None]
        full[3] = max(others) + generator.choice([1.4, 1.5 + 1e-9, 3.0])
        labels, reduced = np.array([3]), full[[0, 1, 3]]
        assert loss.values(full, labels) == loss.loss.values(reduced, layout)
        stretched = loss.stretch(full, loss.layout(4, labels), np.zeros((4, 1)))
        assert stretched == pytest.approx(loss.stretch(reduced, layout, np.zeros(1)), rel=1e-15)
        assert loss.values(full * stretched * (1 + 4 * EPS), labels) == 0.0
        assert loss.values(full * stretched * (1 - 1e-9), labels) == math.inf
    ray = np.eye(4)[:, [3]] - 0.25
    assert loss.conjugate(-2.0 * ray, np.array([3]))[0] == pytest.approx(loss.margin_conjugates(np.array([2.0]), 4)[0])
    assert loss.margin_values(np.array([1.5, 1.5 - 1e-9]), 4).tolist() == [0.0, math.inf]


def test_the_penalty_has_its_gradient():
    """Against central differences; the function is piecewise quadratic with one continuous derivative."""
    loss = Full(ufm.HardMargin(margins=TABLE, scale=(2.0, 1.0, 0.5)).loss)
    z, labels, step = np.random.default_rng(0).standard_normal((3, 3)), np.arange(3), 1e-6
    slopes = loss.shortfall(z, labels)[1]
    for j in range(3):
        moved = [loss.shortfall(z + sign * step * np.eye(3)[:, [j]], labels)[0] for sign in (1, -1)]
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(slopes[j], abs=1e-8)


# -- planted faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["free", "nonnegative"])
@pytest.mark.parametrize("solver", ["auto", "clarabel"])
@pytest.mark.parametrize("short", [1e-6, 1e-12])
def test_a_margin_that_is_a_little_short_is_no_upper_bound(features, solver, short):
    problem = problem_of([50, 10, 2], features=features)
    solution = ufm.solve(problem, solver=solver)
    W, H = solution.factors()
    assert enclosure.upper_bound(problem, (W, H)).value == pytest.approx(solution.upper_bound, rel=1e-12)
    shrunk = H.copy()
    shrunk[1] *= 1 - short
    assert least_exact_margin(W, shrunk) < 0
    assert enclosure.upper_bound(problem, (W, shrunk)).value == math.inf


def test_a_frame_that_is_a_little_short_is_no_upper_bound():
    problem = problem_of([50, 10, 2])
    point = ufm.solve(problem).point
    assert isinstance(point, FramePoint)
    assert enclosure.upper_bound(problem, point).value < math.inf
    short = FramePoint(point.eta, point.omega * (1 - 1e-12))
    assert enclosure.upper_bound(problem, short).value == math.inf


def test_nothing_is_not_admissible():
    for features in ("free", "nonnegative"):
        problem = problem_of([5, 3, 2], features=features)
        assert enclosure.upper_bound(problem, (np.zeros((3, 3)), np.zeros((3, 3)))).value == math.inf
    assert relative_gap(0.5, math.inf) == 1.0
    assert relative_gap(0.5, 0.5) == 0.0


@pytest.mark.parametrize("margins", [1.5, [1, 2, 3], TABLE])
def test_a_dual_point_outside_the_cone_proves_nothing(margins):
    from flint import fmpq

    loss = Full(ufm.HardMargin(margins=margins).loss)
    inside = [fmpq(-3), fmpq(1), fmpq(2)]
    expected = -sum(m * w for m, w in zip(table_of(margins, 3)[0][1:], (1, 2), strict=True))
    assert float(loss.enclose_conjugate(inside, 0)) == expected
    for outside in ([fmpq(-3), fmpq(-1), fmpq(4)], [fmpq(-3), fmpq(1), fmpq(2) + fmpq(1, 10**30)]):
        with pytest.raises(ValueError, match="outside"):
            loss.enclose_conjugate(outside, 0)


def test_reduced_and_ray_columns_outside_the_cone_prove_nothing():
    from flint import fmpq

    loss = ufm.HardMargin().loss
    column = loss.exact_orbit_column([1, 1, 2], 0)
    assert float(loss.enclose_conjugate([fmpq(-5), fmpq(1), fmpq(2)], column)) == -5.0
    with pytest.raises(ValueError, match="outside"):
        loss.enclose_conjugate([fmpq(-4), fmpq(1), fmpq(2)], column)
    with pytest.raises(ValueError, match="outside"):
        loss.enclose_conjugate([fmpq(-3), fmpq(-1), fmpq(2)], column)
    problem = problem_of([5, 3, 2])
    assert enclosure.lower_bound(problem, DiagonalDual(ExactVector([-1, 0, 0], 0))).proof == "trivial"


def test_a_dual_point_is_repaired_and_never_overstates():
    """Ten times the optimal dual is infeasible; repaired it is the optimum again, and noise only lowers it."""
    problem = problem_of([50, 10, 2], features="free")
    solution = ufm.solve(problem)
    columns, generator = of_classes(problem), np.random.default_rng(0)
    V = solution.dual.residuals
    for start in (10 * V, V + 0.1 * np.abs(V).max() * generator.standard_normal(V.shape), np.full(V.shape, np.nan)):
        dual, value = full_arrays.repair(columns, [DualPoint(start, np.zeros(V.shape))])
        bound = enclosure.lower_bound(problem, dual)
        assert 0.0 <= bound.value <= solution.upper_bound
        assert value <= solution.upper_bound * (1 + 1e-12)
    best, _ = full_arrays.repair(columns, [DualPoint(10 * V, np.zeros(V.shape))])
    assert enclosure.lower_bound(problem, best).value == pytest.approx(solution.lower_bound, rel=1e-9)


def test_kkt_conditions_fail_at_a_wrong_point():
    problem = problem_of([50, 10, 2], features="free")
    solution = ufm.solve(problem, solver="clarabel")
    assert solution.kkt().passed
    from ufm_convex.relaxation import GramPoint

    columns, (W, H) = of_classes(problem), solution.factors()
    slack = full_arrays.report(columns, GramPoint.from_factors(1.1 * W, H), solution.dual, (1.1 * W, H), 1e-6)
    assert not slack["stationarity_logits"].passed
    assert not slack["duality_gap"].passed
    short = full_arrays.report(columns, GramPoint.from_factors(0.9 * W, H), solution.dual, (0.9 * W, H), 1e-6)
    assert not short["duality_gap"].passed
    wrong = DualPoint(-solution.dual.residuals, solution.dual.nonnegativity)
    assert not full_arrays.report(columns, solution.point, wrong, (W, H), 1e-6)["dual_domain"].passed


# -- few dimensions -----------------------------------------------------------------------------------------------


def test_free_features_need_one_dimension_less_than_classes():
    solution = ufm.solve(problem_of([9, 5, 2], features="free", feature_dim=2), solver="clarabel")
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.factors()[1].shape == (3, 2)


def test_factors_of_groups_are_admissible_in_fewer_dimensions():
    """Forty columns rotated into thirty-nine: rounding of the rotation must not cost a margin."""
    problem = problem_of([100] * 20 + [10] * 20, features="free", feature_dim=39)
    solution = ufm.solve(problem, solver="clarabel", level="group")
    assert solution.status is ufm.Status.CERTIFIED
    W, H = solution.factors()
    assert H.shape == (40, 39)
    assert least_exact_margin(W, H) >= 0


def test_a_penalty_is_measured_in_units_of_the_margins():
    """The upper bound of two dimensions is homogeneous, as the problem is; the path to it need not be to the bit."""
    small, large = (
        ufm.solve(problem_of([9, 5, 2], feature_dim=2, margins=size), solver="clarabel").upper_bound / size
        for size in (2.0**-60, 2.0**60)
    )
    assert small == pytest.approx(large, rel=0.05)


def test_too_few_dimensions_leave_two_bounds():
    """d = 2: the relaxation bounds from below, a growing penalty finds factors; each margin is met exactly."""
    problem = problem_of([9, 5, 2, 2], feature_dim=2)
    solution = ufm.solve(problem, solver="clarabel")
    assert solution.status is ufm.Status.BOUNDED
    assert solution.theory.relation is theory.Relation.LOWER
    assert solution.lower_bound == pytest.approx(solution.theory.value, rel=1e-6)
    W, H = solution.factors()
    assert H.shape == (4, 2)
    assert H.min() >= 0.0
    assert least_exact_margin(W, H) >= 0
    penalty = 0.5 * (2e-2 * (W**2).sum() + 1e-2 * (np.array([9, 5, 2, 2]) @ (H**2).sum(axis=1)))
    assert solution.upper_bound == pytest.approx(penalty, rel=1e-12)


def test_one_dimension_has_no_solution():
    """Two positive features in one dimension are told apart by no classifier: no upper bound, and it is said."""
    solution = ufm.solve(problem_of([5, 3], feature_dim=1), solver="clarabel")
    assert solution.status is ufm.Status.FAILED
    assert solution.upper_bound == math.inf
    assert solution.relative_gap == 1.0
    assert solution.lower_bound == pytest.approx(solution.theory.value, rel=1e-6)
    assert solution.collapsed_classes == ()


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"margins": 0}, "margins has the entry 0"),
        ({"margins": -1.0}, "margins has the entry -1.0"),
        ({"margins": math.nan}, "margins has the entry nan"),
        ({"margins": math.inf}, "margins has the entry inf"),
        ({"margins": True}, "margins has the entry True"),
        ({"margins": "1"}, "margins has the entry '1'"),
        ({"margins": None}, "margins has the entry None"),
        ({"margins": []}, r"margins is \[\]"),
        ({"margins": [1, 0, 1]}, "margins has the entry 0"),
        ({"margins": [[0, 1], [1, 0], [1, 1]]}, "a table that is not square"),
        ({"margins": [[0, 1], 1]}, "a table that is not square"),
        ({"margins": [[1, 1], [1, 0]]}, "diagonal entry 1 in row 0"),
        ({"margins": [[0, -1], [1, 0]]}, "margins has the entry -1"),
        ({"margins": np.ones((2, 2, 2))}, "margins has"),
        ({"scale": 2.0}, "scale is 2.0"),
        ({"scale": [1.0, 0.0]}, "scale has the entry 0.0"),
        ({"scale": [math.nan]}, "scale has the entry nan"),
    ],
)
def test_bad_margins_are_refused_by_name(given, words):
    with pytest.raises(ProblemError, match=words):
        ufm.HardMargin(**given)


def test_margins_must_fit_the_classes():
    for options in ({"margins": [1, 2]}, {"margins": [[0, 1], [1, 0]]}, {"scale": [1.0, 2.0]}):
        with pytest.raises(ShapeError, match="2 entries, but there are 3 classes"):
            problem_of([3, 2, 1], **options)


def test_a_loss_beside_the_hard_margin_is_refused():
    with pytest.raises(ProblemError, match="both a loss and the constraint 'hard-margin'"):
        ufm.Problem([3, 2], 0.1, 0.1, loss=ufm.CrossEntropy(), constraint=ufm.HardMargin())
    with pytest.raises(ProblemError, match="lambda_w is None"):
        ufm.Problem([3, 2], constraint=ufm.HardMargin())


def test_the_indicator_is_no_loss_to_choose():
    assert "hard-margin" not in losses.available()
    assert "hard-margin" in constraints.available()
    with pytest.raises(UnknownNameError, match="loss 'hard-margin' is not known"):
        losses.make("hard-margin")


def test_what_needs_a_finite_loss_refuses_by_name():
    problem = problem_of([5, 3, 2], features="free")
    with pytest.raises(HypothesisError, match="'hard-margin' is 0 or infinite"):
        ufm.solve(problem, solver="factored")
    candidate = ufm.Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[5, 3, 2])
    with pytest.raises(HypothesisError, match="'hard-margin' is 0 or infinite"):
        ufm.certify(problem, candidate)
    with pytest.raises(HypothesisError, match="'hard-margin'"):
        ufm.certify(problem, digits=20)
    rows = ufm.cross_check(problem, ["clarabel", "lbfgsb"]).rows
    assert [row.verdict for row in rows] == ["right", "failed"]
    assert "nothing descends on it" in rows[1].reason


def test_closed_forms_name_what_fails():
    for options, words in (
        ({"features": "free", "scale": [1.0, 2.0]}, "scales are equal to 1"),
        ({"features": "free", "margins": [[0, 1], [2, 0]]}, "margins are of classes"),
        ({"margins": [[0, 1], [2, 0]]}, "margins are of classes"),
        ({"feature_dim": 1}, "feature_dim is at least K"),
    ):
        with pytest.raises(HypothesisError, match=words):
            theory.optimum(problem_of([5, 3], **options))
    with pytest.raises(HypothesisError, match="constraint is hard-margin"):
        theory.optimum(ufm.Problem([5] * 5, 0.1, 0.1, loss=ufm.BinaryCrossEntropy()))


# -- carried about ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("margins", "scale"), [(1, None), (0.1, None), ([1, 2, 3], [1.0, 0.5, 2.0]), (TABLE, None)])
def test_a_problem_keeps_its_margins(margins, scale):
    problem = problem_of([5, 3, 2], margins=margins, scale=scale)
    for again in (ufm.Problem.from_toml(problem.to_toml()), pickle.loads(pickle.dumps(problem)), copy.copy(problem)):
        assert again == problem
        assert again.constraint == problem.constraint
    assert "[loss]" not in problem.to_toml()
    assert problem != problem_of([5, 3, 2], margins=7)


def test_arrays_are_taken_as_lists():
    assert ufm.HardMargin(np.array([1.0, 2.0])) == ufm.HardMargin([1, 2])
    assert ufm.HardMargin(np.array([[0.0, 1.0], [2.0, 0.0]])) == ufm.HardMargin([[0, 1], [2, 0]])
    assert ufm.HardMargin(np.float64(2.0)) == ufm.HardMargin(2)


def test_the_command_line_solves_it():
    arguments = ["solve", "--class-counts", "50,10,2", "--lambda-w", "0.01", "--lambda-h", "0.01", "--json"]
    result = CliRunner().invoke(application(), [*arguments, "--constraint", "hard-margin:margins=2"])
    assert result.exit_code == 0
    # 2 Σ √(λ² n (K−1)/K)
    assert f'"value": {2 * 0.01 * sum(math.sqrt(n * 2 / 3) for n in (50, 10, 2)):.10f}'[:20] in result.stdout
    assert '"status": "certified"' in result.stdout
    refused = CliRunner().invoke(application(), [*arguments, "--constraint", "hard-margin:margins=0"])
    assert refused.exit_code == 2
    assert "margins has the entry 0" in refused.stderr

"""Tables of targets: V outputs, m columns.

Expected values come from descents on W, H and b written here from the definition, with many starts, from singular
values, and from numbers derived by hand; the package's own methods are compared with these.
"""

from __future__ import annotations

import itertools
import json
import math
import pickle
import re

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.cli import application
from ufm_convex.errors import CountsError, HypothesisError, ProblemError, ShapeError, SizeError
from ufm_convex.evidence import allowed_gap
from ufm_convex.evidence import columns as columns_evidence
from ufm_convex.losses import make
from ufm_convex.losses.table import SHARES, Table
from ufm_convex.measures import geometry
from ufm_convex.solvers import Claim, SolverRun

TOLERANCE = 1e-6  # what certified solutions are asked for, relative to the excess
DESCENT = 1e-7  # descents stop at gradients of 1e-9 of unit size; their values are good to the square of it, and slack
SETS3 = [list(S) for r in (1, 2, 3) for S in itertools.combinations(range(3), r)]
MIXED = np.array([[0.5, 0.5, 0, 0], [0, 0.2, 0.8, 0], [0.1, 0.1, 0.1, 0.7], [0, 1, 0, 0], [0.25] * 4])
BITS = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0.0]])


# -- descents from the definition ---------------------------------------------------------------------------------


def softmax_loss(z, y):
    z = z - z.max(axis=0)
    total = np.log(np.exp(z).sum(axis=0))
    return total - (y * z).sum(axis=0), np.exp(z - total) - y


def sigmoid_loss(z, y):
    return (np.logaddexp(0.0, z) - y * z).sum(axis=0), expit(z) - y


def square_loss(z, y):
    return 0.5 * ((z - y) ** 2).sum(axis=0), z - y


def objective(loss, Y, counts, weights, decays, W, H, b=0.0, penalty=0.0):
    """f at one row of H a column, and its gradients."""
    n, N = np.asarray(counts, dtype=float), float(np.sum(counts))
    pt = np.asarray(weights) * n / N
    values, slopes = loss(W @ H.T + np.reshape(b, (-1, 1)), Y.T)
    U = slopes * pt
    f = pt @ values + decays[0] / 2 * (W**2).sum() + decays[1] / 2 * n @ (H**2).sum(axis=1)
    f += penalty / 2 * np.sum(np.square(b))
    return f, U @ H + decays[0] * W, U.T @ W + decays[1] * n[:, None] * H, U.sum(axis=1) + penalty * np.asarray(b)


def descended(loss, Y, counts, decays, *, weights=None, nonnegative=False, bias=None, d=None, starts=12, seed=0):
    """The best of many descents, L-BFGS-B from normal starts of several sizes; default_rng(seed)."""
    (m, V), generator, best = Y.shape, np.random.default_rng(seed), math.inf
    d = d or (2 * (V + m) if nonnegative else min(V, m) + 1)
    weights = np.ones(m) if weights is None else weights
    penalty = 0.0 if bias in (None, "free") else bias
    cuts = [V * d, (V + m) * d]
    bounds = [(None, None)] * cuts[0] + [(0.0 if nonnegative else None, None)] * (m * d) + [(None, None)] * V

    def function(x):
        W, H, b = x[: cuts[0]].reshape(V, d), x[cuts[0] : cuts[1]].reshape(m, d), x[cuts[1] :]
        f, dW, dH, db = objective(loss, Y, counts, weights, decays, W, H, b if bias else np.zeros(V), penalty)
        return f, np.concatenate([dW.ravel(), dH.ravel(), db if bias else np.zeros(V)])

    for k in range(starts):
        x = generator.normal(scale=10.0 ** (-(k % 3)), size=cuts[1] + V)
        x[cuts[0] : cuts[1]] = np.abs(x[cuts[0] : cuts[1]]) if nonnegative else x[cuts[0] : cuts[1]]
        x[cuts[1] :] = 0.0
        options = {"maxiter": 20_000, "maxfun": 40_000, "gtol": 1e-10, "ftol": 1e-16}
        best = min(best, minimize(function, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun)
    return best


def agree(solution, expected):
    """The certified bounds contain the best of the descents, up to where those end."""
    assert solution.status == "certified", solution.route
    excess = expected - solution.floor
    assert solution.lower_bound <= expected * (1 + 1e-13)
    assert abs(solution.value - expected) <= (TOLERANCE + DESCENT) * excess


CASES = {
    "soft, V < m": (softmax_loss, ufm.SoftTargetCrossEntropy, MIXED, {}),
    "soft, V > m": (softmax_loss, ufm.SoftTargetCrossEntropy, MIXED[:3], {}),
    "soft, one column": (softmax_loss, ufm.SoftTargetCrossEntropy, MIXED[2:3], {}),
    "soft, penalised bias": (softmax_loss, ufm.SoftTargetCrossEntropy, MIXED, {"bias": 0.02}),
    "soft, free bias": (softmax_loss, ufm.SoftTargetCrossEntropy, MIXED, {"bias": "free"}),
    "sigmoids": (sigmoid_loss, ufm.BinaryCrossEntropy, BITS, {}),
    "sigmoids, bias": (sigmoid_loss, ufm.BinaryCrossEntropy, BITS, {"bias": 0.05}),
    "sigmoids, free bias": (sigmoid_loss, ufm.BinaryCrossEntropy, BITS, {"bias": "free"}),
    "sigmoids, shares": (sigmoid_loss, ufm.BinaryCrossEntropy, MIXED, {}),
    "squares": (square_loss, ufm.MeanSquaredError, BITS - 0.4, {}),
    "squares, bias": (square_loss, ufm.MeanSquaredError, BITS - 0.4, {"bias": 0.05}),
    "squares, one output": (square_loss, ufm.MeanSquaredError, np.array([[1.0], [0.3], [-0.7], [2.0]]), {}),
    "sigmoid, one output": (sigmoid_loss, ufm.BinaryCrossEntropy, np.array([[1.0], [0.0], [1.0], [0.25]]), {}),
}
COUNTS = (5, 4, 3, 6, 2)


@pytest.mark.parametrize("features", ["free", "nonnegative"])
@pytest.mark.parametrize("name", CASES)
def test_the_optimum_is_that_of_many_descents(name, features):
    loss, kind, Y, given = CASES[name]
    counts = COUNTS[: len(Y)]
    problem = ufm.Problem(counts, 4e-3, 9e-3, loss=kind(Y), features=features, **given)
    solution = ufm.solve(problem)
    agree(solution, descended(loss, Y, counts, (4e-3, 9e-3), nonnegative=features != "free", **given))
    W, H = solution.factors()
    (m, V), b = Y.shape, solution.bias
    assert (problem.num_outputs, problem.num_columns) == (V, m)
    assert (W.shape[0], H.shape[0], b.shape) == (V, m, (V,))
    assert solution.logits.shape == (V, m)
    assert solution.feature_gram.shape == solution.slack.shape == (m, m)
    assert solution.weight_gram.shape == (V, V)
    penalty = given["bias"] if isinstance(given.get("bias"), float) else 0.0
    found = objective(loss, Y, counts, np.ones(m), (4e-3, 9e-3), W, H, b, penalty)[0]
    assert found == pytest.approx(solution.upper_bound, rel=1e-12)
    assert features == "free" or H.min() >= 0.0
    assert solution.kkt().passed, solution.kkt().worst


@pytest.mark.parametrize("solver", ["clarabel", "scs", "factored"])
@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_every_solver_ends_at_the_same_optimum(solver, features):
    problem = ufm.Problem(COUNTS, 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(MIXED), features=features)
    solution = ufm.solve(problem, solver=solver)
    assert solution.status == "certified"
    assert solution.solver == solver
    agree(solution, ufm.solve(problem).value)


def test_the_levels_have_one_optimum():
    problem = ufm.Problem((2, 1, 3, 1, 1), 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(MIXED))
    by_sample = ufm.solve(problem, level="sample", solver="clarabel")
    assert by_sample.level == "sample"
    agree(by_sample, ufm.solve(problem, level="class").value)
    with pytest.raises(HypothesisError, match="alike"):
        ufm.solve(problem, level="group")


def test_a_square_table_is_the_problem_of_its_classes():
    """The values of soft targets and one-hot rows, whichever way they are written."""
    hard = ufm.Problem((9, 5, 2), 1e-2, 1e-2)
    rows = ufm.Problem((9, 5, 2), 1e-2, 1e-2, loss=ufm.SoftTargetCrossEntropy(np.eye(3)))
    assert ufm.solve(rows).value == pytest.approx(theory.optimum(hard).value, rel=1e-9)
    for kind in (ufm.BinaryCrossEntropy, ufm.MeanSquaredError):
        one_hot = ufm.solve(ufm.Problem((9, 5, 2), 1e-2, 1e-2, loss=kind()))
        table = ufm.solve(ufm.Problem((9, 5, 2), 1e-2, 1e-2, loss=kind(np.eye(3))))
        assert table.value == pytest.approx(one_hot.value, rel=1e-6)
    # digests of before there were other tables than square ones
    square = ufm.SoftTargetCrossEntropy([[0.8, 0.1, 0.1], [0.2, 0.8, 0.0], [0.1, 0.1, 0.8]])
    content = ufm.Problem((9, 5, 2), 1e-2, 1e-2, loss=square).content()
    assert content["loss"]["targets"] == [[0.8, 0.1, 0.1], [0.2, 0.8, 0.0], [0.1, 0.1, 0.8]]


# -- multi-label --------------------------------------------------------------------------------------------------


def test_pick_all_is_a_sum_of_cross_entropies():
    loss = ufm.SoftTargetCrossEntropy.pick_all([[0, 2], (1,), {2, 1, 0}], 4)
    assert [list(row) for row in loss.targets] == [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [1 - 2 / 3, 1 / 3, 1 / 3, 0]]
    assert loss.class_weights == (2.0, 1.0, 3.0)
    problem = ufm.Problem((7, 2, 4), 4e-3, 9e-3, loss=loss, features="free")
    W, H = np.random.default_rng(3).normal(size=(2, 4, 5))
    H = H[:3]
    total = 0.0
    for count, labels, h in zip((7, 2, 4), ([0, 2], [1], [0, 1, 2]), H, strict=True):  # label by label, from the text
        z = W @ h
        total += count * sum(np.log(np.exp(z).sum()) - z[k] for k in labels) / 13
    weights, targets = np.array([2.0, 1.0, 3.0]), np.array([list(row) for row in loss.targets])
    found = objective(softmax_loss, targets, (7, 2, 4), weights, (4e-3, 9e-3), W, H)[0]
    penalties = 2e-3 * (W**2).sum() + 4.5e-3 * np.array([7, 2, 4]) @ (H**2).sum(axis=1)
    assert found - penalties == pytest.approx(total, rel=1e-13)
    agree(ufm.solve(problem), descended(softmax_loss, targets, (7, 2, 4), (4e-3, 9e-3), weights=weights))


def test_all_sets_of_three_labels_leave_a_gap_with_a_relu_and_none_without():
    """Math: the relaxation of pick-all with all seven sets and H ≥ 0 is strict, by about 5e-4 of the excess."""
    loss = ufm.SoftTargetCrossEntropy.pick_all(SETS3, 3)
    targets, weights = np.array([list(row) for row in loss.targets]), np.array(loss.class_weights)
    counts, decays = (10, 8, 6, 4, 3, 2, 1), (3e-4, 3e-4)
    free = ufm.solve(ufm.Problem(counts, *decays, loss=loss, features="free"))
    agree(free, descended(softmax_loss, targets, counts, decays, weights=weights))
    strict = ufm.solve(ufm.Problem(counts, *decays, loss=loss), solver="clarabel")
    best = descended(softmax_loss, targets, counts, decays, weights=weights, nonnegative=True, starts=20)
    assert strict.status == "bounded"
    assert strict.lower_bound < best - 1e-4 * strict.excess
    assert strict.upper_bound == pytest.approx(best, rel=1e-6)
    assert 1e-4 < strict.excess_gap < 1e-3


@pytest.mark.slow  # some 30 s
def test_all_sets_of_ten_labels_are_certified():
    sets = [list(S) for r in range(1, 11) for S in itertools.combinations(range(10), r)]
    counts = np.random.default_rng(1).integers(1, 50, len(sets))
    for loss in (
        ufm.SoftTargetCrossEntropy.pick_all(sets, 10),
        ufm.BinaryCrossEntropy(np.array([[float(k in S) for k in range(10)] for S in sets])),
    ):
        solution = ufm.solve(ufm.Problem(counts, 1e-3, 1e-3, loss=loss, features="free"))
        assert solution.status == "certified"
        assert solution.excess_gap <= TOLERANCE
        W, H = solution.factors()
        targets = loss.target_columns(10, np.arange(1023)).T
        kind = softmax_loss if loss.shift_invariant else sigmoid_loss
        f, dW, dH, _ = objective(kind, targets, counts, loss.weights(1023), (1e-3, 1e-3), W, H)
        assert f == pytest.approx(solution.value, rel=1e-9)
        assert np.abs(dW).max() < 1e-6 > np.abs(dH).max()  # stationary, as an optimum is


def test_all_sets_of_six_labels_are_certified():
    sets = [list(S) for r in range(1, 7) for S in itertools.combinations(range(6), r)]
    loss = ufm.SoftTargetCrossEntropy.pick_all(sets, 6)
    counts = np.random.default_rng(1).integers(1, 50, len(sets)).tolist()
    solution = ufm.solve(ufm.Problem(counts, 1e-3, 1e-3, loss=loss, features="free"))
    targets, weights = np.array([list(row) for row in loss.targets]), np.array(loss.class_weights)
    agree(solution, descended(softmax_loss, targets, counts, (1e-3, 1e-3), weights=weights, starts=2))


# -- where the relaxation is exact ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4))
def test_up_to_four_columns_are_certified_with_a_relu(seed, V, m):
    generator = np.random.default_rng(seed)
    Y = generator.dirichlet(np.full(V, 0.3), size=m)
    counts = generator.integers(1, 30, m).tolist()
    decay = float(10.0 ** generator.uniform(-3.5, -1.5))
    solution = ufm.solve(ufm.Problem(counts, decay, decay, loss=ufm.SoftTargetCrossEntropy(Y)))
    assert solution.status == "certified", solution.route
    assert solution.floor <= solution.lower_bound <= solution.upper_bound


@pytest.mark.parametrize("seed", range(6))
def test_two_outputs_of_a_softmax_and_one_of_a_sigmoid_are_exact_for_any_number_of_columns(seed):
    generator = np.random.default_rng(seed)
    shares, counts = generator.uniform(size=9), generator.integers(1, 30, 9).tolist()
    two = ufm.SoftTargetCrossEntropy(np.stack([shares, 1 - shares], axis=1))
    one = ufm.BinaryCrossEntropy(np.round(shares)[:, None])
    for loss in (two, one):
        assert ufm.solve(ufm.Problem(counts, 2e-3, 2e-3, loss=loss)).status == "certified"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4))
def test_up_to_four_columns_of_sigmoids_are_certified_with_a_relu(seed, V, m):
    generator = np.random.default_rng(seed)
    Y = np.round(generator.uniform(size=(m, V)))
    decay = float(10.0 ** generator.uniform(-3.5, -1.5))
    problem = ufm.Problem(generator.integers(1, 30, m), decay, decay, loss=ufm.BinaryCrossEntropy(Y))
    solution = ufm.solve(problem)
    assert solution.status == "certified", solution.route
    assert solution.floor == 0.0


# -- where it is strict -------------------------------------------------------------------------------------------


def sparse_table(seed, V, m, most=2):
    """Rows of at most two shares; default_rng(seed)."""
    generator = np.random.default_rng(seed)
    Y = np.zeros((m, V))
    for row in Y:
        row[generator.choice(V, min(most, V), replace=False)] = generator.dirichlet(np.ones(min(most, V)))
    return Y, generator.integers(1, 20, m)


STRICT = {
    "soft, 3 x 8": (softmax_loss, ufm.SoftTargetCrossEntropy, *sparse_table(1, 3, 8)),
    "soft, 5 x 8": (softmax_loss, ufm.SoftTargetCrossEntropy, *sparse_table(2, 5, 8)),
    "bits, 3 x 8": (sigmoid_loss, ufm.BinaryCrossEntropy, np.array(list(itertools.product((0.0, 1.0), repeat=3))),
                    np.array([3, 9, 2, 7, 5, 1, 4, 6])),
    "squares, 3 x 7": (square_loss, ufm.MeanSquaredError, sparse_table(3, 3, 7)[0] - 0.3, sparse_table(3, 3, 7)[1]),
}  # fmt: skip


@pytest.mark.parametrize("name", STRICT)
def test_the_gap_of_a_table_closes_from_both_sides(name):
    """The bounds meet at the best of many descents; the relaxation's optimum is no higher, and where it is proved to be
    lower it is by more than they are apart."""
    loss, kind, Y, counts = STRICT[name]
    problem = ufm.Problem(counts, 3e-3, 3e-3, loss=kind(Y))
    closed = ufm.close_gap(problem)
    best = descended(loss, Y, counts, (3e-3, 3e-3), nonnegative=True, starts=8)
    assert closed.excess_gap <= TOLERANCE
    assert closed.lower_bound <= best * (1 + 1e-13)
    assert closed.upper_bound <= best + DESCENT * (best - problem.floor)
    assert closed.relaxation_lower <= closed.lower_bound
    assert closed.relaxation_upper < closed.lower_bound or not closed.relaxation_is_strict
    value = objective(loss, Y, counts, np.ones(len(Y)), (3e-3, 3e-3), closed.W, closed.H)[0]
    assert value == pytest.approx(closed.upper_bound, rel=1e-12)
    assert closed.H.min() >= 0.0


def test_sixteen_columns_are_closed_by_the_cubic_form():
    Y, counts = sparse_table(5, 4, 16)
    problem = ufm.Problem(counts, 3e-3, 3e-3, loss=ufm.SoftTargetCrossEntropy(Y))
    closed = ufm.close_gap(problem)
    assert closed.excess_gap <= TOLERANCE
    assert (closed.lower.proof, closed.relaxation_is_strict) == ("parrilo", True)
    assert closed.upper_bound - closed.relaxation_lower > 1e-4 * (closed.upper_bound - problem.floor)


def test_columns_that_merge_are_closed_as_one():
    """28 columns of seven kinds are above the limit, and seven are not; 21 kinds are."""
    Y, _ = sparse_table(0, 4, 7)
    counts = np.random.default_rng(1).integers(1, 20, 28)
    problem = ufm.Problem(counts, 3e-3, 3e-3, loss=ufm.SoftTargetCrossEntropy(np.repeat(Y, 4, axis=0)))
    merged = ufm.Problem(counts.reshape(7, 4).sum(axis=1), 3e-3, 3e-3, loss=ufm.SoftTargetCrossEntropy(Y))
    closed, single = ufm.close_gap(problem), ufm.close_gap(merged)
    assert closed.excess_gap <= TOLERANCE
    assert (closed.lower_bound, closed.upper_bound) == (single.lower_bound, single.upper_bound)
    assert closed.H.shape[0] == closed.residuals.shape[1] == 28
    targets = problem.loss.table.rows(np.arange(28))
    value = objective(softmax_loss, targets, counts, np.ones(28), (3e-3, 3e-3), closed.W, closed.H)[0]
    assert value == pytest.approx(closed.upper_bound, rel=1e-12)
    many, counts = sparse_table(0, 4, 21)
    with pytest.raises(SizeError, match="21 different columns"):
        ufm.close_gap(ufm.Problem(counts, 3e-3, 3e-3, loss=ufm.SoftTargetCrossEntropy(many)))


def test_the_gap_that_is_closed_is_relative_to_the_excess():
    """A relaxation 2.5e-3 of the excess, and 6.8e-4 of the value, below the optimum: 1e-3 is asked of the excess."""
    _, _, Y, counts = STRICT["soft, 3 x 8"]
    problem = ufm.Problem(counts, 3e-3, 3e-3, loss=ufm.SoftTargetCrossEntropy(Y))
    relaxed = ufm.solve(problem, solver="clarabel")
    assert relaxed.relative_gap < 1e-3 < relaxed.excess_gap
    assert ufm.close_gap(relaxed, tolerance=1e-3).excess_gap <= 1e-3
    assert ufm.close_gap(relaxed, tolerance=1e-2).excess_gap == pytest.approx(relaxed.excess_gap, rel=1e-2)  # enough


# -- equal columns ------------------------------------------------------------------------------------------------


def test_equal_columns_merge_and_the_route_says_so():
    Y, counts = np.concatenate([MIXED, MIXED[:2], MIXED[:1]]), (5, 4, 3, 6, 2, 7, 1, 3)
    problem = ufm.Problem(counts, 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(Y))
    single = ufm.Problem((15, 5, 3, 6, 2), 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(MIXED))
    solution, merged = ufm.solve(problem), ufm.solve(single)
    assert "8 columns, equal ones merged into 5" in solution.route[0]
    assert problem.num_columns == 8
    assert solution.value == pytest.approx(merged.value, rel=1e-9)
    agree(solution, descended(softmax_loss, Y, counts, (4e-3, 9e-3), nonnegative=True))
    W, H = solution.factors()
    assert np.array_equal(H[[0, 1, 0]], H[5:])
    assert objective(softmax_loss, Y, counts, np.ones(8), (4e-3, 9e-3), W, H)[0] == pytest.approx(
        solution.upper_bound, rel=1e-12
    )
    assert solution.logits.shape == (4, 8)
    assert solution.feature_norms.shape == solution.margins.shape == (8,)
    assert np.linalg.eigvalsh(solution.slack)[0] >= -1e-9 * np.abs(solution.slack).max()
    assert solution.dual.nonnegativity.min() >= 0.0
    assert solution.kkt().passed


@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_equal_rows_of_classes_keep_their_norm_bounds_and_their_certificates(features):
    """Norm bounds are about all columns, merged or not; a certificate writes all of them."""
    loss = ufm.SoftTargetCrossEntropy([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]])
    peeled = ufm.Problem((5, 5, 5), loss=loss, constraint=ufm.LayerPeeled(1, 5), features=features)
    solution = ufm.solve(peeled)
    assert solution.status == "certified"
    W, H = solution.factors()
    assert (W**2).sum() <= 3 * (1 + 1e-12)
    assert (H**2).sum() <= 15 * (1 + 1e-12)
    assert ufm.certify(peeled).verdict == "optimal"
    plain = ufm.Problem((5, 4, 5), 1e-2, 1e-2, loss=loss, features=features)
    certificate, merged = ufm.certify(plain), ufm.solve(plain)
    assert certificate.verdict == "optimal"
    assert "merged into 2" in merged.route[0]
    assert certificate.lower <= merged.upper_bound
    assert merged.lower_bound <= certificate.upper


def test_rows_that_are_equal_only_as_rounded_do_not_merge():
    faint = 2.0**-60  # the own entry, 1 minus the others, is 1/2 − 2^-60 and stored as 1/2
    table = ufm.SoftTargetCrossEntropy([[0.5, 0.5, faint], [0.5, 0.5, faint], [0.0, 0.5, 0.5]]).table
    assert table[0] == table[1]
    assert table.exact_row(0) != table.exact_row(1)
    assert table.equal_rows(np.ones(3)).tolist() == [0, 1, 2]
    # one own output, or own entries that are not rounded: the same numbers
    wide = ufm.SoftTargetCrossEntropy([[0.5, 0.5, faint, 0.0], [0.5, 0.5, faint, 0.0], [0.0, 0.5, 0.5, 0.0]]).table
    assert wide.exact_row(0) == wide.exact_row(1)
    assert wide.equal_rows(np.ones(3)).tolist() == [0, 0, 2]
    plain = ufm.SoftTargetCrossEntropy([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]).table
    assert plain.equal_rows(np.ones(3)).tolist() == [0, 0, 2]
    # of four rows of the same numbers in binary64, those of one own output are equal, whatever the weights
    written = {"num_outputs": 3, "starts": [0, 3, 6, 9, 12], "outputs": [0, 1, 2] * 4, "entries": [0.5, 0.5, faint] * 4}
    closed = ufm.SoftTargetCrossEntropy({**written, "own": [1, 0, 1, 0]}).table
    assert closed.exact_row(0) == closed.exact_row(2) != closed.exact_row(1) == closed.exact_row(3)
    assert closed.equal_rows(np.ones(4)).tolist() == [0, 1, 0, 1]
    assert closed.equal_rows(np.array([1.0, 1.0, 2.0, 1.0])).tolist() == [0, 1, 2, 1]


def test_rows_that_differ_are_not_summed_to_tell_them_apart(monkeypatch):
    """Summing a row without rounding costs a thousand times what comparing it does."""
    summed = []
    plain = Table._closed_at
    monkeypatch.setattr(Table, "_closed_at", lambda table, row: summed.append(row) or plain(table, row))
    rows = np.random.default_rng(0).dirichlet(np.ones(12), size=12)
    different = ufm.SoftTargetCrossEntropy(rows).table
    assert different.equal_rows(np.ones(12)).tolist() == list(range(12))
    assert summed == []
    rows[0] = rows[1] = [0.5, 0.5, 2.0**-60, *[0.0] * 9]
    assert ufm.SoftTargetCrossEntropy(rows).table.equal_rows(np.ones(12))[1] == 1
    assert summed == [1]


def test_columns_of_other_weights_do_not_merge():
    """Merged all the same, two equal columns of weights 1 and 8 would change the value (math: by about 1e-2)."""
    Y, weights = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.0, 0.2, 0.8]]), (1.0, 8.0, 1.0)
    problem = ufm.Problem((20, 20, 20), 2e-2, 2e-2, loss=ufm.SoftTargetCrossEntropy(Y, weights), features="free")
    assert problem.merged[0] is problem
    solution = ufm.solve(problem)
    agree(solution, descended(softmax_loss, Y, (20, 20, 20), (2e-2, 2e-2), weights=np.array(weights)))
    wrongly = ufm.SoftTargetCrossEntropy(Y[1:], (4.5, 1.0))
    planted = ufm.solve(ufm.Problem((40, 20), 2e-2, 2e-2, loss=wrongly, features="free")).value
    assert abs(planted - solution.value) > 1e-3


def test_a_merged_table_keeps_its_own_outputs():
    """4 rows of 3 outputs, two of them equal, merge into a square table, whose rows are no classes."""
    Y = np.array([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.6, 0.2, 0.2], [0.0, 0.0, 1.0]])
    problem = ufm.Problem((3, 4, 5, 6), 1e-2, 1e-2, loss=ufm.SoftTargetCrossEntropy(Y), features="free")
    merged, column = problem.merged
    assert column.tolist() == [0, 0, 1, 2]
    assert merged.loss.table.own.tolist() == [2, 0, 2]
    agree(ufm.solve(problem), descended(softmax_loss, Y, (3, 4, 5, 6), (1e-2, 1e-2)))


# -- the floor ----------------------------------------------------------------------------------------------------


def test_the_floor_is_the_entropy_of_the_targets_weights_included():
    loss = ufm.SoftTargetCrossEntropy([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], class_weights=(2.0, 3.0))
    problem = ufm.Problem((30, 10), 1e-2, 1e-2, loss=loss)
    assert problem.floor == pytest.approx(2.0 * 0.75 * math.log(2.0), rel=1e-15)
    smoothed = ufm.Problem((30, 10), 1e-2, 1e-2, loss=ufm.CrossEntropy(smoothing=0.2))
    assert smoothed.floor == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1), rel=1e-14)
    shares = ufm.Problem((30, 10), 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy([[0.25], [1.0]]))
    assert shares.floor == pytest.approx(-0.75 * (0.25 * math.log(0.25) + 0.75 * math.log(0.75)), rel=1e-15)
    for loss in (ufm.CrossEntropy(), ufm.BinaryCrossEntropy(np.eye(2)), ufm.MeanSquaredError(np.eye(2)), None):
        assert ufm.Problem((30, 10), 1e-2, 1e-2, loss=loss).floor == 0.0
    million = ufm.Problem([7] * 1_000_000, 1e-9, 1e-9, loss=ufm.CrossEntropy(smoothing=0.1))
    assert million.floor > 0.0  # without an array of K × K


def test_the_tolerance_is_relative_to_the_excess():
    """Targets far from hard: an excess of some 1e-4 of the value, of which a relative gap of 1e-6 would leave 1e-2."""
    Y = np.array([[0.5, 0.5], [0.503, 0.497], [0.497, 0.503]])
    solution = ufm.solve(ufm.Problem((4, 4, 4), 1e-7, 1e-7, loss=ufm.SoftTargetCrossEntropy(Y)))
    assert solution.status == "certified"
    assert solution.excess == solution.value - solution.floor
    assert 0 < solution.excess < 1e-3 * solution.value
    gap = solution.upper_bound - solution.lower_bound
    assert gap <= TOLERANCE * max(solution.upper_bound - solution.floor, TOLERANCE * solution.upper_bound)


def test_either_side_of_the_tolerance():
    assert allowed_gap(0.0, 2.0, 1e-3) == 1e-3  # without a floor
    assert allowed_gap(1.5, 2.0, 1e-3) == 1e-3 * 0.25
    assert allowed_gap(2.0 - 1e-9, 2.0, 1e-3) == 1e-3 * 1e-3  # at the floor
    plain = ufm.solve(ufm.Problem((5, 3), 1e-2, 1e-2))
    assert (plain.floor, plain.excess, plain.excess_gap) == (0.0, plain.value, plain.relative_gap)


# -- what is taken, and what is refused ----------------------------------------------------------------------------


def table(given, kind=ufm.SoftTargetCrossEntropy):
    return ufm.Problem([3] * 5, 1e-2, 1e-2, loss=kind(given))


@pytest.mark.parametrize("form", ["csr_array", "csc_matrix", "coo_array", "coo_matrix", "lil_array", "dok_array"])
def test_sparse_tables_are_the_dense_ones(form):
    sparse = getattr(scipy.sparse, form)(MIXED)
    assert table(sparse) == table(MIXED) == table(MIXED.tolist())
    assert table(sparse).sha256 == table(MIXED).sha256


def test_zeros_are_dropped_and_duplicates_added():
    rows, columns = [0, 0, 0, 0, 1, 2, 3, 4], [0, 1, 0, 3, 1, 2, 3, 0]
    values = [0.25, 0.5, 0.25, 0.0, 1.0, 1.0, 1.0, 1.0]
    sparse = scipy.sparse.coo_array((values, (rows, columns)), shape=(5, 4))
    before = sparse.nnz
    dense = np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    assert table(sparse) == table(dense)
    assert table(sparse).loss.table.entries.size == 6
    assert sparse.nnz == before  # what was given is left alone


def test_tables_survive_toml_pickle_and_names():
    wide = scipy.sparse.random_array((6, 40), density=0.05, rng=np.random.default_rng(0)) + scipy.sparse.csr_array(
        (np.ones(6), (range(6), range(6))), shape=(6, 40)
    )
    wide = wide.multiply(1.0 / wide.sum(axis=1)[:, None])
    problem = ufm.Problem([2] * 6, 1e-2, 1e-2, loss=ufm.SoftTargetCrossEntropy(wide.tocsr()))
    assert "starts" in problem.content()["loss"]["targets"]  # entry by entry
    for one in (problem, table(MIXED), table(BITS[[0, 1, 2, 3, 0]], ufm.BinaryCrossEntropy)):
        assert ufm.Problem.from_toml(one.to_toml()) == one
        assert pickle.loads(pickle.dumps(one)) == one
        assert hash(one) == hash(pickle.loads(pickle.dumps(one)))
    assert make("mean-squared-error", {"targets": [[1.0, 2.0]]}) == ufm.MeanSquaredError([[1, 2]])
    assert ufm.MeanSquaredError([[1, 2]]) != ufm.MeanSquaredError([[1, 3]])
    assert "5 x 40" in repr(Table.of(np.ones((5, 40)) / 40, SHARES))


def test_rows_close_by_the_own_output_of_a_class_else_by_the_largest_entry():
    thirds = ufm.SoftTargetCrossEntropy([[0.2, 0.4, 0.4], [0.1, 0.2, 0.7]])
    assert thirds.table.own.tolist() == [1, 2]  # the first of ties
    for row in range(2):
        assert sum(thirds.table.exact_row(row)) == 1  # exactly
    assert ufm.SoftTargetCrossEntropy([[0.2, 0.8], [0.7, 0.3]]).table.own.tolist() == [0, 1]


REFUSED = {
    "a sum": ([[0.5, 0.5], [0.5, 0.4], [1, 0]], "row 1 of targets sums to 0.9", "divide each row"),
    "a sum, sparse": (scipy.sparse.csr_array([[0.5, 0.5], [0.5, 0.4], [1, 0]]), "row 1 of targets", "divide each row"),
    "negative": ([[1.5, -0.5], [0, 1], [1, 0]], "entry 1.5 in row 0", "from 0 to 1"),
    "an empty row": ([[1, 0], [0, 0], [1, 0]], "row 1 of targets has no entry", "leave the row out"),
    "no row": ([], "0 rows", "rows of one length"),
    "no output": ([[], []], "rows of lengths", "rows of one length"),
    "no column, an array": (np.zeros((0, 3)), "0 rows", "rows of one length"),
    "no column, sparse": (scipy.sparse.csr_array((0, 3)), r"shape \(0, 3\)", "one row a column"),
    "ragged": ([[1, 0], [1]], "rows of lengths", "rows of one length"),
    "NaN": ([[math.nan, 1], [0, 1]], "entry nan in row 0", "numbers"),
    "NaN, sparse": (scipy.sparse.csr_array([[math.nan, 1], [0, 1]]), "entry nan in row 0", "numbers"),
    "text": ([["a", 1], [0, 1]], "entry 'a' in row 0", "numbers"),
    "one output": ([[1.0], [1.0], [1.0]], "one output", "BinaryCrossEntropy"),
    "one output of 0 and 1": ([[1.0], [0.0], [1.0]], "one output", "BinaryCrossEntropy"),
    "one column, transposed": ([[0.25], [0.75]], "row 0 of targets sums to 0.25", r"your table is \(V, m\)"),
    "binary32": (np.float32([[0.1, 0.9], [0.3, 0.7]]), "row 0 of targets sums to 0.99", "astype"),
    "transposed": (MIXED.T, "row 0 of targets sums", r"your table is \(V, m\): pass targets.T"),
    "a vector": ([0.5, 0.5], "targets is", "rows"),
    "bools, sparse": (scipy.sparse.csr_array(np.eye(2, dtype=bool)), "dtype bool", "astype"),
    "complex": (np.eye(2) * 1j, "entry", "numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_by_name(name):
    given, got, fix = REFUSED[name]
    with pytest.raises(ProblemError, match=got) as refusal:
        ufm.SoftTargetCrossEntropy(given)
    assert re.search(fix, refusal.value.fix), refusal.value.fix


def test_the_advice_for_a_teachers_shares_in_binary32_works():
    """Their rows sum to 1 up to 1e-8; divided in binary32 they still do, and in binary64 they do up to 1e-16."""
    shares = np.random.default_rng(0).dirichlet(np.ones(7), 4).astype(np.float32)
    with pytest.raises(ProblemError, match="sums to"):
        ufm.SoftTargetCrossEntropy(shares)
    wide = shares.astype(float)
    table = ufm.SoftTargetCrossEntropy(wide / wide.sum(axis=1, keepdims=True)).table
    assert np.abs(table.rows(np.arange(4)) - shares).max() < 1e-7


def test_other_losses_take_what_a_softmax_does_not():
    for kind in (ufm.BinaryCrossEntropy, ufm.MeanSquaredError):
        kind([[1.0], [0.0]])
        kind([[0.0, 0.0], [1.0, 1.0]])
        with pytest.raises(ProblemError, match="entry nan"):
            kind([[1.0, math.nan]])
    assert ufm.MeanSquaredError([[-3.0, 1e9]]).table.entries.tolist() == [-3.0, 1e9]
    with pytest.raises(ProblemError, match="entry inf"):
        ufm.MeanSquaredError([[math.inf, 0.0]])
    for entry in (1.0 + 2.0**-52, -(2.0**-1074)):  # either side of the two ends
        with pytest.raises(ProblemError, match="in row 0"):
            ufm.BinaryCrossEntropy([[entry, 0.0]])
    ufm.BinaryCrossEntropy([[1.0, 0.0, 2.0**-1074]])


def test_counts_that_do_not_fit_are_refused_and_the_advice_works():
    loss = ufm.SoftTargetCrossEntropy(MIXED)
    with pytest.raises(ShapeError, match="5 rows of 4 entries, but there are 3 counts"):
        ufm.Problem([1, 2, 3], 1e-2, 1e-2, loss=loss)
    with pytest.raises(ShapeError) as refusal:  # as many as outputs; turned, rows of shares would not sum to 1
        ufm.Problem([1, 2, 3, 4], 1e-2, 1e-2, loss=loss)
    assert refusal.value.fix == "give one count a row of targets, in the order of class_counts."
    turned = ufm.BinaryCrossEntropy(BITS.T)
    with pytest.raises(ShapeError) as refusal:
        ufm.Problem([1, 2, 3, 4], 1e-2, 1e-2, loss=turned)
    assert refusal.value.fix == "your table is (V, m): pass targets.T."
    ufm.Problem([1, 2, 3, 4], 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy(BITS))
    with pytest.raises(ProblemError, match="class 1 has no samples"):
        ufm.Problem([1, 0, 3, 4, 5], 1e-2, 1e-2, loss=loss)
    with pytest.raises(ShapeError, match="class_weights has 2 entries, but targets has 5 rows"):
        ufm.Problem([1] * 5, 1e-2, 1e-2, loss=ufm.SoftTargetCrossEntropy(MIXED, class_weights=(1, 2)))
    with pytest.raises(CountsError, match="one class"):
        ufm.Problem([3], 1e-2, 1e-2)
    with pytest.raises(ProblemError, match="norm bounds"):
        ufm.Problem([1] * 5, loss=loss, constraint=ufm.LayerPeeled(1, 5))
    with pytest.raises(HypothesisError, match="output 1 has no mass"):
        ufm.Problem([1, 1], 1e-2, 1e-2, bias="free", loss=ufm.SoftTargetCrossEntropy([[0.5, 0, 0.5], [1, 0, 0]]))
    for bits in ([[1, 0], [1, 1]], [[0, 0], [0, 1]]):
        with pytest.raises(HypothesisError, match="output 0 has no mass"):
            ufm.Problem([1, 1], 1e-2, 1e-2, bias="free", loss=ufm.BinaryCrossEntropy(bits))


@pytest.mark.parametrize(
    ("sets", "outputs", "words"),
    [
        ([[0], []], 3, r"label_sets\[1\] is empty"),
        ([[0], [3]], 3, r"label_sets\[1\] has the label 3"),
        ([[0], [-1]], 3, r"label_sets\[1\] has the label -1"),
        ([[0], [1.0]], 3, r"label_sets\[1\] has the label 1.0"),
        ([[0], [1, 1]], 3, r"label_sets\[1\] has a label twice"),
        ([], 3, "label_sets is"),
        ([0, 1], 3, "label_sets is"),
        ("01", 3, "label_sets is"),
        ([[0]], 1, "num_outputs is 1"),
        ([[0]], 2.0, "num_outputs is 2.0"),
    ],
)
def test_label_sets_that_are_none_are_refused(sets, outputs, words):
    with pytest.raises(ProblemError, match=words):
        ufm.SoftTargetCrossEntropy.pick_all(sets, outputs)


def test_theorems_about_classes_say_nothing_of_a_table():
    for kind in (ufm.MeanSquaredError, ufm.BinaryCrossEntropy):
        for features in ("free", "nonnegative"):
            problem = ufm.Problem(
                (9, 5, 2), 1e-2, 1e-2, loss=kind([[1, 0, 1], [0, 1, 0], [0, 0, 1]]), features=features
            )
            found = theory.bound(problem)
            assert found is None or found.citation.startswith("Eckart")
            solution = ufm.solve(problem)
            assert solution.status == "certified"
            loss = square_loss if kind is ufm.MeanSquaredError else sigmoid_loss
            Y = np.array([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]])
            agree(solution, descended(loss, Y, (9, 5, 2), (1e-2, 1e-2), nonnegative=features != "free"))


# -- squared error in closed form ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [None, "free"])
@pytest.mark.parametrize(("V", "m"), [(3, 7), (6, 4), (1, 5), (4, 4)])
def test_the_closed_form_of_squared_error_is_exact_for_every_d(V, m, bias):
    """Random tables, default_rng(0): theory, proved bounds and descents in d coordinates agree; H ≥ 0 lies above."""
    generator = np.random.default_rng(0)
    Y, counts = generator.normal(size=(m, V)), generator.integers(1, 20, m)
    for d in (None, 1, 2):
        given = {"loss": ufm.MeanSquaredError(Y), "bias": bias, "feature_dim": d}
        problem = ufm.Problem(counts, 2e-3, 3e-3, features="free", **given)
        solution, found = ufm.solve(problem), theory.optimum(problem)
        best = descended(square_loss, Y, counts, (2e-3, 3e-3), bias=bias, d=d, starts=6)
        assert found.value == pytest.approx(best, rel=1e-9)
        assert solution.status == "certified"
        assert solution.lower_bound <= found.value * (1 + 1e-13)
        assert found.value <= solution.upper_bound * (1 + 1e-13)
        W, H, b = found.weights, found.features, found.bias
        assert W.shape[1] == found.rank <= (d or min(V, m))
        value = objective(square_loss, Y, counts, np.ones(m), (2e-3, 3e-3), W, H, b)[0]
        assert value == pytest.approx(found.value, rel=1e-12)
        above = theory.bound(ufm.Problem(counts, 2e-3, 3e-3, **given))
        assert (above.relation, above.value) == ("lower", found.value)


def test_what_the_closed_form_does_not_cover_is_named():
    table = ufm.MeanSquaredError([[1.0, 2.0], [0.5, 0.5]])
    for problem, words in (
        (ufm.Problem((3, 2), 1e-2, 1e-2, loss=table, features="free", bias=0.1), "no bias, or a free one"),
        (ufm.Problem((3, 2), 1e-2, 1e-2, features="free"), "a table gives the targets"),
        (ufm.Problem((3, 2), 1e-2, 1e-2, loss=table), "features are free"),
    ):
        with pytest.raises(HypothesisError, match=words):
            theory.theorems()[[one.name for one in theory.theorems()].index("thresholded singular values")].optimum(
                problem
            )


@pytest.mark.parametrize("bias", [None, "free", 0.05])
def test_the_bound_that_knows_d_is_a_bound(bias):
    """30 random tables, default_rng(4): below the best of the descents with H ≥ 0 and d = 1, and of free ones."""
    generator = np.random.default_rng(4)
    for _ in range(10):
        V, m = generator.integers(2, 6, 2)
        Y, counts = generator.normal(size=(m, V)), generator.integers(1, 9, m)
        given = {"loss": ufm.MeanSquaredError(Y), "bias": bias, "feature_dim": 1, "features": "free"}
        solution = ufm.solve(ufm.Problem(counts, 2e-3, 3e-3, **given), solver="factored")
        best = descended(square_loss, Y, counts, (2e-3, 3e-3), bias=bias, d=1, starts=4)
        assert solution.lower_bound <= best * (1 + 1e-13)
        assert solution.upper_bound >= best * (1 - 1e-9)


# -- other rooms --------------------------------------------------------------------------------------------------


def test_other_rooms_take_a_table_or_refuse_it_by_name():
    loss = ufm.SoftTargetCrossEntropy(MIXED)
    problem = ufm.Problem(COUNTS, 4e-3, 9e-3, loss=loss)
    W, H = ufm.solve(problem).factors()
    rows = {row.solver: row for row in ufm.cross_check(problem, ["clarabel", "scs", "lbfgsb", lambda _: (W, H)]).rows}
    assert [str(row.verdict) for row in rows.values()] == ["right"] * 4
    wrong = ufm.cross_check(problem, [lambda _: (np.zeros((5, 2)), np.zeros((4, 2)))]).rows[0]  # transposed
    assert (str(wrong.verdict), wrong.reason) == ("failed", "W has shape (5, 2), expected (4, 2)")
    wide = ufm.Problem((5, 4), 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(MIXED[:2]))
    candidate = ufm.Candidate(weights=np.ones((4, 2)), features=np.ones((4, 2)), class_counts=[3, 2, 2, 2])
    for judge in (ufm.attribute_gap, geometry):  # the four classes are no columns of the table
        with pytest.raises(CountsError, match="names 4 columns, but the table of targets has 2 rows"):
            judge(wide, candidate)
    assert geometry(wide, ufm.solve(wide)).nearest_centre is None
    with pytest.raises(HypothesisError, match="4 outputs and 2 rows"):
        wide.require_classes("what is about classes")


def test_a_square_table_of_another_loss_is_certified_as_itself():
    """Square, and not one-hot: squared error of classes is against unit vectors, and another number."""
    problem = ufm.Problem((3, 4, 2), 1e-2, 1e-2, loss=ufm.MeanSquaredError(0.5 * np.eye(3)))
    one_hot = theory.optimum(ufm.Problem((3, 4, 2), 1e-2, 1e-2, loss=ufm.MeanSquaredError())).value
    certificate = ufm.certify(problem)
    assert certificate.verdict == "optimal"
    assert certificate.upper < 0.8 * one_hot
    assert certificate.lower <= ufm.solve(problem).value * (1 + 1e-6)


# -- the command line ---------------------------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(application(), list(map(str, words)))


DECAYS = ("--lambda-w", "4e-3", "--lambda-h", "9e-3")


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "t.npy", MIXED)
    np.savez(tmp_path / "t.npz", anything=MIXED)
    np.savez(tmp_path / "two.npz", a=MIXED, b=MIXED)
    scipy.sparse.save_npz(tmp_path / "s.npz", scipy.sparse.coo_matrix(MIXED))
    body = "\n".join(",".join(map(repr, map(float, row))) for row in MIXED)
    (tmp_path / "t.csv").write_text(body + "\n")
    (tmp_path / "named.csv").write_text("a,b,c,d\n" + body + "\n")
    (tmp_path / "bad.csv").write_text(body.replace("0.25", "x", 1) + "\n")
    (tmp_path / "t.txt").write_text(body)
    (tmp_path / "none.npz").write_bytes(b"no archive")
    return tmp_path


@pytest.mark.parametrize("name", ["t.npy", "t.npz", "s.npz", "t.csv", "named.csv"])
def test_tables_are_read_from_files(files, name):
    words = ("solve", "--class-counts", "5,4,3,6,2", "--targets", files / name, *DECAYS)
    found = run(*words, "--json")
    assert found.exit_code == 0, found.output
    record = json.loads(found.stdout)
    solution = ufm.solve(ufm.Problem(COUNTS, 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(MIXED)))
    assert (record["num_outputs"], record["num_columns"], record["num_classes"]) == (4, 5, 5)
    assert record["value"] == pytest.approx(solution.value, rel=1e-8)
    assert record["floor"] == solution.floor
    assert record["excess"] == record["value"] - record["floor"]
    assert 0.0 <= record["excess_gap"] <= 1e-6
    assert "4 outputs, 5 columns" in run(*words).output


def test_other_losses_take_the_table_of_the_command_line(files):
    np.save(files / "b.npy", BITS)
    found = run("solve", "--class-counts", "5,4,3,6", "--targets", files / "b.npy", "--loss", "binary-cross-entropy",
                *DECAYS, "--json")  # fmt: skip
    record = json.loads(found.stdout)
    expected = ufm.solve(ufm.Problem((5, 4, 3, 6), 4e-3, 9e-3, loss=ufm.BinaryCrossEntropy(BITS))).value
    assert record["value"] == pytest.approx(expected, rel=1e-8)
    assert "floor" not in record  # it is 0
    plain = json.loads(run("solve", "--class-counts", "5,4", *DECAYS, "--json").stdout)
    assert not {"num_outputs", "num_columns", "floor", "excess", "excess_gap"} & set(plain)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("--class-counts", "5,4,3", "--targets", "t.npy"), "ShapeError", "5 rows of 4 entries"),
        (("--class-counts", "5,4,3,6", "--targets", "t.npy"), "ShapeError", "give one count a row"),
        (("--class-counts", "5,4,3,6,2", "--targets", "two.npz"), "FileFormatError", "arrays a, b"),
        (("--class-counts", "5,4,3,6,2", "--targets", "t.txt"), "FileFormatError", "suffix"),
        (("--class-counts", "5,4,3,6,2", "--targets", "missing.npy"), "FileFormatError", "missing.npy"),
        (("--class-counts", "5,4,3,6,2", "--targets", "none.npz"), "FileFormatError", "none.npz"),
        (("--class-counts", "5,4,3,6,2", "--targets", "bad.csv"), "FileFormatError", "cell 'x' is no number"),
        (("--class-counts", "5,4,3,6,2", "--targets", "t.npy", "--smoothing", "0.1"), "ProblemError", "smoothing"),
        (("--class-counts", "5,4,3,6,2", "--targets", "t.npy", "--loss", "squared-hinge"), "ProblemError", "targets"),
    ],
)  # fmt: skip
def test_what_is_no_table_in_a_file_is_refused_before_any_work(files, monkeypatch, words, error, said):
    monkeypatch.chdir(files)
    found = run("solve", *words, *DECAYS, "--json")
    assert found.exit_code == 2, found.output
    record = json.loads(found.stdout)
    assert record["error"] == error
    assert said in record["got"] + record["fix"]
    assert not (files / "c.json").exists()


def test_where_bounds_stay_apart_the_command_says_what_may_help(files):
    """Up to 12 different columns the verdict on B, up to 20 the advice; merged columns count as one."""
    _, _, eight, counts = STRICT["soft, 3 x 8"]
    cases = ((*sparse_table(5, 4, 16), type(None)), (np.repeat(eight, 2, axis=0), np.repeat(counts, 2), dict))
    for table, n, verdict in cases:
        np.save(files / "strict.npy", table)
        given = ("--class-counts", ",".join(map(str, n)), "--targets", files / "strict.npy", "--solver", "clarabel")
        words = ("solve", *given, "--lambda-w", "2e-3", "--lambda-h", "2e-3")
        found = run(*words)
        assert found.exit_code == 1, found.output
        assert "ufm.close_gap(problem) raises the lower bound" in " ".join(found.output.split())
        record = json.loads(run(*words, "--json").stdout)
        assert record["status"] == "bounded"
        assert isinstance(record["gram_positivity"], verdict)


@pytest.mark.parametrize("figure", ["gram", "norms"])
def test_figures_of_a_table(files, figure):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    found = run("plot", "--figure", figure, "--class-counts", "5,4,3,6,2", "--targets", files / "t.npy", *DECAYS, "-o",
                files / "f.png")  # fmt: skip
    assert found.exit_code == (0 if figure == "gram" else 2), found.output
    assert (files / "f.png").exists() == (figure == "gram")
    assert figure == "gram" or "4 outputs and 5 rows" in found.output


# -- frames that are refused ----------------------------------------------------------------------------------------


def test_a_refused_frame_that_nothing_follows_is_bounded_without_a_descent(monkeypatch):
    """The frame is no optimum here; its own bounds hold, and are no better than those of a descent from it."""
    problem = ufm.Problem([5, 4, 3, 6, 2], 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(MIXED))
    descended = ufm.solve(problem, solver="frame")
    monkeypatch.setattr(columns_evidence, "_nothing_follows", lambda *_: True)
    monkeypatch.setattr(columns_evidence.recovery, "recoveries", lambda *_: pytest.fail("a descent was made"))
    alone = ufm.solve(problem, solver="frame")
    assert "frame refused" in alone.route[0]
    assert alone.status == "bounded"
    assert alone.lower_bound <= descended.upper_bound < alone.upper_bound
    _W, H = alone.factors()
    assert (H >= 0.0).all()
    assert np.count_nonzero(H @ H.T - np.diag(np.diag(H @ H.T))) == 0


@pytest.mark.parametrize(("m", "follows"), [(797, True), (798, False)])
def test_conic_solvers_follow_a_refused_frame_up_to_their_size(m, follows):
    table = np.eye(3)[np.arange(m) % 3] * 0.9 + 0.1 / 3
    problem = ufm.Problem([1] * m, 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(table / table.sum(axis=1)[:, None]))
    refused = SolverRun("frame", "class", Claim.INACCURATE, "frame refused", continued_by="factored")
    assert columns_evidence._nothing_follows(problem, refused) is not follows
    accepted = SolverRun("frame", "class", Claim.OPTIMAL, "")
    assert not columns_evidence._nothing_follows(problem, accepted)
    classes = ufm.Problem([1] * m, 4e-3, 9e-3)
    assert not columns_evidence._nothing_follows(classes, refused)

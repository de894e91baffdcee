"""The parts of a gap over the proved dual point of a solved problem: with a bias, and where no theorem holds.

The objective is the definition, sample by sample (``objective``); the dual value and its feasibility come from
``naive_dual``, full arrays that know nothing of orbits and proofs. Campaigns state their seeds.
"""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.optimize
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import cli, measures, plots, theory
from ufm_convex.attribution import PARTS, attribute_gap, duals
from ufm_convex.attribution.duals import SolvedDual
from ufm_convex.attribution.passes import Classifier
from ufm_convex.candidate import Candidate
from ufm_convex.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    LogitAdjustedCrossEntropy,
    MeanSquaredError,
    MulticlassHinge,
    SoftTargetCrossEntropy,
)
from ufm_convex.problem import Problem
from ufm_convex.proof import proof_steps
from ufm_convex.solving import solve

COUNTS = [5, 3, 2, 2]
LABELS = np.repeat(np.arange(4), COUNTS)
TABLE = [[0.7, 0.1, 0.1, 0.1], [0.0, 0.9, 0.1, 0.0], [0.2, 0.2, 0.6, 0.0], [0.0, 0.0, 0.25, 0.75]]
LOSSES = {
    "plain": CrossEntropy(),
    "smoothed": CrossEntropy(smoothing=0.1),
    "weighted": CrossEntropy(class_weights=[0.5, 1.0, 2.0, 1.0]),
    "squares": MeanSquaredError(),
    "sigmoids": BinaryCrossEntropy(),
    "pairwise hinge": MulticlassHinge("weston-watkins"),
    "joint hinge": MulticlassHinge("crammer-singer"),
    "adjusted": LogitAdjustedCrossEntropy(shift=[0.5, 0.0, 0.0, -0.3], scale=[1.0, 1.5, 0.8, 1.0]),
    "soft": SoftTargetCrossEntropy(TABLE),
}


def loss_values(name, z, y):
    """The loss of each row of logits (N, K), from its definition."""
    own = z[np.arange(len(y)), y][:, None]
    hot = np.eye(z.shape[1])[y]
    lse = np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)) + z.max(axis=1)
    if name in ("plain", "smoothed", "weighted", "soft"):
        target = {"smoothed": 0.9 * hot + 0.025, "soft": np.array(TABLE)[y]}.get(name, hot)
        weight = np.array([0.5, 1.0, 2.0, 1.0])[y] if name == "weighted" else 1.0
        return weight * (lse - (target * z).sum(axis=1))
    if name == "squares":
        return 0.5 * ((z - hot) ** 2).sum(axis=1)
    if name == "sigmoids":
        return np.logaddexp(0.0, np.where(hot > 0, -z, z)).sum(axis=1)
    if name == "adjusted":
        return loss_values("plain", z * np.array([1.0, 1.5, 0.8, 1.0]) + np.array([0.5, 0.0, 0.0, -0.3]), y)
    hinges = np.where(hot > 0, 0.0, np.maximum(0.0, 1.0 + z - own))
    return hinges.sum(axis=1) if name == "pairwise hinge" else hinges.max(axis=1)


def objective(name, problem, W, F, y, b):
    """f(W, H, b), from the definition."""
    weight = 0.0 if problem.bias in (None, "free") else problem.bias
    penalty = problem.lambda_w * (W**2).sum() + problem.lambda_h * (F**2).sum() + weight * (b**2).sum()
    return loss_values(name, F @ W.T + b, y).mean() + 0.5 * penalty


def drawn(seed, problem, d=5, scale=1.0):
    """W, F and b of a candidate that is nothing special."""
    rng = np.random.default_rng(seed)
    K = problem.num_classes
    F = rng.normal(size=(problem.num_samples, d))
    b = np.zeros(K) if problem.bias is None else scale * rng.normal(size=K)
    return rng.normal(size=(K, d)), np.abs(F) if problem.nonnegative else F, b


def made(problem, W, F, b, y=LABELS):
    return Candidate(weights=W, features=F, labels=y, **({} if problem.bias is None else {"bias": b}))


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", [None, "free", 0.3, 1e-17])
@pytest.mark.parametrize("name", LOSSES)
def test_the_parts_are_not_negative_and_sum_to_value_less_proved_bound(name, bias, features):
    problem = Problem(COUNTS, 0.02, 0.03, loss=LOSSES[name], bias=bias, features=features)
    solution = solve(problem)
    for seed, scale in ((0, 1.0), (1, 30.0)):
        W, F, b = drawn(seed, problem, scale=scale)
        found = attribute_gap(problem, made(problem, W, F, b), solution=solution)
        value = objective(name, problem, W, F, LABELS, b)
        assert found.candidate_value == pytest.approx(value, rel=1e-13)  # sums of some hundred terms
        assert list(found.totals) == [*PARTS, *([] if bias is None else ["bias"])]
        for part in found.totals:
            assert (np.asarray(getattr(found, part)) >= 0.0).all(), part
        # the dual point's own value is the proved bound, and no better one is claimed
        assert found.optimum == pytest.approx(solution.lower_bound, rel=1e-12)
        assert found.optimum <= solution.upper_bound
        # rounding is relative to what is summed
        assert abs(found.gap - (value - found.optimum)) <= 1e-12 * value
        assert found.by_class.sum() + found.classifier_mean == pytest.approx(found.gap, rel=1e-12)
        if features == "free":
            assert found.totals["non_orthogonality"] == 0.0
        if bias == "free":
            assert found.totals["bias"] == 0.0


def test_without_a_theorem_the_problem_is_solved():
    problem = Problem(COUNTS, 0.02, 0.03, bias="free")
    W, F, b = drawn(2, problem)
    found = attribute_gap(problem, made(problem, W, F, b))
    assert found.gap == pytest.approx(objective("plain", problem, W, F, LABELS, b) - found.optimum, rel=1e-12)


@pytest.mark.parametrize("bias", ["free", 0.3])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_the_optimum_has_next_to_no_gap(bias, features):
    """At the factors of a solution nothing is left but what its two proved bounds leave open."""
    problem = Problem(COUNTS, 0.02, 0.03, bias=bias, features=features)
    solution = solve(problem, tolerance=1e-8)
    W, H = solution.factors()
    found = attribute_gap(problem, made(problem, W, H[LABELS], solution.bias), solution=solution)
    assert -1e-12 <= found.gap - (found.candidate_value - solution.lower_bound) <= 1e-12
    assert found.gap <= 1.1e-8 * found.candidate_value
    assert found.dead_classes == ()


@pytest.mark.parametrize("bias", ["free", 0.05])
def test_a_descent_of_its_own_ends_at_the_optimum(bias):
    """SciPy's L-BFGS-B on the definition, with its own gradient by hand; features free, so that no start gets stuck."""
    problem = Problem(COUNTS, 0.02, 0.03, bias=bias, features="free")
    K, d, N, weight = 4, 6, sum(COUNTS), 0.0 if bias == "free" else bias

    def split(x):
        return x[: K * d].reshape(K, d), x[K * d : -K].reshape(N, d), x[-K:]

    def value(x):
        W, F, b = split(x)
        z = F @ W.T + b
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        G = (p - np.eye(K)[LABELS]) / N
        slopes = G.T @ F + 0.02 * W, G @ W + 0.03 * F, G.sum(axis=0) + weight * b
        return objective("plain", problem, W, F, LABELS, b), np.concatenate([one.ravel() for one in slopes])

    start = 0.5 * np.random.default_rng(5).normal(size=K * d + N * d + K)
    settings = {"maxiter": 5000, "ftol": 0.0, "gtol": 1e-10}
    end = scipy.optimize.minimize(value, start, jac=True, method="L-BFGS-B", options=settings)
    W, F, b = split(end.x)
    found = attribute_gap(problem, made(problem, W, F, b))
    assert found.gap <= 2e-6 * found.candidate_value  # 1e-6 of it is what ``solve`` leaves open
    certificate = ufm.certify(problem, made(problem, W, F, b), tolerance=1e-5)
    assert certificate.verdict == "optimal"
    ufm.testing.assert_optimal(problem, made(problem, W, F, b), tolerance=1e-5)
    ufm.testing.assert_stationary(problem, made(problem, W, F, b), tolerance=1e-5)
    ufm.testing.assert_kkt(problem, made(problem, W, F, b), tolerance=1e-5)
    moved = made(problem, W, F, b + np.array([0.1, 0.0, 0.0, -0.1]))
    for judge in (ufm.testing.assert_optimal, ufm.testing.assert_stationary, ufm.testing.assert_kkt):
        with pytest.raises(AssertionError):
            judge(problem, moved, tolerance=1e-5)
    if bias != "free":  # a penalty on the bias is no part of a problem with a free one
        with pytest.raises(AssertionError, match=r"in row \d of b"):
            ufm.testing.assert_stationary(
                made(problem, W, F, b).problem(0.02, 0.03, bias=5.0, features="free"),
                made(problem, W, F, b),
                tolerance=1e-5,
            )


# -- each fault moves its own part ---------------------------------------------------------------------------------


def optimal(bias):
    """A problem whose optimum is known to 1e-10, with W, the features of all samples and b."""
    problem = Problem([8, 6, 4], 0.02, 0.03, bias=bias)
    solution = solve(problem, tolerance=1e-10)
    W, H = solution.factors()
    W, H = np.pad(W, ((0, 0), (0, 1))), np.pad(H, ((0, 0), (0, 1)))  # a coordinate that nothing uses
    y = np.repeat(np.arange(3), [8, 6, 4])
    return problem, solution, W, H[y], solution.bias, y


def parts(bias, change):
    problem, solution, W, F, b, y = optimal(bias)
    W, F, b = change(W.copy(), F.copy(), b.copy())
    totals = attribute_gap(problem, made(problem, W, F, b, y), solution=solution).totals
    return {name for name, total in totals.items() if total > 1e-6}


def test_a_bias_that_is_not_the_best_is_seen():
    def moved(W, F, b):
        return W, F, b + np.array([0.3, -0.1, -0.2])

    assert parts(0.3, moved) == {"bias", "calibration"}
    assert parts("free", moved) == {"calibration"}  # it costs nothing but the logits


def test_a_shift_that_the_loss_does_not_see_is_paid_for_where_it_costs():
    def shifted(W, F, b):
        return W, F, b + 0.5

    assert parts(0.3, shifted) == {"bias"}
    assert parts("free", shifted) == set()


def test_other_faults_move_what_they_are_named_for():
    def turned(W, F, b):
        W[0, -1], W[1, -1] = 0.1, -0.1
        return W, F, b

    def meant(W, F, b):
        return W + 0.1 * (np.arange(W.shape[1]) == W.shape[1] - 1), F, b

    def spread(W, F, b):
        F[:8, -1] = 0.1 * (np.arange(8) % 2)
        return W, F, b

    for bias in (0.3, "free"):
        assert parts(bias, turned) == {"self_duality"}
        assert parts(bias, meant) == {"classifier_mean"}
        assert "variability" in parts(bias, spread)
        assert "logit_spread" not in parts(bias, spread)


def test_a_dead_class_is_named_beside_a_bias():
    problem, solution, W, F, b, y = optimal(0.3)
    F[y == 2], W = 0.0, W
    found = attribute_gap(problem, made(problem, W, F, b, y), solution=solution)
    assert [one.index for one in found.dead_classes] == [2]
    assert "class 2 is dead" in found.diagnosis


# -- where the bias is idle, the closed form stays -------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["free", 0.3])
def test_beside_equal_counts_the_closed_form_holds(bias):
    problem = Problem([4, 4, 4], 0.02, 0.03, bias=bias)
    y = np.repeat(np.arange(3), 4)
    W, F, b = drawn(3, problem)
    found = attribute_gap(problem, made(problem, W, F, b, y))
    value = objective("plain", problem, W, F, y, b)
    assert found.optimum == theory.optimum(problem).value
    assert abs(found.gap - (value - found.optimum)) <= 1e-13 * value
    assert found.totals["bias"] == pytest.approx(0.0 if bias == "free" else 0.15 * (b**2).sum(), rel=1e-14)
    over = attribute_gap(problem, made(problem, W, F, b, y), solution=solve(problem))
    for name in found.totals:  # the dual point of the solution is that of the theorem, rounded
        assert over.totals[name] == pytest.approx(found.totals[name], rel=1e-6, abs=1e-9)


def test_the_bounds_of_distances_hold_beside_an_idle_bias():
    problem = Problem([4, 4, 4], 0.02, 0.03, bias=0.3)
    y = np.repeat(np.arange(3), 4)
    optimum, bounds = theory.optimum(problem), ufm.stability_bounds
    for seed in range(5):
        W, F, b = drawn(seed, problem)
        gap = attribute_gap(problem, made(problem, W, F, b, y)).gap
        means = np.array([F[y == k].mean(axis=0) for k in range(3)])
        z = means @ W.T + b
        log_q = z - np.log(np.exp(z).sum(axis=1))[:, None]
        t = np.broadcast_to(optimum.wrong_mass, 3)[:, None]
        p = np.where(np.eye(3) > 0, 1.0 - t, t / 2)
        divergences = (p * (np.log(p) - log_q)).sum(axis=1)
        assert (divergences <= bounds(problem, gap).divergences * (1.0 + 1e-12)).all()
        assert (divergences > bounds(problem, 0.01 * gap).divergences).any()


# -- the dual point, in full arrays ------------------------------------------------------------------------------------


def full(dual):
    """V, T and U1 of a ``SolvedDual`` as full arrays, from its fields entry by entry."""
    K, c, r = dual.problem.num_classes, dual.columns.columns.members, dual.columns.outputs.members
    V = np.array([[dual.own[c[k]] if j == k else dual.others[r[j], c[k]] for k in range(K)] for j in range(K)])
    T = np.array([[0.0 if k == other else dual.T[c[k], c[other]] for other in range(K)] for k in range(K)])
    return V, T


@pytest.mark.parametrize("bias", [None, "free", 0.3])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("counts", [[6, 6, 3, 3, 3, 1], [9, 7, 5, 4, 2], [4] * 4])
@pytest.mark.parametrize("loss", [CrossEntropy(), BinaryCrossEntropy(), SoftTargetCrossEntropy], ids=str)
def test_the_dual_point_is_feasible_and_its_formulas_are_those_of_full_arrays(loss, counts, features, bias):
    K = len(counts)
    if loss is SoftTargetCrossEntropy:
        table = 0.5 * np.eye(K) + 0.25 * np.roll(np.eye(K), 1, axis=1) + 0.25 * np.roll(np.eye(K), -1, axis=1)
        loss = SoftTargetCrossEntropy(table.tolist())
    problem = Problem(counts, 0.01, 0.02, loss=loss, bias=bias, features=features)
    dual = SolvedDual.of(solve(problem))
    V, T = full(dual)
    pt = problem.loss_weights
    U, D = V * pt, problem.lambda_w * problem.lambda_h * np.diag(counts).astype(float)
    R = D - U.T @ U - T
    assert (T >= 0.0).all()
    assert np.linalg.eigvalsh(R / np.sqrt(np.outer(np.diag(D), np.diag(D)))).min() >= -1e-13
    if bias == "free":
        assert np.abs(U.sum(axis=1)).max() <= 1e-15 * np.abs(U).sum()
    np.testing.assert_allclose(dual.sums[dual.output_of], U.sum(axis=1) if bias != "free" else 0.0, atol=1e-16)
    conjugates = problem.loss.conjugate(V, problem.loss.layout(K, np.arange(K)))
    price = 0.0 if bias in (None, "free") else (U.sum(axis=1) ** 2).sum() / (2 * bias)
    assert -pt @ conjugates - price == pytest.approx(dual.value, rel=1e-12)
    means = np.random.default_rng(8).random((K, 3)) - (0.5 if features == "free" else 0.0)
    B = means @ means.T
    np.testing.assert_allclose(dual.pulled(means), U @ means, atol=1e-15)
    assert dual.overlap(means).sum() == pytest.approx((T * B).sum() / (2 * problem.lambda_w), rel=1e-12, abs=1e-16)
    assert dual.pairs(means).sum() == pytest.approx((T * B).sum() / (2 * problem.lambda_w), rel=1e-12, abs=1e-16)
    assert dual.collapsed(means).sum() == pytest.approx((R * B).sum() / (2 * problem.lambda_w), rel=1e-9)
    np.testing.assert_array_equal(dual.residuals(np.arange(K)), V)


# -- planted faults ------------------------------------------------------------------------------------------------


def no_multiplier(monkeypatch):
    right = duals._multiplier
    monkeypatch.setattr(duals, "_multiplier", lambda *given: 0.0 * right(*given))


def classifier_changed(monkeypatch, change):
    right = Classifier.of
    monkeypatch.setattr(Classifier, "of", lambda found: right(found)._replace(b=change(right(found).b)))


def bias_dropped(monkeypatch):
    classifier_changed(monkeypatch, lambda b: 0.0 * b)


def bias_twice(monkeypatch):
    classifier_changed(monkeypatch, lambda b: 2.0 * b)


def bias_permuted(monkeypatch):
    classifier_changed(monkeypatch, lambda b: np.roll(b, 1))


def bias_unpaid(monkeypatch):
    right = Classifier.penalties
    monkeypatch.setattr(Classifier, "penalties", lambda self, problem: right(self._replace(b=0.0 * self.b), problem))


def sums_dropped(monkeypatch):
    right = SolvedDual.of
    monkeypatch.setattr(
        SolvedDual, "of", lambda solution: dataclasses.replace(right(solution), sums=0.0 * right(solution).sums)
    )


@pytest.mark.parametrize("fault", [no_multiplier, bias_dropped, bias_twice, bias_permuted, bias_unpaid, sums_dropped])
def test_a_planted_fault_breaks_the_sum(monkeypatch, fault):
    """A part that is wrong no longer sums to the definition's value less the proved bound."""
    problem = Problem([9, 5, 4, 2], 0.02, 0.03, loss=BinaryCrossEntropy(), bias=0.05)
    y = np.repeat(np.arange(4), [9, 5, 4, 2])
    solution = solve(problem)
    W, F, b = drawn(6, problem)
    value = objective("sigmoids", problem, W, F, y, b)

    def off():
        found = attribute_gap(problem, made(problem, W, F, b, y), solution=solution)
        negative = min(float(np.min(getattr(found, part))) for part in found.totals) < 0.0
        wrong = abs(found.gap - (value - solution.lower_bound)) > 1e-9 * value
        return negative or wrong or abs(found.candidate_value - value) > 1e-9 * value

    assert not off()
    fault(monkeypatch)
    assert off()


# -- geometry, steps, figures, command line ----------------------------------------------------------------------------


def test_the_nearest_centre_is_compared_with_the_classifier_and_its_bias():
    problem = Problem([2, 2], 0.1, 0.1, bias="free")
    W, F, y = (
        np.array([[1.0, 0.0], [0.0, 1.0]]),
        np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]),
        [0, 0, 1, 1],
    )
    none = measures.geometry(problem, Candidate(weights=W, features=F, labels=y))
    assert none.nearest_centre == 1.0
    assert none.theorem_self_duality is not None  # equal counts: the bias is idle
    # the second class wins everywhere with b = (0, 3): half of the samples are decided otherwise than by their mean
    moved = measures.geometry(problem, Candidate(weights=W, features=F, labels=y, bias=np.array([0.0, 3.0])))
    assert moved.nearest_centre == 0.5
    scaled = measures.geometry(problem, Candidate(weights=1e3 * W, features=F, labels=y, bias=np.array([0.0, 3.0])))
    assert scaled.nearest_centre == 1.0  # beside such weights it is small


def test_geometry_of_a_solution_takes_its_bias():
    problem = Problem([100, 10, 10], 4.8e-3, 4.8e-3, bias=0.1)
    solution = solve(problem)
    found = measures.geometry(problem, solution)
    assert found.theorem_self_duality is None
    W, H = solution.factors()
    logits = H @ W.T + solution.bias
    nearest = ((H[:, None, :] - H[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert found.nearest_centre == pytest.approx((np.array([100, 10, 10]) @ (logits.argmax(axis=1) == nearest)) / 120)


def test_steps_that_need_no_bias_say_so_and_the_others_hold():
    problem = Problem([5, 3, 2], 0.02, 0.03, bias=0.3)
    y = np.repeat(np.arange(3), [5, 3, 2])
    W, F, b = drawn(4, problem)
    steps = {step.number: step for step in proof_steps(problem, made(problem, W, F, b, y))}
    left_out = {number for number, step in steps.items() if step.slack is None}
    assert left_out == {"44", "46", "48", "49"}
    assert all("logits have no bias" in steps[number].reason for number in left_out)
    for number in steps.keys() - left_out:
        assert steps[number].slack >= 0.0
        assert steps[number].left - steps[number].right == pytest.approx(steps[number].slack, abs=1e-12)
    # (34) starts from the losses of the definition, with the bias in the logits
    assert steps["34"].left == pytest.approx(loss_values("plain", F @ W.T + b, y).mean(), rel=1e-14)
    plain = {
        step.number: step
        for step in proof_steps(Problem([5, 3, 2], 0.02, 0.03), Candidate(weights=W, features=F, labels=y))
    }
    assert all(step.slack is not None for step in plain.values())
    assert plain["34"].left != steps["34"].left


@pytest.mark.parametrize("name", ["attribution", "gram", "norms"])
def test_figures_take_the_bias(name):
    pytest.importorskip("matplotlib", reason="the extra plot")
    problem = Problem(COUNTS, 0.02, 0.03, bias=0.3)
    W, F, b = drawn(1, problem)
    figure = plots.draw(name, problem, candidate=made(problem, W, F, b))
    words = [text.get_text() for ax in figure.axes for text in ax.get_yticklabels()]
    assert ("bias" in words) == (name == "attribution")
    geometry = plots.base.CandidateGeometry.of(made(problem, W, F, b))
    means = np.array([F[k == LABELS].mean(axis=0) for k in range(4)])
    z = means @ W.T + b
    np.testing.assert_allclose(geometry.logits, z.T, rtol=1e-13)
    own = np.diag(z)
    others = np.where(np.eye(4) > 0, -math.inf, z).max(axis=1)
    np.testing.assert_allclose(geometry.margins, own - others, rtol=1e-12)


@pytest.mark.parametrize(
    ("bias", "names"), [("free", [*PARTS, "bias"]), ("0.3", [*PARTS, "bias"]), (None, list(PARTS))]
)
def test_certify_attributes_the_gap(tmp_path, bias, names):
    problem = Problem(COUNTS, 0.02, 0.03, bias=None if bias is None else "free" if bias == "free" else float(bias))
    W, F, b = drawn(1, problem)
    np.savez(tmp_path / "t.npz", **made(problem, W, F, b).arrays())
    arguments = ["certify", str(tmp_path / "t.npz"), "--lambda-w", "0.02", "--lambda-h", "0.03"]
    arguments += [] if bias is None else ["--bias", bias]
    record = json.loads(CliRunner().invoke(cli.application(), [*arguments, "--json"]).stdout)
    assert list(record["attribution"]) == names
    gap = objective("plain", problem, W, F, LABELS, b) - record["lower_bound"]
    assert sum(record["attribution"].values()) == pytest.approx(gap, rel=1e-9)
    said = CliRunner().invoke(cli.application(), arguments).stdout
    assert ("bias" in said) == (bias is not None)

"""The losses beside cross-entropy: definitions in mpmath, conjugates by brute force, optima against closed forms."""

from __future__ import annotations

import math

import cvxpy as cp
import flint
import mpmath as mp
import numpy as np
import pytest
from flint import arb, fmpq
from full_columns import Full
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import enclosure, losses, theory
from ufm_convex.class_counts import exponential
from ufm_convex.cli import application
from ufm_convex.errors import HypothesisError, ProblemError, ShapeError
from ufm_convex.losses.label_margin_cross_entropy import LabelMarginCrossEntropy
from ufm_convex.losses.squared_hinge import SquaredHinge
from ufm_convex.relaxation import DualPoint

EPS = np.finfo(float).eps
SHIFT, SCALE = (0.5, -1.25, 2.0, 0.1), (1.0, 0.3, 2.5, 0.7)
MARGINS = (0.2, 0.35, 0.5, -0.1)
TARGETS = ((0.5, 0.25, 0.15, 0.1), (0.0, 0.9, 0.1, 0.0), (0.2, 0.2, 0.6, 0.0), (0.1, 0.1, 0.3, 0.5))


def log_sum_exp(x):
    return mp.log(mp.fsum(map(mp.exp, x)))


def adjusted(z, k, shift=SHIFT, scale=SCALE):
    x = [mp.mpf(a) * v + mp.mpf(b) for a, v, b in zip(scale, z, shift, strict=True)]
    return log_sum_exp(x) - x[k]


def lowered(z, k):
    x = [v - mp.mpf(MARGINS[k]) * (j == k) for j, v in enumerate(z)]
    return log_sum_exp(x) - x[k]


def soft(z, k):
    target = [mp.mpf(y) for y in TARGETS[k]]
    target[k] = 1 - mp.fsum(y for j, y in enumerate(target) if j != k)
    return log_sum_exp(z) - mp.fdot(target, z)


def violations(z, k):
    return [1 + v - z[k] for j, v in enumerate(z) if j != k]


CASES = {
    "mse": (ufm.MeanSquaredError(), lambda z, k: mp.fsum((v - (j == k)) ** 2 for j, v in enumerate(z)) / 2),
    "bce": (
        ufm.BinaryCrossEntropy(),
        lambda z, k: mp.fsum(mp.log(1 + mp.exp(-v if j == k else v)) for j, v in enumerate(z)),
    ),
    "crammer-singer": (ufm.MulticlassHinge(), lambda z, k: max(0, *violations(z, k))),
    "weston-watkins": (
        ufm.MulticlassHinge(kind="weston-watkins"),
        lambda z, k: mp.fsum(max(0, v) for v in violations(z, k)),
    ),
    "additive": (ufm.LogitAdjustedCrossEntropy(shift=SHIFT), lambda z, k: adjusted(z, k, scale=(1,) * 4)),
    "multiplicative": (ufm.LogitAdjustedCrossEntropy(scale=SCALE), lambda z, k: adjusted(z, k, shift=(0,) * 4)),
    "both": (ufm.LogitAdjustedCrossEntropy(shift=SHIFT, scale=SCALE), adjusted),
    "soft": (ufm.SoftTargetCrossEntropy(TARGETS), soft),
    "squared-hinge": (SquaredHinge(), lambda z, k: mp.fsum(max(0, v) ** 2 for v in violations(z, k)) / 2),
    "label-margin": (LabelMarginCrossEntropy(MARGINS), lambda z, k: lowered(z, k)),
}
SMOOTH = [name for name in CASES if name not in ("crammer-singer", "weston-watkins")]
CONES = ["squared-hinge"]
LABELS = np.arange(4)
COLUMNS = [np.random.default_rng(seed).normal(scale=3.0, size=(4, 4)) for seed in range(4)]


def full(name):
    """The loss on full columns, and its definition."""
    loss, definition = CASES[name]
    return Full(loss), definition


def mpf_ends(ball):
    return tuple(mp.ldexp(int(m), int(e)) for m, e in (ball.lower().man_exp(), ball.upper().man_exp()))


@pytest.mark.parametrize("name", CASES)
def test_values_expressions_and_enclosures_agree_with_the_definition(name):
    loss, definition = full(name)
    for logits in COLUMNS:
        values = loss.values(logits, LABELS)
        expression = loss.expression(cp.Variable((4, 4), value=logits), LABELS)
        assert expression.shape == (4,)
        assert expression.is_dcp()
        for k in range(4):
            with mp.workdps(60), flint.ctx.workprec(128):
                exact = definition([mp.mpf(v) for v in logits[:, k]], k)
                low, high = mpf_ends(loss.enclose_value([arb(v) for v in logits[:, k]], k))
                assert low <= exact <= high
                assert high - low <= mp.mpf(10) ** -33  # 128 bits, entries below 50
                # every term is below 200 and rounded a few times; cvxpy forms larger differences
                assert abs(values[k] - exact) <= 200 * EPS
                assert abs(expression.value[k] - exact) <= 400 * EPS


@pytest.mark.parametrize("name", SMOOTH)
def test_residuals_are_the_gradient(name):
    loss, definition = full(name)
    residuals = loss.residuals(COLUMNS[0], LABELS)
    with mp.workdps(40):
        for k in range(4):
            z = [mp.mpf(v) for v in COLUMNS[0][:, k]]
            for j in range(4):
                slope = mp.diff(lambda t, j=j, k=k, z=z: definition([*z[:j], t, *z[j + 1 :]], k), z[j])
                assert abs(residuals[j, k] - slope) <= 100 * EPS  # logits below 10, scales below 3


@pytest.mark.parametrize("name", CASES)
def test_fenchel_young_holds_with_equality_at_the_subgradient_only(name):
    loss, _ = full(name)
    for logits in COLUMNS:
        v = loss.residuals(logits, LABELS)
        touching = loss.values(logits, LABELS) + loss.conjugate(v, LABELS) - (v * logits).sum(axis=0)
        assert np.abs(touching).max() <= 400 * EPS  # sums of a dozen terms below 50
        assert loss.violation(v, LABELS) <= 4 * EPS
        for other in COLUMNS:
            there = loss.residuals(other, LABELS)
            gap = loss.values(logits, LABELS) + loss.conjugate(there, LABELS) - (there * logits).sum(axis=0)
            assert gap.min() >= -400 * EPS
            if other is not logits and name in SMOOTH:
                assert gap.max() > 1e-3  # planted fault: the gradient at another point


@pytest.mark.parametrize("name", SMOOTH)
def test_the_conjugate_is_the_supremum(name):
    """l*(v) = sup <v, z> − l(z), by BFGS on the definition in binary64."""
    loss, definition = full(name)
    residuals = 0.7 * loss.residuals(0.3 * COLUMNS[1], LABELS)
    for k in range(4):
        v = residuals[:, k]
        found = optimize.minimize(
            lambda z, v=v, k=k: float(definition([mp.mpf(t) for t in z], k)) - v @ z, np.zeros(4), tol=1e-9
        )
        # the maximum is flat: 1e-5 in the gradient costs about 1e-9
        assert loss.conjugate(residuals, LABELS)[k] == pytest.approx(-found.fun, abs=1e-7)


def test_hinge_conjugates_are_suprema_over_a_grid():
    """The supremum of a piecewise linear function is attained at a vertex of the hinges' arrangement, z ∈ {0, ±1}."""
    grid = np.array(list(np.ndindex(5, 5, 5, 5)), dtype=float).T - 2.0
    for name in ("crammer-singer", "weston-watkins"):
        loss, labels = full(name)[0], np.zeros(grid.shape[1], dtype=int)
        v = np.array([-0.8, 0.5, 0.1, 0.2])
        supremum = (v @ grid - loss.values(grid, labels)).max()
        assert loss.conjugate(v[:, None], labels[:1])[0] == pytest.approx(supremum, abs=8 * EPS)


@pytest.mark.parametrize("name", CASES)
def test_enclosed_conjugates_contain_the_float_one_and_refuse_what_lies_outside(name):
    loss, _ = full(name)
    weights = loss.closing_weights(4)
    inside = loss.into_domain(0.6 * loss.residuals(COLUMNS[2], LABELS), LABELS)
    for k in range(4):
        exact = [fmpq(*float(v).as_integer_ratio()) for v in inside[:, k]]
        if weights is not None:
            a = [fmpq(*float(w).as_integer_ratio()) for w in weights]
            exact[k] = -a[k] * sum((v / w for j, (v, w) in enumerate(zip(exact, a, strict=True)) if j != k), fmpq(0))
        with flint.ctx.workprec(128):
            low, high = mpf_ends(loss.enclose_conjugate(exact, k))
            assert abs(loss.conjugate(inside, LABELS)[k] - low) <= 200 * EPS
            assert high - low <= 1e-33
        if name == "mse":  # its domain is all of R^K
            continue
        faulty = list(exact)
        planted = 40 if name in CONES else 2  # in a cone only a negative entry is a fault
        faulty[k] += planted
        faulty[(k + 1) % 4] -= planted
        with pytest.raises(ValueError, match="outside the"):
            loss.enclose_conjugate(faulty, k)
        planted = inside.copy()
        planted[:, k] = [float(v.p) / float(v.q) for v in faulty]
        assert loss.conjugate(planted, LABELS)[k] == math.inf
        assert loss.violation(planted, LABELS) > 0.1
        repaired = loss.into_domain(planted, LABELS)
        assert loss.violation(repaired, LABELS) <= 8 * EPS


@pytest.mark.parametrize("name", CASES)
def test_the_domain_ends_at_its_limit(name):
    loss, _ = full(name)
    v = 0.5 * loss.residuals(COLUMNS[3], LABELS)
    limit = loss.limit(v, LABELS)
    assert (limit >= 1.0).all()
    assert loss.violation(v * limit, LABELS) <= 1e-9 * limit.max()
    if name != "mse" and name not in CONES:  # whose rays end
        moved = np.abs(v).max(axis=0) > 0.0  # a hinge that is satisfied has residual 0
        assert moved.any()
        assert np.isinf(loss.conjugate(v * (1.01 * limit), LABELS))[moved].all()


GROUPED = ["mse", "bce", "crammer-singer", "weston-watkins", "squared-hinge"]


@pytest.mark.parametrize("name", GROUPED)
def test_reduced_columns_are_columns_of_alike_entries(name):
    loss, whole = CASES[name][0], full(name)[0]
    assert loss.alike
    sizes, own = [1, 2, 3, 0], np.array([0])
    layout, column = loss.orbit_layout(np.array([sizes]).T * 1.0, own), loss.exact_orbit_column(sizes, 0)
    z = np.array([[0.5], [-1.0], [2.0], [9.0]])
    logits = np.repeat(z, sizes, axis=0)
    assert loss.values(z, layout) == pytest.approx(whole.values(logits, own), rel=8 * EPS)
    v = loss.residuals(z, layout)
    assert np.repeat(v[:, 0], sizes) == pytest.approx(whole.residuals(logits, own)[:, 0])
    assert v[3, 0] == 0.0
    half = 0.5 * v
    dense = np.repeat(half, sizes, axis=0)
    assert loss.conjugate(half, layout) == pytest.approx(whole.conjugate(dense, own), rel=8 * EPS)
    assert loss.violation(half, layout) == 0.0
    assert loss.limit(half, layout) == pytest.approx(whole.limit(dense, own), rel=8 * EPS)
    exact = [fmpq(*x.as_integer_ratio()) for x in half[:, 0].tolist()]
    exact[0] = -2 * exact[1] - 3 * exact[2] if loss.shift_invariant else fmpq(-1, 4)
    ball = loss.enclose_conjugate(exact, column)
    assert ball.overlaps(whole.enclose_conjugate(np.repeat(exact, sizes).tolist(), 0))
    ball = loss.enclose_value([arb(entry) for entry in z[:, 0].tolist()], column)
    assert ball.overlaps(whole.enclose_value([arb(entry) for entry in logits[:, 0].tolist()], 0))
    assert mp.mpf(ball.mid().str(30, radius=False)) == pytest.approx(
        CASES[name][1]([0.5, -1, -1, 2, 2, 2], 0), rel=1e-14
    )


@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
def test_free_hinges_are_solved_by_groups(kind):
    """Twenty classes at both levels, and a thousand that no other level could hold."""
    problem = ufm.Problem([500] * 10 + [50] * 10, 2e-3, 2e-3, features="free", loss=ufm.MulticlassHinge(kind))
    by_group = ufm.solve(problem, solver="clarabel", level="group", tolerance=1e-7)
    by_class = ufm.solve(problem, solver="clarabel", level="class", tolerance=1e-7)
    assert by_group.status is by_class.status is ufm.Status.CERTIFIED
    assert by_group.lower_bound <= by_class.upper_bound
    assert by_class.lower_bound <= by_group.upper_bound
    assert by_group.kkt().passed
    many = ufm.Problem([500] * 500 + [20] * 500, 1e-5, 1e-5, features="free", loss=ufm.MulticlassHinge(kind))
    assert ufm.solve(many).status is ufm.Status.CERTIFIED


def test_crammer_singer_merges_a_small_group():
    """A group is merged when its classes share one row of W and one feature: then no margin separates them."""
    problem = ufm.Problem([500] * 10 + [50] * 10, 2e-3, 2e-3, features="free", loss=ufm.MulticlassHinge())
    solution = ufm.solve(problem, solver="clarabel", level="group", tolerance=1e-8)
    assert solution.merged_groups == (tuple(range(10, 20)),)
    W, H = solution.factors()
    spread = max(np.ptp(W[10:] @ H[10:].T, axis=0).max(), np.ptp(W[10:] @ H[10:].T, axis=1).max())
    assert spread < 1e-3 * np.abs(W @ H.T).max()  # logits are known to the square root of the gap


@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
def test_hinge_margins_are_the_loss_on_its_ray(kind):
    loss = Full(ufm.MulticlassHinge(kind=kind))
    assert loss.margins_only
    margins = np.array([0.0, 0.25, 0.75, 1.0, 2.0])
    ray = np.outer(np.array([0.75, -0.25, -0.25, -0.25]), margins)
    labels = np.zeros(5, dtype=int)
    assert loss.margin_values(margins, 4) == pytest.approx(loss.values(ray, labels), abs=8 * EPS)
    strengths = loss.margin_strengths(margins, 4)
    assert -strengths * 0.75 == pytest.approx(loss.residuals(ray, labels)[0], abs=8 * EPS)
    residuals = np.outer(np.array([-0.75, 0.25, 0.25, 0.25]), strengths)
    assert loss.margin_conjugates(strengths, 4) == pytest.approx(loss.conjugate(residuals, labels), abs=8 * EPS)
    with pytest.raises(ValueError, match="outside"):
        loss.enclose_margin_conjugate(fmpq(5), 4)


# -- optima -------------------------------------------------------------------------------------------------------

COUNTS = [40, 20, 10, 6]


@pytest.mark.parametrize("solver", ["auto", "scs", "clarabel"])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("name", CASES)
def test_every_loss_is_certified_by_every_solver(name, features, solver):
    problem = ufm.Problem(COUNTS, lambda_w=0.01, lambda_h=0.01, features=features, loss=CASES[name][0])
    level = {} if solver == "auto" else {"level": "class"}
    # non-smooth optima lose the error of a first-order solver once, not squared
    solution = ufm.solve(problem, solver=solver, tolerance=1e-5, **level)
    assert solution.status is ufm.Status.CERTIFIED, solution.route
    if name != "mse" and not name.endswith(("singer", "watkins")):
        return
    if theory.find(problem) is not None:
        found = theory.optimum(problem)
        assert solution.lower_bound <= found.value * (1 + 4 * EPS)
        assert solution.upper_bound >= found.value * (1 - 4 * EPS)


def test_mean_squared_error_has_the_reference_value_at_every_dimension():
    """The value was computed elsewhere by the singular value decomposition of the target."""
    counts = [200, 100, 50, 50]
    problem = ufm.Problem(counts, lambda_w=5e-4, lambda_h=5e-4, loss=ufm.MeanSquaredError())
    found = theory.optimum(problem)
    assert found.value == pytest.approx(0.01894213562373095, rel=4 * EPS)
    assert found.logits == pytest.approx([0.9858578643762691, 0.98, 0.9717157287525381, 0.9717157287525381], rel=1e-15)
    assert ufm.solve(problem).value == pytest.approx(found.value, rel=1e-12)
    narrow = ufm.Problem(counts, lambda_w=5e-4, lambda_h=5e-4, loss=ufm.MeanSquaredError(), feature_dim=2)
    # the two small classes stay at zero logits, each with loss 1/2
    shrunk = (math.sqrt(200) - 0.2) ** 2 + (10 - 0.2) ** 2
    assert theory.optimum(narrow).value == pytest.approx(0.5 - shrunk / 800, rel=4 * EPS)
    assert theory.optimum(narrow).num_active == 2
    assert ufm.solve(narrow).upper_bound == pytest.approx(theory.optimum(narrow).value, rel=1e-8)


@pytest.mark.parametrize(("bias", "values"), [(None, 2), ("free", 1)])
def test_mean_squared_error_keeps_its_digits_where_nothing_is_lost(bias, values):
    """One half less a sum that rounds to one half would be 0 or negative; singular values are √50, 2 or 1 times."""
    decay = 2.0**-60
    problem = ufm.Problem([50, 50], decay, decay, loss=ufm.MeanSquaredError(), features="free", bias=bias)
    with mp.workdps(50):
        price = 100 * mp.mpf(decay)
        expected = float(values * price * (2 * mp.sqrt(50) - price) / 200)
    # a few roundings of positive numbers; singular values have a few more
    assert theory.optimum(problem).value == pytest.approx(expected, rel=8 * EPS)


@pytest.mark.parametrize(("kind", "copies"), [("crammer-singer", 1), ("weston-watkins", 2)])
def test_hinge_classes_collapse_at_their_threshold(kind, copies):
    """K = 3, N = 100: thresholds N² λ² (K−1) / (K c²)."""
    decay = math.sqrt(1.5 * 20 * copies**2) / 100  # the threshold is 20, up to rounding
    for factor, active in ((0.999, 2), (1.001, 1)):
        problem = ufm.Problem([60, 20, 20], decay * factor, decay, loss=ufm.MulticlassHinge(kind=kind))
        found = theory.optimum(problem)
        assert found.num_active == (3 if active == 2 else 1)
        price = [math.sqrt(decay**2 * factor * n * 2 / 3) for n in (60, 20, 20)]
        expected = sum(min(copies * n / 100, cost) for n, cost in zip((60, 20, 20), price, strict=True))
        assert found.value == pytest.approx(expected, rel=1e-14)
        assert ufm.solve(problem, tolerance=1e-12).value == pytest.approx(expected, rel=1e-12)


def test_binary_cross_entropy_has_the_frame_up_to_four_classes():
    N, product = 80, 2e-5
    problem = ufm.Problem([40, 20, 15, 5], math.sqrt(product), math.sqrt(product), loss=ufm.BinaryCrossEntropy())
    solution = ufm.solve(problem, solver="frame")
    assert solution.status is ufm.Status.CERTIFIED
    # z_k = a (2 e_k − 1), a = log(1/s − 1)₊, s = N √(λ_W λ_H / (K n_k)): K log(1 + e^{−a}) n/N + σ √K a
    expected = 0.0
    for n in (40, 20, 15, 5):
        a = max(0.0, math.log(1 / (N * math.sqrt(product / (4 * n))) - 1))
        expected += 4 * n / N * math.log1p(math.exp(-a)) + math.sqrt(product * n) * 2 * a
    assert solution.value == pytest.approx(expected, rel=1e-9)
    assert theory.optimum(problem).value == pytest.approx(expected, rel=1e-15)


def test_the_binary_frame_collapses_at_its_threshold_exactly():
    """K = 4, N = 64, λ_W λ_H = 2⁻⁸: 4 N² λ_W λ_H / K = 16, in binary64 without rounding."""
    counts, decay = [30, 17, 16, 1], 2.0**-4
    found = theory.optimum(ufm.Problem(counts, decay, decay, loss=ufm.BinaryCrossEntropy()))
    assert (found.threshold, found.collapsed.tolist()) == (16.0, [False, False, True, True])
    for n, scale in zip(counts, found.scales.tolist(), strict=True):
        with mp.workdps(40):
            s = min(64 * mp.mpf(decay) / mp.sqrt(4 * n), mp.mpf(1) / 2)
            assert scale == pytest.approx(float(mp.log(1 / s - 1)), rel=1e-13)


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 1000), min_size=2, max_size=4),
    level=st.floats(-6.0, 1.0),
    split=st.floats(-3.0, 3.0),
)
def test_the_binary_frame_is_what_the_relaxation_proves(counts, level, split):
    """The closed form lies in the interval that another solver proves, up to its own rounding."""
    root = math.sqrt(10.0**level * max(counts) * len(counts) / 4) / sum(counts)
    problem = ufm.Problem(counts, root * math.exp(split), root / math.exp(split), loss=ufm.BinaryCrossEntropy())
    solution, found = ufm.solve(problem, tolerance=1e-8), theory.optimum(problem)
    assert solution.status is ufm.Status.CERTIFIED
    slack = 1e-14 * found.value  # a few roundings in each of at most four terms
    assert solution.lower_bound - slack <= found.value <= solution.upper_bound + slack
    # a class next to the threshold may be called collapsed as far as the gap can tell
    assert set(solution.collapsed_classes) >= set(np.flatnonzero(found.collapsed).tolist())


def test_five_classes_leave_the_binary_frame_an_upper_bound():
    problem = ufm.Problem([20] * 5, 5e-3, 5e-3, loss=ufm.BinaryCrossEntropy())
    found = theory.bound(problem)
    assert found.relation is theory.Relation.UPPER
    assert found.value > ufm.solve(problem).upper_bound + 1e-2
    with pytest.raises(HypothesisError, match="binary frame needs: there are at most 4 classes"):
        theory.optimum(problem)


def test_binary_cross_entropy_refuses_the_frame_from_five_classes_on():
    problem = ufm.Problem([20] * 5, 5e-3, 5e-3, loss=ufm.BinaryCrossEntropy())
    (run,) = losses_frame_runs(problem)
    assert "frame refused" in run.message
    solution = ufm.solve(problem)
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.upper_bound < run.value - 1e-2


def losses_frame_runs(problem):
    from ufm_convex.solvers.frame import FrameSolver

    return list(FrameSolver().runs(problem, "auto", 1e-6, {}))


@pytest.mark.parametrize(("tau", "excess"), [(0.25, 0.0), (0.5, 3.4e-5), (1.0, 1.8e-3), (2.0, 1.1e-2)])
def test_logit_adjustment_breaks_the_frame_when_it_is_strong(tau, excess):
    counts = np.array([1000, 100, 30, 10])
    decay = math.sqrt(0.5 * 10 * 3 / 4) / counts.sum()
    loss = ufm.LogitAdjustedCrossEntropy(shift=tau * np.log(counts / counts.sum()))
    problem = ufm.Problem(counts, decay, decay, loss=loss)
    (run,) = losses_frame_runs(problem)
    solution = ufm.solve(problem)
    assert solution.status is ufm.Status.CERTIFIED
    assert ("frame refused" in run.message) == (excess > 0)
    # the figures are given to two digits
    assert run.value - solution.value == pytest.approx(excess, rel=0.05, abs=1e-9)


def test_cyclic_confusion_of_five_classes_has_a_relaxation_gap():
    targets = 0.5 * np.eye(5) + 0.25 * (np.roll(np.eye(5), 1, axis=1) + np.roll(np.eye(5), -1, axis=1))
    decay = math.sqrt(0.05 * 20 * 4 / 5) / 100
    solution = ufm.solve(ufm.Problem([20] * 5, decay, decay, loss=ufm.SoftTargetCrossEntropy(targets)))
    assert solution.status is ufm.Status.BOUNDED
    assert solution.lower_bound == pytest.approx(1.454972, abs=1e-6)
    assert solution.upper_bound == pytest.approx(1.461050, abs=1e-6)


def test_a_closed_form_names_what_fails():
    with pytest.raises(HypothesisError, match="hinge frame needs: features are nonnegative"):
        theory.optimum(ufm.Problem([3, 2], 0.1, 0.1, loss=ufm.MulticlassHinge(), features="free"))
    with pytest.raises(HypothesisError, match="loss is mean-squared-error"):
        theory.optimum(ufm.Problem([3, 2], 0.1, 0.1, loss=ufm.BinaryCrossEntropy(), features="free"))


# -- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_problems_survive_toml(name):
    problem = ufm.Problem(COUNTS, 0.01, 0.01, loss=CASES[name][0])
    assert ufm.Problem.from_toml(problem.to_toml()) == problem


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("multiclass-hinge", {"kind": "soft"}, "kind is 'soft'"),
        ("multiclass-hinge", {"kind": 1}, "kind is 1"),
        ("logit-adjusted-cross-entropy", {"scale": [1.0, 0.0]}, "scale has the entry 0.0"),
        ("logit-adjusted-cross-entropy", {"scale": [1.0, True]}, "scale has the entry True"),
        ("logit-adjusted-cross-entropy", {"shift": [math.nan]}, "shift has the entry nan"),
        ("logit-adjusted-cross-entropy", {"shift": 1.0}, "shift is 1.0"),
        ("soft-target-cross-entropy", {"targets": [[1.0, 0.0], [0.5, 0.4]]}, "row 1 of targets sums to 0.9"),
        ("soft-target-cross-entropy", {"targets": [[2.0, -1.0], [0.5, 0.5]]}, "entry 2.0 in row 0"),
        ("soft-target-cross-entropy", {"targets": [[1.0], [0.5, 0.5]]}, "2 rows of lengths"),
        ("soft-target-cross-entropy", {"targets": [[1.0]] * 2}, "one output"),
        ("soft-target-cross-entropy", {"targets": "11"}, "targets is '11'"),
        ("soft-target-cross-entropy", {"targets": []}, "targets has 0 rows"),
    ],
)
def test_faulty_parameters_are_named(name, parameters, words):
    with pytest.raises(ProblemError, match=words):
        losses.make(name, parameters)


@pytest.mark.parametrize("loss", [CASES["both"][0], CASES["soft"][0]])
def test_parameters_of_another_number_of_classes_are_refused(loss):
    with pytest.raises(ShapeError, match="has 4"):
        ufm.Problem([3, 2], 0.1, 0.1, loss=loss)


# -- proofs of points whose columns do not close ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mse", "bce", "multiplicative"])
def test_an_infeasible_own_entry_is_not_proved(name):
    """Planted fault: with own entries past their radius, a proof that ignored them would exceed the optimum."""
    problem = ufm.Problem(COUNTS, 0.01, 0.01, loss=CASES[name][0])
    solution = ufm.solve(problem)
    good = solution.evidence.dual
    assert enclosure.lower_bound(problem, good).value == solution.lower_bound
    loss = Full(problem.loss)
    own = loss.into_domain(np.diag(np.full(4, -0.9)), LABELS)
    if name == "bce":  # its largest dual value, at zero logits
        own = loss.residuals(np.zeros((4, 4)), LABELS)
    if name == "multiplicative":  # all the wrong mass on one class
        p = np.roll(np.eye(4), 1, axis=0)
        own = np.array(SCALE)[:, None] * (p - np.eye(4)) * 0.4
    planted = DualPoint(own, good.nonnegativity)
    dual_value = -(problem.loss_weights @ loss.conjugate(own, LABELS))
    assert dual_value > solution.upper_bound
    assert enclosure.lower_bound(problem, planted).value < solution.upper_bound


@pytest.mark.parametrize("name", GROUPED)
def test_alike_classes_are_proved_together(name):
    problem = ufm.Problem(np.repeat([40, 6], [4, 6]), 0.004, 0.004, loss=CASES[name][0])
    by_group = ufm.solve(problem, solver="clarabel", level="group", tolerance=1e-5)
    by_class = ufm.solve(problem, solver="clarabel", level="class", tolerance=1e-5)
    # the group level averages; both enclose the same optimum of the relaxation from below
    assert by_group.lower_bound == pytest.approx(by_class.lower_bound, rel=1e-5)
    assert by_group.lower_bound <= by_class.upper_bound
    assert by_group.evidence.lower.proof == "group"


def test_class_dependent_temperature_can_break_the_frame():
    """Four classes, a = (n/n_1)^0.3: the optimum lies below the frame's value, by W and H that are evaluated here."""
    counts = np.array([1000, 100, 30, 10])
    decay = math.sqrt(0.375 * 10) / counts.sum()
    scale = (counts / 1000) ** 0.3
    problem = ufm.Problem(counts, decay, decay, loss=ufm.LogitAdjustedCrossEntropy(scale=scale))
    (run,) = losses_frame_runs(problem)
    assert "frame refused" in run.message
    solution = ufm.solve(problem)
    W, H = solution.factors()
    x = scale[:, None] * (W @ H.T)
    terms = np.log(np.exp(x).sum(axis=0)) - np.diag(x)
    penalty = 0.5 * decay * ((W**2).sum() + (counts * (H**2).sum(axis=1)).sum())
    assert (H >= 0).all()
    assert counts @ terms / counts.sum() + penalty < run.value - 1e-6


# -- command line -------------------------------------------------------------------------------------------------


def run_command(*arguments):
    return CliRunner().invoke(application(), ["solve", *arguments], env={"COLUMNS": "100"})


def test_parameters_of_a_loss_are_given_on_the_command_line():
    """Weston–Watkins, K = 2: both classes active, value λ (√(3/2) + √(1/2)) = 0.01931852."""
    decays = ["--class-counts", "3,1", "--lambda-w", "0.01", "--lambda-h", "0.01"]
    base = [*decays, "--loss", "multiclass-hinge"]
    result = run_command(*base, "--loss-parameter", "kind=weston-watkins")
    assert result.exit_code == 0
    assert "0.0193185" in result.stdout
    for faulty, words in (
        ("kind=soft", "kind is 'soft'"),
        ("kind", "--loss-parameter is 'kind'"),
        ("name=x", "'name=x'"),
    ):
        result = run_command(*base, "--loss-parameter", faulty)
        assert result.exit_code not in (0, 1)
        assert words in result.stderr


def test_a_missing_parameter_is_named():
    with pytest.raises(ProblemError, match="lacks the parameter 'targets'"):
        losses.make("soft-target-cross-entropy")


def test_a_loss_that_no_certificate_carries_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    from ufm_convex.cli import main
    from ufm_convex.verifier.losses import LOSSES

    monkeypatch.delitem(LOSSES, "multiclass-hinge")
    target = tmp_path / "c.json"
    problem = ["--class-counts", "5,3,2", "--lambda-w", "0.1", "--lambda-h", "0.02", "--loss", "multiclass-hinge"]
    with pytest.raises(SystemExit) as end:
        main(["solve", *problem, "-o", str(target)])
    assert end.value.code == 2
    assert capsys.readouterr().out == ""
    assert not target.exists()


@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
def test_the_strength_at_zero_lies_in_the_domain_exactly(kind):
    """K/(K−1) rounded to nearest lies outside for every other K, and then the frame's dual point proved nothing."""
    loss = losses.MulticlassHinge(kind)
    for K in range(2, 300):
        strength = float(loss.margin_strengths(np.zeros(1), K)[0])
        loss.enclose_margin_conjugate(fmpq(*strength.as_integer_ratio()), K)
        above = strength * (1.0 + 2.0**-50)
        with pytest.raises(ValueError, match="outside"):
            loss.enclose_margin_conjugate(fmpq(*above.as_integer_ratio()), K)


def test_collapsed_classes_do_not_cost_the_hinge_its_proof():
    problem = ufm.Problem(exponential(100, 500, 100), 5e-4, 1e-3, loss=losses.MulticlassHinge())
    solution = ufm.solve(problem, tolerance=1e-12)
    assert (solution.solver, solution.status, len(solution.route)) == ("frame", "certified", 1)
    assert len(solution.collapsed_classes) == 54

"""Entries and layouts: what stands for several outputs, for none, for a target of its own; and what losses state."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from pathlib import Path

import flint
import mpmath as mp
import numpy as np
import pytest
from flint import arb, fmpq
from full_columns import Full
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from test_more_losses import mpf_ends

import ufm_convex as ufm
from ufm_convex import solvers
from ufm_convex.errors import HypothesisError, ProblemError, ShapeError
from ufm_convex.losses import ExactColumn, Layout, traits
from ufm_convex.losses.label_margin_cross_entropy import LabelMarginCrossEntropy
from ufm_convex.losses.softmax import SoftmaxLoss
from ufm_convex.losses.squared_hinge import SquaredHinge

EPS = np.finfo(float).eps
ALIKE = {
    "plain": ufm.CrossEntropy(),
    "smoothed": ufm.CrossEntropy(smoothing=0.3),
    "mse": ufm.MeanSquaredError(),
    "bce": ufm.BinaryCrossEntropy(),
    "crammer-singer": ufm.MulticlassHinge(),
    "weston-watkins": ufm.MulticlassHinge("weston-watkins"),
    "squared-hinge": SquaredHinge(),
    "hard-margin": ufm.HardMargin(margins=1.5).loss,
}
FUNCTIONS = ["values", "residuals", "conjugate", "into_domain", "violation", "limit", "ray_maximum"]


@st.composite
def orbits(draw):
    """Numbers of three orbits of others, some empty, and the own entry anywhere among them."""
    numbers = draw(st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any))
    own = draw(st.integers(0, 3))
    return [*numbers[:own], 1, *numbers[own:]], own, draw(st.integers(0, 10**6))


@pytest.mark.parametrize("name", ALIKE)
@given(case=orbits())
def test_entries_stand_for_the_outputs_that_they_repeat(name, case):
    """Every function on entries is the one on full columns; what stands for nothing may be NaN, and comes out as 0."""
    numbers, own, seed = case
    loss, rng = ALIKE[name], np.random.default_rng(seed)
    layout = loss.orbit_layout(np.array([numbers]).T * 1.0, np.array([own]))
    of_full, label = np.repeat(np.arange(4), numbers), [sum(numbers[:own])]
    z, v = rng.normal(size=(2, 4, 1)) * 2.0
    z[np.array(numbers) == 0], v[np.array(numbers) == 0] = math.nan, math.nan
    full = Full(loss)
    inside = loss.into_domain(0.3 * v, layout)
    for function in FUNCTIONS:
        point = z if function in ("values", "residuals") else v if function in ("into_domain", "violation") else inside
        with np.errstate(invalid="ignore"):
            found = np.asarray(getattr(loss, function)(point, layout))
        expected = np.asarray(getattr(full, function)(point[of_full], label))
        if found.ndim == 2:
            assert not found[np.array(numbers) == 0].any()
            found = found[of_full]
        # a ray's peak is flat: golden section finds it to about the root of the rounding error
        tolerance = 1e-6 if function == "ray_maximum" else 1e-13
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_the_own_entry_has_the_largest_target_among_those_that_are_there():
    target = np.array([[0.9, 0.4, 0.1], [0.1, 0.4, 0.3], [0.0, 0.2, 0.6]])
    layout = Layout(np.array([[0.0, 1.0, 1.0], [2.0, 1.0, 2.0], [1.0, 1.0, 0.0]]), target, np.arange(3))
    assert layout.own.tolist() == [1, 0, 1]  # absent; the first of two; absent
    assert layout.own_numbers.tolist() == [2.0, 1.0, 2.0]
    assert layout.num_outputs.tolist() == [3.0, 3.0, 3.0]
    assert layout[[2, 0]].own.tolist() == [1, 1]
    assert layout[[2, 0]].rows.tolist() == [2, 0]
    assert Layout.single(target, np.arange(3))[np.array([True, False, True])].target.shape == (3, 2)


def test_a_layout_of_one_column_serves_many():
    loss, margins = ufm.CrossEntropy(smoothing=0.1), np.array([0.5, 2.0, 9.0])
    z = np.stack([margins, 0.0 * margins])
    one = loss.frame_layout(5)
    three = loss.orbit_layout(np.repeat([[1.0], [4.0]], 3, axis=1), np.zeros(3, dtype=int))
    assert loss.values(z, one).tolist() == loss.values(z, three).tolist()
    assert loss.residuals(z, one).tolist() == loss.residuals(z, three).tolist()


# -- any target ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Anything(SoftmaxLoss):
    """Cross-entropy against whatever the layout says."""

    def validate(self, num_classes):
        """Nothing to check."""

    def parameters(self):
        return {}


def contrastive(positives, negatives):
    """The anchor of a class of ``positives`` + 1 samples: uniform on them, and ``negatives`` samples elsewhere."""
    numbers, target = np.array([[float(positives)], [float(negatives)]]), np.array([[1.0 / positives], [0.0]])
    exact = ExactColumn([positives, negatives], [fmpq(1, positives), fmpq(0)], 0, 0)
    return Layout(numbers, target, np.zeros(1, dtype=int)), exact


@pytest.mark.parametrize("positives", [1, 2, 7])
@pytest.mark.parametrize("lead", [-3.0, 0.5, 80.0])
def test_a_target_that_several_outputs_share_is_the_same_loss(positives, lead):
    """Supervised contrastive learning: log Σ_l exp z_l − mean of the positives, in mpmath; own entries count ``n``."""
    (layout, column), loss = contrastive(positives, 4), Anything()
    with mp.workdps(120), flint.ctx.workprec(128):
        exact = mp.log(positives * mp.exp(mp.mpf(lead)) + 4) - mp.mpf(lead)
        value = loss.values(np.array([[lead], [0.0]]), layout)[0]
        assert abs(value - exact) <= 8 * EPS * exact
        low, high = mpf_ends(loss.enclose_value([arb(lead), arb(0)], column))
        assert low <= exact <= high
        assert high - low <= 1e-35 * (1 + abs(lead))
        share = mp.exp(mp.mpf(lead)) / (positives * mp.exp(mp.mpf(lead)) + 4)
        v = loss.residuals(np.array([[lead], [0.0]]), layout)
        assert v[0, 0] == pytest.approx(float(share - mp.mpf(1) / positives), rel=1e-12, abs=1e-17)
        assert positives * v[0, 0] + 4 * v[1, 0] == pytest.approx(0.0, abs=4 * EPS)
        p = [share, mp.mpf(float(v[1, 0]))]
        assert loss.conjugate(v, layout)[0] == pytest.approx(
            float(positives * p[0] * mp.log(p[0]) + 4 * p[1] * mp.log(p[1])), rel=1e-9, abs=1e-13
        )
    assert loss.fenchel_young(v, np.array([[lead], [0.0]]), layout)[0] <= 1e-15
    assert loss.fenchel_young(0.5 * v, np.array([[lead], [0.0]]), layout)[0] > 0.0
    dyadic = fmpq(*float(v[1, 0]).as_integer_ratio())
    assert loss.enclose_conjugate([-4 * dyadic / positives, dyadic], column) < 0
    with pytest.raises(ValueError, match="simplex"):
        loss.enclose_conjugate([-4 * dyadic / positives + fmpq(1, 2**300), dyadic], column)


@pytest.mark.parametrize("kind", [ufm.MeanSquaredError, ufm.BinaryCrossEntropy])
def test_sums_over_outputs_take_any_target(kind):
    """½ (z − y)² and log(1 + e^z) − y z: value, gradient, conjugate and enclosures at soft targets."""
    rng, loss = np.random.default_rng(5), kind()
    y, z = rng.random((4, 3)), rng.normal(scale=3.0, size=(4, 3))
    layout = Layout.single(y, np.arange(3))
    if kind is ufm.MeanSquaredError:
        values, slopes = 0.5 * (z - y) ** 2, z - y
    else:
        values, slopes = np.logaddexp(0.0, z) - y * z, 1.0 / (1.0 + np.exp(-z)) - y
    np.testing.assert_allclose(loss.values(z, layout), values.sum(axis=0), rtol=1e-13)
    v = loss.residuals(z, layout)
    np.testing.assert_allclose(v, slopes, atol=1e-14)
    gaps = loss.values(z, layout) + loss.conjugate(v, layout) - (v * z).sum(axis=0)
    np.testing.assert_allclose(gaps, 0.0, atol=1e-13)
    for c in range(3):
        column = ExactColumn([1] * 4, [fmpq(*x.as_integer_ratio()) for x in y[:, c].tolist()], c, 0)
        ball = loss.enclose_value([arb(x) for x in z[:, c].tolist()], column)
        assert abs(float(ball.mid()) - values[:, c].sum()) <= 1e-13
        exact = [fmpq(*x.as_integer_ratio()) for x in v[:, c].tolist()]
        assert float(loss.enclose_conjugate(exact, column).mid()) == pytest.approx(
            loss.conjugate(v, layout)[c], abs=1e-13
        )
    if kind is ufm.BinaryCrossEntropy:  # planted fault: v + y leaves [0, 1]
        assert loss.conjugate(v + 1.0, layout).tolist() == [math.inf] * 3


# -- what losses state, and what follows --------------------------------------------------------------------------

STATED = {
    "cross-entropy": ({"alike", "margins_only", "finite", "differentiable"}, ufm.CrossEntropy()),
    "soft targets": (
        {"finite", "differentiable", "tabled_softmax"},
        ufm.SoftTargetCrossEntropy([[1.0, 0.0], [0.0, 1.0]]),
    ),
    "adjusted": ({"finite", "differentiable"}, ufm.LogitAdjustedCrossEntropy(shift=(0.0, 1.0))),
    "label margins": ({"finite", "differentiable"}, LabelMarginCrossEntropy((0.1, 0.2))),
    "mse": ({"alike", "finite", "differentiable"}, ufm.MeanSquaredError()),
    "bce": ({"alike", "finite", "differentiable"}, ufm.BinaryCrossEntropy()),
    "hinge": ({"alike", "margins_only", "finite"}, ufm.MulticlassHinge()),
    "squared hinge": ({"alike", "margins_only", "finite", "differentiable"}, SquaredHinge()),
    "one margin": ({"alike", "margins_only"}, ufm.HardMargin().loss),
    "margins of classes": (set(), ufm.HardMargin(margins=[1.0, 2.0]).loss),
}
TRAITS = ("alike", "margins_only", "finite", "differentiable", "tabled_softmax")


@pytest.mark.parametrize("name", STATED)
def test_a_loss_that_lacks_a_trait_is_refused_in_its_words(name):
    expected, loss = STATED[name]
    assert {trait for trait in TRAITS if getattr(loss, trait)} == expected
    assert (loss.indicator is None) is ("finite" in expected)
    for trait in TRAITS:
        if trait in expected:
            assert traits.lacks(loss, (trait,)) is None
            traits.require(loss, (trait,), fix="no fix is needed.")
        else:
            with pytest.raises(HypothesisError, match=f"'{loss.name}' (?s:.*)Fix: do otherwise"):
                traits.require(loss, (trait,), fix="do otherwise.")


def test_what_solvers_need_are_traits():
    needed = {name: kind.needs for name, kind in solvers.available().items()}
    assert needed["factored"] == ("finite",)
    assert all(trait in TRAITS for needs in needed.values() for trait in needs)
    free = ufm.Problem([5, 3], 0.1, 0.1, features="free", constraint=ufm.HardMargin())
    assert solvers.solver("factored").lacks(free) == "loss 'hard-margin' is 0 or infinite, and nothing descends on it"
    assert solvers.solver("clarabel").lacks(free) is None
    assert all(not line.startswith("factored") for line in ufm.solve(free, tolerance=1e-5).route)


PACKAGE = Path(ufm.__file__).parent


def class_questions(source: str) -> list[int]:
    """Lines with ``isinstance(….loss, …)`` or ``isinstance(loss, …)``; whether it is a ``Loss`` at all may be asked."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    asked = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "isinstance"]
    named = [(node.lineno, *map(ast.unparse, node.args)) for node in asked]
    return [line for line, given, kind in named if given.split(".")[-1] == "loss" and kind != "Loss"]


def test_no_one_asks_a_loss_for_its_class():
    assert class_questions("if isinstance(problem.loss, CrossEntropy):\n    pass") == [1]  # planted
    apart = {"losses", "verifier", "crosscheck"}
    files = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in apart]
    assert len(files) > 100
    assert {path.name: found for path in files if (found := class_questions(path.read_text("utf-8")))} == {}


# -- two losses of one file each ----------------------------------------------------------------------------------

COUNTS = np.array([60, 25, 9, 2])


def by_margins(values):
    """Σ_k min over M ≥ 0 of pt_k ψ_k(M) + σ_k √((K−1)/K) M on an orthogonal frame, by SciPy."""
    K, N, decay = COUNTS.size, COUNTS.sum(), 0.004
    total = 0.0
    for k, count in enumerate(COUNTS):
        price = decay * math.sqrt(count * (K - 1) / K)
        found = minimize_scalar(
            lambda M, k=k, count=count, price=price: count / N * values(k, M) + price * M,
            bounds=(0.0, 60.0),
            method="bounded",
            options={"xatol": 1e-11},
        )
        total += min(found.fun, count / N * values(k, 0.0))
    return total


def test_the_squared_hinge_is_solved_on_its_frame():
    expected = by_margins(lambda k, M: 1.5 * max(0.0, 1.0 - M) ** 2)
    solution = ufm.solve(ufm.Problem(COUNTS, 0.004, 0.004, loss=SquaredHinge()), tolerance=1e-12)
    assert solution.status is ufm.Status.CERTIFIED
    assert solution.value == pytest.approx(expected, rel=1e-12)
    K, N = 4, COUNTS.sum()  # pt (K−1) (1 − M) = σ √((K−1)/K)
    margins = 1.0 - 0.004 * np.sqrt(COUNTS * (K - 1) / K) * N / (COUNTS * (K - 1))
    np.testing.assert_allclose(solution.margins, np.maximum(margins, 0.0), atol=1e-12)


def test_label_margins_are_solved_where_the_frame_is_optimal():
    """All residuals stay on rays −q (e_k − 1/K), so that the frame is optimal by the sign test."""
    deltas = 0.5 * (COUNTS / COUNTS.min()) ** -0.25
    expected = by_margins(lambda k, M: math.log1p(3.0 * math.exp(deltas[k] - M)))
    loss = LabelMarginCrossEntropy(deltas)
    problem = ufm.Problem(COUNTS, 0.004, 0.004, loss=loss)
    for solution in (ufm.solve(problem, tolerance=1e-10), ufm.solve(problem, solver="clarabel", tolerance=1e-6)):
        assert solution.status is ufm.Status.CERTIFIED
        assert solution.lower_bound * (1 - 1e-12) <= expected <= solution.upper_bound * (1 + 1e-12)
    nothing = ufm.Problem(COUNTS, 0.004, 0.004, loss=LabelMarginCrossEntropy([0.0] * 4))
    plain = ufm.theory.optimum(ufm.Problem(COUNTS, 0.004, 0.004)).value
    assert ufm.solve(nothing, tolerance=1e-10).value == pytest.approx(plain, rel=1e-10)


@pytest.mark.parametrize(
    ("given", "words"),
    [("1", "margins is '1'"), ([], r"margins is \[\]"), ([1.0, math.nan], "entry nan"), ([True, 1.0], "entry True")],
)
def test_margins_that_are_no_numbers_are_refused(given, words):
    with pytest.raises(ProblemError, match=words):
        LabelMarginCrossEntropy(given)
    with pytest.raises(ShapeError, match="2 entries"):
        ufm.Problem([3, 2, 1], 0.1, 0.1, loss=LabelMarginCrossEntropy((0.1, 0.2)))

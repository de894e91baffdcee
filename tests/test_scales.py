"""Accuracy relative to the data's scale: kinks, hard margins, tiny decays, and what is reported together.

Where the relaxation is exact (features free, or K ≤ 4), bounds that stay apart are a fault of the numerics. Campaigns
draw from ``numpy.random.default_rng(seed)``; the seeds stand beside them, the long ones are slow.
"""

import math

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.evidence.base import nearer, relative_gap
from ufm_convex.losses import CrossEntropy, MulticlassHinge, make
from ufm_convex.problem.constraints import HardMargin
from ufm_convex.recovery import descend, multipliers, starts
from ufm_convex.relaxation import Alike, Factors, Orbits, Units, objective, of_classes, of_groups

TOLERANCE = 1e-6
TABLE = [[0, 7, 0.2], [0.5, 0, 0.2], [0.7, 4, 0]]


def margin_tables(seed, number):
    """K ≤ 4, entries in [0.3, 2.5], counts 1..2000, decays log-uniform in [1e-7, 1]."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        K = int(rng.integers(2, 5))
        table = rng.uniform(0.3, 2.5, (K, K))
        np.fill_diagonal(table, 0.0)
        counts, decays = rng.integers(1, 2001, K), 10.0 ** rng.uniform(-7, 0, 2)
        yield ufm.Problem(counts.tolist(), *decays.tolist(), constraint=HardMargin(table.tolist()))


def hinges_with_bias(seed, number):
    """Both kinds, K ≤ 4, counts 1..5000, decays log-uniform in [1e-4, 1e-2], the bias free or with decay 0.03."""
    rng = np.random.default_rng(seed)
    for i in range(number):
        K = int(rng.integers(2, 5))
        counts, decays = rng.integers(1, 5001, K), 10.0 ** rng.uniform(-4, -2, 2)
        kind = ("crammer-singer", "weston-watkins")[i % 2]
        bias = ("free", 0.03)[i // 2 % 2]
        yield ufm.Problem(counts.tolist(), *decays.tolist(), loss=MulticlassHinge(kind), bias=bias)


def smoothed_with_tiny_decays(seed, number):
    """Free features, weights in [0.2, 5], smoothing in [0.01, 0.2], K ≤ 6, decays about 1e-11 and 1e-9."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        K = int(rng.integers(3, 7))
        counts, weights = rng.integers(1, 400, K).tolist(), rng.uniform(0.2, 5, K).tolist()
        loss = CrossEntropy(class_weights=weights, smoothing=float(rng.uniform(0.01, 0.2)))
        moves = rng.uniform(-0.5, 0.5, 2)
        yield ufm.Problem(counts, 10.0 ** (moves[0] - 11), 10.0 ** (moves[1] - 9), loss=loss, features="free")


def bounds(problem, solver="auto", **options):
    """Proved lower and upper bound of a solution."""
    found = ufm.solve(problem, solver=solver, tolerance=TOLERANCE, options=options or None)
    return found.lower_bound, found.upper_bound


def gaps(problems, **options):
    return [relative_gap(*bounds(problem, **options)) for problem in problems]


# -- campaigns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [margin_tables, hinges_with_bias])
def test_a_few_close(family):
    found = gaps(family(11, 8))
    assert max(found) <= TOLERANCE, found


CAMPAIGNS = [(margin_tables, 131), (margin_tables, 132), (hinges_with_bias, 133), (hinges_with_bias, 134)]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "seed"), CAMPAIGNS)
def test_a_hundred_close(family, seed):
    found = gaps(family(seed, 100))
    assert max(found) <= TOLERANCE, np.flatnonzero(np.array(found) > TOLERANCE)


@pytest.mark.parametrize("t", [1e3, 1.0, 1e-2, 1e-6, 1e-9])
def test_a_hard_margin_is_as_good_at_every_scale(t):
    """The model is homogeneous in √(λ_W λ_H): bounds over t are those at t = 1."""
    lower, upper = bounds(ufm.Problem([12, 8, 1], t, t, constraint=HardMargin(TABLE)))
    assert 0.0 <= relative_gap(lower, upper) <= TOLERANCE
    assert upper / t == pytest.approx(20.065195165, rel=1e-9)  # Clarabel at tolerance 1e-11 and descents agree to 1e-10


def test_a_hinge_with_a_free_bias_closes():
    decays = 0.0007653064997189334, 0.0013468310744748496
    problem = ufm.Problem([2, 20, 10, 4], *decays, loss=MulticlassHinge("weston-watkins"), bias="free")
    assert max(gaps([problem])) <= TOLERANCE


# -- the method of multipliers ------------------------------------------------------------------------------------

KINKED = {
    "crammer-singer": MulticlassHinge(),
    "weston-watkins": MulticlassHinge("weston-watkins"),
    "uniform": HardMargin(0.7).loss,
    "classes": HardMargin((0.5, 1.0, 2.0, 0.7), scale=(1.0, 2.0, 0.5, 1.5)).loss,
}


def cases(loss, rng, many=40):
    labels = rng.integers(0, 4, many)
    layout = loss.layout(4, labels)
    return layout, loss.into_domain(0.4 * rng.normal(size=(4, many)), layout), 2.0 * rng.normal(size=(4, many))


@pytest.mark.parametrize("name", KINKED)
def test_a_softened_loss_is_the_best_of_the_multipliers(name):
    """Its gradient is its derivative and lies in the domain; no loss is smaller; one that is a subgradient is met."""
    loss, rng = KINKED[name], np.random.default_rng(0)
    layout, v, z = cases(loss, rng)
    rho = rng.uniform(0.1, 10.0, z.shape[1])
    values, slopes = loss.softened(z, v, rho, layout)
    assert loss.violation(slopes, layout) <= 1e-13
    assert (values <= loss.values(z, layout) + 1e-13).all()
    step = 1e-6
    for j in range(4):
        moved = [loss.softened(z + sign * step * np.eye(4)[:, [j]], v, rho, layout)[0] for sign in (1, -1)]
        # a second derivative of at most 10 · 4 at either side of a kink of the gradient
        np.testing.assert_allclose((moved[0] - moved[1]) / (2 * step), slopes[j], atol=1e-4)
    # where v already is a subgradient the softened loss touches: <v, z> − l*(v)
    again = loss.softened(z, slopes, rho, layout)
    lower = (slopes * z).sum(axis=0) - loss.conjugate(slopes, layout)
    assert (again[0] >= lower - 1e-12).all()


@pytest.mark.parametrize("name", KINKED)
def test_multipliers_that_are_subgradients_stay(name):
    """At a kink, any subgradient is its own next multiplier, and the softened loss is the loss."""
    loss, required = KINKED[name], 1.0
    layout = loss.layout(4, np.array([1]))
    scale = np.ones(4) if name != "classes" else np.array(loss.scale)
    if name in ("uniform", "classes"):
        required = 0.7 if name == "uniform" else 1.0
    z = np.array([[0.0], [required / scale[1]], [0.0], [-3.0]])  # tight against 0 and 2
    v = scale[:, None] * np.array([[0.3], [-0.7], [0.4], [0.0]])
    values, slopes = loss.softened(z, v, np.array([3.0]), layout)
    np.testing.assert_allclose(slopes, v, atol=1e-15)
    np.testing.assert_allclose(values, 0.0, atol=1e-15)
    off = v + scale[:, None] * np.array([[0.1], [-0.2], [0.0], [0.1]])  # a multiplier where nothing is tight
    assert loss.softened(z, off, np.array([3.0]), layout)[0] < -1e-3


def test_a_loss_with_a_gradient_is_its_own_softened_one():
    loss, rng = make("squared-hinge", {}), np.random.default_rng(1)
    layout, v, z = cases(loss, rng)
    values, slopes = loss.softened(z, v, np.ones(40), layout)
    np.testing.assert_array_equal(values, loss.values(z, layout))
    np.testing.assert_array_equal(slopes, loss.residuals(z, layout))


@pytest.mark.parametrize("level", [of_classes, of_groups])
@pytest.mark.parametrize("bias", [None, "free", 0.03])
@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
def test_a_descent_does_not_stall_on_kinks(kind, bias, level):
    """From rough factors: at the optimum of the convex programme, not at its square root, whatever the level."""
    problem = ufm.Problem([30, 30, 8], 2e-3, 1e-3, loss=MulticlassHinge(kind), bias=bias)
    lower, upper = bounds(problem)
    columns = level(problem)
    d = starts.coordinates(columns.columns)
    rough = Alike.diagonal(columns.columns, np.ones(columns.columns.size))
    given = Factors(
        Alike(columns.outputs, d, rough.even, rough.extra), Alike(columns.columns, d, rough.even, rough.extra)
    )
    found, steps = descend(columns, given, 2000)
    assert steps > 0
    assert relative_gap(lower, objective(columns, found)) <= 1e-7
    assert relative_gap(lower, objective(columns, given)) > 1e-3  # and the check can fail
    assert upper >= lower


def test_rounds_end_where_promise_and_price_meet(monkeypatch):
    problem = next(iter(margin_tables(3, 1)))
    columns = of_classes(problem)
    d = starts.coordinates(columns.columns)
    W = Alike.matrix(columns.outputs, d, np.eye(len(problem.class_counts)))
    H = Alike.matrix(columns.columns, d, np.eye(len(problem.class_counts)))
    good = objective(columns, descend(columns, Factors(W, H), 1000)[0])
    assert relative_gap(bounds(problem)[0], good) <= 1e-7
    monkeypatch.setattr(multipliers, "_ROUNDS", 1)  # the penalty alone, of the first round
    assert objective(columns, descend(columns, Factors(W, H), 1000)[0]) > (1.0 + 1e-5) * good


# -- factorisations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [1e-12, 1.0, 1e12])
def test_factorisations_do_not_depend_on_the_unit(t):
    rng, sort = np.random.default_rng(4), Orbits.single(4)
    H = np.abs(rng.normal(size=(4, 4))) * np.array([[1.0], [3.0], [0.2], [5.0]])
    B = Alike.matrix(sort, sort, H @ H.T)
    plain = [one.full() for one in starts.nonnegative(B)]
    scaled = [one.full() for one in starts.nonnegative((t * t) * B)]
    assert len(plain) == len(scaled) == 4
    for first, second in zip(plain, scaled, strict=True):
        # descents in cosines: rounding alone is different, and is carried through a few hundred steps
        np.testing.assert_allclose(second / t, first, atol=1e-5)
    for one in scaled[1:]:
        rest = (one @ one.T / t**2 - B.full()) / np.sqrt(np.outer(np.diag(B.full()), np.diag(B.full())))
        assert np.abs(rest).max() <= 1e-6
    wrong = scaled[0]  # the frame is no factorisation of it
    assert np.abs(wrong @ wrong.T / t**2 - B.full()).max() > 0.1


@pytest.mark.parametrize(("cosine", "number"), [(0.9e-2, 1), (1.1e-2, 4)])
def test_only_cosines_above_the_noise_are_factored(cosine, number):
    sort, lengths = Orbits.single(2), np.array([1.0, 0.3])
    B = Alike.matrix(sort, sort, np.outer(lengths, lengths) * np.array([[1.0, cosine], [cosine, 1.0]]))
    assert len(list(starts.nonnegative(B))) == number
    assert len(list(starts.nonnegative(0.0 * B))) == 1


# -- the unit of the programme ------------------------------------------------------------------------------------


def test_a_first_order_solver_is_not_lost_at_tiny_decays():
    """From the first rough run on: in units of the decays alone some of these never ended."""
    settings = {"eps_abs": 1e-4, "eps_rel": 1e-4, "max_iters": 20_000}
    assert max(gaps(smoothed_with_tiny_decays(1, 6), solver="scs", **settings)) <= TOLERANCE


def test_the_unit_lies_between_the_decays_and_the_floor():
    def unit(smoothing, decay):
        return Units.of(of_classes(ufm.Problem([4, 4], decay, decay, loss=CrossEntropy(smoothing=smoothing)))).kappa

    entropy = -(0.95 * math.log(0.95) + 0.05 * math.log(0.05))
    assert unit(0.0, 1e-6) == pytest.approx(2e-6, rel=1e-12)  # √(λ_W λ_H n): there is no floor
    assert unit(0.1, 1e-6) == pytest.approx(math.sqrt(2e-6 * entropy), rel=1e-12)
    assert unit(0.1, 1.0) == pytest.approx(2.0, rel=1e-12)  # the floor is below


# -- what is reported together ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-6, 1e-10, 1e-14, 1e-15])
def test_asking_for_more_returns_no_less(tolerance):
    decay = 0.0010570878384767105
    problem = ufm.Problem(np.repeat([5000, 4000, 3000], [3, 3, 4]), decay, decay, bias=0.02, features="free")
    found = ufm.solve(problem, tolerance=tolerance)
    assert found.relative_gap <= 1e-11
    assert found.kkt().passed
    W, H = found.factors()
    # one pair: logits of order 10, formed once as products and once as they are reported
    np.testing.assert_allclose(W @ H.T, found.evidence.dense_point().logits, atol=1e-12)
    assert found.value == pytest.approx(found.upper_bound, rel=1e-14)


@pytest.mark.parametrize(
    ("estimate", "expected"), [(1.0, False), (0.9, True), (1.2, True), (None, True), (math.inf, True)]
)
def test_the_point_nearer_to_the_lower_bound_is_reported(estimate, expected):
    assert nearer(1.0, 1.05, estimate) is expected


def test_an_estimate_that_is_not_finite_does_not_count():
    assert nearer(1.0, 1.05, math.inf, 1.01) is False
    assert nearer(1.0, 1.05, None, 1.10) is True


def test_the_solver_s_own_point_is_reported_where_the_relaxation_has_no_factors():
    """Four classes in one dimension: factors are an upper bound and nothing more."""
    problem = ufm.Problem([9, 8, 7, 6], 5e-3, 5e-3, features="free", feature_dim=1)
    found = ufm.solve(problem, solver="clarabel")
    assert found.status == "bounded"
    assert found.value < 0.99 * found.upper_bound
    assert found.value == pytest.approx(found.lower_bound, rel=1e-6)

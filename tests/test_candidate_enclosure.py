"""The enclosure of a candidate's objective contains the exact value, is narrow, and would not pass if it were wrong.

The exact value is computed sample by sample in ball arithmetic of 200 bits or more, from the definition of the
objective and without any function of the package.
"""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import flint
import numpy as np
import pytest
from flint import arb, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

import ufm_convex as ufm
from ufm_convex.candidate import Candidate
from ufm_convex.enclosure import candidate as module
from ufm_convex.enclosure import upper_bound
from ufm_convex.enclosure.candidate import CandidateEnclosure, enclose_objective
from ufm_convex.errors import CandidateError, CountsError, ShapeError, UnknownNameError

BITS = 400  # logits may be 1e24 times larger than the loss they leave after cancellation


# -- the exact value ----------------------------------------------------------------------------------------------


def exact_parts(problem, candidate):
    """Balls around mean loss, weight penalty and feature penalty, straight from the definition."""
    W = [[arb(x) for x in row] for row in candidate.weights.tolist()]
    weights = [1.0] * problem.num_classes if problem.loss.class_weights is None else problem.loss.class_weights
    loss, squares = arb(0), arb(0)
    for row, y in zip(candidate.features.tolist(), candidate.labels.tolist(), strict=True):
        h = [arb(x) for x in row]
        times = 1 if candidate.level == "sample" else int(candidate.class_counts[y])
        z = [sum((a * b for a, b in zip(w, h, strict=True)), arb(0)) for w in W]
        # log1p keeps the digits of a loss of e^-700; the sum runs over the other classes only
        hard = sum(((z[j] - z[y]).exp() for j in range(len(z)) if j != y), arb(0)).log1p()
        smooth = arb(problem.loss.smoothing) * (z[y] - sum(z, arb(0)) / len(z))
        loss += times * arb(weights[y]) * (hard + smooth)
        squares += times * sum((x * x for x in h), arb(0))
    square_w = sum((x * x for row in W for x in row), arb(0))
    N = problem.num_samples
    return loss / N, arb(problem.lambda_w) / 2 * square_w, arb(problem.lambda_h) / 2 * squares


def contains(interval, ball):
    """Whether the whole ball lies in the interval; an exact comparison, without tolerance."""
    return bool(arb(interval[0]) <= ball) and bool(ball <= arb(interval[1]))


def check(problem, candidate, **options):
    """The enclosure, once it has been shown to contain the exact value and each of its parts."""
    enclosure = enclose_objective(problem, candidate, **options)
    with flint.ctx.workprec(BITS):
        parts = exact_parts(problem, candidate)
        assert contains((enclosure.lower, enclosure.upper), sum(parts, arb(0)))
        assert contains(enclosure.loss, parts[0])
        assert contains(enclosure.weight_penalty, parts[1])
        assert contains(enclosure.feature_penalty, parts[2])
    return enclosure


def holds(problem, candidate):
    """Whether the enclosure contains the exact value."""
    enclosure = enclose_objective(problem, candidate)
    with flint.ctx.workprec(BITS):
        return contains((enclosure.lower, enclosure.upper), sum(exact_parts(problem, candidate), arb(0)))


def random_candidate(rng, K, d, N, scale=1.0, dtype=np.float64, level="sample"):
    W = (scale * rng.standard_normal((K, d))).astype(dtype)
    if level == "class":
        return Candidate(weights=W, features=rng.random((K, d)).astype(dtype), class_counts=rng.integers(1, 50, K))
    labels = rng.permutation(np.concatenate([np.arange(K), rng.integers(0, K, N - K)]))
    return Candidate(weights=W, features=rng.random((N, d)).astype(dtype), labels=labels)


# -- containment and width ----------------------------------------------------------------------------------------

# The width wanted of a candidate for a real network. Where logits stay below 100, products contribute about
# 4 (d + 2) 2^-53 · 100 < 1e-11 to the loss, exp and log about 1e-13 of it.
WANTED = 1e-9
MODERATE = 3e-11


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", ["sample", "class"])
@pytest.mark.parametrize(
    ("K", "d", "N", "scale"),
    [(2, 1, 2, 1.0), (2, 1, 40, 3.0), (3, 1, 17, 30.0), (5, 7, 33, 1.0), (17, 4, 61, 10.0), (40, 64, 53, 1.0)],
)
def test_contains_the_exact_value(dtype, level, K, d, N, scale):
    candidate = random_candidate(np.random.default_rng(K + d), K, d, N, scale, dtype, level)
    enclosure = check(candidate.problem(1e-3, 1e-4), candidate)
    assert enclosure.relative_width <= MODERATE


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("level", ["sample", "class"])
def test_smoothing_and_class_weights(smoothing, weighted, level):
    candidate = random_candidate(np.random.default_rng(1), 4, 5, 31, 8.0, np.float32, level)
    loss = ufm.CrossEntropy([0.5, 1.0, 1e-3, 700.0] if weighted else None, smoothing=smoothing)
    enclosure = check(candidate.problem(1e-3, 1e-4, loss=loss), candidate)
    assert enclosure.relative_width <= MODERATE


@given(
    st.integers(0, 2**32),
    st.integers(2, 6),
    st.integers(1, 6),
    st.integers(0, 12),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["sample", "class"]),
    st.floats(-12.0, 6.0),
    st.sampled_from([0.0, 0.3]),
    st.one_of(st.none(), st.integers(1, 9)),
)
@settings(max_examples=150)
def test_contains_the_exact_value_whatever_the_scale(seed, K, d, more, dtype, level, exponent, smoothing, chunk):
    candidate = random_candidate(np.random.default_rng(seed), K, d, K + more, 10.0**exponent, dtype, level)
    problem = candidate.problem(1e-9, 1e-9, loss=ufm.CrossEntropy(smoothing=smoothing))
    check(problem, candidate, chunk=chunk)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_plus_and_minus_ten_thousand(dtype, smoothing):
    rng = np.random.default_rng(5)
    candidate = random_candidate(rng, 4, 3, 20, 1e4, dtype)
    enclosure = check(candidate.problem(1e-12, 1e-12, loss=ufm.CrossEntropy(smoothing=smoothing)), candidate)
    assert enclosure.loss[0] > 1e3
    assert enclosure.relative_width <= WANTED


def separated(margin, dtype=np.float64, copies=1):
    """Logits margin for the own class and 0 for the others: loss log(1 + 2 e^{−margin})."""
    return Candidate(
        weights=np.eye(3).astype(dtype),
        features=np.tile(margin * np.eye(3), (copies, 1)).astype(dtype),
        labels=np.tile([0, 1, 2], copies),
    )


@pytest.mark.parametrize("margin", [0.0, 1e-300, 1e-20, 0.3, 30.0, 60.0, 100.0])
def test_a_tiny_loss_is_enclosed_relative_to_itself(margin):
    """Every error of a loss is relative to it while e^{−margin} is far above the tail K 2^-182 = 5e-55."""
    candidate = separated(margin)
    loss = check(candidate.problem(1e-9, 1e-9), candidate).loss
    assert loss[1] - loss[0] <= WANTED * loss[1]


@pytest.mark.parametrize("margin", [127.0, 127.9999, 128.0, 128.1, 300.0, 745.0, 1e4, 1e8])
def test_a_loss_below_the_tail_is_enclosed_absolutely(margin):
    candidate = separated(margin)
    loss = check(candidate.problem(1e-9, 1e-9), candidate).loss
    assert loss[1] <= 1e-50


def test_misclassified_samples_beyond_the_tail():
    candidate = Candidate(weights=np.eye(3), features=1e3 * np.eye(3)[[1, 2, 0]], labels=[0, 1, 2])
    loss = check(candidate.problem(1e-9, 1e-9), candidate).loss
    assert loss[0] == pytest.approx(1e3)  # log(e^0 + e^1000 + e^0), to 1e-434
    assert loss[1] - loss[0] <= 1e-12 * loss[1]


def cancelling(repeats=24):
    """Products that cancel: the logit of class 0 is exactly 1, and any order of summation may lose it."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation([2.0**60, 1.0, -(2.0**60), 0.0, 0.0, 0.0]) for _ in range(repeats)]
    W = np.concatenate([rows, np.zeros((1, 6))])
    labels = np.arange(repeats + 1)
    return Candidate(weights=W, features=np.ones((repeats + 1, 6)), labels=labels)


def test_total_cancellation_widens_the_enclosure_and_does_not_break_it():
    candidate = cancelling()
    problem = candidate.problem(1e-60, 1e-9)
    enclosure = check(problem, candidate)
    assert enclosure.loss[1] - enclosure.loss[0] >= 1.0


def test_cancellation_between_logits():
    """Large logits, small differences: all rows of W share a part of 1e5, and 4 (d + 2) 2^-53 · 4e5 = 1e-9."""
    rng = np.random.default_rng(2)
    W = 1e5 + rng.standard_normal((5, 4))
    candidate = Candidate(weights=W, features=rng.random((20, 4)), labels=np.arange(20) % 5)
    assert check(candidate.problem(1e-20, 1e-9), candidate).relative_width <= WANTED


@pytest.mark.parametrize(("w", "h"), [(1e80, 1e80), (1e-200, 1e-200), (5e-324, 1.0), (1e-160, 1e-160), (1e30, 1e-30)])
def test_extreme_scales(w, h):
    """Overflow and underflow of products: sums of squares up to 2^600, products down to 2^-1074."""
    rng = np.random.default_rng(4)
    W, F = w * rng.choice([-1.0, 1.0, 2.0], (3, 4)), h * rng.random((9, 4))
    candidate = Candidate(weights=W, features=F, labels=np.arange(9) % 3)
    for smoothing in (0.0, 0.2):
        check(candidate.problem(1e-300, 1e-300, loss=ufm.CrossEntropy(smoothing=smoothing)), candidate)


def test_class_weights_near_the_smallest_number():
    candidate = random_candidate(np.random.default_rng(0), 3, 2, 9)
    loss = ufm.CrossEntropy([5e-324, 1e-310, 1e-300])
    check(candidate.problem(5e-324, 5e-324, loss=loss), candidate)


def test_ties_between_the_own_and_another_logit():
    W = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    candidate = Candidate(weights=W, features=[[1.0, 0.0], [2.0, 1.0], [0.5, 0.5]], labels=[0, 1, 2])
    assert check(candidate.problem(1e-3, 1e-3), candidate).relative_width <= MODERATE


@pytest.mark.parametrize("chunk", [1, 2, 7, 30, 31, 32, 1000])
def test_ragged_last_blocks(chunk):
    candidate = random_candidate(np.random.default_rng(8), 3, 5, 31)
    assert check(candidate.problem(1e-3, 1e-3), candidate, chunk=chunk).relative_width <= MODERATE


def test_layouts_and_memory_maps_give_the_same_enclosure(tmp_path):
    given = random_candidate(np.random.default_rng(9), 4, 6, 50, dtype=np.float32)
    problem, F = given.problem(1e-3, 1e-3), np.array(given.features)
    np.save(tmp_path / "f.npy", F)
    layouts = [F, np.asfortranarray(F), np.repeat(F, 3, axis=0)[::3], F.astype(">f4"), F[::-1].copy()[::-1]]
    layouts += [np.load(tmp_path / "f.npy", mmap_mode=mode) for mode in ("r", "c")]
    results = {
        enclose_objective(problem, Candidate(weights=given.weights, features=features, labels=given.labels), chunk=16)
        for features in layouts
    }
    assert len(results) == 1
    assert check(problem, given, chunk=16) in results


def test_samples_at_their_class_means_are_worth_as_much_as_the_class_means():
    means = random_candidate(np.random.default_rng(6), 4, 5, 0, 3.0, level="class")
    labels = np.repeat(np.arange(4), means.class_counts)
    samples = Candidate(weights=means.weights, features=means.features[labels], labels=labels)
    problem = means.problem(1e-3, 1e-4)
    assert samples.problem(1e-3, 1e-4) == problem
    by_class, by_sample = check(problem, means), check(problem, samples)
    assert max(by_class.lower, by_sample.lower) <= min(by_class.upper, by_sample.upper)


def test_agrees_with_the_bound_in_ball_arithmetic():
    """A peer within the package that shares no code with it: class means in balls of 128 bits."""
    means = random_candidate(np.random.default_rng(7), 6, 5, 0, 3.0, level="class")
    problem = means.problem(1e-3, 1e-4)
    enclosure = enclose_objective(problem, means)
    peer = upper_bound(problem, (means.weights, means.features)).value
    assert enclosure.lower <= peer <= enclosure.upper


def test_the_minimiser_of_the_theorem_is_worth_its_optimum():
    problem = ufm.Problem([50, 10, 4], 5e-3, 5e-3)
    W, H = ufm.solve(problem).factors()
    enclosure = check(problem, Candidate(weights=W, features=H, class_counts=[50, 10, 4]))
    assert enclosure.relative_width <= 1e-12
    # the factors are rounded: at a minimum this moves the objective in second order only, 1e-30
    assert enclosure.lower == pytest.approx(ufm.theory.optimum(problem).value, rel=1e-12)


# -- planted faults -----------------------------------------------------------------------------------------------


def test_too_small_an_error_of_products_is_caught(monkeypatch):
    candidate = cancelling()
    problem = candidate.problem(1e-60, 1e-9)
    assert holds(problem, candidate)
    original = module._Stream.__init__

    def planted(self, *arguments):
        original(self, *arguments)
        self._product_error *= 2.0**-20

    monkeypatch.setattr(module._Stream, "__init__", planted)
    assert not holds(problem, candidate)


def dropping(blocks):
    def planted(*arguments, **options):
        everything = list(blocks(*arguments, **options))
        yield from everything[:-1]

    return planted


@pytest.mark.parametrize("margin", [0.0, 1.0, 20.0])
def test_a_dropped_block_is_caught(monkeypatch, margin):
    candidate = separated(margin, copies=300)
    problem = candidate.problem(1e-9, 1e-9)
    assert holds(problem, candidate)
    monkeypatch.setattr(module, "blocks", dropping(lambda *a, **o: _copied_blocks(*a, **o | {"chunk": 1})))
    assert not holds(problem, candidate)


def _copied_blocks(*arguments, **options):
    """Blocks that stay valid after the next one, so that all but the last can be replayed."""
    from ufm_convex.candidate import Block, blocks

    for block in blocks(*arguments, **options):
        yield Block(block.start, block.labels, block.features.copy(), block.square_norms.copy())


@pytest.mark.parametrize("relative", [1e-12, -1e-12])
def test_a_wrong_exponential_is_caught(monkeypatch, relative):
    candidate = random_candidate(np.random.default_rng(3), 5, 3, 30)
    problem = candidate.problem(1e-9, 1e-9)
    assert holds(problem, candidate)
    original = module.exp_of_minus
    monkeypatch.setattr(module, "exp_of_minus", lambda *a: original(*a) * (1.0 + relative))
    assert not holds(problem, candidate)


@pytest.mark.parametrize(("name", "margin"), [("log_of", -1.0), ("log1p_of", 1.0)])
def test_a_wrong_logarithm_is_caught(monkeypatch, name, margin):
    candidate = separated(margin)  # behind another logit, or ahead of all
    problem = candidate.problem(1e-9, 1e-9)
    assert holds(problem, candidate)
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda x: original(x) * (1.0 + 3e-12))
    assert not holds(problem, candidate)


def test_a_wrong_feature_penalty_is_caught(monkeypatch):
    candidate = random_candidate(np.random.default_rng(3), 5, 3, 30)
    problem = candidate.problem(1e-9, 1.0)
    assert holds(problem, candidate)

    def planted(*arguments, **options):
        for block in _copied_blocks(*arguments, **options):
            block.square_norms[0] *= 1.0 + 1e-11
            yield block

    monkeypatch.setattr(module, "blocks", planted)
    assert not holds(problem, candidate)


# -- exp and log --------------------------------------------------------------------------------------------------


def relative_error(computed, exact, points):
    """Largest |computed/exact − 1| over the points, in balls of 200 bits, rounded up."""
    with flint.ctx.workprec(200):
        errors = [
            abs(arb(c) / exact(arb(x)) - 1).upper() for c, x in zip(computed.tolist(), points.tolist(), strict=True)
        ]
        return max(float(error) for error in errors)


def exp_of_minus(points):
    scaled = points * module.STEPS
    return module.exp_of_minus(scaled, np.empty((3, *scaled.shape)))


def exp_points():
    """Random points, the middles between entries of the table where the polynomial is worst, and their neighbours."""
    rng = np.random.default_rng(0)
    middles = (np.arange(0, module.CUT * module.STEPS - 1, 131) + 0.5) / module.STEPS
    return np.concatenate(
        [
            [0.0, 5e-324, 1e-300, 1e-17],
            rng.uniform(0.0, module.CUT - 1, 1500),
            10.0 ** rng.uniform(-20.0, 2.0, 500),
            middles,
            np.nextafter(middles, 0.0),
            np.nextafter(middles, 1e3),
        ]
    )


def test_exponential_keeps_its_error_bound():
    points = exp_points()
    assert relative_error(exp_of_minus(points), lambda x: (-x).exp(), points) <= module.EXP_ERROR


def test_the_check_of_the_exponential_sees_one_of_single_precision():
    points = exp_points()
    single = np.exp(-points.astype(np.float32)).astype(np.float64)
    assert relative_error(single, lambda x: (-x).exp(), points) > module.EXP_ERROR


def test_exponential_beyond_the_cut_is_within_the_tail():
    cut = float(module.CUT)
    step = 1.0 / module.STEPS
    points = np.array(
        [cut - step, cut - 0.51 * step, cut - 0.5 * step, cut - 0.49 * step, cut, cut + 7.3, 1e4, 2.0**41]
    )
    for value, point in zip(exp_of_minus(points).tolist(), points.tolist(), strict=True):
        with flint.ctx.workprec(200):
            exact = (-arb(point)).exp()
            assert abs(arb(value) - exact) <= module.EXP_ERROR * exact + arb(module.EXP_TAIL)


def test_exponential_of_zero_is_one():
    assert exp_of_minus(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]


def log_points():
    rng = np.random.default_rng(1)
    near_one = 1.0 + 2.0 ** rng.uniform(-52, 0, 500)
    powers = 2.0 ** np.arange(0, 300, 7)
    return np.concatenate([near_one, powers, np.nextafter(powers, 1e300), 10.0 ** rng.uniform(0, 200, 500)])


def test_logarithm_keeps_its_error_bound():
    points = log_points()
    points = points[points > 1.0]
    assert module.log_of(np.ones(1)).tolist() == [0.0]
    assert relative_error(module.log_of(points), arb.log, points) <= module.LOG_ERROR


def test_logarithm_of_one_plus_keeps_its_error_bound():
    rng = np.random.default_rng(2)
    points = np.concatenate(
        [10.0 ** rng.uniform(-300, 12, 1500), [1.0, np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)]]
    )
    assert module.log1p_of(np.zeros(1)).tolist() == [0.0]
    assert relative_error(module.log1p_of(points), arb.log1p, points) <= module.LOG_ERROR


def test_the_check_of_the_logarithm_sees_one_that_adds_first():
    points = np.array([1e-10, 0.3])
    assert relative_error(np.log(1.0 + points), arb.log1p, points) > module.LOG_ERROR


def test_constants_are_what_the_derivation_needs():
    """Truncation, roundings and tail of docs/streaming_functions.md, equations (8), (9) and (10), in exact numbers."""
    unit, half_step = Fraction(1, 2**53), Fraction(1, 2 * module.STEPS)
    truncation = half_step**4 / 24 * Fraction(1003, 1000)  # e^{2^-9} < 1.003
    assert truncation + 6 * unit <= Fraction(module.EXP_ERROR)
    with flint.ctx.workprec(200):
        tail = (-(arb(module.CUT) - arb(fmpq(1, 2 * module.STEPS)))).exp()
        assert tail <= arb(module.EXP_TAIL)
        assert abs(arb(module._LN2) / arb(2).log() - 1) <= arb(2) ** -53
        table = module._table()
        for k in range(module.CUT * module.STEPS):
            assert abs(arb(float(table[k])) / (-arb(fmpq(k, module.STEPS))).exp() - 1) <= 2 * arb(module.UNIT)
    assert table[-1] == 0.0
    series_rest = Fraction(1, 9**15) / 31 * Fraction(9, 8)
    assert series_rest + 45 * unit <= Fraction(module.LOG_ERROR)


# -- contract -----------------------------------------------------------------------------------------------------


def test_negative_entries_are_reported_and_do_not_hinder():
    given = random_candidate(np.random.default_rng(0), 3, 4, 12)
    F = np.array(given.features)
    F[7, 2], F[9, 1] = -0.25, -1e-40
    candidate = Candidate(weights=given.weights, features=F, labels=given.labels)
    enclosure = check(candidate.problem(1e-3, 1e-3), candidate, chunk=5)
    assert (enclosure.smallest, enclosure.smallest_at, enclosure.negative_entries) == (-0.25, (7, 2), 2)


@pytest.mark.parametrize("counts", [[3, 2, 4], [3, 3, 2, 1]])
def test_other_class_counts_are_refused(counts):
    candidate = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[3, 3, 3])
    with pytest.raises(CountsError, match=r"(in the|the) candidate"):
        enclose_objective(ufm.Problem(counts, 0.1, 0.1), candidate)


def test_more_coordinates_than_the_problem_has_are_refused():
    candidate = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[3, 3, 3])
    with pytest.raises(ShapeError, match="dimension 3"):
        enclose_objective(candidate.problem(0.1, 0.1, feature_dim=2), candidate)
    check(candidate.problem(0.1, 0.1, feature_dim=3), candidate)


def test_a_loss_without_a_streamed_enclosure_is_refused():
    class Other(ufm.CrossEntropy):
        """A loss of which nothing is known here: its values may differ from those of its parent."""

    candidate = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[3, 3, 3])
    problem = ufm.Problem([3, 3, 3], 0.1, 0.1, loss=Other())
    with pytest.raises(UnknownNameError, match="no streamed enclosure"):
        enclose_objective(problem, candidate)


@pytest.mark.parametrize(
    ("weight", "feature", "class_weight", "message"),
    [
        (1e200, 1.0, 1.0, "row of weights"),
        (1.0, 1e200, 1.0, r"features\[1, 1\] is 1e\+200"),
        (1.0, 1.0, 1e200, "class weight"),
    ],
)
def test_numbers_that_could_overflow_are_refused(weight, feature, class_weight, message):
    F = np.diag([1.0, feature, 1.0])
    candidate = Candidate(weights=weight * np.eye(3), features=F, labels=[0, 1, 2])
    problem = candidate.problem(0.1, 0.1, loss=ufm.CrossEntropy([class_weight, 1.0, 1.0]))
    with pytest.raises(CandidateError, match=message):
        enclose_objective(problem, candidate)


def test_a_feature_that_is_not_finite_is_named_with_its_row():
    F = np.ones((9, 2))
    F[6, 1] = np.nan
    candidate = Candidate(weights=np.ones((3, 2)), features=F, labels=np.arange(9) % 3)
    with pytest.raises(CandidateError, match=r"features\[6, 1\] is nan"):
        enclose_objective(candidate.problem(0.1, 0.1), candidate, chunk=4)


def test_progress_and_interruption():
    candidate = random_candidate(np.random.default_rng(0), 3, 4, 10)
    problem = candidate.problem(1e-3, 1e-3)
    seen = []
    whole = enclose_objective(problem, candidate, chunk=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]

    def interrupt(done, total):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enclose_objective(problem, candidate, chunk=4, progress=interrupt)
    assert enclose_objective(problem, candidate, chunk=4) == whole


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    """160 MB of features, mapped; a block of features of 32 MB is allocated, and little else."""
    N, d = 100_000, 400
    np.lib.format.open_memmap(tmp_path / "f.npy", mode="w+", dtype=np.float32, shape=(N, d))[::1000] = 1.0
    candidate = Candidate(
        weights=np.eye(10, d), features=np.load(tmp_path / "f.npy", mmap_mode="r"), labels=np.arange(N) % 10
    )
    problem = candidate.problem(1e-3, 1e-3)
    module._table()
    tracemalloc.start()
    enclosure = enclose_objective(problem, candidate)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(enclosure, CandidateEnclosure)
    assert enclosure.feature_penalty[0] == pytest.approx(0.5e-3 * (N // 1000) * d, rel=1e-12)
    assert peak < 48e6


@pytest.mark.parametrize("entries", [1, 7, 64, 1000])
def test_tiles_of_classes_cover_all_of_them(monkeypatch, entries):
    monkeypatch.setattr(module, "_TILE_ENTRIES", entries)
    candidate = random_candidate(np.random.default_rng(11), 13, 3, 29, 3.0)
    assert check(candidate.problem(1e-3, 1e-3), candidate, chunk=5).relative_width <= MODERATE


def test_a_dropped_tile_is_caught(monkeypatch):
    candidate = random_candidate(np.random.default_rng(11), 13, 3, 29)
    problem = candidate.problem(1e-9, 1e-9)
    original = module._CrossEntropyKernel._sum_of_powers
    monkeypatch.setattr(module._CrossEntropyKernel, "_sum_of_powers", lambda self, below: original(self, below[:-1]))
    assert not holds(problem, candidate)

"""Exact bounds on orbits: equal to those of full arrays, with a bias and with classes without samples."""

from __future__ import annotations

import json
import math
import time
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from algebra_cases import ALIKE, Given, random_alike
from algebra_cases import LOSSES as LOSSES_
from certificate_cases import resealed
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex import enclosure
from ufm_convex.certificate.certifying import assemble
from ufm_convex.duality.admissible import repair
from ufm_convex.enclosure import ExactAlike, slack
from ufm_convex.enclosure.alike import logits
from ufm_convex.enclosure.balance import balance
from ufm_convex.errors import ShapeError
from ufm_convex.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, MulticlassHinge
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import FreeBias, NoBias
from ufm_convex.relaxation import LEVELS, FrameDual, FramePoint
from ufm_convex.relaxation.alike import Alike
from ufm_convex.relaxation.orbits import Orbits
from ufm_convex.relaxation.points import Dual, Factors
from ufm_convex.solving import solve
from ufm_convex.verifier import verify

COUNTS = np.repeat([50, 7, 3], [4, 3, 2])
EMPTY = [30, 9, 9, 4, 0, 0]


def repaired(columns, seed=0, size=3.0):
    """A feasible point from the residuals of random logits with a positive own part."""
    rng = np.random.default_rng(seed)
    own = np.minimum(np.searchsorted(columns.outputs.kinds, columns.columns.kinds), columns.outputs.size - 1)
    if columns.outputs.plain:
        own = columns.outputs.members[columns.rows]
    L = 0.1 * random_alike(rng, columns.outputs, columns.columns)
    return repair(columns, [Dual(columns.residuals(L + size * Alike.matched(columns.outputs, columns.columns, own)))])


# -- exact matrices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [[[0, 1], [1, 2], [0, 2]], [[0, 1, 1], [1, 1, 2], [1, 0, 1]]])
def test_products_norms_and_ranks_are_those_of_full_matrices(kinds):
    """Kinds of 1, 3 and 2 elements, of which sorts have none, one or two orbits; the reference is in fractions."""
    rng, symmetry = np.random.default_rng(3), [1, 3, 2]
    outputs, columns, coordinates = (Orbits.of(symmetry, which) for which in kinds)
    W, H = (
        ExactAlike.of(random_alike(rng, rows, coordinates).map(lambda x: np.rint(8.0 * x) / 4.0))
        for rows in (outputs, columns)
    )
    full_W, full_H = ([list(map(int, row)) for row in matrix.full()] for matrix in (W, H))
    even, matches = logits(W, H)
    found = ExactAlike(columns, outputs, even, _transposed(matches, outputs, columns), 0).full()
    expected = [[sum(a * b for a, b in zip(w, h, strict=True)) for w in full_W] for h in full_H]
    assert found == expected
    for matrix, full in ((W, full_W), (H, full_H)):
        assert matrix.square() == sum(x * x for row in full for x in row) * Fraction(4) ** matrix.exponent
        assert matrix.rank() == np.linalg.matrix_rank(np.array(full, dtype=float))
    planted = ExactAlike(W.rows, W.cols, [[x + 1 for x in row] for row in W.even], W.matches, W.exponent)
    assert logits(planted, H) != (even, matches)


def _transposed(matches, rows, cols):
    """Entries of the pairs of (rows, cols) in the order of the pairs of (cols, rows)."""
    pairing, other = rows.paired(cols), cols.paired(rows)
    by = dict(zip(zip(pairing.row, pairing.column, strict=True), matches, strict=True))
    return [by[o, p] for p, o in zip(other.row, other.column, strict=True)]


def test_a_block_that_vanishes_in_binary64_costs_no_dimension():
    """0.9 and nine times −0.1 do not sum to zero in binary64; as features of ten classes they have the rank 9."""
    sort = Orbits.of([10], [0])
    H = Alike.from_blocks(sort, sort, np.zeros((1, 1)), np.ones((1, 1, 1)))
    assert H.trivial[0, 0] == 0.0
    exact = ExactAlike.of(H)
    assert exact.rank() == 9
    raw = exact.matches[0] + 1
    assert ExactAlike(sort, sort, exact.even, [raw], exact.exponent).rank() == 10


# -- sums that close ------------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 1),
    tied=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_sums_close_on_orbits_and_nothing_is_taken_away(sizes, tied, seed):
    rng, C = np.random.default_rng(seed), len(sizes)
    hub, places = int(rng.integers(C)), list(range(C))
    step = [1 if j == hub else sizes[hub] for j in range(C)]
    columns = [
        [0 if g == h and sizes[g] == 1 else step[g] * int(rng.integers(1, 10**9)) for h in range(C)] for g in range(C)
    ]
    own = None if tied else [-int(rng.integers(0, 10**9)) for _ in range(C)]
    fixed, fallen = balance(columns, own, places, sizes, sizes, hub)
    before, after = (full_columns(x, o, sizes) for x, o in ((columns, own), (fixed, fallen)))
    K = sum(sizes)
    assert [sum(after[k][j] for k in range(K)) for j in range(K)] == [0] * K
    for k in range(K):
        assert all(after[k][j] >= before[k][j] for j in range(K) if j != k)
        assert after[k][k] <= before[k][k]
        assert not tied or sum(after[k]) == 0


def full_columns(columns, own, sizes):
    """Columns of all classes, written out."""
    members = [g for g, size in enumerate(sizes) for _ in range(size)]
    full = [[columns[g][h] for h in members] for g in members]
    for k, (g, column) in enumerate(zip(members, full, strict=True)):
        column[k] = -(sum(column) - column[k]) if own is None else own[g]
    return full


LOSSES = [CrossEntropy(), CrossEntropy(smoothing=0.1), MeanSquaredError(), BinaryCrossEntropy()]
HINGES = [MulticlassHinge("weston-watkins"), MulticlassHinge("crammer-singer")]


@pytest.mark.parametrize("features", ["free", "nonnegative"])
@pytest.mark.parametrize("bias", ["free", 0.4, 1e-17])
@pytest.mark.parametrize("loss", [*LOSSES, *HINGES], ids=lambda loss: getattr(loss, "kind", loss.name))
def test_a_bias_is_proved_on_orbits_as_on_single_classes(loss, bias, features):
    problem = Problem(COUNTS, 1e-3, 1e-3, loss=loss, bias=bias, features=features)
    dual, value = repaired(LEVELS["group"](problem), size=0.3)
    grouped, single = (enclosure.lower_bound(problem, dual, proof=proof) for proof in ("group", "dense"))
    assert (grouped.proof, single.proof) == ("group", "dense")
    assert len(grouped.exact_point.columns) == 3
    # what the margins of the proofs cost: 64 · 9^1.5 · 2^-53 of single classes, less on orbits
    assert value > 0.0
    for bound in (grouped, single):
        assert value * (1 - 1e-11) <= bound.value <= value * (1 + 1e-14)
    averaged = enclosure.lower_bound(problem, dual.full(), proof="group")
    assert averaged.value == pytest.approx(grouped.value, rel=1e-13)


def test_a_bound_on_orbits_that_forgets_the_sums_is_refused(monkeypatch):
    """Planted faults: sums that are not closed, and columns beside the hub that are no multiples of 3."""
    problem = Problem(np.repeat([50, 7, 3], [3, 4, 2]), 1e-3, 1e-3, bias="free", features="free")
    dual, _ = repaired(LEVELS["group"](problem), seed=1)
    assert enclosure.lower_bound(problem, dual).proof == "group"
    monkeypatch.setattr(slack, "balance", lambda columns, own, *_: (columns, own))
    assert enclosure.lower_bound(problem, dual).proof == "trivial"
    monkeypatch.undo()
    monkeypatch.setattr(slack._Attempt, "_multiples", lambda self, columns: slack._inward(columns))
    assert enclosure.lower_bound(problem, dual).proof == "trivial"
    monkeypatch.setattr(FreeBias, "enclose_support", NoBias.enclose_support)
    assert enclosure.lower_bound(problem, dual).proof == "group"  # only the exact test of the sums saw it


def test_margins_make_room_for_sums_at_the_end_of_a_domain():
    """Residuals with own probability 0, of classes that weigh next to nothing beside the others."""
    problem = Problem(np.repeat([5000, 100], 500), 1e-3, 1e-3, bias="free")
    dual, value = repaired(LEVELS["group"](problem))
    assert dual.V.entries().min() == -1.0
    bound = enclosure.lower_bound(problem, dual)
    assert bound.proof == "group"
    assert bound.value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("features", ["free", "nonnegative"])
def test_a_bias_costs_a_million_classes_no_more_than_none(features):
    """Singletons would be 10^12 integers; 5 orbits take half a second, mostly to find them."""
    counts, values = np.repeat([5000, 1200, 300, 40, 3], 200_000), {}
    for bias in (None, "free", 0.4):
        problem = Problem(counts, 1e-8, 1e-8, bias=bias, features=features)
        dual, value = repaired(LEVELS["group"](problem))
        start = time.process_time()
        bound = enclosure.lower_bound(problem, dual, proof="group")
        assert time.process_time() - start < 10.0  # a bound on hanging, not a benchmark
        assert len(bound.exact_point.columns) == 5
        values[bias] = value
        assert bound.value == pytest.approx(value, rel=1e-12)
    assert values["free"] < values[0.4] <= values[None]


# -- factors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [None, "free", 0.4])
@pytest.mark.parametrize("name", sorted(set(ALIKE) - {"margin"}))
def test_upper_bounds_on_orbits_are_those_of_full_matrices(name, bias):
    problem = Given([5, 5, 5, 3, 3, 2, 0, 0], ALIKE[name], bias)
    columns = LEVELS["group"](problem)
    V, m = columns.outputs, columns.columns
    rng, d = np.random.default_rng(1), Orbits.of(V.symmetry, [*V.kinds.tolist(), 0])
    W = 0.1 * random_alike(rng, V, d) + Alike.matched(V, d, np.minimum(np.arange(d.size), V.size - 1))
    H = 0.1 * random_alike(rng, m, d).map(np.abs) + 3.0 * Alike.matched(m, d, np.minimum(np.arange(d.size), m.size - 1))
    b = None if bias is None else 0.1 * rng.normal(size=V.size)
    found = enclosure.upper_bound(columns, Factors(W, H, b))
    full_b = None if b is None else V.spread_out(b)
    single = enclosure.upper_bound(LEVELS["class"](problem), (W.full(), H.full(), full_b))
    # the matrices are rounded to 52 bits of their largest entry first
    assert found.value == pytest.approx(single.value, rel=1e-13)
    full_W, full_H = W.full(), H.full()[problem.class_counts > 0]
    grams = full_W @ full_W.T, full_W @ full_H.T, full_H @ full_H.T
    naive = problem.naive("class").objective(*grams, np.zeros(8) if b is None else full_b)
    assert found.value == pytest.approx(naive, rel=1e-12)
    assert enclosure.upper_bound(columns, Factors(W, -1.0 * H, b)).value == math.inf
    other = LEVELS["group"](Given([5, 5, 2, 3, 3, 2, 0, 0], ALIKE[name], bias))
    with pytest.raises(ShapeError, match="orbits"):
        enclosure.upper_bound(other, Factors(W, H, b))


# -- classes without samples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("bias", [None, 0.4])
@pytest.mark.parametrize("name", sorted(set(ALIKE) - {"margin"}))
def test_outputs_without_columns_are_rows_of_the_proof(name, bias, nonnegative):
    problem = Given([5, 5, 5, 3, 3, 2, 0, 0], ALIKE[name], bias, nonnegative)
    grouped, single = (LEVELS[level](problem) for level in ("group", "class"))
    dual, value = repaired(grouped, size=0.3)
    by_group = enclosure.lower_bound(grouped, dual, proof="group")
    by_class = enclosure.lower_bound(single, dual.full(), proof="dense")
    assert (by_group.proof, by_class.proof) == ("group", "dense")
    assert [len(by_class.exact_point.columns), len(by_class.exact_point.columns[0])] == [6, 8]
    naive = problem.naive("class").dual_value(dual.full().residuals[:, problem.class_counts > 0])
    for bound in (by_group, by_class):
        assert bound.value == pytest.approx(value, rel=1e-11)
        assert bound.value == pytest.approx(naive, rel=1e-11)
        assert bound.value <= naive * (1 + 1e-14)
    with pytest.raises(ShapeError, match="orbits"):
        enclosure.lower_bound(LEVELS["group"](Given([5, 5, 2, 3, 3, 2, 0, 0], ALIKE[name], bias)), dual)


@pytest.mark.parametrize("bias", [None, "free", 0.4])
@pytest.mark.parametrize("name", ["cross-entropy", "squared", "sigmoids", "soft", "adjusted"])
def test_samples_are_columns_with_one_own_output(name, bias):
    """More columns than outputs, several with the same own output: sums close, and the value is that of the classes."""
    problem = Given([5, 4, 4, 3, 1, 1, 1, 1], LOSSES_[name], bias)
    by_sample, by_class = (LEVELS[level](problem) for level in ("sample", "class"))
    dual, value = repaired(by_class, size=0.3)
    labels = np.repeat(np.arange(8), problem.class_counts)
    V = Alike.matrix(by_sample.outputs, by_sample.columns, dual.V.even[:, labels])
    T = None
    if dual.T is not None:
        T = Alike.matrix(by_sample.columns, by_sample.columns, dual.T.even[np.ix_(labels, labels)])
        T = T.scaled(*(1.0 / problem.class_counts[labels] for _ in "ab"))
    bound = enclosure.lower_bound(by_sample, Dual(V, T), proof="dense")
    assert [len(bound.exact_point.columns), len(bound.exact_point.columns[0])] == [20, 8]
    assert value > 0.0
    assert bound.value == pytest.approx(value, rel=1e-10)
    assert bound.value <= value * (1 + 1e-14)


@pytest.mark.parametrize(
    ("counts", "value"), [([50, 20, 0], 0.22144083147446308), ([30, 9, 4, 0, 0, 0, 0], 0.277066888078887)]
)
@pytest.mark.parametrize("level", ["group", "class"])
def test_frames_count_outputs_and_sum_over_classes_with_samples(counts, value, level):
    """docs/theorem.md with K the number of outputs, at strengths and lengths in closed form from mpmath."""
    columns, decay, V = LEVELS[level](Given(counts, CrossEntropy(), lambda_w=5e-3, lambda_h=5e-3)), 5e-3, len(counts)
    n = np.array(counts, dtype=float)
    q, eta, omega = np.zeros(V), np.zeros(V), np.zeros(V)
    for k in np.flatnonzero(n):
        with mp.workdps(30):
            share = mp.mpf(counts[k]) / sum(counts)
            strength = min(mp.mpf(decay) * mp.sqrt(mp.mpf(counts[k]) * V / (V - 1)) / share, 1)
            margin = mp.log1p(V * (1 - strength) / strength)
            c = mp.sqrt(mp.mpf(V) / (V - 1)) * mp.sqrt(counts[k])
            q[k], eta[k], omega[k] = strength, mp.sqrt(margin / c), mp.sqrt(margin * c)
    lower, upper = enclosure.lower_bound(columns, FrameDual(q)), enclosure.upper_bound(columns, FramePoint(eta, omega))
    assert (lower.proof, upper.proof) == ("diagonal", "frame")
    assert lower.value == pytest.approx(value, rel=1e-14)
    assert upper.value == pytest.approx(value, rel=1e-14)
    assert lower.value <= upper.value
    active = LEVELS[level](Given([m for m in counts if m], CrossEntropy(), lambda_w=5e-3, lambda_h=5e-3))
    without = enclosure.upper_bound(active, FramePoint(eta[n > 0], omega[n > 0]))
    assert without.value < 0.9 * lower.value  # not the problem without those outputs
    block = enclosure.lower_bound(columns, FrameDual(q), proof="group" if level == "group" else "dense")
    assert block.proof in ("group", "dense")
    assert block.value == pytest.approx(value, rel=1e-11)


def test_a_million_outputs_half_of_them_empty():
    counts = np.repeat([5000, 1200, 40, 0], [200_000, 200_000, 100_000, 500_000])
    columns = LEVELS["group"](Given(counts, CrossEntropy(), "free", lambda_w=1e-8, lambda_h=1e-8))
    zero = Dual(Alike.zeros(columns.outputs, columns.columns))
    bound = enclosure.lower_bound(columns, zero, proof="group")
    assert (bound.proof, len(bound.exact_point.columns), len(bound.exact_point.columns[0])) == ("group", 3, 4)
    assert bound.value == 0.0


@pytest.mark.parametrize("bias", ["free", 0.4])
def test_an_output_that_no_column_can_lower_is_refused_or_paid_for(bias):
    """A free bias asks for U1 = 0, and entries at an output without samples are all non-negative."""
    problem = Given([50, 20, 0], CrossEntropy(), bias)
    columns = LEVELS["class"](problem)
    full = np.array([[-0.3, 0.5, 0.0], [0.2, -0.6, 0.0], [0.1, 0.1, 0.0]])
    V = Alike.matrix(columns.outputs, columns.columns, full[:, :2] * 0.01)
    bound = enclosure.lower_bound(columns, Dual(V))
    assert bound.proof == ("trivial" if bias == "free" else "dense")
    if bias == "free":
        closed = Alike.matrix(columns.outputs, columns.columns, np.array([[-0.02, 0.05], [0.02, -0.05], [0, 0]]))
        assert enclosure.lower_bound(columns, Dual(closed)).proof == "dense"


# -- certificates ---------------------------------------------------------------------------------------------------


def test_witnesses_on_any_coordinates_are_stated_on_classes_where_they_can_be():
    """Coordinates in another order and fewer of them; two orbits of one kind have no place in the format."""
    problem = Problem([40, 40, 40, 9, 9, 2], 1e-2, 1e-2, features="free")
    columns, rng = LEVELS["group"](problem), np.random.default_rng(0)
    V = columns.outputs
    lower = enclosure.lower_bound(problem, solve(problem).dual, proof="group")
    for kinds, kind in (([2, 1], "group"), ([0, 1, 2], "group"), ([0], "group"), ([1, 1], "dense")):
        d = Orbits.of(V.symmetry, kinds)
        factors = Factors(random_alike(rng, V, d), random_alike(rng, V, d))
        upper = enclosure.upper_bound(problem, factors)
        single = enclosure.upper_bound(problem, (factors.W.full(), factors.H.full()))
        assert upper.value == pytest.approx(single.value, rel=1e-13)
        document = json.loads(assemble(problem, lower, upper, 1e-6, {}).to_json())
        assert document["witness"]["kind"] == kind
        assert str(verify(json.dumps(document).encode()).verdict) == "PROVED"
    narrow = Problem(problem.class_counts, 1e-2, 1e-2, features="free", feature_dim=2)
    assert (
        enclosure.upper_bound(narrow, Factors(*(random_alike(rng, V, Orbits.of(V.symmetry, [1])) for _ in "WH"))).value
        < math.inf
    )
    assert enclosure.upper_bound(narrow, factors).value == math.inf
    d = Orbits.of(V.symmetry, [2])
    H = Alike.from_blocks(V, d, np.zeros((3, 1)), np.ones((2, 1, 1)))  # three coordinates, rank two
    found = enclosure.upper_bound(narrow, Factors(H, H))
    assert math.isfinite(found.value)
    assert found.exact_point is None  # as it stands it has a coordinate too many


@pytest.mark.parametrize("features", ["free", "nonnegative"])
@pytest.mark.parametrize("bias", ["free", 0.05])
def test_certificates_state_a_bias_on_orbits(bias, features):
    """Format version 1 has group duals with a bias; witnesses with one are matrices."""
    problem = Problem(np.repeat([40, 9], [3, 2]), 1e-2, 1e-2, bias=bias, features=features)
    solution = solve(problem)
    lower = enclosure.lower_bound(problem, solution.dual, proof="group")
    columns = LEVELS["group"](problem)
    V = columns.outputs
    logits = Alike.mean(V, V, solution.logits)
    factors = Factors(logits, Alike.matched(V, V), V.mean(np.asarray(solution.bias)))
    upper = enclosure.upper_bound(problem, factors)
    single = enclosure.upper_bound(problem, (logits.full(), np.eye(5), V.spread_out(factors.bias)))
    assert upper.value == pytest.approx(single.value, rel=1e-14)
    for witness in (single, upper):
        document = json.loads(assemble(problem, lower, witness, 1e-6, {}).to_json())
        assert (document["dual"]["kind"], document["witness"]["kind"]) == ("group", "dense")
        assert str(verify(json.dumps(document).encode()).verdict) == "PROVED"
        assert len(document["witness"]["bias"]["integers"].split()) == 5
    forged = json.loads(assemble(problem, lower, single, 1e-6, {}).to_json())
    rows = forged["dual"]["columns"]
    forged["dual"]["columns"] = [rows[1], rows[0]]
    assert str(verify(json.dumps(resealed(forged)).encode()).verdict) != "PROVED"

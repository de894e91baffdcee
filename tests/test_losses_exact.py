"""What proofs rest on, loss by loss: exact enclosures against naive ones in intervals, domains to the last unit.

The other side is naive_losses.py: full columns, fractions, mpmath intervals, written from docs/certificate_losses.md
alone. Losses are asked on layouts: single outputs, orbits of alike ones, some of them empty, and the two entries of a
frame.
"""

from __future__ import annotations

import math
from fractions import Fraction

import cvxpy as cp
import flint
import mpmath as mp
import naive_losses as naive
import numpy as np
import pytest
from flint import arb, fmpq
from full_columns import Full
from mpmath import iv

import ufm_convex as ufm
from ufm_convex import losses
from ufm_convex.losses.label_margin_cross_entropy import LabelMarginCrossEntropy
from ufm_convex.losses.squared_hinge import SquaredHinge

F, EPS = Fraction, np.finfo(float).eps
SHIFT, SCALE = (0.5, -1.25, 2.0, 0.125), (1.0, 0.25, 2.5, 0.75)
TARGETS = ((0.5, 0.25, 0.125, 0.125), (0.0, 0.875, 0.125, 0.0), (0.25, 0.25, 0.5, 0.0), (0.0, 0.0, 0.0, 1.0))
MARGINS = (0.5, -0.25, 1.5, 0.125)
K = 4
ONE_HOT = [[F(j == k) for j in range(K)] for k in range(K)]
ONES, ZEROS = [F(1)] * K, [F(0)] * K


def smoothed(alpha, size=K):
    return [[(1 - F(alpha)) * (j == k) + F(alpha) / size for j in range(size)] for k in range(size)]


CASES = {
    "plain": (ufm.CrossEntropy(), naive.Softmax(ONE_HOT, ONES, ZEROS)),
    "smoothed": (ufm.CrossEntropy(smoothing=0.25), naive.Softmax(smoothed(0.25), ONES, ZEROS)),
    "adjusted": (
        ufm.LogitAdjustedCrossEntropy(shift=SHIFT, scale=SCALE),
        naive.Softmax(ONE_HOT, list(map(F, SCALE)), list(map(F, SHIFT))),
    ),
    "soft": (ufm.SoftTargetCrossEntropy(TARGETS), naive.Softmax([list(map(F, y)) for y in TARGETS], ONES, ZEROS)),
    "crammer-singer": (ufm.MulticlassHinge(), naive.Hinge(joint=True)),
    "weston-watkins": (ufm.MulticlassHinge("weston-watkins"), naive.Hinge(joint=False)),
    "squared": (ufm.MeanSquaredError(), naive.SquaredError()),
    "sigmoids": (ufm.BinaryCrossEntropy(), naive.Sigmoids()),
    "squared-hinge": (SquaredHinge(), naive.SquaredHinge()),
    "label-margins": (LabelMarginCrossEntropy(MARGINS), naive.LabelMargins(ONE_HOT, ONES, list(map(F, MARGINS)))),
}
SOFTMAX = ("plain", "smoothed", "adjusted", "soft", "label-margins")
ENDLESS = ("squared", "squared-hinge")
"""Domains that rays do not leave: all residuals, and a cone."""
UNIT = F(1, 2**1074)
NARROW = mp.mpf(2) ** -110
"""Of 128 bits; entries are below 16, and a dozen of them are added."""


@pytest.fixture(autouse=True)
def _precision():
    before = iv.prec
    iv.prec = 140
    with flint.ctx.workprec(128), mp.workprec(140):
        yield
    iv.prec = before


def test_every_loss_has_a_case():
    assert {type(loss) for loss, _ in CASES.values()} == set(losses.available().values())


def full_case(name):
    """On full columns, with labels in place of layouts."""
    loss, definition = CASES[name]
    return Full(loss), definition


def exact(fraction):
    return fmpq(fraction.numerator, fraction.denominator)


def ends(ball):
    return tuple(mp.ldexp(int(m), int(e)) for m, e in (ball.lower().man_exp(), ball.upper().man_exp()))


def assert_same(ball, interval):
    """Both contain the number that they enclose, and both are narrow: then they lie within each other's width."""
    low, high = ends(ball)
    # the interval's own ends are a few units of 2^-140 apart
    assert low - NARROW <= interval.a
    assert interval.b <= high + NARROW
    assert high - low <= NARROW


def points(name, label):
    """Columns of the domain: inside, at vertices, on edges. The naive side says which of them are none."""
    loss = CASES[name][1]
    if name in SOFTMAX:
        shares = [[1, 0, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [3, 1, 2, 2], [2**60 - 3, 1, 1, 1]]
        probabilities = [[F(p, sum(row)) for p in row] for row in shares]
        weights = list(zip(loss.targets[label], loss.scale, strict=True))
        return [[(q - y) * a for q, (y, a) in zip(p, weights, strict=True)] for p in probabilities]
    if name == "sigmoids":
        rows = [[0, 0, 0, 0], [1, 1, 1, 1], [F(1, 2), F(1, 4), 0, 1], [UNIT, 1 - UNIT, F(3, 8), F(1, 2)]]
        return [[-v if j == label else v for j, v in enumerate(map(F, row))] for row in rows]
    if name == "squared":
        return [[F(3, 4), F(-5, 2), F(0), F(7)], [F(0)] * 4, [F(-1)] * 4]
    others = [[0, 0, 0], [1, 0, 0], [F(1, 4), F(1, 4), F(1, 2)], [F(1, 8), 0, F(1, 2)]]
    if name == "weston-watkins":
        others += [[1, 1, 1], [1, F(1, 2), 1]]
    if name == "squared-hinge":
        others += [[3, 0, F(5, 2)], [F(1, 2**60), 1, 0]]
    return [[*row[:label], -sum(row), *row[label:]] for row in ([F(v) for v in row] for row in others)]


@pytest.mark.parametrize("label", range(K))
@pytest.mark.parametrize("name", CASES)
def test_enclosed_conjugates_are_those_of_the_definition(name, label):
    loss, definition = full_case(name)
    for v in points(name, label):
        expected = definition.conjugate(v, label)
        assert expected is not None
        assert_same(loss.enclose_conjugate([exact(entry) for entry in v], label), expected)


@pytest.mark.parametrize("label", range(K))
@pytest.mark.parametrize("name", [name for name in CASES if name != "squared"])
def test_one_unit_beyond_the_domain_is_refused_and_the_edge_is_not(name, label):
    """Every entry of every point is moved by the least subnormal, alone and against the own entry."""
    loss, definition = full_case(name)
    seen, scale = set(), getattr(definition, "scale", None) or ONES
    for v in points(name, label):
        for j in range(K):
            for step in (UNIT, -UNIT):
                for partner in {label, j} - ({label} if not definition.tied and j != label else set()):
                    moved = list(v)
                    moved[j] += step * scale[j]
                    if partner != j:
                        moved[partner] -= step * scale[partner]
                    inside = definition.conjugate(moved, label)
                    seen.add(inside is not None)
                    if inside is None:
                        with pytest.raises(ValueError, match="outside"):
                            loss.enclose_conjugate([exact(entry) for entry in moved], label)
                    else:
                        assert_same(loss.enclose_conjugate([exact(entry) for entry in moved], label), inside)
    assert seen == {True, False}


LOGITS = [
    [F(entry, 8) for entry in row] for row in ([4, -8, 16, 0], [0] * 4, [-24, 10, 10, 9], [16, 8, 8, 0], [96, 0, 8, -8])
]


@pytest.mark.parametrize("label", range(K))
@pytest.mark.parametrize("name", CASES)
def test_enclosed_values_are_those_of_the_definition(name, label):
    loss, definition = full_case(name)
    for z in LOGITS:
        expected = definition.value([naive.interval(entry) for entry in z], label)
        ball = loss.enclose_value([arb(exact(entry)) for entry in z], label)
        assert_same(ball, expected)
        # logits known up to a radius: every corner lies inside
        radius = F(1, 2**20)
        wide = loss.enclose_value([arb(float(entry), float(radius)) for entry in z], label)
        for signs in ([1, -1, -1, 1], [-1, 1, 1, -1], [1, 1, -1, -1]):
            corner = [naive.interval(entry + s * radius) for entry, s in zip(z, signs, strict=True)]
            found, (low, high) = definition.value(corner, label), ends(wide)
            assert low - NARROW <= found.a <= found.b <= high + NARROW


GROUPED = [name for name, (loss, _) in CASES.items() if loss.alike]


@pytest.mark.parametrize("own", range(4))
@pytest.mark.parametrize("name", GROUPED)
def test_reduced_enclosures_are_those_of_full_columns(name, own):
    """Groups of 2 and 1, and one of no class, whose entry may be anything; the own entry in any place."""
    loss, definition = CASES[name]

    def entries(mine, *others):
        return [*others[:own], mine, *others[own:]]

    column = loss.exact_orbit_column(entries(1, 2, 0, 1), own)
    for z in LOGITS:
        ball = loss.enclose_value(entries(arb(exact(z[0])), arb(exact(z[1])), arb(99), arb(exact(z[2]))), column)
        assert_same(ball, definition.value([naive.interval(entry) for entry in [z[0], z[1], z[1], z[2]]], 0))
    seen = set()
    for v in points(name, 0):
        full = [-(2 * v[1] + v[2]) if definition.tied else v[0], v[1], v[1], v[2]]
        reduced = entries(exact(full[0]), exact(v[1]), fmpq(-7), exact(v[2]))
        expected = definition.conjugate(full, 0)
        seen.add(expected is None)
        if expected is None:
            with pytest.raises(ValueError, match="outside"):
                loss.enclose_conjugate(reduced, column)
        else:
            assert_same(loss.enclose_conjugate(reduced, column), expected)
    assert False in seen


MARGINAL = [name for name, (loss, _) in CASES.items() if loss.margins_only]


def on_the_ray(name, number, size):
    """The definition for so many classes, the logits m (e_0 − 1/K) and the residuals −q (e_0 − 1/K) of a number."""
    definition = CASES[name][1]
    if name in ("plain", "smoothed"):
        alpha = F(0) if name == "plain" else F(1, 4)
        definition = naive.Softmax(smoothed(alpha, size), [F(1)] * size, [F(0)] * size)
    ray = [F(size - 1, size), *[F(-1, size)] * (size - 1)]
    return definition, [number * entry for entry in ray], [-number * entry for entry in ray]


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("name", MARGINAL)
def test_margin_enclosures_are_those_of_full_columns(name, size):
    loss = CASES[name][0]
    for margin in (F(0), F(1, 3), F(1), F(5, 2), F(40)):
        definition, z, _ = on_the_ray(name, margin, size)
        ball = loss.enclose_margin_value(arb(exact(margin)), size)
        assert_same(ball, definition.value([naive.interval(entry) for entry in z], 0))
    top = F(size, 1 if name == "weston-watkins" else size - 1)
    low, high = (F(-1, 4), top - F(1, 4)) if name == "smoothed" else (F(0), top)
    beyond = [low - UNIT] if name == "squared-hinge" else [low - UNIT, high + UNIT]
    for strength in (low, low + UNIT, F(1, 3), F(3, 4), high - UNIT, high):
        definition, _, v = on_the_ray(name, strength, size)
        assert_same(loss.enclose_margin_conjugate(exact(strength), size), definition.conjugate(v, 0))
    for strength in beyond:
        definition, _, v = on_the_ray(name, strength, size)
        assert definition.conjugate(v, 0) is None
        with pytest.raises(ValueError, match="outside"):
            loss.enclose_margin_conjugate(exact(strength), size)


@pytest.mark.parametrize("exponent", [-1100, -61, -2, 0, 1])
@pytest.mark.parametrize("name", MARGINAL)
def test_many_margin_conjugates_are_each_that_of_one(name, exponent):
    """Integers times a power of two, the edges of the domain among them: K = 2, so that 2 is the largest strength."""
    loss, power = CASES[name][0], F(2) ** exponent
    wanted = [q for q in (F(0), power, F(1, 2), F(3, 4), F(1), 1 + power, F(3, 2), 2 - power, F(2)) if 0 <= q <= 2]
    wanted += [F(-1, 4), F(7, 4)] if name == "smoothed" else []
    strengths = [int(q / power) for q in wanted if (q / power).denominator == 1]
    assert strengths
    if name == "smoothed":
        strengths = [q for q in strengths if q * power <= F(7, 4)]
    found = list(loss.enclose_margin_conjugates(strengths, exponent, 2))
    assert len(found) == len(strengths)
    for ball, q in zip(found, strengths, strict=True):
        definition, _, v = on_the_ray(name, q * power, 2)
        assert_same(ball, definition.conjugate(v, 0))
    for outside in (math.ceil(3 / power), -math.ceil(1 / power))[name == "squared-hinge" :]:
        with pytest.raises(ValueError, match="outside"):
            list(loss.enclose_margin_conjugates([outside], exponent, 2))


# -- in floating point ---------------------------------------------------------------------------------------------


def orbits_of(loss, groups):
    """The layout of reduced columns, own entry first."""
    return loss.orbit_layout(np.vstack([np.ones(groups.shape[1]), groups]), np.zeros(groups.shape[1], dtype=int))


@pytest.mark.parametrize("name", CASES)
def test_single_outputs_in_floating_point_are_those_of_the_definition(name):
    """Columns of mixed labels, so that each has its own row of targets and margins."""
    loss, definition = CASES[name]
    labels = np.array([2, 0, 3, 0, 1])
    layout = loss.layout(K, labels)
    z = np.array([list(map(float, row)) for row in LOGITS]).T
    values, gradients, expression = loss.values(z, layout), loss.residuals(z, layout), None
    expression = loss.expression(cp.Variable(z.shape, value=z), layout)
    v = loss.into_domain(0.75 * gradients, layout)
    conjugates = loss.conjugate(v, layout)
    touching = values + loss.conjugate(gradients, layout) - (gradients * z).sum(axis=0)
    gaps = loss.fenchel_young(v, z, layout)
    assert expression.is_dcp()
    for c, label in enumerate(labels.tolist()):
        value = definition.value([naive.interval(entry) for entry in fractions(z[:, c])], label)
        size = max(1.0, float(value.b))  # of the terms of a sum; a loss itself may be small
        assert abs(values[c] - value.a) <= 16 * EPS * min(size, 8.0) + 16 * EPS * abs(value.a)
        assert abs(expression.value[c] - value.a) <= 64 * EPS * size
        column = fractions(v[:, c])
        if definition.tied:  # the definition is asked at the very point, its own entry closed exactly
            scale = definition.scale or ONES
            column[label] = -scale[label] * sum(column[j] / scale[j] for j in range(K) if j != label)
        conjugate = definition.conjugate(column, label)
        assert conjugate is not None
        assert abs(conjugates[c] - conjugate.a) <= 64 * EPS * max(1.0, float(abs(conjugate.a)))
        gap = value + conjugate - naive.interval(sum(a * b for a, b in zip(column, fractions(z[:, c]), strict=True)))
        # the point given and the one closed exactly differ by a rounding error, times logits of 12
        assert abs(gaps[c] - gap.a) <= 128 * EPS * size
        assert abs(touching[c]) <= 128 * EPS * size


@pytest.mark.parametrize("name", GROUPED)
def test_an_entry_of_no_class_limits_nothing(name):
    """How far a ray stays in the domain, by the definition: the group without a class may hold anything."""
    loss, definition = CASES[name]
    layout = orbits_of(loss, np.array([[2.0], [0.0], [1.0]]))
    v = np.array([[-0.25], [0.125], [0.5], [0.0]])
    limit = F(float(loss.limit(v, layout)[0]))
    column = [F(-1, 4), F(1, 8), F(1, 8), F(0)]
    for other in (-3.0, 1e9, math.nan):
        v[2, 0] = other
        assert loss.limit(v, layout)[0] == float(limit)
    if name in ENDLESS:
        assert limit >= 10**6
        return
    assert definition.conjugate([limit * v for v in column], 0) is not None
    assert definition.conjugate([limit * (1 + F(1, 2**40)) * v for v in column], 0) is None


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_column_that_does_not_close_is_outside_by_more_than_rounding(name):
    """A column of K entries is closed by one subtraction: it may be off by a few units, not by a part in a million."""
    loss = full_case(name)[0]
    labels = np.arange(K)
    v = loss.into_domain(0.5 * loss.residuals(np.eye(K), labels), labels)
    assert np.isfinite(loss.conjugate(v, labels)).all()
    for size, finite in ((EPS, True), (1e-6, False), (-1e-6, False)):
        moved = v.copy()
        moved[labels, labels] += size
        assert (np.isfinite(loss.conjugate(moved, labels)) == finite).all()


def test_only_the_own_target_may_be_below_zero_and_only_by_rounding():
    """It is formed as one minus the others; the others are given."""
    below = -1e-17
    assert ufm.SoftTargetCrossEntropy(((below, 0.5, 0.5), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))).targets[0][0] == 0.0
    for row in ((0.5, below, 0.5), (0.5, 0.5, below)):
        with pytest.raises(ufm.errors.ProblemError, match="entry"):
            ufm.SoftTargetCrossEntropy((row, (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    with pytest.raises(ufm.errors.ProblemError, match="entry"):
        ufm.SoftTargetCrossEntropy(((-1e-6, 0.5, 0.5), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


GROUPS = np.array([[2.0, 0.0, 1.0, 0.0], [0.0, 3.0, 1.0, 3.0], [1.0, 0.0, 1.0, 0.0]])
"""Four reduced columns of K = 4 classes: groups of two and one, of three, of one each; zero is a group of no class."""
ANYTHING = (-9.0, 7.0, 1e9, 0.0)


def reduced(own, others, filler):
    return np.vstack([own, np.where(GROUPS > 0, np.array(others), filler)])


def full(entries):
    """The columns that reduced ones stand for, own entry first."""
    columns = [
        np.concatenate([column[:1], np.repeat(column[1:], m.astype(int))])
        for column, m in zip(entries.T, GROUPS.T, strict=True)
    ]
    return np.array(columns).T, np.zeros(len(columns), dtype=int)


def fractions(entries):
    return [F(float(entry)) for entry in entries]


@pytest.mark.parametrize("filler", ANYTHING)
@pytest.mark.parametrize("name", GROUPED)
def test_reduced_columns_in_floating_point_are_full_columns_whatever_stands_for_no_class(name, filler):
    loss, definition = CASES[name]
    layout, absent, on_full = orbits_of(loss, GROUPS), GROUPS == 0, Full(loss)
    entries = reduced([0.5, -1.0, 2.0, 0.0], [[-1.0] * 4, [2.0, -0.5, 0.25, 1.5], [0.75] * 4], filler)
    z, labels = full(entries)
    values, gradients = loss.values(entries, layout), loss.residuals(entries, layout)
    assert (gradients[1:][absent] == 0.0).all()
    v, _ = full(gradients)
    # a dozen terms below 8, added in another order
    assert v == pytest.approx(on_full.residuals(z, labels), abs=32 * EPS)
    assert loss.violation(gradients, layout) <= 4 * EPS
    wild = gradients.copy()
    wild[1:][absent] = filler
    conjugates = loss.conjugate(wild, layout)
    expression = loss.expression(cp.Variable(entries.shape, value=entries), layout)
    assert expression.is_dcp()
    for k in range(4):
        exact_value = definition.value([naive.interval(entry) for entry in fractions(z[:, k])], 0)
        assert abs(values[k] - exact_value.a) <= 64 * EPS
        # with 1e9 in an absent entry, where a product with zero is all that a modelling language has
        assert abs(expression.value[k] - exact_value.a) <= 64 * EPS
        # the definition is asked at the very point, its own entry closed exactly
        column = fractions(v[:, k])
        column[0] = -sum(column[1:]) if definition.tied else column[0]
        exact_conjugate = definition.conjugate(column, 0)
        assert exact_conjugate is None or abs(conjugates[k] - exact_conjugate.a) <= 64 * EPS
    touching = values + conjugates - (v * z).sum(axis=0)
    assert np.abs(touching).max() <= 128 * EPS  # Fenchel and Young, at the gradient
    assert np.abs(loss.fenchel_young(wild, entries, layout)).max() <= 128 * EPS
    assert loss.limit(0.5 * wild, layout) == pytest.approx(on_full.limit(0.5 * v, labels), rel=8 * EPS)
    top = loss.ray_maximum(0.5 * wild, layout)
    at_top = on_full.conjugate(0.5 * v * top, labels)
    for s in (0.9, 1.1):
        # a domain without an end: a golden section of 10⁶ finds s to about 1e-3
        slack = 1e-3 if name in ENDLESS else 8 * EPS
        assert (at_top <= on_full.conjugate(0.5 * v * (s * top), labels) + slack).all()


@pytest.mark.parametrize("filler", ANYTHING)
@pytest.mark.parametrize("name", [name for name in GROUPED if name != "squared"])
def test_reduced_columns_outside_are_infinite_and_come_into_the_domain(name, filler):
    loss, definition = CASES[name]
    layout, absent = orbits_of(loss, GROUPS), GROUPS == 0

    def filled(column):
        column = column.copy()
        column[1:][absent] = filler
        return column

    inside = loss.into_domain(reduced([-0.5] * 4, [[0.125] * 4] * 3, 0.0), layout)
    assert np.isfinite(loss.conjugate(filled(inside), layout)).all()
    for far in (-2.0,) if name == "squared-hinge" else (-2.0, 1.5):
        wild = reduced([0.0] * 4, [[far] * 4] * 3, filler)
        wild[0] = -(GROUPS * far).sum(axis=0) if definition.tied else inside[0]
        assert np.isinf(loss.conjugate(wild, layout)).all()
        # by hand: how far the worst of the entries, or their mass of three classes, is outside
        share = 0.0625 if name == "smoothed" else 0.0
        mass = 3 * (far + share) - 1 if name in ("plain", "smoothed", "crammer-singer") else far - 1
        expected = -far - share if far < 0 else mass
        assert loss.violation(wild, layout) == pytest.approx(expected, rel=8 * EPS)
        moved = loss.into_domain(wild, layout)
        assert (moved[1:][absent] == 0.0).all()
        assert loss.violation(moved, layout) <= 4 * EPS
        assert loss.into_domain(filled(moved), layout)[1:] == pytest.approx(moved[1:], abs=4 * EPS)
    if definition.tied:
        for size, finite in ((EPS, True), (1e-6, False), (-1e-6, False)):  # columns of four entries, closed by rounding
            moved = inside.copy()
            moved[0] += size
            assert (np.isfinite(loss.conjugate(moved, layout)) == finite).all()


@pytest.mark.parametrize("label", range(K))
@pytest.mark.parametrize("name", CASES)
def test_fenchel_young_gaps_are_those_of_the_definition_at_vertices_too(name, label):
    """Where probabilities are 0, p log p is 0 and its logarithm is not asked."""
    loss, definition = full_case(name)
    for v in points(name, label)[:4]:
        for z in LOGITS:
            if name == "weston-watkins" and UNIT in v:
                continue
            gap = definition.value([naive.interval(entry) for entry in z], label) + definition.conjugate(v, label)
            gap -= naive.interval(sum(a * b for a, b in zip(v, z, strict=True)))
            columns = np.array([[float(entry)] for entry in v]), np.array([[float(entry)] for entry in z])
            found = loss.fenchel_young(*columns, np.array([label]))[0]
            assert abs(found - gap.a) <= 64 * EPS * (1 + abs(gap.a))  # terms up to the size of the largest logit, 12


@pytest.mark.parametrize("kind", ["crammer-singer", "weston-watkins"])
def test_at_a_kink_a_hinge_takes_the_residual_that_is_given(kind):
    """Margin 1 of three classes: any strength up to K/(K−1), or K; below the kink the largest, above it none."""
    loss, top = ufm.MulticlassHinge(kind), 1.5 if kind == "crammer-singer" else 3.0
    margins, given = np.array([1.0, 1.0, 1.0, 0.5, 1.5]), np.array([0.25, 9.0, -1.0, 0.25, 0.25])
    assert loss.nearest_margin_strengths(given, margins, 3) == pytest.approx([0.25, top, 0.0, top, 0.0], rel=2 * EPS)
    logits = np.array([[1.0, 1.0, 2.0], [0.0, 0.0, 0.0], [0.0, -2.0, 0.0]])  # both hinges, one, and none at the kink
    offered = np.array([[-0.75, -0.5, -0.5], [0.25, 0.25, 0.25], [0.5, 0.25, 0.25]])
    nearest = Full(loss).nearest(offered, logits, np.zeros(3, dtype=int))
    assert nearest == pytest.approx(np.array([[-0.75, -0.25, 0.0], [0.25, 0.25, 0.0], [0.5, 0.0, 0.0]]), abs=EPS)


def test_exact_targets_sum_to_one_without_rounding():
    """The own entry is what the others leave, as a fraction; in binary64 it is the number nearest to it."""
    rows = ((0.7, 0.1, 0.1, 0.1), (0.1, 0.2, 0.3, 0.4), (0.3, 0.3, 0.3, 0.1), (0.0, 0.0, 0.0, 1.0))
    loss = ufm.SoftTargetCrossEntropy(rows)
    for k, (row, table, given) in enumerate(zip(loss.exact_parameters()["targets"], loss.targets, rows, strict=True)):
        assert sum(map(F, row)) == 1
        assert [row[j] for j in range(K) if j != k] == [given[j] for j in range(K) if j != k]
        assert table[k] == float(row[k])


@pytest.mark.parametrize("name", ["plain", "crammer-singer", "squared-hinge"])
def test_numbers_that_are_none_become_the_end_of_their_range(name):
    """NaN tells nothing and stands for no mass, as −∞ does; +∞ is all of it."""
    loss = CASES[name][0]
    given = np.array([[math.nan, -math.inf, math.inf], [0.25, 0.25, 0.0], [0.5, 0.5, 0.0]])
    wanted = np.array([[0.0, 0.0, 1.0], [0.25, 0.25, 0.0], [0.5, 0.5, 0.0]])
    offered, expected = np.vstack([np.zeros(3), given]), np.vstack([-wanted.sum(axis=0), wanted])
    assert expected[0].tolist() == [-0.75, -0.75, -1.0]
    assert loss.into_domain(offered, orbits_of(loss, np.ones((3, 3)))) == pytest.approx(expected, abs=0.0)
    assert Full(loss).into_domain(offered, np.zeros(3, dtype=int)) == pytest.approx(expected, abs=0.0)


@pytest.mark.parametrize("name", SOFTMAX)
def test_infinite_residuals_are_all_of_the_mass(name):
    """In full columns: the one wrong class whose residual is +∞ gets the probability 1, −∞ and NaN get none."""
    loss, definition = full_case(name)
    given = np.array([[0.0], [math.inf], [-math.inf], [math.nan]])
    found = loss.into_domain(given, np.array([0]))[:, 0]
    p = [F(v) / a + y for v, a, y in zip(map(float, found), definition.scale, definition.targets[0], strict=True)]
    assert float(p[1]) == pytest.approx(1.0, abs=0.2)  # the shares of smoothing and of soft targets are kept
    assert max(map(float, p)) == float(p[1])
    assert float(sum(p)) == pytest.approx(1.0, abs=8 * EPS)


@pytest.mark.parametrize(
    ("kind", "top"), [("crammer-singer", lambda K: F(K, K - 1)), ("weston-watkins", lambda K: F(K))]
)
@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 11, 50])
def test_the_largest_strength_of_a_hinge_is_the_largest_number_of_its_domain(kind, top, size):
    """K/(K−1), or K: the number itself where binary64 has it, else the next one below."""
    strength = ufm.MulticlassHinge(kind).margin_strengths(np.zeros(1), size)[0]
    assert F(float(strength)) <= top(size) < F(float(np.nextafter(strength, math.inf)))


@pytest.mark.parametrize(
    "targets", [[0.5, 0.5], [[1.0, 0.0], 0.5], "ab", 3, None, [[1.0, 0.0], "ab"], np.array([0.5, 0.5])]
)
def test_targets_that_are_no_table_are_refused_by_name(targets):
    with pytest.raises(ufm.errors.ProblemError, match="targets"):
        ufm.SoftTargetCrossEntropy(targets)


@pytest.mark.parametrize("name", SOFTMAX)
def test_each_column_is_outside_by_itself(name):
    """Five columns of four entries that close: inside, wrong mass 1.5, one below zero, a vertex, next to it."""
    loss, definition = full_case(name)
    labels = np.array([0, 0, 0, 0, 0])
    rows = [
        [0.25] * 4,
        [-0.5, 0.5, 0.5, 0.5],
        [0.5, -0.25, 0.5, 0.25],
        [1.0, 0, 0, 0],
        [1.0 - 2.0**-20, 2.0**-20, 0, 0],
    ]
    probabilities = np.array(rows).T
    target, scale = (np.array(list(map(float, side)))[:, None] for side in (definition.targets[0], definition.scale))
    found = loss.conjugate(scale * (probabilities - target), labels)
    assert np.isfinite(found).tolist() == [True, False, False, True, True]
    beyond = scale * (probabilities - target)
    assert loss.violation(beyond[:, [0, 3, 4]], labels[:3]) <= 4 * EPS
    assert loss.violation(beyond[:, [0, 1]], labels[:2]) == pytest.approx(0.5)
    assert loss.violation(beyond[:, [2, 0]], labels[:2]) == pytest.approx(0.25)
    repaired = loss.into_domain(beyond, labels)
    assert np.isfinite(loss.conjugate(repaired, labels)).all()
    assert repaired[:, [0, 3, 4]] == pytest.approx(beyond[:, [0, 3, 4]], abs=4 * EPS)

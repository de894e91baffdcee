"""Error bounds of the fast paths pay for every rounding and for hardly one more: the code itself runs on counters.

A ``Rounded`` stands for a number that is off by so many roundings, relatively to its terms: a product has those of both
factors and its own, a sum those of the worse summand and its own. Sums of object arrays are taken one after the other,
which is the longest way.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from flint import arb, ctx, fmpq

from ufm_convex.enclosure import fast as writers
from ufm_convex.verifier import elementary, fast


class Rounded:
    """So many roundings."""

    def __init__(self, count):
        self.count = count

    def __mul__(self, other):
        return Rounded(self.count + roundings(other) + 1)

    def __add__(self, other):
        return Rounded(max(self.count, roundings(other)) + 1)

    __rmul__, __radd__, __sub__, __rsub__, __iadd__ = __mul__, __add__, __add__, __add__, __add__

    def __abs__(self):
        return self

    def __neg__(self):
        return self

    def __bool__(self):
        return True


def roundings(number):
    """Those that it has suffered; a number of the machine none."""
    return number.count if isinstance(number, Rounded) else 0


def filled(shape, count):
    """An array of such numbers."""
    found = np.empty(shape, dtype=object)
    found[...] = Rounded(count)
    return found


def worst(numbers):
    return max(map(roundings, np.ravel(numbers)))


class Free(float):
    """A factor whose products count for nothing."""

    __array_priority__ = 1000.0

    def __mul__(self, other):
        return 0.0


def counted_room(monkeypatch, groups, outputs):
    """Roundings of ``Fast.room``, for groups of two classes, with a multiplier: all that it can have."""
    monkeypatch.setattr(fast, "room_error", lambda *sizes: Free())
    blocks = SimpleNamespace(
        groups=[SimpleNamespace(multiplicity=2)] * groups,
        outputs=[SimpleNamespace(multiplicity=2)] * outputs,
        radius=lambda g: 5,
        multiplier=True,
        problem=SimpleNamespace(nonnegative=False),
    )
    right = filled((groups, outputs + groups), 1)  # converted
    right[:, :outputs] *= 2.0  # ... and times how many classes the group has, as ``Fast.of`` does
    quick = fast.Fast(blocks, right, filled((groups, groups), 1))
    return worst(quick.room())


@pytest.mark.parametrize(("groups", "outputs"), [(9, 9), (7, 12)])
def test_the_room_of_a_verifier_suffers_as_many_roundings_as_are_paid_for(monkeypatch, groups, outputs):
    error = fast.room_error(groups, outputs)
    counted = counted_room(monkeypatch, groups, outputs)
    assert counted == fast.room_roundings(groups, outputs)
    # one more for what is of second order, and for the sum of moduli, which is rounded as often
    assert error == (counted + 1) * 2.0**-53


@pytest.mark.parametrize("less", [1, 2])
def test_one_rounding_fewer_is_not_enough(monkeypatch, less):
    """The planted fault: the count of one of the steps forgets one rounding."""
    original = fast.room_roundings
    monkeypatch.setattr(fast, "room_roundings", lambda groups, outputs: original(groups, outputs) - less)
    assert counted_room(monkeypatch, 9, 9) > fast.room_roundings(9, 9)


def counted_logarithms(monkeypatch, outputs):
    """Roundings of Σ x log x of a row whose logarithms are given."""
    monkeypatch.setattr(fast, "log_of_integers", lambda x: filled(x.shape, 0))
    quick = object.__new__(fast.Fast)
    quick.rows, quick.blocks = np.ones((64, outputs)), SimpleNamespace(places=[0] * 64)
    return worst(quick._sums_of_logarithms())


@pytest.mark.parametrize("outputs", [64, 90])
def test_a_sum_of_logarithms_suffers_as_many_roundings_as_are_paid_for(monkeypatch, outputs):
    counted = counted_logarithms(monkeypatch, outputs)
    assert counted == fast.logarithm_roundings(outputs)
    original = fast.logarithm_roundings
    monkeypatch.setattr(fast, "logarithm_roundings", lambda outputs: original(outputs) - 1)
    assert counted > fast.logarithm_roundings(outputs)


def test_an_entropy_suffers_as_many_roundings_as_are_paid_for(monkeypatch):
    """The sum of the others is converted, scaled exactly, multiplied by e log 2, itself rounded twice; then come sums.

    Scaling by a power of two counts here as a rounding and is none.
    """
    size, seen = 64, []
    monkeypatch.setattr(fast, "_mean", lambda *arguments: seen.append(arguments[3]) or arb(0))
    monkeypatch.setattr(fast, "_numbers", lambda rows: filled(len(rows), 1))
    monkeypatch.setattr(fast, "log_of_two", lambda: Rounded(1))
    monkeypatch.setattr(fast, "log", lambda x: filled(len(x), 0))
    monkeypatch.setattr(fast.Fast, "_sums_of_logarithms", lambda self: np.zeros(size))
    monkeypatch.setattr(Rounded, "__ge__", lambda self, other: True, raising=False)
    quick, loss = object.__new__(fast.Fast), object.__new__(fast.CrossEntropy)
    loss.smoothing = fmpq(0)
    quick.rows, quick.outputs = np.zeros((size, size)), np.ones(size)
    quick.blocks = SimpleNamespace(
        problem=SimpleNamespace(loss=loss, K=size, bias=SimpleNamespace(free=False)),
        groups=[SimpleNamespace(samples=1)] * size,
        own=[-(1 << 30)] * size,
        exponents=[-40] * size,
    )
    quick.dual_value()
    assert worst(seen[0]) - 1 == fast.OWN_ROUNDINGS  # so that one less would not do


def test_a_mean_suffers_as_many_roundings_as_are_paid_for():
    """Sums that are exact but for three roundings: with two, a mean of thirds of all signs is found outside."""
    generator = np.random.default_rng(0)
    problem = SimpleNamespace(N=3)
    groups = [SimpleNamespace(weight=fmpq(1, 1))] * 1
    reached = 0.0
    with ctx.workprec(128):
        for value in generator.uniform(1.0, 2.0, 4000).tolist():
            for samples in (5, 7, 11):
                ball = fast._mean(problem, groups, [samples], np.array([value]), np.zeros(1), 0)
                exact = arb(value) * arb(fmpq(samples, 3))
                assert ball.contains(exact)
                reached = max(reached, float(abs(exact - ball.mid()) / exact) * 2.0**53)
    assert 1.0 < reached <= fast.MEAN_ROUNDINGS


@pytest.mark.parametrize(("rows", "blocks", "d"), [(4, 3, 5), (2, 2, 40), (30, 1, 1), (1, 25, 2)])
def test_sums_over_blocks_suffer_fewer_roundings_than_are_paid_for(rows, blocks, d):
    """Squares of d entries, summed over coordinates, rows and blocks in turn."""
    total = 0.0
    for _ in range(blocks):
        entries = filled((rows, d), 0)
        total = total + (entries * entries).sum(axis=1).sum()
    assert worst(total) <= fast.sum_roundings(rows, blocks, d)
    assert worst(total) >= rows + blocks + d - 1  # so that none of the three may be missing


def test_the_writers_room_suffers_as_many_roundings_as_are_paid_for(monkeypatch):
    """Integers up to 2^53, which nothing converts: n products and sums, τ, C sums, two differences."""
    monkeypatch.setattr(writers, "room_error", lambda size, inner: Free())
    size, inner = 9, 18
    room = writers._room(filled((size, inner), 0), filled((size, size), 0), filled(size, 1), False)
    counted = worst(room)
    assert counted == inner + 1 + (size - 1) + 2
    monkeypatch.undo()
    spare = writers.room_error(size, inner) / 2.0**-53 / (1.0 + 2.0**-20) - counted
    assert 1.0 <= round(spare, 6) <= 4.0


@pytest.mark.parametrize(
    ("function", "argument", "least", "exact", "missed"),
    [
        ("log", np.array([1.3]), 2.0**-12, lambda r: (1 + r).log() / r, 2.0**-37),
        ("exp_of_minus", np.array([1.3]), 2.0**-7, lambda r: r.exp(), 2.0**-61),
    ],
)
def test_a_series_has_the_terms_that_its_bound_asks_for(monkeypatch, function, argument, least, exact, missed):
    """At the end of its interval: log(1 + r)/r is missed by less than 2^-37, e^r by 2^-61; not with one term less."""
    original, seen = elementary._polynomial, []
    monkeypatch.setattr(
        elementary, "_polynomial", lambda r, coefficients: seen.append(coefficients) or original(r, coefficients)
    )
    getattr(elementary, function)(argument)
    (coefficients,) = seen
    with ctx.workprec(128):
        for r in (arb(least), -arb(least)):
            off = [
                abs(sum((arb(c) * r**i for i, c in enumerate(some)), arb(0)) - exact(r))
                for some in (coefficients, coefficients[:-1])
            ]
            assert off[0] < missed
            assert off[1] > missed

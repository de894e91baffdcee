"""The verifier's integer path for diagonal proofs and frames against its rational one, and against planted faults."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from certificate_cases import PLAIN, WEIGHTED, resealed, text
from flint import ctx, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

from ufm_convex.certificate import certify, encoding
from ufm_convex.losses import CrossEntropy, MulticlassHinge
from ufm_convex.problem import Problem
from ufm_convex.verifier import Verdict, checking, many, points, proof, reading, verify

PROBLEMS = {
    "plain": PLAIN,
    "weighted and smoothed": WEIGHTED,
    "collapsed": Problem([50, 10, 2], 1.0, 1.0),
    "tiny decays": Problem([5, 3, 1], 1e-145, 1e-145),
    "huge weight": Problem([5, 4, 3], 5e-3, 5e-3, loss=CrossEntropy(class_weights=(1e150, 1.0, 1.0))),
    "hundreds": Problem(np.arange(1, 300), 1e-5, 1e-5, loss=CrossEntropy(smoothing=0.05)),
}
FINE = 2.0**-100
"""Of the 128 bits of a ball, what sums of a few hundred terms may lose, with room."""


def dual_of(document):
    return proof.Diagonal(proof.Problem(document["problem"]), document["dual"])


def frame_of(document):
    return points.Frame(proof.Problem(document["problem"]), document["witness"])


@pytest.fixture(scope="module")
def documents():
    return {name: json.loads(certify(problem, proof="diagonal").to_json()) for name, problem in PROBLEMS.items()}


@pytest.mark.parametrize("name", PROBLEMS)
def test_both_paths_enclose_the_same_values(documents, name):
    dual, frame = dual_of(documents[name]), frame_of(documents[name])
    assert many.Integral(dual).slack_dominates()
    dual.check_slack()
    with ctx.workprec(128):
        pairs = [
            (many.Integral(dual).dual_value(), checking._dual_value(dual)),
            (many.frame_objective(frame), frame.objective()),
        ]
        for quick, exact in pairs:
            assert quick is not None
            assert quick.overlaps(exact)
            assert abs(quick.rad()) <= FINE * abs(quick.mid())


def test_the_integer_path_decides_alone(documents, monkeypatch):
    monkeypatch.setattr(proof.Diagonal, "check_slack", lambda self: pytest.fail("the rational path was asked"))
    monkeypatch.setattr(points.Frame, "objective", lambda self: pytest.fail("the rational path was asked"))
    monkeypatch.setattr(checking, "_dual_value", lambda dual: pytest.fail("the rational path was asked"))
    assert verify(text(documents["hundreds"])).verdict is Verdict.PROVED


def test_few_groups_are_left_to_the_rational_path(documents, monkeypatch):
    monkeypatch.setattr(many.Integral, "slack_dominates", lambda self: pytest.fail("the integer path was asked"))
    monkeypatch.setattr(many, "frame_objective", lambda frame: pytest.fail("the integer path was asked"))
    for name in PROBLEMS.keys() - {"hundreds"}:
        assert verify(text(documents[name])).verdict is Verdict.PROVED


@pytest.mark.parametrize("name", ["plain", "weighted and smoothed", "hundreds"])
def test_a_strength_one_unit_above_the_boundary_is_not_confirmed(documents, name):
    """Strengths are the largest binary64 numbers allowed, or nearly: some units in the last place more are too many."""
    dual = dual_of(documents[name])
    place = max(range(len(dual.strengths)), key=lambda g: dual.problem.distinct[g].samples)
    quick, integers = many.Integral(dual), dual.strengths.integers
    integers[place] += max(integers[place] >> 50, 1)
    assert not quick.slack_dominates()
    with pytest.raises(reading.Refuted, match="slack"):
        dual.check_slack()


def test_equality_is_enough():
    """K = N = 2, λ_W λ_H = 1/32: (6) reads q² ≤ 4/32 · 2 = 1/4, and q = 1/2 attains it."""
    problem = Problem([1, 1], 0.25, 0.125)
    document = json.loads(certify(problem).to_json())
    document["dual"]["strengths"] = {"exponent": -1, "integers": "1"}
    dual = dual_of(document)
    assert many.Integral(dual).slack_dominates()
    dual.strengths.integers[0], dual.strengths.exponent = (1 << 80) + 1, -81
    assert not many.Integral(dual).slack_dominates()


@pytest.mark.parametrize("value", ["-1", "1"])
def test_signs_are_left_to_the_rational_path(value):
    """A negative strength anywhere, and a positive one for free features, are refuted."""
    problem = Problem([9, 2], 1.0, 1.0, features="free" if value == "1" else "nonnegative")
    document = json.loads(certify(problem, proof="diagonal").to_json())
    document["dual"]["strengths"] = {"exponent": -60, "integers": f"0 {value}"}
    assert not many.Integral(dual_of(document)).slack_dominates()
    assert verify(text(resealed(document))).steps[0].verdict is Verdict.REFUTED


def test_outside_the_simplex_nothing_is_confirmed(documents):
    for integers in ([2, 0, 0], [-1, 0, 0]):
        dual = dual_of(documents["plain"])
        dual.strengths.integers[:], dual.strengths.exponent = integers, 0
        assert many.Integral(dual).dual_value() is None
        with pytest.raises(reading.Refuted, match="simplex"):
            checking._dual_value(dual)


@settings(max_examples=60)
@given(st.sampled_from(sorted(PROBLEMS)), st.sampled_from(["lower", "upper"]), st.integers(50, 90))
def test_moved_claims_are_refuted(documents, name, which, bits):
    """Moved past the enclosed value by a 2^-bits of it, at 128 bits."""
    document = json.loads(json.dumps(documents[name]))
    dual, frame = dual_of(document), frame_of(document)
    with ctx.workprec(256):
        value = checking._dual_value(dual) if which == "lower" else frame.objective()
        mantissa, exponent = (value * (1 + (1 if which == "lower" else -1) * fmpq(1, 1 << bits))).mid().man_exp()
    document["claims"][which] = encoding.dyadic(Fraction(int(mantissa)) * Fraction(2) ** int(exponent))
    found = {step.name: step.verdict for step in verify(text(resealed(document))).steps}
    assert found[f"{which} bound"] is Verdict.REFUTED


@pytest.mark.parametrize("loss", [CrossEntropy(smoothing=0.1), CrossEntropy(), MulticlassHinge()])
@pytest.mark.parametrize("exponent", [-70, -3, 0, 1])
def test_conjugates_in_one_go_are_those_one_by_one(loss, exponent):
    top = max((1 << max(-exponent - 1, 0)) - 1, 0)
    strengths = [0, top // 3, top]
    with ctx.workprec(128):
        together = list(loss.enclose_margin_conjugates(strengths, exponent, 5))
        single = [loss.enclose_margin_conjugate(fmpq(2) ** exponent * x, 5) for x in strengths]
    assert all(
        a.overlaps(b) and abs(a.rad()) <= FINE * (1 + abs(a.mid())) for a, b in zip(together, single, strict=True)
    )


@pytest.mark.parametrize("strengths", [[1 << 10], [-(1 << 10)]])
def test_conjugates_in_one_go_refuse_what_lies_outside(strengths):
    with pytest.raises(ValueError, match="outside"):
        list(CrossEntropy().enclose_margin_conjugates(strengths, -3, 5))

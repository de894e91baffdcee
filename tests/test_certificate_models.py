"""Certificates of problems with norm bounds, a bias or a hard margin: what is claimed, required, forbidden, and edges.

Their tampered twins are in test_tampering.py.
"""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from certificate_cases import closed_balls, judge_forgery, model_certificates, outcome, replaced, resealed, text
from flint import arb

import ufm_convex as ufm
from ufm_convex.certificate import Certificate, certify, encoding
from ufm_convex.enclosure import fraction_below
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import CrossEntropy, MeanSquaredError
from ufm_convex.problem import Problem
from ufm_convex.verifier import Verdict, checking, many, verify

MADE = model_certificates()
DOCUMENTS = {name: json.loads(made.to_json()) for name, made in MADE.items()}
PEELED = [name for name in DOCUMENTS if name.startswith("peeled")]
BIASED = [name for name in DOCUMENTS if "bias" in name]


def peeled(counts, weight_radius=1.0, feature_radius=5.0, **fields):
    return Problem(counts, constraint=ufm.LayerPeeled(weight_radius, feature_radius), **fields)


def proved(certificate):
    return verify(certificate.to_json().encode()).verdict is Verdict.PROVED


def refuted_at(document):
    return [step.name for step in verify(text(resealed(document))).steps if step.verdict is Verdict.REFUTED]


def without(document, *path):
    *outer, last = path
    inner = document
    for key in outer:
        inner = inner[key]
    return replaced(document, tuple(outer), {key: value for key, value in inner.items() if key != last})


# -- what is claimed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_claims_are_the_bounds_of_the_solution_and_files_come_back(name, tmp_path):
    certificate = MADE[name]
    solution = ufm.solve(certificate.problem)
    # two certified solutions of one problem, each enclosure a millionth wide at most
    assert certificate.lower <= solution.upper_bound
    assert solution.lower_bound <= certificate.optimum_upper
    # of a candidate, the gap is its own; the copositive table shows a proof whose point is feasible, not optimal
    if certificate.candidate_gap is None and name != "table, copositive":
        assert certificate.relative_gap < 1e-6
    certificate.save(tmp_path / "c.json")
    assert Certificate.load(tmp_path / "c.json").problem == certificate.problem


@pytest.mark.parametrize("proof", ["auto", "diagonal", "group", "dense"])
def test_the_proof_can_be_chosen_within_norm_bounds(proof):
    for constraint in ((0.3, 0.2), (30.0, 30.0)):
        problem = peeled([9, 9, 4], *constraint, loss=CrossEntropy(smoothing=0.1))
        certificate = certify(problem, proof=proof)
        assert certificate.proof == ("diagonal" if proof == "auto" else proof)
        assert certificate.verdict == "optimal"
        assert proved(certificate)


def test_classes_are_alike_if_their_products_of_weight_and_count_are():
    loss = CrossEntropy(class_weights=(1.0, 2.0, 4.0, 1.0))
    certificate = certify(peeled([8, 4, 2, 3], loss=loss, features="free"))
    assert len(certificate.content["dual"]["columns"]) == 2
    assert proved(certificate)


def test_products_that_binary64_merges_are_refused():
    """Weights one unit apart, times 3: every fourth pair is rounded down to one number."""
    weight = next(w for w in 0.375 + 2.0**-54 * np.arange(4) if below(w) == below(np.nextafter(w, 1.0)))
    problem = peeled([3, 3, 5], loss=CrossEntropy(class_weights=(weight, np.nextafter(weight, 1.0), 1.0)))
    with pytest.raises(HypothesisError, match="less than a rounding error"):
        certify(problem)
    apart = CrossEntropy(class_weights=(weight, weight + 2.0**-50, 1.0))
    assert proved(certify(peeled([3, 3, 5], loss=apart)))


def below(weight):
    return fraction_below(3 * Fraction(weight))


@pytest.mark.slow
def test_a_loss_that_may_vanish_is_undecided_with_a_bound_of_zero():
    certificate = certify(peeled([4, 4, 4], loss=MeanSquaredError(), features="free"))
    assert certificate.lower == 0.0
    assert certificate.verdict == "undecided"
    assert proved(certificate)


@pytest.mark.slow
def test_few_dimensions_leave_a_gap_and_a_witness_within_its_budget():
    certificate = certify(peeled([9, 9, 9], features="free", feature_dim=1))
    assert certificate.verdict == "undecided"
    assert proved(certificate)


def test_a_candidate_and_digits_are_refused_by_name():
    candidate = ufm.Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[5, 4, 3])
    both = {"candidate": candidate}, {"digits": 20}
    for given, words, refused in (
        ({"constraint": ufm.LayerPeeled(1.0, 5.0)}, "the constraint 'layer-peeled'", both),
        ({"lambda_w": 0.1, "lambda_h": 0.1, "bias": "free"}, "a bias", both[1:]),
        ({"lambda_w": 0.1, "lambda_h": 0.1, "constraint": ufm.HardMargin()}, "'hard-margin'", both),
    ):
        for asked in refused:
            with pytest.raises(HypothesisError, match=words):
                certify(Problem([5, 4, 3], **given), **asked)


# -- what is required, and forbidden ------------------------------------------------------------------------------


def malformed(document):
    return outcome(text(resealed(document))) == "malformed"


def test_fields_of_norm_bounds_are_there_if_and_only_if_the_problem_has_them():
    plain = json.loads(certify(Problem([50, 10, 2], 2e-2, 2e-2)).to_json())
    document = DOCUMENTS["peeled"]
    decays = document["dual"]["decays"]
    assert malformed(replaced(plain, ("dual",), {**plain["dual"], "decays": decays}))
    assert malformed(without(document, "dual", "decays"))
    for field in ("weight_radius", "feature_radius"):
        assert malformed(without(document, "problem", field))
        assert malformed(replaced(plain, ("problem",), {**plain["problem"], field: "1p0"}))
        for value in ("0p0", "-1p0", "free", None):
            assert malformed(replaced(document, ("problem", field), value))
    for field in ("lambda_w", "lambda_h"):
        assert malformed(replaced(document, ("problem",), {**document["problem"], field: "1p0"}))
    for field in ("weights", "features"):
        assert malformed(replaced(document, ("dual", "decays", field), "-1p-9"))
        assert malformed(without(document, "dual", "decays", field))


def test_fields_of_a_bias_are_there_if_and_only_if_the_problem_has_one():
    for name in BIASED:
        document = DOCUMENTS[name]
        assert malformed(without(document, "problem", "bias"))
        for value in (None, "0p0", "-1p0", "none", True):
            assert malformed(replaced(document, ("problem", "bias"), value))
        witness = document["witness"]
        assert ("bias" in witness) == (witness["kind"] == "dense")
        if "bias" in witness:
            assert malformed(without(document, "witness", "bias"))
            assert malformed(replaced(document, ("witness", "bias"), None))
        else:
            zeros = {"exponent": 0, "integers": "0 0 0"}
            assert malformed(replaced(document, ("witness",), {**witness, "bias": zeros}))


@pytest.mark.parametrize("name", [*PEELED, *BIASED])
def test_lemmas_are_those_that_are_used(name):
    document = DOCUMENTS[name]
    lemmas = document["lemmas"]
    assert lemmas[3] == ("norm-budget" if name in PEELED else "bias")
    for other in ([*lemmas[:3], lemmas[4]], [*lemmas[:3], "bias", "norm-budget", lemmas[4]], [*lemmas[:4], lemmas[3]]):
        assert malformed(replaced(document, ("lemmas",), other))


def test_no_candidate_within_norm_bounds():
    document = DOCUMENTS["peeled"]
    W = {"exponent": 0, "rows": ["0", "0", "0"]}
    candidate = {"level": "class", "feature_dim": 1, "sha256": None}
    candidate["arrays"] = {"W": W, "features": W, "labels": None}
    claims = {"objective": {"lower": "0p0", "upper": "1p4"}, "gap": {"lower": "0p0", "upper": "1p4"}, "violation": None}
    forged = replaced(replaced(document, ("candidate",), candidate), ("claims", "candidate"), claims)
    assert malformed(replaced(forged, ("claims", "verdict"), "undecided"))


def test_a_problem_with_norm_bounds_and_a_bias_is_proved_where_both_lemmas_are_used():
    """The package solves no such problem; the format has one: W = H = b = 0 and V = 0, with every lemma."""
    document = replaced(DOCUMENTS["peeled, idle and dense"], ("problem", "bias"), "1p0")
    document["lemmas"].insert(4, "bias")
    document["witness"]["bias"] = {"exponent": 0, "integers": "0 0 0"}
    assert judge_forgery(document) == "PROVED"


# -- edges --------------------------------------------------------------------------------------------------------


def test_the_balls_are_closed_and_no_unit_larger():
    for document, admissible in closed_balls():
        assert judge_forgery(document) == ("PROVED" if admissible else "REFUTED")
        assert refuted_at(document) == ([] if admissible else ["witness"])


def test_a_dual_point_without_decays_is_zero():
    """αβ = 0: V = 0 is proved, any other V is not."""
    document = replaced(DOCUMENTS["peeled, dense"], ("dual", "decays", "weights"), "0p0")
    document["claims"].update(lower="-1p9", verdict="undecided")
    assert refuted_at(document) == ["slack"]
    zero = replaced(document, ("dual", "columns"), ["0 0 0"] * 3)
    zero["dual"].update(factor=None, multiplier=None)
    assert judge_forgery(zero) == "PROVED"
    assert judge_forgery(replaced(zero, ("claims", "lower"), "1p-200")) == "REFUTED"  # the price of β is not zero


def test_more_decay_is_no_better_bound():
    """More decay leaves the slack room, and costs what it must: the old bound is refuted, its own is proved."""
    document = DOCUMENTS["peeled, dense"]
    more = replaced(document, ("dual", "decays", "features"), "1p4")
    assert judge_forgery(more) == "REFUTED"
    assert refuted_at(more) == ["lower bound"]
    more["claims"].update(lower="-1p9", verdict="undecided")
    assert judge_forgery(more) == "PROVED"


def test_columns_of_a_free_bias_sum_to_zero_exactly():
    """One unit in one entry moves no value and no slack that anybody would notice: the sum alone refutes it."""
    document = DOCUMENTS["free bias"]
    document = replaced(document, ("claims", "lower"), "-1p9")
    document["claims"]["verdict"] = "undecided"
    assert judge_forgery(document) == "PROVED"
    entries = document["dual"]["columns"][1].split(" ")
    entries[2] = str(int(entries[2]) + 1)
    forged = replaced(document, ("dual", "columns", 1), " ".join(entries))
    assert judge_forgery(forged) == "REFUTED"
    assert refuted_at(forged) == ["lower bound"]


def test_the_penalty_of_a_bias_is_paid_at_both_ends():
    document = DOCUMENTS["penalised bias"]
    lighter = replaced(document, ("problem", "bias"), "1p-9")  # the dual point pays ‖s‖²/(2 λ_b)
    heavier = replaced(document, ("problem", "bias"), "1p9")  # the witness pays λ_b/2 ‖b‖²
    assert refuted_at(lighter) == ["lower bound"]
    assert refuted_at(heavier) == ["upper bound"]
    assert judge_forgery(lighter) == judge_forgery(heavier) == "REFUTED"


def test_margins_are_met_or_refuted():
    """A margin one part in a million larger than the witness has."""
    document = DOCUMENTS["margin, free"]
    larger = replaced(document, ("problem", "loss", "margins"), encoding.dyadic(Fraction(0.75 * (1 + 1e-6))))
    assert refuted_at(larger) == ["upper bound"]
    assert judge_forgery(larger) == "REFUTED"
    smaller = replaced(document, ("problem", "loss", "margins"), encoding.dyadic(Fraction(0.75 * (1 - 1e-6))))
    assert refuted_at(smaller) == ["lower bound"]


@pytest.mark.parametrize(
    "value", ["0p0", "-1p0", None, 1, {"exponent": 0, "integers": "1 1 0"}, {"exponent": 0, "integers": "1 1"},
    {"exponent": 0, "rows": ["0 1 1", "1 0 1", "1 1 1"]}, {"exponent": 0, "rows": ["0 1 1", "1 0 0", "1 1 0"]}],
)  # fmt: skip
def test_margins_are_positive(value):
    assert malformed(replaced(DOCUMENTS["margins of pairs"], ("problem", "loss", "margins"), value))


def test_margins_that_tell_classes_apart_admit_no_groups():
    zeros = {"exponent": 0, "integers": "0 0 0"}
    frame = {"kind": "frame", "groups": "0 1 2", "multiplicities": "1 1 1", "eta": zeros, "omega": zeros}
    for name in ("margin, scaled", "margins of classes", "margins of pairs"):
        assert malformed(replaced(DOCUMENTS[name], ("witness",), frame))
    for scale in ("0 1 1", "-1 1 1", "1 1"):
        assert malformed(replaced(DOCUMENTS["margin, scaled"], ("problem", "loss", "scale", "integers"), scale))


def test_multipliers_of_margins_are_not_negative():
    """Along the ray of a negative multiplier the bound would grow without end."""
    document = replaced(DOCUMENTS["margins of pairs"], ("dual", "columns"), ["0 1 1", "1 0 1", "1 1 0"])
    document["problem"].update(lambda_w="1p10", lambda_h="1p10")  # room for any small slack
    document["dual"].update(exponents="0 0 0", factor=None, multiplier=None)
    document["claims"].update(lower="-17p5", upper="17p40", verdict="undecided")
    assert judge_forgery(document) == "PROVED"
    forged = replaced(document, ("dual", "columns", 0), "0 -1 1")
    assert judge_forgery(forged) == "REFUTED"
    assert refuted_at(forged) == ["lower bound"]


def test_a_margin_that_no_ball_decides_is_left_undecided():
    """A frame has a margin of (K−1)/K + 1/K times η ω in balls: an exact one is never shown to be met."""
    document = replaced(DOCUMENTS["margin"], ("witness", "eta"), {"exponent": 0, "integers": "1 1"})
    document["witness"]["omega"] = {"exponent": -1, "integers": "1 1"}
    document["claims"].update(upper="1p9", verdict="undecided")
    assert outcome(text(resealed(document))) == "INCONCLUSIVE"
    wider = replaced(document, ("witness", "omega", "exponent"), 0)
    assert outcome(text(resealed(wider))) == "PROVED"


# -- many classes: the shorter ways and the exact one -------------------------------------------------------------


def both_ways(document, monkeypatch):
    """The verdict on a document with the shorter ways and without them, which must agree."""
    data = text(resealed(document))
    found = outcome(data)
    with monkeypatch.context() as patch:
        patch.setattr(checking, "fast", None)
        patch.setattr(many, "FEW", 10**9)
        assert outcome(data) == found
    return found


@pytest.mark.parametrize(
    "problem",
    [
        peeled(np.arange(20, 86), 0.3, 0.2),
        peeled(np.arange(20, 86), features="free"),
        Problem(np.arange(20, 86), 1e-4, 1e-4, features="free", bias="free"),
        Problem(np.arange(20, 86), 1e-4, 1e-4, features="free", bias=0.1),
    ],
    ids=["peeled, diagonal", "peeled, dense", "free bias", "penalised bias"],
)
def test_both_ways_agree_on_many_classes(problem, monkeypatch):
    """With more than 64 groups: proved; a bound that leaves out the price of budget or bias, or exceeds it, is not."""
    document = json.loads(certify(problem, tolerance=1e-4).to_json())
    assert both_ways(document, monkeypatch) == "PROVED"
    lower = encoding.undyadic(document["claims"]["lower"])
    forged = replaced(document, ("claims", "lower"), encoding.dyadic(lower * Fraction(1025, 1024)))
    forged["claims"]["verdict"] = "optimal"
    assert both_ways(forged, monkeypatch) == "REFUTED"
    assert refuted_at(forged)[0] == "lower bound"


@pytest.mark.parametrize(
    "problem",
    [
        peeled(np.arange(20, 90)),
        Problem(np.arange(20, 90), 1e-4, 1e-4, bias=0.1),
    ],
    ids=["norm bounds", "bias"],
)
def test_what_decays_and_bias_cost_is_paid_on_fast_paths(problem, monkeypatch):
    """Seventy kinds of class: a fast path gives the bound, and its price is taken off, not put on."""
    document = json.loads(certify(problem).to_json())
    truth, upper = (encoding.undyadic(document["claims"][end]) for end in ("lower", "upper"))
    above = replaced(document, ("claims", "lower"), encoding.dyadic(truth + (upper - truth) / 2))
    assert refuted_at(above) == ["lower bound"]
    monkeypatch.setattr(checking, "_less", lambda value, price: None if value is None else value + arb(price()))
    assert refuted_at(above) == []  # the planted fault is believed, so the path is asked

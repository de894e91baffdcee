"""What a certificate says of a candidate, as theorems: what is written, what Coq accepts, and what it does not."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from functools import cache

import pytest
from certificate_cases import base_certificates, biased_certificates, loss_certificates, replaced, resealed, text
from formal_cases import candidate_steps, needs_coq
from test_formal_statement import literal, power

from ufm_convex import formal
from ufm_convex.errors import OutOfReachError
from ufm_convex.formal import candidates
from ufm_convex.verifier import verify


@cache
def every():
    return {**base_certificates(), **loss_certificates(), **biased_certificates()}


SAMPLES, MEANS, BIASED = "suboptimal", "squares, candidate", "penalised bias, candidate"


def document(name):
    return json.loads(every()[name].to_json())


def field(written, name):
    return re.search(rf"\nDefinition {name} [^=]*:= (.*?)\.\n", written, re.DOTALL)[1]


@pytest.mark.parametrize("name", [SAMPLES, MEANS, BIASED, "free bias, candidate"])
def test_the_candidate_is_restated(name):
    """W, features and b number by number, classes by the counts of the statement, samples in the order of the file."""
    given = document(name)
    written = formal.written(given).text
    arrays, counts = given["candidate"]["arrays"], list(map(int, given["problem"]["class_counts"].split()))
    stated = literal(re.search(r"  counts := (.*?);\n", written)[1])
    repeats = literal(re.search(r"  multiplicities := (.*?);\n", written)[1])
    single = [n for m, n in zip(repeats, stated, strict=True) for _ in range(m)]
    assert sorted(single) == sorted(n for n, m in zip(counts, given["problem"]["multiplicities"].split(), strict=True)
                                    for _ in range(int(m)))  # fmt: skip
    W, H = ([list(map(int, row.split())) for row in arrays[part]["rows"]] for part in ("W", "features"))
    labels = list(range(len(W))) if arrays["labels"] is None else list(map(int, arrays["labels"].split()))
    blocks = [[row for row, label in zip(H, labels, strict=True) if label == k] for k in range(len(W))]
    bias = list(map(int, arrays["bias"]["integers"].split())) if "bias" in arrays else [0] * len(W)
    b = literal(field(written, "b_row")) or [0] * len(W)
    found = zip(single, literal(field(written, "W_rows")), literal(field(written, "H_rows")), b, strict=True)
    classes = [
        int(n) for n, m in zip(counts, given["problem"]["multiplicities"].split(), strict=True) for _ in range(int(m))
    ]
    assert sorted(found) == sorted(zip(classes, W, blocks, bias, strict=True))
    for part, name_ in (("W", "W"), ("features", "H")):
        exponent = re.search(rf"Definition {name_} \(.*:= vector \(?(-?\d+)\)? ", written)[1]
        assert int(exponent) == arrays[part]["exponent"]
    assert ("nth O (nth k H_rows" in written) == (given["candidate"]["level"] == "class")
    claim = given["claims"]["candidate"]
    for name_, number in (("value_low", claim["objective"]["lower"]), ("value_high", claim["objective"]["upper"]),
                          ("gap_low", claim["gap"]["lower"]), ("gap_high", claim["gap"]["upper"])):  # fmt: skip
        assert power(*literal(field(written, name_))) == power(*map(int, number.split("p")))


@pytest.mark.parametrize(
    ("part", "fault"),
    [("classes_by_run", lambda found: found[::-1]), ("matrix", lambda found: [found[-1], *found[1:]])],
)
def test_a_fault_of_the_translation_of_a_candidate_is_found(part, fault, monkeypatch):
    """Classes in another order than the statement's, and one row that is another's."""
    right = getattr(candidates, part)
    monkeypatch.setattr(candidates, part, lambda *given: fault(right(*given)))
    with pytest.raises(AssertionError):
        test_the_candidate_is_restated(SAMPLES)


def test_what_is_not_stated_of_candidates_is_refused_by_name(monkeypatch):
    given = document(SAMPLES)
    for other, words in (
        (document("infeasible"), "a candidate that is infeasible"),
        (replaced(given, ("candidate", "arrays"), None), "a candidate that is known by its SHA-256 alone"),
        (
            replaced(given, ("problem", "loss"), {"name": "multiclass-hinge", "kind": "crammer-singer"}),
            "a candidate of the",
        ),
    ):
        with pytest.raises(OutOfReachError, match=words):
            formal.written(other)
    used = given["candidate"]["feature_dim"]
    assert formal.written(replaced(given, ("problem", "feature_dim"), used)).theorems[2:]
    with pytest.raises(OutOfReachError, match="a candidate that has more coordinates than feature_dim allows"):
        formal.written(replaced(given, ("problem", "feature_dim"), used - 1))
    numbers = sum(len(row.split()) for part in ("W", "features") for row in given["candidate"]["arrays"][part]["rows"])
    monkeypatch.setattr(candidates, "MOST_NUMBERS", numbers)
    assert formal.written(given).theorems[2:] == ("the candidate's objective", "its gap")
    monkeypatch.setattr(candidates, "MOST_NUMBERS", numbers - 1)
    with pytest.raises(OutOfReachError, match=f"a candidate of more than {numbers - 1} numbers"):
        formal.written(given)


def moved(given, part, end, units):
    """One end of a claim about the candidate, by 2^-40."""
    mantissa, exponent = map(int, given["claims"]["candidate"][part][end].split("p"))
    number = Fraction(mantissa) * Fraction(2) ** exponent + units * Fraction(1, 2**40)
    unit = number.denominator.bit_length() - 1
    value = f"{number.numerator}p{-unit}" if unit else f"{number.numerator}p0"
    return resealed(replaced(given, ("claims", "candidate", part, end), value))


def forged(given):
    """(what, document, whether objective and gap still hold)."""
    row = given["candidate"]["arrays"]["features"]["rows"][0].split()
    negative = " ".join(["-" + row[0], *row[1:]])
    yield "nothing", given, (True, True)
    yield "the objective is more", moved(given, "objective", "lower", 1), (False, True)
    yield "the objective is less", moved(given, "objective", "upper", -1), (False, True)
    yield "the gap is more", moved(given, "gap", "lower", 1), (True, False)
    yield "the gap is less", moved(given, "gap", "upper", -1), (True, False)
    features = ("candidate", "arrays", "features", "rows", 0)
    yield "another feature", resealed(replaced(given, features, " ".join([row[0] + "0", *row[1:]]))), (False, True)
    yield "a negative feature", resealed(replaced(given, features, negative)), (False, True)


@needs_coq
@pytest.mark.parametrize("name", [SAMPLES, BIASED])
def test_forged_claims_about_candidates_do_not_compile(name):
    cases = list(forged(document(name)))
    for what, other, _ in cases[1:]:
        assert verify(text(other)).verdict == "REFUTED", what
    found = candidate_steps([formal.written(other).text for _, other, _ in cases])
    assert dict(zip((what for what, *_ in cases), found, strict=True)) == {what: holds for what, _, holds in cases}


@needs_coq
def test_a_claim_about_a_candidate_is_a_theorem():
    """The whole file, with class means that stand for all samples: four theorems."""
    written = formal.written(document(MEANS))
    assert formal.compile_text(written.text).compiled
    assert len(written.theorems) == 4

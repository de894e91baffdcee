"""Forgeries, made systematically: with the old digest all are malformed; re-sealed, none is proved unless true."""

from __future__ import annotations

import json

import naive_verifier
import pytest
from certificate_cases import (
    alterations,
    base_certificates,
    by_digest,
    edges,
    judge_forgery,
    large_certificates,
    loss_certificates,
    model_certificates,
    outcome,
    replaced,
    resealed,
    sha256,
    text,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ufm_convex.verifier import Verdict, checking, verify

OF_LOSSES, OF_MODELS = loss_certificates(), model_certificates()
BASES = {name: json.loads(made.to_json()) for name, made in {**base_certificates(), **OF_LOSSES, **OF_MODELS}.items()}
FIRST_OF_ITS_LOSS = {
    "squares, group", "sigmoids, group", "joint hinge", "pairwise hinge, group", "adjusted, free", "soft targets",
}  # fmt: skip
FIRST_OF_ITS_MODEL = {
    "peeled", "peeled, squares", "free bias, squares", "penalised bias, squares", "penalised bias, candidate", "margin",
    "copositive, cubic", "copositive, supports", "table", "table, squares and residuals",
}  # fmt: skip
SLOW = (OF_LOSSES.keys() - FIRST_OF_ITS_LOSS) | (OF_MODELS.keys() - FIRST_OF_ITS_MODEL)
"""Their corpora are searched in the slow tests."""
LARGE = {name: json.loads(certificate.to_json()) for name, certificate in large_certificates()}


@pytest.mark.parametrize("name", BASES)
def test_untouched_certificates_are_proved_by_both(name):
    assert outcome(text(BASES[name])) == "PROVED"
    assert judge_forgery(BASES[name]) == "PROVED"


def check_all(name):
    counts = {"malformed": 0, "REFUTED": 0, "PROVED": 0, "INCONCLUSIVE": 0}
    for what, document in alterations(BASES[name]):
        assert outcome(text(document)) == "malformed", what
        if isinstance(document, dict):
            counts[judge_forgery(document)] += 1
    return counts


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in BASES])
def test_every_field_altered(name):
    counts = check_all(name)
    assert sum(counts.values()) > 300
    assert counts["REFUTED"] > 20
    # what remains provable are weaker claims: a lower bound lowered, an upper bound raised, a proof with more room
    assert counts["PROVED"] < sum(counts.values()) / 5


@pytest.mark.parametrize(
    ("name", "field"),
    [("free", "exponents"), ("free", "columns"), ("free", "factor"), ("nonnegative", "columns"),
     ("nonnegative", "multiplier")],
)  # fmt: skip
def test_large_proofs_altered(name, field, monkeypatch):
    """With the fast path and without it: the same verdict on every alteration of a row, or of two rows' exponents."""
    document = LARGE[name]
    inner, path = document["dual"][field], ("dual", field)
    if field == "multiplier":
        inner, path = inner["rows"], (*path, "rows")
    forgeries = []
    for row in (None,) if field == "exponents" else (3, 63):
        old = list(map(int, (inner if row is None else inner[row]).split(" ")))
        where = path if row is None else (*path, row)
        for place in (0, 2):
            for value in (old[place] + 1, old[place] + 2**40, 2**41, -(2**63), 2**63 - 1, 2**63, -(2**64)):
                new = [*old[:place], value, *old[place + 1 :]]
                forgeries.append(resealed(replaced(document, where, " ".join(map(str, new)))))
        for values in ((-(2**63), 2**63 - 1), (2**63, -1)):
            new = [values[place % 2] for place in range(len(old))]
            forgeries.append(resealed(replaced(document, where, " ".join(map(str, new)))))
    found = [outcome(text(forgery)) for forgery in forgeries]
    monkeypatch.setattr(checking, "fast", None)
    assert found == [outcome(text(forgery)) for forgery in forgeries]
    assert set(found) & {"REFUTED", "malformed"}


def test_columns_at_the_edges_of_domains():
    found = [judge_forgery(document) for document in edges()]
    assert found.count("PROVED") > 50
    assert found.count("REFUTED") > 50


def test_candidates_known_by_their_digest(monkeypatch):
    """An altered candidate is never proved; altered claims only where they are for the embedded arrays, too."""
    known, twin, arrays = by_digest(monkeypatch)
    assert verify(text(known), arrays).verdict is Verdict.PROVED
    assert judge_forgery(twin) == "PROVED"
    for what, candidate in alterations(known["candidate"]):
        assert outcome(text(resealed({**known, "candidate": candidate})), arrays) != "PROVED", what
    for what, claims in alterations(known["claims"]):
        if outcome(text(resealed({**known, "claims": claims})), arrays) == "PROVED":
            assert judge_forgery({**twin, "claims": claims}) == "PROVED", what


@pytest.mark.parametrize("name", BASES)
def test_bounds_moved_past_the_truth_are_refuted(name):
    document = BASES[name]
    upper = naive_verifier.dyadic(document["claims"]["upper"])
    above = f"{(upper * 2**200).__floor__() | 1}p-199"  # twice the upper bound
    for field, value in (("lower", above), ("upper", "1p-200")):
        forged = {**document, "claims": {**document["claims"], field: value}}
        assert judge_forgery(forged) == "REFUTED"


@pytest.mark.parametrize("name", BASES)
def test_the_problem_exchanged(name):
    """The proof of one problem under another's data."""

    def data(problem):  # the same problem with another feature_dim may well be proved
        return {key: value for key, value in problem.items() if key not in ("feature_dim", "sha256")}

    for other in BASES:
        if data(BASES[other]["problem"]) != data(BASES[name]["problem"]):
            forged = {**BASES[name], "problem": BASES[other]["problem"]}
            assert judge_forgery(forged) in ("malformed", "REFUTED")


@pytest.mark.parametrize("field", ["lambda_w", "class_counts", "sha256"])
def test_the_problem_has_a_hash_of_its_own(field):
    """The digest re-sealed, the problem's hash not."""
    document = json.loads(TEXT)
    document["problem"][field] = {"lambda_w": "1p-6", "class_counts": "50 10 3", "sha256": "0" * 64}[field]
    content = {key: value for key, value in document.items() if key not in ("digest", "provenance")}
    assert outcome(text({**document, "digest": sha256(content)})) == "malformed"


def test_ten_times_the_classes():
    document = json.loads(json.dumps(BASES["diagonal"]))
    document["problem"]["multiplicities"] = "10 10 10"
    assert outcome(text(resealed(document))) == "malformed"  # the witness covers a tenth of the classes
    document["witness"]["multiplicities"] = "10 10 10"
    assert judge_forgery(document) == "REFUTED"


# without shrinking: one alteration is as small as another, and each costs a pass over all of them
@settings(max_examples=100, phases=[Phase.explicit, Phase.generate])
@given(st.sampled_from(sorted(BASES)), st.data())
def test_several_alterations_at_once(name, data):
    document = BASES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        choices = [pair for pair in alterations(document) if isinstance(pair[1], dict)]
        document = choices[data.draw(st.integers(0, len(choices) - 1))][1]
    if outcome(text(resealed(document))) != "malformed":
        judge_forgery(document)
    assert outcome(text(resealed(document))) in {verdict.value for verdict in Verdict} | {"malformed"}


# -- bytes --------------------------------------------------------------------------------------------------------

TEXT = json.dumps(BASES["diagonal"], indent=1)
NUMBER = '"version": 1'


@pytest.mark.parametrize(
    "word", ["NaN", "nan", "Infinity", "-Infinity", "1.0", "1e0", "1E400", "0x1", "01", "+1", "1" * 25]
)
def test_no_other_spelling_of_a_number(word):
    assert NUMBER in TEXT
    assert outcome(TEXT.replace(NUMBER, f'"version": {word}').encode()) == "malformed"


@pytest.mark.parametrize("key", ["claims", "digest", "lower", "provenance", "lambda_w"])
def test_duplicate_keys(key):
    place = TEXT.index(f'"{key}"')
    assert outcome((TEXT[:place] + f'"{key}": null, ' + TEXT[place:]).encode()) == "malformed"
    whole = TEXT[place : TEXT.index(",\n", place)]
    if json.loads("{" + whole + "}") if whole.count("{") == whole.count("}") else False:
        assert outcome((TEXT[:place] + whole + ", " + TEXT[place:]).encode()) == "malformed"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\xfe", b"null", b"[]", b"{}", b'"x"', b"1", b"[" * 200_000, b'{"a":' * 100_000,
        b"[[]" + b",[]" * 10**6,
        TEXT.encode("utf-16"), b"\xef\xbb\xbf" + TEXT.encode(), TEXT.encode() + b"x", TEXT.encode() * 2,
        TEXT.replace("p-", "\ud800p-").encode("utf-8", "surrogatepass"), TEXT.replace("optimal", "\\ud800").encode(),
        TEXT.encode().replace(b"diagonal", b"diag\xc3onal"), TEXT.encode() + b"\0", b" " * (2**27 + 1),
    ],
    ids=range(19),
)  # fmt: skip
def test_what_is_no_certificate(data):
    assert outcome(data) == "malformed"


def test_truncated_files():
    data = TEXT.encode()
    assert {outcome(data[:end]) for end in range(0, len(data), 7)} == {"malformed"}


def test_every_byte_of_the_content_counts():
    """One bit of one byte flipped: malformed, unless white space or the provenance was hit."""
    data = bytearray(TEXT.encode())
    start, end = TEXT.index('"provenance"'), TEXT.index("}", TEXT.index('"provenance"'))
    wrong = []
    for place in range(0, len(data), 3):
        data[place] ^= 1
        if outcome(bytes(data)) != "malformed" and not (start <= place <= end) and not chr(data[place] ^ 1).isspace():
            wrong.append(place)
        data[place] ^= 1
    assert wrong == []

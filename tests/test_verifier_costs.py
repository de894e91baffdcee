"""What a file may cost is bounded: the ledger, and the hostile corpus in small and in full size."""

from __future__ import annotations

import json

import pytest
from certificate_cases import base_certificates, loss_certificates
from hostile_corpus import CORPUS, build, measure, written

from ufm_convex.certificate import certify
from ufm_convex.errors import SizeError
from ufm_convex.problem import Problem
from ufm_convex.verifier import MalformedCertificate, Verdict, costs, problem, reading, verify
from ufm_convex.verifier.costs import Costs
from ufm_convex.verifier.losses import LOSSES

SECONDS, BYTES = 30.0, 2 << 30


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_in_small_is_decided(name):
    """A part of each file is a certificate like others, well-formed, so that its full size tests the limits."""
    if name == "long_vectors":  # of a loss that tells classes apart, in two groups: malformed at any size
        with pytest.raises(MalformedCertificate):
            verify(build(name, 1e-4))
        return
    assert verify(build(name, 1e-4)).verdict in set(Verdict)


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPUS)
def test_no_accepted_file_needs_more(name, tmp_path):
    code, seconds, memory, printed = measure(written(name, tmp_path / "hostile.json"))
    assert code in (0, 1, 2, 3), printed
    assert seconds < SECONDS, printed
    assert memory < BYTES, printed


def test_a_file_is_measured_in_a_process_of_its_own(tmp_path):
    (tmp_path / "c.json").write_bytes(certify(Problem([3, 2], 1e-2, 1e-2)).to_json().encode())
    code, seconds, memory, printed = measure(tmp_path / "c.json")
    assert code == 0
    assert printed.splitlines()[-1].startswith("PROVED in ")
    assert 0.0 < seconds < SECONDS
    assert 1 << 20 < memory < BYTES


def test_certificates_cost_little():
    for certificate in {**base_certificates(), **loss_certificates()}.values():
        ledger = Costs.of(json.loads(certificate.to_json()))
        assert ledger.memory < 1e5
        assert ledger.work < 1e4


def table(entries, exponent):
    """A document with a table of margins of so many entries."""
    rows = [" ".join(["1"] * 1000)] * (entries // 1000)
    return {"problem": {"loss": {"margins": {"exponent": exponent, "rows": rows}}}}


def test_memory_is_counted_before_it_is_taken():
    """A number of the table takes 56 + 96 + e/8 bytes, its digit and space some more: a thousand on either side."""
    each = 56 + 96 + 16384 / 8 + 2 * 3.33 / 4
    most = int(costs.MAX_MEMORY / each) // 1000 * 1000
    Costs.of(table(most - 1000, 16384))
    with pytest.raises(MalformedCertificate, match="bytes"):
        Costs.of(table(most + 2000, 16384))


def test_the_ledger_sums_what_each_step_pays(monkeypatch):
    monkeypatch.setattr(costs, "MAX_WORK", 10.0)
    ledger = Costs()
    for _ in range(2):
        ledger.spend(5, 1, 0)
    assert ledger.work == pytest.approx(2 * 5 * 0.8)
    with pytest.raises(reading.Undecided, match="too long"):
        ledger.spend(5, 1, 0)
    assert ledger.work == pytest.approx(2 * 5 * 0.8)  # what is refused is not paid
    ledger.multiply(1000, 0)
    with pytest.raises(reading.Undecided):
        ledger.multiply(1000, 64)


@pytest.mark.parametrize("name", ["diagonal", "dense", "group witness", "squares", "suboptimal", "multiplier"])
def test_every_kind_of_step_pays(name, monkeypatch):
    """With nothing left in the ledger no step that evaluates is decided: the claims alone are compared."""
    data = {**base_certificates(), **loss_certificates()}[name].to_json().encode()
    assert verify(data).verdict is Verdict.PROVED
    monkeypatch.setattr(Costs, "of", classmethod(lambda cls, fields: cls()))
    monkeypatch.setattr(costs, "MAX_WORK", 0.0)
    steps = {step.name: step.verdict for step in verify(data).steps}
    paid = {"slack", "lower bound", "upper bound", "objective from below", "objective from above"} & set(steps)
    assert {steps[step] for step in paid} == {Verdict.INCONCLUSIVE}


@pytest.mark.parametrize("field", ["scale", "shift", "margins"])
def test_vectors_of_more_classes_than_are_written_one_by_one(field, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LENGTH", 4)
    value = {"exponent": 0, "integers": "1 1 1 1 1"}
    with pytest.raises(MalformedCertificate, match="more than 4"):
        reading.vector(value, 5)
    assert len(reading.vector({**value, "integers": "1 1 1 1"}, 4)) == 4
    loss = {"name": "logit-adjusted-cross-entropy", "scale": None, "shift": None, field: value}
    if field == "margins":
        loss = {"name": "label-margin-cross-entropy", field: value}
    with pytest.raises(MalformedCertificate, match="more than 4"):
        problem.read_loss(loss, 5)


LONG = {"exponent": -4000, "integers": f"{2**4000} 1 1"}
PLAIN = ("multiclass-hinge", "squared-hinge", "mean-squared-error", "binary-cross-entropy")
PARAMETERS = {
    "cross-entropy": {"smoothing": "1p-4000"},
    "soft-target-cross-entropy": {
        "targets": {"exponent": -4000, "rows": [" ".join(str(2**4000 * (j == k)) for j in range(3)) for k in range(3)]}
    },
    "logit-adjusted-cross-entropy": {"scale": None, "shift": LONG},
    "label-margin-cross-entropy": {"margins": LONG},
    "hard-margin": {"margins": "1p-4000", "scale": None},
    "multiclass-hinge": {"kind": "crammer-singer"},
    **{key: {} for key in PLAIN[1:]},
}


@pytest.mark.parametrize("name", LOSSES)
def test_parameters_are_as_long_as_they_are(name):
    """What evaluates a loss pays for the bits of its parameters, whichever loss it is."""
    bits = problem.read_loss({"name": name, **PARAMETERS[name]}, 3).bits
    assert bits == 0 if name in PLAIN else 4000 <= bits <= 8100


def test_writers_ask_the_same_ledger(monkeypatch):
    monkeypatch.setattr(costs, "MAX_MEMORY", 100)
    with pytest.raises(SizeError, match="too many numbers"):
        certify(Problem([3, 2], 1e-2, 1e-2))


def test_many_distinct_classes_are_within_the_ledger():
    """A million: 41 MB of numbers in the form that writers give them."""
    certificate = json.loads(certify(Problem(range(1, 2001), 1e-6, 1e-6)).to_json())
    ledger = Costs.of(certificate)
    assert 500 * ledger.memory < costs.MAX_MEMORY
    assert 500 * ledger.work < costs.MAX_WORK / 4


def test_characters_beyond_ascii_take_four_times_the_memory(monkeypatch):
    data = build("words", 1e-6)
    assert not data.isascii()
    monkeypatch.setattr(reading, "MAX_BYTES", len(data) * 4)
    assert verify(data).verdict is Verdict.REFUTED  # its verdict is none, but it is read
    monkeypatch.setattr(reading, "MAX_BYTES", len(data) * 4 - 1)
    with pytest.raises(MalformedCertificate, match="ASCII"):
        verify(data)

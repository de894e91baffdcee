"""The verifier: verdicts, exit codes, independence, limits, and its fast path against its exact one."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from certificate_cases import (
    CROWDED,
    PLAIN,
    base_certificates,
    boundaries,
    crowded_dual,
    feasible_dual,
    resealed,
    text,
    with_dual,
)
from flint import ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from ufm_convex import enclosure, verifier
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import certify, encoding
from ufm_convex.certificate.certifying import assemble
from ufm_convex.points import FramePoint
from ufm_convex.problem import Problem
from ufm_convex.solving import solve
from ufm_convex.verifier import MalformedCertificate, Verdict, fast, proof, reading, verify

FOLDER = Path(verifier.__file__).parent


def test_it_imports_nothing_of_the_package():
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").split(".")[0] != "ufm_convex", path.name
            elif isinstance(node, ast.Import):
                assert all(not alias.name.startswith("ufm_convex") for alias in node.names), path.name


def test_it_has_no_assert_and_no_broad_except():
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Assert)
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None
                assert "Exception" not in ast.unparse(node.type).replace("BadZipFile", "")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    certificate = certify(PLAIN)
    certificate.save(folder / "proved.json")
    document = json.loads(certificate.to_json())
    document["claims"]["lower"] = document["claims"]["upper"].replace("p-", "p-1")
    document["claims"]["upper"] = "1p-99"
    (folder / "refuted.json").write_bytes(text(resealed(document)))
    (folder / "malformed.json").write_text("{}")
    W, H = solve(PLAIN).factors()
    limit, encoding.EMBEDDED_NUMBERS = encoding.EMBEDDED_NUMBERS, 0
    certify(PLAIN, Candidate(weights=W, features=H, class_counts=PLAIN.class_counts)).save(folder / "inconclusive.json")
    encoding.EMBEDDED_NUMBERS = limit
    np.savez(folder / "candidate.npz", weights=W, features=H, class_counts=PLAIN.class_counts)
    return folder


@pytest.mark.parametrize("flags", [[], ["-O"]])
@pytest.mark.parametrize("verdict", ["proved", "refuted", "malformed", "inconclusive"])
def test_exit_codes(files, verdict, flags):
    done = subprocess.run(
        [sys.executable, *flags, "-m", "ufm_convex.verifier", str(files / f"{verdict}.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == {"proved": 0, "refuted": 1, "malformed": 2, "inconclusive": 3}[verdict]
    assert verdict in done.stdout.splitlines()[-1].lower()
    assert done.stderr == ""


def test_a_candidate_in_its_file_is_proved_and_another_is_not(files, tmp_path):
    assert verify(files / "inconclusive.json", files / "candidate.npz").verdict is Verdict.PROVED
    arrays = dict(np.load(files / "candidate.npz"))
    arrays["features"] = arrays["features"] * 1.0000001
    assert verify(files / "inconclusive.json", arrays).verdict is Verdict.INCONCLUSIVE
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 not an archive")
    for given_ in (tmp_path / "no.npz", tmp_path / "missing.npz", {"weights": 3}, {}):
        assert verify(files / "inconclusive.json", given_).verdict is Verdict.INCONCLUSIVE


def test_an_unreadable_path_is_malformed(tmp_path):
    with pytest.raises(MalformedCertificate, match="cannot be read"):
        verify(tmp_path / "missing.json")


# -- the fast path ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["free", "nonnegative"])
def large(request):
    """A dense proof of 80 classes, just large enough for the fast path."""
    problem = Problem(np.arange(20, 100), 1e-4, 1e-4, features=request.param)
    lower = enclosure.lower_bound(problem, feasible_dual(problem, share=0.9), proof="dense")
    zeros = np.zeros(80)
    return assemble(problem, lower, enclosure.upper_bound(problem, FramePoint(zeros, zeros)), 1e-6, {})


def blocks_of(certificate):
    document = json.loads(certificate.to_json())
    return proof.Blocks(proof.Problem(document["problem"]), document["dual"])


def test_the_fast_path_confirms_what_the_exact_path_proves(large):
    blocks = blocks_of(large)
    quick = fast.Fast.of(blocks)
    assert quick is not None
    assert quick.slack_dominates()
    blocks.check_slack()
    with ctx.workprec(128):
        exact, rough = verifier._dual_value(blocks), quick.dual_value()
    assert rough is not None
    assert rough.contains(exact)
    assert float(rough.rad()) < 1e-11 * float(rough.mid())


def test_the_fast_path_decides_alone(large, monkeypatch):
    monkeypatch.setattr(proof.Blocks, "check_slack", lambda self: pytest.fail("the exact path was asked"))
    monkeypatch.setattr(verifier, "_dual_value", lambda dual: pytest.fail("the exact path was asked"))
    assert verify(large.to_json().encode()).verdict is Verdict.PROVED


def test_without_numpy_the_exact_path_decides(large, monkeypatch):
    monkeypatch.setattr(verifier, "fast", None)
    assert verify(large.to_json().encode()).verdict is Verdict.PROVED


@settings(max_examples=40)
@given(st.integers(0, 79), st.integers(0, 79), st.integers(0, 70), st.sampled_from(["columns", "factor"]))
def test_the_fast_path_agrees_on_planted_faults(large, row, column, bits, where):
    """One integer of the proof moved by a power of two: the fast path never confirms what the exact path refutes."""
    blocks = blocks_of(large)
    rows = blocks.columns_ if where == "columns" else blocks.factor
    if rows is None or row == column or column >= len(rows[row]):
        return
    rows[row][column] += 1 << bits
    if where == "columns":
        blocks.own[row] -= 1 << bits
    quick = fast.Fast.of(blocks)
    if quick is not None and quick.slack_dominates():
        blocks.check_slack()  # raises Refuted if it does not hold


def test_the_fast_path_does_not_confirm_a_raised_claim(large):
    document = json.loads(large.to_json())
    document["claims"]["lower"] = document["claims"]["upper"]
    found = {step.name: step.verdict for step in verify(text(resealed(document))).steps}
    assert found["lower bound"] is Verdict.REFUTED


def test_alike_classes_at_the_boundary():
    """Equality in (8) is enough, one unit less is not."""
    verdicts = [verify(text(document)).verdict for document in boundaries()]
    assert verdicts == [Verdict.PROVED, Verdict.REFUTED]


def test_a_claim_equal_to_an_exact_value_is_proved():
    """V = 0: p = e_k, whose entropy is exactly 0."""
    document = json.loads(certify(PLAIN, tolerance=0.5).to_json())
    document["dual"]["strengths"]["integers"] = "0 0 0"
    document["claims"].update(lower="0p0", verdict="undecided")
    assert verify(text(resealed(document))).verdict is Verdict.PROVED


def test_logarithms_and_exponentials_keep_their_promise():
    generator = np.random.default_rng(0)
    x = np.concatenate([[1.0, 2.0, 3.0, 2.0**41], np.floor(2.0 ** generator.uniform(0, 41, 2000))])
    n = np.concatenate([[0.0, 1.0 / 128, 63.99], generator.uniform(0, 64, 2000)])
    with mp.workdps(40):
        worst = max(abs(mp.mpf(float(a)) - mp.log(mp.mpf(float(b)))) for a, b in zip(fast._log(x), x, strict=True))
        assert worst < mp.mpf(2) ** -46
        powers = zip(fast._exp_of_minus(n), n, strict=True)
        assert max(abs(mp.mpf(float(a)) * mp.exp(mp.mpf(float(b))) - 1) for a, b in powers) < mp.mpf(2) ** -50
    assert fast._exp_of_minus(np.array([65.0, 1e300])).tolist() == [0.0, 0.0]


# -- claims near the truth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [60, 200, 1000])
def test_claims_as_near_as_one_likes_are_decided(bits):
    """value ∓ 2^-bits: proved and refuted, at any distance that the precision limit reaches."""
    document = json.loads(certify(PLAIN).to_json())
    blocks = proof.Diagonal(proof.Problem(document["problem"]), document["dual"])
    with ctx.workprec(bits + 64):
        mantissa, exponent = verifier._dual_value(blocks).lower().man_exp()
    for sign, verdict in ((-1, Verdict.PROVED), (1, Verdict.REFUTED)):
        shift = -int(exponent) - bits
        number = ((int(mantissa) >> shift) + sign * 2) | 1
        document["claims"]["lower"] = f"{number}p{-bits}"
        found = {step.name: step.verdict for step in verify(text(resealed(document))).steps}
        assert found["lower bound"] is verdict


def test_work_is_limited(monkeypatch):
    monkeypatch.setattr(verifier, "WORK", 1)
    certificate = certify(PLAIN, digits=100)
    assert verify(certificate.to_json().encode()).verdict is Verdict.INCONCLUSIVE


# -- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("problem", "multiplicities"), "1 1 1000000000"),
        (("problem", "class_counts"), "9223372036854775807 10 2"),
        (("claims", "lower"), "1p-99999"),
        (("claims", "lower"), f"{10**1300 + 1}p0"),
        (("dual", "strengths", "exponent"), 20000),
        (("dual", "strengths", "integers"), f"{10**1300} 1 1"),
        (("dual", "strengths", "integers"), "1 " * 3_000_000 + "1"),
        (("dual", "strengths", "integers"), "1" * 5000 + " 1 1"),
    ],
)
def test_beyond_the_limits_is_malformed_at_once(path, value):
    document = json.loads(certify(PLAIN).to_json())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    data = text(resealed(document))
    started = time.process_time()
    with pytest.raises(MalformedCertificate):
        verify(data)
    assert time.process_time() - started < 2.0  # a bound on hanging, not a benchmark


def test_dense_arrays_are_limited():
    document = json.loads(certify(PLAIN).to_json())
    document["problem"].update(class_counts="5", multiplicities="3000")
    problem = proof.Problem({**document["problem"], "sha256": reading.sha256_of(document["problem"], ("sha256",))})
    with pytest.raises(MalformedCertificate, match="2048"):
        proof.Blocks(problem, {"kind": "dense", "exponents": "", "columns": [], "multiplier": None, "factor": None})
    with pytest.raises(MalformedCertificate, match="logits"):
        proof.Factors(problem, 1, {}, {})


def test_each_step_is_named_once():
    for certificate in base_certificates().values():
        names = [step.name for step in verify(certificate.to_json().encode()).steps]
        assert len(names) == len(set(names))
        assert names[:4] == ["slack", "lower bound", "witness", "upper bound"]


def test_a_multiplier_is_refused_for_free_features():
    document = json.loads(with_dual(CROWDED, crowded_dual(), "dense").to_json())
    document["problem"]["features"] = "free"
    with pytest.raises(MalformedCertificate, match="multiplier"):
        verify(text(resealed(document)))

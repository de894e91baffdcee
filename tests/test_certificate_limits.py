"""Large candidates, streamed or embedded where that is soon checked; and what is not written, as none would read it."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from certificate_cases import PLAIN, resealed, text

from ufm_convex.candidate import Candidate
from ufm_convex.certificate import certify, limits
from ufm_convex.errors import SizeError
from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.verifier import Verdict, checking, fast, points, problem, proof, reading, verify

K, D, N = 10, 64, 50_000


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    """The candidate's file of features, 12.8 MB, its arrays with the features memory-mapped, and its certificate."""
    path = tmp_path_factory.mktemp("streamed") / "features.npy"
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(K), generator.integers(0, K, N - K)])
    means = generator.random((K, D))
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(N, D))
    features[:] = means[labels] + 0.3 * generator.random((N, D))
    features.flush()
    weights = (0.3 * (means - means.mean(axis=0))).astype(np.float32)
    arrays = {"weights": weights, "features": np.load(path, mmap_mode="r"), "labels": labels}
    candidate = Candidate(**arrays)
    problem = Problem(candidate.class_counts, 1e-3, 1e-5)
    return path, arrays, certify(problem, candidate).to_json().encode()


def verdicts(result):
    return {step.name: step.verdict for step in result.steps}


def test_a_memory_mapped_candidate_is_proved_in_little_memory(streamed):
    path, arrays, data = streamed
    assert json.loads(data)["candidate"]["arrays"] is None
    verify(data, arrays)  # tables are made once
    tracemalloc.start()
    result = verify(data, arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.verdict is Verdict.PROVED
    assert peak < 0.75 * path.stat().st_size


def changed(path, tmp_path, row, column, value):
    """A copy of the features with one entry changed, memory-mapped."""
    copy = tmp_path / "copy.npy"
    copy.write_bytes(path.read_bytes())
    features = np.load(copy, mmap_mode="r+")
    features[row, column] = value
    features.flush()
    return np.load(copy, mmap_mode="r")


def test_one_entry_of_the_last_block_counts(streamed, tmp_path):
    """With its old digest the file is another one; with the new digest a negative feature is found."""
    path, arrays, data = streamed
    arrays = {**arrays, "features": changed(path, tmp_path, N - 1, D - 1, -1e-30)}
    assert verdicts(verify(data, arrays))["asked"] is Verdict.REFUTED
    document = json.loads(data)
    document["candidate"]["sha256"] = fast._digest({k: arrays[k] for k in ("weights", "features", "labels")})
    found = verdicts(verify(text(resealed(document)), arrays))
    assert found["candidate"] is Verdict.REFUTED


def test_a_large_feature_of_the_last_block_moves_the_objective(streamed, tmp_path):
    path, arrays, data = streamed
    arrays = {**arrays, "features": changed(path, tmp_path, N - 1, D - 1, 40.0)}
    document = json.loads(data)
    document["candidate"]["sha256"] = fast._digest({k: arrays[k] for k in ("weights", "features", "labels")})
    found = verdicts(verify(text(resealed(document)), arrays))
    assert found["objective from above"] is Verdict.REFUTED


def test_blocks_of_any_size_enclose_the_same_number(streamed, monkeypatch):
    _, arrays, data = streamed
    candidate = checking._Certificate(reading.document(data)).candidate
    balls = []
    for rows in (1 << 14, 1 << 18, 1 << 22):
        monkeypatch.setattr(fast, "_ROWS", rows)
        balls.append(fast.InFile(candidate, arrays).objective())
    assert all(ball.overlaps(balls[0]) and float(ball.rad()) < 2**-35 * float(ball.mid()) for ball in balls)


# -- embedded candidates ------------------------------------------------------------------------------------------


def candidate_of(rows, span, dimension=20, classes=100):
    """Features from 1 down to 2^-span."""
    generator = np.random.default_rng(1)
    features = generator.random((rows * classes, dimension)) * 2.0 ** -generator.uniform(
        0, span, (rows * classes, dimension)
    )
    features[0, 0], features[-1, -1] = 1.0, 2.0**-span
    labels = np.repeat(np.arange(classes), rows)
    return Candidate(weights=generator.normal(size=(classes, dimension)), features=features, labels=labels)


@pytest.mark.parametrize(("span", "embedded"), [(20, True), (400, True), (900, False)])
def test_candidates_of_any_span_are_proved(span, embedded):
    """300,000 logits: beyond 512 bits they are not embedded, since binary64 alone decides about so many."""
    candidate = candidate_of(30, span)
    certificate = certify(Problem(candidate.class_counts, 1e-4, 1e-4), candidate)
    data = certificate.to_json().encode()
    assert (certificate.content["candidate"]["arrays"] is not None) is embedded
    arrays = {"weights": candidate.weights, "features": candidate.features, "labels": candidate.labels}
    assert verify(data, None if embedded else arrays).verdict is Verdict.PROVED


@pytest.mark.parametrize("span", [600, 1000])
def test_small_candidates_of_any_span_are_embedded_and_proved(span):
    candidate = candidate_of(2, span, dimension=3, classes=5)
    certificate = certify(Problem(candidate.class_counts, 1e-4, 1e-4), candidate)
    assert certificate.content["candidate"]["arrays"] is not None
    assert verify(certificate.to_json().encode()).verdict is Verdict.PROVED


def test_a_false_objective_of_an_embedded_candidate_is_not_confirmed():
    """2^-30 below, where writers leave 2^-32: refuted by the general path, or left undecided where that stops."""
    for rows, expected in ((10, Verdict.REFUTED), (30, Verdict.INCONCLUSIVE)):
        candidate = candidate_of(rows, 20)
        document = json.loads(certify(Problem(candidate.class_counts, 1e-4, 1e-4), candidate).to_json())
        claim = document["claims"]["candidate"]["objective"]["upper"]
        mantissa, exponent = map(int, claim.split("p"))
        shorter = (mantissa << 8) - (mantissa >> 22)
        document["claims"]["candidate"]["objective"]["upper"] = f"{shorter | 1}p{exponent - 8}"
        assert verdicts(verify(text(resealed(document))))["objective from above"] is expected


# -- the writer knows the reader's limits -------------------------------------------------------------------------


def test_both_sides_have_the_same_limits():
    assert limits.FILE_BYTES == reading.MAX_BYTES
    assert limits.INTEGERS_IN_A_STRING == reading.MAX_LENGTH
    assert limits.INTEGER_BITS == reading.MAX_BITS
    assert limits.VECTOR_BITS == reading.MAX_VECTOR_BITS
    assert limits.COLUMN_BITS == proof.MAX_COLUMN_BITS
    assert limits.PRODUCT_WORK == problem.MAX_PRODUCT_WORK
    assert limits.EXACT_LOGITS == points.MAX_EXACT_LOGITS


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FILE_BYTES", 100, "bytes"),
        ("INTEGERS_IN_A_STRING", 2, "in a row"),
        ("INTEGER_BITS", 10, "integer"),
        ("VECTOR_BITS", 100, "vector"),
    ],
)
def test_what_no_verifier_would_read_is_not_written(monkeypatch, name, value, words):
    certify(PLAIN)
    monkeypatch.setattr(limits, name, value)
    with pytest.raises(SizeError, match=words):
        certify(PLAIN)


def test_too_long_a_dual_point_is_not_written(monkeypatch):
    problem = Problem([5, 4, 3], 1e-2, 1e-2)
    assert isinstance(certify(problem, proof="dense").content["dual"]["columns"], list)
    monkeypatch.setattr(limits, "COLUMN_BITS", 100)
    with pytest.raises(SizeError, match="dual point"):
        certify(problem, proof="dense")


def test_weights_of_three_hundred_orders_of_magnitude_are_refused_by_name_where_they_are_many():
    """600,000 strengths as multiples of one unit would take more than 2^30 bits; three of them do not."""
    problem = Problem([5, 4, 3], 5e-3, 5e-3, loss=CrossEntropy(class_weights=(1e150, 1.0, 1e-150)))
    assert verify(certify(problem).to_json().encode()).verdict is Verdict.PROVED
    content = certify(problem).content
    long = {"exponent": -1000, "integers": " ".join([str(1 << 1000)] * 600_000)}
    with pytest.raises(SizeError, match=r"bytes|vector"):
        limits.require_checkable({**content, "witness": {**content["witness"], "eta": long}})

"""Candidates with a bias: the object and its files, proved objectives, certificates, and faults that each step catches.

Expected values come from the definition of the objective, sample by sample, in mpmath (``defined``) or in plain NumPy
(``plainly``), which know nothing of the package but the numbers of the problem.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction

import mpmath
import naive_verifier
import numpy as np
import pytest
import scipy.io
from certificate_cases import outcome, replaced, resealed, text
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import cli, measures, plots, proof, verifier
from ufm_convex._bits import fraction
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import Certificate, encoding
from ufm_convex.enclosure import candidate as streamed
from ufm_convex.enclosure.candidate import enclose_objective
from ufm_convex.enclosure.candidate_exact import enclose_exactly
from ufm_convex.errors import CandidateError, CountsError, FileFormatError, ShapeError
from ufm_convex.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, MulticlassHinge
from ufm_convex.problem import Problem
from ufm_convex.verifier import Verdict, fast, points

COUNTS = [5, 3, 2]
LABELS = np.repeat(np.arange(3), COUNTS)


def arrays(seed=0, dtype=np.float64, scale=1.0, d=4):
    """W, F and b of a candidate that is nothing special."""
    rng = np.random.default_rng(seed)
    W, F, b = rng.normal(size=(3, d)), np.abs(rng.normal(size=(10, d))), rng.normal(size=3)
    return {"weights": W.astype(dtype), "features": F.astype(dtype), "bias": (scale * b).astype(dtype)}


def candidate(seed=0, **changed):
    return Candidate(**{**arrays(seed), "labels": LABELS, **changed})


def without(found):
    return Candidate(**{name: array for name, array in found.arrays().items() if name != "bias"})


def lambda_b(problem):
    return 0.0 if problem.bias in (None, "free") else problem.bias


def defined(problem, found, digits=40):
    """f(W, H, b) from the definition at the exact entries, for cross-entropy with smoothing and squared error."""
    with mpmath.workdps(digits):
        W, F = ([[mpmath.mpf(float(x)) for x in row] for row in M] for M in (found.weights, found.features))
        b = [mpmath.mpf(0)] * len(W) if found.bias is None else [mpmath.mpf(float(x)) for x in found.bias]
        weights = problem.loss.weights(len(W))
        repeats = [1] * len(F) if found.level == "sample" else found.class_counts.tolist()
        total = mpmath.mpf(0)
        for h, k, n in zip(F, found.labels.tolist(), repeats, strict=True):
            z = [mpmath.fdot(w, h) + entry for w, entry in zip(W, b, strict=True)]
            if isinstance(problem.loss, MeanSquaredError):
                value = mpmath.fsum((x - (j == k)) ** 2 for j, x in enumerate(z)) / 2
            else:
                alpha = mpmath.mpf(problem.loss.smoothing)
                value = mpmath.log(mpmath.fsum(mpmath.exp(x - z[k]) for x in z))
                value += alpha * (z[k] - mpmath.fsum(z) / len(z))
            total += n * mpmath.mpf(float(weights[k])) * value / problem.num_samples
            total += mpmath.mpf(problem.lambda_h) * n * mpmath.fdot(h, h) / 2
        total += mpmath.mpf(problem.lambda_w) * mpmath.fsum(mpmath.fdot(w, w) for w in W) / 2
        return total + mpmath.mpf(lambda_b(problem)) * mpmath.fdot(b, b) / 2


def exact(number):
    """An mpmath number as a fraction."""
    sign, mantissa, exponent, _ = number._mpf_
    return (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def encloses(found, value, slack=Fraction(1, 10**30)):
    """Whether an interval of binary64 numbers contains a value that is known to 40 digits."""
    value = exact(value)
    return fraction(found[0]) <= value * (1 + slack) and value * (1 - slack) <= fraction(found[1])


# -- the object ---------------------------------------------------------------------------------------------------


def test_a_bias_is_kept_as_it_is_and_cannot_be_changed():
    b = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    found = candidate(bias=b)
    b[0] = 7.0
    assert found.bias.dtype == np.float32
    assert found.bias.tolist() == [1.0, 2.0, 3.0]
    assert not found.bias.flags.writeable
    assert repr(found).endswith("features float64, bias float32)")
    assert candidate(bias=None).bias is None
    assert "bias" not in repr(candidate(bias=None))


@pytest.mark.parametrize(
    ("kind", "bias"),
    [
        (ShapeError, np.zeros((3, 1))),
        (ShapeError, np.zeros(2)),
        (ShapeError, np.zeros(0)),
        (ShapeError, 0.0),
        (CandidateError, np.zeros(3, dtype=int)),
        (CandidateError, np.zeros(3, dtype=complex)),
        (CandidateError, np.zeros(3, dtype=np.float16)),
        (CandidateError, ["a", "b", "c"]),
        (CandidateError, np.array([0.0, np.nan, 0.0])),
        (CandidateError, np.array([0.0, 0.0, -np.inf])),
        (CandidateError, np.ma.masked_array(np.zeros(3), mask=[0, 1, 0])),
        (ShapeError, [[1.0], [1.0, 2.0]]),
    ],
)
def test_what_is_no_bias_is_refused(kind, bias):
    with pytest.raises(kind) as caught:
        candidate(bias=bias)
    assert "bias" in caught.value.got
    assert caught.value.fix


def specified(found):
    """The digest from its specification (docs/streaming.md, section 7)."""
    digest = hashlib.sha256()
    for name, array in found.arrays().items():
        shape = "x".join(str(n) for n in array.shape)
        digest.update(f"{name} {array.dtype.str} {shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def test_the_bias_enters_the_digest_where_there_is_one():
    """Without one the digest is the one that it always was: a constant from before there was a bias."""
    plain = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[2, 1, 1])
    zeros = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[2, 1, 1], bias=np.zeros(3))
    assert plain.sha256 == "468b52bdced914f2fbced9643ba472ea98718ab10c0d5f95326a371bee60308e"
    assert zeros.sha256 == specified(zeros) != plain.sha256
    assert candidate().sha256 == specified(candidate())
    assert list(candidate().arrays()) == ["weights", "features", "labels", "bias"]


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_with_a_bias_comes_back(tmp_path, save, dtype):
    made = Candidate(**arrays(dtype=dtype), labels=LABELS)
    save(tmp_path / "c.npz", **made.arrays())
    assert Candidate.load(tmp_path / "c.npz").sha256 == made.sha256
    for name, array in made.arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    names = (tmp_path / f"{name}.npy" for name in ("weights", "features", "labels"))
    assert Candidate.from_files(*names, bias=tmp_path / "bias.npy").sha256 == made.sha256


@pytest.mark.parametrize("name", ["fc.bias", "b", "head_bias", "classifier.bias", "biases"])
def test_a_bias_of_another_name_is_asked_for_by_its_own(tmp_path, name):
    """Following the advice gives the bias of the file."""
    given = {**arrays(), "labels": LABELS}
    b = given.pop("bias")
    np.savez(tmp_path / "c.npz", **given, **{name: b})
    with pytest.raises(FileFormatError, match="would not be used") as caught:
        Candidate.load(tmp_path / "c.npz")
    assert f"arrays={{'bias': {name!r}}}" in caught.value.fix
    assert Candidate.load(tmp_path / "c.npz", arrays={"bias": name}).bias.tolist() == b.tolist()


def test_two_biases_in_one_file_are_one_too_many(tmp_path):
    np.savez(tmp_path / "c.npz", **candidate().arrays(), **{"fc.bias": np.zeros(3)})
    with pytest.raises(FileFormatError, match=r"fc\.bias, which would not be used") as caught:
        Candidate.load(tmp_path / "c.npz")
    assert "leave fc.bias out" in caught.value.fix
    found = Candidate.load(tmp_path / "c.npz", arrays={"bias": "fc.bias"})  # the other is none of the candidate then
    assert found.bias.tolist() == [0.0] * 3


def test_names_of_a_whole_network_are_translated_with_the_bias(tmp_path):
    given = arrays()
    named = {"fc.weight": given["weights"], "fc.bias": given["bias"], "H": given["features"], "y": LABELS}
    np.savez(tmp_path / "c.npz", **named)
    with pytest.raises(FileFormatError) as caught:
        Candidate.load(tmp_path / "c.npz")
    names = {"weights": "fc.weight", "features": "H", "labels": "y", "bias": "fc.bias"}
    assert f"arrays={names}" in caught.value.fix
    assert Candidate.load(tmp_path / "c.npz", arrays=names).sha256 == candidate().sha256
    with pytest.raises(FileFormatError, match=r"fc\.bias, which would not be used"):
        Candidate.load(tmp_path / "c.npz", arrays={name: key for name, key in names.items() if name != "bias"})


def test_a_bias_of_matlab_stays_a_bias(tmp_path):
    """Whole numbers in it are no integers, and a matrix of one column is a matrix."""
    b = np.array([1.0, 0.0, -2.0])
    given = {"weights": np.ones((3, 1)), "features": np.ones((10, 1)), "labels": LABELS.astype(float)}
    scipy.io.savemat(tmp_path / "c.mat", {**given, "bias": b})
    found = Candidate.load(tmp_path / "c.mat")
    assert found.sha256 == Candidate(**{**given, "labels": LABELS}, bias=b).sha256


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_bias_in_files_of_tensors(tmp_path, kind):
    torch = pytest.importorskip("torch", reason="PyTorch is in the extra torch")
    given = {name: torch.tensor(array) for name, array in {**arrays(), "labels": LABELS}.items()}
    given["fc.bias"] = given.pop("bias").bfloat16()
    path = tmp_path / f"net.{kind}"
    if kind == "pt":
        torch.save(given, path)
    else:
        pytest.importorskip("safetensors.torch", reason="pip install safetensors").save_file(given, path)
    found = Candidate.load(path, arrays={"bias": "fc.bias"})
    assert found.bias.tolist() == given["fc.bias"].double().tolist()


# -- tensors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64", "float8_e4m3fn"])
def test_tensors_of_a_layer_are_a_candidate_exactly(dtype):
    """Of any floating type, with a gradient: what is judged are the very numbers of the tensors."""
    torch = pytest.importorskip("torch", reason="PyTorch is in the extra torch")
    kind = getattr(torch, dtype)
    given = {name: torch.tensor(array).to(kind) for name, array in arrays().items()}
    if dtype in ("float32", "float64", "bfloat16"):
        given = {name: torch.nn.Parameter(tensor) for name, tensor in given.items()}
    found = Candidate(**given, labels=torch.tensor(LABELS))
    for name, tensor in given.items():
        array = getattr(found, name)
        assert array.dtype == (np.float64 if dtype == "float64" else np.float32)
        assert array.ravel().tolist() == tensor.detach().to(torch.float64).ravel().tolist()
    problem = found.problem(0.03, 0.02, bias=0.1)
    assert encloses((lambda e: (e.lower, e.upper))(enclose_objective(problem, found)), defined(problem, found))


# -- the objective, enclosed --------------------------------------------------------------------------------------

LOSSES = [CrossEntropy(), CrossEntropy(smoothing=0.125), CrossEntropy(class_weights=[0.5, 1.0, 3.0])]


@given(
    loss=st.sampled_from(LOSSES),
    bias=st.sampled_from(["free", 1e-300, 1e-3, 0.5, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
    scale=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 50.0, 1e6]),
    means=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_both_enclosures_contain_the_definition(loss, bias, dtype, scale, means, seed):
    given = arrays(seed, dtype, scale)
    features = given["features"][[0, 5, 8]] if means else given["features"]
    third = {"class_counts": COUNTS} if means else {"labels": LABELS}
    found = Candidate(weights=given["weights"], features=features, bias=given["bias"], **third)
    problem = found.problem(0.03, 0.02, loss=loss, bias=bias)
    value = defined(problem, found, digits=60)
    for enclosure in (enclose_objective(problem, found, chunk=3), enclose_exactly(problem, found)):
        assert encloses((enclosure.lower, enclosure.upper), value)
        assert enclosure.relative_width <= 1e-11
        low, high = enclosure.bias_penalty
        square = sum(fraction(float(x)) ** 2 for x in found.bias)
        assert fraction(low) <= fraction(lambda_b(problem)) / 2 * square <= fraction(high)


def test_other_losses_are_enclosed_exactly():
    found = candidate()
    problem = found.problem(0.03, 0.02, loss=MeanSquaredError(), bias=0.5)
    enclosure = enclose_exactly(problem, found)
    assert encloses((enclosure.lower, enclosure.upper), defined(problem, found))
    z = found.features @ found.weights.T + found.bias
    y = np.eye(3, dtype=bool)[LABELS]
    penalties = 0.015 * (found.weights**2).sum() + 0.01 * (found.features**2).sum() + 0.25 * (found.bias**2).sum()
    hinges = np.where(y, 0.0, np.maximum(0.0, 1.0 + z - z[y][:, None]))
    sigmoids = np.log1p(np.exp(np.where(y, -z, z)))
    for loss, values in (
        (MulticlassHinge("weston-watkins"), hinges.sum(axis=1)),
        (MulticlassHinge("crammer-singer"), hinges.max(axis=1)),
        (BinaryCrossEntropy(), sigmoids.sum(axis=1)),
    ):
        enclosure = enclose_exactly(found.problem(0.03, 0.02, loss=loss, bias=0.5), found)
        # NumPy's sum of some dozens of numbers of order 1
        assert enclosure.upper == pytest.approx(values.mean() + penalties, rel=1e-14)


def test_without_a_bias_it_is_the_objective_at_zero():
    for bias in ("free", 0.5):
        problem = candidate().problem(0.03, 0.02, bias=bias)
        bare, plain = without(candidate()), candidate().problem(0.03, 0.02)
        for enclose in (enclose_objective, enclose_exactly):
            found = enclose(problem, bare)
            assert (found.lower, found.upper) == (enclose(plain, bare).lower, enclose(plain, bare).upper)
            assert found.bias_penalty == (0.0, 0.0)
            zero = enclose(problem, candidate(bias=np.zeros(3)))
            assert zero.lower <= found.upper
            assert found.lower <= zero.upper


def test_a_bias_that_the_problem_has_not_is_refused_everywhere():
    problem, found = candidate().problem(0.03, 0.02), candidate()
    for judge in (
        ufm.certify,
        enclose_objective,
        enclose_exactly,
        ufm.attribute_gap,
        proof.proof_steps,
        measures.geometry,
        ufm.testing.assert_optimal,
        ufm.testing.assert_stationary,
        ufm.testing.assert_kkt,
        ufm.testing.assert_self_dual,
        lambda problem, found: plots.draw("attribution", problem, candidate=found),
    ):
        with pytest.raises(CandidateError, match="the candidate has a bias, and the problem has none"):
            judge(problem, found)


def dropped(monkeypatch):
    """The logits without the bias."""
    monkeypatch.setattr(
        streamed._Stream, "_scaled_bias", property(lambda self: None, lambda self, value: None), raising=False
    )


def twice(monkeypatch):
    """The bias added twice."""
    right = streamed._entries_of_bias
    monkeypatch.setattr(streamed, "_entries_of_bias", lambda found: 2.0 * right(found))


def permuted(monkeypatch):
    """The bias of other classes."""
    right = streamed._entries_of_bias
    monkeypatch.setattr(streamed, "_entries_of_bias", lambda found: np.roll(right(found), 1))


def unpaid(monkeypatch):
    """The penalty of the bias left out."""
    monkeypatch.setattr(streamed, "bias_weight", lambda problem: Fraction(0))


FAULTS = [dropped, twice, permuted, unpaid]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_misses_the_definition(monkeypatch, fault):
    found = candidate()
    problem = found.problem(0.03, 0.02, bias=0.5)
    fault(monkeypatch)
    enclosure = enclose_objective(problem, found)
    assert not encloses((enclosure.lower, enclosure.upper), defined(problem, found))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_verifier_refuses_what_a_fault_would_certify(monkeypatch, fault):
    """The library and the verifier share no code: a fault of one never becomes a certificate."""
    found = candidate()
    fault(monkeypatch)
    with pytest.raises(ufm.errors.CertificateError, match="objective from"):
        ufm.certify(found.problem(0.03, 0.02, bias=0.5), found)


# -- certificates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", ["free", 0.25])
@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("level", ["sample", "class"])
def test_a_certificate_is_about_this_bias(monkeypatch, bias, embedded, level):
    if not embedded:
        monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    made = arrays(3, np.float32)
    if level == "class":
        made["features"] = made["features"][[0, 5, 8]]
    third = {"class_counts": COUNTS} if level == "class" else {"labels": LABELS}
    found = Candidate(**made, **third)
    problem = found.problem(0.03, 0.02, bias=bias)
    certificate = ufm.certify(problem, found, recheck=True)
    assert encloses(certificate.candidate_objective, defined(problem, found))
    data = certificate.to_json().encode()
    about = certificate.content["candidate"]
    assert ("bias" in about["arrays"]) if embedded else about["sha256"] == found.sha256
    assert ufm.verify(data, candidate=found, problem=problem).verdict is Verdict.PROVED
    claims = ufm.verify(data).claims.candidate
    assert claims.sha256 == (
        Candidate(**{n: a.astype(np.float64) for n, a in made.items()}, **third).sha256 if embedded else found.sha256
    )
    others = {
        "permuted": Candidate(**made | {"bias": made["bias"][::-1]}, **third),
        "next": Candidate(**made | {"bias": np.nextafter(made["bias"], np.float32(9))}, **third),
        "none": Candidate(**{n: a for n, a in made.items() if n != "bias"}, **third),
    }
    for name, other in others.items():
        asked = ufm.verify(data, candidate=other).steps[0]
        assert (asked.name, asked.verdict) == ("asked", Verdict.REFUTED), name
    bare = ufm.certify(problem, others["none"]).to_json().encode()
    assert ufm.verify(bare, candidate=others["none"]).verdict is Verdict.PROVED
    assert ufm.verify(bare, candidate=found).verdict is Verdict.REFUTED


def test_the_same_bias_in_another_type_is_the_same_candidate():
    made = arrays(3, np.float32)
    problem = Candidate(**made, labels=LABELS).problem(0.03, 0.02, bias=0.25)
    data = ufm.certify(problem, Candidate(**made, labels=LABELS)).to_json().encode()
    wider = made | {"bias": made["bias"].astype(np.float64)}
    assert ufm.verify(data, candidate=Candidate(**wider, labels=LABELS)).verdict is Verdict.PROVED


def test_what_only_one_problem_has_is_asked():
    found = candidate()
    problem = found.problem(0.03, 0.02, bias=0.25)
    data = ufm.certify(problem, found).to_json().encode()
    for other in (0.25000000000000006, "free", None):
        assert ufm.verify(data, problem=found.problem(0.03, 0.02, bias=other)).verdict is Verdict.REFUTED
    plain = ufm.certify(found.problem(0.03, 0.02), without(found)).to_json().encode()
    asked = ufm.verify(plain, candidate=found).steps[0]
    assert (asked.verdict, asked.detail) == (Verdict.REFUTED, "the candidate of the certificate has no bias")


def forged(document, bias):
    """The certificate with another bias in it, sealed again."""
    return resealed(replaced(document, ("candidate", "arrays", "bias"), bias))


@pytest.mark.parametrize("bias", ["free", 0.25])
def test_a_forged_bias_is_refuted_by_both(bias):
    found = candidate()
    problem = found.problem(0.03, 0.02, bias=bias)
    document = json.loads(ufm.certify(problem, found).to_json())
    own = document["candidate"]["arrays"]["bias"]
    numbers = own["integers"].split(" ")
    assert outcome(text(document)) == naive_verifier.verdict(document) == "PROVED"
    for other in (
        {**own, "integers": " ".join(reversed(numbers))},
        {**own, "exponent": own["exponent"] + 1},
        {**own, "integers": "0 0 0"},
        {**own, "integers": " ".join([str(int(numbers[0]) + (1 << 20)), *numbers[1:]])},
    ):
        assert outcome(text(forged(document, other))) == "REFUTED"
        assert naive_verifier.verdict(forged(document, other)) == "REFUTED"
    left_out = json.loads(json.dumps(document))
    del left_out["candidate"]["arrays"]["bias"]
    assert outcome(text(resealed(left_out))) == "REFUTED"  # it is then about b = 0, whose objective is another


@pytest.mark.parametrize(
    "bias", [None, {"exponent": 0, "integers": "0 0"}, {"exponent": 0, "integers": "0 0 0 0"}, "0 0 0"]
)
def test_what_is_no_bias_is_malformed(bias):
    found = candidate()
    document = json.loads(ufm.certify(found.problem(0.03, 0.02, bias=0.25), found).to_json())
    assert outcome(text(forged(document, bias))) == "malformed"


def test_a_bias_without_one_in_the_problem_is_malformed():
    found = candidate()
    document = json.loads(ufm.certify(found.problem(0.03, 0.02), without(found)).to_json())
    zeros = {"exponent": 0, "integers": "0 0 0"}
    assert outcome(text(forged(document, zeros))) == "malformed"


def test_a_bias_by_digest_without_one_in_the_problem_is_refuted(monkeypatch):
    """A digest may be forged to be that of arrays with a bias; the problem has no place for it."""
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    found = candidate()
    document = json.loads(ufm.certify(found.problem(0.03, 0.02), without(found)).to_json())
    document = resealed(replaced(document, ("candidate", "sha256"), found.sha256))
    steps = {step.name: step for step in verifier.verify(text(document), found.arrays()).steps}
    assert steps["candidate"].verdict is Verdict.REFUTED
    assert "bias" in steps["candidate"].detail


def test_a_shape_by_digest_that_is_not_the_problem_s_is_refuted(monkeypatch):
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    found = candidate()
    document = json.loads(ufm.certify(found.problem(0.03, 0.02, bias=0.25), found).to_json())
    longer = {**found.arrays(), "bias": np.zeros(4)}
    document = resealed(replaced(document, ("candidate", "sha256"), fast._digest(longer)))
    steps = {step.name: step.verdict for step in verifier.verify(text(document), longer).steps}
    assert steps["candidate"] is Verdict.REFUTED


def test_the_fast_path_encloses_the_definition():
    """The verifier's own pass in binary64, at many samples and a bias of any size."""
    rng = np.random.default_rng(11)
    for scale in (1e-20, 1.0, 1e4):
        y = np.repeat(np.arange(3), [40, 30, 20])
        found = Candidate(
            weights=rng.normal(size=(3, 4)), features=rng.random((90, 4)), labels=y, bias=scale * rng.normal(size=3)
        )
        problem = found.problem(0.03, 0.02, bias=0.25)
        content = encoding.encode_problem(problem)
        ones = np.ones(3, dtype=np.int64)
        ball = fast.enclose(verifier.problem.Problem(content), found.weights, found.features, y, ones, found.bias)
        low, high = (
            exact(mpmath.mpf(str(end)))
            for end in (ball.lower().str(50, radius=False), ball.upper().str(50, radius=False))
        )
        value = exact(defined(problem, found))
        assert low <= value <= high
        assert high - low <= 1e-9 * value


@pytest.mark.parametrize("fault", ["dropped", "twice", "unpaid"])
def test_a_fault_of_the_fast_path_confirms_nothing(monkeypatch, fault):
    """Steps about a candidate in a file of its own are REFUTED or open with a faulty pass, never PROVED."""
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    found = candidate()
    problem = found.problem(0.03, 0.02, bias=0.5)
    data = ufm.certify(problem, found).to_json().encode()
    right = fast.enclose

    def wrong(problem, W, F, y, repeats, bias=None):
        if fault == "unpaid":
            problem.bias.weight *= 0
        return right(problem, W, F, y, repeats, {"dropped": None, "twice": 2 * bias, "unpaid": bias}[fault])

    assert ufm.verify(data, candidate=found).verdict is Verdict.PROVED
    monkeypatch.setattr(fast, "enclose", wrong)
    assert ufm.verify(data, candidate=found).verdict is Verdict.REFUTED


def test_many_logits_are_confirmed_by_the_fast_path(monkeypatch, tmp_path):
    """90,000 logits in binary64 on both sides: embedded, and in a file of its own; none is left to balls."""
    rng = np.random.default_rng(7)
    y = np.repeat(np.arange(30), 100)
    given = {"weights": rng.normal(size=(30, 4)), "features": rng.random((3000, 4)), "labels": y}
    found = Candidate(**given, bias=rng.normal(size=30))
    problem = found.problem(0.003, 0.0002, bias=0.25)
    solution = ufm.solve(problem, tolerance=1e-3)
    slow = []
    right = points.Factors.objective
    monkeypatch.setattr(points.Factors, "objective", lambda self: (slow.append(self.labels), right(self))[1])
    for embedded in (True, False):
        monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 10**6 if embedded else 0)
        data = ufm.certify(problem, found, solution=solution, tolerance=1e-3, recheck=True).to_json().encode()
        assert ufm.verify(data, candidate=found, problem=problem).verdict is Verdict.PROVED
        assert not any(len(labels) == 3000 for labels in slow)
        (tmp_path / "c.json").write_bytes(data)
        low, high = Certificate.load(tmp_path / "c.json").candidate_objective
        z = found.features @ found.weights.T + found.bias
        lse = np.log(np.exp(z).sum(axis=1)) - z[np.arange(3000), y]
        value = lse.mean() + 0.0015 * (found.weights**2).sum() + 0.0001 * (found.features**2).sum()
        value += 0.125 * (found.bias**2).sum()
        assert low * (1.0 - 1e-9) <= value <= high * (1.0 + 1e-9)
        assert high - low <= 1e-8 * value


def test_candidates_have_penalties_all_the_same():
    problem = ufm.Problem(COUNTS, constraint=ufm.LayerPeeled(1.0, 5.0))
    made = verifier.problem.Problem(encoding.encode_problem(problem))
    with pytest.raises(verifier.MalformedCertificate, match="penalty"):
        points.Candidate(made, {"level": "class", "feature_dim": 1, "arrays": None, "sha256": "0" * 64})


# -- the command line ---------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(cli.application(), [str(one) for one in arguments])


@pytest.mark.parametrize("bias", ["free", "0.25"])
def test_certify_takes_the_bias_of_the_file(tmp_path, bias):
    found, path = candidate(), tmp_path / "c.json"
    np.savez(tmp_path / "t.npz", **found.arrays())
    np.savez(tmp_path / "o.npz", **candidate(bias=found.bias[::-1]).arrays())
    decays = ("--lambda-w", "0.03", "--lambda-h", "0.02", "--bias", bias)
    done = run("certify", tmp_path / "t.npz", *decays, "--json", "-o", path)
    assert done.exit_code == 1, done.stderr
    record = json.loads(done.stdout)
    value = defined(Certificate.load(path).problem, found)
    assert encloses((record["candidate"]["value_low"], record["candidate"]["value_high"]), value)
    assert record["candidate_value"] == pytest.approx(float(value), rel=1e-12)
    assert run("verify", path, "--candidate", tmp_path / "t.npz").exit_code == 0
    other = run("verify", path, "--candidate", tmp_path / "o.npz")
    assert other.exit_code == 1
    assert "another bias" in other.stdout


def test_certify_says_what_to_do_about_a_bias_that_the_problem_has_not(tmp_path):
    np.savez(tmp_path / "t.npz", **candidate().arrays())
    decays = ("--lambda-w", "0.03", "--lambda-h", "0.02")
    done = run("certify", tmp_path / "t.npz", *decays)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--bias" in done.stderr
    assert run("certify", tmp_path / "t.npz", *decays, "--bias", "0.01").exit_code == 1


def test_certify_says_that_it_judges_at_zero(tmp_path, caplog):
    np.savez(tmp_path / "t.npz", **without(candidate()).arrays())
    done = run("certify", tmp_path / "t.npz", "--lambda-w", "0.03", "--lambda-h", "0.02", "--bias", "free")
    assert done.exit_code == 1, done.stderr
    assert "t.npz: has no bias, and is judged with b = 0" in caplog.text


def test_counts_are_asked_before_the_bias():
    with pytest.raises(CountsError):
        ufm.certify(Problem([5, 3, 3], 0.03, 0.02), candidate())

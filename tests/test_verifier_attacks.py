"""Ways to have a false claim proved that a reader of the verifier may think of, each tried: none gets past it.

Every forgery is re-sealed. "malformed" and "REFUTED" say where it is stopped; what is proved is true all the same.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile

import numpy as np
import pytest
from certificate_cases import FREE, base_certificates, long_products, loss_certificates, resealed, small_slacks, text
from flint import arb, ctx

from ufm_convex import losses
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import certify, encoding
from ufm_convex.problem import Problem
from ufm_convex.verifier import MalformedCertificate, UnreadableInput, Verdict, checking, points, proof, verify

DOCUMENTS = {
    name: json.loads(certificate.to_json())
    for name, certificate in {**base_certificates(), **loss_certificates()}.items()
}
ZERO_OF_FOUR = {"exponent": 0, "integers": "0 0 0 0"}


def outcome(document, candidate=None):
    try:
        return str(verify(text(resealed(document)), candidate).verdict)
    except MalformedCertificate:
        return "malformed"


def altered(name, changes):
    document = copy.deepcopy(DOCUMENTS[name])
    for path, value in changes.items():
        inner, (*where, last) = document, path.split(".")
        for key in where:
            inner = inner[int(key) if isinstance(inner, list) else key]
        inner[int(last) if isinstance(inner, list) else last] = value
    return document


FRAME_OF_FOUR = {"witness.eta": ZERO_OF_FOUR, "witness.omega": ZERO_OF_FOUR}
IDENTITY = {"exponent": 0, "rows": ["1 0 0", "0 1 0", "0 0 1"]}


ATTEMPTS = [
    # -- multiplicities ---------------------------------------------------------------------------------------
    ("a class counted twice, and once negatively", "diagonal",
     {"witness.groups": "0 0 1 2", "witness.multiplicities": "2 -1 1 1", **FRAME_OF_FOUR}, "malformed"),
    ("a class counted no times", "diagonal",
     {"witness.groups": "0 0 1 2", "witness.multiplicities": "1 0 1 1", **FRAME_OF_FOUR}, "malformed"),
    ("groups counted from the end", "diagonal", {"witness.groups": "-3 -2 -1"}, "malformed"),
    ("one group twice instead of another", "diagonal", {"witness.groups": "0 0 2"}, "malformed"),
    ("no class of a run", "diagonal", {"problem.multiplicities": "1 0 1"}, "malformed"),
    ("a negative run", "diagonal", {"problem.multiplicities": "2 -1 2"}, "malformed"),
    ("a count of 0", "diagonal", {"problem.class_counts": "50 10 0"}, "malformed"),
    ("one class", "diagonal", {"problem.class_counts": "50", "problem.multiplicities": "1"}, "malformed"),
    # -- signs ------------------------------------------------------------------------------------------------
    ("a negative weight", "weighted",
     {"problem.class_weights": {"exponent": 0, "integers": "1 -1 1"}}, "malformed"),
    ("a negative decay", "diagonal", {"problem.lambda_h": "-1p-6"}, "malformed"),
    ("a negative strength", "diagonal",
     {"dual.strengths": {"exponent": 0, "integers": "-1000 -1000 -1000"}}, "REFUTED"),
    ("a negative multiplier", "multiplier",
     {"dual.multiplier": {"exponent": 0, "rows": ["0", "-1 0", "0 0 0", "0 0 0 0"]}}, "malformed"),
    ("a negative eta and omega, whose product is positive", "diagonal",
     {"witness.eta": {"exponent": 0, "integers": "-1 -1 -1"},
      "witness.omega": {"exponent": 0, "integers": "-1 -1 -1"}}, "REFUTED"),
    ("negative features in a group witness", "group witness, nonnegative",
     {"witness.H.own": "-1 -1 -1"}, "REFUTED"),
    ("a negative tolerance", "undecided", {"claims.tolerance": "-1p-3", "claims.verdict": "optimal"}, "malformed"),
    # -- slack ------------------------------------------------------------------------------------------------
    ("a factor that exceeds the slack", "dense",
     {"dual.factor": [str(2**100), f"0 {2**100}", f"0 0 {2**100}"]}, "REFUTED"),
    ("an imaginary factor", "dense", {"dual.factor": [["-1p0"], [], []]}, "malformed"),
    ("an entry for another class of a single one's group", "dense", {"dual.columns.0": "5 0 0"}, "malformed"),
    ("a multiplier on a diagonal without alike classes", "multiplier",
     {"dual.multiplier": {"exponent": 0, "rows": ["1", "0 0", "0 0 0", "0 0 0 0"]}}, "malformed"),
    ("a multiplier for free features", "dense",
     {"dual.multiplier": {"exponent": 0, "rows": ["0", "0 0", "0 0 0"]}}, "malformed"),
    ("a slack for non-negative features, the features set free", "joint hinge",
     {"problem.features": "free"}, "REFUTED"),
    ("another kind than the lemma", "dense", {"lemmas.3": "frame-slack"}, "malformed"),
    # -- own entries ------------------------------------------------------------------------------------------
    ("own entries where the columns close themselves", "joint hinge, dense", {"dual.own": "0 0 0"}, "malformed"),
    ("own entries at their best, whatever the slack", "squares",
     {"dual.exponents": "0 0 0", "dual.own": "-1 -1 -1"}, "REFUTED"),
    ("own entries of the wrong sign", "sigmoids", {"dual.own": "1 1 1"}, "REFUTED"),
    # -- dimensions -------------------------------------------------------------------------------------------
    ("more dimensions than are allowed, in W alone", "tight dimension",
     {"witness.feature_dim": 3, "witness.W": IDENTITY,
      "witness.H": {"exponent": 0, "rows": ["1 0 0", "0 1 0", "0 1 0"]}}, "REFUTED"),
    ("rows longer than the dimension", "tight dimension", {"witness.W": IDENTITY}, "malformed"),
    ("no dimension at all", "tight dimension", {"problem.feature_dim": 0}, "malformed"),
    ("true for 1", "tight dimension", {"witness.feature_dim": True}, "malformed"),
    # -- candidates -------------------------------------------------------------------------------------------
    ("labels of other counts", "suboptimal", {"candidate.arrays.labels": "0 0 0 1 1 2 2"}, "malformed"),
    ("more samples than the problem has", "suboptimal",
     {"candidate.arrays.labels": "0 0 0 0 1 1 2 0"}, "malformed"),
    ("labels for class means", "optimal candidate", {"candidate.arrays.labels": "0 1 2"}, "malformed"),
    ("class means as samples", "optimal candidate", {"candidate.level": "sample"}, "malformed"),
    ("arrays and a hash", "suboptimal", {"candidate.sha256": "0" * 64}, "malformed"),
    ("a violation where features are free", "infeasible", {"problem.features": "free"}, "REFUTED"),
    ("a violation of a feature that is not negative", "suboptimal",
     {"claims.candidate": {"objective": None, "gap": None, "violation": {"row": 0, "column": 0, "value": "0p0"}},
      "claims.verdict": "infeasible"}, "REFUTED"),
    ("a violation of no feature", "infeasible", {"claims.candidate.violation.row": 2**62}, "REFUTED"),
    ("no claim about the candidate", "suboptimal", {"claims.candidate": None}, "malformed"),
    ("a claim about no candidate", "suboptimal", {"candidate": None}, "malformed"),
    # -- exponents --------------------------------------------------------------------------------------------
    ("logits that no ball encloses", "sigmoids", {"witness.W.exponent": 16384, "witness.H.exponent": 16384},
     "REFUTED"),
    ("columns of a size that no bound survives", "squares", {"dual.exponents": "16384 16384 16384"}, "REFUTED"),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "name", "changes", "expected"), ATTEMPTS)
def test_attempts(attempt, name, changes, expected):
    assert outcome(DOCUMENTS[name]) == "PROVED"
    assert outcome(altered(name, changes)) == expected, attempt


@pytest.mark.parametrize("key", ["own", "columns", "name", "kind"])
def test_the_last_of_two_equal_keys_does_not_win(key):
    """In every object of a certificate with own entries, a key written twice, the true value last."""
    whole = json.dumps(resealed(DOCUMENTS["squares"]))
    assert f'"{key}"' in whole
    assert verify(whole.encode()).verdict is Verdict.PROVED
    with pytest.raises(MalformedCertificate, match="twice"):
        verify(whole.replace(f'"{key}"', f'"{key}": "0", "{key}"', 1).encode())


def test_labels_are_counted_before_anything_is_made_for_each_class():
    """Two million classes in a file of a few bytes."""
    document = altered("suboptimal", {"problem.class_counts": "1", "problem.multiplicities": "2000000"})
    document["witness"].update(groups="0", multiplicities="2000000")
    for field in ("eta", "omega"):
        document["witness"][field] = {"exponent": 0, "integers": "0"}
    document["dual"]["strengths"] = {"exponent": 0, "integers": "0"}
    with pytest.raises(MalformedCertificate, match="class counts"):
        verify(text(resealed(document)))


def test_features_and_weights_of_one_shape_are_not_exchanged(monkeypatch):
    """The hash names its arrays."""
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    problem = Problem([4, 2, 1], 5e-2, 5e-2)
    W, H = np.eye(3) + 0.25, 0.5 * np.eye(3) + 0.125
    data = certify(problem, Candidate(weights=W, features=H, class_counts=[4, 2, 1])).to_json().encode()
    counts = np.array([4, 2, 1])
    assert verify(data, {"weights": W, "features": H, "class_counts": counts}).verdict is Verdict.PROVED
    exchanged = verify(data, {"weights": H, "features": W, "class_counts": counts})
    assert exchanged.verdict is exchanged.steps[0].verdict is Verdict.REFUTED
    assert exchanged.steps[0].name == "asked"  # another candidate than the certificate is about


def test_slacks_at_the_boundary():
    """Numbers small enough that both sides of every inequality are known by hand."""
    found = []
    for document, proved in small_slacks():
        if proved is None:
            assert outcome(document) == "malformed"
        else:
            step = verify(text(document)).steps[0]
            assert (step.name, step.verdict) == ("slack", Verdict.PROVED if proved else Verdict.REFUTED), document
            found.append(proved)
    assert min(found.count(True), found.count(False)) > 100


def test_products_at_the_limit():
    assert [outcome(document) for document in long_products()] == ["PROVED", "INCONCLUSIVE"]


# -- arrays at hand -----------------------------------------------------------------------------------------------

ARRAYS = {
    "weights": np.eye(3) + 0.25,
    "features": np.arange(30.0).reshape(10, 3) / 32,
    "labels": np.repeat([0, 1, 2], [5, 3, 2]),
}


@pytest.fixture
def known(monkeypatch):
    """A certificate of ``ARRAYS``, which it knows by their SHA-256."""
    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    return certify(Problem([5, 3, 2], 1e-2, 1e-2), Candidate(**ARRAYS)).to_json().encode()


def entry_of_archive(array, descr):
    """An array in the format of NumPy, its header saying another type."""
    whole = io.BytesIO()
    np.save(whole, array)
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {array.shape}}}\n".encode()
    body = whole.getvalue()[-array.nbytes :]
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize("descr", ["('<f8',)", "()", "[()]", "('<f8', (2,))", "'O'", "'<c16'"])
def test_types_of_arrays_that_are_none(known, tmp_path, descr):
    """Headers of which reading makes an IndexError among others, or another array: the file cannot be read."""
    for weights, readable in (("'<f8'", True), (descr, False)):
        with zipfile.ZipFile(tmp_path / "candidate.npz", "w") as archive:
            archive.writestr("weights.npy", entry_of_archive(ARRAYS["weights"], weights))
            for name in ("features", "labels"):
                archive.writestr(f"{name}.npy", entry_of_archive(ARRAYS[name], f"'{ARRAYS[name].dtype.str}'"))
        if readable:
            assert verify(known, tmp_path / "candidate.npz").verdict is Verdict.PROVED
        else:
            with pytest.raises(UnreadableInput, match="cannot be read"):
                verify(known, tmp_path / "candidate.npz")


def test_an_archive_is_not_unpacked_beyond_what_the_certificate_says(known, tmp_path):
    """Eight megabytes of zeros in eight kilobytes; they are not even read."""
    for features, word in ((np.zeros((10, 100_000)), "holds more"), (ARRAYS["features"] + 1.0, "SHA-256")):
        np.savez_compressed(tmp_path / "candidate.npz", **{**ARRAYS, "features": features})
        steps = verify(known, tmp_path / "candidate.npz").steps
        assert [word in step.detail for step in steps if step.name == "candidate"] == [True]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("kind", [np.asmatrix, np.asfortranarray])
def test_kinds_of_arrays_are_arrays(known, kind):
    """A product of matrices is not taken entry by entry, unless they are made arrays first."""
    arrays = {**ARRAYS, "weights": kind(ARRAYS["weights"]), "features": kind(ARRAYS["features"])}
    assert verify(known, arrays).verdict is Verdict.PROVED


def test_a_mask_hides_nothing():
    """The entries below a mask are those that count, so an array with a mask is refused by name."""
    negative = np.where(np.arange(30).reshape(10, 3) == 7, -1.0, ARRAYS["features"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
        problem = Problem([5, 3, 2], 1e-2, 1e-2)
        honest = certify(problem, Candidate(**{**ARRAYS, "features": negative}))
    document = json.loads(honest.to_json())
    assert document["claims"]["verdict"] == "infeasible"
    wide = {"lower": "0p0", "upper": "1p9"}
    document["claims"]["candidate"] = {"objective": wide, "gap": wide, "violation": None}
    document["claims"]["verdict"] = "undecided"
    assert outcome(document, {**ARRAYS, "features": negative}) == "REFUTED"
    with pytest.raises(UnreadableInput, match="features is a masked array"):
        verify(text(resealed(document)), {**ARRAYS, "features": np.ma.masked_less(negative, 0.0)})


# -- time and memory ----------------------------------------------------------------------------------------------


def test_objects_of_very_many_fields_are_not_made():
    document = {**DOCUMENTS["diagonal"], "provenance": {f"{place:x}": "" for place in range(1 << 14)}}
    with pytest.raises(MalformedCertificate, match="members"):
        verify(text(resealed(document)))


def test_long_scales_are_counted_before_columns_are_multiplied_by_them(monkeypatch):
    """2048 classes of 4096 bits in each of two short lists would make gigabytes of one."""
    document = copy.deepcopy(DOCUMENTS["adjusted"])
    assert outcome(document) == "PROVED"
    document["problem"]["loss"]["scale"] = {"exponent": -4000, "integers": f"{2**4000 + 1} {2**4000} {2**4000}"}
    assert outcome(document) != "malformed"
    monkeypatch.setattr(proof, "MAX_COLUMN_BITS", 3 * 3 * 4000)
    monkeypatch.delattr(proof.Blocks, "_integers")
    assert outcome(document) == "malformed"


@pytest.mark.parametrize("name", ["tight dimension", "group witness"])
def test_a_claim_that_is_hard_to_decide_costs_one_product(name, monkeypatch):
    """The products of integers do not depend on the precision."""
    document, asked, product = copy.deepcopy(DOCUMENTS[name]), [], points.product
    document["claims"]["upper"] = precise_objective(document)
    monkeypatch.setattr(points, "product", lambda *factors: asked.append(1) or product(*factors))
    steps = verify(text(resealed(document))).steps
    assert [step.verdict for step in steps if step.name == "upper bound"] == [Verdict.PROVED]
    assert len(asked) == 1


def precise_objective(document):
    """The witness's objective, a relative 2^-400 above: decided with 512 bits, the third precision tried."""
    certificate = checking._Certificate(document)
    with ctx.workprec(2000):
        value = certificate.witness.objective() * (1 + arb(2) ** -400) * arb(2) ** 1000
        return f"{int(value.mid().floor().unique_fmpz()) | 1}p-1000"


LARGE = {
    "squares": losses.MeanSquaredError(),
    "sigmoids": losses.BinaryCrossEntropy(),
    "adjusted": losses.LogitAdjustedCrossEntropy(shift=np.linspace(-0.5, 0.5, 64), scale=np.linspace(0.5, 1.5, 64)),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_fast_path_is_not_misled_by_other_losses(name, monkeypatch):
    """64 classes, the fewest that it takes: its formulas for cross-entropy are not applied to losses like it."""
    certificate = certify(Problem(np.arange(20, 84), 1e-4, 1e-4, features="free", loss=LARGE[name]))
    document = json.loads(certificate.to_json())
    truth = encoding.undyadic(document["claims"]["lower"])
    forged = copy.deepcopy(document)
    forged["claims"]["lower"] = encoding.dyadic(
        encoding.rounded(truth * (1 + encoding.Fraction(1, 2**20)), 53, up=True)
    )
    forged["claims"]["verdict"] = "optimal"
    spoilt = copy.deepcopy(document)
    spoilt["dual"]["exponents"] = " ".join(str(int(e) + 1) for e in document["dual"]["exponents"].split(" "))
    found = [outcome(one) for one in (document, forged, spoilt)]
    assert found == ["PROVED", "REFUTED", "REFUTED"]
    monkeypatch.setattr(checking, "fast", None)
    assert [outcome(one) for one in (document, forged, spoilt)] == found


@pytest.mark.parametrize("kept", ["own", "rows"])
def test_each_coordinate_of_a_group_witness_counts(kept):
    """A coordinate is used by its own class or by others; one of the two is enough to need a dimension."""
    document = copy.deepcopy(DOCUMENTS["group witness"])
    classes = FREE.num_classes
    for matrix in ("W", "H"):
        found = document["witness"][matrix]
        if kept == "own":
            found["rows"] = [" ".join("0" for _ in row.split()) for row in found["rows"]]
        else:
            found["own"] = " ".join("0" for _ in found["own"].split())
    document["claims"]["upper"] = "1p20"
    for dimension, expected in ((classes, []), (classes - 1, ["witness"])):
        document["problem"]["feature_dim"] = dimension
        steps = verify(text(resealed(document))).steps
        assert [step.name for step in steps if step.verdict is Verdict.REFUTED and step.name == "witness"] == expected

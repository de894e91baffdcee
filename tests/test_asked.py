"""A certificate is about what was asked, or the verifier says otherwise; and what it claims is said in words."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from certificate_cases import resealed, text
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import verifier
from ufm_convex.certificate import encoding
from ufm_convex.certificate.contrastive_encoding import encode_problem as encode_contrastive
from ufm_convex.cli import application
from ufm_convex.errors import CandidateError, FileFormatError, HypothesisError, ProblemError
from ufm_convex.losses.label_margin_cross_entropy import LabelMarginCrossEntropy
from ufm_convex.losses.squared_hinge import SquaredHinge
from ufm_convex.verifier import UnreadableInput, Verdict, asked, checking, statement

COUNTS, DECAYS = [4, 2, 2], (5e-2, 5e-2)


def problem(counts=COUNTS, decays=DECAYS, **others):
    return ufm.Problem(counts, *decays, **others)


NEIGHBOURS = {
    "plain": problem(),
    "counts": problem([4, 2, 1]),
    "order of counts": problem([2, 4, 2]),
    "classes": problem([4, 2, 2, 2]),
    "lambda_w": problem(decays=(math.nextafter(5e-2, 1.0), 5e-2)),
    "lambda_h": problem(decays=(5e-2, math.nextafter(5e-2, 0.0))),
    "decays swapped": problem(decays=(4e-2, 6e-2)),
    "decays swapped back": problem(decays=(6e-2, 4e-2)),
    "sign of features": problem(features="free"),
    "feature_dim": problem(feature_dim=3),
    "another feature_dim": problem(feature_dim=4),
    "bias": problem(bias="free"),
    "penalised bias": problem(bias=1.0),
    "faint bias": problem(bias=1e-17),
    "fainter bias": problem(bias=5e-324),
    "class weights": problem(loss=ufm.CrossEntropy(class_weights=[1, 2, 1])),
    "scaled class weights": problem(loss=ufm.CrossEntropy(class_weights=[2, 2, 2])),
    "smoothing": problem(loss=ufm.CrossEntropy(smoothing=0.1)),
    "squared error": problem(loss=ufm.MeanSquaredError()),
    "sigmoids": problem(loss=ufm.BinaryCrossEntropy()),
    "crammer-singer": problem(loss=ufm.MulticlassHinge("crammer-singer")),
    "weston-watkins": problem(loss=ufm.MulticlassHinge("weston-watkins")),
    "squared hinge": problem(loss=SquaredHinge()),
    "label margins": problem(loss=LabelMarginCrossEntropy([0.5, 0.25, 1.0])),
    "other label margins": problem(loss=LabelMarginCrossEntropy([0.5, 0.25, 0.75])),
    "soft targets": problem(loss=ufm.SoftTargetCrossEntropy([[0.8, 0.1, 0.1], [0.2, 0.8, 0.0], [0.1, 0.1, 0.8]])),
    "other targets": problem(loss=ufm.SoftTargetCrossEntropy([[0.8, 0.1, 0.1], [0.2, 0.8, 0.0], [0.1, 0.2, 0.7]])),
    "shift": problem(loss=ufm.LogitAdjustedCrossEntropy(shift=[0.0, 0.5, 1.0])),
    "scale": problem(loss=ufm.LogitAdjustedCrossEntropy(scale=[1.0, 2.0, 3.0])),
    "radii": ufm.Problem(COUNTS, constraint=ufm.LayerPeeled(1.0, 2.0)),
    "radii swapped": ufm.Problem(COUNTS, constraint=ufm.LayerPeeled(2.0, 1.0)),
    "margin": problem(constraint=ufm.HardMargin()),
    "margins of classes": problem(constraint=ufm.HardMargin(margins=[1.0, 2.0, 3.0])),
    "margins of pairs": problem(constraint=ufm.HardMargin(margins=[[0, 1, 2], [1, 0, 1], [2, 1, 0]])),
    "scaled margins": problem(constraint=ufm.HardMargin(scale=[1.0, 2.0, 1.0])),
    "bound": ufm.ContrastiveProblem(COUNTS, bound=1.0),
    "another bound": ufm.ContrastiveProblem(COUNTS, bound=2.0),
    "penalty": ufm.ContrastiveProblem(COUNTS, lambda_h=1.0),
    "temperature": ufm.ContrastiveProblem(COUNTS, bound=1.0, temperature=0.5),
}


def encoded(given):
    return encode_contrastive(given) if isinstance(given, ufm.ContrastiveProblem) else encoding.encode_problem(given)


@pytest.fixture(scope="module")
def certificates():
    return {name: ufm.certify(given).to_json().encode() for name, given in NEIGHBOURS.items()}


def verdicts(found):
    return {step.name: step.verdict for step in found.steps}


def test_of_all_neighbours_only_the_problem_itself_is_asked(certificates):
    """All pairs, the equality of the package's own problems as the peer, which compares by content."""
    wanted = {name: asked.problem_of(encoded(given)) for name, given in NEIGHBOURS.items()}
    for name, given in NEIGHBOURS.items():
        for other, against in NEIGHBOURS.items():
            try:
                asked.check(wanted[other], encoded(given))
                same = True
            except checking.Refuted:
                same = False
            assert same == (given == against), (name, other)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_every_model_is_proved_when_it_is_asked_and_refuted_when_another_is(certificates, name, tmp_path):
    given, data = NEIGHBOURS[name], certificates[name]
    given.save(tmp_path / "problem.toml")
    for problem_ in (given, tmp_path / "problem.toml", str(tmp_path / "problem.toml")):
        found = ufm.verify(data, problem=problem_)
        assert (found.verdict, found.steps[0].name) == (Verdict.PROVED, "asked")
    others = [other for other in NEIGHBOURS if other != name]
    found = ufm.verify(data, problem=NEIGHBOURS[others[len(name) % len(others)]])
    assert found.verdict is Verdict.REFUTED
    assert [step for step, verdict in verdicts(found).items() if verdict is not Verdict.PROVED] == ["asked"]


def shifted(vector, by=7):
    integers = " ".join(str(int(x) << by) for x in vector["integers"].split(" "))
    return {"exponent": vector["exponent"] - by, "integers": integers}


def in_other_words(content):
    """The same problem, written otherwise: runs cut up, powers of two elsewhere, null as the number it stands for."""
    counts, repeats = content["class_counts"].split(" "), content["multiplicities"].split(" ")
    places = [k for k, repeat in enumerate(repeats) for _ in range(int(repeat))]
    changed = {
        **content,
        "class_counts": " ".join(counts[k] for k in places),
        "multiplicities": " ".join("1" for _ in places),
    }
    if "class_weights" in content:
        weights = content["class_weights"] or {"exponent": 0, "integers": " ".join("1" for _ in repeats)}
        integers = weights["integers"].split(" ")
        changed["class_weights"] = shifted({**weights, "integers": " ".join(integers[k] for k in places)})
    loss = dict(content.get("loss", {}))
    for parameter, value in loss.items():
        if isinstance(value, dict) and "integers" in value:
            loss[parameter] = shifted(value)
        elif value is None and not isinstance(loss.get("margins"), str):  # a vector of scales tells classes apart
            fill = "0" if parameter == "shift" else "1"
            loss[parameter] = shifted({"exponent": 0, "integers": " ".join(fill for _ in places)})
        elif isinstance(value, dict):
            rows = [" ".join(str(int(x) << 3) for x in row.split(" ")) for row in value["rows"]]
            loss[parameter] = {"exponent": value["exponent"] - 3, "rows": rows}
    if loss:
        changed["loss"] = loss
    del changed["sha256"]
    return {**changed, "sha256": encoding.canonical_sha256(changed)}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_one_problem_in_two_encodings_is_one_problem(certificates, name):
    document = json.loads(certificates[name])
    other = in_other_words(document["problem"])
    assert other["sha256"] != document["problem"]["sha256"]
    assert verifier.verify(certificates[name], problem=other).verdict is Verdict.PROVED
    rewritten = verifier.verify(text(resealed({**document, "problem": other})), problem=document["problem"])
    assert verdicts(rewritten)["asked"] is Verdict.PROVED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1p0", {"exponent": -1, "integers": "2 2 2"}),
        ("1p0", {"exponent": 0, "rows": ["0 1 1", "1 0 1", "1 1 0"]}),
        ({"exponent": 0, "integers": "1 2 3"}, {"exponent": -2, "rows": ["0 4 4", "8 0 8", "12 12 0"]}),
    ],
)
def test_margins_are_numbers_however_they_are_tabled(one, other):
    content = encoded(NEIGHBOURS["margin"])

    def sealed(margins):
        changed = {**content, "loss": {**content["loss"], "margins": margins}}
        del changed["sha256"]
        return {**changed, "sha256": encoding.canonical_sha256(changed)}

    asked.check(asked.problem_of(sealed(one)), sealed(other))
    near = {"exponent": 0, "rows": ["0 1 1", "1 0 1", "1 2 0"]}
    with pytest.raises(checking.Refuted, match="loss margins"):
        asked.check(asked.problem_of(sealed(one)), sealed(near))


def test_what_differs_is_named(certificates):
    found = ufm.verify(certificates["plain"], problem=problem(feature_dim=7, loss=ufm.CrossEntropy(smoothing=0.2)))
    assert found.steps[0].detail.endswith("other feature_dim, loss smoothing")


@pytest.mark.parametrize("given", [{}, 3, "text", [], {"model": "other"}, {"model": "contrastive"}])
def test_what_is_no_problem_is_unreadable(certificates, given):
    with pytest.raises(UnreadableInput):
        verifier.verify(certificates["plain"], problem=given)


def test_the_door_says_what_it_cannot_read(certificates, tmp_path):
    data = certificates["plain"]
    (tmp_path / "problem.toml").write_text("lambda_w = ")
    for path in (tmp_path / "absent.toml", tmp_path / "problem.toml", tmp_path):
        with pytest.raises(FileFormatError):
            ufm.verify(data, problem=path)
    for path in (tmp_path / "absent.npz", tmp_path / "problem.toml", str(tmp_path / "absent.npz")):
        with pytest.raises(FileFormatError):
            ufm.verify(data, candidate=path)
    with pytest.raises(ProblemError):
        ufm.verify(data, problem=3)
    with pytest.raises(CandidateError):
        ufm.verify(data, candidate=3)


class Doubled(ufm.CrossEntropy):
    """Not cross-entropy, though it has its name."""

    def values(self, logits, labels):
        return 2.0 * super().values(logits, labels)


class Subclass(ufm.Problem):
    """Whatever it changes is not in a certificate."""


class OtherNorm(ufm.LayerPeeled):
    """Likewise."""


class Contrastive(ufm.ContrastiveProblem):
    """Likewise."""


class Judged(ufm.Candidate):
    """Likewise."""


SUBCLASSES = {
    "loss": problem(loss=Doubled()),
    "problem": Subclass(COUNTS, *DECAYS),
    "constraint": ufm.Problem(COUNTS, constraint=OtherNorm(1.0, 2.0)),
    "contrastive": Contrastive(COUNTS, bound=1.0),
    **{
        f"loss {kind.name}": problem(loss=type("Derived", (kind,), {})(*arguments))
        for kind, *arguments in (
            (ufm.MeanSquaredError,),
            (ufm.BinaryCrossEntropy,),
            (ufm.MulticlassHinge, "crammer-singer"),
            (SquaredHinge,),
            (LabelMarginCrossEntropy, [0.5, 0.25, 1.0]),
            (ufm.LogitAdjustedCrossEntropy,),
            (ufm.SoftTargetCrossEntropy, np.eye(3).tolist()),
        )
    },
    "margins": problem(constraint=type("Derived", (ufm.HardMargin,), {})()),
}


@pytest.mark.parametrize("name", SUBCLASSES)
def test_a_subclass_is_not_written_down_as_what_it_is_derived_from(certificates, name):
    with pytest.raises(HypothesisError, match="class that certificates"):
        ufm.certify(SUBCLASSES[name])
    with pytest.raises(HypothesisError, match="class that certificates"):
        ufm.verify(certificates["plain"], problem=SUBCLASSES[name])


def test_a_candidate_of_a_subclass_is_not_either(factors):
    W, H = factors
    with pytest.raises(HypothesisError, match="the candidate is a Judged"):
        ufm.certify(problem(), Judged(weights=W, features=H, class_counts=COUNTS))


# -- candidates ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def factors():
    return ufm.solve(problem()).factors()


@pytest.fixture(params=["embedded", "by its digest"])
def kept(request, monkeypatch):
    if request.param != "embedded":
        monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    return request.param


LABELS = np.repeat([0, 1, 2], COUNTS)


def arrays(factors, level="class"):
    W, H = factors
    if level == "class":
        return {"weights": W, "features": H, "class_counts": np.array(COUNTS)}
    return {"weights": W, "features": H[LABELS], "labels": LABELS}


def in_one_entry(array, change):
    changed = array.copy()
    changed[-1, -1] = change(changed[-1, -1])
    return changed


CHANGES = {
    "a weight": lambda a: {**a, "weights": in_one_entry(a["weights"], lambda x: np.nextafter(x, np.inf))},
    "a feature": lambda a: {**a, "features": in_one_entry(a["features"], lambda x: np.nextafter(x, np.inf))},
    "a tiny feature": lambda a: {**a, "features": np.where(a["features"] == 0, -5e-324, a["features"])},
    "a NaN": lambda a: {**a, "features": in_one_entry(a["features"], lambda x: np.nan)},
    "an infinite one": lambda a: {**a, "weights": in_one_entry(a["weights"], lambda x: np.inf)},
    "rounded": lambda a: {**a, "weights": a["weights"].astype(np.float32)},
    "a dimension more": lambda a: {
        **a,
        "weights": np.pad(a["weights"], ((0, 0), (0, 1))),
        "features": np.pad(a["features"], ((0, 0), (0, 1))),
    },
    "a row less": lambda a: {name: array[:-1] if name != "weights" else array for name, array in a.items()},
    "transposed": lambda a: {**a, "weights": a["weights"].T},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("level", ["class", "sample"])
def test_another_candidate_is_refuted(factors, kept, level, change):
    given = arrays(factors, level)
    data = ufm.certify(problem(), ufm.Candidate(**given)).to_json().encode()
    found = verifier.verify(data, given)
    assert (found.verdict, found.steps[0].name) == (Verdict.PROVED, "asked")
    found = verifier.verify(data, CHANGES[change](given))
    assert (found.verdict, verdicts(found)["asked"]) == (Verdict.REFUTED, Verdict.REFUTED)
    assert list(verdicts(found).values()).count(Verdict.REFUTED) == 1


@pytest.mark.parametrize("level", ["class", "sample"])
def test_labels_and_counts_are_compared(factors, kept, level):
    given = arrays(factors, level)
    data = ufm.certify(problem(), ufm.Candidate(**given)).to_json().encode()
    third = "class_counts" if level == "class" else "labels"
    moved = verifier.verify(data, {**given, third: given[third][::-1]})
    assert verdicts(moved)["asked"] is Verdict.REFUTED
    other = verifier.verify(data, arrays(factors, "sample" if level == "class" else "class"))
    assert (verdicts(other)["asked"], other.steps[0].detail.split()[-2]) == (Verdict.REFUTED, level)


@pytest.mark.parametrize("kinds", [("f4", "f8"), ("f8", "f4"), ("f4", "f4"), (">f4", ">f8")])
def test_one_candidate_in_two_types_is_one_candidate(factors, kept, kinds):
    """Numbers that binary32 has, in either type, byte order and memory order; a label of any integer type."""
    W, H = (np.asarray(matrix, dtype=np.float32) for matrix in factors)
    narrow = {"weights": W, "features": H, "class_counts": np.array(COUNTS)}
    other = {"weights": W.astype(kinds[0]), "features": np.asfortranarray(H.astype(kinds[1]))}
    for made, given in ((narrow, other), (other, narrow), (narrow, narrow)):
        made, given = ({**one, "class_counts": np.array(COUNTS, dtype=np.int32)} for one in (made, given))
        made = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in made.items()}
        data = ufm.certify(problem(), ufm.Candidate(**made)).to_json().encode()
        assert verifier.verify(data, given).verdict is Verdict.PROVED


def test_a_candidate_is_refuted_where_the_certificate_has_none(factors, certificates, tmp_path):
    np.savez(tmp_path / "candidate.npz", **arrays(factors))
    path, candidate = tmp_path / "candidate.npz", ufm.Candidate(**arrays(factors))
    features = ufm.ContrastiveCandidate(features=arrays(factors, "sample")["features"], labels=LABELS)
    for name, given in (
        ("plain", path),
        ("plain", candidate),
        ("bound", candidate),
        ("bound", features),
        ("bias", path),
    ):
        found = ufm.verify(certificates[name], candidate=given)
        assert verdicts(found)["asked"] is Verdict.REFUTED
        assert "no candidate" in found.steps[0].detail


def test_an_infeasible_candidate_is_compared_too(factors, kept):
    given = arrays(factors)
    given["features"] = in_one_entry(given["features"], lambda x: -0.25)
    data = ufm.certify(problem(), ufm.Candidate(**given)).to_json().encode()
    assert verifier.verify(data, given).verdict is Verdict.PROVED
    assert verifier.verify(data, arrays(factors)).verdict is Verdict.REFUTED
    assert ufm.verify(data, given).claims.candidate.violation[2] == -0.25


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"weights": 3},
        {**arrays((np.eye(3), np.eye(3))), "bias": np.zeros(3, dtype=int)},
        {**arrays((np.eye(3), np.eye(3))), "labels": LABELS},
        {**arrays((np.eye(3), np.eye(3))), "features": np.ma.masked_array(np.eye(3), mask=np.eye(3))},
        {**arrays((np.eye(3), np.eye(3))), "weights": np.eye(3, dtype=np.longdouble)},
        {**arrays((np.eye(3), np.eye(3))), "features": np.eye(3, dtype=int)},
        {**arrays((np.eye(3), np.eye(3))), "features": np.eye(3, dtype=np.float16)},
        {**arrays((np.eye(3), np.eye(3))), "class_counts": np.array(COUNTS, dtype=float)},
        {**arrays((np.eye(3), np.eye(3))), "class_counts": np.array([COUNTS])},
    ],
)
def test_what_are_no_arrays_of_a_candidate_is_unreadable(factors, kept, given):
    data = ufm.certify(problem(), ufm.Candidate(**arrays(factors))).to_json().encode()
    with pytest.raises(UnreadableInput):
        verifier.verify(data, given)
    with pytest.raises(CandidateError):
        ufm.verify(data, given)


# -- claims -------------------------------------------------------------------------------------------------------


def test_the_claims_are_said(certificates):
    found = ufm.verify(certificates["plain"])
    assert found.problem.words == (
        "3 classes of 4, 2 x 2 samples, 8 in all; cross-entropy, smoothing 0.0; nonnegative features; "
        "lambda_w = 0.05; lambda_h = 0.05"
    )
    document = json.loads(certificates["plain"])
    assert found.problem.sha256 == document["problem"]["sha256"]
    assert (found.claims.tolerance, found.claims.verdict, found.claims.candidate) == (1e-6, "optimal", None)
    optimum = ufm.theory.optimum(problem()).value
    assert found.claims.lower <= optimum * (1 + 1e-15)
    assert found.claims.upper >= optimum * (1 - 1e-15)


def test_a_wide_claim_is_five_proved_lines_and_says_how_wide_it_is(certificates):
    document = json.loads(certificates["plain"])
    document["claims"].update(lower="1p-9", upper="1p10", tolerance="1048575p-20")
    found = verifier.verify(text(resealed(document)))
    assert found.verdict is Verdict.PROVED
    assert (found.claims.lower, found.claims.upper, found.claims.tolerance) == (2.0**-9, 1024.0, 1 - 2.0**-20)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_every_model_is_said_in_ascii(certificates, name):
    words = ufm.verify(certificates[name]).problem.words
    assert words.isascii()
    assert "p-" not in words  # numbers are decimals
    same = [other for other in NEIGHBOURS if ufm.verify(certificates[other]).problem.words == words]
    assert same == [name]


@pytest.mark.parametrize(
    "number",
    [Fraction(1, 3), Fraction(2) ** 2000, Fraction(1, 2**2000), Fraction(2**53 + 1), Fraction(0), Fraction(1, 4)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_ends_are_rounded_outwards_to_neighbours(number, sign):
    from flint import fmpq

    exact = sign * number
    low, high = (end(fmpq(exact.numerator, exact.denominator)) for end in (statement.below, statement.above))
    assert low == -math.inf or Fraction(low) <= exact
    assert high == math.inf or Fraction(high) >= exact
    assert high in (low, math.nextafter(low, math.inf))


def test_the_digest_of_an_embedded_candidate_is_that_of_its_binary64_arrays(factors):
    for level in ("class", "sample"):
        candidate = ufm.Candidate(**arrays(factors, level))
        found = ufm.verify(ufm.certify(problem(), candidate).to_json().encode())
        assert found.claims.candidate.sha256 == candidate.sha256


# -- the command line ---------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(application(), [str(argument) for argument in arguments])


def test_the_command_line_asks_and_says(factors, certificates, tmp_path):
    certificate, toml, path = tmp_path / "c.json", tmp_path / "p.toml", tmp_path / "candidate.npz"
    certificate.write_bytes(certificates["plain"])
    problem().save(toml)
    np.savez(path, **arrays(factors))
    asked_ = run("verify", certificate, "--problem", toml, "--json")
    record = json.loads(asked_.stdout)
    assert (asked_.exit_code, record["verdict"], record["steps"][0]["name"]) == (0, "PROVED", "asked")
    found = ufm.verify(certificate)
    assert record["problem"] == {"words": found.problem.words, "sha256": found.problem.sha256}
    assert (record["claims"]["lower"], record["claims"]["upper"]) == (found.claims.lower, found.claims.upper)
    assert (record["claims"]["tolerance"], record["claims"]["verdict"]) == (1e-6, "optimal")
    assert record["claims"]["candidate"] is None
    printed = run("verify", certificate).stdout
    assert found.problem.words in printed
    assert found.problem.sha256 in printed
    assert f"{found.claims.lower!r} <= optimum <= {found.claims.upper!r}, tolerance 1e-06" in printed
    problem(feature_dim=5).save(toml)
    assert run("verify", certificate, "--problem", toml).exit_code == 1
    assert run("verify", certificate, "--candidate", path).exit_code == 1  # the certificate has none
    for option in ("--problem", "--candidate"):
        assert run("verify", certificate, option, tmp_path / "absent").exit_code == 2


def test_the_command_line_says_the_candidate(factors, tmp_path, kept):
    certificate, path = tmp_path / "c.json", tmp_path / "candidate.npz"
    candidate = ufm.Candidate(**arrays(factors))
    ufm.certify(problem(), candidate).save(certificate)
    np.savez(path, **arrays(factors))
    result = run("verify", certificate, "--candidate", path, "--json")
    assert result.exit_code == 0
    about = json.loads(result.stdout)["claims"]["candidate"]
    assert about["sha256"] == candidate.sha256
    value = ufm.theory.optimum(problem()).value  # the candidate is the optimum up to rounding, of a few ulps
    assert about["objective"]["lower"] <= value * (1 + 1e-12)
    assert about["objective"]["upper"] >= value * (1 - 1e-12)
    assert (about["gap"]["lower"], about["violation"]) == (0.0, None)
    assert candidate.sha256 in run("verify", certificate).stdout
    np.savez(path, **{**arrays(factors), "features": 1.01 * factors[1]})
    assert run("verify", certificate, "--candidate", path).exit_code == 1

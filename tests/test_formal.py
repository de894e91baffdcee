"""Certificates as theorems: what is written, what Coq accepts and what it does not, and what stays out of reach."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path
from random import Random

import naive_verifier
import numpy as np
import pytest
from certificate_cases import (
    PLAIN,
    WEIGHTED,
    alterations,
    base_certificates,
    biased_certificates,
    circle,
    copositive_certificates,
    loss_certificates,
    margin_certificates,
    peeled_certificates,
    replaced,
    resealed,
    text,
)
from formal_cases import checks, evaluated, needs_coq, reach, steps
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import formal
from ufm_convex.certificate import certify
from ufm_convex.cli import application
from ufm_convex.errors import CoqNotInstalledError, OutOfReachError, ProblemError
from ufm_convex.formal import arranging, running, writing
from ufm_convex.verifier import MalformedCertificate, verify

THEORY = Path(formal.__file__).parent / "theory"


def document(certificate):
    return json.loads(certificate.to_json())


def claiming(given, field, value):
    """The document with another claim; ``value`` is a dyadic ``Fraction``."""
    exponent = value.denominator.bit_length() - 1
    mantissa = value.numerator
    while mantissa and mantissa % 2 == 0:
        mantissa, exponent = mantissa // 2, exponent - 1
    return resealed(replaced(given, ("claims", field), f"{mantissa}p{-exponent if exponent else 0}"))


# -- what is written ------------------------------------------------------------------------------------------------


def test_the_statement_restates_problem_and_claims():
    """Every number of the file, read back by hand."""
    given = document(certify(WEIGHTED))
    written = formal.written(given).text
    about = {
        name: re.search(rf"{name} := (.*?)(;| \|}}\.)$", written, re.MULTILINE)[1]
        for name in ("multiplicities", "counts", "weights", "loss_of")
    }
    problem = given["problem"]
    # classes by groups, smallest first: 2 samples, 10 twice, 50
    assert about["counts"] == "[2; 10; 50]"
    assert about["multiplicities"] == "[1; 2; 1]"
    x, e = problem["class_weights"]["integers"].split(), problem["class_weights"]["exponent"]
    assert problem["class_counts"].split() == ["50", "10", "2"]
    assert about["weights"] == "[" + "; ".join(f"({x[i]}, ({e}))" for i in (2, 1, 0)) + "]"
    assert about["loss_of"] == "cross_entropy (3602879701896397, (-55))"  # binary64 0.1
    assert "nonnegative := true; feature_dim := Some 4;" in written
    assert "bias_of := NoBias;" in written
    decays = re.search(r"sizes_of := Decays \((\d+), \((-\d+)\)\) \((\d+), \((-\d+)\)\);", written).groups()
    for name, mantissa, exponent in (("lambda_w", *decays[:2]), ("lambda_h", *decays[2:])):
        assert Fraction(int(mantissa)) * Fraction(2) ** int(exponent) == Fraction(getattr(WEIGHTED, name))
    for name in ("lower", "upper"):
        mantissa, exponent = re.search(rf"Definition {name} : dyadic := \((\d+), \((-\d+)\)\)", written).groups()
        assert f"{mantissa}p{exponent}" == given["claims"][name]


def test_the_statement_does_not_depend_on_the_proof():
    """Another dual point and another witness: the same problem, the same two theorems."""
    given = document(certify(PLAIN))
    other = replaced(given, ("dual", "strengths", "integers"), "3 2 1")
    one, two = (
        re.sub(r"SHA-256\n.*|apply \(.*?\)\.\n", "", formal.written(d).text, flags=re.S) for d in (given, other)
    )
    assert one == two


def test_bias_and_norm_bounds_are_restated():
    peeled = formal.written(document(certify(ufm.Problem([5, 3, 2], constraint=ufm.LayerPeeled(0.5, 0.25))))).text
    assert "sizes_of := Radii (1, (-1)) (1, (-2)); bias_of := NoBias;" in peeled
    biased = [formal.written(document(certify(ufm.Problem([4, 4, 4], 0.5, 0.5, bias=b)))).text for b in ("free", 0.25)]
    assert "bias_of := FreeBias;" in biased[0]
    assert "bias_of := PenalisedBias (1, (-2));" in biased[1]


MIXED = ufm.Problem(
    [4, 2, 2], loss=ufm.CrossEntropy(class_weights=(1.0, 2.0, 1.0)), constraint=ufm.LayerPeeled(0.3, 0.2)
)
"""Weights times counts are the same for two classes of different counts."""
TABLED = ufm.Problem([4, 2], 5e-3, 5e-3, loss=ufm.SoftTargetCrossEntropy([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]]))
HALVED = ufm.Problem([4, 2], 5e-3, 5e-3, loss=ufm.MeanSquaredError([[0.5, 0.0], [0.0, 0.5]]))
"""Square, and no squared error against unit vectors, which is what the theory knows by its name."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: certify(MIXED), "classes of different counts that norm bounds take for alike"),
        (lambda: certify(TABLED), "a table of targets whose columns need not be classes"),
        (lambda: certify(HALVED), "a table of targets whose columns need not be classes"),
        (lambda: margin_certificates()["margin"], "the loss hard-margin"),
        (lambda: copositive_certificates()["copositive, cubic"], "a proof of kind copositive"),
        (lambda: certify(ufm.ContrastiveProblem([50, 10, 2], bound=1.0, temperature=0.5)), "supervised contrastive"),
    ],
)  # fmt: skip
def test_what_is_out_of_reach_is_refused_by_name(given, words):
    with pytest.raises(OutOfReachError, match=f"not within reach of --formal: .*{words}"):
        formal.written(document(given()))


def test_what_takes_too_long_is_refused(monkeypatch):
    given = document(certify(PLAIN))
    for counted, limit, words in (
        ("evaluations", "MOST_EVALUATIONS", "exponentials and logarithms"),
        ("logarithms", "MOST_LOGARITHMS", "logarithms"),
    ):
        cost = getattr(formal.written(given), counted)
        with monkeypatch.context() as patch:
            patch.setattr(writing, limit, cost)
            assert getattr(formal.written(given), counted) == cost
            patch.setattr(writing, limit, cost - 1)
            with pytest.raises(OutOfReachError, match=f"{cost} {words}"):
                formal.written(given)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("claims", "lower"), f"{2**513 + 1}p-600", "a claim of 514 bits"),
        (("claims", "lower"), f"{2**511 + 1}p-600", None),
        (("problem", "lambda_w"), "1p-1101", "a power of two beyond 1100"),
        (("problem", "lambda_w"), "1p-1100", None),
        (("dual", "strengths", "exponent"), -1101, "a power of two beyond 1100"),
        (("witness", "eta", "exponent"), 1101, "a power of two beyond 1100"),
    ],
)
def test_long_numbers_are_refused(path, value, words):
    given = replaced(document(certify(PLAIN)), path, value)
    if words is None:
        assert formal.written(given).text
    else:
        with pytest.raises(OutOfReachError, match=words):
            formal.written(given)


def test_what_is_no_certificate_is_malformed():
    with pytest.raises(MalformedCertificate):
        formal.formalise(b"{}")


def test_an_altered_file_is_recognised():
    written = formal.written(document(certify(PLAIN))).text
    assert formal.difference(written, written) is None
    weaker = written.replace("(real lower <= objective", "(real lower - 1 <= objective")
    found = formal.difference(written, weaker)
    assert found.line == written[: written.index("Theorem lower_bound")].count("\n") + 2
    assert "real lower <=" in found.expected
    assert "real lower - 1 <=" in found.found
    assert formal.difference(written, written + "(* *)\n").line == written.count("\n") + 1


ALTERATIONS = {
    "a hypothesis dropped": ("admissible the_problem d W H b -> (real lower", "(real lower"),
    "a hypothesis added": ("forall d W H b, admissible", "forall d W H b, d = O -> admissible"),
    "features of any sign": ("nonnegative := true", "nonnegative := false"),
    "fewer samples": ("counts := [2; ", "counts := [1; "),
    "another decay": ("sizes_of := Decays (", "sizes_of := Decays (1"),
    "another loss": ("cross_entropy (0, 0)", "cross_entropy (1, (-1))"),
    "another number": ("Definition lower : dyadic := (", "Definition lower : dyadic := (-"),
    "another inequality": ("<= objective", "< objective"),
    "an axiom": ("Theorem lower_bound", "Axiom easy : False.\nTheorem lower_bound"),
    "no proof": ("Qed.", "Admitted."),
    "a notation": ("Open Scope Z_scope.", "Open Scope Z_scope.\nNotation objective := (fun _ _ _ _ _ => 0%R)."),
    "a definition in front": (
        "Theorem lower",
        "Definition admissible (P : problem) (d : nat) := False.\nTheorem lower",
    ),
    "another library": (
        "Losses Compute Proofs Upper Model.",
        "Losses Compute Proofs Upper Model. Require Import Mine.",
    ),
    "another order of libraries": ("Losses Compute Proofs Upper Model.", "Model Losses Compute Proofs Upper."),
    "a module in front": ("Definition the_problem", "Module Model. End Model.\nDefinition the_problem"),
    "a comment around it": ("Theorem upper_bound", "(* Theorem upper_bound"),
    "a letter that looks alike": ("objective the_problem", "\u043ebjective the_problem"),
    "a space of another kind": ("Definition lower :", "Definition lower\u00a0:"),
    "a sign without width": ("real lower", "real\u200b lower"),
    "other ends of lines": ("\n", "\r\n"),
    "one return": ("Qed.\n", "Qed.\r"),
    "a mark in front": ("(* The optimum", "\ufeff(* The optimum"),
    "flags": ("Open Scope Z_scope.", "Unset Guard Checking.\nOpen Scope Z_scope."),
    "assumptions of something else": ("Print Assumptions bounds.", "Print Assumptions eq_refl."),
    "another digest": ("SHA-256\n   ", "SHA-256\n   0"),
    "nothing at the end": ("Print Assumptions bounds.\n", "Print Assumptions bounds."),
}


@pytest.mark.parametrize("what", ALTERATIONS)
def test_whatever_is_altered_is_another_file(what, certificate, tmp_path, monkeypatch):
    """By the command, byte by byte; Coq is not asked about it."""
    written = formal.formalise(certificate).text
    old, new = ALTERATIONS[what]
    assert old in written
    other = tmp_path / "other.v"
    other.write_bytes(written.replace(old, new, 1).encode())
    monkeypatch.setattr(formal, "compile_text", lambda *given: pytest.fail("Coq was asked"))
    result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal", "--against", str(other)])
    assert result.exit_code == 3
    assert "is another file: line " in result.stdout


def test_nothing_but_errors_and_the_verifier_is_imported():
    used = set()
    for path in Path(formal.__file__).parent.glob("*.py"):
        used |= set(re.findall(r"^\s*from (ufm_convex[\w.]*) import", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for name in used if not name.startswith("ufm_convex.formal")} == {
        "ufm_convex", "ufm_convex.errors", "ufm_convex.verifier",
    }  # fmt: skip


def test_the_page_names_every_file_that_is_trusted():
    """All that write a part of the file: what runs Coq writes none."""
    page = (Path(__file__).parent.parent / "docs" / "formal.md").read_text(encoding="utf-8")
    trusted = set(re.findall(r"`formal/(\w+)\.py`", page.partition("## 3. What is trusted")[2]))
    assert trusted == {path.stem for path in Path(formal.__file__).parent.glob("*.py")} - {"__init__", "running"}


# -- the theory ------------------------------------------------------------------------------------------------------


def test_the_theory_leaves_nothing_unproved():
    """No axiom, no gap; variables and hypotheses in sections alone, which Coq closes."""
    files = sorted(path.stem for path in THEORY.glob("*.v"))
    assert files == sorted(running.THEORY)
    for path in THEORY.glob("*.v"):
        code = re.sub(r"\(\*.*?\*\)", "", path.read_text(encoding="utf-8"), flags=re.S)
        assert not re.search(r"\b(Admitted|admit|Axiom|Parameter|Conjecture|Unset|bypass_check)\b", code), path.name
        depth = 0
        for line in code.splitlines():
            depth += bool(re.match(r"Section ", line)) - bool(re.match(r"End ", line))
            assert depth or not re.match(r"(Variable|Hypothes[ie]s|Context)", line), line
        assert code.count("Proof.") == code.count("Qed."), path.name


def definitions():
    """Name → (lines, text) of each definition of Model.v, without comments; constructors and fields are names, too."""
    code = re.sub(r"\(\*.*?\*\)", "", (THEORY / "Model.v").read_text(encoding="utf-8"), flags=re.S)
    lines = [line.rstrip() for line in code.splitlines() if line.strip()]
    assert max(map(len, lines)) <= 125  # nothing is squeezed into a line
    found = {}
    for sentence in re.split(r"\n(?=Definition|Fixpoint|Inductive|Record)", "\n".join(lines))[1:]:
        head, *_ = names = re.findall(r"^(?:Definition|Fixpoint|Inductive|Record) (\w+)", sentence)
        names += re.findall(r"(?:[|]|:=) ([A-Z]\w+)", sentence) if sentence.startswith("Inductive") else []
        names += re.findall(r"(\w+) : ", sentence.partition("{")[2]) if head == "problem" else []
        found |= dict.fromkeys(names, (sentence.count("\n") + 1, sentence))
    return found, len(re.split(r"\n(?=Definition)", "\n".join(lines), maxsplit=1)[0].splitlines())


def read_for(text):
    """The definitions of Model.v that a text names, and all that those name in turn."""
    known, preamble = definitions()
    waiting, read = set(re.findall(r"\w+", text)) & set(known), {}
    while waiting:
        name = waiting.pop()
        read[known[name][1]] = known[name][0]
        waiting |= {word for word in re.findall(r"\w+", known[name][1]) if word in known and known[word][1] not in read}
    return sum(read.values()) + preamble, set(read)


def test_a_person_can_read_the_statement():
    """Forty lines at most, whatever the loss: of the losses, that of the certificate alone."""
    code = re.sub(r"\(\*.*?\*\)", "", (THEORY / "Model.v").read_text(encoding="utf-8"), flags=re.S)
    assert not re.search(r"\b(Lemma|Theorem|Proof|Notation|Coercion|Ltac|Instance)\b", code)
    counted, seen = {}, set()
    for loss in arranging.LOSSES.values():
        counted[loss.function], read = read_for(f"problem admissible objective real lower vector {loss.function}")
        seen |= read
    assert max(counted.values()) <= 40
    assert min(counted.values()) > 25
    assert {sentence for _, sentence in definitions()[0].values()} == seen  # and no other is there


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Axioms:\nA.b : forall x,\n  x = y\nC.d\n  : nat\n", {"A.b", "C.d"}),
        ("Closed under the global context\n", set()),
        ("Closed under the global context\nAxioms:\nA : False\n", None),
        ("Axioms:\nA : nat\nAxioms:\nB : False\n", None),
        ("Section Variables:\nx : nat\nAxioms:\nA : nat\n", None),
        ("Axioms:\nA : nat\nTheory:\n", None),
        ("", None),
    ],
)
def test_what_theorems_rest_on_is_read(said, found):
    assert running.assumptions(said) == found


# -- without Coq -----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(certify(PLAIN).to_json())
    return path


@pytest.fixture
def without_coq(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(running, "_coqc", running._coqc.__wrapped__)


def test_without_coq_the_packages_are_named(without_coq):
    with pytest.raises(CoqNotInstalledError, match="apt-get install coq libcoq-interval"):
        running.compile_text("")


def test_without_coq_the_file_is_kept_and_nothing_is_compiled(certificate, without_coq, tmp_path):
    kept = tmp_path / "c.v"
    result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal", "-o", str(kept)])
    assert result.exit_code == 3
    assert "CoqNotInstalledError" in result.stderr
    assert "NOT COMPILED" in result.stdout
    assert kept.read_text() == formal.formalise(certificate).text


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("no program", "coqc cannot be run: Exec format error"),
        (
            "#!/bin/sh\necho Error: no such reference. >&2; exit 1\n",
            "the theory does not compile, Model.v: coqc: no such",
        ),
        ("#!/bin/sh\nsleep 60\n", "the theory does not compile, Model.v: no answer in"),
    ],
)
def test_a_coqc_that_is_none_is_told_by_name(certificate, script, words, tmp_path, monkeypatch):
    """It cannot be run, is too old for the theory, or hangs: not compiled, and the certificate stays proved."""
    coqc = tmp_path / "coqc"
    coqc.write_text(script)
    coqc.chmod(0o755)
    monkeypatch.setattr(running, "_coqc", lambda: str(coqc))
    monkeypatch.setattr(running, "_theory", running._theory.__wrapped__)
    monkeypatch.setattr(running, "TIME_LIMIT", 1)
    monkeypatch.setattr(running, "PATIENCE", 0.2)
    result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal"])
    assert (result.exit_code, "verdict      PROVED" in result.stdout) == (3, True)
    assert words in result.stdout
    assert "CoqNotInstalledError" in result.stderr


def test_refuted_by_python_is_refuted(certificate, without_coq):
    """Coq is not asked: a proof that fails is no refutation, and a refutation needs none."""
    given = json.loads(certificate.read_text())
    certificate.write_bytes(text(claiming(given, "lower", naive_verifier.dyadic(given["claims"]["upper"]) * 2)))
    result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal"])
    assert result.exit_code == 1
    assert "NOT COMPILED  the verifier has not proved it" in result.stdout


@pytest.mark.parametrize("option", ["--output", "--against"])
def test_options_of_formal_alone_are_refused_without_it(certificate, option, tmp_path):
    result = CliRunner().invoke(application(), ["verify", str(certificate), option, str(tmp_path / "c.v")])
    assert result.exit_code == 2
    assert f"{option} is given with verify without --formal" in result.stderr
    assert not (tmp_path / "c.v").exists()


@pytest.mark.parametrize("option", ["--time-limit", "--memory-limit"])
def test_limits_are_those_of_coq(certificate, option, monkeypatch):
    """Given to it as they are; without --formal there is nothing that they limit."""
    asked = []
    made = formal.Compilation(False, (), "enough", "8.16.1", 0.0)
    monkeypatch.setattr(formal, "compile_text", lambda text, *limits: asked.append(limits) or made)
    result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal", option, "77"])
    assert asked == [(77.0, running.MEMORY_LIMIT) if option == "--time-limit" else (running.TIME_LIMIT, 77)]
    assert (result.exit_code, "NOT COMPILED  enough" in result.stdout) == (3, True)
    assert CliRunner().invoke(application(), ["verify", str(certificate), option, "77"]).exit_code == 2


@pytest.mark.parametrize(("option", "least", "most"), [("--time-limit", 1, 10**6), ("--memory-limit", 64, 1 << 30)])
def test_limits_that_no_system_takes_are_refused(certificate, option, least, most, monkeypatch):
    """On either side of both ends; infinity and what is no number, too. Coq is not asked."""
    asked = []
    made = formal.Compilation(False, (), "enough", "8.16.1", 0.0)
    monkeypatch.setattr(formal, "compile_text", lambda text, *limits: asked.append(limits) or made)
    codes = {}
    for given in (least, most, least - 1, most + 1, 10**30, "inf", "nan", "-1", "abc"):
        result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal", option, str(given)])
        codes[given] = result.exit_code
    assert {given for given, code in codes.items() if code == 3} == {least, most}
    assert set(codes.values()) == {2, 3}
    assert len(asked) == 2


@pytest.mark.parametrize("limits", [(float("nan"), 4096), (float("inf"), 4096), (0, 4096), (300, 0), (300, 1 << 31)])
def test_limits_of_the_function_are_refused_by_name(limits):
    with pytest.raises(ProblemError, match="Coq's limit is"):
        running.compile_text("", *limits)


def altered(certificate, path):
    path.write_text(formal.formalise(certificate).text.replace("nonnegative := true", "nonnegative := false"))
    return path.read_bytes()


@pytest.mark.parametrize("read", ["certificate", "against", "problem", "candidate"])
def test_the_file_of_coq_replaces_nothing_that_is_read(certificate, read, tmp_path, monkeypatch):
    """Under another name of the same file, too: else an altered file would be compared with itself."""
    monkeypatch.setattr(formal, "compile_text", lambda *given: pytest.fail("Coq was asked"))
    given = tmp_path / "given"
    before = altered(certificate, given)
    path = certificate if read == "certificate" else given
    before = certificate.read_bytes() if read == "certificate" else before
    link = tmp_path / "link.v"
    link.symlink_to(path)
    options = [] if read == "certificate" else [f"--{read}", str(given)]
    for output in (path, link):
        command = ["verify", str(certificate), "--formal", "-o", str(output), *options]
        result = CliRunner().invoke(application(), command)
        assert result.exit_code == 2
        assert path.read_bytes() == before
        if read != "candidate":  # whose suffix is asked about first
            assert "which is read" in result.stderr


def test_a_file_to_compare_with_is_read_before_anything_is_written(certificate, tmp_path):
    kept = tmp_path / "c.v"
    result = CliRunner().invoke(
        application(), ["verify", str(certificate), "--formal", "-o", str(kept), "--against", str(tmp_path / "none.v")]
    )
    assert (result.exit_code, kept.exists()) == (2, False)
    assert "none.v cannot be read" in result.stderr


def test_both_judges_read_the_same_bytes(certificate, monkeypatch):
    """A file that is another one after the verifier has read it: Coq is shown what the verifier saw."""
    from ufm_convex import verifying

    expected, check = formal.formalise(certificate).text, verifying.verify

    def swapping(source, *given):
        found = check(source, *given)
        certificate.write_text(certify(WEIGHTED).to_json())
        return found

    asked = []
    monkeypatch.setattr(verifying, "verify", swapping)
    made = formal.Compilation(False, (), "seen", "8.16.1", 0.0)
    monkeypatch.setattr(formal, "compile_text", lambda text, *limits: asked.append(text) or made)
    CliRunner().invoke(application(), ["verify", str(certificate), "--formal"])
    assert asked == [expected]


def test_out_of_reach_is_not_compiled(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(margin_certificates()["margin"].to_json())
    result = CliRunner().invoke(application(), ["verify", str(path), "--formal", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (found["verdict"], found["formal"]["compiled"]) == ("PROVED", False)
    page = (Path(__file__).parent.parent / "docs" / "formal.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+)`", page.partition("With `--json`")[2].partition("\n\n")[0])) == {
        "formal",
        *found["formal"],
    }
    assert found["formal"]["detail"].startswith("not within reach of --formal: the loss hard-margin")


def test_another_file_is_told(certificate, tmp_path):
    other = tmp_path / "other.v"
    other.write_text(formal.formalise(certificate).text.replace("nonnegative := true", "nonnegative := false"))
    result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal", "--against", str(other)])
    assert result.exit_code == 3
    assert "is another file: line 14" in result.stdout


# -- with Coq --------------------------------------------------------------------------------------------------------


@needs_coq
def test_a_certificate_is_a_theorem(certificate, tmp_path):
    """The whole way, once: both theorems compile, and rest on the real numbers alone."""
    kept = tmp_path / "c.v"
    result = CliRunner().invoke(application(), ["verify", str(certificate), "--formal", "-o", str(kept), "--json"])
    found = json.loads(result.stdout)["formal"]
    assert result.exit_code == 0
    assert (found["compiled"], found["detail"]) == (True, "")
    assert set(found["axioms"]) == running.AXIOMS


NUMERALS = "From Coq Require Import List Arith.\n"


@needs_coq
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "Definition bounds := conj lower_bound ",
            "Axiom free : 0 < 0.\nDefinition bounds := conj (conj free lower_bound) ",
        ),
        ("vm_cast_no_check (eq_refl true).\nQed.", "Admitted."),
        ("vm_cast_no_check (eq_refl true)", "vm_cast_no_check (eq_refl false)"),
        ("Definition lower : dyadic := (", "Definition lower : dyadic := (1"),
        ("Print Assumptions bounds.", ""),
    ],
)
def test_a_file_that_proves_less_is_not_accepted(certificate, old, new):
    written = formal.formalise(certificate).text
    assert old in written
    assert not running.compile_text(written.replace(old, new, 1)).compiled


@needs_coq
@pytest.mark.parametrize(
    ("file", "limits", "detail"),
    [
        ("Goal True. Proof. do 1000000 (do 1000000 idtac). exact I. Qed.\n", {"limit": 1}, "1 s of processor time"),
        ("Goal True.\n", {"memory": 100}, "more than 100 MiB of memory"),
        (f"{NUMERALS}Eval vm_compute in length (repeat 0 (2 ^ 27)).\n", {"memory": 700}, "more than 700 MiB of memory"),
    ],
)
def test_a_file_that_takes_too_much_is_not_accepted(file, limits, detail):
    """Time, memory to start with, and memory of a computation; within the limits the same computation ends."""
    made = running.compile_text(file, **limits)
    assert not made.compiled
    assert made.detail.endswith(detail)


@needs_coq
def test_limits_that_suffice_change_nothing():
    made = running.compile_text(f"{NUMERALS}Eval vm_compute in length (repeat 0 (2 ^ 10)).\n", memory=700)
    assert (made.compiled, made.detail) == (False, "Coq does not say what the theorems rest on")


def edges(given, field):
    """The sharpest claim that the verifier proves, and the next, which it does not: 2^-60 apart."""
    low, high = (naive_verifier.dyadic(given["claims"][name]) for name in ("lower", "upper"))
    unit = Fraction(1, 2**60)
    below, above = (low / unit).__floor__() - 1, (high / unit).__ceil__() + 1

    def proved(number):
        found = {s.name: s.verdict for s in verify(text(claiming(given, field, number * unit))).steps}
        return found[f"{field} bound"] == "PROVED"

    assert (proved(below), proved(above)) == ((True, False) if field == "lower" else (False, True))
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (middle, above) if proved(middle) == (field == "lower") else (below, middle)
    return (below * unit, above * unit) if field == "lower" else (above * unit, below * unit)


ABSURD = {
    "no classes": "[] [] (Decays (1, 0) (1, 0))",
    "no samples": "[1; 1] [0; 0] (Decays (1, 0) (1, 0))",
    "fewer than no samples": "[1; 1] [-1; 2] (Decays (1, 0) (1, 0))",
    "fewer than no classes": "[-1; 3] [5; 1] (Decays (1, 0) (1, 0))",
    "an empty run": "[0; 2] [5; 1] (Decays (1, 0) (1, 0))",
    "no decay of W": "[1; 1] [1; 1] (Decays (0, 0) (1, 0))",
    "a negative decay of H": "[1; 1] [1; 1] (Decays (1, 0) (-1, 0))",
    "a ball around means of nothing": "[1; 1] [1; 0] (Radii (1, 0) (1, 0))",
}
"""Where a division by 0, or Z.to_nat of a negative number, has some value in Coq."""


@needs_coq
def test_nothing_is_proved_of_problems_that_are_none():
    """Neither -100 from below nor 100 from above, both of which the first problem has."""
    problems = ["[1; 1] [1; 1] (Decays (1, 0) (1, 0))", *ABSURD.values()]
    lines = [
        "Definition some ms cs sizes := Coded {| multiplicities := ms; counts := cs;",
        "  weights := map (fun _ => (1, 0)) ms; sizes_of := sizes; bias_of := NoBias; nonnegative := true;",
        "  feature_dim := None; loss_of := cross_entropy (0, 0) |} (CrossEntropy (0, 0)) eq_refl.",
        "Definition zeros n (row := repeat 0 n) := OrbitProof row (repeat row n) row row [] [].",
        "Definition none := ((0, 0), (0, 0)). Definition origin := repeat [0] 9.",
        "Definition asked (P : coded) := let n := length (multiplicities P) in let p := direct 60 in",
        "  (orb (diagonal_check p P [] none (-100, 0)) (orbit_check p P (zeros n) none (-100, 0)),",
        "   orb (frame_check p P [] [] 0 (100, 0)) (dense_check p P 0 0 0 origin origin [] 1 (100, 0))).",
        *(f"Eval vm_compute in asked (some {problem})." for problem in problems),
    ]
    first, *others = evaluated(lines, limit=60)
    assert first == (True, True)
    assert others == [(False, False)] * len(ABSURD)


@needs_coq
@pytest.mark.parametrize(("number", "enclosed"), [(2**14, True), (2**14 + 1, False), (2**60, False)])
def test_exponentials_of_large_numbers_are_not_enclosed(number, enclosed):
    """On either side of the limit; of 2^60, a sum with 1 would have 2^60 digits and never end."""
    terms = [
        f"nonneg_interval (iadd (direct 60) (iz (direct 60) 1) (iexp (direct 60) (Qmake ({sign}{number}) 1)))"
        for sign in ("", "-")
    ]
    assert evaluated([f"Eval vm_compute in ({', '.join(terms)})."], limit=60) == [(enclosed, enclosed)]


@needs_coq
def test_forgeries_of_immense_logits_are_decided_at_once():
    """Witnesses 2^1000 times as long: their upper bounds are not proved, and nobody waits for that."""
    longer = []
    sigmoids = certify(ufm.Problem([9, 3, 3], 5e-3, 5e-3, loss=ufm.BinaryCrossEntropy()))
    for given, part in ((document(certify(PLAIN)), "eta"), (document(sigmoids), "H")):
        path = ("witness", part, "exponent")
        longer.append(replaced(given, path, given["witness"][part]["exponent"] + 1000))
    assert steps([formal.written(given).text for given in longer], limit=60) == [(True, False)] * 2


@needs_coq
def test_a_unit_too_sharp_does_not_compile():
    """The last claim that holds, and the first that does not, 2^-60 apart, on either side."""
    given = document(certify(PLAIN))
    files = {
        field: [formal.written(claiming(given, field, value)).text for value in edges(given, field)]
        for field in ("lower", "upper")
    }
    assert steps([*files["lower"], *files["upper"]]) == [(True, True), (False, True), (True, True), (True, False)]
    assert not any(running.compile_text(file).compiled for _, file in files.values())


def small_forgeries(given):
    """(what, forgery, whether lower and upper still hold)."""
    strengths = given["dual"]["strengths"]["integers"].split()
    yield "strengths exchanged", ("dual", "strengths", "integers"), " ".join(reversed(strengths)), (False, True)
    yield "a negative strength", ("dual", "strengths", "integers"), " ".join(["-1", *strengths[1:]]), (False, True)
    yield "twice the decay of W", ("problem", "lambda_w"), _twice(given["problem"]["lambda_w"]), (True, False)
    yield "half the decay of H", ("problem", "lambda_h"), _half(given["problem"]["lambda_h"]), (False, True)
    yield "free features", ("problem", "features"), "free", (False, True)
    yield "fewer dimensions", ("problem", "feature_dim"), 1, (True, False)
    yield "another length", ("witness", "eta", "exponent"), given["witness"]["eta"]["exponent"] + 1, (True, False)


def _twice(number):
    mantissa, exponent = number.split("p")
    return f"{mantissa}p{int(exponent) + 1}"


def _half(number):
    mantissa, exponent = number.split("p")
    return f"{mantissa}p{int(exponent) - 1}"


@needs_coq
def test_forgeries_do_not_compile():
    given = document(certify(PLAIN))
    files, expected = [formal.written(given).text], [(True, True)]
    for _, path, value, holds in small_forgeries(given):
        forged = resealed(replaced(given, path, value))
        assert verify(text(forged)).verdict == "REFUTED" or path[-1] == "lambda_w"
        files.append(formal.written(forged).text)
        expected.append(holds)
    assert steps(files) == expected


AGREED = {
    "group", "group witness", "squares, group", "sigmoids", "joint hinge, dense", "soft targets", "multiplier",
    "squared hinge", "pairwise hinge", "peeled", "peeled, squares", "free bias, squares", "penalised bias, diagonal",
}  # fmt: skip
"""What the quick tests decide: every loss, and between them every kind of proof, bound and bias."""


def agreement(documents):
    """Each certificate with Coq's verdict on its bounds beside the verifier's."""
    texts = [formal.written(given).text for given in documents.values()]
    for (name, given), found in zip(documents.items(), steps(texts), strict=True):
        told = {s.name: s.verdict == "PROVED" for s in verify(text(given)).steps}
        yield name, found, (told["slack"] and told["lower bound"], told["witness"] and told["upper bound"])


def without_candidates(certificates):
    """Name → document; a claim about a candidate is left out, and with it what else the file says of it."""
    return {
        name: resealed({**given, "candidate": None, "claims": {**given["claims"], "candidate": None}})
        for name, given in ((name, document(made)) for name, made in certificates.items())
    }


@needs_coq
def test_the_point_zero_and_classes_without_samples():
    """A diagonal proof for free features is one of columns of zeros; outputs that no sample has take part."""
    idle = document(certify(ufm.Problem([5, 5, 3], 1.0, 1.0, features="free"), proof="diagonal"))
    assert idle["dual"]["kind"] == "diagonal"
    given = [
        idle,
        *(document(certify(ufm.Problem([50, 20, 0], 5e-3, 5e-3, features=f))) for f in ("free", "nonnegative")),
    ]
    assert steps([formal.written(one).text for one in given]) == [(True, True)] * 3


@needs_coq
def test_every_kind_agrees():
    every = {**base_certificates(), **loss_certificates(), **peeled_certificates(), **biased_certificates()}
    every = without_candidates(every)
    found = list(agreement({name: every[name] for name in sorted(AGREED)}))
    assert [(name, one) for name, one, other in found if not one == other == (True, True)] == []


@needs_coq
@pytest.mark.slow
def test_every_certificate_within_reach_agrees():
    every = {**base_certificates(), **loss_certificates(), **peeled_certificates(), **biased_certificates()}
    within = reach(without_candidates(every))
    assert len(within) > 40
    found = list(agreement(within))
    assert [(name, one, other) for name, one, other in found if one != other] == []


TAMPERED = (
    "diagonal", "group", "multiplier", "soft targets", "adjusted", "label margins, free", "joint hinge, dense",
    "peeled", "free bias, squares", "penalised bias",
)  # fmt: skip


def forgeries(name):
    """what → document, re-sealed: alterations that are well formed, within reach and another question to Coq."""
    every = {**base_certificates(), **loss_certificates(), **peeled_certificates(), **biased_certificates()}
    given = document(every[name])
    forged, seen = {}, {checks(formal.written(given).text)}
    for what, other in alterations(given):
        try:
            asked = checks(formal.formalise(text(resealed(other))).text)
        except (MalformedCertificate, OutOfReachError, AttributeError):  # the last: the document is no object
            continue
        if asked not in seen:  # tolerances and words change nothing that Coq is asked
            seen.add(asked)
            forged[what] = resealed(other)
    return forged


@needs_coq
@pytest.mark.slow
@pytest.mark.parametrize("name", TAMPERED)
def test_the_tamper_corpus(name):
    """Alterations that are well formed and within reach: Coq accepts a bound if and only if the verifier does."""
    forged = forgeries(name)
    assert len(forged) > 100
    found = list(agreement(forged))
    assert sum(one != (True, True) for _, one, _ in found) > 50
    assert [(what, one, other) for what, one, other in found if one != other] == []


@needs_coq
@pytest.mark.parametrize("name", ["diagonal", "joint hinge, dense"])
def test_a_sample_of_the_tamper_corpus(name):
    """Thirty of each, ``random.Random`` with the name for a seed; all of them are in the slow tests."""
    forged = forgeries(name)
    found = list(agreement({what: forged[what] for what in Random(name).sample(sorted(forged), 30)}))
    assert sum(one != (True, True) for _, one, _ in found) > 15
    assert [(what, one, other) for what, one, other in found if one != other] == []


@needs_coq
@pytest.mark.slow
@pytest.mark.parametrize("problem", [ufm.Problem(np.arange(10, 110), 1e-3, 1e-3), circle(5)])
def test_large_and_soft_problems(problem):
    given = document(certify(problem))
    assert formal.check(text(given)).compiled == (verify(text(given)).verdict == "PROVED")

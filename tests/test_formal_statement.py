"""What a file of Coq states, read back: it is the problem of the certificate, and nothing in it can be smuggled in.

``stated`` reads the statement of a file, ``said`` the JSON; neither knows how the other is written. Classes are
compared as they come where the loss tells them apart, and without their order where it does not.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from functools import cache

import pytest
from certificate_cases import (
    alterations,
    base_certificates,
    biased_certificates,
    leaves,
    loss_certificates,
    peeled_certificates,
    replaced,
    resealed,
    text,
)
from formal_cases import reach

import ufm_convex as ufm
from ufm_convex import formal
from ufm_convex.certificate import certify
from ufm_convex.errors import OutOfReachError
from ufm_convex.formal import arranging, writing
from ufm_convex.verifier import MalformedCertificate

NAMES = {
    "cross_entropy": "cross-entropy", "soft_targets": "soft-target-cross-entropy",
    "squared_error": "mean-squared-error", "logit_adjusted": "logit-adjusted-cross-entropy",
    "label_margins": "label-margin-cross-entropy",
    "binary_cross_entropy": "binary-cross-entropy", "squared_hinge": "squared-hinge",
    "crammer_singer": "crammer-singer", "weston_watkins": "weston-watkins",
}  # fmt: skip
APART = {"soft-target-cross-entropy", "logit-adjusted-cross-entropy", "label-margin-cross-entropy"}
"""Losses that tell classes apart."""
SKELETON = """\
Theorem lower_bound :
  forall d W H b, admissible the_problem d W H b -> (real lower <= objective the_problem d W H b)%R.
Proof.
apply (…).
vm_cast_no_check (eq_refl true).
Qed.

Theorem upper_bound :
  exists d W H b, admissible the_problem d W H b /\\ (objective the_problem d W H b <= real upper)%R.
Proof.
apply (…).
vm_cast_no_check (eq_refl true).
Qed.

Definition bounds := conj lower_bound upper_bound.
Print Assumptions bounds.
"""


def power(mantissa, exponent):
    return mantissa * Fraction(2) ** exponent


def literal(written):
    """Lists, pairs and integers of Coq, as those of Python."""
    assert re.fullmatch(r"[-\d\[\]();,\s]*", written)
    return json.loads(re.sub(r"\((-\d+)\)", r"\1", written).replace(";", ",").replace("(", "[").replace(")", "]"))


def dyadics(written):
    return [power(*pair) for pair in literal(f"[{re.sub(r'[)] [(]', '), (', written)}]")]


def compared(classes, loss):
    """What of classes without samples is no part of the objective is left out: their weights."""
    kept = [(n, w if n else None) for n, w in classes]
    return kept if loss in APART else sorted(kept, key=str)


def stated(written):
    """The problem and the claims that a file states, after its form is found to be the one of every file."""
    fields = re.search(
        r"\nDefinition the_problem : problem := \{\|\n  multiplicities := (.*?);\n  counts := (.*?);\n"
        r"  weights := (.*?);\n"
        r"  sizes_of := (Decays|Radii) (.*?); bias_of := (.*?);\n  nonnegative := (true|false); feature_dim := (.*?);\n"
        r"  loss_of := (\w+)(.*?) \|\}\.\n\n"
        r"Definition lower : dyadic := (.*?)\.\nDefinition upper : dyadic := (.*?)\.\n\n"
        r"(Theorem.*)",
        written, re.DOTALL,
    )  # fmt: skip
    repeats, counts, weights, kind, sizes, bias, signs, dimension, loss, parameters, lower, upper, rest = (
        fields.groups()
    )
    assert re.sub(r"^apply \((\w+ [^.]*)\)\.$", "apply (…).", rest, flags=re.MULTILINE) == SKELETON
    repeats, counts, weights = literal(repeats), literal(counts), [power(*pair) for pair in literal(weights)]
    runs = list(zip(repeats, counts, weights, strict=True))
    name = NAMES[loss]
    if loss in ("logit_adjusted", "label_margins"):
        given = [[power(*pair) for pair in literal(part)] for part in re.findall(r"\[.*?\]", parameters)]
    elif loss == "soft_targets":
        unit, rows = re.fullmatch(r" \(?(-?\d+)\)? (.*)", parameters, re.DOTALL).groups()
        given = [[power(x, int(unit)) for x in row] for row in literal(rows)]
    else:
        given = dyadics(parameters)
    return {
        "classes": compared([(n, w) for m, n, w in runs for _ in range(m)], name),
        "sizes": (kind == "Radii", dyadics(sizes)),
        "bias": {"NoBias": None, "FreeBias": "free"}[bias] if " " not in bias else dyadics(bias.split(" ", 1)[1])[0],
        "nonnegative": signs == "true",
        "feature_dim": None if dimension == "None" else int(re.fullmatch(r"Some (\d+)", dimension)[1]),
        "loss": (name, given),
        "claims": (dyadics(lower)[0], dyadics(upper)[0]),
    }


def said(given):
    """The same of the JSON object, by docs/certificate.md."""
    problem, claims = given["problem"], given["claims"]

    def number(written):
        return power(*map(int, written.split("p")))

    counts, repeats = ([int(x) for x in problem[name].split()] for name in ("class_counts", "multiplicities"))
    weights = [Fraction(1)] * len(counts)
    if problem["class_weights"] is not None:
        unit = problem["class_weights"]["exponent"]
        weights = [power(int(x), unit) for x in problem["class_weights"]["integers"].split()]
    bounded = "weight_radius" in problem
    sizes = ("weight_radius", "feature_radius") if bounded else ("lambda_w", "lambda_h")
    loss, parameters = problem["loss"], []
    if "smoothing" in loss:
        parameters = [number(loss["smoothing"])]
    if "targets" in loss:
        table = loss["targets"]
        parameters = [[power(int(x), table["exponent"]) for x in row.split()] for row in table["rows"]]
    for part in ("scale", "shift", "margins"):
        if part in loss:
            vector = loss[part] or {"exponent": 0, "integers": ""}
            parameters.append([power(int(x), vector["exponent"]) for x in vector["integers"].split()])
    name, bias = loss.get("kind", loss["name"]), problem.get("bias")
    classes = [(n, w) for n, w, m in zip(counts, weights, repeats, strict=True) for _ in range(m)]
    return {
        "classes": compared(classes, name),
        "sizes": (bounded, [number(problem[size]) for size in sizes]),
        "bias": bias if bias in (None, "free") else number(bias),
        "nonnegative": problem["features"] == "nonnegative",
        "feature_dim": problem["feature_dim"],
        "loss": (name, parameters),
        "claims": (number(claims["lower"]), number(claims["upper"])),
    }


CE = ufm.CrossEntropy
ROOM = {
    "counts that are not sorted": ufm.Problem([3, 50, 7, 20], 5e-3, 2e-3),
    "counts that repeat, apart": ufm.Problem([5, 20, 5, 20, 5], 5e-3, 2e-3),
    "counts alike, weights not": ufm.Problem([8, 8, 8], 5e-3, 2e-3, loss=CE(class_weights=(3.0, 1.0, 2.0))),
    "weights that go with counts": ufm.Problem([9, 3, 9], 5e-3, 2e-3, loss=CE(class_weights=(1.0, 3.0, 0.5))),
    "no samples, weighted": ufm.Problem([0, 9, 3, 0], 5e-3, 2e-3, loss=CE(class_weights=(7.0, 3.0, 2.0, 5.0))),
    "free, smoothed": ufm.Problem([9, 3, 9], 5e-3, 2e-3, features="free", loss=CE(smoothing=0.25)),
    "no samples, adjusted": ufm.Problem(
        [9, 0, 3], 5e-3, 2e-3, loss=ufm.LogitAdjustedCrossEntropy(shift=(0.5, 1.0, -0.25), scale=(1.5, 0.7, 0.75))
    ),
    "dimensions": ufm.Problem([9, 3, 9, 1], 0.3, 0.2, feature_dim=2),
}


@cache
def everything():
    made = {**base_certificates(), **loss_certificates(), **peeled_certificates(), **biased_certificates()}
    found = {name: json.loads(one.to_json()) for name, one in made.items()}
    found |= {name: json.loads(certify(problem).to_json()) for name, problem in ROOM.items()}
    return reach(
        {
            name: resealed({**given, "candidate": None, "claims": {**given["claims"], "candidate": None}})
            for name, given in found.items()
        }
    )


def test_every_statement_is_the_problem_of_its_certificate():
    every = everything()
    assert set(ROOM) <= set(every)
    assert len(every) > 52
    assert {name for name, given in every.items() if stated(formal.written(given).text) != said(given)} == set()


ALTERED = (
    "diagonal", "group", "multiplier", "soft targets", "joint hinge, dense", "peeled", "penalised bias",
    "no samples, weighted", "adjusted", "label margins",
)  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_whatever_is_altered_is_stated(name):
    """Each field of problem and claims, by a unit and by much: what is still a certificate is stated as it now is."""
    every = everything()
    changed = 0
    was = stated(formal.written(every[name]).text)
    for what, other in alterations(every[name]):
        if not what.startswith(("problem", "claims")) or not isinstance(other, dict):
            continue
        try:
            found = stated(formal.formalise(text(resealed(other))).text)
        except (MalformedCertificate, OutOfReachError):
            continue
        assert found == said(other), what
        changed += found != was
    assert changed > 40


@pytest.mark.parametrize(
    ("name", "part", "other"),
    [
        ("penalised bias", "_bias", lambda given: "NoBias"),
        ("soft targets", "_parameters", lambda problem: "0 [[1; 0; 0]; [0; 1; 0]; [0; 0; 1]]"),
        ("adjusted, free", "_parameters", lambda problem: "[] []"),
        ("counts that are not sorted", "arranged", lambda *given: arranging.arranged(*given)[1:]),
        ("weights that go with counts", "arranged", lambda *given: arranging.arranged(*given)[::-1]),
    ],
)
def test_a_fault_of_the_translation_is_found(name, part, other, monkeypatch):
    """The bias forgotten, another loss, a run lost; and one that is none, runs in another order."""
    given = everything()[name]
    monkeypatch.setattr(writing, part, other)
    assert (stated(formal.written(given).text) == said(given)) == (name == "weights that go with counts")


ENDINGS = ("\n", " *) Axiom a : False. (*", '"', "; 1", ")", "\nAxiom a : False.", "{precision}")
"""Text that ends a comment, a string, an entry or a sentence of Coq."""


@pytest.mark.parametrize("name", ["soft targets", "penalised bias, diagonal"])
def test_nothing_is_smuggled_into_a_file(name):
    """After every string of the certificate: malformed, or of a field of which nothing but the digest is written."""
    given = everything()[name]
    plain, written = formal.written(given).text, set()
    for path, value in leaves(given):
        for more in ENDINGS if isinstance(value, str) else ():
            other = replaced(given, path, value + more)
            other = other if path == ("digest",) else resealed(other)
            try:
                found = formal.formalise(text(other)).text
            except MalformedCertificate:
                continue
            assert found.replace(other["digest"], given["digest"]) == plain, path
            written.add(path[0] if path[0] == "provenance" else path)
    # the problem's own hash was made to match again
    assert written == {"provenance", ("claims", "verdict"), ("problem", "sha256")}

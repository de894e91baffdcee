"""Certificates within reach of the theory, and many files of Coq decided by one run of it.

``steps`` asks Coq for the truth values of the checks alone, without the proofs around them, so that hundreds of
forgeries cost one start: a theorem compiles if and only if its check is true, since the proof is that equation.
"""

import re
import subprocess

import pytest
from coq_here import SKIPPED, coq_is_here

from ufm_convex import formal
from ufm_convex.errors import OutOfReachError
from ufm_convex.formal import running

needs_coq = pytest.mark.skipif(not coq_is_here(), reason=SKIPPED)


def checks(text):
    """What Coq computes for the two bounds: the problem, then for either its claim and its check."""
    body = text.partition("Open Scope Z_scope.")[2].partition("Theorem lower_bound")[0]
    problem, *claims = re.split(r"\n(?=Definition (?:lower|upper) : dyadic)", body.strip())
    terms = re.findall(r"^apply \((.*?)\)\.$", text, re.MULTILINE | re.DOTALL)
    questions = zip(claims, terms, strict=False)  # of two bounds; what is said of a candidate is not asked here
    return problem, *((claim, term.replace("_sound ", "_check ", 1)) for claim, term in questions)


def steps(texts, limit=900, batch=40):
    """For each file, whether Coq accepts its lower and its upper bound; what was asked before is not asked again."""
    asked = [[(problem, claim, term) for claim, term in pair] for problem, *pair in map(checks, texts)]
    questions, known = list(dict.fromkeys(question for pair in asked for question in pair)), {}
    for start in range(0, len(questions), batch):
        parts = []
        for number, (problem, claim, term) in enumerate(part := questions[start : start + batch]):
            parts += [f"Module M{number}.", problem, claim, f"Eval vm_compute in ({term}, true).", f"End M{number}."]
        found = evaluated(parts, limit)
        assert len(found) == len(part)
        known |= dict(zip(part, (one for one, _ in found), strict=True))
    return [tuple(known[question] for question in pair) for pair in asked]


def candidate_steps(texts, limit=900):
    """For each file about a candidate, whether Coq accepts its objective, and its gap if it does."""
    parts = []
    for number, text in enumerate(texts):
        problem, (lower, _), (upper, _) = checks(text)
        about = text[text.index("Definition value_low") : text.index("Theorem candidate :")]
        term = re.findall(r"^apply \((candidate_sound .*?)\)\.$", text, re.MULTILINE | re.DOTALL)[0]
        ends = "lower upper value_low value_high gap_low gap_high"
        pair = f"{term.replace('_sound ', '_check ', 1)}, gap_check {ends}"
        parts += [
            f"Module M{number}.",
            problem,
            lower,
            upper,
            about,
            f"Eval vm_compute in ({pair}).",
            f"End M{number}.",
        ]
    found = evaluated(parts, limit)
    assert len(found) == len(texts)
    return found


def evaluated(lines, limit):
    """The pairs of truth values that Coq finds in lines about the theory; a run that takes longer is an error."""
    start = ["From Coq Require Import Reals List ZArith QArith."]
    start += ["From UFM Require Import Losses Compute Proofs Upper Candidate Model."]
    start += ["Import ListNotations.", "Open Scope Z_scope."]
    folder = running._theory().name
    path = f"{folder}/steps.v"
    with open(path, "w") as handle:
        handle.write("\n".join([*start, *lines]))
    command = [running._coqc(), "-q", "-Q", folder, "UFM", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"= \((true|false), (true|false)\)", done.stdout)
    return [tuple(word == "true" for word in pair) for pair in found]


def reach(certificates):
    """Name → document, of those certificates that the theory reaches."""
    found = {}
    for name, document in certificates.items():
        try:
            formal.written(document)
        except OutOfReachError:
            continue
        found[name] = document
    return found

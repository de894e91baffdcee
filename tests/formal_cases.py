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
    """A file of Coq without its theorems: definitions, then the two checks as a pair of truth values."""
    body = text.partition("Open Scope Z_scope.")[2].partition("Theorem lower_bound")[0]
    lower, upper = re.findall(r"^apply \((.*?)\)\.$", text, re.MULTILINE | re.DOTALL)
    pair = ", ".join(term.replace("_sound ", "_check ", 1) for term in (lower, upper))
    return body, pair


def steps(texts, limit=900):
    """For each file, whether Coq accepts its lower and its upper bound."""
    parts = []
    for number, text in enumerate(texts):
        body, pair = checks(text)
        parts += [f"Module M{number}.", body, f"Eval vm_compute in ({pair}).", f"End M{number}."]
    found = evaluated(parts, limit)
    assert len(found) == len(texts)
    return found


def evaluated(lines, limit):
    """The pairs of truth values that Coq finds in lines about the theory; a run that takes longer is an error."""
    start = ["From Coq Require Import Reals List ZArith QArith.", "From UFM Require Import Model Losses Compute Proofs Upper."]
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

"""Whether a certificate is about the problem that was asked (docs/verification.md, section 6).

A problem is given as the object ``problem`` of a file, of sections 3.1 and 10. Compared are decoded numbers, exactly,
and not texts or digests: runs of classes may be cut in other places, vectors have another power of two in front, and a
parameter may be null that stands for a number. Every field of the two is compared, so what nobody thought of differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import contrastive
from .losses import LOSSES
from .problem import Problem
from .reading import MalformedCertificate, Refuted, UnreadableInput, integers, length_of

Entries = str | tuple[int, tuple[int, ...]]
"""Numbers in one form: a dyadic text where all are the same, else an exponent and integers that are not all even."""


def problem_of(given: Any) -> dict[str, Any]:
    """The problem that somebody gives; ``UnreadableInput`` if it is none of section 3.1 or 10."""
    if not isinstance(given, Mapping):
        raise UnreadableInput("a problem is the object of that name of a certificate")
    problem = dict(given)
    try:
        (contrastive.Problem if contrastive.speaks_of(problem) else Problem)(problem)
    except MalformedCertificate as error:
        raise UnreadableInput(f"the problem that was asked is malformed: {error}") from error
    return problem


def check(asked: dict[str, Any], problem: Mapping[str, Any]) -> None:
    """Raise ``Refuted`` unless two problems, both decoded before, have exactly the same numbers."""
    if asked == problem:  # the same texts are the same numbers, and tables need not be read again
        return
    wanted, found = numbers(asked), numbers(problem)
    differing = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if differing:
        raise Refuted(f"the certificate is about another problem: other {', '.join(differing)}")


def numbers(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Name → number or numbers of a problem that has been decoded, in a form that is the same for all its encodings."""
    runs = ("class_counts", "multiplicities", "class_weights")
    found = {name: value for name, value in problem.items() if name not in (*runs, "loss", "sha256")}
    repeats = _integers(problem["multiplicities"])
    found["class_counts"] = _merged(_integers(problem["class_counts"]), repeats)
    weights = _entries(problem.get("class_weights"), "1p0")
    found["class_weights"] = weights if isinstance(weights, str) else (weights[0], _merged(list(weights[1]), repeats))
    if "loss" in problem:
        neutral = LOSSES[problem["loss"]["name"]].neutral
        found |= {f"loss {name}": _entries(value, neutral.get(name)) for name, value in problem["loss"].items()}
        if "targets" in problem["loss"]:
            found["loss targets"] = _targets(problem["loss"]["targets"])
    return found


def _integers(text: str) -> list[int]:
    return integers(text, length_of(text))


def _merged(values: list[int], repeats: list[int]) -> list[list[int]]:
    """Runs of the same value: [value, length]."""
    runs: list[list[int]] = []
    for value, repeat in zip(values, repeats, strict=True):
        if runs and runs[-1][0] == value:
            runs[-1][1] += repeat
        else:
            runs.append([value, repeat])
    return runs


def _entries(value: Any, neutral: str | None) -> Any:
    """A parameter: null as the number it stands for; words and dyadic numbers as they are, written in one way each."""
    if value is None:
        return neutral
    if not isinstance(value, Mapping) or "outputs" in value:
        return value
    if "integers" in value:
        return _vector(_integers(value["integers"]), value["exponent"])
    rows = [_integers(row) for row in value["rows"]]
    others = [row[:k] + row[k + 1 :] for k, row in enumerate(rows)]
    if not any(row[k] for k, row in enumerate(rows)) and all(len(set(row)) == 1 for row in others):
        return _vector([row[0] for row in others], value["exponent"])  # one number a class, written as a table
    return _vector([entry for row in rows for entry in row], value["exponent"])


def _targets(value: Mapping[str, Any]) -> tuple[int, list[int], list[int], Entries]:
    """A table: V, how many entries of each row are not 0, their outputs and numbers; of classes it is a matrix."""
    if "outputs" in value:
        count = 0 if value["places"] is None else length_of(value["places"])
        places = integers(value["places"], count) if count else []
        given = _vector(_integers(value["entries"]["integers"]), value["entries"]["exponent"]) if count else "0p0"
        return value["outputs"], _integers(value["lengths"]), places, given
    rows = [_integers(row) for row in value["rows"]]
    there = [[j for j, entry in enumerate(row) if entry] for row in rows]
    numbers_ = [row[j] for row, places in zip(rows, there, strict=True) for j in places]
    return len(rows[0]), list(map(len, there)), [j for row in there for j in row], _vector(numbers_, value["exponent"])


def _vector(entries: list[int], exponent: int) -> Entries:
    every = 0
    for entry in entries:
        every |= abs(entry)
    twos = (every & -every).bit_length() - 1 if every else 0
    reduced, place = tuple(entry >> twos for entry in entries), exponent + twos if every else 0
    return f"{reduced[0]}p{place}" if len(set(reduced)) == 1 else (place, reduced)

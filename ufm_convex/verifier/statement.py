"""What a certificate says, in words and in binary64, for whoever wants to know what was proved; no part of the proof.

All words are ASCII. Numbers that are no binary64 numbers are rounded so that what is said is weaker than the claim:
lower ends down, upper ends and the tolerance up.
"""

from __future__ import annotations

import hashlib
import math
import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from flint import arb, ctx, fmpq

from . import asked
from .claims import Claims, Enclosures, Interval, Violation
from .points import Candidate
from .reading import dyadic

_SHOWN, _DIGITS = 6, 6
_ORDER = ["model", "features", "feature_dim", "lambda_w", "lambda_h", "weight_radius", "feature_radius", "bias"]


@dataclass(frozen=True)
class ProblemStatement:
    """The problem that a certificate is about.

    Attributes:
        words: The problem in one line.
        sha256: SHA-256 of the object ``problem`` of the file.
    """

    words: str
    sha256: str


@dataclass(frozen=True)
class CandidateClaims:
    """What is claimed of a candidate.

    Attributes:
        objective: Ends of an enclosure of its objective; None for an infeasible candidate.
        gap: Ends of an enclosure of its objective minus the optimum; likewise.
        violation: Row, column and value of a negative feature; None for a feasible candidate.
    """

    objective: tuple[float, float] | None
    gap: tuple[float, float] | None
    violation: tuple[int, int, float] | None
    digest: Callable[[], str | None] = field(repr=False, compare=False)

    @cached_property
    def sha256(self) -> str | None:
        """Of its arrays (docs/streaming.md, section 7), when it is asked for.

        Where the file embeds them, of binary64 arrays with their entries; None if an entry is no such number.
        """
        return self.digest()


@dataclass(frozen=True)
class ClaimsStatement:
    """What is claimed of the problem: proved if and only if the verdict of the verification is PROVED.

    Attributes:
        lower: Lower bound of the optimum.
        upper: Upper bound of the optimum.
        tolerance: The relative gap that counts as optimal.
        verdict: "optimal", "suboptimal", "infeasible" or "undecided".
        candidate: What is claimed of the candidate; None where the certificate is about the optimum alone.
    """

    lower: float
    upper: float
    tolerance: float
    verdict: str
    candidate: CandidateClaims | None


def of_problem(problem: Mapping[str, Any]) -> ProblemStatement:
    """The statement of a problem that has been decoded."""
    found = asked.numbers(problem)
    runs = found.pop("class_counts")
    loss = _loss(found)
    terms = [_term(name, found[name]) for name in sorted(found, key=_place)]
    parts = [_counts(runs), *loss, *terms]
    return ProblemStatement("; ".join(part for part in parts if part), str(problem["sha256"]))


def of_claims(claims: Claims, candidate: Candidate | None) -> ClaimsStatement:
    """The statement of claims; a candidate if and only if they have one."""
    about = None if candidate is None else _of_candidate(claims.candidate, candidate)
    low, high = _outward(claims.optimum)
    return ClaimsStatement(low, high, above(claims.tolerance), str(claims.verdict), about)


def _of_candidate(claim: Enclosures | Violation | None, candidate: Candidate) -> CandidateClaims:
    digest = partial(_digest, candidate)
    if isinstance(claim, Enclosures):
        return CandidateClaims(_outward(claim.objective), _outward(claim.gap), None, digest)
    place = None if claim is None else (claim.row, claim.column, above(claim.value))
    return CandidateClaims(None, None, place, digest)


# -- numbers ------------------------------------------------------------------------------------------------------


def below(number: fmpq) -> float:
    """The largest binary64 number that is not above; -inf beyond them."""
    numerator, denominator = int(number.p), int(number.q)
    try:
        nearest = numerator / denominator
    except OverflowError:
        return -math.inf if numerator < 0 else math.nextafter(math.inf, 0.0)
    top, bottom = nearest.as_integer_ratio()
    return nearest if top * denominator <= numerator * bottom else math.nextafter(nearest, -math.inf)


def above(number: fmpq) -> float:
    """The smallest binary64 number that is not below; inf beyond them."""
    return 0.0 - below(-number)


def _outward(interval: Interval) -> tuple[float, float]:
    return below(interval.low), above(interval.high)


def _decimal(text: str) -> str:
    """A dyadic number as the shortest decimal of the binary64 number that it is, else about."""
    number = dyadic(text)
    if below(number) == above(number):
        return repr(below(number))
    with ctx.workprec(64):
        return "about " + str(arb(number).str(_DIGITS, radius=False))


# -- words --------------------------------------------------------------------------------------------------------


def _counts(runs: list[list[int]]) -> str:
    """Number of classes and samples, and the first runs."""
    listed = [f"{size} x {count}" if size > 1 else str(count) for count, size in runs[:_SHOWN]]
    more = [f"... ({len(runs) - _SHOWN} more)"] if len(runs) > _SHOWN else []
    total = sum(count * size for count, size in runs)
    return f"{sum(size for _, size in runs)} classes of {', '.join(listed + more)} samples, {total} in all"


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _loss(found: dict[str, Any]) -> list[str]:
    """The loss with its parameters and class weights, taken out of the numbers."""
    parameters = {name: found.pop(name) for name in [name for name in found if name.startswith("loss ")]}
    weights = found.pop("class_weights")
    words = [str(parameters.pop("loss name"))] if parameters else []
    words += [f"{name.removeprefix('loss ')} {_value(value)}" for name, value in parameters.items()]
    return [", ".join(words), "" if weights == "1p0" else f"class weights {_value(weights)}"]


def _term(name: str, value: Any) -> str:
    """Any other field; what is null is not said."""
    if name in ("features", "model"):
        return f"{value} features" if name == "features" else str(value)
    return "" if value is None else f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    """A word, an integer, a number, or how many numbers of which digest there are."""
    if isinstance(value, str):
        return _decimal(value) if value[-1].isdigit() else value
    if isinstance(value, int):
        return str(value)
    entries = value[1]
    if len(entries) <= _SHOWN and all(isinstance(entry, int) for entry in entries):
        return "(" + ", ".join(_decimal(_text(entry, value[0])) for entry in entries) + ")"
    return f"of {hashlib.sha256(repr(value).encode()).hexdigest()[:12]} (digest of the numbers)"


def _text(integer: int, exponent: int) -> str:
    twos = (integer & -integer).bit_length() - 1 if integer else 0
    return f"{integer >> twos}p{exponent + twos}" if integer else "0p0"


# -- the candidate's digest -----------------------------------------------------------------------------------------


def _digest(candidate: Candidate) -> str | None:
    """The one in the file, or that of embedded arrays as binary64 numbers and 64-bit integers."""
    embedded = candidate.embedded
    if embedded is None:
        return str(candidate.sha256)
    sample, digest = candidate.level == "sample", hashlib.sha256()
    third = embedded.labels if sample else embedded.repeats
    try:
        matrices = [_floats(rows, e) for rows, e in zip((embedded.W, embedded.H), embedded.exponents, strict=True)]
    except (OverflowError, ValueError):
        return None
    parts: list[tuple[str, str, array[Any]]] = [
        ("weights <f8", f"{len(embedded.W)}x{candidate.feature_dim}", matrices[0]),
        ("features <f8", f"{len(embedded.H)}x{candidate.feature_dim}", matrices[1]),
        (f"{'labels' if sample else 'class_counts'} <i8", str(len(third)), array("q", third)),
    ]
    for name, shape, entries in parts:
        digest.update(f"{name} {shape}\n".encode())
        digest.update(_little(entries).tobytes())
    return digest.hexdigest()


def _floats(rows: list[list[int]], exponent: int) -> array[float]:
    """Integers times 2^exponent; ``ValueError`` or ``OverflowError`` unless all are binary64 numbers."""
    entries: array[float] = array("d")
    for row in rows:
        for integer in row:
            twos = (integer & -integer).bit_length() - 1 if integer else 0
            odd = integer >> twos
            entry = math.ldexp(odd, exponent + twos) if abs(odd) < 1 << 53 else math.inf
            if entry - entry != 0.0 or (odd and math.ldexp(entry, -(exponent + twos)) != odd):
                raise ValueError("no binary64 number")
            entries.append(entry)
    return entries


def _little(entries: array[Any]) -> array[Any]:
    """With the low byte first, on every machine."""
    if sys.byteorder == "big":
        entries.byteswap()
    return entries

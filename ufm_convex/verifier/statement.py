"""What a certificate says, in words and in binary64, for whoever wants to know what was proved; no part of the proof.

All words are ASCII. Numbers that are no binary64 numbers are rounded so that what is said is weaker than the claim:
lower ends down, upper ends and the tolerance up.
"""

from __future__ import annotations

import hashlib
import math
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

from flint import arb, fmpq

from .claims import Claims, Enclosures, Interval, Violation
from .points import Candidate
from .precision import working_precision
from .problem import Problem
from .reading import Undecided, dyadic, scaled, sha256_of
from .tables import Tabled

_SHOWN, _DIGITS = 6, 6
_FLOOR_BITS = 96
_SAID = {"class_counts", "multiplicities", "class_weights", "loss", "sha256"}
_ORDER = ["model", "features", "feature_dim", "lambda_w", "lambda_h", "weight_radius", "feature_radius", "bias"]


@dataclass(frozen=True)
class ProblemStatement:
    """The problem that a certificate is about.

    Attributes:
        words: The problem in one line.
        sha256: SHA-256 of the object ``problem`` of the file.
        num_outputs: V, where a table gives each column its target; else None, as the next two.
        num_columns: m.
        floor: What no model goes below, sum pt_j (-l_j*(0)), rounded down.
    """

    words: str
    sha256: str
    num_outputs: int | None = None
    num_columns: int | None = None
    floor: float | None = None


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

    def rows(self) -> list[tuple[str, str]]:
        """The claims in lines of a name and words."""
        within = f"tolerance {self.tolerance!r}, verdict {self.verdict}"
        rows = [("claims", f"{self.lower!r} <= optimum <= {self.upper!r}, {within}")]
        about = self.candidate
        if about is None:
            return [*rows, ("candidate", "none: the certificate is about the optimum")]
        rows.append(("candidate", f"SHA-256 {about.sha256 or 'none: entries that are no binary64 numbers'}"))
        if about.objective is not None and about.gap is not None:
            rows.append(("", f"{about.objective[0]!r} <= objective <= {about.objective[1]!r}"))
            rows.append(("", f"{about.gap[0]!r} <= objective - optimum <= {about.gap[1]!r}"))
        if about.violation is not None:
            row, column, value = about.violation
            rows.append(("", f"features[{row}, {column}] = {value!r} is negative"))
        return rows


def of_problem(
    problem: Mapping[str, Any], num_classes: int, num_samples: int, table: TableStatement | None = None
) -> ProblemStatement:
    """The statement of a problem that has been decoded, from its texts: tables are not read again."""
    loss = problem.get("loss", {})
    named = [str(loss["name"])] if loss else []
    parameters = [f"{name} {_value(value)}" for name, value in loss.items() if name != "name" and value is not None]
    weights = problem.get("class_weights")
    what = "classes" if table is None else "columns"
    parts = [
        "" if table is None else f"{table.num_outputs} outputs",
        _counts(problem["class_counts"], problem["multiplicities"], f"{num_classes} {what}", num_samples),
        ", ".join(named + parameters),
        "" if weights is None else f"class weights {_value(weights)}",
        *(_term(name, problem[name]) for name in sorted(set(problem) - _SAID, key=_place)),
    ]
    words, digest = "; ".join(part for part in parts if part), str(problem["sha256"])
    if table is None:
        return ProblemStatement(words, digest)
    said = "" if table.floor is None else f"; floor = {table.floor!r}"
    return ProblemStatement(words + said, digest, *table)


class TableStatement(NamedTuple):
    """What is said of a table of targets: V, m, and the floor, rounded down; None where it takes too long."""

    num_outputs: int
    num_columns: int
    floor: float | None


def of_table(problem: Problem) -> TableStatement | None:
    """The statement of a problem's table, if there is one."""
    loss = problem.loss
    if not isinstance(loss, Tabled):
        return None
    try:
        problem.costs.spend(max(len(loss.table.places), 1), 4, loss.bits, balls=2, precision=_FLOOR_BITS)
    except Undecided:
        return TableStatement(problem.V, problem.K, None)
    with working_precision(_FLOOR_BITS):
        floor = sum((arb(problem.share(g)) * loss.floor(j) for j, g in enumerate(problem.classes())), arb(0))
        low = float(floor.lower())
    return TableStatement(problem.V, problem.K, max(math.nextafter(low, -math.inf), 0.0))


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
    return _number(dyadic(text))


def _number(number: fmpq) -> str:
    if below(number) == above(number):
        return repr(below(number))
    with working_precision(64):
        return "about " + str(arb(number).str(_DIGITS, radius=False))


# -- words --------------------------------------------------------------------------------------------------------


def _counts(counts: str, multiplicities: str, kinds: str, num_samples: int) -> str:
    """Number of classes and samples, and the first runs."""
    pairs = zip(*(text.split(" ", _SHOWN)[:_SHOWN] for text in (counts, multiplicities)), strict=True)
    listed = [f"{size} x {count}" if size != "1" else count for count, size in pairs]
    more = [f"... ({counts.count(' ') + 1 - _SHOWN} more)"] if counts.count(" ") >= _SHOWN else []
    return f"{kinds} of {', '.join(listed + more)} samples, {num_samples} in all"


def _place(name: str) -> tuple[int, str]:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), name


def _term(name: str, value: Any) -> str:
    """Any other field; what is null is not said."""
    if name in ("features", "model"):
        return f"{value} features" if name == "features" else str(value)
    return "" if value is None else f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    """A word, an integer, a number, a few numbers, or the digest of many."""
    if isinstance(value, str):
        return _decimal(value) if value[-1].isdigit() else value
    if isinstance(value, int):
        return str(value)
    integers, exponent = value.get("integers", ""), value.get("exponent", 0)
    if integers and integers.count(" ") < _SHOWN:
        return "(" + ", ".join(_number(scaled(int(entry), exponent)) for entry in integers.split(" ")) + ")"
    return f"of SHA-256 {sha256_of(value, leave_out=())[:16]}..."


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
        b = embedded.bias
        bias = None if b is None else _floats([b.integers], b.exponent)
    except (OverflowError, ValueError):
        return None
    parts: list[tuple[str, str, array[Any]]] = [
        ("weights <f8", f"{len(embedded.W)}x{candidate.feature_dim}", matrices[0]),
        ("features <f8", f"{len(embedded.H)}x{candidate.feature_dim}", matrices[1]),
        (f"{'labels' if sample else 'class_counts'} <i8", str(len(third)), array("q", third)),
    ]
    if bias is not None:
        parts.append(("bias <f8", str(len(bias)), bias))
    for name, shape, entries in parts:
        digest.update(f"{name} {shape}\n".encode())
        digest.update(_little(entries).tobytes())
    return digest.hexdigest()


def _floats(rows: Sequence[Sequence[int]], exponent: int) -> array[float]:
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

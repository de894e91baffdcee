"""Independent verifier of certificates, format version 1 (specified in docs/certificate.md).

    python -m ufm_convex.verifier CERTIFICATE [CANDIDATE.npz]    exit: 0 proved, 1 refuted, 2 malformed, 3 inconclusive

This folder imports nothing of the package around it: the standard library and python-flint, and NumPy for an optional
fast path whose products are exact. Everything is recomputed from the problem data in the file. Feasibility is decided
in integers and rationals; values are enclosed in balls whose precision is raised until the claim is decided.

    PROVED        every step of the proof was verified;
    REFUTED       a step was shown to fail, by exact arithmetic or by an enclosure that excludes the claim;
    INCONCLUSIVE  no step was shown to fail, and at least one could not be decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

from flint import arb, ctx, fmpq

from . import many
from .proof import Alike, Blocks, Candidate, Diagonal, Factors, Frame, Problem
from .reading import MalformedCertificate, Refuted, Undecided, document, dyadic, fields_of, integer, kind_of

try:
    from . import fast
except ImportError:  # no NumPy: the exact path decides everything but candidates in files of their own
    fast = None  # type: ignore[assignment]

__all__ = ["MalformedCertificate", "Step", "Verdict", "VerificationResult", "verify"]

FIRST_PRECISION = 128
WORK = 1 << 29
"""Bits of precision times numbers that are evaluated: what a value may cost before it is left undecided."""

_LEMMAS = ["class-mean-reduction", "master-identity", "weak-duality"]
_SLACK_LEMMA = {"diagonal": "frame-slack", "group": "symmetry-slack", "dense": "dense-slack"}


class Verdict(StrEnum):
    """What was found about a certificate, or about one step of it."""

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Step:
    """One step of the proof.

    Attributes:
        name: What the step proves.
        verdict: What was found.
        detail: Why, when it is not PROVED.
    """

    name: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class VerificationResult:
    """What was found about a certificate.

    Attributes:
        verdict: REFUTED if a step is; else INCONCLUSIVE if a step is; else PROVED.
        steps: The steps in order.
        reading_seconds: Time to read, parse and decode the file.
        checking_seconds: Time to check the proof.
    """

    verdict: Verdict
    steps: tuple[Step, ...]
    reading_seconds: float
    checking_seconds: float


def verify(source: str | Path | bytes, candidate: str | Path | Mapping[str, Any] | None = None) -> VerificationResult:
    """Check a certificate.

    Args:
        source: A path, or the bytes of the file.
        candidate: For a candidate that the certificate knows by SHA-256: the path of its ``.npz`` file, or its arrays
            ``weights``, ``features`` and ``labels`` or ``class_counts`` (memory maps are read block by block).

    Raises:
        MalformedCertificate: the file is no certificate of this format, or exceeds the limits.
    """
    started = time.perf_counter()
    certificate = _Certificate(document(source))
    read = time.perf_counter()
    steps = tuple(_step(name, check) for name, check in _steps(certificate, candidate))
    found = {step.verdict for step in steps}
    verdict = next((v for v in (Verdict.REFUTED, Verdict.INCONCLUSIVE) if v in found), Verdict.PROVED)
    return VerificationResult(verdict, steps, read - started, time.perf_counter() - read)


class _Certificate:
    """The content, decoded; nothing is proved yet."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.problem = problem = Problem(fields["problem"])
        kind = kind_of(fields["dual"], "kind", ("diagonal", "group", "dense"))
        if fields["lemmas"] != [*_LEMMAS, _SLACK_LEMMA[kind]]:
            raise MalformedCertificate("not the lemmas that this kind of proof needs")
        self.dual = Diagonal(problem, fields["dual"]) if kind == "diagonal" else Blocks(problem, fields["dual"])
        make: dict[str, Callable[[Problem, Any], Any]] = {"frame": Frame, "group": Alike, "dense": Factors.read}
        self.witness = make[kind_of(fields["witness"], "kind", tuple(make))](problem, fields["witness"])
        self.candidate = None if fields["candidate"] is None else Candidate(problem, fields["candidate"])
        claims = fields_of(fields["claims"], "lower upper tolerance verdict candidate")
        self.lower, self.upper, self.tolerance = (dyadic(claims[name]) for name in ("lower", "upper", "tolerance"))
        if not 0 < self.tolerance < 1:
            raise MalformedCertificate("the tolerance is in (0, 1)")
        self.verdict = claims["verdict"]
        self.objective: tuple[fmpq, fmpq] | None = None
        self.gap: tuple[fmpq, fmpq] | None = None
        self.violation: tuple[int, int, fmpq] | None = None
        if (claims["candidate"] is None) != (self.candidate is None):
            raise MalformedCertificate("claims about a candidate belong to a candidate")
        if self.candidate is not None:
            self._read_candidate_claims(fields_of(claims["candidate"], "objective gap violation"))

    def _read_candidate_claims(self, claims: dict[str, Any]) -> None:
        if claims["violation"] is None:
            pairs = [fields_of(claims[name], "lower upper") for name in ("objective", "gap")]
            self.objective, self.gap = ((dyadic(pair["lower"]), dyadic(pair["upper"])) for pair in pairs)
            return
        if claims["objective"] is not None or claims["gap"] is not None:
            raise MalformedCertificate("an infeasible candidate has no objective and no gap")
        place = fields_of(claims["violation"], "row column value")
        row, column = (integer(place[name], 0, (1 << 63) - 1) for name in ("row", "column"))
        self.violation = row, column, dyadic(place["value"])


# -- the steps (section 6) ----------------------------------------------------------------------------------------

_Check = tuple[str, Callable[[], None]]
_NONE = (fmpq(0), fmpq(0))


def _step(name: str, check: Callable[[], None]) -> Step:
    try:
        check()
    except Refuted as reason:
        return Step(name, Verdict.REFUTED, str(reason))
    except Undecided as reason:
        return Step(name, Verdict.INCONCLUSIVE, str(reason))
    return Step(name, Verdict.PROVED)


def _steps(certificate: _Certificate, given: str | Path | Mapping[str, Any] | None) -> Iterator[_Check]:
    dual, witness = certificate.dual, certificate.witness
    quick = many.Integral(dual) if isinstance(dual, Diagonal) else None if fast is None else fast.Fast.of(dual)
    value = None if quick is None else quick.dual_value
    yield "slack", lambda: None if quick is not None and quick.slack_dominates() else dual.check_slack()
    yield "lower bound", lambda: _compare(lambda: _dual_value(dual), certificate.lower, 1, dual.numbers, value)
    objective = partial(many.frame_objective, witness) if isinstance(witness, Frame) else None
    if objective is None and fast is not None:
        objective = partial(fast.witness_objective, witness)
    yield "witness", witness.check_admissible
    yield "upper bound", lambda: _compare(witness.objective, certificate.upper, -1, witness.numbers, objective)
    if certificate.candidate is not None:
        yield from _candidate_steps(certificate, certificate.candidate, given)
    yield "verdict", lambda: _check_verdict(certificate)


def _candidate_steps(
    certificate: _Certificate, candidate: Candidate, given: str | Path | Mapping[str, Any] | None
) -> Iterator[_Check]:
    """With embedded arrays, or with those at hand."""
    try:
        arrays: Any = candidate.embedded
        if arrays is None:
            if given is None or fast is None:
                raise Undecided("the arrays of the candidate are not at hand")
            arrays = fast.candidate_in_file(candidate, given)
    except (Refuted, Undecided) as reason:
        yield "candidate", partial(_fail, reason)
    else:
        if certificate.violation is not None:
            yield "violation", lambda: _check_violation(certificate, arrays)
            return
        yield "candidate", arrays.check_admissible
        low, high = certificate.objective or _NONE
        quick = None if fast is None else cache(lambda: fast.witness_objective(arrays))
        exact = cache(lambda precision: arrays.objective())
        for name, claim, sign in (("objective from below", low, 1), ("objective from above", high, -1)):
            yield name, partial(_compare, lambda: exact(ctx.prec), claim, sign, arrays.numbers, quick)
    if certificate.violation is None:
        yield "gap", lambda: _check_gap(certificate)


def _fail(reason: Exception) -> None:
    raise reason


def _check_violation(certificate: _Certificate, arrays: Any) -> None:
    row, column, value = certificate.violation or (0, 0, fmpq(0))
    if not certificate.problem.nonnegative or value >= 0 or arrays.entry(row, column) != value:
        raise Refuted("that feature is not negative, not that number, or may be negative")


def _check_gap(certificate: _Certificate) -> None:
    """The gap contains objective − optimum, by the other claims; an admissible candidate is not below the optimum."""
    (low, high), (f_low, f_high) = certificate.gap or _NONE, certificate.objective or _NONE
    if (low > 0 and low > f_low - certificate.upper) or high < f_high - certificate.lower:
        raise Refuted("the gap does not follow from the other claims")


def _check_verdict(certificate: _Certificate) -> None:
    """The verdict is the one that the claims amount to."""
    bounds = certificate.lower, certificate.upper
    if any(low > high for low, high in (bounds, certificate.objective or _NONE, certificate.gap or _NONE)):
        raise Refuted("a claimed interval is empty")
    f_low, f_high = certificate.objective or (certificate.upper, certificate.upper)
    if certificate.lower > f_high:
        raise Refuted("the candidate is claimed to lie below the optimum")
    if certificate.violation is not None:
        amounts_to = "infeasible"
    elif f_high - certificate.lower <= certificate.tolerance * f_high:
        amounts_to = "optimal"
    else:
        amounts_to = "suboptimal" if f_low > certificate.upper else "undecided"
    if certificate.verdict != amounts_to:
        raise Refuted(f"the claims amount to: {amounts_to}")


def _compare(
    enclose: Callable[[], arb], claim: fmpq, sign: int, numbers: int, quick: Callable[[], arb | None] | None = None
) -> None:
    """Decide sign · (value − claim) ≥ 0, raising the precision until the enclosure excludes the claim."""
    needed = 2 * (int(claim.p).bit_length() + int(claim.q).bit_length() + FIRST_PRECISION)
    precision = FIRST_PRECISION
    with ctx.workprec(precision):
        rough = None if quick is None else quick()
        if rough is not None and sign * (rough - arb(claim)) >= 0:
            return
    while precision == FIRST_PRECISION or precision <= min(needed, WORK // numbers):
        with ctx.workprec(precision):
            difference = sign * (enclose() - arb(claim))
            if difference >= 0:
                return
            if difference < 0:
                raise Refuted(f"the value that is proved misses the claim by {(-difference).str(3)}")
        precision *= 2
    raise Undecided("the claim is too close to the value to be told apart")


def _dual_value(dual: Diagonal | Blocks) -> arb:
    """−Σ ω_k n_k/N l_k*(v_k)."""
    problem, total = dual.problem, arb(0)
    for group, column in zip(dual.groups, dual.columns(), strict=True):
        total -= arb(problem.share(group) * group.multiplicity) * problem.loss.conjugate(column)
    return total

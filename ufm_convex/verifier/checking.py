"""The steps of a proof, in order, and what is found about each (docs/verification.md, section 6).

Everything is recomputed from the problem data in the file; values are enclosed in balls whose precision is raised until
the claim is decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from flint import arb, ctx, fmpq

from . import asked, contrastive, many, statement
from .claims import Claims, Enclosures, Interval, Violation
from .copositive import Copositive
from .costs import Costs
from .points import Alike, Candidate, Factors, Frame
from .precision import working_precision
from .problem import Problem
from .proof import Blocks, Diagonal, Dual
from .reading import Another, MalformedCertificate, Refuted, Undecided, document, kind_of
from .residuals import Residuals
from .statement import ClaimsStatement, ProblemStatement

try:
    from . import arrays, fast, fast_tables
except ImportError:  # no NumPy: the exact path decides everything but candidates in files of their own
    arrays = fast = fast_tables = None  # type: ignore[assignment]

FIRST_PRECISION = 128
WORK = 1 << 26
"""Bits of precision times numbers that are evaluated: what a value may cost before it is left undecided."""

_LEMMAS = ["class-mean-reduction", "master-identity", "weak-duality"]
_DUALS: dict[str, tuple[str, Callable[[Problem, Any, Any], Dual]]] = {
    "diagonal": ("frame-slack", lambda problem, value, _: Diagonal(problem, value)),
    "group": ("symmetry-slack", lambda problem, value, _: Blocks(problem, value)),
    "dense": ("dense-slack", lambda problem, value, _: Blocks(problem, value)),
    "copositive": ("copositive-slack", lambda problem, value, _: Copositive(problem, value)),
    "residuals": ("residual-slack", Residuals),
}
"""Kinds of dual points: the lemma that their slack needs, and how they are read."""


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
        steps: The steps in order; the first is ``asked`` where a problem or a candidate was given.
        problem: What the certificate is about.
        claims: What it claims of that: proved if and only if the verdict is PROVED.
        reading_seconds: Time to read, parse and decode the file.
        checking_seconds: Time to check the proof.
    """

    verdict: Verdict
    steps: tuple[Step, ...]
    problem: ProblemStatement
    claims: ClaimsStatement
    reading_seconds: float
    checking_seconds: float

    def lines(self) -> list[str]:
        """For a reader: the problem, what is claimed of it, one line a step, then the verdict."""
        rows = [("problem", self.problem.words), ("", f"SHA-256 {self.problem.sha256}"), *self.claims.rows()]
        rows += [(step.name, f"{step.verdict}  {step.detail}".rstrip()) for step in self.steps]
        width = max(len(name) for name, _ in rows)
        seconds = self.reading_seconds + self.checking_seconds
        return [*(f"{name:{width}}  {words}" for name, words in rows), f"{self.verdict} in {seconds:.2f} s"]


def verify(
    source: str | Path | bytes,
    candidate: str | Path | Mapping[str, Any] | None = None,
    problem: Mapping[str, Any] | None = None,
) -> VerificationResult:
    """Check a certificate and, where a problem or a candidate is given, that it is about that one.

    Args:
        source: A path, or the bytes of the file.
        candidate: The candidate that was asked about: the path of its ``.npz`` file, or its arrays ``weights``,
            ``features`` and ``labels`` or ``class_counts`` (memory maps are read block by block). For a candidate that
            the certificate knows by SHA-256, the steps about it need them.
        problem: The problem that was asked about, as the object ``problem`` of a certificate
            (docs/certificate_format.md, section 3.1; docs/contrastive_files.md, section 10).

    Raises:
        MalformedCertificate: the file is no certificate of this format, or exceeds the limits.
        UnreadableInput: the problem or the candidate that was given is none, or cannot be read.
    """
    started = time.perf_counter()
    fields = document(source)
    certificate = contrastive.Certificate(fields) if contrastive.speaks_of(fields["problem"]) else _Certificate(fields)
    about = certificate.problem
    said = (
        statement.of_problem(certificate.content, about.K, about.N, certificate.table),
        statement.of_claims(certificate.claims, certificate.candidate),
    )
    given = _Asked(certificate, candidate, problem)
    read = time.perf_counter()
    proof = _steps(certificate, given) if isinstance(certificate, _Certificate) else certificate.checks(_compare)
    steps = tuple(_step(name, check) for name, check in chain(given.steps(), proof))
    found = {step.verdict for step in steps}
    verdict = next((v for v in (Verdict.REFUTED, Verdict.INCONCLUSIVE) if v in found), Verdict.PROVED)
    return VerificationResult(verdict, steps, *said, read - started, time.perf_counter() - read)


class _Certificate:
    """The content, decoded; nothing is proved yet."""

    def __init__(self, fields: dict[str, Any]) -> None:
        costs = Costs.of(fields)
        self.content = fields["problem"]
        self.problem = problem = Problem(self.content)
        problem.costs = costs
        lemma, read = _DUALS[kind_of(fields["dual"], "kind", tuple(_DUALS))]
        if fields["lemmas"] != [*_LEMMAS, *problem.lemmas, lemma]:
            raise MalformedCertificate("not the lemmas that this kind of proof needs")
        make: dict[str, Callable[[Problem, Any], Any]] = {"frame": Frame, "group": Alike, "dense": Factors.read}
        self.witness = make[kind_of(fields["witness"], "kind", tuple(make))](problem, fields["witness"])
        self.dual = read(problem, fields["dual"], self.witness)
        self.candidate = None if fields["candidate"] is None else Candidate(problem, fields["candidate"])
        self.claims = Claims(fields["claims"], with_candidate=self.candidate is not None)
        self.table = statement.of_table(problem)


# -- the steps (section 6) ----------------------------------------------------------------------------------------

_Check = tuple[str, Callable[[], None]]


class _Asked:
    """What was given beside the certificate: why it is not what that is about, and the arrays of its candidate."""

    def __init__(
        self,
        certificate: _Certificate | contrastive.Certificate,
        candidate: str | Path | Mapping[str, Any] | None,
        problem: Mapping[str, Any] | None,
    ) -> None:
        self.given = candidate is not None or problem is not None
        self.objections: list[Refuted | Undecided] = []
        about = certificate.candidate
        self.arrays: Any = None if about is None else about.embedded
        self.missing: Refuted | Undecided = Undecided("the arrays of the candidate are not at hand")
        if problem is not None:
            try:
                asked.check(asked.problem_of(problem), certificate.content)
            except Refuted as reason:
                self.objections.append(reason)
        if candidate is not None:
            self._compare(about, candidate)

    def _compare(self, about: Candidate | None, given: str | Path | Mapping[str, Any]) -> None:
        """Compare the arrays with those of the certificate, or with the digest by which it knows them."""
        try:
            if arrays is None or fast is None:
                raise Undecided("without NumPy no arrays can be read")
            found = arrays.read(about, given)
            if about is not None and about.embedded is not None:
                arrays.require_embedded(about, about.embedded, found)
            elif about is not None:
                self.arrays = fast.InFile(about, found)
        except Another as reason:
            self.objections.append(reason)
            self.missing = Undecided(str(reason))
        except Undecided as reason:
            self.objections.append(reason)
            self.missing = reason
        except Refuted as reason:  # these are the arrays, and they are none of a candidate of the problem
            self.missing = reason

    def steps(self) -> Iterator[_Check]:
        """One step for all that was given."""
        if self.given:
            found = sorted(self.objections, key=lambda reason: not isinstance(reason, Refuted))
            yield "asked", partial(_fail, *found[:1])


def _step(name: str, check: Callable[[], None]) -> Step:
    try:
        check()
    except Refuted as reason:
        return Step(name, Verdict.REFUTED, str(reason))
    except Undecided as reason:
        return Step(name, Verdict.INCONCLUSIVE, str(reason))
    return Step(name, Verdict.PROVED)


def _steps(certificate: _Certificate, given: _Asked) -> Iterator[_Check]:
    dual, witness, optimum = certificate.dual, certificate.witness, certificate.claims.optimum
    quick: many.Integral | fast.Fast | fast_tables.Fast | None = None
    if isinstance(dual, Diagonal):
        quick = many.Integral.of(dual)
    elif fast is not None and isinstance(dual, Blocks) and not isinstance(dual, Copositive):
        quick = fast.Fast.of(dual)
    elif fast is not None and isinstance(dual, Residuals):
        quick = fast_tables.Fast.of(dual)
    price = cache(dual.price)
    value = None if quick is None else lambda: _less(quick.dual_value(), price)
    yield "slack", lambda: None if quick is not None and quick.slack_dominates() else dual.check_slack()
    yield (
        "lower bound",
        lambda: _compare(lambda: _dual_value(dual) - arb(price()), optimum.low, 1, dual.numbers, value),
    )
    objective = None
    if isinstance(witness, Frame) and witness.numbers >= many.FEW:
        objective = partial(many.frame_objective, witness)
    if objective is None and fast is not None:
        tabled = witness.problem.loss.tabled
        objective = partial(fast_tables.witness_objective if tabled else fast.witness_objective, witness)
    yield "witness", witness.check_admissible
    yield "upper bound", lambda: _compare(witness.objective, optimum.high, -1, witness.numbers, objective)
    if certificate.candidate is not None:
        yield from _candidate_steps(certificate.candidate, certificate.claims, given)
    yield "verdict", certificate.claims.check_verdict


def _candidate_steps(candidate: Candidate, claims: Claims, given: _Asked) -> Iterator[_Check]:
    """With embedded arrays, or with those at hand."""
    claim = claims.candidate
    if given.arrays is None:
        yield "candidate", partial(_fail, given.missing)
    if isinstance(claim, Enclosures):
        if given.arrays is not None:
            yield from _objective_steps(given.arrays, claim.objective)
        yield "gap", partial(claims.check_gap, claim)
    elif given.arrays is not None:
        yield "violation", partial(_check_violation, candidate.problem, given.arrays, claim)


def _objective_steps(arrays: Any, claim: Interval) -> Iterator[_Check]:
    yield "candidate", arrays.check_admissible
    quick = None if fast is None else cache(lambda: fast.witness_objective(arrays))
    exact = cache(lambda precision: arrays.objective())
    for end, bound, sign in (("below", claim.low, 1), ("above", claim.high, -1)):
        yield f"objective from {end}", partial(_compare, lambda: exact(ctx.prec), bound, sign, arrays.numbers, quick)


def _fail(reason: Exception | None = None) -> None:
    if reason is not None:
        raise reason


def _check_violation(problem: Problem, arrays: Any, claim: Violation | None) -> None:
    if (
        claim is None
        or not problem.nonnegative
        or claim.value >= 0
        or arrays.entry(claim.row, claim.column) != claim.value
    ):
        raise Refuted("that feature is not negative, not that number, or may be negative")


def _compare(
    enclose: Callable[[], arb], claim: fmpq, sign: int, numbers: int, quick: Callable[[], arb | None] | None = None
) -> None:
    """Decide sign · (value − claim) ≥ 0, raising the precision until the enclosure excludes the claim."""
    needed = 2 * (int(claim.p).bit_length() + int(claim.q).bit_length() + FIRST_PRECISION)
    precision = FIRST_PRECISION
    with working_precision(precision):
        rough = None if quick is None else quick()
        if rough is not None and sign * (rough - arb(claim)) >= 0:
            return
    while precision == FIRST_PRECISION or precision <= min(needed, WORK // numbers):
        with working_precision(precision):
            difference = sign * (enclose() - arb(claim))
            if difference >= 0:
                return
            if difference < 0:
                raise Refuted(f"the value that is proved misses the claim by {(-difference).str(3)}")
        precision *= 2
    raise Undecided("the claim is too close to the value to be told apart")


def _dual_value(dual: Dual) -> arb:
    """−Σ ω_k n_k/N l_k*(v_k), at the precision of the context."""
    return dual.value(ctx.prec)


def _less(value: arb | None, price: Callable[[], fmpq]) -> arb | None:
    return None if value is None else value - arb(price())

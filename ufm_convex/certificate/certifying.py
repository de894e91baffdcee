"""From a problem, and perhaps a candidate, to a certificate: bounds proved, exact points written down.

``certify`` takes every kind of problem: ``WRITINGS`` lists how each is written. What is written here is ``Problem``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias, get_args, overload

from ufm_convex import _given, enclosure
from ufm_convex._arrays import whole
from ufm_convex._bits import fraction
from ufm_convex._version import __version__
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import contrastive, residuals
from ufm_convex.certificate.arguments import chosen, solved
from ufm_convex.certificate.checking import require_accepted
from ufm_convex.certificate.encoding import (
    FORMAT,
    VERSION,
    dyadic,
    embeddable,
    encode_candidate,
    encode_dual,
    encode_problem,
    encode_witness,
    lemmas,
    require_encodable,
    rounded,
)
from ufm_convex.certificate.file import CertificateFile
from ufm_convex.certificate.limits import UNSTREAMED_LOGITS, require_checkable
from ufm_convex.certificate.model import Certificate, Judgement, judge
from ufm_convex.certificate.shortening import shortened
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.enclosure import ProvedBound
from ufm_convex.enclosure.candidate import CandidateEnclosure, check_match, enclose_objective, is_streamed
from ufm_convex.enclosure.candidate_exact import enclose_exactly
from ufm_convex.enclosure.digits import bounds_to_digits, claim_bits
from ufm_convex.errors import ProblemError, SolverError, UnknownNameError, shown
from ufm_convex.evidence import Bounds
from ufm_convex.losses import traits
from ufm_convex.methods import Progress
from ufm_convex.positivity.gap_closure import GapClosure
from ufm_convex.problem import Model, Problem
from ufm_convex.solution import Solution
from ufm_convex.solving import method_of

Proof: TypeAlias = enclosure.Proof | Literal["residuals"]
_PROOFS = (*get_args(enclosure.Proof), residuals.KIND)
_FLOAT_BITS = 53
_FAST_ROOM = Fraction(1, 2**36)
"""Relative room left in the bounds of a large dense proof: the verifier's fast path encloses to about 40 bits."""
_FAST_FROM = 64
_WIDENING = Fraction(1, 2**32)
"""Relative widening of the objective of a large candidate: the verifier's error bounds are coarser."""
_FAST_LOGITS = 1 << 16
_SMALLEST = Fraction(1, 1 << 16000)


@overload
def certify(
    problem: Problem,
    candidate: Candidate | None = ...,
    *,
    solution: Solution | GapClosure[Solution] | None = ...,
    tolerance: float = ...,
    digits: int | None = ...,
    proof: Proof = ...,
    time_limit: float | None = ...,
    recheck: bool = ...,
    progress: Progress | None = ...,
) -> Certificate: ...
@overload
def certify(
    problem: object,
    candidate: object = ...,
    *,
    solution: object = ...,
    tolerance: float = ...,
    digits: int | None = ...,
    proof: Proof = ...,
    time_limit: float | None = ...,
    recheck: bool = ...,
    progress: Progress | None = ...,
) -> Any: ...
def certify(
    problem: object,
    candidate: object = None,
    *,
    solution: object = None,
    tolerance: float = 1e-6,
    digits: int | None = None,
    proof: Proof = "auto",
    time_limit: float | None = None,
    recheck: bool = False,
    progress: Progress | None = None,
) -> Any:
    """A certificate of the optimum or, with a candidate, of how far the candidate is from it.

    The independent verifier has accepted what is returned.

    Args:
        problem: The problem, of any kind (``Problem``, ``ContrastiveProblem``).
        candidate: Somebody's W, features and perhaps bias; its class counts are the problem's. Without a bias it is
            judged as b = 0 where the problem has one.
        solution: A solution of the problem, from whatever solver, or ``close_gap(problem)``, whose bounds meet where
            the relaxation is strict; by default ``solve(problem)``.
        tolerance: Relative gap that counts as optimal, in (0, 1).
        digits: Digits to which the two bounds of the optimum agree, from the closed form; None for binary64.
        proof: The slack proof, "diagonal", "group" or "dense", or for a table of targets with free features
            "residuals", those at W and H; "auto" takes the smallest that applies.
        time_limit: Seconds for ``solve``, where no solution is given; what is proved by then is certified.
        recheck: Whether the verifier reads the arrays of a candidate, too, that is so large that the certificate
            knows it by SHA-256: a second pass over them. Those that the certificate embeds it reads anyway.
        progress: Called with one line of text when something begins or ends.

    Returns:
        The certificate. Its verdict is "optimal" when the gap is within the tolerance, "suboptimal" when the
        candidate is proved to be above the optimum, "infeasible" when it has a negative feature where features are
        non-negative, else "undecided".

    Raises:
        ProblemError: the solution is one of another problem, the tolerance or the time limit is out of range, a time
            limit is given beside a solution or digits, a solution or a slack proof beside digits, or a slack proof
            beside a closed gap.
        CountsError: the candidate has other class counts than the problem.
        ShapeError: the candidate has more dimensions than the problem allows.
        CandidateError: the candidate has a bias, and the problem has none.
        HypothesisError: digits were asked for, and no theorem holds; or residuals, and the problem has no such proof;
            a candidate is given for a problem with a constraint; or certificates do not carry the loss.
        UnknownNameError: the loss has no streamed enclosure, and the candidate is too large for the exact one.
        SizeError: the certificate would be beyond the limits of its format.
        CertificateError: the verifier refused a step of the certificate, which the message names.
        UFMError: as ``solve``.
    """
    _check_settings(digits, proof, time_limit)
    tolerance = _given.tolerance(tolerance)
    _check_recheck(candidate, recheck)
    limit = None if time_limit is None else _given.seconds("time_limit", time_limit)
    given: dict[str, Any] = {"tolerance": tolerance, "digits": whole(digits), "proof": proof, "time_limit": limit}
    write = WRITINGS[method_of(problem).kind].certify
    certificate = write(problem, candidate=candidate, solution=solution, progress=progress, **given)
    if progress is not None:
        progress("verifying the certificate")
    require_accepted(certificate, candidate if isinstance(candidate, Candidate) else None, recheck=recheck)
    return certificate


def assemble(
    problem: Problem,
    lower: ProvedBound,
    upper: ProvedBound,
    tolerance: float,
    provenance: Mapping[str, str],
    *,
    bits: int = _FLOAT_BITS,
    decays: tuple[Fraction, Fraction] | None = None,
    candidate: Candidate | None = None,
    judged: CandidateEnclosure | None = None,
) -> Certificate:
    """The certificate that two bounds with their evidence amount to; ``decays`` as in ``Bounds``.

    Raises:
        SolverError: a bound is infinite.
        SizeError: no verifier would read the certificate.
    """
    dual = encode_dual(problem, lower.exact_point, decays)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "problem": encode_problem(problem),
        "lemmas": lemmas(problem, dual["kind"]),
        "dual": dual,
        "witness": encode_witness(problem, upper.exact_point),
        "candidate": None if candidate is None else encode_candidate(candidate),
    }
    below, above = _rounded_bounds(lower, upper, bits, tolerance)
    claims: dict[str, Any] = {"lower": dyadic(below), "upper": dyadic(above), "tolerance": dyadic(float(tolerance))}
    claims["candidate"] = None
    if candidate is not None and judged is not None:
        claims["candidate"] = candidate_claims(problem, candidate, judged, below, above)
    claims["verdict"] = judge(claims).value
    require_checkable(content)
    return Certificate({**content, "claims": claims}, {"generator": f"ufm-convex {__version__}", **provenance})


# -- arguments ----------------------------------------------------------------------------------------------------


def _require_problem(problem: Problem, candidate: object) -> Candidate | None:
    """See ``Writing.require``."""
    fix = "make one with Candidate(weights=W, features=F, labels=y) or Candidate.load(path)."
    found = chosen(candidate, Candidate, "an ufm_convex.Candidate", fix)
    require_encodable(problem)
    if found is not None:
        require_judgeable(problem)
        found = check_match(problem, found)
    return found


def _check_recheck(candidate: object, recheck: bool) -> None:
    if recheck and candidate is None:
        raise ProblemError(
            "recheck is asked for, and no candidate is given.",
            expected="a candidate, whose arrays the verifier is to read",
            fix="leave recheck out: the proof of the optimum is always checked.",
        )


def require_judgeable(problem: Problem) -> None:
    """Raise ``HypothesisError`` unless the objective of somebody's W, features and bias is finite and penalised."""
    problem.require_decays("a certificate of a candidate")
    traits.require(problem.loss, ("finite",), fix="leave the candidate out: certify(problem) proves the optimum.")


def _check_settings(digits: object, proof: str, time_limit: object) -> None:
    if digits is not None and time_limit is not None:
        raise ProblemError(
            "both digits and time_limit are given.",
            expected="one of them: digits come from the closed form, not from a solver",
            fix="leave out one.",
        )
    if digits is not None and whole(digits) is None:
        raise ProblemError(f"digits is {shown(digits)}.", expected="an integer, or None", fix="use 50, it is plenty.")
    if proof not in _PROOFS:
        raise UnknownNameError(
            f"proof is {proof!r}.",
            expected="one of " + ", ".join(_PROOFS),
            fix="leave it out: the smallest proof is taken.",
        )


def _refuse_solution(solution: object) -> None:
    if solution is not None:
        raise ProblemError(
            "both a solution and digits are given.",
            expected="one of them: digits come from the closed form, not from a solver",
            fix="leave out one.",
        )


def _refuse_proof(proof: str, beside: str, why: str) -> None:
    if proof != "auto":
        raise ProblemError(
            f"both {beside} and proof={proof!r} are given.",
            expected=f"one of them: {why}",
            fix="leave out one.",
        )


def rows_told(progress: Progress | None) -> Callable[[int, int], object] | None:
    """The progress of a pass over features, in words."""
    return None if progress is None else lambda done, total: progress(f"features: {done:,} of {total:,} rows")


def enclosed(problem: Problem, candidate: Candidate, progress: Progress | None) -> CandidateEnclosure:
    """The enclosure of the candidate's objective: streamed where the loss can be, else exact while that is checked."""
    few = embeddable(candidate) and problem.num_outputs * len(candidate.features) <= UNSTREAMED_LOGITS
    if is_streamed(problem.loss) or not few:
        return enclose_objective(problem, candidate, progress=rows_told(progress))
    return enclose_exactly(problem, candidate, progress=rows_told(progress))


# -- claims -------------------------------------------------------------------------------------------------------


def _rounded_bounds(lower: ProvedBound, upper: ProvedBound, bits: int, tolerance: float) -> tuple[Fraction, Fraction]:
    """The two bounds of the optimum, rounded outwards; coarsely for the fast path unless that costs the verdict."""
    if lower.exact is None or upper.exact is None:
        raise SolverError(
            "no finite bound was proved.",
            expected="decays and an objective within the range of binary64",
            fix="scale the problem.",
        )
    below, above = rounded(lower.exact, bits, up=False), rounded(upper.exact, bits, up=True)
    coarse = below, above
    if isinstance(lower.exact_point, enclosure.BlockDual) and len(lower.exact_point.columns) >= _FAST_FROM:
        coarse = rounded(lower.exact - _FAST_ROOM * abs(lower.exact), bits, up=False), above
    if isinstance(upper.exact_point, enclosure.FactorWitness) and len(upper.exact_point.W.even) >= _FAST_FROM:
        coarse = coarse[0], rounded(upper.exact * (1 + _FAST_ROOM), bits, up=True)
    wanted = Fraction(tolerance)
    enough = coarse[1] - coarse[0] <= wanted * coarse[1] or above - below > wanted * above
    below, above = coarse if enough else (below, above)
    # exponents of files end at -2^14: of what is smaller only the sign is claimed
    return Fraction(0) if 0 < below < _SMALLEST else below, _SMALLEST if 0 < above < _SMALLEST else above


def candidate_claims(
    problem: Problem, candidate: Candidate, judged: CandidateEnclosure, below: Fraction, above: Fraction
) -> dict[str, Any]:
    """The enclosure of the objective and of the gap, or the first violation that is worst."""
    if problem.nonnegative and judged.negative_entries:
        row, column = judged.smallest_at
        violation = {"row": row, "column": column, "value": dyadic(judged.smallest)}
        return {"objective": None, "gap": None, "violation": violation}
    low, high = fraction(judged.lower), fraction(judged.upper)
    logits = problem.num_outputs * len(candidate.features)
    if not embeddable(candidate) or logits >= _FAST_LOGITS:
        low = rounded(low * (1 - _WIDENING), _FLOAT_BITS, up=False)
        high = rounded(high * (1 + _WIDENING), _FLOAT_BITS, up=True)
    gap = max(low - above, Fraction(0)), high - below
    pairs = {"objective": (low, high), "gap": gap}
    claims = {name: {"lower": dyadic(pair[0]), "upper": dyadic(pair[1])} for name, pair in pairs.items()}
    return {**claims, "violation": None}


def _origin(solution: Solution | GapClosure[Solution], lower: ProvedBound, upper: ProvedBound) -> dict[str, str]:
    """Where it comes from, and what the solver itself had claimed."""
    if isinstance(solution, GapClosure):
        return {
            "method": "close_gap",
            "relaxation_lower": repr(solution.relaxation_lower),
            "relaxation_upper": repr(solution.relaxation_upper),
            "lower_proof": lower.proof,
            "witness": upper.proof,
        }
    origin = {
        "solver": solution.solver,
        "level": solution.level,
        "route": "; ".join(solution.route),
        "lower_proof": lower.proof,
        "witness": upper.proof,
    }
    claimed = solution.run.dual_value
    if claimed is not None:
        origin["solver_dual_objective"] = repr(float(claimed))
        origin["solver_dual_above_lower"] = repr(float(claimed - lower.value))
        origin["solver_dual_overstatement"] = repr(float(max(0.0, claimed - upper.value)))
    return origin


def _of_closure(closure: GapClosure[Solution]) -> Bounds:
    """The bounds of a closed gap, or the relaxation's where one has no exact point."""
    upper, lower = closure.upper, closure.lower
    if upper.exact_point is None:
        upper = enclosure.upper_bound(closure.problem, (closure.W, closure.H))
    if lower.exact_point is None:
        lower = method_of(closure.problem).bounds(closure.relaxation, "auto").lower
    return Bounds(lower, upper)


# -- one kind of problem after the other --------------------------------------------------------------------------


def _about_problem(
    problem: Problem,
    *,
    candidate: object,
    solution: object,
    tolerance: float,
    digits: int | None,
    proof: Proof,
    time_limit: float | None,
    progress: Progress | None,
) -> Certificate:
    """The certificate of a ``Problem``, its settings checked."""
    about = _require_problem(problem, candidate)
    judged = None if about is None else enclosed(problem, about, progress)
    if digits is not None:
        problem.require_plain("digits")
        _refuse_solution(solution)
        _refuse_proof(proof, "digits", "the closed form comes with the diagonal proof of its own")
        bounds = Bounds(*bounds_to_digits(problem, digits))
        origin = {"method": f"closed form to {digits} digits"}
    elif isinstance(solution, GapClosure) and solution.problem == problem:
        _refuse_proof(proof, "a closed gap", "its bounds come with proofs of their own")
        bounds = _of_closure(solution)
        origin = _origin(solution, bounds.lower, bounds.upper)
    else:
        residuals.require_proof(problem, proof)
        found = solved(problem, Solution, solution, tolerance, time_limit, progress)
        shorter = residuals.bounds_by_residuals(found, proof)
        bounds = shorter or method_of(problem).bounds(found, "auto" if proof == "residuals" else proof)
        origin = _origin(found, bounds.lower, bounds.upper)
        if about is None and shorter is None:
            bounds = shortened(problem, bounds, tolerance)
    bits = _FLOAT_BITS if digits is None else claim_bits(digits)
    return assemble(
        problem,
        bounds.lower,
        bounds.upper,
        tolerance,
        origin,
        bits=bits,
        decays=bounds.decays,
        candidate=about,
        judged=judged,
    )


@dataclass(frozen=True)
class Writing:
    """How certificates about one kind of problem are written.

    Attributes:
        require: Raises what can be known before any work, of the problem and of a candidate, which it returns.
        certify: ``certify``, its settings checked.
        encode: The problem as a certificate has it.
    """

    require: Callable[[Any, object], object]
    certify: Callable[..., CertificateFile]
    encode: Callable[[Any], dict[str, Any]]


WRITINGS: Mapping[type[Model], Writing] = {
    ContrastiveProblem: Writing(contrastive.require_certifiable, contrastive.certify, contrastive.encode_problem),
    Problem: Writing(_require_problem, _about_problem, encode_problem),
}
"""One entry a kind of problem, that of ``Method.kind``."""


def require_certifiable(problem: object, candidate: object = None, *, recheck: bool = False) -> Any:
    """The candidate, if ``certify`` takes it and the problem; for whoever solves before it certifies.

    Raises:
        UFMError: as ``certify``, of what is known before any work.
    """
    _check_recheck(candidate, recheck)
    return WRITINGS[method_of(problem).kind].require(problem, candidate)


def encoded(problem: object) -> dict[str, Any]:
    """The object ``problem`` of a certificate about this one.

    Raises:
        ProblemError: it is no problem.
        HypothesisError: certificates do not carry it.
    """
    writing = WRITINGS[method_of(problem).kind]
    writing.require(problem, None)
    return writing.encode(problem)


__all__ = ["Certificate", "Judgement", "assemble", "certify", "encoded", "require_certifiable"]

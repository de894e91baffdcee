"""``certify`` for contrastive problems: how far somebody's features are from the proved optimum."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from ufm_convex._bits import fraction
from ufm_convex._version import __version__
from ufm_convex.certificate.certifying import Progress
from ufm_convex.certificate.encoding import require_exactly
from ufm_convex.certificate.file import CertificateFile, Judgement
from ufm_convex.certificate.limits import require_checkable
from ufm_convex.contrastive.candidate import ContrastiveCandidate
from ufm_convex.contrastive.encoding import decode_problem, encode
from ufm_convex.contrastive.judging import Violation, enclose_objective, outward, require_match, violation
from ufm_convex.contrastive.problem import MODEL, ContrastiveProblem
from ufm_convex.contrastive.solution import ContrastiveSolution
from ufm_convex.errors import HypothesisError, ProblemError
from ufm_convex.solving import AUTO, solve


@dataclass(frozen=True, eq=False, repr=False)
class ContrastiveCertificate(CertificateFile):
    """Bounds of the optimum and, with a candidate, of how far it is from that; all proved.

    The file carries the proof of the two bounds of the optimum. What was found about a candidate stays in memory.

    Attributes:
        content: Everything that the digest covers, as plain JSON values (docs/certificate.md, section 10).
        provenance: Where it comes from, in words; no part of the proof.
        candidate: The features that were judged; None for the optimum alone.
        candidate_objective: Enclosure of their objective; None without a candidate, or with an inadmissible one.
        violation: Where the candidate is not admissible; None where it is.
    """

    model = MODEL

    candidate: ContrastiveCandidate | None = None
    candidate_objective: tuple[float, float] | None = None
    violation: Violation | None = None

    @cached_property
    def problem(self) -> ContrastiveProblem:
        """The problem that the certificate is about."""
        return decode_problem(self.content["problem"])

    @property
    def upper(self) -> float:
        """Upper bound of the candidate's objective or, without an admissible one, of the optimum; rounded up."""
        return self.optimum_upper if self.candidate_objective is None else self.candidate_objective[1]

    @property
    def candidate_gap(self) -> tuple[float, float] | None:
        """Enclosure of the candidate's objective minus the optimum; None without an admissible candidate."""
        if self.candidate_objective is None:
            return None
        low, high = (Fraction(end) for end in self.candidate_objective)
        return outward(max(low - fraction(self.optimum_upper), Fraction(0)), high - fraction(self.lower))

    @property
    def verdict(self) -> Judgement:
        """What was proved, in the words of ``Certificate``: comparisons are exact, the tolerance is that of optimal."""
        if self.violation is not None:
            return Judgement.INFEASIBLE
        if self.candidate_objective is None:
            return super().verdict
        top = fraction(self.upper)
        if top - fraction(self.lower) <= fraction(self.tolerance) * top:
            return Judgement.OPTIMAL
        return Judgement.SUBOPTIMAL if self.candidate_objective[0] > self.optimum_upper else Judgement.UNDECIDED

    def to_json(self) -> str:
        """The file's text.

        Raises:
            HypothesisError: a candidate was judged, of which the file format has no proof.
        """
        if self.candidate is None:
            return super().to_json()
        raise HypothesisError(
            "the certificate is about a candidate, and is not written.",
            expected="a certificate of the optimum: files carry no proof about somebody's features",
            fix="save ufm_convex.certify(problem) for the optimum; whoever has the features can judge them again.",
        )


def certify_contrastive(
    problem: ContrastiveProblem,
    *,
    candidate: object,
    solution: object,
    tolerance: float,
    digits: int | None,
    proof: str,
    progress: Progress | None,
) -> ContrastiveCertificate:
    """See ``ufm_convex.certify``; the candidate is a ``ContrastiveCandidate``.

    Raises:
        ProblemError: the candidate or the solution is of another kind, or the solution one of another problem.
        CountsError: the candidate has other class counts than the problem.
        CandidateError: the candidate's features are absurdly long.
        HypothesisError: digits or a slack proof are asked for; there is one proof, in binary64.
        SizeError: the certificate would be beyond the limits of its format.
    """
    if digits is not None or proof != AUTO:
        raise HypothesisError(
            f"{'digits' if digits is not None else 'a proof'} was asked for, of a contrastive problem.",
            expected="neither: the proof is the one of docs/contrastive.md, and its bounds are binary64 numbers",
            fix="leave it out.",
        )
    require_exactly(problem, ContrastiveProblem, "the problem")
    chosen = _candidate(candidate)
    objective, broken = None, None
    if chosen is not None:
        rows = None if progress is None else lambda done, total: progress(f"features: {done:,} of {total:,} rows")
        require_match(problem, chosen)
        broken = violation(problem, chosen)
        objective = None if broken else enclose_objective(problem, chosen, progress=rows)
    found = _solution(problem, solution, tolerance, progress)
    content = encode(found, tolerance)
    require_checkable(content)
    origin = {"solver": found.solver, "level": found.level, "route": "; ".join(found.route)}
    return ContrastiveCertificate(
        content, {"generator": f"ufm-convex {__version__}", **origin}, chosen, objective, broken
    )


def _candidate(candidate: object) -> ContrastiveCandidate | None:
    if candidate is None:
        return None
    if isinstance(candidate, ContrastiveCandidate):
        require_exactly(candidate, ContrastiveCandidate, "the candidate")
        return candidate
    raise ProblemError(
        f"candidate is a {type(candidate).__name__}.",
        expected="an ufm_convex.ContrastiveCandidate: the contrastive loss has no classifier",
        fix="make one with ContrastiveCandidate(features=F, labels=y).",
    )


def _solution(
    problem: ContrastiveProblem, solution: object, tolerance: float, progress: Progress | None
) -> ContrastiveSolution:
    if solution is None:
        solution = solve(problem, tolerance=tolerance, progress=progress)
    if not isinstance(solution, ContrastiveSolution) or solution.problem != problem:
        raise ProblemError(
            "the solution is one of another problem.",
            expected="a ContrastiveSolution of the problem to be certified",
            fix="pass solve(problem), or leave it out.",
        )
    return solution

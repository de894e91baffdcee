"""``certify`` for contrastive problems: how far somebody's features are from the proved optimum."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from ufm_convex._bits import fraction
from ufm_convex._version import __version__
from ufm_convex.certificate.arguments import chosen, solved
from ufm_convex.certificate.contrastive_encoding import decode_problem, encode, encode_problem
from ufm_convex.certificate.encoding import require_exactly
from ufm_convex.certificate.file import CertificateFile, Judgement
from ufm_convex.certificate.limits import require_checkable
from ufm_convex.contrastive.candidate import ContrastiveCandidate
from ufm_convex.contrastive.judging import Violation, enclose_objective, outward, require_match, violation
from ufm_convex.contrastive.method import require_own_proof
from ufm_convex.contrastive.problem import MODEL, ContrastiveProblem
from ufm_convex.contrastive.solution import ContrastiveSolution
from ufm_convex.errors import HypothesisError
from ufm_convex.methods import Progress


@dataclass(frozen=True, eq=False, repr=False)
class ContrastiveCertificate(CertificateFile):
    """Bounds of the optimum and, with a candidate, of how far it is from that; all proved.

    The file carries the proof of the two bounds of the optimum. What was found about a candidate stays in memory.

    Attributes:
        content: Everything that the digest covers, as plain JSON values (docs/contrastive_files.md, section 10).
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


def require_certifiable(problem: ContrastiveProblem, candidate: object) -> ContrastiveCandidate | None:
    """The candidate, if ``certify`` takes it and the problem."""
    require_exactly(problem, ContrastiveProblem, "the problem")
    expected = "an ufm_convex.ContrastiveCandidate: the contrastive loss has no classifier"
    found = chosen(
        candidate, ContrastiveCandidate, expected, "make one with ContrastiveCandidate(features=F, labels=y)."
    )
    if found is not None:
        require_match(problem, found)
    return found


def certify(
    problem: ContrastiveProblem,
    *,
    candidate: object,
    solution: object,
    tolerance: float,
    digits: int | None,
    proof: str,
    time_limit: float | None,
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
    require_own_proof(proof, digits)
    about = require_certifiable(problem, candidate)
    objective, broken = None, None
    if about is not None:
        rows = None if progress is None else lambda done, total: progress(f"features: {done:,} of {total:,} rows")
        broken = violation(problem, about)
        objective = None if broken else enclose_objective(problem, about, progress=rows)
    found = solved(problem, ContrastiveSolution, solution, tolerance, time_limit, progress)
    content = encode(found, tolerance)
    require_checkable(content)
    origin = {"solver": found.solver, "level": found.level, "route": "; ".join(found.route)}
    return ContrastiveCertificate(
        content, {"generator": f"ufm-convex {__version__}", **origin}, about, objective, broken
    )


__all__ = ["ContrastiveCertificate", "certify", "encode_problem", "require_certifiable"]

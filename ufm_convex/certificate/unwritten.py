"""What is proved about a problem, and perhaps a candidate, that no file carries: bounds without a certificate.

The bounds are those of ``certify``: the solution's lower and upper bound, proved in integers and balls, and an
enclosure of the candidate's objective. What is missing is the file, and with it the independent verifier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ufm_convex import _given
from ufm_convex._bits import fraction
from ufm_convex.candidate import Candidate
from ufm_convex.certificate.arguments import chosen
from ufm_convex.certificate.certifying import candidate_claims, certify, require_judgeable, rows_told
from ufm_convex.certificate.encoding import dyadic, require_encodable
from ufm_convex.certificate.limits import EXACT_LOGITS
from ufm_convex.certificate.model import Certificate, judge
from ufm_convex.enclosure.candidate import CandidateEnclosure, check_match, enclose_objective, is_streamed
from ufm_convex.enclosure.candidate_exact import enclose_exactly
from ufm_convex.enclosure.candidate_table import enclose_table
from ufm_convex.errors import HypothesisError, ProblemError, SolverError
from ufm_convex.losses import SoftTargetCrossEntropy, traits
from ufm_convex.methods import Progress
from ufm_convex.positivity.gap_closure import GapClosure
from ufm_convex.problem import Problem, require_problem
from ufm_convex.solution import Solution
from ufm_convex.solving import solve


@dataclass(frozen=True, eq=False, repr=False)
class Judged(Certificate):
    """The claims of a certificate, and no certificate: there is nothing to save, or to verify.

    Attributes:
        subject: The problem.
    """

    subject: Problem = field(kw_only=True)

    @property
    def problem(self) -> Problem:
        """The problem that was judged."""
        return self.subject

    @property
    def digest(self) -> str:
        """Empty: there is no file."""
        return ""

    def text(self) -> str:
        """See ``save``."""
        self._refuse()

    def save(self, path: str | Path) -> None:
        """Raise ``HypothesisError``: no file carries the problem."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        require_encodable(self.subject)  # says why
        raise HypothesisError(
            "these bounds were proved without a certificate.",
            expected="a certificate, for a file",
            fix="make one with ufm_convex.certify(problem, candidate).",
        )


def is_written(problem: Problem) -> bool:
    """Whether ``certify`` takes the problem, or refuses it; ``judged`` is for tables that no file carries."""
    if not problem.tabled or traits.foreign(problem.loss):
        return True
    try:
        require_encodable(problem)
    except HypothesisError:  # that is what was asked; who saves it all the same is told why
        return False
    return True


def judged(
    problem: Problem,
    candidate: Candidate | None = None,
    *,
    solution: Solution | GapClosure[Solution] | None = None,
    tolerance: float = 1e-6,
    progress: Progress | None = None,
) -> Judged:
    """The optimum or, with a candidate, how far the candidate is from it, proved, without a file.

    Args:
        problem: The problem; any table of targets will do.
        candidate: Somebody's W, features and perhaps bias.
        solution: A solution of the problem, or ``close_gap(problem)``; by default ``solve(problem)``.
        tolerance: Relative gap that counts as optimal, in (0, 1).
        progress: Called with one line of text when something begins or ends.

    Returns:
        What ``certify`` would return but for the file: ``lower``, ``upper``, ``candidate_gap``, ``verdict`` and so on.

    Raises:
        ProblemError: it is none, the solution is one of another problem, or the tolerance is out of range.
        HypothesisError: a candidate is given for a problem without decays, or with a loss that is infinite somewhere;
            or the loss is of another package, and nothing but its own word would stand behind the verdict.
        SolverError: no bound was proved.
        UFMError: as ``certify`` for what is wrong with the candidate, and as ``solve``.
    """
    require_problem(problem)
    traits.require_own(problem.loss, "the verdict")
    tolerance = _given.tolerance(tolerance)
    about = chosen(candidate, Candidate, "an ufm_convex.Candidate", "make one, or load it with Candidate.load(path).")
    enclosure = None
    if about is not None:
        require_judgeable(problem)
        about = check_match(problem, about)
        enclosure = _enclosed(problem, about, progress)
    found = solve(problem, tolerance=tolerance, progress=progress) if solution is None else solution
    if not isinstance(found, (Solution, GapClosure)) or found.problem != problem:
        raise ProblemError(
            "the solution is one of another problem.",
            expected="a Solution of the problem, or its close_gap",
            fix="pass solve(problem), or leave it out.",
        )
    if not (math.isfinite(found.lower_bound) and math.isfinite(found.upper_bound)):
        raise SolverError(
            "no finite bound was proved.",
            expected="decays and an objective within the range of binary64",
            fix="scale the problem.",
        )
    below, above = fraction(found.lower_bound), fraction(found.upper_bound)
    claims: dict[str, Any] = {"lower": dyadic(below), "upper": dyadic(above), "tolerance": dyadic(tolerance)}
    claims["candidate"] = None
    if about is not None and enclosure is not None:
        claims["candidate"] = candidate_claims(problem, about, enclosure, below, above)
    claims["verdict"] = judge(claims).value
    proof = found.lower.proof if isinstance(found, GapClosure) else found.lower_proof
    return Judged({"claims": claims, "dual": {"kind": proof}}, {}, subject=problem)


def _enclosed(problem: Problem, candidate: Candidate, progress: Progress | None) -> CandidateEnclosure:
    """The enclosure of the objective: streamed where there is much to do and the loss can be, else exact."""
    many = problem.num_outputs * len(candidate.features) > EXACT_LOGITS
    if many and type(problem.loss) is SoftTargetCrossEntropy:
        return enclose_table(problem, candidate, progress=rows_told(progress))
    streamed = is_streamed(problem.loss)
    return (enclose_objective if streamed else enclose_exactly)(problem, candidate, progress=rows_told(progress))


def proved_gap(problem: Problem, candidate: Candidate, **settings: Any) -> Certificate:
    """``certify`` where a file carries the problem, else ``judged``; arguments and errors as those."""
    return certify(problem, candidate, **settings) if is_written(problem) else judged(problem, candidate, **settings)

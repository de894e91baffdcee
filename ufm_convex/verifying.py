"""``verify``: the independent verifier, asked about objects and files of this package.

This is a door and no judge. It turns a problem into the numbers of a certificate's problem and a candidate into its
arrays; whether they are those of the certificate is decided behind it, by ``ufm_convex.verifier``, which decodes both
and imports nothing from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufm_convex import verifier

if TYPE_CHECKING:
    from ufm_convex.candidate import Candidate
    from ufm_convex.contrastive import ContrastiveCandidate, ContrastiveProblem
    from ufm_convex.problem import Problem

__all__ = ["verify"]


def verify(
    source: str | Path | bytes,
    candidate: Candidate | ContrastiveCandidate | Mapping[str, Any] | str | Path | None = None,
    problem: Problem | ContrastiveProblem | str | Path | None = None,
) -> verifier.VerificationResult:
    """Check a certificate and, where a problem or a candidate is given, that it is about exactly that one.

    Numbers are compared, not encodings: what differs is the step ``asked``, REFUTED.

    Args:
        source: A path, or the bytes of the file.
        candidate: The candidate that is asked about: a ``Candidate``, its file, or its arrays by their names
            (``weights``, ``features``, and ``labels`` or ``class_counts``). Where the certificate knows the candidate
            by SHA-256, the steps about it need this.
        problem: The problem that is asked about, or its TOML file.

    Returns:
        ``verdict`` and ``steps``; ``problem`` and ``claims`` say what was proved if the verdict is PROVED.

    Raises:
        MalformedCertificate: the certificate cannot be read, or is none.
        FileFormatError: a file of a problem or a candidate cannot be read, or is none.
        HypothesisError: certificates do not carry such a problem.
        ProblemError: the problem is of no kind that certificates are about.
        CandidateError: the candidate is none.
    """
    wanted = None if problem is None else _content(problem)
    arrays = None if candidate is None else _arrays(candidate)
    try:
        return verifier.verify(source, arrays, wanted)
    except verifier.UnreadableInput as error:
        from ufm_convex.errors import CandidateError

        raise CandidateError(
            f"{error}.",
            expected="a candidate: weights and features in float32 or float64, and labels or class_counts",
            fix="pass an ufm_convex.Candidate, or the file of one.",
        ) from error


def _content(problem: object) -> dict[str, Any]:
    """The object ``problem`` of a certificate about this one."""
    from ufm_convex.certificate import encoded
    from ufm_convex.solving import load_problem

    return encoded(load_problem(problem) if isinstance(problem, (str, Path)) else problem)


def _arrays(candidate: object) -> Mapping[str, Any]:
    """The arrays of a candidate, memory-mapped where they are large; the verifier reads them block by block."""
    from ufm_convex.candidate import Candidate
    from ufm_convex.contrastive import ContrastiveCandidate
    from ufm_convex.errors import CandidateError, shown

    if isinstance(candidate, (str, Path)):
        candidate = Candidate.load(candidate)
    if isinstance(candidate, Candidate):
        return candidate.arrays()
    if isinstance(candidate, ContrastiveCandidate):
        return {"features": candidate.features, "labels": candidate.labels}
    if isinstance(candidate, Mapping):
        return candidate
    raise CandidateError(
        f"candidate is {shown(candidate)}, a {type(candidate).__name__}.",
        expected="an ufm_convex.Candidate, or the path of its file",
        fix="make one with Candidate(weights=W, features=F, labels=y).",
    )

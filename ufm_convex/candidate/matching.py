"""What a candidate must satisfy before it is compared with a problem: each check once, for every room that compares."""

from __future__ import annotations

import numpy as np

from ufm_convex._arrays import IntArray
from ufm_convex.candidate.data import Candidate
from ufm_convex.candidate.streaming import FeatureStatistics
from ufm_convex.errors import CandidateError, CountsError
from ufm_convex.problem import Problem


def require_match(problem: Problem, candidate: Candidate) -> Candidate:
    """The candidate, with the columns of the problem; a bias only where the problem has one.

    Without a bias, a candidate for a problem that has one is judged as b = 0.

    Raises:
        CandidateError: it is no ``Candidate``, or has a bias that the problem has not.
        ShapeError: W has other rows than the problem has outputs.
        LabelsError: a label names no class.
        CountsError: its counts are others.
    """
    require_candidate(candidate)
    found = candidate.of_loss(problem.loss)
    require_counts(found, problem.class_counts)
    if candidate.bias is not None and problem.bias is None:
        raise CandidateError(
            "the candidate has a bias, and the problem has none.",
            expected="a problem with a bias, or a candidate without one",
            fix='make the problem with bias="free", or bias=0.01 for a weight decay of it (--bias on the command '
            "line); or leave the bias of the candidate out, and the classifier is judged without it.",
        )
    return found


def require_counts(candidate: Candidate, class_counts: IntArray) -> None:
    """Raise unless this is a candidate with these class counts.

    Raises:
        CandidateError: it is no ``Candidate``.
        CountsError: its counts are others.
    """
    require_candidate(candidate)
    ours = candidate.class_counts
    if np.array_equal(ours, class_counts):
        return
    if ours.size != class_counts.size:
        detail = f"{ours.size} classes, not {class_counts.size}"
    else:
        k = int(np.argmax(ours != class_counts))
        detail = f"{ours[k]} samples in class {k}, not {class_counts[k]}"
    raise CountsError(
        f"the candidate has other class counts than the problem: {detail}.",
        expected="labels that occur as often as class_counts says",
        fix="make the problem with candidate.problem(lambda_w, lambda_h); on the command line, leave out the class "
        "counts: those of the candidate are counted.",
    )


def require_candidate(candidate: object) -> None:
    """Raise ``CandidateError`` unless it is a ``Candidate``."""
    if not isinstance(candidate, Candidate):
        raise CandidateError(
            f"candidate is a {type(candidate).__name__}.",
            expected="an ufm_convex.Candidate",
            fix="make one with Candidate(weights=W, features=H, class_counts=problem.class_counts).",
        )


def require_nonnegative(statistics: FeatureStatistics) -> None:
    """Raise ``CandidateError`` if a feature is negative."""
    if statistics.negative_entries:
        row, column = statistics.smallest_at
        raise CandidateError(
            f"features[{row}, {column}] is {statistics.smallest}; {statistics.negative_entries} entries are negative.",
            expected="features >= 0, as they come out of a ReLU",
            fix="pass the features after the ReLU.",
        )

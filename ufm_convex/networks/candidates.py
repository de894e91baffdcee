"""From tensors of a network to a candidate: the one place where a head becomes W and b."""

from __future__ import annotations

from typing import Any

from ufm_convex.candidate import Candidate
from ufm_convex.errors import CandidateError
from ufm_convex.problem import Problem


def classifier_of(head: Any) -> dict[str, Any]:
    """W and, where the head has one, b, as ``Candidate`` takes them."""
    bias = {} if head.bias is None else {"bias": head.bias.detach()}
    return {"weights": head.weight.detach(), **bias}


def candidate_of(head: Any, features: Any, labels: Any) -> Candidate:
    """The candidate of a head and the features of all samples; raises as ``Candidate``."""
    return Candidate(features=features, labels=labels, **classifier_of(head))


def require_bias(problem: Problem, head: Any) -> None:
    """Raise ``CandidateError`` for a head with a bias that the problem has not."""
    if head.bias is not None and problem.bias is None:
        raise CandidateError(
            "the head has a bias, and the problem has none.",
            expected="a problem with a bias, or a head without",
            fix='make the problem with bias="free", or with the decay of the bias.',
        )

"""Which problem a candidate in a file is judged by: one that is stated, or that of its effective decays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ufm_convex.candidate import Candidate
    from ufm_convex.cli.options import ProblemOptions
    from ufm_convex.measures import EffectiveDecays
    from ufm_convex.problem import Problem

WITH_CANDIDATE = "W and features in a file; in Python, ufm_convex.certify takes a ContrastiveCandidate"


def sort_out(problem: ProblemOptions, second: Path | None) -> tuple[ProblemOptions, Path | None]:
    """Which of the two files is the problem and which the candidate: a problem ends in .toml."""
    from ufm_convex.errors import ProblemError

    files = [path for path in (problem.file, second) if path is not None]
    problems = [path for path in files if path.suffix.lower() == ".toml"]
    candidates = [path for path in files if path not in problems]
    if len(problems) > 1 or len(candidates) > 1:
        raise ProblemError(
            f"two {'problems' if problems else 'candidates'} are given: {files[0]} and {files[1]}.",
            expected="at most one problem (.toml) and one candidate (.npz, .pt, .safetensors, .mat)",
            fix="leave one out.",
        )
    chosen = dataclasses.replace(problem, file=problems[0] if problems else None)
    return chosen, candidates[0] if candidates else None


def states_decays(problem: ProblemOptions) -> bool:
    """Whether the options are a problem without asking a candidate: a file, both decays, or what replaces them."""
    decays = problem.lambda_w is not None and problem.lambda_h is not None
    return decays or problem.file is not None or problem.constraint is not None


def effective_problem(
    problem: ProblemOptions, candidate: Candidate, tell: Callable[[str], object], *, sign: bool
) -> tuple[Problem, EffectiveDecays]:
    """The problem with a candidate's effective decays, and with whatever the options state in place of its own.

    Args:
        problem: Options without a file.
        candidate: The candidate; its counts are those of the problem unless the options have others.
        tell: Called when it begins.
        sign: Whether the candidate says whether its features are free where no option does; else they are not.

    Raises:
        HypothesisError: no decays fit the candidate.
        UFMError: as ``ProblemOptions.problem``.
    """
    from ufm_convex.measures import effective_decays

    whole = dataclasses.replace(problem, lambda_w=problem.lambda_w or "1", lambda_h=problem.lambda_h or "1")
    asked = whole.plain_problem(WITH_CANDIDATE, candidate)
    tell("fitting the decays")
    # a negative feature where features are not is a verdict, not a reason to have no decays
    fitted = effective_decays(candidate, asked.loss, None if asked.nonnegative else asked.features)
    names = ("lambda_w", "lambda_h", "features", "bias")
    stated: dict[str, Any] = {name: getattr(asked, name) for name in names if getattr(problem, name) is not None}
    if not sign:
        stated["features"] = asked.features
    return fitted.problem(asked.class_counts, asked.loss, feature_dim=asked.feature_dim, **stated), fitted

"""The published proof, step by step: each inequality of the chain (34)–(61) evaluated at a candidate.

A module of this folder that defines a subclass of ``ProofStep`` is found by its presence: adding a step adds a class
and changes no other. Every slack is a sum of terms ≥ 0, never a difference of the two sides. For a problem whose
classes are all at least of the critical size, the slacks of (34), (35), (37) and (44) add up to f(W, H) − f*.

docs/proof_steps.md lists statements, hypotheses and equality conditions; the numbers are those of the appendix of
Dang, Tran, Nguyen, Ho, ICML 2024.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ufm_convex._registry import discover
from ufm_convex.candidate import Candidate, Progress
from ufm_convex.errors import CandidateError
from ufm_convex.problem import Problem, require_problem
from ufm_convex.proof.base import ProofStep, StepEvaluation, Terms
from ufm_convex.proof.point import ChainPoint, chain_point

__all__ = ["ChainPoint", "ProofStep", "StepEvaluation", "Terms", "chain_point", "proof_steps", "steps"]


@cache
def steps() -> tuple[ProofStep, ...]:
    """One instance of every step, in the order of the proof."""
    kinds = discover(__name__, ProofStep)  # type: ignore[type-abstract]
    return tuple(sorted((kind() for kind in kinds.values()), key=lambda step: step.number))


def proof_steps(
    problem: Problem, candidate: Candidate, *, progress: Progress | None = None
) -> tuple[StepEvaluation, ...]:
    """Every step of the proof, evaluated at a candidate.

    Args:
        problem: Plain cross-entropy with non-negative features; with a bias, the steps that need none say so.
        candidate: W, features, (N, d) or class means (K, d), and perhaps a bias; its class counts are the problem's.
        progress: Called after each block of features with (rows done, rows in all), in two passes.

    Returns:
        One evaluation a step, in the order of the proof. A step whose hypotheses fail has slack None.

    Raises:
        HypothesisError: class weights, smoothing, another loss, or features without sign constraint.
        CountsError: the candidate has other class counts than the problem.
        CandidateError: a feature is negative, NaN or infinite, W is so large that sums of squares overflow, or the
            candidate has a bias that the problem has not.

    Source: docs/proof_steps.md; Dang, Tran, Nguyen, Ho, ICML 2024, equations (33)–(65).

    Example:
        >>> problem = Problem([5, 4, 3], 1e-2, 1e-2)
        >>> candidate = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[5, 4, 3])
        >>> [step.number for step in proof_steps(problem, candidate) if step.slack == 0.0]
        ['34', '35a', '35b', '43', '46', '58']
    """
    require_problem(problem)
    problem.require_decays("the steps of the proof")
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            point = chain_point(problem, candidate, progress)
            return tuple(step.evaluate(point) for step in steps())
    except (FloatingPointError, OverflowError, ZeroDivisionError) as error:
        raise CandidateError(
            f"the sides of the proof's inequalities leave the range of binary64 ({error}).",
            expected="weights, features and decays whose squares and products are of moderate size",
            fix="rescale W and the features; a candidate of this size is far from any optimum.",
        ) from error

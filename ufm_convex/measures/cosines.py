"""Angles between the classifiers of a solution, and why there may be none.

Where a row of W vanishes at the optimum, what a solver leaves of it is noise, and so is every angle with it. Printed,
such a number looks like a finding; here it is None, with the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ufm_convex._given import class_index
from ufm_convex.errors import shown
from ufm_convex.solution import Solution


@dataclass(frozen=True)
class Cosine:
    """The cosine of an angle, or the reason that there is none.

    Attributes:
        value: The cosine, in [−1, 1]; None where it is not defined.
        reason: Why it is not; empty where it is.
    """

    value: float | None
    reason: str = ""


def classifier_cosine(solution: Solution, k: int, l: int) -> Cosine:  # noqa: E741 - the papers' letters
    """The cosine of the angle between w_k and w_l at the optimum, accurate to the square root of the gap.

    Args:
        solution: A solution.
        k: A class, from 0.
        l: Another.

    Returns:
        The cosine; without a value where a classifier is zero as far as the gap can tell.

    Raises:
        ProblemError: there is no such class.
        SizeError: K > 20,000.

    Source: the angles of Minority Collapse; Fang, He, Long, Su, PNAS 118, 2021; docs/minority_collapse.md, section 4.
    """
    pair = [class_index(one, solution.problem.num_classes, f"class {shown(one)} was asked for.") for one in (k, l)]
    zero = solution.evidence.silent(pair)
    if zero:
        return Cosine(None, f"w_{zero[0]} = 0 as far as the gap of {solution.relative_gap:.1e} can tell: no angle")
    A = solution.weight_gram
    return Cosine(max(-1.0, min(1.0, float(A[k, l] / math.sqrt(A[k, k]) / math.sqrt(A[l, l])))))

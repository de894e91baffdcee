"""Angles between the classifiers of a solution, and why there may be none.

Where a row of W vanishes at the optimum, what a solver leaves of it is noise, and so is every angle with it. Printed,
such a number looks like a finding; here it is None, with the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ufm_convex.errors import ProblemError, shown
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

    Source: the angles of Minority Collapse; Fang, He, Long, Su, PNAS 118, 2021; docs/layer_peeled.md, section 4.
    """
    classes = range(solution.problem.num_classes)
    for one in (k, l):
        if isinstance(one, bool) or one not in classes:
            raise ProblemError(
                f"class {shown(one)} was asked for.",
                expected=f"a class from 0 to {len(classes) - 1}",
                fix="classes are numbered from 0 in the order of class_counts.",
            )
    zero = solution.evidence.silent((k, l))
    if zero:
        return Cosine(None, f"w_{zero[0]} = 0 as far as the gap of {solution.relative_gap:.1e} can tell: no angle")
    A = solution.weight_gram
    return Cosine(max(-1.0, min(1.0, float(A[k, l] / math.sqrt(A[k, k]) / math.sqrt(A[l, l])))))

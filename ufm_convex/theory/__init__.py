"""Closed forms, one file a theorem: value, relation (tight / lower / upper), hypotheses, geometry, citation.

A module of this folder that defines a subclass of ``Theorem`` is found by its presence: adding a theorem adds
a file and changes none. Nothing here runs a solver.

    ``optimum(problem)``  the optimum, from the first theorem all of whose hypotheses hold; otherwise an error
                          that names what failed
    ``bound(problem)``    what a theorem still says, possibly only a lower or an upper bound; None if nothing
    ``find(problem)``     the theorem that ``optimum`` would use, or None
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily
from ufm_convex._registry import Registry, plugged_in
from ufm_convex.problem import Model, Problem, require_problem
from ufm_convex.theory.base import Hypothesis, Optimum, Relation, SolvedOptimum, Theorem, has_idle_bias, refusal
from ufm_convex.theory.frame_curve import FrameCurve, frame_curve, threshold_size

if TYPE_CHECKING:
    from ufm_convex.theory.collapse import cross_entropy, exact_threshold
    from ufm_convex.theory.mean_squared_error import OneHotOptimum
    from ufm_convex.theory.orthogonal_frame import FrameOptimum, OrthogonalFrame
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "collapse": ("cross_entropy", "exact_threshold"),
            "mean_squared_error": ("OneHotOptimum",),
            "orthogonal_frame": ("FrameOptimum", "OrthogonalFrame"),
        },
    )

__all__ = [
    "FrameCurve",
    "FrameOptimum",
    "Hypothesis",
    "OneHotOptimum",
    "Optimum",
    "OrthogonalFrame",
    "Relation",
    "SolvedOptimum",
    "Theorem",
    "bound",
    "collapse_size",
    "cross_entropy",
    "exact_threshold",
    "find",
    "frame_curve",
    "has_idle_bias",
    "optimum",
    "theorems",
    "theorems_about",
    "threshold_size",
]


@cache
def _registry() -> Registry[Theorem]:
    return plugged_in(__name__, Theorem, "ufm_convex.theorems")  # type: ignore[type-abstract]


@cache
def _instance(name: str) -> Theorem:
    return _registry()[name]()


@cache
def theorems() -> tuple[Theorem, ...]:
    """One instance of every theorem in this folder, in the order of their file names, then those of other packages."""
    return tuple(_in_order())


def _in_order() -> Iterator[Theorem]:
    """The same one after the other: whoever stops at one imports none of those behind it."""
    yield from map(_instance, _registry())


def theorems_about(problem: object) -> tuple[Theorem, ...]:
    """The theorems to try on a problem: those of this folder, unless its kind has its own.

    Raises:
        ProblemError: it is no problem.
    """
    return tuple(_about(problem))


def _about(problem: object) -> Iterator[Theorem]:
    """The same one after the other."""
    own = problem.theorems() if isinstance(problem, Model) else None
    if own is not None:
        yield from own
        return
    require_problem(problem, "a theorem")
    yield from _in_order()


def find(problem: Problem) -> Theorem | None:
    """The first theorem all of whose hypotheses hold for the problem, or None."""
    return next((theorem for theorem in _about(problem) if not theorem.failed(problem)), None)


def optimum(problem: Problem) -> Optimum:
    """The optimum of the problem in closed form.

    Raises:
        HypothesisError: no theorem applies; the message names the failed hypotheses of each.

    Example:
        >>> from ufm_convex.problem import Problem
        >>> found = optimum(Problem([500, 100, 20], lambda_w=5e-3, lambda_h=5e-3))
        >>> f"{found.value:.6f} ({found.relation})"
        '0.502348 (tight)'
    """
    failed = {}
    for theorem in _about(problem):
        failed[theorem.name] = theorem.failed(problem)
        if not failed[theorem.name]:
            return theorem.evaluated(problem, theorem.relation)
    raise refusal(failed)


def collapse_size(problem: Problem) -> Fraction | None:
    """The exact count at and below which a class has no feature, by the first theorem that holds; None without one."""
    theorem = find(problem)
    return None if theorem is None else theorem.collapse_size(problem)


def bound(problem: Problem) -> Optimum | None:
    """What theory says about the minimum: its value if a theorem is tight, else a bound, else None.

    With fewer feature dimensions than active classes, for example, the value of the orthogonal frame is
    returned with the relation ``Relation.LOWER``.
    """
    loose = None
    for result in (theorem.bound(problem) for theorem in _about(problem)):
        if result is not None and result.relation is Relation.TIGHT:
            return result
        loose = loose or result
    return loose

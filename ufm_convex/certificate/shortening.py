"""A large dense certificate with no more digits than its tolerance asks for (docs/short_certificates.md)."""

from __future__ import annotations

from ufm_convex.enclosure import BlockDual, FactorWitness
from ufm_convex.enclosure.lower import shorter_bound
from ufm_convex.enclosure.upper import shorter_witness
from ufm_convex.evidence import Bounds
from ufm_convex.problem import Problem

FEWEST = 1 << 15
"""Numbers of a dual point or a witness from which on digits are saved."""
MARGIN = 2.0**-3
"""Share of D, over the tolerance, that a dual point gives up: half of it is what that costs."""
EXCESS = 2.0**-5
"""Share of itself, over the tolerance, by which a witness may rise; less comes of it."""
ROOM = 0.75
"""Gaps of more than this share of the tolerance have none to spend."""


def shortened(problem: Problem, bounds: Bounds, tolerance: float) -> Bounds:
    """Bounds that are farther apart by a tenth of the tolerance at most, with shorter evidence; or those given.

    What is about norm bounds or has a gap near the tolerance or beyond, stays as it is.
    """
    lower, upper = bounds.lower, bounds.upper
    if bounds.decays is not None or upper.value - lower.value > ROOM * tolerance * upper.value:
        return bounds
    if isinstance(lower.exact_point, BlockDual) and _numbers(lower.exact_point.columns) >= FEWEST:
        lower = shorter_bound(problem, lower, MARGIN * tolerance)
    if isinstance(upper.exact_point, FactorWitness) and _numbers(upper.exact_point.W.even) >= FEWEST:
        upper = shorter_witness(problem, upper, EXCESS * tolerance)
    return Bounds(lower, upper)


def _numbers(rows: list[list[int]]) -> int:
    return len(rows) * len(rows[0])

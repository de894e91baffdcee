"""Which directions of the features count as dimensions, and which are noise."""

from __future__ import annotations

RANK_CUT, _PENALTY_CUT = 1e-6, 1e-3
"""Penalty of a direction of the features that does not count towards the rank: see ``noise``."""


def noise(value: float, without: float, penalty: float) -> float:
    """The penalty λ_H ‖·‖² up to which a direction of the features is noise.

    It is a share of the objective, whose accuracy is known, so that a solution whose classes all collapsed has rank 0.
    Where features are worth something and yet cost less than that, as with smoothed targets and small decays, it is a
    share of the penalty.

    Args:
        value: The objective.
        without: The objective of W = H = 0.
        penalty: λ_H Σ n_k ‖h_k‖².
    """
    worthless = without - value <= RANK_CUT * value
    return RANK_CUT * value if worthless else min(RANK_CUT * value, _PENALTY_CUT * penalty)

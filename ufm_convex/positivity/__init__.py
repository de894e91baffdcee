"""Is a Gram matrix completely positive, B = F Fᵀ with F ≥ 0? A factor, a copositive witness, or neither.

``judging`` decides, from ``theorems`` (exact sufficient conditions), ``factorisation`` (the nearest F Fᵀ) and
``witnesses`` (copositive matrices C with <C, B> < 0). Every number of a report is proved.
``bounds`` has what copositive slacks prove about a problem, by ``cubic`` forms of the level ``parrilo`` or on all
supports (``copositivity``); ``gap_closure`` closes the gap of a strict relaxation, and
``pigeonhole`` bounds problems of few dimensions; docs/complete_positivity.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.positivity.bounds import copositive_lower_bound, relaxation_upper_bound
    from ufm_convex.positivity.features import feature_positivity
    from ufm_convex.positivity.judging import complete_positivity
    from ufm_convex.positivity.report import CompletePositivity, Positivity
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "bounds": ("copositive_lower_bound", "relaxation_upper_bound"),
            "features": ("feature_positivity",),
            "judging": ("complete_positivity",),
            "report": ("CompletePositivity", "Positivity"),
        },
    )

__all__ = [
    "CompletePositivity",
    "Positivity",
    "complete_positivity",
    "copositive_lower_bound",
    "feature_positivity",
    "relaxation_upper_bound",
]

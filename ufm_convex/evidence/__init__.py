"""Evidence: what a run is worth, in the representation that its points come in.

Each module is one representation (orthogonal frame in O(K), factors, columns of any orbits) and does everything that
depends on it: repair, recovery of factors, proofs, the KKT report, the quantities read off a solution. ``solve`` and
``Solution`` know none of them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.evidence.base import Bracketed, Evidence, Representation, allowed_gap, excess_gap, relative_gap
    from ufm_convex.evidence.bounds import Bounds, lower_with_point
    from ufm_convex.evidence.gathering import gather
    from ufm_convex.evidence.merged import MergedEvidence, spread_out
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "base": ("Bracketed", "Evidence", "Representation", "allowed_gap", "excess_gap", "relative_gap"),
            "bounds": ("Bounds", "lower_with_point"),
            "gathering": ("gather",),
            "merged": ("MergedEvidence", "spread_out"),
        },
    )

__all__ = [
    "Bounds",
    "Bracketed",
    "Evidence",
    "MergedEvidence",
    "Representation",
    "allowed_gap",
    "excess_gap",
    "gather",
    "lower_with_point",
    "relative_gap",
    "spread_out",
]

"""From points of the relaxation to W and H, and descents on them, at every level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.recovery.admission import admitted
    from ufm_convex.recovery.coarser import coarse_start, prolonged
    from ufm_convex.recovery.descending import balanced, descend, escape, steepness
    from ufm_convex.recovery.dimension import fit, full, narrowed, needed, require_dimension
    from ufm_convex.recovery.projecting import Feasible, Projected, Projection, spectrum
    from ufm_convex.recovery.recovering import Recovered, recoveries, summary, undescended
    from ufm_convex.recovery.restoring import largest_singular, promised_gap, restored
    from ufm_convex.recovery.scaled import Entries, Scaled, Softened
    from ufm_convex.recovery.starts import rays
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "admission": ("admitted",),
            "coarser": ("coarse_start", "prolonged"),
            "descending": ("balanced", "descend", "escape", "steepness"),
            "dimension": ("fit", "full", "narrowed", "needed", "require_dimension"),
            "projecting": ("Feasible", "Projected", "Projection", "spectrum"),
            "recovering": ("Recovered", "recoveries", "summary", "undescended"),
            "restoring": ("largest_singular", "promised_gap", "restored"),
            "scaled": ("Entries", "Scaled", "Softened"),
            "starts": ("rays",),
        },
    )

__all__ = [
    "Entries",
    "Feasible",
    "Projected",
    "Projection",
    "Recovered",
    "Scaled",
    "Softened",
    "admitted",
    "balanced",
    "coarse_start",
    "descend",
    "escape",
    "fit",
    "full",
    "largest_singular",
    "narrowed",
    "needed",
    "prolonged",
    "promised_gap",
    "rays",
    "recoveries",
    "require_dimension",
    "restored",
    "spectrum",
    "steepness",
    "summary",
    "undescended",
]

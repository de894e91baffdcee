"""Duality made explicit: repair of dual points to feasibility, and the KKT report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.duality.admissible import repair
    from ufm_convex.duality.kkt import (
        Condition,
        KKTReport,
        axes_report,
        factors_report,
        frame_report,
        report,
        tolerances,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "admissible": ("repair",),
            "kkt": ("Condition", "KKTReport", "axes_report", "factors_report", "frame_report", "report", "tolerances"),
        },
    )

__all__ = [
    "Condition",
    "KKTReport",
    "axes_report",
    "factors_report",
    "frame_report",
    "repair",
    "report",
    "tolerances",
]

"""Duality made explicit: repair of dual points to feasibility, and the KKT report."""

from __future__ import annotations

from ufm_convex.duality.groups import repair_groups
from ufm_convex.duality.kkt import Condition, KKTReport, dense_report, frame_report, group_report, tolerances
from ufm_convex.duality.repair import repair

__all__ = [
    "Condition",
    "KKTReport",
    "dense_report",
    "frame_report",
    "group_report",
    "repair",
    "repair_groups",
    "tolerances",
]

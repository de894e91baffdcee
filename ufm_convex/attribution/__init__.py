"""Why a candidate is not optimal: the parts of its gap, the classes that are dead, and what a small gap implies."""

from __future__ import annotations

from ufm_convex.attribution.dead_classes import DeadClass
from ufm_convex.attribution.parts import LARGEST_WEIGHT, PARTS, GapAttribution, attribute_gap, explained
from ufm_convex.attribution.stability import StabilityBounds, stability_bounds

__all__ = [
    "LARGEST_WEIGHT",
    "PARTS",
    "DeadClass",
    "GapAttribution",
    "StabilityBounds",
    "attribute_gap",
    "explained",
    "stability_bounds",
]

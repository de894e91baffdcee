"""Why a candidate is not optimal: parts of its gap, dead classes, what a small gap implies, which decays it fits."""

from __future__ import annotations

from ufm_convex.attribution.dead_classes import DeadClass
from ufm_convex.attribution.decays import EffectiveDecays, effective_decays
from ufm_convex.attribution.parts import LARGEST_WEIGHT, PARTS, GapAttribution, attribute_gap
from ufm_convex.attribution.stability import StabilityBounds, stability_bounds

__all__ = [
    "LARGEST_WEIGHT",
    "PARTS",
    "DeadClass",
    "EffectiveDecays",
    "GapAttribution",
    "StabilityBounds",
    "attribute_gap",
    "effective_decays",
    "stability_bounds",
]

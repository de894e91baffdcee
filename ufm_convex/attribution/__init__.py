"""Why a candidate is not optimal: the parts of its gap, the classes that are dead, and what a small gap implies."""

from __future__ import annotations

from ufm_convex.attribution.dead_classes import DeadClass
from ufm_convex.attribution.parts import PARTS, GapAttribution, attribute_gap
from ufm_convex.attribution.stability import StabilityBounds, stability_bounds

__all__ = ["PARTS", "DeadClass", "GapAttribution", "StabilityBounds", "attribute_gap", "stability_bounds"]

"""Neural collapse measured: how near a classifier and its features are to the geometry of the optimum.

One file a measure: ``within`` (NC1), ``frames`` (NC2), ``self_duality`` (NC3), ``nearest_centre`` (NC4) and ``grams``
(distance to the theorem's Gram matrices). ``geometry`` gathers them in a ``GeometryReport``; ``classifier_cosine`` is
one angle of a solution, ``effective_decays`` the problem of which a layer is nearest to being a stationary point.
Floating point; features are read twice, in blocks. docs/geometry.md has definitions, sources and the values at the
optimum.

Convention for what is not defined: a measure is None, never a quotient of rounding errors. Lengths of at most
√(ε max(K, d)) times the longest of their kind count as zero (``rounding``).
"""

from __future__ import annotations

from ufm_convex.measures.cosines import Cosine, classifier_cosine
from ufm_convex.measures.decays import EffectiveDecays, effective_decays
from ufm_convex.measures.frames import SimplexMeasures
from ufm_convex.measures.grams import GramDistances
from ufm_convex.measures.report import GeometryReport, geometry

__all__ = [
    "Cosine",
    "EffectiveDecays",
    "GeometryReport",
    "GramDistances",
    "SimplexMeasures",
    "classifier_cosine",
    "effective_decays",
    "geometry",
]

"""The Gram relaxation: orbits, alike matrices, columns, points, the identity, the programme; levels are values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.relaxation.alike import Alike, entry_numbers
    from ufm_convex.relaxation.axes import AxesDual, AxesPoint
    from ufm_convex.relaxation.columns import Columns
    from ufm_convex.relaxation.conic import Programme, Units, programme, symmetric
    from ufm_convex.relaxation.frame import FrameDual, FramePoint, frame_strengths, frame_terms, margin_loss
    from ufm_convex.relaxation.full import DENSE_LIMIT, DualPoint, GramPoint, as_dimension, require_dense
    from ufm_convex.relaxation.identity import (
        IdentityTerms,
        dual_value,
        objective,
        residual_gram,
        scaled_load,
        scaled_residuals,
        scaled_slack,
        terms,
    )
    from ufm_convex.relaxation.levels import LEVELS, Level, available, level, num_groups
    from ufm_convex.relaxation.making import (
        class_orbits,
        group_orbits,
        of_classes,
        of_groups,
        of_labels,
        of_merged,
        of_samples,
    )
    from ufm_convex.relaxation.maps import Maps
    from ufm_convex.relaxation.orbits import Orbits, Pairing
    from ufm_convex.relaxation.points import Dual, Factors, Gram, Point
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "alike": ("Alike", "entry_numbers"),
            "axes": ("AxesDual", "AxesPoint"),
            "columns": ("Columns",),
            "conic": ("Programme", "Units", "programme", "symmetric"),
            "frame": ("FrameDual", "FramePoint", "frame_strengths", "frame_terms", "margin_loss"),
            "full": ("DENSE_LIMIT", "DualPoint", "GramPoint", "as_dimension", "require_dense"),
            "identity": (
                "IdentityTerms",
                "dual_value",
                "objective",
                "residual_gram",
                "scaled_load",
                "scaled_residuals",
                "scaled_slack",
                "terms",
            ),
            "levels": ("LEVELS", "Level", "available", "level", "num_groups"),
            "making": (
                "class_orbits",
                "group_orbits",
                "of_classes",
                "of_groups",
                "of_labels",
                "of_merged",
                "of_samples",
            ),
            "maps": ("Maps",),
            "orbits": ("Orbits", "Pairing"),
            "points": ("Dual", "Factors", "Gram", "Point"),
        },
    )

__all__ = [
    "DENSE_LIMIT",
    "LEVELS",
    "Alike",
    "AxesDual",
    "AxesPoint",
    "Columns",
    "Dual",
    "DualPoint",
    "Factors",
    "FrameDual",
    "FramePoint",
    "Gram",
    "GramPoint",
    "IdentityTerms",
    "Level",
    "Maps",
    "Orbits",
    "Pairing",
    "Point",
    "Programme",
    "Units",
    "as_dimension",
    "available",
    "class_orbits",
    "dual_value",
    "entry_numbers",
    "frame_strengths",
    "frame_terms",
    "group_orbits",
    "level",
    "margin_loss",
    "num_groups",
    "objective",
    "of_classes",
    "of_groups",
    "of_labels",
    "of_merged",
    "of_samples",
    "programme",
    "require_dense",
    "residual_gram",
    "scaled_load",
    "scaled_residuals",
    "scaled_slack",
    "symmetric",
    "terms",
]

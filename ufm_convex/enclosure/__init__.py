"""Rigorous values in ball arithmetic, slack proofs in exact integers, and the exact data of each proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._bits import rounded_down as fraction_below
from ufm_convex._bits import rounded_up as fraction_above
from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.enclosure.alike import ExactAlike
    from ufm_convex.enclosure.axes import axes_lower, axes_upper
    from ufm_convex.enclosure.block_dual import BlockDual
    from ufm_convex.enclosure.columns import ExactColumns, alike_orbits
    from ufm_convex.enclosure.exact import ExactMatrix, ExactVector
    from ufm_convex.enclosure.lower import Proof, lower_bound, trivial_bound
    from ufm_convex.enclosure.norms import square_norms
    from ufm_convex.enclosure.proved import (
        DiagonalDual,
        ExactPoint,
        FactorWitness,
        FrameWitness,
        ProvedBound,
        ResidualDual,
    )
    from ufm_convex.enclosure.rank import rank_bound
    from ufm_convex.enclosure.upper import upper_bound
    from ufm_convex.enclosure.wide import wide_lower_bound, wide_upper_bound
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "alike": ("ExactAlike",),
            "axes": ("axes_lower", "axes_upper"),
            "block_dual": ("BlockDual",),
            "columns": ("ExactColumns", "alike_orbits"),
            "exact": ("ExactMatrix", "ExactVector"),
            "lower": ("Proof", "lower_bound", "trivial_bound"),
            "norms": ("square_norms",),
            "proved": ("DiagonalDual", "ExactPoint", "FactorWitness", "FrameWitness", "ProvedBound", "ResidualDual"),
            "rank": ("rank_bound",),
            "upper": ("upper_bound",),
            "wide": ("wide_lower_bound", "wide_upper_bound"),
        },
    )

__all__ = [
    "BlockDual",
    "DiagonalDual",
    "ExactAlike",
    "ExactColumns",
    "ExactMatrix",
    "ExactPoint",
    "ExactVector",
    "FactorWitness",
    "FrameWitness",
    "Proof",
    "ProvedBound",
    "ResidualDual",
    "alike_orbits",
    "axes_lower",
    "axes_upper",
    "fraction_above",
    "fraction_below",
    "lower_bound",
    "rank_bound",
    "square_norms",
    "trivial_bound",
    "upper_bound",
    "wide_lower_bound",
    "wide_upper_bound",
]

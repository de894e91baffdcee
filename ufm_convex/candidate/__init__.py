"""Somebody's classifier and features: the data, their files, and statistics gathered in blocks of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.candidate.data import Candidate, float_matrix
    from ufm_convex.candidate.matching import require_counts, require_match, require_nonnegative
    from ufm_convex.candidate.statistics import ClassStatistics
    from ufm_convex.candidate.streaming import (
        Block,
        FeatureStatistics,
        NegativeEntries,
        Progress,
        blocks,
        feature_statistics,
    )
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "data": ("Candidate", "float_matrix"),
            "matching": ("require_counts", "require_match", "require_nonnegative"),
            "statistics": ("ClassStatistics",),
            "streaming": ("Block", "FeatureStatistics", "NegativeEntries", "Progress", "blocks", "feature_statistics"),
        },
    )

__all__ = [
    "Block",
    "Candidate",
    "ClassStatistics",
    "FeatureStatistics",
    "NegativeEntries",
    "Progress",
    "blocks",
    "feature_statistics",
    "float_matrix",
    "require_counts",
    "require_match",
    "require_nonnegative",
]

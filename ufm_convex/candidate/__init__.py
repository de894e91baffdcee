"""Somebody's classifier and features: the data, their files, and statistics gathered in blocks of rows."""

from __future__ import annotations

from ufm_convex.candidate.data import Candidate, float_matrix
from ufm_convex.candidate.matching import require_candidate, require_counts, require_nonnegative
from ufm_convex.candidate.streaming import (
    Block,
    FeatureStatistics,
    NegativeEntries,
    Progress,
    blocks,
    feature_statistics,
)

__all__ = [
    "Block",
    "Candidate",
    "FeatureStatistics",
    "NegativeEntries",
    "Progress",
    "blocks",
    "feature_statistics",
    "float_matrix",
    "require_candidate",
    "require_counts",
    "require_nonnegative",
]

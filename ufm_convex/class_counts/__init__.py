"""Class counts n_1 … n_K: checked, counted from labels, read from files, or made by a named profile.

Counts are fresh int64 arrays of shape (K,), K ≥ 2, entries ≥ 0 and one of them > 0, with N = Σ n_k ≤ 2⁵³ so that N is
exact in binary64; labels are fresh int64 arrays of shape (N,). Anything else is a named error. A count of 0 is a class
without samples, an output of the classifier all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.class_counts.files import read_class_counts, read_labels
    from ufm_convex.class_counts.labels import class_counts_from_labels, fewer_labels, validate_labels
    from ufm_convex.class_counts.profiles import (
        balanced,
        counts_from_profile,
        exponential,
        pareto,
        profile_names,
        step,
    )
    from ufm_convex.class_counts.tokens import NextTokens, next_tokens, read_tokens
    from ufm_convex.class_counts.validation import MAX_SAMPLES, validate_class_counts
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "files": ("read_class_counts", "read_labels"),
            "labels": ("class_counts_from_labels", "fewer_labels", "validate_labels"),
            "profiles": ("balanced", "counts_from_profile", "exponential", "pareto", "profile_names", "step"),
            "tokens": ("NextTokens", "next_tokens", "read_tokens"),
            "validation": ("MAX_SAMPLES", "validate_class_counts"),
        },
    )

__all__ = [
    "MAX_SAMPLES",
    "NextTokens",
    "balanced",
    "class_counts_from_labels",
    "counts_from_profile",
    "exponential",
    "fewer_labels",
    "next_tokens",
    "pareto",
    "profile_names",
    "read_class_counts",
    "read_labels",
    "read_tokens",
    "step",
    "validate_class_counts",
    "validate_labels",
]

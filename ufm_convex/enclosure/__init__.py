"""Rigorous values in ball arithmetic, and slack proofs in exact integers."""

from __future__ import annotations

from ufm_convex.enclosure.bounds import ProvedBound, lower_bound, upper_bound

__all__ = ["ProvedBound", "lower_bound", "upper_bound"]

"""Clarabel through cvxpy: interior point."""

from __future__ import annotations

from typing import ClassVar

from ufm_convex.crosscheck.conic import ConicContestant


class ClarabelContestant(ConicContestant):
    """The registry's solver "clarabel"."""

    name: ClassVar[str] = "clarabel"
    package: ClassVar[str] = "clarabel"

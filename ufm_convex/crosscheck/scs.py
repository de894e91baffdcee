"""SCS through cvxpy: operator splitting."""

from __future__ import annotations

from typing import ClassVar

from ufm_convex.crosscheck.conic import ConicContestant


class SCSContestant(ConicContestant):
    """The registry's solver "scs"."""

    name: ClassVar[str] = "scs"
    package: ClassVar[str] = "scs"

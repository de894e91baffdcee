"""Clarabel through cvxpy: interior point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ufm_convex.crosscheck.conic import ConicContestant


class ClarabelContestant(ConicContestant):
    """The registry's solver "clarabel"."""

    name: ClassVar[str] = "clarabel"
    package: ClassVar[str] = "clarabel"
    options: ClassVar[Mapping[str, Any]] = {"max_threads": 1}
    """Its pool of threads does not survive a fork: where the parent has started one, the child would wait for it."""

"""Methods: how each kind of problem is solved and proved, one file each; ``solving`` lists them and has the loop."""

from __future__ import annotations

from ufm_convex.methods.base import (
    AUTO,
    OVERDUE,
    Finding,
    InnerSolve,
    Method,
    Progress,
    Proved,
    Settings,
    out_of_memory,
)
from ufm_convex.methods.direct import Direct
from ufm_convex.methods.norm_balls import NormBalls

__all__ = [
    "AUTO",
    "OVERDUE",
    "Direct",
    "Finding",
    "InnerSolve",
    "Method",
    "NormBalls",
    "Progress",
    "Proved",
    "Settings",
    "out_of_memory",
]

"""Methods: how each kind of problem is solved and proved, one file each; ``solving`` lists them and has the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "base": (
                "AUTO",
                "Finding",
                "InnerSolve",
                "Method",
                "OVERDUE",
                "Progress",
                "Proved",
                "Settings",
                "out_of_memory",
            ),
            "direct": ("Direct",),
            "norm_balls": ("NormBalls",),
        },
    )

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

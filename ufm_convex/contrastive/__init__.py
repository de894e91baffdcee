"""Supervised contrastive learning with non-negative features: the problem, its optimum, and somebody's features judged.

Its method is one of those that ``ufm_convex.solving`` lists; its certificates are written in ``certificate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufm_convex._lazy import lazily

if TYPE_CHECKING:
    from ufm_convex.contrastive.candidate import ContrastiveCandidate
    from ufm_convex.contrastive.evidence import ContrastiveEvidence, ContrastiveRun
    from ufm_convex.contrastive.judging import Violation
    from ufm_convex.contrastive.kkt import ContrastiveTerms
    from ufm_convex.contrastive.method import Contrastive
    from ufm_convex.contrastive.points import ContrastiveDual, ContrastivePoint
    from ufm_convex.contrastive.problem import ContrastiveProblem
    from ufm_convex.contrastive.solution import ContrastiveSolution
    from ufm_convex.contrastive.theory import ContrastiveOptimum, collapse_threshold, optimum
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "candidate": ("ContrastiveCandidate",),
            "evidence": ("ContrastiveEvidence", "ContrastiveRun"),
            "judging": ("Violation",),
            "kkt": ("ContrastiveTerms",),
            "method": ("Contrastive",),
            "points": ("ContrastiveDual", "ContrastivePoint"),
            "problem": ("ContrastiveProblem",),
            "solution": ("ContrastiveSolution",),
            "theory": ("ContrastiveOptimum", "collapse_threshold", "optimum"),
        },
    )

__all__ = [
    "Contrastive",
    "ContrastiveCandidate",
    "ContrastiveDual",
    "ContrastiveEvidence",
    "ContrastiveOptimum",
    "ContrastivePoint",
    "ContrastiveProblem",
    "ContrastiveRun",
    "ContrastiveSolution",
    "ContrastiveTerms",
    "Violation",
    "collapse_threshold",
    "optimum",
]

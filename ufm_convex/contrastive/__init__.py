"""Supervised contrastive learning with non-negative features: the problem, its optimum, and somebody's features judged.

Importing this room registers its kind of problem with ``ufm_convex.solve``, ``ufm_convex.certify`` and
``ufm_convex.theory``, which know nothing of it.
"""

from __future__ import annotations

from ufm_convex import theory as _theory
from ufm_convex.certificate.certifying import certify_kind
from ufm_convex.contrastive.candidate import ContrastiveCandidate
from ufm_convex.contrastive.certifying import ContrastiveCertificate, certify_contrastive
from ufm_convex.contrastive.judging import Violation
from ufm_convex.contrastive.kkt import ContrastiveTerms
from ufm_convex.contrastive.points import ContrastiveDual, ContrastivePoint
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.contrastive.solution import ContrastiveRun, ContrastiveSolution
from ufm_convex.contrastive.solving import solve_contrastive
from ufm_convex.contrastive.theory import ContrastiveFrame, ContrastiveOptimum, collapse_threshold, optimum
from ufm_convex.solving import solve_kind

__all__ = [
    "ContrastiveCandidate",
    "ContrastiveCertificate",
    "ContrastiveDual",
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

solve_kind.register(ContrastiveProblem, solve_contrastive)
certify_kind.register(ContrastiveProblem, certify_contrastive)
_theory.theorems_about.register(ContrastiveProblem, lambda problem: (ContrastiveFrame(),))

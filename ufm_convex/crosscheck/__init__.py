"""Is this solver right? Solvers under test, each judged against proved bounds of the optimum."""

from __future__ import annotations

from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.crosscheck.checking import CrossCheck, cross_check
from ufm_convex.crosscheck.conformance import ConformanceCase, conformance_cases, run_conformance
from ufm_convex.crosscheck.files import SolutionFile
from ufm_convex.crosscheck.judgement import CrossCheckRow, CrossVerdict
from ufm_convex.crosscheck.registry import available
from ufm_convex.relaxation import DualPoint, GramPoint

__all__ = [
    "Answer",
    "ConformanceCase",
    "Contestant",
    "CrossCheck",
    "CrossCheckRow",
    "CrossVerdict",
    "DualPoint",
    "GramPoint",
    "SolutionFile",
    "available",
    "conformance_cases",
    "cross_check",
    "run_conformance",
]

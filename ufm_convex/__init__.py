"""Certified global optima of the unconstrained feature model, by convex optimisation.

    >>> import ufm_convex as ufm
    >>> solution = ufm.solve(ufm.Problem([500, 100, 20], lambda_w=5e-3, lambda_h=5e-3))
    >>> print(f"{solution.value:.6f} {solution.status}")
    0.502348 certified

Names are imported when they are first used, so that importing the package costs no more than NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ufm_convex._version import __version__

if TYPE_CHECKING:
    from ufm_convex import theory as theory
    from ufm_convex.attribution import GapAttribution as GapAttribution
    from ufm_convex.attribution import StabilityBounds as StabilityBounds
    from ufm_convex.attribution import attribute_gap as attribute_gap
    from ufm_convex.attribution import stability_bounds as stability_bounds
    from ufm_convex.candidate import Candidate as Candidate
    from ufm_convex.certificate import Certificate as Certificate
    from ufm_convex.certificate import ContrastiveCertificate as ContrastiveCertificate
    from ufm_convex.certificate import Judgement as Judgement
    from ufm_convex.certificate import certify as certify
    from ufm_convex.class_counts import class_counts_from_labels as class_counts_from_labels
    from ufm_convex.class_counts import counts_from_profile as counts_from_profile
    from ufm_convex.class_counts import next_tokens as next_tokens
    from ufm_convex.class_counts import read_class_counts as read_class_counts
    from ufm_convex.class_counts import read_labels as read_labels
    from ufm_convex.class_counts import read_tokens as read_tokens
    from ufm_convex.contrastive import ContrastiveCandidate as ContrastiveCandidate
    from ufm_convex.contrastive import ContrastiveProblem as ContrastiveProblem
    from ufm_convex.contrastive import ContrastiveSolution as ContrastiveSolution
    from ufm_convex.crosscheck import CrossCheck as CrossCheck
    from ufm_convex.crosscheck import CrossCheckRow as CrossCheckRow
    from ufm_convex.crosscheck import cross_check as cross_check
    from ufm_convex.duality import KKTReport as KKTReport
    from ufm_convex.errors import UFMError as UFMError
    from ufm_convex.losses import BinaryCrossEntropy as BinaryCrossEntropy
    from ufm_convex.losses import CrossEntropy as CrossEntropy
    from ufm_convex.losses import LogitAdjustedCrossEntropy as LogitAdjustedCrossEntropy
    from ufm_convex.losses import Loss as Loss
    from ufm_convex.losses import MeanSquaredError as MeanSquaredError
    from ufm_convex.losses import MulticlassHinge as MulticlassHinge
    from ufm_convex.losses import SoftTargetCrossEntropy as SoftTargetCrossEntropy
    from ufm_convex.measures import EffectiveDecays as EffectiveDecays
    from ufm_convex.measures import GeometryReport as GeometryReport
    from ufm_convex.measures import effective_decays as effective_decays
    from ufm_convex.measures import geometry as geometry
    from ufm_convex.positivity import CompletePositivity as CompletePositivity
    from ufm_convex.positivity import Positivity as Positivity
    from ufm_convex.positivity import complete_positivity as complete_positivity
    from ufm_convex.positivity.gap_closure import GapClosure as GapClosure
    from ufm_convex.problem import HardMargin as HardMargin
    from ufm_convex.problem import LayerPeeled as LayerPeeled
    from ufm_convex.problem import Problem as Problem
    from ufm_convex.proof import StepEvaluation as StepEvaluation
    from ufm_convex.proof import proof_steps as proof_steps
    from ufm_convex.solution import Solution as Solution
    from ufm_convex.solution import Status as Status
    from ufm_convex.solving import close_gap as close_gap
    from ufm_convex.solving import solve as solve
    from ufm_convex.verifier import MalformedCertificate as MalformedCertificate
    from ufm_convex.verifier import Verdict as Verdict
    from ufm_convex.verifying import verify as verify

_HOME = {
    "BinaryCrossEntropy": "losses",
    "Candidate": "candidate",
    "Certificate": "certificate",
    "CompletePositivity": "positivity",
    "ContrastiveCandidate": "contrastive",
    "ContrastiveCertificate": "certificate",
    "ContrastiveProblem": "contrastive",
    "ContrastiveSolution": "contrastive",
    "CrossCheck": "crosscheck",
    "CrossCheckRow": "crosscheck",
    "CrossEntropy": "losses",
    "EffectiveDecays": "measures",
    "GapAttribution": "attribution",
    "GapClosure": "positivity.gap_closure",
    "GeometryReport": "measures",
    "HardMargin": "problem",
    "Judgement": "certificate",
    "KKTReport": "duality",
    "LayerPeeled": "problem",
    "LogitAdjustedCrossEntropy": "losses",
    "Loss": "losses",
    "MalformedCertificate": "verifier",
    "MeanSquaredError": "losses",
    "MulticlassHinge": "losses",
    "Positivity": "positivity",
    "Problem": "problem",
    "SoftTargetCrossEntropy": "losses",
    "Solution": "solution",
    "StabilityBounds": "attribution",
    "Status": "solution",
    "StepEvaluation": "proof",
    "UFMError": "errors",
    "Verdict": "verifier",
    "attribute_gap": "attribution",
    "certify": "certificate",
    "class_counts_from_labels": "class_counts",
    "close_gap": "solving",
    "complete_positivity": "positivity",
    "counts_from_profile": "class_counts",
    "cross_check": "crosscheck",
    "effective_decays": "measures",
    "geometry": "measures",
    "next_tokens": "class_counts",
    "proof_steps": "proof",
    "read_class_counts": "class_counts",
    "read_labels": "class_counts",
    "read_tokens": "class_counts",
    "solve": "solving",
    "stability_bounds": "attribution",
    "verify": "verifying",
}
_ROOMS = {"constraints": "problem.constraints"} | {
    room: room
    for room in (
        "candidate",
        "class_counts",
        "contrastive",
        "crosscheck",
        "duality",
        "errors",
        "interchange",
        "losses",
        "methods",
        "networks",
        "plots",
        "relaxation",
        "solvers",
        "sweep",
        "testing",
        "theory",
    )
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _ROOMS:
        return importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})

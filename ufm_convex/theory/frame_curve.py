"""Theorem 1 between the counts of a problem: what a class of any size would have, all else as it is.

The class enters with a count of its own; N, the decays, K and the other columns of W stay. So the curves pass through
the values of ``FrameOptimum`` at the problem's counts, and in between are those of equations (2) and (7) of
docs/theorem.md and (11) of docs/theorem_proof.md as functions of n. In floating point: for figures, and nothing rests
on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.theory.collapse import cross_entropy
from ufm_convex.theory.orthogonal_frame import FrameOptimum, margins_at

if TYPE_CHECKING:
    from ufm_convex.problem import Problem


@dataclass(frozen=True, eq=False)
class FrameCurve:
    """One value for each size; names as those of a solution.

    Attributes:
        feature_norms: ‖h‖ of a class with so many samples, (S,).
        weight_norms: ‖w‖ of it, (S,).
        margins: M of it, (S,).
    """

    feature_norms: FloatArray
    weight_norms: FloatArray
    margins: FloatArray


def threshold_size(problem: Problem, optimum: FrameOptimum) -> float:
    """The ω² n at and below which a class collapses: n_c for plain cross-entropy (equations 2 and 21)."""
    weights = problem.loss.weights(problem.num_classes)
    return float(np.ravel(optimum.collapse_threshold)[0] * weights[0] ** 2)


def frame_curve(problem: Problem, optimum: FrameOptimum, sizes: FloatArray, weight: float = 1.0) -> FrameCurve:
    """The curves of a problem on an orthogonal frame.

    Args:
        problem: The problem; its loss is cross-entropy.
        optimum: Its optimum.
        sizes: ω² n of the class, each > 0, (S,). The margin depends on nothing else.
        weight: ω, the class weight, by which sizes become counts n.

    Raises:
        HypothesisError: the loss is not cross-entropy.
    """
    K, smoothing = problem.num_classes, cross_entropy(problem).smoothing
    threshold = threshold_size(problem, optimum)
    roots = math.sqrt(threshold), np.sqrt(sizes)
    rho = np.where(sizes <= threshold, 1.0, roots[0] / roots[1])
    # 1 − ρ without cancellation next to the threshold
    deficit = np.maximum(sizes - threshold, 0.0) / (roots[1] * (roots[0] + roots[1]))
    margins = margins_at(smoothing + (1.0 - smoothing) * rho, (1.0 - smoothing) * deficit, K)
    pull = roots[1] / weight * margins  # √n M
    with np.errstate(over="ignore"):
        shared = float((optimum.omega**2).sum()) / K**2
        return FrameCurve(
            feature_norms=np.sqrt(margins / (roots[1] / weight)) / math.sqrt(optimum.scale),
            weight_norms=np.sqrt(optimum.scale * pull * ((K - 2) / K) + shared),
            margins=margins,
        )

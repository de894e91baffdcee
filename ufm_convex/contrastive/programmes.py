"""The conic programme at its three levels, one function each, all read back as a ``ContrastivePoint``.

    sample   G, N × N, from the definition: that features of a class coincide is then a result
    class    the mean over permutations within classes: one K × K block and one scalar a class of two samples or more
    group    the mean over classes with equal counts as well: one G × G block and scalars

Class level is group level with one class a group. The block of group level has the entries
(docs/contrastive_duality.md, section 3; M is the Gram matrix of class means, v_g = Σ_i ‖h_i − h̄‖²/n of one class)

    X_gg = M_own + (K_g − 1) M_cross,   X_gh = √(K_g K_h) M_gh,   w_g = M_own − M_cross ≥ 0 (K_g ≥ 2),   v_g ≥ 0

with G_ii = M_own + v and G_ij = M_own − v/(n − 1) for two samples of a class. Everything is divided by T and by a unit
that makes the entries of order one, the objective by the number of anchors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.contrastive.points import ContrastivePoint, anchors
from ufm_convex.contrastive.problem import ContrastiveProblem, samples_in
from ufm_convex.contrastive.targets import LOSS, Anchored
from ufm_convex.errors import SizeError, UnknownNameError
from ufm_convex.losses import Layout
from ufm_convex.relaxation import Alike

if TYPE_CHECKING:
    import cvxpy as cp

LEVELS = ("group", "class", "sample")

_LIMIT = 400
"""Largest order of a positive semidefinite block that is built."""

_VANISHED = 40.0
"""e^{−40} of the loss is below the accuracy of any solver."""

_PROHIBITIVE = 2.0
"""A penalty a at which no feature is worth its cost."""


@dataclass(frozen=True, eq=False)
class ContrastiveProgramme:
    """A programme, and how its solution is read.

    Attributes:
        problem: The cvxpy problem.
        objective_scale: The objective of ``problem`` times this is the objective.
        read: The point at the values of the variables; None when there are none.
    """

    problem: cp.Problem
    objective_scale: float
    read: Callable[[], ContrastivePoint | None]


def gram_order(problem: ContrastiveProblem, level: str) -> int:
    """Order of the largest positive semidefinite block."""
    return {"sample": problem.num_samples, "class": problem.num_classes, "group": problem.groups.size}[level]


def check_level(problem: ContrastiveProblem, level: str) -> None:
    """Raise ``UnknownNameError`` for an unknown level, ``SizeError`` for one that is too large for the problem."""
    if level not in LEVELS:
        raise UnknownNameError(
            f"level {level!r} is not known.", expected="auto, " + ", ".join(LEVELS), fix="leave it to 'auto'."
        )
    order = gram_order(problem, level)
    if order > _LIMIT:
        smaller = next((one for one in ("class", "group") if gram_order(problem, one) <= _LIMIT), None)
        raise SizeError(
            f"level {level!r} needs a Gram matrix of order {order}.",
            expected=f"at most {_LIMIT}",
            fix="let level and solver both be 'auto': the closed form needs no such matrix."
            if smaller is None
            else f"use level {smaller!r}, or 'auto' for level and solver.",
        )


def build(problem: ContrastiveProblem, level: str) -> ContrastiveProgramme:
    """The programme at a level that ``check_level`` accepts."""
    if level == "sample":
        return _samples(problem)
    return _groups(problem, problem.classes if level == "class" else problem.groups)


def _unit(problem: ContrastiveProblem) -> float:
    """The size of ‖h‖²/T to expect: the bound or, under a penalty, where the loss has become as small as its cost.

    A bound so large that the loss has vanished before is lowered: the points stay feasible, the numbers tractable.
    """
    if problem.bound is not None:
        return min(problem.scaled_bound, _VANISHED + math.log(problem.num_samples))
    return max(1.0, math.log(problem.num_samples) - math.log(_cost(problem)))


def _cost(problem: ContrastiveProblem) -> float:
    """The penalty a: from a = 1 on H = 0 is optimal whatever it is, and a larger one would only spoil the numbers."""
    return min(problem.scaled_penalty, _PROHIBITIVE)


def _num_anchors(problem: ContrastiveProblem) -> float:
    """Samples of classes of two or more; 1 where there are none."""
    return max(float(samples_in(problem.groups) @ anchors(problem.groups)), 1.0)


# -- sample level ---------------------------------------------------------------------------------------------------


def _samples(problem: ContrastiveProblem) -> ContrastiveProgramme:
    """The definition, one log-sum-exp an anchor."""
    import cvxpy as cp

    N, labels, unit, scale = problem.num_samples, problem.labels, _unit(problem), _num_anchors(problem)
    gram = cp.Variable((N, N), symmetric=True)
    loss: cp.Expression = cp.Constant(0.0)
    counts = problem.class_counts[labels]
    anchored = np.flatnonzero(counts > 1)
    if anchored.size:
        others = np.array([np.delete(np.arange(N), i) for i in anchored])
        rows = unit * gram[np.repeat(anchored, N - 1), others.ravel()]
        z = cp.reshape(rows, (N - 1, anchored.size), order="F")
        positives = (labels[anchored][:, None] == labels[others]) / (counts[anchored] - 1.0)[:, None]
        loss = cp.sum(LOSS.expression(z, Layout.single(positives.T, anchored)))
    penalty = _cost(problem) * unit * cp.trace(gram)
    constraints = [gram >> 0, gram >= 0]
    if problem.bound is not None:
        constraints.append(cp.diag(gram) <= 1.0)

    def read() -> ContrastivePoint | None:
        if gram.value is None or not np.isfinite(gram.value).all():
            return None
        return average(problem, unit * problem.temperature * np.asarray(gram.value))

    return ContrastiveProgramme(cp.Problem(cp.Minimize((loss + penalty) / scale), constraints), scale, read)


def average(problem: ContrastiveProblem, gram: FloatArray) -> ContrastivePoint:
    """The mean of an (N, N) Gram matrix, samples sorted by class, over permutations within classes.

    It is feasible where the matrix is, and its objective is no larger (docs/contrastive_duality.md, section 3).
    """
    counts = problem.class_counts.astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(problem.class_counts)[:-1]])
    gram = 0.5 * (gram + gram.T)
    sums = np.add.reduceat(np.add.reduceat(gram, starts, axis=0), starts, axis=1)
    squares = np.add.reduceat(np.diag(gram), starts) / counts
    pairs = counts * (counts - 1.0)
    within = np.where(pairs > 0.0, (np.diag(sums) - counts * squares) / np.maximum(pairs, 1.0), squares)
    between = sums / np.outer(counts, counts)
    np.fill_diagonal(between, 0.0)
    return ContrastivePoint(problem.classes, squares, within, between)


# -- class and group level ------------------------------------------------------------------------------------------


def _groups(problem: ContrastiveProblem, groups: AlikeClasses) -> ContrastiveProgramme:
    """The block programme; the losses of all anchors in one vectorised log-sum-exp."""
    import cvxpy as cp

    counts, sizes, G = groups.counts.astype(np.float64), groups.sizes, groups.size
    unit, scale = _unit(problem), _num_anchors(problem)
    several, paired = groups.multiplicities > 1, groups.counts > 1
    X = cp.Variable((G, G), symmetric=True)
    w, v = cp.Variable(G), cp.Variable(G)  # those of single classes and single samples are fixed at 0
    cross = cp.multiply(X, 1.0 / np.sqrt(np.outer(sizes, sizes))) - cp.diag(cp.multiply(w, several / sizes))
    own = cp.multiply(cp.diag(X), 1.0 / sizes) + cp.multiply(w, several * (1.0 - 1.0 / sizes))
    squares = own + v
    within = own - cp.multiply(v, paired / np.maximum(counts - 1.0, 1.0))
    samples = sizes * counts
    loss = _losses(problem, groups, unit, within, cross)
    penalty = _cost(problem) * unit * (samples @ squares)
    constraints = [X >> 0, w >= 0, v >= 0, cp.multiply(w, 1.0 * ~several) == 0, cp.multiply(v, 1.0 * ~paired) == 0]
    constraints.append(within >= 0)
    if G > 1:
        constraints.append(cp.upper_tri(X) >= 0)
    if several.any():
        constraints.append(cp.diag(cross)[np.flatnonzero(several)] >= 0)
    if problem.bound is not None:
        constraints.append(squares <= 1.0)

    def read() -> ContrastivePoint | None:
        values = X.value, w.value, v.value
        if any(value is None or not np.isfinite(value).all() for value in values):
            return None
        trivial = 0.5 * (X.value + X.value.T)
        sort, unscaled = groups.orbits, unit * problem.temperature
        means = unscaled * Alike.from_blocks(sort, sort, trivial, w.value[several][:, None, None])
        spread = unscaled * np.where(paired, v.value, 0.0)
        together = means.own()
        apart = together - spread / np.maximum(counts - 1.0, 1.0)
        between = means.even * groups.present
        return ContrastivePoint(groups, together + spread, np.where(paired, apart, together), between)

    return ContrastiveProgramme(cp.Problem(cp.Minimize((loss + penalty) / scale), constraints), scale, read)


def _losses(
    problem: ContrastiveProblem, groups: AlikeClasses, unit: float, within: cp.Expression, cross: cp.Expression
) -> cp.Expression:
    """Σ over groups with anchors of K n times the loss of one."""
    import cvxpy as cp

    rows = Anchored.of(problem, groups, by_group=True)
    if not rows.places.size:
        return cp.Constant(0.0)
    own = cp.reshape(within[rows.places], (1, rows.places.size), order="C")
    z = unit * cp.vstack([own, cross[rows.places, :].T])
    return samples_in(groups)[rows.places] @ LOSS.expression(z, rows.layout)

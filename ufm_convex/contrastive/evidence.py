"""What a run on a contrastive problem is worth: an orthogonal frame, a feasible dual point, and their two bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.contrastive.alike_classes import AlikeClasses
from ufm_convex.contrastive.enclosure import lower_bound, repair, repaired_lengths, upper_bound
from ufm_convex.contrastive.points import ContrastiveDual, ContrastivePoint, softmax_dual
from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.enclosure import ProvedBound
from ufm_convex.evidence import kept
from ufm_convex.relaxation import Alike, Orbits
from ufm_convex.solvers import Claim


@dataclass(frozen=True, eq=False)
class ContrastiveRun:
    """One run of one solver, as it left it.

    Attributes:
        solver: Registry name.
        level: Level of the variables.
        claim: What the solver says of itself.
        message: Its own words.
        point: Primal point, averaged over permutations within classes; None when it left none.
        value: Optimal value that it reports, or None.
        accuracy: The accuracy it was asked for; None where it was asked for none, or by options of its own.
        seconds: Wall time, modelling excluded.
    """

    solver: str
    level: str
    claim: Claim
    message: str
    point: ContrastivePoint | None = None
    value: float | None = None
    accuracy: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ContrastiveEvidence:
    """A run made admissible: an orthogonal frame, a feasible dual point, and their bounds.

    Attributes:
        problem: The problem.
        run: The solver's run behind it, unrepaired.
        point: The orthogonal frame made of the solver's point.
        lengths: η_g = ‖h_i‖ in ``point``, (G,), exact: the upper bound is that of these binary64 numbers.
        dual: The repaired dual point; the lower bound is that of these binary64 numbers.
        lower: Proved lower bound, for every dimension d.
        upper: Proved upper bound.
    """

    problem: ContrastiveProblem
    run: ContrastiveRun
    point: ContrastivePoint
    lengths: FloatArray
    dual: ContrastiveDual
    lower: ProvedBound
    upper: ProvedBound

    @property
    def left_nothing(self) -> bool:
        """True when the solver left no point to work from."""
        return self.run.point is None


def gather(problem: ContrastiveProblem, run: ContrastiveRun) -> ContrastiveEvidence:
    """What a run is worth: its points repaired, and the bounds that they prove.

    Only the run's point is looked at; a value that the solver reports is shown, never used.
    """
    point = _point(problem, run)
    with np.errstate(all="ignore"):  # a solver's point may be anything; what comes of it is judged exactly
        lengths = repaired_lengths(problem, point)
        frame = ContrastivePoint.frame(point.groups, lengths)
        # where the loss is flat the solver's softmax is a poor dual point, and that of the frame a good one
        duals = [repair(problem, softmax_dual(problem, one)) for one in (point, frame)]
    lower, dual = max(((lower_bound(problem, one), one) for one in duals), key=lambda pair: pair[0].value)
    upper = upper_bound(problem, point.groups, lengths)
    if not math.isfinite(upper.value):  # a point that is no number, or beyond the range: H = 0 is always admissible
        lengths = np.zeros(point.groups.size)
        upper = upper_bound(problem, point.groups, lengths)
    frame = ContrastivePoint.frame(point.groups, lengths)
    return ContrastiveEvidence(problem, run, frame, lengths, dual, lower, upper)


def _point(problem: ContrastiveProblem, run: ContrastiveRun) -> ContrastivePoint:
    groups = problem.groups
    return ContrastivePoint.frame(groups, np.zeros(groups.size)) if run.point is None else run.point


# -- in files -----------------------------------------------------------------------------------------------------

KEPT = kept.Kind(
    ContrastiveProblem,
    ContrastiveRun,
    {kind.__name__: kind for kind in (Alike, AlikeClasses, ContrastivePoint, Orbits)},
    "ContrastiveSolution",
)


def regathered(problem: ContrastiveProblem, run: ContrastiveRun, tolerance: float) -> ContrastiveEvidence:
    """``gather`` of a run from a file, whose point has to be one of this very problem.

    Raises:
        ValueError: its classes are treated alike in another way than at any level, or its arrays have other shapes.
    """
    if run.point is None:
        return gather(problem, run)
    point, G = run.point, run.point.groups.size
    levels = (problem.groups, AlikeClasses.single(problem.class_counts))
    groups = next((one for one in levels if _same(one, point.groups)), None)
    if groups is None:
        raise ValueError("its groups of classes are not those of the problem")
    shapes = {"squares": (G,), "within": (G,), "between": (G, G)}
    for one in fields(point):
        array = getattr(point, one.name)
        if one.name in shapes and array is not None and np.shape(array) != shapes[one.name]:
            raise ValueError(f"{one.name} has shape {np.shape(array)}")
    return gather(problem, replace(run, point=replace(point, groups=groups)))


def _same(one: AlikeClasses, other: AlikeClasses) -> bool:
    alike = np.array_equal(one.counts, other.counts) and one.num_classes == other.num_classes
    return alike and np.array_equal(one.members, other.members)

"""When a schedule of runs has come to an end of its own: more accuracy was asked for, and the proved gap stayed.

A first-order solver may stop at a point that none of its tighter runs leaves, as SCS does at decays of 1e-11. Two runs
that were both good enough for a descent to be carried through, the second asked for more, and one proved gap, say so.
Runs whose bounds change, for better or worse, do not: a tenth of those that end certified have one that was no better
than the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ufm_convex.solvers.base import SolverRun

STALLED = "; no further run of it, for asking for more has changed nothing"
"""What the route says of it."""
_THOROUGH = 1e-5
"""Accuracy of a run from which on descent is carried through; after a looser one, a tighter run is cheaper."""
_SAME = 0.02
"""Share by which proved gaps that are the same may differ."""


@dataclass
class Stalls:
    """The runs of a solve as they come, each with its proved gap.

    Attributes:
        last: Accuracy and proved gap of the last run of each solver.
    """

    last: dict[str, tuple[float, float]] = field(default_factory=dict)

    def after(self, solver: str, accuracy: float | None, gap: float) -> bool:
        """Whether the solver's further runs are not worth making.

        Args:
            solver: Name of the solver.
            accuracy: What the run was asked for; None where that is not known.
            gap: The proved relative gap.
        """
        asked = 0.0 if accuracy is None else accuracy
        before, previous = self.last.get(solver, (0.0, 0.0))
        self.last[solver] = asked, gap
        return asked < before <= _THOROUGH and abs(gap - previous) <= _SAME * previous


def thorough(run: SolverRun) -> bool:
    """Whether a run's point is worth a descent that is carried through."""
    return run.accuracy is None or run.accuracy <= _THOROUGH

"""How contrastive problems are solved: programme at a level → solver → repaired points → proved bounds.

The closed form is the solver "theory", taken by "auto" when level and solver are both left to it. Every conic solver of
the registry serves the programmes of ``contrastive.programmes``. No solver is believed: both bounds are proved from
exact numbers (``contrastive.enclosure``), and runs of increasing accuracy are taken until they are close enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ufm_convex.contrastive.problem import ContrastiveProblem
from ufm_convex.errors import HypothesisError
from ufm_convex.evidence import Bounds, relative_gap
from ufm_convex.methods import AUTO, Finding, Method, Progress, Settings
from ufm_convex.solvers import STALLED, Stalls

if TYPE_CHECKING:
    from ufm_convex import enclosure
    from ufm_convex.contrastive.evidence import ContrastiveEvidence
    from ufm_convex.contrastive.solution import ContrastiveSolution
    from ufm_convex.solution import Status


class Contrastive(Method[ContrastiveProblem, "ContrastiveEvidence", "ContrastiveSolution"]):
    """Solvers are "theory" and the conic ones, levels "group", "class" and "sample"."""

    name: ClassVar[str] = "contrastive"
    kind: ClassVar[type[ContrastiveProblem]] = ContrastiveProblem

    def check(self, problem: ContrastiveProblem, settings: Settings) -> None:
        """See ``Method.check``.

        Raises:
            UnknownNameError: no such solver or level, or the solver does not solve such problems at that level.
            SizeError: the problem is too large for the level, or for the solver's memory.
            SolverNotInstalledError: the solver's package cannot be imported.
        """
        from ufm_convex.contrastive import runs

        runs.plan(problem, settings.solver, settings.level)

    def evidence(
        self, problem: ContrastiveProblem, settings: Settings, tell: Progress
    ) -> Iterator[Finding[ContrastiveEvidence]]:
        """See ``Method.evidence``: one finding a run."""
        from ufm_convex.contrastive import runs

        stalls, stopped = Stalls(), set[str]()
        for run, reason in runs.planned(problem, settings, tell, stopped):
            found = runs.finding(problem, run, reason)
            gap = relative_gap(found.evidence.lower.value, found.evidence.upper.value)
            if stalls.after(run.solver, run.accuracy, gap):
                stopped.add(run.solver)
                found = replace(found, line=found.line + STALLED)
            yield found

    def solution(
        self,
        problem: ContrastiveProblem,
        finding: Finding[ContrastiveEvidence],
        value: float,
        status: Status,
        tolerance: float,
    ) -> ContrastiveSolution:
        """See ``Method.solution``."""
        from ufm_convex.contrastive.solution import ContrastiveSolution

        return ContrastiveSolution(value, status, tolerance, **vars(finding.evidence))

    def bounds(self, solution: ContrastiveSolution, proof: enclosure.Proof) -> Bounds:
        """See ``Method.bounds``: there is one proof, of the outside mass."""
        require_own_proof(proof)
        return Bounds(solution.lower, solution.upper)


def require_own_proof(proof: str, digits: int | None = None) -> None:
    """Raise ``HypothesisError`` where a slack proof or digits are asked for: there is one proof, in binary64."""
    if digits is not None or proof != AUTO:
        raise HypothesisError(
            f"{'digits' if digits is not None else 'a proof'} was asked for, of a contrastive problem.",
            expected="neither: the proof is the one of docs/contrastive.md, and its bounds are binary64 numbers",
            fix="leave it out.",
        )

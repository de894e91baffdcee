"""``--table FILE``: numbers class by class, one row a class, beside what a command prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ufm_convex.cli.options import check_output

if TYPE_CHECKING:
    from ufm_convex._tables import Columns
    from ufm_convex.attribution import GapAttribution
    from ufm_convex.candidate import Candidate
    from ufm_convex.problem import Problem
    from ufm_convex.solution import Outcome


@dataclass(frozen=True)
class TableOptions:
    """Where numbers class by class go."""

    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the numbers of each class: .csv or .parquet.")
    ] = None

    def check(self) -> None:
        """Raise for a table that could not be written, before the work."""
        if self.table is not None:
            from ufm_convex._tables import check_table

            check_table(self.table)
            check_output(self.table, "make the folder, or choose another path.")

    def write(self, solution: Outcome) -> None:
        """Write the table of a solution, if there is to be one."""
        if self.table is not None:
            self._write(solution.per_class())

    def write_candidate(self, problem: Problem, candidate: Candidate, explained: GapAttribution | None) -> None:
        """Write that of a candidate: its class means, and the share of the gap that each class bears."""
        if self.table is not None:
            self._write(candidate_columns(problem, candidate, explained))

    def _write(self, columns: Columns) -> None:
        from ufm_convex._files import write_atomically
        from ufm_convex._tables import encoded

        if self.table is not None:
            write_atomically(self.table, encoded(columns, self.table))


def candidate_columns(problem: Problem, candidate: Candidate, explained: GapAttribution | None) -> Columns:
    """Name → column, (K,): ``gap`` only where the gap has parts; as ``Solution.per_class`` without those of outputs."""
    import numpy as np

    from ufm_convex.plots.base import CandidateGeometry

    geometry = CandidateGeometry.of(candidate, problem)
    found = {
        "class": np.arange(problem.num_columns),
        "count": problem.class_counts,
        "margin": geometry.margins,
        "feature_norm": geometry.feature_norms,
        "weight_norm": geometry.weight_norms,
        "bias": geometry.bias,
    }
    found = {name: column for name, column in found.items() if column.size == problem.num_columns}
    return found if explained is None else {**found, "gap": explained.by_class}

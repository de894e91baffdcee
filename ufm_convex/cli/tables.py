"""``--table FILE``: numbers class by class, one row a class, beside what a command prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufm_convex.cli.options import check_output

if TYPE_CHECKING:
    from ufm_convex._tables import Columns
    from ufm_convex.attribution import GapAttribution
    from ufm_convex.candidate import Candidate
    from ufm_convex.problem import Problem


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

    def write(self, solution: Any, candidate: Candidate | None = None, explained: GapAttribution | None = None) -> None:
        """Write the table of a solution, if there is to be one; or that of a candidate, beside the parts of its gap."""
        from ufm_convex._files import write_atomically
        from ufm_convex._tables import encoded

        if self.table is None:
            return
        of_candidate = None if candidate is None else candidate_columns(solution.problem, candidate, explained)
        write_atomically(self.table, encoded(of_candidate or solution.per_class(), self.table))


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

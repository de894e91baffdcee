"""Solutions of contrastive problems, as one JSON object and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ufm_convex.cli import record, render

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from ufm_convex.contrastive import ContrastiveProblem, ContrastiveSolution


def solution_record(solution: ContrastiveSolution) -> dict[str, Any]:
    """The fields of ``solve --json``: those of the other kind that make sense here, and which model it is."""
    run = solution.run
    return {
        "model": solution.problem.MODEL,
        **record.outcome(solution),
        "collapsed_classes": list(solution.collapsed_classes),
        **record.evidence(solution),
        "solver_claim": {"status": str(run.claim), "message": run.message, "value": record.finite(run.value)},
        "route": list(solution.route),
    }


def show(solution: ContrastiveSolution) -> None:
    """Print the solution on stdout."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    lines = render.outcome(solution, ("collapsed classes", render.listed(solution.collapsed_classes)))
    lines[1:1] = render.claimed(solution)
    parts: tuple[RenderableType, ...] = (
        _headline(solution.problem),
        _count_table(solution),
        render.summary(lines, solution.route),
    )
    for part in parts:
        console.print(part)


def _headline(problem: ContrastiveProblem) -> str:
    limit = f"‖h‖² ≤ {problem.bound:g}" if problem.bound is not None else f"λ_H = {problem.lambda_h:g}"
    return (
        f"{problem.num_classes:,} classes, {problem.num_samples:,} samples, {limit}, temperature "
        f"{problem.temperature:g}\nsupervised contrastive loss, non-negative features"
    )


def _count_table(solution: ContrastiveSolution) -> Table:
    """One row a distinct count, the largest first; of many, both ends. "outside" is the dual number s of the count."""
    import numpy as np
    from rich import box
    from rich.table import Table

    groups = solution.problem.groups
    members = groups.members
    norms = np.bincount(members, solution.feature_norms) / groups.multiplicities
    outside = np.bincount(members, solution.dual.outside[solution.dual.groups.members]) / groups.multiplicities
    collapsed = np.bincount(members[list(solution.collapsed_classes)], minlength=groups.size)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("classes", "count", "‖h_i‖", "outside"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", no_wrap=True)
    texts = list(zip(render.aligned(norms.tolist()), render.aligned(outside.tolist()), strict=True))
    half = render.MOST_ROWS // 2
    shown = [g for g in reversed(range(groups.size)) if groups.size <= 2 * half or not half <= g < groups.size - half]
    for place, g in enumerate(shown):
        if place and shown[place - 1] - g > 1:
            table.add_row("…", f"{shown[place - 1] - g - 1:,} more")
        state = "collapsed" if collapsed[g] == groups.multiplicities[g] else "active"
        table.add_row(f"{groups.multiplicities[g]:,}", f"{groups.counts[g]:,}", *texts[g], state)
    return table

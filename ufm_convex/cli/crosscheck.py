"""``ufm-convex crosscheck``: every available solver on one problem, side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufm_convex.cli.command import command
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import ProblemOptions, Verbose, required_number
from ufm_convex.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ufm_convex.crosscheck import CrossCheckRow

_COLOURS = {"right": "green", "inaccurate": "yellow", "failed": "magenta", "wrong": "red", "overclaims": "red"}


@command(breakdown=ExitCode.NOT_REACHED)
def crosscheck(
    problem: ProblemOptions,
    solvers: Annotated[
        str | None, typer.Option(metavar="LIST", help="Names with commas; all that are installed if not given.")
    ] = None,
    tolerance: Annotated[str, typer.Option(metavar="NUMBER", help="Gap up to which an answer is right.")] = "1e-6",
    time_limit: Annotated[str, typer.Option(metavar="SECONDS", help="For each solver.")] = "60",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Check solvers against proved bounds of the optimum.

    Each runs in a process of its own; its words are not believed, its points are.

    Exit code: 0 if no solver is wrong or overclaims, 1 if one is, 2 for bad input.

    Examples:
        ufm-convex crosscheck --class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3
        ufm-convex crosscheck problem.toml --solvers clarabel,scs --json
    """
    with progress(verbose) as tell:
        instance = problem.problem()
        tell("loading the solvers")
        from ufm_convex.crosscheck import cross_check

        checked = cross_check(
            instance,
            None if solvers is None else [name.strip() for name in solvers.split(",")],
            tolerance=required_number("--tolerance", tolerance),
            time_limit=required_number("--time-limit", time_limit),
            progress=tell,
        )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "lower_bound": checked.lower,
                    "upper_bound": checked.upper,
                    "tolerance": checked.tolerance,
                    "rows": [_record(row) for row in checked.rows],
                },
                allow_nan=False,
            )
        )
    else:
        typer.echo(f"optimum proved in [{checked.lower!r}, {checked.upper!r}]")
        _show(checked.rows)
    return ExitCode.DONE if checked.passed else ExitCode.NOT_REACHED


def _record(row: CrossCheckRow) -> dict[str, Any]:
    """The row for JSON: no NaN and no infinity."""
    from ufm_convex.cli.record import finite

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        return finite(value) if isinstance(value, float) else value

    record: dict[str, Any] = plain(asdict(row))
    return record


def _show(rows: Sequence[CrossCheckRow]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("solver", "claims", "value", "gap", "dual viol.", "verdict", "reason"):
        table.add_column(name)
    for row in rows:
        cells = [_cell(row.value, ".8g"), _cell(row.certified_gap, ".1e"), _cell(row.dual_violation, ".1e")]
        colour = _COLOURS[row.verdict]
        table.add_row(
            row.solver, row.status_claimed, *cells, f"[{colour}]{row.verdict}[/]", row.reason.replace("[", r"\[")
        )
    Console(highlight=False).print(table)


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)

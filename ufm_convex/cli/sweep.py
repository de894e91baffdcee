"""``ufm-convex sweep``: a phase diagram, solved in parallel, resumable."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ufm_convex.cli.command import command
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import MethodOptions, OutputOptions, Verbose, check_output
from ufm_convex.cli.progress import progress
from ufm_convex.cli.values import whole_number

if TYPE_CHECKING:
    from ufm_convex.sweep import Grid

_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class GridOptions:
    """Which problems."""

    decays: Annotated[
        str, typer.Option(metavar="LIST|LOW:HIGH:COUNT", help="Decays, for the classifier and for the features.")
    ] = "1e-4:1e-1:20"
    imbalances: Annotated[
        str, typer.Option(metavar="LIST|LOW:HIGH:COUNT", help="Ratios of the largest count to the smallest.")
    ] = "1:1000:20"
    classes: Annotated[str, typer.Option(metavar="LIST", help="Numbers of classes.")] = "10"
    loss: Annotated[str, typer.Option(metavar="LIST", help="Names of losses.")] = "cross-entropy"
    max_count: Annotated[str, typer.Option(metavar="N", help="Samples of the largest class.")] = "1000"
    profile: Annotated[str, typer.Option(metavar="NAME", help="Profile of the counts: exponential, step.")] = (
        "exponential"
    )
    features: Annotated[str, typer.Option(metavar="WORD", help="nonnegative or free.")] = "nonnegative"

    def grid(self) -> Grid:
        """The grid that the options describe; raises as ``Grid`` and ``values_of``."""
        from ufm_convex.sweep import Grid, values_of

        return Grid(
            values_of(self.decays, "--decays"),
            values_of(self.imbalances, "--imbalances"),
            [whole_number(f"entry {k} of --classes", cell) or 0 for k, cell in enumerate(self.classes.split(","))],
            tuple(name.strip() for name in self.loss.split(",")),
            max_count=whole_number("--max-count", self.max_count) or 0,
            profile=self.profile,
            features=self.features,  # type: ignore[arg-type]  # judged by Problem
        )


@command(breakdown=ExitCode.NOT_REACHED)
def sweep(
    grid: GridOptions,
    method: MethodOptions,
    output: OutputOptions,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="PROBLEM.TOML", help="Not taken: a sweep makes its problems of the options below."),
    ] = None,
    workers: Annotated[str, typer.Option(metavar="N", help="Processes; -1 for all cores.")] = "1",
    plot: Annotated[bool, typer.Option("--plot", help="Draw the phase diagram beside the table, as .png.")] = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Solve a grid of problems and draw where classes collapse.

    -o NAME.parquet or -o NAME.csv writes both tables (NAME.parquet and NAME.csv); NAME.journal.jsonl keeps each point
    as it is finished, and the same command takes up where an interrupted one was left. Needs the extra sweep.

    Exit code: 0 if every point is certified within the tolerance, 1 if one is not, 2 for bad input.

    Examples:
        ufm-convex sweep --decays 1e-4:1e-1:40 --imbalances 1:1000:25 --workers 2 --plot -o phase.parquet
    """
    if file is not None:
        _refuse_file(file)
    target = _target(output)
    from ufm_convex import sweep as room

    points = grid.grid()
    _check_outputs(target, plot)
    if plot:
        room.check_panels(len(set(points.losses)) * len(set(points.classes)))
        _check_drawable(points)
    with progress(verbose) as tell:
        rows = room.sweep(
            points,
            target.with_suffix(".journal.jsonl"),
            workers=whole_number("--workers", workers) or 0,
            isolate=True,
            progress=lambda done, total: tell(f"{done:,} of {total:,} points"),
            **method.arguments(),
        )
    room.write_csv(rows, target.with_suffix(".csv"))
    room.write_parquet(rows, target.with_suffix(".parquet"))
    if plot:
        from ufm_convex.plots import style

        style.save(room.phase_diagram(rows), target.with_suffix(".png"))
    counts = {status: sum(row["status"] == status for row in rows) for status in ("certified", "bounded", "failed")}
    if output.as_json:
        typer.echo(json.dumps({"points": len(rows), **counts, "table": str(target)}))
    else:
        typer.echo(f"{len(rows):,} points: " + ", ".join(f"{count:,} {status}" for status, count in counts.items()))
    return ExitCode.DONE if counts["certified"] == len(rows) else ExitCode.NOT_REACHED


def _refuse_file(file: Path) -> None:
    """Raise ``ProblemError`` for a problem in a file: by its kind, or because a grid makes problems of its own."""
    from ufm_convex.errors import ProblemError
    from ufm_convex.problem import require_problem
    from ufm_convex.solving import load_problem

    require_problem(load_problem(file), "a sweep over decays, imbalances and numbers of classes")
    raise ProblemError(
        f"the problem {file} is given, and a sweep makes its own.",
        expected="a grid: --decays, --imbalances, --classes, --loss, --max-count, --profile, --features",
        fix="describe the grid by these options, or solve the one problem: ufm-convex solve FILE.",
    )


def _check_outputs(target: Path, plot: bool) -> None:
    """Raise before the work what would be raised after it: a file cannot be written, a package is missing."""
    from ufm_convex import plots
    from ufm_convex.sweep import require_pyarrow

    require_pyarrow()
    if plot:
        plots.require()
    for suffix in (*_SUFFIXES, *((".png",) if plot else ())):
        check_output(target.with_suffix(suffix), "make the folder, or choose another path.")


def _check_drawable(points: Grid) -> None:
    """Raise ``ProblemError`` for free features: their classes merge, and none is without a feature."""
    from ufm_convex.errors import ProblemError

    if points.features == "free":
        raise ProblemError(
            "--plot is given with free features.",
            expected="nonnegative features, whose classes collapse to zero",
            fix="leave out --plot; the tables have the values.",
        )


def _target(output: OutputOptions) -> Path:
    """Where the table goes; ``FileFormatError`` unless it ends in .csv or .parquet, in a folder that exists."""
    from ufm_convex.errors import FileFormatError

    output.check()
    if output.output is None or output.output.suffix not in _SUFFIXES:
        raise FileFormatError(
            "no output is given." if output.output is None else f"{output.output} ends in neither .csv nor .parquet.",
            expected="-o NAME.parquet or -o NAME.csv",
            fix="add -o phase.parquet; both tables are written.",
        )
    return output.output

"""``ufm-convex sweep``: a phase diagram, solved in parallel, resumable."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ufm_convex.cli.command import command, refuse
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import MethodOptions, OutputOptions, ProblemOptions, Verbose, check_output
from ufm_convex.cli.progress import progress
from ufm_convex.cli.values import whole_number

if TYPE_CHECKING:
    from ufm_convex.problem import Problem
    from ufm_convex.sweep import DecayGrid, Grid

_SUFFIXES = (".csv", ".parquet")
_LOSS = "cross-entropy"


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
    loss: Annotated[str, typer.Option(metavar="LIST", help="Names of losses.")] = _LOSS
    max_count: Annotated[str, typer.Option(metavar="N", help="Samples of the largest class.")] = "1000"
    profile: Annotated[str, typer.Option(metavar="NAME", help="Profile of the counts: exponential, step.")] = (
        "exponential"
    )
    features: Annotated[str, typer.Option(metavar="WORD", help="nonnegative or free.")] = "nonnegative"
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="PROBLEM.TOML", help="Instead: this problem, with each of the decays in place of its own."
        ),
    ] = None
    class_counts: Annotated[
        str | None,
        typer.Option(metavar="LIST|FILE.CSV", help="Instead of a profile: samples in each column of --targets."),
    ] = None
    targets: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table of targets, with --class-counts; as for solve.")
    ] = None

    def grid(self) -> Grid | DecayGrid:
        """The grid that the options describe; raises as ``Grid``, ``DecayGrid``, ``Problem`` and ``values_of``."""
        from ufm_convex.sweep import DecayGrid, Grid, values_of

        base = self._base()
        if base is not None:
            return DecayGrid(base, values_of(self.decays, "--decays"))
        return Grid(
            values_of(self.decays, "--decays"),
            values_of(self.imbalances, "--imbalances"),
            [whole_number(f"entry {k} of --classes", cell) or 0 for k, cell in enumerate(self.classes.split(","))],
            tuple(name.strip() for name in self.loss.split(",")),
            max_count=whole_number("--max-count", self.max_count) or 0,
            profile=self.profile,
            features=self.features,  # type: ignore[arg-type]  # judged by Problem
        )

    def _base(self) -> Problem | None:
        """The one problem whose decays vary; None for a grid of profiles."""
        given = {"the problem of a file": self.file, "a table of targets": self.targets or self.class_counts}
        words = next((name for name, value in given.items() if value is not None), None)
        if words is None:
            return None
        options = "imbalances", "classes", "max_count", "profile"
        others = "loss", "features", "class_counts", "targets"
        refuse(words, options if self.file is None else (*options, *others), "decays, and one problem")
        if self.file is not None:
            return ProblemOptions(file=self.file).plain_problem("a sweep over decays")
        loss = None if self.loss == _LOSS else self.loss
        counts, unit = self.class_counts, "1"  # decays are those of the sweep
        asked = ProblemOptions(class_counts=counts, targets=self.targets, loss=loss, features=self.features,
                               lambda_w=unit, lambda_h=unit)  # fmt: skip
        return asked.plain_problem("a sweep over decays")


@command(breakdown=ExitCode.NOT_REACHED)
def sweep(
    grid: GridOptions,
    method: MethodOptions,
    output: OutputOptions,
    workers: Annotated[str, typer.Option(metavar="N", help="Processes; -1 for all cores.")] = "1",
    plot: Annotated[bool, typer.Option("--plot", help="Draw the phase diagram beside the table, as .png.")] = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Solve a grid of problems and draw where classes collapse, or one problem over its decays.

    -o NAME.parquet or -o NAME.csv writes both tables (NAME.parquet and NAME.csv); NAME.journal.jsonl keeps each point
    as it is finished, and the same command takes up where an interrupted one was left. Needs the extra sweep.

    Exit code: 0 if every point is certified within the tolerance, 1 if one is not, 2 for bad input.

    Examples:
        ufm-convex sweep --decays 1e-4:1e-1:40 --imbalances 1:1000:25 --workers 2 --plot -o phase.parquet
        ufm-convex sweep --class-counts 5,4,3,2 --targets targets.csv --decays 1e-4:1e-2:9 -o decays.csv
    """
    target = _target(output)
    from ufm_convex import sweep as room

    points = grid.grid()
    _check_outputs(target, plot)
    if plot:
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


def _check_outputs(target: Path, plot: bool) -> None:
    """Raise before the work what would be raised after it: a file cannot be written, a package is missing."""
    from ufm_convex import plots
    from ufm_convex.sweep import require_pyarrow

    require_pyarrow()
    if plot:
        plots.require()
    for suffix in (*_SUFFIXES, *((".png",) if plot else ())):
        check_output(target.with_suffix(suffix), "make the folder, or choose another path.")


def _check_drawable(points: Grid | DecayGrid) -> None:
    """Raise unless there is a diagram: of imbalances, too, and of few panels.

    ``ProblemError`` for free features: their classes merge, and none is without a feature.
    """
    from ufm_convex import sweep as room
    from ufm_convex.errors import ProblemError

    if isinstance(points, room.DecayGrid):
        raise ProblemError(
            "--plot is given with one problem.",
            expected="a grid of decays and imbalances, over which the diagram is drawn",
            fix="leave out --plot; the tables have the values.",
        )
    room.check_panels(len(set(points.losses)) * len(set(points.classes)))
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

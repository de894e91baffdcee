"""``ufm-convex export``: the relaxation in Conic Benchmark Format, for solvers that read files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ufm_convex.cli.command import command
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import OutputOptions, ProblemOptions
from ufm_convex.cli.output import complain


@command(breakdown=ExitCode.BAD_INPUT)
def export(
    problem: ProblemOptions,
    level: Annotated[
        str, typer.Option(metavar="NAME", help="Level of the variables: sample, class or group.")
    ] = "class",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.CBF", help="Write here instead of to stdout.")
    ] = None,
) -> ExitCode:
    """Write the relaxation in Conic Benchmark Format, version 3.

    Exit code: 0 if it was written, 2 for bad input.

    Examples:
        ufm-convex export --class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3 -o problem.cbf
        ufm-convex export problem.toml --level group
    """
    OutputOptions(output).check()
    instance = problem.plain_problem("a programme in Conic Benchmark Format")
    from ufm_convex.interchange import export_cbf, save_cbf

    if instance.feature_dim is not None:
        complain(f"not used: feature_dim = {instance.feature_dim}, which is no part of the relaxation.")
    if output is None:
        typer.echo(export_cbf(instance, level), nl=False)
    else:
        save_cbf(output, instance, level)
    return ExitCode.DONE

"""``ufm-convex solve``: from class counts to the optimum, with proved bounds."""

from __future__ import annotations

import typer

from ufm_convex.cli.command import command
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import MethodOptions, OutputOptions, ProblemOptions, Verbose
from ufm_convex.cli.progress import progress
from ufm_convex.cli.tables import TableOptions
from ufm_convex.cli.views import as_json, show


@command(breakdown=ExitCode.NOT_REACHED)
def solve(
    problem: ProblemOptions,
    method: MethodOptions,
    output: OutputOptions,
    table: TableOptions,
    verbose: Verbose = False,
) -> ExitCode:
    """Find the global optimum, with proved bounds.

    A convex relaxation is solved, and a lower and an upper bound of the optimum are proved from its solution. A file
    that says model = "contrastive" is a problem of supervised contrastive learning.

    With --time-limit the best proved bounds at the limit are the result, and the route says so.

    Exit code: 0 if the relative gap is within the tolerance, 1 if it is not, 2 for bad input.

    Examples:
        ufm-convex solve --class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3
        ufm-convex solve problem.toml --solver scs --json -o certificate.json
        ufm-convex solve problem.toml --time-limit 60 --table classes.csv
    """
    output.check()
    table.check()
    with progress(verbose) as tell:
        instance = problem.problem()
        if output.output is not None:
            from ufm_convex.certificate import require_certifiable

            require_certifiable(instance)  # before the work, not after it
        tell("loading the solvers")
        from ufm_convex import solving
        from ufm_convex.solution import Status

        solution = solving.solve(instance, **method.arguments(), progress=tell)
    try:
        table.write(solution)
        if output.output is not None:
            from ufm_convex.certificate import certify

            certify(instance, solution=solution, tolerance=solution.tolerance).save(output.output)
    finally:  # if the writing fails, a long solve is not lost
        if output.as_json:
            typer.echo(as_json(solution))
        else:
            show(solution)
    return ExitCode.DONE if solution.status is Status.CERTIFIED else ExitCode.NOT_REACHED

"""``ufm-convex report``: a trained network's last layer on one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufm_convex.cli.certify import certificate_record
from ufm_convex.cli.command import command
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.judged import effective_problem, sort_out, states_decays
from ufm_convex.cli.options import CandidateOptions, ProblemOptions, Verbose, check_output, say_zero_bias
from ufm_convex.cli.progress import progress
from ufm_convex.cli.record import decays_record
from ufm_convex.cli.tables import TableOptions
from ufm_convex.cli.values import required_number

if TYPE_CHECKING:
    from ufm_convex.candidate import Candidate
    from ufm_convex.measures import EffectiveDecays
    from ufm_convex.networks.report import NetworkReport
    from ufm_convex.problem import Problem


@command(breakdown=ExitCode.NOT_REACHED)
def report(
    problem: ProblemOptions,
    reading: CandidateOptions,
    table: TableOptions,
    second: Annotated[
        Path | None,
        typer.Argument(
            metavar="CANDIDATE", help="Weights, features, labels or class_counts: .npz, .pt, .safetensors, .mat."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page here, one file with its figures inside.")
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the classes, one a line, in their order.")
    ] = None,
    tolerance: Annotated[str, typer.Option(metavar="NUMBER", help="Relative gap to prove, in (0, 1).")] = "1e-6",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a page.")] = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Say on one page what a network's last layer is worth, and why.

    Does the model apply, with which decays, how far is the layer from the optimum (proved), which part of that is due
    to what, which classes are dead or share coordinates, what to do. With --lambda-w and --lambda-h, or a problem, it
    is judged by these; a decay that is not given is the effective one (docs/decays.md), and the page says so.

    Exit code: 0 optimal within the tolerance, 1 suboptimal, infeasible or undecided, 2 for bad input.

    Examples:
        ufm-convex report trained.npz --html report.html
        ufm-convex report trained.npz --lambda-w 5e-4 --lambda-h 5e-4 --json --table classes.csv
    """
    table.check()
    if html is not None:
        check_output(html, "make the folder, or choose another path.")
        from ufm_convex import plots

        plots.require()
    options, path = sort_out(problem, second)
    names = _names(class_names)
    with progress(verbose) as tell:
        tell("reading")
        candidate = reading.load(path)
        if candidate is None:
            raise _nothing()
        from ufm_convex.certificate import Judgement
        from ufm_convex.networks.report import report_on

        asked, fitted = _asked(options, candidate, tell)
        say_zero_bias(path, candidate, asked)
        tell("judging")
        gap = required_number("--tolerance", tolerance)
        found = report_on(candidate, asked, decays=fitted, class_names=names, tolerance=gap)
        if html is not None:
            _write(found, html, path)
        table.write(found.solution, candidate, found.attribution)
    typer.echo(json.dumps(_record(found), allow_nan=False) if as_json else str(found))
    return ExitCode.DONE if found.certificate.verdict is Judgement.OPTIMAL else ExitCode.NOT_REACHED


def _asked(
    options: ProblemOptions, candidate: Candidate, tell: Callable[[str], object]
) -> tuple[Problem, EffectiveDecays | None]:
    """The problem that the options describe, the decays that they leave open to be those of the candidate."""
    if states_decays(options):
        return options.plain_problem("a report on W and features", candidate), None
    return effective_problem(options, candidate, tell, sign=True)


def _names(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    from ufm_convex._files import read_text

    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def _nothing() -> Exception:
    from ufm_convex.errors import ProblemError

    return ProblemError(
        "no candidate is given.",
        expected="a file with weights, features, and labels or class_counts",
        fix="ufm-convex report trained.npz",
    )


def _write(found: NetworkReport, target: Path, source: Path | None) -> None:
    from ufm_convex._files import write_atomically
    from ufm_convex.networks.page import html

    write_atomically(target, html(found, title=f"Last layer of {source.stem if source else 'a network'}"))


def _record(found: NetworkReport) -> dict[str, Any]:
    """The object of ``certify --json``, and what a report adds."""
    decays = found.decays
    return {
        **certificate_record(found.solution, found.certificate, found.attribution),
        "decays": None if decays is None else decays_record(decays),
        "applies": found.applies,
        "why": found.why,
        "dead_classes": list(found.dead_classes),
        "shared_coordinates": [list(group) for group in found.shared_coordinates],
        "advice": found.advice(),
    }

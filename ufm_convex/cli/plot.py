"""``ufm-convex plot``: figures of a problem's optimum, of a certificate's problem, or of a candidate."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ufm_convex.cli.command import command, names_of, refuse
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import CandidateOptions, MethodOptions, ProblemOptions, Verbose, check_output, say_zero_bias
from ufm_convex.cli.progress import progress

if TYPE_CHECKING:
    from ufm_convex.candidate import Candidate
    from ufm_convex.problem import Problem


@command(breakdown=ExitCode.BAD_INPUT)
def plot(
    problem: ProblemOptions,
    method: MethodOptions,
    reading: CandidateOptions,
    second: Annotated[
        Path | None,
        typer.Argument(metavar="CANDIDATE|CERT.JSON", help="A candidate, or a certificate to take the problem of."),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="attribution, gram, norms or phase; by default attribution or norms."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to: .png, .svg or .pdf.")
    ] = None,
    width: Annotated[
        str, typer.Option(metavar="WORD", help="column (3.3 in, 84 mm) or page (6.9 in, 174 mm).")
    ] = "column",
    verbose: Verbose = False,
) -> ExitCode:
    """Draw the optimum, or a candidate beside it.

    attribution: why a candidate is not optimal. gram: Gram matrices beside theory's. norms: norms and margin against
    class count. phase: what collapses, over weight decay and imbalance. A certificate gives its problem; what it
    claims is not checked. Needs matplotlib: pip install matplotlib.

    Exit code: 0 when the figure is written, 2 for bad input.

    Examples:
        ufm-convex plot --class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3 -o norms.pdf
        ufm-convex plot trained.npz --lambda-w 5e-4 --lambda-h 5e-4 -o gap.png
        ufm-convex plot problem.toml --figure phase -o phase.svg --width page
    """
    target = _target(output)
    options, candidate_path, certificate_path = _sort_out(problem, second)
    from ufm_convex import plots

    plots.check_suffix(target)
    plots.width_in_inches(width)  # like the suffix, refused before the work
    plots.require()
    chosen = plots.plot(figure or ("norms" if candidate_path is None else "attribution"))
    solved = candidate_path is None and chosen.source is plots.Source.GEOMETRY
    if not solved:
        _refuse_method(chosen.name, candidate_path)
    with progress(verbose) as tell:
        tell("reading")
        candidate = reading.load(candidate_path)
        instance = _instance(options, candidate, certificate_path)
        instance.require_decays("a figure")
        say_zero_bias(candidate_path, candidate, instance)
        chosen.check_size(instance.num_classes)
        solution = None
        if solved:
            from ufm_convex import solving

            solution = solving.solve(instance, **method.arguments(), progress=tell)
        tell("drawing")
        drawn = plots.draw(chosen.name, instance, solution=solution, candidate=candidate, width=width)
        plots.save(drawn, target)
    return ExitCode.DONE


def _refuse_method(name: str, candidate: Path | None) -> None:
    """Raise for options of a method where nothing is solved."""
    words = f"the figure {name}" + ("" if candidate is None else f" of {candidate}")
    refuse(words, names_of(MethodOptions), "options of a method where a problem is solved for its figure")


def _target(output: Path | None) -> Path:
    """Where the figure goes, checked before the work."""
    if output is None:
        from ufm_convex.errors import FileFormatError

        raise FileFormatError(
            "no output is given.", expected="a file that ends in .png, .svg or .pdf", fix="add -o figure.png"
        )
    check_output(output, "make the folder, or choose another path.")
    return output


def _sort_out(problem: ProblemOptions, second: Path | None) -> tuple[ProblemOptions, Path | None, Path | None]:
    """The problem, the candidate and the certificate, told apart by their suffixes."""
    from ufm_convex.errors import ProblemError

    given: dict[str, list[Path]] = {"problem": [], "certificate": [], "candidate": []}
    for path in (problem.file, second):
        if path is not None:
            kinds = {".toml": "problem", ".json": "certificate"}
            given[kinds.get(path.suffix.lower(), "candidate")].append(path)
    twice = next((kind for kind, paths in given.items() if len(paths) > 1), None)
    if twice is not None or (given["certificate"] and given["problem"]):
        raise ProblemError(
            f"two {twice}s are given." if twice else "a problem and a certificate are given, which has its own.",
            expected="a problem (.toml) or a certificate (.json), and at most one candidate",
            fix="leave one out.",
        )
    toml, certificate, candidate = (paths[0] if paths else None for paths in given.values())
    return dataclasses.replace(problem, file=toml), candidate, certificate


def _instance(options: ProblemOptions, candidate: Candidate | None, certificate: Path | None) -> Problem:
    """The certificate's problem as it stands, or the one that the options describe."""
    if certificate is None:
        return options.plain_problem("a figure", candidate)
    from ufm_convex.certificate import Certificate

    described = [name for name in names_of(ProblemOptions) if name != "file"]
    refuse(str(certificate), described, "options that describe a problem, or a certificate, which has its own")
    return Certificate.load(certificate).problem

"""``ufm-convex certify``: a certificate of the optimum, or of how far somebody's W and features are from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ufm_convex.cli.command import command, refuse
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.judged import WITH_CANDIDATE, effective_problem, sort_out
from ufm_convex.cli.options import (
    CandidateOptions,
    MethodOptions,
    OutputOptions,
    ProblemOptions,
    Verbose,
    say_zero_bias,
)
from ufm_convex.cli.progress import progress
from ufm_convex.cli.record import decays_record, finite
from ufm_convex.cli.render import show_judgement
from ufm_convex.cli.tables import TableOptions
from ufm_convex.cli.values import whole_number
from ufm_convex.cli.views import show, solution_record

if TYPE_CHECKING:
    from ufm_convex.attribution import GapAttribution
    from ufm_convex.candidate import Candidate
    from ufm_convex.certificate import Certificate
    from ufm_convex.measures import EffectiveDecays
    from ufm_convex.problem import Model, Problem
    from ufm_convex.solution import Solution


@command(breakdown=ExitCode.NOT_REACHED)
def certify(
    problem: ProblemOptions,
    method: MethodOptions,
    reading: CandidateOptions,
    output: OutputOptions,
    table: TableOptions,
    second: Annotated[
        Path | None,
        typer.Argument(
            metavar="CANDIDATE",
            help="Weights, features, labels or class_counts, bias: .npz, .pt, .safetensors, .mat.",
        ),
    ] = None,
    digits: Annotated[
        str | None, typer.Option(metavar="DIGITS", help="Enclose the optimum to so many digits, by the closed form.")
    ] = None,
    recheck: Annotated[
        bool,
        typer.Option(
            "--recheck", help="Let the verifier read a large candidate's arrays, too: a second pass over them."
        ),
    ] = False,
    decays: Annotated[
        str | None, typer.Option(metavar="effective", help="Take the decays that the candidate itself fits best.")
    ] = None,
    verbose: Verbose = False,
) -> ExitCode:
    """Prove the optimum, or how far a candidate is from it.

    Without a candidate the optimum is enclosed. With one, its objective is enclosed and its gap bounded, proved from
    both sides; its class counts are counted from its labels. Nothing is said before the independent verifier has
    accepted the certificate; -o writes it for ufm-convex verify. --decays effective judges a candidate by the decays
    for which it is nearest to being stationary (with --lambda-w by this one for W), and says how well they fit.

    Exit code: 0 optimal within the tolerance, 1 suboptimal, infeasible or undecided, 2 for bad input.

    Examples:
        ufm-convex certify trained.npz --lambda-w 5e-4 --lambda-h 5e-4 -o c.json
        ufm-convex certify --class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3 --digits 50
    """
    output.check()
    table.check()
    wanted = whole_number("--digits", digits)
    if wanted is not None:
        refuse("--digits", ["solver", "level"], "the closed form, which digits come from whatever a solver says")
    problem, path = sort_out(problem, second)
    _check_decays(problem, path, decays)
    with progress(verbose) as tell:
        tell("reading")
        if path is not None:
            problem.require_plain(WITH_CANDIDATE)
        candidate = reading.load(path)
        instance, fitted = _instance(problem, candidate, decays, tell)
        say_zero_bias(path, candidate, instance)
        file = {"-o": output.output, "--digits": digits, "--recheck": recheck or None}
        if _is_written(instance, [name for name, value in file.items() if value is not None]):
            solution, proved = _certified(instance, candidate, method, wanted, recheck, tell)
        else:
            solution, proved = _judged(instance, candidate, method, tell)
        tell("explaining the gap")
        explained = _attribution(instance, candidate, proved, solution)
    if output.output is not None:
        proved.save(output.output)
    table.write(solution, candidate, explained)
    shown = candidate, solution, fitted, proved, explained, wanted
    (_print if output.as_json else _show)(*shown)
    return ExitCode.DONE if str(proved.verdict) == "optimal" else ExitCode.NOT_REACHED


def _certified(
    problem: Model,
    candidate: Candidate | None,
    method: MethodOptions,
    digits: int | None,
    recheck: bool,
    tell: Callable[[str], None],
) -> tuple[Any, Any]:
    """The optimum and the certificate; what can be refused is refused before the work, not after it."""
    from ufm_convex import certificate, solving

    certificate.require_certifiable(problem, candidate, recheck=recheck)
    settings = method.arguments()
    solve = partial(solving.solve, problem, progress=tell, **settings)
    solution = solve() if digits is None else None
    proved = certificate.certify(
        problem,
        candidate,
        solution=solution,
        tolerance=settings["tolerance"],
        digits=digits,
        recheck=recheck,
        progress=tell,
    )
    return solution or solve(), proved


def _is_written(problem: Model, asked: list[str]) -> bool:
    """Whether a file carries the problem; where none does, raises ``HypothesisError`` for options about one."""
    from ufm_convex import certificate
    from ufm_convex.problem import Problem

    if not isinstance(problem, Problem) or certificate.is_written(problem):
        return True
    if asked:
        certificate.require_encodable(problem)
    return False


def _judged(
    problem: Any, candidate: Candidate | None, method: MethodOptions, tell: Callable[[str], None]
) -> tuple[Any, Any]:
    """The same bounds of a problem that no file carries."""
    from ufm_convex import certificate, solving

    settings = method.arguments()
    solution = solving.solve(problem, progress=tell, **settings)
    tolerance = settings["tolerance"]
    return solution, certificate.judged(problem, candidate, solution=solution, tolerance=tolerance, progress=tell)


def _print(
    candidate: Candidate | None,
    solution: Any,
    fitted: EffectiveDecays | None,
    proved: Certificate,
    explained: GapAttribution | None,
    digits: int | None,
) -> None:
    """Print all of it as one object of JSON."""
    found = certificate_record(solution, proved, explained, digits=digits, judged=candidate is not None)
    typer.echo(json.dumps({**found, "decays": fitted and decays_record(fitted)}, allow_nan=False))


def _show(
    candidate: Candidate | None,
    solution: Any,
    fitted: EffectiveDecays | None,
    proved: Certificate,
    explained: GapAttribution | None,
    digits: int | None,
) -> None:
    """Print the optimum where it was asked for alone, the decays that were fitted, and what is proved."""
    if candidate is None:
        show(solution)
    if fitted is not None:
        typer.echo(f"effective decays  {fitted}")
    show_judgement(proved, explained, digits)


_OFFER = ", or --decays effective for those that the candidate fits best (docs/decays.md)"


def _check_decays(problem: ProblemOptions, path: Path | None, decays: str | None) -> None:
    """Raise unless effective decays are asked for by their word, of a candidate, for a problem that states no λ_H."""
    from ufm_convex.errors import ProblemError, UnknownNameError

    if decays is None:
        return
    if decays != "effective":
        raise UnknownNameError(
            f"--decays is {decays!r}.",
            expected="the word effective",
            fix="use --decays effective, or state numbers with --lambda-w and --lambda-h.",
        )
    stated = {"--lambda-h": problem.lambda_h, "--constraint": problem.constraint, str(problem.file): problem.file}
    given = [name for name, value in stated.items() if value is not None]
    if given or path is None:
        raise ProblemError(
            f"--decays effective is given {f'with {given[0]}' if given else 'without a candidate'}.",
            expected="effective decays of a candidate, or decays that are stated",
            fix=f"leave out --decays effective or {given[0]}." if given else "add the candidate's file.",
        )


def _instance(
    problem: ProblemOptions, candidate: Candidate | None, decays: str | None, tell: Callable[[str], object]
) -> tuple[Model, EffectiveDecays | None]:
    """The problem, with a candidate a ``Problem``; and the effective decays if they are asked for."""
    if candidate is None:
        return problem.problem(), None
    if decays is None:
        return problem.plain_problem(WITH_CANDIDATE, candidate, or_else=_OFFER), None
    return effective_problem(problem, candidate, tell, sign=False)


def _attribution(
    problem: Model, candidate: Candidate | None, proved: Certificate, solution: Any
) -> GapAttribution | None:
    """The parts of the gap of an admissible candidate: over the closed form, or the dual point of the solution."""
    if candidate is None or proved.violation is not None:
        return None
    from ufm_convex.attribution import explained
    from ufm_convex.errors import SizeError

    try:
        return explained(cast("Problem", problem), candidate, solution)
    except SizeError:  # too many pairs of classes: no attribution
        return None


def certificate_record(
    solution: Solution,
    proved: Certificate,
    explained: GapAttribution | None,
    *,
    digits: int | None = None,
    judged: bool = True,
) -> dict[str, Any]:
    """The object of ``certify --json``: that of ``solve --json``, the verdict, and the candidate's numbers if any."""
    found = {**solution_record(solution), **_optimum(proved, solution), **_record(proved, explained, digits)}
    return {**found, "candidate": _numbers(proved) if judged else None}


def _record(proved: Certificate, explained: GapAttribution | None, digits: int | None) -> dict[str, Any]:
    """What ``certify --json`` adds to the fields of ``solve --json``."""
    gap, violation = proved.candidate_gap, proved.violation
    lower, upper = (None, None) if digits is None else proved.decimals(digits)
    return {
        "verdict": str(proved.verdict),
        "candidate_value": _candidate_value(proved, explained),
        "candidate_gap": None if gap is None else {"lower": finite(gap[0]), "upper": finite(gap[1])},
        "violation": None if violation is None else dict(zip(("row", "column", "value"), violation, strict=True)),
        "attribution": None if explained is None else explained.totals,
        "dead_classes": None
        if explained is None
        else [{"class": dead.index, "cost": finite(dead.cost)} for dead in explained.dead_classes],
        "digits": None if digits is None else {"lower": lower, "upper": upper},
        "proof": proved.proof,
        "digest": proved.digest or None,
    }


def _optimum(proved: Certificate, solution: Solution) -> dict[str, Any]:
    """The fields of ``solve --json`` about the bounds of the optimum, which the certificate may have closer."""
    from ufm_convex.evidence import relative_gap

    low, high = proved.lower, proved.optimum_upper
    gap = relative_gap(low, high)
    status = "certified" if gap <= solution.tolerance else str(solution.status)
    return {"lower_bound": finite(low), "upper_bound": finite(high), "relative_gap": finite(gap), "status": status}


def _numbers(proved: Certificate) -> dict[str, float | None]:
    """The candidate's objective, and how far that is from the optimum; null where a feature is negative."""
    value, gap = proved.candidate_objective, proved.candidate_gap
    names = ("value_low", "value_high", "gap_low", "gap_high", "relative_gap")
    if value is None or gap is None:
        return dict.fromkeys(names)
    return dict(zip(names, map(finite, (*value, *gap, proved.relative_gap)), strict=True))


def _candidate_value(proved: Certificate, explained: GapAttribution | None) -> float | None:
    """The candidate's objective in floating point: with its parts, else the middle of its enclosure."""
    if explained is not None:
        return finite(explained.candidate_value)
    enclosure = proved.candidate_objective
    return None if enclosure is None else finite(0.5 * (enclosure[0] + enclosure[1]))

"""``ufm-convex crosscheck``: every available solver on one problem, side by side."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufm_convex.cli.command import command, refuse, take_only
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import ProblemOptions, Verbose
from ufm_convex.cli.progress import progress
from ufm_convex.cli.values import required_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ufm_convex.crosscheck import ConformanceCase, CrossCheck, CrossCheckRow, SolutionFile

_HEADINGS = ("its value", "its primal", "its dual", "gap")
_WIDTHS = (12, 12, 12, 7)
"""Columns of the numbers, the longest 1.234567e-05; with names up to _MOST and verdicts a line is 78 wide."""
_LEAST, _MOST = 6, 19
_NARROWEST = 40
_COLOURS = {"right": "green", "inaccurate": "yellow", "failed": "magenta", "wrong": "red", "overclaims": "red"}


@command(breakdown=ExitCode.NOT_REACHED)
def crosscheck(
    problem: ProblemOptions,
    solvers: Annotated[
        str | None, typer.Option(metavar="LIST", help="Names with commas; all that are installed if not given.")
    ] = None,
    solution: Annotated[
        Path | None,
        typer.Option(metavar="FILE.JSON", help="Judge this solution of an exported programme instead of solvers."),
    ] = None,
    level: Annotated[
        str | None, typer.Option(metavar="NAME", help="class (if not given), group or sample: what solvers are given.")
    ] = None,
    tolerance: Annotated[str, typer.Option(metavar="NUMBER", help="Gap up to which an answer is right.")] = "1e-6",
    time_limit: Annotated[str, typer.Option(metavar="SECONDS", help="For each solver.")] = "60",
    conformance: Annotated[
        bool, typer.Option("--conformance", help="Instead of one problem, all cases of the conformance suite.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Check solvers against proved bounds of the optimum.

    Each runs in a process of its own; its words are not believed, its points are.

    Exit code: 0 if no solver is wrong or overclaims, 1 if one is or nothing could be judged, 2 for bad input.

    Examples:
        ufm-convex crosscheck --class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3
        ufm-convex crosscheck problem.toml --solvers clarabel,scs --json
        ufm-convex crosscheck problem.toml --solution from_my_solver.json
    """
    names = None if solvers is None else [name.strip() for name in solvers.split(",")]
    limits = {
        "tolerance": required_number("--tolerance", tolerance),
        "time_limit": required_number("--time-limit", time_limit),
    }
    if conformance:
        known = ("conformance", "solvers", "tolerance", "time_limit", "as_json", "verbose")
        take_only("--conformance", known, "the problems and levels of the cases, and solvers that answer each of them")
    if solution is not None and names is None:
        refuse("--solution and no --solvers", ["level"], "the level that the solution file says")
    with progress(verbose) as tell:
        entrants: list[Any] | None = [*(names or []), *_file(solution)] or None
        checks = (
            _conformance(names, limits, tell)
            if conformance
            else _one(problem, entrants, level or "class", limits, tell)
        )
    if as_json:
        typer.echo(json.dumps(_json(checks, conformance), allow_nan=False))
    else:
        for name, checked in checks.items():
            typer.echo(f"{name}optimum proved in [{checked.lower!r}, {checked.upper!r}]")
            _show(checked.rows)
    return ExitCode.DONE if _passed(list(checks.values())) else ExitCode.NOT_REACHED


def _passed(checks: Sequence[CrossCheck]) -> bool:
    """No verdict is wrong or overclaims, and there is one: a case that no solver has a level for says nothing."""
    judged = [checked for checked in checks if checked.judged]
    return bool(judged) and all(checked.passed for checked in judged)


def _file(path: Path | None) -> list[SolutionFile]:
    """The solution file as a contestant."""
    if path is None:
        return []
    from ufm_convex.crosscheck import SolutionFile
    from ufm_convex.errors import FileFormatError

    if not path.is_file():
        raise FileFormatError(
            f"{path} is no file.", expected="a solution in JSON (docs/solution_files.md)", fix="check the path."
        )
    return [SolutionFile(path)]


def _one(
    problem: ProblemOptions, names: list[Any] | None, level: str, limits: dict[str, float], tell: Callable[[str], None]
) -> dict[str, CrossCheck]:
    instance = problem.plain_problem("a cross-check: solvers under test return W and H")
    tell("loading the solvers")
    from ufm_convex.crosscheck import cross_check

    return {"": cross_check(instance, names, level=level, **limits, progress=tell)}


def _conformance(
    names: list[str] | None, limits: dict[str, float], tell: Callable[[str], None]
) -> dict[str, CrossCheck]:
    tell("loading the solvers")
    from ufm_convex.crosscheck import conformance_cases, cross_check

    def checked(case: ConformanceCase) -> CrossCheck:
        tell(f"case {case.name}")
        return cross_check(case.problem, names, level=case.level, **limits, progress=tell)

    return {f"{case.name}: ": checked(case) for case in conformance_cases()}


def _json(checks: dict[str, CrossCheck], conformance: bool) -> dict[str, Any]:
    """One object; with --conformance each row names its case."""
    first = next(iter(checks.values()))
    rows = [
        _record(row) | ({"case": name.removesuffix(": ")} if conformance else {})
        for name, checked in checks.items()
        for row in checked.rows
    ]
    proof = {"lower_bound": first.lower, "upper_bound": first.upper, "reference_seconds": first.reference_seconds}
    bounds = {} if conformance else proof
    return {**bounds, "tolerance": first.tolerance, "rows": rows}


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
    """Two parts a solver: its numbers under their headings, 80 columns wide, and below them its claim and the reason.

    Nothing is ever cut off: a line that does not fit is the terminal's to wrap, and only the reason has many words.
    """
    widest = max([_LEAST, *(len(row.solver) for row in rows if len(row.solver) <= _MOST)])
    typer.echo("\n" + _line(widest, "solver", "verdict", _HEADINGS).rstrip())
    for row in rows:
        values = (row.value, row.solver_primal_value, row.solver_dual_value)
        numbers = [*(_cell(value, ".7g") for value in values), _cell(row.certified_gap, ".1e")]
        if len(row.solver) > _MOST:
            typer.echo(row.solver)
        name = row.solver if len(row.solver) <= _MOST else ""
        verdict = typer.style(f"{row.verdict:10}", fg=_COLOURS[row.verdict])
        typer.echo(_line(widest, name, verdict, numbers))
        for line in _reason(row):
            typer.echo(line)


def _line(widest: int, name: str, verdict: str, cells: Sequence[str]) -> str:
    return f"{name:{widest}}  {verdict:10} " + " ".join(
        f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)
    )


def _reason(row: CrossCheckRow) -> list[str]:
    """What it claims, its violations and why it has the verdict, in lines that break between words."""
    import shutil
    import textwrap

    words = [f"claims {row.status_claimed}"]
    violations = (("primal", row.primal_violation), ("dual", row.dual_violation))
    words += [f"{name} violation {value:.1e}" for name, value in violations if value is not None]
    if row.reason:
        words.append(row.reason)
    width = max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)
    return textwrap.wrap(
        "; ".join(words),
        width,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None or not math.isfinite(value) else format(value, form)

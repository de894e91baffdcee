"""``ufm-convex verify``: check a certificate, trusting no solver and nothing else of this package."""

from __future__ import annotations

import json
import math
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufm_convex.cli.command import command
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.output import complain

if TYPE_CHECKING:
    from ufm_convex.verifier import CandidateClaims, ClaimsStatement, VerificationResult


class VerifyExit(IntEnum):
    """Exit codes of ``verify``."""

    PROVED = 0
    REFUTED = 1
    MALFORMED = 2
    INCONCLUSIVE = 3


@command(breakdown=ExitCode.BAD_INPUT)
def verify(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE.JSON", help="The file to check.")],
    candidate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.NPZ", help="The candidate that it is to be about; needed if it knows only a digest."
        ),
    ] = None,
    problem: Annotated[
        Path | None, typer.Option(metavar="PROBLEM.TOML", help="The problem that it is to be about.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> IntEnum:
    """Check a certificate with the independent verifier, and say what it proves.

    A problem or a candidate that is given is compared with the certificate's, number by number: the step "asked".

    Exit code: 0 proved, 1 refuted, 2 malformed or unreadable, 3 inconclusive.

    Examples:
        ufm-convex verify c.json
        ufm-convex verify c.json --problem problem.toml --candidate trained.npz
    """
    from ufm_convex.verifier import MalformedCertificate
    from ufm_convex.verifying import verify as check

    try:
        result = check(certificate, candidate, problem)
    except MalformedCertificate as error:
        if as_json:
            nothing: dict[str, Any] = {"reason": str(error), "steps": [], "problem": None, "claims": None}
            typer.echo(json.dumps({"verdict": "MALFORMED", **nothing}))
        complain(f"malformed: {error}")
        return VerifyExit.MALFORMED
    typer.echo(_as_json(result) if as_json else _table(result))
    return VerifyExit[str(result.verdict)]


def _as_json(result: VerificationResult) -> str:
    steps = [{"name": step.name, "verdict": str(step.verdict), "detail": step.detail} for step in result.steps]
    record = {
        "verdict": str(result.verdict),
        "steps": steps,
        "problem": {"words": result.problem.words, "sha256": result.problem.sha256},
        "claims": _claims(result.claims),
        "reading_seconds": result.reading_seconds,
        "checking_seconds": result.checking_seconds,
    }
    return json.dumps(record, allow_nan=False)


def _claims(claims: ClaimsStatement) -> dict[str, Any]:
    """The claims; a bound beyond binary64 is null."""
    ends = {"lower": _finite(claims.lower), "upper": _finite(claims.upper), "tolerance": claims.tolerance}
    about = None if claims.candidate is None else _candidate(claims.candidate)
    return {**ends, "verdict": claims.verdict, "candidate": about}


def _candidate(claims: CandidateClaims) -> dict[str, Any]:
    intervals = {"objective": claims.objective, "gap": claims.gap}
    place = claims.violation
    return {
        "sha256": claims.sha256,
        **{
            name: pair and dict(zip(("lower", "upper"), map(_finite, pair), strict=True))
            for name, pair in intervals.items()
        },
        "violation": place and dict(zip(("row", "column", "value"), (*place[:2], _finite(place[2])), strict=True)),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _table(result: VerificationResult) -> str:
    """The problem, what is claimed of it, one line a step, then the verdict."""
    lines = [("problem", result.problem.words), ("", f"SHA-256 {result.problem.sha256}"), *_words(result.claims)]
    lines += [(step.name, f"{step.verdict}  {step.detail}".rstrip()) for step in result.steps]
    width = max(len(name) for name, _ in lines)
    seconds = result.reading_seconds + result.checking_seconds
    return "\n".join([*(f"{name:{width}}  {words}" for name, words in lines), f"{result.verdict} in {seconds:.2f} s"])


def _words(claims: ClaimsStatement) -> list[tuple[str, str]]:
    """What is claimed, in lines of a name and words."""
    within = f"tolerance {claims.tolerance!r}, verdict {claims.verdict}"
    lines = [("claims", f"{claims.lower!r} <= optimum <= {claims.upper!r}, {within}")]
    about = claims.candidate
    if about is None:
        return [*lines, ("candidate", "none: the certificate is about the optimum")]
    lines.append(("candidate", f"SHA-256 {about.sha256 or 'none: entries that are no binary64 numbers'}"))
    if about.objective is not None and about.gap is not None:
        lines.append(("", f"{about.objective[0]!r} <= objective <= {about.objective[1]!r}"))
        lines.append(("", f"{about.gap[0]!r} <= objective - optimum <= {about.gap[1]!r}"))
    if about.violation is not None:
        row, column, value = about.violation
        lines.append(("", f"features[{row}, {column}] = {value!r} is negative"))
    return lines

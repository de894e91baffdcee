"""``ufm-convex verify``: check a certificate, trusting no solver and nothing else of this package."""

from __future__ import annotations

import json
import math
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufm_convex.cli.command import command, refuse
from ufm_convex.cli.exits import parts
from ufm_convex.cli.options import CandidateOptions, check_output

if TYPE_CHECKING:
    from ufm_convex.cli.formal import Found
    from ufm_convex.verifier import (
        CandidateClaims,
        ClaimsStatement,
        MalformedCertificate,
        ProblemStatement,
        VerificationResult,
    )


class VerifyExit(IntEnum):
    """Exit codes of ``verify``."""

    PROVED = 0
    REFUTED = 1
    MALFORMED = 2
    INCONCLUSIVE = 3
    FAULT = 4
    """The verifier itself broke down: no verdict."""


@command(breakdown=VerifyExit.FAULT)
def verify(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE.JSON", help="The file to check.")],
    reading: CandidateOptions,
    candidate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The candidate that it is to be about; needed if it knows only a digest."),
    ] = None,
    problem: Annotated[
        Path | None, typer.Option(metavar="PROBLEM.TOML", help="The problem that it is to be about.")
    ] = None,
    formal: Annotated[bool, typer.Option("--formal", help="Have Coq prove both bounds, too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.v", help="With --formal: keep what Coq is given.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE.v", help="With --formal: the file that this certificate is to give.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, max=1e6, help="With --formal: what Coq may take; 300 if not given."),
    ] = None,
    memory_limit: Annotated[
        int | None,
        typer.Option(metavar="MIB", min=64, max=1 << 30, help="With --formal: what Coq may take; 4096 if not given."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> IntEnum:
    """Check a certificate with the independent verifier, and say what it proves.

    A problem or a candidate that is given is compared with the certificate's, number by number: the step "asked".
    With --formal the two bounds become theorems about every W and H, and Coq's kernel checks them (docs/formal.md).

    Exit code: 0 proved, 1 refuted, 2 malformed or unreadable, 3 inconclusive, 4 a fault of the verifier, no verdict.
    With --formal: 0 proved and compiled, 3 not compiled, or not the file given with --against.

    Examples:
        ufm-convex verify c.json
        ufm-convex verify c.json --problem problem.toml --candidate trained.npz
        ufm-convex verify bound.json --formal -o bound.v
    """
    from ufm_convex.cli.formal import attempt, read_text
    from ufm_convex.formal import read_once
    from ufm_convex.formal.running import MEMORY_LIMIT, TIME_LIMIT, require_limits
    from ufm_convex.verifier import MalformedCertificate
    from ufm_convex.verifier.__main__ import tell
    from ufm_convex.verifying import verify as check

    if not formal:
        refuse("verify without --formal", ["output", "against", "time_limit", "memory_limit"], "--formal beside it")
    limits = (time_limit or TIME_LIMIT, memory_limit or MEMORY_LIMIT)
    require_limits(*limits)
    if output is not None:
        check_output(output, "make the folder, or choose another path.")
    other = read_text(against)
    try:
        source = read_once(certificate) if formal else certificate
        result = check(source, reading.load(candidate), problem)
    except MalformedCertificate as error:
        lines = [_malformed(error)] if as_json else []
        tell([f"malformed: {error}"], VerifyExit.MALFORMED, sys.stderr)
        return VerifyExit(tell(lines, VerifyExit.MALFORMED, sys.stdout))
    code = VerifyExit[str(result.verdict)]
    found = attempt(source, output, other, limits, code is VerifyExit.PROVED) if formal else None
    if found is not None and not found.accepted and code is VerifyExit.PROVED:
        code = VerifyExit.INCONCLUSIVE
    lines = [_as_json(result, found)] if as_json else [*result.lines(), *(found.lines() if found else [])]
    return VerifyExit(tell(lines, code, sys.stdout))


def _malformed(error: MalformedCertificate) -> str:
    """No certificate: an error like any other, with a verdict of its own."""
    said: dict[str, Any] = {"verdict": "MALFORMED", "reason": str(error), "steps": [], "problem": None, "claims": None}
    from ufm_convex.errors import UFMError

    why = UFMError(
        f"{error}.", expected="a certificate (docs/certificate.md)", fix="check the path, or write it again with -o."
    )
    return json.dumps({**said, **parts(type(error).__name__, why)})


def _as_json(result: VerificationResult, found: Found | None) -> str:
    steps = [{"name": step.name, "verdict": str(step.verdict), "detail": step.detail} for step in result.steps]
    record = {
        "verdict": str(result.verdict),
        "steps": steps,
        "problem": _problem(result.problem),
        "claims": _claims(result.claims),
        "reading_seconds": result.reading_seconds,
        "checking_seconds": result.checking_seconds,
    }
    if found is not None:
        record["formal"] = found.record()
    return json.dumps(record, allow_nan=False)


def _problem(problem: ProblemStatement) -> dict[str, Any]:
    """The problem in words; of a table of targets its outputs, its columns and its floor."""
    said: dict[str, Any] = {"words": problem.words, "sha256": problem.sha256}
    if problem.num_outputs is None:
        return said
    return {**said, **{name: getattr(problem, name) for name in ("num_outputs", "num_columns", "floor")}}


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

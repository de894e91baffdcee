"""``ufm-convex verify``: check a certificate, trusting no solver and nothing else of this package."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufm_convex.cli.command import command

if TYPE_CHECKING:
    from ufm_convex.verifier import VerificationResult


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
    candidate: Annotated[
        Path | None,
        typer.Option(metavar="FILE.NPZ", help="The candidate, where the certificate knows it by SHA-256 only."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> IntEnum:
    """Check a certificate with the independent verifier.

    Exit code: 0 proved, 1 refuted, 2 malformed or unreadable, 3 inconclusive, 4 a fault of the verifier, no verdict.

    Examples:
        ufm-convex verify c.json
        ufm-convex verify c.json --candidate trained.npz
    """
    from ufm_convex.verifier import MalformedCertificate
    from ufm_convex.verifier import verify as check
    from ufm_convex.verifier.__main__ import tell

    arrays = None if candidate is None else _arrays(candidate)
    try:
        result = check(certificate, arrays)
    except MalformedCertificate as error:
        lines = [json.dumps({"verdict": "MALFORMED", "reason": str(error), "steps": []})] if as_json else []
        tell([f"malformed: {error}"], VerifyExit.MALFORMED, sys.stderr)
        return VerifyExit(tell(lines, VerifyExit.MALFORMED, sys.stdout))
    lines = [_as_json(result)] if as_json else _table(result)
    return VerifyExit(tell(lines, VerifyExit[str(result.verdict)], sys.stdout))


def _arrays(path: Path) -> dict[str, Any]:
    """The candidate's arrays, memory-mapped where they are large; the verifier reads them block by block."""
    from ufm_convex.candidate import Candidate

    candidate = Candidate.load(path)
    third = "labels" if candidate.level == "sample" else "class_counts"
    return {"weights": candidate.weights, "features": candidate.features, third: getattr(candidate, third)}


def _as_json(result: VerificationResult) -> str:
    steps = [{"name": step.name, "verdict": str(step.verdict), "detail": step.detail} for step in result.steps]
    times = {"reading_seconds": result.reading_seconds, "checking_seconds": result.checking_seconds}
    return json.dumps({"verdict": str(result.verdict), "steps": steps, **times}, allow_nan=False)


def _table(result: VerificationResult) -> list[str]:
    """One line a step, then the verdict."""
    width = max(len(step.name) for step in result.steps)
    lines = [f"{step.name:{width}}  {step.verdict}  {step.detail}".rstrip() for step in result.steps]
    seconds = result.reading_seconds + result.checking_seconds
    return [*lines, f"{result.verdict} in {seconds:.2f} s"]

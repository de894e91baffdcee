"""The verifier as a command: exit code 0 proved, 1 refuted, 2 malformed, 3 inconclusive."""

from __future__ import annotations

import sys

from . import MalformedCertificate, UnreadableInput, Verdict, verify


def main(arguments: list[str]) -> int:
    """Print the steps and the verdict."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m ufm_convex.verifier CERTIFICATE [CANDIDATE.npz]", file=sys.stderr)
        return 2
    try:
        result = verify(arguments[0], arguments[1] if len(arguments) == 2 else None)
    except MalformedCertificate as error:
        print(f"malformed: {error}")
        return 2
    except UnreadableInput as error:
        print(f"unreadable: {error}")
        return 2
    for step in result.steps:
        print(f"{step.verdict:12}  {step.name}{': ' if step.detail else ''}{step.detail}")
    print(result.verdict)
    return {Verdict.PROVED: 0, Verdict.REFUTED: 1, Verdict.INCONCLUSIVE: 3}[result.verdict]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

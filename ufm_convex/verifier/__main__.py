"""The verifier as a command; its exit code is the answer, and a fault of the verifier itself is none of the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TextIO

from . import MalformedCertificate, UnreadableInput, Verdict, verify

USAGE = """\
usage: python -m ufm_convex.verifier CERTIFICATE [CANDIDATE.npz]

Check a certificate (docs/certificate.md). CANDIDATE.npz holds the arrays of a candidate that the certificate knows by
its SHA-256: weights, features, and labels or class_counts.

exit code: 0 proved, 1 refuted, 2 malformed or unreadable, 3 inconclusive, 4 a fault of the verifier, no verdict"""

EXIT_CODES = {Verdict.PROVED: 0, Verdict.REFUTED: 1, Verdict.INCONCLUSIVE: 3}
MALFORMED, FAULT, INTERRUPTED = 2, 4, 130


class _Faults(AbstractContextManager["_Faults"]):
    """Whatever else ends a check is told as a fault: a traceback's exit code 1 would say that it was refuted."""

    code = FAULT

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Tell it, and go on; ``code`` is then the exit code."""
        if isinstance(error, KeyboardInterrupt):
            self.code = tell(["interrupted"], INTERRUPTED, sys.stderr)
        elif error is not None:
            what = f"{type(error).__name__}: {error}"
            self.code = tell([f"a fault of the verifier, no verdict: {what}"], FAULT, sys.stderr)
        return True


def main(arguments: list[str]) -> int:
    """Print what was found, and return the exit code."""
    if arguments in (["-h"], ["--help"]):
        return tell(USAGE.split("\n"), 0, sys.stdout)
    if not 1 <= len(arguments) <= 2 or any(argument.startswith("-") for argument in arguments):
        return tell(USAGE.split("\n"), MALFORMED, sys.stderr)
    with _Faults() as faults:
        try:
            result = verify(arguments[0], arguments[1] if len(arguments) == 2 else None)
        except MalformedCertificate as error:
            return tell([f"malformed: {error}"], MALFORMED, sys.stdout)
        except UnreadableInput as error:
            return tell([f"unreadable: {error}"], MALFORMED, sys.stdout)
        return tell(result.lines(), EXIT_CODES[result.verdict], sys.stdout)
    return faults.code


def tell(lines: Iterable[str], code: int, stream: TextIO | None) -> int:
    """Write lines in characters that the stream has; the code, or that of a fault where they cannot be written."""
    if stream is None:  # closed by whoever started the process
        return code
    encoding = stream.encoding or "ascii"
    try:
        for line in lines:
            shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
            stream.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is left is not tried again at exit
        return code if isinstance(error, BrokenPipeError) else FAULT  # a reader that went away has seen enough
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

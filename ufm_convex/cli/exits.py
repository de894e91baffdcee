"""Exit codes, and the one place where errors become messages.

A command that ends in an error prints three lines on stderr (what was got, what was expected, how to mend it) and
leaves with the code for it; with ``--json`` the one object on stdout has them as well, beside the result where there is
one. A traceback is shown only under ``PYTHONDEVMODE=1``.
"""

from __future__ import annotations

import errno
import json
import sys
import traceback
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from ufm_convex.cli.output import complain, held_output

if TYPE_CHECKING:
    from ufm_convex.errors import UFMError


class ExitCode(IntEnum):
    """What the shell sees."""

    DONE = 0
    """The question has the good answer: certified within the tolerance."""
    NOT_REACHED = 1
    """It ran, and the answer is another one, its solver died, or the verifier refused the certificate."""
    BAD_INPUT = 2
    """Bad input, a bad option, a file or stdout that cannot be read or written. Typer uses 2 for usage errors too."""
    INTERRUPTED = 130
    """Ctrl-C, by the convention of shells: 128 + SIGINT."""


class Boundary(AbstractContextManager[None]):
    """The outermost boundary of a command: whatever ends it leaves as a message and an exit code.

    Args:
        breakdown: Code for an error that the package did not raise on purpose, such as a fault inside a solver.
        as_json: Whether stdout is to be one object, that of an error too.
    """

    def __init__(self, breakdown: IntEnum, *, as_json: bool = False) -> None:
        self.breakdown = breakdown
        self.as_json = as_json

    def __enter__(self) -> None:
        """Hold back the object, to which an error may have to be added."""
        self.error: dict[str, str] = {}
        self.held = held_output(self._whole) if self.as_json else nullcontext()
        self.held.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Replace the error by ``typer.Exit``; only what already is an exit passes."""
        try:
            self._leave(error)
        finally:
            self.held.__exit__(None, None, None)

    def _leave(self, error: BaseException | None) -> None:
        if error is None or isinstance(error, (SystemExit, typer.Exit, typer.Abort)):
            return
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            return  # the reader of a pipe went away: Typer ends quietly
        if isinstance(error, KeyboardInterrupt):
            complain("Interrupted.")
            self.error = _interrupted()
            raise typer.Exit(ExitCode.INTERRUPTED)
        if callable(message := getattr(error, "format_message", None)):
            self.error = _misused(str(message()))
            return  # Typer shows the usage
        from ufm_convex.errors import CertificateError, SolverDiedError, UFMError

        if isinstance(error, OSError) and error.errno is not None:
            error = system_error(error)
        if isinstance(error, UFMError):
            complain(f"{type(error).__name__}: {error}")
            self.error = parts(type(error).__name__, error)
            ours = isinstance(error, (CertificateError, SolverDiedError))  # the input was none the worse
            raise typer.Exit(self.breakdown if ours else ExitCode.BAD_INPUT)
        self.error = parts(type(error).__name__, _fault(error))
        if sys.flags.dev_mode and self.breakdown == ExitCode.NOT_REACHED:
            return  # Python shows where, and leaves with the same code
        if sys.flags.dev_mode:
            traceback.print_exception(error)
        else:
            complain(f"{type(error).__name__}: {_fault(error)}")
        raise typer.Exit(self.breakdown)

    def _whole(self, printed: str) -> str:
        """What is printed in the end: with ``--json`` one object, of the result, of the error, or of both."""
        if not self.error:
            return printed
        return json.dumps({**(json.loads(printed) if printed.strip() else {}), **self.error}) + "\n"


def parts(name: str, error: UFMError) -> dict[str, str]:
    """An error in the fields that it has with ``--json``."""
    return {"error": name, "got": error.got, "expected": error.expected, "fix": error.fix}


def _interrupted() -> dict[str, str]:
    from ufm_convex.errors import UFMError

    return parts("Interrupted", UFMError("it was interrupted.", expected="time to finish", fix="run it again."))


def _misused(message: str) -> dict[str, str]:
    """An option or an argument that the command has not, as Typer words it."""
    from ufm_convex.errors import UFMError

    expected = "the options and arguments of the command"
    return parts("UsageError", UFMError(message, expected=expected, fix="see --help of the command."))


def system_error(error: OSError) -> UFMError:
    """What the operating system refused, in the three lines of every other error."""
    from ufm_convex.errors import FileFormatError

    return FileFormatError(
        f"{error.filename or 'the output'}: {error.strerror}.",
        expected="files that can be read, and an output that can be written",
        fix="check the path, the permissions and the space left.",
    )


def _fault(error: BaseException) -> UFMError:
    """An error that nobody meant to raise, likewise."""
    from ufm_convex.errors import UFMError

    reason = " ".join(str(error).split())[:300]
    return UFMError(
        f"{reason or 'no reason was given'}.",
        expected="a result, or an error that says what to mend",
        fix="give it more memory, or choose a smaller level."
        if isinstance(error, MemoryError)
        else "this is a fault of ufm-convex or of a solver; PYTHONDEVMODE=1 shows where, so that it can be reported.",
    )

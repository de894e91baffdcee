"""Exit codes, and the one place where errors become messages.

A command that ends in an error prints three lines on stderr (what was got, what was expected, how to mend it) and
leaves with the code for it; a traceback is shown only under ``PYTHONDEVMODE=1``.
"""

from __future__ import annotations

import errno
import sys
import traceback
from contextlib import AbstractContextManager
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from ufm_convex.cli.output import complain

if TYPE_CHECKING:
    from ufm_convex.errors import UFMError


class ExitCode(IntEnum):
    """What the shell sees."""

    DONE = 0
    """The question has the good answer: certified within the tolerance."""
    NOT_REACHED = 1
    """It ran, and the answer is another one, or its solver died."""
    BAD_INPUT = 2
    """Bad input, a bad option, a file or stdout that cannot be read or written. Typer uses 2 for usage errors too."""
    INTERRUPTED = 130
    """Ctrl-C, by the convention of shells: 128 + SIGINT."""


class Boundary(AbstractContextManager[None]):
    """The outermost boundary of a command: whatever ends it leaves as a message and an exit code.

    Args:
        breakdown: Code for an error that the package did not raise on purpose, such as a fault inside a solver.
    """

    def __init__(self, breakdown: IntEnum) -> None:
        self.breakdown = breakdown

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Replace the error by ``typer.Exit``; only what already is an exit passes."""
        if error is None or isinstance(error, (SystemExit, typer.Exit, typer.Abort)):
            return
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            return  # the reader of a pipe went away: Typer ends quietly
        if isinstance(error, KeyboardInterrupt):
            complain("Interrupted.")
            raise typer.Exit(ExitCode.INTERRUPTED)
        from ufm_convex.errors import SolverDiedError, UFMError

        if isinstance(error, OSError) and error.errno is not None:
            error = system_error(error)
        if isinstance(error, UFMError):
            complain(f"{type(error).__name__}: {error}")
            raise typer.Exit(self.breakdown if isinstance(error, SolverDiedError) else ExitCode.BAD_INPUT)
        if sys.flags.dev_mode and self.breakdown == ExitCode.NOT_REACHED:
            return  # Python shows where, and leaves with the same code
        if sys.flags.dev_mode:
            traceback.print_exception(error)
        else:
            complain(f"{type(error).__name__}: {_fault(error)}")
        raise typer.Exit(self.breakdown)


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

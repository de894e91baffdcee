"""What a command says: results on stdout, held back until it is done, and news on stderr, which end nothing.

A command whose files cannot be written prints its result all the same, and one whose result cannot be printed has
written its files: neither loses the other. Who closes stdout, or stops reading a pipe, has seen enough: the exit code
stays that of the result. An stdout that refuses, on a full disk say, is an output that cannot be written: exit code 2,
or 4 for ``verify``, where 2 is an answer.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer


class _Held(io.StringIO):
    """In the place of a stream; asked for letters or for a terminal, it answers for the stream."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        """That of the stream behind it."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream behind it is a terminal."""
        return self.stream is not None and bool(self.stream.isatty())


@contextmanager
def held_output(whole: Callable[[str], str] = str) -> Iterator[None]:
    """Hold back what is printed to stdout within the block; print it at the end, also that of an error.

    Args:
        whole: Takes all of it, and returns what is printed.

    Raises:
        OSError: stdout refuses.
    """
    stream, held = sys.stdout, _Held(sys.stdout)
    sys.stdout = held
    try:
        yield
    finally:
        sys.stdout = stream
        _print(stream, whole(held.getvalue()))


def _print(stream: Any, text: str) -> None:
    if stream is None or not text:
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _mute(stream)
        if error.errno not in (errno.EPIPE, errno.EBADF):  # who went away has seen enough
            raise OSError(error.errno, error.strerror, "stdout") from error


def complain(message: str) -> None:
    """Print on stderr; where that refuses, nobody hears it."""
    try:
        typer.echo(message, err=True)
    except OSError:
        _mute(sys.stderr)


def occupy_streams() -> None:
    """Give the numbers of streams that are closed to ``/dev/null``, before a file gets them and what is printed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def _mute(stream: Any) -> None:
    """Lead a stream that refuses to nowhere: the interpreter flushes it once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)

"""What a process of our own does: it settles as a child, answers requests, and speaks in messages.

Who starts and ends it is in ``_process``.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from ufm_convex.errors import ProcessError

_LENGTH = 8
"""Bytes of the number in front of every message."""
NEXT = b"."
"""The request for the next item."""


def settle(lifeline: int) -> IO[str]:
    """Begin a child: a session of its own, ended with its parent, and silent.

    Args:
        lifeline: Descriptor of the end for reading of a pipe whose end for writing nobody but the parent holds.

    Returns:
        A stream that goes nowhere, for whatever stands for ``sys.stdout``; the descriptors 1 and 2 go there already.
    """
    if hasattr(os, "setsid"):
        with suppress(PermissionError):  # it leads one already
            os.setsid()
    _tie(lifeline)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    return os.fdopen(silence, "w", encoding="utf-8")


def _tie(lifeline: int) -> None:
    """Have the system kill this process group as soon as the other end of the pipe is closed."""
    try:
        import fcntl

        os.set_inheritable(lifeline, False)  # what the child starts is in its group, and needs no line of its own
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        if hasattr(fcntl, "F_SETSIG"):
            fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)  # elsewhere SIGIO, which ends whoever has no handler
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    except (ImportError, AttributeError):  # a system without such signals
        return
    with suppress(BlockingIOError):
        if os.read(lifeline, 1) == b"":  # it was closed before the system knew what to do
            os._exit(1)


def serve(lifeline: int) -> None:
    """What a worker does: answer requests on stdin, one at a time, until there are no more.

    A request is a function and its arguments, pickled, or ``NEXT``; an answer is a pair (kind, value), pickled: "item"
    with the next item of the generator that the function returned, "end", or "error" with an exception.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr = settle(lifeline)
    warnings.simplefilter("ignore")  # nobody there to read them
    items: Iterator[Any] = iter(())
    while (request := receive(requests)) is not None:
        try:
            if request != NEXT:
                items = iter(())  # the generator before is closed now, not after the next has been made
                items = _begun(request)
            answer = pickle.dumps(("item", next(items)))
        except StopIteration:
            answer = pickle.dumps(("end", None))
        except Exception as error:  # whatever it is, it is the caller's: it is raised again there
            answer = pickle.dumps(("error", _portable(error)))
        send(answers, answer)


def _begun(request: bytes) -> Iterator[Any]:
    try:
        function, arguments, keywords = pickle.loads(request)
    except Exception as error:  # loading runs code of the modules that it names, which may fail in any way
        raise not_sent("what was asked for", error) from error
    return iter(function(*arguments, **keywords))


def not_sent(what: str, error: Exception) -> ProcessError:
    """The error of what pickle does not carry."""
    return ProcessError(
        f"{what} cannot be sent to a process of its own: {' '.join(str(error).split())[:200]}.",
        expected="classes and functions that a module defines at its top level",
        fix="move them to a module, not the main one, or do without: isolate=False, workers=1, no time limit.",
    )


def _portable(error: Exception) -> Exception:
    """The exception itself where it survives pickling, else its name and words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception may hold anything, and its constructor refuse anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


# -- messages -----------------------------------------------------------------------------------------------------


def send(stream: IO[bytes] | None, message: bytes) -> None:
    """One message, after its length."""
    if stream is None:
        raise BrokenPipeError
    stream.write(len(message).to_bytes(_LENGTH, "little"))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes] | None) -> bytes | None:
    """The next message; None where there is none, or only a part of one."""
    if stream is None:
        return None
    head = stream.read(_LENGTH)
    length = int.from_bytes(head, "little")
    message = stream.read(length) if len(head) == _LENGTH else b""
    return message if len(message) == length > 0 else None  # no message is empty

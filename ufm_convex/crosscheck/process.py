"""Each contestant in a process of its own, with a time limit: it may hang, crash or print, and the rest goes on.

Processes are forked where the system can, so that callables need not be picklable; elsewhere they are spawned. What a
child prints, on any file descriptor, goes nowhere.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
import warnings
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout, suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from ufm_convex.crosscheck.base import Answer
from ufm_convex.crosscheck.callables import Entrant
from ufm_convex.errors import UFMError
from ufm_convex.problem import Problem
from ufm_convex.solvers import Claim


class _Confession(AbstractContextManager[None]):
    """Whatever ends the block is sent to the parent as a failed answer."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            said = error.got if isinstance(error, UFMError) else f"{type(error).__name__}: {error}"
            fate = "refused" if isinstance(error, UFMError) else "crashed"
            self.pipe.send(Answer(Claim.FAILED, message=f"{fate}: {' '.join(said.split())[:200]}"))
        return True


def _child(pipe: Connection, entrant: Entrant, problem: Problem, tolerance: float, time_limit: float) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # its own children end with it
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    quiet = os.fdopen(silence, "w", encoding="utf-8")  # whatever stands for sys.stdout need not write to 1
    with _Confession(pipe), redirect_stdout(quiet), redirect_stderr(quiet):
        pipe.send(entrant.answer(problem, tolerance, time_limit))


def answer_of(entrant: Entrant, problem: Problem, tolerance: float, time_limit: float) -> tuple[Answer, float]:
    """The entrant's answer and its seconds; ``Claim.FAILED`` with the reason when there is none.

    Args:
        entrant: Who is asked.
        problem: The problem.
        tolerance: Relative accuracy that is wanted.
        time_limit: Seconds, > 0, after which the process is killed.
    """
    context: Any = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, entrant, problem, tolerance, time_limit), daemon=True)
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: the limit catches a deadlock
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:  # spawned, and not picklable
        return Answer(Claim.FAILED, message=f"cannot be sent to a process: {error}"), 0.0
    there.close()
    answer = _received(here, time_limit)
    seconds = time.perf_counter() - started
    _end(process)
    here.close()
    return answer, seconds


def _received(pipe: Connection, time_limit: float) -> Answer:
    if not pipe.poll(time_limit):
        return Answer(Claim.FAILED, message=f"no answer within {time_limit:g} s: ended")
    try:
        found = pipe.recv()
    except (EOFError, OSError, pickle.UnpicklingError, AttributeError, ImportError) as error:
        return Answer(Claim.FAILED, message=f"its process died without an answer ({type(error).__name__})")
    return found if isinstance(found, Answer) else Answer(Claim.FAILED, message="sent something else than an answer")


def _end(process: Any) -> None:
    """End the process and the group it leads."""
    process.join(0.2)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():
        process.kill()
    process.join()

"""Each contestant in a process of its own, with a time limit: it may hang, crash or print, and the rest goes on.

Processes are forked where the system can, so that callables need not be picklable; elsewhere they are spawned. They end
with this one, and print to nowhere, as all processes of the package do (``_process``). The answer is reduced to plain
numbers there (``plain``) and comes as a file that appears whole or not at all: nothing that it holds is run here, and
half of one is never waited for.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import time
import warnings
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from ufm_convex import _given
from ufm_convex._child import settle
from ufm_convex._files import write_atomically
from ufm_convex._process import fate
from ufm_convex.crosscheck.base import Answer
from ufm_convex.crosscheck.callables import Entrant
from ufm_convex.crosscheck.plain import plain
from ufm_convex.errors import UFMError
from ufm_convex.problem import Problem
from ufm_convex.solvers import Claim

_ANSWER = "answer"
"""Name of the file."""
_LONGEST = 1e6
"""Seconds; systems wait for milliseconds that fit into 31 bits."""


class _Confession(AbstractContextManager[None]):
    """Whatever ends the block is delivered as a failed answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            said = error.got if isinstance(error, UFMError) else f"{type(error).__name__}: {error}"
            fate = "refused" if isinstance(error, UFMError) else "crashed"
            _deliver(Answer(Claim.FAILED, message=f"{fate}: {' '.join(said.split())[:200]}"), self.folder)
        return True


def _deliver(answer: Answer, folder: Path) -> None:
    write_atomically(folder / _ANSWER, pickle.dumps(answer))


def _child(
    pipe: Connection,
    line: tuple[Connection, Connection],
    folder: Path,
    entrant: Entrant,
    problem: Problem,
    *limits: float,
) -> None:
    lifeline, other_end = line
    other_end.close()  # only the parent's is to hold
    quiet = settle(lifeline.fileno())  # whatever stands for sys.stdout need not write to 1
    with _Confession(folder), redirect_stdout(quiet), redirect_stderr(quiet):
        _deliver(plain(entrant.answer(problem, *limits)), folder)
    pipe.send_bytes(b"done")  # not its end, which children of the child may keep open; nobody reads it


def require_time_limit(time_limit: float) -> float:
    """The seconds as binary64, or ``ProblemError`` unless there are that many to wait."""
    expected = f"a number of seconds > 0, at most {_LONGEST:g}"
    return _given.positive("time_limit", time_limit, expected=expected, most=_LONGEST, fix="use 60, the default.")


def answer_of(entrant: Entrant, problem: Problem, tolerance: float, time_limit: float) -> tuple[Answer, float]:
    """The entrant's answer and its seconds; ``Claim.FAILED`` with the reason when there is none.

    Args:
        entrant: Who is asked.
        problem: The problem.
        tolerance: Relative accuracy that is wanted.
        time_limit: Seconds, > 0, after which the process is killed.
    """
    context: Any = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    with tempfile.TemporaryDirectory(prefix="ufm-convex-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        here, there = context.Pipe(duplex=False)
        theirs, ours = context.Pipe(duplex=False)
        arguments = (there, (theirs, ours), folder, entrant, problem, tolerance, time_limit)
        process = context.Process(target=_child, args=arguments, daemon=True)
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: a deadlock has its limit
                process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:  # spawned, and not picklable
            for end in (here, there, theirs, ours):
                end.close()
            return Answer(Claim.FAILED, message=f"cannot be sent to a process: {error}"), 0.0
        for end in (there, theirs):
            end.close()
        try:
            in_time = bool(wait([here, process.sentinel], time_limit))
            seconds = time.perf_counter() - started
        finally:  # Ctrl-C too
            _end(process)
            for end in (here, ours):
                end.close()
        why = f"its process {fate(process.exitcode)}" if in_time else f"no answer within {time_limit:g} s: ended"
        return _delivered(folder / _ANSWER, in_time, why), seconds


def _delivered(path: Path, in_time: bool, why: str) -> Answer:
    """The answer in the file, which the project wrote itself; a failed one where there is none, and why."""
    try:
        found = pickle.loads(path.read_bytes()) if in_time else None
    except (OSError, EOFError, pickle.UnpicklingError):
        found = None
    if found is None:
        return Answer(Claim.FAILED, message=why)
    return found if isinstance(found, Answer) else Answer(Claim.FAILED, message="left something else than an answer")


def _end(process: Any) -> None:
    """End the process and the group it leads."""
    wait([process.sentinel], 0.2)  # not join, which believes a sentinel that the child has written to
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():
        process.kill()
    process.join()

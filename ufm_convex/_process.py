"""Processes of our own: calls that may die, hang or print without harm to whoever makes them.

Two ways lead to one. A *worker* (``Worker``) is a fresh interpreter that runs functions of importable modules one after
the other: solvers of compiled code (``apart``) and the points of a sweep (``Workers``). It is fresh rather than forked,
because a fork copies locks and leaves thread pools behind: Clarabel would wait for threads that are not there. It is
no ``multiprocessing`` process either, which imports the caller's main module again and so asks every script for a
guard. What the functions take and return is pickled; both ends are this package. A *forked* process runs what cannot
be pickled, for a limited time (``crosscheck.process``). What either does is in ``_child``; here is who starts it.

No process outlives the one that started it, however that ended: each holds one end of a pipe whose other end is with
its parent and carries nothing, and has asked the system to kill its process group when that other end closes. Code that
never returns to the interpreter cannot put this off. Systems without such signals (Windows) only close the pipe through
which requests come; there a process ends with the call that it is at.

Ctrl-C reaches the parent alone: children lead sessions of their own, and are ended by ``end``.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from ufm_convex import _deadline
from ufm_convex._child import NEXT, not_sent, receive, send
from ufm_convex.errors import ProcessError, SolverDiedError

T = TypeVar("T")

_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from ufm_convex._child import serve
serve(int(sys.argv[2]))
"""
_ANSWERING, _LONGEST_ANSWER = 0.1, 2.0
"""Share of a time limit, and seconds at most, that are kept for the answer of a process: what a solver holds when it is
told to stop is worth more than nothing."""
_FAREWELL = 5.0
"""Seconds that a process has to end once it has closed its pipe; an aborting one may write its core first."""


def once(function: Callable[..., T], *arguments: Any, **keywords: Any) -> Iterator[T]:
    """A call as a generator of one item."""
    yield function(*arguments, **keywords)


class Worker:
    """A fresh interpreter that runs functions one after the other; to start, it takes as long as its imports."""

    def __init__(self) -> None:
        import subprocess

        line: tuple[int, ...] = ()
        self._lifeline: int | None = None
        if os.name == "posix":
            theirs, self._lifeline = os.pipe()
            line = (theirs,)
        command = [
            sys.executable,
            "-P",
            "-c",
            _BOOT,
            json.dumps([str(entry) for entry in sys.path]),
            str(*line or (-1,)),
        ]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=line,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # no memory, no process left, or no interpreter: sys.executable is ""
            self._let_go()
            raise ProcessError(
                f"no process can be started: {error}.",
                expected="a system that starts one more Python interpreter",
                fix="close other programs, or do without: isolate=False, workers=1.",
            ) from error
        finally:
            for descriptor in line:
                os.close(descriptor)
        self._ending = threading.Lock()
        self._ended = False

    @property
    def alive(self) -> bool:
        """Whether it can be asked: neither ended nor dead."""
        return not self._ended and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def items(self, what: str, function: Callable[..., Iterator[T]], *arguments: Any, **keywords: Any) -> Iterator[T]:
        """The items of a generator function, each made there when it is asked for here.

        Args:
            what: Who is at work, for messages: "solver 'scs'".
            function: A generator function of an importable module.
            *arguments: Its arguments, which can be pickled.
            **keywords: Likewise.

        Raises:
            ProcessError: function or arguments cannot be sent.
            SolverDiedError: the process ended without an answer.
            Exception: whatever the function raises.
        """
        try:
            request = pickle.dumps((function, arguments, keywords))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise not_sent(what, error) from error
        while True:
            with self._until(_deadline.remaining()):
                kind, value = self._ask(what, request)
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
            request = NEXT

    @contextmanager
    def _until(self, seconds: float) -> Iterator[None]:
        """Within the block the process is ended once so many seconds have passed, and that is ``OutOfTime``."""
        _deadline.check()
        if math.isinf(seconds):
            yield
            return
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self.end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except SolverDiedError:
            _deadline.check()
            raise
        finally:
            timer.cancel()

    def _ask(self, what: str, request: bytes) -> tuple[str, Any]:
        try:
            send(self._process.stdin, request)
            answer = receive(self._process.stdout)
            found: tuple[str, Any] | None = None if answer is None else pickle.loads(answer)
        except (OSError, ValueError):  # a pipe broke, or was closed by another thread that ended the worker
            found = None
        except BaseException:  # Ctrl-C: the answer to this request would be taken for that to the next
            self.end()
            raise
        if found is None:
            import subprocess

            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL)
            code = self._process.poll()
            self.end()
            raise died(what, code)
        return found

    def end(self) -> None:
        """End the process, and whatever it has started, at once; from any thread."""
        with self._ending:
            if not self._ended:
                self._ended = True
                self._let_go()
                self._kill()

    def _kill(self) -> None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # nothing if it has been waited for
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what a process that is gone has not read
                pipe.close()  # type: ignore[union-attr]  # both were asked for

    def _let_go(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def died(what: str, code: int | None) -> SolverDiedError:
    """The error that says how a process ended; ``code`` is that of ``subprocess``: minus the signal, or None."""
    return SolverDiedError(
        f"the process of {what} {fate(code)}.",
        expected="an answer",
        fix="most likely the memory was short: give it more, or choose a smaller level, another solver, fewer workers.",
    )


def fate(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "closed its pipe and did not end"
    if code >= 0:
        return f"left with exit code {code}, without an answer"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-code}"


class Bench:
    """Workers that wait for work; made when there are too few."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._closed = False

    def items(self, what: str, function: Callable[..., Iterator[T]], *arguments: Any, **keywords: Any) -> Iterator[T]:
        """``Worker.items`` of one that is idle, which nobody else has until the generator is closed."""
        worker = self._take()
        try:
            yield from worker.items(what, function, *arguments, **keywords)
        finally:
            if worker.alive:
                self._idle.append(worker)
            elif worker in self._all:
                self._drop(worker)

    def _take(self) -> Worker:
        """One that lives: what has killed an idle one is not the fate of the next call."""
        while self._idle:
            if (worker := self._idle.pop()).alive:
                return worker
            self._drop(worker)
        worker = Worker()
        self._all.append(worker)
        if self._closed:
            self._drop(worker)
        return worker

    def _drop(self, worker: Worker) -> None:
        worker.end()
        self._all.remove(worker)

    def end(self) -> None:
        """End them all, busy or not."""
        self._closed = True
        for worker in tuple(self._all):
            worker.end()


_BENCH: ContextVar[Bench | None] = ContextVar("_BENCH", default=None)


@contextmanager
def isolation(wanted: bool = True) -> Iterator[None]:
    """Within the block, what is called ``apart`` runs in a process of its own; one serves for all, if it lives.

    Nothing is started before it is needed. A block within such a block changes nothing.
    """
    if not wanted or _bench() is not None:
        yield
        return
    bench = Bench()
    token = _BENCH.set(bench)
    try:
        yield
    finally:
        _BENCH.reset(token)
        bench.end()


def _bench() -> Bench | None:
    """The bench of the block that this is in; that of a process which was forked meanwhile is not ours."""
    found = _BENCH.get()
    return found if found is not None and found.pid == os.getpid() else None


def apart(what: str, function: Callable[..., Iterator[T]], *arguments: Any, **keywords: Any) -> Iterator[T]:
    """The items of a generator function: within ``isolation`` from another process, elsewhere from here.

    Under a time limit (``_deadline``) the other process is told to end a little earlier, so that its answer comes in
    time, and is ended at the limit in any case.

    Args and errors are those of ``Worker.items``; and ``OutOfTime`` where the limit has passed.
    """
    bench = _bench()
    if bench is None:
        return function(*arguments, **keywords)
    _deadline.check()  # before a process is started
    left = _deadline.remaining()
    if math.isfinite(left):
        arguments = (left - min(_ANSWERING * left, _LONGEST_ANSWER), function, *arguments)
        return bench.items(what, _deadline.within, *arguments, **keywords)
    return bench.items(what, function, *arguments, **keywords)

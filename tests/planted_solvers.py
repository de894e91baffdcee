"""Solvers and calls that die, hang or lie in every way; a module of its own, since other processes import them."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time

from ufm_convex import solvers
from ufm_convex.solvers import Claim, Solver, SolverRun

SCS = solvers.available()["scs"]


def end(how):
    """End this process, or do not; ``how`` is a word."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
    elif how == "leave":
        os._exit(0)
    elif how == "exit":
        sys.exit(3)
    elif how == "memory":
        raise MemoryError("Unable to allocate 1. TiB")
    elif how == "allocation":
        limit = 2**31
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        bytearray(2 * limit)
    elif how == "hang":
        # compiled code that never lets another thread run, with a process of its own that ignores what it can
        subprocess.Popen(
            [sys.executable, "-c", "import signal, time; signal.signal(29, signal.SIG_IGN); time.sleep(600)"]
        )
        ctypes.PyDLL(None).sleep(600)


class Dying(Solver):
    """Makes the run it is given, if any, then ends as it is told."""

    name = "dying"
    levels = ("class",)
    rank = -1
    how = "SIGABRT"
    first = None

    def __init__(self):
        self.told = type(self).how, type(self).first  # the class itself is told nothing in the other process

    @classmethod
    def installed(cls):
        return True

    def suits(self, problem, level):
        return "planted"

    def runs(self, problem, level, tolerance, options):
        how, first = self.told
        if first is not None:
            yield first
        end(how)
        yield SolverRun(self.name, level, Claim.FAILED, "lived on")


def untied(how):
    """``end`` in a process that has taken itself off its lifeline."""
    import fcntl

    for descriptor in range(3, 64):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_ASYNC)
        except OSError:
            continue
    end(how)
    yield


class Bomb:
    """Ends the process that unpickles it."""

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return end, (self.how,)


class OddError(Exception):
    """Pickles, and does not come back."""

    def __init__(self, one, two):
        super().__init__(one)


def raises(kind):
    """One item, then an error."""
    yield os.getpid()
    raise {"odd": OddError("left", "right"), "plain": KeyError("k")}[kind]


def numbers(count):
    yield from range(count)


class Slow(Solver):
    """Makes runs with pauses in between, none of which it looks at a clock in.

    ``told`` are (seconds, run) in order: so long it sleeps before each run.
    """

    name = "slow"
    levels = ("class",)
    rank = -1
    plan = ()

    def __init__(self):
        self.told = type(self).plan  # the class itself is told nothing in the other process

    @classmethod
    def installed(cls):
        return True

    def suits(self, problem, level):
        return "planted"

    def runs(self, problem, level, tolerance, options):
        for seconds, run in self.told:
            time.sleep(seconds)
            yield run


class SlowHere(Slow):
    """The same, of a kind that never leaves this process."""

    in_process = True


class Sluggish(SCS):
    """SCS that needs its time before every run after the first, and does not look at a clock."""

    name = "sluggish"
    pause = 0.0
    made = 0
    """So many in this process."""
    time_option = None

    def __init__(self):
        self.told = type(self).pause

    def attempt(self, problem, options):
        Sluggish.made += 1
        if Sluggish.made > 1:
            time.sleep(self.told)
        return super().attempt(problem, options)

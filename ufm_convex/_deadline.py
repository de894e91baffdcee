"""A time limit, known to whoever works within it: how much is left, and an end for work that has no more.

The limit belongs to a block, not to a call, so that a loop many calls below can ask for it. Loops that leave something
when they stop ask ``passed``; those that leave nothing call ``check``. Without a limit nothing here does anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

_END: ContextVar[float] = ContextVar("_END", default=math.inf)
"""When it ends, on the clock of this process."""


class OutOfTime(Exception):  # noqa: N818 - no error: what was found before stands
    """The time limit has passed; taken by ``solve``, never seen by its caller."""


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Within the block, work ends after so many seconds; None sets no limit. A limit around it stays in force."""
    token = _END.set(min(_END.get(), math.inf if seconds is None else time.monotonic() + seconds))
    try:
        yield
    finally:
        _END.reset(token)


def remaining() -> float:
    """Seconds that are left, 0 once it has passed; infinite without a limit."""
    end = _END.get()
    return end if math.isinf(end) else max(0.0, end - time.monotonic())


def limits() -> bool:
    """Whether there is a limit."""
    return not math.isinf(_END.get())


def passed() -> bool:
    """Whether there is a limit, and it has passed."""
    return remaining() == 0.0


def check() -> None:
    """Raise ``OutOfTime`` once the limit has passed."""
    if passed():
        raise OutOfTime


def within(seconds: float, function: Callable[..., Iterator[T]], *arguments: object, **keywords: object) -> Iterator[T]:
    """The items of a generator function under a limit of its own: for a process that knows nothing of the caller's."""
    with limited(seconds):
        yield from function(*arguments, **keywords)

"""The one place where the precision of balls is set: FLINT has one for a process, so one thread works at a time.

Two threads that set it with nothing between them evaluate at each other's precision, and leave it changed: what they
enclose is still true, but its last digits, and whether a claim is decided, would depend on the other thread. The
package around this folder sets the precision here, too, because it is the same number. A program that sets it itself
while another thread is in here is not held back by anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from flint import ctx

_turn = RLock()


@contextmanager
def working_precision(bits: int) -> Iterator[None]:
    """Balls of so many bits, for this thread alone; the precision before is back afterwards."""
    with _turn, ctx.workprec(bits):
        yield


def _fresh_turn() -> None:
    """A process forked while another thread had its turn does not wait for a thread that it does not have."""
    global _turn
    _turn = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_turn)

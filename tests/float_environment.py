"""Flush-to-zero, denormals-are-zero and directed rounding for a thread, set through the C library's ``fesetenv``.

The control word is part of glibc's ``fenv_t``: MXCSR on x86-64, FPCR on aarch64. New threads inherit it, so a pool that
is started within ``flushing()`` flushes ever after, whatever its parent does then. ``AVAILABLE`` is False elsewhere.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from contextlib import contextmanager

_WORDS = {  # machine: (offset and bits of the control word, of round upward, downward and to zero)
    "x86_64": (28, 0x8040, {"upward": 0x4000, "downward": 0x2000, "to zero": 0x6000}),
    "aarch64": (0, 1 << 24, {"upward": 0x400000, "downward": 0x800000, "to zero": 0xC00000}),
}
_SMALLEST = struct.unpack("<d", b"\x01" + bytes(7))[0]
ROUNDINGS = ("upward", "downward", "to zero")
AVAILABLE = sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and platform.machine() in _WORDS
WHY_NOT = "FLUSH-TO-ZERO IS NOT TESTED: it is set through glibc's fenv_t on x86-64 or aarch64"


def _switch(bits: int) -> ctypes.Array[ctypes.c_char]:
    """Set bits of the control word; the environment before."""
    libm = ctypes.CDLL("libm.so.6")
    before, changed = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    for buffer in (before, changed):
        if libm.fegetenv(buffer):
            raise OSError("fegetenv failed")
    offset = _WORDS[platform.machine()][0]
    (word,) = struct.unpack_from("<I", changed, offset)
    struct.pack_into("<I", changed, offset, word | bits)
    if libm.fesetenv(changed):
        raise OSError("fesetenv failed")
    return before


@contextmanager
def _with(bits: int):
    before = _switch(bits)
    try:
        yield
    finally:
        ctypes.CDLL("libm.so.6").fesetenv(before)


@contextmanager
def flushing():
    """Subnormal numbers count as 0 in this thread, and none is made."""
    with _with(_WORDS[platform.machine()][1]):
        if flushes() is False:
            raise OSError("the control word was set, and nothing is flushed")
        yield


@contextmanager
def rounding(direction: str):
    """This thread rounds upward, downward or to zero."""
    with _with(_WORDS[platform.machine()][2][direction]):
        yield


def flushes() -> bool:
    """Whether subnormal numbers count as 0 in this thread."""
    return _SMALLEST == 0.0

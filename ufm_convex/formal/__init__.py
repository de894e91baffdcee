"""Bounds that are theorems: a certificate as a file of Coq, which Coq's kernel checks (docs/formal.md).

``theory/`` proves once, for every problem, what docs/certificate_lemmas.md says of lower and upper bounds.
``arranging`` and ``writing`` turn a certificate into a file that states its two bounds in plain definitions and proves
them by computation; ``running`` has Coq check it. Nothing of the package but ``errors`` and the verifier's reader is
used.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from ufm_convex import verifier
from ufm_convex.formal.running import MEMORY_LIMIT, TIME_LIMIT, Compilation, compile_text
from ufm_convex.formal.writing import Written, written
from ufm_convex.verifier import reading

__all__ = [
    "Compilation", "Difference", "Written", "check", "compile_text", "difference", "formalise", "read_once", "written",
]  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """Where a file differs from the one that is written for a certificate.

    Attributes:
        line: The first line that differs, from 1.
        found: What stands there.
        expected: What is written there.
    """

    line: int
    found: str
    expected: str


def formalise(source: str | Path | bytes) -> Written:
    """Write a certificate as a file of Coq. Whether it holds is not asked, only whether it is one.

    Args:
        source: A path, or the bytes of the file.

    Raises:
        MalformedCertificate: it is none.
        OutOfReachError: the theory does not reach it; the message says why.
    """
    source = read_once(source)
    document = reading.document(source)
    verifier.verify(source)  # raises where the content is not of the form, however the verdict turns out
    return written(document)


def read_once(source: str | Path | bytes) -> str | Path | bytes:
    """The bytes of a file, so that whoever asks two judges asks both about the same; the path if it cannot be read."""
    if isinstance(source, bytes):
        return source
    try:
        with open(source, "rb") as handle:
            return handle.read(reading.MAX_BYTES + 1)
    except (OSError, ValueError):  # the verifier says why
        return source


def check(source: str | Path | bytes, limit: float = TIME_LIMIT, memory: int = MEMORY_LIMIT) -> Compilation:
    """Write a certificate as a file of Coq, and have Coq check it.

    Raises:
        MalformedCertificate: it is none.
        OutOfReachError: the theory does not reach it; the message says why.
        CoqNotInstalledError: there is no ``coqc``, or CoqInterval is not installed.
    """
    return compile_text(formalise(source).text, limit, memory)


def difference(text: str, against: str) -> Difference | None:
    """The first line in which a file differs from the one that is written; None where it is that one."""
    if text == against:
        return None
    pairs = zip_longest(text.split("\n"), against.split("\n"))  # beyond the last line of one of them there is none
    line, (expected, found) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return Difference(line, found or "", expected or "")

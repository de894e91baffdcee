"""``verify --formal``: what Coq says of a certificate that the verifier has proved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ufm_convex.formal import Compilation


@dataclass(frozen=True)
class Found:
    """The answer of ``--formal``.

    Attributes:
        detail: Why there is no theorem; empty where there are two.
        compilation: What Coq made of the file, if it was asked.
        theorems: What the file states, in words.
    """

    detail: str
    compilation: Compilation | None
    theorems: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether both bounds are theorems."""
        return not self.detail

    def lines(self) -> list[str]:
        """For a reader."""
        if self.compilation is None or not self.accepted:
            return [f"NOT COMPILED  {self.detail}"]
        made, words = self.compilation, " and ".join([", ".join(self.theorems[:-1]), self.theorems[-1]])
        return [
            f"COMPILED by Coq {made.coq} in {made.seconds:.1f} s: {words} are theorems",
            f"resting on  {', '.join(made.axioms)}",
        ]

    def record(self) -> dict[str, Any]:
        """For ``--json``."""
        made = self.compilation
        return {
            "compiled": self.accepted,
            "detail": self.detail,
            "theorems": list(self.theorems) if self.accepted else [],
            "axioms": list(made.axioms) if made else [],
            "coq": made.coq if made else None,
            "seconds": made.seconds if made else None,
        }


def attempt(
    certificate: str | Path | bytes,
    output: Path | None,
    against: tuple[Path, str] | None,
    limits: tuple[float, int],
    proved: bool,
) -> Found:
    """Write the file of Coq, compare it with the one given, and have it compiled.

    Args:
        certificate: The certificate, read once: its bytes are those that the verifier was shown.
        output: Where the file is kept, if anywhere.
        against: The file that it is to be, if one was given, and its text, read before anything was written.
        limits: Seconds and MiB that Coq may take.
        proved: Whether the verifier has proved the certificate; Coq is not asked about any other.

    Raises:
        FileFormatError: the file cannot be written.
    """
    from ufm_convex import formal
    from ufm_convex._files import write_atomically
    from ufm_convex.cli.output import complain
    from ufm_convex.errors import CoqNotInstalledError, OutOfReachError

    if not proved:
        return Found("the verifier has not proved it, and so no file was written", None)
    try:
        written = formal.formalise(certificate)
        text = written.text
        if output is not None:
            write_atomically(output, text)
        other = None if against is None else formal.difference(text, against[1])
        if against is not None and other is not None:
            return Found(f"{against[0]} is another file: line {other.line} is not {other.expected[:60]!r}", None)
        made = formal.compile_text(text, *limits)
    except (OutOfReachError, CoqNotInstalledError) as error:
        complain(f"{type(error).__name__}: {error}")
        return Found(error.got, None)
    return Found(made.detail, made, written.theorems)


def read_text(path: Path | None) -> tuple[Path, str] | None:
    """A file that somebody hands over, as it is; None where none was."""
    from ufm_convex.errors import FileFormatError
    from ufm_convex.verifier.reading import MAX_BYTES

    if path is None:
        return None
    try:
        with path.open("rb") as handle:
            return path, handle.read(MAX_BYTES + 1).decode("utf-8", errors="replace")  # ends of lines as they are
    except (OSError, ValueError) as error:  # the latter: a null byte in the name
        raise FileFormatError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            expected="a file that verify --formal -o has written",
            fix="check the path.",
        ) from error

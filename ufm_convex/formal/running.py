"""Coq as a judge: the theory compiled in a folder of its own, then a file, then what it rests on."""

from __future__ import annotations

import atexit
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import ceil
from pathlib import Path

from ufm_convex.errors import CoqNotInstalledError, ProblemError

try:
    import resource
except ImportError:  # no Unix: time alone is limited
    resource = None  # type: ignore[assignment]

PACKAGES = "coq libcoq-interval"
"""What Debian calls Coq and CoqInterval; the libraries that those need come with them."""
THEORY = ("Model", "Sums", "Duality", "Losses", "Slack", "Logs", "Compute", "Lower", "Proofs", "Logits",
          "Rows", "Upper", "Candidate")  # fmt: skip
"""The theory, each file after those that it needs."""
AXIOMS = frozenset(
    {
        "ClassicalDedekindReals.sig_forall_dec",
        "ClassicalDedekindReals.sig_not_dec",
        "FunctionalExtensionality.functional_extensionality_dep",
        "Classical_Prop.classic",
    }
)
"""What a theorem may rest on: the real numbers of Coq's standard library, and classical logic."""
TIME_LIMIT = 300.0
"""Seconds of processor time for a file, the theory apart."""
PATIENCE = 10
"""How many times as long it is waited for a process that others keep from its time; beyond that it hangs."""
MEMORY_LIMIT = 4096
"""MiB for a file: address space, of which the largest files that are within reach take a third."""
MOST_SECONDS, MOST_MEMORY = 10**6, 1 << 30
"""What a limit may be; the system would not take numbers that are much longer."""


@dataclass(frozen=True)
class Compilation:
    """What Coq made of a file.

    Attributes:
        compiled: Whether it accepted both theorems and they rest on ``AXIOMS`` alone.
        axioms: What they rest on.
        detail: Why it was not accepted; empty where it was.
        coq: The version of Coq.
        seconds: What the file took, the theory apart.
    """

    compiled: bool
    axioms: tuple[str, ...]
    detail: str
    coq: str
    seconds: float


def require_limits(limit: float, memory: int) -> None:
    """Raise ``ProblemError`` unless Coq can be held to these seconds and MiB."""
    for what, given, most in (("seconds", limit, MOST_SECONDS), ("MiB", memory, MOST_MEMORY)):
        if not 1 <= given <= most:  # of nan, too
            raise ProblemError(
                f"Coq's limit is {given} {what}.", expected=f"from 1 to {most}", fix="leave it out, or write 600."
            )


def compile_text(text: str, limit: float = TIME_LIMIT, memory: int = MEMORY_LIMIT) -> Compilation:
    """Have Coq check a file. What takes longer, or more memory, is not accepted, and the detail says so.

    Args:
        text: The file.
        limit: Seconds of processor time that it may take; where the system cannot limit them, seconds.
        memory: MiB that it may take, where the system can limit them.

    Raises:
        ProblemError: a limit is no number from 1 to ``MOST_SECONDS`` or ``MOST_MEMORY``.
        CoqNotInstalledError: there is no ``coqc`` that can be run, or CoqInterval is not installed.
    """
    require_limits(limit, memory)
    coqc, theory = _coqc(), _theory()
    with tempfile.TemporaryDirectory(prefix="ufm-convex-") as name:
        path = Path(name) / "certificate.v"
        path.write_text(text, encoding="ascii")
        started = time.perf_counter()
        try:
            done = _run([coqc, "-q", "-Q", theory.name, "UFM", str(path)], limit, memory)
        except subprocess.TimeoutExpired:
            return Compilation(False, (), f"no answer in {limit:g} s", _version(), time.perf_counter() - started)
        seconds = time.perf_counter() - started
    if done.returncode:
        return Compilation(False, (), _reason(done, limit, memory), _version(), seconds)
    resting = assumptions(done.stdout)
    if resting is None:
        return Compilation(False, (), "Coq does not say what the theorems rest on", _version(), seconds)
    axioms, detail = tuple(sorted(resting)), ""
    if more := sorted(set(axioms) - AXIOMS):
        detail = f"it rests on {', '.join(more)}"
    return Compilation(not detail, axioms, detail, _version(), seconds)


def assumptions(said: str) -> set[str] | None:
    """The axioms that one ``Print Assumptions`` names; None where it is not what was said."""
    first, *lines = said.rstrip().splitlines() or [""]
    if first == "Closed under the global context" and not lines:
        return set()
    if first != "Axioms:" or any(re.match(r"\w[\w ]*:$", line) for line in lines):
        return None  # another heading: variables of a section, inductive types whose check was switched off
    return {name[0] for line in lines if (name := re.match(r"[^\s:]+", line))}


def _reason(done: subprocess.CompletedProcess[str], limit: float, memory: int) -> str:
    """The error, in one line; that memory is missing is said in several ways."""
    if resource is not None and done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"no answer in {limit:g} s of processor time"
    if re.search("out of memory|cannot allocate", done.stderr, re.IGNORECASE):
        return f"more than {memory} MiB of memory"
    if done.returncode < 0:
        return f"coqc was stopped by signal {-done.returncode}"
    _, _, error = done.stderr.rpartition("Error:")
    return "coqc: " + re.sub(r"\s+", " ", error or done.stderr).strip().rstrip(".")[:200]


def _run(command: Sequence[str], limit: float, memory: int = MEMORY_LIMIT) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=limit if resource is None else PATIENCE * limit,
            preexec_fn=None if resource is None else partial(_restrain, ceil(limit), memory << 20),
        )
    except OSError as error:
        raise not_installed(f"{command[0]} cannot be run: {error.strerror}") from error


def _restrain(seconds: int, size: int) -> None:
    """In the child alone, before it becomes Coq."""
    for which, wanted in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, size)):
        _, most = resource.getrlimit(which)
        least = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(which, (least, most))


@cache
def _coqc() -> str:
    found = shutil.which("coqc")
    if found is None:
        raise not_installed("there is no coqc on the path")
    return found


@cache
def _version() -> str:
    found = re.search(r"version (\S+)", _run([_coqc(), "--version"], TIME_LIMIT).stdout)
    return found[1] if found else "unknown"


@cache
def _theory() -> tempfile.TemporaryDirectory[str]:
    """The compiled theory, once a process: nothing that was compiled earlier is trusted."""
    coqc, folder = _coqc(), tempfile.TemporaryDirectory(prefix="ufm-convex-theory-")
    atexit.register(folder.cleanup)
    for name in THEORY:
        path = Path(folder.name) / f"{name}.v"
        shutil.copyfile(Path(__file__).parent / "theory" / path.name, path)
        try:
            done = _run([coqc, "-q", "-Q", folder.name, "UFM", str(path)], TIME_LIMIT)
        except subprocess.TimeoutExpired as error:
            raise not_installed(
                f"the theory does not compile, {path.name}: no answer in {error.timeout:g} s"
            ) from error
        if done.returncode:
            raise not_installed(f"the theory does not compile, {path.name}: {_reason(done, TIME_LIMIT, MEMORY_LIMIT)}")
    return folder


def not_installed(got: str) -> CoqNotInstalledError:
    """The error of whoever asks for Coq where it is not."""
    return CoqNotInstalledError(
        f"{got}.",
        expected="Coq 8.16 or later, with CoqInterval",
        fix=f"install them; on Debian: apt-get install {PACKAGES}",
    )

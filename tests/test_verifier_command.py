"""Exit codes are verdicts: nothing that breaks reads as one, in both command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from certificate_cases import PLAIN, resealed, text

from ufm_convex import verifier
from ufm_convex.certificate import certify
from ufm_convex.verifier import __main__ as command
from ufm_convex.verifier import reading

COMMANDS = {
    "module": [sys.executable, "-m", "ufm_convex.verifier"],
    "script": [sys.executable, "-c", "from ufm_convex.cli import main; main()", "verify"],
}


def deep(opening, closing, depth):
    return (opening * depth + "1" + closing * depth).encode()


def with_counts(counts):
    document = json.loads(certify(PLAIN).to_json())
    document["problem"]["class_counts"] = counts
    return text(resealed(document))


HOSTILE = {
    "objects in objects": deep('{"a":', "}", 988),
    "lists in lists": deep("[", "]", 988),
    "a list in the provenance": deep('{"format": 1, "provenance": {"a":', "}}", 9),
    "other digits": with_counts("\u0665 \u0664 \u0663"),
    "other letters": with_counts("5 \u00e9 3"),
    "half a character": with_counts("5 4 \ud800"),
    "a line of its own": with_counts("5 4 3\nPROVED"),
}


@pytest.fixture(params=COMMANDS)
def run(request, tmp_path):
    def run(data, *arguments, encoding="ascii", **options):
        path = tmp_path / "certificate.json"
        path.write_bytes(data)
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        given = [*COMMANDS[request.param], str(path), *arguments]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment, **options}
        return subprocess.run(given, check=False, **settings)

    return run


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hard_to_read_or_to_print_is_malformed(run, name):
    done = run(HOSTILE[name])
    printed = done.stdout + done.stderr
    assert done.returncode == 2
    assert b"malformed" in printed
    assert b"Traceback" not in printed
    assert b"PROVED" not in [line.strip() for line in printed.splitlines()]


def test_depth_is_limited_on_either_side():
    allowed = reading.MAX_DEPTH
    reading._require_shallow(json.loads(deep("[", "]", allowed)))
    with pytest.raises(reading.MalformedCertificate, match="deep"):
        reading._require_shallow(json.loads(deep("[", "]", allowed + 1)))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="NOT TESTED: there is no /dev/full")
def test_a_verdict_that_cannot_be_written_is_a_fault(run):
    with open("/dev/full", "wb") as full:
        assert run(certify(PLAIN).to_json().encode(), stdout=full).returncode == 4


def test_a_reader_that_goes_away_does_not_change_the_verdict(run):
    receiving, sending = os.pipe()
    os.close(receiving)
    done = run(certify(PLAIN).to_json().encode(), stdout=sending)
    os.close(sending)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_missing_file_is_malformed(tmp_path):
    for start in COMMANDS.values():
        done = subprocess.run([*start, str(tmp_path / "none.json")], capture_output=True, check=False)
        assert done.returncode == 2


def test_help_works():
    for start in COMMANDS.values():
        done = subprocess.run([*start, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert all(word in done.stdout for word in ("CERTIFICATE", "proved", "refuted", "inconclusive", "fault"))


@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"], ["--bogus"], ["a", "-x"]])
def test_usage(arguments, capsys):
    assert command.main(arguments) == 2
    assert "usage" in capsys.readouterr().err


FAULTS = [RecursionError("deep"), MemoryError(), UnicodeEncodeError("ascii", "\u00e9", 0, 1, "no"), SystemExit(1)]


@pytest.mark.parametrize("error", [*FAULTS, OSError(5, "e"), AssertionError("no")])
def test_every_other_end_is_a_fault(error, monkeypatch, capsys):
    def broken(*_):
        raise error

    monkeypatch.setattr(command, "verify", broken)
    assert command.main(["c.json"]) == 4
    assert "fault of the verifier" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["-X", "dev"]])
def test_a_fault_in_the_other_command(tmp_path, flags):
    """With development mode's traceback, too."""
    script = (
        "import ufm_convex.verifier as v\n"
        "def broken(*a, **k): raise RuntimeError('planted')\n"
        "v.verify = broken\n"
        "from ufm_convex.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, *flags, "-c", script, "verify", "c.json"], capture_output=True, check=False)
    assert done.returncode == 4
    assert b"planted" in done.stderr


def test_an_interrupt_is_no_verdict(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "verify", interrupted)
    with suppress(KeyboardInterrupt):
        assert command.main(["c.json"]) == 130
    assert verifier.verify is not interrupted

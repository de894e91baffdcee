"""Files and streams of commands: what cannot be printed is written all the same, and the other way round."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import cli, solving
from ufm_convex.certificate import Certificate
from ufm_convex.cli.output import complain, held_output

DECAYS = ("--lambda-w", "0.04", "--lambda-h", "0.01")
SMALL = ("--class-counts", "60,30,12,2", *DECAYS)
CONTRASTIVE = 'model = "contrastive"\nclass_counts = [5, 4, 3]\nbound = 1.0\n'
MAIN = "from ufm_convex.cli import main; main()"


def start(*arguments, **options):
    command = [sys.executable, "-c", MAIN, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def ended(running):
    _, said = running.communicate(timeout=120)
    return running.returncode, said


def without_a_reader(*arguments):
    """The reader of the pipe has gone before anything is written."""
    read, write = os.pipe()
    os.close(read)
    running = start(*arguments, stdout=write)
    os.close(write)
    return ended(running)


def onto_a_full_disk(*arguments):
    with open("/dev/full", "wb") as full:
        return ended(start(*arguments, stdout=full))


def closed(*arguments):
    return ended(start(*arguments, preexec_fn=lambda: os.close(1)))


def deaf(*arguments):
    """Both streams full, and news asked for."""
    with open("/dev/full", "wb") as full:
        running = subprocess.Popen([sys.executable, "-c", MAIN, *map(str, arguments)], stdout=full, stderr=full)
        return running.wait(120), None


ENDS = {without_a_reader: 0, onto_a_full_disk: 2, closed: 0, deaf: 2}


@pytest.fixture
def candidate(tmp_path):
    path = tmp_path / "trained.npz"
    W, H = ufm.solve(ufm.Problem([6, 4, 2], 0.02, 0.03)).factors()
    labels = np.repeat(np.arange(3), [6, 4, 2])
    np.savez(path, weights=W, features=H[labels], labels=labels)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("form", [(), ("--json",), ("-v",)], ids=["table", "json", "verbose"])
@pytest.mark.parametrize("name", ["solve", "contrastive", "certify"])
def test_a_certificate_is_written_whatever_becomes_of_stdout(tmp_path, candidate, end, form, name):
    path = tmp_path / "c.json"
    (tmp_path / "p.toml").write_text(CONTRASTIVE)
    commands = {
        "solve": ("solve", *SMALL),
        "contrastive": ("solve", tmp_path / "p.toml"),
        "certify": ("certify", candidate, "--lambda-w", "0.02", "--lambda-h", "0.03"),
    }
    code, said = end(*commands[name], *form, "-o", path)
    assert code == ENDS[end]
    assert ufm.verify(path).verdict == "PROVED"
    if end is onto_a_full_disk:
        assert said.endswith(
            "FileFormatError: stdout: No space left on device.\n"
            "  Expected: files that can be read, and an output that can be written\n"
            "  Fix: check the path, the permissions and the space left.\n"
        )
    elif said is not None:
        assert ("starting" in said) == (form == ("-v",))
        assert "Traceback" not in said
        assert "Error" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_the_code_is_that_of_the_result_where_nobody_reads_it(tmp_path, end):
    """1 for a gap that was not reached, though a full disk is 2 whatever the result."""
    code, _ = end("solve", *SMALL, "--tolerance", "1e-16", "--solver", "factored", "-o", tmp_path / "c.json")
    assert code == (ENDS[end] or 1)
    assert Certificate.load(tmp_path / "c.json").verdict == "undecided"


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("name", ["sweep", "export", "verify", "crosscheck", "--help", "--version"])
def test_every_command_meets_a_stdout_that_fails_alike(tmp_path, end, name):
    ufm.certify(ufm.Problem([3, 2], 0.1, 0.1)).save(tmp_path / "c.json")
    arguments = {
        "sweep": ("--decays", "1e-3", "--imbalances", "1", "-o", tmp_path / "p.csv"),
        "export": SMALL,
        "verify": (tmp_path / "c.json",),
        "crosscheck": (*SMALL, "--solvers", "clarabel"),
    }.get(name, ())
    code, said = end(name, *arguments)
    # 2 is an answer of verify: a verdict that cannot be printed is 4
    assert code == (4 if name == "verify" and ENDS[end] == 2 else ENDS[end])
    assert said is None or "Traceback" not in said
    assert name != "sweep" or (tmp_path / "p.csv").read_text().count("\n") == 2


def test_closed_streams_do_not_end_up_in_files(tmp_path):
    """The number of a closed stream would be that of the next file, and hold what is printed."""
    running = start(
        *("sweep", "--decays", "1e-3,1e-2", "--imbalances", "1", "--solver", "scs", "-v", "-o", tmp_path / "p.csv"),
        preexec_fn=lambda: [os.close(descriptor) for descriptor in (0, 1, 2)],
    )
    assert ended(running) == (0, "")
    assert [json.loads(line) for line in (tmp_path / "p.journal.jsonl").read_text().splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/stdout")
def test_the_certificate_goes_to_stdout_where_that_is_asked_for(tmp_path):
    with (tmp_path / "out").open("wb") as out:
        assert ended(start("solve", *SMALL, "-o", "/dev/stdout", stdout=out)) == (0, "")
    text = (tmp_path / "out").read_text()
    content, length = json.JSONDecoder().raw_decode(text)
    assert content["format"]
    assert text[length:].lstrip().startswith("4 classes")
    assert onto_a_full_disk("solve", *SMALL, "-o", "/dev/stdout")[0] == 2
    code, said = closed("solve", *SMALL, "-o", "/dev/stdout")
    assert (code, "it is closed" in said) == (2, True)


# -- before the work ----------------------------------------------------------------------------------------------


PLACES = {
    "none/c": "does not exist",
    "folder.svg": "it is a folder",
    "file/c": "is no folder",
    "/dev/full": "device",
    "n" * 300: "File name too long",
}


@pytest.mark.parametrize(("place", "words"), PLACES.items(), ids=["missing", "folder", "file", "full", "long"])
@pytest.mark.parametrize("name", ["solve", "certify", "export", "plot", "contrastive", "sweep"])
def test_no_command_works_for_a_path_that_cannot_be_written(tmp_path, monkeypatch, name, place, words):
    def too_early(*_, **__):
        raise AssertionError("worked before the output was checked")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(CONTRASTIVE)
    (tmp_path / "file").write_text("old")
    for folder in ("folder.svg", "folder.csv"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(solving, "solve", too_early)
    monkeypatch.setattr("ufm_convex.interchange.save_cbf", too_early)
    ending = {"plot": ".svg", "sweep": ".csv"}.get(name, "")
    path = place if place.startswith("/dev") else place.removesuffix(".svg") + (ending or ".svg")
    problem = {"contrastive": ("solve", "p.toml"), "sweep": ("sweep",)}.get(name, (name, *SMALL))
    result = CliRunner().invoke(cli.application(), [*problem, "-o", path])
    assert result.exit_code == 2, result.output
    # a device has none of the suffixes that figures and tables have, which is the first thing to be said
    assert words in result.stderr or (path == "/dev/full" and ending and "ends in neither" in result.stderr)
    assert (tmp_path / "file").read_text() == "old"


# -- the parts ----------------------------------------------------------------------------------------------------


class Stream(io.StringIO):
    encoding = "ascii"

    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def isatty(self):
        return True

    def flush(self):
        if self.error is not None:
            raise self.error


def test_what_is_printed_is_held_back_and_asked_of_the_stream(monkeypatch):
    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    with held_output():
        print("late")
        assert stream.getvalue() == ""
        assert (sys.stdout.isatty(), sys.stdout.encoding) == (True, "ascii")
    assert stream.getvalue() == "late\n"

    def fails():
        with held_output():
            print("before the error")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert stream.getvalue() == "late\nbefore the error\n"


@pytest.mark.parametrize(("number", "refused"), [(28, True), (5, True), (32, False), (9, False)])
def test_a_reader_that_left_is_no_error_and_a_full_disk_is_one(monkeypatch, number, refused):
    stream = Stream(OSError(number, os.strerror(number)))
    monkeypatch.setattr(sys, "stdout", stream)

    def prints():
        with held_output():
            print("result")

    if not refused:
        prints()
        return
    with pytest.raises(OSError, match="stdout"):
        prints()


def test_news_that_nobody_hears_end_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream(OSError(28, "No space left on device")))
    complain("news")


def test_memory_that_runs_out_is_no_fault_to_be_reported(monkeypatch):
    def short(*_, **__):
        raise MemoryError("Unable to allocate 1. TiB")

    monkeypatch.setattr(solving, "solve", short)
    result = CliRunner().invoke(cli.application(), ["solve", *SMALL])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "MemoryError: Unable to allocate 1. TiB."
    assert result.stderr.splitlines()[2] == "  Fix: give it more memory, or choose a smaller level."


# -- errors with --json -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["solve", "--class-counts", "5,x", *DECAYS, "--json"], "CountsError"),
        (["solve", "--class-counts", "5,3", "--class-counts", "4,3", *DECAYS, "--json"], "ProblemError"),
        (["solve", "--class-counts", "5,3", *DECAYS, "--json", "-o", "absent/c.json"], "FileFormatError"),
        (["certify", "absent.npz", *DECAYS, "--json"], "FileFormatError"),
        (["crosscheck", "--class-counts", "5,3", *DECAYS, "--solvers", "foo", "--json"], "UnknownNameError"),
        (["crosscheck", "--conformance", "--level", "group", "--json"], "ProblemError"),
        (["sweep", "--json"], "FileFormatError"),
        (["verify", "absent.json", "--json"], "MalformedCertificate"),
        (["verify", "absent.json", "--problem", "absent.toml", "--json"], "FileFormatError"),
        (["verify", "--json"], "UsageError"),
        (["solve", "--json", "--no-such-option"], "UsageError"),
    ],
)
def test_with_json_an_error_is_the_object(tmp_path, monkeypatch, arguments, error):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.application(), arguments)
    found = json.loads(done.stdout)
    assert (done.exit_code, found["error"]) == (2, error)
    assert all(found[name] for name in ("got", "expected", "fix"))
    assert found["got"].rstrip(".") in done.stderr  # people are told the same


def test_without_json_an_error_leaves_stdout_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.application(), ["solve", "--class-counts", "5,x", *DECAYS])
    assert (done.exit_code, done.stdout) == (2, "")


def test_with_json_a_result_and_an_error_are_one_object(tmp_path, monkeypatch):
    from ufm_convex.errors import FileFormatError

    def full(self, path):
        raise FileFormatError("the disk is full.", expected="space", fix="make some.")

    monkeypatch.setattr(Certificate, "save", full)
    output = str(tmp_path / "c.json")
    done = CliRunner().invoke(cli.application(), ["solve", "--class-counts", "5,3", *DECAYS, "--json", "-o", output])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["status"], found["error"]) == (2, "certified", "FileFormatError")


def test_with_json_a_fault_and_an_interruption_are_objects(monkeypatch):
    for error, name, code in (
        (ZeroDivisionError("by zero"), "ZeroDivisionError", 1),
        (KeyboardInterrupt(), "Interrupted", 130),
    ):

        def fails(*_, error=error, **__):
            raise error

        monkeypatch.setattr(solving, "solve", fails)
        done = CliRunner().invoke(cli.application(), ["solve", "--class-counts", "5,3", *DECAYS, "--json"])
        assert (done.exit_code, json.loads(done.stdout)["error"]) == (code, name)


# -- what is read is not replaced ------------------------------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path):
    problem = ufm.Problem([6, 4, 3], 0.04, 0.01)
    problem.save(tmp_path / "problem.toml")
    (tmp_path / "counts.csv").write_text("class_id,count\n0,6\n1,4\n2,3\n")
    np.savez(tmp_path / "candidate.npz", weights=np.eye(3), features=np.eye(3), class_counts=[6, 4, 3])
    ufm.certify(problem).save(tmp_path / "certificate.json")
    return tmp_path


REPLACING = {
    "solve": ["solve", "problem.toml", "-o", "problem.toml"],
    "solve, counts": ["solve", "--class-counts", "counts.csv", *DECAYS, "--table", "counts.csv"],
    "certify": ["certify", "candidate.npz", *DECAYS, "-o", "candidate.npz"],
    "certify, problem": ["certify", "problem.toml", "-o", "problem.toml"],
    "report": ["report", "candidate.npz", *DECAYS, "--html", "candidate.npz"],
    "export": ["export", "problem.toml", "-o", "problem.toml"],
    "verify": ["verify", "certificate.json", "--formal", "-o", "certificate.json"],
}


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("words", REPLACING.values(), ids=REPLACING)
def test_no_file_that_is_read_is_replaced(words, linked, inputs, monkeypatch):
    """Under another name of the same file, too: an input is nobody's to lose."""
    monkeypatch.chdir(inputs)
    given = inputs / words[-1]
    before = given.read_bytes()
    if linked:
        link = inputs / f"link{given.suffix}"
        link.symlink_to(given)
        words = [*words[:-1], str(link)]
    done = CliRunner().invoke(cli.application(), words)
    assert done.exit_code == 2, done.output
    assert "which is read" in done.stderr
    assert given.read_bytes() == before


def test_another_name_is_written_and_an_output_of_before_is_replaced(inputs, monkeypatch):
    """The advice followed; and what an option of an output names is not read."""
    monkeypatch.chdir(inputs)
    for _ in range(2):
        words = ["certify", "problem.toml", "-o", "other.json"]
        assert CliRunner().invoke(cli.application(), words).exit_code == 0
    assert ufm.verify(inputs / "other.json").verdict == "PROVED"

"""Writing: whole or not at all, refused before the work, and special files as they stand."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ufm_convex._files import check_writable, write_all, write_atomically
from ufm_convex.errors import FileFormatError

CALLS = [check_writable, lambda path: write_atomically(path, b"new")]


def unwritable(folder):
    """Paths that cannot be written, and a word of the reason."""
    file, directory, loop, locked = (folder / name for name in ("file", "directory", "loop", "locked"))
    file.write_text("old")
    directory.mkdir()
    loop.symlink_to(loop)
    (folder / "dangling").symlink_to(folder / "none" / "c")
    locked.mkdir()
    return {
        folder / "none" / "c": "does not exist",
        directory: "it is a folder",
        file / "c": "is no folder",
        loop: "loop",
        folder / "dangling": "does not exist",
        folder / ("n" * 300): "File name too long",
        folder / "null\0byte": "null",
    }


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("call", CALLS, ids=["check", "write"])
def test_what_cannot_be_written_is_an_error_with_its_path(tmp_path, place, call):
    path, words = list(unwritable(tmp_path).items())[place]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileFormatError) as caught:
        call(path)
    assert caught.value.got.startswith(f"{path} cannot be written: ")
    assert call is not check_writable or words.lower() in caught.value.got.lower()
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(("device", "words"), [("/dev/null", "device"), ("/dev/full", "device"), ("/dev", "folder")])
@pytest.mark.skipif(sys.platform != "linux", reason="devices of Linux")
def test_a_device_is_refused_before_the_work(device, words):
    with pytest.raises(FileFormatError, match=words):
        check_writable(Path(device))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode), "it was replaced"


def test_permissions_that_forbid_are_found(tmp_path, monkeypatch):
    """Root may do everything, so that the system is asked in its place."""
    path = tmp_path / "c"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda place, mode: place != path)
    with pytest.raises(FileFormatError, match="it may not be written to"):
        check_writable(path)
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    with pytest.raises(FileFormatError, match=r"the folder .* may not be written to"):
        check_writable(tmp_path / "new")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no files")
def test_a_file_system_that_takes_no_files_is_found_whatever_permissions_say():
    with pytest.raises(FileFormatError, match=r"/proc/c\.json cannot be written"):
        check_writable(Path("/proc/c.json"))


@pytest.mark.parametrize("name", ["c", "n" * 250])
def test_a_check_leaves_nothing_and_a_write_leaves_the_file(tmp_path, name):
    path = tmp_path / name
    check_writable(path)
    assert os.listdir(tmp_path) == []
    write_atomically(path, "λ")
    assert path.read_bytes() == "λ".encode()
    check_writable(path)
    assert path.read_bytes() == "λ".encode()
    assert os.listdir(tmp_path) == [name]


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    (tmp_path / "deep").mkdir()
    target, link = tmp_path / "deep" / "c", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", 0o640)
    (tmp_path / "ahead").symlink_to(tmp_path / "deep" / "later")
    write_atomically(tmp_path / "ahead", "new")
    assert (tmp_path / "deep" / "later").read_text() == "new"


@pytest.mark.parametrize("moment", ["os.fsync", "os.replace", "shutil.copymode"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_a_write_that_fails_at_any_moment_leaves_the_old_file(tmp_path, monkeypatch, moment, failure):
    path = tmp_path / "c"
    path.write_text("old")

    def fails(*_, **__):
        raise failure

    monkeypatch.setattr(moment, fails)
    with pytest.raises(FileFormatError if isinstance(failure, OSError) else type(failure)):
        write_atomically(path, "new")
    assert (os.listdir(tmp_path), path.read_text()) == (["c"], "old")


def test_a_pipe_is_written_to_as_it_stands(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    check_writable(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_atomically(path, b"x" * 2**18)  # more than it holds
    reader.join()
    assert read == [b"x" * 2**18]
    assert stat.S_ISFIFO(path.stat().st_mode)


SCRIPT = """
import sys
from pathlib import Path
from ufm_convex._files import check_writable, write_atomically
print("before")
check_writable(Path(sys.argv[1]))
write_atomically(Path(sys.argv[1]), "content\\n")
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "itself"])
@pytest.mark.skipif(sys.platform != "linux", reason="names of streams")
def test_our_own_stdout_is_written_in_order(tmp_path, name):
    """A rename would send what is printed afterwards to a file without a name."""
    path = tmp_path / "out"
    with path.open("wb") as out:
        argument = str(path) if name == "itself" else name
        subprocess.run([sys.executable, "-c", SCRIPT, argument], stdout=out, check=True)
    assert path.read_text() == "before\ncontent\nafter\n"
    piped = subprocess.run([sys.executable, "-c", SCRIPT, "/dev/stdout"], capture_output=True, check=True)
    assert piped.stdout == b"before\ncontent\nafter\n"


def test_bytes_are_handed_over_to_the_last(monkeypatch):
    handed = []
    monkeypatch.setattr(os, "write", lambda descriptor, data: handed.append(bytes(data[:3])) or min(len(data), 3))
    write_all(9, b"abcdefgh")
    assert handed == [b"abc", b"def", b"gh"]

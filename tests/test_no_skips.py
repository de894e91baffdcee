"""The plugin that lets nothing be skipped: every way to skip fails, what is allowed by name does not."""

import subprocess
import sys
from pathlib import Path

import pytest
from coq_here import SKIPPED

ROOT = Path(__file__).parents[1]
WAYS = {
    "a call": "import pytest\ndef test_it():\n    pytest.skip('no reason')\n",
    "a mark": "import pytest\n@pytest.mark.skip(reason='no reason')\ndef test_it():\n    pass\n",
    "a condition": "import pytest\n@pytest.mark.skipif(True, reason='no reason')\ndef test_it():\n    pass\n",
    "a missing import": "import pytest\ndef test_it():\n    pytest.importorskip('no_such_module')\n",
    "a file": "import pytest\npytest.importorskip('no_such_module')\ndef test_it():\n    pass\n",
    "a fixture": "import pytest\n@pytest.fixture\ndef x():\n    pytest.skip('no')\ndef test_it(x):\n    pass\n",
}


def status(source, folder, *more, path=""):
    """Exit status of pytest over one file, with the plugin."""
    (folder / "test_planted.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.no_skips", "--rootdir", folder, *more, folder]
    environment = {"PYTHONPATH": str(ROOT), "PATH": str(path)}
    return subprocess.run(list(map(str, command)), capture_output=True, cwd=folder, env=environment).returncode


@pytest.mark.parametrize("way", WAYS)
def test_a_skip_fails_the_run(way, tmp_path):
    assert status(WAYS[way], tmp_path) in (1, 2)  # 2: a file that could not be collected


def test_a_skip_fails_the_run_in_parallel_too(tmp_path):
    assert status(WAYS["a call"], tmp_path, "-n", "1") == 1


def test_expected_failures_and_passes_are_left_alone(tmp_path):
    kept = "import pytest\ndef test_it():\n    pass\n@pytest.mark.xfail\ndef test_other():\n    assert False\n"
    assert status(kept, tmp_path) == 0


def test_a_reason_that_is_allowed_by_name_is_no_failure(tmp_path):
    (tmp_path / "allows.py").write_text("import tests.no_skips as p\np.ALLOWED = ('no rea',)\n")
    environment = ["-p", "allows"]
    assert status(WAYS["a call"], tmp_path, *environment) == 0
    assert status(WAYS["a missing import"], tmp_path, *environment) == 1


@pytest.mark.parametrize(("answer", "expected"), [(None, 0), (1, 0), (0, 1)])
def test_coq_may_be_missing_where_it_is_missing(answer, expected, tmp_path):
    """There is none, or one that does not find CoqInterval; where it does, nothing is skipped for its sake."""
    place = tmp_path / "bin"
    place.mkdir()
    if answer is not None:
        (place / "coqc").write_text(f"#!/bin/sh\nexit {answer}\n")
        (place / "coqc").chmod(0o755)
    planted = f"import pytest\ndef test_it():\n    pytest.skip({SKIPPED!r})\n"
    assert status(planted, tmp_path, path=place) == expected
    assert status(WAYS["a call"], tmp_path, path=place) == 1


def test_there_is_one_configuration_of_the_tests():
    """Two files of the name are one module to pytest, which then collects neither folder whole."""
    skipped = {".venv", ".venv-extras", ".venv-oldest", "_build", "build"}
    found = [path for path in ROOT.rglob("conftest.py") if not skipped & set(path.relative_to(ROOT).parts)]
    assert found == [ROOT / "tests" / "conftest.py"]

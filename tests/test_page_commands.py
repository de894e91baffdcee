"""Every command that a page names is run: scripts at their smallest size, the command line on small files.

Pages are searched for commands (pages.py), so a new command, script or option is run, or fails here, by being named.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import numpy as np
import pages
import pytest
import typer
from coq_here import SKIPPED, coq_is_here
from pages import HELP, PAGES, ROOT, SUBCOMMANDS
from scripts import parsed, small
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import formal
from ufm_convex.cli import application
from ufm_convex.interchange import cbf_solution, save_cbf_solution

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROBLEM = ["--class-counts", "500,100,20", "--lambda-w", "5e-3", "--lambda-h", "5e-3"]
FOLDERS = ("benchmarks", "fuzz", "mutation")
"""Folders of scripts; what else a page names of tests/ is a test or its data."""


def listed(sources, find):
    """Parameters (page, command) of every command that ``find`` is true of, each once, named by page and words."""
    seen = {}
    for page in sources:
        for words in pages.commands(page):
            if find(words) and tuple(words) not in seen:
                seen[tuple(words)] = pytest.param(words, id=f"{page.stem}: {' '.join(words)}")
    return list(seen.values())


# -- scripts -------------------------------------------------------------------------------------------------------

ARGUMENTS = {"tests/benchmarks/record_foreign_measures.py": ["c05a0b8", "recorded.json"]}
"""What a script that pages name by its path alone cannot do without."""
NEEDS = {
    ("bench_crosscheck", "copt"): ["coptpy"],
    ("bench_gap_metric", "-m"): ["torch"],
    ("record_foreign_measures", "c05a0b8"): ["torch"],
    ("train_digits", "-m"): ["sklearn", "torch"],
}
"""Scripts, by a word of their command, that need modules of an extra; without one they end and name it."""
LABELS = {
    "bench_certificates": ["K = 10, H ≥ 0", "K = 10, free"],
    "bench_candidate": ["float32 pass", "float64 product alone", "float64 by Winograd's form", "enclosure"],
    "bench_growth": ["theory", "orbits", "class level", "factored", "certify", "verify", "attribution"],
    "bench_models": ["squared error, ReLU", "layer-peeled, free, R = 10"],
    "bench_relaxation": ["10 classes, 62 samples", "repaired and proved to 1e-6"],
    "bench_solvers": ["soft targets", "free soft targets", "weighted", "smoothed"],
    "train_digits": ["MLP", "CNN"],
}
"""Rows that a small run must not lose, by their first cell: one of every kind that the script has a function for."""
NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]\d+)?")


def mentioned_alone():
    """Scripts that pages name by path and in no command."""
    commands = {pages.script_of(words) for page in PAGES for words in pages.commands(page)}
    names = {name for page in PAGES for name in pages.scripts(page)} - commands
    return sorted(name for name in names if name.split("/")[1] in FOLDERS)


def script_commands():
    alone = [
        ["python", "-m", name.removesuffix(".py").replace("/", "."), *ARGUMENTS.get(name, [])]
        for name in mentioned_alone()
    ]
    return [*listed(PAGES, pages.script_of), *(pytest.param(words, id=words[2]) for words in alone)]


def rows_of(text):
    """Rows of a script's output: lines with two numbers or more; ``ValueError`` where a table is not one."""
    if re.search(r"\bnan\b|\binf\b|Traceback", text):
        raise ValueError(f"not a number, or a traceback, in\n{text}")
    width, empty = None, False
    for line in [*text.splitlines(), ""]:
        cells = line.count("|") - 1 if line.startswith("|") else None
        if re.fullmatch(r"\|(---\|)+", line):
            empty = True
        elif cells is not None and width is not None:
            empty = False
            if cells != width and not re.search(r"not within|Error", line):
                raise ValueError(f"a row of {cells} cells in a table of {width}: {line}")
        elif cells is None and empty:
            raise ValueError(f"a table without rows in\n{text}")
        width = None if cells is None else width or cells
    return [line for line in text.splitlines() if len(NUMBER.findall(line)) >= 2]


def run(words, folder):
    """The script of a command, small, in a process of its own; files that it writes go to the folder."""
    command = [sys.executable, *words[1:], "--small"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    if not words[1].startswith("-"):
        command[1] = str(ROOT / words[1])
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=600)


@pytest.mark.parametrize("words", script_commands())
def test_every_script_that_a_page_names_prints_rows_at_its_smallest_size(words, tmp_path):
    script = Path(pages.script_of(words)).stem
    name = next((name for name in NEEDS if name[0] == script and name[1] in words), None)
    (tmp_path / "neural_collapse.py").write_text(STAND_IN)
    done = run(words, tmp_path)
    missing = [module for module in NEEDS.get(name, []) if importlib.util.find_spec(module) is None]
    if missing:
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]  # the one that is imported first
        assert any(module in last or f"pip install {module}" in done.stderr for module in missing)
        return
    assert done.returncode == 0, done.stderr
    assert rows_of(done.stdout), done.stdout
    cells = {line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")}
    assert set(LABELS.get(script, [])) <= cells
    if script == "record_foreign_measures":
        recorded, kept = (json.loads(path.read_text()) for path in (tmp_path / "recorded.json", MEASURES))
        assert recorded["cases"].keys() == kept["cases"].keys()
        for case, found in recorded["cases"].items():
            assert {**found, "figures": None} == {**kept["cases"][case], "figures": None}
            assert found["figures"].keys() == kept["cases"][case]["figures"].keys()


MEASURES = ROOT / "tests" / "data" / "neural_collapse_measures.json"
STAND_IN = '''
"""Stands for the package whose measures are recorded, which no index has: its names, every figure a plain number."""
import types
import torch

class Accumulator:
    def __init__(self, K, d, M=None, W=None, **size):
        self.shape, self.totals = (K, d), torch.ones(3)
    def accumulate(self, *arrays):
        assert len(arrays[0]) == len(arrays[1])
    def compute(self):
        M = torch.eye(*self.shape, dtype=torch.float64)
        return M, M.mean(dim=0)

class VarNormAccumulator(Accumulator):
    def compute(self):
        return torch.ones(self.shape[0], dtype=torch.float64), None

alike = dict.fromkeys(("MeanAccumulator", "CovarAccumulator", "DecAccumulator"), Accumulator)
accumulate = types.SimpleNamespace(**alike, VarNormAccumulator=VarNormAccumulator)
kernels = types.SimpleNamespace(class_dist_norm_vars=lambda v, M: torch.ones(len(M), len(M)))
names = ("covariance_ratio", "variability_cdnv", "simplex_etf_error", "self_duality_error")
measure = types.SimpleNamespace(
    **dict.fromkeys(names, lambda *arrays: 1.0),
    mean_norms=lambda M, centre: torch.linalg.norm(M - centre, dim=1),
)
'''


def all_scripts():
    found = [path for folder in FOLDERS for path in sorted((ROOT / "tests" / folder).glob("*.py"))]
    return [path for path in found if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


def test_the_pages_name_scripts_and_every_script_is_named():
    """A script that no page names is run by nobody; a name without a file is found as well."""
    named = {name for page in PAGES for name in pages.scripts(page)}
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert {str(path.relative_to(ROOT)) for path in all_scripts()} <= named


def test_options_that_a_script_documents_are_its_own():
    """The docstring of a script shows more command lines than are run."""
    for path in all_scripts():
        source = path.read_text(encoding="utf-8")
        shown = set(re.findall(r"(?<!-)--[a-z][a-z-]+", ast.get_docstring(ast.parse(source)) or ""))
        assert shown <= {*re.findall(r'add_argument\(\s*"(--[a-z-]+)"', source), "--small"}, path.name


def test_a_planted_page_is_found_out(tmp_path):
    page = tmp_path / "new.md"
    page.write_text(
        "Run `python -m tests.benchmarks.bench_unheard_of --seconds 3`, or\n\n```bash\nufm-convex plot x\n```\n"
    )
    assert pages.scripts(page) == ["tests/benchmarks/bench_unheard_of.py"]
    assert pages.commands(page)[1] == ["ufm-convex", "plot", "x"]
    assert run(pages.commands(page)[0], tmp_path).returncode != 0


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n",
        "| a | b |\n|---|---|\n\nlater 1 2",
        "| a | b |\n|---|---|\n| 1 |\n",
        "K 3 nan",
        "1 inf 2",
    ],
)
def test_outputs_without_rows_are_found_out(text):
    with pytest.raises(ValueError, match=r"table|number"):
        rows_of(text)


def test_a_small_size_replaces_what_is_said_and_names_options_only():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    with pytest.raises(ValueError, match="sizes"):
        small(parser, sizes=3)
    small(parser, runs=2)
    assert vars(parsed(parser, ["--runs", "7"])) == {"runs": 7}
    assert vars(parsed(parser, ["--runs", "7", "--small"])) == {"runs": 2}


# -- the command line ----------------------------------------------------------------------------------------------

PLACEHOLDERS = {"CERT": ["c.json"], "FILE": ["trained.npz"], "NAME": ["gram"], "…": PROBLEM}
NEED_A_PROBLEM = ("solve", "certify", "crosscheck", "export", "plot")
SOURCES = ("--class-counts", "--labels", "--profile", "--tokens", "--conformance", "--help")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files that pages speak of, by the names they have there."""
    folder = tmp_path_factory.mktemp("files")
    problem = ufm.Problem([500, 100, 20], 5e-4, 5e-4)
    solution = ufm.solve(problem, solver="clarabel")
    W, H = solution.factors()
    labels = np.repeat(np.arange(3), problem.class_counts)
    np.savez(folder / "trained.npz", weights=W, features=H[labels], labels=labels)
    np.savez(folder / "network.npz", **{"fc.weight": W, "penultimate": H[labels], "y": labels, "conv1.bias": labels})
    np.save(folder / "y.npy", labels)
    (folder / "counts.csv").write_text("class_id,count\n0,500\n1,100\n2,20\n")
    (folder / "targets.csv").write_text("cat,dog,bird\n0.5,0.5,0\n0,0.3,0.7\n1,0,0\n0,1,0\n")
    rng = np.random.default_rng(0)
    mixed = {"weights": rng.normal(size=(3, 2)), "features": np.abs(rng.normal(size=(14, 2)))}
    np.savez(folder / "mixed.npz", **mixed, labels=np.repeat(np.arange(4), [5, 4, 3, 2]))
    (folder / "corpus.txt").write_text("0 1 2 0 3 1 2 4 0 1 3 0 2 4 1 0 3 2 0 1 4 3 0 2 1\n")
    problem.save(folder / "problem.toml")
    certificate = ufm.certify(problem, ufm.Candidate(weights=W, features=H[labels], labels=labels))
    for name in ("c.json", "certificate.json", "optimum.json"):
        certificate.save(folder / name)
    bound = ufm.certify(problem, solution=solution)
    bound.save(folder / "bound.json")
    (folder / "bound.v").write_text(formal.formalise(bound.to_json().encode()).text)
    save_cbf_solution(folder / "from_my_solver.json", problem, "class", cbf_solution(problem, solution))
    return folder


def runnable(words):
    """A command of a page with its placeholders filled, a problem where none is named, and grids of two points."""
    words = [filled for word in words for filled in PLACEHOLDERS.get(word, [word])]
    words = [re.sub(r"^([\d.e-]+:[\d.e-]+):\d+$", r"\1:2", word) for word in words]
    if "--conformance" in words:
        words += ["--solvers", "lbfgsb"]
    files = [
        word for word in words[2:] if re.search(r"\.(npz|toml|json)$", word) and words[words.index(word) - 1] != "-o"
    ]
    if words[1] == "verify" and not files:
        words.append("c.json")
    if words[1] in NEED_A_PROBLEM and not files and not any(source in words for source in SOURCES):
        words += PROBLEM
    if words[1] == "plot" and "-o" not in words:
        words += ["-o", "figure.png"]
    return words


@pytest.mark.parametrize("words", listed([*PAGES, *HELP], lambda words: words[0] == "ufm-convex"))
def test_every_command_line_that_a_page_names_runs(words, files, monkeypatch):
    if "--formal" in words and not coq_is_here():
        pytest.skip(SKIPPED)
    monkeypatch.chdir(files)
    words = runnable(words)
    result = CliRunner().invoke(application(), words[1:], env={"COLUMNS": "100"})
    # 1 is the word of a judge: a candidate is suboptimal, a solver wrong; everything else that pages show succeeds
    assert result.exit_code in ((0, 1) if words[1] in ("certify", "crosscheck", "report") else (0,)), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if "-o" in words:
        assert (files / words[words.index("-o") + 1]).stat().st_size > 0
    else:
        assert result.stdout.strip()
    if "--json" in words:
        assert json.loads(result.stdout)


@pytest.mark.parametrize(
    "words", [pytest.param(words, id=" ".join(words)) for page in PAGES for words in pages.options(page) if words[1:]]
)
def test_every_option_with_a_value_that_a_page_shows_is_taken(words, files, monkeypatch):
    monkeypatch.chdir(files)
    command = "crosscheck" if words[0] == "--level" else "solve"
    source = [] if words[0] in SOURCES else ["--labels", "y.npy"] if words[0] == "--num-classes" else PROBLEM[:2]
    solvers = ["--solvers", "lbfgsb"] if command == "crosscheck" else []
    result = CliRunner().invoke(application(), [command, *words, *source, *solvers, *PROBLEM[2:]])
    assert result.exit_code in ((0, 1) if command == "crosscheck" else (0,)), result.output


def known_options():
    """Options of every subcommand, and of every script."""
    group = typer.main.get_command(application())
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    found = {name for command in group.commands.values() for option in command.params for name in option.opts}
    for path in [*all_scripts(), ROOT / "tests" / "scripts.py"]:
        found.update(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text(encoding="utf-8")))
    return found


def test_every_option_that_a_page_shows_exists():
    known = known_options()
    assert {"--json", "--seconds"} <= known
    assert "--no-such-option" not in known
    shown = {words[0].split("=")[0] for page in PAGES for words in pages.options(page)}
    assert shown <= known


def test_the_subcommands_are_those_that_pages_are_searched_for():
    assert set(typer.main.get_command(application()).commands) == set(SUBCOMMANDS)


@pytest.mark.parametrize("words", listed(PAGES, lambda words: words[:3] == ["python", "-m", "ufm_convex.verifier"]))
def test_the_verifier_by_itself_runs_as_pages_say(words, files):
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, cwd=files)
    assert (done.returncode, done.stdout.strip() != "") == (0, True), done.stderr


# -- what is left --------------------------------------------------------------------------------------------------


def other(words):
    """Neither a script nor the command line nor the verifier."""
    return not (pages.script_of(words) or words[0] == "ufm-convex" or words[1:3] == ["-m", "ufm_convex.verifier"])


@pytest.mark.parametrize("words", listed(PAGES, other))
def test_every_other_command_is_one_that_the_continuous_run_repeats(words):
    """Making an environment and running pytest in it are the business of .ci/run; extras must exist."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    if words[:2] == ["pip", "install"]:
        named = {word for word in words[2:] if not word.startswith("-")}
        packages = {re.match(r"[\w.-]+", one)[0] for extra in extras.values() for one in extra}
        own = {word for word in named if re.fullmatch(r"\.(\[\w+\])?", word)}
        assert {extra for word in own for extra in re.findall(r"\[(\w+)\]", word)} <= set(extras)
        assert named - own <= packages
    elif words[0] == "pytest":
        markers = [words[words.index("-m") + 1].removeprefix("not ")]
        assert all(
            any(known.startswith(f"{name}:") for known in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"])
            for name in markers
        )
    else:
        run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        assert words == ["python", "-m", "venv", ".venv"] or f".venv-extras/bin/{' '.join(words)}\n" in run

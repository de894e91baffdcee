"""Numbers out: the table of a solution or a candidate, as columns, a data frame, CSV or Parquet."""

import csv
import json
import sys
import types

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import _tables
from ufm_convex.cli import application
from ufm_convex.errors import FileFormatError, MissingExtraError, UnknownNameError

COUNTS = [500, 100, 5]
PROBLEM = ufm.Problem(COUNTS, 5e-3, 5e-3)
WORDS = ["--class-counts", "500,100,5", "--lambda-w", "5e-3", "--lambda-h", "5e-3"]
NAMES = ["class", "count", "loss_weight", "margin", "feature_norm", "weight_norm", "bias", "collapsed", "merged_with"]


def run(*words):
    return CliRunner().invoke(application(), list(map(str, words)), env={"COLUMNS": "100"})


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_the_theorems_numbers():
    found, theory = ufm.solve(PROBLEM, tolerance=1e-12).per_class(), ufm.theory.optimum(PROBLEM)
    assert list(found) == NAMES
    assert found["class"].tolist() == [0, 1, 2]
    assert found["count"].tolist() == COUNTS
    assert found["loss_weight"].tolist() == [n / 605 for n in COUNTS]
    assert found["collapsed"].tolist() == theory.collapsed.tolist() == [False, False, True]
    assert found["merged_with"].tolist() == [0, 1, 2]
    W, H = theory.factors()
    # norms are roots of Gram entries, which are known to the root of the value's accuracy
    assert found["feature_norm"] == pytest.approx(np.linalg.norm(H, axis=1), abs=1e-5)
    assert found["weight_norm"] == pytest.approx(np.linalg.norm(W, axis=1), abs=1e-5)


def test_free_features_say_with_whom_a_class_is_merged():
    problem = ufm.Problem([90, 80, 3, 3, 3], 0.01, 0.01, features="free")
    assert ufm.solve(problem, tolerance=1e-9).per_class()["merged_with"].tolist() == [0, 1, 2, 2, 2]


def test_a_contrastive_solution_has_a_table_too():
    solution = ufm.solve(ufm.ContrastiveProblem([6, 4, 1], lambda_h=1e-3))
    found = solution.per_class()
    assert found["count"].tolist() == [6, 4, 1]
    assert np.flatnonzero(found["collapsed"]).tolist() == list(solution.collapsed_classes)


def test_csv_keeps_every_digit(tmp_path):
    columns = {"a": np.array([1, 2]), "b": np.array([0.1 + 0.2, np.nan]), "c": np.array([True, False])}
    (tmp_path / "t.csv").write_bytes(_tables.encoded(columns, tmp_path / "t.csv"))
    assert (tmp_path / "t.csv").read_text() == "a,b,c\n1,0.30000000000000004,true\n2,,false\n"


def test_the_command_writes_both_kinds(tmp_path):
    done = run("solve", *WORDS, "--table", tmp_path / "t.csv", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["status"] == "certified"
    rows = read(tmp_path / "t.csv")
    assert list(rows[0]) == NAMES
    assert [row["collapsed"] for row in rows] == ["false", "false", "true"]
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run("certify", *WORDS, "--table", tmp_path / "t.parquet").exit_code == 0
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == NAMES
    assert table["count"].to_pylist() == COUNTS
    assert [str(float(row["margin"])) for row in rows] == [str(x) for x in table["margin"].to_pylist()]


@pytest.mark.parametrize("command", ["certify", "report"])
def test_a_candidate_has_its_own_numbers(command, tmp_path):
    W, H = ufm.theory.optimum(PROBLEM).factors()
    labels = np.repeat(np.arange(3), COUNTS)
    np.savez(tmp_path / "c.npz", weights=1.1 * W, features=H[labels], labels=labels)
    done = run(command, tmp_path / "c.npz", "--lambda-w", 5e-3, "--lambda-h", 5e-3, "--table", tmp_path / "t.csv")
    assert done.exit_code == 1
    rows = read(tmp_path / "t.csv")
    assert [float(row["weight_norm"]) for row in rows] == pytest.approx(1.1 * np.linalg.norm(W, axis=1), rel=1e-14)
    candidate = ufm.Candidate(weights=1.1 * W, features=H[labels], labels=labels)
    gap = ufm.attribute_gap(PROBLEM, candidate).by_class
    assert [float(row["gap"]) for row in rows] == pytest.approx(gap, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", ["t.xlsx", "t", "nowhere/t.csv"])
def test_a_table_that_cannot_be_written_is_refused_before_the_work(name, tmp_path, monkeypatch):
    monkeypatch.setattr("ufm_convex.solving.solve", lambda *_, **__: pytest.fail("worked first"))
    for command in ("solve", "certify", "report"):
        done = run(command, *WORDS, "--table", tmp_path / name)
        assert done.exit_code == 2
        assert "FileFormatError" in done.output


def test_every_command_that_has_a_solution_of_classes_writes_tables():
    """By its options: what asks for a problem and solves it, but for files of other forms and figures."""
    commands = typer.main.get_command(application()).commands
    options = {name: {word for one in found.params for word in one.opts} for name, found in commands.items()}
    solving = {name for name, words in options.items() if {"--lambda-w", "--json"} <= words}
    assert {name for name, words in options.items() if "--table" in words} == solving - {"crosscheck"}
    assert solving == {"solve", "certify", "report", "crosscheck"}  # a row a solver, and none a class


def test_parquet_needs_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr(_tables.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pyarrow is not installed"):
        _tables.check_table(tmp_path / "t.parquet")
    _tables.check_table(tmp_path / "t.csv")
    with pytest.raises(FileFormatError, match="suffix"):
        _tables.check_table(tmp_path / "t.txt")


class Frame:
    def __init__(self, data):
        self.data = data


@pytest.fixture
def libraries(monkeypatch):
    """Only those that a test adds are installed."""
    there = set()
    monkeypatch.setattr(_tables, "_installed", lambda name: name in there)

    def add(name):
        there.add(name)
        stand_in = types.ModuleType(name)
        stand_in.DataFrame = type(name, (Frame,), {})
        monkeypatch.setitem(sys.modules, name, stand_in)

    return add


@pytest.mark.parametrize(
    ("there", "asked", "got"),
    [
        (["polars"], None, "polars"),
        (["pandas"], None, "pandas"),
        (["pandas", "polars"], None, "polars"),
        (["pandas", "polars"], "pandas", "pandas"),
    ],
)
def test_the_library_that_is_installed_makes_the_frame(there, asked, got, libraries):
    for name in there:
        libraries(name)
    frame = ufm.solve(PROBLEM).to_dataframe(asked)
    assert type(frame).__name__ == got
    assert list(frame.data) == NAMES


@pytest.mark.parametrize(
    ("there", "asked", "kind"),
    [([], None, MissingExtraError), (["polars"], "pandas", MissingExtraError), (["polars"], "dask", UnknownNameError)],
)
def test_a_library_that_is_not_there_is_named(there, asked, kind, libraries):
    for name in there:
        libraries(name)
    with pytest.raises(kind):
        ufm.solve(PROBLEM).to_dataframe(asked)


@pytest.mark.parametrize("library", _tables.LIBRARIES)
def test_real_libraries_keep_names_and_numbers(library):
    pytest.importorskip(library, reason=f"{library} is not installed: pip install 'ufm-convex[dataframe]'")
    solution = ufm.solve(PROBLEM)
    frame = solution.to_dataframe(library)
    assert list(frame.columns) == NAMES
    for name, column in solution.per_class().items():
        assert (frame[name].to_numpy() == column).all()
        assert frame[name].to_numpy().dtype == column.dtype

"""Sweeps: the grid, the journal, resuming, determinism, tables, the figure, the command."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from planted_solvers import Bomb
from processes import SOON, alive, children, within
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import solving
from ufm_convex.cli import application, main
from ufm_convex.errors import FileFormatError, HypothesisError, ProblemError, SolverError, UnknownNameError
from ufm_convex.problem import Problem
from ufm_convex.sweep import FIELDS, DecayGrid, Grid, phase_diagram, sweep, values_of, write_csv, write_parquet

GRID = Grid([1e-3, 1e-2, 3e-2], [1.0, 50.0], [4], max_count=200)


def test_a_grid_is_a_product_in_a_fixed_order():
    grid = Grid([1e-3, 1e-2], [1, 10], [3, 5], ["cross-entropy"], decay_ratio=2.0)
    assert len(grid) == 8
    assert [grid[index].lambda_w for index in range(4)] == [1e-3, 1e-2, 1e-3, 1e-2]
    assert (grid[5].classes, grid[5].imbalance, grid[5].lambda_h) == (5, 1.0, 2e-2)
    assert grid.problem(grid[7]).class_counts.tolist() == [1000, 562, 316, 177, 100]  # 1000 · 10^(−k/4), rounded down


@pytest.mark.parametrize(
    "change",
    [
        {"decays": []},
        {"decays": [0.0]},
        {"decays": [math.nan]},
        {"decays": ["x"]},
        {"imbalances": [0.5]},
        {"classes": [1]},
        {"losses": []},
        {"decays": np.ones(2000), "imbalances": np.ones(2000)},
    ],
)
def test_a_grid_refuses_what_is_out_of_range(change):
    with pytest.raises(ProblemError, match="Expected"):
        Grid(**{"decays": [1e-3], "imbalances": [1.0], **change})


def test_a_grid_refuses_unknown_words():
    with pytest.raises(UnknownNameError):
        Grid([1e-3], [1.0], losses=["focale"])
    with pytest.raises(UnknownNameError):
        Grid([1e-3], [1.0], features="positive")


def test_values_have_equal_ratios_and_both_ends():
    values = values_of("1e-4:1e-1:4", "--decays")
    assert (values[0], values[-1]) == (1e-4, 1e-1)
    assert np.allclose(values, [1e-4, 1e-3, 1e-2, 1e-1], rtol=1e-12)  # a power has a few units of rounding
    assert values_of("0.1,0.2", "--decays") == [0.1, 0.2]
    assert values_of("2:2:1", "--decays") == [2.0]


@pytest.mark.parametrize("text", ["", "a", "1:2", "2:1:5", "0:1:5", "1:2:x", "1:inf:3", "1:2:3:4", "1:2:0"])
def test_values_that_are_none_are_refused(text):
    with pytest.raises(ProblemError, match="--decays"):
        values_of(text, "--decays")


def test_rows_are_the_theorem_where_a_conic_solver_made_them(tmp_path):
    rows = sweep(GRID, tmp_path / "j", solver="scs")
    assert [row["index"] for row in rows] == list(range(6))
    assert all(tuple(row) == FIELDS and row["status"] == "certified" and row["solver"] == "scs" for row in rows)
    for row in rows:
        counts = GRID.counts(4, row["imbalance"])
        threshold = row["num_samples"] ** 2 * row["lambda_w"] * row["lambda_h"] * 4 / 3  # n_c, math of Theorem 1
        assert row["collapsed"] == row["theory_collapsed"] == int((counts <= threshold).sum())
        assert row["critical_size"] == pytest.approx(threshold, rel=1e-14)
    assert {row["collapsed"] for row in rows} > {0, 4}  # the grid crosses the boundary


def test_the_table_does_not_depend_on_the_workers(tmp_path):
    alone = sweep(GRID, tmp_path / "1", solver="scs")
    assert sweep(GRID, tmp_path / "2", solver="scs", workers=2) == alone


def test_finished_points_are_not_solved_again(tmp_path, monkeypatch):
    full = sweep(GRID, tmp_path / "j")
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join(lines[:4]) + lines[4][:30])  # three points, and half a line
    solved, solve = [], solving.solve
    monkeypatch.setattr(solving, "solve", lambda problem, **rest: solved.append(problem) or solve(problem, **rest))
    seen = []
    assert sweep(GRID, tmp_path / "j", progress=lambda done, total: seen.append((done, total))) == full
    assert len(solved) == 3
    assert seen == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert sweep(GRID, tmp_path / "j") == full
    assert len(solved) == 3


def test_a_journal_belongs_to_one_sweep(tmp_path):
    sweep(GRID, tmp_path / "j")
    with pytest.raises(FileFormatError, match="another sweep"):
        sweep(GRID, tmp_path / "j", tolerance=1e-7)
    with pytest.raises(FileFormatError, match="another sweep"):
        sweep(Grid([1e-3], [1.0]), tmp_path / "j")


@pytest.mark.parametrize("planted", [b"nonsense\n", b'{"index": 0}\n', b"[1]\n", b"\xff\xfe\n"])
def test_a_damaged_journal_is_refused(tmp_path, planted):
    sweep(GRID, tmp_path / "j")
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join([*lines[:2], planted, *lines[2:]]))
    with pytest.raises(FileFormatError, match="damaged"):
        sweep(GRID, tmp_path / "j")


def test_a_point_that_raises_does_not_stop_the_others(tmp_path, monkeypatch):
    solve = solving.solve

    def breaks(problem, **rest):
        if problem.lambda_w == 1e-2:
            raise SolverError("it broke.", expected="a result", fix="none.")
        return solve(problem, **rest)

    monkeypatch.setattr(solving, "solve", breaks)
    rows = sweep(GRID, tmp_path / "j")
    assert [row["status"] for row in rows] == ["certified", "failed", "certified"] * 2
    assert rows[1]["message"] == "it broke."
    assert rows[1]["value"] is None


def test_a_failed_point_is_tried_again(tmp_path, monkeypatch):
    solve = solving.solve
    with monkeypatch.context() as patch:
        patch.setattr(
            solving,
            "solve",
            lambda problem, **rest: (_ for _ in ()).throw(SolverError("it broke.", expected="a result", fix="none.")),
        )
        assert {row["status"] for row in sweep(GRID, tmp_path / "j")} == {"failed"}
    assert solving.solve is solve
    assert {row["status"] for row in sweep(GRID, tmp_path / "j")} == {"certified"}


@pytest.mark.parametrize("method", [{"solver": "nope"}, {"level": "nope"}, {"tolerance": 5.0}])
def test_a_method_that_no_point_can_have_is_refused(tmp_path, method):
    with pytest.raises((UnknownNameError, ProblemError)):
        sweep(GRID, tmp_path / "j", **method)


@pytest.mark.parametrize("text", [b"my notes", b'{"a": 1}\nlast line', b"one\ntwo"])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, text):
    (tmp_path / "j").write_bytes(text)
    with pytest.raises(FileFormatError):
        sweep(GRID, tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == text


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks")
def test_two_sweeps_do_not_share_a_journal(tmp_path):
    import fcntl

    with (tmp_path / "j").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FileFormatError, match="in use"):
            sweep(GRID, tmp_path / "j")


def test_extreme_decays_and_free_features_are_rows_without_invented_numbers(tmp_path):
    rows = sweep(Grid([1e-3, 1e200], [1.0], [4], max_count=20), tmp_path / "1")
    assert rows[1]["critical_size"] is None
    free = sweep(Grid([1e-3], [1.0], [4], max_count=20, features="free"), tmp_path / "2")
    assert (free[0]["status"], free[0]["collapsed"], free[0]["theory_collapsed"]) == ("certified", None, None)


@pytest.mark.parametrize("workers", [0, -2, 1.5, True])
def test_workers_are_counted(tmp_path, workers):
    with pytest.raises(ProblemError, match="workers"):
        sweep(GRID, tmp_path / "j", workers=workers)


def test_tables_keep_every_digit(tmp_path):
    from pyarrow import parquet

    rows = sweep(GRID, tmp_path / "j")
    write_csv(rows, tmp_path / "t.csv")
    write_parquet(rows, tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == rows
    with (tmp_path / "t.csv").open(newline="") as handle:
        read = list(csv.DictReader(handle))
    assert [float(row["value"]) for row in read] == [row["value"] for row in rows]
    assert sorted(os.listdir(tmp_path)) == ["j", "t.csv", "t.parquet"]


def test_the_figure_shows_the_rows(tmp_path):
    rows = sweep(GRID, tmp_path / "j")
    rows[0]["collapsed"] = 3  # planted: the theorem says 0
    figure = phase_diagram(rows)
    ax = figure.axes[0]
    drawn = ax.collections[0].get_array().reshape(2, 3)
    assert drawn.tolist() == [
        [25.0 * row["collapsed"] for row in rows[:3]],
        [25.0 * row["collapsed"] for row in rows[3:]],
    ]
    crosses = ax.lines[0]
    assert (list(crosses.get_xdata()), list(crosses.get_ydata())) == ([1e-3], [1.0])
    with pytest.raises(ProblemError, match="panels"):
        phase_diagram([])


def lines_of(figure, panel=0):
    return {line.get_label(): line for line in figure.axes[panel].lines if not line.get_label().startswith("_")}


def at(line, ratio):
    """λ_W of a line at a ratio; NaN unless the line has that very ratio."""
    x, y = (np.asarray(data, dtype=float) for data in line.get_data())
    return float(x[y == ratio][0]) if (y == ratio).any() else math.nan


def test_the_lines_are_the_theorems_and_no_contours_through_the_grid(tmp_path):
    """Balanced: n = N² λ² K/(K−1) at λ = √(n (K−1)/K)/N, which is 0.003 for K = 10 and n = 1000, N = 10,000."""
    grid = Grid(values_of("1e-3:1e-2:4", "decays"), [1, 10], [10], max_count=1000)
    lines = lines_of(phase_diagram(sweep(grid, tmp_path / "j")))
    assert at(lines["first class collapses"], 1.0) == pytest.approx(3e-3, rel=1e-15)
    assert at(lines["all classes collapse"], 1.0) == pytest.approx(3e-3, rel=1e-15)
    N, n = sum(counts := grid.counts(10, 10.0)), (min(counts), max(counts))
    for size, line in zip(n, lines.values(), strict=True):
        assert at(line, 10.0) == pytest.approx(math.sqrt(size * 9 / 10) / N, rel=1e-14)


def test_the_lines_are_those_of_the_figure_phase(tmp_path):
    from ufm_convex.plots.phase import phases

    found = phases(Problem([1000, 900, 1], 1e-3, 1e-3))  # ratios up to a thousand, exponential in between
    grid = Grid([1e-3, 1e-2], [1.0, float(found.ratios[-1])], [3], max_count=1000)
    lines = lines_of(phase_diagram(sweep(grid, tmp_path / "j")))
    for line, other in zip(lines.values(), (found.first, found.last), strict=True):
        for ratio in (float(found.ratios[0]), float(found.ratios[-1])):
            assert at(line, ratio) == float(other[found.ratios == ratio][0])


@pytest.mark.parametrize(
    ("loss", "size"),
    [
        # docs/closed_forms.md, section 3: n ≤ N² λ² (K−1)/K, and n ≤ 4 N² λ²/K
        ("multiclass-hinge", lambda K, N, lam: N**2 * lam**2 * (K - 1) / K),
        ("binary-cross-entropy", lambda K, N, lam: 4 * N**2 * lam**2 / K),
    ],
)
def test_other_losses_have_lines_of_their_own(loss, size, tmp_path):
    grid = Grid([1e-3, 1e-1], [1, 5], [3], (loss,), max_count=50, decay_ratio=4.0)
    lines = lines_of(phase_diagram(sweep(grid, tmp_path / "j")))
    lam_w = at(lines["first class collapses"], 1.0)
    assert size(3, 150, 2.0 * lam_w) == pytest.approx(50.0, rel=1e-13)  # λ = √(λ_W · 4 λ_W)


def test_where_no_theorem_has_one_threshold_there_is_no_line(tmp_path):
    grid = Grid([1e-2, 1e-1], [1, 5], [5], ("binary-cross-entropy",), max_count=20)
    assert lines_of(phase_diagram(sweep(grid, tmp_path / "j"))) == {}


def test_a_single_decay_or_ratio_is_drawn_too(tmp_path):
    for k, (decays, ratios) in enumerate([([1e-2], [1, 10]), ([1e-3, 1e-2], [5]), ([1e-2], [5])]):
        assert phase_diagram(sweep(Grid(decays, ratios, [3], max_count=50), tmp_path / f"j{k}")).axes


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["sweep", *arguments])
    return end.value.code


def test_the_command_writes_both_tables_and_the_figure(tmp_path, capsys):
    target = tmp_path / "p.parquet"
    grid = ("--decays", "1e-3,1e-2,3e-2", "--imbalances", "1,50", "--classes", "4", "--max-count", "200")
    assert command(*grid, "--plot", "--json", "-o", str(target)) == 0
    assert json.loads(capsys.readouterr().out) == {
        "points": 6,
        "certified": 6,
        "bounded": 0,
        "failed": 0,
        "table": str(target),
    }
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".parquet", ".jsonl", ".png"}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert command(*grid, "--tolerance", "1e-9", "-o", str(target)) == 2  # another sweep's journal


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-o", "x.txt"),
        ("-o", "x.csv", "--classes", "a"),
        ("-o", "x.csv", "--workers", "0"),
        ("-o", "x.csv", "--decays", "1:0:3"),
        ("-o", "x.csv", "--max-count", "0"),
        ("-o", "x.csv", "--profile", "no"),
        ("-o", "x.csv", "--plot", "--classes", "2,3,4,5,6,7,8"),
        ("-o", "x.csv", "--plot", "--features", "free"),
    ],
)
def test_the_command_refuses_bad_input(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    assert "Expected" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


HELD = (
    "import time\n"
    "from ufm_convex.sweep import running\n"
    "tell = running._tell\n"
    "running._tell = lambda told, done, total: time.sleep(600) if done == 3 else tell(told, done, total)\n"
)
"""A sweep that has three rows and no more, however long whoever is to end it takes to look."""


def test_a_kill_loses_no_finished_point(tmp_path):
    """Killed without warning once some points are there, and started again."""
    journal = tmp_path / "j"
    script = HELD + (
        "from ufm_convex.sweep import Grid, sweep, values_of\n"
        "grid = Grid(values_of('1e-3:3e-2:15', ''), [1.0, 50.0], [4], max_count=200)\n"
        f"sweep(grid, {str(journal)!r}, solver='scs')\n"
    )
    running = subprocess.Popen([sys.executable, "-c", script])
    try:
        assert within(SOON, lambda: journal.exists() and journal.read_bytes().count(b"\n") == 4)
    finally:
        running.kill()
        running.wait()
    before = [json.loads(line) for line in journal.read_bytes().split(b"\n")[1:-1]]
    assert len(before) == 3
    grid = Grid(values_of("1e-3:3e-2:15", ""), [1.0, 50.0], [4], max_count=200)
    solved = []
    rows = sweep(grid, journal, solver="scs", progress=lambda done, total: solved.append(done))
    assert len(solved) - 1 == 30 - len(before)  # the first call says how many were there
    assert [rows[row["index"]] for row in before] == before
    assert all(row["status"] == "certified" for row in rows)


@pytest.mark.slow
def test_the_table_is_the_same_on_a_dask_cluster(tmp_path):
    from dask.distributed import Client, LocalCluster

    alone = sweep(GRID, tmp_path / "1", solver="scs")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        assert sweep(GRID, tmp_path / "2", solver="scs", executor=client.get_executor()) == alone


# -- workers that die, and the end of a sweep ----------------------------------------------------------------------


def test_the_table_is_the_same_from_any_executor(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert sweep(GRID, tmp_path / "1", executor=pool) == sweep(GRID, tmp_path / "2", isolate=True)
        for given in ({"workers": 2}, {"isolate": True}):
            with pytest.raises(ProblemError, match="an executor is given"):
                sweep(GRID, tmp_path / "3", executor=pool, **given)


@pytest.mark.parametrize(("workers", "how"), [(1, "SIGKILL"), (2, "SIGKILL"), (2, "exit")])
def test_a_worker_that_dies_is_a_row_and_the_sweep_goes_on(tmp_path, monkeypatch, workers, how):
    """Planted: a point whose problem ends the process that unpickles it; then the sweep is taken up without it."""
    genuine = Grid.problem
    with monkeypatch.context() as patch:
        patch.setattr(Grid, "problem", lambda self, at: Bomb(how) if at.index == 3 else genuine(self, at))
        rows = sweep(GRID, tmp_path / "j", workers=workers, isolate=True)
    assert [row["status"] for row in rows] == ["certified"] * 3 + ["failed"] + ["certified"] * 2
    words = {"SIGKILL": "was ended by SIGKILL", "exit": "left with exit code 3, without an answer"}[how]
    assert rows[3]["message"] == f"the process of a worker {words}."
    assert rows[3]["lambda_w"] == GRID[3].lambda_w
    assert sweep(GRID, tmp_path / "j", workers=workers) == sweep(GRID, tmp_path / "undisturbed")


def test_whatever_a_point_raises_is_its_row(tmp_path, monkeypatch):
    solve = solving.solve

    def breaks(problem, **rest):
        if problem.lambda_w == 1e-2:
            raise MemoryError("Unable to allocate 1. TiB")
        return solve(problem, **rest)

    monkeypatch.setattr(solving, "solve", breaks)
    rows = sweep(GRID, tmp_path / "j")
    assert [row["status"] for row in rows] == ["certified", "failed", "certified"] * 2
    assert rows[1]["message"] == "MemoryError: Unable to allocate 1. TiB"


def test_an_interrupted_sweep_is_not_a_failed_row(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(solving, "solve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep(GRID, tmp_path / "j")
    assert (tmp_path / "j").read_bytes().count(b"\n") == 1  # the head alone


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, -15), (signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_sweep_that_is_ended_leaves_no_process_and_loses_no_row(tmp_path, how, code):
    target = tmp_path / "p.csv"
    arguments = ["--decays", "1e-3:3e-2:8", "--imbalances", "1,50", "--classes", "4", "--max-count", "200"]
    arguments += ["--solver", "scs", "--workers", "2", "-o", str(target)]
    script = HELD + "from ufm_convex.cli import main; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", script, "sweep", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    journal = target.with_suffix(".journal.jsonl")
    with running:
        assert within(SOON, lambda: journal.exists() and journal.read_bytes().count(b"\n") == 4)
        below = children(running.pid)
        assert len(below) == 2
        running.send_signal(how)
        said, complained = running.communicate(timeout=SOON)  # held up by an orphan that has stdout
    assert running.returncode == code
    assert (said, complained) == ("", "Interrupted.\n" if how == signal.SIGINT else "")
    assert within(SOON, lambda: not alive(below))
    before = [json.loads(line) for line in journal.read_bytes().split(b"\n")[1:-1]]
    assert len(before) == 3
    assert command(*arguments) == 0
    grid = Grid(values_of("1e-3:3e-2:8", ""), [1.0, 50.0], [4], max_count=200)
    rows = sweep(grid, journal, solver="scs")
    assert [rows[row["index"]] for row in before] == before
    assert rows == sweep(grid, tmp_path / "alone", solver="scs")


@pytest.mark.parametrize("blocked", [".csv", ".parquet", ".png", ".journal.jsonl"])
def test_every_file_of_a_sweep_is_checked_before_the_work(tmp_path, monkeypatch, capsys, blocked):
    def too_early(*_, **__):
        raise AssertionError("solved before the outputs were checked")

    monkeypatch.setattr(solving, "solve", too_early)
    target = tmp_path / "p.csv"
    target.with_suffix(blocked).mkdir()
    assert command("--plot", "--decays", "1e-3", "--imbalances", "1", "-o", str(target)) == 2
    assert f"p{blocked} cannot be" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["pyarrow", "matplotlib", "threadpoolctl"])
def test_a_package_that_is_missing_is_found_before_the_work(tmp_path, monkeypatch, capsys, missing):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    assert command("--plot", "-o", str(tmp_path / "p.csv")) == 2
    assert f"{missing} is not installed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_journal_on_a_full_disk_is_an_error_with_its_path(tmp_path, monkeypatch):
    from ufm_convex.sweep import running

    genuine, rows = running.write_all, []

    def full(descriptor, data):
        rows.append(data)
        if len(rows) == 4:
            genuine(descriptor, data[:20])
            raise OSError(28, "No space left on device")
        genuine(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(running, "write_all", full)
        with pytest.raises(FileFormatError, match="j cannot be written: No space left on device"):
            sweep(GRID, tmp_path / "j")
    solved = []
    assert len(sweep(GRID, tmp_path / "j", progress=lambda done, total: solved.append(done))) == 6
    assert solved == [2, 3, 4, 5, 6]  # two rows were there, and half of one


# -- over losses ---------------------------------------------------------------------------------------------------

LOSSES = ["binary-cross-entropy", "cross-entropy", "mean-squared-error", "multiclass-hinge"]
AT_ZERO = {"binary-cross-entropy": 3 * math.log(2), "cross-entropy": math.log(3), "multiclass-hinge": 1.0}
"""The loss of zero logits at K = 3: the optimum when every class has collapsed."""


def swept_losses(folder):
    """Loss and decay → value, from the table that the command writes."""
    target = folder / "losses.csv"
    arguments = ["--decays", "2e-3,1", "--imbalances", "5", "--classes", "3", "--max-count", "20", "-o", str(target)]
    assert CliRunner().invoke(application(), ["sweep", *arguments, "--loss", ", ".join(LOSSES)]).exit_code == 0
    with target.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["loss"] for row in rows] == [loss for loss in LOSSES for _ in range(2)]
    return {(row["loss"], float(row["lambda_w"])): float(row["value"]) for row in rows}


def deviations(values):
    """Largest relative difference from the programme written out in cvxpy, and from the loss of zero logits."""
    import cvxpy as cp

    from ufm_convex.crosscheck.textbook import Textbook
    from ufm_convex.losses import make
    from ufm_convex.problem import Problem

    found = [abs(values[loss, 1.0] / value - 1.0) for loss, value in AT_ZERO.items()]
    for loss in LOSSES:
        textbook = Textbook.of(Problem([20, 8, 4], 2e-3, 2e-3, loss=make(loss)))
        textbook.programme.solve(solver=cp.CLARABEL)
        found.append(abs(textbook.programme.value / values[loss, 2e-3] - 1.0))
    return max(found)


def test_a_sweep_over_losses_has_the_values_of_each(tmp_path):
    assert deviations(swept_losses(tmp_path)) < 1e-6  # interior point at 1e-8, value of order 0.1


def test_a_sweep_that_confuses_losses_is_seen(tmp_path, monkeypatch):
    from ufm_convex.losses import CrossEntropy
    from ufm_convex.sweep import grid

    monkeypatch.setattr(grid, "make", lambda name: CrossEntropy())
    assert deviations(swept_losses(tmp_path)) > 0.1


def test_a_loss_without_its_parameters_is_refused(tmp_path):
    arguments = ["sweep", "--loss", "soft-target-cross-entropy", "-o", str(tmp_path / "x.csv")]
    result = CliRunner().invoke(application(), arguments)
    assert result.exit_code == 2
    assert "lacks the parameter 'targets'" in result.stderr


# -- one problem over its decays -----------------------------------------------------------------------------------

SHARES = [[0.5, 0.5, 0, 0], [0, 0.2, 0.8, 0], [0.1, 0.1, 0.1, 0.7], [0, 1, 0, 0], [0.25] * 4]
TABLED = Problem([5, 4, 3, 6, 2], 4e-3, 8e-3, loss=ufm.SoftTargetCrossEntropy(SHARES))


def test_one_problem_is_swept_over_its_decays(tmp_path):
    grid = DecayGrid(TABLED, [1e-3, 1e-2, 0.5])
    rows = sweep(grid, tmp_path / "j.jsonl")
    assert [tuple(row) for row in rows] == [FIELDS] * 3
    for row, decay in zip(rows, grid.decays, strict=True):
        problem = Problem([5, 4, 3, 6, 2], decay, 2 * decay, loss=TABLED.loss)
        assert (row["lambda_w"], row["lambda_h"], row["problem_sha256"]) == (decay, 2 * decay, problem.sha256)
        assert (row["classes"], row["imbalance"], row["profile"], row["status"]) == (5, 3.0, "fixed", "certified")
        assert row["value"] == pytest.approx(ufm.solve(problem).value, rel=1e-8)
    # a larger decay costs more, and beyond some all logits are 0: log V
    assert TABLED.floor < rows[0]["value"] < rows[1]["value"] < rows[2]["value"] == pytest.approx(math.log(4))
    assert sweep(grid, tmp_path / "j.jsonl") == rows  # from the journal
    for other in (DecayGrid(TABLED, [1e-3, 1e-2]), DecayGrid(Problem([5, 4], 1e-3, 1e-3), grid.decays)):
        with pytest.raises(FileFormatError, match="another sweep"):
            sweep(other, tmp_path / "j.jsonl")


@pytest.mark.parametrize(
    ("base", "decays", "error", "message"),
    [
        (TABLED, [], ProblemError, "no entries"),
        (TABLED, [0.0], ProblemError, "0.0"),
        (TABLED, [math.nan], ProblemError, "nan"),
        (None, [1e-3], ProblemError, "None"),
        (Problem([2, 1], constraint=ufm.LayerPeeled(1, 1)), [1e-3], HypothesisError, "layer-peeled"),
    ],
)
def test_decays_of_one_problem_that_are_none_are_refused(base, decays, error, message):
    with pytest.raises(error, match=message):
        DecayGrid(base, decays)


def test_the_command_sweeps_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TABLED.save("p.toml")
    np.save("t.npy", SHARES)
    np.save("turned.npy", np.transpose(SHARES))
    table = ("--class-counts", "5,4,3,6,2", "--targets", "t.npy")
    for name, words in (("a", ("p.toml",)), ("b", table)):
        found = CliRunner().invoke(
            application(), ["sweep", *words, "--decays", "1e-3,1e-2", "-o", f"{name}.csv", "--json"]
        )
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["certified"] == 2
    read = [list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines())) for name in "ab"]
    assert [row["lambda_h"] for row in read[0]] == ["0.002", "0.02"]  # the ratio of the file is kept
    assert [row["lambda_h"] for row in read[1]] == ["0.001", "0.01"]
    for words, error in (
        (("p.toml", "--imbalances", "1"), "ProblemError"),
        (("p.toml", "--targets", "t.npy"), "ProblemError"),
        ((*table, "--classes", "4"), "ProblemError"),
        ((*table, "--plot"), "ProblemError"),
        (("--targets", "t.npy"), "ProblemError"),
        (("--class-counts", "5,4", "--targets", "t.npy"), "ShapeError"),
        (("--class-counts", "5,4,3,6", "--targets", "turned.npy"), "ProblemError"),
        (("--loss", "soft-target-cross-entropy"), "ProblemError"),
        (("--loss", "squared-hinge", *table), "ProblemError"),
    ):
        found = CliRunner().invoke(application(), ["sweep", *words, "--decays", "1e-3", "-o", "c.csv", "--json"])
        assert (found.exit_code, json.loads(found.stdout)["error"]) == (2, error), words
        assert not list(tmp_path.glob("c.*"))

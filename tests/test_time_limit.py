"""The time limit of ``solve``: what it keeps, what it ends, and that it changes nothing else.

No result depends on how busy the machine is: where something has to be there before the limit passes, the limit passes
because it is there (``clock``). What is not to be waited for takes minutes, and what is ended is there long before.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import planted_solvers
import pytest
from planted_solvers import Dying, Slow, SlowHere, Sluggish
from processes import children
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import _deadline, _process, solvers, solving
from ufm_convex._deadline import OutOfTime
from ufm_convex._process import apart, isolation
from ufm_convex.cli import application
from ufm_convex.errors import ProblemError
from ufm_convex.solution import TIME_LIMIT, Status
from ufm_convex.solvers import Claim, SolverRun
from ufm_convex.sweep import Grid, sweep

SMALL = ufm.Problem([9, 6, 3], 0.02, 0.03)
CONTRASTIVE = ufm.ContrastiveProblem([4, 3, 2], bound=1.0)
PEELED = ufm.Problem([5, 3, 1], constraint=ufm.LayerPeeled(1.0, 3.0))
MINUTES = 300.0
LATE = 120.0
"""Seconds after a limit by which a result is there, however busy the machine; nobody has waited for ``MINUTES``."""
COMMAND = ["--class-counts", "9,6,3", "--lambda-w", "0.02", "--lambda-h", "0.03"]


def run(*arguments):
    return CliRunner().invoke(application(), [str(one) for one in arguments])


@pytest.fixture
def plant(monkeypatch):
    """Plant a solver: what it is told, under its own name."""

    def planted(kind, **told):
        monkeypatch.setitem(solvers.available(), kind.name, kind)
        for name, value in told.items():
            monkeypatch.setattr(kind, name, value)

    return planted


class Clock:
    """The clock by which limits pass, put forward when it is told to: so a limit passes by an event."""

    def __init__(self):
        self.ahead = 0.0

    def monotonic(self):
        return time.monotonic() + self.ahead

    def leave(self, seconds):
        """Of the limit in force so many seconds are left from now on."""
        self.ahead += _deadline.remaining() - seconds

    def after(self, count, seconds):
        """A listener to ``solve`` after whose news of the ``count``-th run that many seconds are left."""
        heard = []

        def listen(line):
            heard.extend([line] * ("proved relative gap" in line))
            if len(heard) == count:
                heard.append("")  # once
                self.leave(seconds)

        return listen


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(_deadline, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@pytest.fixture(scope="module")
def loose():
    """A run whose bounds are apart."""
    truth = ufm.solve(SMALL, solver="clarabel").run
    return SolverRun("slow", "class", Claim.STOPPED, "loose", point=truth.point)


def timed(function, *arguments, **keywords):
    started = time.monotonic()
    return function(*arguments, **keywords), time.monotonic() - started


def honest(solution):
    value = solution.theory.value
    return solution.lower_bound <= value * (1 + 1e-14) and value <= solution.upper_bound * (1 + 1e-14)


# -- what it ends -------------------------------------------------------------------------------------------------


def test_a_solver_that_sleeps_is_ended_and_its_best_bounds_are_kept(plant, loose, clock):
    plant(Slow, plan=((0.0, loose), (2 * MINUTES, loose)))
    others = children(os.getpid())
    method = {"solver": "slow", "tolerance": 1e-16, "time_limit": MINUTES, "progress": clock.after(1, seconds=1.0)}
    solution, seconds = timed(ufm.solve, SMALL, **method)
    assert 1.0 <= seconds < 1.0 + LATE
    assert (solution.status, solution.route[-1], solution.run.message) == (Status.BOUNDED, TIME_LIMIT, "loose")
    assert solution.time_limit_reached
    assert solution.time_limit == MINUTES
    assert not solution.interrupted
    assert honest(solution)
    assert "ended by the time limit" in solution.route[-2]
    assert children(os.getpid()) <= others


def test_the_other_side_of_the_limit(plant, loose):
    """The same solver, which sleeps a little: both runs are made, and the limit leaves no trace."""
    plant(Slow, plan=((0.0, loose), (0.2, loose)))
    limited = ufm.solve(SMALL, solver="slow", tolerance=1e-16, time_limit=MINUTES)
    free = ufm.solve(SMALL, solver="slow", tolerance=1e-16)
    assert len(limited.route) == len(free.route) == 2
    assert not limited.time_limit_reached
    assert (limited.lower_bound, limited.upper_bound) == (free.lower_bound, free.upper_bound)
    assert (limited.time_limit, free.time_limit) == (MINUTES, None)


def test_compiled_code_that_never_returns_is_ended(plant):
    plant(Dying, how="hang", first=None)
    others = children(os.getpid())
    solution, seconds = timed(ufm.solve, SMALL, solver="dying", time_limit=4.0)
    assert 4.0 <= seconds < 4.0 + LATE
    assert (solution.status, solution.lower_bound) == (Status.FAILED, 0.0)
    assert solution.upper_bound == pytest.approx(np.log(3.0), rel=1e-15)  # W = H = 0
    assert solution.route[-1] == TIME_LIMIT
    assert children(os.getpid()) <= others


def test_a_death_before_the_limit_is_a_death(plant):
    plant(Dying, how="SIGKILL", first=None)
    with pytest.raises(ufm.errors.SolverDiedError, match="SIGKILL"):
        ufm.solve(SMALL, solver="dying", time_limit=MINUTES)


def test_what_runs_here_is_ended_between_runs(plant, loose, clock):
    plant(SlowHere, plan=((0.0, loose), (0.0, loose), (2 * MINUTES, loose)))
    method = {"solver": "slow", "tolerance": 1e-16, "time_limit": MINUTES, "progress": clock.after(2, seconds=0.0)}
    solution, seconds = timed(ufm.solve, SMALL, **method)
    assert seconds < LATE
    assert len(solution.route) == 3  # two runs, and the line that says so
    assert solution.time_limit_reached


def test_no_other_solver_is_tried_after_the_limit(plant):
    plant(Dying, how="hang", first=None)  # "auto" takes it first
    solution, seconds = timed(ufm.solve, SMALL, time_limit=2.0)
    assert seconds < 2.0 + LATE
    assert (solution.status, solution.solver) == (Status.FAILED, "dying")


@pytest.mark.parametrize("problem", [PEELED, CONTRASTIVE], ids=["layer-peeled", "contrastive"])
def test_other_kinds_of_problem_are_ended_likewise(plant, problem, clock):
    plant(Sluggish, pause=2 * MINUTES, attempts=0)
    method = {"solver": "sluggish", "tolerance": 1e-15, "time_limit": MINUTES, "progress": clock.after(1, seconds=1.0)}
    solution, seconds = timed(ufm.solve, problem, **method)
    assert 1.0 <= seconds < 1.0 + LATE
    assert solution.route[-1] == TIME_LIMIT
    assert solution.status is Status.BOUNDED
    assert honest(solution)


@pytest.mark.parametrize("problem", [PEELED, CONTRASTIVE], ids=["layer-peeled", "contrastive"])
def test_other_kinds_of_problem_go_on_below_the_limit(plant, problem):
    plant(Sluggish, pause=0.05, attempts=0)
    limited = ufm.solve(problem, solver="sluggish", tolerance=1e-6, time_limit=MINUTES)
    assert (limited.status, limited.time_limit_reached) == (Status.CERTIFIED, False)


@pytest.mark.parametrize("seconds", [1e-300, 1e-3])
@pytest.mark.parametrize("problem", [SMALL, PEELED, CONTRASTIVE], ids=["plain", "layer-peeled", "contrastive"])
def test_no_time_at_all_leaves_a_failed_solution_with_true_bounds(problem, seconds):
    solution, taken = timed(ufm.solve, problem, solver="scs", time_limit=seconds)
    assert taken < LATE
    assert (solution.status, solution.time_limit_reached) == (Status.FAILED, True)
    assert honest(solution)


def test_what_is_certified_at_once_has_nothing_to_do_with_the_limit():
    for problem in (SMALL, CONTRASTIVE):
        solution = ufm.solve(problem, time_limit=1e-9)
        assert (solution.status, solution.time_limit_reached) == (Status.CERTIFIED, False)


@pytest.mark.parametrize("solver", ["clarabel", "scs"])
def test_solvers_that_know_a_limit_are_told(solver, monkeypatch):
    """They leave their last point, which is worth more than nothing; the smaller of two limits counts."""
    kind, seen = solvers.available()[solver], []
    genuine = kind._solve
    monkeypatch.setattr(
        kind, "_solve", lambda self, problem, options: seen.append(options) or genuine(self, problem, options)
    )
    option = kind.time_option
    run = kind().runs
    next(run(SMALL, "class", 1e-6, {}))
    with _deadline.limited(50.0):
        next(run(SMALL, "class", 1e-6, {}))
        next(run(SMALL, "class", 1e-6, {option: 20.0}))
        next(run(SMALL, "class", 1e-6, {option: 90.0}))
    assert option not in seen[0]
    assert [options[option] == 20.0 for options in seen[1:]] == [False, True, False]
    assert all(0.0 < options[option] <= 50.0 for options in seen[1:])


def test_scs_leaves_its_last_point(monkeypatch):
    """Without its own limit it would be killed at ours, and leave nothing.

    It runs for 5 s, of which it needs a tenth, in a process that has done its imports, and has half a minute to answer.
    """
    monkeypatch.setattr(_process, "_ANSWERING", 1.0)
    monkeypatch.setattr(_process, "_LONGEST_ANSWER", 30.0)
    problem = ufm.Problem(np.arange(1, 13), 1e-3, 1e-3, loss=ufm.MulticlassHinge("weston-watkins"), bias=0.01)
    options = {"eps_abs": 1e-14, "eps_rel": 1e-14, "max_iters": 10**8}
    with isolation():
        ufm.solve(SMALL, solver="scs")
        solution, seconds = timed(ufm.solve, problem, solver="scs", options=options, tolerance=1e-15, time_limit=35.0)
    assert seconds < 35.0 + LATE
    assert solution.time_limit_reached
    assert solution.status is Status.BOUNDED
    assert solution.relative_gap < 0.1  # of its last point, not of nothing


def test_descents_look_at_the_clock():
    """A descent is left where it is, to be proved; the other side: without a limit it goes on."""
    problem = ufm.Problem(np.arange(1, 101), 1e-4, 1e-4, features="free")
    factored, frame = solvers.solver("factored"), solvers.solver("frame")
    with _deadline.limited(1e-9):
        runs = factored.runs(problem, "class", 1e-6, {})
        assert next(runs).iterations <= 1
        with pytest.raises(OutOfTime):
            next(runs)
    assert next(factored.runs(problem, "class", 1e-6, {})).iterations > 10
    dense = ufm.Problem([5, 4, 3], 0.01, 0.01, loss=ufm.BinaryCrossEntropy())
    with _deadline.limited(1e-9), pytest.raises(OutOfTime):
        next(frame.runs(dense, "class", 1e-6, {}))
    assert next(frame.runs(dense, "class", 1e-6, {})).point is not None


# -- what it does not change ------------------------------------------------------------------------------------------


PROBLEMS = {
    "closed form": (SMALL, {}),
    "scs": (SMALL, {"solver": "scs"}),
    "clarabel": (SMALL, {"solver": "clarabel"}),
    "group": (ufm.Problem([20] * 4 + [5] * 3, 2e-3, 2e-3), {"solver": "scs", "level": "group"}),
    "factored": (ufm.Problem([9, 6, 3], 0.02, 0.03, features="free"), {"solver": "factored"}),
    "frame": (ufm.Problem([9, 6, 3], 0.02, 0.03, loss=ufm.BinaryCrossEntropy()), {}),
    "hinge": (ufm.Problem([9, 6, 3], 0.02, 0.03, loss=ufm.MulticlassHinge("weston-watkins")), {"solver": "scs"}),
    "layer-peeled": (PEELED, {"solver": "scs"}),
    "contrastive": (CONTRASTIVE, {"solver": "scs"}),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_large_limit_changes_nothing(name):
    problem, method = PROBLEMS[name]
    free, limited = ufm.solve(problem, **method), ufm.solve(problem, **method, time_limit=1e6)
    for key in ("value", "lower_bound", "upper_bound", "status", "level", "solver"):
        assert getattr(limited, key) == getattr(free, key), key
    assert np.array_equal(limited.feature_norms, free.feature_norms)
    assert len(limited.route) == len(free.route)
    assert ufm.certify(problem, solution=limited).digest == ufm.certify(problem, solution=free).digest


def test_a_limit_ends_with_its_block():
    assert not _deadline.limits()
    with _deadline.limited(50.0), _deadline.limited(None), _deadline.limited(90.0):
        assert 0.0 < _deadline.remaining() <= 50.0  # the one around it stays in force
    assert not _deadline.limits()
    _deadline.check()
    ufm.solve(SMALL, solver="scs", time_limit=1e-3)
    assert not _deadline.limits()


def test_a_process_is_not_started_after_the_limit(monkeypatch):
    started = []
    genuine = _process.Worker.__init__
    monkeypatch.setattr(_process.Worker, "__init__", lambda self: started.append(self) or genuine(self))
    with isolation(), _deadline.limited(MINUTES):
        assert list(apart("a test", planted_solvers.numbers, 3)) == [0, 1, 2]
        with _deadline.limited(1e-9), pytest.raises(OutOfTime):
            list(apart("a test", planted_solvers.numbers, 3))
    with isolation(), _deadline.limited(1e-9), pytest.raises(OutOfTime):
        list(apart("a test", planted_solvers.numbers, 3))
    assert len(started) == 1


PRESSED = """
import json, os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import ufm_convex as ufm
from planted_solvers import Slow
from processes import children
from ufm_convex import solvers
from ufm_convex.solvers import Claim, SolverRun

problem = ufm.Problem([9, 6, 3], 0.02, 0.03)
loose = SolverRun("slow", "class", Claim.STOPPED, "loose", point=ufm.solve(problem, solver="clarabel").run.point)
Slow.plan = ((0.0, loose), (600.0, loose))
solvers.available()["slow"] = Slow
told = []

def press(line):
    told.append(line)
    if "proved relative gap" in line:  # the first run is judged: from here on there is something to keep
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()

found = ufm.solve(problem, solver="slow", tolerance=1e-16, time_limit=300.0, progress=press)
said = {name: getattr(found, name) for name in ("lower_bound", "upper_bound", "interrupted", "time_limit_reached")}
print(json.dumps(said | {"left": len(children(os.getpid())), "told": told}))
"""


def test_ctrl_c_under_a_limit_is_ctrl_c():
    """In a process of its own, since a press that comes early or late is one for whatever runs there."""
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", PRESSED, here], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    value = ufm.theory.optimum(SMALL).value
    assert said.pop("lower_bound") <= value <= said.pop("upper_bound")
    assert sum("proved relative gap" in line for line in said.pop("told")) == 1
    assert said == {"interrupted": True, "time_limit_reached": False, "left": 0}


# -- bad values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 0.0, -1, -1e-9, float("nan"), float("inf"), "5", True, [1.0], object()])
def test_bad_limits_are_refused_by_name(bad, tmp_path, monkeypatch):
    monkeypatch.setattr(solving, "_loop", None)
    for call in (
        lambda: ufm.solve(SMALL, time_limit=bad),
        lambda: ufm.solve(CONTRASTIVE, time_limit=bad),
        lambda: ufm.certify(SMALL, time_limit=bad),
        lambda: sweep(Grid([1e-2], [1.0], [3]), tmp_path / "j", time_limit=bad),
    ):
        with pytest.raises(ProblemError, match="time_limit is"):
            call()
    assert not (tmp_path / "j").exists()


@pytest.mark.parametrize("bad", ["0", "-1", "nan", "inf", "soon", ""])
@pytest.mark.parametrize("command", ["solve", "certify", "sweep", "plot"])
def test_bad_limits_are_refused_on_the_command_line(command, bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(solving, "_loop", None)
    more = {"sweep": ("-o", "x.csv"), "plot": (*COMMAND, "-o", "x.png")}.get(command, COMMAND)
    result = run(command, *more, f"--time-limit={bad}")
    assert result.exit_code == 2
    assert "--time-limit is" in result.stderr
    assert list(tmp_path.iterdir()) == []


# -- certificates, sweeps, the command line --------------------------------------------------------------------------


def test_a_certificate_says_what_was_proved_by_then():
    certificate = ufm.certify(ufm.Problem([9, 6, 3], 0.02, 0.03, loss=ufm.BinaryCrossEntropy()), time_limit=1e-3)
    assert certificate.verdict in ("undecided", "optimal")
    assert certificate.lower <= certificate.upper
    assert ufm.certify(SMALL, time_limit=MINUTES).digest == ufm.certify(SMALL).digest


def test_each_point_of_a_sweep_has_the_limit(plant, tmp_path):
    plant(Dying, how="hang", first=None)
    grid = Grid([1e-3, 1e-2], [1.0], [3])
    rows, seconds = timed(sweep, grid, tmp_path / "j", solver="dying", time_limit=2.0)
    assert 4.0 <= seconds < 4.0 + 2 * LATE
    assert [(row["status"], row["message"]) for row in rows] == [("failed", TIME_LIMIT)] * 2
    assert all(row["lower_bound"] <= row["upper_bound"] for row in rows)


def test_a_large_limit_is_a_sweep_of_its_own_with_the_same_rows(tmp_path):
    grid = Grid([1e-3, 1e-2], [1.0], [3])
    free = sweep(grid, tmp_path / "free", solver="scs")
    assert sweep(grid, tmp_path / "limited", solver="scs", time_limit=MINUTES) == free
    assert sweep(grid, tmp_path / "limited2", solver="scs", time_limit=MINUTES, workers=2) == free
    with pytest.raises(ufm.errors.FileFormatError, match="another sweep"):
        sweep(grid, tmp_path / "free", solver="scs", time_limit=MINUTES)
    assert sweep(grid, tmp_path / "free", solver="scs") == free


@pytest.mark.parametrize("command", ["solve", "certify"])
def test_the_command_line_says_whose_limit_it_was(command):
    hard = ["--solver", "scs", *COMMAND]
    result = run(command, *hard, "--time-limit", "0.001", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert found["solve_time_limit"] == {"seconds": 0.001, "reached": True}
    assert (found["status"], found["route"][-1]) == ("failed", TIME_LIMIT)
    result = run(command, *hard, "--time-limit", MINUTES, "--json")
    assert (result.exit_code, json.loads(result.stdout)["solve_time_limit"]) == (
        0,
        {"seconds": MINUTES, "reached": False},
    )
    assert json.loads(run(command, *hard, "--json").stdout)["solve_time_limit"] is None
    table = run(command, *hard, "--time-limit", "0.001")
    assert TIME_LIMIT in table.stdout


def test_a_sweep_on_the_command_line(tmp_path):
    grid = ["--decays", "1e-3,1e-2", "--imbalances", "1", "--classes", "3", "-o", tmp_path / "p.csv"]
    result = run("sweep", *grid, "--solver", "scs", "--time-limit", "0.001", "--json")
    assert (result.exit_code, json.loads(result.stdout)["failed"]) == (1, 2)
    assert TIME_LIMIT in (tmp_path / "p.csv").read_text()

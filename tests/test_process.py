"""Processes of our own: whatever dies in one is named here, and nothing outlives the process that started it."""

import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import planted_solvers
import pytest
from planted_solvers import Bomb, Dying
from processes import SOON, alive, children, within

import ufm_convex as ufm
from ufm_convex import _process, solvers
from ufm_convex._process import Worker, apart, isolation
from ufm_convex.errors import ProcessError, SizeError, SolverDiedError, SolverError
from ufm_convex.solution import Status
from ufm_convex.sweep.workers import Workers

SMALL = ufm.Problem([9, 6, 3], 0.02, 0.03)
TESTS = str(Path(__file__).parent)
DEATHS = {
    "SIGABRT": "was ended by SIGABRT",
    "SIGKILL": "was ended by SIGKILL",
    "SIGSEGV": "was ended by SIGSEGV",
    "leave": "left with exit code 0, without an answer",
    "exit": "left with exit code 3, without an answer",
    "memory": "ran out of memory",
    "allocation": "ran out of memory",
}


@pytest.fixture
def dying(monkeypatch):
    """Plant the solver that dies, told how and what it leaves before."""

    def plant(how, first=None):
        monkeypatch.setitem(solvers.available(), "dying", Dying)
        monkeypatch.setattr(Dying, "how", how)
        monkeypatch.setattr(Dying, "first", first)

    return plant


@pytest.fixture
def others():
    """Children of this process that other tests of the session have left: a tracker of resources, say."""
    return children(os.getpid())


def started(others):
    """Those that there are beside them."""
    return children(os.getpid()) - others


@pytest.mark.parametrize("how", DEATHS)
def test_a_solver_that_dies_is_an_error_with_its_name(dying, others, how):
    dying(how)
    with pytest.raises(SolverDiedError, match=DEATHS[how]) as caught:
        ufm.solve(SMALL, solver="dying", isolate=True)
    assert "solver 'dying'" in caught.value.got
    assert isinstance(caught.value, SolverError)
    assert started(others) == set()


def test_a_solver_that_lives_is_none(dying):
    """The planted solver itself makes a failed run, not an error."""
    dying("live")
    assert ufm.solve(SMALL, solver="dying", isolate=True).run.message == "lived on"


def test_memory_that_runs_out_here_has_the_same_name(dying):
    dying("memory")
    with pytest.raises(SolverDiedError, match="solver 'dying' ran out of memory"):
        ufm.solve(SMALL, solver="dying")


@pytest.mark.parametrize("how", ["SIGABRT", "memory"])
def test_auto_says_so_and_goes_on(dying, how):
    dying(how)
    solution = ufm.solve(SMALL, isolate=True)
    assert solution.status is Status.CERTIFIED
    assert DEATHS[how] in solution.route[0]
    assert len(solution.route) == 2


def test_bounds_that_were_proved_before_a_death_are_kept(dying):
    truth = ufm.solve(SMALL, solver="clarabel").run
    dying("SIGKILL", truth)
    solution = ufm.solve(SMALL, solver="dying", tolerance=1e-16, isolate=True)
    assert solution.status is Status.BOUNDED
    assert solution.lower_bound <= ufm.theory.optimum(SMALL).value * (1 + 1e-14)
    assert "SIGKILL" in solution.route[-1]


@pytest.mark.parametrize(
    "problem",
    [
        SMALL,
        ufm.Problem([3, 2, 1], constraint=ufm.LayerPeeled(1, 3), features="free"),
        ufm.ContrastiveProblem([4, 3, 2], bound=1.0),
    ],
    ids=["plain", "layer-peeled", "contrastive"],
)
def test_isolated_or_not_the_numbers_are_the_same(problem):
    """To the last bit, for SCS works alike anywhere; and one process serves all the solves of a search."""
    started, lines = [], []
    genuine = _process.Worker.__init__

    def counted(self):
        started.append(self)
        genuine(self)

    here = ufm.solve(problem, solver="scs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_process.Worker, "__init__", counted)
        there = ufm.solve(problem, solver="scs", isolate=True, progress=lines.append)
    assert (there.value, there.lower_bound, there.upper_bound) == (here.value, here.lower_bound, here.upper_bound)
    assert len(started) == 1
    assert lines  # news of a run come when it is there


def test_a_closed_form_starts_no_process(monkeypatch):
    def none(self):
        raise AssertionError("started")

    monkeypatch.setattr(_process.Worker, "__init__", none)
    for solver in ("auto", "frame", "factored"):
        assert ufm.solve(SMALL, solver=solver, isolate=True).status is Status.CERTIFIED
    with pytest.raises(AssertionError, match="started"):  # the check sees one that does
        ufm.solve(SMALL, solver="scs", isolate=True)


def test_errors_of_the_other_process_are_errors_here():
    with pytest.raises(SizeError, match="clarabel"):
        ufm.solve(ufm.Problem(range(1, 400), 1e-3, 1e-3), solver="clarabel", level="class", isolate=True)
    with isolation():
        assert next(apart("it", planted_solvers.raises, "plain")) != os.getpid()
        with pytest.raises(KeyError, match="k"):
            list(apart("it", planted_solvers.raises, "plain"))
        with pytest.raises(RuntimeError, match="OddError: left"):
            list(apart("it", planted_solvers.raises, "odd"))


def test_two_generators_at_once_do_not_mix():
    with isolation():
        pairs = list(zip(*(apart("it", planted_solvers.numbers, 5) for _ in range(2)), strict=True))
    assert pairs == [(k, k) for k in range(5)]


def test_without_isolation_everything_runs_here():
    assert next(apart("it", planted_solvers.raises, "plain")) == os.getpid()
    with isolation(False):
        assert next(apart("it", planted_solvers.raises, "plain")) == os.getpid()


def test_what_cannot_be_sent_is_named():
    class Local(Dying):
        name = "local"

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(solvers.available(), "local", Local)
        with pytest.raises(ProcessError, match="solver 'local' cannot be sent"):
            ufm.solve(SMALL, solver="local", isolate=True)
    script = (
        "import ufm_convex as ufm\n"
        "class Mine(ufm.CrossEntropy):\n    pass\n"
        "ufm.solve(ufm.Problem([3, 2, 1], 0.02, 0.02, loss=Mine()), solver='scs', isolate=True)\n"
    )  # pickled by name, and not there in the other process
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "ProcessError" in done.stderr.splitlines()[-3]
    assert "Mine" in done.stderr.splitlines()[-3]


def test_no_interpreter_is_an_error_with_a_name(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ProcessError, match="no process can be started"):
        ufm.solve(SMALL, solver="scs", isolate=True)


def test_a_script_without_a_guard_is_run_once(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        "import ufm_convex as ufm\n"
        "print(ufm.solve(ufm.Problem([3, 2, 1], 0.02, 0.02), solver='clarabel', isolate=True).status)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("certified\n", "")


# -- workers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["SIGKILL", "leave"])
def test_a_worker_that_dies_fails_its_call_and_no_other(how, others):
    with Workers(2) as pool:
        calls = [pool.submit(abs, Bomb(how) if k == 3 else -k) for k in range(8)]
        assert [call.result() for k, call in enumerate(calls) if k != 3] == [0, 1, 2, 4, 5, 6, 7]
        with pytest.raises(SolverDiedError, match=DEATHS[how]):
            calls[3].result()
    assert started(others) == set()


def test_a_worker_that_dies_idle_is_nobody_s_fate():
    with Workers(1) as pool:
        first = pool.submit(os.getpid).result()
        os.kill(first, signal.SIGKILL)
        assert within(SOON, lambda: not alive({first}))
        assert pool.submit(abs, -1).result() == 1


def test_an_error_ends_workers_that_hang(others):
    began = time.monotonic()
    calls = []

    def fail():
        with Workers(2) as pool:
            calls.extend(pool.submit(planted_solvers.end, "hang") for _ in range(4))
            assert within(SOON, lambda: len(started(others)) == 4)  # each has started a process
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert started(others) == set()
    assert all(call.done() for call in calls)
    assert time.monotonic() - began < 5 * SOON  # they would sleep twice that


# -- the end of the parent ----------------------------------------------------------------------------------------


def hanging(call):
    """A process in which a call hangs, and the processes below it: the call's own and what that has started."""
    setup = f"import sys; sys.path.insert(0, {TESTS!r}); import planted_solvers as p, ufm_convex as ufm\n"
    running = subprocess.Popen([sys.executable, "-c", setup + call], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert within(SOON, lambda: len(children(running.pid)) == 2)
    return running, children(running.pid)


SOLVE = (
    "from ufm_convex import solvers\n"
    "p.Dying.how = 'hang'\n"
    "solvers.available()['dying'] = p.Dying\n"
    "ufm.solve(ufm.Problem([3, 2, 1], 0.02, 0.02), solver='dying', isolate=True)\n"
)
CROSS_CHECK = (
    "def hang(problem):\n    p.end('hang')\n"
    "ufm.cross_check(ufm.Problem([3, 2, 1], 0.02, 0.02), [hang], time_limit=500.0)\n"
)
POOL = (
    "from ufm_convex.sweep.workers import Workers\nwith Workers(1) as pool:\n    pool.submit(p.end, 'hang').result()\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("call", "how"),
    list(itertools.product([SOLVE, CROSS_CHECK, POOL], [signal.SIGTERM, signal.SIGKILL])),
)
def test_nothing_outlives_a_parent_that_is_killed(call, how):
    """Not even compiled code that never lets Python run, nor what it has started."""
    running, below = hanging(call)
    with running:
        running.send_signal(how)
        assert running.wait(SOON) == -how
        assert within(SOON, lambda: not alive(below))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_orphan_would_be_seen():
    running, below = hanging("from ufm_convex._process import Worker\nnext(Worker().items('it', p.untied, 'hang'))\n")
    with running:
        running.kill()
        running.wait(SOON)
        try:
            assert not within(1.0, lambda: not alive(below))
        finally:
            for pid in below:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("call", [SOLVE, CROSS_CHECK, POOL])
def test_ctrl_c_ends_what_hangs(call):
    running, below = hanging(call)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=SOON)
    assert said.decode().splitlines()[-1] == "KeyboardInterrupt"
    assert said.decode().count("Traceback") == 1
    assert within(SOON, lambda: not alive(below))


def test_a_worker_that_is_ended_says_nothing_more():
    worker = Worker()
    worker.end()
    assert not worker.alive
    with pytest.raises(SolverDiedError, match="SIGKILL"):
        next(worker.items("it", planted_solvers.numbers, 3))
    worker.end()


# -- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space")
@pytest.mark.parametrize("route", ["--solver=clarabel", "--level=class"])
def test_an_allocation_that_fails_inside_clarabel_does_not_end_the_command(route):
    """The Newton system of 40 classes and its factor take 0.2 GB where 0.8 GB are allowed in all, imports included."""
    decays = ["--profile", "exponential:classes=40,max=5000,ratio=100", "--lambda-w", "1e-3", "--lambda-h", "2e-3"]
    done = subprocess.run(
        [sys.executable, "-c", "from ufm_convex.cli import main; main()", "solve", *decays, route],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (800_000_000, 800_000_000)),
    )
    if route == "--level=class":  # the next solver is tried, and the route says why
        assert done.returncode == 0, done.stderr
        assert "SIGABRT" in done.stdout.replace("\n", " ")
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("SolverDiedError: the process of solver 'clarabel' was ended by SIGABRT.\n")
        assert done.stderr.count("\n") == 3

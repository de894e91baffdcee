"""Solving the points of a grid: in parallel, with a journal, in any order, to the same table.

A finished point is one line of the journal, handed to the system before the next is counted. A sweep that was killed
loses what its workers had not finished and nothing else; started again it solves only what is missing. Workers are
processes of this package, each of which may die without harm to the others (``ufm_convex._process``), or those of any
``concurrent.futures.Executor``, so that a sweep runs on a cluster.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, whole
from ufm_convex._files import write_all
from ufm_convex._process import isolation
from ufm_convex.errors import (
    FileFormatError,
    MissingExtraError,
    ProblemError,
    ProcessError,
    SolverNotInstalledError,
    UFMError,
    UnknownNameError,
    shown,
)
from ufm_convex.problem import Problem
from ufm_convex.sweep.fixed import DecayGrid
from ufm_convex.sweep.grid import Grid, Point
from ufm_convex.sweep.workers import Workers

T = TypeVar("T")

FIELDS = (
    *(
        "index",
        "loss",
        "classes",
        "imbalance",
        "lambda_w",
        "lambda_h",
        "num_samples",
        "profile",
        "smallest_count",
        "largest_count",
    ),
    *("value", "lower_bound", "upper_bound", "relative_gap", "status", "solver", "level"),
    *("collapsed", "theory_collapsed", "critical_size", "problem_sha256", "message"),
)
"""Columns of a sweep's table. ``collapsed`` counts the classes without a feature in the solution, ``theory_collapsed``
in the theorem; both are null for free features, whose classes merge instead, and the latter where no theorem says.
``critical_size`` is n_c, at or below which a class collapses."""

_HOPELESS = (UnknownNameError, ProblemError, MissingExtraError, SolverNotInstalledError, ProcessError)
"""Errors that are true of every point alike."""
_AHEAD = 1000
"""Points that wait for a worker; more would only take memory."""
_FAILED: dict[str, Any] = {"status": "failed"}

Progress = Callable[[int, int], object]


def sweep(
    grid: Grid | DecayGrid,
    journal: str | Path,
    *,
    workers: int = 1,
    solver: str = "auto",
    level: str = "auto",
    tolerance: float = 1e-6,
    time_limit: float | None = None,
    isolate: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Solve every point of a grid that the journal does not have yet.

    Args:
        grid: The problems: a ``Grid``, or one problem over its decays, a ``DecayGrid``.
        journal: JSON lines; made if missing, else taken up. One journal belongs to one grid and one method.
        workers: Processes; each keeps to one thread, so that the numbers do not depend on it. −1 takes all cores. A
            single one is this process.
        solver: As in ``solve``.
        level: As in ``solve``.
        tolerance: As in ``solve``.
        time_limit: As in ``solve``, for each point; a row that it ended says so in ``message``.
        isolate: A single worker is a process of its own as well, and may die.
        executor: Where to solve instead: anything with ``submit``, such as ``client.get_executor()`` of a Dask client
            or mpi4py's ``MPIPoolExecutor``. It stays open.
        progress: Called with (points done, points in all) after each point.

    Returns:
        One row a point, in the order of the grid, with the keys ``FIELDS``. A point that raises, or whose worker dies,
        has status "failed" and says why in ``message``; it does not stop the others, and is tried again when the sweep
        is taken up.

    Raises:
        MissingExtraError: threadpoolctl is not installed.
        FileFormatError: the journal belongs to another sweep, is damaged before its last line, or cannot be written.
        ProblemError: ``workers`` is neither −1 nor ≥ 1, or given with an executor; or the tolerance or the time limit
            is out of range.
        UnknownNameError: no such solver or level.
        ProcessError: no worker can be started.
    """
    _require_threadpoolctl()
    tolerance = _given.tolerance(tolerance)
    solve_at: dict[str, Any] = {"solver": solver, "level": level, "tolerance": tolerance}
    if time_limit is not None:  # else as it was before there was one: journals keep their names
        solve_at["time_limit"] = _given.seconds("time_limit", time_limit)
    # a single worker that is this process lets solvers under a limit share one of their own
    with isolation(time_limit is not None and workers == 1), _executor(workers, isolate, executor) as pool:
        rows = _Journal(Path(journal), grid.sha256(**solve_at))
        try:
            missing = [index for index in range(len(grid)) if rows.found.get(index, _FAILED)["status"] == "failed"]
            done = len(grid) - len(missing)
            _tell(progress, done, len(grid))
            for count, row in enumerate(_solved(pool, grid, missing, solve_at), done + 1):
                rows.add(row)
                _tell(progress, count, len(grid))
        finally:
            rows.close()
    return [rows.found[index] for index in range(len(grid))]


def _executor(workers: int, isolate: bool, executor: Executor | None) -> AbstractContextManager[Executor]:
    """Where points are solved."""
    processes = whole(workers)
    if processes is None or (processes < 1 and processes != -1):
        raise ProblemError(
            f"workers is {shown(workers)}.", expected="an integer >= 1, or -1 for all cores", fix="use 1."
        )
    if executor is not None:
        if processes != 1 or isolate:
            raise ProblemError(
                "an executor is given, which has workers of its own, and workers or isolate.",
                expected="one of them",
                fix="leave workers and isolate out.",
            )
        return nullcontext(executor)
    count = (os.cpu_count() or 1) if processes == -1 else processes
    return Workers(count) if count > 1 or isolate else _Here()


class _Here(Executor):
    """This process, in the place of a worker."""

    def submit(self, function: Callable[..., T], /, *arguments: Any, **keywords: Any) -> Future[T]:
        """Call the function at once."""
        future: Future[T] = Future()
        try:
            future.set_result(function(*arguments, **keywords))
        except Exception as error:  # as an executor does: it is raised where the result is asked for
            future.set_exception(error)
        return future


def _solved(
    pool: Executor, grid: Grid | DecayGrid, indices: list[int], method: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The rows of these points, as they are finished.

    The first is solved alone: a wrong name or a missing package is an error, not a thousand failed rows.
    """
    yield from _from(pool, grid, indices[:1], {**method, "refuse": _HOPELESS})
    yield from _from(pool, grid, indices[1:], method)


def _from(
    pool: Executor, grid: Grid | DecayGrid, indices: list[int], method: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The rows of these points from the pool, where a limited number waits at a time."""
    finished: SimpleQueue[Future[dict[str, Any]]] = SimpleQueue()
    running: dict[Future[dict[str, Any]], Point] = {}
    refuse: tuple[type[UFMError], ...] = method.get("refuse", ())
    ahead = 1 if isinstance(pool, _Here) else _AHEAD
    points = iter([grid[index] for index in indices])
    while True:
        for point in islice(points, ahead - len(running)):
            try:
                future = pool.submit(solve_point, grid.problem(point), point, **method)
            except refuse:
                raise
            except Exception as error:  # there is no such problem, or its numbers overflow
                yield _failed({**dict.fromkeys(FIELDS), **vars(point), "profile": grid.profile}, error)
                continue
            running[future] = point
            future.add_done_callback(finished.put)
        if not running:
            return
        future = finished.get()
        point = running.pop(future)
        try:
            yield {**future.result(), "profile": grid.profile}
        except refuse:
            raise
        except Exception as error:  # whatever ended a worker, of whatever pool, is the fate of its point alone
            yield _failed({**dict.fromkeys(FIELDS), **vars(point), "profile": grid.profile}, error)


def solve_point(
    problem: Problem,
    point: Point,
    *,
    solver: str,
    level: str,
    tolerance: float,
    time_limit: float | None = None,
    refuse: tuple[type[UFMError], ...] = (),
) -> dict[str, Any]:
    """The row of one point; runs in a worker, on one thread. Errors among ``refuse`` are raised, others are rows."""
    from threadpoolctl import threadpool_limits

    from ufm_convex.solution import TIME_LIMIT
    from ufm_convex.solving import solve

    row: dict[str, Any] = {**dict.fromkeys(FIELDS), **vars(point), "problem_sha256": problem.sha256}
    row.update(num_samples=problem.num_samples, message="")
    row.update(smallest_count=int(problem.class_counts.min()), largest_count=int(problem.class_counts.max()))
    try:
        row.update(_theory(problem))
        with threadpool_limits(1):  # the order of sums, hence the last bits, would depend on the number of threads
            found = solve(problem, solver=solver, level=level, tolerance=tolerance, time_limit=time_limit)
    except refuse:
        raise
    except Exception as error:  # memory, a fault of a solver: none of it says anything of the next point
        return _failed(row, error)
    row.update(value=found.value, lower_bound=found.lower_bound, upper_bound=found.upper_bound)
    row.update(relative_gap=found.relative_gap, status=str(found.status), solver=found.solver, level=found.level)
    row.update(message=TIME_LIMIT if found.time_limit_reached else "")
    return _finite({**row, "collapsed": len(found.collapsed_classes) if problem.nonnegative else None})


def _failed(row: dict[str, Any], error: Exception) -> dict[str, Any]:
    """The row of a point that has no solution."""
    first = (str(error).splitlines() or [""])[0]
    words = first if isinstance(error, UFMError) else f"{type(error).__name__}: {first}"
    return _finite({**row, "status": "failed", "message": words})


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row without infinities and NaN, which JSON has not: they become null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


def _theory(problem: Any) -> dict[str, Any]:
    """What the theorem says, for comparison: null where none applies."""
    from ufm_convex import theory
    from ufm_convex.errors import HypothesisError

    try:
        optimum = theory.optimum(problem)
    except HypothesisError:
        return {}
    collapsed: FloatArray | None = getattr(optimum, "collapsed", None)
    critical = getattr(optimum, "collapse_threshold", None)
    return {
        "theory_collapsed": None if collapsed is None or not problem.nonnegative else int(np.count_nonzero(collapsed)),
        "critical_size": float(critical) if critical is not None and np.ndim(critical) == 0 else None,
    }


class _Journal:
    """The finished points, in memory and on disk: a head that names the sweep, then one line a point."""

    def __init__(self, path: Path, sha256: str) -> None:
        self.path = path
        self.found: dict[int, dict[str, Any]] = {}
        try:
            self.handle = path.open("a+b", buffering=0)
        except OSError as error:
            raise FileFormatError(
                f"{path} cannot be opened: {error.strerror}.",
                expected="a file in a folder that exists and may be written to",
                fix="check the path and the permissions.",
            ) from error
        try:
            self._lock()
            self._read(sha256)
        except UFMError:
            self.close()
            raise

    def _read(self, sha256: str) -> None:
        self.handle.seek(0)
        data = self.handle.read()
        end = data.rfind(b"\n") + 1
        lines = data[:end].splitlines()
        if not lines and json.dumps({"sweep": sha256}).encode().startswith(data):
            self.handle.truncate(0)
            self._write({"sweep": sha256})
            return
        try:
            head, *rows = (json.loads(line) for line in lines or [data])
            matches = head == {"sweep": sha256}
            damaged = matches and any(tuple(row) != FIELDS for row in rows)
        except (ValueError, TypeError):
            matches, damaged, rows = False, bool(lines) and b'"sweep"' in lines[0], []
        if not damaged and matches:
            self.handle.truncate(end)  # what a kill left of the last line; only now that the file is known to be ours
            self.found = {row["index"]: row for row in rows}
        else:
            raise FileFormatError(
                f"{self.path} is {'damaged' if damaged else 'the journal of another sweep'}.",
                expected="a journal of this grid, solver, level and tolerance",
                fix="choose another output, or remove the file to start again.",
            )

    def _lock(self) -> None:
        """One sweep at a time, where the system has locks of this kind; a process that ends gives its lock back."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileFormatError(
                f"{self.path} is in use by another sweep.",
                expected="one sweep at a time",
                fix="wait for the other one, or choose another output.",
            ) from error

    def add(self, row: dict[str, Any]) -> None:
        """Keep a finished point."""
        self._write(row)
        self.found[row["index"]] = row

    def _write(self, row: dict[str, Any]) -> None:
        try:
            # past all buffers: the system has it, and no end of this process, however sudden, takes it back
            write_all(self.handle.fileno(), json.dumps(row, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise FileFormatError(
                f"{self.path} cannot be written: {error.strerror}.",
                expected="space for one line a point",
                fix="make room; the same sweep takes up where it was left.",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self.handle.close()


def _require_threadpoolctl() -> None:
    """Raise ``MissingExtraError`` unless workers can keep to one thread."""
    if importlib.util.find_spec("threadpoolctl") is None:
        raise MissingExtraError(
            "threadpoolctl is not installed.",
            expected="the package threadpoolctl",
            fix="pip install threadpoolctl",
        )


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)

"""Solving the points of a grid: in parallel, with a journal, in any order, to the same table.

A finished point is one line of the journal, handed to the system before the next is counted. A sweep that was killed
loses what its workers had not finished and nothing else; started again it solves only what is missing. Workers come
from joblib: its processes, or whatever backend is active, so that within ``with joblib.parallel_config("dask"):`` a
sweep runs on a cluster.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import FloatArray, whole
from ufm_convex.errors import (
    FileFormatError,
    MissingExtraError,
    ProblemError,
    SolverNotInstalledError,
    UFMError,
    UnknownNameError,
    shown,
)
from ufm_convex.sweep.grid import Grid, Point

FIELDS = (
    *("index", "loss", "classes", "imbalance", "lambda_w", "lambda_h", "num_samples", "smallest_count"),
    *("value", "lower_bound", "upper_bound", "relative_gap", "status", "solver", "level"),
    *("collapsed", "theory_collapsed", "critical_size", "problem_sha256", "message"),
)
"""Columns of a sweep's table. ``collapsed`` counts the classes without a feature in the solution, ``theory_collapsed``
in the theorem; both are null for free features, whose classes merge instead, and the latter where no theorem says.
``critical_size`` is n_c, at or below which a class collapses."""

_HOPELESS = (UnknownNameError, ProblemError, MissingExtraError, SolverNotInstalledError)
"""Errors that are true of every point alike."""
_FAILED: dict[str, Any] = {"status": "failed"}

Progress = Callable[[int, int], object]


def sweep(
    grid: Grid,
    journal: str | Path,
    *,
    workers: int = 1,
    solver: str = "auto",
    level: str = "auto",
    tolerance: float = 1e-6,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Solve every point of a grid that the journal does not have yet.

    Args:
        grid: The problems.
        journal: JSON lines; made if missing, else taken up. One journal belongs to one grid and one method.
        workers: Processes; each keeps to one thread, so that the numbers do not depend on it. −1 takes all cores.
        solver: As in ``solve``.
        level: As in ``solve``.
        tolerance: As in ``solve``.
        progress: Called with (points done, points in all) after each point.

    Returns:
        One row a point, in the order of the grid, with the keys ``FIELDS``. A point that raises has status "failed" and
        says why in ``message``; it does not stop the others, and is tried again when the sweep is taken up.

    Raises:
        MissingExtraError: joblib or threadpoolctl is not installed.
        FileFormatError: the journal belongs to another sweep, or is damaged before its last line.
        ProblemError: ``workers`` is neither −1 nor ≥ 1, or the tolerance is out of range.
        UnknownNameError: no such solver or level.
    """
    processes = whole(workers)
    if processes is None or (processes < 1 and processes != -1):
        raise ProblemError(
            f"workers is {shown(workers)}.", expected="an integer >= 1, or -1 for all cores", fix="use 1."
        )
    tolerance = _given.tolerance(tolerance)
    joblib = _joblib()
    method: dict[str, Any] = {"solver": solver, "level": level, "tolerance": tolerance}
    rows = _Journal(Path(journal), grid.sha256(**method))
    try:
        missing = [index for index in range(len(grid)) if rows.found.get(index, _FAILED)["status"] == "failed"]
        done = len(grid) - len(missing)
        _tell(progress, done, len(grid))
        for count, row in enumerate(_solved(joblib, grid, missing, processes, method), done + 1):
            rows.add(row)
            _tell(progress, count, len(grid))
    finally:
        rows.close()
    return [rows.found[index] for index in range(len(grid))]


def _solved(
    joblib: Any, grid: Grid, indices: list[int], workers: int, method: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The rows of these points, as they are finished.

    The first is solved here, before any worker starts: a wrong name or a missing package is an error, not a thousand
    failed rows.
    """
    for index in indices[:1]:
        yield solve_point(grid, grid[index], **method, refuse=_HOPELESS)
    run = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch="4*n_jobs")
    yield from run(joblib.delayed(solve_point)(grid, grid[index], **method) for index in indices[1:])


def solve_point(
    grid: Grid,
    point: Point,
    *,
    solver: str,
    level: str,
    tolerance: float,
    refuse: tuple[type[UFMError], ...] = (),
) -> dict[str, Any]:
    """The row of one point; runs in a worker, on one thread. Errors among ``refuse`` are raised, others are rows."""
    from threadpoolctl import threadpool_limits

    from ufm_convex.solving import solve

    problem = grid.problem(point)
    row: dict[str, Any] = {**dict.fromkeys(FIELDS), **vars(point), "problem_sha256": problem.sha256}
    row.update(num_samples=problem.num_samples, smallest_count=int(problem.class_counts.min()), message="")
    row.update(_theory(problem))
    try:
        with threadpool_limits(1):  # the order of sums, hence the last bits, would depend on the number of threads
            found = solve(problem, solver=solver, level=level, tolerance=tolerance)
    except refuse:
        raise
    except UFMError as error:
        return _finite({**row, "status": "failed", "message": str(error).splitlines()[0]})
    row.update(value=found.value, lower_bound=found.lower_bound, upper_bound=found.upper_bound)
    row.update(relative_gap=found.relative_gap, status=str(found.status), solver=found.solver, level=found.level)
    return _finite({**row, "collapsed": len(found.collapsed_classes) if problem.nonnegative else None})


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
            self.handle = path.open("a+b")
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
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].splitlines()
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
            self.handle.truncate(whole)  # what a kill left of the last line; only now that the file is known to be ours
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
        self.handle.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self.handle.flush()  # the system has it: no end of this process, however sudden, takes it back

    def close(self) -> None:
        """Close the file."""
        self.handle.close()


def _joblib() -> Any:
    try:
        import joblib
        import threadpoolctl  # noqa: F401 - the workers need it
    except ImportError as error:
        raise MissingExtraError(
            f"{error.name} is not installed.",
            expected="the packages joblib and threadpoolctl",
            fix="pip install joblib threadpoolctl",
        ) from error
    return joblib


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)

"""Solvers of the package beside the textbook programmes, accuracy beside time; run by hand from the repository's root.

    python -m tests.benchmarks.bench_solvers --sizes 20 50 100 --limit 600

Each row solves one problem in this process, baseline and package one after the other. "accuracy" is the proved relative
gap for the package, and the distance of the claimed value to the certified one for the baseline, which proves nothing;
the baseline's time is that of the loosest run whose value is within the accuracy that the package was asked for.
"ratio" is baseline seconds over package seconds. The limit is that of one SCS run.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import ufm_convex as ufm
from tests.benchmarks import textbook
from tests.scripts import parsed, small
from tests.soft_targets import random_soft_targets
from ufm_convex import class_counts
from ufm_convex.problem import Problem
from ufm_convex.solving import solve

HEADER = ("case", "K", "solver", "status", "accuracy", "seconds", "ratio")


def counts(size):
    """Distinct counts from 5000 down to 50."""
    return np.asarray(class_counts.exponential(size, 5000, 100))


def decay(size, level):
    """λ_W = λ_H with the collapse threshold at ``level`` times the smallest class."""
    n = counts(size)
    return float(np.sqrt(level * n.min() * (size - 1) / size) / n.sum())


def problems(size):
    """Name → problem; the decays leave every class active."""
    lam, n = decay(size, 0.1), counts(size)
    soft = random_soft_targets(size, 0.05, concentration=20.0)
    return {
        "cross-entropy": Problem(n, lam, lam),
        "soft targets": Problem(n, lam, lam, loss=soft),
        "free cross-entropy": Problem(n, lam, lam, features="free"),
        "free soft targets": Problem(n, lam, lam, loss=soft, features="free"),
    }


def routes(problem):
    """Solvers of the package for the problem; ``theory`` and, for the targets that exclude it, ``frame`` apart."""
    return ["factored", "scs"] if not problem.nonnegative else ["frame", "scs"]


def bench(name, problem, tolerance, limit, skip_baseline):
    """Rows of one problem: the package's solvers, then the baseline at the same accuracy."""
    rows, best = [], None
    for solver in routes(problem):
        started = time.perf_counter()
        solution = solve(problem, solver=solver, tolerance=tolerance)
        seconds = time.perf_counter() - started
        rows.append([name, problem.num_classes, solver, str(solution.status), solution.relative_gap, seconds])
        if best is None or solution.relative_gap < best.relative_gap:
            best = solution
    if skip_baseline:
        return [[*row, None] for row in rows]
    make = textbook.gram_programme if problem.nonnegative else textbook.nuclear_programme
    label = "cvxpy+SCS, " + ("Gram" if problem.nonnegative else "nuclear norm")
    run, _ = textbook.to_accuracy(lambda: make(problem), best.value, tolerance, time_limit=limit)
    error = abs(run.value - best.value) / best.value
    rows = [[*row, run.seconds / row[-1]] for row in rows]
    return [*rows, [name, problem.num_classes, f"{label} {run.accuracy:.0e}", run.status, error, run.seconds, 1.0]]


def large(size, tolerance):
    """Rows without a baseline: sizes that it does not reach."""
    n = np.sort(np.random.default_rng(0).choice(np.arange(50, 50 + 10 * size), size, replace=False))[::-1]
    lam = float(np.sqrt(0.1 * n.min() * (size - 1) / size) / n.sum())
    weighted = ufm.CrossEntropy(class_weights=tuple((n.mean() / n) ** 0.25))
    cases = {
        "cross-entropy": ("frame", Problem(n, lam, lam)),
        "weighted": ("frame", Problem(n, lam, lam, loss=weighted)),
        "smoothed": ("frame", Problem(n, lam, lam, loss=ufm.CrossEntropy(smoothing=0.1))),
    }
    if size <= 1000:
        # threshold at 0.3 times the largest class: with these targets an orthogonal frame is optimal there
        strong = float(np.sqrt(0.3 * n.max() * (size - 1) / size) / n.sum())
        soft = random_soft_targets(size, 0.05, concentration=20.0)
        cases["soft targets"] = ("frame", Problem(n, strong, strong, loss=soft))
        cases["free cross-entropy"] = ("factored", Problem(n, lam, lam, features="free"))
    for name, (solver, problem) in cases.items():
        started = time.perf_counter()
        solution = solve(problem, solver=solver, tolerance=tolerance)
        seconds = time.perf_counter() - started
        yield [
            name,
            size,
            f"{solver}, run {solution.run.seconds:.2f} s",
            str(solution.status),
            solution.relative_gap,
            seconds,
            None,
        ]


def show(rows):
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * len(HEADER))
    for case, size, solver, status, accuracy, seconds, ratio in rows:
        shown = "" if ratio is None else f"{ratio:.1f}"
        print(f"| {case} | {size} | {solver} | {status} | {accuracy:.1e} | {seconds:.2f} | {shown} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 50, 100])
    parser.add_argument(
        "--large", type=int, nargs="*", default=[], help="sizes without baseline, such as 365 1000 10000"
    )
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one baseline run")
    parser.add_argument("--no-baseline", action="store_true")
    small(parser, sizes=[6], large=[12], limit=20.0)
    options = parsed(parser)
    solve(Problem([5, 4, 3], 0.1, 0.1, features="free"), solver="factored")  # imports are no part of the comparison
    rows = []
    for size in options.sizes:
        for name, problem in problems(size).items():
            rows += bench(name, problem, options.tolerance, options.limit, options.no_baseline)
    for size in options.large:
        rows += large(size, options.tolerance)
    show(rows)


if __name__ == "__main__":
    main()

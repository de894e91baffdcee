"""Real long-tailed data, every solver and level that fits; and the scaled programme beside the plain one.

Run by hand from the project's root: ``python -m tests.benchmarks.bench_relaxation [--seconds 600]``. Prints two tables;
figures of the last run are in docs/benchmarks.md. Decays are chosen so that some classes collapse and some do not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path

import cvxpy as cp
import numpy as np

import ufm_convex as ufm
from tests.scripts import parsed, small
from ufm_convex import relaxation
from ufm_convex.class_counts import exponential, read_class_counts

DATA = Path(__file__).parents[1] / "data"
PROBLEMS = {
    "CIFAR-10-LT": ufm.Problem(exponential(10, 5000, 100), 1e-3, 2e-3),
    "CIFAR-100-LT": ufm.Problem(exponential(100, 500, 100), 5e-4, 1e-3),
    "Places-LT": ufm.Problem(read_class_counts(DATA / "places_lt_class_counts.csv"), 1e-4, 1.5e-4),
    "10 classes, 62 samples": ufm.Problem(exponential(10, 20, 10), 4e-2, 3e-2),
}
ROUTES = [("theory", "auto"), ("clarabel", "class"), ("scs", "class"), ("clarabel", "sample"), ("scs", "sample")]


def figures(name: str, solver: str, level: str, queue: multiprocessing.Queue) -> None:
    """One row, computed in a process of its own so that it can be stopped and its memory returns."""
    problem = PROBLEMS[name]
    try:
        solution = ufm.solve(problem, solver=solver, level=level)
    except ufm.UFMError as error:
        queue.put(type(error).__name__)
        return
    expected = ufm.theory.optimum(problem)
    worst = solution.kkt().worst
    difference = abs(solution.value - expected.value) / expected.value
    active = problem.num_classes - len(solution.collapsed_classes)
    queue.put(
        f"{solution.value:.12f} | {solution.relative_gap:.1e} | {worst.residual:.1e} ({worst.name}) "
        f"| {difference:.1e} | {solution.run.accuracy or 0:.0e} | {active} / {problem.num_classes} "
        f"| {solution.seconds:.2f}"
    )


def real_data(seconds: float, largest: int) -> None:
    """Every problem, of at most so many classes, by every route."""
    print("| problem | solver, level | value | proved gap | worst KKT | from theory | accuracy | active | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in (name for name, problem in PROBLEMS.items() if problem.num_classes <= largest):
        for solver, level in ROUTES:
            queue: multiprocessing.Queue = multiprocessing.Queue()
            process = multiprocessing.Process(target=figures, args=(name, solver, level, queue))
            process.start()
            process.join(seconds)
            if process.is_alive():
                process.kill()
                row = f"not within {seconds:.0f} s"
            else:
                row = queue.get(timeout=5) if process.exitcode == 0 else f"process ended with {process.exitcode}"
            print(f"| {name} | {solver}, {level} | {row} |", flush=True)


def plain(problem: ufm.Problem, accuracy: float) -> tuple[float, float]:
    """The programme as the papers write it, unscaled, with SCS: value and seconds."""
    started, K, n = time.perf_counter(), problem.num_classes, problem.class_counts
    Z = cp.Variable((2 * K, 2 * K), PSD=True)
    L, B = Z[:K, K:], Z[K:, K:]
    loss = sum(n[k] / n.sum() * (cp.log_sum_exp(L[:, k]) - L[k, k]) for k in range(K))
    penalty = problem.lambda_w / 2 * cp.trace(Z[:K, :K]) + problem.lambda_h / 2 * cp.sum(cp.multiply(n, cp.diag(B)))
    programme = cp.Problem(cp.Minimize(loss + penalty), [B >= 0])
    programme.solve(solver="SCS", eps_abs=accuracy, eps_rel=accuracy, max_iters=100_000)
    return float(programme.value), time.perf_counter() - started


def scaled(problem: ufm.Problem, accuracy: float) -> tuple[float, float]:
    """The same programme as this package builds it, no repair: value and seconds."""
    started = time.perf_counter()
    programme = relaxation.programme(relaxation.of_classes(problem))
    programme.problem.solve(solver="SCS", eps_abs=accuracy, eps_rel=accuracy, max_iters=100_000)
    return float(programme.problem.value) * programme.objective_scale, time.perf_counter() - started


def certified(problem: ufm.Problem, accuracy: float) -> tuple[float, float]:
    """The package from end to end: value proved to 1e-6, and seconds."""
    solution = ufm.solve(problem, solver="scs")
    return solution.value, solution.seconds


def side_by_side(classes: int) -> None:
    """Plain, scaled and certified, one after the other in one run."""
    problem = ufm.Problem(np.unique(np.geomspace(50, 5000, classes).astype(int))[::-1], 5e-4, 1e-3)
    expected = ufm.theory.optimum(problem).value
    print(f"\n| K = {problem.num_classes}, distinct counts | error of the value | seconds | plain / this |")
    print("|---|---|---|---|")
    base = None
    for name, method, accuracy in (
        ("plain, SCS 1e-6", plain, 1e-6),
        ("scaled, SCS 1e-6", scaled, 1e-6),
        ("repaired and proved to 1e-6", certified, 0.0),
    ):
        value, seconds = method(problem, accuracy)
        base = seconds if base is None else base
        print(f"| {name} | {abs(value - expected) / expected:.1e} | {seconds:.2f} | {base / seconds:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="limit for one row of the first table")
    parser.add_argument("--classes", type=int, default=50, help="K of the second table")
    parser.add_argument("--largest", type=int, default=10**6, help="most classes of a problem of the first table")
    small(parser, seconds=4.0, classes=6, largest=10)
    options = parsed(parser)
    real_data(options.seconds, options.largest)
    side_by_side(options.classes)

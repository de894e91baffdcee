"""What has to be fast, beside what it is held to: one row a target, and another checkout in the same run.

    python -m tests.benchmarks.bench_targets --beside ../before

Every measurement runs in a process of its own, one BLAS thread, warmed up by a small problem; the checkout of
``--beside`` and this one take turns, and the smallest of the repeats counts. Seconds are processor time, which a busy
machine stretches less than the clock. "reached" is what was proved, or what the row compares itself with.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import ufm_convex as ufm
from tests.scripts import parsed, small

ROOT = Path(__file__).parents[2]
Row = Callable[[int], tuple[float, str]]
"""From a size to (seconds or ratio, what was reached)."""


def decay(counts: np.ndarray, share: float = 0.3) -> float:
    """λ_W = λ_H with the theorem's collapse threshold at ``share`` times the smallest class: every class is active."""
    K = counts.size
    return float(np.sqrt(share * counts.min() * (K - 1) / K) / counts.sum())


def distinct(K: int) -> np.ndarray:
    return np.arange(K, 2 * K)[::-1]


def long_tail(K: int, G: int) -> np.ndarray:
    """K counts, G of them different, from 1000 down to about 2."""
    values = np.unique(np.geomspace(2, 1000, 4 * G).astype(int))
    return np.sort(values[np.linspace(0, values.size - 1, G).astype(int)][np.arange(K) * G // K])[::-1]


def solved(problem: ufm.Problem, **options: object) -> tuple[float, str]:
    started = time.process_time()
    solution = ufm.solve(problem, **options)
    seconds = time.process_time() - started
    return seconds, f"{solution.status}, {solution.relative_gap:.0e} ({solution.solver}, {solution.level})"


# -- rows ------------------------------------------------------------------------------------------------------------


def theorem(K: int) -> tuple[float, str]:
    return solved(ufm.Problem(np.sort(np.arange(K) % 1000 + 1)[::-1], 1e-8, 1e-8))


def theorem_distinct(K: int) -> tuple[float, str]:
    return solved(ufm.Problem(np.arange(1, K + 1), 1e-9, 1e-9))


def group(K: int) -> tuple[float, str]:
    n = long_tail(K, 10)
    return solved(ufm.Problem(n, decay(n), decay(n), features="free"), level="group", tolerance=1e-7)


def group_free_bias(K: int) -> tuple[float, str]:
    n = long_tail(K, 10)
    return solved(ufm.Problem(n, decay(n), decay(n), features="free", bias="free"), level="group", tolerance=1e-7)


def group_penalised_bias(K: int) -> tuple[float, str]:
    n = long_tail(K, 10)
    return solved(ufm.Problem(n, decay(n), decay(n), features="free", bias=0.02), level="group", tolerance=1e-7)


def soft_targets(K: int) -> tuple[float, str]:
    from tests.soft_targets import random_soft_targets

    n = np.sort(np.random.default_rng(0).choice(np.arange(50, 50 + 10 * K), K, replace=False))[::-1]
    strong = decay(n) * np.sqrt(n.max() / n.min())  # the threshold at 0.3 times the largest class: a frame is optimal
    loss = random_soft_targets(K, 0.05, concentration=20.0)
    return solved(ufm.Problem(n, strong, strong, loss=loss), solver="frame")


def squared_error(K: int) -> tuple[float, str]:
    n = distinct(K)
    return solved(ufm.Problem(n, decay(n), decay(n), loss=ufm.MeanSquaredError()))


def hinge(K: int) -> tuple[float, str]:
    n = distinct(K)
    return solved(ufm.Problem(n, decay(n), decay(n), loss=ufm.MulticlassHinge()))


def sigmoids(K: int) -> tuple[float, str]:
    n = distinct(K)
    return solved(ufm.Problem(n, decay(n, 0.1), decay(n, 0.1), loss=ufm.BinaryCrossEntropy()))


def free_groups(K: int) -> tuple[float, str]:
    n = long_tail(K, min(300, K))
    return solved(ufm.Problem(n, decay(n), decay(n), features="free"))


def free_distinct(K: int) -> tuple[float, str]:
    n = distinct(K)
    return solved(ufm.Problem(n, decay(n), decay(n), features="free"))


def class_means(K: int) -> tuple[float, str]:
    """``certify`` from the command line: seconds of processor time of the whole process, and its peak of memory."""
    rng, n = np.random.default_rng(0), long_tail(K, min(300, K))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "means.npz"
        np.savez(path, weights=rng.normal(size=(K, 64)), features=abs(rng.normal(size=(K, 64))), class_counts=n)
        command = [sys.executable, "-c", "from ufm_convex.cli import main; main()", "certify", str(path)]
        command += ["--lambda-w", str(decay(n)), "--lambda-h", str(decay(n))]
        done = subprocess.run(command, capture_output=True, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, f"exit {done.returncode}, {used.ru_maxrss / 2**20:.2f} GiB"


def dense_check(K: int) -> tuple[float, str]:
    """Checking of a dense slack, reading excluded, over one Cholesky factorisation and one product of that order."""
    n = distinct(K)
    problem = ufm.Problem(n, decay(n), decay(n), features="free")
    text = ufm.certify(problem, proof="dense").to_json().encode()
    found = [ufm.verify(text) for _ in range(5)]
    A = np.random.default_rng(0).normal(size=(K, K))
    gram, reference = A @ A.T + K * np.eye(K), np.inf
    for _ in range(5):
        started = time.perf_counter()
        np.linalg.cholesky(gram), A @ A.T
        reference = min(reference, time.perf_counter() - started)
    check, read = min(x.checking_seconds for x in found), min(x.reading_seconds for x in found)
    return check / reference, f"{found[0].verdict}, {len(text) / 1e6:.1f} MB, read in {read:.2f} s"


def start_up(_: int, arguments: tuple[str, ...] = ()) -> tuple[float, str]:
    """A command of the command line over ``import numpy``, each in a fresh interpreter; of ten."""
    code = f"from ufm_convex.cli import main; main({list(arguments)!r})" if arguments else "import ufm_convex"
    best = [min(once([sys.executable, "-c", each]) for _ in range(10)) for each in (code, "import numpy")]
    return best[0] / best[1], f"{best[0]:.3f} s over {best[1]:.3f} s"


def once(command: list[str]) -> float:
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def start_help(_: int) -> tuple[float, str]:
    return start_up(_, ("--help",))


def start_solve(_: int) -> tuple[float, str]:
    return start_up(_, ("solve", "--class-counts", "500,100,20", "--lambda-w", "5e-3", "--lambda-h", "5e-3"))


ROWS: dict[str, tuple[str, Row, int, float, str]] = {
    "theorem": ("theorem's problem, 1000 counts", theorem, 10**6, 2, "s"),
    "theorem_distinct": ("theorem's problem, all distinct", theorem_distinct, 10**6, 30, "s"),
    "group": ("group level, G = 10, free, 1e-7", group, 1000, 1, "s"),
    "group_free_bias": ("the same, free bias", group_free_bias, 1000, 3, "s"),
    "group_penalised_bias": ("the same, penalised bias", group_penalised_bias, 1000, 3, "s"),
    "soft_targets": ("soft targets, frame", soft_targets, 1000, 2, "s"),
    "squared_error": ("squared error, all distinct", squared_error, 10**4, 0.5, "s"),
    "hinge": ("Crammer–Singer hinge, all distinct", hinge, 10**4, 0.5, "s"),
    "sigmoids": ("sigmoids, all distinct", sigmoids, 200, 5, "s"),
    "free_groups": ("free features, 300 counts", free_groups, 8142, 30, "s"),
    "free_distinct": ("free features, all distinct", free_distinct, 1000, 10, "s"),
    "class_means": ("certify of class means, d = 64", class_means, 8142, 5, "s"),
    "dense_check": ("check of a dense slack / Cholesky and product", dense_check, 1000, 3, "×"),
    "import": ("import ufm_convex / import numpy", start_up, 0, 1.5, "×"),
    "help": ("ufm-convex --help / import numpy", start_help, 0, 3, "×"),
    "solve": ("ufm-convex solve, closed form / import numpy", start_solve, 0, 3, "×"),
}


# -- one after the other ---------------------------------------------------------------------------------------------


def measured(checkout: Path, name: str, size: int, limit: float) -> tuple[float, str]:
    """A row by the package of a checkout, in a process of its own; infinite seconds beyond the limit."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": str(checkout)}
    command = [sys.executable, str(Path(__file__).resolve()), "--row", name, "--size", str(size)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=checkout, timeout=limit)
    except subprocess.TimeoutExpired:
        return np.inf, f"not within {limit:.0f} s"
    if done.returncode:
        return np.inf, done.stderr.strip().splitlines()[-1][:120]
    value, reached = json.loads(done.stdout.splitlines()[-1])
    return value, reached


def shown(value: float) -> str:
    return "-" if value == np.inf else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="another checkout of the project, measured in turns with this one")
    parser.add_argument("--only", nargs="+", choices=[*ROWS], default=[*ROWS])
    parser.add_argument("--largest", type=int, default=10**6, help="most classes of a row")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="seconds of one measurement")
    parser.add_argument("--row", choices=[*ROWS], help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    small(parser, beside=None, largest=12, repeats=1, only=["theorem", "group", "free_distinct", "dense_check", "help"])
    options = parsed(parser)
    if options.row:
        ufm.solve(ufm.Problem([5, 3, 2], 1e-2, 1e-2, features="free"))  # imports
        print(json.dumps(ROWS[options.row][1](options.size)))
        return
    checkouts = [ROOT, *([options.beside.resolve()] if options.beside else [])]
    heads = ["here", "beside", "beside / here"][: 1 if len(checkouts) == 1 else 3]
    print("| what | K | target | " + " | ".join(heads) + " | reached here |")
    print("|---" * (len(heads) + 4) + "|")
    for name in options.only:
        title, _, size, target, unit = ROWS[name]
        size = min(size, options.largest)
        found = [[] for _ in checkouts]
        for _ in range(options.repeats):
            for checkout, values in zip(checkouts, found, strict=True):
                values.append(measured(checkout, name, size, options.limit))
        best = [min(values) for values in found]
        cells = [shown(value) for value, _ in best]
        cells += [shown(best[1][0] / best[0][0])] if len(best) > 1 else []
        print(f"| {title} | {size or ''} | {target:g} {unit} | {' | '.join(cells)} | {best[0][1]} |", flush=True)


if __name__ == "__main__":
    main()

"""Time and memory of ``enclose_objective`` beside one float32 pass of ``features @ W.T``; run by hand.

    python -m tests.benchmarks.bench_candidate --samples 100000 --folder bench

All read the same memory-mapped file, one after the other and in turn, in one process; the least of the repeats counts,
of the clock and of processor time (with OPENBLAS_NUM_THREADS=1 that is what a loaded machine leaves comparable). Two
lines say what the machine allows: the same product in float64 and nothing else, and that in Winograd's form of one
level of Strassen's algorithm, 7 products of half the size for 8. Memory is the growth of the process's peak while the
enclosure runs, memory-mapped pages included. Without ``--folder`` the file is a temporary one; with it, it stays for
the next run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.scripts import parsed, small
from ufm_convex.candidate import Candidate
from ufm_convex.enclosure.candidate import enclose_objective


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the features are written, and found again")
    small(parser, samples=500, dim=8, classes=10, repeats=1)
    options = parsed(parser)
    if options.folder is None:
        with tempfile.TemporaryDirectory() as folder:
            options.folder = Path(folder)
            measure(options)
    else:
        options.folder.mkdir(parents=True, exist_ok=True)
        measure(options)


def measure(options: argparse.Namespace) -> None:
    W, path, labels = make_files(options)
    candidate = Candidate(weights=W, features=np.load(path, mmap_mode="r"), labels=labels)
    problem = candidate.problem(5e-4, 1e-6)
    works = {
        "float32 pass": lambda: product_pass(W, path),
        "float64 product alone": lambda: product_pass(W.astype(np.float64), path),
        "float64 by Winograd's form": lambda: winograd_pass(W.astype(np.float64), path),
        "enclosure": lambda: enclose_objective(problem, candidate),
    }
    took = {name: np.full(2, np.inf) for name in works}
    for _ in range(options.repeats):
        for name, work in works.items():
            reset_peak()
            before = status_mib("VmRSS")
            took[name] = np.minimum(took[name], seconds(work))
        print(f"peak memory beyond the start: {status_mib('VmHWM') - before:.0f} MiB")
    result = enclose_objective(problem, candidate)
    print(f"N = {options.samples}, d = {options.dim}, K = {options.classes}")
    print("| | seconds | of processor time | ratio | of processor time |\n|---|---|---|---|---|")
    for name, (clock, processor) in took.items():
        ratios = np.array([clock, processor]) / took["float32 pass"]
        print(f"| {name} | {clock:.2f} | {processor:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    print(f"[{result.lower!r}, {result.upper!r}], relative width {result.relative_width:.2e}, parts {result}")


def make_files(options: argparse.Namespace) -> tuple[np.ndarray, Path, np.ndarray]:
    """Features like those of a trained network: a class mean, plus noise, after a ReLU; written in pieces."""
    N, d, K = options.samples, options.dim, options.classes
    rng = np.random.default_rng(0)
    means = np.maximum(rng.standard_normal((K, d), dtype=np.float32), 0)
    W = (0.06 * (means - means.mean(axis=0))).astype(np.float32)
    labels = np.concatenate([np.arange(K), rng.integers(0, K, N - K)])
    path = options.folder / f"features_{N}_{d}_{K}.npy"
    if not path.exists():
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(N, d))
        for start in range(0, N, 10_000):
            y = labels[start : start + 10_000]
            out[start : start + y.size] = np.maximum(means[y] + 0.7 * rng.standard_normal((y.size, d), np.float32), 0)
        out.flush()
    return W, path, labels


def product_pass(W: np.ndarray, path: Path, rows: int = 4096) -> None:
    """``features @ W.T`` in the precision of W, block by block into one array, the fastest way to see every logit."""
    features = np.load(path, mmap_mode="r")
    logits = np.empty((rows, W.shape[0]), dtype=W.dtype)
    for start in range(0, len(features), rows):
        block = features[start : start + rows].astype(W.dtype, copy=False)
        np.matmul(block, W.T, out=logits[: len(block)])


def winograd_pass(W: np.ndarray, path: Path, rows: int = 4096) -> None:
    """The same in 7 products of half the size and 15 sums, in float64; odd sizes lose a row or a column."""
    features = np.load(path, mmap_mode="r")
    k, e, m = W.shape[0] // 2, W.shape[1] // 2, rows // 2
    A11, A12, A21, A22 = (np.ascontiguousarray(W[i : i + k, j : j + e]) for i in (0, k) for j in (0, e))
    S1 = A21 + A22
    S2, S3 = S1 - A11, A11 - A21
    S4 = A12 - S2
    logits, P = np.empty((2, 2, k, m)), np.empty((3, k, m))
    for start in range(0, len(features), rows):
        block = features[start : start + rows].astype(np.float64)
        n = len(block) // 2
        B11, B21, B12, B22 = (block[i : i + n, j : j + e] for i in (0, n) for j in (0, e))
        T1, T3 = B12 - B11, B22 - B12
        T2 = B22 - T1
        C, (P1, P2, P3) = logits[..., :n], P[..., :n]
        np.matmul(A11, B11.T, out=P1)
        np.add(P1, np.matmul(A12, B21.T, out=P2), out=C[0, 0])
        P1 += np.matmul(S2, T2.T, out=P2)
        np.add(P1, np.matmul(S3, T3.T, out=P2), out=P2)
        np.add(P2, np.matmul(S1, T1.T, out=P3), out=C[1, 1])
        P1 += P3
        np.add(P1, np.matmul(S4, B22.T, out=P3), out=C[0, 1])
        np.subtract(P2, np.matmul(A22, (T2 - B21).T, out=P3), out=C[1, 0])


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def status_mib(field: str) -> float:
    """A field of /proc/self/status in MiB (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

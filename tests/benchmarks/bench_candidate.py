"""Time and memory of ``enclose_objective`` beside one float32 pass of ``features @ W.T``; run by hand.

    python -m tests.benchmarks.bench_candidate --samples 100000 --folder bench

Both read the same memory-mapped file, one after the other and in turn, in one process; the smaller of the repeats
counts. Memory is the growth of the process's peak while the enclosure runs, memory-mapped pages included.
Without ``--folder`` the file is a temporary one; with it, it stays for the next run.
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
    passes, enclosures = [], []
    for _ in range(options.repeats):
        passes.append(seconds(lambda: float32_pass(W, path)))
        reset_peak()
        before = status_mib("VmRSS")
        enclosures.append(seconds(lambda: enclose_objective(problem, candidate)))
        print(f"peak memory beyond the start: {status_mib('VmHWM') - before:.0f} MiB")
    result = enclose_objective(problem, candidate)
    print(f"N = {options.samples}, d = {options.dim}, K = {options.classes}")
    print(f"float32 pass {min(passes):.2f} s, enclosure {min(enclosures):.2f} s: {min(enclosures) / min(passes):.2f} x")
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


def float32_pass(W: np.ndarray, path: Path, rows: int = 4096) -> None:
    """``features @ W.T`` in float32, block by block into one array, the fastest way to have seen every logit."""
    features = np.load(path, mmap_mode="r")
    logits = np.empty((rows, W.shape[0]), dtype=np.float32)
    for start in range(0, len(features), rows):
        block = features[start : start + rows]
        np.matmul(block, W.T, out=logits[: len(block)])


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def status_mib(field: str) -> float:
    """A field of /proc/self/status in MiB (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

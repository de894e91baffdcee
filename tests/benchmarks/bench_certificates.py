"""Certificates by slack proof: seconds to make and to verify, bytes, proved gap; dense checking beside one Cholesky.

Run by hand from the project's root: ``python -m tests.benchmarks.bench_certificates``. The last column is the time of
the checking, reading excluded, over that of one float64 Cholesky factorisation and one product of that size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import ufm_convex as ufm
from tests.scripts import parsed, small
from ufm_convex.class_counts import exponential, read_class_counts

DATA = Path(__file__).parents[1] / "data"


def distinct(classes: int) -> np.ndarray:
    """Distinct counts."""
    return np.arange(classes, 2 * classes)[::-1]


def threshold_decay(counts: np.ndarray, share: float) -> float:
    """λ_W = λ_H with the collapse threshold at ``share`` times the smallest class."""
    K = counts.size
    return float(np.sqrt(share * counts.min() * (K - 1) / K) / counts.sum())


def reference(size: int) -> float:
    """Seconds of one Cholesky factorisation and one product."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(size, size))
    gram = matrix @ matrix.T + size * np.eye(size)
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        np.linalg.cholesky(gram)
        _ = matrix @ matrix.T
        best = min(best, time.perf_counter() - started)
    return best


def row(name: str, problem: ufm.Problem, solver: str, proof: str) -> None:
    """Solve, certify, verify, print."""
    started = time.perf_counter()
    solution = ufm.solve(problem, solver=solver)
    solved = time.perf_counter()
    certificate = ufm.certify(problem, solution=solution, proof=proof)
    text = certificate.to_json().encode()
    made = time.perf_counter()
    repeats = 1 if problem.num_classes > 1000 else 5  # as the reference
    result = min((ufm.verify(text) for _ in range(repeats)), key=lambda result: result.checking_seconds)
    ratio = "" if problem.num_classes > 1000 else f"{result.checking_seconds / reference(problem.num_classes):.1f}"
    print(
        f"| {name} | {solver} | {certificate.proof} | {solved - started:.2f} | {made - solved:.2f} | {len(text):,} "
        f"| {result.reading_seconds:.3f} | {result.checking_seconds:.4f} | {certificate.relative_gap:.1e} "
        f"| {result.verdict} | {ratio} |",
        flush=True,
    )


def cases() -> Iterator[tuple[str, ufm.Problem, str, str]]:
    """Arguments of every row, from small problems to large ones."""
    for classes in (10, 100):
        counts = distinct(classes)
        decay = threshold_decay(counts, 0.3)
        yield (f"K = {classes}, H ≥ 0", ufm.Problem(counts, decay, decay), "scs", "auto")
        yield (f"K = {classes}, H ≥ 0", ufm.Problem(counts, decay, decay), "scs", "dense")
        yield (f"K = {classes}, free", ufm.Problem(counts, decay, decay, features="free"), "factored", "auto")
    places = read_class_counts(DATA / "places_lt_class_counts.csv")
    yield ("Places-LT, H ≥ 0", ufm.Problem(places, 1e-4, 1.5e-4), "auto", "auto")
    yield ("Places-LT, free", ufm.Problem(places, 1e-5, 1.5e-5, features="free"), "factored", "group")
    yield ("Places-LT, free", ufm.Problem(places, 1e-5, 1.5e-5, features="free"), "factored", "dense")
    thousand = distinct(1000)
    decay = threshold_decay(thousand, 0.3)
    yield ("K = 1000, H ≥ 0", ufm.Problem(thousand, decay, decay), "auto", "auto")
    yield ("K = 1000, free", ufm.Problem(thousand, decay, decay, features="free"), "factored", "dense")
    million = np.repeat([5000, 1200, 300, 40, 3], 200_000)
    yield ("K = 10⁶, 5 counts, H ≥ 0", ufm.Problem(million, 1e-8, 1e-8), "auto", "auto")
    yield ("K = 10⁶, 5 counts, free", ufm.Problem(million, 1e-8, 1e-8, features="free"), "auto", "auto")
    spread = exponential(1_000_000, 1000, 1000)
    yield ("K = 10⁶, 1000 counts, H ≥ 0", ufm.Problem(spread, 1e-8, 1e-8), "auto", "auto")
    yield ("K = 10⁶, all distinct, H ≥ 0", ufm.Problem(np.arange(1, 1_000_001), 1e-9, 1e-9), "auto", "auto")


def main() -> None:
    """Every size by every proof."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=10**6, help="most classes of a problem")
    small(parser, largest=10)
    largest = parsed(parser).largest
    print(
        "| problem | solver | slack | solve s | make s | bytes | read s | check s | gap | verdict | check / reference |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for case in cases():
        if case[1].num_classes <= largest:
            row(*case)


if __name__ == "__main__":
    main()

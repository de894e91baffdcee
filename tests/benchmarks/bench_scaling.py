"""How the cost of a certified solve grows with K, G and N: sweeps and fitted exponents.

    python -m tests.benchmarks.bench_scaling

Each sweep varies one size and holds the others; the exponent is the slope of log time against log size over its upper
half, where constant costs no longer hide it. Every time is the best of several solves to a proved gap of 1e-7, and the
gap that was reached stands beside it. Sizes are those of docs/levels.md, section 7.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

import ufm_convex as ufm
from tests.scripts import parsed, small

TOLERANCE = 1e-7


def grouped(K: int, G: int, scale: int = 1, features: str = "free") -> ufm.Problem:
    """K classes in G groups of nearly equal size, counts 20 to 5000 times ``scale``; some within-group collapse."""
    counts = scale * np.unique(np.round(np.geomspace(20, 5000, G)).astype(np.int64))
    members = np.arange(K) * counts.size // K
    decay = 1e-2 / K / math.sqrt(scale)  # keeps n_g / (N² λ_W λ_H) in place as K and N grow
    return ufm.Problem(counts[members], decay, decay, features=features)


def measure(problem: ufm.Problem, solver: str, level: str, repeats: int) -> tuple[float, float]:
    """Best time and the relative gap that was proved."""
    seconds, gap = math.inf, math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        solution = ufm.solve(problem, solver=solver, level=level, tolerance=TOLERANCE)
        seconds = min(seconds, time.perf_counter() - started)
        gap = solution.relative_gap
    return seconds, gap


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Slope of log time against log size over the upper half of the sweep."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


Sweep = tuple[str, str, list[int], Callable[[int], ufm.Problem], str, str]


def sweeps(few: int) -> Iterator[Sweep]:
    """(title, varied size, the first few sizes, problem of a size, solver, level)."""
    for features in ("nonnegative", "free"):
        yield (
            f"group, {features}, G = 5",
            "K",
            [10**2, 10**3, 10**4, 10**5, 10**6][:few],
            lambda K, f=features: grouped(K, 5, features=f),
            "clarabel",
            "group",
        )
        for solver in ("clarabel", "scs"):
            yield (
                f"group, {features}, K = 1000, {solver}",
                "G",
                [2, 4, 8, 12, 16, 24][:few],
                lambda G, f=features: grouped(1000, G, features=f),
                solver,
                "group",
            )
        yield (
            f"group, {features}, K = 1000, G = 5",
            "N",
            [10**k for k in range(5)][:few],
            lambda scale, f=features: grouped(1000, 5, scale, f),
            "clarabel",
            "group",
        )
        yield (
            f"class, {features}, distinct counts, scs",
            "K",
            [6, 12, 24, 48][:few],
            lambda K, f=features: grouped(K, K, features=f),
            "scs",
            "class",
        )


def main() -> None:
    """Print one table a sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=6, help="of each sweep, at most so many, from the smallest")
    parser.add_argument("--repeats", type=int, default=3)
    small(parser, sizes=3, repeats=1)  # an exponent takes two sizes of the upper half
    options = parsed(parser)
    measure(grouped(50, 2), "clarabel", "group", 1)  # imports
    for title, name, sizes, make, solver, level in sweeps(options.sizes):
        print(f"\n{title}\n{name:>10}  {'N':>14}  {'seconds':>9}  proved gap")
        seconds = []
        for size in sizes:
            problem = make(size)
            took, gap = measure(problem, solver, level, options.repeats)
            seconds.append(took)
            print(f"{size:>10}  {problem.num_samples:>14}  {took:9.3f}  {gap:.1e}", flush=True)
        print(f"  time grows as {name}^{exponent(sizes, seconds):.2f}")


if __name__ == "__main__":
    main()

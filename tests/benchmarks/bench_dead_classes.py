"""Why L-BFGS-B gets stuck at d = K: the attribution of its runs, and how many are recognised by their dead classes.

    python -m tests.benchmarks.bench_dead_classes --runs 100
    python -m tests.benchmarks.bench_dead_classes --runs 40 --dim 200

Starts are small (standard deviation 0.1, features in absolute value). A run is stuck when it ends more than 1e-4 above
the optimum, and recognised when the costs of its dead classes are 99 % of its gap.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

from tests.scripts import parsed, small
from ufm_convex import theory
from ufm_convex.attribution import PARTS, attribute_gap
from ufm_convex.candidate import Candidate
from ufm_convex.problem import Problem
from ufm_convex.recovery import descend
from ufm_convex.relaxation import Factors, of_classes

COUNTS = [500, 300, 180, 108, 65, 39, 23, 14, 8, 5]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--dim", type=int, default=len(COUNTS))
    small(parser, runs=2)
    options = parsed(parser)
    problem = Problem(COUNTS, 1e-3, 1e-3)
    columns, optimum = of_classes(problem), theory.optimum(problem).value
    stuck, recognised, rest = 0, 0, 0.0
    parts, dead, begun = dict.fromkeys(PARTS, 0.0), Counter(), time.perf_counter()
    for seed in range(options.runs):
        rng = np.random.default_rng(seed)
        W, H = 0.1 * rng.normal(size=(2, len(COUNTS), options.dim))
        end, _ = descend(columns, Factors.single(columns, W, np.abs(H)), 20_000)
        W, H = end.W.even, end.H.even
        found = attribute_gap(problem, Candidate(weights=W, features=H, class_counts=COUNTS))
        if found.gap <= 1e-4:
            continue
        stuck += 1
        explained = sum(one.cost for one in found.dead_classes)
        recognised += explained >= 0.99 * found.gap
        rest = max(rest, abs(found.gap - explained))
        dead.update(one.index for one in found.dead_classes)
        for name in PARTS:
            parts[name] += found.shares[name]
    print(f"d = {options.dim}: {options.runs} runs in {time.perf_counter() - begun:.0f} s, f* = {optimum:.10f}")
    print(f"stuck {stuck}, recognised as dead-class minima {recognised}, largest gap left unexplained {rest:.1e}")
    for name, share in parts.items():
        print(f"  {name:18} {100 * share / max(stuck, 1):.6f} % of the gap on average")
    print("  times dead, class by class:", [dead[k] for k in range(len(COUNTS))])


if __name__ == "__main__":
    main()

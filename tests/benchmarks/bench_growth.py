"""Measured exponents: how each part of the package grows with the number of classes K, and with that of groups G.

    python -m tests.benchmarks.bench_growth

A row is one part over one size: seconds of processor time of this process at each size, best of several, and the slope
of log time against log size over the upper half, where constant costs no longer hide it. Counts are distinct where K
varies, but for the parts that see groups only.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

import ufm_convex as ufm
from tests.benchmarks.bench_scaling import exponent, grouped
from tests.scripts import parsed, small
from ufm_convex import relaxation

Work = Callable[[], object]


def distinct(K: int, features: str = "nonnegative") -> ufm.Problem:
    """K different counts, some classes of which collapse."""
    decay = 1e-2 / K**1.5
    return ufm.Problem(20 + np.arange(K)[::-1], decay, decay, features=features)


def candidate_of(problem: ufm.Problem) -> ufm.Candidate:
    """Class means a little off an optimum of single coordinates, with d = 8."""
    K = problem.num_classes
    generator = np.random.default_rng(0)
    W, H = generator.normal(size=(K, 8)), np.abs(generator.normal(size=(K, 8)))
    return ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts)


def theory(problem: ufm.Problem) -> Work:
    """Closed form, both bounds proved."""
    return lambda: ufm.solve(problem)


def orbits(problem: ufm.Problem) -> Work:
    """The columns of the coarsest level, and an eigenvalue decomposition of their Gram matrix."""

    def work() -> object:
        columns = relaxation.of_groups(problem)
        zero = relaxation.Alike.zeros(columns.outputs, columns.columns)
        residuals = columns.residuals(zero)
        return (residuals.T @ residuals).eigenvalues()

    return work


def class_level(problem: ufm.Problem) -> Work:
    """Clarabel by name at class level."""
    return lambda: ufm.solve(problem, solver="clarabel", level="class")


def factored(problem: ufm.Problem) -> Work:
    """Descent on W and H."""
    return lambda: ufm.solve(problem, solver="factored", level="class")


def factored_groups(problem: ufm.Problem) -> Work:
    """Descent on W and H that are alike on alike classes."""
    return lambda: ufm.solve(problem, solver="factored", level="group")


def certify(problem: ufm.Problem) -> Work:
    """Bounds of a candidate, and its certificate, which the verifier checks."""
    candidate = candidate_of(problem)
    return lambda: ufm.certify(problem, candidate)


def verify(problem: ufm.Problem) -> Work:
    """The verifier alone."""
    text = ufm.certify(problem).to_json().encode()
    return lambda: ufm.verify(text)


def attribution(problem: ufm.Problem) -> Work:
    """The parts of a candidate's gap."""
    candidate = candidate_of(problem)
    return lambda: ufm.attribute_gap(problem, candidate)


Make = Callable[[int], ufm.Problem]


def rows(few: int) -> Iterator[tuple[str, str, list[int], Make, Callable[[ufm.Problem], Work]]]:
    """(part, size that varies, sizes, problem of a size, the part's work)."""
    yield "theory", "K", [10**3, 10**4, 10**5, 10**6][:few], distinct, theory
    yield "orbits", "K", [10**3, 10**4, 10**5, 10**6][:few], lambda K: grouped(K, 5), orbits
    yield "class level", "K", [4, 8, 16, 32][:few], distinct, class_level
    yield "factored", "K", [25, 50, 100, 200][:few], lambda K: distinct(K, "free"), factored
    yield "certify", "K", [100, 200, 400, 800][:few], distinct, certify
    yield "verify", "K", [25, 50, 100, 200][:few], lambda K: distinct(K, "free"), verify
    yield "attribution", "K", [100, 200, 400, 800][:few], distinct, attribution
    groups = [5, 10, 20, 40][:few]
    yield "theory", "G", groups, lambda G: grouped(1000, G, features="nonnegative"), theory
    yield "orbits", "G", groups, lambda G: grouped(1000, G), orbits
    yield "group level", "G", groups, lambda G: grouped(1000, G), lambda p: lambda: ufm.solve(p, solver="scs")
    yield "factored", "G", groups, lambda G: grouped(1000, G), factored_groups
    yield "certify", "G", groups, lambda G: grouped(1000, G, features="nonnegative"), certify
    yield "verify", "G", groups, lambda G: grouped(1000, G), verify
    yield "attribution", "G", groups, lambda G: grouped(1000, G, features="nonnegative"), attribution


def seconds(work: Work, repeats: int) -> float:
    """Least processor time."""
    least = math.inf
    for _ in range(repeats):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
    return max(least, 1e-9)


def main() -> None:
    """Print one row a part and size that varies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=4, help="of each row, at most so many, from the smallest")
    parser.add_argument("--repeats", type=int, default=3)
    small(parser, sizes=3, repeats=1)  # an exponent takes two sizes of the upper half
    options = parsed(parser)
    seconds(class_level(distinct(3)), 1)  # imports
    print("| part | size | exponent | seconds |\n|---|---|---|---|")
    for part, name, sizes, make, part_of in rows(options.sizes):
        took = [seconds(part_of(make(size)), options.repeats) for size in sizes]
        measured = ", ".join(f"{size:,}: {second:.3f}" for size, second in zip(sizes, took, strict=True))
        print(f"| {part} | {name} | {exponent(sizes, took):.2f} | {measured} |", flush=True)


if __name__ == "__main__":
    main()

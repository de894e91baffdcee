"""The tables of docs/conformance.md and docs/catches.md, as Markdown with the versions; run by hand from the root.

    python -m tests.benchmarks.bench_crosscheck conformance --limit 60
    python -m tests.benchmarks.bench_crosscheck overstatement --accuracy 1e-4
    python -m tests.benchmarks.bench_crosscheck layer-peeled --sizes 20 50 100
    python -m tests.benchmarks.bench_crosscheck copt

"conformance" runs every installed solver over every conformance case. "overstatement" asks SCS for a loose accuracy on
the textbook programme, and compares its own dual objective with the proved optimum. "layer-peeled" compares what cvxpy
makes of the programme with norm balls with the certified optimum. "copt" asks COPT through cvxpy for 24 small problems.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
import warnings

import cvxpy as cp

import ufm_convex as ufm
from tests.benchmarks import textbook
from tests.scripts import parsed, small
from ufm_convex import class_counts
from ufm_convex.crosscheck import available, conformance_cases, run_conformance
from ufm_convex.crosscheck.textbook import TextbookContestant
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import LayerPeeled

PACKAGES = ("cvxpy", "clarabel", "scs", "qics", "cvxopt", "coptpy", "scipy", "torch", "numpy")


def versions():
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def table(header, rows):
    """Rows are printed as they come."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


# -- every solver on every case ------------------------------------------------------------------------------------


def cell(row):
    """Verdict, certified gap and overstatement; why, when there is no answer."""
    if row.verdict == "failed":
        known = {"no answer within": "time limit", "has no level": "no such level"}
        return next((short for words, short in known.items() if words in row.reason), "solver error")
    verdict = f"**{row.verdict}**" if row.verdict in ("wrong", "overclaims") else str(row.verdict)
    if row.certified_gap is None:
        return f"{verdict}: “{row.status_claimed}”"
    over = f", dual +{row.overstatement:.0e}" if (row.overstatement or 0.0) > 1e-6 else ""
    return f"{verdict} {row.certified_gap:.0e}{over}"


def conformance(options):
    names = options.solvers or [name for name, kind in available().items() if kind.installed()]
    cases = [case for case in conformance_cases() if not options.cases or case.name in options.cases]

    def rows():
        for case in cases:
            cells = []
            for name in names:
                ((_, row),) = run_conformance(name, cases=[case], time_limit=options.limit)
                cells.append(cell(row))
                if options.reasons:
                    print(f"    {case.name}, {name}: {row.reason} ({row.seconds:.1f} s)")
            yield [case.name, *cells]

    table(["case", *names], rows())


# -- SCS at loose accuracies ---------------------------------------------------------------------------------------


class LooseSCS(TextbookContestant):
    """SCS on the textbook programme, or on that with the package's scaling, at a given accuracy."""

    def __init__(self, accuracy):
        super().__init__()
        self.accuracy = accuracy

    @classmethod
    def installed(cls):
        return True

    def solve(self, programme):
        programme.solve(solver=cp.SCS, eps_abs=self.accuracy, eps_rel=self.accuracy, max_iters=10**5)


def imbalanced(sizes):
    """Name → problem: moderate sizes and imbalances, decays that papers use."""
    cases = {}
    for K in sizes:
        profiles = {
            "500 to 5": class_counts.exponential(K, 500, 100),
            "half 500, half 50": [500] * (K // 2) + [50] * (K - K // 2),
            "a fifth 500, the others 20": [500] * (K // 5) + [20] * (K - K // 5),
        }
        for name, counts in profiles.items():
            for decay in (1e-3, 3e-4, 1e-4, 3e-5):
                cases[f"K = {K}, {name}, λ = {decay:g}"] = Problem(counts, decay, decay)
    return cases


def overstatement(options):
    def rows():
        for name, problem in imbalanced(options.sizes).items():
            solver = LooseSCS(options.accuracy)

            def loose(problem, solver=solver):
                return solver.answer(problem, 1e-6, options.limit)

            (row,) = ufm.cross_check(problem, [loose], time_limit=options.limit).rows
            if row.verdict == "failed":
                yield [name, row.status_claimed, "", "", "", f"failed: {row.reason}", f"{row.seconds:.0f} s"]
                continue
            value = ufm.solve(problem).value
            yield [
                name,
                row.status_claimed,
                f"{row.value / value - 1:+.1e}",
                f"{row.dual_value / value - 1:+.1e}",
                f"{row.primal_gap:.1e}",
                row.verdict,
                f"{row.seconds:.0f} s",
            ]

    print(f"eps_abs = eps_rel = {options.accuracy:g}\n")
    table(["problem", "claims", "value − optimum", "its dual − optimum", "primal gap", "verdict", "time"], rows())


# -- norm balls ----------------------------------------------------------------------------------------------------


def layer_peeled(options):
    cp.settings.DEFAULT_TO_COMMERCIAL_SOLVERS = False

    def profiles(K):
        half = K // 2
        return {
            "balanced": [100] * K,
            "500, half 50": [500] * half + [50] * half,
            "500, half 5": [500] * half + [5] * half,
            "500 to 5": class_counts.exponential(K, 500, 100),
        }

    def rows():
        for K in options.sizes:
            for name, counts in profiles(K).items():
                if options.profile not in (None, name):
                    continue
                for radii in ((1.0, 1.0), (1.0, 5.0), (5.0, 5.0), (10.0, 10.0)):
                    truth = ufm.solve(Problem(counts, constraint=LayerPeeled(*radii)), tolerance=1e-8).value
                    programme = textbook.layer_peeled_programme(counts, *radii)
                    started = time.perf_counter()
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        programme.solve()
                    seconds = time.perf_counter() - started
                    off = programme.value / truth - 1
                    claim = f"{programme.solver_stats.solver_name}: {programme.status}"
                    if abs(off) >= options.least:
                        shown = f"{programme.value:.6g}", f"{truth:.6g}", f"{100 * off:+.2g} %", f"{seconds:.1f} s"
                        yield [f"{K}", name, f"{radii[0]:g}, {radii[1]:g}", claim, *shown]

    table(["K", "counts", "E_W, E_H", "cvxpy's default", "its value", "optimum", "off by", "time"], rows())


# -- COPT through cvxpy --------------------------------------------------------------------------------------------


def copt(options):
    def rows():
        for counts in ([7, 3], [5, 4, 3], [40, 20, 8]):
            for decays in ((0.1, 0.1), (0.02, 0.02), (1e-3, 1e-3), (0.3, 0.05)):
                for features in ("nonnegative", "free"):
                    problem = Problem(counts, *decays, features=features)
                    (row,) = ufm.cross_check(problem, ["copt"]).rows
                    yield [counts, decays, features, row.status_claimed, row.verdict, row.reason]

    table(["counts", "decays", "features", "claims", "verdict", "reason"], rows())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("conformance")
    first.set_defaults(run=conformance)
    first.add_argument("--solvers", nargs="*")
    first.add_argument("--cases", nargs="*")
    first.add_argument("--reasons", action="store_true")
    second = commands.add_parser("overstatement")
    second.set_defaults(run=overstatement)
    second.add_argument("--accuracy", type=float, default=1e-4)
    for one in (first, second):
        one.add_argument("--limit", type=float, default=60.0, help="seconds for one run")
    third = commands.add_parser("layer-peeled")
    third.set_defaults(run=layer_peeled)
    for one in (second, third):
        one.add_argument("--sizes", type=int, nargs="*", default=[20, 50, 100], help="numbers of classes")
    third.add_argument("--least", type=float, default=1e-4, help="relative error from which a row is shown")
    third.add_argument("--profile", help="only these counts, as the column names them")
    fourth = commands.add_parser("copt")
    fourth.set_defaults(run=copt)
    small(first, solvers=["lbfgsb", "scs"], cases=["two-classes"], limit=20.0)
    small(second, sizes=[5], limit=20.0)
    small(third, sizes=[4], least=0.0)
    small(fourth)
    options = parsed(parser)
    print(versions() + "\n")
    options.run(options)


if __name__ == "__main__":
    main()

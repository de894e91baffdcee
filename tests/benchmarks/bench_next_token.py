"""Next tokens: large tables of contexts against a vocabulary, and the limit of vanishing decay.

Run by hand from the project's root: ``python -m tests.benchmarks.bench_next_token``; figures of the last run are in
docs/next_token.md. Contexts have six to eight different tokens behind them, which a power law chooses, with geometric
counts; generator ``default_rng(0)``. ``--sweep`` follows the optimum of a small corpus to small decays, beside the
least nuclear norm with hard margins, which cvxpy finds; with ``--figure FILE`` it also draws that.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from pathlib import Path

import numpy as np
import scipy.sparse

import ufm_convex as ufm
from tests.scripts import parsed, small

CORPUS = [0, 1, 2, 0, 3, 1, 2, 4, 0, 1, 3, 0, 2, 4, 1, 0, 3, 2, 0, 1, 4, 3, 0, 2, 1]
"""25 tokens, a vocabulary of five; contexts of two tokens."""


def contexts(V: int, m: int, seed: int = 0) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Shares behind m contexts, (m, V), and how often each context occurs, (m,)."""
    generator, frequencies = np.random.default_rng(seed), np.arange(1, V + 1) ** -0.8
    frequencies /= frequencies.sum()
    rows, columns, numbers = [], [], []
    for j in range(m):
        size = int(generator.integers(6, 9))
        columns += generator.choice(V, size, replace=False, p=frequencies).tolist()
        numbers += generator.geometric(0.3, size).tolist()
        rows += [j] * size
    counts = np.bincount(rows, numbers, m)
    shares = np.array(numbers) / counts[rows]
    return scipy.sparse.csr_array((shares, (rows, columns)), shape=(m, V)), counts.astype(np.int64)


def large(V: int, m: int, decay: float, dimension: int | None) -> str:
    """One row: what is proved, and how long it took."""
    targets, counts = contexts(V, m)
    loss = ufm.SoftTargetCrossEntropy(targets)
    problem = ufm.Problem(counts, decay, decay, loss=loss, features="free", feature_dim=dimension)
    started, worked = time.perf_counter(), time.process_time()
    solution = ufm.solve(problem, progress=lambda line: None)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"| {V} | {m} | {decay:g} | {dimension or ''} | {solution.value:.9f} | {solution.floor:.9f} | "
        f"{solution.excess:.9f} | {solution.excess_gap:.1e} ({solution.status}) | {solution.rank} | {seconds:.0f} | "
        f"{worked:.0f} | {memory:.1f} | {solution.solver} |"
    )


# -- vanishing decay ------------------------------------------------------------------------------------------------


def hard_margins(targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The X of least nuclear norm whose logits X Diag(√n)⁻¹ agree on supports and are 1 higher there than elsewhere."""
    import cvxpy as cp

    X = cp.Variable(targets.T.shape)
    constraints = []
    for j, (row, count) in enumerate(zip(targets, counts, strict=True)):
        there, elsewhere = np.flatnonzero(row), np.flatnonzero(row == 0.0)
        z = X[:, j] / math.sqrt(count)
        constraints += [z[v] == z[there[0]] for v in there[1:]]
        constraints += [z[there[0]] - z[v] >= 1.0 for v in elsewhere]
    cp.Problem(cp.Minimize(cp.normNuc(X)), constraints).solve(solver="CLARABEL")
    return X.value - X.value.mean(axis=0)


def sweep(decays: list[float]) -> list[dict[str, float]]:
    """Along falling decays: the excess, the norm of X = L Diag(√n), its growth, and its cosine with the limit."""
    found = ufm.next_tokens(CORPUS, 2)
    limit = hard_margins(found.targets.toarray(), found.counts)
    least, rows = float(np.linalg.norm(limit, "nuc")), []
    for decay in decays:
        loss = ufm.SoftTargetCrossEntropy(found.targets)
        problem = ufm.Problem(found.counts, decay, decay, loss=loss, features="free")
        solution = ufm.solve(problem, solver="factored", tolerance=1e-4)
        X = solution.logits * np.sqrt(found.counts)
        norm, cosine = float(np.linalg.norm(X, "nuc")), float(np.vdot(X, limit))
        rows.append({
            "decay": decay, "excess": solution.excess, "gap": solution.excess_gap, "norm": norm,
            "cosine": cosine / float(np.linalg.norm(X) * np.linalg.norm(limit)), "least": least,
            "growth": (norm - rows[-1]["norm"]) / math.log(rows[-1]["decay"] / decay) if rows else math.nan,
        })  # fmt: skip
    return rows


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Growth over the least norm, and one minus the cosine, against the decay."""
    from ufm_convex.plots.style import new_figure, styled

    with styled():
        figure = new_figure(ufm.plots.width_in_inches("page"), 2.4)
        left, right = figure.subplots(1, 2, sharex=True)
        decays = [row["decay"] for row in rows]
        left.plot(decays, [row["growth"] / row["least"] for row in rows], marker="o", markersize=3)
        left.axhline(1.0, linewidth=0.8, color="0.5")
        left.set_ylabel("growth of the norm over\nthe least norm")
        right.plot(decays, [1.0 - row["cosine"] for row in rows], marker="o", markersize=3)
        right.set_ylabel("1 − cosine")
        right.set_yscale("log")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xlabel("decay, of W and of H")
        left.invert_xaxis()  # of both
        ufm.plots.save(figure, path)


def main() -> None:
    """The table that is asked for, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outputs", type=int, default=1000, help="V")
    parser.add_argument("--columns", type=int, default=10_000, help="m")
    parser.add_argument("--decays", type=float, nargs="+", default=[1e-4, 1e-5], help="decays of W and of H")
    parser.add_argument("--dimension", type=int, help="d, where it is to be binding")
    parser.add_argument("--sweep", action="store_true", help="the limit of vanishing decay instead")
    parser.add_argument("--figure", type=Path, help="with --sweep: where the figure goes")
    parser.add_argument("--smallest", type=int, default=7, help="with --sweep: decays down to 10 to minus this")
    small(parser, outputs=30, columns=400, decays=[1e-3], smallest=3)
    options = parsed(parser)
    if options.sweep:
        print("| decay | excess | gap of the excess | ‖X‖ | growth / least norm | cosine |")
        print("|---|---|---|---|---|---|")
        rows = sweep([10.0**-k for k in range(2, options.smallest + 1)])
        for row in rows:
            growth = "" if math.isnan(row["growth"]) else f"{row['growth'] / row['least']:.5f}"
            print(f"| {row['decay']:.0e} | {row['excess']:.3e} | {row['gap']:.1e} | {row['norm']:.4f} | {growth} | "
                  f"{row['cosine']:.5f} |")  # fmt: skip
        if options.figure is not None:
            draw(rows, options.figure)
        return
    print("| V | m | λ | d | value | floor | excess | proved gap | rank | seconds | CPU s | GiB | solver |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for decay in options.decays:
        print(large(options.outputs, options.columns, decay, options.dimension), flush=True)


if __name__ == "__main__":
    main()

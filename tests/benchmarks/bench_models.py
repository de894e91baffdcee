"""Every model in one table: value, certified gap, distance from the closed form or reference, solver that "auto" took.

Run by hand from the project's root: ``python -m tests.benchmarks.bench_models``; figures of the last run are in
docs/benchmarks.md. A reference is a closed form, or a published or independently computed value restated with its
source. Models without one say "none".
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import ufm_convex as ufm
from tests.scripts import parsed, small
from ufm_convex import theory
from ufm_convex.class_counts import exponential

LONG_TAIL = exponential(100, 500, 100)
FREE = {"features": "free"}
CYCLIC = ((5, 1.454972), (6, 1.559357), (7, 1.631193))


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        model: What the literature calls it.
        problem: The instance.
        reference: Its optimal value from elsewhere; None where nothing is known.
        source: Where the reference comes from.
    """

    model: str
    problem: object
    reference: Callable[[], float] | None = None
    source: str = "none"


def closed_form(model: str, problem: ufm.Problem) -> Case:
    """A case whose reference is a theorem of the package."""
    return Case(model, problem, lambda: theory.optimum(problem).value, "closed form")


def level_decay(counts: np.ndarray, level: float) -> float:
    """λ with λ_W λ_H = level · min n_k (K − 1)/(K N²), the same for both."""
    K, N = len(counts), int(np.sum(counts))
    return float(np.sqrt(level * np.min(counts) * (K - 1) / (K * N**2)))


def published(model: str, problem: ufm.Problem, value: float, source: str) -> Case:
    """A case whose reference is a number from elsewhere."""
    return Case(model, problem, lambda: value, source)


def losses() -> list[Case]:
    """Penalties, no bias: the losses of docs/losses.md."""
    steps = np.array([1000, 100, 30, 10])
    tilted, shift = level_decay(steps, 0.5), np.log(steps / steps.sum())
    mse = ufm.MeanSquaredError()
    return [
        closed_form("imbalanced, ReLU (Dang et al.)", ufm.Problem(LONG_TAIL, 5e-4, 1e-3)),
        closed_form("balanced, free (simplex ETF), K = 100", ufm.Problem([50] * 100, 1e-3, 1e-4, **FREE)),
        closed_form("balanced, free (simplex ETF), K = 1000", ufm.Problem([50] * 1000, 1e-4, 1e-5, **FREE)),
        closed_form(
            "balanced, ReLU, smoothing 0.05", ufm.Problem([100] * 10, 1e-3, 1e-3, loss=ufm.CrossEntropy(smoothing=0.05))
        ),
        Case("imbalanced, free", ufm.Problem(LONG_TAIL, 5e-4, 1e-3, **FREE)),
        closed_form("squared error, ReLU", ufm.Problem([200, 100, 50, 50], 5e-4, 5e-4, loss=mse)),
        closed_form("squared error, ReLU, d = 2", ufm.Problem([200, 100, 50, 50], 5e-4, 5e-4, loss=mse, feature_dim=2)),
        closed_form("squared error, free", ufm.Problem([200, 100, 50, 50], 5e-4, 5e-4, loss=mse, **FREE)),
        *(
            closed_form(f"{kind} hinge, ReLU", ufm.Problem(LONG_TAIL, 5e-4, 1e-3, loss=ufm.MulticlassHinge(kind)))
            for kind in ("crammer-singer", "weston-watkins")
        ),
        closed_form("sigmoids, ReLU, K = 4", ufm.Problem([40, 30, 20, 10], 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy())),
        Case("sigmoids, ReLU, K = 5", ufm.Problem([40, 30, 20, 10, 5], 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy())),
        *(
            Case(
                f"logit adjustment, tau = {tau}",
                ufm.Problem(steps, tilted, tilted, loss=ufm.LogitAdjustedCrossEntropy(tuple(tau * shift))),
            )
            for tau in (0.25, 1.0)
        ),
        Case("multiplicative (CDT)", ufm.Problem(steps, tilted, tilted, loss=scaled_by(steps, 0.3))),
        *(published(f"cyclic confusion, K = {K}", cyclic(K), value, "relaxation, six digits") for K, value in CYCLIC),
    ]


def models() -> list[Case]:
    """Bias, norm bounds, margins, and the contrastive loss."""
    hong_ling = [5000] * 3 + [4000] * 3 + [3000] * 4
    three = np.array([100, 10, 10])
    weak = level_decay(three, 0.05)
    weights = ufm.CrossEntropy(class_weights=(1.0,) * 5 + (0.1,) * 5)
    peeled = ufm.LayerPeeled(weight_radius=1, feature_radius=5)
    return [
        *(
            published(
                f"free, penalised bias, reg_z = {z}",
                ufm.Problem(hong_ling, z, z, bias=0.02, **FREE),
                value,
                "Hong and Ling 2023, their programme",
            )
            for z, value in ((1.7e-3, 2.279875269490317), (1e-3, 1.90187502053284637))
        ),
        Case("ReLU, free bias, n = (100, 10, 10)", ufm.Problem(three, weak, weak, bias="free")),
        closed_form(
            "squared error, free, free bias",
            ufm.Problem([60, 30, 10], 5e-3, 5e-3, loss=ufm.MeanSquaredError(), bias="free", **FREE),
        ),
        published(
            "layer-peeled, free, R = 10",
            ufm.Problem([1] * 10, loss=weights, constraint=peeled, **FREE),
            1.43922371250347565 / 10,
            "Fang et al. 2021, their programme in 40 digits",
        ),
        closed_form("layer-peeled, ReLU", ufm.Problem(LONG_TAIL, constraint=peeled)),
        closed_form(
            "hard margin, free (SELI)", ufm.Problem(LONG_TAIL, 5e-4, 1e-3, constraint=ufm.HardMargin(), **FREE)
        ),
        closed_form("hard margin, ReLU", ufm.Problem(LONG_TAIL, 5e-4, 1e-3, constraint=ufm.HardMargin())),
        closed_form("contrastive, bound", ufm.ContrastiveProblem(LONG_TAIL, bound=1.0, temperature=0.1)),
        closed_form("contrastive, penalty", ufm.ContrastiveProblem(LONG_TAIL, lambda_h=0.05, temperature=0.5)),
    ]


def scaled_by(counts: np.ndarray, power: float) -> ufm.LogitAdjustedCrossEntropy:
    """Multiplicative adjustment by (n / max n)^power."""
    scale = tuple(((counts / counts.max()) ** power).tolist())
    return ufm.LogitAdjustedCrossEntropy((0.0,) * len(counts), scale)


def cyclic(K: int) -> ufm.Problem:
    """Each class puts a quarter of its target on either neighbour of a circle."""
    rows = [[0.5 if i == k else 0.25 if (i - k) % K in (1, K - 1) else 0.0 for i in range(K)] for k in range(K)]
    decay = level_decay(np.full(K, 20), 0.05)
    return ufm.Problem([20] * K, decay, decay, loss=ufm.SoftTargetCrossEntropy(rows))


def main() -> None:
    """The table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=10**6, help="most classes of a problem")
    small(parser, largest=10)
    largest = parsed(parser).largest
    print("| model | value | proved gap | from the reference | reference | seconds | solver, level |")
    print("|---|---|---|---|---|---|---|")
    for case in (case for case in (*losses(), *models()) if len(case.problem.class_counts) <= largest):
        started = time.perf_counter()
        solution = ufm.solve(case.problem)
        seconds = time.perf_counter() - started
        away = "" if case.reference is None else f"{abs(solution.value - case.reference()) / solution.value:.1e}"
        print(
            f"| {case.model} | {solution.value:.12g} | {solution.relative_gap:.1e} ({solution.status}) | {away} "
            f"| {case.source} | {seconds:.2f} | {solution.solver}, {solution.level} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Every model in one table: value, certified gap, distance from the closed form or reference, solver that "auto" took.

Run by hand from the project's root: ``python -m tests.benchmarks.bench_models``; figures of the last run are in
docs/benchmarks.md. A reference is a closed form, or a published or independently computed value restated with its
source. Models without one say "none".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.class_counts import exponential


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


def cases() -> list[Case]:
    """The models, in the order of docs/losses.md and the pages after it."""
    long_tail, steps = exponential(100, 500, 100), np.array([1000, 100, 30, 10])
    confused = [[0.5 if i == k else 0.25 if (i - k) % 5 in (1, 4) else 0.0 for i in range(5)] for k in range(5)]
    cyclic, shift = np.full(5, 20), np.log(steps / steps.sum())
    free = {"features": "free"}
    return [
        closed_form("imbalanced, ReLU (Dang et al.)", ufm.Problem(long_tail, 5e-4, 1e-3)),
        closed_form("balanced, free (simplex ETF), K = 100", ufm.Problem([50] * 100, 1e-3, 1e-4, **free)),
        closed_form(
            "balanced, ReLU, smoothing 0.05", ufm.Problem([100] * 10, 1e-3, 1e-3, loss=ufm.CrossEntropy(smoothing=0.05))
        ),
        Case("imbalanced, free (Hong and Ling)", ufm.Problem(long_tail, 5e-4, 1e-3, **free)),
        closed_form("MSE, ReLU", ufm.Problem([200, 100, 50, 50], 5e-4, 5e-4, loss=ufm.MeanSquaredError())),
        closed_form("MSE, free", ufm.Problem([200, 100, 50, 50], 5e-4, 5e-4, loss=ufm.MeanSquaredError(), **free)),
        *(
            closed_form(f"{kind} hinge, ReLU", ufm.Problem(long_tail, 5e-4, 1e-3, loss=ufm.MulticlassHinge(kind)))
            for kind in ("crammer-singer", "weston-watkins")
        ),
        Case("BCE, ReLU, K = 4", ufm.Problem([40, 30, 20, 10], 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy())),
        Case("BCE, ReLU, K = 5", ufm.Problem([40, 30, 20, 10, 5], 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy())),
        *(
            Case(
                f"logit adjustment, tau = {tau}",
                ufm.Problem(
                    steps,
                    level_decay(steps, 0.5),
                    level_decay(steps, 0.5),
                    loss=ufm.LogitAdjustedCrossEntropy(tuple(tau * shift), (1.0,) * 4),
                ),
            )
            for tau in (0.25, 1.0)
        ),
        Case(
            "cyclic confusion, K = 5",
            ufm.Problem(
                cyclic, level_decay(cyclic, 0.05), level_decay(cyclic, 0.05), loss=ufm.SoftTargetCrossEntropy(confused)
            ),
            lambda: 1.454972,
            "relaxation, six digits",
        ),
        *bias_cases(),
    ]


def bias_cases() -> list[Case]:
    """Logits W h + b, b free or penalised; HONG_LING and the frame's value are explained in tests/test_bias.py."""
    clusters, few = np.repeat([5000, 4000, 3000], [3, 3, 4]), np.array([100, 10, 10])
    decay, free = level_decay(few, 0.05), {"features": "free"}
    squared = {"loss": ufm.MeanSquaredError(), "bias": "free"}
    return [
        *(
            Case(
                f"penalised bias, free, reg_z = {reg_z}",
                ufm.Problem(clusters, reg_z, reg_z, bias=0.02, **free),
                lambda value=value: value,
                "Hong and Ling's programme",
            )
            for reg_z, value in ((0.0017, 2.279875269490317), (0.001, 1.901875020532846))
        ),
        Case("free bias, ReLU, no frame", ufm.Problem(few, decay, decay, bias="free")),
        Case("bias with λ_b = 0.1, ReLU, frame", ufm.Problem(few, decay, decay, bias=0.1)),
        closed_form("free bias, ReLU, balanced", ufm.Problem([50] * 100, 1e-3, 1e-4, bias="free")),
        closed_form("MSE, free bias, free", ufm.Problem([200, 100, 50, 50], 5e-4, 5e-4, **squared, **free)),
        Case("MSE, free bias, ReLU", ufm.Problem([200, 100, 50, 50], 5e-4, 5e-4, **squared)),
        Case("free bias, ReLU, K = 100", ufm.Problem(exponential(100, 500, 100), 5e-4, 1e-3, bias="free")),
        Case("free bias, free, K = 100", ufm.Problem(exponential(100, 500, 100), 5e-4, 1e-3, bias="free", **free)),
    ]


def main() -> None:
    """The table, a row as soon as it is known."""
    print("| model | value | proved gap | from the reference | reference | seconds | solver, level |")
    print("|---|---|---|---|---|---|---|")
    for case in cases():
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

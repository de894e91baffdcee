"""Which classes collapse or merge: thresholds on either side of which a solver that knows none is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

import ufm_convex as ufm
from tests.benchmarks.atlas.rows import FREE, Threshold
from tests.benchmarks.atlas.two_groups import merging_ratio
from ufm_convex import theory
from ufm_convex.contrastive.theory import collapse_threshold
from ufm_convex.theory.free_groups import group_collapse, pressure

DANG = "Dang, Tran, Nguyen, Ho, ICML 2024, Theorem 1"
MERGE = (
    "minority collapse: Fang, He, Long, Su, PNAS 2021, and Hong, Ling 2023; threshold: docs/free_features.md, section 5"
)
PEELED = "Fang, He, Long, Su, PNAS 118, 2021, for R → ∞; docs/layer_peeled.md"
LOSSES = "docs/closed_forms.md, section 3"
ACCURACY = 1e-10
"""Of the solutions, relative: a feature that is zero or shared is seen only as far as the gap can tell."""


def thresholds() -> Iterator[Threshold]:
    """All of them."""
    yield from collapsing()
    yield from merging()
    yield from everything()


def collapsing() -> Iterator[Threshold]:
    """Non-negative features: a class has none up to a count of samples."""
    counts = [50, 20, 10, 3, 1]
    cases = {
        "a class collapses iff n ≤ n_c": (ufm.CrossEntropy(), 1e-2, lambda q, K: q * K / (K - 1), DANG),
        "with smoothing α, iff n ≤ n_c/(1 − α)²": (
            ufm.CrossEntropy(smoothing=0.3), 1e-2, lambda q, K: q * K / (K - 1) / 0.49,
            "docs/theorem_proof.md, section 4",
        ),
        "Crammer–Singer hinge: iff n ≤ N² λ_W λ_H (K − 1)/K": (
            ufm.MulticlassHinge(), 3e-2, lambda q, K: q * (K - 1) / K, LOSSES
        ),
        "Weston–Watkins hinge: iff n ≤ N² λ_W λ_H / (K (K − 1))": (
            ufm.MulticlassHinge("weston-watkins"), 1e-1, lambda q, K: q / (K * (K - 1)), LOSSES
        ),
        "squared error: iff n ≤ N² λ_W λ_H": (
            ufm.MeanSquaredError(), 2e-2, lambda q, K: q, "Dang et al., ICML 2023 (deep linear networks)"
        ),
    }  # fmt: skip
    for words, (loss, decay, size, source) in cases.items():
        yield Threshold(
            words, source, ufm.Problem(counts, decay, 2 * decay, loss=loss),
            lambda problem, size=size: size(squared(problem), problem.num_classes), smallest, collapsed,
            "features are nonnegative; no bias",
        )  # fmt: skip
    sigmoids = ufm.Problem([50, 20, 3], 2.5e-2, 2.5e-2, loss=ufm.BinaryCrossEntropy())
    words = "sigmoids, K ≤ 4: iff n ≤ 4 N² λ_W λ_H/K"
    yield Threshold(
        words, LOSSES, sigmoids, lambda problem: 4 * squared(problem) / problem.num_classes, smallest, collapsed
    )
    yield inverse_frequencies()
    yield Threshold(
        "norm bounds: iff n/N ≤ μ √(K/(K − 1))", "docs/layer_peeled.md",
        ufm.Problem([500, 50, 5, 4], constraint=ufm.LayerPeeled(0.5, 0.5)), peeled_size, smallest,
        lambda problem: ufm.solve(problem, solver="clarabel", tolerance=1e-8).collapsed_classes,
    )  # fmt: skip


def inverse_frequencies() -> Threshold:
    """The large classes go first."""
    counts = np.array([50, 20, 10, 3])
    loss = ufm.CrossEntropy(class_weights=counts.sum() / (counts.size * counts))

    def largest(problem: ufm.Problem, size: float) -> tuple[int, ...]:
        return tuple(np.flatnonzero(problem.class_counts >= size).tolist())

    def size(problem: ufm.Problem) -> float:
        K = problem.num_classes
        return problem.num_samples**2 / K**2 / (squared(problem) * K / (K - 1))

    words = "weights N/(K n): a class collapses iff n ≥ (N/K)²/n_c, the large ones first"
    return Threshold(words, LOSSES, ufm.Problem(counts, 4e-2, 4e-2, loss=loss), size, largest, collapsed)


def merging() -> Iterator[Threshold]:
    """Free features: classes of one count share a feature, or do not."""
    words = "classes of one count merge iff n ≤ N² λ_W λ_H"
    asked = "features are free; feature_dim is at least K − 1"
    for counts, bias in (([90, 80, 3, 3, 3], None), ([90, 80, 5, 5, 5], None), ([90, 80, 3, 3, 3], 0.02)):
        problem = ufm.Problem(counts, 1e-2, 1e-2, bias=bias, **FREE)
        predicted = lambda problem, size: group_collapse(problem).merged_groups  # noqa: E731
        yield Threshold(
            words, MERGE, problem, lambda problem: group_collapse(problem).threshold, predicted, merged, asked
        )
    for size, radii in ((3, (1.0, 5.0)), (2, (0.5, 0.5))):
        for factor in (0.9, 1.1):
            yield peeled_merging(size, radii, factor)


def peeled_merging(size: int, radii: tuple[float, float], factor: float) -> Threshold:
    """Norm bounds: minority classes share one classifier from a finite ratio on, here at ``factor`` times it."""
    sizes = (size, 3)
    budget = sum(sizes) * math.sqrt(radii[0] * radii[1])
    small = 20
    large = round(small * factor * RATIOS[size, radii])
    problem = ufm.Problem([large] * size + [small] * 3, constraint=ufm.LayerPeeled(*radii), **FREE)

    def predicted(problem: ufm.Problem, ratio: float) -> tuple:
        group = tuple(range(size, size + 3))
        return (group,) if large >= small * ratio else ()

    return Threshold(
        "norm bounds: minority classifiers merge iff n_A/n_B ≥ R_0, finite", PEELED, problem,
        lambda problem: merging_ratio(sizes, budget), predicted,
        lambda problem: ufm.solve(problem, solver="clarabel", tolerance=1e-8).merged_groups,
        "two sizes of classes; features are free",
    )  # fmt: skip


RATIOS = {(3, (1.0, 5.0)): 23.98, (2, (0.5, 0.5)): 1.625}
"""R_0 to four digits, so that counts are known before it is computed."""


def everything() -> Iterator[Threshold]:
    """Decays from which on nothing is learnt, on either side."""
    for decay in (0.044, 0.0455):
        problem = ufm.Problem([20] * 5, decay, decay, **FREE)
        yield Threshold(
            "equal counts, free features: all vanish iff N K λ_W λ_H ≥ 1", "Zhu et al., NeurIPS 2021; docs/solvers.md",
            problem, lambda problem: 1 / math.sqrt(problem.num_samples * problem.num_classes),
            lambda problem, size: (problem.lambda_w >= size,), vanished,
        )  # fmt: skip
    for decay in (0.07, 0.09):
        problem = ufm.Problem([50, 20, 10], decay, decay, **FREE)
        yield Threshold(
            "free features: all vanish iff λ_max(P Diag(n) P) ≤ N² λ_W λ_H",
            "docs/free_features.md, section 5", problem,
            lambda problem: math.sqrt(pressure(problem)) * problem.lambda_w,
            lambda problem, size: (problem.lambda_w >= size,), vanished,
        )  # fmt: skip
    for decay in (0.4, 1.0):
        yield Threshold(
            "contrastive loss: a class collapses iff n ≥ N − (N − 1) λ_H T/2", "docs/contrastive.md, section 4",
            ufm.ContrastiveProblem([9, 4, 2], lambda_h=decay), lambda problem: float(collapse_threshold(problem)),
            lambda problem, size: tuple(np.flatnonzero(problem.class_counts >= size).tolist()), collapsed,
        )  # fmt: skip


# -- what is seen ------------------------------------------------------------------------------------------------------


def squared(problem: ufm.Problem) -> float:
    """N² λ_W λ_H."""
    return problem.num_samples**2 * problem.lambda_w * problem.lambda_h


def smallest(problem: ufm.Problem, size: float) -> tuple[int, ...]:
    """The classes of at most so many samples."""
    return tuple(np.flatnonzero(problem.class_counts <= size).tolist())


def collapsed(problem: object) -> tuple[int, ...]:
    """Classes without a feature, in a conic solver's solution."""
    return ufm.solve(problem, solver="clarabel", tolerance=ACCURACY).collapsed_classes


def merged(problem: ufm.Problem) -> tuple[tuple[int, ...], ...]:
    """Groups that share one, likewise."""
    return ufm.solve(problem, solver="clarabel", tolerance=ACCURACY).merged_groups


def vanished(problem: ufm.Problem) -> tuple[bool]:
    """Whether no point of a conic solver's solution is worth more than W = 0 and H = 0: log K."""
    found = ufm.solve(problem, solver="clarabel", tolerance=ACCURACY)
    return (found.upper_bound >= math.log(problem.num_classes) * (1 - 1e-9),)


def peeled_size(problem: ufm.Problem) -> float:
    """N μ √(K/(K − 1))."""
    K = problem.num_classes
    return problem.num_samples * theory.optimum(problem).multiplier * math.sqrt(K / (K - 1))

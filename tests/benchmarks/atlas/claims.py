"""Values that are said to be the minimum beyond what a theorem covers: published, folklore, or true and without a file.

A claim that is refuted is here because it was made, or because it is what one would expect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import minimize_scalar

import ufm_convex as ufm
from tests.benchmarks.atlas.rows import FREE, Entry, at_level, closed, conic, frame_value, relaxed
from tests.benchmarks.atlas.two_groups import TwoGroups
from tests.benchmarks.bench_models import cyclic
from ufm_convex import theory
from ufm_convex.positivity.pigeonhole import pigeonhole_bound

BEYOND, LOSSES, BIAS = "the theorem, beyond its hypotheses", "docs/closed_forms.md, section 4", "docs/bias.md"
POSITIVITY, EMPTY = "docs/complete_positivity.md", "docs/empty_classes.md"
SELI = "Thrampoulidis, Kini, Vakilian, Behnia, NeurIPS 2022, of the limit; here at finite decay"
NONNEGATIVE = "features are nonnegative; feature_dim is at least the number of active classes"
EXACT = "features are nonnegative; feature_dim is not binding; proved for K ≤ 4 and for two outputs"
STEP = ([90, 90, 9, 9, 9], 5e-3), ([500] * 5 + [5] * 5, 1e-3), ([1000] + [10] * 4, 1e-3), ([100] * 3 + [50] * 2, 1e-4)
"""Counts of two sizes, and decays: ratios of 2 to 100; merged and apart; one large class."""

Value = Callable[[object], float]


def claims() -> Iterator[Entry]:
    """All of them."""
    yield from orthogonal()
    yield from step_imbalance()
    yield from empty_classes()
    yield from reductions()
    yield from exactness()


def orthogonal() -> Iterator[Entry]:
    """An orthogonal frame is optimal, said of losses of every kind."""
    sigmoids, squared = ufm.BinaryCrossEntropy(), ufm.MeanSquaredError
    frames = {
        "label smoothing": (three(loss=ufm.CrossEntropy(smoothing=0.1)), "docs/theorem_proof.md, section 4"),
        "weak logit adjustment": (adjusted(0.25), LOSSES),
        "strong logit adjustment": (adjusted(1.0), LOSSES),
        "logit adjustment of two classes": (two(loss=shifted([100, 10], 2.0)), "docs/closed_forms.md, section 3"),
        "multiplicative logit adjustment": (adjusted(0.0, exponent=0.3), "Ye, Chen, Zhan, Chao 2020 (CDT), beyond it"),
        "sigmoids, K = 4": (ufm.Problem([20] * 4, 5e-3, 5e-3, loss=sigmoids), LOSSES),
        "sigmoids, K = 5": (ufm.Problem([20] * 5, 5e-3, 5e-3, loss=sigmoids), LOSSES),
        "squared error of smoothed targets": (three([10, 20, 40], loss=squared(0.9 * np.eye(3) + 0.1 / 3)), LOSSES),
        "squared error of centred targets": (three([10, 20, 40], loss=squared(np.eye(3) - 1 / 3)), LOSSES),
        "soft targets of which two resemble a third": (
            ufm.Problem([20] * 3, 5e-3, 5e-3, loss=ufm.SoftTargetCrossEntropy(ALIKE)),
            BEYOND,
        ),
        "a free bias": (ufm.Problem([400, 30, 10, 10], 5e-3, 5e-3, bias="free"), BEYOND),
        "a free bias of two classes": (two(bias="free"), BIAS),
        "a dear bias": (ufm.Problem([100, 10, 10], 5e-3, 5e-3, bias=0.1), BIAS),
        "sigmoids, with classes without samples beyond four": (three([50, 20, 0, 6, 0, 0], loss=sigmoids), EMPTY),
    }
    for words, (problem, source) in frames.items():
        statement = f"an orthogonal frame is optimal: {words}"
        yield Entry(statement, source, problem, "tight", frame_value, conic, NONNEGATIVE)


def step_imbalance() -> Iterator[Entry]:
    """Cross-entropy, free features, classes of two sizes: what the limit of no decay says, and what is so."""
    source = "Hong, Ling 2023 (two clusters: logits by blocks); four numbers: docs/free_features.md, section 5"
    hypotheses = "free features; no bias; feature_dim is at least K − 1"
    for counts, decay in STEP:
        problem = ufm.Problem(counts, decay, decay, **FREE)
        yield Entry("two sizes of classes: least of four numbers", source, problem, "tight", four, conic, hypotheses)
        yield Entry(
            "two sizes of classes: logits M (I − 11ᵀ/K), best M", SELI, problem, "tight", scaled, conic, hypotheses
        )
    for words, value in (("its value", scaled), ("of four numbers", four)):
        balanced = ufm.Problem([20] * 4, 5e-3, 5e-3, **FREE)
        source = "Zhu et al., NeurIPS 2021"
        statement = f"one size of classes: logits M (I − 11ᵀ/K), {words}"
        yield Entry(statement, source, balanced, "tight", value, conic, hypotheses)


def empty_classes() -> Iterator[Entry]:
    """What a row of W without samples changes."""
    without = lambda problem: theory.optimum(ufm.Problem([50, 20], 5e-3, 5e-3)).value  # noqa: E731
    words = "a class without samples changes nothing"
    yield Entry(words, EMPTY, three([50, 20, 0]), "tight", without, conic, NONNEGATIVE)
    words = "the balanced simplex, with classes without samples"
    problem = ufm.Problem([12, 12, 12, 0, 0], 5e-3, 5e-3, **FREE)
    yield Entry(words, EMPTY, problem, "tight", lambda problem: simplex(5, 36, 5e-3), conic, "features are free")
    one = ufm.SoftTargetCrossEntropy([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]], class_weights=(1.0, 8.0, 1.0))
    merged = lambda problem: conic(ufm.Problem([18, 8], 0.02, 0.02, loss=MERGED))[1]  # noqa: E731
    words = "columns with equal targets merge, whatever their weights"
    yield Entry(words, "docs/targets.md", ufm.Problem([10, 8, 8], 0.02, 0.02, loss=one), "tight", merged, conic,
                "false with unequal weights of a sample")  # fmt: skip


def reductions() -> Iterator[Entry]:
    """Fewer variables, the same minimum; and fewer dimensions."""
    small, source = ufm.Problem([4, 3, 1], 0.02, 0.01), "docs/levels.md, section 7"
    words = "one feature a class: variables of every sample do no better"
    optimum = lambda problem: theory.optimum(problem).value  # noqa: E731
    yield Entry(words, "Dang et al., ICML 2024, (35); " + source, small, "tight", optimum, at_level("sample"),
                "a convex loss")  # fmt: skip
    alike = ufm.Problem([50] * 4 + [9] * 3, 5e-3, 5e-3, loss=ufm.CrossEntropy(smoothing=0.05))
    yield Entry("classes of one count may be taken alike", source, alike, "tight", optimum, at_level("group"),
                "equal weights, too")  # fmt: skip
    narrow = ufm.Problem([180, 60, 20], 7.73e-3, 7.73e-3, feature_dim=2)
    bound = lambda problem: pigeonhole_bound(problem).value  # noqa: E731
    words = "two classes share their largest coordinate (pigeonhole)"
    yield Entry(
        words, "docs/free_features.md, section 6", narrow, "lower", bound, conic, "fewer dimensions than classes"
    )


def exactness() -> Iterator[Entry]:
    """The relaxation is exact, said of K ≤ 4, two outputs, and more."""
    for K in (4, 5, 6, 7, 8):
        words = f"the convex relaxation is exact: confusion in a circle of {K}"
        yield Entry(words, POSITIVITY, cyclic(K), "tight", relaxed, closed, EXACT)
    words = "the convex relaxation is exact: squared error, one table of five columns"
    problem = ufm.Problem([1] * 5, 0.05, 0.05, loss=ufm.MeanSquaredError(pentagon()))
    yield Entry(words, POSITIVITY, problem, "tight", relaxed, closed, EXACT)
    shares = np.linspace(0.05, 0.95, 6)
    loss = ufm.SoftTargetCrossEntropy(np.column_stack([shares, 1 - shares]))
    problem = ufm.Problem([9, 7, 5, 4, 3, 2], 3e-3, 3e-3, loss=loss)
    words = "the convex relaxation is exact: two outputs, six columns"
    yield Entry(words, "docs/targets.md", problem, "tight", relaxed, closed, EXACT)
    sets = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]]
    problem = ufm.Problem([10, 8, 6, 4, 3, 2, 1], 3e-4, 3e-4, loss=ufm.SoftTargetCrossEntropy.pick_all(sets, 3))
    words = "the convex relaxation is exact: all sets of three labels"
    yield Entry(words, "docs/targets.md", problem, "tight", relaxed, closed, EXACT)


# -- instances and values ----------------------------------------------------------------------------------------------

ALIKE = [[0.55, 0.0, 0.45], [0.0, 0.55, 0.45], [0.0, 0.0, 1.0]]
MERGED = ufm.SoftTargetCrossEntropy([[0.6, 0.4], [0.1, 0.9]], class_weights=(74 / 18, 1.0))
"""The first two columns of ``empty_classes`` as one, with the sum of their weights."""


def three(counts: list[int] | None = None, **options: object) -> ufm.Problem:
    """Uneven counts with the decays of most rows."""
    return ufm.Problem(counts or [50, 20, 10], 5e-3, 5e-3 if counts else 1e-2, **options)


def two(**options: object) -> ufm.Problem:
    """Two uneven classes."""
    return ufm.Problem([100, 10], 5e-3, 5e-3, **options)


def shifted(counts: list[int], tau: float) -> ufm.LogitAdjustedCrossEntropy:
    """Logit adjustment by τ times the logarithm of the class frequencies."""
    return ufm.LogitAdjustedCrossEntropy(shift=tau * np.log(np.array(counts) / sum(counts)))


def adjusted(tau: float, exponent: float = 0.0) -> ufm.Problem:
    """Four classes whose logits are moved by τ log frequency and scaled by frequency to a power."""
    counts = np.array([1000, 100, 30, 10])
    decay = float(np.sqrt(0.375 * 10) / counts.sum())
    shift, scale = tau * np.log(counts / counts.sum()) + 0.0, (counts / counts[0]) ** exponent
    return ufm.Problem(counts, decay, decay, loss=ufm.LogitAdjustedCrossEntropy(shift=shift, scale=scale))


def pentagon() -> np.ndarray:
    """Targets, a row a column, for which B is a circulant matrix outside of the completely positive ones."""
    distance = np.subtract.outer(np.arange(5), np.arange(5)) % 5
    B = 1 - np.cos(2 * np.pi * distance / 5) / math.cos(4 * np.pi / 5)
    G = 0.05**2 * (np.eye(5) - 0.3 * np.cos(4 * np.pi * distance / 5) - 0.3 * np.isin(distance, (2, 3)))
    values, vectors = np.linalg.eigh(G)
    U = vectors * np.sqrt(values) @ vectors.T
    return np.asarray(-2 * U @ B / 0.05 - 5 * U).T


def simplex(K: int, N: int, decay: float) -> float:
    """The value of the balanced simplex with K outputs, as if all of them had samples."""
    r = min(1.0, math.sqrt(N * K) * decay)
    t, margin = (K - 1) / K * r, math.log1p(K * (1 / r - 1))
    return -math.log1p(-t) + t * margin


def four(problem: ufm.Problem) -> float:
    """The least of four numbers; equal counts are two groups all the same."""
    first, last = int(problem.class_counts[0]), int(problem.class_counts[-1])
    size = int((problem.class_counts == first).sum()) if first != last else problem.num_classes // 2
    groups = TwoGroups((size, problem.num_classes - size), (first, last))
    return groups.penalised(math.sqrt(problem.lambda_w * problem.lambda_h))


def scaled(problem: ufm.Problem) -> float:
    """The least objective of logits M (I − 11ᵀ/K), an optimum of the limit for every n (SELI)."""
    K, n = problem.num_classes, problem.class_counts
    norm = np.linalg.norm((np.eye(K) - 1.0 / K) * np.sqrt(n), "nuc")
    price = math.sqrt(problem.lambda_w * problem.lambda_h) * norm
    objective = lambda margin: math.log1p((K - 1) * math.exp(-margin)) + price * margin  # noqa: E731
    return float(minimize_scalar(objective, bounds=(0.0, 50.0), method="bounded", options={"xatol": 1e-9}).fun)

"""What the geometry is said to tend to as the decays vanish: followed, decay by decay, without a proof."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np

import ufm_convex as ufm
from tests.benchmarks.atlas.rows import FREE, Limit
from tests.benchmarks.bench_next_token import CORPUS, hard_margins
from ufm_convex import theory

DECAYS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
COUNTS = np.array([40, 40, 40, 4, 4, 4])
STEP = "free features; n = 40, 40, 40, 4, 4, 4"
TOKENS = "free features; the 25 tokens of docs/next_token.md, contexts of two"
SELI = "Thrampoulidis, Kini, Vakilian, Behnia, NeurIPS 2022"
NEXT = "Thrampoulidis, NeurIPS 2024 (fixed embeddings); Zhao, Behnia, Vakilian, Thrampoulidis 2024 (free ones)"


def limits() -> Iterator[Limit]:
    """All of them."""
    yield from step_imbalance()
    yield from next_tokens()
    words = "margins of all classes become equal, whatever their counts: M_min/M_max"
    yield Limit(words, "docs/theorem_proof.md, section 4", "non-negative features; n = 500, 50, 5",
                (1e-3, 1e-6, 1e-12, 1e-24), margins, lambda: 1.0, 0.05)  # fmt: skip


def step_imbalance() -> Iterator[Limit]:
    """SELI: the margins of a support vector machine, the same for all classes."""
    n = np.sqrt(COUNTS)
    interpolation = (np.eye(COUNTS.size) - 1.0 / COUNTS.size) * n

    def cosines(decays: tuple[float, ...]) -> list[float]:
        return [cosine(step(decay).logits * n, interpolation) for decay in decays]

    def price(decays: tuple[float, ...]) -> list[float]:
        return prices(map(step, decays), decays)

    def least() -> float:
        return float(np.linalg.norm(interpolation, "nuc"))

    yield Limit("cosine of the logits and I − 11ᵀ/K, in the norm of the penalty", SELI, STEP, DECAYS, cosines,
                lambda: 1.0, 0.01)  # fmt: skip
    words = "minimum over q log(1/q), q = √(λ_W λ_H): the least ‖L Diag(√n)‖_* with margins 1"
    yield Limit(words, SELI + "; docs/hard_margin.md", STEP, DECAYS, price, least, 0.05 * least())
    for name, pair in (("minority", (3, 4)), ("majority", (0, 1)), ("a majority and a minority", (0, 3))):
        words = f"cosine of two classifiers, {name}: that of (P Diag(n) P)^(1/2)"
        angle = lambda decays, pair=pair: [between(step(decay).weight_gram, *pair) for decay in decays]  # noqa: E731
        exact = lambda pair=pair: between(closed_gram(), *pair)  # noqa: E731
        yield Limit(words, SELI + ", its closed form for step imbalance", STEP, DECAYS[1:], angle, exact, 0.03)


def next_tokens() -> Iterator[Limit]:
    """Log-odds on supports, and beyond them the direction of a support vector machine on supports."""
    found = ufm.next_tokens(CORPUS, 2)
    targets, n = found.targets.toarray(), np.sqrt(found.counts)

    def odds(decays: tuple[float, ...]) -> list[float]:
        return [off_odds(tokens(decay).logits, targets) for decay in decays]

    def cosines(decays: tuple[float, ...]) -> list[float]:
        limit = hard_margins(targets, found.counts)
        return [cosine(tokens(decay).logits * n, limit) for decay in decays]

    def price(decays: tuple[float, ...]) -> list[float]:
        return prices(map(tokens, decays), decays)

    def least() -> float:
        return float(np.linalg.norm(hard_margins(targets, found.counts), "nuc"))

    words = "logit differences on supports, less log-odds: the largest"
    yield Limit(words, NEXT, TOKENS, DECAYS, odds, lambda: 0.0, 1e-3)
    words = "cosine of the logits and the least norm with margins 1 between supports and the rest"
    yield Limit(words, NEXT, TOKENS, DECAYS, cosines, lambda: 1.0, 0.01)
    words = "excess over the floor, over q log(1/q): that least norm"
    yield Limit(words, NEXT + "; docs/next_token_limit.md, section 3", TOKENS, DECAYS, price, least, 0.5)


# -- what is followed --------------------------------------------------------------------------------------------------


@cache
def step(decay: float) -> ufm.Solution:
    """Two sizes of classes."""
    return ufm.solve(ufm.Problem(COUNTS, decay, decay, **FREE), solver="factored", tolerance=1e-4)


@cache
def tokens(decay: float) -> ufm.Solution:
    """The corpus."""
    found = ufm.next_tokens(CORPUS, 2)
    loss = ufm.SoftTargetCrossEntropy(found.targets)
    return ufm.solve(ufm.Problem(found.counts, decay, decay, loss=loss, **FREE), solver="factored", tolerance=1e-4)


def margins(decays: tuple[float, ...]) -> list[float]:
    """Smallest over largest margin."""
    found = [theory.optimum(ufm.Problem([500, 50, 5], decay, decay)).margins for decay in decays]
    return [float(margins.min() / margins.max()) for margins in found]


def closed_gram() -> np.ndarray:
    """(P Diag(n) P)^(1/2), by the closed form for two sizes: √R, 1 and √((R + 1)/2) on three eigenspaces."""
    K, R = COUNTS.size, COUNTS[0] / COUNTS[-1]
    half = K // 2
    across = np.repeat([1.0, -1.0], half) / math.sqrt(K)
    within = np.eye(half) - 1.0 / half
    found = np.zeros((K, K))
    found[:half, :half], found[half:, half:] = math.sqrt(R) * within, within
    return found + math.sqrt((R + 1) / 2) * np.outer(across, across)


def between(gram: np.ndarray, k: int, l: int) -> float:  # noqa: E741
    """The cosine of two vectors, from their Gram matrix."""
    return float(gram[k, l] / math.sqrt(gram[k, k] * gram[l, l]))


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """The cosine of two matrices."""
    return float(np.vdot(first, second) / (np.linalg.norm(first) * np.linalg.norm(second)))


def prices(solutions: Iterable[ufm.Solution], decays: Sequence[float]) -> list[float]:
    """The excess over q log 1/q, with q the decay of W and of H."""
    return [solution.excess / (q * math.log(1 / q)) for solution, q in zip(solutions, decays, strict=True)]


def off_odds(logits: np.ndarray, targets: np.ndarray) -> float:
    """The largest |z_v − z_w − log(y_v/y_w)| of two tokens of one support."""
    worst = 0.0
    for row, z in zip(targets, logits.T, strict=True):
        support = row > 0.0
        worst = max(worst, float(np.ptp(z[support] - np.log(row[support]))))
    return worst

"""Identities, inequalities and counterexamples that are about points, not about a minimum; evaluated in binary64.

Random points are those of ``default_rng(0)``. A counterexample is a statement that one would expect, and its
refutation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

import ufm_convex as ufm
from tests.benchmarks.atlas.rows import Fact
from ufm_convex import theory

COUNTS = np.array([7, 5, 3])
LAMBDA_W, LAMBDA_H = 0.03, 0.02
PROBLEM = ufm.Problem(COUNTS, LAMBDA_W, LAMBDA_H)
RANDOM = "n = 7, 5, 3; λ_W = 0.03, λ_H = 0.02; random W, H ≥ 0"
NORMALISED = "docs/training_bound.md"


def facts() -> Iterator[Fact]:
    """All of them."""
    yield from identities()
    yield from geometry()
    yield from matrices()
    yield from training()


def identities() -> Iterator[Fact]:
    """Equations of the theory at random points."""
    yield Fact("the master identity: f(W, H) is the dual value and terms ≥ 0", "docs/theorem_proof.md, section 4",
               RANDOM + ", random shares p", "equal", master)  # fmt: skip
    yield Fact("the parts of a gap add up to it", "docs/attribution.md", RANDOM, "equal", attributed)
    yield Fact("Σ ‖h_i − h̄‖² ≤ 2 gap/λ_H", "docs/attribution.md", RANDOM, "at most", stable)
    yield Fact("effective decays at an optimum are its decays: λ_H", "docs/decays.md", "n = 7, 5, 3, the optimum",
               "equal", effective)  # fmt: skip
    yield Fact("pick all: the losses of a set's labels add up to one soft target", "docs/targets.md",
               "random logits, the labels 0 and 2 of four", "equal", picked)  # fmt: skip


def geometry() -> Iterator[Fact]:
    """What the optimum looks like, and what one might take it for."""
    yield Fact("a larger class has a longer feature", "docs/theorem_proof.md, section 3",
               "K = 10, n = 3 n_c beside 30 n_c", "at most", lengths)  # fmt: skip
    yield Fact("class weights n^(−1/2) give all margins one size", "docs/closed_forms.md, section 3", "n = 50, 20, 10",
               "equal", equal_margins)  # fmt: skip
    yield Fact("one scalar √n t suits all classes, collapsed ones too (step 3 of the published proof)",
               "Dang et al., ICML 2024, (39); docs/proof_steps.md", "n = 50, 20, 1: the mass t of class 2, and 1",
               "at most", common_scalar)  # fmt: skip
    yield Fact("classes of one sample may overlap without a cost (contrastive loss)", "docs/contrastive.md",
               "n = 2, 1, 1; ‖h‖ = 1", "equal", singletons)  # fmt: skip
    yield Fact("two non-negative vectors with one largest coordinate: the least cosine",
               "docs/free_features.md, section 6",
               "d = 2, 3, 4, 5: 1/√(⌊(d+1)/2⌋⌈(d+1)/2⌉), 0/1 vectors", "equal", pigeonhole)  # fmt: skip


def matrices() -> Iterator[Fact]:
    """Cones and losses."""
    yield Fact("a doubly non-negative matrix is completely positive, K = 5", "Horn's form; docs/complete_positivity.md",
               "B_ij = 1 − cos(2π(i−j)/5)/cos(4π/5)", "at most", horn, "true for K ≤ 4")  # fmt: skip
    yield Fact("the focal loss is convex in the logits", "the loss: Lin, Goyal, Girshick, He, Dollár, ICCV 2017",
               "two classes, γ = 1: 0 and the least second derivative", "at most", focal)  # fmt: skip
    yield Fact("decoupled decay (AdamW) ends where the penalty has its minimum", "docs/decays.md",
               "½ (w − 1)², decay 0.3, sign descent", "equal", decoupled)  # fmt: skip
    yield Fact("the excess without a bias is ≥ 0 with one, too", "docs/decays.md", "n = 9, 6, 4, 3; W = 0, b = log π",
               "at most", negative_excess)  # fmt: skip


def training() -> Iterator[Fact]:
    """Normalisation bounds features: ‖H‖² over N (‖γ‖² + ‖β‖²)."""
    relu, two = "batch norm, then ReLU", "two normalised branches, v_1 + ReLU(v_2), then ReLU"
    yield Fact(f"{relu}: ‖H‖² ≤ N (‖γ‖² + ‖β‖²)", NORMALISED, "N = 64, d = 5, random", "at most", batch_norm)
    yield Fact(f"{relu}: the bound is reached", NORMALISED, "γ = 0, β > 0", "equal", reached)
    yield Fact(f"{two}: the bound of one branch", NORMALISED, "γ = 0, β = 1 in both", "at most", lambda: branches(1))
    yield Fact(f"{two}: ‖H‖² ≤ 2 N (‖γ‖² + ‖β‖²)", NORMALISED, "γ = 0, β = 1 in both", "at most", lambda: branches(2))
    yield Fact(f"{relu}: with running statistics as well", NORMALISED, "statistics of a tenth of the batch's spread",
               "at most", running)  # fmt: skip
    yield Fact("layer norm: ‖h‖² ≤ d (‖γ‖² + ‖β‖²) for every sample", NORMALISED, "d = 5; û of one coordinate",
               "at most", layer_norm)  # fmt: skip


def steps() -> Iterator[Fact]:
    """Every step of the published proof at the optimum, where all of them are equations."""
    problem = ufm.Problem([8, 6, 4, 3], lambda_w=0.02, lambda_h=0.01)
    W, H = theory.optimum(problem).factors()
    found = ufm.proof_steps(problem, ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts))
    for step in found:
        sides = lambda step=step: (step.left, step.right)  # noqa: E731
        named = "; ".join(hypothesis.name for hypothesis in step.hypotheses)
        words = f"({step.number}) {step.name}: {step.statement}".replace("|", "∣")
        yield Fact(words, "Dang et al., ICML 2024, appendix", "n = 8, 6, 4, 3; the optimum", "equal", sides, named)


# -- points ------------------------------------------------------------------------------------------------------------


def sampled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (3, 4), features H (15, 4) ≥ 0, labels (15,)."""
    generator = np.random.default_rng(0)
    W, H = generator.standard_normal((3, 4)), generator.exponential(size=(COUNTS.sum(), 4))
    return W, H, np.repeat([0, 1, 2], COUNTS)


def random_candidate() -> ufm.Candidate:
    """The same as a candidate."""
    W, H, labels = sampled()
    return ufm.Candidate(weights=W, features=H, labels=labels)


def master() -> tuple[float, float]:
    """Both sides of docs/theorem.md's identity, written out sample by sample."""
    W, H, labels = sampled()
    p = np.random.default_rng(1).dirichlet(np.ones(3), size=3)  # p[k]: shares of class k
    pi, N = COUNTS / COUNTS.sum(), COUNTS.sum()
    z = H @ W.T
    log_sum = np.log(np.exp(z).sum(axis=1))
    loss = float((log_sum - z[np.arange(N), labels]).mean())
    left = loss + 0.5 * LAMBDA_W * (W**2).sum() + 0.5 * LAMBDA_H * (H**2).sum()
    means = np.stack([H[labels == k].mean(axis=0) for k in range(3)])
    U = (pi * (p - np.eye(3)).T).T.T  # column k: pi_k (p_k − e_k)
    G, D = U.T @ U, LAMBDA_W * LAMBDA_H * np.diag(COUNTS)
    entropy = -float(pi @ (p * np.log(p)).sum(axis=1))
    divergence = float((p[labels] * (np.log(p[labels]) - z + log_sum[:, None])).sum() / N)
    alignment = 0.5 * LAMBDA_W * ((W + U @ means / LAMBDA_W) ** 2).sum()
    variability = 0.5 * LAMBDA_H * ((H - means[labels]) ** 2).sum()
    shape = ((D - G) * (means @ means.T)).sum() / (2 * LAMBDA_W)
    return left, entropy + divergence + alignment + variability + shape


def attributed() -> tuple[float, float]:
    """Parts, and the objective less the closed form."""
    W, H, labels = sampled()
    parts = ufm.attribute_gap(PROBLEM, random_candidate())
    z = H @ W.T
    loss = float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean())
    value = loss + 0.5 * LAMBDA_W * (W**2).sum() + 0.5 * LAMBDA_H * (H**2).sum()
    return math.fsum(parts.totals.values()), value - theory.optimum(PROBLEM).value


def stable() -> tuple[float, float]:
    """Variability, and twice the gap over the decay."""
    _, H, labels = sampled()
    means = np.stack([H[labels == k].mean(axis=0) for k in range(3)])
    return float(((H - means[labels]) ** 2).sum()), 2 * attributed()[1] / LAMBDA_H


def effective() -> tuple[float, float]:
    """λ_H as read off the optimum, and λ_H."""
    W, H = theory.optimum(PROBLEM).factors()
    candidate = ufm.Candidate(weights=W, features=H[np.repeat([0, 1, 2], COUNTS)], labels=np.repeat([0, 1, 2], COUNTS))
    return ufm.effective_decays(candidate).lambda_h, LAMBDA_H


def picked() -> tuple[float, float]:
    """Two cross-entropies, and twice one against (½, 0, ½, 0)."""
    z = np.random.default_rng(0).standard_normal(4)
    log_sum = math.log(np.exp(z).sum())
    loss = ufm.SoftTargetCrossEntropy.pick_all([[0, 2], [1]], 4)
    problem = ufm.Problem([1, 1], 0.1, 0.1, loss=loss)
    layout = loss.layout(4, np.arange(2))
    soft = loss.values(np.column_stack([z, z]), layout)[0] * problem.loss_weights[0] * problem.num_samples
    return 2 * log_sum - z[0] - z[2], float(soft)


def lengths() -> tuple[float, float]:
    """‖h‖ of a class of 3 n_c samples, and of one of 30 n_c."""
    counts = np.array([3000, 300] + [300] * 8)
    decay = math.sqrt(100 * 9 / 10) / counts.sum()  # n_c = 100
    found = theory.optimum(ufm.Problem(counts, decay, decay)).feature_norms
    return float(found[1]), float(found[0])


def equal_margins() -> tuple[float, float]:
    """The largest and the least margin."""
    counts = np.array([50, 20, 10])
    loss = ufm.CrossEntropy(class_weights=1 / np.sqrt(counts))
    margins = theory.optimum(ufm.Problem(counts, 1e-3, 1e-3, loss=loss)).margins
    return float(margins.max()), float(margins.min())


def common_scalar() -> tuple[float, float]:
    """The mass N √(λ_W λ_H (K−1)/(K n)) that the scalar asks of the smallest class."""
    return 71 * math.sqrt(0.03 * 0.02 * 2 / 3), 1.0


def singletons() -> tuple[float, float]:
    """The contrastive loss at two Gram matrices: two classes of one sample apart, and in one direction."""
    values = []
    for overlap in (0.0, 1.0):
        G = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, overlap], [0, 0, overlap, 1]])
        values.append(sum(math.log(sum(math.exp(G[i, j]) for j in range(4) if j != i)) - G[i, 1 - i] for i in (0, 1)))
    return values[0], values[1]


def pigeonhole() -> tuple[float, float]:
    """The least cosine over all pairs of 0/1 vectors with a common entry, and the formula; the worst of four d."""
    worst = 0.0
    for d in (2, 3, 4, 5):
        vectors = [np.array([1, *map(int, f"{i:0{d - 1}b}")]) for i in range(2 ** (d - 1))]
        least = min(x @ y / math.sqrt(x.sum() * y.sum()) for x in vectors for y in vectors)
        worst = max(worst, abs(least * math.sqrt((d + 1) // 2 * -(-(d + 1) // 2)) - 1.0))
    return 1.0 + worst, 1.0


def horn() -> tuple[float, float]:
    """0, and ⟨Horn's matrix, B⟩, which is ≥ 0 for every completely positive B."""
    distance = np.subtract.outer(np.arange(5), np.arange(5)) % 5
    B = 1 - np.cos(2 * np.pi * distance / 5) / math.cos(4 * np.pi / 5)
    if np.linalg.eigvalsh(B)[0] < -1e-12 or B.min() < -1e-12:
        raise ArithmeticError("the matrix is not doubly non-negative")
    return 0.0, float((np.where(np.isin(distance, (1, 4)), -1, 1) * B).sum())


def focal() -> tuple[float, float]:
    """0, and the least second derivative of −(1 − p) log p, p the sigmoid of a margin, by formula."""
    x = np.linspace(-10, 10, 100_001)
    p = 1 / (1 + np.exp(-x))
    # with s = p (1 − p): p' = s, s' = s (1 − 2p); f' = s log p − (1 − p)²
    second = p * (1 - p) * ((1 - 2 * p) * np.log(p) + 3 * (1 - p))
    return 0.0, float(second.min())


def decoupled() -> tuple[float, float]:
    """Where w ← w − lr (sign-scaled gradient + decay w) stops, and the minimum of ½ (w − 1)² + 0.15 w²."""
    w, mean, square = 0.0, 0.0, 0.0
    for t in range(1, 40_001):  # Adam, decay outside of it
        gradient = w - 1.0
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        ratio = mean / (1 - 0.9**t) / (math.sqrt(square / (1 - 0.999**t)) + 1e-8)
        w -= 1e-3 * (ratio + 0.3 * w)
    return w, 1 / 1.3


def negative_excess() -> tuple[float, float]:
    """0, and the cross-entropy of b = log π less the least one with W = 0 or H = 0 and no bias."""
    pi = np.array([9, 6, 4, 3]) / 22
    return 0.0, -float(pi @ np.log(pi)) - math.log(4)


# -- normalisation -----------------------------------------------------------------------------------------------------


def batch_norm() -> tuple[float, float]:
    """Random channels, scales and shifts."""
    generator = np.random.default_rng(0)
    u = generator.exponential(size=(64, 5))
    normal = (u - u.mean(axis=0)) / u.std(axis=0)
    gamma, beta = generator.standard_normal((2, 5))
    H = np.maximum(gamma * normal + beta, 0.0)
    return float((H**2).sum()), 64 * float(gamma @ gamma + beta @ beta)


def reached() -> tuple[float, float]:
    """Channels that are their shifts."""
    beta = np.array([1.0, 2.0, 0.5])
    H = np.maximum(np.tile(beta, (64, 1)), 0.0)
    return float((H**2).sum()), 64 * float(beta @ beta)


def branches(m: int) -> tuple[float, float]:
    """Two branches of one channel, each its shift 1."""
    H = np.maximum(np.ones(64) + np.maximum(np.ones(64), 0.0), 0.0)
    return float(H @ H), m * 64 * 2.0


def running() -> tuple[float, float]:
    """What is normalised by a tenth of its spread."""
    generator = np.random.default_rng(0)
    u = generator.standard_normal(64)
    H = np.maximum(u / 0.1, 0.0)
    return float(H @ H), 64 * 1.0


def layer_norm() -> tuple[float, float]:
    """One coordinate takes it all: û = (√(d−1), −1/√(d−1), …), with γ and β along it."""
    d = 5
    u = np.full(d, -1 / math.sqrt(d - 1))
    u[0] = math.sqrt(d - 1)
    gamma, beta = math.sqrt(d - 1) * np.eye(d)[0], np.eye(d)[0]
    h = gamma * u + beta
    return float(h @ h), d * float(gamma @ gamma + beta @ beta)

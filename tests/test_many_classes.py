"""Many classes: what is read off K classes without an array of all pairs is what the full arrays say, in little memory.

The full forms stand here: each is the definition, K × K, and imports nothing of what it is a witness for.
"""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.special import logsumexp

import ufm_convex as ufm
from ufm_convex import _pairs
from ufm_convex._pairs import largest_product, pair_products, products_by_row, row_blocks
from ufm_convex.errors import SizeError
from ufm_convex.losses import CrossEntropy, FromOwn
from ufm_convex.measures import frames, grams, within

RNG_SEEDS = range(4)


def rows(seed, K, d):
    """K non-negative rows of very different lengths, some zero."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(K, d)), 0.0) * 10.0 ** rng.uniform(-6, 2, (K, 1)) * (rng.random((K, 1)) > 0.1)


# -- pairs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", RNG_SEEDS)
@pytest.mark.parametrize("K", [1, 2, 3, 255, 256, 257, 700])  # on either side of a tile
def test_pairs_are_those_of_the_full_product(seed, K):
    X = rows(seed, K, 5)
    full = np.triu(X @ X.T, 1)
    each = np.concatenate([np.ravel(part) for part in pair_products(X)])
    assert each.size == K * (K - 1) // 2
    np.testing.assert_allclose(np.sort(each), np.sort(full[np.triu_indices(K, 1)]), rtol=1e-14, atol=0.0)
    # sums of terms ≥ 0: K + d roundings, relative to each number itself, however small it is beside the largest
    np.testing.assert_allclose(products_by_row(X), 0.5 * (full + full.T).sum(axis=1), rtol=(K + 5) * 2.0**-52, atol=0.0)
    assert largest_product(X) == pytest.approx(full.max(), rel=1e-14)


def test_a_row_is_never_taken_off_a_sum():
    """One product of 1e-20 beside squares of 1: S·x − x·x would say 0."""
    X = np.array([[1.0, 0.0], [1e-20, 1.0], [0.0, 1.0]])
    total = X.sum(axis=0)
    assert (X[0] @ total - X[0] @ X[0]) == 0.0
    assert products_by_row(X)[0] == 0.5e-20


def test_the_search_for_the_largest_product_may_stop_early_and_is_right():
    """The longest rows are orthogonal, and the largest product is of two short ones, in another block."""
    X = np.zeros((3000, 3002))
    X[np.arange(3000), np.arange(3000)] = np.linspace(1.0, 0.5, 3000)
    X[2998:, 3000] = 0.3
    assert largest_product(X) == pytest.approx(0.09, rel=1e-15)
    assert largest_product(X[:1]) == largest_product(np.zeros((4, 2))) == 0.0


def test_blocks_cover_the_rows_once():
    for number, width in ((1, 1), (7, 1 << 30), (1000, 3000), (5, 1)):
        covered = [k for block in row_blocks(number, width) for k in range(number)[block]]
        assert covered == list(range(number))


# -- columns seen from their own outputs ---------------------------------------------------------------------------


def divergence(p, z):
    """KL(p ‖ softmax z) from the definition, in extended precision."""
    p, z = np.asarray(p, dtype=np.longdouble), np.asarray(z, dtype=np.longdouble)
    log_q = z - logsumexp(z)
    kept = p > 0
    return float((p[kept] * (np.log(p[kept]) - log_q[kept])).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 0.2, 3.0, 40.0, 2000.0])
def test_three_numbers_say_what_the_column_says(scale, smoothing):
    rng, K, loss = np.random.default_rng(0), 9, CrossEntropy(smoothing=smoothing)
    z, y = scale * rng.normal(size=(30, K)), rng.integers(0, K, 30)
    seen = FromOwn.of(z.copy(), y)
    target = (1 - smoothing) * np.eye(K)[y] + smoothing / K
    expected = [float(logsumexp(row.astype(np.longdouble)) - t @ row) for row, t in zip(z, target, strict=True)]
    np.testing.assert_allclose(seen.values(loss), expected, rtol=1e-13, atol=1e-15 * scale)
    q = rng.uniform(0.0, 1.0 - smoothing, 30)
    p = target - q[:, None] * (np.eye(K)[y] - 1.0 / K)
    exact = [divergence(one, row) for one, row in zip(p, z, strict=True)]
    np.testing.assert_allclose(seen.divergences(loss, q), exact, rtol=1e-12, atol=1e-18 + 1e-16 * scale)
    others = [np.delete(row, k) - np.delete(row, k).mean() for row, k in zip(z, y, strict=True)]
    np.testing.assert_allclose(seen.highest, [o.max() for o in others], rtol=0.0, atol=1e-15 * K * scale)
    np.testing.assert_allclose(seen.lowest, [o.min() for o in others], rtol=0.0, atol=1e-15 * K * scale)


def test_nearly_equal_others_keep_the_digits_of_their_excess():
    """log(1+s) = ½ u² + … of u = ±1e-8, which log-sum-exp in binary64 cannot see."""
    seen = FromOwn.of(np.array([[3.0, 1e-8, -1e-8, 1e-8, -1e-8]]), np.array([0]))
    assert seen.excess[0] == pytest.approx(0.5e-16, rel=1e-6)  # z̄ is 0 up to 1e-24


# -- the attribution, the steps and the measures beside their full forms --------------------------------------------


def case(seed, K=30, d=6):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, K)
    y = np.repeat(np.arange(K), counts)
    W, F = rng.normal(size=(K, d)), np.maximum(rng.normal(size=(y.size, d)), 0.0)
    candidate = ufm.Candidate(weights=W, features=F, labels=y)
    means = np.array([F[y == k].mean(axis=0) for k in range(K)])
    return candidate.problem(2e-3, 3e-3), candidate, W, F, y, means


def full_divergences(P, Z):
    """KL(p_c ‖ softmax z_c) of rows."""
    return np.array([divergence(p, z) for p, z in zip(P, Z, strict=True)])


def softmax(Z):
    return np.exp(Z - logsumexp(Z, axis=1)[:, None])


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_the_parts_of_a_gap_are_those_of_full_arrays(seed):
    problem, candidate, W, F, y, means = case(seed)
    found, exact, K = ufm.attribute_gap(problem, candidate), ufm.theory.optimum(problem), problem.num_classes
    t = exact.wrong_mass
    P = np.where(np.eye(K, dtype=bool), (1 - t)[:, None], t[:, None] / (K - 1))
    calibration = problem.class_counts / problem.num_samples * full_divergences(P, means @ W.T)
    np.testing.assert_allclose(found.calibration, calibration, rtol=1e-11)
    spread = np.bincount(y, full_divergences(softmax((means @ W.T)[y]), F @ W.T)) / problem.num_samples
    np.testing.assert_allclose(found.logit_spread, spread, rtol=1e-10, atol=1e-17)
    g = np.minimum(1.0, np.sqrt(problem.class_counts / exact.collapse_threshold))
    scaled = means * (g * np.sqrt(problem.class_counts))[:, None]
    pairs = np.triu(scaled @ scaled.T, 1) * problem.lambda_h / (K - 1)
    np.testing.assert_allclose(found.non_orthogonality, pairs, rtol=1e-12, atol=0.0)
    assert found.totals["non_orthogonality"] == pytest.approx(pairs.sum(), rel=1e-13)
    np.testing.assert_allclose(found.overlap, 0.5 * (pairs + pairs.T).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_the_steps_of_the_proof_are_those_of_full_arrays(seed):
    problem, candidate, W, F, y, means = case(seed)
    steps = {step.number: step for step in ufm.proof_steps(problem, candidate)}
    K, n, N = problem.num_classes, problem.class_counts, problem.num_samples
    x = np.array([np.delete(z - z[k], k).mean() for k, z in enumerate(means @ W.T)])
    x_i = np.array([np.delete(z - z[k], k).mean() for k, z in zip(y, F @ W.T, strict=True)])
    symmetric = np.where(np.eye(K, dtype=bool)[y], 0.0, x_i[:, None])
    wrong = np.bincount(y, full_divergences(softmax(symmetric), F @ W.T)) / N
    np.testing.assert_allclose(steps["34"].parts, wrong, rtol=1e-10)
    assert steps["34"].left == pytest.approx((logsumexp(F @ W.T, axis=1) - (F @ W.T)[np.arange(N), y]).sum() / N)
    at_means = np.where(np.eye(K, dtype=bool), 0.0, x[:, None])
    margins = np.bincount(y, full_divergences(softmax(at_means)[y], symmetric)) / N
    np.testing.assert_allclose(steps["35a"].parts, margins, rtol=1e-9, atol=1e-17)
    t = ufm.theory.optimum(problem).wrong_mass
    P = np.where(np.eye(K, dtype=bool), (1 - t)[:, None], t[:, None] / (K - 1))
    np.testing.assert_allclose(steps["36"].parts, full_divergences(P, at_means), rtol=1e-10, atol=1e-17)
    products = np.triu(means @ means.T, 1)
    assert steps["58"].slack == pytest.approx(products.sum(), rel=1e-13)
    assert steps["58"].residuals["largest h_k·h_l"] == pytest.approx(products.max(), rel=1e-14)
    pulled = means * np.sqrt(n)[:, None]
    if steps["43"].terms is not None:
        assert steps["43"].slack == pytest.approx(2 * np.triu(pulled @ pulled.T, 1).sum(), rel=1e-13)


def full_structure(G):
    K = len(G)
    return np.linalg.norm(G / np.linalg.norm(G) - (np.eye(K) - 1 / K) / math.sqrt(K - 1))


@pytest.mark.parametrize(("K", "d"), [(2, 1), (3, 5), (30, 6), (300, 40), (40, 90)])
@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_the_measures_are_those_of_full_arrays(seed, K, d):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(2, K, d))
    assert frames.structure_error(X, Y) == pytest.approx(full_structure(X @ Y.T), rel=1e-12)
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(K, 1)]
    found = frames.simplex_measures(X)
    assert found.equiangularity == pytest.approx(cosines.std(), rel=1e-12, abs=1e-15)
    assert found.simplex_angle == pytest.approx(np.abs(cosines + 1 / (K - 1)).mean(), rel=1e-12, abs=1e-15)
    mean, largest = frames.orthogonality(X)
    assert (mean, largest) == pytest.approx((np.abs(cosines).mean(), np.abs(cosines).max()), rel=1e-12)
    variances = rng.random(K)
    k, l = np.triu_indices(K, 1)  # noqa: E741 - the papers' letters
    quotients = 0.5 * (variances[k] + variances[l]) / ((X[k] - X[l]) ** 2).sum(axis=1)
    assert within.cdnv(variances, X / np.linalg.norm(X, axis=1).max()) == (
        pytest.approx((quotients * np.linalg.norm(X, axis=1).max() ** 2).mean(), rel=1e-11),
        0,
    )


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("entries", [1 << 18, 24], ids=["one block", "blocks of two or three rows"])
def test_rows_of_the_optimal_gram_matrices_are_those_of_the_whole(features, entries, monkeypatch):
    """By blocks, and each distance that of the full matrices; 1e-6 apart too, where squares differ by noise."""
    monkeypatch.setattr(_pairs, "BLOCK_ENTRIES", entries)
    problem = ufm.Problem(
        [40] * 9 if features == "free" else [40, 30, 20, 20, 9, 8, 2, 1], 1e-2, 2e-2, features=features
    )
    exact = ufm.theory.optimum(problem)
    for whole in (exact.weight_gram, exact.logits, exact.feature_gram):
        np.testing.assert_array_equal(np.vstack([whole(slice(0, 3)), whole(slice(3, None))]), whole())
    W, H = exact.factors()
    for size in (1e-6, 1.0):
        X, Y = W + size * np.random.default_rng(0).normal(size=W.shape), H
        found = grams.gram_distances(problem, X, Y)
        for name, G, optimal in (("weights", X @ X.T, exact.weight_gram()), ("logits", X @ Y.T, exact.logits())):
            expected = np.linalg.norm(G - optimal) / np.linalg.norm(optimal)
            assert getattr(found, name) == pytest.approx(expected, rel=1e-9)


def test_rows_beyond_twenty_thousand_classes():
    exact = ufm.theory.optimum(ufm.Problem(np.arange(1, 30_001), 1e-7, 1e-7))
    assert exact.weight_gram(slice(0, 2)).shape == exact.feature_gram(slice(7, 9)).shape == (2, 30_000)
    with pytest.raises(SizeError, match="30,000"):
        exact.logits()


# -- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["one sample a class", "long tail"])
@pytest.mark.parametrize("judge", [ufm.attribute_gap, ufm.geometry, ufm.proof_steps], ids=lambda one: one.__name__)
def test_nothing_of_size_k_times_k_is_held(judge, labels):
    K, d = 3000, 8
    rng = np.random.default_rng(0)
    counts = np.ones(K, dtype=int) if labels != "long tail" else np.maximum(1000 * 0.998 ** np.arange(K), 1).astype(int)
    given = {"labels": np.arange(K)} if labels != "long tail" else {"class_counts": counts}
    candidate = ufm.Candidate(weights=rng.normal(size=(K, d)), features=rng.random((K, d)), **given)
    problem = candidate.problem(1e-6, 1e-6)
    judge(problem, candidate)  # what is imported and cached the first time is not counted
    tracemalloc.start()
    try:
        judge(problem, candidate)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 8 * K * K  # half of one such array: 36 MB


def test_the_pairs_are_made_when_somebody_asks_and_refused_when_too_many():
    K = 20_001
    candidate = ufm.Candidate(weights=np.zeros((K, 1)), features=np.zeros((K, 1)), class_counts=np.ones(K, dtype=int))
    found = ufm.attribute_gap(candidate.problem(1.0, 1.0), candidate)
    assert found.totals["non_orthogonality"] == 0.0
    with pytest.raises(SizeError, match="use overlap, which has it class by class"):
        _ = found.non_orthogonality

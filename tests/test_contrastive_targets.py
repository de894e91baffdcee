"""The loss of an anchor is cross-entropy against equal shares on its positives: compared with N × N arrays.

The witness writes every sample out and imports nothing of the loss: log-sum-exp over all others, shares of the
positives, entropies as sums of p log p.
"""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

import ufm_convex as ufm
from ufm_convex.contrastive import ContrastiveDual, ContrastivePoint, kkt
from ufm_convex.contrastive.enclosure import gains, lower_bound, upper_bound
from ufm_convex.contrastive.points import losses, softmax_dual
from ufm_convex.contrastive.targets import Anchored

PROBLEMS = [
    ufm.ContrastiveProblem([4, 3, 2, 1], bound=2.0, temperature=0.5),
    ufm.ContrastiveProblem([2, 2, 2, 1, 1], lambda_h=0.4, temperature=0.7),
    ufm.ContrastiveProblem([5, 5, 3], bound=1.5),
]


def drawn(problem, seed):
    """A point on groups, from features that permutations of a group's classes and of a class's samples leave alone."""
    rng, groups = np.random.default_rng(seed), problem.groups
    within = rng.uniform(0.5, 2.0, groups.size)
    squares = np.where(groups.counts > 1, within + rng.random(groups.size), within)
    between = rng.random((groups.size, groups.size))
    return ContrastivePoint(groups, squares, within, (between + between.T) * groups.present)


def full(problem, point):
    """G, (N, N), entry by entry."""
    labels, group = problem.labels, point.groups.members
    N = problem.num_samples
    gram = np.empty((N, N))
    for i in range(N):
        for j in range(N):
            k, other = labels[i], labels[j]
            g, h = group[k], group[other]
            gram[i, j] = point.squares[g] if i == j else point.within[g] if k == other else point.between[g, h]
    return gram


def rows_of(problem, point):
    """Of every anchor its class, its logits and its targets over all other samples."""
    gram, labels = full(problem, point) / problem.temperature, problem.labels
    for i, k in enumerate(labels):
        if problem.class_counts[k] > 1:
            others = np.delete(np.arange(labels.size), i)
            positives = labels[others] == k
            yield k, gram[i, others], positives / positives.sum()


def spread(problem, k, s, positives):
    """P of an anchor of class k that spends s outside its class."""
    n, N = problem.class_counts[k], problem.num_samples
    return np.where(positives > 0.0, (1.0 - s) / (n - 1), s / (N - n))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_values_softmax_and_divergences_are_those_of_all_samples(problem, seed):
    point, group = drawn(problem, seed), problem.groups.members
    outside = np.random.default_rng(50 + seed).uniform(0.05, 0.15, problem.groups.size) * (problem.groups.counts > 1)
    found, mass = losses(problem, point), softmax_dual(problem, point).outside
    gained = gains(problem, problem.groups, outside)
    calibration = 0.0
    for k, z, y in rows_of(problem, point):
        log_q = z - logsumexp(z)
        p = spread(problem, k, outside[group[k]], y)
        assert found[group[k]] == pytest.approx(-(y @ log_q), rel=1e-13)
        assert mass[group[k]] == pytest.approx(np.exp(log_q)[y == 0.0].sum(), rel=1e-13)
        price = 0.0 if problem.bound is None else outside[group[k]] * problem.bound / problem.temperature
        assert gained[group[k]] == pytest.approx(-(p @ np.log(p)) - price, rel=1e-12)
        calibration += p @ (np.log(p) - log_q)
    terms = kkt.terms(problem, point, ContrastiveDual(problem.groups, outside))
    assert terms.calibration == pytest.approx(calibration, rel=1e-11)  # a difference of logarithms of order 1


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_bounds_are_those_of_the_entropies_and_of_the_frame(problem):
    """In floating point: 1e-12 is far above its roundings, far below what another number of positives would change."""
    groups, T = problem.groups, problem.temperature
    outside = np.where(groups.counts > 1, 0.1, 0.0)
    proved = lower_bound(problem, ContrastiveDual(groups, outside)).value
    dual = 0.0
    for n in problem.class_counts[problem.class_counts > 1].tolist():
        N, price = problem.num_samples, 0.0 if problem.bound is None else 0.1 * problem.bound / T
        p = np.array([0.9 / (n - 1)] * (n - 1) + [0.1 / (N - n)] * (N - n))
        dual += n * (-(p @ np.log(p)) - price)
    assert proved == pytest.approx(dual, rel=1e-12)
    lengths, value = np.full(groups.size, 1.1), 0.0
    for n in problem.class_counts.tolist():
        z = np.array([1.21 / T] * (n - 1) + [0.0] * (problem.num_samples - n))
        value += n * ((logsumexp(z) - 1.21 / T) * (n > 1) + 0.605 * (problem.lambda_h or 0.0))
    assert upper_bound(problem, groups, lengths).value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("fault", ["numbers", "target"])
def test_a_wrong_layout_is_seen(monkeypatch, fault):
    """Planted: the anchor is among its own positives, or its targets are shares of all of its class."""
    right = Anchored.of.__func__

    def wrong(cls, problem, groups, *, by_group):
        found = right(cls, problem, groups, by_group=by_group)
        entries = getattr(found.layout, fault)
        if fault == "numbers":
            entries[0] += 1.0
        else:
            entries[0] *= 1.0 - entries[0] / 2.0
            entries[1:] = 0.01
        return found

    monkeypatch.setattr(Anchored, "of", classmethod(wrong))
    with pytest.raises(AssertionError):
        test_values_softmax_and_divergences_are_those_of_all_samples(PROBLEMS[0], 0)


def test_ranges_far_beyond_those_of_exponentials():
    """A loss of e^{−700}, and one of 10⁶: neither is lost, and neither overflows."""
    problem = ufm.ContrastiveProblem([2, 2], bound=1e6, temperature=1.0)
    groups = problem.groups
    tiny = ContrastivePoint(groups, np.full(1, 700.0), np.full(1, 700.0), np.zeros((1, 1)))
    assert losses(problem, tiny)[0] == pytest.approx(2.0 * math.exp(-700.0), rel=1e-12)
    large = ContrastivePoint(groups, np.full(1, 1e6), np.zeros(1), np.full((1, 1), 1e6))
    assert losses(problem, large)[0] == pytest.approx(1e6 + math.log(2.0), rel=1e-15)

"""Soft targets for tests and benchmarks: the problem has no closed form and depends on more than margins."""

from __future__ import annotations

import math

import numpy as np

from ufm_convex.losses import SoftTargetCrossEntropy
from ufm_convex.problem import Problem


def soft_targets(columns):
    """From an array (K, K) whose column k is the target of class k; columns are normalised here."""
    array = np.asarray(columns, dtype=float)
    return SoftTargetCrossEntropy((array / array.sum(axis=0)).T)


def random_columns(num_classes, mass, seed=0, concentration=1.0):
    """Own class 1 − mass; the rest spread at random, unevenly: concentration → 0 is more uneven."""
    rng = np.random.default_rng(seed)
    wrong = rng.gamma(concentration, size=(num_classes, num_classes)) + 1e-3
    np.fill_diagonal(wrong, 0.0)
    columns = mass * wrong / wrong.sum(axis=0)
    np.fill_diagonal(columns, 1.0 - mass)
    return columns


def random_soft_targets(num_classes, mass, seed=0, concentration=1.0):
    """The loss with ``random_columns``."""
    return soft_targets(random_columns(num_classes, mass, seed, concentration))


def uneven(K, seed):
    """Uneven counts, and uneven confusions of neighbours on a circle; every third seed has random targets."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(3, 40, size=K)
    decay = math.sqrt(rng.choice([0.02, 0.1]) * counts.min()) / counts.sum()
    columns = 0.5 * np.eye(K) + 0.25 * np.roll(np.eye(K), 1, axis=1) + 0.25 * np.roll(np.eye(K), -1, axis=1)
    loss = soft_targets(columns + 0.2 * rng.random((K, K)) * (columns > 0.0))
    if seed % 3 == 0:
        loss = random_soft_targets(K, 0.5, seed=seed, concentration=0.3)
    return Problem(counts, decay, decay, loss=loss)

"""Balanced classes with free features: own solves against the closed form, and all four neural-collapse measures.

With m samples a class, r = min(1, √(N K λ_W λ_H)), t = (K−1) r/K and M = log(1 + K (1/r − 1)) the optimum is
L = M (I − 11ᵀ/K), f* = −log(1−t) + t M (Zhu et al., NeurIPS 2021, with the margin in closed form).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

import ufm_convex as ufm

DECAY = 3e-3


def closed_form(K, count, decay):
    r = min(1.0, math.sqrt(K * count * K) * decay)
    t = (K - 1) * r / K
    margin = math.log(1.0 + K * (1.0 / r - 1.0))
    return margin, -math.log(1.0 - t) + t * margin


@pytest.mark.parametrize(
    ("solver", "level", "K"),
    [("factored", "class", K) for K in (2, 3, 10, 30)]
    + [("clarabel", "class", 2), ("clarabel", "class", 3), ("scs", "class", 3)]
    + [("clarabel", "group", K) for K in (2, 3, 10, 100, 1000)],
)
def test_the_simplex_is_solved_for(solver, level, K):
    count = 7
    decay = DECAY / math.sqrt(K)  # the same distance from collapse for all K: r = 0.008 √K
    problem = ufm.Problem([count] * K, decay, decay, features="free")
    solution = ufm.solve(problem, solver=solver, level=level)
    margin, value = closed_form(K, count, decay)
    assert solution.solver == solver
    assert solution.status is ufm.Status.CERTIFIED
    # the closed form in binary64 and the proved bounds are each right to a few roundings
    assert solution.lower_bound * (1 - 1e-14) <= value <= solution.upper_bound * (1 + 1e-14)
    assert solution.relative_gap <= 1e-6
    # a gap of 1e-6 leaves margins and angles within its square root
    assert solution.margins == pytest.approx(margin, rel=1e-3)
    found = ufm.geometry(problem, solution)
    for simplex in (found.means, found.weights):
        assert max(simplex.equinorm, simplex.equiangularity, simplex.structure) < 1e-3
    assert max(found.self_duality, found.duality_structure) < 1e-3
    assert found.nearest_centre == 1.0


def test_within_class_collapse_is_a_result_and_not_an_assumption():
    """L-BFGS on W and the features of all N samples, from a random start: nothing here knows of class means."""
    K, count, d, decay = 4, 5, 6, 2e-2
    labels = np.repeat(np.arange(K), count)
    N = labels.size

    def objective(flat):
        W, F = flat[: K * d].reshape(K, d), flat[K * d :].reshape(N, d)
        Z = F @ W.T
        shifted = Z - Z.max(axis=1, keepdims=True)
        p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        value = -np.log(p[np.arange(N), labels]).mean() + 0.5 * decay * (flat @ flat)
        p[np.arange(N), labels] -= 1.0
        return value, np.concatenate([(p.T @ F / N).ravel(), (p @ W / N).ravel()]) + decay * flat

    start = np.random.default_rng(1).standard_normal((K + N) * d)
    end = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 0, "gtol": 1e-9})
    problem = ufm.Problem([count] * K, decay, decay, features="free")
    candidate = ufm.Candidate(
        weights=end.x[: K * d].reshape(K, d), features=end.x[K * d :].reshape(N, d), labels=labels
    )
    assert end.fun == pytest.approx(closed_form(K, count, decay)[1], rel=1e-12)
    found = ufm.geometry(problem, candidate)
    # NC1 is a square of what the gradient leaves, NC2 and NC3 are of its order
    assert max(found.trace_ratio, found.quotient, found.cdnv) < 1e-9
    assert max(found.means.structure, found.weights.structure, found.self_duality) < 1e-5
    assert found.nearest_centre == 1.0


def test_the_sample_level_spends_nothing_on_variability():
    problem = ufm.Problem([3] * 3, 2e-2, 2e-2, features="free")
    solution = ufm.solve(problem, solver="clarabel", level="sample")
    assert solution.status is ufm.Status.CERTIFIED
    assert abs(solution.run.within_class_variability) < 1e-7  # of an objective of about one
    assert solution.value == pytest.approx(closed_form(3, 3, 2e-2)[1], rel=1e-6)


def test_measures_see_one_class_that_is_off():
    """The planted fault: one feature a tenth longer, or one classifier turned, is far from every ideal value."""
    problem = ufm.Problem([7] * 5, DECAY, DECAY, features="free")
    W, H = ufm.solve(problem).factors()
    longer, turned = H.copy(), W.copy()
    longer[0] *= 1.1
    turned[0] = -W[0]
    assert ufm.geometry(problem, ufm.Candidate(weights=W, features=longer, class_counts=[7] * 5)).means.equinorm > 1e-2
    found = ufm.geometry(problem, ufm.Candidate(weights=turned, features=H, class_counts=[7] * 5))
    assert min(found.weights.equiangularity, found.self_duality) > 1e-2
    assert found.nearest_centre < 1.0

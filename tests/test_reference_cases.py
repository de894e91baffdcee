"""Figures that this project did not compute, with their sources.

CIFAR_LT: class counts and decays of the experiments of Dang, Tran, Nguyen and Ho (ICML 2024), evaluated by the closed
form there with √(λ_W λ_H) in the margins. NONCONVEX: 100 runs of L-BFGS-B on the factored problem at d = K, each stuck
in a spurious minimum in which whole classes are dead; the excess of a dead class was read off those runs.
"""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from ufm_convex import theory
from ufm_convex.problem import Problem
from ufm_convex.solving import solve

CIFAR_LT = {
    "class_counts": [1000, 1000, 2000, 2000, 3000, 3000, 4000, 4000, 5000, 5000],
    "lambda_w": 1e-4,
    "lambda_h": 1e-5,
    "value": 0.11610096252862243,
    "margins": [5.727589381358508, 6.082706452467292, 6.289200702775208, 6.435277442662793, 6.548372072704493],
    "squared_norms": [
        0.5433668384186291,
        0.4080403534468038,
        0.3444737093587325,
        0.30525201140877073,
        0.277823897900517,
    ],
}
NONCONVEX = {
    "class_counts": [500, 300, 180, 108, 65, 39, 23, 14, 8, 5],
    "lambda_w": 1e-3,
    "lambda_h": 1e-3,
    "optimum": 0.4689603860997112,
    "excess": [
        0.7972762309147889, 0.4600503786105486, 0.26263012728726165, 0.14782136050311076, 0.08193062923573663,
        0.04407859797586926, 0.022318789595605317, 0.011133499728566679, 0.004561046999551047, 0.0018240460432956919,
    ],
}  # fmt: skip


@pytest.mark.parametrize("solver", ["auto", "clarabel", "scs"])
def test_the_experiments_of_dang_et_al(solver):
    solution = solve(Problem(CIFAR_LT["class_counts"], 1e-4, 1e-5), solver=solver, tolerance=1e-9)
    assert solution.status == "certified"
    assert solution.value == pytest.approx(CIFAR_LT["value"], rel=1e-9)
    # margins are determined to the square root of the gap
    assert solution.margins[::2] == pytest.approx(CIFAR_LT["margins"], rel=1e-3)
    assert solution.feature_norms[::2] ** 2 == pytest.approx(CIFAR_LT["squared_norms"], rel=1e-3)


@pytest.mark.parametrize("solver", ["auto", "clarabel", "scs"])
def test_the_global_optimum_lies_below_all_hundred_runs(solver):
    solution = solve(Problem(NONCONVEX["class_counts"], 1e-3, 1e-3), solver=solver)
    assert solution.value == pytest.approx(NONCONVEX["optimum"], rel=1e-6)
    assert solution.collapsed_classes == ()


def test_stuck_runs_exceed_the_optimum_by_the_sum_of_their_dead_classes():
    """Descent at d = K from small starts ends in spurious minima; their excess is what the recorded figures say."""
    n, K = np.array(NONCONVEX["class_counts"]), 10
    pi = n / n.sum()
    optimum = solve(Problem(n, 1e-3, 1e-3), solver="clarabel").lower_bound
    sums = {sum(s) for r in range(K + 1) for s in itertools.combinations(NONCONVEX["excess"], r)}
    sums = np.array(sorted(sums))

    def f(flat):
        W, H = flat[: K * K].reshape(K, K), flat[K * K :].reshape(K, K)
        logits = W @ H.T
        p = np.exp(logits - logits.max(axis=0))
        p /= p.sum(axis=0)
        value = pi @ -np.log(np.diag(p)) + 5e-4 * (W**2).sum() + 5e-4 * (n @ (H**2).sum(axis=1))
        pull = (p - np.eye(K)) * pi
        return value, np.concatenate([(pull @ H + 1e-3 * W).ravel(), (pull.T @ W + 1e-3 * n[:, None] * H).ravel()])

    rng, stuck = np.random.default_rng(1), 0
    bounds = [(None, None)] * (K * K) + [(0.0, None)] * (K * K)
    for _ in range(10):
        start = np.concatenate([0.1 * rng.normal(size=K * K), np.abs(0.1 * rng.normal(size=K * K))])
        options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-14, "gtol": 1e-9}
        excess = minimize(f, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun - optimum
        assert excess > -1e-9
        stuck += excess > 1e-4
        assert np.abs(sums - excess).min() < 1e-5
    assert stuck >= 9  # 100 of 100 in the recorded runs


def test_the_recorded_excesses_are_those_of_the_theorem():
    problem = Problem(NONCONVEX["class_counts"], 1e-3, 1e-3)
    optimum, pi = theory.optimum(problem), problem.loss_weights
    term = pi * (np.log1p(9 * np.exp(-optimum.margins)))
    penalty = np.sqrt(1e-6 * problem.class_counts * 0.9) * optimum.margins
    np.testing.assert_allclose(pi * np.log(10) - term - penalty, NONCONVEX["excess"], rtol=1e-10)

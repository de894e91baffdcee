"""The textbook programmes, as the papers write them: plain cvxpy, unscaled variables, the default solver.

An independent baseline for benchmarks. Nothing here is imported from the package but the loss of a problem, whose cvxpy
expression is written out again for cross-entropy and soft targets.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np


@dataclass(frozen=True)
class Baseline:
    """What a textbook programme gave: claimed value, the solver's accuracy setting, wall time with modelling."""

    value: float
    accuracy: float
    seconds: float
    status: str


def targets_of(problem):
    """Column k is the target of class k, for cross-entropy (smoothed or not) and soft targets."""
    if hasattr(problem.loss, "targets"):
        return np.array(problem.loss.targets).T
    K, alpha = problem.num_classes, problem.loss.smoothing
    return (1.0 - alpha) * np.eye(K) + alpha / K


def data_term(problem, L):
    """Σ_k pt_k [log-sum-exp(L e_k) − <y_k, L e_k>]."""
    return problem.loss_weights @ (cp.log_sum_exp(L, axis=0) - cp.sum(cp.multiply(targets_of(problem), L), axis=0))


def gram_programme(problem):
    """The doubly non-negative relaxation in one PSD variable Z of order 2K (B ≥ 0 only where features are)."""
    K = problem.num_classes
    Z = cp.Variable((2 * K, 2 * K), PSD=True)
    A, L, B = Z[:K, :K], Z[:K, K:], Z[K:, K:]
    penalty = problem.lambda_w / 2 * cp.trace(A) + problem.lambda_h / 2 * (problem.class_counts @ cp.diag(B))
    return cp.Problem(cp.Minimize(data_term(problem, L) + penalty), [B >= 0] if problem.nonnegative else [])


def nuclear_programme(problem):
    """Free features: the loss plus √(λ_W λ_H) times the nuclear norm of L Diag(√n)."""
    L = cp.Variable((problem.num_classes, problem.num_classes))
    scaled = L @ np.diag(np.sqrt(problem.class_counts))
    return cp.Problem(
        cp.Minimize(data_term(problem, L) + math.sqrt(problem.lambda_w * problem.lambda_h) * cp.normNuc(scaled))
    )


def layer_peeled_programme(class_counts, weight_norm, feature_norm, nonnegative=True):
    """Norm balls instead of decays: Σ π_k CE(L e_k) under tr A ≤ K E_W and tr B ≤ K E_H (Fang et al., PNAS 2021)."""
    n = np.asarray(class_counts, dtype=float)
    K = n.size
    Z = cp.Variable((2 * K, 2 * K), symmetric=True)
    A, L, B = Z[:K, :K], Z[:K, K:], Z[K:, K:]
    losses = (n / n.sum()) @ (cp.log_sum_exp(L, axis=0) - cp.diag(L))
    constraints = [Z >> 0, cp.trace(A) <= K * weight_norm, cp.trace(B) <= K * feature_norm]
    return cp.Problem(cp.Minimize(losses), [*constraints, B >= 0] if nonnegative else constraints)


def layer_peeled_optimum(class_counts, weight_norm, feature_norm):
    """Its closed form for non-negative features, by water-filling over the margins M_k.

    With e^{M_k} = 1 + K (1/r_k − 1) and r_k = min(1, μ √(K/(K−1)) / π_k), μ is the root of
    Σ M_k = K √(E_W E_H K/(K−1)), whose left side falls in μ; the optimum is Σ π_k log(1 + (K−1) e^{−M_k}).
    """
    n = np.asarray(class_counts, dtype=float)
    K, shares = n.size, n / n.sum()
    root = math.sqrt(K / (K - 1))

    def margins(mu):
        return np.log1p(K * (1.0 / np.minimum(1.0, mu * root / shares) - 1.0))

    budget = K * math.sqrt(weight_norm * feature_norm) * root
    low, high = 0.0, shares.max() / root
    for _ in range(200):  # bisection to the last bit
        middle = 0.5 * (low + high)
        low, high = (middle, high) if margins(middle).sum() > budget else (low, middle)
    return float(shares @ np.log1p((K - 1) * np.exp(-margins(high))))


def solve(programme, accuracy, solver=cp.SCS, time_limit=None):
    """One run of cvxpy with SCS at ``eps = accuracy``; its value is what the solver claims."""
    options = {"eps_abs": accuracy, "eps_rel": accuracy, "max_iters": 10**6} if solver == cp.SCS else {}
    if time_limit is not None:
        options["time_limit_secs"] = time_limit
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        programme.solve(solver=solver, **options)
    return Baseline(float(programme.value), accuracy, time.perf_counter() - started, str(programme.status))


def to_accuracy(make, truth, relative, accuracies=(1e-4, 1e-5, 1e-6, 1e-7, 1e-8), time_limit=None):
    """The first run whose value is within ``relative`` of ``truth``, from loose to tight, else the closest; all runs.

    The choice is a gift to the baseline: it does not know the truth, and would have to run tighter to be sure. Only
    the run that is chosen counts, the looser ones before it do not.
    """
    found = []
    for accuracy in accuracies:
        found.append(solve(make(), accuracy, time_limit=time_limit))
        if abs(found[-1].value - truth) <= relative * abs(truth):
            break
        if time_limit is not None and found[-1].seconds > time_limit:
            break
    return min(found, key=lambda run: abs(run.value - truth)), found

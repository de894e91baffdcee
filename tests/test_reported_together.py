"""What is reported together belongs together: ``value`` is the objective of the reported W, H and b.

The objective is formed here from its definition, for every kind of problem; a value from another point (a solver's own,
or a lower bound of the interval) is away from it by as much as the proved gap is wide.
"""

import math

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.losses import CrossEntropy, MeanSquaredError, MulticlassHinge
from ufm_convex.solving import within

COUNTS = [50, 20, 7, 7]
PROBLEMS = {
    "non-negative": ufm.Problem(COUNTS, 4e-3, 2e-3),
    "free": ufm.Problem(COUNTS, 4e-3, 2e-3, features="free"),
    "smoothed": ufm.Problem(COUNTS, 4e-3, 2e-3, loss=CrossEntropy(smoothing=0.1)),
    "squared error": ufm.Problem(COUNTS, 4e-3, 2e-3, loss=MeanSquaredError(), features="free"),
    "hinge": ufm.Problem(COUNTS, 4e-3, 2e-3, loss=MulticlassHinge("weston-watkins")),
    "free bias": ufm.Problem(COUNTS, 4e-3, 2e-3, bias="free"),
    "penalised bias": ufm.Problem(COUNTS, 4e-3, 2e-3, bias=0.02, features="free"),
    "hard margin": ufm.Problem(COUNTS, 4e-3, 2e-3, constraint=ufm.HardMargin(1.0)),
    "layer-peeled": ufm.Problem(COUNTS, constraint=ufm.LayerPeeled(1, 5)),
    "layer-peeled, free": ufm.Problem(COUNTS, features="free", constraint=ufm.LayerPeeled(1, 5)),
}


def losses(problem, logits):
    """The loss of each class at its column of the logits (K, K), from the definition."""
    K, own = len(logits), np.diag(logits)
    if problem.constraint is not None and isinstance(problem.constraint, ufm.HardMargin):
        return np.zeros(K)
    if isinstance(problem.loss, MeanSquaredError):
        return 0.5 * ((logits - np.eye(K)) ** 2).sum(axis=0)
    if isinstance(problem.loss, MulticlassHinge):
        return np.maximum(1.0 + logits - own, 0.0).sum(axis=0) - 1.0
    targets = (1.0 - problem.loss.smoothing) * np.eye(K) + problem.loss.smoothing / K
    peak = logits.max(axis=0)
    return peak + np.log(np.exp(logits - peak).sum(axis=0)) - (targets * logits).sum(axis=0)


def objective_of(problem, solution):
    """The objective of the reported factors and bias."""
    W, H = solution.factors()
    n = np.array(COUNTS)
    value = float(n @ losses(problem, W @ H.T + solution.bias[:, None])) / n.sum()
    if isinstance(problem.constraint, ufm.LayerPeeled):
        assert (W**2).sum() <= len(n) * 1.0 * (1 + 1e-12)
        return value
    value += 0.5 * problem.lambda_w * (W**2).sum() + 0.5 * problem.lambda_h * float(n @ (H**2).sum(axis=1))
    return value + (0.5 * problem.bias * (solution.bias**2).sum() if isinstance(problem.bias, float) else 0.0)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
@pytest.mark.parametrize("solver", ["auto", "scs", "clarabel"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_value_is_that_of_the_reported_factors(name, solver, tolerance):
    problem = PROBLEMS[name]
    found = ufm.solve(problem, solver=solver, tolerance=tolerance)
    assert found.status == "certified"
    # a few sums of tens of products; a hard margin's factors are scaled into the set, by a few units in the last place
    assert found.value == pytest.approx(objective_of(problem, found), rel=1e-12)
    assert found.lower_bound <= found.value <= found.upper_bound


@pytest.mark.parametrize("solver", ["scs", "clarabel"])
@pytest.mark.parametrize(
    "problem",
    [
        ufm.ContrastiveProblem(COUNTS, bound=1.0),
        ufm.ContrastiveProblem(COUNTS, lambda_h=0.05, temperature=0.5),
        ufm.ContrastiveProblem([9, 9, 9, 3, 1], lambda_h=0.2, temperature=0.5),
    ],
)
def test_the_value_of_a_contrastive_problem_is_that_of_its_features(problem, solver):
    found = ufm.solve(problem, solver=solver, tolerance=1e-2)
    H, y = found.factors(), problem.labels
    G, N = H @ H.T / problem.temperature, len(y)
    others = ~np.eye(N, dtype=bool)
    same = (y[:, None] == y) & others
    logs = np.log((np.exp(G) * others).sum(axis=1))
    kept = same.sum(axis=1) > 0
    own = (G * same).sum(axis=1)[kept] / same.sum(axis=1)[kept]
    expected = float((logs[kept] - own).sum())
    if problem.lambda_h is not None:
        expected += 0.5 * problem.lambda_h * float((H**2).sum())
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.lower_bound <= found.value <= found.upper_bound


def test_a_value_at_the_lower_end_would_be_seen():
    """The planted fault: what the multiplier's search promises, the lower bound, is off the factors' loss."""
    problem = PROBLEMS["layer-peeled, free"]
    found = ufm.solve(problem, solver="clarabel", tolerance=1e-2)
    assert found.relative_gap > 1e-8
    assert found.lower_bound != pytest.approx(objective_of(problem, found), rel=1e-12)


def test_estimates_are_moved_into_the_interval():
    assert within(1.0, 2.0) == 2.0
    assert within(1.0, 2.0, 1.5, 1.7) == 1.5
    assert within(1.0, 2.0, 0.5) == 1.0
    assert within(1.0, 2.0, None, math.nan, 1.2) == 1.2
    assert within(1.0, 2.0, 2.5) == 2.0
    assert math.isinf(within(1.0, math.inf))

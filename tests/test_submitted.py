"""A submitted point is judged as it stands: whatever a repair would mend is planted here, and must be seen.

Expected objectives are sums written out here with NumPy, in another form than the package's.
"""

from dataclasses import replace

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.crosscheck import Answer, ConformanceCase, SolutionFile
from ufm_convex.interchange import cbf_solution, save_cbf_solution
from ufm_convex.interchange.programmes import programme
from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers import Claim

ROUNDING = 1e-13  # sums of at most 40 terms of size one
PROBLEMS = {
    "active": ufm.Problem([8, 5, 3, 2], 2e-2, 2e-2),
    "collapsed": ufm.Problem([40, 20, 8, 2], 0.02, 0.05),
    "free": ufm.Problem([6, 4, 3], 0.02, 0.01, features="free"),
    "weighted": ufm.Problem([6, 4, 3], 0.02, 0.01, loss=ufm.CrossEntropy(class_weights=(0.5, 1.0, 2.0), smoothing=0.1)),
}
SOLUTIONS = {name: ufm.solve(problem, tolerance=1e-9) for name, problem in PROBLEMS.items()}


def case(name):
    return ConformanceCase(name, PROBLEMS[name], "judged as it stands")


def gram(name):
    return GramPoint.from_factors(*SOLUTIONS[name].factors())


def dual(name):
    found = SOLUTIONS[name].dual
    return found.dense(PROBLEMS[name]) if hasattr(found, "strengths") else dense(found)


def dense(point):
    return point.dense() if hasattr(point, "dense") else point


def objective(problem, A, L, B, counts=None):
    """Cross-entropy with smoothing and class weights, and the traces; columns in blocks of ``counts``."""
    n, K = problem.class_counts, problem.num_classes
    counts = np.ones(K, dtype=int) if counts is None else counts
    weights = problem.loss.class_weights or (1.0,) * K
    total, column = 0.5 * problem.lambda_w * sum(A[k, k] for k in range(K)), 0
    for k in range(K):
        target = problem.loss.smoothing / K + (1.0 - problem.loss.smoothing) * (np.arange(K) == k)
        for _ in range(counts[k]):
            z, size = L[:, column], n[k] / counts[k]
            loss = np.log(np.exp(z).sum()) - target @ z
            total += weights[k] * size / n.sum() * loss + 0.5 * problem.lambda_h * size * B[column, column]
            column += 1
    return total


def longer(factor):
    return lambda g: GramPoint(factor * g.weight_gram, g.logits, factor * g.feature_gram)


def shifted(amount):
    def spoil(g):
        eye = amount * np.eye(len(g.logits))
        return GramPoint(g.weight_gram + eye, g.logits, g.feature_gram + eye)

    return spoil


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("spoil", [longer(10.0), longer(1.001), shifted(5.0), shifted(1e-2)])
def test_a_gram_point_has_its_own_objective_whatever_factors_are_behind_it(name, spoil):
    """The logits, which repair would build W and H from, are the optimal ones."""
    point = spoil(gram(name))
    row = case(name).judge(point)
    assert row.verdict == "wrong", row.reason
    expected = objective(PROBLEMS[name], point.weight_gram, point.logits, point.feature_gram)
    assert row.solver_primal_value == pytest.approx(expected, rel=ROUNDING)
    assert row.value == row.solver_primal_value
    assert row.certified_gap >= 1.0 - SOLUTIONS[name].upper_bound / expected - 1e-9  # the gap of the reference


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_optimum_has_its_own_objectives_too(name):
    point = gram(name)
    expected = objective(PROBLEMS[name], point.weight_gram, point.logits, point.feature_gram)
    row = case(name).judge(Answer(Claim.OPTIMAL, point=point, dual=dual(name)))
    assert row.verdict == "right", row.reason
    assert row.solver_primal_value == pytest.approx(expected, rel=ROUNDING)
    assert row.solver_dual_value == pytest.approx(expected, rel=1e-8)  # strong duality, to the gap asked for


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("factor", [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1.001, 1.1])
@pytest.mark.parametrize("power", [0, 1, 2])
def test_a_dual_point_has_its_own_objective_whatever_repair_makes_of_it(name, factor, power):
    found = dual(name)
    row = case(name).judge(DualPoint(factor * found.residuals, factor**power * found.nonnegativity))
    assert row.verdict == "wrong", (row.reason, factor)
    if factor < 1.0:
        assert row.solver_dual_value < SOLUTIONS[name].lower_bound
        assert row.dual_gap > 1e-5


def test_the_dual_objective_is_the_entropy():
    """−Σ pt_k l*(v_k) = Σ pt_k H(p_k) for cross-entropy: the entropies of p_k = v_k + e_k."""
    found, problem = dual("active"), PROBLEMS["active"]
    p = 0.7 * found.residuals + np.eye(4)
    entropies = -(p * np.log(p)).sum(axis=0)
    row = case("active").judge(DualPoint(0.7 * found.residuals, found.nonnegativity))
    expected = problem.class_counts / 18 @ entropies
    assert row.solver_dual_value == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize(("size", "verdict"), [(0.5e-6, "right"), (2e-6, "wrong")])
def test_a_point_is_right_up_to_the_tolerance_and_not_beyond(size, verdict):
    """λ_W/2 tr A grows by ``size`` of the optimum; Z stays feasible, and the logits are the same."""
    point, problem = gram("active"), PROBLEMS["active"]
    extra = size * SOLUTIONS["active"].upper_bound / (0.5 * problem.lambda_w * 4) * np.eye(4)
    assert case("active").judge(replace(point, weight_gram=point.weight_gram + extra)).verdict == verdict


def test_features_below_zero_are_judged_before_they_are_clipped():
    """Clipped, they are the optimum; as they are, the penalty of a column that no row of W uses is too large."""
    W, H = SOLUTIONS["active"].factors()
    wide = np.hstack([W, np.zeros((4, 1))]), np.hstack([H, -np.ones((4, 1))])
    row = case("active").judge(wide)
    assert row.verdict == "wrong"
    # λ_H/2 Σ n_k 1² with N = 18
    assert row.solver_primal_value - SOLUTIONS["active"].value == pytest.approx(0.01 * 18, rel=1e-6)


@pytest.mark.parametrize("block", ["weight_gram", "feature_gram"])
def test_matrices_that_are_not_symmetric_are_not_made_so(block):
    point = gram("active")
    skew = np.triu(np.full((4, 4), 0.3), 1)
    row = case("active").judge(replace(point, **{block: getattr(point, block) + skew - skew.T}))
    assert row.verdict == "wrong"
    assert row.primal_violation > 1e-4


def test_a_multiplier_that_is_not_symmetric_is_not_made_so():
    found = dual("active")
    skew = np.triu(np.full((4, 4), 1e-3), 1)
    assert case("active").judge(replace(found, nonnegativity=found.nonnegativity + skew - skew.T)).verdict == "wrong"


def test_a_bias_that_the_problem_does_not_have_is_refused():
    row = case("active").judge(replace(gram("active"), bias=np.zeros(4)))
    assert (row.verdict, row.reason) == ("failed", "its Gram point has a bias, and the problem has none")


def test_claims_that_disagree_with_the_point_are_seen():
    value, point, found = SOLUTIONS["active"].value, gram("active"), dual("active")
    answers = {
        "below": Answer(Claim.OPTIMAL, 0.9 * value, point=point),
        "above": Answer(Claim.OPTIMAL, 1.1 * value, point=point),
        "dual above": Answer(Claim.OPTIMAL, value, 1.1 * value, dual=found),
        "dual below": Answer(Claim.OPTIMAL, value, 0.9 * value, dual=found),
        "alibi": Answer(Claim.OPTIMAL, value, value, point=longer(10.0)(point), dual=found),
        "modest": Answer(Claim.STOPPED, value, value, point=point, dual=found),
        "residual": Answer(Claim.OPTIMAL, point=point, residual=0.5),
        "no residual": Answer(Claim.OPTIMAL, point=point, residual=-1.0),
    }
    assert {name: str(case("active").judge(answer).verdict) for name, answer in answers.items()} == {
        "below": "overclaims",
        "above": "wrong",
        "dual above": "overclaims",
        "dual below": "wrong",
        "alibi": "wrong",
        "modest": "inaccurate",
        "residual": "wrong",
        "no residual": "failed",
    }


# -- points with one column a sample ------------------------------------------------------------------------------


def of_samples(point, counts):
    Y = np.repeat(np.eye(len(counts)), counts, axis=0)
    return GramPoint(point.weight_gram, point.logits @ Y.T, Y @ point.feature_gram @ Y.T)


def test_samples_are_not_averaged_before_they_are_judged():
    """What lies within a class, I − the projection on class means, is gone in the average."""
    problem = PROBLEMS["active"]
    n = problem.class_counts
    point = of_samples(gram("active"), n)
    assert case("active").judge(point).verdict == "right"
    Y = np.repeat(np.eye(4), n, axis=0)
    within = np.eye(18) - Y / n @ Y.T
    spread = replace(point, feature_gram=point.feature_gram + 0.5 * np.abs(within))
    row = case("active").judge(spread)
    assert row.verdict == "wrong"
    expected = objective(problem, spread.weight_gram, spread.logits, spread.feature_gram, counts=n)
    assert row.solver_primal_value == pytest.approx(expected, rel=ROUNDING)


# -- solution files -----------------------------------------------------------------------------------------------


def diagonal(order):
    return [r * (r + 1) // 2 + r for r in range(order)]


def spoil_blocks(values, size, order):
    values[:size] *= 10.0


def spoil_diagonal(values, size, order):
    values[diagonal(order)] += 5.0


def spoil_epigraph_up(values, size, order):
    values[size] += 1.0


def spoil_epigraph_down(values, size, order):
    values[size] -= 1e-3


def spoil_shares_down(values, size, order):
    values[size + 1] *= 0.999


def spoil_shares_up(values, size, order):
    values[size + 1] *= 1.001


@pytest.mark.parametrize("level", ["class", "group", "sample"])
@pytest.mark.parametrize(
    "spoil",
    [
        spoil_blocks,
        spoil_diagonal,
        spoil_epigraph_up,
        spoil_epigraph_down,
        spoil_shares_down,
        spoil_shares_up,
    ],
)
def test_every_variable_of_a_solution_file_counts(level, spoil, tmp_path):
    """Order of the file: the lower triangles, then for each column t, the own s, the others."""
    problem, path = PROBLEMS["active"], tmp_path / "s.json"
    values = cbf_solution(problem, SOLUTIONS["active"], level)
    orders = programme(problem, level).orders
    save_cbf_solution(path, problem, level, values)
    assert case("active").judge(SolutionFile(path)(problem)).verdict == "right"
    spoil(values, sum(order * (order + 1) // 2 for order in orders), orders[0])
    save_cbf_solution(path, problem, level, values)
    row = case("active").judge(SolutionFile(path)(problem))
    assert row.verdict == "wrong", row.reason


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ({}, "right"),
        ({"status": "optimal"}, "right"),
        ({"status": "stopped"}, "inaccurate"),
        ({"status": "infeasible"}, "wrong"),
        ({"value": 1.0}, "right"),
        ({"value": 0.99}, "overclaims"),
        ({"value": 1.01}, "wrong"),
        ({"dual_value": 1.0}, "right"),
        ({"dual_value": 1.01}, "overclaims"),
        ({"dual_value": 0.99}, "wrong"),
    ],
)
def test_what_a_solution_file_claims_is_judged(claims, verdict, tmp_path):
    """Values as shares of the optimum."""
    problem, solution, path = PROBLEMS["active"], SOLUTIONS["active"], tmp_path / "s.json"
    stated = {key: solution.value * one if isinstance(one, float) else one for key, one in claims.items()}
    save_cbf_solution(path, problem, "class", cbf_solution(problem, solution, "class"), **stated)
    row = case("active").judge(SolutionFile(path)(problem))
    assert row.verdict == verdict, row.reason


def test_a_dual_point_in_a_solution_file_is_judged(tmp_path):
    problem, solution, path = PROBLEMS["active"], SOLUTIONS["active"], tmp_path / "s.json"
    values, dual = cbf_solution(problem, solution, "class"), solution.dual.dense(problem)
    for factor, verdict in ((1.0, "right"), (1.05, "wrong")):
        wrong = DualPoint(factor * dual.residuals, dual.nonnegativity)
        save_cbf_solution(path, problem, "class", values, dual=wrong)
        row = case("active").judge(SolutionFile(path)(problem))
        assert row.verdict == verdict, row.reason


def test_a_stated_value_hides_no_variable(tmp_path):
    """The file states the optimum, and its epigraph variable says something else."""
    problem, solution, path = PROBLEMS["active"], SOLUTIONS["active"], tmp_path / "s.json"
    values = cbf_solution(problem, solution, "class")
    order = programme(problem, "class").orders[0]
    spoil_epigraph_up(values, order * (order + 1) // 2, order)
    save_cbf_solution(path, problem, "class", values, status="optimal", value=solution.value)
    assert case("active").judge(SolutionFile(path)(problem)).verdict == "wrong"


def test_samples_of_a_file_are_not_averaged(tmp_path):
    """Two samples of class 0 move apart: their mean, and the objective of the class means, stay as they are."""
    problem, path = PROBLEMS["active"], tmp_path / "s.json"
    values = cbf_solution(problem, SOLUTIONS["active"], "sample")
    order = programme(problem, "sample").orders[0]
    first, second = (diagonal(order)[4 + i] for i in (0, 1))
    between = second - 1  # the entry of row 5 next to the diagonal
    values[[first, second]] += 1.0
    values[between] -= 1.0
    save_cbf_solution(path, problem, "sample", values)
    point = SolutionFile(path)(problem).point
    assert point.feature_gram.shape == (18, 18)
    row = case("active").judge(SolutionFile(path)(problem))
    assert row.verdict == "wrong"
    assert row.primal_violation < 1e-9  # feasible: the objective alone tells
    assert row.solver_primal_value > 1.01 * SOLUTIONS["active"].value

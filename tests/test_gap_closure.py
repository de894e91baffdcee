"""The gap of a strict relaxation is closed: recorded values, the proof redone, and faults that are refused."""

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import cvxpy as cp
import mpmath
import numpy as np
import pytest
from flint import arb, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from soft_targets import soft_targets, uneven

import ufm_convex as ufm
from ufm_convex import close_gap, positivity
from ufm_convex.errors import HypothesisError, ProblemError, SizeError
from ufm_convex.losses import Loss
from ufm_convex.positivity import Positivity


def confused(K, **keywords):
    """Balanced classes on a circle, each confused with either neighbour a quarter of the time."""
    columns = 0.5 * np.eye(K) + 0.25 * np.roll(np.eye(K), 1, axis=1) + 0.25 * np.roll(np.eye(K), -1, axis=1)
    decay = math.sqrt(0.05 * 20 * (K - 1) / (K * (20 * K) ** 2))
    return ufm.Problem([20] * K, decay, decay, loss=soft_targets(columns), **keywords)


def objective(problem, W, H):
    """f(W, H), written down independently."""
    logits, targets = W @ H.T, np.array(problem.loss.targets).T
    losses = np.log(np.exp(logits).sum(axis=0)) - (targets * logits).sum(axis=0)
    n = problem.class_counts
    penalty = problem.lambda_w * (W**2).sum() + problem.lambda_h * (n @ (H**2).sum(axis=1))
    return (n / n.sum()) @ losses + 0.5 * penalty


def best_of_starts(problem, starts, seed=0):
    """The least objective that SciPy finds from random starts."""
    K, d = problem.num_classes, 3 * problem.num_classes
    rng, bounds = np.random.default_rng(seed), [(None, None)] * (K * d) + [(0.0, None)] * (K * d)

    def f(flat):
        W, H = flat[: K * d].reshape(K, d), flat[K * d :].reshape(K, d)
        logits, targets, n = W @ H.T, np.array(problem.loss.targets).T, problem.class_counts
        shares = np.exp(logits - logits.max(axis=0))
        pull = (shares / shares.sum(axis=0) - targets) * (n / n.sum())
        gradients = pull @ H + problem.lambda_w * W, pull.T @ W + problem.lambda_h * n[:, None] * H
        return objective(problem, W, H), np.concatenate([g.ravel() for g in gradients])

    drawn = (np.concatenate([rng.normal(size=K * d), rng.random(K * d)]) for _ in range(starts))
    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-14}
    return min(minimize(f, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun for x in drawn)


@pytest.mark.parametrize(
    ("K", "relaxation", "optimum", "strict"),
    [(5, 1.454972, 1.461050, True), (6, 1.559357, 1.559357, False), (7, 1.631193, 1.634896, True)],
)
def test_the_natural_example(K, relaxation, optimum, strict):
    """Gaps of 6.1e-3 and 3.7e-3 for five and seven classes, none for six."""
    closed = close_gap(confused(K))
    assert closed.relaxation_lower == pytest.approx(relaxation, abs=1e-6)
    assert closed.lower_bound == pytest.approx(optimum, abs=1e-6)
    assert closed.upper_bound == pytest.approx(optimum, abs=1e-6)
    assert closed.lower_bound <= closed.upper_bound
    assert closed.relative_gap < 1e-7
    assert closed.relaxation_is_strict == strict
    assert closed.verdict == ("not completely positive" if strict else "completely positive")
    assert closed.gram.verdict is closed.verdict
    assert closed.H.min() >= 0.0
    assert objective(closed.problem, closed.W, closed.H) == pytest.approx(closed.upper_bound, rel=1e-14)
    assert str(closed).count("\n") == 3
    assert ("strict" in str(closed)) == strict


@dataclass(frozen=True)
class SquaredDistance(Loss):
    """½ ‖z − y_k‖² for any targets: a loss that the package does not know."""

    name: ClassVar[str] = "squared-distance"
    shift_invariant: ClassVar[bool] = False
    targets: tuple[tuple[float, ...], ...]

    def validate(self, num_classes):
        assert len(self.targets) == num_classes

    def parameters(self):
        return {"targets": [list(row) for row in self.targets]}

    def target_columns(self, num_outputs, rows):
        return np.array(self.targets).T[:, rows]

    def values(self, z, layout):
        return 0.5 * ((z - layout.target) ** 2).sum(axis=0)

    def residuals(self, z, layout):
        return z - layout.target

    def conjugate(self, v, layout):
        return (v * (0.5 * v + layout.target)).sum(axis=0)

    def into_domain(self, v, layout):
        return np.nan_to_num(v)

    def violation(self, v, layout):
        return 0.0

    def limit(self, v, layout):
        return np.full(v.shape[1], 1e6)

    def expression(self, z, layout):
        return 0.5 * cp.sum(cp.square(z - layout.target), axis=0)

    def enclose_value(self, z, column):
        pairs = zip(z, self.targets[column.row], strict=True)
        return sum(((entry - arb(y)) ** 2 / 2 for entry, y in pairs), arb(0))

    def enclose_conjugate(self, v, column):
        pairs = zip(v, self.targets[column.row], strict=True)
        return sum((arb(v * (v / 2 + fmpq(*y.as_integer_ratio()))) for v, y in pairs), arb(0))


def constructed():
    """Squared distance to targets for which 2 B₀, doubly non-negative of rank 3, is the relaxation's optimum.

    R₀ = cos(4π(i − j)/5) has R₀ B₀ = 0, and T₀ = 1 at distance two, where B₀ is 0: so G = λ²(I − .3 R₀ − .3 T₀),
    U = √G and L = −2 U B₀/λ satisfy all conditions, with targets L − U/pt.
    """
    steps, decay = np.arange(5)[:, None] - np.arange(5), 0.05
    B = 1 - np.cos(2 * np.pi * steps / 5) / np.cos(4 * np.pi / 5)
    T = np.isin(np.abs(steps), [2, 3]).astype(float)
    values, vectors = np.linalg.eigh(decay**2 * (np.eye(5) - 0.3 * np.cos(4 * np.pi * steps / 5) - 0.3 * T))
    U = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    targets = -2 * U @ B / decay - 5 * U
    return ufm.Problem([1] * 5, decay, decay, loss=SquaredDistance(tuple(map(tuple, targets.T.tolist()))))


def test_a_constructed_example_with_a_loss_of_its_own():
    """1.13991 for the relaxation, 1.17603 for the best factors known."""
    closed = close_gap(constructed())
    assert closed.relaxation_lower == pytest.approx(1.13991, abs=1e-5)
    assert closed.upper_bound == pytest.approx(1.17603, abs=1e-5)
    assert closed.relative_gap < 1e-7
    assert closed.relaxation_is_strict
    assert closed.gram.verdict is Positivity.NOT_COMPLETELY_POSITIVE


def test_no_start_ends_below_the_raised_bound():
    closed = close_gap(confused(5))
    found = best_of_starts(closed.problem, 12)
    assert closed.lower_bound <= found
    assert found == pytest.approx(closed.upper_bound, rel=1e-6)


def determinant(matrix):
    """By elimination, in fractions."""
    rows, value = [list(row) for row in matrix], Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != k:
            rows[k], rows[pivot], value = rows[pivot], rows[k], -value
        value *= rows[k][k]
        for i in range(k + 1, len(rows)):
            ratio = rows[i][k] / rows[k][k]
            rows[i] = [a - ratio * b for a, b in zip(rows[i], rows[k], strict=True)]
    return value


def copositive(matrix):
    """Keller's criterion, as in Cottle, Habetler, Lemke 1970, in fractions: another one than the library's.

    Some principal block has a negative determinant and non-negative cofactors in its last row iff it is not copositive.
    """
    K = len(matrix)
    for size in range(1, K + 1):
        for support in itertools.combinations(range(K), size):
            block = [[matrix[k][l] for l in support] for k in support]  # noqa: E741
            if determinant(block) >= 0:
                continue
            minors = [
                determinant([row[:j] + row[j + 1 :] for i, row in enumerate(block) if i != size - 1])
                for j in range(size)
            ]
            if all((-1) ** (size - 1 + j) * minor >= 0 for j, minor in enumerate(minors)):
                return False
    return True


def test_the_proof_of_the_raised_bound_can_be_redone_in_fractions():
    closed = close_gap(confused(5))
    problem, proof = closed.problem, closed.lower.exact_point
    N, n, lambdas = 100, 20, Fraction(problem.lambda_w) * Fraction(problem.lambda_h)
    V = [[x * Fraction(2) ** e for x in column] for column, e in zip(proof.columns, proof.exponents, strict=True)]
    for k, column in enumerate(V):
        column[k] = -sum(x for j, x in enumerate(column) if j != k)  # p and the target both sum to one
    share = Fraction(n, N)
    slack = [[-(share**2) * sum(x * y for x, y in zip(v, w, strict=True)) for w in V] for v in V]
    for k in range(5):
        slack[k][k] += lambdas * n
    assert copositive(slack)
    with mpmath.workdps(40):
        value = mpmath.mpf(0)
        for k, column in enumerate(V):
            p = [x + Fraction(y) for x, y in zip(column, problem.loss.targets[k], strict=True)]
            assert min(p) >= 0
            assert sum(p) == 1
            value -= (
                mpmath.mpf(share.numerator)
                / share.denominator
                * sum(
                    mpmath.mpf(q.numerator) / q.denominator * mpmath.log(mpmath.mpf(q.numerator) / q.denominator)
                    for q in p
                )
            )
        assert closed.lower_bound <= value
        assert float(value) == pytest.approx(closed.lower_bound, rel=1e-15)
    # and it needs copositivity: the slack has negative eigenvalues that no T makes up for at this value
    as_floats = np.array([[float(entry) for entry in row] for row in slack])
    assert np.linalg.eigvalsh(as_floats)[0] < -0.1 * as_floats.max()


def test_the_check_of_the_proof_refuses_a_lower_slack():
    horn = [[1, -1, 1, 1, -1], [-1, 1, -1, 1, 1], [1, -1, 1, -1, 1], [1, 1, -1, 1, -1], [-1, 1, 1, -1, 1]]
    exact = [[Fraction(entry) for entry in row] for row in horn]
    assert copositive(exact)
    exact[0][0] -= Fraction(1, 1000)
    assert not copositive(exact)


def test_the_slack_separates_the_relaxations_gram_matrix():
    """<D − G, B> < 0 although D − G is copositive: the identity says that B is not completely positive."""
    closed = close_gap(confused(7))
    U = closed.residuals * closed.problem.loss_weights
    slack = np.diag(closed.problem.sigma**2) - U.T @ U
    B = closed.relaxation.run.point.feature_gram
    gap = closed.relaxation_lower - closed.upper_bound
    # F(Z) − dual value = calibration + alignment + <D − G, B>/(2 λ_W), and the first two are ≥ 0
    assert (slack * B).sum() / (2 * closed.problem.lambda_w) <= gap + 1e-6


@settings(max_examples=4)
@given(st.integers(5, 6), st.integers(0, 10**4))
def test_bounds_of_uneven_problems_meet_and_lie_below_every_start(K, seed):
    closed = close_gap(uneven(K, seed))
    assert closed.relaxation_lower <= closed.lower_bound <= closed.upper_bound
    assert closed.relaxation_lower <= closed.relaxation_upper
    assert closed.relative_gap <= 1e-6
    assert closed.lower_bound <= best_of_starts(closed.problem, 2, seed)
    assert closed.relaxation_upper <= closed.upper_bound


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_more_uneven_problems(seed):
    closed = close_gap(uneven(5 + seed % 5, seed))
    assert closed.relative_gap <= 1e-6
    assert closed.lower_bound <= best_of_starts(closed.problem, 5, seed)


def test_a_solution_may_be_given_and_its_better_bounds_are_kept():
    solution = ufm.solve(confused(5), solver="factored")
    closed = close_gap(solution)
    assert closed.upper_bound <= solution.upper_bound
    assert closed.lower_bound >= solution.lower_bound
    assert closed.relative_gap < 1e-7


def test_what_is_closed_already_stays_closed():
    closed = close_gap(ufm.Problem([50, 20, 10, 5, 3], 0.01, 0.01))
    assert closed.lower.proof == "diagonal"
    assert closed.verdict is Positivity.COMPLETELY_POSITIVE
    assert not closed.relaxation_is_strict


def test_fewer_dimensions_leave_the_lower_bound_of_all():
    closed = close_gap(confused(5, feature_dim=4))
    assert closed.W.shape == closed.H.shape == (5, 4)
    assert closed.lower_bound == pytest.approx(1.461050, abs=1e-6)
    assert closed.upper_bound > closed.lower_bound + 1e-3
    assert objective(closed.problem, closed.W, closed.H) == pytest.approx(closed.upper_bound, rel=1e-14)


@pytest.mark.parametrize("decay", [1e-150, 1e-12, 1e6])
def test_absurd_decays_give_bounds_and_no_claim_about_noise(decay):
    """All classes collapse, or the solver breaks down: what is left of B is noise, and not judged."""
    problem = ufm.Problem([20] * 5, decay, decay, loss=confused(5).loss)
    closed = close_gap(problem)
    assert closed.lower_bound <= closed.upper_bound
    assert closed.verdict is not Positivity.NOT_COMPLETELY_POSITIVE
    if decay == 1e6:
        assert closed.relative_gap < 1e-12
        assert not closed.gram.gram.any()


# -- planted faults -------------------------------------------------------------------------------------------------


def test_residuals_without_a_copositive_slack_prove_nothing_or_are_shrunk():
    problem = confused(5)
    closed = close_gap(problem)
    for factor in (1.001, 1.02, 1.5):
        bound = positivity.copositive_lower_bound(problem, factor * closed.residuals)
        assert bound.value <= closed.upper_bound
    assert positivity.copositive_lower_bound(problem, 1.5 * closed.residuals).value == -math.inf
    assert positivity.copositive_lower_bound(problem, np.full((5, 5), np.nan)).value == -math.inf


def test_without_the_check_of_copositivity_the_bound_would_be_false(monkeypatch):
    """The planted fault: a prover that believes everything puts the bound above the optimum."""
    problem = confused(5)
    closed = close_gap(problem)
    monkeypatch.setattr("ufm_convex.positivity.bounds.copositivity_proof", lambda rows: "believed")
    monkeypatch.setattr("ufm_convex.positivity.bounds.lowest_direction", lambda matrix: (0.0, None))
    assert positivity.copositive_lower_bound(problem, 1.02 * closed.residuals).value > closed.upper_bound


@pytest.mark.parametrize("excess", [1e-6, 1e-4, 2e-2])
def test_a_hint_that_lies_makes_no_bound_false(monkeypatch, excess):
    """Planted fault: with the least form said to be 0, all that shrinks the residuals is the proof in integers.

    The dual value grows with the length of V, so V believed as it is would put the bound above the optimum, as above.
    """
    problem = confused(5)
    closed = close_gap(problem)
    assert closed.gap < 1e-2 * excess  # what is left of the gap must not hide it
    monkeypatch.setattr("ufm_convex.positivity.bounds.lowest_direction", lambda matrix: (0.0, None))
    bound = positivity.copositive_lower_bound(problem, (1.0 + excess) * closed.residuals)
    assert closed.upper_bound - 4.0 * excess < bound.value <= closed.upper_bound


def test_a_verdict_on_the_solvers_matrix_alone_is_none_on_the_optima():
    """Bounds that do not separate the two optima leave a Gram matrix that may be a solver's error."""
    closed = close_gap(confused(5))
    apart = replace(closed, relaxation_upper=closed.lower_bound, tolerance=0.1)
    assert apart.gram.verdict is Positivity.NOT_COMPLETELY_POSITIVE
    assert not apart.relaxation_is_strict
    assert apart.verdict is Positivity.UNDECIDED


def test_a_point_with_an_obtuse_angle_is_no_point_of_the_relaxation():
    problem = confused(5)
    M = np.eye(5)
    assert positivity.relaxation_upper_bound(problem, 0.1 * np.eye(5), M).value < math.inf
    M[0, 1] = -1e-12
    assert positivity.relaxation_upper_bound(problem, 0.1 * np.eye(5), M).value == math.inf


def test_a_copositive_slack_is_of_no_use_to_free_features():
    problem = confused(5)
    free = ufm.Problem(problem.class_counts, problem.lambda_w, problem.lambda_h, loss=problem.loss, features="free")
    assert positivity.copositive_lower_bound(free, close_gap(problem).residuals).value == -math.inf


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (None, ProblemError),
        ([5, 4, 3], ProblemError),
        (ufm.Problem([5] * 5, 0.01, 0.01, features="free"), HypothesisError),
        (ufm.Problem([5] * 21, 0.01, 0.01), SizeError),
        (ufm.Problem([5] * 1000, 0.01, 0.01), SizeError),
    ],
)
def test_what_it_needs_is_named(problem, error):
    with pytest.raises(error, match="Expected"):
        close_gap(problem)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-6, math.nan, True, "1e-6"])
def test_what_is_no_tolerance_is_named(tolerance):
    with pytest.raises(ProblemError, match="tolerance"):
        close_gap(confused(3), tolerance=tolerance)


@pytest.mark.parametrize("options", [{"bias": "free"}, {"bias": 0.1}])
def test_a_bias_has_no_copositive_slack_here(options):
    """The dual value of a bias has a term of its own, which the bound would leave out."""
    problem = ufm.Problem([5, 4, 3, 2, 1], 0.01, 0.01, **options)
    with pytest.raises(HypothesisError, match="the problem has a bias"):
        close_gap(problem)

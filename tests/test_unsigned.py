"""Sigmoids on many different classes: the optimum over features of either sign, turned into the orthant."""

from __future__ import annotations

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex import duality, relaxation, solvers
from ufm_convex.errors import HypothesisError, ProblemError
from ufm_convex.problem import Problem
from ufm_convex.recovery import restored
from ufm_convex.recovery.starts import singular
from ufm_convex.solvers.unsigned import UnsignedSolver, turned

K = 30


def sigmoids(size: int = K, **given: object) -> Problem:
    return Problem(np.arange(1, size + 1) ** 2, 1e-3, 1e-3, loss=ufm.BinaryCrossEntropy(), **given)  # type: ignore[arg-type]


def test_turning_keeps_logits_and_norms() -> None:
    generator = np.random.default_rng(0)
    W, H = generator.normal(size=(6, 4)), generator.normal(size=(5, 4))
    w, h = turned(W, H)
    np.testing.assert_allclose(w @ h.T, W @ H.T, atol=1e-12)
    np.testing.assert_allclose(h @ h.T, H @ H.T, atol=1e-12)
    np.testing.assert_allclose(h, h.T, atol=1e-12)
    assert np.linalg.norm(w) <= np.linalg.norm(W) * (1.0 + 1e-12)  # what no feature sees is dropped


def test_many_sigmoids_are_certified_at_the_first_run() -> None:
    """At an optimum that features of either sign cannot undercut, by a proof that knows nothing of this solver."""
    problem = sigmoids()
    solution = ufm.solve(problem)
    assert (solution.solver, solution.status, len(solution.route)) == ("unsigned", ufm.Status.CERTIFIED, 1)
    assert (solution.factors()[1] >= 0.0).all()
    free = ufm.solve(sigmoids(features="free"))
    assert free.lower_bound <= solution.upper_bound <= free.upper_bound * (1.0 + 1e-6)
    # and by another route: several thousand steps from an orthogonal frame
    frame = ufm.solve(problem, solver="frame")
    assert frame.lower_bound <= solution.upper_bound
    assert solution.lower_bound <= frame.upper_bound


def test_where_the_square_root_has_negative_entries_the_bounds_still_hold() -> None:
    """Squared error: free features of different classes are orthogonal, and rounding leaves entries of either sign."""
    problem = Problem([40, 20, 10, 5], 1e-3, 1e-3, loss=ufm.MeanSquaredError(), bias=0.1)
    solution = ufm.solve(problem, solver="unsigned")
    other = ufm.solve(problem, solver="clarabel")
    assert solution.lower_bound <= other.upper_bound
    assert other.lower_bound <= solution.upper_bound
    assert (solution.factors()[1] >= 0.0).all()


@pytest.mark.parametrize(
    ("problem", "suits"),
    [
        (sigmoids(25), True),
        (sigmoids(24), False),
        (sigmoids(features="free"), False),
        (sigmoids(bias="free"), False),
        (sigmoids(feature_dim=3), False),
        (Problem([7] * 15 + [9] * 15, 1e-3, 1e-3, loss=ufm.BinaryCrossEntropy()), False),  # groups are cheaper
        (Problem(range(1, 31), 1e-3, 1e-3, loss=ufm.MeanSquaredError()), False),  # −∇l(0) at right angles
        (Problem(range(1, 31), 1e-3, 1e-3), False),
    ],
)
def test_when_auto_takes_it(problem: Problem, suits: bool) -> None:
    assert (UnsignedSolver().suits(problem, "auto") is not None) is suits
    assert UnsignedSolver().suits(problem, "class") is None


def test_what_it_has_no_form_for_is_refused() -> None:
    for problem in (sigmoids(features="free"), sigmoids(feature_dim=3)):
        with pytest.raises(HypothesisError, match="features is"):
            ufm.solve(problem, solver="unsigned")
    with pytest.raises(ProblemError, match="option"):
        ufm.solve(sigmoids(), solver="unsigned", options={"starts": 2})


def test_no_multiplier_is_a_multiplier() -> None:
    """The repair tries T = 0: where B has no zero, no other is right; what cancels −G leaves a gap."""
    problem = sigmoids()
    run = next(solvers.solver("unsigned").runs(problem, "class", 1e-6, {}))
    columns = relaxation.of_classes(problem)
    assert run.point is not None
    assert (run.point.feature_gram > 0.0).all()
    _, value = duality.repair(columns, [relaxation.Dual.mean(columns, run.dual)])
    assert value == pytest.approx(run.value, rel=1e-6)


# -- what it takes of its neighbours --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_restored_residuals_are_feasible_and_bound_from_below(seed: int) -> None:
    """At random factors, far from any optimum: ‖U D^(-1/2)‖ ≤ 1, and a bound of the optimum."""
    problem = sigmoids(12, features="free")
    columns, generator = relaxation.of_classes(problem), np.random.default_rng(seed)
    d = relaxation.Orbits.single(12)
    W, H = generator.normal(size=(2, 12, 12))
    factors = relaxation.Factors(
        relaxation.Alike.matrix(columns.outputs, d, W), relaxation.Alike.matrix(columns.columns, d, H), None
    )
    V = restored(columns, factors.logits, factors.bias)
    norm = np.linalg.norm(relaxation.scaled_residuals(columns, V).even, 2)
    assert norm <= 1.0 + 1e-12  # rounding of an eigenvalue
    assert relaxation.dual_value(columns, V) <= ufm.solve(problem).upper_bound * (1.0 + 1e-12)


def test_a_long_descent_stops_where_its_residuals_promise_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 150 classes on; what it promises is proved, in fewer steps than a small gradient takes."""
    problem = Problem(np.arange(20, 170), 1e-5, 1e-5, features="free")
    early = ufm.solve(problem, solver="factored", tolerance=1e-4)
    assert early.status is ufm.Status.CERTIFIED
    monkeypatch.setattr("ufm_convex.solvers.factored._LONG", 151)
    late = ufm.solve(problem, solver="factored", tolerance=1e-4)
    assert early.evidence.run.iterations < late.evidence.run.iterations
    assert late.lower_bound <= early.upper_bound
    assert early.lower_bound <= late.upper_bound


@pytest.mark.parametrize("lengths", [[3.0, 0.0, 1.0], [2.0, -1.0, 1.0]])
def test_the_decomposition_of_a_frame_is_one(lengths: list[float]) -> None:
    """Of a diagonal with no negative entry at no cost; any other block goes to LAPACK."""
    for block in (np.diag(lengths), np.diag(lengths) + np.eye(3)[::-1]):
        left, values, right = singular(block)
        np.testing.assert_allclose((left * values) @ right, block, atol=1e-14)
        np.testing.assert_allclose(np.sort(values), np.sort(np.linalg.svd(block, compute_uv=False)), atol=1e-14)
        np.testing.assert_allclose(left.T @ left, np.eye(3), atol=1e-14)

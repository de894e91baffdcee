"""The solvers under test: each states what it returns and claims, is right where it should be, and caught where not."""

import importlib
import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from benchmarks import textbook

import ufm_convex as ufm
from ufm_convex import relaxation, theory
from ufm_convex.crosscheck import Answer
from ufm_convex.crosscheck.registry import available, contestant
from ufm_convex.crosscheck.textbook import Textbook
from ufm_convex.problem import Problem
from ufm_convex.problem.constraints import HardMargin, LayerPeeled
from ufm_convex.relaxation import levels
from ufm_convex.solvers import Claim

PROBLEM = Problem([40, 20, 8, 2], 0.02, 0.01)
VALUE = theory.optimum(PROBLEM).value
PIP = "is not installed: pip install 'ufm-convex[crosscheck]'"
TARGETS = tuple(tuple(0.9 * (k == j) + 0.1 * (j == (k + 1) % 3) for j in range(3)) for k in range(3))
FAMILY = {
    "plain": PROBLEM,
    "free": Problem([40, 20, 8], 0.02, 0.01, features="free"),
    "weights and smoothing": Problem(
        [40, 20, 8], 5e-3, 1e-2, loss=ufm.CrossEntropy(class_weights=(0.5, 1.0, 2.0), smoothing=0.1)
    ),
    "soft targets": Problem([9, 5, 3], 0.02, 0.01, loss=ufm.SoftTargetCrossEntropy(TARGETS)),
}
NATIVE = ["cvxopt", "qics"]
"""Contestants without cvxpy: matrices are put together by hand."""
OPTIONAL = {"copt": "coptpy", "cvxopt": "cvxopt", "qics": "qics", "torch": "torch"}


def needs(name):
    if importlib.util.find_spec(OPTIONAL[name]) is None:
        pytest.skip(f"{OPTIONAL[name]} {PIP}")


def row_of(solver, problem=PROBLEM, **options):
    return ufm.cross_check(problem, [solver], **options).rows[0]


def test_every_contestant_says_what_it_returns_and_claims():
    assert set(available()) >= {"clarabel", "cvxpy-default", "lbfgsb", "projected_gradient", "scs", *OPTIONAL}
    for name, kind in available().items():
        assert kind.returns in ("factors", "gram and dual"), name
        assert kind.claims.startswith("optimal: "), name
        assert "class" in kind.levels, name
        assert kind.package == OPTIONAL.get(name, kind.package), name


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_one_that_is_not_installed_is_named_with_its_package(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ufm.errors.SolverNotInstalledError, match=f"solver '{name}' is not installed") as refusal:
        ufm.cross_check(PROBLEM, [name])
    assert f"pip install {OPTIONAL[name]}" in str(refusal.value)


@pytest.mark.parametrize("case", FAMILY)
@pytest.mark.parametrize("name", NATIVE)
def test_native_interior_points_are_right_and_leave_what_they_declare(name, case):
    needs(name)
    answer = contestant(name).answer(FAMILY[case], 1e-6, 60.0)
    assert answer.claim is Claim.OPTIMAL, answer.message
    row = row_of(name, FAMILY[case])
    assert row.verdict == "right", row.reason
    assert row.dual_gap is not None
    # both points are close to feasible as they are, unrepaired: the units and signs of the multipliers are right
    assert row.dual_violation < 1e-5
    assert max(abs(error) for error in vars(row.dimacs).values()) < 1e-5


@pytest.mark.parametrize("name", [*NATIVE, pytest.param("torch", marks=pytest.mark.slow)])
def test_other_losses_are_refused_by_name(name):
    needs(name)
    row = row_of(name, Problem([9, 5, 3], 0.1, 0.1, loss=ufm.MeanSquaredError()))
    assert row.verdict == "failed"
    assert row.reason == "refused: loss 'mean-squared-error' is not written for this solver."


@pytest.mark.parametrize("name", [*NATIVE, pytest.param("torch", marks=pytest.mark.slow)])
def test_a_contestant_fed_with_wrong_targets_is_caught(name, monkeypatch):
    """The fault: the targets of two classes are exchanged on the way to the solver."""
    needs(name)
    home = "scaled" if name != "torch" else "torch"
    module = importlib.import_module(f"ufm_convex.crosscheck.{home}")
    monkeypatch.setattr(module, "targets", lambda loss, K, rows: np.eye(K)[:, [1, 0, *range(2, K)]][:, rows])
    found = row_of(name)
    # Torch claims no optimum: the projected gradient of the problem it was asked for does not vanish
    assert found.verdict in (("inaccurate",) if name == "torch" else ("wrong", "overclaims"))
    assert found.certified_gap > 0.1


def test_a_multiplier_of_the_wrong_size_is_caught(monkeypatch):
    """The fault: θ is taken for T/(2 λ_W) where a listed pair stands for two entries, so that S_B is off by as much."""
    needs("cvxopt")
    from ufm_convex.crosscheck.scaled import ScaledClasses

    right = ScaledClasses.nonnegativity
    monkeypatch.setattr(ScaledClasses, "nonnegativity", lambda self, theta: 2.0 * right(self, theta))
    assert row_of("cvxopt").verdict == "wrong"


@pytest.mark.slow
def test_torch_is_right_where_there_are_no_spurious_minima():
    needs("torch")
    free = Problem([20] * 4, 5e-3, 5e-3, features="free")
    assert row_of("torch", free).verdict == "right"


@pytest.mark.slow  # importing PyTorch alone takes seconds
def test_torch_is_caught_in_a_spurious_minimum(monkeypatch):
    needs("torch")
    from ufm_convex.crosscheck import torch

    monkeypatch.setattr(torch, "_STEPS", 200)  # L-BFGS does the rest
    dead = row_of("torch", Problem([7, 3], 1e-2, 1e-2))  # its start leaves a class dead
    assert (dead.verdict, dead.status_claimed) == ("wrong", "optimal")
    assert dead.primal_gap > 0.1


@pytest.mark.slow
def test_torch_stops_at_its_deadline(monkeypatch):
    needs("torch")
    from ufm_convex.crosscheck import torch

    monkeypatch.setattr(torch, "_STEPS", 10**9)
    row = row_of("torch", time_limit=40.0)  # half of it, of which the import may take some
    assert row.primal_gap is not None, row.reason  # it left its last point before it was ended


# -- cvxpy as a user writes it -------------------------------------------------------------------------------------


def test_the_textbook_programme_has_the_certified_optimum_and_dual():
    import cvxpy as cp

    stated = Textbook.of(PROBLEM)
    stated.programme.solve(solver=cp.CLARABEL)
    assert stated.programme.value == pytest.approx(VALUE, rel=1e-7)  # interior point at 1e-8
    row = row_of(lambda _: Answer(Claim.OPTIMAL, point=stated.point(), dual=stated.dual()))
    assert row.verdict == "right", row.reason
    assert row.dual_violation < 1e-6


def test_the_default_is_the_solver_without_a_licence(monkeypatch):
    import cvxpy as cp

    # put back what the contestant changes; the oldest cvxpy has no such setting
    monkeypatch.setattr(cp.settings, "DEFAULT_TO_COMMERCIAL_SOLVERS", True, raising=False)
    answer = contestant("cvxpy-default").answer(PROBLEM, 1e-6, 60.0)
    assert answer.message == "optimal, SCS"
    assert answer.dual_value is not None


def test_the_default_is_caught_where_it_is_off():
    """λ_W/λ_H = 1e8: what SCS stops at is off in every digit when the programme is not scaled."""
    row = row_of("cvxpy-default", Problem([30, 20, 10], 1e2, 1e-6))
    assert row.verdict in ("wrong", "overclaims")
    assert row.certified_gap > 1e-3


def test_a_textbook_solver_on_another_programme_is_caught(monkeypatch):
    """The fault: the solver gets the programme without B ≥ 0, as when rows are lost between the layers."""
    import cvxpy as cp

    def solve(self, programme):
        psd, _ = programme.constraints
        cp.Problem(programme.objective, [psd]).solve(solver=cp.CLARABEL)
        programme.solve = None
        programme._status, programme._value = "optimal", programme.objective.value

    monkeypatch.setattr(available()["cvxpy-default"], "solve", solve)
    row = row_of("cvxpy-default")
    assert row.verdict == "overclaims"
    assert row.value < 0.99 * VALUE


def test_copt_with_exponential_cones_is_right_or_caught():
    """cvxpy#3391 may be mended one day; until then what comes back must not pass."""
    needs("copt")
    for problem in (PROBLEM, Problem([7, 3], 0.1, 0.1)):
        row, optimum = row_of("copt", problem), ufm.solve(problem).value
        if row.verdict == "right":
            assert row.value == pytest.approx(optimum, rel=1e-6)
        else:
            assert row.verdict != "inaccurate"
            assert row.value is None or abs(row.value / optimum - 1.0) > 1e-6


def test_copt_is_right_on_the_hard_margin():
    needs("copt")
    row = row_of("copt", Problem([5, 3, 2], 0.1, 0.1, constraint=HardMargin()))
    assert row.verdict == "right", row.reason


def test_copt_on_the_hinge_is_right_or_caught():
    """It says optimal, with multipliers that are infeasible by far; its value may be right all the same."""
    needs("copt")
    row = row_of("copt", Problem([5, 3, 2], 0.1, 0.1, loss=ufm.MulticlassHinge()))
    assert row.verdict == "right" or (row.verdict == "wrong" and row.dual_violation > 1e-3)


def test_descents_and_native_solvers_refuse_an_indicator():
    for name in ("lbfgsb", *NATIVE):
        if name in OPTIONAL:
            needs(name)
        assert row_of(name, Problem([5, 3, 2], 0.1, 0.1, constraint=HardMargin())).verdict == "failed"


def test_a_claim_that_there_is_no_optimum_is_wrong():
    for claim in (Claim.UNBOUNDED, Claim.INFEASIBLE):
        row = row_of(lambda _, claim=claim: Answer(claim))
        assert (row.verdict, row.status_claimed) == ("wrong", str(claim))
        assert "has an optimum" in row.reason
    assert row_of(lambda _: Answer(Claim.STOPPED)).verdict == "failed"


# -- levels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["group", "sample"])
def test_conic_solvers_are_right_at_every_level(level):
    assert row_of("clarabel", Problem([6, 6, 3], 0.02, 0.02), level=level).verdict == "right"


def test_descents_at_sample_level_answer_with_class_means():
    problem = Problem([4, 3], 5e-2, 5e-2, features="free")
    answer = contestant("lbfgsb", "sample").answer(problem, 1e-6, 60.0)
    assert answer.factors[1].shape == (2, 2)
    assert row_of("lbfgsb", problem, level="sample").verdict == "right"


def test_a_level_that_is_missing_fails_and_one_that_is_none_is_refused():
    row = row_of("cvxpy-default", level="sample")
    assert (row.verdict, row.reason) == ("failed", "has no level 'sample', only class")
    with pytest.raises(ufm.errors.UnknownNameError, match="'nonsense'"):
        row_of("clarabel", level="nonsense")


def test_a_sample_level_that_forgets_a_sample_is_caught(monkeypatch):
    """The fault: the last sample's loss counts nothing, so the value is too small."""
    right = relaxation.level("sample")

    def forgetful(problem):
        columns = right.make(problem)
        weights = columns.loss_weights.copy()
        weights[-1] = 1e-9
        return replace(columns, loss_weights=weights)

    monkeypatch.setitem(levels.LEVELS, "sample", replace(right, make=forgetful))
    assert row_of("clarabel", Problem([3, 2], 0.02, 0.02), level="sample").verdict in ("wrong", "overclaims")


# -- norm balls instead of decays ----------------------------------------------------------------------------------

COUNTS = [50, 20, 5, 2]


@pytest.mark.parametrize("radii", [(1.0, 1.0), (1.0, 5.0), (3.0, 3.0)])
def test_the_closed_form_of_the_layer_peeled_programme_is_its_optimum(radii):
    import cvxpy as cp

    programme = textbook.layer_peeled_programme(COUNTS, *radii)
    programme.solve(solver=cp.CLARABEL)
    # interior point at 1e-8, absolute where the value is below 1
    assert programme.value == pytest.approx(textbook.layer_peeled_optimum(COUNTS, *radii), abs=1e-7)
    assert abs(programme.value - textbook.layer_peeled_optimum(COUNTS, 1.01 * radii[0], radii[1])) > 1e-5  # a fault
    certified = ufm.solve(Problem(COUNTS, constraint=LayerPeeled(*radii)), tolerance=1e-9)
    found = textbook.layer_peeled_optimum(COUNTS, *radii)
    assert certified.lower_bound * (1 - 1e-12) <= found <= certified.upper_bound * (1 + 1e-12)  # few roundings


def test_the_closed_form_of_the_balanced_layer_peeled_programme():
    """A simplex of equal margins M = √(E_W E_H K/(K−1)), so the loss is log(1 + (K−1) e^{−M})."""
    K, weight_norm, feature_norm = 7, 2.0, 3.0
    margin = np.sqrt(weight_norm * feature_norm * K / (K - 1))
    expected = np.log1p((K - 1) * np.exp(-margin))
    found = textbook.layer_peeled_optimum([4] * K, weight_norm, feature_norm)
    assert found == pytest.approx(expected, rel=1e-13)  # a bisection to the last bit, and a dozen roundings

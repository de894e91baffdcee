"""Solvers on a problem with a bias: who takes one, who says that it does not, and answers with a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.crosscheck import base, cross_check
from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers import Claim

COUNTS = [9, 5, 3]


def problem(bias, features="nonnegative"):
    return ufm.Problem(COUNTS, 0.02, 0.03, bias=bias, features=features)


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("bias", ["free", 0.05])
def test_solvers_that_take_a_bias_are_right(bias, features):
    found = cross_check(problem(bias, features), ["clarabel", "scs", "lbfgsb", "projected_gradient"])
    assert [(row.solver, row.verdict) for row in found.rows] == [
        (name, "right") for name in ("clarabel", "scs", "lbfgsb", "projected_gradient")
    ]
    assert all(row.dimacs is not None and abs(row.dimacs.err5) <= 1e-6 for row in found.rows[:2])


@pytest.mark.parametrize("bias", ["free", 0.05])
def test_the_programme_of_the_papers_has_the_bias(bias):
    """With cvxpy's default the optimum is met as nearly as that solver's own accuracy lets it."""
    row = cross_check(problem(bias, "free"), ["cvxpy-default"], tolerance=1e-3).rows[0]
    assert row.verdict == "right"
    assert row.value == pytest.approx(ufm.solve(problem(bias, "free")).value, rel=1e-3)


@pytest.mark.parametrize("name", ["torch", "qics", "cvxopt"])
def test_solvers_without_a_form_for_it_say_so(name):
    kind = next(c for c in _contestants() if c.name == name)
    answer = kind().answer(problem("free"), 1e-6, 1.0)
    assert answer.claim is Claim.FAILED
    assert answer.message == "is not written for problems with a bias"


def _contestants():
    from ufm_convex.crosscheck.registry import available

    return available().values()


def test_every_contestant_says_whether_it_takes_a_bias():
    taking = {kind.name for kind in _contestants() if kind.biased}
    assert taking == {"clarabel", "scs", "cvxpy-default", "copt", "lbfgsb", "projected_gradient"}
    assert not base.Contestant.biased


def answers(bias, change):
    """A callable that returns W, H and what ``change`` makes of the best bias."""
    solution = ufm.solve(problem(bias), tolerance=1e-9)

    def mine(_):
        W, H = solution.factors()
        b = change(solution.bias)
        return (W, H) if b is None else (W, H, b)

    def gram(_):
        return GramPoint.from_factors(*solution.factors(), change(solution.bias))

    return mine, gram


@pytest.mark.parametrize("bias", ["free", 0.05])
@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda b: b, "right"),
        (lambda b: None, "wrong"),
        (lambda b: 2.0 * b, "wrong"),
        (lambda b: b[[1, 2, 0]], "wrong"),
        (lambda b: b[:2], "failed"),
        (lambda b: b * np.nan, "failed"),
    ],
    ids=["as it is", "dropped", "twice", "permuted", "too short", "NaN"],
)
def test_a_bias_is_judged_as_it_stands(bias, change, verdict):
    rows = cross_check(problem(bias), list(answers(bias, change))).rows
    assert [row.verdict for row in rows] == [verdict, verdict], [row.reason for row in rows]


def test_a_shift_that_only_the_penalty_sees_is_wrong_where_there_is_one():
    for bias, verdict in (("free", "right"), (0.05, "wrong")):
        rows = cross_check(problem(bias), list(answers(bias, lambda b: b + 0.5))).rows
        assert [row.verdict for row in rows] == [verdict, verdict]


def test_a_bias_that_the_problem_has_not_is_no_answer():
    plain = ufm.Problem(COUNTS, 0.02, 0.03)
    solution = ufm.solve(plain)

    def factors(_):
        return (*solution.factors(), np.zeros(3))

    def gram(_):
        return GramPoint.from_factors(*solution.factors(), np.zeros(3))

    rows = cross_check(plain, [factors, gram]).rows
    assert [row.verdict for row in rows] == ["failed", "failed"]
    assert all("a bias, and the problem has none" in row.reason for row in rows)


def test_a_dual_point_whose_sums_are_not_zero_is_no_dual_point_beside_a_free_bias():
    """The dual optimum without a bias: its value lies above the optimum with one, and U1 is not 0."""
    without = ufm.solve(ufm.Problem(COUNTS, 0.02, 0.03)).dual.dense(ufm.Problem(COUNTS, 0.02, 0.03))
    own = ufm.solve(problem("free"), tolerance=1e-9).dual

    def wrong(_):
        return DualPoint(without.residuals, without.nonnegativity)

    def right(_):
        return own

    rows = cross_check(problem("free"), [wrong, right]).rows
    assert [row.verdict for row in rows] == ["wrong", "right"]
    assert rows[0].dual_violation > 1e-2

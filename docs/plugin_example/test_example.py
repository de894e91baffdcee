"""Each plug-in is found by its name, does its work, and is believed no more than it should be."""

import json

import pytest
from typer.testing import CliRunner
from ufm_convex_example.loss import Huber

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.cli import application
from ufm_convex.crosscheck import available
from ufm_convex.testing import assert_loss_is_consistent

COUNTS, DECAY = [60, 20, 5], 0.02
PROBLEM = ufm.Problem(COUNTS, DECAY, DECAY, loss=Huber())
SQUARED = ufm.Problem(COUNTS, DECAY, DECAY, loss=ufm.MeanSquaredError())


def test_the_loss_is_what_it_says():
    assert_loss_is_consistent(Huber(), num_classes=4)
    assert_loss_is_consistent(Huber(threshold=0.3), num_classes=3)


@pytest.mark.parametrize("solver", ["auto", "clarabel", "example-descent"])
def test_a_loss_of_another_package_is_bounded_at_most(solver):
    found = ufm.solve(PROBLEM, solver=solver)
    assert found.relative_gap <= 1e-6
    assert found.status == "bounded"
    assert "of another package" in found.route[-1]
    assert found.lower_bound <= theory.optimum(SQUARED).value * (1 + 1e-12)  # of a sum of three terms
    assert found.value == pytest.approx(theory.optimum(SQUARED).value, rel=1e-6)  # the tolerance


def test_a_loss_of_another_package_has_no_certificate():
    with pytest.raises(ufm.UFMError, match="do not carry the loss 'huber'"):
        ufm.certify(PROBLEM)


def test_the_loss_is_known_wherever_losses_are_named(tmp_path):
    PROBLEM.save(tmp_path / "problem.toml")
    assert ufm.Problem.load(tmp_path / "problem.toml") == PROBLEM
    words = ["solve", "--class-counts", "60,20,5", "--lambda-w", "0.02", "--lambda-h", "0.02", "--json"]
    found = CliRunner().invoke(application(), [*words, "--loss", "huber", "--loss-parameter", "threshold=0.5"])
    assert json.loads(found.stdout)["status"] == "bounded"
    assert found.exit_code == 1  # nothing is certified


def test_the_solver_proves_a_loss_that_the_verifier_knows():
    assert ufm.solve(SQUARED, solver="example-descent").status == "certified"


def test_the_theorem_holds_and_names_what_fails():
    assert theory.optimum(PROBLEM).value == theory.optimum(SQUARED).value
    with pytest.raises(ufm.UFMError, match="huber-frame needs: loss is huber with a threshold"):
        theory.optimum(ufm.Problem(COUNTS, DECAY, DECAY, loss=Huber(threshold=0.5)))
    # in one dimension one class alone has a feature
    narrow = ufm.Problem(COUNTS, DECAY, DECAY, loss=Huber(), feature_dim=1)
    assert theory.bound(narrow).relation == "upper"


def test_the_contestant_is_judged():
    assert "example-contestant" in available()
    (row,) = ufm.cross_check(SQUARED, ["example-contestant"]).rows
    assert row.verdict == "right"


def test_the_figure_is_drawn():
    pytest.importorskip("matplotlib")
    figure = ufm.plots.draw("example-margins", SQUARED, solution=ufm.solve(SQUARED))
    assert figure.axes[0].get_ylabel() == "margin of the solution"

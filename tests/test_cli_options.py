"""No option is ignored: what a mode of a command does not use is refused by name, and nothing is given twice."""

import inspect

import pytest
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex.cli import application
from ufm_convex.cli.command import COMMANDS
from ufm_convex.errors import HypothesisError, ProblemError
from ufm_convex.theory import optimum

COUNTS = ["--class-counts", "5,3"]
PROBLEM = [*COUNTS, "--lambda-w", "0.1", "--lambda-h", "0.1"]
LAYER_PEELED = ["--constraint", "layer-peeled:weight_radius=1,feature_radius=5"]


def run(*arguments):
    return CliRunner().invoke(application(), list(map(str, arguments)))


def refused(result, *words):
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.stderr
    assert result.stdout == ""


VALUES = {
    "file": ["p.toml"],
    "class_counts": ["--class-counts", "5,3"],
    "labels": ["--labels", "y.npy"],
    "num_classes": ["--num-classes", "3"],
    "profile": ["--profile", "balanced:classes=3,max=5"],
    "tokens": ["--tokens", "t.npy"],
    "context_length": ["--context", "2"],
    "lambda_w": ["--lambda-w", "1"],
    "lambda_h": ["--lambda-h", "1"],
    "loss": ["--loss", "cross-entropy"],
    "loss_parameter": ["--loss-parameter", "kind=weston-watkins"],
    "class_weights": ["--class-weights", "1,1"],
    "smoothing": ["--smoothing", "0.1"],
    "targets": ["--targets", "t.npy"],
    "features": ["--features", "nonnegative"],
    "feature_dim": ["--feature-dim", "2"],
    "bias": ["--bias", "free"],
    "constraint": LAYER_PEELED,
    "solution": ["--solution", "s.json"],
    "level": ["--level", "class"],
}
USED = {"context", "solvers", "tolerance", "time_limit", "conformance", "as_json", "verbose"}


def test_the_values_above_are_all_that_conformance_does_not_use():
    """A new option is refused too: this says that it has to be decided."""
    application()
    assert set(inspect.signature(COMMANDS["crosscheck"]).parameters) == set(VALUES) | USED


@pytest.mark.parametrize("name", VALUES)
def test_conformance_refuses_whatever_says_a_problem(name):
    given = VALUES[name]
    refused(run("crosscheck", "--conformance", *given), f"{given[0]} is given with --conformance", "Fix: leave out")


def test_all_that_are_refused_are_named():
    refused(run("crosscheck", *PROBLEM, "--conformance"), "--class-counts, --lambda-w, --lambda-h is given with")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["crosscheck", *PROBLEM, "--solution", "s.json", "--level", "class"], "--level is given with --solution"),
        (["certify", *PROBLEM, "--digits", "20", "--solver", "scs"], "--solver is given with --digits"),
        (["certify", *PROBLEM, "--digits", "20", "--level", "class"], "--level is given with --digits"),
        (["plot", *PROBLEM, "--figure", "phase", "-o", "a.png", "--solver", "scs"], "--solver is given with the"),
        (["plot", *PROBLEM, "--figure", "phase", "-o", "a.png", "--tolerance", "1e-6"], "--tolerance is given with"),
        (["plot", "c.npz", *PROBLEM[2:], "-o", "a.png", "--level", "class"], "--level is given with the figure attrib"),
        (["solve", *PROBLEM, "--loss-parameter", "smoothing=0.1", "--smoothing", "0.2"], "smoothing of the loss is gi"),
        (["solve", *PROBLEM, "--loss-parameter", "a=1", "--loss-parameter", "a=2"], "the parameter a of the loss is g"),
        (["solve", *PROBLEM, "--class-weights", "1,2", "--loss-parameter", "class_weights=[1,3]"], "class_weights of"),
        (["solve", *COUNTS, *LAYER_PEELED, "--smoothing", ""], "--smoothing is ''"),
        (["solve", *COUNTS, *LAYER_PEELED, "--class-weights", ""], "entry 0 of --class-weights is ''"),
        (["solve", *COUNTS, *LAYER_PEELED, "--lambda-w", "0.1"], "lambda_w is 0.1 beside the constraint"),
        (["solve", *PROBLEM, "--loss-parameter", "kind=weston-watkins"], "kind"),
        (["solve", *PROBLEM, "--loss", "mean-squared-error", "--smoothing", "0.1"], "smoothing"),
    ],
)
def test_options_that_nothing_uses_are_refused_by_name(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text("{}")
    refused(run(*arguments), words, "Fix:")


@pytest.mark.parametrize("option", ["--class-counts", "--lambda-w", "--lambda-h", "--solver", "-o", "--output"])
def test_an_option_that_is_given_twice_does_not_win_in_silence(option):
    result = run("solve", *PROBLEM, option, "7,2", option, "9,1")
    refused(result, "times.", "Fix: keep one of them.")


def test_flags_may_be_repeated_and_so_may_what_is_a_list():
    assert run("solve", *PROBLEM, "--json", "--json").exit_code == 0
    arguments = [
        "--loss",
        "multiclass-hinge",
        "--loss-parameter",
        "kind=weston-watkins",
        "--loss-parameter",
        "margin=1",
    ]
    assert "is given 2 times" not in run("solve", *PROBLEM, *arguments).stderr


def test_a_digit_more_of_the_candidate_is_no_silent_wish(tmp_path):
    """--digits beside a candidate is used: the bounds of the optimum agree to so many digits."""
    import json

    import numpy as np

    problem = ufm.Problem([5, 3], 0.1, 0.1)
    W, H = optimum(problem).factors()
    np.savez(tmp_path / "c.npz", weights=W, features=H, class_counts=[5, 3])
    result = run("certify", tmp_path / "c.npz", *PROBLEM[2:], "--digits", "30", "--json")
    digits = json.loads(result.stdout)["digits"]
    assert digits["lower"][:-1] == digits["upper"][:-1]
    assert len(digits["lower"].lstrip("0.")) == 30


def test_a_dimension_that_the_format_leaves_out_is_said(tmp_path):
    result = run("export", *PROBLEM, "--feature-dim", "2", "-o", tmp_path / "a.cbf")
    assert result.exit_code == 0
    assert "not used: feature_dim = 2" in result.stderr
    assert run("export", *PROBLEM, "-o", tmp_path / "a.cbf").stderr == ""


# -- the same of arguments in Python ------------------------------------------------------------------------------


def test_a_slack_proof_is_not_dropped_for_digits():
    with pytest.raises(ProblemError, match="both digits and proof='dense'"):
        ufm.certify(ufm.Problem([5, 3], 0.1, 0.1), digits=20, proof="dense")


def test_a_level_is_not_dropped_where_only_callables_are_asked():
    problem = ufm.Problem([5, 3], 0.1, 0.1)
    with pytest.raises(ProblemError, match="level is 'sample', and every solver is a callable"):
        ufm.cross_check(problem, [lambda p: optimum(p).factors()], level="sample")


def test_a_solution_of_another_problem_is_not_drawn_beside_this_ones_theory():
    solution = ufm.solve(ufm.Problem([5, 3], 0.1, 0.1))
    with pytest.raises(ProblemError, match="one of another problem"):
        ufm.plots.draw("norms", ufm.Problem([5, 3], 0.1, 0.2), solution=solution)


def test_options_of_solvers_that_have_none_are_refused():
    for solver in ("theory", "frame"):
        with pytest.raises((ProblemError, HypothesisError), match="has no option 'foo'"):
            ufm.solve(ufm.Problem([5, 3], 0.1, 0.1), solver=solver, options={"foo": 1})


# -- each option of a problem is used, beside a file too ----------------------------------------------------------

BESIDE = {
    "num_classes": "3",
    "context_length": "2",
    "lambda_w": "0.2",
    "lambda_h": "0.3",
    "loss": "mean-squared-error",
    "loss_parameter": ["smoothing=0.25"],
    "class_weights": "1,2",
    "smoothing": "0.125",
    "targets": "t.csv",
    "features": "free",
    "feature_dim": "7",
    "bias": "0.5",
    "constraint": "hard-margin:margins=2",
}
SOURCES = {"class_counts": "5,3", "labels": "y.npy", "profile": "balanced:classes=2,max=5", "tokens": "t.npy"}


def test_every_option_of_a_problem_is_in_one_of_the_two_tables():
    from ufm_convex.cli.command import names_of
    from ufm_convex.cli.options import ProblemOptions

    assert {"file", *BESIDE, *SOURCES} == set(names_of(ProblemOptions))


@pytest.mark.parametrize("name", BESIDE)
def test_an_option_beside_a_file_changes_the_problem_or_is_refused(name, tmp_path):
    from ufm_convex.cli.options import ProblemOptions

    problem, path = ufm.Problem([5, 3], 0.1, 0.1), tmp_path / "p.toml"
    problem.save(path)
    (tmp_path / "t.csv").write_text("0.5,0.5,0\n0,0.5,0.5\n")
    value = tmp_path / BESIDE[name] if name == "targets" else BESIDE[name]
    given = ProblemOptions(file=path, **{name: value})
    if name == "constraint":  # the file has a loss, in the place of which the constraint stands
        with pytest.raises(ProblemError, match="stands in its place"):
            given.problem()
    elif name == "num_classes":  # it belongs to labels
        with pytest.raises(ProblemError, match="--num-classes is given without --labels"):
            given.problem()
    elif name == "context_length":  # it belongs to tokens
        with pytest.raises(ProblemError, match="--context is given without --tokens"):
            given.problem()
    else:
        assert given.problem() != problem


@pytest.mark.parametrize("name", SOURCES)
def test_counts_beside_a_file_are_refused(name, tmp_path):
    ufm.Problem([5, 3], 0.1, 0.1).save(tmp_path / "p.toml")
    option = "--" + name.replace("_", "-")
    refused(run("solve", tmp_path / "p.toml", option, SOURCES[name]), "given 2 times", option)


def test_the_rows_of_crosscheck_say_whose_their_numbers_are():
    import json

    result = run("crosscheck", *PROBLEM, "--solvers", "clarabel,lbfgsb", "--json")
    conic, local = json.loads(result.stdout)["rows"]
    value = optimum(ufm.Problem([5, 3], 0.1, 0.1)).value
    for name in ("solver_primal_value", "solver_dual_value"):
        assert conic[name] == pytest.approx(value, rel=1e-6)  # the tolerance that was asked for
    # a descent reports what it evaluates; that it ends in another minimum here is its own affair
    assert local["solver_primal_value"] == pytest.approx(local["value"], rel=1e-12)
    assert local["solver_dual_value"] is None

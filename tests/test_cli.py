"""The command line: exit codes, JSON, tables, messages, and what must never appear (a traceback, half a file)."""

import dataclasses
import errno
import io
import json
import math
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from mp_reference import reference_value, relative_error
from typer.testing import CliRunner

from ufm_convex import cli, solvers, solving
from ufm_convex.certificate import Certificate
from ufm_convex.cli import command as commands
from ufm_convex.cli import exits, record, render, views
from ufm_convex.cli.progress import progress
from ufm_convex.duality import KKTReport
from ufm_convex.duality.kkt import Condition
from ufm_convex.evidence import Bracketed
from ufm_convex.losses import SoftTargetCrossEntropy
from ufm_convex.problem import Problem
from ufm_convex.solution import INTERRUPTED

COUNTS = [60, 30, 12, 2]
DECAYS = ("--lambda-w", "0.04", "--lambda-h", "0.01")
SMALL = ("--class-counts", "60,30,12,2", *DECAYS)
VALUE = reference_value([(count, 1, 1.0) for count in COUNTS], 0.04, 0.01)
TOML = "class_counts = [60, 30, 12, 2]\nlambda_w = 0.04\nlambda_h = 0.01\n"
THREE_LINES = re.compile(r"\A\w+: .+\n  Expected: .+\n  Fix: .+\n\Z")


def run(*arguments):
    """The result of one command, in this process."""
    return CliRunner().invoke(cli.application(), [str(argument) for argument in arguments])


def solve(*arguments):
    return run("solve", *arguments)


def no_constant(word):
    raise AssertionError(f"{word} is not JSON")


def record_of(result):
    """The one object on stdout; nothing may stand before or after it."""
    return json.loads(result.stdout, parse_constant=no_constant)


def refused(result, words):
    """A result is a refusal that says the words: code 2, three lines on stderr, nothing else."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), "an exception got out"
    assert THREE_LINES.match(result.stderr), result.stderr
    assert words in result.stderr
    assert result.stdout == ""
    return True


# -- exit codes ---------------------------------------------------------------------------------------------------


def test_certified_is_zero():
    result = solve(*SMALL)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_gap_that_is_not_reached_is_one_and_its_bounds_hold():
    # both bounds are rounded outward in binary64, so that no solver's gap is below one unit, 1.1e-16 relative
    result = solve(*SMALL, "--solver", "scs", "--tolerance", "1e-16", "--json")
    found = record_of(result)
    assert result.exit_code == 1
    assert found["status"] == "bounded"
    assert found["lower_bound"] <= VALUE <= found["upper_bound"]
    assert 1e-16 < found["relative_gap"] < 1e-6  # the default tolerance, which SCS does reach here
    assert found["tolerance"] == 1e-16


def object_of_error(result):
    """What is printed with --json in the place of a result: exactly one object, and nothing beside it."""
    found = json.loads(result.stdout)
    assert set(found) == {"error", "got", "expected", "fix"}
    return found


class Panic(BaseException):
    """As the panics of Rust extensions arrive: no subclass of Exception."""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("the factorisation\nwent wrong"), 1, "RuntimeError: the factorisation went wrong."),
        (MemoryError(), 1, "MemoryError: no reason was given."),
        (
            OSError("libomp.so: cannot open shared object file"),
            1,
            "OSError: libomp.so: cannot open shared object file.",
        ),
        (Panic("index out of bounds"), 1, "Panic: index out of bounds."),
        (OSError(28, "No space left on device"), 2, "FileFormatError: the output: No space left on device."),
    ],
)
def test_whatever_ends_a_solver_leaves_as_a_code_and_a_message(monkeypatch, error, code, words):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(solving, "solve", broken)
    result = solve(*SMALL, "--json")
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)
    name, _, got = words.partition(": ")
    assert {"error": name, "got": got}.items() <= object_of_error(result).items()
    assert THREE_LINES.match(result.stderr)
    assert result.stderr.startswith(f"{words}\n")


def test_ctrl_c_is_130_and_one_line(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(solving, "solve", interrupted)
    result = solve(*SMALL, "--json")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")
    assert object_of_error(result)["error"] == "Interrupted"


def test_a_reader_that_goes_away_ends_it_quietly(monkeypatch):
    def closed(_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("ufm_convex.cli.solve.show", closed)
    result = solve(*SMALL)
    assert (result.exit_code, result.output) == (1, "")


def test_development_mode_lets_the_error_through(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("where?")

    monkeypatch.setattr(solving, "solve", broken)
    monkeypatch.setattr(exits, "sys", SimpleNamespace(flags=SimpleNamespace(dev_mode=True)))
    with pytest.raises(RuntimeError, match=r"where\?"):
        CliRunner().invoke(cli.application(), ["solve", *SMALL], catch_exceptions=False)


def test_a_solver_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(solvers.available()["clarabel"], "installed", classmethod(lambda cls: False))
    assert refused(solve(*SMALL, "--solver", "clarabel"), "solver 'clarabel' is not installed.")


def test_a_solver_that_fails_is_reported_with_bounds_that_hold(monkeypatch):
    import cvxpy as cp

    def broken(*_, **__):
        raise cp.SolverError("numerical trouble")

    monkeypatch.setattr(cp.Problem, "unpack_results", broken)
    result = solve(*SMALL, "--solver", "clarabel", "--json")
    found = record_of(result)
    assert (result.exit_code, found["status"]) == (1, "failed")
    assert found["lower_bound"] <= VALUE <= found["upper_bound"]
    assert found["solver_claim"] == {
        "status": "failed",
        "message": "numerical trouble",
        "value": None,
        "dual_value": None,
    }
    assert found["solver_kkt"] is None


# -- bad input ----------------------------------------------------------------------------------------------------


BAD = [
    ((), "no problem is given"),
    (("--lambda-w", "1", "--lambda-h", "1"), "no problem is given"),
    (("problem.toml", *SMALL), "2 times: problem.toml, --class-counts"),
    ((*SMALL, "--labels", "y.npy"), "2 times: --class-counts, --labels"),
    ((*SMALL, "--labels", "y.npy", "--profile", "step"), "3 times: --class-counts, --labels, --profile"),
    (("--class-counts", "5,3"), "--lambda-w and --lambda-h are not given"),
    (("--class-counts", "5,3", "--lambda-w", "1"), "--lambda-h is not given.\n"),
    *[
        (("--class-counts", "5,3", "--lambda-w", bad, "--lambda-h", "1"), f"lambda_w is {shown}.")
        for bad, shown in {"nan": "nan", "inf": "inf", "0": "0.0", "-1": "-1.0", "1e-400": "0.0"}.items()
    ],
    (("--class-counts", "5,3", "--lambda-w", "abc", "--lambda-h", "1"), "--lambda-w is 'abc'."),
    (("--class-counts", "5,3", "--lambda-w", "1", "--lambda-h", ""), "--lambda-h is ''."),
    (("--class-counts", "0,0", *DECAYS), "class_counts is 0 for every class."),
    (("--class-counts", "5,-2", *DECAYS), "class_counts[1] is -2."),
    (("--class-counts", "5,x", *DECAYS), "entry 1 of --class-counts is 'x'."),
    (("--class-counts", "5.5,3", *DECAYS), "entry 0 of --class-counts is '5.5'."),
    (("--class-counts", "5e2", *DECAYS), "entry 0 of --class-counts is '5e2'."),
    (("--class-counts", "5,3,", *DECAYS), "entry 2 of --class-counts is ''."),
    (("--class-counts", "", *DECAYS), "entry 0 of --class-counts is ''."),
    (("--class-counts", "7", *DECAYS), "class_counts has one class."),
    (("--class-counts", f"5,{10**40}", *DECAYS), "class_counts[1] is"),
    (("--class-counts", "5," + "9" * 5000, *DECAYS), "entry 1 of --class-counts is '99"),
    (("--class-counts", "missing.csv", *DECAYS), "missing.csv cannot be read"),
    (("--class-counts", "counts", *DECAYS), "counts has no suffix."),
    (("--labels", "missing.npy", *DECAYS), "missing.npy cannot be read"),
    (("missing.toml",), "missing.toml cannot be read"),
    (("--profile", "zipf:classes=10", *DECAYS), "profile 'zipf' is not known."),
    (("--profile", "exponential:classes=10", *DECAYS), "profile exponential was given no value for max, ratio."),
    ((*SMALL, "--solver", "simplex"), "solver 'simplex' is not known."),
    ((*SMALL, "--level", "atom"), "level 'atom' is not known."),
    ((*SMALL, "--loss", "hinge-of-doom"), "loss 'hinge-of-doom' is not known."),
    ((*SMALL, "--solver", "theory", "--level", "sample"), "solver 'theory' does not solve at level 'sample'."),
    ((*SMALL, "--features", "purple"), "features is 'purple'."),
    ((*SMALL, "--feature-dim", "0"), "feature_dim is 0."),
    ((*SMALL, "--feature-dim", "2.5"), "--feature-dim is '2.5'."),
    ((*SMALL, "--tolerance", "0"), "tolerance is 0.0."),
    ((*SMALL, "--tolerance", "nan"), "tolerance is nan."),
    ((*SMALL, "--tolerance", "small"), "--tolerance is 'small'."),
    ((*SMALL, "--smoothing", "1"), "smoothing is 1.0."),
    ((*SMALL, "--smoothing", "much"), "--smoothing is 'much'."),
    ((*SMALL, "--class-weights", "1,2"), "class_weights has 2 entries, but there are 4 classes."),
    ((*SMALL, "--class-weights", "1,2,x,4"), "entry 2 of --class-weights is 'x'."),
    ((*SMALL, "--class-weights", "1,2,-3,4"), "class_weights has the entry -3.0."),
    (("--profile", "balanced:classes=300,max=9", *DECAYS, "--level", "sample"), "level 'sample' needs a Gram matrix"),
    ((*SMALL, "-o", "missing/c.json"), "missing/c.json cannot be written: the folder missing does not exist."),
    ((*SMALL, "-o", "."), ". cannot be written: it is a folder."),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_bad_input_is_refused_in_three_lines(tmp_path, monkeypatch, arguments, words, form):
    monkeypatch.chdir(tmp_path)
    result = solve(*arguments, *form)
    if form:
        assert words.strip() in object_of_error(result)["got"]
        assert (result.exit_code, bool(THREE_LINES.match(result.stderr)), words in result.stderr) == (2, True, True)
    else:
        assert refused(result, words)
    assert list(tmp_path.iterdir()) == []


BAD_FILES = [
    ("--class-counts", "counts.csv", "", "counts.csv does not hold anything"),
    ("--class-counts", "counts.csv", "class_id,count\n0,5\n2,3\n", "class_id 2 among 2 classes, where 1 is missing."),
    ("--class-counts", "counts.csv", "label\n0\n1\n", "the first row is 'label'."),
    ("--labels", "y.csv", "label\n0\n1.5\n", "y.csv, line 3: the label is '1.5'."),
    ("--labels", "y.txt", "0\n2\n", "labels run up to 2, but 1 of the classes"),
    ("--labels", "y.npy", "\x93NUMPY", "y.npy is not a whole .npy file"),
    (None, "problem.toml", "lambda_w = ", "problem.toml is not TOML"),
    (None, "problem.toml", "lambda_w = 1\nlambda_h = 1\n", "problem.toml has the keys lambda_h, lambda_w."),
    (None, "problem.toml", TOML.replace("0.04", "nan"), "lambda_w is nan."),
]


@pytest.mark.parametrize(("option", "name", "text", "words"), BAD_FILES)
def test_bad_files_are_refused_in_three_lines(tmp_path, option, name, text, words):
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    arguments = (option, path, *DECAYS) if option else (path,)
    assert refused(solve(*arguments), words)


def test_the_check_of_refusals_rejects_a_traceback_and_a_loose_message():
    for stderr in ("Traceback (most recent call last):\n", "ProblemError: bad.\n", "bad.\n  Expected: a\n  Fix: b\n"):
        assert not THREE_LINES.match(stderr)
    with pytest.raises(AssertionError):
        refused(solve(*SMALL), "")


@pytest.mark.parametrize("arguments", [("--constraint", "x", *SMALL), ("a.toml", "b.toml"), ("--labels",)])
def test_usage_errors_are_two(arguments):
    result = solve(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_command_is_two_and_no_command_shows_the_help():
    assert run("divine").exit_code == 2
    assert "solve" in run().output


# -- JSON ---------------------------------------------------------------------------------------------------------


FIELDS = {
    "value": float,
    "lower_bound": float,
    "upper_bound": float,
    "relative_gap": float,
    "tolerance": float,
    "status": str,
    "solver": str,
    "level": str,
    "seconds": float,
    "num_classes": int,
    "num_samples": int,
    "collapsed_classes": list,
    "merged_groups": list,
    "theory": dict,
    "kkt": dict,
    "solver_claim": dict,
    "gram_positivity": type(None),
    "route": list,
}


@pytest.mark.parametrize("route", [(), ("--solver", "scs"), ("--solver", "clarabel", "--level", "class")])
def test_json_has_every_field_with_its_type_and_the_right_content(route):
    result = solve(*SMALL, *route, "--json")
    found = record_of(result)
    assert {name: type(found[name]) for name in FIELDS} == FIELDS
    assert (found["num_classes"], found["num_samples"]) == (4, sum(COUNTS))
    assert (found["status"], result.exit_code) == ("certified", 0)
    assert found["lower_bound"] <= VALUE <= found["upper_bound"]
    assert relative_error(found["value"], VALUE) <= found["relative_gap"] <= 1e-6
    # n_c = N² λ_W λ_H K/(K−1) = 104² · 0.0004 · 4/3 = 5.77: the class of 2 collapses, that of 12 does not
    assert found["collapsed_classes"] == [3]
    assert found["theory"]["relation"] == "tight"
    assert relative_error(found["theory"]["value"], VALUE) < 1e-14  # the theory's own promise
    assert found["solver"] == (route[1] if route else "theory")
    assert all(isinstance(line, str) and found["solver"] in line for line in found["route"])
    assert set(found["kkt"]) >= {"primal_psd", "dual_slack_psd", "duality_gap", "balance"}
    assert all(type(residual) is float and residual >= 0.0 for residual in found["kkt"].values())


def confused(tmp_path, K, **arguments):
    """A file of balanced classes on a circle, each a quarter of the time taken for either neighbour."""
    targets = 0.5 * np.eye(K) + 0.25 * np.roll(np.eye(K), 1, axis=1) + 0.25 * np.roll(np.eye(K), -1, axis=1)
    decay = math.sqrt(0.05 * 20 * (K - 1) / (K * (20 * K) ** 2))
    path = tmp_path / "problem.toml"
    Problem([20] * K, decay, decay, loss=SoftTargetCrossEntropy(targets), **arguments).save(path)
    return path


def test_a_strict_relaxation_shows_three_numbers_and_the_reason(tmp_path):
    """1.454972 and 1.461050 of docs/closing_the_gap.md, section 4; B is circulant with a cycle of five."""
    path = confused(tmp_path, 5)
    result = solve(path, "--solver", "clarabel", "--json")
    found = record_of(result)
    assert (found["status"], result.exit_code) == ("bounded", 1)
    assert found["lower_bound"] <= found["value"] < found["upper_bound"]
    assert found["value"] == pytest.approx(1.454972, abs=1e-6)
    assert found["upper_bound"] == pytest.approx(1.461050, abs=1e-6)
    verdict = found["gram_positivity"]
    assert verdict["verdict"] == "not completely positive"
    assert verdict["tolerance"] < verdict["separation"] <= verdict["residual"]
    table = " ".join(solve(path, "--solver", "clarabel").stdout.split())
    assert "Gram matrix not completely positive: a copositive matrix keeps it 7.9e-02 of its norm away" in table
    assert "ufm.close_gap(problem) raises the lower bound" in table


@pytest.mark.parametrize(("K", "arguments"), [(4, {}), (5, {"features": "free"}), (21, {})])
def test_where_the_gram_matrix_is_not_the_reason_nothing_is_said_of_it(tmp_path, K, arguments):
    """Bounds that meet, free features, and more classes than ``close_gap`` takes."""
    path = confused(tmp_path, K, **arguments)
    found = record_of(solve(path, "--solver", "clarabel", "--json"))
    assert found["gram_positivity"] is None
    assert (found["status"] == "bounded") == (K == 21)
    assert "Gram matrix " not in solve(path, "--solver", "clarabel").stdout.replace("a Gram matrix of order", "")


def test_of_more_classes_than_a_verdict_is_soon_found_for_the_way_on_is_said(tmp_path):
    path = confused(tmp_path, 13)
    found = record_of(solve(path, "--solver", "clarabel", "--json"))
    assert (found["status"], found["gram_positivity"]) == ("bounded", None)
    table = " ".join(solve(path, "--solver", "clarabel").stdout.split())
    assert "Gram matrix the relaxation may be strict" in table
    assert "ufm.close_gap(problem) raises the lower bound" in table


def test_after_ctrl_c_no_verdict_is_waited_for(tmp_path):
    solution = solving.solve(Problem.load(confused(tmp_path, 5)), solver="clarabel")
    assert record.gram_positivity(solution) is not None
    assert record.gram_positivity(dataclasses.replace(solution, route=(INTERRUPTED,))) is None


def test_json_has_no_nan_and_no_infinity():
    solution = solving.solve(Problem(COUNTS, 0.04, 0.01))
    spoiled = dataclasses.replace(solution, value=math.nan, seconds=-math.inf)
    found = json.loads(views.as_json(spoiled), parse_constant=no_constant)
    assert (found["value"], found["seconds"]) == (None, None)
    assert record.finite(math.inf) is None
    assert found["lower_bound"] == solution.lower_bound


def test_the_check_for_constants_sees_a_nan():
    with pytest.raises(AssertionError, match="NaN"):
        json.loads('{"value": NaN}', parse_constant=no_constant)


def test_json_is_alone_on_stdout_and_progress_on_stderr():
    result = solve(*SMALL, "--solver", "scs", "--json", "--verbose")
    assert result.stdout == json.dumps(record_of(result)) + "\n"
    assert "scs: starting\n" in result.stderr
    quiet = solve(*SMALL, "--solver", "scs", "--json")
    assert quiet.stderr == ""


def test_theory_is_null_where_no_theorem_speaks(monkeypatch):
    solution = solving.solve(Problem(COUNTS, 0.04, 0.01), solver="scs")
    vars(solution)["theory"] = None
    assert record.solution_record(solution)["theory"] is None
    console = text_of(solution)
    assert "no theorem says anything" in console


# -- sources and overrides ----------------------------------------------------------------------------------------


def sources(folder):
    """The same problem in every way it can be given."""
    labels = np.repeat(np.arange(4), COUNTS)
    np.random.default_rng(0).shuffle(labels)
    np.save(folder / "y.npy", labels)
    (folder / "y.txt").write_text("\n".join(map(str, labels)))
    (folder / "y.csv").write_text("label\r\n" + "\r\n".join(map(str, labels)) + "\r\n", newline="")
    (folder / "counts.csv").write_text("\ufeffclass_id,count\r\n3,2\r\n2,12\r\n1,30\r\n0,60\r\n", newline="")
    (folder / "problem.toml").write_text(TOML)
    yield from ((("--labels", folder / name), DECAYS) for name in ("y.npy", "y.txt", "y.csv"))
    yield ("--class-counts", folder / "counts.csv"), DECAYS
    yield ("--class-counts", " 60, 30,12 ,2"), DECAYS
    yield (folder / "problem.toml",), ()


def test_every_source_gives_the_same_answer(tmp_path):
    for source, decays in sources(tmp_path):
        found = record_of(solve(*source, *decays, "--json"))
        assert relative_error(found["value"], VALUE) < 1e-14, source
        assert found["num_samples"] == sum(COUNTS)


def test_a_profile_is_cifar_10_lt():
    found = record_of(solve("--profile", "exponential:classes=10,max=5000,ratio=100", *DECAYS, "--json"))
    assert (found["num_classes"], found["num_samples"]) == (10, 12406)  # Cao et al., NeurIPS 2019


def test_options_override_the_file(tmp_path):
    path = tmp_path / "problem.toml"
    path.write_text(TOML + '[loss]\nname = "cross-entropy"\nclass_weights = [1.0, 1.0, 2.0, 4.0]\nsmoothing = 0.2\n')
    weights = (1.0, 1.0, 2.0, 4.0)

    def value(*options):
        return record_of(solve(path, *options, "--json"))["value"]

    def expected(lambda_w=0.04, lambda_h=0.01, weights=weights, smoothing=0.2):
        groups = [(count, 1, weight) for count, weight in zip(COUNTS, weights, strict=True)]
        return reference_value(groups, lambda_w, lambda_h, smoothing)

    cases = [
        ((), expected()),
        (("--lambda-w", "0.01"), expected(lambda_w=0.01)),
        (("--lambda-h", "0.02"), expected(lambda_h=0.02)),
        (("--smoothing", "0.1"), expected(smoothing=0.1)),
        (("--class-weights", "1,2,3,4", "--loss", "cross-entropy"), expected(weights=(1.0, 2.0, 3.0, 4.0))),
    ]
    assert [options for options, answer in cases if relative_error(value(*options), answer) > 1e-14] == []
    assert len({float(answer) for _, answer in cases}) == len(cases), "the cases tell the overrides apart"


def test_naming_another_loss_drops_the_parameters_of_the_file(tmp_path):
    path = tmp_path / "problem.toml"
    path.write_text(TOML + '[loss]\nname = "cross-entropy"\nsmoothing = 0.2\n')
    # the parameters of cross-entropy must not reach a loss that may not know them
    assert refused(solve(path, "--loss", "unheard-of"), "loss 'unheard-of' is not known.")


def test_features_and_dimension_reach_the_problem():
    bounded = record_of(solve(*SMALL, "--feature-dim", "2", "--json"))
    # three classes are active and two dimensions hold two of them: the frame's value is a lower bound only
    assert bounded["theory"]["relation"] == "lower"
    free = record_of(solve(*SMALL, "--features", "free", "--solver", "scs", "--json"))
    assert free["upper_bound"] < VALUE  # fewer constraints


# -- tables -------------------------------------------------------------------------------------------------------


def text_of(solution):
    """What ``show`` prints, at 80 columns."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, highlight=False, markup=False)
    for part in render._parts(solution):
        console.print(part)
    return console.file.getvalue()


def class_rows(text):
    """Class → the cells after it, for the rows of the table."""
    found = re.findall(r"^ +(\d+) +([\d,]+) +(\S+) +(\S+) +(\S+) +(active|collapsed) *$", text, flags=re.MULTILINE)
    return {int(k): cells for k, *cells in found}


def hand_formulas():
    """Margins and norms of Theorem 1 by its formulas, with λ_W ω² (K−1)/K = λ_H n η² and η ω = M."""
    K, N = len(COUNTS), sum(COUNTS)
    margins, etas, omegas = [], [], []
    for n in COUNTS:
        r = min(1.0, N * math.sqrt(0.04 * 0.01 * K / ((K - 1) * n)))
        M = math.log(1.0 + K * (1.0 - r) / r)
        eta = math.sqrt(M * math.sqrt(0.04 * (K - 1) / K / (0.01 * n)))
        margins.append(M)
        etas.append(eta)
        omegas.append(M / eta if eta else 0.0)
    total = sum(omega**2 for omega in omegas)
    return margins, etas, [math.sqrt((1 - 2 / K) * omega**2 + total / K**2) for omega in omegas]


def test_the_table_says_what_the_theorem_says():
    result = solve(*SMALL)
    rows = class_rows(result.stdout)
    assert sorted(rows) == [0, 1, 2, 3]
    for k, (margin, eta, weight) in enumerate(zip(*hand_formulas(), strict=True)):
        count, *numbers, state = rows[k]
        assert int(count) == COUNTS[k]
        assert [float(number) for number in numbers] == pytest.approx([margin, eta, weight], abs=6e-7)  # six decimals
        assert state == ("collapsed" if k == 3 else "active")


def test_the_table_of_a_numerical_solution_agrees_to_its_accuracy():
    rows = class_rows(solve(*SMALL, "--solver", "clarabel", "--tolerance", "1e-9").stdout)
    for k, expected in enumerate(zip(*hand_formulas(), strict=True)):
        # the gap bounds squares of distances: the square root of 1e-9, times norms of a few units
        assert [float(number) for number in rows[k][1:4]] == pytest.approx(expected, abs=3e-4)


def test_the_summary_has_every_item():
    text = solve(*SMALL, "--solver", "scs").stdout
    expected = [
        r"optimal value +\d",
        r"proved at least +\d",
        r"proved at most +\d",
        r"relative gap +\d\S* \(tolerance 1e-06\)",
        r"status +certified",
        r"collapsed classes +1: 3 *$",
        r"worst KKT residual +\w+ \S+ \(within its tolerance \S+\)",
        r"theory +\d\S* \(tight\), relative difference \d",
        r"solver +scs, class level, \d+\.\d\d s",
        r"route +scs at class level \(as asked\)",
    ]
    assert [pattern for pattern in expected if not re.search(f"^{pattern}", text, flags=re.MULTILINE)] == []
    bounds = [float(found) for found in re.findall(r"^proved at \w+ +(\S+)", text, flags=re.MULTILINE)]
    assert bounds[0] <= VALUE <= bounds[1]


def own_lines(text):
    """The line with the solver's own value and the one with its own conditions, whose words a terminal may fold."""
    joined = re.sub(r" *\n {5,}", " ", text)
    return re.findall(r"^solver's own (?:value|KKT) +(.+?) *$", joined, flags=re.MULTILINE)


@pytest.mark.parametrize(("solver", "away"), [("clarabel", 1e-6), ("scs", 0.5)])
def test_what_the_solver_itself_says_stands_beside_what_is_proved(solver, away):
    """Its value is JSON's, its distance that of the two printed bounds, its conditions those of ``solver_kkt``."""
    text = solve(*SMALL, "--solver", solver).stdout
    value, conditions = own_lines(text)
    claim = record_of(solve(*SMALL, "--solver", solver, "--json"))
    number, where = value.split(" ", 1)
    assert float(number) == pytest.approx(claim["solver_claim"]["value"], rel=1e-11)  # twelve digits are printed
    lower, upper = (float(found) for found in re.findall(r"^proved at \w+ +(\S+)", text, flags=re.MULTILINE))
    outside = max(lower - claim["solver_claim"]["value"], claim["solver_claim"]["value"] - upper) / upper
    assert 0 < outside < away  # SCS's first run is asked for no accuracy to speak of
    assert where == f"({outside:.2g} outside the proved interval)"
    report = solving.solve(Problem(COUNTS, 0.04, 0.01), solver=solver).solver_kkt()
    hold, of, worst, residual, tolerance = re.fullmatch(
        r"(\d+) of (\d+) hold; (\w+) (\S+) > (\S+)", conditions
    ).groups()
    assert (int(hold), int(of)) == (sum(one.residual <= one.tolerance for one in report), len(claim["solver_kkt"]))
    assert claim["solver_kkt"][worst] == pytest.approx(float(residual), rel=0.06)  # two digits are printed
    assert report[worst].tolerance == pytest.approx(float(tolerance), rel=0.06)


def test_a_contrastive_problem_shows_it_too(tmp_path):
    path = tmp_path / "contrastive.toml"
    path.write_text('model = "contrastive"\nclass_counts = [5, 3, 2]\nbound = 1.0\ntemperature = 0.5\n')
    assert len(own_lines(solve(path, "--solver", "clarabel").stdout)) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (*SMALL, "--solver", "theory"),  # no solver, no claim
        (*SMALL[:2], "--constraint", "layer-peeled:weight_radius=1,feature_radius=5", "--solver", "clarabel"),
    ],
)
def test_nothing_is_shown_of_a_solver_that_left_no_points_or_solved_another_problem(arguments):
    """Numbers of the penalised problem behind norm bounds are in other units than the bounds."""
    result = solve(*arguments)
    assert result.exit_code == 0
    assert own_lines(result.stdout) == []


def claims(value, residual):
    """A solution between 1 and 2 whose solver said a value and left one condition with a residual."""

    class Claims(Bracketed):
        lower, upper = SimpleNamespace(value=1.0), SimpleNamespace(value=2.0)
        run = SimpleNamespace(value=value)

        def solver_kkt(self):
            return KKTReport((Condition("balance", residual, 1.0), Condition("duality_gap", 0.5, 1.0)))

    return Claims()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.5, ["1.5 (within the proved interval)"]),
        (1.0, ["1 (within the proved interval)"]),  # the bounds belong to it
        (2.0, ["2 (within the proved interval)"]),
        (0.9, ["0.9 (0.05 outside the proved interval)"]),
        (2.5, ["2.5 (0.25 outside the proved interval)"]),
        (math.nan, []),
        (None, []),
    ],
)
def test_where_a_claimed_value_lies(value, words):
    lines = dict(render.claimed(claims(value, 2.0)))
    assert [lines[name] for name in lines if name == "solver's own value"] == words
    assert len(lines) == 2 * len(words)


@pytest.mark.parametrize(
    ("residual", "words"),
    [
        (2.0, "1 of 2 hold; balance 2 > 1"),
        (1.0, "2 of 2 hold; balance 1 <= 1"),  # at its tolerance a residual passes
        (math.nan, "1 of 2 hold; balance nan > 1"),
    ],
)
def test_how_many_conditions_of_a_solver_hold(residual, words):
    assert dict(render.claimed(claims(1.5, residual)))["solver's own KKT"] == words


def test_free_features_merge_where_non_negative_ones_collapse():
    # N² λ_W λ_H = 104² · 0.0004 = 4.3: the two classes of 2 samples share a feature, the single ones cannot
    arguments = ("--class-counts", "50,50,2,2", *DECAYS, "--features", "free", "--solver", "clarabel")
    result = solve(*arguments)
    assert re.search(r"^merged groups +1, classes 2: 2, 3 *$", result.stdout, flags=re.MULTILINE)
    assert "collapsed" not in result.stdout
    states = re.findall(r"^ +(\d) .* (active|merged) *$", result.stdout, flags=re.MULTILINE)
    assert states == [("0", "active"), ("1", "active"), ("2", "merged"), ("3", "merged")]
    found = record_of(solve(*arguments, "--json"))
    assert (found["merged_groups"], found["collapsed_classes"]) == ([[2, 3]], [])


def test_sample_level_shows_what_is_left_within_the_classes():
    arguments = ("--class-counts", "3,2", *DECAYS, "--solver", "scs", "--tolerance", "1e-3")
    assert "within classes" in solve(*arguments, "--level", "sample").stdout
    assert "within classes" not in solve(*arguments, "--level", "class").stdout


PROFILES = [
    "exponential:classes=10,max=5000,ratio=100",
    "exponential:classes=365,max=4980,ratio=996",
    "step:classes=100000,max=5000,ratio=100",
    "balanced:classes=31,max=1000000000",
]


@pytest.mark.parametrize("profile", PROFILES)
def test_output_fits_into_eighty_columns_and_few_lines(profile):
    text = solve("--profile", profile, "--lambda-w", "1e-6", "--lambda-h", "1e-7").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 60
    assert "certified" in text


def test_equal_counts_share_a_row():
    rows = render.table_rows(solving.solve(Problem([50] * 20 + [4] * 15, 1e-3, 1e-3)))
    assert [(row.first, row.classes, row.count) for row in rows] == [(0, 20, 50), (20, 15, 4)]


def test_different_weights_keep_equal_counts_apart():
    from ufm_convex.losses import CrossEntropy

    loss = CrossEntropy(class_weights=(1.0,) * 20 + (2.0,) * 20)
    rows = render.table_rows(solving.solve(Problem([50] * 40, 1e-3, 1e-3, loss=loss)))
    assert sorted((row.first, row.classes) for row in rows) == [(0, 20), (20, 20)]


def test_of_many_classes_the_ends_and_the_threshold_are_shown():
    counts = list(range(1000, 0, -1))
    problem = Problem(counts, 1e-3, 2e-6)
    threshold = problem.num_samples**2 * 2e-9 * 1000 / 999  # n_c = N² λ_W λ_H K/(K−1) = 501.5
    rows = render.table_rows(solving.solve(problem))
    shown = [row for row in rows if not isinstance(row, int)]
    assert [row.count for row in shown[:10]] == list(range(1000, 990, -1))
    assert [row.count for row in shown[-10:]] == list(range(10, 0, -1))
    assert [row.count for row in shown[10:-10]] == list(range(int(threshold) + 3, int(threshold) - 3, -1))
    assert all((row.state == "collapsed") == (row.count <= threshold) for row in shown)
    assert sum(row if isinstance(row, int) else row.classes for row in rows) == 1000, "no class is lost"


def test_a_hundred_thousand_classes_take_a_moment():
    started = time.process_time()
    result = solve(
        "--profile", "exponential:classes=100000,max=5000,ratio=100", "--lambda-w", "1e-6", "--lambda-h", "1e-8"
    )
    # measured: 0.4 s of this process with everything imported; a K × K array would not even fit into memory
    assert time.process_time() - started < 10.0
    assert result.exit_code == 0
    assert "100,000 classes" in result.stdout
    assert "theory, class level" in result.stdout


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1.5, -1e-9, 0.0], ["1.500000", "0.000000", "0.000000"]),
        ([1.5e-8, 0.0], ["1.50000e-08", "0.00000e+00"]),
        ([2e9], ["2.00000e+09"]),
        ([0.0], ["0.000000"]),
        ([], []),
    ],
)
def test_numbers_of_a_column_share_one_form(numbers, expected):
    assert render.aligned(numbers) == expected


# -- files --------------------------------------------------------------------------------------------------------


def test_the_output_file_is_a_certificate_of_the_same_bounds(tmp_path):
    path = tmp_path / "c.json"
    found = record_of(solve(*SMALL, "--json", "-o", path))
    written = Certificate.load(path)
    assert (written.lower, written.upper) == (found["lower_bound"], found["upper_bound"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.json"]
    assert solve(*SMALL, "--output", path).exit_code == 0


def test_a_result_that_is_not_certified_is_written_too(tmp_path):
    path = tmp_path / "c.json"
    assert solve(*SMALL, "--solver", "scs", "--tolerance", "1e-16", "-o", path).exit_code == 1
    assert Certificate.load(path).verdict == "undecided"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    result = solve(*SMALL, "--json", "-o", path)
    assert result.exit_code == 2
    assert THREE_LINES.match(result.stderr)
    assert "No space left on device" in result.stderr
    assert record_of(result)["status"] == "certified", "what was computed is not lost"
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("c.json", "old")]


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    def too_early(*_, **__):
        raise AssertionError("solved before the output was checked")

    monkeypatch.setattr(solving, "solve", too_early)
    assert refused(solve(*SMALL, "-o", tmp_path / "none" / "c.json"), "does not exist")
    assert refused(solve(*SMALL, "-o", "/dev/null"), "it is a device or a pipe")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert refused(solve(*SMALL, "-o", tmp_path / "c.json"), "may not be written to")


# -- progress -----------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress_on(monkeypatch, stream, *, verbose):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(verbose) as tell:
        tell("scs: starting")
    return stream.getvalue()


def test_a_terminal_shows_the_time_and_the_last_line(monkeypatch):
    shown = progress_on(monkeypatch, Terminal(), verbose=False)
    assert "scs: starting" in shown
    assert "0:00:00" in shown


def test_a_file_gets_lines_only_when_asked(monkeypatch):
    assert progress_on(monkeypatch, io.StringIO(), verbose=False) == ""
    assert progress_on(monkeypatch, io.StringIO(), verbose=True) == "scs: starting\n"


# -- adding a command, and real processes -------------------------------------------------------------------------


PLANTED = '''
from ufm_convex.cli.command import command
from ufm_convex.cli.exits import ExitCode
from ufm_convex.cli.options import ProblemOptions, Verbose

@command(breakdown=ExitCode.NOT_REACHED)
def count_classes(problem: ProblemOptions, verbose: Verbose = False) -> ExitCode:
    """Count the classes."""
    print(problem.problem().num_classes)
    return ExitCode.NOT_REACHED if verbose else ExitCode.DONE
'''


def test_a_file_is_a_command(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    try:
        result = run("count-classes", *SMALL)
        assert (result.exit_code, result.stdout) == (0, "4\n")
        assert run("count-classes", *SMALL, "-v").exit_code == 1
        assert refused(run("count-classes"), "no problem is given")
        assert "Count the classes." in run("--help").stdout
    finally:
        commands.COMMANDS.pop("count-classes", None)
        sys.modules.pop("ufm_convex.cli.planted", None)


def process(*arguments, **options):
    script = "from ufm_convex.cli import main; main()"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, **options)


def test_help_and_version_import_nothing_heavy():
    heavy = ("numpy", "scipy", "cvxpy", "flint", "rich", "ufm_convex.solving")
    script = f"""
import sys
from ufm_convex.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code, *[name for name in {heavy!r} if name in sys.modules])
"""
    for argument, words in (("--help", "solve"), ("--version", "ufm-convex 0.")):
        done = subprocess.run([sys.executable, "-c", script, argument], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "0"
        assert words in done.stdout


def test_a_process_ends_with_the_code_and_clean_streams():
    good = process("solve", *SMALL, "--json")
    assert (good.returncode, good.stderr) == (0, "")
    assert relative_error(json.loads(good.stdout)["value"], VALUE) < 1e-14
    bad = process("solve", "--class-counts", "5,-1", *DECAYS)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert THREE_LINES.match(bad.stderr)


def test_a_stream_without_greek_letters_shows_question_marks():
    done = process("solve", *SMALL, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "?_W = 0.04" in done.stdout


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ("layer-peeled", "lacks the parameter 'weight_radius'"),
        ("layer-peeled:weight_radius=one,feature_radius=1", "--constraint is"),
        ("layer-peeled:weight_radius=1,feature_radius=-1", "feature_radius is -1"),
        ("peeled:weight_radius=1", "constraint 'peeled' is not known"),
    ],
)
def test_a_constraint_that_is_none_is_bad_input(constraint, message):
    result = solve("--class-counts", "5,4,3", "--constraint", constraint)
    assert result.exit_code == 2
    assert message in result.stderr

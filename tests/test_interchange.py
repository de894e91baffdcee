"""Exported programmes against a naive reader, against MOSEK and COPT, and against what the optimum is known to be."""

import json
import math
import re

import numpy as np
import pytest
from conic_reader import evaluate, read, split
from conic_reader import solve as solve_file
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import cli
from ufm_convex.errors import FileFormatError, HypothesisError, ProblemError, ShapeError, SizeError, UnknownNameError
from ufm_convex.interchange import (
    cbf_solution,
    export_cbf,
    load_cbf_solution,
    point_from_cbf,
    programme,
    save_cbf,
    save_cbf_solution,
)
from ufm_convex.relaxation import DualPoint

LEVELS = ("sample", "class", "group")
PROBLEMS = {
    "plain": ufm.Problem([5, 4, 3, 3], 1e-2, 2e-2),
    "two alike": ufm.Problem([3, 3], 2e-2, 1e-2),
    "partly collapsed": ufm.Problem([6, 6, 2, 1], 4e-2, 4e-2),
    "all collapsed": ufm.Problem([2, 1, 1], 3.0, 3.0),
    "small decay": ufm.Problem([4, 2, 2], 1e-6, 1e-6),
    "weights and smoothing": ufm.Problem(
        [5, 3, 3], 1e-2, 2e-2, loss=ufm.CrossEntropy(class_weights=[1.0, 2.0, 2.0], smoothing=0.1)
    ),
    "free": ufm.Problem([4, 3, 3, 1], 1e-2, 2e-2, features="free"),
}
SOLUTIONS = {}


def solution_of(name):
    """The solution, once; certified, so that its bounds are proved."""
    if name not in SOLUTIONS:
        SOLUTIONS[name] = ufm.solve(PROBLEMS[name], tolerance=1e-6)
        assert SOLUTIONS[name].status == "certified"
    return SOLUTIONS[name]


every_file = pytest.mark.parametrize("level", LEVELS)
every_problem = pytest.mark.parametrize("name", PROBLEMS)
# At decays of 1e-6 the losses are 1e-6 too and weigh 1e6: COPT and Clarabel then stop early and say so themselves.
every_problem_that_solvers_manage = pytest.mark.parametrize(
    "name", [name for name in PROBLEMS if name != "small decay"]
)


def report_at_the_optimum(name, level, change=lambda text: text):
    problem = PROBLEMS[name]
    values = cbf_solution(problem, solution_of(name), level)
    return evaluate(read(change(export_cbf(problem, level))), values), programme(problem, level).objective_scale


# -- the naive reader ----------------------------------------------------------------------------------------------


@every_file
@every_problem
def test_at_the_optimum_the_file_says_what_the_solution_says(name, level):
    report, scale = report_at_the_optimum(name, level)
    value = solution_of(name).value
    assert report.objective * scale == pytest.approx(value, rel=1e-9)
    # entries are of order one to a hundred, so that rounding of sums stays far below 1e-12
    assert max(report.psd, report.linear, report.exponential) <= 1e-12
    # t and s are the smallest there are: every cone is tight
    assert report.slack <= 1e-12


def reversed_triples(text):
    """The rows of each exponential cone in the order of cvxpy and SCS."""
    first = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("L+ "))

    def turned(row):
        return row if row < first else first + 3 * ((row - first) // 3) + 2 - (row - first) % 3

    return in_sections(text, {"FCOORD", "ACOORD", "BCOORD"}, lambda cells: [str(turned(int(cells[0]))), *cells[1:]])


def whole_off_diagonals(text):
    """Off-diagonal coefficients as if an entry were counted once."""

    def doubled(cells):
        return cells if cells[-3] == cells[-2] else [*cells[:-1], repr(2.0 * float(cells[-1]))]

    return in_sections(text, {"OBJFCOORD", "FCOORD"}, doubled)


def without_offsets(text):
    """No log m in the third rows: the entries of the second rows are the only ones that are 1."""
    return in_sections(text, {"BCOORD"}, lambda cells: cells if cells[1] == "1.0" else [cells[0], "0.0"])


def in_sections(text, keywords, change):
    """The text with the data lines of some sections changed."""
    out, section, is_count = [], None, False
    for line in text.splitlines():
        if line and line[0].isalpha() and " " not in line:
            section, is_count = line, True
        elif section in keywords and line and not is_count:
            line = " ".join(change(line.split()))
        elif line:
            is_count = False
        out.append(line)
    return "\n".join(out) + "\n"


@every_file
@pytest.mark.parametrize("fault", [reversed_triples, whole_off_diagonals])
def test_a_planted_fault_is_seen_at_the_optimum(fault, level):
    report, _ = report_at_the_optimum("plain", level, fault)
    assert max(report.exponential, report.slack) > 1e-2


def test_a_missing_offset_is_seen_at_the_optimum():
    report, _ = report_at_the_optimum("plain", "group", without_offsets)
    assert report.slack > 1e-2


def test_the_changes_change_nothing_by_themselves():
    text = export_cbf(PROBLEMS["plain"], "group")
    assert in_sections(text, {"FCOORD"}, lambda cells: cells) == text


@every_file
@every_problem_that_solvers_manage
def test_solved_from_the_file_the_value_lies_between_the_proved_bounds(name, level):
    problem, solution = PROBLEMS[name], solution_of(name)
    value = solve_file(read(export_cbf(problem, level))) * programme(problem, level).objective_scale
    # Clarabel stops at residuals of 1e-8, relative to multipliers and entries of up to a hundred
    slack = 1e-6 * (value + programme(problem, level).objective_scale)
    assert solution.lower_bound - slack <= value <= solution.upper_bound + slack


def test_solved_from_a_faulty_file_the_value_does_not():
    problem, solution = PROBLEMS["plain"], solution_of("plain")
    value = solve_file(read(whole_off_diagonals(export_cbf(problem)))) * programme(problem).objective_scale
    assert value < solution.lower_bound - 1e-2


@every_file
def test_solved_from_the_file_the_value_is_the_theorems(level):
    """Dang, Tran, Nguyen, Ho (ICML 2024): classes separate, min_M pt log1p((K−1) e^{−M}) + σ √((K−1)/K) M, M ≥ 0."""
    counts, lam = np.array([6, 6, 2, 1]), 4e-2
    K, margins = counts.size, np.linspace(0.0, 8.0, 800_001)
    value = sum(
        (n / counts.sum() * np.log1p((K - 1) * np.exp(-margins)) + lam * math.sqrt(n * (K - 1) / K) * margins).min()
        for n in counts
    )
    problem = PROBLEMS["partly collapsed"]
    solved = solve_file(read(export_cbf(problem, level))) * programme(problem, level).objective_scale
    # the grid's step of 1e-5 costs 1e-11 at a minimum; the rest is Clarabel's tolerance of 1e-8 on F / κ
    assert solved == pytest.approx(value, rel=1e-6)


# -- tables of targets ---------------------------------------------------------------------------------------------

SHARES = np.array([[0.5, 0.5, 0, 0], [0, 0.2, 0.8, 0], [0.1, 0.1, 0.1, 0.7], [0, 1, 0, 0], [0.25] * 4])
TABLES = {
    "V < m": ufm.Problem([3, 2, 2, 3, 1], 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(SHARES)),
    "V > m, free": ufm.Problem([3, 2], 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(SHARES[:2]), features="free"),
    "pick-all": ufm.Problem([3, 2, 2], 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy.pick_all([[0, 1], [0], [3, 0]], 4)),
    "equal columns": ufm.Problem([3, 2, 2], 4e-3, 9e-3, loss=ufm.SoftTargetCrossEntropy(SHARES[[0, 1, 1]])),
}


def untargeted(text):
    """The part of the objective that is linear in the blocks without what targets put there: its diagonal alone."""
    lines, out = iter(text.splitlines()), []
    for line in lines:
        if line == "OBJFCOORD":
            rows = [next(lines) for _ in range(int(next(lines)))]
            kept = [row for row in rows if row.split()[1] == row.split()[2]]
            out += [line, str(len(kept)), *kept]
        else:
            out.append(line)
    return "\n".join(out)


@pytest.mark.parametrize("level", ["sample", "class"])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_written_too(name, level):
    problem, solution = TABLES[name], ufm.solve(TABLES[name])
    text, scale = export_cbf(problem, level), programme(problem, level).objective_scale
    values = cbf_solution(problem, solution, level)
    report = evaluate(read(text), values)
    W, H = solution.factors()
    Z, Y, pt = W @ H.T, problem.loss.table.rows(np.arange(problem.num_columns)), problem.loss_weights
    losses = np.log(np.exp(Z).sum(axis=0)) - (Y.T * Z).sum(axis=0)
    expected = pt @ losses + 2e-3 * (W**2).sum() + 4.5e-3 * problem.class_counts @ (H**2).sum(axis=1)
    # the point's Gram matrices are those of the relaxation, W and H fit them to its certified gap of 1e-6
    assert report.objective * scale == pytest.approx(expected, rel=2e-6)
    assert max(report.psd, report.linear, report.exponential, report.slack) <= 1e-12
    planted = evaluate(read(untargeted(text)), values)
    assert abs(planted.objective * scale - expected) > 1e-2
    back = point_from_cbf(problem, level, values)
    assert back.logits.shape == (4, problem.num_columns)
    assert np.abs(back.logits - solution.logits).max() <= 1e-12 * max(1.0, np.abs(solution.logits).max())


@pytest.mark.parametrize("name", TABLES)
def test_solved_from_the_file_of_a_table_the_value_lies_between_the_proved_bounds(name):
    problem, solution = TABLES[name], ufm.solve(TABLES[name])
    assert solution.status == "certified"
    scale = programme(problem).objective_scale
    value = solve_file(read(export_cbf(problem))) * scale
    slack = 1e-6 * (value + scale)  # Clarabel stops at residuals of 1e-8, as above
    assert solution.lower_bound - slack <= value <= solution.upper_bound + slack


def test_what_is_not_written_of_tables_is_named():
    with pytest.raises(HypothesisError, match="does not treat the classes of a group alike") as refusal:
        export_cbf(TABLES["V < m"], "group")
    assert "class" in refusal.value.fix
    bits = ufm.Problem([1, 1], 1e-2, 1e-2, loss=ufm.BinaryCrossEntropy([[1, 0, 1], [0, 1, 1]]))
    with pytest.raises(HypothesisError, match="binary-cross-entropy"):
        export_cbf(bits)


# -- readers of others ---------------------------------------------------------------------------------------------

PIP = "is not installed: pip install 'ufm-convex[interchange]'"


@every_file
@every_problem
def test_mosek_reads_the_same_objective_and_no_violation(name, level, tmp_path):
    mosek = pytest.importorskip("mosek", reason=f"mosek {PIP}")
    problem = PROBLEMS[name]
    save_cbf(tmp_path / "p.cbf", problem, level)
    values = cbf_solution(problem, solution_of(name), level)
    blocks, scalars = split(read(export_cbf(problem, level)), values)
    which = mosek.soltype.itr
    with mosek.Env() as environment, environment.Task() as task:
        task.readdata(str(tmp_path / "p.cbf"))
        task.putxx(which, list(scalars))
        for j, X in enumerate(blocks):  # MOSEK stacks the columns of the lower triangle
            task.putbarxj(which, j, [X[r, c] for c in range(len(X)) for r in range(c, len(X))])
        objective = task.getprimalobj(which)
        cones = task.getpviolacc(which, list(range(task.getnumacc())))
        matrices = task.getpviolbarvar(which, list(range(task.getnumbarvar())))
        faulty = [2.0 * s for s in scalars]
        task.putxx(which, faulty)
        planted = task.getpviolacc(which, list(range(task.getnumacc())))
    report, scale = report_at_the_optimum(name, level)
    assert objective == pytest.approx(report.objective, rel=1e-13)  # sums in another order
    assert objective * scale == pytest.approx(solution_of(name).value, rel=1e-9)
    assert max(*cones, *matrices) <= 1e-12
    assert max(planted) > 1e-2


@every_file
@every_problem_that_solvers_manage
def test_copt_solves_the_file_to_the_same_value(name, level, tmp_path):
    coptpy = pytest.importorskip("coptpy", reason=f"coptpy {PIP}")
    problem, solution = PROBLEMS[name], solution_of(name)
    save_cbf(tmp_path / "p.cbf", problem, level)
    model = coptpy.Envr().createModel(name)
    model.setParam("Logging", 0)
    model.readCbf(str(tmp_path / "p.cbf"))
    model.solve()
    scale = programme(problem, level).objective_scale
    assert model.status == coptpy.COPT.OPTIMAL
    # COPT's feasibility tolerance is 1e-6, absolute, on entries of order one to a hundred
    assert model.objval * scale == pytest.approx(solution.value, rel=1e-5, abs=1e-6 * scale)


# -- points --------------------------------------------------------------------------------------------------------


@every_file
@every_problem
def test_variables_give_the_point_back(name, level):
    problem, solution = PROBLEMS[name], solution_of(name)
    point = point_from_cbf(problem, level, cbf_solution(problem, solution, level))
    dense = point.full() if level == "group" else point
    # a group-level point is the mean over alike classes, of which the objective is that of the solution
    wanted = solution if level != "group" else ufm.solve(problem, solver="clarabel", level="group", tolerance=1e-6)
    tolerance = 1e-12 if level != "group" else 1e-3  # Grams agree to the root of the value's accuracy only
    for mine, theirs in [
        (dense.weight_gram, wanted.weight_gram),
        (dense.logits, wanted.logits),
        (dense.feature_gram, wanted.feature_gram),
    ]:
        assert np.abs(mine - theirs).max() <= tolerance * max(1.0, np.abs(theirs).max())


def test_a_million_classes_in_three_groups_need_no_dense_matrix():
    problem = ufm.Problem(np.repeat([500, 20, 3], [1, 499_999, 500_000]), 1e-9, 1e-9)
    solution = ufm.solve(problem)
    text, scale = export_cbf(problem, "group"), programme(problem, "group").objective_scale
    report = evaluate(read(text), cbf_solution(problem, solution, "group"))
    assert report.objective * scale == pytest.approx(solution.value, rel=1e-9)
    assert max(report.psd, report.linear, report.exponential, report.slack) <= 1e-9  # margins are about 15, K is 1e6


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0.0] * 55, ShapeError), ("text", ShapeError), ([math.nan] + [0.0] * 55, ProblemError), (None, ShapeError)],
)
def test_values_that_are_no_point_are_refused(values, kind):
    with pytest.raises(kind, match="values"):
        point_from_cbf(PROBLEMS["plain"], "class", values)


def test_a_solution_of_another_problem_is_refused():
    with pytest.raises(ProblemError, match="the solution is one of"):
        cbf_solution(PROBLEMS["plain"], solution_of("free"), "class")


# -- solution files ------------------------------------------------------------------------------------------------


def test_a_solution_file_keeps_every_bit(tmp_path):
    problem = PROBLEMS["plain"]
    values = cbf_solution(problem, solution_of("plain"), "group")
    save_cbf_solution(tmp_path / "s.json", problem, "group", values)
    loaded = load_cbf_solution(tmp_path / "s.json", problem)
    assert loaded.level == "group"
    assert (loaded.values == values).all()
    assert loaded.point.A.rows.size == 3
    with pytest.raises(ProblemError, match="problem_sha256"):
        load_cbf_solution(tmp_path / "s.json", PROBLEMS["free"])


def replaced(**fields):
    return lambda text: json.dumps({**json.loads(text), **fields})


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda text: text[: len(text) // 2], FileFormatError),
        (lambda text: "", FileFormatError),
        (lambda text: "[" * 100_000, FileFormatError),
        (lambda text: "[1, 2]", FileFormatError),
        (lambda text: text.replace('"version": 1', '"version": 1, "version": 1'), FileFormatError),
        (replaced(version=2), FileFormatError),
        (replaced(version=True), FileFormatError),
        (replaced(format="other"), FileFormatError),
        (replaced(extra=0), FileFormatError),
        (replaced(values=[0.0] * 55), FileFormatError),
        (replaced(values=[True] * 56), FileFormatError),
        (replaced(values=["0"] * 56), FileFormatError),
        (replaced(values=[math.nan] * 56), FileFormatError),
        (lambda text: text.replace('"values": [', '"values": [1e999, '), FileFormatError),
        (replaced(values=[10**400] * 56), FileFormatError),
        (replaced(values=0), FileFormatError),
        (replaced(level=["class"]), FileFormatError),
        (replaced(level="auto"), UnknownNameError),
        (replaced(problem_sha256="0"), ProblemError),
        (replaced(problem_sha256=None), ProblemError),
    ],
)
def test_a_damaged_solution_file_is_refused(change, kind, tmp_path):
    path, problem = tmp_path / "s.json", PROBLEMS["plain"]
    save_cbf_solution(path, problem, "class", [0.0] * 56)
    assert load_cbf_solution(path, problem).values.size == 56
    path.write_text(change(path.read_text()))
    with pytest.raises(kind):
        load_cbf_solution(path, problem)


CLAIMS = {"status": "inaccurate", "value": 0.25, "dual_value": -1.5}


def test_claims_come_back_from_a_file(tmp_path):
    problem, path = PROBLEMS["plain"], tmp_path / "s.json"
    K = problem.num_classes
    V, T = np.random.default_rng(3).standard_normal((2, K, K))
    save_cbf_solution(path, problem, "class", [0.0] * 56, **CLAIMS, dual=DualPoint(V, T, feature_block=2.0 * T))
    found = load_cbf_solution(path, problem).claims
    assert (found.status, found.value, found.dual_value) == tuple(CLAIMS.values())
    assert (found.dual.residuals == V).all()
    assert (found.dual.nonnegativity == T).all()
    assert (found.dual.feature_block == 2.0 * T).all()
    assert found.dual.weight_block is None
    save_cbf_solution(path, problem, "class", [0.0] * 56)
    assert set(json.loads(path.read_text())) == {"format", "version", "problem_sha256", "level", "values"}


SQUARE = [[0.0] * 4] * 4


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("status", "solved", "status is 'solved'"),
        ("status", 1, "status is 1"),
        ("status", ["optimal"], "status is"),
        ("status", None, "status is null"),
        ("value", "0.5", "value is '0.5'"),
        ("value", True, "value is True"),
        ("value", [1.0], "value is"),
        ("value", 10**400, "value is an integer"),
        ("dual_value", None, "dual_value is null"),
        ("dual", [SQUARE, SQUARE], "dual is"),
        ("dual", {"residuals": SQUARE}, "dual lacks nonnegativity"),
        ("dual", {"residuals": SQUARE, "nonnegativity": SQUARE, "slack": SQUARE}, "slack"),
        ("dual", {"residuals": SQUARE[:3], "nonnegativity": SQUARE}, "residuals of the dual point is"),
        ("dual", {"residuals": SQUARE, "nonnegativity": [[0.0] * 3] * 4}, "nonnegativity of the dual point is"),
        ("dual", {"residuals": [["0"] * 4] * 4, "nonnegativity": SQUARE}, "no finite number"),
        ("dual", {"residuals": [[True] * 4] * 4, "nonnegativity": SQUARE}, "no finite number"),
        ("claim", "optimal", "it holds"),
    ],
)
def test_claims_in_another_form_are_refused_when_read(name, value, words, tmp_path):
    path, problem = tmp_path / "s.json", PROBLEMS["plain"]
    save_cbf_solution(path, problem, "class", [0.0] * 56)
    path.write_text(replaced(**{name: value})(path.read_text()))
    with pytest.raises(FileFormatError, match=re.escape(words)):
        load_cbf_solution(path, problem)


@pytest.mark.parametrize("claims", [{"status": "done"}, {"value": math.inf}, {"dual": 3}])
def test_claims_in_another_form_are_refused_when_written(claims, tmp_path):
    with pytest.raises(ProblemError):
        save_cbf_solution(tmp_path / "s.json", PROBLEMS["plain"], "class", [0.0] * 56, **claims)
    assert not (tmp_path / "s.json").exists()


def test_a_missing_solution_file_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be read"):
        load_cbf_solution(tmp_path / "none.json", PROBLEMS["plain"])


# -- what cannot be exported ---------------------------------------------------------------------------------------


def test_other_losses_levels_and_sizes_are_named_errors(tmp_path):
    squares = ufm.Problem([2, 1, 1], 1e-2, 1e-2, loss=ufm.MeanSquaredError())
    for level in LEVELS:
        with pytest.raises(HypothesisError, match="mean-squared"):
            export_cbf(squares, level)
    with pytest.raises(UnknownNameError, match="auto"):
        export_cbf(PROBLEMS["plain"], "auto")
    with pytest.raises(SizeError, match="sample"):
        export_cbf(ufm.Problem([500, 100], 1e-2, 1e-2), "sample")
    with pytest.raises(SizeError, match="class"):
        export_cbf(ufm.Problem([1] * 401, 1e-2, 1e-2), "class")
    with pytest.raises(FileFormatError, match="cannot be written"):
        save_cbf(tmp_path / "none" / "p.cbf", PROBLEMS["plain"])


def test_coefficients_beyond_binary64_are_a_named_error():
    heavy = ufm.CrossEntropy(class_weights=[2.0**700, 1.0])
    for level in LEVELS:
        with pytest.raises(ProblemError, match="binary64"):
            export_cbf(ufm.Problem([2, 1], 1e-140, 1e-140, loss=heavy), level)
    for decay in (1e-200, 1e200):
        with pytest.raises(ProblemError, match="binary64"):
            export_cbf(ufm.Problem([2, 1], decay, decay), "class")


@every_file
def test_every_number_is_finite_at_extreme_decays(level):
    for lambda_w, lambda_h in [(1e-140, 1e-140), (1e140, 1e140), (1e-300, 1e300), (5e-324, 1e200)]:
        file = read(export_cbf(ufm.Problem([3, 1, 1], lambda_w, lambda_h), level))
        assert all(math.isfinite(a) for a in file.objective.a.values())
        assert all(np.isfinite(F).all() for row in [file.objective, *file.rows] for F in row.F)


# -- the command ---------------------------------------------------------------------------------------------------

ARGUMENTS = ["export", "--class-counts", "5,4,3,3", "--lambda-w", "1e-2", "--lambda-h", "2e-2"]


def run(*arguments):
    return CliRunner().invoke(cli.application(), [*ARGUMENTS, *map(str, arguments)])


@every_file
def test_the_command_writes_the_same_text_to_stdout_and_to_a_file(level, tmp_path):
    printed, written = run("--level", level), run("--level", level, "-o", tmp_path / "p.cbf")
    assert (printed.exit_code, written.exit_code) == (0, 0)
    assert printed.stdout == (tmp_path / "p.cbf").read_text() == export_cbf(PROBLEMS["plain"], level)
    assert written.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["p.cbf"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--level", "auto"], "UnknownNameError"),
        (["--loss", "other"], "UnknownNameError"),
        (["--lambda-w", "nan"], "ProblemError"),
        (["-o", "none/p.cbf"], "FileFormatError"),
        (["--labels", "y.npy"], "ProblemError"),
    ],
)
def test_the_command_refuses_bad_input_with_two(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Fix:" in result.stderr
    assert result.stdout == ""

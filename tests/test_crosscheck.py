"""Every planted liar is found, honest solvers are right, and nothing a solver does ends the check."""

import contextlib
import json
import os
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.cli import application
from ufm_convex.crosscheck import Answer, conformance_cases, run_conformance
from ufm_convex.crosscheck.registry import available
from ufm_convex.errors import ProblemError, SizeError, UnknownNameError
from ufm_convex.problem import Problem
from ufm_convex.relaxation import DualPoint, FrameDual, GramPoint, frame_strengths
from ufm_convex.solvers import Claim

PROBLEM = Problem([40, 20, 8, 2], 0.02, 0.01)
VALUE = theory.optimum(PROBLEM).value


def perfect(problem):
    return theory.optimum(problem).factors()


def gram(problem):
    return GramPoint.from_factors(*perfect(problem))


def dual(problem):
    return FrameDual(frame_strengths(problem)).dense(problem)


def honest(problem):
    value = theory.optimum(problem).value
    return Answer(Claim.OPTIMAL, value, value, None, gram(problem), dual(problem))


def value_shifted_down(problem):
    return replace(honest(problem), value=VALUE - 1e-4)


def value_shifted_up(problem):
    return replace(honest(problem), value=VALUE + 1e-4)


def dual_value_shifted_up(problem):
    return replace(honest(problem), dual_value=VALUE + 1e-4)


def rows_permuted(problem):
    W, H = perfect(problem)
    return W[[1, 0, 2, 3]], H


def gram_rows_permuted(problem):
    point = gram(problem)
    return GramPoint(point.weight_gram, point.logits[[1, 0, 2, 3]], point.feature_gram)


def dual_sign_flipped(problem):
    point = dual(problem)
    return replace(honest(problem), dual=DualPoint(-point.residuals, point.nonnegativity))


def dual_alone_flipped(problem):
    return dual_sign_flipped(problem).dual


def truncated(problem):
    W, H = perfect(problem)
    return 0.9 * W, 0.9 * H


def infeasible_features(problem):
    W, H = perfect(problem)
    H = H.copy()
    H[0, 1] = -0.1
    return W, H


def infeasible_gram(problem):
    point = gram(problem)
    return GramPoint(0.9 * point.weight_gram, point.logits, point.feature_gram)


def gram_rows_permuted_answer(problem):
    return Answer(Claim.OPTIMAL, point=gram_rows_permuted(problem), dual=dual(problem))


def nan(problem):
    W, H = perfect(problem)
    return W * np.nan, H


def nan_value(problem):
    return replace(honest(problem), value=float("nan"))


def transposed_shapes(problem):
    W, H = perfect(problem)
    return W[:-1], H


def ragged(problem):
    return [[1.0], [1.0, 2.0]], None


def nothing(problem):
    return None


def crash(problem):
    raise ValueError("no luck")


def abort(problem):
    os._exit(3)


def hang(problem):
    time.sleep(600)


class Unlikely(BaseException):
    def __str__(self):
        raise RuntimeError("no words")


def raise_unlikely(problem):
    raise Unlikely


def interrupt(problem):
    raise KeyboardInterrupt


def leave(problem):
    sys.exit(0)


def exhaust(problem):
    raise MemoryError


def generate(problem):
    yield perfect(problem)


def transposed(problem):
    W, H = perfect(problem)
    return W.T, H.T


def one_row_a_sample(problem):
    W, H = perfect(problem)
    return W, np.repeat(H, problem.class_counts, axis=0)


def slightly_negative_feature(problem):
    W, H = perfect(problem)
    return W, np.where(np.eye(4, k=1) > 0, -1e-3, H)


def multiplier_scaled(problem):
    point = dual(problem)
    return replace(honest(problem), dual=DualPoint(point.residuals, 1.01 * point.nonnegativity))


def dual_of_another_problem(problem):
    return replace(honest(problem), dual=dual(Problem([40, 20, 8, 3], 0.02, 0.01)))


def gram_not_symmetric(problem):
    point = gram(problem)
    skew = np.triu(np.full((4, 4), 0.3), 1)
    return GramPoint(point.weight_gram + skew - skew.T, point.logits, point.feature_gram)


def nonsense_beside_the_optimum(problem):
    return replace(honest(problem), factors=perfect(problem), point=GramPoint(*(0.01 * np.eye(4) for _ in range(3))))


def value_alone(problem):
    return Answer(Claim.OPTIMAL, VALUE, VALUE)


def value_as_text(problem):
    return replace(honest(problem), value=repr(VALUE))


def value_true(problem):
    return replace(honest(problem), value=True)


def claim_as_text(problem):
    return replace(honest(problem), claim="optimal")


def factors_as_text(problem):
    W, H = perfect(problem)
    return W.astype(str), H


def objects(problem):
    W, H = perfect(problem)
    return W.astype(object), H


def masked(problem):
    W, H = perfect(problem)
    return np.ma.masked_array(W, mask=np.eye(4)), H


def point_no_point(problem):
    return replace(honest(problem), point=np.eye(4))


def dual_no_dual(problem):
    return replace(honest(problem), dual=np.eye(4))


def one_factor(problem):
    return Answer(Claim.OPTIMAL, factors=(np.eye(4),))


def factors_no_pair(problem):
    return Answer(Claim.OPTIMAL, factors=7)


def message_no_text(problem):
    return Answer(Claim.FAILED, message=np.zeros(3))


def _end_of_the_reader():
    raise SystemExit(7)


class Trap:
    """What runs where it is read."""

    def __reduce__(self):
        return _end_of_the_reader, ()

    def __array__(self, *_, **__):
        raise RuntimeError("this is a tensor of sorts")


def trap(problem):
    return Answer(Claim.OPTIMAL, factors=(Trap(), Trap()), message=Trap())


def huge(problem):
    W, H = perfect(problem)
    return W * 1e200, H * 1e200


LIARS = {
    value_shifted_down: "overclaims",
    value_shifted_up: "wrong",
    dual_value_shifted_up: "overclaims",
    rows_permuted: "wrong",
    gram_rows_permuted: "wrong",
    dual_sign_flipped: "wrong",
    dual_alone_flipped: "wrong",
    truncated: "wrong",
    infeasible_features: "wrong",
    infeasible_gram: "wrong",
    huge: "failed",
    nan: "failed",
    nan_value: "failed",
    transposed_shapes: "failed",
    ragged: "failed",
    nothing: "failed",
    crash: "failed",
    abort: "failed",
    raise_unlikely: "failed",
    interrupt: "failed",
    leave: "failed",
    exhaust: "failed",
    generate: "failed",
    transposed: "wrong",
    one_row_a_sample: "failed",
    slightly_negative_feature: "wrong",
    multiplier_scaled: "wrong",
    dual_of_another_problem: "wrong",
    gram_not_symmetric: "wrong",
    nonsense_beside_the_optimum: "wrong",
    value_alone: "failed",
    value_as_text: "failed",
    value_true: "failed",
    claim_as_text: "failed",
    factors_as_text: "failed",
    objects: "failed",
    masked: "failed",
    point_no_point: "failed",
    dual_no_dual: "failed",
    one_factor: "failed",
    factors_no_pair: "failed",
    message_no_text: "failed",
    trap: "failed",
}


def lists(problem):
    W, H = perfect(problem)
    return [W.tolist(), H.tolist()]


def single_precision(problem):
    W, H = perfect(problem)
    return W.astype(np.float32), H.astype(np.float32)


def rounded_below_zero(problem):
    W, H = perfect(problem)
    return W, np.where(H == 0.0, -1e-12, H)


def lingering(problem):
    if os.fork() == 0:
        time.sleep(600)
    return perfect(problem)


@pytest.mark.parametrize(
    "solver", [perfect, gram, dual, honest, lists, single_precision, rounded_below_zero, lingering]
)
def test_the_exact_optimum_is_right_in_every_form(solver):
    (row,) = ufm.cross_check(PROBLEM, [solver]).rows
    assert row.verdict == "right", row.reason
    assert row.certified_gap <= 1e-6


def test_every_planted_liar_is_found():
    checked = ufm.cross_check(PROBLEM, list(LIARS))
    assert {row.solver: str(row.verdict) for row in checked.rows} == {
        liar.__name__: verdict for liar, verdict in LIARS.items()
    }
    assert not checked.passed


def test_a_solver_that_hangs_is_ended_and_the_rest_goes_on():
    started = time.perf_counter()
    rows = ufm.cross_check(PROBLEM, [hang, perfect], time_limit=5.0).rows  # a fork and a closed form take 0.1 s
    assert [str(row.verdict) for row in rows] == ["failed", "right"]
    assert "5 s" in rows[0].reason
    assert time.perf_counter() - started < 300.0  # the sleep is twice that


def open_descriptors():
    found = set()
    for descriptor in range(3, 256):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            found.add(descriptor)
    return found


def test_a_solver_that_scribbles_on_its_pipes_holds_nobody_up():
    before = open_descriptors()

    def scribble(problem):
        for descriptor in open_descriptors() - before:  # the announcement of many bytes, and one of them
            with contextlib.suppress(OSError):
                os.write(descriptor, b"\x00\x7f\xff\xffx")
        time.sleep(600)

    started = time.perf_counter()
    rows = ufm.cross_check(PROBLEM, [scribble, perfect], time_limit=200.0).rows
    assert [str(row.verdict) for row in rows] == ["failed", "right"]
    assert time.perf_counter() - started < 100.0  # not even half the limit


def test_what_a_solver_prints_is_not_seen(capfd):
    def loud(problem):
        print("hello", flush=True)
        os.write(1, b"hello")
        return perfect(problem)

    (row,) = ufm.cross_check(PROBLEM, [loud]).rows
    assert row.verdict == "right"
    assert capfd.readouterr().out == ""


def noisy(problem):
    import subprocess
    import sys

    sys.stdout.write("a" * 2**18)  # more than a pipe holds
    print("b" * 2**18, file=sys.stderr)
    sys.__stdout__.write("c")  # left in a buffer until the process ends
    os.write(1, b"d" * 2**18)
    os.write(2, b"e")
    subprocess.run([sys.executable, "-c", "print('f' * 2**18)"], check=True)
    return perfect(problem)


def test_noise_on_every_channel_is_neither_seen_nor_in_the_way(capfd):
    (row,) = ufm.cross_check(PROBLEM, [noisy], time_limit=300.0).rows
    assert row.verdict == "right", row.reason
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def spawning(monkeypatch):
    """Processes start as on a system without fork; what it holds are the start methods asked for."""
    from ufm_convex.crosscheck import process

    used = []
    context = process.multiprocessing.get_context
    monkeypatch.setattr(process.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr(process.multiprocessing, "get_context", lambda method: used.append(method) or context(method))
    return used


def test_where_processes_cannot_be_forked_they_are_spawned(spawning, capfd):
    def local(problem):  # cannot be pickled
        return perfect(problem)

    right, failed = ufm.cross_check(PROBLEM, [noisy, local], time_limit=300.0).rows
    assert spawning == ["spawn", "spawn"]
    assert (right.verdict, failed.verdict) == ("right", "failed"), right.reason
    assert "cannot be sent to a process" in failed.reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_spawned_processes_are_judged_and_ended_like_forked_ones(spawning):
    rows = ufm.cross_check(PROBLEM, ["lbfgsb", rows_permuted, abort, hang], time_limit=20.0).rows
    assert rows[0].primal_gap is not None, rows[0].reason
    assert [str(row.verdict) for row in rows[1:]] == ["wrong", "failed", "failed"]
    assert "20 s" in rows[-1].reason


@pytest.mark.parametrize(
    ("liar", "words"), [(huge, "its numbers overflow when they are"), (nan, "W has no entries, or")]
)
def test_numbers_beyond_the_range_are_named(liar, words):
    row = ufm.cross_check(PROBLEM, [liar]).rows[0]
    assert row.verdict == "failed"
    assert row.reason.startswith(words)


def test_conic_solvers_are_right_and_a_truncated_claim_is_inaccurate():
    def modest(problem):
        return Answer(Claim.STOPPED, factors=truncated(problem))

    rows = ufm.cross_check(PROBLEM, ["clarabel", modest]).rows
    assert [str(row.verdict) for row in rows] == ["right", "inaccurate"]
    # interior point at 1e-8: every measure is far below the tolerance of the verdict
    assert max(abs(error) for error in vars(rows[0].dimacs).values()) < 1e-5


@pytest.mark.parametrize("solver", ["scs", "cvxpy-default"])
@pytest.mark.parametrize("counts", [[30, 9, 1, 4], [30, 9, 0, 4]])
def test_a_constant_in_the_objective_is_no_claim_of_the_solver(solver, counts):
    """A shift of the logits adds Σ π_k shift_k, which cvxpy keeps from SCS: its dual objective is without it."""
    problem = Problem(counts, 1e-3, 1e-3, loss=ufm.LogitAdjustedCrossEntropy(shift=[0.0, 1.0, 2.0, 3.0]))
    row = ufm.cross_check(problem, [solver]).rows[0]
    best = ufm.solve(problem)
    constant = float(np.dot(counts, [0.0, 1.0, 2.0, 3.0]) / sum(counts))
    # both objectives to SCS's own accuracy, of 1e-4 by its default and relative to numbers near 1
    assert abs(row.dual_value - best.value) < 1e-3 < constant
    assert abs(row.value - best.value) < 1e-3


def test_the_measures_are_zero_at_the_exact_optimum_and_see_a_fault():
    good, bad = (ufm.cross_check(PROBLEM, [one]).rows[0] for one in (honest, dual_sign_flipped))
    assert max(abs(error) for error in vars(good.dimacs).values()) < 1e-12  # rounding
    assert bad.dimacs.err4 > 0.1
    assert bad.dual_violation > 0.1


def test_the_proof_of_the_bounds_is_shown_and_timed():
    """It has no time limit, so that whoever waits for it must see what it does."""
    lines = []
    checked = ufm.cross_check(
        Problem([3, 2], 0.1, 0.1, loss=ufm.MeanSquaredError()), [perfect_zero], progress=lines.append
    )
    shown = [line for line in lines if line.startswith("reference: ")]
    assert shown
    assert lines.index(shown[-1]) < lines.index("perfect_zero: running, at most 60 s")
    assert 0.0 < checked.reference_seconds < 60.0


def perfect_zero(problem):
    return np.zeros((2, 2)), np.zeros((2, 2))


def test_contestants_are_found_by_presence():
    assert set(available()) >= {"clarabel", "scs", "lbfgsb", "projected_gradient"}


@pytest.mark.parametrize(
    ("solvers", "options", "error"),
    [
        (["nonsense"], {}, UnknownNameError),
        ([], {}, UnknownNameError),
        ("scs", {}, UnknownNameError),
        ([perfect], {"time_limit": 0}, ProblemError),
        ([perfect], {"time_limit": float("nan")}, ProblemError),
        ([perfect], {"time_limit": 1e300}, ProblemError),  # no clock waits that long
        ([perfect], {"tolerance": 2.0}, ProblemError),
    ],
)
def test_bad_input_is_refused(solvers, options, error):
    with pytest.raises(error):
        ufm.cross_check(PROBLEM, solvers, **options)


def test_a_problem_too_large_for_dense_points_is_refused_before_any_work():
    with pytest.raises(SizeError, match="30000 × 30000"):
        ufm.cross_check(Problem([3] * 30_000, 1e-3, 1e-3), ["lbfgsb"])


CASES = conformance_cases()
NAMES = [case.name for case in CASES]


def test_names_are_unique_and_every_case_says_why():
    assert len(set(NAMES)) == len(CASES)
    assert all(len(case.why) > 20 for case in CASES)
    assert {case.problem.num_classes for case in CASES} >= {2, 50}


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_perfect_solver_passes_and_a_broken_one_does_not(case):
    assert case.reference.lower * (1 - 1e-12) <= case.value <= case.reference.upper * (1 + 1e-12)  # few roundings
    W, H = case.solution.factors()
    assert case.judge((W, H)).verdict == "right"
    K = case.problem.num_classes
    broken = (W + 0.1, H + 0.1)
    assert case.judge(broken).verdict == "wrong"
    assert case.judge(DualPoint(np.zeros((K, K)), np.zeros((K, K)))).verdict == "wrong"  # the bound of V = 0 is 0


def test_a_solver_is_run_over_cases():
    rows = run_conformance(perfect, cases=CASES[:2])
    assert [str(row.verdict) for _, row in rows] == ["right", "right"]


def test_cases_are_not_run_without_a_limit():
    with pytest.raises(ProblemError, match="time_limit is nan"):
        run_conformance(perfect, cases=CASES[:1], time_limit=float("nan"))


def test_a_pool_of_threads_in_the_parent_does_not_hang_the_child():
    """Clarabel's threads are gone after a fork; an order of 60 makes the parent start them."""
    ufm.solve(Problem(np.geomspace(500, 5, 30).astype(int), 1e-3, 1e-3), solver="clarabel", level="class")
    case = next(case for case in CASES if case.level == "sample")
    ((_, row),) = run_conformance("clarabel", cases=[case], time_limit=300.0)
    assert row.verdict == "right", row.reason


def test_the_case_of_samples_is_run_at_sample_level():
    case = next(case for case in CASES if case.level == "sample")
    ((_, right),) = run_conformance("clarabel", cases=[case])
    assert right.verdict == "right", right.reason
    ((_, failed),) = run_conformance("cvxpy-default", cases=[case])
    assert (failed.verdict, failed.reason) == ("failed", "has no level 'sample', only class")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fifty-classes", "fifty-long-tail"])
def test_a_real_solver_passes_the_large_cases(name):
    ((_, row),) = run_conformance("scs", cases=[case for case in CASES if case.name == name], time_limit=300.0)
    assert row.verdict == "right", row.reason
    assert max(abs(error) for error in vars(row.dimacs).values()) < 1e-4


ARGUMENTS = ["crosscheck", "--class-counts", "40,20,8,2", "--lambda-w", "0.02", "--lambda-h", "0.01"]


def test_the_command_prints_one_object_and_its_code():
    result = CliRunner().invoke(application(), [*ARGUMENTS, "--solvers", "clarabel", "--json"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert {"solver", "status_claimed", "value", "certified_gap", "dual_violation", "verdict"} <= set(row)
    assert (row["solver"], row["verdict"], row["status_claimed"]) == ("clarabel", "right", "optimal")
    assert row["value"] == pytest.approx(VALUE, rel=1e-6)


def test_the_command_leaves_with_1_when_a_solver_is_wrong(monkeypatch):
    from ufm_convex.crosscheck import lbfgsb

    monkeypatch.setattr(
        lbfgsb.LBFGSB, "answer", lambda self, problem, *_: Answer(Claim.OPTIMAL, factors=rows_permuted(problem))
    )
    result = CliRunner().invoke(application(), [*ARGUMENTS, "--solvers", "lbfgsb"], env={"COLUMNS": "120"})
    assert result.exit_code == 1
    assert "wrong" in result.stdout


def answers(monkeypatch, answer):
    from ufm_convex.crosscheck import lbfgsb, projected_gradient

    for kind in (lbfgsb.LBFGSB, projected_gradient.ProjectedGradient):
        monkeypatch.setattr(kind, "answer", lambda self, problem, *_: answer(problem))
    return ["--solvers", "lbfgsb,projected_gradient"]


def test_the_command_leaves_with_1_when_nothing_was_judged(monkeypatch):
    """Every row has failed: no solver is wrong, and none is right either."""
    solvers = answers(monkeypatch, lambda problem: Answer(Claim.FAILED, message="out of order"))
    for extra in ([], ["--json"]):
        result = CliRunner().invoke(application(), [*ARGUMENTS, *solvers, *extra])
        assert result.exit_code == 1, result.output
        assert "failed" in result.stdout
    assert not ufm.cross_check(PROBLEM, [crash, hang], time_limit=0.5).passed
    assert ufm.cross_check(PROBLEM, [crash, perfect]).passed


def test_a_solution_file_that_cannot_be_judged_leaves_with_1(tmp_path):
    (tmp_path / "s.json").write_text("{}")
    code, rows = judged(tmp_path / "s.json")
    assert (code, [row["verdict"] for row in rows]) == (1, ["failed"])


LONG = "its words are many, and each of them counts: " + " ".join(f"word{k:02}" for k in range(30))


@pytest.mark.parametrize("columns", ["80", "40", None])
@pytest.mark.parametrize(
    "answer",
    [lambda problem: Answer(Claim.FAILED, message=LONG), gram_rows_permuted_answer, honest],
    ids=["failed", "wrong", "right"],
)
def test_the_table_is_readable_in_a_narrow_terminal_and_piped(columns, answer, monkeypatch, tmp_path):
    """Numbers and verdicts stand in 80 columns, words are never cut, and piped there is neither colour nor frame."""
    solvers = answers(monkeypatch, answer)
    result = CliRunner().invoke(application(), [*ARGUMENTS, *solvers], env={"COLUMNS": columns})
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert result.stdout.isprintable() or set(result.stdout) - {"\n"} <= set(filter(str.isprintable, result.stdout))
    assert "\x1b" not in result.stdout
    assert "…" not in result.stdout
    rows = json.loads(CliRunner().invoke(application(), [*ARGUMENTS, *solvers, "--json"]).stdout)["rows"]
    (heading,) = (line for line in lines if line.startswith("solver "))
    for row in rows:
        place = next(k for k, line in enumerate(lines) if line.startswith(row["solver"] + " "))
        assert row["verdict"] in lines[place].split()
        if row["solver_primal_value"] is not None:
            end = heading.index("its primal") + len("its primal")
            assert float(lines[place][:end].split()[-1]) == pytest.approx(row["solver_primal_value"], rel=1e-6)
        said = " ".join(lines[place + 1 :])
        assert all(word in said.split() for word in row["reason"].split()), row["reason"]


def test_a_long_name_has_a_line_of_its_own(tmp_path):
    name = "the-solution-that-another-solver-left-behind.json"
    path = solution_file(tmp_path / name, Problem([40, 20, 8], 5e-3, 5e-3))
    arguments = ["crosscheck", "--class-counts", "40,20,8", "--lambda-w", "5e-3", "--lambda-h", "5e-3"]
    result = CliRunner().invoke(application(), [*arguments, "--solution", str(path)], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert name in result.stdout.splitlines()
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_command_takes_a_level():
    arguments = ["crosscheck", "--class-counts", "3,2", "--lambda-w", "0.1", "--lambda-h", "0.02", "--level", "sample"]
    result = CliRunner().invoke(application(), [*arguments, "--solvers", "clarabel,cvxpy-default", "--json"])
    assert result.exit_code == 0, result.output
    assert [row["verdict"] for row in json.loads(result.stdout)["rows"]] == ["right", "failed"]


@pytest.mark.parametrize(
    "extra",
    [
        ["--solvers", "nonsense"],
        ["--time-limit", "x"],
        ["--tolerance", "0"],
        ["--level", "auto"],
        ["--level", "class", "--conformance"],
    ],
)
def test_the_command_leaves_with_2_on_bad_input(extra):
    result = CliRunner().invoke(application(), [*ARGUMENTS, *extra])
    assert result.exit_code == 2
    assert "Fix:" in result.stderr


def test_the_command_runs_the_conformance_cases(monkeypatch):
    from ufm_convex import crosscheck

    monkeypatch.setattr(crosscheck, "conformance_cases", lambda: CASES[:2])
    result = CliRunner().invoke(application(), ["crosscheck", "--conformance", "--solvers", "lbfgsb", "--json"])
    assert [row["case"] for row in json.loads(result.stdout)["rows"]] == NAMES[:2]
    assert result.exit_code in (0, 1)


# -- solution files ------------------------------------------------------------------------------------------------


def solution_file(path, problem, spoil=lambda values: values, level="class"):
    from ufm_convex.interchange import cbf_solution, save_cbf_solution

    save_cbf_solution(path, problem, level, spoil(cbf_solution(problem, ufm.solve(problem), level)))
    return path


def judged(path, counts="40,20,8", extra=()):
    arguments = ["crosscheck", "--class-counts", counts, "--lambda-w", "5e-3", "--lambda-h", "5e-3", "--json"]
    result = CliRunner().invoke(application(), [*arguments, "--solution", str(path), *extra])
    return result.exit_code, json.loads(result.stdout).get("rows")  # an error is an object without any


@pytest.mark.parametrize("level", ["class", "group", "sample"])
def test_a_solution_file_is_judged(tmp_path, level):
    code, rows = judged(solution_file(tmp_path / "s.json", Problem([40, 20, 8], 5e-3, 5e-3), level=level))
    assert (code, [(row["solver"], row["verdict"]) for row in rows]) == (0, [("s.json", "right")])


def test_a_wrong_solution_file_is_caught(tmp_path):
    path = solution_file(tmp_path / "s.json", Problem([40, 20, 8], 5e-3, 5e-3), lambda values: 0.9 * values)
    code, rows = judged(path)
    assert (code, rows[0]["verdict"]) == (1, "wrong")
    assert rows[0]["certified_gap"] > 1e-4


def test_a_file_of_another_problem_or_a_truncated_one_is_a_failed_row(tmp_path):
    path = solution_file(tmp_path / "s.json", Problem([40, 20, 8], 5e-3, 5e-3))
    _, rows = judged(path, counts="40,20,9", extra=("--solvers", "clarabel"))
    assert [row["verdict"] for row in rows] == ["right", "failed"]
    path.write_bytes(path.read_bytes()[:-20])
    assert judged(path)[1][0]["verdict"] == "failed"
    assert judged(tmp_path / "missing.json") == (2, None)
    assert judged(path, extra=("--conformance",)) == (2, None)


@pytest.mark.parametrize("shift", [-1e-7, 1e-7])
def test_a_shift_is_seen_from_the_tolerance_on(shift):
    """1e-7 is 1.5e-7 of the value: within 1e-6, and beyond 1e-7."""
    (case,) = [replace(CASES[0], problem=PROBLEM)]
    shifted = replace(honest(PROBLEM), value=VALUE + shift)
    assert case.judge(shifted, tolerance=1e-6).verdict == "right"
    assert case.judge(shifted, tolerance=1e-7).verdict == ("overclaims" if shift < 0 else "wrong")


@pytest.mark.parametrize(("lambda_w", "lambda_h"), [(1e-10, 1e8), (1.0, 1e-2), (1e8, 1e-10)])
def test_negative_features_are_measured_in_units_of_the_problem(lambda_w, lambda_h):
    """Features are 1e-5 or 1e4 long here; a column that no row of W uses changes neither the logits nor B >= 0."""
    problem = Problem([6, 3, 2], lambda_w / 100, lambda_h / 100)
    W, H = (np.hstack([factor, np.zeros((3, 1))]) for factor in perfect(problem))
    unused = np.full((3, 1), np.abs(H).max())
    case = replace(CASES[0], problem=problem)
    assert case.judge((W, H - 0.05 * unused * [0, 0, 0, 1])).verdict == "wrong"
    assert case.judge((W, H - 1e-10 * unused * [0, 0, 0, 1])).verdict == "right"


def test_a_gram_point_is_not_blamed_for_a_dimension_that_its_programme_does_not_have():
    narrow = Problem([6, 3, 2], 0.05, 0.02, feature_dim=2)
    row = ufm.cross_check(narrow, ["clarabel"]).rows[0]
    assert (row.verdict, row.reason) == ("failed", "its Gram point needs more than feature_dim = 2 columns")
    simplex = replace(narrow, features="free")  # of rank 2
    assert [str(row.verdict) for row in ufm.cross_check(simplex, ["clarabel", "lbfgsb"]).rows] == ["right", "right"]
    dead = Problem([40, 20, 1], 0.1, 0.1, feature_dim=2)  # the last class has collapsed, and needs no column
    assert ufm.cross_check(dead, [gram]).rows[0].verdict == "right"


@pytest.mark.parametrize("liar", [trap, dual_no_dual, factors_no_pair, message_no_text, objects, value_as_text])
def test_what_is_no_answer_is_judged_where_it_was_made_too(liar):
    """In another project's tests there is no process in between."""
    assert replace(CASES[0], problem=PROBLEM).judge(liar(PROBLEM)).verdict == "failed"


@pytest.mark.parametrize("size", [1.0, 1e200])
def test_nonsense_that_repair_makes_feasible_is_not_right(size):
    """Repair maps a constant matrix to the optimal dual point here; the verdict is about what was handed over."""
    problem = Problem([5, 3, 2], 0.1, 0.02)
    row = ufm.cross_check(problem, [lambda _: DualPoint(np.full((3, 3), size), -np.ones((3, 3)))]).rows[0]
    assert row.verdict == "wrong"
    assert row.dual_violation > 100.0


def test_a_complex_answer_has_failed():
    problem = Problem([5, 3, 2], 0.1, 0.02)
    W, H = ufm.solve(problem).factors()
    row = ufm.cross_check(problem, [lambda _: (W + 1j, H)]).rows[0]
    assert (row.verdict, row.reason) == ("failed", "W holds complex128, not real numbers")

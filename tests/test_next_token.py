"""Next tokens: tables from a corpus, many columns against many outputs, and the limit of vanishing decay.

Expected values come from counting by hand, from descents on W and H written from the definition, from ball arithmetic
and from cvxpy's least nuclear norm; bounds in binary64 are compared with these.
"""

from __future__ import annotations

import json
import math
import tracemalloc

import mpmath
import numpy as np
import pytest
import scipy.sparse
from test_targets import descended, softmax_loss
from typer.testing import CliRunner

import ufm_convex as ufm
from tests.benchmarks import bench_next_token
from ufm_convex import enclosure, relaxation, solvers
from ufm_convex.cli import application
from ufm_convex.duality import factors_report, report
from ufm_convex.enclosure import wide, wide_lower_bound, wide_upper_bound
from ufm_convex.errors import FileFormatError, HypothesisError, ProblemError, ShapeError, SizeError
from ufm_convex.evidence.factored import FactoredEvidence
from ufm_convex.losses.table import SHARES, Table
from ufm_convex.recovery import Projection
from ufm_convex.relaxation import Dual, Factors

NAME = "variable-projection"
CORPUS = bench_next_token.CORPUS


def table(V, m, seed=0):
    """Sparse shares of two to four outputs a column, and counts; ``default_rng(seed)``."""
    generator = np.random.default_rng(seed)
    Y = np.zeros((m, V))
    for row in Y:
        chosen = generator.choice(V, generator.integers(2, min(V, 5)), replace=False)
        row[chosen] = generator.dirichlet(np.ones(chosen.size))
    return Y, generator.integers(1, 9, m)


def problem_of(Y, counts, decay=2e-3, **given):
    loss = ufm.SoftTargetCrossEntropy(Y, given.pop("class_weights", None))
    return ufm.Problem(counts, decay, 1.5 * decay, loss=loss, **{"features": "free", **given})


# -- from a corpus -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_corpus_is_counted(k):
    """Ten corpora of up to 60 tokens, default_rng(1), counted in dictionaries."""
    generator = np.random.default_rng(1)
    for _ in range(10):
        tokens = generator.integers(0, generator.integers(2, 7), generator.integers(k + 2, 60)).tolist()
        tokens[0] = 1  # two outputs at least
        seen = {}
        for i in range(len(tokens) - k):
            follow = seen.setdefault(tuple(tokens[i : i + k]), {})
            follow[tokens[i + k]] = follow.get(tokens[i + k], 0) + 1
        found = ufm.next_tokens(tokens, k)
        assert [tuple(row) for row in found.contexts.tolist()] == sorted(seen)
        assert found.counts.tolist() == [sum(seen[one].values()) for one in sorted(seen)]
        assert found.counts.sum() == len(tokens) - k
        assert found.targets.shape == (len(seen), max(tokens) + 1)
        for row, context in zip(found.targets.toarray(), sorted(seen), strict=True):
            total = sum(seen[context].values())
            assert row.tolist() == [seen[context].get(v, 0) / total for v in range(row.size)]
        loss = ufm.SoftTargetCrossEntropy(found.targets)
        assert ufm.Problem(found.counts, 1e-2, 1e-2, loss=loss).num_samples == len(tokens) - k
    assert ufm.next_tokens(CORPUS, 2, num_outputs=9).targets.shape[1] == 9


REFUSED = {
    "no token": (([], 1), "tokens is empty"),
    "a context as long as the corpus": (([0, 1, 2], 3), "context is 3, and there are 3 tokens"),
    "a longer one": (([0, 1, 2], 4), "context is 4"),
    "a corpus of one token": (([1], 1), "context is 1, and there are 1 tokens"),
    "no context": (([0, 1, 2], 0), "context is 0"),
    "a negative context": (([0, 1, 2], -1), "context is -1"),
    "a context that is no integer": (([0, 1, 2], 1.0), "context is 1.0"),
    "a context that is a bool": (([0, 1, 2], True), "context is True"),
    "a negative token": (([0, -1, 2], 1), r"tokens\[1\] is -1"),
    "floats": (([0.0, 1.0, 2.0], 1), r"tokens\[0\] is 0.0"),
    "an array of floats": ((np.array([0.0, 1.0]), 1), "float64"),
    "text": (("012", 1), "tokens is '012'"),
    "words": ((["the", "cat"], 1), r"tokens\[0\] is 'the'"),
    "bools": (([True, False], 1), r"tokens\[0\] is True"),
    "two dimensions": ((np.zeros((3, 2), dtype=int), 1), "shape"),
    "one output": (([0, 0, 0], 1), "there is one output"),
    "one output, said so": (([0, 0, 0], 1, 1), "num_outputs is 1"),
    "a small vocabulary": (([0, 1, 2], 1, 2), "num_outputs is 2, and the largest token is 2"),
    "a vocabulary that is no integer": (([0, 1, 2], 1, 3.0), "num_outputs is 3.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_corpus_is_refused_by_name(name):
    given, words = REFUSED[name]
    with pytest.raises(ProblemError, match=words):
        ufm.next_tokens(*given)


def test_the_advice_about_one_output_works():
    found = ufm.next_tokens([0, 0, 0], 1, num_outputs=2)
    assert found.targets.toarray().tolist() == [[1.0, 0.0]]


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "c.npy", CORPUS)
    (tmp_path / "c.txt").write_text("\n".join(" ".join(map(str, CORPUS[i : i + 7])) for i in range(0, 25, 7)) + "\n")
    np.save(tmp_path / "f.npy", np.array(CORPUS, dtype=float))
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "words.txt").write_text("0 1\n2 the 1\n")
    (tmp_path / "points.txt").write_text("0 1 2.0\n")
    (tmp_path / "negative.txt").write_text("0 1 -2 1\n")
    (tmp_path / "c.csv").write_text("0,1,2\n")
    return tmp_path


def run(*words):
    return CliRunner().invoke(application(), list(map(str, words)))


DECAYS = ("--lambda-w", "1e-3", "--lambda-h", "1e-3", "--features", "free")


@pytest.mark.parametrize("name", ["c.npy", "c.txt"])
def test_tokens_are_read_from_files(files, name):
    assert ufm.read_tokens(files / name).tolist() == CORPUS
    done = run("solve", "--tokens", files / name, "--context", 2, *DECAYS, "--json")
    assert done.exit_code == 0, done.output
    record, found = json.loads(done.stdout), ufm.next_tokens(CORPUS, 2)
    problem = ufm.Problem(found.counts, 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(found.targets), features="free")
    assert record["value"] == pytest.approx(ufm.solve(problem).value, rel=1e-8)
    assert (record["num_outputs"], record["num_columns"], record["num_samples"]) == (5, len(found.counts), 23)
    assert record["floor"] == problem.floor


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("f.npy", ProblemError, "float64"),
        ("empty.txt", FileFormatError, "does not hold"),
        ("empty.npy", FileFormatError, "does not hold"),
        ("words.txt", ProblemError, "line 2: the token is 'the'"),
        ("points.txt", ProblemError, "line 1: the token is '2.0'"),
        ("c.csv", FileFormatError, "suffix"),
        ("missing.txt", FileFormatError, "missing.txt"),
    ],
)
def test_files_without_tokens_are_refused(files, name, kind, words):
    with pytest.raises(kind, match=words):
        ufm.read_tokens(files / name)
    assert run("solve", "--tokens", files / name, "--context", 1, *DECAYS).exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tokens", "c.txt"), "--tokens is given without --context"),
        (("--context", "2", "--class-counts", "3,2"), "--context is given without --tokens"),
        (("--tokens", "c.txt", "--context", "25"), "context is 25"),
        (("--tokens", "c.txt", "--context", "x"), "--context is 'x'"),
        (("--tokens", "c.txt", "--context", "2", "--num-classes", "4"), "num_outputs is 4"),
        (("--tokens", "c.txt", "--context", "2", "--class-counts", "3,2"), "given 2 times"),
        (("--tokens", "c.txt", "--context", "2", "--targets", "t.npy"), "targets of the loss is given 2 times"),
        (("--tokens", "negative.txt", "--context", "2"), "is -2"),
        (("--tokens", "c.txt", "--context", "2", "--loss", "squared-hinge"), "targets"),
    ],
)
def test_options_about_tokens_that_do_not_fit_are_refused(files, monkeypatch, words, said):
    monkeypatch.chdir(files)
    np.save("t.npy", np.eye(3))
    done = run("solve", *words, *DECAYS)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split()), done.output


# -- bounds in binary64 --------------------------------------------------------------------------------------------


def shares_of(problem, seed):
    """Shares near those of random logits, (V, m), and U D^{-1/2} without the package."""
    generator, Y = np.random.default_rng(seed), problem.loss.table.rows(np.arange(problem.num_columns)).T
    z = generator.normal(size=Y.shape)
    p = 0.6 * Y + 0.4 * np.exp(z) / np.exp(z).sum(axis=0)
    return p, (p - Y) * problem.loss_weights / problem.sigma


def entropy(problem, rows):
    """Σ pt Ent of rows of shares, in mpmath."""

    def term(share):
        return -mpmath.mpf(share) * mpmath.log(mpmath.mpf(share)) if share > 0.0 else mpmath.mpf(0)

    sums = (sum(map(term, row)) for row in rows.tolist())
    return sum(mpmath.mpf(weight) * one for weight, one in zip(problem.loss_weights.tolist(), sums, strict=True))


@pytest.mark.parametrize(("V", "m", "decay"), [(4, 9, 2e-2), (9, 4, 2e-2), (5, 5, 1e-4), (6, 8, 0.5), (3, 1, 1e-3)])
def test_the_lower_bound_is_below_the_dual_value_in_fifty_digits_and_near_it(V, m, decay):
    Y, counts = table(V, m, seed=V)
    for seed in range(4):
        weights = tuple(np.random.default_rng(seed).uniform(0.5, 2.0, m)) if seed % 2 else None
        problem = problem_of(Y, counts, decay, class_weights=weights)
        p, P = shares_of(problem, seed)
        s = min(1.0, 1.0 / float(np.linalg.norm(P, 2)))
        with mpmath.workdps(50):
            whole, floor = (entropy(problem, rows) for rows in (p.T, problem.loss.table.rows(np.arange(m))))
            exact = float(s * whole + (1 - s) * floor)
        found = wide_lower_bound(problem, p)
        assert found.proof == "norm"
        # s is known to 1e-14 of itself here, and costs that share of what lies above the floor
        assert exact * (1 - 1e-11) <= found.value <= exact * (1 + 1e-13)
        point = relaxation.DualPoint(s * (1 - 1e-9) * (p - problem.loss.table.rows(np.arange(m)).T), np.zeros((m, m)))
        assert found.value <= enclosure.lower_bound(problem, point).value * (1 + 1e-8)  # at s p + (1 − s) y itself


@pytest.mark.parametrize(("V", "m", "d"), [(4, 9, 3), (9, 4, 2), (5, 5, 7), (30, 60, 20)])
def test_the_upper_bound_is_above_that_of_ball_arithmetic_and_near_it(V, m, d):
    Y, counts = table(V, m, seed=d)
    generator = np.random.default_rng(d)
    problem = problem_of(Y, counts, class_weights=tuple(generator.uniform(0.5, 2.0, m)))
    for size in (1e-3, 1.0, 10.0):
        W, H = size * generator.normal(size=(V, d)), size * generator.normal(size=(m, d))
        for penalties in (True, False):
            exact = enclosure.upper_bound(problem, (W, H), penalties=penalties).value
            found = wide_upper_bound(problem, W, H, penalties=penalties).value
            assert exact * (1 - 1e-15) <= found <= exact * (1 + 1e-11)


def test_shares_that_are_not_feasible_prove_no_more_than_they_are_worth():
    """The entropy of the shares alone lies above the optimum: without the norm it would be no bound."""
    Y, counts = table(5, 12)
    problem = problem_of(Y, counts)
    optimum = ufm.solve(problem, solver="factored").value
    uniform = np.full((5, 12), 0.2)
    assert float(problem.loss_weights.sum()) * math.log(5) > optimum
    assert problem.floor <= wide_lower_bound(problem, uniform).value < optimum


def test_a_norm_that_is_too_small_would_prove_too_much(monkeypatch):
    Y, counts = table(5, 12)
    problem = problem_of(Y, counts)
    optimum = ufm.solve(problem, solver="factored").value
    monkeypatch.setattr(wide, "_eigenvalue_above", lambda G: 0.5)
    assert wide_lower_bound(problem, np.full((5, 12), 0.2)).value > optimum


def test_the_eigenvalue_is_bounded_whatever_the_factorisation_says(monkeypatch):
    generator = np.random.default_rng(0)
    for n in (1, 2, 30):
        A = generator.normal(size=(n, n + 3))
        G, top = A @ A.T, float(np.linalg.norm(A, 2)) ** 2
        assert top * (1 - 1e-14) <= wide._eigenvalue_above(G) <= top * (1 + 1e-9)
    cholesky = np.linalg.cholesky
    monkeypatch.setattr(wide.np.linalg, "cholesky", lambda M: 0.9 * cholesky(M))  # a factor of something else
    assert wide._eigenvalue_above(G) >= top
    monkeypatch.setattr(wide.np.linalg, "eigvalsh", lambda G: np.array([0.25 * top]))  # no factor of that
    monkeypatch.setattr(wide.np.linalg, "cholesky", cholesky)
    assert wide._eigenvalue_above(G) >= top


def test_points_that_are_none_prove_nothing():
    Y, counts = table(5, 12)
    problem = problem_of(Y, counts, feature_dim=3)
    floor = wide_lower_bound(problem, Y.T).value
    assert floor == pytest.approx(problem.floor, rel=1e-12)
    assert floor <= problem.floor * (1 + 1e-15)
    for shares in (np.full((5, 12), np.nan), np.full((5, 12), -1.0), np.full((5, 12), 0.6)):
        found = wide_lower_bound(problem, shares)
        assert (found.value, found.proof) == (floor, "trivial")
    with pytest.raises(ShapeError, match=r"shape \(12, 5\)"):
        wide_lower_bound(problem, Y)
    W, H = np.ones((5, 3)), np.ones((12, 3))
    wrong = [(np.ones((5, 4)), np.ones((12, 4))), (W, H.T), (W * np.nan, H), (W, H * np.inf), (W * 1e300, H)]
    for one in wrong:
        assert wide_upper_bound(problem, *one).value == math.inf
    nonnegative = problem_of(Y, counts, features="nonnegative")
    assert math.isfinite(wide_upper_bound(nonnegative, W, H).value)
    assert wide_upper_bound(nonnegative, W, H - 1.5).value == math.inf
    for other in (ufm.Problem([3, 2], 1e-2, 1e-2), problem_of(Y, counts, bias=0.1)):
        with pytest.raises(ProblemError, match="the problem has the loss"):
            wide_lower_bound(other, Y.T)


def test_a_table_whose_own_entries_fall_below_zero_has_bounds_all_the_same():
    """Of a square table the own entry is 1 minus the others, here −2^-55 without rounding."""
    rows = np.array([[0.0, 0.1, 0.4, 0.5], [0.1, 0.7, 0.1, 0.1], [0, 0, 1, 0], [0.25] * 4])
    exact = Table.of(rows, SHARES).exact_row(0)[0]
    assert exact < 0
    problem = problem_of(rows, (3, 2, 4, 5))
    solution = ufm.solve(problem, solver=NAME)
    exact = ufm.solve(problem, solver="factored", tolerance=1e-9)
    assert [solution.status, exact.status] == ["certified"] * 2
    assert exact.lower_bound * (1 - 2e-6) <= solution.lower_bound <= exact.upper_bound
    assert wide_lower_bound(problem, np.full((4, 4), 0.25)).value < exact.upper_bound  # shrunk
    assert wide_lower_bound(problem, np.full((4, 4), np.nan)).value == -math.inf


def test_norms_beyond_binary64_leave_the_floor():
    """U D^{-1/2} is of order 1e160: its square overflows, and no shares but those of the table are of use."""
    Y = np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    problem = ufm.Problem((3, 2), 1e-160, 1e-160, loss=ufm.SoftTargetCrossEntropy(Y), features="free")
    found = wide_lower_bound(problem, np.full((3, 2), 1.0 / 3.0))
    assert found.proof == "trivial"
    assert 0.0 < found.value <= problem.floor * (1.0 + 1e-15)
    heavy = ufm.Problem((3, 2), 1e-3, 1e307, loss=problem.loss, features="free")  # the penalty of H is beyond, too
    assert wide_upper_bound(heavy, np.ones((3, 1)), np.full((2, 1), 10.0)).value == math.inf


# -- the solver ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("V", "m"), [(4, 9), (8, 5), (6, 6)])
@pytest.mark.parametrize("decay", [2e-2, 1e-3])
def test_the_optimum_is_that_of_many_descents(V, m, decay):
    Y, counts = table(V, m, seed=m)
    problem = problem_of(Y, counts, decay)
    solution = ufm.solve(problem, solver=NAME)
    expected = descended(softmax_loss, Y, counts, (decay, 1.5 * decay), starts=6)
    assert solution.status == "certified", solution.route
    assert solution.lower_proof == "norm"
    assert solution.lower_bound <= expected * (1 + 1e-13)
    assert abs(solution.value - expected) <= 1.1e-6 * (expected - solution.floor)
    W, H = solution.factors()
    assert (W.shape[0], H.shape[0], solution.logits.shape, solution.slack.shape) == (V, m, (V, m), (m, m))
    assert solution.kkt().passed, solution.kkt().worst
    assert solution.feature_norms == pytest.approx(np.linalg.norm(H, axis=1))
    assert solution.solver_kkt() is None


def test_weights_enter_the_loss():
    sets = [[0], [1, 2], [0, 1, 2], [2], [1, 3], [0, 3]]
    loss = ufm.SoftTargetCrossEntropy.pick_all(sets, 4)
    problem = ufm.Problem((5, 4, 3, 2, 6, 1), 3e-3, 3e-3, loss=loss, features="free")
    values = [ufm.solve(problem, solver=name, tolerance=1e-8) for name in (NAME, "factored")]
    assert [one.status for one in values] == ["certified"] * 2
    assert values[0].value == pytest.approx(values[1].value, rel=1e-7)


def test_where_nothing_pays_everything_is_zero():
    Y, counts = table(5, 12)
    solution = ufm.solve(problem_of(Y, counts, 1.0), solver=NAME)
    assert solution.status == "certified"
    assert solution.value == pytest.approx(math.log(5), rel=1e-12)
    assert solution.rank == 0
    assert not any(part.any() for part in solution.factors())


def test_equal_columns_are_merged_and_written_out():
    Y, counts = table(6, 9)
    Y, counts = np.vstack([Y, Y[[2, 5, 2]]]), np.append(counts, [4, 1, 2])
    problem = problem_of(Y, counts)
    solution = ufm.solve(problem, solver=NAME)
    assert solution.route[0].startswith("12 columns, equal ones merged into 9")
    assert isinstance(solution.evidence, FactoredEvidence)
    assert solution.status == "certified"
    W, H = solution.factors()
    assert H.shape[0] == 12
    assert (H[2] == H[9]).all()
    exact = enclosure.upper_bound(problem, (W, H)).value  # of all twelve columns
    assert exact <= solution.upper_bound * (1 + 1e-14)
    assert exact == pytest.approx(solution.upper_bound, rel=1e-11)
    assert wide_lower_bound(problem, solution.dual.V.even + Y.T).value == pytest.approx(solution.lower_bound, rel=1e-9)
    assert solution.kkt().passed, solution.kkt().worst


def test_the_report_at_factors_is_that_of_their_gram_matrices():
    Y, counts = table(5, 8)
    problem = problem_of(Y, counts)
    columns, generator = relaxation.of_classes(problem), np.random.default_rng(3)
    factors = Factors.single(columns, generator.normal(size=(5, 3)), generator.normal(size=(8, 3)))
    p, P = shares_of(problem, 5)
    for scale in (0.5 / np.linalg.norm(P, 2), 3.0 / np.linalg.norm(P, 2)):  # inside and outside the unit ball
        dual = Dual(min(scale, 1.0) * relaxation.Alike.matrix(columns.outputs, columns.columns, p - Y.T))
        found = factors_report(columns, factors, dual, 1e-6).residuals
        expected = report(columns, factors.gram(), dual, factors, 1e-6).residuals
        assert found.keys() == expected.keys()
        for name, residual in expected.items():
            assert found[name] == pytest.approx(residual, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("d", [1, 3])
def test_with_a_binding_dimension_both_bounds_are_honest(d):
    Y, counts = table(6, 14)
    problem, free = problem_of(Y, counts, 1e-3, feature_dim=d), ufm.solve(problem_of(Y, counts, 1e-3))
    solution = ufm.solve(problem, solver=NAME)
    best = descended(softmax_loss, Y, counts, (1e-3, 1.5e-3), d=d, starts=6)
    assert solution.status == "bounded"
    assert solution.lower_bound == pytest.approx(free.value, rel=1e-6)
    assert solution.lower_bound <= free.value * (1 + 1e-13)
    assert best * (1 - 1e-9) <= solution.upper_bound <= 1.2 * best
    assert [part.shape[1] for part in solution.factors()] == [d, d]
    assert "needs more than" in solution.route[-1]


def test_a_dimension_that_is_not_binding_is_none():
    Y, counts = table(4, 9)
    solution = ufm.solve(problem_of(Y, counts, 1e-3, feature_dim=9), solver=NAME)
    assert solution.status == "certified"
    assert [part.shape[1] for part in solution.factors()] == [9, 9]


def test_what_the_solver_does_not_take_is_refused_by_name():
    Y, counts = table(4, 9)
    for given, words in (({"bias": 0.1}, "bias"), ({"features": "nonnegative"}, "features are non-negative")):
        with pytest.raises(HypothesisError, match=words):
            ufm.solve(problem_of(Y, counts, **given), solver=NAME)
    with pytest.raises(HypothesisError, match="no softmax against a table"):
        ufm.solve(ufm.Problem([3, 2], 1e-2, 1e-2, features="free"), solver=NAME)
    with pytest.raises(ProblemError, match="option"):
        ufm.solve(problem_of(Y, counts), solver=NAME, options={"starts": 2})


def test_large_tables_with_signs_are_refused_and_the_advice_works():
    Y, counts = table(5, 4001)
    with pytest.raises(SizeError, match="5 outputs and 4001 columns") as refusal:
        ufm.solve(problem_of(Y, counts, 1e-2, features="nonnegative"))
    assert "features='free'" in refusal.value.fix
    assert ufm.solve(problem_of(Y, counts, 1e-2)).status == "certified"
    with pytest.raises(SizeError, match="and a bias"):
        ufm.solve(problem_of(Y, counts, 1e-2, features="nonnegative", bias=0.1))


@pytest.mark.parametrize(("m", "suits"), [(394, False), (395, True)])
def test_auto_takes_it_from_a_size_on(m, suits):
    Y, counts = table(5, m)
    chosen = solvers.solver(NAME)
    assert (chosen.suits(problem_of(Y, counts), "auto") is not None) == suits
    assert chosen.suits(problem_of(Y, counts), "class") is None


@pytest.mark.parametrize(("K", "suits"), [(2000, False), (2001, True)])
def test_square_tables_are_left_to_the_descent_on_both_as_long_as_that_takes_them(K, suits):
    problem = problem_of(scipy.sparse.eye_array(K), [3] * K)
    assert (solvers.solver(NAME).suits(problem, "auto") is not None) == suits
    assert (solvers.solver("factored").suits(problem, "auto") is None) == suits


def test_nothing_is_as_large_as_columns_by_columns():
    """m = 2500: an array of m × m numbers would take 50 MB, all arrays of V × m together take less."""
    targets, counts = bench_next_token.contexts(12, 2500)
    problem = ufm.Problem(counts, 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(targets), features="free")
    tracemalloc.start()
    try:
        solution = ufm.solve(problem)
        assert solution.kkt().passed
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert solution.status == "certified"
    assert solution.solver == NAME
    assert peak < 30e6


def test_a_refused_proof_asks_for_a_more_accurate_run(monkeypatch):
    """Runs follow each other until a proof is within the tolerance; the first is spoilt here."""
    Y, counts = table(5, 12)
    gathered, spoilt = FactoredEvidence.gather.__func__, []

    def gather(cls, problem, run, tolerance):
        found = gathered(cls, problem, run, tolerance)
        if not spoilt:
            spoilt.append(run)
            object.__setattr__(found, "lower", wide_lower_bound(problem, Y.T))
        return found

    monkeypatch.setattr(FactoredEvidence, "gather", classmethod(gather))
    solution = ufm.solve(problem_of(Y, counts), solver=NAME)
    assert (len(spoilt), len(solution.route), solution.status) == (1, 2, "certified")
    assert solution.run.accuracy < spoilt[0].accuracy


def test_a_gradient_is_that_of_the_function():
    """φ along a random line, against central differences; features are solved to the last digit."""
    Y, counts = table(5, 9)
    columns, generator = relaxation.of_classes(problem_of(Y, counts)), np.random.default_rng(0)
    projection = Projection(columns, problem_of(Y, counts).loss.table)
    w, h = projection.start()
    line = generator.normal(size=w.shape) * np.abs(w).max()

    def at(step):
        found = projection.features(w + step * line, h, 0.0)
        return projection.features(found.w, found.h, 0.0)

    difference = (at(1e-4).value - at(-1e-4).value) / 2e-4
    assert float(np.vdot(at(0.0).slope, line)) == pytest.approx(difference, rel=1e-5)


# -- vanishing decay -----------------------------------------------------------------------------------------------


def test_logits_diverge_along_the_support_vector_machine():
    """The norm grows by the least norm, which cvxpy finds without a decay, and the direction approaches its minimiser.

    The growth is off by O(1 / log²), 0.3 % measured at 1e-5; the cosine by O(1 / log²) of the angle.
    """
    rows = bench_next_token.sweep([1e-2, 1e-3, 1e-4, 1e-5])
    assert rows[-1]["growth"] == pytest.approx(rows[-1]["least"], rel=1e-2)
    cosines = [row["cosine"] for row in rows]
    assert cosines == sorted(cosines)
    assert 0.995 < cosines[-1] < 1.0
    assert all(row["gap"] < 1e-6 for row in rows)
    wrong = float(np.linalg.norm(np.ones((5, 3)), "nuc"))
    assert rows[-1]["growth"] != pytest.approx(wrong, rel=1e-2)


@pytest.mark.slow
def test_a_thousand_outputs_and_ten_thousand_columns_are_certified():
    targets, counts = bench_next_token.contexts(1000, 10_000)
    problem = ufm.Problem(counts, 1e-5, 1e-5, loss=ufm.SoftTargetCrossEntropy(targets), features="free")
    solution = ufm.solve(problem)
    assert solution.status == "certified"
    assert solution.excess_gap <= 1e-6

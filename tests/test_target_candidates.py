"""Candidates for tables of targets: labels are columns, W has a row an output.

Expected values come from the objective written out here sample by sample, and from descents of ``test_targets``.
"""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from test_targets import BITS, COUNTS, MIXED, run, sigmoid_loss, softmax_loss, square_loss

import ufm_convex as ufm
from ufm_convex import testing
from ufm_convex.certificate import judged
from ufm_convex.enclosure import candidate_table
from ufm_convex.enclosure.candidate import enclose_objective
from ufm_convex.enclosure.candidate_exact import enclose_exactly
from ufm_convex.enclosure.candidate_table import enclose_table
from ufm_convex.errors import CandidateError, CountsError, HypothesisError, LabelsError, ProblemError, ShapeError
from ufm_convex.measures import effective_decays, geometry
from ufm_convex.proof import proof_steps

DECAYS = (4e-3, 9e-3)
OPTIONS = ("--lambda-w", "4e-3", "--lambda-h", "9e-3")
LOSSES = {"soft": softmax_loss, "bits": sigmoid_loss, "squares": square_loss}
KINDS = {"soft": ufm.SoftTargetCrossEntropy, "bits": ufm.BinaryCrossEntropy, "squares": ufm.MeanSquaredError}
NARROW = np.array([[1.0], [0.0], [1.0], [0.25]])
CASES = {
    "soft, V < m": ("soft", MIXED, {}),
    "soft, V > m": ("soft", MIXED[:2], {}),
    "soft, V = m": ("soft", MIXED[:4], {}),
    "soft, one column": ("soft", MIXED[2:3], {}),
    "soft, free": ("soft", MIXED, {"features": "free"}),
    "soft, free bias": ("soft", MIXED, {"bias": "free"}),
    "soft, equal columns": ("soft", MIXED[[0, 1, 1, 2, 0]], {"bias": 0.02}),
    "bits": ("bits", BITS, {}),
    "bits, one output": ("bits", NARROW, {}),
    "squares": ("squares", BITS - 0.4, {"bias": 0.05}),
    "squares, free": ("squares", BITS - 0.4, {"features": "free", "bias": "free"}),
    "squares, one output": ("squares", NARROW, {"features": "free"}),
}
SOLVED = {}


def problem_of(name):
    kind, Y, given = CASES[name]
    return ufm.Problem(COUNTS[: len(Y)], *DECAYS, loss=KINDS[kind](Y), **given)


def solution_of(name):
    if name not in SOLVED:
        SOLVED[name] = ufm.solve(problem_of(name))
    return SOLVED[name]


def drawn(problem, seed, level="sample", d=3, scale=1.0):
    """W, features of all samples or of columns, labels or counts, and b, normal numbers, default_rng(seed)."""
    generator, counts = np.random.default_rng(seed), problem.class_counts
    labels = np.repeat(np.arange(counts.size), counts)
    W, H = scale * generator.normal(size=(problem.num_outputs, d)), scale * generator.normal(size=(counts.size, d))
    F = H[labels] + 0.3 * scale * generator.normal(size=(labels.size, d)) if level == "sample" else H
    F = np.abs(F) if problem.nonnegative else F
    b = generator.normal(size=problem.num_outputs) if problem.bias is not None else None
    third = {"labels": labels} if level == "sample" else {"class_counts": counts}
    return {"weights": W, "features": F, **third, **({} if b is None else {"bias": b})}


def value(name, arrays):
    """f, sample by sample."""
    kind, Y, given = CASES[name]
    counts = np.array(COUNTS[: len(Y)])
    y = arrays.get("labels", np.arange(len(Y)))
    times = np.ones(len(y)) if "labels" in arrays else counts
    b = arrays.get("bias", np.zeros(Y.shape[1]))
    losses = LOSSES[kind](arrays["weights"] @ arrays["features"].T + b[:, None], Y[y].T)[0]
    penalty = given["bias"] if isinstance(given.get("bias"), float) else 0.0
    f = times @ losses / counts.sum() + DECAYS[0] / 2 * (arrays["weights"] ** 2).sum() + penalty / 2 * (b @ b)
    return f + DECAYS[1] / 2 * times @ (arrays["features"] ** 2).sum(axis=1)


every_case = pytest.mark.parametrize("name", CASES)
every_level = pytest.mark.parametrize("level", ["sample", "class"])


@every_level
@every_case
def test_the_objective_the_gap_and_its_parts(name, level):
    problem, solution = problem_of(name), solution_of(name)
    arrays = drawn(problem, 1, level)
    candidate, f = ufm.Candidate(**arrays), value(name, arrays)
    found = enclose_exactly(problem, candidate)
    assert found.lower <= f * (1 + 1e-14)
    assert f <= found.upper * (1 + 1e-14)
    assert found.relative_width <= 1e-14
    proved = judged(problem, candidate, solution=solution)
    low, high = proved.candidate_gap
    assert 0.0 <= low <= f - solution.value * (1 - 1e-12) + 1e-12
    assert f - solution.lower_bound <= high * (1 + 1e-12) + 1e-12
    assert high - low <= (solution.upper_bound - solution.lower_bound) * (1 + 1e-12) + 1e-12
    assert proved.verdict == "suboptimal"
    parts = ufm.attribute_gap(problem, candidate, solution=solution)
    assert parts.candidate_value == pytest.approx(f, rel=1e-12)
    assert parts.gap == pytest.approx(f - parts.optimum, rel=1e-11)
    assert min(parts.totals.values()) >= 0.0
    assert parts.optimum <= solution.upper_bound
    V, m = problem.num_outputs, problem.num_columns
    assert (parts.calibration.shape, parts.by_output.shape, parts.by_class.shape) == ((m,), (V,), (m,))
    assert parts.non_orthogonality.sum() == pytest.approx(parts.totals["non_orthogonality"], rel=1e-9, abs=1e-15)
    with_rows = parts.by_class.sum() + (parts.by_output.sum() if m != V else 0.0) + parts.classifier_mean
    assert with_rows == pytest.approx(parts.gap, rel=1e-12)


@every_case
def test_the_optimum_is_optimal(name):
    """Its gap is that of the solution, and a planted change of one label, of W or of the table is seen."""
    problem, solution = problem_of(name), solution_of(name)
    W, H = solution.factors()
    b = {} if problem.bias is None else {"bias": solution.bias}
    labels = np.repeat(np.arange(problem.num_columns), problem.class_counts)
    candidate = ufm.Candidate(weights=W, features=H[labels], labels=labels, **b)
    proved = judged(problem, candidate, solution=solution)
    assert proved.verdict == "optimal"
    assert proved.candidate_gap[1] <= 1e-6 * solution.upper_bound
    assert ufm.attribute_gap(problem, candidate, solution=solution).gap <= 1.01e-6 * solution.upper_bound
    wrong = ufm.Candidate(weights=1.1 * W, features=H[labels], labels=labels, **b)
    assert judged(problem, wrong, solution=solution).verdict == ("suboptimal" if W.any() else "optimal")
    if problem.num_columns > 1 and name != "soft, equal columns" and W.any():
        mixed = np.roll(H, 1, axis=0)[labels]
        assert judged(
            problem, ufm.Candidate(weights=W, features=mixed, labels=labels, **b), solution=solution
        ).upper > (proved.upper + 1e-3)


def test_parts_see_planted_faults():
    """Each part grows with what it is about, and the others stay where they are."""
    problem, solution = problem_of("soft, V < m"), solution_of("soft, V < m")
    W, H = solution.factors()
    labels = np.repeat(np.arange(5), problem.class_counts)

    def parts(weights, features):
        candidate = ufm.Candidate(weights=weights, features=features, labels=labels)
        return ufm.attribute_gap(problem, candidate, solution=solution).totals

    plain = parts(W, H[labels])
    spread = H[labels] * np.where(np.arange(labels.size) % 2, 1.2, 0.8)[:, None]
    assert parts(W, spread)["variability"] > plain["variability"] + 1e-3
    assert parts(W + 0.1, H[labels])["classifier_mean"] == pytest.approx(2e-3 * 4 * W.shape[1] * 1e-2, rel=1e-6)
    assert parts(1.2 * W, H[labels])["self_duality"] > plain["self_duality"] + 1e-3


def test_a_class_has_no_place_in_a_table_and_a_column_none_among_classes():
    table = ufm.SoftTargetCrossEntropy(MIXED)
    problem, arrays = ufm.Problem(COUNTS, *DECAYS, loss=table), drawn(problem_of("soft, V < m"), 0)
    candidate = ufm.Candidate(**arrays)
    assert (candidate.num_outputs, candidate.num_classes) == (4, 5)
    assert candidate.problem(*DECAYS, loss=table) == problem
    assert pickle.loads(pickle.dumps(candidate)).sha256 == candidate.sha256
    with pytest.raises(LabelsError, match="labels run up to 4, but weights has 4 rows"):
        candidate.problem(*DECAYS)
    with pytest.raises(LabelsError):
        ufm.attribute_gap(ufm.Problem(COUNTS, *DECAYS), candidate)
    with pytest.raises(ShapeError, match="class_counts has 5 entries, but weights has 4 rows"):
        ufm.Candidate(weights=arrays["weights"], features=np.ones((5, 3)), class_counts=COUNTS).problem(*DECAYS)
    with pytest.raises(ShapeError, match="weights has 3 rows, but the table of targets has 4 outputs") as turned:
        judged(problem, ufm.Candidate(**{**arrays, "weights": arrays["weights"][:3]}))
    assert "weights.T" in turned.value.fix
    few = ufm.Problem(COUNTS[:4], *DECAYS, loss=ufm.SoftTargetCrossEntropy(MIXED[:4]))
    with pytest.raises(CountsError, match="names 5 columns, but the table of targets has 4 rows"):
        judged(few, candidate)
    with pytest.raises(CountsError, match="3 samples in class 2, not 4"):
        judged(ufm.Problem((5, 4, 4, 6, 2), *DECAYS, loss=table), candidate)
    with pytest.raises(ShapeError, match="dimension 3"):
        judged(ufm.Problem(COUNTS, *DECAYS, loss=table, feature_dim=2), candidate)
    with pytest.raises(CandidateError, match="has a bias"):
        judged(problem, ufm.Candidate(**arrays, bias=np.zeros(4)))


def test_fewer_columns_than_outputs_are_told_from_empty_classes_by_the_table():
    """Labels 0 and 1 with four rows of W: two of four classes, or both columns of a table."""
    arrays = drawn(problem_of("soft, V > m"), 0)
    candidate, problem = ufm.Candidate(**arrays), problem_of("soft, V > m")
    assert candidate.problem(*DECAYS).class_counts.tolist() == [5, 4, 0, 0]
    assert candidate.problem(*DECAYS, loss=problem.loss) == problem
    assert candidate.of_loss(problem.loss).class_counts.tolist() == [5, 4]
    assert candidate.of_loss(problem.loss).sha256 == candidate.sha256
    assert candidate.class_counts.tolist() == [5, 4, 0, 0]
    means = ufm.Candidate(weights=np.ones((4, 2)), features=np.ones((2, 2)), class_counts=[5, 4])
    assert judged(problem, means).candidate_gap[0] > 0.0
    with pytest.raises(ShapeError, match="class_counts has 3 entries, but weights has 4 rows"):
        ufm.Candidate(weights=np.ones((4, 2)), features=np.ones((3, 2)), class_counts=[5, 0, 4])
    with pytest.raises(LabelsError, match="labels run up to 5"):  # neither classes nor all columns of a table
        ufm.Candidate(weights=np.ones((4, 2)), features=np.ones((3, 2)), labels=[0, 1, 5])


def test_bounds_without_a_file_say_so():
    problem, candidate = problem_of("bits"), ufm.Candidate(**drawn(problem_of("bits"), 3))
    found = judged(problem, candidate, solution=solution_of("bits"))
    for write in (found.to_json, lambda: found.save("c.json")):
        with pytest.raises(HypothesisError, match="certificate"):
            write()
    assert found.problem == problem
    assert judged(problem, solution=solution_of("bits")).verdict == "optimal"
    assert judged(problem, tolerance=1e-12, solution=solution_of("bits")).verdict == "undecided"
    with pytest.raises(ProblemError, match="another problem"):
        judged(problem, candidate, solution=solution_of("soft, V < m"))
    with pytest.raises(ProblemError, match="tolerance"):
        judged(problem, candidate, tolerance=1.0)
    negative = drawn(problem, 3)
    negative["features"][2, 1] = -0.25
    found = judged(problem, ufm.Candidate(**negative), solution=solution_of("bits"))
    assert (found.verdict, found.violation, found.candidate_gap) == ("infeasible", (2, 1, -0.25), None)
    square = ufm.Problem((3, 4), *DECAYS, loss=ufm.SoftTargetCrossEntropy([[0.9, 0.1], [0.2, 0.8]]))
    means = ufm.Candidate(weights=np.eye(2), features=np.eye(2), class_counts=[3, 4])
    with_file, without = ufm.certify(square, means), judged(square, means)
    assert without.candidate_gap == pytest.approx(with_file.candidate_gap, rel=1e-9)
    with pytest.raises(HypothesisError, match="without a certificate"):
        without.to_json()


def test_a_strict_relaxation_is_judged_by_the_bounds_that_close_it():
    sets = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]
    loss = ufm.SoftTargetCrossEntropy.pick_all(sets, 3)
    problem = ufm.Problem([10, 8, 6, 4, 3, 2, 1], 3e-4, 3e-4, loss=loss)
    closed = ufm.close_gap(problem)
    candidate = ufm.Candidate(weights=closed.W, features=closed.H, class_counts=problem.class_counts)
    assert judged(problem, candidate, solution=closed.relaxation).verdict == "undecided"
    assert judged(problem, candidate, solution=closed).verdict == "optimal"


def test_measures_of_columns():
    problem, solution = problem_of("soft, V < m"), solution_of("soft, V < m")
    arrays = drawn(problem, 5)
    found = geometry(problem, ufm.Candidate(**arrays))
    means = np.array([arrays["features"][arrays["labels"] == j].mean(axis=0) for j in range(5)])
    unit = means / np.linalg.norm(means, axis=1)[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(5, 1)]
    assert found.mean_overlap == pytest.approx(cosines.mean())
    assert found.largest_overlap == pytest.approx(cosines.max())
    away = arrays["features"] - means[arrays["labels"]]
    centred = means - means.mean(axis=0)
    trace = np.trace(away.T @ away / 20 @ np.linalg.pinv(centred.T @ centred / 5)) / 5
    assert found.trace_ratio == pytest.approx(trace)
    assert {found.self_duality, found.theorem_self_duality, found.duality_structure, found.nearest_centre} == {None}
    assert geometry(problem, solution).mean_overlap > 0.0
    for name in ("soft, V > m", "soft, one column", "bits, one output"):
        found = geometry(problem_of(name), ufm.Candidate(**drawn(problem_of(name), 5)))
        assert found.nearest_centre is None
    assert found.weights.structure is None  # one row of W is no simplex


def test_assertions_take_columns_or_say_that_they_are_about_classes():
    problem, solution = problem_of("soft, V < m"), solution_of("soft, V < m")
    W, H = solution.factors()
    best, wrong = (W, H), (W, np.roll(H, 1, axis=0))
    for check in (testing.assert_optimal, testing.assert_stationary, testing.assert_kkt, testing.assert_certified):
        check(problem, best, tolerance=1e-4)  # W and H are optimal up to 1e-6, so stationary up to its root
        with pytest.raises(AssertionError):
            check(problem, wrong, tolerance=1e-4)
    for check in (testing.assert_self_dual, testing.assert_collapse_pattern):
        with pytest.raises(HypothesisError):
            check(problem, best)


def test_the_steps_of_the_proof_are_about_classes():
    problem = problem_of("soft, V < m")
    with pytest.raises(HypothesisError, match="proof does not cover") as refusal:
        proof_steps(problem, ufm.Candidate(**drawn(problem, 0)))
    assert "attribute_gap" in refusal.value.fix  # which takes it, as above


@pytest.mark.parametrize("name", ["soft, V < m", "soft, V > m", "bits"])
def test_effective_decays_of_an_optimum_are_its_own(name):
    problem, solution = problem_of(name), solution_of(name)
    W, H = solution.factors()
    labels = np.repeat(np.arange(problem.num_columns), problem.class_counts)
    found = effective_decays(ufm.Candidate(weights=W, features=H[labels], labels=labels), problem.loss, "nonnegative")
    # W and H are stationary up to the square root of the certified gap of 1e-6
    assert (found.lambda_w, found.lambda_h) == pytest.approx(DECAYS, rel=2e-3)
    assert found.per_class.shape == (problem.num_columns,)


def test_what_is_too_large_for_the_exact_enclosure_is_named():
    problem = problem_of("bits")
    for enclose in (enclose_objective, enclose_table):
        with pytest.raises(ufm.UFMError, match="no streamed enclosure"):
            enclose(problem, ufm.Candidate(**drawn(problem, 0)))


SIZES = (1e-9, 1e-3, 1.0, 1e3, 1e13)  # of W: logits from none to beyond where powers are cut off


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("soft")])
@every_level
def test_the_streamed_enclosure_contains_the_exact_one(name, level, size):
    problem, arrays = problem_of(name), drawn(problem_of(name), 7, level)
    candidate = ufm.Candidate(**{**arrays, "weights": size * arrays["weights"]})
    streamed, exact = enclose_table(problem, candidate), enclose_exactly(problem, candidate)
    assert streamed.lower <= exact.lower
    assert exact.upper <= streamed.upper
    # errors of logits are some d + 2 units of the largest, of the sums some V + 4 of a loss
    assert streamed.relative_width <= 1e-12
    for part in ("weight_penalty", "feature_penalty", "bias_penalty"):
        assert getattr(streamed, part) == pytest.approx(getattr(exact, part), rel=1e-12)


def test_shares_that_close_below_zero_are_enclosed_too():
    """Others that sum to 1 + 1e-10: the own share is -1e-10 exactly, and 0 in binary64."""
    table = ufm.SoftTargetCrossEntropy([[0.0, 0.5, 0.5 + 1e-10], [1e-310, 1.0, 0.0], [0.25, 0.25, 0.5]])
    assert table.table.exact_row(0)[0] < 0 == table.table.rows(np.array([0]))[0, 0]
    problem = ufm.Problem([2, 3, 1], *DECAYS, loss=table)
    candidate = ufm.Candidate(weights=[[9.0], [-4.0], [-700.0]], features=[[2.0], [3.0], [1.0]], class_counts=[2, 3, 1])
    streamed, exact = enclose_table(problem, candidate), enclose_exactly(problem, candidate)
    assert streamed.lower <= exact.lower <= exact.upper <= streamed.upper


@pytest.mark.parametrize("fault", ["a power less", "a share less", "an own entry"])
def test_the_comparison_sees_a_planted_fault(fault, monkeypatch):
    problem, candidate = problem_of("soft, V < m"), ufm.Candidate(**drawn(problem_of("soft, V < m"), 7))
    kernel = candidate_table._TableKernel
    if fault == "a power less":
        original = kernel._sum_of_powers
        monkeypatch.setattr(kernel, "_sum_of_powers", lambda self, below: original(self, below[:-1]))
    elif fault == "a share less":
        original = kernel.__call__
        wrong = ufm.SoftTargetCrossEntropy(MIXED[[0, 1, 2, 3, 3]]).table

        def called(self, *arguments):
            self._table = wrong
            return original(self, *arguments)

        monkeypatch.setattr(kernel, "__call__", called)
    else:
        monkeypatch.setattr(candidate_table, "log1p_of", lambda x: x)
    streamed, exact = enclose_table(problem, candidate), enclose_exactly(problem, candidate)
    assert not streamed.lower <= exact.lower <= exact.upper <= streamed.upper


def test_many_logits_are_streamed_and_judged():
    """200 outputs, 1500 columns of three tokens each: 3e5 logits; the sums are those of NumPy."""
    generator = np.random.default_rng(2)
    V, m, d = 200, 1500, 4
    rows, outputs = (
        np.repeat(np.arange(m), 3),
        np.concatenate([generator.choice(V, 3, replace=False) for _ in range(m)]),
    )
    shares = generator.dirichlet(np.ones(3), m)
    table = scipy.sparse.csr_array((shares.ravel(), (rows, outputs)), shape=(m, V))
    counts = generator.integers(1, 9, m)
    problem = ufm.Problem(counts, 1e-2, 1e-2, loss=ufm.SoftTargetCrossEntropy(table), features="free")
    W, H = generator.normal(size=(V, d)), generator.normal(size=(m, d))
    Z = H @ W.T
    losses = np.log(np.exp(Z).sum(axis=1)) - (table.toarray() * Z).sum(axis=1)
    f = counts @ losses / counts.sum() + 5e-3 * (W**2).sum() + 5e-3 * counts @ (H**2).sum(axis=1)
    found = enclose_table(problem, ufm.Candidate(weights=W, features=H, class_counts=counts))
    assert found.lower <= f * (1 + 1e-13)
    assert f <= found.upper * (1 + 1e-13)
    assert found.relative_width <= 1e-12


@settings(max_examples=25, deadline=None)
@given(V=st.integers(1, 4), m=st.integers(1, 5), kind=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 2**16))
def test_parts_of_any_gap_add_up(V, m, kind, seed):
    """Random tables, counts, signs and biases, default_rng(seed)."""
    generator = np.random.default_rng(seed)
    V += kind == "soft" and V == 1
    Y = generator.dirichlet(np.full(V, 0.5), m) if kind == "soft" else generator.random((m, V))
    counts, bias = generator.integers(1, 5, m), (None, 0.1)[seed % 2]
    features = ("nonnegative", "free")[seed // 2 % 2]
    problem = ufm.Problem(counts, *DECAYS, loss=KINDS[kind](Y), features=features, bias=bias)
    solution = ufm.solve(problem)
    arrays = drawn(problem, seed)
    candidate = ufm.Candidate(**arrays)
    parts = ufm.attribute_gap(problem, candidate, solution=solution)
    assert min(parts.totals.values()) >= 0.0
    assert parts.gap == pytest.approx(parts.candidate_value - parts.optimum, rel=1e-10)
    found = enclose_exactly(problem, candidate)
    assert found.lower * (1 - 1e-12) <= parts.candidate_value <= found.upper * (1 + 1e-12)


# -- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem, solution = problem_of("soft, V < m"), solution_of("soft, V < m")
    problem.save("problem.toml")
    np.save("t.npy", MIXED)
    np.save("t2.npy", MIXED[:2])
    np.save("one.npy", NARROW)
    W, H = solution.factors()
    labels = np.repeat(np.arange(5), COUNTS)
    np.savez("best.npz", weights=W, features=H[labels], labels=labels)
    np.savez("means.npz", weights=W, features=H, class_counts=COUNTS)
    np.savez("far.npz", **drawn(problem, 0))
    np.savez("few.npz", **drawn(problem_of("soft, V > m"), 0))
    np.savez("narrow.npz", **drawn(problem_of("bits, one output"), 0))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "verdict"),
    [
        (("best.npz", "--targets", "t.npy", *OPTIONS), 0, "optimal"),
        (("means.npz", "--targets", "t.npy", *OPTIONS), 0, "optimal"),
        (("best.npz", "problem.toml"), 0, "optimal"),
        (("far.npz", "--targets", "t.npy", *OPTIONS), 1, "suboptimal"),
        (("few.npz", "--targets", "t2.npy", *OPTIONS), 1, "suboptimal"),
        (("narrow.npz", "--targets", "one.npy", "--loss", "binary-cross-entropy", *OPTIONS), 1, "suboptimal"),
        (("--class-counts", "5,4,3,6,2", "--targets", "t.npy", *OPTIONS), 0, "optimal"),
    ],
)
def test_certify_judges_a_candidate_of_a_table(files, words, code, verdict):
    found = run("certify", *words, "--json")
    assert found.exit_code == code, found.output
    record = json.loads(found.stdout)
    assert (record["verdict"], record["status"]) == (verdict, "certified")
    if words[0].endswith(".npz"):
        arrays = dict(np.load(words[0]))
        name = {"few.npz": "soft, V > m", "narrow.npz": "bits, one output"}.get(words[0], "soft, V < m")
        about = record["candidate"]
        assert about["value_low"] * (1 - 1e-13) <= value(name, arrays) <= about["value_high"] * (1 + 1e-13)
        assert len(record["attribution"]) == 7
        assert sum(record["attribution"].values()) == pytest.approx(about["gap_high"], rel=1e-9, abs=1e-12)
    assert "verdict" in run("certify", *words).output


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("far.npz", *OPTIONS), "LabelsError", "labels run up to 4, but weights has 4 rows"),
        (("far.npz", "--targets", "t2.npy", *OPTIONS), "CountsError", "names 5 columns"),
        (("few.npz", "--targets", "t.npy", *OPTIONS), "CountsError", "names 2 columns"),
        (("narrow.npz", "--targets", "t.npy", *OPTIONS), "ShapeError", "the table of targets has 4 outputs"),
        (("narrow.npz", *OPTIONS), "ShapeError", "weights has one row"),
        (("far.npz", "--targets", "t.npy"), "ProblemError", "--lambda-w"),
    ],
)
def test_a_candidate_of_another_table_is_refused_by_name(files, words, error, said):
    for command in ("certify", "report", "plot"):
        more = ("-o", "f.png") if command == "plot" else ("--json",)
        if command != "certify" and error == "ProblemError":
            continue  # a report without decays takes those of the candidate
        found = run(command, *words, *more)
        assert found.exit_code == 2, (command, found.output)
        assert said in found.output + found.stderr, command
        assert command == "plot" or json.loads(found.stdout)["error"] == error


def test_reports_of_a_table(files):
    found = run("report", "far.npz", "--targets", "t.npy", *OPTIONS)
    assert found.exit_code == 1, found.output
    assert "4 outputs, 5 columns, 20 samples" in found.output
    (files / "names.txt").write_text("a\nb\nc\nd\ne\n")
    own = run("report", "best.npz", "--targets", "t.npy", "--class-names", "names.txt", "--json")
    assert own.exit_code == 0, own.output  # by its effective decays, which are those that it is optimal for
    record = json.loads(own.stdout)
    assert record["decays"]["lambda_w"] == pytest.approx(DECAYS[0], rel=2e-3)
    (files / "names.txt").write_text("a\nb\nc\nd\n")
    short = run("report", "best.npz", "--targets", "t.npy", "--class-names", "names.txt", "--json")
    assert (short.exit_code, json.loads(short.stdout)["error"]) == (2, "LabelsError")


def test_the_page_and_the_figures_of_a_candidate_of_a_table(files):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    found = run("report", "far.npz", "problem.toml", "--html", "page.html")
    assert found.exit_code == 1, found.output
    page = (files / "page.html").read_text()
    assert "4 outputs, 5 columns" in page
    assert "not defined" in page  # NC3, NC4
    for figure, code in (("attribution", 0), ("gram", 0), ("norms", 2)):
        drawn_ = run("plot", "far.npz", "--targets", "t.npy", *OPTIONS, "--figure", figure, "-o", f"{figure}.svg")
        assert drawn_.exit_code == code, drawn_.output
        assert (files / f"{figure}.svg").exists() == (code == 0)
    assert "column 0" in (files / "attribution.svg").read_text() or "column" in (files / "gram.svg").read_text()


@pytest.mark.parametrize("more", [("-o", "c.json"), ("--digits", "20"), ("--recheck",)])
def test_what_is_about_a_file_is_refused_where_no_file_carries_the_table(files, more):
    """1 minus the others of a row that was one of classes is below 0 by a rounding, which no file of tables carries."""
    rounded = ufm.SoftTargetCrossEntropy([[1.0, 0.0, 0.0], [0.1, 0.0, 0.9], [0.0, 0.0, 1.0]]).kept(np.array([1]))
    problem = ufm.Problem([5], *DECAYS, loss=rounded)
    problem.save("rounded.toml")
    np.savez("rounded.npz", **drawn(problem, 0))
    assert run("certify", "rounded.npz", "rounded.toml").exit_code == 1  # bounds without a file: far from the optimum
    found = run("certify", "rounded.npz", "rounded.toml", *more)
    assert found.exit_code == 2, found.output
    assert "share below 0" in found.output + found.stderr
    assert not (files / "c.json").exists()

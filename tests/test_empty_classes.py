"""Classes without samples: outputs of the classifier that no sample has.

Expected values come from descents on W and H written here from the definition, from the reference values of the theory,
and from naive_verifier; the package's own methods are compared with these.
"""

from __future__ import annotations

import itertools
import json
import time
from fractions import Fraction

import naive_verifier
import numpy as np
import pytest
from certificate_cases import alterations, judge_forgery, outcome, resealed, text
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.class_counts import read_class_counts, read_labels
from ufm_convex.cli import application
from ufm_convex.errors import (
    CandidateError,
    CountsError,
    HypothesisError,
    LabelsError,
    ProblemError,
    ShapeError,
)
from ufm_convex.losses import make
from ufm_convex.measures import geometry
from ufm_convex.verifier import Verdict, verify

REFERENCE = {(50, 20, 0): 0.22144083147446308, (30, 9, 4, 0, 0, 0, 0): 0.277066888078887}
"""Theorem 1 with K the number of outputs, both decays 5e-3: a relative error of a few units in the last place."""
WITHOUT = 0.1694953699042499
"""(50, 20) at the same decays, the problem without the row."""
ULPS = 1e-14
TOLERANCE = 1e-6  # what certified solutions are asked for; a descent ends well within it


def plain(counts, **given):
    return ufm.Problem(list(counts), 5e-3, 5e-3, **given)


# -- descents from the definition ---------------------------------------------------------------------------------


def softmax_loss(z, y):
    z = z - z.max(axis=0)
    total = np.log(np.exp(z).sum(axis=0))
    return total - (y * z).sum(axis=0), np.exp(z - total) - y


def sigmoid_loss(z, y):
    return (np.logaddexp(0.0, z) - y * z).sum(axis=0), 1.0 / (1.0 + np.exp(-z)) - y


def square_loss(z, y):
    return 0.5 * ((z - y) ** 2).sum(axis=0), z - y


def squared_hinge_loss(z, y):
    lacking = np.maximum(1.0 + z - (y * z).sum(axis=0), 0.0) * (1.0 - y)
    return 0.5 * (lacking**2).sum(axis=0), lacking - y * lacking.sum(axis=0)


def descended(problem, loss, targets, shift=0.0, starts=12, seed=0):
    """The best of many descents on W (V, d), the means of classes with samples, and b."""
    counts = problem.class_counts[problem.class_counts > 0]
    weights, V, m = problem.loss_weights[problem.class_counts > 0], problem.class_counts.size, counts.size
    d, generator, best = V + 2, np.random.default_rng(seed), np.inf
    biased, penalty = problem.bias is not None, 0.0 if problem.bias in (None, "free") else problem.bias
    cuts = np.cumsum([V * d, m * d])

    def objective(flat):
        W, H, b = flat[: cuts[0]].reshape(V, d), flat[cuts[0] : cuts[1]].reshape(m, d), flat[cuts[1] :]
        values, slopes = loss(W @ H.T + (b[:, None] if biased else 0.0) + shift, targets)
        slopes = slopes * weights
        value = weights @ values + problem.lambda_w / 2 * (W**2).sum()
        value += problem.lambda_h / 2 * counts @ (H**2).sum(axis=1) + penalty / 2 * (b**2).sum()
        parts = (
            slopes @ H + problem.lambda_w * W,
            slopes.T @ W + problem.lambda_h * counts[:, None] * H,
            slopes.sum(axis=1) + penalty * b if biased else 0.0 * b,
        )
        return value, np.concatenate([part.ravel() for part in parts])

    low = 0.0 if problem.nonnegative else None
    bounds = [(None, None)] * (V * d) + [(low, None)] * (m * d) + [(None, None)] * V
    for _ in range(starts):
        start = np.concatenate([generator.normal(size=V * d), generator.random(m * d), np.zeros(V)])
        found = minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": 5000, "maxfun": 10**5, "ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        best = min(best, found.fun)
    return best


def hard(counts):
    return np.eye(len(counts))[:, np.flatnonzero(counts)]


LOSSES = {
    "cross-entropy": (ufm.CrossEntropy(), softmax_loss, {}),
    "smoothed": (ufm.CrossEntropy(smoothing=0.1), softmax_loss, {}),
    "weighted": (ufm.CrossEntropy(class_weights=(1.0, 2.0, 7.0, 0.5, 3.0)), softmax_loss, {}),
    "adjusted": (
        ufm.LogitAdjustedCrossEntropy(shift=(0.0, -1.0, -0.5, -1.5, -2.0)),
        softmax_loss,
        {"shift": np.array([[0.0], [-1.0], [-0.5], [-1.5], [-2.0]])},
    ),
    "squares": (ufm.MeanSquaredError(), square_loss, {}),
    "sigmoids": (ufm.BinaryCrossEntropy(), sigmoid_loss, {}),
    "squared hinge": (make("squared-hinge", {}), squared_hinge_loss, {}),
}
COUNTS = (30, 12, 0, 5, 0)


def case_targets(name):
    y = hard(COUNTS)
    return 0.9 * y + 0.1 / len(COUNTS) if name == "smoothed" else y


@pytest.mark.parametrize("bias", [None, 0.05, "free"])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("name", LOSSES)
def test_descents_from_the_definition_agree(name, features, bias):
    """Every loss with a gradient, both signs, without a bias, with one, and with a free one if there is an optimum."""
    given, function, more = LOSSES[name]
    if bias == "free" and name in ("cross-entropy", "weighted", "adjusted", "sigmoids"):
        with pytest.raises(HypothesisError, match="outputs 2, 4 have no mass"):
            plain(COUNTS, loss=given, features=features, bias=bias)
        return
    problem = plain(COUNTS, loss=given, features=features, bias=bias)
    best = descended(problem, function, case_targets(name), **more)
    solution = ufm.solve(problem)
    assert solution.status == "certified"
    assert solution.lower_bound <= best * (1.0 + 1e-12)
    assert best == pytest.approx(solution.upper_bound, rel=3.0 * TOLERANCE)
    # with the row dropped the value is another: the check can fail
    if bias != "free":
        assert best > (1.0 + 1e-4) * ufm.solve(_without(problem)).upper_bound or name == "squares"


def _without(problem):
    """The problem of the classes with samples."""
    there = problem.class_counts > 0
    loss = problem.loss
    if getattr(loss, "class_weights", None) is not None:
        loss = ufm.CrossEntropy(class_weights=tuple(np.array(loss.class_weights)[there].tolist()))
    if getattr(loss, "shift", None) is not None:
        loss = ufm.LogitAdjustedCrossEntropy(shift=tuple(np.array(loss.shift)[there].tolist()))
    return ufm.Problem(
        problem.class_counts[there], problem.lambda_w, problem.lambda_h, loss=loss, features=problem.features,
        bias=problem.bias,
    )  # fmt: skip


# -- values and levels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", REFERENCE)
def test_the_theorem_counts_outputs(counts):
    problem, K, N = plain(counts), len(counts), sum(counts)
    found = theory.optimum(problem)
    assert found.value == pytest.approx(REFERENCE[counts], rel=ULPS)
    assert found.collapsed.tolist()[2:3] == [counts[2] == 0]
    # equation (3) of docs/theorem.md, in plain arithmetic
    critical = N**2 * 25e-6 * K / (K - 1)
    value = 0.0
    for n in filter(None, counts):
        r = min(1.0, np.sqrt(critical / n))
        t, M = (K - 1) * r / K, np.log1p(K * (1.0 / r - 1.0))
        value += n / N * (-np.log1p(-t) + t * M)
    assert value == pytest.approx(REFERENCE[counts], rel=1e-13)


@pytest.mark.parametrize("counts", REFERENCE)
@pytest.mark.parametrize(
    ("solver", "level"),
    [("theory", "auto"), ("frame", "class"), ("factored", "class"), ("clarabel", "sample"), ("clarabel", "class"),
     ("clarabel", "group"), ("scs", "class"), ("scs", "group")],
)  # fmt: skip
def test_every_solver_and_level(counts, solver, level):
    if level == "sample":
        counts = tuple(-(-n // 10) for n in counts)  # as few samples as say the same
        reference = theory.optimum(plain(counts)).value
    else:
        reference = REFERENCE[counts]
    problem = plain(counts)
    solution = ufm.solve(problem, solver=solver, level=level)
    empty = tuple(k for k, n in enumerate(counts) if n == 0)
    assert solution.status == "certified"
    assert solution.lower_bound <= reference * (1.0 + ULPS)
    assert solution.upper_bound >= reference * (1.0 - ULPS)
    assert (solution.empty_classes, set(empty) <= set(solution.collapsed_classes)) == (empty, True)
    assert solution.kkt().passed
    W, H = solution.factors()
    assert W.shape == H.shape == (len(counts), W.shape[1])
    for array in (H, solution.feature_gram, solution.logits.T, solution.slack):
        assert not array[list(empty)].any()
    assert solution.weight_norms[list(empty)].min() > 0.1  # their rows of W are those of collapsed classes
    if len(empty) > 1:
        assert np.ptp(solution.weight_norms[list(empty)]) <= 1e-3


def test_a_count_of_zero_is_not_the_row_left_out():
    assert ufm.solve(plain((50, 20))).value == pytest.approx(WITHOUT, rel=ULPS)
    assert ufm.solve(plain((50, 20, 0))).lower_bound > 1.3 * WITHOUT


def test_one_class_with_samples():
    """W and H of one column: min over z of CE(z) and (σ ‖z‖ twice half), by bisection."""
    problem = plain((40, 0, 0))
    solution = ufm.solve(problem, solver="clarabel")
    assert solution.status == "certified"
    assert solution.value == pytest.approx(descended(problem, softmax_loss, hard((40, 0, 0))), rel=TOLERANCE)
    assert solution.value == pytest.approx(theory.optimum(problem).value, rel=TOLERANCE)


def test_half_of_a_million_outputs():
    counts = np.zeros(10**6, dtype=np.int64)
    counts[::2] = np.resize([500, 300, 20, 5, 1], 5 * 10**5)
    problem = ufm.Problem(counts, 1e-7, 1e-7)
    started = time.process_time()
    solution = ufm.solve(problem, solver="clarabel", level="group")
    seconds = time.process_time() - started
    assert solution.status == "certified"
    assert solution.value == pytest.approx(theory.optimum(problem).value, rel=1e-9)
    assert seconds < 20.0  # of this process; 0.6 s measured
    assert len(solution.empty_classes) == 5 * 10**5
    certificate = ufm.certify(problem, solution=solution)
    assert certificate.verdict == "optimal"
    assert len(certificate.to_json()) < 100_000_000


def test_theorems_that_hold_meet_the_relaxation_and_others_refuse():
    cases = {
        "hinge": {"loss": ufm.MulticlassHinge()},
        "pairwise hinge": {"loss": ufm.MulticlassHinge("weston-watkins")},
        "squares": {"loss": ufm.MeanSquaredError()},
        "squares, free": {"loss": ufm.MeanSquaredError(), "features": "free"},
        "squares, free bias": {"loss": ufm.MeanSquaredError(), "features": "free", "bias": "free"},
        "sigmoids": {"loss": ufm.BinaryCrossEntropy()},
        "margin": {"constraint": ufm.HardMargin(1.0)},
        "scaled margin": {"constraint": ufm.HardMargin(1.0, scale=(1.0, 2.0, 3.0, 0.5))},
        "margin, free": {"constraint": ufm.HardMargin(1.0), "features": "free"},
        "margins of classes, free": {"constraint": ufm.HardMargin((1.0, 2.0, 5.0, 0.5)), "features": "free"},
    }
    for name, given_ in cases.items():
        problem = plain((50, 20, 0, 6), **given_)
        found = theory.optimum(problem)
        solution = ufm.solve(problem, solver="clarabel", level="class")
        assert found.value == pytest.approx(solution.value, rel=3.0 * TOLERANCE), name
        assert found.relation == "tight", name
    total = ufm.Problem([6, 5, 0, 0], 0.5, 0.5, features="free")
    assert theory.optimum(total).value == pytest.approx(np.log(4.0), rel=ULPS)
    assert ufm.solve(total, solver="clarabel").value == pytest.approx(np.log(4.0), rel=TOLERANCE)


def test_what_does_not_survive_is_no_closed_form():
    """The balanced simplex would say 0.17807, and the truth is 0.15295; five sigmoids are above the frame's limit."""
    balanced = ufm.Problem([12, 12, 12, 0, 0], 1e-3, 1e-3, features="free")
    with pytest.raises(HypothesisError, match="class counts and class weights are equal"):
        theory.optimum(balanced)
    K, N = 5, 36
    r = np.sqrt(N * K * 1e-6)
    t, M = (K - 1) * r / K, np.log1p(K * (1.0 / r - 1.0))
    wrong = -np.log1p(-t) + t * M
    solved = ufm.solve(balanced)
    assert solved.status == "certified"
    assert abs(wrong - solved.value) > 0.02 * wrong
    sigmoids = plain((50, 20, 0, 6, 0, 0), loss=ufm.BinaryCrossEntropy())
    with pytest.raises(HypothesisError, match="at most 4 classes"):
        theory.optimum(sigmoids)
    bound = theory.bound(sigmoids)
    assert bound is not None
    assert bound.relation == "upper"
    assert bound.value > ufm.solve(sigmoids).upper_bound


# -- properties ---------------------------------------------------------------------------------------------------


DECAYS = st.floats(1e-4, 3e-2)
SEVERAL = st.lists(st.integers(1, 60), min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(
    counts=SEVERAL, empty=st.integers(1, 3), lambda_w=DECAYS, lambda_h=DECAYS, data=st.data(),
    features=st.sampled_from(["nonnegative", "free"]),
    loss=st.sampled_from([ufm.CrossEntropy(), ufm.BinaryCrossEntropy(), ufm.MeanSquaredError(), ufm.MulticlassHinge()]),
)  # fmt: skip
def test_an_output_more_never_lowers_the_optimum(counts, empty, lambda_w, lambda_h, data, features, loss):
    """Nor does its place matter: the optimum is that of any order of the classes."""
    bare = ufm.solve(ufm.Problem(counts, lambda_w, lambda_h, loss=loss, features=features))
    order = data.draw(st.permutations([*counts, *[0] * empty]))
    solutions = [
        ufm.solve(ufm.Problem(given_, lambda_w, lambda_h, loss=loss, features=features))
        for given_ in ([*counts, *[0] * empty], order)
    ]
    for solution in solutions:
        assert solution.upper_bound >= bare.lower_bound
        assert solution.status == "certified"
    first, second = solutions
    assert max(first.lower_bound, second.lower_bound) <= min(first.upper_bound, second.upper_bound)
    assert [order[k] for k in second.empty_classes] == [0] * empty


# -- a free bias --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "loss", "named"),
    [
        ((50, 20, 0), None, "output 2 has no mass"),
        ((0, 20, 0, 3), None, "outputs 0, 2 have no mass"),
        ((40, 0), None, "output 1 has no mass"),
        ((50, 20, 0), ufm.CrossEntropy(class_weights=(1.0, 2.0, 9.0)), "output 2"),
        ((50, 20, 0), ufm.LogitAdjustedCrossEntropy(scale=(1.0, 2.0, 1.0)), "output 2"),
        ((50, 20, 0), make("label-margin-cross-entropy", {"margins": [0.1, 0.2, 0.3]}), "output 2"),
        ((50, 20, 0), ufm.BinaryCrossEntropy(), "output 2"),
        ((40, 0), ufm.BinaryCrossEntropy(), "outputs 0, 1 have no mass"),  # 1 for all samples, 0 for all
        ((5, 4, 3), ufm.SoftTargetCrossEntropy([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [1.0, 0.0, 0.0]]), "output 2"),
        ([0] * 3 + [1] + [0] * 20, None, "outputs 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, … have"),
    ],
)
def test_a_free_bias_without_an_optimum_names_the_outputs(counts, loss, named):
    with pytest.raises(HypothesisError) as refused:
        plain(counts, loss=loss, bias="free")
    assert named in refused.value.got
    assert plain(counts, loss=loss, bias=1e-3).bias == 1e-3  # the fix works


def test_the_infimum_of_a_free_bias_is_that_without_the_class():
    """Not attained: penalties of b that go to 0 approach it from above, and never meet it."""
    limit = ufm.solve(plain((50, 20), bias="free"))
    above = [ufm.solve(plain((50, 20, 0), bias=weight)) for weight in (1e-2, 1e-4, 1e-6)]
    for earlier, later in itertools.pairwise(above):
        assert earlier.lower_bound > later.upper_bound
    assert above[-1].lower_bound > limit.upper_bound
    assert above[-1].upper_bound < limit.upper_bound * (1.0 + 1e-3)


@pytest.mark.parametrize("loss", [ufm.MulticlassHinge(), ufm.MulticlassHinge("weston-watkins"), ufm.MeanSquaredError()])
@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_hinges_and_squares_attain_it(loss, features):
    solution = ufm.solve(plain((50, 20, 0, 6), loss=loss, features=features, bias="free"))
    bare = ufm.solve(plain((50, 20, 6), loss=loss, features=features, bias="free"))
    assert (solution.status, bare.status) == ("certified", "certified")
    assert solution.value == pytest.approx(bare.value, rel=3.0 * TOLERANCE)


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_one", "kind", "words"),
    [
        (lambda: plain((0, 0)), CountsError, "0 for every class"),
        (lambda: plain((5, -1)), CountsError, r"class_counts\[1\] is -1"),
        (lambda: plain((5,)), CountsError, "one class"),
        (
            lambda: plain((5, 4, 0), loss=ufm.SoftTargetCrossEntropy(np.eye(3).tolist())),
            ProblemError,
            "class 2 has no samples, and the table",
        ),
        (
            lambda: ufm.Problem([5, 0, 4], constraint=ufm.LayerPeeled(1.0, 1.0)),
            ProblemError,
            "class 1 has no samples beside the constraint",
        ),
        (lambda: ufm.ContrastiveProblem([5, 0, 4], bound=1.0), CountsError, r"class_counts\[1\] is 0"),
        (
            lambda: ufm.LogitAdjustedCrossEntropy(shift=(0.0, -1.0, -np.inf)),  # the log prior of an empty class
            ProblemError,
            "shift has the entry -inf",
        ),
    ],
)
def test_where_a_class_without_samples_has_no_meaning(make_one, kind, words):
    with pytest.raises(kind, match=words):
        make_one()


def test_labels_and_tables(tmp_path):
    assert ufm.class_counts_from_labels([0, 2, 2], num_classes=4).tolist() == [1, 0, 2, 0]
    assert ufm.class_counts_from_labels([0, 0], num_classes=2).tolist() == [2, 0]
    for given_, classes, kind, words in (
        ([0, 2], None, LabelsError, "num_classes=3, or --num-classes"),
        ([0, 2], 2, LabelsError, r"labels\[1\] is 2, and there are 2 classes"),
        ([1, 2], 2, LabelsError, "the labels start at 1"),
        ([0, 1], 1, CountsError, "num_classes is 1"),
        ([0, 1], 2.5, CountsError, r"num_classes is 2\.5"),
        ([0, 1], True, CountsError, "num_classes is True"),
        ([0, 1], 10**9, CountsError, "num_classes is 1000000000"),
    ):
        with pytest.raises(kind, match=words):
            ufm.class_counts_from_labels(given_, num_classes=classes)
    file = tmp_path / "y.csv"
    file.write_text("label\n0\n3\n")
    assert read_labels(file, 4).tolist() == [0, 3]
    with pytest.raises(LabelsError, match="line 3: the label is 3, and there are 3 classes"):
        read_labels(file, 3)
    np.save(tmp_path / "y.npy", np.array([0, 3]))
    with pytest.raises(LabelsError, match=r"y\.npy\[1\] is 3, and there are 3 classes"):
        read_labels(tmp_path / "y.npy", 3)
    (tmp_path / "n.csv").write_text("class_id,count\n2,0\n0,50\n1,20\n")
    assert read_class_counts(tmp_path / "n.csv").tolist() == [50, 20, 0]
    problem = plain((50, 20, 0))
    problem.save(tmp_path / "p.toml")
    assert ufm.Problem.load(tmp_path / "p.toml") == problem != plain((50, 20))


# -- candidates ---------------------------------------------------------------------------------------------------


def accuracy_zero():
    """W and H, optimal once the third row of W is dropped, with which that class is decided for throughout."""
    W, H = ufm.solve(plain((50, 20))).factors()
    labels = np.repeat([0, 1], [50, 20])
    return np.vstack([W, W.sum(axis=0) + 5.0]), H[labels], labels


def test_a_network_of_accuracy_zero_is_judged_truly():
    W, features, labels = accuracy_zero()
    dropped = ufm.Candidate(weights=W[:2], features=features, labels=labels)
    assert ufm.certify(plain((50, 20)), dropped).verdict == "optimal"
    candidate = ufm.Candidate(weights=W, features=features, labels=labels)
    assert (features @ W.T).argmax(axis=1).tolist() == [2] * 70
    assert candidate.class_counts.tolist() == [50, 20, 0]
    problem = candidate.problem(5e-3, 5e-3)
    assert problem == plain((50, 20, 0))
    judged = ufm.certify(problem, candidate)
    assert judged.verdict == "suboptimal"
    z = features @ W.T
    value = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(70), labels])
    value += 2.5e-3 * ((W**2).sum() + (features**2).sum())
    assert judged.candidate_gap[0] == pytest.approx(value - REFERENCE[50, 20, 0], rel=1e-9)
    with pytest.raises(CountsError, match="3 classes, not 2"):
        ufm.certify(plain((50, 20)), candidate)


@pytest.mark.parametrize("level", ["sample", "class"])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_optima_are_optimal_and_gaps_are_explained(level, noise):
    problem = ufm.Problem([50, 20, 0, 6, 0], 5e-4, 5e-4)
    W, H = ufm.solve(problem).factors()
    generator, labels = np.random.default_rng(0), np.repeat(np.arange(5), problem.class_counts)
    W = W + noise * generator.normal(size=W.shape)
    rows = H[labels] if level == "sample" else H
    rows = np.abs(rows + noise * generator.normal(size=rows.shape))
    which = {"labels": labels} if level == "sample" else {"class_counts": problem.class_counts}
    if level == "class":
        rows[[2, 4]] = 0.0
    candidate = ufm.Candidate(weights=W, features=rows, **which)
    judged = ufm.certify(problem, candidate)
    assert judged.verdict == ("suboptimal" if noise else "optimal")
    times = np.ones(76) if level == "sample" else problem.class_counts
    y = labels if level == "sample" else np.arange(5)
    z = rows @ W.T
    value = (times * (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y])).sum() / 76
    value += 2.5e-4 * ((W**2).sum() + times @ (rows**2).sum(axis=1))
    parts = ufm.attribute_gap(problem, candidate)
    assert parts.candidate_value == pytest.approx(value, rel=1e-12)
    assert parts.gap == pytest.approx(value - theory.optimum(problem).value, abs=1e-14)
    assert min(parts.totals.values()) >= 0.0
    assert sum(parts.totals.values()) == pytest.approx(parts.gap, abs=1e-14)
    assert not {one.index for one in parts.dead_classes} & {2, 4}
    for step in ufm.proof_steps(problem, candidate):
        assert step.slack >= -1e-12
        if not noise:
            assert step.slack <= 1e-9, step.number
    found = geometry(problem, candidate)
    if not noise:
        assert (found.nearest_centre, found.largest_overlap) == (1.0, 0.0)
        assert found.theorem_self_duality < 1e-12
        assert found.grams.features < 1e-12


def test_geometry_is_of_the_classes_with_samples():
    """Class means and what is measured of them are as if the outputs without samples were not there."""
    generator = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [9, 5, 4])
    W, features = generator.normal(size=(3, 4)), np.abs(generator.normal(size=(18, 4)))
    bare = geometry(ufm.Problem([9, 5, 4], 1e-3, 1e-3), ufm.Candidate(weights=W, features=features, labels=labels))
    wider = np.zeros((5, 4))
    wider[[0, 2, 4]] = W
    wider[[1, 3]] = -100.0  # never decided for
    given_ = ufm.Candidate(weights=wider, features=features, labels=2 * labels)
    found = geometry(ufm.Problem([9, 0, 5, 0, 4], 1e-3, 1e-3), given_)
    for name in ("trace_ratio", "quotient", "cdnv", "pairs_left_out", "mean_overlap", "largest_overlap",
                 "self_duality", "duality_structure", "nearest_centre"):  # fmt: skip
        assert getattr(found, name) == pytest.approx(getattr(bare, name), rel=1e-12), name
    assert found.means.structure == pytest.approx(bare.means.structure, rel=1e-12)
    wider[1] = 100.0  # decided for by every sample, whose nearest mean is another class
    beaten = ufm.Candidate(weights=wider, features=features, labels=2 * labels)
    assert geometry(ufm.Problem([9, 0, 5, 0, 4], 1e-3, 1e-3), beaten).nearest_centre == 0.0


def test_candidates_that_do_not_fit_are_refused():
    W, H = np.eye(3), np.eye(3)
    with pytest.raises(CandidateError, match="row 2 of features is not zero, and class 2 has no samples"):
        ufm.Candidate(weights=W, features=H, class_counts=[5, 4, 0])
    spoilt = np.where(np.arange(3)[:, None] == 2, np.nan, H)  # the mean of nothing, as NumPy forms it
    with pytest.raises(CandidateError, match="row 2 of features is not zero"):
        ufm.Candidate(weights=W, features=spoilt, class_counts=[5, 4, 0])
    with pytest.raises(LabelsError, match="labels run up to 3, but weights has 3 rows"):
        ufm.Candidate(weights=W, features=H, labels=[0, 3, 0])
    one_output = ufm.Candidate(weights=np.ones((1, 3)), features=H, labels=[0, 0, 0])  # a table may have one
    for judge in (lambda one: one.problem(1e-2, 1e-2), lambda one: ufm.certify(ufm.Problem([2, 1], 1e-2, 1e-2), one)):
        with pytest.raises(ShapeError, match="weights has one row"):
            judge(one_output)


# -- certificates -------------------------------------------------------------------------------------------------


def certificates():
    """Name → document; between them every kind of proof and witness, with classes without samples in it."""
    small, groups = (4, 2, 0, 1), (9, 9, 0, 2, 0)
    hinge = {"loss": ufm.MulticlassHinge("weston-watkins"), "features": "free"}
    adjusted = ufm.LogitAdjustedCrossEntropy(shift=(0.5, 0.0, 0.2, -0.3), scale=(1.5, 1.0, 2.0, 0.75))
    by_groups = [
        ufm.Problem(groups, 1e-2, 1e-2, features="free"),
        ufm.Problem(groups, 1e-2, 1e-2),
        ufm.Problem(groups, 2e-2, 2e-2, **hinge),
        ufm.Problem(groups, 2e-2, 2e-2, loss=ufm.BinaryCrossEntropy(), features="free"),
        ufm.Problem(groups, 2e-2, 2e-2, bias=0.1),
    ]
    others = [
        ufm.Problem([50, 20, 0], 5e-3, 5e-3),
        ufm.Problem([5, 0], 5e-3, 5e-3),
        ufm.Problem(small, 2e-2, 2e-2, features="free"),
        ufm.Problem(small, 2e-2, 2e-2, loss=ufm.CrossEntropy(smoothing=0.1), bias="free"),
        ufm.Problem(small, 2e-2, 2e-2, loss=ufm.MeanSquaredError(), bias="free"),
        ufm.Problem(small, 2e-2, 2e-2, loss=adjusted, features="free"),
        ufm.Problem(small, 2e-2, 2e-2, loss=ufm.CrossEntropy(class_weights=(1.0, 2.0, 5.0, 0.5))),
        ufm.Problem(small, 2e-2, 2e-2, constraint=ufm.HardMargin(1.0), features="free"),
        ufm.Problem(small, 2e-2, 2e-2, bias=0.1),
    ]
    made = [ufm.certify(one, solution=ufm.solve(one, solver="clarabel", level="group")) for one in by_groups]
    made += [ufm.certify(one) for one in others]
    W, features, labels = accuracy_zero()
    small_one = ufm.Candidate(weights=W, features=features[::10], labels=labels[::10])
    made.append(ufm.certify(small_one.problem(5e-3, 5e-3), small_one))
    means = ufm.Candidate(weights=W, features=np.vstack([features[[0, -1]], 0 * W[:1]]), class_counts=[5, 2, 0])
    made.append(ufm.certify(means.problem(5e-3, 5e-3), means))
    return [json.loads(one.to_json()) for one in made]


@pytest.fixture(scope="module")
def documents():
    return certificates()


def test_both_verifiers_prove_them(documents):
    kinds = {(document["dual"]["kind"], document["witness"]["kind"]) for document in documents}
    assert kinds >= {("diagonal", "frame"), ("group", "group"), ("dense", "dense"), ("group", "dense")}
    for document in documents:
        assert document["version"] == 1
        assert " 0" in " " + document["problem"]["class_counts"]
        assert outcome(text(document)) == "PROVED"
        assert naive_verifier.verdict(document) == "PROVED"
        assert naive_verifier.slack_is_psd(naive_verifier.NaiveProblem(document["problem"]), document["dual"])


@pytest.mark.slow
def test_every_field_altered(documents):
    """No alteration is proved by one verifier and refuted by the other."""
    for document in documents:
        for what, altered in alterations(document):
            assert outcome(text(altered)) == "malformed", what
            if isinstance(altered, dict):
                judge_forgery(altered)


def test_some_fields_altered(documents):
    """Of each document every twentieth alteration; the slow test takes them all."""
    found = []
    for document in documents:
        forgeries = [altered for _, altered in alterations(document) if isinstance(altered, dict)]
        found += [judge_forgery(altered) for altered in forgeries[:: max(1, len(forgeries) // 20)]]
    assert {"REFUTED", "malformed"} <= set(found)


def test_a_certificate_of_the_problem_without_the_row_is_refuted(tmp_path):
    """Asked about the problem with it; and with the count put in, what its witness proves is more than is claimed."""
    path = tmp_path / "c.json"
    ufm.certify(plain((50, 20, 0))).save(path)
    assert ufm.verify(path, problem=plain((50, 20, 0))).verdict is Verdict.PROVED
    assert ufm.verify(path, problem=plain((50, 20))).verdict is Verdict.REFUTED
    ufm.certify(plain((50, 20))).save(path)
    assert ufm.verify(path, problem=plain((50, 20))).verdict is Verdict.PROVED
    assert ufm.verify(path, problem=plain((50, 20, 0))).verdict is Verdict.REFUTED
    document = json.loads(path.read_text())
    document["problem"].update(class_counts="50 20 0", multiplicities="1 1 1")
    assert judge_forgery(resealed(document)) == "REFUTED"


def test_counts_that_no_problem_has_are_malformed(documents):
    document = documents[5]  # (50, 20, 0), diagonal and on a frame
    assert document["problem"]["class_counts"] == "50 20 0"
    for counts in ("50 20 -1", "0 0 0", "-50 20 0"):
        document_ = json.loads(json.dumps(document))
        document_["problem"]["class_counts"] = counts
        assert outcome(text(resealed(document_))) == "malformed"
    peeled = json.loads(ufm.certify(ufm.Problem([50, 20], constraint=ufm.LayerPeeled(1.0, 1.0))).to_json())
    peeled["problem"].update(class_counts="50 20 0", multiplicities="1 1 1")
    assert outcome(text(resealed(peeled))) == "malformed"


def test_features_of_classes_without_samples_are_zero(documents):
    """A row that has no effect is not accepted with any entry but 0."""
    seen = 0
    for document in documents:
        counts = naive_verifier.NaiveProblem(document["problem"]).classes
        parts = [document["witness"].get("H")]
        if document["candidate"] is not None and document["candidate"]["level"] == "class":
            parts.append(document["candidate"]["arrays"]["features"])
        for part in (one for one in parts if one is not None):
            rows = part["rows"]
            place = 0 if "own" in part else next(k for k, (n, _) in enumerate(counts) if n == 0)
            kept, entries = rows[place], rows[place].split(" ")
            rows[place] = " ".join(["1", *entries[1:]]) if "own" not in part else " ".join([*entries[:-1], "1"])
            assert outcome(text(resealed(document))) == "malformed"
            rows[place] = kept
            seen += 1
    assert seen > 6


def test_a_candidate_in_a_file_of_its_own_is_read_with_its_empty_classes(monkeypatch):
    from ufm_convex.certificate import encoding

    monkeypatch.setattr(encoding, "EMBEDDED_NUMBERS", 0)
    W, features, labels = accuracy_zero()
    means = np.vstack([features[[0, -1]], np.zeros((1, W.shape[1]))])
    for arrays in (
        {"weights": W, "features": features, "labels": labels},
        {"weights": W, "features": means, "class_counts": np.array([50, 20, 0])},
    ):
        candidate = ufm.Candidate(**arrays)
        document = json.loads(ufm.certify(candidate.problem(5e-3, 5e-3), candidate).to_json())
        assert document["candidate"]["arrays"] is None
        assert verify(text(document), arrays).verdict is Verdict.PROVED
    stray = {**arrays, "features": means + np.array([[0.0], [0.0], [1.0]])}
    document["candidate"]["sha256"] = _digest(stray)
    assert verify(text(resealed(document)), stray).verdict is Verdict.REFUTED


def _digest(arrays):
    """As docs/streaming.md, section 7, defines it."""
    import hashlib

    digest = hashlib.sha256()
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{name} {little.dtype.str} {'x'.join(map(str, array.shape))}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def test_lower_bounds_of_points_at_random_are_below_the_truth():
    """Whatever the dual point, exact arithmetic proves no more than the optimum; the naive verifier says the same."""
    problem = ufm.Problem([6, 3, 0, 1], 2e-2, 2e-2)
    truth = Fraction(theory.optimum(problem).value) * (1 + Fraction(1, 10**12))
    generator = np.random.default_rng(8)
    from ufm_convex import enclosure
    from ufm_convex.relaxation import DualPoint

    for _ in range(40):
        V = generator.random((4, 4)) * 0.2
        V[[0, 1, 2, 3], [0, 1, 2, 3]] = 0.0
        V -= np.diag(V.sum(axis=0))
        bound = enclosure.lower_bound(problem, DualPoint(V, np.zeros((4, 4))), proof="dense")
        assert bound.exact <= truth


# -- the other rooms ----------------------------------------------------------------------------------------------


def test_contestants_are_judged_with_their_empty_classes():
    problem, bare = plain((50, 20, 0)), plain((50, 20))

    def right(asked):
        return ufm.solve(asked, solver="clarabel").factors()

    def dropped(asked):
        W, H = ufm.solve(bare).factors()
        return np.vstack([W, np.zeros((1, 2))]), np.vstack([H, np.zeros((1, 2))])

    def stray(asked):
        W, H = right(asked)
        H = H.copy()
        H[2, 0] = 1.0
        return W, H

    rows = {row.solver: row for row in ufm.cross_check(problem, [right, dropped, stray, "clarabel", "scs"]).rows}
    assert [rows[name].verdict for name in ("right", "clarabel")] == ["right", "right"]
    assert rows["dropped"].verdict == "wrong"
    assert (rows["stray"].verdict, "class without samples" in rows["stray"].reason) == ("failed", True)


def test_close_gap_counts_columns_with_samples():
    problem = plain((50, 20, 0, 6, 0), loss=ufm.LogitAdjustedCrossEntropy(shift=(0.0, -1.0, -2.0, -1.0, -3.0)))
    closed, solution = ufm.close_gap(problem), ufm.solve(problem)
    assert closed.relative_gap <= TOLERANCE
    assert closed.upper_bound == pytest.approx(solution.value, rel=3.0 * TOLERANCE)


def run(*arguments):
    return CliRunner().invoke(application(), list(map(str, arguments)))


def test_the_command_line(tmp_path):
    decays = ("--lambda-w", "5e-3", "--lambda-h", "5e-3")
    found = run("solve", "--class-counts", "50,20,0", *decays, "--json", "-o", tmp_path / "c.json")
    record = json.loads(found.stdout)
    assert found.exit_code == 0
    assert record["value"] == pytest.approx(REFERENCE[50, 20, 0], rel=ULPS)
    assert [record[name] for name in ("num_classes", "num_outputs", "num_columns")] == [3, 3, 2]
    assert record["empty_classes"] == record["collapsed_classes"] == [2]
    assert run("verify", tmp_path / "c.json").exit_code == 0
    assert not {"num_outputs", "num_columns", "empty_classes"} & set(
        json.loads(run("solve", "--class-counts", "50,20", *decays, "--json").stdout)
    )
    np.savetxt(tmp_path / "y.txt", np.repeat([0, 1], [50, 20]), fmt="%d")
    labelled = run("solve", "--labels", tmp_path / "y.txt", "--num-classes", "3", *decays)
    assert "no samples" in labelled.stdout
    assert "1: 2; 1 without samples" in labelled.stdout
    assert "0.221440831474" in labelled.stdout
    for source in (
        ("--class-counts", "50,20", "--num-classes", "3"),
        ("--labels", tmp_path / "y.txt", "--num-classes", "x"),
    ):
        refused = run("solve", *source, *decays)
        assert (refused.exit_code, "--num-classes" in refused.output) == (2, True)
    W, features, labels = accuracy_zero()
    np.savez(tmp_path / "net.npz", weights=W, features=features, labels=labels)
    judged = run("certify", tmp_path / "net.npz", *decays, "--json", "-o", tmp_path / "n.json")
    assert (judged.exit_code, json.loads(judged.stdout)["verdict"]) == (1, "suboptimal")
    assert run("verify", tmp_path / "n.json", "--candidate", tmp_path / "net.npz").exit_code == 0
    for level in ("sample", "class", "group"):
        counts = "5,2,0,0" if level == "sample" else "50,20,0,0"
        assert (
            run("export", "--class-counts", counts, *decays, "--level", level, "-o", tmp_path / "p.cbf").exit_code == 0
        )
    for figure in ("norms", "gram"):
        drawn = run("plot", "--class-counts", "50,20,0,6", *decays, "--figure", figure, "-o", tmp_path / "f.png")
        assert drawn.exit_code == 0
    phase = run("plot", "--class-counts", "50,20,0,6", *decays, "--figure", "phase", "-o", tmp_path / "f.png")
    assert (phase.exit_code, "class 2 has no samples" in phase.output) == (2, True)

"""Neural-collapse measures: values at optima, agreement with a foreign implementation, faults, what is undefined."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex import theory
from ufm_convex.candidate import Candidate
from ufm_convex.errors import CandidateError, CountsError, UnknownNameError
from ufm_convex.losses import CrossEntropy
from ufm_convex.measures import GramDistances, SimplexMeasures, geometry
from ufm_convex.problem import Problem

FOREIGN = json.loads((Path(__file__).parent / "data" / "neural_collapse_measures.json").read_text(encoding="utf-8"))


def numbers(report):
    """Every defined number of a report or of a part of one, by name."""
    found = {}
    for field in dataclasses.fields(report):
        value = getattr(report, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": number for name, number in numbers(value).items()}
        elif isinstance(value, (int, float)):
            found[field.name] = value
    return found


# -- against an implementation that is not this project's ------------------------------------------------------------

SAME = {  # foreign figure → ours
    "covariance_ratio_pinv": "trace_ratio",
    "covariance_ratio_quotient": "quotient",
    "variability_cdnv": "cdnv",
    "mean_norms_std_over_mean": "means.equinorm",
    "cosine_angle": "means.simplex_angle",
    "simplex_etf_error_means": "means.structure",
    "simplex_etf_error_weights": "weights.structure",
    "self_duality_error": "duality_structure",
    "clf_ncc_agreement": "nearest_centre",
}
CENTRED = [  # foreign figures that take a centre, recorded about both
    "covariance_ratio_pinv",
    "covariance_ratio_quotient",
    "mean_norms_std_over_mean",
    "cosine_angle",
    "simplex_etf_error_means",
    "self_duality_error",
]


def foreign_case(name):
    case = FOREIGN["cases"][name]
    W, F = np.array(case["weights"]), np.array(case["features"])
    return Candidate(weights=W, features=F, labels=case["labels"]), case["figures"]


@pytest.mark.parametrize("name", FOREIGN["cases"])
def test_a_foreign_implementation_agrees(name):
    candidate, figures = foreign_case(name)
    found = numbers(geometry(candidate.problem(1e-3, 1e-3), candidate))
    for theirs, ours in SAME.items():
        # both in binary64, but theirs keeps the grid of CDNVs in binary32
        tolerance = 1e-6 if theirs == "variability_cdnv" else 1e-12
        assert found[ours] == pytest.approx(figures[theirs], rel=tolerance), ours


@pytest.mark.parametrize("name", FOREIGN["cases"])
def test_a_foreign_implementation_agrees_about_the_mean_of_all_samples(name):
    """Their measures take any centre. What takes none is what it is about the mean of the class means."""
    candidate, figures = foreign_case(name)
    problem = candidate.problem(1e-3, 1e-3)
    classes, samples = (numbers(geometry(problem, candidate, centre=one)) for one in ("classes", "samples"))
    for theirs in CENTRED:
        assert samples[SAME[theirs]] == pytest.approx(figures[f"{theirs}_sample_centre"], rel=1e-12), theirs
        if np.ptp(candidate.class_counts):  # the fault that would be hard to see: one centre for the other
            assert classes[SAME[theirs]] != pytest.approx(figures[f"{theirs}_sample_centre"], rel=1e-5), theirs
    moved = {name for name in samples if samples[name] != pytest.approx(classes[name], rel=1e-9)}
    assert moved == (set(DEFINED) if np.ptp(candidate.class_counts) else set())


def test_a_slightly_different_candidate_disagrees_with_the_foreign_figures():
    candidate, figures = foreign_case("imbalanced")
    scale = np.linspace(1.0, 1.01, candidate.features.shape[0])[:, None]
    altered = Candidate(
        weights=candidate.weights * scale[: candidate.num_classes],
        features=candidate.features * scale,
        labels=candidate.labels,
    )
    found = numbers(geometry(altered.problem(1e-3, 1e-3), altered))
    for theirs, ours in SAME.items():
        if ours != "nearest_centre":  # a share of 19 samples, which so small a change does not move
            assert found[ours] != pytest.approx(figures[theirs], rel=1e-5), ours


# -- against the definitions, written down as they are read ------------------------------------------------------------


def simplex_of(K):
    return (np.eye(K) - 1.0 / K) / math.sqrt(K - 1)


def frobenius(X):
    return X / np.linalg.norm(X)


DEFINED = {  # field → its definition, of Σ_W, centred class means M and W
    "trace_ratio": lambda S, M, W: np.trace(S @ np.linalg.pinv(M.T @ M / len(M), rcond=1e-10)) / len(M),
    "quotient": lambda S, M, W: np.trace(S) / np.trace(M.T @ M / len(M)),
    "means.equinorm": lambda S, M, W: np.std(np.linalg.norm(M, axis=1)) / np.mean(np.linalg.norm(M, axis=1)),
    "means.equiangularity": lambda S, M, W: np.std(cosines_of(M)),
    "means.simplex_angle": lambda S, M, W: np.mean(np.abs(cosines_of(M) + 1.0 / (len(M) - 1))),
    "means.structure": lambda S, M, W: np.linalg.norm(frobenius(M @ M.T) - simplex_of(len(M))),
    "self_duality": lambda S, M, W: np.linalg.norm(frobenius(W) - frobenius(M)),
    "duality_structure": lambda S, M, W: np.linalg.norm(frobenius(W @ M.T) - simplex_of(len(M))),
}
"""Every measure that a centre enters; ``test_a_foreign…_samples`` finds that no other does."""


def cosines_of(M):
    unit = M / np.linalg.norm(M, axis=1)[:, None]
    return (unit @ unit.T)[np.triu_indices(len(M), 1)]


def defined(W, F, y, centre):
    """The measures by their definitions; rows of W are those of classes with samples."""
    present = np.unique(y)
    means = np.array([F[y == k].mean(axis=0) for k in present])
    middle = {"classes": means.mean(axis=0), "samples": F.mean(axis=0)}[centre]
    away = [h - F[y == k].mean(axis=0) for h, k in zip(F, y, strict=True)]
    S = np.mean([np.outer(one, one) for one in away], axis=0)
    return {name: measure(S, means - middle, W[present]) for name, measure in DEFINED.items()}


@pytest.mark.parametrize("centre", ["classes", "samples"])
@pytest.mark.parametrize("counts", [[40, 9, 3], [30, 12, 5, 2, 1], [50, 0, 7, 2]], ids=str)
@pytest.mark.parametrize("d", [2, 6])
def test_centred_measures_are_their_definitions_on_imbalanced_data(centre, counts, d):
    rng = np.random.default_rng(len(counts) + d)
    y = np.repeat(np.arange(len(counts)), counts)
    W = rng.normal(size=(len(counts), d))
    F = np.maximum(rng.normal(size=W.shape)[y] + 0.5 * rng.normal(size=(y.size, d)), 0.0) + 0.1
    found = geometry(Problem(counts, 0.01, 0.01), Candidate(weights=W, features=F, labels=y), centre=centre)
    assert found.centre == centre
    expected, other = (defined(W, F, y, one) for one in (centre, {"classes": "samples"}.get(centre, "classes")))
    for name, value in numbers(found).items():
        if name in DEFINED:
            assert value == pytest.approx(expected[name], rel=1e-9), name  # a pseudo-inverse of condition below 1e4
            assert abs(value - other[name]) > 1e-6, name  # one centre for the other is found out


def test_the_centre_of_a_balanced_problem_is_one():
    W, F, y = optimum(BALANCED)
    found = [
        numbers(geometry(BALANCED, Candidate(weights=W, features=F + 0.01 * y[:, None], labels=y), centre=one))
        for one in ("classes", "samples")
    ]
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=1e-12, abs=1e-14), name


def test_a_solution_and_class_means_are_centred_about_all_samples_too():
    """A class mean stands for its n_k samples."""
    problem = Problem([40, 20, 8], 0.02, 0.01)
    solution = ufm.solve(problem)
    W, H = solution.factors()
    y = np.repeat([0, 1, 2], problem.class_counts)
    found = geometry(problem, solution, centre="samples")
    expected = defined(W, H[y], y, "samples")
    for name in ("means.equinorm", "means.structure", "self_duality", "duality_structure"):
        assert numbers(found)[name] == pytest.approx(expected[name], rel=1e-9), name


@pytest.mark.parametrize("centre", ["sample", "", None, 1, ["samples"], np.array(["samples", "classes"])])
def test_other_centres_are_refused(centre):
    W, F, y = optimum(BALANCED)
    with pytest.raises(UnknownNameError, match=r"centre is .*\n.*samples"):
        geometry(BALANCED, Candidate(weights=W, features=F, labels=y), centre=centre)


# -- at optima -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3, 4, 7, 10, 31, 100, 316, 1000])
def test_the_balanced_simplex_has_all_four(K):
    """Zhu et al. (2021): the global optimum with free features is a self-dual simplex."""
    problem = Problem([2] * K, 0.1 / K, 0.1 / K, features="free")
    W, H = theory.optimum(problem).factors()
    found = geometry(problem, Candidate(weights=W, features=np.repeat(H, 2, axis=0), labels=np.repeat(range(K), 2)))
    # within classes nothing but the rounding of a mean of two; cosines and norms are sums of K products
    assert (found.trace_ratio, found.quotient, found.cdnv) == (0.0, 0.0, 0.0)
    assert max(dataclasses.astuple(found.means)) < 1e-14 * K
    assert max(dataclasses.astuple(found.weights)) < 1e-14 * K
    assert max(found.self_duality, found.duality_structure) < 1e-14 * K
    assert found.mean_overlap == pytest.approx(1 / (K - 1), rel=1e-10)
    # the theorem for non-negative features has W longer by √(K/(K−1)) at the same class means
    assert found.theorem_self_duality == pytest.approx(1 - math.sqrt((K - 1) / K), rel=1e-9)
    assert found.nearest_centre == 1.0
    assert max(found.grams.weights, found.grams.logits, found.grams.features) < 1e-14 * K
    assert found.pairs_left_out == 0


IMBALANCED = [
    Problem([8, 6, 4, 1], 0.1, 0.05),  # the last class is collapsed
    Problem([500, 100, 20], 5e-3, 5e-3),
    Problem([9, 4, 4], 0.02, 0.1, loss=CrossEntropy(class_weights=(1.0, 2.0, 0.5))),
    Problem([9, 4, 4], 0.02, 0.1, loss=CrossEntropy(smoothing=0.1)),
]


def optimum(problem):
    W, H = theory.optimum(problem).factors()
    y = np.repeat(np.arange(problem.num_classes), problem.class_counts)
    return W, H[y], y


@pytest.mark.parametrize("problem", IMBALANCED, ids=repr)
def test_the_imbalanced_optimum_has_the_theorems_geometry(problem):
    W, F, y = optimum(problem)
    found = geometry(problem, Candidate(weights=W, features=F, labels=y))
    assert max(found.trace_ratio, found.quotient, found.cdnv) < 1e-25  # squares of the rounding of class means
    assert found.largest_overlap == 0.0  # disjoint supports
    assert found.theorem_self_duality < 1e-14
    assert found.nearest_centre == 1.0  # with the ties of collapsed classes
    assert max(found.grams.weights, found.grams.logits, found.grams.features) < 1e-14
    # the textbook's simplex is not the optimum of an imbalanced problem
    assert min(found.self_duality, found.means.equinorm, found.weights.structure) > 1e-3


def test_the_cosines_of_the_classifiers_are_the_theorems():
    problem = IMBALANCED[1]
    W, F, y = optimum(problem)
    found = geometry(problem, Candidate(weights=W, features=F, labels=y)).weights
    exact = theory.optimum(problem)
    expected = np.array([exact.cos_weights(0, 1), exact.cos_weights(0, 2), exact.cos_weights(1, 2)])
    assert found.equiangularity == pytest.approx(expected.std(), rel=1e-12)
    assert found.equinorm == pytest.approx(exact.weight_norms.std() / exact.weight_norms.mean(), rel=1e-12)


def test_solutions_are_measured_at_their_factors():
    problem = Problem([40, 20, 8], 0.02, 0.01)
    for solver in ("auto", "clarabel"):
        found = geometry(problem, ufm.solve(problem, solver=solver))
        # a gap of 1e-6 f* leaves distances of its square root
        assert max(found.grams.weights, found.grams.logits, found.grams.features, found.theorem_self_duality) < 1e-2
        assert (found.trace_ratio, found.quotient, found.cdnv) == (None, None, None)


def test_class_means_measure_as_their_samples_do():
    candidate, _ = foreign_case("imbalanced")
    problem = candidate.problem(1e-2, 1e-2)
    means = np.array([candidate.features[candidate.labels == k].mean(axis=0) for k in range(4)])
    short = Candidate(weights=candidate.weights, features=means, class_counts=candidate.class_counts)
    whole, reduced = numbers(geometry(problem, candidate)), numbers(geometry(problem, short))
    assert set(whole) - set(reduced) == {"trace_ratio", "quotient", "cdnv"}
    for name in set(reduced) - {"nearest_centre"}:  # a share of the samples, not of the means
        assert reduced[name] == pytest.approx(whole[name], rel=1e-12)


# -- faults ----------------------------------------------------------------------------------------------------------

BALANCED = Problem([4, 4, 4], 0.05, 0.05)


def scattered(W, F):
    F = F.copy()
    F[::2] *= 1.1
    F[1::2] *= 0.9
    return W, F


def overlapping(W, F):
    return W, F + 0.1 * F.max()


def turned(W, F):
    return W[[1, 2, 0]], F


def scaled(W, F):
    return 1.5 * W, F


def longer(W, F):
    F = F.copy()
    F[:4] *= 1.2
    return W, F


FAULTS = [
    (scattered, {"trace_ratio", "quotient", "cdnv"}),
    (overlapping, {"mean_overlap", "largest_overlap", "grams.features"}),
    (turned, {"self_duality", "theorem_self_duality", "duality_structure", "grams.logits"}),
    (scaled, {"theorem_self_duality", "grams.weights", "grams.logits"}),
    (longer, {"means.equinorm", "means.structure", "self_duality", "theorem_self_duality", "grams.features"}),
]


@pytest.mark.parametrize(("fault", "moved"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_each_fault_moves_its_measures(fault, moved):
    W, F, y = optimum(BALANCED)
    before = numbers(geometry(BALANCED, Candidate(weights=W, features=F, labels=y)))
    W, F = fault(W, F)
    after = numbers(geometry(BALANCED, Candidate(weights=W, features=F, labels=y)))
    changed = {name for name in after if abs(after[name] - before[name]) > 1e-6}
    assert moved <= changed
    if fault is overlapping:  # the same vector added to all features: centred measures cannot see it
        assert not changed & {"means.equinorm", "means.structure", "self_duality"}
    if fault is scaled:  # the textbook form has no scale
        assert "self_duality" not in changed


def test_a_classifier_that_contradicts_the_centres_disagrees_everywhere():
    W, F, y = optimum(BALANCED)
    assert geometry(BALANCED, Candidate(weights=W[[1, 2, 0]], features=F, labels=y)).nearest_centre == 0.0


# -- what is not defined ---------------------------------------------------------------------------------------------


def test_what_is_not_defined_is_none():
    nothing = Candidate(weights=np.zeros((3, 2)), features=np.zeros((6, 2)), labels=[0, 0, 1, 1, 2, 2])
    found = geometry(nothing.problem(0.01, 0.01), nothing)
    assert (found.trace_ratio, found.quotient, found.cdnv, found.pairs_left_out) == (None, None, None, 3)
    assert (found.mean_overlap, found.largest_overlap) == (None, None)
    assert found.means == found.weights == SimplexMeasures(None, None, None, None)
    assert (found.self_duality, found.theorem_self_duality, found.duality_structure) == (None, None, None)
    assert found.nearest_centre == 1.0  # everything ties with everything
    assert (found.grams.weights, found.grams.logits, found.grams.features) == (1.0, 1.0, 1.0)


def test_distances_to_a_zero_optimum_are_none():
    problem = Problem([2, 2, 2], 10.0, 10.0)
    found = geometry(problem, Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[2, 2, 2])).grams
    assert found == GramDistances(None, None, None, theory.optimum(problem).citation)


def test_rounding_errors_are_not_measured():
    """Class means that differ by rounding alone have no between-class variance to divide by."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 50)
    spread = rng.random((50, 4)) + 1.0
    F = np.concatenate([spread, spread[::-1], np.roll(spread, 7, axis=0)])  # the same rows summed in other orders
    found = geometry(Problem([50] * 3, 0.01, 0.01), Candidate(weights=rng.random((3, 4)), features=F, labels=y))
    assert np.ptp([F[y == k].mean(axis=0) for k in range(3)], axis=0).max() < 1e-14
    assert (found.trace_ratio, found.quotient, found.cdnv, found.pairs_left_out) == (None, None, None, 3)
    assert found.means == SimplexMeasures(None, None, None, None)
    assert found.self_duality is None


def test_class_means_that_cancel_are_zero():
    """Features that come with their negatives have mean zero but for the rounding of a sum."""
    half = np.random.default_rng(0).normal(size=(30, 4))
    F = np.concatenate([half, -np.roll(half, 3, axis=0), 3.0 * half, -3.0 * np.roll(half, 5, axis=0)])
    y = np.repeat([0, 1], 60)
    found = geometry(Problem([60, 60], 0.01, 0.01), Candidate(weights=np.eye(2, 4), features=F, labels=y))
    assert np.abs([F[y == k].mean(axis=0) for k in range(2)]).max() > 0.0
    assert (found.trace_ratio, found.largest_overlap, found.self_duality) == (None, None, None)


def test_collapsed_classes_are_left_out_of_the_pairs():
    W, F, y = optimum(Problem([8, 6, 1, 1], 0.1, 0.05))
    found = geometry(Problem([8, 6, 1, 1], 0.1, 0.05), Candidate(weights=W, features=F, labels=y))
    assert found.pairs_left_out == 1  # the two collapsed classes share the mean 0
    assert found.cdnv < 1e-25
    assert found.largest_overlap == 0.0  # of the two classes that have a direction


def test_without_a_theorem_there_are_no_gram_distances():
    problem = Problem([8, 6, 4], 0.01, 0.01, features="free")
    found = geometry(problem, Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[8, 6, 4]))
    assert found.grams is None
    assert found.theorem_self_duality > 0.0


BALANCED_3 = Problem([3, 3, 3], 0.05, 0.05)


def test_every_number_is_finite_for_wild_candidates():
    rng = np.random.default_rng(1)
    for exponent in (-85, -8, 8, 85):
        F, W = 10.0**exponent * rng.normal(size=(9, 3)), 10.0**-exponent * rng.normal(size=(3, 3))
        found = numbers(geometry(BALANCED_3, Candidate(weights=W, features=F, labels=[0, 1, 2] * 3)))
        assert all(math.isfinite(value) for value in found.values()), exponent


def test_bad_input_is_refused():
    W, F, y = optimum(BALANCED)
    with pytest.raises(CountsError, match="class counts"):
        geometry(Problem([4, 4, 5], 0.05, 0.05), Candidate(weights=W, features=F, labels=y))
    broken = F.copy()
    broken[5, 1] = np.nan
    with pytest.raises(CandidateError, match=r"features\[5, 1\] is nan"):
        geometry(BALANCED, Candidate(weights=W, features=broken, labels=y))
    with pytest.raises(CandidateError, match="weights has an entry"):
        geometry(BALANCED, Candidate(weights=1e100 * W / W.max(), features=F, labels=y))
    with pytest.raises(CountsError, match="class counts"):
        geometry(Problem(np.ones(20_001, dtype=int), 0.1, 0.1), Candidate(weights=W, features=F, labels=y))


def test_what_is_neither_candidate_nor_solution_is_refused():
    problem = Problem([5, 4, 3], 0.01, 0.01)
    with pytest.raises(CandidateError, match="what is to be measured is a tuple"):
        geometry(problem, (np.eye(3), np.eye(3)))

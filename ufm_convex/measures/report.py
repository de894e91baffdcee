"""All measures of one candidate or solution, from two passes over its features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import widened
from ufm_convex._pairs import row_blocks
from ufm_convex.candidate import Candidate, FeatureStatistics, Progress, blocks, feature_statistics, require_match
from ufm_convex.errors import CandidateError
from ufm_convex.measures import frames, nearest_centre, self_duality, within
from ufm_convex.measures.frames import SimplexMeasures
from ufm_convex.measures.grams import GramDistances, gram_distances
from ufm_convex.measures.rounding import Centre, centred, in_unit, require_centre
from ufm_convex.problem import Problem, require_problem
from ufm_convex.solution import Solution

_LARGEST_WEIGHT = 2.0**300


@dataclass(frozen=True)
class GeometryReport:
    """Neural-collapse measures. None stands for what is not defined; floating point otherwise.

    Class means, and K in what is said of them, are those of classes with samples; so are the rows of W beside them in
    ``self_duality`` and ``duality_structure``. All rows of W count in ``weights`` and ``theorem_self_duality``.

    With a table of other outputs than columns, class means are those of its columns, and what pairs them with rows of W
    (NC3 and NC4) is None.

    Centred class means are h̄_k less the centre; it enters the first two and ``means``, ``self_duality`` and
    ``duality_structure``, and no other.

    "At the optimum" means cross-entropy with non-negative features; docs/geometry.md has the other cases.

    Attributes:
        trace_ratio: NC1, tr(Σ_W Σ_B⁺)/K. 0 at the optimum. None for class means, or where they coincide.
        quotient: NC1, tr Σ_W / tr Σ_B. 0 at the optimum. None likewise.
        cdnv: NC1, class-distance normalised variance, mean over pairs. 0 at the optimum. None likewise.
        pairs_left_out: Pairs of classes without a CDNV because their means coincide.
        mean_overlap: NC2, mean |cos(h̄_k, h̄_l)| of non-zero class means. 0 at the optimum. None with fewer than two.
        largest_overlap: NC2, the largest of these cosines. 0 at the optimum. None likewise.
        means: NC2 of centred class means against the simplex. 0 at balanced optima.
        weights: NC2 of the classifiers, as they are, against the simplex. 0 at balanced optima.
        self_duality: NC3, textbook form, in [0, 2]. 0 at balanced optima. None where W = 0 or class means coincide.
        theorem_self_duality: NC3 with the theorem's centring and scaling, in [0, 2]. 0 at the optimum, balanced or
            not. None where W = 0 and H = 0, and with norm bounds in place of the decays.
        duality_structure: NC3, W Mᵀ against the simplex, in [0, 2]. 0 at balanced optima. None as self_duality.
        nearest_centre: NC4, share of samples on which nearest class mean and classifier, with its bias, agree. 1 at
            the optimum. None where columns are not classes.
        grams: Distances to the optimal Gram matrices. 0 at the optimum. None where no theorem gives them.
        centre: What class means were centred about: "classes", their own mean, or "samples", that of all samples.
    """

    trace_ratio: float | None
    quotient: float | None
    cdnv: float | None
    pairs_left_out: int
    mean_overlap: float | None
    largest_overlap: float | None
    means: SimplexMeasures
    weights: SimplexMeasures
    self_duality: float | None
    theorem_self_duality: float | None
    duality_structure: float | None
    nearest_centre: float | None
    grams: GramDistances | None
    centre: Centre


def geometry(
    problem: Problem,
    subject: Candidate | Solution,
    *,
    centre: Centre = "classes",
    progress: Progress | None = None,
) -> GeometryReport:
    """Neural-collapse measures NC1 to NC4 and the distances to the theorem's Gram matrices.

    Args:
        problem: The problem; its class counts are the candidate's.
        subject: A candidate with features of all samples or class means; or a solution, measured at its factors.
        centre: What class means are centred about: "classes", the mean of the class means, or "samples", the mean of
            all samples, in which large classes weigh more. They differ where the counts do.
        progress: Called after each block of features with (rows done, rows in all), in two passes.

    Raises:
        UnknownNameError: ``centre`` is neither of its words.
        CountsError: the subject has other class counts than the problem.
        CandidateError: the subject is neither, a feature is NaN or infinite, an entry is beyond 2³⁰⁰, or it has a
            bias that the problem has not.
        DimensionError: the solution's factors need more dimensions than the problem has.
        SizeError: the problem has hard margins and K > 20,000: its theorems give K × K Gram matrices.

    Source: docs/geometry.md.

    Example:
        >>> import ufm_convex as ufm
        >>> problem = ufm.Problem([500, 100, 20], lambda_w=5e-3, lambda_h=5e-3)
        >>> found = geometry(problem, ufm.solve(problem))
        >>> found.largest_overlap, found.nearest_centre, found.trace_ratio
        (0.0, 1.0, None)
    """
    require_centre(centre)
    candidate = _measured(problem, subject)
    paired = candidate.num_outputs == candidate.num_classes  # a row of W for each class mean
    statistics = feature_statistics(candidate, progress=progress)
    W, means = _weights(candidate), statistics.class_means
    there = np.flatnonzero(candidate.class_counts)
    M, unit = in_unit(means[there], at_least=_root_mean_square(statistics, candidate.num_samples))
    away = centred(M, candidate.class_counts[there], centre)
    V, b = _classifier(candidate, W, unit)
    variances, trace, agreement = _second_pass(candidate, (V, b), (M, within.whitening(away)), unit, progress)
    samples = candidate.level == "sample"  # class means say nothing of what they are means of
    (ratios, left_out), (overlap, largest) = within.cdnv(variances, M), frames.orthogonality(M)
    return GeometryReport(
        trace_ratio=trace if samples else None,
        quotient=within.quotient(variances, candidate.class_counts[there], away) if samples else None,
        cdnv=ratios if samples else None,
        pairs_left_out=left_out,
        mean_overlap=overlap,
        largest_overlap=largest,
        means=frames.simplex_measures(away),
        weights=frames.simplex_measures(V),
        self_duality=self_duality.textbook(V[there], away) if paired else None,
        theorem_self_duality=self_duality.theorem(problem, W, means) if paired else None,
        duality_structure=self_duality.structure(V[there], away) if paired else None,
        nearest_centre=agreement if paired else None,
        grams=gram_distances(problem, W, means),
        centre=centre,
    )


def _measured(problem: Problem, subject: Candidate | Solution) -> Candidate:
    """What is measured, as a candidate of the problem."""
    require_problem(problem)
    return require_match(problem, subject if isinstance(subject, Candidate) else _of_solution(subject))


def _root_mean_square(statistics: FeatureStatistics, num_samples: int) -> float:
    return math.sqrt(math.fsum(statistics.class_square_norms.tolist()) / num_samples)


def _weights(candidate: Candidate) -> FloatArray:
    """W in binary64, of a size that features may have too, as b, so that no product overflows."""
    for name, array in (("weights", candidate.weights), ("bias", candidate.bias)):
        largest = 0.0 if array is None else float(np.abs(array).max())
        if largest > _LARGEST_WEIGHT:
            raise CandidateError(
                f"{name} has an entry of absolute value {largest:g}.",
                expected="absolute values below 2**300",
                fix="training diverged; there is no geometry to measure.",
            )
    return widened(candidate.weights)


def _classifier(candidate: Candidate, W: FloatArray, unit: float) -> tuple[FloatArray, FloatArray | None]:
    """Classifiers in their unit, (K, d), and the bias, if any, in that of the logits of features in theirs, (K,)."""
    V, size = in_unit(W)
    return V, None if candidate.bias is None else widened(candidate.bias) / size / unit


def _of_solution(solution: Solution) -> Candidate:
    if not isinstance(solution, Solution):
        raise CandidateError(
            f"what is to be measured is a {type(solution).__name__}.",
            expected="a Candidate, or what ufm_convex.solve returned",
            fix="make one with Candidate(weights=W, features=H, class_counts=problem.class_counts).",
        )
    W, H = solution.factors()
    bias = None if solution.problem.bias is None else solution.bias
    return Candidate(weights=W, features=H, class_counts=solution.problem.class_counts, bias=bias)


def _second_pass(
    candidate: Candidate,
    classifier: tuple[FloatArray, FloatArray | None],
    centres: tuple[FloatArray, FloatArray | None],
    unit: float,
    progress: Progress | None,
) -> tuple[FloatArray, float | None, float | None]:
    """v_k by class (M,), tr(Σ_W Σ_B⁺)/M, and the share of samples on which nearest mean and classifier agree, or None.

    Args:
        candidate: The candidate, M of whose K classes have samples.
        classifier: Classifiers in their unit, (K, d), and the bias in the unit of logits, (K,), or None.
        centres: Class means in theirs, (M, d), and their whitening, (d, rank), or None.
        unit: The unit of the class means; features are divided by it.
        progress: As for ``geometry``.
    """
    M, root = centres
    paired = candidate.num_outputs == candidate.num_classes
    K, N, there = len(M), candidate.num_samples, candidate.class_counts > 0
    place = np.where(there, np.cumsum(there) - 1, 0)  # rows of classes without samples count 0 times
    squares, whitened, agreeing = np.zeros(K), 0.0, 0
    for block in blocks(candidate, progress=progress):
        y, features = place[block.labels], block.features / unit
        times, classes = candidate.multiplicities[block.labels], np.flatnonzero(there)
        for part in row_blocks(len(y), candidate.num_outputs) if paired else ():
            agreeing += int(times[part] @ nearest_centre.agrees(features[part], *classifier, M, classes))
        away = features - M[y]
        squares += np.bincount(y, np.einsum("ij,ij->i", away, away) * times, minlength=K)
        if root is not None:
            projected = away @ root
            whitened += float(times @ np.einsum("ij,ij->i", projected, projected))
    shares = agreeing / N if paired else None
    return squares / candidate.class_counts[there], None if root is None else whitened / N / K, shares

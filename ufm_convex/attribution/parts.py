"""Why a candidate is not optimal: the exact decomposition of f(W, H) − f* into seven parts, each ≥ 0; an eighth of b.

The master identity at sample level with the dual optimum p* of Theorem 1 (docs/attribution.md), or, where no theorem
gives it, with the proved dual point of the solved problem (``duals``). With class means h̄_k, s_k = pt_k q_k the
strengths of the dual and g_k = s_k / (σ_k √(K/(K−1))) ≤ 1:

    calibration        Σ_k pt_k KL(p_k* ‖ softmax(W h̄_k))              the scale of the logits, class by class
    logit_spread       Σ_i weight_i KL(softmax(W h̄_k) ‖ softmax(W h_i))    within-class spread seen through W (NC1)
    variability        λ_H/2 Σ_i ‖h_i − h̄_k‖²                            within-class variability (NC1)
    non_orthogonality  λ_H/(K−1) Σ_{k<l} √(n_k n_l) g_k g_l h̄_k·h̄_l      class means that overlap (NC2); needs H ≥ 0
    collapsed          λ_H/2 Σ_k n_k (1 − g_k²) ‖h̄_k‖²                    features of classes that should have none
    self_duality       λ_W/2 Σ_j ‖w_j − mean w − w_j°‖²                   classifiers that are no class means (NC3)
    classifier_mean    λ_W/(2K) ‖Σ_j w_j‖²                                classifiers that do not sum to zero
    bias               λ_b/2 ‖b‖²                                          where the problem has one: here it is idle

and W h + b for W h there, with w_j° row j of (I − 11ᵀ/K) Diag(s) H̄ / λ_W. Features are read twice, in blocks; nothing
of size N × K or K × K is kept, and pairs of classes are summed in O(K d).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.attribution.closed import ClosedDual, frame_optimum
from ufm_convex.attribution.dead_classes import DeadClass, diagnosis, find_dead_classes, has_spare_coordinate
from ufm_convex.attribution.duals import SolvedDual
from ufm_convex.attribution.passes import Classifier, DualOptimum, at_means, over_samples
from ufm_convex.candidate import (
    Candidate,
    FeatureStatistics,
    Progress,
    feature_statistics,
    require_match,
    require_nonnegative,
)
from ufm_convex.errors import CandidateError, ProblemError
from ufm_convex.losses import traits
from ufm_convex.problem import Problem, require_problem
from ufm_convex.relaxation import require_dense
from ufm_convex.solution import Solution
from ufm_convex.solving import solve

LARGEST_WEIGHT = 2.0**300
"""Beyond it squares of the classifier overflow: training diverged, and there is nothing to explain."""
PARTS = (
    "calibration",
    "logit_spread",
    "variability",
    "non_orthogonality",
    "collapsed",
    "self_duality",
    "classifier_mean",
)
"""Those of every problem; one with a bias has the part ``bias`` as well."""
_STORED = {"non_orthogonality": "overlap"}  # K numbers; the pairs are made when somebody asks for them


@dataclass(frozen=True, eq=False)
class GapAttribution:
    """The parts of a candidate's gap; floating point, each part with a relative error of a few units.

    Attributes:
        candidate_value: f(W, H), with the bias f(W, H, b).
        optimum: f*, from theory; where no theorem gives it the proved lower bound, the value of the dual point.
        calibration: Class by class, (K,).
        logit_spread: Class by class, (K,).
        variability: Class by class, (K,).
        overlap: Class by class, (K,): half of each of its pairs, so that the sum is that of all pairs.
        collapsed: Class by class, (K,).
        self_duality: Row by row of W, (K,); (V,) with a table of targets, where all else is by its columns.
        classifier_mean: One number.
        pairs: What makes ``non_orthogonality``.
        bias: Entry by entry, as ``self_duality``; None where the problem has none.
        dead_classes: Classes that the optimum separates and the candidate does not, the costliest first.
        feature_dim: d of the candidate.
        spare_coordinate: Whether neither W nor the class means use some coordinate.
    """

    candidate_value: float
    optimum: float
    calibration: FloatArray
    logit_spread: FloatArray
    variability: FloatArray
    overlap: FloatArray
    collapsed: FloatArray
    self_duality: FloatArray
    classifier_mean: float
    pairs: Callable[[], FloatArray] = field(repr=False)
    bias: FloatArray | None = None
    dead_classes: tuple[DeadClass, ...] = ()
    feature_dim: int = 0
    spare_coordinate: bool = False

    @cached_property
    def non_orthogonality(self) -> FloatArray:
        """Pair by pair, (K, K) strictly upper triangular.

        Raises:
            SizeError: K > 20,000; ``overlap`` needs no K × K array.
        """
        require_dense(len(self.overlap), "the overlap of all pairs of classes", "overlap, which has it class by class")
        return self.pairs()

    @cached_property
    def totals(self) -> dict[str, float]:
        """Part → its sum over classes or pairs, in the order of ``PARTS``; then ``bias`` where the problem has one."""
        names = PARTS if self.bias is None else (*PARTS, "bias")
        return {name: math.fsum(np.ravel(getattr(self, _STORED.get(name, name))).tolist()) for name in names}

    @property
    def gap(self) -> float:
        """f(W, H) − f* as the sum of the parts, without cancellation."""
        return math.fsum(self.totals.values())

    @property
    def shares(self) -> dict[str, float]:
        """Part → its share of the gap; all 0 when there is no gap."""
        return {name: total / self.gap if self.gap > 0.0 else 0.0 for name, total in self.totals.items()}

    @property
    def diagnosis(self) -> str | None:
        """Which classes are dead, what each costs, and what to do; None where there are none."""
        K = self.calibration.size
        return diagnosis(self.dead_classes, self.gap, K, self.feature_dim, self.spare_coordinate)

    @property
    def by_class(self) -> FloatArray:
        """What each class contributes, (K,): pairs are split in halves, the classifier mean is left out.

        Of a table with other outputs than columns what each column does, without ``by_output``.
        """
        whole = self.calibration + self.logit_spread + self.variability + self.overlap + self.collapsed
        return whole + self.by_output if self.by_output.size == whole.size else whole

    @property
    def by_output(self) -> FloatArray:
        """What each row of W contributes, and its entry of the bias, (V,)."""
        return self.self_duality if self.bias is None else self.self_duality + self.bias


def attribute_gap(
    problem: Problem, candidate: Candidate, *, solution: Solution | None = None, progress: Progress | None = None
) -> GapAttribution:
    """The exact decomposition of f(W, H) − f*.

    Where a theorem gives the optimum as an orthogonal frame, f* is that optimum. Elsewhere the problem is solved, and
    in place of f* stands the proved lower bound of its solution.

    Args:
        problem: The problem.
        candidate: W, features and perhaps a bias; its class counts are the problem's. Without one b = 0.
        solution: What ``solve`` returned for the problem. Its proved dual point is the one that is taken then, also
            where a theorem gives the optimum.
        progress: Called after each block of features with (rows done, rows in all), in two passes.

    Raises:
        ProblemError: it is none, or one of another kind; or the solution is one of another problem.
        HypothesisError: the problem has norm bounds in place of penalties, or a loss that is infinite somewhere.
        CountsError: the candidate has other class counts than the problem.
        CandidateError: a feature is negative where features are not (then a part could be), NaN or infinite; or the
            candidate has a bias that the problem has not.
        UFMError: as ``solve``, where no theorem gives the optimum.

    Source: docs/attribution.md; the identity is equation 5 of docs/duality.md at sample level.
    """
    require_problem(problem)
    problem.require_decays("the explanation of a gap")
    traits.require(problem.loss, ("finite",), fix="use certify(problem), which proves the optimum.")
    candidate = require_match(problem, candidate)
    _require_its(problem, solution)
    optimum = frame_optimum(problem) if solution is None else None
    statistics = feature_statistics(candidate, progress=progress)
    if problem.nonnegative:
        require_nonnegative(statistics)
    _check_size(candidate)
    dual = SolvedDual.of(solution or solve(problem)) if optimum is None else ClosedDual(problem, optimum)
    return _over(dual, candidate, statistics, progress)


def explained(problem: Problem, candidate: Candidate, solution: Solution) -> GapAttribution:
    """``attribute_gap`` by the closed form where there is one, else over a solution that is at hand; raises as that."""
    return attribute_gap(problem, candidate, solution=solution if frame_optimum(problem) is None else None)


def _over(
    dual: DualOptimum, candidate: Candidate, statistics: FeatureStatistics, progress: Progress | None
) -> GapAttribution:
    """The decomposition of f − ``dual.value``; ``statistics`` are those of the candidate."""
    problem, means, classifier = dual.problem, statistics.class_means, Classifier.of(candidate)
    seen = at_means(dual, classifier, means)
    spread, variability, losses = over_samples(dual, candidate, classifier, means, seen, progress)
    sizes = 0.5 * problem.lambda_h * math.fsum(statistics.class_square_norms.tolist())
    self_duality, mean = _classifier_parts(dual, classifier.W, means)
    return GapAttribution(
        candidate_value=losses + classifier.penalties(problem) + sizes,
        optimum=dual.value,
        calibration=seen.calibration,
        logit_spread=spread,
        variability=variability,
        overlap=dual.overlap(means),
        collapsed=dual.collapsed(means),
        self_duality=self_duality,
        classifier_mean=mean,
        pairs=partial(dual.pairs, means),
        bias=None if problem.bias is None else dual.misfit(classifier.b),
        dead_classes=find_dead_classes(dual.optimum, means, seen.ranges, seen.calibration),
        feature_dim=candidate.feature_dim,
        spare_coordinate=has_spare_coordinate(classifier.W, means),
    )


def _classifier_parts(dual: DualOptimum, W: FloatArray, means: FloatArray) -> tuple[FloatArray, float]:
    """Self-duality by row, (V,), and the classifier mean: of the rows a_j of W + U H̄ / λ_W."""
    weight = dual.problem.lambda_w
    away = W + dual.pulled(means) / weight
    total = away.sum(axis=0)
    rows = away - total / len(away)
    return 0.5 * weight * np.einsum("jd,jd->j", rows, rows), 0.5 * weight / len(away) * float(total @ total)


def _require_its(problem: Problem, solution: Solution | None) -> None:
    """Raise ``ProblemError`` for a solution of another problem."""
    if solution is not None and not (isinstance(solution, Solution) and solution.problem == problem):
        raise ProblemError(
            "the solution is one of another problem.",
            expected="a Solution of the problem whose gap is to be explained",
            fix="pass solve(problem), or leave it out.",
        )


def _check_size(candidate: Candidate) -> None:
    """Raise ``CandidateError`` where squares of the classifier or of its bias would overflow."""
    for name, array in (("weights", candidate.weights), ("bias", candidate.bias)):
        largest = 0.0 if array is None else float(np.abs(array).max())
        if largest > LARGEST_WEIGHT:
            raise CandidateError(
                f"{name} has an entry of absolute value {largest:.3g}.",
                expected="absolute values up to 2**300",
                fix="the training diverged: there is nothing to explain.",
            )

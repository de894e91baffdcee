"""A trained network's last layer on one page: does the model apply, the proved gap, its causes, what to do.

Needs no PyTorch: a report is made of a candidate, whoever trained it. ``judging`` makes the candidate of a network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex.attribution import GapAttribution, explained
from ufm_convex.attribution.dead_classes import NEGLIGIBLE
from ufm_convex.candidate import Candidate, feature_statistics, require_match
from ufm_convex.certificate import Certificate, Judgement, proved_gap
from ufm_convex.errors import HypothesisError, LabelsError, SizeError, shown
from ufm_convex.losses import Loss
from ufm_convex.measures.decays import EffectiveDecays, effective_decays
from ufm_convex.networks.directions import shared_directions
from ufm_convex.problem import Problem
from ufm_convex.solution import Solution
from ufm_convex.solving import solve

if TYPE_CHECKING:
    from ufm_convex._arrays import FloatArray

LARGEST_SPREAD, LARGEST_MISFIT = 10.0, 0.5
"""Spread of the effective λ_H over classes, and misfit of λ_W, up to which the model describes the network: trained
networks with penalties or batch norm stay below 1.2, with neither they reach 25 to 105 (docs/decays.md)."""
_LISTED = 8


@dataclass(frozen=True, eq=False)
class NetworkReport:
    """What is known about a last layer; its text is one screen.

    Attributes:
        candidate: W, features, labels and bias.
        problem: The problem it is judged by.
        decays: The effective decays; None where the candidate has none (``why`` says so).
        applies: Whether the model describes this layer: spread ≤ 10 and misfit_w ≤ 0.5.
        why: The reason, in words.
        certificate: The proof of the gap; where no file carries the problem, its bounds alone.
        solution: The optimum.
        attribution: The gap by part; None where it is not explained, as for a negative feature.
        dead_classes: Active at the optimum, without a feature here; indices, the costliest first.
        collapsed_classes: Without a feature at the optimum, and rightly so.
        shared_coordinates: Groups of classes, active at the optimum, whose means have cosines above 1/2.
        training_objective: The network's own objective, all parameters included; None where it is not known.
        training_bound: A proved lower bound of it; None where there is none.
        why_no_bound: Why there is none.
        class_names: Names of the classes; None for their numbers.
    """

    candidate: Candidate
    problem: Problem
    decays: EffectiveDecays | None
    applies: bool
    why: str
    certificate: Certificate
    solution: Solution
    attribution: GapAttribution | None
    dead_classes: tuple[int, ...]
    collapsed_classes: tuple[int, ...]
    shared_coordinates: tuple[tuple[int, ...], ...]
    training_objective: float | None = None
    training_bound: float | None = None
    why_no_bound: str | None = None
    class_names: tuple[str, ...] | None = field(default=None)

    @property
    def gap(self) -> tuple[float, float] | None:
        """Proved bounds of objective less optimum; None where a feature is negative and may not be."""
        return self.certificate.candidate_gap

    @property
    def relative_gap(self) -> float:
        """The gap over the candidate's objective, at most."""
        return self.certificate.relative_gap

    def name(self, k: int) -> str:
        """How class k is called."""
        return str(k) if self.class_names is None else self.class_names[k]

    def named(self, classes: Iterable[int]) -> str:
        """Some classes by name, the first few."""
        chosen = list(classes)
        words = ", ".join(self.name(k) for k in chosen[:_LISTED])
        return words + (f" and {len(chosen) - _LISTED} more" if len(chosen) > _LISTED else "")

    def advice(self) -> list[str]:
        """What to do, most important first."""
        if self.certificate.violation is not None:
            row, column, value = self.certificate.violation
            return [
                f"feature [{row}, {column}] is {value:g}: judge it with free features, or take those after the ReLU."
            ]
        found = []
        if not self.applies:
            found.append("take the gap as that of this problem, not of your training: the model does not describe it.")
        if self.dead_classes:
            found.append("revive the dead classes (ufm_convex.networks.revive), or train longer from another start.")
        if self.shared_coordinates:
            found.append("classes that share coordinates need more units, or another start.")
        if not found and self.certificate.verdict is not Judgement.OPTIMAL and self.attribution is not None:
            part = max(self.attribution.totals, key=self.attribution.totals.__getitem__)
            found.append(
                f"most of the gap is {part.replace('_', ' ')}: {_MEANING.get(part, 'see docs/attribution.md')}."
            )
        return found or ["nothing: it is optimal within the tolerance."]

    def __str__(self) -> str:
        return "\n".join(f"{name:<20}{text}".rstrip() for name, text in self.lines())

    def lines(self) -> list[tuple[str, str]]:
        """The page, as pairs of a name and what is said."""
        return [
            ("network", _headline(self.candidate, self.problem)),
            ("model applies", ("yes: " if self.applies else "no: ") + self.why),
            *([] if self.decays is None else [("decays", str(self.decays))]),
            ("judged by", _problem_words(self.problem)),
            ("optimum", f"{self.certificate.lower:.6g} (proved lower bound)"),
            ("proved gap", self._gap_words()),
            *_parts(self.attribution),
            ("dead classes", self.named(self.dead_classes) or "none"),
            ("collapsed, rightly", self.named(self.collapsed_classes) or "none"),
            ("share coordinates", "; ".join(map(self.named, self.shared_coordinates)) or "none"),
            *self._training(),
            *(("to do" if k == 0 else "", text) for k, text in enumerate(self.advice())),
        ]

    def _gap_words(self) -> str:
        if self.gap is None:
            return "none: a feature is negative"
        low, high = self.gap
        between = f"{high:.3e}" if f"{low:.3e}" == f"{high:.3e}" else f"from {low:.3e} to {high:.3e}"
        return f"{between}, at most {100 * self.relative_gap:.2g} % of its objective: {self.certificate.verdict}"

    def _training(self) -> list[tuple[str, str]]:
        if self.training_objective is None and self.training_bound is None and self.why_no_bound is None:
            return []
        objective = "not known" if self.training_objective is None else f"{self.training_objective:.6g}"
        bound = f"none: {self.why_no_bound}" if self.training_bound is None else f"{self.training_bound:.6g} (proved)"
        return [("training objective", objective), ("its lower bound", bound)]


_MEANING = {
    "calibration": "the logits of some classes are too small or too large",
    "logit_spread": "samples of a class differ as the classifier sees them",
    "variability": "samples of a class differ",
    "non_orthogonality": "class means overlap",
    "collapsed": "classes have features that are not worth their penalty",
    "self_duality": "classifiers are no class means",
    "classifier_mean": "the classifiers do not sum to zero",
    "bias": "the bias is not the best one",
}


def report_on(
    candidate: Candidate,
    problem: Problem | None = None,
    *,
    loss: Loss | None = None,
    tolerance: float = 1e-6,
    decays: EffectiveDecays | None = None,
    solution: Solution | None = None,
    class_names: Sequence[str] | None = None,
    training_objective: float | None = None,
    training_bound: float | None = None,
    why_no_bound: str | None = None,
) -> NetworkReport:
    """The report on a candidate.

    Args:
        candidate: W, features, labels and bias.
        problem: The problem to judge it by; None for the one with its effective decays, and then ``loss``.
        loss: The loss of that problem; None for cross-entropy.
        tolerance: Relative gap up to which it is optimal.
        decays: Its effective decays, where they are known already.
        solution: The optimum of the problem, where it is known already.
        class_names: Names of the K classes.
        training_objective: The network's whole objective, where it is known.
        training_bound: A proved lower bound of that, where there is one.
        why_no_bound: Why there is none.

    Raises:
        HypothesisError: no problem is given, and no decays fit the candidate.
        LabelsError: there are not K names.
        UFMError: as ``certify``.
    """
    loss = loss if problem is None else problem.loss
    candidate = candidate.of_loss(loss) if problem is None else require_match(problem, candidate)
    names = _checked_names(class_names, candidate.num_classes)
    if problem is None:
        decays = effective_decays(candidate, loss) if decays is None else decays
        problem = decays.problem(candidate.class_counts, loss)
    found = _fitted(problem, candidate) if decays is None else decays
    decays = None if isinstance(found, str) else found
    applies, why = (False, found) if isinstance(found, str) else _applies(found)
    solution = solve(problem, tolerance=tolerance) if solution is None else solution
    proved = proved_gap(problem, candidate, solution=solution, tolerance=tolerance)
    return NetworkReport(
        candidate=candidate,
        problem=problem,
        decays=decays,
        applies=applies,
        why=why,
        certificate=proved,
        solution=solution,
        attribution=_explained(problem, candidate, proved, solution),
        **_classes(candidate, solution),
        training_objective=training_objective,
        training_bound=training_bound,
        why_no_bound=why_no_bound,
        class_names=names,
    )


def _checked_names(names: Sequence[str] | None, num_classes: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or len(names) != num_classes or not all(isinstance(name, str) for name in names):
        raise LabelsError(
            f"class_names is {shown(names)}.",
            expected=f"{num_classes} names, one a class",
            fix="give one name for each class in the order of the counts; with a table of targets for each column.",
        )
    return tuple(names)


def _fitted(problem: Problem, candidate: Candidate) -> EffectiveDecays | str:
    """The effective decays beside a problem that is stated; why there are none: then the model does not apply."""
    try:
        return effective_decays(candidate, problem.loss, None if problem.nonnegative else "free")
    except HypothesisError as error:  # no decays fit, and that is what is reported
        return error.got


def _applies(decays: EffectiveDecays) -> tuple[bool, str]:
    spread = f"spread {decays.spread:.3g}" + ("" if decays.spread <= LARGEST_SPREAD else f" > {LARGEST_SPREAD:g}")
    misfit = f"misfit of λ_W {decays.misfit_w:.2g}" + (
        "" if decays.misfit_w <= LARGEST_MISFIT else f" > {LARGEST_MISFIT:g}"
    )
    good = decays.spread <= LARGEST_SPREAD and decays.misfit_w <= LARGEST_MISFIT
    return good, f"{spread}, {misfit}"


def _explained(
    problem: Problem, candidate: Candidate, proved: Certificate, solution: Solution
) -> GapAttribution | None:
    """The gap by part, where the candidate is admissible and the parts are known."""
    if proved.violation is not None:
        return None
    try:
        return explained(problem, candidate, solution)
    except (HypothesisError, SizeError):  # said by the page, which then has no parts
        return None


def _classes(candidate: Candidate, solution: Solution) -> dict[str, Any]:
    """Dead and collapsed classes, and those that share coordinates."""
    statistics = feature_statistics(candidate)
    means = np.asarray(statistics.class_means, dtype=np.float64)
    lengths, best = np.linalg.norm(means, axis=1), solution.feature_norms
    present = solution.problem.class_counts > 0
    collapsed = np.zeros(lengths.size, dtype=bool)
    collapsed[list(solution.collapsed_classes)] = True
    active = present & ~collapsed
    absent = active & (lengths <= NEGLIGIBLE * best)
    dead = np.flatnonzero(absent)
    order = dead[np.argsort(-solution.problem.loss_weights[dead], kind="stable")]
    alive = np.flatnonzero(active & ~absent)
    return {
        "dead_classes": tuple(order.tolist()),
        "collapsed_classes": tuple(np.flatnonzero(collapsed & present).tolist()),
        "shared_coordinates": tuple(tuple(alive[list(one)].tolist()) for one in shared_directions(means[alive])),
    }


# -- words --------------------------------------------------------------------------------------------------------


def _headline(candidate: Candidate, problem: Problem) -> str:
    empty = int((candidate.class_counts == 0).sum())
    without = f", {empty} of them without samples" if empty else ""
    return (
        f"{_sizes(problem)}{without}, {candidate.num_samples:,} samples, dimension "
        f"{candidate.feature_dim}, {'non-negative' if problem.nonnegative else 'free'} features"
    )


def _sizes(problem: Problem) -> str:
    if problem.paired:
        return f"{problem.num_classes:,} classes"
    return f"{problem.num_outputs:,} outputs, {problem.num_columns:,} columns"


def _problem_words(problem: Problem) -> str:
    words = f"{problem.loss.name}, λ_W = {problem.lambda_w:.4g}, λ_H = {problem.lambda_h:.4g}"
    if problem.bias is None:
        return words
    return f"{words}, " + ("free bias" if problem.bias == "free" else f"λ_b = {problem.bias:.4g}")


def _parts(attribution: GapAttribution | None) -> list[tuple[str, str]]:
    """The three largest parts that are at least a hundredth of the gap."""
    if attribution is None or not attribution.gap > 0.0:
        return []
    shares = sorted(attribution.shares.items(), key=lambda pair: -pair[1])
    words = [f"{name.replace('_', ' ')} {100 * share:.0f} %" for name, share in shares[:3] if share >= 0.01]
    return [("of it", ", ".join(words))]


def relative_norms(candidate: Candidate, solution: Solution) -> FloatArray:
    """‖h̄_k‖ / ‖h_k*‖ by class, (K,); NaN where the optimum has no feature."""
    lengths = np.linalg.norm(np.asarray(feature_statistics(candidate).class_means, dtype=np.float64), axis=1)
    best = np.where(solution.feature_norms > 0.0, solution.feature_norms, math.nan)
    best[list(solution.collapsed_classes)] = math.nan
    return lengths / best

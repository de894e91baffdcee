"""A trained network on one page: one pass over its samples, and what its last layer is worth.

Each batch runs twice: as the candidate is to be seen (``mode``), and as training sees it, with batch statistics and the
mean of dropout's masks, for the training objective and its bound (docs/training_bound.md). The network is left as it
was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Literal, get_args

from ufm_convex import _given
from ufm_convex._bits import fraction
from ufm_convex.candidate import Candidate
from ufm_convex.certificate import certify
from ufm_convex.errors import HypothesisError, UnknownNameError, shown
from ufm_convex.losses import Loss
from ufm_convex.measures.decays import effective_decays
from ufm_convex.networks._torch import torch
from ufm_convex.networks.bounding import TrainingBound, below, bound_of, head_decays, names_of
from ufm_convex.networks.criteria import loss_of
from ufm_convex.networks.decays import parameter_decays
from ufm_convex.networks.heads import require_module
from ufm_convex.networks.passes import BatchToXY, batches, device_of, left_as_it_was
from ufm_convex.networks.report import NetworkReport, report_on
from ufm_convex.networks.running import Mode, Pass
from ufm_convex.problem import Features, Problem
from ufm_convex.solution import Solution
from ufm_convex.solving import solve

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True, eq=False)
class Training:
    """How a network was trained and is to be judged: the arguments of ``judge``, checked.

    Raises:
        ProblemError: the penalty or the factor is no finite number > 0.
        UnknownNameError: ``mode`` or ``reduction`` is none of its words.
    """

    weight_decay: object
    criterion: Any = None
    feature_decay: float | None = None
    head: Any = None
    mode: Mode = "eval"
    batch_to_xy: BatchToXY | None = None
    reduction: Reduction = "mean"
    ce_factor: float = 1.0

    def __post_init__(self) -> None:
        for name, words in (("mode", get_args(Mode)), ("reduction", get_args(Reduction))):
            if getattr(self, name) not in words:
                raise UnknownNameError(
                    f"{name} is {shown(getattr(self, name))}.",
                    expected=" or ".join(f'"{word}"' for word in words),
                    fix=f'leave it out for "{words[0]}".',
                )
        for name in ("feature_decay", "ce_factor"):
            if (value := getattr(self, name)) is not None:
                fix = f"leave {name} out, or pass what was trained with."
                object.__setattr__(self, name, _given.positive(name, value, fix=fix))

    def factor(self, seen: Pass) -> Fraction:
        """What the mean of the loss over all samples was multiplied with."""
        return fraction(self.ce_factor) * (seen.batch_size() if self.reduction == "sum" else 1)

    def decays(self, model: Any, head: Any, factor: Fraction) -> dict[str, float]:
        """Decays by name beside the plain mean of the loss, rounded down; a number beside a penalty is that of W.

        Raises:
            HypothesisError: they are decoupled.
        """
        decays = parameter_decays(model, self.weight_decay)
        if self.feature_decay is not None and not isinstance(self.weight_decay, (Mapping, torch.optim.Optimizer)):
            own = names_of(model)[id(head.weight)]
            decays = {name: decay if name == own else 0.0 for name, decay in decays.items()}
        return {name: below(fraction(decay) / factor) for name, decay in decays.items()}

    def lambda_h(self, seen: Pass, num_samples: int) -> float:
        """λ_H of the penalty on features beside the mean of the loss, rounded down."""
        share = fraction(self.ce_factor) * (1 if self.reduction == "mean" else num_samples)
        return below(fraction(self.feature_decay or 0.0) / share)


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a network's pass amounts to, before it is judged.

    Attributes:
        head: The layer that is judged.
        candidate: W, b and the features.
        loss: The loss, class weights relative to (1/N) Σ.
        features: "free" where a feature is negative or the network allows it, else "nonnegative".
        problem: The problem that the network's own decays make it; None where they make none.
        solution: That of the problem, where the bound has needed it.
        training_objective: (1/N) Σ ω l + Σ wd/2 θ² in training mode; None where it is not known.
        bound: Its lower bound, or None.
        why_no_bound: Why there is none.
    """

    head: Any
    candidate: Candidate
    loss: Loss
    features: Features
    problem: Problem | None
    solution: Solution | None
    training_objective: float | None
    bound: float | None
    why_no_bound: str | None


@dataclass(frozen=True, eq=False)
class JudgedNetwork(NetworkReport):
    """A report that knows where it comes from, so that ``revive`` can look at the samples again.

    Attributes:
        head: The layer that was judged.
        loader: Its samples, if they can be read again.
        batch_to_xy: From what the loader yields to inputs and labels.
    """

    head: Any = None
    loader: Any = None
    batch_to_xy: BatchToXY | None = None


def judge(
    model: Any,
    loader: Any,
    weight_decay: object,
    criterion: Any = None,
    feature_decay: float | None = None,
    head: Any = None,
    mode: Mode = "eval",
    batch_to_xy: BatchToXY | None = None,
    reduction: Reduction = "mean",
    ce_factor: float = 1.0,
) -> JudgedNetwork:
    """Judge the last layer of a trained network.

    Args:
        model: A ``torch.nn.Module``; its state, modes and the random numbers are afterwards what they were.
        loader: Its training samples in batches (inputs, labels), labels (B,).
        weight_decay: A number, for every parameter that requires a gradient (with ``feature_decay``: for W alone); a
            ``torch.optim.Optimizer``, whose groups are read; or a mapping from names of parameters to numbers.
        criterion: A ``torch.nn.CrossEntropyLoss`` or a loss of this package; None for cross-entropy.
        feature_decay: λ_H of a penalty λ_H/2 Σ_i ‖h_i‖² beside the mean of the loss over all N samples; with the sum of
            the loss, beside that sum. A penalty lh/2 Σ ‖h_i‖² of each batch of B samples beside that batch's mean is
            λ_H = lh B/N.
        head: The head or its name, where conventions do not find it.
        mode: "eval" or "train": how the network runs for the features that are judged.
        batch_to_xy: From what the loader yields to inputs and labels.
        reduction: Whether the trained loss is the mean over a batch or the sum; then all batches have one size.
        ce_factor: What the loss was multiplied with.

    Raises:
        NetworkError: there is no head, or several; a batch does not reach it, or brings NaN; the loader is empty, or
            yields no pairs; the features would be random.
        LabelsError: labels are no classes of the head, or one-hot.
        ProblemError: a decay or the factor is out of range.
        UnknownNameError: ``mode`` or ``reduction`` is none of its words.
        UFMError: as ``Candidate`` and ``Problem``.
    """
    training = Training(weight_decay, criterion, feature_decay, head, mode, batch_to_xy, reduction, ce_factor)
    found = gather(model, loader, training)
    report = report_on(
        found.candidate,
        found.problem,
        loss=found.loss,
        decays=None if found.problem is not None else effective_decays(found.candidate, found.loss, found.features),
        solution=found.solution,
        training_objective=found.training_objective,
        training_bound=found.bound,
        why_no_bound=found.why_no_bound,
    )
    own = {one.name: getattr(report, one.name) for one in fields(report)}
    return JudgedNetwork(**own, head=found.head, loader=loader, batch_to_xy=batch_to_xy)


def gather(model: Any, loader: Any, training: Training) -> Gathered:
    """Everything about a network that is judged; raises as ``judge``."""
    require_module(model)
    with left_as_it_was(model):
        seen = Pass(model, training.head, training.mode)
        for inputs, labels in batches(loader, training.batch_to_xy, device_of(model)):
            seen.add(inputs, labels, getattr(training.criterion, "ignore_index", None))
    factor = training.factor(seen)
    candidate = seen.candidate()
    loss = loss_of(training.criterion, candidate.class_counts, training.reduction)
    features: Features = "free" if seen.negative or seen.sign is False else "nonnegative"
    try:
        decays: Mapping[str, float] | None = training.decays(model, seen.head, factor)
        why = seen.why
    except HypothesisError as error:  # a decoupled decay: the report says so, and goes on with effective decays
        decays, why = None, error.got
    problem, solution, bound = None, None, None
    if training.feature_decay is not None and decays is not None:
        lambda_h = training.lambda_h(seen, candidate.num_samples)
        problem = _penalised(model, seen, decays, lambda_h, candidate, loss, features)
        solution = solve(problem)
        bound, why = _bound_of_penalties(solution, seen)
    elif decays is not None and why is None:
        proved, why = _bound_of_structure(model, seen, decays, candidate, loss)
        if proved is not None:
            bound, problem = proved.value, _own_problem(proved)
            solution = None if problem is None else proved.solution
    objective = seen.objective(model, loss, decays, problem if training.feature_decay is not None else None)
    why = None if bound is not None else why
    return Gathered(seen.head, candidate, loss, features, problem, solution, objective, bound, why)


# -- problems and bounds ------------------------------------------------------------------------------------------


def _penalised(
    model: Any,
    seen: Pass,
    decays: Mapping[str, float],
    lambda_h: float,
    candidate: Candidate,
    loss: Loss,
    features: Features,
) -> Problem:
    weights, bias = head_decays(model, seen.head, decays)
    own: float | Literal["free"] | None = "free" if bias == 0.0 else bias
    return Problem(candidate.class_counts, weights, lambda_h, loss=loss, features=features, bias=own)


def _bound_of_penalties(solution: Solution, seen: Pass) -> tuple[float | None, str | None]:
    """With penalties on W and H the optimum itself bounds the objective; its sign has to be the network's."""
    if seen.changed is not None:
        return None, seen.changed
    problem = solution.problem
    if problem.nonnegative and seen.sign is not True:
        decays, rest = problem.arguments()
        solution = solve(Problem(*decays, **{**rest, "features": "free"}))
    return certify(solution.problem, solution=solution).lower, None


def _bound_of_structure(
    model: Any, seen: Pass, decays: Mapping[str, float], candidate: Candidate, loss: Loss
) -> tuple[TrainingBound | None, str | None]:
    if seen.structure is None:
        return None, "the network was not run in training mode"
    try:
        own = head_decays(model, seen.head, decays)
        return bound_of(seen.structure, own, decays, candidate.class_counts.tolist(), loss), None
    except HypothesisError as error:  # the theorem does not hold for this network, and the report says why
        return None, error.got


def _own_problem(bound: TrainingBound) -> Problem | None:
    """The problem of batch norm with decayed scales and shifts; other bounds are not of the size of the optimum."""
    kinds = {one.kind for one in bound.structure.normalisations}
    return bound.problem if bound.case == "parameters" and kinds <= {"batch", "instance"} else None

"""The gap of the last layer while a network trains, from statistics that take K d numbers.

``GapMetric`` has the protocol of torchmetrics (``update``, ``compute``, ``reset``, states that add up over processes)
and is its subclass where that is installed; nothing here needs it. What is gathered is exact only while the head stays
as it is, so between ``reset`` and ``compute`` the network does not train. Source: docs/network_report.md, section 7.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from functools import cached_property
from typing import Any

from ufm_convex._arrays import FloatArray
from ufm_convex.attribution import GapAttribution, explained
from ufm_convex.candidate import Candidate, ClassStatistics, require_counts
from ufm_convex.certificate import certify, require_certifiable
from ufm_convex.errors import HypothesisError, LabelsError, NetworkError, ShapeError
from ufm_convex.losses import SoftmaxLoss
from ufm_convex.networks import sums
from ufm_convex.networks._torch import torch
from ufm_convex.networks.candidates import classifier_of, require_bias
from ufm_convex.networks.sums import as_array, require_gathered
from ufm_convex.problem import Problem
from ufm_convex.solution import Solution
from ufm_convex.solving import require_solvable, solve

PREFIX = "ufm"
_STATES = ("counts", "sums", "square_sums", "lse_sums")


class _States:
    """States that reset to zeros, as torchmetrics keeps them."""

    def __init__(self) -> None:
        self._defaults: dict[str, Any] = {}

    def add_state(self, name: str, default: Any, dist_reduce_fx: str) -> None:
        """A state with its default; how processes reduce it is for torchmetrics."""
        self._defaults[name] = default
        setattr(self, name, default.clone())

    def reset(self) -> None:
        """Every state as it was at first."""
        for name, default in self._defaults.items():
            setattr(self, name, default.clone())


_HERE = importlib.util.find_spec("torchmetrics") is not None
_BASE: Any = importlib.import_module("torchmetrics").Metric if _HERE else _States


class GapMetric(_BASE):  # type: ignore[misc]
    """The proved gap of a head and the features that it is shown, batch by batch.

    Args:
        head: The ``torch.nn.Linear`` whose W and b are judged.
        problem: The problem, with the class counts of all the samples between ``reset`` and ``compute``.

    Raises:
        ShapeError: the head has not one row a class.
        CandidateError: the head has a bias, and the problem has none.
        HypothesisError: the loss is no cross-entropy, of which the statistics are, or the problem has a constraint.
        SizeError: no solver takes the problem.

    State, all in binary64: that of ``sums``, the smallest feature, and whether the head has changed.
    Where torchmetrics adds up the states of several processes, they hold the same head.
    """

    full_state_update = False
    higher_is_better = False
    smallest: Any
    mixed: Any

    def __init__(self, head: Any, problem: Problem) -> None:
        super().__init__(**({"compute_with_cache": False} if _HERE else {}))  # the head may change between two calls
        K, d = head.weight.shape
        if {problem.num_classes, problem.class_counts.size} != {K}:
            raise ShapeError(
                f"the head has {K} rows, and the problem {problem.num_classes} outputs for {problem.class_counts.size} "
                "classes.",
                expected="one row a class",
                fix="make the problem of the network's own class counts.",
            )
        self._loss = require_measurable(problem)
        require_bias(problem, head)
        if problem.feature_dim is not None and d > problem.feature_dim:
            raise ShapeError(
                f"the head takes features of dimension {d}.",
                expected=f"at most feature_dim = {problem.feature_dim}",
                fix="make the problem without feature_dim, or with that of the network.",
            )
        self.problem = problem
        self._head = (head,)  # in a tuple, so that it is no part of this module
        self._frozen: tuple[Any, ...] | None = None
        for name, shape in sums.shapes(K, d).items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("smallest", torch.tensor(math.inf, dtype=torch.float64), dist_reduce_fx="min")
        self.add_state("mixed", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="max")

    # -- gathering ------------------------------------------------------------------------------------------

    def update(self, features: Any, labels: Any) -> None:
        """Take a batch into account.

        Args:
            features: What goes into the head, (B, d), any floating-point type and device.
            labels: Classes, (B,), integers 0 … K − 1.

        Raises:
            ShapeError: the features are not (B, d), or the labels not (B,); one-hot labels are not.
            LabelsError: a label is no class.
            NetworkError: a feature is NaN or infinite.
        """
        self._check(features, labels)
        self._notice_changes()
        if not len(features):
            return
        with torch.no_grad():
            place = self._to(features.device)
            h, y = features.detach().to(place, torch.float64), labels.to(place, torch.int64)
            self._check_finite(h)
            sums.add_batch({name: getattr(self, name) for name in _STATES}, self.head, h, y)
            self.smallest = torch.minimum(self.smallest, h.min())

    def merge_state(self, other: GapMetric) -> None:
        """Take into account what another metric has gathered of the same head for the same problem.

        Raises:
            NetworkError: it is a metric of another problem.
        """
        if not isinstance(other, GapMetric) or other.problem != self.problem:
            raise NetworkError(
                "the states of two problems are to be merged.",
                expected="a GapMetric of the same problem",
                fix="make both metrics with one problem.",
            )
        other._notice_changes()
        if self._frozen is None:
            self._frozen = other._frozen
        elif other._frozen is not None and not _same(self._frozen, other._frozen):
            self.mixed.fill_(1.0)
        self._notice_changes()
        for name in _STATES:
            own = getattr(self, name)
            own += getattr(other, name).to(own.device)
        self.smallest = torch.minimum(self.smallest, other.smallest.to(self.smallest.device))
        self.mixed = torch.maximum(self.mixed, other.mixed.to(self.mixed.device))

    def reset(self) -> None:
        """Forget what was gathered, and which head it was gathered with."""
        super().reset()
        self._frozen = None

    # -- results --------------------------------------------------------------------------------------------

    def compute(self) -> dict[str, float]:
        """The gap and its parts, under names for loggers.

        Returns:
            ``ufm/gap`` (proved but for rounding: objective − proved lower bound of the optimum), ``ufm/objective``,
            ``ufm/lower_bound``, and where the gap has parts ``ufm/part/NAME``, ``ufm/dead`` (how many) and
            ``ufm/dead/k`` (what dead class k costs). ``ufm/mixed`` is 1, and there is no gap, when the head has
            changed since the first batch; ``ufm/infeasible`` is 1 likewise when features are negative where the problem
            has none.

        Raises:
            CountsError: other samples were seen than the problem has; a class without any, or none at all.
        """
        if self._frozen is not None:
            self._notice_changes()
        if self.mixed:
            return {f"{PREFIX}/mixed": 1.0}
        if self.problem.nonnegative and self.smallest < 0:
            return {f"{PREFIX}/mixed": 0.0, f"{PREFIX}/infeasible": 1.0}
        candidate = self.candidate()
        require_counts(candidate, self.problem.class_counts)
        value, lower = self._objective(), self._lower
        found = {"mixed": 0.0, "infeasible": 0.0, "gap": value - lower, "objective": value, "lower_bound": lower}
        found.update(self._parts(candidate))
        return {f"{PREFIX}/{name}": number for name, number in found.items()}

    @property
    def head(self) -> Any:
        """The layer that is judged."""
        return self._head[0]

    @property
    def statistics(self) -> ClassStatistics:
        """What was gathered of the features."""
        return ClassStatistics(*(as_array(getattr(self, name)) for name in _STATES[:3]))

    def candidate(self) -> Candidate:
        """The class means with the head, as a candidate."""
        return Candidate.from_statistics(self.statistics, **classifier_of(self.head))

    @cached_property
    def _solution(self) -> Solution:
        """Solved once, however many epochs are measured."""
        return solve(self.problem)

    @cached_property
    def _lower(self) -> float:
        return certify(self.problem, solution=self._solution).lower

    def _objective(self) -> float:
        problem, head = self.problem, self.head
        losses = problem.loss.weights(problem.num_classes) * self._class_losses()
        penalties = [(problem.lambda_w, _square(head.weight)), (problem.lambda_h, float(self.square_sums.sum()))]
        if isinstance(problem.bias, float) and head.bias is not None:
            penalties.append((problem.bias, _square(head.bias)))
        return math.fsum(losses.tolist()) / problem.num_samples + math.fsum(0.5 * decay * sq for decay, sq in penalties)

    def _class_losses(self) -> FloatArray:
        arrays = (as_array(self.counts), self.statistics.class_means, as_array(self.lse_sums))
        return sums.class_losses(self._loss, *arrays, *sums.head_arrays(self.head))

    def _parts(self, candidate: Candidate) -> dict[str, float]:
        """The parts of the gap: those of the class means, and what the samples of a class differ in."""
        problem = self.problem
        try:
            means: GapAttribution = explained(problem, candidate, self._solution)
        except HypothesisError:  # no theorem gives the optimum: there are no parts, and the gap stands by itself
            return {}
        parts = dict(means.totals)
        parts["logit_spread"] = max(math.fsum(self._spread().tolist()), 0.0)
        parts["variability"] = 0.5 * problem.lambda_h * math.fsum(self.statistics.square_deviations.tolist())
        named = {f"part/{name}": part for name, part in parts.items()}
        dead = {f"dead/{one.index}": one.cost for one in means.dead_classes}
        return {**named, "dead": float(len(dead)), **dead}

    def _spread(self) -> FloatArray:
        problem = self.problem
        at_means = sums.lse_at(self.statistics.class_means, *sums.head_arrays(self.head))
        excess = as_array(self.lse_sums) - problem.class_counts * at_means
        return problem.loss.weights(problem.num_classes) * excess / problem.num_samples

    # -- a batch --------------------------------------------------------------------------------------------

    def _to(self, device: Any) -> Any:
        """Where the states are: with the features, if that device has binary64."""
        place = torch.device("cpu") if device.type == "mps" else device
        for name in (*_STATES, "smallest", "mixed"):
            setattr(self, name, getattr(self, name).to(place))
        return place

    def _notice_changes(self) -> None:
        head = self.head
        now = tuple(one.detach().clone() for one in (head.weight, head.bias) if one is not None)
        if self._frozen is None:
            self._frozen = now
        elif not _same(self._frozen, now):
            self.mixed.fill_(1.0)

    def _check(self, features: Any, labels: Any) -> None:
        K, d = self.head.weight.shape
        if features.ndim != 2 or features.shape[1] != d or not features.is_floating_point():
            raise ShapeError(
                f"features has shape {tuple(features.shape)} and type {features.dtype}.",
                expected=f"(B, {d}), floating point: what goes into the head",
                fix="flatten what comes out of the backbone.",
            )
        if labels.shape != features.shape[:1] or labels.is_floating_point():
            raise ShapeError(
                f"labels has shape {tuple(labels.shape)} and type {labels.dtype}.",
                expected=f"({len(features)},), integers: one class a sample",
                fix="if they are one-hot, pass labels.argmax(1).",
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < K:
            raise LabelsError(
                f"labels run from {int(labels.min())} to {int(labels.max())}.",
                expected=f"classes 0 … {K - 1}",
                fix="number the classes from 0, and leave out samples that are to be ignored.",
            )

    def _check_finite(self, features: Any) -> None:
        bad = ~torch.isfinite(features).all(1)
        if bool(bad.any()):
            raise NetworkError(
                f"the features of sample {int(bad.nonzero()[0])} of a batch are NaN or infinite.",
                expected="finite features",
                fix="the training diverged, or half precision overflowed: there is nothing to judge.",
            )


def require_measurable(problem: Problem) -> SoftmaxLoss:
    """The loss of a problem whose gap is found from sums; before the first epoch, and not after it.

    Raises:
        HypothesisError: the loss is no cross-entropy, of which the statistics are, or the problem has a constraint.
        SizeError: no solver takes the problem.
    """
    problem.require_decays("the gap of a network")
    loss = require_gathered(problem.loss)
    require_certifiable(problem)
    require_solvable(problem)
    return loss


def _same(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return all(torch.equal(a.to(b.device), b) for a, b in zip(first, second, strict=True))


def _square(tensor: Any) -> float:
    return float(tensor.detach().double().square().sum())

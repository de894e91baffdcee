"""Dead classes revived: a dead unit is aimed at each of them, where descent alone does not get.

A unit that no sample activates is a coordinate that is not used, and along it the objective falls
(docs/dead_classes.md); but its gradient is zero, so that training on does not find the way. Its incoming weights are
set by a ridge regression on the layer before, scale and shift of a batch norm so that it passes the result through, and
its column of W along e_k − 1/K, with the lengths of the optimum. Source: docs/network_report.md, section 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.attribution.dead_classes import NEGLIGIBLE
from ufm_convex.certificate import certify
from ufm_convex.errors import HypothesisError, NetworkError
from ufm_convex.networks._torch import torch
from ufm_convex.networks.candidates import candidate_of
from ufm_convex.networks.judging import JudgedNetwork
from ufm_convex.networks.passes import batches, captured, device_of, left_as_it_was
from ufm_convex.networks.sums import as_array
from ufm_convex.solution import Solution

_RIDGE = 1e-6
"""Share of the mean square of the inputs that the ridge adds."""


@dataclass(frozen=True, eq=False)
class Revival:
    """What was changed, and what it brought.

    Attributes:
        model: The network, changed in place.
        classes: The classes that were revived, the costliest first.
        units: The unit of each.
        predicted_drop: What the classes cost: how far the objective of loss, W and H falls once each has its optimal
            feature. Decays of other parameters are not counted.
        seen_drop: How far that objective has fallen at once, before any training.
    """

    model: Any
    classes: tuple[int, ...]
    units: tuple[int, ...]
    predicted_drop: float
    seen_drop: float


@dataclass(frozen=True, eq=False)
class _Feeding:
    """The linear layer whose units are the features, with the batch norm between, and what went in."""

    linear: Any
    norm: Any
    inputs: FloatArray
    features: FloatArray
    labels: IntArray


def revive(model: Any, report: JudgedNetwork) -> Revival:
    """Aim a dead unit at each dead class, the costliest first, as long as there are dead units.

    Args:
        model: The network that was judged, as it was then; changed in place.
        report: What ``judge`` returned; its loader is read again.

    Raises:
        NetworkError: the report is none of this network, or no class is dead.
        HypothesisError: the costs are not known, the features are not ReLU units of a linear layer, or no unit is dead.
    """
    if not isinstance(report, JudgedNetwork) or report.head not in list(model.modules()):
        raise NetworkError(
            "the report is not one that judge made of this network.",
            expected="the report of judge(model, loader, …)",
            fix="judge the network, then revive it.",
        )
    if not report.dead_classes:
        raise NetworkError("no class is dead.", expected="report.dead_classes", fix="there is nothing to revive.")
    if report.attribution is None:
        raise HypothesisError(
            "the gap has no parts.", expected="a gap that is explained", fix="train with a feature decay."
        )
    feeding = _feeding(model, report)
    units = _dead_units(feeding.features, as_array(report.head.weight))
    if not units:
        raise HypothesisError(
            "no unit is dead: every coordinate is used by features or by W.",
            expected="a unit that no sample activates, for each dead class",
            fix="widen the last hidden layer, or restart.",
        )
    chosen = list(zip(report.dead_classes, units, strict=False))
    costs = {dead.index: dead.cost for dead in report.attribution.dead_classes}
    with torch.no_grad():
        for k, unit in chosen:
            _aim(feeding, report.head, k, unit, report.solution)
    return Revival(
        model=model,
        classes=tuple(k for k, _ in chosen),
        units=tuple(unit for _, unit in chosen),
        predicted_drop=sum(costs.get(k, 0.0) for k, _ in chosen),
        seen_drop=_value(report, report.candidate) - _value(report, _features_now(model, report)),
    )


# -- what feeds the head ------------------------------------------------------------------------------------------


def _feeding(model: Any, report: JudgedNetwork) -> _Feeding:
    """The layer whose ReLU units are the features; what goes into it, in the mode in which the features were judged."""
    width = report.head.in_features
    seen: list[tuple[Any, Any]] = []
    kinds = (torch.nn.Linear, torch.nn.BatchNorm1d)
    hooks = [
        one.register_forward_hook(lambda module, given, out: seen.append((module, given[0])))
        for one in model.modules()
        if isinstance(one, kinds) and one is not report.head and _width(one) == width
    ]
    inputs, features, labels, layers = [], [], [], None
    try:
        with left_as_it_was(model), torch.no_grad():
            model.eval()
            for x, y in batches(report.loader, report.batch_to_xy, device_of(model)):
                seen.clear()
                found = captured(model, report.head, x, y)
                layers, given = _last(seen, found.features)
                inputs.append(as_array(given))
                features.append(as_array(found.features))
                labels.append(y.cpu().numpy())
    finally:
        for hook in hooks:
            hook.remove()
    if layers is None:
        raise NetworkError(
            "the loader yields no batch.", expected="the samples again", fix="pass a loader, no iterator."
        )
    return _Feeding(*layers, np.concatenate(inputs), np.concatenate(features), np.concatenate(labels))


def _width(module: Any) -> int:
    return int(module.out_features if isinstance(module, torch.nn.Linear) else module.num_features)


def _last(seen: Sequence[tuple[Any, Any]], features: Any) -> tuple[tuple[Any, Any], Any]:
    """The linear layer and the batch norm behind it, if the features are their ReLU; else ``HypothesisError``."""
    if seen:
        module, given = seen[-1]
        norm = module if isinstance(module, torch.nn.BatchNorm1d) else None
        if norm is not None and len(seen) > 1:
            module, given = seen[-2]
        if isinstance(module, torch.nn.Linear) and module.bias is not None and given.ndim == 2:
            out = torch.nn.functional.linear(given, module.weight, module.bias)
            out = out if norm is None else norm.forward(out)
            if torch.allclose(torch.relu(out), features, rtol=1e-4, atol=1e-6):
                return (module, norm), given
    raise HypothesisError(
        "the features are not ReLU units of a linear layer with a bias, with or without batch norm.",
        expected="… → Linear → (BatchNorm1d) → ReLU → head",
        fix="restart, or train wider: only such units can be aimed.",
    )


def _dead_units(features: FloatArray, weight: FloatArray) -> list[int]:
    """Coordinates that neither the features nor W use."""
    sizes, columns = features.max(axis=0), np.abs(weight).max(axis=0)
    unused = (sizes <= NEGLIGIBLE * sizes.max()) & (columns <= NEGLIGIBLE * columns.max())
    unused |= sizes == 0.0  # W is of no consequence there, and is overwritten
    return [int(unit) for unit in np.flatnonzero(unused)]


# -- aiming -------------------------------------------------------------------------------------------------------


def _aim(feeding: _Feeding, head: Any, k: int, unit: int, solution: Solution) -> None:
    """Set the unit's incoming weights, its norm, and its column of W."""
    length, logits = float(solution.feature_norms[k]), solution.logits[:, k]
    K = len(logits)
    margin = float(logits[k] - (logits.sum() - logits[k]) / (K - 1))
    weight, bias = _regression(feeding.inputs, feeding.labels == k, length)
    _write(feeding.linear.weight[unit], weight)
    feeding.linear.bias[unit] = bias
    if feeding.norm is not None:
        _pass_through(feeding.norm, unit, feeding.inputs @ weight + bias)
    column = -np.full(K, margin / length / K)
    column[k] += margin / length
    _write(head.weight[:, unit], column)


def _regression(inputs: FloatArray, own: Any, length: float) -> tuple[FloatArray, float]:
    """Weights and shift of a unit that is ``length`` on average over its own samples, and negative over the others."""
    target = np.where(own, length, -length)
    weights = np.where(own, 1.0 / own.sum(), 1.0 / (~own).sum())
    X = np.column_stack([inputs, np.ones(len(inputs))])
    gram = (X * weights[:, None]).T @ X
    ridge = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    ridge[-1, -1] = 0.0
    found = np.linalg.lstsq(gram + ridge, X.T @ (weights * target), rcond=None)[0]
    mean = float(np.maximum(X[own] @ found, 0.0).mean())
    found *= length / mean if mean > 0.0 else 1.0
    return found[:-1], float(found[-1])


def _pass_through(norm: Any, unit: int, values: FloatArray) -> None:
    """Scale, shift and running statistics with which the norm returns the values."""
    mean, variance = float(values.mean()), float(values.var())
    if norm.weight is None:
        raise HypothesisError(
            "the batch norm before the head has no scales.",
            expected="affine=True",
            fix="restart.",
        )
    norm.weight[unit], norm.bias[unit] = float(np.sqrt(variance + norm.eps)), mean
    if norm.running_mean is not None:
        norm.running_mean[unit], norm.running_var[unit] = mean, variance


def _write(place: Any, values: FloatArray) -> None:
    place.copy_(torch.as_tensor(values, dtype=place.dtype, device=place.device))


# -- what it brought ----------------------------------------------------------------------------------------------


def _features_now(model: Any, report: JudgedNetwork) -> Any:
    features, labels = [], []
    with left_as_it_was(model), torch.no_grad():
        model.eval()
        for x, y in batches(report.loader, report.batch_to_xy, device_of(model)):
            features.append(captured(model, report.head, x, y).features.cpu())
            labels.append(y.cpu())
    return candidate_of(report.head, torch.cat(features), torch.cat(labels))


def _value(report: JudgedNetwork, candidate: Any) -> float:
    found = certify(report.problem, candidate, solution=report.solution).candidate_objective
    return float("nan") if found is None else found[1]

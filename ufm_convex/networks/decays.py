"""The weight decay of every parameter, and of which kind it is.

The objective is the loss plus Σ_θ (wd_θ/2) θ². ``weight_decay`` of SGD, Adam and their kin adds wd θ to the gradient,
which is that; a decoupled decay (AdamW) of an adaptive method has other stationary points (docs/training_bound.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ufm_convex._given import nonnegative, require_known
from ufm_convex.errors import HypothesisError, ProblemError
from ufm_convex.networks._torch import torch

_COUPLED = (
    "ASGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "Adamax",
    "LBFGS",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "SparseAdam",
)
"""Optimisers of ``torch.optim`` that add wd θ to the gradient, or have no decay."""


def parameter_decays(model: Any, weight_decay: object) -> dict[str, float]:
    """wd_θ of every parameter, by name.

    Args:
        model: A ``torch.nn.Module``.
        weight_decay: A number ≥ 0, for every parameter that requires a gradient; a ``torch.optim.Optimizer``, whose
            groups are read; or a mapping from names of parameters to numbers, 0 for those that it leaves out.

    Raises:
        ProblemError: a decay is not a finite number ≥ 0, a name is not one of the network's, or an optimiser maximises.
        HypothesisError: the optimiser's decay is decoupled, or not known to be the gradient of a square.
    """
    names = {id(one): name for name, one in model.named_parameters()}
    if isinstance(weight_decay, torch.optim.Optimizer):
        return _of_optimizer(model, weight_decay, names)
    if isinstance(weight_decay, Mapping):
        return _of_mapping(model, weight_decay, names)
    decay = _decay("weight_decay", weight_decay)
    return {name: decay if one.requires_grad else 0.0 for name, one in model.named_parameters()}


def _decay(name: str, value: object) -> float:
    return nonnegative(
        name,
        value,
        expected="a finite number >= 0, a torch optimizer, or a mapping from parameter names to numbers",
        fix="pass what the optimiser was made with, or the optimiser itself.",
    )


def _of_mapping(model: Any, given: Mapping[Any, object], names: Mapping[int, str]) -> dict[str, float]:
    tensors = dict(model.named_parameters(remove_duplicate=False))
    require_known(given, tensors, "weight_decay parameter", ProblemError)
    decays = dict.fromkeys(names.values(), 0.0)
    seen: dict[str, float] = {}
    for name, value in given.items():
        own, decay = names[id(tensors[name])], _decay(f"weight_decay[{name!r}]", value)
        if seen.setdefault(own, decay) != decay:
            raise ProblemError(
                f"weight_decay has {seen[own]} and {decay} for one parameter, {own}.",
                expected="one decay a parameter",
                fix=f"leave {name!r} out: it is the same tensor.",
            )
        decays[own] = decay
    return decays


def _of_optimizer(model: Any, optimizer: Any, names: Mapping[int, str]) -> dict[str, float]:
    decays = dict.fromkeys(names.values(), 0.0)
    known = any(id(one) in names for group in optimizer.param_groups for one in group["params"])
    if not known:
        raise ProblemError(
            "the optimizer holds no parameter of this network.",
            expected="the optimizer that trains it",
            fix="make the optimizer from model.parameters(), or pass a number.",
        )
    for group in optimizer.param_groups:
        decay = _decay("the weight_decay of a group", group.get("weight_decay", 0.0))
        if group.get("maximize"):
            raise ProblemError(
                "the optimizer maximises.", expected="one that minimises the loss", fix="make it with maximize=False."
            )
        if decay:
            _require_coupled(optimizer, group)
        for one in group["params"]:
            if id(one) in names and one.requires_grad:
                decays[names[id(one)]] = decay
    return decays


def _require_coupled(optimizer: Any, group: Mapping[str, Any]) -> None:
    name = type(optimizer).__name__
    own = any(type(optimizer) is getattr(torch.optim, known, None) for known in _COUPLED)
    if own and not group.get("decoupled_weight_decay"):
        return
    raise HypothesisError(
        f"the weight decay of {name} is {'decoupled' if _is_decoupled(optimizer, group) else 'of an unknown kind'}: "
        "it is not the gradient of wd/2 ‖θ‖².",
        expected="an optimiser that adds wd θ to the gradient (" + ", ".join(_COUPLED) + ")",
        fix="pass a number or a mapping if the decay is that of a penalty; else there is no bound.",
    )


def _is_decoupled(optimizer: Any, group: Mapping[str, Any]) -> bool:
    decoupled = [getattr(torch.optim, name, ()) for name in ("AdamW", "Adafactor", "Muon")]
    return bool(group.get("decoupled_weight_decay")) or isinstance(optimizer, tuple(k for k in decoupled if k))

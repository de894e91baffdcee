"""The head of a network: found by convention, and what goes into it and comes out.

A head is a ``torch.nn.Linear`` with one row a class, whose result is what the network returns.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ufm_convex.errors import HypothesisError, NetworkError
from ufm_convex.networks._torch import torch
from ufm_convex.networks.marks import marking

_CLOSE = 0.02
"""Of Σ_j |w_j h_j| + |b|: how far a result of half precision may be from W h + b."""

CONVENTIONS = ("fc", "classifier", "head", "heads", "score")
"""Attributes under which networks keep their head, in this order, after timm's ``get_classifier``."""


@dataclass(frozen=True, eq=False)
class Captured:
    """One pass of a batch.

    Attributes:
        features: The head's input, (B, d).
        logits: The head's result, (B, K).
        output: What the network returned; its ``logits`` where it has such an attribute.
        dropped: Whether dropout was active in a marked pass; it was replaced by its mean.
        hidden: What may have changed recorded tensors without a record in a marked pass; None if nothing did.
    """

    features: Any
    logits: Any
    output: Any
    dropped: bool
    hidden: str | None


def find_head(model: Any, num_classes: int | None = None, head: Any = None) -> Any:
    """The last linear layer of a network.

    Args:
        model: A ``torch.nn.Module``.
        num_classes: K, to which candidates for the head are narrowed; None if it is not known.
        head: The head itself or its name, where conventions do not find it.

    Raises:
        NetworkError: there is no linear layer, there are several, or the one that was named is none.
    """
    require_module(model)
    linear = {name: one for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}
    if head is not None:
        return _named(model, head, linear)
    found = by_convention(model)
    if found is not None and num_classes in (None, found.out_features):
        return found
    fitting = {name: one for name, one in linear.items() if num_classes is None or one.out_features == num_classes}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    rows = "" if num_classes is None else f" of {num_classes} rows"
    listed = ", ".join(f"{name or 'the model itself'} ({one.out_features} rows)" for name, one in linear.items())
    raise NetworkError(
        f"the network has {len(fitting) or 'no'} linear layer{'s' if len(fitting) > 1 else ''}{rows}"
        + (f": {', '.join(fitting)}." if fitting else f"; its linear layers: {listed}." if linear else "."),
        expected="one linear layer with a row a class, by name (" + ", ".join(CONVENTIONS) + ") or the only one",
        fix="pass head=, the layer or its name." if linear else "give the network a torch.nn.Linear as its last layer.",
    )


def require_module(model: Any) -> None:
    """Raise ``NetworkError`` unless it is a network."""
    if not isinstance(model, torch.nn.Module):
        raise NetworkError(
            f"model is a {type(model).__name__}.", expected="a torch.nn.Module", fix="pass the network itself."
        )


def _named(model: Any, head: Any, linear: dict[str, Any]) -> Any:
    found = linear.get(head) if isinstance(head, str) else head
    if any(found is one for one in linear.values()):
        return found
    shown = repr(head) if isinstance(head, str) else f"a {type(head).__name__}"
    raise NetworkError(
        f"head is {shown}, which is no linear layer of the network.",
        expected="one of its torch.nn.Linear layers" + (f": {', '.join(linear)}" if linear else ""),
        fix="pass the layer itself, or its name in model.named_modules().",
    )


def by_convention(model: Any) -> Any:
    """The head under one of the usual names, the last layer in there where it is a sequence; None if there is none.

    Raises:
        NetworkError: there are several.
    """
    asked = getattr(model, "get_classifier", None)
    candidates = [asked()] if callable(asked) else [getattr(model, name, None) for name in CONVENTIONS]
    found: dict[int, Any] = {}
    for candidate in candidates:
        for one in _heads_in(candidate):
            found[id(one)] = one
    if len(found) > 1:
        listed = ", ".join(name for name, one in model.named_modules() if id(one) in found)
        raise NetworkError(
            f"the network has several heads: {listed}.", expected="one head", fix="pass head=, one of these names."
        )
    return next(iter(found.values()), None)


def _heads_in(candidate: Any) -> list[Any]:
    """Linear layers that a part of a network ends in: of a sequence its last, of a list or a tuple every one."""
    if isinstance(candidate, torch.nn.Linear):
        return [candidate]
    if isinstance(candidate, torch.nn.ModuleDict):
        candidate = candidate.values()
    if isinstance(candidate, (torch.nn.ModuleList, list, tuple)) or not isinstance(candidate, torch.nn.Module | None):
        return [one for part in candidate for one in _heads_in(part)] if hasattr(candidate, "__iter__") else []
    inside = [] if candidate is None else [one for one in candidate.modules() if isinstance(one, torch.nn.Linear)]
    return inside[-1:]


def capture(model: Any, head: Any, inputs: Any, *, marked: bool = False) -> Captured:
    """Run a batch and keep what enters and leaves the head.

    Args:
        model: The network.
        head: Its head.
        inputs: What the network takes.
        marked: Whether the graph is recorded, with marks (``marking``), and without dropout.

    Raises:
        NetworkError: the head is not reached, or more than once, or is no plain linear layer.
    """
    seen: list[tuple[Any, Any]] = []
    hooks = [
        head.register_forward_pre_hook(lambda _, arguments: _check_width(head, arguments[0])),
        head.register_forward_hook(lambda _, arguments, result: seen.append((arguments[0], result))),
    ]
    marks = marking()
    try:
        with torch.set_grad_enabled(marked), marks if marked else nullcontext():
            output = model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != 1:
        raise NetworkError(
            f"a batch reached the head {len(seen)} times.",
            expected="once",
            fix="pass head=, the layer whose result the network returns.",
        )
    return Captured(*seen[0], getattr(output, "logits", output), marks.dropped, marks.hidden)


def _check_width(head: Any, features: Any) -> None:
    if features.shape[-1] != head.in_features:
        raise NetworkError(
            f"a batch reaches the head with features of dimension {features.shape[-1]}.",
            expected=f"dimension {head.in_features}, as the head takes",
            fix="give all batches inputs of one size, or pool what comes out of the backbone.",
        )


def require_plain(head: Any) -> None:
    """Raise ``NetworkError`` unless the head computes W h + b with W and b parameters of its own."""
    plain = type(head).forward is torch.nn.Linear.forward and isinstance(
        head._parameters.get("weight"), torch.nn.Parameter
    )
    if not plain or head._forward_pre_hooks or "forward" in vars(head):
        raise NetworkError(
            f"the head is a {type(head).__name__} that computes something else than W h + b with parameters W and b.",
            expected="a plain torch.nn.Linear",
            fix="remove its parametrisation and its hooks, or pass the layer inside.",
        )


def leads_out(captured: Captured, head: Any) -> str | None:
    """Why the network does not return W h + b, read off the graph of a marked pass; None if it does."""
    logits, output = captured.logits, captured.output
    if not isinstance(output, torch.Tensor) or output.grad_fn is not logits.grad_fn or output.shape != logits.shape:
        return "the network returns something else than what its head computes"
    node, weight = logits.grad_fn, None
    inputs = [before for before, _ in node.next_functions] if node is not None else []
    for before in inputs:
        if before is not None and before.name() == "TBackward0":
            weight = getattr(before.next_functions[0][0], "variable", None)
    first = captured.features.grad_fn
    if node is None or not node.name().startswith(("AddmmBackward", "MmBackward")) or weight is not head.weight:
        return "the head's result is not W h + b with W a parameter"
    if first not in inputs:
        return "the head's input is changed on its way"
    return None if _computes(captured, head) else "the head's result is changed without a record"


def _computes(captured: Captured, head: Any) -> bool:
    """Whether the result is W h + b in numbers, too: ``z.data.mul_(10)`` leaves no node."""
    given = (captured.features, head.weight, *(() if head.bias is None else (head.bias,)))
    h, *parts = [one.detach().double() for one in given]
    expected = torch.nn.functional.linear(h, *parts)
    size = torch.nn.functional.linear(h.abs(), *(part.abs() for part in parts))
    seen = captured.logits.detach().double()
    return expected.shape == seen.shape and bool(((seen - expected).abs() <= _CLOSE * size).all())


def require_recorded(captured: Captured) -> None:
    """Raise ``HypothesisError`` where a marked pass may have changed features that the graph does not show."""
    if captured.hidden is not None:
        raise HypothesisError(
            f"{captured.hidden}.",
            expected="features that are changed by recorded operations alone",
            fix="there is no bound for this network; its gap and its parts do not need one.",
        )

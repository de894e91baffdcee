"""Marks in the autograd graph: where a forward pass normalised, and where it dropped.

The graph names its nodes and keeps some of their arguments, but not all: the shift of a normalisation is not kept, a
mask of dropout is a product like any other, and RMSNorm is a handful of elementary operations. While ``marking`` is
active, calls of the functional normalisations and of dropout get a node of their own behind them, which keeps what the
theorem asks for (docs/training_bound.md). Dropout is replaced by the mean of its masks, the identity, so that a pass
draws no random numbers of its own for it. What changes recorded tensors without a record leaves no node, and is noted
by ``marking`` as it happens.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ufm_convex.networks._torch import torch

F = torch.nn.functional


@dataclass(frozen=True, eq=False)
class NormMark:
    """A call of a normalisation.

    Attributes:
        kind: "batch", "instance", "layer", "group" or "rms".
        weight: γ, or None.
        bias: β, or None.
        channels: C: how many entries of û have a scale of their own, at each position of each sample.
        group: g: channels that share statistics within a sample; 1 for batch and instance norm.
        normalized: How many of the last dimensions are normalised together in each row; 0 for batch and group norm.
        running: Whether running statistics were used.
        eps: What is added to the variance.
        shape: Of the result.
    """

    kind: str
    weight: Any
    bias: Any
    channels: int
    group: int
    normalized: int
    running: bool
    eps: float
    shape: tuple[int, ...]


@dataclass(frozen=True)
class DropoutMark:
    """A call of dropout in training.

    Attributes:
        share: p, the share of entries that are set to 0; the others are divided by 1 − p.
    """

    share: Fraction


class _Mark(torch.autograd.Function):  # type: ignore[misc]
    """The identity, with a note."""

    @staticmethod
    def forward(ctx: Any, values: Any, anchor: Any, note: object, inplace: bool) -> Any:
        """The values themselves, or a copy."""
        ctx.note = note
        if inplace:  # the caller may go on with what it passed in
            ctx.mark_dirty(values)
            return values
        return values.clone()  # a view could not be changed in place, as ReLU(inplace=True) does

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient as it comes."""
        return gradients[0], None, None, None


def note_of(node: Any) -> NormMark | DropoutMark | None:
    """The note of a node of the graph; None for nodes of PyTorch's own."""
    return node.note if isinstance(node, _Mark._backward_cls) else None


class marking(torch.overrides.TorchFunctionMode):  # type: ignore[misc]  # noqa: N801 - a context, used as a verb
    """While active, normalisations and dropout leave marks; everything else runs as it is.

    ``dropped`` says whether there was dropout, anywhere; ``hidden`` what changed a recorded tensor without a record, or
    could, None if nothing did. The result of a marked call requires a gradient even where no parameter does, so that
    what follows it is recorded.
    """

    dropped = False
    hidden: str | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function; if it is one of those that are marked, put a mark behind it."""
        given = kwargs or {}
        if func in _DROPOUTS:
            call = _arguments(func, args, given)
            if not call["training"] or not call["p"]:
                return func(*args, **given)
            self.dropped = True
            return _marked(call["input"], DropoutMark(Fraction(float(call["p"]))), call["inplace"])
        self.hidden = self.hidden or _hides(func, args, given)
        values = func(*args, **given)
        if func not in _NORMS:
            return values
        return _marked(values, _NORMS[func](_arguments(func, args, given), values))


def _marked(values: Any, note: object, inplace: bool = False) -> Any:
    return _Mark.apply(values, torch.zeros((), requires_grad=True), note, inplace)


def _hides(func: Any, args: Any, kwargs: Any) -> str | None:
    """How a call may change the values of a recorded tensor and leave its graph as it is; None if it cannot."""
    target = kwargs.get("out", args[0] if args else None)
    if not isinstance(target, torch.Tensor) or target.grad_fn is None:
        return None
    if func == _DATA:
        return "the data of a recorded tensor are taken (.data)"
    name = getattr(func, "__name__", "")
    changes = "out" in kwargs or name == "__setitem__" or name in _INPLACE or re.fullmatch(r"[a-z]\w*[^_]_", name)
    return (
        f"a recorded tensor is changed without a record ({name})" if changes and not torch.is_grad_enabled() else None
    )


_DATA = torch.Tensor.data.__get__
_INPLACE = ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__ipow__", "__imod__")


def _arguments(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(func).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _batch(call: dict[str, Any], values: Any) -> NormMark:
    shape, running = tuple(values.shape), not call["training"]
    return NormMark("batch", call["weight"], call["bias"], shape[1], 1, 0, running, call["eps"], shape)


def _instance(call: dict[str, Any], values: Any) -> NormMark:
    shape, running = tuple(values.shape), not call["use_input_stats"]
    return NormMark("instance", call["weight"], call["bias"], shape[1], 1, 0, running, call["eps"], shape)


def _group(call: dict[str, Any], values: Any) -> NormMark:
    shape = tuple(values.shape)
    group = shape[1] // call["num_groups"]
    return NormMark("group", call["weight"], call["bias"], shape[1], group, 0, False, call["eps"], shape)


def _layer(call: dict[str, Any], values: Any) -> NormMark:
    return _of_rows("layer", call, call["bias"], values)


def _rms(call: dict[str, Any], values: Any) -> NormMark:
    return _of_rows("rms", call, None, values)


def _of_rows(kind: str, call: dict[str, Any], bias: Any, values: Any) -> NormMark:
    normalized = tuple(call["normalized_shape"])
    size, eps = torch.Size(normalized).numel(), call["eps"] or 0.0  # None is the precision of the type
    return NormMark(kind, call["weight"], bias, size, size, len(normalized), False, eps, tuple(values.shape))


_NORMS: dict[Any, Callable[[dict[str, Any], Any], NormMark]] = {
    F.batch_norm: _batch,
    F.instance_norm: _instance,
    F.group_norm: _group,
    F.layer_norm: _layer,
    F.rms_norm: _rms,
}
_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)

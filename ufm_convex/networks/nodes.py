"""What each node of an autograd graph does to the reach of a normalisation: one rule an operation.

A rule takes the node and, for each of its inputs, the reach and the shape. Arguments of the operation are what the node
has saved. The batch is the first dimension, and no rule lets it be reduced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from ufm_convex.networks import windows
from ufm_convex.networks.marks import NormMark, note_of
from ufm_convex.networks.reach import Reach, concatenated, summed

Inputs = Sequence[tuple[Reach, tuple[int, ...]]]
Rule = Callable[[Any, Inputs], Reach]

_WORDS = {
    "AccumulateGrad": "a parameter, or the network's input",
    "Add": "a sum (+)",
    "Addmm": "a linear layer",
    "Convolution": "a convolution",
    "Div": "a quotient (/)",
    "Mm": "a linear layer",
    "Mul": "a product (*)",
    "NativeBatchNorm": "a batch norm that was not called through torch.nn.functional",
    "PreluKernel": "PReLU, whose slope is learnt",
    "Sigmoid": "a sigmoid, which is not 0 at 0",
    "Softplus": "softplus, which is not 0 at 0",
}


class UnrecognisedError(Exception):
    """A node that no rule takes; the message says which, in words."""


def base_name(node: Any) -> str:
    """The name of the operation: "Relu" of "ReluBackward0"."""
    return re.sub(r"Backward\d*$", "", node.name().split("::")[-1])


def describe(node: Any) -> str:
    """The node in words."""
    name = base_name(node)
    words = _WORDS.get(name)
    return f"{words} ({node.name()})" if words else node.name()


def shape_of(node: Any, index: int = 0) -> tuple[int, ...]:
    """Shape of a result of a node."""
    return tuple(node._input_metadata[index].shape)


def _saved(node: Any, name: str) -> Any:
    try:
        return getattr(node, f"_saved_{name}")
    except (AttributeError, RuntimeError):
        raise UnrecognisedError(f"{describe(node)} without its argument {name}") from None


def _number(node: Any, name: str) -> Fraction:
    value = _saved(node, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnrecognisedError(f"{describe(node)} whose {name} is no plain number")
    return Fraction(value)


def _signed(dim: int) -> int:
    """A dimension, which is kept without its sign."""
    return dim - (1 << 64) if dim >= 1 << 63 else dim


def _dims(node: Any, rank: int) -> list[int]:
    """The dimensions that a node reduces or selects from, none of them the batch."""
    saved = _saved(node, "dim")
    dims = [_signed(dim) % rank for dim in (saved if isinstance(saved, (tuple, list)) else (saved,))]
    if not dims or 0 in dims:
        raise UnrecognisedError(f"{describe(node)} over the batch")
    return dims


# -- elementwise --------------------------------------------------------------------------------------------------


def _activation(size: object, change: object, *, nonnegative: bool = False, homogeneous: bool = False) -> Rule:
    """σ with |σ(t)| ≤ size · |t| and Lipschitz constant ``change``."""
    squares = Fraction(str(size)) ** 2, Fraction(str(change)) ** 2

    def rule(node: Any, inputs: Inputs) -> Reach:
        return _only(node, inputs)[0].activated(*squares, nonnegative, homogeneous)

    return rule


def _only(node: Any, inputs: Inputs) -> tuple[Reach, tuple[int, ...]]:
    if len(inputs) != 1:
        raise UnrecognisedError(f"{describe(node)} of several tensors")
    return inputs[0]


def _leaky(node: Any, inputs: Inputs) -> Reach:
    square = max(Fraction(1), _number(node, "negative_slope") ** 2)
    return _only(node, inputs)[0].activated(square, square, False, True)


def _elu(node: Any, inputs: Inputs) -> Reach:
    alpha, scale, inner = (_number(node, name) for name in ("alpha", "scale", "input_scale"))
    if min(alpha, scale, inner) < 0:
        raise UnrecognisedError(f"{describe(node)} with a negative constant")
    square = (scale * max(Fraction(1), alpha * inner)) ** 2
    return _only(node, inputs)[0].activated(square, square, False, False)


def _celu(node: Any, inputs: Inputs) -> Reach:
    if _number(node, "alpha") <= 0:
        raise UnrecognisedError(f"{describe(node)} with a negative constant")
    return _only(node, inputs)[0].activated(Fraction(1), Fraction(1), False, False)


def _clipped(low: str, high: str | None = None) -> Rule:
    """min(max(t, low), high) with low ≤ 0 ≤ high."""

    def rule(node: Any, inputs: Inputs) -> Reach:
        below, above = (None if not name or _saved(node, name) is None else _number(node, name) for name in (low, high))
        if (below is not None and below > 0) or (above is not None and above < 0):
            raise UnrecognisedError(f"{describe(node)} that does not leave 0 where it is")
        one = Fraction(1)
        return _only(node, inputs)[0].activated(one, one, below == 0, homogeneous=below == 0 and above is None)

    return rule


# -- places -------------------------------------------------------------------------------------------------------


def _copy(node: Any, inputs: Inputs) -> Reach:
    """Copies and conversions: the entries are the same."""
    return _only(node, inputs)[0]


def _view(node: Any, inputs: Inputs) -> Reach:
    """The same entries in the same order, in another shape."""
    reach, shape = _only(node, inputs)
    rows, before = shape_of(node)[:1], shape[:1]
    merged = bool(rows) and bool(before) and before[0] % rows[0] == 0
    return reach.viewed(aligned=merged)


def _transposed(node: Any, inputs: Inputs) -> Reach:
    """The same entries with the dimensions in another order."""
    reach, shape = _only(node, inputs)
    if base_name(node) == "Permute":
        aligned = _signed(_saved(node, "dims")[0]) % len(shape) == 0
    else:
        names = () if base_name(node) == "T" else ("dim0", "dim1")
        aligned = bool(names) and all(_signed(_saved(node, name)) % len(shape) for name in names)
    return reach.viewed(aligned=aligned)


def _select(node: Any, inputs: Inputs) -> Reach:
    reach, shape = _only(node, inputs)
    (dim,) = _dims(node, len(shape))
    return reach.selected(dim, 1)


def _slice(node: Any, inputs: Inputs) -> Reach:
    reach, shape = _only(node, inputs)
    if shape == shape_of(node):
        return reach
    (dim,) = _dims(node, len(shape))
    return reach.selected(dim, shape_of(node)[dim])


def _sum_of_tensors(sign: int) -> Rule:
    def rule(node: Any, inputs: Inputs) -> Reach:
        if _number(node, "alpha") != 1:
            raise UnrecognisedError(f"{describe(node)} with a factor")
        shape = shape_of(node)
        parts = [reach if own == shape else _broadcast(node, reach, own, shape) for reach, own in inputs]
        return summed(parts, nonnegative=sign > 0 and all(part.nonnegative for part in parts))

    return rule


def _broadcast(node: Any, reach: Reach, own: tuple[int, ...], shape: tuple[int, ...]) -> Reach:
    """Every entry stands as often as the shapes say; a batch that is repeated is no batch."""
    padded = (1,) * (len(shape) - len(own)) + own
    if padded[0] != shape[0]:
        raise UnrecognisedError(f"{describe(node)} of tensors whose batches differ")
    return reach.linear(windows.product([b // a for a, b in zip(padded, shape, strict=True)]))


def _cat(node: Any, inputs: Inputs) -> Reach:
    return concatenated([reach for reach, _ in inputs], aligned=_signed(_saved(node, "dim")) % len(inputs[0][1]) != 0)


# -- averages and maxima ------------------------------------------------------------------------------------------


def _mean(node: Any, inputs: Inputs) -> Reach:
    reach, shape = _only(node, inputs)
    return reach.linear(Fraction(1) / windows.product([shape[dim] for dim in _dims(node, len(shape))]))


def _sum(node: Any, inputs: Inputs) -> Reach:
    reach, shape = _only(node, inputs)
    return reach.linear(windows.product([shape[dim] for dim in _dims(node, len(shape))]))


def _largest(node: Any, inputs: Inputs) -> Reach:
    reach, shape = _only(node, inputs)
    _dims(node, len(shape))
    return reach.maximum(1)


def _pooled(node: Any, inputs: Inputs) -> tuple[Reach, list[tuple[int, int]]]:
    """The reach, and size before and after of every pooled dimension; the first two are batch and channels."""
    reach, before = _only(node, inputs)
    after = shape_of(node)
    if len(after) != len(before) or after[:2] != before[:2]:
        raise UnrecognisedError(f"{describe(node)} of tensors without a batch")
    return reach, list(zip(before[2:], after[2:], strict=True))


def _sliding(node: Any, sizes: list[tuple[int, int]], dilated: bool) -> list[windows.Ranges]:
    rank = len(sizes)
    kernel, stride, padding = (tuple(_saved(node, name)) for name in ("kernel_size", "stride", "padding"))
    if len(kernel) != rank:
        raise UnrecognisedError(f"{describe(node)} of tensors without a batch")
    dilation = tuple(_saved(node, "dilation")) if dilated else (1,) * rank
    return [
        windows.sliding(size, count, kernel[k], (stride or kernel)[k], padding[k], dilation[k])
        for k, (size, count) in enumerate(sizes)
    ]


def _average_windows(node: Any, inputs: Inputs) -> Reach:
    reach, sizes = _pooled(node, inputs)
    if _saved(node, "divisor_override") is not None:
        raise UnrecognisedError(f"{describe(node)} with a divisor of its own")
    ranges = _sliding(node, sizes, dilated=False)
    squares = []
    for k, (size, count) in enumerate(sizes):
        divisors = None
        if _saved(node, "count_include_pad"):
            kernel, padding = _saved(node, "kernel_size")[k], _saved(node, "padding")[k]
            stride = (_saved(node, "stride") or _saved(node, "kernel_size"))[k]
            starts = [at * stride - padding for at in range(count)]
            divisors = [min(start + kernel, size + padding) - start for start in starts]
        squares.append(windows.average_square(ranges[k], divisors))
    return reach.linear(windows.product(squares))


def _adaptive_average(node: Any, inputs: Inputs) -> Reach:
    reach, sizes = _pooled(node, inputs)
    squares = [windows.average_square(windows.adaptive(size, count)) for size, count in sizes]
    return reach.linear(windows.product(squares))


def _maximum_windows(node: Any, inputs: Inputs) -> Reach:
    reach, sizes = _pooled(node, inputs)
    ranges = _sliding(node, sizes, dilated=True)
    return reach.maximum(
        windows.product([windows.coverage(held, size) for held, (size, _) in zip(ranges, sizes, strict=True)])
    )


def _adaptive_maximum(node: Any, inputs: Inputs) -> Reach:
    reach, sizes = _pooled(node, inputs)
    return reach.maximum(
        windows.product([windows.coverage(windows.adaptive(size, count), size) for size, count in sizes])
    )


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Alias", "Clone", "ToCopy"), _copy),
    **dict.fromkeys(("ReshapeAlias", "Squeeze", "UnsafeView", "Unsqueeze", "View"), _view),
    **dict.fromkeys(("Permute", "T", "Transpose"), _transposed),
    "Abs": _activation(1, 1, nonnegative=True, homogeneous=True),
    "AdaptiveAvgPool2D": _adaptive_average,
    "AdaptiveAvgPool3D": _adaptive_average,
    "AdaptiveMaxPool2D": _adaptive_maximum,
    "AdaptiveMaxPool3D": _adaptive_maximum,
    "Add": _sum_of_tensors(1),
    "Amax": _largest,
    "AvgPool2D": _average_windows,
    "AvgPool3D": _average_windows,
    "Cat": _cat,
    "Celu": _celu,
    "Clamp": _clipped("min", "max"),
    "ClampMin": _clipped("min"),
    "Elu": _elu,
    "Gelu": _activation(1, "1.13"),  # the largest slope is 1.1290, at √2
    "Hardswish": _activation(1, "1.5"),
    "Hardtanh": _clipped("min_val", "max_val"),
    "LeakyRelu": _leaky,
    "Max": _largest,
    "MaxPool2DWithIndices": _maximum_windows,
    "MaxPool3DWithIndices": _maximum_windows,
    "Mean": _mean,
    "Mish": _activation(1, "1.09"),
    "Relu": _activation(1, 1, nonnegative=True, homogeneous=True),
    "Select": _select,
    "Silu": _activation(1, "1.1"),
    "Slice": _slice,
    "Sub": _sum_of_tensors(-1),
    "Sum": _sum,
    "Tanh": _activation(1, 1),
}

_SIGNED = ("Abs", "Relu", "Sigmoid", "Softmax", "Softplus", "Hardsigmoid")
_EITHER = (
    "Addmm",
    "Celu",
    "Convolution",
    "Elu",
    "Gelu",
    "Hardswish",
    "LeakyRelu",
    "Mish",
    "Mm",
    "PreluKernel",
    "Silu",
    "Sub",
    "Tanh",
)


def sign_of(node: Any) -> bool | None:
    """Whether the result of a node is ≥ 0 whatever the parameters are; None where that cannot be told."""
    note = note_of(node)
    if isinstance(note, NormMark):
        return False
    name = base_name(node)
    if name in _SIGNED or name in _EITHER:
        return name in _SIGNED
    if name in ("Clamp", "ClampMin", "Hardtanh"):
        low = _saved(node, "min_val" if name == "Hardtanh" else "min")
        return isinstance(low, (int, float)) and low >= 0
    if note is None and name not in RULES:
        return None
    inputs = node.next_functions if note is None else node.next_functions[:1]
    signs = [None if before is None else sign_of(before) for before, _ in inputs]
    return None if None in signs else all(signs)

"""Passes of a loader through a network: what a batch is, and leaving the network as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ufm_convex.errors import LabelsError, NetworkError, ShapeError
from ufm_convex.networks._torch import torch
from ufm_convex.networks.heads import Captured, capture

BatchToXY = Callable[[Any], tuple[Any, Any]]


def device_of(model: Any) -> Any:
    """Where the network's first parameter is."""
    return next((one.device for one in model.parameters()), torch.device("cpu"))


def batches(loader: Any, batch_to_xy: BatchToXY | None, device: Any) -> Iterator[tuple[Any, Any]]:
    """Inputs and labels, on the device.

    Raises:
        NetworkError: it cannot be iterated, there is no batch, or one is neither a pair nor taken apart by
            ``batch_to_xy``.
        LabelsError: labels are one-hot, or no integers.
    """
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise NetworkError(
            f"the loader is a {type(loader).__name__}.",
            expected="what yields batches, pairs of inputs and labels",
            fix="pass a DataLoader, or a list of batches.",
        )
    empty = True
    for batch in loader:
        empty = False
        inputs, labels = _pair(batch, batch_to_xy)
        yield _moved(inputs, device), _labels(labels).to(device)
    if empty:
        raise NetworkError(
            "the loader yields no batch.", expected="one batch or more", fix="pass a loader that can be iterated again."
        )


def _pair(batch: Any, batch_to_xy: BatchToXY | None) -> tuple[Any, Any]:
    found = batch if batch_to_xy is None else batch_to_xy(batch)
    if isinstance(found, (tuple, list)) and len(found) == 2:
        return found[0], found[1]
    keys = f" with the keys {', '.join(map(str, found))}" if isinstance(found, dict) else ""
    raise NetworkError(
        f"a batch is a {type(found).__name__}{keys}"
        + (f" of {len(found)} parts." if isinstance(found, (tuple, list)) else "."),
        expected="a pair: inputs and labels",
        fix='pass batch_to_xy=, such as lambda batch: (batch["image"], batch["label"]).',
    )


def _labels(labels: Any) -> Any:
    found = torch.as_tensor(labels)
    if found.ndim != 1 or found.is_floating_point() or found.dtype == torch.bool:
        raise LabelsError(
            f"the labels of a batch have shape {tuple(found.shape)} and type {found.dtype}.",
            expected="(B,), integers: one class a sample",
            fix="if they are one-hot, take their argmax(1) in batch_to_xy=.",
        )
    return found


def _moved(inputs: Any, device: Any) -> Any:
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(_moved(one, device) for one in inputs)
    if isinstance(inputs, dict):
        return {key: _moved(one, device) for key, one in inputs.items()}
    return inputs.to(device) if isinstance(inputs, torch.Tensor) else inputs


def captured(model: Any, head: Any, inputs: Any, labels: Any, *, marked: bool = False) -> Captured:
    """One batch through the network, its features and logits checked.

    Raises:
        ShapeError: the features are not (B, d) with the batch's own B.
        NetworkError: a feature is NaN or infinite, or as ``capture``.
    """
    found = capture(model, head, inputs, marked=marked)
    h = found.features
    if h.ndim != 2 or len(h) != len(labels):
        raise ShapeError(
            f"the head's input has shape {tuple(h.shape)}, and the batch {len(labels)} labels.",
            expected="(B, d), one row a sample",
            fix="pass head=, the layer that sees one vector a sample, or batch_to_xy=.",
        )
    bad = ~torch.isfinite(h.detach()).all(1)
    if bool(bad.any()):
        raise NetworkError(
            f"the features of sample {int(bad.nonzero()[0])} of a batch are NaN or infinite.",
            expected="finite features",
            fix="the training diverged, or half precision overflowed: there is nothing to judge.",
        )
    return found


@contextmanager
def left_as_it_was(model: Any) -> Iterator[None]:
    """Afterwards modes of modules, buffers and the state of random numbers are what they were, to the bit."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    devices = [device_of(model)] if device_of(model).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for buffer, saved in buffers:
                    if not torch.equal(buffer, saved):
                        buffer.copy_(saved)

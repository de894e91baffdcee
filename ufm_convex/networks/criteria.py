"""PyTorch's criterion as a loss of this package."""

from __future__ import annotations

from typing import Any

from ufm_convex._arrays import IntArray
from ufm_convex.errors import NetworkError, ProblemError
from ufm_convex.losses import CrossEntropy, Loss
from ufm_convex.networks._torch import torch


def loss_of(criterion: Any, class_counts: IntArray, reduction: str) -> Loss:
    """The loss that a criterion is, with class weights relative to (1/N) Σ.

    Args:
        criterion: None for cross-entropy, a ``torch.nn.CrossEntropyLoss``, or a loss of this package, taken as it is.
        class_counts: n_k, by which PyTorch's mean is weighted.
        reduction: "mean" or "sum".

    Raises:
        NetworkError: it is neither.
        ProblemError: its own reduction is another one, or it weighs classes in a sum.
    """
    if criterion is None:
        return CrossEntropy()
    if isinstance(criterion, Loss):
        return criterion
    if type(criterion) is not torch.nn.CrossEntropyLoss:
        raise NetworkError(
            f"criterion is a {type(criterion).__name__}.",
            expected="a torch.nn.CrossEntropyLoss, a loss of ufm_convex, or None for cross-entropy",
            fix="pass the loss of ufm_convex that it computes.",
        )
    if criterion.reduction != reduction:
        raise ProblemError(
            f'criterion has reduction="{criterion.reduction}", and reduction is "{reduction}".',
            expected="the same, as it decides what the decays relate to",
            fix="say how the trained loss was reduced, with reduction= and with the criterion alike.",
        )
    if reduction == "mean":
        return CrossEntropy.from_torch(criterion, class_counts)
    if criterion.weight is None:
        return CrossEntropy(smoothing=criterion.label_smoothing)
    raise ProblemError(
        "criterion weighs classes, and sums.",
        expected='weights with reduction="mean", or a sum without',
        fix="pass CrossEntropy(class_weights=…) of ufm_convex, which weighs (1/N) Σ.",
    )

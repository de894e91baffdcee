"""What is gathered of a head batch by batch, and the loss that it amounts to: one pass, K d numbers, no K × N array.

Per class k, over its samples: n_k, Σ h_i, Σ ‖h_i‖², Σ lse(W h_i + b). The other term of a cross-entropy is linear in
the logits, so its sum is that of the class mean. Everything in binary64. Source: docs/network_report.md, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import Loss, SoftmaxLoss
from ufm_convex.networks._torch import torch

_BLOCK = 1 << 22
"""Logits of class means that are looked at together."""


def shapes(num_classes: int, feature_dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the sums."""
    return {
        "counts": (num_classes,),
        "sums": (num_classes, feature_dim),
        "square_sums": (num_classes,),
        "lse_sums": (num_classes,),
    }


def add_batch(sums: Mapping[str, Any], head: Any, features: Any, labels: Any) -> None:
    """Add a batch to the sums, where they are; features (B, d) in binary64 and labels (B,) lie on their device."""
    place = features.device
    weight = head.weight.detach().to(place, torch.float64)
    bias = None if head.bias is None else head.bias.detach().to(place, torch.float64)
    squares = features.square().sum(1)
    parts = {
        "counts": torch.ones_like(squares),
        "sums": features,
        "square_sums": squares,
        "lse_sums": torch.logsumexp(torch.nn.functional.linear(features, weight, bias), 1),
    }
    for name, part in parts.items():
        sums[name].index_add_(0, labels, part)


def is_gathered(loss: Loss) -> TypeGuard[SoftmaxLoss]:
    """Whether the loss is lse(z) − <y_k, z> of the logits themselves, and so a sum of what is gathered."""
    return loss.of_logits


def require_gathered(loss: Loss) -> SoftmaxLoss:
    """The loss, if its value is a sum of what is gathered; raises ``HypothesisError``."""
    if is_gathered(loss):
        return loss
    raise HypothesisError(
        f"the loss is {loss.name!r}.",
        expected="a cross-entropy, with weights, smoothing or soft targets",
        fix="judge with Candidate and certify, which take any loss.",
    )


def class_losses(
    loss: SoftmaxLoss,
    counts: FloatArray,
    means: FloatArray,
    lse_sums: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
) -> FloatArray:
    """Σ_i l_k(W h_i + b) over the samples of each class, (K,), class weights left out.

    Args:
        loss: The loss.
        counts: n_k, (K,).
        means: h̄_k, (K, d).
        lse_sums: Σ_i lse(W h_i + b), (K,).
        weight: W, (K, d).
        bias: b, (K,); zeros where there is none.
    """
    K = len(weight)
    if (share := loss.softmax_share) is not None:
        paired = (1.0 - share) * ((weight * means).sum(axis=1) + bias)
        if share:
            paired += share / K * (means @ weight.sum(axis=0) + bias.sum())
    else:
        targets = loss.target_columns(K, np.arange(K)).T
        paired = ((targets @ weight) * means).sum(axis=1) + targets @ bias
    found: FloatArray = lse_sums - counts * paired
    return found


def lse_at(means: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """lse(W h̄_k + b), (K,), in blocks of classes."""
    found = np.empty(len(means))
    step = max(1, _BLOCK // len(weight))
    for start in range(0, len(means), step):
        logits = means[start : start + step] @ weight.T + bias
        peak = logits.max(axis=1)
        found[start : start + step] = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    return found


def head_arrays(head: Any) -> tuple[FloatArray, FloatArray]:
    """W and b in binary64; b = 0 where there is none."""
    weight = as_array(head.weight)
    return weight, np.zeros(len(weight)) if head.bias is None else as_array(head.bias)


def as_array(tensor: Any) -> FloatArray:
    """A tensor in binary64, without its gradient."""
    found: FloatArray = tensor.detach().to("cpu", torch.float64).numpy()
    return found

"""``torch.nn.CrossEntropyLoss`` as a loss of this package.

PyTorch's mean of weighted losses is divided by Σ_i w_{y_i}, here (1/N) Σ_i stays: weights are multiplied by
N / Σ_k w_k n_k. With label smoothing a PyTorch weighs the smoothed terms, too: column k is c_k CE(z, T_k / c_k) with
T_k = (1−a) w_k e_k + (a/K) w and c_k = Σ_j T_kj, soft targets with a weight a class (docs/losses.md).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import IntArray, real
from ufm_convex.errors import ProblemError, ShapeError, shown

if TYPE_CHECKING:
    from ufm_convex.losses.cross_entropy import CrossEntropy
    from ufm_convex.losses.soft_target_cross_entropy import SoftTargetCrossEntropy

_READ = "a torch.nn.CrossEntropyLoss"


def from_torch(criterion: Any, class_counts: Sequence[int] | IntArray) -> CrossEntropy | SoftTargetCrossEntropy:
    """See ``CrossEntropy.from_torch``."""
    from ufm_convex.class_counts import validate_class_counts
    from ufm_convex.losses.cross_entropy import CrossEntropy
    from ufm_convex.losses.soft_target_cross_entropy import SoftTargetCrossEntropy

    _require_criterion(criterion)
    counts = np.asarray(validate_class_counts(class_counts), dtype=np.int64)
    _require_all_counted(int(criterion.ignore_index), counts)
    K, a = counts.size, float(criterion.label_smoothing)
    weights = _weights(criterion.weight, K)
    if weights is None or len(set(weights)) == 1:  # one weight for all is its own mean
        return CrossEntropy(smoothing=a)
    factor = int(counts.sum()) / math.fsum(w * n for w, n in zip(weights, counts.tolist(), strict=True))
    if not a:
        return CrossEntropy(class_weights=tuple(factor * w for w in weights))
    table = [[a / K * w + (1.0 - a) * weights[k] * (j == k) for j, w in enumerate(weights)] for k in range(K)]
    totals = [math.fsum(row) for row in table]
    targets = tuple(tuple(y / total for y in row) for row, total in zip(table, totals, strict=True))
    return SoftTargetCrossEntropy(targets, class_weights=tuple(factor * total for total in totals))


def _require_criterion(criterion: Any) -> None:
    """Raise ``ProblemError`` unless it is PyTorch's class itself, reduced to a mean."""
    torch = sys.modules.get("torch")  # whoever has a criterion has imported it
    if torch is None or type(criterion) is not torch.nn.CrossEntropyLoss:
        raise ProblemError(
            f"criterion is a {type(criterion).__name__}.",
            expected=f"{_READ} itself: a subclass may compute something else",
            fix="pass the loss of ufm_convex that it computes.",
        )
    if criterion.reduction != "mean":
        raise ProblemError(
            f'criterion has reduction="{criterion.reduction}".',
            expected='reduction="mean", in whose units the decays are',
            fix="a sum over batches of B samples is B times their mean: divide the weight decays by B, and pass the "
            'criterion with reduction="mean".',
        )


def _require_all_counted(ignored: int, counts: IntArray) -> None:
    """Raise ``ProblemError`` where the criterion ignores samples that are counted; other labels are no class."""
    if 0 <= ignored < counts.size and counts[ignored]:
        raise ProblemError(
            f"criterion has ignore_index={ignored}, a class with {counts[ignored]} samples.",
            expected="class counts of the samples that it does not ignore",
            fix=f"leave those samples out, so that class_counts[{ignored}] is 0.",
        )


def _weights(weight: Any, num_classes: int) -> list[float] | None:
    """W, finite and positive, one a class; None for none."""
    if weight is None:
        return None
    entries = _given.entries("weight", weight, ProblemError, expected="one number > 0 a class")
    found = [real(entry) for entry in entries]
    if len(found) != num_classes:
        raise ShapeError(
            f"criterion weighs {len(found)} classes, but class_counts has {num_classes}.",
            expected="one weight a class",
            fix="pass the counts of the data that it was trained with.",
        )
    wrong = [entry for entry in found if not 0.0 < entry < math.inf]
    if wrong:
        raise ProblemError(
            f"criterion has the weight {shown(wrong[0])}.",
            expected="finite weights > 0",
            fix="leave the samples of a class that should not count out of the problem.",
        )
    return found

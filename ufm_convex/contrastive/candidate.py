"""Somebody's features of a contrastive problem: all samples with their labels, no classifier."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import IntArray, frozen
from ufm_convex.candidate import float_matrix
from ufm_convex.class_counts import class_counts_from_labels, validate_labels
from ufm_convex.errors import CandidateError, ShapeError

_CHECK = 1 << 22  # entries looked at a time


@dataclass(frozen=True, eq=False, repr=False)
class ContrastiveCandidate:
    """Features with labels, to be judged. Both arguments by keyword.

    Args:
        features: (N, d), row per sample, float32 or float64, finite, any sign. Not copied: the caller does not change
            them while the candidate is in use.
        labels: Class 0 … K − 1 of each row, (N,), every class among them.

    Raises:
        ShapeError: the shapes do not fit together.
        LabelsError: the labels are not integers 0 … K − 1, or a class has no sample.
        CandidateError: the features are neither float32 nor float64, or one is NaN or infinite.

    Example:
        >>> candidate = ContrastiveCandidate(features=np.eye(3)[[0, 0, 1, 1, 2]], labels=[0, 0, 1, 1, 2])
        >>> candidate
        ContrastiveCandidate(3 classes, 5 samples, dimension 3, float64)
    """

    features: npt.NDArray[Any]
    labels: IntArray

    def __init__(self, *, features: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        F = _features(features)
        y = validate_labels(labels)
        class_counts_from_labels(y)  # raises for anything but classes 0 … K − 1
        if F.shape[0] != y.size:
            raise ShapeError(
                f"features has shape {F.shape}, but labels has {y.size} entries.",
                expected=f"(N, d) with N = {y.size}, one row per sample.",
                fix="if your features are (d, N), pass features.T."
                if F.shape[1] == y.size
                else "take features and labels of the same samples.",
            )
        view = F.view(np.ndarray)
        view.flags.writeable = False
        object.__setattr__(self, "features", view)
        object.__setattr__(self, "labels", frozen(y, dtype=np.int64))

    @property
    def num_samples(self) -> int:
        """N."""
        return int(self.labels.size)

    @property
    def feature_dim(self) -> int:
        """Dimension d."""
        return int(self.features.shape[1])

    @cached_property
    def class_counts(self) -> IntArray:
        """n_k, (K,)."""
        return frozen(np.bincount(self.labels), dtype=np.int64)

    def __repr__(self) -> str:
        return (
            f"ContrastiveCandidate({self.class_counts.size} classes, {self.num_samples} samples, "
            f"dimension {self.feature_dim}, {self.features.dtype})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and unpickle through the constructor: an array alone would lose its read-only flag."""
        return partial(type(self), features=self.features, labels=self.labels), ()


def _features(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """The features as a finite float matrix without a copy, or the error that says what is wrong with them."""
    array = float_matrix(
        "features",
        values,
        expected="(N, d), one row per sample",
        fix="flatten images of features; leave out the axis of augmented views by stacking them as samples.",
    )
    rows = max(1, _CHECK // array.shape[1])
    for start in range(0, len(array), rows):
        bad = ~np.isfinite(array[start : start + rows])
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            raise CandidateError(
                f"features[{start + row}, {column}] is {array[start + row, column]}.",
                expected="finite numbers",
                fix="training diverged, or the file is damaged; there is nothing to judge.",
            )
    return array

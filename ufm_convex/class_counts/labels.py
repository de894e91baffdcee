"""Labels: what they must be, and how many samples they give each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import IntArray
from ufm_convex.class_counts.validation import integers
from ufm_convex.errors import LabelsError

_LISTED = 10  # missing classes named in a message


def validate_labels(labels: Sequence[int] | npt.ArrayLike, *, name: str = "labels") -> IntArray:
    """The labels as a fresh int64 array of shape (N,), entries ≥ 0; gaps are not looked for.

    Args:
        labels: N ≥ 1 integers ≥ 0; a list, a tuple, or a 1-D integer array.
        name: What messages call them.

    Raises:
        LabelsError: the labels are not integers (floats are refused even when whole), empty, negative, or not
            one-dimensional.
    """
    array = integers(name, labels, LabelsError, expected="integer labels 0 … K − 1, shape (N,)")
    if array.min() < 0:
        first = int(np.argmax(array < 0))
        raise LabelsError(
            f"{name}[{first}] is {int(array[first])}.",
            expected="labels 0 … K − 1",
            fix="leave out samples without a label (often marked −1), or number the classes from 0.",
        )
    return array


def class_counts_from_labels(labels: Sequence[int] | npt.ArrayLike) -> IntArray:
    """Samples in each class, shape (K,), where K − 1 is the largest label.

    Args:
        labels: N integers 0 … K − 1, shape (N,), every class among them.

    Raises:
        LabelsError: as ``validate_labels``; also when a class below the largest has no sample, or K = 1.

    Example:
        >>> class_counts_from_labels([0, 2, 1, 0, 0])
        array([3, 1, 1])
    """
    array = validate_labels(labels)
    largest = int(array.max())
    # N labels name at most N classes: a largest label >= N leaves a gap below N, so no more need be counted
    counted = min(largest + 1, array.size)
    counts: IntArray = np.bincount(array[array < counted], minlength=counted).astype(np.int64)
    missing = np.flatnonzero(counts == 0)
    if missing.size:
        raise _gap(array, missing, largest)
    if largest == 0:
        raise LabelsError(
            "labels name one class only.",
            expected="at least two classes",
            fix="with a single class there is nothing to tell apart; check that all samples were read.",
        )
    return counts


def _gap(labels: IntArray, missing: IntArray, largest: int) -> LabelsError:
    """The error for classes without samples; ``missing`` holds the ones found below the number of samples."""
    present = np.unique(labels)
    absent = largest + 1 - present.size
    listed = ", ".join(map(str, missing[:_LISTED])) + (", …" if absent > min(missing.size, _LISTED) else "")
    if absent == 1 and present[0] == 1:
        fix = "the labels start at 1: pass labels - 1, np.asarray(labels) - 1 for a list."
    else:
        fix = "number the classes that occur: np.unique(labels, return_inverse=True)[1]."
    return LabelsError(
        f"labels run up to {largest}, but {absent} of the classes 0 … {largest} have no samples: {listed}.",
        expected="every class 0 … K − 1 at least once",
        fix=fix,
    )

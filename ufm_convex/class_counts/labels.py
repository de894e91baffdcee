"""Labels: what they must be, and how many samples they give each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import IntArray, whole
from ufm_convex.class_counts.validation import integers
from ufm_convex.errors import CountsError, LabelsError, shown

_LISTED = 10  # missing classes named in a message
_MOST_CLASSES = 10**8  # as many as certificates take


def validate_labels(
    labels: Sequence[int] | npt.ArrayLike, num_classes: int | None = None, *, name: str = "labels"
) -> IntArray:
    """The labels as a fresh int64 array of shape (N,), entries ≥ 0; gaps are not looked for.

    Args:
        labels: N ≥ 1 integers ≥ 0; a list, a tuple, or a 1-D integer array.
        num_classes: K, where it is known: labels are below it.
        name: What messages call them.

    Raises:
        LabelsError: the labels are not integers (floats are refused even when whole), empty, negative, K or more, or
            not one-dimensional.
        CountsError: ``num_classes`` is no integer from 2 to 10⁸.
    """
    known = None if num_classes is None else number_of_classes(num_classes)
    array = integers(name, labels, LabelsError, expected="integer labels 0 … K − 1, shape (N,)")
    if array.min() < 0:
        first = int(np.argmax(array < 0))
        raise LabelsError(
            f"{name}[{first}] is {int(array[first])}.",
            expected="labels 0 … K − 1",
            fix="leave out samples without a label (often marked −1), or number the classes from 0.",
        )
    if known is not None and array.max() >= known:
        first = int(np.argmax(array >= known))
        raise LabelsError(
            f"{name}[{first}] is {int(array[first])}, and there are {known} classes.",
            expected=f"labels 0 … {known - 1}",
            fix=fewer_labels(array, known),
        )
    return array


def fewer_labels(labels: IntArray, num_classes: int, otherwise: str = "") -> str:
    """What to do about labels of K or more; ``otherwise`` if it is not that they start at 1."""
    if labels.min() >= 1 and labels.max() == num_classes:
        return "the labels start at 1: pass labels - 1, np.asarray(labels) - 1 for a list."
    return otherwise or f"say that there are {int(labels.max()) + 1} classes, or mend the labels."


def number_of_classes(given: object) -> int:
    """K as an integer, or ``CountsError``, which says what is wrong with it."""
    number = whole(given)
    if number is not None and 2 <= number <= _MOST_CLASSES:
        return number
    raise CountsError(
        f"num_classes is {shown(given)}.",
        expected=f"an integer from 2 to {_MOST_CLASSES}, the number of outputs of the classifier",
        fix="leave it out if every class has samples.",
    )


def class_counts_from_labels(
    labels: Sequence[int] | npt.ArrayLike, num_classes: int | None = None, *, name: str = "labels"
) -> IntArray:
    """Samples in each class, shape (K,).

    Args:
        labels: N integers 0 … K − 1, shape (N,).
        num_classes: K, the outputs of the classifier; classes that no label names then have no samples. None for the
            largest label plus 1, and every class has to be named.
        name: What messages call the labels.

    Raises:
        LabelsError: as ``validate_labels``; a label is K or more; without ``num_classes`` also when a class below the
            largest has no sample, or K = 1.
        CountsError: ``num_classes`` is no integer from 2 to 10⁸.

    Example:
        >>> class_counts_from_labels([0, 2, 1, 0, 0])
        array([3, 1, 1])
        >>> class_counts_from_labels([0, 2, 2, 0, 0], num_classes=4)
        array([3, 0, 2, 0])
    """
    array = validate_labels(labels, num_classes, name=name)
    if num_classes is not None:
        return np.bincount(array, minlength=num_classes).astype(np.int64)
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
            fix="check that all samples were read; if the classifier has more outputs, say how many: num_classes.",
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
        if largest < _MOST_CLASSES:
            say = f"if the classifier has outputs for them, say so: num_classes={largest + 1}, or --num-classes; "
            fix = f"{say}else {fix}"
    return LabelsError(
        f"labels run up to {largest}, but {absent} of the classes 0 … {largest} have no samples: {listed}.",
        expected="every class 0 … K − 1 at least once",
        fix=fix,
    )

"""The profiles of the long-tail literature, and their notation ``name:argument=value,…``.

A profile is a function under ``@profile``: its name and its arguments are the notation, so adding one is
adding one function. Classes come in order of size, the largest first. Every profile is deterministic.
"""

# ruff: noqa: A001, A002  (`max` is the word of the notation, in files and on the command line)

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray, real, whole
from ufm_convex.class_counts.validation import MAX_SAMPLES, validate_class_counts
from ufm_convex.errors import CountsError, UnknownNameError, shown

_Profile = TypeVar("_Profile", bound=Callable[..., IntArray])
_PROFILES: dict[str, Callable[..., IntArray]] = {}

_MAX_CLASSES = 10_000_000
# A power r^x with r <= 2^53 and |x| <= 1 carries a relative error below 20 eps: 18 are |x log r| <= 37
# times the rounding of x. So a computed count this near to an integer is that integer.
_SNAP = 32.0 * float(np.finfo(np.float64).eps)


def profile(function: _Profile) -> _Profile:
    """Enter a profile under the name of its function."""
    _PROFILES[function.__name__] = function
    return function


def profile_names() -> tuple[str, ...]:
    """The names that ``counts_from_profile`` knows, sorted."""
    return tuple(sorted(_PROFILES))


@profile
def balanced(classes: int, max: int) -> IntArray:
    """Equal counts: n_k = max.

    Args:
        classes: K ≥ 2.
        max: Samples in each class, ≥ 1.

    Raises:
        CountsError: an argument is out of its range.
    """
    classes, max, _ = _checked(classes, max)
    return validate_class_counts(np.full(classes, max, dtype=np.int64))


@profile
def step(classes: int, max: int, ratio: float, fraction: float = 0.5) -> IntArray:
    """Majority classes of ``max`` samples, then minority classes of ⌊max / ratio⌋.

    There are ⌊fraction · K + ½⌋ minority classes, which for one half and K odd leaves ⌊K/2⌋ majority classes.

    Args:
        classes: K ≥ 2.
        max: Samples in a majority class, ≥ 1.
        ratio: Imbalance ratio, from 1 to ``max``.
        fraction: Share of minority classes, in (0, 1); both kinds must occur.

    Raises:
        CountsError: an argument is out of its range.

    Source: Buda, Maki and Mazurowski, Neural Networks 106 (2018), step imbalance; Cao et al., NeurIPS 2019.
    """
    classes, max, ratio = _checked(classes, max, ratio)
    minority = math.floor(real(fraction) * classes + 0.5) if 0.0 < real(fraction) < 1.0 else 0
    if not 0 < minority < classes:
        raise CountsError(
            f"fraction is {shown(fraction)} with {classes} classes.",
            expected="a number in (0, 1) that leaves at least one majority and one minority class",
            fix="use 0.5 for half of the classes, or the profile balanced.",
        )
    counts = np.full(classes, float(max))
    counts[classes - minority :] = max / ratio
    return validate_class_counts(_truncated(counts))


@profile
def exponential(classes: int, max: int, ratio: float) -> IntArray:
    """Exponential decay, the profile of CIFAR-LT: n_k = ⌊max · ratio^(−k/(K−1))⌋, k = 0 … K − 1.

    Args:
        classes: K ≥ 2.
        max: Samples in the first class, ≥ 1.
        ratio: Imbalance ratio, from 1 to ``max``; the last class has ⌊max / ratio⌋ samples.

    Raises:
        CountsError: an argument is out of its range.

    Source: Cui et al., CVPR 2019 (long-tailed CIFAR); Cao et al., NeurIPS 2019 (the truncation).

    Example:
        >>> exponential(classes=10, max=5000, ratio=100)
        array([5000, 2997, 1796, 1077,  645,  387,  232,  139,   83,   50])
    """
    classes, max, ratio = _checked(classes, max, ratio)
    return validate_class_counts(_truncated(max * ratio ** (-np.arange(classes) / (classes - 1))))


@profile
def pareto(classes: int, max: int, ratio: float, power: float = 6.0) -> IntArray:
    """Quantiles of a Pareto distribution, stretched to run from ``max`` down to ⌊max / ratio⌋.

    The upper quantiles of a Pareto distribution with tail index ``power`` at levels (k + ½)/K are, up to a
    factor, q_k = (2k + 1)^(−1/power). They are mapped affinely, with low = max / ratio:
    n_k = ⌊low + (max − low) (q_k − q_{K−1}) / (q_0 − q_{K−1})⌋.

    ImageNet-LT and Places-LT were drawn at random, with power 6 as the paper states, so no formula gives
    their very counts. For 365 classes of 4980 down to 5 samples this profile has 182,416 in all and the
    paper states 184,500; the split of Places-LT that was released decays faster and has 62,500.

    Args:
        classes: K ≥ 2.
        max: Samples in the first class, ≥ 1.
        ratio: Imbalance ratio, from 1 to ``max``.
        power: Tail index of the distribution, 0.01 to 1e6; the smaller, the faster the counts fall.

    Raises:
        CountsError: an argument is out of its range.

    Source: Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019.
    """
    classes, max, ratio = _checked(classes, max, ratio)
    if not 0.01 <= real(power) <= 1e6:
        raise CountsError(
            f"power is {shown(power)}.",
            expected="a number from 0.01 to 1e6",
            fix="use 6, the power of ImageNet-LT.",
        )
    quantiles = np.exp(-np.log1p(2.0 * np.arange(classes)) / real(power))
    low = max / ratio
    share = (quantiles - quantiles[-1]) / (1.0 - quantiles[-1])
    return validate_class_counts(_truncated(low + (max - low) * share))


def counts_from_profile(text: str) -> IntArray:
    """The class counts of a profile in its notation.

    Args:
        text: ``name:argument=value,…``, for example ``exponential:classes=10,max=5000,ratio=100``.

    Raises:
        UnknownNameError: no profile has that name.
        CountsError: an argument is unknown, missing, given twice, not a number, or out of its range.

    Example:
        >>> counts_from_profile("step:classes=4,max=500,ratio=10")
        array([500, 500,  50,  50])
    """
    if not isinstance(text, str):
        raise CountsError(
            f"the profile is {shown(text)}, a {type(text).__name__}.",
            expected="text such as exponential:classes=10,max=5000,ratio=100",
            fix="write it as one string.",
        )
    name, _, arguments = text.partition(":")
    name = name.strip()
    if name not in _PROFILES:
        raise UnknownNameError(
            f"profile {shown(name)} is not known.",
            expected="one of " + ", ".join(profile_names()),
            fix="write for example exponential:classes=10,max=5000,ratio=100.",
        )
    return _PROFILES[name](**_arguments(name, arguments))


def _arguments(name: str, text: str) -> dict[str, int | float]:
    """The arguments behind the colon, each an int where it is written as one, else a float."""
    parameters = inspect.signature(_PROFILES[name]).parameters
    found: dict[str, int | float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        key, _, value = map(str.strip, part.partition("="))
        if key not in parameters or key in found:
            raise _misused(name, f"the argument {shown(key)} {'twice' if key in found else 'that is not known'}")
        try:
            found[key] = _number(value)
        except ValueError as error:
            raise _misused(name, f"{key} = {shown(value)}, which is not a number") from error
    missing = [key for key, spec in parameters.items() if spec.default is spec.empty and key not in found]
    if missing:
        raise _misused(name, f"no value for {', '.join(missing)}")
    return found


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _misused(name: str, what: str) -> CountsError:
    return CountsError(
        f"profile {name} was given {what}.",
        expected=_notation(name),
        fix="write each argument once, as name=number, with commas between them.",
    )


def _notation(name: str) -> str:
    """How a profile is written, its optional arguments in brackets."""
    required, optional = [], []
    for key, spec in inspect.signature(_PROFILES[name]).parameters.items():
        if spec.default is spec.empty:
            required.append(f"{key}=…")
        else:
            optional.append(f"[,{key}={spec.default}]")
    return f"{name}:{','.join(required)}{''.join(optional)}"


def _checked(classes: int, max: int, ratio: float = 1.0) -> tuple[int, int, float]:
    """The arguments as plain numbers, or ``CountsError`` for the first one out of its range."""
    numbers: list[int] = []
    for name, value, low, high in (("classes", classes, 2, _MAX_CLASSES), ("max", max, 1, MAX_SAMPLES)):
        number = whole(value)
        if number is None or not low <= number <= high:
            raise CountsError(
                f"{name} is {shown(value)}.",
                expected=f"an integer from {low} to {high}",
                fix=f"{name} is {low} at least and {high} at most, written without a decimal point or exponent.",
            )
        numbers.append(number)
    classes, max = numbers
    if not 1.0 <= real(ratio) <= max:
        raise CountsError(
            f"ratio is {shown(ratio)} with max = {max}.",
            expected="a number from 1 to max: the largest count over the smallest, which is max / ratio >= 1",
            fix=_other_ratio(real(ratio), max),
        )
    return classes, max, real(ratio)


def _other_ratio(ratio: float, max: int) -> str:
    """What to write in place of a ratio outside [1, max]; below 1 it is the smallest count over the largest."""
    if 0.0 < ratio < 1.0 and 1.0 / ratio <= max:
        return f"for an imbalance factor of {ratio:g}, smallest count over largest, write ratio={1.0 / ratio:.12g}."
    if ratio > max and ratio <= MAX_SAMPLES:
        return f"lower the ratio to {max} or less, or raise max to {math.ceil(ratio)} or more."
    return "write ratio=1 for equal counts, ratio=100 for a largest class of a hundred times the smallest."


def _truncated(values: FloatArray) -> IntArray:
    """⌊values⌋, except that rounding errors do not push a whole number below itself."""
    nearest = np.rint(values)
    return np.where(np.abs(values - nearest) <= _SNAP * nearest, nearest, np.floor(values)).astype(np.int64)

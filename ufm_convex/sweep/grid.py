"""Which problems a sweep solves: the product of decays, imbalance ratios, numbers of classes and losses.

Points are numbered with the losses outermost and the decays innermost; the number of a point and its problem are all
that a worker needs, and all that a finished point is recognised by.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ufm_convex import _given
from ufm_convex._arrays import real
from ufm_convex.class_counts import counts_from_profile
from ufm_convex.errors import ProblemError, shown
from ufm_convex.losses import make
from ufm_convex.problem import Features, Problem

_LARGEST = 1_000_000
"""Points of one sweep: a table of them still fits into memory many times."""


@dataclass(frozen=True)
class Point:
    """One problem of a grid.

    Attributes:
        index: Place in the grid, from 0.
        lambda_w: Decay of the classifier.
        lambda_h: Decay of the features.
        imbalance: Largest count over smallest, as asked for.
        classes: K.
        loss: Name of the loss.
    """

    index: int
    lambda_w: float
    lambda_h: float
    imbalance: float
    classes: int
    loss: str


@dataclass(frozen=True)
class Grid:
    """The product of four lists.

    Args:
        decays: λ, used for λ_W and, times ``decay_ratio``, for λ_H; each > 0.
        imbalances: Ratios of the largest to the smallest count, each ≥ 1.
        classes: Numbers of classes K, each ≥ 2.
        losses: Names of losses, with their default parameters.
        max_count: Samples of the largest class.
        profile: A profile of ``counts_from_profile`` with the arguments classes, max and ratio.
        features: "nonnegative" or "free".
        decay_ratio: λ_H / λ_W.

    Raises:
        ProblemError: a list is empty, holds something else than numbers in range, or there are more than 10⁶ points.
        UFMError: as the profile, the loss and ``Problem`` raise it, for the first point that they refuse.
    """

    decays: Sequence[float]
    imbalances: Sequence[float]
    classes: Sequence[int] = (10,)
    losses: Sequence[str] = ("cross-entropy",)
    max_count: int = field(default=1000, kw_only=True)
    profile: str = field(default="exponential", kw_only=True)
    features: Features = field(default="nonnegative", kw_only=True)
    decay_ratio: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        for name, least in (("decays", 0.0), ("imbalances", 1.0), ("classes", 2.0)):
            given = tuple(_given.entries(name, tuple(getattr(self, name)), ProblemError, expected="a list of numbers"))
            refused = [value for value in given if not least <= real(value) < math.inf or real(value) == 0.0]
            if name == "classes":
                refused += [value for value in given if real(value) % 1.0 != 0.0]
            if refused or not given:
                raise ProblemError(
                    f"{name} has {f'the entry {shown(refused[0])}' if refused else 'no entries'}.",
                    expected=f"finite {'whole ' if name == 'classes' else ''}numbers "
                    f"{'> 0' if least == 0.0 else f'>= {least:g}'}, at least one",
                    fix="give whole numbers such as 4,10."
                    if name == "classes"
                    else "give largest counts over smallest, such as 1,10,100: a factor of 0.01 is the ratio 100."
                    if name == "imbalances" and refused and 0.0 < real(refused[0]) < 1.0
                    else "give a list such as 1,10,100, or LOW:HIGH:COUNT on the command line for equal ratios.",
                )
            object.__setattr__(self, name, tuple(int(v) if name == "classes" else float(v) for v in given))
        object.__setattr__(self, "losses", tuple(self.losses))
        for loss in self.losses:
            make(loss)
        if not self.losses or len(self) > _LARGEST:
            raise ProblemError(
                f"the grid has {len(self)} points.",
                expected=f"from 1 to {_LARGEST} points",
                fix="shorten one of the lists, or make several sweeps.",
            )
        for K, ratio in itertools.product(self.classes, self.imbalances):
            self.counts(K, ratio)
        self.problem(self[0])

    def __len__(self) -> int:
        return len(self.losses) * len(self.classes) * len(self.imbalances) * len(self.decays)

    def __getitem__(self, index: int) -> Point:
        shape = (len(self.losses), len(self.classes), len(self.imbalances), len(self.decays))
        loss, K, ratio, decay = (int(place) for place in np.unravel_index(index, shape))
        lambda_w = self.decays[decay]
        return Point(
            index, lambda_w, lambda_w * self.decay_ratio, self.imbalances[ratio], self.classes[K], self.losses[loss]
        )

    def counts(self, classes: int, imbalance: float) -> Any:
        """The class counts of a profile with these parameters, (K,)."""
        return counts_from_profile(f"{self.profile}:classes={classes},max={self.max_count},ratio={imbalance!r}")

    def problem(self, point: Point) -> Problem:
        """The problem of a point."""
        counts = self.counts(point.classes, point.imbalance)
        return Problem(counts, point.lambda_w, point.lambda_h, loss=make(point.loss), features=self.features)

    def sha256(self, **method: Any) -> str:
        """SHA-256 of the grid together with the method, by which a journal is recognised."""
        content = {**vars(self), **method}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def values_of(text: str, name: str) -> list[float]:
    """Numbers from ``1e-4,1e-3`` or from ``LOW:HIGH:COUNT``, which has equal ratios and both ends.

    Raises:
        ProblemError: the text is neither.
    """
    parts = text.split(":")
    try:
        if len(parts) == 1:
            return [float(cell) for cell in text.split(",")]
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except (ValueError, IndexError):
        low = high = count = 0
    if len(parts) != 3 or not (0.0 < low <= high < math.inf and 1 <= count <= _LARGEST):
        raise ProblemError(
            f"{name} is {shown(text)}.",
            expected="numbers with commas between them, or LOW:HIGH:COUNT with 0 < LOW <= HIGH",
            fix="for example 1e-5:1e-1:20 for twenty decays with equal ratios.",
        )
    # both ends exactly, and the same bits on every machine up to the last place of exp and log
    inner = [low * (high / low) ** (place / max(count - 1, 1)) for place in range(count)]
    return [low, *inner[1:-1], high] if count > 1 else [low]

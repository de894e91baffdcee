"""One problem over its decays: with a table of targets, or any other problem that no profile of counts makes.

Points are numbered by decay; their imbalance is the problem's own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ufm_convex import _given
from ufm_convex._arrays import real
from ufm_convex.errors import ProblemError, shown
from ufm_convex.problem import Problem, require_problem
from ufm_convex.sweep.grid import Point


@dataclass(frozen=True)
class DecayGrid:
    """A problem with each of several decays in place of its own.

    Args:
        base: The problem, with penalties; the ratio λ_H / λ_W of its decays is kept.
        decays: λ_W, each > 0.

    Raises:
        ProblemError: it is no problem, or a decay is no finite number > 0.
        HypothesisError: the problem has norm bounds in place of penalties.
    """

    base: Problem
    decays: Sequence[float]

    def __post_init__(self) -> None:
        require_problem(self.base, "a sweep over decays")
        self.base.require_decays("a sweep over decays")
        given = _given.entries("decays", tuple(self.decays), ProblemError, expected="a list of numbers")
        wrong = [value for value in given if not 0.0 < real(value) < math.inf]
        if wrong or not given:
            raise ProblemError(
                f"decays has {f'the entry {shown(wrong[0])}' if wrong else 'no entries'}.",
                expected="finite numbers > 0, at least one",
                fix="give a list such as 1e-4,1e-3, or LOW:HIGH:COUNT on the command line for equal ratios.",
            )
        object.__setattr__(self, "decays", tuple(map(float, given)))

    @property
    def profile(self) -> str:
        """What stands in the place of a profile's name."""
        return "fixed"

    def __len__(self) -> int:
        return len(self.decays)

    def __getitem__(self, index: int) -> Point:
        base, there = self.base, self.base.class_counts[self.base.class_counts > 0]
        lambda_w = self.decays[index]
        lambda_h = lambda_w * (base.lambda_h / base.lambda_w)
        return Point(index, lambda_w, lambda_h, float(there.max() / there.min()), base.num_classes, base.loss.name)

    def problem(self, point: Point) -> Problem:
        """The problem of a point."""
        (counts, *_), rest = self.base.arguments()
        return Problem(counts, point.lambda_w, point.lambda_h, **rest)

    def sha256(self, **method: Any) -> str:
        """SHA-256 of the grid together with the method, by which a journal is recognised."""
        content = {"base": self.base.sha256, "decays": self.decays, **method}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

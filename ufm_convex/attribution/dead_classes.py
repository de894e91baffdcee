"""Dead classes: active in theory, without a feature in the candidate. They are how descent gets stuck.

With h̄_k = 0 the logits of class k are equal, and its calibration is pt_k [log K − Ent(p_k*)]: what the class pays
without a feature, minus its term pt_k Ent(p_k*) of f* = Σ_k pt_k Ent(p_k*). A candidate that is otherwise
optimal has these costs as its whole gap. Where no coordinate is left unused, as at d = K, that is a spurious local
minimum; along an unused coordinate the objective goes down, and the candidate is a saddle point (docs/dead_classes.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray

NEGLIGIBLE = 1e-3
"""Share of the optimal feature norm and of the optimal margin up to which a class is dead: descent that has stopped is
far below, and no class that has started to separate is."""

_WHOLE = 0.99
"""Share of the gap from which dead classes are said to be all of it."""
_LISTED = 6


class Alive(Protocol):
    """What of an optimum tells whether a class is alive: a closed form, or what a solution says."""

    @property
    def feature_norms(self) -> FloatArray:
        """‖h_k‖, (K,)."""

    @property
    def margins(self) -> FloatArray:
        """Size of the logit differences of each class mean, (K,)."""

    @property
    def collapsed(self) -> BoolArray:
        """Which classes have no feature, (K,)."""


@dataclass(frozen=True)
class DeadClass:
    """A class that the optimum separates and the candidate does not.

    Attributes:
        index: The class, from 0.
        cost: Its calibration, pt_k log K − pt_k Ent(p_k*): what is gained once it has a feature.
    """

    index: int
    cost: float


def find_dead_classes(
    optimum: Alive, means: FloatArray, ranges: FloatArray, calibration: FloatArray
) -> tuple[DeadClass, ...]:
    """The active classes whose feature and whose logit differences are negligible, the costliest first.

    Args:
        optimum: The optimum.
        means: Class means, (K, d).
        ranges: Largest minus least logit of each class mean, without the bias, (K,).
        calibration: Calibration by class, (K,).
    """
    lengths = np.linalg.norm(means, axis=1)
    absent = (lengths <= NEGLIGIBLE * optimum.feature_norms) & (ranges <= NEGLIGIBLE * optimum.margins)
    found = np.flatnonzero(absent & ~optimum.collapsed)
    order = found[np.argsort(-calibration[found], kind="stable")]
    return tuple(DeadClass(k, float(calibration[k])) for k in order.tolist())


def has_spare_coordinate(weights: FloatArray, means: FloatArray) -> bool:
    """Whether a feature coordinate is used neither by W (K, d) nor by the class means (K, d)."""
    unused = np.ones(weights.shape[1], dtype=bool)
    for matrix in (weights, means):
        sizes = np.abs(matrix).max(axis=0)
        unused &= sizes <= NEGLIGIBLE * sizes.max()
    return bool(unused.any())


def diagnosis(dead: Sequence[DeadClass], gap: float, num_classes: int, feature_dim: int, spare: bool) -> str | None:
    """What to tell somebody whose candidate has dead classes; None where it has none.

    Args:
        dead: The dead classes.
        gap: The candidate's gap.
        num_classes: K.
        feature_dim: d of the candidate.
        spare: Whether a coordinate is unused.
    """
    if not dead:
        return None
    share = min(sum(one.cost for one in dead) / gap, 1.0) if gap > 0.0 else 1.0
    names, costs = _listed([str(one.index) for one in dead]), _listed([f"{one.cost:.3g}" for one in dead])
    if len(dead) == 1:
        found = f"class {names} is dead: its features and logit margin are zero, at a cost of {costs}"
    else:
        found = f"classes {names} are dead: their features and logit margins are zero, at a cost of {costs} each"
    found += f" ({100.0 * share:.1f} % of the gap)"
    if share < _WHOLE:
        return f"{found}; the rest lies in its other parts."
    if spare:
        return f"{found}; a feature coordinate is unused, so this is a saddle point: perturb the features and train on."
    if feature_dim > num_classes:
        return f"{found}, as in a spurious local minimum: restart from elsewhere, or with d > {feature_dim}."
    return f"{found}, as in a spurious local minimum: restart with d > K = {num_classes}, say d = {20 * num_classes}."


def _listed(words: Sequence[str]) -> str:
    """The words in a row, "and" before the last; of many the first few."""
    if len(words) > _LISTED:
        return ", ".join(words[:_LISTED]) + f" and {len(words) - _LISTED} more"
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]

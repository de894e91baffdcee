"""Phase diagram of collapse: the share of collapsed classes over weight decay and imbalance, by the exact rule.

Class counts decay exponentially from the largest of the problem, n_k = ⌊n_1 r^(−k/(K−1))⌋ with imbalance ratio r; the
rule depends on the decays through λ = √(λ_W λ_H) alone. A class collapses iff n_k ≤ N² λ² K / ((K−1)(1−α)²), compared
in exact arithmetic (docs/theorem.md, equation 2; docs/theorem_extensions.md, equation 21); the two lines are where the
first and the last class do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.class_counts import counts_from_profile
from ufm_convex.errors import CountsError, HypothesisError
from ufm_convex.losses import Loss
from ufm_convex.plots.base import Plot, Source, Subject
from ufm_convex.plots.style import BLACK, ONE_SIGN, ORANGE, VERMILLION, log_axes, log_cells, new_figure
from ufm_convex.problem import Problem
from ufm_convex.theory import collapse_size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATIOS, _DECAYS = 49, 97
_HEIGHT, _SHARES = 2.9, (0.6, 0.6)
"""Inches, and about how much of the figure's width and height is axis."""
_BEYOND = 3.0
"""How far the abscissa runs beyond the two lines and the problem, as a factor."""


@dataclass(frozen=True, eq=False)
class Phases:
    """The numbers of the diagram.

    Attributes:
        ratios: Imbalance ratios, (R,).
        decays: λ = √(λ_W λ_H), (D,).
        share: Share of collapsed classes, (R, D).
        first: λ at which the smallest class collapses, (R,).
        last: λ at which the largest class collapses, (R,).
    """

    ratios: FloatArray
    decays: FloatArray
    share: FloatArray
    first: FloatArray
    last: FloatArray


class PhasePlot(Plot):
    """One panel: colour for the share, lines for its ends, a star for the problem itself."""

    name: ClassVar[str] = "phase"
    source: ClassVar[Source] = Source.PROBLEM

    def draw(self, subject: Subject, width: float) -> Figure:
        """Raises ``HypothesisError`` unless the loss is cross-entropy without class weights and features are ≥ 0."""
        problem = subject.problem
        found = phases(problem)
        figure = new_figure(width, _HEIGHT)
        ax = figure.subplots()
        edges = log_cells(found.decays), log_cells(found.ratios)
        mesh = ax.pcolormesh(*edges, 100.0 * found.share, cmap=ONE_SIGN, vmin=0.0, vmax=100.0, rasterized=True)
        ax.plot(found.first, found.ratios, color=ORANGE, linewidth=1.4, label="first class collapses")
        ax.plot(found.last, found.ratios, color=VERMILLION, linewidth=1.4, linestyle="--", label="all classes collapse")
        ax.plot(
            *_place(problem), marker="*", markersize=9.0, linestyle="none", color="white", markeredgecolor=BLACK,
            markeredgewidth=0.7, label="this problem", clip_on=False, zorder=4,
        )  # fmt: skip
        log_axes(ax, *edges, _SHARES[0] * width, _SHARES[1] * _HEIGHT)
        ax.set_xlabel(r"weight decay $\lambda = \sqrt{\lambda_W \lambda_H}$")
        ax.set_ylabel("imbalance ratio $n_1 / n_K$")
        figure.colorbar(mesh, ax=ax, aspect=18).set_label("collapsed classes (%)")
        figure.legend(loc="outside lower center", ncols=2, columnspacing=1.2, handlelength=1.6)
        figure.suptitle(
            f"collapse, exponential profile:\n{problem.num_classes:,} classes, $n_1$ = {_largest(problem):,}"
        )
        return figure


def phases(problem: Problem) -> Phases:
    """The diagram for exponential profiles with the problem's K, largest count and smoothing.

    Raises:
        CountsError: every class has one sample, or some class none.
        HypothesisError: another loss, class weights, or free features: the rule is another one.
    """
    _check(problem)
    ratios = np.geomspace(1.0, _top(problem), _RATIOS)
    lines = cast("Boundary", boundary("exponential", problem.num_classes, _largest(problem), ratios, problem.loss))
    first, last = lines.first, lines.last
    own = _place(problem)[0]
    decays = np.geomspace(min(first.min(), own) / _BEYOND, max(last.max(), own) * _BEYOND, _DECAYS)
    # n ≤ θ iff n ≤ ⌊θ⌋ for an integer n: the comparison is exact
    floors = [[math.floor(unit * Fraction(decay) ** 2) for decay in decays.tolist()] for unit in lines.units]
    share = np.array([
        [np.searchsorted(counts, min(floor, int(counts[-1])), side="right") for floor in row]
        for counts, row in zip(lines.counts, floors, strict=True)
    ])  # fmt: skip
    return Phases(ratios, decays, share / problem.num_classes, first, last)


@dataclass(frozen=True, eq=False)
class Boundary:
    """Where classes collapse, for each imbalance ratio.

    Attributes:
        counts: Class counts in ascending order, one array (K,) a ratio.
        units: n_c / λ² with λ² = λ_W λ_H, exactly, one a ratio.
        first: λ at which the smallest class collapses, (R,).
        last: λ at which the largest class collapses, and with it every one, (R,).
    """

    counts: list[IntArray]
    units: list[Fraction]
    first: FloatArray
    last: FloatArray


def boundary(profile: str, num_classes: int, largest: int, ratios: FloatArray, loss: Loss) -> Boundary | None:
    """The two lines of every phase diagram, at whatever ratios: n_min = n_c(λ) and n_max = n_c(λ).

    Args:
        profile: Name of a profile of class counts that takes classes, max and ratio.
        num_classes: K.
        largest: n_1, the largest count.
        ratios: Imbalance ratios, each from 1 to n_1, (R,).
        loss: The loss; features are non-negative.

    Returns:
        None where no theorem has one threshold for all classes.
    """
    counts, units = [], []
    for ratio in ratios.tolist():
        text = f"{profile}:classes={num_classes},max={largest},ratio={ratio!r}"
        like = Problem(counts_from_profile(text), 1.0, 1.0, loss=loss)
        unit = collapse_size(like)
        if unit is None:
            return None
        counts.append(np.sort(like.class_counts))
        units.append(unit)
    ends = [np.array([_decay(int(n[end]), unit) for n, unit in zip(counts, units, strict=True)]) for end in (0, -1)]
    return Boundary(counts, units, *ends)


def _check(problem: Problem) -> None:
    problem.require_plain("the phase diagram")
    loss = problem.loss
    if _largest(problem) == 1:
        raise CountsError(
            "every class has one sample, so there is no imbalance to draw.",
            expected="a class of at least 2 samples",
            fix="use the figure norms.",
        )
    if problem.empty_classes:
        raise CountsError(
            f"class {problem.empty_classes[0]} has no samples, so the imbalance ratio is infinite.",
            expected="samples in each class",
            fix="use the figure norms.",
        )
    weights = loss.weights(problem.num_classes)
    if loss.softmax_share is not None and (weights == 1.0).all() and problem.nonnegative:
        return
    weighted = " with class weights" if (weights != 1.0).any() else ""
    raise HypothesisError(
        f"the loss is {loss.name}{weighted} and features are {problem.features}.",
        expected="cross-entropy without class weights, and non-negative features: then one rule says what collapses",
        fix=f"{'leave the class weights out, or ' if weighted else ''}use the figure norms.",
    )


def _largest(problem: Problem) -> int:
    return int(problem.class_counts.max())


def _top(problem: Problem) -> float:
    """The largest ratio: a thousand, or what the problem itself has if that is more; never beyond n_1 to 1."""
    own = _largest(problem) / int(problem.class_counts.min())
    return float(min(max(1000.0, own), _largest(problem)))


def _decay(count: int, unit: Fraction) -> float:
    """λ at which a class of ``count`` samples collapses: count = unit λ²."""
    return math.sqrt(count / unit)


def _place(problem: Problem) -> tuple[float, float]:
    """λ and imbalance ratio of the problem itself."""
    decay = math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h)
    return decay, _largest(problem) / int(problem.class_counts.min())

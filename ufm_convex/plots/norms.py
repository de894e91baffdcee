"""Feature norm, classifier norm and margin against class count, with the collapse threshold n_c.

Classes that enter the problem alike are one marker, their mean: a million classes cost as many markers as there are
distinct counts. With class weights the abscissa is ω_k² n_k, by which classes collapse (docs/theorem.md, equation 21),
so that there is one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray
from ufm_convex.plots.base import Geometry, Plot, Source, Subject
from ufm_convex.plots.style import BLUE, ORANGE, VERMILLION, new_figure
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {
    "feature_norms": r"feature norm $\|\bar h_k\|$",
    "weight_norms": r"classifier norm $\|w_k\|$",
    "margins": "margin",
}
_BAND = 60  # markers beyond which they merge into a band, and the line is drawn on top
_MANY = 5_000  # markers beyond which a vector file holds a picture of them instead


@dataclass(frozen=True, eq=False)
class _Groups:
    """Classes of one count and weight.

    Attributes:
        size: ω_k² n_k of each group in ascending order, (G,).
        group: Group of each class, (K,).
        classes: Number of classes of each group, (G,).
    """

    size: FloatArray
    group: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, problem: Problem) -> _Groups:
        weights = problem.loss.weights(problem.num_classes)
        size, group, classes = np.unique(weights**2 * problem.class_counts, return_inverse=True, return_counts=True)
        return cls(size, group.ravel(), classes)

    def means(self, values: FloatArray) -> FloatArray:
        """The mean of each group, (G,)."""
        return np.bincount(self.group, values, minlength=self.size.size) / self.classes


class NormsPlot(Plot):
    """Three panels over one abscissa."""

    name: ClassVar[str] = "norms"
    source: ClassVar[Source] = Source.GEOMETRY

    def draw(self, subject: Subject, width: float) -> Figure:
        """Markers for the solution or candidate, a line for theory, a dashed line at the threshold."""
        problem = subject.problem
        groups = _Groups.of(problem)
        optimum = subject.optimum if isinstance(subject.optimum, theory.FrameOptimum) else None
        figure = new_figure(width, min(4.2, 1.25 * width))
        axes = figure.subplots(3, 1, sharex=True)
        for ax, (name, label) in zip(axes, _PANELS.items(), strict=True):
            _panel(ax, groups, subject, optimum, name)
            ax.set_ylabel(label)
        weighted = bool((problem.loss.weights(problem.num_classes) != 1.0).any())
        axes[-1].set_xlabel(r"weighted class count $\omega_k^2 n_k$" if weighted else "samples in the class $n_k$")
        threshold = None if optimum is None else _threshold(optimum, problem)
        drawn = _abscissa(axes, groups.size, threshold)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.2)
        beyond = "" if drawn or threshold is None else f"\n$n_c$ = {threshold:.4g}, off the axis"
        figure.suptitle(f"{problem.num_classes:,} classes, {problem.num_samples:,} samples{beyond}")
        return figure


def _panel(ax: Axes, groups: _Groups, subject: Subject, optimum: theory.FrameOptimum | None, name: str) -> None:
    geometry: Geometry = subject.geometry
    dense = groups.size.size > _BAND
    if optimum is not None:
        size, values = _curve(groups, optimum, subject.problem, groups.means(getattr(optimum, name)))
        ax.plot(size, values, color=ORANGE, label="theory", zorder=4 if dense else 1)
    ax.plot(
        groups.size,
        groups.means(getattr(geometry, name)),
        linestyle="none",
        marker="o",
        color=BLUE,
        markerfacecolor="none",
        label=subject.label,
        rasterized=groups.size.size > _MANY,
        zorder=3,
    )


def _curve(
    groups: _Groups, optimum: theory.FrameOptimum, problem: Problem, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Theory's values with a corner at n_c: up to there all classes have those of the smallest."""
    threshold = _threshold(optimum, problem)
    if not groups.size[0] < threshold < groups.size[-1]:
        return groups.size, values
    place = int(np.searchsorted(groups.size, threshold))
    return np.insert(groups.size, place, threshold), np.insert(values, place, values[0])


def _threshold(optimum: theory.FrameOptimum, problem: Problem) -> float:
    """n_c, the ω_k² n_k at and below which classes collapse."""
    threshold, weights = optimum.collapse_threshold, problem.loss.weights(problem.num_classes)
    return float(np.ravel(threshold)[0] * weights[0] ** 2)


def _abscissa(axes: Any, size: FloatArray, threshold: float | None) -> bool:
    """Logarithmic, wide enough for all classes and, if it is within a factor of ten, the threshold: whether it is."""
    low, high = float(size[0]), float(size[-1])
    visible = threshold is not None and low / 10.0 <= threshold <= 10.0 * high
    if visible and threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xlim(low / 1.3, high * 1.3)
        ax.margins(y=0.12)
        if visible and threshold is not None:
            ax.axvline(threshold, color=VERMILLION, linestyle="--", label=f"$n_c$ = {threshold:.4g}", zorder=2)
    return visible

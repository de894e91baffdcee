"""Feature norm, classifier norm and margin against class count, with the collapse threshold n_c.

Classes that enter the problem alike are one marker, their mean: a million classes cost as many markers as there are
distinct counts. With class weights the abscissa is ω_k² n_k, by which classes collapse (docs/theorem_extensions.md,
equation 21), so that there is one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ufm_convex import theory
from ufm_convex._arrays import FloatArray
from ufm_convex.plots.base import Geometry, Plot, Source, Subject
from ufm_convex.plots.style import BLUE, ORANGE, VERMILLION, log_axis, new_figure
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
_POINTS = 400
"""Places at which theory's curve is computed."""
_NEAR, _MARGIN, _LEAST_SPAN = 10.0, 1.3, 4.0
"""Factors: how far off all counts a threshold is drawn, what is left at either end, how wide the axis is at least."""
_SHARE = 0.74
"""About how much of the figure's width is axis."""
_MANY = 5_000  # markers beyond which a vector file holds a picture of them instead


@dataclass(frozen=True, eq=False)
class _Groups:
    """Classes of one count and weight; those without samples have no place on an axis of logarithms.

    Attributes:
        size: ω_k² n_k of each group in ascending order, (G,).
        there: The m classes with samples, (m,).
        group: Group of each of them, (m,).
        classes: Number of classes of each group, (G,).
    """

    size: FloatArray
    there: np.ndarray
    group: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, problem: Problem) -> _Groups:
        """Classes with samples, those of one count and weight together."""
        there = np.flatnonzero(problem.class_counts)
        sizes = (problem.loss.weights(problem.num_classes) ** 2 * problem.class_counts)[there]
        size, group, classes = np.unique(sizes, return_inverse=True, return_counts=True)
        return cls(size, there, group.ravel(), classes)

    def means(self, values: FloatArray) -> FloatArray:
        """The mean of each group, (G,)."""
        return np.bincount(self.group, values[self.there], minlength=self.size.size) / self.classes


class NormsPlot(Plot):
    """Three panels over one abscissa."""

    name: ClassVar[str] = "norms"
    source: ClassVar[Source] = Source.GEOMETRY

    def draw(self, subject: Subject, width: float) -> Figure:
        """Markers for the solution or candidate, a line for theory, a dashed line at the threshold."""
        problem = subject.problem
        problem.require_classes("this figure")
        groups = _Groups.of(problem)
        optimum = subject.optimum if isinstance(subject.optimum, theory.FrameOptimum) else None
        threshold = None if optimum is None else theory.threshold_size(problem, optimum)
        low, high = _limits(groups.size, threshold)
        figure = new_figure(width, min(4.2, 1.25 * width))
        axes = figure.subplots(3, 1, sharex=True)
        for ax, (name, label) in zip(axes, _PANELS.items(), strict=True):
            ax.set_xscale("log")
            ax.set_xlim(low, high)
            ax.margins(y=0.12)
            if optimum is not None:
                _theory(ax, groups, problem, optimum, name)
            _markers(ax, groups, subject, name)
            ax.set_ylabel(label)
        log_axis(axes[-1].xaxis, low, high, _SHARE * width)
        weighted = bool((problem.loss.weights(problem.num_classes) != 1.0).any())
        axes[-1].set_xlabel(r"weighted class count $\omega_k^2 n_k$" if weighted else "samples in the class $n_k$")
        drawn = _mark_threshold(axes, threshold)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.2)
        beyond = "" if drawn or threshold is None else f"\n$n_c$ = {threshold:.4g}, off the axis"
        empty = len(problem.empty_classes)
        beyond = (f"\n{empty:,} without samples, not shown" if empty else "") + beyond
        figure.suptitle(f"{problem.num_classes:,} classes, {problem.num_samples:,} samples{beyond}")
        return figure


def _markers(ax: Axes, groups: _Groups, subject: Subject, name: str) -> None:
    geometry: Geometry = subject.geometry
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


def _theory(ax: Axes, groups: _Groups, problem: Problem, optimum: theory.FrameOptimum, name: str) -> None:
    """Theory's curve over the whole axis; norms of classes with several weights are no function of the abscissa.

    Those are marked where the classes are, and nowhere else.
    """
    weights = problem.loss.weights(problem.num_classes)
    dense = groups.size.size > _BAND
    style: dict[str, Any] = {"color": ORANGE, "label": "theory", "zorder": 4 if dense else 1}
    if name != "margins" and (weights != weights[0]).any():
        ax.plot(
            groups.size, groups.means(getattr(optimum, name)), linestyle="none", marker="_", markersize=9.0, **style
        )
        return
    threshold = theory.threshold_size(problem, optimum)
    low, high = ax.get_xlim()
    sizes = np.geomspace(low, high, _POINTS)
    corner = [threshold] if low < threshold < high else []  # up to there all classes are alike
    sizes = np.unique(np.concatenate([sizes[1:-1], [low, high], corner]))
    ax.plot(sizes, getattr(theory.frame_curve(problem, optimum, sizes, float(weights[0])), name), **style)


def _limits(size: FloatArray, threshold: float | None) -> tuple[float, float]:
    """Wide enough for all classes, the threshold if it is within a factor of ten, and a curve to be seen."""
    low, high = float(size[0]), float(size[-1])
    if threshold is not None and low / _NEAR <= threshold <= _NEAR * high:
        low, high = min(low, threshold), max(high, threshold)
    missing = max(_MARGIN, np.sqrt(_LEAST_SPAN / (high / low)))
    return float(low / missing), float(high * missing)


def _mark_threshold(axes: Any, threshold: float | None) -> bool:
    """A dashed line at the threshold where the axis has it: whether it has."""
    low, high = axes[0].get_xlim()
    if threshold is None or not low < threshold < high:
        return False
    for ax in axes:
        ax.axvline(threshold, color=VERMILLION, linestyle="--", label=f"$n_c$ = {threshold:.4g}", zorder=2)
    return True

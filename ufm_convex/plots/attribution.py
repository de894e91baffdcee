"""Bars of the parts of a candidate's gap: how much of f(W, H) − f* each of its parts is.

Source: docs/attribution.md. The parts are ≥ 0 and sum to the gap, so the shares are those of a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ufm_convex.attribution import GapAttribution, attribute_gap
from ufm_convex.errors import ProblemError
from ufm_convex.plots.base import Plot, Source, Subject
from ufm_convex.plots.style import BLUE, VERMILLION, new_figure
from ufm_convex.relaxation import require_dense

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COSTLIEST = 8
"""Classes in the lower panel."""


class AttributionPlot(Plot):
    """Two panels: the parts of the gap, and the classes that contribute most."""

    name: ClassVar[str] = "attribution"
    source: ClassVar[Source] = Source.CANDIDATE

    def check_size(self, num_classes: int) -> None:
        """At most 20,000 classes, as pairs of classes are K × K numbers."""
        require_dense(num_classes, "the overlap of all pairs of classes", "the figure norms")

    def draw(self, subject: Subject, width: float) -> Figure:
        """Raises as ``attribute_gap``, ``CandidateError`` for negative features."""
        if subject.candidate is None:
            raise ProblemError("no candidate is given.", expected="a candidate", fix="pass candidate=….")
        found = attribute_gap(subject.problem, subject.candidate, solution=subject.solution)
        figure = new_figure(width, 4.0)
        parts, classes = figure.subplots(
            2, 1, sharex=True, height_ratios=[len(found.totals), min(_COSTLIEST, subject.problem.num_classes)]
        )
        _parts(parts, found)
        _classes(classes, found, "class" if subject.problem.paired else "column")
        largest = max(*found.totals.values(), *found.by_class.tolist())
        for ax in (parts, classes):
            _finish(ax, largest)
        figure.suptitle(
            f"gap $f(W, H) - f^*$ = {found.gap:.4g} nats\n"
            f"{_relative(found)} above the optimum $f^*$ = {found.optimum:.4g}"
        )
        return figure


def _relative(found: GapAttribution) -> str:
    return f"{100.0 * found.gap / found.optimum:.3g} %" if found.optimum > 0.0 else "not comparable:"


def _parts(ax: Axes, found: GapAttribution) -> None:
    names, totals, shares = list(found.totals), list(found.totals.values()), found.shares
    bars = ax.barh([name.replace("_", " ") for name in names], totals, color=BLUE, height=0.7)
    ax.bar_label(bars, [f"{100.0 * shares[name]:.1f} %" for name in names], padding=2.0, fontsize=7.0)
    ax.set_title("by part")


def _classes(ax: Axes, found: GapAttribution, noun: str) -> None:
    """The classes that contribute most; each bears half of a pair, nobody the classifier mean."""
    order = (-found.by_class).argsort(kind="stable")[:_COSTLIEST]
    values = found.by_class[order].tolist()
    bars = ax.barh([f"{noun} {k}" for k in order.tolist()], values, color=VERMILLION, height=0.7)
    gap = found.gap
    ax.bar_label(bars, [f"{100.0 * value / gap if gap else 0.0:.1f} %" for value in values], padding=2.0, fontsize=7.0)
    ax.set_title(f"by {noun}, the costliest first" if found.by_class.size > order.size else f"by {noun}")
    ax.set_xlabel("contribution to the gap (nats)")


def _finish(ax: Axes, largest: float) -> None:
    """The first bar on top, room for the shares, exponents where they are needed."""
    ax.invert_yaxis()
    ax.set_xlim(0.0, 1.25 * largest if largest > 0.0 else 1.0)
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3), useMathText=True)
    ax.locator_params(axis="x", nbins=5)
    ax.tick_params(axis="y", length=0.0)

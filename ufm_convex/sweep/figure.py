"""The phase diagram of a sweep: what collapsed in the solutions, and where the theorem draws the line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import ProblemError
from ufm_convex.losses import make
from ufm_convex.plots import boundary, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS, _FINE = 6, 97
_SHARE, _AXIS = 0.6, 1.0
"""About how much of the width is axis, and how many inches of a panel's height."""


def phase_diagram(rows: Sequence[dict[str, Any]], *, width: str = "column") -> Figure:
    """One panel for each loss and number of classes: share of collapsed classes over decay and imbalance.

    Lines are where the theorem has the first and the last class collapse, exactly, wherever the loss has one threshold.

    Args:
        rows: The rows of ``sweep``. A cross marks points where the solution and the theorem disagree; a point without
            a solution stays white.
        width: "column" or "page".

    Raises:
        MissingExtraError: matplotlib is not installed.
        ProblemError: there are no rows, or more than six panels.
    """
    panels = sorted({(row["loss"], row["classes"]) for row in rows})
    check_panels(len(panels))
    inches = style.width_in_inches(width)
    with style.styled():
        figure = style.new_figure(inches, 0.65 + 1.9 * len(panels))
        for ax, (loss, classes) in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
            chosen = [row for row in rows if (row["loss"], row["classes"]) == (loss, classes)]
            mesh = _panel(ax, chosen, inches)
            ax.set_title(f"{loss}, K = {classes:,}")
            figure.colorbar(mesh, ax=ax, aspect=14).set_label("collapsed classes (%)")
        lines = [line for ax in figure.axes for line in ax.lines if not str(line.get_label()).startswith("_")]
        if lines:
            figure.legend(handles=lines[:2], loc="outside lower center", ncols=2, columnspacing=1.2, handlelength=1.6)
    return figure


def check_panels(count: int) -> None:
    """Raise ``ProblemError`` unless so many panels fit a figure, ``MissingExtraError`` without matplotlib."""
    style.require()
    if not 1 <= count <= _PANELS:
        raise ProblemError(
            f"the rows make {count} panels.",
            expected=f"from 1 to {_PANELS} pairs of a loss and a number of classes",
            fix="draw the rows of one loss or of fewer numbers of classes.",
        )


def _panel(ax: Axes, rows: Sequence[dict[str, Any]], width: float) -> Any:
    decays, ratios = (np.unique([row[name] for row in rows]) for name in ("lambda_w", "imbalance"))
    share = _table(rows, decays, ratios, "collapsed")
    theory = _table(rows, decays, ratios, "theory_collapsed")
    edges = style.log_cells(decays), style.log_cells(ratios)
    mesh = ax.pcolormesh(*edges, share, cmap=style.ONE_SIGN, vmin=0.0, vmax=100.0, rasterized=True)
    place = np.argwhere(np.isfinite(theory) & np.isfinite(share) & (theory != share))
    ax.plot(decays[place[:, 1]], ratios[place[:, 0]], linestyle="none", marker="x", color=style.PURPLE)
    _boundary(ax, rows[0], ratios)
    style.log_axes(ax, *edges, _SHARE * width, _AXIS)
    ax.set_xlabel(r"weight decay $\lambda_W$")
    ax.set_ylabel(r"imbalance $n_1 / n_K$")
    return mesh


def _boundary(ax: Axes, row: dict[str, Any], ratios: FloatArray) -> None:
    """The theorem's exact lines, at the ratios of the grid and between them.

    λ_W and λ_H of a sweep are in one proportion, so λ = √(λ_W λ_H) is λ_W times its root.
    """
    fine = np.unique(np.concatenate([ratios, np.geomspace(ratios[0], ratios[-1], _FINE)[1:-1]]))
    lines = boundary(row["profile"], row["classes"], row["largest_count"], fine, make(row["loss"]))
    if lines is None:
        return
    proportion = math.sqrt(row["lambda_h"] / row["lambda_w"])
    ends = (
        (lines.first, style.ORANGE, "-", "first class collapses"),
        (lines.last, style.VERMILLION, "--", "all classes collapse"),
    )
    for line, color, dashes, label in ends:
        ax.plot(
            line / proportion, fine, color=color, linestyle=dashes, marker="|" if fine.size == 1 else "", label=label
        )


def _table(rows: Sequence[dict[str, Any]], decays: FloatArray, ratios: FloatArray, name: str) -> FloatArray:
    """Share of classes in per cent, (R, D); NaN where there is none."""
    table = np.full((ratios.size, decays.size), np.nan)
    for row in rows:
        if row[name] is not None:
            place = np.searchsorted(ratios, row["imbalance"]), np.searchsorted(decays, row["lambda_w"])
            table[place] = 100.0 * row[name] / row["classes"]
    return table

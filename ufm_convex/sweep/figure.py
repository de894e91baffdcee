"""The phase diagram of a sweep: what collapsed in the solutions, and where the theorem draws the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import ProblemError
from ufm_convex.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 6


def phase_diagram(rows: Sequence[dict[str, Any]], *, width: str = "column") -> Figure:
    """One panel for each loss and number of classes: share of collapsed classes over decay and imbalance.

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
        figure = style.new_figure(inches, 0.4 + 1.9 * len(panels))
        for ax, (loss, classes) in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
            chosen = [row for row in rows if (row["loss"], row["classes"]) == (loss, classes)]
            mesh = _panel(ax, chosen)
            ax.set_title(f"{loss}, K = {classes:,}")
            figure.colorbar(mesh, ax=ax, aspect=14).set_label("collapsed classes (%)")
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


def _panel(ax: Axes, rows: Sequence[dict[str, Any]]) -> Any:
    decays, ratios = (np.unique([row[name] for row in rows]) for name in ("lambda_w", "imbalance"))
    share = _table(rows, decays, ratios, "collapsed")
    theory = _table(rows, decays, ratios, "theory_collapsed")
    mesh = ax.pcolormesh(
        decays, ratios, share, cmap=style.ONE_SIGN, vmin=0.0, vmax=100.0, shading="nearest", rasterized=True
    )
    if min(share.shape) > 1 and np.isfinite(theory).all():
        half = 50.0 / rows[0]["classes"]  # between "none" and "one class", between "all but one" and "all"
        lines = [level for level in (half, 100.0 - half) if theory.min() < level < theory.max()]
        if lines:
            ax.contour(decays, ratios, theory, levels=lines, colors=[style.ORANGE, style.VERMILLION][: len(lines)])
    place = np.argwhere(np.isfinite(theory) & np.isfinite(share) & (theory != share))
    ax.plot(decays[place[:, 1]], ratios[place[:, 0]], linestyle="none", marker="x", color=style.PURPLE)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(r"weight decay $\lambda_W$")
    ax.set_ylabel(r"imbalance $n_1 / n_K$")
    return mesh


def _table(rows: Sequence[dict[str, Any]], decays: FloatArray, ratios: FloatArray, name: str) -> FloatArray:
    """Share of classes in per cent, (R, D); NaN where there is none."""
    table = np.full((ratios.size, decays.size), np.nan)
    for row in rows:
        if row[name] is not None:
            place = np.searchsorted(ratios, row["imbalance"]), np.searchsorted(decays, row["lambda_w"])
            table[place] = 100.0 * row[name] / row["classes"]
    return table

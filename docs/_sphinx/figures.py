"""Figures of the gallery: every new ``matplotlib.figure.Figure`` among the variables of an example.

``ufm_convex.plots`` makes figures that pyplot, with its state and its windows, knows nothing of; so do the examples.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that this block of code has made, as SVG, and show them below it."""
    paths, number = [], block_vars["image_path_iterator"]
    for figure in block_vars["example_globals"].values():
        if isinstance(figure, Figure) and not getattr(figure, "is_shown", False):
            path = next(number)
            figure.savefig(path, dpi=200)
            figure.is_shown = True
            paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])

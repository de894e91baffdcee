"""How every figure looks, and how it is written: column width, fonts of 7 pt and more, colour-blind safe colours.

Colours are those of Okabe and Ito (Color Universal Design, 2008); matrices of one sign use cividis (Nuñez, Anderton,
Renslow, PLoS ONE 13, 2018), matrices of both signs the diverging PuOr of ColorBrewer. Widths are those of journals:
84 mm for a column and 174 mm for a page.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufm_convex._files import write_atomically
from ufm_convex.errors import FileFormatError, MissingExtraError, UnknownNameError, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = {"column": 3.3, "page": 6.9}
"""Name → inches."""
SUFFIXES = (".pdf", ".png", ".svg")
"""What ``save`` writes."""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
ONE_SIGN, BOTH_SIGNS = "cividis", "PuOr"

SMALLEST_FONT = 7.0
"""Points."""
_DPI = 300
_STYLE: Any = {  # a dict; its keys are literal types that differ from one version of Matplotlib to the next
    "font.size": 7.5,
    "font.family": "sans-serif",
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "figure.titlesize": 8.0,
    "xtick.labelsize": SMALLEST_FONT,
    "ytick.labelsize": SMALLEST_FONT,
    "legend.fontsize": SMALLEST_FONT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "text.usetex": False,
    "savefig.bbox": "standard",  # "tight" would change the width that was asked for
    "pdf.fonttype": 42,  # embedded as TrueType: editable, and accepted by publishers
    "svg.fonttype": "path",
    "svg.hashsalt": "ufm-convex",  # the same figure is the same file
}


def require() -> None:
    """Raise ``MissingExtraError`` unless Matplotlib can be imported; nothing is imported."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError(
            "matplotlib is not installed.",
            expected="the package matplotlib, which draws the figures",
            fix="pip install matplotlib",
        )


def width_in_inches(width: str) -> float:
    """The width of that name. Raises ``UnknownNameError`` for another name."""
    if width not in WIDTHS:
        raise UnknownNameError(
            f"width is {shown(width)}.",
            expected="one of " + ", ".join(f"{name} ({inches} in)" for name, inches in WIDTHS.items()),
            fix="column suits two-column papers.",
        )
    return WIDTHS[width]


def check_suffix(path: Path) -> str:
    """The suffix in lower case. Raises ``FileFormatError`` unless it is one of ``SUFFIXES``."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileFormatError(
            f"{path} has {f'the suffix {suffix}' if suffix else 'no suffix'}.",
            expected="a file that ends in " + ", ".join(SUFFIXES),
            fix="use .png for screens, .pdf or .svg for papers.",
        )
    return suffix


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib with the style of this package; afterwards the caller's settings are back."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, laid out so that nothing overlaps; width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG (300 dpi), SVG or PDF, whole or not at all; the same figure gives the same bytes.

    Raises:
        FileFormatError: the suffix is another one, or the file cannot be written.
    """
    target = Path(path)
    suffix = check_suffix(target)
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    buffer = BytesIO()
    with styled():
        figure.savefig(buffer, format=suffix[1:], dpi=_DPI, metadata=dates[suffix])
    write_atomically(target, buffer.getvalue())

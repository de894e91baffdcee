"""How every figure looks, and how it is written: column width, fonts of 7 pt and more, colour-blind safe colours.

Colours are those of Okabe and Ito (Color Universal Design, 2008); matrices of one sign use cividis (Nuñez, Anderton,
Renslow, PLoS ONE 13, 2018), matrices of both signs the diverging PuOr of ColorBrewer. Widths are those of journals:
84 mm for a column and 174 mm for a page.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex._files import write_atomically
from ufm_convex.errors import FileFormatError, MissingExtraError, UnknownNameError, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
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


_SPACE = 5.0
"""Points between two labels of an axis."""
_LETTER = 0.62
"""Width of a digit as a share of the font's size, generously."""
_FINEST: tuple[tuple[int, ...], ...] = (tuple(range(1, 10)), (1, 2, 3, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


def log_axis(axis: Axis, low: float, high: float, inches: float, *, upright: bool = False) -> None:
    """A logarithmic axis whose labels are round numbers that do not touch, from whole decades down to single digits.

    Args:
        axis: ``ax.xaxis`` or ``ax.yaxis``; its limits are set by the caller.
        low: Lower limit, > 0.
        high: Upper limit.
        inches: Its length.
        upright: True for an ordinate, along which labels are as long as the font is high.
    """
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

    ticks = _ticks(low, high, 72.0 * inches, upright=upright)
    digits = [
        m * 10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in range(1, 10)
    ]
    few = math.log10(high / low) < _WIDE
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([number_label(tick) for tick in ticks]))
    axis.set_minor_locator(FixedLocator([digit for digit in digits if low <= digit <= high] if few else []))
    axis.set_minor_formatter(NullFormatter())


def log_cells(values: FloatArray) -> FloatArray:
    """Edges of cells that are centred on ascending values > 0 in the logarithm: one more than values."""
    logs = np.log(values)
    steps = 0.5 * np.diff(logs) if logs.size > 1 else np.array([0.2])
    return np.exp(np.concatenate([[logs[0] - steps[0]], logs[1:] - steps[: logs.size - 1], [logs[-1] + steps[-1]]]))


def log_axes(ax: Axes, abscissa: FloatArray, ordinate: FloatArray, width: float, height: float) -> None:
    """Both axes logarithmic, from the first to the last of the edges; ``width`` and ``height`` in inches of axis."""
    ends = [(float(edges[0]), float(edges[-1])) for edges in (abscissa, ordinate)]
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(*ends[0])
    ax.set_ylim(*ends[1])
    log_axis(ax.xaxis, *ends[0], width)
    log_axis(ax.yaxis, *ends[1], height, upright=True)


_WIDE = 8.0
"""Decades beyond which single digits are not marked."""


def _ticks(low: float, high: float, points: float, *, upright: bool) -> list[float]:
    """The finest round numbers between the limits whose labels keep apart on an axis of that length."""
    per_decade = points / math.log10(high / low)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    series = [[float(f"{m}e{e}") for e in exponents for m in steps] for steps in _FINEST]
    series += [[float(f"1e{e}") for e in exponents if e % step == 0] for step in range(2, len(exponents) + 1)]
    for numbers in series:
        ticks = [tick for tick in numbers if low <= tick <= high]
        sizes = [SMALLEST_FONT if upright else _width(number_label(tick)) for tick in ticks]
        gaps = [per_decade * math.log10(b / a) for a, b in pairwise(ticks)]
        if all(gap >= 0.5 * (a + b) + _SPACE for gap, (a, b) in zip(gaps, pairwise(sizes), strict=True)):
            return ticks
    return []


def number_label(number: float) -> str:
    """Plain digits where they are few, else a power of ten."""
    if 1e-3 <= number < 1e5:
        return f"{number:,.12g}"
    exponent = math.floor(math.log10(number) + 1e-9)
    digit = round(number / 10.0**exponent)
    return f"$10^{{{exponent}}}$" if digit == 1 else f"${digit}\\cdot 10^{{{exponent}}}$"


def _width(label: str) -> float:
    """About how wide a label is, in points."""
    return SMALLEST_FONT * _LETTER * len(label.replace("\\cdot ", "..").strip("$").replace("^", "").strip("{}"))


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG (300 dpi), SVG or PDF, whole or not at all; the same figure gives the same bytes.

    Raises:
        FileFormatError: the suffix is another one, or the file cannot be written.
    """
    target = Path(path)
    write_atomically(target, rendered(figure, check_suffix(target)))


def rendered(figure: Figure, suffix: str) -> bytes:
    """The content of a figure's file; the suffix is one of ``SUFFIXES``."""
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    buffer = BytesIO()
    with styled():
        figure.savefig(buffer, format=suffix[1:], dpi=_DPI, metadata=dates[suffix])
    return buffer.getvalue()

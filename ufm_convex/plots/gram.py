"""Heat maps of the Gram matrices W Wᵀ, W H̄ᵀ and H̄ H̄ᵀ, beside theory's where a theorem gives them.

Classes keep the order of class_counts. One row of the figure is one matrix; both panels of a row share one scale. From
64 classes on panels show blocks of classes (``blocks``), with a square for the mean entry of classes with themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.errors import SizeError
from ufm_convex.plots.base import Plot, Source, Subject
from ufm_convex.plots.blocks import FROM, Blocks
from ufm_convex.plots.style import BOTH_SIGNS, ONE_SIGN, new_figure
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 2_000
"""Classes: 32 MB a matrix."""
_SQUARE = 0.7
"""Side of the marks on the diagonal, as a share of a cell."""
_TITLES = {
    "weight_gram": r"$W W^\top$",
    "logits": r"$W \bar H^\top$ (logits)",
    "feature_gram": r"$\bar H \bar H^\top$",
}

_COUNTED = {
    "weight_gram": ("output", "output"),
    "logits": ("output", "column"),
    "feature_gram": ("column", "column"),
}
"""What rows and columns are, with a table of other outputs than columns."""


@runtime_checkable
class GramOptimum(Protocol):
    """A closed form that knows its Gram matrices, each (K, K)."""

    def weight_gram(self) -> FloatArray:
        """A = W Wᵀ."""

    def logits(self) -> FloatArray:
        """L = W H̄ᵀ."""

    def feature_gram(self) -> FloatArray:
        """B = H̄ H̄ᵀ."""


class GramPlot(Plot):
    """Three rows of heat maps: left the solution or candidate, right theory."""

    name: ClassVar[str] = "gram"
    source: ClassVar[Source] = Source.GEOMETRY

    def check_size(self, num_classes: int) -> None:
        """At most ``LARGEST`` classes."""
        if num_classes > LARGEST:
            raise SizeError(
                f"heat maps of {num_classes:,} classes were asked for.",
                expected=f"at most {LARGEST:,} classes",
                fix="use the figure norms, which shows any number of classes.",
            )

    def draw(self, subject: Subject, width: float) -> Figure:
        """Three rows; one column where theory has no Gram matrices."""
        self.check_size(max(subject.problem.num_classes, subject.problem.num_outputs))
        optimum: object = subject.optimum
        sides: dict[str, dict[str, FloatArray]] = {
            subject.label: {name: getattr(subject.geometry, name) for name in _TITLES}
        }
        if isinstance(optimum, GramOptimum):
            sides["theory"] = {name: getattr(optimum, name)() for name in _TITLES}
        figure = new_figure(width, 1.36 * width if len(sides) == 2 else 1.9 * width)
        axes = figure.subplots(3, len(sides), squeeze=False)
        problem = subject.problem  # the runs of counts are those of rows and columns only where each output is a class
        blocks = Blocks.of(problem.class_counts) if problem.paired and problem.num_classes >= FROM else None
        for row, (name, title) in zip(axes, _TITLES.items(), strict=True):
            matrices = [matrices[name] for matrices in sides.values()]
            scale = _scale(matrices)
            for ax, side, matrix in zip(row, sides, matrices, strict=True):
                image = ax.imshow(matrix, **scale) if blocks is None else _draw_blocks(ax, blocks, matrix, scale)
                ax.set_title(f"{title}\n{side}" if ax is row[0] and len(sides) == 1 else side)
                _label(ax, problem, name, blocks, left=ax is row[0])
            bar = figure.colorbar(image, ax=row.tolist(), shrink=0.9, aspect=14)
            bar.set_label(title)
        figure.suptitle(_difference(sides) if len(sides) == 2 else f"Gram matrices of the {subject.label}")
        return figure


def _scale(matrices: list[FloatArray]) -> dict[str, Any]:
    """One scale for the panels of a row: from 0 for one sign, symmetric about 0 for both."""
    largest = max(float(np.abs(matrix).max()) for matrix in matrices) or 1.0  # all zero: any scale but an empty one
    # entries below a millionth of the largest are rounding: invisible, and no second sign
    if min(float(matrix.min()) for matrix in matrices) >= -1e-6 * largest:
        return {"cmap": ONE_SIGN, "vmin": 0.0, "vmax": largest}
    return {"cmap": BOTH_SIGNS, "vmin": -largest, "vmax": largest}


def _draw_blocks(ax: Any, blocks: Blocks, matrix: FloatArray, scale: dict[str, Any]) -> Any:
    """Cells of equal size, as vectors; squares on the diagonal. A block of one class has no cell with itself."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    between, own, B = blocks.between(matrix), blocks.own(matrix), blocks.sizes.size
    edges = np.arange(B + 1) - 0.5
    image = ax.pcolormesh(edges, edges, np.ma.masked_invalid(between), edgecolors="face", linewidth=0.1, **scale)
    corners = np.arange(B) - 0.5 * _SQUARE
    squares = PatchCollection([Rectangle((corner, corner), _SQUARE, _SQUARE) for corner in corners.tolist()])
    squares.set(array=own, cmap=scale["cmap"], clim=(scale["vmin"], scale["vmax"]), edgecolor="black", linewidth=0.4)
    ax.add_collection(squares)
    ax.set_aspect("equal")
    ax.invert_yaxis()
    return image


def _label(ax: Any, problem: Problem, name: str, blocks: Blocks | None, *, left: bool) -> None:
    """Ticks and what they count: of classes, which all matrices share, below the last one alone."""
    from matplotlib.ticker import MaxNLocator

    rows, columns = ("class", "class") if problem.paired else _COUNTED[name]
    if blocks is not None:  # the edges of the panel are the first class and the last
        rows = columns = "classes"
        ends = [-0.5, blocks.sizes.size - 0.5]
        ax.set_xticks(ends, ["0", str(problem.num_classes - 1)])
        ax.set_yticks(ends, ["0", str(problem.num_classes - 1)])
    for axis, noun in ((ax.xaxis, columns), (ax.yaxis, rows)) if blocks is None else ():
        number = problem.num_outputs if noun == "output" else problem.num_classes
        axis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=min(2, number)))
    bottom = name == "feature_gram" or not problem.paired
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)
    ax.tick_params(labelleft=left, labelbottom=bottom, length=2.0)
    ax.set_ylabel(rows if left else "")
    ax.set_xlabel(columns if bottom else "")


def _difference(sides: dict[str, dict[str, FloatArray]]) -> str:
    """How far apart the two sides are, relative to theory's largest entry."""
    first, second = sides.values()
    largest = 0.0
    for name in _TITLES:
        size = float(np.abs(second[name]).max()) or 1.0
        largest = max(largest, float(np.abs(first[name] - second[name]).max()) / size)
    label = next(iter(sides))
    return f"Gram matrices of the {label} and of theory\nlargest difference: {largest:.1e} of the largest entry"

"""Figures of a problem's optimum or of a candidate, as Matplotlib ``Figure`` objects; needs the extra ``plot``.

A module of this folder that defines a named subclass of ``Plot`` is found by its presence: adding a figure adds a
file and changes none. Nothing here touches pyplot, opens a window or keeps state; Matplotlib is imported only when
something is drawn.

    ``draw(name, problem, …)``   the figure called ``name``
    ``save(figure, path)``       PNG, SVG or PDF by the suffix, whole or not at all
    ``styled()``                 a context with the style of these figures, for figures of your own
    ``available()``              name → class of every figure
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ufm_convex._registry import Registry, choose, full_name, plugged_in
from ufm_convex.errors import PluginError, shown
from ufm_convex.plots.base import Plot, Source, Subject
from ufm_convex.plots.phase import boundary
from ufm_convex.plots.style import SUFFIXES, WIDTHS, check_suffix, rendered, require, save, styled, width_in_inches
from ufm_convex.problem import require_problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ufm_convex.candidate import Candidate
    from ufm_convex.problem import Problem
    from ufm_convex.solution import Solution

__all__ = [
    "SUFFIXES",
    "WIDTHS",
    "Plot",
    "Source",
    "Subject",
    "available",
    "boundary",
    "check_suffix",
    "draw",
    "plot",
    "rendered",
    "require",
    "save",
    "styled",
    "width_in_inches",
]


@cache
def available() -> Registry[Plot]:
    """The registry: name → class; those of other packages included."""
    return plugged_in(__name__, Plot, "ufm_convex.plots")  # type: ignore[type-abstract]


def plot(name: str) -> Plot:
    """The figure called ``name``, not yet drawn.

    Raises:
        UnknownNameError: no figure has that name.
    """
    return choose(available(), name, "figure", "use 'norms' for an optimum and 'attribution' for a candidate.")()


def draw(
    name: str,
    problem: Problem,
    *,
    solution: Solution | None = None,
    candidate: Candidate | None = None,
    width: str = "column",
) -> Figure:
    """Draw a figure.

    Args:
        name: A name of ``available()``: "attribution", "gram", "norms" or "phase".
        problem: The problem.
        solution: Its solution; for figures of the optimum.
        candidate: A candidate for it; where both are given, the candidate is drawn. "phase" is drawn from the problem
            alone, and takes either for a check that it belongs to it.
        width: "column" (3.3 in, 84 mm) or "page" (6.9 in, 174 mm).

    Raises:
        MissingExtraError: Matplotlib is not installed.
        UnknownNameError: no figure or no width has that name.
        ProblemError: the figure needs a solution or a candidate, and it is not given; or the solution is one of another
            problem.
        CountsError: solution or candidate belong to other class counts.
        HypothesisError: the figure needs a theorem that does not hold for the problem, or it has no penalties.
        SizeError: too many classes for this figure.
        PluginError: what a figure of another package draws is none.

    Example:
        >>> import ufm_convex as ufm
        >>> problem = ufm.Problem([500, 100, 20], lambda_w=5e-3, lambda_h=5e-3)
        >>> figure = draw("norms", problem, solution=ufm.solve(problem))
        >>> print(figure.get_size_inches()[0], "in wide,", len(figure.axes), "panels")
        3.3 in wide, 3 panels
    """
    kind, inches = plot(name), width_in_inches(width)
    require()
    require_problem(problem, "a figure")
    problem.require_decays("a figure")
    subject = Subject(problem, solution, candidate)
    subject.check(kind)
    with styled():
        figure = kind.draw(subject, inches)
    if not hasattr(figure, "savefig"):
        raise PluginError(
            f"the figure {name!r} ({full_name(type(kind))}) is drawn as {shown(figure)}.",
            expected="a Figure of Matplotlib",
            fix="let its draw return the figure, or name another one.",
        )
    return figure

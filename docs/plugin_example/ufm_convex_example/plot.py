"""A figure: margins against class counts."""

from typing import ClassVar

from ufm_convex.plots import Plot, Source


class MarginPlot(Plot):
    """One panel."""

    name: ClassVar[str] = "example-margins"
    source: ClassVar[Source] = Source.GEOMETRY

    def draw(self, subject, width):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, 0.7 * width), layout="constrained")
        ax = figure.subplots()
        ax.plot(subject.problem.class_counts, subject.geometry.margins, "o")
        ax.set_xscale("log")
        ax.set_xlabel("samples of the class")
        ax.set_ylabel(f"margin of the {subject.label}")
        return figure

"""Interchange with solvers that read files: Conic Benchmark Format out, solutions in both directions."""

from ufm_convex.interchange.claims import Claims
from ufm_convex.interchange.conic_benchmark import export_cbf, save_cbf
from ufm_convex.interchange.programmes import ConicProgramme, programme
from ufm_convex.interchange.solutions import (
    ConicSolution,
    cbf_solution,
    load_cbf_solution,
    point_from_cbf,
    save_cbf_solution,
)

__all__ = [
    "Claims",
    "ConicProgramme",
    "ConicSolution",
    "cbf_solution",
    "export_cbf",
    "load_cbf_solution",
    "point_from_cbf",
    "programme",
    "save_cbf",
    "save_cbf_solution",
]

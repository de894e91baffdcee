"""Phase diagrams: many problems over a grid of decays, imbalances, classes and losses, solved in parallel.

Needs the extra ``sweep`` (pyarrow, threadpoolctl). A sweep is deterministic whatever the number of workers,
keeps every finished point when it is interrupted or killed, and takes up where it was left.
"""

from ufm_convex.sweep.figure import check_panels, phase_diagram
from ufm_convex.sweep.fixed import DecayGrid
from ufm_convex.sweep.grid import Grid, Point, values_of
from ufm_convex.sweep.running import FIELDS, sweep
from ufm_convex.sweep.tables import require_pyarrow, write_csv, write_parquet

__all__ = [
    "FIELDS",
    "DecayGrid",
    "Grid",
    "Point",
    "check_panels",
    "phase_diagram",
    "require_pyarrow",
    "sweep",
    "values_of",
    "write_csv",
    "write_parquet",
]

r"""
Decay or imbalance: what makes classes collapse?
================================================

Both do. How do they trade off, and is the line between *all alive* and *some given up* where theory puts it? A small
phase diagram answers: every point of a grid is solved and proved.
"""

# %%
# Five decays times five imbalance ratios, with four classes of at most 200 samples. A sweep writes each finished
# point to a journal, so that it can be interrupted.
import tempfile
from pathlib import Path

from ufm_convex.sweep import Grid, phase_diagram, sweep, values_of

grid = Grid(decays=values_of("1e-3:1e-1:5", "decays"), imbalances=[1, 3, 10, 30, 100], classes=[4], max_count=200)
with tempfile.TemporaryDirectory() as folder:
    rows = sweep(grid, Path(folder) / "phase.journal.jsonl")
certified = sum(row["status"] == "certified" for row in rows)
agree = sum(row["collapsed"] == row["theory_collapsed"] for row in rows)
print(f"{len(rows)} problems, {certified} certified, {agree} with as many collapsed classes as the theorem says")

# %%
# Colour is the share of collapsed classes that was *computed*, lines are where the *theorem* has the first and the
# last class collapse, exactly and also between the points. A cross would mark a point where the two disagree.
figure = phase_diagram(rows)

# %%
# What was seen
# -------------
#
# Between the lines only some classes are given up, and the strip widens with the imbalance: the first class goes at a
# smaller decay, the last one at a larger. The decays count through :math:`\sqrt{\lambda_W \lambda_H}` alone.
#
# * Finer grids, other losses, a cluster, and what is kept when it is interrupted: :doc:`/sweep`.
# * The same diagram from the theorem alone: figure ``phase`` of :doc:`/plots`.

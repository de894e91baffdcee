r"""
Would you notice a solver that lies?
====================================

A solver returns a matrix, a value and the word ``optimal``. Solvers do err on such programmes, and do not say so.
Here one lies on purpose, in three ways, and each answer is judged without a second solver.
"""

# %%
# The honest one stands in for a solver of yours; the others change its answer.
import numpy as np
from matplotlib.figure import Figure

import ufm_convex as ufm
from ufm_convex.crosscheck import Answer
from ufm_convex.relaxation import GramPoint
from ufm_convex.solvers import Claim

problem = ufm.Problem([40, 20, 8, 2], lambda_w=0.02, lambda_h=0.01)


def gram(W, H):
    """The point of the convex programme that belongs to W and H."""
    return GramPoint(weight_gram=W @ W.T, logits=W @ H.T, feature_gram=H @ H.T)


def honest(problem):
    """The optimum, with its value."""
    optimum = ufm.theory.optimum(problem)
    return Answer(Claim.OPTIMAL, optimum.value, None, point=gram(*optimum.factors()))


def lazy(problem):
    """Stops early, and says that it is done."""
    W, H = ufm.theory.optimum(problem).factors()
    return Answer(Claim.OPTIMAL, None, None, point=gram(0.9 * W, H))


def boastful(problem):
    """A value below what is possible, beside a point that does not have it."""
    optimum = ufm.theory.optimum(problem)
    return Answer(Claim.OPTIMAL, 0.99 * optimum.value, None, point=gram(*optimum.factors()))


def cheat(problem):
    """A point outside the cone, by a little: no W and H belong to it."""
    W, H = ufm.theory.optimum(problem).factors()
    shrunk = GramPoint(weight_gram=0.97 * W @ W.T, logits=W @ H.T, feature_gram=H @ H.T)
    return Answer(Claim.OPTIMAL, None, None, point=shrunk)


# %%
# ``cross_check`` proves an interval around the optimum first. Each answer is then measured as it stands, and nothing
# in it is believed.
checked = ufm.cross_check(problem, [honest, lazy, boastful, cheat])
for row in checked.rows:
    print(f"{row.solver:9s} {row.verdict:10s}", row.reason.replace("; ", ";\n" + 21 * " "))

# %%
# Distances that were measured: an honest solver is far to the left in both panels.
rows = checked.rows
with ufm.plots.styled():
    figure = Figure(figsize=(6.0, 2.2), layout="constrained")
    for ax, field, title in zip(
        figure.subplots(1, 2, sharey=True),
        ("certified_gap", "primal_violation"),
        ("above the optimum, proved", "outside the feasible set"),
        strict=True,
    ):
        values = [max(getattr(row, field) or 0.0, 1e-16) for row in rows]
        colours = ["tab:green" if row.verdict == "right" else "tab:red" for row in rows]
        ax.barh(np.arange(len(rows)), values, left=1e-17, color=colours)
        ax.set_xscale("log")
        ax.set_xlim(1e-17, 1.0)
        ax.set_yticks(np.arange(len(rows)), [row.solver for row in rows])
        ax.set_xlabel(title)
    figure.axes[0].invert_yaxis()

# %%
# What was seen
# -------------
#
# A point that is too dear, a value that is too low, a point that is infeasible: each is caught by a different number,
# and the verdict says which.
#
# * Your own solver, in ten lines: :doc:`/how_to_solver`.
# * What is measured, conformance cases, and what was caught in solvers that people use: :doc:`/crosscheck`.

r"""
From which imbalance on do minority classes become one?
=======================================================

Without the ReLU, small classes do not shrink to the origin: they merge. Fang, He, Long and Su (PNAS 2021) saw it in
deep networks and named it *Minority Collapse*: beyond some imbalance ratio the classifier does not tell the minority
classes apart any more. Where is that ratio?
"""

# %%
# Their model is *layer-peeled*: norm balls in place of decays, features of either sign. Three classes have 100
# samples each, three have fewer and fewer.
import numpy as np
from matplotlib.figure import Figure

import ufm_convex as ufm

balls = ufm.LayerPeeled(weight_radius=1, feature_radius=5)
large, ratios = 100, [1, 2, 4, 5, 10, 20, 50, 100]
cosines = []
for ratio in ratios:
    problem = ufm.Problem([large] * 3 + [large // ratio] * 3, features="free", constraint=balls)
    solution = ufm.solve(problem)
    W = solution.factors()[0]
    directions = W / np.linalg.norm(W, axis=1, keepdims=True)
    cosines.append(float(directions[3] @ directions[4]))
    print(f"ratio {ratio:3d}: {solution.status}, cosine {cosines[-1]:6.3f}, merged {solution.merged_groups}")

# %%
# Each of these optima is proved. The cosine of two minority classifiers climbs from that of a simplex, :math:`-1/5`,
# to 1, where they are equal.
with ufm.plots.styled():
    figure = Figure(figsize=(5.0, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.semilogx(ratios, cosines, marker="o")
    ax.axhline(-1 / 5, linestyle=":", color="gray")
    ax.text(ratios[-1], -1 / 5, "simplex of six classes", ha="right", va="bottom", color="gray")
    ax.axhline(1.0, linestyle="--", color="gray")
    ax.text(ratios[0], 1.0, "one classifier for all three", va="top", color="gray")
    ax.set_xlabel("imbalance ratio")
    ax.set_ylabel("cosine of two minority classifiers")

# %%
# What was seen
# -------------
#
# Minority Collapse has a threshold, it belongs to the optimum and not to the training, and it needs no collapse to
# the origin: features of either sign merge, non-negative ones vanish.
#
# * The reduction, the closed forms and the threshold: :doc:`/layer_peeled`.
# * Which collapse is yours: :doc:`/how_to_imbalance`.

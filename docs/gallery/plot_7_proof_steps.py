r"""
Where does a bad candidate lose, line by line of the proof?
===========================================================

The published proof bounds the objective from below by a chain of inequalities. At the optimum every one of them is an
equality. At any other point some are strict, and *which* says what is wrong with it.
"""

# %%
# A candidate with two faults: the features of class 0 lean towards class 1, and those of class 2 are too long.
import numpy as np
from matplotlib.figure import Figure

import ufm_convex as ufm

problem = ufm.Problem([8, 6, 4, 3], lambda_w=0.02, lambda_h=0.01)
W, H = ufm.theory.optimum(problem).factors()
bad = H.copy()
bad[0] += 0.3 * np.linalg.norm(H[0]) * H[1] / np.linalg.norm(H[1])
bad[2] *= 1.4
best = ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts)
candidate = ufm.Candidate(weights=W, features=bad, class_counts=problem.class_counts)

# %%
# Each step is an inequality with its slack at this candidate. Those with the largest:
steps = ufm.proof_steps(problem, candidate)
for step in steps:
    if step.slack > 0.1:
        print(f"({step.number}) {step.name}, slack {step.slack:.2f}\n     {step.statement}")

# %%
# The optimum has no slack anywhere. Some steps of the candidate have none either, where nothing is wrong with it:
# (35a) and (35b) compare samples with the mean of their class, and here they are equal.
at_best = {step.number: step.slack for step in ufm.proof_steps(problem, best)}
print(f"largest slack at the optimum: {max(at_best.values()):.1e}")
with ufm.plots.styled():
    figure = Figure(figsize=(6.0, 3.0), layout="constrained")
    ax = figure.subplots()
    places = np.arange(len(steps))
    ax.bar(places, [max(step.slack, 1e-18) for step in steps], bottom=1e-18)
    ax.set_yscale("log")
    ax.set_ylim(1e-18, 10)
    ax.set_xticks(places, [f"({step.number}) {step.name}" for step in steps], rotation=60, ha="right")
    ax.set_ylabel("slack")

# %%
# Where all classes are active, five of the steps add up to the gap, without remainder.
slacks = {step.number: step.slack for step in steps}
total = sum(slacks[number] for number in ("34", "35a", "35b", "37", "44"))
gap = ufm.attribute_gap(problem, candidate).gap
print(f"gap {gap:.12f}\nsum {total:.12f}")

# %%
# What was seen
# -------------
#
# A loss curve has one number; the proof has one for every way to be wrong. Features that lean show in (43) and (58),
# one that is too long in (36) and (61), and a classifier that fits neither in (40) and (59).
#
# * All steps with statement, hypotheses and equality condition: :doc:`/proof_steps`.
# * The same question without a proof to follow, also for other losses: :doc:`/attribution`.

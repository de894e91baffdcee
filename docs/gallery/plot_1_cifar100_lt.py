r"""
Which classes of CIFAR-100-LT are given up?
===========================================

CIFAR-100-LT has 100 classes, from 500 images down to 5. Train with weight decay and the smallest classes may vanish:
their features collapse to the origin, whatever the network. At which size does that happen, and does the optimum say
so or is it an accident of training?
"""

# %%
# The counts come from a named profile. The problem is the *unconstrained feature model*: cross-entropy of a
# classifier :math:`W` and non-negative features :math:`H`, with a weight decay on each.
import ufm_convex as ufm

counts = ufm.counts_from_profile("exponential:classes=100,max=500,ratio=100")
problem = ufm.Problem(counts, lambda_w=5e-4, lambda_h=5e-4)
solution = ufm.solve(problem)
print(f"{problem.num_samples} samples, {counts[0]} in the largest class, {counts[-1]} in the smallest")
print(f"optimum {solution.value:.9f}, {solution.status}: proved between the next two numbers")
print(f"{float(solution.lower_bound):.12f}\n{float(solution.upper_bound):.12f}")

# %%
# A theorem (Dang, Tran, Nguyen, Ho, ICML 2024) names the size :math:`n_c` at or below which a class collapses. Nobody
# asked it while the problem was solved; here it is asked.
closed = ufm.theory.optimum(problem)
print(f"n_c = {closed.collapse_threshold:.2f}")
print(f"{closed.collapsed.sum()} classes collapse, the largest of them with {counts[closed.collapsed].max()} samples")
print(f"the smallest class that survives has {counts[~closed.collapsed].min()}")

# %%
# Markers are the solution that was computed and proved, lines what the theorem says. Left of :math:`n_c` the features
# are zero and all margins with them; the classifier keeps a norm that is the same for every collapsed class.
figure = ufm.plots.draw("norms", problem, solution=solution)

# %%
# What was seen
# -------------
#
# Collapse is no accident: at these decays the *global* optimum gives these classes up, so a network that does not is
# not done, or is kept from it. The remedy is a smaller decay, or class weights.
#
# * Your own counts and decays: :doc:`/how_to_imbalance`.
# * The theorem with its proof: :doc:`/theorem`.
# * A figure for a paper: ``ufm.plots.save(figure, "norms.pdf")``, and :doc:`/plots`.

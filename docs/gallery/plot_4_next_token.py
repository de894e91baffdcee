r"""
What shape do next-token embeddings take?
=========================================

A language model maps a context to a distribution over its vocabulary. Let context embeddings and word embeddings be
free, with a little weight decay: what does the optimum look like, and what decides whether two contexts are alike?
"""

# %%
# A corpus of five tokens. Each different pair of tokens is a context, its target is what follows it.
import numpy as np
from matplotlib.figure import Figure

import ufm_convex as ufm

corpus = [0, 1, 2, 0, 3, 1, 2, 4, 0, 1, 3, 0, 2, 4, 1, 0, 3, 2, 0, 1, 4, 3, 0, 2, 1]
found = ufm.next_tokens(corpus, context=2)
targets = found.targets.toarray()
loss = ufm.SoftTargetCrossEntropy(found.targets)
problem = ufm.Problem(found.counts, 1e-5, 1e-5, loss=loss, features="free")
solution = ufm.solve(problem)
print(f"{len(found.counts)} contexts, {targets.shape[1]} tokens, {solution.status}")
print(
    f"{solution.value:.6f} = {solution.floor:.6f} (entropy of the corpus) + {solution.excess:.6f} (price of the decay)"
)

# %%
# Left: the probabilities of the corpus, one row a context; white is a token that never follows. Right: cosines
# between the embeddings of contexts.
H = solution.factors()[1]
directions = H / np.linalg.norm(H, axis=1, keepdims=True)
order = np.lexsort((targets > 0).T)
with ufm.plots.styled():
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    left.imshow(np.where(targets > 0, targets, np.nan)[order], aspect="auto", cmap="cividis", vmin=0, vmax=1)
    left.set_xlabel("next token")
    left.set_ylabel("context")
    left.set_yticks(range(len(order)), ["".join(map(str, found.contexts[j])) for j in order])
    shown = right.imshow((directions @ directions.T)[np.ix_(order, order)], cmap="PuOr", vmin=-1, vmax=1)
    right.set_xticks([])
    right.set_yticks([])
    figure.colorbar(shown, ax=right).set_label("cosine of embeddings")

# %%
# Contexts with the same *support*, the set of tokens that may follow, against all others:
support = targets > 0
same = (support[:, None] == support[None]).all(axis=2) & ~np.eye(len(support), dtype=bool)
shared = (support[:, None] & support[None]).any(axis=2)
cosine = directions @ directions.T
print(f"same support:     cosines from {cosine[same].min():.3f} up to {cosine[same].max():.3f}")
print(f"disjoint support: cosines from {cosine[~shared].min():.3f} up to {cosine[~shared].max():.3f}")

# %%
# What was seen
# -------------
#
# As the decay vanishes, embeddings follow the *sparsity pattern* of language: contexts that allow the same tokens are
# aligned, whatever the probabilities; the probabilities are fitted by a part that stays bounded.
#
# * From a corpus of your own, thousands of contexts, and the limit: :doc:`/next_token`.
# * Tables of targets of any other origin: :doc:`/targets`.

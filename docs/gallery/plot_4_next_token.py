r"""
What shape do next-token embeddings take?
=========================================

A language model maps a context to a distribution over its vocabulary. Let the embeddings of contexts and of tokens be
free, with a little weight decay: when are two contexts alike, if the same tokens may follow, or if they follow equally
often?
"""

# %%
# A language of six tokens. What may follow a token, and how often:
import numpy as np
from matplotlib.figure import Figure

import ufm_convex as ufm

follows = {
    0: {1: 0.80, 2: 0.20},  # after 0 and 1 the same tokens may come, with other probabilities
    1: {1: 0.30, 2: 0.70},
    2: {3: 0.50, 4: 0.50},
    5: {3: 0.85, 4: 0.15},
    3: {0: 0.90, 5: 0.10},
    4: {0: 0.40, 5: 0.60},
}
rng = np.random.default_rng(0)
corpus = [0]
for _place in range(3000):
    after = follows[corpus[-1]]
    corpus.append(int(rng.choice(list(after), p=list(after.values()))))

# %%
# Each token is a context, its count is how often it occurs, its target what follows it. Decays from 1e-3 down:
found = ufm.next_tokens(corpus, context=1)
loss = ufm.SoftTargetCrossEntropy(found.targets)
decays = [1e-3, 1e-4, 1e-5, 1e-6]
cosines = []
for decay in decays:
    solution = ufm.solve(ufm.Problem(found.counts, decay, decay, loss=loss, features="free"))
    H = solution.factors()[1]
    directions = H / np.linalg.norm(H, axis=1, keepdims=True)
    cosines.append(directions @ directions.T)
    print(f"decay {decay:.0e}: {solution.status}, {solution.value:.6f} = {solution.floor:.6f} + {solution.excess:.6f}")

# %%
# The first number of each sum is the entropy of the corpus, which no model undercuts; the second is the price of the
# decay. Left: the probabilities of the corpus, white where a token never follows. Middle: cosines between embeddings of
# contexts at the smallest decay. Right: how they got there.
order = [0, 1, 2, 5, 3, 4]
targets = found.targets.toarray()[order]
names = [str(found.contexts[k, 0]) for k in order]
with ufm.plots.styled():
    figure = Figure(figsize=(6.9, 2.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.imshow(np.where(targets > 0, targets, np.nan), cmap="cividis", vmin=0, vmax=1)
    left.set_xlabel("next token")
    left.set_ylabel("context")
    left.set_yticks(range(6), names)
    shown = middle.imshow(cosines[-1][np.ix_(order, order)], cmap="PuOr", vmin=-1, vmax=1)
    middle.set_xticks(range(6), names)
    middle.set_yticks(range(6), names)
    figure.colorbar(shown, ax=middle, shrink=0.8).set_label("cosine")
    for (k, j), mark in {(0, 1): "o", (2, 5): "s", (3, 4): "^"}.items():
        right.semilogx(decays, [cosine[k, j] for cosine in cosines], marker=mark, label=f"{k} and {j}, same support")
    right.semilogx(decays, [cosine[0, 2] for cosine in cosines], "k--", label="0 and 2, disjoint")
    right.invert_xaxis()
    right.set_xlabel("decay")
    right.set_ylabel("cosine")
    right.legend()

# %%
# What was seen
# -------------
#
# The *sparsity pattern* decides. Contexts after which the same tokens may come turn towards each other as the decay
# vanishes, slowly, whatever the probabilities; those with disjoint supports stay apart. The probabilities are fitted by
# a part of the logits that stays bounded while the norms grow.
#
# * From a corpus of your own, thousands of contexts, and the limit: :doc:`/next_token`.
# * Tables of targets of any other origin: :doc:`/targets`.

"""NC4: does the nearest class mean decide as the classifier does? Papyan, Han, Donoho (PNAS 2020), Figure 7.

A sample agrees when a class with the largest logit, the bias included, is a class with the nearest mean. Ties are
common at the optimum, where collapsed classes share one mean and all its logits are equal, so classes that rounding
cannot tell apart from the best tie with it. A class without samples has no mean, and a classifier that decides for it
agrees with none. The share is 1 at the optimum. (Papyan et al. plot one minus the share.)
"""

from __future__ import annotations

import numpy as np

from ufm_convex._arrays import BoolArray, FloatArray, IntArray


def agrees(
    features: FloatArray, W: FloatArray, bias: FloatArray | None, means: FloatArray, classes: IntArray
) -> BoolArray:
    """Whether each of the features (m, d) is decided alike by W (K, d), b (K,) and by the means of M classes, (m,)."""
    d, eps = features.shape[1], np.finfo(np.float64).eps
    lengths = np.linalg.norm(features, axis=1)
    logits, offset = features @ W.T, 0.0
    if bias is not None:
        logits, offset = logits + bias, float(np.abs(bias).max())
    # inner products of d terms err by at most d ε times the lengths, and two of them are compared; a bias is one more
    slack = 2 * (d + (bias is not None)) * eps * (lengths * np.linalg.norm(W, axis=1).max() + offset)
    least = logits.max(axis=1) - slack
    squares = np.einsum("kj,kj->k", means, means)
    nearness = features @ (2.0 * means).T
    nearness -= squares  # ‖h‖² − ‖h − h̄_k‖²
    longest = float(squares.max())
    slack = 2 * d * eps * (2.0 * lengths * np.sqrt(longest) + longest)
    rows, nearest = np.nonzero(nearness >= (nearness.max(axis=1) - slack)[:, None])  # as a rule one a row
    found: BoolArray = np.zeros(len(features), dtype=bool)
    found[rows[logits[rows, classes[nearest]] >= least[rows]]] = True
    return found

"""NC1, variability within classes, in three forms.

    trace_ratio      tr(Σ_W Σ_B⁺) / K                      Papyan, Han, Donoho (PNAS 2020)
    quotient         tr Σ_W / tr Σ_B                        Tirer, Huang, Niles-Weed (ICML 2023)
    cdnv             mean over k < l of (v_k + v_l) / (2 ‖h̄_k − h̄_l‖²)     Galanti, György, Hutter (ICLR 2022)

with Σ_W = (1/N) Σ_i (h_i − h̄_{y_i})(h_i − h̄_{y_i})ᵀ, Σ_B = (1/K) Σ_k (h̄_k − h̄)(h̄_k − h̄)ᵀ about a centre h̄
(``rounding.Centre``), and v_k = (1/n_k) Σ_{i of k} ‖h_i − h̄_k‖². All are 0 at the optimum. Means and variances are
in the unit of ``rounding.in_unit``. No covariance is formed: with the singular value decomposition of the centred class
means, tr(Σ_W Σ_B⁺) is a sum of squares over the samples.
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex._pairs import row_blocks
from ufm_convex.measures.rounding import cut_off


def whitening(away: FloatArray | None) -> FloatArray | None:
    """Σ_B^{+½} as a map (d, rank) on features: ‖x whitening‖² = xᵀ Σ_B⁺ x. None where the class means coincide."""
    if away is None:
        return None
    _, values, right = np.linalg.svd(away, full_matrices=False)
    kept = values > cut_off(away)
    found: FloatArray = right[kept].T * (math.sqrt(len(away)) / values[kept])
    return found


def quotient(variances: FloatArray, class_counts: IntArray, away: FloatArray | None) -> float | None:
    """The ratio of traces, tr Σ_W / tr Σ_B, of centred class means; None where the class means coincide."""
    if away is None:
        return None
    within = float(variances @ class_counts) / float(class_counts.sum())
    return within / (float((away * away).sum()) / len(away))


def cdnv(variances: FloatArray, means: FloatArray) -> tuple[float | None, int]:
    """Mean of the class-distance normalised variance over pairs with distinct means, and how many pairs have not.

    Pairs of classes that share a mean, as collapsed classes do, have no such quotient and are left out.
    """
    from scipy.spatial.distance import cdist

    K, cut = len(means), cut_off(means) ** 2
    total, distinct = 0.0, 0
    for block in row_blocks(K, K):
        squares = cdist(means[block], means[block.start :], "sqeuclidean")
        squares[np.tril_indices(len(squares), 0, squares.shape[1])] = 0.0  # each pair once, k < l
        near = squares <= cut
        squares[near] = np.inf
        sums = variances[block, None] + variances[block.start :]
        total += float(np.einsum("ij,ij->", sums, 0.5 / squares))
        distinct += near.size - int(np.count_nonzero(near))
    pairs = K * (K - 1) // 2
    return (total / distinct if distinct else None), pairs - distinct

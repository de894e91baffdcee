"""The multiplier T ≥ 0 that is complementary to given features: at an optimum R H = 0.

In units where D = I it is the T = Tᵀ ≥ 0 with zero diagonal that makes ‖(I − G − T) H‖_F least. T has one unknown
for each pair of orbits, t_pq for p < q, and t_pp for orbits of two elements or more; its trivial block is
t ∘ √(numbers) − Diag(t_pp) and its standard ones −t_pp. So the squares split into those of the trivial block and,
K_g − 1 times, those of the standard ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.relaxation import Alike, Orbits

_NNLS_ORBITS = 24
"""Up to here the unknowns are found by an active-set method, with exact zeros."""


def complementary(gram: Alike, features: Alike) -> Alike:
    """Argmin over T = Tᵀ ≥ 0 with zero diagonal of ‖(I − G − T) H‖_F.

    Args:
        gram: G in units where D = I, (m, m).
        features: H in the same units, (m, d), row j times σ_j.

    Returns:
        T, (m, m), by non-negative least squares: exactly up to 24 orbits, by bounded quasi-Newton steps beyond.
    """
    sort, norm = gram.rows, features.norm()
    if norm == 0.0:
        return Alike.zeros(sort, sort)
    squares = _Squares.of(gram, (1.0 / norm) * features)
    entries = squares.active_set() if sort.size <= _NNLS_ORBITS else squares.descended(gram)
    even = np.zeros((sort.size, sort.size))
    even[squares.pairs] = entries
    return Alike.matrix(sort, sort, np.triu(even) + np.triu(even, 1).T).without_diagonal()


@dataclass(frozen=True, eq=False)
class _Squares:
    """The sum of squares in the unknowns.

    Attributes:
        pairs: The unknowns (p, q), p ≤ q.
        factor: What t_pq is multiplied by in the trivial block.
        trivial: H and (I − G) H in the trivial block, of at most as many columns as rows.
        standard: H and (I − G) H of each orbit p of two elements or more, times √(K_g − 1).
        large: Those orbits.
    """

    pairs: tuple[IntArray, IntArray]
    factor: FloatArray
    trivial: tuple[FloatArray, FloatArray]
    standard: tuple[FloatArray, FloatArray]
    large: IntArray

    @classmethod
    def of(cls, gram: Alike, features: Alike) -> _Squares:
        """The squares of a slack's Gram matrix and of the features, on the pairs of orbits that there are."""
        sort: Orbits = gram.rows
        several = sort.places > 1
        upper = np.triu_indices(sort.size)
        kept = (upper[0] != upper[1]) | several[upper[0]]
        pairs = upper[0][kept], upper[1][kept]
        factor = sort.paired(sort).roots[pairs] - (pairs[0] == pairs[1])
        # features enter through H Hᵀ only, so d columns become at most as many as there are rows
        H = np.linalg.qr(features.trivial.T)[1].T
        slots = sort.slots
        g, a = np.nonzero(slots >= 0)
        root = np.sqrt(sort.symmetry[sort.large] - 1.0)[:, None, None]
        own = root * features.standard
        rest = own - gram.standard @ own
        return cls(pairs, factor, (H, H - gram.trivial @ H), (own[g, a], rest[g, a]), slots[g, a])

    @property
    def _diagonal(self) -> tuple[IntArray, IntArray]:
        """Unknowns t_pp, and the row of ``standard`` of each."""
        unknowns = np.flatnonzero(self.pairs[0] == self.pairs[1])
        row = np.zeros(self.trivial[0].shape[0], dtype=np.int64)
        row[self.large] = np.arange(self.large.size)
        return unknowns, row[self.pairs[0][unknowns]]

    def active_set(self) -> FloatArray:
        """The unknowns by the method of Lawson and Hanson (1974)."""
        from scipy.optimize import nnls

        (H, target), (own, rest), (p, q) = self.trivial, self.standard, self.pairs
        unknowns = np.arange(p.size)
        design = np.zeros((*H.shape, p.size))
        design[q, :, unknowns] = self.factor[:, None] * H[p]
        design[p, :, unknowns] = self.factor[:, None] * H[q]
        below = np.zeros((*own.shape, p.size))
        which, row = self._diagonal
        below[row, :, which] = -own[row]
        whole = np.concatenate([design.reshape(-1, p.size), below.reshape(-1, p.size)])
        wanted = np.concatenate([target.ravel(), rest.ravel()])
        return np.asarray(nnls(whole, wanted, maxiter=10 * p.size)[0])

    def descended(self, gram: Alike) -> FloatArray:
        """The unknowns by L-BFGS-B, from those that cancel the negative entries of G."""
        from scipy.optimize import minimize

        (H, target), (own, rest), (p, q) = self.trivial, self.standard, self.pairs
        which, row = self._diagonal

        def value_and_gradient(entries: FloatArray) -> tuple[float, FloatArray]:
            T = np.zeros(gram.even.shape)
            T[p, q] = T[q, p] = self.factor * entries
            residual = T @ H - target
            pull = residual @ H.T
            slope = self.factor * np.where(p == q, pull[p, q], pull[p, q] + pull[q, p])
            below = -entries[which][:, None] * own[row] - rest[row]
            slope[which] -= (below * own[row]).sum(axis=1)
            return 0.5 * float((residual * residual).sum() + (below * below).sum()), slope

        start = np.maximum(-gram.even, 0.0)[p, q]
        options = {"maxiter": 500, "ftol": 1e-18, "gtol": 1e-12}
        bounds = [(0.0, None)] * start.size
        found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return np.maximum(found.x, 0.0)

"""Copositive matrices C with <C, B> < 0: what proves that B is not completely positive.

Four families, each proved by ``copositivity_proof`` on integers, whatever suggested it:
- v vᵀ for the least eigenvalue of B, if that is negative;
- the negative entries of B, if there are any, with the other sign;
- C_kl = s_kl x_k x_l with x ≥ 0 and signs s of which the negative ones form no triangle (the Horn matrix and its
  scalings, permutations and relatives for more than five classes), with x and s chosen for B; any K;
- F Fᵀ − B at the nearest completely positive matrix, which is copositive there; K ≤ 12.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure.exact import ExactMatrix, ExactVector
from ufm_convex.positivity.copositivity import LARGEST, copositivity_proof, lowest_direction

_BITS = 40
_HALF = 26
"""Bits of x, so that products of two are binary64 numbers."""
_ALTERNATIONS = 6
_SHIFTS = 8


@dataclass(frozen=True, eq=False)
class Witness:
    """A copositive matrix that separates.

    Attributes:
        matrix: C, (K, K).
        proof: How it is proved copositive.
        product: <C, B> < 0, exactly.
        square: ‖C‖², exactly.
    """

    matrix: FloatArray
    proof: str
    product: Fraction
    square: Fraction

    @property
    def depth(self) -> float:
        """−<C, B> / ‖C‖, up to rounding."""
        return -float(self.product) / float(self.square) ** 0.5


def separate(gram: FloatArray, factor: FloatArray) -> Witness | None:
    """The deepest of the witnesses that were found; None if there is none.

    Args:
        gram: B, (K, K) symmetric, finite.
        factor: F ≥ 0 with F Fᵀ near B.
    """
    candidates = [_spectral(gram), _negative_entries(gram), _signed(gram)]
    found = [witness for C in candidates if (witness := prove(C, gram)) is not None]
    if gram.shape[0] <= LARGEST:
        shifted = (prove(C, gram) for C in _differences(gram, factor))
        found += list(itertools.islice((witness for witness in shifted if witness is not None), 1))
    return max(found, key=lambda witness: witness.depth, default=None)


def prove(matrix: FloatArray, gram: FloatArray) -> Witness | None:
    """The witness, if ``matrix`` is symmetric, proved copositive, and <C, B> < 0 exactly; else None."""
    exact, given = ExactVector.of_floats(matrix.ravel()), ExactVector.of_floats(gram.ravel())
    unit = Fraction(2) ** exact.exponent
    product = Fraction(sum(c * b for c, b in zip(exact.integers, given.integers, strict=True)))
    if product >= 0 or not np.array_equal(matrix, matrix.T):
        return None
    K = gram.shape[0]
    proof = copositivity_proof([exact.integers[K * k : K * (k + 1)] for k in range(K)])
    if proof is None:
        return None
    square = Fraction(sum(c * c for c in exact.integers)) * unit**2
    return Witness(matrix, proof, product * unit * Fraction(2) ** given.exponent, square)


def _spectral(gram: FloatArray) -> FloatArray:
    """V vᵀ for the least eigenvalue; the signs of its entries form a bipartite graph, so no triangle."""
    v = _rounded(np.linalg.eigh(gram)[1][:, 0])
    return np.outer(v, v)


def _negative_entries(gram: FloatArray) -> FloatArray:
    """What is negative off the diagonal, with the other sign: a non-negative matrix, all of whose signs are +1."""
    negative: FloatArray = np.maximum(-gram, 0.0)
    np.fill_diagonal(negative, 0.0)
    return negative


def _signed(gram: FloatArray) -> FloatArray:
    """s∘x xᵀ, by turns the triangle-free s that is best for x, greedily, and the x that is best for s."""
    x = np.ones(gram.shape[0])
    best, least = np.outer(x, x), np.inf
    for _ in range(_ALTERNATIONS):
        signs = _triangle_free(gram * np.outer(x, x))
        x = _rounded(np.abs(np.linalg.eigh(gram * signs)[1][:, 0]))
        C = signs * np.outer(x, x)
        if (C * gram).sum() >= least:
            break
        best, least = C, float((C * gram).sum())
    return best


def _triangle_free(weights: FloatArray) -> FloatArray:
    """Signs: −1 on the heaviest positive pairs that close no triangle, else +1."""
    K = weights.shape[0]
    signs = np.ones((K, K))
    taken = np.zeros((K, K), dtype=bool)
    rows, columns = np.triu_indices(K, 1)
    order = np.argsort(-weights[rows, columns], kind="stable")
    for k, l in zip(rows[order].tolist(), columns[order].tolist(), strict=True):  # noqa: E741
        if weights[k, l] > 0.0 and not (taken[k] & taken[l]).any():
            taken[k, l] = taken[l, k] = True
            signs[k, l] = signs[l, k] = -1.0
    return signs


def _differences(gram: FloatArray, factor: FloatArray) -> Iterator[FloatArray]:
    """F Fᵀ − B with a diagonal that covers what is missing to copositivity, and then four times that, and so on."""
    product = factor @ factor.T
    difference = 0.5 * (product + product.T) - gram
    size = float(np.abs(difference).max(initial=0.0))
    if size == 0.0:
        return
    shift = max(-1.125 * lowest_direction(difference)[0], 2.0 ** (2 - _BITS) * size)
    for _ in range(_SHIFTS):
        rounded = ExactMatrix.near(difference + shift * np.eye(gram.shape[0]), _BITS)
        yield np.ldexp(np.array(rounded.rows, dtype=np.float64), rounded.exponent)
        shift *= 4.0


def _rounded(vector: FloatArray) -> FloatArray:
    """To 26 bits below the largest entry."""
    exact = ExactMatrix.near(vector[None, :], _HALF)
    rounded: FloatArray = np.ldexp(np.array(exact.rows[0], dtype=np.float64), exact.exponent)
    return rounded

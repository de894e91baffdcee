"""Copositivity in integers, against theory: extreme copositive matrices, closed criteria, and points of the orthant."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ufm_convex.positivity.copositivity import LARGEST, copositivity_proof, lowest_direction

HORN = [[1, -1, 1, 1, -1], [-1, 1, -1, 1, 1], [1, -1, 1, -1, 1], [1, 1, -1, 1, -1], [-1, 1, 1, -1, 1]]


def circulant(row):
    return [[row[(l - k) % len(row)] for l in range(len(row))] for k in range(len(row))]  # noqa: E741


def hildebrand(angles):
    """T(ψ), extreme among copositive matrices for ψ > 0 with Σψ < π (Hildebrand, Linear Algebra Appl. 437, 2012)."""
    T = np.eye(5)
    for k in range(5):
        T[k, (k + 1) % 5] = T[(k + 1) % 5, k] = -math.cos(angles[k])
        T[k, (k + 2) % 5] = T[(k + 2) % 5, k] = math.cos(angles[k] + angles[(k + 1) % 5])
    return T


def in_integers(matrix, shift):
    """2⁴⁰ times the matrix plus ``shift`` on the diagonal."""
    return np.rint(2.0**40 * (matrix + shift * np.eye(len(matrix)))).astype(int).tolist()


def triangle_free(signs):
    return all(
        max(signs[a][b], signs[b][c], signs[a][c]) > 0 for a, b, c in itertools.combinations(range(len(signs)), 3)
    )


def three_by_three(m):
    """Copositive or not, by the closed form of Hadeler (Linear Algebra Appl. 49, 1983), in 60 digits."""
    with mpmath.workdps(60):
        (a, d, e), (_, b, f), (_, _, c) = ([mpmath.mpf(entry) for entry in row] for row in m)
        if min(a, b, c) < 0:
            return False
        ra, rb, rc = mpmath.sqrt(a), mpmath.sqrt(b), mpmath.sqrt(c)
        pairs = d + ra * rb, e + ra * rc, f + rb * rc
        zero = -(mpmath.mpf(10) ** -40)  # sums of square roots of integers below 40 are 0 or much larger
        if min(pairs) < zero:
            return False
        product = mpmath.fprod(2 * [1] + [max(p, 0) for p in pairs])
        return ra * rb * rc + d * rc + e * rb + f * ra + mpmath.sqrt(2 * product) >= zero


def test_the_horn_matrix_is_copositive_and_less_than_it_is_not():
    assert copositivity_proof(HORN) == "signs"
    for k, l in itertools.combinations_with_replacement(range(5), 2):  # noqa: E741
        lowered = (1000 * np.array(HORN)).tolist()
        lowered[k][l] = lowered[l][k] = lowered[k][l] - 1
        # extreme: no entry of a cycle edge or of the diagonal can be lowered, nor can any other
        assert copositivity_proof(lowered) is None


def test_the_matrix_of_hoffman_and_pereira_is_copositive():
    """Hoffman, Pereira, J. Combin. Theory A 14, 1973: extreme for seven indices, with entries 0."""
    row = [1, -1, 1, 0, 0, 1, -1]
    assert copositivity_proof(circulant(row)) == "supports"
    assert copositivity_proof(circulant([1000, -1000, 1000, -1, -1, 1000, -1000])) is None
    assert copositivity_proof(circulant([999, -1000, 1000, 0, 0, 1000, -1000])) is None


@given(st.lists(st.floats(0.05, 0.6), min_size=5, max_size=5))
def test_hildebrands_matrices_are_at_the_edge(angles):
    T = hildebrand(angles)
    assert copositivity_proof(in_integers(T, 1e-9)) is not None
    # on the simplex the form has a zero with entries sin ψ > 0, so any smaller diagonal is too small
    assert copositivity_proof(in_integers(T, -1e-9)) is None


@given(st.lists(st.integers(-6, 6), min_size=6, max_size=6))
def test_three_indices_agree_with_the_closed_form(entries):
    a, b, c, d, e, f = entries
    matrix = [[a, d, e], [d, b, f], [e, f, c]]
    assert (copositivity_proof(matrix) is not None) == three_by_three(matrix)


def test_all_patterns_of_signs_on_five_indices():
    """Haynsworth and Hoffman: copositive iff no three signs are negative all round."""
    pairs = list(itertools.combinations(range(5), 2))
    for signs in itertools.product([-1, 1], repeat=len(pairs)):
        matrix = np.eye(5, dtype=int)
        for (k, l), sign in zip(pairs, signs, strict=True):  # noqa: E741
            matrix[k, l] = matrix[l, k] = sign
        proof = copositivity_proof(matrix.tolist())
        assert proof == ("signs" if triangle_free(matrix) else None)


def test_signs_prove_any_number_of_indices_and_their_opposite_is_refused():
    K = 2 * LARGEST + 1
    row = [1, -1] + [1] * (K - 3) + [-1]
    x = np.arange(1, K + 1)
    scaled = np.array(circulant(row)) * np.outer(x, x)
    assert copositivity_proof(scaled.tolist()) == "signs"
    scaled[0, 2] = scaled[2, 0] = -3  # closes the triangle 0, 1, 2
    assert copositivity_proof(scaled.tolist()) is None


@given(st.integers(2, 6), st.integers(0, 10**6))
def test_verdicts_hold_at_points_of_the_orthant(K, seed):
    rng = np.random.default_rng(seed)
    C = rng.integers(-4, 7, size=(K, K))
    C = C + C.T + np.diag(rng.integers(0, 12, size=K))
    least, direction = lowest_direction(C.astype(float))
    if copositivity_proof(C.tolist()) is None:
        assert direction.min() >= 0.0
        assert direction @ C @ direction == pytest.approx(least, rel=1e-12)
        assert least < 0.0
    else:
        # eigenvalues of integer matrices of this size are right to 1e-13
        assert least > -1e-12
        points = rng.integers(0, 5, size=(200, K))
        assert np.einsum("ik,kl,il->i", points, C, points).min() >= 0


def test_a_psd_matrix_and_a_nonnegative_one_are_copositive_and_their_sum_is():
    rng = np.random.default_rng(0)
    X, Y = rng.integers(-3, 4, size=(8, 3)), rng.integers(0, 4, size=(8, 8))
    assert copositivity_proof((X @ X.T + Y + Y.T).tolist()) is not None
    assert copositivity_proof((X @ X.T - np.eye(8, dtype=int)).tolist()) is None


def test_all_supports_are_looked_at_up_to_the_limit_and_no_further():
    """A Gram matrix with three obtuse angles all round is copositive, but dominates no pattern of signs."""
    for K, proof in ((LARGEST, "supports"), (LARGEST + 1, None)):
        X = np.random.default_rng(K).integers(-2, 3, size=(K, 2))
        X[:3] = [[1, 0], [-1, 2], [-1, -2]]  # three obtuse angles
        assert copositivity_proof((X @ X.T).tolist()) == proof


def test_the_least_form_is_that_of_a_search():
    """Against projected descent from many starts, written down independently."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        C = rng.normal(size=(6, 6))
        C = C + C.T
        x = np.abs(rng.normal(size=(400, 6)))
        for _ in range(3000):
            x = np.maximum(x - 0.02 * x @ C, 0.0)
            x /= np.linalg.norm(x, axis=1)[:, None]
        found = np.einsum("ik,kl,il->i", x, C, x).min()
        assert lowest_direction(C)[0] == pytest.approx(found, abs=1e-9)

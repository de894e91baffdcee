"""Theorems that make a matrix completely positive, tested exactly, on integers.

Let B ≥ 0 entrywise be positive semidefinite. It is completely positive
- for K ≤ 4 (Maxfield, Minc, Proc. Edinburgh Math. Soc. 13, 1962);
- if its rank is at most 2 (Gray, Wilson, Linear Algebra Appl. 31, 1980);
- if its comparison matrix M(B) is positive semidefinite, M_kk = B_kk and M_kl = −B_kl (Drew, Johnson, Loewy, Linear
  Multilinear Algebra 37, 1994); this includes diagonal dominance (Kaykobad, Linear Algebra Appl. 96, 1987).
"""

from __future__ import annotations

from collections.abc import Sequence

_LARGEST = 64
"""Largest K for which a characteristic polynomial is formed."""

Rows = Sequence[Sequence[int]]


def is_positive_semidefinite(rows: Rows) -> bool:
    """Whether a symmetric integer matrix is positive semidefinite, exactly.

    Its eigenvalues are real, so they are ≥ 0 iff no coefficient of det(t I + M) is negative.
    """
    from flint import fmpz_mat

    coefficients = list(fmpz_mat(rows).charpoly())
    return all((-1) ** (len(rows) - power) * c >= 0 for power, c in enumerate(coefficients))


def completely_positive(rows: Rows) -> str | None:
    """The theorem that makes a symmetric integer matrix completely positive, in words; None if none applies."""
    from flint import fmpz_mat

    K = len(rows)
    if K > _LARGEST or min(map(min, rows)) < 0:
        return None
    comparison = [[entry if k == l else -entry for l, entry in enumerate(row)] for k, row in enumerate(rows)]  # noqa: E741
    if is_positive_semidefinite(comparison):
        return "its comparison matrix is positive semidefinite"
    if (K <= 4 or fmpz_mat(rows).rank() <= 2) and is_positive_semidefinite(rows):
        return "it is doubly non-negative, and " + ("K <= 4" if K <= 4 else "its rank is at most 2")
    return None

"""A proof in integers that a slack is copositive: times a positive linear form, it is a cubic form that is ≥ 0.

Let C be the integer slack of ``enclosure.slack`` without τ. Positive integers α_i and matrices P_i = F_i F_iᵀ with

    T_ijk = α_i C_jk + α_j C_ik + α_k C_ij − (P_i)_jk − (P_j)_ik − (P_k)_ij ≥ 0     for all i ≤ j ≤ k

prove it: (Σ α_i x_i) xᵀCx = Σ_i x_i ‖F_iᵀx‖² + ⅓ Σ_ijk T_ijk x_i x_j x_k ≥ 0 for x ≥ 0 (docs/parrilo.md,
section 5). No factor has to be exact, for P_i is what its factor says; T has room for their rounding.

The room is bought as in ``enclosure.slack``: with V scaled by s, s² = 1 − margin, the slack is margin · D + s² (D − G),
and every P_i of an approximate form is s² P_i + margin · D, less ε 11ᵀ, which leaves T_ijk ≥ 3 ε.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import slack
from ufm_convex.enclosure.block_dual import BlockDual
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.positivity.parrilo import CubicForm
from ufm_convex.relaxation import Alike

Rows = list[list[int]]

_ROOM = 2.0**-42
"""ε where D = I: more than the rounding of a Cholesky factorisation of order 20, far less than a tolerance."""
_WEIGHT_BITS = 60
_STEP = 4.0


@dataclass(frozen=True, eq=False)
class CopositiveProof(BlockDual):
    """A dual point whose slack D − G is copositive, with what shows it; without multiplier and factor.

    Attributes:
        weights: α; None where the supports of violations are looked through instead.
        factors: F_i, lower triangles; likewise.
    """

    weights: list[int] | None = None
    factors: list[Rows] | None = None

    @classmethod
    def of(cls, point: BlockDual, weights: list[int] | None = None, factors: list[Rows] | None = None) -> Self:
        """The proof of a point in integers."""
        given = {one.name: getattr(point, one.name) for one in fields(point)}
        return cls(**given, weights=weights, factors=factors)


def prove(columns: ExactColumns, V: Alike, C: FloatArray, form: CubicForm) -> CopositiveProof | None:
    """V shrunk until the form, repaired, proves its slack in integers; None when no margin up to a tenth suffices.

    Args:
        columns: Single columns.
        V: The residuals.
        C: Their slack I − D^-½ G D^-½, (m, m), in binary64.
        form: What shows that it is copositive, up to rounding.
    """
    near = form.matched(C)
    if not np.isfinite(near.slices).all():
        return None
    least, m = float(np.linalg.eigvalsh(near.slices)[:, 0].min()), len(C)
    margin = 1.125 * max(0.0, -least) + 4.0 * m * _ROOM
    while margin <= slack.LARGEST_MARGIN:
        point, rows = slack.shrunk(columns, "copositive", V, margin)
        moved = (1.0 - margin) * near.slices + margin * np.eye(m) - _ROOM
        found = _factored(moved, _lengths(columns, point.exponents))
        if found is not None and cubic_form_holds(rows, *found):
            return CopositiveProof.of(point, *found)
        margin *= _STEP
    return None


def _lengths(columns: ExactColumns, exponents: list[int]) -> FloatArray:
    """√ρ: the square root of D in the scale of the integers."""
    decays = math.sqrt(columns.lambda_w) * math.sqrt(columns.lambda_h) * columns.num_samples
    lengths: FloatArray = np.ldexp(decays / (columns.weights * np.sqrt(columns.counts)), -np.array(exponents))
    return lengths


def _factored(slices: FloatArray, lengths: FloatArray) -> tuple[list[int], list[Rows]] | None:
    """α and F in the scale of the integers, of slices in which D = I; None where one is not positive definite."""
    # y = Diag(lengths) x has Σ y ∝ Σ α x and y_i yᵀPy ∝ α_i x_i xᵀ Diag(lengths) P Diag(lengths) x
    weights = [int(length) for length in np.ldexp(lengths / lengths.max(), _WEIGHT_BITS)]
    if min(weights) < 1:
        return None
    factors = []
    for weight, matrix in zip(weights, slices, strict=True):
        try:
            factor = np.linalg.cholesky(matrix) * (math.sqrt(weight) * lengths)[:, None]
        except np.linalg.LinAlgError:
            return None
        factors.append([[int(entry) for entry in row[: g + 1]] for g, row in enumerate(np.rint(factor).tolist())])
    return weights, factors


def cubic_form_holds(rows: Rows, weights: list[int], factors: list[Rows]) -> bool:
    """Whether all T_ijk are ≥ 0, in integers, and all α_i are positive.

    Args:
        rows: C, m rows of m integers.
        weights: α, (m,).
        factors: F, m lower triangles.
    """
    from flint import fmpz_mat

    m, products = len(rows), []
    for factor in factors:
        F = fmpz_mat([row + [0] * (m - len(row)) for row in factor])
        products.append([[int(entry) for entry in row] for row in (F * F.transpose()).tolist()])
    return min(weights) > 0 and all(
        weights[i] * rows[j][k] + weights[j] * rows[i][k] + weights[k] * rows[i][j]
        >= products[i][j][k] + products[j][i][k] + products[k][i][j]
        for i, j, k in itertools.combinations_with_replacement(range(m), 3)
    )

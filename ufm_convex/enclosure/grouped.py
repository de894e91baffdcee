"""Proved bounds from group-level points: the same proofs as for (K, K) matrices, on their (G, G) entries.

The lower bound is the group slack proof of ``slack`` at the rounded dual point. The upper bound is the objective at W
and H whose entries are exact binary64 numbers: every entry of W Hᵀ and every penalty is a polynomial in them with
integer coefficients (the numbers of alike classes), evaluated in ball arithmetic (docs/duality.md, section 7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import slack
from ufm_convex.enclosure.exact import (
    PRECISION,
    float_above,
    float_below,
    lower_end,
    power,
    rational,
    upper_end,
)
from ufm_convex.enclosure.groups import Groups as ProofGroups
from ufm_convex.enclosure.proved import ProvedBound
from ufm_convex.enclosure.slack import BlockProof
from ufm_convex.group_factors import GroupFactors
from ufm_convex.groups import GroupColumns, GroupDual, Invariant
from ufm_convex.losses import ExactColumn
from ufm_convex.problem import Problem

if TYPE_CHECKING:
    from flint import arb, arb_mat, fmpq


def group_lower_bound(problem: Problem, dual: GroupDual) -> ProvedBound:
    """A proved lower bound from a group-level dual point that is feasible up to rounding; see ``lower_bound``.

    Returns:
        The bound; when nothing about ``dual`` can be proved, the bound of V = 0, which is always feasible.

    Raises:
        HypothesisError: the problem has a bias, whose part of the dual value is not here.
    """
    from flint import arb, ctx

    problem.require_no_bias("a bound from a group-level point")
    columns = GroupColumns.of(problem)
    groups = dual.groups
    with ctx.workprec(PRECISION):
        entries = (dual.residuals.entries(), dual.nonnegativity.entries())
        proof = _prove(problem, columns, dual) if all(np.isfinite(e).all() for e in entries) else None
        if proof is not None:
            try:
                total = _dual_value(problem, columns, proof)
                return ProvedBound(float_below(total), "group", lower_end(total), proof)
            except ValueError:  # a column left the conjugate's domain: the exact test refused it
                pass
        total = arb(0)
        for share, others in zip(_shares(problem, columns), groups.others.T.tolist(), strict=True):
            zeros = [rational(0)] * (groups.size + 1)
            total -= share * columns.loss.enclose_conjugate(zeros, _exact_column(columns, others))
        return ProvedBound(float_below(total), "trivial", lower_end(total), BlockProof.zero(problem, groups))


def group_upper_bound(problem: Problem, factors: GroupFactors, *, penalties: bool = True) -> ProvedBound:
    """A proved upper bound: the objective at the factors, enclosed; +inf when they are not admissible.

    Args:
        problem: The problem.
        factors: W and H.
        penalties: False for the loss alone.
    """
    from flint import ctx

    W, H = factors.W, factors.H
    admissible = all(np.isfinite(matrix.entries()).all() for matrix in (W, H))
    admissible = admissible and (not problem.nonnegative or bool((H.entries() >= 0.0).all()))
    if not admissible or factors.used(problem.nonnegative) > (problem.feature_dim or problem.num_classes):
        return ProvedBound(math.inf, "group")
    with ctx.workprec(PRECISION):
        total = _loss(problem, GroupColumns.of(problem), W, H)
        total += _penalty(problem, W, H) if penalties else 0
        return ProvedBound(float_above(total), "group", upper_end(total) if total.is_finite() else None)


# -- the dual point -------------------------------------------------------------------------------------------------


def _prove(problem: Problem, columns: GroupColumns, dual: GroupDual) -> BlockProof | None:
    """The slack proof at V and T: as ``slack.prove``, whose block means these entries are."""
    groups, weights = columns.groups, columns.loss_weights
    alike = ProofGroups(groups.counts, groups.weights, groups.multiplicities, groups.members)
    V = dual.residuals
    return slack.prove_entries(
        problem, alike, "group", V.cross, V.own, lambda: dual.nonnegativity.cross / np.outer(weights, weights)
    )


def _dual_value(problem: Problem, columns: GroupColumns, proof: BlockProof) -> arb:
    """−Σ K_g pt_g l*(v_g) at the exact point."""
    from flint import arb

    total = arb(0)
    own_integers = proof.own_entries(columns.groups.multiplicities.tolist())
    for g, (share, integers) in enumerate(zip(_shares(problem, columns), proof.columns, strict=True)):
        column = _exact_column(columns, columns.groups.others[:, g].tolist())
        unit = power(proof.exponents[g])
        entries: list[fmpq] = [unit * integer for integer in integers]
        own = unit * own_integers[g]
        total -= share * columns.loss.enclose_conjugate([*entries, own], column)
    return total


def _exact_column(columns: GroupColumns, others: Sequence[float]) -> ExactColumn:
    """One entry a group of others, then the own one: a column of ``GroupColumns.layout``."""
    return columns.loss.exact_orbit_column([*map(int, others), 1], len(others))


def _shares(problem: Problem, columns: GroupColumns) -> list[arb]:
    """K_g ω_g n_g / N."""
    from flint import arb

    groups = columns.groups
    data = zip(groups.weights.tolist(), groups.counts.tolist(), groups.multiplicities.tolist(), strict=True)
    return [arb(rational(weight) * count * size / problem.num_samples) for weight, count, size in data]


# -- the witness ----------------------------------------------------------------------------------------------------


def _loss(problem: Problem, columns: GroupColumns, W: Invariant, H: Invariant) -> arb:
    """The loss at the entries of W Hᵀ."""
    from flint import arb

    groups = columns.groups
    sizes = groups.multiplicities.tolist()
    own, cross = _logits(sizes, W, H)
    total = arb(0)
    for g, share in enumerate(_shares(problem, columns)):
        column = _exact_column(columns, [m - (h == g) for h, m in enumerate(sizes)])
        total += share * columns.loss.enclose_value([*(row[g] for row in cross), own[g]], column)
    return total


def _penalty(problem: Problem, W: Invariant, H: Invariant) -> arb:
    """λ_W/2 ‖W‖² + λ_H/2 ‖H‖²."""
    from flint import arb

    sizes, counts, total = W.groups.multiplicities.tolist(), W.groups.counts.tolist(), arb(0)
    for g, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        total += arb(problem.lambda_w) / 2 * size * _row_square(sizes, W, g)
        total += arb(problem.lambda_h) / 2 * size * count * _row_square(sizes, H, g)
    return total


def _logits(sizes: list[int], W: Invariant, H: Invariant) -> tuple[list[arb], list[list[arb]]]:
    """Entries of W Hᵀ: the sum over all coordinates of products of ``cross``, corrected at the two own coordinates."""
    from flint import arb, arb_mat

    w_own, h_own = ([arb(entry) for entry in matrix.own.tolist()] for matrix in (W, H))
    w, h = W.cross.tolist(), H.cross.tolist()
    weighted: arb_mat = arb_mat([[size * arb(entry) for size, entry in zip(sizes, row, strict=True)] for row in w])
    product = (weighted * arb_mat(_balls(H.cross)).transpose()).tolist()
    w_excess = [entry - arb(w[g][g]) for g, entry in enumerate(w_own)]
    h_excess = [entry - arb(h[g][g]) for g, entry in enumerate(h_own)]
    own = [product[g][g] + w_own[g] * h_own[g] - arb(w[g][g]) * arb(h[g][g]) for g in range(len(sizes))]
    cross = [
        [entry + w_excess[g] * arb(h[k][g]) + arb(w[g][k]) * h_excess[k] for k, entry in enumerate(row)]
        for g, row in enumerate(product)
    ]
    return own, cross


def _balls(matrix: FloatArray) -> list[list[arb]]:
    from flint import arb

    return [[arb(entry) for entry in row] for row in matrix.tolist()]


def _row_square(sizes: list[int], matrix: Invariant, g: int) -> arb:
    """The squared norm of the row of a class of group g."""
    from flint import arb

    entries = zip(sizes, matrix.cross[g].tolist(), strict=True)
    others = sum(((m - (h == g)) * arb(entry) ** 2 for h, (m, entry) in enumerate(entries)), arb(0))
    return others + arb(float(matrix.own[g])) ** 2

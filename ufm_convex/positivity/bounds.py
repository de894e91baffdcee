"""Proved bounds where positive semidefinite is too much to ask: the slack D − G is copositive.

For H ≥ 0 the master identity needs <D − G, H̄ H̄ᵀ> ≥ 0 and no more (docs/complete_positivity.md, section 1), so a dual
value bounds the problem from below as soon as D − UᵀU is copositive, whether or not it is the sum of a positive
semidefinite and a non-negative matrix. The rounded slack is the integer matrix of ``slack`` with τ = 0; its
copositivity is proved by a cubic form, or on all supports, for up to 12 columns.

A point that the relaxation is bounded above by is any W and M of real entries with M Mᵀ ≥ 0 entrywise, in integers.
"""

from __future__ import annotations

import math

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.enclosure import slack
from ufm_convex.enclosure.columns import ExactColumns
from ufm_convex.enclosure.exact import PRECISION
from ufm_convex.enclosure.proved import FactorWitness, ProvedBound, below
from ufm_convex.enclosure.upper import upper_bound
from ufm_convex.positivity import cubic
from ufm_convex.positivity.copositivity import LARGEST, copositivity_proof, lowest_direction
from ufm_convex.positivity.cubic import CopositiveProof
from ufm_convex.positivity.parrilo import CubicForm
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, of_classes, residual_gram

_STEP = 4.0


def copositive_lower_bound(
    problem: Problem, residuals: FloatArray, form: CubicForm | None = None, *, precision: int = PRECISION
) -> ProvedBound:
    """A proved lower bound of the optimum, but not of its relaxation, at every feature dimension.

    Args:
        problem: A problem with non-negative features; with at most 12 classes with samples where there is no ``form``.
        residuals: V, (K, K), with D − UᵀU copositive up to rounding; shrunk until it is, by at most a tenth of D. Not
            looked at are the columns of classes without samples.
        form: What shows that the slack is copositive, up to rounding; by default all supports are looked at.
        precision: Bits of the ball arithmetic.

    Returns:
        The bound, with proof "parrilo" by a form, else "copositive"; −inf when nothing about ``residuals`` can be
        proved.
    """
    from flint import arb

    from ufm_convex.verifier.precision import working_precision

    problem.require_plain("a bound by a copositive slack")
    name = "copositive" if form is None else "parrilo"
    nothing = ProvedBound(-math.inf, name)
    few = form is not None or problem.num_columns <= LARGEST
    if not (problem.nonnegative and few and np.isfinite(residuals).all()):
        return nothing
    columns = ExactColumns.of_classes(problem)
    with working_precision(precision):
        proof = _prove(problem, columns, residuals, form)
        if proof is None:
            return nothing
        total = arb(0)
        try:
            for k, (share, column) in enumerate(zip(columns.shares(), proof.entries(columns), strict=True)):
                total -= arb(share) * problem.loss.enclose_conjugate(column, columns.column(k))
        except ValueError:  # a column left the conjugate's domain: the exact test refused it
            return nothing
        return below(total, name, proof)


def _prove(
    problem: Problem, columns: ExactColumns, residuals: FloatArray, form: CubicForm | None
) -> CopositiveProof | None:
    """V shrunk until its slack is copositive in integers; None when no margin up to a tenth suffices."""
    classes, there = of_classes(problem), columns.columns.positions
    gram = residual_gram(classes, Alike.matrix(classes.outputs, classes.columns, residuals[:, there])).even
    C, V = np.eye(len(gram)) - gram, Alike.matrix(columns.outputs, columns.columns, residuals[:, there])
    return _by_supports(columns, V, C) if form is None else cubic.prove(columns, V, C, form)


def _by_supports(columns: ExactColumns, V: Alike, C: FloatArray) -> CopositiveProof | None:
    """The proof on all supports.

    With V scaled by s and s² = 1 − m the slack is m D + s² (D − G), whose least value on the orthant's unit sphere, in
    units where D = I, is at least m + (1 − m) μ: so m is just above −μ, and rounding asks for a little more.
    """
    lowest, _ = lowest_direction(C)
    margin = max(slack.TINY_MARGIN, -1.125 * lowest)
    while margin <= slack.LARGEST_MARGIN:
        point, rows = slack.shrunk(columns, "copositive", V, margin)
        if copositivity_proof(rows) is not None:
            return CopositiveProof.of(point)
        margin *= _STEP
    return None


def relaxation_upper_bound(
    problem: Problem, W: FloatArray, M: FloatArray, *, precision: int = PRECISION
) -> ProvedBound:
    """A proved upper bound of the optimum of the relaxation: the objective at the Gram matrix of (W, M).

    Args:
        problem: A problem with non-negative features.
        W: Classifier, (K, d).
        M: (K, d), of any signs, with M Mᵀ ≥ 0 entrywise.
        precision: Bits of the ball arithmetic.

    Returns:
        The bound; +inf when an entry of M Mᵀ is negative, or is not finite.
    """
    free = Problem(problem.class_counts, problem.lambda_w, problem.lambda_h, loss=problem.loss, features="free")
    found = upper_bound(free, (W, M), precision=precision)
    if not isinstance(found.exact_point, FactorWitness):
        return found
    rows = found.exact_point.H.even
    if any(sum(a * b for a, b in zip(x, y, strict=True)) < 0 for x in rows for y in rows):
        return ProvedBound(math.inf, "dense")
    return found

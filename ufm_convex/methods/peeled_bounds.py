"""The two bounds of a layer-peeled problem with the exact points behind them.

Norm bounds are proved through a penalised problem (docs/certificate_models.md, section 3.5). Its dual point is written
with its decays, and its classes, which have one sample and the weight ω_k n_k, are those that the format speaks of.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ufm_convex import enclosure
from ufm_convex._bits import fraction
from ufm_convex.enclosure import ProvedBound
from ufm_convex.errors import HypothesisError, SolverError
from ufm_convex.evidence import Bounds, lower_with_point
from ufm_convex.methods.peeled_evidence import PeeledEvidence
from ufm_convex.methods.penalised import INWARDS, PenalisedFamily
from ufm_convex.problem import Problem

_EXCESS_BITS = 60


def within_norms(evidence: PeeledEvidence, proof: enclosure.Proof) -> Bounds:
    """Both bounds through the penalised problem behind them.

    Raises:
        HypothesisError: classes are alike in binary64 that are not.
        SolverError: no point within norm bounds is left.
    """
    family, inner = PenalisedFamily.of(evidence.problem), evidence.inner
    _require_distinct(family, inner.problem)
    witness = inner.upper
    upper = evidence.upper if witness.exact_point is None else replace(evidence.upper, exact_point=witness.exact_point)
    if upper.exact_point is None:
        upper = _narrowed(family, evidence)
    if evidence.idle:
        return Bounds(_idle(family, inner.problem, proof), upper, (Fraction(0), Fraction(0)))
    lower = lower_with_point(inner, proof)
    if lower.exact is None:
        return Bounds(lower, upper)
    # weights that were rounded down make the slack of the penalised problem too generous: so much decay makes up for it
    share = _above(family.excess)
    alpha, beta = (share * fraction(decay) for decay in (inner.problem.lambda_w, inner.problem.lambda_h))
    unit = family.scale * evidence.problem.num_samples
    paid = alpha * family.radii[0] + beta * family.radii[1]
    exact = family.scale * (lower.exact - paid / 2)
    if family.least.exact is not None and exact < family.least.exact:
        return Bounds(_idle(family, inner.problem, proof), upper, (Fraction(0), Fraction(0)))
    lower = replace(lower, value=enclosure.fraction_below(exact), exact=exact, exact_point=_in_units(family, lower))
    return Bounds(lower, upper, (unit * alpha, unit * beta))


def _in_units(family: PenalisedFamily, lower: ProvedBound) -> enclosure.ExactPoint | None:
    """The dual point; columns of N U, as a free bias asks for, in the units of the problem."""
    proof = lower.exact_point
    if not isinstance(proof, enclosure.BlockDual) or not proof.balanced:
        return proof
    if family.excess != 1:
        raise HypothesisError(
            "class weights times class counts are no binary64 numbers, and a free bias has to balance them exactly.",
            expected="class weights of few digits, or a bias with a penalty",
            fix="round the class weights, or give the bias a small weight, such as 1e-9.",
        )
    return proof.times(family.scale * family.problem.num_samples / family.problem.num_classes)


def _idle(family: PenalisedFamily, penalised: Problem, proof: enclosure.Proof) -> ProvedBound:
    """The bound of V = 0 in the form that was asked for."""
    if proof in ("auto", "diagonal"):
        return family.least
    columns = enclosure.ExactColumns.of_groups(penalised)
    if proof == "dense" or columns.kind == "dense":
        columns = enclosure.ExactColumns.of_classes(penalised)
    return replace(family.least, exact_point=enclosure.BlockDual.zero(columns))


def _narrowed(family: PenalisedFamily, evidence: PeeledEvidence) -> ProvedBound:
    """The loss at the factors as matrices, shortened until they lie in the balls."""
    W, H = evidence.factors(evidence.problem.feature_dim)
    inwards = 0.0
    while inwards < 1.0:
        share, penalised = 1.0 - inwards, evidence.inner.problem
        found = enclosure.upper_bound(penalised, (share * W, share * H), penalties=False)
        if isinstance(found.exact_point, enclosure.FactorWitness) and found.exact is not None:
            squares = enclosure.square_norms(penalised, found.exact_point)
            if all(square <= radius for square, radius in zip(squares, family.radii, strict=True)):
                exact = family.scale * family.excess * found.exact
                return replace(found, value=enclosure.fraction_above(exact), exact=exact)
        inwards = 16.0 * inwards or INWARDS
    raise SolverError(
        "no W and H within the norm bounds were found.",
        expected="factors that can be shortened",
        fix="scale the problem, or try another solver.",
    )


def _require_distinct(family: PenalisedFamily, penalised: Problem) -> None:
    """Raise ``HypothesisError`` if weights that are not the same have become so by rounding."""
    if not family.problem.loss.alike:  # classes stand one by one, whatever their loads
        return
    columns = enclosure.ExactColumns.of_groups(family.problem)
    loads = [fraction(w) * n for w, n in zip(columns.weights.tolist(), columns.counts.tolist(), strict=True)]
    place = {load: g for g, load in enumerate(sorted(set(loads)))}
    members = enclosure.ExactColumns.of_groups(penalised).columns.members
    if [place[load] for load in loads] != members[columns.rows].tolist():
        raise HypothesisError(
            "class weights times class counts differ by less than a rounding error.",
            expected="products that are the same, or not the same in binary64",
            fix="round the class weights to fewer digits.",
        )


def _above(excess: Fraction) -> Fraction:
    """A dyadic number that is not below."""
    unit = Fraction(1, 1 << _EXCESS_BITS)
    return -(-excess // unit) * unit

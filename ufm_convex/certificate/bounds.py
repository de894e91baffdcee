"""The two bounds of a solution with the exact points behind them: what a certificate writes down.

Norm bounds are proved through a penalised problem (docs/certificate.md, section 3.5). Its dual point is written with
its decays, and its classes, which have one sample and the weight ω_k n_k, are those that the format speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from ufm_convex import enclosure
from ufm_convex._bits import fraction
from ufm_convex.enclosure import ProvedBound
from ufm_convex.errors import HypothesisError, SolverError
from ufm_convex.methods.peeled_evidence import PeeledEvidence
from ufm_convex.methods.penalised import INWARDS, PenalisedFamily
from ufm_convex.positivity.gap_closure import GapClosure
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Dual, DualPoint, FrameDual
from ufm_convex.solution import Solution

_EXCESS_BITS = 60


@dataclass(frozen=True, eq=False)
class Bounds:
    """Both bounds of a problem.

    Attributes:
        lower: With a dual point as evidence.
        upper: With a witness as evidence.
        decays: N α and N β of the dual point, exactly, where the problem has none of its own; else None.
    """

    lower: ProvedBound
    upper: ProvedBound
    decays: tuple[Fraction, Fraction] | None = None

    @classmethod
    def of(cls, solution: Solution | GapClosure[Solution], proof: enclosure.Proof) -> Bounds:
        """The solution's own bounds where they have exact points, else bounds that its points prove.

        Those of a closed gap come with the proofs that they have.

        Raises:
            HypothesisError: classes are alike in binary64 that are not.
            SolverError: no point within norm bounds is left.
        """
        if isinstance(solution, GapClosure):
            return _of_closure(solution)
        problem, evidence = solution.problem, solution.evidence
        if isinstance(evidence, PeeledEvidence):
            return _within_norms(evidence, proof)
        upper = evidence.upper
        if upper.evidence is None:
            upper = enclosure.upper_bound(problem, solution.factors())
        return cls(_lower(problem, evidence.dual, evidence.lower, proof), upper)


def _of_closure(closure: GapClosure[Solution]) -> Bounds:
    """The bounds of a closed gap, or the relaxation's where one has no exact point."""
    upper, lower = closure.upper, closure.lower
    if upper.evidence is None:
        upper = enclosure.upper_bound(closure.problem, (closure.W, closure.H))
    return Bounds(lower if lower.evidence is not None else Bounds.of(closure.relaxation, "auto").lower, upper)


def _lower(
    problem: Problem, dual: DualPoint | FrameDual | Dual, own: ProvedBound, proof: enclosure.Proof
) -> ProvedBound:
    """The evidence's own bound with its exact point, or another proof of its dual point."""
    frames = problem.nonnegative and problem.loss.margins_only and problem.bias is None
    if isinstance(dual, Dual) and frames and proof in ("auto", "diagonal"):
        return enclosure.lower_bound(problem, dual, proof="diagonal")
    if own.evidence is not None and (proof == "auto" or own.proof == proof):
        return own
    return enclosure.lower_bound(problem, dual, proof=proof)


# -- norm bounds --------------------------------------------------------------------------------------------------


def _within_norms(evidence: PeeledEvidence, proof: enclosure.Proof) -> Bounds:
    """Both bounds through the penalised problem behind them."""
    family, inner = PenalisedFamily.of(evidence.problem), evidence.inner
    _require_distinct(family, inner.problem)
    witness = inner.upper
    upper = evidence.upper if witness.evidence is None else replace(evidence.upper, evidence=witness.evidence)
    if upper.evidence is None:
        upper = _narrowed(family, evidence)
    if evidence.idle:
        return Bounds(_idle(family, inner.problem, proof), upper, (Fraction(0), Fraction(0)))
    lower = _lower(inner.problem, inner.dual, inner.lower, proof)
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
    lower = replace(lower, value=enclosure.fraction_below(exact), exact=exact)
    return Bounds(lower, upper, (unit * alpha, unit * beta))


def _idle(family: PenalisedFamily, penalised: Problem, proof: enclosure.Proof) -> ProvedBound:
    """The bound of V = 0 in the form that was asked for."""
    if proof in ("auto", "diagonal"):
        return family.least
    columns = enclosure.ExactColumns.of_groups(penalised)
    if proof == "dense" or columns.kind == "dense":
        columns = enclosure.ExactColumns.of_classes(penalised)
    return replace(family.least, evidence=enclosure.BlockProof.zero(columns))


def _narrowed(family: PenalisedFamily, evidence: PeeledEvidence) -> ProvedBound:
    """The loss at the factors as matrices, shortened until they lie in the balls."""
    W, H = evidence.factors(evidence.problem.feature_dim)
    inwards = 0.0
    while inwards < 1.0:
        share, penalised = 1.0 - inwards, evidence.inner.problem
        found = enclosure.upper_bound(penalised, (share * W, share * H), penalties=False)
        if isinstance(found.evidence, enclosure.FactorWitness) and found.exact is not None:
            squares = enclosure.square_norms(penalised, found.evidence)
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

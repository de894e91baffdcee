"""The two bounds of evidence with the exact points behind them: what a certificate writes down."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ufm_convex import enclosure
from ufm_convex.enclosure import ProvedBound
from ufm_convex.evidence.base import Evidence
from ufm_convex.relaxation import Dual


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


def lower_with_point(evidence: Evidence, proof: enclosure.Proof) -> ProvedBound:
    """The evidence's own lower bound with its exact point, or another proof of its dual point."""
    problem, dual, own = evidence.problem, evidence.dual, evidence.lower
    frames = problem.nonnegative and problem.loss.margins_only and problem.bias is None
    if isinstance(dual, Dual) and frames and proof in ("auto", "diagonal"):
        return enclosure.lower_bound(problem, dual, proof="diagonal")
    if own.exact_point is not None and (proof == "auto" or own.proof == proof):
        return own
    return enclosure.lower_bound(problem, dual, proof=proof)

"""The claims, and what comparing rational numbers makes of them (docs/certificate_format.md, section 5)."""

from __future__ import annotations

from typing import Any, NamedTuple

from flint import fmpq

from .reading import MalformedCertificate, Refuted, dyadic, fields_of, integer


class Interval(NamedTuple):
    """A claimed enclosure."""

    low: fmpq
    high: fmpq

    @classmethod
    def read(cls, value: Any) -> Interval:
        """From an object of the file."""
        fields = fields_of(value, "lower upper")
        return cls(dyadic(fields["lower"]), dyadic(fields["upper"]))


class Enclosures(NamedTuple):
    """What is claimed of an admissible candidate: its objective, and how far that is from the optimum."""

    objective: Interval
    gap: Interval


class Violation(NamedTuple):
    """What is claimed of an infeasible candidate: a feature that is negative."""

    row: int
    column: int
    value: fmpq


class Claims:
    """Bounds of the optimum and, about a candidate, enclosures or where it is infeasible."""

    def __init__(self, value: Any, *, with_candidate: bool) -> None:
        fields = fields_of(value, "lower upper tolerance verdict candidate")
        self.optimum = Interval(dyadic(fields["lower"]), dyadic(fields["upper"]))
        self.tolerance, self.verdict = dyadic(fields["tolerance"]), fields["verdict"]
        if not 0 < self.tolerance < 1:
            raise MalformedCertificate("the tolerance is in (0, 1)")
        if (fields["candidate"] is not None) != with_candidate:
            raise MalformedCertificate("claims about a candidate belong to a candidate")
        self.candidate = _of_candidate(fields["candidate"]) if with_candidate else None

    def check_gap(self, claim: Enclosures) -> None:
        """Objective − optimum lies in the gap by the other claims; an admissible candidate is not below the optimum."""
        most = max(claim.objective.low - self.optimum.high, fmpq(0))
        if claim.gap.low > most or claim.gap.high < claim.objective.high - self.optimum.low:
            raise Refuted("the gap does not follow from the other claims")

    def check_verdict(self) -> None:
        """The verdict is the one that the claims amount to."""
        objective, intervals = Interval(self.optimum.high, self.optimum.high), [self.optimum]
        if isinstance(self.candidate, Enclosures):
            objective, intervals = self.candidate.objective, [self.optimum, *self.candidate]
        if any(low > high for low, high in intervals):
            raise Refuted("a claimed interval is empty")
        if self.optimum.low > objective.high:
            raise Refuted("the candidate is claimed to lie below the optimum")
        if isinstance(self.candidate, Violation):
            amounts_to = "infeasible"
        elif objective.high - self.optimum.low <= self.tolerance * objective.high:
            amounts_to = "optimal"
        else:
            amounts_to = "suboptimal" if objective.low > self.optimum.high else "undecided"
        if self.verdict != amounts_to:
            raise Refuted(f"the claims amount to: {amounts_to}")


def _of_candidate(value: Any) -> Enclosures | Violation:
    fields = fields_of(value, "objective gap violation")
    if fields["violation"] is None:
        return Enclosures(Interval.read(fields["objective"]), Interval.read(fields["gap"]))
    if fields["objective"] is not None or fields["gap"] is not None:
        raise MalformedCertificate("an infeasible candidate has no objective and no gap")
    place = fields_of(fields["violation"], "row column value")
    row, column = (integer(place[name], 0, (1 << 63) - 1) for name in ("row", "column"))
    return Violation(row, column, dyadic(place["value"]))

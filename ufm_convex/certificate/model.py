"""The certificate of a ``Problem`` as an object: its claims about the optimum and about a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ufm_convex._bits import rounded_down, rounded_up
from ufm_convex.certificate.encoding import decode_problem, undyadic
from ufm_convex.certificate.file import CertificateFile, Judgement
from ufm_convex.problem import Problem


def judge(claims: Mapping[str, Any]) -> Judgement:
    """What the claims amount to (docs/certificate_format.md, section 5)."""
    lower, upper, tolerance = (undyadic(claims[name]) for name in ("lower", "upper", "tolerance"))
    about, objective = claims["candidate"], None
    if about is not None:
        if about["violation"] is not None:
            return Judgement.INFEASIBLE
        objective = about["objective"]
    top = upper if objective is None else undyadic(objective["upper"])
    if top - lower <= tolerance * top:
        return Judgement.OPTIMAL
    above = objective is not None and undyadic(objective["lower"]) > upper
    return Judgement.SUBOPTIMAL if above else Judgement.UNDECIDED


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(CertificateFile):
    """A claim about the optimum, with its proof.

    Attributes:
        content: Everything that the digest covers, as plain JSON values (docs/certificate.md).
        provenance: Where it comes from, in words; no part of the proof.
    """

    @property
    def upper(self) -> float:
        """Upper bound of the candidate's objective or, without a candidate, of the optimum; rounded up."""
        candidate = self.content["claims"]["candidate"]
        if candidate is None or candidate["objective"] is None:
            return self.optimum_upper
        return rounded_up(undyadic(candidate["objective"]["upper"]))

    @property
    def candidate_gap(self) -> tuple[float, float] | None:
        """Enclosure of the candidate's objective minus the optimum; None without an admissible candidate."""
        candidate = self.content["claims"]["candidate"]
        if candidate is None or candidate["gap"] is None:
            return None
        return _outward(candidate["gap"])

    @property
    def candidate_objective(self) -> tuple[float, float] | None:
        """Enclosure of the candidate's objective; None without an admissible candidate."""
        candidate = self.content["claims"]["candidate"]
        if candidate is None or candidate["objective"] is None:
            return None
        return _outward(candidate["objective"])

    @property
    def violation(self) -> tuple[int, int, float] | None:
        """Row, column and value of the most negative feature of an infeasible candidate; else None."""
        candidate = self.content["claims"]["candidate"]
        if candidate is None or candidate["violation"] is None:
            return None
        place = candidate["violation"]
        return place["row"], place["column"], float(undyadic(place["value"]))

    @cached_property
    def problem(self) -> Problem:
        """The problem that the certificate is about."""
        return decode_problem(self.content["problem"])


def _outward(interval: Mapping[str, str]) -> tuple[float, float]:
    return rounded_down(undyadic(interval["lower"])), rounded_up(undyadic(interval["upper"]))


__all__ = ["Certificate", "Judgement", "judge"]

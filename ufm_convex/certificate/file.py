"""What certificates of every kind of problem have in common: sealed content, two bounds of the optimum, and the file.

Nothing is checked on loading beyond the form of the file: ``ufm_convex.verify`` does that, and believes nothing of what
stands here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from ufm_convex._arrays import whole
from ufm_convex._bits import rounded_down, rounded_up
from ufm_convex._files import write_atomically
from ufm_convex.certificate.encoding import FORMAT, VERSION, seal, undyadic
from ufm_convex.errors import FileFormatError, ProblemError, shown
from ufm_convex.evidence import relative_gap


class Judgement(StrEnum):
    """What the claims say about the candidate or, without one, about the enclosure of the optimum."""

    OPTIMAL = "optimal"
    """The relative gap is at most the tolerance."""
    SUBOPTIMAL = "suboptimal"
    """The candidate's objective is above an upper bound of the optimum."""
    INFEASIBLE = "infeasible"
    """A feature of the candidate is negative."""
    UNDECIDED = "undecided"
    """None of these was proved."""


@dataclass(frozen=True, eq=False, repr=False)
class CertificateFile:
    """Proved bounds of the optimum of one problem, with their proof.

    Attributes:
        content: Everything that the digest covers, as plain JSON values (docs/certificate.md).
        provenance: Where it comes from, in words; no part of the proof.
    """

    model: ClassVar[str | None] = None
    """The word by which the problem in the file names its kind; None for ``Problem``."""

    content: Mapping[str, Any]
    provenance: Mapping[str, str]

    # -- claims ---------------------------------------------------------------------------------------------

    @property
    def lower(self) -> float:
        """Lower bound of the optimum, rounded down."""
        return rounded_down(self.optimum_enclosure[0])

    @property
    def upper(self) -> float:
        """Upper bound of what the certificate is about, the optimum unless there is a candidate; rounded up."""
        return self.optimum_upper

    @property
    def optimum_upper(self) -> float:
        """Upper bound of the optimum, rounded up."""
        return rounded_up(self.optimum_enclosure[1])

    @cached_property
    def optimum_enclosure(self) -> tuple[Fraction, Fraction]:
        """The two bounds of the optimum, exactly."""
        claims = self.content["claims"]
        return undyadic(claims["lower"]), undyadic(claims["upper"])

    @property
    def relative_gap(self) -> float:
        """(upper − lower) / upper; 0 when both are equal."""
        return relative_gap(self.lower, self.upper)

    @property
    def verdict(self) -> Judgement:
        """What the claims amount to."""
        return Judgement(self.content["claims"]["verdict"])

    @property
    def tolerance(self) -> float:
        """The relative gap that counts as optimal."""
        return float(undyadic(self.content["claims"]["tolerance"]))

    @property
    def proof(self) -> str:
        """The kind of dual point: "diagonal", "group", "dense", "copositive" or "residuals", for a ``Problem``."""
        return str(self.content["dual"]["kind"])

    def decimals(self, digits: int) -> tuple[str, str]:
        """The enclosure of the optimum in decimals, rounded outwards to ``digits`` significant digits."""
        number = whole(digits)
        if number is None or not 1 <= number <= 10_000:
            raise ProblemError(
                f"digits is {shown(digits)}.", expected="an integer from 1 to 10000", fix="use 50, which is plenty."
            )
        lower, upper = self.optimum_enclosure
        return _decimal(lower, number, up=False), _decimal(upper, number, up=True)

    # -- files ----------------------------------------------------------------------------------------------

    @cached_property
    def document(self) -> dict[str, Any]:
        """The whole document, digest and provenance included."""
        return seal(self.content, self.provenance)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical content."""
        return str(self.document["digest"])

    def text(self) -> str:
        """All that was proved of the optimum, as the verifier reads it."""
        return json.dumps(self.document, indent=1, sort_keys=True) + "\n"

    def to_json(self) -> str:
        """The file's text."""
        return self.text()

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all, and read it back.

        Raises:
            FileFormatError: it cannot be written, or what is read back is not what was written.
        """
        data = self.to_json().encode()
        write_atomically(Path(path), data)
        _require_kept(Path(path), data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a certificate. What it claims is not checked: ``ufm_convex.verify(path)`` does that.

        Raises:
            FileFormatError: the file cannot be read, is not a certificate of version 1, or is one of another kind of
                problem.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise _not_a_certificate(path, str(error)) from error
        if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (FORMAT, VERSION):
            raise _not_a_certificate(path, f"it is not {FORMAT} version {VERSION}")
        if not isinstance(document.get("provenance"), dict) or not isinstance(document.get("claims"), dict):
            raise _not_a_certificate(path, "claims or provenance is missing")
        if _model(document.get("problem")) != cls.model:
            raise _not_a_certificate(
                path,
                f"its problem is not of the kind that {cls.__name__} is about",
                fix="load it with the class that ufm_convex.certify makes for its kind of problem.",
            )
        content = {key: value for key, value in document.items() if key not in ("digest", "provenance")}
        certificate = cls(content, document["provenance"])
        if document.get("digest") != certificate.digest:
            raise _not_a_certificate(path, "its digest does not match its content")
        return certificate

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(verdict={self.verdict.value!r}, lower={self.lower!r}, upper={self.upper!r}, "
            f"relative_gap={self.relative_gap:.1e}, proof={self.proof!r})"
        )


def _require_kept(path: Path, data: bytes) -> None:
    """Raise ``FileFormatError`` unless the file holds these bytes."""
    try:
        kept = path.read_bytes() == data
    except OSError:  # what cannot be read back is not kept
        kept = False
    if not kept:
        raise FileFormatError(
            f"{path} does not hold what was written.",
            expected="a file that keeps its bytes",
            fix="check the disk and the space left, or write to another folder.",
        )


def _not_a_certificate(
    path: str | Path,
    reason: str,
    fix: str = "write one with Certificate.save; docs/certificate.md describes the format.",
) -> FileFormatError:
    return FileFormatError(
        f"{path} cannot be loaded: {reason}.",
        expected=f"a certificate of format {FORMAT}, version {VERSION}",
        fix=fix,
    )


def _model(problem: object) -> object:
    """The word by which a problem names its kind, if it does."""
    return problem.get("model") if isinstance(problem, Mapping) else None


def _decimal(number: Fraction, digits: int, *, up: bool) -> str:
    """Decimal of at most ``digits`` significant digits, rounded in one direction."""
    if number == 0:
        return "0"
    places = digits - 1 - _decimal_exponent(abs(number))
    scaled = number * Fraction(10) ** places
    integer = -((-scaled).__floor__()) if up else scaled.__floor__()
    sign, text = "-" if integer < 0 else "", str(abs(integer))
    if places <= 0:
        return sign + text + "0" * -places
    text = text.rjust(places + 1, "0")
    return f"{sign}{text[:-places]}.{text[-places:]}"


def _decimal_exponent(number: Fraction) -> int:
    """⌊log10⌋ of a positive number."""
    guess = math.floor((number.numerator.bit_length() - number.denominator.bit_length()) * math.log10(2.0))
    while Fraction(10) ** guess > number:
        guess -= 1
    while Fraction(10) ** (guess + 1) <= number:
        guess += 1
    return guess

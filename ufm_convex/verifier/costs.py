"""What a file costs, summed before it is spent: numbers × bits × operations (docs/verification.md, section 8).

Reading is paid for by ``Costs.of`` from the lengths of the strings, before any becomes a number: what a file could not
have is malformed. Every step then says what it is about to do; what exceeds what is left is undecided, not done.
"""

from __future__ import annotations

from typing import Any

from .reading import MalformedCertificate, Undecided

MAX_MEMORY = 5 << 28
"""Bytes of all numbers of a file, as integers and where they become rational."""
MAX_WORK = 32_000_000
"""Microseconds of one core for a whole file, mostly estimated from above: the hostile corpus took 24.5 s at most."""
_INTEGER, _RATIONAL = 56, 96
_BITS_A_DIGIT = 3.33
_READ, _READ_DIGIT = 0.4, 0.01
_MULTIPLICATION, _WORD = 1.2e-3, 64


class Costs:
    """A ledger of one file: ``memory`` in bytes, ``work`` in microseconds."""

    def __init__(self) -> None:
        self.memory = self.work = 0.0

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Costs:
        """What it costs to decode the fields of a document.

        Raises:
            MalformedCertificate: more memory, or more work, than any certificate is worth.
        """
        costs = cls()
        costs._read(fields, exponent=0, rational=False)
        if costs.memory > MAX_MEMORY or costs.work > MAX_WORK:
            raise MalformedCertificate(f"its numbers need more than {MAX_MEMORY} bytes, or more than {MAX_WORK} µs")
        return costs

    def _read(self, value: Any, *, exponent: int, rational: bool) -> None:
        """Every string counts as integers; those of vectors, and of tables of the loss, become rational."""
        if isinstance(value, str):
            count, digits = value.count(" ") + 1, len(value)
            self.memory += count * _INTEGER + digits * _BITS_A_DIGIT / 4
            self.work += count * _READ + digits * _READ_DIGIT
            if rational:
                self.memory += count * (_RATIONAL + exponent / 8)
                self.work += count * rational_time(exponent) / 8
        elif isinstance(value, list):
            for inner in value:
                self._read(inner, exponent=exponent, rational=rational)
        elif isinstance(value, dict):
            given = value.get("exponent")
            inside = min(abs(given), 1 << 20) if type(given) is int else exponent
            for name, inner in value.items():
                kept = name == "integers" or (name == "rows" and rational) or name in ("loss", "margins", "targets")
                self._read(inner, exponent=inside, rational=kept)

    def spend(self, numbers: int, operations: int, bits: int, *, balls: int = 0, precision: int = 0) -> None:
        """Pay for a step before it is taken.

        Args:
            numbers: How many numbers it is about.
            operations: Rational operations for each, on numbers of so many ``bits``.
            bits: Numerator or denominator, the longer.
            balls: Elementary functions of balls for each, and what else is done with a ball.
            precision: Their bits.

        Raises:
            Undecided: it is not to be taken.
        """
        self._pay(numbers * (operations * rational_time(bits) + balls * (1.2 + (precision / 256) ** 2)))

    def multiply(self, multiplications: int, bits: int) -> None:
        """Pay for a product of matrices of integers; raises as ``spend``."""
        self._pay(multiplications * (1 + (bits / _WORD) ** 2) * _MULTIPLICATION)

    def multiply_quickly(self, multiplications: int, thousand: float) -> None:
        """Pay for a product of matrices in binary64, of which a thousand multiplications take so long; likewise."""
        self._pay(multiplications / 1000 * thousand)

    def _pay(self, microseconds: float) -> None:
        if self.work + microseconds > MAX_WORK:
            raise Undecided("it takes too long, with what the file has cost before")
        self.work += microseconds


def rational_time(bits: int) -> float:
    """Microseconds of an operation on rationals, the common divisor taken out."""
    return 0.8 + (bits / 1000) ** 2

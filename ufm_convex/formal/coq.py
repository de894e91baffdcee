"""Numbers and lists as Coq reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Dyadic(NamedTuple):
    """mantissa · 2^exponent, as it stands in the certificate."""

    mantissa: int
    exponent: int


def integer(number: int) -> str:
    """An integer, in parentheses where it is negative."""
    return str(number) if number >= 0 else f"({number})"


def dyadic(number: Dyadic) -> str:
    """A pair of integers."""
    return f"({integer(number.mantissa)}, {integer(number.exponent)})"


def row(numbers: Iterable[int]) -> str:
    """A list of integers."""
    return listed(map(integer, numbers))


def rows(matrix: Iterable[Sequence[int]]) -> str:
    """A list of lists of integers, one a line."""
    return listed(map(row, matrix), ";\n    ")


def dyadics(numbers: Iterable[Dyadic]) -> str:
    """A list of dyadic numbers."""
    return listed(map(dyadic, numbers))


def listed(parts: Iterable[str], separator: str = "; ") -> str:
    """A list."""
    return f"[{separator.join(parts)}]"

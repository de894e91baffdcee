"""Tables of targets written down: the entries that are not 0, row by row (docs/certificate_tables.md, section 3.7)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from typing import Any

from ufm_convex._bits import fraction
from ufm_convex.enclosure import ExactVector
from ufm_convex.errors import HypothesisError
from ufm_convex.losses import Table


def require_writable(table: Table) -> None:
    """Raise ``HypothesisError`` for a share below 0: an own output other than that of the largest entry, rounded."""
    if table.shares and any(entry < 0 for row in table.exact_entries() for _, entry in row):
        raise HypothesisError(
            "the table of targets has a share below 0, by a rounding: 1 minus the others of its row.",
            expected="shares >= 0 without rounding",
            fix="write the row with numbers that sum to 1 exactly, such as multiples of 2**-40.",
        )


def encode_table(table: Table) -> dict[str, Any]:
    """The table: number of outputs, entries a row, their outputs, and the numbers without rounding."""
    rows = list(table.exact_entries())
    pairs = list(chain.from_iterable(rows))
    exact = ExactVector.of_numbers([entry for _, entry in pairs]) if pairs else None
    return {
        "outputs": table.num_outputs,
        "lengths": " ".join(str(len(row)) for row in rows),
        "places": " ".join(str(output) for output, _ in pairs) or None,
        "entries": exact and {"exponent": exact.exponent, "integers": " ".join(map(str, exact.integers))},
    }


def decode_table(content: Mapping[str, Any]) -> dict[str, Any]:
    """What ``Table.of`` takes for the table that ``encode_table`` wrote.

    Of a row of shares all numbers but one are binary64 numbers, and that one is the own: it is said where it is not.
    """
    starts = [0, *accumulate(map(int, content["lengths"].split(" ")))]
    outputs = [int(place) for place in content["places"].split(" ")] if content["places"] else []
    exact: list[Fraction] = []
    if content["entries"]:
        unit = Fraction(2) ** content["entries"]["exponent"]
        exact = [int(integer) * unit for integer in content["entries"]["integers"].split(" ")]
    entries = [float(entry) for entry in exact]
    found: dict[str, Any] = {"num_outputs": content["outputs"], "starts": starts, "outputs": outputs}
    rounded = [fraction(entry) != number for entry, number in zip(entries, exact, strict=True)]
    if any(rounded):
        found["own"] = []
        for start, end in pairwise(starts):
            largest = max(range(start, end), key=lambda k: (rounded[k], entries[k], -k))
            found["own"].append(outputs[largest])
    return {**found, "entries": entries}

"""What a certificate may contain, so that every verifier reads it (docs/verification.md, section 8).

A document beyond these limits would be malformed, whatever it proves, and a candidate beyond them is not embedded but
known by the SHA-256 of its arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ufm_convex._arrays import FloatArray
from ufm_convex._bits import parts, widened
from ufm_convex.candidate import Candidate
from ufm_convex.errors import SizeError

FILE_BYTES = 1 << 27
INTEGERS_IN_A_STRING = 1 << 21
INTEGER_BITS = 4096
VECTOR_BITS = 1 << 30
COLUMN_BITS = 1 << 32
PRODUCT_WORK = 1 << 32

EMBEDDED_BITS = 1 << 27
"""Of all numbers of an embedded candidate, written as multiples of one unit: 40 MB in decimal."""

EXACT_LOGITS, SHORT_BITS = 1 << 18, 512
"""More logits are checked in binary64 alone, to which integers of so many bits are converted."""

UNSTREAMED_LOGITS = 1 << 21
"""More logits of a loss that binary64 does not take are not checked at all."""

_BITS_A_DIGIT = 3.3220
_WORD, _MANTISSA = 64, 53


def spans_little(candidate: Candidate) -> bool:
    """Whether the arrays are short integers times a power of two, whose objective is soon evaluated in integers."""
    bits = max(
        _span(candidate.weights), _span(candidate.features), 0 if candidate.bias is None else _span(candidate.bias)
    )
    logits = len(candidate.features) * candidate.num_outputs
    multiplications = logits * candidate.feature_dim
    short = (candidate.weights.size + candidate.features.size) * bits <= EMBEDDED_BITS
    short = short and bits <= (SHORT_BITS if logits > EXACT_LOGITS else INTEGER_BITS)
    return short and multiplications * (1 + (bits / _WORD) ** 2) <= PRODUCT_WORK


def _span(matrix: FloatArray) -> int:
    """Bits of the largest entry as an integer multiple of the unit in the last place of the smallest."""
    values = widened(matrix)
    integers, exponents = parts(values)
    exponents = exponents[integers != 0]
    return _MANTISSA + (int(exponents.max()) - int(exponents.min()) if exponents.size else 0)


def require_checkable(content: Mapping[str, Any]) -> None:
    """Raise ``SizeError`` unless a verifier would read the document.

    Args:
        content: The document as plain JSON values, without digest and provenance.
    """
    size = sum(len(text) + 4 for text in _strings(content))
    if size > FILE_BYTES:
        raise _too_large(f"of {size:,} bytes", f"at most {FILE_BYTES:,} bytes")
    for text in _strings(content):
        _require_readable(text)
    for vector in _vectors(content):
        texts = vector["integers"].split(" ")
        if len(texts) * (_bits(texts) + abs(vector["exponent"])) > VECTOR_BITS:
            raise _too_large("with a vector that spans too many orders of magnitude", f"at most {VECTOR_BITS:,} bits")
    _require_affordable(content)
    dual = content["dual"]
    if "columns" in dual:
        pairs = zip(dual["columns"], dual["exponents"].split(" "), strict=True)
        bits = sum(_bits(column.split(" ")) + abs(int(exponent)) for column, exponent in pairs)
        if len(dual["columns"]) * bits > COLUMN_BITS:
            raise _too_large("with too long a dual point", f"at most {COLUMN_BITS:,} bits of columns")


def _require_affordable(content: Mapping[str, Any]) -> None:
    """Ask the verifier's own ledger, which sums what the numbers cost that read them."""
    from ufm_convex.verifier import MalformedCertificate
    from ufm_convex.verifier.costs import MAX_MEMORY, Costs

    try:
        Costs.of(dict(content))
    except MalformedCertificate as error:
        raise _too_large("with too many numbers, or too long ones", f"at most {MAX_MEMORY:,} bytes of them") from error


def _require_readable(text: str) -> None:
    length = text.count(" ") + 1
    if length > INTEGERS_IN_A_STRING:
        raise _too_large(f"with {length:,} numbers in a row", f"at most {INTEGERS_IN_A_STRING:,}")
    if len(text) > INTEGER_BITS / _BITS_A_DIGIT and _bits(text.split(" ")) > INTEGER_BITS:
        raise _too_large("with too long an integer", f"integers of at most {INTEGER_BITS} bits")


def _bits(texts: list[str]) -> int:
    """Bits of the longest integer, or one more."""
    return int(max(map(len, texts)) * _BITS_A_DIGIT) + 1


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(inner)


def _vectors(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if set(value) == {"exponent", "integers"}:
            yield value
        for inner in value.values():
            yield from _vectors(inner)


def _too_large(what: str, limit: str) -> SizeError:
    return SizeError(
        f"the certificate would be one {what}.",
        expected=f"{limit} (docs/verification.md, section 8)",
        fix="scale the problem, or certify one with fewer classes; ufm_convex.solve proves the same bounds.",
    )

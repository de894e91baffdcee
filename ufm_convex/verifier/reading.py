"""From bytes to exact numbers: JSON with nothing inexact or ambiguous in it (docs/certificate_format.md, section 2)."""

from __future__ import annotations

import hashlib
import json
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flint import fmpq

Packed = array
"""Short integers, in 64 bits each; items are Python's integers."""

FORMAT, VERSION = "ufm-convex-certificate", 1
MAX_BYTES = 1 << 27
MAX_CONTAINERS = 1 << 10
MAX_COLONS = 1 << 14
MAX_DEPTH = 8
"""Of lists and objects within each other; no certificate has more than six."""
MAX_LENGTH = 1 << 21
MAX_BLOCKS = 2048
MAX_BITS = 4096
MAX_EXPONENT = 1 << 14
MAX_VECTOR_BITS = 1 << 30

_CANONICAL = re.compile(r"(?:0|-?[1-9][0-9]*+)(?: (?:0|-?[1-9][0-9]*+))*+")
_SHORT = re.compile(r"(?:0|-?[1-9][0-9]{0,17}+)(?: (?:0|-?[1-9][0-9]{0,17}+))*+")
"""The same, of at most 18 digits: these fit into 64 bits."""
_DYADIC = re.compile(r"(0|-?[1-9][0-9]*)p(0|-?[1-9][0-9]{0,4})")


class MalformedCertificate(ValueError):  # noqa: N818 - the name of the verdict
    """The file is no certificate of this format, or exceeds the limits of docs/verification.md, section 8."""


class UnreadableInput(ValueError):  # noqa: N818 - of the input, not of the certificate
    """What was given beside the certificate, a problem or a candidate, cannot be read."""


class Refuted(Exception):  # noqa: N818
    """A step was shown to fail."""


class Another(Refuted):
    """What was given beside the certificate is not what it is about."""


class Undecided(Exception):  # noqa: N818
    """A step could not be decided."""


def document(source: str | Path | bytes) -> dict[str, Any]:
    """The JSON object, its digest checked."""
    data = source
    if not isinstance(data, bytes):
        if not isinstance(data, str | os.PathLike):
            raise MalformedCertificate("expected a path, or the bytes of a file")
        try:
            with open(data, "rb") as handle:
                data = handle.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise MalformedCertificate(f"cannot be read: {error}") from error
    if len(data) > MAX_BYTES or (4 * len(data) > MAX_BYTES and not data.isascii()):
        raise MalformedCertificate(f"larger than {MAX_BYTES} bytes, or than a fourth of that and not all ASCII")
    containers, colons = data.count(b"[") + data.count(b"{"), data.count(b":")
    if containers > MAX_CONTAINERS or colons > MAX_COLONS or data.count(b",") > 2 * MAX_LENGTH:
        raise MalformedCertificate("more lists, objects or members than any certificate has")
    try:
        parsed = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_refuse,
            parse_constant=_refuse,
            parse_int=_json_integer,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedCertificate(f"not acceptable JSON: {error}") from error
    _require_shallow(parsed)
    names = "format version problem lemmas dual witness candidate claims digest provenance"
    fields = fields_of(parsed, names)
    if fields["format"] != FORMAT or type(fields["version"]) is not int or fields["version"] != VERSION:
        raise MalformedCertificate(f"not {FORMAT} version {VERSION}")
    provenance = fields["provenance"]
    if not isinstance(provenance, dict) or not all(isinstance(text, str) for text in provenance.values()):
        raise MalformedCertificate("provenance is an object of strings")
    if sha256_of(fields, leave_out=("digest", "provenance")) != fields["digest"]:
        raise MalformedCertificate("the digest does not match the content")
    return fields


def _require_shallow(parsed: Any) -> None:
    """Raise unless lists and objects are nested as little as those of certificates; without recursion."""
    level = [parsed]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise MalformedCertificate(f"lists and objects are nested more than {MAX_DEPTH} deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice")
    return fields


def _refuse(text: str) -> None:
    raise ValueError(f"{text[:20]} is not an exact number")


def _json_integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError("an integer outside a string has more than 19 digits")
    return int(text)


def sha256_of(fields: dict[str, Any], leave_out: tuple[str, ...]) -> str:
    """SHA-256 of the canonical JSON of an object without some of its fields."""
    kept = {name: value for name, value in fields.items() if name not in leave_out}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def fields_of(value: Any, names: str) -> dict[str, Any]:
    """The value as an object with exactly these fields."""
    if not isinstance(value, dict) or set(value) != set(names.split()):
        raise MalformedCertificate(f"expected an object with exactly the fields: {names}")
    return value


def kind_of(value: Any, name: str, kinds: tuple[str, ...]) -> str:
    """The field of an object that says of which kind it is."""
    kind = value.get(name) if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise MalformedCertificate(f"expected an object whose {name} is one of {', '.join(kinds)}")
    return kind


def integer(value: Any, low: int, high: int) -> int:
    """The value as an integer in [low, high]; true and false are none."""
    if type(value) is not int or not low <= value <= high:
        raise MalformedCertificate(f"expected an integer from {low} to {high}")
    return value


def exponent_of(value: Any) -> int:
    """The value as an exponent of two."""
    return integer(value, -MAX_EXPONENT, MAX_EXPONENT)


def length_of(value: Any) -> int:
    """Number of integers in a string of at most MAX_LENGTH of them."""
    length = value.count(" ") + 1 if isinstance(value, str) else 0
    if not 1 <= length <= MAX_LENGTH:
        raise MalformedCertificate(f"expected a string of 1 to {MAX_LENGTH} integers")
    return length


def longest(numbers: Sequence[int]) -> int:
    """Bits of the longest integer."""
    return max(max(numbers), -min(numbers)).bit_length()


def integers(value: Any, length: int) -> list[int]:
    """Integers in canonical decimal, one space apart."""
    return list(row_of(value, length))


def row_of(value: Any, length: int) -> Sequence[int]:
    """The same, ``Packed`` in 64 bits each where all are short."""
    if length > MAX_LENGTH:
        raise MalformedCertificate(f"expected a string of {length} integers, which is more than {MAX_LENGTH}")
    if not isinstance(value, str) or value.count(" ") != length - 1:
        raise MalformedCertificate(f"expected a string of {length} integers")
    if _SHORT.fullmatch(value) is not None:
        return _packed(value)
    if _CANONICAL.fullmatch(value) is None:
        raise MalformedCertificate("integers are written in canonical decimal")
    try:
        numbers = list(map(int, value.split(" ")))
    except ValueError as error:
        raise MalformedCertificate(f"not integers: {error}") from error
    if longest(numbers) > MAX_BITS:
        raise MalformedCertificate(f"an integer has more than {MAX_BITS} bits")
    return numbers


def _numpy() -> Any:
    """NumPy, which reads integers of 64 bits faster; None without it."""
    try:
        import numpy as np
    except ImportError:
        return None
    return np


def _packed(text: str) -> array[int]:
    """Canonical integers of at most 18 digits."""
    np = _numpy()
    if np is None:
        return array("q", map(int, text.split(" ")))
    return array("q", np.fromstring(text, dtype=np.int64, sep=" ").tobytes())


def dyadic(value: Any) -> fmpq:
    """The number <integer>p<exponent>, the integer odd or the text 0p0."""
    match = _DYADIC.fullmatch(value) if isinstance(value, str) and len(value) <= MAX_BITS // 3 else None
    if match is None:
        raise MalformedCertificate("expected a dyadic number such as 3p-2")
    mantissa, exponent = int(match[1]), exponent_of(int(match[2]))
    if mantissa.bit_length() > MAX_BITS:
        raise MalformedCertificate(f"an integer has more than {MAX_BITS} bits")
    if (mantissa, exponent) != (0, 0) and mantissa % 2 == 0:
        raise MalformedCertificate("the integer of a dyadic number is odd, or the number is 0p0")
    return scaled(mantissa, exponent)


def scaled(number: int, exponent: int) -> fmpq:
    """Number · 2^exponent."""
    return fmpq(number << exponent) if exponent >= 0 else fmpq(number, 1 << -exponent)


def size_of(number: fmpq) -> int:
    """Bits of numerator or denominator, the longer."""
    return max(int(number.p).bit_length(), int(number.q).bit_length())


class Vector:
    """Numbers with one exponent, made rational one by one when they are asked for."""

    def __init__(self, numbers: list[int], exponent: int) -> None:
        self.integers, self.exponent = numbers, exponent
        self.bits = longest(numbers) + abs(exponent)

    def __len__(self) -> int:
        return len(self.integers)

    def __iter__(self) -> Iterator[fmpq]:
        return (scaled(number, self.exponent) for number in self.integers)


def vector(value: Any, length: int) -> Vector:
    """Numbers with one exponent."""
    fields = fields_of(value, "exponent integers")
    exponent = exponent_of(fields["exponent"])
    numbers = integers(fields["integers"], length)
    made = Vector(numbers, exponent)
    if length * made.bits > MAX_VECTOR_BITS:
        raise MalformedCertificate(f"a vector needs more than {MAX_VECTOR_BITS} bits")
    return made


def rows_of(value: Any, lengths: list[int]) -> list[Sequence[int]]:
    """A matrix of integers: one string a row."""
    if not isinstance(value, list) or len(value) != len(lengths):
        raise MalformedCertificate(f"expected {len(lengths)} rows")
    return [row_of(row, length) for row, length in zip(value, lengths, strict=True)]

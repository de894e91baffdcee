"""Integers of a certificate, read in 64 bits where they are short: the same numbers, and the same texts refused."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from ufm_convex.verifier import reading

ACCEPTED = [
    "0",
    "-1",
    "7 0 -7",
    "0 0 0",
    "999999999999999999 -999999999999999999",
    "1000000000000000000",
    "9223372036854775807 -9223372036854775808 9223372036854775808",
    "1" + "0" * 1200,
]
REFUSED = [
    *(
        "",
        " ",
        "1 ",
        " 1",
        "1  2",
        "-",
        "--1",
        "1-2",
        "- 1",
        "+1",
        "01",
        "-01",
        "00",
        "-0",
        "0 -0",
        "1_0",
        "1\t2",
        "1\n",
    ),
    *("1,2", "1.0", "1e3", "0x1", "nan", "\u0663", "\uff11", "1\x00", "1\u00a02", "1 2\u2028"),
    *("1" + "0" * 5000, "-" + "1" * 1300),
]


@pytest.fixture(params=[True, False], ids=["with NumPy", "without"])
def numpy_there(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(reading, "_numpy", lambda: None)


@pytest.mark.usefixtures("numpy_there")
@pytest.mark.parametrize("text", ACCEPTED)
def test_numbers_are_what_is_written(text):
    found = reading.row_of(text, text.count(" ") + 1)
    assert list(found) == [int(word) for word in text.split(" ")]
    assert all(type(number) is int for number in found)
    assert isinstance(found, array) is all(len(word.lstrip("-")) <= 18 for word in text.split(" "))
    assert reading.integers(text, text.count(" ") + 1) == list(found)


@pytest.mark.usefixtures("numpy_there")
@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_canonical_is_malformed(text):
    with pytest.raises(reading.MalformedCertificate):
        reading.row_of(text, text.count(" ") + 1)


@pytest.mark.usefixtures("numpy_there")
def test_another_length_is_malformed():
    for length in (1, 3, reading.MAX_LENGTH + 1):
        with pytest.raises(reading.MalformedCertificate):
            reading.row_of("1 2", length)


def test_what_is_read_is_exact_beyond_64_bits():
    """Items are Python's integers: a square of one overflows nothing."""
    (number,) = reading.row_of("999999999999999999", 1)
    assert number * number == 999999999999999999**2


@pytest.mark.parametrize("seed", range(3))
def test_random_integers_are_read_as_python_reads_them(seed, monkeypatch):
    generator = np.random.default_rng(seed)
    numbers = [
        int(x) >> int(s)
        for x, s in zip(generator.integers(-(2**62), 2**62, 500), generator.integers(0, 63, 500), strict=True)
    ]
    text = " ".join(map(str, numbers))
    with_numpy = reading.row_of(text, 500)
    monkeypatch.setattr(reading, "_numpy", lambda: None)
    assert list(with_numpy) == list(reading.row_of(text, 500)) == numbers

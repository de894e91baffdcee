"""What the text of an option means: numbers, counts, words, and assignments; what is none is refused by its name.

Whether a number makes sense is judged by the rooms that own it. Errors are imported where they are raised.
"""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any

_INTEGER = re.compile(r"[ \t]*[+-]?[0-9]{1,4000}[ \t]*")  # int() refuses more digits than that
_LIST = re.compile(r"[0-9\s;:|+-]*")  # counts, whatever somebody puts between them


def names_a_file(text: str) -> bool:
    """Whether the value of --class-counts is a path: it ends as one, or is neither a list nor a number."""
    if text.strip().lower().endswith((".csv", ".tsv", ".npy", ".txt", ".json")):
        return True
    return not ("," in text or _is_number(text) or _LIST.fullmatch(text))


def integers(text: str) -> list[int]:
    """Class counts from a list with commas.

    Raises:
        CountsError: an entry is not an integer.
    """
    from ufm_convex.errors import CountsError

    cells = text.split(",")
    bad = next((k for k, cell in enumerate(cells) if not _INTEGER.fullmatch(cell)), None)
    if bad is not None:
        raise CountsError(
            f"entry {bad} of --class-counts is {reprlib.repr(cells[bad])}.",
            expected="integers >= 0 with commas between them, such as 500,100,20",
            fix="give whole numbers of samples, or a .csv file with the columns class_id,count.",
        )
    return [int(cell) for cell in cells]


def whole_number(name: str, text: str | None) -> int | None:
    """The option as an integer, None if it is not given; ``ProblemError`` for anything else."""
    from ufm_convex.errors import ProblemError

    if text is not None and not _INTEGER.fullmatch(text):
        raise ProblemError(
            f"{name} is {reprlib.repr(text)}.",
            expected="an integer",
            fix="write it without a decimal point or exponent.",
        )
    return None if text is None else int(text)


def assignment(text: str) -> dict[str, Any]:
    """The one entry of ``name=value``, the value as TOML or, where it is no TOML value, a word."""
    import tomllib

    from ufm_convex.errors import ProblemError

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier() or name == "name" or "\n" in value:
        raise ProblemError(
            f"--loss-parameter is {text!r}.",
            expected="NAME=VALUE, such as kind=weston-watkins or shift=[0.0,1.5]",
            fix="give one option for each parameter; the loss itself is chosen by --loss.",
        )
    try:
        return {name: tomllib.loads(f"value = {value}")["value"]}
    except tomllib.TOMLDecodeError:
        return {name: value}


def constraint(text: str | None) -> dict[str, Any] | None:
    """The table of ``NAME:parameter=value,…``, values as TOML; None if the option is not given."""
    import tomllib

    from ufm_convex.errors import ProblemError

    if text is None:
        return None
    name, _, parameters = text.partition(":")
    try:
        return {**tomllib.loads(f"given = {{{parameters}}}")["given"], "name": name}
    except tomllib.TOMLDecodeError as error:
        raise ProblemError(
            f"--constraint is {text!r}.",
            expected="NAME:PARAMETER=VALUE,…, such as layer-peeled:weight_radius=1,feature_radius=5",
            fix="write numbers and lists in brackets, with commas between the parameters.",
        ) from error


def number(name: str, text: str | None) -> float | None:
    """The option as a number, None if it is not given; ``ProblemError`` for anything else."""
    from ufm_convex.errors import ProblemError

    if text is not None and not _is_number(text):
        raise ProblemError(
            f"{name} is {reprlib.repr(text)}.",
            expected="a number",
            fix="write it as 0.005 or 5e-3.",
        )
    return None if text is None else float(text)


def time_limit(text: str | None) -> float | None:
    """The option as seconds, None if it is not given; ``ProblemError`` for anything else."""
    from ufm_convex._given import seconds

    found = number("--time-limit", text)
    return None if found is None else seconds("--time-limit", found)


def bias(text: str | None) -> float | str | None:
    """The word "free", or the option as a number; ``ProblemError`` for anything else."""
    from ufm_convex.errors import ProblemError

    if text is None or text == "free":
        return text
    if not _is_number(text):
        raise ProblemError(
            f"--bias is {reprlib.repr(text)}.",
            expected='"free", or a number > 0',
            fix="write --bias free for a bias without penalty, --bias 0.01 for one with a penalty.",
        )
    return float(text)


def required_number(name: str, text: str) -> float:
    """The option as a number; ``ProblemError`` for anything else."""
    found = number(name, text)
    return math.nan if found is None else found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

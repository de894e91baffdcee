"""The atlas has every theorem, its verdicts follow from the numbers beside them, and a wrong value is refuted."""

import importlib
import re
import sys
from dataclasses import replace

import pytest
from pages import ROOT

from ufm_convex import theory

sys.path.insert(0, str(ROOT))  # scripts are run from the root
atlas = importlib.import_module("tests.benchmarks.make_atlas")
PAGE = (ROOT / "docs" / "atlas.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


def entries():
    return [entry for table in atlas.TABLES.values() for entry in table()]


def test_every_theorem_has_an_instance_that_meets_its_hypotheses():
    assert set(atlas.INSTANCES) == {theorem.name for theorem in theory.theorems()}
    for theorem in theory.theorems():
        assert theorem.failed(atlas.INSTANCES[theorem.name]) == (), theorem.name


def test_the_page_has_every_row_as_it_is_stated():
    """What is said and of what; the figures are those of the day on which it was made."""
    found = {(row[0], row[1], row[2], row[-1]) for row in ROWS}
    for entry in entries():
        key = (entry.statement, entry.hypotheses or "–", atlas.described(entry.problem), entry.source)
        assert key in found, entry.statement
    assert PAGE.startswith(atlas.HEAD)


def test_the_verdicts_of_the_page_follow_from_its_numbers():
    checked = 0
    for row in ROWS:
        if interval := re.fullmatch(r"([\d.e-]+) to ([\d.e-]+)", row[4]):
            value, low, high = (float(number) for number in (row[3], *interval.groups()))
            words = row[5].strip("*")
            relations = ("tight",) if words in ("tight", "refuted") else (words,)
            assert all(atlas.verdict(relation, value, low, high) == words for relation in relations), row
            checked += 1
    assert checked == len(entries())


@pytest.mark.parametrize(
    ("relation", "value", "found"),
    [
        ("tight", 1.0, "tight"),
        ("tight", 1.0 + 2e-8, "refuted"),
        ("tight", 1.0 - 2e-8, "refuted"),
        ("tight", 1.0 + 0.9e-8, "tight"),
        ("lower", 0.5, "lower"),
        ("lower", 1.0 + 2e-8, "refuted"),
        ("upper", 1.5, "upper"),
        ("upper", 1.0 - 2e-8, "refuted"),
    ],
)
def test_a_verdict_is_what_the_interval_makes_of_a_value(relation, value, found):
    assert atlas.verdict(relation, value, 1.0, 1.0) == found


def test_a_theorem_with_a_wrong_value_would_be_refuted():
    entry = next(entry for entry in entries() if entry.statement == "orthogonal frame")
    assert "| tight |" in atlas.row(entry)
    wrong = replace(entry, value=lambda problem: 1.0001 * entry.value(problem))
    assert "**refuted**" in atlas.row(wrong)


def test_the_frame_is_refuted_where_the_page_says_so():
    entry = next(entry for entry in entries() if "strong logit" in entry.statement)
    assert "**refuted**" in atlas.row(entry)

"""Every page is read in five minutes, or is to be split."""

from pathlib import Path

import pytest
import reading

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_read_in_five_minutes(page):
    found = reading.minutes(page.read_text(encoding="utf-8"))
    assert found <= reading.MOST_MINUTES, f"{page.name} takes {found:.1f} minutes: split it at a section"


@pytest.mark.parametrize(("words", "fits"), [(1190, True), (1191, False)])  # five minutes of 238 words
def test_a_word_more_is_too_many(words, fits):
    assert (reading.minutes("word " * words) <= reading.MOST_MINUTES) is fits


def test_a_planted_page_of_1300_words_is_found_out(tmp_path):
    page = tmp_path / "long.md"
    page.write_text("# Long\n\n" + "word " * 1300)
    with pytest.raises(AssertionError, match=r"long\.md takes 5\.5 minutes"):
        test_a_page_is_read_in_five_minutes(page)


@pytest.mark.parametrize(
    ("page", "seconds"),
    [
        ("```python\n" + "x = 1  # a long comment\n" * 500 + "```\n", 10),
        ("$$\n" + r"a = b + c \\" * 500 + "\n$$\n", 10),
        ("| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 500, 10),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", 20),
        ("| a |\n|---|\n| " + "word " * 15 + "|\n", 10),
        ("| a |\n|---|\n| " + "word " * 119 + "|\n", 40),  # a paragraph in a cell: 30 s more
        ("word " * 119, 30),
        ("<!-- " + "word " * 500 + "-->", 0),
    ],
)
def test_what_is_looked_at_and_what_is_read(page, seconds):
    assert reading.minutes(page) * 60 == pytest.approx(seconds, abs=1e-9)  # rounding of a quotient


def test_prose_in_the_wrong_place_is_no_way_round():
    """A page of 1300 words as one row of a table, or indented under a list, takes as long."""
    for page in ("| a |\n|---|\n" + ("| " + "word " * 26 + "|\n") * 50, "* " + ("word " * 26 + "\n  ") * 50):
        assert reading.minutes(page) > reading.MOST_MINUTES

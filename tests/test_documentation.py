"""The README's first command prints what the README shows, and its pages exist. (Python examples run as doctests.)"""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ufm_convex.cli import application

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_first_command_prints_what_the_readme_shows():
    command, shown = re.search(r"<!-- solve command -->\n```bash\n(.*?)```\n\n```text\n(.*?)```", README, re.S).groups()
    arguments = shlex.split(command.split(".venv/bin/ufm-convex ")[1])
    result = CliRunner().invoke(application(), arguments, env={"COLUMNS": "100"})
    assert result.exit_code == 0
    printed = [line.split() for line in result.stdout.splitlines()]
    for line in shown.splitlines():
        words = line.split()
        assert any(
            len(words) <= len(row) and all(full.startswith(word) for word, full in zip(words, row, strict=False))
            for row in printed
        ), line


def test_the_threshold_named_in_the_readme_is_the_theorems():
    from ufm_convex import Problem, counts_from_profile, theory

    named = int(re.search(r"classes of (\d+) samples or fewer", README).group(1))
    counts = counts_from_profile("exponential:classes=10,max=5000,ratio=100")
    assert int(theory.optimum(Problem(counts, 1e-3, 2e-3)).collapse_threshold) == named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)  # in code, f[-1](x) is no link
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


def beginning_faults(text):
    """What the beginning of a page lacks: a title, then a paragraph that says what it answers; and a way on."""
    text = re.sub(r"\A---\n.*?\n---\n+", "", text, flags=re.DOTALL)  # settings of a page of the site
    title, _, rest = text.partition("\n\n")
    first = rest.partition("\n\n")[0]
    faults = [] if re.fullmatch(r"# .+", title) else ["no title"]
    faults += [] if re.match(r"(?!```)[\w`*\[]", first) and "\n|" not in first else ["no first paragraph"]
    links = re.findall(r"\]\((?!https?:|#)[^)]*\.md", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return faults + ([] if links or "{toctree}" in text else ["no link to another page"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_first_what_it_answers_and_links_on(page):
    assert beginning_faults(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("# T\n\n## 1. At once\n\nSee [a](a.md).\n", "no first paragraph"),
        ("# T\n\n| a |\n|---|\n| [a](a.md) |\n", "no first paragraph"),
        ("# T\n\n```python\n>>> 1\n```\n\n[a](a.md)\n", "no first paragraph"),
        ("What?\n\nThis, [a](a.md).\n", "no title"),
        ("# T\n\nWhat? [Elsewhere](https://a.md), [below](#b).\n", "no link to another page"),
        ("# T\n\nWhat?\n\n```text\n[a](a.md)\n```\n", "no link to another page"),
    ],
)
def test_planted_beginnings_are_found_out(text, fault):
    assert beginning_faults("# T\n\nWhat does it answer? [a](a.md)\n") == []
    assert beginning_faults(text) == [fault]

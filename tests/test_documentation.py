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

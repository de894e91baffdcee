"""What code and pages cite of the documentation is there: pages, their numbered sections and equations, anchors."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = {page.name: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))}
FOLDERS = ("ufm_convex", "tests", "docs", ".github", ".ci")
SUFFIXES = (".md", ".py", ".json", ".toml", ".yml", ".v", "")
FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.S | re.M)
CODE = re.compile(r"```.*?```|`[^`]*`", re.S)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]*\$", re.S)
PAGE = r"(?:docs/(?P<plain>\w+\.md)|\[[^\]]*\]\((?P<link>\w+\.md)\))"
NUMBER = r"\d+(?:\.\d+)?"
LIST = rf"{NUMBER}(?:(?:, | and | to ){NUMBER})*"

PAPER = {str(number) for number in range(33, 66)}
"""Equations of the published proof (Dang et al., ICML 2024), which pages cite as they are; ours end before."""


def cited_sources() -> list[Path]:
    """Files of the project that may cite a page; this one plants faults, and the changelog tells of pages that were."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES]
    mine = [path for path in found if path.is_file() and path != Path(__file__) and "_build" not in path.parts]
    everything = [ROOT / "README.md", ROOT / "pyproject.toml", *mine]
    return [path for path in everything if ".md" in path.read_text(encoding="utf-8", errors="ignore")]


@cache
def sections(page: str) -> set[str]:
    """Numbers of its headings."""
    return set(re.findall(rf"^#+ ({NUMBER})\.? ", FENCE.sub("", page), re.M))


@cache
def equations(page: str) -> set[str]:
    """Numbers of its displayed formulas."""
    shown = "".join(re.findall(r"\$\$.*?\$\$", FENCE.sub("", page), re.S))
    tagged = re.findall(r"\\tag\{(\d+)\}|quad\s*\((\d+)\)|[.,;]\s*\((\d+)\)\s*\$\$", shown)
    return {number for found in tagged for number in found if number}


@cache
def anchors(page: str) -> set[str]:
    """What GitHub makes of its headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def numbers(text: str) -> list[str]:
    return re.findall(NUMBER, text)


def unwrapped(text: str) -> str:
    """Lines joined, without the marks of comments, so that a citation may be broken anywhere."""
    return re.sub(r"\s*\n\s*(?:# ?|\* )?", " ", text)


def named(text: str, docs: dict[str, str]) -> list[str]:
    """Faults of pages that are named, and of links' anchors."""
    links = re.findall(r"\]\((\w+\.md)(?:#([\w-]+))?\)", CODE.sub("", text))
    names = {*re.findall(r"docs/(\w+\.md)", text), *(name for name, _ in links)}
    faults = [f"{name}: no such page" for name in sorted(names - set(docs))]
    return faults + [
        f"{name}#{anchor}: no such heading"
        for name, anchor in links
        if anchor and anchor not in anchors(docs.get(name, ""))
    ]


def elsewhere(text: str, docs: dict[str, str]) -> list[str]:
    """Faults of sections and equations that are cited with their page."""
    line, faults = unwrapped(text), []
    patterns = {
        rf"{PAGE},? \(?[Ss]ections? (?P<n>{LIST})": sections,
        rf"[Ss]ections? (?P<n>{LIST}) of {PAGE}": sections,
        rf"{PAGE}, (?P<n>\d+\.\d+(?:, \d+\.\d+)*)(?![\d.]*\w)": sections,
        rf"\[(?:[Ss]ection )?(?P<n>{NUMBER})\]\((?P<link>\w+\.md)\)(?P<plain>)": sections,
        rf"{PAGE},? (?:equations?|eq\.) \(?(?P<n>\d+(?:\)?(?:, | and | to )\(?\d+)*)": equations,
        rf"(?:equations?|eq\.) (?P<n>\d+(?:(?:, | and | to )\d+)*) of {PAGE}": equations,
        rf"\((?P<n>\d+)\) of {PAGE}": equations,
        rf"{PAGE}, \((?P<n>\d+)\)": equations,
        r"\[\((?P<n>\d+)\)\]\((?P<link>\w+\.md)\)(?P<plain>)": equations,
    }
    for pattern, there in patterns.items():
        for found in re.finditer(pattern, line):
            name = found["plain"] or found["link"]
            missing = [number for number in numbers(found["n"]) if number not in there(docs.get(name, ""))]
            faults += [f"{name}: {there.__name__} have no {number}" for number in missing]
    return faults


def here(page: str) -> list[str]:
    """Faults of a page that speaks of its own sections and equations."""
    other = re.sub(r"\?P<\w+>", "?:", PAGE)
    sections_there = rf"[Ss]ections? {LIST} (?:of {other}|there\b|of the source)"
    with_page = rf"(?:\(\d+\) of )?{other}(?:,? \(?[Ss]ections? {LIST})?|{sections_there}"
    bare = re.sub(with_page, "", unwrapped(page))
    prose = FORMULA.sub("", CODE.sub("", bare))
    cited = [number for found in re.findall(rf"(?<!\[)\b[Ss]ections? ({LIST})", prose) for number in numbers(found)]
    faults = [f"section {number} is not on this page" for number in cited if number not in sections(page)]
    shown = set(re.findall(r"(?<![\w\[\]\)])\((\d{1,2})\)", prose)) - PAPER
    faults += [f"equation {number} is not on this page" for number in sorted(shown - equations(page))]
    anchored = re.findall(r"\]\(#([\w-]+)\)", prose)
    return faults + [f"#{anchor}: no such heading" for anchor in anchored if anchor not in anchors(page)]


@pytest.mark.parametrize("path", cited_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_cited_is_there(path):
    text = path.read_text(encoding="utf-8")
    faults = named(text if path.suffix == ".md" else text.replace("](", "] ("), DOCS)  # links of tests are planted
    faults += elsewhere(text, DOCS)
    if path.parent == ROOT / "docs" and path.suffix == ".md":
        faults += here(text)
    assert faults == []


# -- planted faults ------------------------------------------------------------------------------------------------

PLANTED = {"one.md": "# One\n\n## 1. First\n\n$$\na = b . \\tag{3}\n$$\n\n### 1.2 Inner part\n", "two.md": "# Two\n"}


@pytest.mark.parametrize(
    "text",
    [
        "See docs/three.md.",
        "See [three](three.md).",
        "See [one](one.md#2-second).",
        "See docs/one.md, section 2.",
        "See docs/one.md,\n    # section 2.",
        "See docs/one.md, 1.3.",
        "(docs/one.md, 1.2, 1.3)",
        "See [one.md](one.md), sections 1 and 2.",
        "See [one.md](one.md), sections 1, 1.2 to 1.3.",
        "By section 2 of [one.md](one.md).",
        "By [section 2](one.md), and [1](one.md).",
        "By sections [1](one.md) and [1.3](one.md).",
        "(docs/one.md, equation 4)",
        "(docs/one.md, equations 3 and 4)",
        "(docs/one.md, equations (3), (4))",
        "(4) of docs/one.md",
        "equation 4 of docs/one.md",
        "⌊ρ⌋ of docs/one.md, (4)",
        "By [(4)](one.md).",
        "docs/two.md, section 1",  # it is there, on another page
    ],
)
def test_planted_citations_of_what_is_not_there_are_found_out(text):
    right = text.replace("three", "one").replace("#2-second", "#1-first").replace("two.md", "one.md")
    right = re.sub(r"(?<=[( ])2\b|(?<=\[)2\b|\b2(?=\])", "1", right).replace("1.3", "1.2")
    right = right.replace("(4)", "(3)").replace("equation 4", "equation 3").replace("and 4", "and 3")
    assert named(right, PLANTED) + elsewhere(right, PLANTED) == []
    assert len(named(text, PLANTED) + elsewhere(text, PLANTED)) == 1


@pytest.mark.parametrize(
    "line", ["By section 2.", "Sections 1 and 2 say so.", "By (4).", "See [below](#3-third).", "In section 1.3,"]
)
def test_planted_faults_of_a_page_about_itself_are_found_out(line):
    assert (
        here(PLANTED["one.md"] + "By section 1.2, (3), [above](#1-first), and `(4)` or $f(4)$ of [two.md](two.md)")
        == []
    )
    assert len(here(PLANTED["one.md"] + line)) == 1


def test_what_a_page_has():
    page = "# T\n\n## 4. KKT\n\n```text\n## 9. No\n```\n\n$$\nx \\qquad (6)\n$$\n\n$$ y . \\tag{7} $$\n"
    assert sections(page) == {"4"}
    assert equations(page) == {"6", "7"}
    assert anchors(page) == {"t", "4-kkt"}


def test_citations_are_looked_for_where_they_are():
    names = {str(path.relative_to(ROOT)) for path in cited_sources()}
    assert {
        "README.md",
        "docs/kkt.md",
        "ufm_convex/duality/kkt.py",
        "ufm_convex/schema/certificate-v1.schema.json",
    } <= names
    assert len(DOCS) > 60
    assert sum(len(equations(page)) for page in DOCS.values()) > 80

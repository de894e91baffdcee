"""Pages of one chapter name each other: the same line on each, every page in it, the sections that it has."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[1] / "docs"
LINE = re.compile(r"^([A-Z][\w ,-]+): ((?:\[|\*\*)[^\n]*(?:\n[^\n]+)*)$", re.M)
NUMBER = r"\d+(?:\.\d+)?"


class Entry(NamedTuple):
    """A page of a chapter: its name in a word or two, its file, its sections."""

    label: str
    page: str
    sections: tuple[str, ...]


def chapter(page, text):
    """Title and entries of the line that says which pages belong together; None if a page stands by itself."""
    for title, line in LINE.findall(text):
        entries = []
        for item in re.split(r" ·\s", line.rstrip(".")):
            found = re.fullmatch(r"(?:\[(?P<label>[^]]+)\]\((?P<page>\w+)\.md\)|\*\*(?P<own>.+)\*\*) ?(?P<n>.*)", item)
            if found is None:
                break
            entries.append(Entry(found["label"] or found["own"], found["page"] or page, tuple(numbers(found["n"]))))
        else:
            if len(entries) > 1:
                return title, tuple(entries)
    return None


def numbers(text):
    return re.findall(NUMBER, text)


def headings(text):
    """Numbers of a page's sections, those of its parts as well."""
    return tuple(re.findall(rf"^##+ ({NUMBER})\.? ", re.sub(r"```.*?```", "", text, flags=re.S), re.M))


def faults(pages):
    """What is wrong with the chapters of pages, by name their text."""
    found = {page: chapter(page, text) for page, text in pages.items()}
    wrong = []
    for title in sorted({one[0] for one in found.values() if one}):
        lines = {page: one[1] for page, one in found.items() if one and one[0] == title}
        if len(set(lines.values())) > 1:
            wrong.append(f"{title}: not the same line on {', '.join(lines)}")
        for entry in next(iter(lines.values())):
            if entry.page not in lines:
                wrong.append(f"{title}: {entry.page} does not name the others")
            elif sorted(entry.sections) != sorted(headings(pages[entry.page])):
                wrong.append(f"{title}: sections of {entry.page} are {headings(pages[entry.page])}")
        chapters = [number for entry in next(iter(lines.values())) for number in entry.sections if "." not in number]
        if sorted(chapters, key=int) != [str(k + 1) for k in range(len(chapters))]:
            wrong.append(f"{title}: sections are {', '.join(sorted(chapters, key=int))}")
    for page, text in pages.items():
        whole = [number for number in headings(text) if "." not in number]
        if found[page] is None and whole != [str(k + 1) for k in range(len(whole))]:
            wrong.append(f"{page}: sections {', '.join(whole)}, and no line that says where the others are")
    return wrong


def test_pages_of_a_chapter_name_each_other_and_their_sections():
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
    assert sum(chapter(page, text) is not None for page, text in pages.items()) > 50
    assert faults(pages) == []


ONE = "# A\n\nThings, by section: **one** 1, 3 ·\n[two](b.md) 2.\n\n## 1. X\n\n## 3. Z\n"
TWO = "# B\n\nThings, by section: [one](a.md) 1, 3 · **two** 2.\n\n## 2. Y\n"


@pytest.mark.parametrize(
    ("pages", "fault"),
    [
        ({"a": ONE, "b": TWO}, None),
        ({"a": ONE, "b": TWO.replace("1, 3", "1")}, "not the same line on a, b"),
        ({"a": ONE, "b": "# B\n\n## 2. Y\n"}, "b does not name the others"),
        ({"a": ONE + "\n## 4. New\n", "b": TWO}, "sections of a are ('1', '3', '4')"),
        ({"a": ONE.replace("3", "2"), "b": TWO.replace("3", "2")}, "sections are 1, 2, 2"),
        ({"a": ONE.replace("3", "4"), "b": TWO.replace("3", "4")}, "sections are 1, 2, 4"),
        ({"a": ONE, "b": TWO, "c": "# C\n\n## 4. Split off\n"}, "c: sections 4, and no line"),
    ],
)
def test_planted_faults_of_a_chapter_are_found(pages, fault):
    found = faults(pages)
    assert (found == []) if fault is None else any(fault in one for one in found)

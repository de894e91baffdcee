"""The commands that pages name: README, docs, data of the tests, and the examples of the command line's own help."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "tests").rglob("*.md"))]
HELP = sorted((ROOT / "ufm_convex" / "cli").glob("*.py"))
SUBCOMMANDS = ("solve", "certify", "verify", "crosscheck", "export", "plot", "report", "sweep")
FIRST = ("ufm-convex", "python", "pytest", "pip", "git")
"""First words of a line or a code span that make it a command."""


def spans(text: str) -> list[str]:
    """Inline code, and the lines of blocks that are no Python, in their order; a command's continuation joined."""
    found = []
    for language, block, span in re.findall(r"```(\w*)\n(.*?)```|`([^`]+)`", text, re.S):
        if span:
            found.append(" ".join(span.split()))
        elif language in ("bash", "text", ""):
            found += [part.strip() for line in block.splitlines() for part in line.split("&&")]
    return found


def command(span: str) -> list[str] | None:
    """Its words, the interpreter by its plain name, if it is a command; None if it is anything else."""
    span = re.sub(r"^(PYTHONPATH=\S+ )?(\.venv/bin/)?(python3\b)?", lambda m: "python" if m[3] else "", span)
    if not span.startswith(FIRST) and not re.match(f"({'|'.join(SUBCOMMANDS)}) .*--", span):
        return None
    words = shlex.split(span)
    if words[0] in SUBCOMMANDS:
        words.insert(0, "ufm-convex")
    return words if words[0] in FIRST and len(words) > 1 else None


def commands(page: Path) -> list[list[str]]:
    """Every command that a page names, or that an example in a docstring of the command line shows."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^ {4,}(ufm-convex .+)$", text, re.M) if page.suffix == ".py" else spans(text)
    return [words for words in map(command, lines) if words]


def options(page: Path) -> list[list[str]]:
    """Code that begins with an option, such as ``--labels y.npy``."""
    return [shlex.split(span) for span in spans(page.read_text(encoding="utf-8")) if re.match("--[a-z]", span)]


def script_of(words: list[str]) -> str | None:
    """The file of the tests, relative to the root, that a command runs; None if it runs none."""
    if words[0] != "python":
        return None
    if words[1] == "-m":
        return words[2].replace(".", "/") + ".py" if words[2].startswith("tests.") else None
    return words[1] if words[1].startswith("tests/") else None


def scripts(page: Path) -> list[str]:
    """Files of the tests that a page names, whether as a command or by their path."""
    named = [script_of(words) for words in commands(page)]
    paths = [
        found for span in spans(page.read_text(encoding="utf-8")) for found in re.findall(r"tests/[\w/]+\.py", span)
    ]
    return sorted({name for name in (*named, *paths) if name})

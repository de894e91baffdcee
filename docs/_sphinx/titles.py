"""Links that show the name of a file, ``[duality.md](duality.md)``, show the title of the page on the site.

Pages are read on GitHub as well, as files, where the name is the better word. A title is cut at its colon. The empty
line that ends the last example of a block, which doctest needs, is not shown either.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NAMED = re.compile(r"\[(?:docs/)?(\w+\.md)\]\((\1)(#[\w-]+)?\)")


def title(page: Path) -> str | None:
    """The first heading of a page up to a colon; None where there is no page or no heading."""
    found = re.search(r"^# ([^:\n]+)", page.read_text(encoding="utf-8"), re.M) if page.is_file() else None
    return found and found[1].strip()


def named(text: str, folder: Path) -> str:
    """The text of a page with titles in place of names of files."""
    text = text.replace("\n\n```\n", "\n```\n")
    return NAMED.sub(lambda link: f"[{title(folder / link[1]) or link[1]}]({link[2]}{link[3] or ''})", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite pages when they are read; the files stay as they are."""
    app.connect("source-read", lambda app, page, text: text.__setitem__(0, named(text[0], Path(app.srcdir))))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

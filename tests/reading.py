"""How long a page takes to read.

Prose is read at 238 words a minute, the mean for non-fiction in English (Brysbaert, *How many words do we read per
minute?*, Journal of Memory and Language 109, 2019). A word is what white space surrounds and has a letter or a digit in
it, so a formula within a line counts as the words it is written with. Tables, blocks of code and displayed formulas are
looked at, not read: 10 seconds each, whatever their length. A cell of a table that is a paragraph is read, but for a
page that a script generates: nobody reads its rows from first to last, one is looked up.
"""

from __future__ import annotations

import re

WORDS_A_MINUTE = 238
SECONDS_A_LOOK = 10
LONGEST_CELL = 15
"""Words; a longer one is a paragraph."""
MOST_MINUTES = 5


def words(text: str) -> int:
    return len(re.findall(r"\S*\w\S*", text))


def minutes(page: str, generated: bool = False) -> float:
    """Reading time of a page in Markdown."""
    page, blocks = re.subn(r"^( *)(```+|~~~+).*?^\1\2 *$", "\n\n", page, flags=re.S | re.M)
    page = re.sub(r"<!--.*?-->", "", page, flags=re.S)
    page, formulas = re.subn(r"\$\$.*?\$\$", "\n\n", page, flags=re.S)
    rows = re.findall(r"^ *\|.*$", page, re.M)
    tables = len(re.findall(r"(?:^ *\|.*\n?)+", page, re.M))
    read = words(re.sub(r"^ *\|.*$", "", page, flags=re.M))
    cells = [words(cell) for row in rows for cell in re.split(r"(?<!\\)\|", row)]
    read += 0 if generated else sum(length for length in cells if length > LONGEST_CELL)
    return read / WORDS_A_MINUTE + (blocks + formulas + tables) * SECONDS_A_LOOK / 60

r"""Formulas as MathML, made when the site is built: nothing is fetched or computed when a page is read.

A command that math-core does not know is a warning, which the build takes for an error. Numbers that formulas carry,
``\tag{3}``, stand at the right margin.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

log = logging.getLogger(__name__)
convert = LatexToMathML(fancy_error=False).convert_with_local_state
TAG = re.compile(r"\s*\\tag\{([^}]*)\}")
SPACE = re.compile(r"(?<!\\)\\\n")
"""A space that is asked for at the end of a line."""


def converted(node: nodes.Element, block: bool) -> tuple[str, str]:
    """The formula as MathML, and its number or nothing; the source in place of a formula that cannot be set."""
    source = node.astext().strip()
    formula = SPACE.sub(r"\\ ", TAG.sub("", source)).replace("smallmatrix", "matrix")
    try:
        return convert(formula, displaystyle=block), "".join(TAG.findall(source))
    except LatexError as problem:
        log.warning("formula %r: %s", source, problem, location=node, type="mathml")
        return f"<code>{html.escape(source)}</code>", ""


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(f'<span class="math">{converted(node, block=False)[0]}</span>')
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    formula, number = converted(node, block=True)
    label = f'<span class="eqno">({number})</span>' if number else ""
    self.body.append(f'<div class="math">{formula}{label}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it the renderer of formulas."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}

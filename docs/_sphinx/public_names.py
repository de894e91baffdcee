"""What the reference lists: names of ``ufm_convex`` at its top, and of each of its public modules what is left.

An object has one page: at the top level, if ``ufm_convex.__all__`` names it, else with the module that it is defined
in. A module that gives names of others refers to them.
"""

from __future__ import annotations

import ast
import importlib
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ufm_convex

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LISTED = (Path(__file__).parents[1] / "api.rst").read_text(encoding="utf-8")
TOP = re.findall(r"^   ~ufm_convex\.(\w+)$", LISTED, re.M)
MODULES = re.findall(r"^   (ufm_convex\.[\w.]+)$", LISTED, re.M)


@cache
def given(module: str) -> dict[str, Any]:
    """What a module gives, by name: ``__all__``, or what is defined in it and has no underscore."""
    loaded = importlib.import_module(module)
    own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", None) == module]
    names = getattr(loaded, "__all__", [name for name in own if not name.startswith("_")])
    return {name: getattr(loaded, name) for name in names}


def place(name: str, value: object, module: str) -> str:
    """The full name under which an object that a module gives is described."""
    if name in TOP:
        return f"ufm_convex.{name}"
    within = [one for one in MODULES if f"{getattr(value, '__module__', module)}.".startswith(f"{one}.")]
    homes = [one for one in within if given(one).get(name) is value]
    return f"{max(homes, key=len, default=module)}.{name}"


def contents(module: str) -> dict[str, list[str]]:
    """Names that have their place on the page of the module, and full names of what has it elsewhere."""
    places = {name: place(name, value, module) for name, value in given(module).items()}
    own = [name for name, full in places.items() if full == f"{module}.{name}"]
    return {"own": own, "elsewhere": [full for name, full in places.items() if name not in own]}


def plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are written to be read as they stand: bars are norms, not substitutions.

    A page that they name is a link, so one that does not exist is found. And ``K, the number of counts: …`` about a
    property or a constant is prose, of which napoleon took what is before the colon for a type.
    """
    if what in ("property", "attribute", "data") and lines and lines[-1].startswith(":type: "):
        lines[:] = [f"{lines[-1].removeprefix(':type: ')}: {lines[0]}", *lines[1:-1]]
    if what == "module":
        starts = [k for k, line in enumerate(lines) if re.match(r" +(?!>>>)\S", line) and not lines[k - 1].strip()]
        for start in reversed(starts):  # tables of two columns, as they stand
            end = next((k for k in range(start, len(lines)) if not lines[k].strip()), len(lines))
            table = [line.replace("``", "") for line in lines[start:end]]
            lines[start:end] = [".. code-block:: none", "", *table]
        return
    code = False
    for number, line in enumerate(lines):
        code = line.lstrip().startswith((">>>", "...")) or (code and bool(line.strip()))
        if not code:
            line = re.sub(r"(?<!`)docs/(\w+)\.md", r":doc:`docs/\1.md </\1>`", line)
            parts = re.split(r"(``.*?``|:\w+:`.*?`)", line)
            lines[number] = "".join(part.replace("|", r"\|") if k % 2 == 0 else part for k, part in enumerate(parts))


@cache
def imported() -> dict[str, str]:
    """Every name that a module of the package imports or defines, type checkers' imports included, in full."""
    found = {}
    root = Path(ufm_convex.__file__).parent
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found.update({one.asname or one.name: f"{node.module}.{one.name}" for one in node.names})
            elif isinstance(node, ast.Import):
                found.update({one.asname: one.name for one in node.names if one.asname})
            elif isinstance(node, ast.ClassDef):
                found[node.name] = f"{module}.{node.name}"
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update({one.id: f"{module}.{one.id}" for one in targets if isinstance(one, ast.Name)})
    return found


def exists(full: str) -> bool:
    """Whether a dotted name is a module or something in one."""
    with suppress(ImportError, ValueError):
        importlib.import_module(full)
        return True
    module, _, name = full.rpartition(".")
    with suppress(ImportError, ValueError):
        return hasattr(importlib.import_module(module), name)
    return False


def unlinked(app: Sphinx, env: object, node: Any, shown: Any) -> Any:
    """A type that exists and has no page is text; a name that does not exist stays a warning."""
    if node.get("refdomain") != "py":
        return None
    first, _, rest = node["reftarget"].strip("'").partition(".")
    full = ".".join(filter(None, (imported().get(first, first), rest)))
    return shown if exists(full) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Give the lists to the templates of autosummary, and mend docstrings after napoleon."""
    if sorted(TOP) != sorted(set(ufm_convex.__all__) - {"__version__"}):
        raise ValueError(f"api.rst does not list what ufm_convex gives: {set(TOP) ^ set(ufm_convex.__all__)}")
    app.config.autosummary_context = {"contents": {module: contents(module) for module in MODULES}}
    app.connect("missing-reference", unlinked)
    app.connect("autodoc-process-docstring", plain, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The site: lists that hold every page, links and anchors, the reference, the gallery, and the command that makes it.

What can be read off the files is, wherever the tests run. That a warning ends the build, and the gallery's network,
need the extra ``docs``; they are skipped without it, and where ``.ci/run`` allows no skips they are not.
"""

import ast
import contextlib
import importlib
import importlib.util
import os
import pkgutil
import re
import resource
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pages
import pytest

import ufm_convex
from ufm_convex import losses
from ufm_convex.contrastive import ContrastiveProblem
from ufm_convex.errors import MissingExtraError
from ufm_convex.problem import Problem, constraints
from ufm_convex.solving import load_problem

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
GALLERY = sorted((DOCS / "gallery").glob("plot_*.py"))
BUILD = ["python", "-m", "sphinx", "-W", "docs", "docs/_build"]
GENERATED = "generated/gallery/index"
"""The one page of a list that is made, not written."""


def text_of(page):
    return page.read_text(encoding="utf-8")


def extension(name):
    """A module of docs/_sphinx; those that are loaded here need no Sphinx."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_sphinx" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- lists ---------------------------------------------------------------------------------------------------------


def listed(text):
    """Names of pages in the lists of a page, in their order."""
    lists = re.findall(r"^:::\{toctree\}\n(.*?)^:::$", text, re.S | re.M)
    lines = [line.strip() for block in lists for line in block.splitlines()]
    return [re.sub(r".*<(.*)>", r"\1", line) for line in lines if line and not line.startswith(":")]


def reached(folder, start="index"):
    """How often each page is named by the lists that one gets to from the first page."""
    found, waiting = {start: 1}, [start]
    while waiting:
        page = folder / f"{waiting.pop()}.md"
        for name in listed(text_of(page)) if page.is_file() else []:
            if name not in found:
                waiting.append(name)
            found[name] = found.get(name, 0) + 1
    return found


def test_every_page_is_in_one_list_and_every_list_names_pages():
    found = reached(DOCS)
    written = {path.stem for path in (*PAGES, *DOCS.glob("*.rst"))}
    assert set(found) - written == {GENERATED}
    assert written <= set(found)
    assert {name for name, times in found.items() if times != 1} == set()


def test_a_planted_page_in_no_list_is_found(tmp_path):
    (tmp_path / "index.md").write_text("# One\n\n:::{toctree}\n:hidden:\n\nTwo <two>\n:::\n")
    (tmp_path / "two.md").write_text("# Two\n\n:::{toctree}\nthree\n:::\n")
    (tmp_path / "three.md").write_text("# Three\n")
    (tmp_path / "four.md").write_text("# Four\n")
    assert set(reached(tmp_path)) == {"index", "two", "three"}


def test_the_front_doors_are_questions_and_lead_to_every_how_to():
    text = text_of(DOCS / "how_to.md")
    rows = re.findall(r"^\| \[(.*?)\]\((\w+)\.md\) \| (.+) \|$", text, re.M)
    assert set(listed(text)) <= {name for _, name, _ in rows}
    assert {page.stem for page in DOCS.glob("how_to_*.md")} <= {name for _, name, _ in rows}
    asked = [question for question, _, _ in rows]
    assert [question for question in asked if not question.endswith("?")] == ["My targets are no classes"]


# -- links ---------------------------------------------------------------------------------------------------------


def prose(text):
    """Without code, in which f[-1](x) is no link."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.S))


def anchors(text):
    """Anchors of headings, as GitHub and the site make them."""
    headings = re.findall(r"^#{1,4} (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    plain = [re.sub(r"[`*$]|\[(.*?)\]\(.*?\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def dead_links(page):
    """Links within the folder whose file or whose anchor is not there."""
    dead = []
    for path, _, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#([^)\s]*))?\)", prose(text_of(page))):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(text_of(target))):
            dead.append(f"{path}#{anchor}" if anchor else path)
    return dead


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_and_anchors_lead_somewhere(page):
    assert dead_links(page) == []


def test_planted_dead_links_are_found(tmp_path):
    (tmp_path / "a.md").write_text("# A b\n\n## 2. `c`: D, e\n\n```python\nf[0](x)\n```\n")
    page = tmp_path / "b.md"
    page.write_text("[o](a.md) [p](a.md#a-b) [q](a.md#2-c-d-e) [r](#x) [s](c.md) [t](a.md#b) `f[1](y)`\n\n# X\n")
    assert dead_links(page) == ["c.md", "a.md#b"]


@pytest.mark.parametrize("page", [*PAGES, DOCS / "api.rst", *GALLERY], ids=lambda page: page.name)
def test_no_page_has_characters_that_are_not_shown(page):
    """``\\b`` of a formula that once went through a string of Python is a backspace."""
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f]", text_of(page)) == []


# -- the reference -------------------------------------------------------------------------------------------------


def test_the_reference_lists_what_the_package_gives():
    public = extension("public_names")
    assert sorted(public.TOP) == sorted(set(ufm_convex.__all__) - {"__version__"})
    rooms = {f"ufm_convex.{room}" for room in ufm_convex._ROOMS.values()}
    assert rooms <= set(public.MODULES)
    assert [name for name in public.MODULES if importlib.util.find_spec(name) is None] == []


def test_an_object_has_one_place_in_the_reference():
    public = extension("public_names")
    assert "GramPoint" not in public.contents("ufm_convex.crosscheck")["own"]
    assert "ufm_convex.relaxation.GramPoint" in public.contents("ufm_convex.crosscheck")["elsewhere"]
    assert "GramPoint" in public.contents("ufm_convex.relaxation")["own"]
    assert "ufm_convex.CrossEntropy" in public.contents("ufm_convex.losses")["elsewhere"]


@pytest.mark.parametrize("what", ["property", "attribute", "data"])  # whatever napoleon looks for a type in
def test_what_stands_before_a_colon_is_no_type(what):
    lines = ["the rows of W.", "", ":type: V"]  # what napoleon makes of "V: the rows of W."
    extension("public_names").plain(None, what, "p", None, None, lines)
    assert lines == ["V: the rows of W.", ""]


def test_docstrings_are_read_as_they_stand():
    plain = extension("public_names").plain
    lines = ["Norms ‖h‖, |W| and ``|code|`` of docs/theorem.md, section 2.", "", ">>> a | b", "1 | 2"]
    plain(None, "function", "f", None, None, lines)
    assert lines == [
        r"Norms ‖h‖, \|W\| and ``|code|`` of :doc:`docs/theorem.md </theorem>`, section 2.",
        "",
        ">>> a | b",
        "1 | 2",
    ]


def modules():
    """Every module that can be imported here."""
    for found in pkgutil.walk_packages(ufm_convex.__path__, "ufm_convex.", onerror=lambda name: None):
        with contextlib.suppress(MissingExtraError, ModuleNotFoundError):  # of what needs an extra
            yield importlib.import_module(found.name)


def gives(module, name):
    """Whether the name is there; one that needs an extra is, and says so."""
    try:
        return hasattr(module, name)
    except MissingExtraError:
        return True


def test_every_name_that_a_module_says_it_gives_is_there():
    """A star import, and the reference, fail on a name in ``__all__`` that is not there."""
    found = list(modules())
    assert len(found) > 200
    missing = [
        f"{module.__name__}.{name}"
        for module in found
        for name in getattr(module, "__all__", ())
        if not gives(module, name)
    ]
    assert missing == []


def test_titles_stand_for_names_of_files(tmp_path):
    named = extension("titles").named
    (tmp_path / "duality.md").write_text("# Duality: all of it\n")
    text = "See [duality.md](duality.md#x), [docs/duality.md](duality.md), [words](duality.md) and [no.md](no.md)."
    assert named(text, tmp_path) == (
        "See [Duality](duality.md#x), [Duality](duality.md), [words](duality.md) and [no.md](no.md)."
    )


# -- problem files -------------------------------------------------------------------------------------------------

FILES = text_of(DOCS / "problem_file.md")


def table(name):
    """Rows of the table under a comment: words in code of the first cell, and the second cell."""
    body = re.search(rf"<!-- {name} -->\n\n\|.*\n\|.*\n((?:\|.*\n)+)", FILES)[1]
    rows = [line.strip("|").split(" | ") for line in body.splitlines()]
    return [(re.findall(r'`\[?"?([\w-]+)"?\]?`', row[0]), row[1]) for row in rows]


@pytest.mark.parametrize(
    ("name", "known"), [("keys of Problem", Problem.KEYS), ("keys of ContrastiveProblem", ContrastiveProblem.KEYS)]
)
def test_the_keys_of_problem_files_are_those_that_are_read(name, known):
    assert sorted(key for keys, _ in table(name) for key in keys) == sorted(known)


@pytest.mark.parametrize(("name", "registry"), [("losses", losses.available), ("constraints", constraints.available)])
def test_the_names_and_parameters_in_problem_files_are_those_that_are_read(name, registry):
    own = {key: kind for key, kind in registry().items() if kind.__module__.startswith("ufm_convex.")}
    rows = {keys[0]: set(re.findall(r"`(\w+)`", cell)) for keys, cell in table(name)}
    assert rows == {key: {*kind.__dataclass_fields__} - {"name"} - own_names(kind) for key, kind in own.items()}


def own_names(kind):
    """Fields that are no parameters: statements of the class, as ``shift_invariant``."""
    statements = {node for node, note in kind.__dataclass_fields__.items() if "ClassVar" in str(note.type)}
    return statements | ({"kind"} if "targets" in kind.__dataclass_fields__ else set())


def test_the_problem_files_that_the_page_shows_are_read(tmp_path):
    shown = re.findall(r"```toml\n(.*?)```", FILES, re.S)
    assert len(shown) >= 2
    for text in shown:
        path = tmp_path / "problem.toml"
        path.write_text(text)
        assert load_problem(path).content().keys() >= tomllib.loads(text).keys() - {"profile"}


# -- the gallery ---------------------------------------------------------------------------------------------------

NEEDS = {"plot_3_network_report.py": ("sklearn", "torch")}
"""Modules of an extra that an example needs."""
SPENT = {}
"""Seconds of the processor, by example."""


def test_the_gallery_has_its_seven_examples():
    assert len(GALLERY) >= 7
    assert set(NEEDS) <= {script.name for script in GALLERY}


@pytest.mark.parametrize("script", GALLERY, ids=lambda script: script.stem)
def test_an_example_starts_with_a_question_and_ends_with_the_way_on(script):
    text = text_of(script)
    title = ast.get_docstring(ast.parse(text)).splitlines()[0]
    assert title.endswith("?")
    assert "# What was seen\n" in text
    pages_named = re.findall(r":doc:`/(\w+)`", text.split("# What was seen\n")[1])
    assert pages_named
    assert [name for name in pages_named if not (DOCS / f"{name}.md").is_file()] == []
    assert len(text.split()) < 1000  # at 200 words a minute


@pytest.mark.parametrize("script", GALLERY, ids=lambda script: script.stem)
def test_an_example_runs_by_itself_and_the_gallery_takes_a_minute(script, tmp_path):
    missing = [name for name in NEEDS.get(script.name, ()) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs the extra examples: {', '.join(missing)}")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **threads}, timeout=600,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 10
    assert list(tmp_path.iterdir()) == []
    SPENT[script.name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert sum(SPENT.values()) < 60, SPENT


# -- the command ---------------------------------------------------------------------------------------------------


def test_one_command_makes_the_site_on_every_page_and_in_the_continuous_run():
    settings, run = text_of(DOCS / "conf.py"), text_of(ROOT / ".ci" / "run")
    named = {tuple(words) for page in PAGES for words in pages.commands(page) if "sphinx" in words}
    assert named == {tuple(BUILD)}
    assert [shlex.split(line) for line in settings.splitlines() if " sphinx " in line] == [BUILD]
    lines = [shlex.split(line) for line in run.splitlines() if " sphinx " in line]
    assert lines == [[".venv-extras/bin/python", *BUILD[1:]]]
    assert re.search(r"-e '\.\[[\w,]*\bdocs\b[\w,]*\]'", run)
    assert f"- run: {' '.join(BUILD)}\n" in text_of(ROOT / ".github" / "workflows" / "site.yml")
    assert "docs/_build/" in text_of(ROOT / ".gitignore").splitlines()


PLANTED = {
    "nothing": ("", None),
    "a link to no page": ("[gone](gone.md)", "gone"),
    "a link to no heading": ("[gone](index.md#gone)", "gone"),
    "a formula that cannot be set": (r"$\notacommand x$", "notacommand"),
    "a number for a formula": ("$$\nx = 1 . \\tag{3}\n$$", None),
    "a page in no list": (None, "isn't included in any toctree"),
    "a name that does not exist": ("{py:obj}`ufm_convex.gone`", "ufm_convex.gone"),
}
"""What is written on a page, or beside it, and a word of the error; None where there is none."""


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_ends_the_build(fault, tmp_path):
    missing = [name for name in ("math_core", "myst_parser", "sphinx") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs the extra docs: {', '.join(missing)}")
    text, error = PLANTED[fault]
    (tmp_path / "index.md").write_text(f"# One\n\n{text or ''}\n")
    if text is None:
        (tmp_path / "lonely.md").write_text("# Lonely\n")
    settings = text_of(DOCS / "conf.py").replace("Path(__file__).parent", f"Path({str(DOCS)!r})")
    settings += '\nextensions = ["myst_parser", "mathml", "titles"]\nhtml_theme = "basic"\n'
    settings += "html_theme_options = {}\nhtml_static_path = []\n"
    (tmp_path / "conf.py").write_text(settings)
    command = [sys.executable, *BUILD[1:4], str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode == 0) == (error is None), done.stderr
    assert error is None or error in done.stderr
    if text and "tag" in text:
        assert '<span class="eqno">(3)</span>' in text_of(tmp_path / "out" / "index.html")

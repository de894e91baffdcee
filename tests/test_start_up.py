"""What a command imports: the causes of a slow start, pinned by name, whatever the time that they take."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_command

import ufm_convex as ufm
from ufm_convex import _registry, solvers
from ufm_convex._lazy import lazily
from ufm_convex.cli import application, command
from ufm_convex.solvers.base import Solver
from ufm_convex.solvers.theory import TheorySolver

PACKAGE = Path(__file__).parent.parent / "ufm_convex"
PROBE = """
import json, sys
from ufm_convex.cli import main
try:
    main({arguments!r})
except SystemExit as error:
    assert not error.code, error.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""

DECAYS = ["--lambda-w", "1e-3", "--lambda-h", "1e-3"]
MANY = ",".join(str(k) for k in range(1, 302))
CLOSED = {
    "cross-entropy": ["--class-counts", "500,100,20"],
    "as json": ["--class-counts", "500,100,20", "--json"],
    "hinge": ["--class-counts", "500,100,20", "--loss", "multiclass-hinge"],
    "squared error": ["--class-counts", MANY, "--loss", "mean-squared-error"],
}
HEAVY = {"cvxpy", "scipy", "scs", "clarabel", "torch", "matplotlib", "pandas"}
SLOW = {"pydantic", "importlib.metadata", "concurrent.futures"}
"""What takes 10 ms and more to import and is of no use to a command that solves in closed form."""
ELSEWHERE = {
    "ufm_convex.attribution",
    "ufm_convex.candidate.data",
    "ufm_convex.cli.certify",
    "ufm_convex.contrastive.runs",
    "ufm_convex.enclosure.candidate",
    "ufm_convex.evidence.columns",
    "ufm_convex.losses.soft_target_cross_entropy",
    "ufm_convex.methods.multiplier",
    "ufm_convex.positivity.gap_closure",
    "ufm_convex.recovery.scaled",
    "ufm_convex.relaxation.conic",
    "ufm_convex.solvers.factored",
    "ufm_convex.verifier.checking",
}
"""One module each of the rooms, methods and commands that such a command has no use for."""


def imported(arguments: list[str]) -> set[str]:
    """Modules that a fresh interpreter has after a command."""
    found = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.parametrize("case", CLOSED)
def test_a_closed_form_imports_what_it_needs(case: str) -> None:
    modules = imported(["solve", *CLOSED[case], *DECAYS])
    assert modules & HEAVY == set()
    assert modules & SLOW == set()
    if case != "hinge":  # which the frame proves, so that all solvers of the package are looked at
        assert modules & ELSEWHERE == set()


def test_a_solver_by_name_is_imported() -> None:
    """So that the probe sees what there is, and the names in the lists are those of modules."""
    modules = imported(["solve", "--class-counts", "5,3", *DECAYS, "--solver", "factored"])
    assert {"scipy", "ufm_convex.solvers.factored", "ufm_convex.recovery.scaled"} <= modules
    assert all(import_module(name) for name in ELSEWHERE | SLOW)


def test_help_imports_no_numpy(tmp_path: Path) -> None:
    modules = imported(["--help"])
    assert modules & {"numpy", "flint", "rich", "pydantic"} == set()
    assert {f"ufm_convex.cli.{name}" for name in ("solve", "certify", "verify")} <= modules  # it lists all commands
    assert "ufm_convex.cli.certify" not in imported(["solve", "--help"])


# -- rooms whose names are imported when they are used ---------------------------------------------------------------

ROOMS = [path for path in sorted(PACKAGE.rglob("__init__.py")) if "lazily(" in path.read_text(encoding="utf-8")]


def announced(source: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Module → names: as the file shows them to type checkers, and as it imports them."""
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    shown: dict[str, set[str]] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        shown.setdefault(str(node.module).rpartition(".")[2], set()).update(name.name for name in node.names)
    (assignment,) = block.orelse
    assert isinstance(assignment, ast.Assign)
    assert isinstance(assignment.value, ast.Call)
    table = ast.literal_eval(assignment.value.args[1])
    return shown, {module: set(names) for module, names in table.items()}


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.parent.name)
def test_a_room_has_the_names_that_it_shows(path: Path) -> None:
    shown, homes = announced(path.read_text(encoding="utf-8"))
    assert shown == homes
    room = import_module(".".join(path.parent.relative_to(PACKAGE.parent).parts))
    for module, names in homes.items():
        for name in names:
            assert getattr(room, name) is getattr(import_module(f"{room.__name__}.{module}"), name)
            assert name in dir(room)
    assert all(hasattr(room, name) for name in room.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = room.nonsense


def test_a_name_of_a_module_is_not_taken_lazily() -> None:
    with pytest.raises(ImportError, match="frame_curve"):
        lazily("ufm_convex.theory", {"frame_curve": ("frame_curve", "FrameCurve")})


def test_a_name_that_is_shown_and_not_imported_is_found() -> None:
    source = ROOMS[0].read_text(encoding="utf-8")
    shown, homes = announced(source.replace("    from ", "    from x.planted import Planted\n    from ", 1))
    assert shown != homes


def checked_alone(body: list[ast.stmt]) -> set[str]:
    """Names that are imported for type checkers: at run time there are none."""
    blocks = [node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in ast.walk(ast.Module(block.body, []))]
    found = {one.asname or one.name for node in imports if isinstance(node, ast.ImportFrom) for one in node.names}
    return found - {one.asname or one.name for node in body if isinstance(node, ast.ImportFrom) for one in node.names}


def needed(node: ast.AST) -> set[str]:
    """Names that a function body loads and does not bind: annotations, and what is cast to, are no code that runs."""
    loads, bound = set(), set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Name):
            (loads if isinstance(one.ctx, ast.Load) else bound).add(one.id)
        elif isinstance(one, ast.ImportFrom | ast.Import):
            bound |= {name.asname or name.name for name in one.names}
        skipped = {id(getattr(one, key, None)) for key in ("annotation", "returns")}
        if isinstance(one, ast.Call) and ast.unparse(one.func) == "cast":
            skipped.add(id(one.args[0]))
        waiting += [child for child in ast.iter_child_nodes(one) if id(child) not in skipped]
    return loads - bound


def missing_at_run_time(source: str) -> set[str]:
    """Names of a module that its functions need, and that only type checkers are given."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {name for node in functions for name in needed(node) & checked_alone(tree.body)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_imported_for_type_checkers_alone_is_needed_by_no_function(path: Path) -> None:
    """A room gives such a name to others, but to a function of its own it is a NameError until somebody has asked."""
    assert missing_at_run_time(path.read_text(encoding="utf-8")) == set()


def test_a_planted_name_for_type_checkers_is_found() -> None:
    head = "if TYPE_CHECKING:\n    from x import y\n"
    assert missing_at_run_time(head + "def f(a: y) -> y:\n    b: y = cast(y, a)\n    return b\n") == set()
    assert missing_at_run_time(head + "def f():\n    from x import y\n    return y(1)\n") == set()
    assert missing_at_run_time(head + "def f():\n    return y(1)\n") == {"y"}


def test_a_problem_is_saved_in_a_fresh_process(tmp_path: Path) -> None:
    code = f"import ufm_convex as ufm; ufm.Problem([3, 2], 0.1, 0.1).save({str(tmp_path / 'problem.toml')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert ufm.Problem.load(tmp_path / "problem.toml") == ufm.Problem([3, 2], 0.1, 0.1)


# -- parameters as they are given --------------------------------------------------------------------------------------


def typer_makes(parameter, context, value):  # type: ignore[no-untyped-def]
    """What Typer's own way makes of a value, an error included."""
    try:
        return parameter.process_value(context, value)
    except Exception as error:  # whatever it raises is what is compared
        return type(error).__name__, str(getattr(error, "message", error))


@pytest.mark.parametrize("name", sorted(application() and command.COMMANDS))
def test_the_shorter_way_makes_what_typer_makes(name: str, tmp_path: Path) -> None:
    """Every parameter of every command, against the same command without the shorter way."""
    closed = tmp_path / "closed"
    closed.write_text("1")
    texts = [
        "",
        "a",
        "-",
        "1e-3",
        "λ",
        str(tmp_path),
        str(closed),
        str(tmp_path / "none"),
        "~/x",
        "a//b/../c",
        "\udcff",
    ]
    several = [*([text] for text in texts), texts, tuple(texts), ()]
    short = get_command(application(name)).commands[name]  # type: ignore[attr-defined]
    plain = get_command(application(name)).commands[name]  # type: ignore[attr-defined]
    context, other = typer.Context(short), typer.Context(plain)
    quick, slow = short.get_params(context), super(command.AsGiven, plain).get_params(other)
    taken = 0
    for one, way in zip(quick, slow, strict=True):
        assert ("process_value" in vars(one), "process_value" in vars(way)) == (True, False)
        for value in [None, *(several if one.multiple else texts)]:
            assert typer_makes(one, context, value) == typer_makes(way, other, value), (one.name, value)
            taken += 1
    assert taken > 10


def test_what_typer_would_check_is_left_to_it(tmp_path: Path) -> None:
    """A declaration that asks for more, and a file that cannot be read, do not take the shorter way."""
    from typing import Annotated

    kind = command._kind_of_text
    assert kind(Annotated[Path | None, typer.Option(metavar="FILE", help="x")]) is Path
    assert kind(Annotated[list[str] | None, typer.Option()]) is str
    assert kind(Annotated[Path, typer.Argument(exists=True)]) is None
    assert kind(Annotated[str, typer.Option(parser=int)]) is None
    assert kind(Annotated[int, typer.Option()]) is None
    assert kind(Annotated[bool, typer.Option("--x")]) is None
    assert kind(bool) is None
    assert not command._may_be_read("a\0b")


# -- registries ------------------------------------------------------------------------------------------------------


def test_auto_asks_the_closed_form_first_as_its_rank_says() -> None:
    ranks = {name: kind.rank for name, kind in solvers.available().items()}
    assert all(ranks[solvers.FIRST] < rank for name, rank in ranks.items() if name != solvers.FIRST)
    overriding = {name for name, kind in solvers.available().items() if kind.priority is not Solver.priority}
    groups = [solvers.available()[name].group_rank for name in overriding]  # type: ignore[attr-defined]
    assert all(rank > ranks[solvers.FIRST] for rank in groups)


def test_auto_asks_a_solver_that_was_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a lower rank than the closed form comes before it, though no package has it."""

    class Early(TheorySolver):
        name, rank = "early", -1

    problem = ufm.Problem([5, 3], 1e-3, 1e-3)
    assert ufm.solve(problem).run.solver == "theory"
    assert solvers.available().guests == []
    monkeypatch.setitem(solvers.available(), "early", Early)
    assert solvers.available().guests == ["early"]
    assert ufm.solve(problem).run.solver == "early"


def test_a_module_is_imported_when_its_class_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "planted_folder"
    folder.mkdir()
    (folder / "__init__.py").write_text("class Base: pass\n")
    kind = "from planted_folder import Base\nclass Kind(Base):\n    name = {!r}\n"
    (folder / "a_first.py").write_text(kind.format("a-first"))
    (folder / "other.py").write_text(kind.format("by-another-name"))
    (folder / "z_broken.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    base = import_module("planted_folder").Base
    found: _registry.Folder[object] = _registry.Folder("planted_folder", base)
    assert "planted_folder.a_first" not in sys.modules
    assert found["a-first"].__module__ == "planted_folder.a_first"
    assert "planted_folder.other" not in sys.modules
    assert found["by-another-name"].__module__ == "planted_folder.other"
    with pytest.raises(RuntimeError, match="imported"):
        list(found)
    with pytest.raises(RuntimeError, match="imported"):
        _ = found["nobody"]


def metadata(root: Path, name: str, text: str) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "entry_points.txt").write_text(text)
    for kind in ("METADATA", "PKG-INFO"):
        (root / name / kind).write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")


def test_what_is_installed_is_seen_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against ``importlib.metadata``: wheels, eggs and archives, on a path of our own."""
    from importlib.metadata import entry_points

    group = "ufm_convex.solvers"
    metadata(tmp_path / "wheel", "x-1.0.dist-info", f"[{group}]\nmine = x:Mine\n")
    metadata(tmp_path / "x-1.0.egg", "EGG-INFO", f"[{group}]\nmine = x:Mine\n")
    metadata(tmp_path / "old", "x.egg-info", f"[{group}]\nmine = x:Mine\n")
    metadata(tmp_path / "other", "x-1.0.dist-info", "[console_scripts]\nmine = x:main\n")
    (tmp_path / "empty").mkdir()
    seen, there, not_there = {}, ("wheel", "x-1.0.egg", "old"), ("other", "empty", "missing")
    for name in there + not_there:
        monkeypatch.setattr(sys, "path", [str(tmp_path / name)])
        seen[name] = _registry.may_be_named(group)
        assert seen[name] == bool(entry_points(group=group)), name
    assert seen == dict.fromkeys(there, True) | dict.fromkeys(not_there, False)
    archive = tmp_path / "packages.zip"
    archive.write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(archive)])
    assert _registry.may_be_named(group)  # it may be: importlib.metadata is asked


def test_a_finder_of_another_kind_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_distributions(self, context: object) -> list[object]:
            return []

    monkeypatch.setattr(sys, "path", [])
    assert not _registry.may_be_named("ufm_convex.solvers")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert _registry.may_be_named("ufm_convex.solvers")


# -- one lock for the precision of balls -------------------------------------------------------------------------------


def test_the_precision_is_imported_without_the_rest_of_the_verifier() -> None:
    code = (
        "import sys, ufm_convex\nbefore = set(sys.modules)\n"
        "from ufm_convex.verifier.precision import working_precision\n"
        "more = {name for name in set(sys.modules) - before if name.startswith('ufm_convex')}\n"
        "assert more == {'ufm_convex.verifier', 'ufm_convex.verifier.precision'}, more\n"
        "import ufm_convex.verifier\nfrom ufm_convex.verifier import verify\n"
        "assert ufm_convex.verifier.precision.working_precision is working_precision\n"
        "assert ufm_convex.verifier.checking.working_precision is working_precision\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


RACE = """
import sys, threading
sys.setswitchinterval(1e-6)
import flint, numpy, ufm_convex
doors, found, wrong = ["verify", "precision", "Verdict", "precision"], [], []
ready = threading.Barrier(len(doors))
def enter(door):
    ready.wait()
    try:
        if door == "precision":
            from ufm_convex.verifier.precision import working_precision
            found.append(working_precision)
        else:
            getattr(__import__("ufm_convex.verifier", fromlist=["_"]), door)
    except Exception as error:
        wrong.append(error)
threads = [threading.Thread(target=enter, args=[door]) for door in doors]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not wrong, wrong
assert {id(one) for one in found} == {id(sys.modules["ufm_convex.verifier.checking"].working_precision)}
"""


def test_threads_that_import_it_at_once_share_one_lock() -> None:
    """Import locks see to it, where nothing goes around them."""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", RACE], check=True, timeout=60)

"""Imports point one way, the trust base stands alone, and importing the package stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ufm_convex"

# A room imports only from rooms on lines above its own; rooms on one line do not import each other.
LAYERS = [
    {"errors", "_version", "_arrays", "_lazy"},
    {"_given", "_deadline", "_child"},
    {"_bits", "_files", "_pairs", "_process", "_registry", "_tables"},
    {"class_counts"},
    {"losses"},
    {"problem"},
    {"relaxation", "candidate"},
    {"theory", "recovery"},
    {"solvers"},
    {"duality", "enclosure", "proof"},
    {"evidence"},
    {"positivity"},
    {"solution"},
    {"methods"},
    {"contrastive"},
    {"solving"},
    {"certificate", "interchange", "measures", "attribution"},
    {"crosscheck", "plots"},
    {"formal", "networks", "sweep", "verifying"},
    {"cli", "testing"},
]
STANDS_ALONE = {"verifier"}


def room(module: str) -> str:
    """The first name below the package."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> set[str]:
    """Rooms that a file imports, lazy imports inside functions included, type-checking and relative ones too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            # level 1 in a room's folder stays in the room; anything that climbs out of it names a room
            depth = len(path.relative_to(PACKAGE).parts) if path.is_relative_to(PACKAGE) else 1
            if node.level >= depth:
                found.update([node.module.split(".")[0]] if node.module else [alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ufm_convex":
            names = [room(node.module)] if "." in node.module else [alias.name for alias in node.names]
            found.update(names)
        elif isinstance(node, ast.Import):
            found.update(room(alias.name) for alias in node.names if alias.name.startswith("ufm_convex"))
    return found - {""}


def files() -> list[tuple[str, Path]]:
    """(room, file) for every source file but the package's own ``__init__``."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in paths]


def outside(path: Path) -> set[str]:
    """Top-level packages that a file imports, relative imports left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
    return found


def violations(sources: list[tuple[str, set[str]]]) -> list[str]:
    """Imports that do not point up."""
    height = {name: depth for depth, layer in enumerate(LAYERS) for name in layer} | dict.fromkeys(STANDS_ALONE, -1)
    wrong = []
    for name, imported in sources:
        if name in STANDS_ALONE:
            wrong += [f"{name} stands alone but imports {other}" for other in imported]
            continue
        wrong += [
            f"{name} imports {other}" for other in imported - {name} if height.get(other, 99) >= height.get(name, -1)
        ]
    return wrong


def test_a_planted_relative_import_is_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("from .solving import solve\n")
    assert imports(planted) == {"solving"}
    inside = PACKAGE / "verifier" / "proof.py"
    assert imports(inside) == set()  # relative imports within the room


def test_every_room_has_a_place():
    placed = set().union(*LAYERS) | STANDS_ALONE
    assert {name for name, _ in files()} <= placed


def test_the_picture_is_the_house():
    """docs/architecture.md draws the floors from the top; what is below the first named one stands on the ground."""
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = text.partition("```text\ncli")[2].partition("```")[0]
    floors = [set(re.split(r" {3,}", line)[0].split()) for line in ("cli" + picture).splitlines()]
    assert floors == LAYERS[:2:-1]
    assert all(name == "errors" or name.startswith("_") for layer in LAYERS[:3] for name in layer)
    assert len(floors) <= 24  # one screen
    assert {f"`{name}" for floor in floors for name in floor} <= set(re.findall(r"^\| (`\w+)", text, re.MULTILINE))


def test_imports_point_one_way():
    assert violations([(name, imports(path)) for name, path in files()]) == []


def test_the_verifier_imports_the_standard_library_flint_and_numpy_alone():
    trusted = set(sys.stdlib_module_names) | {"flint", "numpy"}
    paths = [path for name, path in files() if name == "verifier"]
    assert paths
    assert {name for path in paths for name in outside(path)} <= trusted


def test_a_planted_upward_import_is_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from ufm_convex.solving import solve\n    return solve\n")
    assert violations([("losses", imports(planted))]) == ["losses imports solving"]


HEAVY = ("cvxpy", "matplotlib", "scipy", "scs", "clarabel", "flint", "rich", "torch", "typer", "hypothesis", "mpmath")


def loaded_by(statement: str) -> set[str]:
    """Heavy packages that a fresh interpreter has loaded after the statement."""
    script = f"import sys\n{statement}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import ufm_convex") == set()


def test_making_a_problem_and_asking_theory_load_nothing_heavy():
    assert loaded_by("import ufm_convex as ufm; ufm.theory.optimum(ufm.Problem([5, 4, 3], 0.01, 0.01))") == set()


def test_no_module_hides_a_public_function():
    """A submodule named like a public function would replace it as an attribute once imported."""
    import ufm_convex

    modules = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    public = {name for name in ufm_convex.__all__ if not name.startswith("_")}
    assert modules & public == set()
    assert all(getattr(ufm_convex, name) is not None for name in public)


def test_the_check_sees_a_heavy_import():
    assert loaded_by("import ufm_convex, scipy") == {"scipy"}


@pytest.mark.parametrize("name", ["losses", "plots", "relaxation", "solvers", "theory"])
def test_registries_are_found_by_presence(name):
    """No module outside its folder names a concrete loss, level, solver or theorem file but through the registry."""
    folder = PACKAGE / name
    private = {path.stem for path in folder.glob("*.py")} - {"__init__", "base", "programme", "conic", "style"}
    strangers = []
    for other, path in files():
        if other != name:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"ufm_convex.{name}."):
                    strangers += [f"{path.name}: {node.module}"] * (node.module.split(".")[2] in private)
    assert strangers == []

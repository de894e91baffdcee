"""Doors for other people's code: the package of docs/plugins.md does what the page says, what is no plug-in is named.

The package is installed as pip would leave it, by metadata beside its folder on the path: no network, no build.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import cvxpy as cp
import numpy as np
import pytest
from flint import arb

import ufm_convex as ufm
from ufm_convex import losses, plots, solvers
from ufm_convex._registry import Registry, _asked, loaded
from ufm_convex.certificate import is_written, judged
from ufm_convex.crosscheck import available as contestants
from ufm_convex.crosscheck.base import Contestant
from ufm_convex.errors import HypothesisError, PluginError, ProblemError, SolverError, UnknownNameError
from ufm_convex.losses import Loss, SoftmaxLoss
from ufm_convex.losses.traits import foreign
from ufm_convex.solvers import Solver
from ufm_convex.testing import assert_loss_is_consistent
from ufm_convex.theory import Theorem

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "plugin_example"


BUILT = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
"""What an installation from the folder leaves in it; metadata on the path count as installed."""


@pytest.fixture
def sources(tmp_path):
    """The example's files alone, in a folder of their own."""
    return shutil.copytree(EXAMPLE, tmp_path / "sources", ignore=BUILT)


@pytest.fixture
def installed(tmp_path, sources):
    """Environment of a process in which the example is installed; a folder for more packages is on its path."""
    described = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    describe(tmp_path, described["name"], described["version"], described["entry-points"])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(sources), str(ROOT)])}


def describe(folder, name, version, groups):
    """What a wheel leaves of its metadata."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, entries in groups.items()
        for line in [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def run(environment, *words):
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)


FURTHER = """
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import solvers
from ufm_convex.cli import application


def test_an_isolated_solver_of_another_package_comes_along(monkeypatch):
    monkeypatch.setattr(solvers.available()["example-descent"], "in_process", False)
    problem = ufm.Problem([9, 5], 0.02, 0.02)
    assert ufm.solve(problem, solver="example-descent", isolate=True).status == "certified"


def test_the_command_of_the_page():
    done = CliRunner().invoke(application(), {words!r}, env={{"COLUMNS": "200"}})
    assert done.exit_code == 1, done.output  # as the page says
    assert "bounded" in done.stdout
    assert "of another package" in " ".join(done.stdout.split())
"""
"""What is said of plug-ins beside the example's own tests, run in the same process: imports are what costs."""


def commands():
    """The two commands of the page: what installs the example, and what solves with it."""
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    install, solve = block.splitlines()
    return install, solve.split()[1:]


def test_the_package_of_the_page_works_where_it_is_installed(installed, tmp_path):
    """Its own tests, the same that .ci/run makes after a real installation, and those above."""
    further = tmp_path / "test_further.py"
    further.write_text(FURTHER.format(words=commands()[1]), encoding="utf-8")
    done = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path),
               str(EXAMPLE / "test_example.py"), str(further))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    own = (EXAMPLE / "test_example.py").read_text(encoding="utf-8").count("\ndef test_")
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) >= own + 2
    assert "skipped" not in done.stdout


def test_the_installation_of_the_page_is_made_by_ci():
    """Where a build may be made."""
    assert commands()[0].removeprefix("pip install") in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_its_tests_fail_where_it_is_not_installed(sources):
    """The entry points are what makes the difference, not the path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(sources), str(ROOT)])}
    words = "import ufm_convex as ufm; ufm.losses.make('huber')"
    done = run(environment, "-c", words)
    assert "UnknownNameError" in done.stderr


def test_the_page_shows_the_files_of_the_package(sources):
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL))
    files = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.suffix in {".py", ".toml"}}
    assert set(shown) == files - {"ufm_convex_example/__init__.py"}
    for name, text in shown.items():
        assert text == (EXAMPLE / name).read_text(encoding="utf-8"), name


# -- what is no plug-in -----------------------------------------------------------------------------------------------


class Named:
    name = "named"


class Unfinished(Solver):
    name: ClassVar[str] = "unfinished"


class Unstated(Unfinished):
    name: ClassVar[str] = "unstated"

    @classmethod
    def installed(cls):
        return True

    def suits(self, problem, level):
        return None

    def runs(self, problem, level, tolerance, options):
        return iter(())


class Whole(Unstated):
    name: ClassVar[str] = "whole"
    levels: ClassVar[tuple[str, ...]] = ("class",)
    rank: ClassVar[int] = 9


def entry(name, value, group="ufm_convex.solvers"):
    return EntryPoint(name, value, group)


HERE = __name__


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("x", "no_such_module_anywhere:X", "cannot be imported: ModuleNotFoundError"),
        ("x", f"{HERE}:NoSuchName", "cannot be imported: AttributeError"),
        ("x", "this is no reference", "cannot be imported"),
        ("named", f"{HERE}:Named", "names <class"),
        ("x", f"{HERE}:HERE", "names '"),
        ("x", f"{HERE}:entry", "names <function"),
        ("cross-entropy", "ufm_convex.losses:CrossEntropy", "names <class"),  # of the wrong group
        ("unfinished", f"{HERE}:Unfinished", "without installed, runs, suits"),
        ("unstated", f"{HERE}:Unstated", "does not state levels, rank"),
        ("another", f"{HERE}:Whole", "calls itself 'whole'"),
    ],
)
def test_what_is_no_such_class_is_named(name, value, words):
    with pytest.raises(PluginError) as caught:
        loaded(entry(name, value), Solver)
    assert words in caught.value.got
    assert f"the entry point {name!r} = {value!r} in 'ufm_convex.solvers'" in caught.value.got
    assert "ufm_convex.solvers.base.Solver" in caught.value.expected


def test_a_whole_class_is_loaded():
    assert loaded(entry("whole", f"{HERE}:Whole"), Solver) is Whole


def registry(monkeypatch, *entries):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    monkeypatch.setattr("ufm_convex._registry.may_be_named", lambda group: True)
    return Registry({"own": Whole}, Solver, "ufm_convex.solvers")


def test_own_names_need_no_look_at_other_packages(monkeypatch):
    """A package that is broken, or takes a name, does no harm to whoever names what is here."""
    found = registry(monkeypatch, entry("broken", "no_such_module:X"), entry("own", "no_such_module:X"))
    assert found["own"] is Whole
    assert "own" in found


def test_names_are_listed_without_an_import_and_classes_with_one(monkeypatch):
    found = registry(monkeypatch, entry("broken", "no_such_module:X"))
    assert list(found) == ["own", "broken"]
    assert len(found) == 2
    assert "broken" in found
    assert "other" not in found
    with pytest.raises(PluginError):
        list(found.values())


@pytest.mark.parametrize("names", [("own",), ("twice", "twice")])
def test_a_name_that_is_taken_is_refused(monkeypatch, names):
    found = registry(monkeypatch, *(entry(name, f"{HERE}:Whole") for name in names))
    with pytest.raises(PluginError, match="takes the name of one of"):
        list(found)


def test_an_unknown_name_lists_those_of_other_packages(monkeypatch):
    plugged = Registry(dict(solvers.available()), Solver, "ufm_convex.solvers")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry("whole", f"{HERE}:Whole")])
    monkeypatch.setattr("ufm_convex._registry.may_be_named", lambda group: True)
    monkeypatch.setattr(solvers, "available", lambda: plugged)
    with pytest.raises(UnknownNameError, match="whole"):
        solvers.solver("hole")
    assert isinstance(solvers.solver("whole"), Whole)


def test_a_broken_package_is_an_error_of_the_command_line(tmp_path):
    describe(tmp_path, "broken-example", "0.1", {"ufm_convex.losses": {"broken": "no_such_module:X"}})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    words = ["-c", "from ufm_convex.cli import main; main()", "solve", "--class-counts", "3,2"]
    words += ["--lambda-w", "0.1", "--lambda-h", "0.1"]
    done = run(environment, *words, "--loss", "broken")
    assert done.returncode == 2
    assert "PluginError" in done.stderr
    assert "pip uninstall broken-example" in done.stderr


def test_every_registry_of_the_contract_has_its_door():
    doors = {"losses": losses.available, "solvers": solvers.available, "plots": plots.available}
    for name, look in {**doors, "contestants": contestants}.items():
        found = look()
        assert isinstance(found, Registry)
        assert found._group == f"ufm_convex.{name}"


# -- a loss of somebody else is bounded at most -----------------------------------------------------------------------


@dataclass(frozen=True)
class Own(ufm.CrossEntropy):
    """Another class of the same values, not even under another name."""


def test_a_loss_that_the_verifier_does_not_know_is_bounded_at_most():
    problem = ufm.Problem([30, 10], 0.02, 0.02)
    known, own = ufm.solve(problem, solver="clarabel"), ufm.solve(problem.__class__.from_content(
        problem.content(), source="here"), solver="clarabel")  # fmt: skip
    assert known.status == own.status == "certified"
    found = ufm.solve(ufm.Problem([30, 10], 0.02, 0.02, loss=Own()), solver="clarabel", tolerance=1e-6)
    assert found.relative_gap <= 1e-6
    assert found.status == "bounded"
    assert "not called certified" in found.route[-1]
    with pytest.raises(ufm.UFMError):
        ufm.certify(found.problem, solution=found)


def test_norm_balls_around_a_loss_of_another_package_are_bounded_at_most():
    ball = ufm.LayerPeeled(1.0, 5.0)
    problems = [ufm.Problem([4, 4], constraint=ball, loss=loss) for loss in (ufm.CrossEntropy(), Own())]
    known, own = (ufm.solve(problem, tolerance=1e-3) for problem in problems)
    assert (known.status, own.status) == ("certified", "bounded")


def made_here(name, module):
    """A loss whose class says that it is of another module."""
    return dataclass(frozen=True)(type(name, (ufm.CrossEntropy,), {"__module__": module}))()


@pytest.mark.parametrize("module", [__name__, "ufm_convex.losses.cross_entropy"])
def test_a_loss_with_a_name_of_ours_makes_another_problem(module, tmp_path):
    """Else its solution would stand for one of ours, and a file of it would come back as ours."""
    own = ufm.Problem([30, 10], 0.02, 0.02, loss=made_here("Own", module))
    plain = ufm.Problem([30, 10], 0.02, 0.02)
    assert own != plain
    assert own.sha256 != plain.sha256
    solution = ufm.solve(own, solver="clarabel", tolerance=1e-6)
    assert solution.status == "bounded"
    for judge in (judged, ufm.certify):
        with pytest.raises(ProblemError, match="another problem"):
            judge(plain, solution=solution)
    for write in (own.save, solution.save):
        with pytest.raises(ProblemError, match="the name 'cross-entropy' does not stand"):
            write(tmp_path / "own.npz")
    assert list(tmp_path.iterdir()) == []


def test_no_verdict_rests_on_a_loss_of_another_package():
    problem = ufm.Problem([30, 10], 0.02, 0.02, loss=Own())
    with pytest.raises(HypothesisError, match="its word alone"):
        judged(problem)
    assert judged(ufm.Problem([30, 10], 0.02, 0.02)).verdict == "optimal"
    table = ufm.Problem([5] * 4, 0.02, 0.02, loss=Silent(targets=[[1.0, 0.0], [0.0, 1.0], [2.0, 0.5], [0.0, 0.0]]))
    assert is_written(table)  # so that it is certify which is asked, and refuses before any work
    with pytest.raises(HypothesisError, match="do not carry the loss 'silent'"):
        ufm.certify(table)


def test_bounds_that_contradict_each_other_are_blamed_on_such_a_loss():
    """Half of every value, with the conjugate of the whole."""

    class Halved(ufm.CrossEntropy):
        def values(self, z, layout):
            return 0.5 * super().values(z, layout)

        def enclose_value(self, z, column):
            return super().enclose_value(z, column) / 2

    with pytest.raises(SolverError, match="a fault of the loss 'cross-entropy'"):
        ufm.solve(ufm.Problem([30, 10], 0.02, 0.02, loss=Halved()), solver="clarabel")


def test_what_is_foreign():
    """By the class itself: what it says of its module is somebody's word."""
    assert foreign(Own())
    assert foreign(made_here("Own", "ufm_convex.losses.cross_entropy"))
    assert foreign(made_here("CrossEntropy", "ufm_convex.losses.cross_entropy"))  # under the name of ours
    assert foreign(made_here("CrossEntropy", "ufm_convex.losses.no_such_module"))
    assert not any(foreign(loss) for loss in (ufm.CrossEntropy(), ufm.MeanSquaredError(), ufm.HardMargin(1).loss))


# -- assert_loss_is_consistent: every statement can be wrong ----------------------------------------------------------


class Silent(ufm.MeanSquaredError):
    """Takes what it is given without a word, as a class with a ``__post_init__`` of its own may."""

    name = "silent"

    def __post_init__(self):
        pass


def test_a_table_tells_columns_apart_whoever_takes_it():
    """Four columns of one count and different targets: taken for alike classes they would be one orbit."""
    rows = [[1.0, 0.0], [0.0, 1.0], [2.0, 0.5], [0.0, 0.0]]
    values = []
    for loss in (Silent(targets=rows), ufm.MeanSquaredError(targets=rows)):
        problem = ufm.Problem([5] * 4, 0.02, 0.02, loss=loss)
        assert not problem.loss.alike
        values.append(ufm.solve(problem, solver="clarabel").value)
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_targets_for_a_loss_that_says_nothing_of_them_are_refused():
    class Kindless(Silent):
        kind = None

    with pytest.raises(ProblemError, match="'silent' is given targets"):
        ufm.Problem([5] * 2, 0.02, 0.02, loss=Kindless(targets=[[1.0, 0.0], [0.0, 1.0]]))


class Faulty(ufm.MeanSquaredError):
    """Squared error with one statement that is not true of it; each test replaces one."""

    name = "faulty"


def squared_conjugate(self, v, layout):
    return (v * (0.5 * v + layout.target)).sum(axis=0)


FAULTS = {
    "subgradients": {"entry_residuals": lambda self, z, y: y - z},
    "Fenchel": {"entry_conjugates": lambda self, v, y: v * (0.4 * v + y)},
    "exceeds the pairing": {"entry_conjugates": lambda self, v, y: v * (0.6 * v + y)},
    "into_domain": {"into_domain": lambda self, v, layout: 0.5 * v, "conjugate": squared_conjugate},
    "limit": {"limit": lambda self, v, layout: np.full(v.shape[1], 0.5)},
    "not convex": {"entry_expression": lambda self, z, y: -cp.square(z)},
    "other values": {"entry_expression": lambda self, z, y: z},
    "enclose_value": {"enclose_entry_value": lambda self, z, y: arb((z - y).mid() ** 2 / 2)},
    "enclose_conjugate": {"enclose_entry_conjugate": lambda self, v, y: arb(v * v / 2)},
    "shift_invariant": {"shift_invariant": True, "closing_weights": lambda self, num_outputs: None},
    "parameters": {"parameters": lambda self: {"unknown": 1}},
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_statement_that_is_not_true_is_found(words):
    broken = dataclass(frozen=True)(type("Broken", (Faulty,), FAULTS[words]))
    expected = TypeError if words == "parameters" else AssertionError
    with pytest.raises(expected, match="unknown" if words == "parameters" else words):
        assert_loss_is_consistent(broken(), num_classes=3)


def test_a_domain_that_no_enclosure_tests_is_found():
    class Unguarded(ufm.BinaryCrossEntropy):
        def enclose_conjugate(self, v, column):
            try:
                return super().enclose_conjugate(v, column)
            except ValueError:
                return arb(0)

    with pytest.raises(AssertionError, match="has to raise ValueError"):
        assert_loss_is_consistent(Unguarded(), num_classes=3)


def test_orbits_that_see_another_loss_are_found():
    class Single(ufm.BinaryCrossEntropy):
        def values(self, z, layout):
            return super().values(z, replace(layout, numbers=np.ones_like(layout.numbers)))

    with pytest.raises(AssertionError, match="alike outputs"):
        assert_loss_is_consistent(Single(), num_classes=4)


@pytest.mark.parametrize("loss", [5, "cross-entropy", ufm.HardMargin(1).loss])
def test_what_is_no_finite_loss_is_refused(loss):
    with pytest.raises(ufm.UFMError, match="loss is"):
        assert_loss_is_consistent(loss, num_classes=3)


@pytest.mark.parametrize("name", sorted(losses.available()))
def test_every_loss_of_the_package_is_consistent(name):
    table = {
        "soft-target-cross-entropy": {"targets": [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]]},
        "logit-adjusted-cross-entropy": {"shift": [0.5, -0.25, 1.5], "scale": [1.0, 2.0, 0.5]},
        "label-margin-cross-entropy": {"margins": [0.5, -0.25, 1.5]},
    }
    loss = losses.make(name, table.get(name))
    assert isinstance(loss, Loss)
    assert_loss_is_consistent(loss, num_classes=3, seed=1)


# -- what is asked of a subclass --------------------------------------------------------------------------------------


def unsaid(base):
    """What a subclass has to have and the docstring of its base does not name."""
    asked = {*base.__abstractmethods__, *(key for key in _asked(base) if not hasattr(base, key))}
    words = re.search(r"Asked of a subclass[^:]*:(.*)", base.__doc__ or "", re.DOTALL)
    return sorted(asked - set(re.findall(r"``(\w+)``", words.group(1) if words else "")))


@pytest.mark.parametrize("base", [Loss, SoftmaxLoss, Solver, Theorem, Contestant, plots.Plot])
def test_the_docstring_of_a_base_names_all_that_is_asked(base):
    assert unsaid(base) == []


def test_what_a_docstring_leaves_out_is_found():
    class Base(Solver):
        """A solver. Asked of a subclass: ``name``, ``levels``, ``runs``."""

    assert unsaid(Base) == ["installed", "rank", "suits"]
    Base.__doc__ = "A solver with ``name`` and all."
    assert "name" in unsaid(Base)

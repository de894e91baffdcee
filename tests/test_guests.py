"""What classes of other packages hand back: of the form that was asked for, or an error that names the class."""

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex import plots, solvers, theory
from ufm_convex.errors import HypothesisError, PluginError, SolverError
from ufm_convex.plots import Plot, Source
from ufm_convex.relaxation import DualPoint, GramPoint
from ufm_convex.solvers import Claim, Solver, SolverRun
from ufm_convex.theory import Optimum, Relation, Theorem

PROBLEM = ufm.Problem([60, 20, 5], 0.02, 0.02)
UNSOLVED = ufm.Problem([60, 20, 5], 0.02, 0.02, features="free")
"""No theorem of the package is about it."""


def run(**changes):
    """A run without points: nothing is wrong with its form."""
    return SolverRun(**{"solver": "guest", "level": "class", "claim": Claim.OPTIMAL, "message": "", **changes})


def points(K, number=1.0):
    """Arrays of K outputs and columns, full of one number."""
    full = np.full((K, K), number)
    return {"point": GramPoint(full, full, full), "dual": DualPoint(full, np.zeros((K, K)))}


class Guest(Solver):
    """What it hands over stands in ``found``, or is raised."""

    name: ClassVar[str] = "guest"
    levels: ClassVar[tuple[str, ...]] = ("class",)
    rank: ClassVar[int] = 90
    found: ClassVar[object] = ()

    @classmethod
    def installed(cls):
        return True

    def suits(self, problem, level):
        return None

    def runs(self, problem, level, tolerance, options):
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found


class Here(Guest):
    in_process: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (42, "hands over 42 as its runs"),
        (["hello"], "hands over 'hello' for a run"),
        ([None], "hands over None for a run"),
        ([run(claim="fine")], "the claim 'fine'"),
        ([run(**points(2))], r"weight_gram as float64 of shape \(2, 2\).*\(3, 3\) are due"),
        ([run(dual=points(4)["dual"])], "residuals as float64 of shape"),
        ([run(dual=DualPoint(np.full((3, 3), "x"), np.zeros((3, 3))))], "residuals as <U1"),
        ([run(dual=DualPoint([[0.0] * 3] * 3, np.zeros((3, 3))))], "residuals as "),
        (RuntimeError("boom"), "raises RuntimeError: boom"),
    ],
)
@pytest.mark.parametrize("kind", [Guest, Here])
def test_a_run_without_the_form_of_one_is_named(found, words, kind, monkeypatch):
    monkeypatch.setitem(solvers.available(), "guest", kind)
    monkeypatch.setattr(kind, "found", found)
    with pytest.raises(PluginError, match=words) as caught:
        ufm.solve(PROBLEM, solver="guest")
    assert f"solver 'guest' ({__name__}.{kind.__name__})" in caught.value.got


@pytest.mark.parametrize("found", [[run()], [run(**points(3, np.nan))], [run(**points(3, 1e300))]])
def test_what_has_the_form_of_a_run_is_judged(found, monkeypatch):
    """Numbers that are none are no reason to refuse: nothing is proved from them."""
    monkeypatch.setitem(solvers.available(), "guest", Here)
    monkeypatch.setattr(Here, "found", found)
    assert ufm.solve(PROBLEM, solver="guest").status != "certified"


def test_no_run_at_all_is_named(monkeypatch):
    monkeypatch.setitem(solvers.available(), "guest", Here)
    with pytest.raises(SolverError, match="no solver made a run"):
        ufm.solve(PROBLEM, solver="guest")


def test_what_the_package_itself_says_is_no_fault_of_a_guest(monkeypatch):
    """An option that a guest does not know is refused as everywhere."""
    monkeypatch.setitem(solvers.available(), "guest", Here)
    monkeypatch.setattr(Here, "found", HypothesisError("got", expected="expected", fix="fix"))
    with pytest.raises(HypothesisError, match="got"):
        ufm.solve(PROBLEM, solver="guest")


class Saying(Theorem):
    """A theorem about what no theorem of the package is about."""

    name: ClassVar[str] = "saying"
    citation: ClassVar[str] = "here"
    relation: ClassVar[Relation] = Relation.TIGHT
    found: ClassVar[object] = Optimum(0.25, Relation.TIGHT, "here")

    def hypotheses(self, problem):
        return ()

    def evaluate(self, problem, relation):
        return self.found


def test_a_theorem_that_evaluates_to_a_number_is_heard(monkeypatch):
    monkeypatch.setattr(theory, "_about", lambda problem: (Saying(),))
    assert theory.optimum(UNSOLVED).value == theory.bound(UNSOLVED).value == 0.25


@pytest.mark.parametrize(
    "found", [None, 0.25, Optimum("low", Relation.TIGHT, "x"), Optimum(np.nan, Relation.TIGHT, "x")]
)
@pytest.mark.parametrize("ask", [theory.optimum, theory.bound, lambda problem: Saying().optimum(problem)])
def test_a_theorem_that_evaluates_to_none_is_named(found, ask, monkeypatch):
    monkeypatch.setattr(theory, "_about", lambda problem: (Saying(),))
    monkeypatch.setattr(Saying, "found", found)
    with pytest.raises(PluginError, match="the theorem 'saying'"):
        ask(UNSOLVED)


class Words(Plot):
    """Draws nothing."""

    name: ClassVar[str] = "words"
    source: ClassVar[Source] = Source.GEOMETRY

    def draw(self, subject, width):
        return "no figure"


def test_a_figure_that_is_none_is_named(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(plots.available(), "words", Words)
    with pytest.raises(PluginError, match=r"the figure 'words'.*'no figure'"):
        plots.draw("words", PROBLEM, solution=ufm.solve(PROBLEM))


def test_a_package_that_exits_while_it_is_imported_does_not_end_the_process(tmp_path):
    (tmp_path / "exits_at_once.py").write_text("import sys\nsys.exit(0)\n")
    code = """
from importlib.metadata import EntryPoint
from ufm_convex import _registry
from ufm_convex.solvers import Solver
_registry.loaded(EntryPoint("x", "exits_at_once:X", "ufm_convex.solvers"), Solver)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{Path(ufm.__file__).parents[1]}"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "PluginError" in done.stderr
    assert "cannot be imported: SystemExit" in done.stderr

"""Advice about doors: other packages, what solvers claim, solutions in files and numbers class by class."""

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
from advice_cases import SMALL, Case

import ufm_convex as ufm
from ufm_convex._registry import loaded
from ufm_convex._tables import encoded
from ufm_convex.interchange import Claims
from ufm_convex.losses import CrossEntropy
from ufm_convex.relaxation import DualPoint
from ufm_convex.solvers import Solver
from ufm_convex.testing import assert_loss_is_consistent


def ball() -> ufm.Solution:
    """The solution of a problem with norm bounds."""
    return ufm.solve(ufm.Problem([4, 4], constraint=ufm.LayerPeeled(1.0, 5.0)), tolerance=1e-3)


def kept(folder: Path, name: str = "s.npz") -> Path:
    """A solution in a file."""
    ufm.solve(SMALL).save(folder / name)
    return folder / name


ZEROS = np.zeros((3, 3)).tolist()
CASES: list[Case] = [
    Case(
        "_registry:_refuse",
        lambda folder: loaded(EntryPoint("x", "no_such_module:X", "ufm_convex.solvers"), Solver),
        "mend its import",
        lambda folder: loaded(EntryPoint("scs", "ufm_convex.solvers.scs:SCS", "ufm_convex.solvers"), Solver),
    ),
    Case(
        "_tables:check_table",
        lambda folder: encoded({"a": np.ones(2)}, folder / "t.xlsx"),
        "use .csv",
        lambda folder: encoded({"a": np.ones(2)}, folder / "t.csv"),
    ),
    Case("evidence.kept:_checked", lambda folder: kept(folder, "s.json"), "name it so", kept),
    Case(
        "evidence.kept:_malformed",
        lambda folder: ufm.Solution.load(folder / "none.npz"),
        "write it again with Solution.save",
        lambda folder: ufm.Solution.load(kept(folder)),
    ),
    Case(
        "evidence.kept:save",
        lambda folder: ball().save(folder / "s.npz"),
        "certify(problem, solution=solution).save(path)",
        lambda folder: ufm.certify((found := ball()).problem, solution=found, tolerance=1e-3).save(folder / "c.json"),
    ),
    Case(
        "interchange.claims:Claims.checked",
        lambda folder: Claims.checked(3, "solved", None, None, None),
        "translate the solver's own word; leave it out",
        lambda folder: (Claims.checked(3, "optimal", None, None, None), Claims.checked(3, None, None, None, None)),
    ),
    Case(
        "interchange.claims:Claims.of_fields",
        lambda folder: Claims.of_fields(3, {"value": None}),
        "leave out what the solver says nothing of",
        lambda folder: Claims.of_fields(3, {}),
    ),
    Case(
        "interchange.claims:_number",
        lambda folder: Claims.of_fields(3, {"value": "0.5"}),
        "leave it out",
        lambda folder: Claims.of_fields(3, {}),
    ),
    Case(
        "interchange.claims:_point",
        lambda folder: Claims.checked(3, None, None, None, 5),
        "pass DualPoint(residuals, multiplier)",
        lambda folder: Claims.checked(3, None, None, None, DualPoint(np.zeros((3, 3)), np.zeros((3, 3)))),
    ),
    Case(
        "interchange.claims:_matrix",
        lambda folder: Claims.of_fields(3, {"dual": {"residuals": [[0.0]], "nonnegativity": ZEROS}}),
        "give dual points at class level",
        lambda folder: Claims.of_fields(3, {"dual": {"residuals": ZEROS, "nonnegativity": ZEROS}}),
    ),
    Case(
        "testing.losses:assert_loss_is_consistent",
        lambda folder: assert_loss_is_consistent(CrossEntropy, num_classes=3),
        "pass an instance of your class",
        lambda folder: assert_loss_is_consistent(CrossEntropy(), num_classes=3),
    ),
]

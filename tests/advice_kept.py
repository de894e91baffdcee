"""Advice about what is kept: solutions in files, numbers class by class, certificates as theorems."""

from pathlib import Path

import numpy as np
from advice_cases import SMALL, TABLED, Case

import ufm_convex as ufm
from ufm_convex import formal, verifier
from ufm_convex._tables import encoded


def ball() -> ufm.Solution:
    """The solution of a problem with norm bounds."""
    return ufm.solve(ufm.Problem([4, 4], constraint=ufm.LayerPeeled(1.0, 5.0)), tolerance=1e-3)


def kept(folder: Path, name: str = "s.npz") -> Path:
    """A solution in a file."""
    ufm.solve(SMALL).save(folder / name)
    return folder / name


def certified(folder: Path) -> Path:
    """The certificate of a table in a file."""
    ufm.certify(TABLED).save(folder / "c.json")
    return folder / "c.json"


CASES: list[Case] = [
    Case(
        "_tables:check_table",
        lambda folder: encoded({"a": np.ones(2)}, folder / "t.xlsx"),
        "use .csv",
        lambda folder: encoded({"a": np.ones(2)}, folder / "t.csv"),
    ),
    Case("evidence.kept:_checked", lambda folder: kept(folder, "s.json"), "name it so", kept),
    Case(
        "evidence.kept:Kind.malformed",
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
        "formal.arranging:out_of_reach",
        lambda folder: formal.formalise(certified(folder)),
        "leave out --formal: the verifier checks it",
        lambda folder: verifier.verify(certified(folder)),
    ),
]

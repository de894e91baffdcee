"""What cases of advice are made of: how one is provoked and followed, and the objects that many of them are about."""

import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
from hypothesis import Phase, given, settings
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import interchange, losses, sweep
from ufm_convex.class_counts import read_class_counts, read_labels
from ufm_convex.cli import application
from ufm_convex.losses import CrossEntropy, LogitAdjustedCrossEntropy, MulticlassHinge, SoftTargetCrossEntropy
from ufm_convex.problem.constraints import HardMargin
from ufm_convex.recovery import narrowed, recoveries
from ufm_convex.relaxation import (
    Alike,
    Columns,
    Dual,
    Factors,
    Gram,
    Orbits,
    of_classes,
    of_groups,
)
from ufm_convex.sweep import Grid

PACKAGE = Path(ufm.__file__).parent
COUNTS, W, H, y = [4, 2, 2], np.eye(3), np.eye(3)[[0, 0, 0, 0, 1, 1, 2, 2]], np.repeat([0, 1, 2], [4, 2, 2])
UNEVEN = ufm.CrossEntropy(class_weights=(0.3, 1.7, 2.1))


class Derived(CrossEntropy):
    """A loss that certificates do not know."""


class Unsent(float):
    """A number that cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("not to be sent")


PROBLEM = ufm.Problem([500, 100, 20], 5e-3, 5e-3)
EMPTY = ufm.Problem([5, 3, 0], 1e-2, 1e-2)
SMALL = ufm.Problem(COUNTS, 5e-3, 5e-3)
BIASED = ufm.Candidate(weights=W, features=H, labels=y, bias=np.array([0.5, 0.0, -0.5]))
HUGE_BIAS = {"weights": W, "features": H, "labels": y, "bias": np.array([1e200, 0.0, 0.0])}
FREE = ufm.Problem([500, 100, 20], 5e-3, 5e-3, features="free")
HARD = ufm.Problem(COUNTS, 5e-3, 5e-3, constraint=HardMargin())
HARD_AND_FREE = ufm.Problem(COUNTS, 5e-3, 5e-3, features="free", constraint=HardMargin())
SQUARED = ufm.Problem(COUNTS, 5e-3, 5e-3, loss=losses.MeanSquaredError())


def zero_dual(problem: ufm.Problem) -> Dual:
    """V = 0 and T = 0 on the groups of a problem."""
    columns = of_groups(problem)
    return Dual(Alike.zeros(columns.outputs, columns.columns), Alike.zeros(columns.columns, columns.columns))


def unit_factors(problem: ufm.Problem) -> Factors:
    """W and H that are 1 at the own class, on the groups of a problem."""
    columns = of_groups(problem)
    identity = Alike.diagonal(columns.columns, np.ones(columns.columns.size))
    return Factors(Alike(columns.outputs, columns.columns, identity.even, identity.extra), identity)


def twins(*kinds: int) -> Columns:
    """Three classes with two columns each, of orbits of these kinds, or of single ones."""
    given, size = of_groups(ufm.Problem([5, 5, 5], 0.1, 0.1)), len(kinds) or 6
    outputs, sort = (Orbits.of([3], [0]), Orbits.of([3], kinds)) if kinds else (Orbits.single(3), Orbits.single(6))
    target, rows = Alike.matched(outputs, sort), np.zeros(size, int)
    if not kinds:
        rows = np.repeat(np.arange(3), 2)
        target = Alike.matrix(outputs, sort, np.eye(3)[:, rows])
    return Columns(outputs, sort, target, rows, np.ones(size), np.ones(size), 0.1, 0.1, given.loss, nonnegative=True)


def found_factors(feature_dim: int) -> Factors:
    """Those of the optimum, in so many coordinates."""
    columns, solution = of_classes(PROBLEM), ufm.solve(PROBLEM)
    V, m = columns.outputs, columns.columns
    point = Gram(
        Alike.matrix(V, V, solution.weight_gram),
        Alike.matrix(V, m, solution.logits),
        Alike.matrix(m, m, solution.feature_gram),
    )
    return narrowed(columns, next(iter(recoveries(columns, point))), feature_dim)


@dataclass(frozen=True)
class Case:
    """An error and the way out of it.

    Attributes:
        where: Module and function that write the advice.
        provoke: Raises; is given a folder.
        advice: Words of the Fix.
        follow: Does what they say; raises nothing.
    """

    where: str
    provoke: Callable[[Path], Any]
    advice: str
    follow: Callable[[Path], Any]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def counts_of(text: str | bytes, name: str = "n.csv") -> Callable[[Path], Any]:
    return lambda folder: read_class_counts(written(folder, name, text))


def labels_of(text: str | bytes, name: str = "y.csv") -> Callable[[Path], Any]:
    return lambda folder: read_labels(written(folder, name, text))


def renamed_npz(arrays: object, **members: object) -> Callable[[Path], ufm.Candidate]:
    def load(folder: Path) -> ufm.Candidate:
        np.savez(folder / "c.npz", **members)
        return ufm.Candidate.load(folder / "c.npz", arrays=arrays)

    return load


def npz_of(renamed: dict[str, str] | None = None, /, **arrays: Any) -> Callable[[Path], Any]:
    def load(folder: Path) -> ufm.Candidate:
        np.savez(folder / "c.npz", **arrays)
        return ufm.Candidate.load(folder / "c.npz", arrays=renamed)

    return load


def call(function: Callable[..., Any], *args: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda folder: function(*args, **options)


def candidate(**changed: Any) -> Callable[[Path], Any]:
    return call(ufm.Candidate, **{"weights": W, "features": H, "labels": y, **changed})


def toml(text: str) -> Callable[[Path], Any]:
    return lambda folder: ufm.Problem.load(written(folder, "p.toml", text))


def judged(*options: str) -> Callable[[Path], Any]:
    """``certify`` of a candidate in a file."""

    def run(folder: Path) -> None:
        W, F = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])
        np.savez(folder / "own.npz", weights=W, features=F, labels=np.array([0, 1]))
        command("certify", "FOLDER/own.npz", *options)(folder)

    return run


def command(*arguments: str, **files: str) -> Callable[[Path], Any]:
    """The command line; an error is raised again from its JSON-free three lines."""

    def run(folder: Path) -> None:
        for name, content in files.items():
            written(folder, name.replace("_", "."), content)
        done = CliRunner().invoke(application(), [one.replace("FOLDER", str(folder)) for one in arguments])
        if done.exit_code not in (0, 1):
            raise RefusedError(done.stderr)

    return run


class RefusedError(Exception):
    """What the command line printed on stderr."""


DECAYS = ("--lambda-w", "5e-3", "--lambda-h", "5e-3")
TOML = "class_counts = [500, 100, 20]\nlambda_w = 5e-3\nlambda_h = 5e-3\n"
masked = np.ma.masked_array([500, 100, 999999], mask=[0, 0, 1])
masked_rows = np.ma.masked_array(np.vstack([W, W[:1]]), mask=np.arange(12).reshape(4, 3) == 10)


class Unit(np.ndarray):
    """A subclass that could say more."""


class Broken:
    """An array that cannot be had."""

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise RuntimeError("gone")


CERTIFICATE = ufm.certify(SMALL, ufm.Candidate(weights=W, features=H, labels=y)).to_json()


def series(index: list[int]) -> Any:
    return sys.modules["pandas"].Series([20, 500, 100], index)


GOOD = ufm.Candidate(weights=W, features=H, labels=y)
BACKWARDS = ufm.Candidate(weights=-W, features=H, labels=y)
BELOW = ufm.Candidate(weights=W, features=H - 0.1, labels=y)
NAN = ufm.Candidate(weights=W, features=np.where(H == 1.0, np.nan, 0.0), labels=y)
HUGE = 2001 * [5]
PEELED = ufm.Problem([5] * 3, features="free", constraint=ufm.LayerPeeled(1, 5))
CONTRASTIVE = ufm.ContrastiveProblem(COUNTS, bound=1.0)
SMOOTH = ufm.Problem(COUNTS, 5e-3, 5e-3, loss=CrossEntropy(smoothing=0.1))
EVEN = ufm.Problem([9] * 3, 1e-3, 1e-3, features="free")
SHIFTED = ufm.Problem(COUNTS, 5e-3, 5e-3, loss=LogitAdjustedCrossEntropy([0, 1, 2]))
SIGMOID = ufm.Problem(COUNTS, 5e-3, 5e-3, loss=ufm.BinaryCrossEntropy())
HINGE = ufm.Problem(COUNTS, 5e-3, 5e-3, loss=MulticlassHinge())
TABLE = SoftTargetCrossEntropy([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
TABLED = ufm.Problem([5, 4], 5e-3, 5e-3, loss=TABLE)
TABLED_FREE = ufm.Problem([5, 4], 5e-3, 5e-3, loss=TABLE, features="free")
LONG_TABLE = ufm.Problem([2] * 2049, 5e-3, 5e-3, loss=SoftTargetCrossEntropy([[0.5, 0.25, 0.25]] * 2049))
ROUNDED = [[1.0, 0.0, 0.0], [0.1, 0.0, 0.9], [0.0, 0.0, 1.0]]
"""1 minus the others of the second row is below 0, which a table of classes may be."""


class OwnLoss(CrossEntropy):
    """No loss that certificates know."""

    name = "own"


def saved_solution(folder: Path, problem: ufm.Problem) -> Path:
    interchange.save_cbf_solution(
        folder / "s.json",
        problem,
        "class",
        interchange.cbf_solution(SMALL, ufm.solve(SMALL, solver="clarabel"), "class"),
    )
    return folder / "s.json"


def certified(folder: Path, problem: Any) -> Path:
    ufm.certify(problem).save(folder / "c.json")
    return folder / "c.json"


def torch_file(name: str) -> Callable[[Path], ufm.Candidate]:
    """An archive as PyTorch writes one, so far as its kind shows in it, under some name."""

    def load(folder: Path) -> ufm.Candidate:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("m/data.pkl", b"")
        return ufm.Candidate.load(folder / name)

    return load


def reported(folder: Path, name: str) -> None:
    command("report", str(folder / name))(folder)


def mat_file(folder: Path) -> ufm.Candidate:
    scipy.io.savemat(folder / "c.mat", {"weights": W, "features": H, "labels": y})
    return ufm.Candidate.load(folder / "c.mat")


def drawn(strategy: Any) -> Callable[[Path], Any]:
    """One example of a strategy, which raises when it is made or drawn from."""

    def example(folder: Path) -> None:
        @settings(max_examples=1, database=None, deadline=None, phases=[Phase.generate])
        @given(strategy())
        def once(_: Any) -> None:
            pass

        once()

    return example


def swept(folder: Path, grid: Grid, **options: Any) -> Any:
    return sweep.sweep(grid, folder / "j.jsonl", **options)


def interrupted_sweep(folder: Path) -> Any:
    swept(folder, Grid([1e-2], [1.0], [2]))
    return swept(folder, Grid([1e-3], [1.0], [2]))

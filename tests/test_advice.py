"""Every message's Fix does what it says: each case provokes an error, then follows the advice, word by word.

``FIXES`` are found in the source, by the functions that write them, so a new one needs a case here, or a reason among
``UNFOLLOWED`` why no test can follow it.
"""

import ast
import importlib
import sys
import types
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import Phase, given, settings
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import attribution, enclosure, interchange, losses, plots, relaxation, sweep, testing, theory
from ufm_convex.candidate import feature_statistics
from ufm_convex.candidate.statistics import ClassStatistics
from ufm_convex.class_counts import profiles, read_class_counts, read_labels, validate_class_counts, validate_labels
from ufm_convex.cli import application
from ufm_convex.crosscheck.scaled import ScaledClasses
from ufm_convex.enclosure.candidate import enclose_objective
from ufm_convex.losses import CrossEntropy, LogitAdjustedCrossEntropy, MulticlassHinge, SoftTargetCrossEntropy
from ufm_convex.losses.label_margin_cross_entropy import LabelMarginCrossEntropy
from ufm_convex.networks.report import report_on
from ufm_convex.positivity import complete_positivity, parrilo, pigeonhole
from ufm_convex.problem.constraints import HardMargin
from ufm_convex.recovery import narrowed, recoveries, require_dimension
from ufm_convex.relaxation import (
    Alike,
    Columns,
    Dual,
    DualPoint,
    Factors,
    FrameDual,
    FramePoint,
    Gram,
    Orbits,
    of_classes,
    of_groups,
    programme,
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


CASES: list[Case] = [
    # arrays
    Case(
        "_given:_unwrapped.refuse",
        call(ufm.Problem, masked, 1e-3, 1e-3),
        "class_counts.compressed()",
        call(ufm.Problem, masked.compressed(), 1e-3, 1e-3),
    ),
    Case(
        "_given:_unwrapped.refuse",
        call(ufm.Problem, masked, 1e-3, 1e-3),
        "class_counts.data",
        call(ufm.Problem, masked.data, 1e-3, 1e-3),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=masked_rows),
        "np.ma.compress_rows(weights)",
        candidate(weights=np.ma.compress_rows(masked_rows)),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=scipy.sparse.csr_array(W)),
        "weights.toarray()",
        candidate(weights=scipy.sparse.csr_array(W).toarray()),
    ),
    Case(
        "_given:_unwrapped.refuse",
        candidate(weights=W.view(Unit)),
        "np.asarray(weights)",
        candidate(weights=np.asarray(W.view(Unit))),
    ),
    Case("_given:array", candidate(weights=[[1.0], [1.0, 2.0]]), "rows of one length", candidate(weights=W.tolist())),
    Case("_given:array", candidate(weights=Broken()), "make weights a NumPy array", candidate(weights=np.array(W))),
    Case(
        "positivity.judging:_numbers",
        call(complete_positivity, [[np.nan, 0], [0, 1]]),
        "",
        call(complete_positivity, W),
    ),
    Case(
        "_given:tolerance", call(ufm.solve, PROBLEM, tolerance=2), "use 1e-6", call(ufm.solve, PROBLEM, tolerance=1e-6)
    ),
    Case(
        "_given:class_index",
        call(theory.optimum(PROBLEM).weight_norm_ratio, 0, 3),
        "numbered from 0",
        call(theory.optimum(PROBLEM).weight_norm_ratio, 0, 2),
    ),
    Case(
        "_given:require_known",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iter": 9}),
        "write max_iters",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 9}),
    ),
    Case(
        "_given:require_known",
        call(ufm.solve, PROBLEM, solver="theory", options={"foo": 9}),
        "leave it out",
        call(ufm.solve, PROBLEM, solver="theory", options={}),
    ),
    Case(
        "_given:require_known",
        call(losses.make, "cross-entropy", {"smoothin": 0.1}),
        "write smoothing",
        call(losses.make, "cross-entropy", {"smoothing": 0.1}),
    ),
    Case(
        "_given:require_known",
        call(losses.make, "cross-entropy", {"foo": 1, "bar": 2}),
        "leave them out",
        call(losses.make, "cross-entropy", {}),
    ),
    Case(
        "_registry:choose",
        call(losses.make, "CrossEntropy"),
        "lower-case with hyphens",
        call(losses.make, "cross-entropy"),
    ),
    Case(
        "_registry:choose", call(ufm.solve, PROBLEM, solver="best"), "'auto'", call(ufm.solve, PROBLEM, solver="auto")
    ),
    Case(
        "_registry:make",
        call(losses.make, "soft-target-cross-entropy"),
        "add it",
        call(losses.make, "soft-target-cross-entropy", {"targets": W}),
    ),
    # files of text
    Case("_files:read_bytes", call(ufm.Problem.load, "no/such.toml"), "check the path", toml(TOML)),
    Case("_files:read_text", toml(""), "check how", toml("\ufeff" + TOML)),
    Case(
        "_files:read_text",
        lambda folder: ufm.Problem.load(written(folder, "p.toml", TOML.encode("utf-16"))),
        "as UTF-8",
        toml(TOML),
    ),
    Case(
        "_files:parse_toml",
        toml("class_counts = "),
        "Problem.save",
        lambda folder: (PROBLEM.save(folder / "p.toml"), ufm.Problem.load(folder / "p.toml")),
    ),
    Case(
        "_files:_unwritable",
        lambda folder: PROBLEM.save(folder / "no" / "p.toml"),
        "check the path",
        lambda folder: PROBLEM.save(folder / "p.toml"),
    ),
    # problems
    Case(
        "problem.problem:Problem.__init__",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, features="relu"),
        '"nonnegative"',
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, features="nonnegative"),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml(TOML + "lambda = 1"),
        "remove what is not listed: lambda",
        toml(TOML),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml("lambda_w = 1\nlambda_h = 1"),
        "add class_counts",
        toml("lambda_w = 1\nlambda_h = 1\nclass_counts = [2, 1]"),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml("class_counts = [2, 1]\nlambda_h = 1"),
        "add lambda_w",
        toml("class_counts = [2, 1]\nlambda_h = 1\nlambda_w = 1"),
    ),
    Case(
        "problem.problem:Problem.from_content",
        toml('model = "contrastive"\nclass_counts = [2, 1]\nbound = 1.0'),
        "load of its class",
        lambda folder: ufm.ContrastiveProblem.load(folder / "p.toml"),
    ),
    Case(
        "problem.problem:_from_table",
        toml(TOML + 'loss = "hinge"'),
        "loss = { name =",
        toml(TOML + 'loss = { name = "cross-entropy" }'),
    ),
    Case(
        "problem.problem:_loss",
        call(ufm.Problem, COUNTS, constraint=5),
        "ufm_convex.LayerPeeled(weight_radius=1.0, feature_radius=5.0)",
        call(ufm.Problem, COUNTS, constraint=ufm.LayerPeeled(weight_radius=1.0, feature_radius=5.0)),
    ),
    Case(
        "problem.problem:_loss",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, constraint=HardMargin(1.0), loss=CrossEntropy()),
        "leave the loss out",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, constraint=HardMargin(1.0)),
    ),
    Case(
        "problem.problem:_loss",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, loss="cross-entropy"),
        "ufm_convex.CrossEntropy()",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, loss=ufm.CrossEntropy()),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, 1e-3),
        "pass lambda_h=5e-4",
        call(ufm.Problem, COUNTS, 1e-3, lambda_h=5e-4),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, "0.1", 1e-3),
        "pass lambda_w=5e-4",
        call(ufm.Problem, COUNTS, lambda_w=5e-4, lambda_h=1e-3),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, 0, 1e-3),
        "such as 1e-6",
        call(ufm.Problem, COUNTS, 1e-6, 1e-3),
    ),
    Case(
        "problem.problem:_decay",
        call(ufm.Problem, COUNTS, 1e-3, constraint=ufm.LayerPeeled(1, 5)),
        "leave lambda_w out",
        call(ufm.Problem, COUNTS, constraint=ufm.LayerPeeled(1, 5)),
    ),
    Case(
        "problem.problem:_dimension",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, feature_dim=2.5),
        "leave it out",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3),
    ),
    Case(
        "problem.problem:_bias",
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, bias=True),
        'bias="free"',
        call(ufm.Problem, COUNTS, 1e-3, 1e-3, bias="free"),
    ),
    Case(
        "methods.peeled_bounds:_in_units",
        call(ufm.certify, ufm.Problem([50, 20, 7], bias="free", constraint=ufm.LayerPeeled(1, 5), loss=UNEVEN)),
        "round the class weights",
        call(ufm.certify, ufm.Problem([50, 20, 7], bias=1e-9, constraint=ufm.LayerPeeled(1, 5), loss=UNEVEN)),
    ),
    Case(
        "problem.problem:require_problem",
        call(ufm.cross_check, 5, ["clarabel"]),
        "make one with Problem",
        call(ufm.cross_check, PROBLEM, ["clarabel"]),
    ),
    Case(
        "problem.problem:Problem.require_no_bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias="free"), digits=20),
        "leave the bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3), digits=20),
    ),
    Case(
        "problem.problem:Problem.require_decays",
        call(lambda: ufm.Problem(COUNTS, constraint=ufm.LayerPeeled(1, 5)).sigma),
        "leave the bias and the constraint out",
        call(lambda: ufm.Problem(COUNTS, 1e-3, 1e-3).sigma),
    ),
    # losses and constraints
    Case(
        "losses.__init__:make",
        call(losses.make, "focal"),
        "logit-adjusted-cross-entropy",
        call(losses.make, "logit-adjusted-cross-entropy"),
    ),
    Case(
        "losses.cross_entropy:CrossEntropy.__post_init__",
        call(CrossEntropy, smoothing=1.0),
        "0.1",
        call(CrossEntropy, smoothing=0.1),
    ),
    Case(
        "losses.weighing:class_weights_of",
        call(CrossEntropy, class_weights=2.0),
        "leave it out",
        call(CrossEntropy),
    ),
    Case(
        "losses.weighing:class_weights_of",
        call(CrossEntropy, class_weights=[1, 0, 1]),
        "left out",
        call(CrossEntropy, class_weights=[1, 1]),
    ),
    Case(
        "losses.weighing:class_weights_of",
        call(CrossEntropy, class_weights=[1, 1e300]),
        "moderate size",
        call(CrossEntropy, class_weights=[1, 1e3]),
    ),
    Case(
        "losses.from_torch:_require_criterion",
        call(CrossEntropy.from_torch, object(), COUNTS),
        "the loss of ufm_convex that it computes",
        call(CrossEntropy, class_weights=[1, 2, 3]),
    ),
    Case(
        "losses.weighing:require_one_each",
        call(ufm.Problem, COUNTS, 1, 1, loss=CrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=CrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.label_margin_cross_entropy:LabelMarginCrossEntropy.__post_init__",
        call(LabelMarginCrossEntropy, 0.5),
        "C * class_counts**-0.25, for example with C = 0.5",
        call(ufm.Problem, COUNTS, 1, 1, loss=LabelMarginCrossEntropy(0.5 * np.array(COUNTS) ** -0.25)),
    ),
    Case(
        "losses.label_margin_cross_entropy:LabelMarginCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=LabelMarginCrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=LabelMarginCrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:LogitAdjustedCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([1, 2, 3])),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:_vector",
        call(LogitAdjustedCrossEntropy, 2.0),
        "[0.0, 1.5]",
        call(LogitAdjustedCrossEntropy, [0.0, 1.5]),
    ),
    Case(
        "losses.logit_adjusted_cross_entropy:_vector",
        call(LogitAdjustedCrossEntropy, [0.0, "x"]),
        "correct",
        call(LogitAdjustedCrossEntropy, [0.0, 1.0]),
    ),
    Case(
        "losses.multiclass_hinge:MulticlassHinge.__post_init__",
        call(MulticlassHinge, "crammer"),
        "check the spelling",
        call(MulticlassHinge, "crammer-singer"),
    ),
    Case(
        "losses.soft_target_cross_entropy:SoftTargetCrossEntropy.validate",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(2))),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, loss=SoftTargetCrossEntropy(np.eye(3))),
    ),
    Case(
        "losses.soft_target_cross_entropy:_refused",
        call(SoftTargetCrossEntropy, [[2, 1], [1, 1]]),
        "from 0 to 1",
        call(SoftTargetCrossEntropy, [[1, 0], [0, 1]]),
    ),
    Case(
        "losses.soft_target_cross_entropy:_refused",
        call(SoftTargetCrossEntropy, [[1, 1], [1, 1]]),
        "divide each row by its sum",
        call(SoftTargetCrossEntropy, np.ones((2, 2)) / 2),
    ),
    Case(
        "losses.soft_target_cross_entropy:_refused",
        call(SoftTargetCrossEntropy, [[1, 0]]),
        "one row a class",
        call(SoftTargetCrossEntropy, [[1, 0], [0, 1]]),
    ),
    Case("problem.constraints.hard_margin:_refused", call(HardMargin, 0), "margins=1", call(HardMargin, margins=1)),
    Case(
        "problem.constraints.layer_peeled:LayerPeeled.__post_init__",
        call(ufm.LayerPeeled, 0, 1),
        "1 to 100",
        call(ufm.LayerPeeled, 1, 100),
    ),
    Case(
        "problem.constraints.margins:ClassMargins.validate",
        call(ufm.Problem, COUNTS, 1, 1, constraint=HardMargin([1, 2])),
        "order of class_counts",
        call(ufm.Problem, COUNTS, 1, 1, constraint=HardMargin([1, 2, 1])),
    ),
    # counts and labels in memory
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [5]),
        "one count a class",
        call(validate_class_counts, [5, 3]),
    ),
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [5, -1, 3]),
        "write 0 for a class without samples",
        call(validate_class_counts, [5, 0, 3]),
    ),
    Case(
        "class_counts.validation:validate_class_counts",
        call(ufm.ContrastiveProblem, [5, 0, 3], bound=1.0),
        "leave out classes",
        call(ufm.ContrastiveProblem, [5, 3], bound=1.0),
    ),
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [0, 0]),
        "check the counts",
        call(validate_class_counts, [0, 1]),
    ),
    Case(
        "class_counts.labels:number_of_classes",
        call(ufm.class_counts_from_labels, [0, 1], num_classes=1),
        "leave it out",
        call(ufm.class_counts_from_labels, [0, 1]),
    ),
    Case(
        "class_counts.labels:validate_labels",
        call(ufm.class_counts_from_labels, [0, 2], num_classes=2),
        "say that there are 3 classes",
        call(ufm.class_counts_from_labels, [0, 2], num_classes=3),
    ),
    Case(
        "class_counts.labels:validate_labels",
        call(ufm.class_counts_from_labels, [1, 2], num_classes=2),
        "np.asarray(labels) - 1",
        call(ufm.class_counts_from_labels, np.asarray([1, 2]) - 1, num_classes=2),
    ),
    Case(
        "class_counts.labels:_gap",
        call(ufm.class_counts_from_labels, [0, 2]),
        "num_classes=3",
        call(ufm.class_counts_from_labels, [0, 2], num_classes=3),
    ),
    Case(
        "problem.problem:_check_empty",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(np.eye(3).tolist())),
        "leave the class out, its count and its row and column",
        call(ufm.Problem, [5, 3], 1e-3, 1e-3, loss=ufm.SoftTargetCrossEntropy(np.eye(2).tolist())),
    ),
    Case(
        "problem.problem:_check_empty",
        call(ufm.Problem, [5, 3, 0], constraint=ufm.LayerPeeled(1, 5)),
        "or use decays",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3),
    ),
    Case(
        "problem.problem:_attained",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, bias="free"),
        "as bias=1e-3 does",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, bias=1e-3),
    ),
    Case(
        "problem.problem:_attained",
        call(ufm.Problem, [5, 3, 0], 1e-3, 1e-3, bias="free"),
        "leave these classes out",
        call(ufm.Problem, [5, 3], 1e-3, 1e-3, bias="free"),
    ),
    Case(
        "candidate.data:_check_empty",
        call(ufm.Candidate, weights=np.eye(2), features=np.eye(2), class_counts=[5, 0]),
        "features[class_counts == 0] = 0",
        call(ufm.Candidate, weights=np.eye(2), features=np.diag([1.0, 0.0]), class_counts=[5, 0]),
    ),
    Case(
        "cli.options:ProblemOptions._check_num_classes",
        command("solve", "--class-counts", "5,0", "--num-classes", "2", *DECAYS),
        "leave it out",
        command("solve", "--class-counts", "5,0", *DECAYS),
    ),
    Case(
        "crosscheck.scaled:ScaledClasses.of",
        call(ScaledClasses.of, EMPTY),
        "use a solver that cvxpy drives",
        call(ufm.cross_check, EMPTY, ["clarabel"]),
    ),
    Case(
        "plots.phase:_check",
        call(plots.draw, "phase", EMPTY),
        "use the figure norms",
        lambda folder: plots.draw("norms", EMPTY, solution=ufm.solve(EMPTY)),
    ),
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [5, 2**60, 3]),
        "check the entry",
        call(validate_class_counts, [5, 60, 3]),
    ),
    Case(
        "class_counts.validation:validate_class_counts",
        call(validate_class_counts, [2**53, 1]),
        "check the counts",
        call(validate_class_counts, [2**52, 1]),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_labels, W.astype(int)),
        "values.argmax(axis=1)",
        call(validate_labels, W.astype(int).argmax(axis=1)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, H.astype(int)),
        "values.sum(axis=0)",
        call(validate_class_counts, H.astype(int).sum(axis=0)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.matrix(COUNTS)),
        "np.ravel(values)",
        call(validate_class_counts, np.ravel(np.matrix(COUNTS))),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array(5)),
        "pass a list",
        call(validate_class_counts, [5, 3]),
    ),
    Case("class_counts.validation:integers", call(validate_labels, []), "check where", call(validate_labels, [0])),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array([5.0, 3.0])),
        "np.asarray(values).astype(int)",
        call(validate_class_counts, np.asarray([5.0, 3.0]).astype(int)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array(["5", "3"])),
        "np.asarray(values).astype(int)",
        call(validate_class_counts, np.asarray(["5", "3"]).astype(int)),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_labels, np.array(["cat", "dog"])),
        "np.unique(values, return_inverse=True)[1]",
        call(validate_labels, np.unique(["cat", "dog"], return_inverse=True)[1]),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_class_counts, np.array(["cat", "dog"])),
        "class_counts_from_labels",
        call(ufm.class_counts_from_labels, np.unique(["cat", "dog"], return_inverse=True)[1]),
    ),
    Case(
        "class_counts.validation:integers",
        call(validate_labels, np.array([2**64 - 1], np.uint64)),
        "check the data",
        call(validate_labels, np.array([1], np.uint64)),
    ),
    Case(
        "class_counts.validation:_array",
        call(validate_class_counts, Counter({1: 3, 0: 5})),
        "sorted(class_counts)",
        call(lambda n: validate_class_counts([n[k] for k in sorted(n)]), Counter({1: 3, 0: 5})),
    ),
    Case(
        "class_counts.validation:_array",
        call(validate_class_counts, {5, 3}),
        "a list",
        call(validate_class_counts, [5, 3]),
    ),
    Case("class_counts.validation:_array", call(validate_labels, [0, [1]]), "flatten", call(validate_labels, [0, 1])),
    Case(
        "class_counts.validation:_array",
        call(validate_labels, [0, 1.0]),
        "astype(int)",
        call(validate_labels, np.asarray([0, 1.0]).astype(int)),
    ),
    Case(
        "class_counts.validation:_array",
        call(validate_labels, [0, 10**30]),
        "check the data",
        call(validate_labels, [0, 1]),
    ),
    Case(
        "class_counts.validation:_check_index",
        lambda _: validate_class_counts(series([2, 0, 1])),
        "class_counts.sort_index()",
        lambda _: validate_class_counts(series([2, 0, 1]).sort_index()),
    ),
    Case(
        "class_counts.validation:_check_index",
        lambda _: validate_class_counts(series([2, 7, 5])),
        "class_counts.tolist()",
        lambda _: validate_class_counts(series([2, 7, 5]).tolist()),
    ),
    Case(
        "class_counts.labels:validate_labels",
        call(validate_labels, [0, -1]),
        "leave out samples",
        call(validate_labels, [0]),
    ),
    Case(
        "class_counts.labels:class_counts_from_labels",
        call(ufm.class_counts_from_labels, [0, 0]),
        "all samples were read",
        call(ufm.class_counts_from_labels, [0, 1]),
    ),
    Case(
        "class_counts.labels:_gap",
        call(ufm.class_counts_from_labels, [1, 2]),
        "np.asarray(labels) - 1",
        call(ufm.class_counts_from_labels, np.asarray([1, 2]) - 1),
    ),
    Case(
        "class_counts.labels:_gap",
        call(ufm.class_counts_from_labels, [0, 7]),
        "np.unique(labels, return_inverse=True)[1]",
        call(ufm.class_counts_from_labels, np.unique([0, 7], return_inverse=True)[1]),
    ),
    # profiles
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 5000, 0.01),
        "write ratio=100",
        call(profiles.exponential, 10, 5000, ratio=100),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 50, 100),
        "lower the ratio to 50",
        call(profiles.exponential, 10, 50, 50),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 50, 100),
        "raise max to 100",
        call(profiles.exponential, 10, 100, 100),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.exponential, 10, 5000, -1),
        "ratio=100",
        call(profiles.exponential, 10, 5000, ratio=100),
    ),
    Case(
        "class_counts.profiles:_checked",
        call(profiles.balanced, 2.0, 5),
        "without a decimal point",
        call(profiles.balanced, 2, 5),
    ),
    Case(
        "class_counts.profiles:step",
        call(profiles.step, 4, 10, 2, fraction=2),
        "use 0.5",
        call(profiles.step, 4, 10, 2, fraction=0.5),
    ),
    Case(
        "class_counts.profiles:pareto",
        call(profiles.pareto, 4, 10, 2, power=0),
        "use 6",
        call(profiles.pareto, 4, 10, 2, power=6),
    ),
    Case(
        "class_counts.profiles:counts_from_profile",
        call(ufm.counts_from_profile, 5),
        "as one string",
        call(ufm.counts_from_profile, "balanced:classes=2,max=5"),
    ),
    Case(
        "class_counts.profiles:counts_from_profile",
        call(ufm.counts_from_profile, "linear:"),
        "exponential:classes=10,max=5000,ratio=100",
        call(ufm.counts_from_profile, "exponential:classes=10,max=5000,ratio=100"),
    ),
    Case(
        "class_counts.profiles:_misused",
        call(ufm.counts_from_profile, "balanced:classes=2,max=x"),
        "name=number",
        call(ufm.counts_from_profile, "balanced:classes=2,max=5"),
    ),
    # tables
    Case(
        "class_counts.files:_count_columns",
        counts_of("0,5\n1,3\n"),
        "add the header",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case("class_counts.files:_count_columns", counts_of("label\n0\n1\n"), "read_labels", labels_of("label\n0\n1\n")),
    Case(
        "class_counts.files:_count_columns",
        counts_of("class_id,train_count,test_count\n0,5,1\n1,3,1\n"),
        "keep one",
        counts_of("class_id,train_count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_set_aside",
        counts_of("class_id,count,weight\n0,5,1\n1,3,2\n"),
        "remove the column weight",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_check_ids",
        counts_of("class_id,count\n0,5\n0,3\n1,2\n"),
        "write their sum",
        counts_of("class_id,count\n0,8\n1,2\n"),
    ),
    Case(
        "class_counts.files:_check_ids",
        counts_of("class_id,count\n1,5\n2,3\n"),
        "subtract 1",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_check_ids",
        counts_of("class_id,count\n0,5\n7,3\n"),
        "without gaps",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:read_class_counts",
        counts_of("class_id,count\n0,5\n1,-1\n"),
        "write 0 for a class without samples",
        counts_of("class_id,count\n0,5\n1,0\n"),
    ),
    Case(
        "class_counts.arrays:integers",
        counts_of('class_id,count\n0,"5,000"\n1,3\n'),
        "as 5000",
        counts_of("class_id,count\n0,5000\n1,3\n"),
    ),
    Case(
        "class_counts.arrays:integers",
        counts_of("class_id;count\n0;5.000\n1;3\n"),
        "write 5000",
        counts_of("class_id;count\n0;5000\n1;3\n"),
    ),
    Case(
        "class_counts.arrays:integers",
        counts_of("class_id,count\n0,500.0\n1,3\n"),
        "astype(int)",
        counts_of("class_id,count\n0,500\n1,3\n"),
    ),
    Case(
        "class_counts.arrays:integers",
        counts_of("class,count\ncat,5\ndog,3\n"),
        "class_name",
        counts_of("class_id,class_name,count\n0,cat,5\n1,dog,3\n"),
    ),
    Case(
        "class_counts.arrays:integers", labels_of("label\n0\ncat\n1\n"), "remove that line", labels_of("label\n0\n1\n")
    ),
    Case(
        "class_counts.files:_check_no_counts",
        labels_of("class,count\n0,5000\n1,400\n2,30\n"),
        "read_class_counts",
        counts_of("class,count\n0,5000\n1,400\n2,30\n"),
    ),
    Case(
        "class_counts.files:_check_no_counts",
        labels_of("label,num_images\n0,5\n1,3\n"),
        "remove the column num_images",
        labels_of("label\n0\n1\n"),
    ),
    Case(
        "class_counts.files:_check_no_counts",
        labels_of("n\n0\n1\n"),
        "rename the column to label",
        labels_of("label\n0\n1\n"),
    ),
    Case(
        "class_counts.files:_label_column",
        labels_of("a,b\n0,1\n5,0\n7,1\n"),
        "rename it to label",
        labels_of("a,label\n0,1\n5,0\n7,1\n"),
    ),
    Case(
        "class_counts.files:_check_one_a_sample",
        labels_of("label,value\n0,5\n1,3\n"),
        "rename the column to count, and read it as class counts: read_class_counts",
        counts_of("label,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.files:_check_one_a_sample",
        labels_of("label,value\n0,5\n1,3\n"),
        "remove the column value",
        labels_of("label\n0\n1\n"),
    ),
    Case("class_counts.files:read_labels", labels_of("label\n0\n-1\n"), "leave out samples", labels_of("label\n0\n")),
    Case(
        "class_counts.arrays:map_array",
        labels_of(b"nonsense", "y.npy"),
        "np.save(path, array)",
        lambda folder: (np.save(folder / "y.npy", y), read_labels(folder / "y.npy")),
    ),
    Case(
        "class_counts.arrays:empty", counts_of("class_id,count\n"), "check how", counts_of("class_id,count\n0,5\n1,3\n")
    ),
    Case(
        "class_counts.files:_unknown_suffix",
        labels_of("0\n", "y.dat"),
        "np.save(path, labels)",
        lambda folder: (np.save(folder / "y.npy", y), read_labels(folder / "y.npy")),
    ),
    Case(
        "class_counts.tables:rows",
        counts_of("class_id,count\n0,5\n1\n"),
        "the same number of cells",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.tables:rows",
        counts_of('class_id,count\n0,"5\n1,3\n'),
        "check the quotes",
        counts_of("class_id,count\n0,5\n1,3\n"),
    ),
    Case(
        "class_counts.tables:_delimiter",
        counts_of("class_id;a,count\n0;a,5\n"),
        "by commas alone",
        counts_of('class_id,"a;b",count\n0,cat,5\n1,dog,3\n'),
    ),
    # candidates
    Case(
        "candidate.data:Candidate.__init__",
        candidate(labels=None),
        "class_counts=n",
        candidate(features=W, labels=None, class_counts=COUNTS),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(features=H[0]),
        "features.reshape(len(features), -1)",
        candidate(features=H.reshape(len(H), -1)),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(weights=W.astype(np.float16)),
        "np.asarray(weights, dtype=np.float32)",
        candidate(weights=np.asarray(W.astype(np.float16), dtype=np.float32)),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(weights=W.astype(int).tolist()),
        "np.asarray(weights, dtype=np.float64)",
        candidate(weights=np.asarray(W.astype(int).tolist(), dtype=np.float64)),
    ),
    Case(
        "candidate.data:float_matrix",
        candidate(weights=W.astype(complex)),
        "weights.real",
        candidate(weights=W.astype(complex).real),
    ),
    Case(
        "candidate.data:_labels", candidate(weights=np.ones((2, 3))), "weights.T", candidate(weights=np.ones((3, 3)).T)
    ),
    Case(
        "candidate.data:_counts",
        candidate(weights=np.ones((2, 3)), labels=None, class_counts=COUNTS, features=W),
        "weights.T",
        candidate(weights=np.ones((3, 3)).T, labels=None, class_counts=COUNTS, features=W),
    ),
    Case("candidate.data:_check_shapes", candidate(features=H.T), "features.T", candidate(features=H.T.T)),
    Case(
        "candidate.data:_bias",
        candidate(bias=np.ones((3, 1))),
        "bias.ravel()",
        candidate(bias=np.ones((3, 1)).ravel()),
    ),
    Case("candidate.data:_bias", candidate(bias=np.ones(2)), "bias=None is no bias", candidate(bias=None)),
    Case(
        "candidate.data:_floats",
        npz_of(weights=W, features=H, labels=y, bias=[50, -30, 2]),
        "np.asarray(bias, dtype=np.float64)",
        npz_of(weights=W, features=H, labels=y, bias=np.asarray([50, -30, 2], dtype=np.float64)),
    ),
    Case(
        "candidate.names:_unasked",
        npz_of(weights=W, features=H, labels=y, **{"fc.bias": np.ones(3)}),
        "arrays={'bias': 'fc.bias'}",
        npz_of({"bias": "fc.bias"}, weights=W, features=H, labels=y, **{"fc.bias": np.ones(3)}),
    ),
    Case(
        "candidate.names:_unasked",
        npz_of(weights=W, features=H, labels=y, bias=np.ones(3), **{"fc.bias": np.ones(3)}),
        "leave fc.bias out of the file",
        npz_of(weights=W, features=H, labels=y, bias=np.ones(3)),
    ),
    Case(
        "candidate.names:_unasked",
        npz_of(weights=W, features=H, labels=y, temperature=0.1),
        "text may stay",
        npz_of(weights=W, features=H, labels=y, names=np.array(["a", "b", "c"])),
    ),
    Case(
        "candidate.names:_check",
        npz_of(W=W, H=H, y=y),
        "Candidate.load(path, arrays={'weights': 'W', 'features': 'H', 'labels': 'y'})",
        renamed_npz({"weights": "W", "features": "H", "labels": "y"}, W=W, H=H, y=y),
    ),
    Case(
        "candidate.names:_check",
        npz_of(weights=W, features=H, labels=y, class_counts=COUNTS),
        "keep labels if",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:read_npz",
        lambda folder: ufm.Candidate.load(written(folder, "c.npz", "nonsense")),
        "np.savez(path, weights=W, features=F, labels=y)",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:_unreadable",
        call(ufm.Candidate.load, "no/such.npz"),
        "check the path",
        npz_of(weights=W, features=H, labels=y),
    ),
    Case(
        "candidate.files:map_npy",
        lambda folder: ufm.Candidate.from_files(*[written(folder, "a.npy", "nonsense")] * 3),
        "np.save(path, array)",
        lambda folder: (
            [np.save(folder / f"{name}.npy", array) for name, array in (("w", W), ("h", H), ("y", y))],
            ufm.Candidate.from_files(folder / "w.npy", folder / "h.npy", folder / "y.npy"),
        ),
    ),
    Case(
        "candidate.matching:require_candidate",
        call(ufm.attribute_gap, PROBLEM, 5),
        "class_counts=problem.class_counts",
        call(ufm.attribute_gap, PROBLEM, ufm.Candidate(weights=W, features=W, class_counts=PROBLEM.class_counts)),
    ),
    Case(
        "candidate.matching:require_counts",
        call(ufm.attribute_gap, PROBLEM, ufm.Candidate(weights=W, features=H, labels=y)),
        "candidate.problem(lambda_w, lambda_h)",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "candidate.matching:require_match",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3), BIASED),
        'bias="free"',
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias="free"), BIASED),
    ),
    Case(
        "candidate.matching:require_match",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3), BIASED),
        "leave the bias of the candidate out",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3), ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "enclosure.candidate:_entries_of_bias",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias=0.1), ufm.Candidate(**HUGE_BIAS)),
        "diverged",
        call(ufm.certify, ufm.Problem(COUNTS, 1e-3, 1e-3, bias=0.1), BIASED),
    ),
    Case(
        "candidate.matching:require_nonnegative",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=-H, labels=y)),
        "after the ReLU",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=np.maximum(-H, 0), labels=y)),
    ),
    Case(
        "candidate.streaming:_chunk",
        call(feature_statistics, ufm.Candidate(weights=W, features=H, labels=y), chunk=0),
        "leave it out",
        call(feature_statistics, ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "contrastive.candidate:ContrastiveCandidate.__init__",
        call(ufm.ContrastiveCandidate, features=H.T, labels=y),
        "features.T",
        call(ufm.ContrastiveCandidate, features=H.T.T, labels=y),
    ),
    # contrastive problems
    Case(
        "contrastive.problem:ContrastiveProblem.__init__",
        call(ufm.ContrastiveProblem, COUNTS),
        "bound=1.0",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.problem:ContrastiveProblem.from_content",
        call(ufm.ContrastiveProblem.from_toml, 'model="contrastive"\nclass_counts=[2,1]\nbound=1.0\nfoo=1'),
        "remove foo",
        call(ufm.ContrastiveProblem.from_toml, 'model="contrastive"\nclass_counts=[2,1]\nbound=1.0'),
    ),
    Case(
        "contrastive.problem:_positive",
        call(ufm.ContrastiveProblem, COUNTS, bound=0),
        "1.0 is the unit ball",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.problem:_positive",
        call(ufm.ContrastiveProblem, COUNTS, lambda_h=0),
        "1e-3",
        call(ufm.ContrastiveProblem, COUNTS, lambda_h=1e-3),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem(np.arange(1, 500), bound=1.0), solver="scs"),
        "let level and solver both be 'auto'",
        call(ufm.solve, ufm.ContrastiveProblem(np.arange(1, 500), bound=1.0), solver="auto", level="auto"),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem([500, 20], bound=1.0), level="sample"),
        "use level 'class'",
        call(ufm.solve, ufm.ContrastiveProblem([500, 20], bound=1.0), level="class"),
    ),
    Case(
        "contrastive.programmes:check_level",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), level="row"),
        "'auto'",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), level="auto"),
    ),
    Case(
        "contrastive.method:_plan",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="theory", level="class"),
        "leave the level out",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="theory"),
    ),
    Case(
        "contrastive.method:_plan",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="frame"),
        "use 'auto'",
        call(ufm.solve, ufm.ContrastiveProblem([5, 2], bound=1.0), solver="auto"),
    ),
    # solving
    Case("solving:method_of", call(ufm.solve, 5), "Problem(class_counts", call(ufm.solve, PROBLEM)),
    Case(
        "solving:check_settings",
        call(ufm.solve, PROBLEM, solver="scs", options=[1]),
        "{'max_iters': 100}",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 100}),
    ),
    Case(
        "solving:check_settings",
        call(ufm.solve, PROBLEM, options={"max_iters": 100}),
        "name the solver",
        call(ufm.solve, PROBLEM, solver="scs", options={"max_iters": 100}),
    ),
    Case(
        "methods.direct:check_level",
        call(ufm.solve, SMALL, solver="theory", level="sample"),
        "another solver",
        call(ufm.solve, SMALL, solver="clarabel", level="sample"),
    ),
    Case(
        "methods.direct:_too_large",
        call(ufm.solve, ufm.Problem(np.arange(1, 2102), 1e-3, 1e-3, features="free")),
        "the same count",
        call(ufm.solve, ufm.Problem(np.repeat([5, 3], [2000, 101]), 1e-3, 1e-3, features="free")),
    ),
    Case(
        "relaxation.levels:Level.check_size",
        call(ufm.solve, ufm.Problem([500, 2], 1e-3, 1e-3), solver="clarabel", level="sample"),
        "use level 'class'",
        call(ufm.solve, ufm.Problem([500, 2], 1e-3, 1e-3), solver="clarabel", level="class"),
    ),
    Case(
        "relaxation.levels:Level.check_size",
        call(ufm.solve, ufm.Problem(np.arange(1, 502), 1e-3, 1e-3), level="class"),
        "'auto'",
        call(ufm.solve, ufm.Problem(np.arange(1, 502), 1e-3, 1e-3)),
    ),
    Case(
        "solvers.conic:ConicSolver.check_options",
        call(ufm.solve, PROBLEM, solver="clarabel", options={"max_iter": "x"}),
        "correct that value",
        call(ufm.solve, PROBLEM, solver="clarabel", options={"max_iter": 50}),
    ),
    Case(
        "solvers.factored:FactoredSolver.check_options",
        call(ufm.solve, PROBLEM, solver="factored", options={"starts": 0}),
        "{'starts': 1}",
        call(ufm.solve, PROBLEM, solver="factored", options={"starts": 1}),
    ),
    Case(
        "solvers.factored:_starts_and_seed",
        call(ufm.solve, ufm.Problem([3] * 2001, 1e-3, 1e-3), solver="factored"),
        "'auto'",
        call(ufm.solve, ufm.Problem([3] * 2001, 1e-3, 1e-3), solver="auto"),
    ),
    Case(
        "solvers.factored:_require_orbits",
        call(ufm.solve, SMALL, solver="factored", level="group"),
        "the level 'class'",
        call(ufm.solve, SMALL, solver="factored", level="class"),
    ),
    Case(
        "solvers.factored:_require_orbits",
        call(ufm.solve, FREE, solver="factored", level="group", options={"starts": 2}),
        "leave them out",
        call(ufm.solve, FREE, solver="factored", level="group"),
    ),
    Case(
        "solvers.base:Solver.require",
        call(ufm.solve, HARD, solver="factored"),
        "the solver 'frame'",
        call(ufm.solve, HARD, solver="frame"),
    ),
    Case(
        "losses.traits:require",
        call(ufm.solve, HARD_AND_FREE, solver="factored"),
        "use a conic solver",
        call(ufm.solve, HARD_AND_FREE, solver="clarabel"),
    ),
    Case("solvers.frame:_check", call(ufm.solve, FREE, solver="frame"), "'auto'", call(ufm.solve, FREE, solver="auto")),
    Case(
        "solvers.theory:TheorySolver.runs",
        call(ufm.solve, ufm.Problem([3, 3, 3], 1e-3, 1e-3, features="free"), solver="theory"),
        "'auto'",
        call(ufm.solve, ufm.Problem([3, 3, 3], 1e-3, 1e-3, features="free"), solver="auto"),
    ),
    Case(
        "_given:positive",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0, temperature=0),
        "temperatures are about 0.1 to 1",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0, temperature=0.1),
    ),
    Case(
        "_given:nonnegative",
        call(ufm.stability_bounds, SMALL, -1.0),
        "take attribute_gap(problem, candidate).gap",
        lambda folder: ufm.stability_bounds(SMALL, ufm.attribute_gap(SMALL, GOOD).gap),
    ),
    Case(
        "_given:seconds",
        call(ufm.solve, PROBLEM, time_limit=0),
        "time_limit=60.0",
        call(ufm.solve, PROBLEM, time_limit=60.0),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, digits=20, time_limit=60.0),
        "leave out one",
        call(ufm.certify, PROBLEM, digits=20),
    ),
    Case(
        "certificate.arguments:solved",
        call(ufm.certify, PROBLEM, solution=ufm.solve(PROBLEM), time_limit=60.0),
        "leave out one",
        call(ufm.certify, PROBLEM, time_limit=60.0),
    ),
    Case(
        "problem.problem:require_problem",
        call(ufm.cross_check, ufm.ContrastiveProblem([5, 2], bound=1.0)),
        "ufm_convex.solve, ufm_convex.certify",
        call(ufm.certify, ufm.ContrastiveProblem([5, 2], bound=1.0)),
    ),
    # certificates
    Case("solving:method_of", call(ufm.certify, 5), "Problem(class_counts", call(ufm.certify, PROBLEM)),
    Case(
        "_process:_not_sent",
        call(ufm.solve, SMALL, solver="scs", level="class", isolate=True, options={"time_limit_secs": Unsent(9.0)}),
        "isolate=False",
        call(ufm.solve, SMALL, solver="scs", level="class", options={"time_limit_secs": 9.0}),
    ),
    Case(
        "certificate.certifying:_refuse_proof",
        call(ufm.certify, PROBLEM, digits=20, proof="dense"),
        "leave out one",
        call(ufm.certify, PROBLEM, digits=20),
    ),
    Case(
        "certificate.encoding:require_exactly",
        call(ufm.certify, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=Derived())),
        "the class itself",
        call(ufm.certify, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=CrossEntropy())),
    ),
    Case(
        "cli.command:_refuse_repeated",
        command("solve", "--class-counts", "5,3", *DECAYS, "--level", "class", "--level", "class"),
        "keep one",
        command("solve", "--class-counts", "5,3", *DECAYS, "--level", "class"),
    ),
    Case(
        "cli.options:ProblemOptions._loss_parameters",
        command("solve", "--class-counts", "5,3", *DECAYS, "--smoothing", "0.1", "--loss-parameter", "smoothing=0.1"),
        "keep one",
        command("solve", "--class-counts", "5,3", *DECAYS, "--smoothing", "0.1"),
    ),
    Case(
        "methods.direct:_out_of_range",
        call(ufm.solve, ufm.Problem(COUNTS, 5e-324, 5e-324, features="free")),
        "moderate size",
        call(ufm.solve, ufm.Problem(COUNTS, 5e-3, 5e-3, features="free")),
    ),
    Case(
        "verifying:_arrays",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), 5
        ),
        "Candidate(weights=W, features=F, labels=y)",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, c := ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), c
        ),
    ),
    Case(
        "verifying:verify",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), {"weights": W}
        ),
        "an ufm_convex.Candidate",
        lambda folder: ufm.verify(
            ufm.certify(SMALL, c := ufm.Candidate(weights=W, features=H, labels=y)).text().encode(), c
        ),
    ),
    Case(
        "certificate.certifying:_check_recheck",
        call(ufm.certify, PROBLEM, recheck=True),
        "leave recheck out",
        call(ufm.certify, PROBLEM),
    ),
    Case(
        "certificate.arguments:chosen",
        call(ufm.certify, SMALL, 5),
        "Candidate(weights=W",
        call(ufm.certify, SMALL, ufm.Candidate(weights=W, features=H, labels=y)),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, digits=2.5),
        "use 50",
        call(ufm.certify, PROBLEM, digits=50),
    ),
    Case(
        "certificate.certifying:_check_settings",
        call(ufm.certify, PROBLEM, proof="best"),
        "leave it out",
        call(ufm.certify, PROBLEM),
    ),
    Case(
        "certificate.arguments:solved",
        call(ufm.certify, PROBLEM, solution=5),
        "pass solve(problem)",
        call(ufm.certify, PROBLEM, solution=ufm.solve(PROBLEM)),
    ),
    Case(
        "certificate.certifying:_refuse_solution",
        call(ufm.certify, PROBLEM, digits=20, solution=5),
        "leave out one",
        call(ufm.certify, PROBLEM, digits=20),
    ),
    Case(
        "certificate.file:CertificateFile.decimals",
        lambda _: ufm.certify(PROBLEM).decimals(0),
        "use 50",
        lambda _: ufm.certify(PROBLEM).decimals(50),
    ),
    Case(
        "attribution.stability:stability_bounds",
        call(attribution.stability_bounds, SMALL, -1),
        "attribute_gap(problem, candidate).gap",
        call(
            attribution.stability_bounds,
            SMALL,
            ufm.attribute_gap(SMALL, ufm.Candidate(weights=W, features=H, labels=y)).gap,
        ),
    ),
    # Gram matrices
    Case(
        "positivity.judging:complete_positivity",
        call(complete_positivity, W, tolerance=2),
        "use 1e-6",
        call(complete_positivity, W, tolerance=1e-6),
    ),
    Case("positivity.judging:_gram", call(complete_positivity, H), "H @ H.T", call(complete_positivity, H @ H.T)),
    Case(
        "positivity.judging:_gram",
        call(complete_positivity, 1e300 * W),
        "divide the matrix by its largest entry",
        call(complete_positivity, 1e300 * W / 1e300),
    ),
    Case(
        "positivity.judging:_factor",
        call(complete_positivity, W, factor=np.ones((2, 3))),
        "one row of features a class",
        call(complete_positivity, W, factor=np.ones((3, 3))),
    ),
    # sweeps
    Case(
        "cli.sweep:_refuse_file",
        lambda folder: (
            PROBLEM.save(folder / "p.toml"),
            command("sweep", "FOLDER/p.toml", "-o", "FOLDER/t.csv")(folder),
        ),
        "ufm-convex solve FILE",
        lambda folder: (PROBLEM.save(folder / "p.toml"), command("solve", "FOLDER/p.toml")(folder)),
    ),
    Case("sweep.grid:Grid.__post_init__", call(Grid, [1e-3], [0.1]), "1,10,100", call(Grid, [1e-3], [1, 10, 100])),
    Case("sweep.grid:Grid.__post_init__", call(Grid, [1e-3], [1], [10.5]), "4,10", call(Grid, [1e-3], [1], [4, 10])),
    # the command line
    Case(
        "cli.options:ProblemOptions._check_sources",
        command("solve", *DECAYS),
        "--class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "500,100,20", *DECAYS),
    ),
    Case(
        "cli.options:ProblemOptions._check_decays",
        command("solve", "--class-counts", "5,3"),
        "add --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.values:integers",
        command("solve", "--class-counts", "5;3", *DECAYS),
        "whole numbers of samples",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.values:number",
        command("solve", "--class-counts", "5,3", "--lambda-w", "x", "--lambda-h", "1"),
        "5e-3",
        command("solve", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.values:bias",
        command("solve", "--class-counts", "5,3", *DECAYS, "--bias", "x"),
        "--bias free",
        command("solve", "--class-counts", "5,3", *DECAYS, "--bias", "free"),
    ),
    Case(
        "cli.values:whole_number",
        command("solve", "--class-counts", "5,3", *DECAYS, "--feature-dim", "2.0"),
        "without a decimal point",
        command("solve", "--class-counts", "5,3", *DECAYS, "--feature-dim", "2"),
    ),
    Case(
        "class_counts.files:_check_no_counts",
        command("solve", "--labels", "FOLDER/n.csv", *DECAYS, n_csv="class,count\n0,50\n1,4\n"),
        "--class-counts on the command line",
        command("solve", "--class-counts", "FOLDER/n.csv", *DECAYS, n_csv="class,count\n0,50\n1,4\n"),
    ),
    Case(
        "class_counts.files:_count_columns",
        command("solve", "--class-counts", "FOLDER/y.csv", *DECAYS, y_csv="label\n0\n1\n"),
        "--labels on the command line",
        command("solve", "--labels", "FOLDER/y.csv", *DECAYS, y_csv="label\n0\n1\n"),
    ),
    Case(
        "cli.certify:_check_decays",
        command("certify", "FOLDER/a.npz", "--decays", "effective", "--lambda-h", "0.1"),
        "leave out --decays effective or --lambda-h",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.certify:_check_decays",
        command("certify", "--class-counts", "5,3", "--decays", "effective"),
        "add the candidate's file",
        judged("--decays", "effective"),
    ),
    Case(
        "cli.certify:_check_decays",
        command("certify", "FOLDER/a.npz", "--decays", "good"),
        "use --decays effective",
        judged("--decays", "effective"),
    ),
    Case(
        "cli.options:ProblemOptions._check_decays",
        judged("--lambda-w", "0.1"),
        "or --decays effective",
        judged("--lambda-w", "0.1", "--decays", "effective"),
    ),
    Case(
        "cli.judged:sort_out",
        command("certify", "FOLDER/a.npz", "FOLDER/b.npz", *DECAYS),
        "leave one out",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.plot:_target",
        command("plot", "--class-counts", "5,3", *DECAYS),
        "add -o figure.png",
        command("plot", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/figure.png"),
    ),
]


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


CASES += [
    Case(
        "_given:numbers",
        call(complete_positivity, W.astype(complex)),
        "real numbers",
        call(complete_positivity, W.astype(complex).real),
    ),
    Case(
        "attribution.stability:_frame",
        call(ufm.stability_bounds, ufm.Problem(COUNTS, 5e-3, 5e-3, bias="free"), 0.1),
        "attribute_gap",
        call(ufm.attribute_gap, ufm.Problem(COUNTS, 5e-3, 5e-3, bias="free"), BIASED),
    ),
    Case(
        "attribution.parts:attribute_gap",
        call(ufm.attribute_gap, HARD, ufm.Candidate(weights=W, features=H, labels=y)),
        "use certify(problem)",
        call(ufm.certify, HARD),
    ),
    Case(
        "attribution.parts:_require_its",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=H, labels=y), solution=5),
        "pass solve(problem)",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W, features=H, labels=y), solution=ufm.solve(SMALL)),
    ),
    Case(
        "testing.assertions:assert_self_dual",
        call(ufm.testing.assert_self_dual, ufm.Problem(COUNTS, 5e-3, 5e-3, bias="free"), BIASED),
        "assert_optimal",
        call(ufm.testing.assert_optimal, ufm.Problem(COUNTS, 5e-3, 5e-3, bias="free"), BIASED, tolerance=0.99),
    ),
    Case("candidate.data:_check_finite", candidate(weights=W * np.nan), "diverged", candidate()),
    Case("candidate.data:_check_finite", candidate(bias=np.ones(3) * np.inf), "diverged", candidate(bias=np.ones(3))),
    Case("candidate.data:_matrix", candidate(weights=W[0]), "one row a class", candidate(weights=W)),
    Case(
        "candidate.streaming:_check_entries",
        call(ufm.attribute_gap, SMALL, NAN),
        "recompute that row",
        call(ufm.attribute_gap, SMALL, GOOD),
    ),
    Case(
        "candidate.files:_pytorch",
        torch_file("m.npz"),
        "call it .pt",
        renamed_npz({"weights": "W"}, W=W, features=H, labels=y),
    ),
    Case(
        "candidate.names:require_renaming",
        renamed_npz([("weights", "W")], W=W, features=H, labels=y),
        "map what Candidate calls an array",
        renamed_npz({"weights": "W"}, W=W, features=H, labels=y),
    ),
    Case(
        "candidate.names:require_renaming",
        renamed_npz({"weight": "W"}, W=W, features=H, labels=y),
        "{'weights': 'fc.weight'}",
        renamed_npz({"weights": "fc.weight"}, **{"fc.weight": W, "features": H, "labels": y}),
    ),
    Case(
        "candidate.names:chosen",
        renamed_npz({"weights": "V"}, W=W, features=H, labels=y),
        "choose one of these",
        renamed_npz({"weights": "W"}, W=W, features=H, labels=y),
    ),
    Case(
        "candidate.formats:_matlab",
        lambda folder: ufm.Candidate.load(written(folder, "c.mat", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")),
        "-v7",
        mat_file,
    ),
    Case(
        "candidate.formats:_damaged",
        lambda folder: ufm.Candidate.load(written(folder, "c.mat", "nonsense")),
        "with weights, features, labels",
        mat_file,
    ),
    Case(
        "class_counts.lists:_from_txt",
        counts_of("# none\n", "n.txt"),
        "check the file",
        counts_of("5\n3\n", "n.txt"),
    ),
    Case(
        "cli.options:CandidateOptions.load",
        command("certify", "--class-counts", "5,3", *DECAYS, "--array", "weights=W"),
        "after the candidate's file",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "measures.decays:effective_decays",
        call(ufm.effective_decays, (W, H)),
        "make one",
        call(ufm.effective_decays, GOOD),
    ),
    Case(
        "measures.decays:effective_decays",
        call(ufm.effective_decays, GOOD, features="positive"),
        "use one of these",
        call(ufm.effective_decays, GOOD, features="free"),
    ),
    Case(
        "measures.decays:effective_decays",
        call(ufm.effective_decays, BELOW, features="nonnegative"),
        "features='free'",
        call(ufm.effective_decays, BELOW, features="free"),
    ),
    Case(
        "measures.decays:_Sums.decays",
        call(report_on, BACKWARDS),
        "decays that you know",
        call(report_on, BACKWARDS, SMALL),
    ),
    Case(
        "networks.report:_checked_names",
        call(report_on, GOOD, SMALL, class_names=["a"]),
        "one name for each row",
        call(report_on, GOOD, SMALL, class_names=["a", "b", "c"]),
    ),
    Case(
        "cli.report:_nothing",
        command("report"),
        "report trained.npz",
        lambda folder: (npz_of(weights=W, features=H, labels=y)(folder), reported(folder, "c.npz")),
    ),
    Case(
        "class_counts.files:_check_once",
        labels_of("tiger cat\ntiger cat\nred fox\n", "y.txt"),
        "a .csv with the header label",
        labels_of("label\ntiger cat\ntiger cat\nred fox\n", "y.csv"),
    ),
    Case(
        "candidate.statistics:ClassStatistics.__init__",
        call(ClassStatistics, [2, 1], [[1.0, 2.0]], [5.0, 0.0]),
        "one entry, row and entry a class",
        call(ClassStatistics, [2, 1], [[1.0, 2.0], [0.0, 0.0]], [5.0, 0.0]),
    ),
    Case(
        "candidate.statistics:ClassStatistics.merged",
        lambda _: ClassStatistics([2], [[1.0, 2.0]], [5.0]).merged(ClassStatistics([2], [[1.0]], [5.0])),
        "what one network has gathered",
        lambda _: ClassStatistics([2], [[1.0, 2.0]], [5.0]).merged(ClassStatistics([1], [[1.0, 2.0]], [5.0])),
    ),
    Case(
        "candidate.statistics:_check",
        call(ClassStatistics, [1.5], [[1.0, 2.0]], [5.0]),
        "count the samples",
        call(ClassStatistics, [1], [[1.0, 2.0]], [5.0]),
    ),
    Case(
        "measures.rounding:require_centre",
        call(ufm.geometry, SMALL, GOOD, centre="middle"),
        'leave it out for "classes"',
        call(ufm.geometry, SMALL, GOOD),
    ),
    Case(
        "class_counts.lists:_from_json",
        counts_of("5", "n.json"),
        "[500, 100, 20]",
        counts_of("[500, 100, 20]", "n.json"),
    ),
    Case(
        "class_counts.lists:_by_class",
        counts_of('{"1": 5, "2": 3}', "n.json"),
        "number the classes from 0",
        counts_of('{"0": 5, "1": 3}', "n.json"),
    ),
    Case(
        "class_counts.lists:read_list",
        counts_of("0\n1\n1\n", "n.txt"),
        "read_labels",
        lambda folder: ufm.read_labels(written(folder, "y.txt", "0\n1\n1\n")),
    ),
    Case(
        "certificate.certifying:_require_judgeable",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1, constraint=HardMargin(1)), GOOD),
        "certify(problem)",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1, constraint=HardMargin(1))),
    ),
    Case(
        "certificate.encoding:require_encodable",
        call(ufm.certify, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=OwnLoss())),
        "ufm_convex.solve(problem)",
        call(ufm.solve, ufm.Problem(COUNTS, 5e-3, 5e-3, loss=OwnLoss())),
    ),
    Case(
        "certificate.file:CertificateFile.load",
        lambda folder: ufm.Certificate.load(certified(folder, CONTRASTIVE)),
        "the class that",
        lambda folder: type(ufm.certify(CONTRASTIVE)).load(certified(folder, CONTRASTIVE)),
    ),
    Case(
        "certificate.file:_not_a_certificate",
        lambda folder: ufm.Certificate.load(written(folder, "c.json", "{}")),
        "",
        lambda folder: ufm.Certificate.load(certified(folder, SMALL)),
    ),
    Case(
        "contrastive.candidate:_features",
        call(ufm.ContrastiveCandidate, features=H[0], labels=y),
        "flatten",
        call(ufm.ContrastiveCandidate, features=H, labels=y),
    ),
    Case(
        "certificate.arguments:chosen",
        call(ufm.certify, CONTRASTIVE, 5),
        "ContrastiveCandidate(features=F, labels=y)",
        call(ufm.certify, CONTRASTIVE, ufm.ContrastiveCandidate(features=H, labels=y)),
    ),
    Case(
        "certificate.arguments:solved",
        call(ufm.certify, CONTRASTIVE, solution=5),
        "pass solve(problem)",
        call(ufm.certify, CONTRASTIVE, solution=ufm.solve(CONTRASTIVE)),
    ),
    Case(
        "contrastive.method:require_own_proof",
        call(ufm.certify, CONTRASTIVE, digits=20),
        "leave it out",
        call(ufm.certify, CONTRASTIVE),
    ),
    Case(
        "contrastive.judging:require_match",
        call(ufm.certify, ufm.ContrastiveProblem([5, 2], bound=1.0), ufm.ContrastiveCandidate(features=H, labels=y)),
        "candidate.class_counts",
        call(ufm.certify, CONTRASTIVE, ufm.ContrastiveCandidate(features=H, labels=y)),
    ),
    Case(
        "contrastive.problem:_check_range",
        call(ufm.ContrastiveProblem, COUNTS, bound=1e-300, temperature=1e300),
        "rescale",
        call(ufm.ContrastiveProblem, COUNTS, bound=1.0),
    ),
    Case(
        "contrastive.solution:ContrastiveSolution.factors",
        lambda _: ufm.solve(CONTRASTIVE).factors(1),
        "leave it out",
        lambda _: ufm.solve(CONTRASTIVE).factors(),
    ),
    Case(
        "certificate.contrastive:ContrastiveCertificate.to_json",
        lambda _: ufm.certify(CONTRASTIVE, ufm.ContrastiveCandidate(features=H, labels=y)).to_json(),
        "ufm_convex.certify(problem)",
        lambda _: ufm.certify(CONTRASTIVE).to_json(),
    ),
    Case(
        "contrastive.solution:ContrastiveSolution.gram",
        lambda _: ufm.solve(ufm.ContrastiveProblem([30000, 20], bound=1.0)).gram(),
        "feature_norms",
        lambda _: ufm.solve(ufm.ContrastiveProblem([30000, 20], bound=1.0)).feature_norms,
    ),
    Case(
        "crosscheck.checking:_entrants",
        call(ufm.cross_check, SMALL, "clarabel"),
        "['clarabel', 'scs']",
        call(ufm.cross_check, SMALL, ["clarabel", "scs"]),
    ),
    Case(
        "crosscheck.checking:_entrants",
        call(ufm.cross_check, SMALL, ["clarabel"], level="auto"),
        "'class'",
        call(ufm.cross_check, SMALL, ["clarabel"], level="class"),
    ),
    Case(
        "crosscheck.process:require_time_limit",
        call(ufm.cross_check, SMALL, ["clarabel"], time_limit=0),
        "use 60",
        call(ufm.cross_check, SMALL, ["clarabel"], time_limit=60),
    ),
    Case(
        "enclosure.candidate:check_match",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1, feature_dim=2), GOOD),
        "without feature_dim",
        call(ufm.certify, ufm.Problem(COUNTS, 1, 1), GOOD),
    ),
    Case(
        "enclosure.candidate:_Stream.__init__",
        call(enclose_objective, ufm.Problem(COUNTS, 1e99, 1e99, loss=CrossEntropy([2.0**400, 1, 1])), GOOD),
        "by a power of two",
        call(
            enclose_objective,
            ufm.Problem(COUNTS, 1e99 / 2.0**300, 1e99 / 2.0**300, loss=CrossEntropy([2.0**100, 2.0**-300, 2.0**-300])),
            GOOD,
        ),
    ),
    Case(
        "enclosure.candidate:_kernel",
        call(enclose_objective, SIGMOID, GOOD),
        "enclosure.upper_bound",
        call(enclosure.upper_bound, SIGMOID, (W, W, np.zeros(3))),
    ),
    Case(
        "enclosure.digits:bounds_to_digits",
        call(ufm.certify, SIGMOID, digits=20),
        "leave out digits",
        call(ufm.certify, SIGMOID),
    ),
    Case(
        "enclosure.digits:bounds_to_digits",
        call(ufm.certify, SMALL, digits=10**6),
        "ask for less",
        call(ufm.certify, SMALL, digits=100),
    ),
    Case(
        "enclosure.lower:_require_margins",
        call(enclosure.lower_bound, SQUARED, FrameDual(np.zeros(3))),
        "the dense points",
        call(enclosure.lower_bound, SQUARED, DualPoint(np.zeros((3, 3)), np.zeros((3, 3)))),
    ),
    Case(
        "enclosure.upper:_frame_upper",
        call(enclosure.upper_bound, SQUARED, FramePoint(np.ones(3), np.ones(3))),
        "W and H",
        call(enclosure.upper_bound, SQUARED, (W, W)),
    ),
    Case(
        "enclosure.lower:_on",
        call(enclosure.lower_bound, of_groups(SMALL), zero_dual(ufm.Problem([4, 4, 2], 5e-3, 5e-3))),
        "on the columns of this problem",
        call(enclosure.lower_bound, of_groups(SMALL), zero_dual(SMALL)),
    ),
    Case(
        "enclosure.upper:_columns_of",
        call(enclosure.upper_bound, SMALL, unit_factors(ufm.Problem([4, 4, 2], 5e-3, 5e-3))),
        "on the columns of this problem",
        call(enclosure.upper_bound, SMALL, unit_factors(SMALL)),
    ),
    Case(
        "enclosure.columns:ExactColumns.of",
        lambda _: enclosure.trivial_bound(twins(0, 0)),
        "merge the samples of a class",
        call(enclosure.trivial_bound, of_classes(ufm.Problem([10, 10, 10], 0.1, 0.1))),
    ),
    Case(
        "relaxation.conic:Standard.of",
        lambda _: programme(twins(0, 0)),
        "with single orbits",
        lambda _: programme(twins()),
    ),
    Case(
        "recovery.dimension:require_dimension",
        call(require_dimension, 3, 1),
        "feature_dim=3",
        call(require_dimension, 3, 3),
    ),
    Case(
        "recovery.dimension:narrowed",
        lambda _: found_factors(1),
        "feature_dim=3",
        lambda _: found_factors(3),
    ),
    Case(
        "recovery.dimension:require_dimension",
        lambda _: ufm.solve(PROBLEM).factors(1),
        "feature_dim=3",
        lambda _: ufm.solve(PROBLEM).factors(feature_dim=3),
    ),
    Case("positivity.gap_closure:check", call(ufm.close_gap, 5), "Problem(class_counts", call(ufm.close_gap, SMALL)),
    Case("positivity.gap_closure:check", call(ufm.close_gap, FREE), "solve()", call(ufm.solve, FREE)),
    Case(
        "positivity.parrilo:cubic_level",
        lambda _: parrilo.cubic_level(relaxation.of_groups(ufm.Problem([5, 5, 2], 1e-2, 1e-2))),
        "relaxation.of_classes(problem)",
        lambda _: parrilo.cubic_level(relaxation.of_classes(ufm.Problem([5, 5, 2], 1e-2, 1e-2))),
    ),
    Case(
        "positivity.parrilo:cubic_level",
        lambda _: parrilo.cubic_level(relaxation.of_classes(FREE)),
        "relaxation.programme",
        lambda _: relaxation.programme(relaxation.of_classes(FREE)),
    ),
    Case(
        "relaxation.levels:Level.__call__",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2])),
            solver="clarabel",
            level="group",
        ),
        "level 'class'",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2])),
            solver="clarabel",
            level="class",
        ),
    ),
    Case(
        "interchange.programmes:programme",
        call(interchange.export_cbf, SMALL, "auto"),
        "'class'",
        call(interchange.export_cbf, SMALL, "class"),
    ),
    Case(
        "interchange.programmes:programme",
        call(interchange.export_cbf, SIGMOID, "class"),
        "ufm_convex.solve",
        call(ufm.solve, SIGMOID),
    ),
    Case(
        "interchange.programmes:_require_range",
        call(interchange.export_cbf, ufm.Problem(COUNTS, 1e-200, 1e-200), "class"),
        "nearer to 1",
        call(interchange.export_cbf, SMALL, "class"),
    ),
    Case(
        "interchange.solutions:cbf_solution",
        call(interchange.cbf_solution, PROBLEM, ufm.solve(SMALL)),
        "solution.problem",
        lambda _: interchange.cbf_solution(ufm.solve(SMALL).problem, ufm.solve(SMALL)),
    ),
    Case(
        "interchange.solutions:load_cbf_solution",
        lambda folder: interchange.load_cbf_solution(saved_solution(folder, SMALL), PROBLEM),
        "that was exported",
        lambda folder: interchange.load_cbf_solution(saved_solution(folder, SMALL), SMALL),
    ),
    Case(
        "interchange.solutions:_checked",
        call(interchange.point_from_cbf, SMALL, "class", [1.0]),
        "row by row",
        lambda _: interchange.point_from_cbf(SMALL, "class", interchange.cbf_solution(SMALL, ufm.solve(SMALL))),
    ),
    Case(
        "interchange.solutions:_malformed",
        lambda folder: interchange.load_cbf_solution(written(folder, "s.json", "{}"), SMALL),
        "save_cbf_solution",
        lambda folder: interchange.load_cbf_solution(saved_solution(folder, SMALL), SMALL),
    ),
    Case(
        "measures.report:_measured",
        call(ufm.geometry, FREE, GOOD),
        "candidate.problem(lambda_w, lambda_h)",
        call(ufm.geometry, GOOD.problem(1e-3, 1e-3), GOOD),
    ),
    Case(
        "measures.report:_of_solution",
        call(ufm.geometry, SMALL, 5),
        "Candidate(weights=W",
        call(ufm.geometry, SMALL, GOOD),
    ),
    Case(
        "positivity.pigeonhole:_check",
        call(pigeonhole.pigeonhole_bound, SMALL),
        "the relaxation's own bound",
        lambda _: ufm.solve(SMALL).lower_bound,
    ),
    Case(
        "positivity.pigeonhole:_check",
        call(pigeonhole.pigeonhole_bound, ufm.Problem([2] * 9, 1, 1, feature_dim=2)),
        "Solution.lower_bound",
        lambda _: ufm.solve(ufm.Problem([2] * 9, 1, 1, feature_dim=2)).lower_bound,
    ),
    Case(
        "plots.base:Subject.check",
        call(plots.draw, "attribution", SMALL),
        "candidate=",
        call(plots.draw, "attribution", SMALL, candidate=GOOD),
    ),
    Case(
        "plots.base:Subject.check",
        call(plots.draw, "gram", SMALL, candidate=None, solution=None),
        "solution=ufm_convex.solve(problem)",
        call(plots.draw, "gram", SMALL, solution=ufm.solve(SMALL)),
    ),
    Case(
        "plots.base:Subject.check",
        call(plots.draw, "gram", PROBLEM, candidate=GOOD),
        "candidate.problem(lambda_w, lambda_h)",
        call(plots.draw, "gram", GOOD.problem(1e-3, 1e-3), candidate=GOOD),
    ),
    Case(
        "plots.phase:_check",
        call(plots.draw, "phase", ufm.Problem([1, 1], 1, 1)),
        "the figure norms",
        call(plots.draw, "norms", ufm.Problem([1, 1], 1, 1), solution=ufm.solve(ufm.Problem([1, 1], 1, 1))),
    ),
    Case(
        "plots.style:width_in_inches",
        call(plots.draw, "phase", SMALL, width="wide"),
        "column",
        call(plots.draw, "phase", SMALL, width="column"),
    ),
    Case(
        "plots.style:check_suffix",
        lambda folder: plots.save(plots.draw("phase", SMALL), folder / "f.doc"),
        ".png",
        lambda folder: plots.save(plots.draw("phase", SMALL), folder / "f.png"),
    ),
    Case(
        "relaxation.full:as_dimension",
        lambda _: ufm.solve(SMALL).factors(0),
        "leave it out",
        lambda _: ufm.solve(SMALL).factors(),
    ),
    Case(
        "relaxation.full:as_dimension",
        lambda _: ufm.solve(SMALL).factors(10**9),
        "leave feature_dim out",
        lambda _: ufm.solve(SMALL).factors(),
    ),
    Case(
        "relaxation.full:require_dense",
        call(ufm.stability_bounds, ufm.Problem([3] * 20001, 1, 1), 1.0),
        "five formulas",
        lambda _: (Path(__file__).parents[1] / "docs" / "attribution.md").read_text(encoding="utf-8"),
    ),
    Case(
        "proof.point:_optimum",
        call(ufm.proof_steps, SMOOTH, GOOD),
        "use attribute_gap",
        call(ufm.attribute_gap, SMOOTH, GOOD),
    ),
    Case(
        "proof.__init__:proof_steps",
        call(ufm.proof_steps, SMALL, ufm.Candidate(weights=W * 1e200, features=H, labels=y)),
        "rescale W",
        call(ufm.proof_steps, SMALL, GOOD),
    ),
    Case(
        "methods.norm_balls:NormBalls.check",
        call(ufm.solve, PEELED, level="sample"),
        "one of these",
        call(ufm.solve, PEELED, level="auto"),
    ),
    Case(
        "methods.penalised:PenalisedFamily.of",
        call(
            ufm.solve,
            ufm.Problem(COUNTS, features="free", constraint=ufm.LayerPeeled(1, 5), loss=ufm.BinaryCrossEntropy()),
        ),
        "balanced counts",
        call(
            ufm.solve,
            ufm.Problem([5, 5], features="free", constraint=ufm.LayerPeeled(1, 5), loss=ufm.BinaryCrossEntropy()),
        ),
    ),
    Case(
        "methods.penalised:PenalisedFamily.of",
        call(ufm.solve, ufm.Problem([5, 5], features="free", constraint=ufm.LayerPeeled(1e-200, 1e200))),
        "the same product",
        call(ufm.solve, ufm.Problem([5, 5], features="free", constraint=ufm.LayerPeeled(1, 1))),
    ),
    Case(
        "solution:Solution.gram_positivity",
        lambda _: ufm.solve(FREE).gram_positivity,
        "non-negative ones",
        lambda _: ufm.solve(SMALL).gram_positivity,
    ),
    Case(
        "sweep.grid:values_of",
        call(sweep.grid.values_of, "1:x", "decays"),
        "1e-5:1e-1:20",
        call(sweep.grid.values_of, "1e-5:1e-1:20", "decays"),
    ),
    Case(
        "sweep.running:_executor",
        lambda folder: swept(folder, Grid([1e-2], [1.0], [2]), workers=0),
        "use 1",
        lambda folder: swept(folder, Grid([1e-2], [1.0], [2]), workers=1),
    ),
    Case(
        "sweep.running:_Journal._read",
        interrupted_sweep,
        "remove the file",
        lambda folder: ((folder / "j.jsonl").unlink(), swept(folder, Grid([1e-3], [1.0], [2]))),
    ),
    Case(
        "sweep.running:_Journal.__init__",
        lambda folder: swept(folder / "no", Grid([1e-2], [1.0], [2])),
        "check the path",
        lambda folder: swept(folder, Grid([1e-2], [1.0], [2])),
    ),
    Case(
        "testing.assertions:_candidate",
        call(testing.assert_optimal, SMALL, 5),
        "pass (W, H)",
        call(testing.assert_optimal, SMALL, (W, W), tolerance=0.999),
    ),
    Case(
        "testing.strategies:_check_limits",
        drawn(lambda: testing.problems(regimes=("odd",))),
        "leave it out",
        drawn(lambda: testing.problems()),
    ),
    Case(
        "testing.strategies:_check_limits",
        drawn(lambda: testing.problems(max_classes=1)),
        "leave out what",
        drawn(lambda: testing.problems()),
    ),
    Case(
        "testing.strategies:_check_limits",
        drawn(lambda: testing.problems(regimes=())),
        "leave them out",
        drawn(lambda: testing.problems()),
    ),
    Case(
        "testing.strategies:candidates",
        drawn(lambda: testing.candidates(SMALL, level="group")),
        'use "class"',
        drawn(lambda: testing.candidates(SMALL, level="class")),
    ),
    Case(
        "theory.base:refusal",
        call(theory.optimum, SHIFTED),
        "ufm_convex.theory.bound(problem)",
        call(theory.bound, SIGMOID),
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._check_dimension",
        lambda _: theory.optimum(PROBLEM).factors(1),
        "feature_dim=3",
        lambda _: theory.optimum(PROBLEM).factors(feature_dim=3),
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._demand_active",
        lambda _: theory.optimum(ufm.Problem([5000, 5], 5e-3, 5e-3)).cos_weight_feature(0, 1),
        "lower the weight decay",
        lambda _: theory.optimum(ufm.Problem([5000, 5], 1e-5, 1e-5)).cos_weight_feature(0, 1),
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._demand_weights",
        lambda _: theory.optimum(ufm.Problem([5, 5], 5, 5)).weight_cosines(),
        "lower the weight decay",
        lambda _: theory.optimum(ufm.Problem([5, 5], 5e-3, 5e-3)).weight_cosines(),
    ),
    # the command line
    Case(
        "cli.judged:sort_out",
        command("certify", "FOLDER/a.npz", "FOLDER/b.npz", *DECAYS),
        "leave one out",
        command("certify", "--class-counts", "5,3", *DECAYS),
    ),
    Case(
        "cli.command:refuse",
        command(
            "solve",
            "FOLDER/c.toml",
            "--lambda-w",
            "1",
            c_toml='model = "contrastive"\nclass_counts = [2, 1]\nbound = 1.0',
        ),
        "leave out --lambda-w",
        command("solve", "FOLDER/c.toml", c_toml='model = "contrastive"\nclass_counts = [2, 1]\nbound = 1.0'),
    ),
    Case(
        "cli.crosscheck:_file",
        command("crosscheck", "--class-counts", "4,2,2", *DECAYS, "--solution", "no.json"),
        "check the path",
        command("solve", "--class-counts", "4,2,2", *DECAYS),
    ),
    Case(
        "cli.options:ProblemOptions._check_sources",
        command("solve", *DECAYS),
        "--class-counts 500,100,20 --lambda-w 5e-3 --lambda-h 5e-3",
        command("solve", "--class-counts", "500,100,20", "--lambda-w", "5e-3", "--lambda-h", "5e-3"),
    ),
    Case(
        "cli.values:assignment",
        command("solve", "--class-counts", "5,3", *DECAYS, "--loss", "multiclass-hinge", "--loss-parameter", "kind"),
        "one option for each",
        command(
            "solve",
            "--class-counts",
            "5,3",
            *DECAYS,
            "--loss",
            "multiclass-hinge",
            "--loss-parameter",
            "kind=weston-watkins",
        ),
    ),
    Case(
        "cli.values:constraint",
        command("solve", "--class-counts", "5,3", "--features", "free", "--constraint", "layer-peeled:1"),
        "commas between",
        command(
            "solve",
            "--class-counts",
            "5,3",
            "--features",
            "free",
            "--constraint",
            "layer-peeled:weight_radius=1,feature_radius=5",
        ),
    ),
    Case(
        "_files:_unwritable",
        command("solve", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/no/c.json"),
        "another path",
        command("solve", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/c.json"),
    ),
    Case(
        "cli.plot:_target",
        command("plot", "--class-counts", "5,3", *DECAYS),
        "add -o figure.png",
        command("plot", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/figure.png"),
    ),
    Case(
        "cli.sweep:_target",
        command("sweep", "--decays", "1e-2", "--classes", "2", "--imbalances", "1"),
        "add -o phase.parquet",
        command("sweep", "--decays", "1e-2", "--classes", "2", "--imbalances", "1", "-o", "FOLDER/phase.parquet"),
    ),
]


CASES += [
    # plots, sweeps, tests
    Case(
        "plots.attribution:AttributionPlot.draw",
        lambda _: plots.plot("attribution").draw(plots.base.Subject(SMALL, None, None), 3.3),
        "candidate=",
        call(plots.draw, "attribution", SMALL, candidate=GOOD),
    ),
    Case(
        "plots.gram:GramPlot.check_size",
        lambda _: plots.draw(
            "gram", ufm.Problem([9] * 3000, 5e-3, 5e-3), solution=ufm.solve(ufm.Problem([9] * 3000, 5e-3, 5e-3))
        ),
        "figure norms",
        lambda _: plots.draw(
            "norms", ufm.Problem([9] * 3000, 5e-3, 5e-3), solution=ufm.solve(ufm.Problem([9] * 3000, 5e-3, 5e-3))
        ),
    ),
    Case(
        "sweep.figure:check_panels",
        call(sweep.figure.check_panels, 10**3),
        "fewer numbers of classes",
        call(sweep.figure.check_panels, 1),
    ),
    Case(
        "testing.assertions:assert_certified",
        call(testing.assert_certified, "c.json", (W, W)),
        "Candidate(weights=W, features=H, class_counts=n)",
        lambda folder: testing.assert_certified(ufm.certify(SMALL, GOOD), GOOD, tolerance=0.999),
    ),
    Case(
        "testing.assertions:assert_collapse_pattern",
        call(testing.assert_collapse_pattern, EVEN, (W, W)),
        "use assert_optimal",
        call(testing.assert_optimal, EVEN, (W, W), tolerance=0.999999),
    ),
    Case(
        "testing.assertions:_require_gradient",
        call(testing.assert_kkt, HINGE, (W, W)),
        "assert_certified",
        call(testing.assert_certified, HINGE),
    ),
    Case(
        "testing.strategies:decays_for",
        lambda _: testing.decays_for(COUNTS, -1.0),
        "level 1",
        lambda _: testing.decays_for(COUNTS, 1.0, 0.0),
    ),
    Case(
        "testing.strategies:spurious_minima",
        drawn(lambda: testing.spurious_minima(ufm.Problem([5, 5], 5, 5))),
        "problems(min_active=2)",
        drawn(lambda: testing.problems(min_active=2).flatmap(testing.spurious_minima)),
    ),
    Case(
        "testing.strategies:_check_dead",
        drawn(lambda: testing.spurious_minima(SMALL, dead=[])),
        "leave out dead",
        drawn(lambda: testing.spurious_minima(SMALL)),
    ),
    Case(
        "testing.strategies:_possible",
        drawn(lambda: testing.problems(regimes=("all_collapsed",), min_active=1)),
        '"generic"',
        drawn(lambda: testing.problems(regimes=("all_collapsed", "generic"), min_active=1)),
    ),
    # theory and reductions
    Case(
        "theory.collapse:cross_entropy",
        lambda _: importlib.import_module("ufm_convex.theory.collapse").collapse_ratios(SIGMOID),
        "ufm_convex.theory.optimum",
        call(theory.bound, SIGMOID),
    ),
    Case(
        "theory.free_balanced:SimplexOptimum.factors",
        lambda _: theory.optimum(ufm.Problem([9] * 4, 1e-3, 1e-3, features="free")).factors(1),
        "lower bound",
        lambda _: ufm.solve(ufm.Problem([9] * 4, 1e-3, 1e-3, features="free", feature_dim=1)).lower_bound,
    ),
    Case(
        "theory.orthogonal_frame:FrameOptimum._places",
        lambda _: theory.optimum(ufm.Problem([9] * 30001, 1e-4, 1e-4)).weight_gram(),
        "need no such array",
        lambda _: theory.optimum(ufm.Problem([9] * 30001, 1e-4, 1e-4)).weight_norms,
    ),
    Case(
        "relaxation.frame:margin_loss",
        call(relaxation.margin_loss, ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2]))),
        "dense points",
        lambda _: ufm.solve(ufm.Problem(COUNTS, 1, 1, loss=LogitAdjustedCrossEntropy([0, 1, 2]))).point,
    ),
    Case(
        "measures.report:_weights",
        call(ufm.geometry, SMALL, ufm.Candidate(weights=W * 1e300, features=H, labels=y)),
        "no geometry",
        call(ufm.geometry, SMALL, GOOD),
    ),
    Case(
        "attribution.parts:_check_size",
        call(ufm.attribute_gap, SMALL, ufm.Candidate(weights=W * 1e300, features=H, labels=y)),
        "nothing to explain",
        call(ufm.attribute_gap, SMALL, GOOD),
    ),
    # the command line
    Case(
        "cli.command:refuse",
        command("crosscheck", "--conformance", "--class-counts", "4,2,2"),
        "leave out --class-counts",
        command("crosscheck", "--class-counts", "4,2,2", *DECAYS, "--solvers", "scs", "--level", "class"),
    ),
    Case(
        "cli.plot:_sort_out",
        command("plot", "FOLDER/a.json", "FOLDER/b.json", "-o", "FOLDER/f.png"),
        "leave one out",
        command("plot", "--class-counts", "5,3", *DECAYS, "-o", "FOLDER/f.png"),
    ),
    Case(
        "cli.command:refuse",
        command("plot", "FOLDER/a.json", "--lambda-w", "1", "-o", "FOLDER/f.png", a_json=CERTIFICATE),
        "leave out --lambda-w",
        command("plot", "FOLDER/a.json", "-o", "FOLDER/f.png", a_json=CERTIFICATE),
    ),
    # processes, certificates and what is asked about them
]


def raised_by(error: BaseException) -> tuple[str, str]:
    """Module and function of the innermost two frames of the package: a helper may build what another raises."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(str(PACKAGE)):
            module = ".".join(Path(code.co_filename).relative_to(PACKAGE).with_suffix("").parts)
            frames.append(f"{module}:{code.co_qualname.replace('<locals>.', '')}")
        trace = trace.tb_next
    return frames[-1], frames[-2] if len(frames) > 1 else ""


@pytest.fixture
def pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of pandas as a count needs, so that it need not be installed."""

    class Series:
        def __init__(self, values: list[int], index: list[int]) -> None:
            self.values, self.index = np.array(values), np.array(index)

        def __array__(self, *args: Any, **options: Any) -> np.ndarray:
            return self.values

        def __len__(self) -> int:
            return len(self.values)

        def tolist(self) -> list[int]:
            return self.values.tolist()

        def sort_index(self) -> "Series":
            order = np.argsort(self.index)
            return Series(self.values[order].tolist(), self.index[order].tolist())

    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(Series=Series))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.where}-{case.advice}"[:90])
@pytest.mark.usefixtures("pandas")
def test_advice_is_good(case: Case, tmp_path: Path) -> None:
    with pytest.raises((ufm.UFMError, RefusedError)) as refusal:
        case.provoke(tmp_path)
    error = refusal.value
    assert case.advice in (error.fix if isinstance(error, ufm.UFMError) else str(error)), error
    if isinstance(error, ufm.UFMError) and case.where not in HELPERS:
        assert case.where in raised_by(error)
    case.follow(tmp_path)


HELPERS = frozenset(
    {
        # these build an error that another function raises, or hand advice down to one
        *("_files:parse_toml", "_given:_unwrapped.refuse", "candidate.files:_unreadable", "candidate.files:_pytorch"),
        *("candidate.formats:_damaged", "candidate.names:_unasked", "cli.report:_nothing"),
        *("candidate.data:_matrix", "certificate.file:_not_a_certificate", "class_counts.arrays:empty"),
        *("class_counts.files:_unknown_suffix", "class_counts.labels:_gap", "class_counts.profiles:_misused"),
        *(
            "problem.constraints.hard_margin:_refused",
            "contrastive.candidate:_features",
            "interchange.solutions:_malformed",
        ),
        *("losses.soft_target_cross_entropy:_refused", "positivity.judging:_numbers", "methods.direct:_too_large"),
        *("theory.base:refusal", "_files:_unwritable", "_process:_not_sent", "methods.direct:_out_of_range"),
    }
)


def functions_with_advice() -> set[str]:
    """Module and function of every ``fix=`` of the package."""
    found = set()

    def walk(node: ast.AST, module: str, names: list[str]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = [*names, child.name] if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else names
            if isinstance(child, ast.Call) and any(keyword.arg == "fix" for keyword in child.keywords):
                found.add(f"{module}:{'.'.join(inner)}")
            walk(child, module, inner)

    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not module.startswith("verifier"):  # it raises an error of its own, without advice
            walk(ast.parse(path.read_text(encoding="utf-8")), module, [])
    return found


UNFOLLOWED = {
    **dict.fromkeys(
        ("losses.from_torch:_require_all_counted", "losses.from_torch:_weights"),
        "is about a criterion of PyTorch; tests/test_weighed_targets.py provokes and follows it",
    ),
    **dict.fromkeys(
        ("cli.exits:_fault", "solving:_Best.add"),
        "says that the package itself is at fault, and asks for a report",
    ),
    "methods.norm_balls:_Search._try": "likewise",
    **dict.fromkeys(
        (
            "candidate.formats:_package",
            "candidate.formats:_pytorch",
            "candidate.formats:_tensor",
            "crosscheck.registry:contestant",
            "plots.style:require",
            "solvers.__init__:solver",
            "sweep.running:_require_threadpoolctl",
        ),
        "names the package to install; tests install nothing",
    ),
    **dict.fromkeys(("sweep.tables:require_pyarrow", "testing.__init__:"), "likewise"),
    "errors:_rebuild": "builds an error again on the other side of a process",
    "solvers.clarabel:Clarabel.check_order": "needs a machine whose memory does not hold the Newton system",
    **dict.fromkeys(("cli.exits:_interrupted", "cli.exits:_misused"), "a usage error or Ctrl-C as an object of JSON"),
    "cli.verify:_malformed": "a certificate that is none as an object of JSON",
    "cli.exits:system_error": "says what the operating system refused",
    **dict.fromkeys(
        ("certificate.checking:_refused", "certificate.file:_require_kept"),
        "says that the package, or the disk, is at fault; planted in test_certificate_checking",
    ),
    **dict.fromkeys(
        ("_process:Worker.__init__", "_process:died", "methods.base:out_of_memory", "sweep.running:_Journal._write"),
        "asks for memory, processes or space; planted in test_process and test_sweep",
    ),
    "enclosure.arithmetic:require_nearest": "asks for the default rounding mode; planted in test_flushing",
    "sweep.running:_Journal._lock": "needs two sweeps at once",
    **dict.fromkeys(
        (
            "attribution.duals:SolvedDual.of",
            "methods.peeled_bounds:_narrowed",
            "methods.peeled_bounds:_require_distinct",
            "certificate.limits:_too_large",
        ),
        "needs numbers at the ends of the range of certificates",
    ),
    **dict.fromkeys(
        (
            *("certificate.certifying:_rounded_bounds", "certificate.contrastive_encoding:encode"),
            *("interchange.conic_benchmark:_number", "positivity.pigeonhole:pigeonhole_bound"),
            "methods.norm_balls:NormBalls.evidence",
        ),
        "needs a solver or a bound that breaks down",
    ),
    **dict.fromkeys(
        ("solving:_loop", "solving:_too_short", "methods.norm_balls:NormBalls.bounds", "theory.layer_peeled:_radii"),
        "a guard behind others: no argument is known that reaches it",
    ),
    **dict.fromkeys(
        ("crosscheck.conformance:ConformanceCase.theory", "crosscheck.scaled:targets", "plots.base:Subject.geometry"),
        "likewise",
    ),
    "testing.strategies:_frame": "likewise",
    "cli.sweep:_check_drawable": "a grid of so many panels takes minutes",
}
UNFOLLOWED |= dict.fromkeys(
    (
        name
        for name in functions_with_advice()
        if name.startswith("networks.") and not name.startswith("networks.report")
    ),
    "is about a network of PyTorch: the tests of networks/ provoke and follow it where that is installed",
)
"""Advice that no test here follows, with the reason."""


def test_every_function_with_advice_has_a_case() -> None:
    followed = {case.where for case in CASES}
    assert not functions_with_advice() - followed - set(UNFOLLOWED)
    assert not followed & set(UNFOLLOWED)
    assert not (followed | set(UNFOLLOWED)) - functions_with_advice()
